//! `relay`: viewers pass a stream on to each other, in one push tree for each stream (`livectl_policy::tree`).
//!
//! What is left to do here: which members are in which tree, what of a host's uplink is left for each of its streams,
//! and what becomes of a tree's changes.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use livectl_policy::{Changes, Tree, Why};
use livectl_wire::StreamKey;

use super::introduce::{Audience, Bond, Branch, Change, Connection, Introduce, Member, Pair, Part, Policy};
use super::{Dpid, Entry};
use crate::network::Network;

/// What is known of it before it is made.
pub const ENTRY: Entry = Entry {
    name: "relay",
    about: "The same, and viewers pass the stream on to each other, as far as uplinks carry it",
    make: |settings, ports, network| Box::new(Introduce::new(settings, ports, Box::new(Relay::new(network)))),
};

/// Steps that one event leads to, over all streams. Each changes what is left of an uplink for another stream; none
/// takes from another what it has, so that they come to an end by themselves long before.
const MAX_STEPS: usize = 4096;

/// Viewers have the stream from each other.
#[derive(Debug, Default)]
pub struct Relay {
    network: Network,
    trees: BTreeMap<StreamKey, Tree<Connection>>,
    /// In which streams a host is, and as whom.
    hosts: HashMap<Ipv4Addr, BTreeMap<StreamKey, Connection>>,
    /// Those that are not heard of, and where they are missed.
    gone: BTreeMap<Ipv4Addr, BTreeSet<StreamKey>>,
    /// Numbers of switches of which a map says nothing.
    switches: HashMap<Dpid, usize>,
}

impl Relay {
    /// Nobody is there yet.
    #[must_use]
    pub fn new(network: Network) -> Self {
        Self { network, ..Self::default() }
    }

    /// The number of the switch that a member is at. One whose address the map does not have is where others at its
    /// switch are.
    fn switch(&mut self, member: &Member) -> usize {
        let known = self.network.switch(member.host());
        if let Some(known) = known {
            return *self.switches.entry(member.dpid).insert_entry(known).get();
        }
        let next = self.network.count() + self.switches.len();
        *self.switches.entry(member.dpid).or_insert(next)
    }

    /// What of a host's uplink is taken: a broadcaster's copies for the CDN, and the copies for children in all
    /// streams but this one.
    fn taken(&self, host: Ipv4Addr, without: &StreamKey) -> f64 {
        let streams = self.hosts.get(&host).into_iter().flatten();
        let taken = streams.filter_map(|(stream, connection)| {
            let tree = self.trees.get(stream)?;
            let children = if stream == without { 0 } else { tree.children(*connection).count() };
            let is_broadcaster = tree.broadcaster() == Some(*connection);
            let for_cdn = if is_broadcaster { self.network.copy_for_cdn(host, stream) } else { 0.0 };
            Some(for_cdn + children as f64 * self.network.copy(host, stream))
        });
        taken.sum()
    }

    /// What comes of changes in a stream: in it, and in other streams of those who have more or fewer children now.
    fn carry_out(&mut self, stream: &StreamKey, changes: Changes<Connection>) -> Change {
        let mut change = Change::default();
        let mut steps = VecDeque::from([(stream.clone(), changes)]);
        let mut left = MAX_STEPS;
        while let Some((stream, changes)) = steps.pop_front() {
            let parents = changes.moves.iter().flat_map(|one| [one.from, one.to]).flatten();
            let hosts: BTreeSet<Ipv4Addr> = parents.map(|parent| *parent.client.ip()).collect();
            change.and(self.told(&stream, &changes));
            for host in hosts.into_iter().take(left) {
                left -= 1;
                steps.extend(self.share(host, &stream));
            }
        }
        change
    }

    /// Has the trees of a host's other streams know what is left of its uplink.
    fn share(&mut self, host: Ipv4Addr, changed: &StreamKey) -> Vec<(StreamKey, Changes<Connection>)> {
        let others = self.hosts.get(&host).into_iter().flatten().filter(|(stream, _)| *stream != changed);
        let others: Vec<(StreamKey, Connection)> =
            others.map(|(stream, connection)| (stream.clone(), *connection)).collect();
        let step = |(stream, connection): (StreamKey, Connection)| {
            let copies = self.network.copies(host, &stream, self.taken(host, &stream));
            let changes = self.trees.get_mut(&stream)?.capacity(connection, copies);
            Some((stream, changes))
        };
        others.into_iter().filter_map(step).collect()
    }

    /// What is told of a stream's changes to agents and to the outside.
    fn told(&self, stream: &StreamKey, changes: &Changes<Connection>) -> Change {
        let mut change = Change::default();
        let Some(tree) = self.trees.get(stream) else { return change };
        let host = |connection: Connection| *connection.client.ip();
        for one in &changes.moves {
            let pair = |parent| Pair { parent, child: one.child, bond: Bond::Serves };
            change.void.extend(one.from.map(pair));
            change.introduce.extend(one.to.map(pair));
            // Who joins is at the CDN already. Who does not answer is told nothing. Without a broadcaster the stream
            // has ended, and what parents still have of it is worth more than what the CDN has.
            if one.to.is_none() && !matches!(one.why, Why::Joined | Why::Gone) && tree.broadcaster().is_some() {
                change.to_cdn.push(one.child);
            }
            change.branches.push(Branch {
                stream: stream.clone(),
                host: host(one.child),
                parent: one.to.map(host),
                standby: tree.standby(one.child).map(host),
                why: one.why.as_str(),
            });
        }
        for one in &changes.standbys {
            let pair = |parent| Pair { parent, child: one.child, bond: Bond::StandsBy };
            change.void.extend(one.from.map(pair));
            change.introduce.extend(one.to.map(pair));
        }
        change
    }

    fn enter(&mut self, member: &Member) -> Change {
        let (host, stream) = (member.host(), &member.stream);
        let switch = self.switch(member);
        self.hosts.entry(host).or_default().insert(stream.clone(), member.connection);
        let mut taken = self.taken(host, stream);
        if member.part == Part::Broadcaster {
            taken += self.network.copy_for_cdn(host, stream);
        }
        let member_of_tree = self.network.member(member.connection, host, stream, switch, taken);
        let network = &self.network;
        let tree = self.trees.entry(stream.clone()).or_insert_with(|| Tree::new(network.switches().clone()));
        let changes = match member.part {
            Part::Broadcaster => tree.begin(member_of_tree),
            Part::Viewer => tree.join(member_of_tree),
        };
        let mut change = self.carry_out(stream, changes);
        if member.part == Part::Broadcaster {
            // Its copy for the CDN is missing to its other streams.
            for (stream, changes) in self.share(host, stream) {
                change.and(self.carry_out(&stream, changes));
            }
        }
        change
    }

    fn exit(&mut self, host: Ipv4Addr, stream: &StreamKey, connection: Connection) -> Change {
        let Some(tree) = self.trees.get_mut(stream).filter(|tree| tree.contains(connection)) else {
            return Change::default();
        };
        let changes = tree.leave(connection);
        if tree.is_empty() {
            self.trees.remove(stream);
        }
        if let Some(streams) = self.hosts.get_mut(&host) {
            if streams.get(stream) == Some(&connection) {
                streams.remove(stream);
            }
            if streams.is_empty() {
                self.hosts.remove(&host);
            }
        }
        self.found(host, stream);
        let mut change = self.carry_out(stream, changes);
        for (stream, changes) in self.share(host, stream) {
            change.and(self.carry_out(&stream, changes));
        }
        change
    }

    /// A host does not count as gone in a stream any more.
    fn found(&mut self, host: Ipv4Addr, stream: &StreamKey) {
        if let Some(streams) = self.gone.get_mut(&host) {
            streams.remove(stream);
            if streams.is_empty() {
                self.gone.remove(&host);
            }
        }
    }
}

impl Policy for Relay {
    fn arrive(&mut self, came: &Member, audience: Audience<'_>) -> Change {
        let broadcaster = audience.broadcaster().map(Member::host);
        match came.part {
            // It has the stream.
            Part::Viewer if broadcaster == Some(came.host()) => Change::default(),
            Part::Viewer => self.enter(came),
            Part::Broadcaster => {
                let itself = audience.viewer(came.host()).map(|viewer| viewer.connection);
                let mut change =
                    itself.map(|viewer| self.exit(came.host(), &came.stream, viewer)).unwrap_or_default();
                change.and(self.enter(came));
                change
            }
        }
    }

    fn takes_announced(&self) -> bool {
        true
    }

    fn succeed(&mut self, before: &Member, now: &Member) {
        if let Some(tree) = self.trees.get_mut(&now.stream) {
            tree.rename(before.connection, now.connection);
        }
        if let Some(connection) = self.hosts.get_mut(&now.host()).and_then(|streams| streams.get_mut(&now.stream)) {
            *connection = now.connection;
        }
    }

    fn leave(&mut self, gone: &Member, _audience: Audience<'_>) -> Change {
        self.exit(gone.host(), &gone.stream, gone.connection)
    }

    fn lost(&mut self, now: Duration, viewer: &Member, peer: Ipv4Addr) -> Option<Change> {
        let child = viewer.connection;
        let Some(tree) = self.trees.get_mut(&viewer.stream) else { return Some(Change::default()) };
        let mut peers = [tree.parent(child), tree.standby(child)].into_iter().flatten();
        let Some(peer) = peers.find(|known| *known.client.ip() == peer) else { return Some(Change::default()) };
        let changes = tree.lost(child, peer, now);
        if tree.is_gone(peer) {
            self.gone.entry(*peer.client.ip()).or_default().insert(viewer.stream.clone());
        }
        Some(self.carry_out(&viewer.stream, changes))
    }

    fn misses(&self, host: Ipv4Addr) -> bool {
        self.gone.contains_key(&host)
    }

    fn heard(&mut self, host: Ipv4Addr) -> Change {
        let mut change = Change::default();
        for stream in self.gone.remove(&host).unwrap_or_default() {
            let connection = self.hosts.get(&host).and_then(|streams| streams.get(&stream)).copied();
            let changes = connection.and_then(|connection| Some(self.trees.get_mut(&stream)?.heard(connection)));
            change.and(changes.map(|changes| self.carry_out(&stream, changes)).unwrap_or_default());
        }
        change
    }

    fn tick(&mut self, now: Duration) -> Change {
        let streams: Vec<StreamKey> = self.trees.keys().cloned().collect();
        let mut change = Change::default();
        for stream in streams {
            let changes = self.trees.get_mut(&stream).map(|tree| tree.tick(now)).unwrap_or_default();
            if changes != Changes::default() {
                change.and(self.carry_out(&stream, changes));
            }
        }
        change
    }

    fn alone(&self, member: &Member, audience: Audience<'_>) -> Option<&'static str> {
        let Some(broadcaster) = audience.broadcaster() else { return Some("no_broadcaster") };
        let tree = self.trees.get(&member.stream)?;
        match member.part {
            Part::Viewer if broadcaster.host() == member.host() => Some("same_host"),
            Part::Viewer => tree.parent(member.connection).is_none().then_some("no_uplink_left"),
            Part::Broadcaster if audience.viewers().all(|viewer| viewer.host() == member.host()) => Some("no_viewer"),
            Part::Broadcaster => tree.children(member.connection).next().is_none().then_some("no_uplink_left"),
        }
    }
}

#[cfg(test)]
mod tests;

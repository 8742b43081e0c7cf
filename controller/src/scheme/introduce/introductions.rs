//! Who is to be told of whom: what a policy decides about members becomes errands to their agents.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use livectl_wire::StreamKey;
use livectl_wire::heartbeat::{Introduction, PeerRole};

use super::connection::Connection;
use super::copying::{Attached, Copied};
use super::errands::{Errand, Errands, Matter};
use super::members::{MAX_MEMBERS, Member, Members, Part};
use super::policy::{Bond, Branch, Change, Pair, Policy};
use super::presence::Presence;

/// Hosts whose connections to each other are recognised; the oldest are forgotten.
const MAX_ACQUAINTED: usize = 65_536;
/// How long the members of a group may take to join it before its broadcaster is told of it.
const JOINING: Duration = Duration::from_millis(500);
/// Who is alone for so long is told to the outside, with the reason: a heartbeat comes every second, and who starts a
/// broadcaster and its viewers starts them one after the other.
const SETTLED: Duration = Duration::from_secs(3);

/// All streams and agents.
#[derive(Debug)]
pub struct Introductions {
    peer_port: u16,
    policy: Box<dyn Policy>,
    members: Members<Kept>,
    /// The pairs that a member is a side of.
    pairs: HashMap<Connection, BTreeSet<Pair>>,
    errands: Errands,
    /// What the outside is still to be told.
    branches: Vec<Branch>,
    acquainted: HashSet<[Ipv4Addr; 2]>,
    acquaintance_order: VecDeque<[Ipv4Addr; 2]>,
    /// Broadcasters that are told of their group when its members have joined it, or at that time.
    held: HashMap<Connection, (Duration, Errand)>,
    /// Counts how often pairs have changed.
    revision: u64,
}

/// What is kept of a member besides what policies look at.
#[derive(Debug, Clone)]
struct Kept {
    presence: Presence,
    /// Since it came, or got its first pair.
    alone_since: Duration,
    /// A heartbeat has told it of a peer.
    is_introduced: bool,
    /// The reason that the outside was told last.
    reason: Option<&'static str>,
    /// It publishes nothing yet.
    is_announced: bool,
}

impl Introductions {
    /// Nobody is there. Agents serve peers at `peer_port`.
    #[must_use]
    pub fn new(peer_port: u16, policy: Box<dyn Policy>) -> Self {
        Self {
            peer_port,
            policy,
            members: Members::default(),
            pairs: HashMap::new(),
            errands: Errands::default(),
            branches: Vec::new(),
            acquainted: HashSet::new(),
            acquaintance_order: VecDeque::new(),
            held: HashMap::new(),
            revision: 0,
        }
    }

    /// A host plays or publishes. Who did so in its place before (the same viewer by another connection, the stream's
    /// broadcaster before) is returned. If there are too many, nothing is kept, and that is the error.
    ///
    /// # Errors
    /// The limit that was reached.
    pub fn arrive(&mut self, now: Duration, member: Member, presence: Presence) -> Result<Vec<Member>, usize> {
        let kept = Kept { presence, alone_since: now, is_introduced: false, reason: None, is_announced: false };
        if let Some(announced) = self.announced_as(&member) {
            self.succeed(&announced, member, kept);
            return Ok(Vec::new());
        }
        let mut replaced: Vec<Member> = self.leave(now, &member.connection).into_iter().collect();
        if self.members.is_full() {
            return Err(MAX_MEMBERS);
        }
        let before = self.members.in_place_of(&member);
        let was_announced = before.is_some_and(|before| self.is_announced(&before));
        let before = before.and_then(|before| self.leave(now, &before));
        replaced.extend(before.filter(|_| !was_announced));
        self.enter(now, member, kept);
        Ok(replaced)
    }

    fn enter(&mut self, now: Duration, member: Member, kept: Kept) {
        self.members.insert(member.clone(), kept);
        let change = self.policy.arrive(&member, self.members.audience(&member.stream));
        self.change(now, change);
    }

    /// A broadcaster's agent is there, and says so on this connection; its program publishes nothing yet. Says
    /// whether that is new, and of use.
    pub fn announce(&mut self, now: Duration, member: Member, presence: Presence) -> bool {
        if !self.policy.takes_announced() {
            return false;
        }
        let kept = Kept { presence, alone_since: now, is_introduced: false, reason: None, is_announced: true };
        if let Some(before) = self.announced_as(&member) {
            if before != member.connection {
                self.succeed(&before, member, kept);
            }
            return false;
        }
        // Who publishes is more than who is going to; of others who are going to, the first is believed.
        if self.members.is_full() || self.members.in_place_of(&member).is_some() {
            return false;
        }
        self.enter(now, member, kept);
        true
    }

    /// The connection by which this broadcaster is known already, if it is one that was announced.
    fn announced_as(&self, member: &Member) -> Option<Connection> {
        let before = self.members.in_place_of(member).filter(|_| member.part == Part::Broadcaster)?;
        (before.client.ip() == member.connection.client.ip() && self.is_announced(&before)).then_some(before)
    }

    /// Whether this is the connection on which a broadcaster is announced.
    pub fn is_announced(&self, connection: &Connection) -> bool {
        self.members.get(connection).is_some_and(|(_, kept)| kept.is_announced)
    }

    /// A broadcaster that was announced is known by another connection from now on. All that was told of it holds.
    fn succeed(&mut self, before: &Connection, member: Member, kept: Kept) {
        let Some((gone, had)) = self.members.remove(before) else { return };
        let now = member.connection;
        for pair in self.pairs.remove(before).unwrap_or_default() {
            let (other, renamed) = (pair.other(before), pair.renamed(before, &now));
            self.pairs.entry(now).or_default().insert(renamed);
            let pairs = self.pairs.entry(other).or_default();
            pairs.remove(&pair);
            pairs.insert(renamed);
            for side in [before, &other] {
                self.errands.rename(*side.client.ip(), Matter::Pair(pair), before, &now);
            }
        }
        for matter in [Matter::Cdn(*before), Matter::Group(*before)] {
            self.errands.rename(*before.client.ip(), matter, before, &now);
        }
        self.revision += 1;
        self.policy.succeed(&gone, &member);
        self.members.insert(member, Kept { is_introduced: had.is_introduced, ..kept });
    }

    /// Broadcasters that are only announced, and by which connections.
    pub fn announced(&self) -> impl Iterator<Item = Connection> {
        self.members.iter().filter(|(_, kept)| kept.is_announced).map(|(member, _)| member.connection)
    }

    /// A host plays or publishes no longer; what others were still to be told of it is void.
    pub fn leave(&mut self, now: Duration, connection: &Connection) -> Option<Member> {
        let (member, _) = self.members.remove(connection)?;
        // Of its own agent once, however many it has: a broadcaster has many.
        self.errands.cancel(member.host(), |matter| matter.concerns(connection));
        self.held.remove(connection);
        for matter in [Matter::Cdn(*connection), Matter::Group(*connection)] {
            self.errands.forget(member.host(), &matter);
        }
        for pair in self.pairs.remove(connection).unwrap_or_default() {
            let other = pair.other(connection);
            self.errands.cancel(*other.client.ip(), |void| *void == Matter::Pair(pair));
            self.unpair(&other, &pair);
        }
        let change = self.policy.leave(&member, self.members.audience(&member.stream));
        self.change(now, change);
        Some(member)
    }

    /// An agent says that a host does not serve it. Only of streams that are played where the agent is.
    pub fn lost(&mut self, now: Duration, agent: Ipv4Addr, stream: &StreamKey, peer: Ipv4Addr) {
        let Some(viewer) = self.members.audience(stream).viewer(agent).cloned() else { return };
        let Some(change) = self.policy.lost(now, &viewer, peer) else { return };
        let is_answer = |pair: &Pair| pair.child == viewer.connection;
        let is_answered = change.introduce.iter().any(is_answer) || change.to_cdn.contains(&viewer.connection);
        self.change(now, change);
        if !is_answered {
            self.tell_source_again(now, &viewer);
        }
    }

    /// An agent says that what is at its host plays or publishes a stream no longer.
    pub fn left(&mut self, now: Duration, agent: Ipv4Addr, stream: &StreamKey) -> Option<Member> {
        let audience = self.members.audience(stream);
        let broadcaster = audience.broadcaster().filter(|broadcaster| broadcaster.host() == agent);
        let connection = audience.viewer(agent).or(broadcaster)?.connection;
        self.leave(now, &connection)
    }

    /// Whether a host counts as gone until it is heard of.
    #[must_use]
    pub fn misses(&self, host: Ipv4Addr) -> bool {
        self.policy.misses(host)
    }

    /// Something came from an agent.
    pub fn heard(&mut self, now: Duration, agent: Ipv4Addr) {
        let change = self.policy.heard(agent);
        self.change(now, change);
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Duration) {
        let change = self.policy.tick(now);
        self.change(now, change);
    }

    /// What the outside is to be told of trees.
    pub fn branches(&mut self) -> Vec<Branch> {
        std::mem::take(&mut self.branches)
    }

    fn change(&mut self, now: Duration, change: Change) {
        for pair in change.void {
            for side in [pair.parent, pair.child] {
                self.errands.forget(*side.client.ip(), &Matter::Pair(pair));
                self.unpair(&side, &pair);
            }
        }
        for pair in change.introduce {
            self.introduce(now, pair);
        }
        for viewer in change.to_cdn {
            self.send_to_cdn(&viewer);
        }
        self.branches.extend(change.branches);
    }

    /// Has a viewer told that its stream comes from the CDN: from the server that its player connected to.
    fn send_to_cdn(&mut self, viewer: &Connection) {
        let Some((member, _)) = self.members.get(viewer) else { return };
        let matter = Matter::Cdn(*viewer);
        let errand =
            Errand { to: *viewer, role: PeerRole::Cdn, peer: viewer.server, stream: member.stream.clone(), matter };
        let host = member.host();
        self.held.remove(viewer);
        self.errands.forget(host, &Matter::Group(*viewer));
        if !self.errands.is_pending(host, &matter) {
            self.errands.add(errand);
        }
    }

    /// Whoever says again what was answered did not get the answer, or has lost more since.
    fn tell_source_again(&mut self, now: Duration, viewer: &Member) {
        let pairs = self.pairs.get(&viewer.connection).into_iter().flatten();
        let source = pairs.copied().find(|pair| pair.child == viewer.connection && pair.bond != Bond::StandsBy);
        let matter = source.map_or(Matter::Cdn(viewer.connection), Matter::Pair);
        if self.errands.is_pending(viewer.host(), &matter) {
            return;
        }
        self.errands.forget(viewer.host(), &matter);
        match source {
            Some(pair) => {
                self.unpair(&pair.child, &pair);
                self.introduce(now, pair);
            }
            None => self.send_to_cdn(&viewer.connection),
        }
    }

    fn unpair(&mut self, side: &Connection, pair: &Pair) {
        if let Some(pairs) = self.pairs.get_mut(side) {
            self.revision += u64::from(pairs.remove(pair));
            if pairs.is_empty() {
                self.pairs.remove(side);
            }
        }
    }

    /// Has each of two told of the other.
    fn introduce(&mut self, now: Duration, pair: Pair) {
        let Some((parent, _)) = self.members.get(&pair.parent) else { return };
        let stream = parent.stream.clone();
        if self.members.get(&pair.child).is_none_or(|(child, _)| child.stream != stream) {
            return;
        }
        self.pairs.entry(pair.parent).or_default().insert(pair);
        if !self.pairs.entry(pair.child).or_default().insert(pair) {
            return;
        }
        self.revision += 1;
        if pair.bond != Bond::StandsBy {
            // What was decided last is what it is told last.
            self.errands.forget(*pair.child.client.ip(), &Matter::Cdn(pair.child));
        }
        let at = |peer: Connection| SocketAddrV4::new(*peer.client.ip(), self.peer_port);
        let matter = Matter::Pair(pair);
        let as_peer = |role| {
            let parent = (pair.child, role, at(pair.parent), matter);
            [parent, (pair.parent, PeerRole::Child, at(pair.child), matter)]
        };
        let told = match pair.bond {
            Bond::Serves => as_peer(PeerRole::Parent),
            Bond::StandsBy => as_peer(PeerRole::Standby),
            Bond::Copied(group) => {
                self.errands.forget(*pair.parent.client.ip(), &Matter::Cdn(pair.parent));
                // However many members it has, it is one group.
                let sends = Matter::Group(pair.parent);
                [(pair.child, PeerRole::Group, group, matter), (pair.parent, PeerRole::Group, group, sends)]
            }
        };
        for (to, role, peer, matter) in told {
            if self.errands.is_pending(*to.client.ip(), &matter) {
                continue;
            }
            let errand = Errand { to, role, peer, stream: stream.clone(), matter };
            let is_held = matches!(matter, Matter::Group(_)) && !self.errands.is_heeded(&errand);
            let is_to_be_told = if is_held {
                self.held.entry(to).or_insert((now + JOINING, errand));
                true
            } else {
                self.errands.add(errand)
            };
            if let Some((_, kept)) = self.members.get_mut(&to).filter(|(_, kept)| !kept.is_introduced) {
                kept.alone_since = now;
                kept.is_introduced = !is_to_be_told;
            }
        }
        if !matches!(pair.bond, Bond::Copied(_)) {
            self.acquaint(*pair.parent.client.ip(), *pair.child.client.ip());
        }
    }

    /// Another number after each change of pairs.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// What the switches are to copy.
    pub fn copied(&self) -> Vec<Copied> {
        let mut copied: BTreeMap<SocketAddrV4, Copied> = BTreeMap::new();
        for pair in self.pairs.iter().flat_map(|(of, pairs)| pairs.iter().filter(move |pair| pair.child == *of)) {
            let Bond::Copied(group) = pair.bond else { continue };
            let (Some((parent, from)), Some((child, to))) =
                (self.members.get(&pair.parent), self.members.get(&pair.child))
            else {
                continue;
            };
            let one = copied.entry(group).or_insert_with(|| Copied {
                group,
                stream: parent.stream.clone(),
                from: Attached::of(parent, &from.presence),
                to: Vec::new(),
            });
            one.to.push(Attached::of(child, &to.presence));
        }
        copied.into_values().collect()
    }

    fn acquaint(&mut self, one: Ipv4Addr, other: Ipv4Addr) {
        let hosts = ordered(one, other);
        if self.acquainted.insert(hosts) {
            self.acquaintance_order.push_back(hosts);
            if self.acquaintance_order.len() > MAX_ACQUAINTED
                && let Some(oldest) = self.acquaintance_order.pop_front()
            {
                self.acquainted.remove(&oldest);
            }
        }
    }

    /// The member whose RTMP connection this is, and whether it is there.
    pub fn member_mut(&mut self, connection: &Connection) -> Option<(&mut Member, &mut Presence)> {
        self.members.get_mut(connection).map(|(member, kept)| (member, &mut kept.presence))
    }

    /// All members.
    pub fn members_mut(&mut self) -> impl Iterator<Item = (&mut Member, &mut Presence)> {
        self.members.iter_mut().map(|(member, kept)| (member, &mut kept.presence))
    }

    /// What a heartbeat that passes now is to tell an agent: the peers of whom it was not told yet, as many as fit,
    /// then those of whom it was.
    pub fn tell(&mut self, now: Duration, agent: Ipv4Addr) -> Option<Introduction> {
        self.release(now, agent);
        let (introduction, learn) = self.errands.tell(agent)?;
        for member in learn {
            if let Some((_, kept)) = self.members.get_mut(&member) {
                kept.is_introduced = true;
            }
        }
        Some(introduction)
    }

    /// An agent acts on what it was told. Returns those of the peers of whom it still had to be told.
    pub fn acknowledge(&mut self, agent: Ipv4Addr, heard: &Introduction) -> Vec<SocketAddrV4> {
        self.errands.acknowledge(agent, heard)
    }

    /// Has a broadcaster told of its group if its members have joined it, or had time to: what it sends first is what
    /// has piled up of the stream, and they may have left the CDN.
    fn release(&mut self, now: Duration, agent: Ipv4Addr) {
        let Self { held, pairs, errands, .. } = self;
        let is_joining = |broadcaster: &Connection| {
            let mut members = pairs.get(broadcaster).into_iter().flatten();
            members.any(|pair| errands.is_pending(*pair.child.client.ip(), &Matter::Pair(*pair)))
        };
        let due: Vec<Connection> = held
            .iter()
            .filter(|(of, (until, _))| *of.client.ip() == agent && (now >= *until || !is_joining(of)))
            .map(|(of, _)| *of)
            .collect();
        for broadcaster in due {
            if let Some((_, errand)) = held.remove(&broadcaster) {
                errands.add(errand);
            }
        }
    }

    /// Who was told of nobody since it came, and why: each reason once, when it has lasted.
    pub fn alone(&mut self, now: Duration) -> Vec<(Member, &'static str)> {
        let Self { members, policy, pairs, .. } = self;
        let why = |member: &Member| match pairs.contains_key(&member.connection) {
            // Its agent is not there, or what it says passes another way.
            true => Some("no_heartbeat"),
            false => policy.alone(member, members.audience(&member.stream)),
        };
        let is_settled = |kept: &Kept| !kept.is_introduced && !kept.is_announced && now >= kept.alone_since + SETTLED;
        let settled = members.iter().filter(|(_, kept)| is_settled(kept));
        let alone: Vec<(Member, &'static str)> = settled
            .filter_map(|(member, kept)| Some((member, why(member).filter(|why| kept.reason != Some(why))?)))
            .map(|(member, why)| (member.clone(), why))
            .collect();
        for (member, why) in &alone {
            if let Some((_, kept)) = members.get_mut(&member.connection) {
                kept.reason = Some(why);
            }
        }
        alone
    }

    /// Whether two hosts were introduced to each other.
    #[must_use]
    pub fn are_introduced(&self, one: Ipv4Addr, other: Ipv4Addr) -> bool {
        self.acquainted.contains(&ordered(one, other))
    }
}

fn ordered(one: Ipv4Addr, other: Ipv4Addr) -> [Ipv4Addr; 2] {
    [one.min(other), one.max(other)]
}

#[cfg(test)]
mod tests;

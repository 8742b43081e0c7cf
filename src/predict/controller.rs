//! What the controller decides, by the same policies: who has a stream from whom, and when agents hear of it.

use std::collections::BTreeMap;
use std::time::Duration;

use livectl_policy::uplink::Rate;
use livectl_policy::{Changes, Member, Switches, Tree, Why};

use super::agenda::Nanos;
use super::network::Host;
use crate::plan::Trial;
use crate::plan::delivery::Scheme;

/// Between two heartbeats for agents that expect news.
pub(super) const HEARTBEAT: Nanos = 100_000_000;

/// In `multicast` the broadcaster waits so long for viewers to be in the group.
const JOINING: Nanos = 500_000_000;

/// A member of a tree: a host in one of its spells.
type Key = (Host, u32);

/// An agent hears of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Introduction {
    /// From when on the controller has it to tell, in nanoseconds since the timeline began: with the next heartbeat that passes.
    pub at: Nanos,
    /// The stream that they share, by its place in the plan.
    pub stream: usize,
    /// The host whose agent hears of it.
    pub to: Host,
    /// What peer is named to it, and what for.
    pub named: Named,
    /// Number of the introduction; a later one has a greater number.
    pub number: u64,
}

/// Whom the controller names to an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// Who has the stream for it.
    Parent(Host),
    /// Who has it when the parent does not; `None`: nobody does any more.
    Standby(Option<Host>),
    /// The CDN: no peer is to give it the stream.
    Cdn,
    /// Who is going to ask it.
    Child(Host),
    /// Switches copy the stream.
    Group,
}

impl Named {
    /// What is told later stands for what was to be told before.
    pub(super) fn replaces(self, before: Named) -> bool {
        match (self, before) {
            (Named::Standby(_), Named::Standby(_)) => true,
            (Named::Parent(_) | Named::Cdn, Named::Parent(_) | Named::Cdn) => true,
            _ => self == before,
        }
    }
}

/// The controller's view of a trial.
#[derive(Debug)]
pub struct Controller {
    scheme: Scheme,
    rate: Rate,
    hosts: Vec<Known>,
    streams: Vec<State>,
    switches: Switches,
    numbered: u64,
    /// Of each stream, the viewers at a switch of its broadcaster.
    near: Vec<Vec<Host>>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    switch: usize,
    delay: Duration,
    up: Option<f64>,
    /// When its heartbeats are sent, within [`HEARTBEAT`].
    phase: Nanos,
}

#[derive(Debug, Default)]
struct State {
    broadcaster: Option<(Host, Nanos)>,
    tree: Option<Tree<Key>>,
    /// In which spell each viewer is that came.
    spells: BTreeMap<Host, u32>,
    /// In `bypass`: viewers that play, and those that the broadcaster serves. In `multicast`: viewers that were not told of the group, and those that were.
    playing: Vec<(Host, Nanos)>,
    served: Vec<Host>,
    /// In `multicast`: those that have not answered yet.
    joining: Vec<Host>,
}

impl Controller {
    /// The controller of a trial, when nobody is there.
    pub fn of(trial: &Trial) -> Self {
        let names: Vec<&str> = trial.network.switches.iter().map(|switch| switch.name.as_str()).collect();
        let number = |name: &str| names.iter().position(|switch| *switch == name).unwrap_or_default();
        let mut chance = fastrand::Rng::with_seed(trial.seed);
        let known = |host: &crate::plan::Host| {
            let link = host.interfaces.first().and_then(|interface| trial.network.links.get(interface.link));
            Known {
                switch: link.map_or(0, |link| number(&link.b.node)),
                delay: link.map(|link| link.shape.delay).unwrap_or_default(),
                up: link.and_then(|link| link.shape.bandwidth).map(|up| up as f64),
                phase: chance.u64(0..HEARTBEAT),
            }
        };
        let hosts = trial.network.hosts.iter().map(known).collect();
        let trunks: Vec<_> = trial
            .network
            .trunks()
            .map(|link| (number(&link.a.node), number(&link.b.node), link.shape.delay))
            .collect();
        let near = |stream: &crate::plan::Stream| {
            let is_near = |name: &String| trial.network.share_switch(&stream.broadcaster, name);
            let place = |name: &String| trial.network.hosts.iter().position(|host| host.name == *name);
            stream.viewers.iter().filter(|name| is_near(name)).filter_map(place).collect()
        };
        let near = trial.streams.iter().map(near).collect();
        Self {
            scheme: trial.point.scheme,
            rate: Rate { bit_per_s: trial.video.total_bitrate() as f64, frames_per_s: f64::from(trial.video.fps) },
            hosts,
            streams: trial.streams.iter().map(|_| State::default()).collect(),
            switches: Switches::joined(names.len(), &trunks),
            numbered: 0,
            near,
        }
    }

    fn member(&self, key: Key, others: f64) -> Member<Key> {
        let Known { switch, delay, up, .. } = self.hosts[key.0];
        Member { key, switch, delay, copies: self.rate.copies(up, others), copy_time: self.rate.copy_time(up, 1.0) }
    }

    /// A broadcaster publishes, at that moment; in `relay` it has announced the stream before.
    pub fn publish(&mut self, stream: usize, host: Host, at: Nanos) -> Vec<Introduction> {
        self.streams[stream].broadcaster = Some((host, at));
        match self.scheme {
            Scheme::Relay => {
                let member = self.member((host, 0), self.rate.copy());
                let mut tree = Tree::new(self.switches.clone());
                let changes = tree.begin(member);
                self.streams[stream].tree = Some(tree);
                self.introduced(stream, &changes, 0)
            }
            Scheme::Bypass => self.bypass(stream, at),
            Scheme::Multicast => self.multicast(stream, at),
            Scheme::Direct | Scheme::Hls => Vec::new(),
        }
    }

    /// A viewer plays: where its stream is to come from, and who is told so.
    pub fn play(&mut self, stream: usize, host: Host, at: Nanos) -> Vec<Introduction> {
        match self.scheme {
            Scheme::Relay => {
                // Who crashed and comes again is another member, and the one that it was is gone.
                let mut told = self.left(stream, host, at);
                let spell = self.streams[stream].spells.entry(host).or_insert(0);
                *spell += 1;
                let key = (host, *spell);
                let member = self.member(key, 0.0);
                let Some(tree) = self.streams[stream].tree.as_mut() else { return told };
                let changes = tree.join(member);
                told.extend(self.introduced(stream, &changes, at));
                told
            }
            Scheme::Bypass => {
                let mut told = self.left(stream, host, at);
                self.streams[stream].playing.push((host, at));
                told.extend(self.bypass(stream, at));
                told
            }
            Scheme::Multicast => {
                let mut told = self.left(stream, host, at);
                self.streams[stream].playing.push((host, at));
                told.extend(self.multicast(stream, at));
                told
            }
            Scheme::Direct | Scheme::Hls => Vec::new(),
        }
    }

    /// Whoever plays a stream is told of its group, and so is the broadcaster once somebody is in it.
    fn multicast(&mut self, stream: usize, now: Nanos) -> Vec<Introduction> {
        let Some((broadcaster, since)) = self.streams[stream].broadcaster else { return Vec::new() };
        let is_first = self.streams[stream].served.is_empty();
        let mut told = Vec::new();
        for (host, came) in std::mem::take(&mut self.streams[stream].playing) {
            self.streams[stream].served.push(host);
            told.push(self.tell(stream, host, Named::Group, now.max(since).max(came)));
        }
        self.streams[stream].joining.extend(told.iter().map(|one| one.to));
        if is_first && let Some(first) = told.first().copied() {
            told.push(self.tell(stream, broadcaster, Named::Group, first.at + JOINING));
        }
        told
    }

    /// A viewer has answered that it is in the group. When all have, the broadcaster need not wait any more.
    pub fn joined(&mut self, stream: usize, host: Host, now: Nanos) -> Vec<Introduction> {
        let joining = &mut self.streams[stream].joining;
        let were_some = !joining.is_empty();
        joining.retain(|one| *one != host);
        match self.streams[stream].broadcaster {
            Some((broadcaster, _)) if were_some && self.streams[stream].joining.is_empty() => {
                vec![self.tell(stream, broadcaster, Named::Group, now)]
            }
            _ => Vec::new(),
        }
    }

    /// Whom the broadcaster serves that is at its switch, as far as its uplink goes.
    fn bypass(&mut self, stream: usize, now: Nanos) -> Vec<Introduction> {
        let Some((broadcaster, since)) = self.streams[stream].broadcaster else { return Vec::new() };
        let up = self.hosts[broadcaster].up;
        let copies = self.rate.copies(up, self.rate.copy()).max(1) as usize;
        let mut told = Vec::new();
        let playing = std::mem::take(&mut self.streams[stream].playing);
        let (near, far): (Vec<_>, Vec<_>) =
            playing.into_iter().partition(|(host, _)| self.near[stream].contains(host));
        let free = copies.saturating_sub(self.streams[stream].served.len());
        let (serve, wait) = near.split_at(near.len().min(free));
        for (host, came) in serve {
            let at = now.max(since).max(*came);
            self.streams[stream].served.push(*host);
            told.push(self.tell(stream, *host, Named::Parent(broadcaster), at));
            told.push(self.tell(stream, broadcaster, Named::Child(*host), at));
        }
        self.streams[stream].playing = wait.iter().chain(&far).copied().collect();
        told
    }

    /// A viewer has taken leave: where its children find the stream.
    pub fn left(&mut self, stream: usize, host: Host, at: Nanos) -> Vec<Introduction> {
        let key = self.key(stream, host);
        let state = &mut self.streams[stream];
        if let Some(tree) = state.tree.as_mut() {
            let changes = tree.leave(key);
            return self.introduced(stream, &changes, at);
        }
        state.playing.retain(|(other, _)| *other != host);
        state.served.retain(|other| *other != host);
        state.joining.retain(|other| *other != host);
        match self.scheme {
            Scheme::Bypass => self.bypass(stream, at),
            _ => Vec::new(),
        }
    }

    /// A viewer says that its parent does not serve it.
    pub fn lost(&mut self, stream: usize, child: Host, parent: Host, at: Nanos) -> Vec<Introduction> {
        // A parent that has come again since is another member; the one that was lost is the one below which the child is.
        let child = self.key(stream, child);
        let Some(tree) = self.streams[stream].tree.as_mut() else { return Vec::new() };
        let known = [tree.parent(child), tree.standby(child)].into_iter().flatten().find(|known| known.0 == parent);
        let Some(parent) = known else { return Vec::new() };
        let changes = tree.lost(child, parent, Duration::from_nanos(at));
        self.introduced(stream, &changes, at)
    }

    /// Time has passed.
    pub fn tick(&mut self, stream: usize, at: Nanos) -> Vec<Introduction> {
        let Some(tree) = self.streams[stream].tree.as_mut() else { return Vec::new() };
        let changes = tree.tick(Duration::from_nanos(at));
        self.introduced(stream, &changes, at)
    }

    fn key(&self, stream: usize, host: Host) -> Key {
        (host, self.streams[stream].spells.get(&host).copied().unwrap_or_default())
    }

    fn introduced(&mut self, stream: usize, changes: &Changes<Key>, at: Nanos) -> Vec<Introduction> {
        let mut named = Vec::new();
        for one in &changes.moves {
            match one.to {
                Some(parent) => named.push((one.child, Named::Parent(parent.0))),
                // Who joins is at the CDN already, and who does not answer is told nothing.
                None if matches!(one.why, Why::Joined | Why::Gone) => {}
                None => named.push((one.child, Named::Cdn)),
            }
        }
        named.extend(changes.standbys.iter().map(|one| (one.child, Named::Standby(one.to.map(|to| to.0)))));
        // Who went or crashed hears nothing.
        let present = named.into_iter().filter(|(to, _)| self.key(stream, to.0) == *to).collect::<Vec<_>>();
        present.into_iter().map(|(to, named)| self.tell(stream, to.0, named, at)).collect()
    }

    fn tell(&mut self, stream: usize, to: Host, named: Named, at: Nanos) -> Introduction {
        self.numbered += 1;
        Introduction { at, stream, to, named, number: self.numbered }
    }

    /// When a host's heartbeats are sent, within [`HEARTBEAT`].
    pub(super) fn phase(&self, host: Host) -> Nanos {
        self.hosts[host].phase
    }
}

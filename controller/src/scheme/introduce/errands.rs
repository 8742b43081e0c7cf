//! What agents are still to be told.

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};

use livectl_wire::StreamKey;
use livectl_wire::heartbeat::{Introduction, LEN, PeerRole};

use super::connection::{Bounded, Connection};
use super::policy::Pair;

/// Answers that are remembered, so that nobody is told again what it acts on; the oldest are forgotten.
const MAX_HEEDED: usize = 65_536;

/// What an agent is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Matter {
    /// The other side of a pair.
    Pair(Pair),
    /// That this member has its stream from the CDN, or gives it to nobody else.
    Cdn(Connection),
    /// That this broadcaster is to send to its group.
    Group(Connection),
}

impl Matter {
    /// Whether it is about this member.
    pub fn concerns(&self, member: &Connection) -> bool {
        match self {
            Matter::Pair(pair) => pair.parent == *member || pair.child == *member,
            Matter::Cdn(of) | Matter::Group(of) => of == member,
        }
    }

    fn renamed(self, from: &Connection, to: &Connection) -> Self {
        let of = |one: Connection| if one == *from { *to } else { one };
        match self {
            Matter::Pair(pair) => Matter::Pair(pair.renamed(from, to)),
            Matter::Cdn(one) => Matter::Cdn(of(one)),
            Matter::Group(one) => Matter::Group(of(one)),
        }
    }
}

/// Something that is to be told to an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errand {
    /// The member whose agent is told, by its connection.
    pub to: Connection,
    /// What the other is to it.
    pub role: PeerRole,
    /// Address and port of the other.
    pub peer: SocketAddrV4,
    /// The stream that they have in common.
    pub stream: StreamKey,
    /// What it is about.
    pub matter: Matter,
}

impl Errand {
    fn agent(&self) -> Ipv4Addr {
        *self.to.client.ip()
    }
}

/// What each agent is to be told, until it says that it acts on it.
#[derive(Debug)]
pub struct Errands {
    queues: HashMap<Ipv4Addr, Queue>,
    /// What agents have said that they act on.
    heeded: Bounded<(Ipv4Addr, Matter), ()>,
}

/// What was not told yet comes before what was, and that which was told longest ago before the rest: so that
/// everybody's turn comes, however long answers take.
#[derive(Debug, Default)]
struct Queue {
    untold: VecDeque<Errand>,
    told: VecDeque<Errand>,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.untold.is_empty() && self.told.is_empty()
    }

    fn retain(&mut self, mut keep: impl FnMut(&Errand) -> bool) {
        self.untold.retain(&mut keep);
        self.told.retain(keep);
    }

    /// Takes out the first that are wanted, until so many are taken.
    fn take(from: &mut VecDeque<Errand>, most: usize, wanted: impl Fn(&Errand) -> bool, taken: &mut Vec<Errand>) {
        let mut at = 0;
        while taken.len() < most
            && let Some(errand) = from.get(at)
        {
            if wanted(errand) {
                taken.extend(from.remove(at));
            } else {
                at += 1;
            }
        }
    }
}

impl Default for Errands {
    fn default() -> Self {
        Self { queues: HashMap::new(), heeded: Bounded::new(MAX_HEEDED) }
    }
}

impl Errands {
    /// There is something to tell. Says whether there is: not if the agent acts on it already.
    pub fn add(&mut self, errand: Errand) -> bool {
        let is_new = self.heeded.get(&(errand.agent(), errand.matter)).is_none();
        if is_new {
            self.queues.entry(errand.agent()).or_default().untold.push_back(errand);
        }
        is_new
    }

    /// Whether its agent acts on it already.
    pub fn is_heeded(&self, errand: &Errand) -> bool {
        self.heeded.get(&(errand.agent(), errand.matter)).is_some()
    }

    /// What a heartbeat for this agent is to say, and which members learn of a peer by it.
    pub fn tell(&mut self, agent: Ipv4Addr) -> Option<(Introduction, Vec<Connection>)> {
        let queue = self.queues.get_mut(&agent)?;
        let first = queue.untold.front().or_else(|| queue.told.front())?;
        let (role, stream) = (first.role, first.stream.clone());
        let alike = |errand: &Errand| errand.role == role && errand.stream == stream;
        let candidates = queue.untold.iter().chain(&queue.told).filter(|errand| alike(errand));
        // No address takes less than ten bytes with its comma.
        let mut peers: Vec<SocketAddrV4> = candidates.map(|errand| errand.peer).take(LEN / 10).collect();
        peers.truncate(Introduction::fitting(role, &stream, &peers));
        let mut taken = Vec::new();
        Queue::take(&mut queue.untold, peers.len(), alike, &mut taken);
        Queue::take(&mut queue.told, peers.len(), alike, &mut taken);
        let learn = taken.iter().map(|errand| errand.to).collect();
        queue.told.extend(taken);
        Some((Introduction { role, peers, stream }, learn))
    }

    /// An agent acts on what it was told. Returns those of the peers of whom it still had to be told.
    pub fn acknowledge(&mut self, agent: Ipv4Addr, heard: &Introduction) -> Vec<SocketAddrV4> {
        let Self { queues, heeded } = self;
        let Some(queue) = queues.get_mut(&agent) else { return Vec::new() };
        let mut done = Vec::new();
        // What was not told cannot be meant: the peer came again while the answer was on its way.
        queue.told.retain(|errand| {
            let is_meant =
                errand.role == heard.role && errand.stream == heard.stream && heard.peers.contains(&errand.peer);
            if is_meant {
                heeded.insert((agent, errand.matter), ());
                done.push(errand.peer);
            }
            !is_meant
        });
        if queue.is_empty() {
            queues.remove(&agent);
        }
        done
    }

    /// An agent need not be told any more of what `void` is true for.
    pub fn cancel(&mut self, agent: Ipv4Addr, void: impl Fn(&Matter) -> bool) {
        if let Some(queue) = self.queues.get_mut(&agent) {
            queue.retain(|errand| !void(&errand.matter));
            if queue.is_empty() {
                self.queues.remove(&agent);
            }
        }
    }

    /// The same of one thing, which the agent does not act on any more either: should it be so again, it is told
    /// again.
    pub fn forget(&mut self, agent: Ipv4Addr, matter: &Matter) {
        self.cancel(agent, |other| other == matter);
        self.heeded.remove(&(agent, *matter));
    }

    /// A member is known by another connection from now on, and this matter is another one with it: who has been
    /// told, and what was answered, stays.
    pub fn rename(&mut self, agent: Ipv4Addr, matter: Matter, from: &Connection, to: &Connection) {
        let renamed = matter.renamed(from, to);
        if self.heeded.remove(&(agent, matter)).is_some() {
            self.heeded.insert((agent, renamed), ());
        }
        let Some(queue) = self.queues.get_mut(&agent) else { return };
        for errand in queue.untold.iter_mut().chain(&mut queue.told).filter(|errand| errand.matter == matter) {
            errand.matter = renamed;
            if errand.to == *from {
                errand.to = *to;
            }
        }
    }

    /// Whether something is still to be told.
    pub fn is_pending(&self, agent: Ipv4Addr, matter: &Matter) -> bool {
        let queue = self.queues.get(&agent);
        queue.is_some_and(|queue| queue.untold.iter().chain(&queue.told).any(|errand| errand.matter == *matter))
    }

    /// All that is still to be told.
    #[cfg(test)]
    pub fn iter(&self) -> impl Iterator<Item = (Ipv4Addr, &Errand)> {
        self.queues.iter().flat_map(|(agent, queue)| {
            let errands = queue.untold.iter().chain(&queue.told);
            errands.map(|errand| (*agent, errand))
        })
    }
}

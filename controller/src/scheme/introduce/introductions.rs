//! Who plays and publishes what, and who is to be told of whom.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use livectl_wire::StreamKey;
use livectl_wire::heartbeat::{Introduction, PeerRole};

use super::super::Dpid;
use super::connection::Connection;
use crate::openflow::PortNo;

/// Viewers and broadcasters at once; further ones stay with the CDN.
const MAX_MEMBERS: usize = 65_536;
/// Pairs whose connections to each other are recognised; the oldest are forgotten.
const MAX_PAIRS: usize = 65_536;

/// A host that plays or publishes a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What it does.
    pub role: PeerRole,
    /// Which stream.
    pub stream: StreamKey,
    /// Its RTMP connection to the CDN.
    pub connection: Connection,
    /// The switch that it is at.
    pub dpid: Dpid,
    /// The port of that switch.
    pub port: PortNo,
    /// Since when its flows are known to be gone without it being known to be gone.
    pub unsure_since: Option<Duration>,
}

impl Member {
    /// Its address.
    #[must_use]
    pub fn host(&self) -> Ipv4Addr {
        *self.connection.client.ip()
    }
}

/// Something to tell an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Errand {
    introduction: Introduction,
    /// The RTMP connections of viewer and broadcaster: when one of them ends, the errand is void.
    pair: [Connection; 2],
}

/// All streams and agents.
#[derive(Debug)]
pub struct Introductions {
    peer_port: u16,
    members: HashMap<Connection, Member>,
    streams: BTreeMap<StreamKey, Stream>,
    /// What agents are still to be told, the first first.
    errands: HashMap<Ipv4Addr, VecDeque<Errand>>,
    pairs: HashSet<[Ipv4Addr; 2]>,
    pair_order: VecDeque<[Ipv4Addr; 2]>,
}

#[derive(Debug, Default)]
struct Stream {
    broadcaster: Option<Connection>,
    viewers: BTreeMap<Ipv4Addr, Connection>,
}

impl Introductions {
    /// Nobody is there. Agents serve peers at `peer_port`.
    #[must_use]
    pub fn new(peer_port: u16) -> Self {
        Self {
            peer_port,
            members: HashMap::new(),
            streams: BTreeMap::new(),
            errands: HashMap::new(),
            pairs: HashSet::new(),
            pair_order: VecDeque::new(),
        }
    }

    /// A host plays or publishes. Who did so in its place before (the same viewer by another connection, the stream's broadcaster
    /// before) is returned. If there are too many, nothing is kept, and that is the error.
    ///
    /// # Errors
    /// The limit.
    pub fn arrive(&mut self, member: Member) -> Result<Vec<Member>, usize> {
        let mut replaced: Vec<Member> = self.leave(&member.connection).into_iter().collect();
        if self.members.len() >= MAX_MEMBERS {
            return Err(MAX_MEMBERS);
        }
        let stream = self.streams.entry(member.stream.clone()).or_default();
        let before = match member.role {
            PeerRole::Viewer => stream.viewers.get(&member.host()).copied(),
            PeerRole::Broadcaster => stream.broadcaster,
        };
        replaced.extend(before.and_then(|before| self.leave(&before)));
        let stream = self.streams.entry(member.stream.clone()).or_default();
        let others: Vec<Connection> = match member.role {
            PeerRole::Viewer => {
                stream.viewers.insert(member.host(), member.connection);
                stream.broadcaster.into_iter().collect()
            }
            PeerRole::Broadcaster => {
                stream.broadcaster = Some(member.connection);
                stream.viewers.values().copied().collect()
            }
        };
        for other in others {
            let Some(other) = self.members.get(&other) else { continue };
            if other.dpid == member.dpid && other.host() != member.host() {
                let other = other.clone();
                self.introduce(&member, &other);
                self.introduce(&other, &member);
            }
        }
        self.members.insert(member.connection, member);
        Ok(replaced)
    }

    /// Has `to` told of `peer`.
    fn introduce(&mut self, to: &Member, peer: &Member) {
        let introduction = Introduction {
            role: peer.role,
            peers: vec![SocketAddrV4::new(peer.host(), self.peer_port)],
            stream: peer.stream.clone(),
        };
        let pair = match to.role {
            PeerRole::Viewer => [to.connection, peer.connection],
            PeerRole::Broadcaster => [peer.connection, to.connection],
        };
        // It is not there yet: what was to be told of an earlier connection of either went with that connection.
        self.errands.entry(to.host()).or_default().push_back(Errand { introduction, pair });
        let hosts = ordered(to.host(), peer.host());
        if self.pairs.insert(hosts) {
            self.pair_order.push_back(hosts);
            if self.pair_order.len() > MAX_PAIRS
                && let Some(oldest) = self.pair_order.pop_front()
            {
                self.pairs.remove(&oldest);
            }
        }
    }

    /// A host plays or publishes no longer; what others were still to be told of it is void.
    pub fn leave(&mut self, connection: &Connection) -> Option<Member> {
        let member = self.members.remove(connection)?;
        let Some(stream) = self.streams.get_mut(&member.stream) else { return Some(member) };
        let others: Vec<Ipv4Addr> = match member.role {
            PeerRole::Broadcaster => {
                stream.broadcaster.take_if(|present| present == connection);
                stream.viewers.keys().copied().collect()
            }
            PeerRole::Viewer => {
                if stream.viewers.get(&member.host()) == Some(connection) {
                    stream.viewers.remove(&member.host());
                }
                stream.broadcaster.map(|broadcaster| *broadcaster.client.ip()).into_iter().collect()
            }
        };
        if stream.broadcaster.is_none() && stream.viewers.is_empty() {
            self.streams.remove(&member.stream);
        }
        for host in others.into_iter().chain([member.host()]) {
            self.cancel(host, connection);
        }
        Some(member)
    }

    /// An agent need not be told any more of the introductions that a connection is a side of.
    fn cancel(&mut self, agent: Ipv4Addr, connection: &Connection) {
        if let Some(queue) = self.errands.get_mut(&agent) {
            queue.retain(|errand| !errand.pair.contains(connection));
            if queue.is_empty() {
                self.errands.remove(&agent);
            }
        }
    }

    /// The member whose RTMP connection this is.
    pub fn member_mut(&mut self, connection: &Connection) -> Option<&mut Member> {
        self.members.get_mut(connection)
    }

    /// All members.
    pub fn members_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.members.values_mut()
    }

    /// What an agent is to be told next.
    #[must_use]
    pub fn errand(&self, agent: Ipv4Addr) -> Option<&Introduction> {
        self.errands.get(&agent)?.front().map(|errand| &errand.introduction)
    }

    /// An agent acts on what it was told. Says whether it still had to be told that.
    pub fn acknowledge(&mut self, agent: Ipv4Addr, introduction: &Introduction) -> bool {
        let Some(queue) = self.errands.get_mut(&agent) else { return false };
        let before = queue.len();
        queue.retain(|errand| errand.introduction != *introduction);
        let done = queue.len() < before;
        if queue.is_empty() {
            self.errands.remove(&agent);
        }
        done
    }

    /// Whether two hosts were introduced to each other.
    #[must_use]
    pub fn are_introduced(&self, one: Ipv4Addr, other: Ipv4Addr) -> bool {
        self.pairs.contains(&ordered(one, other))
    }
}

fn ordered(one: Ipv4Addr, other: Ipv4Addr) -> [Ipv4Addr; 2] {
    [one.min(other), one.max(other)]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use PeerRole::{Broadcaster, Viewer};
    use proptest::prelude::*;

    fn member(role: PeerRole, stream: &str, host: u8, port: u16, dpid: u64) -> Member {
        Member {
            role,
            stream: stream.parse().unwrap(),
            connection: Connection {
                client: SocketAddrV4::new(ip(host), port),
                server: "10.0.0.100:1935".parse().unwrap(),
            },
            dpid: Dpid(dpid),
            port: PortNo(host.into()),
            unsure_since: None,
        }
    }

    fn ip(host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, host)
    }

    fn errand(all: &Introductions, to: u8) -> Option<String> {
        all.errand(ip(to)).map(ToString::to_string)
    }

    #[test]
    fn either_may_come_first() {
        for order in [[0, 1], [1, 0]] {
            let both = [member(Broadcaster, "live/hb", 1, 5000, 1), member(Viewer, "live/hb", 2, 5000, 1)];
            let mut all = Introductions::new(2000);
            for at in order {
                assert_eq!(all.arrive(both[at].clone()), Ok(vec![]));
            }
            assert_eq!(errand(&all, 1).unwrap(), "peer viewer 10.0.0.2:2000 live/hb");
            assert_eq!(errand(&all, 2).unwrap(), "peer broadcaster 10.0.0.1:2000 live/hb");
            assert!(all.are_introduced(ip(1), ip(2)) && all.are_introduced(ip(2), ip(1)));
            assert!(!all.are_introduced(ip(1), ip(3)));
        }
    }

    #[test]
    fn only_those_of_one_stream_at_one_switch() {
        let mut all = Introductions::new(2000);
        all.arrive(member(Broadcaster, "live/hb", 1, 5000, 1)).unwrap();
        all.arrive(member(Viewer, "live/hb", 2, 5000, 2)).unwrap();
        all.arrive(member(Viewer, "live/other", 3, 5000, 1)).unwrap();
        all.arrive(member(Viewer, "live/hb", 1, 5001, 1)).unwrap();
        for host in 1..=3 {
            assert_eq!(errand(&all, host), None, "{host}");
        }
    }

    #[test]
    fn one_at_a_time_until_it_is_acknowledged() {
        let mut all = Introductions::new(2000);
        all.arrive(member(Broadcaster, "live/hb", 1, 5000, 1)).unwrap();
        for viewer in 2..=4 {
            all.arrive(member(Viewer, "live/hb", viewer, 5000, 1)).unwrap();
        }
        for viewer in 2..=4 {
            let told = all.errand(ip(1)).unwrap().clone();
            assert_eq!(*told.peers[0].ip(), ip(viewer));
            assert!(!all.acknowledge(ip(2), &told), "not from another agent");
            assert!(all.acknowledge(ip(1), &told));
            assert!(!all.acknowledge(ip(1), &told), "only once");
        }
        assert_eq!(errand(&all, 1), None);
    }

    #[test]
    fn who_leaves_is_not_introduced_and_who_comes_back_is() {
        let mut all = Introductions::new(2000);
        let viewer = member(Viewer, "live/hb", 2, 5000, 1);
        all.arrive(member(Broadcaster, "live/hb", 1, 5000, 1)).unwrap();
        all.arrive(viewer.clone()).unwrap();
        assert_eq!(all.leave(&viewer.connection), Some(viewer.clone()));
        assert_eq!(all.leave(&viewer.connection), None);
        assert_eq!((errand(&all, 1), errand(&all, 2)), (None, None));
        let again = member(Viewer, "live/hb", 2, 5001, 1);
        all.arrive(again.clone()).unwrap();
        let told = all.errand(ip(2)).unwrap().clone();
        assert!(all.acknowledge(ip(2), &told));
        // By a new connection before the old one is known to have ended.
        assert_eq!(all.arrive(member(Viewer, "live/hb", 2, 5002, 1)), Ok(vec![again]));
        assert!(errand(&all, 2).is_some());
    }

    #[test]
    fn a_broadcaster_that_restarts_is_introduced_again() {
        let mut all = Introductions::new(2000);
        let first = member(Broadcaster, "live/hb", 1, 5000, 1);
        all.arrive(first.clone()).unwrap();
        all.arrive(member(Viewer, "live/hb", 2, 5000, 1)).unwrap();
        for host in 1..=2 {
            let told = all.errand(ip(host)).unwrap().clone();
            assert!(all.acknowledge(ip(host), &told));
        }
        assert_eq!(all.arrive(member(Broadcaster, "live/hb", 1, 5001, 1)), Ok(vec![first]));
        assert!(errand(&all, 1).is_some() && errand(&all, 2).is_some());
    }

    #[test]
    fn the_broadcaster_may_be_another_host() {
        let mut all = Introductions::new(2000);
        let first = member(Broadcaster, "live/hb", 1, 5000, 1);
        all.arrive(first.clone()).unwrap();
        all.arrive(member(Viewer, "live/hb", 2, 5000, 1)).unwrap();
        all.arrive(member(Broadcaster, "live/hb", 3, 5000, 1)).unwrap();
        assert_eq!(errand(&all, 1), None);
        assert_eq!(errand(&all, 2).unwrap(), "peer broadcaster 10.0.0.3:2000 live/hb");
        // Its old connection ends later: the new one is not touched.
        assert_eq!(all.leave(&first.connection), None);
        all.arrive(member(Viewer, "live/hb", 4, 5000, 1)).unwrap();
        assert_eq!(errand(&all, 4).unwrap(), "peer broadcaster 10.0.0.3:2000 live/hb");
    }

    #[test]
    fn nothing_is_kept_of_those_who_left() {
        let mut all = Introductions::new(2000);
        for round in 0..100 {
            let both = [member(Broadcaster, "live/a", 1, round, 1), member(Viewer, "live/a", 2, round, 1)];
            for one in &both {
                all.arrive(one.clone()).unwrap();
            }
            for one in &both {
                all.leave(&one.connection).unwrap();
            }
        }
        assert!(all.members.is_empty() && all.streams.is_empty() && all.errands.is_empty());
        assert_eq!(all.pairs.len(), 1);
    }

    proptest! {
        /// Whoever comes, goes and comes again, agents are only told of those who are there.
        #[test]
        fn only_members_are_introduced(steps in proptest::collection::vec((any::<bool>(), any::<bool>(), 1u8..5, 0u16..3, 0usize..2, any::<bool>()), 0..60)) {
            let mut all = Introductions::new(2000);
            for (arrives, broadcasts, host, port, stream, is_near) in steps {
                let role = if broadcasts { Broadcaster } else { Viewer };
                let one = member(role, ["live/a", "live/b"][stream], host, port, 1 + u64::from(is_near));
                if arrives {
                    all.arrive(one).unwrap();
                } else {
                    all.leave(&one.connection);
                }
                for (agent, queue) in &all.errands {
                    let mut once = HashSet::new();
                    prop_assert!(!queue.is_empty() && queue.iter().all(|errand| once.insert(&errand.introduction)));
                    for errand in queue {
                        let pair = errand.pair.map(|connection| all.members.get(&connection).map(Member::host));
                        let peer = Some(*errand.introduction.peers[0].ip());
                        prop_assert!(pair == [Some(*agent), peer] || pair == [peer, Some(*agent)], "{:?}", errand);
                    }
                }
            }
        }
    }
}

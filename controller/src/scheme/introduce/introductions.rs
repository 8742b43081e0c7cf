//! Who is to be told of whom: what a policy decides about members becomes errands to their agents.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use livectl_wire::heartbeat::{Introduction, PeerRole};

use super::connection::Connection;
use super::errands::{Errand, Errands};
use super::members::{MAX_MEMBERS, Member, Members};
use super::policy::{Change, Pair, Policy};
use super::presence::Presence;

/// Hosts whose connections to each other are recognised; the oldest are forgotten.
const MAX_ACQUAINTED: usize = 65_536;
/// Who is alone for so long is told to the outside, with the reason: a heartbeat comes every second, and who starts a broadcaster and its viewers
/// starts them one after the other.
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
    acquainted: HashSet<[Ipv4Addr; 2]>,
    acquaintance_order: VecDeque<[Ipv4Addr; 2]>,
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
            acquainted: HashSet::new(),
            acquaintance_order: VecDeque::new(),
        }
    }

    /// A host plays or publishes. Who did so in its place before (the same viewer by another connection, the stream's broadcaster
    /// before) is returned. If there are too many, nothing is kept, and that is the error.
    ///
    /// # Errors
    /// The limit.
    pub fn arrive(&mut self, now: Duration, member: Member, presence: Presence) -> Result<Vec<Member>, usize> {
        let mut replaced: Vec<Member> = self.leave(now, &member.connection).into_iter().collect();
        if self.members.is_full() {
            return Err(MAX_MEMBERS);
        }
        replaced.extend(self.members.in_place_of(&member).and_then(|before| self.leave(now, &before)));
        let kept = Kept { presence, alone_since: now, is_introduced: false, reason: None };
        self.members.insert(member.clone(), kept);
        let change = self.policy.arrive(&member, self.members.audience(&member.stream));
        self.change(now, change);
        Ok(replaced)
    }

    /// A host plays or publishes no longer; what others were still to be told of it is void.
    pub fn leave(&mut self, now: Duration, connection: &Connection) -> Option<Member> {
        let (member, _) = self.members.remove(connection)?;
        // Of its own agent once, however many it has: a broadcaster has many.
        self.errands.cancel(member.host(), |pair| [pair.parent, pair.child].contains(connection));
        for pair in self.pairs.remove(connection).unwrap_or_default() {
            let other = if pair.parent == *connection { pair.child } else { pair.parent };
            self.errands.cancel(*other.client.ip(), |void| *void == pair);
            self.unpair(&other, &pair);
        }
        let change = self.policy.leave(&member, self.members.audience(&member.stream));
        self.change(now, change);
        Some(member)
    }

    fn change(&mut self, now: Duration, change: Change) {
        for pair in change.void {
            for side in [pair.parent, pair.child] {
                self.errands.cancel(*side.client.ip(), |void| *void == pair);
                self.unpair(&side, &pair);
            }
        }
        for pair in change.introduce {
            self.introduce(now, pair);
        }
    }

    fn unpair(&mut self, side: &Connection, pair: &Pair) {
        if let Some(pairs) = self.pairs.get_mut(side) {
            pairs.remove(pair);
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
        if !self.pairs.entry(pair.parent).or_default().insert(pair) {
            return;
        }
        self.pairs.entry(pair.child).or_default().insert(pair);
        for (to, role, peer) in
            [(pair.child, PeerRole::Parent, pair.parent), (pair.parent, PeerRole::Child, pair.child)]
        {
            let peer = SocketAddrV4::new(*peer.client.ip(), self.peer_port);
            let is_to_be_told = self.errands.add(Errand { to, role, peer, stream: stream.clone(), pair });
            if let Some((_, kept)) = self.members.get_mut(&to).filter(|(_, kept)| !kept.is_introduced) {
                kept.alone_since = now;
                kept.is_introduced = !is_to_be_told;
            }
        }
        self.acquaint(*pair.parent.client.ip(), *pair.child.client.ip());
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

    /// What a heartbeat that passes now is to tell an agent: the peers of whom it was not told yet, as many as fit, then those of whom it was.
    pub fn tell(&mut self, agent: Ipv4Addr) -> Option<Introduction> {
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

    /// Who was told of nobody since it came, and why: each reason once, when it has lasted.
    pub fn alone(&mut self, now: Duration) -> Vec<(Member, &'static str)> {
        let Self { members, policy, pairs, .. } = self;
        let why = |member: &Member| match pairs.contains_key(&member.connection) {
            // Its agent is not there, or what it says passes another way.
            true => Some("no_heartbeat"),
            false => policy.alone(member, members.audience(&member.stream)),
        };
        let settled = members.iter().filter(|(_, kept)| !kept.is_introduced && now >= kept.alone_since + SETTLED);
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
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::super::super::{Bypass, Dpid};
    use super::super::connection::Direction;
    use super::super::presence::Stations;
    use super::*;
    use crate::frame::Frame;
    use crate::openflow::PortNo;
    use crate::testing::TcpFrame;
    use Part::{Broadcaster, Viewer};
    use proptest::prelude::*;

    const NOW: Duration = Duration::from_secs(100);

    fn introductions() -> Introductions {
        Introductions::new(2000, Box::new(Bypass))
    }

    fn presence() -> Presence {
        let bytes = TcpFrame::between("10.0.0.2:5000", "10.0.0.100:1935").bytes();
        Presence::new(Stations::of(&Frame::parse(&bytes).unwrap(), Direction::ToServer))
    }

    impl Introductions {
        fn come(&mut self, member: Member) -> Result<Vec<Member>, usize> {
            self.arrive(NOW, member, presence())
        }

        fn go(&mut self, connection: &Connection) -> Option<Member> {
            self.leave(NOW, connection)
        }
    }

    fn member(part: Part, stream: &str, host: u8, port: u16, dpid: u64) -> Member {
        Member {
            part,
            stream: stream.parse().unwrap(),
            connection: Connection {
                client: SocketAddrV4::new(ip(host), port),
                server: "10.0.0.100:1935".parse().unwrap(),
            },
            dpid: Dpid(dpid),
            port: PortNo(host.into()),
        }
    }

    fn ip(host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, host)
    }

    /// What the next heartbeat tells an agent.
    fn told(all: &mut Introductions, to: u8) -> Option<String> {
        all.tell(ip(to)).map(|told| told.to_string())
    }

    fn done(all: &mut Introductions, agent: u8, told: &Introduction) -> usize {
        all.acknowledge(ip(agent), told).len()
    }

    #[test]
    fn either_may_come_first() {
        for order in [[0, 1], [1, 0]] {
            let both = [member(Broadcaster, "live/hb", 1, 5000, 1), member(Viewer, "live/hb", 2, 5000, 1)];
            let mut all = introductions();
            for at in order {
                assert_eq!(all.come(both[at].clone()), Ok(vec![]));
            }
            assert_eq!(told(&mut all, 1).unwrap(), "peer child 10.0.0.2:2000 live/hb");
            assert_eq!(told(&mut all, 2).unwrap(), "peer parent 10.0.0.1:2000 live/hb");
            assert!(all.are_introduced(ip(1), ip(2)) && all.are_introduced(ip(2), ip(1)));
            assert!(!all.are_introduced(ip(1), ip(3)));
        }
    }

    #[test]
    fn only_those_of_one_stream_at_one_switch() {
        let mut all = introductions();
        all.come(member(Broadcaster, "live/hb", 1, 5000, 1)).unwrap();
        all.come(member(Viewer, "live/hb", 2, 5000, 2)).unwrap();
        all.come(member(Viewer, "live/other", 3, 5000, 1)).unwrap();
        all.come(member(Viewer, "live/hb", 1, 5001, 1)).unwrap();
        for host in 1..=3 {
            assert_eq!(told(&mut all, host), None, "{host}");
        }
    }

    fn viewers(hosts: std::ops::RangeInclusive<u8>) -> String {
        let peers: Vec<String> = hosts.map(|host| format!("10.0.0.{host}:2000")).collect();
        format!("peer child {} live/hb", peers.join(","))
    }

    /// A broadcaster at 1, with viewers from 2 on.
    fn audience(count: u8) -> Introductions {
        let mut all = introductions();
        all.come(member(Broadcaster, "live/hb", 1, 5000, 1)).unwrap();
        for viewer in 2..2 + count {
            all.come(member(Viewer, "live/hb", viewer, 5000, 1)).unwrap();
        }
        all
    }

    #[test]
    fn as_many_at_a_time_as_fit_and_the_rest_next() {
        let mut all = audience(12);
        assert_eq!(told(&mut all, 1).unwrap(), viewers(2..=6));
        assert_eq!(told(&mut all, 1).unwrap(), viewers(7..=11));
        // There is room for those who were told longest ago.
        let expected = "peer child 10.0.0.12:2000,10.0.0.13:2000,10.0.0.2:2000,10.0.0.3:2000,10.0.0.4:2000 live/hb";
        assert_eq!(told(&mut all, 1).unwrap(), expected);
        // Who comes now comes first.
        all.come(member(Viewer, "live/hb", 90, 5000, 1)).unwrap();
        assert_eq!(
            told(&mut all, 1).unwrap(),
            "peer child 10.0.0.90:2000,10.0.0.5:2000,10.0.0.6:2000,10.0.0.7:2000,10.0.0.8:2000 live/hb"
        );
        assert_eq!(told(&mut all, 90).unwrap(), "peer parent 10.0.0.1:2000 live/hb");
    }

    #[test]
    fn an_answer_clears_those_it_names_and_no_others() {
        let mut all = audience(5);
        let first = all.tell(ip(1)).unwrap();
        assert_eq!(first.peers.len(), 5);
        // One leaves, and another leaves and comes back, before the answer is there.
        all.go(&member(Viewer, "live/hb", 3, 5000, 1).connection).unwrap();
        all.come(member(Viewer, "live/hb", 4, 5001, 1)).unwrap();
        let some = Introduction { peers: first.peers[..3].to_vec(), ..first.clone() };
        assert_eq!(done(&mut all, 2, &some), 0, "not from another agent");
        let other = Introduction { stream: "live/other".parse().unwrap(), ..some.clone() };
        assert_eq!(done(&mut all, 1, &other), 0, "nor of another stream");
        assert_eq!(all.acknowledge(ip(1), &some), ["10.0.0.2:2000".parse().unwrap()]);
        assert_eq!(done(&mut all, 1, &some), 0, "only once");
        let rest = "peer child 10.0.0.4:2000,10.0.0.5:2000,10.0.0.6:2000 live/hb";
        assert_eq!(told(&mut all, 1).unwrap(), rest);
        assert_eq!(all.acknowledge(ip(1), &first).len(), 3);
        assert_eq!(told(&mut all, 1), None);
    }

    #[test]
    fn streams_of_one_agent_take_turns() {
        let mut all = introductions();
        for stream in ["live/a", "live/b"] {
            let port = if stream == "live/a" { 5000 } else { 5001 };
            all.come(member(Broadcaster, stream, 1, port, 1)).unwrap();
            all.come(member(Viewer, stream, 2, port, 1)).unwrap();
        }
        for stream in ["live/a", "live/b", "live/a"] {
            assert_eq!(told(&mut all, 1).unwrap(), format!("peer child 10.0.0.2:2000 {stream}"));
        }
    }

    #[test]
    fn who_was_told_and_acts_on_it_is_not_told_again() {
        let mut all = audience(1);
        let viewer = member(Viewer, "live/hb", 2, 5000, 1);
        for host in 1..=2 {
            let told = all.tell(ip(host)).unwrap();
            assert_eq!(done(&mut all, host, &told), 1);
        }
        // The same connection was taken for gone, and goes on.
        all.go(&viewer.connection).unwrap();
        all.come(viewer.clone()).unwrap();
        assert_eq!((told(&mut all, 1), told(&mut all, 2)), (None, None));
        assert_eq!(all.alone(NOW * 2), []);
        // Before it acted on it, it is told again.
        all.come(member(Viewer, "live/hb", 2, 5001, 1)).unwrap();
        let heard = all.tell(ip(1)).unwrap();
        assert_eq!(done(&mut all, 1, &heard), 1);
        let again = member(Viewer, "live/hb", 2, 5001, 1);
        all.go(&again.connection).unwrap();
        all.come(again).unwrap();
        assert_eq!(told(&mut all, 1), None);
        assert!(told(&mut all, 2).is_some());
    }

    #[test]
    fn why_nobody_is_introduced_is_told_once_it_lasts() {
        let mut all = introductions();
        let viewer = member(Viewer, "live/hb", 2, 5000, 1);
        all.come(viewer.clone()).unwrap();
        assert_eq!(all.alone(NOW), []);
        assert_eq!(all.alone(NOW + SETTLED), [(viewer.clone(), "no_broadcaster")]);
        assert_eq!(all.alone(NOW + SETTLED), [], "once");
        let elsewhere = member(Broadcaster, "live/hb", 1, 5000, 2);
        all.arrive(NOW + SETTLED, elsewhere.clone(), presence()).unwrap();
        assert_eq!(all.alone(NOW + SETTLED), [(viewer.clone(), "other_switch")]);
        assert_eq!(all.alone(NOW + SETTLED * 2), [(elsewhere, "other_switch")]);
        // Now they could be, but no heartbeat comes by.
        let here = member(Broadcaster, "live/hb", 1, 5001, 1);
        all.arrive(NOW + SETTLED * 2, here.clone(), presence()).unwrap();
        assert_eq!(all.alone(NOW + SETTLED * 3 - Duration::from_millis(1)), []);
        let mut both = all.alone(NOW + SETTLED * 3);
        both.sort_by_key(|(member, _)| member.host());
        assert_eq!(both, [(here.clone(), "no_heartbeat"), (viewer.clone(), "no_heartbeat")]);
        assert!(told(&mut all, 2).is_some());
        // Who was introduced once is not told of any more.
        all.go(&here.connection).unwrap();
        assert_eq!(all.alone(NOW + SETTLED * 9), []);
    }

    #[test]
    fn who_leaves_is_not_introduced_and_who_comes_back_is() {
        let mut all = introductions();
        let viewer = member(Viewer, "live/hb", 2, 5000, 1);
        all.come(member(Broadcaster, "live/hb", 1, 5000, 1)).unwrap();
        all.come(viewer.clone()).unwrap();
        assert_eq!(all.go(&viewer.connection), Some(viewer.clone()));
        assert_eq!(all.go(&viewer.connection), None);
        assert_eq!((told(&mut all, 1), told(&mut all, 2)), (None, None));
        let again = member(Viewer, "live/hb", 2, 5001, 1);
        all.come(again.clone()).unwrap();
        let heard = all.tell(ip(2)).unwrap();
        assert_eq!(done(&mut all, 2, &heard), 1);
        // By a new connection before the old one is known to have ended.
        assert_eq!(all.come(member(Viewer, "live/hb", 2, 5002, 1)), Ok(vec![again]));
        assert!(told(&mut all, 2).is_some());
    }

    #[test]
    fn a_broadcaster_that_restarts_is_introduced_again() {
        let mut all = introductions();
        let first = member(Broadcaster, "live/hb", 1, 5000, 1);
        all.come(first.clone()).unwrap();
        all.come(member(Viewer, "live/hb", 2, 5000, 1)).unwrap();
        for host in 1..=2 {
            let heard = all.tell(ip(host)).unwrap();
            assert_eq!(done(&mut all, host, &heard), 1);
        }
        assert_eq!(all.come(member(Broadcaster, "live/hb", 1, 5001, 1)), Ok(vec![first]));
        assert!(told(&mut all, 1).is_some() && told(&mut all, 2).is_some());
    }

    #[test]
    fn the_broadcaster_may_be_another_host() {
        let mut all = introductions();
        let first = member(Broadcaster, "live/hb", 1, 5000, 1);
        all.come(first.clone()).unwrap();
        all.come(member(Viewer, "live/hb", 2, 5000, 1)).unwrap();
        all.come(member(Broadcaster, "live/hb", 3, 5000, 1)).unwrap();
        assert_eq!(told(&mut all, 1), None);
        assert_eq!(told(&mut all, 2).unwrap(), "peer parent 10.0.0.3:2000 live/hb");
        // Its old connection ends later: the new one is not touched.
        assert_eq!(all.go(&first.connection), None);
        all.come(member(Viewer, "live/hb", 4, 5000, 1)).unwrap();
        assert_eq!(told(&mut all, 4).unwrap(), "peer parent 10.0.0.3:2000 live/hb");
    }

    #[test]
    fn nothing_is_kept_of_those_who_left() {
        let mut all = introductions();
        for round in 0..100 {
            let both = [member(Broadcaster, "live/a", 1, round, 1), member(Viewer, "live/a", 2, round, 1)];
            for one in &both {
                all.come(one.clone()).unwrap();
            }
            for one in &both {
                all.go(&one.connection).unwrap();
            }
        }
        assert!(all.members.is_empty() && all.pairs.is_empty() && all.errands.iter().next().is_none());
        assert_eq!(all.acquainted.len(), 1);
    }

    proptest! {
        /// Whoever comes, goes and comes again, agents are only told of those who are there.
        #[test]
        fn only_members_are_introduced(steps in proptest::collection::vec((any::<bool>(), any::<bool>(), 1u8..5, 0u16..3, 0usize..2, any::<bool>(), any::<bool>()), 0..60)) {
            let mut all = introductions();
            for (arrives, broadcasts, host, port, stream, is_near, tells) in steps {
                let part = if broadcasts { Broadcaster } else { Viewer };
                let one = member(part, ["live/a", "live/b"][stream], host, port, 1 + u64::from(is_near));
                if arrives {
                    all.come(one).unwrap();
                } else {
                    all.go(&one.connection);
                }
                let mut once = HashSet::new();
                for (agent, errand) in all.errands.iter() {
                    let sides = [errand.pair.parent, errand.pair.child];
                    let pair = sides.map(|connection| all.members.get(&connection).map(|(member, _)| member.host()));
                    let peer = Some(*errand.peer.ip());
                    prop_assert!(pair == [Some(agent), peer] || pair == [peer, Some(agent)], "{:?}", errand);
                    prop_assert!(once.insert((agent, errand.role, errand.peer, &errand.stream)), "{:?}", errand);
                }
                for (side, pairs) in &all.pairs {
                    prop_assert!(!pairs.is_empty() && all.members.get(side).is_some());
                }
                if tells {
                    all.tell(ip(host));
                }
            }
        }
    }
}

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use super::super::super::{Bypass, Dpid};
use super::super::connection::Direction;
use super::super::members::Part;
use super::super::presence::Stations;
use super::*;
use crate::frame::Frame;
use crate::openflow::PortNo;
use crate::testing::TcpFrame;
use Part::{Broadcaster, Viewer};
use proptest::prelude::*;

const NOW: Duration = Duration::from_secs(100);

fn introductions() -> Introductions {
    Introductions::new(2000, Box::<Bypass>::default())
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
    all.tell(Duration::ZERO, ip(to)).map(|told| told.to_string())
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
    assert_eq!(told(&mut all, 1).unwrap(), viewers(2..=7));
    assert_eq!(told(&mut all, 1).unwrap(), viewers(8..=12));
    // There is room for those who were told longest ago.
    let expected = "peer child 10.0.0.13:2000,10.0.0.2:2000,10.0.0.3:2000,10.0.0.4:2000,10.0.0.5:2000 live/hb";
    assert_eq!(told(&mut all, 1).unwrap(), expected);
    // Who comes now comes first.
    all.come(member(Viewer, "live/hb", 90, 5000, 1)).unwrap();
    assert_eq!(
        told(&mut all, 1).unwrap(),
        "peer child 10.0.0.90:2000,10.0.0.6:2000,10.0.0.7:2000,10.0.0.8:2000,10.0.0.9:2000 live/hb"
    );
    assert_eq!(told(&mut all, 90).unwrap(), "peer parent 10.0.0.1:2000 live/hb");
}

#[test]
fn an_answer_clears_those_it_names_and_no_others() {
    let mut all = audience(5);
    let first = all.tell(Duration::ZERO, ip(1)).unwrap();
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
        let told = all.tell(Duration::ZERO, ip(host)).unwrap();
        assert_eq!(done(&mut all, host, &told), 1);
    }
    // The same connection was taken for gone, and goes on.
    all.go(&viewer.connection).unwrap();
    all.come(viewer.clone()).unwrap();
    assert_eq!((told(&mut all, 1), told(&mut all, 2)), (None, None));
    assert_eq!(all.alone(NOW * 2), []);
    // Before it acted on it, it is told again.
    all.come(member(Viewer, "live/hb", 2, 5001, 1)).unwrap();
    let heard = all.tell(Duration::ZERO, ip(1)).unwrap();
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
    let heard = all.tell(Duration::ZERO, ip(2)).unwrap();
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
        let heard = all.tell(Duration::ZERO, ip(host)).unwrap();
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
                let Matter::Pair(pair) = errand.matter else { panic!("{errand:?}") };
                let sides = [pair.parent, pair.child];
                let pair = sides.map(|connection| all.members.get(&connection).map(|(member, _)| member.host()));
                let peer = Some(*errand.peer.ip());
                prop_assert!(pair == [Some(agent), peer] || pair == [peer, Some(agent)], "{:?}", errand);
                prop_assert!(once.insert((agent, errand.role, errand.peer, &errand.stream)), "{:?}", errand);
            }
            for (side, pairs) in &all.pairs {
                prop_assert!(!pairs.is_empty() && all.members.get(side).is_some());
            }
            if tells {
                all.tell(Duration::ZERO, ip(host));
            }
        }
    }
}

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::SocketAddrV4;

use proptest::prelude::*;

use super::super::introduce::Members;
use super::*;
use crate::openflow::PortNo;
use Part::{Broadcaster, Viewer};

/// Two switches, 20 ms apart. Odd hosts are at the first; uplinks of 2 Mbit/s carry three copies of the first stream
/// or two of the second.
fn network() -> Network {
    let host = |n: u8| {
        let switch = if n % 2 == 1 { "s1" } else { "s2" };
        format!(r#""10.0.0.{n}": {{ "switch": "{switch}", "delay_us": 2000, "up_bit_per_s": 2000000 }}"#)
    };
    let hosts: Vec<String> = (1..=20).map(host).collect();
    let map = format!(
        r#"{{ "hosts": {{ {} }}, "links": [ {{ "between": ["s1", "s2"], "delay_us": 20000 }} ],
        "streams": {{ "live/a": {{ "bit_per_s": 500000, "frames_per_s": 30 }}, "live/b": {{ "bit_per_s": 800000, "frames_per_s": 30 }} }} }}"#,
        hosts.join(",")
    );
    Network::of(&serde_json::from_str(&map).unwrap()).unwrap()
}

fn member(part: Part, stream: &str, host: u8, port: u16) -> Member {
    let client = SocketAddrV4::new([10, 0, 0, host].into(), port);
    let connection = Connection { client, server: "10.0.0.100:1935".parse().unwrap() };
    let dpid = Dpid(1 + u64::from(host) % 2);
    Member { part, stream: stream.parse().unwrap(), connection, dpid, port: PortNo(host.into()) }
}

/// Members and a policy, and what one knows of it who only hears of its changes.
#[derive(Debug, Default)]
struct Play {
    relay: Relay,
    members: Members<()>,
    pairs: BTreeSet<Pair>,
    branches: Vec<(u8, Option<u8>, &'static str)>,
}

impl Play {
    fn on(network: Network) -> Self {
        Self { relay: Relay::new(network), ..Self::default() }
    }

    fn hear(&mut self, change: Change) {
        let host = |address: Ipv4Addr| address.octets()[3];
        change.void.iter().for_each(|pair| {
            self.pairs.remove(pair);
        });
        self.pairs.extend(change.introduce);
        self.branches =
            change.branches.iter().map(|branch| (host(branch.host), branch.parent.map(host), branch.why)).collect();
    }

    fn come(&mut self, one: &Member) {
        if let Some(before) = self.members.in_place_of(one) {
            self.go(&before);
        }
        self.members.insert(one.clone(), ());
        let change = self.relay.arrive(one, self.members.audience(&one.stream));
        self.hear(change);
    }

    fn go(&mut self, connection: &Connection) {
        let Some((gone, ())) = self.members.remove(connection) else { return };
        self.pairs.retain(|pair| pair.parent != *connection && pair.child != *connection);
        let change = self.relay.leave(&gone, self.members.audience(&gone.stream));
        self.hear(change);
    }

    fn why_alone(&self, one: &Member) -> Option<&'static str> {
        self.relay.alone(one, self.members.audience(&one.stream))
    }

    /// What of each host's uplink is used, and who is below whom.
    fn check(&self) -> Result<(), String> {
        for (host, streams) in &self.relay.hosts {
            let nothing: StreamKey = "no/stream".parse().unwrap();
            let taken = self.relay.taken(*host, &nothing);
            if self.relay.network.copies(*host, &nothing, 0.0) > 0 && taken > 0.9 * 2e6 + 1.0 {
                return Err(format!("{host} has to carry {taken}"));
            }
            for (stream, connection) in streams {
                let tree = self.relay.trees.get(stream).ok_or("no tree")?;
                let expected =
                    tree.parent(*connection).map(|parent| Pair { parent, child: *connection, bond: Bond::Serves });
                let standby =
                    tree.standby(*connection).map(|parent| Pair { parent, child: *connection, bond: Bond::StandsBy });
                let told: Vec<Pair> = self.pairs.iter().filter(|pair| pair.child == *connection).copied().collect();
                let mut expected: Vec<Pair> = expected.into_iter().chain(standby).collect();
                expected.sort_unstable();
                if told != expected {
                    return Err(format!("{connection:?}: told {told:?}, {expected:?} in the tree"));
                }
            }
        }
        Ok(())
    }
}

#[test]
fn viewers_serve_viewers_and_who_finds_no_uplink_says_so() {
    let mut play = Play::on(network());
    let broadcaster = member(Broadcaster, "live/a", 1, 1);
    assert_eq!(play.why_alone(&member(Viewer, "live/a", 3, 1)), Some("no_broadcaster"));
    play.come(&broadcaster);
    assert_eq!(play.why_alone(&broadcaster), Some("no_viewer"));
    for host in [3, 5, 7, 9] {
        play.come(&member(Viewer, "live/a", host, 1));
        assert_eq!(play.branches.last().unwrap().2, "joined");
    }
    let tree = &play.relay.trees[&broadcaster.stream];
    // Two beside the copy for the CDN.
    assert_eq!((tree.children(broadcaster.connection).count(), tree.at_cdn()), (2, 0));
    assert_eq!(play.why_alone(&broadcaster), None);
    let itself = member(Viewer, "live/a", 1, 2);
    play.come(&itself);
    assert_eq!((&play.branches[..], play.why_alone(&itself)), (&[][..], Some("same_host")));
    play.check().unwrap();
}

#[test]
fn one_copy_for_each_switch() {
    let mut play = Play::on(network());
    play.come(&member(Broadcaster, "live/a", 1, 1));
    for host in (2..=20).rev() {
        play.come(&member(Viewer, "live/a", host, 1));
        play.check().unwrap();
    }
    let between = |pair: &&Pair| {
        pair.bond == Bond::Serves && pair.parent.client.ip().octets()[3] % 2 != pair.child.client.ip().octets()[3] % 2
    };
    assert_eq!(play.pairs.iter().filter(between).count(), 1);
}

#[test]
fn where_nothing_is_known_each_carries_three() {
    let mut play = Play::default();
    let broadcaster = member(Broadcaster, "live/a", 1, 1);
    play.come(&broadcaster);
    for host in [3, 5, 7, 9, 11] {
        play.come(&member(Viewer, "live/a", host, 1));
    }
    assert_eq!(play.relay.trees[&broadcaster.stream].children(broadcaster.connection).count(), 3);
    // Hosts at one switch are near each other without a map, too.
    play.come(&member(Viewer, "live/a", 2, 1));
    play.come(&member(Viewer, "live/a", 4, 1));
    assert_eq!(play.branches, [(4, Some(2), "joined")]);
}

#[test]
fn what_one_stream_takes_another_does_not_get() {
    let mut play = Play::on(network());
    play.come(&member(Broadcaster, "live/a", 1, 1));
    play.come(&member(Viewer, "live/a", 3, 1));
    // It publishes a second one; 1800 less 530 and 848 for the CDN leave nothing for a viewer of either.
    let second = member(Broadcaster, "live/b", 1, 2);
    play.come(&second);
    play.check().unwrap();
    assert_eq!(play.branches, [(3, None, "capacity")]);
    let waits = member(Viewer, "live/b", 3, 2);
    play.come(&waits);
    assert_eq!(play.why_alone(&waits), Some("no_uplink_left"));
    play.go(&second.connection);
    play.check().unwrap();
    assert!(play.branches.contains(&(3, Some(1), "moved")));
}

#[derive(Debug, Clone)]
enum Step {
    Come(u8, u8, u16, bool),
    Go(u8, u8, bool),
    Lost(u8, u8, bool),
    Heard(u8),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (stream, host) = (0u8..2, 1u8..=20);
    prop_oneof![
        6 => (stream.clone(), host.clone(), 0u16..3, any::<u8>()).prop_map(|(s, h, p, b)| Step::Come(s, h, p, b < 20)),
        3 => (stream.clone(), host.clone(), any::<u8>()).prop_map(|(s, h, b)| Step::Go(s, h, b < 20)),
        2 => (stream, host.clone(), any::<bool>()).prop_map(|(s, h, of)| Step::Lost(s, h, of)),
        1 => host.prop_map(Step::Heard),
        1 => (1u64..40).prop_map(Step::Wait),
    ]
}

proptest! {
    /// No uplink has to carry more than it can, whatever streams it passes on, and whoever hears of all changes knows
    /// all trees.
    #[test]
    fn uplinks_are_shared(steps in proptest::collection::vec(step(), 0..120)) {
        let mut play = Play::on(network());
        let mut now = Duration::ZERO;
        for step in steps {
            let name = |stream: u8| ["live/a", "live/b"][usize::from(stream)];
            match step {
                Step::Come(stream, host, port, broadcasts) => {
                    play.come(&member(if broadcasts { Broadcaster } else { Viewer }, name(stream), host, port + 10 * u16::from(stream) + 100 * u16::from(broadcasts)));
                }
                Step::Go(stream, host, broadcasts) => {
                    let audience = play.members.audience(&name(stream).parse().unwrap());
                    let gone = if broadcasts { audience.broadcaster() } else { audience.viewer([10, 0, 0, host].into()) };
                    if let Some(connection) = gone.map(|member| member.connection) {
                        play.go(&connection);
                    }
                }
                Step::Lost(stream, host, standby) => {
                    let stream: StreamKey = name(stream).parse().unwrap();
                    let viewer = play.members.audience(&stream).viewer([10, 0, 0, host].into()).cloned();
                    if let (Some(viewer), Some(tree)) = (viewer, play.relay.trees.get(&stream)) {
                        let peer = if standby { tree.standby(viewer.connection) } else { tree.parent(viewer.connection) };
                        let change = peer.and_then(|peer| play.relay.lost(now, &viewer, *peer.client.ip()));
                        play.hear(change.unwrap_or_default());
                    }
                }
                Step::Heard(host) => {
                    let change = play.relay.heard([10, 0, 0, host].into());
                    play.hear(change);
                }
                Step::Wait(seconds) => {
                    now += Duration::from_secs(seconds);
                    let change = play.relay.tick(now);
                    play.hear(change);
                }
            }
            let checked = play.check();
            prop_assert!(checked.is_ok(), "{}", checked.unwrap_err());
        }
        let all: Vec<Connection> = play.members.iter().map(|(member, ())| member.connection).collect();
        all.iter().for_each(|connection| play.go(connection));
        prop_assert!(play.relay.trees.is_empty() && play.relay.hosts.is_empty() && play.relay.gone.is_empty() && play.pairs.is_empty());
    }
}

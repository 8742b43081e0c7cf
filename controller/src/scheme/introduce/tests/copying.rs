//! Streams that the switches copy.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;

use super::*;
use crate::scheme::Multicast;
use crate::testing::{datagram, igmp_report};

fn scheme() -> Introduce {
    Introduce::new(Settings::default(), Ports::default(), Box::<Multicast>::default()).with_groups()
}

/// So many hosts on one switch, the CDN the third; nobody plays or publishes.
fn one_switch(version: Version, hosts: u32) -> Network {
    let mut net = Network::new(scheme(), version);
    net.switch(1, hosts);
    for host in 1..=hosts {
        net.host(&format!("10.0.0.{host}"), 1, host);
    }
    net.everyone_is_known();
    net
}

/// Three switches in a line, the broadcaster and a viewer at the first, the CDN at the second, two viewers at the
/// third, and one at the second. Ports 8 and 9 lead to other switches.
fn three_switches(version: Version) -> Network {
    let mut net = Network::new(scheme(), version);
    for dpid in 1..=3 {
        net.switch(dpid, 9);
    }
    net.link((1, 9), (2, 8));
    net.link((2, 9), (3, 8));
    for (host, dpid) in [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (6, 3)] {
        net.host(&format!("10.0.0.{host}"), dpid, host);
    }
    net
}

fn publishes(net: &mut Network, host: u8, stream: &str) -> TcpTalk {
    rtmp(net, &format!("10.0.0.{host}:5000"), publish(stream))
}

fn plays(net: &mut Network, host: u8, stream: &str) -> TcpTalk {
    rtmp(net, &format!("10.0.0.{host}:5001"), play(stream))
}

/// The group that somebody is told of by the next heartbeat.
fn group(told: &str) -> SocketAddrV4 {
    let words: Vec<&str> = told.split(' ').collect();
    assert_eq!((words[0], words[1]), ("peer", "group"), "{told}");
    let group: SocketAddrV4 = words[2].parse().unwrap();
    assert!(GROUPS.contains(crate::openflow::Ipv4Prefix::host(*group.ip())) && group.port() == 2001);
    group
}

/// The group that a broadcaster is told of when its members have had time to join it.
fn begins(net: &mut Network, agent: &mut TcpTalk) -> SocketAddrV4 {
    net.now += Duration::from_millis(500);
    group(&beat(net, agent, 1))
}

/// Who gets what that host sends to a group, and how often; no switch asks what to do with it.
fn reached(net: &mut Network, host: u8, group: SocketAddrV4) -> Vec<u8> {
    let before = net.packet_ins.clone();
    let frame = datagram(SocketAddrV4::new([10, 0, 0, host].into(), 40_000), group, b"LVD\x01 and more");
    let arrived = net.send(frame.clone());
    assert_eq!(net.packet_ins, before, "it came up");
    assert!(arrived.iter().all(|arrival| arrival.frame == frame));
    let mut hosts: Vec<u8> = arrived.iter().map(|arrival| arrival.host.octets()[3]).collect();
    hosts.sort_unstable();
    hosts
}

/// What was told of copies since the last time: switch, port in, ports out.
fn copies(net: &mut Network) -> Vec<(u64, u32, Vec<u32>)> {
    let all = std::mem::take(&mut net.news).into_iter().filter_map(|news| match news {
        News::Copies { dpid, in_port, ports, .. } => {
            Some((dpid, in_port.0, ports.iter().map(|port| port.0).collect()))
        }
        _ => None,
    });
    all.collect()
}

#[test]
fn the_switch_copies_to_whoever_plays_and_to_nobody_else() {
    for version in [Version::V10, Version::V13] {
        let mut net = one_switch(version, 6);
        let mut agents: Vec<TcpTalk> = [1, 2, 4].map(|host| agent(&mut net, &format!("10.0.0.{host}"))).into();
        publishes(&mut net, 1, "hb");
        assert_eq!((beat(&mut net, &mut agents[0], 1), copies(&mut net)), ("-".into(), vec![]), "nobody plays it");
        let mut first = plays(&mut net, 2, "hb");
        assert_eq!(copies(&mut net), [(1, 1, vec![2])]);
        let told = beat(&mut net, &mut agents[1], 1);
        let hb = group(&told);
        assert_eq!(reached(&mut net, 1, hb), [2]);
        // The broadcaster begins when those have joined who were there.
        assert_eq!(beat(&mut net, &mut agents[0], 2), "-");
        acknowledge(&mut net, &mut agents[1], &told);
        assert_eq!(beat(&mut net, &mut agents[0], 3), told);
        acknowledge(&mut net, &mut agents[0], &told);
        for agent in &mut agents[..2] {
            assert_eq!(beat(&mut net, agent, 4), "-");
        }
        // Further viewers change the list, and the broadcaster is not told of each.
        plays(&mut net, 4, "hb");
        plays(&mut net, 5, "hb");
        assert_eq!(copies(&mut net), [(1, 1, vec![2, 4]), (1, 1, vec![2, 4, 5])]);
        assert_eq!(beat(&mut net, &mut agents[2], 1), told);
        assert_eq!(beat(&mut net, &mut agents[0], 4), "-");
        assert_eq!(reached(&mut net, 1, hb), [2, 4, 5]);
        // Nobody can send to it but the broadcaster, where it is.
        assert_eq!(reached(&mut net, 6, hb), [0u8; 0]);
        // Who leaves gets nothing more; the flow goes on for the others.
        net.sent.clear();
        let bytes = Heartbeat { sequence: 1, news: heartbeat::News::Left("live/hb".parse().unwrap()) }.emit();
        let frames = agents[2].say(Client, &bytes);
        unchanged(&mut net, frames);
        assert_eq!(copies(&mut net), [(1, 1, vec![2, 5])]);
        let changes = net.sent.iter().filter_map(|(_, message)| match message {
            Message::FlowMod(flow) => Some((flow.command, flow.outputs().map(|port| port.0).collect::<Vec<_>>())),
            _ => None,
        });
        assert_eq!(changes.collect::<Vec<_>>(), [(crate::openflow::Command::ModifyStrict, vec![2, 5])]);
        assert_eq!(reached(&mut net, 1, hb), [2, 5]);
        streams_alone(&mut net, &mut first);
    }
}

#[test]
fn a_broadcaster_without_viewers_is_told_to_stop_and_to_go_on() {
    let mut net = one_switch(Version::V13, 4);
    let [mut at_broadcaster, mut at_viewer] = ["10.0.0.1", "10.0.0.2"].map(|host| agent(&mut net, host));
    publishes(&mut net, 1, "hb");
    plays(&mut net, 2, "hb");
    let told = beat(&mut net, &mut at_viewer, 1);
    acknowledge(&mut net, &mut at_viewer, &told);
    assert_eq!(beat(&mut net, &mut at_broadcaster, 1), told);
    acknowledge(&mut net, &mut at_broadcaster, &told);
    let left = Heartbeat { sequence: 1, news: heartbeat::News::Left("live/hb".parse().unwrap()) }.emit();
    let frames = at_viewer.say(Client, &left);
    unchanged(&mut net, frames);
    let cdn = "peer cdn 10.0.0.3:1935 live/hb";
    assert_eq!(beat(&mut net, &mut at_broadcaster, 2), cdn);
    // Before it has answered there is somebody again: what was decided last is what it is told.
    plays(&mut net, 4, "hb");
    acknowledge(&mut net, &mut at_broadcaster, cdn);
    assert_eq!(beat(&mut net, &mut at_broadcaster, 3), "-", "the viewer may still join");
    assert_eq!(begins(&mut net, &mut at_broadcaster), group(&told));
    assert_eq!(reached(&mut net, 1, group(&told)), [4]);
}

#[test]
fn what_is_not_copied_is_not_flooded() {
    for version in [Version::V10, Version::V13] {
        let mut net = one_switch(version, 4);
        let anywhere = "239.192.1.2:2001".parse().unwrap();
        assert_eq!(reached(&mut net, 1, anywhere), [0u8; 0]);
        assert_eq!(net.send(igmp_report(ip("10.0.0.2"), ip("239.192.1.2"))), []);
        assert_eq!(net.ups(1), 0);
        // Nor is it where these flows are missing for a moment.
        net.switches.get_mut(&Dpid(1)).unwrap().clear();
        assert_eq!(net.send(igmp_report(ip("10.0.0.2"), ip("239.192.1.2"))), []);
        assert_eq!(net.ups(1), 1);
        // Other groups are none of ours.
        net.connect(1);
        let mdns = datagram("10.0.0.1:5353".parse().unwrap(), "224.0.0.251:5353".parse().unwrap(), b"mdns");
        assert_eq!(net.send(mdns).len(), 3);
    }
}

#[test]
fn one_copy_crosses_a_trunk_and_none_where_nobody_plays() {
    for version in [Version::V10, Version::V13] {
        let mut net = three_switches(version);
        net.everyone_is_known();
        let mut at_broadcaster = agent(&mut net, "10.0.0.1");
        publishes(&mut net, 1, "hb");
        plays(&mut net, 2, "hb");
        assert_eq!(copies(&mut net), [(1, 1, vec![2])]);
        let hb = begins(&mut net, &mut at_broadcaster);
        plays(&mut net, 5, "hb");
        plays(&mut net, 6, "hb");
        let expected = [(1, 1, vec![2, 9]), (2, 8, vec![9]), (3, 8, vec![5]), (3, 8, vec![5, 6])];
        assert_eq!(copies(&mut net), expected);
        assert_eq!(reached(&mut net, 1, hb), [2, 5, 6]);
        // From another switch nobody reaches anybody.
        assert_eq!(reached(&mut net, 5, hb), [0u8; 0]);
    }
}

#[test]
fn the_broadcaster_may_be_anywhere() {
    let mut net = three_switches(Version::V13);
    net.everyone_is_known();
    let mut at_broadcaster = agent(&mut net, "10.0.0.4");
    for host in [2, 5, 6] {
        plays(&mut net, host, "hb");
    }
    publishes(&mut net, 4, "hb");
    assert_eq!(copies(&mut net), [(1, 9, vec![2]), (2, 4, vec![8, 9]), (3, 8, vec![5, 6])]);
    let hb = begins(&mut net, &mut at_broadcaster);
    assert_eq!(reached(&mut net, 4, hb), [2, 5, 6]);
}

#[test]
fn a_switch_that_has_never_heard_of_a_member_is_shown_it() {
    let mut net = three_switches(Version::V13);
    // Everybody knows the CDN's address: nobody asks for it, and the first switch hears nothing of viewers behind the
    // third.
    let request = crate::testing::arp_request(ip(CDN), ip("10.0.0.254"));
    net.send(request);
    let mut at_broadcaster = agent(&mut net, "10.0.0.1");
    // What reaches others on the way (floods, announcements) does not matter here.
    let loosely = |net: &mut Network, host: u8, said: Vec<(Host, Vec<u8>)>| {
        let mut talk = TcpTalk::between(&format!("10.0.0.{host}:5000"), &format!("{CDN}:1935"));
        let opened = talk.open();
        let said: Vec<Vec<u8>> = said.into_iter().flat_map(|(from, bytes)| talk.say(from, &bytes)).collect();
        for frame in opened.into_iter().chain(said) {
            let others = net.send(frame);
            net.unasked.extend(others);
        }
    };
    loosely(&mut net, 1, publish("hb"));
    loosely(&mut net, 5, play("hb"));
    loosely(&mut net, 2, play("hb"));
    let hb = begins(&mut net, &mut at_broadcaster);
    assert_eq!(reached(&mut net, 1, hb), [2, 5]);
    let announced = |net: &Network| {
        let arp = net.unasked.iter().map(|arrival| Frame::parse(&arrival.frame).unwrap());
        arp.filter(|frame| frame.eth_type == crate::frame::ARP).count()
    };
    assert!(announced(&net) > 0, "hosts hear an announcement, as of any host that comes");
    // Once all know all, nobody is announced any more.
    let before = announced(&net);
    net.wait(10);
    assert_eq!(announced(&net), before);
}

#[test]
fn two_streams_have_groups_of_their_own() {
    let mut net = one_switch(Version::V13, 8);
    let mut agents: BTreeMap<u8, TcpTalk> =
        [1, 2].map(|host| (host, agent(&mut net, &format!("10.0.0.{host}")))).into();
    publishes(&mut net, 1, "one");
    publishes(&mut net, 2, "two");
    for (host, stream) in [(4, "one"), (5, "two"), (6, "one")] {
        plays(&mut net, host, stream);
    }
    let [one, two] = [1, 2].map(|host| begins(&mut net, agents.get_mut(&host).unwrap()));
    assert_ne!(one, two);
    assert_eq!((reached(&mut net, 1, one), reached(&mut net, 2, two)), (vec![4, 6], vec![5]));
    assert_eq!(reached(&mut net, 1, two), [0u8; 0]);
}

#[test]
fn groups_of_equal_numbers_are_told_apart() {
    let mut multicast = Multicast::default();
    let mut groups: Vec<SocketAddrV4> = Vec::new();
    // Of 2¹⁶ groups some of a thousand fall together.
    for n in 0..1000 {
        let member = Member {
            part: Part::Broadcaster,
            stream: format!("live/{n}").parse().unwrap(),
            connection: Connection {
                client: SocketAddrV4::new([10, 0, (n >> 8) as u8, n as u8].into(), 5000),
                server: "10.9.0.1:1935".parse().unwrap(),
            },
            dpid: Dpid(1),
            port: PortNo(1),
        };
        let viewer = Member {
            part: Part::Viewer,
            connection: Connection { client: "10.9.0.2:5000".parse().unwrap(), ..member.connection },
            ..member.clone()
        };
        let mut all = Members::default();
        all.insert(viewer, ());
        all.insert(member.clone(), ());
        let change = multicast.arrive(&member, all.audience(&member.stream));
        let [Pair { bond: Bond::Copied(group), .. }] = change.introduce.as_slice() else { panic!("{change:?}") };
        groups.push(*group);
    }
    groups.sort_unstable();
    groups.dedup();
    assert_eq!(groups.len(), 1000);
}

#[test]
fn another_broadcaster_of_the_stream_takes_its_place() {
    let mut net = one_switch(Version::V13, 5);
    let mut at_viewer = agent(&mut net, "10.0.0.2");
    publishes(&mut net, 1, "hb");
    plays(&mut net, 2, "hb");
    let told = beat(&mut net, &mut at_viewer, 1);
    acknowledge(&mut net, &mut at_viewer, &told);
    assert_eq!(beat(&mut net, &mut at_viewer, 2), "-");
    copies(&mut net);
    publishes(&mut net, 4, "hb");
    assert_eq!(copies(&mut net), [(1, 1, vec![]), (1, 4, vec![2])]);
    assert_eq!(reached(&mut net, 4, group(&told)), [2]);
    assert_eq!(reached(&mut net, 1, group(&told)), [0u8; 0]);
    assert_eq!(beat(&mut net, &mut at_viewer, 3), told, "it may have gone back to the CDN");
}

#[test]
fn a_viewer_that_lost_the_group_is_told_of_it_again() {
    let mut net = one_switch(Version::V13, 4);
    let mut at_viewer = agent(&mut net, "10.0.0.2");
    publishes(&mut net, 1, "hb");
    plays(&mut net, 2, "hb");
    let told = beat(&mut net, &mut at_viewer, 1);
    acknowledge(&mut net, &mut at_viewer, &told);
    let lost = heartbeat::News::Lost { peer: group(&told), stream: "live/hb".parse().unwrap() };
    let frames = at_viewer.say(Client, &Heartbeat { sequence: 1, news: lost }.emit());
    copies(&mut net);
    unchanged(&mut net, frames);
    assert_eq!(beat(&mut net, &mut at_viewer, 2), told);
    assert_eq!(copies(&mut net), [], "the flows are as they were");
}

#[test]
fn flows_follow_ports_switches_and_hosts_that_move() {
    for version in [Version::V10, Version::V13] {
        let mut net = three_switches(version);
        net.everyone_is_known();
        let mut at_broadcaster = agent(&mut net, "10.0.0.1");
        publishes(&mut net, 1, "hb");
        for host in [2, 4, 5] {
            plays(&mut net, host, "hb");
        }
        let hb = begins(&mut net, &mut at_broadcaster);
        assert_eq!(reached(&mut net, 1, hb), [2, 4, 5]);
        // A port goes down, which ends all flows to it: the others go on.
        net.port_down(1, 2);
        assert_eq!(reached(&mut net, 1, hb), [4, 5]);
        // A switch comes back without flows.
        net.disconnect(2);
        net.connect(2);
        net.wait(1);
        assert!(reached(&mut net, 1, hb).ends_with(&[4, 5]));
        // A viewer is plugged in at another switch.
        net.move_host("10.0.0.5", 2, 7);
        let says = crate::testing::arp_request(ip("10.0.0.5"), ip("10.0.0.254"));
        net.send(says);
        assert!(reached(&mut net, 1, hb).ends_with(&[4, 5]));
    }
}

#[test]
fn who_is_forgotten_by_the_learning_switch_is_still_copied_to() {
    let mut net = three_switches(Version::V13);
    net.everyone_is_known();
    let mut at_broadcaster = agent(&mut net, "10.0.0.1");
    let mut talks = [publishes(&mut net, 1, "hb"), plays(&mut net, 5, "hb")];
    let hb = begins(&mut net, &mut at_broadcaster);
    copies(&mut net);
    // Of stations whose packets have flows nothing is heard for longer than the table remembers them.
    for _ in 0..8 {
        net.wait(50);
        talks.iter_mut().for_each(|talk| streams_alone(&mut net, talk));
    }
    // The other two are heard of.
    for host in [CDN, "10.0.0.4"] {
        net.send(crate::testing::arp_request(ip(host), ip("10.0.0.254")));
    }
    plays(&mut net, 4, "hb");
    assert_eq!(copies(&mut net), [(2, 8, vec![4, 9])]);
    assert_eq!(reached(&mut net, 1, hb), [4, 5]);
}

#[test]
fn why_nobody_is_told_of_a_group() {
    let mut net = one_switch(Version::V13, 4);
    publishes(&mut net, 1, "hb");
    plays(&mut net, 4, "other");
    plays(&mut net, 1, "hb");
    net.wait(4);
    let mut alone = alone(&net);
    alone.sort_unstable();
    let expected = [("10.0.0.1", "no_viewer"), ("10.0.0.1", "same_host"), ("10.0.0.4", "no_broadcaster")];
    assert_eq!(alone, expected.map(|(host, why)| (host.to_owned(), why)));
    assert_eq!(copies(&mut net), []);
    // Between two switches that no link joins nothing gets from one to the other.
    let map = r#"{ "hosts": { "10.0.0.1": { "switch": "s1", "delay_us": 0 }, "10.0.0.2": { "switch": "s2", "delay_us": 0 } } }"#;
    let known = crate::network::Network::of(&serde_json::from_str(map).unwrap()).unwrap();
    let scheme = Introduce::new(Settings::default(), Ports::default(), Box::new(Multicast::new(known))).with_groups();
    net = Network::new(scheme, Version::V13);
    net.switch(1, 4);
    for host in 1..=4 {
        net.host(&format!("10.0.0.{host}"), 1, host);
    }
    net.everyone_is_known();
    publishes(&mut net, 1, "hb");
    plays(&mut net, 2, "hb");
    net.wait(4);
    assert!(super::alone(&net).contains(&("10.0.0.2".to_owned(), "no_way")));
    assert_eq!(copies(&mut net), []);
}

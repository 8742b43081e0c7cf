//! Whole conversations through whole networks.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::net::SocketAddrV4;

use livectl_wire::heartbeat::{self, Heartbeat, Introduction, LEN, PeerRole};
use proptest::prelude::*;

use super::*;
use crate::news;
use crate::openflow::{Message, PacketOut, PortNo, Version};
use crate::scheme::Bypass;
use crate::testing::{Arrival, Host, Network, TcpFrame, TcpTalk, play, publish, tcp_checksum_is_right};
use Host::{Client, Server};

mod announced;
mod change;
mod copying;
mod relay;
mod silence;
mod unfollowed;

const BROADCASTER: &str = "10.0.0.1";
const VIEWER: &str = "10.0.0.2";
const CDN: &str = "10.0.0.3";

fn ip(address: &str) -> Ipv4Addr {
    address.parse().unwrap()
}

fn bypass() -> Introduce {
    Introduce::new(Settings::default(), Ports::default(), Box::<Bypass>::default())
}

/// Broadcaster, viewer, CDN and one more on one switch; all have spoken.
fn star(version: Version) -> Network {
    let mut net = Network::new(bypass(), version);
    net.switch(1, 4);
    for (host, port) in [(BROADCASTER, 1), (VIEWER, 2), (CDN, 3), ("10.0.0.4", 4)] {
        net.host(host, 1, port);
    }
    net.everyone_is_known();
    net
}

/// Broadcaster and viewer on the first switch, the CDN and another viewer behind the second.
fn line(version: Version) -> Network {
    let mut net = Network::new(bypass(), version);
    net.switch(1, 3);
    net.switch(2, 3);
    net.link((1, 3), (2, 3));
    net.host(BROADCASTER, 1, 1);
    net.host(VIEWER, 1, 2);
    net.host(CDN, 2, 1);
    net.host("10.0.0.4", 2, 2);
    net.everyone_is_known();
    net
}

/// Sends frames in order; each must reach its addressee and nobody else. Returns them as they arrived.
fn pass(net: &mut Network, frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let one = |frame: Vec<u8>| {
        let to = *Frame::parse(&frame).unwrap().tcp().unwrap().dst.ip();
        let arrived = net.send(frame);
        let [Arrival { host, frame }] = &arrived[..] else { panic!("arrived at {}", arrived.len()) };
        assert_eq!(*host, to);
        frame.clone()
    };
    frames.into_iter().map(one).collect()
}

fn unchanged(net: &mut Network, frames: Vec<Vec<u8>>) {
    assert_eq!(pass(net, frames.clone()), frames);
}

/// A whole RTMP conversation; afterwards the connection streams.
fn rtmp(net: &mut Network, client: &str, said: Vec<(Host, Vec<u8>)>) -> TcpTalk {
    let mut talk = TcpTalk::between(client, &format!("{CDN}:1935"));
    let frames = talk.open();
    unchanged(net, frames);
    for (host, bytes) in said {
        let frames = talk.say(host, &bytes);
        unchanged(net, frames);
    }
    talk
}

/// Both directions of a stream pass without the controller.
fn streams_alone(net: &mut Network, talk: &mut TcpTalk) {
    let before = net.packet_ins.clone();
    for _ in 0..20 {
        for host in [Client, Server] {
            let frames = talk.say(host, &[0x55; 5000]);
            unchanged(net, frames);
        }
    }
    assert_eq!(net.packet_ins, before);
}

fn agent(net: &mut Network, host: &str) -> TcpTalk {
    let mut talk = TcpTalk::between(&format!("{host}:6000"), &format!("{CDN}:42857"));
    let frames = talk.open();
    unchanged(net, frames);
    talk
}

/// The service sends a heartbeat; what the agent gets.
fn beat(net: &mut Network, talk: &mut TcpTalk, sequence: u64) -> String {
    let bytes = Heartbeat { sequence, news: heartbeat::News::None }.emit();
    let frames = talk.say(Server, &bytes);
    let arrived = pass(net, frames);
    arrived.iter().for_each(|frame| assert!(tcp_checksum_is_right(frame)));
    let frame = Frame::parse(&arrived[0]).unwrap();
    let heard = Heartbeat::parse(frame.payload(&frame.tcp().unwrap())).unwrap();
    assert_eq!(heard.sequence, sequence);
    match heard.news {
        heartbeat::News::None => "-".to_owned(),
        heartbeat::News::Peer(peer) => peer.to_string(),
        other => panic!("{other:?}"),
    }
}

fn introduction(told: &str) -> Introduction {
    let words: Vec<&str> = told.split(' ').collect();
    let role = *PeerRole::ALL.iter().find(|role| role.as_str() == words[1]).unwrap();
    let peers = words[2].split(',').map(|peer| peer.parse().unwrap()).collect();
    Introduction { role, peers, stream: words[3].parse().unwrap() }
}

fn acknowledge(net: &mut Network, talk: &mut TcpTalk, told: &str) {
    let bytes = Heartbeat { sequence: 1, news: heartbeat::News::Ack(introduction(told)) }.emit();
    let frames = talk.say(Client, &bytes);
    unchanged(net, frames);
}

fn events(net: &Network) -> Vec<&'static str> {
    net.news
        .iter()
        .map(|news| match news {
            News::Cdn { .. } => "cdn",
            News::Viewer(_) => "viewer",
            News::Broadcaster(_) => "broadcaster",
            News::Introduced { .. } => "introduced",
            News::Acknowledged { .. } => "acknowledged",
            News::Left { why, .. } => why,
            News::NotIntroduced { .. } => "not_introduced",
            _ => "other",
        })
        .filter(|event| *event != "not_introduced")
        .collect()
}

/// Who was told to be alone, and why.
fn alone(net: &Network) -> Vec<(String, &'static str)> {
    let alone = net.news.iter().filter_map(|news| match news {
        News::NotIntroduced { host, why, .. } => Some((host.to_string(), *why)),
        _ => None,
    });
    alone.collect()
}

#[test]
fn video_does_not_pass_the_controller() {
    for version in [Version::V10, Version::V13] {
        let mut net = star(version);
        let mut up = rtmp(&mut net, "10.0.0.1:5000", publish("hb"));
        let ups = net.ups(1);
        streams_alone(&mut net, &mut up);
        let mut down = rtmp(&mut net, "10.0.0.2:5000", play("hb"));
        streams_alone(&mut net, &mut down);
        // No hard time-out: a stream of ten minutes.
        for _ in 0..60 {
            net.wait(10);
            streams_alone(&mut net, &mut up);
            streams_alone(&mut net, &mut down);
        }
        let member = |host: &str, port: u32, packets| news::Member {
            host: ip(host),
            stream: "live/hb".to_owned(),
            dpid: 1,
            port: PortNo(port),
            packets,
        };
        let cdn = News::Cdn { host: ip(CDN), dpid: 1, port: PortNo(3) };
        let packets = net.ups(1) - ups;
        let expected =
            [cdn, News::Broadcaster(member(BROADCASTER, 1, ups)), News::Viewer(member(VIEWER, 2, packets))];
        // The acknowledgement of the packet that told it finds its flow already.
        net.news.retain(|news| !matches!(news, News::NotIntroduced { .. }));
        assert_eq!(net.news, expected);
        assert!(ups < 30 && packets < 30);
    }
}

#[test]
fn flows_are_in_place_before_the_packet_that_told_it() {
    let mut net = star(Version::V10);
    rtmp(&mut net, "10.0.0.1:5000", publish("hb"));
    let last = net.sent.len() - 4;
    let kinds: Vec<_> = net.sent[last..]
        .iter()
        .map(|(_, message)| match message {
            Message::FlowMod(flow) => {
                assert_eq!((flow.idle_timeout, flow.hard_timeout), (75, 0));
                "flow"
            }
            Message::BarrierRequest => "barrier",
            Message::PacketOut(_) => "packet",
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["flow", "flow", "barrier", "packet"]);
}

#[test]
fn a_client_that_is_served_and_cannot_be_followed_is_told() {
    for version in [Version::V10, Version::V13] {
        let mut net = star(version);
        rtmp(&mut net, "10.0.0.1:5000", publish("my stream"));
        let told: Vec<_> = net.news.iter().filter(|news| matches!(news, News::NotFollowed { .. })).collect();
        let [News::NotFollowed { host, server, why }] = told[..] else { panic!("{:?}", net.news) };
        assert_eq!((*host, *server), (ip(BROADCASTER), ip(CDN)));
        assert!(why.contains("live/my stream"), "{why}");
    }
}

#[test]
fn through_transit_switches_too() {
    for version in [Version::V10, Version::V13] {
        let mut net = line(version);
        let mut up = rtmp(&mut net, "10.0.0.1:5000", publish("hb"));
        let mut down = rtmp(&mut net, "10.0.0.2:5000", play("hb"));
        for _ in 0..10 {
            net.wait(10);
            streams_alone(&mut net, &mut up);
            streams_alone(&mut net, &mut down);
        }
        // At the transit switch: one packet in each direction of each connection.
        assert_eq!(net.ups(2), 4);
        assert_eq!(net.news[0], News::Cdn { host: ip(CDN), dpid: 2, port: PortNo(1) });
        let places = net.news.iter().filter_map(|news| match news {
            News::Viewer(member) | News::Broadcaster(member) => Some((member.dpid, member.port.0)),
            _ => None,
        });
        let places: Vec<_> = places.collect();
        assert_eq!(places, [(1, 1), (1, 2)]);
    }
}

#[test]
fn viewer_and_broadcaster_are_introduced_in_either_order() {
    for version in [Version::V10, Version::V13] {
        for viewer_first in [false, true] {
            for make in [star, line] {
                let mut net = make(version);
                let mut at_broadcaster = agent(&mut net, BROADCASTER);
                let mut at_viewer = agent(&mut net, VIEWER);
                assert_eq!(beat(&mut net, &mut at_viewer, 1), "-");
                if viewer_first {
                    rtmp(&mut net, "10.0.0.2:5000", play("hb"));
                    assert_eq!(beat(&mut net, &mut at_viewer, 2), "-");
                    rtmp(&mut net, "10.0.0.1:5000", publish("hb"));
                } else {
                    rtmp(&mut net, "10.0.0.1:5000", publish("hb"));
                    assert_eq!(beat(&mut net, &mut at_broadcaster, 2), "-");
                    rtmp(&mut net, "10.0.0.2:5000", play("hb"));
                }
                let to_viewer = "peer parent 10.0.0.1:2000 live/hb";
                let to_broadcaster = "peer child 10.0.0.2:2000 live/hb";
                for sequence in 3..6 {
                    assert_eq!(beat(&mut net, &mut at_viewer, sequence), to_viewer);
                    assert_eq!(beat(&mut net, &mut at_broadcaster, sequence), to_broadcaster);
                }
                acknowledge(&mut net, &mut at_viewer, to_viewer);
                assert_eq!(beat(&mut net, &mut at_viewer, 6), "-");
                assert_eq!(beat(&mut net, &mut at_broadcaster, 6), to_broadcaster);
                acknowledge(&mut net, &mut at_broadcaster, to_broadcaster);
                assert_eq!(beat(&mut net, &mut at_broadcaster, 7), "-");
                let told = events(&net);
                assert_eq!(told.iter().filter(|event| **event == "introduced").count(), 7);
                assert_eq!(told.iter().filter(|event| **event == "acknowledged").count(), 2);
            }
        }
    }
}

#[test]
fn heartbeats_go_on_for_long() {
    let mut net = line(Version::V10);
    let mut at_viewer = agent(&mut net, VIEWER);
    for sequence in 0..200 {
        net.wait(1);
        assert_eq!(beat(&mut net, &mut at_viewer, sequence), "-");
    }
    rtmp(&mut net, "10.0.0.1:5000", publish("hb"));
    rtmp(&mut net, "10.0.0.2:5000", play("hb"));
    assert_eq!(beat(&mut net, &mut at_viewer, 200), "peer parent 10.0.0.1:2000 live/hb");
}

#[test]
fn an_agent_that_connects_late_is_told_then() {
    let mut net = star(Version::V10);
    rtmp(&mut net, "10.0.0.1:5000", publish("hb"));
    rtmp(&mut net, "10.0.0.2:5000", play("hb"));
    net.wait(100);
    let mut at_viewer = agent(&mut net, VIEWER);
    assert_eq!(beat(&mut net, &mut at_viewer, 0), "-", "their flows have ended: nobody plays any more");
    rtmp(&mut net, "10.0.0.1:5002", publish("hb"));
    rtmp(&mut net, "10.0.0.2:5002", play("hb"));
    assert!(beat(&mut net, &mut at_viewer, 1).starts_with("peer parent"));
}

#[test]
fn a_viewer_on_another_switch_stays_with_the_cdn() {
    let mut net = line(Version::V10);
    let mut at_other = agent(&mut net, "10.0.0.4");
    rtmp(&mut net, "10.0.0.1:5000", publish("hb"));
    let mut down = rtmp(&mut net, "10.0.0.4:5000", play("hb"));
    assert_eq!(beat(&mut net, &mut at_other, 1), "-");
    streams_alone(&mut net, &mut down);
}

#[test]
fn why_nobody_is_introduced_is_told() {
    let mut net = line(Version::V10);
    let mut down = rtmp(&mut net, "10.0.0.4:5000", play("hb"));
    net.wait(2);
    assert_eq!(alone(&net), []);
    let mut said = |net: &mut Network, host: &str, why| {
        net.wait(3);
        for _ in 0..3 {
            streams_on(net, &mut down);
            net.wait(1);
        }
        assert_eq!(net.news.iter().filter(|news| matches!(news, News::NotIntroduced { .. })).count(), 1);
        assert_eq!(alone(net), [(host.to_owned(), why)]);
        net.news.clear();
    };
    said(&mut net, "10.0.0.4", "no_broadcaster");
    rtmp(&mut net, "10.0.0.1:5000", publish("other"));
    said(&mut net, "10.0.0.1", "no_viewer");
    // The broadcaster is at another switch; it has a viewer at its own, which is told. The agent of neither is there.
    rtmp(&mut net, "10.0.0.1:5001", publish("hb"));
    rtmp(&mut net, "10.0.0.2:5001", play("hb"));
    net.wait(5);
    let mut told = alone(&net);
    told.sort_unstable();
    assert_eq!(
        told,
        [(BROADCASTER, "no_heartbeat"), (VIEWER, "no_heartbeat"), ("10.0.0.4", "other_switch")].map(owned)
    );
}

fn owned((host, why): (&str, &'static str)) -> (String, &'static str) {
    (host.to_owned(), why)
}

#[test]
fn several_viewers_are_introduced_at_once() {
    let mut net = star(Version::V10);
    let mut at_broadcaster = agent(&mut net, BROADCASTER);
    rtmp(&mut net, "10.0.0.1:5000", publish("hb"));
    rtmp(&mut net, "10.0.0.2:5000", play("hb"));
    let mut other = rtmp(&mut net, "10.0.0.4:5000", play("hb"));
    let both = "peer child 10.0.0.2:2000,10.0.0.4:2000 live/hb";
    assert_eq!(beat(&mut net, &mut at_broadcaster, 1), both);
    let count = |net: &Network, what| events(net).iter().filter(|event| **event == what).count();
    assert_eq!(count(&net, "introduced"), 2);
    // One is gone before the answer comes.
    net.switches.get_mut(&Dpid(1)).unwrap().clear();
    let frames = other.close(Client);
    unchanged(&mut net, frames);
    acknowledge(&mut net, &mut at_broadcaster, both);
    assert_eq!(count(&net, "acknowledged"), 1);
    assert_eq!(beat(&mut net, &mut at_broadcaster, 2), "-");
}

#[test]
fn nothing_waits_for_a_clock() {
    // The player's request waits until there is something to play; the server says so at once, or when it begins.
    for says_so_at_once in [true, false] {
        let mut net = star(Version::V13);
        let mut agents = [agent(&mut net, BROADCASTER), agent(&mut net, VIEWER)];
        let mut down = TcpTalk::between("10.0.0.2:5000", &format!("{CDN}:1935"));
        let frames = down.open();
        unchanged(&mut net, frames);
        let mut said = play("hb");
        let (_, yes) = said.pop().unwrap();
        for (host, bytes) in said {
            let frames = down.say(host, &bytes);
            unchanged(&mut net, frames);
        }
        let mut say_yes = |net: &mut Network| {
            let frames = down.say(Server, &yes);
            unchanged(net, frames);
        };
        if says_so_at_once {
            say_yes(&mut net);
        }
        for agent in &mut agents {
            assert_eq!(beat(&mut net, agent, 1), "-");
        }
        rtmp(&mut net, "10.0.0.1:5000", publish("hb"));
        if !says_so_at_once {
            say_yes(&mut net);
        }
        for agent in &mut agents {
            assert!(beat(&mut net, agent, 2).starts_with("peer"));
        }
    }
}

#[test]
fn agents_that_hasten_are_understood_and_their_lines_pass() {
    let mut net = star(Version::V10);
    let mut at_viewer = agent(&mut net, VIEWER);
    let hasten = Heartbeat { sequence: 1, news: heartbeat::News::Hasten }.emit();
    let frames = at_viewer.say(Client, &hasten);
    unchanged(&mut net, frames);
    rtmp(&mut net, "10.0.0.1:5000", publish("hb"));
    rtmp(&mut net, "10.0.0.2:5000", play("hb"));
    let told = beat(&mut net, &mut at_viewer, 1);
    // It hastens again and answers, in pieces that are whole at neither.
    let answer = Heartbeat { sequence: 1, news: heartbeat::News::Ack(introduction(&told)) }.emit();
    let both = [&hasten[..], &answer, &hasten].concat();
    for part in both.chunks(100) {
        let frames = at_viewer.say(Client, part);
        unchanged(&mut net, frames);
    }
    assert_eq!(events(&net).iter().filter(|event| **event == "acknowledged").count(), 1);
    assert_eq!(beat(&mut net, &mut at_viewer, 2), "-");
    // One that comes from the service tells nothing either, and stays what it is.
    let frames = at_viewer.say(Server, &hasten);
    unchanged(&mut net, frames);
}

#[test]
fn a_heartbeat_that_is_sent_again_says_the_same() {
    let mut net = star(Version::V10);
    let mut at_viewer = agent(&mut net, VIEWER);
    rtmp(&mut net, "10.0.0.1:5000", publish("hb"));
    rtmp(&mut net, "10.0.0.2:5000", play("hb"));
    let frames = at_viewer.say(Server, &Heartbeat { sequence: 1, news: heartbeat::News::None }.emit());
    let first = pass(&mut net, frames[..1].to_vec());
    assert_ne!(first, frames[..1], "it was rewritten");
    // The acknowledgement is lost, and by now something else is to be told.
    rtmp(&mut net, "10.0.0.4:5001", publish("hb"));
    assert_eq!(pass(&mut net, frames[..1].to_vec()), first);
    // When it has arrived, it does not matter any more.
    unchanged(&mut net, vec![at_viewer.ack(Client)]);
    unchanged(&mut net, frames[..1].to_vec());
    let count = events(&net).iter().filter(|event| **event == "introduced").count();
    assert_eq!(count, 1, "told once, though sent twice");
}

#[test]
fn peers_who_were_introduced_stream_alone() {
    let mut net = star(Version::V10);
    rtmp(&mut net, "10.0.0.1:5000", publish("hb"));
    rtmp(&mut net, "10.0.0.2:5000", play("hb"));
    net.packet_ins.clear();
    let mut peers = TcpTalk::between("10.0.0.2:7000", "10.0.0.1:2000");
    let frames = peers.open();
    unchanged(&mut net, frames);
    for _ in 0..10 {
        net.wait(10);
        streams_alone(&mut net, &mut peers);
    }
    assert_eq!(net.ups(1), 2);
    // Others who use that port are nothing special.
    let mut others = TcpTalk::between("10.0.0.4:7000", "10.0.0.1:2000");
    let frames = others.open();
    unchanged(&mut net, frames);
    assert_eq!(net.switches[&Dpid(1)].flows().last().unwrap().hard_timeout, 30);
}

#[test]
fn who_comes_back_is_introduced_again() {
    let mut net = star(Version::V10);
    let mut at_viewer = agent(&mut net, VIEWER);
    let mut at_broadcaster = agent(&mut net, BROADCASTER);
    rtmp(&mut net, "10.0.0.1:5000", publish("hb"));
    for round in 0..3u16 {
        rtmp(&mut net, &format!("10.0.0.2:{}", 5000 + round), play("hb"));
        for talk in [&mut at_viewer, &mut at_broadcaster] {
            let told = beat(&mut net, talk, round.into());
            assert!(told.starts_with("peer"), "round {round}: {told}");
            acknowledge(&mut net, talk, &told);
            assert_eq!(beat(&mut net, talk, round.into()), "-");
        }
    }
    // The broadcaster restarts.
    rtmp(&mut net, "10.0.0.1:5001", publish("hb"));
    assert!(beat(&mut net, &mut at_viewer, 9).starts_with("peer parent"));
    assert!(beat(&mut net, &mut at_broadcaster, 9).starts_with("peer child"));
    let replaced = events(&net).iter().filter(|event| **event == "replaced").count();
    assert_eq!(replaced, 3);
}

/// The next packets of both directions; the first may come up.
fn streams_on(net: &mut Network, talk: &mut TcpTalk) {
    for host in [Client, Server] {
        let frames = talk.say(host, b"more");
        unchanged(net, frames);
    }
}

#[test]
fn a_connection_that_ends_before_it_is_known() {
    let mut net = star(Version::V10);
    let mut talk = TcpTalk::between("10.0.0.2:5000", "10.0.0.3:1935");
    let frames = talk.open();
    unchanged(&mut net, frames);
    for host in [Client, Server] {
        let frames = talk.close(host);
        unchanged(&mut net, frames);
    }
    let mut reset = TcpTalk::between("10.0.0.2:5001", "10.0.0.3:1935");
    let frames = reset.open();
    unchanged(&mut net, frames);
    unchanged(&mut net, vec![reset.reset(Server)]);
    // The same ports again are a new connection.
    rtmp(&mut net, "10.0.0.2:5000", play("hb"));
    rtmp(&mut net, "10.0.0.2:5001", play("hb"));
    assert_eq!(events(&net).iter().filter(|event| **event == "viewer").count(), 2);
}

#[test]
fn packets_sent_again_change_nothing() {
    let mut net = line(Version::V10);
    let mut talk = TcpTalk::between("10.0.0.2:5000", "10.0.0.3:1935");
    let mut frames = talk.open();
    for (host, bytes) in play("hb") {
        frames.extend(talk.say(host, &bytes));
    }
    for frame in frames {
        unchanged(&mut net, vec![frame.clone()]);
        unchanged(&mut net, vec![frame]);
    }
    assert_eq!(events(&net), ["cdn", "viewer"]);
    streams_alone(&mut net, &mut talk);
}

#[test]
fn what_is_not_rtmp_is_let_go() {
    let mut net = star(Version::V10);
    let mut talk = TcpTalk::between("10.0.0.2:5000", "10.0.0.3:1935");
    let frames = talk.open();
    unchanged(&mut net, frames);
    let frames = talk.say(Client, b"GET / HTTP/1.1\r\n\r\n");
    unchanged(&mut net, frames);
    streams_alone(&mut net, &mut talk);
    assert!(net.news.is_empty());
}

#[test]
fn a_controller_that_restarts_holds_nothing_up() {
    for make in [star, line] {
        let mut net = make(Version::V10);
        let mut at_viewer = agent(&mut net, VIEWER);
        let mut up = rtmp(&mut net, "10.0.0.1:5000", publish("hb"));
        let mut down = rtmp(&mut net, "10.0.0.2:5000", play("hb"));
        assert!(beat(&mut net, &mut at_viewer, 1).starts_with("peer"));
        net.restart(bypass());
        net.everyone_is_known();
        streams_on(&mut net, &mut up);
        streams_on(&mut net, &mut down);
        streams_alone(&mut net, &mut up);
        streams_alone(&mut net, &mut down);
        // The agent's connection goes on, and is understood again: its client shows where it is.
        for sequence in 2..5 {
            assert_eq!(beat(&mut net, &mut at_viewer, sequence), "-");
        }
        rtmp(&mut net, "10.0.0.1:5001", publish("hb"));
        rtmp(&mut net, "10.0.0.2:5001", play("hb"));
        assert_eq!(beat(&mut net, &mut at_viewer, 5), "peer parent 10.0.0.1:2000 live/hb");
    }
}

#[test]
fn a_switch_that_comes_back_alone_gets_its_flows_again() {
    for lost in [1, 2] {
        let mut net = line(Version::V10);
        let mut at_viewer = agent(&mut net, VIEWER);
        let mut up = rtmp(&mut net, "10.0.0.1:5000", publish("hb"));
        let mut down = rtmp(&mut net, "10.0.0.2:5000", play("hb"));
        net.disconnect(lost);
        net.connect(lost);
        // All stations of that switch are to be learned again.
        net.everyone_is_known();
        streams_on(&mut net, &mut up);
        streams_on(&mut net, &mut down);
        streams_alone(&mut net, &mut up);
        streams_alone(&mut net, &mut down);
        net.wait(50);
        streams_alone(&mut net, &mut up);
        streams_alone(&mut net, &mut down);
        net.wait(50);
        assert!(!events(&net).contains(&"lost"), "they went on");
        assert!(beat(&mut net, &mut at_viewer, 7).starts_with("peer parent"));
    }
}

#[test]
fn who_is_gone_when_the_switch_comes_back_is_noticed() {
    let mut net = star(Version::V10);
    rtmp(&mut net, "10.0.0.2:5000", play("hb"));
    net.disconnect(1);
    net.connect(1);
    net.wait(84);
    assert_eq!(events(&net), ["cdn", "viewer"]);
    net.wait(2);
    assert_eq!(events(&net), ["cdn", "viewer", "lost"]);
}

#[test]
fn an_agent_that_moves_to_another_switch_is_still_told() {
    let mut net = line(Version::V10);
    let mut at_viewer = agent(&mut net, VIEWER);
    for sequence in 0..3 {
        assert_eq!(beat(&mut net, &mut at_viewer, sequence), "-");
    }
    // It is plugged in behind the transit switch of its connection, and says something.
    net.switches.get_mut(&Dpid(2)).unwrap().ports.push(PortNo(4));
    net.move_host(VIEWER, 2, 4);
    let frames = at_viewer.say(Client, b"\n");
    pass(&mut net, frames);
    rtmp(&mut net, "10.0.0.4:5000", publish("hb"));
    rtmp(&mut net, "10.0.0.2:5000", play("hb"));
    assert_eq!(beat(&mut net, &mut at_viewer, 9), "peer parent 10.0.0.4:2000 live/hb");
    assert_eq!(beat(&mut net, &mut at_viewer, 10), "peer parent 10.0.0.4:2000 live/hb");
}

#[test]
fn islands_under_one_cdn() {
    // The CDN has an address on each of two switches that are not joined.
    let mut net = Network::new(bypass(), Version::V10);
    net.switch(1, 3);
    net.switch(2, 2);
    net.host(BROADCASTER, 1, 1);
    net.host(VIEWER, 1, 2);
    net.host(CDN, 1, 3);
    net.host("10.0.1.2", 2, 1);
    net.host("10.0.1.3", 2, 2);
    net.everyone_is_known();
    rtmp(&mut net, "10.0.0.1:5000", publish("hb"));
    rtmp(&mut net, "10.0.0.2:5000", play("hb"));
    let mut talk = TcpTalk::between("10.0.1.2:5000", "10.0.1.3:1935");
    let mut frames = talk.open();
    for (host, bytes) in play("hb") {
        frames.extend(talk.say(host, &bytes));
    }
    unchanged(&mut net, frames);
    streams_alone(&mut net, &mut talk);
    let mut at_viewer = agent(&mut net, VIEWER);
    assert!(beat(&mut net, &mut at_viewer, 1).starts_with("peer parent"));
    let mut other = TcpTalk::between("10.0.1.2:6000", "10.0.1.3:42857");
    let frames = other.open();
    unchanged(&mut net, frames);
    assert_eq!(beat(&mut net, &mut other, 1), "-");
    assert_eq!(events(&net).iter().filter(|event| **event == "viewer").count(), 2);
    assert_eq!(events(&net).iter().filter(|event| **event == "cdn").count(), 2);
}

#[test]
fn many_streams_and_viewers() {
    let mut net = Network::new(bypass(), Version::V10);
    net.switch(1, 200);
    net.host(CDN, 1, 200);
    for number in 0..60 {
        net.host(&format!("10.0.1.{number}"), 1, 1 + number);
    }
    net.everyone_is_known();
    let mut agents: Vec<TcpTalk> = (0..60).map(|number| agent(&mut net, &format!("10.0.1.{number}"))).collect();
    for number in 0..60 {
        let stream = format!("s{}", number % 10);
        let said = if number < 10 { publish(&stream) } else { play(&stream) };
        rtmp(&mut net, &format!("10.0.1.{number}:5000"), said);
    }
    for (number, agent) in agents.iter_mut().enumerate().skip(10) {
        let told = beat(&mut net, agent, 1);
        assert_eq!(told, format!("peer parent 10.0.1.{}:2000 live/s{}", number % 10, number % 10));
    }
    for (broadcaster, agent) in agents.iter_mut().enumerate().take(10) {
        let viewers = (1..6).map(|round| format!("10.0.1.{}:2000", broadcaster + 10 * round));
        let told = beat(&mut net, agent, 1);
        assert_eq!(told, format!("peer child {} live/s{broadcaster}", viewers.collect::<Vec<_>>().join(",")));
        acknowledge(&mut net, agent, &told);
        assert_eq!(beat(&mut net, agent, 2), "-");
    }
}

#[test]
fn what_the_controller_keeps_is_bounded() {
    let mut scheme = bypass();
    let mut out = Outcome::default();
    scheme.on_event(Duration::ZERO, Dpid(1), Event::SwitchUp, &mut out);
    for number in 0..200_000u32 {
        let client =
            SocketAddrV4::new(Ipv4Addr::from(0x0b00_0000 + number / 50_000), 2048 + (number % 50_000) as u16);
        for port in [1935, 42857] {
            let server = SocketAddrV4::new(ip(CDN), port);
            let frame = crate::testing::TcpFrame::from_to(client, server).syn().seq(number).bytes();
            let packet = PacketIn {
                buffer: None,
                total_len: frame.len() as u16,
                in_port: PortNo(1),
                reason: crate::openflow::PacketInReason::NoMatch,
                data: &frame,
            };
            let mut out = Outcome::default();
            scheme.on_event(Duration::ZERO, Dpid(1), Event::PacketIn(packet), &mut out);
            assert!(matches!(out.messages.last(), Some((_, Message::PacketOut(_)))), "always sent on");
        }
    }
    let mut count = 0;
    scheme.watched.retain(|_, _| {
        count += 1;
        true
    });
    assert!(count <= MAX_WATCHED);
    let later = WATCH_SILENCE + Duration::from_secs(1);
    scheme.on_tick(later, &mut Outcome::default());
    scheme.watched.retain(|_, _| panic!("forgotten"));
    scheme.notified.retain(|_, _| panic!("forgotten"));
}

#[test]
fn a_heartbeat_has_the_length_that_rewriting_relies_on() {
    assert_eq!(Heartbeat { sequence: 1, news: heartbeat::News::None }.emit().len(), LEN);
}

/// Anything that can happen to a network of two switches.
#[derive(Debug, Clone)]
enum Happening {
    Segment { from: usize, to: usize, ports: (u16, u16), seq: u32, ack: u32, flags: u8, payload: Vec<u8> },
    Wait(u64),
    Reconnect(u64),
    Restart,
}

fn happening() -> impl Strategy<Value = Happening> {
    let port = || prop_oneof![Just(1935u16), Just(42857), Just(2000), 5000u16..5003];
    // Few numbers, so that connections go on, begin again and overlap.
    let number = || prop_oneof![0u32..4000, any::<u32>()];
    let payload = prop_oneof![
        Just(Vec::new()),
        proptest::collection::vec(any::<u8>(), 0..50),
        (0u64..5).prop_map(|sequence| Heartbeat { sequence, news: heartbeat::News::None }.emit().to_vec()),
        (0usize..9, any::<bool>()).prop_map(|(n, plays)| if plays { play("hb") } else { publish("hb") }[n].1.clone()),
    ];
    let segment = (0usize..4, 0usize..4, (port(), port()), number(), number(), 0u8..32, payload).prop_map(
        |(from, to, ports, seq, ack, flags, mut payload)| {
            payload.truncate(1400);
            Happening::Segment { from, to, ports, seq, ack, flags, payload }
        },
    );
    prop_oneof![
        40 => segment,
        3 => (1u64..70).prop_map(Happening::Wait),
        1 => (1u64..=2).prop_map(Happening::Reconnect),
        1 => Just(Happening::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever is sent arrives, once, and only heartbeats are touched.
    #[test]
    fn everything_arrives_once(happenings in proptest::collection::vec(happening(), 1..150)) {
        let hosts = [BROADCASTER, VIEWER, CDN, "10.0.0.4"].map(ip);
        let mut net = line(Version::V10);
        for happening in happenings {
            match happening {
                Happening::Wait(seconds) => net.wait(seconds),
                Happening::Reconnect(dpid) => {
                    net.disconnect(dpid);
                    net.connect(dpid);
                }
                Happening::Restart => net.restart(bypass()),
                Happening::Segment { from, to, ports, seq, ack, flags, payload } if from != to => {
                    // Addresses that were forgotten would be flooded, which is right but not what is looked at here.
                    net.everyone_is_known();
                    let (src, dst) = (SocketAddrV4::new(hosts[from], ports.0), SocketAddrV4::new(hosts[to], ports.1));
                    let frame = TcpFrame::from_to(src, dst).seq(seq).ack(ack).flags(flags).payload(&payload).bytes();
                    let arrived = net.send(frame.clone());
                    prop_assert_eq!(arrived.len(), 1);
                    prop_assert_eq!(arrived[0].host, hosts[to]);
                    if ports.0 != 42857 && ports.1 != 42857 {
                        prop_assert_eq!(&arrived[0].frame, &frame);
                    }
                    prop_assert!(tcp_checksum_is_right(&arrived[0].frame));
                }
                Happening::Segment { .. } => {}
            }
        }
    }
}

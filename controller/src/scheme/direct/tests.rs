//! Where packets go under a learning switch.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::Ipv4Addr;

use super::*;
use crate::openflow::{Message, PortNo, Version, Vlan};
use crate::testing::{Network, TcpFrame, arp_request};

const VERSIONS: [Version; 2] = [Version::V10, Version::V13];

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

/// One switch, three hosts.
fn star(version: Version) -> Network {
    let mut net = Network::new(Direct::new(Settings::default()), version);
    net.switch(1, 3);
    for host in 1..=3 {
        net.host(&format!("10.0.0.{host}"), 1, host);
    }
    net
}

fn arrived(net: &mut Network, frame: Vec<u8>) -> Vec<u8> {
    let mut hosts: Vec<u8> = net.send(frame).into_iter().map(|arrival| arrival.host.octets()[3]).collect();
    hosts.sort_unstable();
    hosts
}

fn segment(from: u8, to: u8) -> Vec<u8> {
    TcpFrame::between(&format!("10.0.0.{from}:4000"), &format!("10.0.0.{to}:80")).bytes()
}

#[test]
fn floods_until_it_knows_and_then_leaves_it_to_the_switch() {
    for version in VERSIONS {
        let mut net = star(version);
        assert_eq!(arrived(&mut net, segment(1, 2)), [2, 3]);
        assert_eq!(arrived(&mut net, segment(2, 1)), [1]);
        assert_eq!(arrived(&mut net, segment(1, 2)), [2]);
        assert_eq!(net.ups(1), 3);
        // From now on without the controller.
        for _ in 0..5 {
            assert_eq!(arrived(&mut net, segment(1, 2)), [2]);
            assert_eq!(arrived(&mut net, segment(2, 1)), [1]);
        }
        assert_eq!(net.ups(1), 3);
    }
}

#[test]
fn each_new_connection_comes_up_once() {
    let mut net = star(Version::V10);
    net.everyone_is_known();
    for port in 5000..5010 {
        let frame = TcpFrame::between(&format!("10.0.0.1:{port}"), "10.0.0.2:80").bytes();
        assert_eq!(arrived(&mut net, frame.clone()), [2]);
        assert_eq!(arrived(&mut net, frame), [2]);
    }
    assert_eq!(net.ups(1), 10);
}

#[test]
fn flows_forget() {
    let mut net = star(Version::V10);
    net.everyone_is_known();
    arrived(&mut net, segment(1, 2));
    net.wait(9);
    arrived(&mut net, segment(1, 2));
    assert_eq!(net.ups(1), 1);
    net.wait(10);
    arrived(&mut net, segment(1, 2));
    assert_eq!(net.ups(1), 2);
    // In use all the time, but thirty seconds old.
    for _ in 0..30 {
        net.wait(1);
        arrived(&mut net, segment(1, 2));
    }
    assert_eq!(net.ups(1), 3);
}

#[test]
fn broadcasts_are_flooded_and_link_local_frames_dropped() {
    let mut net = star(Version::V10);
    net.everyone_is_known();
    assert_eq!(arrived(&mut net, arp_request(ip(1), ip(9))), [2, 3]);
    let mut spanning_tree = arp_request(ip(1), ip(9));
    spanning_tree[..6].copy_from_slice(&[1, 0x80, 0xc2, 0, 0, 0]);
    assert!(arrived(&mut net, spanning_tree).is_empty());
    let mut lldp = arp_request(ip(1), ip(9));
    lldp[12..14].copy_from_slice(&[0x88, 0xcc]);
    assert!(arrived(&mut net, lldp).is_empty());
    assert_eq!(net.switches[&Dpid(1)].flows().count(), 0);
}

#[test]
fn neighbours_behind_one_port_are_left_alone() {
    let mut net = star(Version::V10);
    net.host("10.0.0.4", 1, 1);
    net.everyone_is_known();
    assert!(arrived(&mut net, segment(1, 4)).is_empty());
}

#[test]
fn a_host_that_moves_is_found_at_once() {
    for version in VERSIONS {
        let mut net = star(version);
        net.everyone_is_known();
        assert_eq!(arrived(&mut net, segment(2, 1)), [1]);
        assert_eq!(arrived(&mut net, segment(2, 1)), [1]);
        net.switches.get_mut(&Dpid(1)).unwrap().ports.push(PortNo(4));
        net.move_host("10.0.0.1", 1, 4);
        // It speaks, and the flow that leads to its old port is gone.
        arrived(&mut net, arp_request(ip(1), ip(2)));
        assert_eq!(arrived(&mut net, segment(2, 1)), [1]);
    }
}

#[test]
fn what_was_behind_a_port_that_went_down_is_forgotten() {
    let mut net = star(Version::V10);
    net.everyone_is_known();
    arrived(&mut net, segment(1, 2));
    net.port_down(1, 2);
    assert_eq!(net.switches[&Dpid(1)].flows().count(), 0);
    assert_eq!(arrived(&mut net, segment(1, 2)), [2, 3]);
}

#[test]
fn across_a_tree_of_switches() {
    for version in VERSIONS {
        let mut net = Network::new(Direct::new(Settings::default()), version);
        for (dpid, ports) in [(1, 2), (2, 3), (3, 3)] {
            net.switch(dpid, ports);
        }
        net.link((1, 1), (2, 3));
        net.link((1, 2), (3, 3));
        for (host, dpid, port) in [(1, 2, 1), (2, 2, 2), (3, 3, 1), (4, 3, 2)] {
            net.host(&format!("10.0.0.{host}"), dpid, port);
        }
        for from in 1..=4 {
            for to in (1..=4).filter(|to| *to != from) {
                arrived(&mut net, arp_request(ip(from), ip(to)));
                assert_eq!(arrived(&mut net, segment(to, from)), [from]);
                assert_eq!(arrived(&mut net, segment(from, to)), [to]);
            }
        }
    }
}

#[test]
fn packets_that_the_switch_keeps_are_sent_from_there() {
    let mut net = star(Version::V10);
    net.everyone_is_known();
    net.miss_send_len = Some(64);
    let frame = TcpFrame::between("10.0.0.1:4000", "10.0.0.2:80").payload(&[7; 500]).bytes();
    assert_eq!(net.send(frame.clone())[0].frame, frame);
    let [(_, Message::FlowMod(flow))] = &net.sent[..] else { panic!("{:?}", net.sent) };
    assert!(flow.buffer.is_some());
    net.sent.clear();
    // Flooded and dropped ones too.
    assert_eq!(arrived(&mut net, arp_request(ip(1), ip(9))), [2, 3]);
    let [(_, Message::PacketOut(packet))] = &net.sent[..] else { panic!("{:?}", net.sent) };
    assert!(packet.buffer.is_some() && packet.data.is_empty());
    net.sent.clear();
    net.host("10.0.0.4", 1, 1);
    arrived(&mut net, arp_request(ip(4), ip(9)));
    assert!(arrived(&mut net, segment(1, 4)).is_empty());
    let (_, Message::PacketOut(packet)) = net.sent.last().unwrap() else { panic!() };
    assert_eq!(packet.output, None);
}

#[test]
fn nothing_is_made_of_a_part_of_a_packet() {
    let mut net = star(Version::V10);
    net.everyone_is_known();
    let frame = segment(1, 2);
    let packet = crate::openflow::PacketIn {
        buffer: None,
        total_len: 500,
        in_port: crate::openflow::PortNo(1),
        reason: crate::openflow::PacketInReason::NoMatch,
        data: &frame,
    };
    let mut out = Outcome::default();
    net.scheme.on_event(net.now, Dpid(1), Event::PacketIn(packet), &mut out);
    assert!(matches!(out.messages[..], [(_, Message::FlowMod(_))]), "{:?}", out.messages);
}

#[test]
fn new_stations_are_news_when_asked_for() {
    let settings = Settings { report_learned: true, ..Settings::default() };
    let mut net = Network::new(Direct::new(settings), Version::V10);
    net.switch(1, 3);
    net.host("10.0.0.1", 1, 1);
    net.host("10.0.0.2", 1, 2);
    net.everyone_is_known();
    net.everyone_is_known();
    assert_eq!(net.news.len(), 2);
    net.move_host("10.0.0.1", 1, 3);
    arrived(&mut net, segment(1, 2));
    assert_eq!(net.news.len(), 3);
}

/// The frame with a tag: VLAN and priority (IEEE 802.1Q).
fn tagged(mut frame: Vec<u8>, vlan: u16, priority: u8) -> Vec<u8> {
    let [high, low] = (u16::from(priority) << 13 | vlan).to_be_bytes();
    frame.splice(12..12, [0x81, 0x00, high, low]);
    frame
}

#[test]
fn one_address_on_two_vlans_is_two_stations() {
    for version in VERSIONS {
        let settings = Settings { report_learned: true, ..Settings::default() };
        let mut net = Network::new(Direct::new(settings), version);
        net.switch(1, 3);
        for host in 1..=3 {
            net.host(&format!("10.0.0.{host}"), 1, host);
        }
        // A router's address: on VLAN 5 behind port 1, on VLAN 6 behind port 3, and without a tag behind port 2.
        let ports_of = |net: &mut Network, frame: Vec<u8>| {
            let mut hosts: Vec<u8> =
                net.inject(Dpid(1), PortNo(9), frame).iter().map(|a| a.host.octets()[3]).collect();
            hosts.sort_unstable();
            hosts
        };
        let (from, to) = (segment(1, 7), segment(7, 1));
        for (vlan, port) in [(Some(5), 1), (Some(6), 3), (None, 2)] {
            let frame = vlan.map_or_else(|| from.clone(), |vlan| tagged(from.clone(), vlan, 0));
            net.inject(Dpid(1), PortNo(port), frame);
        }
        assert_eq!(net.news.len(), 3, "three stations: {:?}", net.news);
        for _ in 0..2 {
            assert_eq!(ports_of(&mut net, tagged(to.clone(), 5, 0)), [1]);
            assert_eq!(ports_of(&mut net, tagged(to.clone(), 6, 0)), [3]);
            assert_eq!(ports_of(&mut net, to.clone()), [2]);
            assert_eq!(ports_of(&mut net, tagged(to.clone(), 0, 3)), [2], "a tag for the priority alone is no VLAN");
            assert_eq!(ports_of(&mut net, tagged(to.clone(), 7, 0)), [1, 2, 3], "nobody is known on VLAN 7");
        }
        let ups = net.ups(1);
        assert_eq!(ports_of(&mut net, tagged(to.clone(), 5, 0)), [1]);
        assert_eq!(net.ups(1), ups, "the switch does it by itself");
        let vlans: Vec<_> = net.switches[&Dpid(1)].flows().map(|flow| (flow.matching.vlan, flow.output)).collect();
        for expected in [(Vlan::Id(5), 1), (Vlan::Id(6), 3), (Vlan::Untagged, 2)] {
            assert!(vlans.contains(&(Some(expected.0), Some(PortNo(expected.1)))), "{vlans:?}");
        }

        // It moves on VLAN 6 alone. Flows of the others stay.
        net.inject(Dpid(1), PortNo(2), tagged(from.clone(), 6, 0));
        assert_eq!(ports_of(&mut net, tagged(to.clone(), 6, 0)), [2]);
        let ups = net.ups(1);
        assert_eq!(ports_of(&mut net, tagged(to.clone(), 5, 0)), [1]);
        assert_eq!(ports_of(&mut net, to.clone()), [2]);
        assert_eq!(net.ups(1), ups);
        net.port_down(1, 2);
        assert_eq!(ports_of(&mut net, tagged(to.clone(), 6, 0)), [1, 2, 3], "what was there is forgotten");
        assert_eq!(ports_of(&mut net, tagged(to.clone(), 5, 0)), [1]);
    }
}

#[test]
fn a_switch_that_comes_back_starts_clean() {
    let mut net = star(Version::V10);
    net.everyone_is_known();
    assert_eq!(arrived(&mut net, segment(1, 2)), [2]);
    net.disconnect(1);
    net.connect(1);
    assert_eq!(arrived(&mut net, segment(1, 2)), [2, 3]);
}

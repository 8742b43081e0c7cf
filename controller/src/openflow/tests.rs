//! Both versions at once: round trips, truncation, real messages.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::borrow::Cow;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::mac::MacAddr;

fn parse_all(version: Version, captured: &[(String, Vec<u8>)]) -> Vec<(String, Message<'_>)> {
    captured.iter().map(|(name, bytes)| (name.clone(), version.parse(bytes).unwrap().1)).collect()
}

fn first<'a>(messages: &'a [(String, Message<'a>)], name: &str) -> &'a Message<'a> {
    &messages.iter().find(|(of, _)| of == name).unwrap().1
}

/// Padding and what a value does not hold (a port's speeds, nanoseconds, other fields) comes back as zeros.
fn emitted(version: Version, message: &Message<'_>, xid: u32) -> Vec<u8> {
    let mut out = Vec::new();
    version.emit(message, xid, &mut out).unwrap();
    out
}

#[test]
fn open_vswitch_1_0() {
    let captured = captured::ovs_10();
    let messages = parse_all(Version::V10, &captured);
    assert_eq!(messages.len(), 17);
    let Message::FeaturesReply(features) = first(&messages, "features-reply") else { panic!() };
    assert_eq!((features.dpid, features.tables, features.buffers), (0xa1, 254, 0));
    let ports: Vec<_> = features.ports.iter().map(|p| (p.number, p.name.as_str(), p.up)).collect();
    assert_eq!(ports, [(PortNo::LOCAL, "s1", false), (PortNo(1), "p1", true), (PortNo(2), "p2", true)]);
    let Message::PacketIn(packet) = first(&messages, "packet-in") else { panic!() };
    assert_eq!((packet.buffer, packet.total_len, packet.in_port), (None, 42, PortNo(1)));
    assert!(packet.is_whole() && packet.data.len() == 42);
    assert_eq!(first(&messages, "echo-reply"), &Message::EchoReply(b"hello"));
    let Message::FlowRemoved(removed) = first(&messages, "flow-removed") else { panic!() };
    let exact = FlowMatch {
        in_port: Some(PortNo(1)),
        eth_src: Some(MacAddr([2, 0, 0, 0, 0, 1])),
        eth_dst: Some(MacAddr([2, 0, 0, 0, 0, 2])),
        vlan: Some(Vlan::Untagged),
        vlan_pcp: Some(0),
        eth_type: Some(0x800),
        ip_dscp: Some(0),
        ip_proto: Some(1),
        ip_src: Some(Ipv4Prefix::host(Ipv4Addr::new(10, 0, 0, 1))),
        ip_dst: Some(Ipv4Prefix::host(Ipv4Addr::new(10, 0, 0, 2))),
        l4_src: Some(8),
        l4_dst: Some(0),
    };
    assert_eq!(removed.matching, exact);
    assert_eq!((removed.cookie, removed.reason, removed.duration), (0x1122_3344_5566_7788, Removal::Idle, 1));
    let Message::PortStatus(status) = first(&messages, "port-status") else { panic!() };
    assert_eq!((status.reason, status.port.number, status.port.up), (PortStatusReason::Modified, PortNo(2), false));
    let Message::Error(report) = first(&messages, "error") else { panic!() };
    assert_eq!((report.kind, report.code, report.data.len()), (1, 1, 8));
}

#[test]
fn open_vswitch_1_3() {
    let captured = captured::ovs_13();
    let messages = parse_all(Version::V13, &captured);
    assert_eq!(messages.len(), 17);
    assert_eq!(first(&messages, "hello"), &Message::Hello(Versions { highest: 4, bitmap: Some(1 << 4) }));
    let Message::FeaturesReply(features) = first(&messages, "features-reply") else { panic!() };
    assert_eq!((features.dpid, features.tables, features.auxiliary), (0xa1, 254, 0));
    let Message::PortsReply { ports, more: false } = first(&messages, "port-desc-reply") else { panic!() };
    let ports: Vec<_> = ports.iter().map(|p| (p.number, p.name.as_str(), p.up)).collect();
    assert_eq!(ports, [(PortNo::LOCAL, "s1", false), (PortNo(1), "p1", true), (PortNo(2), "p2", true)]);
    let Message::PacketIn(packet) = first(&messages, "packet-in") else { panic!() };
    assert_eq!((packet.buffer, packet.total_len, packet.in_port), (None, 42, PortNo(1)));
    assert!(packet.is_whole() && packet.data.len() == 42);
    let Message::FlowRemoved(removed) = first(&messages, "flow-removed") else { panic!() };
    assert_eq!(removed.matching.ip_dst, Some(Ipv4Prefix::host(Ipv4Addr::new(10, 0, 0, 2))));
    assert_eq!((removed.matching.l4_src, removed.matching.l4_dst), (Some(4000), Some(1935)));
    assert_eq!((removed.matching.vlan, removed.matching.ip_proto), (Some(Vlan::Untagged), Some(6)));
    assert_eq!((removed.cookie, removed.reason, removed.duration), (0x1122_3344_5566_7788, Removal::Idle, 1));
    let Message::PortStatus(status) = first(&messages, "port-status") else { panic!() };
    assert_eq!((status.port.number, status.port.name.as_str()), (PortNo(2), "p2"));
}

/// What is emitted again for a captured message means the same, and for most is the same bytes.
#[test]
fn captured_messages_round_trip() {
    for (version, captured) in [(Version::V10, captured::ovs_10()), (Version::V13, captured::ovs_13())] {
        for (name, bytes) in &captured {
            let (xid, message) = version.parse(bytes).unwrap();
            let again = emitted(version, &message, xid);
            assert_eq!(again.len(), bytes.len(), "{version} {name}");
            assert_eq!(version.parse(&again).unwrap(), (xid, message), "{version} {name}");
            let whole =
                !matches!(name.as_str(), "features-reply" | "port-desc-reply" | "port-status" | "flow-removed");
            // A 1.3 packet-in carries table and cookie of the flow that sent it up.
            if whole && !(version == Version::V13 && name == "packet-in") {
                assert_eq!(&again, bytes, "{version} {name}");
            }
        }
    }
}

#[test]
fn truncated_at_every_byte() {
    for (version, captured) in [(Version::V10, captured::ovs_10()), (Version::V13, captured::ovs_13())] {
        for (name, bytes) in &captured {
            for end in 0..bytes.len() {
                assert!(version.parse(&bytes[..end]).is_err(), "{version} {name} cut at {end}");
                // Cut, but with a header that says so: refused, or a message whose end is free.
                if end >= HEADER_LEN {
                    let mut cut = bytes[..end].to_vec();
                    cut[2..4].copy_from_slice(&(end as u16).to_be_bytes());
                    if let Ok((_, message)) = version.parse(&cut) {
                        let open_ended = matches!(name.as_str(), "packet-in" | "error" | "echo-reply" | "hello")
                            || (name == "features-reply" && (end - 32) % 48 == 0)
                            || (name == "port-desc-reply" && (end - 16) % 64 == 0);
                        assert!(open_ended, "{version} {name} cut at {end}: {message:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn other_versions_and_types_are_refused_with_the_right_error() {
    let report = |bytes: &[u8]| Version::V10.parse(bytes).unwrap_err().report(bytes).code;
    assert_eq!(report(&[4, 2, 0, 8, 0, 0, 0, 1]), 0); // OFPBRC_BAD_VERSION
    assert_eq!(report(&[1, 99, 0, 8, 0, 0, 0, 1]), 1); // OFPBRC_BAD_TYPE
    assert_eq!(report(&[1, 18, 0, 9, 0, 0, 0, 1, 0]), 6); // OFPBRC_BAD_LEN
    assert_eq!(Version::V10.parse(&[1, 4, 0, 8, 0, 0, 0, 1]), Ok((1, Message::Other(4))));
    assert_eq!(Version::V13.parse(&[4, 29, 0, 8, 0, 0, 0, 1]), Ok((1, Message::Other(29))));
    assert_eq!(Version::V13.parse(&[4, 30, 0, 8, 0, 0, 0, 1]), Err(ParseError::Type(30)));
}

/// After section 5.2.4 of 1.0, and 7.2.4 and 7.2.5 of 1.3.
#[test]
fn several_outputs_byte_by_byte() {
    let flow = FlowMod {
        command: Command::Add,
        output: Some(PortNo(1)),
        copies: vec![PortNo(2), PortNo(3)],
        ..FlowMod::delete(FlowMatch::ANY)
    };
    let bytes = emitted(Version::V10, &Message::FlowMod(flow.clone()), 1);
    assert_eq!(bytes[72..], [0, 0, 0, 8, 0, 1, 0, 0, 0, 0, 0, 8, 0, 2, 0, 0, 0, 0, 0, 8, 0, 3, 0, 0]);
    let bytes = emitted(Version::V13, &Message::FlowMod(flow), 1);
    let output = |port: u8| [0, 0, 0, 16, 0, 0, 0, port, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(bytes[56..], [&[0, 4, 0, 56, 0, 0, 0, 0][..], &output(1), &output(2), &output(3)].concat());
    // A list that is cut in the middle of an output, or holds something else than outputs.
    for (version, cut) in [(Version::V10, 4), (Version::V13, 8)] {
        let flow = FlowMod { copies: vec![PortNo(2)], output: Some(PortNo(1)), ..FlowMod::delete(FlowMatch::ANY) };
        let mut bytes = emitted(version, &Message::FlowMod(flow), 1);
        let last = bytes.len() - if version == Version::V10 { 8 } else { 16 };
        let mut other = bytes.clone();
        other[last + 1] = 1;
        assert!(version.parse(&other).is_err(), "{version}");
        bytes.truncate(bytes.len() - cut);
        let len = (bytes.len() as u16).to_be_bytes();
        bytes[2..4].copy_from_slice(&len);
        assert!(version.parse(&bytes).is_err(), "{version}");
    }
}

/// Laid out by hand after section 5.3.3 of 1.0.
#[test]
fn a_flow_mod_of_1_0_byte_by_byte() {
    let flow = FlowMod {
        command: Command::Add,
        matching: FlowMatch {
            in_port: Some(PortNo(1)),
            eth_type: Some(0x800),
            ip_src: Ipv4Prefix::new(Ipv4Addr::new(10, 0, 0, 0), 24),
            ..FlowMatch::ANY
        },
        cookie: 0x0102,
        idle_timeout: 10,
        hard_timeout: 30,
        priority: 0x8000,
        buffer: None,
        out_port: None,
        notify_removal: true,
        output: Some(PortNo::FLOOD),
        copies: Vec::new(),
    };
    let mut expected = vec![1, 14, 0, 80, 0, 0, 0, 9];
    // All open but IN_PORT (bit 0), DL_TYPE (bit 4) and all but 8 bits of NW_SRC.
    expected.extend(0x0038_08eeu32.to_be_bytes());
    expected.extend([0, 1]);
    expected.extend([0; 16]);
    expected.extend([8, 0]);
    expected.extend([0; 4]);
    expected.extend([10, 0, 0, 0]);
    expected.extend([0; 8]);
    expected.extend([0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 10, 0, 30, 0x80, 0]);
    expected.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 1]);
    expected.extend([0, 0, 0, 8, 0xff, 0xfb, 0, 0]);
    assert_eq!(emitted(Version::V10, &Message::FlowMod(flow), 9), expected);
}

#[test]
fn what_does_not_fit_is_not_emitted() {
    let data = vec![0; 65_535 - 24 + 1];
    let message = Message::PacketOut(PacketOut {
        buffer: None,
        in_port: PortNo::ANY,
        output: Some(PortNo(1)),
        data: Cow::Borrowed(&data),
    });
    let mut out = vec![7];
    assert_eq!(Version::V10.emit(&message, 1, &mut out), Err(TooLong(65_536)));
    assert_eq!(out, [7]);
}

fn any_port() -> impl Strategy<Value = PortNo> {
    any::<u16>().prop_map(PortNo::from_v10)
}

fn any_mac() -> impl Strategy<Value = MacAddr> {
    any::<[u8; 6]>().prop_map(MacAddr)
}

fn any_prefix() -> impl Strategy<Value = Option<Ipv4Prefix>> {
    (any::<u32>(), 0u8..=32).prop_map(|(address, bits)| Ipv4Prefix::new(address.into(), bits))
}

/// What both versions can say: fields with their prerequisites.
fn any_match() -> impl Strategy<Value = FlowMatch> {
    let vlan = prop_oneof![
        Just((None, None)),
        Just((Some(Vlan::Untagged), Some(0))),
        (0u16..0x1000, proptest::option::of(0u8..8)).prop_map(|(id, pcp)| (Some(Vlan::Id(id)), pcp)),
    ];
    let option = proptest::option::of::<BoxedStrategy<u8>>;
    let port = |high: u16| proptest::option::of(0..=high);
    let ports = |proto: u8| if proto == 1 { 0xff } else { 0xffff };
    let ip = prop_oneof![Just(1u8), Just(6), Just(17)].prop_flat_map(move |proto| {
        let l4 = (port(ports(proto)), port(ports(proto)));
        (option((0u8..64).boxed()), Just(proto), any_prefix(), any_prefix(), l4).prop_map(
            |(ip_dscp, proto, ip_src, ip_dst, (l4_src, l4_dst))| FlowMatch {
                eth_type: Some(0x800),
                ip_dscp,
                ip_proto: Some(proto),
                ip_src,
                ip_dst,
                l4_src,
                l4_dst,
                ..FlowMatch::ANY
            },
        )
    });
    let arp = (option(any::<u8>().boxed()), any_prefix(), any_prefix()).prop_map(|(ip_proto, ip_src, ip_dst)| {
        FlowMatch { eth_type: Some(0x806), ip_proto, ip_src, ip_dst, ..FlowMatch::ANY }
    });
    let other = proptest::option::of(0x86ddu16..0x8a00).prop_map(|eth_type| FlowMatch { eth_type, ..FlowMatch::ANY });
    let macs = (proptest::option::of(any_mac()), proptest::option::of(any_mac()));
    (prop_oneof![ip, arp, other], proptest::option::of(any_port()), macs, vlan).prop_map(
        |(network, in_port, (eth_src, eth_dst), (vlan, vlan_pcp))| FlowMatch {
            in_port,
            eth_src,
            eth_dst,
            vlan,
            vlan_pcp,
            ..network
        },
    )
}

fn any_flow_mod() -> impl Strategy<Value = FlowMod> {
    let numbers = (any::<u64>(), any::<[u16; 3]>(), any::<u32>(), any::<bool>());
    (
        0u8..5,
        any_match(),
        numbers,
        proptest::option::of(any_port()),
        proptest::option::of((any_port(), proptest::collection::vec(any_port(), 0..5))),
    )
        .prop_map(
            |(
                command,
                matching,
                (cookie, [idle_timeout, hard_timeout, priority], buffer, notify_removal),
                out,
                to,
            )| {
                let (output, copies) = to.map_or((None, Vec::new()), |(first, rest)| (Some(first), rest));
                use Command::{Add, Delete, DeleteStrict, Modify, ModifyStrict};
                let command = [Add, Modify, ModifyStrict, Delete, DeleteStrict][usize::from(command)];
                let deletes = matches!(command, Delete | DeleteStrict);
                FlowMod {
                    command,
                    matching,
                    cookie,
                    idle_timeout,
                    hard_timeout,
                    priority,
                    buffer: BufferId::new(buffer),
                    out_port: out.filter(|port| deletes && *port != PortNo::ANY),
                    notify_removal,
                    output,
                    copies,
                }
            },
        )
}

proptest! {
    #[test]
    fn flow_mods_round_trip(flow in any_flow_mod(), xid: u32) {
        for version in [Version::V10, Version::V13] {
            let message = Message::FlowMod(flow.clone());
            let bytes = emitted(version, &message, xid);
            prop_assert_eq!(version.parse(&bytes), Ok((xid, message)));
        }
    }

    #[test]
    fn flow_removals_round_trip(matching in any_match(), cookie: u64, packets: u64, reason in 0u8..4, idle: u16) {
        let reason = [Removal::Idle, Removal::Hard, Removal::Deleted, Removal::Other(5)][usize::from(reason)];
        let removed = FlowRemoved {
            matching, cookie, priority: 5, reason, duration: 77, idle_timeout: idle, packets, bytes: !packets,
        };
        for version in [Version::V10, Version::V13] {
            let bytes = emitted(version, &Message::FlowRemoved(removed), 3);
            prop_assert_eq!(version.parse(&bytes), Ok((3, Message::FlowRemoved(removed))));
        }
    }

    #[test]
    fn packets_round_trip(data in proptest::collection::vec(any::<u8>(), 0..300), port in any_port(), buffer: u32) {
        let buffer = BufferId::new(buffer);
        let up = PacketIn { buffer, total_len: 300, in_port: port, reason: PacketInReason::Action, data: &data };
        for output in [None, Some(port)] {
            let down = PacketOut { buffer, in_port: port, output, data: Cow::Borrowed(&data) };
            for message in [Message::PacketIn(up), Message::PacketOut(down)] {
                for version in [Version::V10, Version::V13] {
                    let bytes = emitted(version, &message, 1);
                    prop_assert_eq!(version.parse(&bytes), Ok((1, message.clone())));
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(version: bool, kind in 0u8..32, mut bytes in proptest::collection::vec(any::<u8>(), 8..200)) {
        let version = if version { Version::V10 } else { Version::V13 };
        let length = bytes.len() as u16;
        bytes[0] = version.wire();
        bytes[1] = kind;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        if let Ok((xid, message)) = version.parse(&bytes) {
            // What was understood can be said again, and means the same.
            let again = emitted(version, &message, xid);
            if !matches!(message, Message::Other(_)) {
                prop_assert_eq!(version.parse(&again), Ok((xid, message)));
            }
        }
    }

    #[test]
    fn a_flipped_byte_is_read_or_refused(which in 0usize..17, at in 0usize..1000, flip: u8) {
        for (version, captured) in [(Version::V10, captured::ovs_10()), (Version::V13, captured::ovs_13())] {
            let mut bytes = captured[which].1.clone();
            let at = at % bytes.len();
            bytes[at] ^= flip;
            let _ = version.parse(&bytes);
        }
    }
}

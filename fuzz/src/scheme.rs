//! Schemes with introductions, which look deepest into packets.

use std::time::Duration;

use live_controller::frame::Frame;
use live_controller::openflow::{BufferId, FlowRemoved, PacketIn, PacketInReason, PortNo, Removal, Version};
use live_controller::scheme::{Bypass, Dpid, Event, Introduce, Multicast, Outcome, Ports, Scheme, Settings};

/// Comes back with the flows of members.
const MEMBER_COOKIE: u64 = 2;

/// The bytes are packets that come up, each after four bytes of its own: switch and port, how long after the one
/// before, its length; or a member's flow for such packets ends. Whatever they are, each answer can be written in
/// both versions, goes to a switch that is there, and none grows with what came before.
pub fn scheme(data: &[u8]) {
    let settings = Settings { mac_table: 16, ..Settings::default() };
    play(data, Introduce::new(settings, Ports::default(), Box::<Bypass>::default()));
    play(data, Introduce::new(settings, Ports::default(), Box::<Multicast>::default()).with_groups());
}

fn play(data: &[u8], mut scheme: Introduce) {
    let mut now = Duration::ZERO;
    let mut out = Outcome::default();
    for dpid in 0..4 {
        scheme.on_event(now, Dpid(dpid), Event::SwitchUp, &mut out);
    }
    let mut rest = data;
    while let Some((&[place, later, high, low], packets)) = rest.split_first_chunk::<4>() {
        let len = usize::from(u16::from_be_bytes([high, low])).min(packets.len());
        let (packet, after) = packets.split_at(len);
        rest = after;
        now += Duration::from_millis(u64::from(later).pow(2));
        let dpid = Dpid(u64::from(place & 3));
        let in_port = PortNo(1 + u32::from((place >> 2) & 7));
        let event = match place >> 5 {
            7 => Event::SwitchDown,
            6 => Event::SwitchUp,
            5 => match Frame::parse(packet) {
                Some(frame) => Event::FlowRemoved(FlowRemoved {
                    matching: frame.exact_match(in_port),
                    cookie: MEMBER_COOKIE,
                    priority: 0x8000,
                    reason: if later & 1 == 0 { Removal::Idle } else { Removal::Deleted },
                    duration: 75,
                    idle_timeout: 75,
                    packets: 1,
                    bytes: 60,
                }),
                None => continue,
            },
            kind => Event::PacketIn(PacketIn {
                buffer: if kind == 1 { BufferId::new(7) } else { None },
                total_len: packet.len() as u16 + u16::from(kind == 2),
                in_port,
                reason: PacketInReason::NoMatch,
                data: packet,
            }),
        };
        let mut out = Outcome::default();
        scheme.on_event(now, dpid, event, &mut out);
        assert!(out.messages.len() <= 64, "{} answers to one packet", out.messages.len());
        written(&out);
        let mut out = Outcome::default();
        scheme.on_tick(now, &mut out);
        written(&out);
    }
}

fn written(out: &Outcome<'_>) {
    for (dpid, message) in &out.messages {
        assert!(dpid.0 < 4);
        for version in [Version::V10, Version::V13] {
            version.emit(message, 1, &mut Vec::new()).expect("no packet is longer than it came");
        }
    }
}

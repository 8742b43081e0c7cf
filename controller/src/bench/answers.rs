//! Which packet-in a message answers.

use super::traffic;
use crate::openflow::{BufferId, Version, header::Header, v10, v13};

/// OFPT_PACKET_OUT and OFPT_FLOW_MOD have the same numbers in both versions.
const PACKET_OUT: u8 = 13;
const FLOW_MOD: u8 = 14;
/// OFPFC_DELETE and what comes after it: a flow-mod that deletes ignores its buffer id.
const DELETE: u16 = 3;

/// What a message from a controller is to the load generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// A packet-out for the packet with this number.
    PacketOut(u32),
    /// A flow-mod that takes the packet with this number with it.
    FlowMod(u32),
    /// A flow-mod that moves no packet.
    LoneFlowMod,
    /// A packet-out with a packet that no packet-in brought.
    Stranger,
    /// Not about packets.
    Other,
}

/// Looks at one whole message for switch number `switch`.
pub fn hear(version: Version, message: &[u8], switch: u16) -> Heard {
    match Header::parse(message).map(|header| header.kind) {
        Some(PACKET_OUT) => packet_out(version, message, switch).unwrap_or(Heard::Stranger),
        Some(FLOW_MOD) => flow_mod(version, message).unwrap_or(Heard::LoneFlowMod),
        _ => Heard::Other,
    }
}

fn packet_out(version: Version, message: &[u8], switch: u16) -> Option<Heard> {
    let (buffer, data) = match version {
        Version::V10 => v10::PacketOutView::new_checked(message).ok().map(|view| (view.buffer_id(), view.data()))?,
        Version::V13 => v13::PacketOutView::new_checked(message).ok().map(|view| (view.buffer_id(), view.data()))?,
    };
    let number = match BufferId::new(buffer) {
        Some(_) => buffer,
        None => traffic::number_in(data, switch)?,
    };
    Some(Heard::PacketOut(number))
}

fn flow_mod(version: Version, message: &[u8]) -> Option<Heard> {
    let (buffer, command) = match version {
        Version::V10 => v10::FlowModView::new_checked(message).ok().map(|view| (view.buffer_id(), view.command()))?,
        Version::V13 => {
            v13::FlowModView::new_checked(message).ok().map(|view| (view.buffer_id(), view.command().into()))?
        }
    };
    BufferId::new(buffer).filter(|_| command < DELETE).map(|_| Heard::FlowMod(buffer))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::traffic::{Buffering, Traffic};
    use super::*;
    use crate::openflow::{Command, FlowMatch, FlowMod, Message, PacketOut, PortNo};

    fn flow(command: Command, buffer: Option<u32>) -> FlowMod {
        FlowMod {
            command,
            matching: FlowMatch::ANY,
            cookie: 0,
            idle_timeout: 0,
            hard_timeout: 0,
            priority: 0,
            buffer: buffer.and_then(BufferId::new),
            out_port: None,
            notify_removal: false,
            output: Some(PortNo(2)),
            copies: Vec::new(),
        }
    }

    fn heard(version: Version, message: &Message<'_>) -> Heard {
        let mut bytes = Vec::new();
        version.emit(message, 1, &mut bytes).unwrap();
        hear(version, &bytes, 7)
    }

    #[test]
    fn by_buffer_or_by_payload() {
        for version in [Version::V10, Version::V13] {
            let mut packet_in = Vec::new();
            Traffic::new(version, 7, 10, Buffering::Unbuffered, 60).unwrap().emit(99, &mut packet_in);
            let (_, Message::PacketIn(packet)) = version.parse(&packet_in).unwrap() else { panic!() };
            let packet_out = |buffer: Option<u32>, data: &[u8]| {
                let buffer = buffer.and_then(BufferId::new);
                let data = data.to_vec().into();
                heard(version, &Message::PacketOut(PacketOut { buffer, in_port: PortNo(1), output: None, data }))
            };
            assert_eq!(packet_out(None, packet.data), Heard::PacketOut(99));
            assert_eq!(packet_out(Some(5), &[]), Heard::PacketOut(5));
            assert_eq!(packet_out(None, b"something else"), Heard::Stranger);
            let flow_mod = |command, buffer| heard(version, &Message::FlowMod(flow(command, buffer)));
            assert_eq!(flow_mod(Command::Add, None), Heard::LoneFlowMod);
            assert_eq!(flow_mod(Command::Add, Some(6)), Heard::FlowMod(6));
            assert_eq!(flow_mod(Command::ModifyStrict, Some(6)), Heard::FlowMod(6));
            assert_eq!(flow_mod(Command::Delete, Some(6)), Heard::LoneFlowMod);
            assert_eq!(heard(version, &Message::BarrierRequest), Heard::Other);
        }
    }
}

//! Packets up and down (sections 5.3.6 and 5.4.1), and the actions of a list (section 5.2.4).

use std::borrow::Cow;

use super::super::alike::{self, OUTPUT, too_short};
use super::super::bytes::{from, u8_at, u16_at, u32_at};
use super::super::{BufferId, PacketIn, PacketInReason, PacketOut, ParseError, PortNo};

/// A packet-in whose length was checked.
#[derive(Debug, Clone, Copy)]
pub struct PacketInView<'a>(&'a [u8]);

mod packet_in {
    pub const BUFFER_ID: usize = 8;
    pub const TOTAL_LEN: usize = 12;
    pub const IN_PORT: usize = 14;
    pub const REASON: usize = 16;
    pub const DATA: usize = 18;
}

impl<'a> PacketInView<'a> {
    /// # Errors
    /// When the message is shorter than the fields before the frame.
    pub fn new_checked(message: &'a [u8]) -> Result<Self, ParseError> {
        if message.len() < packet_in::DATA {
            return Err(too_short("a packet-in", message, "at least 18 are needed"));
        }
        Ok(Self(message))
    }

    /// Number of the buffer in which the switch keeps the frame.
    #[must_use]
    pub fn buffer_id(&self) -> u32 {
        u32_at(self.0, packet_in::BUFFER_ID)
    }

    /// Bytes of the whole frame.
    #[must_use]
    pub fn total_len(&self) -> u16 {
        u16_at(self.0, packet_in::TOTAL_LEN)
    }

    /// The port that the frame came in on.
    #[must_use]
    pub fn in_port(&self) -> u16 {
        u16_at(self.0, packet_in::IN_PORT)
    }

    /// Why the packet was sent up: `OFPR_…`.
    #[must_use]
    pub fn reason(&self) -> u8 {
        u8_at(self.0, packet_in::REASON)
    }

    /// The frame, or as much of its beginning as the switch sent.
    #[must_use]
    pub fn data(&self) -> &'a [u8] {
        from(self.0, packet_in::DATA)
    }

    /// What the message says, as a value.
    ///
    /// # Errors
    /// When the reason means nothing.
    pub fn parse(&self) -> Result<PacketIn<'a>, ParseError> {
        let reason = match self.reason() {
            0 => PacketInReason::NoMatch,
            1 => PacketInReason::Action,
            other => {
                return Err(ParseError::Value { what: "a packet-in", field: "reason", value: other.into() });
            }
        };
        Ok(PacketIn {
            buffer: BufferId::new(self.buffer_id()),
            total_len: self.total_len(),
            in_port: PortNo::from_v10(self.in_port()),
            reason,
            data: self.data(),
        })
    }
}

pub(super) fn emit_packet_in(packet: &PacketIn<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&BufferId::wire(packet.buffer).to_be_bytes());
    out.extend_from_slice(&packet.total_len.to_be_bytes());
    out.extend_from_slice(&port(packet.in_port).to_be_bytes());
    // 1.0 has no reason for an expired time to live; a flow's action is what it comes nearest to.
    out.extend_from_slice(&[u8::from(packet.reason != PacketInReason::NoMatch), 0]);
    out.extend_from_slice(packet.data);
}

/// A packet-out whose length was checked.
#[derive(Debug, Clone, Copy)]
pub struct PacketOutView<'a>(&'a [u8]);

mod packet_out {
    pub const BUFFER_ID: usize = 8;
    pub const IN_PORT: usize = 12;
    pub const ACTIONS_LEN: usize = 14;
    pub const ACTIONS: usize = 16;
}

impl<'a> PacketOutView<'a> {
    /// # Errors
    /// When the message is shorter than its fields and its actions.
    pub fn new_checked(message: &'a [u8]) -> Result<Self, ParseError> {
        let view = Self(message);
        if message.len() < packet_out::ACTIONS + usize::from(u16_at(message, packet_out::ACTIONS_LEN)) {
            return Err(too_short("a packet-out", message, "its fields and actions do not fit"));
        }
        Ok(view)
    }

    /// Which packet of those that the switch keeps.
    #[must_use]
    pub fn buffer_id(&self) -> u32 {
        u32_at(self.0, packet_out::BUFFER_ID)
    }

    /// The port that the frame came in on.
    #[must_use]
    pub fn in_port(&self) -> u16 {
        u16_at(self.0, packet_out::IN_PORT)
    }

    /// The list of actions.
    #[must_use]
    pub fn actions(&self) -> &'a [u8] {
        let length = usize::from(u16_at(self.0, packet_out::ACTIONS_LEN));
        from(self.0, packet_out::ACTIONS).get(..length).unwrap_or_default()
    }

    /// The frame that is to be sent; empty if the switch has it in its buffer.
    #[must_use]
    pub fn data(&self) -> &'a [u8] {
        from(self.0, packet_out::ACTIONS + usize::from(u16_at(self.0, packet_out::ACTIONS_LEN)))
    }

    /// What the message says, as a value.
    ///
    /// # Errors
    /// When its actions are not at most one output.
    pub fn parse(&self) -> Result<PacketOut<'a>, ParseError> {
        Ok(PacketOut {
            buffer: BufferId::new(self.buffer_id()),
            in_port: PortNo::from_v10(self.in_port()),
            output: parse_actions(self.actions())?,
            data: Cow::Borrowed(self.data()),
        })
    }
}

pub(super) fn emit_packet_out(packet: &PacketOut<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&BufferId::wire(packet.buffer).to_be_bytes());
    out.extend_from_slice(&port(packet.in_port).to_be_bytes());
    let length: u16 = if packet.output.is_some() { OUTPUT_LEN } else { 0 };
    out.extend_from_slice(&length.to_be_bytes());
    emit_actions(packet.output, out);
    out.extend_from_slice(&packet.data);
}

/// A port as 1.0 numbers it. A number that it does not have can only come from a switch of another version, and is
/// nowhere.
pub(super) fn port(port: PortNo) -> u16 {
    port.to_v10().unwrap_or(0xffff)
}

const OUTPUT_LEN: u16 = 8;

/// Reads a list of actions: nothing, or one output.
pub(super) fn parse_actions(actions: &[u8]) -> Result<Option<PortNo>, ParseError> {
    alike::parse_actions(actions, OUTPUT_LEN, |port| PortNo::from_v10(u16_at(port, 0)))
}

/// Reads a list of actions: any number of outputs, the first of them apart.
pub(super) fn parse_outputs(actions: &[u8]) -> Result<(Option<PortNo>, Vec<PortNo>), ParseError> {
    alike::parse_outputs(actions, OUTPUT_LEN, |port| PortNo::from_v10(u16_at(port, 0)))
}

pub(super) fn emit_actions(output: Option<PortNo>, out: &mut Vec<u8>) {
    if let Some(to) = output {
        out.extend_from_slice(&OUTPUT.to_be_bytes());
        out.extend_from_slice(&OUTPUT_LEN.to_be_bytes());
        out.extend_from_slice(&port(to).to_be_bytes());
        // To the controller goes the whole packet; elsewhere the field means nothing.
        let max_len: u16 = if to == PortNo::CONTROLLER { 0xffff } else { 0 };
        out.extend_from_slice(&max_len.to_be_bytes());
    }
}

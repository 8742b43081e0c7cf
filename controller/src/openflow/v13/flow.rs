//! Flows (sections 7.2.4, 7.3.4.1 and 7.4.2). All are in table 0.

use super::super::alike::too_short;
use super::super::bytes::{from, u8_at, u16_at, u32_at, u64_at};
use super::super::{BufferId, Command, FlowMod, FlowRemoved, ParseError, PortNo, Removal};
use super::oxm;
use super::packet::{OUTPUT_LEN, emit_actions, parse_outputs};

/// A flow-mod whose length was checked.
#[derive(Debug, Clone, Copy)]
pub struct FlowModView<'a>(&'a [u8]);

mod flow_mod {
    pub const COOKIE: usize = 8;
    pub const TABLE: usize = 24;
    pub const COMMAND: usize = 25;
    pub const IDLE_TIMEOUT: usize = 26;
    pub const HARD_TIMEOUT: usize = 28;
    pub const PRIORITY: usize = 30;
    pub const BUFFER_ID: usize = 32;
    pub const OUT_PORT: usize = 36;
    pub const FLAGS: usize = 44;
    pub const MATCH: usize = 48;
    pub const LEAST: usize = MATCH + 8;
}

const SEND_FLOW_REM: u16 = 1;
const FIRST_TABLE: u8 = 0;
/// Table id that stands for all tables; for deleting (OFPTT_ALL).
const ALL_TABLES: u8 = 0xff;
/// Group that stands for any group (OFPG_ANY).
const ANY_GROUP: u32 = 0xffff_ffff;
/// Type of the instruction that applies actions at once (OFPIT_APPLY_ACTIONS).
const APPLY_ACTIONS: u16 = 4;
const INSTRUCTION_HEADER: u16 = 8;

impl<'a> FlowModView<'a> {
    /// # Errors
    /// When the message is shorter than its fields and its match.
    pub fn new_checked(message: &'a [u8]) -> Result<Self, ParseError> {
        let match_len = usize::from(u16_at(message, flow_mod::MATCH + 2)).next_multiple_of(8);
        if message.len() < (flow_mod::MATCH + match_len).max(flow_mod::LEAST) {
            return Err(too_short("a flow-mod", message, "its fields and match do not fit"));
        }
        Ok(Self(message))
    }

    /// What is to be done with the flow: `OFPFC_…`.
    #[must_use]
    pub fn command(&self) -> u8 {
        u8_at(self.0, flow_mod::COMMAND)
    }

    /// Flags of the flow: `OFPFF_…`.
    #[must_use]
    pub fn flags(&self) -> u16 {
        u16_at(self.0, flow_mod::FLAGS)
    }

    /// Id of the table that the flow is in.
    #[must_use]
    pub fn table(&self) -> u8 {
        u8_at(self.0, flow_mod::TABLE)
    }

    /// The kept packet that takes the flow.
    #[must_use]
    pub fn buffer_id(&self) -> u32 {
        u32_at(self.0, flow_mod::BUFFER_ID)
    }

    /// Of deletions: only flows that send to this port; `OFPP_ANY`: all.
    #[must_use]
    pub fn out_port(&self) -> u32 {
        u32_at(self.0, flow_mod::OUT_PORT)
    }

    /// What the message says, as a value.
    ///
    /// # Errors
    /// When a field means nothing, or its instructions are not the outputs of one list.
    pub fn parse(&self) -> Result<FlowMod, ParseError> {
        let command = match self.command() {
            0 => Command::Add,
            1 => Command::Modify,
            2 => Command::ModifyStrict,
            3 => Command::Delete,
            4 => Command::DeleteStrict,
            other => return Err(ParseError::Value { what: "a flow-mod", field: "command", value: other.into() }),
        };
        let deletes = matches!(command, Command::Delete | Command::DeleteStrict);
        if self.flags() & !SEND_FLOW_REM != 0 {
            let value = self.flags().into();
            return Err(ParseError::Unsupported { what: "a flow-mod", field: "flags", value });
        }
        if self.table() != FIRST_TABLE && !(deletes && self.table() == ALL_TABLES) {
            let value = self.table().into();
            return Err(ParseError::Unsupported { what: "a flow-mod", field: "table", value });
        }
        let (matching, match_len) = oxm::parse_match(from(self.0, flow_mod::MATCH))?;
        let (output, copies) = parse_instructions(from(self.0, flow_mod::MATCH + match_len))?;
        Ok(FlowMod {
            command,
            matching,
            cookie: u64_at(self.0, flow_mod::COOKIE),
            idle_timeout: u16_at(self.0, flow_mod::IDLE_TIMEOUT),
            hard_timeout: u16_at(self.0, flow_mod::HARD_TIMEOUT),
            priority: u16_at(self.0, flow_mod::PRIORITY),
            buffer: BufferId::new(self.buffer_id()),
            out_port: Some(PortNo(self.out_port())).filter(|port| deletes && *port != PortNo::ANY),
            notify_removal: self.flags() & SEND_FLOW_REM != 0,
            output,
            copies,
        })
    }
}

/// Reads a list of instructions: nothing, or one that applies actions.
fn parse_instructions(list: &[u8]) -> Result<(Option<PortNo>, Vec<PortNo>), ParseError> {
    if list.is_empty() {
        return Ok((None, Vec::new()));
    }
    let (kind, length) = (u16_at(list, 0), u16_at(list, 2));
    if kind != APPLY_ACTIONS {
        return Err(ParseError::Unsupported { what: "an instruction", field: "type", value: kind.into() });
    }
    if length < INSTRUCTION_HEADER || usize::from(length) != list.len() {
        return Err(too_short("a list of instructions", list, "one is read, with all its actions"));
    }
    parse_outputs(from(list, INSTRUCTION_HEADER.into()))
}

pub(super) fn emit_flow_mod(flow: &FlowMod, out: &mut Vec<u8>) {
    let command = match flow.command {
        Command::Add => 0,
        Command::Modify => 1,
        Command::ModifyStrict => 2,
        Command::Delete => 3,
        Command::DeleteStrict => 4,
    };
    let deletes = matches!(flow.command, Command::Delete | Command::DeleteStrict);
    let flags = if flow.notify_removal { SEND_FLOW_REM } else { 0 };
    out.extend_from_slice(&flow.cookie.to_be_bytes());
    // The cookie's mask: flows of all cookies.
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&[if deletes { ALL_TABLES } else { FIRST_TABLE }, command]);
    out.extend_from_slice(&flow.idle_timeout.to_be_bytes());
    out.extend_from_slice(&flow.hard_timeout.to_be_bytes());
    out.extend_from_slice(&flow.priority.to_be_bytes());
    out.extend_from_slice(&BufferId::wire(flow.buffer).to_be_bytes());
    out.extend_from_slice(&flow.out_port.unwrap_or(PortNo::ANY).0.to_be_bytes());
    out.extend_from_slice(&ANY_GROUP.to_be_bytes());
    out.extend_from_slice(&flags.to_be_bytes());
    out.extend_from_slice(&[0; 2]);
    oxm::emit_match(&flow.matching, out);
    if flow.output.is_some() {
        out.extend_from_slice(&APPLY_ACTIONS.to_be_bytes());
        // A list that is too long for its length is too long for a message, which is looked at.
        let outputs = u16::try_from(flow.outputs().count()).unwrap_or(u16::MAX);
        out.extend_from_slice(&INSTRUCTION_HEADER.saturating_add(OUTPUT_LEN.saturating_mul(outputs)).to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        flow.outputs().for_each(|output| emit_actions(Some(output), out));
    }
}

/// A flow-removed whose length was checked.
#[derive(Debug, Clone, Copy)]
pub struct FlowRemovedView<'a>(&'a [u8]);

mod flow_removed {
    pub const COOKIE: usize = 8;
    pub const PRIORITY: usize = 16;
    pub const REASON: usize = 18;
    pub const DURATION: usize = 20;
    pub const IDLE_TIMEOUT: usize = 28;
    pub const PACKETS: usize = 32;
    pub const BYTES: usize = 40;
    pub const MATCH: usize = 48;
    pub const LEAST: usize = MATCH + 8;
}

impl<'a> FlowRemovedView<'a> {
    /// # Errors
    /// When the message does not end with its match.
    pub fn new_checked(message: &'a [u8]) -> Result<Self, ParseError> {
        let match_len = usize::from(u16_at(message, flow_removed::MATCH + 2)).next_multiple_of(8);
        if message.len() != flow_removed::MATCH + match_len || message.len() < flow_removed::LEAST {
            return Err(too_short("a flow-removed", message, "its fields and match have another length"));
        }
        Ok(Self(message))
    }

    /// Why the flow is gone: `OFPRR_…`.
    #[must_use]
    pub fn reason(&self) -> u8 {
        u8_at(self.0, flow_removed::REASON)
    }

    /// What the message says, as a value.
    ///
    /// # Errors
    /// When a field of the match means nothing, or the match holds what ours do not.
    pub fn parse(&self) -> Result<FlowRemoved, ParseError> {
        let reason = match self.reason() {
            0 => Removal::Idle,
            1 => Removal::Hard,
            2 => Removal::Deleted,
            3 => Removal::GroupDeleted,
            other => Removal::Other(other),
        };
        Ok(FlowRemoved {
            matching: oxm::parse_match(from(self.0, flow_removed::MATCH))?.0,
            cookie: u64_at(self.0, flow_removed::COOKIE),
            priority: u16_at(self.0, flow_removed::PRIORITY),
            reason,
            duration: u32_at(self.0, flow_removed::DURATION),
            idle_timeout: u16_at(self.0, flow_removed::IDLE_TIMEOUT),
            packets: u64_at(self.0, flow_removed::PACKETS),
            bytes: u64_at(self.0, flow_removed::BYTES),
        })
    }
}

pub(super) fn emit_flow_removed(flow: &FlowRemoved, out: &mut Vec<u8>) {
    let reason = match flow.reason {
        Removal::Idle => 0,
        Removal::Hard => 1,
        Removal::Deleted => 2,
        Removal::GroupDeleted => 3,
        Removal::Other(other) => other,
    };
    out.extend_from_slice(&flow.cookie.to_be_bytes());
    out.extend_from_slice(&flow.priority.to_be_bytes());
    out.extend_from_slice(&[reason, FIRST_TABLE]);
    out.extend_from_slice(&flow.duration.to_be_bytes());
    // Nanoseconds of the duration, which is kept in whole seconds.
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&flow.idle_timeout.to_be_bytes());
    // The hard time-out, which 1.0 does not tell.
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&flow.packets.to_be_bytes());
    out.extend_from_slice(&flow.bytes.to_be_bytes());
    oxm::emit_match(&flow.matching, out);
}

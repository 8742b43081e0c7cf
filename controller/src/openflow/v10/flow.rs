//! Flows (sections 5.2.3, 5.3.3 and 5.4.2).

use std::net::Ipv4Addr;

use super::super::alike::too_short;
use super::super::bytes::{array_at, from, put, u8_at, u16_at, u32_at, u64_at};
use super::super::{
    BufferId, Command, FlowMatch, FlowMod, FlowRemoved, Ipv4Prefix, ParseError, PortNo, Removal, Vlan,
};
use super::packet::{emit_actions, parse_outputs, port};
use crate::mac::MacAddr;

/// Length of `ofp_match` in bytes.
pub const MATCH_LEN: usize = 40;

/// Fields of `ofp_match`, from its beginning.
mod matching {
    pub const WILDCARDS: usize = 0;
    pub const IN_PORT: usize = 4;
    pub const DL_SRC: usize = 6;
    pub const DL_DST: usize = 12;
    pub const DL_VLAN: usize = 18;
    pub const DL_VLAN_PCP: usize = 20;
    pub const DL_TYPE: usize = 22;
    pub const NW_TOS: usize = 24;
    pub const NW_PROTO: usize = 25;
    pub const NW_SRC: usize = 28;
    pub const NW_DST: usize = 32;
    pub const TP_SRC: usize = 36;
    pub const TP_DST: usize = 38;
}

/// OFPFW_…: a set bit leaves the field open.
mod open {
    pub const IN_PORT: u32 = 1;
    pub const DL_VLAN: u32 = 1 << 1;
    pub const DL_SRC: u32 = 1 << 2;
    pub const DL_DST: u32 = 1 << 3;
    pub const DL_TYPE: u32 = 1 << 4;
    pub const NW_PROTO: u32 = 1 << 5;
    pub const TP_SRC: u32 = 1 << 6;
    pub const TP_DST: u32 = 1 << 7;
    /// Six bits: so many of the address's last bits are open; 32 and more: all.
    pub const NW_SRC_SHIFT: u32 = 8;
    pub const NW_DST_SHIFT: u32 = 14;
    pub const DL_VLAN_PCP: u32 = 1 << 20;
    pub const NW_TOS: u32 = 1 << 21;
}

const NO_VLAN: u16 = 0xffff;

fn parse_match(bytes: &[u8]) -> Result<FlowMatch, ParseError> {
    let wildcards = u32_at(bytes, matching::WILDCARDS);
    let given = |bit: u32| wildcards & bit == 0;
    let invalid = |field, value: u64| Err(ParseError::Value { what: "a match", field, value });
    let prefix = |shift: u32, at: usize| {
        let bits = 32u8.saturating_sub(((wildcards >> shift) & 0x3f) as u8);
        Ipv4Prefix::new(Ipv4Addr::from(array_at::<4>(bytes, at)), bits)
    };
    let vlan = match u16_at(bytes, matching::DL_VLAN) {
        _ if !given(open::DL_VLAN) => None,
        NO_VLAN => Some(Vlan::Untagged),
        id @ ..0x1000 => Some(Vlan::Id(id)),
        other => return invalid("VLAN", other.into()),
    };
    let pcp = u8_at(bytes, matching::DL_VLAN_PCP);
    if given(open::DL_VLAN_PCP) && pcp > 7 {
        return invalid("VLAN priority", pcp.into());
    }
    // "IP ToS (actually DSCP field, 6 bits)", in the upper six.
    let tos = u8_at(bytes, matching::NW_TOS);
    if given(open::NW_TOS) && tos & 3 != 0 {
        return invalid("ToS", tos.into());
    }
    Ok(FlowMatch {
        in_port: given(open::IN_PORT).then(|| PortNo::from_v10(u16_at(bytes, matching::IN_PORT))),
        eth_src: given(open::DL_SRC).then(|| MacAddr(array_at(bytes, matching::DL_SRC))),
        eth_dst: given(open::DL_DST).then(|| MacAddr(array_at(bytes, matching::DL_DST))),
        vlan,
        vlan_pcp: given(open::DL_VLAN_PCP).then_some(pcp),
        eth_type: given(open::DL_TYPE).then(|| u16_at(bytes, matching::DL_TYPE)),
        ip_dscp: given(open::NW_TOS).then_some(tos >> 2),
        ip_proto: given(open::NW_PROTO).then(|| u8_at(bytes, matching::NW_PROTO)),
        ip_src: prefix(open::NW_SRC_SHIFT, matching::NW_SRC),
        ip_dst: prefix(open::NW_DST_SHIFT, matching::NW_DST),
        l4_src: given(open::TP_SRC).then(|| u16_at(bytes, matching::TP_SRC)),
        l4_dst: given(open::TP_DST).then(|| u16_at(bytes, matching::TP_DST)),
    })
}

fn emit_match(matching: &FlowMatch) -> [u8; MATCH_LEN] {
    let mut bytes = [0; MATCH_LEN];
    let mut wildcards = 0;
    // Constant places, so that the compiler sees each store fit.
    let mut field = |given: Option<&[u8]>, at: usize, bit: u32| match given {
        Some(value) => put(&mut bytes, at, value),
        None => wildcards |= bit,
    };
    field(
        matching.in_port.map(|p| port(p).to_be_bytes()).as_ref().map(<[u8; 2]>::as_slice),
        matching::IN_PORT,
        open::IN_PORT,
    );
    field(matching.eth_src.as_ref().map(|mac| &mac.0[..]), matching::DL_SRC, open::DL_SRC);
    field(matching.eth_dst.as_ref().map(|mac| &mac.0[..]), matching::DL_DST, open::DL_DST);
    let vlan = matching.vlan.map(|vlan| match vlan {
        Vlan::Untagged => NO_VLAN.to_be_bytes(),
        Vlan::Id(id) => id.to_be_bytes(),
    });
    field(vlan.as_ref().map(<[u8; 2]>::as_slice), matching::DL_VLAN, open::DL_VLAN);
    field(matching.vlan_pcp.as_ref().map(std::slice::from_ref), matching::DL_VLAN_PCP, open::DL_VLAN_PCP);
    field(
        matching.eth_type.map(u16::to_be_bytes).as_ref().map(<[u8; 2]>::as_slice),
        matching::DL_TYPE,
        open::DL_TYPE,
    );
    field(matching.ip_dscp.map(|dscp| dscp << 2).as_ref().map(std::slice::from_ref), matching::NW_TOS, open::NW_TOS);
    field(matching.ip_proto.as_ref().map(std::slice::from_ref), matching::NW_PROTO, open::NW_PROTO);
    let address = |prefix: Option<Ipv4Prefix>| prefix.map(|prefix| prefix.address().octets());
    let host_bits = |prefix: Option<Ipv4Prefix>| prefix.map_or(32, |prefix| 32 - u32::from(prefix.bits()));
    field(address(matching.ip_src).as_ref().map(<[u8; 4]>::as_slice), matching::NW_SRC, 0);
    field(address(matching.ip_dst).as_ref().map(<[u8; 4]>::as_slice), matching::NW_DST, 0);
    field(matching.l4_src.map(u16::to_be_bytes).as_ref().map(<[u8; 2]>::as_slice), matching::TP_SRC, open::TP_SRC);
    field(matching.l4_dst.map(u16::to_be_bytes).as_ref().map(<[u8; 2]>::as_slice), matching::TP_DST, open::TP_DST);
    wildcards |= host_bits(matching.ip_src) << open::NW_SRC_SHIFT | host_bits(matching.ip_dst) << open::NW_DST_SHIFT;
    put(&mut bytes, matching::WILDCARDS, &wildcards.to_be_bytes());
    bytes
}

/// A flow-mod whose length was checked.
#[derive(Debug, Clone, Copy)]
pub struct FlowModView<'a>(&'a [u8]);

mod flow_mod {
    pub const MATCH: usize = 8;
    pub const COOKIE: usize = 48;
    pub const COMMAND: usize = 56;
    pub const IDLE_TIMEOUT: usize = 58;
    pub const HARD_TIMEOUT: usize = 60;
    pub const PRIORITY: usize = 62;
    pub const BUFFER_ID: usize = 64;
    pub const OUT_PORT: usize = 68;
    pub const FLAGS: usize = 70;
    pub const ACTIONS: usize = 72;
}

const SEND_FLOW_REM: u16 = 1;

impl<'a> FlowModView<'a> {
    /// # Errors
    /// When the message is shorter than the fields before its actions.
    pub fn new_checked(message: &'a [u8]) -> Result<Self, ParseError> {
        if message.len() < flow_mod::ACTIONS {
            return Err(too_short("a flow-mod", message, "at least 72 are needed"));
        }
        Ok(Self(message))
    }

    /// What is to be done with the flow: `OFPFC_…`.
    #[must_use]
    pub fn command(&self) -> u16 {
        u16_at(self.0, flow_mod::COMMAND)
    }

    /// Flags of the flow: `OFPFF_…`.
    #[must_use]
    pub fn flags(&self) -> u16 {
        u16_at(self.0, flow_mod::FLAGS)
    }

    /// The kept packet that takes the flow.
    #[must_use]
    pub fn buffer_id(&self) -> u32 {
        u32_at(self.0, flow_mod::BUFFER_ID)
    }

    /// Of deletions: only flows that send to this port; `OFPP_NONE`: all.
    #[must_use]
    pub fn out_port(&self) -> u16 {
        u16_at(self.0, flow_mod::OUT_PORT)
    }

    /// The list of actions.
    #[must_use]
    pub fn actions(&self) -> &'a [u8] {
        from(self.0, flow_mod::ACTIONS)
    }

    /// What the message says, as a value.
    ///
    /// # Errors
    /// When a field means nothing, or its actions are not all outputs.
    pub fn parse(&self) -> Result<FlowMod, ParseError> {
        let command = match self.command() {
            0 => Command::Add,
            1 => Command::Modify,
            2 => Command::ModifyStrict,
            3 => Command::Delete,
            4 => Command::DeleteStrict,
            other => return Err(ParseError::Value { what: "a flow-mod", field: "command", value: other.into() }),
        };
        if self.flags() & !SEND_FLOW_REM != 0 {
            let value = self.flags().into();
            return Err(ParseError::Unsupported { what: "a flow-mod", field: "flags", value });
        }
        let deletes = matches!(command, Command::Delete | Command::DeleteStrict);
        let (output, copies) = parse_outputs(self.actions())?;
        let out_port = Some(PortNo::from_v10(self.out_port())).filter(|port| deletes && *port != PortNo::ANY);
        Ok(FlowMod {
            command,
            matching: parse_match(from(self.0, flow_mod::MATCH))?,
            cookie: u64_at(self.0, flow_mod::COOKIE),
            idle_timeout: u16_at(self.0, flow_mod::IDLE_TIMEOUT),
            hard_timeout: u16_at(self.0, flow_mod::HARD_TIMEOUT),
            priority: u16_at(self.0, flow_mod::PRIORITY),
            buffer: BufferId::new(self.buffer_id()),
            out_port,
            notify_removal: self.flags() & SEND_FLOW_REM != 0,
            output,
            copies,
        })
    }
}

pub(super) fn emit_flow_mod(flow: &FlowMod, out: &mut Vec<u8>) {
    let command: u16 = match flow.command {
        Command::Add => 0,
        Command::Modify => 1,
        Command::ModifyStrict => 2,
        Command::Delete => 3,
        Command::DeleteStrict => 4,
    };
    let flags = if flow.notify_removal { SEND_FLOW_REM } else { 0 };
    out.extend_from_slice(&emit_match(&flow.matching));
    out.extend_from_slice(&flow.cookie.to_be_bytes());
    out.extend_from_slice(&command.to_be_bytes());
    out.extend_from_slice(&flow.idle_timeout.to_be_bytes());
    out.extend_from_slice(&flow.hard_timeout.to_be_bytes());
    out.extend_from_slice(&flow.priority.to_be_bytes());
    out.extend_from_slice(&BufferId::wire(flow.buffer).to_be_bytes());
    out.extend_from_slice(&port(flow.out_port.unwrap_or(PortNo::ANY)).to_be_bytes());
    out.extend_from_slice(&flags.to_be_bytes());
    flow.outputs().for_each(|output| emit_actions(Some(output), out));
}

/// A flow-removed whose length was checked.
#[derive(Debug, Clone, Copy)]
pub struct FlowRemovedView<'a>(&'a [u8]);

mod flow_removed {
    pub const MATCH: usize = 8;
    pub const COOKIE: usize = 48;
    pub const PRIORITY: usize = 56;
    pub const REASON: usize = 58;
    pub const DURATION: usize = 60;
    pub const IDLE_TIMEOUT: usize = 68;
    pub const PACKETS: usize = 72;
    pub const BYTES: usize = 80;
    pub const LEN: usize = 88;
}

impl<'a> FlowRemovedView<'a> {
    /// # Errors
    /// When the message has not exactly its length.
    pub fn new_checked(message: &'a [u8]) -> Result<Self, ParseError> {
        if message.len() != flow_removed::LEN {
            return Err(too_short("a flow-removed", message, "it has 88"));
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
    /// When a field of the match means nothing.
    pub fn parse(&self) -> Result<FlowRemoved, ParseError> {
        let reason = match self.reason() {
            0 => Removal::Idle,
            1 => Removal::Hard,
            2 => Removal::Deleted,
            other => Removal::Other(other),
        };
        Ok(FlowRemoved {
            matching: parse_match(from(self.0, flow_removed::MATCH))?,
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
        Removal::Deleted | Removal::GroupDeleted => 2,
        Removal::Other(other) => other,
    };
    out.extend_from_slice(&emit_match(&flow.matching));
    out.extend_from_slice(&flow.cookie.to_be_bytes());
    out.extend_from_slice(&flow.priority.to_be_bytes());
    out.extend_from_slice(&[reason, 0]);
    out.extend_from_slice(&flow.duration.to_be_bytes());
    // Nanoseconds of the duration, which is kept in whole seconds.
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&flow.idle_timeout.to_be_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&flow.packets.to_be_bytes());
    out.extend_from_slice(&flow.bytes.to_be_bytes());
}

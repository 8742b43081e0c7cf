//! What a switch says of itself (sections 5.2.1, 5.3.1, 5.3.2 and 5.4.3).

use super::super::alike::{emit_name, parse_name, parse_port_reason, port_reason, too_short};
use super::super::bytes::{array_at, from, put, u8_at, u16_at, u32_at, u64_at};
use super::super::{Features, ParseError, Port, PortNo, PortStatus};
use super::packet::port;
use crate::mac::MacAddr;

/// Length of `ofp_phy_port` in bytes.
pub const PORT_LEN: usize = 48;

/// Bit of a port that is down: OFPPC_PORT_DOWN and OFPPS_LINK_DOWN alike.
const DOWN: u32 = 1;

mod phy_port {
    pub const NUMBER: usize = 0;
    pub const MAC: usize = 2;
    pub const NAME: usize = 8;
    pub const CONFIG: usize = 24;
    pub const STATE: usize = 28;
}

fn parse_port(bytes: &[u8]) -> Port {
    Port {
        number: PortNo::from_v10(u16_at(bytes, phy_port::NUMBER)),
        mac: MacAddr(array_at(bytes, phy_port::MAC)),
        name: parse_name(&array_at(bytes, phy_port::NAME)),
        up: (u32_at(bytes, phy_port::CONFIG) | u32_at(bytes, phy_port::STATE)) & DOWN == 0,
    }
}

fn emit_port(described: &Port, out: &mut Vec<u8>) {
    let mut bytes = [0; PORT_LEN];
    put(&mut bytes, phy_port::NUMBER, &port(described.number).to_be_bytes());
    put(&mut bytes, phy_port::MAC, &described.mac.0);
    put(&mut bytes, phy_port::NAME, &emit_name(&described.name));
    put(&mut bytes, phy_port::STATE, &if described.up { 0 } else { DOWN }.to_be_bytes());
    out.extend_from_slice(&bytes);
}

/// A features reply whose length was checked.
#[derive(Debug, Clone, Copy)]
pub struct FeaturesView<'a>(&'a [u8]);

mod features {
    pub const DPID: usize = 8;
    pub const BUFFERS: usize = 16;
    pub const TABLES: usize = 20;
    pub const CAPABILITIES: usize = 24;
    pub const ACTIONS: usize = 28;
    pub const PORTS: usize = 32;
}

impl<'a> FeaturesView<'a> {
    /// # Errors
    /// When the message is shorter than its fields, or its ports are not whole.
    pub fn new_checked(message: &'a [u8]) -> Result<Self, ParseError> {
        let ports = message.len().checked_sub(features::PORTS);
        if ports.is_none_or(|length| length % PORT_LEN != 0) {
            return Err(too_short("a features reply", message, "it has 32, and 48 for each port"));
        }
        Ok(Self(message))
    }

    /// The datapath id of the switch.
    #[must_use]
    pub fn dpid(&self) -> u64 {
        u64_at(self.0, features::DPID)
    }

    /// What the message says, as a value.
    #[must_use]
    pub fn parse(&self) -> Features {
        Features {
            dpid: self.dpid(),
            buffers: u32_at(self.0, features::BUFFERS),
            tables: u8_at(self.0, features::TABLES),
            auxiliary: 0,
            capabilities: u32_at(self.0, features::CAPABILITIES),
            actions: u32_at(self.0, features::ACTIONS),
            ports: from(self.0, features::PORTS).chunks_exact(PORT_LEN).map(parse_port).collect(),
        }
    }
}

pub(super) fn emit_features(features: &Features, out: &mut Vec<u8>) {
    out.extend_from_slice(&features.dpid.to_be_bytes());
    out.extend_from_slice(&features.buffers.to_be_bytes());
    out.extend_from_slice(&[features.tables, 0, 0, 0]);
    out.extend_from_slice(&features.capabilities.to_be_bytes());
    out.extend_from_slice(&features.actions.to_be_bytes());
    features.ports.iter().for_each(|port| emit_port(port, out));
}

/// A port-status whose length was checked.
#[derive(Debug, Clone, Copy)]
pub struct PortStatusView<'a>(&'a [u8]);

mod port_status {
    pub const REASON: usize = 8;
    pub const PORT: usize = 16;
    pub const LEN: usize = 64;
}

impl<'a> PortStatusView<'a> {
    /// # Errors
    /// When the message has not exactly its length.
    pub fn new_checked(message: &'a [u8]) -> Result<Self, ParseError> {
        if message.len() != port_status::LEN {
            return Err(too_short("a port-status", message, "it has 64"));
        }
        Ok(Self(message))
    }

    /// What happened to the port: `OFPPR_…`.
    #[must_use]
    pub fn reason(&self) -> u8 {
        u8_at(self.0, port_status::REASON)
    }

    /// What the message says, as a value.
    ///
    /// # Errors
    /// When the reason means nothing.
    pub fn parse(&self) -> Result<PortStatus, ParseError> {
        Ok(PortStatus {
            reason: parse_port_reason(self.reason())?,
            port: parse_port(from(self.0, port_status::PORT)),
        })
    }
}

pub(super) fn emit_port_status(status: &PortStatus, out: &mut Vec<u8>) {
    out.extend_from_slice(&[port_reason(status.reason), 0, 0, 0, 0, 0, 0, 0]);
    emit_port(&status.port, out);
}

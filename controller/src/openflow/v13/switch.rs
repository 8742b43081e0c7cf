//! What a switch says of itself (sections 7.2.1, 7.3.1, 7.3.5.7 and 7.4.3).

use super::super::alike::{emit_name, parse_name, parse_port_reason, port_reason, too_short};
use super::super::bytes::{array_at, from, put, u8_at, u32_at, u64_at};
use super::super::{Features, ParseError, Port, PortNo, PortStatus};
use crate::mac::MacAddr;

/// Length of `ofp_port` in bytes.
pub const PORT_LEN: usize = 64;

/// Bit of a port that is down: OFPPC_PORT_DOWN and OFPPS_LINK_DOWN alike.
const DOWN: u32 = 1;

mod port {
    pub const NUMBER: usize = 0;
    pub const MAC: usize = 8;
    pub const NAME: usize = 16;
    pub const CONFIG: usize = 32;
    pub const STATE: usize = 36;
}

fn parse_port(bytes: &[u8]) -> Port {
    Port {
        number: PortNo(u32_at(bytes, port::NUMBER)),
        mac: MacAddr(array_at(bytes, port::MAC)),
        name: parse_name(&array_at(bytes, port::NAME)),
        up: (u32_at(bytes, port::CONFIG) | u32_at(bytes, port::STATE)) & DOWN == 0,
    }
}

pub(super) fn emit_port(described: &Port, out: &mut Vec<u8>) {
    let mut bytes = [0; PORT_LEN];
    put(&mut bytes, port::NUMBER, &described.number.0.to_be_bytes());
    put(&mut bytes, port::MAC, &described.mac.0);
    put(&mut bytes, port::NAME, &emit_name(&described.name));
    put(&mut bytes, port::STATE, &if described.up { 0 } else { DOWN }.to_be_bytes());
    out.extend_from_slice(&bytes);
}

/// Reads the ports of a description.
pub(super) fn parse_ports(bytes: &[u8]) -> Result<Vec<Port>, ParseError> {
    if !bytes.len().is_multiple_of(PORT_LEN) {
        return Err(too_short("a list of ports", bytes, "each has 64"));
    }
    Ok(bytes.chunks_exact(PORT_LEN).map(parse_port).collect())
}

/// A features reply whose length was checked.
#[derive(Debug, Clone, Copy)]
pub struct FeaturesView<'a>(&'a [u8]);

mod features {
    pub const DPID: usize = 8;
    pub const BUFFERS: usize = 16;
    pub const TABLES: usize = 20;
    pub const AUXILIARY: usize = 21;
    pub const CAPABILITIES: usize = 24;
    pub const LEN: usize = 32;
}

impl<'a> FeaturesView<'a> {
    /// # Errors
    /// When the message has not exactly its length.
    pub fn new_checked(message: &'a [u8]) -> Result<Self, ParseError> {
        if message.len() != features::LEN {
            return Err(too_short("a features reply", message, "it has 32"));
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
            auxiliary: u8_at(self.0, features::AUXILIARY),
            capabilities: u32_at(self.0, features::CAPABILITIES),
            actions: 0,
            ports: Vec::new(),
        }
    }
}

pub(super) fn emit_features(features: &Features, out: &mut Vec<u8>) {
    out.extend_from_slice(&features.dpid.to_be_bytes());
    out.extend_from_slice(&features.buffers.to_be_bytes());
    out.extend_from_slice(&[features.tables, features.auxiliary, 0, 0]);
    out.extend_from_slice(&features.capabilities.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
}

/// A port-status whose length was checked.
#[derive(Debug, Clone, Copy)]
pub struct PortStatusView<'a>(&'a [u8]);

mod port_status {
    pub const REASON: usize = 8;
    pub const PORT: usize = 16;
    pub const LEN: usize = 80;
}

impl<'a> PortStatusView<'a> {
    /// # Errors
    /// When the message has not exactly its length.
    pub fn new_checked(message: &'a [u8]) -> Result<Self, ParseError> {
        if message.len() != port_status::LEN {
            return Err(too_short("a port-status", message, "it has 80"));
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

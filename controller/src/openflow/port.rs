//! Numbers and descriptions of a switch's ports.

use std::fmt;

use crate::mac::MacAddr;

/// A port number, in the numbering of 1.3. The 16-bit numbers of 1.0 map onto it one to one: its reserved ports
/// (`0xff00` and up) are those at the top of the 32-bit range.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortNo(pub u32);

impl PortNo {
    /// The port that the packet came in on (OFPP_IN_PORT).
    pub const IN_PORT: PortNo = PortNo(0xffff_fff8);
    /// Through the flow tables; in packet-outs only (OFPP_TABLE).
    pub const TABLE: PortNo = PortNo(0xffff_fff9);
    /// The switch's own forwarding (OFPP_NORMAL).
    pub const NORMAL: PortNo = PortNo(0xffff_fffa);
    /// All ports but the one it came in and those closed to flooding (OFPP_FLOOD).
    pub const FLOOD: PortNo = PortNo(0xffff_fffb);
    /// All ports but the one it came in (OFPP_ALL).
    pub const ALL: PortNo = PortNo(0xffff_fffc);
    /// Up to the controller (OFPP_CONTROLLER).
    pub const CONTROLLER: PortNo = PortNo(0xffff_fffd);
    /// The switch's own network stack (OFPP_LOCAL).
    pub const LOCAL: PortNo = PortNo(0xffff_fffe);
    /// None or any (OFPP_NONE in 1.0, OFPP_ANY in 1.3).
    pub const ANY: PortNo = PortNo(0xffff_ffff);

    /// The port that 1.0 gives this number, which has 16 bits.
    #[must_use]
    pub fn from_v10(number: u16) -> Self {
        if number < 0xff00 { PortNo(number.into()) } else { PortNo(0xffff_0000 | u32::from(number)) }
    }

    /// Its number in 1.0, if it has one.
    #[must_use]
    pub fn to_v10(self) -> Option<u16> {
        match self.0 {
            number @ 0..0xff00 => u16::try_from(number).ok(),
            number @ 0xffff_ff00.. => u16::try_from(number & 0xffff).ok(),
            _ => None,
        }
    }

    /// Whether something can be attached to it: a physical port, or the switch itself.
    #[must_use]
    pub fn is_attachment(self) -> bool {
        (1..0xffff_ff00).contains(&self.0) || self == PortNo::LOCAL
    }
}

impl fmt::Display for PortNo {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            PortNo::IN_PORT => out.pad("in_port"),
            PortNo::TABLE => out.pad("table"),
            PortNo::NORMAL => out.pad("normal"),
            PortNo::FLOOD => out.pad("flood"),
            PortNo::ALL => out.pad("all"),
            PortNo::CONTROLLER => out.pad("controller"),
            PortNo::LOCAL => out.pad("local"),
            PortNo::ANY => out.pad("any"),
            PortNo(number) => fmt::Display::fmt(&number, out),
        }
    }
}

impl fmt::Debug for PortNo {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "port {self}")
    }
}

/// What a switch says of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Number of the port, in the numbering of 1.3.
    pub number: PortNo,
    /// MAC address of the port.
    pub mac: MacAddr,
    /// Its name, at most 15 bytes; `?` stands for each byte that is not UTF-8.
    pub name: String,
    /// Whether it is neither switched off nor without a link.
    pub up: bool,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_of_1_0() {
        for number in 0..=u16::MAX {
            assert_eq!(PortNo::from_v10(number).to_v10(), Some(number));
        }
        assert_eq!(PortNo::from_v10(0xfffb), PortNo::FLOOD);
        assert_eq!(PortNo(0xff00).to_v10(), None);
        assert_eq!(PortNo(70_000).to_v10(), None);
        assert!(PortNo(1).is_attachment() && PortNo::LOCAL.is_attachment());
        assert!(!PortNo(0).is_attachment() && !PortNo::FLOOD.is_attachment());
    }
}

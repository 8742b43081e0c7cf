//! Ethernet addresses.

use std::fmt;

/// An Ethernet address (EUI-48).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: MacAddr = MacAddr([0xff; 6]);

    /// Whether the group bit is set: multicast or broadcast.
    #[must_use]
    pub fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// Whether it can be the address of a station: neither a group nor all zeros.
    #[must_use]
    pub fn is_station(self) -> bool {
        !self.is_group() && self.0 != [0; 6]
    }

    /// `01:80:c2:00:00:00` to `…0f`: addresses that a bridge never forwards (IEEE 802.1Q-2018, table 8-1).
    #[must_use]
    pub fn is_bridge_filtered(self) -> bool {
        matches!(self.0, [0x01, 0x80, 0xc2, 0, 0, last] if last <= 0x0f)
    }

    /// The address as the lower 48 bits of a number.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }

    /// The address that the lower 48 bits of a number are.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        let [_, _, address @ ..] = bits.to_be_bytes();
        Self(address)
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(out, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_addresses() {
        assert!(MacAddr::BROADCAST.is_group() && !MacAddr::BROADCAST.is_station());
        assert!(!MacAddr([0; 6]).is_station());
        assert!(MacAddr([2, 0, 0, 0, 0, 1]).is_station());
        assert!(MacAddr([1, 0x80, 0xc2, 0, 0, 0x0e]).is_bridge_filtered());
        assert!(!MacAddr([1, 0x80, 0xc2, 0, 0, 0x10]).is_bridge_filtered());
        assert_eq!(MacAddr([2, 0, 0, 0, 0, 0xab]).to_string(), "02:00:00:00:00:ab");
        assert_eq!(MacAddr([2, 0, 0, 0, 0, 0xab]).to_bits(), 0x0200_0000_00ab);
        assert_eq!(MacAddr::from_bits(0x0200_0000_00ab), MacAddr([2, 0, 0, 0, 0, 0xab]));
    }
}

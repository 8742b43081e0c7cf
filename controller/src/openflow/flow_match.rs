//! Which packets a flow matches.

use std::net::Ipv4Addr;

use super::PortNo;
use crate::mac::MacAddr;

/// Which packets a flow is for: the twelve fields of 1.0 (section 3.4, table 3), each given or of any value. Version
/// 1.3 expresses the same in OXM; as in 1.0, the fields from `ip_dscp` on mean what `eth_type` and `ip_proto` make of
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FlowMatch {
    /// Port of the switch that the packet came in on.
    pub in_port: Option<PortNo>,
    /// MAC address of the sender.
    pub eth_src: Option<MacAddr>,
    /// MAC address of the receiver.
    pub eth_dst: Option<MacAddr>,
    /// VLAN tag, or that there is none.
    pub vlan: Option<Vlan>,
    /// Priority in the VLAN tag, 0 to 7; 0 without a tag.
    pub vlan_pcp: Option<u8>,
    /// Ethernet type, behind a VLAN tag if there is one; 0x05ff for IEEE 802.3 frames without SNAP.
    pub eth_type: Option<u16>,
    /// IP's differentiated services code point, 0 to 63.
    pub ip_dscp: Option<u8>,
    /// IP protocol; of ARP the operation.
    pub ip_proto: Option<u8>,
    /// IP source; of ARP the sender's protocol address.
    pub ip_src: Option<Ipv4Prefix>,
    /// IP destination; of ARP the target's protocol address.
    pub ip_dst: Option<Ipv4Prefix>,
    /// TCP or UDP source port; ICMP type.
    pub l4_src: Option<u16>,
    /// TCP or UDP destination port; ICMP code.
    pub l4_dst: Option<u16>,
}

/// What the VLAN tag of a packet must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Vlan {
    /// The packet has no tag.
    Untagged,
    /// The tag has this id, 0 to 4095.
    Id(u16),
}

/// An IPv4 subnet; a single address has a prefix of 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ipv4Prefix {
    address: Ipv4Addr,
    bits: u8,
}

impl Ipv4Prefix {
    /// The subnet of `address` with a prefix of `bits` bits, 1 to 32; `None` for other lengths. Bits of the address
    /// behind the prefix are cleared.
    #[must_use]
    pub fn new(address: Ipv4Addr, bits: u8) -> Option<Self> {
        (1..=32).contains(&bits).then(|| {
            let mask = u32::MAX << (32 - bits);
            Self { address: Ipv4Addr::from(u32::from(address) & mask), bits }
        })
    }

    /// The same, known when this is compiled: of 1 to 32 bits, and no more of `address` set.
    pub(crate) const fn constant(address: Ipv4Addr, bits: u8) -> Self {
        assert!(bits >= 1 && bits <= 32 && address.to_bits() & !(u32::MAX << (32 - bits)) == 0);
        Self { address, bits }
    }

    /// A prefix of 32 bits: this address alone.
    #[must_use]
    pub fn host(address: Ipv4Addr) -> Self {
        Self { address, bits: 32 }
    }

    /// The first address of the prefix.
    #[must_use]
    pub fn address(self) -> Ipv4Addr {
        self.address
    }

    /// Length of the prefix in bits, 1 to 32.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.bits
    }

    /// The prefix as a network mask.
    #[must_use]
    pub fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::MAX << (32 - self.bits))
    }

    /// Whether every address of `other` is in it.
    #[must_use]
    pub fn contains(self, other: Ipv4Prefix) -> bool {
        self.bits <= other.bits && Self::new(other.address, self.bits) == Some(self)
    }
}

impl FlowMatch {
    /// A match of every packet: no field counts.
    pub const ANY: FlowMatch = FlowMatch {
        in_port: None,
        eth_src: None,
        eth_dst: None,
        vlan: None,
        vlan_pcp: None,
        eth_type: None,
        ip_dscp: None,
        ip_proto: None,
        ip_src: None,
        ip_dst: None,
        l4_src: None,
        l4_dst: None,
    };

    /// Whether every packet that `other` matches is matched by this.
    #[must_use]
    pub fn covers(&self, other: &FlowMatch) -> bool {
        fn covers<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
            one.is_none() || one == other
        }
        fn contains(one: Option<Ipv4Prefix>, other: Option<Ipv4Prefix>) -> bool {
            one.is_none_or(|one| other.is_some_and(|other| one.contains(other)))
        }
        covers(self.in_port, other.in_port)
            && covers(self.eth_src, other.eth_src)
            && covers(self.eth_dst, other.eth_dst)
            && covers(self.vlan, other.vlan)
            && covers(self.vlan_pcp, other.vlan_pcp)
            && covers(self.eth_type, other.eth_type)
            && covers(self.ip_dscp, other.ip_dscp)
            && covers(self.ip_proto, other.ip_proto)
            && contains(self.ip_src, other.ip_src)
            && contains(self.ip_dst, other.ip_dst)
            && covers(self.l4_src, other.l4_src)
            && covers(self.l4_dst, other.l4_dst)
    }

    /// The same conversation in the other direction, for packets that come in at `in_port`.
    #[must_use]
    pub fn reversed(&self, in_port: PortNo) -> FlowMatch {
        FlowMatch {
            in_port: Some(in_port),
            eth_src: self.eth_dst,
            eth_dst: self.eth_src,
            ip_src: self.ip_dst,
            ip_dst: self.ip_src,
            l4_src: self.l4_dst,
            l4_dst: self.l4_src,
            ..*self
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn prefixes() {
        let ten = Ipv4Prefix::new(Ipv4Addr::new(10, 1, 2, 3), 8).unwrap();
        assert_eq!((ten.address(), ten.mask()), (Ipv4Addr::new(10, 0, 0, 0), Ipv4Addr::new(255, 0, 0, 0)));
        assert!(ten.contains(Ipv4Prefix::host(Ipv4Addr::new(10, 9, 9, 9))));
        assert!(!ten.contains(Ipv4Prefix::host(Ipv4Addr::new(11, 0, 0, 1))));
        assert!(!Ipv4Prefix::host(Ipv4Addr::new(10, 0, 0, 0)).contains(ten));
        assert_eq!(Ipv4Prefix::new(Ipv4Addr::LOCALHOST, 0), None);
        assert_eq!(Ipv4Prefix::new(Ipv4Addr::LOCALHOST, 33), None);
    }

    #[test]
    fn what_covers_what() {
        let narrow = FlowMatch { eth_dst: Some(MacAddr([2, 0, 0, 0, 0, 1])), l4_src: Some(80), ..FlowMatch::ANY };
        let wide = FlowMatch { eth_dst: narrow.eth_dst, ..FlowMatch::ANY };
        assert!(FlowMatch::ANY.covers(&narrow) && wide.covers(&narrow) && narrow.covers(&narrow));
        assert!(!narrow.covers(&wide) && !narrow.covers(&FlowMatch::ANY));
    }
}

//! Ethernet frames, as far as a flow looks into them.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::Range;

use crate::mac::MacAddr;
use crate::openflow::{FlowMatch, Ipv4Prefix, PortNo, Vlan};

/// What lies behind the Ethernet header of IPv4 packets.
pub const IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// EtherType of LLDP.
pub const LLDP: u16 = 0x88cc;
/// IP protocol number of TCP.
pub const TCP: u8 = 6;

const ICMP: u8 = 1;
const UDP: u8 = 17;
/// Customers' and services' VLAN tags (IEEE 802.1Q-2018, table 9-1). Flows do not tell them apart, and see the
/// outermost.
const VLAN_TAGS: [u16; 2] = [0x8100, 0x88a8];
/// Type fields below this are lengths of IEEE 802.3 frames.
const LEAST_TYPE: u16 = 0x0600;
/// What OpenFlow 1.0 (section 3.4) puts for frames without a type.
const NO_TYPE: u16 = 0x05ff;
/// LLC and SNAP headers in front of a type (IEEE 802.2; OUI 00-00-00).
const SNAP: [u8; 6] = [0xaa, 0xaa, 0x03, 0, 0, 0];

/// A frame taken apart. Whatever is cut off or malformed counts as absent: a switch forwards frames, it does not
/// judge them.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// The bytes of the whole frame, from its destination address on.
    pub bytes: &'a [u8],
    /// MAC address of the sender.
    pub src: MacAddr,
    /// MAC address of the receiver.
    pub dst: MacAddr,
    /// VLAN id and priority of the outermost tag.
    pub vlan: Option<(u16, u8)>,
    /// Type behind the tag; 0x05ff without one.
    pub eth_type: u16,
    /// The network layer, as far as flows can match it.
    pub network: Network,
}

/// Network layer, as far as flows distinguish it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Neither ARP nor IPv4, or one that cannot be read.
    Other,
    /// An ARP message for IPv4 over Ethernet.
    Arp {
        /// The operation; 0 when it is above 255.
        operation: u8,
        /// IPv4 address of the sender.
        sender: Ipv4Addr,
        /// IPv4 address of the target: in a request the one that is asked for.
        target: Ipv4Addr,
    },
    /// An IPv4 packet.
    Ipv4 {
        /// IPv4 address of the sender.
        src: Ipv4Addr,
        /// IPv4 address of the receiver.
        dst: Ipv4Addr,
        /// Differentiated services code point, 0 to 63.
        dscp: u8,
        /// IP protocol number, such as 6 for TCP.
        protocol: u8,
        /// The transport layer, as far as flows can match it.
        transport: Transport,
    },
}

/// The transport layer of an IPv4 packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A protocol whose ports flows do not look at.
    Other,
    /// A part of a packet that was cut into several, or one cut short. Flows see no ports there, as switches by
    /// default do not.
    Fragment,
    /// TCP or UDP ports, or ICMP's type and code.
    Ports {
        /// Source port or ICMP type.
        src: u16,
        /// Destination port or ICMP code.
        dst: u16,
        /// Where the transport header begins in the frame.
        at: usize,
        /// Where the IP packet ends in the frame; Ethernet pads short ones.
        end: usize,
    },
}

/// The header of a TCP segment, and where in the frame its payload lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tcp {
    /// Address and port of the sender.
    pub src: SocketAddrV4,
    /// Address and port of the receiver.
    pub dst: SocketAddrV4,
    /// Sequence number of the first byte of the payload, or of SYN.
    pub seq: u32,
    /// Acknowledgement number; it counts where `is_ack` is set.
    pub ack: u32,
    /// The connection is begun.
    pub syn: bool,
    /// The acknowledgement number counts.
    pub is_ack: bool,
    /// The sender has no more to send.
    pub fin: bool,
    /// The connection is broken off.
    pub rst: bool,
    /// Where its checksum lies in the frame.
    pub checksum: usize,
    /// Where its payload lies in the frame.
    pub payload: Payload,
}

/// Why flows do not see a TCP segment that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hidden {
    /// Behind a second VLAN tag.
    Tags,
    /// In a fragment of an IP packet.
    Fragment,
}

/// A range of bytes in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload {
    /// Offset in the frame of the first byte.
    pub start: usize,
    /// Offset in the frame behind the last byte.
    pub end: usize,
}

impl Payload {
    /// The same as a range of offsets.
    #[must_use]
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

impl<'a> Frame<'a> {
    /// Takes a frame apart; `None` when it is shorter than an Ethernet header.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let dst = MacAddr(*bytes.first_chunk()?);
        let src = MacAddr(*bytes.get(6..)?.first_chunk()?);
        let mut at = 14;
        let mut eth_type = u16_at(bytes, 12)?;
        let mut vlan = None;
        if VLAN_TAGS.contains(&eth_type) {
            let tag = u16_at(bytes, 14)?;
            vlan = Some((tag & 0xfff, (tag >> 13) as u8));
            eth_type = u16_at(bytes, 16)?;
            at = 18;
        }
        if eth_type < LEAST_TYPE {
            eth_type = NO_TYPE;
            if bytes.get(at..at + SNAP.len()) == Some(&SNAP) {
                eth_type = u16_at(bytes, at + 6).filter(|found| *found >= LEAST_TYPE).unwrap_or(NO_TYPE);
                at += 8;
            }
        }
        let network = match eth_type {
            IPV4 => ipv4(bytes, at),
            ARP => arp(bytes, at),
            _ => None,
        };
        Some(Self { bytes, src, dst, vlan, eth_type, network: network.unwrap_or(Network::Other) })
    }

    /// The VLAN that it belongs to; `None`: none, also if it has a tag for its priority alone (IEEE 802.1Q-2018, 6.9.1).
    #[must_use]
    pub fn vlan_id(&self) -> Option<u16> {
        self.vlan.map(|(id, _)| id).filter(|id| *id != 0)
    }

    /// Whether a switch must not pass it on: sent to an address that bridges filter, or LLDP.
    #[must_use]
    pub fn is_link_local(&self) -> bool {
        self.dst.is_bridge_filtered() || self.eth_type == LLDP
    }

    /// The match of exactly such frames that come in at `in_port`. Fields that this kind of frame does not have stay
    /// open.
    #[must_use]
    pub fn exact_match(&self, in_port: PortNo) -> FlowMatch {
        let mut matching = FlowMatch {
            in_port: Some(in_port),
            eth_src: Some(self.src),
            eth_dst: Some(self.dst),
            vlan: Some(self.vlan.map_or(Vlan::Untagged, |(id, _)| Vlan::Id(id))),
            vlan_pcp: Some(self.vlan.map_or(0, |(_, priority)| priority)),
            eth_type: Some(self.eth_type),
            ..FlowMatch::ANY
        };
        match self.network {
            // What claims to be IPv4 or ARP and is not, or was cut off, has zeros there, as Open vSwitch sees it.
            // Were these fields open, the flow would be one for all that the two hosts ever say.
            Network::Other if matches!(self.eth_type, IPV4 | ARP) => {
                matching.ip_proto = Some(0);
                matching.ip_src = Some(Ipv4Prefix::host(Ipv4Addr::UNSPECIFIED));
                matching.ip_dst = Some(Ipv4Prefix::host(Ipv4Addr::UNSPECIFIED));
            }
            Network::Other => {}
            Network::Arp { operation, sender, target } => {
                // 1.0 compares these of ARP in the fields of IP.
                matching.ip_proto = Some(operation);
                matching.ip_src = Some(Ipv4Prefix::host(sender));
                matching.ip_dst = Some(Ipv4Prefix::host(target));
            }
            Network::Ipv4 { src, dst, dscp, protocol, transport } => {
                matching.ip_dscp = Some(dscp);
                matching.ip_proto = Some(protocol);
                matching.ip_src = Some(Ipv4Prefix::host(src));
                matching.ip_dst = Some(Ipv4Prefix::host(dst));
                match transport {
                    Transport::Ports { src, dst, .. } => {
                        matching.l4_src = Some(src);
                        matching.l4_dst = Some(dst);
                    }
                    Transport::Fragment => {
                        matching.l4_src = Some(0);
                        matching.l4_dst = Some(0);
                    }
                    // Not zero: a switch may find ports there after all, as Open vSwitch does in SCTP.
                    Transport::Other => {}
                }
            }
        }
        matching
    }

    /// The TCP segment in it, if there is one and its header is whole.
    #[must_use]
    pub fn tcp(&self) -> Option<Tcp> {
        let Network::Ipv4 { src, dst, protocol: TCP, transport, .. } = self.network else { return None };
        let Transport::Ports { src: src_port, dst: dst_port, at, end } = transport else { return None };
        let header = self.bytes.get(at..end)?;
        let flags = *header.get(13)?;
        let header_len = usize::from(header.get(12)? >> 4) * 4;
        if header_len < 20 || header.len() < header_len {
            return None;
        }
        Some(Tcp {
            src: SocketAddrV4::new(src, src_port),
            dst: SocketAddrV4::new(dst, dst_port),
            seq: u32_at(header, 4)?,
            ack: u32_at(header, 8)?,
            fin: flags & 0x01 != 0,
            syn: flags & 0x02 != 0,
            rst: flags & 0x04 != 0,
            is_ack: flags & 0x10 != 0,
            checksum: at + 16,
            payload: Payload { start: at + header_len, end },
        })
    }

    /// Whether [`Frame::hidden_tcp`] may find something.
    #[must_use]
    pub fn may_hide_tcp(&self) -> bool {
        let fragment = matches!(self.network, Network::Ipv4 { protocol: TCP, transport: Transport::Fragment, .. });
        fragment || VLAN_TAGS.contains(&self.eth_type)
    }

    /// A TCP segment where flows see none, and why they do not: behind a second VLAN tag, or in the first fragment of
    /// an IP packet.
    #[must_use]
    pub fn hidden_tcp(&self) -> Option<(Hidden, Tcp)> {
        let mut at = 14;
        let mut eth_type = u16_at(self.bytes, 12)?;
        let mut tags = 0;
        while VLAN_TAGS.contains(&eth_type) {
            eth_type = u16_at(self.bytes, at + 2)?;
            at += 4;
            tags += 1;
        }
        if eth_type != IPV4 {
            return None;
        }
        let mut network = ipv4(self.bytes, at)?;
        let hidden = if tags > 1 { Hidden::Tags } else { Hidden::Fragment };
        if let Network::Ipv4 { protocol, transport: part @ Transport::Fragment, .. } = &mut network {
            let packet = self.bytes.get(at..)?;
            if u16_at(packet, 6)? & 0x1fff != 0 {
                return None;
            }
            let header_len = usize::from(packet.first()? & 0x0f) * 4;
            let end = at + usize::from(u16_at(packet, 2)?).min(packet.len());
            *part = transport(self.bytes, *protocol, at + header_len, end);
        }
        Some((hidden, Self { network, ..*self }.tcp()?))
    }

    /// The bytes of a segment's payload.
    #[must_use]
    pub fn payload(&self, tcp: &Tcp) -> &'a [u8] {
        self.bytes.get(tcp.payload.range()).unwrap_or_default()
    }
}

impl Tcp {
    /// The sequence number after this segment: SYN and FIN take one each.
    #[must_use]
    pub fn seq_end(&self) -> u32 {
        let length = (self.payload.end - self.payload.start) as u32;
        self.seq.wrapping_add(length).wrapping_add(u32::from(self.syn)).wrapping_add(u32::from(self.fin))
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn address_at(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    u32_at(bytes, at).map(Ipv4Addr::from)
}

/// RFC 826; hardware type Ethernet, protocol IPv4.
fn arp(bytes: &[u8], at: usize) -> Option<Network> {
    let packet = bytes.get(at..at + 28)?;
    if !packet.starts_with(&[0, 1, 8, 0, 6, 4]) {
        return None;
    }
    Some(Network::Arp {
        operation: u8::try_from(u16_at(packet, 6)?).unwrap_or(0),
        sender: address_at(packet, 14)?,
        target: address_at(packet, 24)?,
    })
}

/// Reads an IPv4 header (RFC 791, section 3.1) that begins at `at`.
fn ipv4(bytes: &[u8], at: usize) -> Option<Network> {
    let packet = bytes.get(at..)?;
    let version_and_length = *packet.first()?;
    let header_len = usize::from(version_and_length & 0x0f) * 4;
    let total_len = usize::from(u16_at(packet, 2)?);
    if version_and_length >> 4 != 4 || header_len < 20 || packet.len() < header_len || total_len < header_len {
        return None;
    }
    let protocol = *packet.get(9)?;
    let end = at + total_len.min(packet.len());
    // More fragments, or an offset.
    let transport = if u16_at(packet, 6)? & 0x3fff != 0 {
        Transport::Fragment
    } else {
        transport(bytes, protocol, at + header_len, end)
    };
    Some(Network::Ipv4 {
        src: address_at(packet, 12)?,
        dst: address_at(packet, 16)?,
        dscp: *packet.get(1)? >> 2,
        protocol,
        transport,
    })
}

fn transport(bytes: &[u8], protocol: u8, at: usize, end: usize) -> Transport {
    let header = bytes.get(at..end).unwrap_or_default();
    let ports = match protocol {
        TCP | UDP => u16_at(header, 0).zip(u16_at(header, 2)),
        ICMP => header.first().zip(header.get(1)).map(|(kind, code)| ((*kind).into(), (*code).into())),
        _ => return Transport::Other,
    };
    ports.map_or(Transport::Fragment, |(src, dst)| Transport::Ports { src, dst, at, end })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::testing::TcpFrame;
    use proptest::prelude::*;

    /// An ARP request and an echo request that Open vSwitch 3.1 handed up.
    fn captured(index: usize) -> Vec<u8> {
        let messages = crate::openflow::captured::ovs_10();
        messages.iter().filter(|(name, _)| name == "packet-in").nth(index).unwrap().1[18..].to_vec()
    }

    #[test]
    fn a_real_arp_request() {
        let bytes = captured(0);
        let frame = Frame::parse(&bytes).unwrap();
        assert_eq!((frame.dst, frame.src), (MacAddr::BROADCAST, MacAddr([2, 0, 0, 0, 0, 1])));
        let (sender, target) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        assert_eq!(frame.network, Network::Arp { operation: 1, sender, target });
        assert_eq!(frame.exact_match(PortNo(3)).ip_proto, Some(1));
        assert_eq!(frame.tcp(), None);
    }

    #[test]
    fn a_real_echo_request() {
        let bytes = captured(2);
        let frame = Frame::parse(&bytes).unwrap();
        let matching = frame.exact_match(PortNo(1));
        assert_eq!((matching.ip_proto, matching.l4_src, matching.l4_dst), (Some(1), Some(8), Some(0)));
        assert_eq!(matching.ip_src, Some(Ipv4Prefix::host(Ipv4Addr::new(10, 0, 0, 1))));
        assert_eq!(matching.vlan, Some(Vlan::Untagged));
    }

    #[test]
    fn a_segment_with_padding_behind_it() {
        let mut bytes = TcpFrame::between("10.0.0.1:4000", "10.0.0.2:1935").seq(7).payload(b"abc").bytes();
        bytes.resize(64, 0);
        let frame = Frame::parse(&bytes).unwrap();
        let tcp = frame.tcp().unwrap();
        assert_eq!((frame.payload(&tcp), tcp.seq, tcp.seq_end()), (&b"abc"[..], 7, 10));
    }

    #[test]
    fn a_tagged_frame() {
        let mut bytes = TcpFrame::between("10.0.0.1:4000", "10.0.0.2:1935").bytes();
        bytes.splice(12..12, [0x81, 0x00, 0x60, 0x05]);
        let frame = Frame::parse(&bytes).unwrap();
        assert_eq!((frame.vlan, frame.eth_type), (Some((5, 3)), IPV4));
        assert_eq!(frame.tcp().unwrap().dst.port(), 1935);
        assert_eq!(frame.exact_match(PortNo(1)).vlan, Some(Vlan::Id(5)));
        // With a service's tag around it.
        bytes.splice(12..12, [0x88, 0xa8, 0x00, 0x07]);
        let frame = Frame::parse(&bytes).unwrap();
        assert_eq!((frame.vlan, frame.eth_type, frame.network), (Some((7, 0)), 0x8100, Network::Other));
        assert!(frame.tcp().is_none() && frame.may_hide_tcp());
        let (hidden, tcp) = frame.hidden_tcp().unwrap();
        assert_eq!((hidden, tcp.dst.port()), (Hidden::Tags, 1935));
        assert_eq!(frame.exact_match(PortNo(1)).ip_dst, None);
    }

    #[test]
    fn fragments_have_no_ports() {
        let mut bytes = TcpFrame::between("10.0.0.1:4000", "10.0.0.2:1935").bytes();
        for fragment in [[0x20, 0], [0, 5]] {
            bytes[20..22].copy_from_slice(&fragment);
            let frame = Frame::parse(&bytes).unwrap();
            assert_eq!(frame.tcp(), None);
            assert_eq!(frame.exact_match(PortNo(1)).l4_dst, Some(0));
            let first = frame.hidden_tcp().map(|(hidden, tcp)| (hidden, tcp.dst.port()));
            assert_eq!(first, (fragment == [0x20, 0]).then_some((Hidden::Fragment, 1935)));
        }
        // Don't fragment is not a fragment.
        bytes[20..22].copy_from_slice(&[0x40, 0]);
        assert!(Frame::parse(&bytes).unwrap().tcp().is_some());
    }

    #[test]
    fn what_is_no_ipv4_although_it_says_so_gets_no_flow_for_all_ipv4() {
        let bytes = TcpFrame::between("10.0.0.1:4000", "10.0.0.2:1935").bytes();
        let mut version_6 = bytes.clone();
        version_6[14] = 0x65;
        let whole = Frame::parse(&bytes).unwrap().exact_match(PortNo(1));
        for broken in [&version_6, &bytes[..30], &bytes[..14]] {
            let matching = Frame::parse(broken).unwrap().exact_match(PortNo(1));
            assert_eq!((matching.eth_src, matching.eth_type), (whole.eth_src, whole.eth_type));
            assert!(!matching.covers(&whole));
        }
    }

    #[test]
    fn ports_that_are_cut_off_are_none_and_those_of_other_protocols_open() {
        let bytes = TcpFrame::between("10.0.0.1:4000", "10.0.0.2:1935").bytes();
        let l4_src = |bytes: &[u8]| Frame::parse(bytes).unwrap().exact_match(PortNo(1)).l4_src;
        // A flow for it must not be one for all TCP between the two.
        assert_eq!(l4_src(&bytes[..36]), Some(0));
        let mut sctp = bytes;
        sctp[23] = 132;
        assert_eq!(l4_src(&sctp), None);
    }

    #[test]
    fn frames_without_a_type() {
        let mut stp = vec![1, 0x80, 0xc2, 0, 0, 0, 2, 0, 0, 0, 0, 1, 0, 38, 0x42, 0x42, 3];
        stp.resize(60, 0);
        let frame = Frame::parse(&stp).unwrap();
        assert_eq!(frame.eth_type, NO_TYPE);
        assert!(frame.is_link_local());
        let mut snap = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0, 36];
        snap.extend([0xaa, 0xaa, 3, 0, 0, 0, 8, 6]);
        assert_eq!(Frame::parse(&snap).unwrap().eth_type, ARP);
    }

    #[test]
    fn cut_anywhere() {
        let bytes = TcpFrame::between("10.0.0.1:4000", "10.0.0.2:1935").payload(b"abc").bytes();
        for end in 0..bytes.len() {
            match Frame::parse(&bytes[..end]) {
                None => assert!(end < 14),
                Some(frame) => assert!(frame.tcp().is_none() || end >= 54),
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes(mut bytes in proptest::collection::vec(any::<u8>(), 0..120), kind in 0usize..4) {
            if let Some(room) = bytes.get_mut(12..15) {
                room.copy_from_slice([&[8, 0, 0x45], &[8, 6, 0], &[0x81, 0, 0], &[0, 9, 0xaa]][kind]);
            }
            if let Some(frame) = Frame::parse(&bytes) {
                let _ = frame.exact_match(PortNo(1));
                let _ = frame.hidden_tcp();
                if let Some(tcp) = frame.tcp() {
                    prop_assert!(tcp.payload.start <= tcp.payload.end && tcp.payload.end <= bytes.len());
                }
            }
        }
    }
}

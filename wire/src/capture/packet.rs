//! The TCP segment or UDP datagram in a packet.

use std::net::{IpAddr, SocketAddr};

use etherparse::err::packet::SliceError;
use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, TransportSlice};

use super::{TcpPacket, UdpPacket};
use crate::assembler::Segment;

/// What a packet is, as far as anybody cares.
pub(super) enum Parsed<'a> {
    Tcp(TcpPacket<'a>),
    Udp(UdpPacket<'a>),
    /// Neither TCP nor UDP.
    Other,
    /// A fragment of an IP packet.
    Fragment,
}

/// Link types that libpcap writes for what Linux captures (<https://www.tcpdump.org/linktypes.html>).
const RAW: [u32; 5] = [12, 14, 101, 228, 229];
const LINUX_SLL: u32 = 113;
const LINUX_SLL2: u32 = 276;

/// Reads a packet's headers. Lengths that the headers give are believed, but for what the capture has cut off.
pub(super) fn parse(link: u32, bytes: &[u8], time: i64) -> Result<Parsed<'_>, String> {
    // The upper bits tell of a frame check sequence, which the lengths inside leave out.
    let sliced = match link & 0xffff {
        1 => LaxSlicedPacket::from_ethernet(bytes).map_err(|_| "it ends within its link header")?,
        id if RAW.contains(&id) => {
            LaxSlicedPacket::from_ip(bytes).map_err(|_| "it does not begin with a whole IP header")?
        }
        // Protocol in the last two bytes of 16, or in the first two of 20.
        LINUX_SLL => after(bytes, 14, 16)?,
        LINUX_SLL2 => after(bytes, 0, 20)?,
        id => return Err(format!("link type {id} is not known")),
    };
    let (from, to, payload) = match &sliced.net {
        Some(LaxNetSlice::Ipv4(ip)) => {
            let header = ip.header();
            (IpAddr::V4(header.source_addr()), IpAddr::V4(header.destination_addr()), ip.payload())
        }
        Some(LaxNetSlice::Ipv6(ip)) => {
            let header = ip.header();
            (IpAddr::V6(header.source_addr()), IpAddr::V6(header.destination_addr()), ip.payload())
        }
        Some(LaxNetSlice::Arp(_)) => return Ok(Parsed::Other),
        None => return sliced.stop_err.as_ref().map_or(Ok(Parsed::Other), |(error, _)| Err(plainly(error))),
    };
    if payload.fragmented {
        return Ok(Parsed::Fragment);
    }
    let tcp = match &sliced.transport {
        Some(TransportSlice::Tcp(tcp)) => tcp,
        Some(TransportSlice::Udp(udp)) => {
            let (from, to) = (SocketAddr::new(from, udp.source_port()), SocketAddr::new(to, udp.destination_port()));
            return Ok(Parsed::Udp(UdpPacket { from, to, payload: udp.payload(), time }));
        }
        Some(_) => return Ok(Parsed::Other),
        None => return sliced.stop_err.as_ref().map_or(Ok(Parsed::Other), |(error, _)| Err(plainly(error))),
    };
    let segment = Segment {
        seq: tcp.sequence_number(),
        syn: tcp.syn(),
        // The end of a payload that was cut off is not where the FIN is.
        fin: tcp.fin() && !payload.incomplete,
        payload: tcp.payload(),
        time,
    };
    Ok(Parsed::Tcp(TcpPacket {
        from: SocketAddr::new(from, tcp.source_port()),
        to: SocketAddr::new(to, tcp.destination_port()),
        segment,
        acknowledged: tcp.ack().then(|| tcp.acknowledgment_number()),
    }))
}

/// What a library of protocols found wrong, in this house's words: its own name types and fields of its code.
fn plainly(error: &SliceError) -> String {
    match error {
        SliceError::Len(_) => "it ends within its headers".to_owned(),
        _ => "its headers contradict themselves".to_owned(),
    }
}

/// What follows a header of `len` bytes with the EtherType at `at`.
fn after(bytes: &[u8], at: usize, len: usize) -> Result<LaxSlicedPacket<'_>, String> {
    let protocol = bytes.get(at..).and_then(|rest| rest.first_chunk::<2>());
    match (protocol, bytes.get(len..)) {
        (Some(protocol), Some(rest)) => {
            Ok(LaxSlicedPacket::from_ether_type(EtherType(u16::from_be_bytes(*protocol)), rest))
        }
        _ => Err("it ends within its link header".into()),
    }
}

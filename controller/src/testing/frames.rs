//! Frames as hosts send them.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::frame::Frame;
use crate::mac::MacAddr;

/// The address of the station at an IP address: `02:00:` and its four bytes.
pub fn mac_of(address: Ipv4Addr) -> MacAddr {
    let [a, b, c, d] = address.octets();
    MacAddr([2, 0, a, b, c, d])
}

/// A TCP segment in the making. Without more it is an ACK without payload.
#[derive(Debug, Clone)]
pub struct TcpFrame {
    src: SocketAddrV4,
    dst: SocketAddrV4,
    seq: u32,
    ack: u32,
    flags: u8,
    payload: Vec<u8>,
}

impl TcpFrame {
    pub fn between(src: &str, dst: &str) -> Self {
        Self::from_to(src.parse().unwrap(), dst.parse().unwrap())
    }

    pub fn from_to(src: SocketAddrV4, dst: SocketAddrV4) -> Self {
        Self { src, dst, seq: 0, ack: 0, flags: 0x10, payload: Vec::new() }
    }

    pub fn seq(mut self, seq: u32) -> Self {
        self.seq = seq;
        self
    }

    pub fn ack(mut self, ack: u32) -> Self {
        self.ack = ack;
        self
    }

    pub fn syn(mut self) -> Self {
        self.flags = 0x02;
        self
    }

    pub fn syn_ack(mut self) -> Self {
        self.flags = 0x12;
        self
    }

    pub fn fin(mut self) -> Self {
        self.flags |= 0x01;
        self
    }

    pub fn rst(mut self) -> Self {
        self.flags |= 0x04;
        self
    }

    pub fn flags(mut self, flags: u8) -> Self {
        self.flags = flags;
        self
    }

    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(mac_of(*self.dst.ip()).0);
        out.extend(mac_of(*self.src.ip()).0);
        out.extend([8, 0]);
        let total = 40 + self.payload.len() as u16;
        let [high, low] = total.to_be_bytes();
        out.extend([0x45, 0, high, low, 0, 1, 0x40, 0, 64, 6, 0, 0]);
        out.extend(self.src.ip().octets());
        out.extend(self.dst.ip().octets());
        let checksum = sum(&out[14..34]).to_be_bytes();
        out[24..26].copy_from_slice(&checksum);
        out.extend(self.src.port().to_be_bytes());
        out.extend(self.dst.port().to_be_bytes());
        out.extend(self.seq.to_be_bytes());
        out.extend(self.ack.to_be_bytes());
        out.extend([0x50, self.flags, 0xff, 0xff, 0, 0, 0, 0]);
        out.extend(&self.payload);
        let checksum = tcp_sum(&out).to_be_bytes();
        out[50..52].copy_from_slice(&checksum);
        out
    }
}

/// The ones' complement sum of RFC 1071, complemented.
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)])));
    let mut total: u32 = words.sum();
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    !(total as u16)
}

/// Over pseudo header, header and payload (RFC 9293, section 3.1), with whatever the checksum field holds.
fn tcp_sum(frame: &[u8]) -> u16 {
    let end = 14 + usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    let mut covered = frame[26..34].to_vec();
    covered.extend([0, 6]);
    covered.extend(((end - 34) as u16).to_be_bytes());
    covered.extend(&frame[34..end]);
    sum(&covered)
}

pub fn tcp_checksum_is_right(frame: &[u8]) -> bool {
    assert!(Frame::parse(frame).unwrap().tcp().is_some());
    tcp_sum(frame) == 0
}

/// A UDP datagram to a group.
pub fn datagram(src: SocketAddrV4, group: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let [_, b, c, d] = group.ip().octets();
    to_group([b, c, d], *src.ip(), *group.ip(), 17, |out| {
        out.extend(src.port().to_be_bytes());
        out.extend(group.port().to_be_bytes());
        out.extend((8 + payload.len() as u16).to_be_bytes());
        out.extend([0, 0]);
        out.extend(payload);
    })
}

/// A report of membership in a group (IGMP version 2, RFC 2236).
pub fn igmp_report(src: Ipv4Addr, group: Ipv4Addr) -> Vec<u8> {
    let [_, b, c, d] = group.octets();
    to_group([b, c, d], src, group, 2, |out| {
        out.extend([0x16, 0, 0, 0]);
        out.extend(group.octets());
    })
}

fn to_group(low: [u8; 3], src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, fill: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let [b, c, d] = low;
    let mut out = vec![1, 0, 0x5e, b & 0x7f, c, d];
    out.extend(mac_of(src).0);
    out.extend([8, 0, 0x45, 0, 0, 0, 0, 1, 0x40, 0, 1, protocol, 0, 0]);
    out.extend(src.octets());
    out.extend(dst.octets());
    fill(&mut out);
    let total = (out.len() as u16 - 14).to_be_bytes();
    out[16..18].copy_from_slice(&total);
    let checksum = sum(&out[14..34]).to_be_bytes();
    out[24..26].copy_from_slice(&checksum);
    out
}

pub fn arp_request(from: Ipv4Addr, wanted: Ipv4Addr) -> Vec<u8> {
    let mut out = MacAddr::BROADCAST.0.to_vec();
    out.extend(mac_of(from).0);
    out.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    out.extend(mac_of(from).0);
    out.extend(from.octets());
    out.extend([0; 6]);
    out.extend(wanted.octets());
    out
}

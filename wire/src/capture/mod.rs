//! TCP segments and UDP datagrams out of a capture file.
//!
//! Classic pcap (microseconds and nanoseconds, either byte order) and pcapng, read as a stream: memory does not grow
//! with the file. Ethernet with or without VLAN tags, raw IP and Linux cooked captures; IPv4 and IPv6. A file that
//! ends in the middle of a packet, as one whose capture was cut short does, is read up to there.

mod file;
mod packet;
mod window;

use std::io::Read;
use std::net::SocketAddr;

use crate::assembler::Segment;

/// A TCP segment of a capture.
#[derive(Debug, Clone, Copy)]
pub struct TcpPacket<'a> {
    /// Address and port of its sender.
    pub from: SocketAddr,
    /// Address and port that it was sent to.
    pub to: SocketAddr,
    /// The segment; its time is in nanoseconds since 1970, as the capture has it.
    pub segment: Segment<'a>,
    /// Sequence number up to which its sender has everything that came the other way; `None`: it does not say.
    pub acknowledged: Option<u32>,
}

/// A UDP datagram of a capture.
#[derive(Debug, Clone, Copy)]
pub struct UdpPacket<'a> {
    /// Address and port of its sender.
    pub from: SocketAddr,
    /// Address and port that it was sent to.
    pub to: SocketAddr,
    /// What it carries, as far as it was captured.
    pub payload: &'a [u8],
    /// Nanoseconds since 1970, as the capture has it.
    pub time: i64,
}

/// A packet of a capture that can be read.
#[derive(Debug, Clone, Copy)]
pub enum Packet<'a> {
    /// A TCP segment.
    Tcp(TcpPacket<'a>),
    /// A UDP datagram.
    Udp(UdpPacket<'a>),
}

/// What was in a capture, readable or not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CaptureFacts {
    /// Packets in the file, whatever they are.
    pub packets: u64,
    /// Of those, TCP segments.
    pub segments: u64,
    /// Of those, packets of other protocols: ARP, ICMP, UDP and so on.
    pub other: u64,
    /// Packets that the capture's snapshot length cut short.
    pub cut: u64,
    /// Bytes that the snapshot length cut off, of all of them.
    pub cut_bytes: u64,
    /// Fragments of IP packets; they are not reassembled.
    pub fragments: u64,
    /// Packets that do not hold what their headers say, or came over a kind of link that is not known.
    pub unreadable: u64,
    /// Time of the first packet in nanoseconds since 1970.
    pub first_ns: Option<i64>,
    /// Time of the last packet in nanoseconds since 1970.
    pub last_ns: Option<i64>,
    /// What could not be read, for people.
    pub problems: Vec<String>,
}

/// Why a file is no capture.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The file has no bytes.
    #[error("it is empty")]
    Empty,
    /// It does not begin as pcap or pcapng do.
    #[error("it is neither pcap nor pcapng")]
    Unknown,
    /// It begins as they do, and ends before the first packet could stand.
    #[error("it ends within its header")]
    Header,
    /// The system's error at the first attempt to read.
    #[error("it cannot be read: {0}")]
    Read(std::io::Error),
}

/// Reads a capture and hands on its TCP segments in the order of the file.
///
/// # Errors
/// When it is no capture at all. One that is damaged further on is read up to there; `problems` of the facts says
/// where.
pub fn read(source: impl Read, mut on_segment: impl FnMut(TcpPacket<'_>)) -> Result<CaptureFacts, CaptureError> {
    read_packets(source, |packet| {
        if let Packet::Tcp(packet) = packet {
            on_segment(packet);
        }
    })
}

/// The same, with its UDP datagrams.
///
/// # Errors
/// As [`read`].
pub fn read_packets(source: impl Read, mut on_packet: impl FnMut(Packet<'_>)) -> Result<CaptureFacts, CaptureError> {
    let mut facts = CaptureFacts::default();
    let mut first_unreadable = None;
    let problem = file::read(source, |record| {
        facts.packets += 1;
        facts.first_ns.get_or_insert(record.time);
        facts.last_ns = Some(record.time);
        if record.cut > 0 {
            facts.cut += 1;
            facts.cut_bytes += record.cut;
        }
        match packet::parse(record.link, record.bytes, record.time) {
            Ok(packet::Parsed::Tcp(packet)) => {
                facts.segments += 1;
                on_packet(Packet::Tcp(packet));
            }
            Ok(packet::Parsed::Udp(packet)) => {
                facts.other += 1;
                on_packet(Packet::Udp(packet));
            }
            Ok(packet::Parsed::Other) => facts.other += 1,
            Ok(packet::Parsed::Fragment) => facts.fragments += 1,
            Err(why) => {
                facts.unreadable += 1;
                first_unreadable.get_or_insert((facts.packets, why));
            }
        }
    })?;
    facts.problems.extend(problem);
    if facts.cut > 0 {
        facts.problems.push(format!(
            "{} of {} packets were cut short by the capture's snapshot length, {} bytes in all",
            facts.cut, facts.packets, facts.cut_bytes
        ));
    }
    if facts.fragments > 0 {
        facts.problems.push(format!("{} IP fragments were not reassembled", facts.fragments));
    }
    if let Some((number, why)) = first_unreadable {
        let count = facts.unreadable;
        facts.problems.push(format!("{count} packets cannot be read; the first is number {number}: {why}"));
    }
    Ok(facts)
}

#[cfg(test)]
mod tests;

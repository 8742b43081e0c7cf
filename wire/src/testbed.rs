//! Captures made for tests: TCP connections packet by packet, and datagrams.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddrV4;

use crate::flv::{self, TagKind};
use crate::rtmp::{HANDSHAKE_LEN, Header, VERSION, Writer, kind};
use etherparse::PacketBuilder;

/// The bytes of a packet, with its time in nanoseconds.
pub type Packet = (i64, Vec<u8>);

/// A classic pcap file with nanoseconds, Ethernet.
pub fn pcap(packets: &[Packet]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_3c4du32, 0x0004_0002, 0, 0, 262_144, 1] {
        file.extend(word.to_le_bytes());
    }
    for (time, bytes) in packets {
        let len = bytes.len() as u32;
        for word in [(time / 1_000_000_000) as u32, (time % 1_000_000_000) as u32, len, len] {
            file.extend(word.to_le_bytes());
        }
        file.extend(bytes);
    }
    file
}

/// One direction of a connection, as its sender sends it.
pub struct Sender {
    from: SocketAddrV4,
    to: SocketAddrV4,
    seq: u32,
}

impl Sender {
    /// From one address and port to another; `seq` is its initial sequence number.
    pub fn new(from: &str, to: &str, seq: u32) -> Self {
        Self { from: from.parse().unwrap(), to: to.parse().unwrap(), seq }
    }

    fn packet(&self, seq: u32, payload: &[u8], flags: &str) -> Vec<u8> {
        self.answer(seq, payload, flags, None)
    }

    fn answer(&self, seq: u32, payload: &[u8], flags: &str, acknowledged: Option<u32>) -> Vec<u8> {
        let ethernet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let tcp = ethernet.ipv4(self.from.ip().octets(), self.to.ip().octets(), 64);
        let mut tcp = tcp.tcp(self.from.port(), self.to.port(), seq, 65535);
        for flag in flags.chars() {
            tcp = match flag {
                'S' => tcp.syn(),
                'F' => tcp.fin(),
                other => panic!("{other}"),
            };
        }
        if let Some(number) = acknowledged {
            tcp = tcp.ack(number);
        }
        let mut bytes = Vec::new();
        tcp.write(&mut bytes, payload).unwrap();
        bytes
    }

    /// The packet that opens the connection.
    pub fn syn(&mut self, time: i64) -> Packet {
        let packet = self.packet(self.seq, b"", "S");
        self.seq = self.seq.wrapping_add(1);
        (time, packet)
    }

    /// The packet that closes it.
    pub fn fin(&mut self, time: i64) -> Packet {
        (time, self.packet(self.seq, b"", "F"))
    }

    /// A packet of the connection without payload.
    pub fn acknowledge(&self, time: i64) -> Packet {
        (time, self.packet(self.seq, b"", ""))
    }

    /// A packet that carries nothing but the news that all was received up to the sequence number of `other`'s next
    /// byte, less `short` bytes.
    pub fn has_all_but(&self, other: &Sender, short: u32, time: i64) -> Packet {
        (time, self.answer(self.seq, b"", "", Some(other.seq.wrapping_sub(short))))
    }

    /// Sends `bytes` in segments of `size`, `gap` nanoseconds apart.
    pub fn send(&mut self, bytes: &[u8], size: usize, time: i64, gap: i64) -> Vec<Packet> {
        let mut packets = Vec::new();
        for (n, part) in bytes.chunks(size).enumerate() {
            packets.push((time + gap * n as i64, self.packet(self.seq, part, "")));
            self.seq = self.seq.wrapping_add(part.len() as u32);
        }
        packets
    }
}

/// A UDP datagram.
pub fn datagram(from: &str, to: &str, payload: &[u8], time: i64) -> Packet {
    let [from, to] = [from, to].map(|address| address.parse::<SocketAddrV4>().unwrap());
    let ethernet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [1, 0, 0x5e, 0, 0, 1]);
    let udp = ethernet.ipv4(from.ip().octets(), to.ip().octets(), 1).udp(from.port(), to.port());
    let mut bytes = Vec::new();
    udp.write(&mut bytes, payload).unwrap();
    (time, bytes)
}

/// A client's or server's handshake.
pub fn handshake() -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.resize(HANDSHAKE_LEN as usize, 0x5a);
    bytes
}

/// A video message as RTMP chunks.
pub fn rtmp_video(writer: &mut Writer, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let header = Header { chunk_stream: 6, kind: kind::VIDEO, stream_id: 1, timestamp };
    let mut bytes = Vec::new();
    writer.write(header, payload, &mut bytes).unwrap();
    bytes
}

/// A command as RTMP chunks.
pub fn rtmp_command(writer: &mut Writer, command: &crate::command::Command) -> Vec<u8> {
    let header = Header { chunk_stream: 3, kind: kind::COMMAND_AMF0, stream_id: 0, timestamp: 0 };
    let mut bytes = Vec::new();
    writer.write(header, &command.emit(), &mut bytes).unwrap();
    bytes
}

/// A video tag.
pub fn flv_video(timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    flv::tag(TagKind::Video, timestamp, payload, &mut bytes).unwrap();
    bytes
}

/// A Sorenson picture, different for each `n`.
pub fn picture(n: u32, keyframe: bool, size: usize) -> Vec<u8> {
    let mut payload = vec![if keyframe { 0x12 } else { 0x22 }];
    payload.extend(n.to_be_bytes());
    payload.resize(size.max(5), n as u8);
    payload
}

/// A packet of a transport stream with at most 184 bytes of payload, stuffed before it where it is shorter (H.222.0,
/// 2.4.3.2 to 2.4.3.5).
#[must_use]
pub fn ts_packet(pid: u16, begins: bool, payload: &[u8]) -> Vec<u8> {
    let room = crate::ts::PACKET - 4;
    let [high, low] = pid.to_be_bytes();
    let mut packet = vec![crate::ts::SYNC, high | if begins { 0x40 } else { 0 }, low];
    match room.saturating_sub(payload.len()) {
        0 => packet.push(0x10),
        stuffing => {
            // The length does not count itself; behind it are flags, none of them set.
            packet.extend([0x30, (stuffing - 1) as u8]);
            packet.extend([0].iter().take(stuffing - 1));
            packet.resize(4 + stuffing, 0xff);
        }
    }
    packet.extend_from_slice(payload);
    packet
}

/// A picture as nginx-rtmp writes it: a PES packet with times of showing and decoding, in as many packets as it
/// needs.
#[must_use]
pub fn ts_video(pid: u16, timestamp_ms: u32, picture: &[u8]) -> Vec<u8> {
    let time = |mark: u8, ms: u32| {
        let ticks = u64::from(ms) * 90;
        let part = |shift: u32, bits: u32| (ticks >> shift & ((1 << bits) - 1)) as u8;
        [mark << 4 | part(30, 3) << 1 | 1, part(22, 8), part(15, 7) << 1 | 1, part(7, 8), part(0, 7) << 1 | 1]
    };
    let mut pes = vec![0, 0, 1, 0xe0, 0, 0, 0x80, 0xc0, 10];
    pes.extend(time(3, timestamp_ms.wrapping_add(80)));
    pes.extend(time(1, timestamp_ms));
    pes.extend_from_slice(picture);
    // 0, not known, where it has no room for it.
    let length = u16::try_from(pes.len() - 6).unwrap_or(0);
    pes.splice(4..6, length.to_be_bytes());
    let room = crate::ts::PACKET - 4;
    pes.chunks(room).enumerate().flat_map(|(n, payload)| ts_packet(pid, n == 0, payload)).collect()
}

//! Packet-ins, by number.
//!
//! All stations of a switch send in turn, each to another that is chosen pseudo-randomly and never behind the same
//! port: a learning switch always has something to send. Frames are IPv4 and UDP with a right header checksum.

use std::net::Ipv4Addr;

use crate::openflow::{BufferId, Message, PacketIn, PacketInReason, PortNo, TooLong, Version};

/// Ports of an emulated switch; station *n* is behind port 1 + *n* mod 4.
pub const PORTS: u32 = 4;
/// The least bytes of a frame, as on the wire without its check sequence.
pub const LEAST_FRAME: usize = 60;
/// Stations that an address has room for.
pub const MAX_STATIONS: u32 = 1 << 20;

/// Where the payload begins: behind Ethernet, IPv4 and UDP.
const PAYLOAD: usize = 42;
/// Begins the payload; switch and number follow, four bytes each.
const MARK: [u8; 4] = *b"tick";
/// Numbers stay below this, so that none is the buffer id that means "none".
pub const NUMBERS: u32 = 1 << 31;

/// Where the switch keeps the packet, and how much of it is sent up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Buffering {
    /// In a buffer: its id is sent, and at most 128 bytes of the frame
    Buffered,
    /// Nowhere: the whole frame is sent up
    Unbuffered,
}

/// Bytes of a buffered frame that are sent up (OFP_DEFAULT_MISS_SEND_LEN).
const MISS_SEND_LEN: usize = 128;

/// What one switch sends up.
#[derive(Debug)]
pub struct Traffic {
    buffering: Buffering,
    stations: u32,
    next_station: u32,
    random: u64,
    /// A packet-in with everything in it that does not change.
    template: Vec<u8>,
    places: Places,
}

/// Where in the template that is which changes.
#[derive(Debug, Clone, Copy)]
struct Places {
    buffer: usize,
    /// In 1.0 16 bits, in 1.3 32 bits wide; its last byte.
    port: usize,
    frame: usize,
}

impl Traffic {
    /// Of switch number `switch` with `stations` stations; frames of `frame_size` bytes.
    ///
    /// # Errors
    /// When no message has room for such a frame.
    pub fn new(
        version: Version,
        switch: u16,
        stations: u32,
        buffering: Buffering,
        frame_size: usize,
    ) -> Result<Self, TooLong> {
        let frame = frame(switch, frame_size.max(LEAST_FRAME));
        let (buffer, data) = match buffering {
            Buffering::Buffered => (BufferId::new(0), frame.get(..MISS_SEND_LEN).unwrap_or(&frame)),
            Buffering::Unbuffered => (None, &frame[..]),
        };
        let packet = PacketIn {
            buffer,
            total_len: u16::try_from(frame.len()).map_err(|_| TooLong(frame.len()))?,
            in_port: PortNo(1),
            reason: PacketInReason::NoMatch,
            data,
        };
        let mut template = Vec::new();
        version.emit(&Message::PacketIn(packet), 0, &mut template)?;
        let places = Places {
            buffer: 8,
            // 1.0 section 5.4.1: in_port at 14. 1.3 section 7.4.1: match at 24, its first field's value at 32.
            port: if version == Version::V10 { 15 } else { 35 },
            frame: template.len() - data.len(),
        };
        Ok(Self {
            buffering,
            stations: stations.clamp(1, MAX_STATIONS),
            next_station: 0,
            random: u64::from(switch) ^ 0x5eed,
            template,
            places,
        })
    }

    /// Appends the packet-in with this number, from the next station.
    pub fn emit(&mut self, number: u32, out: &mut Vec<u8>) {
        let from = self.next_station;
        self.next_station = if from + 1 == self.stations { 0 } else { from + 1 };
        let to = self.other_than(from);
        let start = out.len();
        out.extend_from_slice(&self.template);
        let Some(message) = out.get_mut(start..) else { return };
        let Places { buffer, port, frame } = self.places;
        if self.buffering == Buffering::Buffered {
            put(message, buffer, number.to_be_bytes());
        }
        put(message, port, [port_of(from) as u8]);
        let Some(frame) = message.get_mut(frame..) else { return };
        // The upper bits of the addresses are the switch's; the lower 24 the station's.
        put(frame, 3, low_24(to));
        put(frame, 9, low_24(from));
        put(frame, 27, low_24(from));
        put(frame, 31, low_24(to));
        let checksum = header_checksum(frame);
        put(frame, 24, checksum.to_be_bytes());
        put(frame, PAYLOAD + 8, number.to_be_bytes());
    }

    /// A station behind another port; a stranger if there is none.
    fn other_than(&mut self, from: u32) -> u32 {
        // Knuth's constants (MMIX).
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let chosen = (((self.random >> 32) * u64::from(self.stations)) >> 32) as u32;
        let behind_another_port = |station: &u32| port_of(*station) != port_of(from);
        let nearby = (chosen..).take(PORTS as usize).map(|station| station % self.stations);
        nearby.into_iter().find(behind_another_port).unwrap_or(MAX_STATIONS + from)
    }
}

/// The number in a frame of switch `switch`, if it is one of ours.
pub fn number_in(frame: &[u8], switch: u16) -> Option<u32> {
    let payload = frame.get(PAYLOAD..PAYLOAD + 12)?;
    let (mark, rest) = payload.split_first_chunk::<4>()?;
    let (sender, number) = rest.split_first_chunk::<4>()?;
    let ours = *mark == MARK && u32::from_be_bytes(*sender) == u32::from(switch);
    ours.then(|| number.first_chunk().map(|number| u32::from_be_bytes(*number))).flatten()
}

fn port_of(station: u32) -> u32 {
    1 + station % PORTS
}

fn low_24(station: u32) -> [u8; 3] {
    let [_, low @ ..] = station.to_be_bytes();
    low
}

fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    if let Some(room) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *room = value;
    }
}

/// RFC 1071, of an IPv4 header without options behind an Ethernet header; its checksum field does not count.
fn header_checksum(frame: &[u8]) -> u16 {
    let header = frame.get(14..34).unwrap_or_default();
    let words = header.chunks_exact(2).enumerate().filter(|(index, _)| *index != 5);
    let sum: u32 =
        words.map(|(_, word)| word.first_chunk().map_or(0, |word| u32::from(u16::from_be_bytes(*word)))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

fn frame(switch: u16, size: usize) -> Vec<u8> {
    let [high, low] = switch.to_be_bytes();
    let mut frame = Vec::with_capacity(size);
    frame.extend([0x02, high, low, 0, 0, 0]);
    frame.extend([0x02, high, low, 0, 0, 0]);
    frame.extend([0x08, 0x00]);
    let ip_len = u16::try_from(size - 14).unwrap_or(u16::MAX);
    frame.extend([0x45, 0]);
    frame.extend(ip_len.to_be_bytes());
    // No fragment; 64 hops; UDP; the checksum is filled in.
    frame.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    frame.extend(Ipv4Addr::new(10, 0, 0, 0).octets());
    frame.extend(Ipv4Addr::new(10, 0, 0, 0).octets());
    frame.extend(40_000u16.to_be_bytes());
    // The discard service; a checksum of zero is none.
    frame.extend(9u16.to_be_bytes());
    frame.extend((ip_len - 20).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(MARK);
    frame.extend(u32::from(switch).to_be_bytes());
    frame.resize(size, 0);
    frame
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::frame::{Frame, Network, Transport};
    use crate::mac::MacAddr;

    fn packets(version: Version, stations: u32, buffering: Buffering, size: usize) -> Vec<(u32, Vec<u8>)> {
        let mut traffic = Traffic::new(version, 7, stations, buffering, size).unwrap();
        let all = (0..50u32).map(|number| {
            let mut bytes = Vec::new();
            traffic.emit(number, &mut bytes);
            assert_eq!(bytes.len(), traffic.template.len());
            (number, bytes)
        });
        all.collect()
    }

    #[test]
    fn packet_ins_are_what_they_should_be() {
        for version in [Version::V10, Version::V13] {
            for (buffering, stations) in [(Buffering::Buffered, 1000), (Buffering::Unbuffered, 5)] {
                for (number, bytes) in packets(version, stations, buffering, 200) {
                    let (_, Message::PacketIn(packet)) = version.parse(&bytes).unwrap() else { panic!() };
                    let expected = BufferId::new(number).filter(|_| buffering == Buffering::Buffered);
                    assert_eq!((packet.buffer, packet.total_len), (expected, 200));
                    assert_eq!(packet.data.len(), if expected.is_some() { 128 } else { 200 });
                    assert_eq!(packet.in_port, PortNo(1 + number % stations % PORTS));
                    assert_eq!(number_in(packet.data, 7), Some(number));
                    assert_eq!(number_in(packet.data, 8), None);
                    let frame = Frame::parse(packet.data).unwrap();
                    let [_, b, c, d] = (number % stations).to_be_bytes();
                    assert_eq!(frame.src, MacAddr([2, 0, 7, b, c, d]));
                    assert!(frame.dst.is_station() && frame.dst != frame.src);
                    let Network::Ipv4 { transport: Transport::Ports { dst, .. }, .. } = frame.network else {
                        panic!()
                    };
                    assert_eq!(dst, 9);
                }
            }
        }
    }

    #[test]
    fn nobody_sends_to_his_own_port() {
        for stations in [1, 2, 3, 5, 1000] {
            for (_, bytes) in packets(Version::V10, stations, Buffering::Buffered, 60) {
                let (_, Message::PacketIn(packet)) = Version::V10.parse(&bytes).unwrap() else { panic!() };
                let to = Frame::parse(packet.data).unwrap().dst.to_bits() as u32 & 0xff_ffff;
                assert!(to < stations || stations == 1);
                assert!(stations == 1 || PortNo(port_of(to)) != packet.in_port, "{stations}");
            }
        }
    }

    #[test]
    fn the_checksum_is_right() {
        let (_, bytes) = packets(Version::V10, 9, Buffering::Unbuffered, 60).pop().unwrap();
        let header = &bytes[18 + 14..18 + 34];
        let sum: u32 = header.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
    }
}

#![allow(clippy::unwrap_used, clippy::expect_used)]

use etherparse::{PacketBuilder, VlanId};
use proptest::prelude::*;

use super::*;
use crate::testbed::{Packet, Sender, pcap};

/// A segment, its time, who sent it and what it carries.
type Seen = (i64, String, String, u32, Vec<u8>);

fn segments(file: &[u8]) -> (Vec<Seen>, CaptureFacts) {
    let mut seen = Vec::new();
    let facts = read(file, |p| {
        seen.push((p.segment.time, p.from.to_string(), p.to.to_string(), p.segment.seq, p.segment.payload.to_vec()));
    });
    (seen, facts.unwrap())
}

const TIME: i64 = 1_764_000_000_123_456_789;

fn two_packets() -> Vec<Packet> {
    let mut sender = Sender::new("10.0.0.1:2000", "10.0.0.2:40000", 7);
    sender.send(b"abcdef", 4, TIME, 1_000)
}

fn expected() -> Vec<Seen> {
    let (from, to) = ("10.0.0.1:2000".to_string(), "10.0.0.2:40000".to_string());
    vec![(TIME, from.clone(), to.clone(), 7, b"abcd".to_vec()), (TIME + 1_000, from, to, 11, b"ef".to_vec())]
}

/// The same file in another byte order or unit of time.
fn classic(magic: u32, unit: i64, word: fn(u32) -> [u8; 4], half: fn(u16) -> [u8; 2]) -> Vec<u8> {
    let mut file = word(magic).to_vec();
    file.extend([half(2), half(4)].concat());
    file.extend([word(0), word(0), word(262_144), word(1)].concat());
    for (time, bytes) in two_packets() {
        let (seconds, fraction) = (time / 1_000_000_000, time % 1_000_000_000 / unit);
        let len = bytes.len() as u32;
        file.extend([word(seconds as u32), word(fraction as u32), word(len), word(len)].concat());
        file.extend(bytes);
    }
    file
}

#[test]
fn classic_in_all_its_forms() {
    let (nanoseconds, microseconds) = (0xa1b2_3c4d, 0xa1b2_c3d4);
    let (le, be) = (u32::to_le_bytes, u32::to_be_bytes);
    let (le16, be16) = (u16::to_le_bytes, u16::to_be_bytes);
    assert_eq!(classic(nanoseconds, 1, le, le16), pcap(&two_packets()));
    assert_eq!(segments(&classic(nanoseconds, 1, le, le16)).0, expected());
    assert_eq!(segments(&classic(nanoseconds, 1, be, be16)).0, expected());
    let mut coarse = expected();
    coarse.iter_mut().for_each(|seen| seen.0 -= seen.0 % 1_000);
    assert_eq!(segments(&classic(microseconds, 1_000, le, le16)).0, coarse);
    assert_eq!(segments(&classic(microseconds, 1_000, be, be16)).0, coarse);
}

/// A pcapng block in the byte order of `word`.
fn block(kind: u32, body: &[u8], word: fn(u32) -> [u8; 4]) -> Vec<u8> {
    let mut body = body.to_vec();
    body.resize(body.len().next_multiple_of(4), 0);
    let len = word(body.len() as u32 + 12);
    [&word(kind)[..], &len, &body, &len].concat()
}

/// Two interfaces of different resolution; the packets come over the second.
fn pcapng(word: fn(u32) -> [u8; 4], half: fn(u16) -> [u8; 2], resolution: u8) -> Vec<u8> {
    let mut file = block(0x0a0d_0d0a, &[&word(0x1a2b_3c4d)[..], &half(1), &half(0), &[0xff; 8]].concat(), word);
    file.extend(block(1, &[&half(1)[..], &half(0), &word(0)].concat(), word));
    // Half of the seconds are in the offset.
    let offset = TIME / 1_000_000_000 / 2;
    let seconds = if word(1) == [1, 0, 0, 0] { offset.to_le_bytes() } else { offset.to_be_bytes() };
    let resolution_option = [&half(9)[..], &half(1), &[resolution, 0, 0, 0]].concat();
    let option = [&resolution_option[..], &half(14), &half(8), &seconds, &half(0), &half(0)].concat();
    file.extend(block(1, &[&half(1)[..], &half(0), &word(0), &option].concat(), word));
    for (time, bytes) in two_packets() {
        let time = time - offset * 1_000_000_000;
        let ticks = match resolution {
            9 => time as u64,
            6 => time as u64 / 1_000,
            // 2⁻³⁰ seconds.
            0x9e => ((time as u128) << 30).div_ceil(1_000_000_000) as u64,
            other => panic!("{other}"),
        };
        let len = bytes.len() as u32;
        let head = [word(1), word((ticks >> 32) as u32), word(ticks as u32), word(len), word(len)].concat();
        file.extend(block(6, &[head, bytes].concat(), word));
    }
    file
}

#[test]
fn pcapng_in_all_its_forms() {
    let (le, be) = (u32::to_le_bytes, u32::to_be_bytes);
    let (le16, be16) = (u16::to_le_bytes, u16::to_be_bytes);
    assert_eq!(segments(&pcapng(le, le16, 9)).0, expected());
    assert_eq!(segments(&pcapng(be, be16, 9)).0, expected());
    assert_eq!(segments(&pcapng(le, le16, 0x9e)).0, expected());
    let mut coarse = expected();
    coarse.iter_mut().for_each(|seen| seen.0 -= seen.0 % 1_000);
    assert_eq!(segments(&pcapng(le, le16, 6)).0, coarse);
    // A section after another one has interfaces of its own.
    let two = [pcapng(le, le16, 9), pcapng(be, be16, 9)].concat();
    assert_eq!(segments(&two).0, [expected(), expected()].concat());
}

#[test]
fn cut_at_every_byte_what_is_whole_is_read_and_the_end_is_named() {
    let files = [pcap(&two_packets()), pcapng(u32::to_le_bytes, u16::to_le_bytes, 9)];
    for (file, header) in files.into_iter().zip([24, 28]) {
        let mut before = 0;
        for len in 0..=file.len() {
            let mut seen = Vec::new();
            match read(&file[..len], |p| seen.push(p.segment.payload.to_vec())) {
                Err(CaptureError::Empty) => assert_eq!(len, 0),
                Err(CaptureError::Unknown) => assert!(len < 4, "{len}"),
                Err(CaptureError::Header) => assert!((4..header).contains(&len), "{len}"),
                Err(error) => panic!("{len}: {error}"),
                Ok(facts) => {
                    assert!(len >= header);
                    assert!(seen.len() >= before && seen.len() <= 2);
                    before = seen.len();
                    assert_eq!(facts.packets, seen.len() as u64);
                    let cut = facts.problems.iter().any(|p| p.starts_with("the capture ends in the middle"));
                    let problems = &facts.problems;
                    // It is whole exactly where another packet or block has just ended.
                    assert_eq!(cut, !ends_whole(&file, len), "{len}: {problems:?}");
                }
            }
        }
        assert_eq!(before, 2);
    }
}

/// Gives one byte at a time and fails after the last.
struct Failing<'a>(&'a [u8]);

impl Read for Failing<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let (first, rest) = self.0.split_first().ok_or_else(|| std::io::Error::other("the disk is gone"))?;
        self.0 = rest;
        out[0] = *first;
        Ok(1)
    }
}

#[test]
fn a_failure_of_the_source_is_told_and_what_came_before_is_kept() {
    for (file, header) in [(pcap(&two_packets()), 24), (pcapng(u32::to_le_bytes, u16::to_le_bytes, 9), 28)] {
        let whole = segments(&file).0;
        for len in 0..file.len() {
            let mut seen = 0;
            match read(Failing(&file[..len]), |_| seen += 1) {
                Err(CaptureError::Read(error)) => {
                    assert!(len < header && error.to_string() == "the disk is gone", "{len}: {error}");
                }
                // Three bytes tell no format from another.
                Err(error) => assert!(len < 4, "{len}: {error}"),
                Ok(facts) => {
                    assert!(len >= header && seen < whole.len(), "{len}");
                    let told = |problem: &String| problem.starts_with("reading the capture failed after byte");
                    assert!(facts.problems.iter().any(told), "{len}: {:?}", facts.problems);
                }
            }
        }
        let mut seen = 0;
        read(Failing(&file), |_| seen += 1).unwrap();
        assert_eq!(seen, whole.len());
    }
}

#[test]
fn what_a_block_says_of_itself_must_hold() {
    let (le, le16) = (u32::to_le_bytes, u16::to_le_bytes);
    let whole = pcapng(le, le16, 9);
    let packet = whole.len() - 92 - 88;
    assert_eq!(whole[packet..packet + 8], [le(6), le(92)].concat());
    let told = |at: usize, value: u32| {
        let mut file = whole.clone();
        file[at..at + 4].copy_from_slice(&le(value));
        let (seen, facts) = segments(&file);
        assert_eq!(facts.problems.len(), 1, "{:?}", facts.problems);
        (
            seen.len(),
            facts.problems[0].trim_start_matches(&format!("the capture is damaged at byte {packet}: ")).to_owned(),
        )
    };
    let then = |why: &str| (0, format!("{why}; what follows was not read"));
    assert_eq!(told(packet + 4, 90), then("a block of 90 bytes"));
    assert_eq!(told(packet + 4, 8), then("a block of 8 bytes"));
    assert_eq!(told(packet + 4, 1 << 26), then("a block of 67108864 bytes"));
    assert_eq!(told(packet + 88, 96), then("a block with two different lengths"));
    assert_eq!(told(packet + 8, 2), then("a packet of interface 2, which is not described"));
    assert_eq!(told(packet + 20, 61), then("a packet longer than its block"));
    // Longer than the file: it ends here, however far.
    assert_eq!(
        told(packet + 4, 1 << 24),
        (0, format!("the capture ends in the middle of a packet, at byte {packet}"))
    );
}

#[test]
fn obsolete_and_simple_packets() {
    let (le, le16) = (u32::to_le_bytes, u16::to_le_bytes);
    let mut file = pcapng(le, le16, 9);
    let packet = file.len() - 92 - 88;
    // A Packet Block: the interface in 16 bits, then how many packets were dropped before it.
    file[packet..packet + 4].copy_from_slice(&le(2));
    file[packet + 10..packet + 12].copy_from_slice(&le16(77));
    let (seen, facts) = segments(&file);
    assert_eq!((seen, facts.problems), (expected(), Vec::new()));
    file[packet..packet + 4].copy_from_slice(&le(3));
    let (seen, facts) = segments(&file);
    assert_eq!(seen, expected()[1..]);
    assert_eq!(facts.problems, ["1 packets have no time and were skipped"]);
}

/// Whether a packet or block ends at `len`.
fn ends_whole(file: &[u8], len: usize) -> bool {
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    let classic = word(0) == 0xa1b2_3c4d;
    let mut at = if classic { 24 } else { 0 };
    while at < len {
        at += if classic { 16 + word(at + 8) } else { word(at + 4) };
    }
    at == len
}

#[test]
fn damage_is_named_and_nothing_after_it_is_believed() {
    let mut file = pcap(&two_packets());
    // The first record's captured length, larger than the packet was.
    file[24 + 8] = 0xff;
    let (seen, facts) = segments(&file);
    assert!(seen.is_empty());
    assert_eq!(facts.problems.len(), 1, "{:?}", facts.problems);
    let mut file = pcap(&two_packets());
    file[24 + 7] = 0xff; // 4 thousand million nanoseconds
    let (_, facts) = segments(&file);
    let expected = "the capture is damaged at byte 24: what stands there is not the header of a packet; what follows was not read";
    assert_eq!(facts.problems, [expected]);
    assert!(matches!(read(&b"GIF89a and so on, but no capture"[..], |_| ()), Err(CaptureError::Unknown)));
}

#[test]
fn what_the_snapshot_length_cut_is_counted() {
    let (time, bytes) = two_packets().remove(0);
    let mut file = pcap(&[(time, bytes[..56].to_vec())]);
    file[24 + 12] = bytes.len() as u8; // as long as it was on the wire
    let (seen, facts) = segments(&file);
    assert_eq!(seen[0].4, b"ab");
    assert_eq!((facts.cut, facts.cut_bytes), (1, 2));
    assert_eq!(facts.problems, ["1 of 1 packets were cut short by the capture's snapshot length, 2 bytes in all"]);
}

#[test]
fn links_and_protocols() {
    let ethernet = || PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let mut vlan = Vec::new();
    let id = VlanId::try_new(42).unwrap();
    let tcp = ethernet().single_vlan(id).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 9).tcp(2000, 40000, 7, 1);
    tcp.write(&mut vlan, b"abcd").unwrap();
    let mut v6 = Vec::new();
    let address = |last| std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last).octets();
    ethernet().ipv6(address(1), address(2), 9).tcp(2000, 40000, 7, 1).write(&mut v6, b"abcd").unwrap();
    let mut udp = Vec::new();
    ethernet().ipv4([10, 0, 0, 1], [10, 0, 0, 2], 9).udp(1, 2).write(&mut udp, b"abcd").unwrap();
    // Ethernet pads short packets; the IP length says where they end.
    let mut padded = two_packets().remove(0).1;
    padded.extend([0xee; 6]);
    let broken = padded[..20].to_vec();
    let mut fragment = two_packets().remove(0).1;
    fragment[14 + 6] = 0x20; // more fragments follow

    let file = pcap(&[(1, vlan), (2, v6), (3, udp), (4, padded), (5, broken), (6, fragment)]);
    let (seen, facts) = segments(&file);
    let froms: Vec<&str> = seen.iter().map(|seen| seen.1.as_str()).collect();
    assert_eq!(froms, ["10.0.0.1:2000", "[fd00::1]:2000", "10.0.0.1:2000"]);
    assert!(seen.iter().all(|seen| seen.4 == b"abcd"));
    let counts = (facts.packets, facts.segments, facts.other, facts.unreadable, facts.fragments);
    assert_eq!(counts, (6, 3, 1, 1, 1));
    assert!(facts.problems.iter().any(|p| p.starts_with("1 packets cannot be read; the first is number 5")));
    assert_eq!((facts.first_ns, facts.last_ns), (Some(1), Some(6)));
}

#[test]
fn links_without_ethernet() {
    let ip = |packet: &Packet| packet.1[14..].to_vec();
    let [first, _] = two_packets().try_into().unwrap();
    let sll = [&[0; 14][..], &[8, 0], &ip(&first)].concat();
    let sll2 = [&[8, 0][..], &[0; 18], &ip(&first)].concat();
    for (link, bytes) in [(101u32, ip(&first)), (113, sll), (276, sll2)] {
        let mut file = pcap(&[(TIME, bytes)]);
        file[20..24].copy_from_slice(&link.to_le_bytes());
        assert_eq!(segments(&file).0, expected()[..1], "{link}");
    }
    let mut file = pcap(&two_packets());
    file[20..24].copy_from_slice(&105u32.to_le_bytes());
    let (seen, facts) = segments(&file);
    assert!(seen.is_empty());
    let expected = "2 packets cannot be read; the first is number 1: link type 105 is not known";
    assert_eq!(facts.problems, [expected]);
}

proptest! {
    #[test]
    fn any_bytes(start in 0usize..4, noise in proptest::collection::vec(any::<u8>(), 0..600)) {
        let mut file = match start {
            0 => Vec::new(),
            1 => pcap(&[]),
            2 => pcapng(u32::to_le_bytes, u16::to_le_bytes, 9),
            _ => pcapng(u32::to_be_bytes, u16::to_be_bytes, 9)[..80].to_vec(),
        };
        file.extend(noise);
        let _ = read(&file[..], |_| ());
    }

    #[test]
    fn any_flipped_bytes(ng: bool, flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut file = if ng { pcapng(u32::to_le_bytes, u16::to_le_bytes, 9) } else { pcap(&two_packets()) };
        for (at, byte) in flips {
            let at = at.index(file.len());
            file[at] = byte;
        }
        let _ = read(&file[..], |_| ());
    }
}

#[test]
fn zeros_in_the_place_of_packets_are_called_that() {
    let whole = pcap(&two_packets());
    // Of fewer than a header's bytes nobody can tell.
    for more in [16, 24, 4096 * 3 + 7] {
        let mut file = whole.clone();
        file.resize(whole.len() + more, 0);
        let (seen, facts) = segments(&file);
        assert_eq!(seen, expected());
        let end = format!("only zeros from byte {} on, as a machine or disk leaves them when it fails", whole.len());
        assert_eq!((facts.packets, facts.last_ns, facts.problems), (2, Some(TIME + 1_000), vec![end]));
    }
    // A hole: the second packet, and what follows it.
    let second = 24 + 16 + two_packets()[0].1.len();
    let mut file = [whole.clone(), whole[24..].to_vec()].concat();
    file[second..whole.len()].fill(0);
    let facts = segments(&file).1;
    assert_eq!(facts.packets, 1);
    let problem = format!("the capture is damaged at byte {second}: there are zeros; what follows them was not read");
    assert_eq!(facts.problems, [problem]);
}

#[test]
fn packets_cut_anywhere_are_told_of_in_plain_words() {
    let (_, packet) = two_packets().remove(0);
    for len in 1..packet.len() {
        let facts = segments(&pcap(&[(TIME, packet[..len].to_vec())])).1;
        for problem in &facts.problems {
            let plain = ["it ends within its", "its headers contradict", "does not begin with"];
            assert!(plain.iter().any(|words| problem.contains(words)), "{len}: {problem}");
        }
    }
}

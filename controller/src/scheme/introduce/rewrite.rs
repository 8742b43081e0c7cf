//! Rewriting heartbeats in passing, so that no receiver can tell.
//!
//! The rule that keeps a TCP connection whole: each of its bytes has one value for ever. What has passed unchanged
//! stays unchanged when it is sent again; what was rewritten is rewritten the same way, whatever segments it comes
//! in.

use std::collections::VecDeque;

use livectl_wire::heartbeat::{self, Heartbeat, News};

use crate::frame::{Frame, Tcp};

/// Rewritten heartbeats whose arrival is not acknowledged yet; while so many are, further ones pass unchanged.
const REMEMBERED: usize = 16;

/// One direction of a connection that carries heartbeats.
#[derive(Debug, Default)]
pub struct Rewriter {
    /// Sequence number after the last byte that passed.
    passed: Option<u32>,
    written: VecDeque<Written>,
}

#[derive(Debug)]
struct Written {
    seq: u32,
    bytes: [u8; heartbeat::LEN],
}

/// How far `seq` is ahead of `of`, on the circle of sequence numbers (RFC 9293, section 3.4).
pub fn ahead(seq: u32, of: u32) -> i64 {
    i64::from(seq.wrapping_sub(of) as i32)
}

impl Rewriter {
    /// Takes a segment on its way. `news` is asked, for each heartbeat that passes for the first time and tells
    /// nothing, what it should tell instead; also for one of which the segment holds so much that the rest can only
    /// be padding. Returns the payload to send in place of this one, if it must differ.
    pub fn pass(&mut self, seq: u32, payload: &[u8], mut news: impl FnMut(u64) -> Option<News>) -> Option<Vec<u8>> {
        let mut changed: Option<Vec<u8>> = None;
        let mut overlay = |written: &Written| {
            let at = ahead(written.seq, seq);
            let bytes = written.bytes.iter().enumerate();
            for (place, byte) in bytes.filter_map(|(n, byte)| Some((usize::try_from(at + n as i64).ok()?, byte))) {
                if place < payload.len()
                    && let Some(room) = changed.get_or_insert_with(|| payload.to_vec()).get_mut(place)
                {
                    *room = *byte;
                }
            }
        };
        self.written.iter().for_each(&mut overlay);
        let whole = heartbeat::find(payload).filter(|(_, found)| found.news == News::None);
        let plain = whole.map(|(at, found)| (at, found.sequence)).chain(heartbeat::begun(payload));
        for (at, sequence) in plain {
            let seq = seq.wrapping_add(at as u32);
            let is_new = self.passed.is_none_or(|passed| ahead(seq, passed) >= 0);
            if !is_new || self.written.len() >= REMEMBERED {
                continue;
            }
            if let Some(news) = news(sequence) {
                let bytes = Heartbeat { sequence, news }.emit();
                let written = Written { seq, bytes };
                overlay(&written);
                self.written.push_back(written);
            }
        }
        let end = seq.wrapping_add(payload.len() as u32);
        if self.passed.is_none_or(|passed| ahead(end, passed) > 0) {
            self.passed = Some(end);
        }
        changed
    }

    /// The receiver has everything before `ack`; it will not be sent again.
    pub fn acknowledged(&mut self, ack: u32) {
        self.written.retain(|written| ahead(written.seq.wrapping_add(heartbeat::LEN as u32), ack) > 0);
    }
}

/// The frame with another payload of the same length, and its TCP checksum brought in line (RFC 1624, equation 3: a
/// checksum that was right stays right, and one that was wrong stays wrong).
#[must_use]
pub fn with_payload(frame: &Frame<'_>, tcp: &Tcp, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame.bytes.to_vec();
    let before = frame.payload(tcp);
    if before.len() != payload.len() {
        return bytes;
    }
    if let Some(room) = bytes.get_mut(tcp.payload.range()) {
        room.copy_from_slice(payload);
    }
    if let Some(field) = bytes.get_mut(tcp.checksum..).and_then(<[u8]>::first_chunk_mut) {
        let old = u64::from(!u16::from_be_bytes(*field));
        // A TCP header is a whole number of words long, so that the payload begins with a whole one.
        let sum = fold(old + u64::from(!fold(word_sum(before))) + word_sum(payload));
        *field = (!sum).to_be_bytes();
    }
    bytes
}

/// Of 16-bit words, the last padded with zeros.
fn word_sum(bytes: &[u8]) -> u64 {
    let (pairs, odd) = bytes.as_chunks::<2>();
    let words: u64 = pairs.iter().map(|pair| u64::from(u16::from_be_bytes(*pair))).sum();
    words + odd.first().map_or(0, |byte| u64::from(*byte) << 8)
}

/// The ones' complement sum in 16 bits.
fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::testing::{TcpFrame, tcp_checksum_is_right};
    use livectl_wire::heartbeat::{Introduction, LEN, PeerRole};
    use proptest::prelude::*;

    fn plain(sequence: u64) -> [u8; LEN] {
        Heartbeat { sequence, news: News::None }.emit()
    }

    fn peer(host: u8) -> News {
        let peers = vec![format!("10.0.0.{host}:2000").parse().unwrap()];
        News::Peer(Introduction { role: PeerRole::Child, peers, stream: "live/hb".parse().unwrap() })
    }

    fn told(sequence: u64, host: u8) -> [u8; LEN] {
        Heartbeat { sequence, news: peer(host) }.emit()
    }

    #[test]
    fn a_heartbeat_is_rewritten_and_again_the_same_way() {
        let mut rewriter = Rewriter::default();
        assert_eq!(rewriter.pass(1000, &plain(1), |_| Some(peer(1))).unwrap(), told(1, 1));
        // Sent again, when something else would be told by now.
        assert_eq!(rewriter.pass(1000, &plain(1), |_| Some(peer(2))).unwrap(), told(1, 1));
        // Sent again together with the next one.
        let both = [plain(1), plain(2)].concat();
        assert_eq!(rewriter.pass(1000, &both, |_| Some(peer(2))).unwrap(), [told(1, 1), told(2, 2)].concat());
        // Sent again from the middle.
        let part = rewriter.pass(1100, &both[100..200], |_| Some(peer(3))).unwrap();
        assert_eq!(part, [told(1, 1), told(2, 2)].concat()[100..200]);
    }

    #[test]
    fn what_passed_unchanged_stays_so() {
        let mut rewriter = Rewriter::default();
        assert_eq!(rewriter.pass(1000, &plain(1), |_| None), None);
        assert_eq!(rewriter.pass(1000, &plain(1), |_| Some(peer(1))), None);
        // A part of the second has passed, so the whole of it must pass like that.
        let both = [plain(1), plain(2)].concat();
        assert_eq!(rewriter.pass(1000, &both[..150], |_| Some(peer(1))), None);
        assert_eq!(rewriter.pass(1000, &both, |_| Some(peer(1))), None);
        assert!(rewriter.pass(1256, &plain(3), |_| Some(peer(1))).is_some());
    }

    #[test]
    fn parts_and_heartbeats_that_tell_something_are_left_alone() {
        let mut rewriter = Rewriter::default();
        assert_eq!(rewriter.pass(0, &plain(1)[..22], |_| Some(peer(1))), None);
        assert_eq!(rewriter.pass(22, &plain(1)[22..], |_| Some(peer(1))), None);
        assert_eq!(rewriter.pass(128, &told(2, 9), |_| Some(peer(1))), None);
        assert_eq!(rewriter.pass(256, b"HTTP/1.1 200 OK\r\n", |_| Some(peer(1))), None);
    }

    #[test]
    fn one_that_is_cut_is_rewritten_once_it_can_be_known() {
        let mut rewriter = Rewriter::default();
        let both = [told(1, 9), plain(2)].concat();
        let first = rewriter.pass(0, &both[..178], |sequence| (sequence == 2).then(|| peer(1))).unwrap();
        let second = rewriter.pass(178, &both[178..], |_| None).unwrap();
        assert_eq!([first, second].concat(), [told(1, 9), told(2, 1)].concat());
    }

    #[test]
    fn what_arrived_is_forgotten_and_memory_is_bounded() {
        let mut rewriter = Rewriter::default();
        let seq = |number: u32| number.wrapping_mul(LEN as u32).wrapping_sub(500);
        let pass = |rewriter: &mut Rewriter, number: u32| {
            rewriter.pass(seq(number), &plain(number.into()), |_| Some(peer(1))).is_some()
        };
        for number in 0..REMEMBERED as u32 {
            assert!(pass(&mut rewriter, number));
        }
        assert!(!pass(&mut rewriter, 16));
        rewriter.acknowledged(seq(1));
        assert_eq!(rewriter.written.len(), REMEMBERED - 1);
        assert!(pass(&mut rewriter, 17));
        rewriter.acknowledged(seq(18));
        assert!(rewriter.written.is_empty());
    }

    #[test]
    fn a_checksum_that_was_wrong_stays_wrong() {
        let mut bytes = TcpFrame::between("10.0.0.3:42857", "10.0.0.1:4000").payload(&plain(1)).bytes();
        bytes[60] ^= 1;
        assert!(!tcp_checksum_is_right(&bytes));
        let frame = Frame::parse(&bytes).unwrap();
        let mut payload = frame.payload(&frame.tcp().unwrap()).to_vec();
        payload[20] ^= 0x55;
        assert!(!tcp_checksum_is_right(&with_payload(&frame, &frame.tcp().unwrap(), &payload)));
    }

    proptest! {
        #[test]
        fn checksums_follow(before in proptest::collection::vec(any::<u8>(), 0..300), flips in proptest::collection::vec(any::<u8>(), 300)) {
            let bytes = TcpFrame::between("10.0.0.3:42857", "10.0.0.1:4000").payload(&before).bytes();
            let frame = Frame::parse(&bytes).unwrap();
            let after: Vec<u8> = before.iter().zip(flips).map(|(byte, flip)| byte ^ flip).collect();
            let changed = with_payload(&frame, &frame.tcp().unwrap(), &after);
            prop_assert!(tcp_checksum_is_right(&changed));
            let changed = Frame::parse(&changed).unwrap();
            prop_assert_eq!(changed.payload(&changed.tcp().unwrap()), &after[..]);
        }

        /// However a stream of heartbeats is cut and repeated, each byte always has the value it had first, and
        /// whatever was not rewritten is as it was sent.
        #[test]
        fn each_byte_has_one_value(segments in proptest::collection::vec((0usize..1280, 1usize..400, any::<bool>()), 1..60), base: u32) {
            let stream: Vec<u8> = (0..10).flat_map(plain).collect();
            let mut seen: Vec<Option<u8>> = vec![None; stream.len()];
            let mut rewriter = Rewriter::default();
            for (start, length, tells) in segments {
                let end = (start + length).min(stream.len());
                let payload = &stream[start..end];
                let out = rewriter.pass(base.wrapping_add(start as u32), payload, |n| tells.then(|| peer(n as u8)));
                for (place, byte) in out.as_deref().unwrap_or(payload).iter().enumerate() {
                    prop_assert_eq!(*seen[start + place].get_or_insert(*byte), *byte);
                }
            }
        }
    }
}

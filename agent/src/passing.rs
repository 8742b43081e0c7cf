//! One direction of an RTMP connection that is passed on, and read at the same time.

use livectl_wire::rtmp::{Limits, Media, Message, Reader, RtmpError};

/// Bytes that may be held back for messages that are not whole: more than four of the longest. A sender that begins a
/// message, goes on with others and never ends it is not read any more, only passed on.
const MAX_HELD: usize = 4 << 24;

/// Holds bytes back until the messages they belong to are whole.
#[derive(Debug)]
pub struct Passing {
    reader: Reader,
    held: Vec<u8>,
    /// Offset of the first byte that is held.
    passed: u64,
    failed: Option<Unreadable>,
}

/// Why nothing is known any more of what is passed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not RTMP.
    #[error(transparent)]
    Rtmp(#[from] RtmpError),
    /// A message that does not end.
    #[error("{0} bytes came within one message")]
    Endless(usize),
}

impl Default for Passing {
    fn default() -> Self {
        Self::new()
    }
}

impl Passing {
    /// At the connection's first byte.
    #[must_use]
    pub fn new() -> Self {
        let reader = Reader::new(Limits::default(), Media::Whole);
        Self { reader, held: Vec::new(), passed: 0, failed: None }
    }

    /// Takes the next bytes, hands on each message that they complete, and returns the bytes that may be passed on
    /// now: all up to the first message that is not whole. What cannot be read is passed on whole and at once.
    pub fn push(&mut self, bytes: &[u8], deliver: impl FnMut(Message<'_>)) -> Vec<u8> {
        if self.failed.is_none() {
            if let Err(error) = self.reader.push(bytes, deliver) {
                self.failed = Some(error.into());
            } else if self.held.len() + bytes.len() > MAX_HELD {
                self.failed = Some(Unreadable::Endless(self.held.len() + bytes.len()));
            }
        }
        if self.failed.is_some() {
            let mut all = std::mem::take(&mut self.held);
            all.extend_from_slice(bytes);
            return all;
        }
        let ready = usize::try_from(self.reader.oldest() - self.passed).unwrap_or(usize::MAX);
        self.passed = self.reader.oldest();
        // Of bytes that are ready none were held, more often than not.
        match ready.checked_sub(self.held.len()) {
            Some(of_new) => {
                let mut ready = std::mem::take(&mut self.held);
                let (now, later) = bytes.split_at(of_new.min(bytes.len()));
                ready.extend_from_slice(now);
                self.held.extend_from_slice(later);
                ready
            }
            None => {
                let rest = self.held.split_off(ready);
                let ready = std::mem::replace(&mut self.held, rest);
                self.held.extend_from_slice(bytes);
                ready
            }
        }
    }

    /// How many bytes have been passed on: the offset of the first that the next ones begin with.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.passed
    }

    /// Bytes that are held back.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Why nothing can be read any more, if so.
    #[must_use]
    pub fn failed(&self) -> Option<&Unreadable> {
        self.failed.as_ref()
    }

    /// Chunk size that the sender uses.
    #[must_use]
    pub fn chunk_size(&self) -> u32 {
        self.reader.chunk_size()
    }

    /// The reader, for one who takes over what follows; what is held is never passed on.
    #[must_use]
    pub fn into_reader(self) -> Reader {
        self.reader
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use livectl_wire::rtmp::{HANDSHAKE_LEN, Header, Writer, kind};
    use proptest::prelude::*;

    use super::*;

    fn video(chunk_stream: u32, timestamp: u32) -> Header {
        Header { chunk_stream, kind: kind::VIDEO, stream_id: 1, timestamp }
    }

    fn handshake() -> Vec<u8> {
        let mut bytes = vec![3];
        bytes.resize(HANDSHAKE_LEN as usize, 7);
        bytes
    }

    #[test]
    fn the_handshake_passes_byte_by_byte() {
        let mut passing = Passing::new();
        for byte in handshake() {
            assert_eq!(passing.push(&[byte], |_| ()), [byte]);
        }
    }

    #[test]
    fn nothing_of_a_message_passes_before_it_is_whole() {
        let mut bytes = handshake();
        let mut writer = Writer::new();
        writer.write(video(6, 0), &[1; 300], &mut bytes).unwrap();
        let whole = bytes.len();
        writer.write(video(6, 33), &[2; 300], &mut bytes).unwrap();
        let mut passing = Passing::new();
        let mut passed = 0;
        for (at, byte) in bytes.iter().enumerate() {
            passed += passing.push(&[*byte], |_| ()).len();
            let expected = match at + 1 {
                end if end < HANDSHAKE_LEN as usize => end,
                // A header that is not whole belongs to no message yet, and is held all the same.
                end if end < whole => HANDSHAKE_LEN as usize,
                end if end < bytes.len() => whole,
                _ => bytes.len(),
            };
            assert_eq!(passed, expected, "after byte {at}");
        }
    }

    #[test]
    fn a_message_that_never_ends_is_let_go() {
        let mut passing = Passing::new();
        passing.push(&handshake(), |_| ());
        let mut writer = Writer::new();
        let begun = writer.chunks(video(5, 0), &[0; 1000]).unwrap().swap_remove(0);
        assert_eq!(passing.push(&begun, |_| ()), b"");
        let mut passed = 0;
        for _ in 0..100 {
            let mut bytes = Vec::new();
            writer.write(video(6, 0), &vec![1; 1 << 20], &mut bytes).unwrap();
            passed += passing.push(&bytes, |_| ()).len();
            assert!(passing.held() <= MAX_HELD);
        }
        assert!(matches!(passing.failed(), Some(Unreadable::Endless(_))));
        assert!(passed > 100 << 20);
    }

    proptest! {
        #[test]
        fn everything_passes_in_order_and_whole_messages_are_never_held(
            sizes in proptest::collection::vec(0usize..3000, 1..20),
            pieces in proptest::collection::vec(1usize..4000, 1..20),
            garbage in proptest::collection::vec(any::<u8>(), 0..50),
        ) {
            let mut bytes = handshake();
            let mut writer = Writer::new();
            for (n, size) in sizes.iter().enumerate() {
                writer.write(video(4 + n as u32 % 3, n as u32), &vec![n as u8; *size], &mut bytes).unwrap();
            }
            bytes.extend(garbage);
            let mut passing = Passing::new();
            let (mut out, mut rest) = (Vec::new(), &bytes[..]);
            for piece in pieces.iter().cycle() {
                let (now, later) = rest.split_at((*piece).min(rest.len()));
                out.extend(passing.push(now, |_| ()));
                prop_assert!(bytes.starts_with(&out));
                prop_assert_eq!(out.len() + passing.held(), bytes.len() - later.len());
                rest = later;
                if rest.is_empty() { break }
            }
            if passing.failed().is_some() {
                prop_assert_eq!(out, bytes);
            }
        }
    }
}

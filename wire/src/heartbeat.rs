//! Heartbeats: how the network tells an agent its peer.
//!
//! The notification service sends each agent one heartbeat a second. All are [`LEN`] bytes of ASCII: words separated by
//! single spaces, padded with spaces, ending in a newline. As every heartbeat has the same length, the controller can replace
//! one inside a passing TCP segment without disturbing the connection.
//!
//! ```text
//! livectl/1 0000000042 -
//! livectl/1 0000000042 peer broadcaster 10.0.0.1:2000 live/hb
//! livectl/1 0000000042 ack peer broadcaster 10.0.0.1:2000 live/hb
//! ```

use std::fmt;
use std::io::Write as _;
use std::net::SocketAddrV4;

use crate::stream_key::{StreamKey, StreamKeyError};

/// Length of every heartbeat in bytes, the newline included.
pub const LEN: usize = 128;

/// What every line of livectl's own protocols begins with.
pub const MAGIC: &str = "livectl/1";

/// Sequence numbers have ten digits and begin again at zero after this one.
pub const MAX_SEQUENCE: u64 = 9_999_999_999;

/// One heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Counts heartbeats of the service on a connection; emitted modulo 10¹⁰.
    pub sequence: u64,
    /// What it tells.
    pub news: News,
}

/// What a heartbeat tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Nothing: as the service sends it.
    None,
    /// The receiver has this peer: as the controller rewrites it.
    Peer(Introduction),
    /// The sender acts on this introduction: an agent's answer.
    Ack(Introduction),
}

/// One peer, as told to another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Introduction {
    /// What the peer is to the one who is told.
    pub role: PeerRole,
    /// Where the peer is. Of a broadcaster: where its agent serves. Of a viewer: the address it will come from; the port
    /// says nothing, since a viewer connects from any.
    pub address: SocketAddrV4,
    /// The stream that the two have in common.
    pub stream: StreamKey,
}

/// A peer's part in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeerRole {
    /// It has the stream.
    Broadcaster,
    /// It wants the stream.
    Viewer,
}

impl PeerRole {
    /// The word in a heartbeat.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            PeerRole::Broadcaster => "broadcaster",
            PeerRole::Viewer => "viewer",
        }
    }
}

impl fmt::Display for PeerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Introduction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peer {} {} {}", self.role, self.address, self.stream)
    }
}

/// Why bytes are no heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeartbeatError {
    /// Fewer or more bytes than [`LEN`].
    #[error("a heartbeat has {LEN} bytes, this has {0}")]
    Length(usize),
    /// It begins otherwise: not ours, or a version that this program does not speak.
    #[error("a heartbeat begins with `{MAGIC} `")]
    Magic,
    /// The sequence number is not ten digits.
    #[error("the sequence number is not ten digits")]
    Sequence,
    /// A word that has no meaning at its place.
    #[error("`{0}` means nothing at its place in a heartbeat")]
    Word(String),
    /// The address is not `a.b.c.d:port`.
    #[error("`{0}` is not an IPv4 address with a port")]
    Address(String),
    /// The stream's name is not one.
    #[error(transparent)]
    Stream(#[from] StreamKeyError),
    /// Everything has a meaning, but is not written as a heartbeat is: spacing, padding, leading zeros, line end.
    #[error("the heartbeat is not in its one form: single spaces, padding to the newline, no leading zeros")]
    Form,
}

impl Heartbeat {
    /// The bytes of this heartbeat.
    #[must_use]
    pub fn emit(&self) -> [u8; LEN] {
        let mut bytes = [b' '; LEN];
        let sequence = self.sequence % (MAX_SEQUENCE + 1);
        // The longest text is 127 bytes (see the test), so that writing into the slice cannot come up short.
        let mut room = &mut bytes[..LEN - 1];
        let _ = match &self.news {
            News::None => write!(room, "{MAGIC} {sequence:010} -"),
            News::Peer(who) => write!(room, "{MAGIC} {sequence:010} {who}"),
            News::Ack(who) => write!(room, "{MAGIC} {sequence:010} ack {who}"),
        };
        bytes[LEN - 1] = b'\n';
        bytes
    }

    /// Reads exactly one heartbeat. There is one way to write each: `parse(bytes)?.emit() == bytes`.
    ///
    /// # Errors
    /// When the bytes are not a heartbeat, and why.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeartbeatError> {
        let whole: &[u8; LEN] = bytes.try_into().map_err(|_| HeartbeatError::Length(bytes.len()))?;
        let text = std::str::from_utf8(whole).map_err(|_| HeartbeatError::Form)?;
        let text = text.strip_prefix(MAGIC).and_then(|rest| rest.strip_prefix(' ')).ok_or(HeartbeatError::Magic)?;
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let (digits, news) = words.split_first().ok_or(HeartbeatError::Form)?;
        if digits.len() != 10 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(HeartbeatError::Sequence);
        }
        let sequence = digits.parse().map_err(|_| HeartbeatError::Sequence)?;
        let news = match news {
            ["-"] => News::None,
            ["peer", role, address, stream] => News::Peer(Introduction::parse(role, address, stream)?),
            ["ack", "peer", role, address, stream] => News::Ack(Introduction::parse(role, address, stream)?),
            [] => return Err(HeartbeatError::Form),
            [word, ..] => return Err(HeartbeatError::Word((*word).to_owned())),
        };
        let heartbeat = Self { sequence, news };
        if heartbeat.emit() == *whole { Ok(heartbeat) } else { Err(HeartbeatError::Form) }
    }
}

impl Introduction {
    fn parse(role: &str, address: &str, stream: &str) -> Result<Self, HeartbeatError> {
        let role = match role {
            "broadcaster" => PeerRole::Broadcaster,
            "viewer" => PeerRole::Viewer,
            other => return Err(HeartbeatError::Word(other.to_owned())),
        };
        let address = address.parse().map_err(|_| HeartbeatError::Address(address.to_owned()))?;
        Ok(Self { role, address, stream: stream.parse()? })
    }
}

/// The whole heartbeats in a TCP segment's payload, with their offsets. A segment may begin or end in the middle of one and may
/// hold several; parts of heartbeats are passed over.
pub fn find(payload: &[u8]) -> impl Iterator<Item = (usize, Heartbeat)> + '_ {
    let mut from = 0usize;
    std::iter::from_fn(move || {
        while let Some(candidate) = payload.get(from..from.checked_add(LEN)?) {
            match Heartbeat::parse(candidate) {
                Ok(heartbeat) => {
                    let offset = from;
                    from += LEN;
                    return Some((offset, heartbeat));
                }
                // A newline ends whatever this was; without one in reach nothing can begin inside it.
                Err(_) => from += candidate.iter().position(|b| *b == b'\n').map_or(LEN, |at| at + 1),
            }
        }
        None
    })
}

/// Bytes after which it is known that a heartbeat tells nothing: all up to the first space of its padding.
const PLAIN: usize = MAGIC.len() + " 0000000042 - ".len();

/// The heartbeat that tells nothing and ends beyond the end of a payload, if it is there as far as that can be known: its offset and its sequence
/// number. Nothing but padding can follow.
#[must_use]
pub fn begun(payload: &[u8]) -> Option<(usize, u64)> {
    let offset = payload.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let part = payload.get(offset..).filter(|part| (PLAIN..LEN).contains(&part.len()))?;
    let mut whole = [b' '; LEN];
    whole.get_mut(..part.len())?.copy_from_slice(part);
    whole[LEN - 1] = b'\n';
    let heartbeat = Heartbeat::parse(&whole).ok()?;
    (heartbeat.news == News::None).then_some((offset, heartbeat.sequence))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    fn introduction() -> Introduction {
        Introduction {
            role: PeerRole::Broadcaster,
            address: "10.0.0.1:2000".parse().unwrap(),
            stream: "live/hb".parse().unwrap(),
        }
    }

    fn padded(text: &str) -> Vec<u8> {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(LEN - 1, b' ');
        bytes.push(b'\n');
        bytes
    }

    fn longest() -> Heartbeat {
        Heartbeat {
            sequence: MAX_SEQUENCE,
            news: News::Ack(Introduction {
                role: PeerRole::Broadcaster,
                address: "255.255.255.255:65535".parse().unwrap(),
                stream: StreamKey::new("live", &"a".repeat(StreamKey::MAX_LEN - 5)).unwrap(),
            }),
        }
    }

    #[test]
    fn the_lines_of_the_architecture() {
        for (text, news) in [
            ("livectl/1 0000000042 -", News::None),
            ("livectl/1 0000000042 peer broadcaster 10.0.0.1:2000 live/hb", News::Peer(introduction())),
            ("livectl/1 0000000042 ack peer broadcaster 10.0.0.1:2000 live/hb", News::Ack(introduction())),
        ] {
            let heartbeat = Heartbeat { sequence: 42, news };
            assert_eq!(heartbeat.emit().to_vec(), padded(text));
            assert_eq!(Heartbeat::parse(&padded(text)), Ok(heartbeat));
        }
    }

    #[test]
    fn the_longest_fits_exactly() {
        let bytes = longest().emit();
        assert_eq!(bytes[LEN - 2], b'a');
        assert_eq!(Heartbeat::parse(&bytes), Ok(longest()));
    }

    #[test]
    fn the_sequence_wraps() {
        let heartbeat = Heartbeat { sequence: MAX_SEQUENCE + 7, news: News::None };
        assert_eq!(Heartbeat::parse(&heartbeat.emit()).unwrap().sequence, 6);
    }

    #[test]
    fn one_form_only() {
        use HeartbeatError as E;
        let parse = |text: &str| Heartbeat::parse(&padded(text)).unwrap_err();
        assert_eq!(parse("livectl/2 0000000042 -"), E::Magic);
        assert_eq!(parse("livectl/1 42 -"), E::Sequence);
        assert_eq!(parse("livectl/1 +000000042 -"), E::Sequence);
        assert_eq!(parse("livectl/1 0000000042"), E::Form);
        assert_eq!(parse("livectl/1  0000000042 -"), E::Form);
        assert_eq!(parse("livectl/1 0000000042\t-"), E::Form);
        assert_eq!(parse("livectl/1 0000000042 - -"), E::Word("-".into()));
        assert_eq!(parse("livectl/1 0000000042 peer"), E::Word("peer".into()));
        assert_eq!(parse("livectl/1 0000000042 peer cdn 10.0.0.1:2000 live/hb"), E::Word("cdn".into()));
        assert_eq!(parse("livectl/1 0000000042 peer viewer 10.0.0.1 live/hb"), E::Address("10.0.0.1".into()));
        assert_eq!(parse("livectl/1 0000000042 peer viewer 10.0.0.1:02000 live/hb"), E::Form);
        assert!(matches!(parse("livectl/1 0000000042 peer viewer 10.0.0.1:2000 hb"), E::Stream(_)));
        let mut no_newline = Heartbeat { sequence: 1, news: News::None }.emit();
        no_newline[LEN - 1] = b' ';
        assert_eq!(Heartbeat::parse(&no_newline), Err(E::Form));
    }

    #[test]
    fn truncated_at_every_byte() {
        let bytes = longest().emit();
        for len in 0..LEN {
            assert_eq!(Heartbeat::parse(&bytes[..len]), Err(HeartbeatError::Length(len)));
            assert_eq!(find(&bytes[..len]).count(), 0);
        }
    }

    #[test]
    fn found_in_segments_that_begin_and_end_anywhere() {
        let first = Heartbeat { sequence: 8, news: News::None };
        let second = Heartbeat { sequence: 9, news: News::Peer(introduction()) };
        let stream = [first.emit(), second.emit()].concat();
        for start in 0..=LEN {
            for end in start..=2 * LEN {
                let found: Vec<_> = find(&stream[start..end]).collect();
                let mut expected = Vec::new();
                if start == 0 && end >= LEN {
                    expected.push((0, first.clone()));
                }
                if end == 2 * LEN {
                    expected.push((LEN - start, second.clone()));
                }
                assert_eq!(found, expected, "{start}..{end}");
            }
        }
    }

    fn any_heartbeat() -> impl Strategy<Value = Heartbeat> {
        let stream = ("[A-Za-z0-9._-]{1,31}", "[A-Za-z0-9._-]{1,31}");
        let peer = (any::<bool>(), any::<u32>(), any::<u16>(), stream).prop_map(|(viewer, ip, port, (app, name))| {
            let role = if viewer { PeerRole::Viewer } else { PeerRole::Broadcaster };
            let address = SocketAddrV4::new(ip.into(), port);
            Introduction { role, address, stream: StreamKey::new(&app, &name).unwrap() }
        });
        let news = prop_oneof![Just(News::None), peer.clone().prop_map(News::Peer), peer.prop_map(News::Ack),];
        (0..=MAX_SEQUENCE, news).prop_map(|(sequence, news)| Heartbeat { sequence, news })
    }

    proptest! {
        #[test]
        fn round_trip(heartbeat in any_heartbeat()) {
            prop_assert_eq!(Heartbeat::parse(&heartbeat.emit()), Ok(heartbeat));
        }

        #[test]
        fn what_parses_is_what_would_be_emitted(heartbeat in any_heartbeat(), at in 0..LEN, byte: u8) {
            let mut bytes = heartbeat.emit();
            bytes[at] = byte;
            if let Ok(parsed) = Heartbeat::parse(&bytes) {
                prop_assert_eq!(parsed.emit(), bytes);
            }
        }

        #[test]
        fn found_after_any_line(before in proptest::collection::vec(any::<u8>(), 0..200), heartbeat in any_heartbeat()) {
            let mut bytes = before;
            bytes.push(b'\n');
            let at = bytes.len();
            bytes.extend(heartbeat.emit());
            prop_assert_eq!(find(&bytes).last(), Some((at, heartbeat)));
        }
    }

    #[test]
    fn one_that_has_begun_is_known_once_nothing_else_can_come() {
        let plain = Heartbeat { sequence: 42, news: News::None }.emit();
        let told = Heartbeat { sequence: 42, news: News::Peer(introduction()) }.emit();
        for end in 0..=LEN {
            assert_eq!(begun(&plain[..end]), (PLAIN..LEN).contains(&end).then_some((0, 42)), "{end}");
            assert_eq!(begun(&told[..end]), None);
            let behind_another = [&told[..], &plain[..end]].concat();
            assert_eq!(begun(&behind_another), (PLAIN..LEN).contains(&end).then_some((LEN, 42)), "{end}");
        }
        assert_eq!(begun(&plain[1..]), None);
    }
}

//! What agents say to each other on the peer port before the video flows.
//!
//! The viewer's agent connects and sends one request line; the broadcaster's agent answers with an FLV file that does not end,
//! or with one line of refusal:
//!
//! ```text
//! livectl/1 play live/hb
//! livectl/1 error WHY
//! ```

use crate::heartbeat::MAGIC;
use crate::stream_key::{StreamKey, StreamKeyError};

/// The TCP port on which a broadcaster's agent serves peers.
pub const PORT: u16 = 2000;

/// Longest request in bytes, the newline included.
pub const MAX_REQUEST: usize = PLAY.len() + StreamKey::MAX_LEN + 1;

/// Longest reason of a refusal in bytes.
pub const MAX_REASON: usize = 200;

const PLAY: &str = "livectl/1 play ";
const ERROR: &str = "livectl/1 error ";
/// FLV file signature and version (Adobe Flash Video File Format Specification 10.1, E.2).
const FLV: &[u8] = b"FLV\x01";

/// How a peer answers a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It serves: the bytes are an FLV file from the first one on.
    Stream,
    /// It does not, for this reason.
    Refused(String),
}

/// Why bytes are neither request nor reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// Not what such a line begins with.
    #[error("byte {0} differs from what every such line begins with ({MAGIC} …)")]
    Unknown(usize),
    /// No newline where the longest line would have one.
    #[error("no newline within {0} bytes")]
    TooLong(usize),
    /// The stream's name is not one.
    #[error(transparent)]
    Stream(#[from] StreamKeyError),
    /// The reason holds bytes other than printable ASCII.
    #[error("the reason of the refusal is not printable ASCII")]
    Reason,
}

/// The request line for `stream`.
#[must_use]
pub fn emit_request(stream: &StreamKey) -> String {
    format!("{PLAY}{stream}\n")
}

/// The refusal line. What cannot stand in a line (control characters, non-ASCII) becomes `?`, and the rest is cut at
/// [`MAX_REASON`] bytes.
#[must_use]
pub fn emit_refusal(why: &str) -> String {
    let printable = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    let why: String = why.chars().take(MAX_REASON).map(printable).collect();
    format!("{ERROR}{why}\n")
}

/// Reads a request from the bytes received so far: the stream and how many bytes the request took, or `None` as long as more
/// are needed. Call it again with the longer buffer; it never needs more than [`MAX_REQUEST`] bytes.
///
/// # Errors
/// As soon as no continuation could make the bytes a request.
pub fn parse_request(received: &[u8]) -> Result<Option<(StreamKey, usize)>, PeerError> {
    let Some((line, consumed)) = line_after(received, PLAY, StreamKey::MAX_LEN)? else { return Ok(None) };
    // Lossy: what is not ASCII is refused by the key anyway, which then names the byte.
    Ok(Some((String::from_utf8_lossy(line).parse()?, consumed)))
}

/// Reads the beginning of a reply from the bytes received so far; `None` as long as more are needed. After
/// [`Reply::Stream`] all of them, from the first, belong to the FLV file.
///
/// # Errors
/// As soon as no continuation could make the bytes a reply.
pub fn parse_reply(received: &[u8]) -> Result<Option<Reply>, PeerError> {
    if received.first() == FLV.first() {
        let differs = received.iter().zip(FLV).position(|(a, b)| a != b);
        return match differs {
            Some(at) => Err(PeerError::Unknown(at)),
            None => Ok((received.len() >= FLV.len()).then_some(Reply::Stream)),
        };
    }
    let Some((why, _)) = line_after(received, ERROR, MAX_REASON)? else { return Ok(None) };
    if !why.iter().all(|b| b.is_ascii_graphic() || *b == b' ') {
        return Err(PeerError::Reason);
    }
    Ok(Some(Reply::Refused(String::from_utf8_lossy(why).into_owned())))
}

/// What stands between `prefix` and the newline, and the length of the whole line.
fn line_after<'a>(received: &'a [u8], prefix: &str, max: usize) -> Result<Option<(&'a [u8], usize)>, PeerError> {
    if let Some(at) = received.iter().zip(prefix.as_bytes()).position(|(a, b)| a != b) {
        return Err(PeerError::Unknown(at));
    }
    let rest = received.get(prefix.len()..).unwrap_or_default();
    match rest.iter().take(max.saturating_add(1)).position(|b| *b == b'\n') {
        Some(end) => Ok(rest.get(..end).map(|line| (line, prefix.len() + end + 1))),
        None if rest.len() > max => Err(PeerError::TooLong(prefix.len() + max + 1)),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    fn key() -> StreamKey {
        "live/hb".parse().unwrap()
    }

    #[test]
    fn a_request_byte_by_byte() {
        let line = emit_request(&key());
        assert_eq!(line, "livectl/1 play live/hb\n");
        for len in 0..line.len() {
            assert_eq!(parse_request(&line.as_bytes()[..len]), Ok(None), "{len}");
        }
        let more = [line.as_bytes(), b"after"].concat();
        assert_eq!(parse_request(&more), Ok(Some((key(), line.len()))));
    }

    #[test]
    fn a_request_is_refused_at_the_first_wrong_byte_and_bounded() {
        assert_eq!(parse_request(b"GET / HTTP/1.1\r\n"), Err(PeerError::Unknown(0)));
        assert_eq!(parse_request(b"livectl/2"), Err(PeerError::Unknown(8)));
        assert!(matches!(parse_request(b"livectl/1 play live\n"), Err(PeerError::Stream(_))));
        assert!(matches!(parse_request(b"livectl/1 play live/hb\r\n"), Err(PeerError::Stream(_))));
        let endless = [PLAY.as_bytes(), &[b'a'; StreamKey::MAX_LEN]].concat();
        assert_eq!(parse_request(&endless), Ok(None));
        assert_eq!(parse_request(&[&endless[..], b"a"].concat()), Err(PeerError::TooLong(MAX_REQUEST)));
    }

    #[test]
    fn the_longest_request_fits() {
        let key = StreamKey::new("live", &"a".repeat(StreamKey::MAX_LEN - 5)).unwrap();
        let line = emit_request(&key);
        assert_eq!(line.len(), MAX_REQUEST);
        assert_eq!(parse_request(line.as_bytes()), Ok(Some((key, MAX_REQUEST))));
    }

    #[test]
    fn replies_byte_by_byte() {
        let refusal = emit_refusal("no such stream\n\u{1f600}");
        assert_eq!(refusal, "livectl/1 error no such stream??\n");
        for len in 0..refusal.len() {
            assert_eq!(parse_reply(&refusal.as_bytes()[..len]), Ok(None));
        }
        assert_eq!(parse_reply(refusal.as_bytes()), Ok(Some(Reply::Refused("no such stream??".into()))));
        for len in 0..4 {
            assert_eq!(parse_reply(&FLV[..len]), Ok(None));
        }
        assert_eq!(parse_reply(b"FLV\x01\x05"), Ok(Some(Reply::Stream)));
        assert_eq!(parse_reply(b"FLV\x02"), Err(PeerError::Unknown(3)));
        assert_eq!(parse_reply(b"HTTP"), Err(PeerError::Unknown(0)));
        assert_eq!(parse_reply(b"livectl/1 error \x1b[2J\n"), Err(PeerError::Reason));
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse_request(&bytes);
            let _ = parse_reply(&bytes);
        }

        #[test]
        fn a_refusal_arrives(why in "\\PC{0,300}") {
            let line = emit_refusal(&why);
            prop_assert!(matches!(parse_reply(line.as_bytes()), Ok(Some(Reply::Refused(_)))));
        }
    }
}

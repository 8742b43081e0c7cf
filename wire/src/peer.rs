//! What agents say to each other on the peer port before the video flows.
//!
//! Who wants a stream connects and sends one request line; who has it answers with a line that says what of it is
//! missing and an FLV file that does not end, or with one line of refusal:
//!
//! ```text
//! livectl/1 play live/hb
//! livectl/1 play live/hb after 1033 99aa06d3014798d86001c324468d497f
//! livectl/1 play live/hb after 1033 99aa06d3014798d86001c324468d497f live
//! livectl/1 play live/hb waiting 350
//!
//! livectl/1 stream 0 0 1033
//! livectl/1 error WHY
//! ```
//!
//! Agents of former versions ask only for `play live/hb`, and answer with the FLV file at once. Both are still
//! understood.

use crate::frame::{FrameId, FrameIdError};
use crate::heartbeat::MAGIC;
use crate::stream_key::{StreamKey, StreamKeyError};

/// The TCP port on which agents serve peers: a broadcaster's, and viewers' that pass the stream on.
pub const PORT: u16 = 2000;

/// Longest request in bytes, the newline included.
pub const MAX_REQUEST: usize = PLAY.len() + MAX_WISH;

/// What may follow [`PLAY`]: the longest key, ` after 4294967295 `, an id, ` live`, and the newline.
const MAX_WISH: usize = StreamKey::MAX_LEN + " after 4294967295 ".len() + 32 + " live".len() + 1;

/// Longest reason of a refusal in bytes.
pub const MAX_REASON: usize = 200;
/// Three numbers, or what stands for them, with two spaces.
const MAX_GAP: usize = 2 * (20 + 1) + 10;

const PLAY: &str = "livectl/1 play ";
const ERROR: &str = "livectl/1 error ";
const STREAM: &str = "livectl/1 stream ";
/// FLV file signature and version (Adobe Flash Video File Format Specification 10.1, E.2).
const FLV: &[u8] = b"FLV\x01";

/// What someone who wants a stream asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Key of the stream, `live/hb`.
    pub stream: StreamKey,
    /// Where in the stream to begin.
    pub since: Since,
    /// What is older than the last keyframe is to be skipped.
    pub live: bool,
}

/// Where a stream is to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// With the last keyframe that the peer has.
    Keyframe,
    /// With what follows this frame or sound, which the asker has.
    After {
        /// Timestamp in milliseconds, as the asker has it.
        timestamp: u32,
        /// XXH3-128 of its payload.
        id: FrameId,
    },
    /// With the last keyframe before that many milliseconds ago, when a player began to wait for a picture.
    Waiting(u32),
}

/// What lies between what was asked for and what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gap {
    /// Pictures that are skipped since `live` was asked for; `None`: unknown.
    pub skipped: Option<u64>,
    /// Pictures that are not there any more; `None`: unknown.
    pub lost: Option<u64>,
    /// Timestamp here of the frame that was asked for, in milliseconds; `None`: it is not known here, or none was
    /// asked for.
    pub at: Option<u32>,
}

/// How a peer answers a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It serves the stream.
    Stream {
        /// What is missing. `None`: it is an agent of a former version and does not say.
        gap: Option<Gap>,
        /// Bytes that the line took; those after it are an FLV file.
        consumed: usize,
    },
    /// It does not, for this reason.
    Refused(String),
}

/// How a peer answers a request, for those who only care whether it does.
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
    /// The line begins otherwise; the number is the first byte that differs.
    #[error("byte {0} differs from what every such line begins with ({MAGIC} …)")]
    Unknown(usize),
    /// No newline where the longest line would have one.
    #[error("no newline within {0} bytes")]
    TooLong(usize),
    /// The stream's name cannot be one.
    #[error(transparent)]
    Stream(#[from] StreamKeyError),
    /// The frame's identity is not 32 hexadecimal digits.
    #[error(transparent)]
    Frame(#[from] FrameIdError),
    /// A word or number that has no meaning at its place.
    #[error("`{0}` means nothing at its place in the line")]
    Word(String),
    /// Everything has a meaning, but is not written as such a line is: spacing, leading zeros.
    #[error("the line is not in its one form: single spaces, no leading zeros")]
    Form,
    /// The reason holds bytes other than printable ASCII.
    #[error("the reason of the refusal is not printable ASCII")]
    Reason,
}

impl Request {
    /// The request line, its newline included.
    #[must_use]
    pub fn emit(&self) -> String {
        let since = match self.since {
            Since::Keyframe => String::new(),
            Since::After { timestamp, id } => format!(" after {timestamp} {id}"),
            Since::Waiting(ms) => format!(" waiting {ms}"),
        };
        let live = if self.live { " live" } else { "" };
        format!("{PLAY}{}{since}{live}\n", self.stream)
    }

    /// Reads a request from the bytes received so far: the request and how many bytes it took, or `None` as long as
    /// more are needed. Call it again with the longer buffer; it never needs more than [`MAX_REQUEST`] bytes. There
    /// is one way to write each.
    ///
    /// # Errors
    /// As soon as no continuation could make the bytes a request.
    pub fn parse(received: &[u8]) -> Result<Option<(Self, usize)>, PeerError> {
        let Some((line, consumed)) = line_after(received, PLAY, MAX_WISH - 1)? else { return Ok(None) };
        // Lossy: what is not ASCII is refused below, with the word it is in.
        let text = String::from_utf8_lossy(line);
        let words: Vec<&str> = text.split(' ').collect();
        let (stream, rest) = words.split_first().ok_or(PeerError::Form)?;
        let stream = stream.parse()?;
        let (rest, live) = match rest {
            [rest @ .., "live"] => (rest, true),
            rest => (rest, false),
        };
        let since = match rest {
            [] => Since::Keyframe,
            ["after", timestamp, id] => Since::After { timestamp: number(timestamp)?, id: id.parse()? },
            ["waiting", ms] => Since::Waiting(number(ms)?),
            [word, ..] => return Err(PeerError::Word((*word).to_owned())),
        };
        let request = Self { stream, since, live };
        let same = received.get(..consumed) == Some(request.emit().as_bytes());
        if same { Ok(Some((request, consumed))) } else { Err(PeerError::Form) }
    }
}

impl Gap {
    /// The line that stands before the FLV file, its newline included.
    #[must_use]
    pub fn emit(&self) -> String {
        let text = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
        format!("{STREAM}{} {} {}\n", text(self.skipped), text(self.lost), text(self.at.map(u64::from)))
    }

    fn parse(line: &[u8]) -> Result<Self, PeerError> {
        fn known<T: std::str::FromStr>(word: &str) -> Result<Option<T>, PeerError> {
            if word == "-" { Ok(None) } else { number(word).map(Some) }
        }
        let text = String::from_utf8_lossy(line);
        let words: Vec<&str> = text.split(' ').collect();
        let &[skipped, lost, at] = words.as_slice() else { return Err(PeerError::Form) };
        let gap = Self { skipped: known(skipped)?, lost: known(lost)?, at: known(at)? };
        let same = gap.emit().strip_prefix(STREAM).and_then(|rest| rest.strip_suffix('\n')) == Some(&*text);
        if same { Ok(gap) } else { Err(PeerError::Form) }
    }
}

impl Answer {
    /// Reads the beginning of an answer from the bytes received so far; `None` as long as more are needed.
    ///
    /// # Errors
    /// As soon as no continuation could make the bytes an answer.
    pub fn parse(received: &[u8]) -> Result<Option<Self>, PeerError> {
        if received.first() == FLV.first() {
            let differs = received.iter().zip(FLV).position(|(a, b)| a != b);
            return match differs {
                Some(at) => Err(PeerError::Unknown(at)),
                None => Ok((received.len() >= FLV.len()).then_some(Answer::Stream { gap: None, consumed: 0 })),
            };
        }
        // The two lines differ in the byte after the version.
        let common = MAGIC.len() + 1;
        if received.get(common) == STREAM.as_bytes().get(common) {
            let Some((line, consumed)) = line_after(received, STREAM, MAX_GAP)? else { return Ok(None) };
            return Ok(Some(Answer::Stream { gap: Some(Gap::parse(line)?), consumed }));
        }
        let Some((why, _)) = line_after(received, ERROR, MAX_REASON)? else { return Ok(None) };
        if !why.iter().all(|b| b.is_ascii_graphic() || *b == b' ') {
            return Err(PeerError::Reason);
        }
        Ok(Some(Answer::Refused(String::from_utf8_lossy(why).into_owned())))
    }
}

/// The request line for `stream` from its last keyframe on.
#[must_use]
pub fn emit_request(stream: &StreamKey) -> String {
    Request { stream: stream.clone(), since: Since::Keyframe, live: false }.emit()
}

/// The refusal line. What cannot stand in a line (control characters, non-ASCII) becomes `?`, and the rest is cut at
/// [`MAX_REASON`] bytes.
#[must_use]
pub fn emit_refusal(why: &str) -> String {
    let printable = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    let why: String = why.chars().take(MAX_REASON).map(printable).collect();
    format!("{ERROR}{why}\n")
}

/// [`Request::parse`], for those who only care which stream it is.
///
/// # Errors
/// As soon as no continuation could make the bytes a request.
pub fn parse_request(received: &[u8]) -> Result<Option<(StreamKey, usize)>, PeerError> {
    Ok(Request::parse(received)?.map(|(request, consumed)| (request.stream, consumed)))
}

/// Reads the beginning of a reply as agents of former versions gave it; `None` as long as more are needed. After
/// [`Reply::Stream`] all of them, from the first, belong to the FLV file.
///
/// # Errors
/// As soon as no continuation could make the bytes such a reply.
pub fn parse_reply(received: &[u8]) -> Result<Option<Reply>, PeerError> {
    Ok(match Answer::parse(received)? {
        None => None,
        Some(Answer::Stream { gap: None, .. }) => Some(Reply::Stream),
        Some(Answer::Stream { gap: Some(_), .. }) => return Err(PeerError::Unknown(MAGIC.len() + 1)),
        Some(Answer::Refused(why)) => Some(Reply::Refused(why)),
    })
}

fn number<T: std::str::FromStr>(word: &str) -> Result<T, PeerError> {
    word.parse().map_err(|_| PeerError::Word(word.to_owned()))
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
        let endless = [PLAY.as_bytes(), &[b'a'; MAX_WISH - 1]].concat();
        assert_eq!(parse_request(&endless), Ok(None));
        assert_eq!(parse_request(&[&endless[..], b"a"].concat()), Err(PeerError::TooLong(MAX_REQUEST)));
    }

    #[test]
    fn the_longest_request_fits() {
        let stream = StreamKey::new("live", &"a".repeat(StreamKey::MAX_LEN - 5)).unwrap();
        let since = Since::After { timestamp: u32::MAX, id: FrameId::of(b"") };
        let request = Request { stream, since, live: true };
        let line = request.emit();
        assert_eq!(line.len(), MAX_REQUEST);
        assert_eq!(Request::parse(line.as_bytes()), Ok(Some((request, MAX_REQUEST))));
    }

    #[test]
    fn the_lines_of_the_description() {
        let id: FrameId = "99aa06d3014798d86001c324468d497f".parse().unwrap();
        let after = Since::After { timestamp: 1033, id };
        for (line, since, live) in [
            ("livectl/1 play live/hb\n", Since::Keyframe, false),
            ("livectl/1 play live/hb live\n", Since::Keyframe, true),
            ("livectl/1 play live/hb after 1033 99aa06d3014798d86001c324468d497f\n", after, false),
            ("livectl/1 play live/hb after 1033 99aa06d3014798d86001c324468d497f live\n", after, true),
            ("livectl/1 play live/hb waiting 350\n", Since::Waiting(350), false),
            ("livectl/1 play live/hb waiting 350 live\n", Since::Waiting(350), true),
        ] {
            let request = Request { stream: key(), since, live };
            assert_eq!(request.emit(), line);
            assert_eq!(Request::parse(line.as_bytes()), Ok(Some((request, line.len()))));
        }
        let gap = Gap { skipped: Some(0), lost: Some(0), at: Some(1033) };
        assert_eq!(gap.emit(), "livectl/1 stream 0 0 1033\n");
        assert_eq!(Gap::default().emit(), "livectl/1 stream - - -\n");
    }

    #[test]
    fn one_form_only() {
        let parse = |wish: &str| Request::parse(format!("livectl/1 play live/hb{wish}\n").as_bytes()).unwrap_err();
        assert_eq!(parse(" waiting"), PeerError::Word("waiting".into()));
        assert_eq!(parse(" waiting 05"), PeerError::Form);
        assert_eq!(parse(" waiting  5"), PeerError::Word("waiting".into()));
        assert_eq!(parse(" waiting -5"), PeerError::Word("-5".into()));
        assert_eq!(parse(" waiting 4294967296"), PeerError::Word("4294967296".into()));
        assert_eq!(parse(" after 5 99"), PeerError::Frame(FrameIdError));
        assert_eq!(parse(" live live"), PeerError::Word("live".into()));
        assert_eq!(parse(" "), PeerError::Word(String::new()));
        let answer = |line: &str| Answer::parse(line.as_bytes()).unwrap_err();
        assert_eq!(answer("livectl/1 stream 0 0\n"), PeerError::Form);
        assert_eq!(answer("livectl/1 stream 0 00 -\n"), PeerError::Form);
        assert_eq!(answer("livectl/1 stream 0 x -\n"), PeerError::Word("x".into()));
        assert!(matches!(answer(&format!("{STREAM}{}", "0".repeat(MAX_GAP + 1))), PeerError::TooLong(_)));
    }

    #[test]
    fn answers_byte_by_byte() {
        let gap = Gap { skipped: Some(3), lost: None, at: Some(7) };
        let line = gap.emit();
        for len in 0..line.len() {
            assert_eq!(Answer::parse(&line.as_bytes()[..len]), Ok(None), "{len}");
        }
        let more = [line.as_bytes(), FLV].concat();
        let expected = Answer::Stream { gap: Some(gap), consumed: line.len() };
        assert_eq!(Answer::parse(&more), Ok(Some(expected)));
        assert_eq!(Answer::parse(b"FLV\x01\x05"), Ok(Some(Answer::Stream { gap: None, consumed: 0 })));
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
            let _ = Request::parse(&bytes);
            let _ = Answer::parse(&bytes);
        }

        #[test]
        fn requests_and_gaps_round_trip(which in 0..3, number: u32, id: [u8; 16], live: bool, gap: (Option<u64>, Option<u64>, Option<u32>)) {
            let since = match which {
                0 => Since::Keyframe,
                1 => Since::After { timestamp: number, id: FrameId(id) },
                _ => Since::Waiting(number),
            };
            let request = Request { stream: key(), since, live };
            let line = request.emit();
            prop_assert_eq!(Request::parse(line.as_bytes()), Ok(Some((request, line.len()))));
            let gap = Gap { skipped: gap.0, lost: gap.1, at: gap.2 };
            let line = gap.emit();
            prop_assert_eq!(Answer::parse(line.as_bytes()), Ok(Some(Answer::Stream { gap: Some(gap), consumed: line.len() })));
        }

        #[test]
        fn what_parses_is_what_would_be_emitted(words in "[a-z0-9 ]{0,40}") {
            let line = format!("livectl/1 play live/hb{words}\n");
            if let Ok(Some((request, _))) = Request::parse(line.as_bytes()) {
                prop_assert_eq!(request.emit(), line);
            }
        }

        #[test]
        fn a_refusal_arrives(why in "\\PC{0,300}") {
            let line = emit_refusal(&why);
            prop_assert!(matches!(parse_reply(line.as_bytes()), Ok(Some(Reply::Refused(_)))));
        }
    }
}

//! The name of a live stream: RTMP application and stream name.

use std::fmt;
use std::str::FromStr;

/// `app/name`, as in `live/hb`: at most [`StreamKey::MAX_LEN`] bytes of `A–Z a–z 0–9 . _ -` around one slash, so that
/// it always fits a heartbeat and can be put in a line, a log or a file name without quoting.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey {
    text: String,
    slash: usize,
}

/// Why a text is no [`StreamKey`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamKeyError {
    /// No `/`, or nothing on one side of it.
    #[error("a stream is named app/name, as in live/hb; both parts must be there")]
    Part,
    /// It has this many bytes, more than a heartbeat has room for.
    #[error("the stream name has {0} bytes; at most {max} fit a heartbeat", max = StreamKey::MAX_LEN)]
    TooLong(usize),
    /// It has a byte outside the allowed set.
    #[error("byte {byte:#04x} at offset {offset} of the stream name is not one of A-Z a-z 0-9 . _ -")]
    Byte {
        /// The byte that is not allowed.
        byte: u8,
        /// Offset of that byte in the text.
        offset: usize,
    },
}

impl StreamKey {
    /// Longest key in bytes, slash included: what a heartbeat has left beside the longest role and address.
    pub const MAX_LEN: usize = 63;

    /// The key of stream `name` in application `app`.
    ///
    /// # Errors
    /// When a part is empty, the whole is too long, or a byte is not allowed.
    pub fn new(app: &str, name: &str) -> Result<Self, StreamKeyError> {
        Self::of(app.as_bytes(), name.as_bytes())
    }

    fn of(app: &[u8], name: &[u8]) -> Result<Self, StreamKeyError> {
        if app.is_empty() || name.is_empty() {
            return Err(StreamKeyError::Part);
        }
        let len = app.len().saturating_add(name.len()).saturating_add(1);
        if len > Self::MAX_LEN {
            return Err(StreamKeyError::TooLong(len));
        }
        let mut text = String::with_capacity(len);
        let slash = app.len();
        for (offset, byte) in [app, b"/", name].concat().into_iter().enumerate() {
            if offset != slash && !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) {
                return Err(StreamKeyError::Byte { byte, offset });
            }
            text.push(char::from(byte));
        }
        Ok(Self { text, slash })
    }

    /// The key as RTMP's `connect` and `play`/`publish` name it, in the way of servers (nginx-rtmp's is
    /// `ngx_rtmp_cmd_connect_init` and `ngx_rtmp_cmd_fill_args`): arguments that players and encoders append are
    /// left out (`live?token=…`), and of the application one slash at its end, or `/_definst_`, Flash's name for an
    /// instance without a name. A slash of the stream name is part of it: `hb`, `/hb` and `hb/` are three streams.
    /// Some encoders count the NUL at a string's end to its length; nothing behind a NUL counts.
    ///
    /// # Errors
    /// As [`StreamKey::new`].
    pub fn from_rtmp(app: impl AsRef<[u8]>, name: impl AsRef<[u8]>) -> Result<Self, StreamKeyError> {
        Self::of(bare_app(app.as_ref()), bare(name.as_ref()))
    }

    /// What such a stream was asked for as, in printable ASCII and of bounded length, without the arguments: these
    /// hold passwords.
    #[must_use]
    pub fn as_asked(app: impl AsRef<[u8]>, name: impl AsRef<[u8]>) -> String {
        let whole = [bare_app(app.as_ref()), b"/", bare(name.as_ref())].concat();
        match whole.get(..SHOWN) {
            Some(shown) if whole.len() > SHOWN => format!("{}...", shown.escape_ascii()),
            _ => whole.escape_ascii().to_string(),
        }
    }

    /// RTMP application: `live`.
    #[must_use]
    pub fn app(&self) -> &str {
        self.text.get(..self.slash).unwrap_or_default()
    }

    /// Stream name within the application: `hb`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text.get(self.slash.saturating_add(1)..).unwrap_or_default()
    }

    /// `app/name`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// So much of the name of a stream that has no key is shown.
const SHOWN: usize = 80;

/// Without arguments, and what follows a NUL.
fn bare(part: &[u8]) -> &[u8] {
    part.split(|byte| matches!(byte, b'?' | 0)).next().unwrap_or_default()
}

fn bare_app(app: &[u8]) -> &[u8] {
    let app = bare(app);
    let instance = app.strip_suffix(b"/_definst_").filter(|app| !app.is_empty());
    instance.or_else(|| app.strip_suffix(b"/")).unwrap_or(app)
}

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl FromStr for StreamKey {
    type Err = StreamKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (app, name) = text.split_once('/').ok_or(StreamKeyError::Part)?;
        Self::new(app, name)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_of_a_key() {
        let key: StreamKey = "live/hb".parse().unwrap();
        assert_eq!((key.app(), key.name(), key.as_str()), ("live", "hb", "live/hb"));
        assert_eq!(key.to_string(), "live/hb");
    }

    #[test]
    fn as_servers_understand_it() {
        use StreamKeyError as E;
        let slash = |offset| Err(E::Byte { byte: b'/', offset });
        type Asked<'a> = (&'a [u8], &'a [u8], Result<&'a str, E>);
        let table: &[Asked<'_>] = &[
            (b"live", b"hb", Ok("live/hb")),
            (b"live/?a=b", b"hb?token=x/y", Ok("live/hb")),
            (b"live?a?b", b"hb?a?b", Ok("live/hb")),
            (b"live/", b"hb", Ok("live/hb")),
            (b"live/_definst_", b"hb", Ok("live/hb")),
            (b"live/_definst_?a=b", b"hb", Ok("live/hb")),
            (b"live\0", b"hb\0", Ok("live/hb")),
            (b"live", b"hb\0?x", Ok("live/hb")),
            (b"live", b"/hb", slash(5)),
            (b"live", b"hb/", slash(7)),
            (b"live//", b"hb", slash(4)),
            (b"/live", b"hb", slash(0)),
            (b"live/_definst_/", b"hb", slash(4)),
            (b"/_definst_", b"hb", slash(0)),
            (b"live", b"?x", Err(E::Part)),
            (b"", b"hb", Err(E::Part)),
            (b"live", b"h\xe9", Err(E::Byte { byte: 0xe9, offset: 6 })),
        ];
        for (app, name, expected) in table {
            let found = StreamKey::from_rtmp(app, name);
            assert_eq!(found.as_ref().map(StreamKey::as_str), expected.as_ref().map(|s| *s), "{app:?} {name:?}");
        }
    }

    #[test]
    fn what_is_shown_of_a_name_tells_no_password() {
        assert_eq!(StreamKey::as_asked("live?key=SECRET/", "a:b?key=SECRET"), "live/a:b");
        assert_eq!(StreamKey::as_asked("live", b"h\xe9\n"), "live/h\\xe9\\n");
        assert_eq!(StreamKey::as_asked("live", "x".repeat(7000)).len(), SHOWN + 3);
    }

    #[test]
    fn refusals() {
        use StreamKeyError as E;
        let parse = |text: &str| text.parse::<StreamKey>().unwrap_err();
        assert_eq!(parse("live"), E::Part);
        assert_eq!(parse("/hb"), E::Part);
        assert_eq!(parse("live/"), E::Part);
        assert_eq!(parse("live/a b"), E::Byte { byte: b' ', offset: 6 });
        assert_eq!(parse("live/a/b"), E::Byte { byte: b'/', offset: 6 });
        assert_eq!(parse("live/a\n"), E::Byte { byte: b'\n', offset: 6 });
        assert_eq!(parse("live/ä"), E::Byte { byte: 0xc3, offset: 5 });
        assert_eq!(parse(&format!("live/{}", "a".repeat(59))), E::TooLong(64));
        assert!(format!("live/{}", "a".repeat(58)).parse::<StreamKey>().is_ok());
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_refused_and_a_key_is_its_text(text in "\\PC*") {
            if let Ok(key) = text.parse::<StreamKey>() {
                prop_assert_eq!(key.to_string(), text);
                prop_assert_eq!(StreamKey::new(key.app(), key.name()).unwrap(), key);
            }
        }
    }
}

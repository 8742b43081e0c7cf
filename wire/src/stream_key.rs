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
        if app.is_empty() || name.is_empty() {
            return Err(StreamKeyError::Part);
        }
        let len = app.len().saturating_add(name.len()).saturating_add(1);
        if len > Self::MAX_LEN {
            return Err(StreamKeyError::TooLong(len));
        }
        let text = format!("{app}/{name}");
        let slash = app.len();
        for (offset, byte) in text.bytes().enumerate() {
            if offset != slash && !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) {
                return Err(StreamKeyError::Byte { byte, offset });
            }
        }
        Ok(Self { text, slash })
    }

    /// The key as RTMP's `connect` and `play`/`publish` name it. Players and encoders append arguments
    /// (`live?token=…`) and slashes; servers ignore them, and so does this.
    ///
    /// # Errors
    /// As [`StreamKey::new`].
    pub fn from_rtmp(app: &str, name: &str) -> Result<Self, StreamKeyError> {
        fn bare(part: &str) -> &str {
            part.split('?').next().unwrap_or(part).trim_matches('/')
        }
        Self::new(bare(app), bare(name))
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
    fn what_servers_ignore_is_ignored() {
        let key = StreamKey::from_rtmp("live/?a=b", "hb?token=x/y").unwrap();
        assert_eq!(key.as_str(), "live/hb");
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

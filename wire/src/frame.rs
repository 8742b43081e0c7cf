//! The identity of a frame: XXH3-128 of its payload.

use std::fmt;
use std::str::FromStr;

/// XXH3-128 of a message's payload, in the big-endian byte order that its text shows (the "canonical representation"
/// of xxHash). Two payloads that differ have different ids but for a chance of about 2⁻¹²⁸; equal payloads have equal
/// ids, so a repeated picture is told apart by its timestamp.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrameId(pub [u8; 16]);

/// A text that is not 32 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame id is 32 lower-case hex digits")]
pub struct FrameIdError;

impl FrameId {
    /// The id of a payload.
    #[must_use]
    pub fn of(payload: &[u8]) -> Self {
        Self(xxhash_rust::xxh3::xxh3_128(payload).to_be_bytes())
    }
}

/// The same for bytes that come piece by piece.
#[derive(Clone, Default)]
pub struct Hasher(xxhash_rust::xxh3::Xxh3Default);

impl Hasher {
    /// The hash of no bytes yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next bytes of the payload.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The id of all bytes so far.
    #[must_use]
    pub fn finish(&self) -> FrameId {
        FrameId(self.0.digest128().to_be_bytes())
    }
}

impl fmt::Display for FrameId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for FrameId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FrameId({self})")
    }
}

impl FromStr for FrameId {
    type Err = FrameIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 32 || !text.bytes().all(digit) {
            return Err(FrameIdError);
        }
        u128::from_str_radix(text, 16).map(|n| Self(n.to_be_bytes())).map_err(|_| FrameIdError)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_known_hash() {
        // What `xxhsum -H2` prints for an empty file.
        assert_eq!(FrameId::of(b"").to_string(), "99aa06d3014798d86001c324468d497f");
    }

    #[test]
    fn refusals() {
        for text in ["", "9", "99AA06D3014798D86001C324468D497F", "+9aa06d3014798d86001c324468d497f"] {
            assert_eq!(text.parse::<FrameId>(), Err(FrameIdError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_round_trip(bytes: [u8; 16]) {
            prop_assert_eq!(FrameId(bytes).to_string().parse(), Ok(FrameId(bytes)));
        }
    }
}

//! The header that all messages of all versions begin with, and the cutting of a stream into messages.

use super::bytes::{u8_at, u16_at, u32_at};
use super::{ParseError, TooLong};

/// Length of the header in bytes: version, type, length, transaction id.
pub const HEADER_LEN: usize = 8;

/// What a header says (1.0 section 5.1, 1.3 section 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Version of the protocol: 1 for 1.0, 4 for 1.3.
    pub version: u8,
    /// Type of the message: `OFPT_…`, whose numbers depend on the version.
    pub kind: u8,
    /// Bytes of the whole message, this header included.
    pub length: u16,
    /// Transaction id, which an answer repeats.
    pub xid: u32,
}

impl Header {
    /// Reads the header at the beginning of `bytes`; `None` when it is not there whole.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        (bytes.len() >= HEADER_LEN).then(|| Self {
            version: u8_at(bytes, 0),
            kind: u8_at(bytes, 1),
            length: u16_at(bytes, 2),
            xid: u32_at(bytes, 4),
        })
    }
}

/// The first message of a stream, if it is there whole.
///
/// # Errors
/// When its length is less than a header's: where the next message begins cannot be known.
pub fn next(stream: &[u8]) -> Result<Option<&[u8]>, ParseError> {
    match Header::parse(stream) {
        None => Ok(None),
        Some(header) if usize::from(header.length) < HEADER_LEN => Err(ParseError::HeaderLength(header.length)),
        Some(header) => Ok(stream.get(..usize::from(header.length))),
    }
}

/// Appends a header whose length [`set_length`] fills in.
pub(super) fn emit(version: u8, kind: u8, xid: u32, out: &mut Vec<u8>) {
    let [a, b, c, d] = xid.to_be_bytes();
    out.extend_from_slice(&[version, kind, 0, 0, a, b, c, d]);
}

/// Writes the length of the message that begins at `start` and ends with `out`.
pub(super) fn set_length(out: &mut Vec<u8>, start: usize) -> Result<(), TooLong> {
    let length = out.len() - start;
    match (u16::try_from(length), out.get_mut(start + 2..start + 4)) {
        (Ok(length), Some(field)) => {
            field.copy_from_slice(&length.to_be_bytes());
            Ok(())
        }
        _ => {
            out.truncate(start);
            Err(TooLong(length))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn cuts_messages_off_only_when_they_are_whole() {
        let stream = [1, 2, 0, 10, 0, 0, 0, 7, 0xaa, 0xbb, 1, 3, 0, 8];
        for end in 0..10 {
            assert_eq!(next(&stream[..end]), Ok(None));
        }
        assert_eq!(next(&stream).unwrap().unwrap(), &stream[..10]);
        assert_eq!(next(&stream[10..]), Ok(None));
    }

    #[test]
    fn a_length_below_the_headers_ends_the_stream() {
        for length in 0..8 {
            assert_eq!(next(&[1, 0, 0, length, 0, 0, 0, 0]), Err(ParseError::HeaderLength(length.into())));
        }
    }
}

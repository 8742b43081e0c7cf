//! What can be wrong with a message, and the OpenFlow error that says so to the switch.

use super::ErrorReport;

/// Why bytes are not a message that this crate reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The length field cannot be true of any message.
    #[error("a message says it is {0} bytes long; the header alone has 8")]
    HeaderLength(u16),
    /// A message of another version than was agreed on.
    #[error("a message of wire version {0:#04x}, which was not agreed on")]
    Version(u8),
    /// A message type that the version does not have, or that a switch must not send.
    #[error("message type {0} is not allowed here")]
    Type(u8),
    /// Too short, too long, or not made of whole parts.
    #[error("{what} of {length} bytes; {expected}")]
    Length {
        /// Which message or part of it.
        what: &'static str,
        /// Length that was found, in bytes.
        length: usize,
        /// The length that it should have, in words.
        expected: &'static str,
    },
    /// A field whose value has no meaning.
    #[error("{what} has {field} {value:#x}, which has no meaning there")]
    Value {
        /// Which message or part of it.
        what: &'static str,
        /// Name of the field.
        field: &'static str,
        /// Value of the field.
        value: u64,
    },
    /// Right by the specification, but nothing that this crate can hold.
    #[error("{what} with {field} {value:#x} is not supported")]
    Unsupported {
        /// Which message or part of it.
        what: &'static str,
        /// Name of the field.
        field: &'static str,
        /// Value of the field.
        value: u64,
    },
}

/// Type of an error about a request (OFPET_BAD_REQUEST), in both versions.
const BAD_REQUEST: u16 = 1;

impl ParseError {
    /// The error message that tells the switch; `data` is the offending message, of which the first 64 bytes are sent
    /// back (1.0 section 5.4.4, 1.3 section 7.5.4).
    #[must_use]
    pub fn report<'a>(&self, data: &'a [u8]) -> ErrorReport<'a> {
        let code = match self {
            ParseError::Version(_) => 0,
            ParseError::Type(_) => 1,
            ParseError::HeaderLength(_) | ParseError::Length { .. } => 6,
            // OFPBRC_BAD_TYPE is the nearest that both versions have.
            ParseError::Value { .. } | ParseError::Unsupported { .. } => 1,
        };
        ErrorReport { kind: BAD_REQUEST, code, data: data.get(..64).unwrap_or(data) }
    }
}

/// A message does not fit the header's 16-bit length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of {0} bytes; OpenFlow has room for 65535")]
pub struct TooLong(pub usize);

//! OpenFlow: messages as values, and the two versions of their bytes.
//!
//! [`Message`] and its parts say what is meant, in one form for both versions. [`v10`] (OpenFlow Switch Specification
//! 1.0.0, wire version 0x01) and [`v13`] (1.3.5, wire version 0x04) turn them into bytes and back; [`Version`]
//! chooses. `alike` is what the two have in common. [`header`] cuts a stream of bytes into messages, [`hello`] is how
//! both sides agree on a version.
//!
//! Reading is strict: each layout has a view whose `new_checked` verifies lengths before anything is looked at, and a
//! value can only hold what is supported. What cannot be read comes with the OpenFlow error that tells the switch.

mod alike;
mod bytes;
mod error;
mod flow_match;
pub mod header;
pub mod hello;
mod message;
mod port;
pub mod v10;
pub mod v13;

#[cfg(test)]
pub(crate) mod captured;
#[cfg(test)]
mod tests;

pub use error::{ParseError, TooLong};
pub use flow_match::{FlowMatch, Ipv4Prefix, Vlan};
pub use header::{HEADER_LEN, Header};
pub use hello::Versions;
pub use message::{
    BufferId, Command, Config, ErrorReport, Features, FlowMod, FlowRemoved, Message, PacketIn, PacketInReason,
    PacketOut, PortStatus, PortStatusReason, Removal,
};
pub use port::{Port, PortNo};

/// A version of OpenFlow that this crate speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// OpenFlow 1.0, wire version 1.
    V10,
    /// OpenFlow 1.3, wire version 4.
    V13,
}

impl Version {
    /// The version byte of its messages: 1 or 4.
    #[must_use]
    pub fn wire(self) -> u8 {
        match self {
            Version::V10 => 0x01,
            Version::V13 => 0x04,
        }
    }

    /// `1.0` or `1.3`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Version::V10 => "1.0",
            Version::V13 => "1.3",
        }
    }

    /// Whether messages of this type go from controllers to switches only.
    #[must_use]
    pub fn is_for_switches(self, kind: u8) -> bool {
        match self {
            Version::V10 => v10::is_for_switches(kind),
            Version::V13 => v13::is_for_switches(kind),
        }
    }

    /// Reads one whole message, as [`header::next`] cut it off, and its transaction id.
    ///
    /// # Errors
    /// When the message is of another version, or not what the specification says.
    pub fn parse(self, message: &[u8]) -> Result<(u32, Message<'_>), ParseError> {
        match self {
            Version::V10 => v10::parse(message),
            Version::V13 => v13::parse(message),
        }
    }

    /// Appends the bytes of a message to `out`.
    ///
    /// # Errors
    /// When it does not fit the format's 65,535 bytes; `out` is then as it was.
    pub fn emit(self, message: &Message<'_>, xid: u32, out: &mut Vec<u8>) -> Result<(), TooLong> {
        let start = out.len();
        match self {
            Version::V10 => v10::emit(message, xid, out),
            Version::V13 => v13::emit(message, xid, out),
        }
        header::set_length(out, start)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.pad(self.as_str())
    }
}

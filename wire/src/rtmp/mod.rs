//! RTMP's handshake and chunk stream (Adobe's Real Time Messaging Protocol 1.0, sections 5.2 to 5.4), either
//! direction.
//!
//! [`Reader`] turns the bytes of one direction into [`Message`]s, [`Writer`] does the reverse. Neither answers
//! anything: the reader looks over the shoulder of a server and a client.

mod header;
mod reader;
mod writer;

use std::ops::Range;

pub use reader::{Counts, Limits, Media, Problem, Reader, RtmpError};
pub use writer::{Header, Writer, WriterError};

/// TCP port of RTMP servers (section 5.1 names 1935, as IANA does).
pub const PORT: u16 = 1935;
/// Length of a direction's handshake in bytes: version (C0 or S0), C1 or S1, C2 or S2 (section 5.2). The digest
/// handshake that Flash introduced has the same lengths.
pub const HANDSHAKE_LEN: u64 = 1 + 1536 + 1536;
/// The version byte of plain RTMP (section 5.2.2). RTMPE, which is encrypted, has 6 there.
pub const VERSION: u8 = 3;
/// Chunk size before either side sets another (section 5.4.1).
pub const DEFAULT_CHUNK_SIZE: u32 = 128;

/// Message types (sections 5.4 and 7.1).
pub mod kind {
    /// Sets how many payload bytes a chunk has from now on.
    pub const SET_CHUNK_SIZE: u8 = 1;
    /// Asks to end an incomplete message of a chunk stream.
    pub const ABORT: u8 = 2;
    /// How many bytes the receiver has had.
    pub const ACKNOWLEDGEMENT: u8 = 3;
    /// User control: stream begin and end, ping, buffer length.
    pub const USER_CONTROL: u8 = 4;
    /// After how many bytes an acknowledgement is wanted.
    pub const WINDOW_SIZE: u8 = 5;
    /// How many bytes may be sent without an acknowledgement.
    pub const PEER_BANDWIDTH: u8 = 6;
    /// Audio; the payload is that of an FLV tag.
    pub const AUDIO: u8 = 8;
    /// Video; the payload is that of an FLV tag.
    pub const VIDEO: u8 = 9;
    /// Data in AMF3: metadata and the like.
    pub const DATA_AMF3: u8 = 15;
    /// Command in AMF3, which begins with a zero byte and goes on in AMF0.
    pub const COMMAND_AMF3: u8 = 17;
    /// Data in AMF0: metadata and the like.
    pub const DATA_AMF0: u8 = 18;
    /// Command in AMF0.
    pub const COMMAND_AMF0: u8 = 20;
    /// Several messages in one (section 7.1.6).
    pub const AGGREGATE: u8 = 22;
}

/// One message, put together from its chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// Message type id, one of [`kind`] or unknown.
    pub kind: u8,
    /// Message stream id; 0 is the control stream.
    pub stream_id: u32,
    /// Id of the chunk stream that it came on.
    pub chunk_stream: u32,
    /// Timestamp in milliseconds, absolute, modulo 2³².
    pub timestamp: u32,
    /// Bytes of the whole payload, also of what is not in `payload`.
    pub length: u32,
    /// The payload, or its beginning: see [`Message::is_whole`].
    pub payload: &'a [u8],
    /// Where its chunks lie in the direction's bytes, headers included, in order. Chunks that follow on each other
    /// are one span; more than one when another message's chunks lie between.
    pub spans: &'a [Range<u64>],
}

impl Message<'_> {
    /// Whether `payload` is all of it: neither shortened, as [`Media`] asks for, nor cut at a hole in the
    /// stream.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.payload.len() as u64 == u64::from(self.length)
    }

    /// From its first chunk's header to the end of its last chunk. Other messages' chunks may lie within.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        let start = self.spans.first().map_or(0, |span| span.start);
        start..self.spans.last().map_or(start, |span| span.end)
    }
}

#[cfg(test)]
mod tests;

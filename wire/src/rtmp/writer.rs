//! Writes messages as chunks.

use std::collections::HashMap;

use super::{DEFAULT_CHUNK_SIZE, kind};

/// Writes messages as chunks, with the shortest header that the one before on the same chunk stream allows.
#[derive(Debug, Clone)]
pub struct Writer {
    chunk_size: u32,
    repeat_extended: bool,
    last: HashMap<u32, Last>,
}

/// What a message has beside its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Chunk stream id to send it on, 2 to 65599.
    pub chunk_stream: u32,
    /// Message type id, one of [`kind`].
    pub kind: u8,
    /// Message stream id; 0 is the control stream.
    pub stream_id: u32,
    /// Timestamp in milliseconds, absolute.
    pub timestamp: u32,
}

/// Why a message cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriterError {
    /// The chunk stream id is not from 2 to 65599.
    #[error("chunk stream ids are 2 to 65599, not {0}")]
    ChunkStream(u32),
    /// The payload has this many bytes, more than 2²⁴ − 1.
    #[error("a message has at most 16777215 bytes, this has {0}")]
    TooLong(usize),
    /// The chunk size is not from 1 to 2³¹ − 1.
    #[error("chunk sizes are 1 to 2147483647, not {0}")]
    ChunkSize(u32),
}

#[derive(Debug, Clone, Copy)]
struct Last {
    header: Header,
    length: u32,
    field: u32,
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

impl Writer {
    /// A writer after the handshake.
    #[must_use]
    pub fn new() -> Self {
        Self { chunk_size: DEFAULT_CHUNK_SIZE, repeat_extended: true, last: HashMap::new() }
    }

    /// For who puts messages of its own between those of another sender whose chunks have this size. It must use a
    /// chunk stream that the other does not.
    #[must_use]
    pub fn with_chunk_size(self, size: u32) -> Self {
        Self { chunk_size: size.max(1), ..self }
    }

    /// As those implementations do that leave extended timestamps out of type-3 chunks.
    #[must_use]
    pub fn without_repeated_extended_timestamps(self) -> Self {
        Self { repeat_extended: false, ..self }
    }

    /// Appends a Set Chunk Size message and uses that size from then on.
    ///
    /// # Errors
    /// When the size is not allowed.
    pub fn set_chunk_size(&mut self, size: u32, out: &mut Vec<u8>) -> Result<(), WriterError> {
        if size == 0 || size > i32::MAX as u32 {
            return Err(WriterError::ChunkSize(size));
        }
        let header = Header { chunk_stream: 2, kind: kind::SET_CHUNK_SIZE, stream_id: 0, timestamp: 0 };
        self.write(header, &size.to_be_bytes(), out)?;
        self.chunk_size = size;
        Ok(())
    }

    /// Appends a message.
    ///
    /// # Errors
    /// When it cannot be written; `out` is then as it was.
    pub fn write(&mut self, header: Header, payload: &[u8], out: &mut Vec<u8>) -> Result<(), WriterError> {
        for chunk in self.chunks(header, payload)? {
            out.extend_from_slice(&chunk);
        }
        Ok(())
    }

    /// The chunks of a message, for who wants to interleave them with others. Messages of one chunk stream must
    /// follow each other.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn chunks(&mut self, header: Header, payload: &[u8]) -> Result<Vec<Vec<u8>>, WriterError> {
        let id = header.chunk_stream;
        let length = u32::try_from(payload.len()).ok().filter(|length| *length < 1 << 24);
        let length = length.ok_or(WriterError::TooLong(payload.len()))?;
        basic_header(0, id, &mut Vec::new())?;

        let (format, field) = match self.last.get(&id) {
            Some(last) if last.header.stream_id == header.stream_id && header.timestamp >= last.header.timestamp => {
                let delta = header.timestamp - last.header.timestamp;
                let format = match (last.length, last.header.kind, last.field) {
                    (l, k, f) if (l, k, f) == (length, header.kind, delta) => 3,
                    (l, k, _) if (l, k) == (length, header.kind) => 2,
                    _ => 1,
                };
                (format, delta)
            }
            _ => (0, header.timestamp),
        };
        self.last.insert(id, Last { header, length, field });

        let mut parts = payload.chunks(self.chunk_size as usize);
        let mut chunk = Vec::new();
        basic_header(format, id, &mut chunk)?;
        let short = field.min(0xff_ffff);
        if format < 3 {
            chunk.extend_from_slice(short.to_be_bytes().get(1..).unwrap_or_default());
        }
        if format < 2 {
            chunk.extend_from_slice(length.to_be_bytes().get(1..).unwrap_or_default());
            chunk.push(header.kind);
        }
        if format < 1 {
            chunk.extend_from_slice(&header.stream_id.to_le_bytes());
        }
        if short == 0xff_ffff && (format < 3 || self.repeat_extended) {
            chunk.extend_from_slice(&field.to_be_bytes());
        }
        chunk.extend_from_slice(parts.next().unwrap_or_default());
        let mut chunks = vec![chunk];
        for part in parts {
            let mut chunk = Vec::new();
            basic_header(3, id, &mut chunk)?;
            if short == 0xff_ffff && self.repeat_extended {
                chunk.extend_from_slice(&field.to_be_bytes());
            }
            chunk.extend_from_slice(part);
            chunks.push(chunk);
        }
        Ok(chunks)
    }
}

/// Section 5.3.1.1.
fn basic_header(format: u8, chunk_stream: u32, out: &mut Vec<u8>) -> Result<(), WriterError> {
    let format = format << 6;
    match chunk_stream {
        2..64 => out.push(format | chunk_stream as u8),
        64..320 => out.extend([format, (chunk_stream - 64) as u8]),
        320..65600 => {
            let [low, high, ..] = (chunk_stream - 64).to_le_bytes();
            out.extend([format | 1, low, high]);
        }
        _ => return Err(WriterError::ChunkStream(chunk_stream)),
    }
    Ok(())
}

//! A chunk's header (section 5.3.1).

/// A chunk header, read but not yet acted on.
pub(super) struct ChunkHeader {
    /// Bytes of the chunk header.
    pub len: usize,
    /// Chunk type, 0 to 3.
    pub format: u8,
    pub chunk_stream: u32,
    /// Timestamp or delta, extended or not; of types 0 to 2.
    pub field: u32,
    pub extended: bool,
    /// Length and type of the message; of types 0 and 1.
    pub what: Option<(u32, u8)>,
    /// Id of the message stream; of type 0.
    pub stream_id: Option<u32>,
}

/// Basic header, message header and extended timestamp at their longest.
pub(super) const MAX_HEADER: usize = 3 + 11 + 4;
/// What the 24-bit timestamp field holds when the extended one follows.
const EXTENDED: u32 = 0xff_ffff;

impl ChunkHeader {
    /// Reads the header that `bytes` begin with; `None` when its end has not come. `extended` says what the extended
    /// timestamp field was last on a chunk stream, if it was there.
    pub fn parse(bytes: &[u8], extended: impl Fn(u32) -> Option<u32>) -> Option<Self> {
        let first = *bytes.first()?;
        let (format, short) = (first >> 6, u32::from(first & 0x3f));
        let (chunk_stream, basic) = match short {
            0 => (64 + u32::from(*bytes.get(1)?), 2),
            1 => (64 + u32::from(*bytes.get(1)?) + 256 * u32::from(*bytes.get(2)?), 3),
            id => (id, 1),
        };
        let rest = bytes.get(basic..)?;
        let be24 = |at: usize| Some(u32::from_be_bytes([0, *rest.get(at)?, *rest.get(at + 1)?, *rest.get(at + 2)?]));
        let what = if format <= 1 { Some((be24(3)?, *rest.get(6)?)) } else { None };
        let stream_id = if format == 0 { Some(u32::from_le_bytes(*rest.get(7..)?.first_chunk()?)) } else { None };
        let message = [11, 7, 3, 0].get(usize::from(format)).copied()?;
        let field = if format < 3 { be24(0)? } else { 0 };
        let after = rest.get(message..)?;
        let len = basic + message;
        let mut header = Self { len, format, chunk_stream, field, extended: false, what, stream_id };
        if format < 3 && field == EXTENDED {
            header.field = u32::from_be_bytes(*after.first_chunk()?);
            header.extended = true;
            header.len += 4;
        } else if format == 3
            && let Some(expected) = extended(chunk_stream)
            && after.iter().zip(expected.to_be_bytes()).all(|(a, b)| *a == b)
        {
            after.first_chunk::<4>()?;
            header.len += 4;
        }
        Some(header)
    }
}

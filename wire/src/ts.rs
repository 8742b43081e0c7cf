//! MPEG-2 transport streams, as far as it takes to find the pictures in them (ITU-T H.222.0): packets of 188 bytes,
//! and the PES packets that the video's make.
//!
//! A PES packet of video is one access unit here, as nginx-rtmp and ffmpeg write it. It is over when it is as long as
//! it says; where it does not say so (0, allowed for video), when the next one of the same PID begins, or the stream
//! ends. Its last byte is the last of its last packet, for stuffing stands before the payload.

use std::ops::Range;

/// Bytes of a transport stream packet.
pub const PACKET: usize = 188;
/// The first byte of every packet.
pub const SYNC: u8 = 0x47;
/// Bytes of a PES packet at most: more than an FLV tag can hold.
const MAX_UNIT: usize = 1 << 24;
/// `stream_id` of video (table 2-22): 0xe0 to 0xef.
const VIDEO: u8 = 0xe0;
/// Ticks of the PES time stamps' clock in a millisecond.
const TICKS: u64 = 90;

/// Where reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a transport stream at byte {offset}: a packet begins with {found:#04x}, not 0x47")]
pub struct TsError {
    /// Stream offset of the packet.
    pub offset: u64,
    /// Its first byte, which is not [`SYNC`].
    pub found: u8,
}

/// A PES packet of the video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit<'a> {
    /// When it is to be decoded, in milliseconds, of 33 bits of ticks.
    pub timestamp_ms: u32,
    /// Its bytes behind the PES header: an access unit.
    pub payload: &'a [u8],
    /// Where in the stream its packets lie, headers included.
    pub spans: &'a [Range<u64>],
}

/// A PES packet of the video, as it is handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Video<'a> {
    /// A whole PES packet.
    Whole(Unit<'a>),
    /// One of which bytes are missing, or that is none.
    Damaged,
}

/// Reads a stream that is pushed to it in pieces of any size. It holds one PES packet at most. The video is that of
/// the first PID that has any.
#[derive(Debug, Clone, Default)]
pub struct Reader {
    packet: Vec<u8>,
    /// Stream offset of what is in `packet`.
    packet_at: u64,
    /// Bytes to pass over, up to where a packet begins.
    passing: usize,
    pid: Option<u16>,
    unit: Option<Building>,
    failed: Option<TsError>,
}

#[derive(Debug, Clone, Default)]
struct Building {
    bytes: Vec<u8>,
    spans: Vec<Range<u64>>,
    is_damaged: bool,
}

impl Reader {
    /// A reader at the beginning of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes, which lie at `offset`, and hands on the video that they complete.
    ///
    /// # Errors
    /// When a packet begins with another byte than it must; from then on always.
    pub fn push(
        &mut self,
        mut bytes: &[u8],
        mut offset: u64,
        mut deliver: impl FnMut(Video<'_>),
    ) -> Result<(), TsError> {
        self.failed.map_or(Ok(()), Err)?;
        while !bytes.is_empty() {
            let taken = if self.passing > 0 {
                let here = self.passing.min(bytes.len());
                self.passing -= here;
                here
            } else {
                if self.packet.is_empty() {
                    self.packet_at = offset;
                }
                let here = (PACKET - self.packet.len()).min(bytes.len());
                self.packet.extend(bytes.iter().take(here));
                here
            };
            bytes = bytes.get(taken..).unwrap_or_default();
            offset += taken as u64;
            if let Some(&found) = self.packet.first().filter(|first| **first != SYNC) {
                let error = TsError { offset: self.packet_at, found };
                *self = Self { failed: Some(error), ..Self::default() };
                return Err(error);
            }
            if self.packet.len() == PACKET {
                let packet = std::mem::take(&mut self.packet);
                self.take(&packet, self.packet_at..offset, &mut deliver);
                self.packet = packet;
                self.packet.clear();
            }
        }
        Ok(())
    }

    /// Says that the next `bytes` bytes of the stream will not come: what they were of is damaged.
    pub fn hole(&mut self, bytes: u64) {
        let known = self.packet.len() as u64;
        // Up to where the next packet begins. If some of one are passed over already, those missing may reach
        // further.
        let from = if self.passing > 0 { PACKET as u64 - self.passing as u64 } else { known };
        let within = (from + bytes % PACKET as u64) % PACKET as u64;
        self.passing = if within == 0 { 0 } else { PACKET - within as usize };
        self.packet.clear();
        self.unit.get_or_insert_default().is_damaged = true;
    }

    /// The stream is over: hands on what it ended with.
    pub fn end(&mut self, mut deliver: impl FnMut(Video<'_>)) {
        if let Some(unit) = self.unit.as_mut().filter(|_| !self.packet.is_empty()) {
            unit.is_damaged = true;
        }
        self.finish(&mut deliver);
        *self = Self { failed: self.failed, ..Self::default() };
    }

    /// Offset of the oldest byte that something is still to be made of; `None`: of none that has come.
    #[must_use]
    pub fn oldest(&self) -> Option<u64> {
        let unit = self.unit.as_ref().and_then(|unit| unit.spans.first()).map(|span| span.start);
        unit.or((!self.packet.is_empty()).then_some(self.packet_at))
    }

    fn take(&mut self, packet: &[u8], span: Range<u64>, deliver: &mut impl FnMut(Video<'_>)) {
        let &[_, flags, pid, control, adaptation, ..] = packet else { return };
        let (begins, pid) = (flags & 0x40 != 0, u16::from(flags & 0x1f) << 8 | u16::from(pid));
        let payload = match control >> 4 & 3 {
            1 => packet.get(4..),
            3 => packet.get(5 + usize::from(adaptation)..),
            _ => None,
        };
        let payload = payload.unwrap_or_default();
        let is_video = match self.pid {
            Some(video) => video == pid,
            // A PES packet may begin in so few bytes that it does not say what it is of; none does that is written
            // here.
            None => begins && matches!(payload, [0, 0, 1, id, ..] if id & 0xf0 == VIDEO),
        };
        if !is_video {
            return;
        }
        self.pid = Some(pid);
        if begins {
            self.finish(deliver);
            self.unit = Some(Building::default());
        }
        // What came before the first that was seen to begin is of one that was not.
        let Some(unit) = &mut self.unit else { return };
        if unit.bytes.len() + payload.len() > MAX_UNIT {
            unit.is_damaged = true;
        }
        if unit.is_damaged {
            return;
        }
        unit.bytes.extend_from_slice(payload);
        match unit.spans.last_mut().filter(|last| last.end == span.start) {
            Some(last) => last.end = span.end,
            None => unit.spans.push(span),
        }
        if length(&unit.bytes).is_some_and(|length| unit.bytes.len() >= length) {
            self.finish(deliver);
        }
    }

    fn finish(&mut self, deliver: &mut impl FnMut(Video<'_>)) {
        let Some(Building { bytes, spans, is_damaged }) = self.unit.take() else { return };
        match pes(&bytes).filter(|_| !is_damaged) {
            Some((timestamp_ms, payload)) => deliver(Video::Whole(Unit { timestamp_ms, payload, spans: &spans })),
            None => deliver(Video::Damaged),
        }
    }
}

/// How long a PES packet is with its header, if it says so (2.4.3.7).
fn length(bytes: &[u8]) -> Option<usize> {
    let &[_, _, _, _, high, low, ..] = bytes else { return None };
    Some(usize::from(u16::from_be_bytes([high, low]))).filter(|length| *length > 0).map(|length| 6 + length)
}

/// Time and payload of a PES packet (2.4.3.6).
fn pes(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let &[0, 0, 1, _, _, _, _, flags, header, ..] = bytes else { return None };
    let payload = bytes.get(9 + usize::from(header)..length(bytes).unwrap_or(bytes.len()))?;
    let at = match flags >> 6 {
        2 => 9,
        // With a time of decoding of its own, which stands behind.
        3 => 14,
        _ => return None,
    };
    let &[a, b, c, d, e] = bytes.get(at..at + 5)?.first_chunk::<5>()?;
    let [a, b, c, d, e] = [a, b, c, d, e].map(u64::from);
    let ticks = (a >> 1 & 7) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1;
    Some((u32::try_from(ticks / TICKS).unwrap_or(u32::MAX), payload))
}

#[cfg(test)]
#[path = "ts_tests.rs"]
mod tests;

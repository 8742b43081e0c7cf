//! One direction of a TCP connection, put together from its segments as a capture or a switch saw them (RFC 9293,
//! section 3.4).
//!
//! [`Assembler`] hands on each byte once, in order, from where it lies: a segment that comes in order is not copied.
//! Segments that come early wait, bounded, until the gap before them is filled or its owner gives it up. [`Arrivals`]
//! remembers when each byte was first there, which for a byte that waited is before it could be handed on.

mod arrivals;

use std::collections::BTreeMap;
use std::ops::Range;

pub use arrivals::{Arrivals, Span};

/// A TCP segment, as a capture or a switch saw it.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    /// Sequence number of the SYN, or of the first byte of the payload.
    pub seq: u32,
    /// SYN flag; it takes one sequence number before the payload.
    pub syn: bool,
    /// FIN flag; it takes one sequence number behind the payload.
    pub fin: bool,
    /// The payload, as far as it was captured.
    pub payload: &'a [u8],
    /// When it was seen, in nanoseconds of any clock.
    pub time: i64,
}

/// Bytes of the stream, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// Where they lie in the stream. Follows on the chunk before unless a gap was skipped.
    pub offset: u64,
    /// The bytes, where they lie in the segment or waited; never empty.
    pub bytes: &'a [u8],
    /// When they were first seen, in nanoseconds of the segments' clock.
    pub time: i64,
}

/// What happened to the bytes of a direction so far. A byte is counted each time it is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Bytes that were handed on.
    pub delivered: u64,
    /// Seen before, in segments that held nothing new.
    pub retransmitted: u64,
    /// Seen before, in segments that also held something new.
    pub overlapping: u64,
    /// New, but ahead of a gap when they came.
    pub out_of_order: u64,
    /// Before the first segment seen of a connection met midway.
    pub before_start: u64,
    /// New, but dropped because too much was waiting.
    pub refused: u64,
    /// Never seen: in gaps that were skipped. Should they come after all, they count as retransmitted.
    pub missing: u64,
}

/// The limit on waiting bytes is reached; the segment's new bytes were dropped, as if the capture had lost them.
/// Skipping the gap makes room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{waiting} bytes are waiting behind a gap of {gap} bytes; no more are kept")]
pub struct Full {
    /// Bytes that wait behind the gap.
    pub waiting: usize,
    /// Bytes of the gap that they wait for.
    pub gap: u64,
}

/// Puts one direction of a connection together.
#[derive(Debug, Clone)]
pub struct Assembler {
    limit: usize,
    start: Option<Start>,
    /// Stream offset of the next byte to hand on.
    next: u64,
    /// What came early, by stream offset; no two overlap.
    waiting: BTreeMap<u64, Piece>,
    /// Payload bytes in `waiting`.
    waiting_bytes: usize,
    /// Buffers of pieces that were handed on, to be used again.
    spare: Vec<Vec<u8>>,
    end: Option<u64>,
    counts: Counts,
}

#[derive(Debug, Clone, Copy)]
struct Start {
    /// Sequence number of stream offset 0.
    seq: u32,
    syn_seen: bool,
}

#[derive(Debug, Clone)]
struct Piece {
    bytes: Vec<u8>,
    time: i64,
}

/// What a waiting piece costs beside its bytes: so that many tiny ones are bounded too.
const PIECE_COST: usize = 96;
/// Buffers kept for use again, if they are within the limit, and how large they may be.
const SPARES: usize = 64;
const MAX_SPARE: usize = 4 << 10;

impl Assembler {
    /// For a direction of which nothing was seen yet. At most about `limit` bytes of memory are used for bytes that
    /// came early.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            start: None,
            next: 0,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            spare: Vec::new(),
            end: None,
            counts: Counts::default(),
        }
    }

    /// Takes the next segment and hands on what is now in order. The stream begins after the SYN, or, if the first
    /// segment seen is another one, with that one's first byte.
    ///
    /// # Errors
    /// When the segment is ahead of a gap and there is no room for it.
    pub fn push(&mut self, segment: &Segment<'_>, mut deliver: impl FnMut(Chunk<'_>)) -> Result<(), Full> {
        let seq = segment.seq.wrapping_add(u32::from(segment.syn));
        self.start.get_or_insert(Start { seq, syn_seen: segment.syn });
        let ahead = self.ahead(segment).unwrap_or(0);
        let len = segment.payload.len();
        if segment.fin && self.end.is_none() {
            let end = (self.next as i64).saturating_add(ahead).saturating_add(len as i64);
            self.end = u64::try_from(end).ok();
        }
        if len == 0 {
            return Ok(());
        }
        if let Ok(gap @ 1..) = u64::try_from(ahead) {
            return self.keep(self.next.saturating_add(gap), segment);
        }
        let behind = ahead.unsigned_abs();
        self.counts.before_start += behind.saturating_sub(self.next).min(len as u64);
        let known = usize::try_from(behind).unwrap_or(usize::MAX).min(len);
        if known == len {
            self.counts.retransmitted += len as u64;
            return Ok(());
        }
        self.counts.overlapping += known as u64;
        let new = segment.payload.get(known..).unwrap_or_default();
        self.hand_on(new, segment.time, &mut deliver);
        self.drain(&mut deliver);
        Ok(())
    }

    /// Hands on bytes that begin at `next`, and what waited among them in its own time.
    fn hand_on(&mut self, mut new: &[u8], time: i64, deliver: &mut impl FnMut(Chunk<'_>)) {
        while !new.is_empty() {
            let room = self.waiting.first_key_value().map_or(u64::MAX, |(at, _)| at.saturating_sub(self.next));
            let (now, rest) = new.split_at(usize::try_from(room).unwrap_or(usize::MAX).min(new.len()));
            if !now.is_empty() {
                deliver(Chunk { offset: self.next, bytes: now, time });
                self.advance(now.len());
            }
            let before = self.next;
            if !rest.is_empty() {
                self.drain(deliver);
            }
            let covered = usize::try_from(self.next - before).unwrap_or(usize::MAX).min(rest.len());
            self.counts.overlapping += covered as u64;
            new = rest.get(covered..).unwrap_or_default();
        }
    }

    /// Hands on what waits and is in order now.
    fn drain(&mut self, deliver: &mut impl FnMut(Chunk<'_>)) {
        while let Some(entry) = self.waiting.first_entry() {
            if *entry.key() != self.next {
                return;
            }
            let mut piece = entry.remove();
            self.waiting_bytes -= piece.bytes.len();
            deliver(Chunk { offset: self.next, bytes: &piece.bytes, time: piece.time });
            self.advance(piece.bytes.len());
            if self.spare.len() < SPARES.min(self.limit / MAX_SPARE) && piece.bytes.capacity() <= MAX_SPARE {
                piece.bytes.clear();
                self.spare.push(piece.bytes);
            }
        }
    }

    fn advance(&mut self, bytes: usize) {
        self.next += bytes as u64;
        self.counts.delivered += bytes as u64;
    }

    /// Keeps those bytes of a segment that begins at `offset`, after a gap, that are not waiting already.
    fn keep(&mut self, offset: u64, segment: &Segment<'_>) -> Result<(), Full> {
        let end = offset.saturating_add(segment.payload.len() as u64);
        let (mut at, mut known) = (offset, 0u64);
        let mut result = Ok(());
        while at < end {
            let covered =
                self.waiting.range(..=at).next_back().map(|(start, piece)| start + piece.bytes.len() as u64);
            if let Some(covered) = covered.filter(|covered| *covered > at) {
                let covered = covered.min(end);
                known += covered - at;
                at = covered;
                continue;
            }
            let until = self.waiting.range(at..end).next().map_or(end, |(start, _)| *start);
            let part = usize::try_from(at - offset).ok().zip(usize::try_from(until - offset).ok());
            let part = part.and_then(|(from, to)| segment.payload.get(from..to)).unwrap_or_default();
            if self.waiting() + part.len() + PIECE_COST > self.limit {
                self.counts.refused += part.len() as u64;
                let gap = self.gap().map_or(at - self.next, |gap| gap.end - gap.start);
                result = Err(Full { waiting: self.waiting_bytes, gap });
            } else {
                let mut bytes = self.spare.pop().unwrap_or_default();
                bytes.extend_from_slice(part);
                self.waiting_bytes += part.len();
                self.counts.out_of_order += part.len() as u64;
                self.waiting.insert(at, Piece { bytes, time: segment.time });
            }
            at = until;
        }
        if known == end - offset {
            self.counts.retransmitted += known;
        } else {
            self.counts.overlapping += known;
        }
        result
    }

    /// The bytes that are missing before the next ones that are there, or before the end that a FIN announced.
    #[must_use]
    pub fn gap(&self) -> Option<Range<u64>> {
        let until = self.waiting.first_key_value().map(|(at, _)| *at).or(self.end)?;
        (until > self.next).then_some(self.next..until)
    }

    /// Gives up the present gap: the missing bytes will not be waited for, and what waited behind them is handed on.
    /// Says which bytes those are; `None`: there is no gap.
    pub fn skip_gap(&mut self, mut deliver: impl FnMut(Chunk<'_>)) -> Option<Range<u64>> {
        let gap = self.gap()?;
        self.counts.missing += gap.end - gap.start;
        self.next = gap.end;
        self.drain(&mut deliver);
        Some(gap)
    }

    /// By how many bytes a segment begins behind the next one to be handed on; negative: it was seen before. `None`:
    /// nothing was seen yet.
    #[must_use]
    pub fn ahead(&self, segment: &Segment<'_>) -> Option<i64> {
        let seq = segment.seq.wrapping_add(u32::from(segment.syn));
        let expected = self.start?.seq.wrapping_add(self.next as u32);
        // Half of the sequence space lies ahead, the other half behind.
        Some(i64::from(seq.wrapping_sub(expected) as i32))
    }

    /// Whether this segment begins another connection with the same addresses and ports: a SYN with another initial
    /// sequence number.
    #[must_use]
    pub fn is_restarted_by(&self, segment: &Segment<'_>) -> bool {
        segment.syn && self.start.is_some_and(|start| start.seq != segment.seq.wrapping_add(1))
    }

    /// Whether offset 0 is known to be the connection's first byte, since the SYN was seen.
    #[must_use]
    pub fn is_from_start(&self) -> bool {
        self.start.is_some_and(|start| start.syn_seen)
    }

    /// Whether everything up to the FIN was handed on.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }

    /// Whether a FIN was seen, with or without all that was before it.
    #[must_use]
    pub fn has_end(&self) -> bool {
        self.end.is_some()
    }

    /// Stream offset of the next byte to be handed on.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.next
    }

    /// Bytes of memory that segments take which came early.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting_bytes + self.waiting.len() * PIECE_COST
    }

    /// What happened to the bytes so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

#[cfg(test)]
mod tests;

//! When each byte of a stream was first there.

use std::collections::VecDeque;
use std::ops::Range;

use super::Chunk;

/// First arrival times of a stream's bytes, run-length coded by segment.
#[derive(Debug, Clone, Default)]
pub struct Arrivals {
    /// Each run reaches to the start of the next, the last one to `end`.
    runs: VecDeque<Run>,
    end: u64,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    start: u64,
    /// When they were first seen, in nanoseconds; `None`: never.
    time: Option<i64>,
}

/// From when to when bytes arrived, in nanoseconds of the segments' clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// When the first of them had arrived.
    pub first: i64,
    /// When the last missing one of them had arrived.
    pub last: i64,
}

impl Span {
    /// The span of the bytes of both.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}

impl Arrivals {
    /// Nothing has arrived.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Remembers a chunk. Chunks come in the order of their offsets; what is left out between two was never seen.
    pub fn record(&mut self, chunk: &Chunk<'_>) {
        if chunk.offset > self.end {
            self.runs.push_back(Run { start: self.end, time: None });
            self.end = chunk.offset;
        }
        if self.runs.back().is_none_or(|run| run.time != Some(chunk.time)) {
            self.runs.push_back(Run { start: self.end, time: Some(chunk.time) });
        }
        self.end = self.end.max(chunk.offset.saturating_add(chunk.bytes.len() as u64));
    }

    /// When the bytes in `range` arrived: the earliest and the latest of their first arrivals. This may be before all
    /// bytes of the stream up to there had arrived. `None` when the range is empty, or a byte of it was never seen or
    /// is forgotten.
    #[must_use]
    pub fn of(&self, range: Range<u64>) -> Option<Span> {
        if range.is_empty() || range.end > self.end {
            return None;
        }
        let after = self.runs.partition_point(|run| run.start <= range.start);
        let mut span: Option<Span> = None;
        for run in self.runs.range(after.checked_sub(1)?..) {
            if run.start >= range.end {
                break;
            }
            let time = run.time?;
            let here = Span { first: time, last: time };
            span = Some(span.map_or(here, |span| span.with(here)));
        }
        span
    }

    /// Forgets all bytes before `offset`, so that a long stream takes little memory.
    pub fn forget(&mut self, offset: u64) {
        while self.runs.get(1).is_some_and(|next| next.start <= offset) {
            self.runs.pop_front();
        }
        if let Some(first) = self.runs.front_mut() {
            first.start = first.start.max(offset.min(self.end));
        }
    }

    /// How many runs are remembered: what it costs in memory.
    #[cfg(test)]
    pub(super) fn runs(&self) -> usize {
        self.runs.len()
    }
}

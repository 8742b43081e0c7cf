//! The TCP assembler against a model of it.

use livectl_wire::assembler::{Arrivals, Assembler, Chunk, Segment};

/// What the assembler may keep.
const LIMIT: usize = 2000;

/// Each four bytes are a segment: where it begins, 16 bits; its length in units of 4; its flags and whether a gap is
/// given up. The byte at any place of the stream is the same in all segments, as it is in a connection.
///
/// What is handed on is the connection's bytes, in order, without repetition; nothing that was seen is missing unless
/// the assembler said so; each byte was first there when the first segment with it came.
pub fn assembler(data: &[u8]) {
    let Some((&isn, steps)) = data.split_first_chunk::<4>() else { return };
    let isn = u32::from_be_bytes(isn);
    let mut model = Model { base: None, next: 0, times: Vec::new(), handed_on: Vec::new() };
    let mut assembler = Assembler::new(LIMIT);
    let mut arrivals = Arrivals::new();
    let (mut sent, mut lossless) = (0, true);
    for (time, step) in steps.chunks_exact(4).enumerate() {
        let &[high, low, len, flags] = step else { return };
        let at = u32::from(u16::from_be_bytes([high, low]));
        let len = u32::from(len) * 4;
        let payload: Vec<u8> = (at..at + len).map(byte).collect();
        let syn = flags & 1 != 0;
        let seq = isn.wrapping_add(at).wrapping_sub(u32::from(syn));
        let segment = Segment { seq, syn, fin: flags & 0x82 == 0x82, payload: &payload, time: time as i64 };
        let _ = assembler.is_restarted_by(&segment);
        model.base.get_or_insert(at);
        sent += u64::from(len);
        model.seen(at, len, time as i64);
        lossless &= assembler.push(&segment, |chunk| model.take(&chunk, &mut arrivals)).is_ok();
        if flags & 0x0c == 0x0c {
            let gap = assembler.gap();
            let skipped = assembler.skip_gap(|chunk| {
                model.next = model.next.max(chunk.offset);
                model.take(&chunk, &mut arrivals);
            });
            assert_eq!(skipped, gap);
            model.next = assembler.offset();
        }
        assert_eq!(assembler.offset(), model.next);
    }
    let counts = assembler.counts();
    assert_eq!(counts.delivered, model.handed_on.iter().filter(|taken| **taken).count() as u64);
    if assembler.gap().is_none() {
        assert_eq!(counts.delivered + counts.retransmitted + counts.overlapping + counts.refused, sent);
        assert!(!lossless || counts.refused == 0);
    }
    let handed_on = (0..).zip(&model.handed_on).filter(|(_, taken)| **taken);
    for (offset, _) in handed_on.step_by(7).take(100) {
        let span = arrivals.of(offset..offset + 1);
        assert!(!lossless || span.map(|span| span.first) == model.time(offset));
    }
}

/// The byte at a place of the stream.
fn byte(at: u32) -> u8 {
    (at ^ (at >> 7)) as u8
}

struct Model {
    /// Place of stream offset 0.
    base: Option<u32>,
    next: u64,
    /// Per place, when it was first seen.
    times: Vec<Option<i64>>,
    /// By stream offset.
    handed_on: Vec<bool>,
}

impl Model {
    fn seen(&mut self, at: u32, len: u32, time: i64) {
        let end = (at + len) as usize;
        if self.times.len() < end {
            self.times.resize(end, None);
        }
        for place in self.times.get_mut(at as usize..end).unwrap_or_default() {
            place.get_or_insert(time);
        }
    }

    fn time(&self, offset: u64) -> Option<i64> {
        let place = offset + u64::from(self.base?);
        self.times.get(place as usize).copied().flatten()
    }

    fn take(&mut self, chunk: &Chunk<'_>, arrivals: &mut Arrivals) {
        assert_eq!(chunk.offset, self.next);
        assert!(!chunk.bytes.is_empty());
        let base = self.base.expect("a segment came before");
        self.handed_on.resize(chunk.offset as usize, false);
        for (offset, found) in (chunk.offset..).zip(chunk.bytes) {
            assert_eq!(*found, byte(base + offset as u32), "at {offset}");
            self.handed_on.push(true);
        }
        arrivals.record(chunk);
        self.next += chunk.bytes.len() as u64;
    }
}

#![allow(clippy::unwrap_used, clippy::expect_used)]
use proptest::prelude::*;

use super::*;

/// An assembler with what it handed on.
struct Harness {
    assembler: Assembler,
    arrivals: Arrivals,
    /// Offset, bytes, time.
    chunks: Vec<(u64, Vec<u8>, i64)>,
}

impl Harness {
    fn new() -> Self {
        Self::with_limit(1 << 20)
    }

    fn with_limit(limit: usize) -> Self {
        Self { assembler: Assembler::new(limit), arrivals: Arrivals::new(), chunks: Vec::new() }
    }

    fn segment(&mut self, segment: Segment<'_>) -> Result<(), Full> {
        let (arrivals, chunks) = (&mut self.arrivals, &mut self.chunks);
        self.assembler.push(&segment, |chunk| {
            arrivals.record(&chunk);
            chunks.push((chunk.offset, chunk.bytes.to_vec(), chunk.time));
        })
    }

    fn data(&mut self, seq: u32, payload: &[u8], time: i64) -> Result<(), Full> {
        self.segment(Segment { seq, syn: false, fin: false, payload, time })
    }

    fn syn(&mut self, seq: u32) {
        self.segment(Segment { seq, syn: true, fin: false, payload: b"", time: 0 }).unwrap();
    }

    fn skip(&mut self) -> Option<Range<u64>> {
        let (arrivals, chunks) = (&mut self.arrivals, &mut self.chunks);
        self.assembler.skip_gap(|chunk| {
            arrivals.record(&chunk);
            chunks.push((chunk.offset, chunk.bytes.to_vec(), chunk.time));
        })
    }

    fn bytes(&self) -> Vec<u8> {
        self.chunks.iter().flat_map(|(_, bytes, _)| bytes.clone()).collect()
    }
}

#[test]
fn in_order_after_a_syn() {
    let mut h = Harness::new();
    h.syn(999);
    h.data(1000, b"abc", 1).unwrap();
    h.data(1003, b"de", 2).unwrap();
    assert_eq!(h.chunks, [(0, b"abc".to_vec(), 1), (3, b"de".to_vec(), 2)]);
    assert!(h.assembler.is_from_start());
    assert!(!h.assembler.is_finished());
    let fin = Segment { seq: 1005, syn: false, fin: true, payload: b"", time: 3 };
    h.segment(fin).unwrap();
    assert!(h.assembler.is_finished());
    assert_eq!(h.assembler.counts(), Counts { delivered: 5, ..Counts::default() });
}

#[test]
fn data_on_the_syn_and_on_the_fin() {
    let mut h = Harness::new();
    h.segment(Segment { seq: 9, syn: true, fin: false, payload: b"ab", time: 1 }).unwrap();
    h.segment(Segment { seq: 12, syn: false, fin: true, payload: b"cd", time: 2 }).unwrap();
    assert_eq!(h.bytes(), b"abcd");
    assert!(h.assembler.is_finished());
}

#[test]
fn met_midway_it_begins_with_the_first_seen() {
    let mut h = Harness::new();
    h.data(500, b"def", 1).unwrap();
    h.data(497, b"abc", 2).unwrap();
    h.data(499, b"cdefg", 3).unwrap();
    assert_eq!(h.bytes(), b"defg");
    assert!(!h.assembler.is_from_start());
    let counts = Counts { delivered: 4, before_start: 4, retransmitted: 3, overlapping: 4, ..Counts::default() };
    assert_eq!(h.assembler.counts(), counts);
}

#[test]
fn reordered_bytes_keep_their_own_time() {
    let mut h = Harness::new();
    h.syn(0);
    h.data(1, b"ab", 1).unwrap();
    h.data(5, b"ef", 2).unwrap();
    h.data(7, b"gh", 3).unwrap();
    assert_eq!(h.bytes(), b"ab");
    assert_eq!(h.assembler.gap(), Some(2..4));
    h.data(3, b"cd", 9).unwrap();
    assert_eq!(h.bytes(), b"abcdefgh");
    assert_eq!(h.assembler.gap(), None);
    assert_eq!(h.arrivals.of(0..8), Some(Span { first: 1, last: 9 }));
    assert_eq!(h.arrivals.of(4..8), Some(Span { first: 2, last: 3 }), "they were there before they were in order");
    assert_eq!(h.arrivals.of(3..5), Some(Span { first: 2, last: 9 }));
    assert_eq!(h.assembler.counts(), Counts { delivered: 8, out_of_order: 4, ..Counts::default() });
}

#[test]
fn a_retransmission_changes_nothing() {
    let mut h = Harness::new();
    h.syn(0);
    h.data(1, b"abcd", 1).unwrap();
    h.data(1, b"XXXX", 2).unwrap();
    h.data(3, b"XXef", 3).unwrap();
    assert_eq!(h.bytes(), b"abcdef");
    assert_eq!(h.arrivals.of(0..4), Some(Span { first: 1, last: 1 }));
    assert_eq!(h.arrivals.of(0..6), Some(Span { first: 1, last: 3 }));
    let counts = Counts { delivered: 6, retransmitted: 4, overlapping: 2, ..Counts::default() };
    assert_eq!(h.assembler.counts(), counts);
}

#[test]
fn a_late_segment_over_waiting_ones_fills_only_the_holes() {
    let mut h = Harness::new();
    h.syn(0);
    h.data(3, b"c", 1).unwrap();
    h.data(5, b"e", 2).unwrap();
    h.data(2, b"BCDEFG", 3).unwrap(); // early too: a is missing
    assert_eq!(h.assembler.counts().overlapping, 2);
    h.data(1, b"a", 4).unwrap();
    assert_eq!(h.bytes(), b"aBcDeFG");
    let times: Vec<i64> = h.chunks.iter().map(|chunk| chunk.2).collect();
    assert_eq!(times, [4, 3, 1, 3, 2, 3]);
}

#[test]
fn a_gap_is_filled_by_a_segment_that_overlaps_what_waits() {
    let mut h = Harness::new();
    h.syn(0);
    h.data(3, b"c", 1).unwrap();
    h.data(6, b"f", 2).unwrap();
    h.data(1, b"ABCDE", 3).unwrap();
    assert_eq!(h.bytes(), b"ABcDEf");
    assert_eq!(h.assembler.counts(), Counts { delivered: 6, out_of_order: 2, overlapping: 1, ..Counts::default() });
}

#[test]
fn sequence_numbers_wrap() {
    let mut h = Harness::new();
    h.syn(u32::MAX - 2);
    h.data(u32::MAX - 1, b"ab", 1).unwrap();
    h.data(2, b"ef", 2).unwrap();
    h.data(0, b"cd", 3).unwrap();
    h.data(u32::MAX, b"bc", 4).unwrap();
    assert_eq!(h.bytes(), b"abcdef");
    assert_eq!(h.assembler.counts().retransmitted, 2);
}

#[test]
fn a_stream_longer_than_the_sequence_space() {
    let mut h = Harness::new();
    h.syn(0);
    h.assembler.next = (1 << 32) + 5;
    h.data(6, b"ab", 1).unwrap();
    assert_eq!(h.chunks, [((1 << 32) + 5, b"ab".to_vec(), 1)]);
}

#[test]
fn a_gap_that_never_fills_is_skipped_by_its_owner() {
    let mut h = Harness::new();
    h.syn(0);
    h.data(1, b"ab", 1).unwrap();
    h.data(6, b"fg", 2).unwrap();
    assert_eq!(h.skip(), Some(2..5));
    assert_eq!(h.skip(), None);
    h.data(8, b"h", 3).unwrap();
    let fin = Segment { seq: 11, syn: false, fin: true, payload: b"", time: 4 };
    h.segment(fin).unwrap();
    assert_eq!(h.skip(), Some(8..10), "bytes that only the FIN tells of");
    assert!(h.assembler.is_finished());
    assert_eq!(h.chunks, [(0, b"ab".to_vec(), 1), (5, b"fg".to_vec(), 2), (7, b"h".to_vec(), 3)]);
    assert_eq!(h.assembler.counts().missing, 5);
    assert_eq!(h.arrivals.of(0..2), Some(Span { first: 1, last: 1 }));
    assert_eq!(h.arrivals.of(1..6), None, "a byte of it was never seen");
    assert_eq!(h.arrivals.of(5..8), Some(Span { first: 2, last: 3 }));
}

#[test]
fn what_waits_is_bounded() {
    let mut h = Harness::with_limit(1000);
    h.syn(0);
    for n in 0..1000u32 {
        let _ = h.data(100 + 2 * n, b"x", 1);
    }
    assert!(h.assembler.waiting.len() <= 1000 / PIECE_COST);
    assert!(h.assembler.counts().refused > 900);
    assert!(matches!(h.data(5000, &[0; 500], 1), Err(Full { gap: 99, .. })));
    h.skip().unwrap();
    assert_eq!(h.bytes(), b"x");
}

#[test]
fn another_connection_with_the_same_addresses() {
    let mut h = Harness::new();
    let syn = |seq| Segment { seq, syn: true, fin: false, payload: b"", time: 0 };
    assert!(!h.assembler.is_restarted_by(&syn(7)));
    h.syn(7);
    assert!(!h.assembler.is_restarted_by(&syn(7)), "a SYN sent again");
    assert!(h.assembler.is_restarted_by(&syn(8)));
}

#[test]
fn forgotten_bytes_have_no_time() {
    let mut h = Harness::new();
    h.syn(0);
    for n in 0..10u32 {
        h.data(1 + 10 * n, &[0; 10], i64::from(n)).unwrap();
    }
    h.arrivals.forget(45);
    assert_eq!(h.arrivals.runs(), 6);
    assert_eq!(h.arrivals.of(44..46), None);
    assert_eq!(h.arrivals.of(45..61), Some(Span { first: 4, last: 6 }));
    assert_eq!(h.arrivals.of(45..45), None);
    assert_eq!(h.arrivals.of(99..101), None);
}

proptest! {
    /// A stream cut into segments that are repeated, cut again and shuffled comes out whole, and each byte with the
    /// time at which it was first in any segment: the model is an array of times.
    #[test]
    fn any_order(
        isn: u32,
        len in 1usize..400,
        segments in proptest::collection::vec((0usize..400, 1usize..80), 1..60),
    ) {
        let stream: Vec<u8> = (0..len).map(|n| (n * 7 + n / 256) as u8).collect();
        let mut h = Harness::new();
        h.syn(isn);
        let mut times = vec![None; len];
        let (mut seen, mut in_pieces) = (0u64, segments.clone());
        in_pieces.push((0, len)); // at last everything
        for (time, (at, n)) in in_pieces.into_iter().enumerate() {
            let at = at.min(len);
            let end = (at + n).min(len);
            h.data(isn.wrapping_add(1).wrapping_add(at as u32), &stream[at..end], time as i64).unwrap();
            times[at..end].iter_mut().for_each(|t| { t.get_or_insert(time as i64); });
            seen += (end - at) as u64;
            let prefix = times.iter().take_while(|t| t.is_some()).count();
            prop_assert_eq!(&h.bytes(), &stream[..prefix]);
        }
        for (at, time) in times.iter().enumerate() {
            let at = at as u64;
            prop_assert_eq!(h.arrivals.of(at..at + 1).map(|s| s.last), *time);
        }
        let counts = h.assembler.counts();
        prop_assert_eq!(counts.delivered, len as u64);
        prop_assert_eq!(counts.delivered + counts.retransmitted + counts.overlapping, seen);
        prop_assert_eq!(h.assembler.waiting_bytes, 0);
    }

    /// Anything at all is survived within the limit, and offsets only grow.
    #[test]
    fn any_segments(
        segments in proptest::collection::vec((any::<u32>(), any::<bool>(), any::<bool>(), 0usize..100, 0u8..8), 0..100),
    ) {
        let mut h = Harness::with_limit(2000);
        for (seq, syn, fin, len, then) in segments {
            let payload = vec![then; len];
            let _ = h.segment(Segment { seq, syn, fin, payload: &payload, time: 1 });
            prop_assert!(h.assembler.waiting_bytes + h.assembler.waiting.len() * PIECE_COST <= 2000);
            if then == 0 { h.skip(); }
        }
        prop_assert!(h.chunks.windows(2).all(|two| two[0].0 + two[0].1.len() as u64 <= two[1].0));
    }
}

//! What an agent says on its notification connection, reassembled from whatever segments it comes in.

use livectl_wire::assembler::{Assembler, Segment};
use livectl_wire::heartbeat::{self, Heartbeat, LEN};

/// Bytes that may wait behind a lost segment: a few answers.
const WAITING: usize = 1024;

/// The agent's direction of one connection.
#[derive(Debug)]
pub struct Answers {
    assembler: Assembler,
    /// The beginning of an answer whose end has not come.
    begun: Vec<u8>,
}

impl Default for Answers {
    fn default() -> Self {
        Self { assembler: Assembler::new(WAITING), begun: Vec::new() }
    }
}

impl Answers {
    /// Takes a segment; the answers that it completes.
    pub fn push(&mut self, segment: &Segment<'_>) -> Vec<Heartbeat> {
        let Self { assembler, begun } = self;
        let mut whole = Vec::new();
        let mut read = |bytes: &[u8]| {
            begun.extend_from_slice(bytes);
            let mut used = 0;
            for (at, answer) in heartbeat::find(begun) {
                used = at + LEN;
                whole.push(answer);
            }
            // No answer that is still to end begins further back than this.
            begun.drain(..used.max(begun.len().saturating_sub(LEN - 1)));
        };
        if assembler.push(segment, |chunk| read(chunk.bytes)).is_err() {
            // What is missing passed unseen, and will not come again.
            assembler.skip_gap(|chunk| read(chunk.bytes));
            let _ = assembler.push(segment, |chunk| read(chunk.bytes));
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use livectl_wire::heartbeat::News;
    use proptest::prelude::*;

    fn answer(sequence: u64) -> Heartbeat {
        let peers = (0..=sequence % 5).map(|host| format!("10.0.0.{host}:2000").parse().unwrap()).collect();
        let role = heartbeat::PeerRole::Child;
        let done = heartbeat::Introduction { role, peers, stream: "live/hb".parse().unwrap() };
        Heartbeat { sequence, news: News::Ack(done) }
    }

    fn segment(seq: u32, payload: &[u8]) -> Segment<'_> {
        Segment { seq, syn: false, fin: false, payload, time: 0 }
    }

    #[test]
    fn what_passed_unseen_is_not_waited_for_for_ever() {
        let mut answers = Answers::default();
        let stream: Vec<u8> = (0..40).flat_map(|sequence| answer(sequence).emit()).collect();
        assert_eq!(answers.push(&segment(0, &stream[..64])).len(), 0);
        let heard: usize =
            (1..39).map(|at| answers.push(&segment(at * 128, &stream[at as usize * 128..][..128])).len()).sum();
        assert!(heard > 25, "{heard}");
    }

    proptest! {
        #[test]
        fn cut_anyhow_among_others_and_met_anywhere(hastens in proptest::collection::vec(any::<bool>(), 8), cuts in proptest::collection::vec(1usize..300, 1..40), from in 0usize..128, base: u32) {
            let line = |sequence: u64| match hastens[sequence as usize] {
                true => Heartbeat { sequence, news: News::Hasten },
                false => answer(sequence),
            };
            let stream: Vec<u8> = (0..8).flat_map(|sequence| line(sequence).emit()).collect();
            let mut answers = Answers::default();
            let (mut at, mut heard) = (from, Vec::new());
            for length in cuts.into_iter().chain([300; 4]) {
                let end = (at + length).min(stream.len());
                heard.extend(answers.push(&segment(base.wrapping_add(at as u32), &stream[at..end])));
                prop_assert!(answers.begun.len() < LEN);
                at = end;
            }
            let whole = 8 - u64::from(from > 0);
            prop_assert_eq!(heard, (8 - whole..8).map(line).collect::<Vec<_>>());
        }
    }
}

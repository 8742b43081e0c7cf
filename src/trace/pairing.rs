//! Which birth a frame that arrived belongs to.
//!
//! A frame is known by the identity of its payload. An encoder may emit the same payload more than once (a picture
//! that does not change), and a copy of a frame must not be taken for such a repeat; so among equal payloads the
//! timestamp decides. A server may shift all timestamps of a connection by the same amount, which the frames with a
//! payload of their own reveal. Where even that says nothing, repeats are taken in their order, and counted.

use std::collections::{HashMap, HashSet};

use livectl_wire::birth::Birth;
use livectl_wire::frame::FrameId;

/// The births of a stream, to be looked up by payload.
pub(super) struct Pairing<'a> {
    births: &'a [Birth],
    by_id: HashMap<FrameId, Vec<usize>>,
}

/// Which births the frames of one connection or one dump belong to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Paired {
    /// For each frame, in its order: index into the births, `None` if no such frame was born.
    pub of: Vec<Option<usize>>,
    /// How many could only be told apart by their order.
    pub by_order: u64,
}

impl<'a> Pairing<'a> {
    pub fn new(births: &'a [Birth]) -> Self {
        let mut by_id: HashMap<FrameId, Vec<usize>> = HashMap::new();
        for (index, birth) in births.iter().enumerate() {
            by_id.entry(birth.id).or_default().push(index);
        }
        Self { births, by_id }
    }

    /// Pairs the frames of one connection or dump, given by payload and timestamp in their order.
    pub fn pair(&self, frames: &[(FrameId, u32)]) -> Paired {
        let shift = self.shift(frames);
        let mut used = HashSet::new();
        let mut paired = Paired::default();
        let mut latest = None;
        for (id, timestamp) in frames {
            let of = match self.by_id.get(id).map(Vec::as_slice) {
                None => None,
                Some(&[only]) => Some(only),
                Some(candidates) => {
                    let born = timestamp.wrapping_sub(shift);
                    let at_that_time = || candidates.iter().copied().filter(|&index| self.timestamp(index) == born);
                    let exact = at_that_time().find(|index| !used.contains(index)).or_else(|| at_that_time().next());
                    exact.or_else(|| {
                        paired.by_order += 1;
                        let next =
                            candidates.iter().copied().find(|&index| latest.is_none_or(|latest| index > latest));
                        next.or(candidates.last().copied())
                    })
                }
            };
            if let Some(index) = of {
                used.insert(index);
                latest = Some(index);
            }
            paired.of.push(of);
        }
        paired
    }

    /// By how much timestamps are shifted against the births': what most frames with a payload of their own say.
    fn shift(&self, frames: &[(FrameId, u32)]) -> u32 {
        let mut votes: HashMap<u32, u64> = HashMap::new();
        for (id, timestamp) in frames {
            if let Some(&[only]) = self.by_id.get(id).map(Vec::as_slice) {
                *votes.entry(timestamp.wrapping_sub(self.timestamp(only))).or_default() += 1;
            }
        }
        votes
            .into_iter()
            .max_by_key(|(shift, votes)| (*votes, std::cmp::Reverse(*shift)))
            .map_or(0, |(shift, _)| shift)
    }

    fn timestamp(&self, index: usize) -> u32 {
        self.births.get(index).map_or(0, |birth| birth.timestamp_ms)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use livectl_wire::birth::Register;
    use livectl_wire::flv::TagKind;

    /// Births of frames with these payloads, 40 ms apart.
    fn births(payloads: &[u8]) -> Vec<Birth> {
        let mut register = Register::default();
        let birth = |(n, payload): (usize, &u8)| register.birth(TagKind::Video, 40 * n as u32, &[0x22, *payload], 0);
        payloads.iter().enumerate().map(birth).collect()
    }

    fn frame(payload: u8, timestamp: u32) -> (FrameId, u32) {
        (FrameId::of(&[0x22, payload]), timestamp)
    }

    fn pair(born: &[u8], frames: &[(FrameId, u32)]) -> (Vec<Option<usize>>, u64) {
        let births = births(born);
        let Paired { of, by_order } = Pairing::new(&births).pair(frames);
        (of, by_order)
    }

    #[test]
    fn payloads_of_their_own() {
        let frames = [frame(2, 9999), frame(1, 0), frame(9, 0), frame(2, 9999)];
        assert_eq!(pair(&[1, 2, 3], &frames), (vec![Some(1), Some(0), None, Some(1)], 0));
    }

    #[test]
    fn repeats_are_told_apart_by_time_and_a_copy_stays_a_copy() {
        let frames = [frame(5, 40), frame(5, 120), frame(5, 40)];
        assert_eq!(pair(&[1, 5, 5, 5], &frames), (vec![Some(1), Some(3), Some(1)], 0));
    }

    #[test]
    fn a_shift_of_all_times_is_found() {
        // The repeat at 40 arrives as 1000: without the shift it could be none of them.
        let frames = [frame(1, 960), frame(5, 1000), frame(5, 1080), frame(2, 1120)];
        assert_eq!(pair(&[1, 5, 5, 5, 2], &frames), (vec![Some(0), Some(1), Some(3), Some(4)], 0));
        // Backwards over zero.
        let frames = [frame(1, 0u32.wrapping_sub(40)), frame(5, 0)];
        assert_eq!(pair(&[1, 5, 5], &frames), (vec![Some(0), Some(1)], 0));
    }

    #[test]
    fn nothing_but_repeats_at_unknown_times_are_taken_in_order() {
        let frames = [frame(5, 7), frame(5, 8), frame(5, 9), frame(5, 10)];
        assert_eq!(pair(&[5, 5, 5], &frames), (vec![Some(0), Some(1), Some(2), Some(2)], 4));
    }

    #[test]
    fn repeats_with_one_and_the_same_time() {
        let mut births = births(&[5, 5]);
        births[1].timestamp_ms = 0;
        let paired = Pairing::new(&births).pair(&[frame(5, 0), frame(5, 0), frame(5, 0)]);
        assert_eq!(paired.of, [Some(0), Some(1), Some(0)]);
    }
}

//! Segments of a stream: what a frame that came in one has waited for.
//!
//! A segment is whole at the CDN when the first frame of the next is there, for that ends it. Until then its frames
//! wait for each other; from then on they wait for the viewer's player to learn of it and to ask.

use super::trial::FrameDelay;

/// The segment that a frame came in. Moments are nanoseconds of CLOCK_REALTIME.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The frame that it begins with, by index.
    pub first: usize,
    /// When it was whole at the CDN; `None`: it is the last, or that was not captured.
    pub whole_ns: Option<i64>,
    /// When the first of its pictures left the CDN for the viewer; `None`: that was not captured.
    pub left_ns: Option<i64>,
}

impl FrameDelay {
    /// From when it was at the CDN until its segment was whole, in nanoseconds.
    #[must_use]
    pub fn chunking_ns(&self) -> Option<i64> {
        self.segment?.whole_ns?.checked_sub(self.way.cdn_arrival_ns()?)
    }

    /// From then until the segment began to leave the CDN, in nanoseconds.
    #[must_use]
    pub fn polling_ns(&self) -> Option<i64> {
        let segment = self.segment?;
        segment.left_ns?.checked_sub(segment.whole_ns?)
    }
}

/// The segment of each frame at a viewer, of those that arrived in one.
pub(super) fn segments(frames: &[FrameDelay]) -> Vec<Option<Segment>> {
    let first_of = |frame: &FrameDelay| frame.arrival.and_then(|arrival| arrival.segment);
    let mut firsts: Vec<usize> = frames.iter().filter_map(first_of).collect();
    firsts.sort_unstable();
    firsts.dedup();
    let segment = |frame: &FrameDelay| {
        let first = first_of(frame)?;
        // Where the viewer has not had the next one, whatever comes behind may belong to another after it.
        let last =
            frames.iter().enumerate().skip(first).take_while(|(_, frame)| first_of(frame) == Some(first)).last()?.0;
        let next = firsts.get(firsts.partition_point(|other| *other <= first)).filter(|next| **next == last + 1);
        Some(Segment {
            first,
            whole_ns: next.and_then(|next| frames.get(*next)?.way.cdn_arrival_ns()),
            left_ns: frames.get(first)?.way.cdn_departure_ns(),
        })
    };
    // Frames of a segment stand together: it is looked for once.
    let mut latest: Option<Segment> = None;
    frames
        .iter()
        .map(|frame| {
            let first = first_of(frame)?;
            latest = latest.filter(|segment| segment.first == first).or_else(|| segment(frame));
            latest
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use livectl_wire::frame::FrameId;

    use super::super::hop::{Hop, Way};
    use super::super::trial::FirstArrival;
    use super::*;
    use crate::plan::delivery::Carrier;

    const MS: i64 = 1_000_000;

    /// A frame that was at the CDN after so many milliseconds, left it and arrived; in the segment that begins with
    /// that one.
    fn frame(index: u64, at_cdn: i64, left: i64, segment: Option<usize>) -> FrameDelay {
        let hop = |carrier, left, whole| Hop { from: None, carrier, left_ns: Some(left * MS), whole_ns: whole * MS };
        let address = "10.0.0.2:80".parse().unwrap();
        let arrival = segment.map(|first| FirstArrival {
            time_ns: (left + 10) * MS,
            first_byte_ns: left * MS,
            carrier: Carrier::Hls,
            from: address,
            to: address,
            segment: Some(first),
        });
        let hops = vec![hop(Carrier::Rtmp, at_cdn - 20, at_cdn), hop(Carrier::Hls, left, left + 10)];
        FrameDelay {
            index,
            timestamp_ms: 0,
            size: 1,
            keyframe: false,
            id: FrameId([0; 16]),
            birth_ns: (at_cdn - 30) * MS,
            way: if arrival.is_some() { Way { hops, is_whole: true } } else { Way::default() },
            arrival,
            segment: None,
            copies: 1,
            floor: None,
            stream_floor: None,
        }
    }

    #[test]
    fn a_segment_is_whole_when_the_next_begins() {
        let mut frames = [
            frame(0, 100, 1000, Some(0)),
            frame(1, 400, 1001, Some(0)),
            frame(2, 700, 1500, Some(2)),
            frame(3, 900, 1501, None),
            frame(4, 1300, 1900, Some(4)),
        ];
        for (frame, segment) in frames.clone().iter().zip(segments(&frames.clone())) {
            frames[frame.index as usize].segment = segment;
        }
        let parts: Vec<_> = frames.iter().map(|frame| (frame.chunking_ns(), frame.polling_ns())).collect();
        assert_eq!(parts[..2], [(Some(600 * MS), Some(300 * MS)), (Some(300 * MS), Some(300 * MS))]);
        // One that follows is missing: where it belongs to is not known. The last has no next.
        assert_eq!(parts[2..], [(None, None); 3]);
        assert_eq!(frames[1].segment, Some(Segment { first: 0, whole_ns: Some(700 * MS), left_ns: Some(1000 * MS) }));
        assert_eq!(frames[4].segment.unwrap().first, 4);
    }
}

//! What a trial's own traces show to be impossible. Then a clock was read late somewhere, and the delays are not what
//! they seem.

use std::collections::BTreeMap;

use super::rows::{FrameRow, ShownRow};

/// By how much one in a hundred may be off, ms.
const P99_MS: f64 = 1.0;
/// By how much any may be off, in milliseconds.
const MAX_MS: f64 = 10.0;

/// Why the delays of a trial cannot be taken for the network's, as its frames show it; empty: nothing speaks against
/// them.
///
/// - A frame whose first packet left the broadcaster before its birth was stamped: its birth is late, its delay too small.
/// - A frame that took less time than its floor. Not looked at if a link has jitter: netem then lets a packet out early by the time that a full
///   one takes.
/// - A frame that was on a viewer's screen before it had arrived there.
#[must_use]
pub fn doubts(frames: &[FrameRow], shown: &[ShownRow], jitter: bool) -> Vec<String> {
    let mut births: BTreeMap<&str, BTreeMap<u64, f64>> = BTreeMap::new();
    let mut arrivals: BTreeMap<(&str, &str), Vec<f64>> = BTreeMap::new();
    for frame in frames {
        if let Some(sent_ns) = frame.sent_ns {
            let late = frame.birth_ns.saturating_sub(sent_ns) as f64 / 1e6;
            // Two viewers' copies of a frame may leave at different times.
            let worst = births.entry(&frame.stream).or_default().entry(frame.index).or_insert(0.0);
            *worst = worst.max(late);
        }
        if let Some(excess_ms) = frame.excess_ms.filter(|_| !jitter) {
            arrivals.entry((&frame.viewer, &frame.stream)).or_default().push((-excess_ms).max(0.0));
        }
    }
    let mut doubts = Vec::new();
    let mut doubted = Vec::new();
    for (stream, late) in births {
        if let Some((p99, max)) = over(late.into_values().collect()) {
            doubted.push(stream);
            doubts.push(format!(
                "{stream}: frames left the broadcaster before their births were stamped, by up to {p99:.1} ms in 99 of 100 cases (limit \
                 {P99_MS:.1} ms) and {max:.1} ms at most (limit {MAX_MS:.1} ms), so delays are too small"
            ));
        }
    }
    for ((viewer, stream), early) in arrivals {
        // Late births explain early arrivals.
        if let Some((p99, max)) = over(early).filter(|_| !doubted.contains(&stream)) {
            doubts.push(format!(
                "{viewer}: frames of {stream} arrived sooner than the network allows, by up to {p99:.1} ms in 99 of 100 cases (limit \
                 {P99_MS:.1} ms) and {max:.1} ms at most (limit {MAX_MS:.1} ms)"
            ));
        }
    }
    let mut foresight: BTreeMap<(&str, &str), Vec<f64>> = BTreeMap::new();
    for row in shown {
        if let Some(player_ms) = row.player_ms {
            foresight.entry((&row.viewer, &row.stream)).or_default().push((-player_ms).max(0.0));
        }
    }
    for ((viewer, stream), early) in foresight {
        if let Some((p99, max)) = over(early) {
            doubts.push(format!(
                "{viewer}: frames of {stream} were on the screen before they had arrived, by up to {p99:.1} ms in 99 of 100 cases (limit \
                 {P99_MS:.1} ms) and {max:.1} ms at most (limit {MAX_MS:.1} ms)"
            ));
        }
    }
    doubts
}

/// The 99th percentile (nearest rank) and the greatest of these, if they are over a limit.
fn over(mut values: Vec<f64>) -> Option<(f64, f64)> {
    values.sort_by(f64::total_cmp);
    let max = values.last().copied()?;
    let p99 = values.get((values.len() * 99).div_ceil(100).saturating_sub(1)).copied()?;
    (p99 > P99_MS || max > MAX_MS).then_some((p99, max))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::plan::delivery::Via;
    use crate::table::tests::frame;

    /// Frames of which the first is off by this many milliseconds.
    fn frames(count: u32, change: impl Fn(&mut FrameRow)) -> Vec<FrameRow> {
        let mut frames: Vec<FrameRow> =
            (0..count).map(|index| frame("direct-1", "hv1", index, Some(233.0), Via::Cdn)).collect();
        for frame in &mut frames {
            frame.sent_ns = Some(frame.birth_ns + 50_000);
            frame.excess_ms = Some(3.0);
        }
        change(&mut frames[0]);
        frames
    }

    #[test]
    fn sound_frames_raise_none() {
        assert_eq!(doubts(&[], &[], false), Vec::<String>::new());
        assert_eq!(doubts(&frames(600, |_| ()), &[], false), Vec::<String>::new());
        // One of 600 may be off by some milliseconds.
        assert_eq!(
            doubts(&frames(600, |f| f.sent_ns = Some(f.birth_ns - 9_000_000)), &[], false),
            Vec::<String>::new()
        );
        assert_eq!(doubts(&frames(600, |f| f.excess_ms = Some(-9.0)), &[], false), Vec::<String>::new());
    }

    #[test]
    fn births_stamped_late_are_told_once() {
        let late = |f: &mut FrameRow| {
            f.sent_ns = Some(f.birth_ns - 226_700_000);
            f.excess_ms = Some(-175.9);
        };
        let told = doubts(&frames(600, late), &[], false);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].starts_with("hb: frames left the broadcaster before their births were stamped, by up to 0.0 ms"),
            "{told:?}"
        );
        assert!(told[0].contains("226.7 ms at most"), "{told:?}");
        // 3 ms late in one of 50.
        let told = doubts(&frames(50, |f| f.sent_ns = Some(f.birth_ns - 3_000_000)), &[], false);
        assert!(told[0].contains("up to 3.0 ms in 99 of 100 cases"), "{told:?}");
    }

    #[test]
    fn frames_faster_than_their_floor_are_told_unless_links_have_jitter() {
        let early = frames(50, |f| f.excess_ms = Some(-2.0));
        let told = doubts(&early, &[], false);
        assert!(
            told[0].starts_with("hv1: frames of hb arrived sooner than the network allows, by up to 2.0 ms"),
            "{told:?}"
        );
        assert_eq!(doubts(&early, &[], true), Vec::<String>::new());
    }
}

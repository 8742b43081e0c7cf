//! How a stream would have played: stalls and continuity under a playout buffer.
//!
//! The player imagined here shows the first keyframe that arrives as soon as the frames of the next `buffer` seconds
//! of the stream have arrived (or all that come at all), and then each frame at its own time. When a frame is not
//! there at its time, the picture stands still: a **stall**, which ends when the buffer is as full again as at the
//! start. Frames that never arrive are passed over without a stall. That is how the streaming literature models
//! rebuffering (for instance Mok, Chan and Chang, *Measuring the Quality of Experience of HTTP Video Streaming*, IM
//! 2011, whose rebuffering frequency and mean rebuffering duration follow from the number and the sum here).
//!
//! **Continuity** is the index of CoolStreaming (Zhang, Liu, Li and Yum, INFOCOM 2005): the share of what should be
//! shown that arrives by the time to show it, at a player that began like the one above and never waits again. What
//! never arrives counts as not in time.

use super::rows::{FrameRow, PlayoutRow};
use super::spells::by_spell;
use super::summary::{ViewerFacts, milliseconds, to_microseconds, wanted_ns};
use crate::store::TrialRecord;

/// The buffers that `playout.csv` has, in seconds of the stream.
pub const BUFFERS_S: [f64; 4] = [0.0, 0.5, 1.0, 2.0];

/// How a stream would have played at a viewer with a given buffer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Playout {
    /// When the first picture was shown: nanoseconds of CLOCK_REALTIME.
    pub begun_ns: i64,
    /// How often the picture stood still.
    pub stalls: u32,
    /// For how long it stood still in all, in nanoseconds.
    pub stalled_ns: i64,
    /// The longest of these stalls, in nanoseconds.
    pub longest_ns: i64,
    /// Share of the frames in time at a player that never waits, 0 to 1.
    pub continuity: f64,
    /// How many frames `continuity` is a share of.
    pub due: usize,
}

/// Plays a viewer's frames of one stream, those that never arrived among them, with a buffer of so many seconds.
/// `None` if none arrived.
#[must_use]
pub fn play(frames: &[&FrameRow], buffer_s: f64) -> Option<Playout> {
    let first = first_keyframe(frames.iter().copied())?;
    let mut frames: Vec<(u32, Option<i64>)> = frames
        .iter()
        .filter(|r| r.timestamp_ms >= first.timestamp_ms)
        .map(|r| (r.timestamp_ms, r.arrival_ns))
        .collect();
    frames.sort_unstable();
    let arrived: Vec<(u32, i64)> = frames.iter().filter_map(|(time, arrival)| Some((*time, (*arrival)?))).collect();
    // When a player can begin with the frame of that index.
    let ready = |begin: usize| {
        let until = f64::from(arrived[begin].0) + buffer_s * 1e3;
        let mut ready = i64::MIN;
        for (time, arrival) in &arrived[begin..] {
            ready = ready.max(*arrival);
            if f64::from(*time) >= until {
                break;
            }
        }
        ready
    };
    let begun_ns = ready(0);
    let (mut shown, mut shown_time) = (begun_ns, arrived.first()?.0);
    let due = |shown: i64, shown_time: u32, time: u32| shown + i64::from(time - shown_time) * 1_000_000;
    let mut playout =
        Playout { begun_ns, stalls: 0, stalled_ns: 0, longest_ns: 0, continuity: 0.0, due: frames.len() };
    for (index, (time, arrival)) in arrived.iter().enumerate() {
        let wanted = due(shown, shown_time, *time);
        if *arrival > wanted {
            (shown, shown_time) = (ready(index), *time);
            playout.stalls += 1;
            playout.stalled_ns += shown - wanted;
            playout.longest_ns = playout.longest_ns.max(shown - wanted);
        }
    }
    let begin = arrived.first()?.0;
    let in_time = arrived.iter().filter(|(time, arrival)| *arrival <= due(begun_ns, begin, *time)).count();
    #[allow(clippy::cast_precision_loss)]
    {
        playout.continuity = in_time as f64 / frames.len() as f64;
    }
    Some(playout)
}

/// Plays each of a viewer's spells by itself, with a player that begins again, and adds them up. `None` if no frame
/// arrived in any.
#[must_use]
pub fn play_spells(frames: &[&FrameRow], buffer_s: f64) -> Option<Playout> {
    let played = by_spell(frames).into_iter().filter_map(|spell| play(&spell, buffer_s));
    #[allow(clippy::cast_precision_loss)]
    played.reduce(|all, one| {
        let (due, in_time) = (all.due + one.due, all.continuity * all.due as f64 + one.continuity * one.due as f64);
        Playout {
            begun_ns: all.begun_ns,
            stalls: all.stalls + one.stalls,
            stalled_ns: all.stalled_ns + one.stalled_ns,
            longest_ns: all.longest_ns.max(one.longest_ns),
            continuity: in_time / due as f64,
            due,
        }
    })
}

/// A row for each viewer of a trial whose packets were captured, and each of [`BUFFERS_S`].
#[must_use]
pub fn playouts(record: &TrialRecord, viewers: &[ViewerFacts], frames: &[FrameRow]) -> Vec<PlayoutRow> {
    let mut rows = Vec::new();
    for facts in viewers.iter().filter(|facts| facts.captured) {
        let mine: Vec<&FrameRow> =
            frames.iter().filter(|r| r.stream == facts.stream && r.viewer == facts.viewer).collect();
        let wanted = wanted_ns(facts, &mine);
        for buffer_s in BUFFERS_S {
            let played = play_spells(&mine, buffer_s);
            rows.push(PlayoutRow {
                trial: record.id.clone(),
                point: record.point.clone(),
                stream: facts.stream.clone(),
                viewer: facts.viewer.clone(),
                buffer_s,
                startup_delay_ms: played
                    .zip(wanted)
                    .map(|(p, from)| to_microseconds(milliseconds(p.begun_ns - from))),
                stalls: played.map(|p| p.stalls),
                stalled_ms: played.map(|p| to_microseconds(milliseconds(p.stalled_ns))),
                longest_stall_ms: played.map(|p| to_microseconds(milliseconds(p.longest_ns))),
                continuity: played.map(|p| (p.continuity * 1e6).round() / 1e6),
            });
        }
    }
    rows
}

/// The first keyframe to arrive; with none, the first frame.
pub(super) fn first_keyframe<'a>(frames: impl Iterator<Item = &'a FrameRow>) -> Option<&'a FrameRow> {
    frames.filter(|r| r.arrival_ns.is_some()).min_by_key(|r| (!r.keyframe, r.arrival_ns))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::float_cmp)]
    use super::super::tests::frame;
    use super::*;
    use crate::plan::delivery::Via;

    const MS: i64 = 1_000_000;

    /// Frames 40 ms apart with these delays.
    fn rows(delays_ms: &[Option<f64>]) -> Vec<FrameRow> {
        let frames = delays_ms.iter().zip(0..);
        frames.map(|(delay, index)| frame("direct-1", "hv1", index, *delay, Via::Cdn)).collect()
    }

    fn played(delays_ms: &[Option<f64>], buffer_s: f64) -> Playout {
        let rows = rows(delays_ms);
        play(&rows.iter().collect::<Vec<_>>(), buffer_s).unwrap()
    }

    #[test]
    fn an_even_stream_never_stalls() {
        let delays = vec![Some(250.0); 100];
        for (buffer_s, begun) in [(0.0, 250), (0.5, 250 + 520), (2.0, 2250)] {
            let playout = played(&delays, buffer_s);
            assert_eq!((playout.stalls, playout.stalled_ns, playout.continuity), (0, 0, 1.0));
            let born = rows(&delays)[0].birth_ns;
            assert_eq!((playout.begun_ns - born) / MS, begun, "the frame that fills the buffer of {buffer_s} s");
        }
    }

    #[test]
    fn one_late_frame_stalls_a_player_without_a_buffer_and_all_after_it_are_shown_later() {
        let mut delays = vec![Some(100.0); 50];
        delays[20] = Some(400.0);
        let playout = played(&delays, 0.0);
        assert_eq!((playout.stalls, playout.stalled_ns, playout.longest_ns), (1, 300 * MS, 300 * MS));
        assert_eq!(playout.continuity, 49.0 / 50.0, "a player that never waits misses that one alone");
        assert_eq!(played(&delays, 0.5).stalls, 0);
    }

    #[test]
    fn after_a_stall_the_buffer_is_filled_again() {
        // From frame 20 on all come a second later.
        let delays: Vec<_> = (0..100).map(|n| Some(if n < 20 { 100.0 } else { 1100.0 })).collect();
        let playout = played(&delays, 0.5);
        // 520 ms after the first frame is there it is shown. Frame 20 is wanted 800 ms later; it and 520 ms more are
        // there at 800 + 1100 + 520.
        assert_eq!(playout.stalls, 1);
        assert_eq!(playout.stalled_ns / MS, (800 + 1100 + 520) - (100 + 520 + 800));
        assert_eq!(playout.continuity, 20.0 / 100.0);
    }

    #[test]
    fn what_never_comes_does_not_stall_but_breaks_the_continuity() {
        let mut delays = vec![Some(100.0); 50];
        (delays[7], delays[8]) = (None, None);
        let playout = played(&delays, 0.0);
        assert_eq!((playout.stalls, playout.continuity), (0, 48.0 / 50.0));
        assert_eq!(play(&rows(&[None, None]).iter().collect::<Vec<_>>(), 1.0), None);
    }

    #[test]
    fn play_begins_with_the_first_keyframe() {
        // Frames 0 to 3 never came: the viewer joined late. Frame 10 is the first keyframe after it.
        let delays: Vec<_> = (0..30).map(|n| (n > 3).then_some(100.0)).collect();
        let playout = played(&delays, 0.0);
        assert_eq!(playout.begun_ns, rows(&delays)[10].arrival_ns.unwrap());
        assert_eq!(playout.continuity, 1.0);
    }

    #[test]
    fn a_stream_that_ends_is_shown_to_its_end_with_what_there_is() {
        let playout = played(&[Some(100.0); 10], 2.0);
        assert_eq!((playout.stalls, playout.begun_ns), (0, rows(&[Some(100.0); 10])[9].arrival_ns.unwrap()));
    }

    #[test]
    fn an_absence_is_no_stall_and_each_spell_begins_anew() {
        // 20 frames, 20 for which the viewer was away, and 20 that all come later, as they do over another way.
        let delays: Vec<_> = (0..60).map(|n| Some(if n < 20 { 100.0 } else { 900.0 })).collect();
        let mut all = rows(&delays);
        for (row, n) in all.iter_mut().zip(0..) {
            row.spell = Some(if n < 20 { 1 } else { 2 });
        }
        all.drain(20..40);
        let all: Vec<&FrameRow> = all.iter().collect();
        let playout = play_spells(&all, 0.0).unwrap();
        assert_eq!((playout.stalls, playout.stalled_ns, playout.continuity, playout.due), (0, 0, 1.0, 40));
        assert_eq!(playout.begun_ns, all[0].arrival_ns.unwrap());
        assert!(play(&all, 0.0).unwrap().stalls > 0, "as one it would stall");
    }

    proptest::proptest! {
        /// A slower, plainer model: milliseconds tick by, and each tick the player shows what is due or stands still.
        #[test]
        fn as_a_player_that_ticks(delays in proptest::collection::vec(proptest::option::weighted(0.9, 0u32..3000), 1..40), buffer in 0u32..4) {
            let delays: Vec<_> = delays.iter().map(|d| d.map(f64::from)).collect();
            let rows = rows(&delays);
            let all: Vec<&FrameRow> = rows.iter().collect();
            let buffer_s = f64::from(buffer) * 0.5;
            let (Some(fast), Some(first)) = (play(&all, buffer_s), first_keyframe(all.iter().copied())) else { return Ok(()) };
            let mut queue: Vec<(u32, i64)> = all.iter().filter(|r| r.timestamp_ms >= first.timestamp_ms)
                .filter_map(|r| Some((r.timestamp_ms, r.arrival_ns?))).collect();
            queue.sort_unstable();
            let (mut next, mut playing, mut now) = (0, None::<(i64, u32)>, queue[0].1);
            let (mut stalls, mut stalled, mut begun) = (0, 0, None);
            while next < queue.len() {
                if let Some((shown, time)) = playing
                    && now == shown + i64::from(queue[next].0 - time) * MS
                {
                    if queue[next].1 <= now { next += 1; } else { playing = None; stalls += 1; }
                    continue;
                }
                if playing.is_none() {
                    let full = queue[next..].iter().take_while(|(time, _)| f64::from(*time) < f64::from(queue[next].0) + buffer_s * 1e3).count();
                    let needed = &queue[next..(next + full + 1).min(queue.len())];
                    if needed.iter().all(|(_, arrival)| *arrival <= now) {
                        playing = Some((now, queue[next].0));
                        begun.get_or_insert(now);
                        continue;
                    }
                    if begun.is_some() { stalled += MS; }
                }
                now += MS;
            }
            proptest::prop_assert_eq!((fast.stalls, fast.stalled_ns, Some(fast.begun_ns)), (stalls, stalled, begun));
        }
    }
}

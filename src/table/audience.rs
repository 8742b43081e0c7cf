//! A stream's audience in one line: its best, median and worst viewer beside the bounds, and who carried the bytes.

use std::collections::BTreeMap;

use super::rows::{AudienceRow, FrameRow, SummaryRow};
use super::summary::{quantile, to_microseconds};
use super::text::shared;
use crate::plan::Trial;
use crate::store::TrialRecord;
use crate::trace::Carriage;

/// What is known of a stream besides what its viewers got. Where a table is made from stored tables, without
/// captures, that is nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamFacts {
    /// The stream that they are of: its broadcaster's name.
    pub stream: String,
    /// TCP payload that the broadcaster sent, to CDN and viewers, each byte as often as it was sent.
    pub broadcaster_bytes: Option<u64>,
    /// The same of all senders: broadcaster, CDN and viewers; `None`: not all of it was captured.
    pub sent_bytes: Option<u64>,
}

/// A row for each stream of a trial of which the summary has viewers. `summary` and `frames` are the trial's.
#[must_use]
pub fn audiences(
    record: &TrialRecord,
    trial: &Trial,
    streams: &[StreamFacts],
    summary: &[SummaryRow],
    frames: &[FrameRow],
) -> Vec<AudienceRow> {
    let row = |stream: &crate::plan::Stream| {
        let viewers: Vec<&SummaryRow> = summary.iter().filter(|row| row.stream == stream.name).collect();
        let first = viewers.first()?;
        let facts = streams.iter().find(|facts| facts.stream == stream.name).cloned().unwrap_or_default();
        let carriage = Carriage::of(trial, stream);
        let at = |p: f64, figure: fn(&SummaryRow) -> Option<f64>| {
            let mut values: Vec<f64> = viewers.iter().filter_map(|row| figure(row)).collect();
            values.sort_by(f64::total_cmp);
            quantile(&values, p).map(to_microseconds)
        };
        let sum = |figure: fn(&SummaryRow) -> Option<u64>| {
            viewers.iter().filter_map(|row| figure(row)).fold(None, |sum, n| Some(sum.unwrap_or(0) + n))
        };
        // What one of them did not capture would be missing in the sum.
        let all = |figure: fn(&SummaryRow) -> Option<u64>| viewers.iter().map(|row| figure(row)).sum::<Option<u64>>();
        let sizes = sizes(frames, &stream.name);
        let video_bytes = (!sizes.is_empty()).then(|| sizes.values().sum::<u64>());
        // Frames of which there are no rows are counted in the summary.
        let most = viewers.iter().map(|row| row.frames).max().unwrap_or_default();
        let emitted = u32::try_from(sizes.len()).ok()?.max(most);
        let audience = u64::try_from(stream.viewers.len()).ok()?;
        let per_video = |bytes: Option<u64>, times: u64| {
            let video = video_bytes?.checked_mul(times).filter(|video| *video > 0)?;
            #[allow(clippy::cast_precision_loss)]
            Some(to_millionths(bytes? as f64 / video as f64))
        };
        let egress = all(|row| row.server_egress_bytes);
        let busy = busy(&record.fitness);
        Some(AudienceRow {
            trial: record.id.clone(),
            point: record.point.clone(),
            stream: stream.name.clone(),
            viewers: u32::try_from(audience).ok()?,
            frames: emitted,
            missing: sum(|row| row.missing.map(u64::from)),
            skipped: sum(|row| row.skipped.map(u64::from)),
            delay_p50_best_ms: at(0.0, |row| row.delay_p50_ms),
            delay_p50_median_ms: at(0.5, |row| row.delay_p50_ms),
            delay_p50_worst_ms: at(1.0, |row| row.delay_p50_ms),
            delay_p95_best_ms: at(0.0, |row| row.delay_p95_ms),
            delay_p95_median_ms: at(0.5, |row| row.delay_p95_ms),
            delay_p95_worst_ms: at(1.0, |row| row.delay_p95_ms),
            floor_p50_ms: at(0.5, |row| row.floor_p50_ms),
            relay_bound_ms: at(1.0, |row| row.relay_bound_ms),
            relay_bound_p95_ms: at(1.0, |row| row.relay_bound_p95_ms),
            copy_bit_per_s: carriage.map(|carriage| carriage.copy.round()),
            greatest_bit_per_s: carriage.and_then(|carriage| carriage.greatest_rate).map(f64::round),
            depth_max: viewers.iter().filter_map(|row| row.depth_max).max(),
            depth_bound: carriage.and_then(|carriage| carriage.depth),
            viewer_offload: shared(viewers.iter().copied(), |row| row.viewer_offload).map(to_millionths),
            viewer_offload_bound: carriage.map(|carriage| to_millionths(carriage.by_viewers)),
            // Copies of switches are not the CDN's.
            peer_offload: shared(viewers.iter().copied(), not_from_cdn).map(to_millionths),
            video_bytes,
            server_egress_bytes: egress,
            broadcaster_bytes: facts.broadcaster_bytes,
            sent_bytes: facts.sent_bytes,
            cdn_copies: per_video(egress, 1),
            broadcaster_copies: per_video(facts.broadcaster_bytes, 1),
            sent_per_video: per_video(facts.sent_bytes, audience),
            cpu_mean: mean(&busy).map(to_millionths),
            cpu_max: busy.iter().copied().max_by(f64::total_cmp).map(to_millionths),
            partial: first.partial,
            fit: first.fit,
            note: first.note.clone(),
            node: record.node.clone(),
        })
    };
    trial.streams.iter().filter_map(row).collect()
}

/// The share of a viewer's bytes that others than the CDN sent: peers, and switches that copy.
#[allow(clippy::cast_precision_loss)]
fn not_from_cdn(row: &SummaryRow) -> Option<f64> {
    let (cdn, others) = (row.cdn_bytes?, row.peer_bytes? + row.group_bytes.unwrap_or(0));
    (cdn + others > 0).then(|| others as f64 / (cdn + others) as f64)
}

/// Size of each frame of the stream in bytes, by its index. A viewer has rows for the frames that were born while it
/// was there, so that only all viewers together tell, and a frame for which nobody was there is not among them.
fn sizes(frames: &[FrameRow], stream: &str) -> BTreeMap<u64, u64> {
    let of_stream = frames.iter().filter(|frame| frame.stream == stream);
    of_stream.map(|frame| (frame.index, u64::from(frame.size_bytes))).collect()
}

/// How busy the processors were, second by second, as the fitness watch saw it.
fn busy(fitness: &serde_json::Value) -> Vec<f64> {
    let samples = fitness.pointer("/observations/samples").and_then(serde_json::Value::as_array);
    samples.into_iter().flatten().filter_map(|sample| sample.get("busy")?.as_f64()).collect()
}

#[allow(clippy::cast_precision_loss)]
fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Shares and ratios in tables have six decimals.
fn to_millionths(share: f64) -> f64 {
    (share * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::plan::delivery::Via;
    use crate::table::tests::{frame, record, trial};
    use crate::table::{ViewerFacts, read_audience, summarise, write_audience};
    use crate::trace::Sent;

    /// Four viewers of whom the first is served by the broadcaster, the others by viewers, and the last got nothing.
    fn tables(change: impl FnOnce(&mut TrialRecord)) -> (TrialRecord, Trial, Vec<SummaryRow>, Vec<FrameRow>) {
        let names = ["hv1", "hv2", "hv3", "hv4"];
        let mut record = record("bypass-1");
        change(&mut record);
        let (mut summary, mut frames) = (Vec::new(), Vec::new());
        for (place, name) in names.into_iter().enumerate() {
            let delay = (place < 3).then_some(240.0 + 10.0 * place as f64);
            let mine: Vec<FrameRow> = (0..20).map(|n| frame("bypass-1", name, n, delay, Via::Peer)).collect();
            let facts = ViewerFacts {
                stream: "hb".into(),
                viewer: name.into(),
                born: 20,
                captured: true,
                cdn_bytes: Some(if place == 3 { 1000 } else { 0 }),
                peer_bytes: Some(if place == 3 { 0 } else { 3000 }),
                viewer_bytes: Some(if matches!(place, 1 | 2) { 3000 } else { 0 }),
                cdn_sent: Some(Sent { bytes: if place == 3 { 1500 } else { 0 }, again: 0 }),
                ..ViewerFacts::default()
            };
            summary.extend(summarise(&record, &[facts], &mine));
            frames.extend(mine);
        }
        (record, trial("bypass-1", &names), summary, frames)
    }

    fn rows(streams: &[StreamFacts], change: impl FnOnce(&mut TrialRecord)) -> Vec<AudienceRow> {
        let (record, trial, summary, frames) = tables(change);
        audiences(&record, &trial, streams, &summary, &frames)
    }

    #[test]
    fn one_line_for_all_viewers() {
        let video = (0..20_u64).map(|n| 10_000 + n).sum::<u64>();
        let facts =
            StreamFacts { stream: "hb".into(), broadcaster_bytes: Some(2 * video), sent_bytes: Some(5 * video) };
        let busy = serde_json::json!({"observations": {"samples": [{"busy": 0.5}, {"busy": 0.75}, {"busy": null}]}});
        let rows = rows(&[facts], |record| record.fitness = busy);
        let [row] = &rows[..] else { panic!("{rows:?}") };
        assert_eq!((row.viewers, row.frames, row.missing, row.skipped), (4, 20, Some(20), Some(0)));
        // hv4 has no delay; the others have one for all frames.
        assert_eq!(
            [row.delay_p50_best_ms, row.delay_p50_median_ms, row.delay_p50_worst_ms],
            [240.0, 250.0, 260.0].map(Some)
        );
        assert_eq!([row.delay_p95_best_ms, row.delay_p95_worst_ms], [240.0, 260.0].map(Some));
        assert_eq!((row.viewer_offload, row.peer_offload), (Some(0.6), Some(0.9)));
        assert_eq!((row.video_bytes, row.server_egress_bytes), (Some(video), Some(1500)));
        assert_eq!((row.broadcaster_copies, row.sent_per_video), (Some(2.0), Some(1.25)));
        assert_eq!((row.cpu_mean, row.cpu_max), (Some(0.625), Some(0.75)));
        assert!(row.copy_bit_per_s.is_none() && row.depth_bound.is_none(), "a network without links has no bounds");
    }

    #[test]
    fn a_frame_counts_once_whoever_was_there_for_it() {
        let (record, trial, mut summary, mut frames) = tables(|_| {});
        // The first viewer leaves after five frames, and the others come with the fourth.
        frames.retain(|frame| if frame.viewer == "hv1" { frame.index < 5 } else { frame.index >= 3 });
        for row in &mut summary {
            row.frames = if row.viewer == "hv1" { 5 } else { 17 };
        }
        let rows = audiences(&record, &trial, &[], &summary, &frames);
        assert_eq!((rows[0].frames, rows[0].video_bytes), (20, Some((0..20).map(|n| 10_000 + n).sum())));
    }

    #[test]
    fn what_is_not_known_is_nothing() {
        let rows = rows(&[], |record| record.unfit = vec!["CPU pressure 31 %".into()]);
        let row = &rows[0];
        assert_eq!((row.broadcaster_bytes, row.sent_bytes, row.sent_per_video), (None, None, None));
        assert_eq!((row.cpu_mean, row.cpu_max), (None, None));
        assert!(!row.fit && row.note.contains("CPU pressure 31 %"));
        let (record, trial, ..) = tables(|_| {});
        assert_eq!(audiences(&record, &trial, &[], &[], &[]), [], "without viewers in the summary there is no line");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audience.csv");
        write_audience(&path, &rows).unwrap();
        assert_eq!(read_audience(&path).unwrap(), rows);
    }
}

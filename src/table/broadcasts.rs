//! What programs other than ffmpeg made of the broadcasts that were asked of them.

use super::rows::BroadcastRow;
use crate::plan::Stream;
use crate::store::{TrialDir, TrialRecord};
use crate::trace::{Births, ObsTotals, TrialTrace};

/// A row for each stream, if a program other than ffmpeg makes any; else there is none: ffmpeg makes what is planned.
pub(super) fn broadcast_rows(record: &TrialRecord, dir: &TrialDir, trace: &TrialTrace) -> Vec<BroadcastRow> {
    let streams = &trace.trial.streams;
    if streams.iter().all(|stream| stream.program.is_usual()) {
        return Vec::new();
    }
    let row = |(stream, births): (&Stream, Option<&Births>)| {
        let log = dir.log(&stream.broadcaster, crate::actor::broadcaster::ENCODER);
        let totals = if stream.program.is_obs() { ObsTotals::read(&log) } else { None };
        let intervals = births.map(intervals_ms).unwrap_or_default();
        BroadcastRow {
            trial: record.id.clone(),
            point: record.point.clone(),
            stream: stream.name.clone(),
            program: stream.program.name().to_owned(),
            planned: trace.trial.video.frames,
            born: births.map(|births| u32::try_from(births.frames.len()).unwrap_or(u32::MAX)),
            interval_p50_ms: percentile(&intervals, 50),
            interval_p95_ms: percentile(&intervals, 95),
            interval_max_ms: percentile(&intervals, 100),
            dropped: totals.map(|totals| totals.dropped),
            lagged: totals.map(|totals| totals.lagged),
            skipped: totals.map(|totals| totals.skipped),
            drawn: totals.map(|totals| totals.drawn),
            output: totals.map(|totals| totals.output),
            partial: record.is_partial(),
            fit: record.unfit.is_empty(),
        }
    };
    streams.iter().zip(trace.births.iter().map(|births| births.births.as_ref())).map(row).collect()
}

/// From each birth to the next, in order of length.
#[allow(clippy::cast_precision_loss)]
fn intervals_ms(births: &Births) -> Vec<f64> {
    let pairs = births.frames.windows(2);
    let mut all: Vec<f64> = pairs.map(|pair| (pair[1].birth_ns - pair[0].birth_ns) as f64 / 1e6).collect();
    all.sort_unstable_by(f64::total_cmp);
    all
}

/// By nearest rank, in milliseconds; `None` of no values.
fn percentile(sorted: &[f64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).map(|ms| (ms * 1e3).round() / 1e3)
}

/// A line for each stream of a run in which a program other than ffmpeg broadcasts; `None` if there is none.
#[must_use]
pub fn broadcasts_text(rows: &[BroadcastRow]) -> Option<String> {
    if rows.is_empty() {
        return None;
    }
    let heads =
        ["trial", "stream", "program", "planned", "born", "interval p50/p95/max ms", "dropped", "lagged", "skipped"];
    let mut lines = vec![heads.map(str::to_owned)];
    for row in rows {
        let mark = if row.fit && !row.partial { "" } else { " !" };
        let count = |count: Option<u32>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
        let ms = |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1}"));
        lines.push([
            format!("{}{mark}", row.trial),
            row.stream.clone(),
            row.program.clone(),
            row.planned.to_string(),
            count(row.born),
            format!("{} / {} / {}", ms(row.interval_p50_ms), ms(row.interval_p95_ms), ms(row.interval_max_ms)),
            count(row.dropped),
            count(row.lagged),
            count(row.skipped),
        ]);
    }
    let widths: [usize; 9] =
        std::array::from_fn(|at| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0));
    let mut text = String::from("the broadcasters' programs:\n");
    for line in lines {
        let mut padded = String::new();
        for (at, (cell, width)) in line.iter().zip(widths).enumerate() {
            padded += &if at < 3 { format!("{cell:width$}  ") } else { format!("{cell:>width$}  ") };
        }
        text += padded.trim_end();
        text.push('\n');
    }
    if rows.iter().all(|row| row.dropped.is_none()) {
        return Some(text);
    }
    text.push_str("Dropped: by OBS, because its connection took no more; such frames were never born, so they are not among the missing ones.\n");
    Some(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::table::tests::record;
    use crate::table::{read_broadcasts, write_broadcasts};

    #[test]
    fn rows_are_stored_and_told() {
        let record = record("direct-1");
        let row = BroadcastRow {
            trial: record.id.clone(),
            point: record.point.clone(),
            stream: "hb".into(),
            program: "obs".into(),
            planned: 300,
            born: Some(290),
            interval_p50_ms: Some(33.333),
            interval_p95_ms: Some(36.0),
            interval_max_ms: Some(120.25),
            dropped: Some(7),
            lagged: Some(0),
            skipped: Some(0),
            drawn: Some(300),
            output: Some(297),
            partial: false,
            fit: true,
        };
        let other = BroadcastRow {
            program: "/opt/publish".into(),
            dropped: None,
            lagged: None,
            skipped: None,
            ..row.clone()
        };
        let text = broadcasts_text(&[row.clone(), other.clone()]).unwrap();
        assert!(
            text.contains("obs               300   290      33.3 / 36.0 / 120.2        7       0        0\n"),
            "{text}"
        );
        assert!(
            text.contains("/opt/publish      300   290      33.3 / 36.0 / 120.2        -       -        -\n"),
            "{text}"
        );
        assert_eq!(broadcasts_text(&[]), None);
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("broadcasts.csv");
        write_broadcasts(&table, &[]).unwrap();
        assert!(!table.exists());
        write_broadcasts(&table, &[row.clone(), other.clone()]).unwrap();
        assert_eq!(read_broadcasts(&table).unwrap(), [row, other]);
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        assert_eq!([50, 95, 100].map(|p| percentile(&[1.0, 2.0, 3.0, 40.0], p)), [Some(2.0), Some(40.0), Some(40.0)]);
        assert_eq!(percentile(&[], 50), None);
    }
}

//! What estimates and pictures of many trials need of a viewer's frames, without the frames: 8 bytes for each figure
//! of a frame in place of some hundreds.

use std::collections::HashMap;
use std::path::Path;

use super::TableError;
use super::field::{Field, Table};
use super::rows::FrameRow;
use crate::plan::delivery::Via;

/// A figure of a frame, in milliseconds: a column of `frames.parquet`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameFigure {
    /// [`FrameRow::delay_ms`].
    Delay,
    /// [`FrameRow::excess_ms`].
    Excess,
    /// [`FrameRow::stream_excess_ms`].
    StreamExcess,
    /// [`FrameRow::floor_ms`] of all frames, also those that never arrived.
    Floor,
    /// [`FrameRow::floor_ms`] of the frames that arrived.
    FloorOfArrived,
    /// [`FrameRow::queue_ms`].
    Queue,
    /// [`FrameRow::uplink_ms`].
    Uplink,
    /// [`FrameRow::dwell_ms`].
    Dwell,
    /// [`FrameRow::downlink_ms`].
    Downlink,
    /// [`FrameRow::transfer_ms`].
    Transfer,
}

impl FrameFigure {
    /// The figures that [estimates](super::estimates) are made of.
    pub const ESTIMATED: [FrameFigure; 3] = [FrameFigure::Delay, FrameFigure::Excess, FrameFigure::StreamExcess];

    /// Its value for one frame; `None`: the frame does not have it.
    #[must_use]
    pub fn of(self, row: &FrameRow) -> Option<f64> {
        match self {
            FrameFigure::Delay => row.delay_ms,
            FrameFigure::Excess => row.excess_ms,
            FrameFigure::StreamExcess => row.stream_excess_ms,
            FrameFigure::Floor => row.floor_ms,
            FrameFigure::FloorOfArrived => row.floor_ms.filter(|_| row.arrival_ns.is_some()),
            FrameFigure::Queue => row.queue_ms,
            FrameFigure::Uplink => row.uplink_ms,
            FrameFigure::Dwell => row.dwell_ms,
            FrameFigure::Downlink => row.downlink_ms,
            FrameFigure::Transfer => row.transfer_ms,
        }
    }

    fn column(self) -> &'static str {
        match self {
            FrameFigure::Delay => "delay_ms",
            FrameFigure::Excess => "excess_ms",
            FrameFigure::StreamExcess => "stream_excess_ms",
            FrameFigure::Floor | FrameFigure::FloorOfArrived => "floor_ms",
            FrameFigure::Queue => "queue_ms",
            FrameFigure::Uplink => "uplink_ms",
            FrameFigure::Dwell => "dwell_ms",
            FrameFigure::Downlink => "downlink_ms",
            FrameFigure::Transfer => "transfer_ms",
        }
    }
}

/// What is kept of the frames of a viewer of a stream in a trial.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Digest {
    /// How many frames the viewer was owed.
    frames: usize,
    missing: usize,
    /// How many of them arrived from the CDN, from peers and from groups: see [`place`].
    arrived: [usize; 3],
    floor_mean_ms: Option<f64>,
    values: Vec<(FrameFigure, Vec<f64>)>,
}

/// The digests of many trials, by trial; within each by stream and viewer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Digests(HashMap<String, Vec<(String, String, Digest)>>);

/// The frames of a unit: themselves, or what was kept of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Frames<'a> {
    /// All of them, as rows of `frames.parquet`.
    Rows(&'a [FrameRow]),
    /// Their number, where they came from, and those of their figures that were asked for.
    Digest(&'a Digest),
}

fn place(via: Via) -> usize {
    match via {
        Via::Cdn => 0,
        Via::Peer => 1,
        Via::Group => 2,
    }
}

impl Frames<'_> {
    /// How many frames the viewer was owed, whether or not they arrived.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Frames::Rows(rows) => rows.len(),
            Frames::Digest(digest) => digest.frames,
        }
    }

    /// How many of them never arrived.
    #[must_use]
    pub fn missing(&self) -> usize {
        match self {
            Frames::Rows(rows) => rows.iter().filter(|row| row.arrival_ns.is_none()).count(),
            Frames::Digest(digest) => digest.missing,
        }
    }

    /// How many of them first arrived whole that way.
    #[must_use]
    pub fn arrived(&self, via: Via) -> usize {
        match self {
            Frames::Rows(rows) => rows.iter().filter(|row| row.via == Some(via)).count(),
            Frames::Digest(digest) => digest.arrived[place(via)],
        }
    }

    /// Mean floor in milliseconds of the frames that arrived; `None`: none arrived, or none has a floor.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn floor_mean_ms(&self) -> Option<f64> {
        match self {
            Frames::Rows(rows) => {
                let floors = || rows.iter().filter_map(|row| FrameFigure::FloorOfArrived.of(row));
                let count = floors().count();
                (count > 0).then(|| floors().sum::<f64>() / count as f64)
            }
            Frames::Digest(digest) => digest.floor_mean_ms,
        }
    }

    /// Adds the figure's value for each frame that has it to `values`. A digest has those that it was read with.
    pub fn add_to(&self, values: &mut Vec<f64>, figure: FrameFigure) {
        match self {
            Frames::Rows(rows) => values.extend(rows.iter().filter_map(|row| figure.of(row))),
            Frames::Digest(digest) => {
                let kept = digest.values.iter().find(|(kept, _)| *kept == figure);
                values.extend(kept.iter().flat_map(|(_, values)| values));
            }
        }
    }
}

impl Digests {
    /// The digest of a viewer of a stream in a trial; `None`: the trial has no frames of it.
    #[must_use]
    pub fn get(&self, trial: &str, stream: &str, viewer: &str) -> Option<&Digest> {
        let of_trial = self.0.get(trial)?;
        of_trial.iter().find(|(s, v, _)| s == stream && v == viewer).map(|(_, _, digest)| digest)
    }

    /// Whether there is no frame of any trial.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many frames there are in all trials, whether or not they arrived.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.0.values().flatten().map(|(_, _, digest)| digest.frames).sum()
    }

    /// Adds those of other trials; what their trials are called is given by `name`.
    pub fn extend(&mut self, others: Digests, name: impl Fn(String) -> String) {
        for (trial, digests) in others.0 {
            self.0.entry(name(trial)).or_default().extend(digests);
        }
    }

    /// Reads a table of frames, and of it no more than these figures.
    ///
    /// # Errors
    /// [`TableError::Read`], [`TableError::Damaged`], [`TableError::Column`].
    #[allow(clippy::cast_precision_loss)]
    pub fn read(path: &Path, figures: &[FrameFigure]) -> Result<Digests, TableError> {
        let always = ["trial", "stream", "viewer", "via", "arrival_ns", "floor_ms"];
        let mut names: Vec<&str> = always.into_iter().chain(figures.iter().map(|figure| figure.column())).collect();
        names.sort_unstable();
        names.dedup();
        let table = Table::parquet_columns(path, &names)?;
        let texts = |name| table.texts(name);
        let (trials, streams, viewers) = (texts("trial")?, texts("stream")?, texts("viewer")?);
        let (trials, streams, viewers) = (trials.str(), streams.str(), viewers.str());
        let text = |column: &polars::prelude::PolarsResult<&polars::prelude::StringChunked>, row: usize| {
            column.as_ref().ok().and_then(|column| column.get(row)).unwrap_or_default().to_owned()
        };
        let ways = Option::<Via>::read(&table, "via")?;
        let arrivals = Option::<i64>::read(&table, "arrival_ns")?;
        let floors = Option::<f64>::read(&table, "floor_ms")?;
        // Tables of older livectls lack some.
        let mut columns: Vec<(FrameFigure, Vec<Option<f64>>)> = Vec::new();
        for figure in figures {
            columns.push((*figure, table.added::<Option<f64>>(figure.column())?));
        }
        let mut digests = Digests::default();
        let same = |a: usize, b: usize| {
            [&trials, &streams, &viewers]
                .iter()
                .all(|column| column.as_ref().is_ok_and(|column| column.get(a) == column.get(b)))
        };
        let mut begin = 0;
        while begin < table.rows() {
            let end = (begin + 1..table.rows()).find(|row| !same(begin, *row)).unwrap_or(table.rows());
            let mine = begin..end;
            let mut digest = Digest { frames: mine.len(), ..Digest::default() };
            ways[mine.clone()].iter().flatten().for_each(|via| digest.arrived[place(*via)] += 1);
            digest.missing = arrivals[mine.clone()].iter().filter(|arrival| arrival.is_none()).count();
            let arrived = |row: &usize| arrivals[*row].is_some();
            let of_arrived: Vec<f64> = mine.clone().filter(arrived).filter_map(|row| floors[row]).collect();
            digest.floor_mean_ms =
                (!of_arrived.is_empty()).then(|| of_arrived.iter().sum::<f64>() / of_arrived.len() as f64);
            for (figure, column) in &columns {
                let values = match figure {
                    FrameFigure::FloorOfArrived => of_arrived.clone(),
                    _ => column[mine.clone()].iter().flatten().copied().collect(),
                };
                digest.values.push((*figure, values));
            }
            let (trial, stream, viewer) = (text(&trials, begin), text(&streams, begin), text(&viewers, begin));
            digests.0.entry(trial).or_default().push((stream, viewer, digest));
            begin = end;
        }
        Ok(digests)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::frame;
    use super::super::write_frames;
    use super::*;

    #[test]
    fn a_digest_tells_what_its_frames_would() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("frames.parquet");
        let mut rows: Vec<FrameRow> = Vec::new();
        for (trial, viewer) in [("direct-1", "hv1"), ("direct-1", "hv2"), ("bypass-1", "hv1")] {
            let via = if viewer == "hv2" { Via::Peer } else { Via::Cdn };
            rows.extend((0..30).map(|n| frame(trial, viewer, n, (n % 7 != 3).then_some(240.0 + f64::from(n)), via)));
        }
        rows.iter_mut().for_each(|row| row.floor_ms = Some(200.0 + row.index as f64));
        write_frames(&path, &rows).unwrap();
        let figures = [FrameFigure::Delay, FrameFigure::Floor, FrameFigure::FloorOfArrived, FrameFigure::Uplink];
        let digests = Digests::read(&path, &figures).unwrap();
        assert_eq!((digests.frames(), digests.get("bypass-1", "hb", "hv2")), (90, None));
        for mine in rows.chunks(30) {
            let (rows, digest) = (Frames::Rows(mine), digests.get(&mine[0].trial, "hb", &mine[0].viewer).unwrap());
            let digest = Frames::Digest(digest);
            assert_eq!((rows.count(), rows.missing()), (digest.count(), digest.missing()));
            for via in [Via::Cdn, Via::Peer, Via::Group] {
                assert_eq!(rows.arrived(via), digest.arrived(via));
            }
            assert!((rows.floor_mean_ms().unwrap() - digest.floor_mean_ms().unwrap()).abs() < 1e-9);
            for figure in figures {
                let (mut expected, mut found) = (Vec::new(), Vec::new());
                rows.add_to(&mut expected, figure);
                digest.add_to(&mut found, figure);
                assert_eq!(expected, found, "{figure:?}");
            }
        }
        std::fs::write(&path, "PAR1").unwrap();
        assert!(matches!(Digests::read(&path, &figures), Err(TableError::Damaged { .. })));
    }
}

//! The two pictures: what is drawn, in which colour, with which words.

use std::collections::BTreeMap;

use plotters::style::RGBColor;

use super::canvas::{self, Marker};
use super::chart::{BLACK, Chart, Dash, Entry, GREY, Series, Shape, Swatch};
use super::happening::{self, Mark};
use super::{Picture, PlotError};
use crate::plan::delivery::Via;
use crate::plan::{Datapath, LinkKind, Scheme};
use crate::store::{Made, Manifest};
use crate::table::{FrameRow, PingDelay};

const MARKERS: [Marker; 5] = [Marker::Circle, Marker::Triangle, Marker::Square, Marker::Diamond, Marker::Cross];

/// What the data is of: the words around the picture.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Subject {
    /// The recipe's name.
    pub recipe: String,
    /// Run, link kind, datapath: in small type under the title.
    pub origin: String,
    /// For each trial whose data is doubtful, its name and why: `direct-1 UNFIT: CPU pressure …`.
    pub warnings: Vec<String>,
    /// What happened to links and viewers meanwhile.
    pub(super) happenings: Vec<Mark>,
}

impl Subject {
    /// What a run's manifest says.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Subject {
        Self::of_trials(manifest, |_| true)
    }

    /// The same for a picture that shows those of its trials for which `shown` is true, by their names.
    #[must_use]
    pub fn of_trials(manifest: &Manifest, shown: impl Fn(&str) -> bool) -> Subject {
        let mut origin = vec![format!("run {}", manifest.run)];
        let points = manifest.plan.trials.iter().filter(|trial| shown(&trial.id)).map(|trial| &trial.point);
        let made = Made::of(points);
        // Of a sweep that has both, a picture of predictions alone is of no links that were made.
        let measured = made != Made::Predicted;
        match manifest.link.as_ref().filter(|_| measured).map(|choice| choice.used) {
            Some(LinkKind::Netem) => origin.push("netem links".to_owned()),
            Some(LinkKind::Emulated) => origin.push("emulated links".to_owned()),
            Some(LinkKind::Auto) | None => {}
        }
        match manifest.datapath.as_ref().filter(|_| measured).map(|choice| choice.used) {
            Some(Datapath::Kernel) => origin.push("Open vSwitch, kernel datapath".to_owned()),
            Some(Datapath::User) => origin.push("Open vSwitch, user datapath".to_owned()),
            Some(Datapath::Auto) | None => {}
        }
        if manifest.imported.is_some() {
            origin.push("imported".to_owned());
        }
        match made {
            Made::Measured => {}
            Made::Predicted => origin.push("PREDICTED, not measured".to_owned()),
            Made::Both { predicted: 1 } => origin.push("1 trial PREDICTED, not measured".to_owned()),
            Made::Both { predicted } => origin.push(format!("{predicted} trials PREDICTED, not measured")),
        }
        origin.push(format!("livectl {}", manifest.livectl.version));
        let trials = manifest.trials.iter().filter(|t| shown(&t.id));
        let warned = trials.flat_map(|t| t.warnings().into_iter().map(|w| format!("{} {w}", t.id)));
        let happenings = happening::of(manifest.plan.trials.iter().filter(|trial| shown(&trial.id)));
        Subject {
            recipe: manifest.recipe.name.clone(),
            origin: origin.join(" · "),
            warnings: warned.collect(),
            happenings,
        }
    }
}

/// The classic picture: the delay that pings see, through the CDN and from peer to peer, over time, as PNG or SVG.
/// `streaming` is when the stream began and ended on the trials' timeline, in s.
///
/// # Errors
/// [`PlotError::Empty`] if no ping was answered, [`PlotError::Size`], [`PlotError::Drawing`].
pub fn delay_picture(
    subject: &Subject,
    delays: &[PingDelay],
    streaming: Option<(f64, f64)>,
    picture: &Picture,
) -> Result<Vec<u8>, PlotError> {
    drawn(&delay_chart(subject, delays, streaming, picture)?, picture)
}

pub(super) fn delay_chart(
    subject: &Subject,
    delays: &[PingDelay],
    streaming: Option<(f64, f64)>,
    picture: &Picture,
) -> Result<Chart, PlotError> {
    let lines =
        grouped(delays, |d| (Kind::of(d.point.scheme, Some(d.via)), &d.trial, &d.viewer), |d| (d.time_s, d.delay_ms));
    let legend_shape = |marker| Shape::Joined { marker, radius: 3.5, width: 2.5 };
    let chart = Chart {
        title: format!("{}: network delay, as pings see it", subject.recipe),
        legend: legend(&lines, legend_shape, |_| String::new(), streaming),
        series: data_series(lines, legend_shape),
        ..frame_of(subject, streaming, picture)
    };
    let why = "no ping between broadcaster, CDN and viewers was answered";
    finished(chart, "delay-plot", why, picture)
}

/// The delay of each frame over its birth, with the floor: the least that the network allows.
///
/// Frames that never arrived are short strokes at the upper edge.
///
/// # Errors
/// [`PlotError::Empty`] if no frame arrived, [`PlotError::Size`], [`PlotError::Drawing`].
pub fn frame_delay_picture(
    subject: &Subject,
    frames: &[FrameRow],
    streaming: Option<(f64, f64)>,
    picture: &Picture,
) -> Result<Vec<u8>, PlotError> {
    drawn(&frame_delay_chart(subject, frames, streaming, picture)?, picture)
}

pub(super) fn frame_delay_chart(
    subject: &Subject,
    frames: &[FrameRow],
    streaming: Option<(f64, f64)>,
    picture: &Picture,
) -> Result<Chart, PlotError> {
    let lines =
        grouped(frames, |f| (Kind::of(f.point.scheme, f.via), &f.trial, &f.viewer), |f| (f.time_s, f.delay_ms));
    let points = |marker| Shape::Points { marker, radius: 3.0 };
    let missing = |kind| {
        // A missing frame came from nowhere, so that it is of the kind that the scheme is meant to be.
        let of_kind = || frames.iter().filter(|f| Kind::of(f.point.scheme, None) == kind);
        match of_kind().filter(|f| f.delay_ms.is_none()).count() {
            0 => String::new(),
            missing => format!(", {missing} of {} frames missing", of_kind().count()),
        }
    };
    let arrived = frames.iter().any(|f| f.delay_ms.is_some());
    let mut legend = legend(&lines, points, missing, streaming);
    let mut series = if arrived { data_series(lines, points) } else { Vec::new() };
    for floor in FLOORS.iter().filter(|_| arrived) {
        let lines = floors(frames, floor.of);
        if lines.is_empty() {
            continue;
        }
        let shape = Shape::Line { width: 1.4 };
        let series_of = |points| Series { shape, colour: floor.colour, opacity: 1.0, dash: floor.dash, points };
        series.extend(lines.into_iter().map(series_of));
        let before_interval = legend.len() - usize::from(streaming.is_some());
        let entry = Entry { swatch: Swatch::Shape(shape, floor.colour), label: floor.label.to_owned() };
        legend.insert(before_interval, entry);
    }
    let chart = Chart {
        title: format!("{}: delay of each frame", subject.recipe),
        legend,
        series,
        ..frame_of(subject, streaming, picture)
    };
    finished(chart, "frame-delay-plot", "no frame arrived at any viewer", picture)
}

/// When the encoders worked, on the trials' timeline: from the first birth to the last, or by the plan where no birth
/// is known. Of imported runs, whose plan knows no video, it is what was said when they were imported.
pub(super) fn streaming_interval(manifest: &Manifest, frames: &[FrameRow]) -> Option<(f64, f64)> {
    if let Some(imported) = &manifest.imported {
        return imported.streaming_s();
    }
    let born = frames.iter().map(|f| f.time_s).filter(|t| t.is_finite());
    let (first, last) = born.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), t| (a.min(t), b.max(t)));
    if first <= last {
        return Some((first, last));
    }
    let trial = manifest.plan.trials.first()?;
    let begin = trial.timeline.broadcast_at.as_secs_f64();
    Some((begin, begin + f64::from(trial.video.frames) / f64::from(trial.video.fps.max(1))))
}

/// What shares a colour: a scheme's way of its own, or what its viewers get from the CDN although peers could serve
/// them: before the handover, or because they have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    scheme: Scheme,
    own: bool,
}

impl Kind {
    fn of(scheme: Scheme, via: Option<Via>) -> Kind {
        Kind { scheme, own: via != Some(Via::Cdn) || !scheme.has_peers() }
    }

    fn colour(self) -> RGBColor {
        let delivery = self.scheme.delivery();
        let [red, green, blue] = if self.own { delivery.colour() } else { delivery.colour_from_cdn() };
        RGBColor(red, green, blue)
    }

    fn words(self) -> String {
        let (scheme, label) = (self.scheme, self.scheme.delivery().label());
        if self.own { format!("{label} ({scheme})") } else { format!("{scheme}, from the CDN") }
    }
}

/// Points of the lines, by kind, trial and viewer: time and delay.
type Lines = BTreeMap<(Kind, String, String), Vec<(f64, Option<f64>)>>;

fn grouped<'a, T>(
    rows: &'a [T],
    key: impl Fn(&'a T) -> (Kind, &'a String, &'a String),
    point: impl Fn(&'a T) -> (f64, Option<f64>),
) -> Lines {
    let mut lines = Lines::new();
    for row in rows {
        let (kind, trial, viewer) = key(row);
        lines.entry((kind, trial.clone(), viewer.clone())).or_default().push(point(row));
    }
    for points in lines.values_mut() {
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    lines
}

fn viewers(lines: &Lines) -> Vec<String> {
    let mut viewers: Vec<String> = lines.keys().map(|(.., viewer)| viewer.clone()).collect();
    viewers.sort();
    viewers.dedup();
    viewers
}

fn marker_of(viewers: &[String], viewer: &str) -> Marker {
    MARKERS[viewers.iter().position(|v| v == viewer).unwrap_or(0) % MARKERS.len()]
}

/// Trials of one kind share its colour; the more there are, the lighter each is.
fn data_series(lines: Lines, shape: impl Fn(Marker) -> Shape) -> Vec<Series> {
    let viewers = viewers(&lines);
    let mut trials: BTreeMap<Kind, Vec<&String>> = BTreeMap::new();
    for (kind, trial, _) in lines.keys() {
        let known = trials.entry(*kind).or_default();
        if !known.contains(&trial) {
            known.push(trial);
        }
    }
    #[allow(clippy::cast_precision_loss)]
    let opacity = |kind| (1.0 / (trials.get(&kind).map_or(1, Vec::len) as f64).sqrt()).max(0.25);
    let opacities: BTreeMap<Kind, f64> = trials.keys().map(|kind| (*kind, opacity(*kind))).collect();
    lines
        .into_iter()
        .map(|((kind, _, viewer), points)| Series {
            shape: shape(marker_of(&viewers, &viewer)),
            colour: kind.colour(),
            opacity: opacities.get(&kind).copied().unwrap_or(1.0),
            dash: Dash::Whole,
            points,
        })
        .collect()
}

fn legend(
    lines: &Lines,
    shape: impl Fn(Marker) -> Shape,
    remark: impl Fn(Kind) -> String,
    streaming: Option<(f64, f64)>,
) -> Vec<Entry> {
    let viewers = viewers(lines);
    let mut kinds: Vec<Kind> = lines.keys().map(|(kind, ..)| *kind).collect();
    kinds.dedup();
    let mut entries: Vec<Entry> = kinds
        .into_iter()
        .map(|kind| Entry {
            swatch: Swatch::Shape(shape(Marker::Circle), kind.colour()),
            label: format!("{}{}", kind.words(), remark(kind)),
        })
        .collect();
    if viewers.len() > 1 {
        entries.extend(viewers.iter().map(|viewer| {
            let marker = marker_of(&viewers, viewer);
            Entry { swatch: Swatch::Shape(Shape::Points { marker, radius: 0.0 }, BLACK), label: viewer.clone() }
        }));
    }
    if streaming.is_some() {
        entries.push(Entry { swatch: Swatch::Dashes, label: "streaming interval".to_owned() });
    }
    entries
}

/// Seconds and milliseconds of a line, in time's order.
type Points = Vec<(f64, Option<f64>)>;

/// A least possible delay, as it is drawn.
struct Floor {
    label: &'static str,
    of: fn(&FrameRow) -> Option<f64>,
    colour: RGBColor,
    dash: Dash,
}

/// Each frame's alone, and behind all that its stream has sent before it.
const FLOORS: [Floor; 2] = [
    Floor { label: "floor: least possible delay", of: |f| f.floor_ms, colour: BLACK, dash: Dash::Whole },
    Floor { label: "floor of the stream", of: |f| f.stream_floor_ms, colour: GREY, dash: Dash::Dots },
];

/// The floor of each stream at each viewer, once: schemes and repetitions share it, up to when a frame was born.
fn floors(frames: &[FrameRow], of: fn(&FrameRow) -> Option<f64>) -> Vec<Points> {
    let mut by_trial: BTreeMap<(&str, &str), BTreeMap<&str, Points>> = BTreeMap::new();
    for (frame, floor_ms) in frames.iter().filter_map(|frame| Some((frame, of(frame)?))) {
        let trials = by_trial.entry((&frame.stream, &frame.viewer)).or_default();
        trials.entry(&frame.trial).or_default().push((frame.time_s, Some(floor_ms)));
    }
    let longest = by_trial.into_values().filter_map(|trials| trials.into_values().max_by_key(Vec::len));
    longest
        .map(|mut points| {
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            points
        })
        .collect()
}

fn frame_of(subject: &Subject, streaming: Option<(f64, f64)>, picture: &Picture) -> Chart {
    Chart {
        subtitle: subject.origin.clone(),
        warnings: subject.warnings.clone(),
        x_label: "time (s)".to_owned(),
        y_label: "delay (ms)".to_owned(),
        y_scale: picture.scale,
        marks: streaming.map_or_else(Vec::new, |(begin, end)| vec![begin, end]),
        happenings: subject.happenings.clone(),
        ..Chart::default()
    }
}

fn finished(mut chart: Chart, name: &'static str, why: &str, picture: &Picture) -> Result<Chart, PlotError> {
    if chart.is_empty() {
        return Err(PlotError::Empty { picture: name, why: why.to_owned() });
    }
    chart.legend.extend(happening::legend(&chart.happenings));
    if let Some(title) = &picture.title {
        chart.title.clone_from(title);
    }
    Ok(chart)
}

fn drawn(chart: &Chart, picture: &Picture) -> Result<Vec<u8>, PlotError> {
    canvas::picture(chart, picture.size, picture.format)
}

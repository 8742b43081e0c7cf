//! The families of pictures. Each makes a [`Plate`] of a [`Selection`]: a chart as a value and the figures behind it.

pub(super) mod audience;
pub(super) mod cdf;
pub(super) mod heat;
pub(super) mod offload;
pub(super) mod parts;
pub(super) mod servers;
pub(super) mod sources;
pub(super) mod spread;
pub(super) mod stalls;
pub(super) mod sweep;
pub(super) mod timeline;
pub(super) mod tree;

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use super::PlotError;
use super::chart::{Chart, Entry, Shape, Swatch};
use super::key::{Key, Value};
use super::selection::{Group, Selection, Style};
use crate::table::{Figures, FrameFigure, frames_behind};

/// A kind of picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// What pings see, over time; a picture for each run.
    Delay,
    /// Each frame's delay over its birth, with the floor; a picture for each run.
    FrameDelay,
    /// The share of frames within a delay.
    Cdf,
    /// Quartiles and whiskers of a figure of frames, for each viewer.
    Box,
    /// The parts that the mean delay is made of.
    Parts,
    /// How long, or how often, the picture stood still, for each playout buffer.
    Stalls,
    /// Bytes from the CDN and from peers.
    Sources,
    /// Delay against the size of the audience, with the bounds.
    Audience,
    /// Who carries the stream, against the size of the audience.
    Offload,
    /// Who has the stream from whom; a picture for each trial with peers.
    Tree,
    /// Who served whom over time; a picture for each trial with peers.
    Servers,
    /// A figure over the values of one parameter.
    Sweep,
    /// A figure over the values of two parameters, as colours.
    Heat,
}

impl Family {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Family; 13] = [
        Family::Delay,
        Family::FrameDelay,
        Family::Cdf,
        Family::Box,
        Family::Parts,
        Family::Stalls,
        Family::Sources,
        Family::Audience,
        Family::Offload,
        Family::Tree,
        Family::Servers,
        Family::Sweep,
        Family::Heat,
    ];

    /// Its name on the command line and in files: `frame-delay`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Family::Delay => "delay",
            Family::FrameDelay => "frame-delay",
            Family::Cdf => "cdf",
            Family::Box => "box",
            Family::Parts => "parts",
            Family::Stalls => "stalls",
            Family::Sources => "sources",
            Family::Audience => "audience",
            Family::Offload => "offload",
            Family::Tree => "tree",
            Family::Servers => "servers",
            Family::Sweep => "sweep",
            Family::Heat => "heat",
        }
    }

    /// The file's name without its end: `frame-delay-plot`. Those of [each trial](Self::of_trials) have the trial's
    /// name behind it.
    #[must_use]
    pub fn stem(self) -> &'static str {
        match self {
            Family::Delay => "delay-plot",
            Family::FrameDelay => "frame-delay-plot",
            Family::Cdf => "cdf-plot",
            Family::Box => "box-plot",
            Family::Parts => "parts-plot",
            Family::Stalls => "stalls-plot",
            Family::Sources => "sources-plot",
            Family::Audience => "audience-plot",
            Family::Offload => "offload-plot",
            Family::Tree => "tree-plot",
            Family::Servers => "servers-plot",
            Family::Sweep => "sweep-plot",
            Family::Heat => "heat-plot",
        }
    }

    /// Whether all runs come together in one picture; the others are of one run each.
    #[must_use]
    pub fn compares(self) -> bool {
        !matches!(self, Family::Delay | Family::FrameDelay | Family::Tree | Family::Servers)
    }

    /// Whether there is a picture for each trial.
    #[must_use]
    pub fn of_trials(self) -> bool {
        matches!(self, Family::Tree | Family::Servers)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Family {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Family::ALL.map(Family::name).join(", ");
        Family::ALL
            .into_iter()
            .find(|family| family.name() == text)
            .ok_or_else(|| format!("there is no picture called {text:?}: choose from {}, or all", names()))
    }
}

/// A picture as a value, with its figures, before it is drawn.
pub(super) struct Plate {
    pub(super) chart: Chart,
    /// What it shows, in one sentence.
    pub(super) caption: String,
    /// The figures that it shows, in a few lines for people.
    pub(super) table: Figures,
    /// Every point, where the table has less.
    pub(super) points: Option<Figures>,
}

/// Columns of frames in milliseconds, by the name that `--metric` gives them, and in words.
type FrameMetric = (&'static str, &'static str, FrameFigure);
const FRAME_METRICS: [FrameMetric; 8] = [
    ("delay", "delay of the frames", FrameFigure::Delay),
    ("excess", "excess of the frames' delay over the floor", FrameFigure::Excess),
    ("floor", "floor of the frames that arrived", FrameFigure::FloorOfArrived),
    ("queue", "time of the frames in the broadcaster's queue", FrameFigure::Queue),
    ("uplink", "time of the frames on the way to the CDN", FrameFigure::Uplink),
    ("dwell", "time of the frames in the CDN", FrameFigure::Dwell),
    ("downlink", "time of the frames on the way from the CDN", FrameFigure::Downlink),
    ("transfer", "time of the frames on the way from a peer", FrameFigure::Transfer),
];

/// The names that `--metric` takes for a family, besides those of `sweep`.
pub(super) fn metric_names(family: Family) -> Vec<&'static str> {
    match family {
        Family::Cdf | Family::Box => FRAME_METRICS.map(|(name, ..)| name).to_vec(),
        Family::Stalls => stalls::METRICS.map(|metric| metric.name).to_vec(),
        _ => Vec::new(),
    }
}

/// The column asked for; another family's metric, and none, mean the delay.
fn frame_metric(name: Option<&str>) -> FrameMetric {
    let name = name.unwrap_or_default();
    let plain = name.strip_suffix("_ms").unwrap_or(name);
    FRAME_METRICS.into_iter().find(|(known, ..)| *known == plain).unwrap_or(FRAME_METRICS[0])
}

/// What families need of the frames of many trials for that metric; `None`: nothing at all.
pub(super) fn frame_figures(families: &[Family], metric: Option<&str>) -> Option<Vec<FrameFigure>> {
    let mut figures = Vec::new();
    let mut any = false;
    for family in families {
        match family {
            Family::Cdf | Family::Box => figures.extend([frame_metric(metric).2, FrameFigure::Floor]),
            // How many came which way, and the mean of their floors.
            Family::Parts | Family::Sources => any = true,
            // A metric that nobody knows means the usual one.
            Family::Sweep => figures.extend(match metric {
                None => Some(FrameFigure::Delay),
                Some(metric) => frames_behind(metric).or((!is_of_trials(metric)).then_some(FrameFigure::Delay)),
            }),
            _ => {}
        }
    }
    figures.sort_by_key(|figure| *figure as u8);
    figures.dedup();
    (any || !figures.is_empty()).then_some(figures)
}

/// Whether families need to know how the stream would have played: those whose metric is of that, or that nobody
/// knows, so that it can be said which there are.
pub(super) fn needs_playouts(families: &[Family], metric: Option<&str>) -> bool {
    let of_playout =
        |metric: &str| metric.contains("_buffer_") || (frames_behind(metric).is_none() && !is_of_trials(metric));
    let over = families.iter().any(|family| matches!(family, Family::Sweep | Family::Heat));
    families.contains(&Family::Stalls) || (over && metric.is_some_and(of_playout))
}

/// Whether a metric is one of each trial, and not of its frames.
fn is_of_trials(metric: &str) -> bool {
    let plain = metric.strip_suffix("_ms").unwrap_or(metric);
    let known = crate::table::trial_metrics(&[]);
    let names = [metric.to_owned(), format!("{plain}_p50_ms"), format!("{plain}_mean_ms")];
    metric.contains("_buffer_") || names.iter().any(|name| known.contains(name))
}

/// The columns that name the groups: a row for each of `rows`. Keys whose values are numbers stay numbers.
fn key_columns(mut figures: Figures, by: &[Key], rows: &[&[Option<Value>]]) -> Figures {
    for (place, key) in by.iter().enumerate() {
        let values = || rows.iter().map(|row| row.get(place).and_then(Option::as_ref));
        let numbers = values().flatten().all(|value| value.number().is_some());
        figures = if numbers && values().flatten().next().is_some() {
            figures.numbers(key.name(), values().map(|value| value.and_then(Value::number)))
        } else {
            figures.texts(key.name(), values().map(|value| value.map(ToString::to_string)))
        };
    }
    figures
}

/// A legend's entry of a group drawn as a line with markers.
fn line_entry(style: Style, label: String) -> Entry {
    let swatch = match style.dash {
        super::chart::Dash::Whole => {
            Swatch::Shape(Shape::Joined { marker: style.marker, radius: 0.0, width: 3.0 }, style.colour)
        }
        dash => Swatch::Broken(dash, Some(style.marker), style.colour),
    };
    Entry { swatch, label }
}

/// What the legend adds to a group's name: how many of its trials are not sound.
fn remarked(group: &Group<'_>) -> String {
    let unsound = super::selection::trials(group.members.iter().filter(|member| !member.is_sound())).len();
    if unsound > 0 { format!("{} ({unsound} unfit or partial)", group.name()) } else { group.name() }
}

/// An empty chart with the words that all pictures of a selection share.
fn blank(selection: &Selection<'_>, around: &super::Around, scale: super::Scale) -> Chart {
    let mut subtitle = around.origin.clone();
    let sound = selection.trials - selection.left_out.len();
    let count = if selection.left_out.is_empty() {
        format!("{sound} trials")
    } else {
        format!("{sound} of {} trials: {} unfit or partial left out", selection.trials, selection.left_out.len())
    };
    subtitle += &format!(" · {count}");
    Chart {
        subtitle,
        warnings: around.warnings.iter().chain(&selection.doubtful).cloned().collect(),
        y_scale: scale,
        ..Chart::default()
    }
}

fn empty(family: Family, why: String) -> PlotError {
    PlotError::Empty { picture: family.stem(), why }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn count(values: usize) -> u64 {
    values as u64
}

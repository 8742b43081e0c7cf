//! Delay against the size of the audience: the best, the median and the worst viewer, beside the bounds.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use plotters::style::RGBColor;

use super::{Family, Plate, blank, count, empty, key_columns, line_entry};
use crate::plot::canvas::Marker;
use crate::plot::chart::{BLACK, Chart, Dash, Entry, GREY, Piece, Series, Shape, Swatch};
use crate::plot::fit::{self, Growth, Line};
use crate::plot::key::Value;
use crate::plot::loaded::Loaded;
use crate::plot::selection::{Group, Selection, trials};
use crate::plot::{Around, PlotError, Scale};
use crate::table::{AudienceRow, Figures};

/// From so many times the least delay on the axis is logarithmic without being asked: schemes that end in a queue
/// would press the others together.
const WIDE: f64 = 25.0;

/// A group's audiences of one size.
pub(super) struct Crowd<'s, 'a> {
    pub(super) group: &'s Group<'a>,
    pub(super) viewers: u32,
    /// One for each stream of each trial.
    pub(super) rows: Vec<&'s AudienceRow>,
}

impl Crowd<'_, '_> {
    /// Mean over the trials that have it.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn mean(&self, figure: Figure) -> Option<f64> {
        let values: Vec<f64> = self.rows.iter().filter_map(|row| figure(row)).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    }

    /// The least of them: what bounds all of these trials.
    pub(super) fn least(&self, figure: Figure) -> Option<f64> {
        self.rows.iter().filter_map(|row| figure(row)).min_by(f64::total_cmp)
    }
}

/// A column of the audience's table.
pub(super) type Figure = fn(&AudienceRow) -> Option<f64>;

/// The audiences of each group, by size. Of a trial with any viewer in the group its whole audience counts.
pub(super) fn crowds<'s, 'a>(selection: &'s Selection<'a>, runs: &'s [Loaded]) -> Vec<Crowd<'s, 'a>> {
    let mut rows: HashMap<(usize, &str, &str), Vec<&'s AudienceRow>> = HashMap::new();
    for (place, run) in runs.iter().enumerate() {
        for row in &run.audience {
            rows.entry((place, &row.trial, &row.stream)).or_default().push(row);
        }
    }
    let mut crowds = Vec::new();
    for group in &selection.groups {
        let mine: BTreeSet<(usize, &str, &str)> = group
            .members
            .iter()
            .map(|member| (member.run, member.asked.trial.id.as_str(), member.asked.stream))
            .collect();
        let mut sizes: BTreeMap<u32, Vec<&'s AudienceRow>> = BTreeMap::new();
        for row in mine.iter().filter_map(|key| rows.get(key)).flatten() {
            sizes.entry(row.viewers).or_default().push(row);
        }
        crowds.extend(sizes.into_iter().map(|(viewers, rows)| Crowd { group, viewers, rows }));
    }
    crowds
}

/// Gives a chart the sizes of these audiences as its horizontal axis, logarithmic.
pub(super) fn sized(chart: Chart, crowds: &[Crowd<'_, '_>]) -> Chart {
    let sizes: BTreeSet<u32> = crowds.iter().map(|crowd| crowd.viewers).collect();
    Chart {
        x_label: "viewers".to_owned(),
        x_scale: Scale::Logarithmic,
        x_ticks: sizes.into_iter().map(f64::from).collect(),
        ..chart
    }
}

/// Where a group's size is, a little aside of the others' so that intervals do not cover each other.
pub(super) fn aside(viewers: u32, place: usize, groups: usize) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let steps = place as f64 - (groups as f64 - 1.0) / 2.0;
    f64::from(viewers) * 1.03_f64.powf(steps)
}

/// A bound of the groups together, by size; its line reaches a little further where there is only one.
pub(super) fn bound(crowds: &[Crowd<'_, '_>], figure: Figure, factor: f64) -> Vec<(f64, Option<f64>)> {
    let mut sizes: BTreeMap<u32, f64> = BTreeMap::new();
    for crowd in crowds {
        if let Some(value) = crowd.least(figure) {
            let least = sizes.entry(crowd.viewers).or_insert(value);
            *least = least.min(value);
        }
    }
    let points: Vec<(f64, f64)> =
        sizes.into_iter().map(|(viewers, value)| (f64::from(viewers), value * factor)).collect();
    match points[..] {
        [(viewers, value)] => vec![(viewers / 1.3, Some(value)), (viewers * 1.3, Some(value))],
        _ => points.into_iter().map(|(viewers, value)| (viewers, Some(value))).collect(),
    }
}

/// One of the two planes: a quantile of the delay.
struct Side {
    label: &'static str,
    best: Figure,
    median: Figure,
    worst: Figure,
    bound: Figure,
}

const SIDES: [Side; 2] = [
    Side {
        label: "p50 of the delay (ms)",
        best: |row| row.delay_p50_best_ms,
        median: |row| row.delay_p50_median_ms,
        worst: |row| row.delay_p50_worst_ms,
        bound: |row| row.relay_bound_ms,
    },
    Side {
        label: "p95 of the delay (ms)",
        best: |row| row.delay_p95_best_ms,
        median: |row| row.delay_p95_median_ms,
        worst: |row| row.delay_p95_worst_ms,
        bound: |row| row.relay_bound_p95_ms,
    },
];

const FLOOR: Figure = |row| row.floor_p50_ms;

pub(in crate::plot) fn plate(
    selection: &Selection<'_>,
    runs: &[Loaded],
    around: &Around,
    scale: Scale,
) -> Result<Plate, PlotError> {
    selection.tellable()?;
    let crowds = crowds(selection, runs);
    let known = |crowd: &&Crowd<'_, '_>| SIDES.iter().any(|side| crowd.mean(side.worst).is_some());
    let crowds: Vec<_> = crowds.into_iter().filter(|crowd| known(&crowd)).collect();
    if crowds.is_empty() {
        return Err(empty(Family::Audience, selection.why_empty("a delay of any viewer")));
    }
    let fits: Vec<(&Group<'_>, [Line; 2])> =
        selection.groups.iter().filter_map(|group| Some((group, fit_of(&crowds, group)?))).collect();
    let (least, most) = range(&crowds);
    let scale = if scale == Scale::Logarithmic || most > WIDE * least { Scale::Logarithmic } else { Scale::Linear };
    let mut chart = blank(selection, around, scale);
    chart.title = format!("{}: delay against the size of the audience", around.subject);
    let [left, right] = SIDES.map(|side| planes(selection, &crowds, &side, scale));
    let mut chart = Chart { title: chart.title, subtitle: chart.subtitle, warnings: chart.warnings, ..left };
    for (group, lines) in &fits {
        chart.series.push(fitted(&crowds, group, fit::better(lines), least));
    }
    // Both sides alike, so that heights compare.
    let alike = |side: Chart| Chart { y_holds: vec![least, most], ..sized(side, &crowds) };
    chart = alike(chart);
    chart.beside = vec![alike(right)];
    chart.legend = legend(selection, &crowds, &fits);
    let caption = "Delay against the number of viewers: the worst viewer (thick line), the median one (thin line) and the band from best to worst, on the left \
                   for the viewers' medians, on the right their 95th percentiles; means over the trials. The bound is the earliest at which the last viewer can \
                   have a frame of mean size (right: a frame larger than 95 % of them) if viewers pass it on in whole copies, each uplink one copy after \
                   the other; the floor is what the network allows a single viewer who is served by the broadcaster. The bound leaves out frames that \
                   queue behind each other, lost packets and the time that programs take."
        .to_owned();
    Ok(Plate { chart, caption, table: table(selection, &crowds, &fits), points: None })
}

fn planes(selection: &Selection<'_>, crowds: &[Crowd<'_, '_>], side: &Side, scale: Scale) -> Chart {
    let mut chart = Chart { y_label: side.label.to_owned(), y_scale: scale, ..Chart::default() };
    let mut lines = Vec::new();
    for (place, group) in selection.groups.iter().enumerate() {
        let mine = || crowds.iter().filter(|crowd| std::ptr::eq(crowd.group, group));
        let at = |crowd: &Crowd<'_, '_>| aside(crowd.viewers, place, selection.groups.len());
        let colour = group.style.colour;
        let band: Vec<(f64, f64, f64)> =
            mine().filter_map(|crowd| Some((at(crowd), crowd.mean(side.best)?, crowd.mean(side.worst)?))).collect();
        match band[..] {
            [(x, low, high)] => chart.pieces.push(Piece::Interval { x, low, high, colour }),
            _ => chart.pieces.push(Piece::Band { points: band, colour }),
        }
        let line = |figure: Figure| mine().map(|crowd| (at(crowd), crowd.mean(figure))).collect();
        let thin = if mine().nth(1).is_some() {
            Shape::Line { width: 1.5 }
        } else {
            Shape::Points { marker: Marker::Circle, radius: 3.0 }
        };
        let series = |shape, points| Series { shape, colour, opacity: 1.0, dash: Dash::Whole, points };
        lines.push(series(thin, line(side.median)));
        let thick = Shape::Joined { marker: group.style.marker, radius: 7.0, width: 3.0 };
        lines.push(series(thick, line(side.worst)));
    }
    for (figure, dash, colour) in [(FLOOR, Dash::Dots, GREY), (side.bound, Dash::Strokes, BLACK)] {
        chart.series.push(dashed(bound(crowds, figure, 1.0), dash, colour));
    }
    // A size that some trials have no figure of is a hole in a line, not a stroke at the edge.
    lines.iter_mut().for_each(|line| line.points.retain(|(_, y)| y.is_some()));
    chart.series.extend(lines);
    chart
}

pub(super) fn dashed(points: Vec<(f64, Option<f64>)>, dash: Dash, colour: RGBColor) -> Series {
    Series { shape: Shape::Line { width: 2.5 }, colour, opacity: 1.0, dash, points }
}

/// Each trial's worst median delay over its size.
fn fit_of(crowds: &[Crowd<'_, '_>], group: &Group<'_>) -> Option<[Line; 2]> {
    let mine = crowds.iter().filter(|crowd| std::ptr::eq(crowd.group, group));
    let points = mine.flat_map(|crowd| {
        crowd.rows.iter().filter_map(|row| Some((f64::from(row.viewers), row.delay_p50_worst_ms?)))
    });
    fit::both(&points.collect::<Vec<_>>())
}

/// The better line from the smallest size to the largest, in steps that make it smooth on the logarithmic axis.
fn fitted(crowds: &[Crowd<'_, '_>], group: &Group<'_>, line: Line, lowest: f64) -> Series {
    let mine =
        || crowds.iter().filter(|crowd| std::ptr::eq(crowd.group, group)).map(|crowd| f64::from(crowd.viewers));
    let (least, most) = (mine().fold(f64::INFINITY, f64::min), mine().fold(0.0, f64::max));
    let size = |step: i32| least * (most / least).powf(f64::from(step) / 40.0);
    // Where it is far below all that was measured it would only make the axis longer.
    let points = (0..=40).map(size).map(|size| (size, Some(line.at(size)).filter(|y| *y > 0.6 * lowest))).collect();
    Series {
        shape: Shape::Line { width: 2.0 },
        colour: group.style.colour,
        opacity: 1.0,
        dash: Dash::Alternating,
        points,
    }
}

/// The least and the greatest delay on either side.
fn range(crowds: &[Crowd<'_, '_>]) -> (f64, f64) {
    let figures = || SIDES.iter().flat_map(|side| [side.best, side.worst, side.bound]).chain([FLOOR]);
    let values = || {
        figures().flat_map(|figure| crowds.iter().filter_map(move |crowd| crowd.mean(figure))).filter(|v| *v > 0.0)
    };
    (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max))
}

fn legend(selection: &Selection<'_>, crowds: &[Crowd<'_, '_>], fits: &[(&Group<'_>, [Line; 2])]) -> Vec<Entry> {
    let mut legend: Vec<Entry> = Vec::new();
    for group in selection.groups.iter().filter(|group| crowds.iter().any(|c| std::ptr::eq(c.group, *group))) {
        let style = crate::plot::selection::Style { dash: Dash::Whole, ..group.style };
        legend.push(line_entry(style, format!("{}: worst viewer, band from the best", super::remarked(group))));
    }
    let broken = |dash, colour, label: String| Entry { swatch: Swatch::Broken(dash, None, colour), label };
    if !bound(crowds, SIDES[0].bound, 1.0).is_empty() {
        legend.push(broken(
            Dash::Strokes,
            BLACK,
            "bound of the last viewer, of a frame of mean size (left), larger than 95 % (right)".to_owned(),
        ));
    }
    if !bound(crowds, FLOOR, 1.0).is_empty() {
        legend.push(broken(Dash::Dots, GREY, "floor".to_owned()));
    }
    for (group, lines) in fits {
        let best = fit::better(lines);
        let other = if best.growth == Growth::Linear { lines[0] } else { lines[1] };
        let label = format!("{}, p50: {} (else {})", group.name(), best.words(), other.words());
        legend.push(broken(Dash::Alternating, group.style.colour, label));
    }
    legend
}

fn table(selection: &Selection<'_>, crowds: &[Crowd<'_, '_>], fits: &[(&Group<'_>, [Line; 2])]) -> Figures {
    let keys: Vec<&[Option<Value>]> = crowds.iter().map(|crowd| &crowd.group.values[..]).collect();
    let by: Vec<_> = selection.by.clone();
    let figure = |figure: Figure| crowds.iter().map(move |crowd| crowd.mean(figure));
    let least = |figure: Figure| crowds.iter().map(move |crowd| crowd.least(figure));
    let line = |which: usize, of: fn(&Line) -> f64| {
        crowds.iter().map(move |crowd| {
            fits.iter().find(|(group, _)| std::ptr::eq(*group, crowd.group)).map(|(_, lines)| of(&lines[which]))
        })
    };
    key_columns(Figures::default(), &by, &keys)
        .counts("viewers", crowds.iter().map(|crowd| u64::from(crowd.viewers)))
        .counts("trials", crowds.iter().map(|crowd| count(trials_of(crowd))))
        .numbers("delay_p50_best_ms", figure(SIDES[0].best))
        .numbers("delay_p50_median_ms", figure(SIDES[0].median))
        .numbers("delay_p50_worst_ms", figure(SIDES[0].worst))
        .numbers("relay_bound_ms", least(SIDES[0].bound))
        .numbers("delay_p95_best_ms", figure(SIDES[1].best))
        .numbers("delay_p95_median_ms", figure(SIDES[1].median))
        .numbers("delay_p95_worst_ms", figure(SIDES[1].worst))
        .numbers("relay_bound_p95_ms", least(SIDES[1].bound))
        .numbers("floor_p50_ms", least(FLOOR))
        .numbers("missing", figure(|row| row.missing.map(whole)))
        .numbers("skipped", figure(|row| row.skipped.map(whole)))
        .numbers("cpu_mean", figure(|row| row.cpu_mean))
        .numbers("log2_a_ms", line(0, |line| line.a))
        .numbers("log2_b_ms", line(0, |line| line.b))
        .numbers("log2_r2", line(0, |line| line.r_squared))
        .numbers("linear_a_ms", line(1, |line| line.a))
        .numbers("linear_b_ms", line(1, |line| line.b))
        .numbers("linear_r2", line(1, |line| line.r_squared))
}

/// How many trials these are: several streams of one count once.
pub(super) fn trials_of(crowd: &Crowd<'_, '_>) -> usize {
    let members = crowd.group.members.iter().filter(|member| {
        let stream = member.asked.trial.streams.iter().find(|stream| stream.name == member.asked.stream);
        stream.is_some_and(|stream| stream.viewers.len() == crowd.viewers as usize)
    });
    trials(members).len()
}

#[allow(clippy::cast_precision_loss)]
pub(super) fn whole(count: u64) -> f64 {
    count as f64
}

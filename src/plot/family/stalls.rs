//! How often and how long the picture would have stood still, under each playout buffer.

use super::{Family, Plate, blank, count, empty, key_columns, line_entry, remarked};
use crate::plot::chart::{Piece, Series, Shape};
use crate::plot::selection::{Group, Selection};
use crate::plot::{Around, PlotError, Scale, View};
use crate::table::{Estimate, Figures, Sample, sample};

/// What can be shown over the buffers.
#[derive(Clone, Copy)]
pub(in crate::plot) struct Metric {
    /// Its name for `--metric`.
    pub(in crate::plot) name: &'static str,
    /// Its name and unit in the estimates, before and after the buffer.
    parts: (&'static str, &'static str),
    /// On the picture, and what it is multiplied by for that.
    label: &'static str,
    factor: f64,
    words: &'static str,
}

pub(in crate::plot) const METRICS: [Metric; 3] = [
    Metric {
        name: "stalled",
        parts: ("stalled", "_ms"),
        label: "stalled (s)",
        factor: 1e-3,
        words: "how long the picture stands still",
    },
    Metric {
        name: "stalls",
        parts: ("stalls", ""),
        label: "stalls",
        factor: 1.0,
        words: "how often the picture stands still",
    },
    Metric {
        name: "continuity",
        parts: ("continuity", ""),
        label: "continuity",
        factor: 1.0,
        words: "share of the frames in time",
    },
];

struct Row<'s, 'a> {
    group: &'s Group<'a>,
    buffer_s: f64,
    figures: [Option<Estimate>; 3],
}

#[allow(clippy::cast_precision_loss)]
pub(in crate::plot) fn plate(
    selection: &Selection<'_>,
    view: &View,
    around: &Around,
    scale: Scale,
) -> Result<Plate, PlotError> {
    selection.tellable()?;
    let asked = view.metric.as_deref().map(|name| name.strip_suffix("_ms").unwrap_or(name));
    let shown = METRICS.iter().position(|metric| Some(metric.name) == asked).unwrap_or(0);
    let metric = METRICS[shown];
    let playouts = || selection.groups.iter().flat_map(|g| &g.members).flat_map(|member| member.unit.playouts);
    let mut buffers: Vec<f64> = playouts().map(|row| row.buffer_s).collect();
    buffers.sort_by(f64::total_cmp);
    buffers.dedup();
    let mut rows = Vec::new();
    for group in &selection.groups {
        let trials = group.trials();
        for buffer_s in &buffers {
            let estimate = |metric: Metric| {
                let name = format!("{}_buffer_{buffer_s}s{}", metric.parts.0, metric.parts.1);
                sample(&trials, &name).as_ref().and_then(Sample::estimate)
            };
            let figures = METRICS.map(estimate);
            if figures.iter().any(Option::is_some) {
                rows.push(Row { group, buffer_s: *buffer_s, figures });
            }
        }
    }
    if rows.is_empty() {
        return Err(empty(Family::Stalls, selection.why_empty("a frame that arrived")));
    }
    let mut chart = blank(selection, around, scale);
    chart.title = format!("{}: {} at each playout buffer", around.subject, metric.words);
    (chart.x_label, chart.y_label) = ("playout buffer".to_owned(), metric.label.to_owned());
    chart.categories = buffers.iter().map(|buffer_s| format!("{buffer_s} s")).collect();
    if metric.name == "continuity" {
        chart.y_holds = vec![1.0];
    }
    let groups = selection.groups.len() as f64;
    for (place, group) in selection.groups.iter().enumerate() {
        // Side by side, so that intervals do not cover each other.
        let aside = (place as f64 - (groups - 1.0) / 2.0) * (0.5 / groups.max(4.0));
        let mut points = Vec::new();
        for row in rows.iter().filter(|row| std::ptr::eq(row.group, group)) {
            let x = buffers.iter().position(|b| b.to_bits() == row.buffer_s.to_bits()).unwrap_or(0) as f64 + aside;
            let figure = row.figures[shown];
            points.push((x, figure.map(|f| f.value * metric.factor)));
            if let Some((low, high)) = figure.and_then(|f| f.interval) {
                let (low, high) = (low * metric.factor, high * metric.factor);
                chart.pieces.push(Piece::Interval { x, low, high, colour: group.style.colour });
            }
        }
        if points.is_empty() {
            continue;
        }
        let (colour, dash, marker) = (group.style.colour, group.style.dash, group.style.marker);
        let shape = Shape::Joined { marker, radius: 7.0, width: 2.0 };
        chart.series.push(Series { shape, colour, opacity: 1.0, dash, points });
        chart.legend.push(line_entry(group.style, remarked(group)));
    }
    let keys: Vec<_> = rows.iter().map(|row| &row.group.values[..]).collect();
    let mut table = key_columns(Figures::default(), &selection.by, &keys)
        .numbers("buffer_s", rows.iter().map(|row| row.buffer_s))
        .counts("trials", rows.iter().map(|row| row.figures.iter().flatten().map(|f| count(f.trials)).max()));
    for (n, Metric { parts: (name, unit), .. }) in METRICS.into_iter().enumerate() {
        let figure = |of: fn(Estimate) -> Option<f64>| rows.iter().map(move |row| row.figures[n].and_then(of));
        table = table
            .numbers(&format!("{name}{unit}"), figure(|f| Some(f.value)))
            .numbers(&format!("{name}_low_95{unit}"), figure(|f| f.interval.map(|i| i.0)))
            .numbers(&format!("{name}_high_95{unit}"), figure(|f| f.interval.map(|i| i.1)));
    }
    let caption = format!(
        "{}{}, by how much of the stream the player has before it begins: means over the trials with their 95 % confidence intervals.",
        metric.words[..1].to_uppercase(),
        &metric.words[1..]
    );
    Ok(Plate { chart, caption, table, points: None })
}

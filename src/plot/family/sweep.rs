//! A figure over a parameter, with its confidence.

use std::collections::BTreeMap;

use super::{Family, Plate, blank, count, empty, key_columns, line_entry, remarked};
use crate::plot::canvas::Marker;
use crate::plot::chart::{Dash, Entry, Piece, Series, Shape, Swatch};
use crate::plot::key::{Key, Value, paths};
use crate::plot::loaded::Loaded;
use crate::plot::selection::{Group, Paired, Selection, engine, trials, varied};
use crate::plot::{Around, PlotError, Scale, View};
use crate::table::{Estimate, Figures, Sample, metrics, sample};

/// What is shown unless something else is asked for.
pub(in crate::plot) const METRIC: &str = "delay_p50_ms";
/// Differ from trial to trial without being parameters.
const NO_PARAMETERS: [&str; 4] = ["id", "scheme", "repetition", "seed"];

struct Point<'s, 'a> {
    group: &'s Group<'a>,
    x: Value,
    estimate: Estimate,
}

/// The figure that `--metric` means here: its name, or the median of a column that has quantiles.
pub(in crate::plot) fn metric(selection: &Selection<'_>, asked: Option<&str>) -> Option<String> {
    let units: Vec<_> = selection.groups.iter().flat_map(|group| &group.members).map(|member| member.unit).collect();
    let known = metrics(&units);
    let asked = asked.unwrap_or(METRIC);
    let plain = asked.strip_suffix("_ms").unwrap_or(asked);
    [asked.to_owned(), format!("{plain}_p50_ms"), format!("{plain}_mean_ms")]
        .into_iter()
        .find(|name| known.contains(name))
}

/// The first parameter whose values differ between the trials, numbers before words. The size of the audience comes
/// before all: with it comes a link for each viewer more.
fn parameter(runs: &[Loaded]) -> Option<Key> {
    let named = varied(runs).into_iter().map(Key::from);
    let is_number = |key: &Key| !key.unit(runs).0.is_empty();
    if let Some(key) = named.clone().find(is_number).or_else(|| named.clone().next()) {
        return Some(key);
    }
    let streams = || runs.iter().flat_map(|run| &run.manifest.plan.trials).flat_map(|trial| &trial.streams);
    let audience = streams().next().map(|stream| stream.viewers.len());
    if streams().any(|stream| Some(stream.viewers.len()) != audience) {
        return Some(Key::from("viewers"));
    }
    if let Some(engine) = engine(runs) {
        return Some(engine);
    }
    let mut values: BTreeMap<String, Vec<Option<Value>>> = BTreeMap::new();
    let mut trials = 0;
    for run in runs {
        for trial in &run.manifest.plan.trials {
            let Some(json) = run.plan_json(&trial.id) else { continue };
            for path in paths(json).into_iter().filter(|path| !NO_PARAMETERS.contains(&path.as_str())) {
                let key = Key::from(path.as_str());
                let asked = crate::plot::key::Asked { run, trial, stream: "", viewer: "" };
                let known = values.entry(path).or_insert_with(|| vec![None; trials]);
                known.resize(trials, None);
                known.push(key.of(asked));
            }
            trials += 1;
        }
    }
    let differs = |all: &Vec<Option<Value>>| all.iter().any(|value| *value != all[0]);
    let mut differing: Vec<(&String, &Vec<Option<Value>>)> = values.iter().filter(|(_, all)| differs(all)).collect();
    differing.sort_by_key(|(_, all)| !all.iter().flatten().all(|value| value.number().is_some()));
    differing.first().map(|(path, _)| Key::from(path.as_str()))
}

#[allow(clippy::cast_precision_loss)]
pub(in crate::plot) fn plate(
    selection: &Selection<'_>,
    runs: &[Loaded],
    view: &View,
    around: &Around,
    scale: Scale,
) -> Result<Plate, PlotError> {
    selection.tellable()?;
    let Some(key) = view.x.clone().or_else(|| parameter(runs)) else {
        let why = "no parameter differs between the trials; --x KEY selects another axis, such as repetition";
        return Err(empty(Family::Sweep, why.to_owned()));
    };
    // Another family's metric, and none, mean the usual one.
    let metric = metric(selection, view.metric.as_deref()).unwrap_or_else(|| METRIC.to_owned());
    let mut points: Vec<Point<'_, '_>> = Vec::new();
    for group in &selection.groups {
        let members = group.members.iter();
        let mut placed: Vec<_> = members.filter_map(|member| Some((key.of(member.asked)?, member))).collect();
        placed.sort_by(|(a, _), (b, _)| a.compare(b));
        for here in placed.chunk_by(|(a, _), (b, _)| a == b) {
            let trials = trials(here.iter().map(|(_, member)| *member));
            let estimate = sample(&trials, &metric).as_ref().and_then(Sample::estimate);
            points.extend(estimate.map(|estimate| Point { group, x: here[0].0.clone(), estimate }));
        }
    }
    if points.is_empty() {
        return Err(empty(Family::Sweep, selection.why_empty(&format!("{metric} over {}", key.name()))));
    }
    let mut chart = blank(selection, around, scale);
    chart.title = format!("{}: {metric} over {}", around.subject, key.name());
    let numbers = points.iter().all(|point| point.x.number().is_some());
    let mut names: Vec<&Value> = points.iter().map(|point| &point.x).collect();
    names.sort_by(|a, b| a.compare(b));
    names.dedup();
    let (unit, factor) = key.unit(runs);
    if numbers {
        chart.x_label = if unit.is_empty() { key.name().to_owned() } else { format!("{} ({unit})", key.name()) };
    } else {
        chart.x_label = key.name().to_owned();
        chart.categories = names.iter().map(|name| name.to_string()).collect();
    }
    chart.y_label = axis_label(&metric);
    let (paired, pairs) = selection.paired();
    let pairs = pairs as f64;
    // Lines of the model lie below what was measured.
    let mut lines: Vec<Series> = Vec::new();
    for Paired { group, pair, style, predicted, is_paired } in paired {
        let aside = if numbers { 0.0 } else { (pair as f64 - (pairs - 1.0) / 2.0) * (0.5 / pairs.max(4.0)) };
        let at = |x: &Value| match x.number() {
            Some(number) if numbers => number * factor,
            _ => names.iter().position(|name| *name == x).unwrap_or(0) as f64 + aside,
        };
        let mine: Vec<_> = points.iter().filter(|point| std::ptr::eq(point.group, group)).collect();
        if mine.is_empty() {
            continue;
        }
        let (colour, dash) = (style.colour, style.dash);
        let line: Vec<_> = mine.iter().map(|p| (at(&p.x), Some(p.estimate.value))).collect();
        if predicted {
            // One point makes no line.
            let shape = match line.len() {
                1 => Shape::Points { marker: Marker::Cross, radius: 9.0 },
                _ => Shape::Line { width: 3.0 },
            };
            lines.push(Series { shape, colour, opacity: 1.0, dash, points: line });
            let swatch = match dash {
                Dash::Whole => Swatch::Shape(shape, colour),
                _ if mine.len() == 1 => Swatch::Shape(shape, colour),
                dash => Swatch::Broken(dash, None, colour),
            };
            chart.legend.push(Entry { swatch, label: remarked(group) });
            continue;
        }
        let band: Vec<_> =
            mine.iter().filter_map(|p| p.estimate.interval.map(|(low, high)| (at(&p.x), low, high))).collect();
        if numbers && band.len() > 1 && !is_paired {
            chart.pieces.push(Piece::Band { points: band, colour });
        } else {
            chart.pieces.extend(band.into_iter().map(|(x, low, high)| Piece::Interval { x, low, high, colour }));
        }
        // The line through its marks is the model's.
        let (shape, entry) = if is_paired {
            let shape = Shape::Points { marker: style.marker, radius: 7.0 };
            (shape, Entry { swatch: Swatch::Shape(shape, colour), label: remarked(group) })
        } else {
            let shape = Shape::Joined { marker: style.marker, radius: 7.0, width: 3.0 };
            (shape, line_entry(style, remarked(group)))
        };
        chart.series.push(Series { shape, colour, opacity: 1.0, dash, points: line });
        chart.legend.push(entry);
    }
    let has_lines = !lines.is_empty();
    chart.series.splice(0..0, lines);
    let keys: Vec<_> = points.iter().map(|point| &point.group.values[..]).collect();
    let xs: Vec<[Option<Value>; 1]> = points.iter().map(|point| [Some(point.x.clone())]).collect();
    let mut table = key_columns(Figures::default(), &selection.by, &keys);
    if !selection.by.contains(&key) {
        let xs: Vec<&[Option<Value>]> = xs.iter().map(|x| &x[..]).collect();
        table = key_columns(table, std::slice::from_ref(&key), &xs);
    }
    let table = table
        .texts("metric", points.iter().map(|_| Some(metric.clone())))
        .counts("trials", points.iter().map(|point| count(point.estimate.trials)))
        .numbers("value", points.iter().map(|point| point.estimate.value))
        .numbers("low_95", points.iter().map(|point| point.estimate.interval.map(|i| i.0)))
        .numbers("high_95", points.iter().map(|point| point.estimate.interval.map(|i| i.1)));
    let predicted = match has_lines {
        true => {
            " What is called predicted was computed by the model and not measured: a line without marks, whose interval over seeds is in the table."
        }
        false => "",
    };
    let caption = format!(
        "{metric} over {}, with the 95 % confidence interval from resampling whole trials; a single trial has none.{predicted}",
        key.name()
    );
    Ok(Plate { chart, caption, table, points: None })
}

/// `delay_p50_ms` → `delay p50 (ms)`.
pub(super) fn axis_label(metric: &str) -> String {
    let words = |name: &str| name.replace('_', " ");
    for (end, unit) in [("_ms", "ms"), ("_bytes", "bytes")] {
        if let Some(name) = metric.strip_suffix(end) {
            return format!("{} ({unit})", words(name));
        }
    }
    words(metric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_written_with_its_unit() {
        assert_eq!(axis_label("delay_p50_ms"), "delay p50 (ms)");
        assert_eq!(axis_label("server_egress_bytes"), "server egress (bytes)");
        assert_eq!(axis_label("peer_offload"), "peer offload");
    }
}

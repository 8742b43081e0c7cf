//! The cumulative distribution: which share of the frames that arrived had at most that delay.

use super::{Family, Plate, blank, count, empty, frame_metric, key_columns, line_entry, remarked};
use crate::plot::chart::{Dash, Series, Shape};
use crate::plot::selection::Selection;
use crate::plot::{Around, PlotError, Scale, View};
use crate::table::{Figures, quantile};

/// A curve has no more points than this: beyond it they would share pixels.
const MOST_POINTS: usize = 1000;
/// Up to here a curve is drawn as the steps that it is.
const MOST_STEPS: usize = 200;
/// Quantiles in the table of the curves: percents, and as shares.
const PERCENTS: [(u32, f64); 7] = [(1, 0.01), (5, 0.05), (25, 0.25), (50, 0.5), (75, 0.75), (95, 0.95), (99, 0.99)];

pub(in crate::plot) fn plate(
    selection: &Selection<'_>,
    view: &View,
    around: &Around,
    scale: Scale,
) -> Result<Plate, PlotError> {
    selection.tellable()?;
    let (name, words, figure) = frame_metric(view.metric.as_deref());
    let mut chart = blank(selection, around, Scale::Linear);
    chart.title = format!("{}: cumulative distribution of the {words}", around.subject);
    (chart.x_label, chart.y_label) = (format!("{name} (ms)"), "share of the frames that arrived".to_owned());
    (chart.x_scale, chart.y_holds) = (scale, vec![1.0]);
    let mut rows = Vec::new();
    let mut curves = Vec::new();
    for group in &selection.groups {
        let frames = || group.members.iter().map(|member| member.unit.frames);
        let mut values: Vec<f64> = Vec::new();
        frames().for_each(|frames| frames.add_to(&mut values, figure));
        values.sort_unstable_by(f64::total_cmp);
        let Some(last) = values.last().copied() else { continue };
        let missing: usize = frames().map(|frames| frames.missing()).sum();
        let curve = curve(&values);
        let remark = match missing {
            0 => String::new(),
            _ => format!(", {missing} of {} frames missing", frames().map(|frames| frames.count()).sum::<usize>()),
        };
        let style = group.style;
        chart.legend.push(line_entry(style, remarked(group) + &remark));
        let drawn = |points: Vec<(f64, f64)>| points.into_iter().map(|(x, y)| (x, Some(y))).collect();
        chart.series.push(Series {
            shape: Shape::Line { width: 3.0 },
            colour: style.colour,
            opacity: 1.0,
            dash: style.dash,
            points: drawn(if curve.len() <= MOST_STEPS { steps(&curve) } else { curve.clone() }),
        });
        let marked = (1..10)
            .filter_map(|tenth| quantile(&values, f64::from(tenth) / 10.0).map(|x| (x, f64::from(tenth) / 10.0)));
        chart.series.push(Series {
            shape: Shape::Points { marker: style.marker, radius: 6.0 },
            colour: style.colour,
            opacity: 1.0,
            dash: Dash::Whole,
            points: drawn(marked.collect()),
        });
        rows.push((group, values, missing, last));
        curves.push((group, curve));
    }
    if rows.is_empty() {
        return Err(empty(Family::Cdf, selection.why_empty(name)));
    }
    let keys: Vec<_> = rows.iter().map(|(group, ..)| &group.values[..]).collect();
    let mut table = key_columns(Figures::default(), &selection.by, &keys)
        .counts("trials", rows.iter().map(|(group, ..)| count(group.trials().len())))
        .counts("frames", rows.iter().map(|(_, values, ..)| count(values.len())))
        .counts("missing", rows.iter().map(|(_, _, missing, _)| count(*missing)));
    for (percent, p) in PERCENTS {
        table =
            table.numbers(&format!("{name}_p{percent}_ms"), rows.iter().map(|(_, values, ..)| quantile(values, p)));
    }
    let table = table.numbers(&format!("{name}_max_ms"), rows.iter().map(|(.., last)| *last));
    let keys: Vec<_> = curves.iter().flat_map(|(group, curve)| curve.iter().map(|_| &group.values[..])).collect();
    let all = || curves.iter().flat_map(|(_, curve)| curve);
    let points = key_columns(Figures::default(), &selection.by, &keys)
        .numbers(&format!("{name}_ms"), all().map(|(x, _)| *x))
        .numbers("share", all().map(|(_, share)| *share));
    let caption = format!(
        "The share of the frames that arrived whose {name} was at most so many milliseconds; the further left a curve, the better."
    );
    Ok(Plate { chart, caption, table, points: Some(points) })
}

/// Ascending values, each with the share of values up to it: all, or as many as can be seen, the least and the
/// greatest among them.
#[allow(clippy::cast_precision_loss)]
fn curve(ascending: &[f64]) -> Vec<(f64, f64)> {
    let last = ascending.len().saturating_sub(1);
    let share = |rank: usize| (ascending[rank], (rank + 1) as f64 / ascending.len() as f64);
    if ascending.len() <= MOST_POINTS {
        return (0..ascending.len()).map(share).collect();
    }
    (0..MOST_POINTS).map(|n| share(n * last / (MOST_POINTS - 1))).collect()
}

/// The curve as it rises at its values and nowhere else.
fn steps(curve: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut before = 0.0;
    curve
        .iter()
        .flat_map(|(x, share)| {
            let from = std::mem::replace(&mut before, *share);
            [(*x, from), (*x, *share)]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::float_cmp)]
    use super::*;

    #[test]
    fn a_curve_ends_at_one_and_keeps_its_ends_when_thinned() {
        assert_eq!(curve(&[1.0, 2.0, 4.0, 4.0]), [(1.0, 0.25), (2.0, 0.5), (4.0, 0.75), (4.0, 1.0)]);
        let many: Vec<f64> = (0..5000).map(f64::from).collect();
        let thin = curve(&many);
        assert_eq!((thin.len(), thin[0], thin[999]), (MOST_POINTS, (0.0, 1.0 / 5000.0), (4999.0, 1.0)));
        assert!(thin.iter().all(|(x, share)| (share - (x + 1.0) / 5000.0).abs() < 1e-12), "each share is exact");
        assert_eq!(steps(&[(1.0, 0.5), (3.0, 1.0)]), [(1.0, 0.0), (1.0, 0.5), (3.0, 0.5), (3.0, 1.0)]);
    }
}

//! Boxes: how the delays of each viewer's frames spread.

use super::{Family, Plate, blank, count, empty, frame_metric, key_columns, remarked};
use crate::plot::canvas::Marker;
use crate::plot::chart::{BLACK, Dash, Entry, Piece, Series, Shape, Swatch};
use crate::plot::selection::{Group, Selection};
use crate::plot::{Around, PlotError, Scale, View};
use crate::table::{Figures, FrameFigure, quantile};

/// The share of a viewer's place that boxes take.
const TAKEN: f64 = 0.8;

struct Spread<'s, 'a> {
    group: &'s Group<'a>,
    viewer: &'a str,
    trials: usize,
    ascending: Vec<f64>,
    missing: usize,
    floor_ms: Option<f64>,
}

impl Spread<'_, '_> {
    fn at(&self, p: f64) -> f64 {
        quantile(&self.ascending, p).unwrap_or(f64::NAN)
    }

    #[allow(clippy::cast_precision_loss)]
    fn mean(&self) -> f64 {
        self.ascending.iter().sum::<f64>() / self.ascending.len() as f64
    }
}

#[allow(clippy::cast_precision_loss)]
pub(in crate::plot) fn plate(
    selection: &Selection<'_>,
    view: &View,
    around: &Around,
    scale: Scale,
) -> Result<Plate, PlotError> {
    selection.tellable()?;
    let (name, words, figure) = frame_metric(view.metric.as_deref());
    let mut spreads = Vec::new();
    let viewers = selection.viewers();
    for viewer in &viewers {
        for group in &selection.groups {
            let members: Vec<_> = group.members.iter().filter(|member| member.asked.viewer == *viewer).collect();
            let frames = || members.iter().map(|member| member.unit.frames);
            let (mut ascending, mut floors) = (Vec::new(), Vec::new());
            frames().for_each(|frames| frames.add_to(&mut ascending, figure));
            ascending.sort_unstable_by(f64::total_cmp);
            if ascending.is_empty() {
                continue;
            }
            frames().for_each(|frames| frames.add_to(&mut floors, FrameFigure::Floor));
            floors.sort_unstable_by(f64::total_cmp);
            let trials = crate::plot::selection::trials(members.iter().copied()).len();
            let missing = frames().map(|frames| frames.missing()).sum();
            let floor_ms = quantile(&floors, 0.5).filter(|_| name == "delay");
            spreads.push(Spread { group, viewer, trials, ascending, missing, floor_ms });
        }
    }
    if spreads.is_empty() {
        return Err(empty(Family::Box, selection.why_empty(name)));
    }
    let mut chart = blank(selection, around, scale);
    chart.title = format!("{}: spread of the {words}", around.subject);
    (chart.x_label, chart.y_label) = ("viewer".to_owned(), format!("{name} (ms)"));
    let shown: Vec<&str> =
        viewers.into_iter().filter(|viewer| spreads.iter().any(|spread| spread.viewer == *viewer)).collect();
    chart.categories = shown.iter().map(|viewer| (*viewer).to_owned()).collect();
    let each = TAKEN / selection.groups.len() as f64;
    let (mut means, mut floors) = (Vec::new(), false);
    for spread in &spreads {
        let viewer = shown.iter().position(|viewer| *viewer == spread.viewer).unwrap_or(0);
        let place = selection.groups.iter().position(|group| std::ptr::eq(group, spread.group)).unwrap_or(0);
        let x = viewer as f64 - TAKEN / 2.0 + each * (place as f64 + 0.5);
        // Two boxes alone need not be as wide as a house.
        let width = (each * 0.8).min(0.3);
        // Under the box, which may reach down to it.
        if let Some(y) = spread.floor_ms {
            chart.pieces.push(Piece::Level { x, width: width * 1.15, y, colour: BLACK });
            floors = true;
        }
        chart.pieces.push(Piece::Box {
            x,
            width,
            whiskers: (spread.at(0.05), spread.at(0.95)),
            quartiles: (spread.at(0.25), spread.at(0.75)),
            median: spread.at(0.5),
            colour: spread.group.style.colour,
        });
        means.push((x, spread.mean(), spread.group.style));
    }
    chart.series = means
        .into_iter()
        .map(|(x, mean, style)| Series {
            shape: Shape::Points { marker: style.marker, radius: 7.0 },
            colour: style.colour,
            opacity: 1.0,
            dash: Dash::Whole,
            points: vec![(x, Some(mean))],
        })
        .collect();
    let points = |marker: Marker| Shape::Points { marker, radius: 0.0 };
    let entry = |group: &Group<'_>| Entry {
        swatch: Swatch::Shape(points(group.style.marker), group.style.colour),
        label: remarked(group),
    };
    let drawn = |group: &&Group<'_>| spreads.iter().any(|spread| std::ptr::eq(spread.group, *group));
    chart.legend = selection.groups.iter().filter(drawn).map(entry).collect();
    if floors {
        chart.legend.push(Entry { swatch: Swatch::Level(BLACK), label: "floor (median)".to_owned() });
    }
    let keys: Vec<_> = spreads.iter().map(|spread| &spread.group.values[..]).collect();
    let mut table = key_columns(Figures::default(), &selection.by, &keys);
    if !selection.by.iter().any(|key| key.name() == "viewer") {
        table = table.texts("viewer", spreads.iter().map(|spread| Some(spread.viewer.to_owned())));
    }
    table = table
        .counts("trials", spreads.iter().map(|spread| count(spread.trials)))
        .counts("frames", spreads.iter().map(|spread| count(spread.ascending.len())))
        .counts("missing", spreads.iter().map(|spread| count(spread.missing)));
    for (percent, p) in [(5, 0.05), (25, 0.25), (50, 0.5), (75, 0.75), (95, 0.95)] {
        table = table.numbers(&format!("{name}_p{percent}_ms"), spreads.iter().map(|spread| spread.at(p)));
    }
    table = table
        .numbers(&format!("{name}_max_ms"), spreads.iter().map(|spread| spread.at(1.0)))
        .numbers(&format!("{name}_mean_ms"), spreads.iter().map(Spread::mean));
    if name == "delay" {
        table = table.numbers("floor_p50_ms", spreads.iter().map(|spread| spread.floor_ms));
    }
    let caption = format!(
        "The {name} of each viewer's frames: the thick line is the median, the box reaches from the lower to the upper quartile, the whiskers \
         from the 5th to the 95th percentile, and the marker is the mean."
    );
    Ok(Plate { chart, caption, table, points: None })
}

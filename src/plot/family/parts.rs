//! What the mean delay is made of.

use plotters::style::RGBColor;

use super::{Family, Plate, blank, count, empty, key_columns};
use crate::plot::chart::{BLACK, Entry, GREY, Piece, Swatch};
use crate::plot::key::{Key, Value};
use crate::plot::selection::{
    BLUE, GREEN, Group, Member, ORANGE, PURPLE, SKY_BLUE, Selection, VERMILLION, YELLOW, trials,
};
use crate::plot::{Around, PlotError, Scale};
use crate::table::{Figures, Sample, SummaryRow, Unit, sample};

/// Bars for each viewer of each group, as long as there are no more than these; else one for each group.
const MOST_BARS: usize = 32;

type Part = (&'static str, &'static str, RGBColor, fn(&SummaryRow) -> Option<f64>);
/// In the order of a frame's way.
const PARTS: [Part; 8] = [
    ("encode", "encode: taking the picture → birth", GREY, |r| r.encode_mean_ms),
    ("queue", "queue: birth → leaving the broadcaster", ORANGE, |r| r.queue_mean_ms),
    ("uplink", "uplink: → CDN", VERMILLION, |r| r.uplink_mean_ms),
    ("dwell", "dwell: in the CDN", GREEN, |r| r.dwell_mean_ms),
    ("downlink", "downlink: CDN → viewer", SKY_BLUE, |r| r.downlink_mean_ms),
    ("transfer", "transfer: broadcaster → viewer", BLUE, |r| r.transfer_mean_ms),
    ("relay", "relay: in those that passed it on", PURPLE, |r| r.relay_mean_ms),
    ("player", "player: arrival → screen", YELLOW, |r| r.player_mean_ms),
];

/// A bar: a group, or a viewer of it.
pub(super) struct Bar<'s, 'a> {
    pub(super) values: Vec<Option<Value>>,
    pub(super) label: String,
    pub(super) members: Vec<&'s Member<'a>>,
}

/// The bars of a selection and the keys that name them.
pub(super) fn bars<'s, 'a>(selection: &'s Selection<'a>) -> (Vec<Key>, Vec<Bar<'s, 'a>>) {
    let viewers = selection.viewers();
    let by_viewer = selection.by.iter().any(|key| key.name() == "viewer");
    let whole = |group: &'s Group<'a>| Bar {
        values: group.values.clone(),
        label: group.label.clone(),
        members: group.members.iter().collect(),
    };
    if by_viewer || viewers.len() < 2 || viewers.len() * selection.groups.len() > MOST_BARS {
        return (selection.by.clone(), selection.groups.iter().map(whole).collect());
    }
    let mut bars = Vec::new();
    for viewer in viewers {
        for group in &selection.groups {
            let mut bar = whole(group);
            bar.members.retain(|member| member.asked.viewer == viewer);
            bar.values.push(Some(Value::Text(viewer.to_owned())));
            bar.label = format!("{viewer}\n{}", bar.label);
            if !bar.members.is_empty() {
                bars.push(bar);
            }
        }
    }
    (selection.by.iter().cloned().chain([Key::from("viewer")]).collect(), bars)
}

#[allow(clippy::cast_precision_loss)]
pub(super) fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0_usize), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}

/// The mean over trials of each trial's mean over its viewers: what [`sample`] estimates.
pub(super) fn mean_over(trials: &[Vec<Unit<'_>>], value: impl Fn(&Unit<'_>) -> Option<f64>) -> Option<f64> {
    mean(trials.iter().filter_map(|units| mean(units.iter().filter_map(&value))))
}

pub(in crate::plot) fn plate(selection: &Selection<'_>, around: &Around) -> Result<Plate, PlotError> {
    let (by, bars) = bars(selection);
    let mut chart = blank(selection, around, Scale::Linear);
    chart.title = format!("{}: what the mean delay is made of", around.subject);
    let is_shown = selection.groups.iter().flat_map(|group| &group.members).any(|m| m.unit.summary.shown.is_some());
    chart.y_label = if is_shown { "mean delay, to the screen (ms)" } else { "mean delay (ms)" }.to_owned();
    let mut rows = Vec::new();
    let mut without = 0;
    for bar in &bars {
        // Viewers of whom not all of the way was captured have no parts, and no place in a mean that the parts are to
        // add up to.
        let (known, unknown): (Vec<&Member<'_>>, Vec<&Member<'_>>) =
            bar.members.iter().partition(|member| member.unit.summary.queue_mean_ms.is_some());
        without += unknown.len();
        let trials = trials(known.into_iter());
        let parts = PARTS.map(|(.., value)| mean_over(&trials, |unit| value(unit.summary)));
        if parts.iter().all(Option::is_none) {
            continue;
        }
        let floor = mean_over(&trials, |unit| unit.frames.floor_mean_ms().or(unit.summary.floor_p50_ms));
        let delay = sample(&trials, "delay_mean_ms").as_ref().and_then(Sample::estimate);
        rows.push((bar, trials.len(), parts, floor, delay));
    }
    if rows.is_empty() {
        return Err(empty(Family::Parts, selection.why_empty("the way of every frame")));
    }
    for (place, (bar, _, parts, floor, delay)) in rows.iter().enumerate() {
        #[allow(clippy::cast_precision_loss)]
        let x = place as f64;
        let mut from = 0.0;
        for ((.., colour, _), part) in PARTS.iter().zip(parts) {
            let to = from + part.unwrap_or(0.0);
            chart.pieces.push(Piece::Bar { x, width: 0.6, from, to, colour: *colour });
            from = to;
        }
        // Delay and floor begin with the birth.
        let born = parts[0].unwrap_or(0.0);
        if let Some((low, high)) = delay.and_then(|delay| delay.interval) {
            chart.pieces.push(Piece::Interval { x, low: born + low, high: born + high, colour: BLACK });
        }
        if let Some(y) = *floor {
            chart.pieces.push(Piece::Level { x, width: 0.72, y: born + y, colour: BLACK });
        }
        chart.categories.push(bar.label.clone());
    }
    let drawn = |n: usize| rows.iter().any(|(_, _, parts, ..)| parts[n].is_some_and(|part| part > 0.0));
    let entry = |(_, label, colour, _): &Part| Entry { swatch: Swatch::Block(*colour), label: (*label).to_owned() };
    chart.legend = PARTS.iter().enumerate().filter(|(n, _)| drawn(*n)).map(|(_, part)| entry(part)).collect();
    chart.legend.push(Entry { swatch: Swatch::Level(BLACK), label: "floor".to_owned() });
    if without > 0 {
        chart.warnings.push(format!(
            "{without} viewers of trials are left out: the way of their frames was not captured completely"
        ));
    }
    let keys: Vec<_> = rows.iter().map(|(bar, ..)| &bar.values[..]).collect();
    let mut table = key_columns(Figures::default(), &by, &keys)
        .counts("trials", rows.iter().map(|(_, trials, ..)| count(*trials)))
        .numbers("delay_mean_ms", rows.iter().map(|(.., delay)| delay.map(|delay| delay.value)))
        .numbers("delay_mean_low_95_ms", rows.iter().map(|(.., delay)| delay.and_then(|d| d.interval).map(|i| i.0)))
        .numbers("delay_mean_high_95_ms", rows.iter().map(|(.., delay)| delay.and_then(|d| d.interval).map(|i| i.1)));
    for (n, (name, ..)) in PARTS.iter().enumerate() {
        table = table.numbers(&format!("{name}_mean_ms"), rows.iter().map(|(_, _, parts, ..)| parts[n]));
    }
    let table = table.numbers("floor_mean_ms", rows.iter().map(|(_, _, _, floor, _)| *floor));
    let caption = "The mean delay of the frames that arrived as the sum of its parts, with its 95 % confidence interval over the trials and the \
                   floor: the mean of the least delay that the network allows."
        .to_owned();
    let caption = if is_shown {
        caption
            + " Where screens were read, encoder and player are parts, too; of the latter over the frames that were shown. Delay and floor count \
               from the birth, behind the encoder."
    } else {
        caption
    };
    Ok(Plate { chart, caption, table, points: None })
}

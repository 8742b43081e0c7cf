//! Who carries the stream as the audience grows: the share of the viewers, and the copies that CDN and broadcaster
//! send.

use super::audience::{Crowd, Figure, aside, bound, crowds, dashed, sized, trials_of};
use super::{Family, Plate, blank, count, empty, key_columns, line_entry, remarked};
use crate::plot::canvas::Marker;
use crate::plot::chart::{BLACK, Chart, Dash, Entry, Series, Shape, Swatch};
use crate::plot::key::Value;
use crate::plot::loaded::Loaded;
use crate::plot::selection::{Selection, Style};
use crate::plot::{Around, PlotError, Scale};
use crate::table::Figures;

const PERCENT: f64 = 100.0;

/// The solid and the broken line of each side.
const BY_VIEWERS: Figure = |row| row.viewer_offload;
const NOT_BY_CDN: Figure = |row| row.peer_offload;
const OF_CDN: Figure = |row| row.cdn_copies;
const OF_BROADCASTER: Figure = |row| row.broadcaster_copies;
const MOST: Figure = |row| row.viewer_offload_bound;

#[allow(clippy::cast_precision_loss)]
pub(in crate::plot) fn plate(
    selection: &Selection<'_>,
    runs: &[Loaded],
    around: &Around,
) -> Result<Plate, PlotError> {
    selection.tellable()?;
    let crowds: Vec<Crowd<'_, '_>> = crowds(selection, runs)
        .into_iter()
        .filter(|crowd| [BY_VIEWERS, OF_CDN, OF_BROADCASTER].iter().any(|figure| crowd.mean(*figure).is_some()))
        .collect();
    if crowds.is_empty() {
        return Err(empty(Family::Offload, selection.why_empty("what anyone carried")));
    }
    let mut chart = sized(blank(selection, around, Scale::Linear), &crowds);
    chart.title = format!("{}: who carries the stream as the audience grows", around.subject);
    chart.y_label = "of the bytes that came (%)".to_owned();
    chart.y_holds = vec![PERCENT];
    let most = bound(&crowds, MOST, PERCENT);
    let is_bounded = !most.is_empty();
    chart.series.push(dashed(most, Dash::Dots, BLACK));
    let mut right = sized(Chart::default(), &crowds);
    right.y_label = "bytes sent / bytes of the video".to_owned();
    for (place, group) in selection.groups.iter().enumerate() {
        let line = |figure: Figure, factor: f64| -> Vec<(f64, Option<f64>)> {
            let mine = crowds.iter().filter(|crowd| std::ptr::eq(crowd.group, group));
            let at = |crowd: &Crowd<'_, '_>| aside(crowd.viewers, place, selection.groups.len());
            mine.filter_map(|crowd| Some((at(crowd), Some(crowd.mean(figure)? * factor)))).collect()
        };
        let Style { colour, marker, .. } = group.style;
        let series = |points, dash| {
            // A single size has no lines to tell the two apart by.
            let marker = if dash == Dash::Whole { marker } else { Marker::Cross };
            let shape = Shape::Joined { marker, radius: 6.0, width: 3.0 };
            Series { shape, colour, opacity: 1.0, dash, points }
        };
        chart.series.push(series(line(NOT_BY_CDN, PERCENT), Dash::Strokes));
        chart.series.push(series(line(BY_VIEWERS, PERCENT), Dash::Whole));
        right.series.push(series(line(OF_BROADCASTER, 1.0), Dash::Strokes));
        right.series.push(series(line(OF_CDN, 1.0), Dash::Whole));
    }
    for group in selection.groups.iter().filter(|group| crowds.iter().any(|c| std::ptr::eq(c.group, *group))) {
        let style = Style { dash: Dash::Whole, ..group.style };
        chart.legend.push(line_entry(style, remarked(group)));
    }
    let broken =
        |dash, marker, label: &str| Entry { swatch: Swatch::Broken(dash, marker, BLACK), label: label.to_owned() };
    let whole = Entry {
        swatch: Swatch::Shape(Shape::Line { width: 3.0 }, BLACK),
        label: "left: from viewers, right: sent by the CDN".to_owned(),
    };
    chart.legend.push(whole);
    chart.legend.push(broken(
        Dash::Strokes,
        Some(Marker::Cross),
        "left: from anyone but the CDN, right: sent by the broadcaster",
    ));
    if is_bounded {
        chart.legend.push(broken(Dash::Dots, None, "what viewers carry if the broadcaster's uplink is full"));
    }
    chart.beside = vec![right];
    let caption = "Who carries the stream, against the number of viewers; means over the trials. At the left the share of the bytes that came from viewers \
                   (whole lines) and from anyone but the CDN (broken lines), and what viewers carry beside a full uplink of the broadcaster: all but the \
                   whole copies that the broadcaster's uplink has room for; if it sends fewer, they carry more. At the right what the CDN sent to \
                   viewers (whole lines) and what the broadcaster sent, to the CDN and to viewers (broken lines), in copies of the video; sound, headers \
                   of the protocols and retransmissions are included."
        .to_owned();
    Ok(Plate { chart, caption, table: table(selection, &crowds), points: None })
}

fn table(selection: &Selection<'_>, crowds: &[Crowd<'_, '_>]) -> Figures {
    let keys: Vec<&[Option<Value>]> = crowds.iter().map(|crowd| &crowd.group.values[..]).collect();
    let figure = |figure: Figure| crowds.iter().map(move |crowd| crowd.mean(figure));
    let least = |figure: Figure| crowds.iter().map(move |crowd| crowd.least(figure));
    #[allow(clippy::cast_precision_loss)]
    let egress: Figure = |row| row.server_egress_bytes.map(|bytes| bytes as f64);
    key_columns(Figures::default(), &selection.by, &keys)
        .counts("viewers", crowds.iter().map(|crowd| u64::from(crowd.viewers)))
        .counts("trials", crowds.iter().map(|crowd| count(trials_of(crowd))))
        .numbers("viewer_offload", figure(BY_VIEWERS))
        .numbers("viewer_offload_bound", figure(MOST))
        .numbers("peer_offload", figure(NOT_BY_CDN))
        .numbers("server_egress_bytes", figure(egress))
        .numbers("cdn_copies", figure(OF_CDN))
        .numbers("broadcaster_copies", figure(OF_BROADCASTER))
        .numbers("sent_per_video", figure(|row| row.sent_per_video))
        .numbers("copy_bit_per_s", least(|row| row.copy_bit_per_s))
        .numbers("greatest_bit_per_s", least(|row| row.greatest_bit_per_s))
        .numbers("depth_max", figure(|row| row.depth_max.map(f64::from)))
        .numbers("depth_bound", least(|row| row.depth_bound.map(f64::from)))
}

//! Who served whom: what came from the CDN and what from peers.

use super::parts::{bars, mean, mean_over};
use super::{Family, Plate, blank, count, empty, key_columns};
use crate::plan::delivery::Via;
use crate::plot::chart::{Entry, Piece, Swatch};
use crate::plot::selection::{BLUE, Selection, VERMILLION, trials};
use crate::plot::{Around, PlotError, Scale};
use crate::table::{Figures, Unit};

const MEGABYTE: f64 = 1e6;

#[derive(Default)]
struct Served {
    trials: usize,
    cdn_bytes: Option<f64>,
    peer_bytes: Option<f64>,
    cdn_frames: Option<f64>,
    peer_frames: Option<f64>,
    missing: Option<f64>,
}

impl Served {
    #[allow(clippy::cast_precision_loss)]
    fn of(trials: &[Vec<Unit<'_>>]) -> Served {
        let frames = |via: Option<Via>| {
            mean_over(trials, |unit| {
                let arrived = unit.frames.iter().filter(|frame| frame.via == via).count();
                (!unit.frames.is_empty()).then_some(arrived as f64)
            })
        };
        Served {
            trials: trials.len(),
            cdn_bytes: mean_over(trials, |unit| unit.summary.cdn_bytes.map(|bytes| bytes as f64)),
            peer_bytes: mean_over(trials, |unit| unit.summary.peer_bytes.map(|bytes| bytes as f64)),
            cdn_frames: frames(Some(Via::Cdn)),
            peer_frames: frames(Some(Via::Peer)),
            missing: frames(None),
        }
    }

    fn offload(&self) -> Option<f64> {
        let (cdn, peer) = (self.cdn_bytes?, self.peer_bytes?);
        (cdn + peer > 0.0).then(|| peer / (cdn + peer))
    }
}

pub(in crate::plot) fn plate(selection: &Selection<'_>, around: &Around) -> Result<Plate, PlotError> {
    let (by, bars) = bars(selection);
    let mut chart = blank(selection, around, Scale::Linear);
    chart.title = format!("{}: who served the viewers", around.subject);
    chart.y_label = "received by a viewer in a trial (MB)".to_owned();
    let served = bars.iter().map(|bar| (bar, Served::of(&trials(bar.members.iter().copied()))));
    let served: Vec<_> =
        served.filter(|(_, served)| served.cdn_bytes.is_some() && served.peer_bytes.is_some()).collect();
    if mean(served.iter().filter_map(|(_, s)| Some(s.cdn_bytes? + s.peer_bytes?))).is_none_or(|bytes| bytes <= 0.0) {
        return Err(empty(Family::Sources, selection.why_empty("what viewers received")));
    }
    for (place, (bar, served)) in served.iter().enumerate() {
        #[allow(clippy::cast_precision_loss)]
        let x = place as f64;
        let cdn = served.cdn_bytes.unwrap_or_default() / MEGABYTE;
        let all = cdn + served.peer_bytes.unwrap_or_default() / MEGABYTE;
        chart.pieces.push(Piece::Bar { x, width: 0.6, from: 0.0, to: cdn, colour: VERMILLION });
        chart.pieces.push(Piece::Bar { x, width: 0.6, from: cdn, to: all, colour: BLUE });
        let offload = served.offload().map(|share| format!("\n{:.0} % by peers", share * 100.0));
        chart.categories.push(bar.label.clone() + &offload.unwrap_or_default());
    }
    let entry = |colour, label: &str| Entry { swatch: Swatch::Block(colour), label: label.to_owned() };
    chart.legend = vec![entry(VERMILLION, "from the CDN"), entry(BLUE, "from peers")];
    let keys: Vec<_> = served.iter().map(|(bar, _)| &bar.values[..]).collect();
    let table = key_columns(Figures::default(), &by, &keys)
        .counts("trials", served.iter().map(|(_, s)| count(s.trials)))
        .numbers("cdn_bytes", served.iter().map(|(_, s)| s.cdn_bytes))
        .numbers("peer_bytes", served.iter().map(|(_, s)| s.peer_bytes))
        .numbers("peer_offload", served.iter().map(|(_, s)| s.offload()))
        .numbers("cdn_frames", served.iter().map(|(_, s)| s.cdn_frames))
        .numbers("peer_frames", served.iter().map(|(_, s)| s.peer_frames))
        .numbers("missing_frames", served.iter().map(|(_, s)| s.missing));
    let caption = "What a viewer received of the stream in one trial, by where it came from: the mean over the trials, in 10⁶ bytes.".to_owned();
    Ok(Plate { chart, caption, table, points: None })
}

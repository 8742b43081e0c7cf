//! Who served whom: what came from the CDN, what from peers and what from groups.

use super::parts::{bars, mean, mean_over};
use super::{Family, Plate, blank, count, empty, key_columns};
use crate::plan::delivery::Via;
use crate::plot::chart::{Entry, Piece, Swatch};
use crate::plot::selection::{BLUE, PURPLE, Selection, VERMILLION, trials};
use crate::plot::{Around, PlotError, Scale};
use crate::table::{Figures, Unit};

const MEGABYTE: f64 = 1e6;

#[derive(Default)]
struct Served {
    trials: usize,
    cdn_bytes: Option<f64>,
    peer_bytes: Option<f64>,
    group_bytes: Option<f64>,
    cdn_frames: Option<f64>,
    peer_frames: Option<f64>,
    group_frames: Option<f64>,
    missing: Option<f64>,
}

impl Served {
    #[allow(clippy::cast_precision_loss)]
    fn of(trials: &[Vec<Unit<'_>>]) -> Served {
        let frames = |via: Option<Via>| {
            mean_over(trials, |unit| {
                let arrived = via.map_or_else(|| unit.frames.missing(), |via| unit.frames.arrived(via));
                (unit.frames.count() > 0).then_some(arrived as f64)
            })
        };
        Served {
            trials: trials.len(),
            cdn_bytes: mean_over(trials, |unit| unit.summary.cdn_bytes.map(|bytes| bytes as f64)),
            peer_bytes: mean_over(trials, |unit| unit.summary.peer_bytes.map(|bytes| bytes as f64)),
            group_bytes: mean_over(trials, |unit| unit.summary.group_bytes.map(|bytes| bytes as f64)),
            cdn_frames: frames(Some(Via::Cdn)),
            peer_frames: frames(Some(Via::Peer)),
            group_frames: frames(Some(Via::Group)),
            missing: frames(None),
        }
    }

    fn all_bytes(&self) -> Option<f64> {
        Some(self.cdn_bytes? + self.peer_bytes? + self.group_bytes.unwrap_or(0.0))
    }

    /// The share of peers, and that of groups.
    fn shares(&self) -> Option<[f64; 2]> {
        let all = self.all_bytes().filter(|all| *all > 0.0)?;
        Some([self.peer_bytes? / all, self.group_bytes.unwrap_or(0.0) / all])
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
    if mean(served.iter().filter_map(|(_, s)| s.all_bytes())).is_none_or(|bytes| bytes <= 0.0) {
        return Err(empty(Family::Sources, selection.why_empty("what viewers received")));
    }
    for (place, (bar, served)) in served.iter().enumerate() {
        #[allow(clippy::cast_precision_loss)]
        let x = place as f64;
        let cdn = served.cdn_bytes.unwrap_or_default() / MEGABYTE;
        let peers = cdn + served.peer_bytes.unwrap_or_default() / MEGABYTE;
        let all = peers + served.group_bytes.unwrap_or_default() / MEGABYTE;
        chart.pieces.push(Piece::Bar { x, width: 0.6, from: 0.0, to: cdn, colour: VERMILLION });
        chart.pieces.push(Piece::Bar { x, width: 0.6, from: cdn, to: peers, colour: BLUE });
        let share = served.shares().map(|[peers, groups]| match groups > 0.0 {
            true => format!("\n{:.0} % copied", groups * 100.0),
            false => format!("\n{:.0} % by peers", peers * 100.0),
        });
        if all > peers {
            chart.pieces.push(Piece::Bar { x, width: 0.6, from: peers, to: all, colour: PURPLE });
        }
        chart.categories.push(bar.label.clone() + &share.unwrap_or_default());
    }
    let entry = |colour, label: &str| Entry { swatch: Swatch::Block(colour), label: label.to_owned() };
    chart.legend = vec![entry(VERMILLION, "from the CDN"), entry(BLUE, "from peers")];
    if served.iter().any(|(_, served)| served.group_bytes > Some(0.0)) {
        chart.legend.push(entry(PURPLE, "copied by switches"));
    }
    let keys: Vec<_> = served.iter().map(|(bar, _)| &bar.values[..]).collect();
    let table = key_columns(Figures::default(), &by, &keys)
        .counts("trials", served.iter().map(|(_, s)| count(s.trials)))
        .numbers("cdn_bytes", served.iter().map(|(_, s)| s.cdn_bytes))
        .numbers("peer_bytes", served.iter().map(|(_, s)| s.peer_bytes))
        .numbers("group_bytes", served.iter().map(|(_, s)| s.group_bytes))
        .numbers("peer_offload", served.iter().map(|(_, s)| s.shares().map(|[peers, _]| peers)))
        .numbers("cdn_frames", served.iter().map(|(_, s)| s.cdn_frames))
        .numbers("peer_frames", served.iter().map(|(_, s)| s.peer_frames))
        .numbers("group_frames", served.iter().map(|(_, s)| s.group_frames))
        .numbers("missing_frames", served.iter().map(|(_, s)| s.missing));
    let caption = "What a viewer received of the stream in one trial, by where it came from: the mean over the trials, in 10⁶ bytes.".to_owned();
    Ok(Plate { chart, caption, table, points: None })
}

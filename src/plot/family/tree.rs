//! Who has the stream from whom: the tree that most frames took, with each viewer's delay as its colour.

use std::collections::BTreeMap;

use super::servers::{Seen, around, name_of, seen, unknown};
use super::{Family, Plate, count, empty};
use crate::plan::Trial;
use crate::plan::natural;
use crate::plot::branches::{Branches, Node};
use crate::plot::loaded::Loaded;
use crate::plot::{PlotError, View};
use crate::table::{Figures, quantile};

/// Who served a viewer, and how well.
struct Served<'r> {
    seen: &'r Seen<'r>,
    /// Each server with its frames, most first.
    by: Vec<(&'r str, usize)>,
    /// Number of frames that arrived.
    arrived: usize,
    delay_p50_ms: Option<f64>,
}

impl<'r> Served<'r> {
    fn of(seen: &'r Seen<'r>) -> Served<'r> {
        let mut by: BTreeMap<&str, usize> = BTreeMap::new();
        let mut delays: Vec<f64> = seen.frames.iter().filter_map(|frame| frame.delay_ms).collect();
        delays.sort_by(f64::total_cmp);
        for server in seen.frames.iter().filter_map(|frame| frame.server.as_deref()) {
            *by.entry(server).or_default() += 1;
        }
        let mut by: Vec<(&str, usize)> = by.into_iter().collect();
        by.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| natural(a.0, b.0)));
        let arrived = seen.frames.iter().filter(|frame| frame.arrival_ns.is_some()).count();
        Served { seen, by, arrived, delay_p50_ms: quantile(&delays, 0.5) }
    }
}

/// For each viewer the place of its parent among its servers: who gave it most of its frames, but for viewers who did
/// so for each other, at different times. Of such a circle the one that has most from someone outside hangs there.
/// `None`: nobody is left.
fn parents(all: &[Served<'_>]) -> Vec<Option<usize>> {
    let index: BTreeMap<(&str, &str), usize> =
        all.iter().enumerate().map(|(place, one)| ((one.seen.stream, one.seen.viewer), place)).collect();
    let mut chosen: Vec<Option<usize>> = all.iter().map(|one| (!one.by.is_empty()).then_some(0)).collect();
    let server = |viewer: usize, choice: usize| -> Option<usize> {
        let (name, _) = all[viewer].by.get(choice)?;
        index.get(&(all[viewer].seen.stream, *name)).copied()
    };
    while let Some(circle) = circle(&chosen, server) {
        // What each would have next, from someone who is not of the circle.
        let next = |viewer: usize| {
            let outside = |choice: &usize| server(viewer, *choice).is_none_or(|other| !circle.contains(&other));
            (0..all[viewer].by.len()).find(outside)
        };
        let most = circle.iter().copied().filter_map(|viewer| Some((viewer, next(viewer)?)));
        let freed = most.max_by_key(|(viewer, choice)| all[*viewer].by[*choice].1);
        match freed {
            Some((viewer, choice)) if Some(choice) > chosen[viewer] => chosen[viewer] = Some(choice),
            _ => chosen[circle[0]] = None,
        }
    }
    chosen
}

/// Viewers who hang from each other, if there are any.
fn circle(chosen: &[Option<usize>], server: impl Fn(usize, usize) -> Option<usize>) -> Option<Vec<usize>> {
    // 0: not looked at, 1: on the way that is walked, 2: leads to a root.
    let mut marks = vec![0_u8; chosen.len()];
    for start in 0..chosen.len() {
        let (mut way, mut at) = (Vec::new(), Some(start));
        while let Some(here) = at.filter(|here| marks[*here] == 0) {
            marks[here] = 1;
            way.push(here);
            at = chosen[here].and_then(|choice| server(here, choice));
        }
        if let Some(first) = at.filter(|here| marks[*here] == 1) {
            return Some(way.into_iter().skip_while(|here| *here != first).collect());
        }
        way.into_iter().for_each(|here| marks[here] = 2);
    }
    None
}

pub(in crate::plot) fn plate(run: &Loaded, trial: &Trial, view: &View) -> Result<Plate, PlotError> {
    let seen = seen(run, trial, view);
    let all: Vec<Served<'_>> = seen.iter().map(Served::of).collect();
    if all.iter().all(|one| one.by.is_empty()) {
        return Err(empty(Family::Tree, unknown(trial)));
    }
    let chosen = parents(&all);
    let cdn = trial.network.cdn().map(|host| host.name.as_str());
    // Whoever serves and is no viewer in the picture is a root: the broadcaster, the CDN, a viewer that --where
    // leaves out.
    let mut roots: Vec<(&str, &str)> =
        trial.streams.iter().map(|s| (s.name.as_str(), s.broadcaster.as_str())).collect();
    let is_viewer = |stream: &str, name: &str| seen.iter().any(|s| (s.stream, s.viewer) == (stream, name));
    for (one, choice) in all.iter().zip(&chosen) {
        let server = choice.and_then(|choice| one.by.get(choice)).map(|(name, _)| (one.seen.stream, *name));
        roots.extend(server.filter(|(stream, name)| !is_viewer(stream, name)));
    }
    roots.sort_by_key(|(stream, name)| (trial.streams.iter().position(|s| s.name == *stream), Some(*name) == cdn));
    roots.dedup();
    // Children in the order in which they have their frames, which is that in which their parent serves them.
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by(|a, b| {
        let delay = |place: &usize| all[*place].delay_p50_ms.unwrap_or(f64::INFINITY);
        delay(a).total_cmp(&delay(b)).then_with(|| natural(all[*a].seen.viewer, all[*b].seen.viewer))
    });
    let place_of = |stream: &str, name: &str| {
        let root = roots.iter().position(|root| *root == (stream, name));
        let viewer = || order.iter().position(|v| (all[*v].seen.stream, all[*v].seen.viewer) == (stream, name));
        root.or_else(|| viewer().map(|place| roots.len() + place))
    };
    let mut nodes: Vec<Node> = Vec::new();
    for (_, name) in &roots {
        let below = match *name {
            _ if Some(*name) == cdn => "CDN",
            _ if trial.streams.iter().any(|stream| stream.broadcaster == *name) => "source",
            _ => "viewer",
        };
        nodes.push(Node { name: (*name).to_owned(), below: below.to_owned(), is_root: true, ..Node::default() });
    }
    for viewer in &order {
        let one = &all[*viewer];
        let parent = chosen[*viewer].and_then(|choice| {
            let (name, frames) = one.by.get(choice)?;
            Some((place_of(one.seen.stream, name)?, share(*frames, one.arrived)))
        });
        nodes.push(Node {
            name: name_of(trial, one.seen),
            below: one.delay_p50_ms.map_or_else(|| "–".to_owned(), |ms| format!("{ms:.0}")),
            parent,
            value: one.delay_p50_ms,
            is_root: false,
        });
    }
    let scale_label = "median delay of a viewer's frames (ms), also under its name. Per cent: the share of its frames that came that way; without: all.";
    let branches = Branches { nodes, scale_label: scale_label.to_owned() };
    let table = table(trial, &all, &chosen, &order, &branches);
    let mut chart = around(run, trial, "who has the stream from whom");
    chart.branches = Some(branches);
    let caption = "Who has the stream from whom: each viewer hangs from the host that gave it most of its frames, its colour is the median delay of its \
                   frames, and a branch is as wide as the share of them that came that way. From left to right children are in the order of their delays."
        .to_owned();
    Ok(Plate { chart, caption, table, points: None })
}

#[allow(clippy::cast_precision_loss)]
fn share(frames: usize, of: usize) -> f64 {
    frames as f64 / of.max(1) as f64
}

fn table(
    trial: &Trial,
    all: &[Served<'_>],
    chosen: &[Option<usize>],
    order: &[usize],
    branches: &Branches,
) -> Figures {
    let server = |viewer: &usize| chosen[*viewer].and_then(|choice| all[*viewer].by.get(choice));
    let spots = branches.layout().0;
    let first = branches.nodes.len() - order.len();
    // Roots stand in layer 0; how many pass it on is one less than the layer.
    let passed = |place: usize| {
        let hangs = branches.nodes.get(first + place).is_some_and(|node| node.parent.is_some());
        spots.get(first + place).copied().flatten().filter(|_| hangs).map(|spot| count(spot.layer.saturating_sub(1)))
    };
    Figures::default()
        .texts("trial", order.iter().map(|_| trial.id.clone()))
        .texts("stream", order.iter().map(|viewer| all[*viewer].seen.stream.to_owned()))
        .texts("viewer", order.iter().map(|viewer| all[*viewer].seen.viewer.to_owned()))
        .texts("server", order.iter().map(|viewer| server(viewer).map(|(name, _)| (*name).to_owned())))
        .numbers("share", order.iter().map(|v| server(v).map(|(_, frames)| share(*frames, all[*v].arrived))))
        .counts("viewers_above", (0..order.len()).map(passed))
        .numbers("delay_p50_ms", order.iter().map(|viewer| all[*viewer].delay_p50_ms))
        .counts("frames", order.iter().map(|viewer| count(all[*viewer].seen.frames.len())))
        .counts("missing", order.iter().map(|v| count(all[*v].seen.frames.len() - all[*v].arrived)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn chosen(viewers: &[(&str, &[(&str, usize)])]) -> Vec<Option<String>> {
        let seen: Vec<Seen<'_>> =
            viewers.iter().map(|(viewer, _)| Seen { stream: "hb", viewer, frames: Vec::new() }).collect();
        let all: Vec<Served<'_>> = seen
            .iter()
            .zip(viewers)
            .map(|(seen, (_, by))| Served { seen, by: by.to_vec(), arrived: 100, delay_p50_ms: None })
            .collect();
        let parents = parents(&all);
        parents.iter().zip(&all).map(|(choice, one)| Some(one.by[(*choice)?].0.to_owned())).collect()
    }

    #[test]
    fn who_gave_most_is_the_parent() {
        let found = chosen(&[("hv1", &[("hb", 90), ("hs", 10)]), ("hv2", &[("hv1", 60), ("hb", 40)]), ("hv3", &[])]);
        assert_eq!(found, [Some("hb".into()), Some("hv1".into()), None]);
    }

    #[test]
    fn viewers_who_served_each_other_do_not_hang_from_each_other() {
        // The parent of each was the other for more than half of the time; hv2 has more from outside.
        let found = chosen(&[("hv1", &[("hv2", 55), ("hb", 45)]), ("hv2", &[("hv1", 51), ("hs", 49)])]);
        assert_eq!(found, [Some("hv2".into()), Some("hs".into())]);
        // A longer circle with one who has nobody else, and one below it.
        let found = chosen(&[
            ("hv1", &[("hv3", 90)]),
            ("hv2", &[("hv1", 80), ("hv3", 20)]),
            ("hv3", &[("hv2", 70), ("hb", 30)]),
            ("hv4", &[("hv3", 99)]),
        ]);
        assert_eq!(found, [Some("hv3".into()), Some("hv1".into()), Some("hb".into()), Some("hv3".into())]);
        // Nobody has anything from outside: it falls apart, and ends.
        assert_eq!(chosen(&[("hv1", &[("hv2", 9)]), ("hv2", &[("hv1", 9)])]), [None, Some("hv1".into())]);
        assert_eq!(chosen(&[("hv1", &[("hv1", 9)])]), [None], "nobody serves itself");
    }
}

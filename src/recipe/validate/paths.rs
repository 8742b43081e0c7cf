//! Whether anything can arrive on the paths between broadcasters, CDN and viewers.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::super::problem::Finding;
use super::super::text::Span;
use super::super::unit::Delay;
use super::Notes;
use super::load::{Direction, spread};
use super::topology::{Topology, ValuePlaces};
use crate::plan::delivery::pairs;
use crate::plan::{Engine, LEAST_ANSWERED, Shape, Stream, Timeline, answered};

/// A path that loses such a share of what is sent in one direction hardly carries TCP: a fifth, and a hair less for the rounding of products.
const MUCH_LOSS: f64 = 0.2 - 1e-9;

/// Errors: paths that are too long for the trial, or that cannot be measured before it begins. Warnings: paths that lose much.
pub(super) fn check_paths(
    topology: &Topology,
    streams: &[Stream],
    timeline: &Timeline,
    engine: Engine,
    notes: &mut Notes<'_>,
) {
    let network = &topology.network;
    let Some(cdn) = network.cdn().filter(|_| may_matter(topology, timeline)) else { return };
    let ends: BTreeSet<(&str, &str)> = streams.iter().flat_map(|stream| pairs(&cdn.name, stream)).collect();
    let mut routes: HashMap<&str, HashMap<&str, Direction>> = HashMap::new();
    let mut told: Vec<&Span> = Vec::new();
    for (from, to) in ends {
        let arrived_by = routes.entry(from).or_insert_with(|| spread(network, from));
        let mut passed: Vec<usize> = Vec::new();
        let mut node = to;
        while let Some((link, forward)) = arrived_by.get(node) {
            passed.push(*link);
            let link = &network.links[*link];
            node = if *forward { &link.a.node } else { &link.b.node };
        }
        let path = Path { from, to, shapes: passed.iter().map(|link| network.links[*link].shape).collect() };
        let of_most = |value: fn(&Shape) -> f64, place: fn(&ValuePlaces) -> Option<&Span>| {
            let shape = |link: &usize| value(&network.links[*link].shape);
            let most = *passed.iter().max_by(|a, b| shape(a).total_cmp(&shape(b)))?;
            Some(place(&topology.values[most]).unwrap_or(&topology.places[most]))
        };
        let of_delay = of_most(|shape| shape.delay.as_secs_f64(), |values| values.delay.as_ref());
        if let Some(place) = of_delay.filter(|place| !told.contains(place))
            && let Some(finding) = path.too_long(timeline, place)
        {
            told.push(place);
            notes.error(finding);
        }
        let of_loss = of_most(|shape| shape.loss, |values| values.loss.as_ref());
        let Some(place) = of_loss.filter(|place| !told.contains(place)) else { continue };
        let answered = answered(&path.shapes);
        if answered < LEAST_ANSWERED && engine == Engine::Emulate {
            told.push(place);
            notes.error(path.unmeasurable(answered, place));
        } else if path.loss() >= MUCH_LOSS {
            told.push(place);
            notes.warn(path.lossy(place));
        }
    }
}

/// Whether it is worth looking at each path of perhaps thousands: no host's links and trunks together are as bad as that.
fn may_matter(topology: &Topology, timeline: &Timeline) -> bool {
    let network = &topology.network;
    let is_trunk = |link: &&crate::plan::Link| network.host(&link.a.node).is_none();
    let (trunks, of_hosts): (Vec<_>, Vec<_>) = network.links.iter().partition(is_trunk);
    let most_delay = of_hosts.iter().map(|link| link.shape.delay).max().unwrap_or_default();
    let delay: Duration = trunks.iter().map(|link| link.shape.delay).sum::<Duration>() + most_delay * 2;
    let least_kept = of_hosts.iter().map(|link| 1.0 - link.shape.loss).fold(1.0, f64::min);
    let kept = trunks.iter().map(|link| 1.0 - link.shape.loss).product::<f64>() * least_kept.powi(2);
    delay * 2 > timeline.end + timeline.drain || kept <= 1.0 - MUCH_LOSS
}

/// From one host to another.
struct Path<'a> {
    from: &'a str,
    to: &'a str,
    shapes: Vec<Shape>,
}

impl Path<'_> {
    /// The share of packets that it loses in one direction.
    fn loss(&self) -> f64 {
        1.0 - self.shapes.iter().map(|link| 1.0 - link.loss).product::<f64>()
    }

    /// Before anything is sent, somebody has asked for it, or for a connection.
    fn too_long(&self, timeline: &Timeline, place: &Span) -> Option<Finding> {
        let delay: Duration = self.shapes.iter().map(|link| link.delay).sum();
        let time = timeline.end + timeline.drain;
        (delay * 2 > time).then(|| {
            let message = format!(
                "delay: from {} to {} and back it takes {}, and the trial is over after {}: nothing can arrive",
                self.from,
                self.to,
                Delay(delay * 2),
                Delay(time)
            );
            let finding = Finding::new(place, message, "too long a way");
            finding.help("write a shorter `delay`, or a later `end` of the timeline")
        })
    }

    fn unmeasurable(&self, answered: f64, place: &Span) -> Finding {
        let message = format!(
            "loss: of pings from {} to {} and back only {} come through: the path cannot be measured before a trial begins",
            self.from,
            self.to,
            percent(answered)
        );
        let finding = Finding::new(place, message, format!("{} lost one way", percent(self.loss())));
        finding.help(format!(
            "write a smaller `loss`, so that {} come through; `timeline: links` can raise it during the trial",
            percent(LEAST_ANSWERED)
        ))
    }

    fn lossy(&self, place: &Span) -> Finding {
        let message = format!(
            "loss: {} of the packets from {} to {} are lost, and as many on the way back",
            percent(self.loss()),
            self.from,
            self.to
        );
        let finding = Finding::new(place, message, "much loss");
        finding.help("TCP carries hardly anything there: a stream may stand still or break off; this may be intended")
    }
}

/// `80 %`, `0.16 %`, `0.0001 %`: two digits.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let whole_digits = if percent > 0.0 { percent.log10().floor() } else { 0.0 };
    let decimals = (1.0 - whole_digits).clamp(0.0, 9.0) as usize;
    let text = format!("{percent:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    // Only nothing is nothing, and only all is all.
    match text {
        "0" if share > 0.0 => "hardly any".to_owned(),
        "100" if share < 1.0 => "nearly all".to_owned(),
        text => format!("{text} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_said_with_two_digits() {
        let said = [1.0, 0.9999, 0.8, 0.36, 0.04, 0.0016, 0.000_001, 1e-13, 0.0].map(percent);
        assert_eq!(said, ["100 %", "nearly all", "80 %", "36 %", "4 %", "0.16 %", "0.0001 %", "hardly any", "0 %"]);
    }
}

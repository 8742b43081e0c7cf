//! Whether the links can carry the streams.

use std::collections::{BTreeSet, HashMap};

use livectl_policy::bound;
use livectl_policy::uplink::{self, HEADERS};

use super::super::problem::Finding;
use super::super::unit::Bandwidth;
use super::Notes;
use super::hosts::HostDraft;
use super::topology::Topology;
use crate::plan::delivery::{Givers, Via};
use crate::plan::{Network, Scheme, Stream, Video};

/// A link and whether it is crossed from its `a` to its `b`.
pub(super) type Direction = (usize, bool);

/// What the CDN's copies of the streams ask of each link.
pub(super) struct Load {
    copies: HashMap<Direction, u32>,
    /// Of one copy, in bit/s.
    rate: f64,
}

impl Load {
    pub(super) fn of(network: &Network, streams: &[Stream], video: &Video, schemes: &[Scheme]) -> Load {
        let edges =
            |scheme: Scheme| streams.iter().flat_map(move |stream| scheme.delivery().at_once(network, stream));
        // Whatever the scheme, whoever has no peer yet is served by the CDN.
        let by_any = std::iter::once(Scheme::Direct).chain(schemes.iter().copied()).flat_map(edges);
        let flows: BTreeSet<(&str, &str)> =
            by_any.filter(|edge| edge.carrier.via() == Via::Cdn).map(|edge| (edge.from, edge.to)).collect();
        Load { copies: copies(network, flows.into_iter()), rate: video.total_bitrate() as f64 * HEADERS }
    }

    /// bit/s that a link is to carry from its end `a` to its end `b`, or back.
    pub(super) fn needed(&self, link: usize, forward: bool) -> f64 {
        f64::from(self.copies.get(&(link, forward)).copied().unwrap_or(0)) * self.rate
    }
}

/// Warns of links that are asked for more than they carry, of audiences that uplinks cannot serve, and of schemes
/// with peers where there can be none.
pub(super) fn warn_of_load(
    topology: &Topology,
    hosts: &[HostDraft<'_>],
    streams: &[Stream],
    load: &Load,
    schemes: &[Scheme],
    notes: &mut Notes<'_>,
) {
    let network = &topology.network;
    let edges = |scheme: Scheme| streams.iter().flat_map(move |stream| scheme.delivery().at_once(network, stream));
    let rate = load.rate;

    let mut warned: Vec<usize> = Vec::new();
    let mut copies: Vec<(Direction, u32)> = load.copies.iter().map(|(at, copies)| (*at, *copies)).collect();
    copies.sort_unstable();
    for ((link, _), copies) in copies {
        let Some(bandwidth) = network.links[link].shape.bandwidth else { continue };
        let place = &topology.places[link];
        let told = warned.iter().any(|earlier| topology.places[*earlier] == *place);
        if f64::from(copies) * rate <= bandwidth as f64 || told {
            continue;
        }
        warned.push(link);
        notes.warn(too_slow(topology, link, Bandwidth(bandwidth), copies, rate));
    }
    for scheme in schemes.iter().copied() {
        for stream in streams {
            let audience = Audience::of(network, scheme, stream);
            let finding = match scheme.delivery().givers() {
                Givers::Nobody => None,
                Givers::Broadcaster => audience.and_then(|audience| audience.beyond_the_broadcaster(topology, rate)),
                Givers::Everyone => audience.and_then(|audience| audience.beyond_all(topology, rate)),
                Givers::Switches => audience.and_then(|audience| audience.beyond_one_copy(topology, rate)),
            };
            if let Some(finding) = finding {
                notes.warn(finding);
            }
        }
    }
    let viewer = hosts.iter().find(|host| host.role == crate::plan::Role::Viewer);
    for (scheme, host) in schemes.iter().zip(viewer.into_iter().cycle()) {
        let Some(why) = scheme.delivery().without_peers() else { continue };
        if edges(*scheme).all(|edge| edge.carrier.via() == Via::Cdn) {
            let message = format!("{why}: {scheme} will be as direct");
            let finding = Finding::new(&host.span, message, "on another switch");
            let help = format!("plug a viewer in where its broadcaster is, or leave `{scheme}` out of `schemes`");
            notes.warn(finding.help(help));
        }
    }
}

fn too_slow(topology: &Topology, link: usize, bandwidth: Bandwidth, copies: u32, rate: f64) -> Finding {
    let ends = &topology.network.links[link];
    let needed = Bandwidth((f64::from(copies) * rate / 10_000.0).ceil() as u64 * 10_000);
    let what = match copies {
        1 => "one copy of the stream".to_owned(),
        n => format!("{n} copies of the stream"),
    };
    let message = format!("the link {} - {} of {bandwidth} has to carry {needed}: {what}", ends.a.node, ends.b.node);
    Finding::new(&topology.places[link], message, format!("less than {needed}"))
        .help("frames will queue there and arrive later and later; this may be intended")
}

/// Those whom peers may serve a stream, and what they send it over.
struct Audience {
    /// The broadcaster's link.
    uplink: usize,
    /// That link carries the copy for the CDN, too.
    shared: bool,
    /// The viewers' links.
    viewers: Vec<usize>,
}

impl Audience {
    /// `None`: the broadcaster reaches nobody as a peer.
    fn of(network: &Network, scheme: Scheme, stream: &Stream) -> Option<Audience> {
        let broadcaster = stream.broadcaster.as_str();
        let reached: Vec<&str> = match scheme.delivery().givers() {
            Givers::Nobody => return None,
            Givers::Broadcaster => {
                let edges = scheme.delivery().edges(network, stream).into_iter();
                edges.filter(|edge| edge.carrier.via() == Via::Peer).map(|edge| edge.to).collect()
            }
            Givers::Everyone | Givers::Switches => {
                let viewers = stream.viewers.iter().map(String::as_str);
                viewers.filter(|viewer| network.address_from(broadcaster, viewer).is_some()).collect()
            }
        };
        let uplink = network.uplink(broadcaster, reached.first()?)?;
        let to_cdn = network.cdn().and_then(|cdn| network.uplink(broadcaster, &cdn.name));
        let viewers = reached.iter().filter_map(|viewer| network.uplink(viewer, broadcaster)).collect();
        Some(Audience { uplink, shared: to_cdn == Some(uplink), viewers })
    }

    /// What the broadcaster's uplink has for peers, in bit/s; `None`: as much as they want.
    fn left(&self, network: &Network, rate: f64) -> Option<f64> {
        let bandwidth = network.links[self.uplink].shape.bandwidth? as f64;
        Some(if self.shared { (bandwidth - rate).max(0.0) } else { bandwidth })
    }

    /// Viewers whom the broadcaster alone cannot serve; who is beyond is not introduced. One is in any case: the
    /// CDN's copy gives way to it.
    fn beyond_the_broadcaster(&self, topology: &Topology, rate: f64) -> Option<Finding> {
        let network = &topology.network;
        let bandwidth = network.links[self.uplink].shape.bandwidth?;
        let for_cdn = if self.shared { rate } else { 0.0 };
        // As the controller counts.
        let fitting = (uplink::copies(rate, uplink::usable(bandwidth as f64), for_cdn) as usize).max(1);
        let audience = self.viewers.len();
        if fitting >= audience {
            return None;
        }
        let link = &network.links[self.uplink];
        let bandwidth = Bandwidth(bandwidth);
        let beside = if self.shared { " beside the copy for the CDN" } else { "" };
        let message = format!(
            "the link {} - {} of {bandwidth} carries the stream to {fitting} of {audience} viewers at most{beside}",
            link.a.node, link.b.node
        );
        let finding = Finding::new(&topology.places[self.uplink], message, format!("for {fitting} of {audience}"));
        Some(finding.help("the others are not introduced and stay with the CDN; that may be what you want to show"))
    }

    /// Whether the broadcaster's uplink carries one copy for all, beside the one for the CDN.
    fn beyond_one_copy(&self, topology: &Topology, rate: f64) -> Option<Finding> {
        let network = &topology.network;
        let bandwidth = network.links[self.uplink].shape.bandwidth?;
        let copies = if self.shared { 2 } else { 1 };
        if f64::from(copies) * rate <= bandwidth as f64 {
            return None;
        }
        let finding = too_slow(topology, self.uplink, Bandwidth(bandwidth), copies, rate);
        Some(finding.help(
            "the copy for the CDN has to wait; datagrams that still do not fit are lost, and nothing is sent again",
        ))
    }

    /// What can reach each viewer if all pass on what they have ([`bound::rate`]).
    fn beyond_all(&self, topology: &Topology, rate: f64) -> Option<Finding> {
        let network = &topology.network;
        let audience = self.viewers.len();
        let own = self.left(network, rate).unwrap_or(f64::INFINITY);
        let uplinks =
            self.viewers.iter().map(|link| network.links[*link].shape.bandwidth.map_or(f64::INFINITY, |b| b as f64));
        let bound = bound::rate(own, &uplinks.collect::<Vec<f64>>());
        if bound >= rate {
            return None;
        }
        let in_kbit = |bits: f64| Bandwidth((bits / 1_000.0) as u64 * 1_000);
        let is_shared = bound < own;
        let (bound, rate) = (in_kbit(bound), in_kbit(rate));
        let (whom, link) = if is_shared {
            ("the uplinks of broadcaster and viewers carry", *self.viewers.first()?)
        } else {
            ("the broadcaster's uplink carries", self.uplink)
        };
        let viewers = if audience == 1 { "one viewer".to_owned() } else { format!("each of {audience} viewers") };
        let message = format!("{whom} {bound} to {viewers} at most; the stream has {rate}");
        let finding = Finding::new(&topology.places[link], message, format!("less than {rate} for each"));
        Some(finding.help("who finds no uplink with room stays with the CDN; that may be what you want to show"))
    }
}

/// How many of the flows cross each link in each direction.
fn copies<'n>(network: &'n Network, flows: impl Iterator<Item = (&'n str, &'n str)>) -> HashMap<Direction, u32> {
    let mut copies = HashMap::new();
    let mut routes: HashMap<&str, HashMap<&str, Direction>> = HashMap::new();
    for (from, to) in flows {
        let arrived_by = routes.entry(from).or_insert_with(|| spread(network, from));
        let mut node = to;
        while let Some((link, forward)) = arrived_by.get(node) {
            *copies.entry((*link, *forward)).or_default() += 1;
            let link = &network.links[*link];
            node = if *forward { &link.a.node } else { &link.b.node };
        }
    }
    copies
}

/// From a host over switches to everywhere: by which link each node is reached. Switches have no loops, so there is
/// one way; other hosts do not forward.
pub(super) fn spread<'n>(network: &'n Network, from: &'n str) -> HashMap<&'n str, Direction> {
    let mut arrived_by: HashMap<&str, Direction> = HashMap::new();
    let mut frontier = vec![from];
    while let Some(node) = frontier.pop() {
        for (index, link) in network.links.iter().enumerate() {
            for (near, far, forward) in [(&link.a, &link.b, true), (&link.b, &link.a, false)] {
                if near.node != node || far.node == from || arrived_by.contains_key(far.node.as_str()) {
                    continue;
                }
                arrived_by.insert(&far.node, (index, forward));
                if network.switches.iter().any(|switch| switch.name == far.node) {
                    frontier.push(&far.node);
                }
            }
        }
    }
    arrived_by
}

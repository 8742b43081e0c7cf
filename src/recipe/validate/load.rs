//! Whether the links can carry the streams.

use std::collections::{BTreeSet, HashMap};

use super::super::problem::Finding;
use super::super::unit::Bandwidth;
use super::Notes;
use super::hosts::HostDraft;
use super::topology::Topology;
use crate::plan::delivery::{Carrier, Edge, Via};
use crate::plan::{Network, Scheme, Stream, Video};

/// Bits on the wire per bit of video: Ethernet, IP and TCP headers of full segments (1514 / 1448), and FLV's or RTMP's.
const WIRE_OVERHEAD: f64 = 1.06;

/// A link and whether it is crossed from its `a` to its `b`.
type Direction = (usize, bool);

/// Warns of links that are asked for more than they carry, and of schemes with peers where there can be none.
pub(super) fn warn_of_load(
    topology: &Topology,
    hosts: &[HostDraft<'_>],
    streams: &[Stream],
    video: &Video,
    schemes: &[Scheme],
    notes: &mut Notes<'_>,
) {
    let network = &topology.network;
    let edges = |scheme: Scheme| streams.iter().flat_map(move |stream| scheme.delivery().edges(network, stream));
    // Whatever the scheme, whoever has no peer yet is served by the CDN.
    let by_any: Vec<Edge<'_>> =
        std::iter::once(Scheme::Direct).chain(schemes.iter().copied()).flat_map(edges).collect();
    let rate = video.total_bitrate() as f64 * WIRE_OVERHEAD;

    let mut warned: Vec<usize> = Vec::new();
    for carrier in Carrier::ALL.iter().copied() {
        let flows: BTreeSet<(&str, &str)> =
            by_any.iter().filter(|edge| edge.carrier == carrier).map(|edge| (edge.from, edge.to)).collect();
        let mut copies: Vec<(Direction, u32)> = copies(network, flows.into_iter()).into_iter().collect();
        copies.sort_unstable();
        for ((link, _), copies) in copies {
            let Some(bandwidth) = network.links[link].shape.bandwidth else { continue };
            let place = &topology.places[link];
            let told = warned.iter().any(|earlier| topology.places[*earlier] == *place);
            if f64::from(copies) * rate <= bandwidth as f64 || told {
                continue;
            }
            warned.push(link);
            notes.warn(too_slow(topology, link, Bandwidth(bandwidth), (copies, carrier), rate));
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

fn too_slow(
    topology: &Topology,
    link: usize,
    bandwidth: Bandwidth,
    (copies, carrier): (u32, Carrier),
    rate: f64,
) -> Finding {
    let ends = &topology.network.links[link];
    let needed = Bandwidth((f64::from(copies) * rate / 10_000.0).ceil() as u64 * 10_000);
    let what = match (carrier.via(), copies) {
        (Via::Cdn, 1) => "one copy of the stream".to_owned(),
        (Via::Cdn, n) => format!("{n} copies of the stream"),
        (Via::Peer, 1) => "one copy of the stream to a peer".to_owned(),
        (Via::Peer, n) => format!("{n} copies of the stream to peers"),
    };
    let message = format!("the link {} - {} of {bandwidth} is to carry {needed}: {what}", ends.a.node, ends.b.node);
    Finding::new(&topology.places[link], message, format!("less than {needed}"))
        .help("frames will queue there and come ever later; that may be what you want to show")
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

/// From a host over switches to everywhere: by which link each node is reached. Switches have no loops, so there is one way;
/// other hosts do not forward.
fn spread<'n>(network: &'n Network, from: &'n str) -> HashMap<&'n str, Direction> {
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

//! Whether the links can carry the streams.

use std::collections::HashMap;

use super::super::problem::Finding;
use super::super::unit::Bandwidth;
use super::Notes;
use super::hosts::HostDraft;
use super::topology::Topology;
use crate::plan::{Network, Scheme, Stream, Video};

/// Bits on the wire per bit of video: Ethernet, IP and TCP headers of full segments (1514 / 1448), and FLV's or RTMP's.
const WIRE_OVERHEAD: f64 = 1.06;

/// A link and whether it is crossed from its `a` to its `b`.
type Direction = (usize, bool);

/// Warns of links that are asked for more than they carry, and of a `bypass` that can bypass nothing.
pub(super) fn warn_of_load(
    topology: &Topology,
    hosts: &[HostDraft<'_>],
    streams: &[Stream],
    video: &Video,
    schemes: &[Scheme],
    notes: &mut Notes<'_>,
) {
    let network = &topology.network;
    let Some(cdn) = network.cdn() else { return };
    let peers: Vec<(&str, &str)> = streams
        .iter()
        .flat_map(|s| s.viewers.iter().map(|v| (s.broadcaster.as_str(), v.as_str())))
        .filter(|(broadcaster, viewer)| share_switch(network, broadcaster, viewer))
        .collect();
    let through_cdn = streams.iter().flat_map(|s| {
        let down = s.viewers.iter().map(|v| (cdn.name.as_str(), v.as_str()));
        std::iter::once((s.broadcaster.as_str(), cdn.name.as_str())).chain(down)
    });
    let rate = video.total_bitrate() as f64 * WIRE_OVERHEAD;

    let mut warned: Vec<usize> = Vec::new();
    let ways =
        [(Scheme::Direct, copies(network, through_cdn)), (Scheme::Bypass, copies(network, peers.iter().copied()))];
    for (scheme, copies) in ways {
        // In bypass, too, whoever has no peer yet is served by the CDN.
        if scheme == Scheme::Bypass && !schemes.contains(&scheme) {
            continue;
        }
        let mut copies: Vec<(Direction, u32)> = copies.into_iter().collect();
        copies.sort_unstable();
        for ((link, _), copies) in copies {
            let Some(bandwidth) = network.links[link].shape.bandwidth else { continue };
            let place = &topology.places[link];
            let told = warned.iter().any(|earlier| topology.places[*earlier] == *place);
            if f64::from(copies) * rate <= bandwidth as f64 || told {
                continue;
            }
            warned.push(link);
            notes.warn(too_slow(topology, link, Bandwidth(bandwidth), (copies, scheme), rate));
        }
    }
    if schemes.contains(&Scheme::Bypass)
        && peers.is_empty()
        && let Some(host) = hosts.iter().find(|host| host.role == crate::plan::Role::Viewer)
    {
        let message = "no viewer is on the switch of its broadcaster: bypass will be as direct";
        let finding = Finding::new(&host.span, message, "on another switch");
        notes.warn(finding.help("plug a viewer in where its broadcaster is, or leave `bypass` out of `schemes`"));
    }
}

fn too_slow(
    topology: &Topology,
    link: usize,
    bandwidth: Bandwidth,
    (copies, scheme): (u32, Scheme),
    rate: f64,
) -> Finding {
    let ends = &topology.network.links[link];
    let needed = Bandwidth((f64::from(copies) * rate / 10_000.0).ceil() as u64 * 10_000);
    let what = match (copies, scheme) {
        (1, Scheme::Direct) => "one copy of the stream".to_owned(),
        (1, Scheme::Bypass) => "one copy of the stream to a peer".to_owned(),
        (n, Scheme::Direct) => format!("{n} copies of the stream"),
        (n, Scheme::Bypass) => format!("{n} copies of the stream to peers"),
    };
    let message = format!("the link {} - {} of {bandwidth} is to carry {needed}: {what}", ends.a.node, ends.b.node);
    Finding::new(&topology.places[link], message, format!("less than {needed}"))
        .help("frames will queue there and come ever later; that may be what you want to show")
}

fn share_switch(network: &Network, a: &str, b: &str) -> bool {
    let switches = |name: &str| -> Vec<&str> {
        network.links.iter().filter(|link| link.a.node == name).map(|link| link.b.node.as_str()).collect()
    };
    let (a, b) = (switches(a), switches(b));
    a.iter().any(|switch| b.contains(switch))
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

//! `relay`: viewers pass the stream on to each other, along a tree that the controller chooses.

use super::{Carrier, Colour, Delivery, Edge, Givers, through_cdn};
use crate::plan::{Network, Stream};

/// `relay`: viewers pass the stream on, along a tree of the controller's.
pub(super) struct Relay;

impl Delivery for Relay {
    fn name(&self) -> &'static str {
        "relay"
    }

    fn summary(&self) -> &'static str {
        "Viewers pass the stream on to each other, along a tree that the controller chooses."
    }

    fn label(&self) -> &'static str {
        "relayed by viewers"
    }

    /// Okabe and Ito's bluish green.
    fn colour(&self) -> Colour {
        [0, 158, 115]
    }

    /// The same, lighter.
    fn colour_from_cdn(&self) -> Colour {
        [127, 206, 185]
    }

    /// Through the CDN in any case, and from anyone who may have the stream to anyone who watches it and can be
    /// reached without the CDN.
    fn edges<'a>(&self, network: &'a Network, stream: &'a Stream) -> Vec<Edge<'a>> {
        let viewers = || stream.viewers.iter().map(String::as_str);
        let givers = std::iter::once(stream.broadcaster.as_str()).chain(viewers());
        let pairs = givers.flat_map(|from| viewers().map(move |to| (from, to)));
        let reached = pairs.filter(|(from, to)| from != to && network.address_from(from, to).is_some());
        let peers = reached.map(|(from, to)| Edge { from, to, carrier: Carrier::Peer });
        through_cdn(network, stream).chain(peers).collect()
    }

    /// Whoever has a parent has one. Which it is makes no difference to how many copies there are, so it is the one
    /// before.
    fn at_once<'a>(&self, network: &'a Network, stream: &'a Stream) -> Vec<Edge<'a>> {
        let mut givers = vec![stream.broadcaster.as_str()];
        let mut edges: Vec<Edge<'a>> = through_cdn(network, stream).collect();
        for to in stream.viewers.iter().map(String::as_str) {
            let parent = givers.iter().rev().find(|from| network.address_from(from, to).is_some());
            edges.extend(parent.map(|from| Edge { from, to, carrier: Carrier::Peer }));
            givers.push(to);
        }
        edges
    }

    fn givers(&self) -> Givers {
        Givers::Everyone
    }

    fn without_peers(&self) -> Option<&'static str> {
        Some("no viewer of a stream shares a subnet with another host that has it")
    }
}

//! `multicast`: the broadcaster sends each frame once, and the switches copy it to whoever watches.

use super::{Carrier, Colour, Delivery, Edge, Givers, through_cdn};
use crate::plan::{Network, Stream};

/// `multicast`: datagrams to a group, copied by switches.
pub(super) struct Multicast;

impl Delivery for Multicast {
    fn name(&self) -> &'static str {
        "multicast"
    }

    fn summary(&self) -> &'static str {
        "The broadcaster sends each frame once, as datagrams, and the switches copy it to whoever watches."
    }

    fn label(&self) -> &'static str {
        "copied by switches"
    }

    /// Okabe and Ito's reddish purple.
    fn colour(&self) -> Colour {
        [204, 121, 167]
    }

    /// The same, lighter.
    fn colour_from_cdn(&self) -> Colour {
        [231, 190, 214]
    }

    /// Through the CDN in any case, which serves until the group does; and to everyone whom switches reach.
    fn edges<'a>(&self, network: &'a Network, stream: &'a Stream) -> Vec<Edge<'a>> {
        let from = stream.broadcaster.as_str();
        let reached = stream.viewers.iter().map(String::as_str);
        let reached = reached.filter(|to| network.address_from(from, to).is_some());
        let copied = reached.map(|to| Edge { from, to, carrier: Carrier::Group });
        through_cdn(network, stream).chain(copied).collect()
    }

    fn givers(&self) -> Givers {
        Givers::Switches
    }

    fn without_peers(&self) -> Option<&'static str> {
        Some("no viewer of a stream can be reached from its broadcaster by switches alone")
    }
}

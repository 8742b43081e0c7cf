//! `bypass`: a viewer on the broadcaster's switch is served by the broadcaster, the others by the CDN.

use super::{Carrier, Colour, Delivery, Edge, Givers, through_cdn};
use crate::plan::{Network, Stream};

/// `bypass`: the broadcaster serves viewers at its own switch.
pub(super) struct Bypass;

impl Delivery for Bypass {
    fn name(&self) -> &'static str {
        "bypass"
    }

    fn summary(&self) -> &'static str {
        "The controller introduces a viewer to the broadcaster on the same switch."
    }

    fn label(&self) -> &'static str {
        "peer to peer"
    }

    /// Okabe and Ito's blue.
    fn colour(&self) -> Colour {
        [0, 114, 178]
    }

    /// Okabe and Ito's sky blue.
    fn colour_from_cdn(&self) -> Colour {
        [86, 180, 233]
    }

    /// Through the CDN in any case: whoever has no peer yet is served by it.
    fn edges<'a>(&self, network: &'a Network, stream: &'a Stream) -> Vec<Edge<'a>> {
        let broadcaster = stream.broadcaster.as_str();
        let near =
            stream.viewers.iter().map(String::as_str).filter(|viewer| network.share_switch(broadcaster, viewer));
        let peers = near.map(|viewer| Edge { from: broadcaster, to: viewer, carrier: Carrier::Peer });
        through_cdn(network, stream).chain(peers).collect()
    }

    fn givers(&self) -> Givers {
        Givers::Broadcaster
    }

    fn without_peers(&self) -> Option<&'static str> {
        Some("no viewer is on the switch of its broadcaster")
    }
}

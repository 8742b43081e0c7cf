//! `direct`: every byte goes through the CDN.

use super::{Colour, Delivery, Edge, through_cdn};
use crate::plan::{Network, Stream};

/// `direct`: everything through the CDN.
pub(super) struct Direct;

impl Delivery for Direct {
    fn name(&self) -> &'static str {
        "direct"
    }

    fn summary(&self) -> &'static str {
        "Every byte goes through the CDN."
    }

    fn label(&self) -> &'static str {
        "through the CDN"
    }

    /// Okabe and Ito's vermillion.
    fn colour(&self) -> Colour {
        [213, 94, 0]
    }

    fn edges<'a>(&self, network: &'a Network, stream: &'a Stream) -> Vec<Edge<'a>> {
        through_cdn(network, stream).collect()
    }
}

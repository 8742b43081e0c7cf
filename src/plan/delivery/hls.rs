//! `hls`: through the CDN, in segments that viewers fetch by HTTP.

use super::{Carrier, Colour, Delivery, Edge, through_cdn};
use crate::plan::{Network, Stream};

/// `hls`: segments, fetched from the CDN by HTTP.
pub(super) struct Hls;

impl Delivery for Hls {
    fn name(&self) -> &'static str {
        "hls"
    }

    fn summary(&self) -> &'static str {
        "The CDN makes segments of the stream (HLS), and viewers' players fetch them by HTTP."
    }

    fn label(&self) -> &'static str {
        "through the CDN in segments"
    }

    /// A brown, which none of Okabe and Ito's is.
    fn colour(&self) -> Colour {
        [140, 86, 75]
    }

    fn edges<'a>(&self, network: &'a Network, stream: &'a Stream) -> Vec<Edge<'a>> {
        let fetched = |edge: Edge<'a>| Edge { carrier: Carrier::Hls, ..edge };
        through_cdn(network, stream)
            .map(|edge| if edge.from == stream.broadcaster { edge } else { fetched(edge) })
            .collect()
    }

    fn is_segmented(&self) -> bool {
        true
    }
}

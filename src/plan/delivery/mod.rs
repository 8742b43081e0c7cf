//! What a scheme means: who may send a stream to whom, and over what.
//!
//! A [`Scheme`] is a name; its [`Delivery`] is the meaning, in a file of its own. Estimates, warnings, pings, measured paths and pictures ask
//! it instead of matching on the scheme, so that a new scheme is a new file here, a variant of [`Scheme`] and its line in
//! [`Scheme::delivery`].

mod bypass;
mod direct;
mod edge;
mod hls;
mod multicast;
mod relay;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use edge::{Carrier, Edge, Via};

use super::{Network, Stream};

/// How video is delivered.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// Every byte goes through the CDN.
    Direct,
    /// The controller introduces a viewer to the broadcaster on the same switch.
    Bypass,
    /// Viewers pass the stream on to each other, along a tree that the controller chooses.
    Relay,
    /// The broadcaster sends each frame once, as datagrams, and the switches copy it to whoever watches.
    Multicast,
    /// The CDN makes segments of the stream, and viewers fetch these by HTTP.
    Hls,
}

/// Who gives a stream to peers in a scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Givers {
    /// Nobody but the CDN gives it to anyone.
    Nobody,
    /// Its broadcaster alone.
    Broadcaster,
    /// Its broadcaster, and every viewer that has it.
    Everyone,
    /// Its broadcaster, once; the switches copy it.
    Switches,
}

/// Red, green and blue, 0 to 255.
pub type Colour = [u8; 3];

/// What a scheme means for a network: who may have a stream from whom, and how it is drawn.
pub trait Delivery: Sync {
    /// Its name in recipes and tables: `direct`.
    fn name(&self) -> &'static str;

    /// What it does, in a sentence.
    fn summary(&self) -> &'static str;

    /// In a few words, for legends: `through the CDN`.
    fn label(&self) -> &'static str;

    /// Its colour in every picture.
    fn colour(&self) -> Colour;

    /// The colour of what comes from the CDN while peers could serve.
    fn colour_from_cdn(&self) -> Colour {
        self.colour()
    }

    /// Over which edges that stream may go on that network.
    fn edges<'a>(&self, network: &'a Network, stream: &'a Stream) -> Vec<Edge<'a>>;

    /// The edges that carry it at the same time, at most. [`edges`](Self::edges) says what may be, this how much.
    fn at_once<'a>(&self, network: &'a Network, stream: &'a Stream) -> Vec<Edge<'a>> {
        self.edges(network, stream)
    }

    /// Who gives the stream to peers.
    fn givers(&self) -> Givers {
        Givers::Nobody
    }

    /// Viewers fetch segments from the CDN by HTTP; they have no agent, and their players no RTMP.
    fn is_segmented(&self) -> bool {
        false
    }

    /// Peers may serve; `None`: never. Else why they do not where no edge is one between peers: `no viewer is on the switch of its
    /// broadcaster`.
    fn without_peers(&self) -> Option<&'static str> {
        None
    }
}

/// A word that is no scheme.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this livectl does not know the scheme {0:?}")]
pub struct UnknownScheme(pub String);

impl Scheme {
    /// All schemes, in the order of declaration.
    pub const ALL: &[Scheme] = &[Scheme::Direct, Scheme::Bypass, Scheme::Relay, Scheme::Multicast, Scheme::Hls];

    /// Those of recipes that name none, in their order.
    pub const USUAL: &[Scheme] = &[Scheme::Direct, Scheme::Bypass];

    /// What it means: which edges it has, and how it is drawn.
    #[must_use]
    pub fn delivery(self) -> &'static dyn Delivery {
        match self {
            Scheme::Direct => &direct::Direct,
            Scheme::Bypass => &bypass::Bypass,
            Scheme::Relay => &relay::Relay,
            Scheme::Multicast => &multicast::Multicast,
            Scheme::Hls => &hls::Hls,
        }
    }

    /// As in recipes and tables: `direct`, `bypass`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.delivery().name()
    }

    /// The names of all, in their order.
    #[must_use]
    pub fn names() -> Vec<&'static str> {
        Scheme::ALL.iter().map(|scheme| scheme.name()).collect()
    }

    /// Whether viewers fetch segments by HTTP.
    #[must_use]
    pub fn is_segmented(self) -> bool {
        self.delivery().is_segmented()
    }

    /// Whether peers may serve viewers.
    #[must_use]
    pub fn has_peers(self) -> bool {
        self.delivery().without_peers().is_some()
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Scheme {
    type Err = UnknownScheme;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Scheme::ALL.iter().copied().find(|scheme| scheme.name() == name).ok_or_else(|| UnknownScheme(name.to_owned()))
    }
}

/// The pairs of hosts between which a stream may go under one scheme or another: broadcaster to CDN, CDN to each viewer, broadcaster to
/// each viewer. The same for every scheme, so that all are measured and pinged alike.
pub fn pairs<'a>(cdn: &'a str, stream: &'a Stream) -> impl Iterator<Item = (&'a str, &'a str)> {
    let broadcaster = stream.broadcaster.as_str();
    let viewers = || stream.viewers.iter().map(String::as_str);
    let down = viewers().map(move |viewer| (cdn, viewer));
    let between = viewers().map(move |viewer| (broadcaster, viewer));
    std::iter::once((broadcaster, cdn)).chain(down).chain(between)
}

/// The edges by which a stream goes through the CDN.
fn through_cdn<'a>(network: &'a Network, stream: &'a Stream) -> impl Iterator<Item = Edge<'a>> {
    network.cdn().into_iter().flat_map(move |cdn| {
        let ways = pairs(&cdn.name, stream).filter(|(from, to)| *from == cdn.name || *to == cdn.name);
        ways.map(|(from, to)| Edge { from, to, carrier: Carrier::Rtmp })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_scheme_has_a_name_of_its_own_that_reads_back() {
        for scheme in Scheme::ALL {
            assert_eq!(scheme.name().parse::<Scheme>().unwrap(), *scheme);
            assert_eq!(serde_json::to_string(scheme).unwrap(), format!("\"{scheme}\""), "as serde has it");
            assert!(!scheme.delivery().summary().is_empty() && !scheme.delivery().label().is_empty());
        }
        let colours: std::collections::HashSet<Colour> =
            Scheme::ALL.iter().map(|scheme| scheme.delivery().colour()).collect();
        assert_eq!(colours.len(), Scheme::ALL.len());
        for scheme in Scheme::ALL.iter().filter(|scheme| scheme.has_peers()) {
            let delivery = scheme.delivery();
            assert!(!colours.contains(&delivery.colour_from_cdn()), "{scheme}");
            assert_ne!(delivery.givers(), Givers::Nobody, "{scheme}");
        }
        assert_eq!(
            "relais".parse::<Scheme>().unwrap_err().to_string(),
            "this livectl does not know the scheme \"relais\""
        );
    }

    #[test]
    fn who_may_send_to_whom() {
        let plan = crate::recipe::from_str("multi.yaml", include_str!("../../../recipes/multi.yaml")).unwrap().plan;
        let trial = &plan.trials[0];
        let edges = |scheme: Scheme| -> Vec<String> {
            let edges = scheme.delivery().edges(&trial.network, &trial.streams[0]);
            edges.iter().map(|edge| format!("{} {} {}", edge.from, edge.carrier.name(), edge.to)).collect()
        };
        assert_eq!(edges(Scheme::Direct), ["hb rtmp hs", "hs rtmp hv1", "hs rtmp hv2"]);
        assert_eq!(edges(Scheme::Bypass), ["hb rtmp hs", "hs rtmp hv1", "hs rtmp hv2", "hb peer hv1"]);
        // hv2 is on an island of its own.
        assert_eq!(edges(Scheme::Relay), edges(Scheme::Bypass));
        assert_eq!(edges(Scheme::Multicast), ["hb rtmp hs", "hs rtmp hv1", "hs rtmp hv2", "hb group hv1"]);
        assert_eq!(edges(Scheme::Hls), ["hb rtmp hs", "hs hls hv1", "hs hls hv2"]);
        let pairs: Vec<_> = pairs("hs", &trial.streams[0]).collect();
        assert_eq!(pairs, [("hb", "hs"), ("hs", "hv1"), ("hs", "hv2"), ("hb", "hv1"), ("hb", "hv2")]);
    }

    #[test]
    fn viewers_pass_on_to_each_other_across_trunks_and_each_has_one_parent() {
        let text = "
network:
  switches: [s1, s2]
  hosts:
    hb: { role: broadcaster, link: { to: s1 } }
    hs: { role: cdn, link: { to: s1 } }
    hv: { role: viewer, count: 3, link: { to: s2 } }
  trunks:
    - { between: [s1, s2] }
";
        let plan = crate::recipe::from_str("relay.yaml", text).unwrap().plan;
        let trial = &plan.trials[0];
        let peers = |edges: Vec<Edge<'_>>| -> Vec<String> {
            let peers = edges.into_iter().filter(|edge| edge.carrier == Carrier::Peer);
            peers.map(|edge| format!("{} {}", edge.from, edge.to)).collect()
        };
        let relay = Scheme::Relay.delivery();
        let may = peers(relay.edges(&trial.network, &trial.streams[0]));
        let expected =
            ["hb hv1", "hb hv2", "hb hv3", "hv1 hv2", "hv1 hv3", "hv2 hv1", "hv2 hv3", "hv3 hv1", "hv3 hv2"];
        assert_eq!(may, expected);
        let at_once = peers(relay.at_once(&trial.network, &trial.streams[0]));
        assert_eq!(at_once, ["hb hv1", "hv1 hv2", "hv2 hv3"]);
        assert!(at_once.iter().all(|edge| may.contains(edge)));
    }
}

//! What a stream goes over from one host to the next.

/// How a stream is carried over an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Carrier {
    /// RTMP to or from the CDN.
    Rtmp,
    /// livectl's own protocol between agents: a request line, then FLV.
    Peer,
    /// Datagrams to a group, which the switches copy.
    Group,
    /// Segments by HTTP from the CDN.
    Hls,
}

/// Who serves over it: the word of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Via {
    /// The CDN, by RTMP or in segments.
    Cdn,
    /// A peer.
    Peer,
    /// The switches: what the broadcaster sent once.
    Group,
}

/// A way that a stream may go from one host to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Edge<'a> {
    /// The host that sends.
    pub from: &'a str,
    /// The host that receives.
    pub to: &'a str,
    /// What it goes over.
    pub carrier: Carrier,
}

impl Carrier {
    /// All variants.
    pub const ALL: &[Carrier] = &[Carrier::Rtmp, Carrier::Peer, Carrier::Group, Carrier::Hls];

    /// `rtmp`, `peer`, `group`, `hls`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Carrier::Rtmp => "rtmp",
            Carrier::Peer => "peer",
            Carrier::Group => "group",
            Carrier::Hls => "hls",
        }
    }

    /// Who serves over it.
    #[must_use]
    pub fn via(self) -> Via {
        match self {
            Carrier::Rtmp | Carrier::Hls => Via::Cdn,
            Carrier::Peer => Via::Peer,
            Carrier::Group => Via::Group,
        }
    }
}

impl Via {
    /// All variants.
    pub const ALL: &[Via] = &[Via::Cdn, Via::Peer, Via::Group];

    /// `cdn`, `peer`, `group`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Via::Cdn => "cdn",
            Via::Peer => "peer",
            Via::Group => "group",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Via> {
        Via::ALL.iter().copied().find(|via| via.name() == name)
    }
}

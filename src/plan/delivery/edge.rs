//! What a stream goes over from one host to the next.

/// How a stream is carried over an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Carrier {
    /// RTMP, to or from the CDN.
    Rtmp,
    /// livectl's own protocol between agents: a request line, then FLV.
    Peer,
    /// Datagrams to a group, which the switches copy.
    Group,
    /// Segments that are fetched from the CDN by HTTP.
    Hls,
}

/// Who serves over it: the word of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Via {
    /// The CDN, by RTMP or in segments.
    Cdn,
    /// A peer: the broadcaster or a viewer.
    Peer,
    /// The switches: what the broadcaster sent once.
    Group,
}

/// A way that a stream may go from one host to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Edge<'a> {
    /// Name of the host that sends.
    pub from: &'a str,
    /// Name of the host that receives.
    pub to: &'a str,
    /// By what the stream is carried.
    pub carrier: Carrier,
}

impl Carrier {
    /// All carriers, in the order of declaration.
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

    /// Who serves over it: the CDN, a peer or the switches.
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
    /// All words, in the order of declaration.
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

    /// The one that tables call so; `None`: there is none.
    #[must_use]
    pub fn named(name: &str) -> Option<Via> {
        Via::ALL.iter().copied().find(|via| via.name() == name)
    }
}

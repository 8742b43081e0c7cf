//! What the tables hold, a row at a time.

use crate::plan::Scheme;

/// Where a frame's first whole copy came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// From nginx-rtmp.
    Cdn,
    /// From a peer.
    Peer,
}

impl Via {
    /// `cdn`, `peer`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Via::Cdn => "cdn",
            Via::Peer => "peer",
        }
    }
}

/// One frame at one viewer: `frames.parquet`.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameRow {
    /// [`plan::Trial::id`](crate::plan::Trial::id).
    pub trial: String,
    /// How video was delivered.
    pub scheme: Scheme,
    /// From 1.
    pub repetition: u32,
    /// The stream: its broadcaster's name.
    pub stream: String,
    /// The viewer's name.
    pub viewer: String,
    /// Counts the stream's frames from 0.
    pub index: u64,
    /// The frame's own time stamp, milliseconds since the stream began.
    pub timestamp_ms: u32,
    /// The tag's payload in bytes.
    pub size_bytes: u32,
    /// Whether a player can begin here.
    pub keyframe: bool,
    /// XXH3-128 of the tag's payload, 32 hex digits.
    pub id: String,
    /// When the encoder emitted it.
    pub birth_ns: i64,
    /// When its last missing byte reached the viewer; `None`: never.
    pub arrival_ns: Option<i64>,
    /// Where from; `None` if it never arrived.
    pub via: Option<Via>,
    /// How often the whole frame arrived.
    pub copies: u32,
    /// arrival − birth.
    pub delay_ms: Option<f64>,
    /// The least delay that the network allows it; `None` if broadcaster and viewer are not connected.
    pub floor_ms: Option<f64>,
    /// delay − floor.
    pub excess_ms: Option<f64>,
    /// Birth on the trial's timeline.
    pub time_s: f64,
    /// It arrived after the moment to show it ([`mark_late`](super::mark_late)).
    pub late: bool,
}

/// One ping and, if any, its answer: `pings.parquet`.
#[derive(Debug, Clone, PartialEq)]
pub struct PingRow {
    /// [`plan::Trial::id`](crate::plan::Trial::id).
    pub trial: String,
    /// How video was delivered.
    pub scheme: Scheme,
    /// From 1.
    pub repetition: u32,
    /// Host that pinged.
    pub from: String,
    /// Host that was to answer.
    pub to: String,
    /// From 1.
    pub seq: u32,
    /// When it was sent; `None` for pings without an answer and files without time stamps.
    pub sent_ns: Option<i64>,
    /// When it was sent, on the trial's timeline; by the plan of the ping train where `sent_ns` is null.
    pub time_s: f64,
    /// Round-trip time; `None`: no answer.
    pub rtt_ms: Option<f64>,
    /// A further answer to a ping already answered.
    pub duplicate: bool,
}

/// One viewer of one stream in one trial: `summary.csv`.
#[derive(Debug, Clone, PartialEq)]
pub struct SummaryRow {
    /// [`plan::Trial::id`](crate::plan::Trial::id).
    pub trial: String,
    /// How video was delivered.
    pub scheme: Scheme,
    /// From 1.
    pub repetition: u32,
    /// The stream: its broadcaster's name.
    pub stream: String,
    /// The viewer's name.
    pub viewer: String,
    /// Frames that the encoder emitted.
    pub frames: u32,
    /// Of those, frames that never arrived; `None`, here and below: nothing was captured at the viewer.
    pub missing: Option<u32>,
    /// Whole copies beyond the first.
    pub duplicate: Option<u32>,
    /// Frames that arrived after the moment to show them ([`mark_late`](super::mark_late)).
    pub late: Option<u32>,
    /// From the start of the viewer's player, or of the stream if that came later, to the arrival of the first keyframe.
    pub startup_delay_ms: Option<f64>,
    /// Median delay.
    pub delay_p50_ms: Option<f64>,
    /// 95th percentile of the delay.
    pub delay_p95_ms: Option<f64>,
    /// 99th percentile of the delay.
    pub delay_p99_ms: Option<f64>,
    /// Largest delay.
    pub delay_max_ms: Option<f64>,
    /// Median floor of the frames that arrived.
    pub floor_p50_ms: Option<f64>,
    /// Median excess.
    pub excess_p50_ms: Option<f64>,
    /// 95th percentile of the excess.
    pub excess_p95_ms: Option<f64>,
    /// Largest excess.
    pub excess_max_ms: Option<f64>,
    /// Bytes that came from the CDN.
    pub cdn_bytes: Option<u64>,
    /// Bytes that came from peers.
    pub peer_bytes: Option<u64>,
    /// Peer bytes / all bytes, 0 to 1.
    pub peer_offload: Option<f64>,
    /// Longest pause between two arrivals at which the source changed from CDN to peer; `None`: it never did.
    pub handover_gap_ms: Option<f64>,
    /// The trial was stopped or broke before its end.
    pub partial: bool,
    /// The delays can be taken for the network's.
    pub fit: bool,
    /// Why it is partial or unfit; empty if it is neither.
    pub note: String,
}

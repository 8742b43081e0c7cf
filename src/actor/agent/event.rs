//! What agents say: one JSON object a line on standard output.
//!
//! Every line has `time_ns` (nanoseconds of CLOCK_REALTIME) and `event`; what else there is depends on the event and is listed
//! with the variants of [`Event`]. Lines are written whole and at once.

use std::io::Write as _;
use std::net::SocketAddrV4;
use std::path::PathBuf;

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// An event with its time: one line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Nanoseconds of CLOCK_REALTIME.
    pub time_ns: i64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// A way by which video reaches a viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Path {
    /// RTMP from the CDN.
    Cdn,
    /// FLV over TCP from a peer.
    Peer,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The agent is up: a broadcaster's agent serves peers at `address`; a viewer's has none.
    Ready {
        /// Where peers are served.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<SocketAddrV4>,
    },
    /// The notification service has been reached.
    Connected {
        /// Where it is.
        service: SocketAddrV4,
    },
    /// The connection to the notification service is gone; it will be tried again.
    Disconnected {
        /// Where it was.
        service: SocketAddrV4,
        /// Why.
        why: String,
    },
    /// The network has introduced a peer, and the agent acts on it.
    Introduced {
        /// The peer's address: of a broadcaster where it serves, of a viewer where it comes from.
        peer: SocketAddrV4,
        /// `broadcaster` or `viewer`: what the peer is.
        role: String,
    },
    /// Broadcaster: the encoder's first tag with a picture.
    BirthFirst {
        /// When it was born, nanoseconds of CLOCK_REALTIME.
        birth_ns: i64,
    },
    /// Broadcaster: a peer is being served.
    PeerJoined {
        /// Who.
        peer: SocketAddrV4,
        /// Bytes that it gets at once: headers and everything since the last keyframe.
        backlog: u64,
    },
    /// Broadcaster: a peer was turned away.
    PeerRefused {
        /// Who.
        peer: SocketAddrV4,
        /// Why.
        why: String,
    },
    /// Broadcaster: a peer is no longer served.
    PeerLeft {
        /// Who.
        peer: SocketAddrV4,
        /// Bytes that its connection took.
        bytes: u64,
        /// `None`: it has everything, to the end of the stream. Else what went wrong.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// Broadcaster: the upload to the CDN may now take so much.
    Pacing {
        /// Bit/s; `None`: as much as it can.
        bit_per_s: Option<u64>,
        /// Peers served, and those that were introduced and are expected to come.
        peers: usize,
    },
    /// Broadcaster: the upload cannot be paced.
    PacingFailed {
        /// Why.
        why: String,
    },
    /// Broadcaster: the encoder's stream has ended.
    EncoderEnded {
        /// Frames born.
        frames: u64,
    },
    /// Viewer: a player was started.
    PlayerStarted {
        /// What it plays.
        path: Path,
        /// From 1.
        attempt: u32,
        /// Where it dumps.
        dump: PathBuf,
    },
    /// Viewer: a player's dump has its first keyframe (`cdn`), or the player was handed it (`peer`).
    FirstKeyframe {
        /// Which.
        path: Path,
        /// The keyframe's timestamp in milliseconds.
        timestamp_ms: u32,
        /// Its identity.
        id: String,
    },
    /// Viewer: the broadcaster's agent was reached.
    PeerConnected {
        /// Where it is.
        peer: SocketAddrV4,
    },
    /// Viewer: the broadcaster's agent does not serve, or no longer, before the end of the stream.
    PeerLost {
        /// Where it was.
        peer: SocketAddrV4,
        /// Why.
        why: String,
    },
    /// Viewer: both players have had the same keyframe, and the CDN's was told to stop.
    Handover {
        /// That keyframe's timestamp in milliseconds.
        timestamp_ms: u32,
        /// Its identity.
        id: String,
    },
    /// Viewer: a player has ended.
    PlayerEnded {
        /// Which.
        path: Path,
        /// From 1.
        attempt: u32,
        /// Its exit status, in words.
        exit: String,
        /// `end_of_stream`, `handover`, `nothing_published`, `peer_lost`, `stopped` or `died`.
        why: String,
        /// Bytes in its dump.
        bytes: u64,
    },
    /// The agent has done all it had to.
    Ended {
        /// Broadcaster: frames born; viewer: pictures handed to the peer's player.
        frames: u64,
    },
}

/// Now, in nanoseconds of CLOCK_REALTIME.
#[must_use]
pub fn now_ns() -> i64 {
    // CLOCK_REALTIME cannot fail on Linux.
    clock_gettime(ClockId::CLOCK_REALTIME).map_or(0, |t| t.tv_sec() * 1_000_000_000 + t.tv_nsec())
}

/// Says that something has happened, now.
pub fn tell(event: Event) {
    let line = Line { time_ns: now_ns(), event };
    let mut text = serde_json::to_string(&line).unwrap_or_default();
    text.push('\n');
    // Whoever listened may be gone; the work goes on.
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_line_is_flat_json_and_reads_back() {
        let event = Event::PlayerStarted { path: Path::Cdn, attempt: 2, dump: "dump/hv1-cdn.flv".into() };
        let line = Line { time_ns: 1_764_000_000_000_000_001, event };
        let text = serde_json::to_string(&line).unwrap();
        let expected = r#"{"time_ns":1764000000000000001,"event":"player_started","path":"cdn","attempt":2,"dump":"dump/hv1-cdn.flv"}"#;
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line);
        let ready: Line = serde_json::from_str(r#"{"time_ns":1,"event":"ready"}"#).unwrap();
        assert_eq!(ready.event, Event::Ready { address: None });
    }
}

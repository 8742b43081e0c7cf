//! What agents say: one JSON object a line on standard output.
//!
//! Every line has `time_ns` (nanoseconds of CLOCK_REALTIME) and `event`; what else there is depends on the event and
//! is listed with the variants of [`Event`]. Lines are written whole and at once. Fields named `ms` are milliseconds
//! since the program, or the player, connected to its agent.

use std::net::SocketAddrV4;

use serde::{Deserialize, Serialize};

/// An event with its time: one line of an agent's output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// When it happened, in nanoseconds of CLOCK_REALTIME.
    pub time_ns: i64,
    /// What happened; its fields stand beside `time_ns`.
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

/// How a viewer's agent leaves the CDN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leaving {
    /// Its session is paused, and goes on when it is needed.
    Paused,
    /// Its connection is closed.
    Closed,
}

/// The picture that a player was handed last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latest {
    /// Which way the picture came.
    pub path: Path,
    /// The peer or the group that gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<SocketAddrV4>,
    /// XXH3-128 of the frame's payload, 32 hexadecimal digits.
    pub id: String,
    /// When it was handed to the player, nanoseconds of CLOCK_REALTIME.
    pub handed_ns: i64,
}

/// What happened to an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The agent is up, and waits where it says.
    Ready {
        /// Where it waits for its program or player.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        listen: Option<SocketAddrV4>,
        /// Where the agent serves peers; `None`: it serves nobody.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<SocketAddrV4>,
    },
    /// The agent is connected to the notification service.
    Connected {
        /// Address and port of the notification service.
        service: SocketAddrV4,
    },
    /// The connection to the notification service is gone; it will be tried again.
    Disconnected {
        /// Address and port of the notification service.
        service: SocketAddrV4,
        /// The reason, in words.
        why: String,
    },
    /// The network has introduced a peer, and the agent acts on it.
    Introduced {
        /// The peer's address: of a child where it comes from, of others where they serve.
        peer: SocketAddrV4,
        /// What the peer is to it: `parent`, `child`, `standby`, `cdn` or `group`; of agents of former versions
        /// `broadcaster` or `viewer`.
        role: String,
        /// Since the program or player connected, if one is there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ms: Option<f64>,
    },
    /// The CDN has accepted the agent's connection.
    CdnConnected {
        /// Address and port of the CDN.
        cdn: SocketAddrV4,
        /// Milliseconds since the program or player connected.
        ms: f64,
    },
    /// What passes cannot be read as RTMP; it is passed on all the same, and nothing is known of it.
    Unreadable {
        /// The reason, in words.
        why: String,
    },
    /// A session is about another stream than the agent's; it is passed on untouched.
    OtherStream {
        /// `app/name`, as far as it can be told.
        stream: String,
    },

    /// Broadcaster: a program has connected.
    ProgramConnected {
        /// Address and port of the program.
        program: SocketAddrV4,
    },
    /// Broadcaster: the CDN's consent to the publish has been passed on to the program.
    PublishAccepted {
        /// Milliseconds since the program connected.
        publish_ms: f64,
    },
    /// Broadcaster: the CDN has refused the publish, which has been passed on to the program.
    PublishRefused {
        /// `NetStream.Publish.BadName` and the like.
        code: String,
        /// What the CDN says of the reason.
        why: String,
    },
    /// Broadcaster: the stream's first picture has been born.
    BirthFirst {
        /// When it was born, nanoseconds of CLOCK_REALTIME.
        birth_ns: i64,
    },
    /// Broadcaster: for the first time in this session the upload buffer is full; the program is not read until there
    /// is room.
    UploadFull {
        /// Number of bytes that wait in the buffer.
        bytes: u64,
    },
    /// Broadcaster: the upload buffer, which had been full, is empty.
    UploadDrained {
        /// How long the program was not read, in all, milliseconds.
        waited_ms: f64,
    },
    /// Broadcaster: the CDN's connection broke; what waited for it is lost.
    UploadLost {
        /// The reason, in words.
        why: String,
    },
    /// Broadcaster: the CDN has been sent everything and has closed.
    UploadEnded {
        /// Bytes sent to the CDN in this session.
        bytes: u64,
        /// How long the program was not read since the upload buffer was full, in all, milliseconds.
        waited_ms: f64,
    },
    /// A peer is being served: by a broadcaster, or by a viewer that passes the stream on.
    PeerJoined {
        /// Address and port of the peer.
        peer: SocketAddrV4,
        /// Bytes of the stream that it is sent at once, before anything new.
        backlog: u64,
        /// Pictures that the policy `live` skips for it; `None`: it is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        skipped: Option<u64>,
        /// Pictures that it lacks and that are not kept any more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lost: Option<u64>,
    },
    /// A peer that asked for the stream was turned away.
    PeerRefused {
        /// Address and port of the peer.
        peer: SocketAddrV4,
        /// The reason, in words.
        why: String,
    },
    /// A peer is no longer served.
    PeerLeft {
        /// Address and port of the peer.
        peer: SocketAddrV4,
        /// Bytes that its connection took in all.
        bytes: u64,
        /// `None`: it has everything, to the end of the stream. Else what went wrong.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// Broadcaster: the upload to the CDN may now take so much.
    Pacing {
        /// Rate of the upload, in bit/s; `None`: it is not limited.
        bit_per_s: Option<u64>,
        /// Peers served, and those that were introduced and are expected to come.
        peers: usize,
    },
    /// Broadcaster: the upload cannot be paced.
    PacingFailed {
        /// The reason, in words.
        why: String,
    },

    /// Viewer: a player has connected.
    PlayerConnected {
        /// Address and port of the player.
        player: SocketAddrV4,
    },
    /// Viewer: the CDN has accepted the play.
    PlayAccepted {
        /// Milliseconds since the player connected.
        ms: f64,
    },
    /// Viewer: the player has been handed its first keyframe.
    FirstKeyframe {
        /// Which way the keyframe came.
        path: Path,
        /// Its timestamp, in milliseconds.
        timestamp_ms: u32,
        /// XXH3-128 of the frame's payload, 32 hexadecimal digits.
        id: String,
        /// Milliseconds since the player connected.
        ms: f64,
    },
    /// Viewer: a peer has answered that it serves.
    PeerConnected {
        /// Address and port of the peer.
        peer: SocketAddrV4,
        /// Milliseconds since the player connected.
        ms: f64,
    },
    /// Viewer: the first frame from a peer has been handed to the player.
    FirstFromPeer {
        /// The frame's timestamp in milliseconds.
        timestamp_ms: u32,
        /// XXH3-128 of the frame's payload, 32 hexadecimal digits.
        id: String,
        /// Milliseconds since the player connected.
        ms: f64,
    },
    /// Viewer: another source gives the frames from this one on.
    Handover {
        /// Which way the frames come from now on.
        to: Path,
        /// The first frame's timestamp in milliseconds.
        timestamp_ms: u32,
        /// XXH3-128 of the frame's payload, 32 hexadecimal digits.
        id: String,
        /// To the peer: since it was introduced. To the CDN: since the peer was lost. Milliseconds.
        took_ms: f64,
    },
    /// Viewer: the frames between the one before and this one were given by nobody.
    Jump {
        /// Which way this frame came.
        path: Path,
        /// This frame's timestamp in milliseconds.
        timestamp_ms: u32,
        /// XXH3-128 of the frame's payload, 32 hexadecimal digits.
        id: String,
        /// Pictures that the policy `live` has skipped, if the peer said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        skipped: Option<u64>,
        /// Pictures that nobody has any more, if that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lost: Option<u64>,
    },
    /// Viewer: the peer gives what is needed, so the CDN gives nothing any more.
    CdnLeft {
        /// Whether its session is paused or its connection closed.
        how: Leaving,
    },
    /// Viewer: the peer is lost, so the CDN is asked to go on.
    CdnResumed {
        /// What its session was: `Paused` ones are unpaused, `Closed` ones are begun again.
        from: Leaving,
    },
    /// Viewer: the connection to the CDN is gone, or cannot be had.
    CdnLost {
        /// The reason, in words.
        why: String,
    },
    /// Viewer: a peer does not serve, or no longer, before the end of the stream; it will be tried again.
    PeerLost {
        /// Address and port of the peer.
        peer: SocketAddrV4,
        /// The reason, in words.
        why: String,
    },
    /// The peer that stood by is gone, or does not serve.
    StandbyLost {
        /// Address and port of the peer.
        peer: SocketAddrV4,
        /// The reason, in words.
        why: String,
    },
    /// Broadcaster: the stream is sent to a group from now on. Viewer: it has joined one.
    GroupJoined {
        /// Address and port of the group.
        group: SocketAddrV4,
    },
    /// Broadcaster: nothing can be sent to a group.
    GroupFailed {
        /// Address and port of the group.
        group: SocketAddrV4,
        /// The reason, in words.
        why: String,
    },
    /// Nothing more is sent there, or taken from there.
    GroupLeft {
        /// Address and port of the group.
        group: SocketAddrV4,
        /// Broadcaster: tags sent, headers that were repeated included. Viewer: tags that were complete.
        tags: u64,
        /// Viewer: tags of which something was lost, between the first and the last that came.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lost_tags: Option<u64>,
        /// Broadcaster: datagrams sent. Viewer: datagrams that came.
        datagrams: u64,
        /// Broadcaster: datagrams that were refused. Viewer: those that did not come.
        lost: u64,
    },
    /// Viewer: tags from the group were lost; those after them are handed to the player all the same.
    TagsLost {
        /// How many tags in a row.
        tags: u32,
    },
    /// Broadcaster: the program's stream has ended. Viewer: the player has been told that the stream has.
    StreamEnded {
        /// Broadcaster: frames born. Viewer: pictures handed to the player in this session.
        frames: u64,
    },
    /// Viewer: how the player stands now; told again and again, where that was asked for (`--now`).
    Now {
        /// What it was handed last; `None`: no picture yet.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        latest: Option<Latest>,
        /// Pictures handed to the player in this session.
        frames: u64,
    },
    /// Viewer: the session is over.
    PlayerLeft {
        /// `end_of_stream`, or in words what else ended it.
        why: String,
        /// Pictures handed to it, as far as they were looked at.
        frames: u64,
        /// Bytes of the stream written to the player.
        bytes: u64,
    },
    /// The agent has done all it had to.
    Ended {
        /// Broadcaster: frames born; viewer: pictures handed to players.
        frames: u64,
    },
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_line_written_and_read() {
        let text = r#"{"time_ns":5,"event":"handover","to":"peer","timestamp_ms":33,"id":"ab","took_ms":1.5}"#;
        let event = Event::Handover { to: Path::Peer, timestamp_ms: 33, id: "ab".into(), took_ms: 1.5 };
        assert_eq!(serde_json::to_string(&Line { time_ns: 5, event: event.clone() }).unwrap(), text);
        assert_eq!(serde_json::from_str::<Line>(text).unwrap(), Line { time_ns: 5, event });
    }

    #[test]
    fn how_a_player_stands() {
        let latest = Latest { path: Path::Peer, peer: "10.0.0.1:2000".parse().ok(), id: "ab".into(), handed_ns: 4 };
        let text = r#"{"time_ns":5,"event":"now","latest":{"path":"peer","peer":"10.0.0.1:2000","id":"ab","handed_ns":4},"frames":7}"#;
        let line = Line { time_ns: 5, event: Event::Now { latest: Some(latest), frames: 7 } };
        assert_eq!(serde_json::to_string(&line).unwrap(), text);
        assert_eq!(serde_json::from_str::<Line>(text).unwrap(), line);
        let none = serde_json::from_str::<Line>(r#"{"time_ns":5,"event":"now","frames":0}"#).unwrap();
        assert_eq!(none.event, Event::Now { latest: None, frames: 0 });
    }

    #[test]
    fn lines_of_agents_before_a_field_was_added() {
        let text = r#"{"time_ns":5,"event":"introduced","peer":"10.0.0.1:2000","role":"parent"}"#;
        let peer = "10.0.0.1:2000".parse().unwrap();
        let event = Event::Introduced { peer, role: "parent".into(), ms: None };
        assert_eq!(serde_json::from_str::<Line>(text).unwrap().event, event);
    }
}

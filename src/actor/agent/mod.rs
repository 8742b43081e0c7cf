//! The agents: what livectl runs beside the encoder and in front of the players.
//!
//! - [`broadcaster`] reads the encoder's stream from standard input, records when each frame was born, and serves it to the
//!   peers that the network introduces.
//! - [`viewer`] runs the players: the CDN's first, then one for the peer that the network introduces, and hands over between
//!   them so that no frame is missing.
//!
//! Both keep a connection to the notification service, write [`event`] lines to standard output, and end by
//! themselves when the stream has. Each runs on one thread: what they wait for is pipes and sockets.

pub mod broadcaster;
pub mod encoder;
pub mod event;
pub mod viewer;

mod backlog;
mod dump;
mod notification;
mod pacing;
mod peers;
mod prelude;

use livectl_wire::flv::{self, TagKind};

/// Payloads of tags that agents accept at most, in bytes.
const MAX_TAG: usize = flv::MAX_PAYLOAD;

/// What a broadcaster's agent sends a peer after the last tag: a script tag with the AMF0 string `onStreamEnd` and null. TCP alone
/// cannot tell the end of the stream from the end of the agent.
const END_OF_STREAM: &[u8] = b"\x02\x00\x0bonStreamEnd\x05";

/// Whether a tag says that the stream has ended.
fn ends_stream(kind: TagKind, payload: &[u8]) -> bool {
    kind == TagKind::Script && payload == END_OF_STREAM
}

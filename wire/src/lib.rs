//! Bytes and their meaning, without sockets, files or clocks.
//!
//! What livectl's agents, its controller and its analysis say to each other or read off the wire is defined here
//! once: both ends of a conversation use the same codec, and what is recorded at a birth is recognised at an arrival.
//!
//! | module | bytes |
//! |---|---|
//! | [`heartbeat`] | the 128-byte lines of the notification channel, which the controller rewrites in place |
//! | [`datagram`] | a stream as datagrams to a group |
//! | [`peer`] | what a viewer's agent and a broadcaster's agent say before the video flows |
//! | [`agent_event`] | what agents say on standard output (feature `events`) |
//! | [`assembler`] | one direction of a TCP connection, from its segments |
//! | [`rtmp`] | the handshake and the chunk stream; [`amf0`] values and the [`command`]s made of them |
//! | [`flv`] | file header, tags, what a video tag carries |
//! | [`http`] | targets of requests, bodies of responses; [`ts`] is what HLS has in them, [`avc`] knows a picture again there |
//! | [`capture`] | pcap and pcapng files: the TCP segments in them (feature `capture`) |
//! | [`flows`] | the frames in those, with their times (feature `capture`) |
//! | [`frame`] | the identity of a frame; [`birth`] is a line of the log of births |
//!
//! Every reader takes bytes from outside and never panics on them; each is bounded in memory by limits its owner
//! states, and names the offset at which it gave up.

#[cfg(feature = "events")]
pub mod agent_event;
pub mod amf0;
pub mod assembler;
pub mod avc;
pub mod birth;
#[cfg(feature = "capture")]
pub mod capture;
pub mod command;
pub mod datagram;
#[cfg(feature = "capture")]
pub mod flows;
pub mod flv;
pub mod frame;
pub mod heartbeat;
pub mod http;
#[cfg(feature = "map")]
pub mod network_map;
pub mod peer;
pub mod rtmp;
mod stream_key;
#[cfg(any(feature = "testbed", all(test, feature = "capture")))]
pub mod testbed;
pub mod ts;

pub use stream_key::{StreamKey, StreamKeyError};

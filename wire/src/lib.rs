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
//! | [`http`] | targets of requests, bodies of responses; [`ts`] is what HLS has in them, [`avc`] recognises a picture there |
//! | [`capture`] | pcap and pcapng files: the TCP segments in them (feature `capture`) |
//! | [`flows`] | the frames in those, with their times (feature `capture`) |
//! | [`frame`] | the identity of a frame; [`birth`] is a line of the log of births |
//!
//! Every reader takes bytes from outside and never panics on them; each is bounded in memory by limits its owner
//! states, and names the offset at which it gave up.
//!
//! # The frames of a live stream
//! Bytes are pushed as they come, in pieces of any size. `examples/frames.rs` does it with files and captures.
//!
//! ```
//! use livectl_wire::flv::{self, Content, Reader, TagKind};
//! use livectl_wire::frame::FrameId;
//!
//! // A stream of two pictures: a keyframe and one that follows it, in Sorenson H.263.
//! let (first, second) = ([0x12, 7, 7, 7], [0x22, 8, 8]);
//! let mut stream = flv::header(false, true).to_vec();
//! flv::tag(TagKind::Video, 0, &first, &mut stream)?;
//! flv::tag(TagKind::Video, 33, &second, &mut stream)?;
//!
//! let mut reader = Reader::new(1 << 20);
//! let mut frames = Vec::new();
//! for piece in stream.chunks(10) {
//!     reader.push(piece, |tag| {
//!         if let Content::Picture { keyframe } = tag.content() {
//!             frames.push((tag.timestamp, keyframe, FrameId::of(tag.payload)));
//!         }
//!     })?;
//! }
//! assert_eq!(frames, [(0, true, FrameId::of(&first)), (33, false, FrameId::of(&second))]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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

//! Stored files → facts: what was born, what arrived when, and what the network allows. Needs no root and nothing but
//! the files.
//!
//! [`read_trial`] joins all that a trial left; the modules below read one kind of file each, captures those of
//! [`livectl_wire`]. What cannot be read is counted and named, and the rest is computed without it.
//!
//! A **frame** is a coded picture: a video message (FLV tag type 9, RTMP message type 9) whose payload
//! [`Content::of`](livectl_wire::flv::Content::of) calls a picture. What only prepares the decoder (an AVC sequence
//! header) or ends a sequence is none, at the birth as at the arrival.

pub mod births;
mod bound;
mod captures;
mod dump;
mod events;
pub mod floor;
mod hop;
mod lanes;
mod obs_log;
mod pairing;
mod pictures;
pub mod ping;
mod screens;
mod segment;
mod stay;
mod trial;
mod watching;

pub use births::Births;
pub use bound::{Bound, Carriage};
pub use dump::DumpCheck;
pub use events::{Told, told};
pub use hop::{Hop, Parts, Way};
pub use livectl_wire::flows::{Arrival, Flow, Protocol};
pub use livectl_wire::{capture, flows};
pub use obs_log::ObsTotals;
pub use screens::{Screen, Shown, StreamScreens};
pub use segment::Segment;
pub use stay::{Reattachment, Stay, reattachments, stays};
pub(crate) use trial::fewer_than_planned;
pub use trial::{FirstArrival, FrameDelay, Sent, StreamBirths, TraceError, TrialTrace, ViewerTrace, read_trial};
pub use watching::unarrived;

#[cfg(test)]
use livectl_wire::testbed;

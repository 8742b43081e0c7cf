//! What tests build networks of: frames, a switch that keeps flows, and links between them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod frames;
mod network;
mod switch;
mod talk;

pub use frames::{TcpFrame, arp_request, datagram, igmp_report, mac_of, tcp_checksum_is_right};
pub use network::{Arrival, Network};
pub use switch::FakeSwitch;
pub use talk::{Host, TcpTalk, captured_connections, play, publish};

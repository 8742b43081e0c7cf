//! Serving peers: what an agent that has a stream, from its program or from somebody else, gives to others that want it.

mod backlog;
mod cache;
mod peers;

pub(crate) use cache::{Entry, TagBytes};
pub(crate) use peers::{END_OF_STREAM, IDLE, IDLE_AFTER, Limits, Peers, serve, told_since};

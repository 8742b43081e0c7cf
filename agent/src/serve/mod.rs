//! Serving peers: what an agent that has a stream, from its program or from somebody else, gives to others that want
//! it.

mod backlog;
mod begun;
mod cache;
mod peers;
mod queue;

pub(crate) use begun::Part;
pub(crate) use cache::{Entry, TagBytes};
pub(crate) use peers::{Limits, Peers, serve};
pub(crate) use queue::{END_OF_STREAM, IDLE, IDLE_AFTER, told_since};

//! The connections to switches: the one place that reads, writes and waits.
//!
//! `session` is one connection as values: bytes in, bytes out, events for the scheme. `connection` adds its socket,
//! `core` is what comes of all that is said on them, `server` is the loop over all sockets, on one thread. A round of
//! it reads once of each connection that has something to say, plays all whole messages of that through the scheme,
//! and writes all that came of it at once. What a switch can make the controller keep is bounded; whatever a switch
//! does wrong ends its own connection and no other.

mod attention;
mod connection;
mod core;
mod memory;
mod outbox;
mod server;
mod session;

pub use attention::Attention;
pub use server::{Server, ServerError};
pub use session::{Patience, Refusal, Session, Step};

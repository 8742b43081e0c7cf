//! The connections to switches: the one place that reads, writes and waits.
//!
//! `session` is one connection as values: bytes in, bytes out, events for the scheme. `connection` adds its socket,
//! `core` is what comes of all that is said on them, `server` is the loop over all sockets, on one thread. A round of
//! it reads once from each connection that has data, passes all complete messages through the scheme, and writes all
//! answers at once. What a switch can make the controller keep is bounded; whatever a switch
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

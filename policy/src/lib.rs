//! Who has a livestream from whom, as pure values: no sockets, no clock, no files.
//!
//! | module | what it holds |
//! |---|---|
//! | [`bound`] | the least that any tree of peers can reach on given uplinks: rate, copies, depth, delay |
//! | [`tree`] | one push tree for a stream, changed one step at a time |
//! | [`switches`] | delays between switches, from the links that join them |
//! | [`pacing`] | what of a broadcaster's uplink its copy for the CDN may take |
//! | [`uplink`] | what an uplink carries of a stream |
//!
//! The controller decides by it, and the agents' pacing; and what is predicted beforehand is predicted by the same code.

pub mod bound;
pub mod pacing;
pub mod switches;
pub mod tree;
pub mod uplink;

pub use switches::Switches;
pub use tree::{Changes, Member, Move, Standby, Tree, Why};
pub use uplink::Rate;

//! Players: what is run to watch a stream of the agent on its own host, and what its end means. One file for each.

pub mod mplayer;

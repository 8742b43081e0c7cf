//! `live-controller`, an OpenFlow controller for livestreams.
//!
//! | module | what it holds |
//! |---|---|
//! | [`openflow`] | messages as values, and their bytes in OpenFlow 1.0 and 1.3 |
//! | [`frame`] | Ethernet frames, as far as a flow looks into them |
//! | [`mac_table`] | where stations are |
//! | [`network`] | what is known of a network beforehand |
//! | [`scheme`] | what the network does with packets: a pure function of events |
//! | [`channel`] | connections to switches: the one place that reads, writes and waits |
//! | [`news`], [`event_log`] | what the outside is told, as JSON lines |
//! | [`line_writer`] | lines for readers that may not read |
//! | [`cli`] | the command line |
//! | [`mod@bench`] | `live-controller bench`: plays switches to any controller and counts its answers |

pub mod bench;
pub mod channel;
pub mod cli;
pub mod event_log;
pub mod frame;
pub mod line_writer;
pub mod mac;
pub mod mac_table;
pub mod network;
pub mod news;
pub mod openflow;
pub mod scheme;
pub mod tagged;
#[cfg(test)]
mod testing;
mod whole;

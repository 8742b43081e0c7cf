//! `live-controller bench`: a load generator that plays switches to any OpenFlow controller and counts its answers.
//!
//! # What is an answer
//! A packet-in asks what to do with one packet. It is answered once the controller has handled that packet:
//! by a packet-out, or by a flow-mod that refers to it by its buffer id. Both for one packet-in are one answer. A
//! flow-mod without a buffer id moves no packet, and is counted apart. Which packet-in a message answers is told by
//! its buffer id or, without buffers, by a number in the packet's payload, which comes back in the packet-out; the
//! order in which answers come does not matter.
//!
//! # Two loops
//! *Closed*: each switch waits for its answer before it sends again. This measures the round trip. *Open*:
//! each switch has up to a window of packet-ins in flight, which is refilled as answers come. This measures
//! throughput; the window bounds what can pile up, so that no answer is measured that the controller had no time to
//! give. A packet-in that gets no answer for a second is given up and counted.
//!
//! | module | what it holds |
//! |---|---|
//! | `options` | the command line |
//! | `plan` | what is to be measured, as values |
//! | `traffic` | packet-ins, by number |
//! | `answers` | which packet-in a message answers |
//! | `ledger` | packet-ins in flight, answered and lost; latencies |
//! | `switch` | one emulated switch: bytes in, bytes out |
//! | `fleet` | the switches at one controller: sockets and clock |
//! | `responder` | a controller that does no work, to measure the generator itself |
//! | `process` | processor time and memory of a controller |
//! | `statistics` | medians and quantiles |
//! | `report` | tables, JSON and CSV |

mod answers;
mod fleet;
mod ledger;
mod options;
mod plan;
mod process;
mod report;
mod responder;
mod run;
mod statistics;
mod switch;
mod traffic;

pub use options::Options;
pub use run::run;

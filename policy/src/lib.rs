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
//! The controller and the agents' pacing decide by this code, and predictions are made by it, too.
//!
//! # A tree, and what it is judged by
//!
//! ```
//! use std::time::Duration;
//! use livectl_policy::{Member, Rate, Switches, Tree, bound};
//!
//! // Uplinks of 2 Mbit/s carry three copies of this stream.
//! let stream = Rate { bit_per_s: 500e3, frames_per_s: 30.0 };
//! let (copies, copy_time) = (stream.copies(Some(2e6), 0.0), stream.copy_time(Some(2e6), 1.0));
//! assert_eq!(copies, 3);
//!
//! // Twelve viewers at one switch, each behind a link of 2 ms.
//! let member = |key| Member { key, switch: 0, delay: Duration::from_millis(2), copies, copy_time };
//! let mut tree = Tree::new(Switches::joined(1, &[]));
//! tree.begin(member(0));
//! for viewer in 1..=12 {
//!     let changes = tree.join(member(viewer));
//!     assert!(changes.moves.iter().any(|step| step.child == viewer && step.to.is_some()));
//! }
//! assert_eq!(tree.children(0).count(), 3);
//!
//! // No tree of whole copies is flatter than the bound. This one is deeper: it is made for early arrival.
//! let depth = |viewer| std::iter::successors(tree.parent(viewer), |parent| tree.parent(*parent)).count();
//! let deepest = (1..=12).map(depth).max().unwrap_or_default();
//! assert!(bound::depth(12, 3, 3).is_some_and(|hops| deepest >= hops as usize));
//!
//! // Who leaves takes nobody along.
//! tree.leave(1);
//! assert!((2..=12).all(|viewer| tree.parent(viewer).is_some()));
//! ```

pub mod bound;
pub mod pacing;
pub mod switches;
pub mod tree;
pub mod uplink;

pub use switches::Switches;
pub use tree::{Changes, Member, Move, Standby, Tree, Why};
pub use uplink::Rate;

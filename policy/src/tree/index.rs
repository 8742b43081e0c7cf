//! Who has a free slot, who could make way, who waits: by switch, the best first.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::time::Duration;

use super::Tree;
use super::node::{Entries, Id, Source};

/// Ordered by time, then by seniority.
pub type Ordered = BTreeSet<(Duration, u64, Id)>;

/// Members at one switch that a step may look for, each kind in its order.
#[derive(Debug, Clone, Default)]
pub struct AtSwitch {
    /// With free slots, by when the next copy is at the switch.
    pub free: Ordered,
    /// Of those, who can be a standby for one more.
    pub spare: Ordered,
    /// Leaves with a parent: by what they carry, then by arrival.
    pub leaves: BTreeSet<(u32, Duration, Id)>,
    /// Who has the stream from the CDN and would rather have it from a peer; by the delay of its link.
    pub waiting: Ordered,
}

/// Members of all switches that a step may look for, by switch.
#[derive(Debug, Clone, Default)]
pub struct Indices {
    pub at: Vec<AtSwitch>,
    /// Free slots of all members together.
    pub free: usize,
    waiting: usize,
}

impl Indices {
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    fn at_mut(&mut self, switch: usize) -> &mut AtSwitch {
        if self.at.len() <= switch {
            self.at.resize_with(switch + 1, AtSwitch::default);
        }
        &mut self.at[switch]
    }
}

fn exchange<T: Ord>(set: &mut BTreeSet<T>, before: Option<T>, now: Option<T>) {
    if before != now {
        before.map(|entry| set.remove(&entry));
        set.extend(now);
    }
}

impl<K: Copy + Ord + Hash + Debug> Tree<K> {
    /// Brings all entries of a member in line with what it is now.
    pub(super) fn reindex(&mut self, id: Id) {
        let node = &self.nodes[id];
        let free = node.free();
        let is_viewer_with_parent = matches!(node.source, Source::Peer(_)) && node.children.is_empty();
        let now = Entries {
            free,
            offer: (free > 0).then(|| node.offer()),
            spare: node.is_spare().then(|| node.offer()),
            leaf: is_viewer_with_parent.then(|| (node.carries(), node.arrival)),
            waiting: (node.source == Source::Cdn && node.gone.is_none()).then_some(node.delay),
        };
        self.enter(id, now);
        self.drop_surplus_standbys(id);
    }

    /// Takes a member out of all orders that it stands in.
    pub(super) fn unindex(&mut self, id: Id) {
        self.enter(id, Entries::default());
    }

    fn enter(&mut self, id: Id, now: Entries) {
        let node = &mut self.nodes[id];
        let before = std::mem::replace(&mut node.entries, now.clone());
        if before == now {
            return;
        }
        let seniority = node.seniority;
        let at = self.indices.at_mut(node.switch);
        let entry = |time: Option<Duration>| time.map(|time| (time, seniority, id));
        exchange(&mut at.free, entry(before.offer), entry(now.offer));
        exchange(&mut at.spare, entry(before.spare), entry(now.spare));
        exchange(&mut at.waiting, entry(before.waiting), entry(now.waiting));
        let leaf = |leaf: Option<(u32, Duration)>| leaf.map(|(carries, arrival)| (carries, arrival, id));
        exchange(&mut at.leaves, leaf(before.leaf), leaf(now.leaf));
        self.indices.waiting =
            self.indices.waiting + usize::from(now.waiting.is_some()) - usize::from(before.waiting.is_some());
        self.indices.free = self.indices.free + now.free - before.free;
        if now.free != before.free {
            self.climb(Some(id), |above| above.free_below = above.free_below + now.free - before.free);
        }
    }

    /// Does something to a member and all above it.
    pub(super) fn climb(&mut self, from: Option<Id>, mut change: impl FnMut(&mut super::node::Node<K>)) {
        let mut at = from;
        while let Some(id) = at {
            change(&mut self.nodes[id]);
            at = self.nodes[id].parent();
        }
    }
}

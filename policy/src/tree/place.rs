//! Finds a place in the tree for a member.

use std::fmt::Debug;
use std::hash::Hash;
use std::time::Duration;

use super::node::{Id, Source};
use super::{Tree, Why};

/// Leaves of each kind that are looked at before the search is given up: those of one's own subtree are no use.
const TRIES: usize = 16;

/// Who looks for a place, which decides whose place it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    /// One that comes: it may take the place of a weaker one that is nearer to the root.
    Newcomer,
    /// One that had a place, with all that is below it.
    Orphan,
}

impl<K: Copy + Ord + Hash + Debug> Tree<K> {
    /// Whether places are given: not while a broadcaster that was there is not.
    pub(super) fn is_open(&self) -> bool {
        self.root.is_some() || !self.has_begun
    }

    /// Gives a member that has no parent the best place there is; if there is none, it stays with the CDN. Says
    /// whether it has one.
    pub(super) fn place(&mut self, id: Id, search: Search, why: Why) -> bool {
        if !self.is_open() || self.nodes[id].gone.is_some() {
            return false;
        }
        let here = self.nodes[id].switch;
        // There may be one that is not in its own subtree only if not all free slots are.
        let is_outside = self.indices.free > self.nodes[id].free_below;
        let local = is_outside.then(|| self.slot_at(here, id, true)).flatten();
        if search == Search::Newcomer && self.nodes[id].children.is_empty() {
            let carries = self.nodes[id].carries();
            if let Some(leaf) = self.leaf_at(here, id, carries).filter(|leaf| self.is_nearer(*leaf, local)) {
                return self.displace(id, leaf, id, why);
            }
        }
        if let Some((_, parent)) = local {
            return self.attach(id, parent, None, why);
        }
        if self.nodes[id].free() > 0
            && let Some(leaf) = self.leaf_at(here, id, u32::MAX)
        {
            return self.displace(id, leaf, id, why);
        }
        // The nearest switch first: on a line of switches a copy comes from the last that has one, and passes none of
        // them twice.
        let remote = |tree: &Self, strict| {
            let others = (0..tree.indices.at.len()).filter(|switch| *switch != here);
            let slots = others.filter_map(|switch| {
                let (arrival, parent) = tree.slot_at(switch, id, strict)?;
                Some((tree.switches.between(switch, here), arrival, parent))
            });
            slots.min().map(|(_, arrival, parent)| (arrival, parent))
        };
        let found = match is_outside {
            true => remote(self, true).or_else(|| self.slot_at(here, id, false)).or_else(|| remote(self, false)),
            false => None,
        };
        if let Some((_, parent)) = found {
            return self.attach(id, parent, None, why);
        }
        self.exchange_with_leaf(id, why)
    }

    /// Its standby, if that can serve it, and no second copy comes between switches by that.
    pub(super) fn usable_standby(&self, id: Id) -> Option<Id> {
        let standby = self.nodes[id].standby.filter(|_| self.is_open())?;
        let is_usable = self.nodes[standby].free() > 0
            && self.top(standby, id).is_some_and(|top| !self.nodes[top].is_moving)
            && !self.nodes[id].avoids.contains(&self.nodes[standby].key);
        let here = self.nodes[id].switch;
        let is_near = self.nodes[standby].switch == here || self.slot_at(here, id, true).is_none();
        (is_usable && is_near).then_some(standby)
    }

    /// The best slot at a switch that is not in its own subtree, with when the copy would arrive. If it is strict,
    /// none of those it avoids.
    fn slot_at(&self, switch: usize, id: Id, is_strict: bool) -> Option<(Duration, Id)> {
        let node = &self.nodes[id];
        let way = self.switches.between(switch, node.switch) + node.delay;
        let is_usable = |slot: Id| {
            (!is_strict || !node.avoids.contains(&self.nodes[slot].key))
                && self.top(slot, id).is_some_and(|top| !self.nodes[top].is_moving)
        };
        let found = self.indices.at.get(switch)?.free.iter().find(|(_, _, slot)| is_usable(*slot));
        found.map(|(offer, _, slot)| (*offer + way, *slot))
    }

    /// The leaf at a switch that has a frame first, of those that carry less and are not below `id`.
    fn leaf_at(&self, switch: usize, id: Id, less_than: u32) -> Option<Id> {
        let leaves = &self.indices.at.get(switch)?.leaves;
        let is_usable = |leaf: Id| {
            let avoided = self.nodes[leaf].parent().is_none_or(|above| {
                self.nodes[id].avoids.contains(&self.nodes[above].key) || self.nodes[above].held_until.is_some()
            });
            !avoided && self.top(leaf, id).is_some_and(|top| !self.nodes[top].is_moving)
        };
        let mut best: Option<(Duration, Id)> = None;
        let mut from = 0;
        // Of each kind that there is.
        while from < less_than
            && let Some((carries, ..)) = leaves.range((from, Duration::ZERO, 0)..).next()
            && *carries < less_than
        {
            let alike = leaves.range((*carries, Duration::ZERO, 0)..(*carries + 1, Duration::ZERO, 0));
            let first = alike.take(TRIES).find(|(.., leaf)| is_usable(*leaf));
            best = best.into_iter().chain(first.map(|(_, arrival, leaf)| (*arrival, *leaf))).min();
            from = *carries + 1;
        }
        best.map(|(_, leaf)| leaf)
    }

    /// Whether a leaf is nearer to the root than a slot's child would be. Whoever has no slot wants any leaf's.
    fn is_nearer(&self, leaf: Id, slot: Option<(Duration, Id)>) -> bool {
        slot.is_some_and(|(_, parent)| self.hops(leaf) < self.hops(parent) + 1)
    }

    /// All free slots are below `id`, or there is none. In the first case a leaf from elsewhere can have one of them,
    /// and `id` that leaf's place.
    fn exchange_with_leaf(&mut self, id: Id, why: Why) -> bool {
        if self.nodes[id].free_below == 0 {
            return false;
        }
        let switches = 0..self.indices.at.len();
        let Some(leaf) = switches.clone().find_map(|switch| self.leaf_at(switch, id, u32::MAX)) else { return false };
        let firsts = switches.filter_map(|switch| {
            let way = self.switches.between(switch, self.nodes[leaf].switch);
            // It is in the subtree unless somebody is on the move.
            let mut offers = self.indices.at[switch].free.iter();
            offers.find(|(_, _, slot)| self.is_below(*slot, id)).map(|(offer, _, slot)| (*offer + way, *slot))
        });
        match firsts.min() {
            Some((_, slot)) => self.displace(id, leaf, slot, why),
            None => false,
        }
    }

    /// `id` takes the place of a leaf, which becomes a child of `slot`.
    fn displace(&mut self, id: Id, leaf: Id, slot: Id, why: Why) -> bool {
        let Source::Peer(above) = self.nodes[leaf].source else { return false };
        let at = self.nodes[above].children.iter().position(|child| *child == leaf);
        self.detach(leaf, Why::Moved);
        self.attach(id, above, at, why);
        self.attach(leaf, slot, None, Why::Moved)
    }

    /// Puts a member that has no parent below one, at the end or at this place of its children. Says that it is done.
    pub(super) fn attach(&mut self, id: Id, parent: Id, at: Option<usize>, why: Why) -> bool {
        debug_assert!(!self.is_below(parent, id), "a cycle, which nothing that goes up would get out of");
        self.note(id);
        let node = &mut self.nodes[id];
        (node.source, node.why) = (Source::Peer(parent), why);
        let (size, free) = (node.size, node.free_below);
        let children = &mut self.nodes[parent].children;
        let at = at.unwrap_or(children.len()).min(children.len());
        children.insert(at, id);
        self.climb(Some(parent), |above| {
            above.size += size;
            above.free_below += free;
        });
        if at + 1 < self.nodes[parent].children.len() {
            self.mark_stale(parent);
        }
        self.reindex(parent);
        self.arrive(id);
        self.reindex(id);
        self.look_at_standbys(id, parent);
        self.refresh();
        true
    }

    /// Takes a member from its parent. Unless it gets another one, the CDN feeds it.
    pub(super) fn detach(&mut self, id: Id, why: Why) {
        let Source::Peer(parent) = self.nodes[id].source else { return };
        self.note(id);
        self.nodes[id].why = why;
        let (size, free) = (self.nodes[id].size, self.nodes[id].free_below);
        self.climb(Some(parent), |above| {
            above.size -= size;
            above.free_below -= free;
        });
        self.nodes[id].source = Source::Cdn;
        self.nodes[parent].children.retain(|child| *child != id);
        self.mark_stale(parent);
        self.reindex(parent);
        self.reindex(id);
    }
}

//! Who would serve whom if the parent did not.
//!
//! A member is the standby of no more children than it has free slots, so that all of them can come at once. A
//! standby changes only when it must: when it has no slot left, leaves, or comes to lie below its child.

use std::fmt::Debug;
use std::hash::Hash;

use super::Tree;
use super::node::Id;

/// Members at one switch that are looked at for one standby.
const TRIES: usize = 24;
/// Children without a good standby that are looked at again in one step.
const AGAIN: usize = 2;

impl<K: Copy + Ord + Hash + Debug> Tree<K> {
    /// A member with fewer free slots than before is no standby for as many.
    pub(super) fn drop_surplus_standbys(&mut self, id: Id) {
        while self.nodes[id].standby_for.len() > self.nodes[id].free()
            && let Some(child) = self.nodes[id].standby_for.last().copied()
        {
            self.clear_standby(child);
            self.unserved.push(child);
        }
    }

    /// Takes a member's standby away.
    pub(super) fn clear_standby(&mut self, child: Id) {
        self.note(child);
        if let Some(standby) = self.nodes[child].standby.take() {
            self.nodes[standby].standby_for.retain(|other| *other != child);
            self.reindex(standby);
        }
    }

    /// A member with its subtree came below a parent: whose standby lies in that subtree, and is above it, needs
    /// another one; it may do so itself.
    pub(super) fn look_at_standbys(&mut self, id: Id, parent: Id) {
        let mut at = Some(parent);
        while let Some(above) = at {
            if self.nodes[above].standby.is_some_and(|standby| self.is_below(standby, id)) {
                self.clear_standby(above);
                self.unserved.push(above);
            }
            at = self.nodes[above].parent();
        }
        // A parent that crashes takes its subtree along. Below the root there is nothing else.
        let is_useless =
            |standby: Id| standby == parent || (Some(parent) != self.root && self.is_below(standby, parent));
        if self.nodes[id].standby.is_none_or(is_useless) {
            self.clear_standby(id);
            self.unserved.push(id);
        }
    }

    /// Finds standbys for those who lost theirs in this step, and for some who had none, or none that outlives their
    /// parent.
    pub(super) fn find_standbys(&mut self) {
        while let Some(child) = self.unserved.pop() {
            self.find_standby(child);
        }
        for _ in 0..AGAIN.min(self.lacking.len()) {
            let Some(child) = self.lacking.pop_front() else { return };
            // Numbers of those who left are used again.
            if std::mem::take(&mut self.nodes[child].lacks_standby) {
                self.find_standby(child);
            }
        }
    }

    fn find_standby(&mut self, child: Id) {
        let Some(parent) = self.nodes[child].parent().filter(|_| self.is_live(child)) else { return };
        let goes_with_parent = |id: Id| Some(parent) != self.root && self.is_below(id, parent);
        let present = self.nodes[child].standby;
        if present.is_some_and(|present| !goes_with_parent(present)) {
            return;
        }
        let here = self.nodes[child].switch;
        let others = (0..self.indices.at.len()).filter(|switch| *switch != here);
        let candidates = [here].into_iter().chain(others).flat_map(|switch| {
            let spare = self.indices.at.get(switch).into_iter().flat_map(|at| &at.spare);
            spare.take(TRIES).map(|(.., id)| *id)
        });
        let (mut best, mut second_best) = (None, present);
        for id in candidates {
            let is_out = id == parent || self.nodes[child].avoids.contains(&self.nodes[id].key);
            match self.first_above(id, child, parent).filter(|_| !is_out) {
                None => {}
                Some(true) if Some(parent) != self.root => {
                    second_best.get_or_insert(id);
                }
                Some(_) => {
                    best = Some(id);
                    break;
                }
            }
        }
        if best.is_none() && !std::mem::replace(&mut self.nodes[child].lacks_standby, true) {
            self.lacking.push_back(child);
        }
        let Some(standby) = best.or(second_best).filter(|standby| Some(*standby) != present) else { return };
        self.clear_standby(child);
        self.nodes[child].standby = Some(standby);
        self.nodes[standby].standby_for.push(child);
        self.reindex(standby);
    }

    /// Whether `parent` is on the way up; `None` if its child is.
    fn first_above(&self, from: Id, child: Id, parent: Id) -> Option<bool> {
        let mut at = Some(from);
        while let Some(id) = at {
            if id == child || id == parent {
                return (id == parent).then_some(true);
            }
            at = self.nodes[id].parent();
        }
        Some(false)
    }
}

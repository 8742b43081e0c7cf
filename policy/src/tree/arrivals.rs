//! When each member has a frame, and how that is kept up to date.

use std::fmt::Debug;
use std::hash::Hash;
use std::time::Duration;

use super::node::{Id, Source};
use super::{FROM_CDN, Tree};

impl<K: Copy + Ord + Hash + Debug> Tree<K> {
    /// Delay from one member's interface to another's: over both links and between their switches.
    pub(super) fn delay(&self, from: Id, to: Id) -> Duration {
        let (from, to) = (&self.nodes[from], &self.nodes[to]);
        from.delay + self.switches.between(from.switch, to.switch) + to.delay
    }

    /// The places of a member's children have changed, or when it has a frame itself.
    pub(super) fn mark_stale(&mut self, id: Id) {
        if !self.nodes[id].is_stale && !self.nodes[id].children.is_empty() {
            self.nodes[id].is_stale = true;
            self.stale.push_back(id);
        }
    }

    /// A member that was just put at its place has this arrival, and so on below.
    pub(super) fn arrive(&mut self, id: Id) {
        let arrival = match self.nodes[id].source {
            Source::Itself => Duration::ZERO,
            Source::Cdn => FROM_CDN,
            Source::Peer(parent) => {
                let children = &self.nodes[parent].children;
                let place = children.iter().position(|child| *child == id).unwrap_or(children.len());
                self.nodes[parent].served(place) + self.delay(parent, id)
            }
        };
        self.set_arrival(id, arrival);
    }

    fn set_arrival(&mut self, id: Id, arrival: Duration) {
        if self.nodes[id].arrival != arrival {
            self.nodes[id].arrival = arrival;
            self.reindex(id);
            self.mark_stale(id);
        }
    }

    /// Brings arrivals up to date, from the top on, for as many members as are left for this step.
    pub(super) fn refresh(&mut self) {
        while self.left_at_once > 0
            && let Some(parent) = self.stale.pop_front()
        {
            self.nodes[parent].is_stale = false;
            for place in 0..self.nodes[parent].children.len() {
                let child = self.nodes[parent].children[place];
                let arrival = self.nodes[parent].served(place) + self.delay(parent, child);
                self.set_arrival(child, arrival);
            }
            self.left_at_once = self.left_at_once.saturating_sub(self.nodes[parent].children.len());
        }
    }
}

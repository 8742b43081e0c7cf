#![allow(clippy::unwrap_used, clippy::panic)]

mod rules;
mod steps;

use super::*;

const TAU: Duration = Duration::from_millis(10);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn member(key: u32, switch: usize, copies: u32) -> Member<u32> {
    Member { key, switch, delay: ms(2), copies, copy_time: TAU }
}

/// Four switches in a line, 20 ms apart.
fn line() -> Switches {
    Switches::joined(4, &[(0, 1, ms(20)), (1, 2, ms(20)), (2, 3, ms(20))])
}

impl<K: Copy + Ord + Hash + Debug> Tree<K> {
    /// All that must hold after a step, told by who breaks it.
    fn check(&self) -> Result<(), String> {
        let fail = |what: &str, id: Id| Err(format!("{what}: {:?} in {self:#?}", self.nodes[id].key));
        let mut free = 0;
        for id in self.by_key.values().copied() {
            let node = &self.nodes[id];
            // The end of the way up is found in fewer steps than there are members.
            let mut at = id;
            for _ in 0..self.len() {
                at = self.nodes[at].parent().unwrap_or(at);
            }
            if self.nodes[at].parent().is_some() {
                return fail("a cycle", id);
            }
            if node.children.len() > node.copies as usize {
                return fail("too many children", id);
            }
            if node
                .children
                .iter()
                .any(|child| self.nodes[*child].source != Source::Peer(id) || !self.is_live(*child))
            {
                return fail("a child of another", id);
            }
            if let Some(parent) = node.parent()
                && self.nodes[parent].children.iter().filter(|child| **child == id).count() != 1
            {
                return fail("its parent does not know it", id);
            }
            if (node.source == Source::Itself) != (self.root == Some(id)) {
                return fail("another root", id);
            }
            if node.gone.is_some() && (node.source != Source::Cdn || !node.children.is_empty()) {
                return fail("gone, and has a place", id);
            }
            if node.held_until.is_some_and(|until| !self.holds.contains(&(until, id))) {
                return fail("held for ever", id);
            }
            if node.is_noted || node.is_moving || node.is_stale {
                return fail("not done with", id);
            }
            if let Some(standby) = node.standby {
                let valid = node.parent().is_some_and(|parent| parent != standby)
                    && self.is_live(standby)
                    && !self.is_below(standby, id)
                    && self.nodes[standby].standby_for.contains(&id);
                if !valid {
                    return fail("no good standby", id);
                }
            }
            if node.standby.is_none()
                && node.parent().is_some()
                && !(node.lacks_standby && self.lacking.contains(&id))
            {
                return fail("does not look for a standby", id);
            }
            if node.standby_for.len() > node.free() {
                return fail("standby of too many", id);
            }
            if node.standby_for.iter().any(|child| self.nodes[*child].standby != Some(id)) {
                return fail("standby of another", id);
            }
            free += node.free();
        }
        if free != self.indices.free {
            return Err(format!("{free} free slots, {} counted", self.indices.free));
        }
        self.check_cdn(free)?;
        self.check_indices()
    }

    fn check_cdn(&self, free: usize) -> Result<(), String> {
        let all = || self.by_key.values().copied();
        let waits = |id: &Id| self.nodes[*id].source == Source::Cdn && self.nodes[*id].gone.is_none();
        if all().filter(waits).count() != self.at_cdn() {
            return Err("who waits is not counted".to_owned());
        }
        for id in all().filter(waits).filter(|_| self.is_open()) {
            let below: usize =
                all().filter(|other| self.is_below(*other, id)).map(|other| self.nodes[other].free()).sum();
            if free > below {
                return Err(format!("{:?} is at the CDN, and there is a slot: {self:#?}", self.nodes[id].key));
            }
        }
        Ok(())
    }

    fn check_indices(&self) -> Result<(), String> {
        let mut expected = Indices::default();
        let mut sums: HashMap<Id, (usize, usize)> = HashMap::new();
        for id in self.by_key.values().copied() {
            let mut at = Some(id);
            while let Some(above) = at {
                let (size, free) = sums.entry(above).or_default();
                (*size, *free) = (*size + 1, *free + self.nodes[id].free());
                at = self.nodes[above].parent();
            }
        }
        for id in self.by_key.values().copied() {
            let node = &self.nodes[id];
            if (node.size, node.free_below) != sums[&id] {
                return Err(format!("sums of {:?} are wrong: {self:#?}", node.key));
            }
            if self.nodes[id].source == Source::Cdn && node.arrival != FROM_CDN {
                return Err(format!("{:?} has the stream from the CDN and another arrival", node.key));
            }
            for (place, child) in node.children.iter().enumerate() {
                if self.nodes[*child].arrival != node.served(place) + self.delay(id, *child) {
                    return Err(format!("arrival of {:?}: {self:#?}", self.nodes[*child].key));
                }
            }
            expected.at.resize_with(expected.at.len().max(node.switch + 1), Default::default);
            let at = &mut expected.at[node.switch];
            let entry = (node.offer(), node.seniority, id);
            at.free.extend((node.free() > 0).then_some(entry));
            at.spare.extend(node.is_spare().then_some(entry));
            let is_leaf = node.parent().is_some() && node.children.is_empty();
            at.leaves.extend(is_leaf.then_some((node.carries(), node.arrival, id)));
            let waits = node.source == Source::Cdn && node.gone.is_none();
            at.waiting.extend(waits.then_some((node.delay, node.seniority, id)));
        }
        for (switch, at) in self.indices.at.iter().enumerate() {
            let is = expected.at.get(switch).cloned().unwrap_or_default();
            if (&is.free, &is.spare, &is.leaves, &is.waiting) != (&at.free, &at.spare, &at.leaves, &at.waiting) {
                return Err(format!("indices of switch {switch}: {is:?} expected, {at:?} found"));
            }
        }
        Ok(())
    }
}

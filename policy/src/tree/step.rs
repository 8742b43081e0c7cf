//! The steps: what can happen to a tree.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::hash::Hash;
use std::time::Duration;

use super::node::{Entries, Id, Node, Source};
use super::place::Search;
use super::{
    AT_ONCE, Changes, FROM_CDN, HOLD, MAX_AVOIDED, MAX_CHILDREN, MAX_DRAWN_UP, Member, Move, Standby, Tree, Why,
};

impl<K: Copy + Ord + Hash + Debug> Tree<K> {
    /// The broadcaster comes. Nothing happens if there is one.
    pub fn begin(&mut self, broadcaster: Member<K>) -> Changes<K> {
        if self.root.is_none() && !self.contains(broadcaster.key) {
            let id = self.insert(broadcaster, Source::Itself);
            (self.root, self.has_begun) = (Some(id), true);
            self.take_in();
            self.draw_up(id);
        }
        self.finish()
    }

    /// Fills the free slots of the root, and those that become free by that, with the greatest subtrees that are
    /// served sooner there than where they are, and with no more copies between switches.
    fn draw_up(&mut self, root: Id) {
        let mut open = VecDeque::from([root]);
        for _ in 0..MAX_DRAWN_UP {
            let Some(above) = open.front().copied() else { return };
            let Some(id) = self.greatest_below(above).filter(|_| self.nodes[above].free() > 0) else {
                open.pop_front();
                continue;
            };
            open.extend(self.nodes[id].parent());
            self.detach(id, Why::Moved);
            self.attach(id, above, None, Why::Moved);
        }
    }

    /// Of the grandchildren of a member that it would serve sooner, the one with most below it.
    fn greatest_below(&self, above: Id) -> Option<Id> {
        let place = self.nodes[above].children.len();
        let seconds = self.nodes[above].children.iter().flat_map(|first| &self.nodes[*first].children).copied();
        let gains = |id: &Id| {
            let (here, parent) = (self.nodes[*id].switch, self.nodes[*id].parent());
            let is_remote = parent.is_some_and(|parent| self.nodes[parent].switch != here);
            let sooner = self.nodes[above].served(place) + self.delay(above, *id) < self.nodes[*id].arrival;
            sooner && (is_remote || self.nodes[above].switch == here)
        };
        seconds.filter(gains).max_by_key(|id| (self.nodes[*id].size, Reverse(self.nodes[*id].seniority)))
    }

    /// A viewer comes. Nothing happens if it is there.
    pub fn join(&mut self, viewer: Member<K>) -> Changes<K> {
        if !self.contains(viewer.key) {
            let id = self.insert(viewer, Source::Cdn);
            self.note(id);
            self.place(id, Search::Newcomer, Why::Joined);
        }
        self.finish()
    }

    /// A member is known by another key from now on. Nothing happens if it is not there, or the other one is.
    pub fn rename(&mut self, from: K, to: K) {
        if self.contains(to) {
            return;
        }
        if let Some(id) = self.by_key.remove(&from) {
            self.nodes[id].key = to;
            self.by_key.insert(to, id);
        }
    }

    /// A viewer or the broadcaster is gone. Without a broadcaster nobody is moved: the stream has ended, or will go
    /// on in a moment.
    pub fn leave(&mut self, key: K) -> Changes<K> {
        if let Some(id) = self.by_key.get(&key).copied() {
            let above = self.nodes[id].parent();
            let orphans = self.orphan(id, 0, Why::Left);
            self.detach(id, Why::Left);
            self.remove(id);
            self.rehome(orphans, above, Why::Left);
        }
        self.finish()
    }

    /// A child says that its parent, or its standby, does not serve it. Nothing happens if that is neither, so that
    /// it may say so again.
    pub fn lost(&mut self, child: K, parent: K, now: Duration) -> Changes<K> {
        self.expire(now);
        if let (Some(child), Some(parent)) = (self.by_key.get(&child).copied(), self.by_key.get(&parent).copied()) {
            if self.nodes[child].standby == Some(parent) {
                self.avoid(child, parent);
                self.clear_standby(child);
                self.unserved.push(child);
            } else if self.nodes[child].parent() == Some(parent) {
                self.avoid(child, parent);
                self.lose(child, parent, now);
            }
        }
        self.finish()
    }

    /// A member's uplink carries so many copies from now on.
    pub fn capacity(&mut self, key: K, copies: u32) -> Changes<K> {
        if let Some(id) = self.by_key.get(&key).copied() {
            self.nodes[id].copies = copies.min(MAX_CHILDREN);
            let orphans = self.orphan(id, self.nodes[id].copies as usize, Why::Capacity);
            self.reindex(id);
            self.mark_stale(id);
            self.rehome(orphans, None, Why::Capacity);
        }
        self.finish()
    }

    /// Something was heard of a member. Matters if it counts as gone: it gets its place again, or another one.
    pub fn heard(&mut self, key: K) -> Changes<K> {
        let Some(id) = self.by_key.get(&key).copied() else { return Changes::default() };
        let Some(former) = self.nodes[id].gone.take() else { return Changes::default() };
        self.note(id);
        self.nodes[id].why = Why::Moved;
        self.reindex(id);
        let former = former.and_then(|former| self.by_key.get(&former).copied());
        match former.filter(|former| self.is_open() && self.nodes[*former].free() > 0) {
            Some(former) => self.attach(id, former, None, Why::Moved),
            None => self.place(id, Search::Orphan, Why::Moved),
        };
        self.finish()
    }

    /// Time has passed: who was held may take children again.
    pub fn tick(&mut self, now: Duration) -> Changes<K> {
        self.expire(now);
        self.finish()
    }

    fn insert(&mut self, member: Member<K>, source: Source) -> Id {
        let Member { key, switch, delay, copies, copy_time } = member;
        self.came += 1;
        let node = Node {
            key,
            switch,
            delay,
            copies: copies.min(MAX_CHILDREN),
            copy_time,
            seniority: self.came,
            source,
            children: Vec::new(),
            arrival: if source == Source::Itself { Duration::ZERO } else { FROM_CDN },
            size: 1,
            free_below: 0,
            standby: None,
            standby_for: Vec::new(),
            avoids: Vec::new(),
            held_until: None,
            losers: 0,
            gone: None,
            is_moving: false,
            is_stale: false,
            lacks_standby: false,
            why: Why::Joined,
            is_noted: false,
            entries: Entries::default(),
        };
        let id = self.nodes.insert(node);
        self.by_key.insert(key, id);
        self.reindex(id);
        id
    }

    /// Forgets a member that has neither parent nor children.
    fn remove(&mut self, id: Id) {
        self.clear_standby(id);
        self.unindex(id);
        for child in std::mem::take(&mut self.nodes[id].standby_for) {
            self.note(child);
            self.nodes[child].standby = None;
            self.unserved.push(child);
        }
        if let Some(until) = self.nodes[id].held_until {
            self.holds.remove(&(until, id));
        }
        if self.root == Some(id) {
            self.root = None;
        }
        self.by_key.remove(&self.nodes[id].key);
        self.nodes.remove(id);
    }

    pub(super) fn is_live(&self, id: Id) -> bool {
        self.by_key.get(&self.nodes[id].key) == Some(&id)
    }

    /// Takes children from a parent, until it has so many: the last first. They go below nobody, and nobody goes
    /// below them, before they are put somewhere.
    fn orphan(&mut self, parent: Id, keep: usize, why: Why) -> Vec<Id> {
        let children = &self.nodes[parent].children;
        let orphans = children.get(keep..).unwrap_or_default().to_vec();
        for id in orphans.iter().rev() {
            self.nodes[*id].is_moving = true;
            self.detach(*id, why);
        }
        orphans
    }

    /// Finds places for orphans; the first gets the slot that became free, if there is one and it may. Who has lost a
    /// parent has the stream from its standby by now, and stays there if that is as good.
    fn rehome(&mut self, mut orphans: Vec<Id>, freed: Option<Id>, why: Why) {
        orphans.sort_by_key(|id| (Reverse(self.nodes[*id].size), self.nodes[*id].seniority));
        let mut freed = freed.filter(|_| self.is_open());
        for id in orphans {
            self.nodes[id].is_moving = false;
            let standby = if why == Why::Lost { self.usable_standby(id) } else { None };
            let may = |above: &Id| {
                self.nodes[*above].free() > 0 && !self.nodes[id].avoids.contains(&self.nodes[*above].key)
            };
            match standby.or_else(|| freed.take_if(|above| may(above))) {
                Some(above) => self.attach(id, above, None, why),
                None => self.place(id, Search::Orphan, why),
            };
        }
    }

    fn avoid(&mut self, child: Id, parent: Id) {
        let key = self.nodes[parent].key;
        let avoids = &mut self.nodes[child].avoids;
        avoids.retain(|other| *other != key);
        if avoids.len() >= MAX_AVOIDED {
            avoids.remove(0);
        }
        avoids.push(key);
    }

    fn lose(&mut self, child: Id, parent: Id, now: Duration) {
        let until = now.saturating_add(HOLD);
        let node = &mut self.nodes[parent];
        node.losers += 1;
        if let Some(before) = node.held_until.replace(until) {
            self.holds.remove(&(before, parent));
        }
        self.holds.insert((until, parent));
        self.nodes[child].is_moving = true;
        self.detach(child, Why::Lost);
        let mut orphans = vec![child];
        let mut freed = None;
        let (losers, stay) = (self.nodes[parent].losers, self.nodes[parent].children.len());
        if Some(parent) != self.root && losers >= 2 && losers > stay {
            orphans.extend(self.orphan(parent, 0, Why::Lost));
            freed = self.nodes[parent].parent();
            self.nodes[parent].gone = Some(freed.map(|above| self.nodes[above].key));
            self.detach(parent, Why::Gone);
            self.nodes[parent].why = Why::Gone;
            self.note(parent);
        }
        self.reindex(parent);
        self.rehome(orphans, freed, Why::Lost);
    }

    fn expire(&mut self, now: Duration) {
        while let Some((until, id)) = self.holds.first().copied().filter(|(until, _)| *until <= now) {
            self.holds.remove(&(until, id));
            self.nodes[id].held_until = None;
            self.nodes[id].losers = 0;
            self.reindex(id);
        }
    }

    /// Before something of a member changes in this step: remembers how it was.
    pub(super) fn note(&mut self, id: Id) {
        if !self.nodes[id].is_noted {
            let key = |other: Option<Id>| other.map(|other| self.nodes[other].key);
            let before = (id, key(self.nodes[id].parent()), key(self.nodes[id].standby));
            self.noted.push(before);
            self.nodes[id].is_noted = true;
        }
    }

    /// Takes in those who wait, while there is a slot for one of them; those first who can be served soonest.
    fn take_in(&mut self) {
        while self.is_open() && self.indices.free > 0 && self.indices.waiting() > 0 {
            let Some(id) = self.soonest().or_else(|| self.whole()) else { return };
            if !self.place(id, Search::Newcomer, Why::Moved) {
                return;
            }
        }
    }

    /// Of those who wait, the one that can be served soonest; at its own switch before any other.
    fn soonest(&self) -> Option<Id> {
        let switches = self.indices.at.iter().enumerate();
        let first = switches.filter_map(|(switch, at)| {
            // If all free slots are below one, they are not below the next.
            let mut waiting = at.waiting.iter().take(2).map(|(.., id)| *id);
            let id = waiting.find(|id| self.indices.free > self.nodes[*id].free_below)?;
            let offers = self.indices.at.iter().enumerate().filter_map(|(from, at)| {
                let (offer, ..) = at.free.first()?;
                Some((from != switch, *offer + self.switches.between(from, switch)))
            });
            offers.min().map(|(is_other, at)| (is_other, at + self.nodes[id].delay, self.nodes[id].seniority, id))
        });
        first.min().map(|(.., id)| id)
    }

    /// One that waits with all free slots below it.
    fn whole(&self) -> Option<Id> {
        let slot = self.indices.at.iter().find_map(|at| at.free.first())?.2;
        let top = self.top(slot, usize::MAX)?;
        (self.nodes[top].source == Source::Cdn).then_some(top)
    }

    /// All that is left to do in a step, and what has come of it.
    fn finish(&mut self) -> Changes<K> {
        self.take_in();
        for at in 0..self.noted.len() {
            let (id, ..) = self.noted[at];
            if self.is_live(id) && self.nodes[id].source == Source::Cdn {
                self.arrive(id);
                self.clear_standby(id);
            }
        }
        self.refresh();
        self.find_standbys();
        self.left_at_once = AT_ONCE;
        let mut changes = Changes::default();
        for (id, parent, standby) in std::mem::take(&mut self.noted) {
            self.nodes[id].is_noted = false;
            if !self.is_live(id) {
                continue;
            }
            let node = &self.nodes[id];
            let key = |other: Option<Id>| other.map(|other| self.nodes[other].key);
            let (to, by) = (key(node.parent()), key(node.standby));
            if parent != to
                || (to.is_none() && node.why == Why::Joined)
                || (node.why == Why::Gone && parent.is_some())
            {
                changes.moves.push(Move { child: node.key, from: parent, to, why: node.why });
            }
            if standby != by {
                changes.standbys.push(Standby { child: node.key, from: standby, to: by });
            }
        }
        changes
    }
}

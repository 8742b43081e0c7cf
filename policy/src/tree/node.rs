//! What is kept of a member of a tree.

use std::ops::{Index, IndexMut};
use std::time::Duration;

use super::Why;

/// A member's place in the arena.
pub type Id = usize;

/// Where a member has the stream from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// It publishes the stream.
    Itself,
    /// It has the stream from another member.
    Peer(Id),
    /// It has the stream from the CDN; if it counts as gone, from nobody.
    Cdn,
}

/// What is kept of a member.
#[derive(Debug, Clone)]
pub struct Node<K> {
    pub key: K,
    pub switch: usize,
    /// One-way delay of its link to the switch.
    pub delay: Duration,
    pub copies: u32,
    pub copy_time: Duration,
    /// Smaller for a member that came earlier.
    pub seniority: u64,
    pub source: Source,
    /// In the order in which they are served.
    pub children: Vec<Id>,
    /// When it has a mean frame, since the broadcaster had. Of those below the CDN: since who is fed by it had.
    pub arrival: Duration,
    /// Members of its subtree, itself included, and their free slots.
    pub size: usize,
    pub free_below: usize,
    pub standby: Option<Id>,
    /// The members whose standby it is.
    pub standby_for: Vec<Id>,
    /// Those who did not serve it; the latest last.
    pub avoids: Vec<K>,
    /// Until then it takes no further children.
    pub held_until: Option<Duration>,
    /// Children that lost it since it is held.
    pub losers: usize,
    /// It counts as gone until it is heard of. This was its parent.
    pub gone: Option<Option<K>>,
    /// It is about to get a place: nobody goes below it meanwhile.
    pub is_moving: bool,
    /// Arrivals of its children are to be looked at.
    pub is_stale: bool,
    /// It looks for a standby and has not found one.
    pub lacks_standby: bool,
    /// Why its source changed last.
    pub why: Why,
    /// Its change in this step is noted already.
    pub is_noted: bool,
    pub entries: Entries,
}

/// What stands of a member in the indices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entries {
    /// How many of its free slots are counted in the index.
    pub free: usize,
    /// When its next copy would be at the switch; `None`: it has no free slot.
    pub offer: Option<Duration>,
    /// The same, while it can be a standby for one more.
    pub spare: Option<Duration>,
    /// As a leaf: what it carries, and when it has a frame.
    pub leaf: Option<(u32, Duration)>,
    /// As one that would rather have the stream from a peer: its delay.
    pub waiting: Option<Duration>,
}

impl<K: PartialEq> Node<K> {
    /// How many further children it can take now.
    pub fn free(&self) -> usize {
        match self.held_until.is_some() || self.gone.is_some() {
            true => 0,
            false => (self.copies as usize).saturating_sub(self.children.len()),
        }
    }

    /// When a further child's copy would be at the switch.
    pub fn offer(&self) -> Duration {
        self.served(self.children.len()) + self.delay
    }

    /// When the child at this place has been served.
    pub fn served(&self, place: usize) -> Duration {
        self.arrival + self.copy_time * (place as u32 + 1)
    }

    /// Whether it can be a standby for one more.
    pub fn is_spare(&self) -> bool {
        self.standby_for.len() < self.free()
    }

    /// What it carries, as a leaf that may have to make way.
    pub fn carries(&self) -> u32 {
        if self.free() > 0 { self.copies } else { 0 }
    }

    pub fn parent(&self) -> Option<Id> {
        match self.source {
            Source::Peer(parent) => Some(parent),
            Source::Itself | Source::Cdn => None,
        }
    }
}

/// Members by number. Numbers of those who left are used again.
#[derive(Debug, Clone)]
pub struct Arena<K> {
    nodes: Vec<Node<K>>,
    vacant: Vec<Id>,
}

impl<K> Default for Arena<K> {
    fn default() -> Self {
        Self { nodes: Vec::new(), vacant: Vec::new() }
    }
}

impl<K> Arena<K> {
    pub fn insert(&mut self, node: Node<K>) -> Id {
        match self.vacant.pop() {
            Some(id) => {
                self.nodes[id] = node;
                id
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        }
    }

    /// Frees a member's place. Nothing may lead to it any more.
    pub fn remove(&mut self, id: Id) {
        self.vacant.push(id);
    }
}

impl<K> Index<Id> for Arena<K> {
    type Output = Node<K>;

    fn index(&self, id: Id) -> &Node<K> {
        &self.nodes[id]
    }
}

impl<K> IndexMut<Id> for Arena<K> {
    fn index_mut(&mut self, id: Id) -> &mut Node<K> {
        &mut self.nodes[id]
    }
}

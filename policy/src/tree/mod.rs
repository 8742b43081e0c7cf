//! One push tree for a stream, changed one step at a time.
//!
//! The broadcaster is its root. Whoever finds no place watches the CDN, and may be a parent there. Each step (a
//! member joins, leaves, loses its parent, carries more or less) returns who has the stream from somebody else now.
//! What holds after each step:
//!
//! * No member is in its own subtree, and none has more children than its uplink carries.
//! * Nobody watches the CDN while a member outside of its own subtree has a free slot.
//! * A standby is a member with a free slot, not the child's parent, and not in the child's subtree.
//!
//! # Who gets which place
//! The slot of earliest arrival; those below the broadcaster come before any below a viewer that the CDN feeds.
//! Arrival is when the parent has a frame, plus the time of one copy for each child it has and for the new one, plus
//! the delay between the two. At equal arrival the older parent is preferred.
//!
//! * **One copy between switches.** A slot at the child's own switch comes before all others, however late it is. If there is none, but a leaf at that
//!   switch has a parent, a member that can carry children takes its place, and the leaf becomes its child. Only then slots at other switches count,
//!   the nearest switch's first: what comes from beyond it would pass it, where there is a copy already.
//! * **The strong near the root.** A member that joins and can carry children takes the place of a leaf that is nearer to the root and carries
//!   less; the leaf becomes its child. That is the only time that somebody is moved who could stay.
//! * **Before the broadcaster comes** the tree is made without it: the first viewer watches the CDN, and the others find places below it. So when
//!   the stream begins almost everybody is connected already. The broadcaster takes in the first; into each further slot of its own comes the
//!   greatest subtree two below that it serves sooner, and so on where that has left a slot. Once there has been a broadcaster, nobody is moved as long as there is none.
//! * **Subtrees move as wholes.** Of the children of a member that leaves, the one with the most below it gets the freed slot, and the others
//!   look for places in turn.
//! * **Not the same again.** A member that has lost a parent gets its standby, from which it has the stream already, if no nearer slot is
//!   free; and the same parent again only when no other will do. A parent that was lost takes no further children for [`HOLD`], so that a slow
//!   one loses load. If at least two children, and more than stay, lose it meanwhile, it counts as gone: all its children are moved, and it
//!   has no place until it is heard from.
//!
//! # Cost
//! Free slots are kept by switch in the order of their offers; whether one lies in a subtree is seen by going up from
//! it. Arrivals below a place that moved are brought up to date for [`AT_ONCE`] members in the step itself and for
//! the rest in later ones: they are what places are compared by, and nothing that must hold depends on them.

mod arrivals;
mod index;
mod node;
mod place;
mod standby;
mod step;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt::Debug;
use std::hash::Hash;
use std::time::Duration;

use crate::Switches;
use index::Indices;
use node::{Arena, Id, Source};

/// How long a parent that was lost takes no further children.
pub const HOLD: Duration = Duration::from_secs(30);

/// Children that one member has at most, whatever its uplink carries.
pub const MAX_CHILDREN: u32 = 64;

/// Members whose arrivals are brought up to date in one step.
pub const AT_ONCE: usize = 256;

/// When those have a frame that the CDN feeds: later than any whose copies all come from the broadcaster, so that its
/// slots come before theirs.
const FROM_CDN: Duration = Duration::from_secs(3600);

/// Moves that the coming of a broadcaster leads to at most, beside those that it takes in.
const MAX_DRAWN_UP: usize = 32;

/// Parents that one member avoids, at most.
const MAX_AVOIDED: usize = 4;

/// A member of the tree, as it joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<K> {
    /// What it is known by; unique in the tree.
    pub key: K,
    /// The number of its switch, as in [`Switches`].
    pub switch: usize,
    /// One-way delay of its link to the switch.
    pub delay: Duration,
    /// Whole copies of the stream that its uplink carries at once: k.
    pub copies: u32,
    /// The time of one copy of a mean frame on its uplink: τ.
    pub copy_time: Duration,
}

/// Why somebody has the stream from somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Why {
    /// The member joined.
    Joined,
    /// Its parent left.
    Left,
    /// Its parent did not serve it, or was lost by most of its children.
    Lost,
    /// Its parent carries fewer children than it has.
    Capacity,
    /// It made way for another, or there is a better place for it.
    Moved,
    /// It counts as gone itself, and has nothing from anybody.
    Gone,
}

impl Why {
    /// The word in event lines: `joined`, `left`, `lost`, `capacity`, `moved`, `gone`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Why::Joined => "joined",
            Why::Left => "left",
            Why::Lost => "lost",
            Why::Capacity => "capacity",
            Why::Moved => "moved",
            Why::Gone => "gone",
        }
    }
}

/// A child that has the stream from somebody else now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move<K> {
    /// The child that has another parent now.
    pub child: K,
    /// From whom until now; `None` is the CDN, or nobody.
    pub from: Option<K>,
    /// From whom now; `None` is the CDN.
    pub to: Option<K>,
    /// The reason of the move.
    pub why: Why,
}

/// A child that has another standby now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standby<K> {
    /// The child that has another standby now.
    pub child: K,
    /// Its standby until now; `None`: it had none.
    pub from: Option<K>,
    /// Its standby from now on; `None`: it has none.
    pub to: Option<K>,
}

/// What a step has changed, each child once. What those lose who are gone is not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes<K> {
    /// Who has another parent, or the CDN, now.
    pub moves: Vec<Move<K>>,
    /// Who has another standby, or none, now.
    pub standbys: Vec<Standby<K>>,
}

impl<K> Default for Changes<K> {
    fn default() -> Self {
        Self { moves: Vec::new(), standbys: Vec::new() }
    }
}

/// The push tree of one stream: its members, who has the stream from whom, and who stands by.
#[derive(Debug, Clone)]
pub struct Tree<K> {
    switches: Switches,
    nodes: Arena<K>,
    by_key: HashMap<K, Id>,
    root: Option<Id>,
    /// There has been a broadcaster, though it may have left.
    has_begun: bool,
    indices: Indices,
    /// Members that take no further children for now, by when that ends.
    holds: BTreeSet<(Duration, Id)>,
    /// Whose children's arrivals are to be looked at.
    stale: VecDeque<Id>,
    /// Who looks for a standby, though there was none.
    lacking: VecDeque<Id>,
    came: u64,
    /// Of this step: how many arrivals may still be brought up to date,
    left_at_once: usize,
    /// who changed, as it was before,
    noted: Vec<(Id, Option<K>, Option<K>)>,
    /// and who needs another standby.
    unserved: Vec<Id>,
}

impl<K: Copy + Ord + Hash + Debug> Tree<K> {
    /// A tree without members.
    #[must_use]
    pub fn new(switches: Switches) -> Self {
        Self {
            switches,
            nodes: Arena::default(),
            by_key: HashMap::new(),
            root: None,
            has_begun: false,
            indices: Indices::default(),
            holds: BTreeSet::new(),
            stale: VecDeque::new(),
            lacking: VecDeque::new(),
            came: 0,
            left_at_once: AT_ONCE,
            noted: Vec::new(),
            unserved: Vec::new(),
        }
    }

    /// Whether it is in the tree, the broadcaster too.
    #[must_use]
    pub fn contains(&self, key: K) -> bool {
        self.by_key.contains_key(&key)
    }

    /// Key of the member that publishes the stream; `None`: it is not there.
    #[must_use]
    pub fn broadcaster(&self) -> Option<K> {
        self.root.map(|root| self.nodes[root].key)
    }

    /// From whom it has the stream; `None` is the CDN, and of the broadcaster itself.
    #[must_use]
    pub fn parent(&self, key: K) -> Option<K> {
        let parent = self.nodes[*self.by_key.get(&key)?].parent()?;
        Some(self.nodes[parent].key)
    }

    /// Who would give it the stream if its parent did not.
    #[must_use]
    pub fn standby(&self, key: K) -> Option<K> {
        let standby = self.nodes[*self.by_key.get(&key)?].standby?;
        Some(self.nodes[standby].key)
    }

    /// Who has the stream from it, in the order in which they are served.
    pub fn children(&self, key: K) -> impl Iterator<Item = K> {
        let children = self.by_key.get(&key).map(|id| self.nodes[*id].children.iter());
        children.into_iter().flatten().map(|child| self.nodes[*child].key)
    }

    /// When it has a mean frame, since the broadcaster had, as far as is known.
    #[must_use]
    pub fn arrival(&self, key: K) -> Option<Duration> {
        self.by_key.get(&key).map(|id| self.nodes[*id].arrival)
    }

    /// Whether it counts as gone: most of its children lost it, and it was not heard of since.
    #[must_use]
    pub fn is_gone(&self, key: K) -> bool {
        self.by_key.get(&key).is_some_and(|id| self.nodes[*id].gone.is_some())
    }

    /// How many members there are, the broadcaster included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there are no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Those who have the stream from the CDN and would rather have it from a peer.
    #[must_use]
    pub fn at_cdn(&self) -> usize {
        self.indices.waiting()
    }

    /// Who is found when one goes up from `from`, unless `without` is on the way.
    fn top(&self, from: Id, without: Id) -> Option<Id> {
        let mut at = from;
        loop {
            if at == without {
                return None;
            }
            match self.nodes[at].source {
                Source::Peer(parent) => at = parent,
                Source::Itself | Source::Cdn => return Some(at),
            }
        }
    }

    fn is_below(&self, id: Id, top: Id) -> bool {
        self.top(id, top).is_none()
    }

    fn hops(&self, id: Id) -> usize {
        std::iter::successors(self.nodes[id].parent(), |up| self.nodes[*up].parent()).count()
    }
}

#[cfg(test)]
mod tests;

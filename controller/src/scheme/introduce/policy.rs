//! What a scheme that introduces has to say.

use std::fmt;

use super::connection::Connection;
use super::members::{Audience, Member};

/// Decides who is whose peer in a stream: all of a scheme that is not common to all who introduce. It is told of each member that comes and goes;
/// that both agents hear of it, again and again until they act on it, is not its business.
pub trait Policy: fmt::Debug {
    /// A member came. It is in the audience already.
    fn arrive(&mut self, came: &Member, audience: Audience<'_>) -> Change;

    /// A member is gone, and with it all pairs that it was a side of. It is no longer in the audience.
    fn leave(&mut self, _gone: &Member, _audience: Audience<'_>) -> Change {
        Change::default()
    }

    /// Why nobody is introduced to a member; `None` while there is no reason. One word with underscores.
    fn alone(&self, member: &Member, audience: Audience<'_>) -> Option<&'static str>;
}

/// Two members of a stream of whom one has it from the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    /// Who has the stream, and passes it on: it is told of a viewer.
    pub parent: Connection,
    /// Who gets it: it is told of a broadcaster.
    pub child: Connection,
}

impl Pair {
    /// These two.
    #[must_use]
    pub fn of(parent: &Member, child: &Member) -> Self {
        Self { parent: parent.connection, child: child.connection }
    }
}

/// What is to be different from now on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Pairs that are no longer: what was still to be told of them is not told any more.
    pub void: Vec<Pair>,
    /// Pairs that are from now on: each side is told of the other.
    pub introduce: Vec<Pair>,
}

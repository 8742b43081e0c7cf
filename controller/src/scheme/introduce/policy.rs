//! What a scheme with introductions decides.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use livectl_wire::StreamKey;

use super::connection::Connection;
use super::members::{Audience, Member};

/// Decides who is whose peer in a stream: all of a scheme that is not common to all who introduce. It is told of each
/// member that comes and goes; that both agents hear of it, again and again until they act on it, is not its
/// business. `now` is the time since any fixed moment.
pub trait Policy: fmt::Debug {
    /// A member came. It is in the audience already.
    fn arrive(&mut self, came: &Member, audience: Audience<'_>) -> Change;

    /// A member is gone, and with it all pairs that it was a side of. It is no longer in the audience.
    fn leave(&mut self, _gone: &Member, _audience: Audience<'_>) -> Change {
        Change::default()
    }

    /// Whether it has use for a broadcaster that is announced: its agent is there and serves peers, and nothing is
    /// published yet.
    fn takes_announced(&self) -> bool {
        false
    }

    /// A broadcaster that was announced has been accepted by the CDN, or is announced again. It is known by another
    /// connection from now on, and so are its pairs.
    fn succeed(&mut self, _before: &Member, _now: &Member) {}

    /// Why nobody is introduced to a member; `None` while there is no reason. One word with underscores.
    fn alone(&self, member: &Member, audience: Audience<'_>) -> Option<&'static str>;

    /// A viewer's agent says that this host does not serve it, as its parent or its standby. It says so again each
    /// second until it is told something, so that it is told again from whom it has the stream if nothing changes.
    /// `None`: the scheme has no use for it, and it is told nothing.
    fn lost(&mut self, _now: Duration, _viewer: &Member, _peer: Ipv4Addr) -> Option<Change> {
        None
    }

    /// Whether a host counts as gone until it is heard of, although it has not left.
    fn misses(&self, _host: Ipv4Addr) -> bool {
        false
    }

    /// A host is there: something came from its agent.
    fn heard(&mut self, _host: Ipv4Addr) -> Change {
        Change::default()
    }

    /// Time has passed, about a second.
    fn tick(&mut self, _now: Duration) -> Change {
        Change::default()
    }
}

/// What two members are to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Bond {
    /// The child has the stream from the parent.
    Serves,
    /// The child would have it from the parent if nobody else served it.
    StandsBy,
    /// The switches copy to the child what the parent sends to this group. Both are told of it, and not of each
    /// other.
    Copied(SocketAddrV4),
}

/// Two members of a stream of whom one has it from the other, or would.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    /// Who has the stream, and passes it on: it is told of its child.
    pub parent: Connection,
    /// Who gets it: it is told of its parent, or its standby.
    pub child: Connection,
    /// Whether the parent serves, stands by or sends to a group.
    pub bond: Bond,
}

impl Pair {
    /// One has the stream from the other.
    #[must_use]
    pub fn of(parent: &Member, child: &Member) -> Self {
        Self { parent: parent.connection, child: child.connection, bond: Bond::Serves }
    }

    /// The same between others of whom one is known by another connection now.
    #[must_use]
    pub fn renamed(self, from: &Connection, to: &Connection) -> Self {
        let of = |one: Connection| if one == *from { *to } else { one };
        Self { parent: of(self.parent), child: of(self.child), bond: self.bond }
    }

    /// The one who is not this one.
    #[must_use]
    pub fn other(&self, one: &Connection) -> Connection {
        if self.parent == *one { self.child } else { self.parent }
    }
}

/// What is to be different from now on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Pairs that are no longer: what was still to be told of them is not told any more, and should they be again,
    /// both are told again.
    pub void: Vec<Pair>,
    /// Pairs that are from now on: each side is told of the other.
    pub introduce: Vec<Pair>,
    /// Viewers that have the stream from the CDN from now on, and are told so; broadcasters that give it to nobody
    /// else.
    pub to_cdn: Vec<Connection>,
    /// What the outside is told of it.
    pub branches: Vec<Branch>,
}

impl Change {
    /// Both, one after the other: what the next takes back is not begun.
    pub fn and(&mut self, next: Change) {
        self.introduce.retain(|pair| !next.void.contains(pair));
        let is_served = |viewer: &Connection| {
            next.introduce.iter().any(|pair| pair.child == *viewer && pair.bond == Bond::Serves)
        };
        self.to_cdn.retain(|viewer| !is_served(viewer));
        self.void.extend(next.void);
        self.introduce.extend(next.introduce);
        self.to_cdn.extend(next.to_cdn);
        self.branches.extend(next.branches);
    }
}

/// From whom a viewer has its stream now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Stream that the viewer plays.
    pub stream: StreamKey,
    /// IPv4 address of the viewer.
    pub host: Ipv4Addr,
    /// From whom; `None` is the CDN.
    pub parent: Option<Ipv4Addr>,
    /// Who would serve it if that one did not.
    pub standby: Option<Ipv4Addr>,
    /// Why that is new: a word of [`News::Tree`](crate::news::News::Tree).
    pub why: &'static str,
}

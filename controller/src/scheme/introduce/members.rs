//! Who plays and publishes what.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;

use livectl_wire::StreamKey;

use super::connection::Connection;
use crate::openflow::PortNo;
use crate::scheme::Dpid;

/// Viewers and broadcasters at once; further ones stay with the CDN.
pub const MAX_MEMBERS: usize = 65_536;

/// What a host does with a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// It publishes the stream.
    Broadcaster,
    /// It plays the stream.
    Viewer,
}

impl Part {
    /// The word in event lines: `broadcaster`, `viewer`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Part::Broadcaster => "broadcaster",
            Part::Viewer => "viewer",
        }
    }
}

/// A host that plays or publishes a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Whether it publishes or plays.
    pub part: Part,
    /// Stream that it plays or publishes.
    pub stream: StreamKey,
    /// Its RTMP connection to the CDN, by which it is known; of a broadcaster that is only announced, its agent's to
    /// the notification service.
    pub connection: Connection,
    /// The switch that it is at.
    pub dpid: Dpid,
    /// The port of that switch that it is behind.
    pub port: PortNo,
}

impl Member {
    /// IPv4 address of its host.
    #[must_use]
    pub fn host(&self) -> Ipv4Addr {
        *self.connection.client.ip()
    }
}

/// All members, each with what else is kept of it.
#[derive(Debug)]
pub struct Members<T> {
    members: HashMap<Connection, (Member, T)>,
    streams: BTreeMap<StreamKey, Stream>,
}

#[derive(Debug, Default)]
struct Stream {
    broadcaster: Option<Connection>,
    viewers: BTreeMap<Ipv4Addr, Connection>,
}

/// The members of one stream.
#[derive(Debug, Clone, Copy)]
pub struct Audience<'a> {
    stream: Option<&'a Stream>,
    members: &'a dyn Lookup,
}

/// Finds members by their connections.
trait Lookup: std::fmt::Debug {
    fn member(&self, connection: &Connection) -> Option<&Member>;
}

impl<T: std::fmt::Debug> Lookup for HashMap<Connection, (Member, T)> {
    fn member(&self, connection: &Connection) -> Option<&Member> {
        self.get(connection).map(|(member, _)| member)
    }
}

impl<'a> Audience<'a> {
    /// Who publishes the stream.
    #[must_use]
    pub fn broadcaster(&self) -> Option<&'a Member> {
        self.members.member(&self.stream?.broadcaster?)
    }

    /// Who plays it, in the order of addresses.
    pub fn viewers(&self) -> impl Iterator<Item = &'a Member> + use<'a> {
        let members = self.members;
        let viewers = self.stream.into_iter().flat_map(|stream| stream.viewers.values());
        viewers.filter_map(|viewer| members.member(viewer))
    }

    /// Who plays it at this address.
    #[must_use]
    pub fn viewer(&self, host: Ipv4Addr) -> Option<&'a Member> {
        self.members.member(self.stream?.viewers.get(&host)?)
    }

    /// The one with this connection, if it is of this stream.
    #[must_use]
    pub fn member(&self, connection: &Connection) -> Option<&'a Member> {
        let stream = self.stream?;
        let is_of_it =
            stream.broadcaster == Some(*connection) || stream.viewers.get(connection.client.ip()) == Some(connection);
        self.members.member(connection).filter(|_| is_of_it)
    }
}

impl<T> Default for Members<T> {
    fn default() -> Self {
        Self { members: HashMap::new(), streams: BTreeMap::new() }
    }
}

impl<T: std::fmt::Debug> Members<T> {
    /// Whether no other can be taken.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.members.len() >= MAX_MEMBERS
    }

    /// Who does in this one's stream what only one can: of broadcasters there is one, of viewers one at each address.
    #[must_use]
    pub fn in_place_of(&self, member: &Member) -> Option<Connection> {
        let stream = self.streams.get(&member.stream)?;
        match member.part {
            Part::Viewer => stream.viewers.get(&member.host()).copied(),
            Part::Broadcaster => stream.broadcaster,
        }
    }

    /// A host plays or publishes. Nobody is in its place.
    pub fn insert(&mut self, member: Member, with: T) {
        let stream = self.streams.entry(member.stream.clone()).or_default();
        match member.part {
            Part::Viewer => {
                stream.viewers.insert(member.host(), member.connection);
            }
            Part::Broadcaster => stream.broadcaster = Some(member.connection),
        }
        self.members.insert(member.connection, (member, with));
    }

    /// Takes out the member with that connection; `None`: there is none.
    pub fn remove(&mut self, connection: &Connection) -> Option<(Member, T)> {
        let (member, with) = self.members.remove(connection)?;
        if let Some(stream) = self.streams.get_mut(&member.stream) {
            stream.broadcaster.take_if(|present| present == connection);
            if stream.viewers.get(&member.host()) == Some(connection) {
                stream.viewers.remove(&member.host());
            }
            if stream.broadcaster.is_none() && stream.viewers.is_empty() {
                self.streams.remove(&member.stream);
            }
        }
        Some((member, with))
    }

    /// The member whose RTMP connection this is.
    #[must_use]
    pub fn get(&self, connection: &Connection) -> Option<&(Member, T)> {
        self.members.get(connection)
    }

    /// The same. Role, stream and connection are not to be changed.
    pub fn get_mut(&mut self, connection: &Connection) -> Option<&mut (Member, T)> {
        self.members.get_mut(connection)
    }

    /// All members, with what is noted of each.
    pub fn iter(&self) -> impl Iterator<Item = &(Member, T)> {
        self.members.values()
    }

    /// The same, as [`Members::get_mut`].
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut (Member, T)> {
        self.members.values_mut()
    }

    /// The members that play or publish that stream.
    #[must_use]
    pub fn audience(&self, stream: &StreamKey) -> Audience<'_> {
        Audience { stream: self.streams.get(stream), members: &self.members }
    }

    /// Whether nothing is kept of anyone.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.streams.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_audience_is_of_one_stream_and_of_who_is_there() {
        let member = |part, stream: &str, host: u8, port| {
            let client = std::net::SocketAddrV4::new([10, 0, 0, host].into(), port);
            let connection = Connection { client, server: "10.0.0.100:1935".parse().unwrap() };
            Member { part, stream: stream.parse().unwrap(), connection, dpid: Dpid(1), port: PortNo(host.into()) }
        };
        let here = [
            member(Part::Broadcaster, "live/a", 1, 5000),
            member(Part::Viewer, "live/a", 3, 5000),
            member(Part::Viewer, "live/a", 2, 5000),
        ];
        let elsewhere = member(Part::Viewer, "live/b", 2, 5001);
        let mut all = Members::default();
        for one in here.iter().chain([&elsewhere]) {
            all.insert(one.clone(), ());
        }
        let hosts = |all: &Members<()>| {
            let viewers = all.audience(&elsewhere.stream).viewers().chain(all.audience(&here[0].stream).viewers());
            viewers.map(|viewer| viewer.host().octets()[3]).collect::<Vec<_>>()
        };
        assert_eq!(hosts(&all), [2, 2, 3]);
        let audience = all.audience(&here[0].stream);
        assert_eq!(audience.broadcaster(), Some(&here[0]));
        for one in &here {
            assert_eq!(audience.member(&one.connection), Some(one));
        }
        assert_eq!(audience.member(&elsewhere.connection), None);
        all.remove(&here[2].connection).unwrap();
        assert_eq!(hosts(&all), [2, 3]);
        assert_eq!(all.audience(&here[0].stream).member(&here[2].connection), None);
    }
}

//! TCP connections to servers, whichever way a segment goes.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::SocketAddrV4;

use crate::frame::Tcp;
use crate::openflow::{FlowMatch, Ipv4Prefix};

/// A TCP connection, by its two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Connection {
    /// Address of who connected.
    pub client: SocketAddrV4,
    /// Address of the server that it connected to.
    pub server: SocketAddrV4,
}

/// Which way a segment goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From client to server.
    ToServer,
    /// From server to client.
    ToClient,
}

impl Connection {
    /// The connection to a server at `port` that a segment is part of, if it is.
    #[must_use]
    pub fn of(tcp: &Tcp, port: u16) -> Option<(Self, Direction)> {
        Self::between(tcp.src, tcp.dst, port)
    }

    /// The connection that a flow was for, if it was for one to a server at `port`.
    #[must_use]
    pub fn of_flow(matching: &FlowMatch, port: u16) -> Option<Self> {
        let end = |prefix: Option<Ipv4Prefix>, port: Option<u16>| Some(SocketAddrV4::new(prefix?.address(), port?));
        let (src, dst) = (end(matching.ip_src, matching.l4_src)?, end(matching.ip_dst, matching.l4_dst)?);
        Self::between(src, dst, port).map(|(connection, _)| connection)
    }

    /// The connection that a SYN begins, or, if it acknowledges one, answers.
    #[must_use]
    pub fn begun_by(tcp: &Tcp) -> Self {
        let (client, server) = if tcp.is_ack { (tcp.dst, tcp.src) } else { (tcp.src, tcp.dst) };
        Self { client, server }
    }

    /// Of a client that uses the server's port: the same if the other one were the client.
    #[must_use]
    pub fn other_way(&self) -> Option<Self> {
        (self.client.port() == self.server.port()).then_some(Self { client: self.server, server: self.client })
    }

    fn between(src: SocketAddrV4, dst: SocketAddrV4, port: u16) -> Option<(Self, Direction)> {
        let to_server = (Self { client: src, server: dst }, Direction::ToServer);
        let to_client = (Self { client: dst, server: src }, Direction::ToClient);
        match (src.port() == port, dst.port() == port) {
            (false, true) => Some(to_server),
            (true, false) => Some(to_client),
            // A client that happens to use the server's port. Who it is its SYN says; until that was seen, any rule will
            // do that is the same both ways.
            (true, true) => Some(if src < dst { to_server } else { to_client }),
            (false, false) => None,
        }
    }
}

/// A map that holds so much and no more: when it is full, the longest untouched entry makes way.
#[derive(Debug)]
pub struct Bounded<K, V> {
    entries: HashMap<K, (u64, V)>,
    limit: usize,
    clock: u64,
}

impl<K: Copy + Eq + Hash, V> Bounded<K, V> {
    /// An empty one.
    pub fn new(limit: usize) -> Self {
        Self { entries: HashMap::new(), limit, clock: 0 }
    }

    /// Puts an entry in; the oldest quarter makes way when there is no room, so that this costs little on average.
    /// Says what made way.
    pub fn insert(&mut self, key: K, value: V) -> Vec<(K, V)> {
        self.clock += 1;
        let mut gone = Vec::new();
        if self.entries.len() >= self.limit && !self.entries.contains_key(&key) {
            let mut touched: Vec<u64> = self.entries.values().map(|(touched, _)| *touched).collect();
            let (_, median, _) = touched.select_nth_unstable(self.limit / 4);
            let oldest = *median;
            let old = self.entries.extract_if(|_, (touched, _)| *touched <= oldest);
            gone.extend(old.map(|(key, (_, value))| (key, value)));
        }
        self.entries.insert(key, (self.clock, value));
        gone
    }

    /// The entry, which counts as touching it.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.clock += 1;
        let (touched, value) = self.entries.get_mut(key)?;
        *touched = self.clock;
        Some(value)
    }

    /// The entry, left as old as it is.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.entries.remove(key).map(|(_, value)| value)
    }

    /// Keeps only entries for which `keep` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        self.entries.retain(|key, (_, value)| keep(key, value));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn both_ways_are_one_connection() {
        let (a, b) = ("10.0.0.1:4000".parse().unwrap(), "10.0.0.2:1935".parse().unwrap());
        let expected = Connection { client: a, server: b };
        assert_eq!(Connection::between(a, b, 1935), Some((expected, Direction::ToServer)));
        assert_eq!(Connection::between(b, a, 1935), Some((expected, Direction::ToClient)));
        assert_eq!(Connection::between(b, a, 80), None);
        let c = "10.0.0.3:1935".parse().unwrap();
        assert_eq!(Connection::between(b, c, 1935).unwrap().0, Connection::between(c, b, 1935).unwrap().0);
    }

    #[test]
    fn the_longest_untouched_makes_way() {
        let mut map = Bounded::new(8);
        for key in 0..8 {
            map.insert(key, key);
        }
        for key in [0, 1, 2] {
            map.get_mut(&key);
        }
        let mut gone = map.insert(8, 8);
        gone.sort_unstable();
        assert_eq!(gone, [(3, 3), (4, 4), (5, 5)]);
        assert!(map.entries.len() <= 8);
        assert_eq!((map.get(&0), map.get(&3), map.get(&8)), (Some(&0), None, Some(&8)));
        for key in 0..1000 {
            map.insert(key, key);
            assert!(map.entries.len() <= 8 && map.get(&key).is_some());
        }
    }
}

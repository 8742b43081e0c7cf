//! `multicast`: the broadcaster sends each frame once, to a group, and the switches copy it to whoever plays the
//! stream.
//!
//! What is left to do here: which stream has which group, and who is in it. No peer serves anybody, so that no uplink
//! but the broadcaster's matters, and that only once.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use livectl_wire::{StreamKey, datagram};

use super::Entry;
use super::introduce::{Audience, Bond, Change, GROUPS, Introduce, Member, Pair, Part, Policy};
use crate::network::Network;

/// What is known of it before it is made.
pub const ENTRY: Entry = Entry {
    name: "multicast",
    about: "The same, and the switches copy what broadcasters send to groups, to whoever plays it",
    make: |settings, ports, network| {
        Box::new(Introduce::new(settings, ports, Box::new(Multicast::new(network))).with_groups())
    },
};

/// Viewers have the stream from a group.
#[derive(Debug, Default)]
pub struct Multicast {
    network: Network,
    /// Of streams whose broadcaster is there.
    groups: BTreeMap<StreamKey, SocketAddrV4>,
}

impl Multicast {
    /// Nobody is there yet.
    #[must_use]
    pub fn new(network: Network) -> Self {
        Self { network, groups: BTreeMap::new() }
    }

    /// Why the switches cannot copy to a viewer what the broadcaster sends.
    fn why_not(&self, broadcaster: &Member, viewer: &Member) -> Option<&'static str> {
        if viewer.host() == broadcaster.host() {
            return Some("same_host");
        }
        self.network.are_apart(broadcaster.host(), viewer.host()).then_some("no_way")
    }

    /// Whether they cannot copy it to anyone.
    fn is_alone(&self, broadcaster: &Member, audience: Audience<'_>) -> bool {
        audience.viewers().all(|viewer| self.why_not(broadcaster, viewer).is_some())
    }

    /// The group of a stream: by its name, or if another stream has that one, the next. There are more groups than
    /// streams that can be.
    fn group(&mut self, stream: &StreamKey) -> SocketAddrV4 {
        if let Some(group) = self.groups.get(stream) {
            return *group;
        }
        let all = 1u32 << (32 - GROUPS.bits());
        let group = |number: u32| {
            let address = Ipv4Addr::from(u32::from(GROUPS.address()) | number & (all - 1));
            SocketAddrV4::new(address, datagram::PORT)
        };
        let mut number = datagram::stream_number(stream);
        while self.groups.values().any(|taken| *taken == group(number)) {
            number = number.wrapping_add(1);
        }
        self.groups.insert(stream.clone(), group(number));
        group(number)
    }

    fn pair(&mut self, broadcaster: &Member, viewer: &Member) -> Pair {
        let bond = Bond::Copied(self.group(&broadcaster.stream));
        Pair { parent: broadcaster.connection, child: viewer.connection, bond }
    }
}

impl Policy for Multicast {
    fn arrive(&mut self, came: &Member, audience: Audience<'_>) -> Change {
        let Some(broadcaster) = audience.broadcaster() else { return Change::default() };
        let new = audience.viewers().filter(|viewer| {
            let is_new = came.part == Part::Broadcaster || viewer.connection == came.connection;
            is_new && self.why_not(broadcaster, viewer).is_none()
        });
        let new: Vec<&Member> = new.collect();
        Change {
            introduce: new.into_iter().map(|viewer| self.pair(broadcaster, viewer)).collect(),
            ..Change::default()
        }
    }

    fn leave(&mut self, gone: &Member, audience: Audience<'_>) -> Change {
        let Some(broadcaster) = audience.broadcaster() else {
            self.groups.remove(&gone.stream);
            return Change::default();
        };
        // Nobody is there for whom it would send.
        let was_served = gone.part == Part::Viewer && self.why_not(broadcaster, gone).is_none();
        let to_cdn = (was_served && self.is_alone(broadcaster, audience)).then_some(broadcaster.connection);
        Change { to_cdn: to_cdn.into_iter().collect(), ..Change::default() }
    }

    /// It is told of its group again.
    fn lost(&mut self, _now: Duration, _viewer: &Member, _peer: Ipv4Addr) -> Option<Change> {
        Some(Change::default())
    }

    fn alone(&self, member: &Member, audience: Audience<'_>) -> Option<&'static str> {
        let Some(broadcaster) = audience.broadcaster() else { return Some("no_broadcaster") };
        match member.part {
            Part::Viewer => self.why_not(broadcaster, member),
            Part::Broadcaster => self.is_alone(broadcaster, audience).then_some("no_viewer"),
        }
    }
}

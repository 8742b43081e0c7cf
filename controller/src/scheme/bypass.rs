//! `bypass`: the broadcaster serves the viewers on its switch itself, past the CDN.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use livectl_wire::StreamKey;

use super::Entry;
use super::introduce::{Audience, Change, Connection, Introduce, Member, Pair, Part, Policy};
use crate::network::Network;

/// What is known of it before it is made.
pub const ENTRY: Entry = Entry {
    name: "bypass",
    about: "The same, and a viewer and the broadcaster on one switch are introduced to each other",
    make: |settings, ports, network| Box::new(Introduce::new(settings, ports, Box::new(Bypass::new(network)))),
};

/// A viewer has the stream from the broadcaster if both are on one switch, and the broadcaster's uplink, if that is
/// known, carries its copy.
#[derive(Debug, Default)]
pub struct Bypass {
    network: Network,
    /// Streams whose broadcaster is there.
    streams: BTreeMap<StreamKey, Served>,
}

/// The viewers of a broadcaster.
#[derive(Debug)]
struct Served {
    broadcaster: Member,
    viewers: BTreeSet<Connection>,
    /// Those for whom nothing is left of the uplink, by when they came.
    waiting: BTreeMap<u64, Member>,
    came: u64,
}

impl Served {
    fn wait(&mut self, viewer: Member) {
        self.came += 1;
        self.waiting.insert(self.came, viewer);
    }
}

impl Bypass {
    /// Nobody is there yet.
    #[must_use]
    pub fn new(network: Network) -> Self {
        Self { network, streams: BTreeMap::new() }
    }

    /// How many viewers of a stream its broadcaster's uplink carries, beside its copies for the CDN and its other
    /// streams' viewers. One at least: where the uplink is too narrow for both, the broadcaster's agent has the CDN's
    /// copy wait.
    fn copies(&self, stream: &StreamKey, host: Ipv4Addr) -> usize {
        if !self.network.is_known() {
            return usize::MAX;
        }
        let of_host = self.streams.iter().filter(|(_, served)| served.broadcaster.host() == host);
        let taken = of_host.map(|(other, served)| {
            let viewers = if other == stream { 0 } else { served.viewers.len() };
            self.network.copy_for_cdn(host, other) + viewers as f64 * self.network.copy(host, other)
        });
        self.network.copies(host, stream, taken.sum()).max(1) as usize
    }

    /// Introduces those who wait to a broadcaster, in the order in which they came, in all streams that it publishes.
    fn serve(&mut self, host: Ipv4Addr) -> Change {
        let mut change = Change::default();
        let streams: Vec<StreamKey> = self.streams.keys().cloned().collect();
        for stream in streams {
            let copies = self.copies(&stream, host);
            let served = self.streams.get_mut(&stream).filter(|served| served.broadcaster.host() == host);
            let Some(served) = served else { continue };
            while served.viewers.len() < copies
                && let Some((_, next)) = served.waiting.pop_first()
            {
                served.viewers.insert(next.connection);
                change.introduce.push(Pair::of(&served.broadcaster, &next));
            }
        }
        change
    }
}

impl Policy for Bypass {
    fn arrive(&mut self, came: &Member, audience: Audience<'_>) -> Change {
        match came.part {
            Part::Viewer => {
                let Some(served) = self.streams.get_mut(&came.stream) else { return Change::default() };
                if apart(&served.broadcaster, came).is_some() {
                    return Change::default();
                }
                served.wait(came.clone());
            }
            Part::Broadcaster => {
                let mut served =
                    Served { broadcaster: came.clone(), viewers: BTreeSet::new(), waiting: BTreeMap::new(), came: 0 };
                let viewers = audience.viewers().filter(|viewer| apart(came, viewer).is_none());
                viewers.for_each(|viewer| served.wait(viewer.clone()));
                self.streams.insert(came.stream.clone(), served);
            }
        }
        let broadcaster = self.streams.get(&came.stream).map(|served| served.broadcaster.host());
        broadcaster.map(|broadcaster| self.serve(broadcaster)).unwrap_or_default()
    }

    fn leave(&mut self, gone: &Member, _audience: Audience<'_>) -> Change {
        let Some(served) = self.streams.get_mut(&gone.stream) else { return Change::default() };
        let broadcaster = served.broadcaster.host();
        if served.broadcaster.connection == gone.connection {
            self.streams.remove(&gone.stream);
        } else if !served.viewers.remove(&gone.connection) {
            served.waiting.retain(|_, viewer| viewer.connection != gone.connection);
        }
        self.serve(broadcaster)
    }

    fn alone(&self, member: &Member, audience: Audience<'_>) -> Option<&'static str> {
        match member.part {
            Part::Viewer => match audience.broadcaster() {
                None => Some("no_broadcaster"),
                Some(other) => apart(other, member).or_else(|| {
                    let served = self.streams.get(&member.stream)?;
                    (!served.viewers.contains(&member.connection)).then_some("no_uplink_left")
                }),
            },
            Part::Broadcaster => {
                let Some(first) = audience.viewers().next() else { return Some("no_viewer") };
                let served = self.streams.get(&member.stream)?;
                match (served.viewers.is_empty(), served.waiting.is_empty()) {
                    (false, _) => None,
                    (true, false) => Some("no_uplink_left"),
                    (true, true) => apart(first, member),
                }
            }
        }
    }
}

/// What keeps two members from being peers.
fn apart(one: &Member, other: &Member) -> Option<&'static str> {
    match () {
        () if one.dpid != other.dpid => Some("other_switch"),
        () if one.host() == other.host() => Some("same_host"),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::introduce::{Connection, Members};
    use super::super::{Bypass, Dpid};
    use super::*;
    use crate::openflow::PortNo;
    use Part::{Broadcaster, Viewer};

    fn member(part: Part, host: u8, port: u16, dpid: u64) -> Member {
        let client = std::net::SocketAddrV4::new([10, 0, 0, host].into(), port);
        let connection = Connection { client, server: "10.0.0.100:1935".parse().unwrap() };
        Member { part, stream: "live/hb".parse().unwrap(), connection, dpid: Dpid(dpid), port: PortNo(host.into()) }
    }

    /// They come in this order; what the last one leads to, and why it is alone.
    fn after(members: &[Member]) -> (Vec<Pair>, Option<&'static str>) {
        let (mut all, mut bypass) = (Members::default(), Bypass::default());
        let mut introduce = Vec::new();
        for member in members {
            all.insert(member.clone(), ());
            let change = bypass.arrive(member, all.audience(&member.stream));
            assert_eq!(change.void, []);
            introduce = change.introduce;
        }
        let last = members.last().unwrap();
        (introduce, bypass.alone(last, all.audience(&last.stream)))
    }

    #[test]
    fn neighbours_are_paired_whoever_comes_last() {
        let (broadcaster, near, far) =
            (member(Broadcaster, 1, 1, 1), member(Viewer, 2, 1, 1), member(Viewer, 3, 1, 2));
        let pair = Pair::of(&broadcaster, &near);
        assert_eq!(after(&[far.clone(), broadcaster.clone(), near.clone()]), (vec![pair], None));
        assert_eq!(after(&[far.clone(), near.clone(), broadcaster.clone()]).0, [pair]);
        let another = member(Viewer, 4, 1, 1);
        let both = vec![pair, Pair::of(&broadcaster, &another)];
        assert_eq!(after(&[another, near, broadcaster]), (both, None));
    }

    /// Uplinks of 2 Mbit/s at the broadcasters, streams of 500 kbit/s: two copies beside the one for the CDN.
    fn narrow() -> Bypass {
        let map = r#"{
            "hosts": { "10.0.0.1": { "switch": "s1", "delay_us": 2000, "up_bit_per_s": 2000000 } },
            "streams": { "live/hb": { "bit_per_s": 500000, "frames_per_s": 30 }, "live/two": { "bit_per_s": 400000, "frames_per_s": 30 } }
        }"#;
        Bypass::new(Network::of(&serde_json::from_str(map).unwrap()).unwrap())
    }

    #[test]
    fn no_more_than_the_uplink_carries_and_the_next_when_one_leaves() {
        let (mut all, mut bypass) = (Members::default(), narrow());
        let broadcaster = member(Broadcaster, 1, 1, 1);
        let viewers: Vec<Member> = (2..=6).map(|host| member(Viewer, host, 1, 1)).collect();
        let mut introduced = Vec::new();
        for one in viewers[..2].iter().chain([&broadcaster]).chain(&viewers[2..]) {
            all.insert(one.clone(), ());
            introduced.extend(bypass.arrive(one, all.audience(&one.stream)).introduce);
        }
        assert_eq!(introduced, [Pair::of(&broadcaster, &viewers[0]), Pair::of(&broadcaster, &viewers[1])]);
        let audience = all.audience(&broadcaster.stream);
        let why: Vec<_> = viewers.iter().map(|viewer| bypass.alone(viewer, audience)).collect();
        assert_eq!(why, [None, None, Some("no_uplink_left"), Some("no_uplink_left"), Some("no_uplink_left")]);
        // One who waits leaves, then one who is served.
        for (gone, next) in [(3, None), (0, Some(2)), (1, Some(4)), (2, None)] {
            all.remove(&viewers[gone].connection).unwrap();
            let change = bypass.leave(&viewers[gone], all.audience(&broadcaster.stream));
            let next = next.map(|next: usize| Pair::of(&broadcaster, &viewers[next]));
            assert_eq!(change.introduce, next.into_iter().collect::<Vec<_>>());
        }
        // Another broadcaster serves those who are there.
        all.remove(&broadcaster.connection).unwrap();
        assert_eq!(bypass.leave(&broadcaster, all.audience(&broadcaster.stream)), Change::default());
        let again = member(Broadcaster, 1, 2, 1);
        all.insert(again.clone(), ());
        let change = bypass.arrive(&again, all.audience(&again.stream));
        assert_eq!(change.introduce, [Pair::of(&again, &viewers[4])]);
    }

    #[test]
    fn two_streams_of_a_host_share_its_uplink() {
        let (mut all, mut bypass) = (Members::default(), narrow());
        let of = |stream: &str, one: Member| Member { stream: stream.parse().unwrap(), ..one };
        let broadcasters = [member(Broadcaster, 1, 1, 1), of("live/two", member(Broadcaster, 1, 2, 1))];
        let mut pairs = 0;
        let viewers: Vec<Member> = (2..=4)
            .flat_map(|host| [member(Viewer, host, 1, 1), of("live/two", member(Viewer, host, 2, 1))])
            .collect();
        for one in broadcasters.iter().chain(&viewers) {
            all.insert(one.clone(), ());
            pairs += bypass.arrive(one, all.audience(&one.stream)).introduce.len();
        }
        // 1800 kbit/s less 530 and 424 for the CDN are 846: not even one of each fits, and more of none.
        assert_eq!(pairs, 2);
        // It leaves; the next of the same stream gets its place.
        all.remove(&viewers[0].connection).unwrap();
        let change = bypass.leave(&viewers[0], all.audience(&broadcasters[0].stream));
        assert_eq!(change.introduce, [Pair::of(&broadcasters[0], &viewers[2])]);
    }

    #[test]
    fn why_somebody_is_alone() {
        let (here, there) = (member(Broadcaster, 1, 1, 1), member(Viewer, 2, 1, 2));
        assert_eq!(after(std::slice::from_ref(&there)), (vec![], Some("no_broadcaster")));
        assert_eq!(after(std::slice::from_ref(&here)), (vec![], Some("no_viewer")));
        assert_eq!(after(&[there.clone(), here.clone()]), (vec![], Some("other_switch")));
        assert_eq!(after(&[here.clone(), there]), (vec![], Some("other_switch")));
        assert_eq!(after(&[here, member(Viewer, 1, 2, 1)]), (vec![], Some("same_host")));
    }
}

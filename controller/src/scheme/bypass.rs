//! `bypass`: the broadcaster serves the viewers on its switch itself, past the CDN.

use super::Entry;
use super::introduce::{Audience, Change, Introduce, Member, Pair, Part, Policy};

/// What is known of it before it is made.
pub const ENTRY: Entry = Entry {
    name: "bypass",
    about: "The same, and a viewer and the broadcaster on one switch are introduced to each other",
    make: |settings, ports| Box::new(Introduce::new(settings, ports, Box::new(Bypass))),
};

/// A viewer has the stream from the broadcaster if both are on one switch.
#[derive(Debug, Clone, Copy)]
pub struct Bypass;

impl Policy for Bypass {
    fn arrive(&mut self, came: &Member, audience: Audience<'_>) -> Change {
        let introduce = match came.part {
            Part::Viewer => {
                let broadcaster = audience.broadcaster().filter(|broadcaster| apart(broadcaster, came).is_none());
                broadcaster.map(|broadcaster| Pair::of(broadcaster, came)).into_iter().collect()
            }
            Part::Broadcaster => {
                let viewers = audience.viewers().filter(|viewer| apart(came, viewer).is_none());
                viewers.map(|viewer| Pair::of(came, viewer)).collect()
            }
        };
        Change { introduce, ..Change::default() }
    }

    fn alone(&self, member: &Member, audience: Audience<'_>) -> Option<&'static str> {
        match member.part {
            Part::Viewer => audience.broadcaster().map_or(Some("no_broadcaster"), |other| apart(other, member)),
            Part::Broadcaster => {
                audience.viewers().next().map_or(Some("no_viewer"), |other| apart(other, member))
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
        let mut all = Members::default();
        let mut introduce = Vec::new();
        for member in members {
            all.insert(member.clone(), ());
            let change = Bypass.arrive(member, all.audience(&member.stream));
            assert_eq!(change.void, []);
            introduce = change.introduce;
        }
        let last = members.last().unwrap();
        (introduce, Bypass.alone(last, all.audience(&last.stream)))
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

//! `bypass`: the broadcaster serves the viewers on its switch itself, past the CDN.

use livectl_wire::heartbeat::PeerRole;

use super::Entry;
use super::introduce::{Audience, Change, Introduce, Member, Pair, Policy};

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
        let introduce = match came.role {
            PeerRole::Viewer => {
                let broadcaster = audience.broadcaster().filter(|broadcaster| apart(broadcaster, came).is_none());
                broadcaster.map(|broadcaster| Pair::of(broadcaster, came)).into_iter().collect()
            }
            PeerRole::Broadcaster => {
                let viewers = audience.viewers().filter(|viewer| apart(came, viewer).is_none());
                viewers.map(|viewer| Pair::of(came, viewer)).collect()
            }
        };
        Change { introduce, ..Change::default() }
    }

    fn alone(&self, member: &Member, audience: Audience<'_>) -> Option<&'static str> {
        match member.role {
            PeerRole::Viewer => audience.broadcaster().map_or(Some("no_broadcaster"), |other| apart(other, member)),
            PeerRole::Broadcaster => {
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

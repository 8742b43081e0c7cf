//! What schemes that introduce members of a stream to each other have in common. A [`Policy`] says who is whose
//! peer.
//!
//! A learning switch that leaves two kinds of TCP connections without flows, so that their packets come up:
//!
//! * **RTMP**, until it is known what a connection is for (`watch`). Then exact flows for both directions take over before the packet
//!   that told it is sent on, and the video never comes here.
//! * **Notifications**, always: one heartbeat a second for each agent, ten while it hastens. Those that tell nothing are rewritten in passing
//!   (`rewrite`) to tell an agent its peers, until the agent answers that it acts on it (`answers`).
//!
//! What is learnt from them becomes members (`members`), and it is known whether these are still there (`presence`);
//! the policy pairs them (`policy`, `introductions`), and each pair is two errands to agents (`errands`). An errand
//! exists as soon as the packet was seen by which the second of two became a member; nothing here waits for a clock.
//!
//! # Edge and transit
//! On its way a packet passes several switches, and each would send it up. Only the one that the client is attached
//! to matters: its *edge*. There is no protocol to tell it from the others, nor is one needed. A packet that has no
//! flow at the edge is held there until the controller has seen it; so of all switches the edge is always the first
//! to show it. Hence:
//!
//! * The edge of an RTMP connection is the switch that shows its SYN first, and its port there is where the client is.
//! * The edge of a notification connection is the switch that shows what the client sends first. Any other switch that shows something
//!   of the client that the edge has not shown lies before it, and is the edge from then on: so a connection that is met
//!   midway finds its edge, and one whose host moves to another switch finds the new one.
//!
//! All other switches on the way are *transit*. They get exact flows without a hard time-out at once, each for its
//! own hop: this cannot hide anything from the edge, whose packets have no flow there, in either direction.
//!
//! # Groups
//! A policy may have the switches copy what a broadcaster sends to a group (`copying`), in place of a parent that
//! sends copies.
//!
//! # Met midway
//! A connection whose SYN was not seen (the controller was restarted) cannot be understood; it gets its flows at
//! once, and of an RTMP connection it is said that it is not followed.

mod answers;
mod connection;
mod copying;
mod errands;
mod introductions;
mod members;
mod notification;
mod passing;
mod policy;
mod presence;
mod rewrite;
mod rtmp;
mod watch;

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::learning::{self, Learning, Route, Settings};
use super::{Dpid, Event, Outcome, Scheme};
use crate::frame::{Frame, Hidden, Tcp};
use crate::news::News;
use crate::openflow::PacketIn;

pub use connection::Connection;
pub use copying::GROUPS;
#[cfg(test)]
pub use members::Members;
pub use members::{Audience, Member, Part};
pub use policy::{Bond, Branch, Change, Pair, Policy};

use connection::Bounded;
use copying::Copying;
use introductions::Introductions;
use notification::Notified;
use passing::{Passing, Place};
use presence::Presence;
use rtmp::Watched;

/// RTMP connections that are watched at once. With what each may keep this is at most about 170 MiB.
const MAX_WATCHED: usize = 1024;
/// RTMP connections that are known to have been met.
const MAX_MET: usize = 16_384;
/// Notification connections that are followed at once.
const MAX_NOTIFIED: usize = 16_384;
/// Members that fell silent, and are known again when their connection goes on.
const MAX_SILENT: usize = 4096;
/// Servers whose switch and port are remembered.
const MAX_SERVERS: usize = 1024;

/// A watched connection that is silent for so long is forgotten. A player may wait long for its stream to begin.
const WATCH_SILENCE: Duration = Duration::from_secs(3600);
/// How long after a connection's end packets of it are expected.
const LAST_PACKETS: Duration = Duration::from_secs(10);
/// A notification connection that is silent for so long is forgotten.
const NOTIFY_SILENCE: Duration = Duration::from_secs(300);

/// The TCP ports by which connections are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// Port of RTMP servers.
    pub rtmp: u16,
    /// Port of notification services.
    pub notify: u16,
    /// Port on which agents serve peers.
    pub peer: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self { rtmp: 1935, notify: 42857, peer: 2000 }
    }
}

/// A scheme in which the controller introduces members to each other, as its policy says.
#[derive(Debug)]
pub struct Introduce {
    ports: Ports,
    learning: Learning,
    watched: Bounded<Connection, Watched>,
    /// RTMP connections whose beginning was seen, or of which it was said that it was not.
    met: Bounded<Connection, ()>,
    /// Switches that sent up what cannot be read, and why; `None`: only a part came.
    unreadable: HashSet<(Dpid, Option<Hidden>)>,
    notified: Bounded<Connection, Notified>,
    silent: Bounded<Connection, (Member, Presence)>,
    servers: Bounded<Ipv4Addr, Place>,
    introductions: Introductions,
    /// Hosts that counted as gone and have connected to the notification service again, with what of theirs has been
    /// asked whether it is still there.
    doubted: Bounded<Ipv4Addr, Vec<Connection>>,
    /// What switches copy to groups; `None`: the scheme has no groups.
    copying: Option<Copying>,
}

impl Introduce {
    /// Knows nothing yet; `policy` says who is whose peer.
    #[must_use]
    pub fn new(settings: Settings, ports: Ports, policy: Box<dyn Policy>) -> Self {
        Self {
            ports,
            learning: Learning::new(settings),
            watched: Bounded::new(MAX_WATCHED),
            met: Bounded::new(MAX_MET),
            unreadable: HashSet::new(),
            notified: Bounded::new(MAX_NOTIFIED),
            silent: Bounded::new(MAX_SILENT),
            servers: Bounded::new(MAX_SERVERS),
            introductions: Introductions::new(ports.peer, policy),
            doubted: Bounded::new(MAX_NOTIFIED),
            copying: None,
        }
    }

    /// The same, where switches copy what is sent to groups.
    #[must_use]
    pub fn with_groups(self) -> Self {
        Self { copying: Some(Copying::default()), ..self }
    }

    fn packet<'a>(&mut self, now: Duration, at: Dpid, packet: &PacketIn<'a>, out: &mut Outcome<'a>) {
        let Some(frame) = Frame::parse(packet.data) else {
            return self.learning.packet(now, at, packet, out);
        };
        if let Some(copying) = &mut self.copying {
            copying.saw(at, &frame, packet.in_port);
            if copying::is_of_groups(&frame) {
                // Its switch has no flow for it yet.
                self.learning.learn_and_route(now, at, &frame, packet.in_port, out);
                return learning::send(at, packet, Route::Drop, out);
            }
        }
        let tcp = frame.tcp().filter(|_| packet.is_whole() && !frame.is_link_local());
        let Some(tcp) = tcp.filter(|tcp| self.concerns(tcp)) else {
            if frame.may_hide_tcp() || !packet.is_whole() {
                self.unreadable(at, packet, &frame, out);
            }
            return self.learning.frame(now, at, packet, &frame, out);
        };
        let route = self.learning.learn_and_route(now, at, &frame, packet.in_port, out);
        for station in [frame.src, frame.dst] {
            self.learning.lasts(at, station);
        }
        let passing = Passing { now, at, packet, frame: &frame, tcp: &tcp, route };
        if let Some((connection, direction)) = self.rtmp_connection(&tcp) {
            self.rtmp(&passing, connection, direction, out);
        } else if let Some((connection, direction)) = Connection::of(&tcp, self.ports.notify) {
            self.notification(&passing, connection, direction, out);
        } else {
            passing.send_with_lasting_flow(None, out);
        }
    }

    /// Has the switches copy what they are to copy now.
    fn copy(&mut self, now: Duration, out: &mut Outcome<'_>) {
        let Self { copying: Some(copying), introductions, learning, .. } = self else { return };
        if copying.is_due(introductions.revision()) {
            let copied = introductions.copied();
            copying.arrange(introductions.revision(), &copied, |at, station| learning.port(now, at, station), out);
        }
    }

    /// Tells the outside who has the stream from whom, as far as that is new.
    fn tell_branches(&mut self, out: &mut Outcome<'_>) {
        for Branch { stream, host, parent, standby, why } in self.introductions.branches() {
            out.tell(News::Tree { stream: stream.to_string(), host, parent, standby, why });
        }
    }

    /// Whether a segment is of a connection that is treated in another way than all.
    fn concerns(&self, tcp: &Tcp) -> bool {
        let is_at = |port: u16| tcp.src.port() == port || tcp.dst.port() == port;
        is_at(self.ports.rtmp)
            || is_at(self.ports.notify)
            || (is_at(self.ports.peer) && self.introductions.are_introduced(*tcp.src.ip(), *tcp.dst.ip()))
    }
}

impl Scheme for Introduce {
    fn on_event<'a>(&mut self, now: Duration, at: Dpid, event: Event<'a>, out: &mut Outcome<'a>) {
        match event {
            Event::SwitchUp => {
                self.learning.switch_up(at);
                self.flows_gone(now, at);
                if let Some(copying) = &mut self.copying {
                    copying.switch_up(at, out);
                }
            }
            Event::SwitchDown => {
                self.learning.switch_down(at);
                self.flows_gone(now, at);
                self.unreadable.retain(|(dpid, _)| *dpid != at);
                if let Some(copying) = &mut self.copying {
                    copying.switch_down(at);
                }
            }
            Event::PacketIn(packet) => self.packet(now, at, &packet, out),
            Event::PortStatus(status) => {
                self.learning.port_status(at, &status, out);
                if let Some(copying) = &mut self.copying {
                    copying.port_status(at, &status);
                }
            }
            Event::FlowRemoved(removed) => self.flow_removed(now, at, &removed, out),
        }
        self.copy(now, out);
    }

    fn expect(&mut self, at: Dpid, bytes: usize) {
        self.learning.expect(at, bytes);
    }

    fn foresee(&self, at: Dpid, packet: &PacketIn<'_>) {
        self.learning.foresee(at, packet);
    }

    fn on_tick(&mut self, now: Duration, out: &mut Outcome<'_>) {
        self.learning.tick(now);
        self.forget_watched(now, out);
        self.notified.retain(|_, notified| now < notified.last + NOTIFY_SILENCE);
        let forgotten: Vec<Connection> =
            self.introductions.announced().filter(|one| self.notified.get(one).is_none()).collect();
        for connection in forgotten {
            self.announced_no_more(now, &connection, out);
        }
        self.look_for_members(now, out);
        self.introductions.tick(now);
        if let Some(copying) = &mut self.copying {
            copying.tick();
        }
        self.copy(now, out);
        self.tell_branches(out);
        for (member, why) in self.introductions.alone(now) {
            let (host, role, stream) = (member.host(), member.part.as_str(), member.stream.to_string());
            out.tell(News::NotIntroduced { host, role, stream, why });
        }
    }
}

#[cfg(test)]
mod tests;

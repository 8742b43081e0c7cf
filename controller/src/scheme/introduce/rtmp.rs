//! RTMP connections, from the SYN to the end of the stream.
//!
//! | an RTMP connection is | its packets at the edge | until |
//! |---|---|---|
//! | *watched* | come up, and pass without a flow | the server said yes: it is a *member*'s, or nothing is to be learnt: no longer known |
//! | *over*: it ended while it was watched | the same | 10 s later it is forgotten |
//! | a *member*'s | have flows, or come up while it is quiet (`presence`) | it does not answer: *silent*; its end is seen: no longer known |
//! | *silent* | come up, and get flows: a member's again | 4096 others fell silent after it |
//! | not known, or met midway | get flows | a SYN: *watched* |
//!
//! Of each connection that a client of a server may have and that is not followed, it is said once: `not_followed`.
//!
//! A member is told of its peers, a silent one is not. The end of a connection that has flows is not seen: neither a
//! FIN nor an RST comes up.
//!
//! A member is known when the server says yes, not when the client asks: a server may refuse, and a peer must not
//! serve whom it refused. Nothing is lost by that. Where a play waits for a publish the server either says yes at
//! once (nginx-rtmp does), so that both are known when the publish is accepted, or says it to both in the same
//! moment.

use std::borrow::Cow;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::connection::{Connection, Direction};
use super::members::{Member, Part};
use super::notification::both_ways;
use super::passing::{Passing, Place};
use super::presence::{FIRST, Presence, Stations, Step, Treatment};
use super::watch::{self, Finding, Watch};
use super::{Introduce, LAST_PACKETS, MAX_WATCHED, WATCH_SILENCE};
use crate::frame::{Frame, Hidden, Tcp};
use crate::news::{self, News};
use crate::openflow::{FlowMod, FlowRemoved, Message, PacketIn, PacketOut, PortNo, Removal};
use crate::scheme::{Dpid, Outcome};

/// The flows of a member at its edge: their end is of interest.
const MEMBER_COOKIE: u64 = 2;

/// An RTMP connection whose purpose is not known yet.
#[derive(Debug)]
pub struct Watched {
    watch: Watch,
    edge: Place,
    /// Where the server's first packet was shown first.
    server: Option<Place>,
    /// That came up at the edge.
    packets: u64,
    /// It has ended. It is kept for a while, so that its last acknowledgements get no flow that would hide the next
    /// connection with the same ports.
    pub over: bool,
    /// When something of it came up at the edge, the last time.
    pub last: Duration,
}

impl Introduce {
    /// A segment of a connection to an RTMP server.
    pub fn rtmp<'a>(
        &mut self,
        passing: &Passing<'a, '_>,
        connection: Connection,
        direction: Direction,
        out: &mut Outcome<'a>,
    ) {
        if passing.tcp.syn && !passing.tcp.is_ack && direction == Direction::ToServer {
            self.begin(passing, connection, out);
        }
        let Some(watched) = self.watched.get_mut(&connection) else {
            return self.rtmp_unwatched(passing, connection, direction, out);
        };
        if direction == Direction::ToClient {
            watched.server.get_or_insert(passing.place());
        }
        if watched.edge.dpid != passing.at {
            return passing.send_with_lasting_flow(None, out);
        }
        watched.packets += 1;
        if watched.over {
            return passing.send(out);
        }
        watched.last = passing.now;
        if passing.tcp.rst {
            watched.over = watched.watch.is_reset_by(direction, &passing.segment());
            return passing.send(out);
        }
        let finding = match watched.watch.push(direction, &passing.segment()) {
            Finding::Open if passing.tcp.is_ack && watched.watch.has_missed(direction, passing.tcp.ack) => {
                Finding::Nothing(watch::UNSEEN.to_owned())
            }
            finding => finding,
        };
        match finding {
            Finding::Open => {
                watched.over = watched.watch.is_over();
                passing.send(out);
            }
            Finding::Nothing(why) => {
                tracing::info!("RTMP {} to {}: {why}", connection.client, connection.server);
                if self.watched.remove(&connection).is_some_and(|watched| watched.watch.is_rtmp()) {
                    not_followed(&connection, why, out);
                }
                passing.send_after_both_flows(None, out);
            }
            Finding::Role(part, stream) => {
                if let Some(Watched { edge: Place { dpid, port }, server, packets, .. }) =
                    self.watched.remove(&connection)
                {
                    self.server(*connection.server.ip(), server, out);
                    let member = Member { part, stream, connection, dpid, port };
                    let presence = Presence::new(Stations::of(passing.frame, direction));
                    self.arrive(passing.now, member, presence, packets, out);
                }
                passing.send_after_both_flows(Some(MEMBER_COOKIE), out);
            }
        }
    }

    /// A client's SYN: a new connection, unless it is the one that is watched already.
    fn begin(&mut self, passing: &Passing<'_, '_>, connection: Connection, out: &mut Outcome<'_>) {
        if let Some(watched) = self.watched.get(&connection)
            && !watched.over
            && !watched.watch.is_restarted_by(&passing.segment())
        {
            return;
        }
        for earlier in [Some(connection), connection.other_way()].into_iter().flatten() {
            self.leave(passing.now, &earlier, "closed", out);
            self.silent.remove(&earlier);
            self.watched.remove(&earlier);
            self.met.remove(&earlier);
        }
        // Those of an earlier connection with the same ports would hide this one.
        for matching in both_ways(&connection) {
            out.send(passing.at, Message::FlowMod(FlowMod::delete(matching)));
        }
        let watched = Watched {
            watch: Watch::new(),
            edge: passing.place(),
            server: None,
            packets: 0,
            over: false,
            last: passing.now,
        };
        self.met.insert(connection, ());
        for (connection, watched) in self.watched.insert(connection, watched) {
            if watched.over || !watched.watch.is_rtmp() {
            } else if watched.watch.has_begun() {
                not_followed(&connection, format!("more than {MAX_WATCHED} connections were watched at once"), out);
            } else {
                // Who says something after all is met midway.
                self.met.remove(&connection);
            }
        }
    }

    /// The RTMP connection that a segment is part of. Where the client happens to use the server's port too, its SYN
    /// says who it is.
    pub fn rtmp_connection(&self, tcp: &Tcp) -> Option<(Connection, Direction)> {
        let (connection, direction) = Connection::of(tcp, self.ports.rtmp)?;
        let Some(other) = connection.other_way() else { return Some((connection, direction)) };
        let connection = if tcp.syn {
            Connection::begun_by(tcp)
        } else {
            [connection, other].into_iter().find(|one| self.met.get(one).is_some()).unwrap_or(connection)
        };
        Some((connection, if connection.client == tcp.src { Direction::ToServer } else { Direction::ToClient }))
    }

    /// Says, once, that a connection cannot be followed whose SYN was not seen.
    fn meet_midway(&mut self, connection: Connection, out: &mut Outcome<'_>) {
        if self.met.get(&connection).is_none() {
            self.met.insert(connection, ());
            not_followed(&connection, "met midway: its beginning was not seen".to_owned(), out);
        }
    }

    /// Forgets connections of which nothing has come for long.
    pub fn forget_watched(&mut self, now: Duration, out: &mut Outcome<'_>) {
        let met = &mut self.met;
        self.watched.retain(|connection, Watched { watch, over, last, .. }| {
            let has_end = *over || watch.has_end();
            let keep = now < *last + if has_end { LAST_PACKETS } else { WATCH_SILENCE };
            if !keep && !has_end {
                met.remove(connection);
            }
            if !keep && !over && has_end && watch.is_rtmp() {
                not_followed(connection, watch::UNSEEN.to_owned(), out);
            }
            keep
        });
    }

    /// A packet in which no TCP segment can be read. If there is one all the same, and it is of a connection that
    /// matters, this is said: once for each switch, and once for each connection.
    #[cold]
    pub fn unreadable(&mut self, at: Dpid, packet: &PacketIn<'_>, frame: &Frame<'_>, out: &mut Outcome<'_>) {
        let (hidden, tcp) = match frame.tcp() {
            Some(tcp) => (None, tcp),
            None => match frame.hidden_tcp() {
                Some((hidden, tcp)) => (Some(hidden), tcp),
                None => return,
            },
        };
        let is_at = |port: u16| tcp.src.port() == port || tcp.dst.port() == port;
        if !is_at(self.ports.rtmp) && !is_at(self.ports.notify) {
            return;
        }
        let what = match hidden {
            None => "packets of which it sends up only a part",
            Some(Hidden::Fragment) => "IP packets in fragments",
            Some(Hidden::Tags) => "packets with more than one VLAN tag",
        };
        if !self.unreadable.contains(&(at, hidden)) {
            self.unreadable.insert((at, hidden));
            let port = if is_at(self.ports.rtmp) { self.ports.rtmp } else { self.ports.notify };
            let what = format!(
                "switch {}: {what}, of TCP connections at port {port}: what is said there cannot be read, and who says \
                 it is introduced to nobody ({} of {} bytes came, from {} to {})",
                at.0,
                packet.data.len(),
                packet.total_len,
                tcp.src,
                tcp.dst
            );
            out.tell(News::Error { what });
        }
        let Some((connection, _)) = self.rtmp_connection(&tcp) else { return };
        let told = match self.watched.get(&connection) {
            // Where it is in transit, its edge has it whole.
            Some(Watched { edge, over, .. }) if edge.dpid != at || *over => false,
            Some(Watched { watch, .. }) => {
                let is_rtmp = watch.is_rtmp();
                self.watched.remove(&connection);
                is_rtmp
            }
            None => self.met.get(&connection).is_none(),
        };
        self.met.insert(connection, ());
        if told {
            not_followed(&connection, format!("{what} (see the line \"error\")"), out);
        }
    }

    /// Of a connection that is known, was of no interest, or was met midway.
    fn rtmp_unwatched<'a>(
        &mut self,
        passing: &Passing<'a, '_>,
        connection: Connection,
        direction: Direction,
        out: &mut Outcome<'a>,
    ) {
        if passing.tcp.rst || passing.tcp.fin {
            // Of the client's side only from where the client is: anyone can send an RST with its address.
            let is_from_elsewhere = self.introductions.member_mut(&connection).is_some_and(|(member, _)| {
                direction == Direction::ToServer && member.dpid == passing.at && member.port != passing.packet.in_port
            });
            if is_from_elsewhere {
                return passing.send(out);
            }
            self.leave(passing.now, &connection, "closed", out);
            self.silent.remove(&connection);
            return passing.send(out);
        }
        if let Some((member, presence)) = self.silent.remove(&connection) {
            self.arrive(passing.now, member, presence, 0, out);
        }
        match self.introductions.member_mut(&connection) {
            Some((member, presence)) if member.dpid == passing.at => {
                if direction == Direction::ToServer {
                    member.port = passing.packet.in_port;
                }
                match presence.on_packet(passing.now, direction, passing.payload().len()) {
                    Treatment::Pass => passing.send(out),
                    Treatment::Flow => passing.send_with_lasting_flow(Some(MEMBER_COOKIE), out),
                    Treatment::BothFlows => passing.send_after_both_flows(Some(MEMBER_COOKIE), out),
                }
            }
            known => {
                // A SYN by itself tells nothing: if the connection comes to be, more will come.
                if known.is_none() && !passing.tcp.syn {
                    self.meet_midway(connection, out);
                }
                passing.send_with_lasting_flow(None, out);
            }
        }
    }

    fn server(&mut self, host: Ipv4Addr, place: Option<Place>, out: &mut Outcome<'_>) {
        if let Some(place) = place.filter(|place| self.servers.get(&host) != Some(place)) {
            self.servers.insert(host, place);
            out.tell(News::Cdn { host, dpid: place.dpid.0, port: place.port });
        }
    }

    fn arrive(&mut self, now: Duration, member: Member, presence: Presence, packets: u64, out: &mut Outcome<'_>) {
        let told = news::Member {
            host: member.host(),
            stream: member.stream.to_string(),
            dpid: member.dpid.0,
            port: member.port,
            packets,
        };
        let part = member.part;
        match self.introductions.arrive(now, member, presence) {
            Ok(replaced) => {
                replaced.iter().for_each(|member| out.tell(left(member, "replaced")));
                out.tell(match part {
                    Part::Viewer => News::Viewer(told),
                    Part::Broadcaster => News::Broadcaster(told),
                });
                self.tell_branches(out);
            }
            Err(limit) => {
                let what =
                    format!("{} stays with the CDN: {limit} viewers and broadcasters are known already", told.host);
                out.tell(News::Error { what });
            }
        }
    }

    fn leave(&mut self, now: Duration, connection: &Connection, why: &'static str, out: &mut Outcome<'_>) {
        if let Some(member) = self.introductions.leave(now, connection) {
            out.tell(left(&member, why));
            self.tell_branches(out);
        }
    }

    /// A member is gone, but known again if its connection goes on.
    fn fall_silent(&mut self, now: Duration, connection: &Connection, why: &'static str, out: &mut Outcome<'_>) {
        let Some((_, presence)) = self.introductions.member_mut(connection) else { return };
        let mut presence = *presence;
        presence.goes_on();
        if let Some(member) = self.introductions.leave(now, connection) {
            out.tell(left(&member, why));
            self.tell_branches(out);
            self.silent.insert(*connection, (member, presence));
        }
    }

    /// A member's flow ended at its edge.
    pub fn flow_removed(&mut self, now: Duration, at: Dpid, removed: &FlowRemoved, out: &mut Outcome<'_>) {
        if removed.cookie != MEMBER_COOKIE {
            return;
        }
        let Some(mut connection) = Connection::of_flow(&removed.matching, self.ports.rtmp) else { return };
        if let Some(other) = connection.other_way().filter(|other| self.introductions.member_mut(other).is_some()) {
            connection = other;
        }
        match self.introductions.member_mut(&connection) {
            Some((member, presence)) if member.dpid == at => match removed.reason {
                Removal::Idle => {
                    if let Step::Ask(number) = presence.on_idle(now) {
                        ask(member, presence, number, out);
                    }
                }
                Removal::Hard | Removal::Deleted | Removal::GroupDeleted | Removal::Other(_) => {
                    presence.on_flow_deleted(now);
                }
            },
            _ => {}
        }
    }

    /// The flows of a switch are gone, or it is.
    pub fn flows_gone(&mut self, now: Duration, at: Dpid) {
        for (_, presence) in self.introductions.members_mut().filter(|(member, _)| member.dpid == at) {
            presence.on_flows_gone(now);
        }
    }

    /// A host that counted as gone has connected to the notification service again. What it plays and publishes is
    /// asked whether it is there.
    pub fn doubt(&mut self, now: Duration, host: Ipv4Addr, out: &mut Outcome<'_>) {
        let mut doubted = Vec::new();
        for (member, presence) in self.introductions.members_mut().filter(|(member, _)| member.host() == host) {
            if let Step::Ask(number) = presence.doubt(now) {
                ask(member, presence, number, out);
            }
            doubted.push(member.connection);
        }
        if !doubted.is_empty() {
            self.doubted.insert(host, doubted);
        }
    }

    /// Whether something of a host's has not answered to that yet.
    pub fn is_doubted(&mut self, host: Ipv4Addr) -> bool {
        let Some(doubted) = self.doubted.get_mut(&host) else { return false };
        let introductions = &mut self.introductions;
        doubted.retain(|one| introductions.member_mut(one).is_some_and(|(_, presence)| presence.is_doubted()));
        let any = !doubted.is_empty();
        if !any {
            self.doubted.remove(&host);
        }
        any
    }

    /// Asks members who are silent whether they are there, and lets those go who do not answer.
    pub fn look_for_members(&mut self, now: Duration, out: &mut Outcome<'_>) {
        let mut gone = Vec::new();
        for (member, presence) in self.introductions.members_mut() {
            match presence.on_tick(now) {
                Step::Wait => {}
                Step::Ask(number) => ask(member, presence, number, out),
                Step::Gone(why) => gone.push((member.connection, why)),
            }
        }
        for (connection, why) in gone {
            self.fall_silent(now, &connection, why, out);
        }
    }
}

/// Asks a member whether its connection is open.
fn ask(member: &Member, presence: &Presence, number: u32, out: &mut Outcome<'_>) {
    if number == FIRST {
        // Whatever is left of its flows would hide the answer.
        for matching in both_ways(&member.connection) {
            out.send(member.dpid, Message::FlowMod(FlowMod::delete(matching)));
        }
        out.send(member.dpid, Message::BarrierRequest);
    }
    let data = Cow::Owned(presence.question(&member.connection, number));
    let packet = PacketOut { buffer: None, in_port: PortNo::CONTROLLER, output: Some(member.port), data };
    out.send(member.dpid, Message::PacketOut(packet));
}

/// The line that says so.
fn not_followed(connection: &Connection, why: String, out: &mut Outcome<'_>) {
    out.tell(News::NotFollowed { host: *connection.client.ip(), server: *connection.server.ip(), why });
}

/// The line that says so.
pub fn left(member: &Member, why: &'static str) -> News {
    News::Left { host: member.host(), role: member.part.as_str(), stream: member.stream.to_string(), why }
}

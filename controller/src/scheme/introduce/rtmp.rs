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

use super::Introduce;
use super::connection::{Connection, Direction};
use super::members::{Member, Part};
use super::notification::both_ways;
use super::passing::{Passing, Place};
use super::presence::{FIRST, Presence, Stations, Step, Treatment};
use super::watch::{Finding, Watch};
use crate::news::{self, News};
use crate::openflow::{FlowMod, FlowRemoved, Message, PacketOut, PortNo, Removal};
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
        match watched.watch.push(direction, &passing.segment()) {
            Finding::Open => {
                watched.over = watched.watch.is_over();
                passing.send(out);
            }
            Finding::Nothing(why) => {
                tracing::info!("RTMP {} to {}: {why}", connection.client, connection.server);
                if self.watched.remove(&connection).is_some_and(|watched| watched.watch.is_rtmp()) {
                    let (host, server) = (*connection.client.ip(), *connection.server.ip());
                    out.tell(News::NotFollowed { host, server, why });
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
        self.leave(passing.now, &connection, "closed", out);
        self.silent.remove(&connection);
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
        self.watched.insert(connection, watched);
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
            _ => passing.send_with_lasting_flow(None, out),
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
        let Some(connection) = Connection::of_flow(&removed.matching, self.ports.rtmp) else { return };
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
pub fn left(member: &Member, why: &'static str) -> News {
    News::Left { host: member.host(), role: member.part.as_str(), stream: member.stream.to_string(), why }
}

//! `bypass`: the network introduces viewers to the broadcaster on their switch.
//!
//! A learning switch that leaves two kinds of TCP connections without flows, so that their packets come up:
//!
//! * **RTMP**, until it is known what a connection is for (`watch`). Then exact flows for both directions take over before the packet
//!   that told it is sent on, and the video never comes here.
//! * **Notifications**, always: a heartbeat a second and agent. Those that tell nothing are rewritten in passing (`rewrite`)
//!   to tell an agent its peer, until the agent answers that it acts on it (`introductions`).
//!
//! # Edge and transit
//! On its way a packet passes several switches, and each would send it up. Only the one that the client is attached to matters:
//! its *edge*. There is no protocol to tell it from the others, nor is one needed. A packet that has no flow at the edge is held there
//! until the controller has seen it; so of all switches the edge is always the first to show it. Hence:
//!
//! * The edge of an RTMP connection is the switch that shows its SYN first, and its port there is where the client is.
//! * The edge of a notification connection is the switch that shows what the client sends first. Any other switch that shows something
//!   of the client that the edge has not shown lies before it, and is the edge from then on: so a connection that is met
//!   midway finds its edge, and one whose host moves to another switch finds the new one.
//!
//! All other switches on the way are *transit*. They get exact flows without a hard time-out at once, each for its own hop: this
//! cannot hide anything from the edge, whose packets have no flow there, in either direction.
//!
//! # Met midway
//! A connection whose SYN was not seen (the controller was restarted) cannot be understood; it gets its flows at once.

mod answers;
mod connection;
mod introductions;
mod rewrite;
mod watch;

use std::borrow::Cow;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use livectl_wire::assembler::Segment;
use livectl_wire::heartbeat::{self, PeerRole};

use super::learning::{self, Learning, Life, Route, Settings};
use super::{Dpid, Event, Outcome, Scheme};
use crate::frame::{Frame, IPV4, TCP, Tcp};
use crate::news::{self, News};
use crate::openflow::{FlowMatch, FlowMod, FlowRemoved, Ipv4Prefix, Message, PacketIn, PacketOut, PortNo, Removal};

use answers::Answers;
use connection::{Bounded, Connection, Direction};
use introductions::{Introductions, Member};
use rewrite::{Rewriter, ahead};
use watch::{Finding, Watch};

/// RTMP connections that are watched at once. With what each may keep this is at most about 80 MiB.
const MAX_WATCHED: usize = 1024;
/// Notification connections at once.
const MAX_NOTIFIED: usize = 16_384;
/// Members that fell silent, and are known again when their connection goes on.
const MAX_SILENT: usize = 4096;
/// Servers whose place is known.
const MAX_SERVERS: usize = 1024;

/// Ends the flows of video after so many seconds without a packet: more than the 60 after which nginx-rtmp looks whether a player that waits is
/// still there.
const VIDEO_IDLE: u16 = 75;
/// A member whose flows were deleted is gone when nothing is heard of it for so long.
const UNSURE: Duration = Duration::from_secs(VIDEO_IDLE as u64);
/// A watched connection that is silent for so long is forgotten. A player may wait long for its stream to begin.
const WATCH_SILENCE: Duration = Duration::from_secs(3600);
/// How long after a connection's end packets of it are expected.
const LAST_PACKETS: Duration = Duration::from_secs(10);
/// A notification connection that is silent for so long is forgotten.
const NOTIFY_SILENCE: Duration = Duration::from_secs(300);

/// The flows of a member at its edge: their end is of interest.
const MEMBER_COOKIE: u64 = 2;

/// The TCP ports by which connections are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// Of RTMP servers.
    pub rtmp: u16,
    /// Of notification services.
    pub notify: u16,
    /// On which agents serve peers.
    pub peer: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self { rtmp: 1935, notify: 42857, peer: 2000 }
    }
}

/// The scheme.
#[derive(Debug)]
pub struct Bypass {
    ports: Ports,
    learning: Learning,
    watched: Bounded<Connection, Watched>,
    notified: Bounded<Connection, Notified>,
    silent: Bounded<Connection, Member>,
    servers: Bounded<Ipv4Addr, Place>,
    introductions: Introductions,
}

/// A port of a switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    dpid: Dpid,
    port: PortNo,
}

/// An RTMP connection whose purpose is not known yet.
#[derive(Debug)]
struct Watched {
    watch: Watch,
    edge: Place,
    /// Where the server's first packet was shown first.
    server: Option<Place>,
    /// That came up at the edge.
    packets: u64,
    /// It has ended. It is kept for a while, so that its last acknowledgements get no flow that would hide the next
    /// connection with the same ports.
    over: bool,
    last: Duration,
}

/// A notification connection.
#[derive(Debug)]
struct Notified {
    edge: Option<Dpid>,
    /// The latest that the edge has shown of the client.
    shown: Option<Shown>,
    rewriter: Rewriter,
    answers: Answers,
    last: Duration,
}

/// How far one side of a connection has come.
#[derive(Debug, Clone, Copy)]
struct Shown {
    /// Sequence number after its last byte.
    seq: u32,
    /// What it acknowledged last.
    ack: Option<u32>,
    /// Sequence number of its SYN, if that was seen.
    isn: Option<u32>,
}

/// A TCP segment on its way through a switch.
#[derive(Clone, Copy)]
struct Passing<'a, 'p> {
    now: Duration,
    at: Dpid,
    packet: &'p PacketIn<'a>,
    frame: &'p Frame<'a>,
    tcp: &'p Tcp,
    route: Route,
}

impl<'a> Passing<'a, '_> {
    fn payload(&self) -> &'a [u8] {
        self.frame.payload(self.tcp)
    }

    fn place(&self) -> Place {
        Place { dpid: self.at, port: self.packet.in_port }
    }

    fn segment(&self) -> Segment<'a> {
        let Tcp { seq, syn, fin, .. } = *self.tcp;
        Segment { seq, syn, fin, payload: self.payload(), time: 0 }
    }

    /// The match of this direction of the connection. A packet's class of service may differ from that of the next.
    fn matching(&self) -> FlowMatch {
        FlowMatch { ip_dscp: None, ..self.frame.exact_match(self.packet.in_port) }
    }

    fn send(&self, out: &mut Outcome<'a>) {
        learning::send(self.at, self.packet, self.route, out);
    }

    /// Sends it on with a flow that lasts, if it is known where to.
    fn send_with_lasting_flow(&self, cookie: Option<u64>, out: &mut Outcome<'a>) {
        match self.route {
            Route::To(port) => {
                let flow = learning::add(self.matching(), port, lasting(cookie));
                learning::send_with_flow(self.at, self.packet, flow, out);
            }
            Route::Drop | Route::Flood => self.send(out),
        }
    }

    /// Sends it on when lasting flows for both directions are in place.
    fn send_after_both_flows(&self, cookie: Option<u64>, out: &mut Outcome<'a>) {
        if let Route::To(port) = self.route {
            let there = self.matching();
            let back = there.reversed(port);
            for (matching, to) in [(back, self.packet.in_port), (there, port)] {
                out.send(self.at, Message::FlowMod(learning::add(matching, to, lasting(cookie))));
            }
            // A switch may otherwise do the packet before the flows.
            out.send(self.at, Message::BarrierRequest);
        }
        self.send(out);
    }
}

fn lasting(cookie: Option<u64>) -> Life {
    Life { idle: VIDEO_IDLE, hard: 0, cookie }
}

impl Bypass {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(settings: Settings, ports: Ports) -> Self {
        Self {
            ports,
            learning: Learning::new(settings),
            watched: Bounded::new(MAX_WATCHED),
            notified: Bounded::new(MAX_NOTIFIED),
            silent: Bounded::new(MAX_SILENT),
            servers: Bounded::new(MAX_SERVERS),
            introductions: Introductions::new(ports.peer),
        }
    }

    fn packet<'a>(&mut self, now: Duration, at: Dpid, packet: &PacketIn<'a>, out: &mut Outcome<'a>) {
        let Some(frame) = Frame::parse(packet.data) else {
            return self.learning.packet(now, at, packet, out);
        };
        let tcp = frame.tcp().filter(|_| packet.is_whole() && !frame.is_link_local());
        let Some(tcp) = tcp.filter(|tcp| self.concerns(tcp)) else {
            return self.learning.frame(now, at, packet, &frame, out);
        };
        let route = self.learning.learn_and_route(now, at, &frame, packet.in_port, out);
        for station in [frame.src, frame.dst] {
            self.learning.lasts(at, station);
        }
        let passing = Passing { now, at, packet, frame: &frame, tcp: &tcp, route };
        if let Some((connection, direction)) = Connection::of(&tcp, self.ports.rtmp) {
            self.rtmp(&passing, connection, direction, out);
        } else if let Some((connection, direction)) = Connection::of(&tcp, self.ports.notify) {
            self.notification(&passing, connection, direction, out);
        } else {
            passing.send_with_lasting_flow(None, out);
        }
    }

    /// Whether a segment is of a connection that is treated in another way than all.
    fn concerns(&self, tcp: &Tcp) -> bool {
        let is_at = |port: u16| tcp.src.port() == port || tcp.dst.port() == port;
        is_at(self.ports.rtmp)
            || is_at(self.ports.notify)
            || (is_at(self.ports.peer) && self.introductions.are_introduced(*tcp.src.ip(), *tcp.dst.ip()))
    }

    fn rtmp<'a>(
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
                self.watched.remove(&connection);
                passing.send_after_both_flows(None, out);
            }
            Finding::Role(role, stream) => {
                if let Some(Watched { edge: Place { dpid, port }, server, packets, .. }) =
                    self.watched.remove(&connection)
                {
                    self.server(*connection.server.ip(), server, out);
                    let member = Member { role, stream, connection, dpid, port, unsure_since: None };
                    self.arrive(member, packets, out);
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
        self.leave(&connection, "closed", out);
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
            let is_from_elsewhere = self.introductions.member_mut(&connection).is_some_and(|member| {
                direction == Direction::ToServer && member.dpid == passing.at && member.port != passing.packet.in_port
            });
            if is_from_elsewhere {
                return passing.send(out);
            }
            self.leave(&connection, "closed", out);
            self.silent.remove(&connection);
            return passing.send(out);
        }
        if let Some(member) = self.silent.remove(&connection) {
            self.arrive(member, 0, out);
        }
        let is_edge = match self.introductions.member_mut(&connection) {
            Some(member) if member.dpid == passing.at => {
                member.unsure_since = None;
                if direction == Direction::ToServer {
                    member.port = passing.packet.in_port;
                }
                true
            }
            _ => false,
        };
        passing.send_with_lasting_flow(is_edge.then_some(MEMBER_COOKIE), out);
    }

    fn server(&mut self, host: Ipv4Addr, place: Option<Place>, out: &mut Outcome<'_>) {
        if let Some(place) = place.filter(|place| self.servers.get(&host) != Some(place)) {
            self.servers.insert(host, place);
            out.tell(News::Cdn { host, dpid: place.dpid.0, port: place.port });
        }
    }

    fn arrive(&mut self, member: Member, packets: u64, out: &mut Outcome<'_>) {
        let told = news::Member {
            host: member.host(),
            stream: member.stream.to_string(),
            dpid: member.dpid.0,
            port: member.port,
            packets,
        };
        let role = member.role;
        match self.introductions.arrive(member) {
            Ok(replaced) => {
                replaced.iter().for_each(|member| out.tell(left(member, "replaced")));
                out.tell(match role {
                    PeerRole::Viewer => News::Viewer(told),
                    PeerRole::Broadcaster => News::Broadcaster(told),
                });
            }
            Err(limit) => {
                let what =
                    format!("{} stays with the CDN: {limit} viewers and broadcasters are known already", told.host);
                out.tell(News::Error { what });
            }
        }
    }

    fn leave(&mut self, connection: &Connection, why: &'static str, out: &mut Outcome<'_>) -> Option<Member> {
        let member = self.introductions.leave(connection)?;
        out.tell(left(&member, why));
        Some(member)
    }

    /// A member falls silent: it is gone, but known again if its connection goes on.
    fn fall_silent(&mut self, connection: &Connection, why: &'static str, out: &mut Outcome<'_>) {
        if let Some(member) = self.leave(connection, why, out) {
            self.silent.insert(*connection, Member { unsure_since: None, ..member });
        }
    }

    fn notification<'a>(
        &mut self,
        passing: &Passing<'a, '_>,
        connection: Connection,
        direction: Direction,
        out: &mut Outcome<'a>,
    ) {
        let is_new = passing.tcp.syn && !passing.tcp.is_ack && direction == Direction::ToServer;
        if self.notified.get(&connection).is_none_or(|known| is_new && known.is_news(passing.tcp)) {
            let fresh = Notified {
                edge: None,
                shown: None,
                rewriter: Rewriter::default(),
                answers: Answers::default(),
                last: passing.now,
            };
            self.notified.insert(connection, fresh);
        }
        let Some(notified) = self.notified.get_mut(&connection) else { return passing.send(out) };
        notified.last = passing.now;
        if direction == Direction::ToServer && notified.is_news(passing.tcp) {
            if notified.edge.is_some_and(|edge| edge != passing.at) {
                // It was transit here until now.
                for matching in both_ways(&connection) {
                    out.send(passing.at, Message::FlowMod(FlowMod::delete(matching)));
                }
            }
            notified.edge = Some(passing.at);
            notified.show(passing.tcp);
        }
        match notified.edge {
            // The client has not shown where it is.
            None => passing.send(out),
            Some(edge) if edge != passing.at => passing.send_with_lasting_flow(None, out),
            Some(_) => self.notification_at_edge(passing, connection, direction, out),
        }
        if passing.tcp.rst {
            self.notified.remove(&connection);
        }
    }

    fn notification_at_edge<'a>(
        &mut self,
        passing: &Passing<'a, '_>,
        connection: Connection,
        direction: Direction,
        out: &mut Outcome<'a>,
    ) {
        let agent = *connection.client.ip();
        let Some(notified) = self.notified.get_mut(&connection) else { return passing.send(out) };
        match direction {
            Direction::ToServer => {
                if passing.tcp.is_ack {
                    notified.rewriter.acknowledged(passing.tcp.ack);
                }
                for heard in notified.answers.push(&passing.segment()) {
                    if let heartbeat::News::Ack(done) = heard.news
                        && self.introductions.acknowledge(agent, &done)
                    {
                        let (role, peer) = (done.role.as_str(), done.address);
                        out.tell(News::Acknowledged { by: agent, role, peer, stream: done.stream.to_string() });
                    }
                }
                passing.send(out);
            }
            Direction::ToClient => {
                let errand = self.introductions.errand(agent);
                let changed = notified.rewriter.pass(passing.tcp.seq, passing.payload(), |sequence| {
                    let errand = errand?;
                    let (role, peer) = (errand.role.as_str(), errand.address);
                    let stream = errand.stream.to_string();
                    out.tell(News::Introduced { to: agent, role, peer, stream, sequence });
                    Some(heartbeat::News::Peer(errand.clone()))
                });
                match (changed, passing.route) {
                    (Some(payload), Route::To(_) | Route::Flood) => {
                        let data = rewrite::with_payload(passing.frame, passing.tcp, &payload);
                        let output = match passing.route {
                            Route::To(port) => Some(port),
                            _ => Some(PortNo::FLOOD),
                        };
                        let in_port = passing.packet.in_port;
                        // What the switch keeps is not what is sent on.
                        learning::send(passing.at, passing.packet, Route::Drop, out);
                        let packet = PacketOut { buffer: None, in_port, output, data: Cow::Owned(data) };
                        out.send(passing.at, Message::PacketOut(packet));
                    }
                    _ => passing.send(out),
                }
            }
        }
    }

    /// A member's flow ended at its edge.
    fn flow_removed(&mut self, now: Duration, at: Dpid, removed: &FlowRemoved, out: &mut Outcome<'_>) {
        if removed.cookie != MEMBER_COOKIE {
            return;
        }
        let Some(connection) = Connection::of_flow(&removed.matching, self.ports.rtmp) else { return };
        match self.introductions.member_mut(&connection) {
            Some(member) if member.dpid == at => match removed.reason {
                Removal::Idle => self.fall_silent(&connection, "idle", out),
                Removal::Hard | Removal::Deleted | Removal::GroupDeleted | Removal::Other(_) => {
                    member.unsure_since.get_or_insert(now);
                }
            },
            _ => {}
        }
    }

    /// The flows of a switch are gone, or it is.
    fn flows_gone(&mut self, now: Duration, at: Dpid) {
        for member in self.introductions.members_mut().filter(|member| member.dpid == at) {
            member.unsure_since.get_or_insert(now);
        }
    }
}

impl Notified {
    /// Whether a segment of the client is something that the edge has not shown.
    fn is_news(&self, tcp: &Tcp) -> bool {
        let Some(shown) = self.shown else { return true };
        let begins_anew = tcp.syn && shown.isn != Some(tcp.seq);
        begins_anew || ahead(tcp.seq_end(), shown.seq) > 0 || shown.later_ack(tcp) != shown.ack
    }

    fn show(&mut self, tcp: &Tcp) {
        let shown = self.shown.unwrap_or(Shown { seq: tcp.seq_end(), ack: None, isn: None });
        let seq = if ahead(tcp.seq_end(), shown.seq) > 0 { tcp.seq_end() } else { shown.seq };
        let isn = if tcp.syn { Some(tcp.seq) } else { shown.isn };
        self.shown = Some(Shown { seq, ack: shown.later_ack(tcp), isn });
    }
}

impl Shown {
    /// What is acknowledged last when this segment is counted in.
    fn later_ack(self, tcp: &Tcp) -> Option<u32> {
        let new = tcp.is_ack.then_some(tcp.ack);
        new.filter(|new| self.ack.is_none_or(|ack| ahead(*new, ack) > 0)).or(self.ack)
    }
}

fn left(member: &Member, why: &'static str) -> News {
    News::Left { host: member.host(), role: member.role.as_str(), stream: member.stream.to_string(), why }
}

/// The matches of both directions, whatever ports they come in at.
fn both_ways(connection: &Connection) -> [FlowMatch; 2] {
    let way = |src: SocketAddrV4, dst: SocketAddrV4| FlowMatch {
        eth_type: Some(IPV4),
        ip_proto: Some(TCP),
        ip_src: Some(Ipv4Prefix::host(*src.ip())),
        ip_dst: Some(Ipv4Prefix::host(*dst.ip())),
        l4_src: Some(src.port()),
        l4_dst: Some(dst.port()),
        ..FlowMatch::ANY
    };
    [way(connection.client, connection.server), way(connection.server, connection.client)]
}

impl Scheme for Bypass {
    fn on_event<'a>(&mut self, now: Duration, at: Dpid, event: Event<'a>, out: &mut Outcome<'a>) {
        match event {
            Event::SwitchUp => {
                self.learning.switch_up(at);
                self.flows_gone(now, at);
            }
            Event::SwitchDown => {
                self.learning.switch_down(at);
                self.flows_gone(now, at);
            }
            Event::PacketIn(packet) => self.packet(now, at, &packet, out),
            Event::PortStatus(status) => self.learning.port_status(at, &status, out),
            Event::FlowRemoved(removed) => self.flow_removed(now, at, &removed, out),
        }
    }

    fn expect(&mut self, at: Dpid, bytes: usize) {
        self.learning.expect(at, bytes);
    }

    fn foresee(&self, at: Dpid, packet: &PacketIn<'_>) {
        self.learning.foresee(at, packet);
    }

    fn on_tick(&mut self, now: Duration, out: &mut Outcome<'_>) {
        self.learning.tick(now);
        self.watched
            .retain(|_, watched| now < watched.last + if watched.over { LAST_PACKETS } else { WATCH_SILENCE });
        self.notified.retain(|_, notified| now < notified.last + NOTIFY_SILENCE);
        let lost: Vec<Connection> = self
            .introductions
            .members_mut()
            .filter(|member| member.unsure_since.is_some_and(|since| now >= since + UNSURE))
            .map(|member| member.connection)
            .collect();
        for connection in lost {
            self.fall_silent(&connection, "lost", out);
        }
    }
}

#[cfg(test)]
mod tests;

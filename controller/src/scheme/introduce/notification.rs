//! Notification connections: where their client is, and what is told on them.

use std::borrow::Cow;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use livectl_wire::{StreamKey, heartbeat};

use super::Introduce;
use super::answers::Answers;
use super::connection::{Connection, Direction};
use super::members::{Member, Part};
use super::passing::Passing;
use super::presence::{Presence, Stations};
use super::rewrite::{self, Rewriter, ahead};
use super::rtmp::left;
use crate::frame::{IPV4, TCP, Tcp};
use crate::news::News;
use crate::openflow::{FlowMatch, FlowMod, Ipv4Prefix, Message, PacketOut, PortNo};
use crate::scheme::learning::{self, Route};
use crate::scheme::{Dpid, Outcome};

/// A notification connection.
#[derive(Debug)]
pub struct Notified {
    edge: Option<Dpid>,
    /// The latest that the edge has shown of the client.
    shown: Option<Shown>,
    rewriter: Rewriter,
    answers: Answers,
    /// When something of it came up, the last time.
    pub last: Duration,
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

impl Introduce {
    /// A segment of a connection to a notification service.
    pub fn notification<'a>(
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
            if is_new && self.introductions.misses(*connection.client.ip()) {
                self.doubt(passing.now, *connection.client.ip(), out);
            }
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
                let said = notified.answers.push(&passing.segment());
                // The end of a connection says that nobody is there, and its beginning not that it is the same agent.
                if !passing.tcp.rst && !passing.tcp.fin && !self.is_doubted(agent) {
                    self.introductions.heard(passing.now, agent);
                }
                if let Some((member, presence)) = self.introductions.member_mut(&connection) {
                    (member.dpid, member.port) = (passing.at, passing.packet.in_port);
                    presence.on_packet(passing.now, direction, passing.payload().len());
                }
                for said in said {
                    match said.news {
                        heartbeat::News::Announce(stream) => self.announced(passing, connection, stream, out),
                        news => self.said(passing.now, agent, news, out),
                    }
                }
                if passing.tcp.rst || passing.tcp.fin {
                    self.announced_no_more(passing.now, &connection, out);
                }
                self.tell_branches(out);
                passing.send(out);
            }
            Direction::ToClient => {
                let changed = notified.rewriter.pass(passing.tcp.seq, passing.payload(), |sequence| {
                    let told = self.introductions.tell(passing.now, agent)?;
                    for &peer in &told.peers {
                        let (role, stream) = (told.role.as_str(), told.stream.to_string());
                        out.tell(News::Introduced { to: agent, role, peer, stream, sequence });
                    }
                    Some(heartbeat::News::Peer(told))
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

    /// A broadcaster's agent says that it is there, before its program publishes: viewers can be connected to it when
    /// the stream begins.
    fn announced(
        &mut self,
        passing: &Passing<'_, '_>,
        connection: Connection,
        stream: StreamKey,
        out: &mut Outcome<'_>,
    ) {
        let host = *connection.client.ip();
        let (dpid, port) = (passing.at, passing.packet.in_port);
        let told = stream.to_string();
        let member = Member { part: Part::Broadcaster, stream, connection, dpid, port };
        let presence = Presence::new(Stations::of(passing.frame, Direction::ToServer));
        if self.introductions.announce(passing.now, member, presence) {
            out.tell(News::Announced { host, stream: told, dpid: dpid.0, port });
        }
    }

    /// An announcement holds as long as the connection on which it was made.
    pub fn announced_no_more(&mut self, now: Duration, connection: &Connection, out: &mut Outcome<'_>) {
        if self.introductions.is_announced(connection)
            && let Some(member) = self.introductions.leave(now, connection)
        {
            out.tell(left(&member, "closed"));
        }
    }

    /// An agent says something. Of itself it can say what it likes; of others only that they do not serve it.
    fn said(&mut self, now: Duration, agent: Ipv4Addr, news: heartbeat::News, out: &mut Outcome<'_>) {
        match news {
            heartbeat::News::Ack(done) => {
                for peer in self.introductions.acknowledge(agent, &done) {
                    let (role, stream) = (done.role.as_str(), done.stream.to_string());
                    out.tell(News::Acknowledged { by: agent, role, peer, stream });
                }
            }
            heartbeat::News::Lost { peer, stream } => self.introductions.lost(now, agent, &stream, *peer.ip()),
            heartbeat::News::Left(stream) => {
                if let Some(member) = self.introductions.left(now, agent, &stream) {
                    out.tell(left(&member, "told"));
                }
            }
            // That it hastens is for the service to hear; an agent introduces nobody.
            heartbeat::News::Hasten
            | heartbeat::News::None
            | heartbeat::News::Peer(_)
            | heartbeat::News::Announce(_) => {}
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

/// The matches of both directions, whatever ports they come in at.
pub fn both_ways(connection: &Connection) -> [FlowMatch; 2] {
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

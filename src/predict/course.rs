//! The course of a trial, event by event: births, packets, words between hosts, and moments of the score.
//!
//! Programs are as `live-agent` and nginx-rtmp are ([`programs`](super::programs)); who watches from whom is in [`watching`](super::watching). What
//! programs and switches take beside the links are the constants of this room, as measured on two cores (`docs/prediction.md`).

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::agenda::{Agenda, Nanos};
use super::connection::{Connection, Item};
use super::controller::{Controller, Introduction};
use super::heartbeats::{AFTER_ACCEPTANCE, Hearts};
use super::network::{Host, Network, Way};
use super::programs::LOOK;
use super::tcp::{Ack, Answer, Control, DELAYED_ACK, Range, Turn};
use super::{ENCODER_STARTS, PROGRAM_STARTS};
use crate::plan::delivery::{Carrier, Scheme};
use crate::plan::{Departure, Trial};
use crate::trace::floor::HEADERS;

/// From a packet's arrival at a host until its program has written what comes of it.
pub(super) const PROGRAM: Nanos = 500_000;
/// What a switch takes, and the program that makes a link.
pub(super) const SWITCH: Nanos = 350_000;
/// Bytes of a command on the wire.
pub(super) const WORD: usize = 200;
/// A command that was lost is sent again after this.
const AGAIN: Nanos = 1_000_000_000;
/// A player that is told to end takes so long, and its agent passes the stream on until then: the median of 210 departures measured with recipes/held/churn.yaml
/// (quartiles 25 and 66 ms; one in twenty took over 449 ms, at most a second).
const PLAYER_ENDS: Nanos = 40_000_000;

/// An item of a stream as it is born.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Born {
    /// Bytes of its payload.
    pub bytes: u64,
    /// When it is born, on the trial's timeline.
    pub at: Nanos,
    /// A frame that can be decoded without any before it.
    pub keyframe: bool,
    /// It is a picture: sound and headers are not.
    pub is_frame: bool,
}

/// A stream as it goes on.
#[derive(Debug)]
pub(super) struct Stream {
    pub items: Rc<[Born]>,
    pub broadcaster: Host,
    pub born: usize,
    pub born_bytes: u64,
    /// The connection to the CDN, by its place in [`Course::connections`].
    pub upload: usize,
    /// Connections from the CDN to viewers, in the order in which they are served.
    pub subscribed: Vec<usize>,
    /// Connections from the broadcaster to peers, in the order in which they are served.
    pub peers: Vec<usize>,
    /// Peers that were named to the broadcaster's agent, and until when it expects each; those that asked before.
    pub admitted: Vec<Host>,
    pub expected: Vec<(Host, Nanos)>,
    pub early: Vec<(usize, Option<Item>)>,
    /// Bytes born until each look at the uplink.
    pub looks: Vec<u64>,
    /// What the upload to the CDN may take, in bit/s on the wire; `None`: no limit.
    pub allowed: Option<u64>,
    /// Viewers to whom switches copy it, and whether the broadcaster sends to them.
    pub group: Vec<usize>,
    pub is_grouped: bool,
}

/// A viewer of a stream, and what has come to it.
#[derive(Debug)]
pub struct Viewer {
    /// Host of the viewer.
    pub host: Host,
    /// The stream that it watches, by its place in the plan.
    pub stream: usize,
    /// By item, the first whole copy; `None`: none has arrived.
    pub arrivals: Vec<Option<Arrived>>,
    /// By item, how many whole copies have arrived.
    pub copies: Vec<u32>,
    /// Its spells until now.
    pub stays: Vec<Stay>,
    /// What its agent would tell of its first spell.
    pub facts: Facts,
    /// Bytes of the group's datagrams that have come to it.
    pub group_bytes: u64,
    pub(super) is_there: bool,
    pub(super) has: Vec<bool>,
    /// The first item that it had in this spell, and all before this one are there from then on.
    pub(super) first: Option<Item>,
    pub(super) upto: Item,
    pub(super) parent: Option<Host>,
    pub(super) standby: Option<Host>,
    /// The connection from the parent that serves, and the one from the CDN.
    pub(super) from_parent: Option<usize>,
    pub(super) from_cdn: Option<usize>,
    pub(super) is_cdn_paused: bool,
    /// A peer has given it something in this spell; it passes over what the CDN still gives.
    pub(super) had_peer: bool,
    pub(super) leaves_cdn: bool,
    pub(super) children: Vec<usize>,
    /// The number of the introduction that it follows.
    pub(super) introduction: u64,
    /// When its player was accepted in this spell.
    pub(super) came: Nanos,
    /// Bytes of each item that came as datagrams, and when the first did.
    pub(super) parts: Vec<(u32, Nanos)>,
}

/// The first whole copy of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// When its last missing byte was there.
    pub at: Nanos,
    /// When the first of its bytes was.
    pub first: Nanos,
    /// The connection or group that it came over.
    pub over: Over,
}

/// What an item came over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// A connection, by its place in [`Course::connections`].
    Connection(usize),
    /// Datagrams that left the broadcaster then.
    Group(Nanos),
}

/// A viewer's spell, as it came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stay {
    /// When its player started.
    pub from: Nanos,
    /// When and how it went; `None`: it is there to the end.
    pub end: Option<(Nanos, Departure)>,
}

/// What a viewer's agent would tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its player was connected to it.
    pub began: Option<Nanos>,
    /// The CDN accepted its connection.
    pub connected: Option<Nanos>,
    /// The CDN's consent to the play was there.
    pub playing: Option<Nanos>,
    /// It heard of its first peer.
    pub introduced: Option<Nanos>,
    /// The peer answered that it serves.
    pub reached: Option<Nanos>,
    /// It had the first frame from it.
    pub first_from_peer: Option<Nanos>,
    /// Its player had the first keyframe.
    pub first_picture: Option<Nanos>,
}

#[derive(Debug)]
pub(super) enum Event {
    Born { stream: usize },
    Data { connection: usize, range: Range, hop: usize },
    Ack { connection: usize, ack: Box<Ack>, hop: usize },
    Datagram { datagram: Box<Datagram>, hop: usize },
    Timer { connection: usize },
    Paced { connection: usize },
    LateAck { connection: usize },
    Read { connection: usize },
    Word { spoken: Box<Spoken>, hop: usize },
    Joins { viewer: usize },
    Departs { viewer: usize, how: Departure, told: Nanos },
    Expects { host: Host, until: Nanos },
    Heart { host: Host, serial: u32 },
    Look { stream: usize },
    Beat { viewer: usize, spell: usize },
    Patience { viewer: usize, introduction: u64 },
    Controller { stream: usize, heard: Heard },
}

/// What the controller hears as it passes a switch, or that time has passed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Heard {
    Left(Host),
    Lost { child: Host, parent: Host },
    Joined(Host),
    Tick,
}

/// A command on its way.
#[derive(Debug, Clone)]
pub(super) struct Spoken {
    pub from: Host,
    pub to: Host,
    pub way: Way,
    pub word: Word,
    /// What the controller has put into it.
    pub news: Vec<Introduction>,
}

/// A datagram that switches copy, and to whom.
#[derive(Debug, Clone)]
pub(super) struct Datagram {
    pub stream: usize,
    pub item: Item,
    /// Bytes of the item in it, and of the datagram.
    pub part: u32,
    pub bytes: usize,
    pub left: Nanos,
    pub to: Vec<(usize, Way)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// Trips that are left until the CDN has the command to play.
    Session {
        viewer: usize,
        spell: usize,
        trips: u8,
    },
    /// The CDN's consent to the play.
    Playing {
        viewer: usize,
    },
    /// A peer's handshake, and what it asks for then.
    Syn {
        viewer: usize,
        introduction: u64,
    },
    SynAck {
        viewer: usize,
        introduction: u64,
    },
    /// Nobody is there.
    Refused {
        viewer: usize,
        introduction: u64,
    },
    Ask {
        viewer: usize,
        after: Option<Item>,
        introduction: u64,
    },
    /// A viewer has no need of the CDN any more; it has.
    Pause {
        viewer: usize,
    },
    Resume {
        viewer: usize,
    },
    /// Who received over a connection wants no more.
    Leave {
        connection: usize,
    },
    /// Who sent over a connection is gone.
    Gone {
        connection: usize,
    },
    /// Of the CDN's service, in whose place the controller may put news.
    Heartbeat,
}

/// A trial as it goes on.
#[derive(Debug)]
pub struct Course<'a> {
    pub(super) trial: &'a Trial,
    pub(super) agenda: Agenda<Event>,
    pub(super) network: Network,
    /// All connections that ever were.
    pub connections: Vec<Connection>,
    pub(super) streams: Vec<Stream>,
    /// Viewers of streams, in the plan's order.
    pub viewers: Vec<Viewer>,
    pub(super) controller: Controller,
    pub(super) cdn: Host,
    /// By stream and host, the viewer's place.
    by_host: Vec<Vec<Option<usize>>>,
    pub(super) hearts: Vec<Hearts>,
    control: Control,
}

impl<'a> Course<'a> {
    /// At moment 0. `births` are those of each stream, in the order of time. `None`: the plan has no CDN, or names a host that is not there.
    pub fn new(trial: &'a Trial, births: &[Rc<[Born]>]) -> Option<Self> {
        let host = |name: &str| trial.network.hosts.iter().position(|host| host.name == name);
        let cdn = host(&trial.network.cdn()?.name)?;
        let mut course = Self {
            trial,
            agenda: Agenda::new(),
            network: Network::of(trial),
            connections: Vec::new(),
            streams: Vec::new(),
            viewers: Vec::new(),
            controller: Controller::of(trial),
            cdn,
            by_host: vec![vec![None; trial.network.hosts.len()]; trial.streams.len()],
            hearts: trial.network.hosts.iter().map(|_| Hearts::default()).collect(),
            control: if trial.congestion_control == "reno" { Control::Reno } else { Control::Cubic },
        };
        for (number, (stream, items)) in trial.streams.iter().zip(births).enumerate() {
            let broadcaster = host(&stream.broadcaster)?;
            let upload = course.connect(broadcaster, cdn, number, Carrier::Rtmp)?;
            course.streams.push(Stream {
                items: items.clone(),
                broadcaster,
                born: 0,
                born_bytes: 0,
                upload,
                subscribed: Vec::new(),
                peers: Vec::new(),
                admitted: Vec::new(),
                expected: Vec::new(),
                early: Vec::new(),
                looks: Vec::new(),
                allowed: None,
                group: Vec::new(),
                is_grouped: false,
            });
            for viewer in &stream.viewers {
                let host = host(viewer)?;
                course.audience(number, host, viewer, items.len());
            }
            course.publishes(number);
        }
        Some(course)
    }

    fn audience(&mut self, stream: usize, host: Host, name: &str, items: usize) {
        let at = self.viewers.len();
        self.by_host[stream][host] = Some(at);
        self.viewers.push(Viewer {
            host,
            stream,
            arrivals: vec![None; items],
            copies: vec![0; items],
            stays: Vec::new(),
            facts: Facts::default(),
            group_bytes: 0,
            is_there: false,
            has: vec![false; items],
            first: None,
            upto: 0,
            parent: None,
            standby: None,
            from_parent: None,
            from_cdn: None,
            is_cdn_paused: false,
            had_peer: false,
            leaves_cdn: false,
            children: Vec::new(),
            introduction: 0,
            came: 0,
            parts: Vec::new(),
        });
        let spells = self.trial.spells(name);
        for (number, spell) in spells.iter().enumerate() {
            self.agenda.note(nanos(spell.from), Event::Joins { viewer: at });
            if let Some(end) = spell.end {
                let next = spells.get(number + 1).map_or(Nanos::MAX, |next| nanos(next.from).saturating_sub(1));
                let (told, takes) = (nanos(end.at), ends_within(end.how));
                self.agenda.note((told + takes).min(next), Event::Departs { viewer: at, how: end.how, told });
            }
        }
    }

    fn publishes(&mut self, number: usize) {
        let (broadcaster, first) = (self.streams[number].broadcaster, self.streams[number].items.first().copied());
        let Some(first) = first else { return };
        self.agenda.note(first.at, Event::Born { stream: number });
        // The agent has looked since the trial's beginning, and begins to count with the look before the stream.
        self.agenda.note(first.at.div_ceil(LOOK) * LOOK, Event::Look { stream: number });
        self.streams[number].looks.push(0);
        let begins = nanos(self.trial.timeline.broadcast_at) + PROGRAM_STARTS;
        let until = first.at.saturating_add(AFTER_ACCEPTANCE);
        self.agenda.note(begins.min(first.at), Event::Expects { host: broadcaster, until });
        // The CDN's consent passes the switch, and when it is there the program begins.
        let way = self.network.way(self.trial, self.cdn, broadcaster);
        let last = way.and_then(|way| way.last().copied()).map_or(0, |lane| self.delay(lane));
        let consent = first.at.saturating_sub(last + ENCODER_STARTS);
        let told = self.controller.publish(number, broadcaster, consent);
        self.tell(told);
    }

    /// Lets it go on until nothing is to come, or until a moment. `false`: `halt` was set before.
    pub fn run(&mut self, until: Nanos, halt: &AtomicBool) -> bool {
        while let Some(event) = self.agenda.advance() {
            if halt.load(Ordering::Relaxed) {
                return false;
            }
            if self.agenda.now() > until {
                return true;
            }
            match event {
                Event::Born { stream } => self.born(stream),
                Event::Data { connection, range, hop } => self.data(connection, range, hop),
                Event::Ack { connection, ack, hop } => self.ack(connection, ack, hop),
                Event::Datagram { datagram, hop } => self.datagram(*datagram, hop),
                Event::Timer { connection } => self.timer(connection),
                Event::Paced { connection } => {
                    // A pace that has changed has another moment noted.
                    if self.connections[connection].paced.is_none_or(|noted| noted <= self.agenda.now()) {
                        self.connections[connection].paced = None;
                        self.send(connection);
                    }
                }
                Event::LateAck { connection } => {
                    self.connections[connection].owing = false;
                    if self.connections[connection].receiver.owes() {
                        self.acknowledge(connection);
                    }
                }
                Event::Read { connection } => self.read(connection),
                Event::Word { spoken, hop } => self.word(spoken, hop),
                Event::Joins { viewer } => self.joins(viewer),
                Event::Departs { viewer, how, told } => self.departs(viewer, how, told),
                Event::Expects { host, until } => self.expects(host, until),
                Event::Heart { host, serial } => self.heart(host, serial),
                Event::Look { stream } => self.look(stream),
                Event::Beat { viewer, spell } => self.beat(viewer, spell),
                Event::Patience { viewer, introduction } => self.waited(viewer, introduction),
                Event::Controller { stream, heard } => self.heard_by_controller(stream, heard),
            }
        }
        true
    }

    /// The connection over which a stream goes to the CDN.
    pub(super) fn upload(&self, stream: usize) -> Option<usize> {
        self.streams.get(stream).map(|stream| stream.upload)
    }

    /// The first whole copy of an item at a viewer's host.
    pub(super) fn arrival(&self, stream: usize, host: Host, item: Item) -> Option<Arrived> {
        self.viewers[self.viewer_at(stream, host)?].arrivals[item]
    }

    /// The viewer of a stream at a host.
    pub(super) fn viewer_at(&self, stream: usize, host: Host) -> Option<usize> {
        self.by_host[stream][host]
    }

    pub(super) fn connect(&mut self, from: Host, to: Host, stream: usize, carrier: Carrier) -> Option<usize> {
        // Whoever receives the stream has connected, but for the CDN, and is answered where it came from.
        let (client, server) = if to == self.cdn { (from, to) } else { (to, from) };
        let there = self.network.way(self.trial, client, server)?;
        let back: Way = there.iter().rev().map(|lane| lane ^ 1).collect();
        let ways = if client == from { (there, back) } else { (back, there) };
        let now = self.agenda.now();
        let round_trip = ways.0.iter().chain(ways.1.iter()).map(|lane| self.delay(*lane)).sum();
        let mut connection =
            Connection::new(from, to, stream, carrier, ways, (self.control, self.trial.initial_window));
        connection.sender.connected(round_trip);
        (connection.heard, connection.written) = (now, now);
        self.connections.push(connection);
        Some(self.connections.len() - 1)
    }

    /// The one-way delay of a direction of a link, as planned.
    pub(super) fn delay(&self, lane: usize) -> Nanos {
        nanos(self.trial.network.links[lane / 2].shape.delay)
    }

    // ---- packets ---------------------------------------------------------------------------------------------------

    /// A packet enters a direction of a link that others of its way follow, or none: when it is past the switch at its end, or at the host.
    fn pass(&mut self, way: &Way, hop: usize, bytes: usize) -> Option<Nanos> {
        let arrives = self.network.pass(way[hop], self.agenda.now(), bytes)?;
        Some(arrives + if hop + 1 < way.len() { SWITCH } else { 0 })
    }

    /// Lets go what the windows let.
    pub(super) fn send(&mut self, at: usize) {
        let now = self.agenda.now();
        loop {
            let connection = &mut self.connections[at];
            if connection.is_dead {
                return;
            }
            match connection.sender.turn(now) {
                Turn::Send(range) => {
                    connection.leaves(range, now);
                    let way = connection.out.clone();
                    if let Some(arrives) = self.pass(&way, 0, packet(range)) {
                        self.agenda.note(arrives, Event::Data { connection: at, range, hop: 1 });
                    }
                }
                Turn::Wait(until) => {
                    if connection.paced.is_none_or(|noted| until < noted) {
                        connection.paced = Some(until);
                        self.agenda.note(until, Event::Paced { connection: at });
                    }
                    break;
                }
                Turn::Idle => break,
            }
        }
        self.set_timer(at);
    }

    fn set_timer(&mut self, at: usize) {
        let connection = &mut self.connections[at];
        if let Some(deadline) = connection.sender.deadline().filter(|_| !connection.has_timer) {
            connection.has_timer = true;
            self.agenda.note(deadline, Event::Timer { connection: at });
        }
    }

    fn timer(&mut self, at: usize) {
        let now = self.agenda.now();
        let connection = &mut self.connections[at];
        connection.has_timer = false;
        if connection.is_dead {
            return;
        }
        match connection.sender.deadline() {
            Some(deadline) if deadline <= now => {
                connection.sender.expire(now);
                self.send(at);
            }
            Some(_) => self.set_timer(at),
            None => {}
        }
    }

    fn data(&mut self, at: usize, range: Range, hop: usize) {
        let now = self.agenda.now();
        let connection = &mut self.connections[at];
        if hop < connection.out.len() {
            let way = connection.out.clone();
            if let Some(arrives) = self.pass(&way, hop, packet(range)) {
                self.agenda.note(arrives, Event::Data { connection: at, range, hop: hop + 1 });
            }
            return;
        }
        if connection.is_deaf {
            return;
        }
        connection.heard = connection.heard.max(now);
        let answer = connection.receiver.take(range);
        let viewer = self.by_host[connection.stream][connection.to];
        let over = Over::Connection(at);
        connection.arrives(range, now, |piece| {
            if let Some(viewer) = viewer {
                let viewer = &mut self.viewers[viewer];
                let first = piece.first.unwrap_or(now);
                viewer.arrivals[piece.item].get_or_insert(Arrived { at: now, first, over });
                viewer.copies[piece.item] += 1;
            }
        });
        if !std::mem::replace(&mut connection.reading, true) {
            self.agenda.note(now + PROGRAM, Event::Read { connection: at });
        }
        match answer {
            Answer::Now => self.acknowledge(at),
            Answer::Later => {
                if !std::mem::replace(&mut connection.owing, true) {
                    self.agenda.note(now + DELAYED_ACK, Event::LateAck { connection: at });
                }
            }
        }
    }

    fn acknowledge(&mut self, at: usize) {
        let connection = &mut self.connections[at];
        if !connection.is_deaf {
            let ack = Box::new(connection.receiver.acknowledge());
            self.ack(at, ack, 0);
        }
    }

    fn ack(&mut self, at: usize, ack: Box<Ack>, hop: usize) {
        let connection = &mut self.connections[at];
        if hop < connection.back.len() {
            let way = connection.back.clone();
            // Two edges of four bytes for each of three ranges at most, after a header of two and padding.
            let bytes = HEADERS as usize + if ack.beyond.is_empty() { 0 } else { 4 + 8 * ack.beyond.len().min(3) };
            if let Some(arrives) = self.pass(&way, hop, bytes) {
                self.agenda.note(arrives, Event::Ack { connection: at, ack, hop: hop + 1 });
            }
        } else if !connection.is_dead {
            connection.sender.hear(&ack, self.agenda.now());
            self.send(at);
        }
    }

    /// A datagram is copied wherever the ways of its receivers part.
    fn datagram(&mut self, datagram: Datagram, hop: usize) {
        let mut lanes: Vec<(usize, Vec<(usize, Way)>)> = Vec::new();
        for (viewer, way) in &datagram.to {
            match way.get(hop) {
                None => self.has_part(*viewer, &datagram),
                Some(lane) => match lanes.iter_mut().find(|(known, _)| known == lane) {
                    Some((_, to)) => to.push((*viewer, way.clone())),
                    None => lanes.push((*lane, vec![(*viewer, way.clone())])),
                },
            }
        }
        for (_, to) in lanes {
            let way = to[0].1.clone();
            if let Some(arrives) = self.pass(&way, hop, datagram.bytes) {
                let copy = Box::new(Datagram { to, ..datagram.clone() });
                self.agenda.note(arrives, Event::Datagram { datagram: copy, hop: hop + 1 });
            }
        }
    }

    pub(super) fn multicast(&mut self, datagram: Datagram) {
        self.datagram(datagram, 0);
    }

    pub(super) fn say(&mut self, from: Host, to: Host, word: Word) {
        if let Some(way) = self.network.way(self.trial, from, to) {
            self.word(Box::new(Spoken { from, to, way, word, news: Vec::new() }), 0);
        }
    }

    /// The same, later.
    pub(super) fn say_at(&mut self, at: Nanos, from: Host, to: Host, word: Word) {
        if let Some(way) = self.network.way(self.trial, from, to) {
            let spoken = Box::new(Spoken { from, to, way, word, news: Vec::new() });
            self.agenda.note(at, Event::Word { spoken, hop: 0 });
        }
    }

    fn word(&mut self, mut spoken: Box<Spoken>, hop: usize) {
        if hop >= spoken.way.len() {
            return self.heard(&spoken);
        }
        if hop == 1 && spoken.word == Word::Heartbeat && spoken.news.is_empty() {
            spoken.news = self.news_for(spoken.to);
        }
        let way = spoken.way.clone();
        match self.pass(&way, hop, WORD) {
            Some(arrives) => self.agenda.note(arrives, Event::Word { spoken, hop: hop + 1 }),
            None => self.agenda.note(self.agenda.now() + AGAIN, Event::Word { spoken, hop: 0 }),
        }
    }

    /// Whether agents know each other by the controller.
    pub(super) fn has_peers(&self) -> bool {
        matches!(self.trial.point.scheme, Scheme::Bypass | Scheme::Relay)
    }

    /// Packets that never came out of a link.
    pub fn dropped(&self) -> u64 {
        self.network.dropped()
    }
}

/// How long after it was told to a viewer is gone: a player that leaves ends first.
pub(super) const fn ends_within(how: Departure) -> Nanos {
    match how {
        Departure::Leave => PLAYER_ENDS,
        Departure::Crash => 0,
    }
}

/// Bytes of a packet on a link.
fn packet(range: Range) -> usize {
    (range.to - range.from) as usize + HEADERS as usize
}

/// Nanoseconds of a time on the timeline.
pub fn nanos(time: std::time::Duration) -> Nanos {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).min(u64::MAX / 4)
}

//! What the controller does with switches' messages: they are taken in and passed through the scheme, and its
//! answers are put where the sockets take them from.

use std::time::{Duration, Instant};

use foldhash::{HashMap, HashMapExt};
use slab::Slab;

use super::connection::Connection;
use super::memory;
use super::session::Step;
use crate::event_log::EventLog;
use crate::news::News;
use crate::openflow::Features;
use crate::scheme::{Dpid, Event, Outcome, Scheme};

/// Steps that are taken in before they are played, so that memory can bring meanwhile what the scheme will look up.
const FORESEEN: usize = 16;
/// After so many messages what the scheme wants is performed, while it is still in the processor's cache.
const BATCH: usize = 128;
/// Bytes of a flow-mod in 1.0; those of 1.3 and packets take more.
const USUAL_MESSAGE: usize = 80;

/// What events lead to.
pub struct Core {
    scheme: Box<dyn Scheme>,
    log: EventLog,
    /// The connection of each switch that is there.
    switches: HashMap<Dpid, usize>,
    /// All connections, by their numbers.
    pub connections: Slab<Connection>,
    /// Connections to which something is to be written, or that are to be closed.
    pub dirty: Vec<usize>,
    xid: u32,
    /// Since the scheme last looked at the clock.
    switches_left: bool,
}

/// Has a connection written to.
pub fn mark(dirty: &mut Vec<usize>, at: usize, connection: &mut Connection) {
    if !std::mem::replace(&mut connection.is_dirty, true) {
        dirty.push(at);
    }
}

impl Core {
    /// Nobody is there.
    pub fn new(scheme: Box<dyn Scheme>, log: EventLog) -> Self {
        Self {
            scheme,
            log,
            switches: HashMap::new(),
            connections: Slab::new(),
            dirty: Vec::new(),
            xid: 0,
            switches_left: false,
        }
    }

    /// Has the last event lines written, but does not wait for that beyond `deadline`.
    pub fn finish(&mut self, deadline: Instant) {
        self.log.finish(deadline);
    }

    /// Lets the scheme look at the clock.
    pub fn tick(&mut self, now: Duration) {
        let mut out = Outcome::default();
        self.scheme.on_tick(now, &mut out);
        self.perform(&mut out);
        if std::mem::take(&mut self.switches_left) {
            memory::give_back();
        }
    }

    /// Takes in the whole messages at the beginning of `stream`, which came at a connection; its rest is kept for
    /// later.
    pub fn take<'a>(
        &mut self,
        now: Duration,
        at: usize,
        mut stream: &'a [u8],
        steps: &mut Vec<(usize, Step<'a>)>,
        out: &mut Outcome<'a>,
    ) {
        if let Some(dpid) = self.dpid(at) {
            self.scheme.expect(dpid, stream.len());
        }
        loop {
            let Some(connection) = self.connections.get_mut(at) else { return };
            match connection.step(now, &mut stream) {
                Ok(Some(Step::Nothing)) => {}
                Ok(Some(step)) => {
                    if let (Step::PacketIn(packet), Some(dpid)) = (&step, connection.dpid) {
                        self.scheme.foresee(dpid, packet);
                    }
                    steps.push((at, step));
                    if steps.len() >= FORESEEN {
                        self.play(now, steps, out);
                    }
                }
                Ok(None) => {
                    connection.keep(stream);
                    if connection.has_to_write() {
                        mark(&mut self.dirty, at, connection);
                    }
                    return;
                }
                Err(why) => {
                    self.settle(now, steps, out);
                    self.close(now, at, Err(why));
                    return;
                }
            }
        }
    }

    /// Plays what was taken in, and has all that came of it until now sent.
    pub fn settle<'a>(&mut self, now: Duration, steps: &mut Vec<(usize, Step<'a>)>, out: &mut Outcome<'a>) {
        self.play(now, steps, out);
        self.perform(out);
    }

    /// Plays what was taken in.
    fn play<'a>(&mut self, now: Duration, steps: &mut Vec<(usize, Step<'a>)>, out: &mut Outcome<'a>) {
        for (at, step) in steps.drain(..) {
            let connection = self.connections.get_mut(at).filter(|connection| connection.doomed.is_none());
            let Some(connection) = connection else { continue };
            let event = match step {
                Step::Nothing => continue,
                Step::Ready(features) => {
                    self.perform(out);
                    self.switch_up(now, at, &features);
                    continue;
                }
                Step::Error(report) => {
                    out.news.extend(connection.reported(&report));
                    continue;
                }
                Step::PacketIn(packet) => Event::PacketIn(packet),
                Step::FlowRemoved(removed) => Event::FlowRemoved(removed),
                Step::PortStatus(status) => Event::PortStatus(status),
            };
            if let Some(dpid) = connection.dpid {
                self.scheme.on_event(now, dpid, event, out);
            }
        }
        if out.messages.len() >= BATCH {
            self.perform(out);
        }
    }

    fn dpid(&self, at: usize) -> Option<Dpid> {
        self.connections.get(at).and_then(|connection| connection.dpid)
    }

    /// The one place that sends what a scheme wants sent; `out` is empty afterwards.
    fn perform(&mut self, out: &mut Outcome<'_>) {
        for news in out.news.drain(..) {
            self.log.tell(news);
        }
        // Often many are for one switch: it is looked up once.
        for messages in out.messages.chunk_by(|(one, _), (other, _)| one == other) {
            let Some((dpid, _)) = messages.first() else { continue };
            let Some(at) = self.switches.get(dpid) else { continue };
            let Some(connection) = self.connections.get_mut(*at) else { continue };
            let Some(version) = connection.version() else { continue };
            let bytes = connection.outbox.end();
            bytes.reserve(messages.len() * USUAL_MESSAGE);
            for (_, message) in messages {
                self.xid = self.xid.wrapping_add(1);
                if let Err(error) = version.emit(message, self.xid, bytes) {
                    tracing::warn!("a packet for switch {dpid} is dropped: {error}");
                }
            }
            mark(&mut self.dirty, *at, connection);
        }
        out.messages.clear();
    }

    fn event(&mut self, now: Duration, at: Dpid, event: Event<'_>) {
        let mut out = Outcome::default();
        self.scheme.on_event(now, at, event, &mut out);
        self.perform(&mut out);
    }

    /// A switch is ready. If it was connected already, the new connection takes the place of the old.
    fn switch_up(&mut self, now: Duration, at: usize, features: &Features) {
        let Some(connection) = self.connections.get_mut(at) else { return };
        let Some(version) = connection.version() else { return };
        let dpid = Dpid(features.dpid);
        tracing::debug!("switch {dpid} has ports {:?}", features.ports);
        connection.dpid = Some(dpid);
        let peer = connection.peer;
        if let Some(before) = self.switches.insert(dpid, at) {
            if let Some(connection) = self.connections.get_mut(before) {
                connection.doomed = Some("it connected again");
                mark(&mut self.dirty, before, connection);
            }
            self.lost(now, dpid, "it connected again".to_owned());
        }
        self.log.tell(News::SwitchConnected { dpid: dpid.0, version: version.as_str(), peer });
        self.event(now, dpid, Event::SwitchUp);
    }

    fn lost(&mut self, now: Duration, dpid: Dpid, why: String) {
        self.switches_left = true;
        self.log.tell(News::SwitchLost { dpid: dpid.0, why });
        self.event(now, dpid, Event::SwitchDown);
    }

    /// Closes a connection: because the switch did, or why else. If it was the switch's present one, the switch is
    /// gone.
    pub fn close(&mut self, now: Duration, at: usize, end: Result<(), String>) {
        let Some(mut connection) = self.connections.try_remove(at) else { return };
        let looked_only = end.is_ok() && connection.only_looked();
        let why = end.err().unwrap_or_else(|| "it closed the connection".to_owned());
        // The reason, if the switch still reads; not waited for.
        let _ = connection.write(now);
        tracing::info!("connection from {} ended: {why}", connection.peer);
        match connection.dpid {
            Some(dpid) if self.switches.get(&dpid) == Some(&at) => {
                self.switches.remove(&dpid);
                self.lost(now, dpid, why);
            }
            // Another connection took its place.
            Some(_) => {}
            // Someone wanted to see whether a controller listens.
            None if looked_only => {}
            None => self.log.tell(News::ConnectionRefused { peer: connection.peer, why }),
        }
    }
}

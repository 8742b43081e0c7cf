//! Who watches what from whom: viewers that come and go, introductions, parents that are lost.

use super::agenda::Nanos;
use super::connection::Item;
use super::controller::{Introduction, Named};
use super::course::{Course, Event, Heard, Spoken, Stay, Word};
use super::heartbeats::{AFTER_ACCEPTANCE, AFTER_NEWS};
use super::network::Host;
use crate::plan::Departure;
use crate::plan::delivery::{Carrier, Scheme};

/// Trips between a player and the CDN until it has the command to play: TCP's handshake, RTMP's, connect, createStream, play.
pub(super) const TRIPS_TO_PLAY: u8 = 9;
/// From the start of a player until it talks to its agent.
pub(super) const PLAYER_STARTS: Nanos = 60_000_000;
/// How often an agent looks whether its children hear enough, and whether it hears enough itself.
pub(super) const BEAT: Nanos = 100_000_000;
/// A parent of whom nothing is heard for this long is lost: in `relay`, and in `bypass`, where at least four times as long as from picture to picture.
pub(super) const SILENCE: Nanos = 300_000_000;
pub(super) const SILENCE_OF_BROADCASTER: Nanos = 1_000_000_000;
/// Bytes of a tag that says that there is nothing to be sent.
const MARK: u64 = 40;
/// Who asks a parent waits so long to be served.
pub(super) const PATIENCE: Nanos = 1_000_000_000;
/// Who has just come does not wait for a CDN that is further behind.
pub(super) const FAR_BEHIND: Nanos = 2_000_000_000;
/// For how long a broadcaster's agent expects a peer that was named to it.
const EXPECTED: Nanos = 10_000_000_000;
/// How long a parent that was lost gets no further children.
pub(super) const HOLD: Nanos = 10_000_000_000;

/// Whether a host's agent answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    There,
    /// Its host says that nobody is.
    Away,
    /// Nobody says anything.
    Dead,
}

impl Course<'_> {
    pub(super) fn joins(&mut self, at: usize) {
        let now = self.agenda.now();
        let viewer = &mut self.viewers[at];
        viewer.is_there = true;
        viewer.stays.push(Stay { from: now, end: None });
        viewer.facts.began.get_or_insert(now + PLAYER_STARTS);
        viewer.has.fill(false);
        viewer.parts.clear();
        (viewer.first, viewer.upto, viewer.parent, viewer.standby) = (None, 0, None, None);
        viewer.introduction += 1;
        (viewer.from_parent, viewer.from_cdn, viewer.is_cdn_paused) = (None, None, false);
        (viewer.had_peer, viewer.leaves_cdn) = (false, false);
        let host = viewer.host;
        let spell = self.viewers[at].stays.len();
        let word = Word::Session { viewer: at, spell, trips: TRIPS_TO_PLAY - 1 };
        self.say_at(now + PLAYER_STARTS, host, self.cdn, word);
        self.agenda.note(now + PLAYER_STARTS, Event::Expects { host, until: Nanos::MAX });
        if self.has_peers() {
            self.agenda.note(now + BEAT, Event::Beat { viewer: at, spell });
        }
    }

    /// A viewer's agent tells its children that it is there, if they have had nothing, and looks whether its parent is. So does the broadcaster's for it.
    pub(super) fn beat(&mut self, at: usize, spell: usize) {
        let now = self.agenda.now();
        let viewer = &self.viewers[at];
        let stream = &self.streams[viewer.stream];
        let is_over = stream.born >= stream.items.len() && viewer.upto >= stream.items.len();
        if !viewer.is_there || viewer.stays.len() != spell || is_over {
            return;
        }
        self.agenda.note(now + BEAT, Event::Beat { viewer: at, spell });
        let (born, is_relay) = (stream.born, self.trial.point.scheme == Scheme::Relay);
        let from_parent = viewer.from_parent;
        let by_broadcaster = from_parent.filter(|from| self.connections[*from].from == stream.broadcaster);
        for child in viewer.children.clone().into_iter().chain(by_broadcaster) {
            let connection = &mut self.connections[child];
            if connection.written + BEAT <= now && !connection.is_over {
                connection.mark(MARK, now);
                self.send(child);
            }
        }
        let longest = (4 * 1_000_000_000 / u64::from(self.trial.video.fps.max(1))).max(SILENCE_OF_BROADCASTER);
        let patience = if is_relay { SILENCE } else { longest };
        if let Some(from) = from_parent.filter(|from| born > 0 && self.connections[*from].heard + patience < now) {
            self.lost(at, from);
        }
    }

    pub(super) fn heard(&mut self, spoken: &Spoken) {
        let now = self.agenda.now();
        let (here, there) = (spoken.to, spoken.from);
        match spoken.word {
            // Who went meanwhile has another session since, or none.
            Word::Session { viewer, spell, .. } if self.viewers[viewer].stays.len() != spell => {}
            Word::Session { viewer, trips: 0, .. } => self.subscribe(viewer),
            Word::Session { viewer, spell, trips } => {
                if trips + 2 == TRIPS_TO_PLAY {
                    self.viewers[viewer].facts.connected.get_or_insert(now);
                }
                self.say(here, there, Word::Session { viewer, spell, trips: trips - 1 });
            }
            Word::Playing { viewer } => {
                self.viewers[viewer].came = now;
                self.viewers[viewer].facts.playing.get_or_insert(now);
                self.expects(here, now + AFTER_ACCEPTANCE);
            }
            Word::Heartbeat => {
                for introduction in spoken.news.clone() {
                    self.expects(here, now + AFTER_NEWS);
                    self.told(introduction);
                }
            }
            Word::Syn { viewer, introduction } => match self.presence(self.viewers[viewer].stream, here) {
                Presence::There => self.say(here, there, Word::SynAck { viewer, introduction }),
                Presence::Away => self.say(here, there, Word::Refused { viewer, introduction }),
                Presence::Dead => {}
            },
            Word::Refused { viewer, introduction } => self.waited(viewer, introduction),
            Word::SynAck { viewer, introduction } => {
                let viewer_here = &mut self.viewers[viewer];
                viewer_here.facts.reached.get_or_insert(now);
                if viewer_here.introduction == introduction && viewer_here.is_there {
                    self.ask(viewer, there);
                }
            }
            Word::Ask { viewer, after, introduction } => {
                if self.viewers[viewer].introduction == introduction {
                    self.serve(viewer, here, after);
                }
            }
            // Of two words that overtook each other the later one counts.
            Word::Pause { viewer } | Word::Resume { viewer } => {
                self.subscription(viewer, !self.viewers[viewer].is_cdn_paused);
            }
            Word::Leave { connection } => self.stop(connection),
            Word::Gone { connection } => {
                if let Some(viewer) = self.viewer_at(self.connections[connection].stream, here) {
                    self.lost(viewer, connection);
                }
            }
        }
    }

    /// Whether somebody has a stream to give at a host.
    fn presence(&self, stream: usize, host: Host) -> Presence {
        if self.streams[stream].broadcaster == host {
            return Presence::There;
        }
        let Some(viewer) = self.viewer_at(stream, host).map(|viewer| &self.viewers[viewer]) else {
            return Presence::Away;
        };
        match viewer.stays.last().and_then(|stay| stay.end) {
            None if viewer.is_there => Presence::There,
            Some((_, Departure::Crash)) => Presence::Dead,
            _ => Presence::Away,
        }
    }

    /// The CDN has a viewer's command to play.
    fn subscribe(&mut self, at: usize) {
        let (host, stream) = (self.viewers[at].host, self.viewers[at].stream);
        if !self.viewers[at].is_there {
            return;
        }
        self.say(self.cdn, host, Word::Playing { viewer: at });
        self.viewers[at].from_cdn = self.connect(self.cdn, host, stream, Carrier::Rtmp);
        let is_paused = self.viewers[at].is_cdn_paused;
        self.subscription(at, !is_paused);
        let now = self.agenda.now();
        let told = self.controller.play(stream, host, now);
        self.tell(told);
        // Switches copy to whoever plays, from now on.
        if self.trial.point.scheme == Scheme::Multicast {
            self.streams[stream].group.push(at);
        }
    }

    /// The broadcaster's agent hears that somebody is in the group: it begins with what there is since the last keyframe.
    fn send_to_group(&mut self, number: usize) {
        let stream = &mut self.streams[number];
        if std::mem::replace(&mut stream.is_grouped, true) {
            return;
        }
        let born = stream.born;
        let from = stream.items[..born].iter().rposition(|item| item.keyframe).unwrap_or(0);
        let to = stream.group.clone();
        for item in from..born {
            self.give_group(number, item, &to);
        }
        self.pace(number);
    }

    /// nginx-rtmp gives a viewer what comes from now on, or nothing more. It serves those first who came last.
    fn subscription(&mut self, at: usize, is_on: bool) {
        let Some(connection) = self.viewers[at].from_cdn else { return };
        let subscribed = &mut self.streams[self.viewers[at].stream].subscribed;
        subscribed.retain(|one| *one != connection);
        if is_on && self.viewers[at].is_there {
            subscribed.insert(0, connection);
        }
    }

    /// An agent hears of a peer.
    pub(super) fn told(&mut self, introduction: Introduction) {
        let Introduction { stream, to, named, number, .. } = introduction;
        match named {
            Named::Child(child) => return self.admit(stream, child),
            Named::Group if self.streams[stream].broadcaster == to => return self.send_to_group(stream),
            _ => {}
        }
        let Some(at) = self.viewer_at(stream, to).filter(|at| self.viewers[*at].is_there) else { return };
        match named {
            Named::Child(_) => {}
            Named::Group => {
                let now = self.agenda.now();
                let passes = self.up_to_switch(to);
                self.agenda.note(now + passes, Event::Controller { stream, heard: Heard::Joined(to) });
                let viewer = &mut self.viewers[at];
                viewer.facts.introduced.get_or_insert(now);
                viewer.facts.reached.get_or_insert(now);
                // Who has nothing yet waits for the group.
                if viewer.first.is_none() && !std::mem::replace(&mut viewer.is_cdn_paused, true) {
                    self.say(to, self.cdn, Word::Pause { viewer: at });
                }
            }
            Named::Standby(standby) => self.viewers[at].standby = standby,
            Named::Parent(parent) => {
                let viewer = &mut self.viewers[at];
                if number < viewer.introduction || viewer.parent == Some(parent) {
                    return;
                }
                viewer.facts.introduced.get_or_insert(self.agenda.now());
                let is_connected = viewer.standby == Some(parent);
                self.turn_to(at, parent, number, is_connected);
            }
            Named::Cdn => {
                if number >= self.viewers[at].introduction {
                    self.viewers[at].introduction = number;
                    self.back_to_cdn(at);
                }
            }
        }
    }

    /// A viewer's agent wants the stream from a parent; with the one that stands by it has a connection.
    fn turn_to(&mut self, at: usize, parent: Host, number: u64, is_connected: bool) {
        let viewer = &mut self.viewers[at];
        (viewer.introduction, viewer.parent) = (number, Some(parent));
        let host = viewer.host;
        match is_connected {
            true => self.ask(at, parent),
            false => self.say(host, parent, Word::Syn { viewer: at, introduction: number }),
        }
        let patience = self.agenda.now() + PATIENCE;
        self.agenda.note(patience, Event::Patience { viewer: at, introduction: number });
    }

    fn ask(&mut self, at: usize, parent: Host) {
        let now = self.agenda.now();
        let viewer = &mut self.viewers[at];
        let (host, introduction) = (viewer.host, viewer.introduction);
        let mut after = viewer.first.and(viewer.upto.checked_sub(1));
        // Who has had nothing but what the CDN is late with does not wait for the rest of it.
        let items = &self.streams[viewer.stream].items;
        if !viewer.had_peer && after.is_some_and(|last| items[last].at + FAR_BEHIND < now) {
            (after, viewer.first, viewer.leaves_cdn) = (None, None, true);
        }
        self.say(host, parent, Word::Ask { viewer: at, after, introduction });
    }

    fn admit(&mut self, stream: usize, child: Host) {
        let broadcaster = self.streams[stream].broadcaster;
        if !self.streams[stream].admitted.contains(&child) {
            self.streams[stream].admitted.push(child);
            let until = self.agenda.now() + EXPECTED;
            self.streams[stream].expected.push((child, until));
        }
        for (viewer, after) in std::mem::take(&mut self.streams[stream].early) {
            self.serve(viewer, broadcaster, after);
        }
        self.pace(stream);
    }

    /// A peer asks a parent for what follows an item.
    fn serve(&mut self, at: usize, parent: Host, after: Option<Item>) {
        let (host, stream) = (self.viewers[at].host, self.viewers[at].stream);
        if !self.viewers[at].is_there {
            return;
        }
        match self.presence(stream, parent) {
            Presence::There => {}
            Presence::Away => {
                let introduction = self.viewers[at].introduction;
                return self.say(parent, host, Word::Refused { viewer: at, introduction });
            }
            Presence::Dead => return,
        }
        let is_broadcaster = self.streams[stream].broadcaster == parent;
        if is_broadcaster
            && self.trial.point.scheme == Scheme::Bypass
            && !self.streams[stream].admitted.contains(&host)
        {
            return self.streams[stream].early.push((at, after));
        }
        let Some(connection) = self.connect(parent, host, stream, Carrier::Peer) else { return };
        // It is served, and hears so before the first frame.
        self.connections[connection].heard = self.agenda.now() + self.round_trip(connection);
        let (first, has): (Item, Vec<Item>) = match self.viewer_at(stream, parent).filter(|_| !is_broadcaster) {
            Some(above) => {
                self.viewers[above].children.push(connection);
                let above = &self.viewers[above];
                (above.first.unwrap_or_default(), (0..above.has.len()).filter(|item| above.has[*item]).collect())
            }
            None => {
                self.streams[stream].peers.push(connection);
                self.streams[stream].expected.retain(|(child, _)| *child != host);
                (0, (0..self.streams[stream].born).collect())
            }
        };
        let next = after.map_or_else(|| self.begins_with(at), |after| after + 1).max(first);
        for item in has.into_iter().filter(|item| *item >= next) {
            self.give(connection, item);
        }
        if is_broadcaster {
            self.pace(stream);
        }
        if let Some(before) = self.viewers[at].from_parent.replace(connection) {
            let former = self.connections[before].from;
            self.say(host, former, Word::Leave { connection: before });
        }
        // A parent that is there before the stream silences the CDN at once.
        if self.streams[stream].born == 0 && !std::mem::replace(&mut self.viewers[at].is_cdn_paused, true) {
            self.say(host, self.cdn, Word::Pause { viewer: at });
        }
    }

    /// What a viewer begins with that has nothing: all of a stream that began after it came, else from the keyframe on that was the latest then.
    fn begins_with(&self, at: usize) -> Item {
        let viewer = &self.viewers[at];
        let stream = &self.streams[viewer.stream];
        let items = &stream.items[..stream.born];
        items.iter().rposition(|item| item.keyframe && item.at <= viewer.came).unwrap_or(0)
    }

    /// Who received over a connection wants no more.
    pub(super) fn stop(&mut self, connection: usize) {
        // Its host resets what still comes.
        (self.connections[connection].is_over, self.connections[connection].is_dead) = (true, true);
        let Some(stream) = self.streams.get_mut(self.connections[connection].stream) else { return };
        stream.peers.retain(|peer| *peer != connection);
        let (number, from) = (self.connections[connection].stream, self.connections[connection].from);
        if let Some(viewer) = self.viewer_at(number, from) {
            self.viewers[viewer].children.retain(|child| *child != connection);
        }
    }

    /// It was told to at that moment.
    pub(super) fn departs(&mut self, at: usize, how: Departure, told: Nanos) {
        let now = self.agenda.now();
        let viewer = &mut self.viewers[at];
        if !viewer.is_there {
            return;
        }
        viewer.is_there = false;
        if let Some(stay) = viewer.stays.last_mut() {
            stay.end = Some((told, how));
        }
        let (host, stream) = (viewer.host, viewer.stream);
        let children = std::mem::take(&mut viewer.children);
        let sources = [viewer.from_parent.take(), viewer.from_cdn];
        for source in sources.into_iter().flatten() {
            self.connections[source].is_deaf = true;
            if how == Departure::Leave {
                let from = self.connections[source].from;
                self.say(host, from, Word::Leave { connection: source });
            }
        }
        self.expects_nothing(host);
        self.streams[stream].group.retain(|one| *one != at);
        // Who sends to nobody begins with the last keyframe when somebody comes again.
        self.streams[stream].is_grouped &= !self.streams[stream].group.is_empty();
        for child in children {
            self.connections[child].is_over = true;
            let to = self.connections[child].to;
            match how {
                Departure::Leave => self.say(host, to, Word::Gone { connection: child }),
                Departure::Crash => self.connections[child].is_dead = true,
            }
        }
        if how == Departure::Leave {
            self.subscription(at, false);
            let passes = self.up_to_switch(host);
            self.agenda.note(now + passes, Event::Controller { stream, heard: Heard::Left(host) });
        }
    }

    /// A viewer's agent finds that its parent is gone.
    pub(super) fn lost(&mut self, at: usize, connection: usize) {
        let viewer = &mut self.viewers[at];
        if !viewer.is_there || viewer.from_parent != Some(connection) {
            return;
        }
        viewer.from_parent = None;
        self.connections[connection].is_deaf = true;
        let (host, parent) = (self.viewers[at].host, self.connections[connection].from);
        self.say(host, parent, Word::Leave { connection });
        // Who is about to be served by another waits for that one.
        if self.viewers[at].parent == Some(parent) {
            self.without(at, parent);
        }
    }

    /// A parent that was asked has not served in time.
    pub(super) fn waited(&mut self, at: usize, introduction: u64) {
        let viewer = &self.viewers[at];
        let Some(parent) = viewer.parent else { return };
        let is_served = viewer.from_parent.is_some_and(|from| self.connections[from].from == parent);
        if viewer.is_there && viewer.introduction == introduction && !is_served && self.has_peers() {
            self.without(at, parent);
        }
    }

    /// The parent does not serve: the standby does, or else the CDN; and the network is told.
    fn without(&mut self, at: usize, parent: Host) {
        let now = self.agenda.now();
        let viewer = &mut self.viewers[at];
        viewer.parent = None;
        let (host, stream, introduction) = (viewer.host, viewer.stream, viewer.introduction);
        match viewer.standby.take().filter(|standby| *standby != parent) {
            Some(standby) => self.turn_to(at, standby, introduction, true),
            None => {
                self.back_to_cdn(at);
                if self.trial.point.scheme == Scheme::Bypass {
                    self.turn_to(at, parent, introduction, false);
                }
            }
        }
        self.expects(host, now + AFTER_NEWS);
        let passes = self.up_to_switch(host);
        let heard = Heard::Lost { child: host, parent };
        self.agenda.note(now + passes, Event::Controller { stream, heard });
    }

    fn round_trip(&self, connection: usize) -> Nanos {
        let connection = &self.connections[connection];
        connection.out.iter().chain(connection.back.iter()).map(|lane| self.delay(*lane)).sum()
    }

    fn back_to_cdn(&mut self, at: usize) {
        let viewer = &mut self.viewers[at];
        (viewer.parent, viewer.leaves_cdn) = (None, false);
        let (host, before) = (viewer.host, viewer.from_parent.take());
        if let Some(before) = before {
            let former = self.connections[before].from;
            self.connections[before].is_deaf = true;
            self.say(host, former, Word::Leave { connection: before });
        }
        if std::mem::replace(&mut self.viewers[at].is_cdn_paused, false) {
            self.say(host, self.cdn, Word::Resume { viewer: at });
        }
    }

    /// How long a word takes from a host to its switch, where the controller sees it.
    fn up_to_switch(&mut self, host: Host) -> Nanos {
        let way = self.network.way(self.trial, host, self.cdn);
        way.and_then(|way| way.first().copied()).map_or(0, |lane| self.delay(lane))
    }

    pub(super) fn heard_by_controller(&mut self, stream: usize, heard: Heard) {
        let now = self.agenda.now();
        let told = match heard {
            Heard::Left(host) => self.controller.left(stream, host, now),
            Heard::Joined(host) => self.controller.joined(stream, host, now),
            Heard::Lost { child, parent } => {
                self.agenda.note(now + HOLD, Event::Controller { stream, heard: Heard::Tick });
                self.controller.lost(stream, child, parent, now)
            }
            Heard::Tick => self.controller.tick(stream, now),
        };
        self.tell(told);
    }
}

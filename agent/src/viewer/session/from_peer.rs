//! The peers' part in a session: the parent that gives the stream, the one that is to take its place, and one to fall
//! back on.

use std::net::SocketAddrV4;
use std::time::Duration;

use livectl_wire::agent_event::{Event, Path};
use livectl_wire::flv::Content;
use livectl_wire::heartbeat::PeerRole;
use livectl_wire::peer::{Gap, Request, Since};
use tokio::time::Instant;

use super::Session;
use crate::notification::{Named, Report};
use crate::tell::{ms_since, tell};
use crate::viewer::HandoverPolicy;
use crate::viewer::merge::{Beginning, Last, Tag};
use crate::viewer::peer::{Fetch, Reading};

/// First wait before a peer is tried again; doubled up to [`MAX_BACK_OFF`].
const BACK_OFF: Duration = Duration::from_millis(500);
/// Longest such wait.
const MAX_BACK_OFF: Duration = Duration::from_secs(8);
/// Longest such wait for a peer that the network has named again.
const NAMED_AGAIN: Duration = Duration::from_secs(2);
/// Longest time between two pictures with which a peer's silence is compared.
const MAX_INTERVAL: Duration = Duration::from_secs(5);
/// So many times as long as between two pictures is a silence.
const INTERVALS: u32 = 4;
/// So many silences long a peer may say that it has nothing itself.
const STARVED: u32 = 2;
/// The same at least: a parent that has lost its own needs a moment to find another.
const LEAST_STARVED: Duration = Duration::from_secs(1);
/// A backlog that begins by so much before what was written meanwhile is not worth waiting for, and a CDN that is
/// behind by so much neither.
const STALE_MS: u32 = 2000;
/// How much later than the CDN's word that the stream is on a peer may begin with it: the first frames go down a
/// whole tree.
const BEGINS_WITHIN: Duration = Duration::from_secs(1);
/// So long after it came a viewer that no peer has served yet asks as one that has just come: what the CDN has given
/// it may be far behind.
const YOUNG: Duration = Duration::from_secs(5);
/// How long one that takes a lost parent's place may take to serve before the CDN goes on.
const FALLBACK: Duration = Duration::from_secs(1);

/// The peers of a session. What is not said of another is about the parent.
pub(super) struct Peer {
    addresses: Vec<SocketAddrV4>,
    /// Which of them is the one.
    at: usize,
    state: State,
    back_off: Duration,
    /// When anything came from it last.
    heard: Instant,
    /// Since when the stream goes on without it: it has given nothing since then, or since the CDN gave something.
    starved: Option<Instant>,
    /// It was asked for what the player was waiting for, and nothing of it has come yet.
    blind: bool,
    /// That has happened, and what follows the last element is asked for from then on.
    was_blind: bool,
    /// It was asked in place of another, and if it does not serve until then the CDN goes on.
    fallback: Option<Instant>,
    /// The CDN is to give the stream in its place, as soon as it can.
    pub(super) leaving: bool,
    /// Its successor, which was asked for what follows that element.
    next: Option<(SocketAddrV4, Fetch, Option<Last>)>,
    /// The standby for when it is lost.
    standby: Option<(SocketAddrV4, Fetch)>,
    /// When it was introduced, or lost.
    pub(super) since: Instant,
    /// It has given something that was written since it was asked.
    pub(super) has_served: bool,
    pub(super) gap: Option<Gap>,
    /// Longest time between two of its pictures.
    interval: Duration,
    last_picture: Option<u32>,
}

/// Something that a peer says.
pub(super) enum Said {
    /// What comes from the parent.
    Parent(Option<Reading>),
    /// What comes from the one that is to take the parent's place.
    Next(Option<Reading>),
    /// What comes from the one to fall back on.
    Standby(Option<Reading>),
}

/// Where a peer begins, compared with what the player has.
enum Begins {
    /// The CDN was quicker, by much: what follows that is asked for.
    TooEarly,
    /// With all since the player came, and the CDN's is much older than that: its upload was held back. Nobody waits
    /// for the CDN then.
    FarAhead,
    /// Near what the player had last.
    Well,
}

enum State {
    /// None is known, or it has given everything.
    Idle,
    /// It was asked for what follows that element.
    Asked(Fetch, Option<Last>),
    /// It serves the stream.
    Serving(Fetch),
    /// It will be tried again then.
    Waiting(Instant),
}

impl Peer {
    pub(super) fn new(addresses: &[SocketAddrV4], now: Instant) -> Self {
        Self {
            addresses: addresses.to_vec(),
            at: 0,
            state: State::Idle,
            back_off: BACK_OFF,
            heard: now,
            starved: None,
            blind: false,
            was_blind: false,
            fallback: None,
            leaving: false,
            next: None,
            standby: None,
            since: now,
            has_served: false,
            gap: None,
            interval: Duration::ZERO,
            last_picture: None,
        }
    }

    /// Address of the parent; `None`: none is known.
    pub(super) fn address(&self) -> Option<SocketAddrV4> {
        self.addresses.get(self.at % self.addresses.len().max(1)).copied()
    }

    /// Whether a parent is known.
    pub(super) fn is_known(&self) -> bool {
        !self.addresses.is_empty()
    }

    /// Whether something may come from it without being asked again.
    pub(super) fn is_there(&self) -> bool {
        matches!(self.state, State::Asked(..) | State::Serving(_))
    }

    /// Whether the parent serves.
    pub(super) fn is_serving(&self) -> bool {
        matches!(self.state, State::Serving(_))
    }

    /// Ends the connections to all peers.
    pub(super) fn leave(&mut self) {
        self.state = State::Idle;
        (self.next, self.standby, self.leaving, self.fallback) = (None, None, false, None);
    }

    /// The parent is this one from now on.
    fn replace(&mut self, by: SocketAddrV4, state: State) {
        self.addresses = vec![by];
        (self.at, self.state) = (0, state);
        (self.back_off, self.has_served, self.fallback) = (BACK_OFF, false, None);
    }

    /// The connection that stands by, if it is to that peer.
    fn take_standby(&mut self, peer: SocketAddrV4) -> Option<Fetch> {
        self.standby.take_if(|(standby, _)| *standby == peer).map(|(_, fetch)| fetch)
    }

    /// Waits for what one of them says; for ever if there is no connection. The parent is not heard without `room`.
    pub(super) async fn said(&mut self, room: bool) -> Said {
        let Self { state, next, standby, .. } = self;
        let parent = async {
            match state {
                State::Asked(fetch, _) | State::Serving(fetch) if room => fetch.next().await,
                _ => std::future::pending().await,
            }
        };
        let next = async {
            match next {
                Some((_, fetch, _)) => fetch.next().await,
                None => std::future::pending().await,
            }
        };
        let standby = async {
            match standby {
                Some((_, fetch)) => fetch.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            reading = parent => Said::Parent(reading),
            reading = next => Said::Next(reading),
            reading = standby => Said::Standby(reading),
        }
    }

    /// Notes the time between pictures, by their timestamps: they come in bursts.
    fn note(&mut self, tag: &Tag) {
        if !matches!(tag.content, Content::Picture { .. }) {
            return;
        }
        if let Some(last) = self.last_picture.replace(tag.timestamp) {
            let between = Duration::from_millis(u64::from(tag.timestamp.saturating_sub(last)));
            self.interval = self.interval.max(between.min(MAX_INTERVAL));
        }
    }
}

impl Session<'_> {
    /// The network names a peer.
    pub(super) fn introduced(&mut self, Named { role, peer }: Named) {
        match role {
            // A group is to who is in it what a parent is.
            PeerRole::Parent | PeerRole::Group => self.parent_named(peer),
            PeerRole::Standby => self.standby_named(peer),
            PeerRole::Cdn => self.cdn_named(),
            // Whom this host serves is not the session's business.
            PeerRole::Child => (),
        }
    }

    fn parent_named(&mut self, peer: SocketAddrV4) {
        self.peer.leaving = false;
        if self.peer.next.as_ref().is_some_and(|(next, ..)| *next == peer) {
            return;
        }
        self.peer.next = None;
        if self.peer.address() == Some(peer) {
            match self.peer.state {
                // The network may say so because it was told that it is lost, and knows no other.
                State::Waiting(until) => {
                    self.peer.state = State::Waiting(until.min(Instant::now() + NAMED_AGAIN));
                }
                State::Idle if !self.peer_has_ended => {
                    self.peer.back_off = BACK_OFF;
                    self.ask_peer();
                }
                State::Idle | State::Asked(..) | State::Serving(_) => (),
            }
            return;
        }
        let (request, last) = self.request();
        let fetch = match self.peer.take_standby(peer) {
            Some(mut standby) => {
                standby.ask(request);
                standby
            }
            None => self.fetch(peer, request),
        };
        if self.peer.is_serving() {
            // It goes on until the other serves.
            self.peer.next = Some((peer, fetch, last));
        } else {
            self.peer.replace(peer, State::Asked(fetch, last));
            self.peer.since = Instant::now();
        }
    }

    fn standby_named(&mut self, peer: SocketAddrV4) {
        let is_known = self.peer.standby.as_ref().is_some_and(|(standby, _)| *standby == peer);
        if !is_known && (self.peer.address() != Some(peer) || !self.peer.is_there()) {
            self.peer.standby = Some((peer, Fetch::stand_by(peer, self.in_parts())));
        }
    }

    /// There is no parent for it: the CDN goes on, and whoever gives the stream now does so until then.
    fn cdn_named(&mut self) {
        self.peer.next = None;
        if self.peer.is_there() {
            self.peer.leaving = true;
            self.resume_cdn();
        } else {
            self.peer.addresses.clear();
            self.peer.state = State::Idle;
            self.merge.hope(Path::Peer, false);
        }
    }

    /// Leaves the peer when the CDN gives the stream, if that is what is wanted.
    pub(super) fn leave_peer_for_cdn(&mut self) {
        if self.peer.leaving && self.merge.is_known(Path::Cdn) {
            self.peer.addresses.clear();
            self.peer.state = State::Idle;
            self.peer.leaving = false;
            self.peer.since = Instant::now();
            self.merge.close(Path::Peer);
        }
    }

    /// What a peer is asked for: what follows the last element; before there is one, what the player has been waiting
    /// for. The first peer of a young session is asked for that, too: what it gives is then held against what the CDN
    /// gave ([`Session::beginning`]).
    fn request(&self) -> (Request, Option<Last>) {
        let is_young = !self.peer.was_blind && self.begun.elapsed() < YOUNG;
        let last = self.merge.last().filter(|_| self.merge.has_begun() && !is_young);
        let since = match last {
            Some(Last { timestamp, id, .. }) => Since::After { timestamp, id },
            // A player that waits for 49 days has waited long enough.
            None => Since::Waiting(u32::try_from(self.begun.elapsed().as_millis()).unwrap_or(u32::MAX)),
        };
        let live = self.args.handover == HandoverPolicy::Live;
        (Request { stream: self.args.stream.clone(), since, live }, last)
    }

    /// Asks the parent.
    pub(super) fn ask_peer(&mut self) {
        let Some(address) = self.peer.address() else { return };
        let (request, last) = self.request();
        self.peer.state = State::Asked(self.fetch(address, request), last);
        self.peer.has_served = false;
    }

    /// Asks a peer, or joins a group, of which nothing can be asked.
    fn fetch(&self, from: SocketAddrV4, request: Request) -> Fetch {
        match from.ip().is_multicast() {
            true => Fetch::join(from, self.args.cdn.0, request.stream),
            false => Fetch::begin(from, request, self.in_parts()),
        }
    }

    /// Takes what a peer says.
    pub(super) fn peer_said(&mut self, said: Said) {
        match said {
            Said::Parent(reading) => self.parent_said(reading),
            Said::Next(Some(Reading::Serves(gap))) => self.move_to_next(gap),
            Said::Next(reading) => {
                if let Some((peer, ..)) = self.peer.next.take() {
                    self.tell_lost(peer, why_lost(reading));
                }
            }
            Said::Standby(reading) => {
                if let Some((peer, _)) = self.peer.standby.take() {
                    tell(Event::StandbyLost { peer, why: why_lost(reading) });
                    self.report_lost(peer);
                }
            }
        }
        self.write_all();
    }

    fn parent_said(&mut self, reading: Option<Reading>) {
        self.peer.heard = Instant::now();
        match reading {
            Some(Reading::Serves(gap)) => self.peer_serves(gap),
            Some(Reading::Tags(tags)) => {
                if !tags.is_empty() {
                    self.peer.starved = (self.serving == Path::Peer).then_some(self.peer.heard);
                }
                match self.beginning(&tags) {
                    Begins::TooEarly => {
                        self.merge.close(Path::Peer);
                        return self.ask_peer();
                    }
                    Begins::FarAhead => self.merge.skip(Path::Peer),
                    Begins::Well => (),
                }
                for tag in tags {
                    self.peer.note(&tag);
                    self.merge.give(Path::Peer, tag);
                }
            }
            Some(Reading::Behind(by)) => {
                let most = self.args.service.limits().lag;
                if most.is_some_and(|most| by > most) {
                    self.lose_peer(format!("its data comes {:.1} s later than it could", by.as_secs_f64()));
                }
            }
            Some(Reading::Part(part)) => self.part_came(&part),
            Some(Reading::Missing(tags)) => tell(Event::TagsLost { tags }),
            Some(Reading::End) => {
                self.merge.end(Path::Peer);
                self.peer_has_ended = true;
                self.peer.leave();
            }
            reading => self.lose_peer(why_lost(reading)),
        }
    }

    /// How what a peer gives first lies to what the player has, where it was asked for when the player had nothing:
    /// the CDN may have given something meanwhile.
    fn beginning(&mut self, tags: &[Tag]) -> Begins {
        let first = tags.iter().find(|tag| matches!(tag.content, Content::Picture { .. } | Content::Sound));
        let Some(first) = first.filter(|_| self.peer.blind) else { return Begins::Well };
        self.peer.blind = false;
        match self.merge.last().filter(|_| self.merge.has_begun()) {
            Some(last) if last.timestamp.saturating_sub(first.timestamp) > STALE_MS => Begins::TooEarly,
            Some(last) if first.timestamp.saturating_sub(last.timestamp) > STALE_MS => Begins::FarAhead,
            _ => Begins::Well,
        }
    }

    /// The CDN gave something that goes on beyond what the peer has given.
    pub(super) fn peer_is_behind(&mut self) {
        if self.peer.is_serving() {
            self.peer.starved.get_or_insert_with(Instant::now);
        }
    }

    /// The CDN, which is silent, says that the stream is on.
    pub(super) fn peer_should_have_begun(&mut self) {
        if self.peer.is_serving() && !self.merge.has_begun() {
            self.peer.starved.get_or_insert(Instant::now() + BEGINS_WITHIN);
        }
    }

    /// Who was to take the parent's place serves: from now on it gives the stream.
    fn move_to_next(&mut self, gap: Option<Gap>) {
        let Some((peer, fetch, last)) = self.peer.next.take() else { return };
        // What waits there of the old one comes again.
        self.merge.close(Path::Peer);
        self.peer.replace(peer, State::Asked(fetch, last));
        self.peer.heard = Instant::now();
        self.peer_serves(gap);
    }

    fn tell_lost(&self, peer: SocketAddrV4, why: String) {
        tell(Event::PeerLost { peer, why });
        self.report_lost(peer);
    }

    fn report_lost(&self, peer: SocketAddrV4) {
        // Nobody may be listening.
        let _ = self.reports.send(Report::Lost(peer));
    }

    fn peer_serves(&mut self, gap: Option<Gap>) {
        let state = std::mem::replace(&mut self.peer.state, State::Idle);
        let State::Asked(fetch, last) = state else { return };
        self.peer.state = State::Serving(fetch);
        self.peer.gap = gap;
        self.peer.blind = last.is_none();
        self.peer.was_blind = true;
        self.peer.fallback = None;
        self.peer.starved = (self.serving == Path::Peer).then_some(self.peer.heard);
        if let Some(peer) = self.peer.address() {
            tell(Event::PeerConnected { peer, ms: ms_since(self.begun) });
            // Nobody may be listening.
            let _ = self.reports.send(Report::Serves(peer));
        }
        let beginning = match (last, gap) {
            (Some(Last { number, timestamp: written, .. }), Some(Gap { skipped, at: Some(given), .. })) => {
                if skipped == Some(0) {
                    Beginning::After { number, written, given }
                } else {
                    Beginning::Skipping { written, given }
                }
            }
            _ => Beginning::Anywhere,
        };
        self.merge.open(Path::Peer, beginning);
        self.leave_cdn_before_the_stream();
    }

    /// The parent is gone. Who is to take its place, or stands by, is asked. Else one that has served is tried again
    /// at once, for it may have what is missing, and is waited for meanwhile.
    fn lose_peer(&mut self, why: String) {
        if let Some(peer) = self.peer.address() {
            self.tell_lost(peer, why);
        }
        let now = Instant::now();
        // That has nothing of what is missing.
        let is_group = self.peer.address().is_some_and(|peer| peer.ip().is_multicast());
        self.merge.close(Path::Peer);
        self.peer.since = now;
        self.peer.at += 1;
        if self.cdn_ended {
            // There is nothing more to be had, from nobody.
            self.peer.leave();
            return self.end_stream();
        }
        if self.peer.leaving {
            self.peer.leave();
            self.peer.addresses.clear();
        } else if let Some((peer, fetch, last)) = self.in_place_of_parent() {
            self.peer.replace(peer, State::Asked(fetch, last));
            self.peer.fallback = Some(now + FALLBACK);
            self.merge.hope(Path::Peer, true);
            // As long as it is quick enough the CDN need not send anything.
            return;
        } else if self.peer.has_served && !is_group {
            self.peer.back_off = BACK_OFF;
            self.ask_peer();
            self.merge.hope(Path::Peer, true);
        } else {
            self.peer.state = State::Waiting(now + self.peer.back_off);
            self.peer.back_off = (self.peer.back_off * 2).min(MAX_BACK_OFF);
            // The network has been told, and may name another one in a moment, who has what is missing.
            self.merge.hope(Path::Peer, !is_group && self.args.notify.is_some() && self.merge.has_begun());
        }
        self.resume_cdn();
    }

    /// Who has been asked already, or else who stands by.
    fn in_place_of_parent(&mut self) -> Option<(SocketAddrV4, Fetch, Option<Last>)> {
        let next = self.peer.next.take();
        next.or_else(|| {
            let (peer, mut fetch) = self.peer.standby.take()?;
            let (request, last) = self.request();
            fetch.ask(request);
            Some((peer, fetch, last))
        })
    }

    /// When a peer is to be tried again, or has been silent for too long: one that gives the frames, or that gives
    /// none although the CDN does.
    pub(super) fn peer_deadline(&self) -> Option<Instant> {
        match &self.peer.state {
            State::Idle => None,
            State::Asked(..) => self.peer.fallback,
            State::Waiting(until) => Some(*until),
            State::Serving(_) => {
                let silence = Duration::from_secs_f64(self.args.peer_silence).max(self.peer.interval * INTERVALS);
                let late = self.peer.heard + silence;
                let should = self.serving == Path::Peer || self.cdn.is_silenced() || self.last_write > late;
                let starved = self.peer.starved.map(|since| since + (silence * STARVED).max(LEAST_STARVED));
                let is_read = self.down.len() < super::MAX_DOWN && self.merge.has_room(Path::Peer);
                let is_asked = is_read && self.may_write();
                [Some(late).filter(|_| should), starved].into_iter().flatten().min().filter(|_| is_asked)
            }
        }
    }

    pub(super) fn peer_is_late(&mut self) {
        match &self.peer.state {
            State::Waiting(_) => self.ask_peer(),
            State::Serving(_) => {
                let heard = self.peer.heard.elapsed();
                let starved = self.peer.starved.map_or(Duration::ZERO, |since| since.elapsed());
                let why = match heard < starved / 2 {
                    true => format!("it has had nothing itself for {:.1} s", starved.as_secs_f64()),
                    false => format!("it sent nothing for {:.1} s", heard.as_secs_f64()),
                };
                self.lose_peer(why);
                self.write_all();
            }
            State::Asked(..) => {
                self.peer.fallback = None;
                self.resume_cdn();
            }
            State::Idle => (),
        }
    }
}

/// Why there is nothing more from a peer.
fn why_lost(reading: Option<Reading>) -> String {
    match reading {
        Some(Reading::Lost(why)) => why,
        Some(Reading::End) => "it ended before it was asked".to_owned(),
        _ => "its reader ended".to_owned(),
    }
}

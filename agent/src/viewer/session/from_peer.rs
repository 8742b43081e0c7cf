//! The peer's part in a session.

use std::net::SocketAddrV4;
use std::time::Duration;

use livectl_wire::agent_event::{Event, Path};
use livectl_wire::flv::Content;
use livectl_wire::peer::{Gap, Request, Since};
use tokio::time::Instant;

use super::Session;
use crate::tell::{ms_since, tell};
use crate::viewer::HandoverPolicy;
use crate::viewer::merge::{Beginning, Last, Tag};
use crate::viewer::peer::{Fetch, Reading};

/// First wait before a peer is tried again; doubled up to [`MAX_BACK_OFF`].
const BACK_OFF: Duration = Duration::from_millis(500);
/// Longest such wait.
const MAX_BACK_OFF: Duration = Duration::from_secs(8);
/// Longest time between two pictures with which a peer's silence is compared.
const MAX_INTERVAL: Duration = Duration::from_secs(5);
/// So many times as long as between two pictures is a silence.
const INTERVALS: u32 = 4;

/// The peer of a session.
pub(super) struct Peer {
    addresses: Vec<SocketAddrV4>,
    /// Which of them is the one.
    at: usize,
    state: State,
    back_off: Duration,
    /// When something came last.
    heard: Instant,
    /// When it was introduced, or lost.
    pub(super) since: Instant,
    /// It has given something that was written since it was asked.
    pub(super) has_served: bool,
    pub(super) gap: Option<Gap>,
    /// Longest time between two of its pictures.
    interval: Duration,
    last_picture: Option<u32>,
}

enum State {
    /// None is known, or it has given everything.
    Idle,
    /// It was asked for what follows that element.
    Asked(Fetch, Option<Last>),
    /// It serves.
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
            since: now,
            has_served: false,
            gap: None,
            interval: Duration::ZERO,
            last_picture: None,
        }
    }

    fn address(&self) -> Option<SocketAddrV4> {
        self.addresses.get(self.at % self.addresses.len().max(1)).copied()
    }

    /// Whether one is known.
    pub(super) fn is_known(&self) -> bool {
        !self.addresses.is_empty()
    }

    /// Whether something may come from it without being asked again.
    pub(super) fn is_there(&self) -> bool {
        matches!(self.state, State::Asked(..) | State::Serving(_))
    }

    /// Whether it serves.
    pub(super) fn is_serving(&self) -> bool {
        matches!(self.state, State::Serving(_))
    }

    /// Ends the connection, if there is one.
    pub(super) fn leave(&mut self) {
        self.state = State::Idle;
    }

    /// Waits for what it says, if there is a connection.
    pub(super) async fn next(&mut self) -> Option<Reading> {
        match &mut self.state {
            State::Asked(fetch, _) | State::Serving(fetch) => fetch.next().await,
            State::Idle | State::Waiting(_) => std::future::pending().await,
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
    pub(super) fn introduced(&mut self, peer: SocketAddrV4) {
        let known = self.peer.address() == Some(peer);
        if known && !matches!(self.peer.state, State::Waiting(_)) {
            return;
        }
        if !known {
            self.peer.addresses = vec![peer];
            self.peer.at = 0;
            self.peer.since = Instant::now();
        }
        self.peer.back_off = BACK_OFF;
        self.ask_peer();
    }

    /// Asks the peer for what follows the last element; before there is one, for what the player has been waiting for.
    pub(super) fn ask_peer(&mut self) {
        let Some(address) = self.peer.address() else { return };
        let last = self.merge.last().filter(|_| self.merge.has_begun());
        let since = match last {
            Some(Last { timestamp, id, .. }) => Since::After { timestamp, id },
            // A player that waits for 49 days has waited long enough.
            None => Since::Waiting(u32::try_from(self.begun.elapsed().as_millis()).unwrap_or(u32::MAX)),
        };
        let live = self.args.handover == HandoverPolicy::Live;
        let request = Request { stream: self.args.stream.clone(), since, live };
        self.peer.state = State::Asked(Fetch::begin(address, request), last);
        self.peer.has_served = false;
    }

    /// Takes what the peer says.
    pub(super) fn peer_said(&mut self, reading: Option<Reading>) {
        self.peer.heard = Instant::now();
        match reading {
            Some(Reading::Serves(gap)) => self.peer_serves(gap),
            Some(Reading::Tags(tags)) => {
                for tag in tags {
                    self.peer.note(&tag);
                    self.merge.give(Path::Peer, tag);
                }
            }
            Some(Reading::End) => {
                self.merge.end(Path::Peer);
                self.peer.leave();
            }
            Some(Reading::Lost(why)) => self.lose_peer(why),
            None => self.lose_peer("its reader ended".to_owned()),
        }
        self.write_all();
    }

    fn peer_serves(&mut self, gap: Option<Gap>) {
        let state = std::mem::replace(&mut self.peer.state, State::Idle);
        let State::Asked(fetch, last) = state else { return };
        self.peer.state = State::Serving(fetch);
        self.peer.gap = gap;
        if let Some(peer) = self.peer.address() {
            tell(Event::PeerConnected { peer, ms: ms_since(self.begun) });
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
    }

    /// The peer is gone. One that has served is tried again at once, for it may have what is missing, and is waited for meanwhile.
    fn lose_peer(&mut self, why: String) {
        if let Some(peer) = self.peer.address() {
            tell(Event::PeerLost { peer, why });
        }
        let now = Instant::now();
        self.merge.close(Path::Peer);
        self.peer.since = now;
        self.peer.at += 1;
        if self.cdn_ended {
            // There is nothing more to be had, from nobody.
            self.peer.leave();
            return self.end_stream();
        }
        if self.peer.has_served {
            self.peer.back_off = BACK_OFF;
            self.ask_peer();
            self.merge.hope(Path::Peer, true);
        } else {
            self.peer.state = State::Waiting(now + self.peer.back_off);
            self.peer.back_off = (self.peer.back_off * 2).min(MAX_BACK_OFF);
        }
        self.resume_cdn();
    }

    /// When a peer is to be tried again, or has been silent for too long: one that gives the frames, or that gives none although the CDN does.
    pub(super) fn peer_deadline(&self) -> Option<Instant> {
        match &self.peer.state {
            State::Idle | State::Asked(..) => None,
            State::Waiting(until) => Some(*until),
            State::Serving(_) => {
                let silence = Duration::from_secs_f64(self.args.peer_silence).max(self.peer.interval * INTERVALS);
                let late = self.peer.heard + silence;
                let is_read = self.down.len() < super::MAX_DOWN && self.merge.has_room(Path::Peer);
                let should = self.serving == Path::Peer || self.last_write > late;
                (is_read && should && self.may_write()).then_some(late)
            }
        }
    }

    pub(super) fn peer_is_late(&mut self) {
        match &self.peer.state {
            State::Waiting(_) => self.ask_peer(),
            State::Serving(_) => {
                let silent = self.peer.heard.elapsed().as_secs_f64();
                self.lose_peer(format!("it gave nothing for {silent:.1} s"));
                self.write_all();
            }
            State::Idle | State::Asked(..) => (),
        }
    }
}

//! The CDN's part in a session.

use std::io;
use std::time::Duration;

use livectl_wire::agent_event::{Event, Leaving, Path};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{LIVE_PATIENCE, PAUSE_PATIENCE, RECONNECT, RESUME_PATIENCE, Session};
use crate::tell::{ms_since, tell};
use crate::viewer::cdn::{Cdn, Heard, Link};
use crate::viewer::merge::Beginning;

impl Session<'_> {
    pub(super) fn cdn_connected(&mut self, connected: io::Result<TcpStream>) {
        let original = self.cdn.is_original();
        let connection = match connected {
            Ok(connection) => connection,
            Err(why) => return self.lose_cdn(&format!("it cannot be reached: {why}")),
        };
        tell(Event::CdnConnected { cdn: self.args.cdn.0, ms: ms_since(self.begun) });
        if original {
            self.cdn = Cdn::Open(Box::new(Link::original(connection)));
        } else if let Some(wish) = self.stream_id.and_then(|id| self.conversation.wish(id)) {
            let (mut link, first) = Link::own(connection, wish);
            link.asked = Some(Instant::now());
            self.cdn = Cdn::Open(Box::new(link));
            self.up.push(first);
        }
        if let Some(link) = self.cdn.link() {
            link.try_write(&mut self.up);
        }
    }

    /// Takes what the CDN says.
    pub(super) fn cdn_said(&mut self, bytes: &[u8]) {
        let chunk_size = self.asked.chunk_size();
        let Self { cdn, conversation, player, up, .. } = self;
        let Some(link) = cdn.link() else { return };
        let heard = link.hear(bytes, conversation, player.as_mut(), chunk_size, up);
        let (through, paused) = (link.is_through(), link.paused);
        let goes_live = link.published && !self.is_live;
        self.is_live |= link.published;
        self.announces |= link.published;
        let live = link.published || !self.announces;
        link.try_write(&mut self.up);
        let Heard { tags, through: bytes, ended_at, answers, accepted, refused, ended, unreadable } = heard;
        if through {
            let bytes = self.padded(bytes, ended_at);
            self.pass_through(bytes, &tags);
        } else {
            for answer in answers {
                self.down.push(answer);
            }
            for tag in tags.into_iter().filter(|_| !paused) {
                self.merge.give(Path::Cdn, tag);
            }
        }
        if accepted && !self.accepted {
            self.accepted = true;
            self.hasten.accepted();
            tell(Event::PlayAccepted { ms: ms_since(self.begun) });
            self.leave_cdn_before_the_stream();
        } else if accepted && !live && !self.peer.is_there() {
            // The CDN would have said that it is being published, and the peer is gone as well.
            return self.end_stream();
        }
        if let Some(why) = unreadable {
            if through { self.tell_unreadable(why) } else { self.lose_cdn(&why) }
        } else if let Some(why) = refused.filter(|_| !through) {
            self.lose_cdn(&format!("it refused: {why}"));
        } else if ended {
            self.cdn_has_ended(through);
        }
        if goes_live && paused {
            // The player has not been waiting for this for as long as it has been there.
            self.last_write = Instant::now();
            self.peer_should_have_begun();
        }
        self.write_all();
    }

    fn cdn_has_ended(&mut self, through: bool) {
        self.cdn_ended = true;
        self.merge.end(Path::Cdn);
        if through {
            // The player has been told by the CDN itself, and leaves.
            self.stream_ended = true;
            self.peer.leave();
            tell(Event::StreamEnded { frames: self.frames });
        } else if !self.peer.is_there() {
            self.end_stream();
        }
    }

    /// The CDN's connection is gone. Without a peer that is known the player is to see that, as it would without an
    /// agent.
    pub(super) fn lose_cdn(&mut self, why: &str) {
        if self.stream_ended {
            return self.over("the CDN closed the connection");
        }
        tell(Event::CdnLost { why: why.to_owned() });
        self.merge.close(Path::Cdn);
        self.up.clear();
        if self.player.is_none() && !(self.may_write() && self.peer.is_known()) {
            self.cdn = Cdn::Gone;
            self.given_up = true;
            return self.over(&format!("the CDN: {why}"));
        }
        self.write_for_player();
        self.cdn = if self.serving == Path::Peer && self.peer.is_serving() || self.cdn_ended {
            Cdn::Gone
        } else {
            Cdn::Waiting(Instant::now() + RECONNECT)
        };
    }

    /// The peer gives what is needed.
    pub(super) fn leave_cdn(&mut self) {
        let (chunk_size, stream_id) = (self.asked.chunk_size(), self.stream_id.unwrap_or(1));
        match &mut self.cdn {
            Cdn::Open(link) if !link.paused => {
                let pause = link.pause(true, chunk_size, stream_id);
                self.up.push(pause);
                link.try_write(&mut self.up);
                self.merge.close(Path::Cdn);
                tell(Event::CdnLeft { how: Leaving::Paused });
            }
            Cdn::Connecting { .. } | Cdn::Waiting(_) => self.cdn = Cdn::Gone,
            Cdn::Open(_) | Cdn::Gone => (),
        }
    }

    /// A peer that is there before the stream is will give it from its beginning on. The CDN is silenced at once:
    /// what it sends first goes to all its viewers at the same time, and would fill its link when peers are to be
    /// told of each other through it.
    pub(super) fn leave_cdn_before_the_stream(&mut self) {
        let waits = self.may_write() && !self.stream_is_on() && self.peer.is_serving() && !self.peer.leaving;
        if waits && self.cdn.link().is_some_and(|link| !link.paused) {
            self.write_for_player();
            self.leave_cdn();
        }
    }

    /// Whether there is a stream, as far as is known here.
    pub(super) fn stream_is_on(&self) -> bool {
        self.is_live || self.merge.has_begun()
    }

    /// The peer gives nothing any more.
    pub(super) fn resume_cdn(&mut self) {
        let (chunk_size, stream_id) = (self.asked.chunk_size(), self.stream_id.unwrap_or(1));
        match &mut self.cdn {
            Cdn::Open(link) if link.paused => {
                let resume = link.pause(false, chunk_size, stream_id);
                self.up.push(resume);
                link.try_write(&mut self.up);
                self.merge.open(Path::Cdn, Beginning::Anywhere);
                tell(Event::CdnResumed { from: Leaving::Paused });
            }
            Cdn::Gone if self.player.is_some() && !self.cdn_ended => {
                tell(Event::CdnResumed { from: Leaving::Closed });
                self.reconnect();
            }
            Cdn::Gone | Cdn::Open(_) | Cdn::Connecting { .. } | Cdn::Waiting(_) => (),
        }
    }

    fn reconnect(&mut self) {
        self.up.clear();
        self.merge.open(Path::Cdn, Beginning::Anywhere);
        let deadline = Instant::now() + Duration::from_secs(self.args.patience);
        self.cdn = Cdn::connect(self.args.cdn.0, deadline, false);
    }

    /// When the CDN should have done what it was asked to, or is to be tried again.
    pub(super) fn cdn_deadline(&self) -> Option<Instant> {
        match &self.cdn {
            Cdn::Waiting(until) => Some(*until),
            Cdn::Open(link) if link.is_pausing() => link.asked.map(|asked| asked + PAUSE_PATIENCE),
            // Before there is a stream it has nothing to send.
            Cdn::Open(link) if !link.paused && (link.is_own() || self.stream_is_on()) => {
                link.asked.map(|asked| asked.max(link.heard) + resume_patience(link))
            }
            Cdn::Open(_) | Cdn::Connecting { .. } | Cdn::Gone => None,
        }
    }

    pub(super) fn cdn_is_late(&mut self, now: Instant) {
        match std::mem::replace(&mut self.cdn, Cdn::Gone) {
            Cdn::Waiting(_) => self.reconnect(),
            // It cannot pause, or has so much queued that nothing else helps.
            Cdn::Open(link) if link.is_pausing() => {
                link.reset();
                self.up.clear();
                tell(Event::CdnLeft { how: Leaving::Closed });
            }
            Cdn::Open(link) if !link.paused => {
                tell(Event::CdnLost { why: format!("it sent nothing for {} s", resume_patience(&link).as_secs()) });
                link.reset();
                self.up.clear();
                self.merge.close(Path::Cdn);
                self.cdn = Cdn::Waiting(now + RECONNECT);
            }
            other => self.cdn = other,
        }
    }
}

/// How long a session that was resumed, or begun again, may be silent.
fn resume_patience(link: &Link) -> Duration {
    if link.is_own() && link.published { LIVE_PATIENCE } else { RESUME_PATIENCE }
}

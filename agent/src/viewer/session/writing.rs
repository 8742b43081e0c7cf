//! What the player is given.

use livectl_wire::agent_event::{Event, Path};
use livectl_wire::flv::{self, Content};
use livectl_wire::peer::Gap;
use tokio::time::Instant;

use super::Session;
use crate::serve::Entry;
use crate::tell::{ms_since, now_ns, tell};
use crate::viewer::cdn::Cdn;
use crate::viewer::client::{Between, between};
use crate::viewer::merge::{Tag, Written};
use crate::viewer::player::Player;

impl Session<'_> {
    /// Whether the agent may write into the session: it is about the stream, and the player knows that it plays.
    pub(super) fn may_write(&self) -> bool {
        self.accepted && self.stream_id.is_some() && !self.unreadable && !self.stream_ended
    }

    /// What the CDN has sent for the player goes on as it is.
    pub(super) fn pass_through(&mut self, bytes: Vec<u8>, tags: &[Tag]) {
        let idle = self.down.is_empty();
        self.down.push(bytes);
        for tag in tags {
            self.merge.note(Path::Cdn, tag);
            self.pass_on(tag);
            self.handed(Path::Cdn, tag);
        }
        if idle {
            self.write_now();
        }
    }

    /// The same bytes, with the padding that was asked for before the end of the stream, if they tell of it at
    /// `ended_at`.
    pub(super) fn padded(&mut self, mut bytes: Vec<u8>, ended_at: Option<usize>) -> Vec<u8> {
        let (padding, chunk_size) = (self.args.end_padding, self.cdn.link().and_then(|link| link.chunk_size()));
        if let (Some(at), Some(chunk_size), 1..) = (ended_at.filter(|at| *at <= bytes.len()), chunk_size, padding) {
            let filler = between(chunk_size, self.stream_id.unwrap_or(1), &Between::Padding(padding));
            bytes.splice(at..at, filler);
        }
        bytes
    }

    /// Writes everything of which it is known that it comes next.
    pub(super) fn write_all(&mut self) {
        if !self.may_write() {
            return;
        }
        let idle = self.down.is_empty();
        let mut from_peer = false;
        while let Some(written) = self.merge.next_written() {
            from_peer |= written.path == Path::Peer;
            self.write(&written);
        }
        if from_peer {
            self.peer.has_served = true;
            if !self.peer.leaving {
                self.leave_cdn();
            }
        }
        self.leave_peer_for_cdn();
        if idle {
            self.write_now();
        }
        if self.player.is_some() && self.merge.has_ended() {
            self.end_stream();
        }
    }

    /// The agent writes from now on.
    pub(super) fn write_for_player(&mut self) {
        if self.player.is_some() {
            return;
        }
        let (player, first) = Player::new(self.stream_id.unwrap_or(1));
        self.player = Some(player);
        self.down.push(first);
        self.last_write = Instant::now();
        self.cdn = match std::mem::replace(&mut self.cdn, Cdn::Gone) {
            Cdn::Open(link) => Cdn::Open(Box::new(link.merge())),
            other => other,
        };
    }

    fn write(&mut self, written: &Written) {
        let Written { path, tag, jump } = written;
        self.pass_on(tag);
        self.write_for_player();
        let Some(player) = &mut self.player else { return };
        let bytes = player.tag(tag);
        self.down.push(bytes);
        if !matches!(tag.content, Content::Picture { .. } | Content::Sound) {
            return;
        }
        let (timestamp_ms, id) = (tag.timestamp, tag.id.to_string());
        if *jump {
            let gap = self.peer.gap.take().filter(|_| *path == Path::Peer).unwrap_or_default();
            let Gap { skipped, lost, .. } = gap;
            tell(Event::Jump { path: *path, timestamp_ms, id: id.clone(), skipped, lost });
        }
        if *path == Path::Peer && !self.first_from_peer {
            self.first_from_peer = true;
            tell(Event::FirstFromPeer { timestamp_ms, id: id.clone(), ms: ms_since(self.begun) });
        }
        // As long as the peer gives, what the CDN gives in between changes nothing.
        let alone = !(self.peer.is_serving() && self.peer.has_served);
        if *path != self.serving && (*path == Path::Peer || alone) {
            self.serving = *path;
            tell(Event::Handover { to: *path, timestamp_ms, id, took_ms: ms_since(self.peer.since) });
        }
        self.handed(*path, tag);
    }

    /// Children are handed a tag.
    fn pass_on(&self, tag: &Tag) {
        let Some(children) = self.children else { return };
        let Tag { kind, content, timestamp, id, ref payload } = *tag;
        let mut bytes = Vec::new();
        // It was a message, or a tag, and has no more bytes than a tag may have.
        let _ = flv::tag(kind, timestamp, payload, &mut bytes);
        children.send(Entry { kind, content, timestamp, id, birth_ns: now_ns(), bytes: bytes.into() });
    }

    /// The player is handed a tag.
    fn handed(&mut self, path: Path, tag: &Tag) {
        self.last_write = Instant::now();
        self.timestamp = tag.timestamp;
        if path == Path::Cdn {
            self.peer_is_behind();
        }
        let Content::Picture { keyframe } = tag.content else { return };
        self.frames += 1;
        let peer = if path == Path::Peer { self.peer.address() } else { None };
        self.standing.handed(path, peer, tag.id);
        if keyframe && !self.keyframe_seen {
            self.keyframe_seen = true;
            let (timestamp_ms, id, ms) = (tag.timestamp, tag.id.to_string(), ms_since(self.begun));
            tell(Event::FirstKeyframe { path, timestamp_ms, id, ms });
        }
    }

    fn write_now(&mut self) {
        // What goes wrong here goes wrong again where it is waited for.
        if let Ok(count) = self.down.try_write(&self.to_player) {
            self.bytes += count as u64;
        }
    }

    /// Tells the player that the stream has ended, which ends the session.
    pub(super) fn end_stream(&mut self) {
        if self.stream_ended {
            return;
        }
        self.stream_ended = true;
        self.write_for_player();
        if let Some(player) = &mut self.player {
            let end = player.end(self.args.end_padding);
            self.down.push(end);
        }
        tell(Event::StreamEnded { frames: self.frames });
        self.over("end_of_stream");
    }
}

//! The stream at its broadcaster: what each of its tags means to peers and to the log of births.

use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use livectl_wire::StreamKey;
use livectl_wire::agent_event::Event;
use livectl_wire::birth::{BirthKind, Register};
use livectl_wire::flv::{self, Content};
use livectl_wire::frame::FrameId;
use livectl_wire::peer::Since;
use tokio::sync::watch;

use super::birth_log::BirthLog;
use super::group::Group;
use super::recording::Recording;
use crate::media::{Media, stated_rate};
use crate::serve::{Entry, Limits, Peers};
use crate::tell::{now_ns, tell};

/// A stream that began less than so many milliseconds ago is sent to a group from its beginning on: what has piled up
/// until its members were told. It takes the uplink for a moment.
const YOUNG_MS: u32 = 1500;

/// What all sessions of the agent have in common.
#[derive(Debug)]
pub(super) struct Studio {
    pub(super) stream: StreamKey,
    pub(super) peers: Arc<Peers>,
    pub(super) group: Group,
    /// Where the link leads by which a group is reached.
    cdn: SocketAddrV4,
    files: Files,
    air: Mutex<Air>,
    born_bytes: AtomicU64,
    /// Of those, what waits for the CDN.
    waiting: AtomicU64,
    /// What the program says of its rate, in bit/s; 0: nothing.
    stated_rate: AtomicU64,
    /// How many sessions that published the stream are over.
    finished: watch::Sender<u64>,
    /// How many sessions still upload what they have published, although their programs are gone.
    leaving: watch::Sender<u64>,
}

/// What the agent writes down of its stream.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// The log of births; `None`: none is asked for.
    pub(super) births: Option<BirthLog>,
    /// The recording of all tags; `None`: none is asked for.
    pub(super) recording: Option<Recording>,
}

/// As long as it is there, its session's frames are on their way to the CDN although the program is gone.
#[derive(Debug)]
pub(super) struct Leaving(watch::Sender<u64>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.send_modify(|leaving| *leaving -= 1);
    }
}

#[derive(Debug, Default)]
struct Air {
    /// The session that gives the stream.
    holder: Option<u64>,
    register: Register,
    frames: u64,
    /// How many tags of the stream there were so far.
    taken: u64,
    /// Of those, how many from the first on are in the recording.
    recorded: u64,
    timestamp: u32,
    /// The group that the network has named and to which nothing is sent yet, since there is no stream.
    named: Option<SocketAddrV4>,
    /// Number of the last publication, from which the next one's is made.
    session: u32,
    /// When its first tag was born, nanoseconds of CLOCK_REALTIME.
    first_ns: Option<i64>,
}

impl Studio {
    pub(super) fn new(stream: StreamKey, files: Files, limits: Limits, cdn: SocketAddrV4) -> Self {
        let peers = Arc::new(Peers::new(stream.clone(), limits));
        let (group, air, born_bytes, waiting, stated_rate, finished, leaving) = Default::default();
        Self { stream, peers, group, cdn, files, air, born_bytes, waiting, stated_rate, finished, leaving }
    }

    fn air(&self) -> MutexGuard<'_, Air> {
        self.air.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session publishes the stream. Before the CDN has `accepted` it this counts only as long as no other does;
    /// then whoever gave it is taken off: the CDN knows who is the one.
    pub(super) fn claim(&self, session: u64, accepted: bool) {
        let mut air = self.air();
        if air.holder == Some(session) || (air.holder.is_some() && !accepted) {
            return;
        }
        air.holder = Some(session);
        air.first_ns = None;
        self.peers.begin();
        // Later publications have greater numbers, also those of agents that come after this one.
        let seconds = u32::try_from(now_ns() / 1_000_000_000).unwrap_or(u32::MAX);
        air.session = air.session.saturating_add(1).max(seconds);
        self.group.leave();
        if let Some(group) = air.named.take() {
            self.begin_group(&air, group);
        }
    }

    /// The network has named a group: it gets the stream from the last keyframe on, so that nobody who joins with it
    /// waits for the next one; or all of it while it is [young](YOUNG_MS), since those who were there before it may
    /// have left the CDN in the hope of that.
    pub(super) fn send_to_group(&self, group: SocketAddrV4) {
        // No tag is sent meanwhile: the next is the one after what the group gets first.
        let mut air = self.air();
        if air.holder.is_some() {
            self.begin_group(&air, group);
        } else {
            air.named = Some(group);
        }
    }

    fn begin_group(&self, air: &Air, group: SocketAddrV4) {
        let is_young = air.first_ns.is_none_or(|first| now_ns() - first < i64::from(YOUNG_MS) * 1_000_000);
        let since = if is_young { Since::Waiting(YOUNG_MS) } else { Since::Keyframe };
        let begun = self.group.begin(group, self.cdn, &self.stream, air.session, &self.peers.backlog(since));
        if let Err(why) = begun {
            tell(Event::GroupFailed { group, why: why.to_string() });
        }
    }

    /// Nobody is in the group any more.
    pub(super) fn leave_group(&self) {
        self.air().named = None;
        self.group.leave();
    }

    /// The session does not publish the stream, since it was refused.
    pub(super) fn renounce(&self, session: u64) {
        let mut air = self.air();
        if air.holder == Some(session) {
            air.holder = None;
        }
    }

    /// Whether the session is the one that gives the stream.
    pub(super) fn is_held_by(&self, session: u64) -> bool {
        self.air().holder == Some(session)
    }

    /// Takes a tag of the stream from the session: peers have it at once, and its birth is noted.
    pub(super) fn take(&self, session: u64, media: &Media<'_>, birth_ns: i64) {
        let mut air = self.air();
        if air.holder != Some(session) {
            return;
        }
        air.first_ns.get_or_insert(birth_ns);
        let Media { kind, content, timestamp, payload } = *media;
        // Peers before anything else: they wait for it.
        let mut bytes = Vec::new();
        // A message has no more bytes than a tag may have.
        let _ = flv::tag(kind, timestamp, payload, &mut bytes);
        self.born_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.group.send(kind, timestamp, payload);
        let id = FrameId::of(payload);
        let bytes: Arc<[u8]> = bytes.into();
        self.peers.send(Entry { kind, content, timestamp, id, birth_ns, bytes: Arc::clone(&bytes) });
        if content == Content::Metadata {
            let rate = stated_rate(payload).unwrap_or(0.0);
            self.stated_rate.store(rate as u64, Ordering::Relaxed);
        }
        air.timestamp = timestamp;
        let birth = air.register.birth(kind, timestamp, payload, birth_ns);
        if birth.kind == BirthKind::Video {
            if air.frames == 0 {
                tell(Event::BirthFirst { birth_ns });
            }
            air.frames += 1;
        }
        // What the writers complain of is told at the end.
        if let Some(births) = &self.files.births {
            births.write(birth);
        }
        if let Some(recording) = &self.files.recording
            && air.recorded == air.taken
        {
            air.recorded += u64::from(recording.write(&bytes));
        }
        air.taken += 1;
    }

    /// The session's stream has ended. Says so once.
    pub(super) fn end(&self, session: u64) {
        let mut air = self.air();
        if air.holder != Some(session) {
            return;
        }
        air.holder = None;
        let (frames, timestamp) = (air.frames, air.timestamp);
        drop(air);
        tell(Event::StreamEnded { frames });
        self.group.end();
        self.peers.end(timestamp);
    }

    /// A session that published the stream is over.
    pub(super) fn finish(&self) {
        self.finished.send_modify(|finished| *finished += 1);
    }

    /// Waits until one is.
    pub(super) async fn finished(&self) {
        // The sender is ours: it cannot be gone.
        let _ = self.finished.subscribe().wait_for(|finished| *finished > 0).await;
    }

    /// A session's program is gone.
    pub(super) fn leave(&self) -> Leaving {
        self.leaving.send_modify(|leaving| *leaving += 1);
        Leaving(self.leaving.clone())
    }

    /// Waits until no session uploads what its program has left.
    pub(super) async fn nobody_leaves(&self) {
        // The sender is ours: it cannot be gone.
        let _ = self.leaving.subscribe().wait_for(|leaving| *leaving == 0).await;
    }

    /// So many bytes wait for the CDN in the session that gives the stream.
    pub(super) fn waits_for_cdn(&self, session: u64, bytes: usize) {
        if self.is_held_by(session) {
            self.waiting.store(bytes as u64, Ordering::Relaxed);
        }
    }

    /// Bytes that wait for the CDN.
    pub(super) fn waiting_for_cdn(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Bytes of all tags so far.
    pub(super) fn born_bytes(&self) -> u64 {
        self.born_bytes.load(Ordering::Relaxed)
    }

    /// The stream's rate in bit/s, as the program states it.
    pub(super) fn stated_rate(&self) -> Option<f64> {
        match self.stated_rate.load(Ordering::Relaxed) {
            0 => None,
            rate => Some(rate as f64),
        }
    }

    /// Frames so far.
    pub(super) fn frames(&self) -> u64 {
        self.air().frames
    }

    /// What was written down, at the end.
    pub(super) fn into_files(self) -> Files {
        self.files
    }
}

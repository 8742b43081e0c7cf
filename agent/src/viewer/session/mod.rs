//! One player's session: a loop over what happens to the player, the CDN and the peer, and when time is up.

mod cut_through;
mod from_cdn;
mod from_peer;
mod standing;
mod writing;

use std::io;
use std::time::Duration;

use livectl_wire::agent_event::{Event, Path};
use livectl_wire::heartbeat::PeerRole;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use self::from_peer::{Peer, Said};
use self::standing::Standing;
use super::ViewerArgs;
use super::cdn::{Cdn, Happened};
use super::merge::{Beginning, Merge};
use super::player::Player;
use crate::conversation::{Conversation, Meaning, Part};
use crate::notification::{Hasten, Named, Report};
use crate::outbox::Outbox;
use crate::passing::Passing;
use crate::serve::Peers;
use crate::tell::tell;

/// Bytes taken from a connection at once.
const READ_SIZE: usize = 64 << 10;
/// Bytes that may wait for the player; beyond that nobody is read.
const MAX_DOWN: usize = 64 << 20;
/// Bytes of the player's that may wait for the CDN.
const MAX_UP: usize = 1 << 20;
/// How long a player may take nothing, or not close, after the last was written.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long a source that is ahead waits for what another one may give.
const WAIT_FOR_OTHER: Duration = Duration::from_secs(2);
/// How long the CDN may go on sending after it was asked to pause: what it has queued comes first.
const PAUSE_PATIENCE: Duration = Duration::from_secs(10);
/// How long the CDN may send nothing after it was asked to go on: a group of pictures and a round trip.
const RESUME_PATIENCE: Duration = Duration::from_secs(5);
/// The same when it has said in a new session that the stream is being published: its upload may have been slowed
/// down so far that the next keyframe takes long.
const LIVE_PATIENCE: Duration = Duration::from_secs(30);
/// Between two attempts to reach the CDN again.
const RECONNECT: Duration = Duration::from_millis(500);

/// What came of a session.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) frames: u64,
    pub(super) stream_ended: bool,
    /// Nobody gives the stream any more, and the player was left without it.
    pub(super) given_up: bool,
}

/// What happens next.
enum Turn {
    PlayerTook(io::Result<usize>),
    PlayerSaid(io::Result<usize>),
    Cdn(Happened),
    Peer(Said),
    Introduced(Named),
    Tick,
}

struct Session<'a> {
    args: &'a ViewerArgs,
    hasten: &'a Hasten,
    reports: &'a mpsc::UnboundedSender<Report>,
    /// Who gets what the player gets.
    children: Option<&'a Peers>,
    begun: Instant,
    from_player: OwnedReadHalf,
    to_player: OwnedWriteHalf,
    asked: Passing,
    conversation: Conversation,
    /// Message stream on which the player plays the stream.
    stream_id: Option<u32>,
    /// The CDN has consented, and the player knows.
    accepted: bool,
    unreadable: bool,
    /// Writes what the player is given; `None`: the CDN's bytes go through as they are.
    player: Option<Player>,
    down: Outbox,
    up: Outbox,
    cdn: Cdn,
    /// The CDN has said that the stream has ended.
    cdn_ended: bool,
    /// The CDN tells when a stream is being published.
    announces: bool,
    /// It has told so in this session.
    is_live: bool,
    peer: Peer,
    /// It has given everything, to the end of the stream.
    peer_has_ended: bool,
    merge: Merge,
    /// The way by which the player's frames come.
    serving: Path,
    first_from_peer: bool,
    keyframe_seen: bool,
    last_write: Instant,
    frames: u64,
    /// Of the last element, in milliseconds.
    timestamp: u32,
    standing: Standing,
    bytes: u64,
    /// Why the session is over; `None`: it goes on.
    over: Option<String>,
    stream_ended: bool,
    given_up: bool,
}

/// What a session shares with those before and after it.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub(super) args: &'a ViewerArgs,
    pub(super) hasten: &'a Hasten,
    pub(super) reports: &'a mpsc::UnboundedSender<Report>,
    pub(super) children: Option<&'a Peers>,
}

/// Serves `player` until it leaves or the stream has ended.
pub(super) async fn run(
    surroundings: Surroundings<'_>,
    player: TcpStream,
    introductions: &mut mpsc::Receiver<Named>,
) -> Outcome {
    let Surroundings { args, hasten, reports, children } = surroundings;
    let now = Instant::now();
    let _ = player.set_nodelay(true);
    let (from_player, to_player) = player.into_split();
    let mut session = Session {
        args,
        hasten,
        reports,
        children,
        begun: now,
        from_player,
        to_player,
        asked: Passing::new(),
        conversation: Conversation::default(),
        stream_id: None,
        accepted: false,
        unreadable: false,
        player: None,
        down: Outbox::default(),
        up: Outbox::default(),
        cdn: Cdn::connect(args.cdn.0, now + Duration::from_secs(args.patience), true),
        cdn_ended: false,
        announces: false,
        is_live: false,
        peer: Peer::new(&args.peer, now),
        peer_has_ended: false,
        merge: Merge::default(),
        serving: Path::Cdn,
        first_from_peer: false,
        keyframe_seen: false,
        last_write: now,
        frames: 0,
        timestamp: 0,
        standing: Standing::new(args.now.map(Duration::from_secs_f64), now),
        bytes: 0,
        over: None,
        stream_ended: false,
        given_up: false,
    };
    session.merge.open(Path::Cdn, Beginning::Anywhere);
    if let Some(peer) = args.peer.first() {
        tell(Event::Introduced { peer: *peer, role: PeerRole::Parent.to_string(), ms: Some(0.0) });
        session.ask_peer();
    }
    if let Some(children) = children {
        children.begin();
    }
    session.serve(introductions).await;
    if let Some(children) = children {
        if session.stream_ended { children.end(session.timestamp) } else { children.abandon() }
    }
    session.say_farewell().await;
    Outcome { frames: session.frames, stream_ended: session.stream_ended, given_up: session.given_up }
}

impl Session<'_> {
    async fn serve(&mut self, introductions: &mut mpsc::Receiver<Named>) {
        let (mut said, mut heard) = (vec![0; READ_SIZE], vec![0; READ_SIZE]);
        while self.over.is_none() {
            match self.turn(&mut said, &mut heard, introductions).await {
                Turn::PlayerTook(Ok(count)) => self.bytes += count as u64,
                Turn::PlayerSaid(Ok(count @ 1..)) => self.player_said(said.get(..count).unwrap_or_default()),
                Turn::PlayerSaid(Ok(0)) => self.over("the player left"),
                Turn::PlayerTook(Err(why)) | Turn::PlayerSaid(Err(why)) => self.over(&format!("the player: {why}")),
                Turn::Cdn(Happened::Connected(connected)) => self.cdn_connected(connected),
                Turn::Cdn(Happened::Said(Ok(count @ 1..))) => self.cdn_said(heard.get(..count).unwrap_or_default()),
                Turn::Cdn(Happened::Said(Ok(0))) => self.lose_cdn("it closed the connection"),
                Turn::Cdn(Happened::Said(Err(why))) => self.lose_cdn(&why.to_string()),
                // Its end comes with what it says, after the last of that.
                Turn::Cdn(Happened::Took(Err(_))) => drop(self.up.clear()),
                Turn::Cdn(Happened::Took(Ok(_))) => (),
                Turn::Peer(said) => self.peer_said(said),
                Turn::Introduced(named) => self.introduced(named),
                Turn::Tick => self.tick(),
            }
        }
    }

    async fn turn(&mut self, said: &mut [u8], heard: &mut [u8], introductions: &mut mpsc::Receiver<Named>) -> Turn {
        let deadline = self.deadline();
        let room = self.down.len() < MAX_DOWN;
        let (cdn_room, peer_room) = (self.merge.has_room(Path::Cdn), self.merge.has_room(Path::Peer));
        let full = self.up.len() >= MAX_UP && self.player.is_none();
        let Self { down, to_player, from_player, up, cdn, peer, .. } = self;
        let waits = !down.is_empty();
        tokio::select! {
            biased;
            took = down.write(to_player), if waits => Turn::PlayerTook(took),
            said = peer.said(room && peer_room) => Turn::Peer(said),
            happened = cdn.next(up, heard, room && cdn_room) => Turn::Cdn(happened),
            count = from_player.read(said), if !full => Turn::PlayerSaid(count),
            Some(named) = introductions.recv() => Turn::Introduced(named),
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => Turn::Tick,
        }
    }

    fn over(&mut self, why: &str) {
        self.over.get_or_insert_with(|| why.to_owned());
    }

    /// What the player says goes to the CDN as long as its own session there is open, one message after the other, so
    /// that the agent's may come between. Then there is nobody who could answer it.
    fn player_said(&mut self, bytes: &[u8]) {
        let Self { asked, conversation, .. } = self;
        let mut meanings = Vec::new();
        let ready = asked.push(bytes, |message| meanings.extend(conversation.client(&message)));
        if self.cdn.is_original() && (self.player.is_none() || self.up.len() < MAX_UP) {
            self.up.push(ready);
            if let Some(link) = self.cdn.link() {
                link.try_write(&mut self.up);
            }
        }
        for meaning in meanings {
            let Meaning::Asked { part, stream_id, stream } = meaning else { continue };
            if part == Part::Play && stream.as_ref() == Ok(&self.args.stream) {
                self.stream_id = Some(stream_id);
            } else {
                let stream = stream.map_or_else(|name| name, |stream| stream.to_string());
                tell(Event::OtherStream { stream });
            }
        }
        if let Some(why) = self.asked.failed().map(ToString::to_string) {
            self.tell_unreadable(why);
        }
    }

    fn tell_unreadable(&mut self, why: String) {
        if !self.unreadable {
            self.unreadable = true;
            tell(Event::Unreadable { why });
        }
    }

    /// When something is to be done although nothing happens.
    fn deadline(&self) -> Option<Instant> {
        let patience = self.is_owed().then(|| self.last_write + Duration::from_secs(self.args.patience));
        let stall = self.merge.is_waiting().then(|| self.last_write + WAIT_FOR_OTHER);
        let stall = stall.filter(|_| self.may_write());
        [patience, stall, self.cdn_deadline(), self.peer_deadline(), self.standing.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether the player is to get something from the agent.
    fn is_owed(&self) -> bool {
        self.player.is_some() && self.stream_is_on()
    }

    fn tick(&mut self) {
        let now = Instant::now();
        let is_due = |deadline: Option<Instant>| deadline.is_some_and(|deadline| now >= deadline);
        if self.is_owed() && now >= self.last_write + Duration::from_secs(self.args.patience) {
            self.given_up = true;
            return self.over(&format!("neither the CDN nor a peer sent anything for {} s", self.args.patience));
        }
        if self.may_write() && self.merge.is_waiting() && now >= self.last_write + WAIT_FOR_OTHER {
            self.merge.give_up();
            self.write_all();
            if !self.peer.is_there() {
                self.merge.hope(Path::Peer, false);
            }
            // Not again before the same time has passed.
            self.last_write = self.last_write.max(now);
        }
        if is_due(self.cdn_deadline()) {
            self.cdn_is_late(now);
        }
        if is_due(self.peer_deadline()) {
            self.peer_is_late();
        }
        if is_due(self.standing.deadline()) {
            self.standing.tell(self.frames, now);
        }
    }

    /// Everything that was written reaches the player, as long as it takes it; then its connection is closed
    /// politely.
    async fn say_farewell(&mut self) {
        self.cdn = Cdn::Gone;
        self.peer.leave();
        while !self.down.is_empty() {
            match timeout(FAREWELL, self.down.write(&mut self.to_player)).await {
                Ok(Ok(count)) => self.bytes += count as u64,
                _ => break,
            }
        }
        let _ = self.to_player.shutdown().await;
        let mut rest = [0; 1024];
        let gone = async { while matches!(self.from_player.read(&mut rest).await, Ok(1..)) {} };
        let _ = timeout(FAREWELL, gone).await;
        let why = self.over.take().unwrap_or_default();
        let why = if self.stream_ended { "end_of_stream".to_owned() } else { why };
        tell(Event::PlayerLeft { why, frames: self.frames, bytes: self.bytes });
    }
}

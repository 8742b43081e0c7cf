//! The path from a peer: a connection to the broadcaster's agent, and the player that it feeds.

use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use livectl_wire::flv::{self, Content, FILE_HEADER_LEN, Reader};
use livectl_wire::frame::FrameId;
use livectl_wire::peer::{Reply, emit_request, parse_reply};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::{ViewerArgs, ViewerError, numbered, player};
use crate::actor::agent::dump::Keyframes;
use crate::actor::agent::event::{Event, Path, tell};
use crate::actor::agent::{MAX_TAG, ends_stream};
use crate::actor::player;
use crate::actor::process::{self, Ends, Exit, Input, Place, Process};

/// Bytes taken from the peer at once.
const READ_SIZE: usize = 256 << 10;
/// How often a peer is tried.
const ATTEMPTS: u32 = 5;
/// Between two of those.
const RETRY: Duration = Duration::from_millis(500);
/// How long one of those may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// Bytes that the kernel may keep of what came from the peer, of which it offers half as a window. Sized by itself, the window begins at
/// some 40 to 64 kB and grows by a third or so each round trip, so that a viewer that joins 0.4 s away needs 2.3 s until it has caught
/// up with a stream of 2.5 Mbit/s.
const RECEIVE_BUFFER: usize = 4 << 20;
/// How long the player may take to end after its input has. It takes 10 ms.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// The peer's player and what it has been handed.
#[derive(Debug)]
pub(super) struct PeerPath {
    args: ViewerArgs,
    attempts: u32,
    fetch: Option<Fetch>,
    /// The stream has come to its end on this path.
    complete: bool,
    keyframes: Arc<Mutex<Keyframes>>,
    frames: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Fetch {
    task: JoinHandle<Result<bool, ViewerError>>,
    stop: watch::Sender<bool>,
}

/// Why there is nothing more from a peer although the stream goes on.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("it cannot be reached: {0}")]
    Unreachable(std::io::Error),
    #[error("it refused: {0}")]
    Refused(String),
    #[error("its answer is none: {0}")]
    Reply(#[from] livectl_wire::peer::PeerError),
    #[error("its stream cannot be read: {0}")]
    Stream(#[from] flv::FlvError),
    #[error("it closed the connection before the end of the stream")]
    Closed,
}

/// How a fetch came to its end.
enum Outcome {
    Complete,
    Lost(Lost),
    Stopped,
    PlayerDied(Exit),
}

impl PeerPath {
    pub(super) fn new(args: &ViewerArgs) -> Self {
        Self {
            args: args.clone(),
            attempts: 0,
            fetch: None,
            complete: false,
            keyframes: Arc::default(),
            frames: Arc::default(),
        }
    }

    /// Begins to fetch from there, unless that is going on or is done.
    pub(super) fn start(&mut self, from: SocketAddrV4) {
        if self.complete || self.fetch.is_some() {
            return;
        }
        self.attempts += 1;
        self.keyframes = Arc::default();
        let (stop, stopped) = watch::channel(false);
        let fetcher = Fetcher {
            args: self.args.clone(),
            attempt: self.attempts,
            from,
            keyframes: Arc::clone(&self.keyframes),
            frames: Arc::clone(&self.frames),
        };
        self.fetch = Some(Fetch { task: tokio::spawn(fetcher.run(stopped)), stop });
    }

    pub(super) fn is_running(&self) -> bool {
        self.fetch.is_some()
    }

    /// Waits until there is nothing more from the peer: true if that is since the stream has ended.
    pub(super) async fn ended(&mut self) -> Result<bool, ViewerError> {
        let Some(fetch) = &mut self.fetch else { return std::future::pending().await };
        let result = (&mut fetch.task).await;
        self.fetch = None;
        self.complete = result.map_err(|why| ViewerError::Task(why.to_string()))??;
        Ok(self.complete)
    }

    /// A keyframe that the player has been handed and that is among those.
    pub(super) fn common(&self, other: &Keyframes) -> Option<(FrameId, u32)> {
        other.common(&self.keyframes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Pictures handed to players so far.
    pub(super) fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    /// Ends the connection and the player, if there are.
    pub(super) async fn stop(&mut self) {
        if let Some(Fetch { task, stop }) = self.fetch.take() {
            let _ = stop.send(true);
            // It has told what there was to tell.
            let _ = task.await;
        }
    }
}

/// Waits until the agent is told to stop, or is gone.
/// Connects with room for what a peer sends at once to one that joins.
async fn open(peer: SocketAddrV4) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    // Beyond net.core.rmem_max, which only root may. Without it, the kernel goes on sizing the window, as far as its own limit.
    let _ = setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER);
    socket.connect(peer.into()).await
}

async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

struct Fetcher {
    args: ViewerArgs,
    attempt: u32,
    from: SocketAddrV4,
    keyframes: Arc<Mutex<Keyframes>>,
    frames: Arc<AtomicU64>,
}

/// A connection whose peer has begun to serve, with the first bytes.
struct Served {
    connection: TcpStream,
    received: Vec<u8>,
}

/// A player and the pipe that feeds it.
struct Player {
    process: Process,
    input: pipe::Sender,
    bytes: u64,
}

impl Fetcher {
    /// Fetches until the end: true if that is the end of the stream.
    async fn run(self, mut stop: watch::Receiver<bool>) -> Result<bool, ViewerError> {
        let lost = |why: Lost| tell(Event::PeerLost { peer: self.from, why: why.to_string() });
        let served = tokio::select! {
            served = self.connect() => served,
            () = told(&mut stop) => return Ok(false),
        };
        let mut served = match served {
            Ok(served) => served,
            Err(why) => {
                lost(why);
                return Ok(false);
            }
        };
        tell(Event::PeerConnected { peer: self.from });
        let mut player = self.play()?;
        let outcome = tokio::select! {
            result = self.feed(&mut served, &mut player.input, &mut player.bytes) => match result {
                Ok(()) => Outcome::Complete,
                // Only the player can have closed its end.
                Err(Lost::Io(why)) if why.kind() == std::io::ErrorKind::BrokenPipe => {
                    Outcome::PlayerDied(player.process.wait().await)
                }
                Err(why) => Outcome::Lost(why),
            },
            exit = player.process.wait() => Outcome::PlayerDied(exit),
            () = told(&mut stop) => Outcome::Stopped,
        };
        self.conclude(player, outcome).await
    }

    async fn connect(&self) -> Result<Served, Lost> {
        let mut attempt = 1;
        let mut connection = loop {
            match timeout(CONNECT_PATIENCE, open(self.from)).await {
                Ok(Ok(connection)) => break connection,
                Ok(Err(why)) if attempt == ATTEMPTS => return Err(Lost::Unreachable(why)),
                Err(late) if attempt == ATTEMPTS => return Err(Lost::Unreachable(late.into())),
                // Its agent may come up later than the news of it.
                Ok(Err(_)) | Err(_) => sleep(RETRY).await,
            }
            attempt += 1;
        };
        connection.set_nodelay(true)?;
        connection.write_all(emit_request(&self.args.stream).as_bytes()).await?;
        let mut received = Vec::new();
        loop {
            match parse_reply(&received)? {
                Some(Reply::Stream) => return Ok(Served { connection, received }),
                Some(Reply::Refused(why)) => return Err(Lost::Refused(why)),
                None if connection.read_buf(&mut received).await? == 0 => return Err(Lost::Closed),
                None => (),
            }
        }
    }

    fn play(&self) -> Result<Player, ViewerError> {
        let dump = numbered(&self.args.dump_peer, self.attempt);
        let command = player::from_stdin(&dump, &self.args.home);
        let actor = player(&self.args, "peer", self.attempt, command, Input::Pipe, &dump);
        let failed = |source| {
            let command = actor.command.to_string();
            ViewerError::Player(process::ProcessError::Spawn { actor: actor.label(), command, source })
        };
        let (read, write): (OwnedFd, OwnedFd) = process::pipe().map_err(failed)?;
        let input = pipe::Sender::from_owned_fd(write).map_err(failed)?;
        let process = Process::spawn(&actor, Place::Here, Ends { stdin: Some(read), stdout: None })?;
        tell(Event::PlayerStarted { path: Path::Peer, attempt: self.attempt, dump });
        Ok(Player { process, input, bytes: 0 })
    }

    /// Hands the player each tag when it is whole, until the mark of the end and the end of the connection.
    async fn feed(&self, served: &mut Served, input: &mut pipe::Sender, bytes: &mut u64) -> Result<(), Lost> {
        let mut reader = Reader::new(MAX_TAG);
        let mut header = Vec::new();
        let mut complete = false;
        let mut received = std::mem::take(&mut served.received);
        loop {
            let mut out = Vec::new();
            if header.len() < FILE_HEADER_LEN {
                header.extend(received.iter().take(FILE_HEADER_LEN - header.len()));
                if header.len() == FILE_HEADER_LEN {
                    out.extend_from_slice(&header);
                }
            }
            let (mut pictures, mut keyframes) = (0, Vec::new());
            reader.push(&received, |tag| {
                if ends_stream(tag.kind, tag.payload) {
                    complete = true;
                    return;
                }
                // What came as a tag is not too long for one.
                let _ = flv::tag(tag.kind, tag.timestamp, tag.payload, &mut out);
                if let Content::Picture { keyframe } = tag.content() {
                    pictures += 1;
                    if keyframe {
                        keyframes.push((tag.timestamp, tag.payload.to_vec()));
                    }
                }
            })?;
            input.write_all(&out).await?;
            *bytes += out.len() as u64;
            self.handed(pictures, &keyframes);
            if complete {
                return Ok(());
            }
            received.resize(READ_SIZE, 0);
            let count = served.connection.read(&mut received).await?;
            if count == 0 {
                return Err(Lost::Closed);
            }
            received.truncate(count);
        }
    }

    fn handed(&self, pictures: u64, keyframes: &[(u32, Vec<u8>)]) {
        self.frames.fetch_add(pictures, Ordering::Relaxed);
        let mut known = self.keyframes.lock().unwrap_or_else(PoisonError::into_inner);
        for (timestamp, payload) in keyframes {
            if known.first().is_none() {
                let id = FrameId::of(payload).to_string();
                tell(Event::FirstKeyframe { path: Path::Peer, timestamp_ms: *timestamp, id });
            }
            known.note(flv::TagKind::Video, *timestamp, payload);
        }
    }

    /// Lets the player end, and tells how it all ended.
    async fn conclude(&self, player: Player, outcome: Outcome) -> Result<bool, ViewerError> {
        let Player { process, input, bytes } = player;
        // End of file is what ends it; signals do not while it waits for input.
        drop(input);
        let exit = match &outcome {
            Outcome::PlayerDied(exit) => *exit,
            _ => match timeout(END_PATIENCE, process.wait()).await {
                Ok(exit) => exit,
                Err(_) => process.stop().await,
            },
        };
        let why = match &outcome {
            _ if !exit.is_fine() => "died",
            Outcome::PlayerDied(_) => "died",
            Outcome::Complete => "end_of_stream",
            Outcome::Lost(_) => "peer_lost",
            Outcome::Stopped => "stopped",
        };
        let attempt = self.attempt;
        tell(Event::PlayerEnded { path: Path::Peer, attempt, exit: exit.to_string(), why: why.to_owned(), bytes });
        if why == "died" {
            return Err(ViewerError::PlayerDied { path: "peer", exit: exit.to_string(), log: process.log_tail() });
        }
        if let Outcome::Lost(why) = &outcome {
            tell(Event::PeerLost { peer: self.from, why: why.to_string() });
        }
        Ok(matches!(outcome, Outcome::Complete))
    }
}

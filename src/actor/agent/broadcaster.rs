//! The broadcaster's agent.
//!
//! It reads FLV from its standard input as fast as the encoder writes it and stamps each tag right after its last byte was read: that
//! is the frame's birth ([`encoder`]). Whatever else it does (the log of births, peers, notifications, pacing) happens behind
//! queues, so that nothing but the encoder decides when a frame is born.

use std::fs::File;
use std::future::Future;
use std::io::{BufWriter, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc as thread_queue;
use std::time::Duration;

use livectl_wire::StreamKey;
use livectl_wire::birth::{self, Birth, BirthKind, Register};
use livectl_wire::flv::{self, FlvError, Reader, Tag};
use livectl_wire::heartbeat::{Introduction, PeerRole};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, timeout};

use super::encoder::{self, Encoder};
use super::event::{Event, tell};
use super::notification::{self, Interest};
use super::peers::{self, Peers};
use super::prelude::TagBytes;
use super::{MAX_TAG, pacing};
use crate::plan::{NOTIFY_PORT, PEER_PORT, RTMP_PORT};

/// How long nothing more must come after the last expected frame: sound, and the mark that ends H.264, follow at once.
const QUIET: Duration = Duration::from_millis(250);
/// Between two looks at what the peers leave of the uplink.
const PACING_INTERVAL: Duration = Duration::from_millis(250);
/// Over how many of those the stream's rate is averaged: 2 s.
const PACING_WINDOW: usize = 8;
/// Relative change of the allowance that is worth a system call and an event.
const PACING_STEP: f64 = 0.1;

/// Flags of `livectl agent broadcaster`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct BroadcasterArgs {
    /// RTMP application and stream name, as in live/hb
    #[arg(long, value_name = "APP/NAME")]
    pub stream: StreamKey,
    /// Address of the CDN
    #[arg(long, value_name = "IP")]
    pub cdn: Ipv4Addr,
    /// Where births are logged (CSV)
    #[arg(long, value_name = "FILE")]
    pub births: PathBuf,
    /// Bandwidth of the link out of this host in bit/s; without it the upload to the CDN is not paced while peers are served
    #[arg(long, value_name = "BIT/S")]
    pub uplink: Option<u64>,
    /// How many frames the encoder makes: after the last one the stream counts as ended, although the encoder keeps the pipe open until
    /// the CDN has everything; without it, the end of the pipe is the end of the stream
    #[arg(long, value_name = "COUNT")]
    pub frames: Option<u64>,
    /// Where peers are served
    #[arg(long, value_name = "IP:PORT", default_value_t = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, PEER_PORT))]
    pub listen: SocketAddrV4,
    /// Port of RTMP on the CDN
    #[arg(long, value_name = "PORT", default_value_t = RTMP_PORT)]
    pub rtmp_port: u16,
    /// Port of the notification service on the CDN
    #[arg(long, value_name = "PORT", default_value_t = NOTIFY_PORT)]
    pub notify_port: u16,
    /// How long peers may take to receive what is left when the stream has ended, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub drain: u64,
}

/// Why a broadcaster's agent gave up.
#[derive(Debug, thiserror::Error)]
pub enum BroadcasterError {
    /// The log of births.
    #[error("cannot write the births to {}: {source}", path.display())]
    Births {
        /// Where to.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The peer port.
    #[error("cannot serve peers on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddrV4,
        /// Why not.
        source: std::io::Error,
    },
    /// The signals that stop it.
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] std::io::Error),
    /// Standard input.
    #[error("cannot read the encoder's stream: {0}")]
    Input(#[source] std::io::Error),
    /// What comes from standard input.
    #[error("the encoder's stream cannot be read: {0}")]
    Stream(#[from] FlvError),
    /// The encoder's stream broke off.
    #[error("the encoder's stream ended within a tag, at byte {offset}: the encoder died")]
    BrokenOff {
        /// Where the tag begins.
        offset: u64,
    },
}

/// Runs the agent on standard input until the encoder's stream has ended and the peers have it, or SIGINT or SIGTERM.
///
/// # Errors
/// See [`BroadcasterError`].
pub async fn run_on_stdin(args: &BroadcasterArgs) -> Result<(), BroadcasterError> {
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().map_err(BroadcasterError::Input)?;
    let encoder = encoder::read(File::from(stdin)).map_err(BroadcasterError::Input)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(BroadcasterError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(BroadcasterError::Signals)?;
    let told = async {
        tokio::select! {
            _ = interrupt.recv() => (),
            _ = terminate.recv() => (),
        }
    };
    run(args, encoder, told).await
}

/// The same with any encoder, and until `stop` is ready: then peers are left without the end of the stream, and what was born is in the log.
///
/// # Errors
/// See [`BroadcasterError`].
pub async fn run(
    args: &BroadcasterArgs,
    encoder: Encoder,
    stop: impl Future<Output = ()>,
) -> Result<(), BroadcasterError> {
    let births = BirthLog::create(&args.births)?;
    let failed = |source| BroadcasterError::Listen { address: args.listen, source };
    let listener = TcpListener::bind(args.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let peers = Peers::new(args.stream.clone());
    let service = tokio::spawn(peers::serve(Arc::clone(&peers), listener, Duration::from_secs(args.drain)));
    let notifications = tokio::spawn(introduce(args.clone(), Arc::clone(&peers)));
    let born = Arc::new(AtomicU64::new(0));
    let pacing = args.uplink.map(|uplink| {
        let remote = SocketAddrV4::new(args.cdn, args.rtmp_port);
        tokio::spawn(pace(uplink, remote, Arc::clone(&peers), Arc::clone(&born)))
    });
    if let SocketAddr::V4(address) = address {
        tell(Event::Ready { address: Some(address) });
    }
    let mut stream = Stream::new(args.frames, &births, &peers, &born);
    let work = async {
        stream.read(encoder).await?;
        // Each connection has its own deadline after its last byte was written; a peer that takes nothing has this one.
        let _ = timeout(Duration::from_secs(args.drain), peers.all_left()).await;
        Ok(())
    };
    let result: Result<(), BroadcasterError> = tokio::select! {
        result = work => result,
        () = stop => Ok(()),
    };
    let frames = stream.frames;
    notifications.abort();
    service.abort();
    if let Some(pacing) = pacing {
        pacing.abort();
        unpace(SocketAddrV4::new(args.cdn, args.rtmp_port));
    }
    births.close()?;
    result?;
    tell(Event::Ended { frames });
    Ok(())
}

/// The encoder's stream on its way to the log of births and to the peers.
struct Stream<'a> {
    expected: Option<u64>,
    births: &'a BirthLog,
    peers: &'a Peers,
    /// Bytes of all tags so far.
    born: &'a AtomicU64,
    register: Register,
    frames: u64,
    timestamp: u32,
    ended: bool,
}

impl<'a> Stream<'a> {
    fn new(expected: Option<u64>, births: &'a BirthLog, peers: &'a Peers, born: &'a AtomicU64) -> Self {
        let register = Register::default();
        Self { expected, births, peers, born, register, frames: 0, timestamp: 0, ended: false }
    }

    /// Reads until the end of the pipe.
    async fn read(&mut self, mut encoder: Encoder) -> Result<(), BroadcasterError> {
        let mut reader = Reader::new(MAX_TAG);
        loop {
            let complete = !self.ended && self.expected.is_some_and(|expected| self.frames >= expected);
            let patience = if complete { QUIET } else { Duration::MAX };
            let Ok(piece) = timeout(patience, encoder.recv()).await else {
                self.end();
                continue;
            };
            let Some(piece) = piece.transpose().map_err(BroadcasterError::Input)? else { break };
            let mut taken = Ok(());
            reader.push(&piece.bytes, |tag| {
                let result = self.take(&tag, piece.read_ns);
                if taken.is_ok() {
                    taken = result;
                }
            })?;
            taken?;
            // The peers' tasks share this thread: they come first, then the next tag.
            tokio::task::yield_now().await;
        }
        if let Some(tail) = reader.tail() {
            return Err(BroadcasterError::BrokenOff { offset: tail.offset });
        }
        self.end();
        Ok(())
    }

    fn take(&mut self, tag: &Tag<'_>, birth_ns: i64) -> Result<(), BroadcasterError> {
        // Peers before anything else: they wait for it.
        let mut bytes = Vec::new();
        // What came as a tag is not too long for one.
        let _ = flv::tag(tag.kind, tag.timestamp, tag.payload, &mut bytes);
        let bytes: TagBytes = bytes.into();
        self.peers.send(tag.kind, tag.content(), &bytes);
        self.born.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.timestamp = tag.timestamp;
        let birth = self.register.birth(tag.kind, tag.timestamp, tag.payload, birth_ns);
        if birth.kind == BirthKind::Video {
            if self.frames == 0 {
                tell(Event::BirthFirst { birth_ns });
            }
            self.frames += 1;
        }
        self.births.write(birth)
    }

    /// The stream has ended, which is told once.
    fn end(&mut self) {
        if !self.ended {
            self.ended = true;
            tell(Event::EncoderEnded { frames: self.frames });
            self.peers.end(self.timestamp);
        }
    }
}

/// Admits the viewers that the network introduces.
async fn introduce(args: BroadcasterArgs, peers: Arc<Peers>) {
    let (sender, mut introductions) = mpsc::channel::<Introduction>(16);
    let interest = Interest { stream: args.stream, role: PeerRole::Viewer };
    let service = SocketAddrV4::new(args.cdn, args.notify_port);
    let admit = async {
        while let Some(viewers) = introductions.recv().await {
            viewers.peers.iter().for_each(|viewer| peers.introduce(*viewer.ip()));
        }
    };
    tokio::join!(notification::listen(service, interest, sender), admit);
}

/// Keeps the encoder's upload to what the peers leave of the uplink.
async fn pace(uplink: u64, remote: SocketAddrV4, peers: Arc<Peers>, born: Arc<AtomicU64>) {
    let mut ticks = interval(PACING_INTERVAL);
    let mut expectations = peers.expectations();
    let mut window = std::collections::VecDeque::from([(Instant::now(), born.load(Ordering::Relaxed))]);
    let mut upload: Option<pacing::Connection> = None;
    let mut set: Option<u64> = None;
    loop {
        let now = tokio::select! {
            now = ticks.tick() => now,
            // The queue in front of the link is to be gone before the first frame for a new peer.
            Ok(()) = expectations.changed() => Instant::now(),
        };
        let bytes = born.load(Ordering::Relaxed);
        window.push_back((now, bytes));
        if window.len() > PACING_WINDOW + 1 {
            window.pop_front();
        }
        let rate = window.front().map_or(0.0, |(then, before)| {
            let seconds = now.duration_since(*then).as_secs_f64();
            if seconds > 0.0 { (bytes - before) as f64 * 8.0 / seconds } else { 0.0 }
        });
        let expected = peers.expected(now);
        let count = peers.served() + expected;
        let lag = if expected > 0 { f64::INFINITY } else { peers.lag(rate / 8.0) };
        let wanted = (count > 0).then(|| pacing::allowance(uplink, rate, count, lag));
        if upload.as_ref().is_none_or(|upload| !upload.is_there()) {
            // A new connection has no limit yet.
            (upload, set) = (None, None);
            if wanted.is_some() {
                upload = pacing::find(remote).ok().flatten();
            }
        }
        let Some(connection) = &upload else { continue };
        let changed = match (set, wanted) {
            (Some(set), Some(wanted)) => (wanted as f64 / set as f64 - 1.0).abs() > PACING_STEP,
            (set, wanted) => set != wanted,
        };
        if !changed {
            continue;
        }
        match connection.pace(wanted) {
            Ok(()) => {
                set = wanted;
                tell(Event::Pacing { bit_per_s: wanted, peers: count });
            }
            // It closed just now.
            Err(_) if !connection.is_there() => upload = None,
            Err(why) => {
                tell(Event::PacingFailed { why: format!("pidfd_getfd or SO_MAX_PACING_RATE: {why}") });
                return;
            }
        }
    }
}

/// The encoder goes on alone: what is left for the CDN may have the whole uplink.
fn unpace(remote: SocketAddrV4) {
    if let Ok(Some(upload)) = pacing::find(remote)
        && upload.pace(None).is_ok()
    {
        tell(Event::Pacing { bit_per_s: None, peers: 0 });
    }
}

/// The log of births, written by a thread of its own, since a disk may be slow. Every line is on its way to the file as soon as no
/// further one waits.
#[derive(Debug)]
struct BirthLog {
    path: PathBuf,
    queue: thread_queue::Sender<Birth>,
    writer: std::thread::JoinHandle<std::io::Result<()>>,
}

impl BirthLog {
    fn create(path: &Path) -> Result<Self, BroadcasterError> {
        let failed = |source| BroadcasterError::Births { path: path.to_owned(), source };
        let mut file = BufWriter::new(File::create(path).map_err(failed)?);
        writeln!(file, "{}", birth::HEADER).and_then(|()| file.flush()).map_err(failed)?;
        let (queue, births) = thread_queue::channel::<Birth>();
        let write = move || {
            while let Ok(birth) = births.recv() {
                writeln!(file, "{birth}")?;
                for birth in births.try_iter() {
                    writeln!(file, "{birth}")?;
                }
                file.flush()?;
            }
            Ok(())
        };
        let writer = std::thread::Builder::new().name("births".into()).spawn(write).map_err(failed)?;
        Ok(Self { path: path.to_owned(), queue, writer })
    }

    fn write(&self, birth: Birth) -> Result<(), BroadcasterError> {
        let ended = |_| std::io::Error::other("the writer has ended; its error is told at the end");
        self.queue
            .send(birth)
            .map_err(ended)
            .map_err(|source| BroadcasterError::Births { path: self.path.clone(), source })
    }

    fn close(self) -> Result<(), BroadcasterError> {
        let Self { path, queue, writer } = self;
        drop(queue);
        let panicked = |_| Err(std::io::Error::other("the writer panicked"));
        writer.join().unwrap_or_else(panicked).map_err(|source| BroadcasterError::Births { path, source })
    }
}

#[cfg(test)]
#[path = "broadcaster_tests.rs"]
mod tests;

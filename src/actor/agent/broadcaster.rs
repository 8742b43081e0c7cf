//! The broadcaster's agent.
//!
//! It reads FLV from its standard input as fast as the encoder writes it and stamps each tag right after its last byte was read: that
//! is the frame's birth. Whatever else it does (the log of births, peers, notifications, pacing) happens behind queues, so
//! that nothing but the encoder decides when a frame is born.

use std::fs::File;
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
use livectl_wire::flv::{self, FlvError, Reader};
use livectl_wire::heartbeat::{Introduction, PeerRole};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::TcpListener;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval};

use super::event::{Event, now_ns, tell};
use super::notification::{self, Interest};
use super::peers::{self, Peers};
use super::prelude::TagBytes;
use super::{MAX_TAG, pacing};
use crate::plan::{NOTIFY_PORT, PEER_PORT, RTMP_PORT};

/// Bytes taken from the encoder at once.
const READ_SIZE: usize = 256 << 10;
/// Between two looks at what the peers leave of the uplink.
const PACING_INTERVAL: Duration = Duration::from_millis(250);
/// Over how many of those the stream's rate is averaged: 2 s.
const PACING_WINDOW: usize = 8;
/// Relative change of the allowance that is worth a system call and an event.
const PACING_STEP: f64 = 0.05;

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
    /// Standard input.
    #[error("cannot read the encoder's stream: {0}; standard input must be a pipe from the encoder")]
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

/// Runs the agent on standard input until the encoder's stream has ended and the peers have it.
///
/// # Errors
/// See [`BroadcasterError`].
pub async fn run_on_stdin(args: &BroadcasterArgs) -> Result<(), BroadcasterError> {
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().map_err(BroadcasterError::Input)?;
    let encoder = pipe::Receiver::from_owned_fd(stdin).map_err(BroadcasterError::Input)?;
    run(args, encoder).await
}

/// The same with any input.
///
/// # Errors
/// See [`BroadcasterError`].
pub async fn run(args: &BroadcasterArgs, encoder: impl AsyncRead + Unpin) -> Result<(), BroadcasterError> {
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
    let result = read(encoder, &births, &peers, &born).await;
    let (frames, last) = match &result {
        Ok(end) => (end.frames, end.timestamp),
        Err(_) => (0, 0),
    };
    if result.is_ok() {
        tell(Event::EncoderEnded { frames });
        peers.end(last);
        // Each connection has its own deadline after its last byte was written; a peer that takes nothing has this one.
        let _ = tokio::time::timeout(Duration::from_secs(args.drain), peers.all_left()).await;
    }
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

/// Where the stream ended.
struct End {
    frames: u64,
    timestamp: u32,
}

async fn read(
    mut encoder: impl AsyncRead + Unpin,
    births: &BirthLog,
    peers: &Peers,
    born: &AtomicU64,
) -> Result<End, BroadcasterError> {
    let mut reader = Reader::new(MAX_TAG);
    let mut register = Register::default();
    let mut end = End { frames: 0, timestamp: 0 };
    let mut buffer = vec![0; READ_SIZE];
    loop {
        let count = encoder.read(&mut buffer).await.map_err(BroadcasterError::Input)?;
        let birth_ns = now_ns();
        if count == 0 {
            break;
        }
        let mut taken = Ok(());
        reader.push(buffer.get(..count).unwrap_or_default(), |tag| {
            // Peers before anything else: they wait for it.
            let mut bytes = Vec::new();
            // What came as a tag is not too long for one.
            let _ = flv::tag(tag.kind, tag.timestamp, tag.payload, &mut bytes);
            let bytes: TagBytes = bytes.into();
            peers.send(tag.kind, tag.content(), &bytes);
            born.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            end.timestamp = tag.timestamp;
            let birth = register.birth(tag.kind, tag.timestamp, tag.payload, birth_ns);
            if birth.kind == BirthKind::Video {
                if end.frames == 0 {
                    tell(Event::BirthFirst { birth_ns });
                }
                end.frames += 1;
            }
            if taken.is_ok() {
                taken = births.write(birth);
            }
        })?;
        taken?;
        // The peers' tasks share this thread: they come first, then the next tag.
        tokio::task::yield_now().await;
    }
    match reader.tail() {
        Some(tail) => Err(BroadcasterError::BrokenOff { offset: tail.offset }),
        None => Ok(end),
    }
}

/// Admits the viewers that the network introduces.
async fn introduce(args: BroadcasterArgs, peers: Arc<Peers>) {
    let (sender, mut introductions) = mpsc::channel::<Introduction>(16);
    let interest = Interest { stream: args.stream, role: PeerRole::Viewer };
    let service = SocketAddrV4::new(args.cdn, args.notify_port);
    let admit = async {
        while let Some(viewer) = introductions.recv().await {
            peers.introduce(*viewer.address.ip());
        }
    };
    tokio::join!(notification::listen(service, interest, sender), admit);
}

/// Keeps the encoder's upload to what the peers leave of the uplink.
async fn pace(uplink: u64, remote: SocketAddrV4, peers: Arc<Peers>, born: Arc<AtomicU64>) {
    let mut ticks = interval(PACING_INTERVAL);
    let mut window = std::collections::VecDeque::from([(Instant::now(), born.load(Ordering::Relaxed))]);
    let mut upload: Option<pacing::Connection> = None;
    let mut set: Option<u64> = None;
    loop {
        let now = ticks.tick().await;
        let bytes = born.load(Ordering::Relaxed);
        window.push_back((now, bytes));
        if window.len() > PACING_WINDOW + 1 {
            window.pop_front();
        }
        let rate = window.front().map_or(0.0, |(then, before)| {
            let seconds = now.duration_since(*then).as_secs_f64();
            if seconds > 0.0 { (bytes - before) as f64 * 8.0 / seconds } else { 0.0 }
        });
        let count = peers.served();
        let wanted = (count > 0).then(|| pacing::allowance(uplink, rate, count));
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

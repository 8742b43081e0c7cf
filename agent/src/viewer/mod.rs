//! The viewer's agent.
//!
//! A player's RTMP session goes through to the CDN as it is, and nothing else ever happens as long as there is no
//! peer. From a peer's first tag on the agent writes the frames into that same session itself ([`merge`] decides
//! which comes next), and the CDN is paused. When the peer fails the CDN goes on, and the peer is tried again; the
//! player never notices.

mod cdn;
pub mod client;
mod group;
pub mod merge;
mod peer;
pub mod player;
mod session;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use livectl_wire::StreamKey;
use livectl_wire::agent_event::Event;
use livectl_wire::heartbeat::PeerRole;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::session::Surroundings;
use crate::cli::{CdnAddress, CutThrough, LONGEST, ServiceArgs, endpoint};
use crate::notification::{self, Hasten, Interest, Named, Report};
use crate::serve::{self, Peers};
use crate::socket;
use crate::tell::tell;
use crate::whole::whole;

/// From so many bytes on pictures are passed on before they are whole: from where a tag takes more than one packet
/// (of 1448 bytes, with header and trailer of 11 and 4). Nothing larger was better in any tree that was measured
/// (README.md, "What cut-through gains").
const CUT_THROUGH: usize = 1434;
/// How long it may take to tell the network that the player is gone.
const LEAVING: Duration = Duration::from_millis(300);

/// Flags of `live-agent viewer`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct ViewerArgs {
    /// RTMP application and stream name, such as live/hb; other streams pass unchanged
    #[arg(long, value_name = "APP/NAME")]
    pub stream: StreamKey,
    /// The CDN's RTMP server
    #[arg(long, value_name = "IP[:PORT]")]
    pub cdn: CdnAddress,
    /// Address to listen on for the player
    #[arg(long, value_name = "IP:PORT", default_value_t = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1935), value_parser = endpoint)]
    pub listen: SocketAddrV4,
    /// Notification service, through which the controller introduces peers
    #[arg(long, value_name = "IP:PORT", value_parser = endpoint)]
    pub notify: Option<SocketAddrV4>,
    /// Peer to use without an introduction; of several, the first that serves
    #[arg(long, value_name = "IP:PORT", value_parser = endpoint)]
    pub peer: Vec<SocketAddrV4>,
    /// What to do with frames that the player still lacks when a peer takes over
    #[arg(long, value_enum, value_name = "POLICY", default_value_t = HandoverPolicy::Complete)]
    pub handover: HandoverPolicy,
    /// Seconds of silence after which the CDN replaces a peer
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = positive)]
    pub peer_silence: f64,
    /// Seconds that a player may wait while neither the CDN nor a peer can be reached
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = whole::<u64>(0..=LONGEST))]
    pub patience: u64,
    /// Bytes of a data message, which no player shows, to send before the end of the stream, for players that lose
    /// its last bytes; mplayer -dumpstream loses up to 2047
    #[arg(long, value_name = "BYTES", default_value_t = 0, value_parser = whole::<u16>(0..=65_535))]
    pub end_padding: u16,
    /// Address to serve peers on, with what the player gets [default: serve none]. The controller says which peers
    /// may come
    #[arg(long, value_name = "IP:PORT", value_parser = endpoint)]
    pub serve: Option<SocketAddrV4>,
    /// How they are served
    #[command(flatten)]
    pub service: ServiceArgs,
    /// Pass pictures of at least this many bytes to peers as they arrive, smaller ones when they are complete; `off`:
    /// all when complete
    #[arg(long, value_name = "BYTES|off", default_value_t = CutThrough::From(CUT_THROUGH))]
    pub cut_through: CutThrough,
    /// Seconds after the stream's end for which a peer may accept no data before it is given up
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = whole::<u64>(0..=LONGEST))]
    pub drain: u64,
    /// Print the state of the player at this interval in seconds (event `now`) [default: never]
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    pub now: Option<f64>,
    /// Exit when the player has been told of the stream's end and peers have everything, or when no source is left
    #[arg(long)]
    pub once: bool,
}

/// What to do with frames that the player still lacks when a peer takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum HandoverPolicy {
    /// Fetch them from the peer, as far as it still has them
    Complete,
    /// Skip those before the last keyframe
    Live,
}

fn positive(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.01..=3600.0).contains(seconds));
    seconds.ok_or_else(|| "a number of seconds from 0.01 to 3600 is expected".to_owned())
}

/// Why a viewer's agent gave up.
#[derive(Debug, thiserror::Error)]
pub enum ViewerError {
    /// The player's port, or the peers'.
    #[error(
        "cannot listen on {address}: {source}; is another program using the port, or does the address belong to another host?"
    )]
    Listen {
        /// Address and port.
        address: SocketAddrV4,
        /// The underlying I/O error.
        source: std::io::Error,
    },
}

/// Runs the agent until `stop` is ready, or with `--once` until a player has been told that the stream has ended and
/// peers have all of it.
///
/// # Errors
/// See [`ViewerError`].
pub async fn run(args: &ViewerArgs, stop: impl Future<Output = ()>) -> Result<(), ViewerError> {
    let failed = |source| ViewerError::Listen { address: args.listen, source };
    let players = socket::listen(args.listen, None).map_err(failed)?;
    let serving = match args.serve {
        Some(address) => {
            Some(TcpListener::bind(address).await.map_err(|source| ViewerError::Listen { address, source })?)
        }
        None => None,
    };
    let address = serving.as_ref().and_then(socket::address_of);
    tell(Event::Ready { listen: socket::address_of(&players), address });
    let limits = args.service.limits();
    let children = serving.is_some().then(|| Arc::new(Peers::new(args.stream.clone(), limits)));
    let drain = Duration::from_secs(args.drain);
    let mut beside = JoinSet::new();
    if let (Some(listener), Some(children)) = (serving, &children) {
        beside.spawn(serve::serve(Arc::clone(children), listener, drain));
    }
    let (named, mut introductions) = mpsc::channel(16);
    let (reports, reported) = mpsc::unbounded_channel();
    let hasten = Hasten::new();
    // Without a service nobody is ever introduced.
    if let Some(service) = args.notify {
        let (sender, receiver) = mpsc::channel(16);
        let interest = Interest { stream: args.stream.clone(), roles: PeerRole::ALL, announces: false };
        beside.spawn(notification::listen(service, interest, hasten.clone(), sender, reported));
        beside.spawn(sort(receiver, children.clone(), named));
    } else {
        // Nobody is told, and nobody waits until somebody was.
        drop(reported);
    }
    let mut served = Served { frames: 0, player: false };
    let surroundings = Surroundings { args, hasten: &hasten, reports: &reports, children: children.as_deref() };
    tokio::select! {
        () = attend(surroundings, &players, &mut introductions, &mut served) => {
            if let Some(children) = &children {
                // Each has a deadline of its own after its last byte was written; one that takes nothing has this
                // one.
                let _ = timeout(drain, children.all_left()).await;
            }
        }
        () = stop => (),
    }
    if served.player {
        leave(&reports).await;
    }
    beside.shutdown().await;
    tell(Event::Ended { frames: served.frames });
    Ok(())
}

/// Admits children, and hands all others on to the session.
async fn sort(mut introductions: mpsc::Receiver<Named>, children: Option<Arc<Peers>>, others: mpsc::Sender<Named>) {
    while let Some(named) = introductions.recv().await {
        match (named.role, &children) {
            (PeerRole::Child, Some(children)) => children.introduce(*named.peer.ip()),
            (PeerRole::Child, None) => (),
            // The agent is ending when nobody takes it.
            _ => drop(others.send(named).await),
        }
    }
}

/// Tells the network that the player is gone, if it can be told.
async fn leave(reports: &mpsc::UnboundedSender<Report>) {
    let (written, is_written) = oneshot::channel();
    if reports.send(Report::Left(written)).is_ok() {
        let _ = timeout(LEAVING, is_written).await;
    }
}

/// What has come of it so far.
struct Served {
    frames: u64,
    /// A player is there.
    player: bool,
}

/// One player after the other.
async fn attend(
    surroundings: Surroundings<'_>,
    players: &TcpListener,
    introductions: &mut mpsc::Receiver<Named>,
    served: &mut Served,
) {
    let Surroundings { args, hasten, reports, .. } = surroundings;
    loop {
        let (player, from) = socket::accept(players).await;
        tell(Event::PlayerConnected { player: from });
        // What was told before is about players that are gone; who is there is introduced again.
        while introductions.try_recv().is_ok() {}
        hasten.begin();
        served.player = true;
        let outcome = session::run(surroundings, player, introductions).await;
        hasten.end();
        // At the stream's end all leave, which changes nothing for anybody.
        if !outcome.stream_ended {
            leave(reports).await;
        }
        served.player = false;
        served.frames += outcome.frames;
        if args.once && (outcome.stream_ended || outcome.given_up) {
            return;
        }
    }
}

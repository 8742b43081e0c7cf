//! The viewer's agent.
//!
//! A player's RTMP session goes through to the CDN as it is, and nothing else ever happens as long as there is no peer. From a peer's first
//! tag on the agent writes the frames into that same session itself ([`merge`] decides which comes next), and the CDN is paused. When the peer
//! fails the CDN goes on, and the peer is tried again; the player never notices.

mod cdn;
pub mod client;
pub mod merge;
mod peer;
pub mod player;
mod session;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use livectl_wire::StreamKey;
use livectl_wire::agent_event::Event;
use livectl_wire::heartbeat::PeerRole;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::cli::CdnAddress;
use crate::notification::{self, Hasten, Interest};
use crate::socket;
use crate::tell::tell;

/// Flags of `live-agent viewer`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct ViewerArgs {
    /// RTMP application and stream name, as in live/hb; other streams are passed on untouched
    #[arg(long, value_name = "APP/NAME")]
    pub stream: StreamKey,
    /// The CDN's RTMP server
    #[arg(long, value_name = "IP[:PORT]")]
    pub cdn: CdnAddress,
    /// Where the player is awaited
    #[arg(long, value_name = "IP:PORT", default_value_t = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1935))]
    pub listen: SocketAddrV4,
    /// The notification service, by which the network introduces peers
    #[arg(long, value_name = "IP:PORT")]
    pub notify: Option<SocketAddrV4>,
    /// A peer that is known without being introduced; of several the first that serves
    #[arg(long, value_name = "IP:PORT")]
    pub peer: Vec<SocketAddrV4>,
    /// What becomes of frames that the player still lacks when a peer takes over
    #[arg(long, value_enum, value_name = "POLICY", default_value_t = HandoverPolicy::Complete)]
    pub handover: HandoverPolicy,
    /// How long a peer that should give something may be silent before the CDN takes over, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = positive)]
    pub peer_silence: f64,
    /// How long a player may wait while neither the CDN nor a peer can be reached, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub patience: u64,
    /// A data message of so many bytes, which no player shows, before a player is told that the stream has ended: for players that lose the
    /// last bytes of a stream; mplayer -dumpstream loses up to 2047
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub end_padding: u16,
    /// End when a player has been told that the stream has ended
    #[arg(long)]
    pub once: bool,
}

/// What becomes of frames that the player still lacks when a peer takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum HandoverPolicy {
    /// They are fetched from the peer, as far as it still has them
    Complete,
    /// Those before the last keyframe are skipped
    Live,
}

fn positive(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.01..=3600.0).contains(seconds));
    seconds.ok_or_else(|| "a number of seconds from 0.01 to 3600".to_owned())
}

/// Why a viewer's agent gave up.
#[derive(Debug, thiserror::Error)]
pub enum ViewerError {
    /// The player's port.
    #[error(
        "cannot listen on {address}: {source}; is another program using the port, and is the address this host's?"
    )]
    Listen {
        /// Where.
        address: SocketAddrV4,
        /// Why not.
        source: std::io::Error,
    },
}

/// Runs the agent until `stop` is ready, or with `--once` until a player has been told that the stream has ended.
///
/// # Errors
/// See [`ViewerError`].
pub async fn run(args: &ViewerArgs, stop: impl Future<Output = ()>) -> Result<(), ViewerError> {
    let failed = |source| ViewerError::Listen { address: args.listen, source };
    let players = socket::listen(args.listen, None).map_err(failed)?;
    if let SocketAddr::V4(address) = players.local_addr().map_err(failed)? {
        tell(Event::Ready { listen: Some(address), address: None });
    }
    let mut frames = 0;
    let (sender, mut introductions) = mpsc::channel(16);
    let hasten = Hasten::new();
    // Without a service nobody is ever introduced.
    let listen = async {
        match args.notify {
            Some(service) => {
                let interest = Interest { stream: args.stream.clone(), role: PeerRole::Parent };
                notification::listen(service, interest, hasten.clone(), sender).await;
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = serve(args, &players, &mut introductions, &hasten, &mut frames) => (),
        () = listen => (),
        () = stop => (),
    }
    tell(Event::Ended { frames });
    Ok(())
}

/// One player after the other.
async fn serve(
    args: &ViewerArgs,
    players: &TcpListener,
    introductions: &mut mpsc::Receiver<SocketAddrV4>,
    hasten: &Hasten,
    frames: &mut u64,
) {
    loop {
        let (player, from) = socket::accept(players).await;
        tell(Event::PlayerConnected { player: from });
        // What was told before is about players that are gone; who is there is introduced anew.
        while introductions.try_recv().is_ok() {}
        hasten.begin();
        let outcome = session::run(args, player, introductions, hasten).await;
        hasten.end();
        *frames += outcome.frames;
        if args.once && outcome.stream_ended {
            return;
        }
    }
}

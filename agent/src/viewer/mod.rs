//! The viewer's agent.

mod session;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use livectl_wire::StreamKey;
use livectl_wire::agent_event::Event;
use tokio::net::TcpListener;

use crate::cli::CdnAddress;
use crate::socket;
use crate::tell::tell;

/// Flags of `live-agent viewer`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
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
    /// How long a player may wait while neither the CDN nor a peer can be reached, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub patience: u64,
    /// End when a player has been told that the stream has ended
    #[arg(long)]
    pub once: bool,
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
    tokio::select! {
        () = serve(args, &players, &mut frames) => (),
        () = stop => (),
    }
    tell(Event::Ended { frames });
    Ok(())
}

/// One player after the other.
async fn serve(args: &ViewerArgs, players: &TcpListener, frames: &mut u64) {
    loop {
        match players.accept().await {
            Ok((player, SocketAddr::V4(from))) => {
                tell(Event::PlayerConnected { player: from });
                let outcome = session::run(args, player).await;
                *frames += outcome.frames;
                if args.once && outcome.stream_ended {
                    return;
                }
            }
            Ok((_, SocketAddr::V6(_))) => (),
            // Out of descriptors, or the player was gone: neither gets better by trying at once.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

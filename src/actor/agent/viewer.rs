//! The viewer's agent.
//!
//! It starts a player for the CDN's stream at once. When the network introduces the broadcaster it fetches the stream from there for a
//! second player, and stops the first one as soon as both have had the same keyframe: make before break. What happens on either path is
//! told as an event; nothing is lost silently.

mod cdn;
mod peer;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

use livectl_wire::StreamKey;
use livectl_wire::heartbeat::{Introduction, PeerRole};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use self::cdn::CdnPath;
use self::peer::PeerPath;
use super::dump::DumpError;
use super::event::{Event, tell};
use super::notification::{self, Interest};
use crate::actor::process::{Actor, Command, Input, LogTail, Output, ProcessError, Readiness, Stop};
use crate::plan::{NOTIFY_PORT, RTMP_PORT};

/// Between two looks at the CDN player's dump.
const LOOK_INTERVAL: Duration = Duration::from_millis(40);

/// Flags of `livectl agent viewer`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct ViewerArgs {
    /// RTMP application and stream name, as in live/hb
    #[arg(long, value_name = "APP/NAME")]
    pub stream: StreamKey,
    /// Address of the CDN
    #[arg(long, value_name = "IP")]
    pub cdn: Ipv4Addr,
    /// Where the CDN's stream is dumped; a second attempt adds .2 before the extension, and so on
    #[arg(long, value_name = "FILE")]
    pub dump_cdn: PathBuf,
    /// Where the peer's stream is dumped; likewise
    #[arg(long, value_name = "FILE")]
    pub dump_peer: PathBuf,
    /// Folder for the players' logs
    #[arg(long, value_name = "DIR")]
    pub log_dir: PathBuf,
    /// Folder that the players take for their home
    #[arg(long, value_name = "DIR")]
    pub home: PathBuf,
    /// Name of this viewer, for the names of the logs
    #[arg(long, value_name = "HOST")]
    pub host: String,
    /// Port of RTMP on the CDN
    #[arg(long, value_name = "PORT", default_value_t = RTMP_PORT)]
    pub rtmp_port: u16,
    /// Port of the notification service on the CDN
    #[arg(long, value_name = "PORT", default_value_t = NOTIFY_PORT)]
    pub notify_port: u16,
    /// How long the CDN may have nothing for its player, which is started again and again, before that is an error, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub patience: u64,
}

/// Why a viewer's agent gave up.
#[derive(Debug, thiserror::Error)]
pub enum ViewerError {
    /// The signals that stop it.
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] std::io::Error),
    /// A player could not be started.
    #[error(transparent)]
    Player(#[from] ProcessError),
    /// A player died.
    #[error("the player of the {path} stream died ({exit}){log}")]
    PlayerDied {
        /// `CDN` or `peer`.
        path: &'static str,
        /// How.
        exit: String,
        /// Its last log lines.
        log: LogTail,
    },
    /// The CDN never had anything.
    #[error("the CDN had nothing to play within {} s and {attempts} attempts{log}", patience.as_secs())]
    NothingPublished {
        /// How long.
        patience: Duration,
        /// How many players were started.
        attempts: u32,
        /// The last player's last log lines.
        log: LogTail,
    },
    /// A player's dump is not what players write.
    #[error("what the CDN's player received cannot be read: {0}")]
    Dump(String),
    /// The task of the peer's player is gone.
    #[error("the peer's path ended unexpectedly: {0}")]
    Task(String),
}

impl From<DumpError> for ViewerError {
    fn from(error: DumpError) -> Self {
        ViewerError::Dump(error.to_string())
    }
}

/// Runs the agent until the stream has ended on all its paths, or SIGINT or SIGTERM.
///
/// # Errors
/// See [`ViewerError`].
pub async fn run(args: &ViewerArgs) -> Result<(), ViewerError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ViewerError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(ViewerError::Signals)?;
    let (sender, introductions) = mpsc::channel(16);
    let interest = Interest { stream: args.stream.clone(), role: PeerRole::Broadcaster };
    let service = SocketAddrV4::new(args.cdn, args.notify_port);
    let notifications = tokio::spawn(notification::listen(service, interest, sender));
    tell(Event::Ready { address: None });
    let mut cdn = CdnPath::new(args)?;
    let mut peer = PeerPath::new(args);
    let result = tokio::select! {
        result = watch(&mut cdn, &mut peer, introductions) => result,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    notifications.abort();
    // Whatever happened, no player is left behind. After a regular end there is none, and this does nothing.
    tokio::join!(cdn.stop("stopped"), peer.stop());
    result?;
    tell(Event::Ended { frames: peer.frames() });
    Ok(())
}

/// Watches both paths until the stream has ended on both.
async fn watch(
    cdn: &mut CdnPath,
    peer: &mut PeerPath,
    mut introductions: mpsc::Receiver<Introduction>,
) -> Result<(), ViewerError> {
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while cdn.is_running() || peer.is_running() {
        tokio::select! {
            result = cdn.changed() => result?,
            ended = peer.ended() => {
                // Without the peer the CDN has to do again, if its player was stopped for the peer's sake.
                if !ended? && cdn.was_handed_over() {
                    cdn.resume()?;
                }
            }
            Some(broadcaster) = introductions.recv() => {
                if let Some(address) = broadcaster.peers.first() {
                    peer.start(*address);
                }
            }
            _ = looks.tick(), if cdn.is_playing() => {
                if let Some((id, timestamp_ms)) = cdn.look()?.and_then(|keyframes| peer.common(keyframes)) {
                    tell(Event::Handover { timestamp_ms, id: id.to_string() });
                    cdn.hand_over().await;
                }
            }
        }
    }
    Ok(())
}

/// A player as an actor.
fn player(args: &ViewerArgs, path: &str, attempt: u32, command: Command, input: Input, dump: &Path) -> Actor {
    let log = numbered(&args.log_dir.join(format!("{}-player-{path}.log", args.host)), attempt);
    Actor {
        name: format!("player-{path}"),
        host: args.host.clone(),
        command,
        folders: [args.home.clone()].into_iter().chain(dump.parent().map(Path::to_owned)).collect(),
        files: Vec::new(),
        input,
        output: Output::Log,
        log,
        ready: Readiness::Started,
        ready_within: Duration::from_secs(5),
        alarms: Vec::new(),
        // It reacts within 0.15 s or not at all.
        stop: Stop { interrupt: Duration::from_secs(1), terminate: Duration::from_secs(1) },
    }
}

/// `a.flv` for the first attempt, `a.2.flv` for the second: no attempt overwrites what an earlier one received.
fn numbered(path: &Path, attempt: u32) -> PathBuf {
    if attempt <= 1 {
        return path.to_owned();
    }
    let extension = path.extension().map(|e| e.to_string_lossy().into_owned()).unwrap_or_default();
    path.with_extension(format!("{attempt}.{extension}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_have_files_of_their_own() {
        let path = Path::new("dump/hv1-cdn.flv");
        assert_eq!(numbered(path, 1), path);
        assert_eq!(numbered(path, 3), Path::new("dump/hv1-cdn.3.flv"));
    }
}

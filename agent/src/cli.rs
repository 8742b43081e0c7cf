//! The command line.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::styling::Styles;
use clap::{Parser, Subcommand};
use livectl_wire::{heartbeat, rtmp};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::broadcaster::{self, BroadcasterArgs};
use crate::notify::{self, NotifyArgs};
use crate::realtime::{self, Priority};
use crate::serve::Limits;
use crate::viewer::{self, ViewerArgs};
use crate::whole::whole;

/// Seconds that anything may take or keep at most: a year.
pub(crate) const LONGEST: u64 = 31_536_000;

const EXAMPLES: &str = "\
Examples (hosts h1 with the program, h2 with the player, h9 with the CDN at 10.0.0.9):
  h9  live-agent notify --listen 10.0.0.9:42857
  h1  live-agent broadcaster --stream live/hb --cdn 10.0.0.9 --notify 10.0.0.9:42857 --births hb.csv
  h1  ffmpeg -re -i clip.mp4 -c copy -f flv rtmp://127.0.0.1/live/hb
  h2  live-agent viewer --stream live/hb --cdn 10.0.0.9 --notify 10.0.0.9:42857
  h2  mplayer rtmp://127.0.0.1/live/hb
  h3  live-agent viewer --stream live/hb --cdn 10.0.0.9 --peer 10.0.0.2:2000    # if h2 has --serve 10.0.0.2:2000 --admit-all

Each line on stdout is a JSON object: one event.

Exit codes:
  0  ended by SIGTERM or SIGINT, or with --once because all is done
  1  cannot listen, or cannot write
  2  wrong usage";

const BROADCASTER_EXAMPLE: &str = "\
Example:
  live-agent broadcaster --stream live/hb --cdn 10.0.0.9 --admit-all --births hb.csv &
  ffmpeg -f lavfi -i testsrc2=rate=30,realtime -f flv rtmp://127.0.0.1/live/hb

Events: ready, program_connected, cdn_connected, publish_accepted, publish_refused, birth_first, stream_ended,
upload_full, upload_drained, upload_lost, upload_ended, peer_joined, peer_left, peer_refused, pacing, pacing_failed,
other_stream, unreadable, connected, disconnected, introduced, group_joined, group_failed, group_left, ended.";

const VIEWER_EXAMPLE: &str = "\
Example, with a peer named by hand:
  live-agent viewer --stream live/hb --cdn 10.0.0.9 --peer 10.0.0.1:2000 &
  mplayer rtmp://127.0.0.1/live/hb

Events: ready, player_connected, cdn_connected, play_accepted, first_keyframe, introduced, peer_connected,
first_from_peer, handover, jump, cdn_left, cdn_resumed, cdn_lost, peer_lost, standby_lost, group_joined, group_left,
tags_lost, now, stream_ended, player_left, other_stream, unreadable, connected, disconnected, ended; with --serve also
peer_joined, peer_left, peer_refused.";

const NOTIFY_EXAMPLE: &str = "\
Example:
  live-agent notify --listen 10.0.0.9:42857";

/// RTMP proxy between a livestreaming program and the network; serves peers, and receives streams from peers
#[derive(Debug, Parser)]
#[command(name = "live-agent", version, after_help = EXAMPLES, styles = Styles::plain(), max_term_width = 100)]
pub struct Options {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run beside a program that publishes: pass its stream to the CDN and to peers, and stamp the birth of each
    /// frame
    #[command(after_help = BROADCASTER_EXAMPLE)]
    Broadcaster(BroadcasterArgs),
    /// Run beside a player: hand it the stream from the CDN or from a peer, in one session
    #[command(after_help = VIEWER_EXAMPLE)]
    Viewer(ViewerArgs),
    /// Run on the CDN: send heartbeats to each agent, in which the controller announces peers
    #[command(after_help = NOTIFY_EXAMPLE)]
    Notify(NotifyArgs),
}

/// How an agent serves peers.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct ServiceArgs {
    /// Serve every peer that asks, introduced or not
    #[arg(long)]
    pub admit_all: bool,
    /// Seconds of the stream to keep for peers that join late or have missed frames; whole groups of pictures, at
    /// most 64 MiB
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = whole::<u64>(0..=LONGEST))]
    pub cache: u64,
    /// Drop a peer when a frame has waited for it this long, in milliseconds [default: when 64 MiB wait]. A viewer's
    /// own peer counts as lost when data from it takes this much longer than at its best
    #[arg(long, value_name = "MS", value_parser = whole::<u64>(10..=600_000))]
    pub peer_lag: Option<u64>,
}

impl ServiceArgs {
    pub(crate) fn limits(&self) -> Limits {
        let Self { admit_all, cache, peer_lag } = *self;
        Limits { span: Duration::from_secs(cache), admit_all, lag: peer_lag.map(Duration::from_millis) }
    }
}

/// Reads an IPv4 address with its port.
pub(crate) fn endpoint(text: &str) -> Result<SocketAddrV4, String> {
    text.parse().map_err(|_| "an IPv4 address and a port are expected, such as 10.0.0.1:2000".to_owned())
}

/// An address with a port, which is RTMP's own unless another is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CdnAddress(pub SocketAddrV4);

/// The text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an IPv4 address is expected, with or without a port, such as 10.0.0.9 or 10.0.0.9:1935")]
pub struct CdnAddressError;

impl FromStr for CdnAddress {
    type Err = CdnAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bare = text.parse::<Ipv4Addr>().map(|ip| SocketAddrV4::new(ip, rtmp::PORT));
        bare.or_else(|_| text.parse()).map(Self).map_err(|_| CdnAddressError)
    }
}

/// A number of bytes, or no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteCount {
    /// At most this many bytes.
    Bytes(usize),
    /// Whatever waits is kept.
    Unlimited,
}

impl ByteCount {
    /// The limit, if there is one.
    #[must_use]
    pub fn limit(self) -> Option<usize> {
        match self {
            ByteCount::Bytes(bytes) => Some(bytes),
            ByteCount::Unlimited => None,
        }
    }
}

/// The text is not a number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a number of bytes is expected, at least 1, with or without k, M or G, or `unlimited`")]
pub struct ByteCountError;

impl FromStr for ByteCount {
    type Err = ByteCountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "unlimited" {
            return Ok(ByteCount::Unlimited);
        }
        let (digits, unit) = match text.strip_suffix(['k', 'M', 'G']) {
            Some(digits) if text.ends_with('k') => (digits, 1 << 10),
            Some(digits) if text.ends_with('M') => (digits, 1 << 20),
            Some(digits) => (digits, 1 << 30),
            None => (text, 1usize),
        };
        let bytes = digits.parse().ok().and_then(|count: usize| count.checked_mul(unit));
        bytes.filter(|bytes| *bytes > 0).map(ByteCount::Bytes).ok_or(ByteCountError)
    }
}

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ByteCount::Bytes(bytes) => write!(f, "{bytes}"),
            ByteCount::Unlimited => f.write_str("unlimited"),
        }
    }
}

/// Which tags are passed on before they are complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutThrough {
    /// Pictures of at least this many bytes.
    From(usize),
    /// No tag is passed on before it is whole.
    Off,
}

/// The text is neither a number of bytes nor `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a number of bytes is expected, at least 1, with or without k, M or G, or `off`")]
pub struct CutThroughError;

impl CutThrough {
    /// The number of bytes, if there is one.
    #[must_use]
    pub fn least(self) -> Option<usize> {
        match self {
            CutThrough::From(bytes) => Some(bytes),
            CutThrough::Off => None,
        }
    }
}

impl FromStr for CutThrough {
    type Err = CutThroughError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(CutThrough::Off);
        }
        let bytes = text.parse::<ByteCount>().ok().and_then(ByteCount::limit);
        bytes.map(CutThrough::From).ok_or(CutThroughError)
    }
}

impl fmt::Display for CutThrough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CutThrough::From(bytes) => write!(f, "{bytes}"),
            CutThrough::Off => f.write_str("off"),
        }
    }
}

/// Parses the command line and does what it says.
#[must_use]
pub fn main() -> ExitCode {
    let Options { task } = Options::parse();
    // It does little and nothing that takes long; without this, frames wait for a turn on a busy machine.
    if !matches!(task, Task::Notify(_)) {
        realtime::prefer_this_thread(Priority::Passing);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(run(task)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("live-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(task: Task) -> anyhow::Result<()> {
    let stop = told(signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    match task {
        Task::Broadcaster(args) => broadcaster::run(&args, stop).await?,
        Task::Viewer(args) => viewer::run(&args, stop).await?,
        Task::Notify(args) => notify::serve(notify::listen(&args.listen).await?, heartbeat::INTERVAL, stop).await,
    }
    Ok(())
}

async fn told(mut interrupt: Signal, mut terminate: Signal) {
    tokio::select! {
        _ = interrupt.recv() => (),
        _ = terminate.recv() => (),
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, missing_docs)]
#[path = "../../tests/documents/mod.rs"]
mod documents;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_documented_commands_exist() {
        let (checked, wrong) = documents::check("live-agent", |words| Options::try_parse_from(words).map(drop));
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(checked >= 9, "{checked} commands were found");
    }

    #[test]
    fn a_value_that_is_none_is_answered_with_what_is_expected() {
        let refused = documents::refused_words(&Options::command());
        assert!(refused >= 10, "{refused} options refuse a word");
    }

    #[test]
    fn byte_counts() {
        let parse = |text: &str| text.parse::<ByteCount>();
        assert_eq!(parse("500"), Ok(ByteCount::Bytes(500)));
        assert_eq!(parse("64k"), Ok(ByteCount::Bytes(65536)));
        assert_eq!(parse("256M"), Ok(ByteCount::Bytes(256 << 20)));
        assert_eq!(parse("1G"), Ok(ByteCount::Bytes(1 << 30)));
        assert_eq!(parse("unlimited"), Ok(ByteCount::Unlimited));
        for text in ["", "0", "k", "-1", "1.5M", "1T", "99999999999G", "5 M"] {
            assert_eq!(parse(text), Err(ByteCountError), "{text}");
        }
    }

    #[test]
    fn from_how_many_bytes_on_or_none() {
        let parse = |text: &str| text.parse::<CutThrough>();
        assert_eq!(parse("8k"), Ok(CutThrough::From(8192)));
        assert_eq!(parse("off"), Ok(CutThrough::Off));
        for text in ["", "0", "on", "unlimited", "-1"] {
            assert_eq!(parse(text), Err(CutThroughError), "{text}");
        }
        for told in [CutThrough::Off, CutThrough::From(8192)] {
            assert_eq!(parse(&told.to_string()), Ok(told));
        }
    }

    #[test]
    fn addresses_of_a_cdn() {
        let parse = |text: &str| text.parse::<CdnAddress>().map(|address| address.0.to_string());
        assert_eq!(parse("10.0.0.9").unwrap(), "10.0.0.9:1935");
        assert_eq!(parse("10.0.0.9:1936").unwrap(), "10.0.0.9:1936");
        assert!(parse("cdn.example").is_err());
    }

    #[test]
    fn the_command_line_is_one() {
        use clap::CommandFactory as _;
        Options::command().debug_assert();
        let options = Options::try_parse_from(["live-agent", "viewer", "--stream", "live/hb", "--cdn", "10.0.0.9"]);
        assert!(matches!(options.unwrap().task, Task::Viewer(_)));
    }
}

//! The broadcaster's agent.
//!
//! A program publishes plain RTMP to it on loopback. Its bytes are passed on to the CDN, and the CDN's answers to it,
//! so that it begins when the CDN has accepted the publish. On their way the frames are noted and given to the peers.
//! Whatever the agent does (the log of births, peers, notifications, pacing) happens behind queues, so that nothing
//! but the program decides when a frame is born.

mod birth_log;
mod births;
mod buffer;
mod group;
mod pacing;
mod recording;
mod session;
mod studio;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use livectl_wire::StreamKey;
use livectl_wire::agent_event::Event;
use livectl_wire::heartbeat::PeerRole;
use livectl_wire::peer;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::birth_log::BirthLog;
pub use self::birth_log::BirthLogError;
use self::recording::Recording;
pub use self::recording::RecordingError;
use self::session::Settings;
use self::studio::{Files, Studio};
use crate::cli::{ByteCount, CdnAddress, LONGEST, ServiceArgs, endpoint};
use crate::notification::{self, Hasten, Interest, Named};
use crate::serve::serve;
use crate::socket;
use crate::tell::tell;
use crate::whole::whole;

/// Receive buffer of a program's connection when the upload buffer is bounded: the kernel doubles it, and some more
/// waits at the program.
const SMALL_RECEIVE_BUFFER: u32 = 16 << 10;
/// Programs at a time.
const MAX_SESSIONS: usize = 16;

/// Flags of `live-agent broadcaster`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct BroadcasterArgs {
    /// RTMP application and stream name, such as live/hb; other streams pass unchanged
    #[arg(long, value_name = "APP/NAME")]
    pub stream: StreamKey,
    /// The CDN's RTMP server
    #[arg(long, value_name = "IP[:PORT]")]
    pub cdn: CdnAddress,
    /// Address to listen on for the program
    #[arg(long, value_name = "IP:PORT", default_value_t = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1935), value_parser = endpoint)]
    pub listen: SocketAddrV4,
    /// File for the log of births (CSV) [default: no log]
    #[arg(long, value_name = "FILE")]
    pub births: Option<PathBuf>,
    /// File for a recording of the stream (FLV) [default: no recording]
    #[arg(long, value_name = "FILE")]
    pub recording: Option<PathBuf>,
    /// Address to serve peers on
    #[arg(long, value_name = "IP:PORT", default_value_t = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, peer::PORT), value_parser = endpoint)]
    pub peers: SocketAddrV4,
    /// Notification service, through which the controller introduces peers; without it, only --admit-all allows peers
    #[arg(long, value_name = "IP:PORT", value_parser = endpoint)]
    pub notify: Option<SocketAddrV4>,
    /// How peers are served
    #[command(flatten)]
    pub service: ServiceArgs,
    /// Stop reading the program when this much waits for the CDN: bytes (k, M, G: KiB, MiB, GiB), or unlimited
    #[arg(long, value_name = "BYTES", default_value = "256M")]
    pub upload_buffer: ByteCount,
    /// Bandwidth of this host's uplink in bit/s, for pacing the upload to the CDN while peers are served
    /// [default: no pacing]
    #[arg(long, value_name = "BIT/S", value_parser = whole::<u64>(0..=u64::MAX))]
    pub uplink: Option<u64>,
    /// Seconds that a program may wait for an unreachable CDN
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = whole::<u64>(0..=LONGEST))]
    pub patience: u64,
    /// Seconds after the stream's end for which the CDN or a peer may accept no data before it is given up
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = whole::<u64>(0..=LONGEST))]
    pub drain: u64,
    /// Exit when the stream has ended, and the CDN and all peers have everything
    #[arg(long)]
    pub once: bool,
}

/// Why a broadcaster's agent gave up.
#[derive(Debug, thiserror::Error)]
pub enum BroadcasterError {
    /// The log of births.
    #[error(transparent)]
    Births(#[from] BirthLogError),
    /// The recording.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// The log of births or the recording cannot be closed.
    #[error("the log of births may be incomplete: something still held it when the agent ended")]
    InUse,
    /// The program's port, or the peers'.
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

/// Runs the agent until `stop` is ready, or with `--once` until the stream has ended and everybody has it. When it is
/// stopped, peers are left without the end of the stream, and what was born is in the log.
///
/// # Errors
/// See [`BroadcasterError`].
pub async fn run(args: &BroadcasterArgs, stop: impl Future<Output = ()>) -> Result<(), BroadcasterError> {
    let files = Files {
        births: args.births.as_deref().map(BirthLog::create).transpose()?,
        recording: args.recording.as_deref().map(Recording::create).transpose()?,
    };
    let limit = args.upload_buffer.limit();
    let small = limit.map(|limit| limit.min(SMALL_RECEIVE_BUFFER as usize) as u32);
    let programs = socket::listen(args.listen, small.filter(|_| limit < Some(1 << 20)));
    let programs = programs.map_err(|source| BroadcasterError::Listen { address: args.listen, source })?;
    let peers = TcpListener::bind(args.peers).await;
    let peers = peers.map_err(|source| BroadcasterError::Listen { address: args.peers, source })?;
    tell(Event::Ready { listen: socket::address_of(&programs), address: socket::address_of(&peers) });

    let studio = Arc::new(Studio::new(args.stream.clone(), files, args.service.limits(), args.cdn.0));
    let (limit, pace) = watch::channel(None);
    let hasten = Hasten::new();
    let drain = Duration::from_secs(args.drain);
    let settings = Settings {
        cdn: args.cdn.0,
        upload_buffer: args.upload_buffer.limit(),
        patience: Duration::from_secs(args.patience),
        drain,
        pace,
        hasten: hasten.clone(),
    };
    // What goes on beside the sessions ends with this.
    let mut beside = JoinSet::new();
    beside.spawn(serve(Arc::clone(&studio.peers), peers, drain));
    if let Some(service) = args.notify {
        beside.spawn(introduce(service, hasten, Arc::clone(&studio)));
    }
    if let Some(uplink) = args.uplink {
        beside.spawn(pacing::pace(uplink, Arc::clone(&studio), limit));
    }
    let mut sessions = JoinSet::new();
    let once = async {
        if !args.once {
            return std::future::pending().await;
        }
        studio.finished().await;
        // Each connection has its own deadline after its last byte was written; a peer that takes nothing has this
        // one.
        let _ = timeout(drain, async { tokio::join!(studio.peers.all_left(), studio.group.all_sent()) }).await;
    };
    tokio::select! {
        () = accept(programs, &studio, &settings, &mut sessions) => (),
        () = once => (),
        () = stop => (),
    }
    sessions.shutdown().await;
    beside.shutdown().await;
    let frames = close(studio)?;
    tell(Event::Ended { frames });
    Ok(())
}

/// Ends the log of births and the recording. Gives how many frames were born.
fn close(studio: Arc<Studio>) -> Result<u64, BroadcasterError> {
    let frames = studio.frames();
    // Somebody who still holds it may still write, and then nobody knows whether all of it could be written.
    let studio = Arc::into_inner(studio).ok_or(BroadcasterError::InUse)?;
    let Files { births, recording } = studio.into_files();
    births.map(BirthLog::close).transpose()?;
    recording.map(Recording::close).transpose()?;
    Ok(frames)
}

/// Accepts programs for ever.
async fn accept(programs: TcpListener, studio: &Arc<Studio>, settings: &Settings, sessions: &mut JoinSet<()>) {
    let mut number = 0;
    loop {
        tokio::select! {
            (program, from) = socket::accept(&programs), if sessions.len() < MAX_SESSIONS => {
                tell(Event::ProgramConnected { program: from });
                number += 1;
                sessions.spawn(session::run(number, program, Arc::clone(studio), settings.clone()));
            }
            Some(_) = sessions.join_next(), if !sessions.is_empty() => (),
        }
    }
}

/// Admits the viewers that the network introduces, and sends to the group that it names.
async fn introduce(service: SocketAddrV4, hasten: Hasten, studio: Arc<Studio>) {
    let (sender, mut introductions) = mpsc::channel::<Named>(16);
    let roles = &[PeerRole::Child, PeerRole::Group, PeerRole::Cdn];
    let interest = Interest { stream: studio.stream.clone(), roles, announces: true };
    let admit = async {
        while let Some(Named { role, peer }) = introductions.recv().await {
            match role {
                PeerRole::Child => studio.peers.introduce(*peer.ip()),
                PeerRole::Group if peer.ip().is_multicast() => studio.send_to_group(peer),
                PeerRole::Cdn => studio.leave_group(),
                PeerRole::Group | PeerRole::Parent | PeerRole::Standby => (),
            }
        }
    };
    // What becomes of its stream the CDN and its peers see.
    let (_reports, nothing) = mpsc::unbounded_channel();
    tokio::join!(notification::listen(service, interest, hasten, sender, nothing), admit);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use livectl_wire::birth::HEADER;

    use super::*;
    use crate::serve::Limits;

    #[test]
    fn births_that_something_still_holds_are_not_called_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hb.csv");
        let studio = || {
            let files = Files { births: Some(BirthLog::create(&path).unwrap()), recording: None };
            let stream = StreamKey::from_rtmp("live", "hb").unwrap();
            Arc::new(Studio::new(stream, files, Limits::default(), SocketAddrV4::new([127, 0, 0, 1].into(), 1)))
        };
        let held = studio();
        let error = close(Arc::clone(&held)).unwrap_err();
        assert!(matches!(error, BroadcasterError::InUse), "{error}");
        assert!(error.to_string().contains("may be incomplete"), "{error}");
        drop(held);
        assert_eq!(close(studio()).unwrap(), 0);
        assert_eq!(std::fs::read_to_string(&path).unwrap().trim_end(), HEADER);
    }
}

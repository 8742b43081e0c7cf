//! What runs on hosts.
//!
//! | module | program |
//! |---|---|
//! | [`cdn`] | nginx-rtmp, with the sockets of [`listen`], and the notification service |
//! | [`broadcaster`] | ffmpeg, OBS or another program, and the agent that it publishes to |
//! | [`viewer`] | the agent that gives a [`player`] its stream, and that player |
//! | [`playlist`] | where the stream is in segments: the wait for it before a player, its end on the CDN |
//! | [`film`] | a film of such screens |
//! | [`screen`] | the screen of a viewer whose player shows something |
//! | [`ping`] | ping trains |
//! | [`process`] | supervision: start, readiness, death, stop |
//!
//! What is run is a value ([`process::Actor`]) that pure functions make from the plan, so that a dry run prints what
//! a run executes.

pub mod broadcaster;
pub mod cdn;
pub mod film;
pub mod listen;
pub mod ping;
pub mod player;
pub mod playlist;
pub mod process;
pub mod screen;
pub mod viewer;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

use crate::plan::RTMP_PORT;
use crate::store::TrialDir;

/// Where every agent awaits the program or player of its own host.
pub const AGENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, RTMP_PORT);

/// Where a trial's actors find and leave things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    /// The trial's folder of the run.
    pub trial: TrialDir,
    /// A folder for what nobody needs afterwards: nginx's own files, the players' homes. Best inside the sandbox.
    pub scratch: PathBuf,
    /// livectl itself, which makes nginx's sockets.
    pub livectl: PathBuf,
    /// The program of the agents and the notification service.
    pub agent: PathBuf,
}

//! What runs on hosts.
//!
//! | module | program |
//! |---|---|
//! | [`cdn`] | nginx-rtmp, with the sockets of [`listen`], and the notification service of [`notify`] |
//! | [`broadcaster`] | ffmpeg, and the agent that it writes to |
//! | [`viewer`] | the agent that runs the players of [`player`] |
//! | [`ping`] | ping trains |
//! | [`agent`] | the agents themselves |
//! | [`process`] | supervision: start, readiness, death, stop |
//!
//! What is run is a value ([`process::Actor`]) that pure functions make from the plan, so that a dry run prints what a run executes.

pub mod agent;
pub mod broadcaster;
pub mod cdn;
pub mod listen;
pub mod notify;
pub mod ping;
pub mod player;
pub mod process;
pub mod viewer;

use std::path::PathBuf;

/// Where a trial's actors find and leave things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    /// The trial's folder of the run: `log/`, `births/`, `dump/`, `ping/` are in it.
    pub trial: PathBuf,
    /// A folder for what nobody needs afterwards: nginx's own files, the players' homes. Best inside the sandbox.
    pub scratch: PathBuf,
    /// The livectl program, for agents and the notification service.
    pub livectl: PathBuf,
}

impl Folders {
    fn log(&self, host: &str, name: &str) -> PathBuf {
        self.trial.join("log").join(format!("{host}-{name}.log"))
    }
}

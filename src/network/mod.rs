//! The network of a trial: the topology file, the Mininet session that boots it, and the proof that it is what was
//! planned.
//!
//! - [`topology()`]: the plan as Python for `mn --custom`.
//! - [`tc`]: how the kernel shapes a link, and what it must show afterwards.
//! - [`session`]: Mininet's CLI.
//! - [`changes`]: changes of netem links at their moments.
//! - [`verify`]: reading back what was built.
//! - [`ports`]: what has passed between switches.
//! - [`power`]: a host that goes silent.
//! - [`reach`]: round-trip times against the plan.

pub mod changes;
pub mod ports;
pub mod power;
pub mod reach;
pub mod session;
pub mod tc;
pub mod topology;
pub mod verify;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::session::{BootSpec, Mininet};
pub use self::topology::topology;

/// What makes the links, when it has been settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Links {
    /// veth pairs shaped by the kernel, see [`tc`].
    Netem,
    /// TAP pairs joined by [`crate::emulator`].
    Emulated,
}

impl fmt::Display for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Links::Netem => "netem",
            Links::Emulated => "emulated",
        })
    }
}

/// What forwards packets in Open vSwitch, when it has been settled. Displays as Mininet's `datapath` parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Forwarding {
    /// The openvswitch kernel module.
    Kernel,
    /// OVS's user-space datapath.
    User,
}

impl fmt::Display for Forwarding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Forwarding::Kernel => "kernel",
            Forwarding::User => "user",
        })
    }
}

/// Why there is no network, or not the one that was planned.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The topology file's template failed.
    #[error("cannot write the topology file: {0:#}; this is a bug in livectl")]
    Template(minijinja::Error),
    /// A name that must not reach a shell.
    #[error("{0:?} cannot be the name of a node, an interface or a congestion control: 1 to 15 of A-Z a-z 0-9 _ . -")]
    Name(String),
    /// Mininet could not be started.
    #[error("cannot start {program}: {source}; install Mininet (Debian package `mininet`)")]
    Start {
        /// What was to be run.
        program: String,
        /// The underlying I/O error.
        source: io::Error,
    },
    /// The transcript cannot be written.
    #[error("cannot write Mininet's transcript {}: {source}", path.display())]
    Transcript {
        /// Where it was to go.
        path: PathBuf,
        /// The underlying I/O error.
        source: io::Error,
    },
    /// Mininet said nothing more before the deadline.
    #[error("Mininet did not {doing} within {within:?}. Its last lines:\n{}\nThe whole transcript is {}", indent(last), transcript.display())]
    Deadline {
        /// What it was doing: `boot`, `run 'dump'`.
        doing: String,
        /// The time it had.
        within: Duration,
        /// What it said last.
        last: String,
        /// The file with all it said.
        transcript: PathBuf,
    },
    /// Mininet ended by itself.
    #[error("Mininet ended before it could {doing}. Its last lines:\n{}\nThe whole transcript is {}", indent(last), transcript.display())]
    Ended {
        /// What it was doing.
        doing: String,
        /// What it said last.
        last: String,
        /// The file with all it said.
        transcript: PathBuf,
    },
    /// Mininet reported errors, and may have gone on regardless.
    #[error("Mininet reported errors when told to {doing}:\n{}\n{}The whole transcript is {}", indent(&lines.join("\n")), hint(lines), transcript.display())]
    Reported {
        /// What it was doing.
        doing: String,
        /// The lines that speak of errors.
        lines: Vec<String>,
        /// The file with all it said.
        transcript: PathBuf,
    },
    /// The session to Mininet broke.
    #[error("cannot talk to Mininet: {0}")]
    Session(String),
    /// A command cannot be given to Mininet's CLI.
    #[error("Mininet's CLI cannot take the command {0:?}: it cuts lines at `#` and ends them at a line break")]
    Command(String),
    /// A program that inspects the network failed.
    #[error("cannot inspect the network: `{command}` {problem}")]
    Inspect {
        /// The command line.
        command: String,
        /// How it failed, with what it said.
        problem: String,
    },
    /// No ping of a path came back.
    #[error("no ping from {path} was answered within {} s{}", waited.as_secs(), by_loss(*answered))]
    NoAnswer {
        /// `hs to hv`, or only where to.
        path: String,
        /// How long it was tried.
        waited: Duration,
        /// The share of pings that the planned loss lets come back.
        answered: f64,
    },
    /// A link could not be changed.
    #[error("cannot change {interface} during the trial: `tc` {problem}")]
    Change {
        /// The end of the link.
        interface: String,
        /// How it failed, with what it said.
        problem: String,
    },
    /// What was built is not what was planned.
    #[error("the network differs from the plan:\n{}", indent(&differences.join("\n")))]
    Differs {
        /// One line each.
        differences: Vec<String>,
    },
}

impl NetworkError {
    /// Names the hosts at the ends of a path that gave no answer.
    #[must_use]
    pub fn between(self, from: &str, to: &str) -> NetworkError {
        match self {
            NetworkError::NoAnswer { waited, answered, .. } => {
                NetworkError::NoAnswer { path: format!("{from} to {to}"), waited, answered }
            }
            other => other,
        }
    }
}

/// What the recipe's own loss has to do with it.
fn by_loss(answered: f64) -> String {
    if answered >= 1.0 {
        return String::new();
    }
    format!(
        ": with the `loss` of the recipe's links {:.1} % of them come back, and every path is measured before a trial begins. \
         Write a smaller `loss`; `timeline: links` can raise it during the trial",
        answered * 100.0
    )
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

/// What to do about errors whose cause is known.
fn hint(lines: &[String]) -> &'static str {
    let said = |words: &str| lines.iter().any(|line| line.contains(words));
    if said("qdisc kind is unknown") {
        "This kernel has no netem: use `link: emulated`, or `modprobe sch_netem` if it is a module that is not loaded.\n"
    } else if said("Unable to contact the remote controller") {
        "The OpenFlow controller does not answer: see its log.\n"
    } else if said("no TCP congestion control") {
        "Set `congestion_control` to one of those, or load the module: `modprobe tcp_bbr`.\n"
    } else {
        ""
    }
}

//! What this machine can do: measured, judged and reported.
//!
//! [`Capabilities::probe`] tries things and writes down what happened; [`findings`] judges that, without looking at
//! the machine again; [`Report`] shows it. [`resolve_links`] and [`resolve_datapath`] turn `auto` into a choice.

mod findings;
mod needed;
mod probe;
mod report;

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::plan::{Datapath, LinkKind};

pub use findings::{Finding, State, findings};
pub use needed::lacking;
pub use probe::Places;
pub use report::Report;

/// What came of trying something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "outcome", content = "said")]
pub enum Tried {
    /// It was done, and worked.
    Works(String),
    /// It was tried, and failed.
    Fails(String),
    /// It could not be tried without root; it should work.
    Likely(String),
    /// It could not be tried without root; it should not work.
    Unlikely(String),
}

impl Tried {
    /// True if it works or should.
    #[must_use]
    pub fn usable(&self) -> bool {
        matches!(self, Tried::Works(_) | Tried::Likely(_))
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Tried::Works(said) | Tried::Fails(said) | Tried::Likely(said) | Tried::Unlikely(said)) = self;
        f.pad(said)
    }
}

/// A program that trials use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Program {
    /// As it is started.
    pub name: &'static str,
    /// The Debian package it is in.
    pub package: &'static str,
    /// What a trial needs it for.
    pub purpose: &'static str,
    /// Where it is; `None`: nowhere on the trials' PATH.
    pub path: Option<PathBuf>,
    /// What it says of its version, shortened; `None`: it could not be made to say.
    pub version: Option<String>,
}

/// What was found on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// Effective user id.
    pub uid: u32,
    /// Kernel release, such as `6.1.0-18-amd64`.
    pub kernel: String,
    /// Processors this process may use.
    pub cores: usize,
    /// The kernel's clock source: `tsc`, `kvm-clock`, `hpet`.
    pub clock_source: String,
    /// How late the kernel may wake a sleeping thread to save power, in nanoseconds.
    pub timer_slack_ns: Option<u64>,
    /// Folder of the results and the free bytes there.
    pub disk: Option<(PathBuf, u64)>,
    /// Network, mount, PID and IPC namespaces, and mounts inside.
    pub namespaces: Tried,
    /// The netem queueing discipline.
    pub netem: Tried,
    /// The openvswitch kernel module.
    pub openvswitch: Tried,
    /// TAP devices by /dev/net/tun.
    pub tun: Tried,
    /// TCP congestion controls that can be used.
    pub congestion_controls: Vec<String>,
    /// /proc/pressure/cpu can be read.
    pub pressure: bool,
    /// The programs, in the order in which a trial needs them.
    pub programs: Vec<Program>,
    /// Those that only some recipes need: OBS and what it is shown by.
    pub on_demand: Vec<Program>,
    /// The trials' PATH.
    #[serde(skip)]
    pub path: std::ffi::OsString,
    /// `/usr/bin/python3` can import Mininet.
    pub mininet: Tried,
    /// nginx's RTMP module.
    pub rtmp_module: Option<PathBuf>,
    /// Encoders and muxers that ffmpeg lacks, of those that trials use.
    pub ffmpeg_lacks: Vec<String>,
    /// The OpenFlow controller.
    pub controller: Option<PathBuf>,
    /// The program of agents and of the notification service.
    pub agent: Option<PathBuf>,
    /// Programs for looking at a trial that no trial needs, and that are not installed.
    pub tools_lack: Vec<&'static str>,
}

/// A choice and the reason for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice<T> {
    /// What was chosen; never `Auto`.
    pub kind: T,
    /// Why, in words that follow its name: `emulated: this kernel has no netem (…)`.
    pub why: String,
}

/// What was asked for cannot be had on this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{asked} is not available here: {why}. {remedy}")]
pub struct Unavailable {
    asked: String,
    why: String,
    remedy: &'static str,
}

/// Decides what makes the links.
///
/// # Errors
/// The kind asked for, or with `Auto` every kind, cannot be used here.
pub fn resolve_links(asked: LinkKind, here: &Capabilities) -> Result<Choice<LinkKind>, Unavailable> {
    let (netem, tun) = (&here.netem, &here.tun);
    let unavailable = |asked: &str, why: String, remedy| Err(Unavailable { asked: asked.into(), why, remedy });
    match asked {
        LinkKind::Netem if netem.usable() => {
            Ok(Choice { kind: LinkKind::Netem, why: "the recipe asks for it".into() })
        }
        LinkKind::Emulated if tun.usable() => {
            Ok(Choice { kind: LinkKind::Emulated, why: "the recipe asks for it".into() })
        }
        LinkKind::Auto if netem.usable() => {
            Ok(Choice { kind: LinkKind::Netem, why: format!("this kernel has netem ({netem})") })
        }
        LinkKind::Auto if tun.usable() => {
            Ok(Choice { kind: LinkKind::Emulated, why: format!("this kernel has no netem ({netem})") })
        }
        LinkKind::Netem => unavailable("link kind netem", netem.to_string(), findings::NETEM_REMEDY),
        LinkKind::Emulated => unavailable("link kind emulated", tun.to_string(), findings::TUN_REMEDY),
        LinkKind::Auto => {
            let why = format!("netem: {netem}; emulated: {tun}");
            unavailable("neither kind of link", why, findings::TUN_REMEDY)
        }
    }
}

/// Decides what forwards packets.
///
/// # Errors
/// The datapath asked for, or with `Auto` every datapath, cannot be used here.
pub fn resolve_datapath(asked: Datapath, here: &Capabilities) -> Result<Choice<Datapath>, Unavailable> {
    let (kernel, tun) = (&here.openvswitch, &here.tun);
    let unavailable = |asked: &str, why: String, remedy| Err(Unavailable { asked: asked.into(), why, remedy });
    match asked {
        Datapath::Kernel if kernel.usable() => {
            Ok(Choice { kind: Datapath::Kernel, why: "the recipe asks for it".into() })
        }
        // Open vSwitch makes a bridge's own port as a TAP device.
        Datapath::User if tun.usable() => Ok(Choice { kind: Datapath::User, why: "the recipe asks for it".into() }),
        Datapath::Auto if kernel.usable() => {
            Ok(Choice { kind: Datapath::Kernel, why: format!("this kernel has openvswitch ({kernel})") })
        }
        Datapath::Auto if tun.usable() => {
            Ok(Choice { kind: Datapath::User, why: format!("this kernel has no openvswitch ({kernel})") })
        }
        Datapath::Kernel => unavailable("datapath kernel", kernel.to_string(), findings::OVS_REMEDY),
        Datapath::User => unavailable("datapath user", tun.to_string(), findings::TUN_REMEDY),
        Datapath::Auto => {
            unavailable("neither datapath", format!("kernel: {kernel}; user: {tun}"), findings::TUN_REMEDY)
        }
    }
}

/// Probes this machine and judges what was found.
#[must_use]
pub fn doctor(places: &Places) -> Report {
    Report::new(&Capabilities::probe(places))
}

#[cfg(test)]
mod tests;

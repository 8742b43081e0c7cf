//! What is to be measured, as values.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::traffic::Buffering;
use crate::openflow::Version;

/// How packet-ins are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Drive {
    /// A window of packet-ins in flight at each switch
    Open,
    /// One packet-in in flight at each switch
    Closed,
}

impl fmt::Display for Drive {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Drive::Open => "open",
            Drive::Closed => "closed",
        })
    }
}

/// A controller to measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Name of the controller in the tables.
    pub name: String,
    /// Address and port at which it accepts switches.
    pub address: SocketAddr,
    /// Its process, if its processor time and memory are to be told.
    pub pid: Option<u32>,
}

/// One combination of conditions under which all controllers are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Cell {
    /// How packet-ins are sent.
    pub drive: Drive,
    /// The version that the switches speak.
    #[serde(serialize_with = "as_text")]
    pub openflow: Version,
    /// How many switches are connected.
    pub switches: u16,
    /// How many stations each switch has.
    pub macs: u32,
}

fn as_text<S: serde::Serializer>(version: &Version, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(version.as_str())
}

/// All that is to be measured, and how.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The controllers; each is measured under all conditions.
    pub targets: Vec<Target>,
    /// The combinations of conditions.
    pub cells: Vec<Cell>,
    /// What holds under all of them.
    pub conduct: Conduct,
}

/// What holds for all cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Conduct {
    /// Packet-ins under way at each switch, in an open loop.
    pub window: u32,
    /// Whether switches keep the packets or send them whole.
    pub buffering: Buffering,
    /// Bytes of each frame.
    pub frame_size: usize,
    /// How long packet-ins are sent before each measurement.
    #[serde(serialize_with = "as_seconds")]
    pub warm_up: Duration,
    /// How long each measurement is.
    #[serde(serialize_with = "as_seconds")]
    pub duration: Duration,
    /// Measurements of each controller in each cell. Controllers take turns.
    pub repetitions: u32,
    /// Time between connecting one switch and the next.
    #[serde(serialize_with = "as_seconds")]
    pub pause: Duration,
}

fn as_seconds<S: serde::Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(time.as_secs_f64())
}

/// Every combination of these conditions.
pub fn cells(drives: &[Drive], versions: &[Version], switches: &[u16], macs: &[u32]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for &drive in drives {
        for &openflow in versions {
            for &switches in switches {
                cells.extend(macs.iter().map(|&macs| Cell { drive, openflow, switches, macs }));
            }
        }
    }
    cells
}

//! Why files cannot be imported.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use crate::store::StoreError;
use crate::trace::ping::PingError;

/// Why files cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read or is not what ping prints.
    #[error(transparent)]
    Ping(#[from] PingError),
    /// The run to be imported again cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is nothing in the file.
    #[error("{} is empty: ping never wrote to it", path.display())]
    Empty {
        /// Path of the file.
        path: PathBuf,
    },
    /// Ping began and did no more.
    #[error("{} contains no ping: it ends before the first answer", path.display())]
    NoPing {
        /// Path of the file.
        path: PathBuf,
    },
    /// Answers without times.
    #[error(
        "{} reports {answered} answered pings, but no times: was ping called with -q or -f, or with -s below 16?",
        path.display()
    )]
    NoTimes {
        /// Path of the file.
        path: PathBuf,
        /// Number of answered pings.
        answered: u32,
    },
    /// Answers of which none can be read.
    #[error("of {} no answer can be read; the first line that looks like one is {line:?}", path.display())]
    Unreadable {
        /// Path of the file.
        path: PathBuf,
        /// That line.
        line: String,
    },
    /// The outputs of several pings in one file, as `>>` makes them.
    #[error(
        "{} contains the output of several pings, one after the other or mixed. Split it at the lines that begin with PING",
        path.display()
    )]
    Several {
        /// Path of the file.
        path: PathBuf,
    },
    /// Numbers that cannot be true.
    #[error("{} is damaged: it contains {what}", path.display())]
    Implausible {
        /// Path of the file.
        path: PathBuf,
        /// What cannot be true.
        what: String,
    },
    /// There is no delay in any of the files.
    #[error(
        "in none of these files was a ping answered all the way from broadcaster to viewer: there is no delay to import"
    )]
    NoAnswer,
    /// One file in two places.
    #[error("{} is given twice: each file is one ping train", path.display())]
    Twice {
        /// Path of the file.
        path: PathBuf,
    },
    /// Broadcaster to CDN and CDN to viewer ping the same host.
    #[error(
        "{} and {} both ping {target}, so they are not two legs of one path. --direct takes two files: broadcaster to CDN, then CDN to viewer",
        paths[0].display(), paths[1].display()
    )]
    SameTarget {
        /// Both files.
        paths: [PathBuf; 2],
        /// Whom they ping.
        target: IpAddr,
    },
    /// The first file of `direct` pings whom the file of `bypass` pings.
    #[error(
        "{} pings {target}, as {} does, which is given as broadcaster to viewer. --direct takes broadcaster to CDN first, \
         then CDN to viewer: are they swapped?",
        uplink.display(), peer.display()
    )]
    Swapped {
        /// What was given as broadcaster to CDN.
        uplink: PathBuf,
        /// What was given as broadcaster to viewer.
        peer: PathBuf,
        /// Whom both ping.
        target: IpAddr,
    },
    /// The two files of a trial are not of the same time.
    #[error(
        "{} and {} never pinged at the same time{}. The two files of --direct are of one experiment",
        paths[0].display(), paths[1].display(), Spans(*spans)
    )]
    Apart {
        /// Both files.
        paths: [PathBuf; 2],
        /// When each pinged, if there are time stamps.
        spans: Option<[(Timestamp, Timestamp); 2]>,
    },
    /// The interval given is not that of the time stamps, or of the summary.
    #[error(
        "the pings of {} are {} s apart, not {} s: leave out --interval; the file contains it",
        path.display(), (measured.as_secs_f64() * 1e3).round() / 1e3, asked.as_secs_f64()
    )]
    Interval {
        /// Path of the file.
        path: PathBuf,
        /// As given.
        asked: Duration,
        /// As the file has it.
        measured: Duration,
    },
    /// The run is livectl's own.
    #[error("{} is not an imported run: `livectl plot` draws it again", run.display())]
    NotImported {
        /// Folder of the run.
        run: PathBuf,
    },
    /// A file of the run is not what was imported.
    #[error("{} has changed since it was imported: its XXH3-128 is not that of the manifest", path.display())]
    Changed {
        /// Path of the file.
        path: PathBuf,
    },
}

impl ImportError {
    /// Whether the files are sound and something else was asked of them than they can give: wrong usage.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            ImportError::Twice { .. }
            | ImportError::SameTarget { .. }
            | ImportError::Swapped { .. }
            | ImportError::Apart { .. }
            | ImportError::Interval { .. }
            | ImportError::NotImported { .. } => true,
            ImportError::Ping(_)
            | ImportError::Store(_)
            | ImportError::Empty { .. }
            | ImportError::NoPing { .. }
            | ImportError::NoTimes { .. }
            | ImportError::Unreadable { .. }
            | ImportError::Several { .. }
            | ImportError::Implausible { .. }
            | ImportError::NoAnswer
            | ImportError::Changed { .. } => false,
        }
    }
}

struct Spans(Option<[(Timestamp, Timestamp); 2]>);

impl fmt::Display for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(spans) = self.0 else { return Ok(()) };
        let [a, b] = spans.map(|(from, to)| format!("{from:.0} to {to:.0}"));
        write!(f, " ({a}, and {b})")
    }
}

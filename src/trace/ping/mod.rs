//! Reads what iputils `ping` printed, with or without `-D`, `-O`, `-v`; also BusyBox's, toybox's, inetutils' and the
//! BSDs' ping, ping6 too; with the time before each line that `ts` or `date` put there ([`stamp`]).
//!
//! iputils translates its words (`time=`, `Zeit=`, `čas=`) and, with them, the decimal point and the units. So a line
//! is understood by its structure ([`line`]). What was read is compared with ping's own summary ([`summary`]):
//! a file that contradicts itself is damaged.
//!
//! BusyBox and the BSDs number pings from 0 (here from 1, as iputils does).

mod clock;
mod heading;
mod line;
mod prefix;
mod reader;
mod stamp;
mod summary;
mod text;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use clock::{Since, Stamps};
pub use line::shown;
pub use reader::parse;
pub use summary::{Figure, Summary};

/// Programs whose output looks like ping's and is another's, by the word that a line of it begins with.
const OTHERS: [(&str, &str); 4] =
    [("HPING", "hping3"), ("ARPING", "arping"), ("TCPPING", "tcpping"), ("Starting Nping", "nping")];
/// What packed files begin with.
const PACKED: [(&[u8], &str); 4] =
    [(b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ", "xz"), (b"\x28\xb5\x2f\xfd", "zstd")];

/// One answer to a ping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PingReply {
    /// Sequence number, from 1, counted on when ICMP's 16 bits are through.
    pub seq: u32,
    /// When the ping was sent: the time stamp of `-D` less the round trip, in nanoseconds of CLOCK_REALTIME;
    /// exact to the microsecond that ping prints, and late by what ping took to print it. `None` without `-D`.
    pub sent_ns: Option<i64>,
    /// Round-trip time in nanoseconds.
    pub rtt_ns: u64,
    /// A further answer to a ping already answered.
    pub duplicate: bool,
}

/// An ICMP error that came instead of an answer: `From 10.0.0.1 icmp_seq=3 Destination Host Unreachable`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PingFailure {
    /// Sequence number of the ping that it answers.
    pub seq: u32,
    /// The line as printed, without its time stamp.
    pub line: String,
}

/// All that one `ping` printed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PingLog {
    /// Answers in the order in which they came.
    pub replies: Vec<PingReply>,
    /// Errors in the order in which they came.
    pub failures: Vec<PingFailure>,
    /// Numbers of the pings that were answered and of which the file has no time.
    pub untimed: Vec<u32>,
    /// The greatest number of a ping of which ping says that it waits for the answer.
    pub waiting: u32,
    /// The first ping that the file tells of. Those before it, if there were any, are in no other place.
    pub first: u32,
    /// What ping says at its end.
    pub summary: Summary,
    /// Lines that begin as answers do and cannot be read, and a last line that was cut off.
    pub unreadable: Vec<String>,
    /// In what the file contradicts itself, and what it lacks.
    pub contradictions: Vec<String>,
    /// What a reader of the numbers should know, though nothing is wrong.
    pub notes: Vec<String>,
    /// The address pinged, from the first line; `None` if that is missing or has none.
    pub target: Option<IpAddr>,
    /// The file goes on with another ping's output, which was not read: its numbers begin again.
    pub another_follows: bool,
    /// What the time stamps before its lines are, or behind them.
    pub stamps: Stamps,
    /// Lines that are not answers.
    notices: usize,
    /// It has ping's first line.
    headed: bool,
}

impl PingLog {
    /// Pings sent, from the summary; `None` when ping ended without one.
    #[must_use]
    pub fn transmitted(&self) -> Option<u32> {
        self.summary.transmitted
    }

    /// Pings answered (duplicates not counted), from the summary.
    #[must_use]
    pub fn received(&self) -> Option<u32> {
        self.summary.received
    }

    /// Time between pings, as the summary tells it.
    #[must_use]
    pub fn interval(&self) -> Option<Duration> {
        self.summary.interval()
    }

    /// Pings sent, as far as the file tells.
    #[must_use]
    pub fn sent(&self) -> u32 {
        self.greatest().max(self.transmitted().unwrap_or(0))
    }

    /// The greatest number in the file.
    fn greatest(&self) -> u32 {
        let numbers = self.replies.iter().map(|r| r.seq).chain(self.failures.iter().map(|f| f.seq));
        numbers.chain(self.untimed.iter().copied()).chain([self.waiting]).max().unwrap_or(0)
    }

    /// Numbers of the pings that were lost, of the first `most_sent`. Where the summary counts fewer pings than the
    /// file has numbers, no more than it says.
    #[must_use]
    pub fn lost(&self, most_sent: u32) -> Vec<u32> {
        let answered: std::collections::HashSet<u32> =
            self.replies.iter().map(|r| r.seq).chain(self.untimed.iter().copied()).collect();
        let greatest = self.greatest();
        let sent = self.transmitted().unwrap_or(greatest);
        let most = match self.received() {
            Some(received) if sent < greatest => sent.saturating_sub(received) as usize,
            _ => usize::MAX,
        };
        (self.first.max(1)..=sent.min(most_sent)).filter(|seq| !answered.contains(seq)).take(most).collect()
    }
}

/// Why ping output could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PingError {
    /// The file cannot be read.
    #[error("cannot read the ping output {}: {source}", path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Nothing in the file looks like ping.
    #[error("{} is not the output of ping: its first line is {first_line:?}", path.display())]
    Foreign {
        /// Path of the file.
        path: PathBuf,
        /// What it begins with.
        first_line: String,
    },
    /// It has to be unpacked first.
    #[error("{} is compressed: unpack it with {program} first", path.display())]
    Packed {
        /// Path of the file.
        path: PathBuf,
        /// What unpacks it.
        program: &'static str,
    },
    /// It is another program's.
    #[error("{} is the output of {program}, not of ping", path.display())]
    Other {
        /// Path of the file.
        path: PathBuf,
        /// What printed it: `traceroute`, `fping`, ….
        program: &'static str,
    },
}

/// Reads a file that `ping` wrote. An empty file is a ping that never ran: a log without replies.
///
/// # Errors
/// [`PingError`] if the file cannot be read or has no line of ping's in it. Bytes that are not UTF-8 are no error:
/// only words that do not matter can hold them.
pub fn read(path: &Path) -> Result<PingLog, PingError> {
    let bytes = crate::file::read(path).map_err(|source| PingError::Read { path: path.to_owned(), source })?;
    from_bytes(path, &bytes)
}

/// As [`read`], of bytes read before; `path` is for the error.
///
/// # Errors
/// [`PingError::Foreign`], [`PingError::Other`], [`PingError::Packed`].
pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<PingLog, PingError> {
    let path = || path.to_owned();
    if let Some((_, program)) = PACKED.iter().find(|(begin, _)| bytes.starts_with(begin)) {
        return Err(PingError::Packed { path: path(), program });
    }
    let text = text::decode(bytes);
    let log = reader::read(&text);
    if log.replies.is_empty()
        && let Some(program) = another(&text, log.headed)
    {
        return Err(PingError::Other { path: path(), program });
    }
    let nothing = log.replies.is_empty() && log.failures.is_empty() && log.untimed.is_empty();
    let is_foreign = nothing && log.transmitted().is_none() && !log.headed;
    if is_foreign && (log.notices + log.unreadable.len() > 0 || text.zeros_from == Some(0)) {
        let lines = text.lines().map(|line| line.text.trim().chars().take(80).collect::<String>());
        let first_line = lines.into_iter().find(|line| !line.is_empty()).unwrap_or_default();
        return Err(PingError::Foreign { path: path(), first_line });
    }
    Ok(log)
}

/// The program whose output it is, if that is not ping. Only what is no first line of ping's tells (`is_headed`).
fn another(text: &text::Text<'_>, is_headed: bool) -> Option<&'static str> {
    text.lines().find_map(|line| {
        let line = line.text.as_ref();
        let begins = |word: &str| {
            line.find(word).is_some_and(|at| {
                !line[..at].ends_with(char::is_alphanumeric) && line[at + word.len()..].starts_with(' ')
            })
        };
        let of_windows = || {
            // Reply from 10.0.0.3: bytes=32 time=4ms TTL=64
            let words: Vec<&str> = line.split_whitespace().rev().take(3).collect();
            words.first().is_some_and(|word| word.to_ascii_uppercase().starts_with("TTL="))
                && words.last().is_some_and(|word| word.contains(['=', '<']) || word.ends_with(char::is_numeric))
                && line.contains(": ")
                && !line.contains("seq")
        };
        let program = OTHERS.iter().find(|(word, _)| begins(word)).map(|(_, program)| *program);
        let fping = || line.contains(" : [") && line.contains(" bytes, ") || line.contains("xmt/rcv/%loss");
        let httping = || line.starts_with("connected to ") && line.contains(" bytes), seq=");
        program
            .filter(|_| !is_headed)
            .or_else(|| of_windows().then_some("Windows' ping"))
            .or_else(|| httping().then_some("httping"))
            .or_else(|| fping().then_some("fping"))
    })
}

#[cfg(test)]
mod tests;

//! Reads what iputils `ping` printed, with or without `-D`, `-O`, `-v`; also BusyBox's, toybox's, inetutils' and the
//! BSDs' ping, ping6 too; with the time before each line that `ts` or `date` put there ([`stamp`]).
//!
//! iputils translates its words (`time=`, `Zeit=`, `čas=`) and, with them, the decimal point and the units. So a line
//! is understood by its structure ([`line`]). What was read is held against what ping says at its end ([`summary`]):
//! a file that contradicts itself is damaged.
//!
//! BusyBox and the BSDs number pings from 0 (here from 1, as iputils does).

mod line;
mod stamp;
mod summary;

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use line::{Line, SEQUENCE_SPAN, understand};
use stamp::{Prefix, Stamp};
use summary::Summary;

/// Stamps of whole seconds that fit one interval no better than this are taken as they are.
const MOST_SCATTER_NS: i64 = 2_000_000_000;
/// Programs whose output looks like ping's and is another's, by the word that it begins with.
const OTHERS: [(&str, &str); 3] = [("HPING", "hping3"), ("ARPING", "arping"), ("TCPPING", "tcpping")];

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
    /// Answers of which the file has no time.
    pub untimed: usize,
    /// What ping says at its end.
    pub summary: Summary,
    /// Lines that begin as answers do and cannot be read, and a last line that was cut off.
    pub unreadable: Vec<String>,
    /// The address pinged, from the first line; `None` if that is missing or has none.
    pub target: Option<IpAddr>,
    /// The file goes on with another ping's output, which was not read: its numbers begin again.
    pub another_follows: bool,
    /// Lines that are not answers.
    notices: usize,
    /// The first line is ping's.
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

    /// In what the file contradicts itself: its summary counts other answers, or has other times.
    #[must_use]
    pub fn contradiction(&self) -> Option<String> {
        let ms = |reply: &PingReply| (Duration::from_nanos(reply.rtt_ns).as_secs_f64() * 1e3, reply.duplicate);
        let answers: Vec<(f64, bool)> = self.replies.iter().map(ms).collect();
        self.summary.contradiction(&answers, self.untimed)
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
/// [`PingError::Foreign`], [`PingError::Other`].
pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<PingLog, PingError> {
    let text = String::from_utf8_lossy(bytes);
    if let Some((_, program)) = OTHERS.iter().find(|(word, _)| text.trim_start().starts_with(word)) {
        return Err(PingError::Other { path: path.to_owned(), program });
    }
    let log = parse(&text);
    let nothing = log.replies.is_empty() && log.failures.is_empty() && log.untimed == 0;
    if nothing && log.transmitted().is_none() && !log.headed && log.notices + log.unreadable.len() > 0 {
        let first_line = text.lines().next().unwrap_or_default().chars().take(80).collect();
        return Err(PingError::Foreign { path: path.to_owned(), first_line });
    }
    Ok(log)
}

/// Understands what `ping` printed. Never fails: what is not understood is in [`PingLog::unreadable`].
#[must_use]
pub fn parse(text: &str) -> PingLog {
    let mut log = PingLog::default();
    let mut answered = HashSet::new();
    let (mut previous, mut wraps) = (0_u32, 0_u32);
    let mut in_summary = false;
    // What to add to the numbers; known from the first line, or else from the first number.
    let mut base = None;
    let mut prefix: Option<Prefix> = None;
    let mut coarse = true;
    for whole in text.trim_start_matches('\u{feff}').split_inclusive('\n') {
        let is_cut = !whole.ends_with('\n');
        // A terminal shows `^C` where ping was interrupted.
        let line = whole.trim_end_matches(['\n', '\r']).trim_start_matches("^C");
        let (mut stamp, mut line) = stamp::split_epoch(line);
        if let Some((before, rest)) = prefix.as_ref().and_then(|prefix| prefix.split(line)) {
            stamp = stamp.or_else(|| stamp::time(before));
            line = rest.trim_start_matches("^C");
        }
        // Only this line tells whom ping pings.
        if let Some((at, heading)) = heading(line) {
            if log.headed || in_summary || !log.replies.is_empty() || !log.failures.is_empty() {
                log.another_follows = true;
                break;
            }
            log.headed = true;
            prefix = Prefix::of(line, at);
            log.target = heading.target;
            base = heading.base;
            continue;
        }
        if in_summary {
            // Half a number does not count; a complete one in the last line is followed by its unit.
            if !is_cut || log.transmitted().is_some() && line.ends_with(char::is_alphabetic) {
                log.summary.take(line);
            }
            continue;
        }
        let mut number = |seq: u32, from_zero: bool| {
            let base = *base.get_or_insert(u32::from(from_zero || seq == 0));
            unwrap_sequence(seq, &mut previous, &mut wraps).saturating_add(base)
        };
        match understand(line) {
            Line::Reply { seq, rtt_ns, duplicate, from_zero } => {
                let seq = number(seq, from_zero);
                coarse &= stamp.is_none_or(|stamp| stamp.coarse);
                let sent = |stamp: Stamp| stamp.ns.checked_sub(i64::try_from(rtt_ns).ok()?);
                let again = !answered.insert(seq);
                let duplicate = duplicate || again;
                log.replies.push(PingReply { seq, sent_ns: stamp.and_then(sent), rtt_ns, duplicate });
            }
            // The file ends inside this line.
            _ if is_cut && !line.is_empty() => log.unreadable.push(line.to_owned()),
            Line::SummaryAhead => in_summary = true,
            Line::Untimed => log.untimed += 1,
            Line::Failure { seq, from_zero } => {
                let seq = number(seq, from_zero);
                log.failures.push(PingFailure { seq, line: line.to_owned() });
            }
            Line::Unreadable => log.unreadable.push(line.to_owned()),
            Line::Notice => log.notices += usize::from(!line.trim().is_empty()),
        }
    }
    if coarse {
        log.even_out();
    }
    log
}

impl PingLog {
    /// Stamps of whole seconds tell when a ping was sent only to a second, but all of them together tell when the
    /// first one was, for pings are an interval apart. Where they are not, stamps stay as they are.
    fn even_out(&mut self) {
        let stamped = |reply: &PingReply| Some((i64::from(reply.seq), reply.sent_ns?));
        let once: Vec<(i64, i64)> =
            self.replies.iter().filter(|reply| !reply.duplicate).filter_map(stamped).collect();
        let (Some(first), Some(last)) = (once.iter().min(), once.iter().max()) else { return };
        let slope = last.1.checked_sub(first.1).and_then(|span| span.checked_div(last.0 - first.0));
        let told = self.interval().and_then(|interval| i64::try_from(interval.as_nanos()).ok());
        let Some(each) = told.or(slope).filter(|each| *each > 0) else { return };
        let begin = |(seq, sent): &(i64, i64)| i128::from(*sent) - i128::from(each) * i128::from(*seq);
        // The stamp is the moment without its fraction: none of them is later than it was.
        let (Some(earliest), Some(latest)) = (once.iter().map(begin).min(), once.iter().map(begin).max()) else {
            return;
        };
        if latest - earliest > i128::from(MOST_SCATTER_NS) {
            return;
        }
        for reply in self.replies.iter_mut().filter(|reply| !reply.duplicate && reply.sent_ns.is_some()) {
            let sent = latest + i128::from(each) * i128::from(reply.seq);
            reply.sent_ns = i64::try_from(sent).ok().or(reply.sent_ns);
        }
    }
}

/// What ping's first line tells.
struct Heading {
    target: Option<IpAddr>,
    /// What to add to the numbers, if that is known.
    base: Option<u32>,
}

/// ping's first line in any language, and where in the line it begins: `PING name (10.0.0.3) 56(84) bytes of data.`,
/// `PING ::1(::1) 56 data bytes`, `ПІНГ …`, `Ping …`, `PING6(56=40+8+8 bytes) fd00::1 --> fd00::3`. A word, a name,
/// its address in parentheses, and no value.
fn heading(line: &str) -> Option<(usize, Heading)> {
    if let Some(at) = line.find("PING6(")
        && let Some((_, target)) = line.split_once("--> ")
    {
        let target = target.split([' ', '%']).next().and_then(|word| word.parse().ok());
        return Some((at, Heading { target, base: Some(1) }));
    }
    let english = ["PING ", "Ping "].into_iter().find_map(|word| line.find(word));
    if line.contains('=') || line.contains("statistics") {
        return None;
    }
    let (before, rest) = line.split_once('(').unwrap_or((line, ""));
    let target = rest.split_once(')').and_then(|(address, _)| address.split('%').next()?.parse::<IpAddr>().ok());
    let after = rest.split_once(')').map_or("", |(_, after)| after);
    // iputils and toybox tell the size with and without headers, and count from 1; the others count from 0.
    let counts_from_1 = after.split_once('(').is_some_and(|(size, whole)| {
        size.ends_with(|c: char| c.is_ascii_digit()) && whole.starts_with(|c: char| c.is_ascii_digit())
    });
    let tells_size = after.contains(|c: char| c.is_ascii_digit());
    // The name, and before it the word; in some languages the address has the name's place.
    let name = before.trim_end();
    let word_end = name.rfind(char::is_whitespace)?;
    let word = name[..word_end].trim_end();
    let blank = word.char_indices().rev().find(|(_, c)| c.is_whitespace());
    let begins = blank.map_or(0, |(at, c)| at + c.len_utf8());
    let is_word = word[begins..].chars().count() >= 2 && word[begins..].chars().all(char::is_alphabetic);
    let other = (target.is_some() && tells_size && is_word && !line.starts_with(|c: char| c.is_ascii_digit()))
        .then_some(begins);
    let at = english.filter(|at| !line[..*at].contains(" bytes")).or(other.filter(|_| counts_from_1))?;
    let base = match (counts_from_1, line.contains("): ")) {
        (true, _) => Some(0),
        (false, true) => Some(1),
        (false, false) => None,
    };
    Some((at, Heading { target, base }))
}

/// Counts on past 65535: a number far below the one before belongs to the next round, one far above to the last.
fn unwrap_sequence(seq: u32, previous: &mut u32, wraps: &mut u32) -> u32 {
    if seq + SEQUENCE_SPAN / 2 < *previous {
        *wraps = wraps.saturating_add(1);
        *previous = seq;
    } else if seq > *previous + SEQUENCE_SPAN / 2 && *wraps > 0 {
        return (*wraps - 1).saturating_mul(SEQUENCE_SPAN).saturating_add(seq);
    } else {
        *previous = seq;
    }
    wraps.saturating_mul(SEQUENCE_SPAN).saturating_add(seq)
}

#[cfg(test)]
mod tests;

//! Reads what iputils `ping -n` printed, with or without `-D`; also BusyBox's, inetutils' and the BSDs' ping.
//!
//! iputils translates its words (`time=`, `Zeit=`, `temps=`) and, with them, the decimal point. What it never
//! translates is `icmp_seq=N` and `ttl=N`, so a line is understood by those and by the number that follows,
//! not by its words.
//!
//! The others have a colon after the address in their first line, number pings from 0 (here from 1, as iputils does), and
//! BusyBox writes `seq=` for `icmp_seq=`.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// ICMP sequence numbers are 16 bits wide (RFC 792, Echo): later ones start again at 0.
const SEQUENCE_SPAN: u32 = 1 << 16;

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
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PingLog {
    /// Answers in the order in which they came.
    pub replies: Vec<PingReply>,
    /// Errors in the order in which they came.
    pub failures: Vec<PingFailure>,
    /// Pings sent, from the summary; `None` when ping ended without one.
    pub transmitted: Option<u32>,
    /// Pings answered (duplicates not counted), from the summary.
    pub received: Option<u32>,
    /// Lines that are none of what ping is known to print, and a last line that was cut off.
    pub unreadable: Vec<String>,
    /// The address pinged, from the first line; `None` if that is missing or has none.
    pub target: Option<IpAddr>,
    /// The file goes on with another ping's output, which was not read: its numbers begin anew.
    pub another_follows: bool,
}

/// Why ping output could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PingError {
    /// The file cannot be read.
    #[error("cannot read the ping output {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Nothing in the file looks like ping.
    #[error("{} is not the output of ping: its first line is {first_line:?}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it begins with.
        first_line: String,
    },
}

/// Reads a file that `ping` wrote. An empty file is a ping that never ran: a log without replies.
///
/// # Errors
/// [`PingError`] if the file cannot be read or has no line of ping's in it. Bytes that are not UTF-8 are no error: only
/// words that do not matter can hold them.
pub fn read(path: &Path) -> Result<PingLog, PingError> {
    let bytes = crate::file::read(path).map_err(|source| PingError::Read { path: path.to_owned(), source })?;
    from_bytes(path, &bytes)
}

/// As [`read`], of bytes read before; `path` is for the error.
///
/// # Errors
/// [`PingError::Foreign`].
pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<PingLog, PingError> {
    let text = String::from_utf8_lossy(bytes);
    let log = parse(&text);
    let nothing = log.replies.is_empty() && log.failures.is_empty() && log.transmitted.is_none();
    if nothing && !log.unreadable.is_empty() && !text.starts_with("PING ") {
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
    let mut headed = false;
    for whole in text.trim_start_matches('\u{feff}').split_inclusive('\n') {
        let Some(line) = whole.strip_suffix('\n').or_else(|| is_whole_reply(whole).then_some(whole)) else {
            // The file ends inside this line: `time=40` may have been `time=405 ms`.
            log.unreadable.push(whole.to_owned());
            break;
        };
        // A terminal shows `^C` where ping was interrupted.
        let (stamp, line) = split_stamp(line.trim_end_matches('\r').trim_start_matches("^C"));
        // Only this line tells whom ping pings; in every language it begins with this word.
        if line.starts_with("PING ") {
            if headed || in_summary || !log.replies.is_empty() || !log.failures.is_empty() {
                log.another_follows = true;
                break;
            }
            headed = true;
            log.target = target(line);
            base = line.contains("): ").then_some(1);
            continue;
        }
        if in_summary {
            if log.transmitted.is_none() {
                let mut counts = integers(line);
                log.transmitted = counts.next();
                log.received = counts.next();
            }
            continue;
        }
        let mut number = |seq: u32, from_zero: bool| {
            let base = *base.get_or_insert(u32::from(from_zero || seq == 0));
            unwrap_sequence(seq, &mut previous, &mut wraps).saturating_add(base)
        };
        match understand(line) {
            Line::Blank | Line::Notice => {}
            Line::SummaryAhead => in_summary = true,
            Line::Reply { seq, rtt_ns, duplicate } => {
                let seq = number(seq, !line.contains("icmp_"));
                let sent_ns = stamp.zip(i64::try_from(rtt_ns).ok()).map(|(stamp, rtt)| stamp - rtt);
                let again = !answered.insert(seq);
                log.replies.push(PingReply { seq, sent_ns, rtt_ns, duplicate: duplicate || again });
            }
            Line::Failure { seq } => {
                let seq = number(seq, !line.contains("icmp_"));
                log.failures.push(PingFailure { seq, line: line.to_owned() });
            }
            Line::Unknown => log.unreadable.push(line.to_owned()),
        }
    }
    log
}

/// Whether a line without its end is an answer all the same: its time is whole when the unit follows it.
fn is_whole_reply(line: &str) -> bool {
    let line = line.trim_end_matches(" (DUP!)");
    line.ends_with(" ms") && matches!(understand(split_stamp(line).1), Line::Reply { .. })
}

/// `PING name (10.0.0.3) …`, `PING ::1(::1) …` → the address.
fn target(line: &str) -> Option<IpAddr> {
    let (_, rest) = line.split_once('(')?;
    rest.split_once(')')?.0.parse().ok()
}

enum Line {
    Blank,
    Reply {
        seq: u32,
        rtt_ns: u64,
        duplicate: bool,
    },
    Failure {
        seq: u32,
    },
    /// `no answer yet` (`-O`), warnings: nothing that was measured.
    Notice,
    SummaryAhead,
    Unknown,
}

fn understand(line: &str) -> Line {
    if line.trim().is_empty() {
        return Line::Blank;
    }
    if line.starts_with("--- ") && line.trim_end().ends_with("---") {
        return Line::SummaryAhead;
    }
    let notices = ["ping: ", "Warning: ", "no answer yet", "Request timeout for icmp_seq"];
    if notices.iter().any(|notice| line.starts_with(notice)) {
        return Line::Notice;
    }
    // `icmp_req` is what iputils before 2013 said.
    let number = ["icmp_seq=", "icmp_req="].into_iter().find_map(|word| line.find(word));
    let Some(at) = number.or_else(|| line.find(": seq=").map(|at| at + 2)) else { return Line::Unknown };
    let mut values = line[at..].split_whitespace().filter_map(|word| word.split_once('='));
    let Some(seq) = values.next().and_then(|(_, n)| n.parse().ok()).filter(|seq| *seq < SEQUENCE_SPAN) else {
        return Line::Unknown;
    };
    if !line[at..].contains(" ttl=") {
        // An answer always has a ttl; an error tells who reports it, then the number, then what.
        let words_follow = line[at..].split_whitespace().count() > 1;
        // A line that ends with the number is `no answer yet for icmp_seq=3` in some language; one of an answer begins with its size.
        let size_leads = line.starts_with(|c: char| c.is_ascii_digit());
        return match (words_follow, size_leads) {
            (true, _) => Line::Failure { seq },
            (false, true) => Line::Unknown,
            (false, false) => Line::Notice,
        };
    }
    match values.find(|(key, _)| *key != "ttl").and_then(|(_, number)| milliseconds(number)) {
        Some(rtt_ns) => Line::Reply { seq, rtt_ns, duplicate: line.contains("DUP!") },
        None => Line::Unknown,
    }
}

/// `[1795389420.123456] rest` → nanoseconds since 1970 and the rest.
fn split_stamp(line: &str) -> (Option<i64>, &str) {
    let Some((stamp, rest)) = line.strip_prefix('[').and_then(|l| l.split_once("] ")) else { return (None, line) };
    match decimal(stamp, 9).and_then(|ns| i64::try_from(ns).ok()) {
        Some(ns) => (Some(ns), rest),
        None => (None, line),
    }
}

/// Nanoseconds of a number of milliseconds as ping prints it: `405`, `0.045`, `0,045`, perhaps with its unit.
fn milliseconds(number: &str) -> Option<u64> {
    let digits = number.trim_end_matches(|c: char| !c.is_ascii_digit());
    decimal(digits, 6)
}

/// A decimal number times 10^`shift`, exactly. Point or comma; no sign, no exponent.
fn decimal(text: &str, shift: usize) -> Option<u64> {
    let (whole, fraction) = text.split_once(['.', ',']).unwrap_or((text, ""));
    if whole.is_empty() || fraction.len() > shift || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let scale = 10_u64.checked_pow(u32::try_from(shift).ok()?)?;
    let part = match fraction {
        "" => 0,
        digits => digits.parse::<u64>().ok()? * 10_u64.pow(u32::try_from(shift - digits.len()).ok()?),
    };
    if !whole.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    whole.parse::<u64>().ok()?.checked_mul(scale)?.checked_add(part)
}

/// The numbers in a line of the summary; its first two are those sent and those answered in every language.
fn integers(line: &str) -> impl Iterator<Item = u32> + '_ {
    line.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok())
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
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    /// As iputils 20221126 prints with `-D -n`, a duplicate and a loss in it.
    const STAMPED: &str = "\
PING 10.0.0.2 (10.0.0.2) 56(84) bytes of data.
[1795389420.812345] 64 bytes from 10.0.0.2: icmp_seq=1 ttl=64 time=802 ms
[1795389421.814345] 64 bytes from 10.0.0.2: icmp_seq=2 ttl=64 time=0.045 ms
[1795389421.815345] 64 bytes from 10.0.0.2: icmp_seq=2 ttl=64 time=1.05 ms (DUP!)
[1795389423.900000] From 10.0.0.1 icmp_seq=3 Destination Host Unreachable
[1795389424.812345] 64 bytes from 10.0.0.2: icmp_seq=4 ttl=64 time=99.9 ms

--- 10.0.0.2 ping statistics ---
4 packets transmitted, 3 received, +1 duplicates, +1 errors, 25% packet loss, time 3004ms
rtt min/avg/max/mdev = 0.045/300.648/802.000/356.771 ms, pipe 2
";

    fn reply(seq: u32, sent_ns: Option<i64>, rtt_ns: u64, duplicate: bool) -> PingReply {
        PingReply { seq, sent_ns, rtt_ns, duplicate }
    }

    #[test]
    fn stamps_losses_duplicates_and_errors() {
        let log = parse(STAMPED);
        assert_eq!(
            log.replies,
            [
                reply(1, Some(1_795_389_420_010_345_000), 802_000_000, false),
                reply(2, Some(1_795_389_421_814_300_000), 45_000, false),
                reply(2, Some(1_795_389_421_814_295_000), 1_050_000, true),
                reply(4, Some(1_795_389_424_712_445_000), 99_900_000, false),
            ]
        );
        assert_eq!(log.failures.len(), 1);
        assert_eq!(log.failures[0].seq, 3);
        assert_eq!(log.failures[0].line, "From 10.0.0.1 icmp_seq=3 Destination Host Unreachable");
        assert_eq!((log.transmitted, log.received), (Some(4), Some(3)));
        assert_eq!(log.unreadable, Vec::<String>::new());
    }

    #[test]
    fn other_languages_and_decimal_commas() {
        for line in [
            "64 bytes from 10.0.0.3: icmp_seq=7 ttl=64 time=0,345 ms",
            "64 Bytes von 10.0.0.3: icmp_seq=7 ttl=64 Zeit=0,345 ms",
            "64 octets de 10.0.0.3 : icmp_seq=7 ttl=64 temps=0.345 ms",
            "来自 10.0.0.3 的 64 字节: icmp_seq=7 ttl=64 时间=0.345 毫秒",
            "64 バイト応答 送信元 10.0.0.3: icmp_seq=7 ttl=64 時間=0.345ミリ秒",
            "64 bytes from 10.0.0.3: icmp_req=7 ttl=64 time=0.345 ms",
        ] {
            assert_eq!(parse(&format!("{line}\n")).replies, [reply(7, None, 345_000, false)], "{line}");
        }
        let german = "--- 10.0.0.3 Ping-Statistiken ---\n\
                      60 Pakete übertragen, 59 empfangen, 1,66667% Paketverlust, Zeit 59091ms\n";
        let log = parse(german);
        assert_eq!((log.transmitted, log.received), (Some(60), Some(59)));
    }

    #[test]
    fn a_file_cut_anywhere_invents_no_time() {
        let whole = parse(STAMPED);
        for end in 0..STAMPED.len() {
            let log = parse(&STAMPED[..end]);
            assert!(whole.replies.starts_with(&log.replies), "cut at {end}: {:?}", log.replies);
            if log.transmitted.is_some() {
                assert_eq!(log.transmitted, Some(4), "cut at {end}");
            }
        }
    }

    #[test]
    fn without_a_summary_the_counts_are_unknown() {
        let log = parse(
            "PING 10.0.0.3 (10.0.0.3) 56(84) bytes of data.\n64 bytes from 10.0.0.3: icmp_seq=1 ttl=64 time=405 ms\n",
        );
        assert_eq!(log.replies, [reply(1, None, 405_000_000, false)]);
        assert_eq!((log.transmitted, log.received), (None, None));
    }

    #[test]
    fn an_answer_seen_twice_is_a_duplicate_even_unmarked() {
        let line = "64 bytes from 10.0.0.3: icmp_seq=1 ttl=64 time=405 ms\n";
        let log = parse(&line.repeat(2));
        assert_eq!(log.replies.iter().map(|r| r.duplicate).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn sequence_numbers_go_on_past_sixteen_bits() {
        let text: String = [65_534, 65_535, 0, 65_533, 1]
            .map(|seq| format!("64 bytes from 10.0.0.3: icmp_seq={seq} ttl=64 time=1 ms\n"))
            .concat();
        let seqs: Vec<u32> = parse(&text).replies.iter().map(|r| r.seq).collect();
        assert_eq!(seqs, [65_534, 65_535, 65_536, 65_533, 65_537]);
    }

    #[test]
    fn warnings_and_rubbish_are_told_apart() {
        let log = parse(
            "PING 10.0.0.3 (10.0.0.3) 56(84) bytes of data.\n\
             ping: sendmsg: Network is unreachable\n\
             no answer yet for icmp_seq=3\n\
             Warning: time of day goes back (-12us), taking countermeasures\n\
             64 bytes from 10.0.0.3: icmp_seq=4 ttl=64\n\
             64 bytes from 10.0.0.3: icmp_seq=99999 ttl=64 time=1 ms\n\
             64 bytes from 10.0.0.3: icmp_seq=5 ttl=64 time=-3 ms\n\
             hello\n",
        );
        assert_eq!(log.replies, []);
        assert_eq!(log.failures, []);
        assert_eq!(log.unreadable.len(), 4, "{:?}", log.unreadable);
    }

    #[test]
    fn pings_that_count_from_zero_are_counted_from_one() {
        let busybox = "PING 10.0.0.2 (10.0.0.2): 56 data bytes\n\
                       64 bytes from 10.0.0.2: seq=0 ttl=64 time=804.123 ms\n\
                       64 bytes from 10.0.0.2: seq=2 ttl=64 time=0.5 ms\n\
                       64 bytes from 10.0.0.2: seq=2 ttl=64 time=0.6 ms (DUP!)\n\n\
                       --- 10.0.0.2 ping statistics ---\n\
                       3 packets transmitted, 2 packets received, 1 duplicates, 33% packet loss\n";
        let expected =
            [reply(1, None, 804_123_000, false), reply(3, None, 500_000, false), reply(3, None, 600_000, true)];
        let bsd = busybox.replace("seq=", "icmp_seq=");
        for text in [busybox, &bsd, &busybox[busybox.find("64").unwrap()..], &bsd[bsd.find("64").unwrap()..]] {
            let log = parse(text);
            assert_eq!(log.replies, expected, "{text}");
            assert_eq!((log.transmitted, log.received, log.unreadable.len()), (Some(3), Some(2), 0), "{text}");
        }
        assert_eq!(parse(busybox).target, Some(IpAddr::from([10, 0, 0, 2])));
        // With `-I`, BusyBox has no colon there.
        let bound = busybox.replace("2): 56", "2) from 10.0.0.1: 56").replace("seq=0", "seq=1");
        assert_eq!(parse(&bound).replies[0], reply(2, None, 804_123_000, false));
    }

    #[test]
    fn the_target_is_known_from_the_first_line() {
        let target = |line: &str| parse(&format!("{line}\n")).target.map(|a| a.to_string());
        assert_eq!(target("PING hs (10.0.0.2) 56(84) bytes of data.").as_deref(), Some("10.0.0.2"));
        assert_eq!(target("PING ::1(::1) 56 data bytes").as_deref(), Some("::1"));
        assert_eq!(target("PING hs"), None);
    }

    #[test]
    fn a_file_copied_from_a_terminal_or_written_elsewhere() {
        let text = format!("\u{feff}{}", STAMPED.replace("\n\n---", "\n^C\n---").replace('\n', "\r\n"));
        assert_eq!(parse(&text), parse(STAMPED));
        // Without the end of its last line; the time is whole as its unit follows.
        let reply_line = "64 bytes from 10.0.0.2: icmp_seq=1 ttl=64 time=802 ms";
        assert_eq!(parse(reply_line).replies, [reply(1, None, 802_000_000, false)]);
        assert_eq!(parse(&format!("{reply_line} (DUP!)")).replies.len(), 1);
        assert_eq!(parse(reply_line.trim_end_matches(" ms")).unreadable.len(), 1);
        let waiting = "Noch keine Antwort für icmp_seq=3\nRequest timeout for icmp_seq 4\n";
        assert_eq!(parse(waiting), PingLog::default());
    }

    #[test]
    fn another_pings_output_is_not_mixed_with_the_first() {
        let twice = parse(&STAMPED.repeat(2));
        assert!(twice.another_follows && !parse(STAMPED).another_follows);
        assert_eq!(twice.replies, parse(STAMPED).replies);
        let cut = "PING 10.0.0.2 (10.0.0.2) 56(84) bytes of data.\n";
        assert!(parse(&cut.repeat(2)).another_follows);
    }

    #[test]
    fn foreign_and_missing_files_say_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.txt");
        assert!(matches!(read(&path), Err(PingError::Read { .. })));
        std::fs::write(&path, "\u{7f}ELF\n").unwrap();
        let told = read(&path).unwrap_err().to_string();
        assert!(told.contains("x.txt") && told.contains("ELF"), "{told}");
        std::fs::write(&path, "").unwrap();
        assert_eq!(read(&path).unwrap(), PingLog::default());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in ".*", seq in 0_u32..70_000, time in "[0-9.,]{0,30}") {
            let _ = parse(&format!("{text}\n[{time}] icmp_seq={seq} ttl=1 x={time}\n--- ---\n{text}\n"));
        }
    }
}

//! One line of ping's, understood by its structure and not by its words, which iputils translates.
//!
//! An answer has at least three values of the form `word=number`: first its number, then, the last two, its time to
//! live (or hop limit) and its time, which something follows. Other values may stand between (`ping -v`:
//! `ident=23862`).

/// ICMP sequence numbers are 16 bits wide (RFC 792, Echo): later ones start again at 0.
pub const SEQUENCE_SPAN: u32 = 1 << 16;

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Of nothing that was measured: a diagnostic, a packet's dump, a blank line, that an answer has not come yet.
    Notice,
    /// An answer.
    Reply {
        /// Number of the echo request that it answers (`icmp_seq`).
        seq: u32,
        /// Round-trip time in nanoseconds.
        rtt_ns: u64,
        /// It says that it comes again.
        duplicate: bool,
        /// It is BusyBox's, which counts from 0.
        from_zero: bool,
    },
    /// An answer without a time: its packet was too short for one (`ping -s 8`, `(truncated)`).
    Untimed,
    /// An ICMP error in place of an answer.
    Failure {
        /// The number of what it answers.
        seq: u32,
        /// It is BusyBox's, which counts from 0.
        from_zero: bool,
    },
    /// The heading of the summary.
    SummaryAhead,
    /// It begins like an answer but cannot be read.
    Unreadable,
}

/// A value `word=number`.
struct Value<'a> {
    word: &'a str,
    number: &'a str,
    /// Where in the line it begins, and where its number ends.
    from: usize,
    to: usize,
}

/// Understands a line without prefix, stamp and end.
pub fn understand(line: &str) -> Line {
    let trimmed = line.trim();
    if trimmed.len() > 4 && trimmed.starts_with("--") && trimmed.ends_with("--") {
        return Line::SummaryAhead;
    }
    let values = values(line);
    // ping's own diagnostics may have values, too: `ping: local error: message too long, mtu=1400`.
    let Some(first) = values.first().filter(|_| !line.starts_with("ping: ")) else { return Line::Notice };
    let says_size = line.starts_with(|c: char| c.is_ascii_digit());
    let names_number = first.word.ends_with("seq") || first.word.ends_with("req");
    let seq = first.number.parse::<u32>().ok().filter(|seq| *seq < SEQUENCE_SPAN);
    let from_zero = first.word == "seq";
    if values.len() >= 2 {
        let looks_alike = says_size || names_number;
        let unreadable = if looks_alike { Line::Unreadable } else { Line::Notice };
        let Some(seq) = seq else { return unreadable };
        return match values.as_slice() {
            [_, .., ttl, time] if is_ttl(ttl.number) => match milliseconds(time.number) {
                // `time=40` may have been `time=405 ms`.
                Some(rtt_ns) if time.to < line.len() && looks_alike => {
                    Line::Reply { seq, rtt_ns, duplicate: line.contains("DUP!"), from_zero }
                }
                _ => unreadable,
            },
            [_, ttl] if is_ttl(ttl.number) && line[ttl.to..].trim_start().starts_with('(') && says_size => {
                Line::Untimed
            }
            [_, .., last] if !says_size && !is_ttl(last.number) => failure(line, first, seq, from_zero),
            _ => unreadable,
        };
    }
    if says_size {
        // An answer that was cut off, or what a BSD says of an error's packet.
        return if names_number { Line::Unreadable } else { Line::Notice };
    }
    match seq {
        Some(seq) if names_number || first.number.bytes().all(|b| b.is_ascii_digit()) => {
            failure(line, first, seq, from_zero)
        }
        _ => Line::Notice,
    }
}

/// An error tells who reports it before it tells the number; `no answer yet for icmp_seq=3` names nobody.
fn failure(line: &str, first: &Value<'_>, seq: u32, from_zero: bool) -> Line {
    let before = &line[..first.from];
    let is_address = |word: &str| word.parse::<std::net::IpAddr>().is_ok();
    let words = before.split(|c: char| c.is_whitespace() || "(),".contains(c));
    // `10.0.0.254:` has a colon behind it, which belongs to an IPv6 address where it is one.
    let names_somebody = words.map(|word| word.trim_end_matches('\u{ff1a}')).any(|word| {
        is_address(word) || is_address(word.trim_end_matches(':')) || word.split('%').next().is_some_and(is_address)
    });
    if names_somebody && !line[first.to..].trim().is_empty() {
        Line::Failure { seq, from_zero }
    } else {
        Line::Notice
    }
}

fn is_ttl(number: &str) -> bool {
    number.parse::<u8>().is_ok()
}

/// The values of a line. A number may have its unit attached.
fn values(line: &str) -> Vec<Value<'_>> {
    let signs = line.char_indices().filter(|(_, c)| matches!(c, '=' | '\u{ff1d}'));
    let value = |(at, sign): (usize, char)| {
        let before = &line[..at];
        let from = before
            .rfind(|c: char| c.is_whitespace() || ",;(".contains(c))
            .map_or(0, |i| i + before[i..].chars().next().map_or(1, char::len_utf8));
        let begins = at + sign.len_utf8();
        let rest = &line[begins..];
        let length = rest.find(|c: char| !(c.is_ascii_digit() || ".,".contains(c))).unwrap_or(rest.len());
        let word_ends = rest.find(char::is_whitespace).unwrap_or(rest.len());
        // A unit may follow at once, further digits not.
        let is_whole = !rest[length..word_ends.max(length)].contains(|c: char| c.is_ascii_digit());
        // A comma that ends a clause is not part of the number.
        let number = rest[..length].trim_end_matches([',', '.']);
        let is_value = from < at && is_whole && number.starts_with(|c: char| c.is_ascii_digit());
        is_value.then(|| Value { word: &line[from..at], number, from, to: begins + length })
    };
    signs.filter_map(value).collect()
}

/// Nanoseconds of a number of milliseconds as ping prints it: `405`, `0.045`, `0,045`.
pub fn milliseconds(number: &str) -> Option<u64> {
    decimal(number, 6)
}

/// A decimal number times 10^`shift`, exactly. Point or comma; no sign, no exponent.
pub fn decimal(text: &str, shift: usize) -> Option<u64> {
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

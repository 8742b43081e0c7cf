//! One line of ping's, understood by its structure and not by its words, which iputils translates.
//!
//! An answer tells a size in bytes, then values of the form `word=number`: its number, perhaps others (`ttl`, `hlim`,
//! `ident`), and its time, which is the one with a unit. What stands before it or behind it others put there.

use std::borrow::Cow;
use std::net::IpAddr;

/// ICMP sequence numbers are 16 bits wide (RFC 792, Echo): later ones start again at 0.
pub const SEQUENCE_SPAN: u32 = 1 << 16;
/// Answers need room for a time: 8 bytes of ICMP's and 16 of `struct timeval`. Smaller ones have none.
const LEAST_TIMED: u32 = 24;
/// Values of an answer that are no time, whatever follows them.
const NO_TIMES: [&str; 6] = ["ttl", "hlim", "ident", "id", "tos", "tc"];

/// What a line, or a part of one, is.
#[derive(Debug, Clone, PartialEq)]
pub enum Line<'a> {
    /// Of nothing that was measured: a diagnostic, a packet's dump, a blank line.
    Notice,
    /// An answer.
    Reply(Reply<'a>),
    /// An answer without a time: its packet was too short for one (`ping -s 8`, `(truncated)`), or it says only that
    /// it took less than some time.
    Untimed {
        /// Number of the echo request that it answers.
        seq: Number,
    },
    /// An ICMP error in place of an answer.
    Failure {
        /// The number of what it answers.
        seq: Number,
    },
    /// A ping was sent and has no answer yet: `no answer yet for icmp_seq=3`, `Request timeout for icmp_seq 3`.
    Waiting {
        /// Its number.
        seq: Number,
    },
    /// It begins like an answer but cannot be read.
    Unreadable,
}

/// An answer, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply<'a> {
    /// Number of the echo request that it answers (`icmp_seq`).
    pub seq: Number,
    /// Round-trip time in nanoseconds.
    pub rtt_ns: u64,
    /// What one in the last digit of its time is, in nanoseconds.
    pub digit_ns: u64,
    /// The word for the unit, if it is one that is not known; taken for milliseconds.
    pub unit: Option<&'a str>,
    /// Who answers, if the line has the address.
    pub source: Option<IpAddr>,
    /// What follows the unit.
    pub after: &'a str,
}

/// A sequence number as printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number {
    /// Modulo 2^16.
    pub seq: u32,
    /// It is BusyBox's, which counts from 0.
    pub from_zero: bool,
}

/// A part of a line that is one record.
#[derive(Debug, Clone, PartialEq)]
pub struct Record<'a> {
    /// What it is.
    pub line: Line<'a>,
    /// Where it begins.
    pub begins: usize,
    /// Its text.
    pub text: &'a str,
    /// The word that its number follows.
    pub word: &'a str,
}

/// A value `word=number`.
#[derive(Debug, Clone, Copy)]
struct Value<'a> {
    word: &'a str,
    number: &'a str,
    /// Where in the line it begins, and where its number ends.
    from: usize,
    to: usize,
    /// What follows the number at once.
    attached: &'a str,
    /// It says `<`: it is less than that.
    is_below: bool,
}

impl Value<'_> {
    fn names_number(&self) -> bool {
        self.word.ends_with("seq") || self.word.ends_with("req")
    }

    fn number(&self) -> Option<Number> {
        let is_whole = !self.attached.starts_with(|c: char| c.is_ascii_alphanumeric());
        let seq = self.number.parse::<u32>().ok().filter(|seq| is_whole && *seq < SEQUENCE_SPAN)?;
        Some(Number { seq, from_zero: self.word == "seq" })
    }
}

/// The records of a line that has answers, or what begins like one; none if it has no answer. Two in one line are
/// two whose line end was lost.
pub fn answers<'a>(line: &'a str, is_cut: bool) -> Vec<Record<'a>> {
    let values = values(line);
    let named: Vec<usize> = (0..values.len()).filter(|i| values[*i].names_number()).collect();
    let mut begins: Vec<(usize, usize)> = Vec::new();
    if named.is_empty() {
        // Translated: the first value behind the size.
        let sized = (0..values.len()).find_map(|i| Some((i, size_before(line, 0, values[i].from)?.0)));
        begins.extend(sized);
    }
    let mut earliest = 0;
    for i in named {
        let from = values[i].from;
        match size_before(line, earliest, from) {
            Some((at, _)) => begins.push((i, at)),
            // `icmp_seq=7 ttl=64 time=0.3 ms` is an answer without its size; `len=46 … icmp_seq=0` is another program's.
            None if i == 0 && values.len() >= 2 => begins.push((i, from)),
            None if earliest > 0 => begins.push((i, from)),
            None => {}
        }
        earliest = values[i].to;
    }
    let ends = begins.iter().skip(1).map(|(_, at)| *at).chain([line.len()]);
    let records = begins.iter().zip(ends).map(|(&(i, at), end)| {
        let text = &line[at..end];
        let own: Vec<Value<'_>> = values[i..].iter().copied().filter(|v| v.to <= end).collect();
        let is_last = end == line.len();
        let size = size_before(line, at, values[i].from).map(|(_, size)| size);
        Record { line: answer(line, &own, size, end, is_cut && is_last), begins: at, text, word: values[i].word }
    });
    records.filter(|record| record.line != Line::Notice).collect()
}

/// An answer of which the values are known, its number first; it ends at `end`.
fn answer<'a>(line: &'a str, values: &[Value<'a>], size: Option<u32>, end: usize, is_cut: bool) -> Line<'a> {
    let Some((first, others)) = values.split_first() else { return Line::Unreadable };
    let Some(seq) = first.number() else { return Line::Unreadable };
    let unit_of = |value: &Value<'a>| {
        if NO_TIMES.iter().any(|word| value.word.eq_ignore_ascii_case(word)) {
            return None;
        }
        let rest = &line[value.to..end];
        let unit = rest.trim_start();
        let length = unit.find(|c: char| !(c.is_alphabetic() || c == '.')).unwrap_or(unit.len());
        // The word of the next value is no unit, and no number follows a unit at once.
        let is_next = unit[length..].starts_with(|c: char| c.is_ascii_digit() || "=\u{ff1d}<_".contains(c));
        let unit = &unit[..length];
        (!unit.is_empty() && unit.starts_with(char::is_alphabetic) && !is_next)
            .then(|| (unit, value.to + rest.len() - rest.trim_start().len() + length))
    };
    let timed: Vec<(&Value<'a>, (&'a str, usize))> =
        others.iter().filter_map(|value| Some((value, unit_of(value)?))).collect();
    match timed.as_slice() {
        [(time, _)] if time.is_below => Line::Untimed { seq },
        [(time, (unit, ends))] => {
            let known = scale(unit);
            let Some((rtt_ns, digit_ns)) = duration(time.number, known.unwrap_or(6)) else {
                return Line::Unreadable;
            };
            // `345 u` may have been `345 us`.
            if known.is_none() && is_cut && *ends == line.len() {
                return Line::Unreadable;
            }
            let source = line[..first.from].split(|c: char| c.is_whitespace() || "(),".contains(c)).rev();
            let source = source.map(|word| word.trim_end_matches([':', '\u{ff1a}'])).find_map(is_address);
            let unit = known.is_none().then_some(*unit);
            Line::Reply(Reply { seq, rtt_ns, digit_ns, unit, source, after: line[*ends..end].trim() })
        }
        [] => {
            let Some(size) = size else { return Line::Notice };
            let rest = values.last().map_or("", |last| line[last.to..end].trim());
            let is_short = size < LEAST_TIMED && !is_cut && !others.is_empty();
            match others.last() {
                Some(_) if is_short || rest.starts_with('(') => Line::Untimed { seq },
                // `92 bytes from gateway: icmp_seq=3 Destination …` is an error, `… icmp_seq=3 tt` is cut off.
                None if rest.split_whitespace().count() > 1 && !is_cut => Line::Notice,
                _ => Line::Unreadable,
            }
        }
        _ => Line::Unreadable,
    }
}

/// What a line is that has no answer. `word` is what answers have before their number.
pub fn other<'a>(line: &str, word: Option<&str>) -> Line<'a> {
    // ping's own diagnostics may have values, too: `ping: local error: message too long, mtu=1400`.
    if line.starts_with("ping: ") {
        return Line::Notice;
    }
    let values = values(line);
    let is_number = |value: &&Value<'_>| value.names_number() || Some(value.word) == word;
    if let Some(value) = values.iter().find(is_number) {
        let Some(seq) = value.number() else { return Line::Notice };
        let before = &line[..value.from];
        return if names_somebody(before) && !line[value.to..].trim().is_empty() {
            Line::Failure { seq }
        } else {
            Line::Waiting { seq }
        };
    }
    // `Request timeout for icmp_seq 3`
    let mut words = line.split_whitespace().rev();
    let (number, word) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let value = Value { word, number, from: 0, to: 0, attached: "", is_below: false };
    match value.number().filter(|_| value.names_number() && !names_somebody(line)) {
        Some(seq) => Line::Waiting { seq },
        None => Line::Notice,
    }
}

/// An error tells who reports it before it tells the number; `no answer yet for icmp_seq=3` names nobody.
fn names_somebody(before: &str) -> bool {
    let words = before.split(|c: char| c.is_whitespace() || "(),".contains(c));
    // `10.0.0.254:` has a colon behind it, which belongs to an IPv6 address where it is one.
    words.map(|word| word.trim_end_matches('\u{ff1a}')).any(|word| is_address(word).is_some())
}

fn is_address(word: &str) -> Option<IpAddr> {
    let parse = |word: &str| word.split('%').next().and_then(|word| word.parse().ok());
    // In some languages an ending follows at once: `10.0.0.3:lta`, `10.0.0.3'den`, `10.0.0.3에서`.
    let digits = word.find(|c: char| !(c.is_ascii_hexdigit() || ".:".contains(c))).map(|at| &word[..at]);
    parse(word).or_else(|| parse(word.trim_end_matches(':'))).or_else(|| {
        let address = digits?.trim_end_matches(|c: char| !c.is_ascii_digit());
        parse(address).filter(IpAddr::is_ipv4)
    })
}

/// Where an answer begins whose number stands at `to`, not before `from`: at its size, `64 bytes`, or, where the
/// address comes before that, at the word before the address. With the size.
fn size_before(line: &str, from: usize, to: usize) -> Option<(usize, u32)> {
    let head = line.get(from..to)?;
    let says_who = head.trim_end().ends_with([':', ',', '\u{ff1a}', '\u{ff0c}']);
    let mut end = head.len();
    loop {
        let last = head[..end].rfind(|c: char| c.is_ascii_digit())? + 1;
        let first = head[..last].trim_end_matches(|c: char| c.is_ascii_digit()).len();
        end = first;
        let (before, rest) = (&head[..first], &head[last..]);
        let word = rest.trim_start();
        let is_unit = word.len() < rest.len() && word.starts_with(char::is_alphabetic);
        let is_whole = !before.ends_with(['.', '-', '_']) && (says_who || from + first == 0);
        let Some(size) = head[first..last].parse().ok().filter(|_| is_unit && is_whole) else { continue };
        if word.split_whitespace().count() > 1 {
            return Some((from + first, size));
        }
        // 来自 10.0.0.3 的 64 字节: icmp_seq=7
        let mut begins = first;
        let mut words =
            words_backwards(before).skip_while(|(_, word)| is_address(word.trim_matches(['(', ')'])).is_none());
        if let Some((at, _)) = words.next() {
            let word = words.next().filter(|(_, word)| word.chars().all(char::is_alphabetic));
            begins = word.map_or(at, |(at, _)| at);
        }
        return Some((from + begins, size));
    }
}

/// Words with their places, the last one first.
fn words_backwards(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let word = rest.trim_end();
        let at = word.trim_end_matches(|c: char| !c.is_whitespace()).len();
        rest = &word[..at];
        (at < word.len()).then(|| (at, &word[at..]))
    })
}

/// The values of a line. A number may have its unit attached.
fn values(line: &str) -> Vec<Value<'_>> {
    let signs = line.char_indices().filter(|(_, c)| matches!(c, '=' | '\u{ff1d}' | '<'));
    let value = |(at, sign): (usize, char)| {
        let before = &line[..at];
        let from = before
            .rfind(|c: char| c.is_whitespace() || ",;(".contains(c))
            .map_or(0, |i| i + before[i..].chars().next().map_or(1, char::len_utf8));
        let begins = at + sign.len_utf8();
        let rest = &line[begins..];
        let length = rest.find(|c: char| !(c.is_ascii_digit() || ".,".contains(c))).unwrap_or(rest.len());
        let word_ends = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let attached = &rest[length..word_ends.max(length)];
        // A comma that ends a clause is not part of the number.
        let number = rest[..length].trim_end_matches([',', '.']);
        let is_value = from < at && number.starts_with(|c: char| c.is_ascii_digit());
        let (word, to, is_below) = (&line[from..at], begins + length, sign == '<');
        is_value.then_some(Value { word, number, from, to, attached, is_below })
    };
    signs.filter_map(value).collect()
}

/// Nanoseconds that a unit has, as a power of ten; `None` if the word is not known.
pub fn scale(unit: &str) -> Option<u32> {
    Some(match unit.trim_end_matches('.').to_lowercase().as_str() {
        "ms" | "msec" | "msecs" | "мс" | "мсек" | "毫秒" | "ミリ秒" | "밀리초" | "㎳" => 6,
        "us" | "usec" | "usecs" | "µs" | "μs" | "мкс" | "微秒" | "マイクロ秒" | "마이크로초" => 3,
        "ns" | "nsec" => 0,
        "s" | "sec" | "secs" | "с" | "сек" | "秒" | "초" => 9,
        _ => return None,
    })
}

/// Nanoseconds of a number as ping prints it, in a unit of ten to the `scale` nanoseconds: `405`, `0.045`, `0,045`;
/// and what one in its last digit is.
pub fn duration(number: &str, scale: u32) -> Option<(u64, u64)> {
    let (whole, fraction) = number.split_once(['.', ',']).unwrap_or((number, ""));
    let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    // What is below a nanosecond does not count.
    let kept = &fraction[..fraction.len().min(scale as usize)];
    let digit = 10_u64.checked_pow(scale - u32::try_from(kept.len()).ok()?)?;
    let part = if kept.is_empty() { 0 } else { kept.parse::<u64>().ok()? * digit };
    let ns = whole.parse::<u64>().ok()?.checked_mul(10_u64.checked_pow(scale)?)?.checked_add(part)?;
    Some((ns, digit))
}

/// A line for people, without what nobody wants to see.
pub fn shown(line: &str) -> Cow<'_, str> {
    match line.char_indices().nth(60) {
        Some((at, _)) => Cow::Owned(format!("{}…", &line[..at])),
        None => Cow::Borrowed(line),
    }
}

//! Times before ping's lines: those of `ping -D`, and those that `date` or `ts` put there.
//!
//! What stands before the first line's `PING` stands, in the same shape, before every line.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};

use super::line::decimal;

/// The year of stamps that have none: one that has a 29th of February.
const ANY_YEAR: i16 = 2000;
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// What stands before each line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix {
    /// The shape of each of its words.
    words: Vec<String>,
}

/// A time before a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Nanoseconds since 1970, or since whatever moment all stamps of the file count from.
    pub ns: i64,
    /// It is of a whole second: the moment lies anywhere in it.
    pub coarse: bool,
}

impl Prefix {
    /// Of the first line, in which what is ping's begins at `at`.
    pub fn of(line: &str, at: usize) -> Option<Self> {
        let words: Vec<String> = line[..at].split_whitespace().map(shape).collect();
        (!words.is_empty()).then_some(Self { words })
    }

    /// The prefix and the rest of a line that has it.
    pub fn split<'a>(&self, line: &'a str) -> Option<(&'a str, &'a str)> {
        let mut rest = line;
        for word in &self.words {
            let begins = rest.trim_start();
            let end = begins.find(char::is_whitespace).unwrap_or(begins.len());
            if shape(&begins[..end]) != *word {
                return None;
            }
            rest = &begins[end..];
        }
        // One blank divides them; further ones are of the line itself.
        let mut chars = rest.chars();
        if chars.next().is_some_and(char::is_whitespace) {
            rest = chars.as_str();
        }
        Some((&line[..line.len() - rest.len()], rest))
    }
}

/// Digits and letters by kind, runs of either as one: `Nov` and `14:13:20` of another moment have the same.
fn shape(word: &str) -> String {
    let mut shape = String::new();
    for c in word.chars() {
        let kind = match c {
            _ if c.is_numeric() => '0',
            _ if c.is_alphabetic() => 'a',
            other => other,
        };
        if !(shape.ends_with(kind) && kind.is_alphanumeric()) {
            shape.push(kind);
        }
    }
    shape
}

/// `[1795389420.123456] rest` → the time and the rest.
pub fn split_epoch(line: &str) -> (Option<Stamp>, &str) {
    let Some((stamp, rest)) = line.strip_prefix('[').and_then(|l| l.split_once("] ")) else { return (None, line) };
    match epoch(stamp) {
        Some(stamp) => (Some(stamp), rest),
        None => (None, line),
    }
}

fn epoch(text: &str) -> Option<Stamp> {
    let ns = decimal(text, 9).and_then(|ns| i64::try_from(ns).ok())?;
    Some(Stamp { ns, coarse: !text.contains(['.', ',']) })
}

/// The time that a prefix tells, in any of the forms that `date`, `date -Is`, `ts`, `ts -i` and loggers have. Zones
/// other than UTC and those told in hours are taken for UTC: what counts is the time between lines.
pub fn time(prefix: &str) -> Option<Stamp> {
    let bare = |word: &str| word.trim_matches(|c: char| "[](){}<>,;|".contains(c)).trim_end_matches(':').to_owned();
    let mut words: Vec<String> = Vec::new();
    for word in prefix.split_whitespace() {
        let word = bare(word);
        // `2019-11-17T14:13:20Z`
        match word.split_once('T').filter(|(date, time)| date.contains('-') && time.contains(':')) {
            Some((date, time)) => words.extend([date.to_owned(), time.to_owned()]),
            None => words.push(word),
        }
    }
    if let [word] = words.as_slice()
        && let Some(stamp) = epoch(word)
    {
        return Some(stamp);
    }
    let (at, clock) = words.iter().enumerate().find(|(_, word)| word.matches(':').count() >= 2)?;
    let (clock, attached) = split_zone(clock);
    let mut parts = clock.splitn(3, ':');
    let (hour, minute, second) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
    let ns = decimal(second, 9)?;
    let (second, ns_of_second) = (i8::try_from(ns / 1_000_000_000).ok()?, i32::try_from(ns % 1_000_000_000).ok()?);
    let time = Time::new(hour, minute, second, ns_of_second).ok()?;
    let date = date(&words).unwrap_or(Date::new(ANY_YEAR, 1, 1).ok()?);
    let offset = attached.or_else(|| words.get(at + 1).and_then(|word| zone(word))).unwrap_or(Offset::UTC);
    let at = DateTime::from_parts(date, time).to_zoned(TimeZone::fixed(offset)).ok()?;
    let ns = i64::try_from(at.timestamp().as_nanosecond()).ok()?;
    Some(Stamp { ns, coarse: !clock.contains(['.', ',']) })
}

/// `14:13:20+0100` → the time of day and the zone.
fn split_zone(clock: &str) -> (&str, Option<Offset>) {
    match clock.find(['+', '-', 'Z', 'z']) {
        Some(at) => (&clock[..at], zone(&clock[at..])),
        None => (clock, None),
    }
}

/// `+0100`, `+01:00`, `-05`, `Z`.
fn zone(word: &str) -> Option<Offset> {
    if matches!(word, "Z" | "z" | "UTC" | "GMT") {
        return Some(Offset::UTC);
    }
    let sign = match word.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits: String = word[1..].chars().filter(char::is_ascii_digit).collect();
    let (hours, minutes): (i32, i32) =
        (digits.get(..2)?.parse().ok()?, digits.get(2..4).map_or(Some(0), |m| m.parse().ok())?);
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
}

/// `2019-11-17`, `2019/11/17`, or `Nov 17` with a year somewhere.
fn date(words: &[String]) -> Option<Date> {
    let numeric = words.iter().find_map(|word| {
        let parts: Vec<i16> = word.split(['-', '/', '.']).map_while(|part| part.parse().ok()).collect();
        let [year, month, day] = parts[..] else { return None };
        Date::new(year, month.try_into().ok()?, day.try_into().ok()?).ok()
    });
    numeric.or_else(|| {
        let is_month = |word: &String| MONTHS.iter().position(|month| word.to_lowercase().starts_with(month));
        let (at, month) = words.iter().enumerate().find_map(|(at, word)| {
            let is_name = word.chars().all(char::is_alphabetic);
            is_month(word).filter(|_| is_name).map(|month| (at, month))
        })?;
        let number = |word: Option<&String>| word.and_then(|word| word.parse::<i16>().ok());
        let day = number(words.get(at + 1)).or_else(|| at.checked_sub(1).and_then(|at| number(words.get(at))))?;
        let year = words.iter().filter_map(|word| number(Some(word))).find(|n| (1970..3000).contains(n));
        Date::new(year.unwrap_or(ANY_YEAR), i8::try_from(month + 1).ok()?, day.try_into().ok()?).ok()
    })
}

//! Times before ping's lines, or behind them: those of `ping -D`, and those that `date`, `ts` or a logger put there.

use jiff::civil::Date;

use super::line::duration;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
/// Zones by name, in minutes east of Greenwich; only those that mean one zone.
const ZONES: [(&str, i32); 18] = [
    ("UTC", 0),
    ("GMT", 0),
    ("WET", 0),
    ("BST", 60),
    ("WEST", 60),
    ("CET", 60),
    ("CEST", 120),
    ("EET", 120),
    ("EEST", 180),
    ("MSK", 180),
    ("JST", 540),
    ("KST", 540),
    ("EST", -300),
    ("EDT", -240),
    ("CDT", -300),
    ("MDT", -360),
    ("PST", -480),
    ("PDT", -420),
];

/// A time as it stands in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// What it says.
    pub moment: Moment,
    /// It is of a whole second: the moment lies anywhere in it.
    pub is_coarse: bool,
}

/// What a time counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nanoseconds since 1970.
    Epoch(i64),
    /// Nanoseconds since something began: the system (`[  997.402000]`), or a program (`0.4500s`, `1m5s`).
    Elapsed(i64),
    /// The time of day in nanoseconds, UTC if the zone is known, and the day.
    Clock {
        /// Which day, as far as it says.
        day: Day,
        /// Nanoseconds since midnight, less the zone's.
        ns: i64,
        /// It may be of the morning or the evening.
        is_half: bool,
    },
}

/// A day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Day {
    /// It says none.
    Unknown,
    /// Year, month and day.
    Known(Date),
    /// Month and day.
    NoYear(i8, i8),
    /// Three numbers of which it is not clear which is which: `03/04/2019`, `19-11-17`.
    Numbers([i16; 3]),
}

/// The time that a prefix tells, in any of the forms that `date`, `date -Is`, `ts`, and loggers have. A number of
/// fewer than ten digits and without a fraction or a unit is none: lines are numbered like that.
pub fn stamp(text: &str) -> Option<Stamp> {
    if !text.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    clock(text)
        .or_else(|| compact(text))
        .or_else(|| words(text).find_map(epoch))
        .or_else(|| words(text).find_map(elapsed))
}

/// Words without the brackets and marks around them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let bare = |word: &'_ str| word.trim_matches(|c: char| "[](){}<>,;|:".contains(c)).len();
    text.split_whitespace()
        .filter(move |word| bare(word) > 0)
        .map(|word| word.trim_matches(|c: char| "[](){}<>,;|:".contains(c)))
}

/// A number of 10, 13, 16 or 19 whole digits: seconds, milliseconds, … since 1970.
fn epoch(word: &str) -> Option<Stamp> {
    let whole = word.split(['.', ',']).next()?;
    let scale = match whole.len() {
        10 => 9,
        13 => 6,
        16 => 3,
        19 => 0,
        _ => return None,
    };
    let (ns, _) = duration(word, scale)?;
    Some(Stamp { moment: Moment::Epoch(i64::try_from(ns).ok()?), is_coarse: word.len() == 10 })
}

/// `997.402000`, `0.45s`, `1h2m5s`.
fn elapsed(word: &str) -> Option<Stamp> {
    let is_coarse = !word.contains(['.', ',']);
    let number = word.strip_suffix('s').unwrap_or(word);
    if is_coarse && number.len() == word.len() || number.len() > 20 {
        return None;
    }
    let (mut rest, mut total) = (number, 0_u64);
    for (unit, seconds) in [('d', 86_400), ('h', 3600), ('m', 60)] {
        if let Some((count, after)) = rest.split_once(unit) {
            total = total.checked_add(count.parse::<u32>().ok().map(u64::from)?.checked_mul(seconds)?)?;
            rest = after;
        }
    }
    let (ns, _) = duration(rest, 9)?;
    let ns = ns.checked_add(total.checked_mul(1_000_000_000)?)?;
    Some(Stamp { moment: Moment::Elapsed(i64::try_from(ns).ok()?), is_coarse })
}

/// `20191117T141320Z`
fn compact(text: &str) -> Option<Stamp> {
    words(text).find_map(|word| {
        let (date, rest) = word.split_once(['T', '-', '_'])?;
        let day = Day::Known(eight(date)?);
        let length = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let digits = rest.get(..6).filter(|_| length == 6)?;
        let part = |at: usize| digits.get(at..at + 2)?.parse::<i64>().ok();
        let fraction = rest[6..].trim_end_matches(|c: char| !c.is_ascii_digit());
        let ns = if fraction.starts_with(['.', ',']) { duration(&format!("0{fraction}"), 9)?.0 } else { 0 };
        let seconds = part(0)? * 3600 + part(2)? * 60 + part(4)?;
        let ns = seconds * 1_000_000_000 + i64::try_from(ns).ok()?;
        Some(Stamp { moment: Moment::Clock { day, ns, is_half: false }, is_coarse: !rest.contains(['.', ',']) })
    })
}

/// `20191117`
fn eight(text: &str) -> Option<Date> {
    if text.len() != 8 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Date::new(text[..4].parse().ok()?, text[4..6].parse().ok()?, text[6..].parse().ok()?).ok()
}

/// A time of day with seconds, `14:13:20.5`, and what stands around it.
fn clock(text: &str) -> Option<Stamp> {
    let (from, to) = time_of_day(text)?;
    let mut parts = text[from..to].splitn(3, ':');
    let (hour, minute) = (parts.next()?.parse::<i64>().ok()?, parts.next()?.parse::<i64>().ok()?);
    let (second, _) = duration(parts.next()?, 9)?;
    let second = i64::try_from(second).ok().filter(|ns| *ns < 61_000_000_000)?;
    if hour > 24 || minute > 59 {
        return None;
    }
    let (before, after) = (&text[..from], &text[to..]);
    // `PM`, `p.m.`, at once or after a blank.
    let next = after.trim_start();
    let half: String = next.chars().take(4).filter(|c| *c != '.').collect::<String>().to_lowercase();
    let half = ["am", "pm"]
        .into_iter()
        .find(|mark| half.starts_with(mark))
        .filter(|mark| !half[mark.len()..].starts_with(char::is_alphanumeric));
    let hour = match half {
        Some("am") => hour % 12,
        Some(_) => hour % 12 + 12,
        None => hour,
    };
    let is_half = half.is_none() && (1..=12).contains(&hour);
    let rest = if half.is_some() { next.trim_start_matches(|c: char| c.is_alphabetic() || c == '.') } else { after };
    let offset_min = zone(rest).unwrap_or(0);
    let ns = (hour * 3600 + minute * 60 - i64::from(offset_min) * 60) * 1_000_000_000 + second;
    let is_coarse = !text[from..to].contains(['.', ',']);
    Some(Stamp { moment: Moment::Clock { day: day(before, rest), ns, is_half }, is_coarse })
}

/// Where it stands: three numbers with colons between, and none before or behind.
fn time_of_day(text: &str) -> Option<(usize, usize)> {
    text.match_indices(':').find_map(|(colon, _)| {
        let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let from = text[..colon].trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let minutes = digits(&text[colon + 1..]);
        let second = &text[colon + 1 + minutes..];
        let seconds = digits(second.strip_prefix(':')?);
        if !(1..=2).contains(&(colon - from)) || minutes != 2 || seconds != 2 {
            return None;
        }
        let mut to = colon + 1 + minutes + 1 + seconds;
        if text[to..].starts_with(['.', ',']) {
            let fraction = digits(&text[to + 1..]);
            to += if fraction > 0 { 1 + fraction } else { 0 };
        }
        // `[17/Nov/2019:14:13:20 +0000]` has one before; a hardware address has more.
        let year = text[..from]
            .strip_suffix(':')
            .is_none_or(|date| date.trim_end_matches(|c: char| c.is_ascii_digit()).len() + 4 == date.len());
        let ends = !text[to..].starts_with(':') || text[to + 1..].starts_with(|c: char| !c.is_ascii_hexdigit());
        (year && (ends || to == text.len() - 1)).then_some((from, to))
    })
}

/// Minutes east of Greenwich: `+0100`, `+01:00`, `-05`, `Z`, `CET`, `(UTC+0100)`, at once or after a blank.
fn zone(after: &str) -> Option<i32> {
    let text = after.trim_start().trim_start_matches([',', '(']).trim_start();
    let name = &text[..text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len())];
    let rest = &text[name.len()..];
    let sign = match rest.as_bytes().first() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ if matches!(name, "Z" | "z") => return Some(0),
        _ => return ZONES.iter().find(|(zone, _)| *zone == name).map(|(_, minutes)| *minutes),
    };
    let digits: String = rest[1..].chars().take(5).filter(char::is_ascii_digit).collect();
    let hours: i32 = digits.get(..2)?.parse().ok()?;
    let minutes: i32 = digits.get(2..4).map_or(Some(0), |minutes| minutes.parse().ok())?;
    Some(sign * (hours * 60 + minutes))
}

/// The day, from what stands before the time and behind it.
fn day(before: &str, after: &str) -> Day {
    let before = before.trim_end_matches(['T', '_', '-', ':', '@']);
    let marks = |c: char| c.is_whitespace() || "[](){}<>,;|_@".contains(c);
    let words: Vec<&str> = before
        .split(marks)
        .chain([""])
        .chain(after.split(marks))
        .map(|word| word.trim_matches(['.', ':']))
        .filter(|word| !word.is_empty())
        .collect();
    let whole = words.iter().find_map(|word| eight(word).map(Day::Known).or_else(|| three(word)));
    whole.or_else(|| in_words(&words)).unwrap_or(Day::Unknown)
}

/// `2019-11-17`, `17.11.2019`, `17/Nov/2019`, `19-11-17`.
fn three(word: &str) -> Option<Day> {
    let parts: Vec<&str> = word.split(['-', '/', '.']).collect();
    let [a, b, c] = parts[..] else { return None };
    let number = |text: &str| text.parse::<i16>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    if let (Some(month), Some(day), Some(year)) = (month(b), number(a), number(c)) {
        return Date::new(year, month, day.try_into().ok()?).ok().map(Day::Known);
    }
    let (first, second, third) = (number(a)?, number(b)?, number(c)?);
    if a.len() == 4 {
        return Date::new(first, second.try_into().ok()?, third.try_into().ok()?).ok().map(Day::Known);
    }
    if word.contains('.') && c.len() == 4 {
        return Date::new(third, second.try_into().ok()?, first.try_into().ok()?).ok().map(Day::Known);
    }
    (a.len() <= 2 && b.len() <= 2 && matches!(c.len(), 2 | 4)).then_some(Day::Numbers([first, second, third]))
}

/// `Nov 17`, `17 Nov`, with a year somewhere or without.
fn in_words(words: &[&str]) -> Option<Day> {
    let number = |at: Option<usize>| words.get(at?)?.parse::<i16>().ok();
    let is_day = |n: &i16| (1..=31).contains(n);
    // Names of weekdays may look like a month's (`mar 19 nov`), and stand first.
    let (at, month) = words.iter().enumerate().rev().find_map(|(at, word)| Some((at, month(word)?)))?;
    let behind = number(at.checked_sub(1)).filter(is_day);
    let day = behind.or_else(|| number(Some(at + 1)).filter(is_day))?;
    // `mar 19 mag`: a weekday, and a month that is not known.
    if behind.is_none() && words.get(at + 2).is_some_and(|word| is_name(word) && zone(word).is_none()) && at == 0 {
        return None;
    }
    let year = words.iter().filter_map(|word| word.parse::<i16>().ok()).find(|n| (1970..3000).contains(n));
    let day = i8::try_from(day).ok()?;
    Some(match year {
        Some(year) => Day::Known(Date::new(year, month, day).ok()?),
        None => Day::NoYear(month, day),
    })
}

fn is_name(word: &str) -> bool {
    word.chars().count() >= 2 && word.chars().all(char::is_alphabetic)
}

/// A month's name in English, or another that begins alike.
fn month(word: &str) -> Option<i8> {
    let word = word.to_lowercase();
    let at = MONTHS.iter().position(|month| word.starts_with(month)).filter(|_| is_name(&word))?;
    i8::try_from(at + 1).ok()
}

//! Ping's own summary at its end, with which what was read is compared.

use std::time::Duration;

use super::line::{duration, scale};

/// The summary, as far as it is there.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Summary {
    /// Pings sent; `None` when ping ended without saying so.
    pub transmitted: Option<u32>,
    /// Pings answered (duplicates not counted).
    pub received: Option<u32>,
    /// From the first ping to the last, as iputils tells it.
    pub lasted: Option<Duration>,
    /// Least, mean and greatest round-trip time.
    pub rtt: Option<[Figure; 3]>,
    /// Answers that came again, if it says so in a word that is known.
    pub duplicates: Option<u32>,
    /// Pings lost in percent, and what one in the last digit is.
    loss: Option<(f64, f64)>,
    /// Answers that came too late to be printed (`ping -W` of macOS), and are counted.
    pub late: u32,
}

/// A time as it is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figure {
    /// Nanoseconds.
    pub ns: u64,
    /// What one in its last digit is, in nanoseconds.
    pub digit_ns: u64,
}

/// What was read, to be held against the summary.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen<'a> {
    /// Round-trip times of first answers.
    pub once: &'a [Figure],
    /// Those of further ones.
    pub again: &'a [Figure],
    /// Those of answers that were damaged on the way, which do not count.
    pub corrupt: &'a [Figure],
    /// Answers without times.
    pub untimed: usize,
    /// The greatest number, from 1.
    pub highest: u32,
}

impl Summary {
    /// Of the line with the counts, as `6 packets transmitted, 5 received, 16.6667% packet loss, time 5012ms`: a
    /// number in each of the first two clauses, and a share that fits, in any language. Behind the heading the share
    /// may be another or missing.
    pub fn of(line: &str, is_headed: bool) -> Option<Summary> {
        // A prefix may be left before it: then it begins at one of its words.
        let blanks = line.match_indices(|c: char| c.is_whitespace() || ",|])".contains(c));
        let begins = std::iter::once(0).chain(blanks.map(|(at, mark)| at + mark.len()));
        begins
            .filter_map(|at| Self::counts(&line[at..]))
            .find(|summary| is_headed || summary.misfit().is_none() && summary.loss.is_some())
    }

    fn counts(line: &str) -> Option<Summary> {
        let clauses = clauses(line);
        let [sent, answered, rest @ ..] = clauses.as_slice() else { return None };
        let is_clause = |clause: &str| clause.contains(char::is_alphabetic) && !clause.contains(['=', '/', ':']);
        if !is_clause(sent) || !is_clause(answered) {
            return None;
        }
        let mut summary =
            Summary { transmitted: Some(only(sent)?), received: Some(only(answered)?), ..Summary::default() };
        let mut told = false;
        for clause in rest {
            if let Some(loss) = percent(clause).filter(|_| !told) {
                (summary.loss, told) = (Some(loss), true);
            } else if let Some(count) = only(clause) {
                let words = clause.to_lowercase();
                if told && words.contains("out of wait time") {
                    summary.late = count;
                } else if words.contains("dup") && !told {
                    summary.duplicates = Some(count);
                }
            }
        }
        summary.lasted = rest.iter().rev().find_map(|clause| lasted(clause));
        Some(summary)
    }

    /// Takes a further line: that of the round-trip times.
    pub fn take(&mut self, line: &str) {
        if self.rtt.is_none() {
            self.rtt = rtts(line);
        }
    }

    /// Time between pings, if the summary tells it.
    pub fn interval(&self) -> Option<Duration> {
        let gaps = self.transmitted?.checked_sub(1).filter(|gaps| *gaps > 0)?;
        self.lasted.map(|lasted| lasted / gaps).filter(|interval| !interval.is_zero())
    }

    /// In what it contradicts itself.
    fn misfit(&self) -> Option<String> {
        let (sent, received) = (self.transmitted?, self.received?);
        if received > sent {
            return Some(format!("its summary says that {sent} pings were sent and {received} answered"));
        }
        let (loss, digit) = self.loss?;
        let lost = f64::from(sent - received) * 100.0 / f64::from(sent.max(1));
        // Some round it, and some cut it off.
        ((loss - lost).abs() > digit * 1.001)
            .then(|| format!("its summary says {received} of {sent} answered, and {loss}% lost"))
    }

    /// What of the answers read contradicts it.
    pub fn contradictions(&self, seen: Seen<'_>) -> Vec<String> {
        let mut told = Vec::from_iter(self.misfit());
        let first = seen.once.len() + seen.untimed;
        if let Some(received) = self.received.filter(|received| *received as usize != first + self.late as usize) {
            told.push(format!("its summary says that {received} were answered, and it has {first} answers"));
        }
        if let Some(sent) = self.transmitted.filter(|sent| seen.highest > *sent) {
            told.push(format!("its summary says that {sent} pings were sent, and it has number {}", seen.highest));
        }
        if let Some(again) = self.duplicates.filter(|again| *again as usize != seen.again.len() && seen.untimed == 0)
        {
            told.push(format!("its summary says that {again} answers came again, and {} did", seen.again.len()));
        }
        let Some(rtt) = self.rtt.filter(|_| seen.untimed == 0) else { return told };
        let all: Vec<Figure> = [seen.once, seen.again].concat();
        let every: Vec<Figure> = [&all, seen.corrupt].concat();
        let fits = |values: &[Figure]| figures(values).is_none_or(|own| agree(own, rtt, self.late > 0));
        if !fits(seen.once) && !fits(&all) && !fits(&every) {
            let ms = |[least, mean, most]: [Figure; 3]| {
                [least, mean, most].map(|figure| format!("{:.3}", figure.ns as f64 / 1e6)).join("/")
            };
            let own = figures(&all).map(ms).unwrap_or_default();
            told.push(format!("its summary says min/avg/max {} ms, and its answers took {own} ms", ms(rtt)));
        }
        told
    }
}

/// Least, mean and greatest, the mean as exact as the least exact of them.
fn figures(values: &[Figure]) -> Option<[Figure; 3]> {
    let (least, most) = (values.iter().min_by_key(|f| f.ns)?, values.iter().max_by_key(|f| f.ns)?);
    let sum: u128 = values.iter().map(|f| u128::from(f.ns)).sum();
    let digit_ns = values.iter().map(|f| f.digit_ns).max()?;
    let ns = u64::try_from(sum / values.len() as u128).ok()?;
    Some([*least, Figure { ns, digit_ns }, *most])
}

/// Whether they are the same, as exactly as both are printed: some programs round, and some cut off. Where answers
/// are counted that are not there (`is_part`), those that are lie between.
fn agree(own: [Figure; 3], told: [Figure; 3], is_part: bool) -> bool {
    let slack = |i: usize| own[i].digit_ns + told[i].digit_ns;
    if is_part {
        return own[0].ns + slack(0) >= told[0].ns && told[2].ns + slack(2) >= own[2].ns;
    }
    (0..3).all(|i| own[i].ns.abs_diff(told[i].ns) <= slack(i))
}

/// What commas divide; one between digits is a decimal comma.
fn clauses(line: &str) -> Vec<&str> {
    let mut clauses = Vec::new();
    let mut from = 0;
    for (at, comma) in line.match_indices([',', '\u{ff0c}', '\u{3001}', '\u{60c}']) {
        let rest = &line[at + comma.len()..];
        let is_digit = |c: char| c.is_ascii_digit();
        if !(comma == "," && line[..at].ends_with(is_digit) && rest.starts_with(is_digit)) {
            clauses.push(&line[from..at]);
            from = at + comma.len();
        }
    }
    clauses.push(&line[from..]);
    clauses
}

/// The only whole number in a clause.
fn only(clause: &str) -> Option<u32> {
    let mut numbers = clause.split(|c: char| !(c.is_ascii_digit() || c == '.')).filter(|text| !text.is_empty());
    let number = numbers.find(|text| text.contains(|c: char| c.is_ascii_digit()))?;
    let is_only = !numbers.any(|text| text.contains(|c: char| c.is_ascii_digit()));
    number.trim_end_matches('.').parse().ok().filter(|_| is_only && !clause.contains('%'))
}

/// `16.6667%`, `%25`, `25 %`: the number, and what one in its last digit is.
fn percent(clause: &str) -> Option<(f64, f64)> {
    let at = clause.find('%')?;
    let is_part = |c: char| c.is_ascii_digit() || ".,".contains(c);
    let before = clause[..at].trim_end();
    let number = &before[before.trim_end_matches(is_part).len()..];
    let after = &clause[at + 1..];
    let number =
        if number.is_empty() { &after[..after.find(|c| !is_part(c)).unwrap_or(after.len())] } else { number };
    let number = number.trim_matches([',', '.']).replace(',', ".");
    let digits = number.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    // %g has six digits.
    let digit = 10_f64.powi(-i32::try_from(digits).ok()?);
    Some((number.parse().ok()?, digit))
}

/// `time 19027ms`, `耗时 3003 毫秒`: a word for time, which may be any, whole milliseconds and their unit. Others may
/// have put something behind it.
fn lasted(clause: &str) -> Option<Duration> {
    let from = clause.find(|c: char| c.is_ascii_digit())?;
    let number = &clause[from..];
    let length = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    let rest = &number[length..];
    let unit = rest.trim_start();
    let unit = &unit[..unit.find(|c: char| !c.is_alphabetic()).unwrap_or(unit.len())];
    let has_word = clause[..from].trim().chars().all(char::is_alphabetic) && !clause[..from].trim().is_empty();
    let is_unit =
        scale(unit) == Some(6) || !unit.is_empty() && unit.chars().count() <= 6 && rest.trim().len() == unit.len();
    let ms = number[..length].parse().ok().filter(|_| has_word && is_unit && !clause.contains('%'))?;
    Some(Duration::from_millis(ms))
}

/// `rtt min/avg/max/mdev = 400.1/402.3/409.8/2.1 ms`, `round-trip (ms)  min/avg/max = 399/401/404`,
/// `… = 399.5ms/401.5ms/404.5ms/1.0ms`.
fn rtts(line: &str) -> Option<[Figure; 3]> {
    let (names, values) = line.split_once('=')?;
    let mut parts = values.trim().split('/');
    let figures = [parts.next()?, parts.next()?, parts.next()?].map(|part| {
        let part = part.trim();
        let length = part.find(|c: char| !(c.is_ascii_digit() || ".,".contains(c))).unwrap_or(part.len());
        (&part[..length], part[length..].split_whitespace().next().unwrap_or_default())
    });
    let last = values.trim().split([',', ' ']).nth(1).unwrap_or_default();
    let unit = [figures[2].1, last].into_iter().find_map(scale);
    // Only milliseconds have been seen where there is none.
    let scale = unit.unwrap_or(6);
    let figure = |(number, _): (&str, &str)| {
        let (ns, digit_ns) = duration(number.trim_end_matches(','), scale)?;
        Some(Figure { ns, digit_ns })
    };
    let [least, mean, most] = figures;
    names.contains('/').then_some([figure(least)?, figure(mean)?, figure(most)?])
}

/// Whether a line begins like that of the round-trip times.
pub fn is_rtt(line: &str) -> bool {
    line.contains("min/avg/max") || line.contains('=') && line.matches('/').count() >= 2
}

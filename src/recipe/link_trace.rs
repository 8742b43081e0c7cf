//! Trace files: how fast a link was, measured somewhere or made, as pieces of constant rate. Pure: text in, pieces
//! out.
//!
//! Two formats, told apart by the first line that is not empty: with a comma it is CSV.
//!
//! **Mahimahi** (Netravali et al., *Mahimahi: Accurate Record-and-Replay for HTTP*, USENIX ATC 2015, section 4;
//! `mm-link(1)`): a whole number a line, the millisecond at which one packet of 1504 bytes can be delivered. Numbers
//! may repeat and never fall; the last one is the trace's length. The opportunities of each [`BIN_MS`] become a rate,
//! so a link here is as fast over each tenth of a second as Mahimahi's, and does not make up for what it could not
//! use before. A bin without any is an outage.
//!
//! **CSV**: `seconds,kbit/s` and, if wanted, `,delay_ms` and `,loss_percent`, with or without a line that says so. A
//! line holds until the next one's second; the first is at 0, and the last one's second is the trace's length.

use std::time::Duration;

use super::word::shown;
use crate::plan::Piece;

/// Milliseconds over which Mahimahi's opportunities are counted.
const BIN_MS: u64 = 100;
/// Bits of a packet in Mahimahi.
const PACKET_BITS: u64 = 1504 * 8;
/// Lines at most.
pub(super) const MOST_LINES: usize = 1_000_000;
/// Bytes of a trace file at most.
pub(super) const MAX_SIZE: u64 = 16 << 20;
/// A day, the longest timeline, in milliseconds.
const LONGEST_MS: u64 = 24 * 3600 * 1000;
/// bit/s, as for any link.
const FASTEST: u64 = 100_000_000_000;
/// As for any link.
const LONGEST_DELAY_MS: f64 = 60_000.0;
/// What the columns of CSV are called.
const COLUMNS: [&str; 4] = ["seconds", "kbit/s", "delay_ms", "loss_percent"];

/// What a trace file holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Traced {
    pub length: Duration,
    pub pieces: Vec<Piece>,
}

/// Why a text is no trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NoTrace {
    /// From 1; `None`: all of it.
    pub line: Option<usize>,
    pub why: String,
}

impl NoTrace {
    fn at(line: usize, why: impl Into<String>) -> NoTrace {
        NoTrace { line: Some(line), why: why.into() }
    }

    fn whole(why: impl Into<String>) -> NoTrace {
        NoTrace { line: None, why: why.into() }
    }
}

/// Reads the text of a trace file of either format.
pub(super) fn read(text: &str) -> Result<Traced, NoTrace> {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let lines = || (1..).zip(text.lines().map(str::trim)).filter(|(_, line)| !line.is_empty());
    let Some((_, first)) = lines().next() else { return Err(NoTrace::whole("is empty")) };
    if lines().nth(MOST_LINES).is_some() {
        return Err(NoTrace::whole(format!("has more than {MOST_LINES} lines")));
    }
    if first.contains(',') { csv(lines()) } else { mahimahi(lines()) }
}

fn mahimahi<'t>(lines: impl Iterator<Item = (usize, &'t str)>) -> Result<Traced, NoTrace> {
    let mut bins: Vec<u64> = Vec::new();
    let mut length = 0;
    for (line, text) in lines {
        let ms = whole(line, text)?;
        if ms < length {
            return Err(NoTrace::at(line, format!("{ms} comes after {length}: milliseconds never fall")));
        }
        length = ms;
        // What can be delivered at a millisecond belongs to the time before it, as the last one ends the trace.
        let bin = usize::try_from(ms.saturating_sub(1) / BIN_MS).unwrap_or(usize::MAX);
        if bins.len() <= bin {
            bins.resize(bin + 1, 0);
        }
        bins[bin] += 1;
    }
    if length == 0 {
        return Err(NoTrace::whole("ends at millisecond 0"));
    }
    let mut pieces = Vec::new();
    for (at_ms, packets) in (0..).step_by(BIN_MS as usize).zip(bins) {
        let takes = BIN_MS.min(length - at_ms);
        push(&mut pieces, Piece { at_ms, bandwidth: packets * PACKET_BITS * 1000 / takes, delay: None, loss: None });
    }
    match pieces.iter().find(|piece| piece.bandwidth > FASTEST) {
        Some(piece) => Err(NoTrace::whole(format!("has more than 100 Gbit/s at millisecond {}", piece.at_ms))),
        None => Ok(Traced { length: Duration::from_millis(length), pieces }),
    }
}

/// A millisecond.
fn whole(line: usize, text: &str) -> Result<u64, NoTrace> {
    if text.starts_with('-') {
        return Err(NoTrace::at(line, format!("{} is negative", shown(text))));
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        let why = format!("{} is neither a whole number (Mahimahi) nor values with commas (CSV)", shown(text));
        return Err(NoTrace::at(line, why));
    }
    match text.parse() {
        Ok(ms) if ms <= LONGEST_MS => Ok(ms),
        _ => Err(NoTrace::at(line, format!("millisecond {} is later than 24 hours", shown(text)))),
    }
}

fn csv<'t>(lines: impl Iterator<Item = (usize, &'t str)>) -> Result<Traced, NoTrace> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut columns = None;
    let mut before: Option<u64> = None;
    for (n, (line, text)) in lines.enumerate() {
        let words: Vec<&str> = text.split(',').map(str::trim).collect();
        let is_heading = n == 0 && words[0].starts_with(|c: char| c.is_ascii_alphabetic());
        let known = COLUMNS.get(..words.len()).filter(|known| known.len() >= 2);
        if known.is_none() || is_heading && known != Some(words.as_slice()) {
            return Err(NoTrace::at(line, format!("the columns are {}, the last two if wanted", COLUMNS.join(","))));
        }
        if *columns.get_or_insert(words.len()) != words.len() {
            return Err(NoTrace::at(line, "it has not as many values as the line before"));
        }
        if is_heading {
            continue;
        }
        let values: Vec<f64> = words.iter().map(|word| number(line, word)).collect::<Result<_, _>>()?;
        let at_ms = milliseconds(line, values[0])?;
        match before {
            None if at_ms > 0 => return Err(NoTrace::at(line, "the first line with values is not at second 0")),
            Some(before) if at_ms <= before => {
                return Err(NoTrace::at(
                    line,
                    format!("second {} does not come after the line before", shown(words[0])),
                ));
            }
            _ => before = Some(at_ms),
        }
        let bandwidth = (values[1] * 1000.0).round();
        if bandwidth > FASTEST as f64 {
            return Err(NoTrace::at(line, format!("{} kbit/s are more than 100 Gbit/s", shown(words[1]))));
        }
        let delay = values.get(2).copied();
        if delay.is_some_and(|delay| delay > LONGEST_DELAY_MS) {
            return Err(NoTrace::at(line, format!("a delay of {} ms is longer than 60 s", shown(words[2]))));
        }
        let loss = values.get(3).map(|percent| percent / 100.0);
        if loss.is_some_and(|loss| loss >= 1.0) {
            return Err(NoTrace::at(line, format!("with a loss of {} % no packet arrives", shown(words[3]))));
        }
        let delay = delay.map(|ms| Duration::from_micros((ms * 1000.0).round() as u64));
        push(&mut pieces, Piece { at_ms, bandwidth: bandwidth as u64, delay, loss });
    }
    match before {
        Some(length) => Ok(Traced { length: Duration::from_millis(length), pieces }),
        None => Err(NoTrace::whole("has a heading and no values")),
    }
}

fn number(line: usize, text: &str) -> Result<f64, NoTrace> {
    match text.parse::<f64>() {
        Ok(value) if value < 0.0 => Err(NoTrace::at(line, format!("{} is negative", shown(text)))),
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(NoTrace::at(line, format!("{} is not a number", shown(text)))),
    }
}

fn milliseconds(line: usize, seconds: f64) -> Result<u64, NoTrace> {
    let ms = seconds * 1000.0;
    if ms > LONGEST_MS as f64 {
        return Err(NoTrace::at(line, format!("second {seconds} is later than 24 hours")));
    }
    if (ms - ms.round()).abs() > 1e-6 * ms.max(1.0) {
        return Err(NoTrace::at(line, format!("second {seconds} is finer than a millisecond")));
    }
    Ok(ms.round() as u64)
}

/// Adds a piece, unless it is as the one before.
fn push(pieces: &mut Vec<Piece>, piece: Piece) {
    if pieces.last().is_none_or(|last| Piece { at_ms: piece.at_ms, ..*last } != piece) {
        pieces.push(piece);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn rates(traced: &Traced) -> Vec<(u64, u64)> {
        traced.pieces.iter().map(|piece| (piece.at_ms, piece.bandwidth)).collect()
    }

    fn why(text: &str) -> String {
        let NoTrace { line, why } = read(text).unwrap_err();
        line.map_or(why.clone(), |line| format!("{line}: {why}"))
    }

    #[test]
    fn opportunities_become_rates_and_none_an_outage() {
        // Three packets in the first tenth of a second, none in the second and third, one at the end of the fourth,
        // which is half as long.
        let traced = read("1\n1\r\n100\n\n350\n").unwrap();
        assert_eq!(traced.length, Duration::from_millis(350));
        assert_eq!(rates(&traced), [(0, 360_960), (100, 0), (300, 240_640)]);
        assert_eq!(rates(&read("0\n100").unwrap()), [(0, 240_640)]);
    }

    #[test]
    fn csv_has_two_to_four_columns() {
        let traced = read("seconds,kbit/s\n0,1000\n0.5,0\n1.5,2500.5\n2,2500.5\n").unwrap();
        assert_eq!(traced.length, Duration::from_secs(2));
        assert_eq!(rates(&traced), [(0, 1_000_000), (500, 0), (1500, 2_500_500)]);
        let whole = read("0, 1000, 20.5, 0.1\n1, 1000, 30, 0\n").unwrap();
        assert_eq!(whole.pieces[0].delay, Some(Duration::from_micros(20_500)));
        assert!((whole.pieces[0].loss.unwrap() - 0.001).abs() < 1e-12);
        assert_eq!(whole.pieces[1].loss, Some(0.0));
        assert_eq!(read("seconds,kbit/s,delay_ms\n0,1,2\n").unwrap().length, Duration::ZERO);
    }

    #[test]
    fn what_is_no_trace_says_why() {
        for (text, expected) in [
            ("", "is empty"),
            (" \n\n", "is empty"),
            ("5\n-3\n", "2: `-3` is negative"),
            ("5\n3\n", "2: 3 comes after 5: milliseconds never fall"),
            ("5\n4e9\n", "2: `4e9` is neither a whole number (Mahimahi) nor values with commas (CSV)"),
            ("# a comment\n", "1: `# a comment` is neither a whole number (Mahimahi) nor values with commas (CSV)"),
            ("99999999999999999999\n", "1: millisecond `99999999999999999999` is later than 24 hours"),
            ("86400001\n", "1: millisecond `86400001` is later than 24 hours"),
            ("0\n0\n", "ends at millisecond 0"),
            ("seconds,kbit/s\n", "has a heading and no values"),
            ("time,rate\n0,1\n", "1: the columns are seconds,kbit/s,delay_ms,loss_percent, the last two if wanted"),
            ("0,1,2,3,4\n", "1: the columns are seconds,kbit/s,delay_ms,loss_percent, the last two if wanted"),
            ("1,5\n", "1: the first line with values is not at second 0"),
            ("0,5\n0,6\n", "2: second `0` does not come after the line before"),
            ("0,5\n1,-6\n", "2: `-6` is negative"),
            ("0,5\n1,NaN\n", "2: `NaN` is not a number"),
            ("0,5\n1,1e12\n", "2: `1e12` kbit/s are more than 100 Gbit/s"),
            ("0,5\n1e9,1\n", "2: second 1000000000 is later than 24 hours"),
            ("0,5\n0.0001,1\n", "2: second 0.0001 is finer than a millisecond"),
            ("0,5\n1,1,5\n", "2: it has not as many values as the line before"),
            ("0,5,70000\n", "1: a delay of `70000` ms is longer than 60 s"),
            ("0,5,7,100\n", "1: with a loss of `100` % no packet arrives"),
        ] {
            assert_eq!(why(text), expected);
        }
        let dense = "1\n".repeat(900_000);
        assert!(why(&dense).starts_with("has more than 100 Gbit/s"), "{}", why(&dense));
        assert_eq!(why(&"1\n".repeat(MOST_LINES + 1)), "has more than 1000000 lines");
    }

    proptest! {
        #[test]
        fn no_packet_of_mahimahi_is_lost_or_made(gaps in proptest::collection::vec(0u64..40, 1..400)) {
            let mut at = 1;
            let lines: Vec<String> = gaps.iter().map(|gap| { at += gap; at.to_string() }).collect();
            let traced = read(&lines.join("\n")).unwrap();
            prop_assert_eq!(traced.length, Duration::from_millis(at));
            let ends = traced.pieces.iter().skip(1).map(|piece| piece.at_ms).chain([at]);
            let bits: f64 = traced.pieces.iter().zip(ends).map(|(piece, end)| piece.bandwidth as f64 * (end - piece.at_ms) as f64 / 1e3).sum();
            let expected = (gaps.len() as u64 * PACKET_BITS) as f64;
            // Rates are whole bits per second.
            prop_assert!((bits - expected).abs() <= at as f64 / 1e3 + 1e-6, "{} {}", bits, expected);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9,.\\-a-z/\n ]{0,200}") {
            if let Ok(traced) = read(&text) {
                prop_assert_eq!(traced.pieces[0].at_ms, 0);
                prop_assert!(traced.pieces.windows(2).all(|pair| pair[0].at_ms < pair[1].at_ms));
            }
        }
    }
}

//! What ping says of itself at its end, which what was read is held against.

use std::time::Duration;

use super::line::decimal;

/// Times in a line and in the summary are rounded apart from each other: to a thousandth, to three digits, or to
/// whole milliseconds.
const SHARE: f64 = 0.01;
const LEAST_MS: f64 = 1.0;

/// The summary, as far as it is there.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Summary {
    /// Pings sent; `None` when ping ended without saying so.
    pub transmitted: Option<u32>,
    /// Pings answered (duplicates not counted).
    pub received: Option<u32>,
    /// From the first ping to the last, as iputils tells it.
    pub lasted: Option<Duration>,
    /// Least, mean and greatest round-trip time in milliseconds.
    pub rtt_ms: Option<[f64; 3]>,
}

impl Summary {
    /// Takes a line that follows the heading.
    pub fn take(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        if self.transmitted.is_none() {
            // The first two are those sent and those answered in every language.
            let mut counts = line.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok());
            self.transmitted = counts.next();
            self.received = counts.next();
            self.lasted = lasted(line);
        } else if self.rtt_ms.is_none() {
            self.rtt_ms = rtts(line);
        }
    }

    /// Time between pings, if the summary tells it.
    pub fn interval(&self) -> Option<Duration> {
        let gaps = self.transmitted?.checked_sub(1).filter(|gaps| *gaps > 0)?;
        self.lasted.map(|lasted| lasted / gaps).filter(|interval| !interval.is_zero())
    }

    /// What of the answers read, in milliseconds, contradicts it: `again` is set where it is one to a ping already
    /// answered.
    pub fn contradiction(&self, answers: &[(f64, bool)], untimed: usize) -> Option<String> {
        let first = answers.iter().filter(|(_, again)| !again).count() + untimed;
        if let Some(received) = self.received.filter(|received| *received as usize != first) {
            return Some(format!("its summary says that {received} were answered, and it has {first} answers"));
        }
        let told = self.rtt_ms?;
        let all = figures(answers.iter().map(|(ms, _)| *ms))?;
        let once = figures(answers.iter().filter(|(_, again)| !again).map(|(ms, _)| *ms)).unwrap_or(all);
        let agree = |seen: [f64; 3]| seen.iter().zip(told).all(|(a, b)| (a - b).abs() <= LEAST_MS + SHARE * b);
        (untimed == 0 && !agree(all) && !agree(once)).then(|| {
            let shown = |[least, mean, most]: [f64; 3]| format!("{least:.1}/{mean:.1}/{most:.1}");
            format!("its summary says min/avg/max {} ms, and its answers took {} ms", shown(told), shown(all))
        })
    }
}

/// Least, mean and greatest.
fn figures(values: impl Iterator<Item = f64>) -> Option<[f64; 3]> {
    let (mut count, mut sum, mut least, mut most) = (0.0, 0.0, f64::INFINITY, f64::NEG_INFINITY);
    for value in values {
        count += 1.0;
        sum += value;
        least = value.min(least);
        most = value.max(most);
    }
    (count > 0.0).then(|| [least, sum / count, most])
}

/// `…, time 19027ms` at the end of the line: its last number, with the unit of thousandths behind it. The word for
/// time may be any.
fn lasted(line: &str) -> Option<Duration> {
    let line = line.trim_end();
    let unit = line.rfind(|c: char| c.is_ascii_digit())? + 1;
    let from = line[..unit]
        .rfind(|c: char| !c.is_ascii_digit())
        .map_or(0, |at| at + line[at..].chars().next().map_or(1, char::len_utf8));
    // `33% packet loss` ends with words, and so does the line of who tells no time.
    let is_last = line[unit..].trim().chars().count() <= 6 && !line[unit..].contains('%');
    let is_time = is_last && line[..from].ends_with(char::is_whitespace) && !line[unit..].trim().is_empty();
    line[from..unit].parse().ok().filter(|_| is_time).map(Duration::from_millis)
}

/// `rtt min/avg/max/mdev = 400.1/402.3/409.8/2.1 ms`, `round-trip min/avg/max = 0/0/1 ms`.
fn rtts(line: &str) -> Option<[f64; 3]> {
    let (_, values) = line.split_once('=')?;
    let mut values = values.trim().split(['/', ' ']).map(|text| decimal(text, 9).map(|scaled| scaled as f64 / 1e9));
    Some([values.next()??, values.next()??, values.next()??])
}

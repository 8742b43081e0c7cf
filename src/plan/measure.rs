//! What a parameter's text measures: recipes write values as people do, and axes and comparisons need numbers.

/// Units, and what a value in the plan's own unit (bit/s, seconds, shares, bytes) is multiplied by to be in them.
const UNITS: [(&str, f64); 13] = [
    ("bit/s", 1.0),
    ("kbit/s", 1e-3),
    ("Mbit/s", 1e-6),
    ("Gbit/s", 1e-9),
    ("us", 1e6),
    ("ms", 1e3),
    ("s", 1.0),
    ("min", 1.0 / 60.0),
    ("%", 100.0),
    ("B", 1.0),
    ("kB", 1e-3),
    ("MB", 1e-6),
    ("GB", 1e-9),
];

/// A number that was written with its unit, or without one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measure {
    /// As the plan has it: bit/s, seconds, shares, bytes, or the plain number.
    pub value: f64,
    /// The unit that it is written in; empty: none.
    pub unit: &'static str,
    /// What the value is multiplied by to be in that unit.
    pub factor: f64,
}

impl Measure {
    /// Reads `2 Mbit/s`, `0.5 %` or `4`. `None`: it is no number, or has a unit that recipes do not know.
    #[must_use]
    pub fn read(text: &str) -> Option<Measure> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: f64 = number.parse().ok()?;
        match unit.trim() {
            "" => Some(Measure { value: number, unit: "", factor: 1.0 }),
            unit => {
                let (unit, factor) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
                Some(Measure { value: number / factor, unit, factor })
            }
        }
    }
}

/// Values of a parameter in order: numbers by size, whatever their units, and before words.
#[must_use]
pub(super) fn by_size(a: &str, b: &str) -> std::cmp::Ordering {
    use std::cmp::Ordering::{Greater, Less};
    let order = match (Measure::read(a), Measure::read(b)) {
        (Some(a), Some(b)) => a.value.total_cmp(&b.value),
        (Some(_), None) => Less,
        (None, Some(_)) => Greater,
        (None, None) => natural(a, b),
    };
    order.then_with(|| a.cmp(b))
}

/// Names with a number at their end in the order of the numbers: hv2 before hv10.
#[must_use]
pub fn natural(a: &str, b: &str) -> std::cmp::Ordering {
    let split = |text: &str| {
        let name = text.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        (text[..name].to_owned(), text[name..].parse::<u64>().ok())
    };
    split(a).cmp(&split(b)).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_are_read_with_their_units() {
        let value = |text: &str| Measure::read(text).map(|measure| measure.value);
        assert_eq!(["2 Mbit/s", "40ms", "0.5 %", "4"].map(value), [2e6, 0.04, 0.005, 4.0].map(Some));
        assert_eq!(["", "x", "4 apples", "1.2.3", "-4"].map(value), [None; 5]);
        assert_eq!(Measure::read("300 kbit/s").unwrap().unit, "kbit/s");
    }

    #[test]
    fn values_are_ordered_by_size_and_words_after_them() {
        let mut values = ["never", "16", "2 Mbit/s", "800 kbit/s", "8", "cubic10", "cubic9"];
        values.sort_by(|a, b| by_size(a, b));
        assert_eq!(values, ["8", "16", "800 kbit/s", "2 Mbit/s", "cubic9", "cubic10", "never"]);
    }
}

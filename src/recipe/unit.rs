//! Values that a recipe writes as one piece of text: numbers with their units, and whole numbers.
//!
//! Numbers are read exactly, without a detour through floating point: `2.5 Mbit/s` is 2 500 000 bit/s.

use std::fmt;
use std::time::Duration;

use schemars::{Schema, SchemaGenerator, json_schema};

use super::word::{nearest, shown};

/// A kind of value that is written as one piece of text.
pub trait Value: Sized {
    /// What is expected, as a noun phrase: `a bandwidth such as 4 Mbit/s`.
    fn expected() -> String;

    /// Whether YAML takes it for a number or a boolean, so that quotes around it would make it something else.
    const PLAIN: bool = false;

    /// Whether it is the recipe writer's own text, in which any character may be meant.
    const FREE: bool = false;

    /// Whether it names something, so that a word which other YAML readers take for a truth value has to be in quotes.
    const NAME: bool = false;

    /// Reads the text.
    ///
    /// # Errors
    /// What is wrong with it and what to write instead.
    fn parse(text: &str) -> Result<Self, Misread>;

    /// The JSON Schema of the text.
    fn schema(generator: &mut SchemaGenerator) -> Schema;
}

/// Why a piece of text is not the value that belongs there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misread {
    /// What is wrong, as a sentence that names the text.
    pub message: String,
    /// The same in a word or two, for the place itself.
    pub label: &'static str,
    /// What to write instead.
    pub help: Option<String>,
}

impl Misread {
    pub(super) fn new(message: impl Into<String>, label: &'static str, help: impl Into<String>) -> Self {
        Misread { message: message.into(), label, help: Some(help.into()) }
    }
}

/// One kind of quantity: its units and what people write instead of them.
struct Dimension {
    /// `a bandwidth`.
    noun: &'static str,
    /// `bandwidth`, as in: a unit of bandwidth.
    mass: &'static str,
    /// Spelling and how many of the smallest unit it is worth.
    units: &'static [(&'static str, u128)],
    /// Other spellings, and the proper one. Compared without regard to case.
    slips: &'static [(&'static str, &'static str)],
    /// The unit proposed for a bare number.
    usual: &'static str,
    /// A value as example.
    example: &'static str,
}

impl Dimension {
    fn expected(&self) -> String {
        format!("{} such as `{}`", self.noun, self.example)
    }

    fn unit_list(&self) -> String {
        let names: Vec<&str> = self.units.iter().map(|(name, _)| *name).collect();
        match names.split_last() {
            Some((last, [])) => (*last).to_owned(),
            Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
            None => String::new(),
        }
    }

    /// Reads `number unit` as a count of `smallest` units.
    fn read(&self, text: &str, smallest: &str) -> Result<u128, Misread> {
        let number = Decimal::leading(text, self)?;
        let unit = text[number.length..].trim();
        let written = &text[..number.length];
        if unit.is_empty() {
            let help = if self.units.len() == 1 {
                let percent = number.times(100).filter(|percent| *percent > 0 && number.decimals > 0);
                let share =
                    percent.map(|percent| format!("; a share of {written} is `{percent} %`")).unwrap_or_default();
                format!("write `{written} {}`{share}", self.usual)
            } else {
                format!("write `{written} {}`; units are {}", self.usual, self.unit_list())
            };
            return Err(Misread::new(format!("{} has no unit", shown(text)), "no unit", help));
        }
        if unit.starts_with(['e', 'E']) && unit[1..].starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+')
        {
            let help = format!("write it out, with another unit if need be: units are {}", self.unit_list());
            return Err(Misread::new(format!("{} is written with an exponent", shown(text)), "exponent", help));
        }
        let Some((_, factor)) = self.units.iter().find(|(name, _)| *name == unit) else {
            return Err(self.unknown_unit(written, unit));
        };
        number.times(*factor).ok_or_else(|| {
            Misread::new(format!("{} is finer than a {smallest}", shown(text)), "too fine", "write fewer decimals")
        })
    }

    fn unknown_unit(&self, written: &str, unit: &str) -> Misread {
        let slip = self.slips.iter().find(|(slip, _)| *slip == unit).or_else(|| {
            let lower = unit.to_lowercase();
            self.slips.iter().find(|(slip, _)| slip.to_lowercase() == lower)
        });
        let meant = match slip {
            Some((_, meant)) => Some((*meant).to_owned()),
            None => self.one_letter_off(unit).map(str::to_owned),
        };
        let help = match meant {
            Some(meant) => format!("did you mean `{written} {meant}`? Units are {}", self.unit_list()),
            None => format!("units are {}, as in `{}`", self.unit_list(), self.example),
        };
        Misread::new(format!("{} is not a unit of {}", shown(unit), self.mass), "unknown unit", help)
    }

    /// The unit that was probably meant, if no other one may have been: their first letters tell them apart, so `ns` is no slip of `us`.
    fn one_letter_off(&self, unit: &str) -> Option<&'static str> {
        let first = |word: &str| word.chars().next().map(|c| c.to_ascii_lowercase());
        let names = self.units.iter().map(|(name, _)| *name);
        let alike: Vec<&'static str> = names.filter(|name| first(name) == first(unit)).collect();
        let meant = nearest(unit, &alike)?;
        let others: Vec<&str> = alike.iter().copied().filter(|name| *name != meant).collect();
        nearest(unit, &others).is_none().then_some(meant)
    }

    fn schema(&self) -> Schema {
        let units: Vec<&str> = self.units.iter().map(|(name, _)| *name).collect();
        json_schema!({
            "type": "string",
            "pattern": format!(r"^(0|[1-9][0-9]*)(\.[0-9]+)? *({})$", units.join("|")),
            "examples": [self.example],
        })
    }
}

/// What to write instead of a number with commas, which is what the text begins with. Three digits behind one may be thousands.
pub(super) fn without_comma(text: &str) -> String {
    let length = text.find(|c: char| !c.is_ascii_digit() && c != ',').unwrap_or(text.len());
    let (number, rest) = text.split_at(length);
    let parts: Vec<&str> = number.split(',').collect();
    let (together, pointed) = (parts.concat() + rest, parts.join(".") + rest);
    let are_thousands = !parts[0].starts_with('0')
        && (1..=3).contains(&parts[0].len())
        && parts[1..].iter().all(|part| part.len() == 3);
    match parts.len() {
        // `1.000,5`
        0 | 1 => "write the number without commas, and a point before its decimals".to_owned(),
        2 if are_thousands && !rest.starts_with('.') => {
            let (together, pointed) = (shown(&together), shown(&pointed));
            format!("leave out the comma, {together}, or write a point, {pointed}, whichever is meant")
        }
        2 if !are_thousands && !rest.starts_with('.') => format!("write a decimal point: {}", shown(&pointed)),
        2 => format!("leave out the comma: {}", shown(&together)),
        _ => format!("leave out the commas: {}", shown(&together)),
    }
}

/// A decimal number at the start of a text.
struct Decimal {
    digits: u128,
    /// How many of the digits stand after the point.
    decimals: u32,
    /// Bytes of text it takes.
    length: usize,
}

impl Decimal {
    const MAX_INTEGER_DIGITS: usize = 18;
    const MAX_DECIMALS: usize = 9;

    fn leading(text: &str, dimension: &Dimension) -> Result<Decimal, Misread> {
        let wrong = |why: &str, label| {
            Misread::new(format!("{} {why}", shown(text)), label, format!("write {}", dimension.expected()))
        };
        if text.starts_with(['-', '\u{2212}']) {
            return Err(wrong("is negative", "negative"));
        }
        let length = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (integer, fraction) = text[..length].split_once('.').unwrap_or((&text[..length], ""));
        let pointed = text[..length].contains('.');
        if integer.is_empty() && fraction.is_empty() {
            return Err(wrong("does not begin with a number", "not a number"));
        }
        if text[length..].starts_with(',') {
            let message = format!("{} has a comma in its number", shown(text));
            return Err(Misread::new(message, "comma", without_comma(text)));
        }
        if integer.is_empty() || (pointed && fraction.is_empty()) || fraction.contains('.') {
            return Err(wrong("does not begin with a plain decimal number", "not a plain number"));
        }
        if let Some(misread) = leading_zero(integer, text) {
            return Err(misread);
        }
        let integer = integer.trim_start_matches('0');
        if integer.len() > Self::MAX_INTEGER_DIGITS {
            return Err(wrong("is far out of bounds", "too large"));
        }
        if fraction.len() > Self::MAX_DECIMALS {
            return Err(wrong("has more than nine decimals", "too fine"));
        }
        let digits = integer.bytes().chain(fraction.bytes()).fold(0, |n: u128, b| n * 10 + u128::from(b - b'0'));
        Ok(Decimal { digits, decimals: fraction.len() as u32, length })
    }

    /// The number times `factor`, if that is whole.
    fn times(&self, factor: u128) -> Option<u128> {
        let product = self.digits.checked_mul(factor)?;
        let divisor = 10u128.pow(self.decimals);
        product.is_multiple_of(divisor).then(|| product / divisor)
    }
}

const BANDWIDTH: Dimension = Dimension {
    noun: "a bandwidth",
    mass: "bandwidth",
    units: &[("bit/s", 1), ("kbit/s", 1_000), ("Mbit/s", 1_000_000), ("Gbit/s", 1_000_000_000)],
    slips: &[
        ("bps", "bit/s"),
        ("bits/s", "bit/s"),
        ("k", "kbit/s"),
        ("kbps", "kbit/s"),
        ("kbit", "kbit/s"),
        ("kb/s", "kbit/s"),
        ("kbits/s", "kbit/s"),
        ("m", "Mbit/s"),
        ("mbps", "Mbit/s"),
        ("mbit", "Mbit/s"),
        ("mbit/s", "Mbit/s"),
        ("mb/s", "Mbit/s"),
        ("mbits/s", "Mbit/s"),
        ("g", "Gbit/s"),
        ("gbps", "Gbit/s"),
        ("gbit", "Gbit/s"),
        ("gb/s", "Gbit/s"),
    ],
    usual: "Mbit/s",
    example: "4 Mbit/s",
};

const TIME_UNITS: &[(&str, u128)] =
    &[("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000), ("min", 60_000_000_000)];
const TIME_SLIPS: &[(&str, &str)] = &[
    ("µs", "us"),
    ("μs", "us"),
    ("usec", "us"),
    ("microseconds", "us"),
    ("msec", "ms"),
    ("millis", "ms"),
    ("millisecond", "ms"),
    ("milliseconds", "ms"),
    ("sec", "s"),
    ("secs", "s"),
    ("second", "s"),
    ("seconds", "s"),
    ("m", "min"),
    ("mins", "min"),
    ("minute", "min"),
    ("minutes", "min"),
];

const DELAY: Dimension =
    Dimension { noun: "a time", mass: "time", units: TIME_UNITS, slips: TIME_SLIPS, usual: "ms", example: "100 ms" };
const MOMENT: Dimension =
    Dimension { noun: "a time", mass: "time", units: TIME_UNITS, slips: TIME_SLIPS, usual: "s", example: "15 s" };
const LOSS: Dimension = Dimension {
    noun: "a loss",
    mass: "loss",
    units: &[("%", 1_000_000_000)],
    slips: &[("percent", "%"), ("pct", "%")],
    usual: "%",
    example: "0.5 %",
};
const SHARE: Dimension = Dimension { noun: "a share", mass: "share", example: "20 %", ..LOSS };

/// Bits per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bandwidth(pub u64);

impl Value for Bandwidth {
    fn expected() -> String {
        BANDWIDTH.expected()
    }
    fn parse(text: &str) -> Result<Self, Misread> {
        let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').trim();
        if matches!(unit, "B/s" | "kB/s" | "KB/s" | "MB/s" | "GB/s") {
            return Err(Misread::new(
                format!("{} counts bytes, a bandwidth counts bits", shown(text)),
                "bytes",
                "multiply by eight: 1 MB/s is `8 Mbit/s`",
            ));
        }
        let bits = BANDWIDTH.read(text, "bit/s")?;
        // Beyond what a u64 holds there is no bandwidth; the bounds of each key are far below.
        Ok(Bandwidth(u64::try_from(bits).unwrap_or(u64::MAX)))
    }
    fn schema(_: &mut SchemaGenerator) -> Schema {
        BANDWIDTH.schema()
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_quantity(f, u128::from(self.0), BANDWIDTH.units)
    }
}

const SIZE: Dimension = Dimension {
    noun: "a size",
    mass: "size",
    units: &[("B", 1), ("kB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000)],
    slips: &[
        ("b", "B"),
        ("byte", "B"),
        ("bytes", "B"),
        ("k", "kB"),
        ("KB", "kB"),
        ("KiB", "kB"),
        ("m", "MB"),
        ("MiB", "MB"),
        ("g", "GB"),
        ("GiB", "GB"),
    ],
    usual: "kB",
    example: "64 kB",
};

/// What may wait for the CDN in bytes; `None`: whatever comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UploadBuffer(pub Option<u64>);

impl UploadBuffer {
    /// The word for no limit.
    const UNLIMITED: &str = "unlimited";
}

impl Value for UploadBuffer {
    fn expected() -> String {
        format!("{} or `{}`", SIZE.expected(), Self::UNLIMITED)
    }
    fn parse(text: &str) -> Result<Self, Misread> {
        if text == Self::UNLIMITED {
            return Ok(UploadBuffer(None));
        }
        if text.starts_with(|c: char| c.is_ascii_alphabetic()) {
            let message = format!("{} is not {}", shown(text), SIZE.noun);
            return Err(Misread::new(message, "unknown", format!("write {}", Self::expected())));
        }
        let bytes = SIZE.read(text, "byte")?;
        Ok(UploadBuffer(Some(u64::try_from(bytes).unwrap_or(u64::MAX))))
    }
    fn schema(_: &mut SchemaGenerator) -> Schema {
        let units: Vec<&str> = SIZE.units.iter().map(|(name, _)| *name).collect();
        json_schema!({
            "type": "string",
            "pattern": format!(r"^({}|(0|[1-9][0-9]*)(\.[0-9]+)? *({}))$", Self::UNLIMITED, units.join("|")),
            "examples": [SIZE.example, Self::UNLIMITED],
        })
    }
}

impl fmt::Display for UploadBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(bytes) => write_quantity(f, u128::from(bytes), SIZE.units),
            None => f.write_str(Self::UNLIMITED),
        }
    }
}

/// A link's delay or jitter: a bare number is proposed to be milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delay(pub Duration);

impl Value for Delay {
    fn expected() -> String {
        DELAY.expected()
    }
    fn parse(text: &str) -> Result<Self, Misread> {
        DELAY.read(text, "nanosecond").map(|ns| Delay(duration(ns)))
    }
    fn schema(_: &mut SchemaGenerator) -> Schema {
        DELAY.schema()
    }
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_quantity(f, self.0.as_nanos(), &TIME_UNITS[..3])
    }
}

/// A moment on the timeline or a length of it: a bare number is proposed to be seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub Duration);

impl Value for Moment {
    fn expected() -> String {
        MOMENT.expected()
    }
    fn parse(text: &str) -> Result<Self, Misread> {
        MOMENT.read(text, "nanosecond").map(|ns| Moment(duration(ns)))
    }
    fn schema(_: &mut SchemaGenerator) -> Schema {
        MOMENT.schema()
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_quantity(f, self.0.as_nanos(), &TIME_UNITS[..3])
    }
}

/// The share of packets that is lost, 0 to 1; written in per cent.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Loss(pub f64);

impl Value for Loss {
    fn expected() -> String {
        LOSS.expected()
    }
    fn parse(text: &str) -> Result<Self, Misread> {
        // Billionths of a per cent: exact up to here, then the nearest f64.
        let billionths = LOSS.read(text, "billionth of a per cent")?;
        Ok(Loss(billionths as f64 / 1e11))
    }
    fn schema(_: &mut SchemaGenerator) -> Schema {
        LOSS.schema()
    }
}

/// A share of a whole, 0 to 1; written in per cent.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Share(pub f64);

impl Value for Share {
    fn expected() -> String {
        SHARE.expected()
    }
    fn parse(text: &str) -> Result<Self, Misread> {
        let billionths = SHARE.read(text, "billionth of a per cent")?;
        Ok(Share(billionths as f64 / 1e11))
    }
    fn schema(_: &mut SchemaGenerator) -> Schema {
        SHARE.schema()
    }
}

/// Width and height in pixels, written `640x360`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameSize {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

impl FrameSize {
    /// Least width and height in pixels: one macroblock.
    pub const MIN: u32 = 16;
    /// Greatest width and height in pixels.
    pub const MAX: u32 = 4096;
}

impl Value for FrameSize {
    fn expected() -> String {
        "a size such as `640x360`".to_owned()
    }
    fn parse(text: &str) -> Result<Self, Misread> {
        let wrong = |why: &str, label| {
            let help = "write width x height in pixels, such as `640x360`";
            Misread::new(format!("{} {why}", shown(text)), label, help)
        };
        let Some((width, height)) = text.split_once('x') else {
            let plain = text.replace([' ', 'X', '×', '*'], "x").replace("xxx", "x");
            return Err(match FrameSize::parse_pair(&plain) {
                Some(size) => Misread::new(
                    format!("{} is not a size", shown(text)),
                    "not a size",
                    format!("write `{}x{}`", size.width, size.height),
                ),
                None => wrong("is not a size", "not a size"),
            });
        };
        if FrameSize::parse_pair(text).is_some() {
            let zeros = [leading_zero(width, width), leading_zero(height, height)];
            if let Some(misread) = zeros.into_iter().flatten().next() {
                return Err(misread);
            }
        }
        let Some(size) = FrameSize::parse_pair(text) else {
            let spaced = FrameSize::parse_pair(&text.replace(' ', ""));
            return Err(match spaced {
                Some(_) => wrong("has spaces in it", "spaces"),
                None if width.starts_with('-') || height.starts_with('-') => wrong("is negative", "negative"),
                None => wrong("is not a size", "not a size"),
            });
        };
        let bounds = FrameSize::MIN..=FrameSize::MAX;
        if !bounds.contains(&size.width) || !bounds.contains(&size.height) {
            let help = format!("width and height are {} to {} pixels", FrameSize::MIN, FrameSize::MAX);
            return Err(Misread::new(format!("{} is out of bounds", shown(text)), "out of bounds", help));
        }
        if size.width % 2 == 1 || size.height % 2 == 1 {
            return Err(Misread::new(
                format!("{} has an odd side", shown(text)),
                "odd side",
                format!(
                    "colour is coded for blocks of 2x2 pixels; write `{}x{}`",
                    size.width.next_multiple_of(2),
                    size.height.next_multiple_of(2)
                ),
            ));
        }
        Ok(size)
    }
    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[1-9][0-9]*[02468]x[1-9][0-9]*[02468]$",
            "examples": ["640x360"],
        })
    }
}

impl FrameSize {
    fn parse_pair(text: &str) -> Option<FrameSize> {
        let (width, height) = text.split_once('x')?;
        let side = |s: &str| s.bytes().all(|b| b.is_ascii_digit()).then(|| s.parse().ok()).flatten();
        Some(FrameSize { width: side(width)?, height: side(height)? })
    }
}

/// A whole number within bounds, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Whole<const MIN: u64, const MAX: u64>(pub u64);

impl<const MIN: u64, const MAX: u64> Value for Whole<MIN, MAX> {
    const PLAIN: bool = true;

    fn expected() -> String {
        format!("a whole number from {MIN} to {MAX}")
    }
    fn parse(text: &str) -> Result<Self, Misread> {
        let wrong = |why: &str, label| {
            let help = format!("write a whole number from {MIN} to {MAX}");
            Misread::new(format!("{} {why}", shown(text)), label, help)
        };
        if text.starts_with(['-', '\u{2212}']) {
            return Err(wrong("is negative", "negative"));
        }
        if text.contains(',') && text.bytes().all(|b| b.is_ascii_digit() || b == b',') {
            let whole = text.replace(',', "");
            let message = format!("{} has a comma in its number", shown(text));
            return Err(Misread::new(message, "comma", format!("leave it out: {}", shown(&whole))));
        }
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong("is not a whole number", "not a whole number"));
        }
        if let Some(misread) = leading_zero(text, text) {
            return Err(misread);
        }
        match text.parse() {
            Ok(number) if number < MIN => Err(wrong("is too small", "too small")),
            Ok(number) if number <= MAX => Ok(Whole(number)),
            _ => Err(wrong("is too large", "too large")),
        }
    }
    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

/// `0600` is another number, or none, to other YAML readers. `integer` are the digits that `text` begins with.
fn leading_zero(integer: &str, text: &str) -> Option<Misread> {
    let without = integer.trim_start_matches('0');
    let zeros = integer.len() - without.len() - usize::from(without.is_empty());
    (integer.len() > 1 && zeros > 0).then(|| {
        let message = format!("{} has a leading zero", shown(text));
        Misread::new(message, "leading zero", format!("write {}", shown(&text[zeros..])))
    })
}

fn duration(nanoseconds: u128) -> Duration {
    // 2^64 ns are 584 years; the bounds of each key are far below.
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

/// Writes a quantity in its largest unit that it reaches, without needless zeros.
fn write_quantity(f: &mut fmt::Formatter<'_>, smallest: u128, units: &[(&str, u128)]) -> fmt::Result {
    let largest = units.iter().rev().find(|(_, factor)| smallest >= *factor);
    // Zero is said in the larger units: `0 s`, not `0 us`.
    let Some((name, factor)) = largest.or(if smallest == 0 { units.last() } else { units.first() }) else {
        return write!(f, "{smallest}");
    };
    let (whole, rest) = (smallest / factor, smallest % factor);
    if rest == 0 {
        return write!(f, "{whole} {name}");
    }
    let width = factor.ilog10() as usize;
    let decimals = format!("{rest:0width$}");
    write!(f, "{whole}.{} {name}", decimals.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn help<T: Value + std::fmt::Debug>(text: &str) -> String {
        let misread = T::parse(text).expect_err(text);
        format!("{} | {}", misread.message, misread.help.unwrap_or_default())
    }

    #[test]
    fn quantities_are_read_exactly() {
        assert_eq!(Bandwidth::parse("2.5 Mbit/s"), Ok(Bandwidth(2_500_000)));
        assert_eq!(Bandwidth::parse("400 kbit/s"), Ok(Bandwidth(400_000)));
        assert_eq!(Bandwidth::parse("1Gbit/s"), Ok(Bandwidth(1_000_000_000)));
        assert_eq!(Bandwidth::parse("0.000001 Mbit/s"), Ok(Bandwidth(1)));
        assert_eq!(Delay::parse("50 us"), Ok(Delay(Duration::from_micros(50))));
        assert_eq!(Delay::parse("0.3 ms"), Ok(Delay(Duration::from_micros(300))));
        assert_eq!(Moment::parse("2 min"), Ok(Moment(Duration::from_secs(120))));
        assert_eq!(Moment::parse("0.07 s"), Ok(Moment(Duration::from_millis(70))));
        assert_eq!(Loss::parse("1 %"), Ok(Loss(0.01)));
        assert_eq!(Loss::parse("0.1%"), Ok(Loss(0.001)));
        assert_eq!(FrameSize::parse("640x360"), Ok(FrameSize { width: 640, height: 360 }));
    }

    #[test]
    fn a_missing_or_wrong_unit_gets_the_right_one_proposed() {
        assert_eq!(
            help::<Bandwidth>("4"),
            "`4` has no unit | write `4 Mbit/s`; units are bit/s, kbit/s, Mbit/s or Gbit/s"
        );
        assert!(help::<Bandwidth>("4 Mbps").contains("did you mean `4 Mbit/s`?"));
        assert!(help::<Bandwidth>("4 mbit/s").contains("did you mean `4 Mbit/s`?"));
        assert!(help::<Bandwidth>("4 MB/s").contains("counts bytes"));
        assert!(help::<Delay>("100").contains("write `100 ms`"));
        assert!(help::<Moment>("15").contains("write `15 s`"));
        assert!(help::<Moment>("15 sec").contains("did you mean `15 s`?"));
        assert!(help::<Delay>("15 µs").contains("did you mean `15 us`?"));
        assert!(help::<Loss>("1").contains("write `1 %`"));
        assert!(help::<Delay>("4 Mbit/s").contains("units are us, ms, s or min"));
    }

    #[test]
    fn what_is_no_plain_number_is_refused() {
        for text in
            ["", " ", "-4 Mbit/s", ".nan", "nan s", "inf", "4..5 s", "4. s", ".5 s", "2,5 s", "1e3 s", "s", "٣ s"]
        {
            assert!(Moment::parse(text).is_err(), "{text:?}");
            assert!(Bandwidth::parse(text).is_err(), "{text:?}");
        }
        assert!(help::<Moment>("2,5 s").contains("`2.5 s`"));
        assert!(help::<Moment>("99999999999999999999999 s").contains("far out of bounds"));
        assert!(help::<Delay>("0.0000001 us").contains("finer than a nanosecond"));
        assert!(help::<Delay>("0.00000000001 s").contains("more than nine decimals"));
    }

    #[test]
    fn sizes_have_bounds_and_even_sides() {
        assert!(help::<FrameSize>("641x360").contains("`642x360`"));
        assert!(help::<FrameSize>("640 x 360").contains("spaces"));
        assert!(help::<FrameSize>("640*360").contains("write `640x360`"));
        assert!(help::<FrameSize>("8x8").contains("out of bounds"));
        assert!(help::<FrameSize>("99999999999x10").contains("not a size"));
        assert!(help::<FrameSize>("640").contains("not a size"));
    }

    #[test]
    fn commas_for_thousands_are_not_taken_for_points() {
        let both = "leave out the comma, `10000 kbit/s`, or write a point, `10.000 kbit/s`, whichever is meant";
        assert!(help::<Bandwidth>("10,000 kbit/s").ends_with(both));
        for (text, meant) in [
            ("2,5 Mbit/s", "write a decimal point: `2.5 Mbit/s`"),
            ("0,125 Mbit/s", "write a decimal point: `0.125 Mbit/s`"),
            ("1234,567 kbit/s", "write a decimal point: `1234.567 kbit/s`"),
            ("1,000,000 bit/s", "leave out the commas: `1000000 bit/s`"),
            ("1,234.5 kbit/s", "leave out the comma: `1234.5 kbit/s`"),
            ("1.000,5 kbit/s", "write the number without commas"),
        ] {
            assert!(help::<Bandwidth>(text).contains(meant), "{}", help::<Bandwidth>(text));
        }
        assert!(help::<Whole<1, 1_000_000>>("1,000").ends_with("leave it out: `1000`"));
    }

    #[test]
    fn no_unit_of_another_size_is_suggested() {
        for text in ["20 ns", "20 ps", "5 mi", "3 ds"] {
            assert!(!help::<Delay>(text).contains("did you mean"), "{}", help::<Delay>(text));
        }
        for text in ["10 Tbit/s", "10 Pbit/s", "1 it/s"] {
            assert!(!help::<Bandwidth>(text).contains("did you mean"), "{}", help::<Bandwidth>(text));
        }
        assert!(!help::<UploadBuffer>("64 TB").contains("did you mean"));
        assert!(help::<Bandwidth>("4 Mbt/s").contains("did you mean `4 Mbit/s`?"));
        assert!(help::<Bandwidth>("4 Kbit/s").contains("did you mean `4 kbit/s`?"));
        assert!(help::<Delay>("20 MS").contains("did you mean `20 ms`?"));
    }

    #[test]
    fn numbers_with_leading_zeros_are_said_without() {
        assert!(help::<Moment>("007 s").contains("write `7 s`"));
        assert!(help::<Bandwidth>("00.5 Mbit/s").contains("write `0.5 Mbit/s`"));
        assert!(help::<UploadBuffer>("064 kB").contains("write `64 kB`"));
        assert!(help::<Loss>("01 %").contains("write `1 %`"));
        assert!(help::<FrameSize>("0640x360").contains("write `640`"));
        assert_eq!(Delay::parse("0 ms"), Ok(Delay(Duration::ZERO)));
    }

    #[test]
    fn whole_numbers_have_bounds() {
        type Fps = Whole<1, 120>;
        assert_eq!(Fps::parse("30"), Ok(Whole(30)));
        for (text, why) in [
            ("0", "too small"),
            ("121", "too large"),
            ("-3", "negative"),
            ("3.5", "not a whole"),
            ("08", "write `8`"),
            ("017", "write `17`"),
            ("00", "write `0`"),
            ("", "not a whole"),
            ("999999999999999999999999999999", "too large"),
        ] {
            assert!(help::<Fps>(text).contains(why), "{text}");
        }
    }

    #[test]
    fn quantities_are_said_in_their_largest_unit() {
        let said = |ns| Moment(Duration::from_nanos(ns)).to_string();
        assert_eq!(said(0), "0 s");
        assert_eq!(said(15_000_000_000), "15 s");
        assert_eq!(said(90_500_000_000), "90.5 s");
        assert_eq!(said(300_000_000), "300 ms");
        assert_eq!(said(1), "0.001 us");
        assert_eq!(Bandwidth(2_500_000).to_string(), "2.5 Mbit/s");
        assert_eq!(Bandwidth(999).to_string(), "999 bit/s");
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = (Bandwidth::parse(&text), Delay::parse(&text), Loss::parse(&text), FrameSize::parse(&text));
            let _ = Whole::<1, 5>::parse(&text);
        }

        #[test]
        fn what_is_said_is_read_back(bits in 0u64.., us in 0u64..1 << 40) {
            proptest::prop_assert_eq!(Bandwidth::parse(&Bandwidth(bits).to_string()).ok(), Some(Bandwidth(bits)));
            let delay = Delay(Duration::from_micros(us));
            proptest::prop_assert_eq!(Delay::parse(&delay.to_string()).ok(), Some(delay));
        }
    }
}

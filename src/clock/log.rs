//! The files of what was read: text, a line for each picture, and a last line that says that nothing is missing.
//!
//! | file | a line |
//! |---|---|
//! | `screen/<viewer>.csv` | a picture on the viewer's screen: [`Showing`] |
//! | `clock/<stream>.csv` | a frame of the stream and the clock in it |

use std::io::{self, BufRead, Write};

use crate::file::{Line, Lines};

/// The first line of a screen's file.
const SCREEN_HEADER: &str = "clock_ns,before_ns,first_ns,last_ns";
/// The first line of a stream's file.
const STREAM_HEADER: &str = "index,clock_ns";
/// How the last line begins.
const END: &str = "end,";

/// A picture on a screen, from when it was seen first to when it was seen last. All times are nanoseconds of
/// CLOCK_REALTIME.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Showing {
    /// When the picture was taken, as the clock in it says.
    pub clock_ns: i64,
    /// The last look before it was there.
    pub before_ns: i64,
    /// The first look at it.
    pub first_ns: i64,
    /// The last one.
    pub last_ns: i64,
}

/// How a screen was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Looks {
    /// Number of looks.
    pub looks: u64,
    /// At how many of them there was no whole clock: before the first picture, between two, after the last.
    pub without: u64,
    /// The longest time between two of them, in nanoseconds: pictures that were there for less may have been missed.
    pub longest_ns: i64,
}

/// What a screen's file holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScreenLog {
    /// The pictures, in the order in which they were shown.
    pub shown: Vec<Showing>,
    /// How it was looked at; `None`: the file has no end.
    pub looks: Option<Looks>,
    /// What cannot be read, for people.
    pub problem: Option<String>,
}

/// What a stream's file holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamLog {
    /// The clock of each frame, by index; `None`: it cannot be read.
    pub clock_ns: Vec<Option<i64>>,
    /// What cannot be read, for people.
    pub problem: Option<String>,
}

impl ScreenLog {
    /// Writes the beginning of a screen's file.
    ///
    /// # Errors
    /// When writing fails; here and below.
    pub fn begin(mut to: impl Write) -> io::Result<()> {
        writeln!(to, "{SCREEN_HEADER}")
    }

    /// Writes a picture.
    ///
    /// # Errors
    /// As [`ScreenLog::begin`].
    pub fn write(mut to: impl Write, shown: &Showing) -> io::Result<()> {
        let Showing { clock_ns, before_ns, first_ns, last_ns } = shown;
        writeln!(to, "{clock_ns},{before_ns},{first_ns},{last_ns}")
    }

    /// Writes the end, after so many pictures.
    ///
    /// # Errors
    /// As [`ScreenLog::begin`].
    pub fn end(mut to: impl Write, pictures: u64, looks: &Looks) -> io::Result<()> {
        writeln!(to, "{END}{pictures},{},{},{}", looks.looks, looks.without, looks.longest_ns)
    }

    /// Reads a screen's file as far as it can be read.
    ///
    /// # Errors
    /// When reading fails.
    pub fn read(source: impl BufRead) -> io::Result<Self> {
        let mut log = Self::default();
        let mut lines = Rows::new(source, SCREEN_HEADER)?;
        let end = lines.each(|numbers| {
            let [clock_ns, before_ns, first_ns, last_ns] = numbers.try_into().ok()?;
            log.shown.push(Showing { clock_ns, before_ns, first_ns, last_ns });
            Some(())
        })?;
        if let Some([pictures, looks, without, longest_ns]) = end.and_then(|end| <[i64; 4]>::try_from(end).ok()) {
            let count = |n: i64| u64::try_from(n).unwrap_or_default();
            log.looks = Some(Looks { looks: count(looks), without: count(without), longest_ns });
            lines.hold(pictures, log.shown.len());
        }
        log.problem = lines.problem;
        Ok(log)
    }
}

impl StreamLog {
    /// Writes a stream's file whole: the clock of each frame, by index.
    ///
    /// # Errors
    /// When writing fails.
    pub fn write(mut to: impl Write, clock_ns: &[Option<i64>]) -> io::Result<()> {
        writeln!(to, "{STREAM_HEADER}")?;
        for (index, clock_ns) in clock_ns.iter().enumerate() {
            let shown = clock_ns.map_or_else(String::new, |ns| ns.to_string());
            writeln!(to, "{index},{shown}")?;
        }
        writeln!(to, "{END}{}", clock_ns.len())
    }

    /// Reads a stream's file as far as it can be read.
    ///
    /// # Errors
    /// When reading fails.
    pub fn read(source: impl BufRead) -> io::Result<Self> {
        let mut log = Self::default();
        let mut lines = Rows::new(source, STREAM_HEADER)?;
        let end = lines.each(|numbers| {
            let (index, clock_ns) = match *numbers {
                [index] => (index, None),
                [index, clock_ns] => (index, Some(clock_ns)),
                _ => return None,
            };
            (usize::try_from(index) == Ok(log.clock_ns.len())).then(|| log.clock_ns.push(clock_ns))
        })?;
        if let Some([frames]) = end.and_then(|end| <[i64; 1]>::try_from(end).ok()) {
            lines.hold(frames, log.clock_ns.len());
        }
        log.problem = lines.problem;
        Ok(log)
    }
}

/// The lines of such a file, as numbers.
struct Rows<R> {
    lines: Lines<R>,
    problem: Option<String>,
}

impl<R: BufRead> Rows<R> {
    fn new(source: R, header: &str) -> io::Result<Self> {
        let mut lines = Self { lines: Lines::new(source), problem: None };
        if lines.next()?.as_deref() != Some(header) {
            lines.problem = Some(format!("it does not begin with `{header}`"));
        }
        Ok(lines)
    }

    /// A whole line without its newline.
    fn next(&mut self) -> io::Result<Option<String>> {
        Ok(match self.lines.next()? {
            Some(Line::Whole(text)) => Some(String::from_utf8_lossy(text).into_owned()),
            Some(Line::CutOff) | None => None,
        })
    }

    /// Hands the numbers of each line on, up to the end, whose numbers are returned. A field at the end of a line may
    /// be empty.
    fn each(&mut self, mut take: impl FnMut(&[i64]) -> Option<()>) -> io::Result<Option<Vec<i64>>> {
        if self.problem.is_some() {
            return Ok(None);
        }
        let mut whole = self.lines.number;
        while let Some(line) = self.next()? {
            whole = self.lines.number;
            let numbers = |text: &str| {
                text.trim_end_matches(',').split(',').map(str::parse).collect::<Result<Vec<i64>, _>>().ok()
            };
            if let Some(end) = line.strip_prefix(END) {
                return Ok(numbers(end));
            }
            if numbers(&line).and_then(|numbers| take(&numbers)).is_none() {
                self.problem = Some(format!("line {} cannot be read: {line:?}", self.lines.number));
                return Ok(None);
            }
        }
        self.problem = Some(format!("it is cut off after line {whole}"));
        Ok(None)
    }

    /// Holds what the end says against what was read.
    fn hold(&mut self, said: i64, read: usize) {
        if usize::try_from(said) != Ok(read) {
            self.problem.get_or_insert(format!("it claims to hold {said} pictures, but holds {read}"));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn screen() -> (Vec<u8>, ScreenLog) {
        let showing = |n: i64| Showing {
            clock_ns: n * 100,
            before_ns: n * 100 + 20,
            first_ns: n * 100 + 21,
            last_ns: n * 100 + 119,
        };
        let shown: Vec<Showing> = (1..4).map(showing).collect();
        let looks = Looks { looks: 300, without: 3, longest_ns: 5 };
        let mut text = Vec::new();
        ScreenLog::begin(&mut text).unwrap();
        shown.iter().for_each(|shown| ScreenLog::write(&mut text, shown).unwrap());
        ScreenLog::end(&mut text, 3, &looks).unwrap();
        (text, ScreenLog { shown, looks: Some(looks), problem: None })
    }

    #[test]
    fn what_was_written_is_read() {
        let (text, log) = screen();
        assert_eq!(ScreenLog::read(text.as_slice()).unwrap(), log);
        let clocks = [Some(5), None, Some(7)];
        let mut text = Vec::new();
        StreamLog::write(&mut text, &clocks).unwrap();
        assert_eq!(StreamLog::read(text.as_slice()).unwrap(), StreamLog { clock_ns: clocks.into(), problem: None });
    }

    #[test]
    fn truncated_at_every_byte_it_says_so_and_nothing_is_made_up() {
        let (text, whole) = screen();
        for len in 0..text.len() {
            let read = ScreenLog::read(&text[..len]).unwrap();
            assert!(read.problem.is_some(), "{len}");
            assert!(whole.shown.starts_with(&read.shown));
        }
    }

    #[test]
    fn a_line_that_is_gone_is_missed() {
        let (text, _) = screen();
        let text = String::from_utf8(text).unwrap();
        let fewer: String =
            text.lines().enumerate().filter(|(n, _)| *n != 2).map(|(_, line)| format!("{line}\n")).collect();
        let problem = ScreenLog::read(fewer.as_bytes()).unwrap().problem.unwrap();
        assert_eq!(problem, "it claims to hold 3 pictures, but holds 2");
        let problem = StreamLog::read("index,clock_ns\n0,5\n2,6\nend,2\n".as_bytes()).unwrap().problem.unwrap();
        assert_eq!(problem, r#"line 3 cannot be read: "2,6""#);
    }
}

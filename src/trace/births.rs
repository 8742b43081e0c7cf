//! The log of births that a broadcaster's agent wrote; its lines are [`wire::birth`](livectl_wire::birth)'s.

use std::io::{self, BufRead};

use livectl_wire::birth::{Birth, BirthKind, HEADER};

use crate::file::{Line, Lines};

/// What one encoder emitted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Births {
    /// The frames, in the order of their births.
    pub frames: Vec<Birth>,
    /// Everything else: sound, metadata, codec headers.
    pub others: Vec<Birth>,
    /// What could not be read, for people.
    pub problems: Vec<String>,
}

impl Births {
    /// Reads a log. A line that cannot be read is passed over and named; a last one without its newline was cut off
    /// when the trial ended, and is named too.
    ///
    /// # Errors
    /// When reading fails.
    pub fn read(source: impl BufRead) -> io::Result<Self> {
        let mut births = Self::default();
        let (mut unreadable, mut first) = (0u64, None);
        let mut lines = Lines::new(source);
        loop {
            let number = lines.number + 1;
            let text = match lines.next()? {
                None => break,
                Some(Line::CutOff) => {
                    births.problems.push(format!("line {number} is cut off"));
                    break;
                }
                Some(Line::Whole(text)) => String::from_utf8_lossy(text),
            };
            match text.parse::<Birth>() {
                Ok(birth) if birth.kind == BirthKind::Video => births.frames.push(birth),
                Ok(birth) => births.others.push(birth),
                Err(_) if number == 1 && text == HEADER => {}
                Err(error) => {
                    unreadable += 1;
                    first.get_or_insert(format!("line {number}: {error}"));
                }
            }
        }
        if let Some(first) = first {
            births.problems.push(format!("{unreadable} lines cannot be read; the first is {first}"));
        }
        let misplaced = births.frames.iter().zip(0u64..).find(|(birth, index)| birth.index != *index);
        if let Some((birth, index)) = misplaced {
            births.problems.push(format!("frame {} is where frame {index} should be", birth.index));
        }
        let backwards = births.frames.windows(2).find(|pair| pair[1].birth_ns < pair[0].birth_ns);
        if let Some([before, birth]) = backwards {
            let by = (before.birth_ns - birth.birth_ns) as f64 / 1e9;
            births.problems.push(format!("frame {} was born {by:.3} s before the one that it follows", birth.index));
        }
        Ok(births)
    }
}

impl Births {
    /// The log, as an agent writes it: frames and all else in the order of their births.
    #[must_use]
    pub fn text(&self) -> String {
        let mut all: Vec<&Birth> = self.others.iter().chain(&self.frames).collect();
        all.sort_by_key(|birth| birth.birth_ns);
        let lines: String = all.into_iter().map(|birth| format!("{birth}\n")).collect();
        format!("{HEADER}\n{lines}")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use livectl_wire::birth::Register;
    use livectl_wire::flv::TagKind;

    fn log() -> (String, Vec<Birth>) {
        let mut register = Register::default();
        let tags: [(TagKind, &[u8]); 4] = [
            (TagKind::Script, b"\x02\x00\x0aonMetaData"),
            (TagKind::Video, &[0x17, 0]),
            (TagKind::Video, &[0x17, 1, 5]),
            (TagKind::Video, &[0x27, 1, 6]),
        ];
        let births: Vec<Birth> =
            tags.iter().map(|(kind, payload)| register.birth(*kind, 40, payload, 1_000)).collect();
        let lines: String = births.iter().map(|birth| format!("{birth}\n")).collect();
        (format!("{HEADER}\n{lines}"), births)
    }

    #[test]
    fn what_was_written_is_read() {
        let (text, births) = log();
        let read = Births::read(text.as_bytes()).unwrap();
        assert_eq!(read.frames, births[2..]);
        assert_eq!(read.others, births[..2]);
        assert_eq!(read.problems, Vec::<String>::new());
    }

    #[test]
    fn truncated_at_every_byte_no_line_is_made_up() {
        let (text, births) = log();
        for len in 0..text.len() {
            let read = Births::read(&text.as_bytes()[..len]).unwrap();
            let whole = text[..len].matches('\n').count().saturating_sub(1);
            assert_eq!(read.frames.len() + read.others.len(), whole, "{len}");
            assert!(read.frames.iter().all(|birth| births.contains(birth)));
            let cut = len > 0 && !text[..len].ends_with('\n');
            assert_eq!(read.problems.iter().any(|problem| problem.ends_with("is cut off")), cut, "{len}");
        }
    }

    #[test]
    fn damaged_lines_are_named() {
        let (text, _) = log();
        let damaged = text.replacen("video,40,3,1", "video,40,3,?", 1);
        let read = Births::read(damaged.as_bytes()).unwrap();
        let expected = [
            "1 lines cannot be read; the first is line 4: `?` is not a valid keyframe",
            "frame 1 is where frame 0 should be",
        ];
        assert_eq!(read.problems, expected);

        let (text, births) = log();
        let earlier = Birth { birth_ns: births[3].birth_ns - 750_000_000, ..births[3] };
        let read = Births::read(text.replace(&births[3].to_string(), &earlier.to_string()).as_bytes()).unwrap();
        assert_eq!(read.problems, ["frame 1 was born 0.750 s before the one that it follows"]);
    }
}

//! A broadcaster's log of births, read while it is written.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;

use livectl_wire::birth::Birth;

use crate::file;

/// Lines taken at a time: seconds of any stream.
const MOST_LINES: usize = 4096;
/// No line of births is longer.
const LONGEST: usize = 512;

/// The log, up to where it has been read.
#[derive(Debug)]
pub(super) struct Newborn {
    path: PathBuf,
    reader: Option<BufReader<File>>,
    /// A line whose end has not been written yet.
    begun: Vec<u8>,
}

impl Newborn {
    /// Of a log that may not be there yet.
    pub(super) fn new(path: PathBuf) -> Newborn {
        Newborn { path, reader: None, begun: Vec::new() }
    }

    /// What has been written since the last time. A log that cannot be read has nothing to tell: this is for the
    /// screen.
    pub(super) fn read(&mut self) -> Vec<Birth> {
        let Newborn { path, reader, begun } = self;
        if reader.is_none() {
            *reader = file::open(path).ok().map(BufReader::new);
        }
        let Some(reader) = reader else { return Vec::new() };
        let mut births = Vec::new();
        for _ in 0..MOST_LINES {
            // The end of the file is the end for now.
            if !matches!(reader.read_until(b'\n', begun), Ok(1..)) || !begun.ends_with(b"\n") {
                break;
            }
            births.extend(std::str::from_utf8(begun).ok().and_then(|line| line.trim_end().parse::<Birth>().ok()));
            begun.clear();
        }
        if begun.len() > LONGEST {
            begun.clear();
        }
        births
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write as _;

    use livectl_wire::birth::{HEADER, Register};
    use livectl_wire::flv::TagKind;

    use super::*;

    #[test]
    fn lines_come_when_they_are_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hb.csv");
        let mut newborn = Newborn::new(path.clone());
        assert_eq!(newborn.read(), [], "not there yet");
        let mut register = Register::default();
        let [first, second, third] = [1, 2, 3].map(|n| register.birth(TagKind::Video, n, &[0x12, n as u8], 5));
        let mut log = File::create(&path).unwrap();
        let text = second.to_string();
        let (part, rest) = text.split_at(20);
        write!(log, "{HEADER}\n{first}\n{part}").unwrap();
        assert_eq!(newborn.read(), [first]);
        assert_eq!(newborn.read(), []);
        write!(log, "{rest}\nthis is none\n{third}\n").unwrap();
        assert_eq!(newborn.read(), [second, third]);
    }
}

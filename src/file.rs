//! Opening the files of a run, which may have passed through other hands.

use std::fs::File;
use std::io::{self, BufRead, ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::libc::O_NONBLOCK;

/// Opens a file to read it. A pipe in its place would be waited on for ever, and a device may have no end: whatever
/// is no file is refused.
///
/// # Errors
/// What the system says, or that it is no file.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let file = File::options().read(true).custom_flags(O_NONBLOCK).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        return Ok(file);
    }
    let what = if kind.is_dir() { "a folder" } else { "a pipe or a device" };
    Err(io::Error::new(ErrorKind::InvalidInput, format!("it is {what} and not a file")))
}

/// All that is in a file: see [`open`].
///
/// # Errors
/// As [`open`], and those of reading.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The lines of a text, however it passed through other hands: their ends may have become CR LF (git's `autocrlf`, editors of Windows), and a byte order
/// mark may stand before the first.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    source: R,
    bytes: Vec<u8>,
    /// Lines so far, with the one that was cut off.
    pub(crate) number: u64,
}

/// A line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// Without its end.
    Whole(&'a [u8]),
    /// The last one, whose end is missing.
    CutOff,
}

impl<R: BufRead> Lines<R> {
    /// The lines of what `source` holds from here on.
    pub(crate) fn new(source: R) -> Lines<R> {
        Lines { source, bytes: Vec::new(), number: 0 }
    }

    /// The next line; `None`: there are no more.
    ///
    /// # Errors
    /// When reading fails.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.bytes.clear();
        if self.source.read_until(b'\n', &mut self.bytes)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        let Some(line) = self.bytes.strip_suffix(b"\n") else { return Ok(Some(Line::CutOff)) };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let is_first = self.number == 1;
        Ok(Some(Line::Whole(line.strip_prefix(b"\xEF\xBB\xBF").filter(|_| is_first).unwrap_or(line))))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn files_are_read_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("file"), "whole").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        assert_eq!((read(&at("file")).unwrap(), read(&at("link")).unwrap()), (b"whole".to_vec(), b"whole".to_vec()));
        assert_eq!(read(folder.path()).unwrap_err().to_string(), "it is a folder and not a file");
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for other in [at("pipe"), "/dev/zero".into()] {
            assert_eq!(read(&other).unwrap_err().to_string(), "it is a pipe or a device and not a file");
        }
        assert_eq!(read(&at("none")).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn lines_end_as_they_like() {
        let of = |text: &str| {
            let mut lines = Lines::new(text.as_bytes());
            let mut all = Vec::new();
            while let Some(line) = lines.next().unwrap() {
                all.push(match line {
                    Line::Whole(line) => String::from_utf8(line.to_vec()).unwrap(),
                    Line::CutOff => "cut off".to_owned(),
                });
            }
            (all.join("|"), lines.number)
        };
        assert_eq!(of("a,b\n\nc\n"), ("a,b||c".into(), 3));
        assert_eq!(of("\u{FEFF}a,b\r\n\r\nc\rd\r\n"), ("a,b||c\rd".into(), 3));
        assert_eq!(of("a\nb"), ("a|cut off".into(), 2));
        assert_eq!(of("a\r\nb\r"), ("a|cut off".into(), 2));
        assert_eq!(of(""), (String::new(), 0));
    }
}

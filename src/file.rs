//! Opening the files of a run, which may have passed through other hands.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
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
}

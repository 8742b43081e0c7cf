//! The log of births, written by a thread of its own, since a disk may be slow.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::{Builder, JoinHandle};

use livectl_wire::birth::{Birth, HEADER};

/// Every line is on its way to the file as soon as no further one waits.
#[derive(Debug)]
pub(super) struct BirthLog {
    path: PathBuf,
    queue: mpsc::Sender<Birth>,
    writer: JoinHandle<io::Result<()>>,
}

/// The log cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the births to {}: {source}", path.display())]
pub struct BirthLogError {
    path: PathBuf,
    source: io::Error,
}

impl BirthLog {
    pub(super) fn create(path: &Path) -> Result<Self, BirthLogError> {
        let failed = |source| BirthLogError { path: path.to_owned(), source };
        let mut file = BufWriter::new(File::create(path).map_err(failed)?);
        writeln!(file, "{HEADER}").and_then(|()| file.flush()).map_err(failed)?;
        let (queue, births) = mpsc::channel::<Birth>();
        let write = move || {
            while let Ok(birth) = births.recv() {
                writeln!(file, "{birth}")?;
                for birth in births.try_iter() {
                    writeln!(file, "{birth}")?;
                }
                file.flush()?;
            }
            Ok(())
        };
        let writer = Builder::new().name("birth-log".into()).spawn(write).map_err(failed)?;
        Ok(Self { path: path.to_owned(), queue, writer })
    }

    /// Hands a birth to the writer; false when it has given up, whose error [`BirthLog::close`] tells.
    pub(super) fn write(&self, birth: Birth) -> bool {
        self.queue.send(birth).is_ok()
    }

    /// Waits until everything is written.
    pub(super) fn close(self) -> Result<(), BirthLogError> {
        let Self { path, queue, writer } = self;
        drop(queue);
        let panicked = |_| Err(io::Error::other("the writer panicked"));
        writer.join().unwrap_or_else(panicked).map_err(|source| BirthLogError { path, source })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use livectl_wire::birth::Register;
    use livectl_wire::flv::TagKind;

    use super::*;

    #[test]
    fn lines_are_there_at_once_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hb.csv");
        let log = BirthLog::create(&path).unwrap();
        let mut register = Register::default();
        let births: Vec<Birth> = (0..3).map(|n| register.birth(TagKind::Video, n, &[0x12, n as u8], 5)).collect();
        births.iter().for_each(|birth| assert!(log.write(*birth)));
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        let text = loop {
            let text = std::fs::read_to_string(&path).unwrap();
            if text.lines().count() == 4 {
                break text;
            }
            assert!(std::time::Instant::now() < deadline, "{text}");
            std::thread::yield_now();
        };
        let read: Vec<Birth> = text.lines().skip(1).map(|line| line.parse().unwrap()).collect();
        assert_eq!((text.lines().next(), read), (Some(HEADER), births));
        log.close().unwrap();
    }

    #[test]
    fn a_folder_that_is_not_there_and_a_full_disk() {
        let error = BirthLog::create(Path::new("/nowhere/hb.csv")).unwrap_err().to_string();
        assert!(error.starts_with("cannot write the births to /nowhere/hb.csv: "), "{error}");
        let full = BirthLog::create(Path::new("/dev/full")).map(|log| {
            log.write(Register::default().birth(TagKind::Video, 0, &[0x12], 5));
            log.close()
        });
        let error = full.and_then(|closed| closed).unwrap_err().to_string();
        assert!(error.contains("No space left on device"), "{error}");
    }
}

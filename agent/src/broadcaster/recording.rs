//! The stream as its program gave it, in a file, written by a thread of its own, since a disk may be slow.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, TrySendError};
use std::thread::{Builder, JoinHandle};

use livectl_wire::flv;

/// Tags that may wait for the disk: some ten seconds' worth. A disk that is slower than that is slower than the
/// stream.
const WAITING: usize = 1024;

/// An FLV file that grows with the stream.
#[derive(Debug)]
pub(super) struct Recording {
    path: PathBuf,
    queue: mpsc::SyncSender<Arc<[u8]>>,
    writer: JoinHandle<io::Result<()>>,
}

/// The recording is not whole.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the recording to {}: {source}", path.display())]
pub struct RecordingError {
    path: PathBuf,
    source: io::Error,
}

impl Recording {
    pub(super) fn create(path: &Path) -> Result<Self, RecordingError> {
        let failed = |source| RecordingError { path: path.to_owned(), source };
        let mut file = BufWriter::new(File::create(path).map_err(failed)?);
        // Which of the two there will be is not known yet; readers look at the tags.
        file.write_all(&flv::header(true, true)).and_then(|()| file.flush()).map_err(failed)?;
        let (queue, tags) = mpsc::sync_channel::<Arc<[u8]>>(WAITING);
        let write = move || {
            for tag in tags {
                file.write_all(&tag)?;
            }
            file.flush()
        };
        let writer = Builder::new().name("recording".into()).spawn(write).map_err(failed)?;
        Ok(Self { path: path.to_owned(), queue, writer })
    }

    /// Hands a tag to the writer, and never waits for it. False when the writer has given up, whose error
    /// [`Recording::close`] tells, or is too far behind: then the recording is over, since one with a hole would be
    /// worse than a short one.
    pub(super) fn write(&self, tag: &Arc<[u8]>) -> bool {
        match self.queue.try_send(Arc::clone(tag)) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }

    /// Waits until everything is written.
    pub(super) fn close(self) -> Result<(), RecordingError> {
        let Self { path, queue, writer } = self;
        drop(queue);
        let panicked = |_| Err(io::Error::other("the writer panicked"));
        writer.join().unwrap_or_else(panicked).map_err(|source| RecordingError { path, source })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use livectl_wire::flv::{MAX_PAYLOAD, Reader, TagKind};

    use super::*;

    #[test]
    fn what_was_recorded_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hb.flv");
        let recording = Recording::create(&path).unwrap();
        let payloads: Vec<Vec<u8>> = (0..20u8).map(|n| vec![0x12, n, 3, 4]).collect();
        for (n, payload) in payloads.iter().enumerate() {
            let mut tag = Vec::new();
            flv::tag(TagKind::Video, n as u32 * 33, payload, &mut tag).unwrap();
            assert!(recording.write(&tag.into()));
        }
        recording.close().unwrap();
        let mut read = Vec::new();
        let mut reader = Reader::new(MAX_PAYLOAD);
        reader.push(&std::fs::read(&path).unwrap(), |tag| read.push(tag.payload.to_vec())).unwrap();
        assert_eq!((read, reader.tail()), (payloads, None));
    }

    #[test]
    fn a_folder_that_is_not_there_and_a_full_disk() {
        let error = Recording::create(Path::new("/nowhere/hb.flv")).unwrap_err().to_string();
        assert!(error.starts_with("cannot write the recording to /nowhere/hb.flv: "), "{error}");
        let error = Recording::create(Path::new("/dev/full")).unwrap_err().to_string();
        assert!(error.contains("No space left on device"), "{error}");
    }
}

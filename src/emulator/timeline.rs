//! How the emulator is told when a trial's timeline begins: a line at a Unix socket, `zero 123456789\n` with
//! nanoseconds of CLOCK_MONOTONIC, and its answer, `ok\n`, once every packet that comes from then on meets the links
//! as the timeline has them.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::delivery;
use super::report::TimelineHeard;

/// For a line, and for its answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a line at most.
const LONGEST_LINE: u64 = 64;
const ANSWER: &[u8] = b"ok\n";

/// Why the emulated links do not know when the timeline begins.
#[derive(Debug, thiserror::Error)]
pub enum TellError {
    /// The socket.
    #[error("cannot tell the emulated links at {} that the timeline begins: {source}", path.display())]
    Socket {
        /// Path of the file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// They did not answer, or something else.
    #[error("the emulated links did not confirm the beginning of the timeline within {PATIENCE:?}")]
    Unheard,
}

/// The emulator's end.
pub(super) struct Listener(UnixListener);

impl Listener {
    pub(super) fn bind(path: &Path) -> io::Result<Listener> {
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        Ok(Listener(listener))
    }

    /// Hears who is there. If it is the beginning, `begin` is called with it before the answer goes.
    pub(super) fn hear(&self, begin: impl FnOnce(u64)) -> Option<TimelineHeard> {
        let (mut stream, _) = self.0.accept().ok()?;
        stream.set_nonblocking(false).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let zero_ns = parse(&line(&stream)?)?;
        begin(zero_ns);
        let heard_after_ns = delivery::now().ok()?.saturating_sub(zero_ns);
        // A side that does not hear the answer fails by itself.
        let _ = stream.write_all(ANSWER);
        Some(TimelineHeard { zero_ns, heard_after_ns })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn line(stream: &UnixStream) -> Option<String> {
    let mut line = String::new();
    BufReader::new(stream.take(LONGEST_LINE)).read_line(&mut line).ok()?;
    line.strip_suffix('\n').map(str::to_owned)
}

fn parse(line: &str) -> Option<u64> {
    line.strip_prefix("zero ")?.parse().ok().filter(|zero| *zero > 0)
}

/// Nanoseconds of CLOCK_MONOTONIC.
///
/// # Errors
/// When the kernel does not tell.
pub fn monotonic_ns() -> io::Result<u64> {
    Ok(delivery::now()?)
}

/// Tells the emulator at `path` that the timeline began at `zero_ns`.
///
/// # Errors
/// When it is not there or does not answer.
pub async fn tell(path: &Path, zero_ns: u64) -> Result<(), TellError> {
    let socket = |source| TellError::Socket { path: path.to_owned(), source };
    let talk = async {
        let mut stream = tokio::net::UnixStream::connect(path).await.map_err(socket)?;
        stream.write_all(format!("zero {zero_ns}\n").as_bytes()).await.map_err(socket)?;
        let mut answer = [0; ANSWER.len()];
        stream.read_exact(&mut answer).await.map_err(|_| TellError::Unheard)?;
        if answer == ANSWER { Ok(()) } else { Err(TellError::Unheard) }
    };
    tokio::time::timeout(PATIENCE, talk).await.map_err(|_| TellError::Unheard)?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[tokio::test]
    async fn who_tells_is_heard_and_answered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let error = tell(&path, 5).await.unwrap_err().to_string();
        assert!(error.contains("cannot tell the emulated links at"), "{error}");
        let listener = Listener::bind(&path).unwrap();
        assert_eq!(listener.hear(|_| panic!("nobody is there")), None);
        let hearing = std::thread::spawn(move || {
            let mut begun = None;
            loop {
                if let Some(heard) = listener.hear(|zero| begun = Some(zero)) {
                    return (heard, begun);
                }
                std::thread::yield_now();
            }
        });
        let zero = monotonic_ns().unwrap();
        tell(&path, zero).await.unwrap();
        let (heard, begun) = hearing.join().unwrap();
        assert_eq!((heard.zero_ns, begun), (zero, Some(zero)));
    }

    #[test]
    fn lines_that_are_none_begin_nothing() {
        assert_eq!(parse("zero 123"), Some(123));
        for other in ["", "zero", "zero x", "zero -1", "zero 0", "one 5"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}

//! Lines for whoever reads stdout or stderr, written by a thread of their own: a reader that does not read, a full
//! disk or a pipe without a reader costs lines, and never holds up a packet or ends the controller.

use std::io::{self, ErrorKind, Write};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Lines that may wait.
pub const WAITING: usize = 4096;
/// What cannot be written, because a disk is full or a pipe that does not wait is, is tried again after so long.
/// Nothing tells when a disk has room again.
const RETRY: Duration = Duration::from_millis(100);

/// Where lines are handed in.
#[derive(Debug, Clone)]
pub struct Lines<T>(SyncSender<Option<T>>);

impl<T> Lines<T> {
    /// Has a line written, without waiting; says whether it will be. When nothing can be written any more, it is as
    /// good as written.
    pub fn offer(&self, line: T) -> bool {
        !matches!(self.0.try_send(Some(line)), Err(TrySendError::Full(_)))
    }
}

/// The thread that writes them.
#[derive(Debug)]
pub struct LineWriter<T> {
    lines: Option<Lines<T>>,
    /// Set once no more lines are to be taken than those that wait: what is to be written behind them.
    last: Arc<OnceLock<Option<T>>>,
    done: Receiver<()>,
}

impl<T: Clone + Send + Sync + 'static> LineWriter<T> {
    /// Writes to `out`, which must not keep anything back, from now on: line by line, each as `form` makes it.
    /// `trouble` hears when a line cannot be written, once until lines can be written again.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        name: &str,
        out: impl Write + Send + 'static,
        form: impl Fn(T) -> Vec<u8> + Send + 'static,
        trouble: impl Fn(&io::Error) + Send + 'static,
    ) -> io::Result<Self> {
        let (lines, incoming) = sync_channel(WAITING);
        let (finished, done) = sync_channel(1);
        let last = Arc::new(OnceLock::new());
        let end = Arc::clone(&last);
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            if write_all(out, &incoming, &end, form, &trouble).is_ok() {
                let _ = finished.send(());
            }
        })?;
        Ok(Self { lines: Some(Lines(lines)), last, done })
    }

    /// Where lines are handed in; `None` once it is finished.
    #[must_use]
    pub fn lines(&self) -> Option<&Lines<T>> {
        self.lines.as_ref()
    }

    /// Waits until all lines are written, and `last` behind them, but not beyond `deadline`. Nothing is taken after
    /// that.
    pub fn finish(&mut self, last: Option<T>, deadline: Instant) {
        let Some(Lines(lines)) = self.lines.take() else { return };
        let _ = self.last.set(last);
        // Wakes the thread, should it wait for a line. When there is no room for this, it does not wait, and sees the
        // end by itself.
        let _ = lines.try_send(None);
        let _ = self.done.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

/// Writes until the end is said and all lines before it are written.
///
/// # Errors
/// When nobody can read any more.
fn write_all<T: Clone>(
    mut out: impl Write,
    incoming: &Receiver<Option<T>>,
    end: &OnceLock<Option<T>>,
    form: impl Fn(T) -> Vec<u8>,
    trouble: &impl Fn(&io::Error),
) -> io::Result<()> {
    loop {
        let line = match incoming.try_recv() {
            Err(TryRecvError::Empty) if end.get().is_none() => incoming.recv().ok().flatten(),
            line => line.ok().flatten(),
        };
        match (line, end.get()) {
            (Some(line), _) => write(&mut out, &form(line), trouble)?,
            (None, Some(Some(last))) => return write(&mut out, &form(last.clone()), trouble),
            (None, _) => return Ok(()),
        }
    }
}

/// Writes a whole line, however long that takes, so that there are never parts of lines.
fn write(out: &mut impl Write, mut bytes: &[u8], trouble: &impl Fn(&io::Error)) -> io::Result<()> {
    let mut is_told = false;
    while !bytes.is_empty() {
        let error = match out.write(bytes) {
            Ok(written @ 1..) => {
                bytes = bytes.get(written..).unwrap_or_default();
                continue;
            }
            Ok(_) => ErrorKind::WriteZero.into(),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => error,
        };
        if !std::mem::replace(&mut is_told, true) {
            trouble(&error);
        }
        if error.kind() == ErrorKind::BrokenPipe {
            return Err(error);
        }
        std::thread::sleep(RETRY);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::Mutex;

    /// A disk that is full at times.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(usize, Vec<u8>)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut disk = self.0.lock().unwrap();
            let fits = disk.0.min(bytes.len());
            disk.0 -= fits;
            disk.1.extend_from_slice(&bytes[..fits]);
            if fits == 0 { Err(ErrorKind::StorageFull.into()) } else { Ok(fits) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn seconds(number: u64) -> Instant {
        Instant::now() + Duration::from_secs(number)
    }

    #[test]
    fn lines_go_on_once_there_is_room_again_and_none_is_cut() {
        let disk = Disk::default();
        disk.0.lock().unwrap().0 = 9;
        let troubles = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&troubles);
        let hear = move |error: &io::Error| heard.lock().unwrap().push(error.kind());
        let mut writer =
            LineWriter::start("test", disk.clone(), |line: &str| format!("{line}\n").into(), hear).unwrap();
        for line in ["first", "second", "third"] {
            assert!(writer.lines().unwrap().offer(line));
        }
        while disk.0.lock().unwrap().1 != b"first\nsec" {
            std::thread::yield_now();
        }
        disk.0.lock().unwrap().0 = 1000;
        writer.finish(Some("last"), seconds(10));
        assert_eq!(disk.0.lock().unwrap().1, b"first\nsecond\nthird\nlast\n");
        assert_eq!(*troubles.lock().unwrap(), [ErrorKind::StorageFull], "told once");
    }

    #[test]
    fn what_can_never_be_written_is_not_waited_for() {
        let mut writer = LineWriter::start("test", Disk::default(), |line: Vec<u8>| line, |_| {}).unwrap();
        let refused = (0..2 * WAITING).filter(|_| !writer.lines().unwrap().offer(vec![b'x'])).count();
        assert!((WAITING - 1..=WAITING).contains(&refused), "{refused}");
        let begun = Instant::now();
        writer.finish(Some(vec![b'y']), begun + Duration::from_millis(50));
        assert!(begun.elapsed() >= Duration::from_millis(50));
        assert!(writer.lines().is_none());
    }
}

//! Lines for whoever reads stdout or stderr, written by a thread of their own: a reader that does not read, a full disk or a pipe without a
//! reader costs lines, and never holds up a packet or ends the controller.

use std::io::{self, ErrorKind, Write};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

/// Lines that may wait.
pub const WAITING: usize = 4096;
/// What cannot be written, because a disk is full or a pipe that does not wait is, is tried again after so long.
const RETRY: Duration = Duration::from_millis(100);
/// How often room for a last line is looked for.
const LOOK: Duration = Duration::from_millis(5);

/// Where lines are handed in.
#[derive(Debug, Clone)]
pub struct Lines<T>(SyncSender<Option<T>>);

impl<T> Lines<T> {
    /// Has a line written, without waiting; says whether it will be. When nothing can be written any more, it is as good as written.
    pub fn offer(&self, line: T) -> bool {
        !matches!(self.0.try_send(Some(line)), Err(TrySendError::Full(_)))
    }
}

/// The thread that writes them.
#[derive(Debug)]
pub struct LineWriter<T> {
    lines: Option<Lines<T>>,
    done: Receiver<()>,
}

impl<T: Send + 'static> LineWriter<T> {
    /// Writes to `out` from now on, line by line, each as `form` makes it.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        name: &str,
        mut out: impl Write + Send + 'static,
        form: impl Fn(T) -> Vec<u8> + Send + 'static,
    ) -> io::Result<Self> {
        let (lines, incoming) = sync_channel::<Option<T>>(WAITING);
        let (finished, done) = sync_channel(1);
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            while let Ok(Some(line)) = incoming.recv() {
                if write(&mut out, &form(line)).is_err() {
                    break;
                }
            }
            let _ = finished.send(());
        })?;
        Ok(Self { lines: Some(Lines(lines)), done })
    }

    /// Where lines are handed in; `None` once it is finished.
    #[must_use]
    pub fn lines(&self) -> Option<&Lines<T>> {
        self.lines.as_ref()
    }

    /// Waits until all lines are written, and `last` behind them, but not beyond `deadline`. Nothing is taken after that.
    pub fn finish(&mut self, last: Option<T>, deadline: Instant) {
        let left = || deadline.saturating_duration_since(Instant::now());
        let Some(Lines(lines)) = self.lines.take() else { return };
        // Others may hold on to `Lines`, so the end must be said.
        for mut line in last.map(Some).into_iter().chain([None]) {
            while let Err(TrySendError::Full(again)) = lines.try_send(line) {
                if left().is_zero() {
                    return;
                }
                std::thread::sleep(LOOK);
                line = again;
            }
        }
        let _ = self.done.recv_timeout(left());
    }
}

/// Writes a whole line, however long that takes, so that there are never parts of lines.
fn write(out: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(written @ 1..) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Err(error),
            Ok(_) | Err(_) => std::thread::sleep(RETRY),
        }
    }
    // What is kept back by a buffer is written with the next line.
    match out.flush() {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::{Arc, Mutex};

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
        let mut writer = LineWriter::start("test", disk.clone(), |line: &str| format!("{line}\n").into()).unwrap();
        for line in ["first", "second", "third"] {
            assert!(writer.lines().unwrap().offer(line));
        }
        while disk.0.lock().unwrap().1 != b"first\nsec" {
            std::thread::yield_now();
        }
        disk.0.lock().unwrap().0 = 1000;
        writer.finish(Some("last"), seconds(10));
        assert_eq!(disk.0.lock().unwrap().1, b"first\nsecond\nthird\nlast\n");
    }

    #[test]
    fn what_can_never_be_written_is_not_waited_for() {
        let mut writer = LineWriter::start("test", Disk::default(), |line: Vec<u8>| line).unwrap();
        let refused = (0..2 * WAITING).filter(|_| !writer.lines().unwrap().offer(vec![b'x'])).count();
        assert!((WAITING - 1..=WAITING).contains(&refused), "{refused}");
        let begun = Instant::now();
        writer.finish(Some(vec![b'y']), begun + Duration::from_millis(50));
        assert!(begun.elapsed() >= Duration::from_millis(50));
        assert!(writer.lines().is_none());
    }
}

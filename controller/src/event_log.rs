//! The lines on stdout.

use std::io::Write;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::line_writer::LineWriter;
use crate::news::{Line, News};

/// Takes news and never waits.
#[derive(Debug)]
pub struct EventLog {
    writer: LineWriter<Line>,
    dropped: u64,
}

impl EventLog {
    /// Writes to `out` from now on, each line flushed.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(out: impl Write + Send + 'static) -> std::io::Result<Self> {
        let trouble = |error: &std::io::Error| tracing::warn!("event lines cannot be written: {error}");
        Ok(Self { writer: LineWriter::start("event-log", out, text, trouble)?, dropped: 0 })
    }

    /// Has a line written; counts it instead when too many wait.
    pub fn tell(&mut self, news: News) {
        let Some(lines) = self.writer.lines() else { return };
        if self.dropped > 0 && lines.offer(line(News::Dropped { count: self.dropped })) {
            self.dropped = 0;
        }
        if self.dropped > 0 || !lines.offer(line(news)) {
            self.dropped += 1;
        }
    }

    /// Waits until all lines are written, and how many were not, but not beyond `deadline`. Nothing is written after
    /// that.
    pub fn finish(&mut self, deadline: Instant) {
        let last = (self.dropped > 0).then(|| line(News::Dropped { count: self.dropped }));
        self.writer.finish(last, deadline);
    }
}

fn line(news: News) -> Line {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Line { time_ns: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX), news }
}

fn text(line: Line) -> Vec<u8> {
    // Of strings and numbers, which JSON has room for.
    let mut text = serde_json::to_vec(&line).unwrap_or_default();
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::line_writer::WAITING;
    use std::sync::{Arc, Mutex};

    /// Writes only while it is not held.
    #[derive(Clone, Default)]
    struct Pipe(Arc<Mutex<Vec<u8>>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_does_not_read_costs_lines_and_no_time() {
        let pipe = Pipe::default();
        let mut log = EventLog::start(pipe.clone()).unwrap();
        let held = pipe.0.lock().unwrap();
        for number in 0..2 * WAITING {
            log.tell(News::Error { what: number.to_string() });
        }
        assert!(log.dropped > 0);
        drop(held);
        while pipe.0.lock().unwrap().iter().filter(|byte| **byte == b'\n').count() < WAITING {
            std::thread::yield_now();
        }
        log.tell(News::Error { what: "last".to_owned() });
        log.finish(Instant::now() + Duration::from_secs(10));
        let text = String::from_utf8(pipe.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[lines.len() - 2]["event"], "dropped");
        assert_eq!(lines[lines.len() - 1]["what"], "last");
        // A second such line comes when the writer takes its first line only after the queue was full.
        let counts: Vec<u64> = lines.iter().filter_map(|line| line["count"].as_u64()).collect();
        let dropped = counts.iter().sum::<u64>() as usize;
        assert_eq!(dropped + lines.len() - counts.len() - 1, 2 * WAITING);
    }

    #[test]
    fn what_was_lost_is_told_at_the_end() {
        let pipe = Pipe::default();
        let mut log = EventLog::start(pipe.clone()).unwrap();
        let held = pipe.0.lock().unwrap();
        for number in 0..2 * WAITING {
            log.tell(News::Error { what: number.to_string() });
        }
        drop(held);
        log.finish(Instant::now() + Duration::from_secs(10));
        let text = String::from_utf8(pipe.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let dropped = lines.iter().filter_map(|line| line["count"].as_u64()).sum::<u64>() as usize;
        let written = lines.iter().filter(|line| line["event"] == "error").count();
        assert!(dropped > 0 && lines[lines.len() - 1]["event"] == "dropped");
        assert_eq!(dropped + written, 2 * WAITING);
    }

    #[test]
    fn a_broken_pipe_does_not_matter() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let mut log = EventLog::start(Broken).unwrap();
        for number in 0..10 * WAITING {
            log.tell(News::Error { what: number.to_string() });
        }
        log.finish(Instant::now() + Duration::from_secs(10));
    }
}

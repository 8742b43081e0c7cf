//! What a person sees while something runs. The only room that prints then: the others send
//! [`Update`]s.
//!
//! On a terminal there are bars: one for the run, one for each trial with its phase and clock, and a line for each
//! host; viewers' lines say how they stand, and where there are several, one line of them all. Elsewhere (a pipe, a
//! log file, CI) the same updates become plain lines with the time of day; how viewers stand is said every ten
//! seconds.

mod bars;
mod lines;
mod progress;
mod words;

use std::io::{self, IsTerminal, Write};

pub use progress::Progress;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::run::event::{Ending, Phase, Update};

/// Characters in a line of a table when nothing says otherwise.
const WIDTH: usize = 110;

/// Shows updates.
pub trait Reporter {
    /// Shows one update. Never fails: a closed terminal must not end an experiment.
    fn show(&mut self, update: &Update);
}

/// Bars if stdout is a terminal that can draw them, else lines.
#[must_use]
pub fn reporter() -> Box<dyn Reporter> {
    // What has no name can draw nothing: the console of a system service, for one.
    let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    if io::stdout().is_terminal() && !dumb { Box::new(bars::Bars::new()) } else { Box::new(lines::Lines::default()) }
}

/// A reporter of its own task in this thread's [`LocalSet`](tokio::task::LocalSet): what is sent there is shown,
/// until nobody sends any more.
#[must_use]
pub fn screen() -> (mpsc::Sender<Update>, JoinHandle<()>) {
    let (updates, mut shown) = mpsc::channel::<Update>(256);
    let screen = tokio::task::spawn_local(async move {
        let mut reporter = reporter();
        while let Some(update) = shown.recv().await {
            reporter.show(&update);
        }
        reporter.show(&Update::RunEnded);
    });
    (updates, screen)
}

/// Prints a text that is a command's result. A reader that went away (`livectl … | head`) is no error.
///
/// # Errors
/// The text cannot be written: a full disk behind `>`.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    print_to(&mut out, text).map_err(|error| io::Error::new(error.kind(), format!("cannot print: {error}")))
}

/// Tells on standard error what is wrong. Where that cannot be written, there is nobody to tell: no reason to fail,
/// let alone to panic as `eprintln!` does.
pub fn warn(text: &str) {
    let _ = writeln!(io::stderr(), "livectl: {text}");
}

fn print_to(out: &mut impl Write, text: &str) -> io::Result<()> {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let written = out.write_all(text.as_bytes()).and_then(|()| out.write_all(end.as_bytes()));
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// What a phase of a trial is called.
#[must_use]
pub fn phase(phase: Phase) -> String {
    words::phase(phase).to_owned()
}

/// How a trial ended, in words.
#[must_use]
pub fn verdict(ending: &Ending) -> String {
    words::verdict(ending).0
}

/// How many characters a line of a table may have: what the shell says of its terminal in COLUMNS, else 110.
#[must_use]
pub fn width() -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    columns.filter(|columns| *columns >= 60).unwrap_or(WIDTH)
}

/// `about 2 min 20 s, at most 4 min 20 s`.
#[must_use]
pub fn expected(usual: std::time::Duration, longest: std::time::Duration) -> String {
    let most = if longest > usual { format!(", at most {}", span(longest)) } else { String::new() };
    format!("about {}{most}", span(usual))
}

/// `3 min 20 s`.
#[must_use]
pub fn span(duration: std::time::Duration) -> String {
    let seconds = duration.as_secs_f64().round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

/// `1 trial`, `6 trials`.
#[must_use]
pub fn trials(count: usize) -> String {
    format!("{count} trial{}", if count == 1 { "" } else { "s" })
}

/// `1 point`, `6 points`.
#[must_use]
pub fn points(count: usize) -> String {
    format!("{count} point{}", if count == 1 { "" } else { "s" })
}

/// `1.5 GB`, in powers of 1000.
#[must_use]
pub fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io;
    use std::time::Duration;

    /// Writes nothing, for this reason.
    struct Closed(io::ErrorKind);

    impl io::Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_left_is_no_error_and_a_full_disk_is() {
        let mut page = Vec::new();
        super::print_to(&mut page, "a\nb").unwrap();
        super::print_to(&mut page, "c\n").unwrap();
        assert_eq!(page, b"a\nb\nc\n");
        assert!(super::print_to(&mut Closed(io::ErrorKind::BrokenPipe), "a").is_ok());
        assert!(super::print_to(&mut Closed(io::ErrorKind::StorageFull), "a").is_err());
    }

    #[test]
    fn spans_sizes_and_counts_read_well() {
        assert_eq!((super::trials(1), super::trials(6)), ("1 trial".to_owned(), "6 trials".to_owned()));
        assert_eq!(super::span(Duration::from_millis(59_400)), "59 s");
        assert_eq!(super::span(Duration::from_secs(200)), "3 min 20 s");
        assert_eq!(super::span(Duration::from_secs(7260)), "2 h 1 min");
        assert_eq!(super::bytes(999), "999 B");
        assert_eq!(super::bytes(1_500_000_000), "1.5 GB");
    }
}

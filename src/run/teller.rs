//! Whoever takes part in a trial tells here what happens; whoever started the sandbox hears it.

use tokio::sync::mpsc;

use super::event::{Happening, Stamped};

/// Sends what happens to the starter.
#[derive(Debug, Clone)]
pub struct Teller(mpsc::UnboundedSender<Stamped>);

/// What was told and has not been written yet.
pub type Told = mpsc::UnboundedReceiver<Stamped>;

impl Teller {
    /// A teller, and what it tells.
    pub(super) fn new() -> (Teller, Told) {
        let (sender, told) = mpsc::unbounded_channel();
        (Teller(sender), told)
    }

    /// Tells one thing. A starter that does not listen is gone, and the sandbox with it.
    pub fn tell(&self, happening: Happening) {
        let _ = self.0.send(Stamped::now(happening));
    }
}

/// Writes events as JSON lines until nobody is left to tell any, or until the outcome, which is the last.
pub(super) fn print_events(mut told: Told) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    while let Some(stamped) = told.blocking_recv() {
        let last = matches!(stamped.happening, Happening::Outcome(_));
        let written = serde_json::to_writer(&mut out, &stamped).map_err(std::io::Error::from);
        if written.and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()).is_err() || last {
            return;
        }
    }
}

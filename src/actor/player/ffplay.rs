//! ffplay.
//!
//! Found by trying (ffplay 5.1): by itself it looks at five seconds of a stream before it shows the first picture and
//! stays behind by that. Told not to (`probesize`, `analyzeduration`) it is some 0.2 s behind what has arrived.
//! `-fflags nobuffer` gains nothing more and throws away what it has looked at, which costs the first group of
//! pictures.

use super::Seat;
use crate::actor::process::Command;

/// ffplay that shows.
pub(super) fn showing(seat: &Seat<'_>) -> Command {
    let plain =
        ["-hide_banner", "-nostats", "-loglevel", "info", "-noborder", "-left", "0", "-top", "0", "-autoexit"];
    let live = ["-an", "-flags", "low_delay", "-probesize", "32", "-analyzeduration", "0", seat.url];
    Command::new("ffplay", plain.into_iter().chain(live))
}

//! ffplay.

use super::Seat;
use crate::actor::process::Command;

/// ffplay that shows.
pub(super) fn showing(seat: &Seat<'_>) -> Command {
    let args = ["-hide_banner", "-nostats", "-loglevel", "info", "-noborder", "-autoexit", "-an", seat.url];
    Command::new("ffplay", args)
}

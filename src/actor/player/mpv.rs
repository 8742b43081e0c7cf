//! mpv.

use super::Seat;
use crate::actor::process::Command;

/// mpv that shows.
pub(super) fn showing(seat: &Seat<'_>) -> Command {
    let args =
        ["--no-config", "--no-terminal", "--msg-level=all=info", "--vo=x11", "--no-audio", "--no-border", seat.url];
    Command::new("mpv", args)
}

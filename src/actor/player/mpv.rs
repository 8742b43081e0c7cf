//! mpv.
//!
//! Found by trying (mpv 0.35): by itself it is five seconds behind, as ffplay is and for the same reason. Its own
//! profile `low-latency` tells the demuxer not to look at the stream first and keeps no pictures in stock: 0.15 s
//! behind what has arrived. It throws away what the demuxer has looked at all the same (`nobuffer`), which costs the
//! first group of pictures.

use super::Seat;
use crate::actor::process::Command;

/// mpv that shows.
pub(super) fn showing(seat: &Seat<'_>) -> Command {
    let plain = ["--no-config", "--no-terminal", "--msg-level=all=info", "--vo=x11", "--no-audio", "--no-border"];
    Command::new("mpv", plain.into_iter().chain(["--profile=low-latency", seat.url]))
}

//! rtmpdump, which has an RTMP of its own (librtmp).

use super::Seat;
use crate::actor::process::Command;

/// rtmpdump that dumps.
pub(super) fn dumping(seat: &Seat<'_>) -> Command {
    let dump = seat.dump.to_string_lossy();
    Command::new("rtmpdump", ["--live", "--rtmp", seat.url, "--flv", &dump, "--timeout", "86400"])
}

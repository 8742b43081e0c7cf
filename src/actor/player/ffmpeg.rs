//! ffmpeg, where a stream in segments (HLS) is only to be written to a file: mplayer cannot open them ("Failed to
//! open segment", MPlayer 1.5).
//!
//! Found by trying (ffmpeg 5.1): it begins three segments before the end of the playlist, takes what is there as fast
//! as it comes, asks for the playlist again once in a segment's length, and ends, with status 0, with the playlist.

use super::Seat;
use crate::actor::process::Command;

/// ffmpeg that dumps, without decoding.
pub(super) fn dumping(seat: &Seat<'_>) -> Command {
    let dump = seat.dump.to_string_lossy();
    let plain = ["-hide_banner", "-nostdin", "-nostats", "-loglevel", "info", "-y"];
    // Each frame is in the file when it has come.
    let copy = ["-i", seat.url, "-c", "copy", "-flush_packets", "1", "-f", "flv", &dump];
    Command::new("ffmpeg", plain.into_iter().chain(copy))
}

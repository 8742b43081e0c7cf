//! mplayer.
//!
//! Found by trying (MPlayer 1.5 of Debian 12, whose `rtmp://` is FFmpeg's):
//! - It waits without limit for a stream that is not yet published, but gives up at once, **with status 0 and without a dump**, when the
//!   server does not answer. Its server is the agent beside it, which is there first and lets it wait.
//! - It ends, with status 0, when it is told that the stream has ended. SIGINT ends it within 0.15 s (status 0) while it receives. While it waits
//!   for its first byte, SIGINT alone does nothing; SIGTERM after it ends it at once.
//! - The dump grows in blocks of 4096 bytes, without delay: at most 6 kB lie between what it was given and what is in the file.
//! - What it shows it takes from FFmpeg's demuxer, which by itself looks at five seconds of a stream before it hands on the first picture
//!   (`analyzeduration`), and mplayer stays behind by that. Told not to, it is 0.2 s behind what has arrived.
//! - When fewer than 2048 bytes are left after the last whole 2048-byte block at the end of the stream, **it does not write them**: the
//!   size of the file is a multiple of 2048. So that the last frame is whole all the same, the agent ends the stream with a data message that no
//!   player shows, [`END_PADDING`] bytes long, of which that much may be lost.

use super::Seat;
use crate::actor::process::Command;

/// Bytes at the end of a stream that mplayer may leave out of its dump.
pub const END_PADDING: usize = 2048;

/// No remote control, joystick, keyboard or configuration. Without its cache, what arrives is in the dump, or
/// decoded, at once.
const PLAIN: [&str; 7] = ["-quiet", "-noconfig", "all", "-nolirc", "-nojoystick", "-noconsolecontrols", "-nocache"];

/// mplayer that dumps.
pub(super) fn dumping(seat: &Seat<'_>) -> Command {
    let dump = seat.dump.to_string_lossy();
    let args = PLAIN.into_iter().chain(["-dumpstream", "-dumpfile", &dump, seat.url]);
    Command::new("mplayer", args)
}

/// mplayer that shows.
pub(super) fn showing(seat: &Seat<'_>) -> Command {
    let show =
        ["-demuxer", "lavf", "-lavfdopts", "probesize=32:analyzeduration=0", "-vo", "x11", "-nosound", "-noborder"];
    let show = show.into_iter().chain([seat.url]);
    Command::new("mplayer", PLAIN.into_iter().chain(show))
}

//! mplayer.
//!
//! Found by trying (MPlayer 1.5 of Debian 12, whose `rtmp://` is FFmpeg's):
//! - It waits without limit for a stream that is not yet published, but gives up at once, **with status 0 and without a dump**, when the
//!   server does not answer. Its server is the agent beside it, which is there first and lets it wait.
//! - It ends, with status 0, when it is told that the stream has ended. SIGINT ends it within 0.15 s (status 0) while it receives. While it waits
//!   for its first byte, SIGINT alone does nothing; SIGTERM after it ends it at once.
//! - The dump grows in blocks of 4096 bytes, without delay: at most 6 kB lie between what it was given and what is in the file.
//! - When fewer than 2048 bytes are left after the last whole 2048-byte block at the end of the stream, **it does not write them**: the
//!   size of the file is a multiple of 2048. So that the last frame is whole all the same, the agent ends the stream with a data message that no
//!   player shows, [`END_PADDING`] bytes long, of which that much may be lost.

use std::path::Path;

use crate::actor::process::Command;

/// Bytes at the end of a stream that mplayer may leave out of its dump.
pub const END_PADDING: usize = 2048;

/// A player of a live stream, which it dumps.
#[must_use]
pub fn command(url: &str, dump: &Path, home: &Path) -> Command {
    // No remote control, joystick, keyboard or configuration: what a user has configured must not change an experiment. Without its cache,
    // what arrives is in the dump at once.
    let plain =
        ["-quiet", "-noconfig", "all", "-nolirc", "-nojoystick", "-noconsolecontrols", "-nocache", "-dumpstream"];
    let dump = dump.to_string_lossy().into_owned();
    let args = plain.into_iter().map(str::to_owned).chain(["-dumpfile".to_owned(), dump, url.to_owned()]);
    Command::new("mplayer", args).env("HOME", home.to_string_lossy()).env("TERM", "dumb")
}

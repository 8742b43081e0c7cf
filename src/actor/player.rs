//! mplayer, as a viewer's agent runs it.
//!
//! Found by trying (MPlayer 1.5 of Debian 12, whose `rtmp://` is FFmpeg's):
//! - It waits without limit for a stream that is not yet published, but gives up at once, **with status 0 and without a dump**, when the
//!   server does not answer. So a player that ends with an empty dump has played nothing.
//! - SIGINT ends it within 0.15 s (status 0) while it receives. While it waits for its first byte, SIGINT alone does nothing; SIGTERM
//!   after it ends it at once. Reading from a pipe it ends 10 ms after end of file, and not before, so its pipe is closed to stop it.
//! - The dump grows in blocks of 4096 bytes, without delay: at most 6 kB lie between what it was given and what is in the file.
//! - From `rtmp://`, when fewer than 2048 bytes are left after the last whole 2048-byte block at the end of the stream, **it
//!   does not write them**: the last frame of the dump is then cut short by up to 2047 bytes, and the size of the file is a multiple of
//!   2048. The bytes did arrive (they are in the capture). From a pipe nothing is lost.

use std::path::Path;

use super::process::Command;

/// A player of a live stream of the CDN, which it dumps.
#[must_use]
pub fn from_cdn(url: &str, dump: &Path, home: &Path) -> Command {
    command(url, dump, home)
}

/// A player of what comes from standard input, which it dumps.
#[must_use]
pub fn from_stdin(dump: &Path, home: &Path) -> Command {
    command("-", dump, home)
}

fn command(source: &str, dump: &Path, home: &Path) -> Command {
    // No remote control, joystick, keyboard or configuration: standard input may be the stream, and what a user has configured must not
    // change an experiment. Without its cache, what arrives is in the dump at once.
    let plain =
        ["-quiet", "-noconfig", "all", "-nolirc", "-nojoystick", "-noconsolecontrols", "-nocache", "-dumpstream"];
    let dump = dump.to_string_lossy().into_owned();
    let args = plain.into_iter().map(str::to_owned).chain(["-dumpfile".to_owned(), dump, source.to_owned()]);
    Command::new("mplayer", args).env("HOME", home.to_string_lossy()).env("TERM", "dumb")
}

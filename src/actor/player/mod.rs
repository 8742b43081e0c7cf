//! Players: what is run to watch a stream of the agent on its own host, and what its end means. One file for each.

pub mod ffmpeg;
pub mod ffplay;
pub mod mplayer;
pub mod mpv;
pub mod rtmpdump;

use std::path::Path;

use super::process::Command;
use crate::plan::{Placeholder, Player, filled};

/// What a player is given.
#[derive(Debug, Clone, Copy)]
pub struct Seat<'a> {
    /// The stream at the agent.
    pub url: &'a str,
    /// Where it writes the stream, if it does.
    pub dump: &'a Path,
    /// A folder for what it wants to keep.
    pub home: &'a Path,
    /// The screen on which it shows the stream, if it does (`DISPLAY`).
    pub display: &'a str,
}

/// What is run. None of them reads a configuration of the user's, which must not change an experiment.
#[must_use]
pub fn command(player: &Player, seat: &Seat<'_>) -> Command {
    let command = match player {
        Player::Mplayer => mplayer::dumping(seat),
        Player::MplayerWindow => mplayer::showing(seat),
        Player::Rtmpdump => rtmpdump::dumping(seat),
        Player::Ffplay => ffplay::showing(seat),
        Player::Mpv => mpv::showing(seat),
        Player::Command { command, .. } => {
            let stands_for = |placeholder| match placeholder {
                Placeholder::Dump => seat.dump.to_string_lossy().into_owned(),
                // A player's valid recipe asks for nothing else.
                _ => seat.url.to_owned(),
            };
            let mut words = filled(command, stands_for).into_iter();
            Command::new(words.next().unwrap_or_default(), words)
        }
    };
    in_place(player, command, seat)
}

/// The same for a stream in segments. mplayer does not open these: where it would only write what comes, ffmpeg does.
#[must_use]
pub fn command_for_segments(player: &Player, seat: &Seat<'_>) -> Command {
    match player {
        Player::Mplayer => in_place(player, ffmpeg::dumping(seat), seat),
        other => command(other, seat),
    }
}

fn in_place(player: &Player, command: Command, seat: &Seat<'_>) -> Command {
    let command = command.env("HOME", seat.home.to_string_lossy()).env("TERM", "dumb");
    if player.shows() {
        // SDL, which ffplay draws with, would else go on without a display that does not answer.
        command.env("DISPLAY", seat.display).env("SDL_VIDEODRIVER", "x11")
    } else {
        command
    }
}

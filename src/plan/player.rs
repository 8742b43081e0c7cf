//! What viewers watch with.

use serde::{Deserialize, Serialize};

use super::program::{ArgumentPart, Placeholder, argument_parts};

/// The program with which a viewer watches.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Player {
    /// mplayer, which writes the stream to a file and shows nothing.
    #[default]
    Mplayer,
    /// rtmpdump, which does the same with an RTMP of its own.
    Rtmpdump,
    /// mplayer, which shows the stream in a window.
    MplayerWindow,
    /// ffplay, which shows the stream in a window.
    Ffplay,
    /// mpv, which shows the stream in a window.
    Mpv,
    /// Whatever else plays RTMP.
    Command {
        /// A program and its arguments, in which [placeholders](Placeholder::WATCHING) stand for what is to be
        /// played.
        command: Vec<String>,
        /// It shows the stream in a window.
        window: bool,
    },
}

impl Player {
    /// The players that recipes name; all others are commands.
    pub const NAMED: [Player; 5] =
        [Player::Mplayer, Player::Rtmpdump, Player::MplayerWindow, Player::Ffplay, Player::Mpv];

    /// As recipes write it; of a command its program as it is written.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Player::Mplayer => "mplayer",
            Player::Rtmpdump => "rtmpdump",
            Player::MplayerWindow => "mplayer-window",
            Player::Ffplay => "ffplay",
            Player::Mpv => "mpv",
            Player::Command { command, .. } => command.first().map_or("command", String::as_str),
        }
    }

    /// The program that is run.
    #[must_use]
    pub fn program(&self) -> &str {
        match self {
            Player::MplayerWindow => "mplayer",
            other => other.name(),
        }
    }

    /// Whether it decodes the stream and shows it on a screen.
    #[must_use]
    pub fn shows(&self) -> bool {
        match self {
            Player::MplayerWindow | Player::Ffplay | Player::Mpv => true,
            Player::Mplayer | Player::Rtmpdump => false,
            Player::Command { window, .. } => *window,
        }
    }

    /// Whether it writes the stream to a file as it comes.
    #[must_use]
    pub fn dumps(&self) -> bool {
        match self {
            Player::Mplayer | Player::Rtmpdump => true,
            Player::MplayerWindow | Player::Ffplay | Player::Mpv => false,
            Player::Command { command, .. } => {
                let mut parts = command.iter().flat_map(|word| argument_parts(word));
                parts.any(|part| part == ArgumentPart::Of(Placeholder::Dump))
            }
        }
    }

    /// Whether it is the usual one, of which plans say nothing.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        *self == Player::default()
    }
}

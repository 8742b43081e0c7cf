//! What viewers watch with.

use serde::{Deserialize, Serialize};

/// A viewer's player.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Player {
    /// mplayer, which writes the stream to a file and shows nothing.
    #[default]
    Mplayer,
    /// rtmpdump, which does the same with an RTMP of its own.
    Rtmpdump,
    /// mplayer, which shows the stream in a window.
    MplayerWindow,
    /// ffplay, in a window.
    Ffplay,
    /// mpv, in a window.
    Mpv,
}

impl Player {
    /// All there are.
    pub const ALL: [Player; 5] =
        [Player::Mplayer, Player::Rtmpdump, Player::MplayerWindow, Player::Ffplay, Player::Mpv];

    /// As recipes write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Player::Mplayer => "mplayer",
            Player::Rtmpdump => "rtmpdump",
            Player::MplayerWindow => "mplayer-window",
            Player::Ffplay => "ffplay",
            Player::Mpv => "mpv",
        }
    }

    /// The program that is run.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Player::Mplayer | Player::MplayerWindow => "mplayer",
            Player::Rtmpdump => "rtmpdump",
            Player::Ffplay => "ffplay",
            Player::Mpv => "mpv",
        }
    }

    /// Whether it decodes the stream and shows it on a screen; the others write it to a file as it comes.
    #[must_use]
    pub fn shows(self) -> bool {
        matches!(self, Player::MplayerWindow | Player::Ffplay | Player::Mpv)
    }

    /// Whether it is the usual one, of which plans say nothing.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        *self == Player::default()
    }
}

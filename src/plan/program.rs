//! Programs that broadcast a stream, and what their commands are told.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The program that makes a broadcaster's stream and publishes it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Program {
    /// ffmpeg: as many frames as planned, each at its time.
    #[default]
    Ffmpeg,
    /// OBS with livectl's profile: no look-ahead, no B-frames, a keyframe when the recipe wants one.
    Obs,
    /// OBS with its own settings of x264, but for the bitrate.
    ObsDefaults,
    /// Whatever else publishes RTMP: a program and its arguments, in which [placeholders](Placeholder) stand for what
    /// is to be published.
    Command(Vec<String>),
}

/// What stands for something in the arguments of a command, in braces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placeholder {
    /// The URL at which the stream is published, or played.
    Url,
    /// How many pictures the stream has.
    Frames,
    /// Frame rate, in pictures per second.
    Fps,
    /// Width and height in pixels: `640x360`.
    Size,
    /// Bitrate in bit/s.
    Bitrate,
    /// Length of the stream in seconds: `20.000`.
    Seconds,
    /// Path of the file that a player writes.
    Dump,
}

/// A piece of an argument of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgumentPart<'a> {
    /// Text that stands for itself.
    Plain(&'a str),
    /// A placeholder, for whose value it stands.
    Of(Placeholder),
    /// Looks like a placeholder but is not one.
    Unknown(&'a str),
}

impl Program {
    /// `ffmpeg`, `obs`, `obs-defaults`; of a command its program as it is written.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Program::Ffmpeg => "ffmpeg",
            Program::Obs => "obs",
            Program::ObsDefaults => "obs-defaults",
            Program::Command(words) => words.first().map_or("command", String::as_str),
        }
    }

    /// ffmpeg, as in trials that were stored before there was a choice.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        *self == Program::Ffmpeg
    }

    /// Whether it is OBS, with any settings.
    #[must_use]
    pub fn is_obs(&self) -> bool {
        matches!(self, Program::Obs | Program::ObsDefaults)
    }

    /// How many of so many planned frames it promises to make. ffmpeg counts them. OBS goes by the clock and begins
    /// and ends when it has got round to it, and what is in its encoder then is lost; of other programs nothing
    /// better is known.
    #[must_use]
    pub fn promises(&self, planned: u32) -> u32 {
        match self {
            Program::Ffmpeg => planned,
            Program::Obs | Program::ObsDefaults | Program::Command(_) => planned - planned / 10,
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Placeholder {
    /// Placeholders of a program that publishes.
    pub const PUBLISHING: &[Placeholder] = &[
        Placeholder::Url,
        Placeholder::Frames,
        Placeholder::Fps,
        Placeholder::Size,
        Placeholder::Bitrate,
        Placeholder::Seconds,
    ];
    /// Placeholders of a player.
    pub const WATCHING: &[Placeholder] = &[Placeholder::Url, Placeholder::Dump];

    /// Its name, as it is written between the braces.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Placeholder::Url => "url",
            Placeholder::Frames => "frames",
            Placeholder::Fps => "fps",
            Placeholder::Size => "size",
            Placeholder::Bitrate => "bitrate",
            Placeholder::Seconds => "seconds",
            Placeholder::Dump => "dump",
        }
    }
}

/// The words of a command with what its placeholders stand for.
#[must_use]
pub fn filled(words: &[String], stands_for: impl Fn(Placeholder) -> String) -> Vec<String> {
    let fill = |word: &String| -> String {
        let parts = argument_parts(word).into_iter().map(|part| match part {
            ArgumentPart::Plain(text) => text.to_owned(),
            ArgumentPart::Of(placeholder) => stands_for(placeholder),
            // A valid recipe has none.
            ArgumentPart::Unknown(name) => format!("{{{name}}}"),
        });
        parts.collect()
    };
    words.iter().map(fill).collect()
}

/// An argument in pieces. Small letters in braces are a placeholder; braces around anything else are braces.
#[must_use]
pub fn argument_parts(text: &str) -> Vec<ArgumentPart<'_>> {
    let mut parts = Vec::new();
    let (mut plain, mut from) = (0, 0);
    while let Some(open) = text[from..].find('{').map(|at| from + at) {
        from = open + 1;
        let Some(close) = text[from..].find('}').map(|at| from + at) else { break };
        let name = &text[from..close];
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
            continue;
        }
        if plain < open {
            parts.push(ArgumentPart::Plain(&text[plain..open]));
        }
        let known = Placeholder::PUBLISHING
            .iter()
            .chain(Placeholder::WATCHING)
            .find(|placeholder| placeholder.name() == name);
        parts.push(known.map_or(ArgumentPart::Unknown(name), |placeholder| ArgumentPart::Of(*placeholder)));
        (plain, from) = (close + 1, close + 1);
    }
    if plain < text.len() {
        parts.push(ArgumentPart::Plain(&text[plain..]));
    }
    parts
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn stored_as_it_is_written() {
        let stored = |program: &Program| serde_json::to_string(program).unwrap();
        assert_eq!(stored(&Program::ObsDefaults), "\"obs-defaults\"");
        assert_eq!(stored(&Program::Command(vec!["a".into(), "{url}".into()])), r#"{"command":["a","{url}"]}"#);
        for program in [Program::Ffmpeg, Program::Obs, Program::Command(vec!["a".into()])] {
            assert_eq!(serde_json::from_str::<Program>(&stored(&program)).unwrap(), program);
        }
    }

    #[test]
    fn small_letters_in_braces_are_placeholders_and_nothing_else_is() {
        use ArgumentPart::{Of, Plain, Unknown};
        assert_eq!(
            argument_parts("testsrc2=size={size}:rate={fps}"),
            [Plain("testsrc2=size="), Of(Placeholder::Size), Plain(":rate="), Of(Placeholder::Fps)]
        );
        assert_eq!(argument_parts("{url}"), [Of(Placeholder::Url)]);
        assert_eq!(argument_parts("{urls}/{ä}"), [Unknown("urls"), Plain("/{ä}")]);
        for plain in ["", "{", "}", "{}", "{\"a\": 1}", "{A}", "a{", "{{", "ä{ö"] {
            let parts = argument_parts(plain);
            assert_eq!(parts, if plain.is_empty() { vec![] } else { vec![Plain(plain)] });
        }
        assert_eq!(argument_parts("{{url}}"), [Plain("{"), Of(Placeholder::Url), Plain("}")]);
    }

    #[test]
    fn ffmpeg_promises_all_frames_and_others_nine_of_ten() {
        assert_eq!(Program::Ffmpeg.promises(600), 600);
        assert_eq!(Program::Obs.promises(600), 540);
        assert_eq!(Program::Command(Vec::new()).promises(5), 5);
    }
}

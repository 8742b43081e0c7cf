//! A program that a recipe names: whatever publishes RTMP.
//!
//! It may end by itself when it has published what it was told to (`{frames}`, `{seconds}`); else it is told to end,
//! a little after the length of the stream.

use std::time::Duration;

use super::super::Folders;
use super::super::process::{Actor, Command, Output, Readiness, Stop};
use super::{ENCODER, length, url};
use crate::plan::{Placeholder, Stream, Video, VideoSource, filled};

/// How much longer than the stream it may be on the air before it is told to end: one that counts its pictures is not
/// to be cut short.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// The program that the recipe names by its command, as an actor on the broadcaster's host.
pub(super) fn actor(words: &[String], video: &Video, stream: &Stream, folders: &Folders) -> Actor {
    let host = stream.broadcaster.as_str();
    let home = folders.scratch.join(format!("{host}-command"));
    Actor {
        name: ENCODER.into(),
        station: host.into(),
        command: command(words, video, &stream.name).env("HOME", home.to_string_lossy()),
        folders: vec![home],
        files: Vec::new(),
        output: Output::Log,
        log: folders.trial.log(host, ENCODER),
        ready: Readiness::Started,
        ready_within: Duration::from_secs(5),
        alarms: Vec::new(),
        stop: Stop::default(),
    }
}

/// The command with what its placeholders stand for.
fn command(words: &[String], video: &Video, stream: &str) -> Command {
    let stands_for = |placeholder| match placeholder {
        Placeholder::Url => url(stream),
        Placeholder::Frames => video.frames.to_string(),
        Placeholder::Fps => video.fps.to_string(),
        Placeholder::Size => match &video.source {
            VideoSource::Generated { width, height, .. } => format!("{width}x{height}"),
            // A valid recipe does not ask for it.
            VideoSource::File { .. } => String::new(),
        },
        Placeholder::Bitrate => video.bitrate.to_string(),
        Placeholder::Seconds => format!("{:.3}", length(video).as_secs_f64()),
        // Only players have one.
        Placeholder::Dump => String::new(),
    };
    let mut words = filled(words, stands_for).into_iter();
    Command::new(words.next().unwrap_or_default(), words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Codec;

    #[test]
    fn placeholders_are_filled_in_and_nothing_else_is_touched() {
        let video = Video {
            source: VideoSource::Generated { pattern: "testsrc2".into(), width: 320, height: 180 },
            fps: 25,
            frames: 40,
            codec: Codec::Flv1,
            bitrate: 500_000,
            keyframe_interval: 25,
            audio: false,
            clock: false,
        };
        let words = [
            "publish",
            "--n={frames}/{seconds}",
            "{size}@{fps}",
            "$HOME; {\"a\":1} *",
            "-b",
            "{bitrate}",
            "{url}?x={url}",
        ];
        let command = command(&words.map(String::from), &video, "hb");
        assert_eq!(command.program, "publish");
        let url = "rtmp://127.0.0.1:1935/live/hb";
        let expected =
            ["--n=40/1.600", "320x180@25", "$HOME; {\"a\":1} *", "-b", "500000", &format!("{url}?x={url}")];
        assert_eq!(command.args, expected);
    }
}

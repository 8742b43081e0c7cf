//! What is encoded.

use std::path::Path;
use std::time::Duration;

use super::super::file::{BroadcastFile, VideoFile};
use super::super::problem::Finding;
use super::super::text::Text;
use super::super::unit::{Bandwidth, FrameSize, Moment, Whole};
use super::super::word::{Flag, Pattern, shown};
use super::{Notes, absolute, out_of_bounds};
use crate::clock::{LEAST_HEIGHT, LEAST_WIDTH};
use crate::plan::{Codec, Video, VideoSource};

const DEFAULT_FPS: u64 = 30;
const DEFAULT_FRAMES: u64 = 600;
const DEFAULT_BITRATE: Bandwidth = Bandwidth(2_500_000);
/// Bounds of the video bitrate in bit/s.
const BITRATES: std::ops::RangeInclusive<Bandwidth> = Bandwidth(10_000)..=Bandwidth(100_000_000);

/// Reads the video; `broadcast` may say how long it is.
pub(super) fn validate_video(
    written: Option<&VideoFile>,
    broadcast: Option<&BroadcastFile>,
    base: &Path,
    notes: &mut Notes<'_>,
) -> Option<Video> {
    let defaults = VideoFile::default();
    let written = written.unwrap_or(&defaults);
    let source = validate_source(written, base, notes);
    let fps = notes.read_or("fps", &written.fps, Whole(DEFAULT_FPS)).map(|n| n.0);
    let frames = validate_frames(written, broadcast, fps, notes);
    let codec = notes.read_or("codec", &written.codec, Codec::Flv1);
    let bitrate = validate_bitrate(written, notes);
    let keyframe_interval = validate_keyframes(written, fps, frames, notes);
    let audio = notes.read_or("audio", &written.audio, Flag(false));
    let clock = validate_clock(written, source.as_ref(), notes);
    Some(Video {
        source: source?,
        fps: fps? as u32,
        frames: frames? as u32,
        codec: codec?,
        bitrate: bitrate?.0,
        keyframe_interval: keyframe_interval?,
        audio: audio?.0,
        clock: clock?,
    })
}

/// The clock needs pictures whose size is known beforehand, and room in them.
fn validate_clock(written: &VideoFile, source: Option<&VideoSource>, notes: &mut Notes<'_>) -> Option<bool> {
    let Flag(wanted) = notes.read_or("clock", &written.clock, Flag(false))?;
    let Some(text) = written.clock.get().filter(|_| wanted) else { return Some(wanted) };
    match source? {
        VideoSource::Generated { width, height, .. } if *width < LEAST_WIDTH || *height < LEAST_HEIGHT => {
            let message = format!("clock: pictures of {width}x{height} have no room for it");
            let finding = Finding::new(&text.span, message, "too small");
            let finding = match written.size.get() {
                Some(size) => finding.also(&size.span, "the size"),
                None => finding,
            };
            notes.error(finding.help(format!("write a `size` of {LEAST_WIDTH}x{LEAST_HEIGHT} at least")));
            None
        }
        VideoSource::Generated { .. } => Some(true),
        VideoSource::File { .. } => {
            let finding = Finding::new(&text.span, "clock: only a test pattern carries one", "not with `file`");
            let finding = match written.file.get() {
                Some(file) => finding.also(&file.span, "the file"),
                None => finding,
            };
            notes.error(finding.help("leave out `clock` or `file`"));
            None
        }
    }
}

fn validate_source(written: &VideoFile, base: &Path, notes: &mut Notes<'_>) -> Option<VideoSource> {
    let default_size = FrameSize { width: 640, height: 360 };
    let pattern = notes.read_or("pattern", &written.pattern, Pattern("testsrc2"));
    let size = notes.read_or("size", &written.size, default_size);
    let Some(file) = written.file.get() else {
        let (Pattern(pattern), size) = (pattern?, size?);
        return Some(VideoSource::Generated { pattern: pattern.to_owned(), width: size.width, height: size.height });
    };
    let path = notes.read("file", file);
    let generated_only = [
        ("pattern", written.pattern.get().map(|text| &text.span)),
        ("size", written.size.get().map(|text| &text.span)),
    ];
    for (key, span) in generated_only {
        if let Some(span) = span {
            let finding = Finding::new(span, format!("{key}: a video file has its own {key}"), "not with `file`");
            notes.error(finding.also(&file.span, "the file").help(format!("leave out `{key}` or `file`")));
        }
    }
    Some(absolute(base, &path?.0))
}

/// The number of frames: as written, or what fits between the broadcast's `at` and `until`.
fn validate_frames(
    written: &VideoFile,
    broadcast: Option<&BroadcastFile>,
    fps: Option<u64>,
    notes: &mut Notes<'_>,
) -> Option<u64> {
    let frames = written.frames.get().map(|text| notes.read("frames", text));
    // Whether `at` and `until` are right is said where the timeline is read.
    let moment = |text: Option<&Text<Moment>>| text.map(|text| super::super::unit::Value::parse(&text.text).ok());
    let until = broadcast.and_then(|b| moment(b.until.get()).map(|until: Option<Moment>| (b, until)));
    let Some((broadcast, until)) = until else {
        return frames.unwrap_or(Some(Whole(DEFAULT_FRAMES))).map(|n| n.0);
    };
    let until = until?.0;
    let at = moment(broadcast.at.get()).unwrap_or(Some(super::when::DEFAULT_BROADCAST_AT))?.0;
    let span = &broadcast.until.get()?.span;
    let length = until.checked_sub(at).filter(|length| *length > Duration::ZERO);
    let Some(length) = length else {
        let finding = Finding::new(
            span,
            format!("until: the broadcast stops before it starts, at {}", Moment(at)),
            "too early",
        );
        notes.error(finding.help("write a later `until`"));
        return None;
    };
    let fitting = (length.as_nanos() * u128::from(fps?) / 1_000_000_000) as u64;
    match (frames, written.frames.get()) {
        (None, _) if (1..=1_000_000).contains(&fitting) => Some(fitting),
        (None, _) => {
            notes.error(out_of_bounds(
                "until",
                &format!("{fitting} frames"),
                span,
                "such that there are 1 to 1000000 frames",
            ));
            None
        }
        (Some(frames), text) => {
            let frames = frames?.0;
            if frames != fitting {
                let message = format!("frames: {frames} frames do not fit `until`, which makes them {fitting}");
                let span = text.map_or(span, |text| &text.span);
                notes.error(
                    Finding::new(span, message, format!("{frames} frames"))
                        .also(&broadcast.until.get()?.span, format!("{fitting} frames"))
                        .help("leave out one of the two"),
                );
                return None;
            }
            Some(frames)
        }
    }
}

fn validate_bitrate(written: &VideoFile, notes: &mut Notes<'_>) -> Option<Bandwidth> {
    let bitrate = notes.read_or("bitrate", &written.bitrate, DEFAULT_BITRATE)?;
    match written.bitrate.get() {
        Some(text) if !BITRATES.contains(&bitrate) => {
            let bounds = format!("{} to {}", BITRATES.start(), BITRATES.end());
            notes.error(out_of_bounds("bitrate", &text.text, &text.span, &bounds));
            None
        }
        _ => Some(bitrate),
    }
}

fn validate_keyframes(
    written: &VideoFile,
    fps: Option<u64>,
    frames: Option<u64>,
    notes: &mut Notes<'_>,
) -> Option<u32> {
    let Some(text) = written.keyframe_every.get() else { return Some(fps?.min(frames?) as u32) };
    let interval = notes.read("keyframe_every", text)?.0;
    if frames.is_some_and(|frames| interval > frames) {
        let message = format!("keyframe_every: {} is more than there are frames", shown(&text.text));
        let finding = Finding::new(&text.span, message, "too many");
        let finding = match written.frames.get() {
            Some(frames) => finding.also(&frames.span, "frames"),
            None => finding,
        };
        notes.error(finding.help(format!("write {} at most", frames.unwrap_or(DEFAULT_FRAMES))));
        return None;
    }
    Some(interval as u32)
}

//! What broadcasts.

use std::path::Path;

use super::super::file::{HostFile, VideoFile};
use super::super::problem::Finding;
use super::super::program::{Argument, CommandFile, ProgramFile};
use super::super::text::{Span, Text};
use super::super::word::{NodeName, listed, nearest, shown};
use super::Notes;
use crate::plan::{ArgumentPart, Codec, Placeholder, Program, Role, Stream, Video, VideoSource, argument_parts};

/// Bytes of all words of a command at most: Linux takes 128 KiB and more.
const LONGEST_COMMAND: usize = 64 << 10;

/// The program of a host. `None`: it is wrong.
pub(super) fn validate_program(
    key: &Text<NodeName>,
    host: &HostFile,
    role: Option<Role>,
    base: &Path,
    notes: &mut Notes<'_>,
) -> Option<Program> {
    let Some(written) = host.program.get() else { return Some(Program::default()) };
    if role.is_some_and(|role| role != Role::Broadcaster) {
        let message = format!("program: {} is no broadcaster", shown(&key.text));
        let finding = Finding::new(written.span(), message, "not for this role");
        notes.error(finding.help("only broadcasters have one; leave it out"));
        return None;
    }
    match written {
        ProgramFile::Word(text) => notes.read("program", text),
        ProgramFile::Command(command, span) => validate_command(command, span, base, notes),
    }
}

fn validate_command(command: &CommandFile, span: &Span, base: &Path, notes: &mut Notes<'_>) -> Option<Program> {
    let words = &command.command;
    let Some(program) = words.value.first().filter(|program| !program.text.trim().is_empty()) else {
        let finding = Finding::new(&words.span, "command: it has no program", "empty");
        notes.error(finding.help("write `command: [PROGRAM, ARGUMENT, …, \"{url}\"]`"));
        return None;
    };
    let before = notes.errors.len();
    let mut read: Vec<String> = Vec::with_capacity(words.value.len());
    for text in &words.value {
        let Some(Argument(word)) = notes.read("command", text) else { continue };
        for part in argument_parts(&word) {
            if let ArgumentPart::Unknown(name) = part {
                notes.error(unknown_placeholder(name, text));
            }
        }
        read.push(word);
    }
    if !argument_parts(&program.text).iter().all(|part| matches!(part, ArgumentPart::Plain(_))) {
        let finding = Finding::new(&program.span, "command: the program is a placeholder", "not a program");
        notes.error(finding.help("write the program's name or file first"));
    }
    if read.iter().map(String::len).sum::<usize>() > LONGEST_COMMAND {
        let message = format!("command: it is longer than {} KiB", LONGEST_COMMAND >> 10);
        notes.error(Finding::new(&words.span, message, "too long").help("put what is long into a file"));
    }
    if notes.errors.len() > before {
        return None;
    }
    let has_url =
        read.iter().flat_map(|word| argument_parts(word)).any(|part| part == ArgumentPart::Of(Placeholder::Url));
    if !has_url {
        let finding = Finding::new(span, "command: it is not told where to publish", "no `{url}`");
        notes.warn(finding.help("`{url}` stands for where its agent waits, rtmp://127.0.0.1:1935/live/NAME"));
    }
    if program.text.contains('/') {
        let joined = base.join(&program.text);
        read[0] = std::path::absolute(&joined).unwrap_or(joined).to_string_lossy().into_owned();
    }
    Some(Program::Command(read))
}

fn unknown_placeholder(name: &str, text: &Text<Argument>) -> Finding {
    let names = Placeholder::ALL.map(Placeholder::name);
    let message = format!("command: there is no placeholder {}", shown(&format!("{{{name}}}")));
    let finding = Finding::new(&text.span, message, "unknown");
    match nearest(name, &names) {
        Some(meant) => finding.help(format!("did you mean `{{{meant}}}`?")),
        None => finding.help(format!(
            "there are {}",
            listed(&names.map(|name| format!("{{{name}}}")).each_ref().map(String::as_str))
        )),
    }
}

/// Programs that cannot make the recipe's video. `programs` are those of the streams, with the places where they are written.
pub(super) fn check_video(
    streams: &[Stream],
    places: &[(&str, &Span)],
    video: &Video,
    written: Option<&VideoFile>,
    notes: &mut Notes<'_>,
) {
    let mut said: Vec<&Span> = Vec::new();
    for stream in streams {
        let Some((_, span)) = places.iter().find(|(host, _)| *host == stream.broadcaster) else { continue };
        // Those of one `count` share their place.
        if said.contains(span) {
            continue;
        }
        said.push(span);
        match &stream.program {
            Program::Ffmpeg => {}
            Program::Obs | Program::ObsDefaults => check_obs(&stream.program, span, video, written, notes),
            Program::Command(words) => check_size(words, span, video, notes),
        }
    }
}

fn check_obs(program: &Program, span: &Span, video: &Video, written: Option<&VideoFile>, notes: &mut Notes<'_>) {
    let mut wrong = |message: String, at: Option<&Span>, help: &str| {
        let finding = Finding::new(span, message, "this program");
        notes.error(match at {
            Some(at) => finding.also(at, "the video").help(help),
            None => finding.help(help),
        });
    };
    if video.codec != Codec::H264 {
        let at = written.and_then(|written| written.codec.get()).map(|text| &text.span);
        let help = "write `video: { codec: h264 }`";
        wrong(format!("program: {program} encodes H.264, and the video is to be flv1"), at, help);
    }
    if video.audio {
        let at = written.and_then(|written| written.audio.get()).map(|text| &text.span);
        wrong(format!("program: {program} is given no sound; what it broadcasts is silent"), at, "leave `audio` out");
    }
    if let VideoSource::Generated { width, .. } = video.source
        && width % 4 != 0
    {
        let at = written.and_then(|written| written.size.get()).map(|text| &text.span);
        let message = format!("program: {program} makes the width a multiple of 4, which {width} is not");
        wrong(message, at, &format!("write a width of {}", (width - width % 4).max(16)));
    }
}

/// What a file's size is nobody knows here.
fn check_size(words: &[String], span: &Span, video: &Video, notes: &mut Notes<'_>) {
    let uses = |placeholder| {
        words.iter().flat_map(|word| argument_parts(word)).any(|part| part == ArgumentPart::Of(placeholder))
    };
    if matches!(video.source, VideoSource::File { .. }) && uses(Placeholder::Size) {
        let finding = Finding::new(span, "command: `{size}` is not known of a video file", "`{size}`");
        notes.error(finding.help("write the size itself, or leave out `file`"));
    }
}

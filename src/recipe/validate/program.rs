//! What broadcasts, and what watches.

use std::path::Path;

use super::super::file::{HostFile, VideoFile};
use super::super::problem::Finding;
use super::super::program::{Argument, CommandFile, PlayerCommandFile, PlayerFile, ProgramFile};
use super::super::text::{At, Span, Text};
use super::super::word::{Flag, NodeName, listed, nearest, shown};
use super::Notes;
use crate::plan::{
    ArgumentPart, Codec, Placeholder, Player, Program, Role, Stream, Video, VideoSource, argument_parts,
};

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
        ProgramFile::Mapping(CommandFile { command }, span) => {
            let words = validate_command(command, span, Placeholder::PUBLISHING, base, notes)?;
            Some(Program::Command(words))
        }
    }
}

/// The player of a host; only viewers have one. `None`: it is wrong.
pub(super) fn validate_player(
    key: &Text<NodeName>,
    host: &HostFile,
    role: Option<Role>,
    base: &Path,
    notes: &mut Notes<'_>,
) -> Option<Player> {
    let Some(written) = host.player.get() else { return Some(Player::default()) };
    if role.is_some_and(|role| role != Role::Viewer) {
        let message = format!("player: {} is no viewer", shown(&key.text));
        let finding = Finding::new(written.span(), message, "not for this role");
        notes.error(finding.help("only viewers have one; leave it out"));
        return None;
    }
    match written {
        PlayerFile::Word(text) => notes.read("player", text),
        PlayerFile::Mapping(PlayerCommandFile { command, window }, span) => {
            let window = notes.read_or("window", window, Flag(false));
            let words = validate_command(command, span, Placeholder::WATCHING, base, notes);
            Some(Player::Command { command: words?, window: window?.0 })
        }
    }
}

/// The words of a command, its program's file absolute.
fn validate_command(
    words: &At<Vec<Text<Argument>>>,
    span: &Span,
    known: &[Placeholder],
    base: &Path,
    notes: &mut Notes<'_>,
) -> Option<Vec<String>> {
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
            let unknown = match part {
                ArgumentPart::Unknown(name) => Some(name),
                ArgumentPart::Of(placeholder) if !known.contains(&placeholder) => Some(placeholder.name()),
                ArgumentPart::Of(_) | ArgumentPart::Plain(_) => None,
            };
            if let Some(name) = unknown {
                notes.error(unknown_placeholder(name, known, text));
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
        let finding = Finding::new(span, "command: it does not contain the address of its agent", "no `{url}`");
        notes.warn(finding.help("`{url}` stands for where its agent waits, rtmp://127.0.0.1:1935/live/NAME"));
    }
    if program.text.contains('/') {
        let joined = base.join(&program.text);
        let named = std::path::absolute(&joined).unwrap_or(joined);
        // Elsewhere a sandbox has all folders, and trials of a sweep are named after the path as it is written.
        let path = if crate::sandbox::covers(&named) { crate::absolute_path::of(&named) } else { named };
        read[0] = path.to_string_lossy().into_owned();
    }
    Some(read)
}

fn unknown_placeholder(name: &str, known: &[Placeholder], text: &Text<Argument>) -> Finding {
    let names: Vec<&str> = known.iter().map(|placeholder| placeholder.name()).collect();
    let message = format!("command: there is no placeholder {}", shown(&format!("{{{name}}}")));
    let finding = Finding::new(&text.span, message, "unknown");
    match nearest(name, &names) {
        Some(meant) => finding.help(format!("did you mean `{{{meant}}}`?")),
        None => {
            let written: Vec<String> = names.iter().map(|name| format!("{{{name}}}")).collect();
            let written: Vec<&str> = written.iter().map(String::as_str).collect();
            finding.help(format!("there are {}", listed(&written)))
        }
    }
}

/// Programs that cannot make the recipe's video. `programs` are those of the streams, with the places where they are
/// written.
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
        wrong(format!("program: {program} encodes H.264, but the recipe's codec is flv1"), at, help);
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

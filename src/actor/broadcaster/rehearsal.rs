//! Whether a video file gives the pictures that a recipe asks of it: found out before anything boots, by the programs that will read it.
//!
//! ffprobe says what is in the file. ffmpeg then encodes it as in the trial, as fast as it can and into nothing. Only that tells what a loop
//! gives: found by trying (ffmpeg 5.1), raw H.264 and HEVC end after one round, JPEG files after one picture, and an MPEG-TS with B-frames
//! stands still at its second round.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::ffmpeg;
use crate::plan::{Video, VideoSource};

/// For ffprobe, which reads a file's beginning and, of some formats, its end.
const PROBE: Duration = Duration::from_secs(10);
/// Without a further picture for so long ffmpeg has none to give, however busy the machine is.
const STANDSTILL: Duration = Duration::from_secs(10);
/// Bytes kept of what a program says.
const MOST_SAID: u64 = 64 * 1024;

/// How much of a file is to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// What is in it.
    Contents,
    /// And whether ffmpeg makes all the pictures of it that are planned, within this time.
    Pictures(Duration),
}

/// Why a video file does not give what is asked of it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unsuited {
    /// It cannot be opened.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// Zero bytes.
    #[error("is empty")]
    Empty,
    /// An MP4 or QuickTime file whose end, with the table of its pictures, is missing.
    #[error("is cut short: the table of its pictures (`moov`) is missing")]
    CutShort,
    /// ffprobe knows no such format.
    #[error("is not a video that ffmpeg can read")]
    NoVideo,
    /// No picture.
    #[error("has no pictures, only {0}")]
    NoPictures(String),
    /// The recipe wants sound.
    #[error("has no sound")]
    NoSound,
    /// ffmpeg refuses it.
    #[error("cannot be encoded by ffmpeg{0}")]
    NotEncoded(String),
    /// It ends before all planned pictures are made.
    #[error("gives {pictures} of the {wanted} pictures wanted, and cannot be looped")]
    TooShort {
        /// How many ffmpeg made.
        pictures: u64,
        /// How many are planned.
        wanted: u32,
    },
}

/// What is doubtful of a file, or could not be looked at; `None`: nothing.
pub type Doubt = Option<String>;

/// Looks at the file that `video` is made of. Of generated pictures there is nothing to look at.
///
/// # Errors
/// The file does not give what is asked of it.
pub fn rehearse(video: &Video, depth: Depth) -> Result<Doubt, Unsuited> {
    let VideoSource::File { path } = &video.source else { return Ok(None) };
    let mut file = File::open(path).map_err(|error| Unsuited::Unreadable(plainly(&error)))?;
    let mut beginning = Vec::new();
    let read = file.by_ref().take(12).read_to_end(&mut beginning);
    read.map_err(|error| Unsuited::Unreadable(plainly(&error)))?;
    if beginning.is_empty() {
        return Err(Unsuited::Empty);
    }
    let is_mp4 = beginning.get(4..8) == Some(b"ftyp");
    let Some(contents) = probe(path, is_mp4)? else {
        return Ok(Some("its contents were not checked: ffprobe is not installed, or did not answer".to_owned()));
    };
    contents.suit(video)?;
    match depth {
        Depth::Contents => Ok(None),
        Depth::Pictures(within) => match encode(video, within) {
            Some(seen) => judge(&seen, video.frames),
            None => Ok(Some("its pictures were not checked: ffmpeg is not installed".to_owned())),
        },
    }
}

fn plainly(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::PermissionDenied => "you may not read it".to_owned(),
        ErrorKind::NotFound => "it does not exist".to_owned(),
        _ => "the disk or the network it is on reports an error".to_owned(),
    }
}

/// What ffprobe finds in a file.
#[derive(Debug, Deserialize)]
struct Contents {
    #[serde(default)]
    streams: Vec<Track>,
}

/// One of a file's streams.
#[derive(Debug, Deserialize)]
struct Track {
    #[serde(default)]
    codec_type: String,
    #[serde(default)]
    disposition: Disposition,
}

/// What a stream is for.
#[derive(Debug, Default, Deserialize)]
struct Disposition {
    /// 1: a picture on the cover of a piece of music.
    #[serde(default)]
    attached_pic: u8,
}

impl Contents {
    /// Whether there is what the encoder takes.
    fn suit(&self, video: &Video) -> Result<(), Unsuited> {
        let has = |kind: &str| self.streams.iter().any(|track| track.codec_type == kind);
        let pictures = |track: &Track| track.codec_type == "video" && track.disposition.attached_pic == 0;
        if !self.streams.iter().any(pictures) {
            return Err(match (has("video"), has("audio")) {
                (true, _) => Unsuited::NoPictures("sound and a picture of its cover".to_owned()),
                (false, true) => Unsuited::NoPictures("sound".to_owned()),
                _ if self.streams.is_empty() => Unsuited::NoVideo,
                _ => Unsuited::NoPictures("text".to_owned()),
            });
        }
        if video.audio && !has("audio") { Err(Unsuited::NoSound) } else { Ok(()) }
    }
}

/// What ffprobe says; `None`: it is not there, or gives no answer.
fn probe(path: &Path, is_mp4: bool) -> Result<Option<Contents>, Unsuited> {
    let mut command = Command::new("ffprobe");
    // Only this file: some formats are lists of others, even of other machines'.
    command
        .args(["-v", "error", "-protocol_whitelist", "file,crypto,data", "-show_streams", "-of", "json"])
        .arg(path);
    let Ok(mut child) = start(&mut command) else { return Ok(None) };
    let answer = lines(child.stdout.take());
    first_line(child.stderr.take());
    let mut text = String::new();
    let deadline = Instant::now() + PROBE;
    let in_time = loop {
        match answer.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) if text.len() as u64 <= MOST_SAID => text += &line,
            Ok(_) => {}
            Err(RecvTimeoutError::Disconnected) => break true,
            Err(RecvTimeoutError::Timeout) => break false,
        }
    };
    let status = end(child, in_time);
    match (in_time, status) {
        (true, Some(status)) if status.success() => Ok(serde_json::from_str(&text).ok()),
        (true, Some(_)) if is_mp4 => Err(Unsuited::CutShort),
        (true, Some(_)) => Err(Unsuited::NoVideo),
        _ => Ok(None),
    }
}

/// How an encoder of a rehearsal went.
#[derive(Debug)]
struct Seen {
    pictures: u64,
    ended: Ended,
    /// The first line that it complained with.
    said: Option<String>,
}

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Well,
    Badly,
    /// It had no further picture.
    StoodStill,
    /// There was no more time to look on.
    OutOfTime,
}

/// Encodes as in the trial, but for the pace; `None`: there is no ffmpeg.
fn encode(video: &Video, within: Duration) -> Option<Seen> {
    let mut child = start(Command::new("ffmpeg").args(ffmpeg::rehearsal(video))).ok()?;
    let (progress, complaints) = (lines(child.stdout.take()), first_line(child.stderr.take()));
    let deadline = Instant::now() + within;
    let (mut pictures, mut last_picture) = (0, Instant::now());
    let ended = loop {
        let patience = deadline.min(last_picture + STANDSTILL);
        match progress.recv_timeout(patience.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                let count = line.trim().strip_prefix("frame=").and_then(|count| count.trim().parse().ok());
                if let Some(count) = count.filter(|count| *count > pictures) {
                    (pictures, last_picture) = (count, Instant::now());
                }
                if Instant::now() >= patience {
                    break if patience < deadline { Ended::StoodStill } else { Ended::OutOfTime };
                }
            }
            Err(RecvTimeoutError::Timeout) if patience < deadline => break Ended::StoodStill,
            Err(RecvTimeoutError::Timeout) => break Ended::OutOfTime,
            Err(RecvTimeoutError::Disconnected) => break Ended::Well,
        }
    };
    let status = end(child, ended == Ended::Well);
    let ended = match (ended, status) {
        (Ended::Well, status) if !status.is_some_and(|status| status.success()) => Ended::Badly,
        (ended, _) => ended,
    };
    Some(Seen { pictures, ended, said: complaints.join().ok().flatten() })
}

/// Holds what ffmpeg made against what is planned.
fn judge(seen: &Seen, wanted: u32) -> Result<Doubt, Unsuited> {
    // So ffmpeg says that a format cannot be looped: no matter if nobody needs the loop, and told otherwise if somebody does. Version 7 then fails, too.
    let is_no_loop = |line: &&str| line.contains("Operation not permitted");
    let cannot_loop = seen.said.as_deref().as_ref().is_some_and(is_no_loop);
    let said = seen.said.as_deref().filter(|line| !is_no_loop(line));
    // `[h264 @ 0x55d64de9f780] …` names a place in ffmpeg's memory.
    let plain = |line: &str| match line.strip_prefix('[').and_then(|line| line.split_once("] ")) {
        Some((part, rest)) if part.contains(" @ 0x") => rest.trim().chars().take(120).collect::<String>(),
        _ => line.trim().chars().take(120).collect(),
    };
    let said = said.map(plain);
    let pictures = seen.pictures;
    match seen.ended {
        _ if pictures >= u64::from(wanted) => {
            Ok(said.map(|said| format!("may be damaged, though it gives all pictures; ffmpeg says `{said}`")))
        }
        Ended::OutOfTime if pictures > 0 => {
            Ok(Some(format!("is long: only its first {pictures} pictures were checked")))
        }
        Ended::Badly if pictures > 0 && cannot_loop => Err(Unsuited::TooShort { pictures, wanted }),
        Ended::Well | Ended::StoodStill if pictures > 0 => Err(Unsuited::TooShort { pictures, wanted }),
        _ => Err(Unsuited::NotEncoded(said.map(|said| format!(", which says `{said}`")).unwrap_or_default())),
    }
}

fn start(command: &mut Command) -> std::io::Result<Child> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// Ends a program, by force unless it is `ending` by itself.
fn end(mut child: Child, ending: bool) -> Option<ExitStatus> {
    if !ending {
        // It may have ended just now.
        let _ = child.kill();
    }
    child.wait().ok()
}

/// Lines as they come; none is read before the one before it is taken, beyond a few.
fn lines(from: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = sync_channel(16);
    thread::spawn(move || {
        let mut from = from.map(BufReader::new);
        while let Some(from) = &mut from {
            let mut line = Vec::new();
            let read = from.by_ref().take(MOST_SAID).read_until(b'\n', &mut line);
            if read.is_ok_and(|read| read > 0) && sender.send(String::from_utf8_lossy(&line).into_owned()).is_ok() {
                continue;
            }
            return;
        }
    });
    receiver
}

/// The first line that says something. The rest is read, so that nobody waits for it to be, and forgotten.
fn first_line(from: Option<impl Read + Send + 'static>) -> JoinHandle<Option<String>> {
    thread::spawn(move || {
        let all = lines(from);
        let first = all.iter().find(|line| !line.trim().is_empty());
        all.iter().for_each(drop);
        first
    })
}

#[cfg(test)]
#[path = "rehearsal_tests.rs"]
mod tests;

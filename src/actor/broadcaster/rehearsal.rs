//! Whether a video file gives the pictures that a recipe asks of it: found out before anything boots, by the programs that will read it.
//!
//! ffprobe says what is in the file. ffmpeg then encodes it as in the trial, as fast as it can and into nothing. Only that tells what a loop
//! gives: found by trying (ffmpeg 5.1), raw H.264 and HEVC end after one round, JPEG files after one picture, and an MPEG-TS with B-frames
//! stands still at its second round.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::ffmpeg;
use crate::file_trouble;
use crate::plan::{Video, VideoSource};

/// For ffprobe, which reads a file's beginning and, of some formats, its end.
const PROBE: Duration = Duration::from_secs(10);
/// Without a further picture for so long ffmpeg has none to give, however busy the machine is.
const STANDSTILL: Duration = Duration::from_secs(10);
/// Bytes kept of what a program says.
const MOST_SAID: u64 = 64 * 1024;

/// What ffprobe calls the formats of files that say where the pictures are instead of having them.
const LISTS: [&str; 7] = ["concat", "hls", "dash", "imf", "sdp", "avisynth", "vapoursynth"];
/// How some of them begin.
const LISTS_BEGIN: [(&[u8], &str); 3] = [(b"ffconcat version", "concat"), (b"#EXTM3U", "hls"), (b"v=0\n", "sdp")];
/// Encoding is timed from its first report to its last, if there is so much between them.
const LEAST_TIMED: Duration = Duration::from_secs(1);

/// Generated pictures of so many pixels a second (1280x720 at 60) are encoded in time by any machine that trials can run on.
const EASY_PIXELS_PER_SECOND: u64 = 1280 * 720 * 60;
/// For more than those: they are all alike.
const GLANCE: Duration = Duration::from_secs(3);

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
    /// Other files hold the pictures: a sandbox does not show them, and nobody would notice that they have changed.
    #[error("is a list of other files ({0}), not a video")]
    List(String),
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

/// Whether there is anything to look at: a file, or so many generated pictures that a machine may be too slow for them.
#[must_use]
pub fn is_worthwhile(video: &Video) -> bool {
    match video.source {
        VideoSource::File { .. } => true,
        VideoSource::Generated { width, height, .. } => {
            u64::from(width) * u64::from(height) * u64::from(video.fps) > EASY_PIXELS_PER_SECOND
        }
    }
}

/// Looks at the file that `video` is made of. Of generated pictures it sees whether they are encoded in time.
///
/// # Errors
/// The file does not give what is asked of it.
pub fn rehearse(video: &Video, depth: Depth) -> Result<Doubt, Unsuited> {
    let path = match (&video.source, depth) {
        (VideoSource::File { path }, _) => path,
        (VideoSource::Generated { .. }, Depth::Pictures(within)) if is_worthwhile(video) => {
            return Ok(encode(video, within.min(GLANCE)).and_then(|seen| slowness(&seen, video.fps)));
        }
        (VideoSource::Generated { .. }, _) => return Ok(None),
    };
    let unreadable = |error| Unsuited::Unreadable(file_trouble::plainly(path, &error));
    let mut file = File::open(path).map_err(unreadable)?;
    let mut beginning = Vec::new();
    file.by_ref().take(64).read_to_end(&mut beginning).map_err(unreadable)?;
    if beginning.is_empty() {
        return Err(Unsuited::Empty);
    }
    // Of a list whose files cannot be opened ffprobe says no more than that.
    if let Some((_, kind)) = LISTS_BEGIN.iter().find(|(words, _)| beginning.starts_with(words)) {
        return Err(Unsuited::List((*kind).to_owned()));
    }
    let is_mp4 = beginning.get(4..8) == Some(b"ftyp");
    let Some(contents) = probe(path, is_mp4)? else {
        return Ok(Some("its contents were not checked: ffprobe is not installed, or did not answer".to_owned()));
    };
    contents.suit(video)?;
    match depth {
        Depth::Contents => Ok(None),
        Depth::Pictures(within) => match encode(video, within) {
            Some(seen) => judge(&seen, video.frames, video.fps),
            None => Ok(Some("its pictures were not checked: ffmpeg is not installed".to_owned())),
        },
    }
}

/// What ffprobe finds in a file.
#[derive(Debug, Deserialize)]
struct Contents {
    #[serde(default)]
    streams: Vec<Track>,
    #[serde(default)]
    format: Format,
}

/// What kind of file it is.
#[derive(Debug, Default, Deserialize)]
struct Format {
    #[serde(default)]
    format_name: String,
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
        if LISTS.contains(&self.format.format_name.as_str()) {
            return Err(Unsuited::List(self.format.format_name.clone()));
        }
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
        .args([
            "-v",
            "error",
            "-protocol_whitelist",
            "file,crypto,data",
            "-show_streams",
            "-show_format",
            "-of",
            "json",
        ])
        .arg(path);
    let Ok(mut child) = start(&mut command) else { return Ok(None) };
    let answer = lines(child.stdout.take());
    complaints(child.stderr.take());
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
    /// Pictures a second, once it was at work; `None`: it was too quick to tell.
    pace: Option<f64>,
    said: Complaints,
}

/// What ffmpeg complained of: the first line of each sort.
#[derive(Debug, Default, PartialEq, Eq)]
struct Complaints {
    /// About what it read.
    file: Option<String>,
    /// About what it was to make of it.
    encoder: Option<String>,
    /// That the format cannot be looped: no matter if nobody needs the loop, and told otherwise if somebody does. Version 7 then fails, too.
    cannot_loop: bool,
}

impl Complaints {
    fn take(&mut self, line: &str) {
        if line.contains("Operation not permitted") {
            self.cannot_loop = true;
            return;
        }
        let sort = if is_of_encoder(line) { &mut self.encoder } else { &mut self.file };
        if sort.is_none() && !line.trim().is_empty() {
            // `[h264 @ 0x55d64de9f780] …` names a place in ffmpeg's memory.
            let plain = match line.strip_prefix('[').and_then(|line| line.split_once("] ")) {
                Some((part, rest)) if part.contains(" @ 0x") => rest,
                _ => line,
            };
            *sort = Some(plain.trim().chars().take(120).collect());
        }
    }
}

/// Whether an encoder says so, or the part of ffmpeg around it. Of `[flv @ 0x55d64de9f780] …` only the words tell, as the encoder, the decoder
/// and the reader of FLV files all have that name (ffmpeg 5.1, `libavcodec/ratecontrol.c`).
fn is_of_encoder(line: &str) -> bool {
    let part = line.strip_prefix('[').and_then(|line| line.split(" @ 0x").next()).unwrap_or("");
    let of_encoder = part.starts_with("libx264") || part.starts_with("enc:") || part.starts_with("vost#");
    of_encoder
        || ["rc buffer underflow", "max bitrate possibly too small", "Too many bits"]
            .iter()
            .any(|words| line.contains(words))
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
    let (progress, said) = (lines(child.stdout.take()), complaints(child.stderr.take()));
    let deadline = Instant::now() + within;
    let (mut pictures, mut last_picture) = (0, Instant::now());
    let mut first_report = None;
    let ended = loop {
        let patience = deadline.min(last_picture + STANDSTILL);
        match progress.recv_timeout(patience.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                let count = line.trim().strip_prefix("frame=").and_then(|count| count.trim().parse().ok());
                if let Some(count) = count.filter(|count| *count > pictures) {
                    (pictures, last_picture) = (count, Instant::now());
                    first_report.get_or_insert((pictures, last_picture));
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
    let pace = first_report.and_then(|(before, since)| {
        let time = last_picture.duration_since(since);
        (time >= LEAST_TIMED).then(|| (pictures - before) as f64 / time.as_secs_f64())
    });
    Some(Seen { pictures, ended, pace, said: said.join().unwrap_or_default() })
}

/// Holds what ffmpeg made against what is planned.
fn judge(seen: &Seen, wanted: u32, fps: u32) -> Result<Doubt, Unsuited> {
    let Complaints { file, encoder, cannot_loop } = &seen.said;
    let pictures = seen.pictures;
    let mut doubts = Vec::new();
    match seen.ended {
        _ if pictures >= u64::from(wanted) => match (file, encoder) {
            (Some(said), _) => {
                doubts.push(format!("may be damaged, though it gives all pictures; ffmpeg says `{said}`"));
            }
            (None, Some(said)) => doubts.push(format!(
                "has pictures that the recipe's `bitrate` is too low for; ffmpeg's encoder says `{said}`"
            )),
            (None, None) => {}
        },
        Ended::OutOfTime if pictures > 0 => {
            doubts.push(format!("is long: only its first {pictures} pictures were checked"));
        }
        Ended::Badly if pictures > 0 && *cannot_loop => return Err(Unsuited::TooShort { pictures, wanted }),
        Ended::Well if pictures > 0 => return Err(Unsuited::TooShort { pictures, wanted }),
        // Version 7 turns round in the loop of a still JPEG and never makes a picture of it.
        Ended::StoodStill if pictures > 0 || file.is_none() && encoder.is_none() => {
            return Err(Unsuited::TooShort { pictures, wanted });
        }
        _ => {
            let said = encoder.as_ref().or(file.as_ref());
            return Err(Unsuited::NotEncoded(said.map(|said| format!(", which says `{said}`")).unwrap_or_default()));
        }
    }
    doubts.extend(slowness(seen, fps));
    Ok((!doubts.is_empty()).then(|| doubts.join("; it ")))
}

/// That an encoder is too slow. In a trial it has the pace of the video, but players and all else beside it.
fn slowness(seen: &Seen, fps: u32) -> Option<String> {
    let pace = seen.pace.filter(|pace| *pace < f64::from(fps))?.floor();
    Some(format!(
        "was encoded at {pace} pictures a second here, and {fps} are wanted: unless the machine was busy just now, pictures will \
         be late and trials unfit; write a lower `fps`, or make the pictures smaller"
    ))
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

/// What ffmpeg complains of. All of it is read, so that nobody waits for it to be, and only a little is kept.
fn complaints(from: Option<impl Read + Send + 'static>) -> JoinHandle<Complaints> {
    thread::spawn(move || {
        let mut said = Complaints::default();
        lines(from).iter().for_each(|line| said.take(&line));
        said
    })
}

#[cfg(test)]
#[path = "rehearsal_tests.rs"]
mod tests;

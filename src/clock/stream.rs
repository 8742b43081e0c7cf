//! Reads the clock in what was encoded: the frames of a stream, decoded by ffmpeg, in the order in which they are
//! shown.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use livectl_wire::birth::{Birth, BirthKind};
use livectl_wire::flv::{Content, MAX_PAYLOAD, Reader, TagKind, VideoHeader};

use super::log::StreamLog;
use super::{Layout, Tick};

/// `CodecID` of AVC, the one codec with B-frames that FLV names by a number.
const AVC: u8 = 7;

/// What `livectl internal clock` is told.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct ClockArgs {
    /// The stream as it was encoded (FLV)
    #[arg(long)]
    pub stream: PathBuf,
    /// When each frame of it was born (CSV)
    #[arg(long)]
    pub births: PathBuf,
    /// Width of a picture in pixels
    #[arg(long)]
    pub width: u32,
    /// Where the clock of each frame goes
    #[arg(long)]
    pub log: PathBuf,
}

/// Why the clock of a stream cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// A file, or ffmpeg.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// The failed operation: `read`, `write`, ….
        doing: &'static str,
        /// Path of the file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its pictures are too narrow for a clock.
    #[error("{0} pixels are too narrow for a clock")]
    Narrow(u32),
    /// ffmpeg did not like the stream.
    #[error("ffmpeg cannot decode {}: {why}", path.display())]
    Undecoded {
        /// Path of the recorded stream.
        path: PathBuf,
        /// What it said, or how it ended.
        why: String,
    },
    /// Which picture belongs to which frame is not known.
    #[error("{}: ffmpeg decoded {pictures} of {frames} frames", path.display())]
    Fewer {
        /// Path of the recorded stream.
        path: PathBuf,
        /// In the stream.
        frames: usize,
        /// How many pictures were decoded.
        pictures: usize,
    },
}

/// Decodes the stream and writes down the clock of each frame.
///
/// # Errors
/// [`StreamError`].
pub fn read(args: &ClockArgs) -> Result<(), StreamError> {
    let failed = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| StreamError::Io { doing, path, source }
    };
    let births = File::open(&args.births).and_then(births).map_err(failed("read", &args.births))?;
    let layout = Layout::of(args.width).ok_or(StreamError::Narrow(args.width))?;
    let times = File::open(&args.stream).and_then(presentation_times).map_err(failed("read", &args.stream))?;
    let ticks = decode(&args.stream, layout)?;
    if ticks.len() != times.len() {
        return Err(StreamError::Fewer { path: args.stream.clone(), frames: times.len(), pictures: ticks.len() });
    }
    let mut clock_ns = vec![None; times.len()];
    for (frame, tick) in in_order_of_showing(&times).into_iter().zip(ticks) {
        if let Some(slot) = clock_ns.get_mut(frame) {
            *slot = tick.zip(births.get(frame)).map(|(tick, birth_ns)| tick.near(*birth_ns));
        }
    }
    let written = File::create(&args.log).map(BufWriter::new).and_then(|mut to| {
        StreamLog::write(&mut to, &clock_ns)?;
        to.flush()
    });
    written.map_err(failed("write", &args.log))
}

/// When each frame was born, by index. Lines that are no births are skipped here; `trace::Births` reports them.
fn births(log: File) -> io::Result<Vec<i64>> {
    let frame = |line: String| line.parse::<Birth>().ok().filter(|birth| birth.kind == BirthKind::Video);
    let lines = BufReader::new(log).lines();
    lines.filter_map(|line| line.map(|line| frame(line).map(|birth| birth.birth_ns)).transpose()).collect()
}

/// When each frame of an FLV stream is to be shown, in milliseconds; in the order in which they stand there, which is
/// that of their births.
fn presentation_times(source: impl Read) -> io::Result<Vec<i64>> {
    let mut times = Vec::new();
    let read = Reader::new(MAX_PAYLOAD).read_all(source, |tag| {
        if tag.kind == TagKind::Video && matches!(tag.content(), Content::Picture { .. }) {
            times.push(i64::from(tag.timestamp) + composition_time(tag.payload));
        }
    })?;
    read.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
    Ok(times)
}

/// How long after it is decoded a picture is shown, in milliseconds: of codecs with B-frames FLV has it, as a signed
/// number of 24 bits behind the packet type (Adobe Flash Video File Format Specification 10.1, E.4.3.1).
fn composition_time(payload: &[u8]) -> i64 {
    let with_packet_type = VideoHeader::parse(payload).is_some_and(|header| header.codec_id == AVC);
    match payload {
        [_, _, a, b, c, ..] if with_packet_type => i64::from(i32::from_be_bytes([*a, *b, *c, 0]) >> 8),
        _ => 0,
    }
}

/// The frames by index, in the order in which they are shown.
fn in_order_of_showing(times: &[i64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..times.len()).collect();
    order.sort_by_key(|frame| times.get(*frame));
    order
}

/// The clock of each picture that ffmpeg makes of the stream, in the order in which it shows them.
fn decode(stream: &Path, layout: Layout) -> Result<Vec<Option<Tick>>, StreamError> {
    let running = |source| StreamError::Io { doing: "run", path: "ffmpeg".into(), source };
    // The row of cells alone, all the same width whatever the picture's, and no picture twice or left out.
    let (width, height) = (layout.width(), layout.cell);
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-hide_banner", "-nostdin", "-nostats", "-loglevel", "error", "-f", "flv", "-i"]).arg(stream);
    ffmpeg.args(["-map", "0:v:0", "-vf", &format!("crop={width}:{height}:0:0,format=gray"), "-vsync", "passthrough"]);
    ffmpeg.args(["-f", "rawvideo", "pipe:1"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut ffmpeg = ffmpeg.spawn().map_err(running)?;
    // It says little: what does not fit into the pipe would be more than a damaged stream gives reason to.
    let (said, pictures) = (ffmpeg.stderr.take(), ffmpeg.stdout.take());
    let said = std::thread::spawn(move || said.map(io::read_to_string).transpose());
    let mut ticks = Vec::new();
    if let Some(mut pictures) = pictures {
        let mut picture = vec![0; (width * height) as usize];
        let middle = (height / 2 * width) as usize;
        loop {
            match pictures.read_exact(&mut picture) {
                Ok(()) => {
                    let row = picture.get(middle..).unwrap_or_default();
                    ticks.push(layout.read(|x| row.get(x as usize).copied().unwrap_or(0)));
                }
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(running(error)),
            }
        }
    }
    let status = ffmpeg.wait().map_err(running)?;
    let said = said.join().ok().and_then(Result::ok).flatten().unwrap_or_default();
    if status.success() {
        return Ok(ticks);
    }
    let why = said.lines().last().map_or_else(|| status.to_string(), str::to_owned);
    Err(StreamError::Undecoded { path: stream.to_owned(), why })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use livectl_wire::birth::{HEADER, Register};

    use super::*;
    use crate::clock::picture;

    /// A stream with B-frames: encoded in another order than shown. Each frame gets its own clock all the same.
    #[test]
    fn every_frame_has_its_own_clock_whatever_the_order_of_encoding() {
        let folder = tempfile::tempdir().unwrap();
        for (name, codec) in [
            ("flv1", ["-c:v", "flv1", "-bf", "0"].as_slice()),
            ("b-frames", ["-c:v", "libx264", "-bf", "3", "-b_strategy", "0"].as_slice()),
        ] {
            let stream = folder.path().join(format!("{name}.flv"));
            let source = format!(
                "testsrc2=size=640x360:rate=30,format=yuv420p,realtime,{}",
                picture::filters(640, 360, 30).unwrap()
            );
            let status = Command::new("ffmpeg")
                .args([
                    "-v",
                    "error",
                    "-nostdin",
                    "-f",
                    "lavfi",
                    "-fpsprobesize",
                    "0",
                    "-i",
                    &source,
                    "-frames:v",
                    "24",
                ])
                .args(codec)
                .args(["-b:v", "1M"])
                .arg(&stream)
                .status()
                .unwrap();
            assert!(status.success());
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as i64;
            let (mut births, mut register, mut pictures) = (format!("{HEADER}\n"), Register::default(), Vec::new());
            Reader::new(MAX_PAYLOAD)
                .push(&std::fs::read(&stream).unwrap(), |tag| {
                    births += &format!("{}\n", register.birth(tag.kind, tag.timestamp, tag.payload, now));
                    if tag.kind == TagKind::Video && matches!(tag.content(), Content::Picture { .. }) {
                        pictures.push(i64::from(tag.timestamp) + composition_time(tag.payload));
                    }
                })
                .unwrap();
            let args = ClockArgs {
                stream,
                births: folder.path().join("births.csv"),
                width: 640,
                log: folder.path().join("clock.csv"),
            };
            std::fs::write(&args.births, births).unwrap();
            read(&args).unwrap();
            let log = StreamLog::read(std::fs::read(&args.log).unwrap().as_slice()).unwrap();
            assert_eq!(log.problem, None);
            let clocks: Vec<i64> = log.clock_ns.into_iter().map(Option::unwrap).collect();
            assert_eq!(clocks.len(), 24, "{name}");
            assert_eq!(clocks.is_sorted(), name == "flv1", "{name}: {clocks:?}");
            // A picture that is shown later was taken later, a thirtieth of a second for each.
            let mut shown: Vec<(i64, i64)> = pictures.into_iter().zip(clocks).collect();
            shown.sort_unstable();
            assert!(shown.is_sorted_by(|a, b| a.1 < b.1), "{name}: {shown:?}");
            let length = shown.last().unwrap().1 - shown[0].1;
            assert!((600_000_000..2_000_000_000).contains(&length), "{name}: {length}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("births.csv"), format!("{HEADER}\n")).unwrap();
        std::fs::write(path("hb.flv"), "no FLV at all").unwrap();
        let args =
            ClockArgs { stream: path("hb.flv"), births: path("births.csv"), width: 640, log: path("clock.csv") };
        let error = read(&args).unwrap_err().to_string();
        assert!(error.contains("hb.flv: "), "{error}");
        let error = read(&ClockArgs { width: 300, ..args.clone() }).unwrap_err().to_string();
        assert_eq!(error, "300 pixels are too narrow for a clock");
        let error = read(&ClockArgs { births: path("none.csv"), ..args }).unwrap_err().to_string();
        assert!(error.starts_with("cannot read "), "{error}");
    }
}

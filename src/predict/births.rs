//! What a broadcaster is going to emit: by the encoder itself, which makes the stream without a network and as fast as it can.
//!
//! Sizes and order are then those of a trial, byte for byte where the same ffmpeg encodes. The moments of birth are not: in a trial a frame is born when the
//! encoder has it, which jitters by a millisecond; here it is the frame's time in the stream. But ffmpeg's clock runs while it prepares its first frame, so
//! the first few are born together ([`READY`]).

use std::io::Read;
use std::process::{Command, Stdio};

use livectl_wire::birth::{BirthKind, Register};
use livectl_wire::flv::Reader;

use crate::actor::broadcaster::ffmpeg;
use crate::plan::Video;
use crate::trace::Births;

/// Largest tag that is taken: as in what viewers' programs write.
const MAX_TAG: usize = 16 << 20;

/// From when ffmpeg's clock runs until its first frame is out: frames that were due meanwhile are born with it. The median of 63
/// trials of recipes/held/sizes.yaml (89 to 100 ms); 60 to 151 ms in 15 older ones.
const READY: i64 = 91_000_000;

/// Why nothing is known of what would be emitted.
#[derive(Debug, thiserror::Error)]
pub enum BirthsError {
    /// ffmpeg cannot be started.
    #[error("ffmpeg cannot be started ({0}); `--births RUN` takes the frames of a stored run instead")]
    NoEncoder(std::io::Error),
    /// ffmpeg failed.
    #[error("ffmpeg cannot make the stream: {0}")]
    Encoder(String),
    /// What it wrote cannot be read.
    #[error("what ffmpeg wrote cannot be read: {0}")]
    Unreadable(String),
}

/// Encodes a recipe's video. Its frames are born at their times after `first_ns`, the others with those that they precede.
///
/// # Errors
/// [`BirthsError`]; fewer frames than planned are one.
pub fn encode(video: &Video, first_ns: i64) -> Result<Births, BirthsError> {
    let mut encoder = Command::new("ffmpeg")
        .args(ffmpeg::at_once(video))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(BirthsError::NoEncoder)?;
    // It says little, and a pipe takes 64 KiB of that.
    let read = encoder.stdout.take().map(|stream| births(stream, first_ns));
    let output = encoder.wait_with_output().map_err(|error| BirthsError::Unreadable(error.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(BirthsError::Encoder(said.lines().last().unwrap_or("it says nothing").to_owned()));
    }
    let births = read.unwrap_or_else(|| Err(BirthsError::Unreadable("nothing".to_owned())))?;
    let (made, planned) = (births.frames.len(), video.frames);
    if made < planned as usize {
        return Err(BirthsError::Encoder(format!("{made} of {planned} frames")));
    }
    Ok(births)
}

fn births(stream: impl Read, first_ns: i64) -> Result<Births, BirthsError> {
    let mut register = Register::default();
    let mut births = Births::default();
    let mut reader = Reader::new(MAX_TAG);
    let read = reader.read_all(stream, |tag| {
        let at = first_ns.saturating_add((i64::from(tag.timestamp) * 1_000_000 - READY).max(0));
        let birth = register.birth(tag.kind, tag.timestamp, tag.payload, at);
        match birth.kind {
            BirthKind::Video => births.frames.push(birth),
            _ => births.others.push(birth),
        }
    });
    match read {
        Ok(Ok(())) => Ok(births),
        Ok(Err(error)) => Err(BirthsError::Unreadable(error.to_string())),
        Err(error) => Err(BirthsError::Unreadable(error.to_string())),
    }
}

//! The predicted outcome of a trial: the same plan and the same policies, without a network.
//!
//! | module | what it holds |
//! |---|---|
//! | [`births`] | what a broadcaster is going to emit, by the encoder itself |
//! | [`course`] | the trial, event by event |
//! | `programs`, `watching` | what broadcaster, CDN and viewers do; who watches what from whom |
//! | `controller` | who is named to whom and when, by `livectl-policy` |
//! | [`tcp`], `connection`, `network` | windows and losses; what passes a connection; links, by [`Shaper`](crate::emulator::shaper::Shaper) |
//! | [`crowd`] | audiences far beyond a machine, a step a frame |
//! | [`agenda`] | events in the order of time |
//! | `outcome` | what would have been captured and told |
//! | [`folder`], [`cost`], [`refused`] | a predicted trial as it is stored; what a prediction takes; what is refused |
//!
//! The outcome is what [`trace`](crate::trace) makes of a measured trial's files, so that tables, pictures and comparisons are the same code.
//! What the model covers and what it leaves out is in `docs/prediction.md`.

pub mod agenda;
pub mod births;
mod connection;
mod controller;
pub mod cost;
pub mod course;
pub mod crowd;
pub mod folder;
mod heartbeats;
mod network;
mod outcome;
mod programs;
pub mod refused;
pub mod tcp;
mod watching;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use livectl_wire::birth::BirthKind;

use crate::plan::delivery::Scheme;
use crate::plan::{Audience, Handover, LinkKind, Trial, VideoSource};
use crate::trace::{Births, Told, TrialTrace};
use agenda::Nanos;
use course::{Born, Course, nanos};
use outcome::Frames;

/// Counts up when the model's figures change.
pub const MODEL: u32 = 2;
/// From the start of the broadcaster's program until it talks to its agent.
const PROGRAM_STARTS: Nanos = 75_000_000;
/// Trips between program and CDN until the publish is accepted: a player's nine until the CDN has its command, and the answer.
const TRIPS_TO_PUBLISH: u32 = 10;
/// What programs and late acknowledgements add to those trips: 155 ms with the other two. Measured 114 to 196 ms (median 145) in 63 trials of
/// recipes/held/sizes.yaml, 155 to 372 in 15 older ones with trips of 4 to 400 ms.
const PUBLISH_TAKES: Nanos = 78_000_000;
/// From the CDN's consent to the first picture.
const ENCODER_STARTS: Nanos = 2_000_000;
/// Viewers who stay for less time on average are somewhere between two parents most of it: measured, the scheme does better than the model.
const LEAST_STAY: Duration = Duration::from_secs(20);

/// What would have been captured and told of a trial.
#[derive(Debug)]
pub struct Prediction {
    /// What was born and what arrived.
    pub trace: TrialTrace,
    /// What agents told, by host.
    pub told: BTreeMap<String, Told>,
    /// Packets that links have lost, or had no room for.
    pub dropped: u64,
}

/// Why a trial cannot be predicted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unpredictable {
    /// The scheme has no model.
    #[error("scheme {0} is not in the model (direct, bypass, relay and multicast are)")]
    Scheme(Scheme),
    /// A program other than ffmpeg makes the stream.
    #[error("stream {0}: only ffmpeg's frames are known beforehand; `--births RUN` takes those of a stored run")]
    Program(String),
    /// Screens are not in the model.
    #[error(
        "viewer {0}: what its player holds back before it shows a picture is not in the model; use a player that writes the stream"
    )]
    Player(String),
    /// Another congestion control than CUBIC's and Reno's.
    #[error("congestion control {0} is not in the model (cubic and reno are)")]
    CongestionControl(String),
    /// The CDN does not set TCP_NODELAY.
    #[error("a CDN without TCP_NODELAY is not in the model")]
    Nagle,
    /// What agents do otherwise than usual.
    #[error("`agents: {0}` is not in the model")]
    Agents(&'static str),
    /// Relay on links that change.
    #[error(
        "relay over links that change is not in the model: agents judge their parents by how late frames come, which it leaves out"
    )]
    Changes,
    /// Churn beyond what was compared with measurement.
    #[error("relay with stays of {0:?} on average is not in the model, which covers {LEAST_STAY:?} and more")]
    Stay(Duration),
    /// A file is broadcast with its sound.
    #[error("a video file with sound is not in the model; `--births RUN` takes the frames of a stored run")]
    Sound,
    /// The network has no CDN, or a broadcaster has no way to it.
    #[error("there is no CDN, or a broadcaster has no way to it")]
    Host,
    /// More than one stream for a crowd.
    #[error("{0} streams: a crowd watches one")]
    Streams(usize),
    /// A host with more than one link.
    #[error("{0} has more than one link, which is not in the model of a crowd")]
    Links(String),
    /// A crowd behind links that change.
    #[error("links that change are not in the model of a crowd")]
    CrowdChanges,
    /// The crowd has no viewers, or too many.
    #[error("{0} viewers: a crowd has 1 to {most}", most = crowd::MOST)]
    Crowd(usize),
    /// Viewers times frames are more than memory holds.
    #[error("{viewers} viewers with {frames} frames each: all are kept in memory, {most} at most; take fewer frames or viewers", most = crowd::MOST_FRAMES)]
    Frames {
        /// How many viewers the crowd has.
        viewers: usize,
        /// How many frames the stream has.
        frames: u32,
    },
    /// Stored births are of another recipe.
    #[error("stream {0}: the births are of another recipe")]
    Births(String),
    /// The prediction was told to halt.
    #[error("it was halted")]
    Halted,
}

/// Whether the model covers a trial. `are_stored`: births are known from a run.
///
/// # Errors
/// What keeps it from being predicted.
pub fn holds(trial: &Trial, are_stored: bool) -> Result<(), Unpredictable> {
    let scheme = trial.point.scheme;
    if scheme == Scheme::Hls {
        return Err(Unpredictable::Scheme(scheme));
    }
    if let Some(viewer) = trial.network.hosts.iter().find(|host| host.player.shows()) {
        return Err(Unpredictable::Player(viewer.name.clone()));
    }
    if !matches!(trial.congestion_control.as_str(), "cubic" | "reno") {
        return Err(Unpredictable::CongestionControl(trial.congestion_control.clone()));
    }
    if !trial.cdn.nodelay {
        return Err(Unpredictable::Nagle);
    }
    if trial.agents.handover != Handover::Complete {
        return Err(Unpredictable::Agents("handover: live"));
    }
    if trial.agents.upload_buffer.is_some() {
        return Err(Unpredictable::Agents("upload_buffer"));
    }
    if scheme == Scheme::Relay && !trial.link_changes.is_empty() {
        return Err(Unpredictable::Changes);
    }
    if let Audience { churn: Some(churn), .. } = &trial.audience
        && scheme == Scheme::Relay
        && churn.stay < LEAST_STAY
    {
        return Err(Unpredictable::Stay(churn.stay));
    }
    if are_stored {
        return Ok(());
    }
    if let Some(stream) = trial.streams.iter().find(|stream| !stream.program.is_usual()) {
        return Err(Unpredictable::Program(stream.name.clone()));
    }
    if trial.video.audio && matches!(trial.video.source, VideoSource::File { .. }) {
        return Err(Unpredictable::Sound);
    }
    Ok(())
}

/// When a stream's first frame is born on the trial's timeline: the program starts, talks to the CDN, and begins when that consents.
#[must_use]
pub fn first_birth(trial: &Trial, broadcaster: &str) -> Nanos {
    let cdn = trial.network.cdn().map(|cdn| cdn.name.as_str()).unwrap_or_default();
    let trip = trial.network.path(broadcaster, cdn).unwrap_or_default();
    let trip: Duration = trip.iter().map(|shape| shape.delay).sum();
    nanos(trial.timeline.broadcast_at)
        + PROGRAM_STARTS
        + nanos(trip * TRIPS_TO_PUBLISH)
        + PUBLISH_TAKES
        + ENCODER_STARTS
}

/// Predicts a trial. `births` are those of each stream, in nanoseconds of CLOCK_REALTIME, in which moment 0 is `zero_ns`.
///
/// # Errors
/// [`Unpredictable`].
pub fn predict(trial: &Trial, births: &[Births], zero_ns: i64) -> Result<Prediction, Unpredictable> {
    let never = AtomicBool::new(false);
    predict_unless(trial, births, zero_ns, &never)
}

/// The same, given up when `halt` is set.
///
/// # Errors
/// [`Unpredictable`].
pub fn predict_unless(
    trial: &Trial,
    births: &[Births],
    zero_ns: i64,
    halt: &AtomicBool,
) -> Result<Prediction, Unpredictable> {
    let streams: Vec<(Rc<[Born]>, Frames<'_>)> = trial
        .streams
        .iter()
        .zip(births)
        .map(|(stream, births)| items(&stream.name, births, zero_ns))
        .collect::<Result<_, _>>()?;
    let born: Vec<Rc<[Born]>> = streams.iter().map(|(born, _)| born.clone()).collect();
    let frames: Vec<Frames<'_>> = streams.into_iter().map(|(_, frames)| frames).collect();
    let mut course = Course::new(trial, &born).ok_or(Unpredictable::Host)?;
    if !course.run(nanos(trial.timeline.end + trial.timeline.drain), halt) {
        return Err(Unpredictable::Halted);
    }
    Ok(Prediction {
        trace: outcome::trace(&course, trial, &frames, zero_ns),
        told: outcome::told(&course, trial, zero_ns),
        dropped: course.dropped(),
    })
}

/// A stream's items in the order of their births, and which are its frames.
fn items<'b>(stream: &str, births: &'b Births, zero_ns: i64) -> Result<(Rc<[Born]>, Frames<'b>), Unpredictable> {
    let mut all: Vec<_> = births.frames.iter().chain(&births.others).collect();
    // What is born with a frame goes before it, as codec headers do.
    all.sort_by_key(|birth| (birth.birth_ns, birth.kind == BirthKind::Video, birth.index));
    let mut latest = 0;
    let mut of_frames = vec![None; births.frames.len()];
    let mut born = Vec::with_capacity(all.len());
    for (item, birth) in all.iter().enumerate() {
        let at = u64::try_from(birth.birth_ns.saturating_sub(zero_ns))
            .map_err(|_| Unpredictable::Births(stream.to_owned()))?;
        latest = at.max(latest);
        let is_frame = birth.kind == BirthKind::Video;
        born.push(Born { bytes: birth.size.into(), at: latest, keyframe: birth.keyframe && is_frame, is_frame });
        if is_frame {
            let place = usize::try_from(birth.index).ok().and_then(|index| of_frames.get_mut(index));
            *place.ok_or_else(|| Unpredictable::Births(stream.to_owned()))? = Some(item);
        }
    }
    let items = of_frames.into_iter().collect::<Option<Vec<_>>>();
    let items = items.ok_or_else(|| Unpredictable::Births(stream.to_owned()))?;
    Ok((born.into(), Frames { births, items }))
}

/// The links that prediction knows: the emulator's.
pub const LINKS: LinkKind = LinkKind::Emulated;

#[cfg(test)]
mod tests;

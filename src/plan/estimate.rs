//! What a plan will cost, before it is run.

use std::time::Duration;

use super::delivery::{Carrier, Edge};
use super::{Plan, Scheme, Trial, Video};

/// Time that a trial takes beyond its own timeline: sandbox, Mininet's boot, measuring the paths, teardown, analysis.
pub const TRIAL_OVERHEAD: Duration = Duration::from_secs(10);

/// Bitrate of a stream's sound in bit/s, where it has any.
pub const AUDIO_BITRATE: u64 = 96_000;

/// Bitrate of a film for each of the screens on it, in bit/s.
pub const FILM_BITRATE: u64 = 600_000;

/// Captured bytes per byte of video: headers of Ethernet, IP and TCP, acknowledgements, pcap records.
const CAPTURE_OVERHEAD: f64 = 1.15;

/// Logs, transcripts, tables and pictures of a trial.
const TRIAL_FILES: u64 = 1_000_000;

/// What a run will take: time, and space on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// Until the last trial is done, if trials run one after the other and nobody has to be waited for at their ends.
    pub duration: Duration,
    /// The same if each trial waits for its viewers as long as it may (`drain`).
    pub longest: Duration,
    /// Size of the results in bytes, by the nominal bitrate of the video.
    pub disk_bytes: u64,
}

impl Video {
    /// How long the encoder takes: frames over frames per second.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(u64::from(self.frames) * 1_000_000_000 / u64::from(self.fps.max(1)))
    }

    /// Nominal bitrate of picture and sound in bit/s.
    #[must_use]
    pub fn total_bitrate(&self) -> u64 {
        self.bitrate + if self.audio { AUDIO_BITRATE } else { 0 }
    }

    /// Nominal size of the whole stream in bytes.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        (self.total_bitrate() as f64 / 8.0 * self.duration().as_secs_f64()) as u64
    }
}

impl Plan {
    /// Time and disk that the run will take.
    #[must_use]
    pub fn estimate(&self) -> Estimate {
        let duration = self.trials.iter().map(|trial| trial.timeline.end + TRIAL_OVERHEAD).sum();
        let longest = duration + self.trials.iter().map(|trial| trial.timeline.drain).sum::<Duration>();
        let disk_bytes = self.trials.iter().map(Trial::disk_bytes).sum();
        Estimate { duration, longest, disk_bytes }
    }
}

impl Trial {
    /// Captures and dumps: a copy of the stream for each edge that it goes over at one time, at both its ends.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        let stream = self.video.total_bytes();
        let edges: Vec<Edge<'_>> = self.streams.iter().flat_map(|stream| self.edges_at_once(stream)).collect();
        // A host's traffic is spread over its interfaces, whatever their number.
        let captured: std::collections::BTreeSet<&str> =
            self.captures.iter().map(|point| point.host.as_str()).collect();
        // What goes to a group is sent once, whoever gets it.
        let (copied, sent): (Vec<&Edge<'_>>, Vec<_>) = edges.iter().partition(|edge| edge.carrier == Carrier::Group);
        let once: std::collections::BTreeSet<&str> = copied.iter().map(|edge| edge.from).collect();
        let ends = sent.iter().flat_map(|edge| [edge.from, edge.to]).chain(copied.iter().map(|edge| edge.to));
        let at_captures = ends.chain(once).filter(|host| captured.contains(host));
        let viewed = edges.iter().filter(|edge| self.streams.iter().any(|s| s.viewers.iter().any(|v| v == edge.to)));
        let (copies, dumps) = (at_captures.count() as u64, viewed.count() as u64);
        // The stream as it was born, where something is read in it afterwards.
        let is_recorded = self.video.clock || self.point.scheme == Scheme::Hls;
        let recordings = if is_recorded { self.streams.len() as u64 } else { 0 };
        let filmed = self.timeline.end.saturating_sub(self.timeline.broadcast_at).as_secs_f64();
        let film = self.film.len() as f64 * FILM_BITRATE as f64 / 8.0 * filmed;
        let captures = copies as f64 * stream as f64 * CAPTURE_OVERHEAD;
        (captures + film) as u64 + (dumps + recordings) * stream + TRIAL_FILES
    }
}

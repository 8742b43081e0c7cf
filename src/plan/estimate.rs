//! What a plan will cost, before it is run.

use std::time::Duration;

use super::{Plan, Role, Scheme, Trial, Video};

/// Time that a trial takes beyond its own timeline: sandbox, Mininet's boot, measuring the paths, teardown, analysis.
pub const TRIAL_OVERHEAD: Duration = Duration::from_secs(10);

/// Bitrate of a stream's sound in bit/s, where it has any.
pub const AUDIO_BITRATE: u64 = 96_000;

/// Captured bytes per byte of video: headers of Ethernet, IP and TCP, acknowledgements, pcap records.
const CAPTURE_OVERHEAD: f64 = 1.15;

/// Logs, transcripts, tables and pictures of a trial.
const TRIAL_FILES: u64 = 1_000_000;

/// What a run will take, roughly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// Until the last trial is done, if trials run one after the other.
    pub duration: Duration,
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
        let disk_bytes = self.trials.iter().map(Trial::disk_bytes).sum();
        Estimate { duration, disk_bytes }
    }
}

impl Trial {
    /// Captures and dumps: each stream goes up to the CDN once and down once for each viewer, and in `bypass` from the
    /// broadcaster to each viewer once more, unless the viewer turns out to be on another switch.
    fn disk_bytes(&self) -> u64 {
        let stream = self.video.total_bytes();
        let peer_copies = u64::from(self.scheme == Scheme::Bypass);
        let viewers = |name: &str| -> u64 {
            self.streams.iter().filter(|s| s.broadcaster == name).map(|s| s.viewers.len() as u64).sum()
        };
        let (streams, all_viewers) =
            self.streams.iter().fold((0, 0), |(s, v), stream| (s + 1, v + stream.viewers.len() as u64));
        // A host's traffic is spread over its interfaces, whatever their number.
        let mut seen = std::collections::HashSet::new();
        let copies: u64 = self
            .captures
            .iter()
            .filter(|point| seen.insert(point.host.as_str()))
            .filter_map(|point| self.network.host(&point.host))
            .map(|host| match host.role {
                Role::Broadcaster => 1 + peer_copies * viewers(&host.name),
                Role::Cdn => streams + all_viewers,
                Role::Viewer => 1 + peer_copies,
                Role::Idle => 0,
            })
            .sum();
        let dumps = all_viewers * (1 + peer_copies);
        (copies as f64 * stream as f64 * CAPTURE_OVERHEAD) as u64 + dumps * stream + TRIAL_FILES
    }
}

//! The state of the player, reported periodically to whoever watches.

use std::net::SocketAddrV4;
use std::time::Duration;

use livectl_wire::agent_event::{Event, Latest, Path};
use livectl_wire::frame::FrameId;
use tokio::time::Instant;

use crate::tell::{now_ns, tell};

/// What the player was handed last, and when that is told next.
pub(super) struct Standing {
    every: Option<Duration>,
    next: Option<Instant>,
    latest: Option<(Path, Option<SocketAddrV4>, FrameId, i64)>,
}

impl Standing {
    /// Tells `every` so often from `now` on; with `None` never.
    pub(super) fn new(every: Option<Duration>, now: Instant) -> Self {
        Self { every, next: every.map(|every| now + every.mul_f64(phase(std::process::id()))), latest: None }
    }

    /// The player is handed a picture.
    pub(super) fn handed(&mut self, path: Path, peer: Option<SocketAddrV4>, id: FrameId) {
        if self.every.is_some() {
            self.latest = Some((path, peer, id, now_ns()));
        }
    }

    /// When it is told next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Tells it.
    pub(super) fn tell(&mut self, frames: u64, now: Instant) {
        // What was missed while the machine was busy is not made up for.
        self.next = self.every.map(|every| now + every);
        let latest =
            self.latest.map(|(path, peer, id, handed_ns)| Latest { path, peer, id: id.to_string(), handed_ns });
        tell(Event::Now { latest, frames });
    }
}

/// The part of the time between two tellings after which the first one is due: agents whose players come all at once,
/// and whose process ids follow each other, are not to speak all at once.
fn phase(pid: u32) -> f64 {
    // The golden ratio's multiples spread evenly, however many there are (Knuth, TAOCP 3, 6.4).
    (f64::from(pid) * 0.618_033_988_749_895).fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_speak_one_after_the_other() {
        let mut phases: Vec<f64> = (4000..4032).map(|n| phase(n * 3)).collect();
        phases.sort_by(f64::total_cmp);
        let apart = phases.iter().zip(phases.iter().skip(1)).map(|(a, b)| b - a);
        assert!(apart.fold(f64::INFINITY, f64::min) > 0.005, "32 agents in a second: {phases:?}");
        assert!(phases.iter().all(|phase| (0.0..1.0).contains(phase)));
    }

    #[test]
    fn the_next_telling_is_a_whole_interval_later() {
        let now = Instant::now();
        let every = Duration::from_secs(1);
        let mut standing = Standing::new(Some(every), now);
        let first = standing.deadline();
        assert!(first >= Some(now) && first < Some(now + every));
        standing.tell(0, now + 5 * every);
        assert_eq!(standing.deadline(), Some(now + 6 * every));
        assert_eq!(Standing::new(None, now).deadline(), None);
    }
}

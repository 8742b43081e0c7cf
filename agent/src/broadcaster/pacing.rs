//! Peers first: how much of the uplink the upload to the CDN may take while peers are served. A group counts as one
//! peer, whatever its audience.
//!
//! The CDN's copy and the peers' copies leave through one uplink. When both together are more than it carries, TCP
//! shares it evenly and a queue builds up in front of the link, and every frame for the peers waits in it. Therefore
//! the upload is slowed down to what the peers leave, by the pacing rate of its socket, and what waits for it waits
//! in the agent, not in the kernel, so that a change of pace takes effect at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use livectl_policy::pacing::{CDN_LAG, TOLERATED_LAG, allowance, differs};
use livectl_wire::agent_event::Event;
use tokio::sync::watch;
use tokio::time::{Instant, interval};

use super::studio::Studio;
use crate::tell::tell;

/// Between two looks at what the peers leave of the uplink.
const INTERVAL: Duration = Duration::from_millis(250);
/// Over how many of those the stream's rate is averaged: 2 s.
const WINDOW: usize = 8;
/// Over how much of a stream its rate can be told.
const SHORTEST: Duration = Duration::from_millis(900);

/// How many bits a second a stream has, over the last [`WINDOW`].
#[derive(Debug, Default)]
struct Rate {
    /// When so many bytes had been born in all.
    window: VecDeque<(Instant, u64)>,
}

impl Rate {
    /// The rate at `now`, when `bytes` bytes have been born; `None` until there is enough to tell it.
    fn note(&mut self, now: Instant, bytes: u64) -> Option<f64> {
        // The time before the stream does not count, nor does the part of an interval in which it began.
        if self.window.len() == 1 && self.window.back().is_some_and(|(_, before)| *before == bytes) {
            self.window.clear();
        }
        self.window.push_back((now, bytes));
        if self.window.len() > WINDOW + 1 {
            self.window.pop_front();
        }
        let (then, before) = self.window.front()?;
        let seconds = now.duration_since(*then).as_secs_f64();
        (seconds >= SHORTEST.as_secs_f64()).then(|| (bytes - before) as f64 * 8.0 / seconds)
    }
}

/// Keeps `limit` at what the peers leave of the uplink, for ever.
pub(super) async fn pace(uplink: u64, studio: Arc<Studio>, limit: watch::Sender<Option<u64>>) {
    let mut ticks = interval(INTERVAL);
    let mut expectations = studio.peers.expectations();
    let mut rate = Rate::default();
    loop {
        let now = tokio::select! {
            now = ticks.tick() => now,
            // The queue in front of the link is to be gone before the first frame for a new peer.
            Ok(()) = expectations.changed() => Instant::now(),
        };
        let measured = rate.note(now, studio.born_bytes());
        let expected = studio.peers.expected(now);
        let count = studio.peers.served() + expected + usize::from(studio.group.is_served());
        let rate = measured.or_else(|| studio.stated_rate());
        let catching_up =
            expected > 0 || measured.is_none_or(|measured| studio.peers.lag(measured / 8.0) > TOLERATED_LAG);
        #[allow(clippy::cast_precision_loss)]
        let waiting = studio.waiting_for_cdn() as f64 * 8.0;
        let behind = rate.is_some_and(|rate| waiting > rate * CDN_LAG);
        let wanted = (count > 0).then(|| allowance(uplink, rate, count, catching_up, behind));
        if differs(*limit.borrow(), wanted) {
            tell(Event::Pacing { bit_per_s: wanted, peers: count });
            limit.send_replace(wanted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_of_a_stream_that_begins() {
        let (mut rate, begun) = (Rate::default(), Instant::now());
        let at = |tick: u64| begun + INTERVAL * tick as u32;
        for tick in 0..5 {
            assert_eq!(rate.note(at(tick), 0), None, "nothing is there yet");
        }
        let known = (5..30).map(|tick| rate.note(at(tick), (tick - 4) * 25_000));
        let known: Vec<f64> = known.skip_while(Option::is_none).flatten().collect();
        assert!(known.len() >= 20 && known.iter().all(|rate| (rate - 800_000.0).abs() < 1.0), "{known:?}");
        let idle: Vec<f64> = (30..40).filter_map(|tick| rate.note(at(tick), 625_000)).collect();
        assert_eq!(idle.last(), Some(&0.0));
    }
}

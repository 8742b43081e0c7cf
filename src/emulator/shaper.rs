//! What one direction of a link does to one packet: a pure model, time is an argument.
//!
//! A packet passes three stages, in this order:
//! 1. **Loss.** With the shape's probability the packet is lost on arrival. It takes neither queue nor link time, as with
//!    netem, whose losses happen on enqueue (tc-netem(8), "LOSS").
//! 2. **Rate.** The link sends one packet at a time, in order of arrival, at `bandwidth` bit/s counting the whole Ethernet
//!    frame without preamble and FCS. Packets that arrive meanwhile wait; when [`plan::Shape::queue`] packets wait
//!    already, the new one is dropped (drop-tail). The packet that is being sent does not wait and is not counted, and
//!    neither are the packets that have been sent and are under way.
//! 3. **Delay.** From the end of its transmission the packet travels for `delay`. With jitter each packet draws its own
//!    travel time, uniform in `delay ± jitter` and never below zero; then packets may overtake each other, as they do
//!    with netem's jitter (tc-netem(8), "DELAY").

use std::collections::VecDeque;

use crate::plan;

/// Nanoseconds of some monotonic clock.
pub type Nanos = u64;

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It reaches the other end at this time.
    Deliver {
        /// Not before the time at which the packet was offered.
        at: Nanos,
    },
    /// Dropped: the queue was full.
    QueueFull,
    /// Dropped: the link lost it.
    Lost,
}

/// The state of one direction of a link.
#[derive(Debug, Clone)]
pub struct Shaper {
    /// bit/s; `None`: takes no time.
    rate: Option<u64>,
    delay: Nanos,
    jitter: Nanos,
    loss: f64,
    queue: usize,
    random: fastrand::Rng,
    /// When the link has sent everything it has accepted.
    idle_at: Nanos,
    /// When each waiting packet's transmission starts, ascending; entries in the past are removed lazily.
    starts: VecDeque<Nanos>,
    longest_queue: usize,
}

impl Shaper {
    /// A direction that nothing has passed yet. The same seed and the same packets at the same times give the same verdicts.
    #[must_use]
    pub fn new(shape: &plan::Shape, seed: u64) -> Self {
        Shaper {
            rate: shape.bandwidth.filter(|rate| *rate > 0),
            delay: nanos(shape.delay),
            jitter: nanos(shape.jitter),
            loss: shape.loss,
            queue: shape.queue as usize,
            random: fastrand::Rng::with_seed(seed),
            idle_at: 0,
            starts: VecDeque::new(),
            longest_queue: 0,
        }
    }

    /// Offers a packet of `bytes` (the Ethernet frame without FCS) at `now`. Times must not run backwards.
    pub fn offer(&mut self, now: Nanos, bytes: usize) -> Verdict {
        if self.loss > 0.0 && self.random.f64() < self.loss {
            return Verdict::Lost;
        }
        let sent = match self.rate {
            None => now,
            Some(rate) => {
                while self.starts.front().is_some_and(|start| *start <= now) {
                    self.starts.pop_front();
                }
                let start = now.max(self.idle_at);
                if start > now {
                    if self.starts.len() >= self.queue {
                        return Verdict::QueueFull;
                    }
                    self.starts.push_back(start);
                    self.longest_queue = self.longest_queue.max(self.starts.len());
                }
                self.idle_at = start + serialisation(rate, bytes);
                self.idle_at
            }
        };
        Verdict::Deliver { at: sent + self.travel() }
    }

    /// The most packets that ever waited at once.
    #[must_use]
    pub fn longest_queue(&self) -> usize {
        self.longest_queue
    }

    fn travel(&mut self) -> Nanos {
        if self.jitter == 0 {
            return self.delay;
        }
        // The part of delay ± jitter that lies before zero falls on zero.
        let drawn = self.random.u64(0..=2 * self.jitter);
        (self.delay + drawn).saturating_sub(self.jitter)
    }
}

/// How long a link of `rate` bit/s sends `bytes`, rounded up to the nanosecond.
#[must_use]
pub fn serialisation(rate: u64, bytes: usize) -> Nanos {
    let bits_in_nanos = bytes as u128 * 8 * 1_000_000_000;
    u64::try_from(bits_in_nanos.div_ceil(u128::from(rate))).unwrap_or(u64::MAX / 4)
}

fn nanos(duration: std::time::Duration) -> Nanos {
    // A quarter of the range leaves room to add times; it is still 146 years.
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).min(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const MS: Nanos = 1_000_000;

    fn shape(bandwidth: Option<u64>, delay_ms: u64) -> plan::Shape {
        plan::Shape {
            bandwidth,
            delay: Duration::from_millis(delay_ms),
            jitter: Duration::ZERO,
            loss: 0.0,
            queue: 1000,
        }
    }

    fn at(verdict: Verdict) -> Nanos {
        match verdict {
            Verdict::Deliver { at } => at,
            other => panic!("not delivered: {other:?}"),
        }
    }

    #[test]
    fn a_lone_packet_takes_its_transmission_and_the_delay() {
        let mut link = Shaper::new(&shape(Some(4_000_000), 100), 1);
        // 1500 bytes at 4 Mbit/s are 3 ms.
        assert_eq!(at(link.offer(7 * MS, 1500)), (7 + 3 + 100) * MS);
        assert_eq!(link.longest_queue(), 0, "the packet being sent does not wait");
    }

    #[test]
    fn packets_leave_one_after_the_other() {
        let mut link = Shaper::new(&shape(Some(4_000_000), 100), 1);
        let times: Vec<_> = (0..4).map(|_| at(link.offer(0, 500))).collect();
        assert_eq!(times, [101 * MS, 102 * MS, 103 * MS, 104 * MS]);
        assert_eq!(link.longest_queue(), 3);
        // The link has been idle since 4 ms: no credit is saved up.
        assert_eq!(at(link.offer(50 * MS, 500)), 151 * MS);
    }

    #[test]
    fn the_queue_holds_so_many_and_no_more() {
        let mut link = Shaper::new(&plan::Shape { queue: 2, ..shape(Some(4_000_000), 0) }, 1);
        let verdicts: Vec<_> = (0..4).map(|_| link.offer(0, 500)).collect();
        assert_eq!(verdicts[3], Verdict::QueueFull);
        assert_eq!(at(verdicts[2]), 3 * MS);
        // At 1 ms the second starts to be sent and leaves one place.
        assert_eq!(at(link.offer(MS, 500)), 4 * MS);
        assert_eq!(link.offer(MS, 500), Verdict::QueueFull);
        assert_eq!(link.longest_queue(), 2);
    }

    #[test]
    fn without_a_queue_only_an_idle_link_accepts() {
        let mut link = Shaper::new(&plan::Shape { queue: 0, ..shape(Some(4_000_000), 0) }, 1);
        assert_eq!(at(link.offer(0, 500)), MS);
        assert_eq!(link.offer(MS - 1, 500), Verdict::QueueFull);
        assert_eq!(at(link.offer(MS, 500)), 2 * MS);
    }

    #[test]
    fn packets_under_way_do_not_fill_the_queue() {
        let mut link = Shaper::new(&plan::Shape { queue: 1, ..shape(Some(4_000_000), 10_000) }, 1);
        for n in 0..1000 {
            assert_eq!(at(link.offer(n * MS, 500)), (n + 1 + 10_000) * MS);
        }
    }

    #[test]
    fn without_a_rate_only_the_delay_counts() {
        let mut link = Shaper::new(&plan::Shape { queue: 0, ..shape(None, 30) }, 1);
        for _ in 0..10 {
            assert_eq!(at(link.offer(5, 1514)), 5 + 30 * MS);
        }
    }

    #[test]
    fn the_lost_take_no_link_time() {
        let mut link = Shaper::new(&plan::Shape { loss: 1.0, ..shape(Some(1000), 0) }, 1);
        assert_eq!(link.offer(0, 1500), Verdict::Lost);
        link.loss = 0.0;
        assert_eq!(at(link.offer(0, 125)), 1000 * MS);
    }

    #[test]
    fn losses_come_as_often_as_asked() {
        let mut link = Shaper::new(&plan::Shape { loss: 0.1, ..shape(None, 0) }, 42);
        let lost = (0..100_000).filter(|now| link.offer(*now, 100) == Verdict::Lost).count();
        // Five standard deviations of a binomial: 5·√(100000·0.1·0.9) = 474.
        assert!((9_526..=10_474).contains(&lost), "{lost}");
    }

    #[test]
    fn jitter_is_uniform_around_the_delay_and_overtakes() {
        let mut link = Shaper::new(&plan::Shape { jitter: Duration::from_millis(20), ..shape(None, 100) }, 7);
        let times: Vec<_> = (0..20_000).map(|now| at(link.offer(now, 100)) - now).collect();
        assert!(times.iter().all(|t| (80 * MS..=120 * MS).contains(t)));
        let mean = times.iter().sum::<u64>() / 20_000;
        // The mean of 20000 draws of a uniform of width 40 ms has a standard deviation of 82 µs.
        assert!(mean.abs_diff(100 * MS) < MS / 2, "{mean}");
        let early = times.iter().filter(|t| **t < 90 * MS).count();
        assert!((4_600..=5_400).contains(&early), "a quarter lies in the first quarter: {early}");
        assert!(times.windows(2).any(|pair| pair[1] + 1 < pair[0]));
    }

    #[test]
    fn jitter_wider_than_the_delay_stops_at_zero() {
        let mut link = Shaper::new(&plan::Shape { jitter: Duration::from_millis(20), ..shape(None, 5) }, 7);
        let times: Vec<_> = (0..1000).map(|_| at(link.offer(0, 100))).collect();
        assert!(times.iter().all(|t| *t <= 25 * MS));
        assert!(times.contains(&0));
    }

    #[test]
    fn the_rate_is_exact_over_many_packets() {
        for rate in [1_000_000, 4_000_000, 20_000_000, 100_000_000] {
            let mut link = Shaper::new(&plan::Shape { queue: 20_000, ..shape(Some(rate), 0) }, 1);
            let last = (0..10_000).map(|_| at(link.offer(0, 1514))).last().unwrap();
            let ideal = 10_000.0 * 1514.0 * 8.0 / rate as f64 * 1e9;
            assert!((last as f64 - ideal).abs() / ideal < 1e-5, "{rate}: {last} {ideal}");
        }
    }

    fn packets() -> impl Strategy<Value = Vec<(u64, usize)>> {
        proptest::collection::vec((0u64..20_000_000, 14usize..1515), 1..200)
    }

    proptest! {
        #[test]
        fn what_holds_of_every_link(
            packets in packets(), rate in 100_000u64..1_000_000_000, delay in 0u64..500, jitter in 0u64..50,
            loss in 0.0f64..0.5, queue in 0u32..20, seed: u64,
        ) {
            let shape = plan::Shape {
                bandwidth: Some(rate), delay: Duration::from_millis(delay), jitter: Duration::from_millis(jitter), loss, queue,
            };
            let (mut link, mut again) = (Shaper::new(&shape, seed), Shaper::new(&shape, seed));
            let (mut now, mut free, mut waiting) = (0, 0u64, Vec::<Nanos>::new());
            for (gap, bytes) in packets {
                now += gap;
                waiting.retain(|start| *start > now);
                let verdict = link.offer(now, bytes);
                prop_assert_eq!(verdict, again.offer(now, bytes), "seeded");
                match verdict {
                    Verdict::Lost => prop_assert!(loss > 0.0),
                    Verdict::QueueFull => {
                        prop_assert!(free > now, "an idle link drops nothing");
                        prop_assert_eq!(waiting.len(), queue as usize);
                    }
                    Verdict::Deliver { at } => {
                        let start = now.max(free);
                        free = start + serialisation(rate, bytes);
                        if start > now { waiting.push(start); }
                        prop_assert!(waiting.len() <= queue as usize);
                        prop_assert!(at >= free + delay.saturating_sub(jitter) * MS);
                        prop_assert!(at <= free + (delay + jitter) * MS);
                    }
                }
            }
            prop_assert!(link.longest_queue() <= queue as usize);
        }

        #[test]
        fn without_jitter_nothing_overtakes(packets in packets(), rate in proptest::option::of(100_000u64..1_000_000_000)) {
            let mut link = Shaper::new(&shape(rate, 10), 1);
            let (mut now, mut last) = (0, 0);
            for (gap, bytes) in packets {
                now += gap;
                if let Verdict::Deliver { at } = link.offer(now, bytes) {
                    prop_assert!(at >= last);
                    last = at;
                }
            }
        }
    }
}

//! What one direction of a link does to one packet: a pure model, time is an argument.
//!
//! A packet passes three stages, in this order:
//! 1. **Loss.** While the link is down every packet that comes is lost. Else with the shape's probability the packet is lost on arrival. It takes neither
//!    queue nor link time, as with netem, whose losses happen on enqueue (tc-netem(8), "LOSS").
//! 2. **Rate.** The link sends one packet at a time, in order of arrival, at `bandwidth` bit/s counting the whole Ethernet
//!    frame without preamble and FCS. Packets that arrive meanwhile wait; when [`plan::Shape::queue`] packets wait
//!    already, the new one is dropped (drop-tail). The packet that is being sent does not wait and is not counted, and
//!    neither are the packets that have been sent and are under way.
//! 3. **Delay.** From the end of its transmission the packet travels for `delay`. With jitter each packet draws its own
//!    travel time, uniform in `delay ± jitter` and never below zero; then packets may overtake each other, as they do
//!    with netem's jitter (tc-netem(8), "DELAY").
//!
//! **Changes.** The link knows beforehand how it will change ([`plan::Step`]), so it still tells a packet's time when
//! the packet comes: the packet has been sent when the integral of the rate since its turn came is its bits. Thus
//! packets that wait, and the rest of the one that is being sent, go at the new rate from the very moment of the
//! change, however late anyone looks at a clock. While the rate is 0 nothing is sent, and the queue holds what waits.
//! Delay and jitter are those of the moment at which the packet has been sent; without jitter none overtakes another
//! when the delay falls. What the link has accepted before it goes down is sent and arrives all the same.

use std::collections::VecDeque;

use crate::plan;

/// Nanoseconds of some monotonic clock.
pub type Nanos = u64;

/// The end of all time: 146 years, with room to add to it.
const NEVER: Nanos = Nanos::MAX / 4;

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
    /// Dropped: the link was down.
    Down,
}

/// What the link does from a moment on, until the next leg begins.
#[derive(Debug, Clone, Copy)]
struct Leg {
    from: Nanos,
    /// bit/s; `None`: takes no time.
    rate: Option<u64>,
    delay: Nanos,
    jitter: Nanos,
    loss: f64,
    down: bool,
}

impl Leg {
    fn new(from: Nanos, condition: &plan::Condition) -> Leg {
        let plan::Condition { shape, down } = condition;
        let (delay, jitter) = (nanos(shape.delay), nanos(shape.jitter));
        Leg { from, rate: shape.bandwidth, delay, jitter, loss: shape.loss, down: *down }
    }
}

/// The state of one direction of a link.
#[derive(Debug, Clone)]
pub struct Shaper {
    /// The first one holds from the beginning.
    legs: Vec<Leg>,
    /// How the link will change, counted from a moment that is not known yet.
    ahead: Vec<plan::Step>,
    /// The leg of the latest arrival.
    arriving: usize,
    /// The leg in which the link has sent everything it has accepted.
    sending: usize,
    queue: usize,
    random: fastrand::Rng,
    /// When the link has sent everything it has accepted.
    idle_at: Nanos,
    /// When the last packet without jitter arrives.
    last_at: Nanos,
    /// When each waiting packet's transmission starts, ascending; entries in the past are removed lazily.
    starts: VecDeque<Nanos>,
    longest_queue: usize,
}

impl Shaper {
    /// A direction that nothing has passed yet. The same seed and the same packets at the same times give the same
    /// verdicts.
    #[must_use]
    pub fn new(shape: &plan::Shape, seed: u64) -> Self {
        Shaper::changing(shape, Vec::new(), seed)
    }

    /// The same, of a link that changes when its timeline has [begun](Self::begin). `steps` are in the order of time.
    #[must_use]
    pub fn changing(shape: &plan::Shape, steps: Vec<plan::Step>, seed: u64) -> Self {
        Shaper {
            legs: vec![Leg::new(0, &plan::Condition::of(*shape))],
            ahead: steps,
            arriving: 0,
            sending: 0,
            queue: shape.queue as usize,
            random: fastrand::Rng::with_seed(seed),
            idle_at: 0,
            last_at: 0,
            starts: VecDeque::new(),
            longest_queue: 0,
        }
    }

    /// The link's changes count from `zero`. What was accepted before this call keeps its time.
    pub fn begin(&mut self, zero: Nanos) {
        let ahead = std::mem::take(&mut self.ahead);
        self.legs.extend(ahead.iter().map(|step| Leg::new(zero.saturating_add(nanos(step.at)), &step.condition)));
    }

    /// Offers a packet of `bytes` (the Ethernet frame without FCS) at `now`. Times must not run backwards.
    pub fn offer(&mut self, now: Nanos, bytes: usize) -> Verdict {
        self.arriving = self.leg_at(self.arriving, now);
        let leg = &self.legs[self.arriving];
        if leg.down {
            return Verdict::Down;
        }
        if leg.loss > 0.0 && self.random.f64() < leg.loss {
            return Verdict::Lost;
        }
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
        self.idle_at = self.sent(start, bytes);
        Verdict::Deliver { at: self.arrival() }
    }

    /// The most packets that ever waited at once.
    #[must_use]
    pub fn longest_queue(&self) -> usize {
        self.longest_queue
    }

    /// The leg in force at `time`; it is `leg` or a later one.
    fn leg_at(&self, mut leg: usize, time: Nanos) -> usize {
        while self.legs.get(leg + 1).is_some_and(|next| next.from <= time) {
            leg += 1;
        }
        leg
    }

    /// When a packet has been sent whose turn comes at `start`, rounded up to the nanosecond. Turns come in the order
    /// of time.
    fn sent(&mut self, start: Nanos, bytes: usize) -> Nanos {
        let mut at = start;
        let mut bits_in_nanos = bytes as u128 * 8 * 1_000_000_000;
        loop {
            self.sending = self.leg_at(self.sending, at);
            let left = self.legs.get(self.sending + 1).map(|next| next.from - at);
            let Some(rate) = self.legs[self.sending].rate else { return at };
            let rate = u128::from(rate);
            let takes = if rate == 0 { u128::from(NEVER) } else { bits_in_nanos.div_ceil(rate) };
            match left {
                Some(left) if u128::from(left) < takes => {
                    bits_in_nanos -= rate * u128::from(left);
                    at += left;
                }
                _ => return at.saturating_add(u64::try_from(takes).unwrap_or(NEVER)).min(NEVER),
            }
        }
    }

    /// When the packet arrives that was sent last.
    fn arrival(&mut self) -> Nanos {
        let Leg { delay, jitter, .. } = self.legs[self.sending];
        if jitter == 0 {
            self.last_at = self.last_at.max(self.idle_at + delay);
            return self.last_at;
        }
        // The part of delay ± jitter that lies before zero falls on zero.
        let drawn = self.random.u64(0..=2 * jitter);
        self.idle_at + (delay + drawn).saturating_sub(jitter)
    }
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

    /// How long a link of `rate` bit/s sends `bytes`.
    fn serialisation(rate: u64, bytes: usize) -> Nanos {
        (bytes as u64 * 8_000_000_000).div_ceil(rate)
    }

    /// The shape with this changed from `ms` on.
    fn step(ms: u64, shape: plan::Shape, down: bool) -> plan::Step {
        plan::Step { at: Duration::from_millis(ms), condition: plan::Condition { shape, down } }
    }

    /// A link of 4 Mbit/s and 10 ms that changes, and whose timeline begins at 1000 ms.
    fn changing(steps: Vec<plan::Step>) -> Shaper {
        let mut link = Shaper::changing(&shape(Some(4_000_000), 10), steps, 1);
        link.begin(1000 * MS);
        link
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
        link.legs[0].loss = 0.0;
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
                    Verdict::Down => prop_assert!(false, "it never is"),
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

    #[test]
    fn what_waits_and_the_rest_of_what_is_being_sent_go_at_the_new_rate() {
        // 500 bytes take 1 ms at 4 Mbit/s and 4 ms at 1 Mbit/s.
        let mut link =
            changing(vec![step(5, shape(Some(1_000_000), 10), false), step(20, shape(Some(4_000_000), 10), false)]);
        assert_eq!(at(link.offer(1000 * MS, 500)), 1011 * MS);
        let times: Vec<_> = (0..3).map(|_| at(link.offer(1004 * MS + MS / 2, 500))).collect();
        // Half of the first has been sent at 1005; the rest takes 2 ms.
        assert_eq!(times, [1017 * MS, 1021 * MS, 1025 * MS]);
        // Three quarters of it have gone at 1020, the rest takes a quarter of a millisecond.
        assert_eq!(at(link.offer(1017 * MS, 500)), 1030 * MS + MS / 4);
    }

    #[test]
    fn nothing_changes_before_the_timeline_begins() {
        let mut link =
            Shaper::changing(&shape(Some(4_000_000), 10), vec![step(0, shape(Some(1_000_000), 10), true)], 1);
        assert_eq!(at(link.offer(0, 500)), 11 * MS);
        link.begin(100 * MS);
        assert_eq!(at(link.offer(100 * MS - 1, 500)), 111 * MS - 1 + 3 * MS - 3);
        assert_eq!(link.offer(100 * MS, 500), Verdict::Down);
    }

    #[test]
    fn a_rate_of_zero_holds_and_an_end_that_never_comes_is_no_end() {
        let mut link =
            changing(vec![step(5, shape(Some(0), 10), false), step(2005, shape(Some(4_000_000), 10), false)]);
        assert_eq!(at(link.offer(1004 * MS + MS / 2, 500)), 1004 * MS + MS / 2 + 2011 * MS);
        assert_eq!(at(link.offer(2000 * MS, 500)), 3016 * MS + MS / 2);
        let mut link = Shaper::changing(
            &plan::Shape { queue: 1, ..shape(Some(1000), 0) },
            vec![step(0, shape(Some(0), 0), false)],
            1,
        );
        link.begin(0);
        assert_eq!(at(link.offer(5, 500)), NEVER);
        assert_eq!(at(link.offer(6, 500)), NEVER);
        assert_eq!(link.offer(7, 500), Verdict::QueueFull);
    }

    #[test]
    fn down_drops_what_comes_and_what_it_has_arrives() {
        let whole = shape(Some(4_000_000), 10);
        let mut link = changing(vec![step(1, whole, true), step(5, whole, false)]);
        let before: Vec<_> = (0..3).map(|_| at(link.offer(1000 * MS, 500))).collect();
        assert_eq!(before, [1011 * MS, 1012 * MS, 1013 * MS]);
        assert_eq!([1001, 1004].map(|ms| link.offer(ms * MS, 500)), [Verdict::Down; 2]);
        assert_eq!(at(link.offer(1005 * MS, 500)), 1016 * MS);
    }

    #[test]
    fn a_delay_counts_for_what_leaves_the_queue_after_the_change_and_overtakes_nothing() {
        let far = shape(Some(4_000_000), 100);
        let mut link = changing(vec![step(2, far, false), step(4, shape(Some(4_000_000), 10), false)]);
        let times: Vec<_> = (0..5).map(|_| at(link.offer(1000 * MS + 1, 500))).collect();
        // The fourth and fifth leave after the delay has fallen, and must not come before the third.
        assert_eq!(times.iter().map(|t| t / MS).collect::<Vec<_>>(), [1011, 1102, 1103, 1103, 1103]);
        assert_eq!(at(link.offer(1200 * MS, 500)), 1211 * MS);
    }

    /// The same link as a server that goes from moment to moment with its queue: what the formula must come to.
    struct Server {
        steps: Vec<(Nanos, u64, Nanos)>,
        queue: usize,
        now: Nanos,
        /// Bits in nanoseconds that are left of each, the first being sent.
        waiting: VecDeque<u128>,
        arrivals: Vec<Nanos>,
        longest: usize,
    }

    impl Server {
        fn serve(&mut self, until: Nanos) {
            while let Some(left) = self.waiting.front_mut() {
                let leg = self.steps.partition_point(|(from, ..)| *from <= self.now) - 1;
                let (_, rate, delay) = self.steps[leg];
                let end = self.steps.get(leg + 1).map_or(until, |(from, ..)| until.min(*from));
                let possible = u128::from(rate) * u128::from(end - self.now);
                if rate == 0 || *left > possible {
                    *left -= possible;
                    self.now = end;
                    if end == until {
                        return;
                    }
                    continue;
                }
                self.now += left.div_ceil(u128::from(rate)) as u64;
                let before = self.arrivals.last().copied().unwrap_or(0);
                self.arrivals.push(before.max(self.now + delay));
                self.waiting.pop_front();
            }
            self.now = until;
        }

        /// Whether it is taken.
        fn offer(&mut self, now: Nanos, bytes: usize) -> bool {
            self.serve(now);
            let waiting = self.waiting.len().saturating_sub(1);
            if !self.waiting.is_empty() && waiting >= self.queue {
                return false;
            }
            self.waiting.push_back(bytes as u128 * 8_000_000_000);
            self.longest = self.longest.max(self.waiting.len() - 1);
            true
        }
    }

    proptest! {
        #[test]
        fn as_a_server_that_is_watched_all_the_time(
            packets in packets(), queue in 0u32..20, zero in 0u64..200_000_000,
            first in 100_000u64..10_000_000,
            steps in proptest::collection::vec((1u64..300, prop_oneof![Just(0), 50_000u64..20_000_000], 0u64..200), 0..30),
        ) {
            let mut at = 0;
            let steps: Vec<(u64, u64, u64)> = steps.into_iter().map(|(gap, rate, delay)| { at += gap; (at, rate, delay) }).collect();
            let base = plan::Shape { queue, ..shape(Some(first), 20) };
            let planned: Vec<plan::Step> = steps.iter().map(|(ms, rate, delay)| step(*ms, shape(Some(*rate), *delay), false)).collect();
            let mut link = Shaper::changing(&base, planned, 1);
            link.begin(zero);
            let legs = std::iter::once((0, first, 20 * MS)).chain(steps.iter().map(|(ms, rate, delay)| (zero + ms * MS, *rate, delay * MS)));
            let mut server = Server { steps: legs.collect(), queue: queue as usize, now: 0, waiting: VecDeque::new(), arrivals: Vec::new(), longest: 0 };
            let (mut now, mut expected) = (0, Vec::new());
            for (gap, bytes) in packets {
                now += gap;
                let taken = server.offer(now, bytes);
                match link.offer(now, bytes) {
                    Verdict::Deliver { at } => { prop_assert!(taken); expected.push(at); }
                    other => { prop_assert_eq!(other, Verdict::QueueFull); prop_assert!(!taken); }
                }
            }
            server.serve(3600 * 1000 * MS);
            // What a last leg without a rate holds never arrives.
            expected.retain(|at| *at < NEVER);
            prop_assert_eq!(server.arrivals, expected);
            prop_assert_eq!(link.longest_queue(), server.longest);
        }
    }
}

//! One direction of a TCP connection, as far as it decides when bytes arrive: segments, the congestion window, loss and its repair.
//!
//! What is covered: the initial window (RFC 6928, or the recipe's), slow start with HyStart's delay rule (Ha and Rhee, 2008) and CUBIC (RFC 9438), an
//! acknowledgement for every second full segment and at once for what is out of order, selective acknowledgements (RFC 2018), loss found by later
//! deliveries (RFC 8985), the retransmission timer (RFC 6298, with Linux's 200 ms at least), a receive window that opens with what arrives, and a
//! socket's pacing rate. TCP_NODELAY is set, so what is written leaves at once if the windows let it.
//!
//! What is left out: undoing of spurious repairs, tail loss probes, ECN, offloads, and congestion controls other than CUBIC and Reno.

use std::collections::VecDeque;

use super::agenda::Nanos;
use crate::trace::floor::SEGMENT;

/// What Linux waits for an acknowledgement at least before it sends again.
const LEAST_TIMEOUT: Nanos = 200_000_000;
/// Before a round trip is known (RFC 6298).
const FIRST_TIMEOUT: Nanos = 1_000_000_000;
/// No timeout is longer.
const LONGEST_TIMEOUT: Nanos = 120_000_000_000;
/// Linux's receive window at first, and at most (`tcp_rmem`).
const FIRST_WINDOW: u64 = 65_535;
const LARGEST_WINDOW: u64 = 6 << 20;
/// CUBIC's constants C and β (RFC 9438).
const CUBIC_C: f64 = 0.4;
const CUBIC_BETA: f64 = 0.7;
/// HyStart looks at so many round trips of a round, in windows of at least so many segments.
const HYSTART_SAMPLES: u32 = 8;
const HYSTART_LEAST_WINDOW: f64 = 16.0;
/// An acknowledgement waits no longer than this for a second segment.
pub const DELAYED_ACK: Nanos = 40_000_000;

/// How the window grows when nothing is lost, and what is left of it after a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// CUBIC (RFC 9438), the usual one of Linux.
    Cubic,
    /// Reno (RFC 5681).
    Reno,
}

/// Bytes of a connection's stream, from an offset on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Offset of the first byte.
    pub from: u64,
    /// Offset behind the last byte.
    pub to: u64,
}

/// An acknowledgement, with what SACK says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// All bytes before this offset have arrived.
    pub next: u64,
    /// What has arrived beyond that, in pieces (SACK).
    pub beyond: Vec<Range>,
    /// Bytes beyond `next` that it takes.
    pub window: u64,
}

/// A packet that may leave now, or when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// These bytes leave now.
    Send(Range),
    /// Its pace lets the next one leave then.
    Wait(Nanos),
    /// Nothing is to be sent, or no window lets it.
    Idle,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Flying,
    Lost,
    Arrived,
}

#[derive(Debug, Clone, Copy)]
struct Segment {
    range: Range,
    sent: Nanos,
    /// Counts all that was sent: of two packets of one moment the one with the greater number left later.
    number: u64,
    state: State,
    again: bool,
}

/// TCP at the end that sends.
#[derive(Debug)]
pub struct Sender {
    control: Control,
    written: u64,
    next: u64,
    acked: u64,
    /// Those that are not acknowledged, in order.
    segments: VecDeque<Segment>,
    flying: u32,
    lost: u32,
    window: f64,
    threshold: f64,
    /// The receiver's: nothing beyond it may be sent.
    limit: u64,
    /// Until all before it is acknowledged, the window stays as the loss has left it.
    recovers_until: Option<u64>,
    growth: Growth,
    round: Round,
    smoothed: Option<f64>,
    variation: f64,
    least: Nanos,
    backoff: u32,
    /// When something was acknowledged or sent by the timer.
    progress: Nanos,
    /// Bytes a second that may leave.
    pace: Option<f64>,
    paced_until: Nanos,
    /// When the present burst left, and its packets: Linux sends two full segments at once, however slow the pace.
    burst: (Nanos, u32),
    sent_bytes: u64,
    sent_again: u64,
    packets: u64,
}

/// CUBIC's memory.
#[derive(Debug, Default)]
struct Growth {
    peak: f64,
    began: Option<Nanos>,
    k: f64,
    from: f64,
}

/// A round trip, for HyStart.
#[derive(Debug, Default)]
struct Round {
    ends: u64,
    least: Nanos,
    samples: u32,
}

impl Sender {
    /// Of a new connection, with an initial window of so many segments.
    pub fn new(control: Control, initial_window: u32) -> Self {
        Self {
            control,
            written: 0,
            next: 0,
            acked: 0,
            segments: VecDeque::new(),
            flying: 0,
            lost: 0,
            window: f64::from(initial_window.max(1)),
            threshold: f64::INFINITY,
            limit: FIRST_WINDOW.max(u64::from(initial_window) * u64::from(SEGMENT)),
            recovers_until: None,
            growth: Growth::default(),
            round: Round::default(),
            smoothed: None,
            variation: 0.0,
            least: Nanos::MAX,
            backoff: 0,
            progress: 0,
            pace: None,
            paced_until: 0,
            burst: (0, 0),
            sent_bytes: 0,
            sent_again: 0,
            packets: 0,
        }
    }

    /// The handshake has told the round trip.
    pub fn connected(&mut self, round_trip: Nanos) {
        self.measure(round_trip);
    }

    /// The program writes so many bytes.
    pub fn write(&mut self, bytes: u64) {
        self.written += bytes;
    }

    /// Offset behind all that was written.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Bytes that were written and have not left yet.
    pub fn waiting(&self) -> u64 {
        self.written - self.next
    }

    /// All payload that left, and what of it left again.
    pub fn sent(&self) -> (u64, u64) {
        (self.sent_bytes, self.sent_again)
    }

    /// So many bytes a second may leave from now on; `None`: as many as the windows let. As in Linux, what has left at the former pace is waited for at that.
    pub fn pace(&mut self, bytes_per_s: Option<f64>) {
        self.pace = bytes_per_s;
    }

    /// What leaves now. To be asked until there is nothing.
    pub fn turn(&mut self, now: Nanos) -> Turn {
        if f64::from(self.flying) >= self.window {
            return Turn::Idle;
        }
        let in_burst = self.burst.0 == now && self.burst.1 == 1;
        if now < self.paced_until && !in_burst && (self.lost > 0 || self.next < self.written) {
            return Turn::Wait(self.paced_until);
        }
        let range =
            match self.segments.iter_mut().find(|segment| segment.state == State::Lost).filter(|_| self.lost > 0) {
                Some(segment) => {
                    (segment.state, segment.again, segment.sent, segment.number) =
                        (State::Flying, true, now, self.packets);
                    self.lost -= 1;
                    self.sent_again += segment.range.to - segment.range.from;
                    segment.range
                }
                None => {
                    let to = self.written.min(self.next + u64::from(SEGMENT));
                    if to == self.next || to > self.limit {
                        return Turn::Idle;
                    }
                    let range = Range { from: self.next, to };
                    if self.segments.is_empty() {
                        self.progress = now;
                    }
                    self.segments.push_back(Segment {
                        range,
                        sent: now,
                        number: self.packets,
                        state: State::Flying,
                        again: false,
                    });
                    self.next = to;
                    range
                }
            };
        self.packets += 1;
        self.flying += 1;
        let bytes = range.to - range.from;
        self.sent_bytes += bytes;
        if let Some(pace) = self.pace.filter(|pace| *pace > 0.0) {
            self.burst = if in_burst { (now, 2) } else { (now, 1) };
            self.paced_until = now.max(self.paced_until) + (bytes as f64 / pace * 1e9) as Nanos;
        }
        Turn::Send(range)
    }

    /// When the timer goes off, unless something is acknowledged before.
    pub fn deadline(&self) -> Option<Nanos> {
        (!self.segments.is_empty()).then(|| self.progress + self.timeout())
    }

    fn timeout(&self) -> Nanos {
        let usual = self
            .smoothed
            .map_or(FIRST_TIMEOUT, |smoothed| (smoothed + (4.0 * self.variation).max(LEAST_TIMEOUT as f64)) as Nanos);
        usual.saturating_mul(1 << self.backoff.min(10)).min(LONGEST_TIMEOUT)
    }

    /// The timer has gone off: all that is under way counts as lost.
    pub fn expire(&mut self, now: Nanos) {
        if self.deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        self.progress = now;
        self.backoff += 1;
        self.reduce();
        self.window = 1.0;
        self.recovers_until = Some(self.next);
        for segment in &mut self.segments {
            if segment.state == State::Flying {
                segment.state = State::Lost;
                self.flying -= 1;
                self.lost += 1;
            }
        }
    }

    /// What the receiver says has come.
    pub fn hear(&mut self, ack: &Ack, now: Nanos) {
        let was_full = f64::from(self.flying + 1) >= self.window.min(self.threshold).min(self.window / 2.0 + 1.0);
        self.limit = self.limit.max(ack.next + ack.window);
        let (mut newest, mut sample, mut arrived) = (None::<(u64, Nanos)>, None, 0u32);
        while let Some(first) = self.segments.front().copied().filter(|first| first.range.to <= ack.next) {
            self.segments.pop_front();
            self.settle(&first, &mut newest, &mut sample, &mut arrived, now);
        }
        if ack.next > self.acked {
            (self.acked, self.progress, self.backoff) = (ack.next, now, 0);
        }
        if !ack.beyond.is_empty() {
            for at in 0..self.segments.len() {
                let segment = self.segments[at];
                let is_in = |range: &Range| range.from <= segment.range.from && segment.range.to <= range.to;
                if segment.state != State::Arrived && ack.beyond.iter().any(is_in) {
                    self.segments[at].state = State::Arrived;
                    self.settle(&segment, &mut newest, &mut sample, &mut arrived, now);
                }
            }
        }
        if let Some(sample) = sample {
            self.measure(sample);
            self.slow_start_ends(sample);
        }
        self.find_losses(newest);
        if self.recovers_until.is_some_and(|until| self.acked >= until) {
            self.recovers_until = None;
        }
        // After a timeout the window grows again while it recovers, as in any slow start.
        if (self.recovers_until.is_none() || self.window < self.threshold) && arrived > 0 && was_full {
            self.grow(arrived, now);
        }
    }

    fn settle(
        &mut self,
        segment: &Segment,
        newest: &mut Option<(u64, Nanos)>,
        sample: &mut Option<Nanos>,
        arrived: &mut u32,
        now: Nanos,
    ) {
        match segment.state {
            State::Flying => self.flying -= 1,
            State::Lost => self.lost -= 1,
            State::Arrived => return,
        }
        *arrived += 1;
        *newest = (*newest).max(Some((segment.number, segment.sent)));
        if !segment.again {
            *sample = Some(now - segment.sent);
        }
    }

    /// What was sent before something that has arrived, by more than a quarter of a round trip, is lost.
    fn find_losses(&mut self, newest: Option<(u64, Nanos)>) {
        let Some((number, newest)) = newest else { return };
        let tolerated = if self.recovers_until.is_some() { 0 } else { self.least.min(Nanos::MAX / 8) / 4 };
        let mut above = self.segments.iter().filter(|segment| segment.state == State::Arrived).count();
        if above == 0 {
            return;
        }
        let mut any = false;
        for segment in &mut self.segments {
            match segment.state {
                State::Arrived => above -= 1,
                State::Flying if segment.number < number && (above >= 3 || segment.sent + tolerated < newest) => {
                    segment.state = State::Lost;
                    self.flying -= 1;
                    self.lost += 1;
                    any = true;
                }
                State::Flying | State::Lost => {}
            }
        }
        if any && self.recovers_until.is_none() {
            self.recovers_until = Some(self.next);
            self.reduce();
            self.window = self.threshold;
        }
    }

    fn reduce(&mut self) {
        let left = if self.control == Control::Cubic { CUBIC_BETA } else { 0.5 };
        // Fast convergence: who loses below its last peak leaves room for others.
        self.growth.peak =
            if self.window < self.growth.peak { self.window * (1.0 + CUBIC_BETA) / 2.0 } else { self.window };
        self.growth.began = None;
        self.threshold = (self.window * left).max(2.0);
    }

    fn grow(&mut self, arrived: u32, now: Nanos) {
        let arrived = f64::from(arrived);
        if self.window < self.threshold {
            self.window = (self.window + arrived).min(self.threshold.max(self.window));
            return;
        }
        let reno = arrived / self.window;
        if self.control == Control::Reno {
            self.window += reno;
            return;
        }
        let window = self.window;
        let growth = &mut self.growth;
        let began = *growth.began.get_or_insert_with(|| {
            growth.peak = growth.peak.max(window);
            growth.k = ((growth.peak - window) / CUBIC_C).cbrt();
            growth.from = window;
            now
        });
        let trip = self.smoothed.unwrap_or_default() / 1e9;
        let elapsed = (now - began) as f64 / 1e9;
        let target = growth.peak + CUBIC_C * (elapsed + trip - growth.k).powi(3);
        // Not slower than Reno with the same share left after a loss.
        let friendly = growth.from + 3.0 * (1.0 - CUBIC_BETA) / (1.0 + CUBIC_BETA) * elapsed / trip.max(1e-6);
        let target = target.max(friendly).min(1.5 * window);
        self.window += ((target - window) / window * arrived).max(0.01 * reno);
    }

    fn measure(&mut self, sample: Nanos) {
        self.least = self.least.min(sample);
        let sample = sample as f64;
        match self.smoothed {
            None => (self.smoothed, self.variation) = (Some(sample), sample / 2.0),
            Some(smoothed) => {
                self.variation += ((smoothed - sample).abs() - self.variation) / 4.0;
                self.smoothed = Some(smoothed + (sample - smoothed) / 8.0);
            }
        }
    }

    /// HyStart: when a round's round trips are longer than the least by more than an eighth, the link has a queue already.
    fn slow_start_ends(&mut self, sample: Nanos) {
        if self.control != Control::Cubic || self.window >= self.threshold {
            return;
        }
        if self.acked >= self.round.ends {
            self.round = Round { ends: self.next, least: Nanos::MAX, samples: 0 };
        }
        self.round.samples += 1;
        if self.round.samples <= HYSTART_SAMPLES {
            self.round.least = self.round.least.min(sample);
        }
        let tolerated = (self.least / 8).clamp(4_000_000, 16_000_000);
        if self.round.samples >= HYSTART_SAMPLES
            && self.window >= HYSTART_LEAST_WINDOW
            && self.round.least > self.least + tolerated
        {
            self.threshold = self.window;
        }
    }
}

/// TCP at the end that receives.
#[derive(Debug, Default)]
pub struct Receiver {
    next: u64,
    beyond: Vec<Range>,
    unacknowledged: u64,
    delivered: u64,
    again: u64,
}

/// What comes of a packet at the receiving end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is acknowledged at once.
    Now,
    /// It may wait for the next one.
    Later,
}

impl Receiver {
    /// A receiver to which nothing has come.
    pub fn new() -> Self {
        Self::default()
    }

    /// All bytes before this offset have come.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Bytes that came, each counted once, and bytes that came again.
    pub fn came(&self) -> (u64, u64) {
        (self.delivered, self.again)
    }

    /// Whether all of these bytes have come.
    pub fn has(&self, range: Range) -> bool {
        let from = range.from.max(self.next);
        range.to <= self.next || self.beyond.iter().any(|known| known.from <= from && range.to <= known.to)
    }

    /// A packet comes.
    pub fn take(&mut self, range: Range) -> Answer {
        let was_whole = self.beyond.is_empty();
        let before = self.covered();
        if range.to > self.next {
            self.insert(Range { from: range.from.max(self.next), to: range.to });
        }
        let new = self.covered() - before;
        self.delivered += new;
        self.again += range.to - range.from - new;
        self.unacknowledged += range.to - range.from;
        let is_in_order = was_whole && self.beyond.is_empty() && new > 0;
        match is_in_order && self.unacknowledged <= u64::from(SEGMENT) {
            true => Answer::Later,
            false => Answer::Now,
        }
    }

    fn covered(&self) -> u64 {
        self.next + self.beyond.iter().map(|range| range.to - range.from).sum::<u64>()
    }

    fn insert(&mut self, range: Range) {
        let at = self.beyond.partition_point(|known| known.to < range.from);
        let mut merged = range;
        while let Some(known) = self.beyond.get(at).copied().filter(|known| known.from <= merged.to) {
            merged = Range { from: merged.from.min(known.from), to: merged.to.max(known.to) };
            self.beyond.remove(at);
        }
        self.beyond.insert(at, merged);
        if let Some(first) = self.beyond.first().copied().filter(|first| first.from <= self.next) {
            self.next = first.to;
            self.beyond.remove(0);
        }
    }

    /// What it says now.
    pub fn acknowledge(&mut self) -> Ack {
        self.unacknowledged = 0;
        let window = (FIRST_WINDOW + 2 * self.delivered).min(LARGEST_WINDOW);
        Ack { next: self.next, beyond: self.beyond.clone(), window }
    }

    /// Whether something waits to be acknowledged.
    pub fn owes(&self) -> bool {
        self.unacknowledged > 0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const MS: Nanos = 1_000_000;
    const FULL: u64 = SEGMENT as u64;

    fn all(sender: &mut Sender, now: Nanos) -> Vec<Range> {
        let mut sent = Vec::new();
        while let Turn::Send(range) = sender.turn(now) {
            sent.push(range);
        }
        sent
    }

    fn ack(next: u64, beyond: &[(u64, u64)]) -> Ack {
        Ack {
            next,
            beyond: beyond.iter().map(|(from, to)| Range { from: *from, to: *to }).collect(),
            window: 1 << 20,
        }
    }

    #[test]
    fn slow_start_doubles_the_window_each_round_trip() {
        let mut sender = Sender::new(Control::Cubic, 10);
        sender.write(100 * FULL);
        assert_eq!(all(&mut sender, 0).len(), 10);
        let mut sent = 10;
        for round in 1..3u64 {
            let before = sent;
            for acked in (before - before.min(10 << (round - 1)) + 1)..=before {
                sender.hear(&ack(acked * FULL, &[]), round * 100 * MS);
                sent += all(&mut sender, round * 100 * MS).len() as u64;
            }
        }
        assert_eq!(sent, 10 + 20 + 40);
    }

    #[test]
    fn a_hole_is_filled_when_three_later_ones_have_come_and_the_window_shrinks_once() {
        let mut sender = Sender::new(Control::Cubic, 10);
        sender.write(10 * FULL);
        all(&mut sender, 0);
        for beyond in 2..=3u64 {
            sender.hear(&ack(0, &[(FULL, beyond * FULL)]), 100 * MS);
            assert_eq!(all(&mut sender, 100 * MS), []);
        }
        sender.hear(&ack(0, &[(FULL, 4 * FULL)]), 101 * MS);
        assert_eq!(all(&mut sender, 101 * MS), [Range { from: 0, to: FULL }]);
        let reduced = sender.window;
        assert!((reduced - 12.0 * CUBIC_BETA).abs() < 1e-9 && sender.threshold == reduced, "{reduced}");
        sender.hear(&ack(0, &[(FULL, 10 * FULL)]), 102 * MS);
        assert_eq!((all(&mut sender, 102 * MS), sender.window), (vec![], reduced), "once");
        sender.hear(&ack(10 * FULL, &[]), 200 * MS);
        assert_eq!(sender.sent(), (11 * FULL, FULL));
    }

    #[test]
    fn the_timer_sends_again_what_nobody_speaks_of() {
        let mut sender = Sender::new(Control::Cubic, 10);
        sender.connected(50 * MS);
        sender.write(2 * FULL);
        all(&mut sender, 0);
        let deadline = sender.deadline().unwrap();
        assert_eq!(deadline, 250 * MS);
        sender.expire(deadline - 1);
        assert_eq!(all(&mut sender, deadline - 1), []);
        sender.expire(deadline);
        assert_eq!(all(&mut sender, deadline), [Range { from: 0, to: FULL }], "a window of one");
        assert_eq!(sender.sent(), (3 * FULL, FULL));
        sender.hear(&ack(2 * FULL, &[]), deadline + 50 * MS);
        assert_eq!(sender.deadline(), None);
    }

    #[test]
    fn a_pace_spreads_packets() {
        let mut sender = Sender::new(Control::Cubic, 10);
        sender.pace(Some(FULL as f64 * 100.0));
        sender.write(3 * FULL);
        assert!(matches!(sender.turn(0), Turn::Send(_)));
        assert!(matches!(sender.turn(0), Turn::Send(_)), "two at once");
        assert_eq!(sender.turn(0), Turn::Wait(20 * MS));
        assert!(matches!(sender.turn(20 * MS), Turn::Send(_)));
    }

    #[test]
    fn a_receiver_acknowledges_every_second_segment_and_holes_at_once() {
        let mut receiver = Receiver::new();
        let range = |from: u64, to: u64| Range { from: from * FULL, to: to * FULL };
        assert_eq!(receiver.take(range(0, 1)), Answer::Later);
        assert_eq!(receiver.take(range(1, 2)), Answer::Now);
        assert_eq!(receiver.acknowledge().next, 2 * FULL);
        assert_eq!(receiver.take(range(3, 4)), Answer::Now);
        assert_eq!(
            receiver.acknowledge(),
            Ack { window: receiver.acknowledge().window, ..ack(2 * FULL, &[(3 * FULL, 4 * FULL)]) }
        );
        assert!(receiver.has(range(3, 4)) && !receiver.has(range(2, 4)) && receiver.has(range(0, 2)));
        assert_eq!(receiver.take(range(2, 3)), Answer::Now);
        assert_eq!((receiver.next(), receiver.came()), (4 * FULL, (4 * FULL, 0)));
        receiver.take(range(0, 1));
        assert_eq!(receiver.came(), (4 * FULL, FULL));
    }
}

//! The least delay that the network allows a frame (`docs/architecture.md`, "The floor"): alone on its path
//! ([`floor`]), and behind all that its stream has sent before it ([`stream_floors`]).
//!
//! What is assumed of the packets that carry it is what Linux sends over an Ethernet with an MTU of 1500 bytes, and
//! the least it can send: Ethernet header 14 bytes (no VLAN tag, no FCS, as the links count), IPv4 header 20, TCP
//! header 32 (with time stamps), so 1448 bytes of payload in a full segment. With the frame travel the 11 bytes of
//! its FLV tag header and the 4 of the tag size after it, as peers send it. TCP fills its segments; one that a
//! program cuts into smaller ones on purpose is not considered.

use std::time::Duration;

use livectl_wire::flv::{TAG_HEADER_LEN, TAG_TRAILER_LEN};

use crate::plan::{Condition, Shape, Step};

/// Ethernet, IPv4 and TCP headers of a segment in bytes.
pub const HEADERS: u32 = 14 + 20 + 32;
/// Payload of a full segment in bytes.
pub const SEGMENT: u32 = 1448;
/// What an FLV tag adds to the frame in bytes.
pub const TAG_OVERHEAD: u32 = (TAG_HEADER_LEN + TAG_TRAILER_LEN) as u32;

/// A direction of a link over time, at its best. Moments are nanoseconds on the trial's timeline; for a link that
/// never changes, since any moment.
#[derive(Debug, Clone)]
pub struct Lane {
    /// In the order of time; the first one is from the beginning of all time.
    legs: Vec<Leg>,
}

/// What a lane does from a moment on, until the next leg begins.
#[derive(Debug, Clone, Copy)]
struct Leg {
    from: i64,
    /// bit/s; `None`: takes no time.
    rate: Option<u64>,
    up: bool,
    /// The least that a packet travels.
    delay: i64,
    /// The least of what later legs begin at plus their delays: when a packet can be there that waits for one of
    /// them.
    by_waiting: i64,
}

impl Lane {
    /// A link that never changes.
    #[must_use]
    pub fn steady(shape: &Shape) -> Lane {
        Lane::changing(shape, &[])
    }

    /// One that changes by these steps, in the order of time.
    #[must_use]
    pub fn changing(shape: &Shape, steps: &[Step]) -> Lane {
        let leg = |from, condition: &Condition| {
            let Shape { bandwidth, delay, jitter, .. } = condition.shape;
            let delay = nanoseconds(delay.saturating_sub(jitter));
            Leg { from, rate: bandwidth, up: !condition.down, delay, by_waiting: i64::MAX }
        };
        let first = leg(i64::MIN, &Condition::of(*shape));
        let mut legs: Vec<Leg> = std::iter::once(first)
            .chain(steps.iter().map(|step| leg(nanoseconds(step.at), &step.condition)))
            .collect();
        let mut by_waiting = i64::MAX;
        for leg in legs.iter_mut().rev() {
            leg.by_waiting = by_waiting;
            by_waiting = by_waiting.min(leg.from.saturating_add(leg.delay));
        }
        Lane { legs }
    }

    /// The place of the leg in force.
    fn leg_at(&self, time: i64) -> usize {
        self.legs.partition_point(|leg| leg.from <= time).saturating_sub(1)
    }

    /// The first moment from `time` on that lies in a leg of which this is true; `None` if there is none.
    fn first(&self, time: i64, wanted: impl Fn(&Leg) -> bool) -> Option<i64> {
        self.legs[self.leg_at(time)..].iter().find(|leg| wanted(leg)).map(|leg| leg.from.max(time))
    }

    /// When the link takes a packet that is there at `time`: while it is down, whoever sends has to send again.
    fn takes(&self, time: i64) -> Option<i64> {
        self.first(time, |leg| leg.up)
    }

    /// When it has sent so many bytes that it begins with at `start`, rounded down to the nanosecond. It does so also
    /// while it is down, with what it has.
    fn sent(&self, start: i64, bytes: u32) -> Option<i64> {
        let mut at = start;
        let mut bits_ns = u128::from(bytes) * 8 * 1_000_000_000;
        let mut legs = self.legs[self.leg_at(start)..].iter().peekable();
        while let Some(leg) = legs.next() {
            let Some(rate) = leg.rate.map(u128::from) else { return Some(at) };
            let left = legs.peek().map(|next| next.from.abs_diff(at));
            match left {
                Some(left) if rate * u128::from(left) < bits_ns => {
                    bits_ns -= rate * u128::from(left);
                    at = at.saturating_add_unsigned(left);
                }
                _ => return bits_ns.checked_div(rate).and_then(|takes| at.checked_add(i64::try_from(takes).ok()?)),
            }
        }
        None
    }

    /// When it is at the other end what has been sent at `sent`, or later if that is earlier there.
    fn arrival(&self, sent: i64) -> i64 {
        let leg = &self.legs[self.leg_at(sent)];
        sent.saturating_add(leg.delay).min(leg.by_waiting)
    }
}

fn nanoseconds(time: Duration) -> i64 {
    // A quarter of the range leaves room to add; it is 73 years.
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX).min(i64::MAX / 4)
}

/// The time from one moment to another; zero if that is before.
fn between(from: i64, to: i64) -> Duration {
    Duration::from_nanos(u64::try_from(to.saturating_sub(from)).unwrap_or(0))
}

/// A packet of so many bytes of payload on its way along `path`, there to be sent at `start`: when it has arrived.
/// `sent`: when each link has sent all before it.
fn pass(path: &[Lane], sent: &mut [i64], start: i64, payload: u32) -> Option<i64> {
    let mut arrived = start;
    for (lane, sent) in path.iter().zip(sent) {
        *sent = lane.sent(lane.takes(arrived)?.max(*sent), payload + HEADERS)?;
        arrived = lane.arrival(*sent);
    }
    Some(arrived)
}

/// The least time from a frame's birth until a viewer at the end of `path` has all of it, if no link changes.
/// `payload` is the frame's size in bytes.
///
/// Links store and forward: packet *j* leaves link *i* at `t(i,j) = max(t(i,j−1), t(i−1,j) + d(i−1)) + 8·s(j)/r(i)`,
/// and the floor is `t(n,last) + d(n)`. A link with jitter delays a packet by at least `delay − jitter`; one without
/// a bandwidth takes no time to send. An empty path takes none at all.
#[must_use]
pub fn floor(path: &[Shape], payload: u32) -> Duration {
    let lanes: Vec<Lane> = path.iter().map(Lane::steady).collect();
    floor_at(&lanes, 0, payload).unwrap_or(Duration::MAX)
}

/// The same of a frame that is born at `born`, where links change; `None`: they never let it through.
///
/// A packet has been sent when the integral of the link's rate since its turn came is its bits. It waits where that
/// makes it earlier: while a link is down, and for a shorter delay.
#[must_use]
pub fn floor_at(path: &[Lane], born: i64, payload: u32) -> Option<Duration> {
    let mut left = payload.saturating_add(TAG_OVERHEAD);
    // When the packet before left each link.
    let mut sent = vec![i64::MIN; path.len()];
    let mut arrived = born;
    while left > 0 {
        let part = left.min(SEGMENT);
        left -= part;
        arrived = pass(path, &mut sent, born, part)?;
    }
    Some(between(born, arrived))
}

/// A part of a stream that is sent as one: a frame, some sound, metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Portion {
    /// When it is there to be sent, in nanoseconds on the timeline of the [`Lane`]s.
    pub born_ns: i64,
    /// Bytes of its payload.
    pub payload: u32,
}

/// The least time from each portion's birth until a viewer at the end of `path` has all of it, if the path must carry
/// the whole stream, in its order; `None`: it never lets it through. `stream` is in the order of births.
///
/// The recursion is [`floor_at`]'s with links that stay busy: the first link takes up the next packet when it is free
/// and a byte is there, with all that has been born until then, up to a full segment. So bytes that have to wait
/// share segments with what comes after them. A sender that waits for more fills them better, which a slower link
/// further on rewards by up to [`HEADERS`] for each packet (`docs/analysis.md`, "The two floors").
#[must_use]
pub fn stream_floors(path: &[Lane], stream: &[Portion]) -> Vec<Option<Duration>> {
    // Births that were stamped out of order are as early as the latest before them.
    let mut latest = i64::MIN;
    let births: Vec<i64> = stream
        .iter()
        .map(|portion| {
            latest = latest.max(portion.born_ns);
            latest
        })
        .collect();
    let mut floors = vec![None; stream.len()];
    let mut sent = vec![i64::MIN; path.len()];
    // The first portion of which bytes are left, and how many.
    let mut next = 0;
    let mut left = bytes_of(stream.first());
    while let Some(born) = births.get(next).copied() {
        let departs = match path.first().zip(sent.first()) {
            None => Some(born),
            // What waits for a link that is down or sends nothing waits as for a busy one.
            Some((lane, free)) => lane
                .takes(born)
                .and_then(|taken| lane.first(taken.max(*free), |leg| leg.rate.is_none_or(|rate| rate > 0))),
        };
        let Some(departs) = departs else { break };
        let (mut packet, first) = (0, next);
        while packet < SEGMENT && births.get(next).is_some_and(|born| *born <= departs) {
            let taken = left.min(SEGMENT - packet);
            packet += taken;
            left -= taken;
            if left == 0 {
                next += 1;
                left = bytes_of(stream.get(next));
            }
        }
        let Some(arrived) = pass_from(path, &mut sent, departs, packet) else { break };
        for (floor, born) in floors.iter_mut().zip(&births).take(next).skip(first) {
            *floor = Some(between(*born, arrived));
        }
    }
    floors
}

/// As [`pass`], for a packet that the first link begins to send at `departs`.
fn pass_from(path: &[Lane], sent: &mut [i64], departs: i64, payload: u32) -> Option<i64> {
    let (Some((lane, rest)), Some((first, others))) = (path.split_first(), sent.split_first_mut()) else {
        return Some(departs);
    };
    *first = lane.sent(departs, payload + HEADERS)?;
    pass(rest, others, lane.arrival(*first), payload)
}

/// What a portion has on the wire, above TCP.
fn bytes_of(portion: Option<&Portion>) -> u32 {
    portion.map_or(0, |portion| portion.payload.saturating_add(TAG_OVERHEAD))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    fn link(bandwidth: Option<u64>, delay_ms: u64) -> Shape {
        let delay = Duration::from_millis(delay_ms);
        Shape { bandwidth, delay, jitter: Duration::ZERO, loss: 0.0, queue: 1000 }
    }

    fn ms(ms: f64) -> Duration {
        Duration::from_nanos((ms * 1e6).round() as u64)
    }

    #[test]
    fn a_frame_of_one_packet() {
        // 985 + 15 + 66 bytes at 4 Mbit/s take 2.132 ms on each of two links.
        let path = [link(Some(4_000_000), 100), link(Some(4_000_000), 100)];
        assert_eq!(floor(&path, 985), ms(204.264));
        assert_eq!(floor(&path[..1], 985), ms(102.132));
        assert_eq!(floor(&[], 985), Duration::ZERO);
    }

    #[test]
    fn packets_follow_each_other_through_equal_links() {
        // Three full packets: the first takes 3.028 ms on each link, the others come 3.028 ms apart.
        let path = [link(Some(4_000_000), 100), link(Some(4_000_000), 100)];
        assert_eq!(floor(&path, 3 * SEGMENT - TAG_OVERHEAD), ms(200.0 + 4.0 * 3.028));
        // One byte more is a fourth packet of 67 bytes, which takes 0.134 ms.
        assert_eq!(floor(&path, 3 * SEGMENT - TAG_OVERHEAD + 1), ms(200.0 + 4.0 * 3.028 + 0.134));
    }

    #[test]
    fn the_slowest_link_sets_the_pace() {
        let (fast, slow) = (link(Some(4_000_000), 10), link(Some(1_000_000), 10));
        let two = 2 * SEGMENT - TAG_OVERHEAD;
        // Before the slow link: one packet on the fast one. After it: one packet on the fast one.
        assert_eq!(floor(&[fast, slow], two), ms(20.0 + 3.028 + 2.0 * 12.112));
        assert_eq!(floor(&[slow, fast], two), ms(20.0 + 2.0 * 12.112 + 3.028));
        assert_eq!(floor(&[fast, slow, fast], two), ms(30.0 + 3.028 + 2.0 * 12.112 + 3.028));
    }

    #[test]
    fn unlimited_links_only_delay_and_jitter_can_shorten_that() {
        assert_eq!(floor(&[link(None, 30), link(None, 12)], 1_000_000), ms(42.0));
        let shaky = Shape { jitter: Duration::from_millis(20), ..link(None, 30) };
        assert_eq!(floor(&[shaky], 10), ms(10.0));
        let wild = Shape { jitter: Duration::from_millis(50), ..link(None, 30) };
        assert_eq!(floor(&[wild], 10), Duration::ZERO);
    }

    fn steady(path: &[Shape]) -> Vec<Lane> {
        path.iter().map(Lane::steady).collect()
    }

    /// Floors of a stream whose links never change.
    fn stream_floors(path: &[Shape], stream: &[Portion]) -> Vec<Duration> {
        super::stream_floors(&steady(path), stream).into_iter().map(Option::unwrap).collect()
    }

    use super::stream_floors as stream_floors_of;

    fn step(at_ms: u64, shape: Shape, down: bool) -> Step {
        Step { at: Duration::from_millis(at_ms), condition: Condition { shape, down } }
    }

    const MS: i64 = 1_000_000;

    #[test]
    fn a_frame_feels_the_change_that_comes_while_it_is_sent() {
        // 985 + 15 + 66 bytes take 2.132 ms at 4 Mbit/s. Half of it is gone at the change to 1 Mbit/s.
        let lane = Lane::changing(&link(Some(4_000_000), 100), &[step(50, link(Some(1_000_000), 100), false)]);
        let floor = |born_ns| floor_at(std::slice::from_ref(&lane), born_ns, 985);
        assert_eq!(floor(0), Some(ms(102.132)));
        assert_eq!(floor(50 * MS), Some(ms(108.528)));
        assert_eq!(floor(50 * MS - 1_066_000), Some(ms(100.0 + 1.066 + 4.264)));
    }

    #[test]
    fn a_frame_waits_for_a_link_that_is_down_or_sends_nothing() {
        let whole = link(Some(4_000_000), 100);
        let down = Lane::changing(&whole, &[step(50, whole, true), step(1050, whole, false)]);
        let held = Lane::changing(&whole, &[step(50, link(Some(0), 100), false), step(1050, whole, false)]);
        for lane in [down, held] {
            assert_eq!(floor_at(std::slice::from_ref(&lane), 50 * MS, 985), Some(ms(1102.132)));
            let stream = portions(&[(49.0, 985), (60.0, 985), (1049.0, 985)]);
            let floors = super::stream_floors(&[lane], &stream);
            assert!(floors[1].unwrap() > ms(1092.0) && floors[2].unwrap() > ms(103.0), "{floors:?}");
        }
        let forever = Lane::changing(&whole, &[step(50, whole, true)]);
        assert_eq!(floor_at(std::slice::from_ref(&forever), 50 * MS, 985), None);
        assert_eq!(floor_at(std::slice::from_ref(&forever), 49 * MS, 985), Some(ms(102.132)), "what it has it sends");
        let floors = super::stream_floors(&[forever], &portions(&[(0.0, 985), (60.0, 985)]));
        assert_eq!(floors, [Some(ms(102.132)), None]);
        let stopped = Lane::changing(&whole, &[step(50, link(Some(0), 100), false)]);
        assert_eq!(floor_at(&[stopped], 50 * MS, 985), None);
    }

    #[test]
    fn who_waits_for_a_shorter_delay_is_there_earlier() {
        let lane = Lane::changing(&link(None, 500), &[step(100, link(None, 10), false)]);
        let floor = |born_ms: i64| floor_at(std::slice::from_ref(&lane), born_ms * MS, 985).unwrap();
        assert_eq!([floor(-1000), floor(0), floor(90), floor(100)], [500.0, 110.0, 20.0, 10.0].map(ms));
    }

    fn portions(births_ms: &[(f64, u32)]) -> Vec<Portion> {
        births_ms.iter().map(|(at, payload)| Portion { born_ns: (at * 1e6) as i64, payload: *payload }).collect()
    }

    #[test]
    fn a_frame_that_finds_its_path_free_has_the_floor_of_a_frame_alone() {
        let path = [link(Some(4_000_000), 100), link(Some(1_000_000), 30)];
        let stream = portions(&[(0.0, 985), (500.0, 20_000), (1000.0, 1)]);
        let alone: Vec<Duration> = stream.iter().map(|portion| floor(&path, portion.payload)).collect();
        assert_eq!(stream_floors(&path, &stream), alone);
        assert_eq!(stream_floors(&path, &[]), []);
        assert_eq!(stream_floors(&[], &stream), [Duration::ZERO; 3]);
    }

    #[test]
    fn a_frame_waits_for_those_before_it_and_shares_their_last_packet() {
        // A full packet takes 3.028 ms. Three of them keep the link until 9.084 ms; what is born meanwhile waits.
        let path = [link(Some(4_000_000), 100)];
        let three = 3 * SEGMENT - TAG_OVERHEAD;
        let stream = portions(&[(0.0, three), (5.0, SEGMENT - TAG_OVERHEAD)]);
        assert_eq!(stream_floors(&path, &stream), [ms(109.084), ms(109.084 - 5.0 + 3.028)]);
        // 100 bytes are left over when the second is there: one packet of 100 + 500 bytes carries both ends.
        let stream = portions(&[(0.0, three + 100), (5.0, 500 - TAG_OVERHEAD)]);
        let both = 109.084 + f64::from(600 + HEADERS) * 8.0 / 4000.0;
        assert_eq!(stream_floors(&path, &stream), [ms(both), ms(both - 5.0)]);
    }

    #[test]
    fn a_stream_that_is_more_than_a_link_carries_comes_ever_later() {
        // 2.5 Mbit/s over 2 Mbit/s: a frame of 10,417 bytes takes 43.6 ms and is born every 33.3 ms.
        let path = [link(Some(2_000_000), 0)];
        let stream: Vec<Portion> =
            (0..300).map(|n| Portion { born_ns: n * 33_333_333, payload: 10_417 - TAG_OVERHEAD }).collect();
        let floors = stream_floors(&path, &stream);
        assert!(floors.is_sorted());
        let takes = 10_417.0 * 8.0 / 2e6 * 1514.0 / 1448.0;
        let expected = 300.0 * takes - 299.0 * 0.033_333_333;
        assert!((floors[299].as_secs_f64() - expected).abs() < 0.002, "{:?} {expected}", floors[299]);
    }

    /// A link as a queue of packets, step by step in time: what a real one does, written otherwise than the formula.
    fn simulate(path: &[Shape], payload: u32) -> Duration {
        let bytes = payload + TAG_OVERHEAD;
        let full = (bytes / SEGMENT) as usize;
        let mut packets = vec![SEGMENT; full];
        packets.extend((!bytes.is_multiple_of(SEGMENT)).then_some(bytes % SEGMENT));
        // When each packet is there to be sent on.
        let mut ready = vec![Duration::ZERO; packets.len()];
        for link in path {
            let mut free = Duration::ZERO;
            for (ready, size) in ready.iter_mut().zip(&packets) {
                let bits = u64::from(size + HEADERS) * 8;
                let takes = link.bandwidth.map_or(0, |rate| bits * 1_000_000_000 / rate);
                free = free.max(*ready) + Duration::from_nanos(takes);
                *ready = free + link.delay;
            }
        }
        ready.last().copied().unwrap_or_default()
    }

    proptest! {
        #[test]
        fn as_a_simulated_network(
            rates in proptest::collection::vec((proptest::option::of(100_000u64..1_000_000_000), 0u64..400), 1..6),
            payload in 0u32..100_000,
        ) {
            let path: Vec<Shape> = rates.into_iter().map(|(rate, delay)| link(rate, delay)).collect();
            prop_assert_eq!(floor(&path, payload), simulate(&path, payload));
        }

        #[test]
        fn a_stream_is_never_faster_than_its_frames_and_never_overtakes_itself(
            rates in proptest::collection::vec((proptest::option::of(100_000u64..1_000_000_000), 0u64..400), 1..4),
            frames in proptest::collection::vec((0i64..60_000_000, 0u32..30_000), 1..40),
        ) {
            let path: Vec<Shape> = rates.into_iter().map(|(rate, delay)| link(rate, delay)).collect();
            let mut born_ns = 0;
            let stream: Vec<Portion> = frames.into_iter().map(|(gap, payload)| {
                born_ns += gap;
                Portion { born_ns, payload }
            }).collect();
            let floors = stream_floors(&path, &stream);
            prop_assert_eq!(floors.len(), stream.len());
            let mut before = 0;
            for (portion, least) in stream.iter().zip(&floors) {
                // Each packet's time on a link is rounded down by itself.
                let alone = floor(&path, portion.payload).saturating_sub(Duration::from_nanos(100));
                prop_assert!(*least >= alone, "{:?} of {:?}", least, alone);
                let arrival = portion.born_ns + least.as_nanos() as i64;
                prop_assert!(arrival >= before);
                before = arrival;
            }
        }

        #[test]
        fn never_below_delays_plus_the_slowest_link(
            rates in proptest::collection::vec((100_000u64..1_000_000_000, 0u64..400), 1..6),
            payload in 0u32..100_000,
        ) {
            let path: Vec<Shape> = rates.iter().map(|(rate, delay)| link(Some(*rate), *delay)).collect();
            let slowest = rates.iter().map(|(rate, _)| rate).min().unwrap();
            let delays: u64 = rates.iter().map(|(_, delay)| delay).sum();
            let least = Duration::from_millis(delays) + Duration::from_nanos(u64::from(payload) * 8_000_000_000 / slowest);
            prop_assert!(floor(&path, payload) >= least);
            prop_assert!(floor(&path, payload + 1) >= floor(&path, payload));
        }

        #[test]
        fn no_transfer_over_links_that_change_is_quicker(
            links in proptest::collection::vec((
                100_000u64..20_000_000, 0u64..100,
                proptest::collection::vec((1u64..400, prop_oneof![Just(0), 50_000u64..20_000_000], 0u64..200), 0..12),
            ), 1..4),
            born_ms in 0i64..2000,
            payload in 0u32..60_000,
        ) {
            use crate::emulator::shaper::{Shaper, Verdict};
            let mut path = Vec::new();
            let mut shapers = Vec::new();
            for (rate, delay, steps) in links {
                let first = Shape { queue: 100_000, ..link(Some(rate), delay) };
                let mut at = 0;
                let mut steps: Vec<Step> = steps.into_iter().map(|(gap, rate, delay)| {
                    at += gap;
                    step(at, Shape { queue: 100_000, ..link(Some(rate), delay) }, false)
                }).collect();
                steps.push(step(at + 1, first, false));
                path.push(Lane::changing(&first, &steps));
                let mut shaper = Shaper::changing(&first, steps, 7);
                shaper.begin(0);
                shapers.push(shaper);
            }
            let born = born_ms * MS;
            let bytes = payload + TAG_OVERHEAD;
            let full = (bytes / SEGMENT) as usize;
            let rest = bytes % SEGMENT;
            let mut packets: Vec<(u64, u32)> = vec![(born as u64, SEGMENT); full];
            packets.extend((rest > 0).then_some((born as u64, rest)));
            for shaper in &mut shapers {
                for (at, size) in &mut packets {
                    match shaper.offer(*at, (*size + HEADERS) as usize) {
                        Verdict::Deliver { at: there } => *at = there,
                        other => panic!("{other:?}"),
                    }
                }
            }
            let last = packets.iter().map(|(at, _)| *at).max().unwrap();
            let least = floor_at(&path, born, payload).unwrap();
            prop_assert!(least <= Duration::from_nanos(last - born as u64), "{least:?} of {:?}", last - born as u64);
            let stream = stream_floors_of(&path, &[Portion { born_ns: born, payload }]);
            prop_assert!(stream[0].unwrap() <= Duration::from_nanos(last - born as u64));
        }
    }
}

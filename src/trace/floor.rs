//! The least delay that the network allows a frame (`docs/architecture.md`, "The floor"): alone on its path ([`floor`]), and behind all that its
//! stream has sent before it ([`stream_floors`]).
//!
//! What is assumed of the packets that carry it is what Linux sends over an Ethernet with an MTU of 1500 bytes, and the least
//! it can send: Ethernet header 14 bytes (no VLAN tag, no FCS, as the links count), IPv4 header 20, TCP header 32 (with time stamps), so 1448
//! bytes of payload in a full segment. With the frame travel the 11 bytes of its FLV tag header and the 4 of the tag size after it, as peers send it.
//! TCP fills its segments; one that a program cuts into smaller ones on purpose is not considered.

use std::time::Duration;

use livectl_wire::flv::{TAG_HEADER_LEN, TAG_TRAILER_LEN};

use crate::plan::Shape;

/// Ethernet, IPv4 and TCP headers of a segment in bytes.
pub const HEADERS: u32 = 14 + 20 + 32;
/// Payload of a full segment in bytes.
pub const SEGMENT: u32 = 1448;
/// What an FLV tag adds to the frame in bytes.
pub const TAG_OVERHEAD: u32 = (TAG_HEADER_LEN + TAG_TRAILER_LEN) as u32;

/// The least time from a frame's birth until a viewer at the end of `path` has all of it. `payload` is the frame's size in bytes.
///
/// Links store and forward: packet *j* leaves link *i* at
/// `t(i,j) = max(t(i,j−1), t(i−1,j) + d(i−1)) + 8·s(j)/r(i)`, and the floor is `t(n,last) + d(n)`. A link with jitter delays
/// a packet by at least `delay − jitter`; one without a bandwidth takes no time to send. An empty path takes none at all.
#[must_use]
pub fn floor(path: &[Shape], payload: u32) -> Duration {
    let mut left = payload.saturating_add(TAG_OVERHEAD);
    // When the packet before left each link.
    let mut sent = vec![Duration::ZERO; path.len()];
    let mut arrived = Duration::ZERO;
    while left > 0 {
        let part = left.min(SEGMENT);
        left -= part;
        arrived = Duration::ZERO;
        for (link, sent) in path.iter().zip(&mut sent) {
            *sent = (*sent).max(arrived) + serialisation(link, part + HEADERS);
            arrived = *sent + link.delay.saturating_sub(link.jitter);
        }
    }
    arrived
}

/// A part of a stream that is sent as one: a frame, some sound, metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Portion {
    /// When it is there to be sent, in nanoseconds since any moment.
    pub born_ns: i64,
    /// Bytes of its payload.
    pub payload: u32,
}

/// The least time from each portion's birth until a viewer at the end of `path` has all of it, if the path must carry the whole stream, in its
/// order. `stream` is in the order of births.
///
/// The recursion is [`floor`]'s with links that stay busy: the first link takes up the next packet when it is free and a byte is there, with all that has
/// been born until then, up to a full segment. So bytes that have to wait share segments with what comes after them. A sender that waits for
/// more fills them better, which a slower link further on rewards by up to [`HEADERS`] for each packet (`docs/analysis.md`, "The two floors").
#[must_use]
pub fn stream_floors(path: &[Shape], stream: &[Portion]) -> Vec<Duration> {
    let Some(start) = stream.first().map(|portion| portion.born_ns) else { return Vec::new() };
    // Births that were stamped out of order are as early as the latest before them.
    let mut latest = Duration::ZERO;
    let births: Vec<Duration> = stream
        .iter()
        .map(|portion| {
            latest = latest.max(Duration::from_nanos(u64::try_from(portion.born_ns - start).unwrap_or(0)));
            latest
        })
        .collect();
    let mut floors = vec![Duration::ZERO; stream.len()];
    let mut sent = vec![Duration::ZERO; path.len()];
    // The first portion of which bytes are left, and how many.
    let mut next = 0;
    let mut left = bytes_of(stream.first());
    while let Some(born) = births.get(next).copied() {
        let departs = sent.first().map_or(born, |free| born.max(*free));
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
        let mut arrived = departs;
        for (link, sent) in path.iter().zip(&mut sent) {
            *sent = (*sent).max(arrived) + serialisation(link, packet + HEADERS);
            arrived = *sent + link.delay.saturating_sub(link.jitter);
        }
        for (floor, born) in floors.iter_mut().zip(&births).take(next).skip(first) {
            *floor = arrived.saturating_sub(*born);
        }
    }
    floors
}

/// What a portion has on the wire, above TCP.
fn bytes_of(portion: Option<&Portion>) -> u32 {
    portion.map_or(0, |portion| portion.payload.saturating_add(TAG_OVERHEAD))
}

/// How long the link takes to send so many bytes, rounded down to the nanosecond.
fn serialisation(link: &Shape, bytes: u32) -> Duration {
    let bits_ns = u64::from(bytes) * 8 * 1_000_000_000;
    link.bandwidth.map_or(Duration::ZERO, |rate| Duration::from_nanos(bits_ns / rate.max(1)))
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
    }
}

//! The least delay that the network allows a frame (`docs/architecture.md`, "The floor").
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

//! How much of a broadcaster's uplink its upload to the CDN may take while it serves peers.

/// The share of the uplink that peers and CDN together may take.
///
/// Frames come in bursts, and each packet of the CDN's that is between their packets costs a packet's time on the link. Measured with
/// 2.5 Mbit/s over 4 Mbit/s and 200 ms, CUBIC: 0.85 leaves the CDN 0.79 Mbit/s and a peer's frames an excess over the floor of
/// 7.6 ms (median) and 28 ms (95th percentile); 0.75 leaves 0.36 Mbit/s, 2.4 ms and 19 ms; 0.66 leaves 0.16 Mbit/s, 2.1 ms
/// and 11 ms.
const SHARE: f64 = 0.75;
/// The share of the uplink that the CDN is left in any case.
const LEAST: f64 = 0.05;
/// Seconds by which a peer may lag behind the stream without being thought to have to catch up: a few frames.
pub const TOLERATED_LAG: f64 = 0.15;
/// The share that they may take if that is enough for all of them: then the CDN is not held back at all.
const ALL: f64 = 0.9;
/// How much faster than its stream the CDN's upload may be then.
const AMPLE: f64 = 1.1;
/// Seconds by which the CDN may be behind before it is given all that is left of that share: who has nobody else comes to it, and whoever it serves
/// is as far behind.
pub const CDN_LAG: f64 = 1.0;
/// Bytes of an Ethernet frame for each byte of TCP payload in full segments: 1448 of payload, 66 of headers.
const WIRE_PER_PAYLOAD: f64 = 1514.0 / 1448.0;

/// Relative change of the allowance that is worth a system call and an event.
const STEP: f64 = 0.1;

/// What the upload to the CDN may take, in bit/s on the wire, of an uplink of `uplink` bit/s, while `peers` peers are each sent
/// `stream` bit/s of payload: what they leave, or a whole stream if all have room. As long as one of them has to catch up, as after it joined, they are counted twice; and of a
/// stream of which nobody knows the rate they leave nothing. So where the uplink is wide, viewers who stay with the CDN do not pay for the others. A CDN that
/// is `behind`, because it was held back, gets what there is when all have room.
#[must_use]
pub fn allowance(uplink: u64, stream: Option<f64>, peers: usize, catching_up: bool, behind: bool) -> u64 {
    let uplink = uplink as f64;
    let copies = peers as f64 * if catching_up { 2.0 } else { 1.0 };
    let left = stream.map_or(0.0, |stream| {
        let (copy, left) = (stream * WIRE_PER_PAYLOAD, |share| share * uplink - stream * WIRE_PER_PAYLOAD * copies);
        let ample = copy * AMPLE;
        match left(ALL) {
            all if all < ample => left(SHARE),
            all if behind => all,
            _ => left(SHARE).max(ample),
        }
    });
    left.max(LEAST * uplink) as u64
}

/// The pacing rate of a socket that may take so much on the wire.
#[must_use]
pub fn payload_per_s(bit_per_s: u64) -> u32 {
    (bit_per_s as f64 / WIRE_PER_PAYLOAD / 8.0) as u32
}

/// Whether a limit differs from the one in force by more than is worth it.
#[must_use]
pub fn differs(set: Option<u64>, wanted: Option<u64>) -> bool {
    match (set, wanted) {
        (Some(set), Some(wanted)) => (wanted as f64 / set as f64 - 1.0).abs() > STEP,
        (set, wanted) => set != wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_come_first() {
        let stream = Some(2_500_000.0);
        assert_eq!(allowance(4_000_000, stream, 1, false, false), 386_049, "0.75 x 4 - 2.5 x 1514/1448");
        assert_eq!(allowance(4_000_000, stream, 2, false, false), 200_000, "never less than 5 %");
        assert_eq!(allowance(100_000_000, stream, 2, false, false), 69_772_099);
        assert_eq!(allowance(4_000_000, stream, 1, true, false), 200_000, "a peer has to catch up");
        assert_eq!(
            allowance(100_000_000, stream, 2, true, false),
            64_544_198,
            "which leaves enough of a wide uplink"
        );
        let stream = Some(1_000_000.0);
        assert_eq!(
            allowance(4_000_000, stream, 2, false, false),
            1_150_138,
            "all three copies fit, the CDN's with some room"
        );
        assert_eq!(allowance(4_000_000, stream, 3, false, false), 200_000, "a fourth does not");
        assert_eq!(allowance(100_000_000, None, 1, true, false), 5_000_000, "nobody knows what the stream takes");
        let behind = |peers, catching_up| allowance(4_000_000, stream, peers, catching_up, true);
        assert_eq!(behind(2, false), 1_508_839, "0.9 x 4 - 2 x 1514/1448: all that is left");
        assert_eq!(behind(2, true), 200_000, "a peer that has to catch up comes first");
        assert_eq!(behind(3, false), 200_000, "and so do peers who leave nothing");
    }

    #[test]
    fn a_pace_on_the_wire_is_one_of_payload() {
        assert_eq!(payload_per_s(1_514 * 8), 1_448);
    }

    #[test]
    fn changes_that_are_worth_it() {
        assert!(differs(None, Some(1)) && differs(Some(1), None) && differs(Some(100), Some(111)));
        assert!(!differs(None, None) && !differs(Some(100), Some(109)));
    }
}

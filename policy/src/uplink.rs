//! What an uplink carries of a stream: whole copies, and the time that each takes.

use std::time::Duration;

/// On the wire there is more than video and sound: headers of Ethernet (with preamble and gap 38 bytes a packet), IP
/// and TCP (52 with time stamps), and FLV (15 a message). With full segments of 1448 bytes that is 6 %.
pub const HEADERS: f64 = 1.06;

/// Of an uplink this part is left free. Frames are not of one size, and a parent that is always full never catches up
/// after a keyframe; the acknowledgements for what it gets itself pass there, too.
pub const HEADROOM: f64 = 0.10;

/// Bytes of headers that a message has, however short it is: those of one packet and of FLV.
const MESSAGE_HEADERS: f64 = 38.0 + 52.0 + 15.0;

/// A stream as it is going to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Video and sound, without headers of any protocol, in bit/s.
    pub bit_per_s: f64,
    /// Frame rate, in pictures per second.
    pub frames_per_s: f64,
}

impl Rate {
    /// What one copy takes of an uplink, in bit/s.
    #[must_use]
    pub fn copy(self) -> f64 {
        self.bit_per_s * HEADERS
    }

    /// How many whole copies an uplink carries beside other bits that are to pass there in each second. `None`
    /// carries more than matters.
    #[must_use]
    pub fn copies(self, up_bit_per_s: Option<f64>, other_bit_per_s: f64) -> u32 {
        up_bit_per_s.map_or(u32::MAX, |up| copies(self.copy(), usable(up), other_bit_per_s))
    }

    /// How long a copy of a frame takes on an uplink: one as long as the mean, or so many times that. `None` takes no
    /// time.
    #[must_use]
    pub fn copy_time(self, up_bit_per_s: Option<f64>, times_the_mean: f64) -> Duration {
        let Some(up) = up_bit_per_s else { return Duration::ZERO };
        let bytes = self.bit_per_s / 8.0 / self.frames_per_s * times_the_mean;
        let on_the_wire = (bytes * HEADERS).max(bytes + MESSAGE_HEADERS);
        // Longer than an hour is as bad as an hour.
        Duration::try_from_secs_f64(8.0 * on_the_wire / up).unwrap_or(LONGEST).min(LONGEST)
    }
}

/// What is used of an uplink: all but the headroom.
#[must_use]
pub fn usable(up_bit_per_s: f64) -> f64 {
    up_bit_per_s * (1.0 - HEADROOM)
}

/// How many copies of one size fit into what is usable, beside others. In any unit.
#[must_use]
pub fn copies(copy: f64, usable: f64, others: f64) -> u32 {
    // A hair more, so that exactly so many fit in spite of rounding. From float to integer, too much is cut and what
    // is no number is 0.
    ((usable - others) / copy + 1e-9) as u32
}

const LONGEST: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { bit_per_s: 500_000.0, frames_per_s: 30.0 };

    #[test]
    fn whole_copies() {
        // 0.9 × 2 Mbit/s over 530 kbit/s is 3.4.
        assert_eq!(RATE.copies(Some(2e6), 0.0), 3);
        assert_eq!(RATE.copies(Some(2e6), RATE.copy()), 2);
        assert_eq!(RATE.copies(Some(2e6), 3e6), 0);
        assert_eq!(RATE.copies(Some(RATE.copy() * 4.0 / 0.9), 0.0), 4);
        assert_eq!(RATE.copies(None, 1e9), u32::MAX);
        assert_eq!(Rate { bit_per_s: 0.0, ..RATE }.copies(Some(0.0), 0.0), 0);
    }

    #[test]
    fn time_of_a_copy() {
        // 2083 bytes and headers at 2 Mbit/s.
        let time = RATE.copy_time(Some(2e6), 1.0).as_secs_f64() * 1e3;
        assert!((time - 8.833).abs() < 0.001, "{time}");
        assert!(RATE.copy_time(Some(2e6), 0.0) > Duration::ZERO, "headers alone take time");
        assert_eq!(RATE.copy_time(None, 10.0), Duration::ZERO);
        assert_eq!(RATE.copy_time(Some(0.0), 1.0), LONGEST);
        assert_eq!(Rate { frames_per_s: 0.0, ..RATE }.copy_time(Some(2e6), 1.0), LONGEST);
    }
}

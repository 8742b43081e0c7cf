//! Waiting awake, for a moment, for a message that is about to come.
//!
//! To fall asleep and to be woken costs a core some 20 to 50 µs, more than it takes to answer a packet-in. A switch
//! that waits for an answer before it goes on, or several that each do, would pay that for every packet. So after a
//! message the next is awaited awake: other threads still have the processor whenever they want it, and it is only
//! done as long as it turns out to be worth it.

use std::time::Duration;

/// For how long.
const AWAKE: Duration = Duration::from_micros(50);
/// After so many times in vain in a row, it is only tried now and then:
const DISCOURAGED: u32 = 4;
/// one time out of so many. A switch with a packet-in every millisecond then costs 0.3 % of a core.
const RETRY: u32 = 16;

/// Whether, and since when, the next message is awaited awake. Times are those since any fixed moment.
#[derive(Debug, Default)]
pub struct Attention {
    /// When the last message came, if the next is awaited awake.
    since: Option<Duration>,
    /// How often it was in vain, since it was not.
    in_vain: u32,
}

impl Attention {
    /// Something came.
    pub fn came(&mut self, now: Duration) {
        // It came while it was awaited.
        if self.since.is_some() {
            self.in_vain = 0;
        }
        self.since = (self.in_vain < DISCOURAGED || self.in_vain.is_multiple_of(RETRY)).then_some(now);
        if self.since.is_none() {
            self.in_vain = self.in_vain.wrapping_add(1).max(DISCOURAGED);
        }
    }

    /// Whether to stay awake.
    pub fn is_awake(&mut self, now: Duration) -> bool {
        let Some(since) = self.since else { return false };
        let awake = now.saturating_sub(since) < AWAKE;
        if !awake {
            self.since = None;
            self.in_vain = self.in_vain.wrapping_add(1).max(1);
        }
        awake
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_awake_for_a_moment_after_each_message() {
        let mut attention = Attention::default();
        assert!(!attention.is_awake(Duration::ZERO));
        attention.came(Duration::from_secs(1));
        assert!(attention.is_awake(Duration::from_secs(1)));
        assert!(!attention.is_awake(Duration::from_secs(1) + AWAKE));
    }

    #[test]
    fn gives_up_when_it_is_in_vain_and_tries_again_now_and_then() {
        let mut attention = Attention::default();
        let mut clock = 0;
        let mut message = |attention: &mut Attention| {
            clock += 1;
            let now = Duration::from_secs(clock);
            attention.came(now);
            let tried = attention.is_awake(now);
            attention.is_awake(now + AWAKE);
            tried
        };
        let mut tries =
            |attention: &mut Attention, messages: u32| (0..messages).filter(|_| message(attention)).count();
        assert_eq!(tries(&mut attention, DISCOURAGED), 4);
        assert_eq!(tries(&mut attention, 10 * RETRY), 10);
        // One success, and it pays again.
        while attention.since.is_none() {
            attention.came(Duration::from_secs(3600));
        }
        attention.came(Duration::from_secs(3600));
        assert!(!attention.is_awake(Duration::from_secs(7200)));
        assert_eq!(tries(&mut attention, 2), 2);
    }
}

//! What the broadcaster sends to the CDN beside its peers: as much as they leave.

use std::collections::VecDeque;

use livectl_policy::pacing;

use super::super::agenda::Nanos;
use super::super::programs::{LEAST_LOOKS, LOOK, RATE_LOOKS};
use super::ground::Pace;
use crate::trace::floor::{HEADERS, SEGMENT};

/// Full segments that leave at once, however slow the pace: as Linux has it.
const BURST: u64 = 2 * (SEGMENT + HEADERS) as u64;

/// What waits to be sent to the CDN, and at which pace it leaves.
#[derive(Debug)]
pub(super) struct Upload {
    /// The broadcaster's uplink in bit/s; `None`: no limit.
    link: Option<u64>,
    planned: f64,
    /// What it may take of that on the wire, in bit/s; `None`: all.
    pub allowed: Option<u64>,
    /// Items, with the bytes that are left of each on the wire.
    waiting: VecDeque<(usize, u64)>,
    /// When the pace lets the next ones leave.
    paced_until: Nanos,
    /// Payload of what waits, in bytes, and of what was ever there.
    backlog: u64,
    pub given: u64,
    /// Bytes born until each look.
    looks: Vec<u64>,
}

impl Upload {
    pub fn of(link: Option<u64>, planned_bit_per_s: f64) -> Self {
        Self {
            link,
            planned: planned_bit_per_s,
            allowed: None,
            waiting: VecDeque::new(),
            paced_until: 0,
            backlog: 0,
            given: 0,
            // The agent has looked since the trial's beginning, and begins to count with the look before the stream.
            looks: vec![0],
        }
    }

    /// Another item, of so many bytes on the wire.
    pub fn give(&mut self, item: usize, now: Nanos, wire: u64, payload: u64) {
        if self.waiting.is_empty() {
            self.paced_until = self.paced_until.max(now);
        }
        self.waiting.push_back((item, wire));
        self.backlog += payload;
        self.given += payload;
    }

    /// When the next packets leave; `None`: there are none.
    pub fn next(&self) -> Option<Nanos> {
        self.waiting.front().map(|_| self.paced_until)
    }

    /// Packets leave the sender: how many bytes. `whole` is told the items of which they are the last.
    pub fn leaves(&mut self, payload: impl Fn(usize) -> u64, mut whole: impl FnMut(usize)) -> u64 {
        let most = if self.allowed.is_some() { BURST } else { u64::MAX };
        let mut left = most;
        while let Some((item, bytes)) = self.waiting.front_mut() {
            let now = left.min(*bytes);
            (*bytes, left) = (*bytes - now, left - now);
            if *bytes > 0 {
                break;
            }
            self.backlog -= payload(*item);
            whole(*item);
            self.waiting.pop_front();
        }
        let bytes = most - left;
        if let Some(allowed) = self.allowed {
            self.paced_until += Pace::of(Some(allowed)).time(bytes);
        }
        bytes
    }

    /// The broadcaster's agent looks at what so many peers leave. `born` are bytes of the stream until now, `lag` is by how much peers are behind.
    pub fn look(&mut self, born: u64, peers: usize, lag: Nanos) {
        self.looks.push(born);
        self.pace(peers, lag);
    }

    /// The same, between two looks: somebody came or went.
    pub fn pace(&mut self, peers: usize, lag: Nanos) {
        let Some(link) = self.link else { return };
        let looks = &self.looks[self.looks.len().saturating_sub(RATE_LOOKS + 1)..];
        let measured = (looks.len() > LEAST_LOOKS).then(|| {
            let seconds = (looks.len() - 1) as f64 * LOOK as f64 / 1e9;
            (looks[looks.len() - 1] - looks[0]) as f64 * 8.0 / seconds
        });
        let rate = measured.unwrap_or(self.planned).max(1.0);
        let catching_up = measured.is_none() || lag as f64 / 1e9 > pacing::TOLERATED_LAG;
        let behind = self.backlog as f64 * 8.0 / rate > pacing::CDN_LAG;
        let allowed = (peers > 0).then(|| pacing::allowance(link, Some(rate), peers, catching_up, behind));
        if pacing::differs(self.allowed, allowed) {
            // As in Linux, what has left at the former pace is waited for at that.
            self.allowed = allowed;
        }
    }

    pub fn is_done(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn packets_leave_two_by_two_at_the_pace_of_the_moment() {
        let mut upload = Upload::of(Some(4_000_000), 2_500_000.0);
        upload.give(0, 5, 4000, 3000);
        assert_eq!(upload.next(), Some(5));
        // Nobody else needs the link.
        let mut whole = Vec::new();
        assert_eq!(upload.leaves(|_| 3000, |item| whole.push(item)), 4000);
        assert_eq!((whole.as_slice(), upload.next(), upload.is_done()), ([0].as_slice(), None, true));
        // A peer does: nobody knows what the stream takes, so 5 % are left.
        upload.look(0, 1, 0);
        assert_eq!(upload.allowed, Some(200_000));
        upload.give(1, 20, 4000, 3000);
        assert_eq!(upload.next(), Some(20));
        assert_eq!(upload.leaves(|_| 3000, |item| whole.push(item)), 3028);
        assert_eq!(upload.next(), Some(20 + 3028 * 40_000));
        assert_eq!(whole, [0]);
        // The peer has gone; what has left is still waited for.
        upload.pace(0, 0);
        assert_eq!(upload.next(), Some(20 + 3028 * 40_000));
        assert_eq!(upload.leaves(|_| 3000, |item| whole.push(item)), 972);
        assert_eq!(whole, [0, 1]);
    }
}

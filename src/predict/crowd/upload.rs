//! What the broadcaster sends to the CDN beside its peers: as much as they leave.

use std::collections::VecDeque;

use livectl_policy::pacing;

use super::super::agenda::Nanos;
use super::super::programs::{LEAST_LOOKS, LOOK, RATE_LOOKS};

/// The upload. What is in it leaves evenly, at a rate that changes.
#[derive(Debug)]
pub(super) struct Upload {
    /// The broadcaster's uplink; `None`: no limit.
    link: Option<u64>,
    planned: f64,
    /// What it may take of that on the wire, in bit/s; `None`: all.
    pub allowed: Option<u64>,
    /// Items, with the bits that are left of each.
    waiting: VecDeque<(usize, f64)>,
    /// Up to when it has been followed.
    pub at: Nanos,
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
            at: 0,
            backlog: 0,
            given: 0,
            looks: Vec::new(),
        }
    }

    /// Another item, of so many bytes on the wire.
    pub fn give(&mut self, item: usize, now: Nanos, wire: u64, payload: u64) {
        self.follow(now);
        self.waiting.push_back((item, wire as f64 * 8.0));
        self.backlog += payload;
        self.given += payload;
    }

    fn bit_per_ns(&self) -> Option<f64> {
        let rate = match (self.allowed, self.link) {
            (Some(allowed), Some(link)) => Some(allowed.min(link)),
            (allowed, link) => allowed.or(link),
        };
        rate.map(|rate| rate as f64 / 1e9)
    }

    /// When the next item has left; `None`: there is none.
    pub fn next(&self) -> Option<Nanos> {
        let (_, bits) = self.waiting.front()?;
        Some(self.at + self.bit_per_ns().map_or(0, |rate| (bits / rate).ceil() as Nanos))
    }

    /// That item has left.
    pub fn pop(&mut self, payload: impl Fn(usize) -> u64) -> Option<usize> {
        self.at = self.next()?;
        let (item, _) = self.waiting.pop_front()?;
        self.backlog -= payload(item);
        Some(item)
    }

    /// Nothing leaves whole until that moment.
    pub fn follow(&mut self, to: Nanos) {
        let passed = to.saturating_sub(self.at);
        if let (Some(rate), Some((_, bits))) = (self.bit_per_ns(), self.waiting.front_mut()) {
            *bits = (*bits - passed as f64 * rate).max(0.0);
        }
        self.at = self.at.max(to);
    }

    /// The broadcaster's agent looks at what so many peers leave. `born` are bytes of the stream until now, `lag` is by how much peers are behind.
    pub fn look(&mut self, now: Nanos, born: u64, peers: usize, lag: Nanos) {
        self.looks.push(born);
        self.pace(now, peers, lag);
    }

    /// The same, between two looks: somebody came or went.
    pub fn pace(&mut self, now: Nanos, peers: usize, lag: Nanos) {
        self.follow(now);
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
            self.allowed = allowed;
        }
    }

    /// How much longer a copy for a peer takes, since packets of the upload go between its own; in thousandths.
    pub fn stretch(&self) -> u64 {
        match (self.allowed, self.link) {
            (Some(allowed), Some(link)) if !self.waiting.is_empty() => 1000 * allowed.min(link) / link.max(1),
            _ => 0,
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
    fn what_waits_leaves_at_the_rate_of_the_moment() {
        let mut upload = Upload::of(Some(1_000_000), 500e3);
        upload.give(0, 0, 125, 100);
        upload.give(1, 0, 125, 100);
        // 1000 bits at 1 Mbit/s.
        assert_eq!(upload.next(), Some(1_000_000));
        assert_eq!(upload.pop(|_| 100), Some(0));
        upload.follow(1_500_000);
        // Half of the second one has left; the rest takes ten times as long.
        upload.allowed = Some(100_000);
        assert_eq!(upload.next(), Some(1_500_000 + 5_000_000));
        assert_eq!((upload.pop(|_| 100), upload.next(), upload.is_done()), (Some(1), None, true));
        assert_eq!(Upload::of(None, 1.0).next(), None);
        let mut wide = Upload::of(None, 1.0);
        wide.give(7, 5, 1_000_000, 1);
        assert_eq!(wide.next(), Some(5), "no limit");
    }

    #[test]
    fn peers_come_first() {
        let mut upload = Upload::of(Some(4_000_000), 2_500_000.0);
        upload.look(0, 0, 0, 0);
        assert_eq!(upload.allowed, None);
        upload.look(1, 0, 1, 0);
        assert_eq!(upload.allowed, Some(200_000), "nobody knows what the stream takes");
        assert_eq!(upload.stretch(), 0, "there is nothing to be sent");
        upload.give(0, 2, 1000, 1000);
        assert_eq!(upload.stretch(), 50);
    }
}

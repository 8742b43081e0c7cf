//! How long trials take and how much they leave, learned from those that ran on this machine.
//!
//! A timeline is known beforehand; what is learned is what a trial takes beyond it, and how its files compare with
//! what the nominal bitrate gives.

use std::time::Duration;

use crate::plan::TRIAL_OVERHEAD;
use crate::store::Planned;

/// A trial that ran.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ran {
    /// Length of its timeline in seconds.
    pub planned_s: f64,
    /// From its start until its tables were made, in seconds.
    pub took_s: f64,
    /// Size of its files, by the nominal bitrate.
    pub planned_bytes: u64,
    /// Their size in bytes.
    pub bytes: u64,
}

/// What was learned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Seconds beyond the timeline: the median, and where four fifths of them lie.
    overhead_s: (f64, f64, f64),
    /// Bytes for each planned byte.
    bulk: f64,
    /// Trials that it was learned from.
    pub from: usize,
}

/// How long something takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Most likely.
    pub likely: Duration,
    /// If every trial is as quick as the quick ones, or as slow as the slow ones.
    pub between: (Duration, Duration),
}

impl Pace {
    /// What trials that ran tell; without any, what is usual.
    #[must_use]
    pub fn learned(ran: &[Ran]) -> Pace {
        let usual = TRIAL_OVERHEAD.as_secs_f64();
        let mut over: Vec<f64> = ran.iter().map(|ran| (ran.took_s - ran.planned_s).max(0.0)).collect();
        over.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = (share * over.len().saturating_sub(1) as f64).round() as usize;
            over.get(place).copied().unwrap_or(usual)
        };
        let (planned, bytes) = ran.iter().fold((0_u64, 0_u64), |(planned, bytes), ran| {
            (planned.saturating_add(ran.planned_bytes), bytes.saturating_add(ran.bytes))
        });
        let bulk = if planned > 0 && bytes > 0 { bytes as f64 / planned as f64 } else { 1.0 };
        Pace { overhead_s: (at(0.5), at(0.1), at(0.9)), bulk, from: ran.len() }
    }

    /// How long trials take, one after the other.
    #[must_use]
    pub fn span<'a>(&self, trials: impl IntoIterator<Item = &'a Planned>) -> Span {
        let (count, planned) =
            trials.into_iter().fold((0.0, 0.0), |(count, sum), trial| (count + 1.0, sum + trial.seconds.max(0.0)));
        let with = |overhead: f64| Duration::try_from_secs_f64(planned + count * overhead).unwrap_or(Duration::MAX);
        let (likely, quick, slow) = self.overhead_s;
        Span { likely: with(likely), between: (with(quick), with(slow)) }
    }

    /// How much they leave.
    #[must_use]
    pub fn bytes<'a>(&self, trials: impl IntoIterator<Item = &'a Planned>) -> u64 {
        let planned: u64 = trials.into_iter().map(|trial| trial.bytes).sum();
        (planned as f64 * self.bulk) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Point, Scheme};

    fn planned(seconds: f64) -> Planned {
        Planned { id: "x".into(), point: Point::new(Scheme::Direct, 1), seconds, bytes: 1000 }
    }

    #[test]
    fn without_experience_the_usual_is_told() {
        let pace = Pace::learned(&[]);
        let span = pace.span(&[planned(8.0), planned(12.0)]);
        assert_eq!(span.likely, Duration::from_secs(20) + 2 * TRIAL_OVERHEAD);
        assert_eq!(span.between, (span.likely, span.likely));
        assert_eq!(pace.bytes(&[planned(8.0)]), 1000);
    }

    #[test]
    fn the_median_decides_and_one_slow_trial_does_not() {
        let ran = |took_s| Ran { planned_s: 10.0, took_s, planned_bytes: 1000, bytes: 1500 };
        let all: Vec<Ran> = [14.0, 14.5, 15.0, 15.0, 15.5, 16.0, 300.0].map(ran).to_vec();
        let pace = Pace::learned(&all);
        let span = pace.span(&[planned(10.0)]);
        assert_eq!(span.likely, Duration::from_secs(15));
        assert!(span.between.0 < span.likely && span.likely < span.between.1);
        assert!(span.between.1 < Duration::from_secs(20));
        assert_eq!(pace.bytes(&[planned(1.0), planned(1.0)]), 3000);
    }
}

//! How long trials take and how much they leave, learned from those that ran on this machine.
//!
//! A timeline is known beforehand; what is learned is what a trial takes beyond it, and how its files compare with
//! what the nominal bitrate gives. A prediction has no timeline to wait for: what it takes is estimated from what is to
//! be computed, and what is learned is by how much that is off.

use std::time::Duration;

use crate::plan::TRIAL_OVERHEAD;
use crate::store::Planned;

/// Fewer trials are no experience.
const FEWEST: usize = 3;

/// A trial that ran.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ran {
    /// Length of its timeline in seconds.
    pub planned_s: f64,
    /// From its start until its tables were made, in seconds.
    pub took_s: f64,
    /// Size of its files, by the nominal bitrate.
    pub planned_bytes: u64,
    /// Size of its files in bytes.
    pub bytes: u64,
    /// It was predicted: the planned seconds and bytes are estimates of the prediction's.
    pub predicted: bool,
}

/// How long trials take, and how much they leave, as learned from those that ran.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Seconds beyond the timeline: the median, and where four fifths of them lie.
    overhead_s: (f64, f64, f64),
    /// Bytes for each planned byte.
    bulk: f64,
    /// Trials that it was learned from; those that were predicted are not among them.
    pub from: usize,
    /// What was learned of predictions.
    pub predicted: Predictions,
}

/// What was learned of predictions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Predictions {
    /// Seconds for each second estimated: the median, and where four fifths lie.
    factor: (f64, f64, f64),
    /// Bytes for each byte estimated.
    bulk: f64,
    /// Predictions that it was learned from.
    pub from: usize,
}

/// How long something takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// As long as it most likely takes.
    pub likely: Duration,
    /// If every trial is as quick as the quick ones, or as slow as the slow ones.
    pub between: (Duration, Duration),
}

impl Pace {
    /// What trials that ran tell; without any, what is usual.
    #[must_use]
    pub fn learned(ran: &[Ran]) -> Pace {
        let (predicted, played): (Vec<&Ran>, Vec<&Ran>) = ran.iter().partition(|ran| ran.predicted);
        let usual = TRIAL_OVERHEAD.as_secs_f64();
        let over = played.iter().map(|ran| (ran.took_s - ran.planned_s).max(0.0));
        let off = predicted.iter().filter(|ran| ran.planned_s > 0.0).map(|ran| ran.took_s / ran.planned_s);
        Pace {
            overhead_s: spread(over.collect(), usual),
            bulk: bulk(&played),
            from: played.len(),
            predicted: Predictions {
                factor: spread(off.collect(), 1.0),
                bulk: bulk(&predicted),
                from: predicted.len(),
            },
        }
    }

    /// This, or what was known before where it was learned from too few trials. Those that are played and those that are
    /// predicted tell nothing of each other.
    #[must_use]
    pub fn or(self, before: Pace) -> Pace {
        let predicted = if self.predicted.from < FEWEST { before.predicted } else { self.predicted };
        Pace { predicted, ..if self.from < FEWEST { before } else { self } }
    }

    /// How long trials take, one after the other.
    #[must_use]
    pub fn span<'a>(&self, trials: impl IntoIterator<Item = &'a Planned>) -> Span {
        let (mut count, mut planned, mut estimated) = (0.0, 0.0, 0.0);
        for trial in trials {
            let seconds = trial.seconds.max(0.0);
            if trial.is_predicted() {
                estimated += seconds;
            } else {
                count += 1.0;
                planned += seconds;
            }
        }
        let with = |overhead: f64, factor: f64| {
            Duration::try_from_secs_f64(planned + count * overhead + estimated * factor).unwrap_or(Duration::MAX)
        };
        let ((likely, quick, slow), factor) = (self.overhead_s, self.predicted.factor);
        Span { likely: with(likely, factor.0), between: (with(quick, factor.1), with(slow, factor.2)) }
    }

    /// Bytes that these trials are likely to leave.
    #[must_use]
    pub fn bytes<'a>(&self, trials: impl IntoIterator<Item = &'a Planned>) -> u64 {
        let of = |trial: &Planned| {
            let bulk = if trial.is_predicted() { self.predicted.bulk } else { self.bulk };
            trial.bytes as f64 * bulk
        };
        trials.into_iter().map(of).sum::<f64>() as u64
    }
}

/// The median, and where four fifths lie; without any, what is usual.
fn spread(mut values: Vec<f64>, usual: f64) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = (share * values.len().saturating_sub(1) as f64).round() as usize;
        values.get(place).copied().unwrap_or(usual)
    };
    (at(0.5), at(0.1), at(0.9))
}

fn bulk(ran: &[&Ran]) -> f64 {
    let (planned, bytes) = ran.iter().fold((0_u64, 0_u64), |(planned, bytes), ran| {
        (planned.saturating_add(ran.planned_bytes), bytes.saturating_add(ran.bytes))
    });
    if planned > 0 && bytes > 0 { bytes as f64 / planned as f64 } else { 1.0 }
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
        let ran = |took_s| Ran { planned_s: 10.0, took_s, planned_bytes: 1000, bytes: 1500, predicted: false };
        let all: Vec<Ran> = [14.0, 14.5, 15.0, 15.0, 15.5, 16.0, 300.0].map(ran).to_vec();
        let pace = Pace::learned(&all);
        let span = pace.span(&[planned(10.0)]);
        assert_eq!(span.likely, Duration::from_secs(15));
        assert!(span.between.0 < span.likely && span.likely < span.between.1);
        assert!(span.between.1 < Duration::from_secs(20));
        assert_eq!(pace.bytes(&[planned(1.0), planned(1.0)]), 3000);
    }

    #[test]
    fn predictions_take_what_is_to_be_computed_and_no_timeline() {
        let prediction = |seconds| Planned { point: planned(0.0).point.as_predicted(), ..planned(seconds) };
        let ran =
            |planned_s, took_s, predicted| Ran { planned_s, took_s, planned_bytes: 1000, bytes: 500, predicted };
        let usual = Pace::learned(&[]);
        assert_eq!(usual.span(&[prediction(3.0)]).likely, Duration::from_secs(3), "no network is booted for it");
        let pace = Pace::learned(&[ran(2.0, 1.0, true), ran(60.0, 75.0, false)]);
        assert_eq!((pace.from, pace.predicted.from), (1, 1));
        let both = [prediction(4.0), planned(60.0)];
        assert_eq!(pace.span(&both).likely, Duration::from_secs(2 + 75), "each learns from its own");
        assert_eq!((pace.bytes(&both[..1]), Pace::learned(&[ran(2.0, 1.0, true)]).bytes(&both)), (500, 1500));
    }
}

//! A histogram of how late packets were written: fixed size, one writer, readable at any time from other threads.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Buckets per doubling: values are known to 1/16, 6 %.
const STEPS: usize = 16;
/// log2 of [`STEPS`].
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Values from 2^40 ns, 18 minutes, on share the last bucket.
const BUCKETS: usize = (40 - STEP_BITS as usize + 1) * STEPS;

/// Counts nanoseconds in buckets of 6 % width. Updated by one thread without locks; other threads may take a
/// [`Snapshot`].
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[AtomicU64]>,
    max: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(), max: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Counts one value. Only one thread may do this.
    pub fn record(&self, nanos: u64) {
        let bucket = &self.buckets[bucket_of(nanos)];
        bucket.store(bucket.load(Relaxed) + 1, Relaxed);
        if nanos > self.max.load(Relaxed) {
            self.max.store(nanos, Relaxed);
        }
    }

    /// The counts as they are now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { counts: self.buckets.iter().map(|b| b.load(Relaxed)).collect(), max: self.max.load(Relaxed) }
    }
}

/// The counts of a [`Histogram`] at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    counts: Vec<u64>,
    max: u64,
}

impl Snapshot {
    /// What was counted since `earlier`. Its largest value is known to the bucket only.
    #[must_use]
    pub fn since(&self, earlier: &Snapshot) -> Snapshot {
        let counts: Vec<u64> = self
            .counts
            .iter()
            .enumerate()
            .map(|(i, now)| now - earlier.counts.get(i).copied().unwrap_or(0).min(*now))
            .collect();
        let max = counts.iter().rposition(|n| *n > 0).map_or(0, |i| upper_bound(i).min(self.max));
        Snapshot { counts, max }
    }

    /// How many values were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The value that the fraction `q` of all values does not exceed, rounded up to its bucket's end. 0 when empty.
    #[must_use]
    pub fn quantile(&self, q: f64) -> u64 {
        let rank = ((self.count() as f64 * q).ceil() as u64).max(1);
        let mut seen = 0;
        for (i, n) in self.counts.iter().enumerate() {
            seen += n;
            if seen >= rank {
                return upper_bound(i).min(self.max);
            }
        }
        0
    }

    /// The largest value.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max
    }
}

fn bucket_of(nanos: u64) -> usize {
    let exponent = nanos.max(1).ilog2();
    if exponent < STEP_BITS {
        return nanos as usize;
    }
    let shift = exponent - STEP_BITS;
    let mantissa = (nanos >> shift) as usize - STEPS;
    ((shift as usize + 1) * STEPS + mantissa).min(BUCKETS - 1)
}

/// The largest value of a bucket.
fn upper_bound(bucket: usize) -> u64 {
    if bucket < STEPS {
        return bucket as u64;
    }
    if bucket == BUCKETS - 1 {
        return u64::MAX;
    }
    let (shift, mantissa) = (bucket / STEPS - 1, bucket % STEPS);
    (((STEPS + mantissa + 1) as u64) << shift) - 1
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_follow_each_other_without_gaps() {
        for bucket in 0..BUCKETS - 1 {
            assert_eq!(bucket_of(upper_bound(bucket)), bucket);
            assert_eq!(bucket_of(upper_bound(bucket) + 1), bucket + 1);
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn an_empty_histogram_says_zero() {
        let empty = Histogram::default().snapshot();
        assert_eq!((empty.count(), empty.quantile(0.99), empty.max()), (0, 0, 0));
        assert_eq!(empty.since(&Snapshot::default()).max(), 0);
    }

    #[test]
    fn the_last_interval_forgets_what_was_before() {
        let histogram = Histogram::default();
        histogram.record(5_000_000);
        let before = histogram.snapshot();
        histogram.record(1_000);
        let recent = histogram.snapshot().since(&before);
        assert_eq!(recent.count(), 1);
        assert!((1_000..=1_063).contains(&recent.max()), "{}", recent.max());
        assert_eq!(histogram.snapshot().max(), 5_000_000);
    }

    proptest! {
        #[test]
        fn quantiles_are_right_to_a_sixteenth(mut values in proptest::collection::vec(0u64..1 << 39, 1..300), q in 0.01f64..1.0) {
            let histogram = Histogram::default();
            values.iter().for_each(|v| histogram.record(*v));
            values.sort_unstable();
            let exact = values[((values.len() as f64 * q).ceil() as usize).max(1) - 1];
            let found = histogram.snapshot().quantile(q);
            prop_assert!(found >= exact && found <= exact + exact / 16, "{} {}", found, exact);
            prop_assert_eq!(histogram.snapshot().max(), *values.last().unwrap());
        }
    }
}

//! Delays between switches, along the quickest way over the links that join them.

use std::time::Duration;

/// One-way delays between switches that are known by number, along the quickest way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Switches {
    count: usize,
    /// Row by row; `None` where no way is known.
    delays: Vec<Option<Duration>>,
}

impl Switches {
    /// So many switches, joined by links: both ends, and the delay from one to the other. Links of other switches are
    /// passed over.
    #[must_use]
    pub fn joined(count: usize, links: &[(usize, usize, Duration)]) -> Self {
        let mut delays = vec![None; count * count];
        for at in 0..count {
            delays[at * count + at] = Some(Duration::ZERO);
        }
        for &(a, b, delay) in links.iter().filter(|(a, b, _)| *a < count && *b < count) {
            for place in [a * count + b, b * count + a] {
                delays[place] = Some(delays[place].map_or(delay, |known| delay.min(known)));
            }
        }
        // Floyd and Warshall's: ways over the first switch, over the first two, and so on.
        for via in 0..count {
            for a in 0..count {
                for b in 0..count {
                    let over = (delays[a * count + via]).zip(delays[via * count + b]).map(|(to, on)| to + on);
                    let place = a * count + b;
                    delays[place] = over.into_iter().chain(delays[place]).min();
                }
            }
        }
        Self { count, delays }
    }

    /// Whether a way is known from one to the other.
    #[must_use]
    pub fn are_joined(&self, a: usize, b: usize) -> bool {
        a < self.count && b < self.count && self.delays[a * self.count + b].is_some()
    }

    /// From one to the other. Nothing is known of a pair that no links join: it counts as if there was no delay.
    #[must_use]
    pub fn between(&self, a: usize, b: usize) -> Duration {
        match a < self.count && b < self.count {
            true => self.delays[a * self.count + b].unwrap_or_default(),
            false => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quickest_way_counts() {
        let ms = Duration::from_millis;
        let three =
            Switches::joined(4, &[(0, 1, ms(20)), (1, 2, ms(60)), (0, 2, ms(100)), (0, 1, ms(30)), (7, 1, ms(1))]);
        assert_eq!([three.between(0, 2), three.between(2, 0), three.between(1, 0)], [ms(80), ms(80), ms(20)]);
        assert_eq!([(0, 2), (1, 1), (0, 3), (9, 0)].map(|(a, b)| three.are_joined(a, b)), [true, true, false, false]);
        assert_eq!([three.between(1, 1), three.between(0, 3), three.between(9, 0)], [ms(0); 3]);
    }
}

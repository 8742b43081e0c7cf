//! The mean of paired differences, and how far off it may be.
//!
//! What is known of a difference is one value for each point (the other parameters' values) and repetition. Points
//! are what the recipe asks for, so each weighs as much as any other, however often it was tried, and other points
//! are no matter of chance. Repetitions are: all points of one share their seed and their part of the night, so that
//! their errors may have something in common. So it is whole repetitions that are left out in turn (the
//! delete-a-group jackknife; Wolter, *Introduction to Variance Estimation*, 2007, chapter 4), and the interval is
//! that of Student's t. Where every point was tried equally often, this is the plain t interval of the repetitions'
//! means.

use std::collections::BTreeMap;

use super::super::student;

/// From fewer repetitions no interval is made.
pub(super) const FEWEST_REPETITIONS: f64 = 3.0;

/// The difference of one pair of trials, or of one pair of pairs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Difference {
    /// The set of the other parameters' values that it is of, as a number.
    pub(super) point: usize,
    /// The repetition that both trials are of.
    pub(super) repetition: u32,
    pub(super) value: f64,
}

/// The mean of differences, and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Mean {
    /// The mean over points of the mean over their repetitions.
    pub(super) value: f64,
    pub(super) points: usize,
    pub(super) repetitions: usize,
    /// Its standard error and the degrees of freedom of that; `None`: of too few repetitions.
    error: Option<(f64, f64)>,
}

impl Mean {
    /// `None`: there are no differences.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn of(differences: &[Difference]) -> Option<Mean> {
        let mut points: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
        let mut repetitions: BTreeMap<u32, Vec<&Difference>> = BTreeMap::new();
        for difference in differences {
            let (sum, count) = points.entry(difference.point).or_insert((0.0, 0.0));
            (*sum, *count) = (*sum + difference.value, *count + 1.0);
            repetitions.entry(difference.repetition).or_default().push(difference);
        }
        let all = points.len() as f64;
        let total: f64 = points.values().map(|(sum, count)| sum / count).sum();
        let value = Some(total / all).filter(|value| value.is_finite())?;
        let (mut squares, mut weights, mut weights_squared) = (0.0, 0.0, 0.0);
        for mine in repetitions.values() {
            let (mut total, mut left, mut weight) = (total, all, 0.0);
            for difference in mine {
                let (sum, count) = points[&difference.point];
                total -= sum / count;
                if count > 1.0 {
                    total += (sum - difference.value) / (count - 1.0);
                } else {
                    left -= 1.0;
                }
                weight += 1.0 / (count * count);
            }
            if left > 0.0 {
                squares += (total / left - value).powi(2);
            }
            weights += weight;
            weights_squared += weight * weight;
        }
        let count = repetitions.len() as f64;
        // Repetitions that few points have tell less: so many of equal weight would tell as much.
        let worth = weights * weights / weights_squared;
        let error =
            (worth > FEWEST_REPETITIONS - 1e-9).then(|| (((count - 1.0) / count * squares).sqrt(), worth - 1.0));
        Some(Mean { value, points: points.len(), repetitions: repetitions.len(), error })
    }

    /// Where the mean is with the confidence given (0.95).
    pub(super) fn interval(&self, confidence: f64) -> Option<(f64, f64)> {
        let (error, freedom) = self.error?;
        let half = error * student::two_sided(confidence, freedom);
        Some((self.value - half, self.value + half))
    }

    /// Whether it is not 0, as far as that can be told with the confidence given.
    pub(super) fn is_real(&self, confidence: f64) -> Option<bool> {
        self.interval(confidence).map(|(low, high)| low > 0.0 || high < 0.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use fastrand::Rng;

    use super::*;

    fn differences(values: &[(usize, u32, f64)]) -> Vec<Difference> {
        values
            .iter()
            .map(|(point, repetition, value)| Difference { point: *point, repetition: *repetition, value: *value })
            .collect()
    }

    #[test]
    fn points_tried_equally_often_have_the_t_interval_of_their_repetitions() {
        // Means of the repetitions: 2, 3, 7; standard deviation 2.6458, error 1.5275, t 4.3027.
        let values = [(0, 1, 1.0), (1, 1, 3.0), (0, 2, 2.0), (1, 2, 4.0), (0, 3, 9.0), (1, 3, 5.0)];
        let mean = Mean::of(&differences(&values)).unwrap();
        let (low, high) = mean.interval(0.95).unwrap();
        assert!((mean.value - 4.0).abs() < 1e-12 && (high - 4.0 - 6.572_4).abs() < 1e-3, "{low} {high}");
        assert_eq!(
            (mean.points, mean.repetitions, mean.is_real(0.95), mean.is_real(0.5)),
            (2, 3, Some(false), Some(true))
        );
    }

    #[test]
    fn each_point_weighs_the_same_however_often_it_was_tried() {
        let values = [(0, 1, 10.0), (0, 2, 10.0), (0, 3, 10.0), (1, 1, 20.0)];
        let mean = Mean::of(&differences(&values)).unwrap();
        assert!((mean.value - 15.0).abs() < 1e-12);
    }

    #[test]
    fn few_repetitions_have_no_interval_even_if_a_point_or_two_have_many() {
        assert_eq!(Mean::of(&[]), None);
        let twice = [(0, 1, 1.0), (0, 2, 2.0), (1, 1, 1.5), (1, 2, 1.0)];
        assert_eq!(Mean::of(&differences(&twice)).unwrap().interval(0.95), None);
        // Twenty points once or twice each, and one of them thirty times.
        let mut values: Vec<(usize, u32, f64)> = (0..20).flat_map(|p| [(p, 1, 1.0), (p, 2, 2.0)]).collect();
        values.extend((3..=30).map(|r| (0, r, 1.5)));
        assert_eq!(Mean::of(&differences(&values)).unwrap().interval(0.95), None);
    }

    /// Normally distributed, by Box and Muller.
    fn normal(rng: &mut Rng) -> f64 {
        let (u, v) = (1.0 - rng.f64(), rng.f64());
        (-2.0 * u.ln()).sqrt() * (2.0 * std::f64::consts::PI * v).cos()
    }

    /// How often the interval holds the mean effect of sweeps with so many points and repetitions. `common` is the
    /// share of the variance that the points of a repetition share, `lost` that of the differences that are missing;
    /// the effect differs from point to point.
    fn coverage(
        points: usize,
        repetitions: u32,
        common: f64,
        lost: f64,
        draw: &dyn Fn(&mut Rng) -> f64,
    ) -> (f64, f64) {
        let mut rng = Rng::with_seed(1);
        let (mut held, mut wide, mut tried) = (0_u32, 0.0, 0_u32);
        for _ in 0..4000 {
            let mut all = Vec::new();
            for repetition in 1..=repetitions {
                let shared = draw(&mut rng);
                for point in 0..points {
                    let own = draw(&mut rng);
                    let noise = common.sqrt() * shared + (1.0 - common).sqrt() * own;
                    // A point's own effect, symmetrical about 0.
                    let effect = (point as f64 - (points as f64 - 1.0) / 2.0) * 0.5;
                    if rng.f64() >= lost {
                        all.push(Difference { point, repetition, value: effect + noise });
                    }
                }
            }
            let Some(mean) = Mean::of(&all).filter(|mean| mean.points == points) else { continue };
            let Some((low, high)) = mean.interval(0.95) else { continue };
            tried += 1;
            held += u32::from(low <= 0.0 && high >= 0.0);
            wide += high - low;
        }
        (f64::from(held) / f64::from(tried), wide / f64::from(tried))
    }

    #[test]
    fn intervals_hold_what_they_say() {
        for (points, repetitions, common, lost) in [(6, 5, 0.5, 0.0), (6, 5, 0.0, 0.1), (1, 4, 0.0, 0.0)] {
            let (held, _) = coverage(points, repetitions, common, lost, &normal);
            assert!((0.935..0.985).contains(&held), "{points} {repetitions} {common} {lost}: {held}");
        }
    }

    /// `cargo test --release -p livectl --lib coverage_of_effects -- --ignored --nocapture` prints the table of
    /// docs/analysis.md.
    #[test]
    #[ignore = "it prints a table and takes half a minute"]
    fn coverage_of_effects() {
        let exponential: &dyn Fn(&mut Rng) -> f64 = &|rng| -(1.0 - rng.f64()).ln() - 1.0;
        let shapes = [("normal", &normal as &dyn Fn(&mut Rng) -> f64), ("exponential", exponential)];
        println!("| errors | points | repetitions | shared | missing | covered | width |");
        for (name, draw) in shapes {
            for (points, repetitions, common, lost) in [
                (1, 3, 0.0, 0.0),
                (1, 5, 0.0, 0.0),
                (27, 3, 0.0, 0.0),
                (27, 5, 0.0, 0.0),
                (27, 5, 0.5, 0.0),
                (27, 5, 1.0, 0.0),
                (27, 5, 0.5, 0.1),
                (27, 5, 0.0, 0.3),
                (27, 10, 0.5, 0.1),
            ] {
                let (held, wide) = coverage(points, repetitions, common, lost, draw);
                println!("| {name} | {points} | {repetitions} | {common} | {lost} | {held:.3} | {wide:.2} |");
                assert!(held > 0.8, "{held}");
            }
        }
    }
}

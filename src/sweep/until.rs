//! When a point has been tried often enough.
//!
//! A rule that looks at an interval after every trial and stops when it is narrow stops too early: intervals that are
//! made for one look then cover much less than they claim. So the rule is an asymptotic confidence *sequence*, which
//! holds at all numbers of trials at once (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, *Time-uniform central
//! limit theory and asymptotic confidence sequences*, Annals of Statistics 52(6), 2024, theorem 2.2). Its half-width
//! after `n` trials with the standard deviation `s` is
//!
//! `s · √( 2(nρ²+1)/(n²ρ²) · ln( √(nρ²+1) / α ) )`
//!
//! What is estimated is the mean over trials of a figure's logarithm, so that the precision is relative. How often
//! the interval holds it when a point ends, at 60 trials at most (20,000 simulated points each; the test `coverage`
//! prints more):
//!
//! | logarithms | deviation | wanted | covered | trials, mean |
//! |---|---|---|---|---|
//! | normal | 0.05 | 5 % | 0.988 | 11.5 |
//! | normal | 0.15 | 10 % | 0.985 | 21.4 |
//! | normal | 0.3 | 20 % | 0.986 | 23.4 |
//! | exponential | 0.05 | 5 % | 0.949 | 11.8 |
//! | exponential | 0.15 | 10 % | 0.948 | 19.2 |
//! | exponential | 0.3 | 20 % | 0.947 | 20.7 |
//! | uniform | 0.15 | 10 % | 0.980 | 22.4 |

use crate::plan::{Figure, Until};
use crate::table::SummaryRow;

/// One less the confidence of 95 %.
const ALPHA: f64 = 0.05;
/// Makes the sequence tightest at 20 trials.
const RHO_SQUARED: f64 = 0.41;
/// Before so many trials nothing is decided.
const LEAST: usize = Until::LEAST as usize;

/// What is known of a figure after some trials.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Known {
    /// The figure: the geometric mean over trials.
    pub value: f64,
    /// By which share of it it may be off: 0.05 is 5 %.
    pub precision: f64,
    /// How many trials the figure is of.
    pub trials: usize,
}

/// What some trials tell of a figure, a number for each. `None`: they are too few, or one of them is not positive and
/// has no logarithm.
#[must_use]
pub fn known(figures: &[f64]) -> Option<Known> {
    let trials = figures.len();
    if trials < LEAST || figures.iter().any(|figure| !(figure.is_finite() && *figure > 0.0)) {
        return None;
    }
    let n = trials as f64;
    let mean = figures.iter().map(|figure| figure.ln()).sum::<f64>() / n;
    let variance = figures.iter().map(|figure| (figure.ln() - mean).powi(2)).sum::<f64>() / (n - 1.0);
    Some(Known { value: mean.exp(), precision: half_width(variance.sqrt(), n).exp_m1(), trials })
}

/// Of the confidence sequence, for the standard deviation given.
fn half_width(deviation: f64, n: f64) -> f64 {
    let grown = n * RHO_SQUARED + 1.0;
    deviation * (2.0 * grown / (n * n * RHO_SQUARED) * (grown.sqrt() / ALPHA).ln()).sqrt()
}

/// A trial's figure: the geometric mean over its viewers. `None`: it cannot be trusted, or a viewer has none.
#[must_use]
pub fn figure(rows: &[SummaryRow], of: Figure) -> Option<f64> {
    let value = |row: &SummaryRow| match of {
        Figure::DelayP50 => row.delay_p50_ms,
        Figure::DelayP95 => row.delay_p95_ms,
        Figure::ExcessP50 => row.excess_p50_ms,
        Figure::ExcessP95 => row.excess_p95_ms,
        Figure::StartupDelay => row.startup_delay_ms,
    };
    let logarithm = |row: &SummaryRow| {
        let sound = row.fit && !row.partial;
        value(row).filter(|value| sound && *value > 0.0 && value.is_finite()).map(f64::ln)
    };
    let logarithms: Vec<f64> = rows.iter().map(logarithm).collect::<Option<_>>()?;
    (!logarithms.is_empty()).then(|| (logarithms.iter().sum::<f64>() / logarithms.len() as f64).exp())
}

/// Whether every one of a point's schemes is known as precisely as wanted: they share seeds, and so stop together.
#[must_use]
pub fn is_enough(schemes: &[Vec<f64>], precision: f64) -> bool {
    schemes.iter().all(|figures| known(figures).is_some_and(|known| known.precision <= precision))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use fastrand::Rng;
    use proptest::prelude::*;

    use super::*;

    /// Normally distributed, by Box and Muller.
    fn normal(rng: &mut Rng) -> f64 {
        let (u, v) = (1.0 - rng.f64(), rng.f64());
        (-2.0 * u.ln()).sqrt() * (2.0 * std::f64::consts::PI * v).cos()
    }

    /// Tries until the figure is known within `precision`, 60 times at most; the logarithms have the deviation given.
    /// Whether the interval then holds what is estimated, and how many trials it took.
    fn played(rng: &mut Rng, deviation: f64, precision: f64, draw: impl Fn(&mut Rng) -> f64) -> (bool, usize) {
        let mut figures = Vec::new();
        loop {
            figures.push((deviation * draw(rng)).exp());
            if let Some(known) = known(&figures)
                && (known.precision <= precision || figures.len() == 60)
            {
                // The mean of the logarithms is 0.
                return (known.value.ln().abs() <= known.precision.ln_1p(), figures.len());
            }
        }
    }

    fn covered(deviation: f64, precision: f64, runs: u32, draw: impl Fn(&mut Rng) -> f64) -> (f64, f64) {
        let mut rng = Rng::with_seed(7);
        let (mut held, mut trials) = (0, 0);
        for _ in 0..runs {
            let (holds, count) = played(&mut rng, deviation, precision, &draw);
            held += u32::from(holds);
            trials += count;
        }
        (f64::from(held) / f64::from(runs), trials as f64 / f64::from(runs))
    }

    #[test]
    fn the_interval_holds_what_is_estimated_although_one_looks_after_every_trial() {
        let (share, trials) = covered(0.15, 0.10, 2000, normal);
        assert!(share >= 0.94, "{share}");
        assert!((10.0..60.0).contains(&trials), "{trials}");
    }

    /// `cargo test --release -p livectl --lib coverage -- --ignored --nocapture`
    #[test]
    #[ignore = "it simulates some minutes"]
    fn coverage() {
        let exponential = |rng: &mut Rng| -(1.0 - rng.f64()).ln() - 1.0;
        let uniform = |rng: &mut Rng| (rng.f64() - 0.5) * 12.0_f64.sqrt();
        println!("| logarithms | deviation | wanted | covered | trials, mean |");
        for (name, draw) in
            [("normal", &normal as &dyn Fn(&mut Rng) -> f64), ("exponential", &exponential), ("uniform", &uniform)]
        {
            for (deviation, precision) in [(0.05, 0.05), (0.1, 0.1), (0.15, 0.1), (0.3, 0.2), (0.3, 0.1)] {
                let (share, trials) = covered(deviation, precision, 20_000, draw);
                println!("| {name} | {deviation} | {} % | {share:.3} | {trials:.1} |", precision * 100.0);
                assert!(share > 0.93, "{name} {deviation} {precision}: {share}");
            }
        }
    }

    #[test]
    fn few_trials_and_figures_without_a_logarithm_tell_nothing() {
        assert_eq!(known(&[1.0; LEAST - 1]), None);
        assert_eq!(known(&[[0.0].as_slice(), &[1.0; LEAST]].concat()), None);
        assert_eq!(known(&[[f64::NAN].as_slice(), &[1.0; LEAST]].concat()), None);
        let same = known(&[250.0; LEAST]).unwrap();
        assert!((same.value - 250.0).abs() < 1e-9 && same.precision < 1e-9);
        assert!(is_enough(&[vec![3.0; 12], vec![4.0; 12]], 0.01));
        assert!(!is_enough(&[vec![3.0; 12], vec![4.0; 9]], 0.5), "one scheme is not known yet");
    }

    proptest! {
        #[test]
        fn more_of_the_same_is_known_more_precisely_and_scale_does_not_matter(
            figures in prop::collection::vec(1.0_f64..1000.0, LEAST..40), scale in 0.01_f64..100.0,
        ) {
            let once = known(&figures).unwrap();
            let twice = known(&[figures.as_slice(), &figures].concat()).unwrap();
            prop_assert!(twice.precision <= once.precision);
            let scaled: Vec<f64> = figures.iter().map(|figure| figure * scale).collect();
            let scaled = known(&scaled).unwrap();
            prop_assert!((scaled.precision - once.precision).abs() < 1e-6 * (1.0 + once.precision));
            prop_assert!((scaled.value / once.value / scale - 1.0).abs() < 1e-9);
        }
    }
}

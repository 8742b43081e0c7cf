//! Ticks, and from values to lengths.

use super::Scale;

/// An axis from its least to its greatest value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis {
    from: f64,
    to: f64,
    scale: Scale,
}

/// A tick: where, and what is written there.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    pub(super) value: f64,
    pub(super) label: String,
}

impl Axis {
    /// An axis over the values given, with a little air at its ends. Linear: from 0, if `from_zero`. Logarithmic:
    /// values that are not positive have no place on it. `None`: there is no value with a place on it.
    pub(super) fn over(values: impl Iterator<Item = f64>, scale: Scale, from_zero: bool) -> Option<Axis> {
        let fits = |v: &f64| v.is_finite() && (scale == Scale::Linear || *v > 0.0);
        let (low, high) =
            values.filter(fits).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        if low > high {
            return None;
        }
        Some(match scale {
            Scale::Linear => {
                let low = if from_zero { low.min(0.0) } else { low };
                let span = if high > low { high - low } else { high.abs().max(1.0) };
                let below = if from_zero && low == 0.0 { 0.0 } else { low - 0.02 * span };
                Axis { from: below, to: high + if from_zero { 0.08 } else { 0.02 } * span, scale }
            }
            Scale::Logarithmic => {
                // At least a factor of four, so that there is more than one tick.
                let widen = (4.0 / (high / low)).sqrt().max(1.0);
                Axis { from: low / widen / 1.15, to: high * widen * 1.15, scale }
            }
        })
    }

    /// An even axis from one value to another.
    pub(super) fn exactly(from: f64, to: f64) -> Axis {
        Axis { from, to, scale: Scale::Linear }
    }

    /// An axis from one value to another on that scale; on a logarithmic one both must be positive.
    pub(super) fn between(from: f64, to: f64, scale: Scale) -> Axis {
        Axis { from, to, scale }
    }

    /// Where a value lies, from 0 at the beginning to 1 at the end.
    pub(super) fn place(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => (value - self.from) / (self.to - self.from),
            Scale::Logarithmic => (value / self.from).ln() / (self.to / self.from).ln(),
        }
    }

    /// The same, but at one of the ends for values beyond them.
    pub(super) fn place_within(&self, value: f64) -> f64 {
        if self.scale == Scale::Logarithmic && value <= 0.0 { 0.0 } else { self.place(value).clamp(0.0, 1.0) }
    }

    /// Whether the value has a place on the axis.
    pub(super) fn holds(&self, value: f64) -> bool {
        value >= self.from && value <= self.to
    }

    /// At most `most` ticks (but at least two), at 1, 2 or 5 times a power of ten apart; on a logarithmic axis at 1,
    /// 2 and 5 times each power of ten, or at the powers alone where that is too many, or at 1 to 9 times them where
    /// it is too few.
    pub(super) fn ticks(&self, most: usize) -> Vec<Tick> {
        match self.scale {
            Scale::Linear => self.even_ticks(most),
            Scale::Logarithmic => {
                for mantissas in [&[1.0, 2.0, 5.0][..], &[1.0]] {
                    let ticks = self.decade_ticks(mantissas);
                    if (2..=most.max(2)).contains(&ticks.len()) {
                        let more = self.decade_ticks(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
                        return if ticks.len() < 4 && more.len() <= most { more } else { ticks };
                    }
                }
                let all = self.decade_ticks(&[1.0]);
                let every = all.len().div_ceil(most.max(2)).max(1);
                if all.len() < 2 {
                    self.decade_ticks(&[1.0, 2.0, 5.0])
                } else {
                    all.into_iter().step_by(every).collect()
                }
            }
        }
    }

    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn even_ticks(&self, most: usize) -> Vec<Tick> {
        let rough = (self.to - self.from) / most.max(2) as f64;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|s| *s >= rough).unwrap_or(10.0 * power);
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        let first = (self.from / step - 1e-9).ceil();
        (0..=2 * most.max(2))
            .map(|i| (first + i as f64) * step)
            .take_while(|value| *value <= self.to + step * 1e-9)
            // Adding 0 turns -0 into 0.
            .map(|value| Tick { value, label: format!("{:.decimals$}", value + 0.0) })
            .collect()
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn decade_ticks(&self, mantissas: &[f64]) -> Vec<Tick> {
        let (first, last) = (self.from.log10().floor() as i32, self.to.log10().ceil() as i32);
        (first..=last)
            .flat_map(|power| mantissas.iter().map(move |m| (power, m * 10_f64.powi(power))))
            .filter(|(_, value)| self.holds(*value))
            .map(|(power, value)| Tick { value, label: format!("{value:.*}", power.min(0).unsigned_abs() as usize) })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::float_cmp)]
    use super::*;

    fn labels(low: f64, high: f64, scale: Scale, from_zero: bool, most: usize) -> Vec<String> {
        let axis = Axis::over([low, high].into_iter(), scale, from_zero).unwrap();
        axis.ticks(most).into_iter().map(|t| t.label).collect()
    }

    #[test]
    fn linear_ticks_are_round_and_few() {
        assert_eq!(
            labels(190.0, 815.0, Scale::Linear, true, 10),
            ["0", "100", "200", "300", "400", "500", "600", "700", "800"]
        );
        assert_eq!(labels(0.0, 60.0, Scale::Linear, false, 12), ["0", "10", "20", "30", "40", "50", "60"]);
        assert_eq!(labels(0.0, 0.3, Scale::Linear, true, 4), ["0.0", "0.1", "0.2", "0.3"]);
        assert_eq!(labels(-3.0, 3.0, Scale::Linear, true, 4), ["-2", "0", "2"]);
    }

    #[test]
    fn logarithmic_ticks_are_decades_and_their_parts() {
        assert_eq!(labels(190.0, 2200.0, Scale::Logarithmic, true, 10), ["200", "500", "1000", "2000"]);
        assert_eq!(labels(0.05, 900.0, Scale::Logarithmic, true, 8), ["0.1", "1", "10", "100", "1000"]);
        assert_eq!(labels(1e-3, 1e9, Scale::Logarithmic, true, 5).len(), 5);
        // One value alone still has ticks around it.
        assert_eq!(labels(300.0, 300.0, Scale::Logarithmic, true, 8), ["200", "300", "400", "500", "600"]);
        assert_eq!(labels(300.0, 300.0, Scale::Logarithmic, true, 4), ["200", "500"]);
    }

    #[test]
    fn places_run_from_zero_to_one() {
        for scale in [Scale::Linear, Scale::Logarithmic] {
            let axis = Axis::over([1.0, 100.0].into_iter(), scale, true).unwrap();
            assert_eq!(axis.place(axis.from), 0.0);
            assert_eq!(axis.place(axis.to), 1.0);
            assert!(axis.holds(1.0) && axis.holds(100.0) && !axis.holds(1e6));
        }
        let axis = Axis::over([1.0, 100.0].into_iter(), Scale::Logarithmic, true).unwrap();
        assert!((axis.place(10.0) - 0.5).abs() < 1e-12);
        assert_eq!(Axis::over([5.0].into_iter(), Scale::Linear, true).unwrap().from, 0.0);
    }

    #[test]
    fn values_without_a_place_are_left_out() {
        assert_eq!(Axis::over([f64::NAN, f64::INFINITY].into_iter(), Scale::Linear, true), None);
        assert_eq!(Axis::over([0.0, -1.0].into_iter(), Scale::Logarithmic, true), None);
        assert_eq!(Axis::over(std::iter::empty(), Scale::Linear, true), None);
    }

    proptest::proptest! {
        #[test]
        fn every_axis_has_a_few_ticks_within_it(low in 1e-3_f64..1e6, factor in 1.0_f64..1e6, most in 2_usize..15, log: bool) {
            let scale = if log { Scale::Logarithmic } else { Scale::Linear };
            let axis = Axis::over([low, low * factor].into_iter(), scale, !log).unwrap();
            let ticks = axis.ticks(most);
            proptest::prop_assert!(!ticks.is_empty() && ticks.len() <= most + 2, "{:?}", ticks);
            proptest::prop_assert!(ticks.windows(2).all(|w| w[0].value < w[1].value && w[0].label != w[1].label), "{:?}", ticks);
            let inside = ticks.iter().all(|t| (-1e-6..=1.0 + 1e-6).contains(&axis.place(t.value)));
            proptest::prop_assert!(inside, "{:?}", ticks);
        }
    }
}

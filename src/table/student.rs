//! Student's t distribution: how far off a mean of few values may be.

/// The point that `t` with so many degrees of freedom, which need not be a whole number, is within (on both sides of
/// 0) with the probability given.
pub(super) fn two_sided(probability: f64, freedom: f64) -> f64 {
    let outside = 1.0 - probability.clamp(0.0, 1.0 - 1e-12);
    // P(|t| > x) is the regularised incomplete beta function at freedom / (freedom + x²) (Abramowitz and Stegun,
    // 26.7.1); it falls with x.
    let beyond = |x: f64| incomplete_beta(freedom / 2.0, 0.5, freedom / (freedom + x * x));
    let (mut low, mut high) = (0.0, 1.0);
    while beyond(high) > outside && high < 1e12 {
        low = high;
        high *= 2.0;
    }
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if beyond(middle) > outside {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// The regularised incomplete beta function, by its continued fraction (Abramowitz and Stegun, 26.5.8) in the way of
/// Lentz.
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    // It converges quickly on one side of the mean only.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(b, a, 1.0 - x);
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln()).exp() / a;
    let tiny = |value: f64| if value.abs() < 1e-300 { 1e-300 } else { value };
    let (mut c, mut d) = (1.0, 1.0 / tiny(1.0 - (a + b) * x / (a + 1.0)));
    let mut fraction = d;
    for n in 1..300 {
        let m = f64::from(n);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / tiny(1.0 + even * d);
        c = tiny(1.0 + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / tiny(1.0 + odd * d);
        c = tiny(1.0 + odd / c);
        fraction *= d * c;
        if (d * c - 1.0).abs() < 1e-15 {
            break;
        }
    }
    front * fraction
}

/// The logarithm of the gamma function of positive numbers: Lanczos' approximation with g = 7 and nine terms.
fn ln_gamma(x: f64) -> f64 {
    const TERMS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = x - 1.0;
    let mut sum = 0.999_999_999_999_809_9;
    let mut n = 1.0;
    for term in TERMS {
        sum += term / (x + n);
        n += 1.0;
    }
    let t = x + 7.5;
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of R's `qt(1 - (1 - p) / 2, df)`.
    #[test]
    fn points_are_those_of_tables() {
        for (probability, freedom, expected) in [
            (0.95, 1.0, 12.706_204_736),
            (0.95, 2.0, 4.302_652_730),
            (0.95, 4.0, 2.776_445_105),
            (0.95, 9.0, 2.262_157_163),
            (0.95, 120.0, 1.979_930_405),
            (0.99, 4.0, 4.604_094_871),
            (0.999, 10.0, 4.586_893_859),
        ] {
            let found = two_sided(probability, freedom);
            assert!((found - expected).abs() < 1e-6, "{probability} {freedom}: {found}");
        }
        assert!((two_sided(0.95, 1e7) - 1.959_964).abs() < 1e-4, "the normal distribution's");
        assert!(two_sided(0.95, 2.5) < two_sided(0.95, 2.0) && two_sided(0.95, 2.5) > two_sided(0.95, 3.0));
    }
}

//! Lines through points by least squares, to tell growth with the logarithm of a size from growth with the size
//! itself.

/// Fewer sizes than this fit any curve.
pub(super) const FEWEST_SIZES: usize = 4;

/// Which function of the size a line is through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Growth {
    /// a + b·log₂ N.
    Logarithmic,
    /// a + b·N.
    Linear,
}

/// A line through points, by least squares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Line {
    pub(super) growth: Growth,
    pub(super) a: f64,
    pub(super) b: f64,
    /// Share of the variance that it explains: 1 is all of it.
    pub(super) r_squared: f64,
}

impl Growth {
    fn of(self, size: f64) -> f64 {
        match self {
            Growth::Logarithmic => size.log2(),
            Growth::Linear => size,
        }
    }
}

impl Line {
    /// Through points of size and value. `None`: they do not differ in size.
    fn through(points: &[(f64, f64)], growth: Growth) -> Option<Line> {
        let count = points.len() as f64;
        let mean = |of: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (mean_x, mean_y) = (mean(&|(size, _)| growth.of(*size)), mean(&|(_, value)| *value));
        let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
            points.iter().map(|(size, value)| of(growth.of(*size) - mean_x, value - mean_y)).sum()
        };
        let (xx, xy, yy) = (sum(&|x, _| x * x), sum(&|x, y| x * y), sum(&|_, y| y * y));
        let b = Some(xy / xx).filter(|b| b.is_finite())?;
        // Values that are all alike are explained by any level line.
        let r_squared = if yy > 0.0 { xy * xy / (xx * yy) } else { 1.0 };
        Some(Line { growth, a: mean_y - b * mean_x, b, r_squared })
    }

    /// Its value at that size of the audience.
    pub(super) fn at(&self, size: f64) -> f64 {
        self.a + self.b * self.growth.of(size)
    }

    /// `46.2 + 5.9·log₂ N, R² 0.984`.
    pub(super) fn words(&self) -> String {
        let of = if self.growth == Growth::Linear { "N" } else { "log₂ N" };
        let (sign, b) = if self.b < 0.0 { ('−', -self.b) } else { ('+', self.b) };
        format!("{:.1} {sign} {b:.1}·{of}, R² {:.3}", self.a, self.r_squared)
    }
}

/// Both, the logarithmic one first; `None` for fewer than [`FEWEST_SIZES`] sizes.
pub(super) fn both(points: &[(f64, f64)]) -> Option<[Line; 2]> {
    let mut sizes: Vec<f64> = points.iter().map(|(size, _)| *size).filter(|size| *size > 0.0).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    if sizes.len() < FEWEST_SIZES {
        return None;
    }
    Some([Line::through(points, Growth::Logarithmic)?, Line::through(points, Growth::Linear)?])
}

/// The line that explains the greater share of the variance.
pub(super) fn better(lines: &[Line; 2]) -> Line {
    if lines[1].r_squared > lines[0].r_squared { lines[1] } else { lines[0] }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::float_cmp)]
    use super::*;

    const SIZES: [f64; 6] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0];

    #[test]
    fn each_kind_of_growth_is_known_again() {
        let logarithmic = SIZES.map(|size| (size, 20.0 + 8.0 * size.log2()));
        let lines = both(&logarithmic).unwrap();
        let found = better(&lines);
        assert_eq!(found.growth, Growth::Logarithmic);
        assert!(
            (found.a - 20.0).abs() < 1e-9 && (found.b - 8.0).abs() < 1e-9 && (found.r_squared - 1.0).abs() < 1e-9
        );
        assert!(lines[1].r_squared < 0.85, "{lines:?}");
        assert_eq!(found.words(), "20.0 + 8.0·log₂ N, R² 1.000");
        let linear = SIZES.map(|size| (size, 500.0 - 3.0 * size));
        let found = better(&both(&linear).unwrap());
        assert_eq!((found.growth, found.words().as_str()), (Growth::Linear, "500.0 − 3.0·N, R² 1.000"));
        assert!((found.at(10.0) - 470.0).abs() < 1e-9);
    }

    #[test]
    fn points_off_the_line_count_against_it() {
        // Values 1, 2, 2, 3 over 0, 1, 2, 3: b = 0.6, and 1.8 of the variance's 2 are explained.
        let points = [(1.0, 1.0), (2.0, 2.0), (4.0, 2.0), (8.0, 3.0)];
        let line = both(&points).unwrap()[0];
        assert!((line.a - 1.1).abs() < 1e-9 && (line.b - 0.6).abs() < 1e-9 && (line.r_squared - 0.9).abs() < 1e-9);
    }

    #[test]
    fn few_sizes_have_no_line_however_many_points() {
        let points: Vec<(f64, f64)> = (0..30).map(|n| (f64::from(1 << (n % 3)), f64::from(n))).collect();
        assert_eq!((both(&points), both(&[])), (None, None));
        let level = SIZES.map(|size| (size, 7.0));
        assert_eq!(both(&level).unwrap()[0].r_squared, 1.0);
    }
}

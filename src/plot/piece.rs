//! What lies on a chart's plane, and how it is drawn there.

use plotters::backend::DrawingBackend;
use plotters::style::RGBColor;

use super::PlotError;
use super::axis::Axis;
use super::canvas::{Align, Sheet, Type};
use super::chart::{BLACK, Dash, Series, Shape};

/// Smaller letters cannot be read; at the reference size.
pub(super) const SMALLEST_TYPE: f64 = 8.0;
const WHITE: RGBColor = RGBColor(255, 255, 255);

/// A figure other than a point or a line. `x` and `width` are in the units of the horizontal axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    /// Where a line may lie: x, low, high.
    Band { points: Vec<(f64, f64, f64)>, colour: RGBColor },
    /// A part of a stack of bars, `from` to `to` high.
    Bar { x: f64, width: f64, from: f64, to: f64, colour: RGBColor },
    /// A box from the lower to the upper quartile, with whiskers to further quantiles and the median in it.
    Box { x: f64, width: f64, whiskers: (f64, f64), quartiles: (f64, f64), median: f64, colour: RGBColor },
    /// An interval about a point.
    Interval { x: f64, low: f64, high: f64, colour: RGBColor },
    /// A level, such as the floor.
    Level { x: f64, width: f64, y: f64, colour: RGBColor },
    /// A stretch of a row, with a name where it has room for one. `row` is a place in
    /// [`Chart::rows`](super::chart::Chart::rows).
    Span { row: usize, from: f64, to: f64, colour: RGBColor, label: String },
}

impl Piece {
    pub(super) fn ys(&self) -> Vec<f64> {
        match self {
            Piece::Band { points, .. } => points.iter().flat_map(|(_, low, high)| [*low, *high]).collect(),
            Piece::Bar { from, to, .. } => vec![*from, *to],
            Piece::Box { whiskers, quartiles, .. } => vec![whiskers.0, whiskers.1, quartiles.0, quartiles.1],
            Piece::Interval { low, high, .. } => vec![*low, *high],
            Piece::Level { y, .. } => vec![*y],
            // It lies in a row, which has a name and no value.
            Piece::Span { .. } => Vec::new(),
        }
    }

    pub(super) fn xs(&self) -> Vec<f64> {
        match self {
            Piece::Band { points, .. } => points.iter().map(|(x, ..)| *x).collect(),
            Piece::Interval { x, .. } => vec![*x],
            Piece::Span { from, to, .. } => vec![*from, *to],
            Piece::Bar { x, width, .. } | Piece::Box { x, width, .. } | Piece::Level { x, width, .. } => {
                vec![x - width / 2.0, x + width / 2.0]
            }
        }
    }
}

/// The part of the sheet that the data has.
pub(super) struct Plane {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
    pub(super) x: Axis,
    pub(super) y: Axis,
}

impl Plane {
    pub(super) fn x(&self, value: f64) -> f64 {
        self.left + self.x.place(value) * (self.right - self.left)
    }

    pub(super) fn y(&self, value: f64) -> f64 {
        self.bottom - self.y.place(value) * (self.bottom - self.top)
    }

    /// The same for values that may lie outside.
    fn y_within(&self, value: f64) -> f64 {
        self.bottom - self.y.place_within(value) * (self.bottom - self.top)
    }
}

pub(super) fn draw_series<B: DrawingBackend>(
    sheet: &Sheet<B>,
    plane: &Plane,
    series: &Series,
    unit: f64,
) -> Result<(), PlotError> {
    let place = |(x, y): (f64, Option<f64>)| y.filter(|y| plane.y.holds(*y)).map(|y| (plane.x(x), plane.y(y)));
    if let Shape::Joined { width, .. } | Shape::Line { width } = series.shape {
        for unbroken in series.points.split(|p| place(*p).is_none()).filter(|part| part.len() > 1) {
            let line: Vec<_> = unbroken.iter().filter_map(|p| place(*p)).collect();
            if series.dash == Dash::Whole {
                sheet.line(&line, width * unit, series.colour, series.opacity)?;
            } else {
                sheet.broken_line(&line, &series.dash.pattern(unit), width * unit, series.colour)?;
            }
        }
    }
    let (Shape::Points { marker, radius } | Shape::Joined { marker, radius, .. }) = series.shape else {
        return Ok(());
    };
    for point in &series.points {
        match place(*point) {
            Some(at) => sheet.marker(marker, at, radius * unit, series.colour, series.opacity)?,
            None => {
                let x = plane.x(point.0);
                sheet.line(&[(x, plane.top), (x, plane.top + 14.0 * unit)], 1.5 * unit, series.colour, 1.0)?;
            }
        }
    }
    Ok(())
}

pub(super) fn draw_piece<B: DrawingBackend>(
    sheet: &Sheet<B>,
    plane: &Plane,
    piece: &Piece,
    unit: f64,
) -> Result<(), PlotError> {
    let sides = |x: f64, width: f64| (plane.x(x - width / 2.0), plane.x(x + width / 2.0));
    match piece {
        Piece::Band { points, colour } => {
            let low = points.iter().map(|(x, low, _)| (plane.x(*x), plane.y_within(*low)));
            let high = points.iter().rev().map(|(x, _, high)| (plane.x(*x), plane.y_within(*high)));
            sheet.polygon(&low.chain(high).collect::<Vec<_>>(), *colour, 0.2)
        }
        Piece::Bar { x, width, from, to, colour } => {
            let (left, right) = sides(*x, *width);
            sheet.rectangle((left, plane.y_within(*to)), (right, plane.y_within(*from)), *colour)
        }
        Piece::Box { x, width, whiskers, quartiles, median, colour } => {
            let (left, right) = sides(*x, *width);
            let (middle, quarter) = (plane.x(*x), (right - left) / 4.0);
            for (whisker, quartile) in [(whiskers.0, quartiles.0), (whiskers.1, quartiles.1)] {
                let (end, begin) = (plane.y_within(whisker), plane.y_within(quartile));
                sheet.line(&[(middle, begin), (middle, end)], 2.0 * unit, *colour, 1.0)?;
                sheet.line(&[(middle - quarter, end), (middle + quarter, end)], 2.0 * unit, *colour, 1.0)?;
            }
            let (low, high) = (plane.y_within(quartiles.0), plane.y_within(quartiles.1));
            let corners = [(left, low), (right, low), (right, high), (left, high)];
            sheet.polygon(&corners, *colour, 0.3)?;
            sheet.line(&[corners[0], corners[1], corners[2], corners[3], corners[0]], 2.0 * unit, *colour, 1.0)?;
            let median = plane.y_within(*median);
            sheet.line(&[(left, median), (right, median)], 4.0 * unit, *colour, 1.0)
        }
        Piece::Interval { x, low, high, colour } => {
            let (middle, low, high, cap) = (plane.x(*x), plane.y_within(*low), plane.y_within(*high), 7.0 * unit);
            sheet.line(&[(middle, low), (middle, high)], 2.0 * unit, *colour, 1.0)?;
            sheet.line(&[(middle - cap, low), (middle + cap, low)], 2.0 * unit, *colour, 1.0)?;
            sheet.line(&[(middle - cap, high), (middle + cap, high)], 2.0 * unit, *colour, 1.0)
        }
        Piece::Span { row, from, to, colour, label } => {
            #[allow(clippy::cast_precision_loss)]
            let (middle, half) = (plane.y(*row as f64), plane.y(0.42) - plane.y(0.0));
            let (top, bottom) = (middle - half.min(36.0 * unit), middle + half.min(36.0 * unit));
            let left = plane.x(*from);
            // A single missing frame is to be seen, too.
            let right = plane.x(*to).max(left + unit);
            sheet.rectangle((left, top), (right, bottom), *colour)?;
            let size = (0.86 * (bottom - top)).min(18.0 * unit);
            let face = Type { size, bold: false, colour: ink_on(*colour) };
            let fits = size >= SMALLEST_TYPE * unit && sheet.text_width(label, face) + 8.0 * unit <= right - left;
            let middle = (f64::midpoint(left, right), f64::midpoint(top, bottom));
            if fits { sheet.text(label, middle, Align::Centre, face) } else { Ok(()) }
        }
        Piece::Level { x, width, y, colour } => {
            let (left, right) = sides(*x, *width);
            let y = plane.y_within(*y);
            sheet.line(&[(left, y), (right, y)], 3.0 * unit, *colour, 1.0)
        }
    }
}

/// Black or white, whichever is read more easily on that colour: by its luma (ITU-R BT.601).
pub(super) fn ink_on(RGBColor(red, green, blue): RGBColor) -> RGBColor {
    let luma = 0.299 * f64::from(red) + 0.587 * f64::from(green) + 0.114 * f64::from(blue);
    if luma > 140.0 { BLACK } else { WHITE }
}

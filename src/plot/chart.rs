//! A chart as a value, and how it is laid out: title, subtitle, warnings, legend, then the data with its axes. Nothing is drawn over the data.

use plotters::backend::DrawingBackend;
use plotters::style::RGBColor;

use super::axis::Axis;
use super::canvas::{Align, Drawing, Marker, Sheet, Type};
use super::{PlotError, Scale};

pub(super) const BLACK: RGBColor = RGBColor(20, 20, 20);
const GREY: RGBColor = RGBColor(90, 90, 90);
const GRID: RGBColor = RGBColor(225, 225, 225);
/// Warnings only; no data has this colour.
pub(super) const RED: RGBColor = RGBColor(190, 0, 30);

/// The size at which lengths below are meant: they grow with the picture.
const REFERENCE: (f64, f64) = (1600.0, 900.0);
/// More warnings than this would leave no room for the data.
const MOST_WARNING_LINES: usize = 4;

/// A picture's contents.
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) subtitle: String,
    /// What makes the data doubtful; in red.
    pub(super) warnings: Vec<String>,
    pub(super) x_label: String,
    pub(super) y_label: String,
    pub(super) y_scale: Scale,
    /// In the order of drawing: later ones lie over earlier ones.
    pub(super) series: Vec<Series>,
    /// Dashed vertical lines.
    pub(super) marks: Vec<f64>,
    pub(super) legend: Vec<Entry>,
}

/// Points that belong together.
pub(super) struct Series {
    pub(super) shape: Shape,
    pub(super) colour: RGBColor,
    /// 0 to 1.
    pub(super) opacity: f64,
    /// x and y; no y: a hole in a line, a short stroke at the upper edge for points.
    pub(super) points: Vec<(f64, Option<f64>)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Shape {
    /// Points.
    Points { marker: Marker, radius: f64 },
    /// Points joined by a line.
    Joined { marker: Marker, radius: f64, width: f64 },
    /// A line alone.
    Line { width: f64 },
}

/// A line of the legend.
pub(super) struct Entry {
    pub(super) swatch: Swatch,
    pub(super) label: String,
}

pub(super) enum Swatch {
    Shape(Shape, RGBColor),
    Dashes,
}

impl Swatch {
    /// As wide as shows what it is: a line wants more room than a point.
    fn width(&self) -> f64 {
        match self {
            Swatch::Shape(Shape::Points { .. }, _) => 16.0,
            Swatch::Shape(..) | Swatch::Dashes => 46.0,
        }
    }
}

/// The part of the sheet that the data has.
struct Plane {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    x: Axis,
    y: Axis,
}

impl Plane {
    fn x(&self, value: f64) -> f64 {
        self.left + self.x.place(value) * (self.right - self.left)
    }

    fn y(&self, value: f64) -> f64 {
        self.bottom - self.y.place(value) * (self.bottom - self.top)
    }
}

impl Chart {
    /// Axes over all points; `None`: no point has a place.
    fn axes(&self) -> Option<(Axis, Axis)> {
        let shown = |y: f64| self.y_scale == Scale::Linear || y > 0.0;
        let points = || self.series.iter().flat_map(|s| &s.points);
        let ys = points().filter_map(|(_, y)| *y).filter(|y| shown(*y));
        let xs = points().map(|(x, _)| *x).chain(self.marks.iter().copied());
        Some((Axis::over(xs, Scale::Linear, false)?, Axis::over(ys, self.y_scale, true)?))
    }

    /// Whether there is a point to draw.
    pub(super) fn is_empty(&self) -> bool {
        self.axes().is_none()
    }
}

impl Drawing for Chart {
    fn draw<B: DrawingBackend>(&self, sheet: &Sheet<B>) -> Result<(), PlotError> {
        let Some((x, y)) = self.axes() else { return Ok(()) };
        let unit = (sheet.width / REFERENCE.0).min(sheet.height / REFERENCE.1);
        let type_of = |size: f64, bold, colour| Type { size: size * unit, bold, colour };
        let margin = 32.0 * unit;
        let wide = sheet.width - 2.0 * margin;

        let mut top = 44.0 * unit;
        let title = fitted(sheet, &self.title, type_of(30.0, true, BLACK), wide);
        sheet.text(&title.0, (margin, top), Align::Left, title.1)?;
        top += 38.0 * unit;
        let subtitle = fitted(sheet, &self.subtitle, type_of(20.0, false, GREY), wide);
        sheet.text(&subtitle.0, (margin, top), Align::Left, subtitle.1)?;
        top += 36.0 * unit;
        for line in self.warning_lines(sheet, type_of(21.0, true, RED), wide) {
            sheet.text(&line, (margin, top), Align::Left, type_of(21.0, true, RED))?;
            top += 30.0 * unit;
        }
        top = self.draw_legend(sheet, unit, margin, top, type_of(21.0, false, BLACK))?;

        let ticks = type_of(20.0, false, BLACK);
        let plane_top = top + 16.0 * unit;
        let bottom = sheet.height - 96.0 * unit;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let room_for = |length: f64, each: f64| (length / (each * unit)).max(2.0) as usize;
        let y_ticks = y.ticks(room_for(bottom - plane_top, 62.0));
        let mut widest: f64 = 0.0;
        for tick in &y_ticks {
            widest = widest.max(sheet.text_width(&tick.label, ticks));
        }
        let left = margin + 44.0 * unit + widest + 14.0 * unit;
        let plane = Plane { left, right: sheet.width - margin - 8.0 * unit, top: plane_top, bottom, x, y };
        let x_ticks = x.ticks(room_for(plane.right - plane.left, 110.0));

        for tick in &y_ticks {
            let at = plane.y(tick.value);
            sheet.line(&[(plane.left, at), (plane.right, at)], unit, GRID, 1.0)?;
            sheet.text(&tick.label, (plane.left - 14.0 * unit, at), Align::Right, ticks)?;
        }
        for tick in &x_ticks {
            let at = plane.x(tick.value);
            sheet.line(&[(at, plane.top), (at, plane.bottom)], unit, GRID, 1.0)?;
            sheet.line(&[(at, plane.bottom), (at, plane.bottom + 8.0 * unit)], 1.5 * unit, BLACK, 1.0)?;
            sheet.text(&tick.label, (at, plane.bottom + 26.0 * unit), Align::Centre, ticks)?;
        }
        for mark in self.marks.iter().filter(|m| plane.x.holds(**m)) {
            let at = plane.x(*mark);
            sheet.dashes((at, plane.top), (at, plane.bottom), 9.0 * unit, 2.0 * unit, GREY)?;
        }
        for series in &self.series {
            draw_series(sheet, &plane, series, unit)?;
        }
        sheet.line(
            &[(plane.left, plane.top), (plane.left, plane.bottom), (plane.right, plane.bottom)],
            2.0 * unit,
            BLACK,
            1.0,
        )?;
        let label = type_of(22.0, false, BLACK);
        let middle = f64::midpoint(plane.left, plane.right);
        sheet.text(&self.x_label, (middle, sheet.height - 30.0 * unit), Align::Centre, label)?;
        sheet.text_upwards(&self.y_label, (margin + 6.0 * unit, f64::midpoint(plane.top, plane.bottom)), label)
    }
}

impl Chart {
    fn warning_lines<B: DrawingBackend>(&self, sheet: &Sheet<B>, face: Type, wide: f64) -> Vec<String> {
        let mut lines = Vec::new();
        for warning in &self.warnings {
            if lines.len() > MOST_WARNING_LINES {
                break;
            }
            lines.extend(wrapped(sheet, &printable(warning), face, wide));
        }
        if lines.len() > MOST_WARNING_LINES {
            lines.truncate(MOST_WARNING_LINES - 1);
            lines.push("More trials are partial or unfit: see summary.csv.".to_owned());
        }
        lines
    }

    /// Entries in a row, or in as many as they need. Gives where the next thing can be.
    fn draw_legend<B: DrawingBackend>(
        &self,
        sheet: &Sheet<B>,
        unit: f64,
        margin: f64,
        top: f64,
        face: Type,
    ) -> Result<f64, PlotError> {
        let (mut left, mut y) = (margin, top);
        for entry in &self.legend {
            let swatch = entry.swatch.width() * unit;
            let (label, face) = fitted(sheet, &entry.label, face, sheet.width - 2.0 * margin - swatch - 10.0 * unit);
            let width = swatch + 10.0 * unit + sheet.text_width(&label, face) + 36.0 * unit;
            if left > margin && left + width - 36.0 * unit > sheet.width - margin {
                left = margin;
                y += 32.0 * unit;
            }
            let (from, to) = ((left, y), (left + swatch, y));
            let middle = (left + swatch / 2.0, y);
            match &entry.swatch {
                Swatch::Dashes => sheet.dashes(from, to, 9.0 * unit, 2.0 * unit, GREY)?,
                Swatch::Shape(shape, colour) => {
                    if let Shape::Joined { width, .. } | Shape::Line { width } = shape {
                        sheet.line(&[from, to], width * unit, *colour, 1.0)?;
                    }
                    if let Shape::Points { marker, .. } | Shape::Joined { marker, .. } = shape {
                        sheet.marker(*marker, middle, 6.5 * unit, *colour, 1.0)?;
                    }
                }
            }
            sheet.text(&label, (left + swatch + 10.0 * unit, y), Align::Left, face)?;
            left += width;
        }
        Ok(if self.legend.is_empty() { top - 16.0 * unit } else { y + 16.0 * unit })
    }
}

fn draw_series<B: DrawingBackend>(
    sheet: &Sheet<B>,
    plane: &Plane,
    series: &Series,
    unit: f64,
) -> Result<(), PlotError> {
    let place = |(x, y): (f64, Option<f64>)| y.filter(|y| plane.y.holds(*y)).map(|y| (plane.x(x), plane.y(y)));
    if let Shape::Joined { width, .. } | Shape::Line { width } = series.shape {
        for unbroken in series.points.split(|p| place(*p).is_none()).filter(|part| part.len() > 1) {
            let line: Vec<_> = unbroken.iter().filter_map(|p| place(*p)).collect();
            sheet.line(&line, width * unit, series.colour, series.opacity)?;
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

/// A text that is too long for its line gets smaller type, and if that is not enough, an end cut off.
fn fitted<B: DrawingBackend>(sheet: &Sheet<B>, text: &str, face: Type, wide: f64) -> (String, Type) {
    let text = printable(text);
    let width = sheet.text_width(&text, face);
    if width <= wide {
        return (text, face);
    }
    let smaller = Type { size: face.size * (wide / width).max(0.7), ..face };
    (cut(sheet, &text, smaller, wide), smaller)
}

/// The text, or as much of it as is no wider than `wide` with dots for the rest.
fn cut<B: DrawingBackend>(sheet: &Sheet<B>, text: &str, face: Type, wide: f64) -> String {
    if sheet.text_width(text, face) <= wide {
        return text.to_owned();
    }
    let room = wide - sheet.text_width("…", face);
    sheet.text_within(text, face, room).trim_end().to_owned() + "…"
}

/// The text in lines no wider than `wide`, broken at blanks. A word that is too long has a line to itself, cut off.
fn wrapped<B: DrawingBackend>(sheet: &Sheet<B>, text: &str, face: Type, wide: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let longer = match lines.last() {
            Some(line) => format!("{line} {word}"),
            None => word.to_owned(),
        };
        if lines.is_empty() || sheet.text_width(&longer, face) > wide {
            lines.push(cut(sheet, word, face, wide));
        } else if let Some(line) = lines.last_mut() {
            *line = longer;
        }
    }
    lines
}

/// Without the characters that XML forbids and no font has.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

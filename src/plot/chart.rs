//! A chart as a value, and how it is laid out: title, subtitle, warnings, legend, then the data with its axes.
//! Nothing is drawn over the data.

use plotters::backend::DrawingBackend;
use plotters::style::RGBColor;

use super::axis::{Axis, Tick};
use super::branches::Branches;
use super::canvas::{Align, Drawing, Marker, Sheet, Type};
use super::cells::Cells;
use super::happening::Mark;
pub(super) use super::piece::Piece;
use super::piece::{Plane, SMALLEST_TYPE, draw_piece, draw_series};
use super::{PlotError, Scale};

pub(super) const BLACK: RGBColor = RGBColor(20, 20, 20);
pub(super) const GREY: RGBColor = RGBColor(90, 90, 90);
const GRID: RGBColor = RGBColor(225, 225, 225);
/// Warnings only; no data has this colour.
pub(super) const RED: RGBColor = RGBColor(190, 0, 30);

/// The size at which lengths below are meant: they grow with the picture.
const REFERENCE: (f64, f64) = (1600.0, 900.0);
/// More warnings than this would leave no room for the data.
const MOST_WARNING_LINES: usize = 4;

/// How high a stroke is that stands on the horizontal axis, at the reference size.
const STROKE: f64 = 22.0;

/// What is on a picture.
#[derive(Default)]
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) subtitle: String,
    /// What makes the data doubtful; in red.
    pub(super) warnings: Vec<String>,
    pub(super) x_label: String,
    pub(super) y_label: String,
    pub(super) x_scale: Scale,
    pub(super) y_scale: Scale,
    /// Names in place of numbers under the horizontal axis: the first is at 0, the next at 1. A name can have several
    /// lines.
    pub(super) categories: Vec<String>,
    /// Names in place of numbers beside the vertical axis: the first is at the top. The data is then
    /// [spans](Piece::Span).
    pub(super) rows: Vec<String>,
    /// Where the horizontal axis has its ticks, where that is not for the axis to choose.
    pub(super) x_ticks: Vec<f64>,
    /// Values that the vertical axis must hold besides those of the data.
    pub(super) y_holds: Vec<f64>,
    /// Under the series, in the order of drawing.
    pub(super) pieces: Vec<Piece>,
    /// In the order of drawing: later ones lie over earlier ones.
    pub(super) series: Vec<Series>,
    /// Dashed vertical lines, by their place on the horizontal axis.
    pub(super) marks: Vec<f64>,
    /// Strokes that stand on the horizontal axis, in the colour of what happened then.
    pub(super) happenings: Vec<Mark>,
    pub(super) legend: Vec<Entry>,
    /// Further planes to the right of this one, under the same title and legend. Of theirs, axes and data count.
    pub(super) beside: Vec<Chart>,
    /// A tree in the place of axes and data.
    pub(super) branches: Option<Branches>,
    /// Cells with colours in the place of axes and data.
    pub(super) cells: Option<Cells>,
}

/// A part of the sheet, in its pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Area {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

/// Points that belong together.
pub(super) struct Series {
    pub(super) shape: Shape,
    pub(super) colour: RGBColor,
    /// 0 to 1; of whole lines and points.
    pub(super) opacity: f64,
    pub(super) dash: Dash,
    /// x and y; no y: a hole in a line, a short stroke at the upper edge for points.
    pub(super) points: Vec<(f64, Option<f64>)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Shape {
    /// Points alone.
    Points { marker: Marker, radius: f64 },
    /// Points joined by a line.
    Joined { marker: Marker, radius: f64, width: f64 },
    /// A line alone.
    Line { width: f64 },
}

/// How a line is broken, so that lines can be told apart without their colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Dash {
    #[default]
    Whole,
    Strokes,
    Dots,
    Alternating,
}

impl Dash {
    /// Lengths of strokes and gaps, at the reference size.
    pub(super) fn pattern(self, unit: f64) -> Vec<f64> {
        let lengths: &[f64] = match self {
            Dash::Whole => &[],
            Dash::Strokes => &[14.0, 8.0],
            Dash::Dots => &[3.5, 6.0],
            Dash::Alternating => &[16.0, 6.0, 3.5, 6.0],
        };
        lengths.iter().map(|length| length * unit).collect()
    }
}

/// A line of the legend: a sample, and what it stands for.
pub(super) struct Entry {
    pub(super) swatch: Swatch,
    pub(super) label: String,
}

pub(super) enum Swatch {
    Shape(Shape, RGBColor),
    /// A line that is broken, with or without a marker.
    Broken(Dash, Option<Marker>, RGBColor),
    /// A part of a stack of bars.
    Block(RGBColor),
    /// A level, such as the floor.
    Level(RGBColor),
    Dashes,
    /// A stroke on the horizontal axis.
    Stroke(RGBColor),
}

impl Swatch {
    /// As wide as shows what it is: a line wants more room than a point.
    fn width(&self) -> f64 {
        match self {
            Swatch::Shape(Shape::Points { .. }, _) | Swatch::Stroke(_) => 16.0,
            Swatch::Block(_) => 22.0,
            Swatch::Level(_) => 30.0,
            Swatch::Shape(..) | Swatch::Dashes => 46.0,
            Swatch::Broken(..) => 72.0,
        }
    }
}

/// The names under the horizontal axis as they fit.
enum Names {
    /// In lines, beside each other; a name may have several lines.
    Lines(Vec<Vec<String>>),
    /// Upwards, where they are too many or too long.
    Upwards(Vec<String>),
}

impl Chart {
    /// Axes over all points; `None`: no point has a place.
    fn axes(&self) -> Option<(Axis, Axis)> {
        let points = || self.series.iter().flat_map(|s| &s.points);
        let shown = |y: f64| self.y_scale == Scale::Linear || y > 0.0;
        let ys = points().filter_map(|(_, y)| *y).chain(self.pieces.iter().flat_map(Piece::ys));
        let ys: Vec<f64> = ys.filter(|y| shown(*y)).collect();
        if !self.rows.is_empty() {
            let x = Axis::over(self.pieces.iter().flat_map(Piece::xs), self.x_scale, false)?;
            #[allow(clippy::cast_precision_loss)]
            return Some((x, Axis::exactly(self.rows.len() as f64 - 0.5, -0.5)));
        }
        if ys.is_empty() {
            return None;
        }
        let y = Axis::over(ys.into_iter().chain(self.y_holds.iter().copied()), self.y_scale, true)?;
        if !self.categories.is_empty() {
            #[allow(clippy::cast_precision_loss)]
            return Some((Axis::exactly(-0.5, self.categories.len() as f64 - 0.5), y));
        }
        let xs = points().map(|(x, _)| *x).chain(self.pieces.iter().flat_map(Piece::xs));
        Some((Axis::over(xs.chain(self.marks.iter().copied()), self.x_scale, false)?, y))
    }

    /// Whether there is a point to draw.
    pub(super) fn is_empty(&self) -> bool {
        self.branches.is_none() && self.cells.is_none() && self.planes().next().is_none()
    }

    /// This and those beside it, as far as they have a point to draw.
    fn planes(&self) -> impl Iterator<Item = &Chart> {
        std::iter::once(self).chain(&self.beside).filter(|chart| chart.axes().is_some())
    }
}

impl Drawing for Chart {
    fn draw<B: DrawingBackend>(&self, sheet: &Sheet<B>) -> Result<(), PlotError> {
        if self.is_empty() {
            return Ok(());
        }
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
        top = self.draw_legend(sheet, unit, margin, top, type_of(21.0, false, BLACK))? + 16.0 * unit;
        let whole = Area { left: margin, right: sheet.width - margin, top, bottom: sheet.height };
        if let Some(branches) = &self.branches {
            return branches.draw(sheet, Area { bottom: sheet.height - margin, ..whole }, unit);
        }
        if let Some(cells) = &self.cells {
            return cells.draw(sheet, Area { bottom: sheet.height - 12.0 * unit, ..whole }, unit);
        }
        let planes: Vec<&Chart> = self.planes().collect();
        let gap = 30.0 * unit;
        #[allow(clippy::cast_precision_loss)]
        let each = (wide + gap) / planes.len() as f64;
        let mut left = margin;
        for plane in planes {
            plane.draw_plane(sheet, Area { left, right: left + each - gap, ..whole }, unit)?;
            left += each;
        }
        Ok(())
    }
}

impl Chart {
    /// Draws axes, marks and data.
    fn draw_plane<B: DrawingBackend>(&self, sheet: &Sheet<B>, area: Area, unit: f64) -> Result<(), PlotError> {
        let Some((x, y)) = self.axes() else { return Ok(()) };
        let wide = area.right - area.left;
        let ticks = Type { size: 20.0 * unit, bold: false, colour: BLACK };
        // The names' room is that between the axes, of which the left one is not known yet but never far from here.
        let slot = (wide - 130.0 * unit) / self.categories.len().max(1) as f64;
        let (names, below) = self.names(sheet, unit, slot, ticks);
        let bottom = area.bottom - 96.0 * unit - below;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let room_for = |length: f64, each: f64| (length / (each * unit)).max(2.0) as usize;
        let (y_ticks, y_face) = if self.rows.is_empty() {
            (y.ticks(room_for(bottom - area.top, 62.0)), ticks)
        } else {
            self.row_ticks((bottom - area.top) / self.rows.len() as f64, unit)
        };
        let mut widest: f64 = 0.0;
        for tick in &y_ticks {
            widest = widest.max(sheet.text_width(&tick.label, y_face));
        }
        let left = area.left + 44.0 * unit + widest + 14.0 * unit;
        let plane = Plane { left, right: area.right - 8.0 * unit, top: area.top, bottom, x, y };
        let x_ticks = match names {
            Some(_) => Vec::new(),
            None if self.x_ticks.is_empty() => x.ticks(room_for(plane.right - plane.left, 110.0)),
            None => self.given_ticks(&plane, 44.0 * unit),
        };

        for tick in &y_ticks {
            let at = plane.y(tick.value);
            if self.rows.is_empty() {
                sheet.line(&[(plane.left, at), (plane.right, at)], unit, GRID, 1.0)?;
            }
            sheet.text(&tick.label, (plane.left - 14.0 * unit, at), Align::Right, y_face)?;
        }
        for tick in &x_ticks {
            let at = plane.x(tick.value);
            sheet.line(&[(at, plane.top), (at, plane.bottom)], unit, GRID, 1.0)?;
            sheet.line(&[(at, plane.bottom), (at, plane.bottom + 8.0 * unit)], 1.5 * unit, BLACK, 1.0)?;
            sheet.text(&tick.label, (at, plane.bottom + 26.0 * unit), Align::Centre, ticks)?;
        }
        if let Some(names) = names {
            self.draw_names(sheet, &plane, unit, &names, ticks)?;
        }
        for mark in self.marks.iter().filter(|m| plane.x.holds(**m)) {
            let at = plane.x(*mark);
            sheet.dashes((at, plane.top), (at, plane.bottom), 9.0 * unit, 2.0 * unit, GREY)?;
        }
        for piece in &self.pieces {
            draw_piece(sheet, &plane, piece, unit)?;
        }
        sheet.line(
            &[(plane.left, plane.top), (plane.left, plane.bottom), (plane.right, plane.bottom)],
            2.0 * unit,
            BLACK,
            1.0,
        )?;
        for mark in self.happenings.iter().filter(|mark| plane.x.holds(mark.at_s)) {
            let at = plane.x(mark.at_s);
            let stroke = [(at, plane.bottom), (at, plane.bottom - STROKE * unit)];
            sheet.line(&stroke, 3.0 * unit, mark.kind.colour(), 1.0)?;
        }
        for series in &self.series {
            draw_series(sheet, &plane, series, unit)?;
        }
        let label = Type { size: 22.0 * unit, bold: false, colour: BLACK };
        let middle = f64::midpoint(plane.left, plane.right);
        sheet.text(&self.x_label, (middle, area.bottom - 30.0 * unit), Align::Centre, label)?;
        sheet.text_upwards(&self.y_label, (area.left + 6.0 * unit, f64::midpoint(plane.top, plane.bottom)), label)
    }

    /// The rows' names, or where rows are too low for that every second, third, … of them.
    fn row_ticks(&self, height: f64, unit: f64) -> (Vec<Tick>, Type) {
        let size = (0.9 * height).clamp(SMALLEST_TYPE * unit, 20.0 * unit);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let every = (1.05 * size / height).ceil().max(1.0) as usize;
        #[allow(clippy::cast_precision_loss)]
        let tick = |(row, name): (usize, &String)| Tick { value: row as f64, label: printable(name) };
        let ticks = self.rows.iter().enumerate().step_by(every).map(tick).collect();
        (ticks, Type { size, bold: false, colour: BLACK })
    }

    /// The ticks that were asked for, but for those that would be written over one another.
    fn given_ticks(&self, plane: &Plane, apart: f64) -> Vec<Tick> {
        let mut ticks: Vec<Tick> = Vec::new();
        for value in &self.x_ticks {
            if ticks.last().is_none_or(|last| plane.x(*value) - plane.x(last.value) >= apart) {
                ticks.push(Tick { value: *value, label: value.to_string() });
            }
        }
        ticks
    }
}

impl Chart {
    /// The categories' names, and how much more room than numbers they need below the axis.
    fn names<B: DrawingBackend>(&self, sheet: &Sheet<B>, unit: f64, slot: f64, face: Type) -> (Option<Names>, f64) {
        if self.categories.is_empty() {
            return (None, 0.0);
        }
        let wide = slot * 0.94;
        let fits = |text: &str| text.split_whitespace().all(|word| sheet.text_width(word, face) <= wide);
        if self.categories.iter().all(|name| fits(name)) {
            let lines: Vec<Vec<String>> = self
                .categories
                .iter()
                .map(|name| name.lines().flat_map(|line| wrapped(sheet, &printable(line), face, wide)).collect())
                .collect();
            let most = lines.iter().map(Vec::len).max().unwrap_or(1);
            if most <= 4 {
                #[allow(clippy::cast_precision_loss)]
                let below = most.saturating_sub(1) as f64 * 26.0 * unit;
                return (Some(Names::Lines(lines)), below);
            }
        }
        let longest = 0.3 * sheet.height;
        let names: Vec<String> =
            self.categories.iter().map(|name| cut(sheet, &printable(name), face, longest)).collect();
        let widest = names.iter().map(|name| sheet.text_width(name, face)).fold(0.0, f64::max);
        (Some(Names::Upwards(names)), (widest - 14.0 * unit).max(0.0))
    }

    fn draw_names<B: DrawingBackend>(
        &self,
        sheet: &Sheet<B>,
        plane: &Plane,
        unit: f64,
        names: &Names,
        face: Type,
    ) -> Result<(), PlotError> {
        #[allow(clippy::cast_precision_loss)]
        let middle = |n: usize| plane.x(n as f64);
        match names {
            Names::Lines(all) => {
                for (n, lines) in all.iter().enumerate() {
                    let mut y = plane.bottom + 26.0 * unit;
                    for line in lines {
                        sheet.text(line, (middle(n), y), Align::Centre, face)?;
                        y += 26.0 * unit;
                    }
                }
            }
            Names::Upwards(all) => {
                // Where there are more names than room for them, every second, third, … is written.
                let slot = middle(1) - middle(0);
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let every = (24.0 * unit / slot).ceil().max(1.0) as usize;
                for (n, name) in all.iter().enumerate().step_by(every) {
                    let half = sheet.text_width(name, face) / 2.0;
                    sheet.text_upwards(name, (middle(n), plane.bottom + 12.0 * unit + half), face)?;
                }
            }
        }
        Ok(())
    }

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
                Swatch::Stroke(colour) => {
                    let (top, bottom) = ((middle.0, y - 10.0 * unit), (middle.0, y + 10.0 * unit));
                    sheet.line(&[top, bottom], 3.0 * unit, *colour, 1.0)?;
                }
                Swatch::Dashes => sheet.dashes(from, to, 9.0 * unit, 2.0 * unit, GREY)?,
                Swatch::Broken(dash, marker, colour) => {
                    sheet.broken_line(&[from, to], &dash.pattern(unit), 3.0 * unit, *colour)?;
                    if let Some(marker) = marker {
                        sheet.marker(*marker, middle, 6.5 * unit, *colour, 1.0)?;
                    }
                }
                Swatch::Block(colour) => {
                    sheet.rectangle((left, y - 9.0 * unit), (left + swatch, y + 9.0 * unit), *colour)?;
                }
                Swatch::Level(colour) => sheet.line(&[from, to], 4.0 * unit, *colour, 1.0)?,
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

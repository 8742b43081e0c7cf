//! A figure over two parameters as it is drawn: a cell for each pair of values, coloured and with its number in it,
//! panels side by side, one scale for all.

use plotters::backend::DrawingBackend;
use plotters::style::RGBColor;

use super::axis::Axis;
use super::branches::colour_of;
use super::canvas::{Align, Sheet, Type};
use super::chart::{Area, BLACK, GREY};
use super::piece::SMALLEST_TYPE;
use super::{PlotError, Scale};

/// Under the hatching of a cell that has unfit trials alone.
const PALE: RGBColor = RGBColor(240, 240, 240);
const HATCHING: RGBColor = RGBColor(165, 165, 165);
const BORDER: RGBColor = RGBColor(215, 215, 215);
/// How wide a cell may be beside its height.
const WIDEST: f64 = 2.6;
/// How wide a number is beside its height, about.
const NUMBER: f64 = 2.2;
/// Names under columns that are wider than so many columns read upwards.
const SPREAD: f64 = 2.5;

/// What is known of a pair of values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Known {
    /// The figure; `doubtful`: unfit or partial trials are in it.
    Figure { value: f64, doubtful: bool },
    /// There were trials, and none of them counts or has the figure.
    Unsound,
    /// No trial has this pair of values.
    Nothing,
}

/// The cells of a group.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Panel {
    pub(super) name: String,
    /// Row by row from the top, each from the left.
    pub(super) cells: Vec<Known>,
}

/// Panels side by side.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cells {
    pub(super) columns: Vec<String>,
    /// Names of the rows; the first is at the top.
    pub(super) rows: Vec<String>,
    pub(super) x_label: String,
    pub(super) y_label: String,
    pub(super) scale_label: String,
    pub(super) scale: Scale,
    pub(super) panels: Vec<Panel>,
}

/// How the panels lie, in lengths of the sheet.
struct Layout {
    /// How many panels are beside each other.
    across: usize,
    cell: (f64, f64),
    /// From one panel's beginning to the next one's, across and down.
    step: (f64, f64),
    /// The first cell of the first panel.
    origin: (f64, f64),
    /// The right end of the last panel.
    right: f64,
    bottom: f64,
    /// Names under the columns read upwards.
    upwards: bool,
}

impl Cells {
    /// Whether there is a number to show.
    pub(super) fn is_empty(&self) -> bool {
        self.range().is_none()
    }

    fn values(&self) -> impl Iterator<Item = f64> {
        let value = |known: &Known| if let Known::Figure { value, .. } = known { Some(*value) } else { None };
        let shown = |value: &f64| value.is_finite() && (self.scale == Scale::Linear || *value > 0.0);
        self.panels.iter().flat_map(|panel| &panel.cells).filter_map(value).filter(shown)
    }

    /// The least and the greatest figure that has a colour; `None`: there is none.
    fn range(&self) -> Option<(f64, f64)> {
        self.values().fold(None, |range: Option<(f64, f64)>, value| {
            Some(range.map_or((value, value), |(low, high)| (low.min(value), high.max(value))))
        })
    }

    /// The scale's axis, without air at its ends; `None`: there is but one value.
    fn axis(&self) -> Option<Axis> {
        let (low, high) = self.range()?;
        (high > low).then(|| Axis::between(low, high, self.scale))
    }

    fn colour(&self, value: f64) -> Option<RGBColor> {
        let (low, _) = self.range()?;
        // Who asks for a logarithmic scale knows that there is no place on it for what is not positive; it is told
        // with its number.
        (self.scale == Scale::Linear || value > 0.0 || low == value)
            .then(|| colour_of(self.axis().map_or(0.5, |axis| axis.place_within(value))))
    }

    /// As many decimals as tell something, the same in all cells.
    fn decimals(&self) -> usize {
        let size = self.values().fold(0.0, |size: f64, value| size.max(value.abs()));
        let whole = self.values().all(|value| value.fract() == 0.0);
        match size {
            _ if whole => 0,
            size if size >= 999.5 => 0,
            size if size >= 9.995 => 1,
            size if size >= 0.9995 => 2,
            _ => 3,
        }
    }

    pub(super) fn draw<B: DrawingBackend>(&self, sheet: &Sheet<B>, area: Area, unit: f64) -> Result<(), PlotError> {
        let names = Type { size: 20.0 * unit, bold: false, colour: BLACK };
        let layout = self.layout(sheet, area, unit, names);
        let (columns, rows) = (self.columns.len(), self.rows.len());
        let number = self.number_type(sheet, layout.cell, unit);
        for (place, panel) in self.panels.iter().enumerate() {
            #[allow(clippy::cast_precision_loss)]
            let (across, down) = ((place % layout.across) as f64, (place / layout.across) as f64);
            let left = layout.origin.0 + across * layout.step.0;
            let top = layout.origin.1 + down * layout.step.1;
            #[allow(clippy::cast_precision_loss)]
            let corner =
                |column: usize, row: usize| (left + column as f64 * layout.cell.0, top + row as f64 * layout.cell.1);
            let middle = left + columns as f64 * layout.cell.0 / 2.0;
            let (title, face) = fitted(sheet, &panel.name, Type { bold: true, ..names }, layout.step.0);
            sheet.text(&title, (middle, top - 22.0 * unit), Align::Centre, face)?;
            for (n, known) in panel.cells.iter().enumerate() {
                let (column, row) = (n % columns, n / columns);
                self.draw_cell(sheet, *known, corner(column, row), corner(column + 1, row + 1), number, unit)?;
            }
            if place.is_multiple_of(layout.across) {
                let every = every_so_many(layout.cell.1, 24.0 * unit);
                for (row, name) in self.rows.iter().enumerate().step_by(every) {
                    let at = (left - 12.0 * unit, f64::midpoint(corner(0, row).1, corner(0, row + 1).1));
                    sheet.text(name, at, Align::Right, names)?;
                }
            }
            // Where there is no panel below.
            if place + layout.across >= self.panels.len() {
                let under = corner(0, rows).1;
                let apart =
                    if layout.upwards { 24.0 * unit } else { widest(sheet, &self.columns, names) + 12.0 * unit };
                let every = every_so_many(layout.cell.0, apart);
                for (column, name) in self.columns.iter().enumerate().step_by(every) {
                    let middle = f64::midpoint(corner(column, 0).0, corner(column + 1, 0).0);
                    if layout.upwards {
                        let half = sheet.text_width(name, names) / 2.0;
                        sheet.text_upwards(name, (middle, under + 10.0 * unit + half), names)?;
                    } else {
                        sheet.text(name, (middle, under + 22.0 * unit), Align::Centre, names)?;
                    }
                }
            }
        }
        let label = Type { size: 22.0 * unit, ..names };
        let middle = (f64::midpoint(layout.origin.0, layout.right), f64::midpoint(layout.origin.1, layout.bottom));
        let names_end =
            layout.bottom + if layout.upwards { widest(sheet, &self.columns, names) } else { 26.0 * unit };
        sheet.text(&self.x_label, (middle.0, names_end + 36.0 * unit), Align::Centre, label)?;
        sheet.text_upwards(&self.y_label, (area.left + 10.0 * unit, middle.1), label)?;
        self.draw_scale(sheet, &layout, unit)
    }

    fn layout<B: DrawingBackend>(&self, sheet: &Sheet<B>, area: Area, unit: f64, names: Type) -> Layout {
        let beside = widest(sheet, &self.rows, names) + 52.0 * unit;
        let scale = if self.has_keys() { 205.0 } else { 165.0 } * unit;
        let (gap, title) = (26.0 * unit, 46.0 * unit);
        let across_all = widest(sheet, &self.columns, names) + 12.0 * unit;
        #[allow(clippy::cast_precision_loss)]
        let (columns, rows) = (self.columns.len() as f64, self.rows.len() as f64);
        let wide = area.right - area.left - beside - scale;
        // Cells as large as they can be.
        let best = (1..=self.panels.len()).map(|across| {
            #[allow(clippy::cast_precision_loss)]
            let (beside, above) = (across as f64, self.panels.len().div_ceil(across) as f64);
            let cell_width = (wide - (beside - 1.0) * gap) / beside / columns;
            let upwards = across_all > SPREAD * cell_width && columns > 1.0;
            let names_below = 60.0 * unit + if upwards { across_all } else { 26.0 * unit };
            let cell_height = (area.bottom - area.top - names_below - above * title) / above / rows;
            let cell = (cell_width.min(cell_height.max(unit) * WIDEST), cell_height.min(cell_width * WIDEST));
            (across, cell, upwards)
        });
        // As large as their numbers can be.
        let room = |cell: (f64, f64)| (cell.0 / NUMBER).min(cell.1);
        let (across, cell, upwards) = best
            .max_by(|a, b| room(a.1).total_cmp(&room(b.1)).then(b.0.cmp(&a.0)))
            .unwrap_or((1, (unit, unit), false));
        let step = (columns * cell.0 + gap, rows * cell.1 + title);
        let origin = (area.left + beside, area.top + title - 6.0 * unit);
        #[allow(clippy::cast_precision_loss)]
        let (beside, above) = (across as f64, self.panels.len().div_ceil(across) as f64);
        let right = origin.0 + beside * step.0 - gap;
        Layout { across, cell, step, origin, right, bottom: origin.1 + above * step.1 - title, upwards }
    }

    /// Whether there are cells whose look has to be explained.
    fn has_keys(&self) -> bool {
        let plain = |known: &Known| matches!(known, Known::Figure { doubtful: false, .. });
        self.panels.iter().flat_map(|panel| &panel.cells).any(|known| !plain(known))
    }

    /// Of the numbers in the cells; `None`: they would be too small to read.
    fn number_type<B: DrawingBackend>(&self, sheet: &Sheet<B>, cell: (f64, f64), unit: f64) -> Option<Type> {
        let decimals = self.decimals();
        let face = Type { size: 24.0 * unit, bold: false, colour: BLACK };
        let widest = self.values().map(|value| sheet.text_width(&number(value, decimals), face)).fold(1.0, f64::max);
        let size = face.size * (0.84 * cell.0 / widest).min(0.6 * cell.1 / face.size).min(1.0);
        (size >= SMALLEST_TYPE * unit).then_some(Type { size, ..face })
    }

    fn draw_cell<B: DrawingBackend>(
        &self,
        sheet: &Sheet<B>,
        known: Known,
        from: (f64, f64),
        to: (f64, f64),
        face: Option<Type>,
        unit: f64,
    ) -> Result<(), PlotError> {
        // A white line between cells, as far as they are large enough for one.
        let gap = (1.2 * unit).min(0.1 * (to.0 - from.0)).min(0.1 * (to.1 - from.1));
        let (from, to) = ((from.0 + gap, from.1 + gap), (to.0 - gap, to.1 - gap));
        let middle = (f64::midpoint(from.0, to.0), f64::midpoint(from.1, to.1));
        match known {
            Known::Figure { value, doubtful } => {
                let colour = self.colour(value).unwrap_or(PALE);
                sheet.rectangle(from, to, colour)?;
                if doubtful {
                    hatch(sheet, from, to, ink_on(colour), 0.35, unit)?;
                }
                let Some(face) = face else { return Ok(()) };
                let text = number(value, self.decimals());
                if doubtful {
                    // The number stays legible.
                    let (half, high) = (sheet.text_width(&text, face) / 2.0 + 3.0 * unit, 0.62 * face.size);
                    sheet.rectangle(
                        (middle.0 - half, middle.1 - high),
                        (middle.0 + half, middle.1 + high),
                        colour,
                    )?;
                }
                sheet.text(&text, middle, Align::Centre, Type { colour: ink_on(colour), ..face })
            }
            Known::Unsound => {
                sheet.rectangle(from, to, PALE)?;
                hatch(sheet, from, to, HATCHING, 1.0, unit)
            }
            Known::Nothing => {
                let corners = [from, (to.0, from.1), to, (from.0, to.1), from];
                sheet.line(&corners, unit, BORDER, 1.0)?;
                let face = Type { colour: GREY, ..face.unwrap_or(Type { size: 0.0, bold: false, colour: GREY }) };
                if face.size > 0.0 { sheet.text("–", middle, Align::Centre, face) } else { Ok(()) }
            }
        }
    }

    /// The scale beside the panels, and what cells without a number mean.
    fn draw_scale<B: DrawingBackend>(&self, sheet: &Sheet<B>, layout: &Layout, unit: f64) -> Result<(), PlotError> {
        let face = Type { size: 18.0 * unit, bold: false, colour: BLACK };
        let cells = || self.panels.iter().flat_map(|panel| &panel.cells);
        let mut keys: Vec<(Known, &str)> = Vec::new();
        if cells().any(|known| matches!(known, Known::Figure { doubtful: true, .. })) {
            keys.push((Known::Figure { value: f64::NAN, doubtful: true }, "with unfit"));
        }
        if cells().any(|known| *known == Known::Unsound) {
            keys.push((Known::Unsound, "none is sound"));
        }
        if cells().any(|known| *known == Known::Nothing) {
            keys.push((Known::Nothing, "no trial"));
        }
        let left = layout.right + 34.0 * unit;
        let right = left + 30.0 * unit;
        #[allow(clippy::cast_precision_loss)]
        let room_for_keys = keys.len() as f64 * 32.0 * unit + if keys.is_empty() { 0.0 } else { 24.0 * unit };
        let (top, bottom) = (layout.origin.1, (layout.bottom - room_for_keys).max(layout.origin.1 + 120.0 * unit));
        let (low, _) = self.range().unwrap_or((0.0, 0.0));
        let mut widest: f64 = 0.0;
        match self.axis() {
            Some(axis) => {
                let parts = 128;
                for part in 0..parts {
                    let at = |part: f64| bottom - (bottom - top) * part / f64::from(parts);
                    let colour = colour_of((f64::from(part) + 0.5) / f64::from(parts));
                    sheet.rectangle((left, at(f64::from(part) + 1.0)), (right, at(f64::from(part))), colour)?;
                }
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let most = ((bottom - top) / (64.0 * unit)).max(2.0) as usize;
                for tick in axis.ticks(most) {
                    let y = bottom - axis.place(tick.value) * (bottom - top);
                    if (top - unit..=bottom + unit).contains(&y) {
                        sheet.line(&[(right, y), (right + 7.0 * unit, y)], 1.5 * unit, BLACK, 1.0)?;
                        sheet.text(&tick.label, (right + 12.0 * unit, y), Align::Left, face)?;
                        widest = widest.max(sheet.text_width(&tick.label, face));
                    }
                }
            }
            None => {
                sheet.rectangle((left, top), (right, bottom), colour_of(0.5))?;
                let text = number(low, self.decimals());
                sheet.text(&text, (right + 12.0 * unit, f64::midpoint(top, bottom)), Align::Left, face)?;
                widest = sheet.text_width(&text, face);
            }
        }
        let label = (right + widest + 38.0 * unit, f64::midpoint(top, bottom));
        let (text, of_label) = fitted(sheet, &self.scale_label, Type { size: 20.0 * unit, ..face }, bottom - top);
        sheet.text_upwards(&text, label, of_label)?;
        let mut y = bottom + 40.0 * unit;
        for (known, words) in keys {
            let (from, to) = ((left, y - 11.0 * unit), (right, y + 11.0 * unit));
            match known {
                Known::Figure { .. } => {
                    sheet.rectangle(from, to, colour_of(0.25))?;
                    hatch(sheet, from, to, BLACK, 0.35, unit)?;
                }
                known => self.draw_cell(sheet, known, from, to, Some(Type { size: 16.0 * unit, ..face }), unit)?,
            }
            sheet.text(words, (right + 10.0 * unit, y), Align::Left, Type { colour: GREY, ..face })?;
            y += 32.0 * unit;
        }
        Ok(())
    }
}

/// Black or white, whichever has the better contrast to that colour (its relative luminance, as WCAG 2 has it; the
/// two are equal at 0.18).
fn ink_on(RGBColor(red, green, blue): RGBColor) -> RGBColor {
    let linear = |part: u8| {
        let part = f64::from(part) / 255.0;
        if part <= 0.040_45 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
    };
    let luminance = 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
    if luminance > 0.18 { BLACK } else { RGBColor(255, 255, 255) }
}

fn number(value: f64, decimals: usize) -> String {
    // Adding 0 turns -0 into 0.
    let scale = 10_f64.powi(i32::try_from(decimals).unwrap_or(0));
    format!("{:.decimals$}", (value * scale).round() / scale + 0.0)
}

fn widest<B: DrawingBackend>(sheet: &Sheet<B>, names: &[String], face: Type) -> f64 {
    names.iter().map(|name| sheet.text_width(name, face)).fold(0.0, f64::max)
}

/// Of names that lie so far from each other every so many have room.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn every_so_many(step: f64, room: f64) -> usize {
    (room / step.max(1e-9)).ceil().clamp(1.0, 1e6) as usize
}

fn fitted<B: DrawingBackend>(sheet: &Sheet<B>, text: &str, face: Type, wide: f64) -> (String, Type) {
    let width = sheet.text_width(text, face);
    let smaller = Type { size: face.size * (wide / width.max(1e-9)).clamp(0.6, 1.0), ..face };
    (sheet.text_within(text, smaller, wide).to_owned(), smaller)
}

/// Lines that rise to the right, cut off at the edges.
fn hatch<B: DrawingBackend>(
    sheet: &Sheet<B>,
    from: (f64, f64),
    to: (f64, f64),
    colour: RGBColor,
    opacity: f64,
    unit: f64,
) -> Result<(), PlotError> {
    let (wide, high) = (to.0 - from.0, to.1 - from.1);
    let step = 9.0 * unit;
    let mut along = step / 2.0;
    while along < wide + high {
        // From the left or the lower edge to the upper or the right one, along x + y = along.
        let begin = if along <= high { (from.0, from.1 + along) } else { (from.0 + along - high, to.1) };
        let end = if along <= wide { (from.0 + along, from.1) } else { (to.0, from.1 + along - wide) };
        sheet.line(&[begin, end], 1.2 * unit, colour, opacity)?;
        along += step;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)]
    use super::*;

    fn cells(known: &[Known], scale: Scale) -> Cells {
        Cells {
            columns: vec!["1".into(), "2".into()],
            rows: vec!["a".into()],
            x_label: String::new(),
            y_label: String::new(),
            scale_label: String::new(),
            scale,
            panels: vec![Panel { name: String::new(), cells: known.to_vec() }],
        }
    }

    fn figure(value: f64) -> Known {
        Known::Figure { value, doubtful: false }
    }

    #[test]
    fn the_least_is_light_and_the_greatest_dark() {
        let both = cells(&[figure(10.0), figure(1000.0)], Scale::Linear);
        assert_eq!((both.colour(10.0), both.colour(1000.0)), (Some(colour_of(0.0)), Some(colour_of(1.0))));
        assert_eq!(both.colour(505.0), Some(colour_of(0.5)));
        let bent = cells(&[figure(10.0), figure(1000.0), figure(-1.0)], Scale::Logarithmic);
        assert_eq!((bent.colour(100.0), bent.colour(-1.0)), (Some(colour_of(0.5)), None));
        assert_eq!(cells(&[figure(7.0), Known::Nothing], Scale::Linear).colour(7.0), Some(colour_of(0.5)));
        assert!(cells(&[Known::Unsound, Known::Nothing], Scale::Linear).is_empty());
        assert!(cells(&[figure(-1.0)], Scale::Logarithmic).is_empty());
    }

    #[test]
    fn numbers_have_as_many_decimals_as_tell_something() {
        let decimals =
            |values: &[f64]| cells(&values.iter().map(|v| figure(*v)).collect::<Vec<_>>(), Scale::Linear).decimals();
        assert_eq!(
            [decimals(&[0.25, 0.5]), decimals(&[2.5]), decimals(&[2.5, 30.1]), decimals(&[2.5, 3000.1])],
            [3, 2, 1, 0]
        );
        assert_eq!(decimals(&[2.0, 8.0]), 0);
        assert_eq!((number(-0.04, 1), number(38.06, 1)), ("0.0".to_owned(), "38.1".to_owned()));
    }
}

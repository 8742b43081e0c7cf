//! A sheet to draw on, in lengths of the finished picture, and its bytes.
//!
//! plotters places everything on whole pixels. So a sheet is drawn larger than the picture and made smaller at the
//! end, which smooths the edges of a PNG and gives the SVG fractions of a pixel.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use ab_glyph::{Font, FontRef, GlyphId, PxScale, ScaleFont, point};
use plotters::backend::{BitMapBackend, DrawingBackend, SVGBackend};
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{Circle, PathElement, Polygon, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontDesc, FontFamily, FontStyle, FontTransform, RGBColor, ShapeStyle, TextStyle};

use super::{Format, PlotError};

/// The smallest picture in which the text is legible, in pixels.
pub const SMALLEST: (u32, u32) = (480, 270);
/// The largest picture that fits into memory without thinking, in pixels.
pub const LARGEST: (u32, u32) = (7680, 4320);

/// `font-family` of an SVG: its reader may lack DejaVu, and the others are as wide.
const FAMILY: &str = "DejaVu Sans, Bitstream Vera Sans, Verdana, sans-serif";
/// Height of DejaVu's capitals in ems; text is centred about the middle of its capitals.
const CAPITALS: f64 = 0.729;
/// Half the height of DejaVu's small letters in ems: what an SVG of plotters centres text by.
const HALF_EX: f64 = 0.273;
/// plotters' font size in ems of the SVG that it writes.
const SVG_EM: f64 = 1.24;
/// SVGs are drawn this much larger than they say they are.
const SVG_FACTOR: u32 = 8;
/// PNGs up to this many pixels are drawn at twice their width and height.
const SMOOTHED_UP_TO: u64 = 8_300_000;

/// How a text lies about its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Centre,
    Right,
}

/// How a text looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Type {
    /// The em, in pixels of the picture.
    pub(super) size: f64,
    pub(super) bold: bool,
    pub(super) colour: RGBColor,
}

/// What marks a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    Circle,
    Triangle,
    Square,
    Diamond,
    Cross,
}

/// The sheet. Lengths are pixels of the finished picture, x to the right, y downwards.
pub(super) struct Sheet<'a, B: DrawingBackend> {
    area: &'a DrawingArea<B, Shift>,
    factor: f64,
    faces: Faces,
    /// Text is pixels here; on other sheets it stays text.
    raster: bool,
    /// Width of the sheet in pixels.
    pub(super) width: f64,
    /// Height of the sheet in pixels.
    pub(super) height: f64,
}

/// Something that can be drawn on any sheet.
pub(super) trait Drawing {
    fn draw<B: DrawingBackend>(&self, sheet: &Sheet<B>) -> Result<(), PlotError>;
}

/// The bytes of a picture of `drawing`.
pub(super) fn picture(drawing: &impl Drawing, size: (u32, u32), format: Format) -> Result<Vec<u8>, PlotError> {
    let fits = |n: u32, least: u32, most: u32| (least..=most).contains(&n);
    if !fits(size.0, SMALLEST.0, LARGEST.0) || !fits(size.1, SMALLEST.1, LARGEST.1) {
        return Err(PlotError::Size { width: size.0, height: size.1 });
    }
    match format {
        Format::Png => png(drawing, size),
        Format::Svg => svg(drawing, size),
    }
}

/// The faces of DejaVu Sans that are embedded.
struct Faces {
    regular: FontRef<'static>,
    bold: FontRef<'static>,
}

impl Faces {
    fn embedded() -> Result<Faces, PlotError> {
        let read =
            |bytes| FontRef::try_from_slice(bytes).map_err(|e| PlotError::Drawing(format!("the embedded font: {e}")));
        Ok(Faces { regular: read(dejavu::sans::regular())?, bold: read(dejavu::sans::bold())? })
    }
}

fn png(drawing: &impl Drawing, (width, height): (u32, u32)) -> Result<Vec<u8>, PlotError> {
    let factor = if u64::from(width) * u64::from(height) <= SMOOTHED_UP_TO { 2 } else { 1 };
    let mut pixels = vec![255_u8; 3 * (width * factor) as usize * (height * factor) as usize];
    {
        let area = BitMapBackend::with_buffer(&mut pixels, (width * factor, height * factor)).into_drawing_area();
        draw_on(drawing, &area, (width, height), factor, true)?;
    }
    let pixels = if factor == 1 { pixels } else { halved(&pixels, (width * factor) as usize) };
    let failed = |e: png::EncodingError| PlotError::Drawing(e.to_string());
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(&pixels).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(bytes)
}

/// The mean of each square of four pixels; RGB, `width` pixels a row.
fn halved(pixels: &[u8], width: usize) -> Vec<u8> {
    let row = 3 * width;
    let mut half = Vec::with_capacity(pixels.len() / 4);
    for rows in pixels.chunks_exact(2 * row) {
        for x in (0..row).step_by(6) {
            for channel in x..x + 3 {
                let sum: u16 =
                    [channel, channel + 3, channel + row, channel + row + 3].map(|i| u16::from(rows[i])).iter().sum();
                half.push(u8::try_from((sum + 2) / 4).unwrap_or(u8::MAX));
            }
        }
    }
    half
}

fn svg(drawing: &impl Drawing, (width, height): (u32, u32)) -> Result<Vec<u8>, PlotError> {
    let mut text = String::new();
    {
        let drawn = (width * SVG_FACTOR, height * SVG_FACTOR);
        let area = SVGBackend::with_string(&mut text, drawn).into_drawing_area();
        draw_on(drawing, &area, (width, height), SVG_FACTOR, false)?;
    }
    // The view box keeps the size that it was drawn at.
    let drawn = format!("width=\"{}\" height=\"{}\"", width * SVG_FACTOR, height * SVG_FACTOR);
    let asked = format!("width=\"{width}\" height=\"{height}\"");
    Ok(text.replacen(&drawn, &asked, 1).into_bytes())
}

fn draw_on<B: DrawingBackend>(
    drawing: &impl Drawing,
    area: &DrawingArea<B, Shift>,
    (width, height): (u32, u32),
    factor: u32,
    raster: bool,
) -> Result<(), PlotError> {
    let faces = Faces::embedded()?;
    let (factor, width, height) = (f64::from(factor), f64::from(width), f64::from(height));
    let sheet = Sheet { area, factor, faces, raster, width, height };
    sheet.rectangle((0.0, 0.0), (sheet.width, sheet.height), RGBColor(255, 255, 255))?;
    drawing.draw(&sheet)?;
    area.present().map_err(|e| PlotError::Drawing(e.to_string()))
}

impl<B: DrawingBackend> Sheet<'_, B> {
    #[allow(clippy::cast_possible_truncation)]
    fn at(&self, (x, y): (f64, f64)) -> (i32, i32) {
        ((x * self.factor).round() as i32, (y * self.factor).round() as i32)
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn length(&self, pixels: f64) -> u32 {
        (pixels * self.factor).round().max(1.0) as u32
    }

    fn put<E>(&self, element: &E) -> Result<(), PlotError>
    where
        for<'e> &'e E: plotters::element::PointCollection<'e, (i32, i32)>,
        E: plotters::element::Drawable<B>,
    {
        self.area.draw(element).map_err(|e| PlotError::Drawing(e.to_string()))
    }

    pub(super) fn rectangle(&self, from: (f64, f64), to: (f64, f64), colour: RGBColor) -> Result<(), PlotError> {
        self.put(&Rectangle::new([self.at(from), self.at(to)], colour.filled()))
    }

    pub(super) fn line(
        &self,
        points: &[(f64, f64)],
        width: f64,
        colour: RGBColor,
        opacity: f64,
    ) -> Result<(), PlotError> {
        let style = ShapeStyle { color: colour.mix(opacity), filled: false, stroke_width: self.length(width) };
        self.put(&PathElement::new(points.iter().map(|p| self.at(*p)).collect::<Vec<_>>(), style))
    }

    /// A polygon without an outline.
    pub(super) fn polygon(&self, corners: &[(f64, f64)], colour: RGBColor, opacity: f64) -> Result<(), PlotError> {
        let corners: Vec<_> = corners.iter().map(|c| self.at(*c)).collect();
        self.put(&Polygon::new(corners, colour.mix(opacity).filled()))
    }

    /// A line through points, broken into strokes: `pattern` is the length of a stroke, of the gap after it, and so
    /// on; an empty one is a whole line.
    pub(super) fn broken_line(
        &self,
        points: &[(f64, f64)],
        pattern: &[f64],
        width: f64,
        colour: RGBColor,
    ) -> Result<(), PlotError> {
        if pattern.is_empty() {
            return self.line(points, width, colour, 1.0);
        }
        let (mut turn, mut left) = (0, pattern[0]);
        let mut stroke: Vec<(f64, f64)> = points.first().copied().into_iter().collect();
        for pair in points.windows(2) {
            let (mut from, to) = (pair[0], pair[1]);
            loop {
                let length = (to.0 - from.0).hypot(to.1 - from.1);
                // What is not finite has no strokes to be cut into.
                if length < left || !length.is_finite() {
                    left -= length;
                    stroke.push(to);
                    break;
                }
                let part = if length > 0.0 { left / length } else { 0.0 };
                from = (from.0 + (to.0 - from.0) * part, from.1 + (to.1 - from.1) * part);
                stroke.push(from);
                if turn % 2 == 0 {
                    self.line(&stroke, width, colour, 1.0)?;
                }
                turn = (turn + 1) % pattern.len();
                left = pattern[turn].max(0.5);
                stroke = vec![from];
            }
        }
        if turn % 2 == 0 && stroke.len() > 1 { self.line(&stroke, width, colour, 1.0) } else { Ok(()) }
    }

    /// A straight line of dashes `dash` long and as far apart.
    pub(super) fn dashes(
        &self,
        from: (f64, f64),
        to: (f64, f64),
        dash: f64,
        width: f64,
        colour: RGBColor,
    ) -> Result<(), PlotError> {
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        let along = |t: f64| (from.0 + (to.0 - from.0) * t / length, from.1 + (to.1 - from.1) * t / length);
        let mut begin = 0.0;
        while begin < length {
            self.line(&[along(begin), along((begin + dash).min(length))], width, colour, 1.0)?;
            begin += 2.0 * dash;
        }
        Ok(())
    }

    /// A marker about a point; `radius` is that of the circle, and the others look equally large.
    pub(super) fn marker(
        &self,
        marker: Marker,
        centre: (f64, f64),
        radius: f64,
        colour: RGBColor,
        opacity: f64,
    ) -> Result<(), PlotError> {
        let style = colour.mix(opacity).filled();
        let polygon = |corners: &[(f64, f64)]| {
            let corners: Vec<_> =
                corners.iter().map(|(x, y)| self.at((centre.0 + x * radius, centre.1 + y * radius))).collect();
            self.put(&Polygon::new(corners, style))
        };
        match marker {
            Marker::Circle => self.put(&Circle::new(self.at(centre), self.length(radius), style)),
            Marker::Triangle => polygon(&[(0.0, -1.3), (1.2, 0.85), (-1.2, 0.85)]),
            Marker::Square => polygon(&[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]),
            Marker::Diamond => polygon(&[(0.0, -1.4), (1.2, 0.0), (0.0, 1.4), (-1.2, 0.0)]),
            Marker::Cross => {
                let arm = |dx, dy| (centre.0 + dx * radius, centre.1 + dy * radius);
                let width = radius * 0.6;
                self.line(&[arm(-1.1, -1.1), arm(1.1, 1.1)], width, colour, opacity)?;
                self.line(&[arm(-1.1, 1.1), arm(1.1, -1.1)], width, colour, opacity)
            }
        }
    }

    /// A filled circle.
    pub(super) fn disc(&self, centre: (f64, f64), radius: f64, colour: RGBColor) -> Result<(), PlotError> {
        self.put(&Circle::new(self.at(centre), self.length(radius), colour.filled()))
    }

    fn face(&self, face: Type) -> (&FontRef<'static>, PxScale) {
        let font = if face.bold { &self.faces.bold } else { &self.faces.regular };
        // A font is scaled by the height of its lines, and a size here is its em.
        let lines_in_em = f64::from(font.height_unscaled() / font.units_per_em().unwrap_or(2048.0));
        #[allow(clippy::cast_possible_truncation)]
        (font, PxScale::from((face.size * self.factor * lines_in_em) as f32))
    }

    /// How wide a text is, in pixels.
    pub(super) fn text_width(&self, text: &str, face: Type) -> f64 {
        let (font, scale) = self.face(face);
        f64::from(advances(font, scale, text).map(|(_, end)| end).last().unwrap_or(0.0)) / self.factor
    }

    /// The beginning of a text that is no wider than `wide`.
    pub(super) fn text_within<'t>(&self, text: &'t str, face: Type, wide: f64) -> &'t str {
        let (font, scale) = self.face(face);
        let fitting =
            advances(font, scale, text).take_while(|(_, end)| f64::from(*end) <= wide * self.factor).count();
        text.char_indices().nth(fitting).map_or(text, |(end, _)| &text[..end])
    }

    /// A line of text, the middle of its height at the point.
    pub(super) fn text(&self, text: &str, at: (f64, f64), align: Align, face: Type) -> Result<(), PlotError> {
        self.put_text(text, at, align, face, false)
    }

    /// A line of text that reads upwards, its middle at the point.
    pub(super) fn text_upwards(&self, text: &str, at: (f64, f64), face: Type) -> Result<(), PlotError> {
        self.put_text(text, at, Align::Centre, face, true)
    }

    fn put_text(&self, text: &str, at: (f64, f64), align: Align, face: Type, upwards: bool) -> Result<(), PlotError> {
        if self.raster {
            self.set_text(text, at, align, face, upwards)
        } else {
            self.name_text(text, at, align, face, upwards)
        }
    }

    /// Text as text, for SVG.
    fn name_text(
        &self,
        text: &str,
        at: (f64, f64),
        align: Align,
        face: Type,
        upwards: bool,
    ) -> Result<(), PlotError> {
        let horizontal = match align {
            Align::Left => HPos::Left,
            Align::Centre => HPos::Center,
            Align::Right => HPos::Right,
        };
        let weight = if face.bold { FontStyle::Bold } else { FontStyle::Normal };
        let turn = if upwards { FontTransform::Rotate270 } else { FontTransform::None };
        let font = FontDesc::new(FontFamily::Name(FAMILY), face.size * SVG_EM * self.factor, weight).transform(turn);
        let style = TextStyle::from(font).color(&face.colour).pos(Pos::new(horizontal, VPos::Center));
        let down = face.size * (CAPITALS / 2.0 - HALF_EX);
        let at = if upwards { (at.0 + down, at.1) } else { (at.0, at.1 + down) };
        self.put(&Text::new(text.to_owned(), self.at(at), style))
    }

    /// Text as pixels.
    #[allow(clippy::cast_possible_truncation)]
    fn set_text(&self, text: &str, at: (f64, f64), align: Align, face: Type, upwards: bool) -> Result<(), PlotError> {
        let (font, scale) = self.face(face);
        note_lacking(font, text);
        let width = self.text_width(text, face) * self.factor;
        let begin = match align {
            Align::Left => 0.0,
            Align::Centre => -width / 2.0,
            Align::Right => -width,
        };
        let baseline = face.size * self.factor * CAPITALS / 2.0;
        let origin = self.at(at);
        let mut outcome = Ok(());
        for (glyph, end) in advances(font, scale, text) {
            let x = begin as f32 + end - font.as_scaled(scale).h_advance(glyph);
            let placed = glyph.with_scale_and_position(scale, point(x, baseline as f32));
            let Some(outline) = font.outline_glyph(placed) else { continue };
            let corner = outline.px_bounds().min;
            outline.draw(|dx, dy, coverage| {
                let (dx, dy) = (corner.x as i32 + dx as i32, corner.y as i32 + dy as i32);
                let pixel = if upwards { (origin.0 + dy, origin.1 - dx) } else { (origin.0 + dx, origin.1 + dy) };
                let drawn = self.area.draw_pixel(pixel, &face.colour.mix(f64::from(coverage.min(1.0))));
                if let Err(e) = drawn {
                    outcome = Err(PlotError::Drawing(e.to_string()));
                }
            });
        }
        outcome
    }
}

/// Characters that were to be drawn as pixels and are not in the embedded font.
static LACKING: Mutex<BTreeSet<char>> = Mutex::new(BTreeSet::new());
/// How many of the characters that the font lacks are named.
const MOST_NAMED: usize = 12;

/// Remembers the characters of a text that a font has no picture of, those that nobody sees left aside.
fn note_lacking(font: &FontRef<'static>, text: &str) {
    let is_seen = |c: &char| {
        !c.is_control() && !c.is_whitespace() && !matches!(c, '\u{200B}'..='\u{200F}' | '\u{FE00}'..='\u{FE0F}')
    };
    let lacks = |c: &char| is_seen(c) && font.glyph_id(*c) == GlyphId(0);
    let mut lacking = LACKING.lock().unwrap_or_else(PoisonError::into_inner);
    // There are some hundred thousand characters; a few thousand tell as much.
    let room = 4096_usize.saturating_sub(lacking.len());
    lacking.extend(text.chars().filter(lacks).take(room));
}

/// Which characters the pictures drawn so far show as empty boxes, in a sentence with what to do about it; `None`: there are none that were not told
/// of before.
#[must_use]
pub fn lacking_characters() -> Option<String> {
    let all = std::mem::take(&mut *LACKING.lock().unwrap_or_else(PoisonError::into_inner));
    lacking_sentence(&all)
}

fn lacking_sentence(all: &BTreeSet<char>) -> Option<String> {
    let named: Vec<String> = all.iter().take(MOST_NAMED).map(|c| format!("{c} (U+{:04X})", u32::from(*c))).collect();
    let more = all.len().saturating_sub(MOST_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let sentence = format!(
        "the font of PNG pictures lacks {}{more}: empty boxes stand in their place; `livectl plot --format svg` leaves them to the viewer's fonts",
        named.join(", ")
    );
    (!all.is_empty()).then_some(sentence)
}

/// The glyphs of a text, each with where the next one begins, in pixels of the sheet.
fn advances<'a>(
    font: &'a FontRef<'static>,
    scale: PxScale,
    text: &'a str,
) -> impl Iterator<Item = (GlyphId, f32)> + 'a {
    let scaled = font.as_scaled(scale);
    text.chars().scan((None, 0.0), move |(before, x), c| {
        let glyph = scaled.glyph_id(c);
        *x += before.map_or(0.0, |before| scaled.kern(before, glyph)) + scaled.h_advance(glyph);
        *before = Some(glyph);
        Some((glyph, *x))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn characters_without_a_picture_are_named_and_many_are_counted() {
        let faces = Faces::embedded().unwrap();
        let lacking = |text: &str| -> BTreeSet<char> {
            text.chars().filter(|c| faces.regular.glyph_id(*c) == GlyphId(0)).collect()
        };
        assert_eq!(lacking_sentence(&lacking("delay µs ≤ Größe Żółw Москва Ελλάδα العربية")), None);
        let told = lacking_sentence(&lacking("延迟 ดี 🚀")).unwrap();
        assert!(
            told.contains("延 (U+5EF6)") && told.contains("ด (U+0E14)") && told.contains("🚀 (U+1F680)"),
            "{told}"
        );
        let many: BTreeSet<char> = ('\u{4E00}'..'\u{4E20}').collect();
        assert!(lacking_sentence(&many).unwrap().contains(" and 20 more: "));
    }
}

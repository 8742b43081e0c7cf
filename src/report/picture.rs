//! Pictures for the page.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;

use super::stored::Stored;
use crate::plot::{self, Family, Format, Picture, Shown, View};

/// A larger SVG goes onto the page as pixels: browsers slow down with tens of thousands of shapes.
const MOST_SVG: usize = 1 << 20;
/// Frames and pings of a run that are not drawn as SVG at all, which would be larger still.
const MOST_POINTS: usize = 20_000;

/// What is shown of a run beside its pictures over time. Its trials do not differ in what a sweep is drawn over.
const COMPARED: [Family; 5] = [Family::Cdf, Family::Box, Family::Parts, Family::Stalls, Family::Sources];

/// A picture as the page has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Figure {
    /// Unique on the page.
    pub(super) id: String,
    title: String,
    caption: String,
    /// An `svg` element, or nothing if it is pixels.
    svg: Option<String>,
    /// A PNG in base64.
    png: Option<String>,
    table: String,
}

/// The pictures of a run, and why others are not there. `room` is what is left of the page; what is used is taken off.
pub(super) fn figures(run: &Stored, id: &str, room: &mut usize) -> (Vec<Figure>, Vec<String>) {
    let points = run.loaded.frames.len() + run.loaded.pings.len();
    let over_time = if points > MOST_POINTS { Format::Png } else { Format::Svg };
    let (mut shown, mut left_out) = drawn(run, &[Family::FrameDelay, Family::Delay], over_time);
    let (compared, too) = drawn(run, &COMPARED, Format::Svg);
    shown.extend(compared);
    left_out.extend(too);
    let (mut figures, mut crowded_out) = (Vec::new(), 0);
    for shown in shown {
        let id = format!("{id}-{}", shown.name);
        let (svg, png) = if !shown.family.compares() && over_time == Format::Png {
            (None, Some(BASE64.encode(&shown.bytes)))
        } else if let Some(svg) = inline(&shown.bytes, &id).filter(|svg| svg.len() <= MOST_SVG) {
            (Some(svg), None)
        } else {
            let (pixels, _) = drawn(run, &[shown.family], Format::Png);
            (None, pixels.first().map(|pixels| BASE64.encode(&pixels.bytes)))
        };
        let table = shown.table.text();
        let bytes = svg.as_ref().or(png.as_ref()).map_or(0, String::len) + table.len();
        if bytes > *room {
            crowded_out += 1;
            continue;
        }
        *room -= bytes;
        figures.push(Figure { id, title: shown.title, caption: shown.caption, svg, png, table });
    }
    if crowded_out > 0 {
        let folder = run.dir.path().display();
        left_out.push(format!(
            "{crowded_out} more pictures have no room on this page; `livectl report {folder}` writes one of this run alone"
        ));
    }
    (figures, left_out)
}

/// Pictures of a run, and why others are not there.
fn drawn(run: &Stored, families: &[Family], format: Format) -> (Vec<Shown>, Vec<String>) {
    let picture = Picture { format, ..Picture::default() };
    match plot::gallery(std::slice::from_ref(&run.loaded), families, &View::default(), &picture) {
        Ok(gallery) => (gallery.shown, gallery.left_out.iter().map(|left_out| left_out.why.to_string()).collect()),
        Err(error) => (Vec::new(), vec![error.to_string()]),
    }
}

/// An SVG file as an element of an HTML page: without a size of its own and without what says nothing. `None` if it has no view box.
fn inline(svg: &[u8], labelled_by: &str) -> Option<String> {
    let svg = std::str::from_utf8(svg).ok()?;
    let (head, shapes) = svg.get(svg.find("<svg")?..)?.split_once('>')?;
    let view = head.split_once("viewBox=\"")?.1.split_once('"')?.0;
    if !view.chars().all(|c| c.is_ascii_digit() || matches!(c, ' ' | '.' | '-')) {
        return None;
    }
    // Text cannot hold these: its quotes are escaped.
    let shapes = shapes
        .replace(" opacity=\"1\"", "")
        .replace(" stroke=\"none\" stroke-width=\"1\"", "")
        .replace(" stroke=\"none\"", "");
    Some(format!("<svg viewBox=\"{view}\" role=\"img\" aria-labelledby=\"{labelled_by}-title\">{shapes}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_svg_becomes_an_element_without_defaults() {
        let file = b"<?xml version=\"1.0\"?>\n<svg width=\"16\" height=\"9\" viewBox=\"0 0 128 72\" xmlns=\"http://www.w3.org/2000/svg\">\
            <circle cx=\"1\" opacity=\"1\" stroke=\"none\" stroke-width=\"1\"/><text opacity=\"0.5\">a opacity=&quot;1&quot;</text></svg>";
        assert_eq!(
            inline(file, "p").unwrap(),
            "<svg viewBox=\"0 0 128 72\" role=\"img\" aria-labelledby=\"p-title\"><circle cx=\"1\"/>\
             <text opacity=\"0.5\">a opacity=&quot;1&quot;</text></svg>"
        );
        assert_eq!(inline(b"<svg viewBox=\"0 0 1 1&quot;\">", "p"), None);
        assert_eq!(inline(b"no picture", "p"), None);
    }
}

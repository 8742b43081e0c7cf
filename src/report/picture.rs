//! Pictures for the page.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;

use super::stored::Stored;
use crate::file;
use crate::plot::{self, Family, Format, Key, Loaded, Picture, Shown, View};
use crate::table::Effects;

/// A larger SVG goes onto the page as pixels: browsers slow down with tens of thousands of shapes.
const MOST_SVG: usize = 1 << 20;
/// What a PNG begins with.
const PNG: &[u8] = b"\x89PNG";
/// Bytes of a picture of a film that the page takes.
const MOST_STILL: usize = 2 << 20;
/// Frames and pings of a run that are not drawn as SVG at all, which would be larger still.
const MOST_POINTS: usize = 20_000;

/// What is shown of a run beside its pictures over time. Its trials do not differ in what a sweep is drawn over.
const COMPARED: [Family; 5] = [Family::Cdf, Family::Box, Family::Parts, Family::Stalls, Family::Sources];
/// What is shown too of runs with several viewers.
const OF_AUDIENCE: [Family; 2] = [Family::Audience, Family::Offload];
/// Of their first repetition, where peers serve.
const OF_TRIALS: [Family; 2] = [Family::Tree, Family::Servers];

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
    /// Of that, in pixels.
    width: u32,
    /// See `width`.
    height: u32,
    table: String,
}

/// The pictures of a run, and why others are not there. `room` is what is left of the page; what is used is taken
/// off.
pub(super) fn figures(run: &Stored, id: &str, effects: &Effects, room: &mut usize) -> (Vec<Figure>, Vec<String>) {
    let points = run.loaded.frames.len() + run.loaded.pings.len();
    let over_time = if points > MOST_POINTS { Format::Png } else { Format::Svg };
    let runs = std::slice::from_ref(&run.loaded);
    let (mut shown, mut left_out) = of_parameters(runs, effects);
    let (of_frames, too) = drawn(runs, &[Family::FrameDelay, Family::Delay], over_time);
    shown.extend(of_frames);
    left_out.extend(too);
    let (compared, too) = drawn(runs, &COMPARED, Format::Svg);
    shown.extend(compared);
    left_out.extend(too);
    let audiences = || run.loaded.audience.iter().filter(|row| row.viewers > 1);
    if audiences().next().is_some() {
        let (compared, too) = drawn(runs, &OF_AUDIENCE, Format::Svg);
        shown.extend(compared);
        left_out.extend(too);
    }
    if audiences().any(|row| row.point.scheme.has_peers()) {
        let (trials, too) = drawn(runs, &OF_TRIALS, Format::Svg);
        shown.extend(trials);
        left_out.extend(too);
    }
    let (mut figures, mut crowded_out) = films(run, id, room);
    for shown in shown {
        match figure(runs, id, shown, room) {
            Some(figure) => figures.push(figure),
            None => crowded_out += 1,
        }
    }
    if crowded_out > 0 {
        let folder = crate::shell_word::path(run.dir.path());
        left_out.push(format!(
            "{crowded_out} more pictures have no room on this page; `livectl report {folder}` writes one of this run alone"
        ));
    }
    (figures, left_out)
}

/// What was filmed of screens: a picture of the first repetition of each scheme at each point. How many have no room.
fn films(run: &Stored, id: &str, room: &mut usize) -> (Vec<Figure>, usize) {
    let (mut figures, mut crowded_out) = (Vec::new(), 0);
    for record in run.loaded.manifest.trials.iter().filter(|record| record.point.repetition == 1) {
        let folder = run.dir.trial(&record.id);
        let Ok(bytes) = file::read(&folder.still()) else { continue };
        let Some((width, height)) = pixels(&bytes).filter(|_| bytes.len() <= MOST_STILL) else { continue };
        let png = BASE64.encode(&bytes);
        let Some(left) = room.checked_sub(png.len()) else {
            crowded_out += 1;
            continue;
        };
        *room = left;
        let name = folder.film().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let caption = format!(
            "At one moment: the clock in each picture says when it was taken, in UTC. The film is {}/{name}.",
            record.id
        );
        figures.push(Figure {
            id: format!("{id}-film-{}", record.id),
            title: format!("{}: the screens", record.id),
            caption,
            svg: None,
            png: Some(png),
            width,
            height,
            table: String::new(),
        });
    }
    (figures, crowded_out)
}

/// Width and height of a PNG, which begins with them (PNG specification, 11.2.2); `None`: the bytes are no PNG.
fn pixels(png: &[u8]) -> Option<(u32, u32)> {
    let number = |from: usize| png.get(from..from + 4)?.try_into().ok().map(u32::from_be_bytes);
    png.starts_with(PNG).then(|| number(16).zip(number(20))).flatten()
}

/// What the parameters do that do most: the excess over the first, and over the first two.
fn of_parameters(runs: &[Loaded], effects: &Effects) -> (Vec<Shown>, Vec<String>) {
    let mut keys = effects.largest().into_iter().map(Key::from);
    let view = View { x: keys.next(), y: keys.next(), include_unfit: effects.unfit, ..View::default() };
    let metric = Some("excess_p95_ms".to_owned());
    match (&view.x, &view.y) {
        (None, _) => (Vec::new(), Vec::new()),
        (Some(_), None) => viewed(runs, &[Family::Sweep], &View { metric, ..view }, Format::Svg),
        (Some(_), Some(_)) => {
            let over_one = View { y: None, metric: metric.clone(), by: vec![Key::from("scheme")], ..view.clone() };
            let (mut shown, mut left_out) = viewed(runs, &[Family::Heat], &View { metric, ..view }, Format::Svg);
            let (line, too) = viewed(runs, &[Family::Sweep], &over_one, Format::Svg);
            shown.extend(line);
            left_out.extend(too);
            (shown, left_out)
        }
    }
}

/// Pictures of the audiences of several runs, if these differ in size.
pub(super) fn of_audiences(mut runs: Vec<Loaded>, room: &mut usize) -> (Vec<Figure>, Vec<String>) {
    let mut told = plot::count_once(&mut runs);
    let sizes: BTreeSet<u32> = runs.iter().flat_map(|run| run.audience.iter().map(|row| row.viewers)).collect();
    if sizes.len() < 2 {
        return (Vec::new(), Vec::new());
    }
    let (shown, left_out) = drawn(&runs, &OF_AUDIENCE, Format::Svg);
    told.extend(left_out);
    (shown.into_iter().filter_map(|shown| figure(&runs, "all", shown, room)).collect(), told)
}

/// A picture as the page has it; `None`: there is no room for it.
fn figure(runs: &[Loaded], id: &str, shown: Shown, room: &mut usize) -> Option<Figure> {
    let id = format!("{id}-{}", shown.name);
    let (svg, png) = if shown.bytes.starts_with(PNG) {
        (None, Some(BASE64.encode(&shown.bytes)))
    } else if let Some(svg) = inline(&shown.bytes, &id).filter(|svg| svg.len() <= MOST_SVG) {
        (Some(svg), None)
    } else {
        let (pixels, _) = drawn(runs, &[shown.family], Format::Png);
        let same = pixels.iter().find(|pixels| pixels.name == shown.name);
        (None, same.map(|pixels| BASE64.encode(&pixels.bytes)))
    };
    let table = shown.table.text();
    let bytes = svg.as_ref().or(png.as_ref()).map_or(0, String::len) + table.len();
    *room = room.checked_sub(bytes)?;
    let (width, height) = Picture::default().size;
    Some(Figure { id, title: shown.title, caption: shown.caption, svg, png, width, height, table })
}

/// Pictures of runs, and why others are not there. Pictures of trials are of the first repetition: each would else
/// have many of the same kind.
fn drawn(runs: &[Loaded], families: &[Family], format: Format) -> (Vec<Shown>, Vec<String>) {
    let first = families.iter().all(|family| family.of_trials()).then(|| "repetition=1".parse().ok()).flatten();
    let view = View { only: first.into_iter().collect(), ..View::default() };
    viewed(runs, families, &view, format)
}

fn viewed(runs: &[Loaded], families: &[Family], view: &View, format: Format) -> (Vec<Shown>, Vec<String>) {
    let picture = Picture { format, ..Picture::default() };
    match plot::gallery(runs, families, view, &picture) {
        Ok(gallery) => (gallery.shown, gallery.left_out.iter().map(|left_out| left_out.why.to_string()).collect()),
        Err(error) => (Vec::new(), vec![error.to_string()]),
    }
}

/// An SVG file as an element of an HTML page: without a size of its own and without what says nothing. `None` if it
/// has no view box.
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

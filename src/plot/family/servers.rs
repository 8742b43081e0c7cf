//! Who served whom over time: a row for each viewer, coloured by the host that its frames came from.

use std::collections::BTreeMap;

use plotters::style::RGBColor;

use super::{Family, Plate, count, empty};
use crate::plan::Trial;
use crate::plan::natural;
use crate::plot::chart::{BLACK, Chart, Entry, Piece, Swatch};
use crate::plot::happening;
use crate::plot::key::Asked;
use crate::plot::loaded::Loaded;
use crate::plot::pictures::Subject;
use crate::plot::selection::{BLUE, VERMILLION};
use crate::plot::{PlotError, View};
use crate::table::{Figures, FrameRow};

/// More viewers than these are not drawn: they could not be read.
const MOST_ROWS: usize = 64;
/// More servers than these are in the rows alone.
const MOST_ENTRIES: usize = 14;
/// Viewers that serve, in the order of their names; they come round. Apart from the CDN's vermillion and the
/// broadcaster's blue.
const VIEWERS: [RGBColor; 10] = [
    RGBColor(0, 158, 115),
    RGBColor(230, 159, 0),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(240, 228, 66),
    RGBColor(140, 110, 190),
    RGBColor(150, 200, 90),
    RGBColor(160, 110, 70),
    RGBColor(250, 175, 150),
    RGBColor(120, 140, 150),
];

/// A viewer of a stream in a trial, with its frames in the order of their births.
pub(super) struct Seen<'r> {
    pub(super) stream: &'r str,
    pub(super) viewer: &'r str,
    pub(super) frames: Vec<&'r FrameRow>,
}

/// The viewers of a trial that the view means, by stream, in the order of their names.
pub(super) fn seen<'r>(run: &'r Loaded, trial: &'r Trial, view: &View) -> Vec<Seen<'r>> {
    let mut all = Vec::new();
    for stream in &trial.streams {
        let asked = |viewer: &'r str| Asked { run, trial, stream: &stream.name, viewer };
        let mut viewers: Vec<&str> = stream
            .viewers
            .iter()
            .map(String::as_str)
            .filter(|viewer| view.only.iter().all(|condition| condition.holds(asked(viewer))))
            .collect();
        viewers.sort_by(|a, b| natural(a, b));
        all.extend(viewers.into_iter().map(|viewer| Seen { stream: &stream.name, viewer, frames: Vec::new() }));
    }
    let places: BTreeMap<(&str, &str), usize> =
        all.iter().enumerate().map(|(place, seen)| ((seen.stream, seen.viewer), place)).collect();
    for frame in run.frames.iter().filter(|frame| frame.trial == trial.id) {
        if let Some(seen) = places.get(&(&*frame.stream, &*frame.viewer)).and_then(|place| all.get_mut(*place)) {
            seen.frames.push(frame);
        }
    }
    all.iter_mut().for_each(|seen| seen.frames.sort_by_key(|frame| frame.index));
    all
}

/// A viewer's name, with its stream's where there are several.
pub(super) fn name_of(trial: &Trial, seen: &Seen<'_>) -> String {
    if trial.streams.len() > 1 { format!("{} ({})", seen.viewer, seen.stream) } else { seen.viewer.to_owned() }
}

/// Why there is no picture of who served whom.
pub(super) fn unknown(trial: &Trial) -> String {
    format!("the source of no frame of {} is known", trial.id)
}

/// Title and words around a picture of one trial.
pub(super) fn around(run: &Loaded, trial: &Trial, title: &str) -> Chart {
    let subject = Subject::of_trials(&run.manifest, |id| id == trial.id);
    Chart {
        title: format!("{}, {}: {title}", subject.recipe, trial.id),
        subtitle: subject.origin,
        warnings: subject.warnings,
        happenings: subject.happenings,
        ..Chart::default()
    }
}

/// Frames that follow each other and came from the same host.
#[derive(Debug, Clone, PartialEq)]
struct Stretch<'r> {
    /// Name of the host; `None`: the frames never arrived.
    server: Option<&'r str>,
    from_s: f64,
    until_s: f64,
    frames: usize,
}

/// A viewer's frames in stretches. Each frame lasts until the next is born, the last one as long as the one before
/// it.
fn stretches<'r>(frames: &[&'r FrameRow], least_s: f64) -> Vec<Stretch<'r>> {
    let mut stretches: Vec<Stretch<'r>> = Vec::new();
    for (place, frame) in frames.iter().enumerate() {
        let server = frame.arrival_ns.map(|_| frame.server.as_deref().unwrap_or("?"));
        let until_s = match (frames.get(place + 1), place.checked_sub(1).and_then(|before| frames.get(before))) {
            (Some(next), _) => next.time_s,
            (None, Some(before)) => 2.0 * frame.time_s - before.time_s,
            (None, None) => frame.time_s + least_s,
        };
        match stretches.last_mut().filter(|last| last.server == server) {
            Some(last) => {
                last.until_s = until_s;
                last.frames += 1;
            }
            None => stretches.push(Stretch { server, from_s: frame.time_s, until_s, frames: 1 }),
        }
    }
    stretches
}

pub(in crate::plot) fn plate(run: &Loaded, trial: &Trial, view: &View) -> Result<Plate, PlotError> {
    let mut all = seen(run, trial, view);
    if all.iter().all(|seen| seen.frames.iter().all(|frame| frame.server.is_none())) {
        return Err(empty(Family::Servers, unknown(trial)));
    }
    let audience = all.len();
    all.truncate(MOST_ROWS);
    let frame_s = 1.0 / f64::from(trial.video.fps.max(1));
    let rows: Vec<(&Seen<'_>, Vec<Stretch<'_>>)> =
        all.iter().map(|seen| (seen, stretches(&seen.frames, frame_s))).collect();
    let cdn = trial.network.cdn().map(|host| host.name.as_str());
    let colours = colours(trial, cdn, &rows);
    let colour = |server: Option<&str>| server.map_or(BLACK, |server| colours.get(server).copied().unwrap_or(BLACK));
    let mut chart = around(run, trial, "who served whom");
    chart.x_label = "birth of the frame (s)".to_owned();
    chart.rows = all.iter().map(|seen| name_of(trial, seen)).collect();
    for (row, (_, stretches)) in rows.iter().enumerate() {
        let span = |stretch: &Stretch<'_>| Piece::Span {
            row,
            from: stretch.from_s,
            to: stretch.until_s,
            colour: colour(stretch.server),
            label: stretch.server.unwrap_or_default().to_owned(),
        };
        // What is missing lies over what is there: a single frame would be covered.
        let (missing, there): (Vec<_>, Vec<_>) = stretches.iter().partition(|stretch| stretch.server.is_none());
        chart.pieces.extend(there.into_iter().chain(missing).map(span));
    }
    chart.legend = legend(trial, cdn, &colours, &rows);
    chart.legend.extend(happening::legend(&chart.happenings));
    let mut caption = "Who served whom: for each viewer the host that its frames came from, over their births. Where the name changes the viewer got another \
                       parent; what is black never arrived."
        .to_owned();
    if audience > MOST_ROWS {
        caption += &format!(" The first {MOST_ROWS} of {audience} viewers; --where viewer=NAME,NAME shows others.");
        chart.subtitle += &format!(" · the first {MOST_ROWS} of {audience} viewers");
    }
    Ok(Plate { chart, caption, table: summary(trial, &rows), points: Some(points(trial, &rows)) })
}

type Rows<'r, 's> = [(&'s Seen<'r>, Vec<Stretch<'r>>)];

/// Those who serve viewers, each with a colour.
fn colours<'r>(trial: &Trial, cdn: Option<&'r str>, rows: &Rows<'r, '_>) -> BTreeMap<&'r str, RGBColor> {
    let mut servers: Vec<&'r str> =
        rows.iter().flat_map(|(_, stretches)| stretches.iter().filter_map(|stretch| stretch.server)).collect();
    servers.sort_by(|a, b| natural(a, b));
    servers.dedup();
    let is_broadcaster = |name: &str| trial.streams.iter().any(|stream| stream.broadcaster == name);
    let mut next = VIEWERS.iter().cycle();
    let colour = |name: &'r str| {
        let colour = match name {
            _ if Some(name) == cdn => VERMILLION,
            _ if is_broadcaster(name) => BLUE,
            _ => next.next().copied().unwrap_or(BLACK),
        };
        (name, colour)
    };
    servers.into_iter().map(colour).collect()
}

fn legend(trial: &Trial, cdn: Option<&str>, colours: &BTreeMap<&str, RGBColor>, rows: &Rows<'_, '_>) -> Vec<Entry> {
    let mut servers: Vec<(&str, RGBColor)> = colours.iter().map(|(name, colour)| (*name, *colour)).collect();
    // CDN and broadcasters first, then viewers.
    let is_broadcaster = |name: &str| trial.streams.iter().any(|stream| stream.broadcaster == name);
    let rank = |name: &str| if Some(name) == cdn { 0 } else { 2 - u8::from(is_broadcaster(name)) };
    servers.sort_by(|(a, _), (b, _)| rank(a).cmp(&rank(b)).then_with(|| natural(a, b)));
    let named = |name: &str| match rank(name) {
        0 => format!("{name} (CDN)"),
        1 => format!("{name} (broadcaster)"),
        _ => name.to_owned(),
    };
    let more = servers.len().saturating_sub(MOST_ENTRIES);
    let block = |colour, label| Entry { swatch: Swatch::Block(colour), label };
    let mut legend: Vec<Entry> =
        servers.into_iter().take(MOST_ENTRIES).map(|(name, colour)| block(colour, named(name))).collect();
    if rows.iter().any(|(_, stretches)| stretches.iter().any(|stretch| stretch.server.is_none())) {
        legend.push(block(BLACK, "never arrived".to_owned()));
    }
    if more > 0
        && let Some(last) = legend.get_mut(MOST_ENTRIES - 1)
    {
        last.label += &format!(", and {more} more viewers");
    }
    legend
}

/// For each viewer: how often its source changed, what is missing, how many frames came from whom.
fn summary(trial: &Trial, rows: &Rows<'_, '_>) -> Figures {
    let served = |stretches: &[Stretch<'_>]| {
        let mut frames: BTreeMap<String, usize> = BTreeMap::new();
        for stretch in stretches {
            if let Some(server) = stretch.server {
                *frames.entry(server.to_owned()).or_default() += stretch.frames;
            }
        }
        let mut frames: Vec<(String, usize)> = frames.into_iter().collect();
        frames.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        frames
    };
    let changes = |stretches: &[Stretch<'_>]| {
        let servers: Vec<&str> = stretches.iter().filter_map(|stretch| stretch.server).collect();
        servers.windows(2).filter(|pair| pair[0] != pair[1]).count()
    };
    let missing = |stretches: &[Stretch<'_>]| {
        stretches.iter().filter(|stretch| stretch.server.is_none()).map(|stretch| stretch.frames).sum::<usize>()
    };
    let by = |stretches: &[Stretch<'_>]| {
        let all = served(stretches).into_iter().map(|(server, frames)| format!("{server} {frames}"));
        all.collect::<Vec<_>>().join(", ")
    };
    Figures::default()
        .texts("trial", rows.iter().map(|_| trial.id.clone()))
        .texts("stream", rows.iter().map(|(seen, _)| seen.stream.to_owned()))
        .texts("viewer", rows.iter().map(|(seen, _)| seen.viewer.to_owned()))
        .counts("changes", rows.iter().map(|(_, stretches)| count(changes(stretches))))
        .counts("missing", rows.iter().map(|(_, stretches)| count(missing(stretches))))
        .texts("frames_by_server", rows.iter().map(|(_, stretches)| by(stretches)))
}

/// A row for each stretch.
fn points(trial: &Trial, rows: &Rows<'_, '_>) -> Figures {
    let all = || rows.iter().flat_map(|(seen, stretches)| stretches.iter().map(move |stretch| (*seen, stretch)));
    Figures::default()
        .texts("trial", all().map(|_| trial.id.clone()))
        .texts("stream", all().map(|(seen, _)| seen.stream.to_owned()))
        .texts("viewer", all().map(|(seen, _)| seen.viewer.to_owned()))
        .texts("server", all().map(|(_, stretch)| stretch.server.map(str::to_owned)))
        .numbers("from_s", all().map(|(_, stretch)| stretch.from_s))
        .numbers("until_s", all().map(|(_, stretch)| stretch.until_s))
        .counts("frames", all().map(|(_, stretch)| count(stretch.frames)))
}

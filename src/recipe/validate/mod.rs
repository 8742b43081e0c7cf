//! From the recipe as written to the plan that it means.
//!
//! Every function here reads what it can, notes what is wrong and goes on, so that all mistakes of a recipe are
//! reported together. A check that needs several values is left out when one of them is wrong already.

mod agents;
mod audience;
mod changes;
mod hosts;
mod load;
mod paths;
mod points;
mod program;
mod segments;
mod topology;
mod until;
mod video;
mod when;

use std::path::Path;

use super::file::RecipeFile;
use super::matrix::Matrix;
use super::problem::Finding;
use super::spelling::{self, Strange};
use super::text::{At, Optional, Span, Text};
use super::unit::Value;
use super::word::{NodeName, shown};
use super::{LookAtVideo, VideoKey};
use crate::absolute_path;
use crate::plan::{
    Agents, Audience, CapturePoint, Cdn, Datapath, Engine, LinkKind, MOST_TRIAL_HOSTS, Network, Parameters,
    PingTrain, Plan, Point, Role, Scheme, Stream, Trial, Until, VideoSource,
};
pub(super) use changes::Reader;

/// What validation found out so far.
pub(super) struct Notes<'s> {
    source: &'s str,
    /// What makes the recipe unusable.
    pub errors: Vec<Finding>,
    /// What may not be meant.
    pub warnings: Vec<Finding>,
}

impl<'s> Notes<'s> {
    pub(super) fn new(source: &'s str) -> Self {
        Notes { source, errors: Vec::new(), warnings: Vec::new() }
    }

    fn error(&mut self, finding: Finding) {
        self.errors.push(finding);
    }

    fn warn(&mut self, finding: Finding) {
        self.warnings.push(finding);
    }

    /// Reads one value; what is wrong with it is noted under its key.
    pub(super) fn read<T: Value>(&mut self, key: &str, text: &Text<T>) -> Option<T> {
        let quoted = self.source.get(text.span.clone()).is_some_and(|written| written.starts_with(['"', '\'']));
        if quoted && T::PLAIN && T::parse(&text.text).is_ok() {
            let finding = Finding::new(&text.span, format!("{key}: {} is in quotes", shown(&text.text)), "quoted");
            self.error(finding.help(format!("quotes make it text; write {} without them", shown(&text.text))));
            return None;
        }
        if T::NAME && !quoted && spelling::is_truth(&text.text) {
            let finding = Finding::new(
                &text.span,
                format!("{key}: {} is a truth value in YAML", shown(&text.text)),
                "not a name",
            );
            self.error(finding.help(format!("put it in quotes if it is a name: `\"{}\"`", text.text)));
            return None;
        }
        match T::parse(&text.text) {
            Ok(value) => Some(value),
            Err(misread) => {
                if !T::FREE
                    && let Some(strange) = spelling::strange(&text.text)
                {
                    self.error(self.misspelt(key, text, strange));
                    return None;
                }
                let message = format!("{key}: {}", misread.message);
                let mut finding = Finding::new(&text.span, message, misread.label);
                finding.help = misread.help;
                self.error(finding);
                None
            }
        }
    }

    /// A value with a character in it that is not what it seems.
    fn misspelt<T>(&self, key: &str, text: &Text<T>, strange: Strange) -> Finding {
        let message = format!("{key}: {} holds {}", shown(&text.text), strange.name());
        let is_as_written = self.source.get(text.span.clone()) == Some(text.text.as_str());
        let at = text.span.start + strange.at;
        let character = at..at + strange.character.len_utf8();
        let span = if is_as_written { &character } else { &text.span };
        Finding::new(span, message, "this character").help(strange.help())
    }

    /// Reads a value that may be absent. `None`: it is wrong.
    fn read_or<T: Value>(&mut self, key: &str, text: &Optional<Text<T>>, default: T) -> Option<T> {
        match text.get() {
            Some(text) => self.read(key, text),
            None => Some(default),
        }
    }

    /// Reads a list whose items must differ. `None`: something in it is wrong.
    fn read_list<T: Value>(&mut self, key: &str, list: &[Text<T>]) -> Option<Vec<T>> {
        let before = self.errors.len();
        let mut values = Vec::with_capacity(list.len());
        for (n, item) in list.iter().enumerate() {
            if let Some(first) = list[..n].iter().find(|earlier| earlier.text == item.text) {
                let finding =
                    Finding::new(&item.span, format!("{key}: {} is listed twice", shown(&item.text)), "again");
                self.error(finding.also(&first.span, "first").help("keep one of them"));
                continue;
            }
            values.extend(self.read(key, item));
        }
        (self.errors.len() == before).then_some(values)
    }
}

/// What every trial of a point has in common.
struct Common {
    parameters: Parameters,
    engine: Engine,
    schemes: Vec<Scheme>,
    network: Network,
    streams: Vec<Stream>,
    video: crate::plan::Video,
    timeline: crate::plan::Timeline,
    link_changes: Vec<crate::plan::LinkChange>,
    audience: Audience,
    /// How often viewers come again in a trial, about.
    returns: usize,
    agents: Agents,
    pings: Vec<PingTrain>,
    captures: Vec<CapturePoint>,
    film: Vec<String>,
    links: LinkKind,
    datapath: Datapath,
    congestion_control: String,
    initial_window: u32,
    cdn: Cdn,
}

/// The files beside a recipe.
pub(super) struct Files<'a> {
    /// The folder that they are relative to.
    pub base: &'a Path,
    /// Looks at video files.
    pub look: &'a LookAtVideo<'a>,
    /// Reads those that matter to the plan.
    pub reader: Reader<'a>,
}

/// Turns a recipe into a plan called `name`, and says until what is known its trials are repeated. `None`: see `notes.errors`.
pub(super) fn plan(
    file: &RecipeFile,
    name: &str,
    files: &Files<'_>,
    notes: &mut Notes<'_>,
) -> Option<(Plan, Option<Until>)> {
    let description = file.description.get().and_then(|text| notes.read("description", text));
    let schemes = validate_schemes(file.schemes.get(), notes);
    let repetitions = until::validate_repetitions(file, notes);
    let seed = notes.read_or("seed", &file.seed, super::unit::Whole(1));
    let matrix = Matrix::read(file, schemes.as_deref().unwrap_or(Scheme::USUAL), notes);
    let Some(matrix) = matrix else {
        // What else is wrong is told as well.
        validate_common(file, files, schemes.as_deref(), notes);
        return None;
    };
    let commons = points::validate_points(file, &matrix, files, schemes.is_some(), notes);

    let ((repetitions, until), seed, commons) = (repetitions?, seed?.0, commons?);
    if !notes.errors.is_empty() {
        return None;
    }
    let tried: u64 = commons.iter().map(|common| (common.schemes.len() * common.hosts()) as u64).sum();
    if repetitions.saturating_mul(tried) > MOST_TRIAL_HOSTS {
        too_many(file, repetitions, &commons, notes);
        return None;
    }
    // One repetition of everything after the other, so that a slow drift of the machine meets all schemes and points alike.
    let trials = (1..=repetitions)
        .flat_map(|repetition| commons.iter().map(move |common| (repetition, common)))
        .flat_map(|(repetition, common)| common.schemes.iter().map(move |scheme| (repetition, common, *scheme)))
        .map(|(repetition, common, scheme)| {
            let point = Point::new(scheme, repetition as u32);
            common.trial(Point { parameters: common.parameters.clone(), ..point }, seed)
        })
        .collect();
    let description = description.map(|prose| prose.0).unwrap_or_default();
    Some((Plan { recipe: name.to_owned(), description, seed, trials }, until))
}

/// More trials than a plan lists.
fn too_many(file: &RecipeFile, repetitions: u64, commons: &[Common], notes: &mut Notes<'_>) {
    let span = file.repetitions.get().map_or(0..0, |text| text.span.clone());
    let hosts = commons.first().map_or(0, Common::hosts);
    let returns = commons.first().map_or(0, |common| common.returns);
    let (message, help) = match (commons.len(), returns) {
        (1, 0) => (
            format!("repetitions: {repetitions} are too many for {hosts} hosts"),
            "repeat less often, or make two recipes of it",
        ),
        (1, returns) => (
            format!(
                "repetitions: {repetitions} are too many for {hosts} hosts, of which {returns} are viewers that come again"
            ),
            "repeat less often, or make two recipes of it",
        ),
        (points, _) => (
            format!("repetitions: {repetitions} are too many for {points} points of some {hosts} hosts"),
            "repeat less often, vary less at once, or make two recipes of it",
        ),
    };
    notes.error(Finding::new(&span, message, "too many").help(help));
}

/// What is wrong with the recipe of one point is noted as if it were the recipe itself.
fn validate_common(
    file: &RecipeFile,
    files: &Files<'_>,
    schemes: Option<&[Scheme]>,
    notes: &mut Notes<'_>,
) -> Option<Common> {
    let (base, reader) = (files.base, files.reader);
    let timeline_file = file.timeline.get();
    let broadcast = timeline_file.and_then(|t| t.broadcast.get());
    let video = video::validate_video(file.video.get(), broadcast, base, notes);
    let timeline = when::validate_timeline(timeline_file, video.as_ref(), file.video.get(), notes);

    let agents = agents::validate_agents(file.agents.get(), notes);

    let engine = notes.read_or("engine", &file.engine, Engine::default());
    let links = notes.read_or("link", &file.network.link, LinkKind::default());
    let datapath = notes.read_or("datapath", &file.network.datapath, Datapath::default());
    let default = super::word::CongestionControl("cubic");
    let congestion_control = notes.read_or("congestion_control", &file.network.congestion_control, default);
    let cdn = segments::validate_cdn(file.cdn.get(), notes);
    let initial_window = notes.read_or("initial_window", &file.network.initial_window, super::unit::Whole(10));
    let before = notes.errors.len();
    let fabric = topology::validate_fabric(&file.network, notes);
    let hosts = hosts::validate_hosts(&file.network, &fabric, base, notes)?;
    if notes.errors.len() > before {
        return None;
    }
    let topology = topology::build(&file.network, &fabric, &hosts, notes)?;
    let streams = hosts::validate_streams(&hosts, &topology.network, notes);
    let captures = validate_captures(file.captures.get(), &hosts, &topology.network, notes);
    let film = validate_film(file.film.get(), &topology.network, notes);
    let changes = timeline.as_ref().and_then(|when| {
        changes::validate_changes(timeline_file, &topology.network, &when.timeline, (base, reader), notes)
    });
    let (video, timeline, streams, captures) = (video?, timeline?, streams?, captures?);
    let places: Vec<_> = hosts.iter().filter_map(|host| Some((host.name.as_str(), host.program_span?))).collect();
    program::check_video(&streams, &places, &video, file.video.get(), notes);

    let viewers = streams.iter().map(|stream| stream.viewers.len()).sum();
    let before = notes.errors.len();
    timeline.check_last_view(timeline_file, viewers, &video, notes);
    if notes.errors.len() > before {
        return None;
    }
    let (audience, returns) = audience::validate_audience(
        timeline_file,
        &audience::Known {
            network: &topology.network,
            streams: &streams,
            video: &video,
            timeline: &timeline.timeline,
        },
        notes,
    )?;
    topology::warn_of_queues(&topology, notes);
    paths::check_paths(&topology, &streams, &timeline.timeline, engine.unwrap_or_default(), notes);
    let (schemes, changes) = (schemes?, changes?);
    let load = load::Load::of(&topology.network, &streams, &video, schemes);
    let cdn = cdn?;
    segments::check_segments(file, (schemes, &video, cdn), &hosts, notes);
    load::warn_of_load(&topology, &hosts, &streams, &load, schemes, notes);
    changes.warn_of_load(&topology, &load, notes);
    let pings = timeline.ping_trains(&topology.network, &streams);
    if notes.errors.is_empty() {
        look_at_video(file, (&video, &streams), files, notes);
    }
    Some(Common {
        parameters: Parameters::default(),
        engine: engine?,
        schemes: schemes.to_vec(),
        network: topology.network,
        streams,
        video,
        timeline: timeline.timeline,
        link_changes: changes.changes,
        audience,
        returns,
        agents: agents?,
        pings,
        captures,
        film: film?,
        links: links?,
        datapath: datapath?,
        congestion_control: congestion_control?.0.to_owned(),
        initial_window: initial_window?.0 as u32,
        cdn,
    })
}

/// A video file that is not there, or does not hold what is asked of it.
fn look_at_video(
    file: &RecipeFile,
    (video, streams): (&crate::plan::Video, &[Stream]),
    files: &Files<'_>,
    notes: &mut Notes<'_>,
) {
    let Some(section) = file.video.get() else { return };
    let (Some(written), VideoSource::File { .. }) = (section.file.get(), &video.source) else {
        let size = section.size.get().map(|text| ("size", &text.span));
        let place = size.or(section.fps.get().map(|text| ("fps", &text.span)));
        // By themselves test pictures are small and few.
        if let (Some((key, span)), Ok(Some(doubt))) = (place, (files.look)(video, streams)) {
            notes.warn(Finding::new(span, format!("{key}: the test video {doubt}"), "very much"));
        }
        return;
    };
    match (files.look)(video, streams) {
        Ok(None) => {}
        Ok(Some(doubt)) => {
            let message = format!("file: {} {doubt}", shown(&written.text));
            notes.warn(Finding::new(&written.span, message, "this file"));
        }
        Err(fault) => {
            let (key, span) = match fault.key {
                VideoKey::File => ("file", None),
                VideoKey::Audio => ("audio", section.audio.get().map(|text| &text.span)),
                VideoKey::Frames => ("frames", section.frames.get().map(|text| &text.span)),
            };
            let message = format!("{key}: {} {}", shown(&written.text), fault.why);
            let finding = Finding::new(span.unwrap_or(&written.span), message, fault.label);
            let finding = if span.is_some() { finding.also(&written.span, "the file") } else { finding };
            let folder = if files.base.as_os_str().is_empty() { Path::new(".") } else { files.base };
            let help = format!("files are looked for from the recipe's folder, {}", folder.display());
            notes.error(finding.help(fault.help.unwrap_or(help)));
        }
    }
}

impl Common {
    /// Hosts of a trial; whoever comes again is one more.
    fn hosts(&self) -> usize {
        self.network.hosts.len() + self.returns
    }

    /// The trial of a point in a run with that seed.
    fn trial(&self, point: Point, seed: u64) -> Trial {
        Trial {
            id: point.id(),
            seed: point.seed(seed),
            point,
            network: self.network.clone(),
            video: self.video.clone(),
            streams: self.streams.clone(),
            timeline: self.timeline.clone(),
            link_changes: self.link_changes.clone(),
            audience: self.audience.clone(),
            agents: self.agents.clone(),
            pings: self.pings.clone(),
            captures: self.captures.clone(),
            film: self.film.clone(),
            links: self.links,
            datapath: self.datapath,
            congestion_control: self.congestion_control.clone(),
            crowd: None,
            initial_window: self.initial_window,
            cdn: self.cdn,
        }
        .with_audience_drawn()
    }
}

fn validate_schemes(written: Option<&At<Vec<Text<Scheme>>>>, notes: &mut Notes<'_>) -> Option<Vec<Scheme>> {
    let Some(list) = written else { return Some(Scheme::USUAL.to_vec()) };
    if list.value.is_empty() {
        let finding = Finding::new(&list.span, "schemes: the list is empty", "no scheme");
        let all = Scheme::names().join(", ");
        notes.error(finding.help(format!("write `schemes: [{all}]`, or leave the key out")));
        return None;
    }
    notes.read_list("schemes", &list.value)
}

fn validate_captures(
    written: Option<&At<Vec<Text<super::word::CaptureName>>>>,
    hosts: &[hosts::HostDraft<'_>],
    network: &Network,
    notes: &mut Notes<'_>,
) -> Option<Vec<CapturePoint>> {
    let all_of = |host: &crate::plan::Host| {
        let name = host.name.clone();
        host.interfaces
            .iter()
            .map(move |i| CapturePoint { host: name.clone(), interface: i.name.clone() })
            .collect::<Vec<_>>()
    };
    let Some(list) = written else {
        return Some(network.hosts.iter().filter(|host| host.role != Role::Idle).flat_map(all_of).collect());
    };
    let names = notes.read_list("captures", &list.value)?;
    let mut points: Vec<CapturePoint> = Vec::new();
    for (name, text) in names.iter().zip(&list.value) {
        let found: Vec<CapturePoint> = network
            .hosts
            .iter()
            .zip(hosts)
            .flat_map(|(host, draft)| all_of(host).into_iter().map(move |point| (point, draft)))
            .filter(|(point, draft)| [&point.host, &point.interface, &draft.group].contains(&&name.0))
            .map(|(point, _)| point)
            .collect();
        if found.is_empty() {
            notes.error(unknown_node("captures", "host or interface", &text.text, &text.span, capturable(network)));
        }
        points.extend(found.into_iter().filter(|point| !points.contains(point)).collect::<Vec<_>>());
    }
    for (role, why) in [
        (Role::Viewer, "the delay of their frames cannot be measured"),
        (Role::Broadcaster, "what they send cannot be compared with what arrives"),
    ] {
        let of_role = network.hosts.iter().filter(|host| host.role == role).map(|host| host.name.as_str());
        let left_out: Vec<&str> = of_role.filter(|name| !points.iter().any(|point| point.host == *name)).collect();
        if !left_out.is_empty() {
            let message = format!("captures leave out {}: {why}", left_out.join(", "));
            notes.warn(Finding::new(&list.span, message, "not in this list").help("add them"));
        }
    }
    Some(points)
}

/// Who is filmed: viewers with something to be seen on their screens.
fn validate_film(
    written: Option<&At<Vec<Text<super::word::NodeName>>>>,
    network: &Network,
    notes: &mut Notes<'_>,
) -> Option<Vec<String>> {
    /// Beside each other on one picture.
    const MOST: usize = 4;
    let Some(list) = written else { return Some(Vec::new()) };
    let names = notes.read_list("film", &list.value)?;
    let before = notes.errors.len();
    if names.is_empty() || names.len() > MOST {
        let finding = Finding::new(&list.span, format!("film: {} viewers", names.len()), "not so many");
        notes.error(finding.help(format!("write one to {MOST}, or leave the key out")));
    }
    for (name, text) in names.iter().zip(&list.value) {
        let shows = |host: &&crate::plan::Host| host.role == Role::Viewer && host.player.shows();
        match network.host(&name.0) {
            Some(host) if shows(&host) => {}
            Some(_) => {
                let finding =
                    Finding::new(&text.span, format!("film: {} shows nothing", shown(&name.0)), "no screen");
                notes.error(finding.help("give it a `player` that shows the stream, such as mplayer-window"));
            }
            None => {
                let known = network.hosts.iter().filter(shows).map(|host| host.name.as_str()).collect();
                notes.error(unknown_node("film", "host", &text.text, &text.span, known));
            }
        }
    }
    (notes.errors.len() == before).then(|| names.into_iter().map(|name| name.0).collect())
}

fn capturable(network: &Network) -> Vec<&str> {
    let interfaces = network.hosts.iter().flat_map(|host| host.interfaces.iter().map(|i| i.name.as_str()));
    network.hosts.iter().map(|host| host.name.as_str()).chain(interfaces).collect()
}

/// A name that nothing has.
fn unknown_node(key: &str, noun: &str, text: &str, span: &Span, known: Vec<&str>) -> Finding {
    let finding = Finding::new(span, format!("{key}: there is no {noun} {}", shown(text)), "unknown");
    match super::word::nearest(text, &known) {
        Some(meant) => finding.help(format!("did you mean `{meant}`?")),
        None if known.len() <= 12 => finding.help(format!("write {}", super::word::listed(&known))),
        None => finding.help(format!("there are {}, …", known[..12].join(", "))),
    }
}

/// A length of time or a moment beyond its bounds.
fn out_of_bounds(key: &str, text: &str, span: &Span, bounds: &str) -> Finding {
    Finding::new(span, format!("{key}: {} is out of bounds", shown(text)), "out of bounds")
        .help(format!("{key} is {bounds}"))
}

/// Names that are written as keys or in lists, read as node names and checked against the reserved ones.
fn validate_name(key: &str, text: &Text<NodeName>, notes: &mut Notes<'_>) -> Option<NodeName> {
    let name = notes.read(key, text)?;
    if let Some(why) = NodeName::reserved(&name.0) {
        let finding = Finding::new(&text.span, format!("{key}: {} is reserved: {why}", shown(&name.0)), "reserved");
        let free = [format!("{}1", name.0), format!("h{}", name.0)]
            .into_iter()
            .find(|free| NodeName::parse(free).is_ok() && NodeName::reserved(free).is_none());
        notes.error(finding.help(format!("choose another name, such as `{}`", free.as_deref().unwrap_or("h1"))));
        return None;
    }
    Some(name)
}

/// Makes the file that video comes from absolute.
fn absolute(base: &Path, path: &Path) -> VideoSource {
    VideoSource::File { path: absolute_path::of(&base.join(path)) }
}

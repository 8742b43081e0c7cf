//! Links that change.

use std::path::Path;
use std::time::Duration;

use super::super::file::TimelineFile;
use super::super::link_change::LinkChangeFile;
use super::super::link_trace::{self, Traced};
use super::super::problem::Finding;
use super::super::text::{At, Optional, Text};
use super::super::unit::{Bandwidth, Delay, Moment};
use super::super::word::{FilePath, Flag, shown};
use super::load::Load;
use super::topology::{BANDWIDTHS, LONGEST_DELAY, Topology};
use super::{Notes, out_of_bounds, unknown_node};
use crate::plan::change::{MOST_STEPS, course};
use crate::plan::{Change, Directions, LinkChange, LinkTrace, Network, Setting, Timeline};

/// Reads the text of a file; the error is the end of a sentence that begins with the file's name.
pub(in crate::recipe) type Reader<'r> = &'r dyn Fn(&Path) -> Result<String, String>;

/// Changes of links, and where they are written.
pub(super) struct Changes<'f> {
    pub changes: Vec<LinkChange>,
    written: Vec<&'f At<LinkChangeFile>>,
}

/// Reads the changes of links. Traces are relative to `base`. `None`: something is wrong.
pub(super) fn validate_changes<'f>(
    file: Option<&'f TimelineFile>,
    network: &Network,
    timeline: &Timeline,
    (base, reader): (&Path, Reader<'_>),
    notes: &mut Notes<'_>,
) -> Option<Changes<'f>> {
    let before = notes.errors.len();
    let list = file.and_then(|file| file.links.get()).map(|list| list.value.as_slice()).unwrap_or_default();
    let mut found = Changes { changes: Vec::new(), written: Vec::new() };
    for written in list {
        let change = validate_change(written, network, timeline, (base, reader), notes);
        let Some(change) = change else { continue };
        if let Some(finding) = found.said_already(&change, written) {
            notes.error(finding);
            continue;
        }
        found.changes.push(change);
        found.written.push(written);
    }
    if notes.errors.len() > before {
        return None;
    }
    found.check_steps(timeline, notes);
    if notes.errors.len() == before {
        found.check_jitter(network, timeline, notes);
    }
    (notes.errors.len() == before).then_some(found)
}

fn validate_change(
    written: &At<LinkChangeFile>,
    network: &Network,
    timeline: &Timeline,
    files: (&Path, Reader<'_>),
    notes: &mut Notes<'_>,
) -> Option<LinkChange> {
    let file = &written.value;
    let at = validate_moment(&file.at, timeline, notes);
    let link = find_link(file, network, notes);
    let directions = notes.read_or("direction", &file.direction, Directions::default());
    let change = validate_what(written, files, notes);
    let ((link, reversed), change) = (link?, change?);
    let sets_bandwidth = match &change {
        Change::Set(setting) => file.bandwidth.get().map(|text| &text.span).filter(|_| setting.bandwidth.is_some()),
        Change::Follow(_) => file.trace.get().map(|text| &text.span),
    };
    if let Some(span) = sets_bandwidth.filter(|_| network.links[link].shape.bandwidth.is_none()) {
        let message = format!("of: the link of {} has no bandwidth that could change", shown(&file.of.text));
        let help = "give the link a `bandwidth` under `network`: what it has until then";
        notes.error(Finding::new(&file.of.span, message, "as fast as the machine").also(span, "this").help(help));
        return None;
    }
    let directions = match directions? {
        Directions::Up if reversed => Directions::Down,
        Directions::Down if reversed => Directions::Up,
        same => same,
    };
    Some(LinkChange { at: at?, link, directions, change })
}

fn validate_moment(text: &Text<Moment>, timeline: &Timeline, notes: &mut Notes<'_>) -> Option<Duration> {
    let Moment(at) = notes.read("at", text)?;
    if at <= timeline.end {
        return Some(at);
    }
    let message = format!("at: a link changes at {}, when the trial is over ({})", Moment(at), Moment(timeline.end));
    notes.error(Finding::new(&text.span, message, "too late").help("write an earlier moment, or a later `end`"));
    None
}

/// The link, and whether it is named from its end `b`.
fn find_link(file: &LinkChangeFile, network: &Network, notes: &mut Notes<'_>) -> Option<(usize, bool)> {
    let name = notes.read("of", &file.of)?.0;
    if let Some(host) = network.host(&name) {
        if let [interface] = host.interfaces.as_slice() {
            return Some((interface.link, false));
        }
        let names: Vec<String> = host.interfaces.iter().map(|interface| format!("`{}`", interface.name)).collect();
        let message = format!("of: {} has {} links", shown(&name), names.len());
        let finding = Finding::new(&file.of.span, message, "which one?");
        notes.error(finding.help(format!("write one of {}", names.join(", "))));
        return None;
    }
    let called = |n: usize| {
        let link = &network.links[n];
        let (a, b) = (&link.a, &link.b);
        match network.host(&a.node) {
            Some(_) => (a.interface == name).then_some(false),
            None if format!("{}-{}", a.node, b.node) == name => Some(false),
            None => (format!("{}-{}", b.node, a.node) == name).then_some(true),
        }
    };
    let found = (0..network.links.len()).find_map(|n| Some((n, called(n)?)));
    if found.is_none() {
        let known: Vec<String> = (0..network.links.len()).map(|n| network.link_name(n)).collect();
        let known = known.iter().map(String::as_str).collect();
        notes.error(unknown_node("of", "host, interface or trunk", &name, &file.of.span, known));
    }
    found
}

/// What changes. `None`: something is wrong with it.
fn validate_what(written: &At<LinkChangeFile>, files: (&Path, Reader<'_>), notes: &mut Notes<'_>) -> Option<Change> {
    let file = &written.value;
    let before = notes.errors.len();
    let bandwidth = file.bandwidth.get().and_then(|text| {
        let bandwidth = notes.read("bandwidth", text)?;
        if !BANDWIDTHS.contains(&bandwidth) {
            let bounds = format!(
                "{} to {}; a link that carries nothing is `down: true`",
                BANDWIDTHS.start(),
                BANDWIDTHS.end()
            );
            notes.error(out_of_bounds("bandwidth", &text.text, &text.span, &bounds));
        }
        Some(bandwidth.0)
    });
    let delay = validate_time("delay", &file.delay, notes);
    let jitter = validate_time("jitter", &file.jitter, notes);
    let loss = file.loss.get().and_then(|text| {
        let loss = notes.read("loss", text)?.0;
        if loss >= 1.0 {
            let message = format!("loss: with {} no packet arrives", shown(&text.text));
            notes.error(Finding::new(&text.span, message, "too much").help("write `down: true`"));
        }
        Some(loss)
    });
    let down = file.down.get().and_then(|text| notes.read("down", text)).map(|Flag(down)| down);
    let repeat = notes.read_or("repeat", &file.repeat, Flag(true));
    let setting = Setting { bandwidth, delay, jitter, loss, down };
    let Some(trace) = file.trace.get() else {
        if let Some(text) = file.repeat.get() {
            let finding = Finding::new(&text.span, "repeat: there is no trace to repeat", "of what?");
            notes.error(finding.help("leave it out, or name a `trace`"));
        } else if setting == Setting::default() && notes.errors.len() == before {
            let finding = Finding::new(&written.span, "links: this changes nothing", "here");
            notes.error(finding.help("name a `bandwidth`, `delay`, `jitter`, `loss`, `down` or `trace`"));
        }
        return (notes.errors.len() == before).then_some(Change::Set(setting));
    };
    if setting != Setting::default() {
        let finding = Finding::new(&trace.span, "trace: something else changes in the same entry", "this");
        notes.error(finding.help("write an entry of its own for what else changes"));
    }
    let traced = read_trace(trace, files, notes)?;
    let Traced { length, pieces } = traced;
    let follow = LinkTrace { file: trace.text.clone(), repeat: repeat?.0, length, pieces };
    (notes.errors.len() == before).then_some(Change::Follow(follow))
}

fn validate_time(key: &str, text: &Optional<Text<Delay>>, notes: &mut Notes<'_>) -> Option<Duration> {
    let text = text.get()?;
    let time = notes.read(key, text)?.0;
    if time > LONGEST_DELAY {
        notes.error(out_of_bounds(key, &text.text, &text.span, &format!("{} at most", Delay(LONGEST_DELAY))));
    }
    Some(time)
}

fn read_trace(text: &Text<FilePath>, (base, reader): (&Path, Reader<'_>), notes: &mut Notes<'_>) -> Option<Traced> {
    let path = notes.read("trace", text)?.0;
    let wrong = |why: String, help: &str| {
        let message = format!("trace: {}{why}", shown(&text.text));
        Finding::new(&text.span, message, "this file").help(help)
    };
    let folder = if base.as_os_str().is_empty() { Path::new(".") } else { base };
    match reader(&base.join(path)) {
        Err(why) => {
            let help = format!("files are looked for from the recipe's folder, {}", folder.display());
            notes.error(wrong(format!(" {why}"), &help));
            None
        }
        Ok(contents) => match link_trace::read(&contents) {
            Ok(traced) => Some(traced),
            Err(no) => {
                let place = no.line.map_or(" ".to_owned(), |line| format!(", line {line}: "));
                let help = "a trace has a millisecond for each packet (Mahimahi), or lines such as `0.5,1200` (seconds,kbit/s)";
                notes.error(wrong(format!("{place}{}", no.why), help));
                None
            }
        },
    }
}

/// What a change is about: each of these may be said once at a moment.
fn subjects(change: &Change) -> [bool; 5] {
    match change {
        Change::Set(Setting { bandwidth, delay, jitter, loss, down }) => {
            [bandwidth.is_some(), delay.is_some(), jitter.is_some(), loss.is_some(), down.is_some()]
        }
        Change::Follow(trace) => {
            let any = |of: fn(&crate::plan::Piece) -> bool| trace.pieces.iter().any(of);
            [true, any(|piece| piece.delay.is_some()), false, any(|piece| piece.loss.is_some()), false]
        }
    }
}

impl<'f> Changes<'f> {
    /// What there is to say if an earlier change is of the same thing at the same moment.
    fn said_already(&self, change: &LinkChange, written: &At<LinkChangeFile>) -> Option<Finding> {
        const NAMES: [&str; 5] = ["bandwidth", "delay", "jitter", "loss", "down"];
        let (mine, same) = (subjects(&change.change), |other: &LinkChange| {
            other.at == change.at
                && other.link == change.link
                && [true, false]
                    .into_iter()
                    .any(|way| other.directions.include(way) && change.directions.include(way))
        });
        let (n, what) = self.changes.iter().enumerate().filter(|(_, other)| same(other)).find_map(|(n, other)| {
            let theirs = subjects(&other.change);
            Some((n, (0..NAMES.len()).find(|k| mine[*k] && theirs[*k]).map(|k| NAMES[k])?))
        })?;
        let of = &written.value.of;
        let message = format!("at: the {what} of {} changes twice at {}", shown(&of.text), Moment(change.at));
        let finding = Finding::new(&written.value.at.span, message, "again");
        Some(finding.also(&self.written[n].value.at.span, "first").help("keep one of them, or let one come later"))
    }

    /// Traces that are followed for long have many pieces.
    fn check_steps(&self, timeline: &Timeline, notes: &mut Notes<'_>) {
        let until = timeline.end + timeline.drain;
        let mut steps: u64 = 0;
        for (change, written) in self.changes.iter().zip(&self.written) {
            let ways = [true, false].into_iter().filter(|way| change.directions.include(*way)).count() as u64;
            steps = steps.saturating_add(match &change.change {
                Change::Set(_) => ways,
                Change::Follow(trace) => trace.pieces_within(until.saturating_sub(change.at)).saturating_mul(ways),
            });
            if steps > MOST_STEPS {
                let message = format!("links: they change more than {MOST_STEPS} times in all");
                let finding = Finding::new(&written.span, message, "too often");
                notes.error(finding.help("follow shorter or coarser traces, or let the trial end earlier"));
                return;
            }
        }
    }

    fn check_jitter(&self, network: &Network, timeline: &Timeline, notes: &mut Notes<'_>) {
        let until = timeline.end + timeline.drain;
        for (n, link) in network.links.iter().enumerate() {
            let of_link = || self.changes.iter().filter(|change| change.link == n);
            let mut steps =
                [true, false].into_iter().flat_map(|forward| course(link.shape, of_link(), forward, until));
            let Some(step) = steps.find(|step| step.condition.shape.jitter > step.condition.shape.delay) else {
                continue;
            };
            let blamed = self.changes.iter().zip(&self.written).filter(|(c, _)| c.link == n && c.at <= step.at);
            let Some((_, written)) = blamed.max_by_key(|(change, _)| change.at) else { continue };
            let (jitter, delay) = (Delay(step.condition.shape.jitter), Delay(step.condition.shape.delay));
            let message = format!("jitter: from {} on it is {jitter}, more than the delay, {delay}", Moment(step.at));
            let finding = Finding::new(&written.span, message, "too much");
            notes.error(finding.help("delays lie within delay ± jitter and cannot be negative"));
            return;
        }
    }

    /// Warns of links that carry what they are asked for, until they change.
    pub(super) fn warn_of_load(&self, topology: &Topology, load: &Load, notes: &mut Notes<'_>) {
        let network = &topology.network;
        for (change, written) in self.changes.iter().zip(&self.written) {
            let Some(before) = network.links[change.link].shape.bandwidth else { continue };
            let (rate, what) = match &change.change {
                Change::Set(Setting { bandwidth: Some(rate), .. }) => (*rate, "has"),
                Change::Follow(trace) => (trace.bandwidths().1, "has on average"),
                Change::Set(_) => continue,
            };
            let ways = [true, false].into_iter().filter(|way| change.directions.include(*way));
            let Some(needed) = ways.map(|way| load.needed(change.link, way)).max_by(f64::total_cmp) else { continue };
            // Where it never was enough that is said already.
            if needed <= rate as f64 || needed > before as f64 {
                continue;
            }
            let ends = &network.links[change.link];
            let in_kbit = |bits: f64| Bandwidth((bits / 1e4).ceil() as u64 * 10_000);
            let needed = in_kbit(needed);
            let message = format!(
                "from {} on the link {} - {} {what} {}, and has to carry {needed}",
                Moment(change.at),
                ends.a.node,
                ends.b.node,
                Bandwidth(rate / 1000 * 1000)
            );
            let finding = Finding::new(&written.value.at.span, message, format!("less than {needed}"));
            notes.warn(finding.help("frames will queue there and arrive later and later; this may be intended"));
        }
    }
}

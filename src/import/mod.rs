//! Measurements made elsewhere, as trials: what `ping` printed in an experiment of the original kind.
//!
//! Such an experiment has a broadcaster `b`, a CDN `s` and a viewer `v`. Its trial of `direct` has the pings b→s and
//! s→v, its trial of `bypass` the pings b→v. [`read`] turns the files into what a run of livectl's own would have of
//! its ping trains; nothing is written.
//!
//! Moment 0 of a trial's timeline is that of its first ping. Pings without time stamps (`ping -D`, or `ts` before
//! each line) are where their numbers have them, one interval apart, both trains of `direct` having begun together.
//! The interval is what the summary of ping tells, or 1 s. What a file does not tell is said, and makes its trial
//! partial where numbers may be others for it.

mod clock;
mod error;
mod outline;
mod source;

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use livectl_wire::frame::FrameId;

pub use error::ImportError;

use clock::{Clock, zeros};
use source::Source;

use crate::plan::{PingTrain, Plan, Point, Scheme, Trial};
use crate::store::{Imported, ImportedFile, Manifest, RunDir, TrialState};
use crate::table::{self, PingRow};
use crate::trace::ping::{self, PingError, PingLog, Stamps};

/// The host that broadcasts.
pub const BROADCASTER: &str = "b";
/// Host that stands for the CDN in imported runs.
pub const CDN: &str = "s";
/// The host that watches.
pub const VIEWER: &str = "v";

/// Time between pings of files that do not tell: ping's own default.
const USUAL_INTERVAL: Duration = Duration::from_secs(1);
/// Time stamps of one trial that lie further apart are damaged.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// What is to be imported.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// Name of the folder under `results/`.
    pub name: String,
    /// For each repetition of `direct`, the pings b→s and s→v.
    pub direct: Vec<[PathBuf; 2]>,
    /// For each repetition of `bypass`, the pings b→v.
    pub bypass: Vec<PathBuf>,
    /// When the stream began and ended, counted from the first ping.
    pub streaming: Option<(Duration, Duration)>,
    /// Time between pings where there are no time stamps.
    pub interval: Option<Duration>,
}

/// What was read.
#[derive(Debug)]
pub struct Import {
    /// The trials as a plan. Of the network and the video it says what is known: who there was, and nothing else.
    pub plan: Plan,
    /// What there is of each of the plan's trials.
    pub trials: Vec<ImportedTrial>,
    /// Where it came from.
    pub record: Imported,
    /// What a reader of the numbers should know.
    pub warnings: Vec<String>,
}

/// A trial's pings.
#[derive(Debug)]
pub struct ImportedTrial {
    /// The moment 0 of its timeline, in nanoseconds of CLOCK_REALTIME; `None`: no file has time stamps.
    pub zero_ns: Option<i64>,
    /// When its first ping was sent and its last answered ping, where there are time stamps.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Done; partial if a file is cut short or damaged.
    pub state: TrialState,
    /// The contents of the files, one for each ping train of the plan.
    pub files: Vec<Vec<u8>>,
    /// A row for each ping.
    pub pings: Vec<PingRow>,
}

/// Reads the files and makes trials of them: `direct-1`, `direct-2`, …, `bypass-1`, ….
///
/// # Errors
/// [`ImportError`]: a file that cannot be read or is something else, and files that do not belong together.
pub fn read(request: &Request) -> Result<Import, ImportError> {
    let direct = request.direct.iter().zip(1..).map(|([uplink, downlink], repetition)| {
        (Scheme::Direct, repetition, vec![(uplink, (BROADCASTER, CDN)), (downlink, (CDN, VIEWER))])
    });
    let bypass = request
        .bypass
        .iter()
        .zip(1..)
        .map(|(peer, repetition)| (Scheme::Bypass, repetition, vec![(peer, (BROADCASTER, VIEWER))]));
    let mut trials = Vec::new();
    for (scheme, repetition, files) in direct.chain(bypass) {
        let sources = files.into_iter().map(|(path, ends)| Source::read(path, ends, request.interval));
        trials.push((scheme, repetition, sources.collect::<Result<Vec<_>, _>>()?));
    }
    check_given_once(trials.iter().flat_map(|(.., sources)| sources))?;
    check_targets(trials.iter().map(|(scheme, _, sources)| (*scheme, sources.as_slice())))?;

    let record = Imported { files: Vec::new(), streaming: request.streaming, interval: request.interval };
    let description = "imported: what ping printed elsewhere".to_owned();
    let plan = Plan { recipe: request.name.clone(), description, seed: 0, trials: Vec::new() };
    let mut import = Import { plan, trials: Vec::new(), record, warnings: Vec::new() };
    for (scheme, repetition, sources) in trials {
        import.add(scheme, repetition, sources, request)?;
    }
    import.check_delays()?;
    import.warn_of_streaming();
    Ok(import)
}

/// Reads the files that an imported run holds once more, with the run's own name, streaming interval and interval of
/// pings where `request` has none.
///
/// # Errors
/// [`ImportError::NotImported`], [`ImportError::Changed`], [`ImportError::Store`], and as [`read`].
pub fn read_again(run: &RunDir, request: Request) -> Result<Import, ImportError> {
    let manifest = Manifest::load(run)?;
    let Some(before) = manifest.imported else { return Err(ImportError::NotImported { run: run.path().to_owned() }) };
    let copies = |scheme: Scheme| {
        let trials = manifest.plan.trials.iter().filter(move |t| t.point.scheme == scheme);
        trials.map(|t| t.pings.iter().map(|train| run.trial(&t.id).ping(&train.from, &train.to)).collect::<Vec<_>>())
    };
    let named = |name: String| if name.is_empty() { manifest.recipe.name.clone() } else { name };
    let request = Request {
        name: named(request.name),
        direct: copies(Scheme::Direct).filter_map(|pair| pair.try_into().ok()).collect(),
        bypass: copies(Scheme::Bypass).flatten().collect(),
        streaming: request.streaming.or(before.streaming),
        interval: request.interval.or(before.interval),
    };
    let mut import = read(&request)?;
    for file in &mut import.record.files {
        let same = |b: &&ImportedFile| (&b.trial, &b.from, &b.to) == (&file.trial, &file.from, &file.to);
        match before.files.iter().find(same) {
            Some(known) if known.xxh3 == file.xxh3 => file.path.clone_from(&known.path),
            _ => return Err(ImportError::Changed { path: file.path.clone() }),
        }
    }
    Ok(import)
}

impl Import {
    fn add(
        &mut self,
        scheme: Scheme,
        repetition: u32,
        sources: Vec<Source>,
        request: &Request,
    ) -> Result<(), ImportError> {
        let zeros = zeros(&sources);
        check_apart(&sources, &zeros)?;
        for (source, zero) in sources.iter().zip(&zeros) {
            let Some(zero) = zero else { continue };
            let far = |at: i64| (i128::from(at) - i128::from(*zero)).unsigned_abs() > LONGEST.as_nanos();
            let stamps = source.log.replies.iter().filter_map(|r| r.sent_ns);
            if stamps.chain(source.clock.as_ref().map(|c| c.first_ns)).any(far) {
                let what = "time stamps more than a year apart".to_owned();
                return Err(ImportError::Implausible { path: source.path.clone(), what });
            }
        }
        // Files with time stamps tell the interval of those without, unless it is given.
        let stamped = || sources.iter().filter_map(|s| s.clock.as_ref()).find_map(|c| c.interval);
        let told = || sources.iter().find_map(Source::interval);
        let interval = request.interval.or_else(stamped).or_else(told).unwrap_or(USUAL_INTERVAL);
        let trains: Vec<PingTrain> = sources.iter().zip(&zeros).map(|(s, zero)| s.train(*zero, interval)).collect();
        let trial = outline::trial(Point::new(scheme, repetition), trains, request.streaming);
        // Without a year or a day the moments are known only from each other.
        let is_dated = sources.iter().filter_map(|s| s.clock.as_ref()).all(Clock::is_dated);
        let of_source = |((train, source), zero): ((&PingTrain, &Source), &Option<i64>)| {
            let mut rows = table::ping_rows(&trial, train, *zero, &source.log);
            rows.iter_mut().filter(|_| !is_dated).for_each(|row| row.sent_ns = None);
            rows
        };
        let pings: Vec<PingRow> = trial.pings.iter().zip(&sources).zip(&zeros).flat_map(of_source).collect();
        if let [uplink, downlink] = sources.as_slice()
            && table::ping_delays(&trial, &pings).is_empty()
        {
            return Err(ImportError::Apart { paths: [uplink.path.clone(), downlink.path.clone()], spans: None });
        }
        let damage: Vec<String> =
            sources.iter().flat_map(|source| source.damage(request.interval, interval)).collect();
        let notes = sources.iter().flat_map(|source| source.notes(request.interval, interval));
        self.warnings.extend(damage.iter().cloned().chain(notes).map(|why| format!("{}: {why}", trial.id)));
        let state = if damage.is_empty() { TrialState::Done } else { TrialState::Partial { why: damage.join("; ") } };
        let zero_ns = zeros.iter().flatten().min().copied().filter(|_| is_dated);
        let last_ns = sources.iter().filter_map(|s| s.clock.as_ref()).map(|c| c.last_ns).max();
        let span = zero_ns.zip(last_ns).and_then(|(zero, last)| moment(zero).zip(moment(last)));
        self.record.files.extend(sources.iter().map(|source| ImportedFile {
            trial: trial.id.clone(),
            from: source.ends.0.to_owned(),
            to: source.ends.1.to_owned(),
            path: std::path::absolute(&source.path).unwrap_or_else(|_| source.path.clone()),
            bytes: source.bytes.len() as u64,
            xxh3: FrameId::of(&source.bytes).to_string(),
        }));
        self.plan.trials.push(trial);
        let files = sources.into_iter().map(|source| source.bytes).collect();
        self.trials.push(ImportedTrial { zero_ns, span, state, files, pings });
        Ok(())
    }

    /// Every ping of every trial.
    #[must_use]
    pub fn pings(&self) -> Vec<PingRow> {
        self.trials.iter().flat_map(|t| t.pings.iter().cloned()).collect()
    }

    /// Something must be there to draw.
    fn check_delays(&mut self) -> Result<(), ImportError> {
        let known = |(trial, imported): (&Trial, &ImportedTrial)| {
            table::ping_delays(trial, &imported.pings).iter().any(|d| d.delay_ms.is_some())
        };
        let known: Vec<bool> = self.plan.trials.iter().zip(&self.trials).map(known).collect();
        if !known.contains(&true) {
            return Err(ImportError::NoAnswer);
        }
        let silent = self.plan.trials.iter().zip(known).filter(|(_, known)| !known);
        self.warnings.extend(silent.map(|(trial, _)| format!("{}: no ping was answered all the way", trial.id)));
        Ok(())
    }

    fn warn_of_streaming(&mut self) {
        let Some((begin, end)) = self.record.streaming_s() else { return };
        for (trial, imported) in self.plan.trials.iter().zip(&self.trials) {
            if !imported.pings.iter().any(|ping| begin <= ping.time_s && ping.time_s < end) {
                let last = imported.pings.iter().map(|ping| ping.time_s).fold(0.0, f64::max);
                self.warnings.push(format!(
                    "{}: no ping was sent while streaming (second {begin} to {end}); the last one was sent in second {last:.0}",
                    trial.id
                ));
            }
        }
    }
}

fn moment(ns: i64) -> Option<Timestamp> {
    Timestamp::from_nanosecond(i128::from(ns)).ok()
}

/// A file given twice is one given for another.
fn check_given_once<'a>(sources: impl Iterator<Item = &'a Source>) -> Result<(), ImportError> {
    let mut seen = HashSet::new();
    for source in sources {
        if source.path.canonicalize().is_ok_and(|real| real.is_file() && !seen.insert(real)) {
            return Err(ImportError::Twice { path: source.path.clone() });
        }
    }
    Ok(())
}

/// Whom the trains ping tells swapped files, where the first lines are there: the CDN has another address than the
/// viewer.
fn check_targets<'a>(trials: impl Iterator<Item = (Scheme, &'a [Source])> + Clone) -> Result<(), ImportError> {
    let peers = trials.clone().filter(|(scheme, _)| *scheme == Scheme::Bypass).flat_map(|(_, sources)| sources);
    for (_, sources) in trials.filter(|(scheme, _)| *scheme == Scheme::Direct) {
        let [uplink, downlink] = sources else { continue };
        let Some(target) = uplink.log.target else { continue };
        if downlink.log.target == Some(target) {
            return Err(ImportError::SameTarget { paths: [uplink.path.clone(), downlink.path.clone()], target });
        }
        if let Some(peer) = peers.clone().find(|peer| peer.log.target == Some(target)) {
            return Err(ImportError::Swapped { uplink: uplink.path.clone(), peer: peer.path.clone(), target });
        }
    }
    Ok(())
}

/// The trains of one trial ping at the same time: each within what the other lasted, from its moment 0.
fn check_apart(sources: &[Source], zeros: &[Option<i64>]) -> Result<(), ImportError> {
    if let ([one, other], [Some(zero_a), Some(zero_b)]) = (sources, zeros)
        && let Some((a, b)) = one.clock.as_ref().zip(other.clock.as_ref())
    {
        let spans = [(a, zero_a), (b, zero_b)].map(|(c, zero)| (c.first_ns - zero, c.last_ns - zero));
        if spans[0].1 < spans[1].0 || spans[1].1 < spans[0].0 {
            let span = |c: &Clock| moment(c.first_ns).zip(moment(c.last_ns)).filter(|_| c.is_dated());
            let spans = span(a).zip(span(b)).map(|(a, b)| [a, b]);
            return Err(ImportError::Apart { paths: [one.path.clone(), other.path.clone()], spans });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

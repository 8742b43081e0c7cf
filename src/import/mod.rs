//! Measurements made elsewhere, as trials: what `ping` printed in an experiment of the original kind.
//!
//! Such an experiment has a broadcaster `b`, a CDN `s` and a viewer `v`. Its trial of `direct` has the pings b→s and
//! s→v, its trial of `bypass` the pings b→v. [`read`] makes of the files what a run of livectl's own would have of
//! its ping trains; nothing is written.
//!
//! Moment 0 of a trial's timeline is that of its first ping. Pings without time stamps (`ping -D`, or `ts` before
//! each line) are where their numbers have them, one interval apart, both trains of `direct` having begun together.
//! The interval is what the summary of ping tells, or 1 s.

mod error;
mod outline;

use std::collections::HashSet;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use livectl_wire::frame::FrameId;

pub use error::ImportError;

use crate::plan::{PingTrain, Plan, Point, Scheme, Trial};
use crate::store::{Imported, ImportedFile, Manifest, RunDir, TrialState};
use crate::table::{self, PingRow};
use crate::trace::ping::{self, PingError, PingLog};

/// The host that broadcasts.
pub const BROADCASTER: &str = "b";
/// Host that stands for the CDN in imported runs.
pub const CDN: &str = "s";
/// The host that watches.
pub const VIEWER: &str = "v";

/// Time between pings of files that do not tell: ping's own default.
const USUAL_INTERVAL: Duration = Duration::from_secs(1);
/// Files are read into memory; a day of pings every 10 ms is below this.
const MOST_BYTES: u64 = 1 << 30;
/// How much of a file is looked at before the rest is read.
const HEAD_BYTES: u64 = 1 << 16;
/// More pings without an answer than these are a damaged number, and would each be a row.
const MOST_LOST: u32 = 1_000_000;
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

/// A file, read.
struct Source {
    path: PathBuf,
    ends: (&'static str, &'static str),
    bytes: Vec<u8>,
    log: PingLog,
    /// From the time stamps; `None` if there are none.
    clock: Option<Clock>,
}

/// What a train's time stamps tell.
struct Clock {
    /// When ping number 1 was sent, in nanoseconds of CLOCK_REALTIME.
    first_ns: i64,
    /// When the last answered ping was sent.
    last_ns: i64,
    /// Time between pings; `None`: only one was answered.
    interval: Option<Duration>,
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

impl Source {
    fn read(path: &Path, ends: (&'static str, &'static str), asked: Option<Duration>) -> Result<Source, ImportError> {
        let path = path.to_owned();
        let bytes = contents(&path)?;
        if bytes.is_empty() {
            return Err(ImportError::Empty { path });
        }
        let log = ping::from_bytes(&path, &bytes)?;
        if log.another_follows {
            return Err(ImportError::Several { path });
        }
        if log.replies.is_empty()
            && let Some(answered) = log.received().filter(|received| *received > 0)
        {
            return Err(ImportError::NoTimes { path, answered });
        }
        if sent(&log) == 0 {
            return Err(ImportError::NoPing { path });
        }
        let answered = log.replies.iter().filter(|r| !r.duplicate).count();
        if sent(&log) as usize > answered + MOST_LOST as usize {
            return Err(ImportError::Implausible {
                path,
                what: format!("{} pings sent, {answered} answered", sent(&log)),
            });
        }
        let clock = Clock::of(&log);
        let measured = clock.as_ref().and_then(|clock| clock.interval).or_else(|| log.interval());
        if let Some((asked, measured)) = asked.zip(measured)
            && !is_about(measured, asked)
        {
            return Err(ImportError::Interval { path, asked, measured });
        }
        Ok(Source { path, ends, bytes, log, clock })
    }

    /// What keeps the file from being whole, for people.
    fn damage(&self) -> Option<String> {
        let shown = |line: &str| line.chars().take(60).collect::<String>();
        let name = format!("ping/{}-{}.txt", self.ends.0, self.ends.1);
        let Some((first, last)) = self.log.unreadable.first().zip(self.log.unreadable.last()) else {
            return self.log.contradiction().map(|why| format!("{name} contradicts itself: {why}"));
        };
        let cut = !self.bytes.ends_with(b"\n");
        Some(match self.log.unreadable.len() {
            1 if cut => format!("{name} ends in the middle of a line: {:?}", shown(last)),
            1 => format!("{name}: a line cannot be read: {:?}", shown(first)),
            lines => format!("{name}: {lines} lines cannot be read; the first is {:?}", shown(first)),
        })
    }

    /// Time between pings: as time stamps have it, or else as ping's summary does.
    fn interval(&self) -> Option<Duration> {
        let told = || self.log.interval().filter(|told| !is_about(*told, USUAL_INTERVAL));
        self.clock.as_ref().and_then(|clock| clock.interval).or_else(told)
    }

    fn train(&self, zero_ns: Option<i64>, without_stamps: Duration) -> PingTrain {
        let start = self.clock.as_ref().zip(zero_ns).and_then(|(c, zero)| u64::try_from(c.first_ns - zero).ok());
        PingTrain {
            from: self.ends.0.to_owned(),
            to: self.ends.1.to_owned(),
            address: match self.log.target {
                Some(std::net::IpAddr::V4(address)) => address,
                _ => std::net::Ipv4Addr::UNSPECIFIED,
            },
            start: start.map_or(Duration::ZERO, Duration::from_nanos),
            interval: self.interval().unwrap_or(without_stamps),
            count: sent(&self.log),
        }
    }
}

/// The file's bytes. What begins with a binary is not read to its end, which may be that of a disk.
fn contents(path: &Path) -> Result<Vec<u8>, ImportError> {
    let unreadable = |source| PingError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.by_ref().take(HEAD_BYTES).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.contains(&0) {
        ping::from_bytes(path, &bytes)?;
    }
    file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(ImportError::Implausible { path: path.to_owned(), what: "more than 1 GiB".to_owned() });
    }
    Ok(bytes)
}

/// Whether a time between pings is that one: ping itself takes some of it, and the last may have waited.
fn is_about(measured: Duration, asked: Duration) -> bool {
    (measured.as_secs_f64() / asked.as_secs_f64() - 1.0).abs() <= 0.1
}

/// Pings sent, as far as the file tells.
fn sent(log: &PingLog) -> u32 {
    let numbers = log.replies.iter().map(|r| r.seq).chain(log.failures.iter().map(|f| f.seq));
    numbers.chain(log.transmitted()).max().unwrap_or(0)
}

impl Clock {
    fn of(log: &PingLog) -> Option<Clock> {
        let stamped = || log.replies.iter().filter(|r| !r.duplicate).filter_map(|r| Some((r.seq, r.sent_ns?)));
        let (first, last) = (stamped().min_by_key(|(seq, _)| *seq)?, stamped().max_by_key(|(seq, _)| *seq)?);
        let each = i64::from(last.0 - first.0);
        let interval = last.1.checked_sub(first.1).and_then(|span| span.checked_div(each)).filter(|ns| *ns > 0);
        let before = i128::from(first.0.saturating_sub(1)) * i128::from(interval.unwrap_or(0));
        Some(Clock {
            first_ns: i64::try_from(i128::from(first.1) - before).ok()?,
            last_ns: last.1,
            interval: interval.and_then(|ns| u64::try_from(ns).ok()).map(Duration::from_nanos),
        })
    }
}

impl Import {
    fn add(
        &mut self,
        scheme: Scheme,
        repetition: u32,
        sources: Vec<Source>,
        request: &Request,
    ) -> Result<(), ImportError> {
        let clocks = || sources.iter().filter_map(|s| s.clock.as_ref());
        let zero_ns = clocks().map(|c| c.first_ns).min();
        let last_ns = clocks().map(|c| c.last_ns).max();
        check_apart(&sources)?;
        if let Some((zero, source)) = zero_ns.zip(sources.iter().find(|s| s.clock.is_some())) {
            let far = |at: i64| (i128::from(at) - i128::from(zero)).unsigned_abs() > LONGEST.as_nanos();
            let stamps = sources.iter().flat_map(|s| &s.log.replies).filter_map(|r| r.sent_ns);
            if stamps.chain(clocks().map(|c| c.first_ns)).any(far) {
                let what = "time stamps more than a year apart".to_owned();
                return Err(ImportError::Implausible { path: source.path.clone(), what });
            }
        }
        // Files with time stamps tell the interval of those without, unless it is given.
        let told = || sources.iter().find_map(Source::interval);
        let interval =
            request.interval.or_else(|| clocks().find_map(|c| c.interval)).or_else(told).unwrap_or(USUAL_INTERVAL);
        let trains: Vec<PingTrain> = sources.iter().map(|s| s.train(zero_ns, interval)).collect();
        let trial = outline::trial(Point::new(scheme, repetition), trains, request.streaming);
        let rows = |(train, source): (&PingTrain, &Source)| table::ping_rows(&trial, train, zero_ns, &source.log);
        let pings: Vec<PingRow> = trial.pings.iter().zip(&sources).flat_map(rows).collect();
        if let [uplink, downlink] = sources.as_slice()
            && table::ping_delays(&trial, &pings).is_empty()
        {
            return Err(ImportError::Apart { paths: [uplink.path.clone(), downlink.path.clone()], spans: None });
        }
        let damage: Vec<String> = sources.iter().filter_map(Source::damage).collect();
        self.warnings.extend(damage.iter().map(|why| format!("{}: {why}", trial.id)));
        let state = if damage.is_empty() { TrialState::Done } else { TrialState::Partial { why: damage.join("; ") } };
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

/// The trains of one trial ping at the same time.
fn check_apart(sources: &[Source]) -> Result<(), ImportError> {
    if let [one, other] = sources
        && let Some((a, b)) = one.clock.as_ref().zip(other.clock.as_ref())
        && (a.last_ns < b.first_ns || b.last_ns < a.first_ns)
    {
        let span = |c: &Clock| moment(c.first_ns).zip(moment(c.last_ns));
        let spans = span(a).zip(span(b)).map(|(a, b)| [a, b]);
        return Err(ImportError::Apart { paths: [one.path.clone(), other.path.clone()], spans });
    }
    Ok(())
}

#[cfg(test)]
mod tests;

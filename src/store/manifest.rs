//! `manifest.json`: what was run, how, on what machine, and how it went.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{FileRecord, Imported, RunDir, StoreError, TrialDir, write_atomic};
use crate::plan::{Datapath, LinkKind, Plan, Point, Trial};

/// The format that this livectl writes, and the latest that it reads. It goes up when a field changes its meaning or
/// goes away; a field that is added gets a default instead, and readers ignore fields that they do not know.
pub const FORMAT: u64 = 1;

/// The record of a run, written when it begins and when it ends ([`Manifest::save`]); meanwhile each trial has a
/// record in its own folder, which [`Manifest::load`] takes in. Times are RFC 3339 in UTC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`] of the livectl that wrote it.
    pub format: u64,
    /// Name of the run's folder: when it began, in UTC.
    pub run: String,
    /// The livectl that made the run.
    pub livectl: Software,
    /// The command line that began the run, program name first.
    #[serde(default)]
    pub command: Vec<String>,
    /// The recipe's text, and where it was read.
    pub recipe: RecipeRecord,
    /// What the recipe came to: every trial with network, streams and timeline.
    pub plan: Plan,
    /// Seed that the trials' seeds come from.
    pub seed: u64,
    /// When the run began.
    #[serde(with = "moment")]
    pub started: Timestamp,
    /// When it ended; `None` while it runs, or if it was killed.
    #[serde(default, with = "optional_moment")]
    pub ended: Option<Timestamp>,
    /// The machine that it ran on.
    #[serde(default)]
    pub machine: Machine,
    /// Versions of the programs used: `ffmpeg` → `ffmpeg version 5.1.6-0+deb12u1`.
    #[serde(default)]
    pub tools: BTreeMap<String, String>,
    /// What made the links; `None` until it is decided.
    #[serde(default)]
    pub link: Option<Choice<LinkKind>>,
    /// What forwarded packets; `None` until it is decided.
    #[serde(default)]
    pub datapath: Option<Choice<Datapath>>,
    /// Where it was measured elsewhere and imported: from what. `None`: livectl ran it.
    #[serde(default)]
    pub imported: Option<Imported>,
    /// By which model those of its trials were predicted that say so ([`Point::is_predicted`]); `None`: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted: Option<Predicted>,
    /// The trials in the order of the plan.
    pub trials: Vec<TrialRecord>,
    /// The recipe and the run's tables as they were stored, by name.
    #[serde(default)]
    pub files: BTreeMap<String, FileRecord>,
    /// When the tables were last computed again from captures; `None`: they are those of the run itself.
    #[serde(default)]
    pub analysis: Option<AnalysisRecord>,
}

/// Which livectl computed tables, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnalysisRecord {
    /// The livectl that computed them.
    pub livectl: Software,
    /// When it computed them.
    #[serde(with = "moment")]
    pub time: Timestamp,
}

/// A program and its source.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Software {
    /// Version, such as `0.1.0`.
    pub version: String,
    /// Git commit that it was built from, if known.
    #[serde(default)]
    pub commit: Option<String>,
}

impl Software {
    /// The livectl that runs now.
    #[must_use]
    pub fn of_this_livectl() -> Software {
        let commit = option_env!("LIVECTL_COMMIT").filter(|commit| !commit.is_empty());
        Software { version: env!("CARGO_PKG_VERSION").into(), commit: commit.map(Into::into) }
    }

    /// It was built without optimisation, as for tests, and is slower than a measurement ought to be.
    #[must_use]
    pub fn is_unoptimised(&self) -> bool {
        self.commit.as_ref().is_some_and(|commit| commit.ends_with("+unoptimised"))
    }
}

/// A recipe as it was when the run began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipeRecord {
    /// Name of its folder under `results/`.
    pub name: String,
    /// Path of the recipe's file, as it was given; `None`: it was not read from a file.
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// The recipe's text, comments and all.
    pub text: String,
}

/// The machine of a run; numbers are 0 and texts empty where they are not known.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// Processors that livectl may use.
    pub cores: u32,
    /// Memory of the machine in bytes.
    pub memory_bytes: u64,
    /// `uname -sr`: `Linux 6.1.0-28-amd64`.
    pub kernel: String,
    /// `PRETTY_NAME` of /etc/os-release.
    pub os: String,
}

/// What was asked for, what it came to, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice<T> {
    /// As in the recipe or on the command line; perhaps `auto`.
    pub asked: T,
    /// What was used: never `auto`.
    pub used: T,
    /// The reason, in words: `the kernel has no netem`.
    pub why: String,
}

/// How a trial stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
pub enum TrialState {
    /// Its turn has not come.
    #[default]
    Planned,
    /// It runs; or livectl was killed while it did.
    Running,
    /// It ran to its end. Its numbers hold unless [`TrialRecord::unfit`] says otherwise.
    Done,
    /// It was stopped before its end; what had been measured is kept.
    Partial {
        /// `interrupted by the user`.
        why: String,
    },
    /// It broke: a program ended early, the network differed from the plan, or the machine failed.
    Failed {
        /// What broke, in words: `nginx ended early`.
        why: String,
    },
    /// A state that this livectl does not know, written by a later one.
    #[serde(other)]
    Unknown,
}

/// Whose failure it is that a trial failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// The machine's: no disk, no Open vSwitch, no sandbox. Other trials would fail in the same way.
    Machine,
    /// The trial's own, as far as anybody can tell.
    Trial,
}

/// What became of a trial's captures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Captures {
    /// They are there, unless somebody deleted them.
    #[default]
    Kept,
    /// They were dropped on purpose, after the tables had been verified.
    Dropped,
    /// There never were any: the trial was predicted.
    Never,
}

impl Captures {
    /// Whether they were kept: [`Captures::Kept`].
    #[must_use]
    pub fn are_kept(&self) -> bool {
        *self == Captures::Kept
    }
}

/// The record of a trial. While its run goes on it is in the trial's own folder; the manifest has it in the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialRecord {
    /// [`plan::Trial::id`](crate::plan::Trial::id).
    pub id: String,
    /// Its scheme, parameters and repetition.
    #[serde(flatten)]
    pub point: Point,
    /// Whether it ran to its end, and if not, why.
    pub state: TrialState,
    /// Whether the failure is the machine's or the trial's, if it failed and that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The machine that it ran on; `None`: a record of an older livectl.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Why its delays cannot be taken for the network's: `the machine stood still for 61.0 ms (limit 50.0 ms)`. Empty: they can. A record that
    /// does not say so is not taken for a fit trial's.
    #[serde(default = "unjudged")]
    pub unfit: Vec<String>,
    /// Those of [`TrialRecord::unfit`] that its own frames gave away when they were analysed, not the watch while it
    /// ran.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
    /// Births, captures, pings, events and counters that were gone, cut off or damaged when its tables were computed,
    /// and how; they are of the rest. Fewer frames than planned, too. Empty: all were whole.
    #[serde(default)]
    pub damage: Vec<String>,
    /// When its sandbox was started.
    #[serde(default, with = "optional_moment")]
    pub started: Option<Timestamp>,
    /// When the host was proven to be as before.
    #[serde(default, with = "optional_moment")]
    pub ended: Option<Timestamp>,
    /// The moment 0 of its timeline, in nanoseconds of CLOCK_REALTIME: the network had been measured and was ready.
    #[serde(default)]
    pub zero_ns: Option<i64>,
    /// How long each phase took, in order.
    #[serde(default)]
    pub phases: Vec<Phase>,
    /// Every command that was run for it, in the order of starting.
    #[serde(default)]
    pub commands: Vec<CommandRecord>,
    /// What the fitness watch saw, as it saw it.
    #[serde(default)]
    pub fitness: serde_json::Value,
    /// Whether its captures are kept.
    #[serde(default, skip_serializing_if = "Captures::are_kept")]
    pub captures: Captures,
    /// The files in its folder as they were stored: captures, births, logs, tables. Empty for runs of older livectls.
    #[serde(default)]
    pub files: BTreeMap<String, FileRecord>,
}

/// Where the figures of trials come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// All of them were measured, or there are none.
    Measured,
    /// All were predicted.
    Predicted,
    /// So many were predicted, and others measured.
    Both {
        /// How many were predicted.
        predicted: usize,
    },
}

impl Made {
    /// Those of trials at these points; of none, measured.
    #[must_use]
    pub fn of<'p>(points: impl Iterator<Item = &'p Point>) -> Made {
        let (mut all, mut predicted) = (0, 0);
        for point in points {
            all += 1;
            predicted += usize::from(point.is_predicted());
        }
        match predicted {
            0 => Made::Measured,
            _ if predicted == all => Made::Predicted,
            _ => Made::Both { predicted },
        }
    }
}

/// How what is predicted of a run was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Predicted {
    /// Version of the model that predicted them: [`predict::MODEL`](crate::predict::MODEL).
    pub model: u32,
    /// The measured run whose frames were taken; `None`: the encoder's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub births: Option<String>,
}

/// A phase of a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// As [`run::event::Phase`](crate::run::event::Phase) in `events.jsonl`: `boot`, `measure`, `ready`, `stream`,
    /// `stop`, `prove`, `analyse`; `predict` alone of a predicted trial.
    pub name: String,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// A command that was run for a trial, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRecord {
    /// The host that it ran on; `None`: in the sandbox, on no host.
    #[serde(default)]
    pub host: Option<String>,
    /// `broadcaster`, `nginx`, `tcpdump hb-eth0`.
    pub actor: String,
    /// The command line: the program, then its arguments.
    pub argv: Vec<String>,
    /// Its exit code; `None` while it runs or if a signal ended it.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// The signal that ended it; `None`: it runs, or it exited.
    #[serde(default)]
    pub signal: Option<i32>,
}

impl Manifest {
    /// The manifest of a run about to begin: every trial of the plan is planned.
    #[must_use]
    pub fn new(run: &RunDir, recipe: RecipeRecord, plan: Plan, seed: u64, livectl: Software, now: Timestamp) -> Self {
        let trials = plan.trials.iter().map(TrialRecord::planned).collect();
        Manifest {
            format: FORMAT,
            run: run.name(),
            livectl,
            command: Vec::new(),
            recipe,
            plan,
            seed,
            started: now,
            ended: None,
            machine: Machine::default(),
            tools: BTreeMap::new(),
            link: None,
            datapath: None,
            imported: None,
            predicted: None,
            trials,
            files: BTreeMap::new(),
            analysis: None,
        }
    }

    /// Where the figures of its trials come from.
    #[must_use]
    pub fn made(&self) -> Made {
        Made::of(self.plan.trials.iter().map(|trial| &trial.point))
    }

    /// The record of the trial with that id; `None`: the run has no such trial.
    #[must_use]
    pub fn trial(&self, id: &str) -> Option<&TrialRecord> {
        self.trials.iter().find(|t| t.id == id)
    }

    /// The record of a trial, to be changed.
    pub fn trial_mut(&mut self, id: &str) -> Option<&mut TrialRecord> {
        self.trials.iter_mut().find(|t| t.id == id)
    }

    /// Records the recipe and the run's own tables as they are now; those of trials are the trials' own.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn record_files(&mut self, run: &RunDir) -> Result<(), StoreError> {
        self.files.clear();
        let tables = [
            run.frames(),
            run.pings(),
            run.summary(),
            run.playouts(),
            run.audience(),
            run.estimates(),
            run.reattachments(),
            run.trunks(),
            run.shown(),
            run.broadcasts(),
            run.crowds(),
        ];
        for path in [run.recipe()].into_iter().chain(tables) {
            if let Some(name) = path.file_name().filter(|_| path.is_file()) {
                self.files.insert(name.to_string_lossy().into_owned(), FileRecord::of(&path)?);
            }
        }
        Ok(())
    }

    /// Writes the manifest into the run's folder in place of the one before, whole or not at all.
    ///
    /// # Errors
    /// As [`write_atomic`].
    pub fn save(&self, run: &RunDir) -> Result<(), StoreError> {
        let path = run.manifest();
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|error| StoreError::Manifest { path: path.clone(), why: error.to_string() })?;
        text.push(b'\n');
        write_atomic(&path, &text)
    }

    /// Reads the manifest of a run, of this format or an older one; of a sweep, what stands in its place.
    ///
    /// # Errors
    /// [`StoreError::NotARun`] if there is none, [`StoreError::Newer`], [`StoreError::Manifest`],
    /// [`StoreError::Trial`], [`StoreError::Io`].
    pub fn load(run: &RunDir) -> Result<Manifest, StoreError> {
        if run.is_sweep() {
            return super::sweep::manifest(run, |_| {});
        }
        let path = run.manifest();
        match std::fs::read(&path) {
            Ok(text) => {
                let mut manifest = Manifest::parse(&text, &path)?;
                if manifest.ended.is_none() && manifest.imported.is_none() {
                    manifest.take_records(run);
                }
                Ok(manifest)
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                Err(StoreError::NotARun { path: run.path().to_owned() })
            }
            Err(source) => Err(StoreError::Io { doing: "read", path, source }),
        }
    }

    /// The same for those who look at many trials' tables: a sweep's records are without what the fitness watch saw
    /// and which commands were run, which is most of them. They are in each trial's own record.
    ///
    /// # Errors
    /// As [`Manifest::load`].
    pub fn load_brief(run: &RunDir) -> Result<Manifest, StoreError> {
        if !run.is_sweep() {
            return Manifest::load(run);
        }
        super::sweep::manifest(run, |record| {
            record.fitness = serde_json::Value::Null;
            record.commands = Vec::new();
        })
    }

    /// Takes in the records in the folders of trials that it knows no more of than that they were planned. Those that
    /// cannot be read say nothing.
    pub(crate) fn take_records(&mut self, run: &RunDir) {
        for planned in self.trials.iter_mut().filter(|trial| trial.state == TrialState::Planned) {
            if let Ok(Some(record)) = TrialRecord::load(&run.trial(&planned.id))
                && record.id == planned.id
            {
                *planned = record;
            }
        }
    }

    fn parse(text: &[u8], path: &Path) -> Result<Manifest, StoreError> {
        #[derive(Deserialize)]
        struct Version {
            format: u64,
        }
        // First the version alone, so that a later format is called that and not a missing field.
        let Version { format } = super::json::read(text, path)?;
        if format > FORMAT {
            return Err(StoreError::Newer { path: path.to_owned(), found: format });
        }
        let manifest: Manifest = super::json::read(text, path)?;
        manifest.check_trials(path)?;
        Ok(manifest)
    }

    /// Trials are folders in the run's own: a name that leads elsewhere, or two of one name, would have tables of
    /// others overwritten.
    fn check_trials(&self, path: &Path) -> Result<(), StoreError> {
        let planned: BTreeMap<&str, &Point> = self.plan.trials.iter().map(|t| (t.id.as_str(), &t.point)).collect();
        let mut seen = BTreeSet::new();
        for TrialRecord { id, point, .. } in &self.trials {
            let mut parts = Path::new(id).components();
            let plain =
                matches!((parts.next(), parts.next()), (Some(Component::Normal(name)), None) if name == id.as_str());
            let why = if !plain {
                "which cannot be the name of a folder in it"
            } else if !seen.insert(id) {
                "and that twice"
            } else if planned.get(id.as_str()).is_some_and(|planned| *planned != point) {
                "with another scheme, repetition or parameter than its plan"
            } else {
                continue;
            };
            return Err(StoreError::Trial { path: path.to_owned(), id: id.clone(), why });
        }
        Ok(())
    }
}

/// What is said of a trial whose record does not tell whether it is fit.
fn unjudged() -> Vec<String> {
    vec!["fitness unknown: its record does not say".to_owned()]
}

impl TrialRecord {
    /// Whether it came to its end and the machine had not kept up meanwhile.
    #[must_use]
    pub fn is_unfit(&self) -> bool {
        self.state == TrialState::Done && self.ended.is_some() && !self.unfit.is_empty()
    }

    /// That of a trial whose turn has not come.
    #[must_use]
    pub fn planned(trial: &Trial) -> TrialRecord {
        TrialRecord {
            id: trial.id.clone(),
            point: trial.point.clone(),
            state: TrialState::Planned,
            cause: None,
            node: None,
            unfit: Vec::new(),
            doubts: Vec::new(),
            damage: Vec::new(),
            started: None,
            ended: None,
            zero_ns: None,
            phases: Vec::new(),
            commands: Vec::new(),
            fitness: serde_json::Value::Null,
            captures: Captures::Kept,
            files: BTreeMap::new(),
        }
    }

    /// Writes it into the trial's folder, in place of the one before, whole or not at all.
    ///
    /// # Errors
    /// As [`write_atomic`].
    pub fn save(&self, dir: &TrialDir) -> Result<(), StoreError> {
        let path = dir.record();
        let mut text = serde_json::to_vec(self)
            .map_err(|error| StoreError::Manifest { path: path.clone(), why: error.to_string() })?;
        text.push(b'\n');
        write_atomic(&path, &text)
    }

    /// Reads the record in a trial's folder; `None` if there is none.
    ///
    /// # Errors
    /// [`StoreError::Manifest`], [`StoreError::Io`].
    pub fn load(dir: &TrialDir) -> Result<Option<TrialRecord>, StoreError> {
        let path = dir.record();
        match crate::file::read(&path) {
            Ok(text) => super::json::read(&text, &path).map(Some),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::Io { doing: "read", path, source }),
        }
    }

    /// What a reader of its numbers must be told; empty for a sound trial: `UNFIT: CPU pressure …`, `PARTIAL: …`.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        match &self.state {
            TrialState::Done if !self.damage.is_empty() => {
                warnings.push(format!("PARTIAL: {}", self.damage.join("; ")))
            }
            TrialState::Done | TrialState::Planned => {}
            TrialState::Running => warnings.push("PARTIAL: it never ended".to_owned()),
            TrialState::Partial { why } => warnings.push(format!("PARTIAL: {why}")),
            TrialState::Failed { why } => warnings.push(format!("FAILED: {why}")),
            TrialState::Unknown => warnings.push("PARTIAL: its state is one of a later livectl".to_owned()),
        }
        if !self.unfit.is_empty() {
            warnings.push(format!("UNFIT: {}", self.unfit.join("; ")));
        }
        warnings
    }

    /// Takes in what an analysis of its frames found, in place of what an earlier one had found.
    pub fn set_doubts(&mut self, doubts: Vec<String>) {
        let earlier = std::mem::take(&mut self.doubts);
        self.unfit.retain(|reason| !earlier.contains(reason));
        self.unfit.extend(doubts.iter().cloned());
        self.doubts = doubts;
    }

    /// Whether it was stopped or broke before its end, or what it left is damaged.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        match self.state {
            TrialState::Done => !self.damage.is_empty(),
            TrialState::Planned => false,
            TrialState::Running | TrialState::Partial { .. } | TrialState::Failed { .. } | TrialState::Unknown => {
                true
            }
        }
    }
}

/// A moment as RFC 3339 text.
pub(crate) mod moment {
    use super::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(moment: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(moment)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A moment as RFC 3339 text, or null.
mod optional_moment {
    use super::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(moment: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
        match moment {
            Some(moment) => to.collect_str(moment),
            None => to.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|t| t.parse().map_err(serde::de::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::store::Owner;

    /// A manifest as the first format has it, with nothing but what every version writes. Never change this text.
    const OLDEST: &str = r#"{
        "format": 1, "run": "20261122T231700Z", "livectl": {"version": "0.1.0"},
        "recipe": {"name": "p2p", "text": "video: {}\n"},
        "plan": {"recipe": "p2p", "description": "", "trials": []}, "seed": 7,
        "started": "2026-11-22T23:17:00Z",
        "trials": [{"id": "direct-1", "scheme": "direct", "repetition": 1, "state": {"is": "done"}}]
    }"#;

    fn started() -> Timestamp {
        "2026-11-22T23:17:00Z".parse().unwrap()
    }

    fn run() -> (tempfile::TempDir, RunDir) {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::create(folder.path(), "p2p", started(), Owner::Process).unwrap();
        (folder, run)
    }

    fn full(run: &RunDir) -> Manifest {
        let recipe =
            RecipeRecord { name: "p2p".into(), path: Some("recipes/p2p.yaml".into()), text: "a: ü\n".into() };
        let plan = Plan { recipe: "p2p".into(), description: "d".into(), seed: 1, trials: Vec::new() };
        let livectl = Software { version: "0.1.0".into(), commit: Some("abc".into()) };
        let mut manifest = Manifest::new(run, recipe, plan, 7, livectl, started());
        manifest.ended = Some("2026-11-22T23:19:00.5Z".parse().unwrap());
        manifest.machine =
            Machine { cores: 2, memory_bytes: 1 << 34, kernel: "Linux 6.1".into(), os: "Debian".into() };
        manifest.tools.insert("ffmpeg".into(), "5.1".into());
        manifest.link =
            Some(Choice { asked: LinkKind::Auto, used: LinkKind::Emulated, why: "the kernel has no netem".into() });
        manifest.datapath = Some(Choice { asked: Datapath::User, used: Datapath::User, why: "asked for".into() });
        manifest.trials.push(TrialRecord {
            id: "direct-1".into(),
            point: Point::new(crate::plan::Scheme::Direct, 1),
            state: TrialState::Failed { why: "nginx died".into() },
            node: None,
            cause: Some(Cause::Trial),
            captures: Captures::Dropped,
            damage: vec![],
            unfit: vec!["CPU pressure 31 %".into()],
            doubts: Vec::new(),
            started: Some(started()),
            ended: None,
            zero_ns: Some(1_795_389_420_000_000_001),
            phases: vec![Phase { name: "boot".into(), seconds: 3.25 }],
            commands: vec![CommandRecord {
                host: Some("hs".into()),
                actor: "nginx".into(),
                argv: vec!["nginx".into(), "-c".into(), "a b".into()],
                exit_code: Some(1),
                signal: None,
            }],
            fitness: serde_json::json!({"cpu": 0.31, "late": [1, 2]}),
            files: BTreeMap::from([(
                "trial.json".to_owned(),
                FileRecord { bytes: 9, xxh3_128: "99aa06d3014798d86001c324468d497f".into() },
            )]),
        });
        manifest
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let (_folder, run) = run();
        let manifest = full(&run);
        manifest.save(&run).unwrap();
        assert_eq!(Manifest::load(&run).unwrap(), manifest);
        assert_eq!(manifest.run, "20261122T231700Z");
    }

    #[test]
    fn while_a_run_goes_on_its_trials_own_records_count() {
        let (_folder, run) = run();
        let mut manifest = full(&run);
        (manifest.ended, manifest.trials[0].state) = (None, TrialState::Planned);
        manifest.save(&run).unwrap();
        let dir = run.trial("direct-1");
        dir.create(Owner::Process).unwrap();
        let record = TrialRecord { state: TrialState::Running, zero_ns: Some(7), ..manifest.trials[0].clone() };
        record.save(&dir).unwrap();
        assert_eq!(Manifest::load(&run).unwrap().trials, std::slice::from_ref(&record));
        let other = TrialRecord { id: "bypass-1".into(), ..record.clone() };
        other.save(&dir).unwrap();
        assert_eq!(Manifest::load(&run).unwrap().trials, manifest.trials, "a record of another trial is none");
        // Once it has ended the manifest has them.
        record.save(&dir).unwrap();
        (manifest.ended, manifest.trials[0].state) = (Some(started()), TrialState::Done);
        manifest.save(&run).unwrap();
        assert_eq!(Manifest::load(&run).unwrap().trials[0].state, TrialState::Done);
    }

    #[test]
    fn the_oldest_manifest_stays_readable() {
        let manifest = Manifest::parse(OLDEST.as_bytes(), Path::new("m")).unwrap();
        assert_eq!(manifest.trials[0].state, TrialState::Done);
        let warnings = manifest.trial("direct-1").unwrap().warnings();
        assert_eq!(
            warnings,
            ["UNFIT: fitness unknown: its record does not say"],
            "who says nothing is not taken for fit"
        );
        assert_eq!((manifest.ended, manifest.link, manifest.trials[0].zero_ns), (None, None, None));
        assert_eq!(manifest.imported, None);
    }

    #[test]
    fn what_later_versions_add_is_ignored() {
        let later = OLDEST
            .replacen("{\n", r#"{ "weather": {"rain": true},"#, 1)
            .replace(r#"{"is": "done"}"#, r#"{"is": "paused", "until": "noon"}"#);
        let manifest = Manifest::parse(later.as_bytes(), Path::new("m")).unwrap();
        assert_eq!(manifest.trials[0].state, TrialState::Unknown);
        assert!(manifest.trials[0].is_partial());
    }

    #[test]
    fn a_later_format_is_named_even_if_nothing_else_fits() {
        let told =
            Manifest::parse(br#"{"format": 2, "everything": "else"}"#, Path::new("x/manifest.json")).unwrap_err();
        assert!(matches!(told, StoreError::Newer { found: 2, .. }));
        assert!(told.to_string().contains("x/manifest.json") && told.to_string().contains("format 2"), "{told}");
    }

    #[test]
    fn damage_is_named_with_its_place() {
        for text in ["", "{", "[]", r#"{"format": "one"}"#, r#"{"format": 1}"#, &OLDEST[..OLDEST.len() - 9]] {
            let told = Manifest::parse(text.as_bytes(), Path::new("x/manifest.json")).unwrap_err();
            assert!(matches!(told, StoreError::Manifest { .. }), "{text}");
            assert!(told.to_string().contains(if text.is_empty() { "it is empty" } else { "line" }), "{told}");
        }
    }

    #[test]
    fn trials_stay_within_the_run_and_have_names_of_their_own() {
        let (_folder, run) = run();
        let mut manifest = full(&run);
        for id in ["", ".", "..", "/etc", "../other", "a/b", "a/"] {
            manifest.trials[0].id = id.into();
            manifest.save(&run).unwrap();
            let told = Manifest::load(&run).unwrap_err().to_string();
            assert!(told.contains("manifest.json names the trial") && told.contains(&format!("{id:?}")), "{told}");
        }
        manifest = full(&run);
        manifest.trials.push(manifest.trials[0].clone());
        manifest.save(&run).unwrap();
        assert!(Manifest::load(&run).unwrap_err().to_string().contains("and that twice"));
    }

    #[test]
    fn a_save_that_fails_leaves_the_manifest_before() {
        let (_folder, run) = run();
        let mut manifest = full(&run);
        manifest.save(&run).unwrap();
        manifest.trials[0].state = TrialState::Done;
        let before = std::fs::read(run.manifest()).unwrap();
        let failed = crate::store::write_atomic_with(&run.manifest(), |file| {
            use std::io::Write;
            file.write_all(&serde_json::to_vec(&manifest).unwrap()[..20])?;
            Err(std::io::Error::from_raw_os_error(nix::libc::EIO))
        });
        assert!(matches!(failed, Err(StoreError::Io { .. })), "{failed:?}");
        assert_eq!(std::fs::read(run.manifest()).unwrap(), before);
        assert!(matches!(Manifest::load(&run).unwrap().trials[0].state, TrialState::Failed { .. }));
    }

    #[test]
    fn readers_see_the_old_or_the_new_manifest_and_nothing_between() {
        let (_folder, run) = run();
        let mut manifest = full(&run);
        manifest.save(&run).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for round in 0..50 {
                    manifest.recipe.text = "x".repeat(round * 1000);
                    manifest.save(&run).unwrap();
                }
            });
            while !writer.is_finished() {
                Manifest::load(&run).unwrap();
            }
        });
    }

    #[test]
    fn doubts_of_a_new_analysis_replace_those_of_the_last() {
        let (_folder, run) = run();
        let mut trial = full(&run).trials.remove(0);
        trial.unfit = vec!["CPU pressure 31 %".into()];
        trial.set_doubts(vec!["late births".into()]);
        assert_eq!(trial.unfit, ["CPU pressure 31 %", "late births"]);
        trial.set_doubts(vec!["later births".into()]);
        assert_eq!(trial.unfit, ["CPU pressure 31 %", "later births"]);
        trial.set_doubts(Vec::new());
        assert_eq!((trial.unfit, trial.doubts), (vec!["CPU pressure 31 %".to_owned()], Vec::new()));
    }

    #[test]
    fn warnings_say_unfit_and_partial_together() {
        let (_folder, run) = run();
        let trial = &mut full(&run).trials[0].clone();
        assert_eq!(trial.warnings(), ["FAILED: nginx died", "UNFIT: CPU pressure 31 %"]);
        trial.state = TrialState::Partial { why: "interrupted".into() };
        assert_eq!(trial.warnings()[0], "PARTIAL: interrupted");
        assert!(trial.is_partial());
        trial.state = TrialState::Done;
        assert!(!trial.is_partial());
        trial.damage = vec!["births/hb.csv: line 9 is cut off".into()];
        assert_eq!(trial.warnings()[0], "PARTIAL: births/hb.csv: line 9 is cut off");
        assert!(trial.is_partial());
    }
}

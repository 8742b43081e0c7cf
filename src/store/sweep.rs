//! The folder of a sweep, `results/<recipe>/sweep/`, which needs no lock, whoever works on it:
//!
//! ```text
//! sweep.json               what is to be done: every trial, in order, by its id
//! attempts/<id>/<attempt>/ trials that run, and those that failed
//! trials/<id>/             trials that are done
//! log/<session>.jsonl      what a session of `livectl sweep` did, written by it alone
//! log/<session>.stop       asks that session to stop
//! ```
//!
//! A trial is done when, and only when, its folder is in `trials/`: it is renamed into it, complete and synced
//! ([`commit`](super::commit)). Nothing here is rewritten that grows, and nothing that is done is ever written again
//! except by `livectl analyze`. An id stands for all that decides the outcome of a trial, so a changed recipe asks
//! for other ids and finds those that it still shares.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::layout::{file_name, folders, make_folders};
use super::manifest::moment;
use super::{
    Choice, Machine, Manifest, Owner, Predicted, RecipeRecord, RunDir, Software, StoreError, TrialDir, TrialRecord,
    TrialState, write_atomic,
};
use crate::parallel;
use crate::plan::{Datapath, LinkKind, Plan, Point, Trial, Until};

/// The format of `sweep.json` that this livectl writes, and the latest that it reads; as [`FORMAT`](super::FORMAT) of
/// manifests.
pub const SWEEP_FORMAT: u64 = 1;
/// What the folder of a sweep is called.
const NAME: &str = "sweep";

/// The folder of a sweep, `results/<recipe>/sweep/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepDir {
    path: PathBuf,
}

/// What a sweep is to do: `sweep.json`. It is written when a recipe is new or has changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SweepFile {
    /// [`SWEEP_FORMAT`] of the livectl that wrote it.
    pub format: u64,
    /// The livectl that wrote it.
    pub livectl: Software,
    /// The command line that wrote it, program name first.
    #[serde(default)]
    pub command: Vec<String>,
    /// The recipe's text, and where it was read.
    pub recipe: RecipeRecord,
    /// The recipe's `description`; empty: it has none.
    #[serde(default)]
    pub description: String,
    /// Seed of the trials' seeds, and of the order.
    pub seed: u64,
    /// When it was written.
    #[serde(with = "moment")]
    pub written: Timestamp,
    /// The machine that it was written on.
    #[serde(default)]
    pub machine: Machine,
    /// Versions of the programs found there: `ffmpeg` → `ffmpeg version 5.1.6-0+deb12u1`.
    #[serde(default)]
    pub tools: BTreeMap<String, String>,
    /// What makes the links: what was asked for, and what is used.
    pub link: Choice<LinkKind>,
    /// Datapath of Open vSwitch: what was asked for, and what is used.
    pub datapath: Choice<Datapath>,
    /// Until what is known trials are repeated. Those of later repetitions than the least are tried only as far as
    /// that needs them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Until>,
    /// The model of the trials that are predicted; `None`: none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<u32>,
    /// The trials in the order in which they are tried.
    pub trials: Vec<Planned>,
}

/// A trial that a sweep is to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// Stands for all that decides its outcome.
    pub id: String,
    /// Its scheme, parameters and repetition.
    #[serde(flatten)]
    pub point: Point,
    /// Length of its timeline in seconds; of a predicted trial what the prediction takes, about.
    pub seconds: f64,
    /// Size of what it leaves, by the nominal bitrate of the video; of a predicted trial by its frames.
    pub bytes: u64,
}

impl Planned {
    /// Whether it is computed by the model, and not played.
    #[must_use]
    pub fn is_predicted(&self) -> bool {
        self.point.is_predicted()
    }
}

/// A folder of `attempts/`: one try at a trial, which runs or did not succeed.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Id of the trial that was tried.
    pub trial: String,
    /// The attempt's folder, laid out as a trial's.
    pub dir: TrialDir,
    /// How it stands; `None`: nothing was recorded.
    pub record: Option<TrialRecord>,
}

impl SweepDir {
    /// Where the sweep of a recipe is, or will be.
    ///
    /// # Errors
    /// [`StoreError::Name`].
    pub fn of(results: &Path, recipe: &str) -> Result<SweepDir, StoreError> {
        Ok(SweepDir { path: results.join(file_name(recipe)?).join(NAME) })
    }

    /// A sweep's folder, given as a path.
    #[must_use]
    pub fn at(path: &Path) -> SweepDir {
        SweepDir { path: path.to_owned() }
    }

    /// The sweep that a path means: its own folder, or that of its recipe.
    ///
    /// # Errors
    /// [`StoreError::NotASweep`].
    pub fn open(path: &Path) -> Result<SweepDir, StoreError> {
        let own = SweepDir::at(path);
        let below = SweepDir::at(&path.join(NAME));
        [own, below]
            .into_iter()
            .find(|sweep| sweep.file().is_file())
            .ok_or_else(|| StoreError::NotASweep { path: path.to_owned() })
    }

    /// All sweeps in a folder of results, in the order of their recipes' names.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn all(results: &Path) -> Result<Vec<SweepDir>, StoreError> {
        let recipes = match folders(results) {
            Ok(recipes) => recipes,
            Err(StoreError::NotARun { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok(recipes.iter().filter_map(|folder| SweepDir::open(folder).ok()).collect())
    }

    /// Makes the folder and those in it. Making it again is no error.
    ///
    /// # Errors
    /// [`StoreError::NotWritable`], [`StoreError::Full`], [`StoreError::Io`].
    pub fn create(&self, owner: Owner) -> Result<(), StoreError> {
        for folder in [self.attempts(), self.trials(), self.log()] {
            make_folders(&folder, owner)?;
        }
        Ok(())
    }

    /// Path of the sweep's folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `sweep.json`, what is to be done: [`SweepFile`].
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.path.join("sweep.json")
    }

    /// Trials that run, and those that failed.
    #[must_use]
    pub fn attempts(&self) -> PathBuf {
        self.path.join("attempts")
    }

    /// The folder `trials/`, with a folder for each trial that is done.
    #[must_use]
    pub fn trials(&self) -> PathBuf {
        self.path.join("trials")
    }

    /// The folder `log/`, in which sessions write what they did.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// The folder of a new attempt; `name` is nobody else's.
    #[must_use]
    pub fn attempt(&self, trial: &str, name: &str) -> TrialDir {
        TrialDir::at(&self.attempts().join(trial).join(name))
    }

    /// The ids of the trials that are done. One listing, however many there are.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn done(&self) -> Result<BTreeSet<String>, StoreError> {
        names(&self.trials())
    }

    /// The attempts whose folders are still in `attempts/`, oldest first for each trial as far as their records tell.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn tried(&self) -> Result<Vec<Attempt>, StoreError> {
        let mut attempts = Vec::new();
        for trial in names(&self.attempts())? {
            attempts.extend(self.tried_of(&trial)?);
        }
        Ok(attempts)
    }

    /// The same of one trial.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn tried_of(&self, trial: &str) -> Result<Vec<Attempt>, StoreError> {
        let mut attempts: Vec<Attempt> = Vec::new();
        for name in names(&self.attempts().join(trial))? {
            let dir = self.attempt(trial, &name);
            // A record that cannot be read is as good as none.
            let record = TrialRecord::load(&dir).unwrap_or(None);
            attempts.push(Attempt { trial: trial.to_owned(), dir, record });
        }
        attempts.sort_by_key(|attempt| attempt.record.as_ref().and_then(|record| record.started));
        Ok(attempts)
    }
}

/// Names of what is in a folder; one that does not exist is empty.
fn names(folder: &Path) -> Result<BTreeSet<String>, StoreError> {
    let unreadable = |source| StoreError::Io { doing: "read", path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut names = BTreeSet::new();
    for entry in entries {
        names.insert(entry.map_err(unreadable)?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

impl SweepFile {
    /// Writes it into the sweep's folder in place of the one before, whole or not at all.
    ///
    /// # Errors
    /// As [`write_atomic`].
    pub fn save(&self, sweep: &SweepDir) -> Result<(), StoreError> {
        let path = sweep.file();
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|error| StoreError::Manifest { path: path.clone(), why: error.to_string() })?;
        text.push(b'\n');
        write_atomic(&path, &text)
    }

    /// Reads it; `None` if there is none yet.
    ///
    /// # Errors
    /// [`StoreError::Newer`], [`StoreError::Manifest`], [`StoreError::Trial`], [`StoreError::Io`].
    pub fn load(sweep: &SweepDir) -> Result<Option<SweepFile>, StoreError> {
        #[derive(Deserialize)]
        struct Version {
            format: u64,
        }
        let path = sweep.file();
        let text = match crate::file::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StoreError::Io { doing: "read", path, source }),
        };
        let Version { format } = super::json::read(&text, &path)?;
        if format > SWEEP_FORMAT {
            return Err(StoreError::Newer { path, found: format });
        }
        let file: SweepFile = super::json::read(&text, &path)?;
        let mut seen = BTreeSet::new();
        for Planned { id, .. } in &file.trials {
            let why = if file_name(id).is_err() {
                "which cannot be the name of a folder in it"
            } else if !seen.insert(id) {
                "and that twice"
            } else {
                continue;
            };
            return Err(StoreError::Trial { path, id: id.clone(), why });
        }
        Ok(Some(file))
    }

    /// Whether the trial is tried in any case.
    #[must_use]
    pub fn needs(&self, trial: &Planned) -> bool {
        self.until.is_none_or(|until| trial.point.repetition <= until.least)
    }
}

/// What a sweep has in the place of a manifest: the trials that are done, and the last attempts of those that failed,
/// in the sweep's order. While it runs, the trials that are yet to come are left out. `cut` takes from a record what
/// nobody needs, as soon as it is read.
pub(super) fn manifest(run: &RunDir, cut: impl Fn(&mut TrialRecord) + Sync) -> Result<Manifest, StoreError> {
    let sweep = SweepDir::at(run.path());
    let file = SweepFile::load(&sweep)?.ok_or_else(|| StoreError::NotARun { path: run.path().to_owned() })?;
    let done = sweep.done()?;
    let mut failed: BTreeMap<String, Attempt> = BTreeMap::new();
    for attempt in sweep.tried()? {
        let is_failure = |record: &TrialRecord| matches!(record.state, TrialState::Failed { .. });
        if attempt.record.as_ref().is_some_and(is_failure) && !done.contains(&attempt.trial) {
            failed.insert(attempt.trial.clone(), attempt);
        }
    }
    let read = |planned: &Planned| -> Result<Option<(TrialRecord, Trial)>, StoreError> {
        let dir = if done.contains(&planned.id) {
            run.trial(&planned.id)
        } else if let Some(attempt) = failed.get(&planned.id) {
            attempt.dir.clone()
        } else {
            return Ok(None);
        };
        // A folder is in its place with all that it needs, or not at all: somebody took the record away, or has put another there.
        let lost = || StoreError::Io {
            doing: "read",
            path: dir.record(),
            source: std::io::Error::new(ErrorKind::NotFound, "it was there and is gone"),
        };
        let mut record = TrialRecord::load(&dir)?.ok_or_else(lost)?;
        if record.id != planned.id {
            let why = "in the folder of another trial";
            return Err(StoreError::Trial { path: dir.record(), id: record.id, why });
        }
        cut(&mut record);
        let path = dir.plan();
        let text = crate::file::read(&path).map_err(|source| StoreError::Io {
            doing: "read",
            path: path.clone(),
            source,
        })?;
        let trial: Trial = super::json::read(&text, &path)?;
        if trial.point != record.point {
            let why = "with another scheme, repetition or parameter than its plan";
            return Err(StoreError::Trial { path: dir.record(), id: record.id, why });
        }
        Ok(Some((record, trial)))
    };
    let (mut trials, mut plans) = (Vec::new(), Vec::new());
    for read in parallel::map(&file.trials, read) {
        if let Some((record, plan)) = read? {
            trials.push(record);
            plans.push(plan);
        }
    }
    let all = trials.len() >= file.trials.iter().filter(|trial| file.needs(trial)).count();
    let ended = trials.iter().filter_map(|trial| trial.ended).max().filter(|_| all);
    let started = trials.iter().filter_map(|trial| trial.started).min().unwrap_or(file.written);
    let plan =
        Plan { recipe: file.recipe.name.clone(), description: file.description, seed: file.seed, trials: plans };
    Ok(Manifest {
        format: super::FORMAT,
        run: run.name(),
        livectl: file.livectl,
        command: file.command,
        recipe: file.recipe,
        plan,
        seed: file.seed,
        started,
        ended,
        machine: file.machine,
        tools: file.tools,
        link: Some(file.link),
        datapath: Some(file.datapath),
        imported: None,
        predicted: file.model.map(|model| Predicted { model, births: None }),
        trials,
        files: BTreeMap::new(),
        analysis: None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::Cause;

    struct Store {
        _folder: tempfile::TempDir,
        sweep: SweepDir,
        plan: Plan,
    }

    fn store() -> Store {
        let folder = tempfile::tempdir().unwrap();
        let sweep = SweepDir::of(folder.path(), "smoke").unwrap();
        sweep.create(Owner::Process).unwrap();
        let text = format!("repetitions: 2\n{}", include_str!("../../recipes/smoke.yaml"));
        let plan = crate::recipe::from_str("recipes/smoke.yaml", &text).unwrap().plan;
        let planned = |trial: &Trial| Planned {
            id: trial.id.clone(),
            point: trial.point.clone(),
            seconds: 10.0,
            bytes: trial.disk_bytes(),
        };
        let file = SweepFile {
            format: SWEEP_FORMAT,
            livectl: Software::of_this_livectl(),
            command: vec!["livectl".into()],
            recipe: RecipeRecord { name: "smoke".into(), path: None, text },
            description: "d".into(),
            seed: 1,
            written: "2026-11-29T00:00:00Z".parse().unwrap(),
            machine: Machine::default(),
            tools: BTreeMap::new(),
            link: Choice { asked: LinkKind::Auto, used: LinkKind::Emulated, why: "no netem".into() },
            datapath: Choice { asked: Datapath::Auto, used: Datapath::User, why: "no module".into() },
            until: None,
            model: None,
            trials: plan.trials.iter().map(planned).collect(),
        };
        file.save(&sweep).unwrap();
        Store { _folder: folder, sweep, plan }
    }

    impl Store {
        fn write(&self, number: usize, dir: &TrialDir, state: TrialState, started: &str) {
            let trial = &self.plan.trials[number];
            fs::create_dir_all(dir.path()).unwrap();
            let mut record = TrialRecord { state, ..TrialRecord::planned(trial) };
            record.started = Some(started.parse().unwrap());
            record.ended = record.started;
            record.save(dir).unwrap();
            fs::write(dir.plan(), serde_json::to_vec(trial).unwrap()).unwrap();
        }

        fn id(&self, number: usize) -> &str {
            &self.plan.trials[number].id
        }

        fn load(&self) -> Manifest {
            Manifest::load(&RunDir::open(self.sweep.path()).unwrap()).unwrap()
        }
    }

    #[test]
    fn what_is_done_and_what_failed_is_read_as_a_run_and_what_is_to_come_is_left_out() {
        let store = store();
        assert_eq!((store.load().trials, store.load().ended), (Vec::new(), None));
        let failed = |why: &str| TrialState::Failed { why: why.into() };
        let place = TrialDir::at(&store.sweep.trials().join(store.id(2)));
        store.write(2, &place, TrialState::Done, "2026-11-29T00:00:05Z");
        // The later failure counts, whatever the folders' names; and one of a trial that is done by now does not.
        store.write(1, &store.sweep.attempt(store.id(1), "a"), failed("second"), "2026-11-29T00:00:03Z");
        store.write(1, &store.sweep.attempt(store.id(1), "b"), failed("first"), "2026-11-29T00:00:02Z");
        store.write(2, &store.sweep.attempt(store.id(2), "a"), failed("once"), "2026-11-29T00:00:01Z");
        store.write(3, &store.sweep.attempt(store.id(3), "a"), TrialState::Running, "2026-11-29T00:00:06Z");
        let manifest = store.load();
        let states: Vec<(&str, &TrialState)> =
            manifest.trials.iter().map(|trial| (trial.id.as_str(), &trial.state)).collect();
        assert_eq!(states, [(store.id(1), &failed("second")), (store.id(2), &TrialState::Done)]);
        assert_eq!(manifest.plan.trials.len(), 2);
        assert_eq!((manifest.ended, manifest.link.unwrap().used), (None, LinkKind::Emulated));
        assert_eq!(store.sweep.done().unwrap(), BTreeSet::from([store.id(2).to_owned()]));
        assert_eq!(SweepDir::open(store.sweep.path().parent().unwrap()).unwrap(), store.sweep);
    }

    #[test]
    fn a_trial_that_is_done_and_has_lost_its_record_is_not_left_out_in_silence() {
        let store = store();
        let place = TrialDir::at(&store.sweep.trials().join(store.id(2)));
        store.write(2, &place, TrialState::Done, "2026-11-29T00:00:05Z");
        let told = || Manifest::load(&RunDir::open(store.sweep.path()).unwrap()).unwrap_err().to_string();
        TrialRecord::planned(&store.plan.trials[1]).save(&place).unwrap();
        assert!(told().contains("in the folder of another trial"), "{}", told());
        fs::remove_file(place.record()).unwrap();
        assert!(told().contains("record.json"), "{}", told());
    }

    #[test]
    fn a_file_of_a_later_livectl_or_with_other_names_is_refused() {
        let store = store();
        let path = store.sweep.file();
        let text = fs::read_to_string(&path).unwrap();
        let told = |text: &str| {
            fs::write(&path, text).unwrap();
            SweepFile::load(&store.sweep).unwrap_err().to_string()
        };
        assert!(told(&text.replacen("\"format\": 1", "\"format\": 2", 1)).contains("format 2"));
        assert!(told(r#"{"format": 7, "all": "else"}"#).contains("format 7"));
        assert!(told(&text[..text.len() / 2]).contains("cannot understand"));
        assert!(told(&text.replacen("direct-1", "../direct-1", 1)).contains("cannot be the name of a folder"));
        assert!(told(&text.replacen("direct-1", "direct-2", 1)).contains("and that twice"));
        fs::remove_file(&path).unwrap();
        assert_eq!(SweepFile::load(&store.sweep).unwrap(), None);
        let told = SweepDir::open(store.sweep.path()).unwrap_err().to_string();
        assert!(told.contains("livectl sweep RECIPE"), "{told}");
    }

    #[test]
    fn a_record_keeps_whose_failure_it_is_and_what_became_of_captures() {
        let store = store();
        let dir = store.sweep.attempt(store.id(0), "a");
        fs::create_dir_all(dir.path()).unwrap();
        let record = TrialRecord {
            cause: Some(Cause::Machine),
            captures: super::super::Captures::Dropped,
            ..TrialRecord::planned(&store.plan.trials[0])
        };
        record.save(&dir).unwrap();
        assert_eq!(TrialRecord::load(&dir).unwrap(), Some(record));
        fs::write(dir.record(), "{").unwrap();
        assert!(TrialRecord::load(&dir).unwrap_err().to_string().contains("record.json"));
        assert_eq!(store.sweep.tried().unwrap()[0].record, None);
    }
}

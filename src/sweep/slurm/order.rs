//! What was asked for when a sweep was handed to Slurm: the folder `slurm/<session>/` beside the sweep's trials,
//! which every job of it reads.
//!
//! ```text
//! order.json      what was asked for
//! plans.jsonl     the plan of each trial, a line each
//! round-1.jsonl   the trials of the first round, a line each: which, and where its plan is
//! out/            what jobs print
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::SlurmError;
use crate::plan::{Datapath, LinkKind, Trial};
use crate::store::{Owner, Planned, StoreError, SweepDir, moment, write_atomic};
use crate::sweep::keep::Keep;
use crate::sweep::queue::Policy;

/// A plan may be so long at most; it is read into memory.
const LONGEST_PLAN: u64 = 64 << 20;

/// What was asked for when a sweep was handed to Slurm: `order.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// Name of the session.
    pub session: String,
    /// Name of the recipe.
    pub recipe: String,
    /// The recipe's file, for who is to type it again.
    pub recipe_path: PathBuf,
    /// livectl's program, which is to be at the same path on every node.
    pub livectl: PathBuf,
    /// Path of the sweep's folder.
    pub sweep: PathBuf,
    /// When it was handed over.
    #[serde(with = "moment")]
    pub given: Timestamp,
    /// What makes the links of all networks.
    pub links: LinkKind,
    /// Datapath of all switches.
    pub datapath: Datapath,
    /// What is done when trials fail.
    pub policy: Policy,
    /// Which captures are kept.
    pub keep: Keep,
    /// A trial that takes longer is killed, in seconds.
    pub trial_deadline_s: Option<u64>,
    /// No trial begins that would not end within so many seconds after `given`.
    pub deadline_s: Option<u64>,
    /// How often trials had failed before, for their own sake.
    pub failed_before: BTreeMap<String, u32>,
    /// What is asked of Slurm.
    pub slurm: Asked,
    /// The folder on the nodes' own disks to measure in; `None`: the job's $TMPDIR, or /var/tmp.
    pub scratch: Option<PathBuf>,
}

/// What is asked of Slurm.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Asked {
    /// The partition; `None`: Slurm's own choice.
    pub partition: Option<String>,
    /// The account; `None`: Slurm's own choice.
    pub account: Option<String>,
    /// At most so many trials at a time.
    pub at_once: Option<u32>,
    /// Further options of `sbatch`, as they were given.
    pub more: Vec<String>,
}

/// A trial of a round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// The trial, as the sweep's file has it.
    pub trial: Planned,
    /// Where its plan begins in `plans.jsonl`.
    pub at: u64,
    /// Bytes that its plan has there.
    pub length: u64,
    /// How long the timeline is with its drain, in seconds.
    pub seconds: f64,
}

impl Order {
    /// The folder of a session's order.
    #[must_use]
    pub fn folder_of(sweep: &SweepDir, session: &str) -> PathBuf {
        sweep.path().join("slurm").join(session)
    }

    /// The folder of this order.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        Order::folder_of(&self.sweep(), &self.session)
    }

    /// Path of `order.json` in that folder.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.folder().join("order.json")
    }

    /// The sweep that it is of.
    #[must_use]
    pub fn sweep(&self) -> SweepDir {
        SweepDir::at(&self.sweep)
    }

    /// Folder for what jobs print.
    #[must_use]
    pub fn out(&self) -> PathBuf {
        self.folder().join("out")
    }

    /// Writes it and the trials' plans. Where each plan is, by the trial's id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn save(&self, plans: &[Trial]) -> Result<(), StoreError> {
        let folder = self.out();
        crate::store::make_folders(&folder, Owner::Process)?;
        let path = self.folder().join("plans.jsonl");
        let unwritable = |source| StoreError::writing(path.clone(), source);
        let mut file = std::io::BufWriter::new(File::create(&path).map_err(unwritable)?);
        for trial in plans {
            let line = json(trial, &path)?;
            file.write_all(&line).map_err(unwritable)?;
        }
        file.into_inner().map_err(|error| unwritable(error.into_error()))?.sync_all().map_err(unwritable)?;
        write_atomic(&self.file(), &json(self, &self.file())?)
    }

    /// Reads the order that a sweep was submitted with.
    ///
    /// # Errors
    /// [`SlurmError::NotShared`], [`StoreError::Manifest`].
    pub fn load(file: &Path) -> Result<Order, SlurmError> {
        let text = crate::file::read(file)
            .map_err(|error| SlurmError::NotShared { path: file.to_owned(), why: error.to_string() })?;
        let order: Order = crate::store::json::read(&text, file)?;
        if order.sweep().file().is_file() && order.file() == file {
            return Ok(order);
        }
        let why = "the sweep is not where it says".to_owned();
        Err(SlurmError::NotShared { path: order.sweep().file(), why })
    }

    /// Where the plans of trials are, by their ids.
    ///
    /// # Errors
    /// [`StoreError`]; [`SlurmError::Changed`] if a trial has none.
    pub fn places(&self, trials: &[Planned]) -> Result<BTreeMap<String, Place>, SlurmError> {
        let path = self.folder().join("plans.jsonl");
        let unreadable = |source| StoreError::Io { doing: "read", path: path.clone(), source };
        let file = crate::file::open(&path).map_err(unreadable)?;
        let by_id: BTreeMap<&str, &Planned> = trials.iter().map(|trial| (trial.id.as_str(), trial)).collect();
        let (mut places, mut at) = (BTreeMap::new(), 0);
        for line in std::io::BufRead::split(std::io::BufReader::new(file), b'\n') {
            let line = line.map_err(unreadable)?;
            let length = line.len() as u64;
            let plan: Trial = crate::store::json::read(&line, &path)?;
            if let Some(trial) = by_id.get(plan.id.as_str()) {
                let seconds = (plan.timeline.end + plan.timeline.drain).as_secs_f64();
                places.insert(plan.id, Place { trial: (*trial).clone(), at, length, seconds });
            }
            at += length + 1;
        }
        if places.len() == by_id.len() { Ok(places) } else { Err(SlurmError::Changed) }
    }

    /// The plan at a place.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Manifest`].
    pub fn plan(&self, place: &Place) -> Result<Trial, StoreError> {
        let path = self.folder().join("plans.jsonl");
        let unreadable = |source| StoreError::Io { doing: "read", path: path.clone(), source };
        let mut file = crate::file::open(&path).map_err(unreadable)?;
        let mut text = Vec::new();
        file.seek(SeekFrom::Start(place.at)).map_err(unreadable)?;
        file.take(place.length.min(LONGEST_PLAN)).read_to_end(&mut text).map_err(unreadable)?;
        crate::store::json::read(&text, &path)
    }

    fn round(&self, number: u32) -> PathBuf {
        self.folder().join(format!("round-{number}.jsonl"))
    }

    /// Whether a round was written down.
    #[must_use]
    pub fn has_round(&self, number: u32) -> bool {
        self.round(number).is_file()
    }

    /// Writes down the trials of a round, a line each.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn save_round(&self, number: u32, places: &[Place]) -> Result<(), StoreError> {
        let path = self.round(number);
        let mut text = Vec::new();
        for place in places {
            text.append(&mut json(place, &path)?);
        }
        write_atomic(&path, &text)
    }

    /// The trials of a round.
    ///
    /// # Errors
    /// [`SlurmError::NotShared`], [`StoreError::Manifest`].
    pub fn load_round(&self, number: u32) -> Result<Vec<Place>, SlurmError> {
        let path = self.round(number);
        let text = crate::file::read(&path)
            .map_err(|error| SlurmError::NotShared { path: path.clone(), why: error.to_string() })?;
        let line = |line: &[u8]| crate::store::json::read(line, &path).map_err(Into::into);
        text.split(|byte| *byte == b'\n').filter(|text| !text.is_empty()).map(line).collect()
    }
}

/// A value as a line of JSON.
fn json(what: &impl Serialize, path: &Path) -> Result<Vec<u8>, StoreError> {
    let mut text = serde_json::to_vec(what)
        .map_err(|error| StoreError::Manifest { path: path.to_owned(), why: error.to_string() })?;
    text.push(b'\n');
    Ok(text)
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::plan::Plan;
    use crate::sweep::identity::{identified, planned};

    /// The plan of a small sweep.
    pub(in crate::sweep::slurm) fn plan(repetitions: u32) -> Plan {
        let text = format!("repetitions: {repetitions}\n{}", include_str!("../../../recipes/smoke.yaml"));
        let plan = crate::recipe::from_str("recipes/x.yaml", &text).unwrap().plan;
        identified(plan, LinkKind::Emulated, Datapath::User).unwrap()
    }

    /// An order for a sweep in that folder.
    pub(in crate::sweep::slurm) fn order(folder: &Path) -> Order {
        Order {
            session: "20261129T000000Z-login-7-abcdef01".into(),
            recipe: "x".into(),
            recipe_path: "/home/a/recipes/x.yaml".into(),
            livectl: "/usr/local/bin/livectl".into(),
            sweep: folder.join("x/sweep"),
            given: "2026-11-29T00:00:00Z".parse().unwrap(),
            links: LinkKind::Emulated,
            datapath: Datapath::User,
            policy: Policy::default(),
            keep: Keep::All,
            trial_deadline_s: None,
            deadline_s: None,
            failed_before: BTreeMap::new(),
            slurm: Asked::default(),
            scratch: None,
        }
    }

    #[test]
    fn an_order_is_read_where_it_was_written_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let (order, plan) = (order(folder.path()), plan(3));
        order.save(&plan.trials).unwrap();
        let told = Order::load(&order.file()).unwrap_err().to_string();
        assert!(told.contains("sweep.json") && told.contains("shared with this node"), "{told}");
        std::fs::write(order.sweep().file(), "{}").unwrap();
        assert_eq!(Order::load(&order.file()).unwrap(), order);
        let told = Order::load(&folder.path().join("order.json")).unwrap_err().to_string();
        assert!(told.contains("shared with this node"), "{told}");

        let trials = planned(&plan);
        let places = order.places(&trials).unwrap();
        let of_round: Vec<Place> = [4, 1].map(|n: usize| places[&trials[n].id].clone()).to_vec();
        order.save_round(1, &of_round).unwrap();
        assert_eq!((order.has_round(1), order.has_round(2)), (true, false));
        let read = order.load_round(1).unwrap();
        assert_eq!(read, of_round);
        assert_eq!(order.plan(&read[0]).unwrap(), plan.trials[4]);
        assert_eq!(order.plan(&read[1]).unwrap(), plan.trials[1]);

        let other = Planned { id: "direct-000000000000-1".into(), ..trials[0].clone() };
        assert!(matches!(order.places(&[other]), Err(SlurmError::Changed)));
    }
}

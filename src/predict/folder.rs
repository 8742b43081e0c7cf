//! A predicted trial as it is stored: the folder of a measured one, without captures, logs and pings.

use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

use super::births::{BirthsError, encode};
use super::crowd::{self, Crowd};
use super::{LINKS, Prediction, Unpredictable, first_birth, predict_unless};
use crate::plan::{Trial, Video};
use crate::store::{Captures, FileRecord, StoreError, TrialDir, TrialRecord, TrialState, write_atomic};
use crate::table::{self, Analysis, Observed, TableError};
use crate::trace::Births;

/// A trial's frames, those of each stream.
pub type Frames = Vec<Births>;

/// What the encoder makes of videos: of each once, however many trials have it.
#[derive(Debug, Default)]
pub struct Encoded {
    known: Mutex<Vec<(Video, Births)>>,
}

impl Encoded {
    /// The frames of a trial whose moment 0 is `zero_ns`, in nanoseconds of CLOCK_REALTIME.
    ///
    /// # Errors
    /// [`BirthsError`].
    pub fn frames(&self, trial: &Trial, zero_ns: i64) -> Result<Frames, BirthsError> {
        // Whoever wants the same video meanwhile waits for it.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let place = match known.iter().position(|(video, _)| *video == trial.video) {
            Some(place) => place,
            None => {
                let births = encode(&trial.video, 0)?;
                known.push((trial.video.clone(), births));
                known.len() - 1
            }
        };
        let births = known[place].1.clone();
        drop(known);
        let of_stream = |stream: &crate::plan::Stream| {
            let first = i64::try_from(first_birth(trial, &stream.broadcaster)).unwrap_or_default();
            moved(births.clone(), zero_ns.saturating_add(first))
        };
        Ok(trial.streams.iter().map(of_stream).collect())
    }
}

/// The same births, later by so many nanoseconds.
#[must_use]
pub fn moved(mut births: Births, by_ns: i64) -> Births {
    for birth in births.frames.iter_mut().chain(&mut births.others) {
        birth.birth_ns = birth.birth_ns.saturating_add(by_ns);
    }
    births
}

/// A trial that has been predicted and is not stored yet.
#[derive(Debug)]
pub struct Predicted {
    /// Its record, without files: it is stored when they are.
    pub record: TrialRecord,
    /// Its plan: of a crowd, with the comings and goings of those who are named.
    pub trial: Trial,
    /// Its tables, as a measured trial has them.
    pub analysis: Analysis,
    /// Packets that never came out of a link.
    pub dropped: u64,
}

/// Predicts a trial whose folder will be `dir`, and writes nothing. It is given up when `halt` is set.
///
/// # Errors
/// [`Unpredictable`].
pub fn tabulated(
    dir: &TrialDir,
    trial: &Trial,
    frames: &Frames,
    zero_ns: i64,
    halt: &AtomicBool,
) -> Result<Predicted, Unpredictable> {
    let (trial, figures, trace, told, dropped) = match (trial.crowd, frames.first()) {
        (Some(viewers), Some(births)) => {
            let Crowd { figures, trace, told } = crowd::predict(trial, births, zero_ns, viewers)?;
            (trace.trial.clone(), Some((figures, births)), trace, told, 0)
        }
        _ => {
            let Prediction { trace, told, dropped } = predict_unless(trial, frames, zero_ns, halt)?;
            (trial.clone(), None, trace, told, dropped)
        }
    };
    let mut record = TrialRecord {
        state: TrialState::Done,
        captures: Captures::Never,
        zero_ns: Some(zero_ns),
        ..TrialRecord::planned(&trial)
    };
    let observed = Observed { trace, told, pings: Vec::new(), problems: Vec::new(), damage: Vec::new() };
    let mut analysis = table::tabulate(dir, observed, &record, Some(LINKS));
    if let Some((figures, births)) = figures {
        crowd::enter(&trial, &figures, births, &mut analysis);
    }
    // None is to be expected; if there is one, the model is wrong, and its run says so.
    record.set_doubts(analysis.doubts.clone());
    Ok(Predicted { record, trial, analysis, dropped })
}

/// Writes the folder of a predicted trial. Its record then has the files.
///
/// # Errors
/// [`TableError`].
pub fn write(dir: &TrialDir, frames: &Frames, predicted: Predicted) -> Result<TrialRecord, TableError> {
    let Predicted { mut record, trial, analysis, .. } = predicted;
    std::fs::create_dir_all(dir.path()).map_err(|error| StoreError::writing(dir.path(), error))?;
    let plan = serde_json::to_vec_pretty(&trial)
        .map_err(|error| StoreError::writing(dir.plan(), std::io::Error::other(error)))?;
    write_atomic(&dir.plan(), &plan)?;
    for (stream, births) in trial.streams.iter().zip(frames) {
        let path = dir.births(&stream.broadcaster);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|error| StoreError::writing(parent, error))?;
        }
        write_atomic(&path, births.text().as_bytes())?;
    }
    analysis.write(dir)?;
    record.files = FileRecord::of_folder(dir.path())?;
    record.files.remove(crate::store::RECORD);
    Ok(record)
}

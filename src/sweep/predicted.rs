//! The predicted trials of a sweep: computed here, and stored as if they had been played.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;

use crate::plan::Trial;
use crate::predict::Unpredictable;
use crate::predict::births::BirthsError;
use crate::predict::folder::{self, Encoded, Frames, Predicted};
use crate::run::event::{Ending, Happening, Phase, Stamped, Update};
use crate::run::{Context, RunError, Urgency, supervise, tell};
use crate::store::{Cause, TrialDir, TrialRecord, TrialState};

/// Plays a trial or predicts it, whatever it is, and records it in `dir`.
pub(super) async fn trial(
    context: &Context,
    trial: &Trial,
    dir: &TrialDir,
    serial: u32,
    encoded: &Arc<Encoded>,
) -> Result<TrialRecord, RunError> {
    if trial.point.is_predicted() {
        predicted(context, trial, dir, encoded).await
    } else {
        supervise::trial(context, trial, dir, serial).await
    }
}

/// Why there is no prediction.
enum Failed {
    Births(BirthsError),
    Model(Unpredictable),
    /// The thread that computed it broke.
    Broke,
}

type Computed = Result<(Frames, Predicted), Failed>;

async fn predicted(
    context: &Context,
    trial: &Trial,
    dir: &TrialDir,
    encoded: &Arc<Encoded>,
) -> Result<TrialRecord, RunError> {
    dir.create(context.owner)?;
    let _settled = context.owner.settle_when_done(dir.path());
    tell(&context.updates, Update::TrialStarted { trial: trial.id.clone() }).await;
    let phase = Stamped::now(Happening::Phase { phase: Phase::Predict });
    tell(&context.updates, Update::Trial { trial: trial.id.clone(), what: phase }).await;
    let started = jiff::Timestamp::now();
    let mut record = TrialRecord { state: TrialState::Running, ..TrialRecord::planned(trial) };
    record.started = Some(started);
    record.save(dir)?;

    let zero_ns = i64::try_from(started.as_nanosecond()).unwrap_or_default();
    let (computed, halted) = computed(context, trial, dir, encoded, zero_ns).await;
    let is_interrupted = *context.urgency.borrow() > Urgency::None;
    record = match computed {
        Some(Ok((frames, predicted))) if !is_interrupted => {
            let dir = dir.clone();
            let written = tokio::task::spawn_blocking(move || folder::write(&dir, &frames, predicted)).await;
            written.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?
        }
        _ if is_interrupted => TrialRecord { state: TrialState::Partial { why: "interrupted".to_owned() }, ..record },
        computed => {
            let (why, cause) = match computed {
                Some(Err(Failed::Births(error @ BirthsError::NoEncoder(_)))) => (error.to_string(), Cause::Machine),
                Some(Err(Failed::Births(error))) => (error.to_string(), Cause::Trial),
                Some(Err(Failed::Model(_))) | None if halted => {
                    ("it took longer than --trial-deadline allows".to_owned(), Cause::Trial)
                }
                Some(Err(Failed::Model(why))) => (why.to_string(), Cause::Trial),
                _ => ("the model broke".to_owned(), Cause::Trial),
            };
            TrialRecord { state: TrialState::Failed { why }, cause: Some(cause), ..record }
        }
    };
    record.started = Some(started);
    record.ended = Some(jiff::Timestamp::now());
    record.save(dir)?;
    let ending = Ending { state: record.state.clone(), unfit: record.unfit.clone(), damage: record.damage.clone() };
    tell(&context.updates, Update::TrialEnded { trial: trial.id.clone(), ending }).await;
    Ok(record)
}

/// Computes in a thread of its own, until it is done or nobody wants it any more; and whether it was halted for its
/// deadline. Nothing is written meanwhile, so that whoever is in a hurry need not wait for it: `None`.
async fn computed(
    context: &Context,
    trial: &Trial,
    dir: &TrialDir,
    encoded: &Arc<Encoded>,
    zero_ns: i64,
) -> (Option<Computed>, bool) {
    let halt = Arc::new(AtomicBool::new(false));
    let (done, mut ended) = oneshot::channel();
    {
        let (trial, dir, encoded, halt) = (trial.clone(), dir.clone(), Arc::clone(encoded), Arc::clone(&halt));
        let work = move || -> Computed {
            let frames = encoded.frames(&trial, zero_ns).map_err(Failed::Births)?;
            let predicted = folder::tabulated(&dir, &trial, &frames, zero_ns, &halt).map_err(Failed::Model)?;
            Ok((frames, predicted))
        };
        // Not one of tokio's: the process need not wait for it when it ends.
        std::thread::spawn(move || {
            let _ = done.send(work());
        });
    }
    let mut urgency = context.urgency.clone();
    let deadline = async {
        match context.deadline {
            Some(deadline) => tokio::time::sleep(deadline).await,
            None => std::future::pending().await,
        }
    };
    let mut deadline = std::pin::pin!(deadline);
    let mut is_late = false;
    loop {
        tokio::select! {
            computed = &mut ended => return (Some(computed.unwrap_or(Err(Failed::Broke))), is_late),
            // Even then it is waited for: what goes on computing would disturb the next trial.
            () = &mut deadline, if !is_late => {
                is_late = true;
                halt.store(true, Ordering::Relaxed);
            }
            Ok(()) = urgency.changed() => {
                halt.store(true, Ordering::Relaxed);
                if *urgency.borrow() >= Urgency::Hurry {
                    return (None, is_late);
                }
            }
        }
    }
}

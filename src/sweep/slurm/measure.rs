//! The part of a task that is root: it looks whether the node can run trials, and plays one on the node's own disk.
//! It is told what to do on its standard input, whose end means that the task is gone, and tells what it does in
//! lines of a log on its standard output.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::sync::{mpsc, watch};

use super::SlurmError;
use crate::plan::{Datapath, LinkKind, Trial};
use crate::run::{Context, Urgency};
use crate::sandbox::capability::{self, Capabilities, Places};
use crate::sandbox::running::running;
use crate::store::{self, Owner, Planned, TrialDir, TrialRecord, TrialState};
use crate::sweep::SweepError;
use crate::sweep::keep::{Keep, drop_captures};
use crate::sweep::perform::{RESERVE, line_of};
use crate::sweep::predicted;
use crate::sweep::session::{Did, Line};

/// For the kernel to take a sandbox away that was killed, and for its files to be removed after it.
const GONE: Duration = Duration::from_secs(10);
/// An errand is no longer than this.
const LONGEST: u64 = 64 << 20;

/// A trial that a task is to measure, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Errand {
    /// Plan of the trial.
    pub trial: Trial,
    /// The same as the sweep has it.
    pub planned: Planned,
    /// The folder to measure in; it does not exist yet.
    pub dir: PathBuf,
    /// Name of the attempt at the trial.
    pub attempt: String,
    /// What makes the links of its network.
    pub links: LinkKind,
    /// Datapath of its switches.
    pub datapath: Datapath,
    /// Which captures are kept afterwards.
    pub keep: Keep,
    /// A trial that takes longer is killed.
    pub deadline: Option<Duration>,
    /// Name of the node.
    pub node: String,
    /// Folders beside `dir` that tasks left which were killed, and that their user cannot remove.
    pub stale: Vec<PathBuf>,
}

/// How the errand of a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The trial was played; its record says how.
    Played,
    /// The node cannot run trials.
    Unable,
    /// The task is gone, or was told to end.
    Stopped,
}

/// Reads an errand and does it.
///
/// # Errors
/// [`SlurmError::Store`], [`SlurmError::Sweep`].
pub async fn measure(tell: impl Fn(&Line) + Clone + 'static) -> Result<Ended, SlurmError> {
    let mut input = BufReader::new(tokio::io::stdin());
    let mut text = Vec::new();
    let unreadable =
        |source| store::StoreError::Io { doing: "read", path: "the errand on standard input".into(), source };
    (&mut input).take(LONGEST).read_until(b'\n', &mut text).await.map_err(unreadable)?;
    let errand: Errand = serde_json::from_slice(&text).map_err(|error| store::StoreError::Manifest {
        path: "the errand on standard input".into(),
        why: error.to_string(),
    })?;
    let say = move |what: Did| tell(&Line { what, time: jiff::Timestamp::now() });
    let mut end = std::pin::pin!(stopped(input));
    tokio::select! {
        ended = do_it(&errand, say) => ended,
        () = &mut end => {
            // What ran was dropped and is killed by that.
            clear(&errand.dir).await;
            Ok(Ended::Stopped)
        }
    }
}

/// Until nobody is left who would want to know, or a signal says that time is up: Slurm sends SIGTERM to all
/// processes of a task and kills them a little later, so nothing is waited for.
async fn stopped(mut input: BufReader<tokio::io::Stdin>) {
    use tokio::signal::unix::{SignalKind, signal};
    let gone = async {
        let mut rest = [0; 64];
        while matches!(input.read(&mut rest).await, Ok(count) if count > 0) {}
    };
    let told = async {
        match (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup())) {
            (Ok(mut term), Ok(mut int), Ok(mut hup)) => {
                tokio::select! { _ = term.recv() => {}, _ = int.recv() => {}, _ = hup.recv() => {} }
            }
            _ => std::future::pending().await,
        }
    };
    tokio::select! { () = gone => {}, () = told => {} }
}

async fn do_it(errand: &Errand, say: impl Fn(Did) + 'static) -> Result<Ended, SlurmError> {
    let begun = std::time::Instant::now();
    let Errand { trial, planned, node, .. } = errand;
    let owner = Owner::of_this_process()?;
    let dir = TrialDir::at(&errand.dir);
    let scratch = errand.dir.parent().unwrap_or(Path::new("/")).to_owned();
    for left in errand.stale.iter().filter(|left| left.parent() == Some(&scratch)) {
        // It keeps nobody from measuring.
        let _ = std::fs::remove_dir_all(left);
    }
    let place = scratch.clone();
    let probed = tokio::task::spawn_blocking(move || Capabilities::probe(&Places { results: place })).await;
    let here = probed.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    let able = able(&here, errand, &scratch);
    let (controller, agent) = match able {
        Ok(programs) => programs,
        Err(why) => {
            say(Did::NodeFailed { node: node.clone(), why });
            return Ok(Ended::Unable);
        }
    };
    say(Did::TrialStarted { trial: trial.id.clone(), attempt: errand.attempt.clone() });
    let (updates, mut told) = mpsc::channel(256);
    let say = std::rc::Rc::new(say);
    let scribe = {
        let say = std::rc::Rc::clone(&say);
        tokio::task::spawn_local(async move {
            while let Some(update) = told.recv().await {
                line_of(&update).into_iter().for_each(|line| say(line));
            }
        })
    };
    let (_never, urgency) = watch::channel(Urgency::None);
    let context = Context {
        links: errand.links,
        datapath: errand.datapath,
        controller,
        agent,
        owner,
        updates,
        urgency,
        deadline: errand.deadline,
        node: node.clone(),
    };
    let played = predicted::trial(&context, trial, &dir, 1, &std::sync::Arc::default()).await;
    drop(context);
    let _ = scribe.await;
    let mut record = played.map_err(SweepError::Run)?;
    let bytes = record.files.values().map(|file| file.bytes).sum();
    if record.state == TrialState::Done {
        let (of, keep) = (dir.clone(), (errand.keep, errand.links));
        let work = move || drop_captures(&of, &mut record, keep).map(|()| record);
        let worked = tokio::task::spawn_blocking(work).await;
        record = worked.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    }
    owner.chown_tree(dir.path())?;
    let TrialRecord { state, cause, unfit, damage, .. } = record;
    say(Did::TrialEnded {
        trial: trial.id.clone(),
        state,
        cause,
        unfit,
        damage,
        planned_s: planned.seconds,
        took_s: begun.elapsed().as_secs_f64(),
        commit_s: 0.0,
        planned_bytes: planned.bytes,
        bytes,
        predicted: planned.is_predicted(),
    });
    Ok(Ended::Played)
}

/// The programs of livectl, if this node can run the trial.
fn able(here: &Capabilities, errand: &Errand, scratch: &Path) -> Result<(PathBuf, PathBuf), String> {
    let report = capability::Report::new(here);
    let obstacles: Vec<String> = report
        .obstacles()
        .filter(|obstacle| obstacle.name != "disk")
        .map(|obstacle| format!("{}: {}", obstacle.name, obstacle.found))
        .collect();
    if !obstacles.is_empty() {
        let install = report.install.map(|install| format!("; `{install}`")).unwrap_or_default();
        return Err(format!("it cannot run trials ({}){install}", obstacles.join("; ")));
    }
    if let Some(lack) = capability::lacking([&errand.trial], here).into_iter().next() {
        return Err(format!("it lacks what the recipe needs: {lack}"));
    }
    capability::resolve_links(errand.links, here).map_err(|error| error.to_string())?;
    capability::resolve_datapath(errand.datapath, here).map_err(|error| error.to_string())?;
    let wanted = &errand.trial.congestion_control;
    if !here.congestion_controls.is_empty() && !here.congestion_controls.contains(wanted) {
        return Err(format!("its kernel has no TCP congestion control {wanted:?}; try `modprobe tcp_{wanted}`"));
    }
    store::require_space(scratch, errand.trial.disk_bytes() + RESERVE).map_err(|error| error.to_string())?;
    let absent = |name: &str| format!("it has no {name} beside livectl");
    let controller = here.controller.clone().ok_or_else(|| absent("live-controller"))?;
    let agent = here.agent.clone().ok_or_else(|| absent("live-agent"))?;
    Ok((controller, agent))
}

/// Waits until nothing of a trial that was killed runs any more, and removes its folder.
async fn clear(dir: &Path) {
    let deadline = std::time::Instant::now() + GONE;
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    loop {
        let dead = !running().is_ok_and(|trials| trials.iter().any(|trial| trial.marker.dir() == dir));
        // What still writes into it would keep it from being empty.
        let removed = dead && (std::fs::remove_dir_all(dir).is_ok() || !dir.exists());
        if removed || std::time::Instant::now() > deadline {
            return;
        }
        looks.tick().await;
    }
}

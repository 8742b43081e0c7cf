//! One trial, seen from outside its sandbox.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin};

use super::event::{Ending, Fitness, Happening, Outcome, Phase, Stamped, Update};
use super::newborn::Newborn;
use super::present::{Present, Watch};
use super::{Context, RunError, Urgency, tell};
use crate::actor::viewer::tells_every;
use crate::plan::Trial;
use crate::sandbox::halted;
use crate::sandbox::host::{self, Footprint, HostState};
use crate::sandbox::{self, Marker};
use crate::store::{self, Cause, CommandRecord, StoreError, TrialDir, TrialRecord, TrialState};
use crate::table;

/// For boot, measurement and teardown together, on a slow machine. A trial that takes longer than its timeline and
/// this has hung and is killed.
const PATIENCE: Duration = Duration::from_secs(180);
/// For the kernel to take everything away after the last process of a sandbox.
const SETTLE: Duration = Duration::from_secs(5);
/// Bytes free on a disk that is as good as full.
const FULL: u64 = 256 << 10;
/// The sandbox's own processes: its keeper, process 1, and process 2, each the child of the one before.
const GENERATIONS: u32 = 2;
/// Log lines of the sandbox that an error quotes.
const LAST_LINES: usize = 12;

/// A failure, in words, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Failed {
    why: String,
    cause: Cause,
}

impl Failed {
    fn machine(why: impl Into<String>) -> Failed {
        Failed { why: why.into(), cause: Cause::Machine }
    }

    fn trial(why: impl Into<String>) -> Failed {
        Failed { why: why.into(), cause: Cause::Trial }
    }

    /// Programs that cannot write end in many ways. On a full disk none of them is the trial's fault.
    fn blame_the_disk(&mut self, dir: &TrialDir) {
        if store::free_space(dir.path()).is_ok_and(|free| free < FULL) {
            self.why = format!("the disk with {} is full; then: {}", dir.path().display(), self.why);
            self.cause = Cause::Machine;
        }
    }
}

/// Runs one trial to its end, whatever that end is, with its files in `dir`, and records it there after every step.
///
/// # Errors
/// Results cannot be written.
pub(crate) async fn trial(
    context: &Context,
    trial: &Trial,
    dir: &TrialDir,
    serial: u32,
) -> Result<TrialRecord, RunError> {
    dir.create(context.owner)?;
    let _settled = context.owner.settle_when_done(dir.path());
    write_plan(dir, trial)?;
    tell(&context.updates, Update::TrialStarted { trial: trial.id.clone() }).await;
    let mut record = TrialRecord::planned(trial);
    record.state = TrialState::Running;
    record.started = Some(jiff::Timestamp::now());
    record.node = Some(context.node.clone());
    record.save(dir)?;

    let mut log = Log::new(dir)?;
    let mut failure = within_sandbox(context, trial, dir, serial, &mut log).await.err();
    let outcome = log.outcome.clone();
    if failure.is_none() {
        let told = outcome.as_ref().and_then(|o| Some((o.failure.clone()?, o.cause.unwrap_or(Cause::Trial))));
        failure = told.map(|(why, cause)| Failed { why, cause });
    }
    if let Some(failed) = &mut failure {
        failed.blame_the_disk(dir);
    }
    let interrupted = outcome.as_ref().is_some_and(|o| o.interrupted) || *context.urgency.borrow() > Urgency::None;

    log.phase(context, trial, Phase::Analyse).await;
    record.state = match (&failure, interrupted) {
        (Some(failed), false) => TrialState::Failed { why: failed.why.clone() },
        (Some(failed), true) => TrialState::Partial { why: format!("interrupted; {}", failed.why) },
        (None, true) => TrialState::Partial { why: "interrupted".into() },
        (None, false) => TrialState::Done,
    };
    let fitness = outcome.as_ref().and_then(|o| o.fitness.clone());
    record.cause = failure.map(|failed| failed.cause);
    record.zero_ns = log.zero_ns;
    record.commands = log.commands.clone();
    record.unfit = doubtful(fitness.as_ref(), &record.state, log.zero_ns.is_some(), log.unread);
    record.fitness = fitness.as_ref().and_then(|f| serde_json::to_value(f).ok()).unwrap_or_default();
    record.save(dir)?;
    let found = match analyse(context, &record, dir).await {
        Ok(found) => found,
        Err(why) => {
            record.state = without_tables(record.state, &why);
            Found { problems: vec![why], ..Found::default() }
        }
    };
    log.end_phase();
    let folder = dir.path().to_owned();
    let files = tokio::task::spawn_blocking(move || store::FileRecord::of_folder(&folder)).await;
    record.files = files.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    record.files.remove(store::RECORD);
    record.set_doubts(found.doubts);
    record.ended = Some(jiff::Timestamp::now());
    record.phases = log.phases.clone();
    record.damage = found.damage;
    record.save(dir)?;
    // That a trial which failed before it began has no files needs no line each.
    let never_began = log.zero_ns.is_none() && !matches!(record.state, TrialState::Done);
    for text in found.problems.into_iter().filter(|_| !never_began) {
        tell(&context.updates, Update::Problem { trial: trial.id.clone(), text }).await;
    }
    let ending = Ending { state: record.state.clone(), unfit: record.unfit.clone(), damage: record.damage.clone() };
    tell(&context.updates, Update::TrialEnded { trial: trial.id.clone(), ending }).await;
    Ok(record)
}

/// Why a trial that ended so is not fit. `began`: its timeline has. `unread`: lines of what it told that cannot be read.
fn doubtful(fitness: Option<&Fitness>, state: &TrialState, began: bool, unread: u64) -> Vec<String> {
    let mut unfit = fitness.map_or_else(
        // Nobody has judged it. Of a trial that failed there is nothing to judge.
        || {
            let has_measured = match state {
                TrialState::Done => true,
                // Of what it measured until then, if it came so far, there are tables.
                TrialState::Partial { .. } => began,
                _ => false,
            };
            Vec::from_iter(has_measured.then(|| "fitness unknown: the trial left no verdict".to_owned()))
        },
        Fitness::reasons,
    );
    if unread > 0 {
        unfit.push(format!("fitness unknown: {unread} lines of what the trial told cannot be read"));
    }
    unfit
}

/// What becomes of a trial whose files could not be analysed: without its figures it is not done.
fn without_tables(state: TrialState, why: &str) -> TrialState {
    match state {
        TrialState::Done => TrialState::Failed { why: why.to_owned() },
        TrialState::Partial { why: before } => TrialState::Partial { why: format!("{before}; {why}") },
        failed => failed,
    }
}

fn write_plan(dir: &TrialDir, trial: &Trial) -> Result<(), StoreError> {
    let text = serde_json::to_vec_pretty(trial).map_err(|e| StoreError::Io {
        doing: "put into JSON for",
        path: dir.plan(),
        source: e.into(),
    })?;
    store::write_atomic(&dir.plan(), &text)
}

/// Starts the sandbox, follows it to its end, and proves that it left nothing. The error is the trial's failure, in words.
async fn within_sandbox(
    context: &Context,
    trial: &Trial,
    dir: &TrialDir,
    serial: u32,
    log: &mut Log,
) -> Result<(), Failed> {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let before = HostState::snapshot().map_err(|e| Failed::machine(e.to_string()))?;
    let started = super::event::unix_ns().unsigned_abs() ^ RUNS.fetch_add(1, Ordering::Relaxed);
    let lost = |e| Failed::machine(format!("cannot find {}: {e}", dir.path().display()));
    let absolute = dir.path().canonicalize().map_err(lost)?;
    let marker = Marker::new(std::process::id(), started, serial, &absolute);
    let mut footprint = Footprint::new(&marker);
    let mut child = start(context, &absolute, &marker, dir).await.map_err(Failed::machine)?;
    let ended = follow(context, trial, dir, &mut child, log, &mut footprint).await;

    log.phase(context, trial, Phase::Prove).await;
    let left = tokio::task::spawn_blocking(move || host::settle(&before, &footprint, SETTLE)).await;
    let left = left.map_err(|e| Failed::machine(format!("the host could not be compared: {e}")))?;
    let left = left.map_err(|e| Failed::machine(e.to_string()))?;
    let ours: Vec<String> = left.iter().filter(|d| d.of_trial).map(ToString::to_string).collect();
    for meanwhile in left.iter().filter(|d| !d.of_trial) {
        tracing::info!("{}: {meanwhile}", trial.id);
    }
    let status = ended?;
    if !ours.is_empty() {
        return Err(Failed::trial(format!("the trial left something behind: {}", ours.join(", "))));
    }
    match (&log.outcome, status.success()) {
        (Some(_), _) => Ok(()),
        // Nothing in a sandbox kills it: that comes from outside.
        (None, _) if status.signal().is_some() => Err(Failed::machine(format!("the sandbox was ended ({status})"))),
        (None, _) => Err(Failed::trial(format!("the sandbox ended early ({status}){}", last_lines(dir)))),
    }
}

async fn start(
    context: &Context,
    absolute: &std::path::Path,
    marker: &Marker,
    dir: &TrialDir,
) -> Result<Child, String> {
    let exe = std::env::current_exe().map_err(|e| format!("cannot find livectl's own file: {e}"))?;
    let [controller, agent] =
        [&context.controller, &context.agent].map(|path| path.canonicalize().unwrap_or_else(|_| path.clone()));
    let (links, datapath) = (context.links.to_string(), context.datapath.to_string());
    let args: [&std::ffi::OsStr; 12] = [
        "internal".as_ref(),
        "trial".as_ref(),
        "--dir".as_ref(),
        absolute.as_os_str(),
        "--link".as_ref(),
        links.as_ref(),
        "--datapath".as_ref(),
        datapath.as_ref(),
        "--controller".as_ref(),
        controller.as_os_str(),
        "--agent".as_ref(),
        agent.as_os_str(),
    ];
    let path = dir.log("-", "sandbox");
    let stderr = File::create(&path).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    let mut command = sandbox::command(marker, &exe, args);
    command.stderr(Stdio::from(stderr));
    sandbox::spawn(command).await.map_err(|e| format!("cannot start a sandbox: {e}"))
}

fn last_lines(dir: &TrialDir) -> String {
    let text = std::fs::read_to_string(dir.log("-", "sandbox")).unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
    if last.is_empty() { String::new() } else { format!(":\n  {}", last.join("\n  ")) }
}

/// Reads the trial's events until it ends, passing on orders to stop.
async fn follow(
    context: &Context,
    trial: &Trial,
    dir: &TrialDir,
    child: &mut Child,
    log: &mut Log,
    footprint: &mut Footprint,
) -> Result<ExitStatus, Failed> {
    let (Some(stdout), Some(mut stdin)) = (child.stdout.take(), child.stdin.take()) else {
        return Err(Failed::machine("the sandbox has no pipes"));
    };
    let mut lines = BufReader::new(stdout).lines();
    let mut viewers = Viewers::new(trial, dir);
    let mut urgency = context.urgency.clone();
    let usual = trial.timeline.end + trial.timeline.drain + PATIENCE;
    let patience = context.deadline.map_or(usual, |deadline| deadline.min(usual));
    let deadline = tokio::time::sleep(patience);
    let keeper = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default();
    let standstill = halted::first(|| halted::of_family(keeper, GENERATIONS));
    tokio::pin!(deadline, standstill);
    loop {
        tokio::select! {
            line = lines.next_line() => match line {
                Ok(Some(line)) => {
                    let Ok(stamped) = serde_json::from_str::<Stamped>(&line) else {
                        tracing::warn!("{}: not an event: {line}", trial.id);
                        log.unread += 1;
                        continue;
                    };
                    if let Happening::Phase { phase: Phase::Ready | Phase::Stop } = stamped.happening {
                        // What it cannot see it will not claim; the mark in the environment remains.
                        if let Err(error) = footprint.observe() {
                            tracing::warn!("{}: {error}", trial.id);
                        }
                    }
                    let (kept, present) = viewers.take(&stamped);
                    if let Some(viewers) = present {
                        let (trial, time_ns) = (trial.id.clone(), stamped.time_ns);
                        tell(&context.updates, Update::Present { trial, time_ns, viewers }).await;
                    }
                    if !kept {
                        continue;
                    }
                    log.take(&stamped).map_err(|e| Failed::machine(e.to_string()))?;
                    tell(&context.updates, Update::Trial { trial: trial.id.clone(), what: stamped }).await;
                }
                Ok(None) | Err(_) => break,
            },
            changed = urgency.changed() => {
                let level = *urgency.borrow_and_update();
                if changed.is_err() || level == Urgency::Now {
                    kill(child, trial);
                    break;
                }
                order(&mut stdin, level).await;
            }
            _ = &mut standstill => {
                kill(child, trial);
                let _ = child.wait().await;
                return Err(Failed::machine("livectl's own process in the sandbox stood still: a signal had stopped it, and it did not go on"));
            }
            () = &mut deadline => {
                kill(child, trial);
                let _ = child.wait().await;
                let within = patience.as_secs_f64();
                return Err(Failed::trial(format!("did not end within {within:.0} s and was killed")));
            }
        }
    }
    // Standard input stays open until here: its end would end the sandbox.
    let status = tokio::time::timeout(PATIENCE, child.wait()).await;
    drop(stdin);
    match status {
        Ok(Ok(status)) => Ok(status),
        Ok(Err(error)) => Err(Failed::machine(format!("cannot wait for the sandbox: {error}"))),
        Err(_) => {
            kill(child, trial);
            Err(Failed::trial("the sandbox did not end after its last event and was killed"))
        }
    }
}

/// What the screen is told of viewers while a trial runs.
struct Viewers {
    watch: Watch,
    births: Vec<Newborn>,
}

impl Viewers {
    fn new(trial: &Trial, dir: &TrialDir) -> Viewers {
        let births = trial.streams.iter().map(|stream| Newborn::new(dir.births(&stream.broadcaster)));
        Viewers { watch: Watch::new(trial, tells_every(trial)), births: births.collect() }
    }

    /// Whether it is to be kept, and how viewers stand, if it told of that and it is time to show it.
    fn take(&mut self, stamped: &Stamped) -> (bool, Option<Vec<Present>>) {
        for log in &mut self.births {
            log.read().iter().for_each(|birth| self.watch.born(birth));
        }
        let told = self.watch.take(stamped);
        (!told, told.then(|| self.watch.look(stamped.time_ns)).flatten())
    }
}

async fn order(stdin: &mut ChildStdin, urgency: Urgency) {
    let word: &[u8] = if urgency >= Urgency::Hurry { b"hurry\n" } else { b"stop\n" };
    // A sandbox that is gone needs no order.
    let _ = stdin.write_all(word).await;
    let _ = stdin.flush().await;
}

fn kill(child: &mut Child, trial: &Trial) {
    if let Err(error) = child.start_kill() {
        tracing::warn!("{}: cannot kill the sandbox: {error}", trial.id);
    }
}

/// What the analysis found to be wrong, though nothing kept it from computing the rest.
#[derive(Default)]
struct Found {
    problems: Vec<String>,
    /// Those of the problems that make the trial partial.
    damage: Vec<String>,
    /// Why the delays cannot be trusted.
    doubts: Vec<String>,
}

/// From stored files to the trial's tables.
///
/// # Errors
/// There are no tables, in words.
async fn analyse(context: &Context, record: &TrialRecord, dir: &TrialDir) -> Result<Found, String> {
    let (dir, record, links) = (dir.clone(), record.clone(), Some(context.links));
    let work = move || {
        let analysis = table::analyse(&dir, &record, links)?;
        analysis.write(&dir)?;
        Ok::<_, table::TableError>(Found {
            problems: analysis.problems,
            damage: analysis.damage,
            doubts: analysis.doubts,
        })
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| format!("its files cannot be analysed: {error}")),
        Err(panic) => Err(format!("the analysis broke: {panic}")),
    }
}

/// What is remembered and stored of a trial's events.
struct Log {
    file: File,
    outcome: Option<Outcome>,
    zero_ns: Option<i64>,
    commands: Vec<CommandRecord>,
    phases: Vec<store::Phase>,
    phase: Option<(Phase, Instant)>,
    path: std::path::PathBuf,
    /// Lines that are no events.
    unread: u64,
}

impl Log {
    fn new(dir: &TrialDir) -> Result<Log, StoreError> {
        let path = dir.events();
        let file = File::create(&path).map_err(|source| StoreError::writing(path.clone(), source))?;
        Ok(Log {
            file,
            outcome: None,
            zero_ns: None,
            commands: Vec::new(),
            phases: Vec::new(),
            phase: None,
            path,
            unread: 0,
        })
    }

    fn take(&mut self, stamped: &Stamped) -> Result<(), StoreError> {
        self.write(stamped)?;
        match &stamped.happening {
            Happening::Phase { phase } => self.begin(*phase),
            Happening::TimelineZero { .. } => self.zero_ns = Some(stamped.time_ns),
            Happening::Started { host, actor, argv } => self.commands.push(CommandRecord {
                host: host.host().map(str::to_owned),
                actor: actor.clone(),
                argv: argv.clone(),
                exit_code: None,
                signal: None,
            }),
            Happening::Ended { host, actor, code, signal } => {
                let ended =
                    self.commands.iter_mut().rev().find(|c| c.host.as_deref() == host.host() && c.actor == *actor);
                if let Some(command) = ended {
                    (command.exit_code, command.signal) = (*code, *signal);
                }
            }
            Happening::Outcome(outcome) => self.outcome = Some(outcome.clone()),
            _ => {}
        }
        Ok(())
    }

    fn write(&mut self, stamped: &Stamped) -> Result<(), StoreError> {
        let mut line = serde_json::to_vec(stamped).unwrap_or_default();
        line.push(b'\n');
        self.file.write_all(&line).map_err(|source| StoreError::writing(self.path.clone(), source))
    }

    /// A phase that happens outside.
    async fn phase(&mut self, context: &Context, trial: &Trial, phase: Phase) {
        let stamped = Stamped::now(Happening::Phase { phase });
        if let Err(error) = self.write(&stamped) {
            tracing::warn!("{error}");
        }
        self.begin(phase);
        tell(&context.updates, Update::Trial { trial: trial.id.clone(), what: stamped }).await;
    }

    fn begin(&mut self, phase: Phase) {
        self.end_phase();
        self.phase = Some((phase, Instant::now()));
    }

    fn end_phase(&mut self) {
        if let Some((phase, since)) = self.phase.take() {
            let name =
                serde_json::to_value(phase).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
            self.phases.push(store::Phase { name, seconds: since.elapsed().as_secs_f64() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_that_nobody_has_judged_is_not_fit() {
        let partial = TrialState::Partial { why: "interrupted".into() };
        let failed = TrialState::Failed { why: "nginx ended early".into() };
        let unjudged = "fitness unknown: the trial left no verdict";
        assert_eq!(doubtful(None, &TrialState::Done, true, 0), [unjudged]);
        assert_eq!(doubtful(None, &partial, true, 0), [unjudged]);
        assert_eq!(doubtful(None, &partial, false, 0), [""; 0], "it has measured nothing");
        assert_eq!(doubtful(None, &failed, true, 0), [""; 0]);
        let (observations, limits) = Default::default();
        let fit = Fitness { verdict: super::super::fitness::Verdict::Fit, observations, limits };
        assert_eq!(doubtful(Some(&fit), &TrialState::Done, true, 0), [""; 0]);
        let unread = doubtful(Some(&fit), &TrialState::Done, true, 3);
        assert_eq!(unread, ["fitness unknown: 3 lines of what the trial told cannot be read"]);
    }

    #[test]
    fn a_trial_without_tables_is_not_done() {
        let why = "its files cannot be analysed";
        assert_eq!(without_tables(TrialState::Done, why), TrialState::Failed { why: why.into() });
        let failed = TrialState::Failed { why: "nginx ended early".into() };
        assert_eq!(without_tables(failed.clone(), why), failed, "what came first is the reason");
        let partial = without_tables(TrialState::Partial { why: "interrupted".into() }, why);
        assert_eq!(partial, TrialState::Partial { why: "interrupted; its files cannot be analysed".into() });
    }
}

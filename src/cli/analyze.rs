//! `livectl analyze` and `livectl verify`: tables from captures, again.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;

use super::exit::{Exit, Failure, WithExit};
use crate::parallel;
use crate::plan::LinkKind;
use crate::store::{self, AnalysisRecord, FileRecord, Manifest, Owner, RunDir, Software, TrialRecord, TrialState};
use crate::table::{self, Analysis, Comparison, TableError};
use crate::ui::{self, Progress};

/// Flags of `livectl analyze`.
#[derive(Debug, Args)]
pub(super) struct AnalyzeArgs {
    /// Folders of runs (results/RECIPE/RUN), or of recipes, for all their runs
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Only these trials, such as direct-1
    #[arg(long = "trial", value_name = "TRIAL")]
    trials: Vec<String>,
    /// Replace stored tables even if captures are gone and the new tables hold less, or files are not what was stored
    #[arg(long)]
    force: bool,
}

/// Flags of `livectl verify`.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// Folders of runs (results/RECIPE/RUN), or of recipes, for all their runs
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
}

/// What became of a trial.
enum Analysed {
    /// It has not been run, or was not asked for.
    Skipped,
    /// Its captures were dropped on purpose, so its tables are all there is.
    Dropped {
        /// What has become of the files recorded.
        changes: Vec<String>,
    },
    /// Its tables were computed.
    Done {
        analysis: Box<Analysis>,
        comparison: Comparison,
        /// What has become of the files recorded.
        changes: Vec<String>,
    },
    Failed(String),
}

/// Computes the tables of runs again.
pub(super) fn analyze(args: &AnalyzeArgs) -> Result<Exit, Failure> {
    each_run(&args.runs, |run| analyze_run(run, args))
}

fn analyze_run(run: &RunDir, args: &AnalyzeArgs) -> Result<Exit, Failure> {
    let mut manifest = Manifest::load(run).exit(Exit::Results)?;
    if manifest.imported.is_some() {
        let (path, typed) = (run.path().display(), crate::shell_word::path(run.path()));
        let why = format!(
            "{path} was imported and has no captures; `livectl import ping --again {typed}` imports it again"
        );
        return Err(Failure::new(Exit::Results, anyhow!(why)));
    }
    if let Some(unknown) = args.trials.iter().find(|id| manifest.trial(id).is_none()) {
        let known: Vec<&str> = manifest.trials.iter().map(|trial| trial.id.as_str()).collect();
        return Err(Failure::new(
            Exit::Usage,
            anyhow!("{} has no trial {unknown}; it has {}", run.path().display(), known.join(", ")),
        ));
    }
    let owner = Owner::of_this_process().exit(Exit::Results)?;
    let _settled = owner.settle_when_done(run.path());
    if manifest.trials.is_empty() {
        let path = run.manifest();
        return Err(Failure::new(Exit::Results, anyhow!("{} has no trials: nothing to compute", path.display())));
    }
    let links = manifest.link.as_ref().map(|link| link.used);
    let wanted = |record: &TrialRecord| args.trials.is_empty() || args.trials.contains(&record.id);
    let progress = Progress::new("analysing", manifest.trials.len() as u64);
    let results = parallel::map(&manifest.trials, |record| {
        let analysed = analyse(run, record, links, wanted(record), false);
        progress.step();
        analysed
    });
    drop(progress);

    let mut exit = Exit::Done;
    // Tables that cannot be computed again, or not as well: they stay, and are folded into the run's.
    let mut staying = Vec::new();
    for (record, analysed) in manifest.trials.iter().zip(&results) {
        let dir = run.trial(&record.id);
        let told = |text: &str| ui::warn(&format!("{}: {text}", dir.path().display()));
        let stays = match analysed {
            Analysed::Skipped | Analysed::Dropped { .. } => true,
            Analysed::Failed(why) => {
                told(why);
                exit = Exit::Results;
                true
            }
            Analysed::Done { analysis, comparison, .. } => {
                for problem in &analysis.problems {
                    told(problem);
                }
                // Of a trial that never came to its end nothing else can be expected.
                if !analysis.damage.is_empty() && record.state == TrialState::Done {
                    exit = Exit::Results;
                }
                let why = why_they_stay(analysis, comparison).filter(|_| !args.force);
                if let Some(why) = &why {
                    told(why);
                    exit = Exit::Results;
                }
                why.is_some()
            }
        };
        staying.push(stays);
        let altered = if stays && !args.force {
            store::altered(dir.path(), &record.files, |name| dir.is_table(name))
        } else {
            Vec::new()
        };
        if !altered.is_empty() {
            let altered = altered.join("; ");
            let why = anyhow!(
                "{}: {altered}. It cannot be computed again, so nothing was written. --force takes it as it is",
                dir.path().display()
            );
            return Err(Failure::new(Exit::Results, why));
        }
    }
    let mut written = false;
    // Tables and the checksums of them go together.
    let whole = store::writing();
    for ((record, analysed), _) in manifest.trials.iter_mut().zip(results).zip(staying).filter(|(_, stays)| !stays) {
        let Analysed::Done { analysis, .. } = analysed else { continue };
        let dir = run.trial(&record.id);
        analysis.write(&dir).exit(Exit::Results)?;
        record.set_doubts(analysis.doubts);
        record.damage = analysis.damage;
        for path in dir.tables().into_iter().filter(|path| path.exists()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            record.files.insert(name, FileRecord::of(&path).exit(Exit::Results)?);
        }
        if dir.record().exists() {
            record.save(&dir).exit(Exit::Results)?;
        }
        written = true;
    }
    if run.is_sweep() {
        let trials = manifest.trials.iter().map(|record| (record.id.as_str(), &record.point));
        let tables = table::SweepTables::of(run, trials).exit(Exit::Results)?;
        if run.summary().exists() {
            tables.write(run).exit(Exit::Results)?;
        }
        let effects = table::effects_text(&tables.effects).unwrap_or_default();
        let models = table::models_text(&tables.models).unwrap_or_default();
        drop(whole);
        let text = format!("{effects}{models}{}", table::estimates_text(&tables.estimates).unwrap_or_default());
        ui::print(&format!("{}: {}\n{text}", run.path().display(), ui::trials(manifest.trials.len())))?;
        let unfit = manifest.trials.iter().any(|record| !record.unfit.is_empty());
        return Ok(if exit == Exit::Done && unfit { Exit::Unfit } else { exit });
    }
    let ids: Vec<&str> = manifest.trials.iter().map(|trial| trial.id.as_str()).collect();
    // Where trials have no tables, those of the run are the only ones there are.
    let tabled = manifest.trials.iter().any(|record| run.trial(&record.id).summary().exists());
    let gathered = if tabled { table::gather(run, ids) } else { table::Tables::of_trials(run, ids) };
    let gathered = gathered.exit(Exit::Results)?;
    if tabled {
        manifest.record_files(run).exit(Exit::Results)?;
    }
    if written {
        manifest.analysis =
            Some(AnalysisRecord { livectl: Software::of_this_livectl(), time: jiff::Timestamp::now() });
    }
    if tabled {
        manifest.save(run).exit(Exit::Results)?;
    }

    drop(whole);
    let text = format!("{}\n{}", run.path().display(), gathered.text(ui::width()));
    ui::print(&text)?;
    if exit == Exit::Done && gathered.summary.iter().any(|row| !row.fit) { Ok(Exit::Unfit) } else { Ok(exit) }
}

/// Why stored tables are worth more than those that were computed now; `None`: they are not.
fn why_they_stay(analysis: &Analysis, comparison: &Comparison) -> Option<String> {
    if analysis.is_only_altered {
        let altered = "they would be of files that are not what was stored";
        return Some(format!("its tables stay as they are, because {altered}. --force writes them, marked partial"));
    }
    (!comparison.no_longer_known.is_empty()).then(|| {
        let gone = comparison.no_longer_known.join(", ");
        format!(
            "its tables stay as they are, because they hold figures that can no longer be computed ({gone}). \
             --force writes what can"
        )
    })
}

/// Compares what is stored of runs with what their captures give.
pub(super) fn verify(args: &VerifyArgs) -> Result<Exit, Failure> {
    each_run(&args.runs, verify_run)
}

fn verify_run(run: &RunDir) -> Result<Exit, Failure> {
    let manifest = Manifest::load(run).exit(Exit::Results)?;
    let links = manifest.link.as_ref().map(|link| link.used);
    let progress = Progress::new("verifying", manifest.trials.len() as u64);
    let results = parallel::map(&manifest.trials, |record| {
        let analysed = analyse(run, record, links, true, true);
        progress.step();
        analysed
    });
    drop(progress);
    let (mut lines, mut notes, mut exit) = (Vec::new(), Vec::new(), Exit::Done);
    let (mut recorded, mut recomputed) = (manifest.files.len(), 0);
    lines.extend(store::changes(run.path(), &manifest.files));
    for (record, analysed) in manifest.trials.iter().zip(results) {
        let id = &record.id;
        match analysed {
            Analysed::Skipped => notes.push(format!("{id}: it was not run")),
            Analysed::Dropped { changes } => {
                let why = match record.captures {
                    store::Captures::Never => "it was predicted, so there are no captures to compute its tables from",
                    _ => "its captures were deleted after its tables had been verified",
                };
                notes.push(format!("{id}: {why}"));
                recorded += record.files.len();
                lines.extend(changes.into_iter().map(|change| format!("{id}/{change}")));
            }
            Analysed::Failed(why) => {
                lines.push(format!("{id}: {why}"));
                exit = Exit::Results;
            }
            Analysed::Done { analysis, comparison, changes } => {
                // What is imported is pings alone.
                if manifest.imported.is_none() {
                    notes.extend(analysis.problems.iter().map(|problem| format!("{id}: {problem}")));
                }
                if record.files.is_empty() {
                    notes.push(format!("{id}: no checksums were recorded"));
                }
                recorded += record.files.len();
                recomputed += 1;
                lines.extend(changes.into_iter().map(|change| format!("{id}/{change}")));
                lines.extend(comparison.differences.into_iter().map(|difference| format!("{id}/{difference}")));
                if !comparison.not_stored.is_empty() && manifest.imported.is_none() {
                    let count = comparison.not_stored.len();
                    notes.push(format!("{id}: {count} columns or tables were not stored by an older livectl"));
                }
            }
        }
    }
    let own = if run.is_sweep() {
        // While it runs, its own tables are of an earlier session, or not there yet.
        let trials = manifest.trials.iter().map(|record| (record.id.as_str(), &record.point));
        let whole = manifest.ended.is_some() && run.summary().exists();
        whole.then(|| table::SweepTables::of(run, trials).and_then(|tables| tables.compare(run)))
    } else {
        let ids = manifest.trials.iter().map(|trial| trial.id.as_str());
        Some(table::Tables::of_trials(run, ids).and_then(|tables| tables.compare(run)))
    };
    let own = own.unwrap_or_else(|| Ok(Comparison::default()));
    match own {
        Ok(comparison) => lines.extend(comparison.differences.into_iter().map(|what| format!("the run's {what}"))),
        Err(error) => {
            lines.push(error.to_string());
            exit = Exit::Results;
        }
    }
    let verdict = if lines.is_empty() {
        format!(
            "as stored: {recorded} files verified by checksum, the tables of {} recomputed",
            ui::trials(recomputed)
        )
    } else {
        let count = lines.len();
        format!("NOT as stored: {count} {}", if count == 1 { "difference" } else { "differences" })
    };
    let all = lines.iter().chain(&notes).map(|line| format!("  {line}\n"));
    ui::print(&format!("{}: {verdict}\n{}", run.path().display(), all.collect::<String>()))?;
    Ok(if exit == Exit::Done && !lines.is_empty() { Exit::Failed } else { exit })
}

fn analyse(
    run: &RunDir,
    record: &TrialRecord,
    links: Option<LinkKind>,
    wanted: bool,
    with_checksums: bool,
) -> Analysed {
    if !wanted || record.state == TrialState::Planned {
        return Analysed::Skipped;
    }
    let dir = run.trial(&record.id);
    if run.is_sweep() && !dir.path().exists() {
        // It failed, and what it left is among the attempts.
        return Analysed::Skipped;
    }
    if !record.captures.are_kept() {
        let changes = if with_checksums { store::changes(dir.path(), &record.files) } else { Vec::new() };
        return Analysed::Dropped { changes };
    }
    let done = || -> Result<Analysed, TableError> {
        let analysis = table::analyse(&dir, record, links)?;
        let comparison = analysis.compare(&dir)?;
        let changes = if with_checksums { store::changes(dir.path(), &record.files) } else { Vec::new() };
        Ok(Analysed::Done { analysis: Box::new(analysis), comparison, changes })
    };
    done().unwrap_or_else(|error| Analysed::Failed(error.to_string()))
}

/// Does the same with all runs; one that fails does not stop the next.
fn each_run(paths: &[PathBuf], work: impl Fn(&RunDir) -> Result<Exit, Failure>) -> Result<Exit, Failure> {
    let (mut runs, mut seen) = (Vec::new(), BTreeSet::new());
    for path in paths {
        for run in RunDir::find(path).exit(Exit::Results)?.runs {
            if seen.insert(run.canonicalize().unwrap_or_else(|_| run.clone())) {
                runs.push(RunDir::open(&run).exit(Exit::Results)?);
            }
        }
    }
    let several = runs.len() > 1;
    let mut worst = Exit::Done;
    for run in &runs {
        match work(run) {
            Ok(exit) => worst = Exit::worst([worst, exit].into_iter()),
            Err(failure) if several && failure.exit != Exit::Usage => {
                ui::warn(&format!("{}: {failure}", run.path().display()));
                worst = Exit::worst([worst, failure.exit].into_iter());
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(worst)
}

//! `livectl import`: measurements made elsewhere become runs like any other.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};

use super::exit::{Exit, Failure, WithExit};
use crate::import::{self, Import, ImportError, Request};
use crate::plot;
use crate::recipe::unit::{Moment, Value as _};
use crate::store::{self, FileRecord, Manifest, Owner, RecipeRecord, RunDir, Software, StoreError, write_atomic};
use crate::table::{self, TableError};
use crate::ui;

/// The name of runs that are given none.
const USUAL_NAME: &str = "imported";
/// Beyond this a moment of the timeline is a slip.
const LATEST: Duration = Duration::from_secs(366 * 86_400);

/// What can be imported.
#[derive(Debug, Subcommand)]
pub(super) enum What {
    /// Import `ping` output and draw the classic delay plot
    #[command(after_help = "\
The delay through the CDN is half of B2S plus half of S2V; from peer to peer it is half of B2V.
Times count from a trial's first ping. Without time stamps (ping -D), pings are taken to be one
interval apart, and both trains of --direct to begin together. Give --direct and --bypass once
for each repetition. livectl reads iputils' ping in any language, BusyBox's and the BSDs'.

Examples:
  livectl import ping --direct b2s.ping s2v.ping --bypass b2v.ping --streaming 15-45 --name classic
  livectl import ping --bypass first.ping --bypass second.ping --interval 200ms
  livectl import ping --again results/classic/20261122T231700Z --streaming 15-44.5")]
    Ping(PingArgs),
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("files").required(true).multiple(true).args(["direct", "bypass", "again"]))]
pub(super) struct PingArgs {
    /// Two files through the CDN: broadcaster pings CDN, CDN pings viewer
    #[arg(long, num_args = 2, value_names = ["B2S", "S2V"])]
    direct: Vec<PathBuf>,
    /// A file from peer to peer: broadcaster pings viewer
    #[arg(long, num_args = 1, value_name = "B2V")]
    bypass: Vec<PathBuf>,
    /// Folder of an imported run: import its files again; options given now replace the old ones
    #[arg(long, value_name = "RUN", conflicts_with_all = ["direct", "bypass"])]
    again: Option<PathBuf>,
    /// When the stream began and ended, in seconds from the first ping: 15-45
    #[arg(long, value_name = "BEGIN-END", value_parser = streaming)]
    streaming: Option<(Duration, Duration)>,
    /// Time between pings, for files without time stamps: 200ms [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = interval)]
    interval: Option<Duration>,
    /// Name of its folder in the results, in place of a recipe's name [default: imported]
    #[arg(long)]
    name: Option<String>,
    /// Folder for results
    #[arg(long, value_name = "DIR", default_value = "results")]
    results: PathBuf,
}

/// Imports what was measured elsewhere as a run.
pub(super) fn import(what: What) -> Result<Exit, Failure> {
    match what {
        What::Ping(args) => ping(args),
    }
}

fn ping(args: PingArgs) -> Result<Exit, Failure> {
    let pairs = args.direct.chunks_exact(2).map(|pair| [pair[0].clone(), pair[1].clone()]);
    let mut request = Request {
        name: args.name.unwrap_or_default(),
        direct: pairs.collect(),
        bypass: args.bypass,
        streaming: args.streaming,
        interval: args.interval,
    };
    let read = match args.again {
        Some(run) => RunDir::open(&run).map_err(ImportError::Store).and_then(|run| import::read_again(&run, request)),
        None => {
            if request.name.is_empty() {
                USUAL_NAME.clone_into(&mut request.name);
            }
            import::read(&request)
        }
    };
    let import = read.map_err(|e| Failure::new(if e.is_usage() { Exit::Usage } else { Exit::Results }, e))?;
    for warning in &import.warnings {
        ui::warn(warning);
    }
    let (run, pictures) = keep(&import, &args.results)?;
    let phases = table::ping_phases(&import.plan.trials, &import.pings(), import.record.streaming_s());
    ui::print(&table::ping_phases_text(&phases))?;
    for file in pictures {
        ui::print(&file.display().to_string())?;
    }
    ui::print(&run.path().display().to_string())?;
    Ok(Exit::Done)
}

/// Makes the run's folder, whole or not at all, and draws its pictures.
fn keep(import: &Import, results: &Path) -> Result<(RunDir, Vec<PathBuf>), Failure> {
    let owner = Owner::of_this_process().exit(Exit::Results)?;
    // The user may type the name; the folder's other troubles are those of the disk.
    let code = |e: &StoreError| if matches!(e, StoreError::Name { .. }) { Exit::Usage } else { Exit::Results };
    let _whole = store::writing();
    let recipe_folder = results.join(&import.plan.recipe);
    let made = [recipe_folder.as_path(), results].map(|f| (f.to_owned(), f.exists()));
    let created = RunDir::create(results, &import.plan.recipe, jiff::Timestamp::now(), owner);
    let mut unfinished = Unfinished { run: None, parents: made.into_iter().filter(|m| !m.1).map(|m| m.0).collect() };
    let run = created.map_err(|e| Failure::new(code(&e), e))?;
    unfinished.run = Some(run.path().to_owned());
    let _settled = owner.settle_when_done(run.path());
    write(import, &run).exit(Exit::Results)?;
    let drawn = plot::draw_run(run.path(), &plot::Options::default()).exit(Exit::Results)?;
    unfinished.finish();
    Ok((run, drawn.pictures))
}

fn write(import: &Import, run: &RunDir) -> Result<(), TableError> {
    let now = jiff::Timestamp::now();
    let recipe = RecipeRecord { name: import.plan.recipe.clone(), path: None, text: String::new() };
    let mut manifest = Manifest::new(run, recipe, import.plan.clone(), 0, Software::of_this_livectl(), now);
    manifest.command = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    manifest.imported = Some(import.record.clone());
    manifest.ended = Some(now);
    for (trial, imported) in import.plan.trials.iter().zip(&import.trials) {
        let folder = run.trial(&trial.id);
        for (train, bytes) in trial.pings.iter().zip(&imported.files) {
            let path = folder.ping(&train.from, &train.to);
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent).map_err(|e| StoreError::writing(parent, e))?;
            }
            write_atomic(&path, bytes)?;
        }
        let plan = serde_json::to_vec_pretty(trial)
            .map_err(|e| StoreError::writing(folder.plan(), std::io::Error::other(e)))?;
        write_atomic(&folder.plan(), &plan)?;
        table::write_pings(&folder.pings(), &imported.pings)?;
        if let Some(record) = manifest.trial_mut(&trial.id) {
            record.state = imported.state.clone();
            record.zero_ns = imported.zero_ns;
            (record.started, record.ended) = imported.span.unzip();
            record.files = FileRecord::of_folder(folder.path())?;
        }
    }
    table::write_pings(&run.pings(), &import.pings())?;
    manifest.record_files(run)?;
    // Last, for it is what makes the folder a run's.
    Ok(manifest.save(run)?)
}

/// Takes a run's folder away again, unless it was finished, and the folders made for it.
struct Unfinished {
    run: Option<PathBuf>,
    /// From the inner to the outer.
    parents: Vec<PathBuf>,
}

impl Unfinished {
    fn finish(mut self) {
        self.run = None;
        self.parents.clear();
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(run) = &self.run
            && let Err(e) = std::fs::remove_dir_all(run)
        {
            tracing::warn!("cannot remove the unfinished {}: {e}", run.display());
        }
        // Of those only what is empty goes.
        for folder in &self.parents {
            let _ = std::fs::remove_dir(folder);
        }
    }
}

fn streaming(text: &str) -> Result<(Duration, Duration), String> {
    let seconds = |side: &str| Moment::parse(&format!("{} s", side.trim().trim_end_matches('s').trim())).ok();
    let sides = text.split_once('-').and_then(|(begin, end)| seconds(begin).zip(seconds(end)));
    match sides {
        Some((Moment(begin), Moment(end))) if begin < end && end <= LATEST => Ok((begin, end)),
        Some(_) => Err("the end comes after the begin, and both within a year".into()),
        None => Err("write BEGIN-END in seconds, such as 15-45 or 14.5-45".into()),
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let Moment(interval) = Moment::parse(text).map_err(|wrong| match wrong.help {
        Some(help) => format!("{}: {help}", wrong.message),
        None => wrong.message,
    })?;
    if interval.is_zero() || interval > Duration::from_secs(3600) {
        return Err("between 1 us and 60 min".into());
    }
    Ok(interval)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn intervals_of_the_stream_and_of_pings() {
        let seconds = Duration::from_secs;
        assert_eq!(streaming("15-45"), Ok((seconds(15), seconds(45))));
        assert_eq!(streaming("0 s-45.5s"), Ok((seconds(0), Duration::from_millis(45_500))));
        for wrong in ["15", "45-15", "15-15", "-15", "15-", "a-b", "15-45-60", "1e3-2e3", "0-99999999999"] {
            assert!(streaming(wrong).is_err(), "{wrong}");
        }
        assert_eq!(interval("1s"), Ok(seconds(1)));
        assert_eq!(interval("200 ms"), Ok(Duration::from_millis(200)));
        for wrong in ["0s", "1", "61 min", "", "fast"] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_finished_is_taken_away_and_what_was_there_stays() {
        let results = tempfile::tempdir().unwrap();
        let (name, run) = (results.path().join("classic"), results.path().join("classic/1"));
        let begin = |parents: Vec<PathBuf>| {
            std::fs::create_dir_all(run.join("direct-1/ping")).unwrap();
            std::fs::write(run.join("direct-1/ping/b-s.txt"), "x").unwrap();
            Unfinished { run: Some(run.clone()), parents }
        };
        drop(begin(vec![name.clone()]));
        assert!(!name.exists());
        drop(begin(vec![]));
        assert!(name.exists() && !run.exists());
        std::fs::create_dir(name.join("2")).unwrap();
        drop(begin(vec![name.clone()]));
        assert!(name.join("2").exists() && !run.exists());
        begin(vec![name]).finish();
        assert!(run.exists());
    }
}

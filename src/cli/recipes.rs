//! The recipes that a command line names.

use std::cell::RefCell;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use clap::builder::{PathBufValueParser, TypedValueParser};

use super::RunArgs;
use super::exit::{Exit, Failure};
use crate::actor::broadcaster::rehearsal::{Depth, Unsuited, is_worthwhile, rehearse};
use crate::plan::{Plan, Program, Scheme, Trial, Video};
use crate::recipe::{self, Loaded, RecipeError, VideoFault, VideoKey};

/// For looking at what one video file gives.
const REHEARSAL: Duration = Duration::from_secs(20);
/// For all of a recipe, whose points may have many.
const ALL_REHEARSALS: Duration = Duration::from_secs(60);

/// Reads a recipe's path, or the name of a recipe that was installed with livectl.
pub(super) fn argument() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().map(|given| meant(given, installed().as_deref()))
}

/// The folder of the recipes that were installed with this program, as `/usr/share/livectl/recipes` with `/usr/bin/livectl`.
fn installed() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let folder = program.parent()?.parent()?.join("share/livectl/recipes");
    folder.is_dir().then_some(folder)
}

/// A path is itself. A plain name, without a folder and an ending, is an installed recipe's if there is no such file. That
/// recipe need not exist: its folder is where others with a similar name are looked for.
fn meant(given: PathBuf, installed: Option<&Path>) -> PathBuf {
    let mut parts = given.components();
    let plain =
        matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) && given.extension().is_none();
    match installed {
        Some(folder) if plain && !given.exists() => folder.join(&given).with_extension("yaml"),
        _ => given,
    }
}

/// Loads a recipe and applies what the command line says otherwise.
pub(super) fn load(args: &RunArgs, path: &Path) -> Result<Loaded, Failure> {
    let mut loaded = read(path).map_err(|error| {
        eprintln!("{:?}", miette::Report::new(error));
        Failure::said(Exit::Recipe)
    })?;
    loaded.plan = overridden(args, loaded.plan)?;
    // So often it is then.
    loaded.until = loaded.until.filter(|_| args.repetitions.is_none());
    let varies = loaded.plan.trials.iter().any(|trial| !trial.point.parameters.is_empty());
    let predicted = |trial: &Trial| trial.point.is_predicted();
    if !args.is_sweep && loaded.plan.trials.iter().all(predicted) {
        let path = path.display();
        let why = anyhow!(
            "the recipe has `engine: predict`, so nothing of it runs: `livectl predict {path}` predicts it, \
             and `livectl sweep {path}` does as the trials of a sweep; neither needs root"
        );
        return Err(Failure::new(Exit::Usage, why));
    }
    if !args.is_sweep && (varies || loaded.until.is_some()) {
        let what = if varies { "a matrix" } else { "`until`" };
        let mut words = if args.dry_run { vec![] } else { vec!["sudo".to_owned()] };
        words.extend(["livectl".to_owned(), "sweep".to_owned()]);
        if args.dry_run {
            words.push("--dry-run".to_owned());
        }
        if args.results != Path::new("results") {
            words.extend(["--results".to_owned(), crate::shell_word::path(&args.results)]);
        }
        words.push(crate::shell_word::path(path));
        let why = anyhow!("the recipe has {what}: `{}` runs it", words.join(" "));
        return Err(Failure::new(Exit::Usage, why));
    }
    Ok(loaded)
}

/// What is doubtful of a video, or what is wrong with it.
type Looked = Result<Option<String>, VideoFault>;

/// Reads a recipe, and has its video file looked into by the programs that will read it.
pub(super) fn read(path: &Path) -> Result<Loaded, RecipeError> {
    let begun = Instant::now();
    // The points of a sweep have the same video again and again.
    let seen: RefCell<Vec<(Video, Looked)>> = RefCell::default();
    recipe::load_looking(path, &|video, streams| {
        let known = seen.borrow().iter().find(|(other, _)| other == video).map(|(_, result)| result.clone());
        known.unwrap_or_else(|| {
            let left = ALL_REHEARSALS.saturating_sub(begun.elapsed()).min(REHEARSAL);
            let programs = streams.iter().map(|stream| &stream.program);
            let result = look(video, programs, left);
            seen.borrow_mut().push((video.clone(), result.clone()));
            result
        })
    })
}

fn look<'a>(
    video: &Video,
    mut programs: impl Iterator<Item = &'a Program> + Clone,
    left: Duration,
) -> Result<Option<String>, VideoFault> {
    let depth = match () {
        () if !is_worthwhile(video) => return Ok(None),
        () if left.is_zero() => {
            return Ok(Some("was not checked with all its values: there are too many".to_owned()));
        }
        () if programs.clone().any(|program| *program == Program::Ffmpeg) => Depth::Pictures(left),
        () if programs.any(Program::is_obs) => Depth::Contents,
        // Nobody but the recipe's writer knows what another program reads.
        () => return Ok(None),
    };
    rehearse(video, depth).map_err(|unsuited| {
        let (key, label, help) = match &unsuited {
            Unsuited::TooShort { pictures, .. } => (
                VideoKey::Frames,
                "too many",
                format!("write `frames: {pictures}` at most, or bring the file into a format that can be looped: ffmpeg -i … clip.mp4"),
            ),
            Unsuited::NoSound => {
                (VideoKey::Audio, "no sound", "leave out `audio`, or take a file with sound".to_owned())
            }
            Unsuited::Unreadable(_) => {
                (VideoKey::File, "this file", "name a file that you can read, such as `clip.mp4`".to_owned())
            }
            Unsuited::List(_) => (
                VideoKey::File,
                "a list",
                "make one video of it and name that: ffmpeg -i LIST -c copy clip.mp4".to_owned(),
            ),
            Unsuited::Empty | Unsuited::CutShort => {
                (VideoKey::File, "this file", "copy the file again; it was not written to its end".to_owned())
            }
            Unsuited::NoVideo | Unsuited::NoPictures(_) => {
                (VideoKey::File, "this file", "name a file with pictures; `ffprobe FILE` says what is in one".to_owned())
            }
            Unsuited::NotEncoded(_) => (
                VideoKey::File,
                "this file",
                "try another `codec` or `bitrate`, or a file that ffmpeg has converted".to_owned(),
            ),
        };
        VideoFault { key, why: unsuited.to_string(), label, help: Some(help) }
    })
}

fn overridden(args: &RunArgs, plan: Plan) -> Result<Plan, Failure> {
    let mut plan = match (args.repetitions, args.seed) {
        (None, None) => plan,
        (repetitions, seed) => {
            plan.repeated(repetitions, seed).map_err(|error| Failure::new(Exit::Usage, anyhow!(error)))?
        }
    };
    if !args.schemes.is_empty() {
        let mut there: Vec<Scheme> = plan.trials.iter().map(|trial| trial.point.scheme).collect();
        there.sort_unstable();
        there.dedup();
        plan.trials.retain(|trial| args.schemes.contains(&trial.point.scheme));
        if plan.trials.is_empty() {
            let asked = Vec::from_iter(args.schemes.iter().map(ToString::to_string)).join(", ");
            let there = Vec::from_iter(there.iter().map(ToString::to_string)).join(", ");
            let why = anyhow!("it has no trials of {asked}: its `schemes` are {there}");
            return Err(Failure::new(Exit::Usage, why));
        }
    }
    for trial in &mut plan.trials {
        trial.links = args.link.unwrap_or(trial.links);
        trial.datapath = args.datapath.unwrap_or(trial.datapath);
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_plain_name_means_an_installed_recipe_and_a_path_means_itself() {
        let folder = tempfile::tempdir().unwrap();
        let installed = folder.path();
        let meant = |given: &str| meant(given.into(), Some(installed));
        assert_eq!(meant("smoke"), installed.join("smoke.yaml"));
        for path in ["smoke.yaml", "./smoke", "recipes/smoke", "/smoke", "..", ""] {
            assert_eq!(meant(path), PathBuf::from(path), "{path}");
        }
        assert_eq!(super::meant("smoke".into(), None), PathBuf::from("smoke"), "where none are installed");
        // Tests run where the package's sources are.
        assert_eq!(meant("src"), PathBuf::from("src"), "what exists is what is meant");
    }
}

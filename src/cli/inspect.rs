//! `livectl check`, `schema`, `doctor` and `plot`: what needs neither root nor a network.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use super::PlotArgs;
use super::exit::{Exit, Failure, WithExit};
use crate::plot::{self, Format, Options, Picture, Scale};
use crate::recipe;
use crate::sandbox::capability::{self, Places};
use crate::store::{Owner, RunDir};
use crate::ui;

/// Checks recipes, all of them, and says what each would run.
pub(super) fn check(recipes: &[PathBuf]) -> Result<Exit, Failure> {
    let mut exit = Exit::Done;
    for path in recipes {
        match recipe::load(path) {
            Ok(loaded) => {
                let estimate = loaded.plan.estimate();
                ui::print(&format!(
                    "{}: valid; {} trials, about {}, up to {} of results",
                    path.display(),
                    loaded.plan.trials.len(),
                    ui::span(estimate.duration),
                    ui::bytes(estimate.disk_bytes),
                ))?;
                for warning in loaded.warnings {
                    eprintln!("{:?}", miette::Report::new(warning));
                }
            }
            Err(error) => {
                eprintln!("{:?}", miette::Report::new(error));
                exit = Exit::Recipe;
            }
        }
    }
    Ok(exit)
}

/// Prints the JSON Schema of recipes.
pub(super) fn schema() -> Result<Exit, Failure> {
    ui::print(&serde_json::to_string_pretty(&recipe::schema())?)?;
    Ok(Exit::Done)
}

/// Says what this machine lacks.
pub(super) fn doctor(json: bool) -> Result<Exit, Failure> {
    let report = capability::doctor(&Places { results: PathBuf::from("results") });
    if json {
        ui::print(&serde_json::to_string_pretty(&report)?)?;
    } else {
        ui::print(&report.text(std::io::stdout().is_terminal()))?;
    }
    Ok(if report.ready() { Exit::Done } else { Exit::Machine })
}

/// Draws runs again.
pub(super) fn plot(args: &PlotArgs) -> Result<Exit, Failure> {
    let mut picture =
        Picture { format: if args.format == "svg" { Format::Svg } else { Format::Png }, ..Picture::default() };
    if let Some(size) = args.size {
        picture.size = size;
    }
    picture.title.clone_from(&args.title);
    if args.log {
        picture.scale = Scale::Logarithmic;
    }
    let several = args.runs.len() > 1;
    let mut exit = Exit::Done;
    for path in &args.runs {
        match plot_run(path, args.out.as_deref(), several, &picture) {
            // What can be drawn is drawn.
            Err(failure) if several && failure.error.is_some() => {
                eprintln!("livectl: {}: {failure}", path.display());
                exit = failure.exit;
            }
            Err(failure) => return Err(failure),
            Ok(()) => {}
        }
    }
    Ok(exit)
}

fn plot_run(path: &Path, out: Option<&Path>, several: bool, picture: &Picture) -> Result<(), Failure> {
    let run = RunDir::open(path).exit(Exit::Results)?;
    // Pictures of several runs in one folder would overwrite each other.
    let own_folder = || {
        let path = run.path().canonicalize().unwrap_or_else(|_| run.path().to_owned());
        Path::new(path.parent().and_then(Path::file_name).unwrap_or_default()).join(run.name())
    };
    let out = out.map(|out| if several { out.join(own_folder()) } else { out.to_owned() });
    let new_folders: Vec<PathBuf> = out
        .iter()
        .flat_map(|out| out.ancestors())
        .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists())
        .map(Path::to_owned)
        .collect();
    let owner = Owner::of_this_process().exit(Exit::Results)?;
    let drawn = plot::draw_run(run.path(), &Options { picture: picture.clone(), out }).exit(Exit::Results)?;
    for made in new_folders.iter().chain(&drawn.pictures) {
        owner.take(made).exit(Exit::Results)?;
    }
    for file in drawn.pictures {
        ui::print(&file.display().to_string())?;
    }
    for missing in drawn.left_out {
        eprintln!("livectl: {}: {missing}", path.display());
    }
    Ok(())
}

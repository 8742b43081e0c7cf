//! `livectl report`: stored runs as an HTML page.

use std::path::{Path, PathBuf};

use anyhow::anyhow;

use super::ReportArgs;
use super::exit::{Exit, Failure, WithExit};
use crate::report;
use crate::store::{self, Owner, StoreError};
use crate::ui;

/// Writes the page of the runs that are meant and prints where it is.
pub(super) fn report(args: &ReportArgs) -> Result<Exit, Failure> {
    let owner = Owner::of_this_process().exit(Exit::Results)?;
    let runs = report::find(&args.runs).exit(Exit::Results)?;
    let place = match &args.out {
        Some(out) if out.is_dir() => out.join(report::FILE_NAME),
        Some(out) => out.clone(),
        None => report::default_place(&args.runs),
    };
    let page = report::page(&runs).exit(Exit::Results)?;
    let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty());
    let made = folder.map_or_else(Vec::new, missing_folders);
    folder
        .map_or(Ok(()), std::fs::create_dir_all)
        .map_err(|source| StoreError::Io { doing: "make the folder of", path: place.clone(), source })
        .and_then(|()| store::write_atomic(&place, page.html.as_bytes()))
        .map_err(|e| unwritable(args, &e))
        .exit(Exit::Results)?;
    for path in made.iter().chain([&place]) {
        owner.take(path).exit(Exit::Results)?;
    }
    ui::print(&place.display().to_string())?;
    for answer in &page.answers {
        ui::print(answer)?;
    }
    for problem in &page.problems {
        ui::warn(problem);
    }
    Ok(if page.damaged { Exit::Results } else { Exit::Done })
}

/// The folder and those above it that do not exist yet.
fn missing_folders(folder: &Path) -> Vec<PathBuf> {
    let missing = folder.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
    missing.map(Path::to_owned).collect()
}

fn unwritable(args: &ReportArgs, error: &StoreError) -> anyhow::Error {
    match args.out {
        Some(_) => anyhow!("{error}"),
        None => anyhow!("{error}. `--out FILE` puts the page elsewhere"),
    }
}

//! Which runs are meant.

use std::path::{Path, PathBuf};

use super::ReportError;
use crate::store::{RunDir, StoreError};

/// `results/RECIPE/RUN`, counted from `results`, and one more for folders of results.
const DEEPEST: usize = 3;

/// The runs that are meant by these paths: a run itself, or every run in a folder, the newest of a recipe first. Each is there once.
///
/// # Errors
/// [`ReportError::NoRuns`] for a folder without any, [`ReportError::Store`] for one that cannot be read.
pub fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>, ReportError> {
    let mut runs: Vec<PathBuf> = Vec::new();
    let mut known = std::collections::BTreeSet::new();
    for path in paths {
        let mut found = Vec::new();
        if RunDir::open(path).is_ok() {
            found.push(path.clone());
        } else {
            runs_below(path, DEEPEST, &mut found)?;
        }
        if found.is_empty() {
            return Err(ReportError::NoRuns { path: path.clone() });
        }
        found.retain(|run| known.insert(run.canonicalize().unwrap_or_else(|_| run.clone())));
        runs.extend(found);
    }
    Ok(runs)
}

fn runs_below(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), ReportError> {
    let reading = |source| StoreError::Io { doing: "read the folder", path: folder.to_owned(), source };
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(reading)? {
        let entry = entry.map_err(reading)?;
        if entry.file_type().map_err(reading)?.is_dir() {
            folders.push(entry.path());
        }
    }
    // Names of runs begin with the moment at which they began.
    let begins_with_digit = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().first().is_some_and(u8::is_ascii_digit))
    };
    folders.sort();
    if folders.iter().all(begins_with_digit) {
        folders.reverse();
    }
    for folder in folders {
        if RunDir::open(&folder).is_ok() {
            found.push(folder);
        } else if depth > 1 {
            runs_below(&folder, depth - 1, found)?;
        }
    }
    Ok(())
}

/// Where the page goes if nobody says otherwise: `report.html` in the run's or folder's own folder, and for several in the innermost folder that
/// holds them all.
#[must_use]
pub fn default_place(paths: &[PathBuf]) -> PathBuf {
    if let [one] = paths {
        return one.join(super::FILE_NAME);
    }
    let mut whole = paths.iter().map(|path| path.canonicalize().unwrap_or_else(|_| path.clone()));
    let first = whole.next().unwrap_or_default();
    let holding = whole.fold(first, |holding, path| {
        let same = holding.components().zip(path.components()).take_while(|(a, b)| a == b);
        same.map(|(component, _)| component).collect()
    });
    // The same run given twice.
    holding.join(super::FILE_NAME)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn results() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for run in
            ["p2p/20261122T231700Z", "p2p/20261122T231700Z-2", "p2p/20261123T000000Z", "multi/20261123T000000Z"]
        {
            std::fs::create_dir_all(folder.path().join(run).join("direct-1/log")).unwrap();
            std::fs::write(folder.path().join(run).join("manifest.json"), "{}").unwrap();
        }
        std::fs::create_dir(folder.path().join("empty")).unwrap();
        folder
    }

    #[test]
    fn folders_mean_all_their_runs_the_newest_first() {
        let folder = results();
        let at = |name: &str| folder.path().join(name);
        let runs = find(&[at("p2p"), at("p2p/20261123T000000Z")]).unwrap();
        assert_eq!(runs, [at("p2p/20261123T000000Z"), at("p2p/20261122T231700Z-2"), at("p2p/20261122T231700Z")]);
        assert_eq!(find(&[folder.path().to_owned()]).unwrap().len(), 4);
        assert!(matches!(find(&[at("empty")]), Err(ReportError::NoRuns { .. })));
        assert!(matches!(find(&[at("nothing")]), Err(ReportError::Store(_))));
    }

    #[test]
    fn the_page_lies_where_all_its_runs_do() {
        let folder = results();
        let root = folder.path().canonicalize().unwrap();
        let at = |name: &str| root.join(name);
        assert_eq!(default_place(&[at("p2p/20261123T000000Z")]), at("p2p/20261123T000000Z/report.html"));
        assert_eq!(default_place(&[at("p2p/20261123T000000Z"), at("p2p/20261122T231700Z")]), at("p2p/report.html"));
        assert_eq!(default_place(&[at("p2p/20261123T000000Z"), at("multi/20261123T000000Z")]), at("report.html"));
    }
}

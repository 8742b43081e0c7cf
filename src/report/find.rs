//! Which runs are meant.

use std::path::PathBuf;

use super::ReportError;
use crate::store::RunDir;

/// The runs that are meant by these paths, as [`RunDir::find`] has it, but the newest of a recipe first. Each is
/// there once.
///
/// # Errors
/// [`ReportError::Store`] for a path that means no run, or cannot be read.
pub fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>, ReportError> {
    let mut runs: Vec<PathBuf> = Vec::new();
    let mut known = std::collections::BTreeSet::new();
    for path in paths {
        let mut found = RunDir::find(path)?.runs;
        found.chunk_by_mut(|a, b| a.parent() == b.parent()).for_each(<[PathBuf]>::reverse);
        found.retain(|run| known.insert(run.canonicalize().unwrap_or_else(|_| run.clone())));
        runs.extend(found);
    }
    Ok(runs)
}

/// Where the page goes if nobody says otherwise: `report.html` in the run's or folder's own folder, and for several
/// in the innermost folder that holds them all.
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
        assert!(matches!(find(&[at("empty")]), Err(ReportError::Store(_))));
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

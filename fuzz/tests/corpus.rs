//! All that the fuzzers found interesting, played once more.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::Path;

#[test]
fn corpora_hold() {
    for (name, target) in livectl_fuzz::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(files.len() >= 20, "{} has only {} files", folder.display(), files.len());
        for file in files {
            let bytes = fs::read(&file).unwrap();
            if std::panic::catch_unwind(|| target(&bytes)).is_err() {
                panic!("{} fails; the reason is above", file.display());
            }
        }
    }
}

//! A stored run in memory, as far as it can be read.

use std::path::Path;

use crate::plot::{Family, Loaded, View};
use crate::store::{Manifest, RunDir, StoreError};
use crate::table::{Digests, FrameFigure, StoredTables, TableError, TrunkRow};

/// What the page needs of the frames of a sweep.
const FIGURES: [FrameFigure; 4] =
    [FrameFigure::Delay, FrameFigure::Excess, FrameFigure::StreamExcess, FrameFigure::Floor];

/// What a run has.
pub(super) struct Stored {
    pub(super) dir: RunDir,
    pub(super) loaded: Loaded,
    /// What passed between switches; empty where there is one switch.
    pub(super) trunks: Vec<TrunkRow>,
    pub(super) lacks: Vec<Lack>,
}

/// A file that a run lacks or that is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lack {
    /// The warning, as the page shows it.
    pub(super) text: String,
    /// It is there and cannot be read, or should be there.
    pub(super) damage: bool,
}

impl Stored {
    /// Reads the manifest and whatever tables there are.
    pub(super) fn open(path: &Path) -> Result<Stored, StoreError> {
        let dir = RunDir::open(path)?;
        let manifest = Manifest::load_brief(&dir)?;
        let mut lacks = Vec::new();
        // A run that was ended before its first trial was analysed rightly has no tables, and older runs have no
        // playout table and no audience's.
        let analysed = manifest.trials.iter().any(|t| t.phases.iter().any(|phase| phase.name.starts_with("analys")));
        let tables = StoredTables::of(&dir, &manifest);
        let summary = taken(tables.summary(), &dir.summary(), analysed, &mut lacks);
        let (playout, audience) = (dir.playouts(), dir.audience());
        if dir.is_sweep() {
            let mut loaded = Loaded::of_manifest(path, manifest);
            let few = loaded.over_time(&dir, &[Family::FrameDelay, Family::Tree], &View::default());
            loaded.summary = summary;
            loaded.frames = taken(few.frames(), &dir.frames(), analysed, &mut lacks);
            loaded.pings = taken(few.pings(), &dir.pings(), analysed, &mut lacks);
            loaded.digests = digests(tables.digests(&FIGURES), &mut lacks);
            loaded.playouts = taken(tables.playouts(), &playout, false, &mut lacks);
            loaded.audience = taken(tables.audience(), &audience, false, &mut lacks);
            let trunks = tables.trunks().map(Option::unwrap_or_default).unwrap_or_else(|error| {
                lacks.push(Lack { text: error.to_string(), damage: true });
                Vec::new()
            });
            return Ok(Stored { dir, loaded, trunks, lacks });
        }
        let frames = taken(tables.frames(), &dir.frames(), analysed, &mut lacks);
        let pings = taken(tables.pings(), &dir.pings(), analysed, &mut lacks);
        let playouts = taken(tables.playouts(), &playout, false, &mut lacks);
        let audience = taken(tables.audience(), &audience, false, &mut lacks);
        let trunks = match tables.trunks() {
            Ok(None) => Vec::new(),
            read => taken(read, &dir.trunks(), false, &mut lacks),
        };
        let loaded = Loaded::of_tables(path, manifest, frames, pings, summary, playouts, audience);
        // An imported run has pings and nothing else, and no captures to make it from.
        if loaded.manifest.imported.is_some() {
            lacks.retain(|lack| lack.damage);
        }
        Ok(Stored { dir, loaded, trunks, lacks })
    }
}

/// What was kept of a sweep's frames; that they are missing is told where they are drawn.
fn digests(read: Result<Option<Digests>, TableError>, lacks: &mut Vec<Lack>) -> Option<Digests> {
    read.unwrap_or_else(|error| {
        lacks.push(Lack { text: error.to_string(), damage: true });
        None
    })
}

fn taken<T>(read: Result<Option<Vec<T>>, TableError>, path: &Path, needed: bool, lacks: &mut Vec<Lack>) -> Vec<T> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let lack = match read {
        Ok(Some(rows)) => return rows,
        Err(error) => Lack { text: error.to_string(), damage: true },
        Ok(None) => Lack {
            text: format!(
                "the run has no {name}; what is only in there is not shown (`livectl analyze {}` makes it from captures)",
                crate::shell_word::path(path.parent().unwrap_or(path))
            ),
            damage: needed,
        },
    };
    lacks.push(lack);
    Vec::new()
}

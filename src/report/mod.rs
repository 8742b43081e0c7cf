//! Stored runs as one HTML page that needs nothing but a browser: what `livectl report` writes.
//!
//! The page holds its style, its script and its pictures and loads nothing; its content security policy allows the
//! one script and the one style by their hashes. Everything that comes from files is escaped by the template engine;
//! only the pictures, which plotters has escaped, go in as they are.
//!
//! A page of thousands of trials must still open. So tables, trials and pictures have a limit ([`Room`]), and where
//! something is left out the page says where the whole is.

mod answer;
mod audience;
mod column;
mod effects;
mod files;
mod find;
mod page;
mod picture;
mod section;
mod stored;
mod watch;

#[cfg(test)]
mod tests;

pub use find::{default_place, find};
pub use page::{Page, page};

use crate::store::StoreError;

/// What the page is called if nobody says otherwise.
pub const FILE_NAME: &str = "report.html";

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// None of the runs can be read.
    #[error("none of the runs can be read: {}", why.join("; "))]
    NothingReadable {
        /// What is wrong with each.
        why: Vec<String>,
    },
    /// A run cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The page's template cannot be filled, which is a bug.
    #[error("cannot fill the page's template: {0}")]
    Template(#[from] minijinja::Error),
}

/// How much of everything there is room for on a page.
#[derive(Debug, Clone, Copy)]
struct Room {
    /// Runs with a section of their own; the others are in the overview.
    sections: usize,
    /// Rows of each table of a run.
    rows: usize,
    /// Trials of a run with phases, commands and files.
    trials: usize,
    /// Warnings of a run.
    warnings: usize,
    /// Bytes of all pictures together.
    pictures: usize,
}

impl Room {
    /// What keeps a page of so many runs within some tens of MB, however many trials they have.
    fn for_runs(runs: usize) -> Room {
        let runs = runs.max(1);
        let share = |all: usize, least: usize| (all / runs).max(least);
        Room {
            sections: 50,
            rows: share(2000, 60),
            trials: share(120, 6),
            warnings: share(100, 10),
            pictures: 12 << 20,
        }
    }
}

//! What is stored, compared with what is computed again: `livectl verify`.

use std::path::{Path, PathBuf};

use polars::prelude::{AnyValue, ChunkCompareEq, Column, DataFrame, DataType, PlSmallStr, SortMultipleOptions};

use super::field::{Row, Table};
use super::files::Tables;
use super::rows::{AudienceRow, EstimateRow, FrameRow, PingRow, PlayoutRow, SummaryRow};
use super::{Analysis, SweepTables, TableError};
use crate::store::{RunDir, TrialDir};

/// How a stored table differs from the same table computed again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Comparison {
    /// What differs, in sentences for people; empty if nothing does.
    pub differences: Vec<String>,
    /// Columns that the stored table does not have, since an older livectl wrote it.
    pub not_stored: Vec<String>,
    /// Columns of which something is stored and nothing known now: what they are computed from is gone.
    pub no_longer_known: Vec<String>,
}

impl Analysis {
    /// Compares the tables in the trial's folder with these. A table that is not there is a difference.
    ///
    /// # Errors
    /// [`TableError::Make`].
    pub fn compare(&self, trial: &TrialDir) -> Result<Comparison, TableError> {
        let mut wanted = vec![
            (trial.frames(), FrameRow::columns(&self.frames), self.frames.len(), Vec::new()),
            (trial.pings(), PingRow::columns(&self.pings), self.pings.len(), Vec::new()),
            (trial.summary(), SummaryRow::columns(&self.summary), self.summary.len(), SummaryRow::texts()),
            (trial.playouts(), PlayoutRow::columns(&self.playouts), self.playouts.len(), PlayoutRow::texts()),
            (trial.audience(), AudienceRow::columns(&self.audience), self.audience.len(), AudienceRow::texts()),
        ];
        wanted.extend(wanted_if_any(trial.reattachments(), &self.reattachments));
        wanted.extend(wanted_if_any(trial.trunks(), &self.trunks));
        wanted.extend(wanted_if_any(trial.shown(), &self.shown));
        wanted.extend(wanted_if_any(trial.broadcasts(), &self.broadcasts));
        wanted.extend(wanted_if_any(trial.crowds(), &self.crowds));
        compare_all(wanted, Order::Same)
    }
}

impl Tables {
    /// Compares the tables in the run's folder with these.
    ///
    /// # Errors
    /// [`TableError::Make`].
    pub fn compare(&self, run: &RunDir) -> Result<Comparison, TableError> {
        let mut wanted = vec![
            (run.frames(), FrameRow::columns(&self.frames), self.frames.len(), Vec::new()),
            (run.pings(), PingRow::columns(&self.pings), self.pings.len(), Vec::new()),
            (run.summary(), SummaryRow::columns(&self.summary), self.summary.len(), SummaryRow::texts()),
            (run.playouts(), PlayoutRow::columns(&self.playouts), self.playouts.len(), PlayoutRow::texts()),
            (run.audience(), AudienceRow::columns(&self.audience), self.audience.len(), AudienceRow::texts()),
            (run.estimates(), EstimateRow::columns(&self.estimates), self.estimates.len(), EstimateRow::texts()),
        ];
        wanted.extend(wanted_if_any(run.reattachments(), &self.reattachments));
        wanted.extend(wanted_if_any(run.trunks(), &self.trunks));
        wanted.extend(wanted_if_any(run.shown(), &self.shown));
        wanted.extend(wanted_if_any(run.broadcasts(), &self.broadcasts));
        wanted.extend(wanted_if_any(run.crowds(), &self.crowds));
        compare_all(wanted, Order::Same)
    }
}

impl SweepTables {
    /// Compares the tables beside the sweep's trials with these. The order of rows does not matter: it has been another in
    /// older livectls.
    ///
    /// # Errors
    /// [`TableError::Make`].
    pub fn compare(&self, run: &RunDir) -> Result<Comparison, TableError> {
        let mut wanted = vec![
            (run.summary(), SummaryRow::columns(&self.summary), self.summary.len(), SummaryRow::texts()),
            (run.audience(), AudienceRow::columns(&self.audience), self.audience.len(), AudienceRow::texts()),
            (run.estimates(), EstimateRow::columns(&self.estimates), self.estimates.len(), EstimateRow::texts()),
        ];
        wanted.extend(wanted_if_any(run.effects(), &self.effects.rows));
        wanted.extend(wanted_if_any(run.models(), &self.models));
        compare_all(wanted, Order::Any)
    }
}

/// Whether rows are compared where they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Same,
    /// Both are sorted by their texts before.
    Any,
}

/// A table's file, what is to be in it: columns and rows, and which of its columns are text whatever they look like.
type Wanted = (PathBuf, Vec<Column>, usize, Vec<&'static str>);

/// A run in which nobody goes, or that has one switch, has no such table.
fn wanted_if_any<R: Row>(path: PathBuf, rows: &[R]) -> Option<Wanted> {
    let any = !rows.is_empty() || path.exists();
    any.then(|| (path, R::columns(rows), rows.len(), R::texts()))
}

fn compare_all(tables: Vec<Wanted>, order: Order) -> Result<Comparison, TableError> {
    let mut all = Comparison::default();
    for (path, columns, height, texts) in tables {
        let computed = DataFrame::new(height, columns)
            .map_err(|e| TableError::Make { path: path.clone(), why: e.to_string() })?;
        let one = compare(&path, &texts, computed, order);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let named = |what: Vec<String>| what.into_iter().map(|what| format!("{name}: {what}")).collect::<Vec<_>>();
        all.differences.extend(named(one.differences));
        all.not_stored.extend(named(one.not_stored));
        all.no_longer_known.extend(named(one.no_longer_known));
    }
    Ok(all)
}

fn compare(path: &Path, texts: &[&str], computed: DataFrame, order: Order) -> Comparison {
    let mut comparison = Comparison::default();
    let is_csv = path.extension().is_some_and(|extension| extension == "csv");
    let stored = if is_csv { Table::csv(path, texts) } else { Table::parquet(path) };
    let stored = match stored {
        Ok(table) => table.frame,
        // Older runs have no playout table, and no audience's.
        Err(TableError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            comparison.not_stored.push("the whole table".into());
            return comparison;
        }
        Err(error) => {
            comparison.differences.push(error.to_string());
            return comparison;
        }
    };
    if stored.height() != computed.height() {
        let (stored, computed) = (stored.height(), computed.height());
        comparison.differences.push(format!("{stored} rows are stored, and it comes to {computed}"));
        if computed < stored {
            comparison.no_longer_known.push(format!("{} rows", stored - computed));
        }
        return comparison;
    }
    let (stored, computed) = match order {
        Order::Same => (stored, computed),
        Order::Any => match sorted(&stored, &computed) {
            Ok(both) => both,
            Err(error) => {
                comparison.differences.push(format!("its rows cannot be sorted: {error}"));
                return comparison;
            }
        },
    };
    for column in computed.columns() {
        let name = column.name().as_str();
        let Ok(before) = stored.column(name) else {
            comparison.not_stored.push(name.to_owned());
            continue;
        };
        match differing(before, column) {
            Ok(None) => {}
            Ok(Some(text)) => {
                comparison.differences.push(format!("{name} {text}"));
                if column.null_count() > before.null_count() {
                    comparison.no_longer_known.push(name.to_owned());
                }
            }
            Err(why) => comparison.differences.push(format!("{name} cannot be compared: {why}")),
        }
    }
    comparison
}

/// Both tables, sorted by the texts that both have.
fn sorted(stored: &DataFrame, computed: &DataFrame) -> Result<(DataFrame, DataFrame), polars::error::PolarsError> {
    let texts = computed.columns().iter().filter(|column| *column.dtype() == DataType::String);
    let by: Vec<PlSmallStr> =
        texts.map(|column| column.name().clone()).filter(|name| stored.column(name).is_ok()).collect();
    if by.is_empty() {
        return Ok((stored.clone(), computed.clone()));
    }
    // In CSV an empty text and none are the same.
    let order = || SortMultipleOptions::default().with_maintain_order(true);
    let keyed = |table: &DataFrame| -> Result<DataFrame, polars::error::PolarsError> {
        let mut table = table.clone();
        for name in &by {
            let column = table.column(name)?.strict_cast(&DataType::String)?;
            let filled: Vec<&str> = column.str()?.iter().map(Option::unwrap_or_default).collect();
            table.with_column(Column::new(name.clone(), filled))?;
        }
        table.sort(by.clone(), order())
    };
    Ok((keyed(stored)?, keyed(computed)?))
}

/// In how many rows two columns differ, and how in the first; `None`: in none.
fn differing(stored: &Column, computed: &Column) -> Result<Option<String>, polars::error::PolarsError> {
    let kind = computed.dtype();
    let (mut stored, mut computed) = (stored.strict_cast(kind)?, computed.clone());
    if *kind == DataType::String {
        // In CSV an empty text and none are the same.
        let filled = |column: &Column| -> Result<Column, polars::error::PolarsError> {
            let texts = column.str()?;
            let filled: Vec<&str> = texts.iter().map(Option::unwrap_or_default).collect();
            Ok(Column::new(column.name().clone(), filled))
        };
        (stored, computed) = (filled(&stored)?, filled(&computed)?);
    }
    let same = stored.as_materialized_series().equal_missing(computed.as_materialized_series())?;
    let rows = same.len();
    let Some(first) = same.iter().position(|same| same == Some(false)) else { return Ok(None) };
    let count = same.iter().filter(|same| *same == Some(false)).count();
    // polars rounds numbers when it shows them, which would make some look equal.
    let text = |column: &Column| match column.get(first) {
        Ok(AnyValue::Float64(value)) => value.to_string(),
        Ok(value) => value.to_string(),
        Err(_) => "?".to_owned(),
    };
    let (before, now) = (text(&stored), text(&computed));
    Ok(Some(format!(
        "differs in {count} of {rows} rows; first in row {}: {before} stored, {now} computed",
        first + 1
    )))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::super::summary::{ViewerFacts, summarise};
    use super::super::tests::{frame, ping_row, record, trial};
    use super::super::{Analysis, audiences, playouts};
    use super::*;
    use crate::plan::delivery::Via;
    use crate::store::Owner;

    fn analysis() -> Analysis {
        let frames: Vec<_> = (0..30)
            .map(|i| frame("direct-1", "hv1", i, (i != 4).then_some(300.1 + f64::from(i) / 3.0), Via::Cdn))
            .collect();
        let facts = [ViewerFacts {
            stream: "hb".into(),
            viewer: "hv1".into(),
            born: 30,
            captured: true,
            ..ViewerFacts::default()
        }];
        let record = record("direct-1");
        let summary = summarise(&record, &facts, &frames);
        Analysis {
            audience: audiences(&record, &trial("direct-1", &["hv1"]), &[], &summary, &frames),
            pings: vec![ping_row("direct-1", "hb", "hs", 1, Some(800.0)), ping_row("direct-1", "hb", "hs", 2, None)],
            summary,
            playouts: playouts(&record, &facts, &frames),
            frames,
            reattachments: Vec::new(),
            trunks: Vec::new(),
            shown: Vec::new(),
            broadcasts: Vec::new(),
            crowds: Vec::new(),
            is_only_altered: false,
            problems: Vec::new(),
            doubts: Vec::new(),
            damage: Vec::new(),
        }
    }

    fn stored() -> (tempfile::TempDir, TrialDir) {
        let folder = tempfile::tempdir().unwrap();
        let dir = TrialDir::at(folder.path());
        dir.create(Owner::Process).unwrap();
        analysis().write(&dir).unwrap();
        (folder, dir)
    }

    #[test]
    fn what_was_stored_comes_out_again() {
        let (_folder, dir) = stored();
        assert_eq!(analysis().compare(&dir).unwrap(), Comparison::default());
    }

    #[test]
    fn differences_are_counted_and_the_first_is_shown() {
        let (_folder, dir) = stored();
        let mut now = analysis();
        now.frames[7].delay_ms = Some(1.5);
        now.frames[9].delay_ms = None;
        now.summary[0].note = super::super::Note("UNFIT: CPU".into());
        let told = now.compare(&dir).unwrap();
        let expected = [
            "frames.parquet: delay_ms differs in 2 of 30 rows; first in row 8: 302.43333333333334 stored, 1.5 computed",
            "summary.csv: note differs in 1 of 1 rows; first in row 1: \"\" stored, \"UNFIT: CPU\" computed",
        ];
        assert_eq!(told.differences, expected);
        assert_eq!(told.no_longer_known, ["frames.parquet: delay_ms"]);
        now.frames.truncate(20);
        let told = now.compare(&dir).unwrap();
        assert_eq!(told.differences[0], "frames.parquet: 30 rows are stored, and it comes to 20");
        assert_eq!(told.no_longer_known, ["frames.parquet: 10 rows"]);
    }

    #[test]
    fn damaged_tables_and_those_of_older_livectls() {
        let (_folder, dir) = stored();
        std::fs::write(dir.pings(), "rubbish").unwrap();
        std::fs::remove_file(dir.playouts()).unwrap();
        let text = std::fs::read_to_string(dir.summary()).unwrap();
        let shorter: Vec<&str> = text.lines().map(|line| line.rsplit_once(',').unwrap().0).collect();
        std::fs::write(dir.summary(), shorter.join("\n") + "\n").unwrap();
        let told = analysis().compare(&dir).unwrap();
        assert_eq!(told.differences.len(), 1);
        assert!(told.differences[0].starts_with("pings.parquet: cannot understand the table"), "{told:?}");
        assert_eq!(told.not_stored, ["summary.csv: polling_mean_ms", "playout.csv: the whole table"]);
    }
}

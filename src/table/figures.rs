//! The figures behind a picture, as a table: for a terminal, a CSV file or a Parquet file.

use std::path::Path;

use polars::prelude::{Column, NamedFrom, Series};

use super::TableError;
use super::files::{write_csv, write_parquet};

/// Blanks between columns of the text.
const GAP: usize = 2;

/// A table of named columns, all equally long. A column's name ends in its unit, as everywhere.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Figures {
    columns: Vec<(String, Values)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Values {
    Texts(Vec<Option<String>>),
    Numbers(Vec<Option<f64>>),
    Counts(Vec<Option<u64>>),
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Values::Texts(values) => values.len(),
            Values::Numbers(values) => values.len(),
            Values::Counts(values) => values.len(),
        }
    }
}

impl Figures {
    /// Adds a column of text.
    #[must_use]
    pub fn texts<T: Into<Option<String>>>(mut self, name: &str, values: impl IntoIterator<Item = T>) -> Self {
        self.columns.push((name.to_owned(), Values::Texts(values.into_iter().map(Into::into).collect())));
        self
    }

    /// Adds a column of numbers. What is not finite is nothing.
    #[must_use]
    pub fn numbers<T: Into<Option<f64>>>(mut self, name: &str, values: impl IntoIterator<Item = T>) -> Self {
        let finite = |value: T| value.into().filter(|v: &f64| v.is_finite());
        self.columns.push((name.to_owned(), Values::Numbers(values.into_iter().map(finite).collect())));
        self
    }

    /// Adds a column of whole numbers.
    #[must_use]
    pub fn counts<T: Into<Option<u64>>>(mut self, name: &str, values: impl IntoIterator<Item = T>) -> Self {
        self.columns.push((name.to_owned(), Values::Counts(values.into_iter().map(Into::into).collect())));
        self
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.columns.iter().map(|(_, values)| values.len()).min().unwrap_or(0)
    }

    /// The columns' names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(name, _)| name.as_str())
    }

    /// Whether a column holds numbers, to be set flush right.
    #[must_use]
    pub fn is_number(&self, column: usize) -> bool {
        !matches!(self.columns.get(column), Some((_, Values::Texts(_))) | None)
    }

    /// A number of a column; `None` for text and for nothing.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn number(&self, name: &str, row: usize) -> Option<f64> {
        match self.columns.iter().find(|(n, _)| n == name)? {
            (_, Values::Numbers(values)) => *values.get(row)?,
            (_, Values::Counts(values)) => (*values.get(row)?).map(|n| n as f64),
            (_, Values::Texts(_)) => None,
        }
    }

    /// A cell in words: numbers with as many decimals as tell something in that column, `-` for nothing.
    #[must_use]
    pub fn cell(&self, column: usize, row: usize) -> String {
        let text = self.columns.get(column).and_then(|(_, values)| match values {
            Values::Texts(values) => values.get(row).cloned().flatten(),
            Values::Numbers(values) => {
                values.get(row).copied().flatten().map(|value| format!("{value:.*}", decimals(values)))
            }
            Values::Counts(values) => values.get(row).copied().flatten().map(|n| n.to_string()),
        });
        text.unwrap_or_else(|| "-".to_owned())
    }

    /// An aligned table with its names above it, every line ending in a newline.
    #[must_use]
    pub fn text(&self) -> String {
        let cells: Vec<Vec<String>> = (0..self.columns.len())
            .map(|c| {
                let name = self.columns[c].0.clone();
                std::iter::once(name).chain((0..self.rows()).map(|row| self.cell(c, row))).collect()
            })
            .collect();
        let widths: Vec<usize> =
            cells.iter().map(|column| column.iter().map(|cell| cell.chars().count()).max().unwrap_or(0)).collect();
        let mut text = String::new();
        for row in 0..=self.rows() {
            let mut line = String::new();
            for (c, column) in cells.iter().enumerate() {
                let blanks = " ".repeat(widths[c] - column[row].chars().count());
                let (before, after) = if self.is_number(c) { (blanks.as_str(), "") } else { ("", blanks.as_str()) };
                line += &format!("{before}{}{after}{}", column[row], " ".repeat(GAP));
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }

    /// Writes it as CSV (RFC 4180, empty fields for nothing), whole or not at all.
    ///
    /// # Errors
    /// [`TableError::Store`].
    pub fn write_csv(&self, path: &Path) -> Result<(), TableError> {
        write_csv(path, self.rows(), self.series())
    }

    /// Writes it as Parquet (zstd, nulls for nothing), whole or not at all.
    ///
    /// # Errors
    /// [`TableError::Store`].
    pub fn write_parquet(&self, path: &Path) -> Result<(), TableError> {
        write_parquet(path, self.rows(), self.series())
    }

    fn series(&self) -> Vec<Column> {
        let column = |(name, values): &(String, Values)| -> Column {
            let name = name.as_str().into();
            match values {
                Values::Texts(values) => {
                    Series::new(name, values.iter().map(Option::as_deref).collect::<Vec<_>>()).into()
                }
                Values::Numbers(values) => Series::new(name, values.clone()).into(),
                Values::Counts(values) => Series::new(name, values.clone()).into(),
            }
        };
        self.columns.iter().map(column).collect()
    }
}

/// Three for small numbers, one where there are some from 100 on, none where there are some from 10,000 on or all are
/// whole.
fn decimals(values: &[Option<f64>]) -> usize {
    let size = values.iter().flatten().fold(0.0, |size: f64, value| size.max(value.abs()));
    let whole = values.iter().flatten().all(|value| value.fract() == 0.0);
    if whole || size >= 9999.5 {
        0
    } else if size >= 99.95 {
        1
    } else {
        3
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::table::field::Table;

    fn figures() -> Figures {
        Figures::default()
            .texts("viewer", [Some("hv1".to_owned()), None])
            .numbers("delay_ms", [Some(240.125), Some(f64::NAN)])
            .counts("frames", [600, 7])
    }

    #[test]
    fn text_is_aligned_and_nothing_is_a_dash() {
        assert_eq!(
            figures().text(),
            "viewer  delay_ms  frames\n\
             hv1        240.1     600\n\
             -              -       7\n"
        );
        assert_eq!((figures().number("delay_ms", 0), figures().number("delay_ms", 1)), (Some(240.125), None));
        let decimals_of = |values: [f64; 2]| decimals(&values.map(Some));
        assert_eq!([[0.25, 1.0], [1.0, 2.0], [99.5, 123.456], [0.1, 123_456.7]].map(decimals_of), [3, 0, 1, 0]);
    }

    #[test]
    fn files_hold_the_same_with_nulls() {
        let folder = tempfile::tempdir().unwrap();
        let (csv, parquet) = (folder.path().join("a.csv"), folder.path().join("a.parquet"));
        figures().write_csv(&csv).unwrap();
        figures().write_parquet(&parquet).unwrap();
        assert_eq!(std::fs::read_to_string(&csv).unwrap(), "viewer,delay_ms,frames\nhv1,240.125,600\n,,7\n");
        let frame = Table::parquet(&parquet).unwrap().frame;
        assert_eq!(frame.shape(), (2, 3));
        assert_eq!(frame.column("delay_ms").unwrap().null_count(), 1);
    }
}

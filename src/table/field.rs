//! Values of a row as columns of a table, and back.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use polars::prelude::{Column, DataFrame, DataType, NamedFrom, PolarsResult, Schema, Series};
use polars_io::SerReader;
use polars_io::csv::read::CsvReadOptions;
use polars_io::parquet::read::ParquetReader;

use super::TableError;
use crate::plan::delivery::Via;
use crate::plan::{Departure, Parameters, Point, Scheme, UnknownScheme};

/// What the columns of a point's parameters begin with: `parameter.video.bitrate`.
pub(super) const PARAMETER: &str = "parameter.";

/// A row type that is the definition of its table: every field is a column.
pub(super) trait Row: Sized {
    /// A column for each field, in the order of the fields.
    fn columns(rows: &[Self]) -> Vec<Column>;
    /// The rows of a table; columns that are not fields are passed over.
    fn read(table: &Table<'_>) -> Result<Vec<Self>, TableError>;
    /// Columns that are text whatever they look like: a viewer may be called `7`.
    fn texts() -> Vec<&'static str>;
}

/// A type of which values are a column, or several.
pub(super) trait Field: Sized {
    /// Adds the column of that name.
    fn write<'a, I: Iterator<Item = &'a Self>>(name: &str, values: &dyn Fn() -> I, columns: &mut Vec<Column>)
    where
        Self: 'a;
    /// The values in the column of that name.
    fn read(table: &Table<'_>, name: &str) -> Result<Vec<Self>, TableError>;
    /// The column's name if it is text whatever it looks like.
    fn text(_name: &'static str) -> Option<&'static str> {
        None
    }
}

/// Why a row is to be doubted; mostly empty. Tables have nothing there then.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Note(pub String);

impl std::ops::Deref for Note {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self)
    }
}

/// Numbers and truth values, which may be missing.
macro_rules! plain {
    ($($type:ty, $polars:ident, $values:ident, $keep:expr;)+) => {$(
        impl Field for Option<$type> {
            fn write<'a, I: Iterator<Item = &'a Self>>(name: &str, values: &dyn Fn() -> I, columns: &mut Vec<Column>) {
                columns.push(Series::new(name.into(), values().copied().collect::<Vec<Self>>()).into());
            }

            fn read(table: &Table<'_>, name: &str) -> Result<Vec<Self>, TableError> {
                let column = table.cast(name, &DataType::$polars)?;
                let values = column.$values().map_err(|e| table.wrong(name, e.to_string()))?;
                Ok(values.iter().map(|value: Self| value.filter($keep)).collect())
            }
        }

        impl Field for $type {
            fn write<'a, I: Iterator<Item = &'a Self>>(name: &str, values: &dyn Fn() -> I, columns: &mut Vec<Column>) {
                columns.push(Series::new(name.into(), values().copied().collect::<Vec<Self>>()).into());
            }

            fn read(table: &Table<'_>, name: &str) -> Result<Vec<Self>, TableError> {
                table.every(name, Option::<$type>::read(table, name)?)
            }
        }
    )+};
}

plain! {
    u32, UInt32, u32, |_| true;
    u64, UInt64, u64, |_| true;
    i64, Int64, i64, |_| true;
    // NaN is what some tools write for "nothing".
    f64, Float64, f64, |value| value.is_finite();
    bool, Boolean, bool, |_| true;
}

/// A column of words.
fn words<'a>(name: &str, values: impl Iterator<Item = Option<&'a str>>) -> Column {
    Series::new(name.into(), values.collect::<Vec<_>>()).into()
}

impl Field for Option<String> {
    fn write<'a, I: Iterator<Item = &'a Self>>(name: &str, values: &dyn Fn() -> I, columns: &mut Vec<Column>) {
        columns.push(words(name, values().map(Option::as_deref)));
    }

    fn read(table: &Table<'_>, name: &str) -> Result<Vec<Self>, TableError> {
        let column = table.cast(name, &DataType::String)?;
        let values = column.str().map_err(|e| table.wrong(name, e.to_string()))?;
        Ok(values.iter().map(|value| value.map(str::to_owned)).collect())
    }

    fn text(name: &'static str) -> Option<&'static str> {
        Some(name)
    }
}

impl Field for String {
    fn write<'a, I: Iterator<Item = &'a Self>>(name: &str, values: &dyn Fn() -> I, columns: &mut Vec<Column>) {
        columns.push(Series::new(name.into(), values().map(String::as_str).collect::<Vec<_>>()).into());
    }

    fn read(table: &Table<'_>, name: &str) -> Result<Vec<Self>, TableError> {
        table.every(name, Option::<String>::read(table, name)?)
    }

    fn text(name: &'static str) -> Option<&'static str> {
        Some(name)
    }
}

impl Field for Note {
    fn write<'a, I: Iterator<Item = &'a Self>>(name: &str, values: &dyn Fn() -> I, columns: &mut Vec<Column>) {
        columns.push(Series::new(name.into(), values().map(|note| &**note).collect::<Vec<_>>()).into());
    }

    fn read(table: &Table<'_>, name: &str) -> Result<Vec<Self>, TableError> {
        let texts = Option::<String>::read(table, name)?;
        Ok(texts.into_iter().map(|text| Note(text.unwrap_or_default())).collect())
    }

    fn text(name: &'static str) -> Option<&'static str> {
        Some(name)
    }
}

impl Field for Scheme {
    fn write<'a, I: Iterator<Item = &'a Self>>(name: &str, values: &dyn Fn() -> I, columns: &mut Vec<Column>) {
        columns.push(Series::new(name.into(), values().map(|scheme| scheme.name()).collect::<Vec<_>>()).into());
    }

    fn read(table: &Table<'_>, name: &str) -> Result<Vec<Self>, TableError> {
        let scheme = |text: String| text.parse().map_err(|e: UnknownScheme| table.wrong(name, e.to_string()));
        String::read(table, name)?.into_iter().map(scheme).collect()
    }

    fn text(name: &'static str) -> Option<&'static str> {
        Some(name)
    }
}

impl Field for Option<Scheme> {
    fn write<'a, I: Iterator<Item = &'a Self>>(name: &str, values: &dyn Fn() -> I, columns: &mut Vec<Column>) {
        columns.push(words(name, values().map(|scheme| scheme.map(|scheme| scheme.name()))));
    }

    fn read(table: &Table<'_>, name: &str) -> Result<Vec<Self>, TableError> {
        let scheme = |text: String| text.parse().map_err(|e: UnknownScheme| table.wrong(name, e.to_string()));
        Option::<String>::read(table, name)?.into_iter().map(|text| text.map(scheme).transpose()).collect()
    }

    fn text(name: &'static str) -> Option<&'static str> {
        Some(name)
    }
}

impl Field for Departure {
    fn write<'a, I: Iterator<Item = &'a Self>>(name: &str, values: &dyn Fn() -> I, columns: &mut Vec<Column>) {
        columns.push(words(name, values().map(|how| Some(how.name()))));
    }

    fn read(table: &Table<'_>, name: &str) -> Result<Vec<Self>, TableError> {
        let how = |text: String| {
            let known = [Departure::Leave, Departure::Crash].into_iter().find(|how| how.name() == text);
            known.ok_or_else(|| table.wrong(name, format!("{text:?} is neither leave nor crash")))
        };
        String::read(table, name)?.into_iter().map(how).collect()
    }

    fn text(name: &'static str) -> Option<&'static str> {
        Some(name)
    }
}

impl Field for Option<Via> {
    fn write<'a, I: Iterator<Item = &'a Self>>(name: &str, values: &dyn Fn() -> I, columns: &mut Vec<Column>) {
        columns.push(words(name, values().map(|via| via.map(Via::name))));
    }

    fn read(table: &Table<'_>, name: &str) -> Result<Vec<Self>, TableError> {
        let via = |text: Option<String>| match text {
            None => Ok(None),
            Some(text) => {
                let wrong = || table.wrong(name, format!("{text:?} is neither cdn nor peer"));
                Via::named(&text).map(Some).ok_or_else(wrong)
            }
        };
        Option::<String>::read(table, name)?.into_iter().map(via).collect()
    }

    fn text(name: &'static str) -> Option<&'static str> {
        Some(name)
    }
}

/// A column for each key that any of them has; where none has any, no column.
impl Field for Parameters {
    fn write<'a, I: Iterator<Item = &'a Self>>(_name: &str, values: &dyn Fn() -> I, columns: &mut Vec<Column>) {
        let keys: std::collections::BTreeSet<&str> =
            values().flat_map(|parameters| parameters.iter().map(|(key, _)| key)).collect();
        columns.extend(keys.iter().map(|key| words(&format!("{PARAMETER}{key}"), values().map(|p| p.get(key)))));
    }

    fn read(table: &Table<'_>, _name: &str) -> Result<Vec<Self>, TableError> {
        let mut rows: Vec<BTreeMap<String, String>> = vec![BTreeMap::new(); table.rows()];
        let names: Vec<String> = table.frame.get_column_names().iter().map(|name| name.to_string()).collect();
        for name in &names {
            let Some(key) = name.strip_prefix(PARAMETER) else { continue };
            for (row, value) in rows.iter_mut().zip(Option::<String>::read(table, name)?) {
                row.extend(value.map(|value| (key.to_owned(), value)));
            }
        }
        Ok(rows.into_iter().map(Parameters::from).collect())
    }
}

/// The columns `scheme` and `repetition`, and those of the parameters.
impl Field for Point {
    fn write<'a, I: Iterator<Item = &'a Self>>(_name: &str, values: &dyn Fn() -> I, columns: &mut Vec<Column>) {
        Scheme::write("scheme", &|| values().map(|point| &point.scheme), columns);
        u32::write("repetition", &|| values().map(|point| &point.repetition), columns);
        Parameters::write("", &|| values().map(|point| &point.parameters), columns);
    }

    fn read(table: &Table<'_>, _name: &str) -> Result<Vec<Self>, TableError> {
        let (schemes, repetitions) = (Scheme::read(table, "scheme")?, u32::read(table, "repetition")?);
        let coordinates = schemes.into_iter().zip(repetitions).zip(Parameters::read(table, "")?);
        Ok(coordinates.map(|((scheme, repetition), parameters)| Point { scheme, repetition, parameters }).collect())
    }

    fn text(_name: &'static str) -> Option<&'static str> {
        Some("scheme")
    }
}

/// A table as read, with what is said of its columns when they are wrong.
pub(super) struct Table<'a> {
    path: &'a Path,
    pub(super) frame: DataFrame,
}

/// What polars says of a file, in words that need no knowledge of polars.
fn in_words(told: &str) -> String {
    const WORDS: [(&str, &str); 6] = [
        ("must end with PAR1", "its end is missing, or it is no Parquet file"),
        ("out of specification", "it is no whole Parquet file"),
        ("found more fields", "its lines have different numbers of fields"),
        ("empty CSV", "it is empty"),
        ("utf-8", "it is no text"),
        ("could not parse", "a field holds something else than its column does"),
    ];
    let known = WORDS.iter().find(|(theirs, _)| told.contains(theirs)).map(|(_, ours)| (*ours).to_owned());
    known.unwrap_or_else(|| told.lines().next().unwrap_or_default().trim_end_matches('.').to_owned())
}

impl<'a> Table<'a> {
    pub(super) fn parquet(path: &'a Path) -> Result<Table<'a>, TableError> {
        Table::read(path, |bytes| ParquetReader::new(Cursor::new(bytes)).finish())
    }

    /// No more of it than these columns, as far as it has them.
    pub(super) fn parquet_columns(path: &'a Path, names: &[&str]) -> Result<Table<'a>, TableError> {
        Table::read(path, |bytes| {
            let mut reader = ParquetReader::new(Cursor::new(bytes));
            let schema = reader.schema()?;
            let there = names.iter().filter(|name| schema.contains(name)).map(|name| (*name).to_owned()).collect();
            reader.with_columns(Some(there)).finish()
        })
    }

    /// A column of words, none of them null.
    pub(super) fn texts(&self, name: &str) -> Result<Column, TableError> {
        let column = self.cast(name, &DataType::String)?;
        match column.null_count() {
            0 => Ok(column),
            holes => Err(self.wrong(name, format!("{holes} of {} values are null", self.rows()))),
        }
    }

    /// `texts` are columns that are text whatever they look like: a viewer may be called `7`.
    pub(super) fn csv(path: &'a Path, texts: &[&str]) -> Result<Table<'a>, TableError> {
        Table::read(path, |bytes| {
            if !bytes.is_empty() && bytes.last() != Some(&b'\n') {
                let line = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
                polars::prelude::polars_bail!(ComputeError: "it ends in the middle of line {line}");
            }
            // Whatever a parameter looks like, it is what the recipe says.
            let header = bytes.split(|byte| *byte == b'\n').next().map(String::from_utf8_lossy).unwrap_or_default();
            let parameters = header
                .split(',')
                .map(|name| name.trim_matches(['"', '\r']))
                .filter(|name| name.starts_with(PARAMETER));
            let schema: Schema =
                texts.iter().copied().chain(parameters).map(|name| (name.into(), DataType::String)).collect();
            CsvReadOptions::default()
                .with_has_header(true)
                .with_infer_schema_length(None)
                .with_schema_overwrite(Some(Arc::new(schema)))
                .into_reader_with_file_handle(Cursor::new(bytes))
                .finish()
        })
    }

    fn read(path: &'a Path, parse: impl FnOnce(Vec<u8>) -> PolarsResult<DataFrame>) -> Result<Self, TableError> {
        let damaged = |why| TableError::Damaged { path: path.to_owned(), why };
        // Into memory, not mapped: a file that somebody cuts short meanwhile would kill the process.
        let bytes = crate::file::read(path).map_err(|source| TableError::Read { path: path.to_owned(), source })?;
        // polars asserts things of a file that a damaged one does not keep.
        let parsed = catch_unwind(AssertUnwindSafe(|| parse(bytes)));
        match parsed {
            Ok(Ok(frame)) => Ok(Table { path, frame }),
            Ok(Err(error)) => Err(damaged(in_words(&error.to_string()))),
            Err(_) => Err(damaged("it contradicts itself".to_owned())),
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.frame.height()
    }

    fn wrong(&self, column: &str, why: impl Into<String>) -> TableError {
        TableError::Column { path: self.path.to_owned(), column: column.to_owned(), why: why.into() }
    }

    /// The column, turned into the type it should have: foreign tables may hold narrower numbers, and a CSV column of
    /// empty fields is text to polars.
    fn cast(&self, name: &str, to: &DataType) -> Result<Column, TableError> {
        let column = self.frame.column(name).map_err(|_| self.wrong(name, "it is missing"))?;
        // polars goes on to say how many values it did not print.
        let first_line = |text: String| text.lines().next().unwrap_or_default().to_owned();
        column.strict_cast(to).map_err(|e| self.wrong(name, first_line(e.to_string())))
    }

    fn every<T>(&self, name: &str, values: Vec<Option<T>>) -> Result<Vec<T>, TableError> {
        let rows = values.len();
        let values: Vec<T> = values.into_iter().flatten().collect();
        match rows - values.len() {
            0 => Ok(values),
            holes => Err(self.wrong(name, format!("{holes} of {rows} values are null"))),
        }
    }

    /// A column that older tables do not have.
    pub(super) fn added<T: Field + Default + Clone>(&self, name: &str) -> Result<Vec<T>, TableError> {
        if self.frame.column(name).is_ok() { T::read(self, name) } else { Ok(vec![T::default(); self.rows()]) }
    }
}

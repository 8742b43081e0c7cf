//! What files held when they were stored, so that one can tell later whether they still do.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::Path;

use livectl_wire::frame::Hasher;
use serde::{Deserialize, Serialize};

use super::StoreError;

/// How names of texts end.
const TEXTS: [&str; 7] = ["csv", "txt", "json", "jsonl", "yaml", "log", "py"];

/// Bytes read at once.
const BUFFER: usize = 1 << 18;

/// Length and checksum of a file, as it was when it was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Its length in bytes.
    pub bytes: u64,
    /// XXH3-128 of its content as `xxhsum -H128` (xxHash 0.8) prints it: 32 hex digits. It tells chance from change,
    /// but not a forgery.
    pub xxh3_128: String,
}

impl FileRecord {
    /// Reads a file.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn of(path: &Path) -> Result<FileRecord, StoreError> {
        let failed = |source| StoreError::Io { doing: "read", path: path.to_owned(), source };
        let mut file = crate::file::open(path).map_err(failed)?;
        let (mut hasher, mut bytes, mut buffer) = (Hasher::new(), 0, vec![0; BUFFER]);
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(len) => {
                    hasher.update(buffer.get(..len).unwrap_or_default());
                    bytes += len as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(FileRecord { bytes, xxh3_128: hasher.finish().to_string() })
    }

    /// Whether a file is what was recorded. It is, too, if git or Windows have ended the lines of a text with CR LF since.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn is_of(&self, path: &Path) -> Result<bool, StoreError> {
        let now = FileRecord::of(path)?;
        let is_text = path.extension().is_some_and(|extension| TEXTS.iter().any(|text| extension == *text));
        if now == *self || now.bytes <= self.bytes || !is_text {
            return Ok(now == *self);
        }
        let failed = |source| StoreError::Io { doing: "read", path: path.to_owned(), source };
        let bytes = crate::file::read(path).map_err(failed)?;
        let returns = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(b"\r\n")).collect::<Vec<_>>();
        let mut hasher = Hasher::new();
        let mut from = 0;
        for at in &returns {
            hasher.update(&bytes[from..*at]);
            from = at + 1;
        }
        hasher.update(&bytes[from..]);
        let length = (bytes.len() - returns.len()) as u64;
        Ok(length == self.bytes && hasher.finish().to_string() == self.xxh3_128)
    }

    /// How a file that is there differs from what was recorded, for people; `None`: it does not.
    #[must_use]
    pub fn altered(&self, path: &Path) -> Option<String> {
        let now = fs::metadata(path).ok()?.len();
        match self.is_of(path) {
            Ok(true) => None,
            Ok(false) if now == self.bytes => Some("its content is not what was stored".to_owned()),
            Ok(false) => Some(format!("it has {now} bytes and had {} when it was stored", self.bytes)),
            Err(error) => Some(error.to_string()),
        }
    }

    /// All files in a folder and the folders in it, by their paths within it. Symbolic links and what is no file are
    /// not followed.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn of_folder(folder: &Path) -> Result<BTreeMap<String, FileRecord>, StoreError> {
        let mut records = BTreeMap::new();
        collect(folder, "", &mut records)?;
        Ok(records)
    }
}

fn collect(folder: &Path, prefix: &str, records: &mut BTreeMap<String, FileRecord>) -> Result<(), StoreError> {
    let failed = |source| StoreError::Io { doing: "read", path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            collect(&entry.path(), &format!("{name}/"), records)?;
        } else if kind.is_file() {
            records.insert(name, FileRecord::of(&entry.path())?);
        }
    }
    Ok(())
}

/// Recorded files that are there and hold something else than when they were recorded, for people. Unlike [`changes`] it passes over those that are gone,
/// and over texts whose lines end with CR LF now.
#[must_use]
pub fn altered(
    folder: &Path,
    recorded: &BTreeMap<String, FileRecord>,
    matters: impl Fn(&str) -> bool,
) -> Vec<String> {
    let of = recorded.iter().filter(|(name, _)| matters(name));
    let altered = of.filter_map(|(name, before)| Some(format!("{name}: {}", before.altered(&folder.join(name))?)));
    altered.collect()
}

/// What has become of files since they were recorded, for people; empty: nothing. Files that were not recorded do not
/// matter.
#[must_use]
pub fn changes(folder: &Path, recorded: &BTreeMap<String, FileRecord>) -> Vec<String> {
    let mut changes = Vec::new();
    for (name, before) in recorded {
        match FileRecord::of(&folder.join(name)) {
            Ok(now) if now == *before => {}
            Ok(now) if now.bytes == before.bytes => changes.push(format!("{name}: its content has changed")),
            Ok(now) => changes.push(format!("{name}: it has {} bytes and had {}", now.bytes, before.bytes)),
            Err(StoreError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                changes.push(format!("{name}: it is gone"));
            }
            Err(StoreError::Io { source, .. }) => changes.push(format!("{name}: it cannot be read: {source}")),
            Err(error) => changes.push(format!("{name}: {error}")),
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn files_are_recorded_and_changes_told() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("log/deep")).unwrap();
        fs::write(at("a"), "").unwrap();
        fs::write(at("log/deep/b"), vec![7; 600_000]).unwrap();
        fs::write(at("c"), "four").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", at("link")).unwrap();
        let records = FileRecord::of_folder(folder.path()).unwrap();
        assert_eq!(records.keys().collect::<Vec<_>>(), ["a", "c", "log/deep/b"]);
        // As `xxhsum -H128` has it of an empty file.
        assert_eq!(records["a"].xxh3_128, "99aa06d3014798d86001c324468d497f");
        assert_eq!(records["log/deep/b"].bytes, 600_000);
        assert_eq!(changes(folder.path(), &records), Vec::<String>::new());

        fs::write(at("new"), "not recorded").unwrap();
        fs::write(at("a"), "x").unwrap();
        fs::write(at("c"), "fore").unwrap();
        fs::remove_file(at("log/deep/b")).unwrap();
        let told = changes(folder.path(), &records);
        assert_eq!(told, ["a: it has 1 bytes and had 0", "c: its content has changed", "log/deep/b: it is gone"]);

        fs::remove_file(at("a")).unwrap();
        fs::create_dir(at("a")).unwrap();
        let told = changes(folder.path(), &records);
        assert_eq!((told.len(), told[0].as_str()), (3, "a: it cannot be read: it is a folder and not a file"));
    }
}

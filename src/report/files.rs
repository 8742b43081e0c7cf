//! The files of a run.

use std::path::Path;

use serde::Serialize;

/// A file of a run, as the report lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct File {
    /// Below the folder: `log/hs-nginx.log`.
    pub(super) name: String,
    pub(super) bytes: u64,
    /// Size for people, such as `1.5 MB`.
    pub(super) size: String,
}

/// The files of a folder and of those in it, sorted by name; links are not followed, what cannot be read is not
/// there. Folders named in `but`, and earlier pages, are left out.
pub(super) fn files(folder: &Path, but: &[&str]) -> Vec<File> {
    let mut found = Vec::new();
    collect(folder, "", but, &mut found);
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn collect(folder: &Path, prefix: &str, but: &[&str], found: &mut Vec<File>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.filter_map(Result::ok) {
        let own = entry.file_name().to_string_lossy().into_owned();
        let (Ok(kind), name) = (entry.file_type(), format!("{prefix}{own}")) else { continue };
        if kind.is_dir() && !but.contains(&name.as_str()) {
            collect(&entry.path(), &format!("{name}/"), &[], found);
        } else if kind.is_file() && name != super::FILE_NAME {
            let bytes = entry.metadata().map_or(0, |meta| meta.len());
            found.push(File { name, bytes, size: size(bytes) });
        }
    }
}

/// `1.5 MB`, in powers of 1000.
pub(super) fn size(bytes: u64) -> String {
    let (mut scaled, mut units) = (bytes, ["B", "kB", "MB", "GB", "TB"].into_iter());
    let mut rest = 0;
    let mut unit = units.next().unwrap_or_default();
    while let Some(larger) = units.next().filter(|_| scaled >= 1000) {
        (scaled, rest, unit) = (scaled / 1000, scaled % 1000, larger);
    }
    if unit == "B" { format!("{scaled} B") } else { format!("{scaled}.{} {unit}", rest / 100) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn files_are_listed_with_their_sizes_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("direct-1/log")).unwrap();
        std::fs::write(folder.path().join("direct-1/log/a.log"), [0; 1500]).unwrap();
        std::fs::write(folder.path().join("report.html"), "old").unwrap();
        std::fs::write(folder.path().join("b"), "").unwrap();
        std::os::unix::fs::symlink("/etc", folder.path().join("link")).unwrap();
        let names =
            |but: &[&str]| files(folder.path(), but).into_iter().map(|f| (f.name, f.size)).collect::<Vec<_>>();
        let file = |name: &str, size: &str| (name.to_owned(), size.to_owned());
        assert_eq!(names(&[]), [file("b", "0 B"), file("direct-1/log/a.log", "1.5 kB")]);
        assert_eq!(names(&["direct-1"]), [file("b", "0 B")]);
        assert_eq!(
            (size(999), size(1_250_000), size(3_000_000_000_000)),
            ("999 B".into(), "1.2 MB".into(), "3.0 TB".into())
        );
    }
}

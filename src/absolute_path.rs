//! Paths that name the same file whatever is hidden on the way to it.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// The path from the root on and without `..`: a sandbox has the folders that lead to a file, and not those that a `..` leads out of
/// again. Nothing else of it changes: symbolic links behind the last `..` keep their names. A path that leads nowhere stays as it is.
pub(crate) fn of(path: &Path) -> PathBuf {
    let Ok(absolute) = std::path::absolute(path) else { return path.to_owned() };
    let parts: Vec<Component<'_>> = absolute.components().collect();
    let Some(last) = parts.iter().rposition(|part| *part == Component::ParentDir) else { return absolute };
    let (before, after) = parts.split_at(last + 1);
    // Behind a symbolic link, `..` is not the folder that was named before it; only the file system knows.
    match fs::canonicalize(before.iter().collect::<PathBuf>()) {
        Ok(real) => real.join(after.iter().collect::<PathBuf>()),
        Err(_) => absolute,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn folders_that_are_left_again_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("a/b")).unwrap();
        assert_eq!(of(&root.join("a/b/../c.mp4")), root.join("a/c.mp4"), "the file need not be there");
        assert_eq!(of(&root.join("a/../a/b/../../x")), root.join("x"));
        assert_eq!(of(Path::new("/../etc")), Path::new("/etc"));
        assert_eq!(of(&root.join("none/../x")), root.join("none/../x"), "as no file is found there either");
    }

    #[test]
    fn what_needs_no_change_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("a/b")).unwrap();
        std::os::unix::fs::symlink(root.join("a/b"), root.join("link")).unwrap();
        std::os::unix::fs::symlink("elsewhere", root.join("a/clip.mp4")).unwrap();
        assert_eq!(of(&root.join("link/x.mp4")), root.join("link/x.mp4"), "a sweep's trials are named after it");
        assert_eq!(of(&root.join("link/../clip.mp4")), root.join("a/clip.mp4"), "where the link leads, then up");
        assert_eq!(of(Path::new("src/./lib.rs")), std::env::current_dir().unwrap().join("src/lib.rs"));
    }
}

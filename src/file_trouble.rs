//! Why a file cannot be read, for people.

use std::io;
use std::path::Path;

use nix::errno::Errno;

/// What stands in the way, as the end of a sentence that begins with the file's name: `cannot be read: its name is too long`.
pub(crate) fn plainly(path: &Path, error: &io::Error) -> String {
    if is_of_the_kernel(path) {
        return "it is no file on a disk but a view into the kernel".to_owned();
    }
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT) => "it does not exist",
        Some(Errno::EACCES | Errno::EPERM) => "you may not read it",
        Some(Errno::ENOTDIR) => "its path leads through a file as if that were a folder",
        Some(Errno::ENAMETOOLONG) => "its name is longer than a file's can be",
        Some(Errno::ELOOP) => "the symbolic links on the way to it lead in a circle",
        Some(Errno::EISDIR) => "it is a folder",
        Some(Errno::ENXIO | Errno::ENODEV) => "there is nothing behind it",
        Some(Errno::EMFILE | Errno::ENFILE) => "too many files are open on this machine",
        Some(Errno::ENOMEM) => "this machine has no memory left",
        _ => "the disk or the network it is on reports an error",
    }
    .to_owned()
}

/// What to do about it.
pub(crate) fn advice(path: &Path, error: &io::Error) -> &'static str {
    if is_of_the_kernel(path) {
        return "write the path of a file that exists";
    }
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EACCES | Errno::EPERM) => "make the file readable for your user",
        Some(Errno::ENOENT | Errno::ENOTDIR | Errno::ENAMETOOLONG | Errno::EISDIR | Errno::ENXIO | Errno::ENODEV) => {
            "write the path of a file that exists"
        }
        Some(Errno::ELOOP) => "`ls -l` shows where a link leads; make it lead to the file",
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM) => "end other programs, and try again",
        _ => "see whether other programs can read the file, and the machine's log (`dmesg`)",
    }
}

fn is_of_the_kernel(path: &Path) -> bool {
    path.canonicalize().is_ok_and(|real| real.starts_with("/proc") || real.starts_with("/sys"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn no_system_words_reach_the_reader() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::write(root.join("file"), "x").unwrap();
        std::os::unix::fs::symlink("loop", root.join("loop")).unwrap();
        let told = |path: &Path| plainly(path, &std::fs::read(path).unwrap_err());
        assert_eq!(told(&root.join("none")), "it does not exist");
        assert_eq!(told(&root.join("file/x")), "its path leads through a file as if that were a folder");
        assert_eq!(told(&root.join("y".repeat(300))), "its name is longer than a file's can be");
        assert_eq!(told(&root.join("loop")), "the symbolic links on the way to it lead in a circle");
        assert_eq!(told(root), "it is a folder");
        let broken = io::Error::from_raw_os_error(nix::libc::EIO);
        assert_eq!(plainly(root, &broken), "the disk or the network it is on reports an error");
        let kernel = Path::new("/proc/self/mem");
        assert_eq!(plainly(kernel, &broken), "it is no file on a disk but a view into the kernel");
        assert!(advice(root, &broken).contains("dmesg"));
    }
}

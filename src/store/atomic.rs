//! Files that are there whole or not at all, and room for them.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::StoreError;

/// How many [`Writing`]s live.
static WRITINGS: Mutex<usize> = Mutex::new(0);
static DONE: Condvar = Condvar::new();

/// While it lives, something is being written that is to be whole: [`nobody_writes`] waits for it.
#[derive(Debug)]
pub struct Writing(());

/// While it lives, nobody writes: whoever wants to waits for it to go.
#[derive(Debug)]
pub struct NobodyWrites(#[allow(dead_code)] MutexGuard<'static, usize>);

/// Begins to write what is whole only together: several files that tell of each other.
#[must_use]
pub fn writing() -> Writing {
    *WRITINGS.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    Writing(())
}

impl Drop for Writing {
    fn drop(&mut self) {
        *WRITINGS.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        DONE.notify_all();
    }
}

/// Waits until everything that is being written is whole, and lets nobody begin again.
#[must_use]
pub fn nobody_writes() -> NobodyWrites {
    let count = WRITINGS.lock().unwrap_or_else(PoisonError::into_inner);
    NobodyWrites(DONE.wait_while(count, |count| *count > 0).unwrap_or_else(PoisonError::into_inner))
}

/// Writes `bytes` to `path`, whole or not at all: see [`write_atomic_with`].
///
/// # Errors
/// As [`write_atomic_with`].
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    write_atomic_with(path, |file| file.write_all(bytes))
}

/// Writes a file, whole or not at all: into a temporary file in the same folder, synced to the disk, then renamed
/// over `path`. If anything fails, what was at `path` before is still there and the temporary file is not.
///
/// The file gets the mode that the umask leaves of 0666. Written by root into a folder that is another user's, it
/// becomes that user's: a run under sudo leaves nothing that its user cannot delete, even if it is killed.
///
/// A device or a pipe (`/dev/stdout`, `/dev/fd/63`) cannot be put in place of: it is written into.
///
/// # Errors
/// [`StoreError::NotWritable`], [`StoreError::Full`] or [`StoreError::Io`], also for errors that `write` returns.
pub fn write_atomic_with(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), StoreError> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let attempt = || -> io::Result<()> {
        if let Some(mut sink) = sink(path)? {
            return write(&mut sink);
        }
        let _whole = writing();
        let mut temporary = tempfile::Builder::new()
            .prefix(".livectl-")
            .suffix(".part")
            .permissions(std::fs::Permissions::from_mode(0o666))
            .tempfile_in(folder)?;
        write(temporary.as_file_mut())?;
        give_to_owner_of(folder, temporary.as_file())?;
        temporary.as_file().sync_all()?;
        temporary.persist(path).map_err(|e| e.error)?;
        // The name is on the disk only when the folder is.
        File::open(folder)?.sync_all()
    };
    attempt().map_err(|source| StoreError::writing(path, without_name(source)))
}

/// The device or pipe that `path` names, opened. A pipe that nobody reads from is an error, not a wait.
fn sink(path: &Path) -> io::Result<Option<File>> {
    let Ok(kind) = std::fs::metadata(path).map(|metadata| metadata.file_type()) else { return Ok(None) };
    if names_an_open_file(path) {
        // `> file` has been opened already, and other things are printed there.
        return Ok(Some(File::options().append(true).open(path)?));
    }
    if !kind.is_fifo() && !kind.is_char_device() && !kind.is_block_device() {
        return Ok(None);
    }
    let sink =
        File::options().write(true).custom_flags(nix::libc::O_NONBLOCK).open(path).map_err(|error| {
            match error.raw_os_error() {
                Some(nix::libc::ENXIO) => {
                    io::Error::new(io::ErrorKind::NotConnected, "it is a pipe that nobody reads from")
                }
                _ => error,
            }
        })?;
    let flags = nix::fcntl::OFlag::from_bits_retain(nix::fcntl::fcntl(&sink, nix::fcntl::FcntlArg::F_GETFL)?);
    nix::fcntl::fcntl(&sink, nix::fcntl::FcntlArg::F_SETFL(flags - nix::fcntl::OFlag::O_NONBLOCK))?;
    Ok(Some(sink))
}

/// `/dev/stdout`, `/dev/fd/3`: a link into `/proc` or in it. To put a file in its place would break it for everybody.
fn names_an_open_file(path: &Path) -> bool {
    let Ok(target) = std::fs::read_link(path) else { return false };
    let folder = path.parent().and_then(|parent| parent.canonicalize().ok());
    target.starts_with("/proc") || folder.is_some_and(|folder| folder.starts_with("/proc"))
}

/// What the system said, without the temporary file's name, which means nothing to anybody.
fn without_name(error: io::Error) -> io::Error {
    let text = error.to_string();
    match text.rsplit_once(" at path ") {
        Some((said, _)) if error.raw_os_error().is_none() => io::Error::new(error.kind(), said.to_owned()),
        _ => error,
    }
}

fn give_to_owner_of(folder: &Path, file: &File) -> io::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let folder = std::fs::metadata(folder)?;
    if folder.uid() == 0 {
        return Ok(());
    }
    std::os::unix::fs::fchown(file, Some(folder.uid()), Some(folder.gid()))
}

/// Bytes that this user can still write on the disk that holds `path`, which need not exist yet.
///
/// # Errors
/// [`StoreError::Io`] if the system does not tell.
pub fn free_space(path: &Path) -> Result<u64, StoreError> {
    let absolute = std::path::absolute(path).map_err(|source| StoreError::Io {
        doing: "find the disk of",
        path: path.to_owned(),
        source,
    })?;
    let existing = absolute.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/"));
    let told = nix::sys::statvfs::statvfs(existing).map_err(|errno| StoreError::Io {
        doing: "ask for the free space of",
        path: existing.to_owned(),
        source: errno.into(),
    })?;
    Ok(told.blocks_available() * told.fragment_size())
}

/// Refuses when the disk that holds `path` has less than `need` bytes free.
///
/// # Errors
/// [`StoreError::TooLittleSpace`], and as [`free_space`].
pub fn require_space(path: &Path, need: u64) -> Result<(), StoreError> {
    let free = free_space(path)?;
    if free < need {
        return Err(StoreError::TooLittleSpace { path: path.to_owned(), free, need });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn replaces_whole_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write_atomic(&path, b"first, and longer").unwrap();
        write_atomic(&path, b"second").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
        assert_eq!(names(folder.path()), ["a.json"]);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o600, 0o600);
        assert_eq!(mode & 0o111, 0);
    }

    #[test]
    fn a_write_that_fails_midway_leaves_what_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write_atomic(&path, b"old").unwrap();
        let failure = write_atomic_with(&path, |file| {
            file.write_all(b"ne")?;
            Err(io::Error::from_raw_os_error(nix::libc::ENOSPC))
        })
        .unwrap_err();
        assert!(matches!(failure, StoreError::Full { .. }), "{failure:?}");
        assert!(failure.to_string().contains("a.json"), "{failure}");
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["a.json"]);
    }

    #[test]
    fn a_device_stays_one_and_a_pipe_without_a_reader_is_no_wait() {
        let folder = tempfile::tempdir().unwrap();
        let (link, pipe) = (folder.path().join("null"), folder.path().join("pipe"));
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        write_atomic(&link, b"x").unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        let open = File::create(folder.path().join("open")).unwrap();
        let (number, named) = (std::os::fd::AsRawFd::as_raw_fd(&open), folder.path().join("stdout"));
        std::os::unix::fs::symlink(format!("/proc/self/fd/{number}"), &named).unwrap();
        write_atomic(&named, b"one, ").unwrap();
        write_atomic(Path::new(&format!("/dev/fd/{number}")), b"two").unwrap();
        assert!(std::fs::symlink_metadata(&named).unwrap().is_symlink());
        assert_eq!(std::fs::read(folder.path().join("open")).unwrap(), b"one, two");
        std::fs::remove_file(named).unwrap();
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(write_atomic(&pipe, b"x").unwrap_err().to_string().contains("nobody reads"));
        let reader = {
            let pipe = pipe.clone();
            std::thread::spawn(move || std::fs::read(pipe).unwrap())
        };
        let long = vec![7; 1 << 20];
        while write_atomic(&pipe, &long).is_err() {
            std::thread::yield_now();
        }
        assert_eq!(reader.join().unwrap(), long);
        assert_eq!(names(folder.path()), ["null", "open", "pipe"]);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none/a.json");
        let told = write_atomic(&path, b"x").unwrap_err().to_string();
        assert_eq!(told, format!("cannot write {}: No such file or directory (os error 2)", path.display()));
    }

    #[test]
    fn a_folder_in_the_way_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        std::fs::create_dir(&path).unwrap();
        assert!(matches!(write_atomic(&path, b"x"), Err(StoreError::Io { .. })));
        assert_eq!(names(folder.path()), ["a.json"]);
    }

    /// Runs `what` on a thread of its own that sees the files as the user 65534 does.
    fn as_nobody<T: Send>(what: impl FnOnce() -> T + Send) -> T {
        assert!(nix::unistd::geteuid().is_root(), "this test needs root, to become someone else: run it under sudo");
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                nix::unistd::setfsgid(65534.into());
                nix::unistd::setfsuid(65534.into());
                what()
            });
            thread.join().unwrap()
        })
    }

    #[test]
    fn a_folder_of_someone_else_is_not_writable() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let failure = as_nobody(|| write_atomic(&folder.path().join("a.json"), b"x")).unwrap_err();
        assert!(matches!(failure, StoreError::NotWritable { .. }), "{failure:?}");
        assert!(failure.to_string().contains("choose another results folder"), "{failure}");
        assert_eq!(names(folder.path()), Vec::<String>::new());
    }

    #[test]
    fn a_full_disk_is_called_full_and_the_old_file_stays() {
        assert!(nix::unistd::geteuid().is_root(), "this test needs root, to mount a small tmpfs: run it under sudo");
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().to_owned();
        // The mount is seen by this thread alone and ends with it.
        let failure = std::thread::spawn(move || {
            use nix::mount::{MsFlags, mount};
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
            mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
            mount(Some("tmpfs"), &disk, Some("tmpfs"), MsFlags::empty(), Some("size=64k")).unwrap();
            let path = disk.join("a.json");
            write_atomic(&path, b"old").unwrap();
            assert!(free_space(&disk).unwrap() <= 64 << 10);
            assert!(matches!(require_space(&disk, 1 << 20), Err(StoreError::TooLittleSpace { .. })));
            let failure = write_atomic(&path, &[0; 1 << 20]).unwrap_err();
            assert_eq!(std::fs::read(&path).unwrap(), b"old");
            assert_eq!(names(&disk), ["a.json"]);
            failure
        })
        .join()
        .unwrap();
        assert!(matches!(failure, StoreError::Full { .. }), "{failure:?}");
    }

    #[test]
    fn free_space_of_a_folder_to_be_made() {
        let folder = tempfile::tempdir().unwrap();
        let there = free_space(folder.path()).unwrap();
        let to_be = free_space(&folder.path().join("not/yet")).unwrap();
        assert!(there > 0 && to_be > 0);
        let told = require_space(folder.path(), u64::MAX).unwrap_err().to_string();
        assert!(told.contains("MiB free"), "{told}");
    }

    #[test]
    fn root_writing_for_a_user_leaves_the_users_file() {
        assert!(nix::unistd::geteuid().is_root(), "this test needs root, to give files away: run it under sudo");
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(folder.path(), Some(12345), Some(12346)).unwrap();
        let path = folder.path().join("a.json");
        write_atomic(&path, b"x").unwrap();
        let meta = std::fs::metadata(&path).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (12345, 12346));
    }
}

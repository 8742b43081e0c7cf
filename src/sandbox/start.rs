//! Starts the program that will [`enter`](super::enter) a sandbox, tied to the life of this process.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Sender};

use nix::libc;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{getpid, getppid, setsid};

use super::Marker;

type Job = Box<dyn FnOnce() + Send>;

/// The command that starts `program`, which must call [`enter`](super::enter) first thing.
///
/// It is a session of its own (a Ctrl-C at the terminal reaches the starter alone, which then asks it to stop), it
/// carries `marker`, its standard input and output are pipes, and it is killed when the starter dies. Keep its
/// standard input open: when the last writer is gone, the sandbox ends at once.
///
/// Start it with [`spawn`] or [`spawn_blocking`] and not by itself: the kernel sends the parent-death signal when
/// the *thread* that started the child ends, and threads of a pool may end at any time.
pub fn command<I, S>(marker: &Marker, program: &Path, args: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let starter = getpid();
    let mut command = Command::new(program);
    command.args(args).envs(marker.variables()).stdin(Stdio::piped()).stdout(Stdio::piped());
    // SAFETY: between fork and exec the closure makes three system calls and neither allocates nor locks.
    unsafe {
        command.pre_exec(move || {
            setsid()?;
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            if getppid() != starter {
                // The starter died before the signal was asked for.
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            Ok(())
        });
    }
    command
}

/// Starts a [`command`] from a thread that lives as long as this process. The child is killed when the
/// returned handle is dropped. Must be called inside a tokio runtime.
///
/// # Errors
/// The program cannot be started.
pub async fn spawn(command: Command) -> io::Result<tokio::process::Child> {
    let runtime = tokio::runtime::Handle::current();
    let (answer, child) = tokio::sync::oneshot::channel();
    on_lasting_thread(Box::new(move || {
        let _inside = runtime.enter();
        let mut command = tokio::process::Command::from(command);
        // Nobody waits for the answer any more: the child is dropped here, which kills it.
        let _ = answer.send(command.kill_on_drop(true).spawn());
    }))?;
    child.await.map_err(|_| thread_is_gone())?
}

/// The same as [`spawn`] without a runtime. Dropping the handle does not kill the child, but closing its standard
/// input does.
///
/// # Errors
/// The program cannot be started.
pub fn spawn_blocking(mut command: Command) -> io::Result<Child> {
    let (answer, child) = mpsc::channel();
    on_lasting_thread(Box::new(move || {
        let _ = answer.send(command.spawn());
    }))?;
    child.recv().map_err(|_| thread_is_gone())?
}

/// Runs `job` on the one thread that ends only with the process.
fn on_lasting_thread(job: Job) -> io::Result<()> {
    static JOBS: OnceLock<Option<Sender<Job>>> = OnceLock::new();
    let jobs = JOBS.get_or_init(|| {
        let (jobs, queue) = mpsc::channel::<Job>();
        let thread = std::thread::Builder::new().name("starter".into());
        // The sender is a static, so the queue never ends.
        thread.spawn(move || queue.iter().for_each(|job| job())).ok().map(|_| jobs)
    });
    jobs.as_ref().and_then(|jobs| jobs.send(job).ok()).ok_or_else(thread_is_gone)
}

fn thread_is_gone() -> io::Error {
    io::Error::other(
        "the thread that starts sandboxes could not be started or has ended; the machine may be out of threads",
    )
}

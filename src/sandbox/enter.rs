//! Going into the sandbox, from its first system call to its first process.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, geteuid, pipe2};

use super::environment::Environment;
use super::limits;
use super::mounts::{self, MountError};

/// Signals that the keeper and PID 1 pass on to the program.
const PASSED_ON: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

/// Why a sandbox could not be entered.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// Namespaces, mounts and interfaces are root's.
    #[error("a trial needs root, and this process runs as user {0}; run it with sudo")]
    NotRoot(u32),
    /// Forking copies one thread only.
    #[error("a sandbox must be entered before other threads are started; there are {0}")]
    Threads(usize),
    /// The kernel or a container does not allow namespaces.
    #[error(
        "cannot make the {what} namespace: {source}. Inside a container, give it the privileges for this \
         (docker run --privileged); `livectl doctor` says more"
    )]
    Namespace {
        /// Which namespaces.
        what: &'static str,
        /// What the kernel said.
        source: Errno,
    },
    /// A path asked for cannot stay visible.
    #[error("cannot keep {} visible in the sandbox: {why}", path.display())]
    Keep {
        /// Path of the file.
        path: PathBuf,
        /// The reason, in words.
        why: &'static str,
    },
    /// A mount inside failed.
    #[error("cannot arrange the sandbox's file system: {0}")]
    Mount(#[from] MountError),
    /// The loopback interface stayed down.
    #[error("cannot bring up the sandbox's loopback interface: {0}")]
    Loopback(io::Error),
    /// Anything else the kernel refused.
    #[error("cannot {what}: {source}")]
    System {
        /// The attempted operation.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// What is known inside the sandbox.
#[derive(Debug)]
pub struct Inside {
    /// The environment for the programs of the trial.
    pub environment: Environment,
}

/// Enters a sandbox: returns in a new process, PID 2 in new PID, network, mount and IPC namespaces, whose `/tmp`,
/// `/run` and `/dev/shm` are empty but for `keep`, whose `lo` is up and whose `/run/openvswitch` is its own.
///
/// To be called before any thread is started, so before a tokio runtime. `keep` are absolute paths of files or
/// folders that stay visible and as writable as they were; those outside the [`COVERED`](super::COVERED) folders are
/// so anyway. The working folder stays where it was if it is visible inside, else it is `/`.
///
/// The calling process does not return: it waits for the sandbox and exits with the exit code of PID 2 (128 + n when
/// signal n ended it). Process 1 inside reaps orphans. Both pass on TERM, INT and HUP. When PID 2 ends, everything in
/// the sandbox is killed; so it is when the starter dies or closes the last write end of standard input.
///
/// # Errors
/// An [`EnterError`] when something is not allowed. From then on the process is still a child to be waited for, and
/// what it prints and its exit code reach the starter.
pub fn enter(keep: &[PathBuf]) -> Result<Inside, EnterError> {
    if !geteuid().is_root() {
        return Err(EnterError::NotRoot(geteuid().as_raw()));
    }
    let threads = fs::read_dir("/proc/self/task").map_err(failed("count the threads in /proc/self/task"))?.count();
    if threads != 1 {
        return Err(EnterError::Threads(threads));
    }
    if let Some((path, why)) = mounts::unfit_to_keep(keep) {
        return Err(EnterError::Keep { path, why });
    }

    limits::raise();
    unshare(CloneFlags::CLONE_NEWPID).map_err(|source| EnterError::Namespace { what: "process id", source })?;
    // Signals stay queued from here on; whoever watches them reads them from a descriptor.
    let mut watched = SigSet::from_iter(PASSED_ON);
    watched.add(Signal::SIGCHLD);
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&watched), Some(&mut before)).map_err(failed("block signals"))?;
    let (keeper_gone, keeper_lives) = pipe2(OFlag::O_CLOEXEC).map_err(failed("make a pipe"))?;

    // SAFETY: there is one thread, so the child has everything the parent has.
    if let ForkResult::Parent { child } = unsafe { fork() }.map_err(failed("fork"))? {
        drop(keeper_gone);
        name_process(c"livectl-keeper");
        leave(watch(child, &watched, &[]));
    }
    drop(keeper_lives);
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(failed("ask for a signal when the keeper dies"))?;
    let arranged = arrange(keep);

    // SAFETY: as above; nothing before has started a thread.
    if let ForkResult::Parent { child } = unsafe { fork() }.map_err(failed("fork"))? {
        name_process(c"livectl-init");
        let stdin = io::stdin();
        let mut lifelines = vec![keeper_gone.as_fd()];
        // A closed standard input would look like a starter that is gone.
        lifelines.extend(nix::sys::stat::fstat(stdin.as_fd()).is_ok().then(|| stdin.as_fd()));
        leave(watch(child, &watched, &lifelines));
    }
    drop::<OwnedFd>(keeper_gone);
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(failed("ask for a signal when PID 1 dies"))?;
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None).map_err(failed("unblock signals"))?;
    arranged
}

/// Everything between being PID 1 and having a place where a program can run.
fn arrange(keep: &[PathBuf]) -> Result<Inside, EnterError> {
    for (flag, what) in
        [(CloneFlags::CLONE_NEWNS, "mount"), (CloneFlags::CLONE_NEWNET, "network"), (CloneFlags::CLONE_NEWIPC, "IPC")]
    {
        unshare(flag).map_err(|source| EnterError::Namespace { what, source })?;
    }
    mounts::arrange(keep)?;
    bring_up_loopback().map_err(EnterError::Loopback)?;
    Ok(Inside { environment: Environment::new(std::env::vars_os()) })
}

/// Waits for `child`, reaping whoever else ends and passing on signals. When all writers of one of the `lifelines`
/// are gone, returns at once. The value is an exit code.
fn watch(child: Pid, signals: &SigSet, lifelines: &[BorrowedFd<'_>]) -> i32 {
    let Ok(queue) = SignalFd::with_flags(signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK) else {
        return wait_only(child);
    };
    loop {
        // Nothing is asked for of lifelines: a hang-up is reported anyway, and what is written stays for PID 2.
        let mut fds: Vec<PollFd<'_>> = lifelines.iter().map(|fd| PollFd::new(*fd, PollFlags::empty())).collect();
        fds.push(PollFd::new(queue.as_fd(), PollFlags::POLLIN));
        if !matches!(poll(&mut fds, PollTimeout::NONE), Ok(_) | Err(Errno::EINTR)) {
            return wait_only(child);
        }
        let gone = PollFlags::POLLHUP | PollFlags::POLLERR;
        if fds[..lifelines.len()].iter().any(|fd| fd.revents().is_some_and(|events| events.intersects(gone))) {
            return 128 + Signal::SIGKILL as i32;
        }
        while let Ok(Some(info)) = queue.read_signal() {
            if let Some(signal) = PASSED_ON.into_iter().find(|signal| *signal as u32 == info.ssi_signo) {
                // A child that has ended meanwhile needs no signal.
                let _ = kill(child, signal);
            }
        }
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            match status {
                WaitStatus::StillAlive => break,
                status if status.pid() == Some(child) => return exit_code(status),
                _orphan => {}
            }
        }
    }
}

/// The backstop when signals cannot be watched.
fn wait_only(child: Pid) -> i32 {
    waitpid(child, None).map_or(1, exit_code)
}

fn exit_code(status: WaitStatus) -> i32 {
    match status {
        WaitStatus::Exited(_, code) => code,
        WaitStatus::Signaled(_, signal, _) => 128 + signal as i32,
        _ => 1,
    }
}

/// Ends this process without running what the program registered for its own end: that is for PID 2 to do.
fn leave(code: i32) -> ! {
    // SAFETY: `_exit` takes any value and does not return.
    unsafe { libc::_exit(code) }
}

fn name_process(name: &std::ffi::CStr) {
    // Only what `ps` shows; the process does its duty under any name.
    let _ = prctl::set_name(name);
}

fn failed<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> EnterError {
    move |source| EnterError::System { what, source: source.into() }
}

/// Sets IFF_UP on `lo` (netdevice(7), SIOCSIFFLAGS).
fn bring_up_loopback() -> io::Result<()> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    use std::os::fd::AsRawFd;
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: an all-zero `ifreq` is a valid value of it, and both requests read and write nothing but that
    // structure.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = *from as libc::c_char;
        }
        Errno::result(libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request))?;
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
        Errno::result(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request))?;
    }
    Ok(())
}

//! A terminal window of one user with a shell of another.
//!
//! xterm is handed the master of a pseudo-terminal (`-S`, xterm(1)) and draws it; the shell has the slave and is
//! started by whoever may. So the window needs nothing of the trial, and the shell nothing of the display.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::pty::{OpenptyResult, openpty};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use nix::unistd::{setsid, ttyname};

/// The terminal's program.
pub const XTERM: &str = "xterm";

/// A window that is there.
#[derive(Debug)]
pub struct Window {
    xterm: Child,
    shell: Child,
}

/// Why a window is not there.
#[derive(Debug, thiserror::Error)]
pub enum WindowError {
    /// xterm cannot be started, or there is no pseudo-terminal for it.
    #[error("cannot {what}: {source}")]
    System {
        /// The attempted operation.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// xterm has ended before its window was there.
    #[error("xterm ended before its window was there: {said}")]
    Ended {
        /// What the program printed.
        said: String,
    },
}

fn failed<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> WindowError {
    move |source| WindowError::System { what, source: source.into() }
}

impl Window {
    /// Opens a window with that title and has `shell` run in it. `dress` says as whom xterm runs.
    ///
    /// # Errors
    /// See [`WindowError`].
    pub fn open(title: &str, dress: impl FnOnce(&mut Command), mut shell: Command) -> Result<Window, WindowError> {
        let OpenptyResult { master, slave } = openpty(None, None).map_err(failed("have a pseudo-terminal"))?;
        for end in [&master, &slave] {
            fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))
                .map_err(failed("keep a pseudo-terminal from others"))?;
        }
        let mut xterm = Command::new(XTERM);
        let name = ttyname(&slave).map_err(failed("name a pseudo-terminal"))?;
        let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let number = master.as_raw_fd();
        xterm.args(["-T", title, &format!("-S{name}/{number}")]);
        // A file, which it cannot fill up as it could a pipe that nobody reads.
        let mut complaints = tempfile::tempfile().map_err(failed("make a file for what xterm says"))?;
        let stderr = complaints.try_clone().map_err(failed("share a file with xterm"))?;
        xterm.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        dress(&mut xterm);
        // SAFETY: between fork and exec the closure makes two system calls and neither allocates nor locks. The
        // descriptor is open in the child, which has a copy of all.
        unsafe {
            xterm.pre_exec(move || {
                Errno::result(libc::fcntl(number, libc::F_SETFD, 0))?;
                // After the change of user, which would undo it.
                prctl::set_pdeathsig(Signal::SIGTERM)?;
                Ok(())
            });
        }
        let mut xterm = xterm.spawn().map_err(failed("start xterm"))?;
        drop(master);
        if !greeted(&slave)? {
            let _ = xterm.wait();
            let mut said = String::new();
            // What cannot be read is not said.
            let _ = complaints.rewind().and_then(|()| complaints.read_to_string(&mut said));
            return Err(WindowError::Ended { said: said.trim().to_owned() });
        }
        on_terminal(&mut shell, slave).map_err(failed("give the shell its terminal"))?;
        match shell.spawn() {
            Ok(shell) => Ok(Window { xterm, shell }),
            Err(source) => {
                let _ = xterm.kill();
                let _ = xterm.wait();
                Err(WindowError::System { what: "start a shell", source })
            }
        }
    }

    /// Waits until the window is closed or the shell has ended, which closes it, and with either the other.
    pub fn wait(mut self) {
        let _ = self.xterm.wait();
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        let _ = self.xterm.kill();
        let _ = self.xterm.wait();
        // Its terminal is gone, which has told the shell to end (SIGHUP). One that does not heed that is ended.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// Reads the line that xterm writes when its window is there: the window's number. False: it has ended before.
fn greeted(slave: &OwnedFd) -> Result<bool, WindowError> {
    let change = || "set a pseudo-terminal";
    let before = tcgetattr(slave).map_err(failed(change()))?;
    // Else the line would be the first thing in the window.
    let mut silent = before.clone();
    silent.local_flags.remove(LocalFlags::ECHO);
    tcsetattr(slave, SetArg::TCSANOW, &silent).map_err(failed(change()))?;
    let mut reader = File::from(slave.try_clone().map_err(failed(change()))?);
    let mut line = [0; 64];
    // A line at a time, as terminals give them; an error when nobody holds the master any more.
    let greeted = matches!(reader.read(&mut line), Ok(1..));
    if greeted {
        tcsetattr(slave, SetArg::TCSANOW, &before).map_err(failed(change()))?;
    }
    Ok(greeted)
}

/// Has a command run in a session of its own, on that terminal.
fn on_terminal(command: &mut Command, terminal: OwnedFd) -> io::Result<()> {
    command.stdin(terminal.try_clone()?).stdout(terminal.try_clone()?).stderr(terminal);
    command.env("TERM", "xterm");
    // SAFETY: between fork and exec the closure makes two system calls and neither allocates nor locks; descriptor 0
    // is the terminal.
    unsafe {
        command.pre_exec(|| {
            setsid()?;
            Errno::result(libc::ioctl(0, libc::TIOCSCTTY, 0))?;
            Ok(())
        });
    }
    Ok(())
}

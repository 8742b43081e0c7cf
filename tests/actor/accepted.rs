//! The sockets of another process, looked at with `pidfd_getfd(2)`: what no tool prints of them.

use std::net::TcpStream;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use nix::libc;
use nix::sys::socket::{AddressFamily, SockaddrLike as _, SockaddrStorage, getpeername, getsockname};

/// A connection of a process.
#[derive(Debug)]
pub struct Connection {
    /// TCP_NODELAY is set.
    pub nodelay: bool,
}

/// The IPv4 connections of that process that it has at a port of its own.
pub fn connections(pid: u32, port: u16) -> Vec<Connection> {
    let process = descriptor(libc::SYS_pidfd_open, pid.try_into().unwrap(), 0);
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().map(|entry| entry.unwrap());
    let sockets = entries.filter(|entry| {
        std::fs::read_link(entry.path()).is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
    });
    let numbers = sockets.map(|entry| entry.file_name().to_str().unwrap().parse().unwrap());
    numbers
        .map(|fd| descriptor(libc::SYS_pidfd_getfd, process.as_raw_fd(), fd))
        .filter(|socket| {
            let fd = socket.as_raw_fd();
            let own = getsockname::<SockaddrStorage>(fd).unwrap();
            // Listening sockets have no peer.
            own.family() == Some(AddressFamily::Inet)
                && own.as_sockaddr_in().unwrap().port() == port
                && getpeername::<SockaddrStorage>(fd).is_ok()
        })
        .map(|socket| Connection { nodelay: TcpStream::from(socket).nodelay().unwrap() })
        .collect()
}

/// Whether the process was started by that one.
pub fn is_child_of(pid: u32, parent: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.split_whitespace().eq(["PPid:", &parent.to_string()]))
}

/// Kills one process.
pub fn kill(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(pid.try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}

/// `pidfd_open(2)` and `pidfd_getfd(2)`, which take two numbers and flags, and return a descriptor.
fn descriptor(call: libc::c_long, first: i32, second: i32) -> OwnedFd {
    // SAFETY: neither call takes a pointer. Arguments beyond those of the call are ignored.
    let fd = unsafe { libc::syscall(call, first, second, 0) };
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the call returned a new descriptor that nobody else owns.
    unsafe { OwnedFd::from_raw_fd(fd.try_into().unwrap()) }
}

//! Peers first: how much of the uplink the encoder's upload to the CDN may take while peers are served.
//!
//! The CDN's copy and the peers' copies leave through one uplink. When both together are more than it carries, TCP shares it evenly and
//! a queue builds up in front of the link, and every frame for the peers waits in it. Therefore the encoder's own RTMP
//! connection is slowed down to what the peers leave, by `SO_MAX_PACING_RATE` on its socket: TCP then spaces its segments itself,
//! whatever the queueing discipline and the congestion control (Linux 4.13 and later). The socket is borrowed from the
//! encoder with `pidfd_getfd` (Linux 5.6 and later) for the moment of setting only, since a copy of it that stayed open would keep
//! the connection open after the encoder closed it.
//!
//! An agent lifts its limit when it ends. One that is killed cannot; a trial whose agent dies has failed and is stopped.

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use nix::libc;

/// The share of the uplink that peers and CDN together may take.
///
/// Frames come in bursts, and each packet of the CDN's that is between their packets costs a packet's time on the link. Measured with
/// 2.5 Mbit/s over 4 Mbit/s and 200 ms, CUBIC: 0.85 leaves the CDN 0.79 Mbit/s and a peer's frames an excess over the floor of
/// 7.6 ms (median) and 28 ms (95th percentile); 0.75 leaves 0.36 Mbit/s, 2.4 ms and 19 ms; 0.66 leaves 0.16 Mbit/s, 2.1 ms
/// and 11 ms.
const SHARE: f64 = 0.75;
/// The share of the uplink that the CDN is left in any case.
const LEAST: f64 = 0.05;
/// Seconds by which a peer may lag behind the stream without being thought to have to catch up: a few frames.
const TOLERATED_LAG: f64 = 0.15;
/// Bytes of an Ethernet frame for each byte of TCP payload in full segments: 1448 of payload, 66 of headers.
pub(super) const WIRE_PER_PAYLOAD: f64 = 1514.0 / 1448.0;

/// What the upload to the CDN may take, in bit/s on the wire, of an uplink of `uplink` bit/s, while `peers` peers are each sent
/// `stream` bit/s of payload and the last of them lags by `lag` seconds: what the peers leave, but as little as possible as long as one of
/// them has to catch up, as after it joined.
pub(super) fn allowance(uplink: u64, stream: f64, peers: usize, lag: f64) -> u64 {
    let uplink = uplink as f64;
    let taken = stream * WIRE_PER_PAYLOAD * peers as f64;
    let left = if lag > TOLERATED_LAG { 0.0 } else { SHARE * uplink - taken };
    left.max(LEAST * uplink) as u64
}

/// A TCP connection of another process in this network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Connection {
    pid: i32,
    fd: i32,
    link: String,
}

/// Finds the connection of some other process to `remote`; `None`: there is none (yet).
pub(super) fn find(remote: SocketAddrV4) -> io::Result<Option<Connection>> {
    let table = std::fs::read_to_string("/proc/self/net/tcp")?;
    let links: Vec<String> = established(&table, remote).map(|inode| format!("socket:[{inode}]")).collect();
    if links.is_empty() {
        return Ok(None);
    }
    let me = std::process::id();
    for process in std::fs::read_dir("/proc")?.flatten() {
        let pid = process.file_name().to_string_lossy().parse::<i32>().ok();
        let Some(pid) = pid.filter(|pid| u32::try_from(*pid) != Ok(me)) else { continue };
        // A process may end while it is being looked at.
        let Ok(fds) = std::fs::read_dir(process.path().join("fd")) else { continue };
        for entry in fds.flatten() {
            let Ok(target) = std::fs::read_link(entry.path()) else { continue };
            let Some(link) = links.iter().find(|link| target.as_os_str() == link.as_str()) else { continue };
            if let Ok(fd) = entry.file_name().to_string_lossy().parse() {
                return Ok(Some(Connection { pid, fd, link: link.clone() }));
            }
        }
    }
    Ok(None)
}

/// The inodes of established connections to `remote` in `/proc/PID/net/tcp` (Linux, Documentation/networking/proc_net_tcp.rst).
fn established(table: &str, remote: SocketAddrV4) -> impl Iterator<Item = u64> + '_ {
    let remote = format!("{:08X}:{:04X}", u32::from_ne_bytes(remote.ip().octets()), remote.port());
    table.lines().filter_map(move |line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (address, state, inode) = (fields.get(2)?, fields.get(3)?, fields.get(9)?);
        (*address == remote && *state == "01").then(|| inode.parse().ok()).flatten()
    })
}

impl Connection {
    /// Whether it is still what it was when found.
    pub(super) fn is_there(&self) -> bool {
        let target = std::fs::read_link(format!("/proc/{}/fd/{}", self.pid, self.fd));
        target.is_ok_and(|target| target.as_os_str() == self.link.as_str())
    }

    /// Sets how much it may send, in bit/s on the wire; `None`: as much as it can.
    pub(super) fn pace(&self, bit_per_s: Option<u64>) -> io::Result<()> {
        // The kernel counts payload in bytes/s; all ones means no limit (socket(7), SO_MAX_PACING_RATE).
        let rate =
            bit_per_s.map_or(u32::MAX, |rate| ((rate as f64 / WIRE_PER_PAYLOAD / 8.0) as u32).clamp(1, u32::MAX - 1));
        let socket = self.borrow()?;
        let (value, len) = (std::ptr::from_ref(&rate).cast(), size_of::<u32>() as libc::socklen_t);
        // SAFETY: `socket` is an open descriptor, and `value` points to `len` bytes that live until the call returns.
        let done =
            unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE, value, len) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn borrow(&self) -> io::Result<OwnedFd> {
        let process = descriptor(libc::SYS_pidfd_open, self.pid, 0)?;
        descriptor(libc::SYS_pidfd_getfd, process.as_raw_fd(), self.fd)
    }
}

/// `pidfd_open(2)` and `pidfd_getfd(2)`, which take two numbers and flags, and return a descriptor.
fn descriptor(call: libc::c_long, first: i32, second: i32) -> io::Result<OwnedFd> {
    // SAFETY: neither call takes a pointer. Arguments beyond those of the call are ignored.
    let fd = unsafe { libc::syscall(call, first, second, 0) };
    match i32::try_from(fd) {
        // SAFETY: the call returned a new descriptor that nobody else owns.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn peers_come_first() {
        let stream = 2_500_000.0;
        assert_eq!(allowance(4_000_000, stream, 1, 0.0), 386_049, "0.75 x 4 - 2.5 x 1514/1448");
        assert_eq!(allowance(4_000_000, stream, 2, 0.0), 200_000, "never less than 5 %");
        assert_eq!(allowance(100_000_000, stream, 2, 0.1), 69_772_099);
        assert_eq!(allowance(4_000_000, stream, 1, 0.2), 200_000, "a peer has to catch up");
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn connections_of_a_real_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100000A:C570 0200000A:078F 01 00000000:00000000 00:00000000 00000000     0        0 999 1 0 20 4 0 10 -1
   1: 0100000A:C572 0200000A:A769 01 00000000:00000000 00:00000000 00000000     0        0 998 1 0 20 4 0 10 -1
   2: 0100000A:C574 0200000A:078F 06 00000000:00000000 00:00000000 00000000     0        0 0 1 0 20 4 0 10 -1
";
        let remote = "10.0.0.2:1935".parse().unwrap();
        assert_eq!(established(table, remote).collect::<Vec<_>>(), [999]);
    }
}

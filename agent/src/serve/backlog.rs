//! How far a peer's connection is behind the live stream.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};

/// A look at a connection that someone else writes to.
#[derive(Debug)]
pub(crate) struct Probe(OwnedFd);

/// What is on its way, and how long it takes there at least.
#[derive(Debug, Clone, Copy, PartialEq)]
struct State {
    /// Bytes that the peer has not acknowledged, sent or not.
    outstanding: u64,
    /// Shortest round trip so far, seconds.
    round_trip: f64,
}

/// Offsets of fields in the kernel's `struct tcp_info` (include/uapi/linux/tcp.h), which only ever grows at its end.
const SND_MSS: usize = 16;
const UNACKED: usize = 24;
const NOTSENT_BYTES: usize = 144;
const MIN_RTT: usize = 148;
const LEN: usize = 152;

impl Probe {
    /// Keeps a copy of the descriptor: the connection is closed by shutting it down, or when the probe is gone too.
    pub(crate) fn new(connection: &impl AsFd) -> io::Result<Self> {
        connection.as_fd().try_clone_to_owned().map(Self)
    }

    /// By how many seconds the peer lags behind a stream of `bytes_per_s`, with `waiting` bytes not yet written to
    /// the connection: what is outstanding beyond what a round trip explains. 0 when it cannot be told.
    pub(crate) fn lag(&self, waiting: u64, bytes_per_s: f64) -> f64 {
        match self.info().map(|info| State::of(&info)) {
            Ok(state) if bytes_per_s > 0.0 => {
                ((state.outstanding + waiting) as f64 / bytes_per_s - state.round_trip).max(0.0)
            }
            _ => 0.0,
        }
    }

    fn info(&self) -> io::Result<[u8; LEN]> {
        let mut info = [0; LEN];
        let mut len = LEN as libc::socklen_t;
        // SAFETY: the descriptor is open, and `info` has the `len` bytes that the kernel writes at most.
        let done = unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                info.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        match (done, usize::try_from(len)) {
            (0, Ok(LEN)) => Ok(info),
            (0, _) => Err(io::Error::other("this kernel's tcp_info lacks min_rtt (Linux 4.6)")),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl State {
    fn of(info: &[u8; LEN]) -> Self {
        let field = |at: usize| {
            info.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u32::from_ne_bytes(*word))
        };
        let sent = u64::from(field(UNACKED)) * u64::from(field(SND_MSS));
        let outstanding = sent + u64::from(field(NOTSENT_BYTES));
        Self { outstanding, round_trip: f64::from(field(MIN_RTT)) / 1e6 }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn what_the_kernel_says_of_a_real_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let probe = Probe::new(&near).unwrap();
        near.write_all(&[1; 1000]).unwrap();
        far.read_exact(&mut [0; 1000]).unwrap();
        far.write_all(&[2]).unwrap();
        near.read_exact(&mut [0]).unwrap();
        let state = State::of(&probe.info().unwrap());
        assert!(state.round_trip > 0.0 && state.round_trip < 1.0, "{state:?}");
        assert!(probe.lag(0, 1000.0) < 1.0);
        assert!(probe.lag(10_000, 1000.0) > 9.0, "what waits counts");
        near.set_nonblocking(true).unwrap();
        while near.write(&[3; 65536]).is_ok() {}
        let state = State::of(&probe.info().unwrap());
        assert!(state.outstanding > 100_000, "nobody reads: {state:?}");
    }
}

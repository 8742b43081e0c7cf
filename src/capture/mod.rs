//! tcpdump on an interface.
//!
//! The values here are for whoever runs it: what to execute on the host, how one knows that it captures, how it is
//! stopped (SIGINT, and then waited for: it writes what it has, and its counts), and what its counts say.

use std::path::Path;

use crate::plan::CapturePoint;

/// Name of the program that captures.
pub const PROGRAM: &str = "tcpdump";
/// What its log says once it captures.
pub const READY: &str = "listening on ";
/// Kernel buffer in KiB: half a second at 1 Gbit/s.
const BUFFER_KIB: u32 = 65_536;

/// What it is called at that point, among the actors of a trial and in its log's name.
#[must_use]
pub fn name(point: &CapturePoint) -> String {
    format!("tcpdump-{}", point.interface)
}

/// Its arguments, capturing at that point into `file`: classic pcap with nanoseconds, whole packets in both
/// directions, each written as it comes (`-U`, and `--immediate-mode`: without it, what the kernel has not yet handed
/// over when tcpdump is interrupted, up to a second of packets, is lost), as root (it would give up its privileges,
/// and with them the folder), without looking up names.
#[must_use]
pub fn args(point: &CapturePoint, file: &Path) -> Vec<String> {
    let file = file.to_string_lossy();
    let buffer = BUFFER_KIB.to_string();
    [
        "-i",
        &point.interface,
        "-w",
        &file,
        "-U",
        "--immediate-mode",
        "-s",
        "0",
        "-B",
        &buffer,
        "-n",
        "-Z",
        "root",
        "-Q",
        "inout",
    ]
    .into_iter()
    .chain(["--time-stamp-precision=nano"])
    .map(str::to_owned)
    .collect()
}

/// What tcpdump counted, in packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Packets in the file.
    pub captured: u64,
    /// Packets that the kernel handed to it.
    pub received: u64,
    /// Packets that the kernel could not hand to it since its buffer was full.
    pub dropped: u64,
    /// Packets that the interface dropped; not every kernel tells.
    pub dropped_by_interface: u64,
}

/// A log without the counts: tcpdump was killed, or is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("tcpdump's log lacks `{0}`: it was killed, or has not ended; what it captured may be incomplete")]
pub struct NoCounts(&'static str);

impl Counts {
    /// Reads the closing lines of tcpdump's log.
    ///
    /// # Errors
    /// When one of the three counts that it always gives is not there.
    pub fn parse(log: &str) -> Result<Self, NoCounts> {
        let count = |what: &'static str| {
            let number = |line: &str| {
                let (number, rest) = line.trim().split_once(' ')?;
                // `packet captured` when there was one.
                let same = rest == what || rest.strip_prefix("packet ") == what.strip_prefix("packets ");
                if same { number.parse::<u64>().ok() } else { None }
            };
            log.lines().rev().find_map(number)
        };
        let must = |what: &'static str| count(what).ok_or(NoCounts(what));
        Ok(Self {
            captured: must("packets captured")?,
            received: must("packets received by filter")?,
            dropped: must("packets dropped by kernel")?,
            dropped_by_interface: count("packets dropped by interface").unwrap_or(0),
        })
    }

    /// Packets that are missing from the file: dropped ones, and those that the kernel had still in its buffer at the
    /// end.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.dropped.saturating_add(self.dropped_by_interface).max(self.received.saturating_sub(self.captured))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn the_command() {
        let point = CapturePoint { host: "hb".into(), interface: "hb-eth0".into() };
        let line = args(&point, Path::new("/r/pcap/hb-eth0.pcap")).join(" ");
        let expected = "-i hb-eth0 -w /r/pcap/hb-eth0.pcap -U --immediate-mode -s 0 -B 65536 -n -Z root -Q inout --time-stamp-precision=nano";
        assert_eq!(line, expected);
    }

    /// tcpdump 4.99.3, stopped with SIGINT.
    const LOG: &str = "\
tcpdump: listening on hb-eth0, link-type EN10MB (Ethernet), snapshot length 262144 bytes
^C556 packets captured
560 packets received by filter
4 packets dropped by kernel
";

    #[test]
    fn counts() {
        let log = LOG.replace("^C", "");
        let expected = Counts { captured: 556, received: 560, dropped: 4, dropped_by_interface: 0 };
        assert_eq!(Counts::parse(&log), Ok(expected));
        assert_eq!(expected.missing(), 4);
        let one = log
            .replace("556 packets", "1 packet")
            .replace("560 packets", "1 packet")
            .replace("4 packets", "0 packets");
        assert_eq!(Counts::parse(&format!("{one}7 packets dropped by interface\n")).unwrap().missing(), 7);
        assert_eq!(Counts::parse(&one).unwrap().captured, 1);
        let unread = log.replace("4 packets", "0 packets").replace("560 packets", "700 packets");
        assert_eq!(Counts::parse(&unread).unwrap().missing(), 144);
    }

    #[test]
    fn a_log_without_counts() {
        let killed = LOG.lines().next().unwrap();
        assert_eq!(Counts::parse(killed), Err(NoCounts("packets captured")));
        let cut = "3 packets captured\n3 packets received by filter\n";
        assert_eq!(Counts::parse(cut), Err(NoCounts("packets dropped by kernel")));
    }
}

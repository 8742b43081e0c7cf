//! Counters of the switches' ports: OpenFlow's port statistics, as the switches tell them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::NetworkError;
use super::verify::output;
use crate::plan;

/// How long a switch may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What has passed a port since the switch has had it, Ethernet headers included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Bytes that came in.
    pub received_bytes: u64,
    /// Packets that came in.
    pub received_packets: u64,
    /// Bytes that went out.
    pub sent_bytes: u64,
    /// Packets that went out.
    pub sent_packets: u64,
    /// Packets that were to go out and did not.
    pub dropped_packets: u64,
}

impl Counters {
    /// What has been counted since then; `None`: a counter went back, because the port or its switch was made anew.
    #[must_use]
    pub fn since(&self, before: &Counters) -> Option<Counters> {
        Some(Counters {
            received_bytes: self.received_bytes.checked_sub(before.received_bytes)?,
            received_packets: self.received_packets.checked_sub(before.received_packets)?,
            sent_bytes: self.sent_bytes.checked_sub(before.sent_bytes)?,
            sent_packets: self.sent_packets.checked_sub(before.sent_packets)?,
            dropped_packets: self.dropped_packets.checked_sub(before.dropped_packets)?,
        })
    }
}

/// The counters of all ports of the switches that have a link to another switch, by the names of their interfaces.
///
/// # Errors
/// When a switch does not answer, or answers something else.
pub async fn read(network: &plan::Network) -> Result<BTreeMap<String, Counters>, NetworkError> {
    let mut all = BTreeMap::new();
    let ends = network.trunks().flat_map(|link| [&*link.a.node, &*link.b.node]);
    let switches: BTreeSet<&str> = ends.collect();
    for switch in switches {
        let command = ["ovs-ofctl", "--names", "--timeout=5", "dump-ports", switch];
        let ports = parse(&output(&command, PATIENCE).await?).ok_or_else(|| NetworkError::Inspect {
            command: command.join(" "),
            problem: "its answer cannot be understood".to_owned(),
        })?;
        all.extend(ports);
    }
    Ok(all)
}

/// Reads what `ovs-ofctl --names dump-ports` prints. A counter that the switch does not have is a `?`: drops then count as none, but bytes and
/// packets must be there.
fn parse(text: &str) -> Option<BTreeMap<String, Counters>> {
    let mut ports: BTreeMap<String, Counters> = BTreeMap::new();
    let mut name: Option<String> = None;
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.next().filter(|line| line.starts_with("OFPST_PORT reply"))?;
    for line in lines {
        let line = line.trim();
        if let Some(rest) = line.strip_prefix("port ").filter(|_| name.is_none()) {
            let (port, counts) = rest.split_once(": rx ")?;
            let port = port.trim().trim_matches('"').to_owned();
            let counters = ports.entry(port.clone()).or_default();
            counters.received_bytes = count(counts, "bytes")?;
            counters.received_packets = count(counts, "pkts")?;
            name = Some(port);
        } else if let Some(counts) = line.strip_prefix("tx ") {
            let counters = ports.get_mut(&name.take()?)?;
            counters.sent_bytes = count(counts, "bytes")?;
            counters.sent_packets = count(counts, "pkts")?;
            counters.dropped_packets = if value(counts, "drop")? == "?" { 0 } else { count(counts, "drop")? };
        }
    }
    (!ports.is_empty() && name.is_none()).then_some(ports)
}

/// The counter of that name in `pkts=12, bytes=3456, drop=?`.
fn count(text: &str, name: &str) -> Option<u64> {
    value(text, name)?.parse().ok()
}

fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Open vSwitch 3.1, user-space datapath.
    const SHOWN: &str = r#"OFPST_PORT reply (xid=0x2): 3 ports
  port LOCAL: rx pkts=0, bytes=0, drop=45, errs=0, frame=0, over=0, crc=0
           tx pkts=0, bytes=0, drop=0, errs=0, coll=0
  port  "s1-eth1": rx pkts=120, bytes=10456, drop=0, errs=0, frame=0, over=0, crc=0
           tx pkts=133, bytes=11000, drop=2, errs=0, coll=0
  port  "s1-eth2": rx pkts=7, bytes=518, drop=?, errs=?, frame=?, over=?, crc=?
           tx pkts=9, bytes=700, drop=?, errs=?, coll=?
"#;

    #[test]
    fn counters_by_interface() {
        let ports = parse(SHOWN).unwrap();
        let first = Counters {
            received_bytes: 10456,
            received_packets: 120,
            sent_bytes: 11000,
            sent_packets: 133,
            dropped_packets: 2,
        };
        assert_eq!(ports["s1-eth1"], first);
        assert_eq!((ports["s1-eth2"].received_bytes, ports["s1-eth2"].dropped_packets), (518, 0));
        assert_eq!(ports.len(), 3);
        // OpenFlow 1.3 adds a line for each port.
        let later = SHOWN.replace("coll=0\n", "coll=0\n           duration=3.15s\n");
        assert_eq!(parse(&later).unwrap(), ports);
    }

    #[test]
    fn a_port_that_was_made_anew_has_counted_nothing_that_is_known() {
        let before = Counters { received_bytes: 900, sent_bytes: 40, ..Counters::default() };
        let after = Counters { received_bytes: 1000, sent_bytes: 40, ..Counters::default() };
        assert_eq!(after.since(&before), Some(Counters { received_bytes: 100, ..Counters::default() }));
        assert_eq!(before.since(&after), None);
    }

    #[test]
    fn anything_else_is_not_taken_for_counters() {
        for text in ["", "ovs-ofctl: s1 is not a bridge or a socket\n", "OFPST_PORT reply (xid=0x2): 0 ports\n"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        assert_eq!(parse(&SHOWN.replace("bytes=11000", "bytes=lots")), None);
        assert_eq!(parse(&SHOWN.replace("bytes=11000", "bytes=?")), None, "what passed is not known");
        assert_eq!(parse(&SHOWN.replace("  port  \"s1-eth1\": rx", "  tx")), None);
    }
}

//! `ports.json`: what passed between the switches of a trial.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{StoreError, write_atomic};

/// What passed in one direction between two switches from the timeline's beginning to its end, as their ports counted
/// it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrunkTraffic {
    /// The switch at the sending end of the link.
    pub from: String,
    /// The switch at the receiving end of the link.
    pub to: String,
    /// Bytes that went in, Ethernet headers included.
    pub sent_bytes: u64,
    /// Bytes that came out at the receiving end, Ethernet headers included.
    pub received_bytes: u64,
    /// Packets that came out at the receiving end.
    pub received_packets: u64,
    /// Packets that the sending port dropped; what the link itself dropped is not in it.
    pub dropped_packets: u64,
}

impl TrunkTraffic {
    /// Writes `ports.json`, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(path: &Path, all: &[TrunkTraffic]) -> Result<(), StoreError> {
        let mut bytes = serde_json::to_vec_pretty(all)
            .map_err(std::io::Error::other)
            .map_err(|source| StoreError::Io { doing: "write", path: path.to_owned(), source })?;
        bytes.push(b'\n');
        write_atomic(path, &bytes)
    }
}

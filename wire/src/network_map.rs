//! What is known of a network before anything happens in it: livectl writes it as JSON, the controller reads it
//! (`live-controller --network`).
//!
//! ```json
//! {
//!   "hosts": { "10.0.0.2": { "switch": "s1", "delay_us": 2000, "up_bit_per_s": 2000000 } },
//!   "links": [ { "between": ["s1", "s2"], "delay_us": 20000 } ],
//!   "streams": { "live/hb": { "bit_per_s": 500000, "frames_per_s": 30.0 } }
//! }
//! ```

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// Hosts, the links between their switches, and streams.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkMap {
    /// By address; a host with several interfaces is there several times.
    pub hosts: BTreeMap<Ipv4Addr, Host>,
    /// The links between switches.
    #[serde(default)]
    pub links: Vec<Link>,
    /// Streams by their keys, as `live/hb`; those that are not known beforehand are missing.
    #[serde(default)]
    pub streams: BTreeMap<String, Stream>,
}

/// A host's link to its switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Name of the switch that it is linked to.
    pub switch: String,
    /// From one end of the link to the other, in microseconds.
    pub delay_us: u64,
    /// What the link carries from the host on, in bit/s; `None`: more than matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_bit_per_s: Option<u64>,
}

/// A link between two switches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Names of the two switches.
    pub between: [String; 2],
    /// From one end to the other, in microseconds.
    pub delay_us: u64,
}

/// What a stream is going to need of the links.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// Video and sound, without headers of any protocol, in bit/s.
    pub bit_per_s: u64,
    /// Pictures per second.
    pub frames_per_s: f64,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let text = r#"{
            "hosts": { "10.0.0.2": { "switch": "s1", "delay_us": 2000, "up_bit_per_s": 2000000 }, "10.0.0.3": { "switch": "s2", "delay_us": 0 } },
            "links": [ { "between": ["s1", "s2"], "delay_us": 20000 } ],
            "streams": { "live/hb": { "bit_per_s": 500000, "frames_per_s": 30.0 } }
        }"#;
        let map: NetworkMap = serde_json::from_str(text).unwrap();
        assert_eq!(map.hosts[&Ipv4Addr::new(10, 0, 0, 3)].up_bit_per_s, None);
        let again: NetworkMap = serde_json::from_str(&serde_json::to_string(&map).unwrap()).unwrap();
        assert_eq!(again, map);
        for wrong in ["{}", r#"{"hosts": {"x": {"switch": "s1", "delay_us": 1}}}"#, r#"{"hosts": {}, "uplinks": 1}"#]
        {
            assert!(serde_json::from_str::<NetworkMap>(wrong).is_err(), "{wrong}");
        }
    }
}

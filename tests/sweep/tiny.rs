//! The recipe of the sweeps that tests run.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

/// Two seconds of little video over short links. `more` goes before it.
pub fn recipe(folder: &Path, more: &str, video: &str) -> PathBuf {
    let text = format!(
        "schemes: [direct]
{more}
video: {{ {video}fps: 30, frames: 60, bitrate: 300 kbit/s }}
network:
  switches: [s1]
  hosts:
    hb: {{ role: broadcaster, link: {{ to: s1, bandwidth: 4 Mbit/s, delay: 5 ms }} }}
    hs: {{ role: cdn, link: {{ to: s1, bandwidth: 4 Mbit/s, delay: 5 ms }} }}
    hv: {{ role: viewer, count: 1, link: {{ to: s1, bandwidth: 4 Mbit/s, delay: 5 ms }} }}
timeline: {{ pings: {{ until: 0 s }}, view: {{ at: 0 s }}, broadcast: {{ at: 1 s }}, end: 4 s, drain: 5 s }}
"
    );
    let path = folder.join("tiny.yaml");
    std::fs::write(&path, text).unwrap();
    path
}

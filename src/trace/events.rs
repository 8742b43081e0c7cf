//! What a trial's `events.jsonl` tells that its tables need.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use serde::Deserialize;

use crate::file;

/// A line, as far as it matters here.
#[derive(Deserialize)]
struct Line {
    event: String,
    host: Option<String>,
    what: Option<Report>,
}

#[derive(Deserialize)]
struct Report {
    event: Option<String>,
    time_ns: Option<i64>,
}

/// When each viewer's first player was started, in nanoseconds of CLOCK_REALTIME. Lines that cannot be read, as the last of a trial that was
/// killed, are passed over.
///
/// # Errors
/// When the file cannot be read.
pub fn players_started(path: &Path) -> io::Result<BTreeMap<String, i64>> {
    let mut started = BTreeMap::new();
    for line in BufReader::new(file::open(path)?).split(b'\n') {
        let Ok(Line { event, host: Some(host), what: Some(report) }) = serde_json::from_slice(&line?) else {
            continue;
        };
        if event == "report"
            && report.event.as_deref() == Some("player_started")
            && let Some(time_ns) = report.time_ns
        {
            started.entry(host).or_insert(time_ns);
        }
    }
    Ok(started)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_first_player_of_each_viewer_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let report = |host: &str, event: &str, time_ns: i64| {
            format!(
                r#"{{"time_ns":9,"event":"report","host":"{host}","actor":"agent","what":{{"event":"{event}","time_ns":{time_ns}}}}}"#
            )
        };
        let lines = [
            r#"{"time_ns":1,"event":"phase","phase":"boot"}"#.to_owned(),
            report("hv1", "ready", 4),
            report("hv1", "player_started", 5),
            report("hv2", "player_started", 6),
            report("hv1", "player_started", 7),
            r#"{"time_ns":1,"event":"rep"#.to_owned(),
        ];
        std::fs::write(&path, lines.join("\n")).unwrap();
        let started = players_started(&path).unwrap();
        assert_eq!(started, BTreeMap::from([("hv1".to_owned(), 5), ("hv2".to_owned(), 6)]));
        assert!(players_started(&folder.path().join("none")).is_err());
    }
}

//! What a trial's `events.jsonl` tells that its tables need.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use livectl_wire::agent_event::{self, Event};
use serde::Deserialize;

use crate::file;
use crate::plan::program_of;

/// The first time of each, at one host, of viewers in their first spell. Moments are nanoseconds of CLOCK_REALTIME, `ms` are milliseconds since the program or player had connected to
/// its agent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Told {
    /// The player was started.
    pub player_started_ns: Option<i64>,
    /// The same in each spell, from 1.
    pub players_started_ns: BTreeMap<u32, i64>,
    /// A viewer went, in each spell that ended so.
    pub departed_ns: BTreeMap<u32, i64>,
    /// The CDN's consent to the publish reached the program.
    pub publish_accepted_ns: Option<i64>,
    /// The same in ms since the program connected.
    pub publish_ms: Option<f64>,
    /// The viewer's agent was connected to the CDN.
    pub connect_ms: Option<f64>,
    /// The CDN's consent to the play reached the player.
    pub play_accepted_ns: Option<i64>,
    /// The same in ms since the player connected.
    pub play_ms: Option<f64>,
    /// The player was handed its first keyframe.
    pub first_picture_ms: Option<f64>,
    /// The viewer's agent heard of its peer.
    pub introduced_ns: Option<i64>,
    /// It had reached its peer.
    pub peer_connected_ns: Option<i64>,
    /// The player was handed the first frame from its peer.
    pub first_from_peer_ns: Option<i64>,
    /// Pictures that were skipped, as the policy wants it: all that were told of, in all spells.
    pub skipped: u64,
}

/// A line, as far as it matters here.
#[derive(Deserialize)]
struct Line {
    event: String,
    time_ns: Option<i64>,
    host: Option<String>,
    actor: Option<String>,
    what: Option<serde_json::Value>,
    spell: Option<u32>,
}

/// Whether a program ended with status 0, by `events.jsonl`. One that is stopped in the middle of its work does not.
pub(super) fn has_ended_well(path: &Path, host: &str, actor: &str) -> bool {
    #[derive(Deserialize)]
    struct Ended {
        event: String,
        host: Option<String>,
        actor: Option<String>,
        code: Option<i32>,
    }
    let Ok(file) = file::open(path) else { return false };
    let ended = |line: io::Result<Vec<u8>>| serde_json::from_slice::<Ended>(&line.ok()?).ok();
    BufReader::new(file).split(b'\n').filter_map(ended).any(|line| {
        let whose = (line.host.as_deref(), line.actor.as_deref()) == (Some(host), Some(actor));
        line.event == "ended" && whose && line.code == Some(0)
    })
}

/// What was told at each host, and how many lines cannot be read, as the last of a trial that was killed.
///
/// # Errors
/// When the file cannot be read.
pub fn told(path: &Path) -> io::Result<(BTreeMap<String, Told>, usize)> {
    let mut all: BTreeMap<String, Told> = BTreeMap::new();
    let mut unread = 0;
    for line in BufReader::new(file::open(path)?).split(b'\n') {
        let line = line?;
        let Ok(Line { event, time_ns, host: Some(host), actor, what, spell }) = serde_json::from_slice(&line) else {
            let is_read =
                line.trim_ascii().is_empty() || serde_json::from_slice::<serde::de::IgnoredAny>(&line).is_ok();
            unread += usize::from(!is_read);
            continue;
        };
        let told = all.entry(host).or_default();
        if let ("departed", Some(spell), Some(time_ns)) = (event.as_str(), spell, time_ns) {
            told.departed_ns.entry(spell).or_insert(time_ns);
        }
        let Some(actor) = actor else { continue };
        match (event.as_str(), program_of(&actor), what) {
            ("started", ("player", spell), _) => {
                if let Some(time_ns) = time_ns {
                    told.players_started_ns.entry(spell).or_insert(time_ns);
                }
                told.player_started_ns = told.players_started_ns.get(&1).copied();
            }
            ("report", ("agent", 1), Some(what)) => told.take(&what),
            ("report", ("agent", _), Some(what)) => told.skipped += skipped(&what),
            _ => {}
        }
    }
    Ok((all, unread))
}

impl Told {
    fn take(&mut self, what: &serde_json::Value) {
        // Where a viewer had two players, its agent told when it started them.
        if what.get("event").and_then(serde_json::Value::as_str) == Some("player_started") {
            let time_ns = what.get("time_ns").and_then(serde_json::Value::as_i64);
            self.player_started_ns = self.player_started_ns.or(time_ns);
            self.players_started_ns.extend(self.player_started_ns.map(|time_ns| (1, time_ns)));
        }
        self.skipped += skipped(what);
        let Ok(agent_event::Line { time_ns, event }) = agent_event::Line::deserialize(what) else { return };
        match event {
            Event::PublishAccepted { publish_ms } => {
                self.publish_accepted_ns.get_or_insert(time_ns);
                self.publish_ms.get_or_insert(publish_ms);
            }
            Event::CdnConnected { ms, .. } => drop(self.connect_ms.get_or_insert(ms)),
            Event::PlayAccepted { ms } => {
                self.play_accepted_ns.get_or_insert(time_ns);
                self.play_ms.get_or_insert(ms);
            }
            Event::FirstKeyframe { ms, .. } => drop(self.first_picture_ms.get_or_insert(ms)),
            // In older runs a parent was called the broadcaster.
            Event::Introduced { role, .. } if ["parent", "broadcaster", "group"].contains(&role.as_str()) => {
                self.introduced_ns.get_or_insert(time_ns);
            }
            Event::PeerConnected { .. } => drop(self.peer_connected_ns.get_or_insert(time_ns)),
            Event::FirstFromPeer { .. } => drop(self.first_from_peer_ns.get_or_insert(time_ns)),
            _ => {}
        }
    }
}

/// Pictures that an agent says were skipped.
fn skipped(what: &serde_json::Value) -> u64 {
    match agent_event::Line::deserialize(what).map(|line| line.event) {
        Ok(Event::Jump { skipped, .. }) => skipped.unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(lines: &[String]) -> BTreeMap<String, Told> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        std::fs::write(&path, lines.join("\n")).unwrap();
        assert!(told(&folder.path().join("none")).is_err());
        told(&path).unwrap().0
    }

    fn report(host: &str, what: &str) -> String {
        format!(r#"{{"time_ns":9,"event":"report","host":"{host}","actor":"agent","what":{{{what}}}}}"#)
    }

    #[test]
    fn the_first_of_each_counts() {
        let all = read(&[
            r#"{"time_ns":1,"event":"phase","phase":"boot"}"#.to_owned(),
            r#"{"time_ns":3,"event":"started","host":"hv1","actor":"player","argv":[]}"#.to_owned(),
            report("hv1", r#""time_ns":5,"event":"play_accepted","ms":4.5"#),
            report("hv1", r#""time_ns":6,"event":"play_accepted","ms":1.5"#),
            report("hv1", r#""time_ns":7,"event":"jump","path":"peer","timestamp_ms":33,"id":"ab","skipped":4"#),
            report("hv1", r#""time_ns":8,"event":"jump","path":"peer","timestamp_ms":66,"id":"cd","skipped":2"#),
            report("hb", r#""time_ns":4,"event":"publish_accepted","publish_ms":3.25"#),
            report("hb", r#""time_ns":4,"event":"of_a_later_agent""#),
            r#"{"time_ns":1,"event":"rep"#.to_owned(),
        ]);
        let viewer = &all["hv1"];
        assert_eq!(
            (viewer.player_started_ns, viewer.play_accepted_ns, viewer.play_ms),
            (Some(3), Some(5), Some(4.5))
        );
        assert_eq!((viewer.skipped, viewer.introduced_ns), (6, None));
        assert_eq!((all["hb"].publish_accepted_ns, all["hb"].publish_ms), (Some(4), Some(3.25)));
    }

    #[test]
    fn each_spell_has_its_moments_and_the_first_its_startup() {
        let mut later = report("hv1", r#""time_ns":35,"event":"play_accepted","ms":9.5"#);
        later = later.replace(r#""actor":"agent""#, r#""actor":"agent-2""#);
        let jump =
            report("hv1", r#""time_ns":8,"event":"jump","path":"peer","timestamp_ms":66,"id":"cd","skipped":2"#);
        let all = read(&[
            r#"{"time_ns":3,"event":"started","host":"hv1","actor":"player","argv":[]}"#.to_owned(),
            jump.clone(),
            r#"{"time_ns":20,"event":"departed","host":"hv1","spell":1,"how":"crash"}"#.to_owned(),
            r#"{"time_ns":30,"event":"joined","host":"hv1","spell":2}"#.to_owned(),
            r#"{"time_ns":31,"event":"started","host":"hv1","actor":"player-2","argv":[]}"#.to_owned(),
            jump.replace(r#""actor":"agent""#, r#""actor":"agent-2""#),
            later,
        ]);
        let viewer = &all["hv1"];
        assert_eq!(viewer.players_started_ns, [(1, 3), (2, 31)].into());
        assert_eq!((viewer.departed_ns.clone(), viewer.player_started_ns), ([(1, 20)].into(), Some(3)));
        assert_eq!((viewer.skipped, viewer.play_ms), (4, None));
    }

    #[test]
    fn of_older_runs_the_agent_told_when_it_started_players() {
        let all = read(&[
            report("hv1", r#""time_ns":4,"event":"ready""#),
            report("hv1", r#""time_ns":5,"event":"player_started","path":"cdn","attempt":1,"dump":"a.flv""#),
            report("hv1", r#""time_ns":7,"event":"player_started","path":"peer","attempt":1,"dump":"b.flv""#),
        ]);
        assert_eq!(all["hv1"].player_started_ns, Some(5));
    }
}

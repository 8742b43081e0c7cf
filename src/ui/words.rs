//! Happenings in words.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::actor::process::Station;
use crate::run::event::{Ending, Happening, Phase};
use crate::store::TrialState;

/// A phase for bars and lines.
pub(super) fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Boot => "booting the network",
        Phase::Measure => "measuring the paths",
        Phase::Ready => "starting the CDN",
        Phase::Stream => "streaming",
        Phase::Stop => "stopping",
        Phase::Prove => "checking the host",
        Phase::Analyse => "analysing",
    }
}

/// What a run begins with.
pub(super) fn beginning(recipe: &str, folder: &Path, trials: usize, expected: Duration) -> String {
    format!("{recipe}: {trials} trials, about {}, results in {}", super::span(expected), folder.display())
}

/// How a trial ended, and whether that is good.
pub(super) fn verdict(Ending { state, unfit, damage }: &Ending) -> (String, bool) {
    match state {
        TrialState::Done if !damage.is_empty() => (format!("done, but PARTIAL: {}", damage.join("; ")), false),
        TrialState::Done if unfit.is_empty() => ("done".into(), true),
        TrialState::Done => (format!("done, but UNFIT: {}", unfit.join("; ")), false),
        TrialState::Partial { why } => (format!("partial: {why}"), false),
        TrialState::Failed { why } => (format!("failed: {why}"), false),
        TrialState::Planned | TrialState::Running | TrialState::Unknown => ("not run".into(), false),
    }
}

/// A happening as a sentence for a log line; `None` for what only a machine cares about.
pub(super) fn sentence(happening: &Happening) -> Option<String> {
    match happening {
        Happening::Phase { phase: which } => Some(phase(*which).to_owned()),
        Happening::Path { from, to, rtt_ms, planned_ms } => {
            Some(format!("{from} → {to}: RTT {rtt_ms:.1} ms (planned {planned_ms:.1} ms)"))
        }
        Happening::Note { text } => Some(text.clone()),
        Happening::Warning { text } => Some(format!("warning: {text}")),
        Happening::Report { host, actor, what } => {
            let said = report(what)?;
            Some(format!("{}: {said}", host.host().unwrap_or(actor)))
        }
        Happening::TimelineZero { .. }
        | Happening::Started { .. }
        | Happening::Ended { .. }
        | Happening::Outcome(_) => None,
    }
}

/// What a host is doing, for its line under the trial's bar: the host and the words.
pub(super) fn state(happening: &Happening) -> Option<(String, String)> {
    match happening {
        Happening::Started { host: Station::Host(host), actor, .. } => {
            Some((host.clone(), format!("{actor} started")))
        }
        Happening::Ended { host: Station::Host(host), actor, code, signal } => Some((
            host.clone(),
            match (code, signal) {
                (Some(0), _) => format!("{actor} ended"),
                (Some(code), _) => format!("{actor} ended with exit code {code}"),
                (None, Some(signal)) => format!("{actor} ended by signal {signal}"),
                (None, None) => format!("{actor} is gone"),
            },
        )),
        Happening::Report { host, actor, what } => Some((host.host().unwrap_or(actor).to_owned(), report(what)?)),
        _ => None,
    }
}

/// An agent's or the controller's event line in words; `None` for what happens too often to be told.
fn report(what: &Value) -> Option<String> {
    let text = |key: &str| match what.get(key) {
        Some(Value::String(s)) => s.clone(),
        Some(value) => value.to_string(),
        None => String::from("?"),
    };
    Some(match what.get("event")?.as_str()? {
        "switch_connected" => format!("switch {} connected", text("dpid")),
        "switch_lost" => format!("switch {} lost: {}", text("dpid"), text("why")),
        "viewer" => format!("{} views {}", text("host"), text("stream")),
        "broadcaster" => format!("{} broadcasts {}", text("host"), text("stream")),
        // The controller introduces a peer to an agent; the agent says that it knows.
        "introduced" if what.get("to").is_some() => format!("introduces {} to {}", text("peer"), text("to")),
        "introduced" => format!("knows its peer {}", text("peer")),
        "acknowledged" => format!("{} knows its peer", text("by")),
        "player_started" => format!("player started ({})", text("path")),
        "first_keyframe" => format!("first keyframe ({})", text("path")),
        "handover" => "handed over to its peer".to_owned(),
        "player_ended" => format!("player ended ({})", text("path")),
        "birth_first" => "encoding".to_owned(),
        "peer_joined" => format!("serves peer {}", text("peer")),
        "peer_left" => format!("peer {} left", text("peer")),
        "encoder_ended" => "encoder has ended".to_owned(),
        "ended" => "stream ended".to_owned(),
        "error" => format!("error: {}", text("why")),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reports_become_words_and_unknown_ones_stay_silent() {
        let seen = Happening::Report {
            host: "-".into(),
            actor: "controller".into(),
            what: json!({"event": "viewer", "host": "10.0.0.3", "stream": "live/hb"}),
        };
        assert_eq!(sentence(&seen).as_deref(), Some("controller: 10.0.0.3 views live/hb"));
        let chatter =
            Happening::Report { host: "hb".into(), actor: "agent".into(), what: json!({"event": "heartbeat"}) };
        assert_eq!(sentence(&chatter), None);
    }
}

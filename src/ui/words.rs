//! Events in words.

use std::path::Path;
use std::time::Duration;

use livectl_wire::agent_event::{self, Event};
use serde::Deserialize as _;
use serde_json::Value;

use crate::actor::process::Station;
use crate::plan::{Departure, program_of};
use crate::run::event::{Ending, Happening, Phase};
use crate::run::present::{Present, Source};
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
        Phase::Predict => "predicting",
    }
}

/// What a run begins with.
pub(super) fn beginning(recipe: &str, folder: &Path, trials: usize, expected: Duration) -> String {
    format!("{recipe}: {}, about {}, results in {}", super::trials(trials), super::span(expected), folder.display())
}

/// What comes next in a sweep.
pub(super) fn next(what: &str, left: Duration, at_most: Option<Duration>) -> String {
    format!("{what}; {} in total", self::left(left, at_most))
}

/// How long a sweep takes still: `about 3 min 20 s more`, and where repetitions are open
/// `3 min 20 s to 2 h 5 min more`.
pub(super) fn left(left: Duration, at_most: Option<Duration>) -> String {
    match at_most.filter(|at_most| *at_most > left) {
        Some(at_most) => format!("{} to {} more", super::span(left), super::span(at_most)),
        None => format!("about {} more", super::span(left)),
    }
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
        Happening::LinkChanged { link, directions, change, .. } => {
            Some(format!("link of {link} ({directions}): {change}"))
        }
        Happening::Warning { text } => Some(format!("warning: {text}")),
        Happening::Report { host, actor, what } => {
            let said = report(actor, what)?;
            Some(format!("{}: {said}", host.host().unwrap_or(actor)))
        }
        Happening::Joined { host, .. } => Some(format!("{host}: joins")),
        Happening::Departed { host, how, .. } => Some(format!("{host}: {}", departs(*how))),
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
        Happening::Report { host, actor, what } => {
            Some((host.host().unwrap_or(actor).to_owned(), report(actor, what)?))
        }
        Happening::Joined { host, .. } => Some((host.clone(), "joins".to_owned())),
        Happening::Departed { host, how, .. } => Some((host.clone(), departs(*how).to_owned())),
        _ => None,
    }
}

/// How a viewer stands, by its agent: `from hb (1 deep), 132 ms after birth`.
pub(super) fn present(of: &Present) -> String {
    let source = match &of.source {
        Source::Cdn => "from the CDN".to_owned(),
        Source::Peer { host, depth } => format!("from {host} ({depth} deep)"),
        Source::Group => "from its group".to_owned(),
        Source::Nobody(Some(since)) => format!("from nobody for {} s", since.as_secs()),
        Source::Nobody(None) => "from nobody yet".to_owned(),
    };
    match of.delay {
        Some(delay) => format!("{source}, {} ms after birth", delay.as_millis()),
        None => source,
    }
}

/// How all viewers stand, in a line that says whose figures these are; `None`: nobody is there.
pub(super) fn audience(all: &[Present]) -> Option<String> {
    let viewers = match all {
        [] => return None,
        [one] => return Some(format!("{} now, by its agent: {}", one.viewer, present(one))),
        several => several.len(),
    };
    let count = |is: fn(&Source) -> bool| all.iter().filter(|one| is(&one.source)).count();
    let depths = all.iter().filter_map(|one| match one.source {
        Source::Peer { depth, .. } => Some(depth),
        _ => None,
    });
    let deep = match (depths.clone().min(), depths.max()) {
        (Some(least), Some(most)) if least < most => format!(" ({least} to {most} deep)"),
        (Some(least), _) => format!(" ({least} deep)"),
        _ => String::new(),
    };
    let sources = [
        (count(|source| *source == Source::Cdn), "the CDN", ""),
        (count(|source| matches!(source, Source::Peer { .. })), "peers", deep.as_str()),
        (count(|source| *source == Source::Group), "the group", ""),
        (count(|source| matches!(source, Source::Nobody(_))), "nobody", ""),
    ];
    let sources = sources.iter().filter(|(count, ..)| *count > 0);
    let sources: Vec<String> = sources.map(|(count, from, deep)| format!("{count} from {from}{deep}")).collect();
    let mut late: Vec<(Duration, &str)> =
        all.iter().filter_map(|one| Some((one.delay?, one.viewer.as_str()))).collect();
    late.sort();
    // The lower one of the two in the middle.
    let middle = late.get(late.len().saturating_sub(1) / 2);
    let delays = middle.zip(late.last()).map(|((middle, _), (worst, viewer))| {
        format!("; median {} ms after birth, worst {} ms at {viewer}", middle.as_millis(), worst.as_millis())
    });
    let delays = delays.unwrap_or_default();
    Some(format!("{viewers} viewers now, by their agents: {}{delays}", sources.join(", ")))
}

fn departs(how: Departure) -> &'static str {
    match how {
        Departure::Leave => "leaves",
        Departure::Crash => "crashes",
    }
}

/// What an agent or the controller reports of itself, in words; `None` for what happens too often to be told.
fn report(actor: &str, what: &Value) -> Option<String> {
    if program_of(actor).0 == "agent" {
        // A line of a later agent may hold what this livectl does not know.
        return agent(&Event::deserialize(what).ok()?);
    }
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
        "announced" => format!("{} will broadcast {}", text("host"), text("stream")),
        // Whom it introduces says so itself, when it acts on it.
        "not_followed" => {
            format!("{} stays with the CDN, because the controller cannot follow it: {}", text("host"), text("why"))
        }
        "not_introduced" => format!("{} has no peer: {}", text("host"), text("why")),
        "tree" => {
            let (host, why) = (text("host"), text("why"));
            match what.get("parent").and_then(Value::as_str) {
                Some(parent) => format!("{host} has {} from {parent} ({why})", text("stream")),
                None => format!("{host} has {} from the CDN ({why})", text("stream")),
            }
        }
        "playlist" => format!("the playlist is there, after {} ms", text("after_ms")),
        "error" => format!("error: {}", text("what")),
        _ => return None,
    })
}

/// An agent's event in words.
fn agent(event: &Event) -> Option<String> {
    let from = |path: &agent_event::Path| match path {
        agent_event::Path::Cdn => "the CDN",
        agent_event::Path::Peer => "its peer",
    };
    Some(match event {
        Event::Unreadable { why } => format!("passes on what it cannot read: {why}"),
        Event::OtherStream { stream } => format!("passes on another stream, {stream}"),
        Event::PublishAccepted { publish_ms } => format!("may publish, after {publish_ms:.0} ms"),
        Event::PublishRefused { code, why } => format!("may not publish: {code} {why}"),
        Event::BirthFirst { .. } => "encoding".to_owned(),
        Event::UploadFull { bytes } => format!("encoder waits: {bytes} bytes are queued for the CDN"),
        Event::UploadDrained { .. } => "encoder no longer waits".to_owned(),
        Event::UploadLost { why } => format!("upload lost: {why}"),
        Event::UploadEnded { .. } => "everything is at the CDN".to_owned(),
        // Who comes as a child is told of when it has come; who stands by gives nothing yet.
        Event::Introduced { peer, role, .. } => match role.as_str() {
            "child" | "standby" => return None,
            "cdn" => "is sent back to the CDN".to_owned(),
            "group" => format!("knows its group {peer}"),
            _ => format!("knows its peer {peer}"),
        },
        Event::PeerJoined { peer, .. } => format!("serves peer {peer}"),
        Event::PeerRefused { peer, why } => format!("refused peer {peer}: {why}"),
        Event::PeerLeft { peer, why: None, .. } => format!("peer {peer} has everything"),
        Event::PeerLeft { peer, why: Some(why), .. } => format!("peer {peer} left: {why}"),
        Event::PacingFailed { why } => format!("upload cannot be paced: {why}"),
        Event::PlayAccepted { ms } => format!("player may play, after {ms:.0} ms"),
        Event::FirstKeyframe { path, ms, .. } => format!("first picture from {}, after {ms:.0} ms", from(path)),
        Event::Handover { to, took_ms, .. } => format!("handed over to {} in {took_ms:.0} ms", from(to)),
        Event::Jump { skipped, lost, .. } => {
            let count = |count: &Option<u64>| count.map_or_else(|| "?".to_owned(), |count| count.to_string());
            format!("continues after a gap: {} pictures skipped, {} lost", count(skipped), count(lost))
        }
        Event::CdnResumed { .. } => "returns to the CDN".to_owned(),
        Event::CdnLost { why } => format!("CDN lost: {why}"),
        Event::PeerLost { peer, why } => format!("peer {peer} lost: {why}"),
        Event::GroupFailed { group, why } => format!("cannot send to the group {group}: {why}"),
        Event::GroupLeft { group, lost, .. } if *lost > 0 => format!("left the group {group}: {lost} datagrams lost"),
        Event::StreamEnded { frames } => format!("stream ended after {frames} frames"),
        Event::PlayerLeft { why, .. } if why != "end_of_stream" => format!("player left: {why}"),
        Event::Ready { .. }
        | Event::Connected { .. }
        | Event::Disconnected { .. }
        | Event::CdnConnected { .. }
        | Event::ProgramConnected { .. }
        | Event::Pacing { .. }
        | Event::PlayerConnected { .. }
        | Event::PeerConnected { .. }
        | Event::FirstFromPeer { .. }
        | Event::CdnLeft { .. }
        | Event::StandbyLost { .. }
        | Event::GroupJoined { .. }
        | Event::GroupLeft { .. }
        | Event::TagsLost { .. }
        | Event::Now { .. }
        | Event::PlayerLeft { .. }
        | Event::Ended { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn time_left_is_a_range_where_repetitions_are_open() {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        assert_eq!(left(minutes(3), None), "about 3 min 0 s more");
        assert_eq!(left(minutes(3), Some(minutes(125))), "3 min 0 s to 2 h 5 min more");
        assert_eq!(left(minutes(3), Some(minutes(3))), "about 3 min 0 s more", "all that may come is queued");
        assert_eq!(next("a", minutes(3), None), "a; about 3 min 0 s more in total");
    }

    #[test]
    fn how_viewers_stand() {
        let one = |viewer: &str, source, ms: Option<u64>| Present {
            viewer: viewer.into(),
            source,
            delay: ms.map(Duration::from_millis),
        };
        let peer = |host: &str, depth| Source::Peer { host: host.into(), depth };
        assert_eq!(audience(&[]), None);
        let only = audience(&[one("hv1", peer("hb", 1), Some(132))]);
        assert_eq!(only.as_deref(), Some("hv1 now, by its agent: from hb (1 deep), 132 ms after birth"));
        assert_eq!(
            present(&one("hv1", Source::Nobody(Some(Duration::from_millis(3900))), None)),
            "from nobody for 3 s"
        );
        let mut all: Vec<Present> =
            (1..=28).map(|n| one(&format!("hv{n}"), peer("hb", 1 + n as u32 % 4), Some(100 + n))).collect();
        all.push(one("hv29", Source::Cdn, Some(532)));
        all.push(one("hv30", Source::Cdn, None));
        all.push(one("hv31", Source::Nobody(None), None));
        assert_eq!(
            audience(&all).as_deref(),
            Some(
                "31 viewers now, by their agents: 2 from the CDN, 28 from peers (1 to 4 deep), 1 from nobody; median 115 ms after birth, worst 532 ms at \
                 hv29"
            )
        );
        let none = [one("hv1", Source::Nobody(None), None), one("hv2", Source::Nobody(None), None)];
        assert_eq!(audience(&none).as_deref(), Some("2 viewers now, by their agents: 2 from nobody"));
    }

    #[test]
    fn reports_become_words_and_unknown_ones_stay_silent() {
        let seen = Happening::Report {
            host: "-".into(),
            actor: "controller".into(),
            what: json!({"event": "viewer", "host": "10.0.0.3", "stream": "live/hb"}),
        };
        assert_eq!(sentence(&seen).as_deref(), Some("controller: 10.0.0.3 views live/hb"));
        let tree = |parent: Value| {
            let what = json!({"event": "tree", "stream": "live/hb", "host": "10.0.0.5", "parent": parent, "standby": null, "why": "joined"});
            sentence(&Happening::Report { host: "-".into(), actor: "controller".into(), what })
        };
        let expected =
            ["10.0.0.3", "the CDN"].map(|from| format!("controller: 10.0.0.5 has live/hb from {from} (joined)"));
        assert_eq!([tree(json!("10.0.0.3")), tree(Value::Null)], expected.map(Some));
        for (role, told) in [("parent", true), ("child", false), ("standby", false)] {
            let what = json!({"event": "introduced", "time_ns": 5, "peer": "10.0.0.3:2000", "role": role});
            let said = sentence(&Happening::Report { host: "hv3".into(), actor: "agent".into(), what });
            assert_eq!(said.is_some(), told, "{role}");
        }
        let what = json!({"event": "playlist", "after_ms": 5009, "asked": 20});
        let playlist = Happening::Report { host: "hv1".into(), actor: "player".into(), what };
        let said = sentence(&playlist).unwrap_or_default();
        assert!(said.ends_with("the playlist is there, after 5009 ms"), "{said}");
        let chatter =
            Happening::Report { host: "hb".into(), actor: "agent".into(), what: json!({"event": "heartbeat"}) };
        assert_eq!(sentence(&chatter), None);
        let what = json!({"time_ns": 5, "event": "handover", "to": "peer", "timestamp_ms": 33, "id": "ab", "took_ms": 812.4});
        let told = Happening::Report { host: "hv1".into(), actor: "agent".into(), what };
        assert_eq!(sentence(&told).as_deref(), Some("hv1: handed over to its peer in 812 ms"));
    }
}

//! What a trial's own programs tell of themselves when they have ended: the other half of what its fitness is judged by.

use std::time::Duration;

use super::cast::capture_name;
use super::event::Happening;
use super::fitness::{BirthLateness, CaptureDrops, Lateness, Observations};
use super::inside::Spec;
use super::teller::Teller;
use crate::actor::broadcaster::ENCODER;
use crate::network::Links;
use crate::plan::{Program, Trial};
use crate::trace::ObsTotals;
use crate::{capture, emulator};
use livectl_wire::birth::Birth;

/// Adds to what the watch saw what the trial's programs tell of themselves: drops of captures and of links, lateness of links and of births. What they
/// should tell and do not is unknown, which is not fit.
pub(super) fn complete(seen: &mut Observations, spec: &Spec, teller: &Teller) {
    let Spec { trial, dir, programs, .. } = spec;
    let mut unknown = Vec::new();
    for point in &trial.captures {
        let log = std::fs::read_to_string(dir.log(&point.host, &capture_name(point))).unwrap_or_default();
        match capture::Counts::parse(&log) {
            Ok(counts) => {
                seen.captures.push(CaptureDrops { interface: point.interface.clone(), dropped: counts.missing() })
            }
            Err(error) => unknown.push(format!("what the capture on {} missed: {error}", point.interface)),
        }
    }
    if programs.links == Links::Emulated {
        let report = std::fs::read(dir.emulator()).ok();
        match report.and_then(|bytes| serde_json::from_slice::<emulator::Report>(&bytes).ok()) {
            Some(report) => {
                seen.emulator = Some(worst(&report));
                seen.emulator_dropped = report.dropped_by_machine();
                unknown.extend(unreported(&report, trial));
            }
            None => unknown.push("the emulated links left no report of their lateness".into()),
        }
    }
    for stream in &trial.streams {
        let births = std::fs::File::open(dir.births(&stream.broadcaster));
        let births = births.and_then(|file| crate::trace::Births::read(std::io::BufReader::new(file)));
        match births {
            Ok(births) => {
                let fps = u64::from(trial.video.fps);
                // A program that drops frames of its own will is not behind by that: its timestamps tell which those were.
                let number = |birth: &Birth| match stream.program {
                    Program::Ffmpeg => birth.index,
                    _ => (u64::from(birth.timestamp_ms) * fps + 500) / 1000,
                };
                let moments: Vec<(u64, u64)> =
                    births.frames.iter().map(|birth| (number(birth), birth.birth_ns.unsigned_abs())).collect();
                let lateness = Lateness::of_births(&moments, trial.video.fps);
                if moments.is_empty() {
                    unknown.push(format!("how late {}'s frames were born: there are none", stream.broadcaster));
                }
                seen.births.push(BirthLateness { broadcaster: stream.broadcaster.clone(), lateness });
            }
            Err(error) => {
                unknown.push(format!("how late {}'s frames were born: {error}", stream.broadcaster));
            }
        }
    }
    if trial.point.scheme.has_peers() {
        match std::fs::read_to_string(dir.controller_events()) {
            Ok(lines) => {
                let told = lines.lines().filter(|line| !line.trim().is_empty()).map(not_followed);
                let (mut followed, mut unread) = (Vec::new(), 0_usize);
                told.for_each(|told| match told {
                    Ok(told) => followed.extend(told),
                    Err(Unread) => unread += 1,
                });
                seen.not_followed = followed;
                if unread > 0 {
                    unknown
                        .push(format!("whom the controller followed: {unread} lines of its events cannot be read"));
                }
            }
            Err(error) => unknown.push(format!("whom the controller followed: {error}")),
        }
    }
    for stream in trial.streams.iter().filter(|stream| stream.program.is_obs()) {
        match ObsTotals::read(&dir.log(&stream.broadcaster, ENCODER)) {
            Some(totals) => teller.tell(Happening::Note { text: format!("{}: {totals}", stream.broadcaster) }),
            None => unknown.push(format!("what OBS dropped on {}: its log does not tell", stream.broadcaster)),
        }
    }
    for text in &unknown {
        teller.tell(Happening::Warning { text: format!("fitness unknown: {text}") });
    }
    seen.unknown.extend(unknown);
}

/// A line that is no event.
#[derive(Debug, PartialEq, Eq)]
struct Unread;

/// Of a line of the controller's: whose connection it could not follow, and why; `None`: it tells something else.
fn not_followed(line: &str) -> Result<Option<String>, Unread> {
    let event: serde_json::Value = serde_json::from_str(line).map_err(|_| Unread)?;
    let text = |key: &str| event.get(key).and_then(serde_json::Value::as_str);
    if text("event").ok_or(Unread)? != "not_followed" {
        return Ok(None);
    }
    let (host, why) = (text("host").unwrap_or("a host"), text("why").unwrap_or("it does not say why"));
    Ok(Some(format!("the controller could not follow the connection of {host} to the CDN ({why})")))
}

/// What a report of emulated links does not tell, or tells of changes that have not come.
fn unreported(report: &emulator::Report, trial: &Trial) -> Vec<String> {
    let planned = trial.network.links.len() * 2;
    if report.directions.len() != planned {
        let told = report.directions.len();
        return vec![format!("the emulated links' report tells of {told} directions of {planned}")];
    }
    let direction = |(n, told): (usize, &emulator::Direction)| {
        let course = trial.course(n / 2, n % 2 == 0);
        let due = course.iter().filter(|step| step.at <= trial.timeline.end).count() as u64;
        (told.changes < due).then(|| {
            let (from, to, came) = (&told.from, &told.to, told.changes);
            format!("the link from {from} to {to}: {came} of its {due} changes came")
        })
    };
    report.directions.iter().enumerate().filter_map(direction).collect()
}

/// The lateness of the latest direction: a mean over all would hide one link that is late behind many that are idle.
fn worst(report: &emulator::Report) -> Lateness {
    report.directions.iter().map(|d| &d.lateness).fold(Lateness::default(), |worst, one| Lateness {
        count: worst.count + one.packets,
        p50: worst.p50.max(Duration::from_nanos(one.p50_ns)),
        p99: worst.p99.max(Duration::from_nanos(one.p99_ns)),
        max: worst.max.max(Duration::from_nanos(one.max_ns)),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_connection_that_is_not_followed_is_noticed() {
        let line = r#"{"event":"not_followed","host":"10.0.0.1","server":"10.0.0.2","why":"a command in AMF3"}"#;
        let told = not_followed(line).ok().flatten().unwrap_or_default();
        assert!(told.contains("10.0.0.1") && told.contains("AMF3"), "{told}");
        assert_eq!(not_followed(r#"{"event":"not_introduced","host":"10.0.0.1","why":"no_viewer"}"#), Ok(None));
        assert!(not_followed(r#"{"event":"not_followed"}"#).is_ok_and(|told| told.is_some()), "whoever it was");
        for damaged in ["{", "live-controller: no room", "{}"] {
            assert_eq!(not_followed(damaged), Err(Unread), "{damaged}");
        }
    }

    #[test]
    fn a_report_that_lacks_a_link_or_a_change_is_noticed() {
        let text = include_str!("../../recipes/smoke.yaml");
        let text = text.replacen("timeline:", "timeline:\n  links: [{ at: 1 s, of: hb, delay: 50 ms }]", 1);
        let trial = crate::recipe::from_str("smoke.yaml", &text).expect("a valid recipe").plan.trials.remove(0);
        let links = trial.network.links.len();
        let changed = trial.link_changes[0].link;
        let direction = |n: usize| emulator::Direction {
            from: format!("a{n}"),
            to: format!("b{n}"),
            packets: 0,
            bytes: 0,
            delivered: 0,
            delivered_bytes: 0,
            dropped_queue: 0,
            dropped_loss: 0,
            dropped_link: 0,
            changes: u64::from(n / 2 == changed),
            dropped_down: 0,
            dropped_write: 0,
            longest_queue: 0,
            lateness: Default::default(),
            recent_lateness: Default::default(),
        };
        let report = |directions| emulator::Report {
            running_ms: 20_000,
            scheduling: emulator::Scheduling::Normal,
            memory_locked: false,
            cpu_ms: 0,
            timeline: None,
            directions,
        };
        let mut whole = report((0..links * 2).map(direction).collect::<Vec<_>>());
        assert_eq!(unreported(&whole, &trial), [] as [String; 0]);
        whole.directions[changed * 2].changes = 0;
        assert!(
            unreported(&whole, &trial)[0].ends_with("0 of its 1 changes came"),
            "{:?}",
            unreported(&whole, &trial)
        );
        whole.directions.pop();
        assert!(unreported(&whole, &trial)[0].contains(&format!("{} directions of {}", links * 2 - 1, links * 2)));
    }
}

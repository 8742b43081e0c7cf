//! What a trial's own programs tell of themselves when they have ended: the other half of what its fitness is judged by.

use std::time::Duration;

use super::cast::capture_name;
use super::event::Happening;
use super::fitness::{BirthLateness, CaptureDrops, Lateness, Observations};
use super::inside::Spec;
use super::teller::Teller;
use crate::actor::broadcaster::ENCODER;
use crate::network::Links;
use crate::plan::Program;
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
                seen.births.push(BirthLateness { broadcaster: stream.broadcaster.clone(), lateness });
            }
            Err(error) => {
                unknown.push(format!("how late {}'s frames were born: {error}", stream.broadcaster));
            }
        }
    }
    if trial.point.scheme.has_peers() {
        match std::fs::read_to_string(dir.controller_events()) {
            Ok(lines) => seen.not_followed = lines.lines().filter_map(not_followed).collect(),
            Err(error) => unknown.push(format!("whom the controller followed: {error}")),
        }
    }
    for stream in trial.streams.iter().filter(|stream| stream.program.is_obs()) {
        match ObsTotals::read(&dir.log(&stream.broadcaster, ENCODER)) {
            Some(totals) => teller.tell(Happening::Note { text: format!("{}: {totals}", stream.broadcaster) }),
            None => {
                let text = format!("{}: what OBS dropped is not known: its log does not tell", stream.broadcaster);
                teller.tell(Happening::Warning { text });
            }
        }
    }
    for text in &unknown {
        teller.tell(Happening::Warning { text: format!("fitness unknown: {text}") });
    }
    seen.unknown.extend(unknown);
}

/// Of a line of the controller's: whose connection it could not follow, and why.
fn not_followed(line: &str) -> Option<String> {
    let event: serde_json::Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| event.get(key).and_then(serde_json::Value::as_str);
    let (host, why) = (text("host")?, text("why")?);
    (text("event") == Some("not_followed"))
        .then(|| format!("the controller could not follow the connection of {host} to the CDN ({why})"))
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
    use super::*;

    #[test]
    fn a_connection_that_is_not_followed_is_noticed() {
        let line = r#"{"event":"not_followed","host":"10.0.0.1","server":"10.0.0.2","why":"a command in AMF3"}"#;
        let told = not_followed(line).unwrap_or_default();
        assert!(told.contains("10.0.0.1") && told.contains("AMF3"), "{told}");
        for other in [r#"{"event":"not_introduced","host":"10.0.0.1","why":"no_viewer"}"#, "", "{"] {
            assert_eq!(not_followed(other), None);
        }
    }
}

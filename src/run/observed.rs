//! What a trial's own programs tell of themselves when they have ended: the other half of what its fitness is judged by.

use std::time::Duration;

use super::cast::capture_name;
use super::event::Happening;
use super::fitness::{BirthLateness, CaptureDrops, Lateness, Observations};
use super::inside::Spec;
use super::teller::Teller;
use crate::network::Links;
use crate::{capture, emulator};

/// Adds to what the watch saw what the trial's programs tell of themselves: drops of captures, lateness of links and of births.
pub(super) fn complete(seen: &mut Observations, spec: &Spec, teller: &Teller) {
    let Spec { trial, dir, programs, .. } = spec;
    let unknown = |text: String| teller.tell(Happening::Warning { text });
    for point in &trial.captures {
        let log = std::fs::read_to_string(dir.log(&point.host, &capture_name(point))).unwrap_or_default();
        match capture::Counts::parse(&log) {
            Ok(counts) => {
                seen.captures.push(CaptureDrops { interface: point.interface.clone(), dropped: counts.missing() })
            }
            Err(error) => unknown(format!("{}: {error}", point.interface)),
        }
    }
    if programs.links == Links::Emulated {
        let report = std::fs::read(dir.emulator()).ok();
        match report.and_then(|bytes| serde_json::from_slice::<emulator::Report>(&bytes).ok()) {
            Some(report) => seen.emulator = Some(worst(&report)),
            None => unknown("the emulated links left no report of their lateness".into()),
        }
    }
    for stream in &trial.streams {
        let births = std::fs::File::open(dir.births(&stream.broadcaster));
        let births = births.and_then(|file| crate::trace::Births::read(std::io::BufReader::new(file)));
        match births {
            Ok(births) => {
                let moments: Vec<(u64, u64)> =
                    births.frames.iter().map(|birth| (birth.index, birth.birth_ns.unsigned_abs())).collect();
                let lateness = Lateness::of_births(&moments, trial.video.fps);
                seen.births.push(BirthLateness { broadcaster: stream.broadcaster.clone(), lateness });
            }
            Err(error) => {
                unknown(format!("{}: how late frames were born is unknown: {error}", stream.broadcaster));
            }
        }
    }
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

//! What a trial's own programs tell of themselves when they have ended: the other half of what its fitness is judged by.

use std::time::Duration;

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
        let log = std::fs::read_to_string(dir.log(&point.host, &capture::name(point))).unwrap_or_default();
        match capture::Counts::parse(&log) {
            Ok(counts) => {
                seen.captures.push(CaptureDrops { interface: point.interface.clone(), dropped: counts.missing() })
            }
            Err(error) => unknown.push(format!("what the capture on {} missed: {error}", point.interface)),
        }
    }
    if programs.links == Links::Emulated {
        match emulator::Report::read(&dir.emulator()) {
            Ok(report) => {
                let mut lateness = worst(&report);
                lateness.max = lateness.max.max(changed_late(&report, trial));
                seen.emulator = Some(lateness);
                seen.emulator_dropped = report.dropped_by_machine();
                unknown.extend(unreported(&report, trial));
            }
            Err(error) => unknown.push(format!("how late the emulated links were: {error}")),
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
                let (mut unread, mut untold) = (0_usize, 0_u64);
                for line in lines.lines().filter(|line| !line.trim().is_empty()) {
                    match told_by_controller(line) {
                        Ok(Told::NotFollowed(text)) => seen.not_followed.push(text),
                        Ok(Told::Dropped(count)) => untold = untold.saturating_add(count),
                        Ok(Told::Other) => {}
                        Err(Unread) => unread += 1,
                    }
                }
                if unread > 0 {
                    unknown
                        .push(format!("whom the controller followed: {unread} lines of its events cannot be read"));
                }
                if untold > 0 {
                    unknown.push(format!("whom the controller followed: it dropped {untold} of its events"));
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

/// What a line of the controller's tells.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// Whose connection it could not follow, and why.
    NotFollowed(String),
    /// How many lines it left out, because too many waited to be written.
    Dropped(u64),
    /// Nothing that fitness depends on.
    Other,
}

fn told_by_controller(line: &str) -> Result<Told, Unread> {
    let event: serde_json::Value = serde_json::from_str(line).map_err(|_| Unread)?;
    let text = |key: &str| event.get(key).and_then(serde_json::Value::as_str);
    match text("event").ok_or(Unread)? {
        "not_followed" => {
            let (host, why) = (text("host").unwrap_or("a host"), text("why").unwrap_or("it does not say why"));
            Ok(Told::NotFollowed(format!(
                "the controller could not follow the connection of {host} to the CDN ({why})"
            )))
        }
        // One at least, whatever it says.
        "dropped" => Ok(Told::Dropped(event.get("count").and_then(serde_json::Value::as_u64).unwrap_or(1).max(1))),
        _ => Ok(Told::Other),
    }
}

/// What a report of emulated links does not tell, or tells of changes that have not come.
fn unreported(report: &emulator::Report, trial: &Trial) -> Vec<String> {
    let planned = trial.network.links.len() * 2;
    if report.directions.len() != planned {
        let told = report.directions.len();
        return vec![format!("the emulated links' report tells of {told} directions of {planned}")];
    }
    let direction = |(n, told): (usize, &emulator::Direction)| {
        let course = trial.course(n / 2, n.is_multiple_of(2));
        let due = course.iter().filter(|step| step.at <= trial.timeline.end).count() as u64;
        (told.changes < due).then(|| {
            let (from, to, came) = (&told.from, &told.to, told.changes);
            format!("the link from {from} to {to}: {came} of its {due} changes came")
        })
    };
    report.directions.iter().enumerate().filter_map(direction).collect()
}

/// How late the links were told that their timeline had begun, if a change was due before that: it came by so much too late.
fn changed_late(report: &emulator::Report, trial: &Trial) -> Duration {
    let Some(timeline) = report.timeline else { return Duration::ZERO };
    let heard_after = Duration::from_nanos(timeline.heard_after_ns);
    let first =
        (0..trial.network.links.len()).flat_map(|link| [true, false].map(|forward| trial.course(link, forward)));
    let first = first.filter_map(|course| course.iter().map(|step| step.at).min()).min();
    first.map_or(Duration::ZERO, |first| heard_after.saturating_sub(first))
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
pub(super) mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::path::Path;

    use super::*;
    use crate::network::Forwarding;
    use crate::run::fitness::{Limits, Verdict, judge};
    use crate::run::score::Programs;
    use crate::sandbox::Environment;
    use crate::store::TrialDir;
    use livectl_wire::birth::{HEADER, Register};
    use livectl_wire::flv::TagKind;

    /// The last trial of a recipe, in that folder, with emulated links.
    pub(in crate::run) fn spec(recipe: &str, folder: &Path) -> Spec {
        let trial = crate::recipe::from_str("r.yaml", recipe).expect("a valid recipe").plan.trials.pop().unwrap();
        let programs = Programs {
            livectl: "livectl".into(),
            controller: "live-controller".into(),
            agent: "live-agent".into(),
            links: Links::Emulated,
        };
        let environment = Environment::new([]);
        Spec { trial, dir: TrialDir::at(folder), programs, forwarding: Forwarding::User, environment }
    }

    /// What a watch sees of a machine that keeps up.
    fn calm() -> Observations {
        let second = crate::run::fitness::Sample { pressure: Some(0.1), ..Default::default() };
        let heartbeat = Lateness { count: 1000, ..Lateness::default() };
        Observations { samples: vec![second; 10], heartbeat, ..Observations::default() }
    }

    /// The limits that a trial is over which left these files.
    fn judged(spec: &Spec) -> Vec<(String, String)> {
        let (teller, _told) = Teller::new();
        let mut seen = calm();
        complete(&mut seen, spec, &teller);
        match judge(&seen, &Limits::default()) {
            Verdict::Fit => Vec::new(),
            Verdict::Unfit { reasons } => reasons.into_iter().map(|reason| (reason.limit, reason.text)).collect(),
        }
    }

    /// The files of a trial in which nothing was amiss.
    fn leave_files(spec: &Spec) {
        let Spec { trial, dir, .. } = spec;
        for folder in ["log", "births"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        for point in &trial.captures {
            let counts = "9 packets captured\n9 packets received by filter\n0 packets dropped by kernel\n";
            std::fs::write(dir.log(&point.host, &capture::name(point)), counts).unwrap();
        }
        whole_report(trial).write(&dir.emulator()).unwrap();
        for stream in &trial.streams {
            let mut register = Register::default();
            let birth =
                |n: u8| register.birth(TagKind::Video, u32::from(n) * 33, &[0x17, 1, n], i64::from(n) * 33_333_333);
            let lines: String = (0..9).map(birth).map(|birth| format!("{birth}\n")).collect();
            std::fs::write(dir.births(&stream.broadcaster), format!("{HEADER}\n{lines}")).unwrap();
        }
        std::fs::write(dir.controller_events(), "{\"event\":\"listening\"}\n").unwrap();
    }

    /// A report of links that did as planned.
    fn whole_report(trial: &Trial) -> emulator::Report {
        let directions = 0..trial.network.links.len() * 2;
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
            changes: trial.course(n / 2, n.is_multiple_of(2)).len() as u64,
            dropped_down: 0,
            dropped_write: 0,
            longest_queue: 0,
            lateness: Default::default(),
            recent_lateness: Default::default(),
        };
        emulator::Report {
            running_ms: 20_000,
            scheduling: emulator::Scheduling::Normal,
            memory_locked: false,
            cpu_ms: 0,
            timeline: None,
            directions: directions.map(direction).collect(),
        }
    }

    /// Files that are gone or damaged, one at a time: each is a door through which a trial would be called fit.
    #[test]
    fn what_is_not_known_of_a_trial_leaves_it_unfit() {
        let gone = |path: std::path::PathBuf| move |_: &Spec| std::fs::remove_file(&path).unwrap();
        let holds =
            |path: std::path::PathBuf, text: &'static str| move |_: &Spec| std::fs::write(&path, text).unwrap();
        type Damage = Box<dyn Fn(&Spec)>;
        let damages = |spec: &Spec| -> Vec<(&'static str, &'static str, Damage)> {
            let Spec { trial, dir, .. } = spec;
            let capture = dir.log(&trial.captures[0].host, &capture::name(&trial.captures[0]));
            let births = dir.births(&trial.streams[0].broadcaster);
            let (report, events) = (dir.emulator(), dir.controller_events());
            let dropping = |spec: &Spec| {
                let mut report = whole_report(&spec.trial);
                report.directions[1].dropped_write = 1;
                report.write(&spec.dir.emulator()).unwrap();
            };
            let killed = "tcpdump: listening on hb-eth0\n";
            let dropped = "9 packets captured\n9 packets received by filter\n3 packets dropped by kernel\n";
            let at_interface = "9 packets captured\n9 packets received by filter\n0 packets dropped by kernel\n2 packets dropped by interface\n";
            vec![
                ("unknown", "what the capture on", Box::new(gone(capture.clone()))),
                ("unknown", "what the capture on", Box::new(holds(capture.clone(), killed))),
                ("capture_drops", "missed 3 packets", Box::new(holds(capture.clone(), dropped))),
                ("capture_drops", "missed 2 packets", Box::new(holds(capture, at_interface))),
                ("unknown", "how late the emulated links were", Box::new(gone(report.clone()))),
                ("unknown", "how late the emulated links were", Box::new(holds(report, "{\"running_ms\": 1"))),
                ("emulator_drops", "dropped 1 packets", Box::new(dropping)),
                ("unknown", "'s frames were born", Box::new(gone(births.clone()))),
                ("unknown", "there are none", Box::new(holds(births, ""))),
                ("unknown", "whom the controller followed", Box::new(gone(events.clone()))),
                ("unknown", "1 lines of its events cannot be read", Box::new(holds(events.clone(), "{\"ev\n"))),
                (
                    "unknown",
                    "it dropped 7 of its events",
                    Box::new(holds(events.clone(), "{\"event\":\"dropped\",\"count\":7}\n")),
                ),
                (
                    "not_followed",
                    "10.0.0.9",
                    Box::new(holds(events, "{\"event\":\"not_followed\",\"host\":\"10.0.0.9\"}\n")),
                ),
            ]
        };
        let recipe = include_str!("../../recipes/smoke.yaml");
        let folder = tempfile::tempdir().unwrap();
        let count = damages(&spec(recipe, folder.path())).len();
        for n in 0..count {
            let folder = tempfile::tempdir().unwrap();
            let spec = spec(recipe, folder.path());
            assert!(spec.trial.point.scheme.has_peers(), "its controller is asked");
            leave_files(&spec);
            assert_eq!(judged(&spec), [], "nothing is amiss");
            let (limit, text, damage) = damages(&spec).swap_remove(n);
            damage(&spec);
            let reasons = judged(&spec);
            assert!(
                reasons.len() == 1 && reasons[0].0 == limit && reasons[0].1.contains(text),
                "{limit}, {text}: {reasons:?}"
            );
        }
    }

    #[test]
    fn what_obs_dropped_is_unknown_without_its_totals() {
        let recipe = include_str!("../../recipes/smoke.yaml");
        let recipe = recipe.replacen("\nvideo:", "\nvideo:\n  codec: h264", 1);
        let recipe = recipe.replacen("role: broadcaster,", "role: broadcaster, program: obs,", 1);
        let folder = tempfile::tempdir().unwrap();
        let spec = spec(&recipe, folder.path());
        leave_files(&spec);
        let reasons = judged(&spec);
        assert!(reasons.len() == 1 && reasons[0].1.contains("what OBS dropped on hb"), "{reasons:?}");
        let log = "info: Output 'adv_stream': Total frames output: 246\n";
        std::fs::write(spec.dir.log("hb", ENCODER), log).unwrap();
        assert_eq!(judged(&spec), []);
    }

    #[test]
    fn a_change_that_came_too_late_is_lateness_of_the_links() {
        let text = include_str!("../../recipes/smoke.yaml");
        let text = text.replacen("timeline:", "timeline:\n  links: [{ at: 100 ms, of: hb, delay: 50 ms }]", 1);
        let folder = tempfile::tempdir().unwrap();
        let spec = spec(&text, folder.path());
        leave_files(&spec);
        let heard = |after_ms: u64| {
            let timeline = emulator::TimelineHeard { zero_ns: 1, heard_after_ns: after_ms * 1_000_000 };
            emulator::Report { timeline: Some(timeline), ..whole_report(&spec.trial) }
                .write(&spec.dir.emulator())
                .unwrap();
            judged(&spec).into_iter().map(|(limit, _)| limit).collect::<Vec<_>>()
        };
        assert_eq!(heard(99), [""; 0], "before the change was due");
        assert_eq!(heard(140), [""; 0], "40 ms too late, which any packet may be");
        assert_eq!(heard(160), ["emulator_max"]);
    }

    #[test]
    fn a_connection_that_is_not_followed_is_noticed() {
        let line = r#"{"event":"not_followed","host":"10.0.0.1","server":"10.0.0.2","why":"a command in AMF3"}"#;
        let Ok(Told::NotFollowed(told)) = told_by_controller(line) else { panic!("{line} is passed over") };
        assert!(told.contains("10.0.0.1") && told.contains("AMF3"), "{told}");
        let other = r#"{"event":"not_introduced","host":"10.0.0.1","why":"no_viewer"}"#;
        assert_eq!(told_by_controller(other), Ok(Told::Other));
        let whoever = told_by_controller(r#"{"event":"not_followed"}"#);
        assert!(matches!(whoever, Ok(Told::NotFollowed(_))), "{whoever:?}");
        assert_eq!(told_by_controller(r#"{"event":"dropped","count":7}"#), Ok(Told::Dropped(7)));
        assert_eq!(told_by_controller(r#"{"event":"dropped"}"#), Ok(Told::Dropped(1)));
        for damaged in ["{", "live-controller: no room", "{}"] {
            assert_eq!(told_by_controller(damaged), Err(Unread), "{damaged}");
        }
    }

    #[test]
    fn a_report_that_lacks_a_link_or_a_change_is_noticed() {
        let text = include_str!("../../recipes/smoke.yaml");
        let text = text.replacen("timeline:", "timeline:\n  links: [{ at: 1 s, of: hb, delay: 50 ms }]", 1);
        let trial = crate::recipe::from_str("smoke.yaml", &text).expect("a valid recipe").plan.trials.remove(0);
        let links = trial.network.links.len();
        let changed = trial.link_changes[0].link;
        let mut whole = whole_report(&trial);
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

//! Links that change.

use std::time::Duration;

use serde_json::Value as Json;

use super::super::*;
use super::{BASE, schema_errors, seconds, warnings};
use crate::plan::{Change, Directions, LinkChange, Setting, Trial};

const TRUNK: &str = "
network:
  switches: [s1, s2, s3]
  hosts:
    hb: { role: broadcaster, link: { to: s1, bandwidth: 4 Mbit/s, delay: 20 ms } }
    hs: { role: cdn, links: [{ to: s1, bandwidth: 4 Mbit/s }, { to: s3, bandwidth: 4 Mbit/s }] }
    hv: { role: viewer, count: 2, link: { to: s2, bandwidth: 4 Mbit/s } }
  trunks:
    - { between: [s1, s2], bandwidth: 20 Mbit/s }
";

fn with(network: &str, links: &str) -> String {
    format!("{network}timeline:\n  end: 40 s\n  links:\n{links}")
}

fn trial(network: &str, links: &str) -> Trial {
    let text = with(network, links);
    let value: Json = serde_yaml::from_str(&text).unwrap();
    assert_eq!(schema_errors(&value), Vec::<String>::new());
    from_str("test.yaml", &text).unwrap_or_else(|e| panic!("{}", e.report(false, 100))).plan.trials.remove(0)
}

fn named(trial: &Trial) -> Vec<(String, Directions)> {
    trial.link_changes.iter().map(|change| (trial.network.link_name(change.link), change.directions)).collect()
}

#[test]
fn a_change_says_what_it_says_and_no_more() {
    let trial = trial(BASE, "    - { at: 20 s, of: hb, bandwidth: 700 kbit/s, down: false }\n");
    let setting = Setting { bandwidth: Some(700_000), down: Some(false), ..Setting::default() };
    let expected =
        LinkChange { at: seconds(20), link: 0, directions: Directions::Both, change: Change::Set(setting) };
    assert_eq!(trial.link_changes, [expected]);
    assert_eq!(trial.course(0, true)[0].condition.shape.delay, Duration::from_millis(100));
    let json = serde_json::to_string(&trial).unwrap();
    assert!(json.contains(r#""change":{"set":{"bandwidth":700000,"down":false}}"#), "{json}");
    assert_eq!(serde_json::from_str::<Trial>(&json).unwrap(), trial);
    let unchanged = from_str("test.yaml", BASE).unwrap().plan.trials.remove(0);
    assert!(!serde_json::to_string(&unchanged).unwrap().contains("link_changes"), "stored trials stay as they are");
}

#[test]
fn links_are_named_by_hosts_interfaces_and_trunks() {
    let trial = trial(
        TRUNK,
        "
    - { at: 1 s, of: hv2, delay: 1 ms, direction: down }
    - { at: 1 s, of: hs-eth1, delay: 1 ms }
    - { at: 1 s, of: s1-s2, delay: 1 ms, direction: up }
    - { at: 2 s, of: s2-s1, delay: 1 ms, direction: up }
",
    );
    let expected = [
        ("hv2".to_owned(), Directions::Down),
        ("hs-eth1".to_owned(), Directions::Both),
        ("s1-s2".to_owned(), Directions::Up),
        ("s1-s2".to_owned(), Directions::Down),
    ];
    assert_eq!(named(&trial), expected);
}

#[test]
fn directions_of_one_moment_may_differ() {
    let trial = trial(
        BASE,
        "
    - { at: 1 s, of: hb, delay: 1 ms, direction: up }
    - { at: 1 s, of: hb, delay: 2 ms, direction: down }
    - { at: 1 s, of: hb, bandwidth: 2 Mbit/s }
",
    );
    let at_once =
        |forward| trial.course(0, forward).iter().map(|step| step.condition.shape.delay).collect::<Vec<_>>();
    assert_eq!((at_once(true), at_once(false)), (vec![Duration::from_millis(1)], vec![Duration::from_millis(2)]));
    assert!(trial.changes(0, true) && !trial.changes(1, true));
}

#[test]
fn traces_are_found_beside_the_recipe_and_are_in_the_plan() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("walks")).unwrap();
    std::fs::write(folder.path().join("walks/a.mahi"), "1\n100\n250\n").unwrap();
    std::fs::write(folder.path().join("walks/b.csv"), "seconds,kbit/s\n0,2000\n10,500\n").unwrap();
    let path = folder.path().join("x.yaml");
    let links = "    - { at: 5 s, of: hv1, trace: walks/a.mahi, direction: down }\n    - { at: 5 s, of: hb, trace: walks/b.csv, repeat: false }\n";
    std::fs::write(&path, with(BASE, links)).unwrap();
    let loaded = load(&path).unwrap_or_else(|error| panic!("{}", error.report(false, 100)));
    let trial = &loaded.plan.trials[0];
    let [Change::Follow(mahimahi), Change::Follow(csv)] = [0, 1].map(|n| trial.link_changes[n].change.clone()) else {
        panic!("{:?}", trial.link_changes);
    };
    assert_eq!((mahimahi.file.as_str(), mahimahi.repeat, csv.repeat), ("walks/a.mahi", true, false));
    assert_eq!((mahimahi.length, csv.length), (Duration::from_millis(250), seconds(10)));
    // From 5 s to the end and through the drain, 40 + 30 s, again and again: three pieces in each quarter of a
    // second.
    assert_eq!(trial.course(2, false).len(), 65 * 4 * 3);
    assert_eq!(trial.course(2, true).len(), 0);
    assert_eq!(trial.course(0, true).len(), 2);
    let error = from_str(&path, &with(BASE, links)).unwrap_err().to_string();
    assert!(error.contains("`walks/a.mahi` is not looked at"), "{error}");
}

#[test]
fn a_trace_file_that_never_ends_is_refused() {
    let text = with(BASE, "    - { at: 5 s, of: hb, trace: /dev/zero }\n");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.yaml");
    std::fs::write(&path, text).unwrap();
    assert!(load(&path).unwrap_err().to_string().contains("trace: `/dev/zero` is not a file"));
}

#[test]
fn links_that_come_to_carry_less_than_the_stream_are_warned_of() {
    let warned = |links: &str| warnings(&with(BASE, links));
    let before = warnings(&with(BASE, "    - { at: 5 s, of: hb, bandwidth: 3 Mbit/s }\n"));
    let after = warned("    - { at: 5 s, of: hb, bandwidth: 700 kbit/s, direction: up }\n");
    assert_eq!(after.len(), before.len() + 1, "{after:?}");
    let expected = "from 5 s on the link hb - s1 has 700 kbit/s, and has to carry 2.65 Mbit/s";
    assert!(after.iter().any(|warning| warning.ends_with(expected)), "{after:?}");
    assert_eq!(warned("    - { at: 5 s, of: hb, bandwidth: 700 kbit/s, direction: down }\n"), before);
}

#[test]
fn cellular_links_change_by_a_factor_of_ten_and_fail_for_two_seconds_at_most() {
    let trial = super::shipped("cellular.yaml").plan.trials.remove(0);
    assert_eq!(trial.link_changes.len(), 6);
    for change in &trial.link_changes {
        let Change::Follow(trace) = &change.change else { panic!("{change:?}") };
        let (least, mean, most) = trace.bandwidths();
        assert!(least == 0 && mean > 1_000_000 && (8_000_000..13_000_000).contains(&most), "{}", change.change);
        let ends = trace.pieces.iter().skip(1).map(|piece| piece.at_ms);
        let outages = trace.pieces.iter().zip(ends).filter(|(piece, _)| piece.bandwidth == 0);
        let longest = outages.map(|(piece, end)| end - piece.at_ms).max().unwrap();
        assert!((1000..=2000).contains(&longest), "{}: {longest} ms", trace.file);
    }
}

/// [`BASE`] with that loss of the viewers' links, and maybe that delay of the CDN's.
fn lossy(loss: &str, delay: &str) -> String {
    BASE.replace("4 Mbit/s, delay: 100 ms } }\n    hs", "4 Mbit/s } }\n    hs")
        .replace("count: 2, link: { to: s1,", &format!("count: 2, link: {{ to: s1, loss: {loss},"))
        .replace("delay: 300 ms", &format!("delay: {delay}"))
}

#[test]
fn paths_that_lose_much_are_told_once() {
    let of_loss = |text: &str| -> Vec<String> {
        warnings(text).into_iter().filter(|warning| warning.contains(": loss: ")).collect()
    };
    assert_eq!(of_loss(&lossy("19.9 %", "300 ms")), [""; 0]);
    let told = of_loss(&lossy("20 %", "300 ms"));
    assert_eq!(told.len(), 1, "{told:?}");
    let message = "loss: 20 % of the packets from hb to hv1 are lost, and as many on the way back";
    assert!(told[0].ends_with(message), "{told:?}");
    // Each link loses less than that, both together more.
    let both = lossy("12 %", "300 ms, loss: 12 %");
    assert!(of_loss(&both)[0].contains("loss: 23 % of the packets from hs to hv1"), "{:?}", of_loss(&both));
}

#[test]
fn paths_that_cannot_be_measured_are_refused() {
    let text = lossy("80 %", "300 ms");
    let error = from_str("x.yaml", &text).unwrap_err();
    assert_eq!(error.count(), 1, "{error}");
    let message = "loss: of pings from hb to hv1 and back only 4 % come through: the path cannot be measured before a trial begins";
    assert!(error.to_string().ends_with(message), "{error}");
    assert!(error.report(false, 200).contains("so that 10 % come through"), "{}", error.report(false, 200));
    assert_eq!(from_str("x.yaml", &lossy("68 %", "300 ms")).unwrap().plan.trials.len(), 2);
    assert!(from_str("x.yaml", &lossy("69 %", "300 ms")).is_err());
    // Nobody measures what is predicted.
    let predicted = super::loaded(&format!("engine: predict\n{text}"));
    let warnings: Vec<String> = predicted.warnings.iter().map(ToString::to_string).collect();
    assert!(warnings.iter().any(|warning| warning.contains("loss: 80 % of the packets")), "{warnings:?}");
}

#[test]
fn paths_longer_than_the_trial_are_refused() {
    let with = |delay: &str, rest: &str| {
        from_str("x.yaml", &format!("timeline: {{ end: 30 s, drain: 10 s{rest} }}\n{}", lossy("0 %", delay)))
    };
    assert!(with("19.8 s", "").is_ok());
    let error = with("20 s", "").unwrap_err();
    assert_eq!(error.count(), 1, "{error}");
    let message = "from hs to hv1 and back it takes 40.2 s, and the trial is over after 40 s: nothing can arrive";
    assert!(error.to_string().ends_with(message), "{error}");
}

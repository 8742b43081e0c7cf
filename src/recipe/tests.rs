#![allow(clippy::unwrap_used, clippy::expect_used)]
mod json_schema;
mod links;
mod matrix;
mod programs;

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;
use crate::plan::{Codec, Datapath, Departure, LinkKind, Parting, Role, Scheme, Spell, Trial, VideoSource};

/// A small valid recipe, as the start of others.
const BASE: &str = "
network:
  switches: [s1]
  hosts:
    hb: { role: broadcaster, link: { to: s1, bandwidth: 4 Mbit/s, delay: 100 ms } }
    hs: { role: cdn, link: { to: s1, bandwidth: 3 Mbit/s, delay: 300 ms } }
    hv: { role: viewer, count: 2, link: { to: s1, bandwidth: 4 Mbit/s, delay: 100 ms } }
";

fn loaded(text: &str) -> Loaded {
    from_str("recipes/test.yaml", text).unwrap_or_else(|error| panic!("{}", error.report(false, 100)))
}

fn trial(text: &str) -> Trial {
    loaded(text).plan.trials.remove(0)
}

fn warnings(text: &str) -> Vec<String> {
    loaded(text).warnings.iter().map(ToString::to_string).collect()
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn shipped(name: &str) -> Loaded {
    load(PathBuf::from("recipes").join(name)).unwrap_or_else(|error| panic!("{}", error.report(false, 100)))
}

/// Each bad recipe in tests/recipes/bad has the report it must get beside it. `UPDATE_EXPECTED=1 cargo test` writes
/// those reports again; read what changed.
#[test]
fn bad_recipes_get_their_reports() {
    let folder = PathBuf::from("tests/recipes/bad");
    let mut recipes: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("tests run in the package's folder")
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "yaml"))
        .collect();
    recipes.sort();
    assert!(recipes.len() >= 45, "{} bad recipes", recipes.len());
    let mut wrong = Vec::new();
    for path in recipes {
        let error = match load(&path) {
            Ok(_) => {
                wrong.push(format!("{} is accepted", path.display()));
                continue;
            }
            Err(error) => error,
        };
        let report = error.report(false, 100);
        let expected = path.with_extension("stderr");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            std::fs::write(&expected, &report).unwrap();
        }
        let stored = std::fs::read_to_string(&expected).unwrap_or_default();
        if stored != report {
            wrong.push(format!("{}: expected\n{stored}\nbut got\n{report}", path.display()));
        }
        // The one-line form names the file too, and has nothing in it that a terminal would obey.
        for line in error.to_string().lines() {
            assert!(line.starts_with("tests/recipes/bad/"), "{line}");
        }
        assert!(!report.contains('\u{1b}'), "{report}");
    }
    assert!(wrong.is_empty(), "{}\n{} reports differ", wrong.join("\n"), wrong.len());
}

#[test]
fn what_is_no_file_is_said_to_be_none() {
    let message = |path: &str| load(path).unwrap_err().report(false, 100);
    let missing = message("recipes/no-such-recipe.yaml");
    assert!(missing.contains("recipes/no-such-recipe.yaml: file not found"), "{missing}");
    let misspelt = message("recipes/p2q.yaml");
    assert!(misspelt.contains("did you mean `recipes/p2p.yaml`?"), "{misspelt}");
    let folder = message("recipes");
    assert!(folder.contains("recipes: this is a folder, not a recipe"), "{folder}");
    let endless = message("/dev/zero");
    assert!(endless.contains("longer than 1024 KiB"), "{endless}");
}

#[test]
fn all_mistakes_of_a_recipe_are_reported_together() {
    let error = load("tests/recipes/bad/168-many-mistakes.yaml").unwrap_err();
    let lines: Vec<String> = error.to_string().lines().map(str::to_owned).collect();
    assert_eq!(error.count(), 14, "{error}");
    assert_eq!(lines[0], "tests/recipes/bad/168-many-mistakes.yaml:2:19: schemes: `swarm` is not a scheme");
    let report = miette::Report::new(error);
    assert!(format!("{report:?}").contains("swarm"), "miette's own handler shows it too");
}

#[test]
fn defaults_are_what_the_documentation_says() {
    let loaded = loaded(BASE);
    assert_eq!(loaded.plan.recipe, "test");
    assert!(loaded.plan.description.is_empty());
    let ids: Vec<&str> = loaded.plan.trials.iter().map(|trial| trial.id.as_str()).collect();
    assert_eq!(ids, ["direct-1", "bypass-1"]);
    let trial = &loaded.plan.trials[0];
    let video = &trial.video;
    assert_eq!(video.source, VideoSource::Generated { pattern: "testsrc2".to_owned(), width: 640, height: 360 });
    assert_eq!((video.fps, video.frames, video.bitrate, video.keyframe_interval), (30, 600, 2_500_000, 30));
    assert_eq!((video.codec, video.audio), (Codec::Flv1, false));
    assert_eq!((trial.links, trial.datapath), (LinkKind::Auto, Datapath::Auto));
    assert_eq!(trial.congestion_control, "cubic");
    assert!(trial.cdn.nodelay);
    assert_eq!((trial.timeline.view_at, trial.timeline.broadcast_at), (seconds(3), seconds(5)));
    assert_eq!((trial.timeline.end, trial.timeline.drain), (seconds(30), seconds(30)));
    assert!(trial.pings.iter().all(|p| p.start == seconds(0) && p.interval == seconds(1) && p.count == 30));
    let shape = trial.network.links[0].shape;
    assert_eq!((shape.bandwidth, shape.delay), (Some(4_000_000), Duration::from_millis(100)));
    assert_eq!((shape.jitter, shape.loss, shape.queue), (Duration::ZERO, 0.0, 1000));
}

/// Every `default` of the schema, written into a recipe, changes nothing.
#[test]
fn defaults_of_the_schema_are_those_of_the_parser() {
    let written = format!(
        "schemes: [direct, bypass]\nrepetitions: 1\nseed: 1\nvideo: {{ {} }}\ncdn: {{ {} }}\ntimeline: {{ drain: {}, pings: {{ {} }}, broadcast: {{ {} }}, view: {{ {} }} }}{}",
        defaults_of("VideoFile"),
        defaults_of("CdnFile"),
        schema()["$defs"]["TimelineFile"]["properties"]["drain"]["default"].as_str().unwrap(),
        defaults_of("PingsFile"),
        defaults_of("BroadcastFile"),
        defaults_of("ViewFile"),
        BASE.replace(
            "\n  switches",
            &format!("\n  {}\n  switches", defaults_of("NetworkFile").replace(", ", "\n  "))
        )
        .replace("to: s1 }", &format!("to: s1, {} }}", defaults_of("LinkFile"))),
    );
    assert!(written.contains("congestion_control: cubic") && written.contains("nodelay: true"), "{written}");
    assert_eq!(loaded(&written).plan, loaded(BASE).plan);
}

fn defaults_of(definition: &str) -> String {
    let schema = schema();
    let properties = schema["$defs"][definition]["properties"].as_object().unwrap();
    let defaults: Vec<String> = properties
        .iter()
        .filter_map(|(key, property)| match property.get("default")? {
            Json::String(text) => Some(format!("{key}: {text}")),
            other => Some(format!("{key}: {other}")),
        })
        .collect();
    defaults.join(", ")
}

#[test]
fn the_cdn_can_be_left_as_it_is_by_itself() {
    let every = |text: &str| loaded(text).plan.trials.iter().map(|trial| trial.cdn.nodelay).collect::<Vec<_>>();
    assert_eq!(every(&format!("cdn: {{ nodelay: false }}{BASE}")), [false, false]);
    assert_eq!(every(&format!("cdn: {{}}{BASE}")), [true, true]);
}

/// Trials stored before there was the choice ran with nginx-rtmp as it is by itself.
#[test]
fn a_stored_trial_without_a_cdn_ran_without_nodelay() {
    let mut stored = serde_json::to_value(trial(BASE)).unwrap();
    assert!(serde_json::from_value::<Trial>(stored.clone()).unwrap().cdn.nodelay);
    stored.as_object_mut().unwrap().remove("cdn").unwrap();
    assert!(!serde_json::from_value::<Trial>(stored).unwrap().cdn.nodelay);
}

#[test]
fn the_original_experiment_is_as_it_was() {
    let plan = shipped("p2p.yaml").plan;
    assert_eq!(plan.trials.iter().map(|t| t.point.scheme).collect::<Vec<_>>(), [Scheme::Direct, Scheme::Bypass]);
    let trial = &plan.trials[0];
    let hosts: Vec<(String, String, String)> = trial
        .network
        .hosts
        .iter()
        .map(|h| (h.name.clone(), h.interfaces[0].address.to_string(), h.interfaces[0].name.clone()))
        .collect();
    let expected = [("hb", "10.0.0.1", "hb-eth0"), ("hs", "10.0.0.2", "hs-eth0"), ("hv1", "10.0.0.3", "hv1-eth0")];
    assert_eq!(hosts, expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())));
    let links: Vec<_> = trial
        .network
        .links
        .iter()
        .map(|l| (l.b.interface.as_str(), l.shape.bandwidth.unwrap(), l.shape.delay.as_millis()))
        .collect();
    assert_eq!(links, [("s1-eth1", 4_000_000, 100), ("s1-eth2", 2_000_000, 300), ("s1-eth3", 4_000_000, 100)]);
    let pings: Vec<_> =
        trial.pings.iter().map(|p| (p.from.as_str(), p.to.as_str(), p.address.to_string(), p.count)).collect();
    assert_eq!(
        pings,
        [
            ("hb", "hs", "10.0.0.2".to_owned(), 60),
            ("hs", "hv1", "10.0.0.3".to_owned(), 60),
            ("hb", "hv1", "10.0.0.3".to_owned(), 60),
        ]
    );
    assert_eq!((trial.video.frames, trial.video.fps, trial.video.bitrate), (600, 30, 2_500_000));
    assert_eq!(trial.timeline.broadcast_at, seconds(15));
    assert!(trial.timeline.view_at < trial.timeline.broadcast_at);
    assert_eq!(trial.timeline.end, seconds(60));
    assert_eq!(trial.captures.len(), 3);
}

#[test]
fn multi_has_two_islands_that_meet_at_the_cdn() {
    let loaded = shipped("multi.yaml");
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let trial = &loaded.plan.trials[0];
    let addresses: Vec<String> = trial
        .network
        .hosts
        .iter()
        .flat_map(|h| h.interfaces.iter().map(|i| format!("{} {}/{}", i.name, i.address, i.prefix)))
        .collect();
    assert_eq!(
        addresses,
        [
            "hb-eth0 10.0.1.1/24",
            "hs-eth0 10.0.1.2/24",
            "hs-eth1 10.0.2.1/24",
            "hv1-eth0 10.0.1.3/24",
            "hv2-eth0 10.0.2.2/24"
        ]
    );
    assert_eq!(trial.streams[0].viewers, ["hv1", "hv2"]);
    let pings: Vec<String> = trial.pings.iter().map(|p| format!("{} {} {}", p.from, p.to, p.address)).collect();
    assert_eq!(pings, ["hb hs 10.0.1.2", "hs hv1 10.0.1.3", "hs hv2 10.0.2.2", "hb hv1 10.0.1.3"]);
    assert_eq!(trial.captures.len(), 5);
}

#[test]
fn smoke_is_short_and_without_warnings() {
    let loaded = shipped("smoke.yaml");
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    for trial in &loaded.plan.trials {
        assert!(trial.timeline.end < seconds(12));
        assert!(trial.timeline.view_at < trial.timeline.broadcast_at);
        assert!(trial.video.bitrate <= 1_000_000);
    }
}

#[test]
fn recipes_of_relay_ask_more_of_the_others_than_of_it() {
    let told = |name: &str| -> Vec<String> { shipped(name).warnings.iter().map(ToString::to_string).collect() };
    let parts = [
        "the link hs - s1 of 4 Mbit/s has to carry 16.96 Mbit/s: 32 copies of the stream",
        "the link hb - s1 of 2 Mbit/s carries the stream to 2 of 32 viewers at most beside the copy for the CDN",
    ];
    let warnings = told("relay.yaml");
    assert!(parts.iter().all(|part| warnings.iter().any(|w| w.contains(part))), "{warnings:?}");
    assert_eq!(warnings.len(), parts.len(), "{warnings:?}");
    let warnings = told("relay-regions.yaml");
    assert!(warnings.len() == 1 && warnings[0].contains("to 2 of 4 viewers at most"), "{warnings:?}");
    for name in ["relay.yaml", "relay-regions.yaml"] {
        let plan = shipped(name).plan;
        let last = if name == "relay.yaml" { Scheme::Multicast } else { Scheme::Relay };
        assert_eq!(plan.trials.last().unwrap().point.scheme, last);
        assert!(plan.trials.iter().all(|trial| trial.timeline.end <= seconds(78)));
    }
}

#[test]
fn viewers_come_one_after_the_other() {
    let every =
        |every: &str| from_str("test.yaml", &format!("{BASE}timeline: {{ view: {{ at: 2 s, every: {every} }} }}\n"));
    let timeline = every("1.5 s").unwrap().plan.trials[0].timeline.clone();
    let times = [0, 1, 2].map(|before| timeline.view_at(before));
    assert_eq!(times, [2_000, 3_500, 5_000].map(Duration::from_millis));
    let error = every("1 min").unwrap_err().to_string();
    assert!(error.contains("every: the last of 2 viewers starts at 62 s, when the stream is over"), "{error}");
}

#[test]
fn viewers_leave_crash_and_come_again_when_they_are_told_to() {
    let text = format!(
        "{BASE}timeline: {{ view: {{ at: 2 s, every: 1 s }}, audience: [ {{ at: 20 s, join: hv1 }}, {{ at: 12 s, leave: hv1 }}, {{ at: 8 s, join: hv2 }}, {{ at: 22.5 s, crash: hv2 }} ] }}\n"
    );
    let trial = trial(&text);
    let ends = |at, how| Some(Parting { at, how });
    let first = [
        Spell { from: seconds(2), end: ends(seconds(12), Departure::Leave) },
        Spell { from: seconds(20), end: None },
    ];
    assert_eq!(trial.spells("hv1"), first);
    let crash = Spell { from: seconds(8), end: ends(Duration::from_millis(22_500), Departure::Crash) };
    assert_eq!(trial.spells("hv2"), [crash]);
}

#[test]
fn churn_moves_whom_nothing_else_does() {
    let churn = "churn: { stay: 3 s, away: 3 s, crash: 50 %, from: 6 s, until: 24 s }";
    let alone = trial(&format!("{BASE}timeline: {{ {churn} }}\n"));
    assert_eq!(alone.audience.drawn.keys().collect::<Vec<_>>(), ["hv1", "hv2"]);
    let mixed = trial(&format!("{BASE}timeline: {{ audience: [ {{ at: 20 s, leave: hv1 }} ], {churn} }}\n"));
    assert_eq!(mixed.audience.drawn.keys().collect::<Vec<_>>(), ["hv2"]);
    assert_eq!(mixed.spells("hv2"), alone.spells("hv2"), "each viewer has its own luck");
    assert_eq!(mixed.spells("hv1").len(), 1);
    let churn = mixed.audience.churn.unwrap();
    assert_eq!((churn.stay, churn.crash, churn.until), (seconds(3), 0.5, seconds(24)));
}

/// What the comment at its head says.
#[test]
fn somebody_comes_or_goes_every_few_seconds_in_churn() {
    let loaded = shipped("churn.yaml");
    let relay = shipped("relay.yaml").plan.trials[0].network.clone();
    for trial in &loaded.plan.trials {
        let spells: Vec<Spell> = trial.viewers().flat_map(|(viewer, _)| trial.spells(viewer)).collect();
        let partings: Vec<Parting> = spells.iter().filter_map(|spell| spell.end).collect();
        let moves = partings.len() + spells.len() - 16;
        assert!((45..=80).contains(&moves), "{moves}");
        let crashes = partings.iter().filter(|parting| parting.how == Departure::Crash).count();
        assert!((3..=6).contains(&crashes), "{crashes}");
        let host = |network: &crate::plan::Network, name: &str| {
            network.links[network.host(name).unwrap().interfaces[0].link].shape
        };
        for name in ["hb", "hs", "hv16"] {
            assert_eq!(host(&trial.network, name), host(&relay, name));
        }
    }
    assert_eq!(
        loaded.plan.trials.iter().map(|t| t.point.scheme).collect::<Vec<_>>(),
        [Scheme::Direct, Scheme::Bypass, Scheme::Relay]
    );
}

#[test]
fn shipped_recipes_agree_with_the_schema() {
    let files = |folder: &str| -> Vec<PathBuf> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
    };
    let mut recipes = files("recipes");
    // Other folders hold what recipes read; this one also says where its numbers are from.
    recipes.extend(files("recipes/world").into_iter().filter(|path| !path.ends_with("README.md")));
    for path in recipes {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(load(&path).is_ok(), "{}", path.display());
        let value: Json = serde_yaml::from_str(&text).unwrap();
        let errors = schema_errors(&value);
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
    }
}

/// What editors would mark in recipes with one mistake each.
#[test]
fn the_schema_refuses_what_the_parser_refuses() {
    for (right, wrong) in [
        ("switches:", "swiches:"),
        ("[s1]", "[]"),
        ("role: cdn", "role: server"),
        ("3 Mbit/s", "3"),
        ("3 Mbit/s", "3 Mbps"),
        ("300 ms", "-300 ms"),
        ("count: 2", "count: 0"),
        ("count: 2", "count: 513"),
        ("to: s1, bandwidth: 3", "bandwidth: 3"),
        ("hs: {", "H-s: {"),
    ] {
        let text = BASE.replacen(right, wrong, 1);
        assert!(from_str("x", &text).is_err(), "{wrong}");
        let value: Json = serde_yaml::from_str(&text).unwrap();
        assert!(!schema_errors(&value).is_empty(), "{wrong}");
    }
}

#[test]
fn every_key_of_the_schema_is_described_and_known_to_the_parser() {
    let schema = schema();
    let definitions = schema["$defs"].as_object().unwrap();
    for (name, definition) in definitions.iter().chain([(&"RecipeFile".to_owned(), &schema)]) {
        assert_eq!(definition["additionalProperties"], false, "{name}");
        for (key, property) in definition["properties"].as_object().unwrap() {
            let description = property["description"].as_str();
            assert!(description.is_some_and(|text| text.len() > 10), "{name}.{key}");
        }
    }
    let documented = std::fs::read_to_string("docs/recipes.md").unwrap();
    for (name, definition) in definitions.iter().chain([(&"RecipeFile".to_owned(), &schema)]) {
        for key in definition["properties"].as_object().unwrap().keys() {
            assert!(documented.contains(&format!("`{key}`")), "docs/recipes.md lacks {name}.{key}");
        }
    }
}

#[test]
fn the_example_in_the_documentation_is_valid() {
    let documentation = std::fs::read_to_string("docs/recipes.md").unwrap();
    let examples: Vec<&str> =
        documentation.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!examples.is_empty());
    for example in examples.iter().filter(|example| example.contains("network:")) {
        let loaded = loaded(example);
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    }
}

fn schema_errors(value: &Json) -> Vec<String> {
    let root = schema();
    json_schema::violations(&root, &root, value, "")
}

#[test]
fn trials_are_interleaved_and_schemes_meet_the_same_luck() {
    let plan = loaded(&format!("repetitions: 2\nseed: 7{BASE}")).plan;
    let ids: Vec<&str> = plan.trials.iter().map(|t| t.id.as_str()).collect();
    assert_eq!(ids, ["direct-1", "bypass-1", "direct-2", "bypass-2"]);
    assert_eq!(plan.trials[0].seed, plan.trials[1].seed);
    assert_ne!(plan.trials[0].seed, plan.trials[2].seed);
    assert_ne!(plan.trials[0].seed, trial(&format!("seed: 8{BASE}")).seed);
    let reversed = loaded(&format!("schemes: [bypass]{BASE}")).plan;
    assert_eq!(reversed.trials.len(), 1);
    assert_eq!(reversed.trials[0].id, "bypass-1");
}

#[test]
fn broadcast_until_says_how_many_frames() {
    let trial = trial(&format!("timeline: {{ broadcast: {{ at: 5 s, until: 15.5 s }} }}{BASE}"));
    assert_eq!(trial.video.frames, 315);
    assert_eq!(trial.timeline.end, Duration::from_millis(20_500));
}

#[test]
fn pings_can_be_left_out_and_spaced() {
    assert!(trial(&format!("timeline: {{ pings: {{ until: 0 s }} }}{BASE}")).pings.is_empty());
    let spaced = trial(&format!("timeline: {{ pings: {{ from: 1 s, until: 3.1 s, every: 500 ms }} }}{BASE}"));
    // At 1.0, 1.5, 2.0, 2.5 and 3.0 s.
    assert!(spaced.pings.iter().all(|p| p.count == 5 && p.start == seconds(1)));
}

#[test]
fn viewers_watch_whom_they_are_told_to() {
    let text = BASE
        .replace("    hs:", "    hc: { role: broadcaster, link: { to: s1 } }\n    hs:")
        .replace("count: 2,", "count: 2, watch: hc,");
    let trial = trial(&text);
    assert!(trial.streams[0].viewers.is_empty());
    assert_eq!(trial.streams[1].name, "hc");
    assert_eq!(trial.streams[1].viewers, ["hv1", "hv2"]);
    assert!(warnings(&text).iter().any(|w| w.contains("no viewer watches hb")));
}

#[test]
fn captures_are_hosts_groups_and_interfaces() {
    let points = |captures: &str| -> Vec<String> {
        trial(&format!("captures: {captures}{BASE}")).captures.into_iter().map(|point| point.interface).collect()
    };
    assert_eq!(points("[hv, hs-eth0, hv1]"), ["hv1-eth0", "hv2-eth0", "hs-eth0"]);
    assert!(points("[]").is_empty());
    assert!(warnings(&format!("captures: [hb, hv1]{BASE}")).iter().any(|w| w.contains("leave out hv2")));
}

#[test]
fn doubtful_recipes_get_warnings() {
    let has = |text: &str, part: &str| {
        let warnings = warnings(text);
        assert!(warnings.iter().any(|w| w.contains(part)), "{warnings:?}");
    };
    has(&BASE.replace("3 Mbit/s, delay: 300 ms", "1 Gbit/s, delay: 300 ms"), "a queue of 1000 packets is too short");
    has(BASE, "the link hs - s1 of 3 Mbit/s has to carry 5.3 Mbit/s: 2 copies of the stream");
    has(&format!("timeline: {{ end: 10 s }}{BASE}"), "the trial ends at 10 s, before the stream does (25 s)");
    let apart = BASE.replace("[s1]", "[s1, s2]").replace("count: 2, link: { to: s1", "count: 2, link: { to: s2");
    has(
        &format!("{apart}  trunks: [{{ between: [s1, s2], bandwidth: 1 Gbit/s }}]\n"),
        "no viewer is on the switch of its broadcaster",
    );
    let many = BASE.replace("3 Mbit/s", "100 Mbit/s").replace("count: 2", "count: 3");
    has(
        &many,
        "the link hb - s1 of 4 Mbit/s carries the stream to 1 of 3 viewers at most beside the copy for the CDN",
    );
    let relayed = |text: &str| format!("schemes: [relay]{}", text.replace("3 Mbit/s", "10 Mbit/s"));
    // 4 Mbit/s less the CDN's copy of 2.65 is less than the stream; of 6 each the broadcaster's is enough and all
    // together are.
    has(
        &relayed(BASE),
        "the broadcaster's uplink carries 1.35 Mbit/s to each of 2 viewers at most; the stream has 2.65 Mbit/s",
    );
    assert_eq!(warnings(&relayed(&BASE.replace("4 Mbit/s", "6 Mbit/s"))), [""; 0]);
    // 6 less 2.65, and thrice 1, are 6.35 Mbit/s for three.
    let weak = many.replace("count: 3, link: { to: s1, bandwidth: 4", "count: 3, link: { to: s1, bandwidth: 1");
    let weak = relayed(&weak.replace("bandwidth: 4 Mbit/s", "bandwidth: 6 Mbit/s"));
    has(
        &weak,
        "the uplinks of broadcaster and viewers carry 2.116 Mbit/s to each of 3 viewers at most; the stream has 2.65 Mbit/s",
    );
    let alone = BASE.replace("[s1]", "[s1, s2]").replace("count: 2, link: { to: s1", "link: { to: s2");
    let alone =
        alone.replace("link: { to: s1, bandwidth: 3 Mbit/s", "links: [{ to: s1 }, { to: s2, bandwidth: 3 Mbit/s");
    has(
        &format!("schemes: [relay]{}", alone.replace("300 ms }", "300 ms }]")),
        "no viewer of a stream shares a subnet",
    );
    // One copy for all and one for the CDN.
    let copied = |text: &str| relayed(text).replace("[relay]", "[multicast]");
    has(&copied(BASE), "the link hb - s1 of 4 Mbit/s has to carry 5.3 Mbit/s: 2 copies of the stream");
    assert_eq!(warnings(&copied(&BASE.replace("4 Mbit/s", "6 Mbit/s"))), [""; 0]);
    has(
        &format!("schemes: [multicast]{}", alone.replace("300 ms }", "300 ms }]")),
        "no viewer of a stream can be reached from its broadcaster by switches alone",
    );
    let roomy = BASE.replace("3 Mbit/s", "10 Mbit/s").replace("4 Mbit/s", "10 Mbit/s");
    assert!(warnings(&roomy).is_empty(), "{:?}", warnings(&roomy));
}

#[test]
fn trunks_make_one_island() {
    let text = "
network:
  switches: [s1, s2, s3]
  hosts:
    hb: { role: broadcaster, link: { to: s1 } }
    hs: { role: cdn, link: { to: s2 } }
    hv: { role: viewer, link: { to: s3 } }
  trunks:
    - { between: [s1, s2], delay: 5 ms }
    - { between: [s3, s2], delay: 7 ms, queue: 50 }
";
    let network = trial(text).network;
    let ends: Vec<(&str, &str)> =
        network.links.iter().map(|l| (l.a.interface.as_str(), l.b.interface.as_str())).collect();
    assert_eq!(
        ends,
        [
            ("hb-eth0", "s1-eth1"),
            ("hs-eth0", "s2-eth1"),
            ("hv-eth0", "s3-eth1"),
            ("s1-eth2", "s2-eth2"),
            ("s3-eth2", "s2-eth3"),
        ]
    );
    assert_eq!(network.address_from("hb", "hv").unwrap().to_string(), "10.0.0.3");
    let path = network.path("hb", "hv").unwrap();
    assert_eq!(path.iter().map(|shape| shape.delay.as_millis()).sum::<u128>(), 12);
}

#[test]
fn five_hundred_viewers_have_a_subnet() {
    let trial = trial(&BASE.replace("count: 2", "count: 510"));
    check_plan(&trial);
    assert_eq!(trial.network.hosts[0].interfaces[0].prefix, 22);
}

#[test]
fn aliases_and_merges_work() {
    let text = "
network:
  switches: [s1]
  hosts:
    hb: { role: broadcaster, link: &fast { to: s1, bandwidth: 10 Mbit/s, delay: 30 ms } }
    hs: { role: cdn, link: { <<: *fast, delay: 100 ms } }
    hv: { role: viewer, link: *fast }
";
    let delays: Vec<u128> = trial(text).network.links.iter().map(|l| l.shape.delay.as_millis()).collect();
    assert_eq!(delays, [30, 100, 30]);
}

#[test]
fn windows_line_ends_and_byte_order_marks_are_harmless() {
    let text = format!("\u{feff}{}", BASE.replace('\n', "\r\n"));
    assert_eq!(loaded(&text).plan, loaded(BASE).plan);
    let error = from_str("x.yaml", &text.replace("300 ms", "300")).unwrap_err();
    assert!(error.to_string().starts_with("x.yaml:6:66: delay: `300` has no unit"), "{error}");
}

#[test]
fn reports_cannot_command_a_terminal() {
    let text = BASE.replacen("link: {", "link:\u{202e} {", 1);
    let error = from_str("\u{1b}[2J.yaml", &text).unwrap_err();
    for report in [error.report(false, 100), error.to_string()] {
        assert!(!report.contains(['\u{1b}', '\u{202e}']), "{report}");
    }
}

#[test]
fn aliases_cannot_make_a_recipe_explode() {
    let again = ", *k".repeat(400);
    let mut text = format!(
        "network:\n  switches: [s1]\n  hosts:\n    h0: &h {{ role: idle, links: [ &k {{ to: s1 }}{again} ] }}\n"
    );
    text.extend((1..400).map(|n| format!("    h{n}: *h\n")));
    let error = from_str("x.yaml", &text).unwrap_err();
    assert!(error.to_string().contains("becomes too large"), "{error}");
    assert_eq!(error.count(), 1);
}

#[test]
fn a_mistake_that_is_repeated_is_shown_twenty_times() {
    let mut text = BASE.to_owned();
    text.extend((0..30).map(|n| format!("    i{n}: {{ role: idle, link: {{ to: s2 }} }}\n")));
    let error = from_str("x.yaml", &text).unwrap_err();
    assert_eq!(error.count(), 30);
    assert_eq!(error.to_string().lines().count(), 21);
    assert!(error.to_string().ends_with("… and 10 more problems"));
    assert!(error.report(false, 100).contains("30 problems, of which these are the first 20"));
}

#[test]
fn names_of_results_are_safe() {
    let name = |path: &str| results_name(Path::new(path));
    assert_eq!(name("recipes/p2p.yaml"), "p2p");
    assert_eq!(name("/tmp/my recipe;rm -rf.yaml"), "my-recipe-rm--rf");
    assert_eq!(name(".."), "recipe");
    assert_eq!(name("-x.yaml"), "x");
    assert_eq!(name("__x_.yaml"), "x_", "folders of runs begin with a letter or a digit");
    let foreign = ["ü.yaml", "ünï.yaml", "实验.yaml", "试验.yaml"].map(name);
    assert!(foreign[0].starts_with("recipe-") && foreign[1].starts_with("n-"), "{foreign:?}");
    assert_eq!(foreign.iter().collect::<HashSet<_>>().len(), 4, "{foreign:?}");
    assert!(foreign.iter().all(|name| name.is_ascii() && name.len() <= 15), "{foreign:?}");
    assert_eq!(foreign[2], name("elsewhere/实验.yaml"), "the same each time");
    assert_eq!(name(&format!("{}.yaml", "n".repeat(300))).len(), 64);
}

#[test]
fn a_video_file_is_found_beside_the_recipe() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = folder.path().join("clip.yaml");
    std::fs::write(&recipe, format!("video: {{ file: clip.mp4 }}{BASE}")).unwrap();
    let missing = load(&recipe).unwrap_err();
    assert!(missing.to_string().contains("`clip.mp4` does not exist"), "{missing}");
    std::fs::create_dir(folder.path().join("deep")).unwrap();
    let video = |named: &str| {
        let beside = folder.path().join("deep/x.yaml");
        std::fs::write(&beside, format!("video: {{ file: {named} }}{BASE}")).unwrap();
        load(&beside).map(|loaded| loaded.plan.trials[0].video.source.clone())
    };
    let wrong = |named: &str| video(named).unwrap_err().report(false, 200);
    std::os::unix::fs::symlink("loop.mp4", folder.path().join("loop.mp4")).unwrap();
    assert!(wrong("../loop.mp4").contains("the symbolic links on the way to it lead in a circle"));
    assert!(wrong("x.yaml/clip.mp4").contains("its path leads through a file as if that were a folder"));
    assert!(wrong(&"y".repeat(300)).contains("its name is longer than a file's can be"));
    assert!(wrong(&"y".repeat(6000)).contains("write 4095 bytes at most"));
    std::fs::write(folder.path().join("clip.mp4"), b"").unwrap();
    let source = load(&recipe).unwrap().plan.trials[0].video.source.clone();
    assert_eq!(source, VideoSource::File { path: folder.path().join("clip.mp4") });
    for named in ["../clip.mp4", "./.././deep/../clip.mp4"] {
        assert_eq!(video(named).unwrap(), source, "a sandbox does not have the folders that `..` leaves");
    }
}

#[test]
fn recipes_that_cannot_be_read_are_told_without_the_systems_words() {
    let folder = tempfile::tempdir().unwrap();
    let told = |name: &str| {
        let error = load(folder.path().join(name)).unwrap_err().report(false, 200);
        assert!(!error.contains("os error"), "{error}");
        error
    };
    std::os::unix::fs::symlink("l.yaml", folder.path().join("l.yaml")).unwrap();
    let circle = told("l.yaml");
    assert!(circle.contains("the symbolic links on the way to it lead in a circle"), "{circle}");
    assert!(circle.contains("help: `ls -l` shows where a link leads"), "{circle}");
    assert!(told(&"n".repeat(300)).contains("its name is longer than a file's can be"));
    assert!(told("/proc/self/mem").contains("a view into the kernel"));
    nix::unistd::mkfifo(&folder.path().join("f.yaml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(told("f.yaml").contains("this is a pipe, not a recipe"), "and nobody waits for a writer");
    for (name, bytes) in [("16", &b"\xFF\xFEn\0"[..]), ("32", b"\xFF\xFE\0\0n\0\0\0")] {
        std::fs::write(folder.path().join(name), bytes).unwrap();
        assert!(told(name).contains(&format!("this is UTF-{name} text")));
    }
}

#[test]
fn estimates_grow_with_trials_and_copies() {
    let one = loaded(&format!("schemes: [direct]{BASE}")).plan.estimate();
    assert_eq!(one.duration, seconds(40));
    assert_eq!(one.longest, seconds(40) + loaded(&format!("schemes: [direct]{BASE}")).plan.trials[0].timeline.drain);
    // 20 s of 2.5 Mbit/s are 6.25 MB: 1 (hb) + 3 (hs) + 2 (viewers) captured copies, 2 dumps.
    let stream = 6_250_000.0;
    let expected = 6.0 * stream * 1.15 + 2.0 * stream + 1e6;
    assert!((one.disk_bytes as f64 - expected).abs() < 10.0, "{one:?}");
    let ten = loaded(&format!("schemes: [direct]\nrepetitions: 10{BASE}")).plan.estimate();
    assert_eq!((ten.duration, ten.disk_bytes), (one.duration * 10, one.disk_bytes * 10));
}

/// What every accepted recipe must keep, whatever is in it.
fn check_plan(trial: &Trial) {
    let mut names = HashSet::new();
    let mut interfaces = HashSet::new();
    let (mut addresses, mut macs) = (HashSet::new(), HashSet::new());
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    for name in trial.network.switches.iter().map(|s| &s.name).chain(trial.network.hosts.iter().map(|h| &h.name)) {
        assert!(is_name(name) && names.insert(name.clone()), "{name}");
    }
    for host in &trial.network.hosts {
        assert!(!host.interfaces.is_empty());
        for interface in &host.interfaces {
            assert!(addresses.insert(interface.address), "{}", interface.address);
            assert!(macs.insert(interface.mac.clone()), "{}", interface.mac);
            assert_eq!(trial.network.links[interface.link].a.interface, interface.name);
        }
    }
    for end in trial.network.links.iter().flat_map(|link| [&link.a, &link.b]) {
        assert!(end.interface.len() <= 15, "{}", end.interface);
        assert!(names.contains(&end.node));
        assert!(interfaces.insert(end.interface.clone()), "{}", end.interface);
    }
    let cdn = trial.network.cdn().unwrap();
    for host in trial.network.hosts.iter().filter(|h| matches!(h.role, Role::Viewer | Role::Broadcaster)) {
        assert!(trial.network.address_from(&host.name, &cdn.name).is_some());
    }
    for point in &trial.captures {
        assert!(interfaces.contains(&point.interface));
    }
    assert!(trial.timeline.end > trial.timeline.broadcast_at);
}

prop_compose! {
    /// Recipes of random networks: switches in a line with some trunks left out, hosts with random links.
    fn network()(
        switches in 1usize..5,
        trunks in prop::collection::vec(any::<bool>(), 4),
        hosts in prop::collection::vec((0usize..4, 1u32..40, prop::collection::vec(0usize..5, 1..4)), 1..8),
    ) -> String {
        let roles = ["viewer", "broadcaster", "idle", "viewer"];
        let mut text = "network:\n  switches: [".to_owned();
        text += &(1..=switches).map(|n| format!("s{n}")).collect::<Vec<_>>().join(", ");
        text += "]\n  hosts:\n    cdn: { role: cdn, links: [";
        let islands = (1..=switches).filter(|n| *n == 1 || !trunks[n - 2]);
        text += &islands.map(|n| format!("{{ to: s{n} }}")).collect::<Vec<_>>().join(", ");
        text += "] }\n    hb: { role: broadcaster, link: { to: s1 } }\n";
        for (n, (role, count, links)) in hosts.iter().enumerate() {
            // One link into each island of joined switches; two are refused.
            let island = |switch: usize| (0..switch).filter(|n| !trunks[*n]).count();
            let mut into = HashSet::new();
            let links: Vec<String> = links
                .iter()
                .map(|n| n % switches)
                .filter(|switch| into.insert(island(*switch)))
                .map(|switch| format!("{{ to: s{} }}", switch + 1))
                .collect();
            let watch = if roles[*role] == "viewer" { ", watch: hb" } else { "" };
            text += &format!("    h{n}x: {{ role: {}, count: {count}{watch}, links: [{}] }}\n", roles[*role], links.join(", "));
        }
        text += "    hv: { role: viewer, watch: hb, link: { to: s1 } }\n";
        let trunks: Vec<String> = (1..switches)
            .filter(|n| trunks[n - 1])
            .map(|n| format!("{{ between: [s{n}, s{}] }}", n + 1))
            .collect();
        if trunks.is_empty() { text } else { text + &format!("  trunks: [{}]\n", trunks.join(", ")) }
    }
}

/// How many of the random networks are accepted; all of them refused would prove nothing.
static ACCEPTED: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

#[test]
fn accepted_networks_have_unique_names_and_addresses() {
    proptest!(ProptestConfig::with_cases(400), |(text in network())| {
        if let Ok(loaded) = from_str("random.yaml", &text) {
            ACCEPTED.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            loaded.plan.trials.iter().for_each(check_plan);
        }
    });
    let accepted = ACCEPTED.load(std::sync::atomic::Ordering::Relaxed);
    assert!(accepted > 300, "only {accepted} of 400 random networks are accepted");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Text, and recipes that were cut, doubled and overwritten anywhere: no panic, and every report can be drawn.
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        if let Err(error) = from_str("x.yaml", &text) {
            prop_assert!(!error.report(false, 80).is_empty());
        }
    }

    #[test]
    fn no_damaged_recipe_panics(
        at in 0.0..1.0f64, length in 0usize..30, insert in "([ -~\n]{0,6}|é|: |\\*a|&a |\\[|\\{|\"|\n  ){0,3}",
        which in 0usize..5,
    ) {
        let texts = ["recipes/p2p.yaml", "recipes/multi.yaml", "recipes/smoke.yaml", "tests/recipes/bad/140-switch-loop.yaml"];
        let text = texts.get(which).map_or_else(|| BASE.to_owned(), |path| std::fs::read_to_string(path).unwrap());
        let chars: Vec<char> = text.chars().collect();
        let start = (at * chars.len() as f64) as usize;
        let end = (start + length).min(chars.len());
        let damaged: String = chars[..start].iter().copied().chain(insert.chars()).chain(chars[end..].iter().copied()).collect();
        match from_str("x.yaml", &damaged) {
            Ok(loaded) => {
                loaded.plan.trials.iter().for_each(check_plan);
                loaded.warnings.iter().for_each(|w| assert!(!w.report(false, 80).is_empty()));
            }
            Err(error) => {
                prop_assert!(!error.report(false, 80).is_empty());
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}

/// A recipe with segments: H.264 and whatever else is to be added.
fn segmented(more: &str) -> String {
    format!("schemes: [hls]\nvideo: {{ codec: h264, bitrate: 1 Mbit/s{more} }}{BASE}")
}

#[test]
fn segments_are_of_five_seconds_unless_a_recipe_says_otherwise() {
    assert_eq!(trial(&segmented("")).cdn.segment, seconds(5));
    assert_eq!(trial(&format!("cdn: {{ segment: 2 s }}\n{}", segmented(""))).cdn.segment, seconds(2));
    assert_eq!(warnings(&segmented("")), [""; 0]);
    // A plan of trials without segments is as it was before there were any.
    let stored = serde_json::to_value(trial(BASE)).unwrap();
    assert_eq!(stored["cdn"], serde_json::json!({ "nodelay": true }));
}

#[test]
fn keyframes_further_apart_than_segments_are_warned_of() {
    let warned = warnings(&segmented(", keyframe_every: 300"));
    let expected = "recipes/test.yaml:2:58: keyframe_every: a keyframe each 10.0 s makes segments that long, and not of 5 s: they begin with a keyframe";
    assert_eq!(warned, [expected]);
    assert_eq!(warnings(&segmented(", keyframe_every: 150")), [""; 0], "just so");
}

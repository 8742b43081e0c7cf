//! Matrices, and the points that they mean.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{BASE, loaded, seconds, warnings};
use crate::plan::{Scheme, Trial};
use crate::recipe::from_str;

fn points(text: &str) -> Vec<(String, String)> {
    let named = |trial: &Trial| {
        let values = trial.point.parameters.iter().map(|(name, value)| format!("{name}={value}"));
        (trial.point.scheme.to_string(), values.collect::<Vec<_>>().join(" "))
    };
    loaded(&format!("{text}{BASE}")).plan.trials.iter().map(named).collect()
}

#[test]
fn every_combination_is_a_point_at_which_each_scheme_is_tried() {
    let text = "repetitions: 2\nmatrix:\n  video.fps: [25, 30]\n  rtt: { of: [network.hosts.hb.link.delay, network.hosts.hv.link.delay], values: [1 ms, 2 ms, 3 ms] }\n";
    let plan = loaded(&format!("{text}{BASE}")).plan;
    assert_eq!(plan.trials.len(), 2 * 2 * 2 * 3);
    let ids: BTreeSet<&str> = plan.trials.iter().map(|trial| trial.id.as_str()).collect();
    assert_eq!(ids.len(), plan.trials.len());
    for trial in &plan.trials {
        let (fps, rtt) = (trial.point.parameters.get("video.fps"), trial.point.parameters.get("rtt"));
        assert_eq!(fps, Some(trial.video.fps.to_string().as_str()));
        for place in [0, 2, 3] {
            let delay = trial.network.links[place].shape.delay.as_millis();
            assert_eq!(rtt, Some(format!("{delay} ms").as_str()));
        }
        assert_eq!(trial.network.links[1].shape.delay.as_millis(), 300, "nobody varies the CDN's");
    }
    let seeds: BTreeSet<(u32, u64)> = plan.trials.iter().map(|trial| (trial.point.repetition, trial.seed)).collect();
    assert_eq!(seeds.len(), 2, "all points of a repetition meet the same luck");
}

#[test]
fn points_are_excluded_and_included() {
    let text = "schemes: [direct, bypass]\nmatrix:\n  video.fps: [25, 30]\n  video.audio: [true, false]\n\
        exclude:\n  - { video.fps: 25, video.audio: true }\n  - { video.audio: false, scheme: bypass }\n\
        include:\n  - { video.audio: true, video.fps: 10 }\n";
    let expected = [
        ("direct", "video.audio=false video.fps=25"),
        ("direct", "video.audio=true video.fps=30"),
        ("bypass", "video.audio=true video.fps=30"),
        ("direct", "video.audio=false video.fps=30"),
        ("direct", "video.audio=true video.fps=10"),
        ("bypass", "video.audio=true video.fps=10"),
    ];
    assert_eq!(points(text), expected.map(|(scheme, values)| (scheme.to_owned(), values.to_owned())));
}

#[test]
fn a_point_is_what_the_recipe_would_mean_with_these_values() {
    let varied = "matrix:\n  viewers: { of: network.hosts.hv.count, values: [1, 5] }\n  pings: { of: timeline.pings.every, values: [2 s] }\n";
    let varied = loaded(&format!("{varied}{BASE}")).plan;
    for (count, trial) in [1, 5].into_iter().zip(varied.trials.chunks(2)) {
        let text = format!(
            "timeline: {{ pings: {{ every: 2 s }} }}\n{}",
            BASE.replace("count: 2", &format!("count: {count}"))
        );
        let mut alone = loaded(&text).plan.trials.remove(0);
        alone.id.clone_from(&trial[0].id);
        alone.point = trial[0].point.clone();
        assert_eq!(alone, trial[0]);
        assert_eq!(trial[0].pings[0].interval, seconds(2));
    }
}

#[test]
fn warnings_name_the_points_that_they_are_about() {
    let told = warnings(&format!("matrix:\n  video.bitrate: [1 Mbit/s, 9 Mbit/s]\n{BASE}"));
    assert!(
        !told.is_empty() && told.iter().all(|warning| warning.contains("(where video.bitrate 9 Mbit/s)")),
        "{told:?}"
    );
    let all = warnings(&format!("matrix:\n  video.bitrate: [8 Mbit/s, 9 Mbit/s]\ncaptures: [hb]\n{BASE}"));
    assert!(
        all.iter().any(|warning| warning.contains("captures leave out") && !warning.contains("where")),
        "{all:?}"
    );
}

#[test]
fn mistakes_of_the_recipe_are_told_once_however_many_points_have_them() {
    let text = format!("video: {{ codec: theora }}\nmatrix:\n  video.fps: [25, 30, 24, 10]\n{BASE}");
    let error = from_str("recipes/test.yaml", &text).unwrap_err();
    assert_eq!(error.to_string().lines().count(), 1, "{error}");
    assert!(!error.to_string().contains("where"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_matrix_has_as_many_points_as_its_lists_multiply_to(
        fps in prop::collection::btree_set(1_u32..=120, 1..5),
        queue in prop::collection::btree_set(1_u32..=1000, 1..4),
        bits in prop::collection::btree_set(10_u32..=900, 1..4),
    ) {
        let list = |values: &BTreeSet<u32>, unit: &str| {
            values.iter().map(|value| format!("{value}{unit}")).collect::<Vec<_>>().join(", ")
        };
        let text = format!(
            "schemes: [direct]\nmatrix:\n  video.fps: [{}]\n  queue: {{ of: network.hosts.hs.link.queue, values: [{}] }}\n  video.bitrate: [{}]\n{BASE}",
            list(&fps, ""), list(&queue, ""), list(&bits, " kbit/s"),
        );
        let trials = loaded(&text).plan.trials;
        prop_assert_eq!(trials.len(), fps.len() * queue.len() * bits.len());
        let different: BTreeSet<(u32, u32, u64)> =
            trials.iter().map(|trial| (trial.video.fps, trial.network.links[1].shape.queue, trial.video.bitrate)).collect();
        prop_assert_eq!(different.len(), trials.len());
        prop_assert!(trials.iter().all(|trial| trial.point.scheme == Scheme::Direct));
    }
}

#[test]
fn until_lists_as_many_repetitions_as_there_can_be() {
    let text = |more: &str| format!("schemes: [direct]\n{more}\n{BASE}");
    let loaded = loaded(&text("until: { figure: excess_p95_ms, precision: 10 %, most: 25 }"));
    let until = loaded.until.unwrap();
    assert_eq!((until.figure.name(), until.least, until.most), ("excess_p95_ms", 10, 25));
    assert!((until.precision - 0.1).abs() < 1e-12);
    assert_eq!(loaded.plan.trials.len(), 25);
    let usual = super::loaded(&text("repetitions: 12\nuntil: { figure: delay_p50_ms }")).until.unwrap();
    assert_eq!((usual.least, usual.most), (12, 60));
}

#[test]
fn the_engine_is_varied_as_any_value_and_only_what_is_predicted_says_so() {
    let plain = points("schemes: [direct]\nmatrix:\n  video.fps: [25, 30]\n");
    let both = points("schemes: [direct]\nmatrix:\n  engine: [emulate, predict]\n  video.fps: [25, 30]\n");
    assert_eq!(both[..2], plain, "what is measured is the same point as without predictions");
    let values: Vec<&str> = both[2..].iter().map(|(_, values)| values.as_str()).collect();
    assert_eq!(values, ["engine=predict video.fps=25", "engine=predict video.fps=30"]);
    let less = "schemes: [direct]\nmatrix:\n  engine: [emulate, predict]\n  video.fps: [25, 30]\n\
        exclude:\n  - { engine: emulate, video.fps: 30 }\ninclude:\n  - { engine: predict, video.fps: 50 }\n";
    assert_eq!(points(less).len(), 4);
    assert_eq!(points("schemes: [direct]\nengine: predict\n"), [("direct".to_owned(), "engine=predict".to_owned())]);
    assert_eq!(points("schemes: [direct]\nengine: emulate\n"), points("schemes: [direct]\n"));
}

#[test]
fn the_engine_has_its_name_and_its_words() {
    let wrong = |text: &str| from_str("x.yaml", &format!("{text}{BASE}")).unwrap_err().to_string();
    for (text, word) in [
        (
            "matrix:\n  kind: { of: engine, values: [emulate, predict] }\n",
            "the name engine is that of the key engine",
        ),
        (
            "matrix:\n  engine: { of: video.codec, values: [flv1, h264] }\n",
            "the name engine is that of the key engine",
        ),
        ("matrix:\n  engine: [emulate, predicted]\n", "predicted"),
        ("engine: [emulate, predict]\n", "engine"),
        ("engine: model\n", "model"),
    ] {
        let told = wrong(text);
        assert!(told.contains(word), "{text}: {told}");
    }
}

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use super::super::tests::{frame, record};
use super::super::{ViewerFacts, read_effects, summarise, write_effects};
use super::*;
use crate::plan::Point;
use crate::plan::delivery::Via;

/// A line of a trial of `scheme` whose excess is `p50` and 10 ms more at p95, with viewers that differ by as much as
/// has no effect on their mean.
fn rows(scheme: Scheme, parameters: &[(&str, &str)], repetition: u32, p50: f64) -> Vec<SummaryRow> {
    let parameters: BTreeMap<String, String> = parameters.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    let point = Point { scheme, repetition, parameters: parameters.into() };
    let template = {
        let frames = [frame("direct-1", "hv1", 0, Some(240.0), Via::Cdn)];
        let facts = ViewerFacts {
            stream: "hb".into(),
            viewer: "hv1".into(),
            born: 1,
            captured: true,
            ..ViewerFacts::default()
        };
        summarise(&record("direct-1"), &[facts], &frames).remove(0)
    };
    [("hv1", -3.0), ("hv2", 3.0)]
        .map(|(viewer, more)| SummaryRow {
            trial: point.id(),
            point: point.clone(),
            viewer: viewer.into(),
            excess_p50_ms: Some(p50 + more),
            excess_p95_ms: Some(p50 + 10.0 + more),
            ..template.clone()
        })
        .to_vec()
}

/// Loss adds 30 ms to direct and 5 ms to bypass, delay 10 ms to both, bypass takes 20 ms away; each repetition has
/// luck of its own which all points share, and each trial some noise.
fn sweep(repetitions: u32) -> Vec<SummaryRow> {
    let mut all = Vec::new();
    let mut noise = fastrand::Rng::with_seed(7);
    for repetition in 1..=repetitions {
        let luck = f64::from(repetition % 3) * 40.0;
        for scheme in [Scheme::Direct, Scheme::Bypass] {
            for (loss, lossy) in [("0 %", 0.0), ("0.5 %", 0.25), ("2 %", 1.0)] {
                for (delay, more) in [("5 ms", 0.0), ("100 ms", 10.0)] {
                    let bypass = scheme == Scheme::Bypass;
                    let of_loss = if bypass { 5.0 } else { 30.0 };
                    let excess =
                        100.0 - if bypass { 20.0 } else { 0.0 } + luck + of_loss * lossy + more + noise.f64();
                    all.extend(rows(
                        scheme,
                        &[("net.hv.loss", loss), ("delay", delay), ("fixed", "1")],
                        repetition,
                        excess,
                    ));
                }
            }
        }
    }
    all
}

fn find<'r>(
    effects: &'r Effects,
    scheme: Option<Scheme>,
    parameter: &str,
    to: &str,
    given: Option<&str>,
) -> &'r EffectRow {
    let mut found = effects.rows.iter().filter(|row| {
        (row.scheme, row.parameter.as_str(), row.to.as_str(), row.given.as_deref()) == (scheme, parameter, to, given)
            && row.metric == "excess_p95_ms"
    });
    let row = found.next().unwrap_or_else(|| panic!("{scheme:?} {parameter} {to} {given:?}: {:#?}", effects.rows));
    assert_eq!(found.next(), None);
    row
}

fn near(row: &EffectRow, expected: f64) {
    let (low, high) = row.low_95.zip(row.high_95).unwrap();
    assert!((row.difference_ms - expected).abs() < 0.7, "{row:?}");
    assert!(low < row.difference_ms && high > row.difference_ms && high - low < 2.0, "{row:?}");
}

#[test]
fn known_effects_are_found_within_their_intervals() {
    let effects = Effects::of(&sweep(5));
    assert_eq!((effects.trials, effects.left_out, effects.unfit), (60, 0, false));
    near(find(&effects, Some(Scheme::Direct), "net.hv.loss", "2 %", None), 30.0);
    near(find(&effects, Some(Scheme::Direct), "net.hv.loss", "0.5 %", None), 7.5);
    near(find(&effects, Some(Scheme::Bypass), "net.hv.loss", "2 %", None), 5.0);
    near(find(&effects, Some(Scheme::Bypass), "delay", "100 ms", None), 10.0);
    // Over the three losses: 20 ms less, and 0, 6.25 or 25 ms less of loss.
    let scheme = find(&effects, None, SCHEME, "bypass", None);
    near(scheme, -20.0 - 31.25 / 3.0);
    assert_eq!(
        (scheme.from.as_str(), scheme.points, scheme.repetitions, scheme.pairs, scheme.real),
        ("direct", 6, 5, 30, Some(true))
    );
    assert!(effects.rows.iter().all(|row| row.parameter != "fixed" && row.from != "100 ms"));
    let row = find(&effects, Some(Scheme::Direct), "net.hv.loss", "2 %", None);
    assert!((row.to_ms - row.from_ms - row.difference_ms).abs() < 1e-6 && row.ratio.unwrap() > 1.1, "{row:?}");
}

#[test]
fn an_effect_that_depends_on_another_parameter_is_found_and_others_are_not() {
    let effects = Effects::of(&sweep(5));
    let row = find(&effects, None, SCHEME, "bypass", Some("net.hv.loss"));
    near(row, -25.0);
    assert_eq!(
        (row.given_from.as_deref(), row.given_to.as_deref(), row.real),
        (Some("0 %"), Some("2 %"), Some(true))
    );
    for (scheme, parameter, to, given) in
        [(None, SCHEME, "bypass", "delay"), (Some(Scheme::Direct), "delay", "100 ms", "net.hv.loss")]
    {
        assert_eq!(find(&effects, scheme, parameter, to, Some(given)).real, Some(false));
    }
    let said: Vec<String> = effects.dependences().into_iter().map(|sentence| sentence.text).collect();
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(
        said[0]
            .starts_with("What bypass instead of direct changes depends on loss: −20.0 ms of the p95 at 0 %, −45."),
        "{said:#?}"
    );
}

#[test]
fn sentences_say_the_largest_first_and_what_is_chance_last() {
    let mut summary = sweep(5);
    // A parameter that does nothing.
    let twin: Vec<SummaryRow> = {
        let mut noise = fastrand::Rng::with_seed(3);
        let with = |row: &SummaryRow, value: &str| {
            let mut parameters: BTreeMap<String, String> = row.point.parameters.clone().into();
            parameters.insert("queue".into(), value.into());
            Point { parameters: parameters.into(), ..row.point.clone() }
        };
        summary.iter_mut().for_each(|row| row.point = with(row, "10"));
        summary.iter_mut().for_each(|row| row.trial = row.point.id());
        summary
            .chunks(2)
            .flat_map(|rows| {
                let more = noise.f64() - 0.5;
                let moved = |row: &SummaryRow| {
                    let point = with(row, "90");
                    let trial = point.id();
                    SummaryRow {
                        trial,
                        point,
                        excess_p50_ms: row.excess_p50_ms.map(|ms| ms + more),
                        excess_p95_ms: row.excess_p95_ms.map(|ms| ms + more),
                        ..row.clone()
                    }
                };
                rows.iter().map(moved).collect::<Vec<_>>()
            })
            .collect()
    };
    summary.extend(twin);
    let effects = Effects::of(&summary);
    let said: Vec<String> = effects.sentences().into_iter().map(|sentence| sentence.text).collect();
    assert!(
        said[0].starts_with("bypass instead of direct takes 30.") && said[0].contains(" off the p95 and "),
        "{said:#?}"
    );
    assert!(said[1].starts_with("At direct, loss 2 % instead of 0 % adds 29."), "{said:#?}");
    assert!(said[1].contains(" ms (29.5 to 30.3") && said[1].contains(") to the p95 and 29.9 ms ("), "{said:#?}");
    let chance = "queue 90 instead of 10 changes nothing beyond chance: p95 ";
    assert!(said.iter().rev().take(2).all(|text| text.contains(chance)), "{said:#?}");
    assert_eq!(said.len(), 7, "{said:#?}");
    let text = effects_text(&effects).unwrap();
    assert!(text.starts_with("what moves the excess, from 120 trials:\n  bypass instead"), "{text}");
}

#[test]
fn few_repetitions_have_effects_without_intervals() {
    let effects = Effects::of(&sweep(2));
    let row = find(&effects, Some(Scheme::Direct), "delay", "100 ms", None);
    assert_eq!((row.low_95, row.high_95, row.real, row.repetitions), (None, None, None, 2));
    let said = effects.sentences();
    assert!(said.iter().all(|sentence| sentence.real.is_none() && !sentence.text.contains('(')), "{said:#?}");
    assert!(effects.dependences().is_empty());
}

#[test]
fn unfit_trials_say_nothing_unless_there_are_no_others() {
    let mut summary = sweep(4);
    let spoilt = summary[0].trial.clone();
    summary
        .iter_mut()
        .filter(|row| row.trial == spoilt)
        .for_each(|row| (row.fit, row.excess_p95_ms) = (false, Some(1e6)));
    let effects = Effects::of(&summary);
    assert_eq!((effects.trials, effects.left_out, effects.unfit), (48, 1, false));
    near(find(&effects, Some(Scheme::Direct), "delay", "100 ms", None), 10.0);
    assert_eq!(effects.basis(), "from 47 of 48 trials; 1 left out as unfit or partial");

    let mut summary = sweep(4);
    summary.iter_mut().for_each(|row| row.fit = false);
    let spoilt = summary[0].trial.clone();
    summary.iter_mut().filter(|row| row.trial == spoilt).for_each(|row| row.partial = true);
    let effects = Effects::of(&summary);
    assert_eq!((effects.trials, effects.left_out, effects.unfit), (48, 1, true));
    assert!(effects.rows.iter().all(|row| row.unfit));
    assert!(effects.basis().starts_with("ALL 48 trials are UNFIT or partial"), "{}", effects.basis());
    assert_eq!(Effects::of(&[]), Effects::default());
}

#[test]
fn only_points_that_differ_in_one_parameter_alone_are_compared() {
    // `include` adds a point that differs in two from all others.
    let mut summary = sweep(3);
    let with_include = |repetition| {
        rows(Scheme::Direct, &[("net.hv.loss", "9 %"), ("delay", "7 ms"), ("fixed", "1")], repetition, 9e5)
    };
    summary.extend((1..=3).flat_map(with_include));
    let effects = Effects::of(&summary);
    assert!(effects.rows.iter().all(|row| row.to != "9 %" && row.to_ms < 1e4), "{:#?}", effects.rows);
    near(find(&effects, Some(Scheme::Direct), "net.hv.loss", "2 %", None), 30.0);
    let said = effects.sentences();
    assert!(said.iter().any(|sentence| sentence.text.contains("loss 2 % instead of 0 %")), "{said:#?}");
}

#[test]
fn names_that_end_alike_are_written_out() {
    let mut summary = Vec::new();
    for (hs, hb) in [("5 ms", "5 ms"), ("9 ms", "5 ms"), ("5 ms", "9 ms"), ("9 ms", "9 ms")] {
        summary.extend(rows(Scheme::Direct, &[("hs.delay", hs), ("hb.delay", hb)], 1, 50.0));
    }
    let said: Vec<String> = Effects::of(&summary).sentences().into_iter().map(|sentence| sentence.text).collect();
    assert!(said.iter().any(|text| text.starts_with("hs.delay 9 ms instead of 5 ms")), "{said:#?}");
}

#[test]
fn the_table_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("effects.csv");
    for repetitions in [1, 4] {
        let effects = Effects::of(&sweep(repetitions));
        write_effects(&path, &effects.rows).unwrap();
        assert_eq!(read_effects(&path).unwrap(), effects.rows);
    }
}

#[test]
fn what_is_predicted_moves_nothing_that_was_measured() {
    let measured = sweep(5);
    let mut predicted = sweep(5);
    for row in &mut predicted {
        row.trial += "-predicted";
        row.point = row.point.as_predicted();
        row.excess_p95_ms = row.excess_p95_ms.map(|excess| excess * 3.0);
    }
    let alone = Effects::of(&measured);
    let both = Effects::of(&[measured, predicted.clone()].concat());
    assert_eq!((&both.rows, both.trials, both.beside), (&alone.rows, 60, 60));
    assert_eq!(both.basis(), "from 60 trials; 60 predicted ones are not among them");
    let only = Effects::of(&predicted);
    assert_eq!((only.rows.len(), only.predicted), (alone.rows.len(), true));
    assert_eq!(only.basis(), "PREDICTED, not measured, from 60 trials");
}

//! What the charts hold, before anything is drawn.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::float_cmp)]

mod audiences;
mod predicted;

use super::*;
use crate::plan::Plan;
use crate::plan::delivery::Via;
use crate::plot::chart::{Dash, Piece};
use crate::plot::selection::select;
use crate::plot::{Around, Loaded, Picture, Scale, View};
use crate::store::{Manifest, RecipeRecord, RunDir, Software, TrialRecord, TrialState};
use crate::table::tests::{frame, record, trial};

/// Two viewers, three repetitions of both schemes. Through the CDN 900, 910, 920 ms; peers serve hv1 in 240, 250, 260
/// ms.
fn run(change: impl FnOnce(&mut Manifest)) -> Loaded {
    let (mut trials, mut frames) = (Vec::new(), Vec::new());
    for repetition in 1..=3_u32 {
        for scheme in ["direct", "bypass"] {
            let id = format!("{scheme}-{repetition}");
            for viewer in ["hv1", "hv2"] {
                let (delay, via) =
                    if (scheme, viewer) == ("bypass", "hv1") { (230.0, Via::Peer) } else { (890.0, Via::Cdn) };
                frames
                    .extend((0..50).map(|i| frame(&id, viewer, i, Some(delay + 10.0 * f64::from(repetition)), via)));
            }
            let mut trial = trial(&id, &["hv1", "hv2"]);
            trial.point.repetition = repetition;
            trials.push(trial);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let now = "2026-11-22T23:17:00Z".parse().unwrap();
    let run = RunDir::create(folder.path(), "p2p", now, crate::store::Owner::Process).unwrap();
    let recipe = RecipeRecord { name: "p2p".into(), path: None, text: String::new() };
    let records = trials.iter().map(|trial| record(&trial.id)).collect();
    let plan = Plan { recipe: "p2p".into(), description: String::new(), seed: 1, trials };
    let mut manifest = Manifest::new(&run, recipe, plan, 1, Software::default(), now);
    manifest.trials = records;
    change(&mut manifest);
    Loaded::of(manifest, frames)
}

fn around() -> Around {
    Around { subject: "p2p".into(), origin: "run 1".into(), warnings: Vec::new() }
}

fn by(keys: &[&str]) -> View {
    View { by: keys.iter().map(|key| Key::from(*key)).collect(), ..View::default() }
}

#[test]
fn a_picture_over_time_warns_of_the_trials_that_it_shows() {
    let run = run(|manifest| {
        for trial in manifest.trials.iter_mut().filter(|trial| trial.id.ends_with("-2")) {
            trial.unfit = vec!["CPU pressure 31 %".into()];
        }
    });
    let warned = |only: &[&str]| {
        let view = View { only: only.iter().map(|text| text.parse().unwrap()).collect(), ..View::default() };
        timeline::frame_delay(&run, &view, &Picture::default()).unwrap().chart.warnings
    };
    let (direct, bypass) = ("direct-2 UNFIT: CPU pressure 31 %", "bypass-2 UNFIT: CPU pressure 31 %");
    assert_eq!(warned(&[]), [direct, bypass]);
    assert_eq!(warned(&["scheme=bypass", "viewer=hv2"]), [bypass]);
    assert_eq!(warned(&["repetition=1,3"]), Vec::<String>::new());
}

#[test]
fn bars_stack_the_parts_up_to_the_mean_delay_with_the_floor_across() {
    let runs = [run(|_| {})];
    let plate = parts::plate(&select(&runs, &View::default()).unwrap(), &around()).unwrap();
    assert_eq!(plate.chart.categories, ["hv1\ndirect", "hv1\nbypass", "hv2\ndirect", "hv2\nbypass"]);
    let top = |place: f64| {
        let ends = plate.chart.pieces.iter().filter_map(|piece| match piece {
            Piece::Bar { x, from, to, .. } if *x == place => Some((*from, *to)),
            _ => None,
        });
        ends.fold(0.0, |top, (from, to)| {
            assert!((from - top).abs() < 1e-9, "each part begins where the one before ends");
            to
        })
    };
    assert_eq!([0.0, 1.0, 2.0, 3.0].map(|place| top(place).round()), [910.0, 250.0, 910.0, 910.0]);
    let levels: Vec<f64> = plate
        .chart
        .pieces
        .iter()
        .filter_map(|p| if let Piece::Level { y, .. } = p { Some(*y) } else { None })
        .collect();
    assert_eq!(levels, [230.0; 4]);
    let intervals = plate.chart.pieces.iter().filter(|p| matches!(p, Piece::Interval { .. })).count();
    assert_eq!((intervals, plate.table.rows()), (4, 4));
    assert_eq!(plate.table.number("transfer_mean_ms", 1), Some(245.0));
}

#[test]
fn boxes_stand_side_by_side_over_their_viewer() {
    let runs = [run(|_| {})];
    let plate =
        spread::plate(&select(&runs, &View::default()).unwrap(), &View::default(), &around(), Scale::Linear).unwrap();
    assert_eq!(plate.chart.categories, ["hv1", "hv2"]);
    let boxes: Vec<_> = plate
        .chart
        .pieces
        .iter()
        .filter_map(|piece| match piece {
            Piece::Box { x, width, whiskers, quartiles, median, .. } => {
                Some((*x, *width, *whiskers, *quartiles, *median))
            }
            _ => None,
        })
        .collect();
    assert_eq!(boxes.iter().map(|b| b.4).collect::<Vec<_>>(), [910.0, 250.0, 910.0, 910.0]);
    assert_eq!((boxes[1].2, boxes[1].3), ((240.0, 260.0), (240.0, 260.0)));
    assert!(boxes.windows(2).all(|pair| pair[0].0 + pair[0].1 / 2.0 <= pair[1].0 - pair[1].1 / 2.0), "{boxes:?}");
    assert!(boxes[1].0 < 0.5 && boxes[2].0 > 0.5);
}

#[test]
fn a_sweep_has_a_point_with_its_interval_for_each_value() {
    let runs = [run(|manifest| {
        for trial in &mut manifest.plan.trials {
            trial.video.bitrate = if trial.point.repetition == 3 { 4_000_000 } else { 2_000_000 };
        }
    })];
    let view = View { metric: Some("delay_mean_ms".into()), ..by(&["scheme", "viewer"]) };
    let plate = sweep::plate(&select(&runs, &view).unwrap(), &runs, &view, &around(), Scale::Linear).unwrap();
    assert_eq!(plate.chart.x_label, "video.bitrate (Mbit/s)", "the one that differs");
    assert_eq!(plate.chart.series.len(), 4);
    assert_eq!(plate.chart.series[0].points, [(2.0, Some(905.0)), (4.0, Some(920.0))]);
    // Of two trials the interval reaches from one to the other; a single one has none.
    assert!(
        plate
            .chart
            .pieces
            .iter()
            .any(|p| matches!(p, Piece::Interval { x, low, high, .. } if (*x, *low, *high) == (2.0, 900.0, 910.0)))
    );
    assert_eq!(plate.table.number("low_95", 1), None);
    assert_eq!(plate.table.number("trials", 0), Some(2.0));
    let words = View { x: Some(Key::from("viewer")), ..View::default() };
    let plate = sweep::plate(&select(&runs, &words).unwrap(), &runs, &words, &around(), Scale::Linear).unwrap();
    assert_eq!(plate.chart.categories, ["hv1", "hv2"]);
}

#[test]
fn a_trial_is_one_draw_however_many_viewers_it_has() {
    let runs = [run(|_| {})];
    let view = View { metric: Some("delay_mean_ms".into()), x: Some(Key::from("video.fps")), ..View::default() };
    let plate = sweep::plate(&select(&runs, &view).unwrap(), &runs, &view, &around(), Scale::Linear).unwrap();
    assert_eq!((plate.table.number("trials", 1), plate.table.number("value", 1)), (Some(3.0), Some(580.0)));
    let (low, high) = (plate.table.number("low_95", 1).unwrap(), plate.table.number("high_95", 1).unwrap());
    assert!(
        low >= 570.0 && high <= 590.0,
        "viewers of 250 and of 910 ms are no repetitions of each other: {low} {high}"
    );
}

#[test]
fn conditions_and_groups_say_what_they_mean() {
    let runs = [run(|_| {})];
    let only = |text: &str| View { only: vec![text.parse().unwrap()], ..by(&["viewer", "scheme"]) };
    let labels = |view: &View| -> Vec<String> {
        select(&runs, view).unwrap().groups.iter().map(crate::plot::selection::Group::name).collect()
    };
    assert_eq!(labels(&only("scheme=bypass")), ["hv1, bypass", "hv2, bypass"]);
    assert_eq!(labels(&only("viewer!=hv1")), ["hv2, direct", "hv2, bypass"]);
    assert_eq!(labels(&only("video.bitrate=2.5e6,7")).len(), 4);
    assert_eq!(labels(&only("video.bitrate=7")), Vec::<String>::new());
    assert_eq!(select(&runs, &only("repetition=1,2")).unwrap().trials, 4);
}

#[test]
fn a_trial_that_left_nothing_is_not_forgotten() {
    let runs = [run(|manifest| {
        let mut broken = trial("direct-4", &["hv1", "hv2"]);
        broken.point.repetition = 4;
        manifest.plan.trials.push(broken);
        manifest
            .trials
            .push(TrialRecord { state: TrialState::Failed { why: "nginx died".into() }, ..record("direct-4") });
    })];
    let selection = select(&runs, &View { include_unfit: true, ..View::default() }).unwrap();
    assert_eq!((selection.trials, &selection.left_out[..]), (7, &["direct-4".to_owned()][..]));
    let elsewhere = View { only: vec!["scheme=bypass".parse().unwrap()], ..View::default() };
    assert_eq!(select(&runs, &elsewhere).unwrap().left_out, Vec::<String>::new());
}

#[test]
fn doubtful_trials_are_out_or_marked() {
    let unfit = |manifest: &mut Manifest| manifest.trials[0].unfit = vec!["CPU pressure 31 %".into()];
    let runs = [run(unfit)];
    let selection = select(&runs, &View::default()).unwrap();
    assert_eq!(
        (selection.trials, &selection.left_out[..], selection.doubtful.len()),
        (6, &["direct-1".to_owned()][..], 0)
    );
    let plate = stalls::plate(&selection, &View::default(), &around(), Scale::Linear).unwrap();
    assert!(plate.chart.subtitle.ends_with("5 of 6 trials: 1 unfit or partial left out"), "{}", plate.chart.subtitle);
    assert_eq!(plate.table.number("trials", 0), Some(2.0));
    let with = View { include_unfit: true, ..View::default() };
    let selection = select(&runs, &with).unwrap();
    let plate = stalls::plate(&selection, &with, &around(), Scale::Linear).unwrap();
    assert_eq!(plate.chart.warnings, ["direct-1 UNFIT: CPU pressure 31 %"]);
    assert_eq!(plate.chart.legend[0].label, "direct (1 unfit or partial)");
    assert_eq!(plate.table.number("trials", 0), Some(3.0));
}

/// The run with two parameters: direct has excess by both, bypass is missing where both are large.
fn over_two() -> Loaded {
    let mut run = run(|_| {});
    let parameters = |delay: &str, loss: &str| -> crate::plan::Parameters {
        std::collections::BTreeMap::from(
            [("delay", delay), ("loss", loss)].map(|(k, v)| (k.to_owned(), v.to_owned())),
        )
        .into()
    };
    let (mut trials, mut records, mut summary) = (Vec::new(), Vec::new(), Vec::new());
    for (delay, loss, more) in
        [("5 ms", "0 %", 0.0), ("100 ms", "0 %", 50.0), ("5 ms", "2 %", 7.0), ("100 ms", "2 %", 60.0)]
    {
        for trial in &run.manifest.plan.trials {
            if (trial.point.scheme, delay, loss) == (crate::plan::Scheme::Bypass, "100 ms", "2 %") {
                continue;
            }
            let mut point = trial.point.clone();
            point.parameters = parameters(delay, loss);
            let id = point.id();
            let mut record = run.manifest.trial(&trial.id).unwrap().clone();
            (record.id, record.point) = (id.clone(), point.clone());
            records.push(record);
            summary.extend(run.summary.iter().filter(|row| row.trial == trial.id).map(|row| {
                crate::table::SummaryRow {
                    trial: id.clone(),
                    point: point.clone(),
                    excess_p95_ms: row.excess_p95_ms.map(|ms| ms + more),
                    ..row.clone()
                }
            }));
            trials.push(crate::plan::Trial { id, point, ..trial.clone() });
        }
    }
    run.manifest.plan.trials = trials;
    run.manifest.trials = records;
    (run.summary, run.frames, run.playouts) = (summary, Vec::new(), Vec::new());
    run
}

#[test]
fn a_heat_map_has_a_cell_for_each_pair_and_says_what_is_missing_and_what_is_unfit() {
    use crate::plot::cells::Known;
    let mut run = over_two();
    for row in &mut run.summary {
        let point = &row.point;
        row.fit = !(point.scheme == crate::plan::Scheme::Direct && point.parameters.get("loss") == Some("2 %"))
            || point.parameters.get("delay") == Some("5 ms") && point.repetition > 1;
    }
    let runs = [run];
    let view = View {
        by: vec![Key::from("scheme")],
        x: Some(Key::from("delay")),
        y: Some(Key::from("loss")),
        ..View::default()
    };
    let plate = heat::plate(&select(&runs, &view).unwrap(), &runs, &view, &around(), Scale::Linear).unwrap();
    let cells = plate.chart.cells.as_ref().unwrap();
    assert_eq!(
        (&cells.columns[..], &cells.rows[..]),
        (&["5".to_owned(), "100".into()][..], &["2".to_owned(), "0".into()][..])
    );
    assert_eq!((cells.x_label.as_str(), cells.y_label.as_str()), ("delay (ms)", "loss (%)"));
    assert_eq!(cells.panels.iter().map(|panel| panel.name.as_str()).collect::<Vec<_>>(), ["direct", "bypass"]);
    let value = |value: f64| Known::Figure { value, doubtful: false };
    // Both viewers have 670, 680 and 690 ms through the CDN, of which the first repetition is unfit at 2 % and 5 ms.
    assert_eq!(cells.panels[0].cells, [value(692.0), Known::Unsound, value(680.0), value(730.0)]);
    // hv1 has 10, 20 and 30 ms from the peer, hv2 670, 680 and 690 ms.
    assert_eq!(cells.panels[1].cells, [value(357.0), Known::Nothing, value(350.0), value(400.0)]);
    let names: Vec<&str> = plate.table.names().collect();
    assert_eq!(names, ["scheme", "delay", "loss", "metric", "points", "trials", "left_out", "value"]);
    assert_eq!(
        (plate.table.rows(), plate.table.number("left_out", 1), plate.table.number("value", 1)),
        (8, Some(3.0), None)
    );
    let view = View { include_unfit: true, ..view };
    let plate = heat::plate(&select(&runs, &view).unwrap(), &runs, &view, &around(), Scale::Linear).unwrap();
    let cells = plate.chart.cells.unwrap();
    assert_eq!(cells.panels[0].cells[1], Known::Figure { value: 740.0, doubtful: true });
    let png = crate::plot::canvas::picture(
        &crate::plot::chart::Chart {
            cells: Some(cells),
            ..blank(&select(&runs, &view).unwrap(), &around(), Scale::Linear)
        },
        (800, 450),
        crate::plot::Format::Png,
    )
    .unwrap();
    assert!(png.starts_with(b"\x89PNG"));
}

#[test]
fn a_heat_map_takes_the_first_two_parameters_and_needs_two() {
    let runs = [over_two()];
    let plate =
        heat::plate(&select(&runs, &by(&["scheme"])).unwrap(), &runs, &by(&["scheme"]), &around(), Scale::Linear)
            .unwrap();
    assert!(plate.chart.title.ends_with("excess_p95_ms over delay and loss"), "{}", plate.chart.title);
    let runs = [run(|_| {})];
    let error =
        heat::plate(&select(&runs, &View::default()).unwrap(), &runs, &View::default(), &around(), Scale::Linear);
    assert!(error.err().unwrap().to_string().contains("two parameters that differ"));
}

//! Predicted points beside measured ones.

use super::super::*;
use super::around;
use crate::plan::delivery::Via;
use crate::plan::{Parameters, Plan, Point};
use crate::plot::canvas::{self, Marker};
use crate::plot::chart::{Piece, Series, Shape, Swatch};
use crate::plot::key::Key;
use crate::plot::selection::select;
use crate::plot::{Format, Loaded, Scale, View};
use crate::store::{Manifest, RecipeRecord, RunDir, Software, TrialRecord};
use crate::table::tests::{frame, record, trial};

/// Both schemes at each loss, `repetitions` times as measured: 100 and 200 ms more for each percent, 10 ms more for
/// each further repetition. Predicted are those of `predicted`, with 1 ms more.
fn sweep_of(losses: &[u32], repetitions: u32, predicted: &[(&str, &[u32])]) -> Loaded {
    let (mut trials, mut records, mut frames) = (Vec::new(), Vec::<TrialRecord>::new(), Vec::new());
    let mut add = |scheme: &str, loss: u32, repetition: u32, is_predicted: bool| {
        let id = format!("{scheme}-{loss}-{repetition}-{is_predicted}");
        let mut trial = trial(&id, &["hv1"]);
        let measured = Point {
            repetition,
            parameters: Parameters::default().with("loss", &format!("{loss} %")),
            ..trial.point.clone()
        };
        trial.point = if is_predicted { measured.as_predicted() } else { measured };
        let slope = if scheme == "direct" { 200.0 } else { 100.0 };
        let delay =
            300.0 + slope * f64::from(loss) + 10.0 * f64::from(repetition - 1) + f64::from(u8::from(is_predicted));
        frames.extend((0..20).map(|i| frame(&id, "hv1", i, Some(delay), Via::Cdn)));
        records.push(TrialRecord { point: trial.point.clone(), ..record(&id) });
        trials.push(trial);
    };
    for loss in losses {
        for repetition in 1..=repetitions {
            ["direct", "bypass"].iter().for_each(|scheme| add(scheme, *loss, repetition, false));
        }
    }
    for (scheme, losses) in predicted {
        losses.iter().for_each(|loss| add(scheme, *loss, 1, true));
    }
    let folder = tempfile::tempdir().unwrap();
    let now = "2026-11-22T23:17:00Z".parse().unwrap();
    let run = RunDir::create(folder.path(), "p2p", now, crate::store::Owner::Process).unwrap();
    let recipe = RecipeRecord { name: "p2p".into(), path: None, text: String::new() };
    let plan = Plan { recipe: "p2p".into(), description: String::new(), seed: 1, trials };
    let mut manifest = Manifest::new(&run, recipe, plan, 1, Software::default(), now);
    manifest.trials = records;
    Loaded::of(manifest, frames)
}

fn over_loss(by: &[&str]) -> View {
    View {
        by: by.iter().map(|key| Key::from(*key)).collect(),
        x: Some(Key::from("loss")),
        metric: Some("delay_mean_ms".into()),
        ..View::default()
    }
}

fn drawn(run: Loaded, view: &View) -> Plate {
    let runs = [run];
    sweep::plate(&select(&runs, view).unwrap(), &runs, view, &around(), Scale::Linear).unwrap()
}

/// Those of a shape, in the order in which they are drawn.
fn those(plate: &Plate, is: fn(&Shape) -> bool) -> Vec<(usize, &Series)> {
    plate.chart.series.iter().enumerate().filter(|(_, series)| is(&series.shape)).collect()
}

#[test]
fn the_model_is_a_line_through_measured_marks_of_its_colour() {
    let run = sweep_of(&[0, 1, 2], 2, &[("direct", &[0, 1, 2]), ("bypass", &[0, 2])]);
    let plate = drawn(run, &over_loss(&[]));
    let labels: Vec<&str> = plate.chart.legend.iter().map(|entry| entry.label.as_str()).collect();
    assert_eq!(labels, ["direct, measured", "direct, predicted", "bypass, measured", "bypass, predicted"]);
    let lines = those(&plate, |shape| matches!(shape, Shape::Line { .. }));
    let marks = those(&plate, |shape| matches!(shape, Shape::Points { .. }));
    assert_eq!((lines.len(), marks.len(), plate.chart.series.len()), (2, 2, 4));
    assert!(lines.iter().all(|(line, _)| marks.iter().all(|(mark, _)| line < mark)), "marks lie above lines");
    assert_eq!(lines[0].1.points, [(0.0, Some(301.0)), (1.0, Some(501.0)), (2.0, Some(701.0))], "no trial of both");
    assert_eq!(marks[0].1.points, [(0.0, Some(305.0)), (1.0, Some(505.0)), (2.0, Some(705.0))]);
    assert_eq!(lines[1].1.points, [(0.0, Some(301.0)), (2.0, Some(501.0))]);
    for ((_, line), (_, mark)) in lines.iter().zip(&marks) {
        assert_eq!(line.colour, mark.colour);
    }
    assert_ne!(lines[0].1.colour, lines[1].1.colour);
    assert!(plate.chart.legend.iter().all(|entry| matches!(
        (&entry.swatch, entry.label.ends_with("predicted")),
        (Swatch::Shape(Shape::Points { .. }, _), false)
            | (Swatch::Shape(Shape::Line { .. }, _) | Swatch::Broken(_, None, _), true)
    )));
    // An interval at each mark that has two trials; the line has none.
    let intervals = plate.chart.pieces.iter().filter(|piece| matches!(piece, Piece::Interval { .. })).count();
    assert_eq!((intervals, plate.chart.pieces.len()), (6, 6));
    assert!(plate.caption.contains("not measured"), "{}", plate.caption);
    assert_eq!(plate.table.number("trials", 0), Some(2.0));
    canvas::picture(&plate.chart, (1200, 700), Format::Svg).unwrap();
}

#[test]
fn whatever_is_asked_for_they_are_not_pooled() {
    let run = || sweep_of(&[0, 1], 1, &[("direct", &[0, 1]), ("bypass", &[0, 1])]);
    let plate = drawn(run(), &over_loss(&["scheme"]));
    let labels: Vec<&str> = plate.chart.legend.iter().map(|entry| entry.label.as_str()).collect();
    assert_eq!(labels, ["direct, measured", "direct, predicted", "bypass, measured", "bypass, predicted"]);
    let only = |text: &str| View { only: vec![text.parse().unwrap()], ..over_loss(&[]) };
    let predicted = drawn(run(), &only("engine=predict"));
    let measured = drawn(run(), &only("engine=emulate"));
    assert_eq!(those(&predicted, |shape| matches!(shape, Shape::Line { .. })).len(), 2);
    assert_eq!(those(&measured, |shape| matches!(shape, Shape::Joined { .. })).len(), 2, "as without a model");
    for (line, marks) in predicted.chart.series.iter().zip(&measured.chart.series) {
        assert_eq!(line.colour, marks.colour, "a scheme's own colour");
    }
}

#[test]
fn a_single_predicted_point_is_seen_and_what_has_no_model_is_as_ever() {
    let plate = drawn(sweep_of(&[0, 1], 1, &[("direct", &[1])]), &over_loss(&[]));
    let crosses = those(&plate, |shape| matches!(shape, Shape::Points { marker: Marker::Cross, .. }));
    assert_eq!(crosses.iter().map(|(_, cross)| cross.points.clone()).collect::<Vec<_>>(), [[(1.0, Some(501.0))]]);
    let joined = those(&plate, |shape| matches!(shape, Shape::Joined { .. }));
    assert_eq!(joined.len(), 1, "bypass was not predicted");
    assert_eq!(joined[0].1.points, [(0.0, Some(300.0)), (1.0, Some(400.0))]);
}

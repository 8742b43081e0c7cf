//! Pictures of audiences and of who served them.

use super::*;
use crate::plan::Scheme;
use crate::plot::chart::Chart;
use crate::plot::{PlotError, gallery};
use crate::table::FrameRow;

/// A run of two schemes and that many viewers, one stream, changed at will. Peers serve the first viewer in 100 ms,
/// each further one 10 ms later.
fn sized(viewers: u32, change: impl FnOnce(&mut Manifest, &mut Vec<FrameRow>)) -> Loaded {
    let names: Vec<String> = (1..=viewers).map(|n| format!("hv{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (mut trials, mut frames) = (Vec::new(), Vec::new());
    for id in ["direct-1", "bypass-1"] {
        trials.push(trial(id, &names));
        for (place, viewer) in (0..).zip(&names) {
            let (delay, via) = match id {
                "direct-1" => (900.0, Via::Cdn),
                _ => (100.0 + 10.0 * f64::from(place), Via::Peer),
            };
            frames.extend((0..20).map(|n| frame(id, viewer, n, Some(delay), via)));
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
    change(&mut manifest, &mut frames);
    let mut loaded = Loaded::of(manifest, frames);
    for row in &mut loaded.audience {
        let peers = row.point.scheme == Scheme::Bypass;
        row.relay_bound_ms = Some(90.0 + f64::from(viewers));
        row.relay_bound_p95_ms = Some(190.0);
        (row.viewer_offload, row.peer_offload) = if peers { (Some(0.5), Some(0.75)) } else { (Some(0.0), Some(0.0)) };
        row.viewer_offload_bound = Some(0.9);
        row.cdn_copies = Some(if peers { 0.5 } else { f64::from(viewers) });
        row.broadcaster_copies = Some(if peers { 3.0 } else { 1.0 });
    }
    loaded
}

fn plain(viewers: u32) -> Loaded {
    sized(viewers, |_, _| {})
}

fn of(runs: &[Loaded], view: &View) -> Result<Plate, PlotError> {
    audience::plate(&select(runs, view)?, runs, &around(), Scale::Linear)
}

/// The points of the series that are thick and have markers: the worst viewer's, scheme by scheme.
fn thick(chart: &Chart) -> Vec<Vec<(f64, Option<f64>)>> {
    let is_thick = |shape| matches!(shape, Shape::Joined { .. });
    chart.series.iter().filter(|series| is_thick(series.shape)).map(|series| series.points.clone()).collect()
}

#[test]
fn delays_over_sizes_have_bounds_and_a_line_through_them() {
    let runs = [plain(8), plain(1), plain(2), plain(4)];
    let plate = of(&runs, &View::default()).unwrap();
    assert_eq!(plate.chart.x_ticks, [1.0, 2.0, 4.0, 8.0]);
    assert_eq!((plate.chart.x_scale, plate.chart.beside.len()), (Scale::Logarithmic, 1));
    let worst: Vec<Option<f64>> = thick(&plate.chart)[1].iter().map(|(_, y)| *y).collect();
    assert_eq!(worst, [100.0, 110.0, 130.0, 170.0].map(Some), "10 ms for each viewer more");
    // A little aside of the other scheme, but nearer to its size than to any other.
    assert!(
        thick(&plate.chart)[1].iter().zip([1.0, 2.0, 4.0, 8.0]).all(|((x, _), size)| (x / size - 1.0).abs() < 0.1)
    );
    let bounds = |chart: &Chart| -> Vec<Vec<(f64, Option<f64>)>> {
        chart.series.iter().filter(|s| s.dash == Dash::Strokes).map(|s| s.points.clone()).collect()
    };
    let bound = [(1.0, 91.0), (2.0, 92.0), (4.0, 94.0), (8.0, 98.0)].map(|(size, bound)| (size, Some(bound)));
    assert_eq!(bounds(&plate.chart), [bound.to_vec()]);
    assert_eq!(bounds(&plate.chart.beside[0])[0][0], (1.0, Some(190.0)));
    let band = plate.chart.pieces.iter().find_map(|piece| match piece {
        Piece::Band { points, .. } if points[0].1 < 500.0 => Some(points.clone()),
        _ => None,
    });
    assert_eq!(band.unwrap().iter().map(|(_, low, high)| (*low, *high)).nth(3), Some((100.0, 170.0)));
    // bypass grows by 10 ms a viewer: 90 + 10·N.
    let told: Vec<&str> = plate.chart.legend.iter().map(|entry| entry.label.as_str()).collect();
    assert!(told.iter().any(|label| label.starts_with("bypass, p50: 90.0 + 10.0·N, R² 1.000 (else ")), "{told:?}");
    let row = (0..8).find(|row| {
        plate.table.number("viewers", *row) == Some(8.0)
            && plate.table.number("delay_p50_worst_ms", *row) == Some(170.0)
    });
    let row = row.unwrap();
    assert_eq!(plate.table.number("linear_b_ms", row), Some(10.0));
    assert!(plate.table.number("log2_r2", row).unwrap() < 0.95);
    assert_eq!(plate.table.number("delay_p50_median_ms", row), Some(135.0));
}

#[test]
fn one_size_is_a_point_with_its_bound() {
    let runs = [plain(4)];
    let plate = of(&runs, &View::default()).unwrap();
    assert_eq!(thick(&plate.chart).iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
    let intervals: Vec<(f64, f64)> = plate
        .chart
        .pieces
        .iter()
        .filter_map(|p| if let Piece::Interval { low, high, .. } = p { Some((*low, *high)) } else { None })
        .collect();
    assert_eq!(intervals, [(900.0, 900.0), (100.0, 130.0)], "from the best viewer to the worst");
    let bound = plate.chart.series.iter().find(|series| series.dash == Dash::Strokes).unwrap();
    assert!(bound.points[0].0 < 4.0 && bound.points[1].0 > 4.0 && bound.points.iter().all(|p| p.1 == Some(94.0)));
    assert!(plate.chart.legend.iter().all(|entry| !entry.label.contains("R²")));
    assert!(!plate.chart.is_empty());
}

#[test]
fn delays_of_very_different_size_have_a_logarithmic_axis() {
    let far = |_: &mut Manifest, frames: &mut Vec<FrameRow>| {
        let direct = frames.iter_mut().filter(|frame| frame.trial == "direct-1");
        direct.for_each(|frame| frame.delay_ms = Some(30_000.0));
    };
    let runs = [sized(4, far)];
    assert_eq!(of(&runs, &View::default()).unwrap().chart.y_scale, Scale::Logarithmic);
    assert_eq!(of(&[plain(4)], &View::default()).unwrap().chart.y_scale, Scale::Linear);
}

#[test]
fn unfit_audiences_are_out_or_marked() {
    let unfit = |manifest: &mut Manifest, _: &mut Vec<FrameRow>| {
        manifest.trials[1].unfit = vec!["CPU pressure 31 %".into()];
    };
    let runs = [plain(2), sized(4, unfit)];
    let plate = of(&runs, &View::default()).unwrap();
    let sizes = |plate: &Plate| -> Vec<Option<f64>> {
        (0..plate.table.rows()).map(|row| plate.table.number("viewers", row)).collect()
    };
    assert_eq!(sizes(&plate), [2.0, 4.0, 2.0].map(Some), "bypass at 4 is unfit");
    assert!(plate.chart.subtitle.ends_with("3 of 4 trials: 1 unfit or partial left out"), "{}", plate.chart.subtitle);
    let with = View { include_unfit: true, ..View::default() };
    let plate = of(&runs, &with).unwrap();
    assert_eq!(sizes(&plate), [2.0, 4.0, 2.0, 4.0].map(Some));
    assert!(plate.chart.legend[1].label.contains("1 unfit or partial"), "{}", plate.chart.legend[1].label);
    let all = |manifest: &mut Manifest, _: &mut Vec<FrameRow>| {
        manifest.trials.iter_mut().for_each(|record| record.unfit = vec!["CPU pressure 31 %".into()]);
    };
    let told = of(&[sized(4, all)], &View::default()).err().unwrap().to_string();
    assert!(told.contains("audience-plot") && told.contains("--include-unfit"), "{told}");
    let nothing = |_: &mut Manifest, frames: &mut Vec<FrameRow>| frames.clear();
    let told = of(&[sized(4, nothing)], &View::default()).err().unwrap().to_string();
    assert!(told.contains("the runs have no frames"), "{told}");
}

#[test]
fn who_carries_is_shares_at_the_left_and_copies_at_the_right() {
    let runs = [plain(2), plain(4)];
    let plate = offload::plate(&select(&runs, &View::default()).unwrap(), &runs, &around()).unwrap();
    let values = |chart: &Chart, dash| -> Vec<Vec<f64>> {
        let of_dash = chart.series.iter().filter(|series| series.dash == dash);
        of_dash.map(|series| series.points.iter().filter_map(|(_, y)| *y).collect()).collect()
    };
    let (left, right) = (&plate.chart, &plate.chart.beside[0]);
    assert_eq!(values(left, Dash::Whole), [[0.0, 0.0], [50.0, 50.0]], "from viewers");
    assert_eq!(values(left, Dash::Strokes), [[0.0, 0.0], [75.0, 75.0]], "from anyone but the CDN");
    assert_eq!(values(left, Dash::Dots), [[90.0, 90.0]]);
    assert_eq!(values(right, Dash::Whole), [[2.0, 4.0], [0.5, 0.5]], "sent by the CDN");
    assert_eq!(values(right, Dash::Strokes), [[1.0, 1.0], [3.0, 3.0]]);
    assert_eq!(plate.table.number("cdn_copies", 1), Some(4.0));
    let mut unknown = plain(2);
    unknown.audience.clear();
    let unknown = [unknown];
    let told = offload::plate(&select(&unknown, &View::default()).unwrap(), &unknown, &around()).err().unwrap();
    assert!(matches!(told, PlotError::Empty { picture: "offload-plot", .. }), "{told}");
}

/// hv1 has the stream from the broadcaster, hv2 from hv1 after five frames of the CDN, hv3 from hv2 but for two
/// frames, hv4 nothing.
fn tree_run() -> Loaded {
    sized(4, |_, frames| {
        for frame in frames.iter_mut().filter(|frame| frame.trial == "bypass-1") {
            let server = match (frame.viewer.as_str(), frame.index) {
                ("hv1", _) => "hb",
                ("hv2", 0..5) => "hs",
                ("hv2", _) => "hv1",
                _ => "hv2",
            };
            let lost = frame.viewer == "hv4" || (frame.viewer == "hv3" && (10..12).contains(&frame.index));
            frame.server = (!lost).then(|| server.to_owned());
            if lost {
                (frame.arrival_ns, frame.delay_ms, frame.via) = (None, None, None);
            }
        }
    })
}

fn planned<'r>(run: &'r Loaded, id: &str) -> &'r crate::plan::Trial {
    run.manifest.plan.trials.iter().find(|trial| trial.id == id).unwrap()
}

#[test]
fn a_tree_is_what_most_frames_took() {
    let run = tree_run();
    let plate = tree::plate(&run, planned(&run, "bypass-1"), &View::default()).unwrap();
    let nodes = &plate.chart.branches.as_ref().unwrap().nodes;
    let told: Vec<_> = nodes
        .iter()
        .map(|node| {
            let parent = node.parent.map(|(parent, share)| (nodes[parent].name.as_str(), share));
            (node.name.as_str(), node.below.as_str(), parent)
        })
        .collect();
    let expected = [
        ("hb", "source", None),
        ("hv1", "100", Some(("hb", 1.0))),
        ("hv2", "110", Some(("hv1", 0.75))),
        ("hv3", "120", Some(("hv2", 1.0))),
        ("hv4", "–", None),
    ];
    assert_eq!(told, expected, "the CDN is nobody's parent");
    assert_eq!([0, 1, 2].map(|row| plate.table.number("viewers_above", row)), [0.0, 1.0, 2.0].map(Some));
    assert_eq!((plate.table.number("viewers_above", 3), plate.table.number("missing", 3)), (None, Some(20.0)));
    // In direct all hang from the CDN, which is no viewer.
    let plate = tree::plate(&run, planned(&run, "direct-1"), &View::default()).unwrap();
    let nodes = &plate.chart.branches.as_ref().unwrap().nodes;
    assert_eq!(nodes.iter().filter(|node| node.is_root).count(), 2);
    let one = View { only: vec!["viewer=hv3".parse().unwrap()], ..View::default() };
    let plate = tree::plate(&run, planned(&run, "bypass-1"), &one).unwrap();
    let nodes = &plate.chart.branches.as_ref().unwrap().nodes;
    let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["hb", "hv2", "hv3"], "a parent that was left out is where its children hang");
}

#[test]
fn rows_are_coloured_by_who_served() {
    let run = tree_run();
    let plate = servers::plate(&run, planned(&run, "bypass-1"), &View::default()).unwrap();
    assert_eq!(plate.chart.rows, ["hv1", "hv2", "hv3", "hv4"]);
    let spans: Vec<(usize, &str, f64, f64)> = plate
        .chart
        .pieces
        .iter()
        .map(|piece| match piece {
            Piece::Span { row, from, to, label, .. } => (*row, label.as_str(), *from, *to),
            other => panic!("{other:?}"),
        })
        .collect();
    // Frames are born every 40 ms from 1 s on; what is missing is drawn last.
    let rounded: Vec<(usize, &str, i64, i64)> = spans
        .iter()
        .map(|(row, label, from, to)| (*row, *label, (from * 1e3).round() as i64, (to * 1e3).round() as i64))
        .collect();
    let expected = [
        (0, "hb", 1000, 1800),
        (1, "hs", 1000, 1200),
        (1, "hv1", 1200, 1800),
        (2, "hv2", 1000, 1400),
        (2, "hv2", 1480, 1800),
        (2, "", 1400, 1480),
        (3, "", 1000, 1800),
    ];
    assert_eq!(rounded, expected);
    let told: Vec<&str> = plate.chart.legend.iter().map(|entry| entry.label.as_str()).collect();
    assert_eq!(told, ["hs (CDN)", "hb (broadcaster)", "hv1", "hv2", "never arrived"]);
    assert_eq!((plate.table.number("changes", 1), plate.table.number("missing", 2)), (Some(1.0), Some(2.0)));
    assert_eq!(plate.points.unwrap().rows(), 7);
}

#[test]
fn more_viewers_than_can_be_read_are_told_of() {
    let run = plain(70);
    let plate = servers::plate(&run, planned(&run, "bypass-1"), &View::default()).unwrap();
    assert_eq!((plate.chart.rows.len(), plate.chart.rows[63].as_str()), (64, "hv64"));
    assert!(plate.caption.contains("The first 64 of 70 viewers"), "{}", plate.caption);
    let others = View { only: vec!["viewer=hv69,hv70".parse().unwrap()], ..View::default() };
    let plate = servers::plate(&run, planned(&run, "bypass-1"), &others).unwrap();
    assert_eq!(plate.chart.rows, ["hv69", "hv70"]);
}

#[test]
fn each_trial_with_peers_has_its_pictures_and_what_has_none_says_so() {
    let view = View::default();
    let names = |runs: &[Loaded]| -> (Vec<String>, Vec<String>) {
        let drawn = gallery(runs, &[Family::Tree, Family::Servers], &view, &Picture::default()).unwrap();
        (
            drawn.shown.into_iter().map(|shown| shown.name).collect(),
            drawn.left_out.into_iter().map(|left_out| left_out.why.to_string()).collect(),
        )
    };
    let (shown, left_out) = names(&[tree_run()]);
    assert_eq!(
        (shown, left_out.len()),
        (vec!["tree-plot-bypass-1".to_owned(), "servers-plot-bypass-1".to_owned()], 0)
    );
    let never_run = |manifest: &mut Manifest, _: &mut Vec<FrameRow>| manifest.trials[1].state = TrialState::Planned;
    let (shown, left_out) = names(&[sized(2, never_run)]);
    assert_eq!((shown.len(), left_out.len()), (0, 2));
    assert!(left_out[0].contains("tree-plot") && left_out[0].contains("peers"), "{left_out:?}");
    let nothing = |_: &mut Manifest, frames: &mut Vec<FrameRow>| frames.retain(|frame| frame.trial == "direct-1");
    assert!(names(&[sized(2, nothing)]).1[1].contains("the source of no frame of bypass-1 is known"));
    // Of a run of many trials the first have theirs, and the others are told of.
    let many = |manifest: &mut Manifest, _: &mut Vec<FrameRow>| {
        for repetition in 2..20 {
            let id = format!("bypass-{repetition}");
            let mut more = trial(&id, &["hv1"]);
            more.point.repetition = repetition;
            manifest.plan.trials.push(more);
            manifest.trials.push(record(&id));
        }
    };
    let (_, left_out) = names(&[sized(1, many)]);
    assert!(left_out.iter().any(|why| why.contains("3 more trials with peers")), "{left_out:?}");
}

#[test]
fn a_sweep_is_over_the_audience_where_that_differs() {
    let runs = [plain(1), plain(4)];
    let view = View::default();
    let plate = sweep::plate(&select(&runs, &view).unwrap(), &runs, &view, &around(), Scale::Linear).unwrap();
    assert_eq!(plate.chart.x_label, "viewers");
    assert_eq!([0, 1].map(|row| plate.table.number("viewers", row)), [1.0, 4.0].map(Some));
    let only = View { only: vec!["viewers=4".parse().unwrap()], ..View::default() };
    assert_eq!(select(&runs, &only).unwrap().trials, 2);
    let by_size = View { by: vec![Key::from("viewers")], ..View::default() };
    let groups = select(&runs, &by_size).unwrap().groups.iter().map(|group| group.name()).collect::<Vec<_>>();
    assert_eq!(groups, ["1 viewer", "4 viewers"]);
}

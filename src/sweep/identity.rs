//! What a trial of a sweep is called, and when its turn is.
//!
//! An id stands for all that decides a trial's outcome: its resolved plan with its parameters, what makes the links
//! and forwards packets, the seed, the content of a video file, and the generation of livectl itself. What is done
//! under an id need never be done again.

use std::collections::HashMap;

use fastrand::Rng;
use livectl_wire::frame::FrameId;
use serde::Serialize;

use crate::plan::{Datapath, LinkKind, Parameters, Plan, Scheme, Trial, VideoSource};
use crate::predict;
use crate::store::{FileRecord, Planned, StoreError};

/// Goes up when livectl changes in such a way that trials come out otherwise than those of before.
const GENERATION: u32 = 1;
/// Hex digits of an id's hash: that two of a million trials share one has a chance of one in five hundred.
const DIGITS: usize = 12;

/// All that decides the outcome of the repetitions of a point.
#[derive(Serialize)]
struct Deciding<'a> {
    generation: u32,
    seed: u64,
    trial: &'a Trial,
    video: Option<&'a FileRecord>,
    /// By which model it is predicted.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<u32>,
}

/// Settles what trials leave open, names each after what decides its outcome, and brings them into the order in which
/// they are tried: all points of the first repetition, shuffled, then those of the second. The schemes of a point
/// follow each other, so that they meet the machine in one mood. Of each repetition the predicted points come first:
/// they take little, and what is measured is then seen against them.
///
/// # Errors
/// [`StoreError::Io`] for a video file that cannot be read.
pub fn identified(mut plan: Plan, links: LinkKind, datapath: Datapath) -> Result<Plan, StoreError> {
    let mut videos: HashMap<std::path::PathBuf, FileRecord> = HashMap::new();
    let mut hashes: HashMap<(Scheme, Parameters), String> = HashMap::new();
    for trial in &mut plan.trials {
        // A prediction is the same on all machines.
        (trial.links, trial.datapath) = match trial.point.is_predicted() {
            true => (predict::LINKS, Datapath::User),
            false => (links, datapath),
        };
    }
    for trial in plan.trials.iter().filter(|trial| trial.point.repetition == 1) {
        let video = match &trial.video.source {
            VideoSource::File { path } => {
                if !videos.contains_key(path) {
                    videos.insert(path.clone(), FileRecord::of(path)?);
                }
                videos.get(path)
            }
            VideoSource::Generated { .. } => None,
        };
        let nameless = Trial { id: String::new(), ..trial.clone() };
        let model = trial.point.is_predicted().then_some(predict::MODEL);
        let deciding = Deciding { generation: GENERATION, seed: plan.seed, trial: &nameless, video, model };
        let text = serde_json::to_vec(&deciding).map_err(|error| StoreError::Io {
            doing: "put into JSON for",
            path: trial.id.clone().into(),
            source: error.into(),
        })?;
        let hash = FrameId::of(&text).to_string().chars().take(DIGITS).collect();
        hashes.insert((trial.point.scheme, trial.point.parameters.clone()), hash);
    }
    for trial in &mut plan.trials {
        let (scheme, repetition) = (trial.point.scheme, trial.point.repetition);
        let hash = hashes.get(&(scheme, trial.point.parameters.clone())).map_or("", String::as_str);
        trial.id = format!("{scheme}-{hash}-{repetition}");
    }
    plan.trials = shuffled(plan.trials, plan.seed);
    Ok(plan)
}

/// Fisher and Yates's shuffle of the points of each repetition, and of the schemes of each point.
fn shuffled(trials: Vec<Trial>, seed: u64) -> Vec<Trial> {
    let mut repetitions: std::collections::BTreeMap<u32, Vec<Vec<Trial>>> = std::collections::BTreeMap::new();
    for trial in trials {
        let points = repetitions.entry(trial.point.repetition).or_default();
        match points.last_mut().filter(|point| point[0].point.parameters == trial.point.parameters) {
            Some(point) => point.push(trial),
            None => points.push(vec![trial]),
        }
    }
    let mut all = Vec::new();
    for (repetition, points) in repetitions {
        let (predicted, played): (Vec<_>, Vec<_>) =
            points.into_iter().partition(|point| point[0].point.is_predicted());
        // The same order, whether or not there are predictions as well.
        for mut points in [predicted, played] {
            let mut rng = Rng::with_seed(seed ^ u64::from(repetition).wrapping_mul(0x9E37_79B9_7F4A_7C15));
            rng.shuffle(&mut points);
            for mut point in points {
                rng.shuffle(&mut point);
                all.append(&mut point);
            }
        }
    }
    all
}

/// The trials as `sweep.json` has them.
#[must_use]
pub fn planned(plan: &Plan) -> Vec<Planned> {
    let of = |trial: &Trial| {
        let (takes, bytes) = match trial.point.is_predicted() {
            true => (predict::cost::takes(trial), predict::cost::leaves(trial)),
            false => (trial.timeline.end, trial.disk_bytes()),
        };
        Planned { id: trial.id.clone(), point: trial.point.clone(), seconds: takes.as_secs_f64(), bytes }
    };
    plan.trials.iter().map(of).collect()
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;

    /// The plan of recipes/sweep-smoke.yaml, changed.
    pub(in crate::sweep) fn plan(change: impl Fn(&str) -> String) -> Plan {
        let text = change(include_str!("../../recipes/sweep-smoke.yaml"));
        let plan = crate::recipe::from_str("recipes/x.yaml", &text).unwrap().plan;
        identified(plan, LinkKind::Emulated, Datapath::User).unwrap()
    }

    fn ids(plan: &Plan) -> BTreeSet<String> {
        plan.trials.iter().map(|trial| trial.id.clone()).collect()
    }

    #[test]
    fn predictions_leave_what_is_measured_as_it_is_and_come_first() {
        let before = plan(|text| format!("repetitions: 2\n{text}"));
        let both = plan(|text| {
            format!("repetitions: 2\n{}", text.replace("matrix:", "matrix:\n  engine: [emulate, predict]"))
        });
        let predicted: Vec<&Trial> = both.trials.iter().filter(|trial| trial.point.is_predicted()).collect();
        let played: Vec<&Trial> = both.trials.iter().filter(|trial| !trial.point.is_predicted()).collect();
        assert_eq!(played, before.trials.iter().collect::<Vec<_>>(), "the same trials in the same order");
        assert_eq!((predicted.len(), both.trials.len()), (16, 32));
        let firsts: Vec<bool> = both.trials.iter().map(|trial| trial.point.is_predicted()).collect();
        assert_eq!(firsts, [[true; 8], [false; 8], [true; 8], [false; 8]].concat());
        let text = include_str!("../../recipes/sweep-smoke.yaml").replace("matrix:", "engine: predict\nmatrix:");
        let raw = || crate::recipe::from_str("recipes/x.yaml", &text).unwrap().plan;
        let here = identified(raw(), LinkKind::Netem, Datapath::Kernel).unwrap();
        let there = identified(raw(), LinkKind::Emulated, Datapath::User).unwrap();
        assert_eq!(here, there, "a prediction is the same on all machines");
        assert!(ids(&here).is_subset(&ids(&both)));
        let took = super::planned(&both);
        assert!(took.iter().all(|trial| trial.is_predicted() == (trial.seconds < 1.0)), "no timeline: {took:?}");
        assert!(took.iter().all(|trial| trial.is_predicted() == (trial.bytes < 500_000)), "no captures: {took:?}");
    }

    #[test]
    fn an_id_stands_for_what_decides_the_outcome_and_nothing_else() {
        let before = plan(str::to_owned);
        assert_eq!(ids(&before).len(), 8);
        assert_eq!(before, plan(|text| text.replace("# A sweep", "# The sweep").replace("repeat", "")));
        let more = plan(|text| format!("repetitions: 2\n{text}"));
        assert!(ids(&more).is_superset(&ids(&before)), "what is done once is the first of two");
        let wider = plan(|text| text.replace("[5 ms, 25 ms]", "[5 ms, 50 ms]"));
        assert_eq!(ids(&wider).intersection(&ids(&before)).count(), 4);
        for (from, to) in
            [("frames: 90", "frames: 91"), ("delay: 15 ms", "delay: 16 ms"), ("schemes:", "seed: 2\nschemes:")]
        {
            let changed = plan(|text| text.replace(from, to));
            assert_eq!(ids(&changed).intersection(&ids(&before)).count(), 0, "{to}");
        }
        let text = include_str!("../../recipes/sweep-smoke.yaml");
        let raw = crate::recipe::from_str("recipes/x.yaml", text).unwrap().plan;
        let netem = identified(raw, LinkKind::Netem, Datapath::User).unwrap();
        assert_eq!(ids(&netem).intersection(&ids(&before)).count(), 0);
    }

    #[test]
    fn a_first_pass_over_all_points_comes_before_repetitions_and_schemes_stay_together() {
        let plan = plan(|text| format!("repetitions: 3\n{text}"));
        let repetitions: Vec<u32> = plan.trials.iter().map(|trial| trial.point.repetition).collect();
        assert!(repetitions.is_sorted());
        for pair in plan.trials.chunks(2) {
            assert_eq!(pair[0].point.parameters, pair[1].point.parameters);
        }
        let orders: BTreeSet<Vec<String>> = plan
            .trials
            .chunks(8)
            .map(|pass| pass.iter().map(|trial| trial.id.rsplit_once('-').unwrap().0.to_owned()).collect())
            .collect();
        assert!(orders.len() > 1, "each pass has an order of its own");
        assert_eq!(planned(&plan)[0].seconds, 8.0);
    }
}

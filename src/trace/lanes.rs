//! The ways of a trial's video over its timeline, for the floors.

use std::io::BufRead;
use std::path::Path;

use serde::Deserialize;

use super::floor::Lane;
use crate::file;
use crate::plan::Trial;
use crate::store::TrialDir;

/// Each direction of each link, and when the timeline began on which they change.
pub(super) struct Lanes {
    /// In the plan's order: from the link's end `a` to its end `b`, and back. `None`: when they changed is not known.
    links: Option<Vec<[Lane; 2]>>,
    /// Second zero of the timeline in nanoseconds of CLOCK_REALTIME; where no link changes any moment will do.
    pub(super) zero_ns: i64,
}

impl Lanes {
    /// Those of a trial in its folder.
    pub(super) fn read(dir: &Path, trial: &Trial, problems: &mut Vec<String>) -> Lanes {
        if trial.link_changes.is_empty() {
            return Lanes::planned(trial, 0);
        }
        match timeline_zero(&TrialDir::at(dir).events()) {
            Some(zero_ns) => Lanes::planned(trial, zero_ns),
            None => {
                let problem = "events.jsonl does not tell when the timeline began, so when links changed and what the floors were is not known";
                problems.push(problem.to_owned());
                Lanes { links: None, zero_ns: 0 }
            }
        }
    }

    /// As planned, on a timeline that begins at `zero_ns`.
    pub(super) fn planned(trial: &Trial, zero_ns: i64) -> Lanes {
        let lanes = |(n, link): (usize, &crate::plan::Link)| {
            [true, false].map(|forward| Lane::changing(&link.shape, &trial.course(n, forward)))
        };
        Lanes { links: Some(trial.network.links.iter().enumerate().map(lanes).collect()), zero_ns }
    }

    /// Every way that video can take from a broadcaster to a viewer.
    pub(super) fn paths(&self, trial: &Trial, broadcaster: &str, viewer: &str) -> Vec<Vec<Lane>> {
        let Some(links) = &self.links else { return Vec::new() };
        let ways = trial.network.video_ways(broadcaster, viewer);
        let lane = |link: usize, forward: bool| links.get(link).map(|lanes| lanes[usize::from(!forward)].clone());
        ways.iter().map(|way| way.iter().filter_map(|passed| lane(passed.link, passed.forward)).collect()).collect()
    }
}

/// When second zero was, as a trial's events tell it.
fn timeline_zero(events: &Path) -> Option<i64> {
    #[derive(Deserialize)]
    struct Line {
        event: String,
        time_ns: i64,
    }
    let lines = std::io::BufReader::new(file::open(events).ok()?).split(b'\n');
    let mut lines = lines.map_while(Result::ok).filter_map(|line| serde_json::from_slice::<Line>(&line).ok());
    lines.find(|line| line.event == "timeline_zero").map(|line| line.time_ns)
}

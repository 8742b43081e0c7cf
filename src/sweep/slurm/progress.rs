//! How a session with Slurm stands, from its logs and, where Slurm can be asked, from its queue.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::jobs::{Down, Job, explain};
use super::log::Logs;
use super::node;
use crate::run::event::Phase;
use crate::store::Planned;
use crate::sweep::session::{Did, Line};

/// How a session with Slurm stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// The last round, its arrays and the job that comes after them; `None`: nothing was handed over.
    pub submitted: Option<(u32, Vec<String>, String)>,
    /// Trials that run, by the node that they run on.
    pub running: Vec<Running>,
    /// The end of the session, if it has come.
    pub ended: Option<(Timestamp, String)>,
    /// Whether there are jobs that may still do something; as far as is known.
    pub is_live: bool,
    /// What else there is to say, a line each.
    pub notes: Vec<String>,
}

/// A trial that runs on a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Running {
    /// Name of the node.
    pub node: String,
    /// Slurm's name of the task.
    pub task: String,
    /// The trial that it runs.
    pub trial: Planned,
    /// Phase of the trial; `None`: it has not begun one.
    pub phase: Option<Phase>,
    /// When that phase began, or the trial if it has none.
    pub since: Timestamp,
    /// Whether Slurm knows of such a task; `None`: it cannot be asked.
    pub is_known: Option<bool>,
}

/// What Slurm says: its jobs of this session and nodes without jobs, or why it says nothing.
pub type Asked = Result<(Vec<Job>, Vec<Down>), String>;

impl Progress {
    /// Puts together what logs and queue tell.
    #[must_use]
    pub fn of(logs: &Logs, trials: &[Planned], asked: &Asked) -> Progress {
        let planned: BTreeMap<&str, &Planned> = trials.iter().map(|trial| (trial.id.as_str(), trial)).collect();
        let ended = logs.ended().map(|(time, why)| (time, why.to_owned()));
        let submitted = logs.submitted().map(|(round, jobs, next)| (round, jobs.to_vec(), next.to_owned()));
        let mut notes = Vec::new();
        let mut running: Vec<Running> =
            logs.nodes.iter().filter_map(|(node, lines)| at_work(node, lines, &planned)).collect();
        for (node, lines) in &logs.nodes {
            match node::failures(lines) {
                (count, Some(why)) if count >= node::PATIENCE => {
                    notes.push(format!("node {node} is excluded: {why}"))
                }
                (_, Some(why)) => notes.push(format!("node {node} has failed: {why}")),
                (_, None) => {}
            }
        }
        let is_live = match asked {
            Ok((jobs, down)) => {
                let live: BTreeSet<String> = jobs.iter().filter(|job| job.is_running()).map(Job::name).collect();
                for trial in &mut running {
                    trial.is_known = Some(live.contains(&trial.task));
                }
                if ended.is_none() {
                    notes.extend(explain(jobs, down, submitted.as_ref().map(|(.., next)| next.as_str())));
                }
                jobs.iter().any(Job::is_live)
            }
            Err(why) => {
                if ended.is_none() {
                    notes.push(format!("Slurm was not asked ({why}): this is from the folder alone"));
                }
                true
            }
        };
        if ended.is_none() && !is_live {
            match &submitted {
                Some((_, arrays, _)) if logs.nodes.is_empty() => notes.push(format!(
                    "its jobs are over, and none has written to this folder: is it shared with the nodes, under the same path? \
                     What they printed is in /tmp/livectl-{}_*.out on them",
                    arrays.first().map_or("*", String::as_str)
                )),
                _ => notes.push("its jobs are over, and no further round was submitted".to_owned()),
            }
        }
        Progress { submitted, running, is_live: is_live && ended.is_none(), ended, notes }
    }

    /// How long what takes so long on one node takes on those that work.
    #[must_use]
    pub fn shared(&self, alone: Duration) -> Duration {
        let nodes = self.running.iter().map(|running| &running.node).collect::<BTreeSet<_>>().len();
        alone / u32::try_from(nodes.max(1)).unwrap_or(1)
    }
}

/// The trial that a node is at, as its log tells.
fn at_work(node: &str, lines: &[Line], planned: &BTreeMap<&str, &Planned>) -> Option<Running> {
    let mut task = "";
    let mut now: Option<(&str, Option<Phase>, Timestamp)> = None;
    for line in lines {
        match &line.what {
            Did::TaskStarted { task: name, trial, .. } => {
                task = name;
                now = Some((trial, None, line.time));
            }
            Did::TrialStarted { trial, .. } => now = Some((trial, None, line.time)),
            Did::Phase { trial, phase } => now = Some((trial, Some(*phase), line.time)),
            Did::TrialEnded { .. } | Did::NodeFailed { .. } => now = None,
            _ => {}
        }
    }
    let (trial, phase, since) = now?;
    let trial = (*planned.get(trial)?).clone();
    Some(Running { node: node.to_owned(), task: task.to_owned(), trial, phase, since, is_known: None })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::plan::{Point, Scheme};
    use crate::store::TrialState;
    use crate::sweep::slurm::jobs::parse;
    use crate::sweep::slurm::node::tests::{ended, lines, started, task};

    fn logs() -> Logs {
        let submitted =
            Did::Submitted { round: 1, jobs: vec!["7".into()], next: "8".into(), trials: 2, without: vec![] };
        let phase = Did::Phase { trial: "b".into(), phase: Phase::Stream };
        Logs {
            session: "s".into(),
            own: lines(&[submitted]),
            nodes: BTreeMap::from([
                ("n1".to_owned(), lines(&[task(1, "a"), started("a"), ended("a", TrialState::Done, None)])),
                ("n2".to_owned(), lines(&[task(1, "b"), started("b"), phase])),
            ]),
        }
    }

    fn trials() -> Vec<Planned> {
        ["a", "b"]
            .map(|id| Planned { id: id.into(), point: Point::new(Scheme::Direct, 1), seconds: 4.0, bytes: 1 })
            .to_vec()
    }

    #[test]
    fn what_runs_is_told_by_the_node_and_the_queue_says_whether_it_still_does() {
        let none = Progress::of(&logs(), &trials(), &Err("there is no squeue".into()));
        assert_eq!((none.is_live, none.running.len(), none.running[0].is_known), (true, 1, None));
        let Running { node, phase, task, .. } = &none.running[0];
        assert_eq!((node.as_str(), *phase, task.as_str()), ("n2", Some(Phase::Stream), "7_1"));
        assert!(none.notes[0].contains("there is no squeue"), "{:?}", none.notes);

        let queue = |text: &str| Ok((parse(text), Vec::new()));
        let live = Progress::of(&logs(), &trials(), &queue("7|1|RUNNING|n2|None|\n8|N/A|PENDING||Dependency|\n"));
        assert_eq!((live.is_live, live.running[0].is_known, live.notes.len()), (true, Some(true), 0));
        let gone = Progress::of(&logs(), &trials(), &queue("7|1|FAILED|n2|None|\n8|N/A|PENDING||Dependency|\n"));
        assert_eq!((gone.is_live, gone.running[0].is_known), (true, Some(false)));
        assert_eq!(gone.shared(Duration::from_secs(60)), Duration::from_secs(60));
    }

    #[test]
    fn jobs_that_are_over_without_an_end_are_told_and_so_is_a_folder_that_is_not_shared() {
        let over = Ok((parse("7|1|FAILED|n2|None|\n8|N/A|CANCELLED||None|\n"), Vec::new()));
        let told = Progress::of(&logs(), &trials(), &over);
        assert!(!told.is_live && told.notes[0].contains("no further round was submitted"), "{:?}", told.notes);
        let silent = Progress::of(&Logs { nodes: BTreeMap::new(), ..logs() }, &trials(), &over);
        assert!(
            silent.notes[0].contains("is it shared with the nodes")
                && silent.notes[0].contains("/tmp/livectl-7_*.out")
        );
        let mut ended = logs();
        ended.own.extend(lines(&[Did::SessionEnded { why: "finished".into() }]));
        let ended = Progress::of(&ended, &trials(), &over);
        assert_eq!((ended.is_live, ended.notes.len(), ended.ended.unwrap().1.as_str()), (false, 0, "finished"));
    }
}

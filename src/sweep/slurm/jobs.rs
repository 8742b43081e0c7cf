//! What Slurm's programs print of jobs and nodes, and what it means for those who wait.

use std::collections::{BTreeMap, BTreeSet};

/// The format that [`parse`] reads: `squeue -h -r -t all -o …`. The last field may hold anything.
pub const FORMAT: &str = "%F|%K|%T|%N|%r|%k";
/// The format that [`parse_nodes`] reads: `sinfo -h -N -o …`.
pub const NODE_FORMAT: &str = "%N|%T|%E";

/// Nodes without jobs that are told of.
const NODES: usize = 6;

/// A job, or a task of an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The job's number; an array's, of its tasks.
    pub job: String,
    /// Which task of the array; `None`: it is no array.
    pub task: Option<u32>,
    /// Its state, as `squeue` has it: `PENDING`, `RUNNING`, `COMPLETED`, ….
    pub state: String,
    /// Where it runs, or ran.
    pub node: Option<String>,
    /// Why it waits: `Resources`, `JobHeldUser`, ….
    pub reason: String,
    /// What a task has noted of itself.
    pub comment: Option<String>,
}

/// A node that gets no jobs, with its state and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Down {
    /// Name of the node.
    pub node: String,
    /// Its state, as `sinfo` has it: `drained`, `down*`, ….
    pub state: String,
    /// What whoever drained it says.
    pub reason: String,
}

impl Job {
    /// Whether it waits for its turn.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        matches!(
            self.state.as_str(),
            "PENDING" | "REQUEUED" | "REQUEUE_HOLD" | "REQUEUE_FED" | "SUSPENDED" | "CONFIGURING"
        )
    }

    /// Whether it runs, or is just ending.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.state.as_str(), "RUNNING" | "COMPLETING" | "SIGNALING" | "STAGE_OUT" | "STOPPED")
    }

    /// Whether it is still to come to its end.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.is_pending() || self.is_running()
    }

    fn is_held(&self) -> bool {
        let reason = self.reason.to_lowercase();
        self.is_pending() && (reason.contains("held") || self.state == "REQUEUE_HOLD")
    }

    /// As `scontrol` and `scancel` take it: `17_3`, or `17`.
    #[must_use]
    pub fn name(&self) -> String {
        self.task.map_or_else(|| self.job.clone(), |task| format!("{}_{task}", self.job))
    }
}

/// Reads what `squeue` prints in [`FORMAT`]; lines that it does not understand are passed over.
#[must_use]
pub fn parse(text: &str) -> Vec<Job> {
    let job = |line: &str| {
        let mut fields = line.trim().splitn(6, '|').map(str::trim);
        let mut next = || fields.next();
        let known = |text: &&str| !matches!(*text, "" | "N/A" | "(null)" | "n/a");
        let job = Job {
            job: next().filter(|job| job.parse::<u64>().is_ok())?.to_owned(),
            task: next()?.parse().ok(),
            state: next()?.to_owned(),
            node: next().filter(known).map(str::to_owned),
            reason: next()?.to_owned(),
            comment: next().filter(known).map(str::to_owned),
        };
        Some(job)
    };
    text.lines().filter_map(job).collect()
}

/// Reads what `sinfo` prints in [`NODE_FORMAT`], and keeps nodes that get no jobs.
#[must_use]
pub fn parse_nodes(text: &str) -> Vec<Down> {
    let mut seen = BTreeSet::new();
    let node = |line: &str| {
        let mut fields = line.trim().splitn(3, '|').map(str::trim);
        let (node, state, reason) = (fields.next()?, fields.next()?, fields.next()?);
        let down = Down { node: node.to_owned(), state: state.to_owned(), reason: reason.to_owned() };
        // A node is listed once for each of its partitions.
        (is_down(state) && seen.insert(node.to_owned())).then_some(down)
    };
    text.lines().filter_map(node).collect()
}

/// The names of the others: nodes that get jobs, or have some.
#[must_use]
pub fn parse_up(text: &str) -> BTreeSet<String> {
    let node = |line: &str| {
        let mut fields = line.trim().splitn(3, '|').map(str::trim);
        let (node, state) = (fields.next()?, fields.next()?);
        (!node.is_empty() && !is_down(state)).then(|| node.to_owned())
    };
    text.lines().filter_map(node).collect()
}

fn is_down(state: &str) -> bool {
    ["down", "drain", "fail", "unknown", "maint"].iter().any(|word| state.contains(word))
}

/// What there is to say of jobs that wait, and the commands that end their waiting. `next`: the job that makes the
/// next round.
#[must_use]
pub fn explain(jobs: &[Job], down: &[Down], next: Option<&str>) -> Vec<String> {
    let mut lines = Vec::new();
    let is_next = |job: &&Job| Some(job.job.as_str()) == next;
    let mut waiting: BTreeMap<&str, usize> = BTreeMap::new();
    for job in jobs.iter().filter(|job| job.is_pending() && !job.is_held() && !is_next(job)) {
        *waiting.entry(&job.reason).or_default() += 1;
    }
    for (reason, count) in waiting {
        let are = if count == 1 { "task is" } else { "tasks are" };
        lines.push(format!("{count} {are} pending: {}", in_words(reason)));
    }
    let held: Vec<&Job> = jobs.iter().filter(|job| job.is_held()).collect();
    if let Some(first) = held.first() {
        let names: Vec<String> = held.iter().take(8).map(|job| job.name()).collect();
        let more = if held.len() > names.len() { ",…" } else { "" };
        lines.push(format!(
            "{} are held ({}) and block the sweep until `scontrol release {}{more}`, or `scancel` of the same",
            held.len(),
            first.reason,
            names.join(",")
        ));
    }
    let is_waiting = jobs.iter().any(|job| job.is_pending() && !is_next(&job));
    let down: &[Down] = if is_waiting { down } else { &[] };
    for Down { node, state, reason } in down.iter().take(NODES) {
        let reason = if reason.is_empty() || reason == "none" { String::new() } else { format!(" ({reason})") };
        lines.push(format!(
            "node {node} is {state}{reason}; when it is repaired: `sudo scontrol update nodename={node} state=resume`"
        ));
    }
    if down.len() > NODES {
        lines.push(format!("and {} more nodes; `sinfo -R` lists them", down.len() - NODES));
    }
    let comments: BTreeSet<&str> = jobs.iter().filter_map(|job| job.comment.as_deref()).collect();
    lines.extend(comments.into_iter().filter(|comment| comment.starts_with("livectl: ")).map(str::to_owned));
    if let Some(never) = jobs.iter().find(|job| job.reason == "DependencyNeverSatisfied") {
        lines.push(format!("job {0} can never start; `scancel {0}`, and start the sweep again", never.name()));
    }
    lines
}

fn in_words(reason: &str) -> String {
    match reason {
        "Resources" => "for a free node".to_owned(),
        "Priority" => "others come first".to_owned(),
        "None" => "Slurm has not considered them yet".to_owned(),
        "Dependency" => "for the array before them".to_owned(),
        "BeginTime" => "restarted in a minute or two, because a node failed; `scontrol update jobid=JOB_TASK StartTime=now` starts one at once".to_owned(),
        "JobArrayTaskLimit" => "as many as `--at-once` allows are running".to_owned(),
        "PartitionDown" | "PartitionInactive" => format!("the partition accepts no jobs ({reason}); see `sinfo`"),
        "BadConstraints" | "ReqNodeNotAvail" => format!("no node is left for them ({reason}); `livectl stop` ends them"),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// As Slurm 22.05 printed it.
    const QUEUE: &str = "1|3|COMPLETED|n1|None|(null)
1|1|PENDING||BeginTime|(null)
1|4|RUNNING|n3|None|livectl: node n3 sees no /share/order.json, or | so
1|5|PENDING||launch failed requeued held|(null)
9|N/A|PENDING||Dependency|(null)
slurm_load_jobs error: Unable to contact slurm controller
";

    #[test]
    fn jobs_are_read_as_squeue_prints_them() {
        let jobs = parse(QUEUE);
        assert_eq!(jobs.len(), 5);
        assert_eq!((jobs[0].name(), jobs[0].is_live(), jobs[0].node.as_deref()), ("1_3".into(), false, Some("n1")));
        assert_eq!((jobs[1].is_pending(), jobs[1].node.as_deref(), jobs[1].comment.as_deref()), (true, None, None));
        assert!(jobs[2].is_running() && jobs[2].comment.as_deref().unwrap().ends_with("or | so"));
        assert_eq!((jobs[4].name(), jobs[4].task), ("9".into(), None));
        assert_eq!(parse("CLUSTER: x\n\n|||"), []);
    }

    #[test]
    fn what_is_held_or_drained_is_told_with_the_commands_that_end_it() {
        let down = parse_nodes(
            "n1|idle|none\nn2|drained|Duplicate jobid\nn2|drained|Duplicate jobid\nn3|down*|Not responding\n",
        );
        assert_eq!(down.len(), 2);
        assert_eq!(
            parse_up("n1|idle|none\nn2|drained|x\nn3|mixed|none\nn1|idle|none\n"),
            ["n1", "n3"].map(str::to_owned).into()
        );
        let told = explain(&parse(QUEUE), &down, Some("9"));
        let has = |words: &str| assert!(told.iter().any(|line| line.contains(words)), "{words}: {told:?}");
        has("1 task is pending: restarted in a minute or two");
        has("1 are held (launch failed requeued held)");
        has("`scontrol release 1_5`");
        has(
            "node n2 is drained (Duplicate jobid); when it is repaired: `sudo scontrol update nodename=n2 state=resume`",
        );
        has("livectl: node n3 sees no");
        assert!(
            !told.iter().any(|line| line.contains("array before")),
            "the next round's job always waits: {told:?}"
        );
        assert_eq!(explain(&parse("9|N/A|PENDING||Dependency|(null)"), &[], Some("9")), Vec::<String>::new());
    }
}

//! What is handed to `sbatch`: options and scripts, as values.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use super::order::{Order, Place};
use crate::shell_word;

/// For all that a task does besides its trial's timeline: the probe of its node, boot, measurement, teardown, tables, the way into the shared folder.
const ROOM: Duration = Duration::from_secs(180 + 300);
/// How long the job may take that makes the next round, in minutes. It reads tables of thousands of trials in one.
const NEXT_MINUTES: u64 = 60;

/// The job that makes the next round leaves a node that cannot so often.
const MOVES: u32 = 2;

/// Variables by which that job remembers where it was.
pub(super) const OWN_VARIABLES: [&str; 2] = ["LIVECTL_MOVED", "LIVECTL_WITHOUT"];

/// A call of `sbatch`: its options, and the script for its standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// Options for `sbatch`.
    pub options: Vec<String>,
    /// The script for its standard input.
    pub script: String,
}

/// Cuts a round into arrays, for Slurm refuses an index of `MaxArraySize` and more.
#[must_use]
pub fn chunks(trials: usize, max_array_size: usize) -> Vec<Range<usize>> {
    let most = max_array_size.max(1);
    (0..trials).step_by(most).map(|begin| begin..(begin + most).min(trials)).collect()
}

/// What a session's jobs are called.
#[must_use]
pub fn job_name(recipe: &str, session: &str) -> String {
    format!("livectl-{recipe}-{}", super::task::unique(session))
}

/// A job array for some trials of a round, a trial a task. `after`: it begins when that array is over.
#[must_use]
pub fn array(
    order: &Order,
    round: u32,
    places: &[Place],
    chunk: &Range<usize>,
    without: &[String],
    after: Option<&str>,
) -> Submission {
    let limit = order.slurm.at_once.map(|most| format!("%{most}")).unwrap_or_default();
    let last = chunk.len().saturating_sub(1);
    let mut options = usual(order, without, "%A_%a");
    options.extend([
        format!("--array=0-{last}{limit}"),
        "--exclusive".to_owned(),
        "--nodes=1".to_owned(),
        format!("--time={}", minutes(order, places.get(chunk.clone()).unwrap_or_default())),
    ]);
    options.extend(after.map(|job| format!("--dependency=afterany:{job}")));
    options.extend(order.slurm.more.iter().cloned());
    let what = format!("round {round} of the sweep of {}, trials {} to {}", order.recipe, chunk.start + 1, chunk.end);
    let livectl = quoted(&order.livectl);
    let begin = chunk.start;
    let away = r#"scontrol update JobId="$SLURM_ARRAY_JOB_ID" ExcNodeList="$node" >/dev/null 2>&1"#;
    let script = head(order, &what, "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID", away)
        + &format!(
            r#"exec {livectl} internal slurm-task --order "$order" --round {round} --place "$(({begin} + SLURM_ARRAY_TASK_ID))" \
  --task "$task" --restart "${{SLURM_RESTART_COUNT:-0}}" --node "$SLURMD_NODENAME" --scratch "${{TMPDIR:-/var/tmp}}"
"#
        );
    Submission { options, script }
}

/// The job that makes the next round when these arrays are over, however they end.
#[must_use]
pub fn next(order: &Order, round: u32, arrays: &[String], without: &[String]) -> Submission {
    let mut options = usual(order, without, "%j");
    options.extend(["--nodes=1".to_owned(), "--ntasks=1".to_owned(), format!("--time={NEXT_MINUTES}")]);
    // A node that no task wants is free, and so this job's first choice: from there it goes elsewhere, or nobody would go on.
    let words: Vec<String> = options.iter().map(|option| shell_word::quoted(option)).collect();
    let away = format!(
        r#"if [ "${{LIVECTL_MOVED:-0}}" -lt {MOVES} ]; then
    LIVECTL_MOVED=$((${{LIVECTL_MOVED:-0}} + 1))
    LIVECTL_WITHOUT=${{LIVECTL_WITHOUT:-{}}}
    LIVECTL_WITHOUT=${{LIVECTL_WITHOUT:+$LIVECTL_WITHOUT,}}$node
    export LIVECTL_MOVED LIVECTL_WITHOUT
    sbatch {} --exclude="$LIVECTL_WITHOUT" "$0"
  fi"#,
        without.join(","),
        words.join(" ")
    );
    options.push(format!("--dependency=afterany:{}", arrays.join(":")));
    let what = format!("what comes after round {round} of the sweep of {}", order.recipe);
    let livectl = quoted(&order.livectl);
    let script = head(order, &what, "$SLURM_JOB_ID", &away)
        + &format!("exec {livectl} internal slurm-next --order \"$order\" --round {round}\n");
    Submission { options, script }
}

/// Options of all jobs. What a script prints goes to the node's /tmp until it has found the shared folder.
fn usual(order: &Order, without: &[String], id: &str) -> Vec<String> {
    let mut options = vec![
        "--parsable".to_owned(),
        format!("--job-name={}", job_name(&order.recipe, &order.session)),
        "--requeue".to_owned(),
        "--open-mode=append".to_owned(),
        format!("--output=/tmp/livectl-{id}.out"),
        "--chdir=/".to_owned(),
    ];
    options.extend(order.slurm.partition.as_ref().map(|name| format!("--partition={name}")));
    options.extend(order.slurm.account.as_ref().map(|name| format!("--account={name}")));
    if !without.is_empty() {
        options.push(format!("--exclude={}", without.join(",")));
    }
    options
}

/// The beginning of every script: a node that does not see the shared folder, or has no livectl, says so where somebody may look (its own /tmp, the
/// job's comment and, if it can, the sweep's log). `away` then keeps work from it.
fn head(order: &Order, what: &str, task: &str, away: &str) -> String {
    let file = quoted(&order.file());
    let out = quoted(&order.out());
    let log = quoted(&order.sweep().log());
    let (livectl, session) = (quoted(&order.livectl), &order.session);
    format!(
        r#"#!/bin/sh
# livectl: {what}
task={task}
order={file}
out={out}
log={log}
node=$SLURMD_NODENAME
unable() {{
  echo "livectl: node $node $1"
  scontrol update JobId="$task" Comment="livectl: node $node $1" >/dev/null 2>&1
  {away}
}}
if [ ! -f "$order" ]; then
  unable "sees no $order, which the submitter wrote: is that folder shared with it, under the same path?"
  exit 5
fi
if exec >>"$out/$task.txt" 2>&1; then rm -f "/tmp/livectl-$task.out"; fi
if [ ! -x {livectl} ]; then
  why="has no "{livectl}": livectl must be at the same path on every node"
  unable "$why"
  printf '{{"event":"node_failed","node":"%s","why":"%s","time":"%s"}}\n' "$node" "it $why" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" >>"$log/{session}.$node.jsonl"
  exit 4
fi
"#
    )
}

/// How long a task may take: its trial's timeline, and room for the rest.
fn minutes(order: &Order, places: &[Place]) -> u64 {
    let longest = places.iter().map(|place| place.seconds).fold(0.0, f64::max);
    let trial = Duration::try_from_secs_f64(longest).unwrap_or_default();
    let trial = order.trial_deadline_s.map_or(trial, |deadline| trial.min(Duration::from_secs(deadline)));
    (trial + ROOM).as_secs().div_ceil(60)
}

/// A path as a word of the shell.
fn quoted(path: &Path) -> String {
    shell_word::quoted(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::Planned;
    use crate::sweep::identity::planned;
    use crate::sweep::slurm::order::tests::{order, plan};

    fn places(count: usize) -> Vec<Place> {
        let trials = planned(&plan(9));
        let place = |trial: &Planned| Place { trial: trial.clone(), at: 0, length: 10, seconds: 25.0 };
        trials.iter().cycle().take(count).map(place).collect()
    }

    #[test]
    fn a_round_is_cut_below_what_slurm_takes() {
        assert_eq!(chunks(3, 1001), vec![0..3; 1]);
        assert_eq!(chunks(2500, 1001), [0..1001, 1001..2002, 2002..2500]);
        assert_eq!((chunks(0, 1001).len(), chunks(2, 0)), (0, vec![0..1, 1..2]));
    }

    #[test]
    fn an_array_asks_for_whole_nodes_and_enough_time() {
        let mut order = order(Path::new("/share"));
        order.slurm.at_once = Some(4);
        order.slurm.partition = Some("lab".into());
        order.slurm.more = vec!["--qos=night".into()];
        let Submission { options, script } =
            array(&order, 2, &places(30), &(10..30), &["n2".into(), "n7".into()], Some("41"));
        for wanted in [
            "--array=0-19%4",
            "--exclusive",
            "--nodes=1",
            "--open-mode=append",
            "--partition=lab",
            "--exclude=n2,n7",
            "--dependency=afterany:41",
            "--job-name=livectl-x-abcdef01",
        ] {
            assert!(options.iter().any(|option| option == wanted), "{wanted}: {options:?}");
        }
        assert_eq!(options.last().unwrap(), "--qos=night", "what the user says has the last word");
        // 25 s and eight minutes.
        assert!(options.contains(&"--time=9".to_owned()), "{options:?}");
        order.trial_deadline_s = Some(10);
        assert_eq!(minutes(&order, &places(1)), 9);
        assert_eq!(minutes(&order, &[Place { seconds: 7200.0, ..places(1).remove(0) }]), 9);
        assert!(script.contains("$((10 + SLURM_ARRAY_TASK_ID))") && script.contains("--round 2"), "{script}");
        let Submission { options, script } = next(&order, 2, &["41".into(), "42".into()], &[]);
        assert!(options.contains(&"--dependency=afterany:41:42".to_owned()), "{options:?}");
        assert!(!options.contains(&"--exclusive".to_owned()) && script.contains("slurm-next"), "{script}");
    }

    /// Runs a script as a node would, with a stand-in for scontrol that notes what it is called with.
    fn played(script: &str, folder: &Path) -> (Option<i32>, String, String) {
        let bin = folder.join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        let noted = folder.join("noted");
        for program in ["scontrol", "sbatch"].map(|name| bin.join(name)) {
            std::fs::write(&program, format!("#!/bin/sh\necho \"$@\" >> {}\n", noted.display())).unwrap();
            std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let output = std::process::Command::new("sh")
            .args(["-c", script])
            .env("PATH", path)
            .envs([("SLURM_ARRAY_JOB_ID", "7"), ("SLURM_ARRAY_TASK_ID", "3"), ("SLURMD_NODENAME", "n1")])
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), told, std::fs::read_to_string(noted).unwrap_or_default())
    }

    #[test]
    fn a_node_without_the_shared_folder_or_without_livectl_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let mut order = order(&folder.path().join("it's"));
        let submission = array(&order, 1, &places(4), &(0..4), &[], None);
        let (code, told, noted) = played(&submission.script, folder.path());
        assert_eq!(code, Some(5), "{told}");
        assert!(told.contains("node n1 sees no") && told.contains("order.json"), "{told}");
        assert!(
            noted.contains("JobId=7_3 Comment=livectl: node n1 sees no") && noted.contains("ExcNodeList=n1"),
            "{noted}"
        );
        let next = next(&order, 1, &["7".into()], &["n9".into()]);
        let (code, told, noted) = played(&next.script, folder.path());
        assert_eq!(code, Some(5), "{told}");
        let moved = noted.lines().last().unwrap();
        assert!(
            moved.contains("--exclude=n9") && moved.contains("--exclude=n9,n1 ") && !moved.contains("afterany"),
            "{moved}"
        );
        let (_, _, noted) = played(&format!("LIVECTL_MOVED=2\n{}", next.script), folder.path());
        assert_eq!(noted.matches("--exclude=n9,n1 ").count(), 1, "it does not move for ever: {noted}");

        order.livectl = folder.path().join("no livectl");
        order.save(&[]).unwrap();
        std::fs::create_dir_all(order.sweep().log()).unwrap();
        let submission = array(&order, 1, &places(4), &(0..4), &[], None);
        let (code, told, _) = played(&submission.script, folder.path());
        assert_eq!((code, told.as_str()), (Some(4), ""), "it prints to the shared folder");
        let printed = std::fs::read_to_string(order.out().join("7_3.txt")).unwrap();
        assert!(printed.contains("no livectl: livectl must be at the same path"), "{printed}");
        let log = std::fs::read_to_string(order.sweep().log().join(format!("{}.n1.jsonl", order.session))).unwrap();
        let line: crate::sweep::session::Line = serde_json::from_str(log.trim()).unwrap();
        assert!(matches!(line.what, crate::sweep::session::Did::NodeFailed { node, .. } if node == "n1"));
    }

    #[test]
    fn a_task_is_told_which_trial_is_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let mut order = order(folder.path());
        order.livectl = folder.path().join("livectl");
        std::fs::write(&order.livectl, "#!/bin/sh\nfor word; do printf '%s|' \"$word\"; done\n").unwrap();
        std::fs::set_permissions(&order.livectl, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        order.save(&[]).unwrap();
        let submission = array(&order, 2, &places(9), &(5..9), &[], None);
        let (code, told, _) = played(&submission.script, folder.path());
        assert_eq!((code, told.as_str()), (Some(0), ""));
        let printed = std::fs::read_to_string(order.out().join("7_3.txt")).unwrap();
        let file = order.file();
        let wanted = format!(
            "internal|slurm-task|--order|{}|--round|2|--place|8|--task|7_3|--restart|0|--node|n1|--scratch|",
            file.display()
        );
        assert!(printed.starts_with(&wanted), "{printed}");
    }
}

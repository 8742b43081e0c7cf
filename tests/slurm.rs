//! Sweeps through a real Slurm: three nodes on this machine, in namespaces of their own that end with the test,
//! whatever ends it. Needs root, the packages of `install/packages.txt`, and those of its group `slurm`, which are
//! installed if they are missing.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "sweep/tiny.rs"]
mod tiny;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use livectl::run::event::Phase;
use livectl::sandbox::running::running;
use livectl::store::{RunDir, SweepDir, TrialState};
use livectl::sweep::session::Did;
use livectl::sweep::slurm::log::Logs;
use livectl::table::{read_models, read_summary};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tiny::recipe;

/// Three nodes at once are enough for one machine.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks until there is what is looked for.
fn wait<T>(what: &str, seconds: u64, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {seconds} s: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Slurm's controller, munge and three nodes, in namespaces for their mounts, processes, network and host name. `n2`
/// lacks the program mn if asked for.
struct Cluster {
    folder: tempfile::TempDir,
    unshare: Child,
    /// Process 1 inside, seen from here.
    init: i32,
}

const SCRIPT: &str = r#"
set -e
mount --make-rprivate /
mkdir -p "$D"/run "$D"/state "$D"/spool "$D"/log
mount -t tmpfs tmpfs /tmp
hostname lc
ip link set lo up
# Names are looked up only where there is an address that is not the loopback's.
ip link add v0 type veth peer name v1
ip addr add 192.0.2.1/24 dev v0
ip link set v0 up
ip link set v1 up
(cat /etc/hosts; echo 127.0.0.1 lc) >"$D/hosts"
mount --bind "$D/hosts" /etc/hosts
mount -t tmpfs -o mode=755 tmpfs /etc/sudoers.d
echo "nobody ALL=(root) NOPASSWD: $D/bin/livectl internal slurm-measure" >/etc/sudoers.d/livectl
chmod 440 /etc/sudoers.d/livectl
(umask 077; head -c 1024 /dev/urandom >"$D/munge.key")
munged --force --socket="$D/run/munge.socket" --key-file="$D/munge.key" --pid-file="$D/run/munge.pid" --log-file="$D/log/munge.log" --seed-file="$D/run/munge.seed"
slurmctld -f "$D/slurm.conf"
slurmd -f "$D/slurm.conf" -N n1
if [ "$BAD" = n2 ]; then
  unshare --mount sh -c 'mount --bind /dev/null /usr/bin/mn; exec slurmd -f "$D/slurm.conf" -N n2'
else
  slurmd -f "$D/slurm.conf" -N n2
fi
slurmd -f "$D/slurm.conf" -N n3
touch "$D/up"
while sleep 1; do :; done
"#;

const CONFIG: &str = "ClusterName=lc
SlurmctldHost=lc(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=DIR/run/munge.socket
SlurmctldPort=16817
StateSaveLocation=DIR/state
SlurmdSpoolDir=DIR/spool/%n
SlurmctldPidFile=DIR/run/slurmctld.pid
SlurmdPidFile=DIR/run/slurmd.%n.pid
SlurmctldLogFile=DIR/log/slurmctld.log
SlurmdLogFile=DIR/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
KillWait=2
SlurmdTimeout=10
MinJobAge=3600
NodeName=n[1-3] NodeHostname=lc NodeAddr=127.0.0.1 Port=[17001-17003] CPUs=2 SocketsPerBoard=1 CoresPerSocket=2 ThreadsPerCore=1 RealMemory=1000
PartitionName=all Nodes=n[1-3] Default=YES MaxTime=INFINITE OverSubscribe=EXCLUSIVE
";

impl Cluster {
    fn start(bad: &str) -> Cluster {
        assert!(nix::unistd::geteuid().is_root(), "these tests boot networks and a Slurm: run them as root");
        let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("install/packages.sh");
        let installed = Command::new(packages).args(["install", "slurm"]).stdin(Stdio::null()).status().unwrap();
        assert!(installed.success(), "Slurm's packages are missing and cannot be installed: see above");

        let folder = tempfile::Builder::new().prefix("lc").tempdir_in("/var/tmp").unwrap();
        let dir = folder.path();
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
        // Everybody may run it there, wherever it was built.
        let (bin, built) = (dir.join("bin"), PathBuf::from(env!("CARGO_BIN_EXE_livectl")));
        std::fs::create_dir(&bin).unwrap();
        for program in ["livectl", "live-controller", "live-agent"] {
            let from = built.with_file_name(program);
            std::fs::copy(&from, bin.join(program)).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        }
        for (name, mode) in [("results", 0o777), ("scratch", 0o777)] {
            std::fs::create_dir(dir.join(name)).unwrap();
            std::fs::set_permissions(dir.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
        }
        std::fs::write(dir.join("slurm.conf"), CONFIG.replace("DIR", dir.to_str().unwrap())).unwrap();
        // From a file: process 1 must not have the daemons' names among its words, by which they are found.
        std::fs::write(dir.join("up.sh"), SCRIPT).unwrap();
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--uts", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "bash"])
            .arg(dir.join("up.sh"))
            .env("D", dir)
            .env("BAD", bad)
            .stdin(Stdio::null());
        // SAFETY: between fork and exec it makes one system call, and neither allocates nor locks.
        unsafe {
            command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?));
        }
        let unshare = command.spawn().unwrap();
        let children = format!("/proc/{0}/task/{0}/children", unshare.id());
        let up = dir.join("up");
        wait("Slurm is up", 30, || up.exists().then_some(()));
        let init = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
        let cluster = Cluster { folder, unshare, init };
        wait("three nodes are idle", 30, || {
            let told = text(&cluster.run(&["sinfo", "-h", "-N", "-o", "%T"]).output().unwrap());
            (told.matches("idle").count() == 3).then_some(())
        });
        cluster
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command within the cluster.
    fn run(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["-t", &self.init.to_string(), "-m", "-u", "-n", "-p", "env", "-u", "TMPDIR"])
            .arg(format!("SLURM_CONF={}", self.path("slurm.conf").display()))
            .args(words)
            .stdin(Stdio::null());
        command
    }

    fn livectl(&self, before: &[&str], words: &[&str]) -> Output {
        let (livectl, results) = (self.path("bin/livectl"), self.path("results"));
        let mut all = before.to_vec();
        all.push(livectl.to_str().unwrap());
        all.extend(words);
        all.extend(["--results", results.to_str().unwrap()]);
        self.run(&all).output().unwrap()
    }

    fn sweep(&self, before: &[&str], recipe: &Path, more: &[&str]) -> Output {
        let scratch = self.path("scratch");
        let mut words = vec!["sweep", "--engine", "slurm", "--link", "emulated", "--datapath", "user"];
        words.extend(["--scratch", scratch.to_str().unwrap(), recipe.to_str().unwrap()]);
        words.extend(more);
        self.livectl(before, &words)
    }

    /// Ids, seen from here, of the cluster's processes whose command line has all these words.
    fn processes(&self, words: &[&str]) -> Vec<i32> {
        let space = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/uts")).ok();
        let mine = space(&self.init.to_string());
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap() {
            let pid = entry.unwrap().file_name().into_string().unwrap();
            let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { continue };
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if words.iter().all(|word| line.contains(word)) && space(&pid) == mine {
                found.extend(pid.parse::<i32>());
            }
        }
        found
    }

    fn kill(&self, words: &[&str]) {
        let found = self.processes(words);
        assert!(!found.is_empty(), "nothing runs with {words:?}");
        for pid in found {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    fn dir(&self) -> SweepDir {
        SweepDir::open(&self.path("results/tiny")).unwrap()
    }

    fn logs(&self) -> Logs {
        Logs::last(&self.dir()).unwrap().unwrap()
    }

    /// Waits for the end of the session. Tasks that Slurm has put off for two minutes begin at once.
    fn ended(&self, seconds: u64) -> String {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        wait("the sweep's end", 2 * seconds, || {
            let waiting = text(&self.run(&["squeue", "-h", "-r", "-o", "%i %T %r"]).output().unwrap());
            for line in waiting.lines().filter(|line| line.ends_with("BeginTime")) {
                let job = format!("jobid={}", line.split(' ').next().unwrap());
                let _ = self.run(&["scontrol", "update", &job, "StartTime=now"]).output();
            }
            let end = self.logs().ended().map(|(_, why)| why.to_owned());
            // What Slurm and the jobs were at says why.
            if end.is_none() && Instant::now() > deadline {
                let nodes = text(&self.run(&["sinfo", "-N", "-o", "%N %T %E"]).output().unwrap());
                panic!("not ended within {seconds} s\n{waiting}\n{nodes}\n{}", self.printed());
            }
            end
        })
    }

    /// All that jobs printed and daemons logged, for the message of a test that fails.
    fn printed(&self) -> String {
        let mut told = String::new();
        let mut folders = vec![self.path("results"), self.path("log")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
                let path = entry.path();
                let named = |ending: &str| path.extension().is_some_and(|e| e == ending);
                if path.is_dir() && !path.ends_with("trials") {
                    folders.push(path);
                } else if named("txt") || path.parent().is_some_and(|p| p.ends_with("log")) {
                    let text = std::fs::read_to_string(&path).unwrap_or_default();
                    let last: Vec<&str> = text.lines().rev().take(12).collect();
                    told += &format!("== {}\n", path.display());
                    last.iter().rev().for_each(|line| told += &format!("{line}\n"));
                }
            }
        }
        told
    }

    /// Nothing of a trial is left, nor of its files outside the shared folder.
    fn assert_clean(&self) {
        let mine = |dir: &Path| dir.starts_with(self.path("scratch"));
        wait("trials are gone", 20, || running().unwrap().iter().all(|t| !mine(t.marker.dir())).then_some(()));
        let left = |folder: PathBuf| {
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>()
        };
        wait("nothing is left on the nodes", 20, || left(self.path("scratch")).is_empty().then_some(()));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.printed());
        }
        // Process 1 dies with it, and with that all others.
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A task that is in the middle of its trial: node, task and trial.
fn in_the_middle(logs: &Logs) -> Option<(String, String, String)> {
    let of_node = |(node, lines): (&String, &Vec<livectl::sweep::session::Line>)| {
        let mut now: Option<(String, String, bool)> = None;
        for line in lines {
            match &line.what {
                Did::TaskStarted { task, trial, .. } => now = Some((task.clone(), trial.clone(), false)),
                Did::Phase { phase: Phase::Stream, .. } => now = now.map(|(task, trial, _)| (task, trial, true)),
                Did::TrialEnded { .. } => now = None,
                _ => {}
            }
        }
        now.filter(|(.., streams)| *streams).map(|(task, trial, _)| (node.clone(), task, trial))
    };
    logs.nodes.iter().find_map(of_node)
}

/// How often each trial was done, as the nodes' logs tell.
fn done(logs: &Logs) -> BTreeMap<String, u32> {
    let mut done = BTreeMap::new();
    for line in logs.all() {
        if let Did::TrialEnded { trial, state: TrialState::Done, .. } = &line.what {
            *done.entry(trial.clone()).or_default() += 1;
        }
    }
    done
}

#[test]
fn a_user_sweeps_and_neither_a_killed_task_nor_a_killed_controller_costs_a_trial() {
    let _alone = alone();
    let cluster = Cluster::start("");
    // Two trials are measured and two predicted; these are tasks as well.
    let more = "repetitions: 2\nmatrix: { engine: [emulate, predict] }";
    let path = recipe(cluster.folder.path(), more, "size: 160x90, ");
    let user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"];
    let dry = cluster.sweep(&user, &path, &["--dry-run"]);
    let told = text(&dry);
    assert_eq!(dry.status.code(), Some(0), "{told}");
    assert!(
        told.contains("--array=0-3 --exclusive --nodes=1") && told.contains("--dependency=afterany:ARRAY1"),
        "{told}"
    );
    assert!(!cluster.path("results/tiny").exists());

    let begun = cluster.sweep(&user, &path, &[]);
    assert_eq!(begun.status.code(), Some(0), "{}", text(&begun));
    assert!(text(&begun).contains("4 trials submitted to Slurm as job 1; job 2 continues"), "{}", text(&begun));
    let again = cluster.sweep(&user, &path, &[]);
    assert_eq!(again.status.code(), Some(2), "{}", text(&again));
    assert!(text(&again).contains("already submitted to Slurm, as job 1, 2"), "{}", text(&again));

    let submitted = SystemTime::now();
    let (node, task, lost) = wait("a trial is in its middle", 60, || in_the_middle(&cluster.logs()));
    let told = text(&cluster.livectl(&user, &["status", "tiny"]));
    assert!(told.contains(&format!("{node}: task {task}, direct")), "{told}");
    // Slurm's controller forgets what it has not saved when it is killed: within five seconds it has.
    let saved = || std::fs::metadata(cluster.path("state/job_state")).and_then(|file| file.modified());
    wait("Slurm has saved its jobs", 20, || saved().is_ok_and(|at| at > submitted).then_some(()));
    cluster.kill(&["slurm-task", &format!("--task {task} ")]);
    cluster.kill(&["slurmctld", "-f"]);
    assert!(
        cluster.run(&["slurmctld", "-f", cluster.path("slurm.conf").to_str().unwrap()]).status().unwrap().success()
    );

    assert_eq!(cluster.ended(150), "finished");
    let (dir, logs) = (cluster.dir(), cluster.logs());
    let done = done(&logs);
    assert_eq!((dir.done().unwrap().len(), done.len()), (4, 4), "{done:?}");
    assert!(done.contains_key(&lost) && done.values().all(|times| *times == 1), "{done:?}");
    assert_eq!(dir.tried().unwrap(), []);
    let rounds: Vec<usize> = logs
        .own
        .iter()
        .filter_map(|line| if let Did::Submitted { trials, .. } = &line.what { Some(*trials) } else { None })
        .collect();
    // The killed task's trial makes a round of its own, unless Slurm, whose controller was killed in the same moment,
    // has started the task again itself.
    assert!(rounds == [4, 1] || rounds == [4], "{rounds:?}");
    cluster.assert_clean();

    let summary = read_summary(&RunDir::open(dir.path()).unwrap().summary()).unwrap();
    let measured = summary.iter().filter(|row| !row.point.is_predicted());
    let nodes: BTreeSet<&str> = measured.map(|row| row.node.as_deref().unwrap()).collect();
    assert!(logs.nodes.len() > 1 && nodes.iter().all(|node| logs.nodes.contains_key(*node)), "{nodes:?}");
    assert!(summary.iter().all(|row| row.frames == 60), "{summary:?}");
    assert_eq!(summary.iter().filter(|row| row.point.is_predicted()).count(), 2, "{summary:?}");
    let models = read_models(&RunDir::open(dir.path()).unwrap().models()).unwrap();
    let median = models.iter().find(|row| row.metric == "delay_p50_ms").unwrap();
    // A node that was busy makes a trial unfit.
    assert!((1..=2).contains(&median.trials) && median.predictions == 2, "{median:?}");
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(dir.trials().join(&lost)).unwrap());
    assert_ne!(owner, 0, "the results are the user's");
    let told = text(&cluster.livectl(&user, &["status", "tiny"]));
    assert!(told.contains("4 of 4 trials are done") && told.contains("finished"), "{told}");
    let told = text(&cluster.livectl(&user, &["logs", "tiny"]));
    assert!(told.contains(&format!("{node} {lost}: task {task}")) && told.contains("round 2: 1 trials"), "{told}");
    let mut plot = Command::new(env!("CARGO_BIN_EXE_livectl"));
    plot.args(["plot", "--plot", "sweep", "--include-unfit", "--by", "node"]).arg(dir.path()).stdin(Stdio::null());
    let plot = plot.output().unwrap();
    assert_eq!(plot.status.code(), Some(0), "{}", text(&plot));
    let again = cluster.sweep(&user, &path, &[]);
    assert!(text(&again).contains("4 of 4 trials are done (0 now)"), "{}", text(&again));
}

#[test]
fn a_bad_node_is_left_out_a_dead_one_is_done_without_and_of_two_that_do_the_same_one_is_superseded() {
    let _alone = alone();
    let cluster = Cluster::start("n2");
    let path = recipe(cluster.folder.path(), "repetitions: 4", "size: 160x90, ");
    let begun = cluster.sweep(&[], &path, &[]);
    assert_eq!(begun.status.code(), Some(0), "{}", text(&begun));
    let (dead, task, _) = wait("a trial is in its middle", 60, || in_the_middle(&cluster.logs()));

    // The same task a second time, as Slurm does when it has lost sight of a node. Its own place is in the round's
    // file.
    let logs = cluster.logs();
    let order = cluster.dir().path().join("slurm").join(&logs.session).join("order.json");
    let place = task.split('_').nth(1).unwrap();
    let (livectl, order, scratch) =
        (cluster.path("bin/livectl"), order.to_str().unwrap().to_owned(), cluster.path("scratch"));
    let words = ["--round", "1", "--place", place, "--task", "99_0", "--restart", "0", "--node", "n9"];
    let mut twice = cluster.run(&[livectl.to_str().unwrap(), "internal", "slurm-task", "--order", &order]);
    let twice = twice.args(words).args(["--scratch", scratch.to_str().unwrap()]).output().unwrap();
    let superseded = |text: &str| text.contains("superseded: another session had done it first");
    wait("both have ended", 60, || {
        let logs = cluster.logs();
        let told = logs.all().iter().any(|line| matches!(&line.what, Did::Said { text, .. } if superseded(text)));
        told.then_some(())
    });
    assert!(matches!(twice.status.code(), Some(0)), "{}", text(&twice));
    let kept: Vec<_> = cluster
        .dir()
        .tried()
        .unwrap()
        .into_iter()
        .filter(|attempt| attempt.record.as_ref().is_some_and(|record| record.state == TrialState::Done))
        .collect();
    assert_eq!(kept.len(), 1, "what came second is kept");

    // The other good node dies with all that it does.
    let other = if dead == "n1" { "n3" } else { "n1" };
    wait("the other node is at a trial, or all is done", 60, || {
        let jobs = text(&cluster.run(&["squeue", "-h", "-r", "-o", "%i %r"]).output().unwrap());
        for line in jobs.lines().filter(|line| line.ends_with("BeginTime")) {
            let job = format!("jobid={}", line.split(' ').next().unwrap());
            let _ = cluster.run(&["scontrol", "update", &job, "StartTime=now"]).output();
        }
        let at_work = cluster.processes(&["slurm-task", &format!("--node {other} ")]);
        (!at_work.is_empty() || cluster.logs().ended().is_some()).then_some(())
    });
    assert!(cluster.logs().ended().is_none(), "the test came too late");
    cluster.kill(&["slurmd", &format!("-N {other}")]);
    for pid in cluster.processes(&["slurmstepd"]) {
        // A step daemon has no node in its command line, but its child has.
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let is_its = children.split_whitespace().any(|child| {
            let line = std::fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).replace('\0', " ").contains(&format!("--node {other} "))
        });
        if is_its {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    for pid in cluster.processes(&["slurm-task", &format!("--node {other} ")]) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }

    assert_eq!(cluster.ended(150), "finished");
    let (dir, logs) = (cluster.dir(), cluster.logs());
    assert_eq!(dir.done().unwrap().len(), 4);
    cluster.assert_clean();
    let bad = &logs.nodes["n2"];
    let failed = bad.iter().filter(|line| matches!(&line.what, Did::NodeFailed { why, .. } if why.contains("mn")));
    assert!(failed.count() >= 2, "{bad:?}");
    assert!(!bad.iter().any(|line| matches!(line.what, Did::TrialStarted { .. })), "{bad:?}");
    let told = text(&cluster.livectl(&[], &["status", "tiny"]));
    assert!(told.contains("node n2 is excluded: it cannot run trials") && told.contains("4 of 4"), "{told}");
}

#[test]
fn what_keeps_a_sweep_from_slurm_is_told_and_so_is_what_keeps_it_waiting() {
    let _alone = alone();
    let cluster = Cluster::start("");
    let path = recipe(cluster.folder.path(), "repetitions: 2", "size: 160x90, ");
    let told = |output: &Output, code: i32, words: &str| {
        assert_eq!(output.status.code(), Some(code), "{}", text(output));
        assert!(text(output).contains(words), "{words}: {}", text(output));
    };
    let nowhere = cluster.sweep(&["env", "PATH=/nonexistent"], &path, &[]);
    told(&nowhere, 4, "scontrol not found");
    let partition = cluster.sweep(&[], &path, &["--partition", "nope"]);
    told(&partition, 4, "Slurm does not know the partition");
    told(&cluster.livectl(&[], &["sweep", path.to_str().unwrap(), "--at-once", "2"]), 2, "add `--engine slurm`");

    // Jobs that are held, and an end to them.
    told(&cluster.sweep(&[], &path, &["--sbatch=--hold"]), 0, "2 trials submitted to Slurm");
    let status = cluster.livectl(&[], &["status", "tiny"]);
    told(&status, 0, "2 are held (JobHeldUser) and block the sweep until `scontrol release ");
    told(&cluster.livectl(&[], &["stop", "tiny"]), 0, "waiting tasks were cancelled");
    assert_eq!(cluster.ended(60), "stopped, as `livectl stop` asked");
    // With the options that it was started with.
    let stopped = cluster.livectl(&[], &["status", "tiny"]);
    told(&stopped, 0, "to resume: livectl sweep --link emulated");
    told(&stopped, 0, " --engine slurm --scratch ");
    told(&cluster.livectl(&[], &["stop", "tiny"]), 2, "no sweep is running");

    // A folder that only the submitting machine has.
    let (livectl, results) = (cluster.path("bin/livectl"), cluster.path("results"));
    let (livectl, results) = (livectl.to_str().unwrap(), results.to_str().unwrap());
    let script = format!(
        "mount -t tmpfs tmpfs {results} && {livectl} sweep --engine slurm --link emulated --datapath user --results {results} {} && \
         for n in $(seq 300); do [ \"$(squeue -h)\" ] || break; sleep 0.1; done; {livectl} status --results {results}",
        path.display()
    );
    let apart = cluster.run(&["unshare", "--mount", "sh", "-c", &script]).output().unwrap();
    told(&apart, 0, "none has written to this folder: is it shared with the nodes");
    told(&apart, 0, "order.json, which the submitter wrote: is that folder shared with it");

    // Without Slurm's programs the folder tells what it can.
    told(&cluster.livectl(&["env", "PATH=/nonexistent"], &["status", "tiny"]), 0, "0 of 2 trials are done");
    cluster.kill(&["slurmctld", "-f"]);
    let silent = cluster.sweep(&[], &path, &[]);
    told(&silent, 4, "Slurm's controller does not answer");
}

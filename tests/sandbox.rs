//! The sandbox on a real kernel, with a real Open vSwitch. Needs root and openvswitch-switch, and fails without.
//!
//! The programs inside and their starters are this test binary itself, started again with [`ROLE`] set: they branch
//! off before the test harness starts threads, because a sandbox must be entered by a process that has one.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use livectl::sandbox::host::{Footprint, HostState, settle};
use livectl::sandbox::running::{HOSTS_FILE, running};
use livectl::sandbox::{self, Marker, Ovs};

/// Which part this process plays.
const ROLE: &str = "SANDBOX_TEST_ROLE";
/// Paths to keep visible, as PATH writes them.
const KEEP: &str = "SANDBOX_TEST_KEEP";
/// The issue's promise: within a second the host is as it was.
const SOON: Duration = Duration::from_secs(1);

#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = play_a_role;

extern "C" fn play_a_role() {
    match std::env::var(ROLE).as_deref() {
        Ok("inside") => inside(),
        Ok("starter") => starter(),
        Ok("host") => host_with_its_own_ovs(),
        _ => return,
    }
    std::process::exit(0);
}

// ---- inside
// ------------------------------------------------------------------------------------------------------------

/// Obeys lines on standard input: `sh SCRIPT`, `ovs DIR`, `stop`, `exit CODE`. Answers each with a line of JSON.
fn inside() {
    let keep: Vec<PathBuf> = std::env::split_paths(&std::env::var_os(KEEP).unwrap_or_default())
        .filter(|path| !path.as_os_str().is_empty())
        .collect();
    let environment = match sandbox::enter(&keep) {
        Ok(inside) => inside.environment,
        Err(error) => {
            answer(4, &error.to_string());
            std::process::exit(4);
        }
    };
    answer(0, "entered");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut switch = None;
        for line in std::io::stdin().lock().lines() {
            let line = line.unwrap();
            let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
            match verb {
                "sh" => {
                    let mut shell = tokio::process::Command::new("sh");
                    environment.apply(shell.as_std_mut());
                    let output = shell.args(["-c", rest]).stdin(Stdio::null()).output().await.unwrap();
                    let said = [output.stdout, output.stderr].concat();
                    answer(output.status.code().unwrap_or(-1), &String::from_utf8_lossy(&said));
                }
                "ovs" => {
                    match Ovs::start(&Path::new(rest).join("ovs"), &Path::new(rest).join("log"), &environment).await {
                        Ok(ovs) => {
                            switch = Some(ovs);
                            answer(0, "started");
                        }
                        Err(error) => answer(1, &error.to_string()),
                    }
                }
                "stop" => {
                    if let Some(ovs) = switch.take() {
                        ovs.stop().await;
                    }
                    return;
                }
                "exit" => std::process::exit(rest.parse().unwrap()),
                _ => answer(2, "what?"),
            }
        }
    });
}

fn answer(code: i32, said: &str) {
    println!("{}", serde_json::json!({ "code": code, "said": said }));
}

/// What a small network looks like to the kernel: a bridge in user space, a host, a link between them, and an orphan
/// with an empty environment in a session of its own.
const NETWORK: &str = "set -e; \
    ovs-vsctl --timeout=5 add-br s1 -- set bridge s1 datapath_type=netdev; \
    unshare --net --mount -- sleep 600 >/dev/null 2>&1 & h1=$!; \
    ip link add h1-eth0 type veth peer name s1-eth1; \
    until [ \"$(readlink /proc/$h1/ns/net)\" != \"$(readlink /proc/self/ns/net)\" ]; do :; done; \
    ip link set h1-eth0 netns $h1; ip link set s1-eth1 up; \
    ovs-vsctl --timeout=5 add-port s1 s1-eth1; \
    (setsid env -i sleep 600 >/dev/null 2>&1 &); \
    mount -t tmpfs none /mnt; echo $h1";

// ---- outside
// -----------------------------------------------------------------------------------------------------------

/// A sandbox as its starter sees it.
struct Trial {
    marker: Marker,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    // Last, so that it goes when the sandbox is gone.
    dir: tempfile::TempDir,
}

fn fresh_marker(dir: &Path) -> Marker {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Marker::new(std::process::id(), since.as_nanos() as u64, SERIAL.fetch_add(1, Ordering::Relaxed), dir)
}

impl Trial {
    /// Started but perhaps not inside yet; the trial's folder and `keep` stay visible.
    fn start(keep: &[&Path], change: impl FnOnce(&mut Command)) -> Trial {
        let dir = tempfile::tempdir().unwrap();
        let marker = fresh_marker(dir.path());
        let exe = std::env::current_exe().unwrap();
        let keep: Vec<&Path> = keep.iter().copied().chain([dir.path(), &exe]).collect();
        let mut command = sandbox::command(&marker, &exe, [""; 0]);
        command.env(ROLE, "inside").env(KEEP, std::env::join_paths(keep).unwrap());
        change(&mut command);
        let mut child = sandbox::spawn_blocking(command).unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Trial { marker, child, input, output, dir }
    }

    fn entered() -> Trial {
        Trial::entered_with(&[], |_| {})
    }

    fn entered_with(keep: &[&Path], change: impl FnOnce(&mut Command)) -> Trial {
        let mut trial = Trial::start(keep, change);
        assert_eq!(trial.answer(), (0, "entered".into()), "these tests need root");
        trial
    }

    fn with_network() -> Trial {
        let mut trial = Trial::entered();
        let dir = trial.dir.path().display().to_string();
        trial.tell(&format!("ovs {dir}"));
        assert_eq!(trial.answer(), (0, "started".into()), "these tests need openvswitch-switch");
        let h1 = trial.sh(NETWORK);
        std::fs::write(trial.dir.path().join(HOSTS_FILE), format!("{{\"h1\": {}}}", h1.trim())).unwrap();
        trial
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    fn answer(&mut self) -> (i64, String) {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let answer: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e} in {line:?}"));
        (answer["code"].as_i64().unwrap(), answer["said"].as_str().unwrap().to_owned())
    }

    fn try_sh(&mut self, script: &str) -> (i64, String) {
        self.tell(&format!("sh {script}"));
        self.answer()
    }

    fn sh(&mut self, script: &str) -> String {
        let (code, said) = self.try_sh(script);
        assert_eq!(code, 0, "{script}: {said}");
        said
    }

    fn footprint(&self) -> Footprint {
        let mut footprint = Footprint::new(&self.marker);
        footprint.observe().unwrap();
        assert!(!footprint.is_empty());
        footprint
    }

    fn stop(mut self) -> i32 {
        self.tell("stop");
        self.child.wait().unwrap().code().unwrap()
    }
}

/// Nothing that is tied to the trial is left on the host, or will be within [`SOON`].
fn assert_as_before(before: &HostState, footprint: &Footprint) {
    let left: Vec<String> =
        settle(before, footprint, SOON).unwrap().iter().filter(|d| d.of_trial).map(ToString::to_string).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

fn wait_until(what: &str, within: Duration, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + within;
    while !condition() {
        assert!(Instant::now() < deadline, "after {within:?} still not: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_trial_with_its_own_open_vswitch_leaves_nothing() {
    let (before, there) = (HostState::snapshot().unwrap(), Path::new("/run/openvswitch").exists());
    let mut trial = Trial::with_network();
    assert_eq!(trial.sh("ovs-vsctl --timeout=5 list-br").trim(), "s1");
    assert!(trial.sh("ip -o link show up").contains("lo:"), "lo is up");
    assert!(trial.sh("ls /sys/class/net").contains("s1-eth1"), "/sys shows the sandbox's interfaces");
    let footprint = trial.footprint();
    assert_eq!(trial.stop(), 0);
    assert_as_before(&before, &footprint);
    assert_eq!(Path::new("/run/openvswitch").exists(), there, "the host's /run/openvswitch is as it was");
}

#[test]
fn a_process_that_stayed_would_be_noticed() {
    let before = HostState::snapshot().unwrap();
    let trial = Trial::with_network();
    let footprint = trial.footprint();
    // Keeper, init, program, two of Open vSwitch, host, orphan; of namespaces PID, and network and mounts of sandbox
    // and host. A process that a loaded machine has only just forked may not have its own yet.
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let left = settle(&before, &footprint, Duration::ZERO).unwrap();
        let count = |word: &str| left.iter().filter(|d| d.of_trial && d.kind.to_string() == word).count();
        if count("process") >= 6 && count("namespace") >= 5 {
            break;
        }
        assert!(Instant::now() < deadline, "{left:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(trial.stop(), 0);
    assert_as_before(&before, &footprint);
}

/// Starts a sandbox, brings up a network in it, and waits to be killed.
fn starter() {
    let mut trial = Trial::with_network();
    println!("{}", trial.dir.path().display());
    let _ = trial.output.read_line(&mut String::new());
}

#[test]
fn killing_the_starter_ends_everything() {
    let before = HostState::snapshot().unwrap();
    let mut ready = 0;
    let mut slowest = Duration::ZERO;
    for round in 0..12 {
        let tmp = tempfile::tempdir().unwrap();
        let mut starter = Command::new(std::env::current_exe().unwrap())
            .env(ROLE, "starter")
            .env("TMPDIR", tmp.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let patience = match round {
            // At least once in the middle of everything, else at a moment of start-up.
            0 => {
                BufReader::new(starter.stdout.as_mut().unwrap()).read_line(&mut String::new()).unwrap();
                Duration::ZERO
            }
            round => Duration::from_millis(round * round * 3 + u64::from(std::process::id() % 7)),
        };
        std::thread::sleep(patience);
        let trials: Vec<_> =
            running().unwrap().into_iter().filter(|t| t.marker.dir().starts_with(tmp.path())).collect();
        let mut footprints: Vec<Footprint> = trials.iter().map(|trial| Footprint::new(&trial.marker)).collect();
        footprints.iter_mut().for_each(|footprint| footprint.observe().unwrap());
        ready += footprints.iter().filter(|footprint| !footprint.is_empty()).count();
        starter.kill().unwrap();
        let killed = Instant::now();
        starter.wait().unwrap();
        for footprint in &footprints {
            assert_as_before(&before, footprint);
        }
        // The keeper too, and what was started after the look above.
        let marked = || marked_processes(tmp.path());
        wait_until("no marked process", SOON.saturating_sub(killed.elapsed()), || marked().is_empty());
        slowest = slowest.max(killed.elapsed());
    }
    println!("after kill -9 nothing was left within {slowest:?}");
    assert!(ready > 0, "no round came as far as a sandbox");
}

/// Processes whose trial's folder lies in `dir`, found without the code under test.
fn marked_processes(dir: &Path) -> Vec<PathBuf> {
    let needle = [b"LIVECTL_TRIAL_DIR=", dir.as_os_str().as_encoded_bytes()].concat();
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok).map(|entry| entry.path());
    processes
        .filter(|path| {
            let block = std::fs::read(path.join("environ")).unwrap_or_default();
            block.split(|b| *b == 0).any(|entry| entry.starts_with(&needle))
        })
        .collect()
}

#[test]
fn a_closed_input_ends_everything() {
    let before = HostState::snapshot().unwrap();
    let mut trial = Trial::with_network();
    let footprint = trial.footprint();
    // Busy, so that it cannot notice by itself.
    trial.tell("sh sleep 600");
    drop(trial.input.take());
    assert_eq!(trial.child.wait().unwrap().code(), Some(137));
    assert_as_before(&before, &footprint);
}

#[test]
fn the_exit_code_and_signals_pass_through() {
    let mut trial = Trial::entered();
    trial.tell("exit 7");
    assert_eq!(trial.child.wait().unwrap().code(), Some(7));

    let mut trial = Trial::entered();
    let keeper = nix::unistd::Pid::from_raw(trial.child.id().try_into().unwrap());
    nix::sys::signal::kill(keeper, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(trial.child.wait().unwrap().code(), Some(128 + 15), "the program was ended by TERM");
}

#[test]
fn killing_the_keeper_ends_everything() {
    let before = HostState::snapshot().unwrap();
    let mut trial = Trial::with_network();
    let footprint = trial.footprint();
    trial.child.kill().unwrap();
    trial.child.wait().unwrap();
    assert_as_before(&before, &footprint);
}

#[test]
fn mininet_boots_and_pings_inside() {
    let before = HostState::snapshot().unwrap();
    let mut trial = Trial::entered();
    let dir = trial.dir.path().display().to_string();
    trial.tell(&format!("ovs {dir}"));
    assert_eq!(trial.answer(), (0, "started".into()), "these tests need openvswitch-switch");
    let switch = "ovs,datapath=user,failMode=standalone";
    let said = trial.sh(&format!("mn --topo single,2 --switch {switch} --controller none --test pingall 2>&1"));
    assert!(said.contains("0% dropped (2/2 received)"), "these tests need mininet: {said}");
    let footprint = trial.footprint();
    assert_eq!(trial.stop(), 0);
    assert_as_before(&before, &footprint);
}

#[test]
fn orphans_are_reaped_and_children_are_not_stolen() {
    let mut trial = Trial::entered();
    for round in 0..20 {
        // Each leaves an orphan behind; the shell's own exit code must still arrive.
        assert_eq!(trial.try_sh(&format!("(sleep 0.01 &) ; exit {round}")).0, round);
    }
    trial.sh("sleep 0.1");
    assert_eq!(trial.try_sh("grep -l '^State:.Z' /proc/[0-9]*/status").1.trim(), "", "no zombies");
    assert_eq!(trial.stop(), 0);
}

#[test]
fn two_side_by_side_have_the_same_names() {
    let (mut one, mut two) = (Trial::with_network(), Trial::with_network());
    for trial in [&mut one, &mut two] {
        assert_eq!(trial.sh("ovs-vsctl --timeout=5 list-ports s1").trim(), "s1-eth1");
    }
    one.sh("ovs-vsctl --timeout=5 del-br s1; ip link del s1-eth1");
    assert_eq!(two.sh("ovs-vsctl --timeout=5 list-br").trim(), "s1");
    assert!(two.sh("ip -o link").contains("s1-eth1"));
    assert_eq!((one.stop(), two.stop()), (0, 0));
}

#[test]
fn kept_paths_stay_and_the_rest_is_private() {
    let in_tmp = tempfile::tempdir().unwrap();
    let in_run = tempfile::tempdir_in("/run").unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let stranger = tempfile::NamedTempFile::new().unwrap();
    let away = tempfile::tempdir_in("/var/tmp").unwrap();
    let link = in_tmp.path().join("link");
    std::os::unix::fs::symlink(away.path(), &link).unwrap();
    let nested = in_tmp.path().join("nested");
    std::fs::create_dir(&nested).unwrap();
    let keep = [in_tmp.path(), in_run.path(), file.path(), &link, &nested];
    let mut trial = Trial::entered_with(&keep, |command| {
        command.current_dir(&nested);
    });

    assert_eq!(trial.sh("pwd").trim(), nested.to_str().unwrap());
    trial.sh("echo here > from-inside");
    for folder in [in_tmp.path(), in_run.path(), &link] {
        trial.sh(&format!("echo here > {}/from-inside", folder.display()));
    }
    trial.sh(&format!("echo here > {}", file.path().display()));
    trial.sh("touch /tmp/only-inside.log /run/only-inside /dev/shm/only-inside");
    assert_eq!(trial.try_sh(&format!("test -e {}", stranger.path().display())).0, 1, "the rest of /tmp is hidden");
    assert_eq!(trial.sh("ls -A /run/openvswitch /run/lock").matches('\n').count(), 3, "own and empty");
    assert_eq!(trial.sh("ls -A /var/run").matches("openvswitch").count(), 1, "/var/run is /run");
    assert_eq!(trial.stop(), 0);

    for folder in [in_tmp.path(), in_run.path(), away.path(), &nested] {
        assert_eq!(std::fs::read_to_string(folder.join("from-inside")).unwrap(), "here\n", "{folder:?}");
    }
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "here\n");
    for path in ["/tmp/only-inside.log", "/run/only-inside", "/dev/shm/only-inside"] {
        assert!(!Path::new(path).exists(), "{path}");
    }
}

#[test]
fn the_whole_of_tmp_cannot_be_kept() {
    let mut trial = Trial::start(&[Path::new("/tmp")], |_| {});
    let (code, said) = trial.answer();
    assert_eq!(code, 4);
    assert!(said.starts_with("cannot keep /tmp visible"), "{said}");
    assert_eq!(trial.child.wait().unwrap().code(), Some(4));
}

#[test]
fn a_path_that_is_not_there_is_told() {
    let mut trial = Trial::start(&[Path::new("/tmp/no/such/folder")], |_| {});
    assert!(trial.answer().1.contains("find /tmp/no/such/folder"));
    assert_eq!(trial.child.wait().unwrap().code(), Some(4), "told by PID 2, passed on by PID 1 and the keeper");
}

#[test]
fn the_hosts_settings_cannot_be_changed() {
    let pty_max = || std::fs::read_to_string("/proc/sys/kernel/pty/max").unwrap();
    let forward = || std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
    let (pty_before, forward_before) = (pty_max(), forward());
    let mut trial = Trial::entered();
    assert!(trial.try_sh("echo 20000 > /proc/sys/kernel/pty/max").1.contains("Read-only"));
    let other = if forward_before.trim() == "0" { "1" } else { "0" };
    trial.sh(&format!("echo {other} > /proc/sys/net/ipv4/ip_forward"));
    assert_eq!(trial.sh("cat /proc/sys/net/ipv4/ip_forward").trim(), other);
    assert_eq!((pty_max(), forward()), (pty_before, forward_before));
    assert_eq!(trial.stop(), 0);
}

#[test]
fn a_small_limit_of_open_files_does_not_reach_a_trial() {
    use nix::sys::resource::{Resource, setrlimit};
    use std::os::unix::process::CommandExt;
    let mut trial = Trial::entered_with(&[], |command| {
        // SAFETY: one system call, nothing allocated.
        unsafe { command.pre_exec(|| Ok(setrlimit(Resource::RLIMIT_NOFILE, 40, 20_000)?)) };
    });
    assert_eq!(trial.sh("ulimit -n").trim(), "16384");
    assert_eq!(trial.stop(), 0);
}

#[test]
fn without_root_it_says_so() {
    let mut trial = Trial::start(&[], |command| {
        command.uid(65_534);
    });
    let (code, said) = trial.answer();
    assert_eq!(
        (code, said.as_str()),
        (4, "a trial needs root, and this process runs as user 65534; run it with sudo")
    );
    assert_eq!(trial.child.wait().unwrap().code(), Some(4));
}

#[test]
fn without_the_privilege_it_says_so() {
    let exe = std::env::current_exe().unwrap();
    let output = Command::new("setpriv")
        .args(["--bounding-set=-sys_admin", "--inh-caps=-sys_admin"])
        .arg(exe)
        .env(ROLE, "inside")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("cannot make the process id namespace: EPERM") && said.contains("doctor"), "{said}");
    assert_eq!(output.status.code(), Some(4));
}

#[test]
fn a_running_trial_is_found_and_its_host_entered() {
    let trial = Trial::with_network();
    let found = running().unwrap().into_iter().find(|found| found.marker == trial.marker).unwrap();
    assert!(found.processes >= 6, "{found:?}");
    let mut command = found.command_on("h1", "ip".as_ref(), ["-o", "link"]).unwrap();
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("h1-eth0") && !said.contains("s1-eth1"), "{output:?}");
    assert_eq!(trial.stop(), 0);
}

#[test]
fn open_vswitch_that_dies_is_told_with_its_log() {
    let mut trial = Trial::entered();
    // A folder where the database should be.
    let dir = trial.dir.path().to_owned();
    std::fs::create_dir_all(dir.join("ovs/conf.db")).unwrap();
    trial.tell(&format!("ovs {}", dir.display()));
    let (code, said) = trial.answer();
    assert_eq!(code, 1);
    assert!(said.contains("ovsdb-tool create") && said.contains("conf.db"), "{said}");
    assert_eq!(trial.stop(), 0);
}

/// A host that has an Open vSwitch, a network, files in /tmp and a process called `controller`; itself in a sandbox,
/// so that this machine needs none of it. Starts a trial on it, which does its worst.
fn host_with_its_own_ovs() {
    let keep = [PathBuf::from(std::env::var_os("SANDBOX_TEST_DIR").unwrap()), std::env::current_exe().unwrap()];
    let environment = sandbox::enter(&keep).unwrap().environment;
    let shell = |script: &str| {
        let mut command = Command::new("sh");
        environment.apply(&mut command);
        let output = command.args(["-c", script]).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{script}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ovs = runtime.block_on(Ovs::start(&keep[0].join("ovs"), &keep[0].join("log"), &environment)).unwrap();
    shell(
        "ovs-vsctl --timeout=5 add-br s1 -- set bridge s1 datapath_type=netdev; touch /tmp/mine.log; \
         ip link add s1-eth1 type veth peer name h1-eth0; ln -s /bin/sleep /tmp/controller; mkdir /run/netns",
    );
    let mut controller = Command::new("/tmp/controller").arg("600").spawn().unwrap();
    let before = HostState::snapshot().unwrap();

    let mut trial = Trial::with_network();
    assert_eq!(trial.sh("ovs-vsctl --timeout=5 list-br").trim(), "s1");
    trial.sh("touch /tmp/x.log; mn -c 2>&1; ovs-vsctl --timeout=5 --if-exists del-br s1; rm -rf /tmp/*.log /run/*");
    let footprint = trial.footprint();
    assert_eq!(trial.stop(), 0);

    let differences = settle(&before, &footprint, SOON).unwrap();
    assert!(differences.iter().all(|d| !d.of_trial && d.kind.to_string() != "bridge"), "{differences:?}");
    assert_eq!(shell("ovs-vsctl --timeout=5 list-br").trim(), "s1");
    assert!(shell("ip -o link").contains("s1-eth1"));
    assert!(Path::new("/tmp/mine.log").exists());
    assert!(controller.try_wait().unwrap().is_none(), "the user's process called controller still runs");
    controller.kill().unwrap();

    // And on a host where nobody ever made /run/openvswitch.
    runtime.block_on(ovs.stop());
    std::fs::remove_dir_all("/run/openvswitch").unwrap();
    let trial = Trial::with_network();
    assert_eq!(trial.stop(), 0);
    assert!(!Path::new("/run/openvswitch").exists());
    println!("all as it was");
}

#[test]
fn a_host_with_its_own_network_never_notices() {
    let dir = tempfile::tempdir().unwrap();
    let marker = fresh_marker(dir.path());
    let mut command = sandbox::command(&marker, &std::env::current_exe().unwrap(), [""; 0]);
    command.env(ROLE, "host").env("SANDBOX_TEST_DIR", dir.path()).stderr(Stdio::piped());
    let mut child = sandbox::spawn_blocking(command).unwrap();
    // Held open: its end would end the sandbox.
    let _input = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "all as it was\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_starter_in_a_runtime_kills_on_drop() {
    let before = HostState::snapshot().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let marker = fresh_marker(dir.path());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let footprint = runtime.block_on(async {
        let mut command = sandbox::command(&marker, &std::env::current_exe().unwrap(), [""; 0]);
        command.env(ROLE, "inside").env(KEEP, OsString::new());
        let mut child = sandbox::spawn(command).await.unwrap();
        let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(child.stdout.take().unwrap()));
        assert!(lines.next_line().await.unwrap().unwrap().contains("entered"));
        let mut footprint = Footprint::new(&marker);
        footprint.observe().unwrap();
        assert!(!footprint.is_empty());
        footprint
    });
    assert_as_before(&before, &footprint);
}

//! Machines on which nothing can run: each a clear message, its own exit code, and nothing left behind.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::path::Path;
use std::process::{Command, Output, Stdio};

const LIVECTL: &str = env!("CARGO_BIN_EXE_livectl");

fn here(mut command: Command) -> Output {
    assert!(nix::unistd::geteuid().is_root(), "these tests change what a process may see: run them as root");
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()).output().unwrap()
}

/// Runs the smoke recipe in a mount namespace of its own after `arrange`, a shell script.
fn after(arrange: &str, results: &Path) -> Output {
    let mut command = Command::new("unshare");
    let script = format!("set -e; {arrange}\nexec \"$0\" run recipes/smoke.yaml --results \"$1\"");
    command.args(["--mount", "sh", "-c", &script, LIVECTL]).arg(results);
    here(command)
}

fn assert_ends(output: &Output, code: i32, says: &[&str]) {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{text}");
    for word in says {
        assert!(text.contains(word), "{word:?} is not in:\n{text}");
    }
}

fn nothing_in(results: &Path) {
    let left: Vec<_> = std::fs::read_dir(results).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn without_root() {
    let results = tempfile::tempdir().unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", LIVECTL, "run", "recipes/smoke.yaml"]);
    assert_ends(&here(command), 4, &["needs root", "sudo"]);
    nothing_in(results.path());
}

#[test]
fn a_program_is_missing() {
    for (program, package) in
        [("mplayer", "mplayer"), ("nginx", "nginx"), ("ovs-vswitchd", "openvswitch-switch"), ("mn", "mininet")]
    {
        let results = tempfile::tempdir().unwrap();
        let hide = format!("mount --bind /dev/null \"$(PATH=/usr/sbin:/usr/bin command -v {program})\"");
        assert_ends(&after(&hide, results.path()), 4, &[program, "apt-get install", package]);
        nothing_in(results.path());
    }
}

#[test]
fn no_tun_device() {
    let results = tempfile::tempdir().unwrap();
    let hide = "mount -t tmpfs none /dev/net";
    let output = after(hide, results.path());
    // Where the kernel has netem and openvswitch nothing needs a TAP device.
    if !matches!(output.status.code(), Some(0 | 6)) {
        assert_ends(&output, 4, &["/dev/net/tun"]);
        nothing_in(results.path());
    }
}

#[test]
fn namespaces_are_not_allowed() {
    let results = tempfile::tempdir().unwrap();
    let mut command = Command::new("setpriv");
    command
        .args(["--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin", LIVECTL, "run", "recipes/smoke.yaml"])
        .arg("--results")
        .arg(results.path());
    assert_ends(&here(command), 4, &["namespace"]);
    nothing_in(results.path());
}

#[test]
fn results_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let results = folder.path().join("results");
    std::fs::create_dir(&results).unwrap();
    let read_only = "mount -t tmpfs -o ro none \"$1\"";
    assert_ends(&after(read_only, &results), 5, &["cannot write", "results"]);
    nothing_in(&results);
}

#[test]
fn the_disk_is_full() {
    let folder = tempfile::tempdir().unwrap();
    assert_ends(&after("mount -t tmpfs -o size=1m none \"$1\"", folder.path()), 5, &["Free some space"]);
    nothing_in(folder.path());
}

#[test]
fn the_recipe_is_not_there() {
    let mut command = Command::new(LIVECTL);
    command.args(["run", "recipes/none.yaml"]);
    assert_ends(&here(command), 3, &["recipes/none.yaml"]);
}

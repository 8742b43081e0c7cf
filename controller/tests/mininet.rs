//! Real networks: Mininet, Open vSwitch, nginx-rtmp, ffmpeg, mplayer. These need root and those programs, and fail without.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::process::{Command, Stdio};

/// What the script says. Both versions of OpenFlow are tried at the same time, each in a network of its own: what is tried is mostly waiting, and
/// the crowd's is 75 s of silence.
fn run(what: &str) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mininet.sh");
    let start = |version: &str| {
        let mut command = Command::new("bash");
        command.args([script, env!("CARGO_BIN_EXE_live-controller"), what]).env("VERSIONS", version);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let both = ["OpenFlow10", "OpenFlow13"].map(start).map(|child| child.wait_with_output().unwrap());
    both.map(|output| {
        let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{said}\n{failed}");
        print!("{said}");
        said.into_owned()
    })
    .concat()
}

#[test]
fn pingall_on_three_topologies_in_both_versions() {
    assert_eq!(run("pingall").matches("0% dropped").count(), 6);
}

#[test]
fn a_network_with_loops_works_as_the_readme_says() {
    assert!(run("loops").contains("torus: 0% packet loss"));
}

#[test]
fn a_restart_and_bad_switches_are_survived() {
    let said = run("restart");
    for outcome in ["at least 599 of 600 frames played", "0 pings of", "Mbit/s"] {
        assert_eq!(said.matches(outcome).count(), 2, "{outcome}: {said}");
    }
}

#[test]
fn livestreams_are_introduced_and_do_not_pass_the_controller() {
    assert_eq!(run("bypass").matches("bytes of video did not").count(), 4);
}

#[test]
fn a_crowd_is_introduced_at_once_and_who_pauses_stays() {
    assert_eq!(run("crowd").matches("21 that paused are known").count(), 2);
}

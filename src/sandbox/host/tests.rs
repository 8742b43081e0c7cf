#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::procfs::{Namespaces, Process};
use super::*;

const HOST_NS: Namespaces = Namespaces { net: 1, mnt: 2, pid: 3 };
const TRIAL_NS: Namespaces = Namespaces { net: 11, mnt: 12, pid: 13 };

fn marker() -> Marker {
    Marker::new(7, 1, 0, Path::new("/results/p2p/direct-1"))
}

fn process(pid: i32, started: u64, namespaces: Namespaces, marker: Option<Marker>) -> Process {
    Process { pid, name: "sleep".into(), started, inner_pid: 2, namespaces, marker }
}

fn footprint() -> Footprint {
    Footprint { marker: marker(), namespaces: BTreeSet::from([11, 12, 13]), last_start: 500 }
}

fn state(processes: Vec<Process>) -> HostState {
    let named = |inode: u64, kind: &str| (format!("{kind}:[{inode}]"), "in use".to_owned());
    let namespaces = processes
        .iter()
        .flat_map(|p| {
            [named(p.namespaces.net, "net"), named(p.namespaces.mnt, "mnt"), named(p.namespaces.pid, "pid")]
        })
        .collect();
    HostState { processes, namespaces, bridges: Some(BTreeMap::new()), ..HostState::default() }
}

fn of_trial(differences: &[Difference]) -> Vec<String> {
    differences.iter().filter(|d| d.of_trial).map(|d| format!("{} {}", d.kind, d.name)).collect()
}

#[test]
fn nothing_changed() {
    let host = state(vec![process(1, 1, HOST_NS, None)]);
    assert_eq!(diff(&host, &host, &footprint()), []);
}

#[test]
fn a_process_left_behind_is_the_trials_with_its_namespaces() {
    let before = state(vec![process(1, 1, HOST_NS, None)]);
    // Its environment was cleared: only the namespaces tell.
    let after = state(vec![process(1, 1, HOST_NS, None), process(90, 400, TRIAL_NS, None)]);
    let found = diff(&before, &after, &footprint());
    assert_eq!(
        of_trial(&found),
        ["process 90 (sleep)", "namespace mnt:[12]", "namespace net:[11]", "namespace pid:[13]"]
    );
}

#[test]
fn a_marked_process_outside_is_the_trials() {
    let before = state(vec![]);
    let after = state(vec![process(90, 900, HOST_NS, Some(marker()))]);
    assert!(of_trial(&diff(&before, &after, &footprint())).contains(&"process 90 (sleep)".to_owned()));
}

#[test]
fn a_namespace_number_used_again_is_somebody_elses() {
    let before = state(vec![process(1, 1, HOST_NS, None)]);
    let after = state(vec![process(1, 1, HOST_NS, None), process(91, 501, TRIAL_NS, None)]);
    let found = diff(&before, &after, &footprint());
    assert_eq!(of_trial(&found), [""; 0]);
    assert_eq!(found.len(), 3, "three namespaces appeared, but not the trial's: {found:?}");
}

#[test]
fn another_trial_beside_is_not_blamed() {
    let other = Marker::new(8, 1, 0, Path::new("/results/p2p/direct-10"));
    let elsewhere = Namespaces { net: 21, mnt: 22, pid: 23 };
    let before = state(vec![]);
    let mut after = state(vec![process(95, 400, elsewhere, Some(other))]);
    after.links.insert("s1-eth1".into(), "index 40".into());
    after.mounts.insert("/results/p2p/direct-10/x".into(), "tmpfs of none".into());
    let found = diff(&before, &after, &footprint());
    assert_eq!(of_trial(&found), [""; 0]);
    assert!(found.iter().any(|d| d.to_string().starts_with("interface s1-eth1 appeared (meanwhile")), "{found:?}");
}

#[test]
fn a_mount_in_the_trials_folder_is_the_trials() {
    let before = state(vec![]);
    let mut after = state(vec![]);
    after.mounts.insert("/results/p2p/direct-1/ovs".into(), "tmpfs of none".into());
    assert_eq!(of_trial(&diff(&before, &after, &footprint())), ["mount /results/p2p/direct-1/ovs"]);
}

#[test]
fn what_vanished_or_changed_is_told() {
    let mut before = state(vec![]);
    before.bridges.as_mut().unwrap().insert("br0".into(), "there".into());
    before.sysctls.insert("kernel.pty.max".into(), "4096".into());
    let mut after = state(vec![]);
    after.sysctls.insert("kernel.pty.max".into(), "20000".into());
    let told: Vec<String> = diff(&before, &after, &footprint()).iter().map(ToString::to_string).collect();
    assert!(told[0].starts_with("bridge br0 vanished"), "{told:?}");
    assert!(told[1].starts_with("kernel setting kernel.pty.max changed from 4096 to 20000"), "{told:?}");
}

#[test]
fn an_open_vswitch_that_does_not_answer_proves_nothing() {
    let mut before = state(vec![]);
    before.bridges.as_mut().unwrap().insert("br0".into(), "there".into());
    let after = HostState { bridges: None, ..state(vec![]) };
    assert_eq!(diff(&before, &after, &footprint()), []);
}

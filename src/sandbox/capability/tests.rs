#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::probe::{missing_from, version_in};
use super::*;

/// A machine on which everything works.
pub(super) fn lab() -> Capabilities {
    let works = || Tried::Works("tried".into());
    let program = Program {
        name: "mplayer",
        package: "mplayer",
        purpose: "is the viewer",
        path: Some("/usr/bin/mplayer".into()),
        version: Some("1.5".into()),
    };
    Capabilities {
        uid: 0,
        kernel: "6.1.0-18-amd64".into(),
        cores: 4,
        clock_source: "tsc".into(),
        timer_slack_ns: Some(50_000),
        disk: Some(("/".into(), 10 << 30)),
        namespaces: works(),
        netem: works(),
        openvswitch: works(),
        tun: works(),
        congestion_controls: vec!["reno".into(), "cubic".into()],
        pressure: true,
        programs: vec![program],
        on_demand: [
            ("obs", "obs-studio", "encodes and publishes"),
            ("Xvfb", "xvfb", "is the screen"),
            ("ffplay", "ffmpeg", "shows pictures"),
            ("mpv", "mpv", "shows the stream"),
            ("rtmpdump", "rtmpdump", "dumps the stream"),
        ]
        .map(|(name, package, purpose)| Program { name, package, purpose, path: None, version: None })
        .into(),
        path: "/usr/bin".into(),
        mininet: works(),
        rtmp_module: Some("/usr/lib/nginx/modules/ngx_rtmp_module.so".into()),
        ffmpeg_lacks: vec![],
        controller: Some("/usr/local/bin/live-controller".into()),
        agent: Some("/usr/local/bin/live-agent".into()),
        tools_lack: vec![],
    }
}

fn fails(why: &str) -> Tried {
    Tried::Fails(why.into())
}

fn state_of(here: &Capabilities, name: &str) -> State {
    findings(here).into_iter().find(|f| f.name == name).unwrap_or_else(|| panic!("no finding {name}")).state
}

#[test]
fn a_good_machine_is_ready() {
    let report = Report::new(&lab());
    assert!(report.ready());
    assert!(report.findings.iter().all(|f| f.state == State::Fine && f.remedy.is_none()), "{report:#?}");
    assert!(report.text(false).ends_with("This machine is ready for trials.\n"));
}

#[test]
fn links_by_what_there_is() {
    let both = lab();
    let only_tap = Capabilities { netem: fails("Specified qdisc kind is unknown."), ..lab() };
    let only_netem = Capabilities { tun: fails("no /dev/net/tun"), ..lab() };
    let neither = Capabilities { netem: fails("no netem"), tun: fails("no tun"), ..lab() };
    let kind = |asked, here: &Capabilities| resolve_links(asked, here).map(|choice| choice.kind);
    use LinkKind::{Auto, Emulated, Netem};
    assert_eq!(kind(Auto, &both), Ok(Netem));
    assert_eq!(kind(Emulated, &both), Ok(Emulated));
    assert_eq!(kind(Auto, &only_tap), Ok(Emulated));
    assert_eq!(kind(Auto, &only_netem), Ok(Netem));
    assert!(kind(Netem, &only_tap).unwrap_err().to_string().contains("sudo modprobe sch_netem"));
    assert!(kind(Emulated, &only_netem).unwrap_err().to_string().contains("no /dev/net/tun"));
    let error = kind(Auto, &neither).unwrap_err().to_string();
    assert!(error.contains("no netem") && error.contains("no tun"), "{error}");
    let why = resolve_links(Auto, &only_tap).unwrap().why;
    assert_eq!(why, "this kernel has no netem (Specified qdisc kind is unknown.)");
}

#[test]
fn datapaths_by_what_there_is() {
    let only_tap = Capabilities { openvswitch: fails("no module"), ..lab() };
    let neither = Capabilities { openvswitch: fails("no module"), tun: fails("no tun"), ..lab() };
    let kind = |asked, here: &Capabilities| resolve_datapath(asked, here).map(|choice| choice.kind);
    assert_eq!(kind(Datapath::Auto, &lab()), Ok(Datapath::Kernel));
    assert_eq!(kind(Datapath::User, &lab()), Ok(Datapath::User));
    assert_eq!(kind(Datapath::Auto, &only_tap), Ok(Datapath::User));
    assert!(kind(Datapath::Kernel, &only_tap).is_err());
    assert!(kind(Datapath::Auto, &neither).is_err());
}

#[test]
fn one_kind_of_link_is_enough() {
    let only_tap = Capabilities { netem: fails("x"), openvswitch: fails("x"), ..lab() };
    assert_eq!(state_of(&only_tap, "netem"), State::Warning);
    assert_eq!(state_of(&only_tap, "openvswitch module"), State::Warning);
    assert!(Report::new(&only_tap).ready());

    let only_kernel = Capabilities { tun: fails("x"), ..lab() };
    assert_eq!(state_of(&only_kernel, "TAP devices"), State::Warning);
    assert!(Report::new(&only_kernel).ready());

    let netem_alone = Capabilities { tun: fails("x"), openvswitch: fails("x"), ..lab() };
    assert_eq!(state_of(&netem_alone, "TAP devices"), State::Missing, "nothing would forward packets");
}

#[test]
fn missing_packages_are_installed_in_one_line() {
    let mut here = Capabilities { rtmp_module: None, mininet: fails("No module named 'mininet'"), ..lab() };
    here.programs[0].path = None;
    let report = Report::new(&here);
    assert!(!report.ready());
    let line = "sudo apt-get install -y --no-install-recommends libnginx-mod-rtmp mininet mplayer";
    assert_eq!(report.install.as_deref(), Some(line));
    assert_eq!(report.text(false).matches("apt-get").count(), 1, "{}", report.text(false));
}

#[test]
fn tools_are_nobodys_duty() {
    let without = Capabilities { tools_lack: vec!["wireshark", "xterm"], ..lab() };
    let report = Report::new(&without);
    assert!(report.ready() && report.install.is_none() && report.text(false).ends_with("is ready for trials.\n"));
    assert!(report.text(false).contains("optional, not installed: wireshark, xterm;"), "{}", report.text(false));
}

#[test]
fn little_disk_and_slow_clocks_are_noticed() {
    let tight = Capabilities { disk: Some(("/".into(), 500 << 20)), clock_source: "hpet".into(), ..lab() };
    assert_eq!(state_of(&tight, "disk"), State::Warning);
    assert_eq!(state_of(&tight, "clock source"), State::Warning);
    assert_eq!(state_of(&Capabilities { disk: Some(("/".into(), 1 << 20)), ..lab() }, "disk"), State::Missing);
    assert_eq!(state_of(&Capabilities { clock_source: "kvm-clock".into(), ..lab() }, "clock source"), State::Fine);
}

#[test]
fn without_x264_only_some_recipes_fail() {
    let lacks = |part: &str| Capabilities { ffmpeg_lacks: vec![part.into()], ..lab() };
    assert_eq!(state_of(&lacks("encoder libx264"), "ffmpeg's parts"), State::Warning);
    assert_eq!(state_of(&lacks("muxer flv"), "ffmpeg's parts"), State::Missing);
}

#[test]
fn text_is_aligned_and_coloured_only_on_request() {
    let here = Capabilities { netem: fails("unknown qdisc"), ..lab() };
    let report = Report::new(&here);
    assert!(!report.text(false).contains('\x1b'));
    assert!(report.text(true).contains("\x1b[33mwarning\x1b[0m"));
    let plain = report.text(false);
    let column = |needle: &str| plain.lines().find_map(|line| line.find(needle)).unwrap();
    assert_eq!(column("unknown qdisc"), column("netem links cannot"));
}

#[test]
fn json_names_states_in_words() {
    let json = serde_json::to_value(Report::new(&Capabilities { netem: fails("x"), ..lab() })).unwrap();
    let netem = json["findings"].as_array().unwrap().iter().find(|f| f["name"] == "netem").unwrap();
    assert_eq!(netem["state"], "warning");
    assert!(netem["remedy"].as_str().unwrap().contains("modprobe sch_netem"));
}

#[test]
fn versions_as_programs_print_them() {
    for (said, version) in [
        ("2.3.0\n", "2.3.0"),
        ("ovs-vsctl (Open vSwitch) 3.1.0\nDB Schema 8.3.1\n", "3.1.0"),
        ("nginx version: nginx/1.22.1\n", "1.22.1"),
        ("ffmpeg version 5.1.9-0+deb12u1 Copyright (c) 2000-2026 the FFmpeg developers\n", "5.1.9-0+deb12u1"),
        ("tcpdump version 4.99.3\n", "4.99.3"),
        ("ping from iputils 20221126\n", "20221126"),
        ("ip utility, iproute2-6.1.0, libbpf 1.1.2\n", "6.1.0"),
        ("ethtool version 6.1\n", "6.1"),
        ("iperf version 2.1.8 (12 August 2022) pthreads\n", "2.1.8"),
        ("telnet (GNU inetutils) 2.4\nCopyright (C) 2022\n", "2.4"),
    ] {
        assert_eq!(version_in(said).as_deref(), Some(version), "{said}");
    }
    assert_eq!(version_in("\n\n"), None);
    assert_eq!(version_in("MPlayer UNKNOWN-12 (C) 2000-2023 MPlayer Team\n"), None);
}

#[test]
fn ffmpeg_lists_are_read_by_name() {
    let list = " V..... flv                  FLV / Sorenson Spark (codec flv1)\n V....D libx264rgb           libx264 H.264\n";
    assert_eq!(missing_from(list, &["flv", "libx264"]).collect::<Vec<_>>(), ["libx264"]);
}

#[test]
fn this_machine_is_probed() {
    let here = Capabilities::probe(&Places { results: "no/such/folder/yet".into() });
    assert!(here.kernel.starts_with(|c: char| c.is_ascii_digit()), "{}", here.kernel);
    assert!(here.cores > 0 && here.disk.is_some());
    let ip = here.programs.iter().find(|p| p.name == "ip").unwrap();
    assert!(ip.path.is_some() && ip.version.is_some(), "iproute2 is needed for these tests: {ip:?}");
}

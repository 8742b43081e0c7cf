#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::process::Command;
use std::time::Duration;

use super::*;
use crate::plan::{
    Cdn, Codec, Datapath, Host, Interface, LinkKind, Network, Player, Point, Role, Scheme, Shape, Timeline, Trial,
    Video, VideoSource,
};

/// hb and hv1 with 4 Mbit/s 100 ms, hs with 2 Mbit/s 300 ms, all on s1.
pub(crate) fn trial() -> Trial {
    let shape = |bandwidth, delay| Shape {
        bandwidth: Some(bandwidth),
        delay: Duration::from_millis(delay),
        jitter: Duration::ZERO,
        loss: 0.0,
        queue: 1000,
    };
    let members = [
        ("hb", Role::Broadcaster, shape(4_000_000, 100)),
        ("hs", Role::Cdn, shape(2_000_000, 300)),
        ("hv1", Role::Viewer, shape(4_000_000, 100)),
    ];
    let hosts = members
        .iter()
        .enumerate()
        .map(|(i, (name, role, _))| Host {
            name: (*name).into(),
            role: *role,
            interfaces: vec![Interface {
                name: format!("{name}-eth0"),
                mac: format!("02:00:00:00:00:{:02x}", i + 1),
                address: [10, 0, 0, i as u8 + 1].into(),
                prefix: 24,
                link: i,
            }],
            player: Player::default(),
        })
        .collect();
    let links = members
        .iter()
        .enumerate()
        .map(|(i, (name, _, shape))| plan::Link {
            a: plan::End { node: (*name).into(), interface: format!("{name}-eth0") },
            b: plan::End { node: "s1".into(), interface: format!("s1-eth{}", i + 1) },
            shape: *shape,
        })
        .collect();
    Trial {
        id: "direct-1".into(),
        point: Point::new(Scheme::Direct, 1),
        seed: 1,
        network: Network { switches: vec![plan::Switch { name: "s1".into(), dpid: 1 }], hosts, links },
        video: Video {
            source: VideoSource::Generated { pattern: "testsrc2".into(), width: 640, height: 360 },
            fps: 30,
            frames: 600,
            codec: Codec::Flv1,
            bitrate: 2_500_000,
            keyframe_interval: 60,
            audio: false,
            clock: false,
        },
        streams: Vec::new(),
        timeline: Timeline {
            broadcast_at: Duration::ZERO,
            view_at: Duration::ZERO,
            view_every: Duration::ZERO,
            end: Duration::from_secs(1),
            drain: Duration::ZERO,
        },
        link_changes: Vec::new(),
        audience: Default::default(),
        agents: Default::default(),
        pings: Vec::new(),
        captures: Vec::new(),
        film: Vec::new(),
        links: LinkKind::Auto,
        datapath: Datapath::Auto,
        congestion_control: "cubic".into(),
        crowd: None,
        initial_window: 10,
        cdn: Cdn::default(),
    }
}

/// A second switch, and hs on both: two interfaces on one host, and links with jitter and without a rate.
fn two_switches() -> Trial {
    let mut trial = trial();
    trial.network.switches.push(plan::Switch { name: "s2".into(), dpid: 0x2a });
    let hs = &mut trial.network.hosts[1];
    hs.interfaces.push(Interface {
        name: "hs-eth1".into(),
        mac: "02:00:00:00:00:11".into(),
        address: [10, 0, 1, 2].into(),
        prefix: 24,
        link: 3,
    });
    trial.network.links.push(plan::Link {
        a: plan::End { node: "hs".into(), interface: "hs-eth1".into() },
        b: plan::End { node: "s2".into(), interface: "s2-eth1".into() },
        shape: Shape { jitter: Duration::from_millis(5), loss: 0.01, ..trial.network.links[0].shape },
    });
    trial.network.links.push(plan::Link {
        a: plan::End { node: "s1".into(), interface: "s1-eth4".into() },
        b: plan::End { node: "s2".into(), interface: "s2-eth2".into() },
        shape: Shape { bandwidth: None, delay: Duration::ZERO, ..trial.network.links[0].shape },
    });
    trial
}

#[test]
fn the_file_of_emulated_links() {
    insta::assert_snapshot!(topology(&trial(), Links::Emulated, Forwarding::User).unwrap());
}

#[test]
fn the_file_of_netem_links() {
    insta::assert_snapshot!(topology(&two_switches(), Links::Netem, Forwarding::Kernel).unwrap());
}

/// Python itself reads the file with a stand-in for Mininet, and says what `build` asks for.
fn as_python_sees_it(file: &str) -> String {
    let stand_in = r#"
import json, sys, types
for name in ('mininet', 'mininet.link', 'mininet.log', 'mininet.node', 'mininet.topo'):
    sys.modules[name] = types.ModuleType(name)
class Base: pass
sys.modules['mininet.link'].Intf = sys.modules['mininet.link'].TCIntf = sys.modules['mininet.link'].Link = Base
sys.modules['mininet.log'].error = print
sys.modules['mininet.node'].Host = sys.modules['mininet.node'].OVSSwitch = Base
calls = []
class Topo:
    def addSwitch(self, name, cls, **k): calls.append(['switch', name, k])
    def addHost(self, name, cls, **k): calls.append(['host', name, k])
    def addLink(self, a, b, cls, **k): calls.append(['link', a, b, k])
sys.modules['mininet.topo'].Topo = Topo
space = {}
exec(compile(sys.stdin.read(), 'topology.py', 'exec'), space)
space['topos']['livectl']().build()
print(json.dumps(calls))
"#;
    let mut python = Command::new("/usr/bin/python3")
        .args(["-c", stand_in])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("/usr/bin/python3 runs");
    std::io::Write::write_all(&mut python.stdin.take().unwrap(), file.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn python_reads_what_the_plan_says() {
    let calls: serde_json::Value =
        serde_json::from_str(&as_python_sees_it(&topology(&two_switches(), Links::Netem, Forwarding::User).unwrap()))
            .unwrap();
    let calls = calls.as_array().unwrap();
    assert_eq!(calls.len(), 2 + 3 + 5);
    assert_eq!(
        calls[1],
        serde_json::json!(["switch", "s2", {
            "dpid": "000000000000002a", "datapath": "user", "protocols": "OpenFlow10", "failMode": "secure",
        }])
    );
    assert_eq!(
        calls[2],
        serde_json::json!(["host", "hb", {"ip": null, "mac": null, "congestion_control": "cubic", "initial_window": 10}])
    );
    assert_eq!(
        calls[8],
        serde_json::json!(["link", "hs", "s2", {
            "intfName1": "hs-eth1", "port1": 1,
            "params1": {
                "hw": "02:00:00:00:00:11", "ip": "10.0.1.2/24",
                "shape": tc::commands("hs-eth1", &two_switches().network.links[3].shape, tc::Constancy::Constant),
            },
            "intfName2": "s2-eth1", "port2": 1,
            "params2": {"shape": tc::commands("s2-eth1", &two_switches().network.links[3].shape, tc::Constancy::Constant)},
        }])
    );
}

#[test]
fn names_that_a_shell_could_read_are_refused() {
    for name in ["hb; reboot", "", "$(x)", "a-name-that-is-too-long", "-x", "h b", "h'b"] {
        let mut trial = trial();
        trial.network.hosts[0].name = name.into();
        let error = topology(&trial, Links::Netem, Forwarding::User).unwrap_err();
        assert!(matches!(&error, NetworkError::Name(refused) if refused == name), "{error}");
    }
}

#[test]
fn strings_cannot_leave_their_quotes() {
    for text in ["'", "\"", "\\", "\n", "é ☃", "\u{0}", "'''\"\"\"", "{{ x }}"] {
        let literal = python(&text);
        let script = "import sys; sys.stdout.write(eval(sys.stdin.read()))";
        let mut child = Command::new("/usr/bin/python3")
            .args(["-X", "utf8", "-c", script])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), literal.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap(), text);
    }
}

#[test]
fn ports_are_the_numbers_at_the_end() {
    assert_eq!((port("s1-eth3"), port("hb-eth0"), port("s12-eth24"), port("odd")), (3, 0, 24, 0));
}

/// This machine's `tc` must at least understand the commands: it reads its arguments before it asks the kernel.
#[test]
fn tc_understands_the_commands() {
    for shape in two_switches().network.links.iter().map(|l| l.shape) {
        let outage = plan::Condition { shape: Shape { bandwidth: shape.bandwidth.map(|_| 0), ..shape }, down: true };
        let course = tc::course("lo-not-there", &shape, &[plan::Step { at: Duration::ZERO, condition: outage }]);
        assert!(!course.is_empty());
        let changing = tc::commands("lo-not-there", &shape, tc::Constancy::Changing);
        let constant = tc::commands("lo-not-there", &shape, tc::Constancy::Constant);
        for command in constant.into_iter().chain(changing).chain(course.into_iter().map(|(_, line)| line)) {
            let output = Command::new("tc").args(command.split(' ')).output().expect("tc is installed (iproute2)");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(said.contains("Cannot find device"), "{command}: {said}");
        }
    }
}

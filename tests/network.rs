//! A real network: Mininet, Open vSwitch's user datapath and emulated links, in namespaces of their own; and, where
//! this kernel has netem, a second one with netem links and, where it has Open vSwitch's module, the kernel datapath.
//! Needs root, Mininet, Open vSwitch, iperf and /dev/net/tun.
//!
//! The test starts itself three times: outside, as process 1 of the namespaces, and there as the emulator.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use livectl::emulator::{self, Report, Spec};
use livectl::network::reach::{Expected, least_rtt, parse_least_rtt};
use livectl::network::verify::{output_in, verify};
use livectl::network::{BootSpec, Forwarding, Links, Mininet, NetworkError, topology};
use livectl::plan::{
    Cdn, Codec, Datapath, End, Host, Interface, Link, LinkKind, Network, Player, Point, Role, Scheme, Shape, Switch,
    Timeline, Trial, Video, VideoSource,
};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

const FOLDER: &str = "LIVECTL_TEST_FOLDER";
const BOOT: Duration = Duration::from_secs(60);
const PROMPTLY: Duration = Duration::from_secs(10);

/// hb, hs, hv1 and hx on s1; hs is on s2 too, with hz. hb and hv1 have 4 Mbit/s and 100 ms; the other links are not
/// shaped.
fn trial() -> Trial {
    let limited = Shape {
        bandwidth: Some(4_000_000),
        delay: Duration::from_millis(100),
        jitter: Duration::ZERO,
        loss: 0.0,
        queue: 1000,
    };
    let free = Shape { bandwidth: None, delay: Duration::ZERO, ..limited };
    let members = [
        ("hb", Role::Broadcaster, limited),
        ("hs", Role::Cdn, free),
        ("hv1", Role::Viewer, limited),
        ("hx", Role::Idle, free),
    ];
    let host = |(i, (name, role, _)): (usize, &(&str, Role, Shape))| Host {
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
    };
    let link = |(i, (name, _, shape)): (usize, &(&str, Role, Shape))| Link {
        a: End { node: (*name).into(), interface: format!("{name}-eth0") },
        b: End { node: "s1".into(), interface: format!("s1-eth{}", i + 1) },
        shape: *shape,
    };
    let mut hosts: Vec<Host> = members.iter().enumerate().map(host).collect();
    let mut links: Vec<Link> = members.iter().enumerate().map(link).collect();
    for (number, name, port) in [(2, "hs", 1), (5, "hz", 0)] {
        let interface = format!("{name}-eth{port}");
        links.push(Link {
            a: End { node: name.into(), interface: interface.clone() },
            b: End { node: "s2".into(), interface: format!("s2-eth{}", links.len() - 3) },
            shape: free,
        });
        let address = Interface {
            name: interface,
            mac: format!("02:00:00:00:01:{number:02x}"),
            address: [10, 0, 1, number].into(),
            prefix: 24,
            link: links.len() - 1,
        };
        match hosts.iter_mut().find(|h| h.name == name) {
            Some(host) => host.interfaces.push(address),
            None => hosts.push(Host {
                name: name.into(),
                role: Role::Idle,
                interfaces: vec![address],
                player: Player::default(),
            }),
        }
    }
    Trial {
        crowd: None,
        id: "direct-1".into(),
        point: Point::new(Scheme::Direct, 1),
        seed: 1,
        network: Network {
            switches: vec![Switch { name: "s1".into(), dpid: 1 }, Switch { name: "s2".into(), dpid: 2 }],
            hosts,
            links,
        },
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
        links: LinkKind::Emulated,
        datapath: Datapath::User,
        congestion_control: "reno".into(),
        initial_window: 10,
        cdn: Cdn::default(),
    }
}

fn this_test(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"]);
    command
}

#[test]
fn a_booted_network_is_the_planned_one() {
    assert!(nix::unistd::geteuid().is_root(), "this test makes namespaces and interfaces: run it as root");
    for program in ["mn", "ovs-vswitchd", "iperf", "unshare", "mnexec", "ethtool", "ping"] {
        let found =
            Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap().status.success();
        assert!(found, "this test needs {program}");
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let inside = this_test("inside_the_namespaces");
    let output = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--ipc", "--fork", "--kill-child", "--mount-proc"])
        .arg(inside.get_program())
        .args(inside.get_args())
        // The checkout may be out of sight inside, and mnexec enters the folder that it was called in.
        .current_dir(folder.path())
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let transcript = std::fs::read_to_string(folder.path().join("mininet.log")).unwrap_or_default();
    assert!(output.status.success(), "{said}\n--- transcript:\n{transcript}");
    println!("{said}");
}

#[test]
#[ignore = "runs in the namespaces that a_booted_network_is_the_planned_one makes"]
fn inside_the_namespaces() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).expect("started by a_booted_network_is_the_planned_one"));
    let _switch = start_open_vswitch(&folder);
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(async {
        mistakes_are_reported(&folder).await;
        // Not before: Mininet removes all interfaces that look like its own when it ends by an exception.
        let emulator = start_emulator(&folder);
        the_network_is_as_planned(&folder, Links::Emulated, Forwarding::User).await;
        the_emulator_has_reported(&folder, emulator);
        if succeeds("tc qdisc add dev lo root netem limit 10 && tc qdisc delete dev lo root") {
            let module = Path::new("/sys/module/openvswitch").exists();
            let forwarding = if module { Forwarding::Kernel } else { Forwarding::User };
            the_network_is_as_planned(&folder, Links::Netem, forwarding).await;
        } else {
            println!("this kernel has no netem: netem links are not tested here");
        }
    });
}

#[test]
#[ignore = "the emulator's process, started by inside_the_namespaces"]
fn emulator_process() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).expect("started by inside_the_namespaces"));
    let spec = Spec::of(&trial(), &folder.join("emulator.json"), &folder.join("emulator.socket"));
    emulator::run(&spec, std::io::stdin(), || println!("emulator: ready")).unwrap();
}

fn succeeds(script: &str) -> bool {
    Command::new("sh").args(["-ec", script]).output().unwrap().status.success()
}

fn sh(script: &str) -> Output {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Open vSwitch of our own, below a /run and a /tmp of our own. What was built stays in sight, also in a checkout
/// below /tmp.
fn start_open_vswitch(folder: &Path) -> [Child; 2] {
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().display();
    sh(&format!(
        "mount --bind '{built}' /mnt; mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /tmp
        mkdir -p '{built}' /run/openvswitch; mount --move /mnt '{built}'; ip link set lo up"
    ));
    let database = folder.join("conf.db");
    sh(&format!("ovsdb-tool create {} /usr/share/openvswitch/vswitch.ovsschema", database.display()));
    let spawn = |program: &str, arguments: &[&str]| {
        let log = std::fs::File::create(folder.join(format!("{program}.log"))).unwrap();
        Command::new(program).args(arguments).stderr(log).stdin(Stdio::null()).spawn().unwrap()
    };
    let server = spawn("ovsdb-server", &["--remote=punix:/run/openvswitch/db.sock", database.to_str().unwrap()]);
    let until = Instant::now() + PROMPTLY;
    while !Path::new("/run/openvswitch/db.sock").exists() {
        assert!(Instant::now() < until, "ovsdb-server does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    sh("ovs-vsctl --timeout=5 --no-wait init");
    [server, spawn("ovs-vswitchd", &[])]
}

fn start_emulator(folder: &Path) -> Child {
    let mut emulator = this_test("emulator_process")
        .env(FOLDER, folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(emulator.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("emulator: ready")));
    // The test harness has more to say; it must not find its output closed.
    std::thread::spawn(move || lines.for_each(drop));
    emulator
}

fn boot_spec(folder: &Path, file: &str, deadline: Duration) -> BootSpec {
    BootSpec {
        topology: folder.join(file),
        controller: None,
        env: vec![("HOME".into(), folder.into())],
        transcript: folder.join("mininet.log"),
        deadline,
    }
}

/// What goes wrong while booting is told, and no Mininet is left behind.
async fn mistakes_are_reported(folder: &Path) {
    let write = |file: &str, text: &str| std::fs::write(folder.join(file), text).unwrap();
    write("broken.py", "this is no python\n");
    let error = Mininet::boot(boot_spec(folder, "broken.py", BOOT), |_| {}).await.unwrap_err();
    assert!(matches!(error, NetworkError::Ended { .. }) && error.to_string().contains("SyntaxError"), "{error}");

    write("silent.py", "import time\ntime.sleep(1000)\n");
    let started = Instant::now();
    let deadline = Duration::from_millis(1500);
    let error = Mininet::boot(boot_spec(folder, "silent.py", deadline), |_| {}).await.unwrap_err();
    assert!(matches!(error, NetworkError::Deadline { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));

    let mut unknown = trial();
    unknown.network.links.clear();
    unknown.network.hosts.truncate(1);
    unknown.congestion_control = "nonesuch".into();
    write("unknown.py", &topology(&unknown, Links::Emulated, Forwarding::User).unwrap());
    let error = Mininet::boot(boot_spec(folder, "unknown.py", BOOT), |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("no TCP congestion control nonesuch in this kernel, which has: "), "{error}");

    let mut absent = boot_spec(folder, "unknown.py", BOOT);
    absent.controller = Some("127.0.0.1:1".parse().unwrap());
    let error = Mininet::boot(absent, |_| {}).await.unwrap_err().to_string();
    assert!(error.contains("Unable to contact the remote controller at 127.0.0.1:1"), "{error}");

    // Mininets that were ended with a signal leave their hosts' shells, as they would in a trial; the sandbox takes
    // those with it.
    sh("ovs-vsctl --timeout=5 --if-exists del-br s1");
}

/// The least round-trip time, of as many pings as it takes on a busy machine to be that of the path: it can be too
/// long by chance, never too short.
async fn settled_rtt(pid: i32, to: Ipv4Addr, expected: Expected) -> Duration {
    let mut least = Duration::MAX;
    for _ in 0..6 {
        least = least.min(least_rtt(pid, to, 5, expected).await.unwrap());
        if expected.compare(least).is_ok() {
            break;
        }
    }
    least
}

async fn the_network_is_as_planned(folder: &Path, links: Links, forwarding: Forwarding) {
    println!("--- {links} links, {forwarding} datapath");
    let trial = trial();
    std::fs::write(folder.join("topology.py"), topology(&trial, links, forwarding).unwrap()).unwrap();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&lines);
    let started = Instant::now();
    let spec = boot_spec(folder, "topology.py", BOOT);
    let mut mininet = Mininet::boot(spec, move |line| heard.lock().unwrap().push(line.to_owned())).await.unwrap();
    println!("booted in {:.1} s", started.elapsed().as_secs_f64());
    assert!(lines.lock().unwrap().iter().any(|line| line == "*** Adding links:"), "{lines:?}");

    let pids = mininet.pids(PROMPTLY).await.unwrap();
    assert_eq!(pids.keys().collect::<Vec<_>>(), ["hb", "hs", "hv1", "hx", "hz", "s1", "s2"]);
    let started = Instant::now();
    verify(&trial, links, &pids).await.unwrap();
    println!("verified in {:.2} s", started.elapsed().as_secs_f64());
    differences_are_found(&trial, links, &pids).await;

    // Nobody tells the switches what to do; let them learn by themselves.
    sh("ovs-vsctl --timeout=5 set-fail-mode s1 standalone -- set-fail-mode s2 standalone");

    let path = trial.network.path("hb", "hv1").unwrap();
    let expected = Expected::of(&path);
    let rtt = settled_rtt(pids["hb"], trial.network.address_from("hb", "hv1").unwrap(), expected).await;
    println!("round-trip time {rtt:?}, planned {:?} ± {:?}", expected.rtt, expected.tolerance);
    expected.compare(rtt).unwrap();
    assert!(rtt.abs_diff(Duration::from_millis(400)) < Duration::from_millis(4), "{rtt:?} is not 400 ms ± 1 %");

    // The other island of a host with two interfaces.
    let beside = Expected::of(&trial.network.path("hz", "hs").unwrap());
    let rtt = settled_rtt(pids["hz"], trial.network.address_from("hz", "hs").unwrap(), beside).await;
    beside.compare(rtt).unwrap();

    // A frame of 1514 bytes takes 3.03 ms on each of four passages; a link that lets bursts pass would not show them.
    let full = ["ping", "-n", "-q", "-i", "0.5", "-c", "12", "-s", "1472", "10.0.0.3"];
    let full = parse_least_rtt(&output_in(pids["hb"], &full, PROMPTLY).await.unwrap()).unwrap();
    println!("round-trip time of full frames {full:?}, planned 412.112 ms");
    assert!((411.9..416.2).contains(&(full.as_secs_f64() * 1e3)), "{full:?}");

    let limited = iperf(&pids, "hb", "hv1", "10.0.0.3", 12);
    println!("TCP over 4 Mbit/s and 400 ms: {:.2} Mbit/s", limited / 1e6);
    assert!((2.5e6..4.0e6).contains(&limited), "{limited} bit/s");
    let free = iperf(&pids, "hs", "hx", "10.0.0.4", 5);
    println!("TCP over unshaped links: {:.0} Mbit/s", free / 1e6);

    the_command_line_works(&mut mininet, &pids).await;
    to_wait_for_its_end_costs_nothing(&mut mininet).await;

    let started = Instant::now();
    mininet.exit(Duration::from_secs(30)).await.unwrap();
    println!("exited in {:.1} s", started.elapsed().as_secs_f64());
}

fn the_emulator_has_reported(folder: &Path, mut emulator: Child) {
    drop(emulator.stdin.take());
    assert!(emulator.wait().unwrap().success());
    let report = Report::read(&folder.join("emulator.json")).unwrap();
    println!(
        "the emulator used {} ms of CPU in {} ms; {:?}, memory locked: {}",
        report.cpu_ms, report.running_ms, report.scheduling, report.memory_locked
    );
    for d in &report.directions {
        println!("{} → {}: {} packets, {} bytes, {:?}", d.from, d.to, d.packets, d.bytes, d.lateness);
    }
    assert_eq!(report.dropped_by_machine(), 0);
    assert!(report.directions[0].bytes > 1_000_000);
}

async fn differences_are_found(trial: &Trial, links: Links, pids: &BTreeMap<String, i32>) {
    let mut other = trial.clone();
    other.congestion_control = "cubic".into();
    other.network.hosts[0].interfaces[0].address = [10, 0, 0, 99].into();
    other.network.links[0].shape.delay = Duration::from_millis(105);
    let error = verify(&other, links, pids).await.unwrap_err().to_string();
    assert!(error.contains("hb-eth0: TCP congestion control is reno instead of cubic"), "{error}");
    assert!(error.contains("hb-eth0: has [10.0.0.1/24] instead of 10.0.0.99/24 alone"), "{error}");
    if links == Links::Netem {
        assert!(error.contains("s1-eth1: delay is 0.1 s instead of 0.105 s"), "{error}");
    } else {
        let error = verify(trial, Links::Netem, pids).await.unwrap_err().to_string();
        assert!(error.contains("hb-eth0: has no netem qdisc"), "{error}");
    }
}

async fn the_command_line_works(mininet: &mut Mininet, pids: &BTreeMap<String, i32>) {
    assert_eq!(mininet.command("py 6 * 7", PROMPTLY).await.unwrap(), "42\n");
    assert!(mininet.command("nodes", PROMPTLY).await.unwrap().contains("hb hs hv1 hx hz s1 s2"));
    let error = mininet.command("nonsense", PROMPTLY).await.unwrap_err().to_string();
    assert!(error.contains("*** Unknown command: nonsense"), "{error}");
    assert!(matches!(mininet.command("py 1 # 2", PROMPTLY).await, Err(NetworkError::Command(_))));
    let error = mininet.link_up_down("hx", "hb", false, PROMPTLY).await.unwrap_err().to_string();
    assert!(error.contains("not connected"), "{error}");
    let error = mininet.command("sh sleep 2", Duration::from_millis(200)).await.unwrap_err();
    assert!(matches!(error, NetworkError::Deadline { .. }), "{error}");

    let state = async || output_in(pids["hx"], &["cat", "/sys/class/net/hx-eth0/flags"], PROMPTLY).await.unwrap();
    let up = state().await;
    mininet.link_up_down("hx", "s1", false, PROMPTLY).await.unwrap();
    assert_ne!(state().await, up);
    mininet.link_up_down("hx", "s1", true, PROMPTLY).await.unwrap();
    assert_eq!(state().await, up);
}

/// It once took a whole processor of every trial. Of the time of processors, not of clocks: on a busy machine it is
/// less.
async fn to_wait_for_its_end_costs_nothing(mininet: &mut Mininet) {
    let used = || {
        let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
        Duration::from_micros((usage.user_time() + usage.system_time()).num_microseconds().try_into().unwrap())
    };
    let before = used();
    assert!(tokio::time::timeout(Duration::from_secs(2), mininet.ended()).await.is_err(), "it has not ended");
    let used = used() - before;
    assert!(used < Duration::from_millis(500), "{used:?} of 2 s");
}

/// TCP goodput in bit/s as the receiver counts it.
fn iperf(pids: &BTreeMap<String, i32>, from: &str, to: &str, address: &str, seconds: u32) -> f64 {
    let on = |host: &str, arguments: &[&str]| {
        let mut command = Command::new("mnexec");
        command.args(["-a", &pids[host].to_string(), "iperf"]).args(arguments).stdin(Stdio::null());
        command
    };
    let mut server = on(to, &["-s", "-y", "C"]).stdout(Stdio::piped()).spawn().unwrap();
    let until = Instant::now() + PROMPTLY;
    let listening =
        || sh(&format!("mnexec -a {} ss -Hltn 'sport = :5001'", pids[to])).stdout.windows(5).any(|w| w == b":5001");
    while !listening() {
        assert!(Instant::now() < until, "iperf does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(on(from, &["-c", address, "-t", &seconds.to_string()]).output().unwrap().status.success());
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(server.id() as i32), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    server.wait().unwrap();
    line.trim().rsplit(',').next().unwrap().parse().unwrap_or_else(|_| panic!("iperf said {line:?}"))
}

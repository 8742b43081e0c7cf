//! Hosts around a bridge. A host is a process that sleeps in a network namespace of its own, just as Mininet's are
//! shells; when it dies, the kernel takes its interfaces away.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One network at a time: the machine's cores are what the delays are measured with.
static TURN: Mutex<()> = Mutex::new(());

pub struct Network {
    hosts: BTreeMap<&'static str, Child>,
    switch: Child,
    _turn: MutexGuard<'static, ()>,
}

impl Network {
    /// Hosts with the bandwidth of their links in bit/s. The first gets 10.0.0.1 and so on.
    pub fn new(links: &[(&'static str, u64)]) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(nix::unistd::geteuid().is_root(), "this test makes network namespaces: run it as root");
        let switch = sleeper();
        on(&switch, "ip link set lo up");
        on(&switch, "ip link add br0 type bridge");
        on(&switch, "ip link set br0 up");
        let mut hosts = BTreeMap::new();
        for (n, (name, bandwidth)) in links.iter().enumerate() {
            let host = sleeper();
            on(&switch, &format!("ip link add name s-{name} type veth peer name {name}-eth0 netns {}", host.id()));
            on(&switch, &format!("ip link set s-{name} master br0 up"));
            on(&host, "ip link set lo up");
            on(&host, &format!("ip addr add 10.0.0.{}/24 dev {name}-eth0", n + 1));
            on(&host, &format!("ip link set {name}-eth0 up"));
            for (node, interface) in [(&host, format!("{name}-eth0")), (&switch, format!("s-{name}"))] {
                on(node, &format!("ethtool -K {interface} tso off gso off gro off tx off"));
                on(
                    node,
                    &format!("tc qdisc add dev {interface} root tbf rate {bandwidth}bit burst 3028 limit 1500000"),
                );
            }
            hosts.insert(*name, host);
        }
        Self { hosts, switch, _turn: turn }
    }

    /// The process whose namespaces are the host's.
    pub fn pid(&self, host: &str) -> u32 {
        self.hosts[host].id()
    }

    /// Processes on a host, other than its sleeper, whose name contains this.
    pub fn processes(&self, host: &str, name: &str) -> Vec<u32> {
        let namespace = |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let own = namespace(self.pid(host));
        let numbers = std::fs::read_dir("/proc").unwrap().filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
        let here = numbers.filter(|pid| *pid != self.pid(host) && namespace(*pid) == own);
        here.filter(|pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|c| c.contains(name)))
            .collect()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for child in self.hosts.values_mut().chain([&mut self.switch]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn sleeper() -> Child {
    let mut command = Command::new("unshare");
    command.args(["--net", "sleep", "300"]).process_group(0).stdin(Stdio::null());
    let child = command.spawn().expect("unshare (util-linux) is needed");
    let ours = std::fs::read_link("/proc/self/ns/net").unwrap();
    let until = Instant::now() + Duration::from_secs(5);
    while std::fs::read_link(format!("/proc/{}/ns/net", child.id())).is_ok_and(|theirs| theirs == ours) {
        assert!(Instant::now() < until, "no network namespace: are they allowed here?");
        std::thread::sleep(Duration::from_millis(2));
    }
    child
}

fn on(node: &Child, command: &str) {
    let pid = node.id().to_string();
    let output = Command::new("nsenter").args(["-t", &pid, "-n"]).args(command.split(' ')).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

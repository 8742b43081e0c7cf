//! Reading back what Mininet and the kernel have built, and comparing it with the plan.
//!
//! Mininet throws away the answers of most commands it runs, so nothing but the kernel itself can say whether a link
//! is shaped, an offload is off, or a port was taken by the switch.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::{Links, NetworkError, tc, topology};
use crate::plan;

/// How long one inspecting command may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Offloads that must be off on every interface, as `ethtool -k` calls them.
const OFFLOADS: [&str; 6] = [
    "rx-checksumming",
    "tx-checksumming",
    "tcp-segmentation-offload",
    "generic-segmentation-offload",
    "generic-receive-offload",
    "large-receive-offload",
];

/// Compares a booted network with its plan: addresses, offloads, TCP congestion control by route, the switches' ports
/// and, with netem, the shape of every link's end. `pids` are those of [`super::Mininet::pids`].
///
/// # Errors
/// [`NetworkError::Differs`] with every difference, or [`NetworkError::Inspect`] when it cannot be found out.
pub async fn verify(trial: &plan::Trial, links: Links, pids: &BTreeMap<String, i32>) -> Result<(), NetworkError> {
    let mut differences = Vec::new();
    for host in &trial.network.hosts {
        let pid = pid_of(pids, &host.name)?;
        differences
            .extend(address_differences(host, &output_in(pid, &["ip", "-json", "address", "show"], PATIENCE).await?));
        for interface in &host.interfaces {
            let routes = output_in(pid, &["ip", "route", "show", "dev", &interface.name], PATIENCE).await?;
            differences.extend(route_difference(&interface.name, &trial.congestion_control, &routes));
        }
    }
    for (n, link) in trial.network.links.iter().enumerate() {
        for (end, forward) in [(&link.a, true), (&link.b, false)] {
            let pid = pid_of(pids, &end.node)?;
            let offloads = output_in(pid, &["ethtool", "-k", &end.interface], PATIENCE).await?;
            differences.extend(offload_differences(&end.interface, &offloads));
            if links == Links::Netem {
                let mut shown = output_in(pid, &["tc", "qdisc", "show", "dev", &end.interface], PATIENCE).await?;
                shown += &output_in(pid, &["tc", "class", "show", "dev", &end.interface], PATIENCE).await?;
                differences.extend(tc::differences(
                    &end.interface,
                    &link.shape,
                    tc::Constancy::of(trial.changes(n, forward)),
                    &tc::parse(&shown),
                ));
            }
        }
    }
    if !trial.network.switches.is_empty() {
        let columns =
            ["ovs-vsctl", "--timeout=5", "--format=json", "--columns=name,ofport,error", "list", "Interface"];
        differences.extend(port_differences(&trial.network, &output(&columns, PATIENCE).await?));
    }
    if differences.is_empty() { Ok(()) } else { Err(NetworkError::Differs { differences }) }
}

fn pid_of(pids: &BTreeMap<String, i32>, node: &str) -> Result<i32, NetworkError> {
    pids.get(node)
        .copied()
        .ok_or_else(|| NetworkError::Differs { differences: vec![format!("{node}: Mininet does not know it")] })
}

/// Runs a program in a node's namespaces and returns what it printed.
///
/// # Errors
/// When it cannot be started, takes longer than its patience, or fails.
pub async fn output_in(pid: i32, command: &[&str], patience: Duration) -> Result<String, NetworkError> {
    let pid = pid.to_string();
    let inside: Vec<&str> = ["mnexec", "-a", &pid].into_iter().chain(command.iter().copied()).collect();
    output(&inside, patience).await
}

/// Pings from a node's namespaces and returns what ping printed; `None`: nobody answered.
///
/// # Errors
/// As [`output_in`].
pub(super) async fn ping_in(pid: i32, ping: &[&str], patience: Duration) -> Result<Option<String>, NetworkError> {
    /// ping(8): without an answer it exits with this.
    const NO_ANSWER: i32 = 1;
    let pid = pid.to_string();
    let inside: Vec<&str> = ["mnexec", "-a", &pid].into_iter().chain(ping.iter().copied()).collect();
    let finished = finished(&inside, patience).await?;
    if finished.status.code() == Some(NO_ANSWER) {
        return Ok(None);
    }
    printed(&inside, finished).map(Some)
}

/// Runs a program and returns what it printed; errors as [`output_in`].
pub(super) async fn output(command: &[&str], patience: Duration) -> Result<String, NetworkError> {
    printed(command, finished(command, patience).await?)
}

/// Runs a program to its end, whatever that is.
async fn finished(command: &[&str], patience: Duration) -> Result<std::process::Output, NetworkError> {
    let failed = |problem: String| NetworkError::Inspect { command: command.join(" "), problem };
    let Some((program, arguments)) = command.split_first() else { return Err(failed("is empty".to_owned())) };
    let running = Command::new(program).args(arguments).stdin(Stdio::null()).kill_on_drop(true).output();
    timeout(patience, running)
        .await
        .map_err(|_| failed(format!("did not end within {patience:?}")))?
        .map_err(|error| failed(format!("cannot be started: {error}")))
}

/// What a program printed that ended well.
fn printed(command: &[&str], finished: std::process::Output) -> Result<String, NetworkError> {
    let failed = |problem: String| NetworkError::Inspect { command: command.join(" "), problem };
    let said = String::from_utf8_lossy(&finished.stdout).into_owned();
    if finished.status.success() {
        return Ok(said);
    }
    let complaint = String::from_utf8_lossy(&finished.stderr).into_owned() + &said;
    Err(failed(format!("ended with {}: {}", finished.status, complaint.trim())))
}

/// Whether the routes through an interface, as `ip route show` lists them, carry TCP connections as planned.
#[must_use]
pub fn route_difference(interface: &str, congestion_control: &str, shown: &str) -> Option<String> {
    let words: Vec<&str> = shown.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "congctl");
    let used = at.and_then(|at| words[at + 1..].iter().find(|word| **word != "lock"));
    (used != Some(&congestion_control)).then(|| {
        let used = used.copied().unwrap_or("the machine's own");
        format!("{interface}: TCP congestion control is {used} instead of {congestion_control}")
    })
}

/// How a host's interfaces, as `ip -json address show` lists them, differ from the plan.
#[must_use]
pub fn address_differences(host: &plan::Host, shown: &str) -> Vec<String> {
    let Ok(serde_json::Value::Array(interfaces)) = serde_json::from_str(shown) else {
        return vec![format!("{}: `ip -json address show` gave no JSON list", host.name)];
    };
    let mut found = Vec::new();
    for wanted in &host.interfaces {
        let Some(interface) = interfaces.iter().find(|i| i["ifname"] == wanted.name.as_str()) else {
            found.push(format!("{}: {} is missing", host.name, wanted.name));
            continue;
        };
        if interface["address"] != wanted.mac.as_str() {
            found.push(format!(
                "{}: Ethernet address is {} instead of {}",
                wanted.name, interface["address"], wanted.mac
            ));
        }
        if !interface["flags"].as_array().is_some_and(|flags| flags.iter().any(|flag| flag == "UP")) {
            found.push(format!("{}: is down", wanted.name));
        }
        let addresses: Vec<String> = interface["addr_info"]
            .as_array()
            .map(|all| {
                all.iter().map(|a| format!("{}/{}", a["local"].as_str().unwrap_or("?"), a["prefixlen"])).collect()
            })
            .unwrap_or_default();
        let expected = format!("{}/{}", wanted.address, wanted.prefix);
        if addresses != [expected.as_str()] {
            found.push(format!("{}: has [{}] instead of {expected} alone", wanted.name, addresses.join(" ")));
        }
    }
    found
}

/// Which offloads `ethtool -k` shows as on.
#[must_use]
pub fn offload_differences(interface: &str, shown: &str) -> Vec<String> {
    OFFLOADS
        .iter()
        .filter_map(|offload| {
            let state = shown.lines().find_map(|line| line.trim().strip_prefix(offload)?.strip_prefix(':'));
            match state.map(str::trim) {
                Some(state) if state.starts_with("off") => None,
                Some(state) => Some(format!("{interface}: {offload} is {state} instead of off")),
                None => Some(format!("{interface}: ethtool says nothing of {offload}")),
            }
        })
        .collect()
}

/// How the switches' ports, as `ovs-vsctl --format=json --columns=name,ofport,error list Interface` lists them,
/// differ from the plan. (Format: ovs-vsctl(8), "Output Formatting"; sets as in RFC 7047, section 5.1.)
#[must_use]
pub fn port_differences(network: &plan::Network, shown: &str) -> Vec<String> {
    let table: serde_json::Value = serde_json::from_str(shown).unwrap_or_default();
    let Some(rows) = table["data"].as_array() else {
        return vec!["Open vSwitch: `ovs-vsctl list Interface` gave no table".to_owned()];
    };
    let is_switch = |node: &str| network.switches.iter().any(|s| s.name == node);
    network
        .links
        .iter()
        .flat_map(|link| [&link.a, &link.b])
        .filter(|end| is_switch(&end.node))
        .filter_map(|end| {
            let name = &end.interface;
            let Some(row) = rows.iter().find(|row| row[0] == name.as_str()) else {
                return Some(format!("{name}: is no port of Open vSwitch"));
            };
            let wanted = topology::port(name);
            if row[1] == wanted {
                return None;
            }
            let why = row[2].as_str().map(|error| format!(" ({error})")).unwrap_or_default();
            let is = if row[1].is_number() { row[1].to_string() } else { "none".to_owned() };
            Some(format!("{name}: its OpenFlow port is {is} instead of {wanted}{why}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::network::topology::tests::trial;

    // iproute2 6.1 in a host of an emulated network, shortened to the fields that matter.
    const ADDRESSES: &str = r#"[
        {"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"mtu":65536,"operstate":"UNKNOWN",
         "address":"00:00:00:00:00:00","addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host"}]},
        {"ifindex":7,"ifname":"hb-eth0","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1500,"operstate":"UP",
         "address":"02:00:00:00:00:01",
         "addr_info":[{"family":"inet","local":"10.0.0.1","prefixlen":24,"broadcast":"10.0.0.255","scope":"global"}]}]"#;

    #[test]
    fn routes_name_the_congestion_control() {
        let shown = "10.0.0.0/24 proto kernel scope link src 10.0.0.1 congctl lock cubic \n";
        assert_eq!(route_difference("hb-eth0", "cubic", shown), None);
        assert_eq!(route_difference("hb-eth0", "cubic", &shown.replace("lock ", "")), None);
        let difference = route_difference("hb-eth0", "reno", shown).unwrap();
        assert_eq!(difference, "hb-eth0: TCP congestion control is cubic instead of reno");
        let difference = route_difference("hb-eth0", "cubic", "10.0.0.0/24 proto kernel scope link").unwrap();
        assert!(difference.contains("the machine's own"));
    }

    #[test]
    fn addresses_as_planned_are_no_difference() {
        assert_eq!(address_differences(&trial().network.hosts[0], ADDRESSES), Vec::<String>::new());
    }

    #[test]
    fn wrong_addresses_are_named() {
        let mut host = trial().network.hosts[0].clone();
        host.interfaces[0].address = "10.0.0.9".parse().unwrap();
        host.interfaces[0].mac = "02:00:00:00:00:09".into();
        host.interfaces.push(plan::Interface { name: "hb-eth1".into(), ..host.interfaces[0].clone() });
        let down = ADDRESSES.replace(r#""MULTICAST","UP""#, r#""MULTICAST""#);
        assert_eq!(
            address_differences(&host, &down),
            [
                r#"hb-eth0: Ethernet address is "02:00:00:00:00:01" instead of 02:00:00:00:00:09"#,
                "hb-eth0: is down",
                "hb-eth0: has [10.0.0.1/24] instead of 10.0.0.9/24 alone",
                "hb: hb-eth1 is missing",
            ]
        );
        assert_eq!(address_differences(&host, "nothing").len(), 1);
    }

    const FEATURES: &str = "\
Features for hb-eth0:
rx-checksumming: off [fixed]
tx-checksumming: off
\ttx-checksum-ipv4: off [fixed]
\ttx-checksum-ip-generic: off
scatter-gather: off
tcp-segmentation-offload: off
\ttx-tcp-segmentation: off
generic-segmentation-offload: off [requested on]
generic-receive-offload: off
large-receive-offload: off [fixed]
";

    #[test]
    fn offloads_are_read() {
        assert!(offload_differences("hb-eth0", FEATURES).is_empty());
        let on = FEATURES.replace("tcp-segmentation-offload: off", "tcp-segmentation-offload: on");
        assert_eq!(offload_differences("hb-eth0", &on), ["hb-eth0: tcp-segmentation-offload is on instead of off"]);
        assert_eq!(offload_differences("x", "").len(), OFFLOADS.len());
    }

    // ovs-vsctl 3.1.
    const PORTS: &str = r#"{"data":[["s1-eth1",1,["set",[]]],["s1",65534,["set",[]]],["s1-eth3",3,["set",[]]],["s1-eth2",2,["set",[]]]],"headings":["name","ofport","error"]}"#;

    #[test]
    fn ports_are_read() {
        let network = trial().network;
        assert_eq!(port_differences(&network, PORTS), Vec::<String>::new());
        let broken = PORTS
            .replace(
                r#""s1-eth1",1,["set",[]]"#,
                r#""s1-eth1",-1,"could not open network device s1-eth1 (No such device)""#,
            )
            .replace("s1-eth2", "other")
            .replace(r#""s1-eth3",3"#, r#""s1-eth3",["set",[]]"#);
        assert_eq!(
            port_differences(&network, &broken),
            [
                "s1-eth1: its OpenFlow port is -1 instead of 1 (could not open network device s1-eth1 (No such device))",
                "s1-eth2: is no port of Open vSwitch",
                "s1-eth3: its OpenFlow port is none instead of 3",
            ]
        );
        assert_eq!(port_differences(&network, "").len(), 1);
    }
}

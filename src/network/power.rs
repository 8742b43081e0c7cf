//! A host whose power is cut.
//!
//! Nothing that it would still send may be heard: when a program is killed, the kernel ends its connections, and a
//! crash that says goodbye is not a crash. So all routes of the host become black holes, more specific than those
//! that it has: TCP's FIN and RST, retransmissions, answers to pings and to segments for programs that are gone find
//! no way out. What is on the links already arrives. The interface stays up, so that captures on it go on; the host
//! still answers ARP, which no program sees.
//!
//! A host that comes up again knows nothing of the connections that it had. The kernel would keep those of killed
//! programs for minutes, to get rid of their last words; so while the power is cut it gives up on them after a second
//! or so. When the power is back, whoever still sends on one is told by a reset.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::NetworkError;
use super::verify::output_in;
use crate::plan::Host;

/// How often the kernel repeats the last words of a program that is gone (Linux,
/// Documentation/networking/ip-sysctl.rst); 0 stands for its usual 8.
const LAST_WORDS: &str = "net.ipv4.tcp_orphan_retries";
/// For one command.
const PATIENCE: Duration = Duration::from_secs(5);

/// From now on nothing leaves the host whose shell has that process id.
///
/// # Errors
/// [`NetworkError::Inspect`].
pub async fn cut(pid: i32, host: &Host) -> Result<(), NetworkError> {
    change(pid, host, "add").await?;
    last_words(pid, 1).await
}

/// The host is as it was before [`cut`].
///
/// # Errors
/// [`NetworkError::Inspect`].
pub async fn restore(pid: i32, host: &Host) -> Result<(), NetworkError> {
    last_words(pid, 0).await?;
    change(pid, host, "del").await
}

async fn last_words(pid: i32, times: u32) -> Result<(), NetworkError> {
    output_in(pid, &["sysctl", "-q", "-w", &format!("{LAST_WORDS}={times}")], PATIENCE).await.map(drop)
}

async fn change(pid: i32, host: &Host, verb: &str) -> Result<(), NetworkError> {
    for hole in holes(host) {
        output_in(pid, &["ip", "route", verb, "blackhole", &hole], PATIENCE).await?;
    }
    Ok(())
}

/// Both halves of each of the host's subnets: a route to half of a subnet goes before the one to all of it.
fn holes(host: &Host) -> Vec<String> {
    let halves = |address: Ipv4Addr, prefix: u8| {
        let half = u32::from(prefix) + 1;
        let size = 1u32.checked_shl(32 - half).unwrap_or(0);
        let first = u32::from(address) & !(size.saturating_mul(2).saturating_sub(1));
        [first, first.wrapping_add(size)].map(|first| format!("{}/{half}", Ipv4Addr::from(first)))
    };
    host.interfaces.iter().flat_map(|interface| halves(interface.address, interface.prefix)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn both_halves_of_each_subnet() {
        let plan = crate::recipe::from_str("multi.yaml", include_str!("../../recipes/multi.yaml")).unwrap().plan;
        let network = &plan.trials[0].network;
        assert_eq!(holes(network.host("hv1").unwrap()), ["10.0.1.0/25", "10.0.1.128/25"]);
        let of_cdn = holes(network.cdn().unwrap());
        assert_eq!(of_cdn, ["10.0.1.0/25", "10.0.1.128/25", "10.0.2.0/25", "10.0.2.128/25"]);
        let mut large = network.host("hv1").unwrap().clone();
        (large.interfaces[0].address, large.interfaces[0].prefix) = ("10.0.7.9".parse().unwrap(), 22);
        assert_eq!(holes(&large), ["10.0.4.0/23", "10.0.6.0/23"]);
    }
}

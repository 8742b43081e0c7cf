//! IPv4 and Ethernet addresses of hosts: every island of joined switches has a subnet of its own.

use std::net::Ipv4Addr;

/// Hosts that are numbered in each block of 256 addresses: `.1` to `.250`.
const HOSTS_PER_BLOCK: usize = 250;

/// The subnet of an island of switches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    /// First address of the subnet, as a number.
    base: u32,
    /// Length of its prefix in bits.
    pub prefix: u8,
}

impl Subnet {
    /// The address of the `index`th host, from 0: `10.0.0.1`, …, `10.0.0.250`, `10.0.1.1`, …
    /// `None`: the subnet is smaller.
    #[must_use]
    pub fn address(&self, index: usize) -> Option<Ipv4Addr> {
        let (block, place) = (index / HOSTS_PER_BLOCK, index % HOSTS_PER_BLOCK);
        let blocks = 1usize << (24 - self.prefix);
        (block < blocks).then(|| Ipv4Addr::from(self.base + (block * 256 + place + 1) as u32))
    }
}

/// Subnets for islands of so many hosts each. One island alone has 10.0.0.0/24; several have 10.0.1.0/24, 10.0.2.0/24
/// and so on. An island of more than 250 hosts has a larger one. Islands and hosts must fit into 10.0.0.0/8.
#[must_use]
pub fn subnets(hosts: &[usize]) -> Vec<Subnet> {
    let mut next = if hosts.len() == 1 { 0 } else { 1 };
    hosts
        .iter()
        .map(|hosts| {
            let blocks = hosts.div_ceil(HOSTS_PER_BLOCK).max(1).next_power_of_two();
            let first: usize = usize::next_multiple_of(next, blocks);
            next = first + blocks;
            Subnet {
                base: u32::from(Ipv4Addr::new(10, 0, 0, 0)) + (first * 256) as u32,
                prefix: 24 - blocks.ilog2() as u8,
            }
        })
        .collect()
}

/// The Ethernet address of the interface with that IPv4 address: locally administered, unicast, and as unique.
#[must_use]
pub fn mac(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_island_has_the_addresses_of_the_original_experiment() {
        let [subnet] = subnets(&[3])[..] else { panic!() };
        assert_eq!(subnet.prefix, 24);
        assert_eq!(subnet.address(0).unwrap(), Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!(subnet.address(2).unwrap(), Ipv4Addr::new(10, 0, 0, 3));
        assert_eq!(subnet.address(250), None);
        assert_eq!(mac(Ipv4Addr::new(10, 0, 0, 3)), "02:00:0a:00:00:03");
    }

    #[test]
    fn islands_do_not_overlap() {
        let subnets = subnets(&[2, 300, 1, 600, 250]);
        let said: Vec<String> = subnets.iter().map(|s| format!("{}/{}", s.address(0).unwrap(), s.prefix)).collect();
        assert_eq!(said, ["10.0.1.1/24", "10.0.2.1/23", "10.0.4.1/24", "10.0.8.1/22", "10.0.12.1/24"]);
    }

    #[test]
    fn large_islands_number_their_hosts_in_blocks() {
        let subnet = subnets(&[512])[0];
        assert_eq!(subnet.prefix, 22);
        assert_eq!(subnet.address(249).unwrap(), Ipv4Addr::new(10, 0, 0, 250));
        assert_eq!(subnet.address(250).unwrap(), Ipv4Addr::new(10, 0, 1, 1));
        assert_eq!(subnet.address(511).unwrap(), Ipv4Addr::new(10, 0, 2, 12));
    }
}

//! Ways through a network: the links that packets pass from one host to another.

use std::net::Ipv4Addr;

use super::{Host, Interface, Network, Shape};

/// A link that packets pass, and whether from its end `a` to its end `b`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    /// Index into [`Network::links`].
    pub link: usize,
    /// From its end `a` to its end `b`.
    pub forward: bool,
}

/// Every path is measured with pings before a trial begins; where fewer come back than this share of them, that would take too long.
pub const LEAST_ANSWERED: f64 = 0.1;

/// The share of pings that come back over these links: all of them are passed twice.
#[must_use]
pub fn answered(path: &[Shape]) -> f64 {
    path.iter().map(|link| (1.0 - link.loss).powi(2)).product()
}

impl Network {
    /// The address of `to` in a subnet that `from` is in too: how `from` reaches `to` without routing. If they share several
    /// subnets, the one that comes first among the links of `to`.
    #[must_use]
    pub fn address_from(&self, from: &str, to: &str) -> Option<Ipv4Addr> {
        let (_, there) = shared(self.host(from)?, self.host(to)?).next()?;
        Some(there.address)
    }

    /// Shapes of the links that packets pass from one host to [the address](Self::address_from) under which it reaches another, in order.
    /// `None`: they share no subnet.
    #[must_use]
    pub fn path(&self, from: &str, to: &str) -> Option<Vec<Shape>> {
        self.direct_ways(from, to).next().map(|way| self.shapes(&way))
    }

    /// The address under which a host sends to [the address](Self::address_from) of another.
    #[must_use]
    pub fn own_address(&self, from: &str, to: &str) -> Option<Ipv4Addr> {
        let (here, _) = shared(self.host(from)?, self.host(to)?).next()?;
        Some(here.address)
    }

    /// The link by which a host sends to [the address](Self::address_from) of another, as an index into [`Network::links`].
    #[must_use]
    pub fn uplink(&self, from: &str, to: &str) -> Option<usize> {
        let (here, _) = shared(self.host(from)?, self.host(to)?).next()?;
        Some(here.link)
    }

    /// Whether two hosts have a switch in common.
    #[must_use]
    pub fn share_switch(&self, a: &str, b: &str) -> bool {
        let switches = |name: &str| -> Vec<&str> {
            self.links.iter().filter(|link| link.a.node == name).map(|link| link.b.node.as_str()).collect()
        };
        let (a, b) = (switches(a), switches(b));
        a.iter().any(|switch| b.contains(switch))
    }

    /// Every way that video can take from a broadcaster to a viewer: within each subnet that they share, and through the CDN, which
    /// passes it on between subnets. Other hosts pass nothing on. Empty: the viewer cannot be reached.
    #[must_use]
    pub fn video_ways(&self, broadcaster: &str, viewer: &str) -> Vec<Vec<Passed>> {
        let mut ways: Vec<Vec<Passed>> = self.direct_ways(broadcaster, viewer).collect();
        if let Some(cdn) = self.cdn() {
            for upload in self.direct_ways(broadcaster, &cdn.name) {
                ways.extend(self.direct_ways(&cdn.name, viewer).map(|download| [&upload[..], &download].concat()));
            }
        }
        ways
    }

    /// The links that packets pass from one host to [the address](Self::address_from) under which it reaches another, in order. `None`: they share no subnet.
    #[must_use]
    pub fn way(&self, from: &str, to: &str) -> Option<Vec<Passed>> {
        self.direct_ways(from, to).next()
    }

    fn shapes(&self, way: &[Passed]) -> Vec<Shape> {
        way.iter().filter_map(|passed| self.links.get(passed.link)).map(|link| link.shape).collect()
    }

    /// The way within each subnet that two hosts share, in the order of the links of `to`.
    fn direct_ways(&self, from: &str, to: &str) -> impl Iterator<Item = Vec<Passed>> {
        let ends = self.host(from).zip(self.host(to));
        ends.into_iter().flat_map(|(from, to)| shared(from, to)).filter_map(|(here, there)| self.between(here, there))
    }

    /// The links between two interfaces of one subnet. Trunks close no loop, so there is one way only.
    fn between(&self, here: &Interface, there: &Interface) -> Option<Vec<Passed>> {
        let (first, last) = (self.links.get(here.link)?, self.links.get(there.link)?);
        let mut ways = vec![(first.b.node.as_str(), vec![Passed { link: here.link, forward: true }])];
        let mut seen = vec![first.b.node.as_str()];
        while let Some((switch, mut passed)) = ways.pop() {
            if switch == last.b.node {
                passed.push(Passed { link: there.link, forward: false });
                return Some(passed);
            }
            let trunks = self.links.iter().enumerate().filter(|(_, link)| self.host(&link.a.node).is_none());
            for (link, trunk) in trunks {
                for (near, far, forward) in [(&trunk.a, &trunk.b, true), (&trunk.b, &trunk.a, false)] {
                    if near.node == switch && !seen.contains(&far.node.as_str()) {
                        seen.push(&far.node);
                        ways.push((&far.node, [&passed[..], &[Passed { link, forward }]].concat()));
                    }
                }
            }
        }
        None
    }
}

/// The interfaces of two hosts that are in one subnet, in the order of those of `to`.
fn shared<'a>(from: &'a Host, to: &'a Host) -> impl Iterator<Item = (&'a Interface, &'a Interface)> {
    let partner = |there| from.interfaces.iter().find(|here| same_subnet(here, there));
    to.interfaces.iter().filter_map(move |there| Some((partner(there)?, there)))
}

fn same_subnet(a: &Interface, b: &Interface) -> bool {
    let mask = u32::MAX.checked_shl(32 - u32::from(a.prefix)).unwrap_or(0);
    a.prefix == b.prefix && u32::from(a.address) & mask == u32::from(b.address) & mask
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use crate::plan::{Network, Shape};

    /// The broadcaster and the CDN share two islands, the viewer is in the slower of them and in one of its own with the CDN.
    fn several_links() -> Network {
        let text = "
network:
  switches: [near, far, other]
  hosts:
    hb: { role: broadcaster, links: [{ to: near, delay: 20 ms }, { to: far, delay: 5 ms }] }
    hs: { role: cdn, links: [{ to: far, delay: 40 ms }, { to: near, delay: 10 ms }, { to: other, delay: 1 ms }] }
    hv: { role: viewer, links: [{ to: other, delay: 2 ms }, { to: near, delay: 30 ms }] }
    hw: { role: viewer, link: { to: far, delay: 100 ms } }
    hx: { role: idle, links: [{ to: near }, { to: far }] }
";
        crate::recipe::from_str("links.yaml", text).unwrap().plan.trials.remove(0).network
    }

    fn delays(path: &[Shape]) -> Vec<u128> {
        path.iter().map(|shape| shape.delay.as_millis()).collect()
    }

    #[test]
    fn the_path_is_that_to_the_address_that_is_used() {
        let network = several_links();
        assert_eq!(network.address_from("hb", "hs").unwrap(), network.host("hs").unwrap().interfaces[0].address);
        assert_eq!(delays(&network.path("hb", "hs").unwrap()), [5, 40], "not the faster one by the switch `near`");
        assert_eq!(delays(&network.path("hb", "hv").unwrap()), [20, 30], "not through the CDN, which routes nothing");
        assert_eq!(delays(&network.path("hs", "hv").unwrap()), [1, 2]);
        assert_eq!(network.path("hw", "hv"), None);
        let uplink = |from, to| network.uplink(from, to).map(|link| network.links[link].a.interface.as_str());
        assert_eq!([uplink("hb", "hs"), uplink("hb", "hv")], [Some("hb-eth1"), Some("hb-eth0")]);
        assert_eq!(uplink("hw", "hv"), None);
        assert_eq!(network.own_address("hb", "hs"), Some(network.host("hb").unwrap().interfaces[1].address));
    }

    #[test]
    fn video_goes_within_a_subnet_or_through_the_cdn_and_no_other_host() {
        let network = several_links();
        let ways: Vec<Vec<u128>> =
            network.video_ways("hb", "hv").iter().map(|way| delays(&network.shapes(way))).collect();
        let expected: [&[u128]; 5] =
            [&[20, 30], &[5, 40, 1, 2], &[5, 40, 10, 30], &[20, 10, 1, 2], &[20, 10, 10, 30]];
        assert_eq!(ways, expected);
        // By the idle host hx it would be 20 + 100 ms.
        let least =
            network.video_ways("hb", "hw").iter().map(|way| network.shapes(way).iter().map(|s| s.delay).sum()).min();
        assert_eq!(least, Some(Duration::from_millis(105)));
    }
}

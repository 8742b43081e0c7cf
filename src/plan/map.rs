//! What the controller is told of a trial's network before anything happens in it.

use livectl_wire::network_map::{Host, Link, NetworkMap, Stream};

use super::{Network, RTMP_APP, Trial};

impl Trial {
    /// Hosts with their links, the links between switches, and streams.
    #[must_use]
    pub fn network_map(&self) -> NetworkMap {
        let Network { hosts, links, .. } = &self.network;
        let host = |interface: &super::Interface| {
            let link = links.get(interface.link)?;
            let host =
                Host { switch: link.b.node.clone(), delay_us: delay_us(link), up_bit_per_s: link.shape.bandwidth };
            Some((interface.address, host))
        };
        let trunks = links.iter().filter(|link| self.network.host(&link.a.node).is_none());
        let stream = Stream { bit_per_s: self.video.total_bitrate(), frames_per_s: f64::from(self.video.fps) };
        NetworkMap {
            hosts: hosts.iter().flat_map(|host| &host.interfaces).filter_map(host).collect(),
            links: trunks
                .map(|link| Link {
                    between: [&link.a, &link.b].map(|end| end.node.clone()),
                    delay_us: delay_us(link),
                })
                .collect(),
            streams: self.streams.iter().map(|s| (format!("{RTMP_APP}/{}", s.name), stream.clone())).collect(),
        }
    }
}

fn delay_us(link: &super::Link) -> u64 {
    u64::try_from(link.shape.delay.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::Ipv4Addr;

    use livectl_wire::network_map::Link;

    #[test]
    fn every_interface_trunk_and_stream_is_in_it() {
        let text = "
video: { bitrate: 500 kbit/s, fps: 25, frames: 50, audio: true }
network:
  switches: [s1, s2, s3]
  hosts:
    hb: { role: broadcaster, link: { to: s1, bandwidth: 2 Mbit/s, delay: 2 ms } }
    hs: { role: cdn, links: [{ to: s1, delay: 250 us }, { to: s3 }] }
    hv: { role: viewer, count: 2, link: { to: s2, bandwidth: 1 Mbit/s, delay: 10 ms, jitter: 1 ms } }
  trunks:
    - { between: [s1, s2], bandwidth: 10 Mbit/s, delay: 20 ms }
";
        let map = crate::recipe::from_str("map.yaml", text).unwrap().plan.trials[0].network_map();
        let hosts: Vec<_> = map
            .hosts
            .iter()
            .map(|(address, host)| (address.to_string(), host.switch.as_str(), host.delay_us, host.up_bit_per_s))
            .collect();
        let expected = [
            ("10.0.1.1".to_owned(), "s1", 2_000, Some(2_000_000)),
            ("10.0.1.2".to_owned(), "s1", 250, None),
            ("10.0.1.3".to_owned(), "s2", 10_000, Some(1_000_000)),
            ("10.0.1.4".to_owned(), "s2", 10_000, Some(1_000_000)),
            ("10.0.2.1".to_owned(), "s3", 0, None),
        ];
        assert_eq!(hosts, expected);
        assert_eq!(map.links, [Link { between: ["s1".into(), "s2".into()], delay_us: 20_000 }]);
        assert_eq!(map.streams.len(), 1);
        let stream = &map.streams["live/hb"];
        assert_eq!((stream.bit_per_s, stream.frames_per_s), (596_000, 25.0));
        assert!(!map.hosts.contains_key(&Ipv4Addr::new(10, 0, 0, 1)));
    }
}

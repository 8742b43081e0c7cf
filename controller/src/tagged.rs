//! Where stations of VLANs are: beside the [`MacTable`](crate::mac_table::MacTable) of one switch, which has those that speak without a tag.
//!
//! A set of that table is one cache line, with no room for the number of a VLAN. Tagged frames are few in Mininet, so their stations have a map of
//! their own, and frames without a tag pay nothing for it.

use foldhash::{HashMap, HashMapExt};

use crate::mac::MacAddr;
use crate::mac_table::{AGEING, Learnt};
use crate::openflow::PortNo;

/// Stations by VLAN and address.
#[derive(Debug)]
pub struct Tagged {
    stations: HashMap<(u16, MacAddr), Place>,
    /// Stations at most. When there are more, those that were silent for too long are forgotten, or else all.
    limit: usize,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    port: PortNo,
    /// When it was last heard, in seconds.
    heard: u64,
}

impl Place {
    fn is_fresh(&self, now: u64) -> bool {
        now.saturating_sub(self.heard) <= u64::from(AGEING)
    }
}

impl Tagged {
    /// Knows nobody.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { stations: HashMap::new(), limit }
    }

    /// Learns that a station of a VLAN was heard at a port. `now` in seconds.
    pub fn learn(&mut self, vlan: u16, mac: MacAddr, port: PortNo, now: u64) -> Learnt {
        if !mac.is_station() || !port.is_attachment() {
            return Learnt::Nothing;
        }
        if self.stations.len() >= self.limit && !self.stations.contains_key(&(vlan, mac)) {
            self.sweep(now);
            if self.stations.len() >= self.limit {
                self.stations.clear();
            }
        }
        match self.stations.insert((vlan, mac), Place { port, heard: now }) {
            Some(before) if !before.is_fresh(now) => Learnt::New,
            Some(before) if before.port != port => Learnt::Moved(before.port),
            Some(_) => Learnt::Same,
            None => Learnt::New,
        }
    }

    /// The port of a station that was heard lately.
    #[must_use]
    pub fn port(&self, vlan: u16, mac: MacAddr, now: u64) -> Option<PortNo> {
        self.stations.get(&(vlan, mac)).filter(|place| place.is_fresh(now)).map(|place| place.port)
    }

    /// The port of a station on whichever VLAN it was heard last.
    #[must_use]
    pub fn port_on_any(&self, mac: MacAddr, now: u64) -> Option<PortNo> {
        let places = self.stations.iter().filter(|((_, station), place)| *station == mac && place.is_fresh(now));
        places.max_by_key(|(_, place)| place.heard).map(|(_, place)| place.port)
    }

    /// Forgets all stations at a port.
    pub fn forget_port(&mut self, port: PortNo) {
        self.stations.retain(|_, place| place.port != port);
    }

    /// Forgets who was silent too long.
    pub fn sweep(&mut self, now: u64) {
        self.stations.retain(|_, place| place.is_fresh(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    #[test]
    fn one_address_is_a_station_on_each_vlan() {
        let mut tagged = Tagged::new(16);
        assert_eq!(tagged.learn(5, A, PortNo(1), 0), Learnt::New);
        assert_eq!(tagged.learn(6, A, PortNo(2), 1), Learnt::New);
        assert_eq!(tagged.learn(5, A, PortNo(1), 2), Learnt::Same);
        assert_eq!((tagged.port(5, A, 2), tagged.port(6, A, 2)), (Some(PortNo(1)), Some(PortNo(2))));
        assert_eq!((tagged.port(7, A, 2), tagged.port_on_any(A, 2)), (None, Some(PortNo(1))));
        assert_eq!(tagged.learn(6, A, PortNo(3), 3), Learnt::Moved(PortNo(2)));
        tagged.forget_port(PortNo(3));
        assert_eq!((tagged.port(5, A, 3), tagged.port(6, A, 3)), (Some(PortNo(1)), None));
        assert_eq!((tagged.port(5, A, 302), tagged.port(5, A, 303)), (Some(PortNo(1)), None));
        assert_eq!(tagged.learn(5, A, PortNo(1), 303), Learnt::New, "who was forgotten is new");
        assert_eq!(tagged.learn(5, MacAddr::BROADCAST, PortNo(1), 303), Learnt::Nothing);
        assert_eq!(tagged.learn(5, A, PortNo::FLOOD, 303), Learnt::Nothing);
    }

    #[test]
    fn however_many_speak_memory_is_bounded() {
        let mut tagged = Tagged::new(16);
        for number in 0..1000_u64 {
            let [_, _, mac @ ..] = (0x0200_0000_0000 | number).to_be_bytes();
            assert_eq!(tagged.learn(number as u16 % 7, MacAddr(mac), PortNo(1), number / 10), Learnt::New);
            assert_eq!(tagged.port(number as u16 % 7, MacAddr(mac), number / 10), Some(PortNo(1)));
            assert!(tagged.stations.len() <= 16);
        }
    }
}

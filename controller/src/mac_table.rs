//! Where stations are: the address table of one switch.
//!
//! Laid out as switches lay it out in hardware: sets of eight places, each address with two sets to choose from (Azar, Broder, Karlin
//! and Upfal, "Balanced Allocations", 1999), ten bytes a place; the cost of finding and of learning does not depend on how many there
//! are. A table is no larger than its stations need, so that the tables of many switches stay in the processor's caches: when both sets
//! of a new station are full it is doubled, up to its limit. There the longest silent station makes way.

use crate::mac::MacAddr;
use crate::openflow::PortNo;

/// A station that was silent for so many seconds is forgotten (IEEE 802.1Q-2018, table 8-6).
pub const AGEING: u16 = 300;

/// Places in a set: as many as share a cache line.
const WAYS: usize = 8;
/// A full sweep takes so many calls of [`MacTable::sweep`].
const SWEEP_PARTS: usize = 64;
/// Places of a table that the first two caches of a processor do not hold for many switches.
const WORTH_TOUCHING: usize = 4096;
/// Places of a table that begins.
const FIRST_PLACES: usize = 256;

/// Addresses and ports.
#[derive(Debug, Clone)]
pub struct MacTable {
    /// Address in the upper 48 bits, port in the lower 16; 0: free.
    places: Vec<u64>,
    /// When each was last heard, in seconds modulo 2¹⁶.
    heard: Vec<u16>,
    /// Places at most.
    limit: usize,
    seed: u64,
    len: usize,
    sweep_at: usize,
}

/// What a frame's source address told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learnt {
    /// A station that was not known.
    New,
    /// It is where it was.
    Same,
    /// It was at this port before.
    Moved(PortNo),
    /// Not the address of a station, or not a port that can be kept.
    Nothing,
}

impl MacTable {
    /// A table for about `capacity` stations: rounded up to a power of two, at least 16. `seed` decides which addresses compete for a
    /// place.
    #[must_use]
    pub fn new(capacity: usize, seed: u64) -> Self {
        let limit = capacity.clamp(2 * WAYS, 1 << 24).next_power_of_two();
        Self::with_places(limit.min(FIRST_PLACES), limit, seed | 1)
    }

    fn with_places(places: usize, limit: usize, seed: u64) -> Self {
        Self { places: vec![0; places], heard: vec![0; places], limit, seed, len: 0, sweep_at: 0 }
    }

    /// How many stations it can hold once it has grown.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.limit
    }

    /// How many it holds, those included that are about to be forgotten.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Learns that a station was heard at a port. `now` in seconds.
    pub fn learn(&mut self, mac: MacAddr, port: PortNo, now: u64) -> Learnt {
        let (true, true, Some(number)) = (mac.is_station(), port.is_attachment(), port.to_v10()) else {
            return Learnt::Nothing;
        };
        let place = mac.to_bits() << 16 | u64::from(number);
        let sets = self.sets(mac);
        if let Some(at) = self.find(mac, sets) {
            let before = std::mem::replace(slot(&mut self.places, at), place);
            let fresh = self.is_fresh(at, now);
            *slot(&mut self.heard, at) = now as u16;
            return match fresh {
                _ if before == place && fresh => Learnt::Same,
                true => Learnt::Moved(PortNo::from_v10(before as u16)),
                false => Learnt::New,
            };
        }
        let mut at = self.room(sets, now);
        while *slot(&mut self.places, at) != 0 && self.is_fresh(at, now) && self.places.len() < self.limit {
            self.grow();
            at = self.room(self.sets(mac), now);
        }
        self.put(at, place, now as u16);
        Learnt::New
    }

    fn put(&mut self, at: usize, place: u64, heard: u16) {
        if std::mem::replace(slot(&mut self.places, at), place) == 0 {
            self.len += 1;
        }
        *slot(&mut self.heard, at) = heard;
    }

    /// Doubles the table. Half of it is free then, so that everyone finds a place.
    fn grow(&mut self) {
        let mut larger = Self::with_places(self.places.len() * 2, self.limit, self.seed);
        for (place, heard) in self.places.iter().zip(&self.heard).filter(|(place, _)| **place != 0) {
            let sets = larger.sets(MacAddr::from_bits(place >> 16));
            larger.put(larger.room(sets, (*heard).into()), *place, *heard);
        }
        *self = larger;
    }

    /// The port of a station that was heard lately.
    #[must_use]
    pub fn port(&self, mac: MacAddr, now: u64) -> Option<PortNo> {
        let at = self.find(mac, self.sets(mac)).filter(|at| self.is_fresh(*at, now))?;
        self.places.get(at).map(|place| PortNo::from_v10(*place as u16))
    }

    /// Reads what learning and finding these stations will read. When a table is too large for the processor's caches, this has it fetched
    /// side by side; looked for one after the other, each station would wait for memory once or twice.
    pub fn touch(&self, macs: impl Iterator<Item = MacAddr>) {
        if self.places.len() < WORTH_TOUCHING {
            return;
        }
        let sets = macs.flat_map(|mac| self.sets(mac));
        let read = |set: usize| self.places.get(set).zip(self.heard.get(set)).map_or(0, |(p, h)| p ^ u64::from(*h));
        std::hint::black_box(sets.fold(0, |sum, set| sum ^ read(set)));
    }

    /// Forgets all stations at a port.
    pub fn forget_port(&mut self, port: PortNo) {
        let Some(number) = port.to_v10() else { return };
        for place in &mut self.places {
            if *place != 0 && *place as u16 == number {
                *place = 0;
                self.len -= 1;
            }
        }
    }

    /// Forgets, in one of 64 parts of the table, who was silent too long. To be called about once a second, so that
    /// no age can come round to being young again.
    pub fn sweep(&mut self, now: u64) {
        let part = self.places.len().div_ceil(SWEEP_PARTS);
        for at in self.sweep_at..(self.sweep_at + part).min(self.places.len()) {
            if self.places.get(at).is_some_and(|place| *place != 0) && !self.is_fresh(at, now) {
                *slot(&mut self.places, at) = 0;
                self.len -= 1;
            }
        }
        self.sweep_at = (self.sweep_at + part) % self.places.len();
    }

    /// The beginnings of an address's two sets.
    fn sets(&self, mac: MacAddr) -> [usize; 2] {
        // Fibonacci hashing, mixed twice; the seed keeps an outsider from choosing addresses that collide.
        let mut hash = (mac.to_bits() ^ self.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 32;
        hash = hash.wrapping_mul(0xd6e8_feb8_6659_fd93);
        let sets = self.places.len() / WAYS;
        let first = (hash >> 40) as usize & (sets - 1);
        // Another one always, since at least two sets exist.
        let step = 1 + (hash >> 8) as usize % (sets - 1);
        [first * WAYS, ((first + step) & (sets - 1)) * WAYS]
    }

    fn find(&self, mac: MacAddr, sets: [usize; 2]) -> Option<usize> {
        let wanted = mac.to_bits();
        sets.into_iter().find_map(|set| {
            let ways = self.places.get(set..set + WAYS)?;
            ways.iter().position(|place| place >> 16 == wanted).map(|way| set + way)
        })
    }

    /// The place for a new station: a free one in the emptier set, else that of the longest silent.
    fn room(&self, sets: [usize; 2], now: u64) -> usize {
        let free = |set: usize| {
            let ways = self.places.get(set..set + WAYS).unwrap_or_default();
            let count = ways.iter().filter(|place| **place == 0).count();
            (count, ways.iter().position(|place| *place == 0).map(|way| set + way))
        };
        let [first, second] = sets.map(free);
        let emptier = if second.0 > first.0 { second.1 } else { first.1 };
        let silence = |at: &usize| (now as u16).wrapping_sub(self.heard.get(*at).copied().unwrap_or_default());
        let all = sets.into_iter().flat_map(|set| set..set + WAYS);
        emptier.or_else(|| all.max_by_key(silence)).unwrap_or_default()
    }

    fn is_fresh(&self, at: usize, now: u64) -> bool {
        self.heard.get(at).is_some_and(|heard| (now as u16).wrapping_sub(*heard) <= AGEING)
    }
}

/// A place that is known to be inside.
fn slot<T>(list: &mut [T], at: usize) -> &mut T {
    &mut list[at]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn station(number: u64) -> MacAddr {
        let [_, _, rest @ ..] = (number | 0x0200_0000_0000).to_be_bytes();
        MacAddr(rest)
    }

    #[test]
    fn learns_moves_and_forgets() {
        let mut table = MacTable::new(100, 1);
        assert_eq!(table.capacity(), 128);
        assert_eq!(table.learn(station(1), PortNo(1), 0), Learnt::New);
        assert_eq!(table.learn(station(1), PortNo(1), 200), Learnt::Same);
        assert_eq!(table.learn(station(1), PortNo(2), 201), Learnt::Moved(PortNo(1)));
        assert_eq!(table.port(station(1), 501), Some(PortNo(2)));
        assert_eq!(table.port(station(1), 502), None);
        // One that comes back after it was forgotten is a new one, wherever it is.
        assert_eq!(table.learn(station(1), PortNo(3), 600), Learnt::New);
        assert_eq!(table.len(), 1);
        table.forget_port(PortNo(3));
        assert_eq!((table.port(station(1), 600), table.len()), (None, 0));
    }

    #[test]
    fn what_is_no_station_is_not_learnt() {
        let mut table = MacTable::new(16, 1);
        assert_eq!(table.learn(MacAddr::BROADCAST, PortNo(1), 0), Learnt::Nothing);
        assert_eq!(table.learn(MacAddr([0; 6]), PortNo(1), 0), Learnt::Nothing);
        assert_eq!(table.learn(station(1), PortNo::FLOOD, 0), Learnt::Nothing);
        assert_eq!(table.learn(station(1), PortNo::LOCAL, 0), Learnt::New);
        assert_eq!(table.port(station(1), 0), Some(PortNo::LOCAL));
    }

    #[test]
    fn sweeping_empties_it_and_age_does_not_come_round() {
        let mut table = MacTable::new(1024, 7);
        for number in 0..500 {
            table.learn(station(number), PortNo(1), 0);
        }
        for now in 0..65_536 {
            table.sweep(now);
        }
        assert_eq!(table.len(), 0);
        assert_eq!(table.port(station(3), 65_536), None);
    }

    #[test]
    fn nearly_all_of_it_can_be_used() {
        let mut table = MacTable::new(65_536, 0x5eed);
        for number in 0..60_000 {
            table.learn(station(number * 7919), PortNo(1), 0);
        }
        let known = (0..60_000).filter(|n| table.port(station(n * 7919), 0).is_some()).count();
        assert!(known > 59_000, "{known} of 60000");
    }

    #[test]
    fn it_grows_with_its_stations_and_keeps_them() {
        let mut table = MacTable::new(65_536, 0x5eed);
        for number in 0..30_000 {
            assert_eq!(table.learn(station(number), PortNo(1 + number as u32 % 7), number / 300), Learnt::New);
            assert!(table.places.len() <= FIRST_PLACES.max(4 * table.len()), "{} for {number}", table.places.len());
        }
        assert_eq!(table.len(), 30_000);
        for number in 0..30_000 {
            assert_eq!(table.port(station(number), 100), Some(PortNo(1 + number as u32 % 7)));
        }
    }

    #[test]
    fn the_longest_silent_makes_way() {
        let mut table = MacTable::new(16, 3);
        for number in 0..16 {
            table.learn(station(number), PortNo(1), number);
        }
        table.learn(station(99), PortNo(2), 20);
        assert_eq!(table.len(), 16);
        assert_eq!(table.port(station(0), 20), None);
        assert_eq!(table.port(station(99), 20), Some(PortNo(2)));
    }

    proptest! {
        /// With room for all, it is a map.
        #[test]
        fn like_a_map(steps in proptest::collection::vec((0u64..40, 1u32..5, any::<bool>()), 0..200), seed: u64) {
            let mut table = MacTable::new(1024, seed);
            let mut map = HashMap::new();
            for (number, port, learns) in steps {
                if learns {
                    let before = map.insert(number, port);
                    let expected = match before {
                        None => Learnt::New,
                        Some(before) if before == port => Learnt::Same,
                        Some(before) => Learnt::Moved(PortNo(before)),
                    };
                    prop_assert_eq!(table.learn(station(number), PortNo(port), 5), expected);
                }
                prop_assert_eq!(table.port(station(number), 5), map.get(&number).copied().map(PortNo));
                prop_assert_eq!(table.len(), map.len());
            }
        }
    }
}

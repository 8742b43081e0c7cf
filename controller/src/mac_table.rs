//! Where stations are: the address table of one switch.
//!
//! Laid out as switches lay it out in hardware: sets of six places, each address with two sets to choose from (Azar,
//! Broder, Karlin and Upfal, "Balanced Allocations", 1999), a set in one cache line; the cost of finding and of
//! learning does not depend on how many there are. A table is no larger than its stations need, so that the tables of
//! many switches stay in the processor's caches: when both sets of a new station are full it is doubled, up to its
//! limit. There the longest silent station makes way.

use prefetch_index::prefetch_index;

use crate::mac::MacAddr;
use crate::openflow::PortNo;

/// A station that was silent for so many seconds is forgotten (IEEE 802.1Q-2018, table 8-6).
pub const AGEING: u16 = 300;

/// Places in a set: as many as share a cache line.
const WAYS: usize = 6;
/// A full sweep takes so many calls of [`MacTable::sweep`].
const SWEEP_PARTS: usize = 64;
/// Sets of a table that begins, at most.
const FIRST_SETS: usize = 48;

/// At which port each station was heard, of as many as there is room for.
#[derive(Debug, Clone)]
pub struct MacTable {
    sets: Vec<Set>,
    /// How many sets there may be.
    limit: usize,
    seed: u64,
    len: usize,
    sweep_at: usize,
}

/// Places for stations that compete for them.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Set {
    /// Address in the upper 48 bits, port in the lower 16; 0: free.
    places: [u64; WAYS],
    /// When each was last heard, in seconds modulo 2¹⁶.
    heard: [u16; WAYS],
}

/// A place in a set.
#[derive(Debug, Clone, Copy)]
struct At {
    set: usize,
    way: usize,
}

/// What a frame's source address told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learnt {
    /// A station that was not known.
    New,
    /// A station at the port where it was.
    Same,
    /// It was at this port before.
    Moved(PortNo),
    /// Not the address of a station, or not a port that can be kept.
    Nothing,
}

impl Set {
    /// One bit for each place where this address is; all are looked at, since a processor cannot guess where to stop.
    fn ways(&self, mac: MacAddr) -> u32 {
        let wanted = mac.to_bits();
        self.places.iter().enumerate().fold(0, |ways, (way, place)| ways | u32::from(place >> 16 == wanted) << way)
    }

    fn free(&self) -> usize {
        self.places.iter().filter(|place| **place == 0).count()
    }

    /// Whoever is at a place was heard lately.
    fn is_fresh(&self, way: usize, now: u64) -> bool {
        self.silence(way, now) <= AGEING
    }

    /// For how many seconds nothing was heard of who is there.
    fn silence(&self, way: usize, now: u64) -> u16 {
        (now as u16).wrapping_sub(self.heard[way])
    }

    /// Forgets whom `which` says, of the places that are taken; how many these were.
    fn forget(&mut self, which: impl Fn(&Self, usize) -> bool) -> usize {
        let before = self.free();
        for way in 0..WAYS {
            if self.places[way] != 0 && which(self, way) {
                self.places[way] = 0;
            }
        }
        self.free() - before
    }
}

impl MacTable {
    /// A table for about `capacity` stations: rounded up to a multiple of six, at least twelve. `seed` decides which
    /// addresses compete for a place.
    #[must_use]
    pub fn new(capacity: usize, seed: u64) -> Self {
        let limit = capacity.clamp(2 * WAYS, 1 << 24).div_ceil(WAYS);
        // Such that doubling it some times comes out at the limit.
        let mut first = limit;
        while first > FIRST_SETS {
            first = first.div_ceil(2);
        }
        Self::with_sets(first, limit, seed | 1)
    }

    fn with_sets(sets: usize, limit: usize, seed: u64) -> Self {
        Self { sets: vec![Set::default(); sets], limit, seed, len: 0, sweep_at: 0 }
    }

    /// How many stations it can hold once it has grown.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.limit * WAYS
    }

    /// How many it holds, those included that are about to be forgotten.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds no station.
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
        let sets = self.sets_of(mac);
        if let Some(At { set, way }) = self.find(mac, sets) {
            let set = &mut self.sets[set];
            let fresh = set.is_fresh(way, now);
            let before = std::mem::replace(&mut set.places[way], place);
            set.heard[way] = now as u16;
            return match fresh {
                _ if before == place && fresh => Learnt::Same,
                true => Learnt::Moved(PortNo::from_v10(before as u16)),
                false => Learnt::New,
            };
        }
        let mut at = self.room(sets, now);
        while self.sets.len() < self.limit && self.is_taken(at, now) {
            self.grow();
            at = self.room(self.sets_of(mac), now);
        }
        self.put(at, place, now as u16);
        Learnt::New
    }

    fn is_taken(&self, At { set, way }: At, now: u64) -> bool {
        let set = &self.sets[set];
        set.places[way] != 0 && set.is_fresh(way, now)
    }

    fn put(&mut self, At { set, way }: At, place: u64, heard: u16) {
        let set = &mut self.sets[set];
        self.len += usize::from(set.places[way] == 0);
        set.places[way] = place;
        set.heard[way] = heard;
    }

    /// Doubles the table. Half of it is free then, so that everyone finds a place.
    fn grow(&mut self) {
        let mut larger = Self::with_sets((self.sets.len() * 2).min(self.limit), self.limit, self.seed);
        for set in &self.sets {
            for (place, heard) in set.places.iter().zip(set.heard).filter(|(place, _)| **place != 0) {
                let sets = larger.sets_of(MacAddr::from_bits(place >> 16));
                larger.put(larger.room(sets, heard.into()), *place, heard);
            }
        }
        *self = larger;
    }

    /// The port of a station that was heard lately.
    #[must_use]
    pub fn port(&self, mac: MacAddr, now: u64) -> Option<PortNo> {
        let At { set, way } = self.find(mac, self.sets_of(mac))?;
        let set = &self.sets[set];
        set.is_fresh(way, now).then(|| PortNo::from_v10(set.places[way] as u16))
    }

    /// How many bytes of memory it takes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.sets.len() * size_of::<Set>()
    }

    /// Asks memory for what learning and finding these stations will read. Unlike a read, that holds up nothing that
    /// comes after it.
    pub fn prefetch(&self, macs: impl IntoIterator<Item = MacAddr>) {
        for set in macs.into_iter().flat_map(|mac| self.sets_of(mac)) {
            prefetch_index(&self.sets, set);
        }
    }

    /// Reads all of it. It is read in sequence, which the processor foresees; to ask for every line costs more.
    pub fn read_whole(&self) {
        std::hint::black_box(self.sets.iter().fold(0, |sum, set| sum ^ set.places[0]));
    }

    /// Forgets all stations at a port.
    pub fn forget_port(&mut self, port: PortNo) {
        let Some(number) = port.to_v10() else { return };
        for set in &mut self.sets {
            self.len -= set.forget(|set, way| set.places[way] as u16 == number);
        }
    }

    /// Forgets, in one of 64 parts of the table, who was silent too long. To be called about once a second, so that
    /// no age can come round to being young again.
    pub fn sweep(&mut self, now: u64) {
        let part = self.sets.len().div_ceil(SWEEP_PARTS);
        for set in self.sets.iter_mut().skip(self.sweep_at).take(part) {
            self.len -= set.forget(|set, way| !set.is_fresh(way, now));
        }
        self.sweep_at = (self.sweep_at + part) % self.sets.len();
    }

    /// An address's two sets.
    fn sets_of(&self, mac: MacAddr) -> [usize; 2] {
        // Fibonacci hashing, mixed twice; the seed keeps an outsider from choosing addresses that collide.
        let mut hash = (mac.to_bits() ^ self.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 32;
        hash = hash.wrapping_mul(0xd6e8_feb8_6659_fd93);
        // A number below `below` from 32 bits (Lemire, "Fast Random Integer Generation in an Interval", 2019).
        let scale = |bits: u64, below: usize| (((bits & 0xffff_ffff) * below as u64) >> 32) as usize;
        let sets = self.sets.len();
        let first = scale(hash >> 32, sets);
        // Another one always, since at least two sets exist.
        let second = first + 1 + scale(hash, sets - 1);
        [first, if second < sets { second } else { second - sets }]
    }

    fn find(&self, mac: MacAddr, sets: [usize; 2]) -> Option<At> {
        let [first, second] = sets;
        let (in_first, in_second) = (self.sets[first].ways(mac), self.sets[second].ways(mac));
        let (set, ways) = if in_first != 0 { (first, in_first) } else { (second, in_second) };
        (ways != 0).then_some(At { set, way: ways.trailing_zeros() as usize })
    }

    /// The place for a new station: a free one in the emptier set, else that of the longest silent.
    fn room(&self, [first, second]: [usize; 2], now: u64) -> At {
        let emptier = if self.sets[second].free() > self.sets[first].free() { second } else { first };
        if let Some(way) = self.sets[emptier].places.iter().position(|place| *place == 0) {
            return At { set: emptier, way };
        }
        let all = [first, second].into_iter().flat_map(|set| (0..WAYS).map(move |way| At { set, way }));
        all.max_by_key(|at| self.sets[at.set].silence(at.way, now)).unwrap_or(At { set: first, way: 0 })
    }
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
        assert_eq!(table.capacity(), 102);
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
        assert!(known > 58_500, "{known} of 60000");
    }

    #[test]
    fn it_grows_with_its_stations_and_keeps_them() {
        let mut table = MacTable::new(65_536, 0x5eed);
        for number in 0..30_000 {
            assert_eq!(table.learn(station(number), PortNo(1 + number as u32 % 7), number / 300), Learnt::New);
            let sets = table.sets.len();
            assert!(sets <= FIRST_SETS.max(table.len()), "{sets} for {number}");
        }
        assert_eq!(table.len(), 30_000);
        for number in 0..30_000 {
            assert_eq!(table.port(station(number), 100), Some(PortNo(1 + number as u32 % 7)));
        }
    }

    #[test]
    fn the_longest_silent_makes_way() {
        let mut table = MacTable::new(12, 3);
        for number in 0..12 {
            table.learn(station(number), PortNo(1), number);
        }
        table.learn(station(99), PortNo(2), 20);
        assert_eq!(table.len(), 12);
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

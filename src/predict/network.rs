//! What packets pass: the directions of the plan's links, each as the emulator's [`Shaper`] has it, and the ways over them.

use std::collections::HashMap;

use super::agenda::Nanos;
use crate::emulator::shaper::{Shaper, Verdict};
use crate::plan::Trial;

/// A host, by its place in the plan.
pub type Host = usize;

/// Directions of links that are passed one after the other.
pub type Way = std::rc::Rc<[usize]>;

/// All directions of all links.
#[derive(Debug)]
pub struct Network {
    lanes: Vec<Shaper>,
    ways: HashMap<(Host, Host), Option<Way>>,
    /// Packets that links have lost, or had no room for.
    dropped: u64,
}

impl Network {
    /// Of a trial; chance is its seed's, as in the emulator.
    pub fn of(trial: &Trial) -> Self {
        let lane = |(link, forward): (usize, bool)| {
            let shape = &trial.network.links[link].shape;
            let seed = trial.seed ^ (2 * link as u64 + u64::from(!forward)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let mut lane = Shaper::changing(shape, trial.course(link, forward), seed);
            lane.begin(0);
            lane
        };
        let directions = (0..trial.network.links.len()).flat_map(|link| [(link, true), (link, false)]);
        Self { lanes: directions.map(lane).collect(), ways: HashMap::new(), dropped: 0 }
    }

    /// How packets go from one host to [the address](crate::plan::Network::address_from) of another.
    pub fn way(&mut self, trial: &Trial, from: Host, to: Host) -> Option<Way> {
        let find = || {
            let [from, to] = [from, to].map(|host| trial.network.hosts[host].name.as_str());
            let way = trial.network.way(from, to)?;
            Some(way.iter().map(|passed| 2 * passed.link + usize::from(!passed.forward)).collect())
        };
        self.ways.entry((from, to)).or_insert_with(find).clone()
    }

    /// A packet of so many bytes enters a direction of a link: when it is at the other end; `None`: never.
    pub fn pass(&mut self, lane: usize, now: Nanos, bytes: usize) -> Option<Nanos> {
        match self.lanes[lane].offer(now, bytes) {
            Verdict::Deliver { at } => Some(at),
            Verdict::QueueFull | Verdict::Lost | Verdict::Down => {
                self.dropped += 1;
                None
            }
        }
    }

    /// Packets that never came out of a link.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

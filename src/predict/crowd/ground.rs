//! The network under a crowd: which hosts are alike, and what lies between two of them.
//!
//! A viewer of the recipe stands for many. All of them have a link like its own, each for itself; links between switches are
//! there once.

use std::time::Duration;

use super::super::Unpredictable;
use super::super::agenda::Nanos;
use super::super::course::{SWITCH, WORD, nanos};
use super::tree::{self, Node};
use crate::plan::{Shape, Stream, Trial};

/// Hosts of one kind are at the same switch, behind links of the same shape.
pub(super) type Kind = u16;
/// Kind of the broadcaster.
pub(super) const BROADCASTER: Kind = 0;
/// Kind of the CDN.
pub(super) const CDN: Kind = 1;

/// What hosts of a kind have in common.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place {
    /// The number of their switch.
    pub switch: usize,
    /// What the link of each of them does to packets.
    pub link: Shape,
    /// They are at a switch of the broadcaster's.
    pub is_near: bool,
    /// A host of that kind, by its place in the plan.
    pub example: usize,
}

/// From hosts of one kind to those of another, between the uplink of the one and the downlink of the other.
#[derive(Debug, Clone, Default)]
pub(super) struct Way {
    /// Directions of links between switches, each with the delay that lies before it.
    pub trunks: Box<[(usize, Nanos)]>,
    /// What is left of the delay after the last of those, or all of it.
    pub rest: Nanos,
    /// The whole delay, of all links and switches.
    pub delay: Nanos,
    /// What each link does that has jitter or loses packets.
    pub noise: Box<[Noise]>,
}

/// Jitter and loss of a link.
#[derive(Debug, Clone, Copy)]
pub(super) struct Noise {
    pub jitter: Nanos,
    pub loss: f64,
    /// Its number, if it is there once: between switches, or of the broadcaster or the CDN.
    pub shared: Option<usize>,
}

/// A rate as the time that a byte takes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    picoseconds: u64,
}

impl Pace {
    /// The pace of a rate; `None`: bytes take no time.
    pub fn of(bit_per_s: Option<u64>) -> Self {
        let picoseconds = bit_per_s.map_or(0, |rate| 8_000_000_000_000 / rate.max(1));
        Self { picoseconds }
    }

    pub fn time(self, bytes: u64) -> Nanos {
        bytes * self.picoseconds / 1000
    }
}

/// The network under a crowd: its kinds of hosts, and the ways between them.
#[derive(Debug)]
pub(super) struct Ground {
    pub places: Vec<Place>,
    /// Of each viewer of the recipe, in its order.
    kinds: Vec<Kind>,
    /// How many viewers the crowd has.
    viewers: usize,
    pub paces: Vec<Pace>,
    ways: Vec<Way>,
    /// Rates of both directions of each link, by direction.
    pub trunks: Vec<Pace>,
}

impl Ground {
    pub fn of(trial: &Trial, stream: &Stream, viewers: usize) -> Result<Self, Unpredictable> {
        let network = &trial.network;
        let cdn = network.cdn().ok_or(Unpredictable::Host)?;
        let switch = |name: &str| network.switches.iter().position(|switch| switch.name == name);
        let place = |name: &str| {
            let example = network.hosts.iter().position(|host| host.name == name).ok_or(Unpredictable::Host)?;
            let [interface] = &network.hosts[example].interfaces[..] else {
                return Err(Unpredictable::Links(name.to_owned()));
            };
            let link = network.links.get(interface.link).ok_or(Unpredictable::Host)?;
            let is_near = network.share_switch(&stream.broadcaster, name);
            Ok(Place { switch: switch(&link.b.node).ok_or(Unpredictable::Host)?, link: link.shape, is_near, example })
        };
        let mut places = vec![place(&stream.broadcaster)?, place(&cdn.name)?];
        let mut kinds = Vec::with_capacity(stream.viewers.len());
        for viewer in &stream.viewers {
            let found = place(viewer)?;
            let is_same = |known: &Place| (known.switch, known.link) == (found.switch, found.link);
            // Neither broadcaster nor CDN is of a viewer's kind.
            let known = places.iter().skip(2).position(is_same).map(|at| at + 2);
            let kind = known.unwrap_or_else(|| {
                places.push(found);
                places.len() - 1
            });
            kinds.push(Kind::try_from(kind).map_err(|_| Unpredictable::Host)?);
        }
        let mut ground = Self {
            kinds,
            viewers,
            paces: places.iter().map(|place| Pace::of(place.link.bandwidth)).collect(),
            ways: Vec::new(),
            trunks: network.links.iter().flat_map(|link| [Pace::of(link.shape.bandwidth); 2]).collect(),
            places,
        };
        for from in 0..ground.places.len() {
            for to in 0..ground.places.len() {
                let way = ground.between(trial, from, to).ok_or(Unpredictable::Host)?;
                ground.ways.push(way);
            }
        }
        Ok(ground)
    }

    /// `None`: they share no subnet.
    fn between(&self, trial: &Trial, from: usize, to: usize) -> Option<Way> {
        let network = &trial.network;
        let [one, other] = [&self.places[from], &self.places[to]];
        let trunks = match one.switch == other.switch {
            true => Vec::new(),
            // Of those that are alike two different hosts would be asked for; between switches all have the same way.
            false => {
                let [one, other] = [one, other].map(|place| network.hosts[place.example].name.as_str());
                let passed = network.way(one, other)?;
                passed.get(1..passed.len().checked_sub(1)?)?.to_vec()
            }
        };
        let mut way = Way { rest: nanos(one.link.delay) + SWITCH, ..Way::default() };
        let own = |kind: usize| {
            let host = &network.hosts[self.places[kind].example];
            host.interfaces.first().map(|interface| interface.link).filter(|_| kind < 2)
        };
        let mut noise: Vec<(Shape, Option<usize>)> = vec![(one.link, own(from))];
        let mut lanes = Vec::new();
        for passed in trunks {
            let shape = network.links.get(passed.link)?.shape;
            lanes.push((2 * passed.link + usize::from(!passed.forward), way.rest));
            way.delay += way.rest;
            way.rest = nanos(shape.delay) + SWITCH;
            noise.push((shape, Some(passed.link)));
        }
        noise.push((other.link, own(to)));
        way.rest += nanos(other.link.delay);
        way.delay += way.rest;
        way.trunks = lanes.into();
        let noisy = noise.into_iter().filter(|(shape, _)| shape.loss > 0.0 || shape.jitter > Duration::ZERO);
        way.noise =
            noisy.map(|(shape, shared)| Noise { jitter: nanos(shape.jitter), loss: shape.loss, shared }).collect();
        Some(way)
    }

    /// What kind of viewer stands at a node.
    pub fn kind_of(&self, node: Node) -> Kind {
        match node {
            tree::BROADCASTER => BROADCASTER,
            tree::CDN => CDN,
            viewer => self.kinds[Trial::stands_for((viewer - tree::FIRST) as usize, self.viewers, self.kinds.len())],
        }
    }

    pub fn way(&self, from: Kind, to: Kind) -> &Way {
        &self.ways[usize::from(from) * self.places.len() + usize::from(to)]
    }

    /// There and back, without queues.
    pub fn round_trip(&self, from: Kind, to: Kind) -> Nanos {
        self.way(from, to).delay + self.way(to, from).delay
    }

    /// How long a command takes from one to another, without queues.
    pub fn word(&self, from: Kind, to: Kind) -> Nanos {
        let links = [from, to].map(|kind| self.paces[usize::from(kind)].time(WORD as u64));
        self.way(from, to).delay + links[0] + links[1]
    }

    /// How long a word takes from a host to its switch, where the controller sees it.
    pub fn up_to_switch(&self, kind: Kind) -> Nanos {
        nanos(self.places[usize::from(kind)].link.delay)
    }
}

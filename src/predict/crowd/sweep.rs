//! An item's way down a tree: when each viewer has it.

use std::collections::BTreeMap;

use super::super::agenda::Nanos;
use super::super::course::{Born, PROGRAM};
use super::super::programs::CUT_THROUGH;
use super::chance::Chance;
use super::course::program;
use super::ground::{self, Ground, Kind, Noise, Pace, Way};
use super::parcel::Parcel;
use super::tree::{BROADCASTER, CDN, FIRST, NOBODY, Node, Order, Served};
use crate::plan::Trial;
use crate::plan::delivery::{Carrier, Scheme};
use crate::trace::floor::SEGMENT;

/// In a row: it has not arrived.
pub(super) const MISSING: u32 = u32::MAX;
/// A window that has been opened so many times over opens as fast as anybody sends.
const OPEN: u64 = 32;
/// Lost packets are told by so many that follow.
const TELLING: u64 = 3;
/// Of a packet that is lost again and again.
const MOST_TIMES_LOST: u32 = 16;

/// What is touched of a node with every item.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Hot {
    /// When it had the first packet of the latest item, and all of it.
    first: Nanos,
    last: Nanos,
    /// When its uplink has sent all that it was given, and its downlink.
    up_free: Nanos,
    down_free: Nanos,
    /// When who serves it began, and what it has been given since, in bytes.
    started: Nanos,
    given: u64,
}

/// The time of a direction of a link between switches, slot by slot. Items do not come in the order of time, so each takes what is free from its
/// coming on; in which order items of one slot leave is left open.
#[derive(Debug, Clone, Default)]
struct Busy {
    /// Of each slot, how much is taken, and from where on the next one that is free is looked for.
    slots: Vec<(u32, u32)>,
}

/// Nanoseconds of a slot: what one can be taken for.
const SLOT: u32 = 1_000_000;
/// A moment after all others that still can be added to.
const NEVER: Nanos = Nanos::MAX / 8;

impl Busy {
    /// The first slot from that one on in which something is free.
    fn free(&mut self, slot: usize) -> usize {
        let mut at = slot;
        while let Some((SLOT, next)) = self.slots.get(at) {
            at = *next as usize;
        }
        // Whoever comes this way again goes straight there.
        let mut passed = slot;
        while passed < at {
            let next = self.slots[passed].1 as usize;
            self.slots[passed].1 = at as u32;
            passed = next;
        }
        at
    }

    /// So much to be sent that comes then, before `end`: when it begins to leave, and when all of it has left.
    fn take(&mut self, comes: Nanos, takes: Nanos, end: Nanos) -> (Nanos, Nanos) {
        if comes >= end {
            return (NEVER, NEVER);
        }
        let first = (comes / Nanos::from(SLOT)) as usize;
        let mut at = self.free(first);
        let begins = comes.max(at as Nanos * Nanos::from(SLOT));
        let mut left = takes;
        loop {
            let start = at as Nanos * Nanos::from(SLOT);
            if start >= end {
                return (begins, NEVER);
            }
            if self.slots.len() <= at {
                let known = self.slots.len();
                self.slots.extend((known..=at).map(|slot| (0, slot as u32 + 1)));
            }
            let (taken, _) = &mut self.slots[at];
            let now = left.min(Nanos::from(SLOT - *taken));
            *taken += now as u32;
            left -= now;
            if left == 0 {
                return (begins, (begins + takes).max(start + Nanos::from(*taken)));
            }
            at = self.free(at + 1);
        }
    }
}

/// When packets of an item have passed a link: the first, the last but one, and the last.
#[derive(Debug, Clone, Copy)]
struct Passed {
    first: Nanos,
    full: Nanos,
    all: Nanos,
}

impl Passed {
    /// Over the next link, on which nothing is sent before `begins`: packets follow each other, and the last waits for the full one before it.
    fn over(self, parcel: &Parcel, pace: Pace, begins: Nanos) -> Self {
        let begins = begins.max(self.first);
        let [first, last] = [parcel.first, parcel.last].map(|bytes| pace.time(bytes));
        if parcel.packets == 1 {
            let all = begins + first;
            return Self { first: all, full: all, all };
        }
        let full = (self.full + first).max(begins + pace.time(parcel.total - parcel.last));
        Self { first: begins + first, full, all: self.all.max(full) + last }
    }

    fn later(self, by: Nanos) -> Self {
        Self { first: self.first + by, full: self.full + by, all: self.all + by }
    }
}

/// How one of those who are looked at closely had a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sight {
    pub first: Nanos,
    /// Who had it before, from the one that had it from the broadcaster or the CDN to the viewer itself, each with when it had all of it.
    pub way: Vec<(Node, Nanos)>,
    pub root: Node,
}

/// Bytes that viewers had first from somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Had {
    pub from_cdn: u64,
    pub from_broadcaster: u64,
    pub from_viewers: u64,
}

impl Had {
    fn by(&mut self, source: Node) -> &mut u64 {
        match source {
            CDN => &mut self.from_cdn,
            BROADCASTER => &mut self.from_broadcaster,
            _ => &mut self.from_viewers,
        }
    }
}

/// All items on their ways.
#[derive(Debug)]
pub(super) struct Sweep<'a> {
    pub items: &'a [Born],
    pub kinds: Vec<Kind>,
    ground: &'a Ground,
    parcels: Vec<Parcel>,
    from_cdn: Vec<Parcel>,
    datagrams: Vec<Parcel>,
    /// Of each item, the frame; of each frame, the item.
    frame_of: Vec<Option<u32>>,
    item_of: Vec<u32>,
    hot: Vec<Hot>,
    trunks: Vec<Busy>,
    /// By frame and viewer: microseconds from birth to arrival.
    rows: Vec<u32>,
    viewers: usize,
    /// What arrives later counts as missing.
    end: Nanos,
    initial_window: u64,
    frame_time: Nanos,
    seed: u64,
    pub had: Had,
    pub sights: BTreeMap<Node, Vec<Option<Sight>>>,
}

impl<'a> Sweep<'a> {
    pub fn of(trial: &Trial, ground: &'a Ground, items: &'a [Born], viewers: usize, end: Nanos) -> Self {
        let nodes = viewers + FIRST as usize;
        let of = |carrier| items.iter().map(|item| Parcel::of(carrier, item)).collect::<Vec<_>>();
        let mut item_of = Vec::new();
        let frame_of = items.iter().enumerate().map(|(at, item)| {
            item.is_frame.then(|| {
                item_of.push(at as u32);
                item_of.len() as u32 - 1
            })
        });
        let frame_of: Vec<_> = frame_of.collect();
        let is_group = trial.point.scheme == Scheme::Multicast;
        Self {
            items,
            kinds: (0..nodes as Node).map(|node| ground.kind_of(node)).collect(),
            ground,
            parcels: of(Carrier::Peer),
            from_cdn: of(Carrier::Rtmp),
            datagrams: if is_group { of(Carrier::Group) } else { Vec::new() },
            hot: vec![Hot::default(); nodes],
            trunks: vec![Busy::default(); ground.trunks.len()],
            rows: vec![MISSING; item_of.len() * viewers],
            frame_of,
            item_of,
            viewers,
            end,
            initial_window: u64::from(trial.initial_window.max(1)) * u64::from(SEGMENT),
            frame_time: 1_000_000_000 / Nanos::from(trial.video.fps.max(1)),
            seed: trial.seed,
            had: Had::default(),
            sights: BTreeMap::new(),
        }
    }

    /// From now on it is known of a node how it had each frame.
    pub fn look_at(&mut self, node: Node) {
        self.sights.insert(node, vec![None; self.item_of.len()]);
    }

    pub fn parcel(&self, carrier: Carrier, item: usize) -> Parcel {
        match carrier {
            Carrier::Rtmp | Carrier::Hls => self.from_cdn[item],
            Carrier::Peer => self.parcels[item],
            Carrier::Group => self.datagrams[item],
        }
    }

    /// Frames among so many items.
    pub fn frames_of(&self, items: usize) -> u32 {
        self.item_of.partition_point(|item| (*item as usize) < items) as u32
    }

    pub fn birth(&self, frame: u32) -> Nanos {
        self.items[self.item_of[frame as usize] as usize].at
    }

    /// The latest keyframe at a moment, of so many items; the first frame if there is none.
    pub fn latest_keyframe(&self, now: Nanos, born: usize) -> u32 {
        let found = self.items[..born].iter().rposition(|item| item.keyframe && item.at <= now);
        found.and_then(|item| self.frame_of[item]).unwrap_or(0)
    }

    fn at(&self, node: Node, frame: u32) -> usize {
        frame as usize * self.viewers + (node - FIRST) as usize
    }

    pub fn has(&self, node: Node, frame: u32) -> bool {
        self.rows[self.at(node, frame)] != MISSING
    }

    /// When a viewer passes a frame on; `None`: it does not have it.
    pub fn leaves(&self, node: Node, frame: u32) -> Option<Nanos> {
        let delay = self.rows[self.at(node, frame)];
        (delay != MISSING).then(|| self.birth(frame) + Nanos::from(delay) * 1000 + PROGRAM)
    }

    /// It did not get that after all.
    pub fn forget(&mut self, node: Node, frame: u32) {
        let at = self.at(node, frame);
        if std::mem::replace(&mut self.rows[at], MISSING) != MISSING {
            let payload = self.parcels[self.item_of[frame as usize] as usize].payload;
            self.had.from_viewers = self.had.from_viewers.saturating_sub(payload);
        }
        if let Some(sights) = self.sights.get_mut(&node) {
            sights[frame as usize] = None;
        }
    }

    /// When a node had all of the latest item.
    pub fn arrived(&self, node: Node) -> Nanos {
        self.hot[node as usize].last
    }

    /// By how much a node's uplink is behind.
    pub fn lag(&self, node: Node, now: Nanos) -> Nanos {
        self.hot[node as usize].up_free.saturating_sub(now)
    }

    /// By how much jitter and loss hold an item up on its way to the CDN.
    pub fn shaken_upload(&self, item: usize) -> Nanos {
        let way = self.ground.way(ground::BROADCASTER, ground::CDN);
        shaken(self.seed, CDN, item, way, self.from_cdn[item].packets, self.frame_time)
    }

    /// Other bytes pass a node's uplink: when they have left.
    pub fn takes_uplink(&mut self, node: Node, now: Nanos, bytes: u64) -> Nanos {
        let pace = self.ground.paces[usize::from(self.kinds[node as usize])];
        let hot = &mut self.hot[node as usize];
        hot.up_free = hot.up_free.max(now) + pace.time(bytes);
        hot.up_free
    }

    /// A node is served by another one from now on.
    pub fn connect(&mut self, node: Node, now: Nanos) {
        let hot = &mut self.hot[node as usize];
        (hot.started, hot.given) = (now, 0);
    }

    /// Before the first of so many bytes can have left, TCP's window has to open: so long, from the beginning of a connection on.
    pub fn window(&self, given: u64, round_trip: Nanos) -> Nanos {
        opens(given, self.initial_window, round_trip)
    }

    /// The root of a tree has an item.
    pub fn begin(&mut self, root: Node, now: Nanos) {
        let hot = &mut self.hot[root as usize];
        (hot.first, hot.last) = (now, now);
    }

    /// An item goes down a tree of whose root it is known when it has it.
    pub fn pass(&mut self, order: &Order, item: usize, served: &Served) {
        let mut next = 0;
        for &(parent, count) in &order.parents {
            let end = next + count as usize;
            self.serve(parent, &order.children[next..end], item);
            next = end;
        }
        self.see(item, served);
    }

    /// A viewer that has just found a parent gets a frame from it that it lacks, if that has it; and so do all below. Says when.
    pub fn repeat(
        &mut self,
        parent: Node,
        node: Node,
        below: &Order,
        frame: u32,
        now: Nanos,
        served: &Served,
    ) -> Option<Nanos> {
        let item = self.item_of[frame as usize] as usize;
        let ready = match parent {
            BROADCASTER => self.items[item].at,
            _ => self.leaves(parent, frame)?,
        };
        let Hot { first, last, .. } = self.hot[parent as usize];
        self.begin(parent, ready.max(now) - program(parent));
        self.serve(parent, &[node], item);
        let hot = &mut self.hot[parent as usize];
        (hot.first, hot.last) = (first, last);
        let arrived = self.arrived(node);
        self.pass(below, item, served);
        Some(arrived)
    }

    /// A node gives an item to its children.
    fn serve(&mut self, parent: Node, children: &[Node], item: usize) {
        let parcel = if parent == CDN { self.from_cdn[item] } else { self.parcels[item] };
        let Parcel { packets, first, last, total, payload } = parcel;
        let kind = self.kinds[parent as usize];
        let up = self.ground.paces[usize::from(kind)];
        let takes = program(parent);
        let Hot { first: had_first, last: had_all, up_free, .. } = self.hot[parent as usize];
        let (first_ready, ready) = (had_first + takes, had_all + takes);
        let [first_takes, last_takes, all_take] = [first, last, total].map(|bytes| up.time(bytes));
        // Viewers pass on what comes of a picture of more than a packet, to one child after the other, packet by packet.
        let by_packet =
            parent >= FIRST && packets > 1 && self.items[item].bytes > CUT_THROUGH && up_free <= first_ready;
        let count = children.len() as u64;
        let mut begins = if by_packet { first_ready } else { up_free.max(ready) };
        let last_round = ready.max(first_ready + (packets - 1) * count * first_takes);
        // Where a frame's arrivals go, and when none counts any more.
        let frame = self.frame_of[item];
        let born = self.items[item].at;
        let row_at = frame.map_or(0, |frame| frame as usize * self.viewers);
        let open = OPEN * self.initial_window;
        let mut had = 0;
        let mut receiver = self.receiver(kind, self.kinds[children[0] as usize]);
        for (place, child) in children.iter().enumerate() {
            let mut out = if by_packet {
                let turn = place as u64 + 1;
                let first = begins + turn * first_takes;
                let full = if packets == 2 { first } else { last_round - (count - turn) * first_takes };
                Passed { first, full, all: last_round + turn * last_takes }
            } else {
                let from = begins;
                begins += all_take;
                Passed { first: from + first_takes, full: begins - last_takes, all: begins }
            };
            let to = self.kinds[*child as usize];
            if to != receiver.kind {
                receiver = self.receiver(kind, to);
            }
            let Receiver { down, round_trip, way, .. } = receiver;
            let initial_window = self.initial_window;
            let hot = &mut self.hot[*child as usize];
            if hot.given < open {
                let before = hot.given + first.min(payload);
                hot.given += payload;
                out.first = out.first.max(hot.started + opens(before, initial_window, round_trip));
                out.all = out.all.max(hot.started + opens(hot.given, initial_window, round_trip) + last_takes);
            }
            for (lane, before) in &way.trunks {
                out =
                    trunk(&mut self.trunks[*lane], self.ground.trunks[*lane], &parcel, out.later(*before), self.end);
            }
            let came = out.over(&parcel, down, hot.down_free);
            hot.down_free = came.all;
            let arrives_first = came.first + way.rest;
            let mut arrives = came.all + way.rest;
            if !way.noise.is_empty() {
                // TCP gives nothing out of order.
                let shaken = shaken(self.seed, *child, item, way, packets, self.frame_time);
                arrives = (arrives + shaken).max(hot.last);
            }
            (hot.first, hot.last) = (arrives_first.min(arrives), arrives);
            if frame.is_some() && arrives <= self.end {
                let row = &mut self.rows[row_at + (*child - FIRST) as usize];
                had += u64::from(*row == MISSING);
                *row = (*row).min(micros(arrives - born));
            }
        }
        *self.had.by(parent) += had * payload;
        self.hot[parent as usize].up_free = match by_packet {
            true => last_round + count * last_takes,
            false => begins,
        };
    }

    /// What all receivers of a kind have in common, from a kind of senders.
    fn receiver(&self, from: Kind, kind: Kind) -> Receiver<'a> {
        Receiver {
            kind,
            down: self.ground.paces[usize::from(kind)],
            round_trip: self.ground.round_trip(from, kind),
            way: self.ground.way(from, kind),
        }
    }

    /// Switches copy an item to all who are there. Returns who had it; what a link loses is missing.
    pub fn group(&mut self, item: usize, now: Nanos, is_there: impl Fn(Node) -> bool, mut has: impl FnMut(Node)) {
        let parcel = self.datagrams[item];
        let packets = parcel.packets;
        let up = self.ground.paces[usize::from(ground::BROADCASTER)];
        let free = self.hot[BROADCASTER as usize].up_free;
        let sent = Passed { first: now, full: now, all: now }.over(&parcel, up, free);
        self.hot[BROADCASTER as usize].up_free = sent.all;
        // One copy on each link between switches, whoever is behind it.
        let mut by_kind: Vec<Option<Passed>> = vec![None; self.ground.places.len()];
        let mut passed: BTreeMap<usize, Passed> = BTreeMap::new();
        for node in FIRST..self.hot.len() as Node {
            if !is_there(node) {
                continue;
            }
            let kind = self.kinds[node as usize];
            let way = self.ground.way(ground::BROADCASTER, kind);
            let at = *by_kind[usize::from(kind)].get_or_insert_with(|| {
                let mut at = sent;
                for (lane, before) in &way.trunks {
                    at = *passed.entry(*lane).or_insert_with(|| {
                        trunk(
                            &mut self.trunks[*lane],
                            self.ground.trunks[*lane],
                            &parcel,
                            at.later(*before),
                            self.end,
                        )
                    });
                }
                at
            });
            let hot = &mut self.hot[node as usize];
            let came = at.over(&parcel, self.ground.paces[usize::from(kind)], hot.down_free);
            hot.down_free = came.all;
            let mut arrives = came.all;
            let mut is_lost = false;
            for Noise { jitter, loss, shared } in &way.noise {
                // What a link loses that all of these have before them, all of them miss.
                let whose = shared.map_or(u64::from(node), |link| u64::MAX - link as u64);
                let mut chance = Chance::of(self.seed, whose, item as u64);
                is_lost |= *loss > 0.0 && (0..packets).any(|_| chance.share() < *loss);
                arrives = (arrives + chance.draw(2 * jitter + 1)).saturating_sub(*jitter);
            }
            arrives += way.rest;
            if is_lost {
                continue;
            }
            has(node);
            let hot = &mut self.hot[node as usize];
            (hot.first, hot.last) = (arrives, arrives);
            let Some(frame) = self.frame_of[item].filter(|_| arrives <= self.end) else { continue };
            let at = self.at(node, frame);
            if self.rows[at] == MISSING {
                self.had.from_broadcaster += self.parcels[item].payload;
            }
            self.rows[at] = self.rows[at].min(micros(arrives - now));
            if let Some(sights) = self.sights.get_mut(&node) {
                sights[frame as usize].get_or_insert(Sight {
                    first: arrives,
                    way: vec![(node, arrives)],
                    root: BROADCASTER,
                });
            }
        }
    }

    /// How those who are looked at closely had an item, if they have it by now.
    fn see(&mut self, item: usize, served: &Served) {
        let Some(frame) = self.frame_of[item] else { return };
        let (rows, viewers) = (&self.rows, self.viewers);
        for (node, sights) in &mut self.sights {
            let sight = &mut sights[frame as usize];
            if sight.is_some() || rows[frame as usize * viewers + (*node - FIRST) as usize] == MISSING {
                continue;
            }
            let mut way = Vec::new();
            let mut at = *node;
            while at >= FIRST && at != NOBODY {
                way.push((at, self.hot[at as usize].last));
                at = served.source(at);
            }
            way.reverse();
            *sight = Some(Sight { first: self.hot[*node as usize].first, way, root: at });
        }
    }

    /// By frame and viewer, microseconds from birth to arrival, or [`MISSING`].
    pub fn into_rows(self) -> (Vec<u32>, BTreeMap<Node, Vec<Option<Sight>>>) {
        (self.rows, self.sights)
    }
}

/// When the window has opened so far since the connection began.
fn opens(given: u64, initial_window: u64, round_trip: Nanos) -> Nanos {
    let times = given.saturating_sub(1) / initial_window;
    Nanos::from((1 + times).ilog2()) * round_trip
}

/// In a row: microseconds from birth to arrival.
fn micros(delay: Nanos) -> u32 {
    u32::try_from(delay / 1000).unwrap_or(MISSING - 2).min(MISSING - 2)
}

/// A kind of receivers.
#[derive(Debug, Clone, Copy)]
struct Receiver<'a> {
    kind: Kind,
    down: Pace,
    round_trip: Nanos,
    way: &'a Way,
}

/// Over a link between switches.
fn trunk(trunk: &mut Busy, pace: Pace, parcel: &Parcel, comes: Passed, end: Nanos) -> Passed {
    let takes = pace.time(parcel.total);
    if takes == 0 {
        return comes;
    }
    let (begins, left) = trunk.take(comes.first, takes, end);
    let passed = comes.over(parcel, pace, begins);
    Passed { all: passed.all.max(left), ..passed }
}

/// What jitter and loss do to an item on a connection: later by what the last packet's delays differ from the planned ones, and by a round trip for
/// every time that one of its packets is lost; if none of its own follow that tell so, also by the time until the next item.
fn shaken(seed: u64, node: Node, item: usize, way: &Way, packets: u64, frame_time: Nanos) -> Nanos {
    let mut chance = Chance::of(seed, node.into(), item as u64);
    let (mut later, mut least) = (0, 0);
    for Noise { jitter, .. } in &way.noise {
        later += chance.draw(2 * jitter + 1);
        least += jitter;
    }
    for Noise { loss, .. } in &way.noise {
        for packet in 0..packets {
            let mut times = 0;
            while times < MOST_TIMES_LOST && *loss > 0.0 && chance.share() < *loss {
                later += 2 * way.delay + if packets - packet <= TELLING { frame_time } else { 0 };
                times += 1;
            }
        }
    }
    later.saturating_sub(least)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const MS: Nanos = 1_000_000;

    #[test]
    fn a_link_sends_no_more_than_it_can_in_whatever_order_items_come() {
        let end = 1000 * MS;
        let mut busy = Busy::default();
        assert_eq!(busy.take(10 * MS, 3 * MS, end), (10 * MS, 13 * MS));
        // What comes at the same time waits; what came long before does not, unless there is too much of it.
        assert_eq!(busy.take(10 * MS, MS, end), (13 * MS, 14 * MS));
        assert_eq!(busy.take(5 * MS, 4 * MS, end), (5 * MS, 9 * MS));
        assert_eq!(busy.take(5 * MS, 2 * MS, end).1, 15 * MS);
        assert_eq!(busy.take(end, MS, end), (NEVER, NEVER));
        // A thousand items of 1.5 ms within a second, from the last to the first: all of its time is used, and a third never leaves.
        let mut busy = Busy::default();
        let left: Vec<Nanos> = (0..1000).rev().map(|at| busy.take(at * MS, 3 * MS / 2, end).1).collect();
        assert!(left.iter().filter(|left| **left == NEVER).count() >= 333);
        assert_eq!(busy.slots.iter().map(|(taken, _)| Nanos::from(*taken)).sum::<Nanos>(), end);
    }

    #[test]
    fn the_last_packet_waits_for_the_full_one_before_it() {
        // Three packets that left together over 1.2 Mbit/s, and go on at 1.6 Mbit/s: 1514, 1514 and 86 bytes.
        let parcel = Parcel { packets: 3, first: 1514, last: 86, total: 3114, payload: 2916 };
        let (slow, fast) = (Pace::of(Some(1_200_000)), Pace::of(Some(1_600_000)));
        let sent = Passed { first: 0, full: 0, all: 0 }.over(&parcel, slow, 0);
        assert_eq!(sent.all, slow.time(3114));
        let came = sent.over(&parcel, fast, 0);
        assert_eq!(came.all, 2 * slow.time(1514) + fast.time(1514) + fast.time(86));
        assert_eq!(came.first, slow.time(1514) + fast.time(1514));
        // Where the next link is the slower one, all of them wait for each other.
        let came = Passed { first: 0, full: 0, all: 0 }.over(&parcel, fast, 0).over(&parcel, slow, 0);
        assert_eq!(came.all, fast.time(1514) + slow.time(3114));
    }
}

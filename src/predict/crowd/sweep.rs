//! An item's way down a tree: when each viewer has it.

use std::collections::BTreeMap;

use super::super::agenda::Nanos;
use super::super::course::{Born, PROGRAM};
use super::super::programs::CUT_THROUGH;
use super::chance::Chance;
use super::course::program;
use super::ground::{self, Ground, Kind, Pace, Way};
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

/// A direction of a link between switches: from when until when it is busy. Items do not come in the order of time.
#[derive(Debug, Clone, Copy, Default)]
struct Busy {
    since: Nanos,
    until: Nanos,
}

impl Busy {
    /// So much to be sent that comes then: when it begins to leave.
    fn take(&mut self, comes: Nanos, takes: Nanos) -> Nanos {
        if comes + takes <= self.since {
            return comes;
        }
        let begins = comes.max(self.until);
        if begins == comes {
            self.since = comes;
        }
        self.until = begins + takes;
        begins
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
        let mut receiver = self.receiver(kind, self.kinds[children[0] as usize], &parcel);
        for (place, child) in children.iter().enumerate() {
            let (mut out_first, mut out) = if by_packet {
                let turn = place as u64 + 1;
                (begins + turn * first_takes, last_round + turn * last_takes)
            } else {
                let left = (begins + first_takes, begins + all_take);
                begins += all_take;
                left
            };
            let to = self.kinds[*child as usize];
            if to != receiver.kind {
                receiver = self.receiver(kind, to, &parcel);
            }
            let Receiver { down_first, down_last, down_all, round_trip, way, .. } = receiver;
            let initial_window = self.initial_window;
            let hot = &mut self.hot[*child as usize];
            if hot.given < open {
                let before = hot.given + first.min(payload);
                hot.given += payload;
                out_first = out_first.max(hot.started + opens(before, initial_window, round_trip));
                out = out.max(hot.started + opens(hot.given, initial_window, round_trip) + last_takes);
            }
            if !way.trunks.is_empty() {
                (out_first, out) = over(&mut self.trunks, &self.ground.trunks, way, &parcel, out_first, out);
            }
            let begins_down = hot.down_free.max(out_first);
            let arrives_first = begins_down + down_first + way.rest;
            let mut arrives = (begins_down + down_all).max(out + down_last);
            hot.down_free = arrives;
            arrives += way.rest;
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

    /// What all receivers of a kind have in common for an item from a kind of senders.
    fn receiver(&self, from: Kind, kind: Kind, parcel: &Parcel) -> Receiver<'a> {
        let pace = self.ground.paces[usize::from(kind)];
        Receiver {
            kind,
            down_first: pace.time(parcel.first),
            down_last: pace.time(parcel.last),
            down_all: pace.time(parcel.total),
            round_trip: self.ground.round_trip(from, kind),
            way: self.ground.way(from, kind),
        }
    }

    /// Switches copy an item to all who are there. Returns who had it; what a link loses is missing.
    pub fn group(&mut self, item: usize, now: Nanos, is_there: impl Fn(Node) -> bool, mut has: impl FnMut(Node)) {
        let parcel = self.datagrams[item];
        let Parcel { packets, first, last, total, .. } = parcel;
        let up = self.ground.paces[usize::from(ground::BROADCASTER)];
        let sends = self.hot[BROADCASTER as usize].up_free.max(now);
        let (sent_first, sent) = (sends + up.time(first), sends + up.time(total));
        self.hot[BROADCASTER as usize].up_free = sent;
        // One copy on each link between switches, whoever is behind it.
        let mut by_kind: Vec<Option<(Nanos, Nanos)>> = vec![None; self.ground.places.len()];
        let mut passed: BTreeMap<usize, (Nanos, Nanos)> = BTreeMap::new();
        for node in FIRST..self.hot.len() as Node {
            if !is_there(node) {
                continue;
            }
            let kind = self.kinds[node as usize];
            let way = self.ground.way(ground::BROADCASTER, kind);
            let (at_first, at) = *by_kind[usize::from(kind)].get_or_insert_with(|| {
                let mut at = (sent_first, sent);
                for (lane, before) in &way.trunks {
                    at = *passed.entry(*lane).or_insert_with(|| {
                        let pace = self.ground.trunks[*lane];
                        hop(&mut self.trunks[*lane], pace, &parcel, at.0 + before, at.1 + before)
                    });
                }
                at
            });
            let down = self.ground.paces[usize::from(kind)];
            let hot = &mut self.hot[node as usize];
            let begins = hot.down_free.max(at_first);
            let mut arrives = (begins + down.time(total)).max(at + down.time(last));
            hot.down_free = arrives;
            let mut chance = Chance::of(self.seed, node.into(), item as u64);
            let mut is_lost = false;
            for (jitter, loss) in &way.noise {
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

/// A kind of receivers, for one item.
#[derive(Debug, Clone, Copy)]
struct Receiver<'a> {
    kind: Kind,
    /// What the first packet takes on its downlink, the last one, and all.
    down_first: Nanos,
    down_last: Nanos,
    down_all: Nanos,
    round_trip: Nanos,
    way: &'a Way,
}

/// Over the links between switches: when the first packet is past the last of them, and all. The delay before each of them is in it.
fn over(trunks: &mut [Busy], paces: &[Pace], way: &Way, parcel: &Parcel, first: Nanos, all: Nanos) -> (Nanos, Nanos) {
    let mut at = (first, all);
    for (lane, before) in &way.trunks {
        at = hop(&mut trunks[*lane], paces[*lane], parcel, at.0 + before, at.1 + before);
    }
    at
}

/// Over one of them: packets come one after the other, the first at one moment and the last at another.
fn hop(trunk: &mut Busy, pace: Pace, parcel: &Parcel, first: Nanos, all: Nanos) -> (Nanos, Nanos) {
    let takes = pace.time(parcel.total);
    if takes == 0 {
        return (first, all);
    }
    let begins = trunk.take(first, takes);
    let left_first = begins + pace.time(parcel.first);
    let left = (begins + takes).max(all + pace.time(parcel.last));
    (left_first, left)
}

/// What jitter and loss do to an item on a connection: later by what the last packet's delays differ from the planned ones, and by a round trip for
/// every time that one of its packets is lost; if none of its own follow that tell so, also by the time until the next item.
fn shaken(seed: u64, node: Node, item: usize, way: &Way, packets: u64, frame_time: Nanos) -> Nanos {
    let mut chance = Chance::of(seed, node.into(), item as u64);
    let (mut later, mut least) = (0, 0);
    for (jitter, _) in &way.noise {
        later += chance.draw(2 * jitter + 1);
        least += jitter;
    }
    for (_, loss) in &way.noise {
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

//! The course of a crowd's trial: what happens to whom, and between that the stream's items, one after the other.
//!
//! An item passes the whole tree in one go, level by level, at the moment of its birth; what the CDN serves does so when the CDN has it. What happens
//! to viewers (they come, hear of peers, lose them, go) happens in the order of time, between two items. Who goes meanwhile passes nothing on that
//! it did not have yet: that is [taken back](Course::departs), and what a viewer lacks when it has found the stream again is
//! [made up for](Course::catches_up), with all below it.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::super::agenda::Nanos;
use super::super::course::{Born, PROGRAM, ends_within, nanos};
use super::super::programs::LOOK;
use super::super::watching::{
    BEAT, FAR_BEHIND, HOLD, PATIENCE, PLAYER_STARTS, SILENCE, SILENCE_OF_BROADCASTER, TRIPS_TO_PLAY,
};
use super::control::{Controller, Named, Told};
use super::ground::{self, Ground, Pace};
use super::people::People;
use super::sweep::Sweep;
use super::tree::{BROADCASTER, CDN, FIRST, NOBODY, Node, Served};
use super::upload::Upload;
use crate::plan::delivery::{Carrier, Scheme};
use crate::plan::{Departure, Trial};
use crate::trace::floor::{HEADERS, SEGMENT};

/// Who would be served by one below itself asks again after this.
const AGAIN: Nanos = 100_000_000;
/// The controller looks whether time has passed on whole seconds.
const SECOND: Nanos = 1_000_000_000;

/// A viewer as it goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Viewer {
    /// Who was named to it, and who stands by.
    parent: Node,
    standby: Node,
    /// Number of the introduction that it follows.
    number: u32,
    /// How many of its spells have begun.
    spells: u32,
    pub is_there: bool,
    has_crashed: bool,
    /// It is subscribed at the CDN, or would be served by it.
    at_cdn: bool,
    had_peer: bool,
    /// The first frame of this spell, and the first of which it is not known that it has it.
    begins: u32,
    upto: u32,
    /// When and how its parent went, until it has the stream again.
    orphan: Option<(Nanos, Departure)>,
}

const ABSENT: Viewer = Viewer {
    parent: NOBODY,
    standby: NOBODY,
    number: 0,
    spells: 0,
    is_there: false,
    has_crashed: false,
    at_cdn: false,
    had_peer: false,
    begins: 0,
    upto: 0,
    orphan: None,
};

#[derive(Debug, Clone, Copy)]
enum Event {
    Departs { node: Node, spell: u32 },
    Left { node: Node, spell: u32 },
    News { to: Node, number: u32, named: Named },
    Told { to: Node, number: u32, parent: Node },
    ToldStandby { to: Node, standby: Node },
    ToldCdn { to: Node, number: u32 },
    Serves { node: Node, parent: Node, number: u32 },
    Lost { node: Node, spell: u32, parent: Node },
    Reported { node: Node, spell: u32, parent: Node },
    Resumed { node: Node, spell: u32 },
    Tick,
    Look,
    AtCdn { item: u32 },
}

/// What is to happen, in the order of time, and of two at once what was noted first.
#[derive(Debug, Default)]
struct Agenda {
    events: BinaryHeap<Noted>,
    noted: u64,
}

#[derive(Debug)]
struct Noted {
    /// The moment, and behind it the number; the greatest comes first in a heap.
    key: Reverse<u128>,
    event: Event,
}

impl Agenda {
    fn note(&mut self, at: Nanos, event: Event) {
        self.noted += 1;
        self.events.push(Noted { key: Reverse(u128::from(at) << 64 | u128::from(self.noted)), event });
    }

    fn next(&self) -> Option<Nanos> {
        self.events.peek().map(Noted::at)
    }

    fn pop(&mut self) -> Option<(Nanos, Event)> {
        self.events.pop().map(|noted| (noted.at(), noted.event))
    }
}

impl Noted {
    fn at(&self) -> Nanos {
        (self.key.0 >> 64) as Nanos
    }
}

impl PartialEq for Noted {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Noted {}

impl PartialOrd for Noted {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Noted {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

/// A viewer that had to find the stream again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reattached {
    /// How the one before it went.
    pub how: Departure,
    /// How long it was until the next frame.
    pub after: Nanos,
}

/// A crowd's trial as it goes on.
#[derive(Debug)]
pub(super) struct Course<'a> {
    scheme: Scheme,
    ground: &'a Ground,
    people: &'a People,
    controller: Controller,
    agenda: Agenda,
    /// When viewers begin to play, the earliest last.
    plays: Vec<(Nanos, Node)>,
    pub viewers: Vec<Viewer>,
    pub served: Served,
    pub sweep: Sweep<'a>,
    upload: Upload,
    /// In `multicast`: to how many switches copy the stream.
    group: usize,
    /// When the CDN had the latest item.
    at_cdn: Nanos,
    /// How many items have been born.
    born: usize,
    born_bytes: u64,
    fps: u32,
    /// Who waits for the CDN, having lost the stream.
    waiting: Vec<Node>,
    pub reattached: Vec<Reattached>,
    told: Vec<Told>,
    /// How long a packet can wait in front of the CDN's link.
    longest_queue: Nanos,
    ticks_until: Nanos,
    /// When the last item is born.
    ended: Nanos,
}

impl<'a> Course<'a> {
    pub fn new(trial: &Trial, ground: &'a Ground, people: &'a People, sweep: Sweep<'a>, published: Nanos) -> Self {
        let nodes = people.len() + FIRST as usize;
        let link = ground.places[usize::from(ground::BROADCASTER)].link.bandwidth;
        let cdn = ground.places[usize::from(ground::CDN)].link;
        let mut course = Self {
            scheme: trial.point.scheme,
            ground,
            people,
            controller: Controller::of(trial, ground, nodes, published),
            agenda: Agenda::default(),
            plays: Vec::new(),
            viewers: vec![ABSENT; nodes],
            served: Served::of(people.len()),
            upload: Upload::of(link, trial.video.total_bitrate() as f64),
            group: 0,
            at_cdn: 0,
            born: 0,
            born_bytes: 0,
            fps: trial.video.fps.max(1),
            waiting: Vec::new(),
            reattached: Vec::new(),
            told: Vec::new(),
            longest_queue: Pace::of(cdn.bandwidth).time(u64::from(cdn.queue) * u64::from(SEGMENT + HEADERS)),
            ticks_until: 0,
            ended: sweep.items.last().map_or(0, |item| item.at),
            sweep,
        };
        for viewer in 0..people.len() {
            let node = viewer as Node + FIRST;
            for spell in people.spells(viewer) {
                let trips = course.words(node, u64::from(TRIPS_TO_PLAY));
                course.plays.push((spell.from + PLAYER_STARTS + trips, node));
            }
        }
        course.plays.sort_unstable_by_key(|(at, node)| Reverse((*at, *node)));
        if let Some(first) = course.sweep.items.first() {
            course.note(first.at.div_ceil(LOOK) * LOOK, Event::Look);
        }
        course
    }

    /// Trips between a viewer and the CDN.
    fn words(&self, node: Node, trips: u64) -> Nanos {
        trips * self.ground.word(self.sweep.kinds[node as usize], ground::CDN)
    }

    fn note(&mut self, at: Nanos, event: Event) {
        self.agenda.note(at, event);
    }

    /// Plays the trial up to `end`.
    pub fn run(&mut self, end: Nanos) {
        for item in 0..self.sweep.items.len() {
            let now = self.sweep.items[item].at;
            self.until(now);
            self.emit(item, now);
        }
        self.until(end);
    }

    /// Everything that happens until that moment.
    fn until(&mut self, end: Nanos) {
        loop {
            let event = self.agenda.next();
            let plays = self.plays.last().map(|(at, _)| *at);
            let upload = self.upload.next();
            let Some(next) = event.into_iter().chain(plays).chain(upload).min().filter(|next| *next <= end) else {
                break;
            };
            if upload == Some(next) {
                self.leaves();
            } else if plays == Some(next)
                && let Some((at, node)) = self.plays.pop()
            {
                self.plays(node, at);
            } else if let Some((at, event)) = self.agenda.pop() {
                self.happens(at, event);
            }
        }
    }

    fn emit(&mut self, item: usize, now: Nanos) {
        let Born { bytes, .. } = self.sweep.items[item];
        self.born = item + 1;
        self.born_bytes += bytes;
        if self.scheme == Scheme::Multicast {
            self.multicast(item, now);
        }
        self.sweep.begin(BROADCASTER, now);
        let order = self.served.order(BROADCASTER);
        self.sweep.pass(&order, item, &self.served);
        self.served.keep(BROADCASTER, order);
        let parcel = self.sweep.parcel(Carrier::Rtmp, item);
        self.upload.give(item, now, parcel.total, parcel.payload);
    }

    /// Packets of the upload leave, behind those that peers were given.
    fn leaves(&mut self) {
        let Some(now) = self.upload.next() else { return };
        let mut whole = Vec::new();
        let sweep = &self.sweep;
        let payload = |item: usize| sweep.parcel(Carrier::Rtmp, item).payload;
        let bytes = self.upload.leaves(payload, |item| whole.push(item));
        let left = self.sweep.takes_uplink(BROADCASTER, now, bytes);
        let (from, to) = (ground::BROADCASTER, ground::CDN);
        let window = self.sweep.window(self.upload.given, self.ground.round_trip(from, to));
        let first = self.sweep.items[0].at;
        for item in whole {
            let on_link = self.ground.paces[usize::from(to)].time(self.sweep.parcel(Carrier::Rtmp, item).last);
            let arrives = (left + on_link).max(first + window) + self.ground.way(from, to).delay;
            self.at_cdn = self.at_cdn.max(arrives + self.sweep.shaken_upload(item));
            self.note(self.at_cdn, Event::AtCdn { item: item as u32 });
        }
    }

    fn multicast(&mut self, item: usize, now: Nanos) {
        let viewers = &self.viewers;
        let mut leave_cdn = Vec::new();
        let is_there = |node: Node| viewers[node as usize].is_there;
        self.sweep.group(item, now, is_there, |node| {
            // Who has had a datagram wants nothing of the CDN any more.
            if viewers[node as usize].at_cdn {
                leave_cdn.push(node);
            }
        });
        for node in leave_cdn {
            let viewer = &mut self.viewers[node as usize];
            (viewer.at_cdn, viewer.had_peer) = (false, true);
            self.served.part(node);
        }
    }

    fn happens(&mut self, now: Nanos, event: Event) {
        match event {
            Event::Departs { node, spell } => {
                if self.viewers[node as usize].spells == spell {
                    self.departs(node, now);
                }
            }
            Event::Left { node, spell } => {
                if self.viewers[node as usize].spells == spell {
                    self.control(|controller, ground, told| controller.left(ground, node, now, told));
                }
            }
            Event::News { to, number, named } => {
                let event = match named {
                    Named::Parent(parent) => Event::Told { to, number, parent },
                    Named::Standby(standby) => Event::ToldStandby { to, standby },
                    Named::Cdn => Event::ToldCdn { to, number },
                };
                // The heartbeat waits for the CDN's link like everything else that it sends.
                match self.sweep.lag(CDN, now).min(self.longest_queue) {
                    0 => self.happens(now, event),
                    lag => self.note(now + lag, event),
                }
            }
            Event::Told { to, number, parent } => self.told(to, parent, number, now),
            Event::ToldStandby { to, standby } => self.viewers[to as usize].standby = standby,
            Event::ToldCdn { to, number } => {
                let viewer = &mut self.viewers[to as usize];
                if viewer.is_there && number >= viewer.number {
                    viewer.number = number;
                    self.back_to_cdn(to, now);
                }
            }
            Event::Serves { node, parent, number } => self.serves(node, parent, number, now),
            Event::Lost { node, spell, parent } => {
                if self.viewers[node as usize].spells == spell {
                    self.lost(node, parent, now);
                }
            }
            Event::Reported { node, spell, parent } => {
                if self.viewers[node as usize].spells == spell {
                    self.control(|controller, ground, told| controller.lost(ground, node, parent, now, told));
                    self.tick_after(now + HOLD);
                }
            }
            Event::Resumed { node, spell } => {
                let viewer = &self.viewers[node as usize];
                if viewer.spells == spell && viewer.is_there && viewer.at_cdn {
                    self.served.join(node, CDN);
                    self.sweep.connect(node, now);
                    if viewer.orphan.is_some() {
                        self.waiting.push(node);
                    }
                }
            }
            Event::Tick => self.control(|controller, ground, told| controller.tick(ground, now, told)),
            Event::Look => {
                let peers = self.peers();
                let lag = self.sweep.lag(BROADCASTER, now);
                self.upload.look(self.born_bytes, peers, lag);
                if self.born < self.sweep.items.len() || !self.upload.is_done() {
                    self.note(now + LOOK, Event::Look);
                }
            }
            Event::AtCdn { item } => self.cdn_has(item as usize, now),
        }
    }

    fn peers(&self) -> usize {
        self.served.children(BROADCASTER).count() + usize::from(self.group > 0)
    }

    fn tick_after(&mut self, at: Nanos) {
        let at = at.div_ceil(SECOND) * SECOND;
        if at > self.ticks_until {
            self.ticks_until = at;
            self.note(at, Event::Tick);
        }
    }

    fn cdn_has(&mut self, item: usize, now: Nanos) {
        self.sweep.begin(CDN, now);
        let order = self.served.order(CDN);
        self.sweep.pass(&order, item, &self.served);
        self.served.keep(CDN, order);
        if self.sweep.items[item].is_frame {
            for node in std::mem::take(&mut self.waiting) {
                if self.served.source(node) == CDN {
                    let arrived = self.sweep.arrived(node);
                    self.found_again(node, arrived);
                }
            }
        }
    }

    /// Has the controller do something, and notes what agents will hear of it.
    fn control(&mut self, does: impl FnOnce(&mut Controller, &Ground, &mut Vec<Told>)) {
        let mut all = std::mem::take(&mut self.told);
        does(&mut self.controller, self.ground, &mut all);
        for Told { at, to, named, number } in all.drain(..) {
            self.note(at, Event::News { to, number, named });
        }
        self.told = all;
    }

    // ---- viewers ---------------------------------------------------------------------------------------------------

    /// The CDN has a viewer's command to play.
    fn plays(&mut self, node: Node, now: Nanos) {
        let viewer = &mut self.viewers[node as usize];
        let Some(spell) = self.people.spells((node - FIRST) as usize).get(viewer.spells as usize).copied() else {
            return;
        };
        viewer.spells += 1;
        if spell.until <= now {
            return;
        }
        let spells = viewer.spells;
        let begins = self.sweep.latest_keyframe(now, self.born);
        *viewer = Viewer {
            spells,
            number: viewer.number + 1,
            is_there: true,
            at_cdn: true,
            begins,
            upto: begins,
            ..ABSENT
        };
        if spell.until < Nanos::MAX {
            self.note(spell.until + ends_within(spell.how), Event::Departs { node, spell: spells });
        }
        self.served.join(node, CDN);
        self.sweep.connect(node, now);
        self.group += usize::from(self.scheme == Scheme::Multicast);
        let kind = self.sweep.kinds[node as usize];
        // Introductions are counted by the controller; what was before this spell counts no more.
        self.control(|controller, ground, told| controller.plays(ground, node, kind, now, told));
        self.viewers[node as usize].number = 0;
    }

    /// A viewer's agent hears of a parent.
    fn told(&mut self, node: Node, parent: Node, number: u32, now: Nanos) {
        let viewer = &self.viewers[node as usize];
        if !viewer.is_there || number < viewer.number || viewer.parent == parent {
            return;
        }
        let is_connected = viewer.standby == parent;
        self.turn_to(node, parent, number, is_connected, now);
    }

    /// It asks a parent: with the one that stands by it has a connection.
    fn turn_to(&mut self, node: Node, parent: Node, number: u32, is_connected: bool, now: Nanos) {
        let viewer = &mut self.viewers[node as usize];
        (viewer.number, viewer.parent) = (number, parent);
        let trips = if is_connected { 1 } else { 3 };
        let kinds = [node, parent].map(|node| self.sweep.kinds[node as usize]);
        self.note(now + trips * self.ground.word(kinds[0], kinds[1]), Event::Serves { node, parent, number });
    }

    /// A parent has been asked.
    fn serves(&mut self, node: Node, parent: Node, number: u32, now: Nanos) {
        let viewer = self.viewers[node as usize];
        if !viewer.is_there || viewer.number != number || viewer.parent != parent {
            return;
        }
        let above = &self.viewers[parent as usize];
        if parent >= FIRST && !above.is_there {
            // Its host says that nobody is there, or nobody says anything.
            let kinds = [parent, node].map(|node| self.sweep.kinds[node as usize]);
            let says = now + if above.has_crashed { PATIENCE } else { self.ground.word(kinds[0], kinds[1]) };
            return self.note(says, Event::Lost { node, spell: viewer.spells, parent });
        }
        // For a moment, while two change places, one may be below the other.
        if self.served.is_below(parent, node) {
            return self.note(now + AGAIN, Event::Serves { node, parent, number });
        }
        self.served.join(node, parent);
        self.sweep.connect(node, now);
        self.viewers[node as usize].at_cdn = false;
        self.catches_up(node, parent, now);
        self.viewers[node as usize].had_peer = true;
        if parent == BROADCASTER && self.born > 0 {
            let (peers, lag) = (self.peers(), self.sweep.lag(BROADCASTER, now));
            self.upload.pace(peers, lag);
        }
    }

    /// A viewer gets from its new parent what it lacks and that one has, and so do all below it.
    fn catches_up(&mut self, node: Node, parent: Node, now: Nanos) {
        let Viewer { mut upto, begins, had_peer, .. } = self.viewers[node as usize];
        let frames = self.sweep.frames_of(self.born);
        while upto < frames && self.sweep.has(node, upto) {
            upto += 1;
        }
        // Who has had nothing but what the CDN is late with does not wait for the rest of it.
        let is_behind = upto > begins && self.sweep.birth(upto - 1) + FAR_BEHIND < now;
        if !had_peer && is_behind {
            upto = begins;
        }
        let mut first = None;
        if upto < frames {
            let order = self.served.below(node);
            for frame in upto..frames {
                if self.sweep.has(node, frame) {
                    continue;
                }
                if let Some(at) = self.sweep.repeat(parent, node, &order, frame, now, &self.served) {
                    first.get_or_insert(at);
                }
            }
        }
        self.viewers[node as usize].upto = upto;
        let kinds = [parent, node].map(|node| self.sweep.kinds[node as usize]);
        let next = now + self.ground.way(kinds[0], kinds[1]).delay;
        self.found_again(node, first.unwrap_or(next));
    }

    fn found_again(&mut self, node: Node, at: Nanos) {
        let viewer = &mut self.viewers[node as usize];
        if let Some((since, how)) = viewer.orphan.take() {
            // Who was not there for two more seconds, or whose stream ended in that time, had no need of another.
            if since + 2 * SECOND <= self.ended {
                self.reattached.push(Reattached { how, after: at.saturating_sub(since) });
            }
        }
    }

    fn departs(&mut self, node: Node, now: Nanos) {
        let viewer = &mut self.viewers[node as usize];
        if !viewer.is_there {
            return;
        }
        let spell = viewer.spells;
        let how =
            self.people.spells((node - FIRST) as usize).get(spell as usize - 1).map_or(Departure::Leave, |s| s.how);
        viewer.is_there = false;
        self.group -= usize::from(self.scheme == Scheme::Multicast);
        viewer.has_crashed = how == Departure::Crash;
        viewer.at_cdn = false;
        viewer.orphan = None;
        self.served.part(node);
        let children: Vec<Node> = self.served.children(node).collect();
        let kind = self.sweep.kinds[node as usize];
        let longest = (4 * SECOND / u64::from(self.fps)).max(SILENCE_OF_BROADCASTER);
        let silence = if self.scheme == Scheme::Relay { SILENCE } else { longest };
        for child in children {
            self.take_back(node, child, now);
            self.served.part(child);
            let below = &mut self.viewers[child as usize];
            below.orphan.get_or_insert((now - ends_within(how), how));
            let spell = below.spells;
            let hears = match how {
                Departure::Leave => now + self.ground.word(kind, self.sweep.kinds[child as usize]),
                // With the next look after the silence.
                Departure::Crash => now + silence + BEAT / 2,
            };
            self.note(hears, Event::Lost { node: child, spell, parent: node });
        }
        if how == Departure::Leave {
            self.note(now + self.ground.up_to_switch(kind), Event::Left { node, spell });
        }
    }

    /// What a viewer would have passed on after it went, nobody got.
    fn take_back(&mut self, node: Node, child: Node, now: Nanos) {
        let frames = self.sweep.frames_of(self.born);
        let leaves = |frame: &u32| self.sweep.leaves(node, *frame);
        let latest = (0..frames).rev().take_while(|frame| leaves(frame).is_none_or(|at| at > now));
        // What it did not have it has given to nobody.
        let never_left: Vec<u32> = latest.filter(|frame| leaves(frame).is_some()).collect();
        let Some(first) = never_left.last().copied() else { return };
        let order = self.served.below(child);
        for below in std::iter::once(child).chain(order.children.iter().copied()) {
            for frame in &never_left {
                self.sweep.forget(below, *frame);
            }
            let viewer = &mut self.viewers[below as usize];
            viewer.upto = viewer.upto.min(first);
        }
    }

    /// A viewer's agent finds that its parent is gone, or does not answer.
    fn lost(&mut self, node: Node, parent: Node, now: Nanos) {
        let viewer = &mut self.viewers[node as usize];
        if !viewer.is_there || viewer.parent != parent {
            return;
        }
        viewer.parent = NOBODY;
        let (standby, number, spell) = (std::mem::replace(&mut viewer.standby, NOBODY), viewer.number, viewer.spells);
        if standby != NOBODY && standby != parent {
            self.turn_to(node, standby, number, true, now);
        } else {
            self.back_to_cdn(node, now);
            if self.scheme == Scheme::Bypass {
                self.turn_to(node, parent, number, false, now);
            }
        }
        let passes = self.ground.up_to_switch(self.sweep.kinds[node as usize]);
        self.note(now + passes, Event::Reported { node, spell, parent });
    }

    fn back_to_cdn(&mut self, node: Node, now: Nanos) {
        let viewer = &mut self.viewers[node as usize];
        viewer.parent = NOBODY;
        if !std::mem::replace(&mut viewer.at_cdn, true) {
            let spell = viewer.spells;
            self.served.part(node);
            let word = self.ground.word(self.sweep.kinds[node as usize], ground::CDN);
            self.note(now + word, Event::Resumed { node, spell });
        }
    }

    /// Viewers that have nobody but the CDN.
    pub fn at_the_cdn(&self) -> u64 {
        let is_alone =
            |node: Node| self.viewers[node as usize].is_there && matches!(self.served.source(node), CDN | NOBODY);
        let is_group = self.scheme == Scheme::Multicast;
        (FIRST..self.viewers.len() as Node).filter(|node| !is_group && is_alone(*node)).count() as u64
    }
}

/// The end of a trial, with the time that its viewers have to receive the rest.
pub(super) fn end(trial: &Trial) -> Nanos {
    nanos(trial.timeline.end + trial.timeline.drain)
}

/// Until a program has written what comes of what its host got.
pub(super) const fn program(node: Node) -> Nanos {
    if node == BROADCASTER { 0 } else { PROGRAM }
}

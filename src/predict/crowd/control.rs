//! What the controller decides for a crowd, by the same policies, and when agents hear of it.

use std::collections::VecDeque;
use std::time::Duration;

use livectl_policy::uplink::Rate;
use livectl_policy::{Changes, Member, Switches, Tree, Why};

use super::super::agenda::Nanos;
use super::super::controller::HEARTBEAT;
use super::ground::{self, Ground, Kind};
use super::tree::{BROADCASTER, NOBODY, Node};
use crate::plan::Trial;
use crate::plan::delivery::Scheme;

/// A member of the tree: a node in one of its spells.
type Key = (Node, u32);

/// An agent hears of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    pub at: Nanos,
    pub to: Node,
    pub named: Named,
    /// Number of the introduction; a later one has a greater number.
    pub number: u32,
}

/// Whom the controller names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    Parent(Node),
    /// [`NOBODY`]: nobody stands by any more.
    Standby(Node),
    /// The CDN: no peer is to give it the stream.
    Cdn,
}

/// The controller's view of a crowd.
#[derive(Debug)]
pub(super) struct Controller {
    scheme: Scheme,
    rate: Rate,
    seed: u64,
    tree: Option<Tree<Key>>,
    /// In which of its spells each node is.
    spells: Vec<u32>,
    numbered: u32,
    /// In `bypass`: when the broadcaster publishes, how many copies it gives, whom it serves, and who would be next.
    since: Nanos,
    copies: usize,
    serves: usize,
    is_served: Vec<bool>,
    waiting: VecDeque<Key>,
}

impl Controller {
    pub fn of(trial: &Trial, ground: &Ground, nodes: usize, published: Nanos) -> Self {
        let rate = Rate { bit_per_s: trial.video.total_bitrate() as f64, frames_per_s: f64::from(trial.video.fps) };
        let up = ground.places[usize::from(ground::BROADCASTER)].link.bandwidth;
        let is_bypass = trial.point.scheme == Scheme::Bypass;
        let mut controller = Self {
            scheme: trial.point.scheme,
            rate,
            seed: trial.seed,
            tree: None,
            spells: vec![0; nodes],
            numbered: 0,
            since: published,
            copies: rate.copies(up.map(|up| up as f64), rate.copy()).max(1) as usize,
            serves: 0,
            is_served: vec![false; if is_bypass { nodes } else { 0 }],
            waiting: VecDeque::new(),
        };
        if trial.point.scheme == Scheme::Relay {
            let names: Vec<&str> = trial.network.switches.iter().map(|switch| switch.name.as_str()).collect();
            let number = |name: &str| names.iter().position(|switch| *switch == name).unwrap_or_default();
            let trunks: Vec<_> = trial
                .network
                .trunks()
                .map(|link| (number(&link.a.node), number(&link.b.node), link.shape.delay))
                .collect();
            let mut tree = Tree::new(Switches::joined(names.len(), &trunks));
            // It has announced the stream before.
            let _nobody_is_there_yet = tree.begin(controller.member(ground, (BROADCASTER, 0), ground::BROADCASTER));
            controller.tree = Some(tree);
        }
        controller
    }

    fn member(&self, ground: &Ground, key: Key, kind: Kind) -> Member<Key> {
        let place = &ground.places[usize::from(kind)];
        let up = place.link.bandwidth.map(|up| up as f64);
        // The broadcaster sends the CDN its copy.
        let others = if kind == ground::BROADCASTER { self.rate.copy() } else { 0.0 };
        Member {
            key,
            switch: place.switch,
            delay: place.link.delay,
            copies: self.rate.copies(up, others),
            copy_time: self.rate.copy_time(up, 1.0),
        }
    }

    /// A viewer plays.
    pub fn plays(&mut self, ground: &Ground, node: Node, kind: Kind, at: Nanos, told: &mut Vec<Told>) {
        // Who crashed and comes again is another member, and the one that it was is gone.
        self.left(ground, node, at, told);
        self.spells[node as usize] += 1;
        let key = (node, self.spells[node as usize]);
        match self.scheme {
            Scheme::Relay => {
                let member = self.member(ground, key, kind);
                let Some(tree) = self.tree.as_mut() else { return };
                let changes = tree.join(member);
                self.introduced(ground, &changes, at, told);
            }
            Scheme::Bypass if ground.places[usize::from(kind)].is_near => {
                self.waiting.push_back(key);
                self.fill(ground, at, told);
            }
            _ => {}
        }
    }

    /// In `bypass` the broadcaster serves those at its switch, in the order in which they came, as far as its uplink goes.
    fn fill(&mut self, ground: &Ground, at: Nanos, told: &mut Vec<Told>) {
        while self.serves < self.copies
            && let Some((node, spell)) = self.waiting.pop_front()
        {
            if self.spells[node as usize] == spell {
                self.serves += 1;
                self.is_served[node as usize] = true;
                self.tell(
                    node,
                    Named::Parent(BROADCASTER),
                    at.max(self.since),
                    ground.up_to_switch(ground.kind_of(node)),
                    told,
                );
            }
        }
    }

    /// A viewer has taken leave, or is known to have gone.
    pub fn left(&mut self, ground: &Ground, node: Node, at: Nanos, told: &mut Vec<Told>) {
        let key = (node, self.spells[node as usize]);
        if let Some(tree) = self.tree.as_mut() {
            let changes = tree.leave(key);
            self.introduced(ground, &changes, at, told);
        } else if self.scheme == Scheme::Bypass {
            // Who waits is passed over when its turn comes.
            self.spells[node as usize] += 1;
            if std::mem::take(&mut self.is_served[node as usize]) {
                self.serves -= 1;
                self.fill(ground, at, told);
            }
        }
    }

    /// A viewer says that its parent does not serve it.
    pub fn lost(&mut self, ground: &Ground, child: Node, parent: Node, at: Nanos, told: &mut Vec<Told>) {
        let child = (child, self.spells[child as usize]);
        let Some(tree) = self.tree.as_mut() else { return };
        let known = [tree.parent(child), tree.standby(child)].into_iter().flatten().find(|known| known.0 == parent);
        let Some(parent) = known else { return };
        let changes = tree.lost(child, parent, Duration::from_nanos(at));
        self.introduced(ground, &changes, at, told);
    }

    /// Time has passed.
    pub fn tick(&mut self, ground: &Ground, at: Nanos, told: &mut Vec<Told>) {
        let Some(tree) = self.tree.as_mut() else { return };
        let changes = tree.tick(Duration::from_nanos(at));
        self.introduced(ground, &changes, at, told);
    }

    fn introduced(&mut self, ground: &Ground, changes: &Changes<Key>, at: Nanos, told: &mut Vec<Told>) {
        let mut tell = |this: &mut Self, (node, spell): Key, named: Named| {
            // Who went or crashed hears nothing.
            if this.spells[node as usize] == spell {
                let kind = ground.kind_of(node);
                this.tell(node, named, at, ground.up_to_switch(kind), told);
            }
        };
        for one in &changes.moves {
            match one.to {
                Some(parent) => tell(self, one.child, Named::Parent(parent.0)),
                // Who joins is at the CDN already, and who does not answer is told nothing.
                None if matches!(one.why, Why::Joined | Why::Gone) => {}
                None => tell(self, one.child, Named::Cdn),
            }
        }
        for one in &changes.standbys {
            tell(self, one.child, Named::Standby(one.to.map_or(NOBODY, |to| to.0)));
        }
    }

    /// With the next heartbeat that passes.
    fn tell(&mut self, to: Node, named: Named, at: Nanos, delay: Nanos, told: &mut Vec<Told>) {
        let waits = (self.phase(to) + HEARTBEAT - at % HEARTBEAT) % HEARTBEAT;
        self.numbered += 1;
        told.push(Told { at: at + waits + delay, to, named, number: self.numbered });
    }

    /// When a node's heartbeats pass, within [`HEARTBEAT`].
    fn phase(&self, node: Node) -> Nanos {
        super::chance::Chance::of(self.seed, node.into(), 0).below(HEARTBEAT)
    }
}

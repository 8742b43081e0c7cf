//! How long each step of a tree of 10,000 viewers takes.
//!
//!     cargo bench -p livectl-policy --bench tree [-- VIEWERS]
//!
//! Steps during which the system gave the processor to somebody else are counted, and left out of the times: on a
//! machine that has other work, each of them takes some milliseconds, whatever it does.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use livectl_policy::{Changes, Member, Switches, Tree};

/// Steps of each kind.
const ROUNDS: usize = 3000;

fn main() {
    // `cargo bench` adds an option of its own.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let viewers: u32 = arguments.next().map_or(10_000, |count| count.parse().expect("a number of viewers"));
    for (name, switches, copies) in [
        ("uplinks of three copies, one switch", 1, [3, 3, 3, 3]),
        ("uplinks of three copies, four switches", 4, [3, 3, 3, 3]),
        ("half carry nothing, the others three; four switches", 4, [0, 3, 0, 3]),
        ("just enough: one copy each, four switches", 4, [1, 1, 1, 1]),
        ("too little: a third at the CDN, four switches", 4, [0, 1, 1, 1]),
    ] {
        let mut bench = Bench::new(switches, copies);
        bench.fill(viewers);
        bench.steps();
        println!("{name}: {} members, {} at the CDN", bench.tree.len(), bench.tree.at_cdn());
        bench.report();
    }
}

struct Bench {
    tree: Tree<u32>,
    switches: usize,
    copies: [u32; 4],
    now: Duration,
    next: u32,
    keys: Vec<u32>,
    random: u64,
    times: BTreeMap<&'static str, Vec<(Duration, usize)>>,
    interrupted: BTreeMap<&'static str, usize>,
}

/// How often this thread had to make way for another.
fn interruptions() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"));
    line.and_then(|count| count.trim().parse().ok()).expect("a count of switches")
}

impl Bench {
    fn new(switches: usize, copies: [u32; 4]) -> Self {
        let links: Vec<_> = (1..switches).map(|at| (at - 1, at, Duration::from_millis(20))).collect();
        let mut tree = Tree::new(Switches::joined(switches, &links));
        tree.begin(Self::member(0, 0, 3, 8));
        let (times, interrupted) = (BTreeMap::new(), BTreeMap::new());
        Self { tree, switches, copies, now: Duration::ZERO, next: 0, keys: Vec::new(), random: 1, times, interrupted }
    }

    fn member(key: u32, switch: usize, copies: u32, ms: u64) -> Member<u32> {
        Member { key, switch, delay: Duration::from_millis(2), copies, copy_time: Duration::from_millis(ms) }
    }

    /// Knuth's MMIX generator: the same numbers each time.
    fn random(&mut self, below: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) as usize % below
    }

    fn timed(&mut self, kind: &'static str, step: impl FnOnce(&mut Tree<u32>, Duration) -> Changes<u32>) {
        let before = interruptions();
        let begun = Instant::now();
        let changes = step(&mut self.tree, self.now);
        let took = begun.elapsed();
        if interruptions() != before {
            *self.interrupted.entry(kind).or_default() += 1;
            return;
        }
        self.times.entry(kind).or_default().push((took, changes.moves.len()));
    }

    fn join(&mut self, kind: &'static str) {
        self.next += 1;
        let (key, switch, ms) = (self.next, self.random(self.switches), 6 + self.random(5) as u64);
        let kind_of_uplink = self.random(4);
        let copies = self.copies[kind_of_uplink];
        self.keys.push(key);
        self.timed(kind, |tree, _| tree.join(Self::member(key, switch, copies, ms)));
    }

    fn fill(&mut self, viewers: u32) {
        for _ in 0..viewers {
            self.join("join, from none on");
        }
    }

    /// One that is wanted, if it is found soon.
    fn some(&mut self, wanted: impl Fn(&Tree<u32>, u32) -> bool) -> Option<usize> {
        for _ in 0..100_000 {
            let at = self.random(self.keys.len());
            if wanted(&self.tree, self.keys[at]) {
                return Some(at);
            }
        }
        None
    }

    fn leave(&mut self, kind: &'static str, wanted: impl Fn(&Tree<u32>, u32) -> bool) {
        let Some(at) = self.some(wanted) else { return };
        let key = self.keys.swap_remove(at);
        self.timed(kind, |tree, _| tree.leave(key));
        self.join("join");
    }

    fn steps(&mut self) {
        for round in 0..ROUNDS {
            self.leave("leave, of a leaf", |tree, key| tree.children(key).next().is_none());
            self.leave("leave, of an inner member", |tree, key| tree.children(key).next().is_some());
            if round % 10 == 0 {
                let children: Vec<u32> = self.tree.children(0).collect();
                let which = self.random(children.len().max(1));
                let child = children.get(which).copied();
                self.leave("leave, of the broadcaster's child", |_, key| Some(key) == child);
            }
            // Those who were lost are heard of, and take children again half a minute later.
            self.now += Duration::from_millis(500);
            if let Some(at) = self.some(|tree, key| tree.parent(key).is_some()) {
                let (child, parent) = (self.keys[at], self.tree.parent(self.keys[at]).unwrap());
                self.timed("lost", |tree, now| tree.lost(child, parent, now));
                self.timed("heard", |tree, _| tree.heard(parent));
            }
            let (at, now, later) = (self.random(self.keys.len()), self.random(4), self.random(4));
            let key = self.keys[at];
            let copies = self.copies;
            self.timed("capacity", |tree, _| tree.capacity(key, copies[now]));
            self.timed("capacity", |tree, _| tree.capacity(key, copies[later]));
            self.timed("tick", |tree, now| tree.tick(now));
        }
    }

    fn report(&mut self) {
        for (kind, times) in &mut self.times {
            times.sort_unstable();
            let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].0.as_secs_f64() * 1e6;
            let moves = times.iter().map(|(_, moves)| *moves).sum::<usize>() as f64 / times.len() as f64;
            let interrupted = self.interrupted.get(kind).copied().unwrap_or_default();
            println!(
                "  {kind:34} {:6} times and {interrupted:3} interrupted   p50 {:7.1} µs   p99 {:7.1} µs   max {:7.1} µs   {moves:.2} moved",
                times.len(),
                at(0.5),
                at(0.99),
                at(1.0)
            );
        }
    }
}

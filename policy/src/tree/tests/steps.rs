//! Whatever happens, what must hold holds after each step.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Cases by steps: more than a hundred thousand.
const CASES: u32 = 500;
const STEPS: usize = 250;

#[derive(Debug, Clone)]
enum Step {
    Begin { switch: usize, copies: u32 },
    Join { switch: usize, copies: u32, tau: u64, delay: u64 },
    Leave(usize),
    LostParent(usize),
    LostStandby(usize),
    LostOther(usize, usize),
    Capacity(usize, u32),
    Heard(usize),
    Wait(u64),
    End,
}

fn step(switches: usize) -> impl Strategy<Value = Step> {
    let any = 0usize..1000;
    let copies = prop_oneof![3 => Just(0u32), 2 => Just(1), 6 => 2u32..5];
    prop_oneof![
        1 => (0..switches, 0u32..5).prop_map(|(switch, copies)| Step::Begin { switch, copies }),
        12 => (0..switches, copies.clone(), 1u64..20, 0u64..5)
            .prop_map(|(switch, copies, tau, delay)| Step::Join { switch, copies, tau, delay }),
        8 => any.clone().prop_map(Step::Leave),
        6 => any.clone().prop_map(Step::LostParent),
        1 => any.clone().prop_map(Step::LostStandby),
        1 => (any.clone(), any.clone()).prop_map(|(child, parent)| Step::LostOther(child, parent)),
        4 => (any.clone(), copies).prop_map(|(who, copies)| Step::Capacity(who, copies)),
        2 => any.clone().prop_map(Step::Heard),
        3 => (1u64..40).prop_map(Step::Wait),
        1 => Just(Step::End),
    ]
}

/// The tree, and what one knows of it who only hears of its changes.
struct Play {
    tree: Tree<u32>,
    now: Duration,
    next: u32,
    heard: BTreeMap<u32, (Option<u32>, Option<u32>)>,
}

impl Play {
    fn some(&self, n: usize) -> Option<u32> {
        let mut keys: Vec<u32> = self.tree.by_key.keys().copied().collect();
        keys.sort_unstable();
        keys.get(n.checked_rem(keys.len())?).copied()
    }

    fn play(&mut self, step: &Step) -> Result<(), String> {
        let mut left = None;
        let changes = match *step {
            Step::Begin { switch, copies } => {
                self.next += 1;
                self.tree.begin(member(self.next, switch, copies))
            }
            Step::Join { switch, copies, tau, delay } => {
                self.next += 1;
                let comes = member(self.next, switch, copies);
                self.tree.join(Member { copy_time: ms(tau), delay: ms(delay), ..comes })
            }
            Step::Leave(n) => {
                left = self.some(n);
                left.map(|key| self.tree.leave(key)).unwrap_or_default()
            }
            Step::End => {
                left = self.tree.broadcaster();
                left.map(|key| self.tree.leave(key)).unwrap_or_default()
            }
            Step::LostParent(n) => self.lost(n, |tree, child| tree.parent(child)),
            Step::LostStandby(n) => self.lost(n, |tree, child| tree.standby(child)),
            Step::LostOther(n, other) => {
                let other = self.some(other);
                self.lost(n, |_, _| other)
            }
            Step::Capacity(n, copies) => self.some(n).map(|key| self.tree.capacity(key, copies)).unwrap_or_default(),
            Step::Heard(n) => self.some(n).map(|key| self.tree.heard(key)).unwrap_or_default(),
            Step::Wait(seconds) => {
                self.now += Duration::from_secs(seconds);
                self.tree.tick(self.now)
            }
        };
        self.hear(&changes, left)?;
        self.tree.check()
    }

    fn lost(&mut self, n: usize, of: impl Fn(&Tree<u32>, u32) -> Option<u32>) -> Changes<u32> {
        let child = self.some(n);
        let pair = child.and_then(|child| Some((child, of(&self.tree, child)?)));
        pair.map(|(child, parent)| self.tree.lost(child, parent, self.now)).unwrap_or_default()
    }

    /// What was told is all that has changed, and each is told once.
    fn hear(&mut self, changes: &Changes<u32>, left: Option<u32>) -> Result<(), String> {
        left.map(|left| self.heard.remove(&left));
        let mut moved: Vec<u32> = changes.moves.iter().map(|change| change.child).collect();
        moved.sort_unstable();
        moved.dedup();
        if moved.len() != changes.moves.len() {
            return Err(format!("told twice: {changes:?}"));
        }
        for Move { child, from, to, .. } in &changes.moves {
            let known = self.heard.entry(*child).or_default();
            if std::mem::replace(&mut known.0, *to) != *from {
                return Err(format!("{child} was not below {from:?}"));
            }
        }
        for Standby { child, from, to } in &changes.standbys {
            let known = self.heard.entry(*child).or_default();
            if std::mem::replace(&mut known.1, *to) != *from {
                return Err(format!("{from:?} was not the standby of {child}"));
            }
        }
        for key in self.tree.by_key.keys() {
            let known = self.heard.get(key).copied().unwrap_or_default();
            if known != (self.tree.parent(*key), self.tree.standby(*key)) {
                return Err(format!("not told what is new for {key}: {known:?}, {changes:?}"));
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, ..ProptestConfig::default() })]

    #[test]
    fn what_must_hold_holds_after_each_step(
        steps in (1usize..=4).prop_flat_map(|switches| proptest::collection::vec(step(switches), STEPS))
    ) {
        let mut play = Play { tree: Tree::new(line()), now: ms(0), next: 0, heard: BTreeMap::new() };
        play.play(&Step::Begin { switch: 0, copies: 3 }).unwrap();
        for (at, step) in steps.iter().enumerate() {
            let played = play.play(step);
            prop_assert!(played.is_ok(), "step {at}, {step:?}: {}", played.unwrap_err());
        }
    }
}

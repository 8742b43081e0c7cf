//! Who gets which place.

use super::*;

fn tree(copies: u32) -> Tree<u32> {
    let mut tree = Tree::new(line());
    tree.begin(member(0, 0, copies));
    tree
}

/// Joins them in order, and checks after each.
fn join(tree: &mut Tree<u32>, members: &[Member<u32>]) {
    for one in members {
        tree.join(*one);
        tree.check().unwrap();
    }
}

fn parents(tree: &Tree<u32>, keys: std::ops::RangeInclusive<u32>) -> Vec<Option<u32>> {
    keys.map(|key| tree.parent(key)).collect()
}

#[test]
fn alike_ones_join_in_the_order_of_the_greedy_bound() {
    let mut tree = tree(3);
    let all: Vec<Member<u32>> = (1..=32).map(|key| member(key, 0, 3)).collect();
    join(&mut tree, &all);
    let uplink = crate::bound::Uplink { copies: 3, copy_time: TAU };
    let bound = crate::bound::greedy(&[uplink; 33], |_, _| ms(4));
    let mut arrivals: Vec<Duration> = (1..=32).map(|key| tree.arrival(key).unwrap()).collect();
    let mut least: Vec<Duration> = bound.iter().map(|arrival| arrival.unwrap().at).collect();
    arrivals.sort_unstable();
    least.sort_unstable();
    assert_eq!(arrivals, least);
    // The third has it from the first sooner than as the broadcaster's third child.
    assert_eq!(tree.children(0).collect::<Vec<_>>(), [1, 2, 4]);
    assert!((1..=32).all(|key| tree.standby(key).is_some()));
}

#[test]
fn the_strong_take_the_places_of_the_weak_that_are_nearer_to_the_root() {
    let mut tree = tree(2);
    join(&mut tree, &[member(1, 0, 0), member(2, 0, 1), member(3, 0, 0)]);
    assert_eq!(parents(&tree, 1..=3), [Some(0), Some(0), Some(2)]);
    let changes = tree.join(member(4, 0, 3));
    let moved = |child, from, to, why| Move { child, from, to, why };
    assert_eq!(changes.moves, [moved(4, None, Some(0), Why::Joined), moved(1, Some(0), Some(4), Why::Moved)]);
    assert_eq!(tree.children(0).collect::<Vec<_>>(), [4, 2], "in the same place of the order");
    // Nobody is moved where nothing is won.
    assert_eq!(tree.join(member(5, 0, 3)).moves, [moved(5, None, Some(4), Why::Joined)]);
}

#[test]
fn who_can_carry_finds_a_place_though_all_are_taken() {
    let mut tree = tree(1);
    join(&mut tree, &[member(1, 0, 0), member(2, 0, 0)]);
    assert_eq!((tree.parent(2), tree.at_cdn()), (None, 1));
    let changes = tree.join(member(3, 0, 2));
    assert_eq!(parents(&tree, 1..=3), [Some(3), Some(3), Some(0)]);
    assert_eq!(changes.moves.len(), 3);
    assert_eq!(tree.at_cdn(), 0);
}

#[test]
fn one_copy_between_switches() {
    let mut tree = tree(3);
    join(&mut tree, &[member(1, 1, 2), member(2, 1, 0), member(3, 1, 0)]);
    // The third at switch 1 has no slot there, though the leaves that are there have parents: it carries nothing.
    assert_eq!(parents(&tree, 1..=3), [Some(0), Some(1), Some(1)]);
    join(&mut tree, &[member(4, 1, 0)]);
    assert_eq!(tree.parent(4), Some(0));
    // One that carries takes a leaf's place.
    join(&mut tree, &[member(5, 1, 1), member(6, 0, 3), member(7, 1, 3)]);
    let over = |tree: &Tree<u32>, here: &[u32]| {
        here.iter().filter(|key| !here.contains(&tree.parent(**key).unwrap())).count()
    };
    assert_eq!(over(&tree, &[1, 2, 3, 4, 5, 7]), 2);
    // A late slot here comes before an early one there.
    join(&mut tree, &[member(8, 1, 0)]);
    assert_eq!(over(&tree, &[1, 2, 3, 4, 5, 7, 8]), 2);
}

#[test]
fn a_subtree_moves_as_a_whole_and_the_greatest_gets_the_freed_slot() {
    let mut tree = tree(1);
    join(
        &mut tree,
        &[member(1, 0, 2), member(2, 0, 1), member(3, 0, 3), member(4, 0, 0), member(5, 0, 0), member(6, 0, 0)],
    );
    let before: Vec<_> = tree.children(3).collect();
    assert_eq!((tree.parent(3), before.len()), (Some(1), 2));
    let changes = tree.leave(1);
    tree.check().unwrap();
    let mut moved: Vec<u32> = changes.moves.iter().map(|change| change.child).collect();
    moved.sort_unstable();
    assert_eq!(moved, [2, 3]);
    assert!(changes.moves.iter().all(|change| change.why == Why::Left && change.from == Some(1)));
    assert_eq!((tree.parent(3), tree.parent(2)), (Some(0), Some(3)));
    assert!(before.iter().all(|child| tree.parent(*child) == Some(3)));
}

#[test]
fn who_was_lost_takes_nobody_for_a_while() {
    let mut tree = tree(2);
    join(&mut tree, &[member(1, 0, 3), member(2, 0, 3), member(3, 0, 0), member(4, 0, 0)]);
    let parent = tree.parent(3).unwrap();
    let other = 3 - parent;
    let changes = tree.lost(3, parent, ms(0));
    tree.check().unwrap();
    assert_eq!(changes.moves, [Move { child: 3, from: Some(parent), to: Some(other), why: Why::Lost }]);
    assert_eq!(tree.lost(3, parent, ms(1)), Changes::default(), "it may say so again");
    // Everybody goes to the other now, and stays when the time is over.
    join(&mut tree, &[member(5, 0, 0)]);
    assert_eq!(tree.parent(5), Some(other));
    tree.tick(HOLD);
    join(&mut tree, &[member(6, 0, 0)]);
    assert_eq!((tree.parent(5), tree.parent(6)), (Some(other), Some(parent)));
    // Not the same again while another will do, and the same again when none will.
    tree.lost(3, other, HOLD);
    assert_eq!(tree.parent(3), Some(parent));
    tree.check().unwrap();
}

#[test]
fn who_lost_its_parent_stays_with_its_standby() {
    let mut tree = tree(3);
    let all: Vec<Member<u32>> = (1..=20).map(|key| member(key, 0, 3)).collect();
    join(&mut tree, &all);
    for child in [20, 11, 2] {
        let (parent, standby) = (tree.parent(child).unwrap(), tree.standby(child));
        tree.lost(child, parent, ms(0));
        tree.check().unwrap();
        assert_eq!(tree.parent(child), standby);
        assert_ne!(tree.standby(child), standby);
    }
}

#[test]
fn who_is_lost_by_most_is_gone_until_heard_of() {
    let mut tree = tree(2);
    join(&mut tree, &[member(1, 0, 4), member(2, 0, 4)]);
    tree.capacity(2, 0);
    join(&mut tree, &[member(3, 0, 0), member(4, 0, 0), member(5, 0, 0)]);
    assert_eq!(parents(&tree, 3..=5), [Some(1); 3]);
    tree.capacity(2, 4);
    tree.lost(3, 1, ms(0));
    assert!(!tree.is_gone(1));
    let changes = tree.lost(4, 1, ms(10));
    tree.check().unwrap();
    assert!(tree.is_gone(1));
    assert!(changes.moves.contains(&Move { child: 1, from: Some(0), to: None, why: Why::Gone }));
    assert_eq!(tree.at_cdn(), 0, "it is not one of those who wait");
    assert!((3..=5).all(|key| tree.parent(key) != Some(1) && tree.parent(key).is_some()));
    let changes = tree.heard(1);
    tree.check().unwrap();
    assert_eq!(changes.moves.len(), 1);
    assert!(tree.parent(1).is_some());
    assert_eq!(tree.heard(1), Changes::default());
    // It is still held.
    join(&mut tree, &[member(6, 0, 0)]);
    assert_ne!(tree.parent(6), Some(1));
}

#[test]
fn a_standby_is_outside_of_the_parents_subtree_if_it_can_be() {
    let mut tree = tree(2);
    let all: Vec<Member<u32>> = (1..=14).map(|key| member(key, 0, 2)).collect();
    join(&mut tree, &all);
    // Who found only one that goes with its parent looks again, with time.
    for _ in 0..8 {
        tree.tick(ms(0));
    }
    let mut deep = (1..=14).filter(|key| tree.parent(*key) != Some(0));
    assert!(deep.all(|key| {
        let (parent, standby) = (tree.parent(key).unwrap(), tree.standby(key).unwrap());
        !tree.is_below(tree.by_key[&standby], tree.by_key[&parent])
    }));
    // A standby that does not serve is exchanged.
    let standby = tree.standby(9).unwrap();
    let changes = tree.lost(9, standby, ms(0));
    tree.check().unwrap();
    assert_eq!((changes.moves.len(), changes.standbys.len()), (0, 1));
    assert_ne!(tree.standby(9), Some(standby));
}

#[test]
fn while_the_broadcaster_is_gone_what_there_is_stays() {
    let mut tree = Tree::new(line());
    join(&mut tree, &[member(1, 0, 3), member(2, 0, 3), member(3, 0, 0)]);
    tree.begin(member(0, 0, 1));
    tree.check().unwrap();
    assert_eq!(tree.at_cdn(), 0);
    let first = tree.children(0).next().unwrap();
    let below = tree.children(first).count();
    let changes = tree.leave(0);
    tree.check().unwrap();
    assert_eq!(changes.moves, [Move { child: first, from: Some(0), to: None, why: Why::Left }]);
    assert_eq!((tree.broadcaster(), tree.children(first).count()), (None, below));
    tree.begin(member(9, 0, 1));
    tree.check().unwrap();
    assert_eq!(tree.parent(first), Some(9));
}

#[test]
fn who_carries_less_gives_up_its_last_children() {
    let mut tree = tree(3);
    let all: Vec<Member<u32>> = (1..=6).map(|key| member(key, 0, 3)).collect();
    join(&mut tree, &all);
    let before: Vec<u32> = tree.children(0).collect();
    let changes = tree.capacity(0, 1);
    tree.check().unwrap();
    assert_eq!(tree.children(0).collect::<Vec<_>>(), before[..1]);
    assert!(changes.moves.iter().all(|change| change.why == Why::Capacity));
    assert_eq!(changes.moves.len(), 2);
}

#[test]
fn many_members_are_brought_up_to_date_little_by_little() {
    let mut tree = tree(3);
    let all: Vec<Member<u32>> = (1..=3000).map(|key| member(key, (key % 4) as usize, 3)).collect();
    for one in &all {
        tree.join(*one);
    }
    let first = tree.children(0).next().unwrap();
    tree.leave(first);
    let mut steps = 0;
    while !tree.stale.is_empty() {
        tree.tick(ms(0));
        steps += 1;
    }
    assert!(steps < 3000 / AT_ONCE * 2, "{steps}");
    tree.check().unwrap();
}

/// Players are often there before the broadcaster.
#[test]
fn the_tree_is_there_before_the_broadcaster() {
    let mut tree = Tree::new(Switches::default());
    let joined = tree.join(member(1, 0, 3));
    assert_eq!(joined.moves, [Move { child: 1, from: None, to: None, why: Why::Joined }]);
    let others: Vec<Member<u32>> = (2..=26).map(|key| member(key, 0, 3)).collect();
    join(&mut tree, &others);
    assert_eq!(tree.at_cdn(), 1, "the first has the stream from the CDN, all others from each other");
    let before = parents(&tree, 2..=26);
    let changes = tree.begin(member(0, 0, 2));
    tree.check().unwrap();
    // The first, the greatest of those below it, and a few more on the places that became free.
    let to: Vec<(u32, Option<u32>)> = changes.moves.iter().map(|change| (change.child, change.to)).collect();
    assert_eq!(to[..2], [(1, Some(0)), (2, Some(0))]);
    assert!((3..=8).contains(&to.len()), "{to:?}");
    let kept = before.iter().zip(parents(&tree, 2..=26)).filter(|(before, now)| **before == *now).count();
    assert_eq!(kept + to.len(), 26);
    let uplink = |copies| crate::bound::Uplink { copies, copy_time: TAU };
    let uplinks: Vec<_> = std::iter::once(uplink(2)).chain((1..=26).map(|_| uplink(3))).collect();
    let bound = crate::bound::greedy(&uplinks, |_, _| ms(4));
    let least = bound.iter().flatten().map(|arrival| arrival.at).max().unwrap();
    let last = (1..=26).map(|key| tree.arrival(key).unwrap()).max().unwrap();
    assert!(last <= least + TAU, "a copy later than the least at most: {last:?}, {least:?}");
}

#[test]
fn on_a_line_of_switches_a_copy_comes_from_the_nearest_that_has_one() {
    let mut tree = tree(3);
    // One at each switch, away from the broadcaster's, which has free slots all the while and would serve each of
    // them sooner.
    join(&mut tree, &[member(1, 1, 3), member(2, 2, 3), member(3, 3, 3)]);
    assert_eq!(parents(&tree, 1..=3), [Some(0), Some(1), Some(2)]);
    // Those that come later have it from their own switch.
    join(&mut tree, &[member(4, 3, 3), member(5, 2, 3)]);
    assert_eq!(parents(&tree, 4..=5), [Some(3), Some(2)]);
}

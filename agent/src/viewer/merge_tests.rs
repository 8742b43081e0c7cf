#![allow(clippy::unwrap_used, clippy::expect_used)]
use proptest::prelude::*;

use super::*;

/// The `n`th element of a stream: each fifth picture is a keyframe, each third element a sound. Every payload is
/// different.
fn element(n: u32, sounds: bool) -> Tag {
    let [a, b, c, d] = n.to_be_bytes();
    if sounds && n % 3 == 2 {
        Tag::of(TagKind::Audio, n * 10, vec![0xaf, 1, a, b, c, d])
    } else {
        let key = n.is_multiple_of(15);
        Tag::of(TagKind::Video, n * 10, vec![if key { 0x17 } else { 0x27 }, 1, 0, 0, 0, a, b, c, d])
    }
}

fn picture(n: u32) -> Tag {
    element(n, false)
}

fn config(n: u8) -> Tag {
    Tag::of(TagKind::Video, 0, vec![0x17, 0, 0, 0, 0, n])
}

fn drain(merge: &mut Merge) -> Vec<Written> {
    std::iter::from_fn(|| merge.next_written()).collect()
}

fn numbers(written: &[Written]) -> Vec<u32> {
    written.iter().filter(|w| w.tag.is_element()).map(|w| w.tag.timestamp / 10).collect()
}

fn through(merge: &mut Merge, elements: impl IntoIterator<Item = u32>) {
    merge.open(Path::Cdn, Beginning::Anywhere);
    merge.note(Path::Cdn, &config(1));
    for n in elements {
        merge.note(Path::Cdn, &picture(n));
    }
}

fn after_last(merge: &Merge) -> Beginning {
    let last = merge.last().unwrap();
    Beginning::After { number: last.number, written: last.timestamp, given: last.timestamp }
}

#[test]
fn a_peer_that_was_asked_for_what_follows_takes_over_and_nobody_waits() {
    let mut merge = Merge::default();
    through(&mut merge, 0..10);
    merge.open(Path::Peer, after_last(&merge));
    // Meanwhile the CDN gives one more.
    merge.note(Path::Cdn, &picture(10));
    merge.give(Path::Peer, config(1));
    (10..14).for_each(|n| merge.give(Path::Peer, picture(n)));
    let written = drain(&mut merge);
    assert_eq!(numbers(&written), [11, 12, 13]);
    assert!(written.iter().all(|w| w.path == Path::Peer && !w.jump), "and no codec header, which is known");
    (11..15).for_each(|n| merge.give(Path::Cdn, picture(n)));
    let written = drain(&mut merge);
    assert_eq!((numbers(&written), written[0].path), (vec![14], Path::Cdn), "the CDN was first");
}

/// As nginx-rtmp does after a pause: sounds at once, pictures from the next keyframe on.
#[test]
fn a_cdn_that_goes_on_with_sounds_alone_does_not_write_them_past_pictures() {
    let mut merge = Merge::default();
    merge.open(Path::Cdn, Beginning::Anywhere);
    (0..18).for_each(|n| merge.note(Path::Cdn, &element(n, true)));
    merge.open(Path::Peer, after_last(&merge));
    merge.close(Path::Cdn);
    merge.give(Path::Peer, element(18, true));
    assert_eq!(numbers(&drain(&mut merge)), [18]);
    merge.open(Path::Cdn, Beginning::Anywhere);
    // The first is known; between it and the second there are two pictures.
    [17, 20, 23, 26, 29].into_iter().for_each(|n| merge.give(Path::Cdn, element(n, true)));
    assert!(drain(&mut merge).is_empty());
    (19..32).for_each(|n| merge.give(Path::Peer, element(n, true)));
    assert_eq!(numbers(&drain(&mut merge)), (19..32).collect::<Vec<_>>());
    assert!(!merge.is_known(Path::Cdn));
    (30..36).for_each(|n| merge.give(Path::Cdn, element(n, true)));
    let written = drain(&mut merge);
    assert_eq!(numbers(&written), [32, 33, 34, 35]);
    assert!(merge.is_known(Path::Cdn) && written.iter().all(|w| !w.jump));
}

#[test]
fn nothing_written_yet_begins_with_a_keyframe() {
    let mut merge = Merge::default();
    merge.open(Path::Cdn, Beginning::Anywhere);
    merge.open(Path::Peer, Beginning::Anywhere);
    merge.give(Path::Peer, config(1));
    (13..17).for_each(|n| merge.give(Path::Peer, picture(n)));
    let written = drain(&mut merge);
    assert_eq!(numbers(&written), [15, 16]);
    assert_eq!(written[0].tag, config(1));
    assert!(written.iter().all(|w| !w.jump));
}

#[test]
fn sound_that_came_before_the_first_picture() {
    let mut merge = Merge::default();
    merge.open(Path::Cdn, Beginning::Anywhere);
    merge.note(Path::Cdn, &config(1));
    for n in [20, 23] {
        merge.note(Path::Cdn, &element(n, true));
    }
    assert!(!merge.has_begun());
    merge.open(Path::Peer, Beginning::Anywhere);
    (15..28).for_each(|n| merge.give(Path::Peer, element(n, true)));
    // 17 is a sound before those that were written: too late for it. 20 and 23 come again.
    assert_eq!(numbers(&drain(&mut merge)), [15, 16, 18, 19, 21, 22, 24, 25, 26, 27]);
}

#[test]
fn a_stream_that_begins_with_sound() {
    let mut merge = Merge::default();
    merge.open(Path::Peer, Beginning::Anywhere);
    merge.give(Path::Peer, config(1));
    (14..20).for_each(|n| merge.give(Path::Peer, element(n, true)));
    assert_eq!(numbers(&drain(&mut merge)), [14, 15, 16, 17, 18, 19]);
    assert!(merge.has_begun());
}

#[test]
fn who_is_ahead_waits_for_who_has_what_lies_between() {
    let mut merge = Merge::default();
    through(&mut merge, 0..10);
    merge.open(Path::Peer, Beginning::Anywhere);
    (15..18).for_each(|n| merge.give(Path::Peer, picture(n)));
    assert_eq!(drain(&mut merge), []);
    assert!(merge.is_waiting());
    (10..15).for_each(|n| merge.give(Path::Cdn, picture(n)));
    assert_eq!(numbers(&drain(&mut merge)), [10, 11, 12, 13, 14]);
    // Only now it is known that the peer's next is the successor.
    merge.give(Path::Cdn, picture(15));
    let written = drain(&mut merge);
    assert_eq!(numbers(&written), [15, 16, 17]);
    assert_eq!(written.iter().map(|w| w.path).collect::<Vec<_>>(), [Path::Cdn, Path::Peer, Path::Peer]);
}

#[test]
fn alone_it_jumps_to_the_next_keyframe() {
    let mut merge = Merge::default();
    through(&mut merge, 0..10);
    merge.open(Path::Peer, Beginning::Anywhere);
    (12..18).for_each(|n| merge.give(Path::Peer, picture(n)));
    assert_eq!(drain(&mut merge), []);
    merge.close(Path::Cdn);
    let written = drain(&mut merge);
    assert_eq!(numbers(&written), [15, 16, 17]);
    assert_eq!(written.iter().map(|w| w.jump).collect::<Vec<_>>(), [true, false, false]);
}

#[test]
fn a_source_that_is_hoped_for_is_waited_for_until_that_is_given_up() {
    let mut merge = Merge::default();
    through(&mut merge, 0..10);
    merge.close(Path::Cdn);
    merge.open(Path::Cdn, Beginning::Anywhere);
    merge.hope(Path::Peer, true);
    (15..18).for_each(|n| merge.give(Path::Cdn, picture(n)));
    assert_eq!(drain(&mut merge), []);
    merge.give_up();
    let written = drain(&mut merge);
    assert_eq!((numbers(&written), written[0].jump), (vec![15, 16, 17], true));
    // And the peer comes after all, with what nobody needs any more, and what is new.
    merge.open(Path::Peer, Beginning::After { number: 10, written: 90, given: 90 });
    (10..20).for_each(|n| merge.give(Path::Peer, picture(n)));
    assert_eq!(numbers(&drain(&mut merge)), [18, 19]);
}

#[test]
fn a_peer_that_skips_is_followed() {
    let mut merge = Merge::default();
    through(&mut merge, 0..10);
    merge.open(Path::Peer, Beginning::Skipping { written: 90, given: 90 });
    (30..32).for_each(|n| merge.give(Path::Peer, picture(n)));
    let written = drain(&mut merge);
    assert_eq!((numbers(&written), written[0].jump), (vec![30, 31], true));
    (10..33).for_each(|n| merge.give(Path::Cdn, picture(n)));
    assert_eq!(numbers(&drain(&mut merge)), [32], "what the CDN has between is too old");
}

#[test]
fn nobody_waits_for_one_that_is_far_behind() {
    let mut merge = Merge::default();
    through(&mut merge, 0..10);
    // It was asked for when nothing was there yet, so that nothing is known of where it begins.
    merge.open(Path::Peer, Beginning::Anywhere);
    merge.skip(Path::Peer);
    (1200..1203).for_each(|n| merge.give(Path::Peer, picture(n)));
    let written = drain(&mut merge);
    assert_eq!((numbers(&written), written[0].jump), (vec![1200, 1201, 1202], true));
    (10..1203).for_each(|n| merge.give(Path::Cdn, picture(n)));
    merge.give(Path::Peer, picture(1203));
    assert_eq!(numbers(&drain(&mut merge)), [1203], "each once, and nothing old");
}

#[test]
fn timestamps_that_are_shifted() {
    let mut merge = Merge::default();
    through(&mut merge, 0..20);
    let shifted = |n: u32| Tag { timestamp: picture(n).timestamp.wrapping_sub(5), ..picture(n) };
    merge.open(Path::Peer, Beginning::After { number: 20, written: 190, given: 185 });
    (20..22).for_each(|n| merge.give(Path::Peer, shifted(n)));
    assert_eq!(numbers(&drain(&mut merge)), [20, 21]);
    merge.close(Path::Cdn);
    // One of which nothing is known is recognised by a keyframe.
    merge.open(Path::Cdn, Beginning::Anywhere);
    (15..24).for_each(|n| merge.give(Path::Cdn, shifted(n)));
    let written = drain(&mut merge);
    assert_eq!(written.iter().map(|w| w.tag.timestamp).collect::<Vec<_>>(), [220, 230]);
}

#[test]
fn the_same_payload_with_other_timestamps_is_another_frame() {
    let still = |n: u32| Tag { timestamp: n * 10, ..picture(1) };
    let mut merge = Merge::default();
    through(&mut merge, 0..1);
    (1..4).for_each(|n| merge.note(Path::Cdn, &still(n)));
    merge.open(Path::Peer, after_last(&merge));
    (2..8).for_each(|n| merge.give(Path::Peer, still(n)));
    assert_eq!(numbers(&drain(&mut merge)), [4, 5, 6, 7]);
}

#[test]
fn a_codec_header_that_changes_and_metadata_of_another() {
    let metadata = |n: u8| Tag::of(TagKind::Script, 0, [b"\x02\x00\x0aonMetaData", &[n][..]].concat());
    let mut merge = Merge::default();
    merge.note(Path::Cdn, &metadata(1));
    through(&mut merge, 0..5);
    merge.open(Path::Peer, after_last(&merge));
    for tag in [metadata(2), config(1), picture(5), config(2), picture(6), metadata(3), picture(7)] {
        merge.give(Path::Peer, tag);
    }
    let written: Vec<Tag> = drain(&mut merge).into_iter().map(|w| w.tag).collect();
    assert_eq!(written, [picture(5), config(2), picture(6), metadata(3), picture(7)]);
}

#[test]
fn what_is_no_element_is_written_once_at_its_place() {
    let end = Tag::of(TagKind::Video, 100, vec![0x17, 2, 0, 0, 0]);
    let mut merge = Merge::default();
    through(&mut merge, 0..10);
    merge.open(Path::Peer, after_last(&merge));
    merge.give(Path::Peer, end.clone());
    merge.give(Path::Cdn, end.clone());
    assert_eq!(drain(&mut merge).into_iter().map(|w| w.tag).collect::<Vec<_>>(), [end]);
}

#[test]
fn the_end_is_when_a_source_in_step_has_ended() {
    let mut merge = Merge::default();
    through(&mut merge, 0..10);
    merge.open(Path::Peer, after_last(&merge));
    merge.end(Path::Cdn);
    assert!(merge.has_ended(), "all that the CDN has was written");
    merge.give(Path::Peer, picture(10));
    drain(&mut merge);
    assert!(!merge.has_ended(), "the peer has more");
    merge.end(Path::Peer);
    assert!(merge.has_ended());
}

#[test]
fn sound_alone() {
    let sound = |n: u32| Tag::of(TagKind::Audio, n * 10, vec![0xaf, 1, n as u8]);
    let mut merge = Merge::default();
    merge.open(Path::Cdn, Beginning::Anywhere);
    (0..5).for_each(|n| merge.give(Path::Cdn, sound(n)));
    assert_eq!(numbers(&drain(&mut merge)), [0, 1, 2, 3, 4]);
    merge.open(Path::Peer, after_last(&merge));
    merge.close(Path::Cdn);
    (5..8).for_each(|n| merge.give(Path::Peer, sound(n)));
    merge.close(Path::Peer);
    merge.open(Path::Cdn, Beginning::Anywhere);
    (9..11).for_each(|n| merge.give(Path::Cdn, sound(n)));
    let written = drain(&mut merge);
    assert_eq!(numbers(&written), [9, 10], "what waited in the peer went with it");
}

#[test]
fn memory_is_bounded() {
    let mut merge = Merge::default();
    through(&mut merge, 0..1);
    merge.open(Path::Peer, Beginning::Anywhere);
    let mut large = picture(15);
    large.payload = vec![0x17; 1 << 20];
    let mut given = 0;
    while merge.has_room(Path::Peer) {
        merge.give(Path::Peer, Tag { timestamp: 10_000 + given, ..large.clone() });
        assert_eq!(drain(&mut merge), []);
        given += 1;
    }
    assert_eq!(given, 32);
    for n in 1..20_000 {
        merge.note(Path::Cdn, &picture(n));
    }
    assert_eq!((merge.recent.len(), merge.order.len()), (MAX_RECENT, MAX_RECENT));
}

/// What happens to a source.
#[derive(Debug, Clone)]
enum Happening {
    Give(Path, u32),
    Close(Path),
    /// The peer comes and was asked for what follows the last element; it has everything from that many elements
    /// before the newest.
    Ask(u32),
    /// The CDN begins again at the next keyframe.
    Join,
}

fn happening() -> impl Strategy<Value = Happening> {
    let path = prop_oneof![Just(Path::Cdn), Just(Path::Peer)];
    prop_oneof![
        8 => (path.clone(), 1u32..8).prop_map(|(path, count)| Happening::Give(path, count)),
        1 => path.prop_map(Happening::Close),
        1 => (0u32..60).prop_map(Happening::Ask),
        1 => Just(Happening::Join),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Sources come and go with any lateness. The output is the sequence, in order, nothing twice; and it has a gap
    /// only where a jump was told, to a keyframe. When every source that ever comes joins while the one before still
    /// gives, there is none.
    #[test]
    fn in_order_once_and_without_a_gap_that_is_not_told(happenings in proptest::collection::vec(happening(), 1..80), sounds: bool) {
        let mut merge = Merge::default();
        merge.open(Path::Cdn, Beginning::Anywhere);
        let (mut cdn, mut peer) = (Some(0u32), None::<u32>);
        // How far the broadcast is: nobody gives what is not born.
        let mut newest = 10u32;
        let mut out: Vec<(u32, bool)> = Vec::new();
        for happening in happenings {
            newest += 2;
            match happening {
                Happening::Give(path, count) => {
                    let next = if path == Path::Cdn { &mut cdn } else { &mut peer };
                    for _ in 0..count {
                        if let Some(n) = next.filter(|n| *n < newest) {
                            merge.give(path, element(n, sounds));
                            *next = Some(n + 1);
                        }
                    }
                }
                Happening::Close(path) => {
                    merge.close(path);
                    *(if path == Path::Cdn { &mut cdn } else { &mut peer }) = None;
                }
                Happening::Ask(kept) => {
                    let oldest = newest.saturating_sub(kept) / 15 * 15;
                    let asked = merge.last().map(|last| last.timestamp / 10);
                    let known = asked.filter(|asked| *asked >= oldest);
                    let beginning = if known.is_some() { after_last(&merge) } else { Beginning::Anywhere };
                    merge.open(Path::Peer, beginning);
                    peer = Some(known.map_or(oldest, |asked| asked + 1));
                }
                Happening::Join => {
                    merge.open(Path::Cdn, Beginning::Anywhere);
                    cdn = Some(newest.div_ceil(15) * 15);
                }
            }
            out.extend(drain(&mut merge).into_iter().map(|w| (w.tag.timestamp / 10, w.jump)));
        }
        for pair in out.windows(2) {
            let [(before, _), (now, jump)] = pair else { unreachable!() };
            prop_assert!(now > before, "{out:?}");
            prop_assert!(*now == before + 1 || (*jump && now % 15 == 0), "a gap that is not told: {out:?}");
            // A jump may turn out to have been none: nobody was there who could say so.
        }
        if let Some((first, _)) = out.first() {
            prop_assert_eq!(first % 15, 0);
        }
    }

    /// Two sources of which one is always in step: whatever the other does, the output has no gap and is never behind
    /// that one.
    #[test]
    fn nobody_waits_for_the_slower_source(turns in proptest::collection::vec((any::<bool>(), 1u32..6), 1..100), joins_at in 0u32..40) {
        let mut merge = Merge::default();
        merge.open(Path::Cdn, Beginning::Anywhere);
        let (mut cdn, mut peer) = (0u32, None);
        let mut out = Vec::new();
        for (of_peer, count) in turns {
            for _ in 0..count {
                if of_peer && let Some(next) = &mut peer {
                    merge.give(Path::Peer, picture(*next));
                    *next += 1;
                } else {
                    merge.give(Path::Cdn, picture(cdn));
                    cdn += 1;
                }
            }
            out.extend(numbers(&drain(&mut merge)));
            if peer.is_none() && out.len() as u32 > joins_at {
                merge.open(Path::Peer, after_last(&merge));
                peer = Some(out.len() as u32);
            }
            let furthest = cdn.max(peer.unwrap_or(0));
            prop_assert_eq!(&out, &(0..furthest).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_picture_that_has_begun_comes_next_if_its_source_is_in_step_and_nothing_waits() {
    let mut merge = Merge::default();
    merge.open(Path::Peer, Beginning::Anywhere);
    assert!(!merge.comes_next(Path::Peer, 0), "nobody knows where it is in the stream");
    merge.give(Path::Peer, config(1));
    merge.give(Path::Peer, picture(0));
    assert!(!merge.comes_next(Path::Peer, 10), "the one before waits");
    drain(&mut merge);
    assert!(merge.comes_next(Path::Peer, 10));
    assert!(!merge.comes_next(Path::Peer, 0), "it may be the one that was written");
    assert!(!merge.comes_next(Path::Cdn, 10), "there is none");
    merge.give(Path::Peer, config(1));
    assert!(drain(&mut merge).is_empty() && merge.comes_next(Path::Peer, 10), "the player has these headers");
    merge.give(Path::Peer, config(2));
    assert!(drain(&mut merge).is_empty() && !merge.comes_next(Path::Peer, 10), "others come before it");
    merge.give(Path::Peer, picture(1));
    drain(&mut merge);
    assert!(merge.comes_next(Path::Peer, 20));
}

#[test]
fn after_a_re_attachment_what_was_written_already_does_not_come_next() {
    let mut merge = Merge::default();
    merge.open(Path::Peer, Beginning::Anywhere);
    (0..5).for_each(|n| merge.give(Path::Peer, picture(n)));
    drain(&mut merge);
    // Another peer is asked for what follows; before it serves, the one from before and the CDN give more.
    let asked = after_last(&merge);
    (5..7).for_each(|n| merge.give(Path::Peer, picture(n)));
    drain(&mut merge);
    merge.open(Path::Peer, asked);
    assert!(!merge.comes_next(Path::Peer, 50), "it begins with what was written meanwhile");
    assert!(!merge.comes_next(Path::Peer, 70), "and has to give that first");
    (5..7).for_each(|n| merge.give(Path::Peer, picture(n)));
    assert!(drain(&mut merge).is_empty());
    assert!(merge.comes_next(Path::Peer, 70));
    // One with other timestamps.
    let Beginning::After { number, written, .. } = after_last(&merge) else { unreachable!() };
    merge.open(Path::Peer, Beginning::After { number, written, given: written + 1000 });
    assert_eq!(merge.written_as(Path::Peer, 1070), Some(70));
    assert!(merge.comes_next(Path::Peer, 70) && !merge.comes_next(Path::Peer, 60));
}

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
use super::*;
use crate::flv::MAX_PAYLOAD;
use proptest::prelude::*;

const MS: i64 = 1_000_000;

fn hb() -> StreamKey {
    "live/hb".parse().unwrap()
}

/// A picture of `size` bytes, different for each `n`.
fn picture(n: u32, keyframe: bool, size: usize) -> Vec<u8> {
    let mut payload = vec![if keyframe { 0x12 } else { 0x22 }];
    payload.extend(n.to_be_bytes());
    payload.resize(size.max(5), n as u8);
    payload
}

fn datagrams(emitter: &mut Emitter, kind: TagKind, timestamp: u32, payload: &[u8]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    emitter.tag(kind, timestamp, payload, |bytes| out.push(bytes.to_vec())).unwrap();
    out
}

fn end(emitter: &mut Emitter) -> Vec<u8> {
    let mut out = Vec::new();
    emitter.end(|bytes| out = bytes.to_vec());
    out
}

/// Pictures of these sizes, 33 ms apart.
fn pictures(emitter: &mut Emitter, sizes: &[usize]) -> Vec<Vec<Vec<u8>>> {
    let one = |(n, size): (usize, &usize)| {
        datagrams(emitter, TagKind::Video, 33 * n as u32, &picture(n as u32, false, *size))
    };
    sizes.iter().enumerate().map(one).collect()
}

fn drain(reassembler: &mut Reassembler, now: i64) -> Vec<Given> {
    std::iter::from_fn(|| reassembler.next(now)).collect()
}

/// Numbers of tags; a loss as minus how many.
fn told(given: &[Given]) -> Vec<i64> {
    let number = |given: &Given| match given {
        Given::Tag(tag) => i64::from(tag.number),
        Given::Lost(count) => -i64::from(*count),
        Given::End => 1000,
    };
    given.iter().map(number).collect()
}

#[test]
fn the_bytes_of_one() {
    let mut emitter = Emitter::new(&hb(), 0x6400_0001);
    let all = datagrams(&mut emitter, TagKind::Video, 0x0102_0304, &picture(7, false, MAX_PART + 3));
    let [first, second] = all.as_slice() else { panic!("{} datagrams", all.len()) };
    assert_eq!((first.len(), second.len()), (1472, HEADER_LEN + 3));
    let mut expected = b"LVD\x01".to_vec();
    expected.extend(stream_number(&hb()).to_be_bytes());
    expected.extend([0x64, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4, 9, 0, 5, 163, 0, 0, 5, 160, 7, 7, 7]);
    assert_eq!(*second, expected);
    let parsed = Datagram::parse(second).unwrap();
    assert_eq!(parsed.body, Body::Part { kind: TagKind::Video, size: 1443, offset: 1440, part: &[7, 7, 7] });
    assert_eq!(Datagram::parse(&end(&mut emitter)).unwrap().body, Body::End);
    for len in 0..HEADER_LEN {
        assert_eq!(Datagram::parse(&second[..len]), Err(DatagramError::TooShort(len)));
    }
}

#[test]
fn what_is_none() {
    let good = datagrams(&mut Emitter::new(&hb(), 1), TagKind::Audio, 0, &[1, 2, 3]).remove(0);
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        Datagram::parse(&bytes).map(|_| ()).unwrap_err()
    };
    assert_eq!(changed(3, 2), DatagramError::Magic);
    assert_eq!(changed(24, 7), DatagramError::Kind(7));
    assert_eq!(changed(24, 0), DatagramError::Part { size: 3, offset: 0, part: 3 });
    assert_eq!(changed(27, 4), DatagramError::Part { size: 4, offset: 0, part: 3 });
    assert_eq!(changed(31, 1), DatagramError::Part { size: 3, offset: 1, part: 3 });
    let too_long = vec![0; MAX_PAYLOAD + 1];
    let refused = Emitter::new(&hb(), 1).tag(TagKind::Video, 0, &too_long, |_| panic!("it sends"));
    assert_eq!(refused.unwrap_err().0, MAX_PAYLOAD + 1);
}

#[test]
fn who_joins_gets_what_it_needs_with_the_next_keyframe() {
    let (metadata, config) = (b"\x02\x00\x0aonMetaData\x08", [0x17, 0, 0, 0, 0, 1]);
    let mut emitter = Emitter::new(&hb(), 1);
    datagrams(&mut emitter, TagKind::Script, 0, metadata);
    datagrams(&mut emitter, TagKind::Video, 0, &config);
    datagrams(&mut emitter, TagKind::Video, 0, &[0x17, 1, 0, 0, 0]);
    datagrams(&mut emitter, TagKind::Video, 33, &[0x27, 1, 0, 0, 0]);
    let mut reassembler = Reassembler::new(Some(stream_number(&hb())));
    for bytes in datagrams(&mut emitter, TagKind::Video, 66, &[0x17, 1, 0, 0, 0]) {
        reassembler.push(&bytes, 0).unwrap();
    }
    let given = drain(&mut reassembler, 0);
    let tag = |given: &Given| match given {
        Given::Tag(tag) => (tag.kind, tag.timestamp, tag.payload.clone()),
        other => panic!("{other:?}"),
    };
    let expected = [
        (TagKind::Script, 66, metadata.to_vec()),
        (TagKind::Video, 66, config.to_vec()),
        (TagKind::Video, 66, vec![0x17, 1, 0, 0, 0]),
    ];
    assert_eq!(given.iter().map(tag).collect::<Vec<_>>(), expected);
    assert_eq!(reassembler.counts().lost_tags, 0, "what came before is not lost to who was not there");
}

#[test]
fn who_joins_in_the_middle_of_a_tag_begins_with_the_next() {
    let all = pictures(&mut Emitter::new(&hb(), 1), &[5000, 100]);
    let mut reassembler = Reassembler::new(None);
    for bytes in all[0][1..].iter().chain(&all[1]) {
        reassembler.push(bytes, 0).unwrap();
    }
    assert_eq!(told(&drain(&mut reassembler, 0)), [1]);
    assert_eq!((reassembler.counts().lost, reassembler.counts().lost_tags), (0, 0));
}

#[test]
fn times_are_those_of_the_datagrams() {
    let all = pictures(&mut Emitter::new(&hb(), 1), &[4000]).remove(0);
    let mut reassembler = Reassembler::new(None);
    // The first part again at the end changes nothing.
    for (bytes, time) in [(&all[0], 10), (&all[2], 20), (&all[1], 30), (&all[0], 40)] {
        reassembler.push(bytes, time).unwrap();
    }
    let Some(Given::Tag(tag)) = reassembler.next(40) else { panic!() };
    assert_eq!((tag.first_ns, tag.whole_ns, tag.payload), (10, 30, picture(0, false, 4000)));
    assert_eq!(reassembler.counts().repeated, 1);
}

#[test]
fn a_lost_tag_is_given_up_when_a_later_one_has_waited_for_it() {
    let all = pictures(&mut Emitter::new(&hb(), 1), &[100, 3000, 200, 200]);
    let mut reassembler = Reassembler::new(None);
    reassembler.push(&all[0][0], 0).unwrap();
    // One of the second's three is missing, and the third comes.
    reassembler.push(&all[1][0], 0).unwrap();
    reassembler.push(&all[1][2], 0).unwrap();
    assert_eq!((told(&drain(&mut reassembler, 0)), reassembler.deadline()), (vec![0], None));
    reassembler.push(&all[2][0], 33 * MS).unwrap();
    assert_eq!(drain(&mut reassembler, 33 * MS), []);
    assert_eq!(reassembler.deadline(), Some(63 * MS));
    assert_eq!(drain(&mut reassembler, 63 * MS - 1), []);
    assert_eq!(told(&drain(&mut reassembler, 63 * MS)), [-1, 2]);
    // Then it is too late.
    reassembler.push(&all[1][1], 64 * MS).unwrap();
    reassembler.push(&all[3][0], 66 * MS).unwrap();
    assert_eq!(told(&drain(&mut reassembler, 66 * MS)), [3]);
    let counts = reassembler.counts();
    let expected = Counts { tags: 3, lost_tags: 1, datagrams: 5, lost: 1, repeated: 1, foreign: 0, ..counts };
    assert_eq!(counts, expected);
}

#[test]
fn one_that_comes_in_time_is_not_lost() {
    let all = pictures(&mut Emitter::new(&hb(), 1), &[100, 100, 100]);
    let mut reassembler = Reassembler::new(None);
    reassembler.push(&all[0][0], 0).unwrap();
    reassembler.push(&all[2][0], 0).unwrap();
    assert_eq!(told(&drain(&mut reassembler, 0)), [0]);
    reassembler.push(&all[1][0], 29 * MS).unwrap();
    assert_eq!(told(&drain(&mut reassembler, 29 * MS)), [1, 2]);
    assert_eq!(reassembler.counts().lost, 0);
}

#[test]
fn the_end_comes_after_all_the_rest_and_once() {
    let mut emitter = Emitter::new(&hb(), 1);
    let all = pictures(&mut emitter, &[100, 100]);
    let (first_end, second_end) = (end(&mut emitter), end(&mut emitter));
    let mut reassembler = Reassembler::new(None);
    for bytes in [&first_end, &all[1][0], &all[0][0], &second_end] {
        reassembler.push(bytes, 0).unwrap();
    }
    // Met with the end, all before it is not its business.
    assert_eq!(told(&drain(&mut reassembler, 0)), [1000]);
    let mut reassembler = Reassembler::new(None);
    for bytes in [&all[0][0], &first_end, &second_end] {
        reassembler.push(bytes, 0).unwrap();
    }
    assert_eq!(told(&drain(&mut reassembler, 0)), [0]);
    assert_eq!(told(&drain(&mut reassembler, 30 * MS)), [-1, 1000]);
    assert_eq!((told(&drain(&mut reassembler, i64::MAX)), reassembler.deadline()), (vec![], None));
    assert_eq!((reassembler.counts().lost, reassembler.counts().lost_tags), (1, 1));
}

#[test]
fn another_publication_and_another_stream() {
    let mut reassembler = Reassembler::new(Some(stream_number(&hb())));
    let [old, new] = [1, 2].map(|session| pictures(&mut Emitter::new(&hb(), session), &[100, 100]));
    reassembler.push(&old[0][0], 0).unwrap();
    reassembler.push(&new[0][0], 0).unwrap();
    assert_eq!(told(&drain(&mut reassembler, 0)), [0]);
    reassembler.push(&old[1][0], 0).unwrap();
    let other = pictures(&mut Emitter::new(&"live/x".parse().unwrap(), 3), &[100]).remove(0).remove(0);
    reassembler.push(&other, 0).unwrap();
    assert_eq!(drain(&mut reassembler, 0), []);
    reassembler.push(&new[1][0], 0).unwrap();
    assert_eq!(told(&drain(&mut reassembler, 0)), [1]);
    assert_eq!((reassembler.counts().foreign, reassembler.counts().lost), (2, 0));
}

#[test]
fn what_waits_is_bounded() {
    // Of each tag one part is missing: nothing is ever complete.
    let mut emitter = Emitter::new(&hb(), 1);
    let mut reassembler = Reassembler::new(None);
    let mut lost = 0;
    for n in 0..2000 {
        let all = datagrams(&mut emitter, TagKind::Video, n, &picture(n, false, 2000));
        reassembler.push(&all[0], 0).unwrap();
        lost += drain(&mut reassembler, 0)
            .iter()
            .map(|given| if let Given::Lost(n) = given { *n } else { 0 })
            .sum::<u32>();
    }
    assert!((1700..2000).contains(&lost), "{lost}");
    // The largest that there may be, each with one part of it.
    for n in 2000..2010 {
        let all = datagrams(&mut emitter, TagKind::Video, n, &vec![0x22; MAX_PAYLOAD]);
        reassembler.push(&all[0], 0).unwrap();
        drain(&mut reassembler, 0);
        assert!(reassembler.held() <= (32 << 20) + MAX_PAYLOAD, "{}", reassembler.held());
    }
    // One that is complete is not waited before for ever, however little time has passed.
    let all = datagrams(&mut emitter, TagKind::Audio, 0, &[1]);
    reassembler.push(&all[0], 0).unwrap();
    assert_eq!(drain(&mut reassembler, 0), []);
    let given = drain(&mut reassembler, 30 * MS);
    assert_eq!(told(&given).last(), Some(&2010));
}

/// Sizes of tags, and what becomes of each datagram: its turn, and whether it is lost, or comes twice.
fn journey() -> impl Strategy<Value = (Vec<usize>, Vec<(u8, u8)>)> {
    (proptest::collection::vec(5usize..6000, 1..30), proptest::collection::vec((0u8..4, 0u8..12), 160))
}

proptest! {
    /// Whatever the order and however often datagrams come: as long as none is lost and all are in time, all that was
    /// sent comes out, in order and once.
    #[test]
    fn nothing_is_lost_by_disorder((sizes, fates) in journey()) {
        let mut emitter = Emitter::new(&hb(), 1);
        let all: Vec<Vec<u8>> = pictures(&mut emitter, &sizes).concat();
        let mut order: Vec<(usize, usize)> = Vec::new();
        for (n, (delay, fate)) in (0..all.len()).zip(fates.iter().cycle()) {
            // The first stays the first: it says where one begins.
            order.push((if n == 0 { 0 } else { 1 + n + usize::from(*delay) }, n));
            if *fate == 0 {
                order.push((2 + n + 2 * usize::from(*delay), n));
            }
        }
        order.sort_unstable();
        let mut reassembler = Reassembler::new(None);
        let mut given = Vec::new();
        for (_, n) in &order {
            reassembler.push(&all[*n], 0).unwrap();
            given.extend(drain(&mut reassembler, 0));
        }
        reassembler.push(&end(&mut emitter), 0).unwrap();
        given.extend(drain(&mut reassembler, 0));
        prop_assert_eq!(given.pop(), Some(Given::End));
        for (n, (given, size)) in given.iter().zip(&sizes).enumerate() {
            let Given::Tag(tag) = given else { panic!("{given:?}") };
            prop_assert_eq!(&tag.payload, &picture(n as u32, false, *size));
        }
        let counts = reassembler.counts();
        prop_assert_eq!((given.len(), counts.lost, counts.lost_tags), (sizes.len(), 0, 0));
        prop_assert_eq!((counts.datagrams, counts.repeated), (all.len() as u64, (order.len() - all.len()) as u64));
    }

    /// Exactly the tags come out of which no datagram was lost, in order, and every other one is counted.
    #[test]
    fn what_is_lost_is_counted((sizes, fates) in journey()) {
        let mut emitter = Emitter::new(&hb(), 1);
        let all = pictures(&mut emitter, &sizes);
        let mut fates = fates.iter().cycle();
        let mut reassembler = Reassembler::new(None);
        let (mut given, mut whole, mut missing) = (Vec::new(), Vec::new(), 0u64);
        for (n, tag) in all.iter().enumerate() {
            let mut is_whole = true;
            for (part, bytes) in tag.iter().enumerate() {
                let is_lost = fates.next().unwrap().1 == 0 && (n, part) != (0, 0);
                is_whole &= !is_lost;
                missing += u64::from(is_lost);
                if !is_lost {
                    reassembler.push(bytes, 33 * MS * n as i64).unwrap();
                    given.extend(drain(&mut reassembler, 33 * MS * n as i64));
                }
            }
            if is_whole {
                whole.push(n as i64);
            }
        }
        reassembler.push(&end(&mut emitter), i64::MAX / 2).unwrap();
        given.extend(drain(&mut reassembler, i64::MAX));
        let told = told(&given);
        let (numbers, losses): (Vec<i64>, Vec<i64>) = told.iter().filter(|n| **n != 1000).partition(|n| **n >= 0);
        prop_assert_eq!(&numbers, &whole);
        prop_assert_eq!(-losses.iter().sum::<i64>(), (all.len() - whole.len()) as i64);
        prop_assert_eq!(told.last(), Some(&1000));
        let counts = reassembler.counts();
        prop_assert_eq!((counts.lost, counts.lost_tags), (missing, (all.len() - whole.len()) as u64));
    }

    #[test]
    fn what_parses_is_what_would_be_emitted(size in 0usize..3000, at in 0usize..40, byte: u8, which: prop::sample::Index) {
        let all = datagrams(&mut Emitter::new(&hb(), 9), TagKind::Video, 5, &picture(1, true, size));
        let mut bytes = all[which.index(all.len())].clone();
        let at = at.min(bytes.len() - 1);
        bytes[at] = byte;
        if let Ok(parsed) = Datagram::parse(&bytes) {
            let mut again = Vec::new();
            parsed.emit(&mut again);
            prop_assert_eq!(again, bytes);
        }
    }
}

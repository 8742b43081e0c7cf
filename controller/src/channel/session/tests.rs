//! Sessions with real and with bad switches.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use super::*;
use crate::openflow::captured;
use proptest::prelude::*;

const BOTH: [Version; 2] = [Version::V10, Version::V13];

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn begin() -> (Session, Vec<u8>) {
    (Session::begin(at(0), &BOTH, Patience::default()), Vec::new())
}

/// The messages in a stream of ours, after its HELLO.
fn sent(version: Version, mut stream: &[u8]) -> Vec<Message<'_>> {
    let mut messages = Vec::new();
    stream = stream.strip_prefix(&OUR_HELLO).unwrap_or(stream);
    while let Some(message) = header::next(stream).unwrap() {
        messages.push(version.parse(message).unwrap().1);
        stream = &stream[message.len()..];
    }
    assert!(stream.is_empty());
    messages
}

fn feed<'a>(session: &mut Session, mut stream: &'a [u8], out: &mut Vec<u8>) -> Result<Vec<Step<'a>>, Refusal> {
    let mut steps = Vec::new();
    while let Some(message) = session.next(&mut stream, out)? {
        steps.push(session.message(message, out)?);
    }
    Ok(steps)
}

fn ready(version: Version) -> (Session, Vec<u8>) {
    let (mut session, mut out) = begin();
    let captured = if version == Version::V10 { captured::ovs_10() } else { captured::ovs_13() };
    let stream: Vec<u8> = captured[..2].iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    let steps = feed(&mut session, &stream, &mut out).unwrap();
    assert!(matches!(&steps[..], [Step::Nothing, Step::Ready(features)] if features.dpid == 0xa1));
    assert_eq!(session.version(), Some(version));
    (session, out)
}

const OUR_HELLO: [u8; 16] = [4, 0, 0, 16, 0, 0, 0, 1, 0, 1, 0, 8, 0, 0, 0, 0x12];

#[test]
fn it_greets_when_it_is_greeted_or_after_a_while() {
    let (mut session, mut out) = begin();
    assert_eq!(session.time(Duration::from_millis(249), &mut out), Ok(()));
    assert!(out.is_empty());
    assert_eq!(session.time(Duration::from_millis(250), &mut out), Ok(()));
    assert_eq!(session.time(Duration::from_millis(500), &mut out), Ok(()));
    assert_eq!(out, OUR_HELLO);
    let (mut session, mut out) = begin();
    feed(&mut session, &[1, 0, 0, 8, 0, 0, 0, 1], &mut out).unwrap();
    assert!(out.starts_with(&OUR_HELLO) && out.len() == 24, "and then it asks who the switch is");
    let mut session = Session::begin(at(0), &[Version::V10], Patience::default());
    let mut out = Vec::new();
    assert_eq!(session.time(at(1), &mut out), Ok(()));
    assert_eq!(out, [1, 0, 0, 8, 0, 0, 0, 1]);
}

#[test]
fn open_vswitch_becomes_ready_and_starts_clean() {
    for version in BOTH {
        let (_, out) = ready(version);
        let messages = sent(version, &out);
        assert_eq!(messages[0], Message::FeaturesRequest);
        assert_eq!(messages[1], Message::SetConfig(Config { flags: 0, miss_send_len: 0xffff }));
        let Message::FlowMod(first) = &messages[2] else { panic!() };
        assert_eq!((first.command, first.matching), (Command::Delete, FlowMatch::ANY));
        if version == Version::V13 {
            assert_eq!(messages[3], Message::BarrierRequest);
            let Message::FlowMod(miss) = &messages[4] else { panic!() };
            assert_eq!((miss.command, miss.priority), (Command::Add, 0));
            assert_eq!((miss.matching, miss.output), (FlowMatch::ANY, Some(PortNo::CONTROLLER)));
        }
        assert_eq!(messages.last(), Some(&Message::BarrierRequest));
    }
}

#[test]
fn all_that_open_vswitch_sends_is_taken() {
    for (version, captured) in [(Version::V10, captured::ovs_10()), (Version::V13, captured::ovs_13())] {
        let (mut session, mut out) = begin();
        let stream: Vec<u8> = captured.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        let steps = feed(&mut session, &stream, &mut out).unwrap();
        let count = |is: fn(&Step<'_>) -> bool| steps.iter().filter(|step| is(step)).count();
        assert_eq!(count(|step| matches!(step, Step::PacketIn(_))), 4, "{version}");
        assert_eq!(count(|step| matches!(step, Step::FlowRemoved(_))), 1, "{version}");
        assert!(count(|step| matches!(step, Step::PortStatus(_))) >= 2, "{version}");
        assert!(count(|step| matches!(step, Step::Error(_))) >= 2, "{version}");
    }
}

#[test]
fn the_flow_that_sends_packets_up_comes_again_when_someone_deletes_it() {
    let (mut session, mut out) = ready(Version::V13);
    out.clear();
    let mut removed = Vec::new();
    let gone = FlowRemoved {
        matching: FlowMatch::ANY,
        cookie: TABLE_MISS_COOKIE,
        priority: 0,
        reason: crate::openflow::Removal::Deleted,
        duration: 5,
        idle_timeout: 0,
        packets: 7,
        bytes: 700,
    };
    Version::V13.emit(&Message::FlowRemoved(gone), 1, &mut removed).unwrap();
    assert_eq!(feed(&mut session, &removed, &mut out), Ok(vec![Step::Nothing]));
    assert_eq!(sent(Version::V13, &out), [Message::FlowMod(table_miss())]);
}

#[test]
fn what_only_controllers_send_ends_the_connection() {
    for (version, kinds) in [
        (Version::V10, &[5, 7, 9, 13, 14, 15, 16, 18, 20][..]),
        (Version::V13, &[5, 7, 9, 13, 14, 15, 16, 17, 18, 20, 22, 24, 26, 28, 29]),
    ] {
        for kind in 1..30 {
            let (mut session, mut out) = ready(version);
            let message = [version.wire(), kind, 0, 8, 0, 0, 0, 1];
            let end = feed(&mut session, &message, &mut out);
            let refused = end == Err(Refusal::Message(ParseError::Type(kind)));
            assert_eq!(refused, kinds.contains(&kind) || (version == Version::V10 && kind > 21), "{version} {kind}");
        }
    }
}

#[test]
fn a_switch_is_not_to_blame_for_a_controller_that_stood_still() {
    let (mut session, mut out) = ready(Version::V10);
    session.heard(at(10));
    session.excuse(at(60));
    assert_eq!(session.time(at(74), &mut out), Ok(()));
    assert_eq!(session.time(at(85), &mut out), Err(Refusal::Silent(at(15))));
}

/// Others may add flows too, with matches that ours never have. Their end is no reason to part.
#[test]
fn the_end_of_a_flow_of_someone_else_is_passed_over() {
    let (mut session, mut out) = ready(Version::V13);
    out.clear();
    let tcp_in_ipv6 =
        [0, 1, 0, 21, 0x80, 0, 5 << 1, 2, 0x86, 0xdd, 0x80, 0, 10 << 1, 1, 6, 0x80, 0, 14 << 1, 2, 0, 80, 0, 0, 0];
    let mut message = [&[4, 11, 0, 72, 0, 0, 0, 9][..], &[0; 40], &tcp_in_ipv6].concat();
    assert_eq!(feed(&mut session, &message, &mut out), Ok(vec![Step::Nothing]));
    assert!(out.is_empty());
    // But it must be a match.
    message[48] = 7;
    assert!(feed(&mut session, &message, &mut out).is_err());
}

/// Whatever the pieces that the stream comes in, the outcome is the same.
#[test]
fn split_anywhere() {
    let captured = captured::ovs_10();
    let stream: Vec<u8> = captured.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    for at in 0..stream.len() {
        let (mut session, mut out) = begin();
        let mut first = &stream[..at];
        let mut count = 0;
        while let Some(message) = session.next(&mut first, &mut out).unwrap() {
            session.message(message, &mut out).unwrap();
            count += 1;
        }
        let rest = [first, &stream[at..]].concat();
        count += feed(&mut session, &rest, &mut out).unwrap().len();
        assert_eq!(count, captured.len());
    }
}

#[test]
fn echo_requests_are_answered() {
    let (mut session, mut out) = ready(Version::V10);
    out.clear();
    assert_eq!(feed(&mut session, &[1, 2, 0, 10, 0, 0, 0, 9, 7, 8], &mut out), Ok(vec![Step::Nothing]));
    assert_eq!(out, [1, 3, 0, 10, 0, 0, 0, 9, 7, 8]);
}

#[test]
fn silence_is_asked_about_and_then_taken_for_death() {
    let (mut session, mut out) = ready(Version::V10);
    out.clear();
    session.heard(at(10));
    assert_eq!(session.time(at(14), &mut out), Ok(()));
    assert!(out.is_empty());
    assert_eq!(session.time(at(15), &mut out), Ok(()));
    assert!(matches!(sent(Version::V10, &out)[..], [Message::EchoRequest(_)]));
    assert_eq!(session.time(at(20), &mut out), Ok(()));
    assert_eq!(sent(Version::V10, &out).len(), 1, "asked once");
    assert_eq!(session.time(at(25), &mut out), Err(Refusal::Silent(at(15))));
    session.heard(at(25));
    assert_eq!(session.time(at(30), &mut out), Ok(()));
    assert_eq!(sent(Version::V10, &out).len(), 2, "asked again after it was heard");
}

#[test]
fn who_does_not_say_who_it_is_is_not_waited_for() {
    let (mut session, mut out) = begin();
    assert_eq!(session.time(at(9), &mut out), Ok(()));
    assert_eq!(session.time(at(10), &mut out), Err(Refusal::Handshake(at(10))));
    // One that greets has as much time again, for a generator may first connect hundreds.
    session.heard(at(9));
    feed(&mut session, &[1, 0, 0, 8, 0, 0, 0, 1], &mut out).unwrap();
    session.heard(at(18));
    assert_eq!(session.time(at(18), &mut out), Ok(()));
    assert_eq!(session.time(at(19), &mut out), Err(Refusal::Handshake(at(10))));
}

#[test]
fn no_version_in_common() {
    let (mut session, mut out) = begin();
    let refusal = feed(&mut session, &[3, 0, 0, 8, 0, 0, 0, 1], &mut out).unwrap_err();
    assert_eq!(refusal, Refusal::Versions { offered: "1.0 and 1.3", theirs: 3 });
    assert!(matches!(sent(Version::V10, &out)[..], [Message::Error(ErrorReport { kind: 0, code: 0, .. })]));
}

#[test]
fn garbage_is_refused_before_it_is_whole() {
    let refused = |stream: &[u8]| {
        let (mut session, mut out) = begin();
        let refusal = feed(&mut session, stream, &mut out).unwrap_err();
        assert!(matches!(sent(Version::V10, &out)[..], [Message::Error(ErrorReport { kind: 1, .. })]), "{refusal}");
        refusal
    };
    assert_eq!(refused(b"GET / HTTP/1.1\r\n"), Refusal::Hello(ParseError::Type(b'E')));
    assert_eq!(refused(&[1, 0, 0, 7, 0, 0, 0, 0]), Refusal::Hello(ParseError::HeaderLength(7)));
    assert_eq!(refused(&[0, 0, 0, 8, 0, 0, 0, 0]), Refusal::Hello(ParseError::Version(0)));
    assert!(matches!(refused(&[1, 0, 0xff, 0xff, 0, 0, 0, 0]), Refusal::Hello(ParseError::Length { .. })));
    let (mut session, mut out) = ready(Version::V10);
    let refusal = feed(&mut session, &[4, 10, 0xff, 0xff, 0, 0, 0, 0], &mut out).unwrap_err();
    assert_eq!(refusal, Refusal::Message(ParseError::Version(4)));
}

#[test]
fn what_a_switch_has_no_business_to_send() {
    for kind in [5, 7, 18] {
        let (mut session, mut out) = ready(Version::V10);
        out.clear();
        let refusal = feed(&mut session, &[1, kind, 0, 8, 0, 0, 0, 9], &mut out).unwrap_err();
        assert_eq!(refusal, Refusal::Message(ParseError::Type(kind)));
        assert!(matches!(sent(Version::V10, &out)[..], [Message::Error(ErrorReport { kind: 1, code: 1, .. })]));
    }
}

#[test]
fn packets_before_it_is_ready_are_passed_over() {
    let (mut session, mut out) = begin();
    let captured = captured::ovs_10();
    let packet = &captured.iter().find(|(name, _)| name == "packet-in").unwrap().1;
    let stream = [&captured[0].1[..], packet].concat();
    assert_eq!(feed(&mut session, &stream, &mut out), Ok(vec![Step::Nothing, Step::Nothing]));
}

#[test]
fn auxiliary_connections_are_refused() {
    let (mut session, mut out) = begin();
    let captured = captured::ovs_13();
    let mut features = captured[1].1.clone();
    features[21] = 1;
    let stream = [&captured[0].1[..], &features].concat();
    assert_eq!(feed(&mut session, &stream, &mut out), Err(Refusal::Auxiliary(1)));
}

proptest! {
    #[test]
    fn any_bytes(stream in proptest::collection::vec(any::<u8>(), 0..200), greeted: bool) {
        let (mut session, mut out) = if greeted { ready(Version::V10) } else { begin() };
        let _ = feed(&mut session, &stream, &mut out);
        prop_assert!(out.len() < 4096);
    }
}

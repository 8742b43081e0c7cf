//! Pictures that are passed on before they are whole: real agents, below a parent that the test plays byte by byte.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod stage;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use livectl_wire::agent_event::{Event, Path};
use livectl_wire::flv::{Content, MAX_PAYLOAD, Reader};
use livectl_wire::frame::FrameId;
use livectl_wire::heartbeat::PeerRole;
use livectl_wire::peer::{Answer, emit_request};

use stage::introducer::Introducer;
use stage::parent::{Parent, Tag};
use stage::{Agent, Running, Stage};

/// A child that reads, and passes nothing on.
struct Leaf {
    connection: TcpStream,
    /// How many of the stream's pictures it lacks, since it came later.
    first: usize,
    /// All that has come.
    bytes: Vec<u8>,
    /// It has come to its end.
    ended: bool,
}

impl Leaf {
    fn of(parent: SocketAddrV4) -> Self {
        let mut connection = TcpStream::connect(parent).unwrap();
        connection.write_all(emit_request(&"live/hb".parse().unwrap()).as_bytes()).unwrap();
        connection.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        Self { connection, first: 0, bytes: Vec::new(), ended: false }
    }

    /// Reads until that is so of all that has come.
    fn until<T>(&mut self, what: &str, is: impl Fn(&Self) -> Option<T>) -> T {
        let deadline = Instant::now() + stage::PATIENCE;
        let mut buffer = [0; 1 << 16];
        loop {
            if let Some(found) = is(self) {
                return found;
            }
            assert!(Instant::now() < deadline, "waiting for {what}: {:?}", self.tags());
            match self.connection.read(&mut buffer) {
                Ok(0) => self.ended = true,
                Ok(count) => self.bytes.extend_from_slice(&buffer[..count]),
                Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => (),
                Err(why) => panic!("{what}: {why}"),
            }
        }
    }

    /// The pictures that are whole, and how many bytes of the payload of a tag that is not.
    fn tags(&self) -> (Vec<(u32, FrameId)>, usize) {
        let Ok(Some(Answer::Stream { consumed, .. })) = Answer::parse(&self.bytes) else { return (Vec::new(), 0) };
        let (mut pictures, mut reader) = (Vec::new(), Reader::new(MAX_PAYLOAD));
        let read = reader.push(&self.bytes[consumed..], |tag| {
            if matches!(tag.content(), Content::Picture { .. }) {
                pictures.push((tag.timestamp, FrameId::of(tag.payload)));
            }
        });
        read.unwrap();
        (pictures, reader.begun().map_or(0, |begun| begun.payload.len()))
    }

    fn has(&mut self, pictures: &[Tag]) {
        let expected: Vec<_> = pictures[self.first..].iter().map(|tag| (tag.timestamp, tag.id)).collect();
        self.until("pictures", |leaf| (leaf.tags().0.len() >= expected.len()).then_some(()));
        assert_eq!(self.tags().0, expected);
    }

    fn has_begun(&mut self, bytes: usize) {
        self.until("the beginning of a picture", |leaf| (leaf.tags().1 >= bytes).then_some(()));
    }
}

/// A parent, one that stands by, a chain of two viewers with their players, and a child of the last.
struct Chain {
    stage: Stage,
    parent: Parent,
    standby: Parent,
    first: Agent,
    second: Agent,
    players: Vec<Running>,
    leaf: Leaf,
    given: Vec<Tag>,
}

const BOTH: [&str; 2] = ["first", "second"];
/// What is given within a picture: more than is held back.
const BEGINNING: usize = 60_000;

impl Chain {
    fn new(first_args: &[&str], second_args: &[&str]) -> Self {
        let stage = Stage::new();
        let (parent, standby) = (Parent::at("127.0.0.4", 0), Parent::at("127.0.0.5", 0));
        let networks = [Introducer::new(), Introducer::new()];
        let [notify, notify_second] = networks.each_ref().map(|network| network.address.to_string());
        let common = ["--once", "--end-padding", "2048", "--serve", "127.0.0.3:0", "--admit-all"];
        let mut first = stage.viewer(&[&common[..], &["--notify", &notify], first_args].concat());
        let mut second = stage.viewer(&[&common[..], &["--notify", &notify_second], second_args].concat());
        networks.iter().for_each(|network| network.has(1));
        let players = vec![stage.mplayer("first", first.listen), stage.mplayer("second", second.listen)];
        for viewer in [&mut first, &mut second] {
            viewer.until("consent to the play", |e| matches!(e, Event::PlayAccepted { .. }));
        }
        for (network, above) in networks.iter().zip([parent.address, first.peers.unwrap()]) {
            network.introduce(PeerRole::Parent, above);
            network.introduce(PeerRole::Standby, standby.address);
        }
        parent.has(1);
        second.until("its parent", |e| matches!(e, Event::PeerConnected { .. }));
        let leaf = Leaf::of(second.peers.unwrap());
        second.until("its child", |e| matches!(e, Event::PeerJoined { .. }));
        let mut chain = Self { stage, parent, standby, first, second, players, leaf, given: Vec::new() };
        for n in 0..5 {
            chain.give(&Tag::picture(n * 40, n == 0, 1500));
        }
        chain.leaf.has(&chain.given);
        chain
    }

    /// The parent gives it, and the one that stands by has it.
    fn give(&mut self, tag: &Tag) {
        self.parent.give(tag);
        self.standby.give(tag);
        self.given.push(tag.clone());
    }

    /// The parent gives the beginning of a picture, which comes to the end of the chain.
    fn begin(&mut self) -> Tag {
        let large = Tag::picture(200, true, 100_000);
        self.parent.begin(&large, BEGINNING);
        self.leaf.has_begun(BEGINNING - 1000);
        assert_eq!(self.leaf.tags().0.len(), 5, "it is no picture before it is whole");
        large
    }

    /// The one that stood by gives more, to the end, and the viewers that are left have had everything.
    fn ends(mut self, left: &[&str]) {
        self.leaf.has(&self.given);
        for n in 10..15 {
            let tag = Tag::picture(n * 40, n == 10, 1500);
            self.standby.give(&tag);
            self.given.push(tag);
        }
        self.leaf.has(&self.given);
        self.standby.give(&Tag::end(600));
        let Self { stage, first, second, mut players, leaf, given, .. } = self;
        // Until it has everything the second waits for it.
        drop(leaf);
        players.iter_mut().for_each(Running::succeeds);
        let expected: Vec<_> = given.iter().map(Tag::element).collect();
        for (mut viewer, name) in [(first, "first"), (second, "second")] {
            if !left.contains(&name) {
                continue;
            }
            viewer.ends();
            assert_eq!(stage.dump(name).elements, expected, "{name}");
            assert!(
                !viewer.has(|e| matches!(e, Event::Handover { to: Path::Cdn, .. } | Event::Jump { .. })),
                "{name}"
            );
        }
    }
}

fn lost(agent: &Agent) -> usize {
    agent.count(|e| matches!(e, Event::PeerLost { .. }))
}

#[test]
fn a_long_picture_comes_to_the_end_of_a_chain_before_it_is_whole_and_a_short_one_does_not() {
    let mut chain = Chain::new(&[], &[]);
    let large = chain.begin();
    // Who comes now gets it when it is whole.
    let mut late = Leaf::of(chain.second.peers.unwrap());
    chain.second.next("its second child", |e| matches!(e, Event::PeerJoined { .. }).then_some(()));
    chain.parent.give_rest(&large, BEGINNING);
    chain.standby.give(&large);
    chain.given.push(large);
    late.has(&chain.given);
    drop(late);
    chain.leaf.has(&chain.given);
    // A short one is not begun.
    let short = Tag::picture(240, false, 1000);
    chain.parent.begin(&short, 800);
    chain.leaf.until("that there is nothing", |leaf| idle_since(leaf, 5).then_some(()));
    assert_eq!(chain.leaf.tags().1, 0);
    chain.parent.give_rest(&short, 800);
    chain.standby.give(&short);
    chain.given.push(short);
    chain.leaf.has(&chain.given);
    chain.parent.leave();
    chain.ends(&BOTH);
}

/// Whether the last tags that a leaf was given, so many, told that there was nothing.
fn idle_since(leaf: &Leaf, count: usize) -> bool {
    let idle = b"onStreamIdle\x05\x00\x00\x00\x1b";
    let tag = 11 + 16 + 4;
    leaf.bytes.rchunks(tag).take(count).all(|tag| tag.ends_with(idle)) && leaf.bytes.len() > count * tag
}

#[test]
fn the_rest_of_a_picture_comes_from_whoever_takes_a_dead_parents_place() {
    let mut chain = Chain::new(&[], &[]);
    let large = chain.begin();
    chain.parent.leave();
    chain.first.until("its loss", |e| matches!(e, Event::PeerLost { .. }));
    chain.standby.has(1);
    // From its beginning.
    chain.standby.begin(&large, 100);
    chain.standby.give_rest(&large, 100);
    chain.given.push(large);
    assert!(!chain.first.has(|e| matches!(e, Event::CdnResumed { .. })), "the CDN has not been needed");
    assert_eq!((lost(&chain.first), lost(&chain.second)), (1, 0), "whoever is below that has not noticed");
    chain.ends(&BOTH);
}

#[test]
fn when_a_viewer_dies_within_a_picture_its_child_goes_on_with_another_parent_and_those_below_notice_nothing() {
    let mut chain = Chain::new(&[], &["--peer-silence", "0.3"]);
    let large = chain.begin();
    chain.first.process.kill();
    chain.second.until("its loss", |e| matches!(e, Event::PeerLost { .. }));
    // Who stands by for both is asked by the second alone.
    chain.standby.has(1);
    chain.standby.give(&large);
    chain.given.push(large);
    chain.leaf.has(&chain.given);
    assert!(!chain.second.has(|e| matches!(e, Event::CdnResumed { .. })), "the CDN has not been needed");
    chain.players.remove(0);
    chain.ends(&["second"]);
}

#[test]
fn while_a_parent_is_silent_within_a_picture_those_below_are_told_that_theirs_is_not() {
    // The second would take the first for dead before the first takes its parent for that.
    let mut chain = Chain::new(&["--peer-silence", "2"], &["--peer-silence", "1.5"]);
    let large = chain.begin();
    chain.first.until("its loss", |e| match e {
        Event::PeerLost { why, .. } => why.starts_with("it sent nothing for "),
        _ => false,
    });
    chain.standby.has(1);
    chain.standby.give(&large);
    chain.given.push(large);
    chain.leaf.has(&chain.given);
    assert_eq!((lost(&chain.first), lost(&chain.second)), (1, 0), "{:#?}", chain.second.seen);
    chain.ends(&BOTH);
}

#[test]
fn a_picture_that_nobody_goes_on_with_is_broken_off_and_what_follows_comes_once() {
    let mut chain = Chain::new(&[], &[]);
    chain.begin();
    chain.parent.leave();
    chain.standby.has(1);
    // It has another one in its place.
    let other = Tag::picture(200, true, 50_000);
    chain.standby.give(&other);
    chain.given.push(other);
    chain.leaf.until("its end", |leaf| leaf.ended.then_some(()));
    assert_eq!(chain.leaf.tags().0.len(), 5);
    let is_broken = |e: &Event| match e {
        Event::PeerLeft { why: Some(why), .. } => why.contains("never arrived"),
        _ => false,
    };
    chain.first.until("that its child was let go", is_broken);
    chain.second.until("its loss", |e| matches!(e, Event::PeerLost { .. }));
    chain.second.next("its parent again", |e| matches!(e, Event::PeerConnected { .. }).then_some(()));
    chain.leaf = Leaf::of(chain.second.peers.unwrap());
    chain.leaf.first = 5;
    chain.ends(&BOTH);
}

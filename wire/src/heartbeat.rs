//! Heartbeats: how the network tells an agent its peers.
//!
//! The notification service sends each agent one heartbeat a second, and more often for a while when the agent asks for it. All are
//! [`LEN`] bytes of ASCII: words separated by single spaces, padded with spaces, ending in a newline. As every heartbeat has
//! the same length, the controller can replace one inside a passing TCP segment without disturbing the connection.
//!
//! ```text
//! livectl/1 0000000042 -
//! livectl/1 0000000042 peer parent 10.0.0.1:2000 live/hb
//! livectl/1 0000000042 ack peer parent 10.0.0.1:2000 live/hb
//! livectl/1 0000000042 peer child 10.0.0.2:2000,10.0.0.3:2000 live/hb
//! livectl/1 0000000042 peer standby 10.0.0.4:2000 live/hb
//! livectl/1 0000000042 peer cdn 10.0.0.100:1935 live/hb
//! livectl/1 0000000042 peer group 239.192.7.1:2001 live/hb
//! livectl/1 0000000007 hasten
//! livectl/1 0000000008 lost 10.0.0.1:2000 live/hb
//! livectl/1 0000000009 left live/hb
//! livectl/1 0000000010 announce live/hb
//! ```
//!
//! What the controller does to one that passes:
//!
//! ```
//! use livectl_wire::heartbeat::{Heartbeat, Introduction, News, PeerRole, find};
//!
//! let passing = Heartbeat { sequence: 42, news: News::None }.emit();
//! let (offset, heartbeat) = find(&passing).next().ok_or("no heartbeat")?;
//! assert_eq!((offset, &heartbeat.news), (0, &News::None));
//!
//! let parent = Introduction { role: PeerRole::Parent, peers: vec!["10.0.0.1:2000".parse()?], stream: "live/hb".parse()? };
//! let rewritten = Heartbeat { news: News::Peer(parent), ..heartbeat }.emit();
//! assert!(rewritten.starts_with(b"livectl/1 0000000042 peer parent 10.0.0.1:2000 live/hb "));
//! assert_eq!(rewritten.len(), passing.len());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;
use std::net::SocketAddrV4;
use std::time::Duration;

use crate::stream_key::{StreamKey, StreamKeyError};

/// Length of every heartbeat in bytes, the newline included.
pub const LEN: usize = 128;

/// What every line of livectl's own protocols begins with.
pub const MAGIC: &str = "livectl/1";

/// Time between two heartbeats of the service.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// Between two heartbeats for an agent that hastens;
pub const HASTENED_INTERVAL: Duration = Duration::from_millis(100);

/// for so long after each time that it says so.
pub const HASTENED_FOR: Duration = Duration::from_secs(2);

/// Sequence numbers have ten digits and begin again at zero after this one.
pub const MAX_SEQUENCE: u64 = 9_999_999_999;

/// One heartbeat: a sequence number, and what it tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Counts heartbeats of the service on a connection; emitted modulo 10¹⁰.
    pub sequence: u64,
    /// What it tells besides that it comes.
    pub news: News,
}

/// What a heartbeat tells besides that it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Nothing: as the service sends it.
    None,
    /// The receiver has these peers: as the controller rewrites it.
    Peer(Introduction),
    /// The sender acts on this introduction: an agent's answer.
    Ack(Introduction),
    /// The sender expects to be told something: an agent asks the service for a heartbeat every [`HASTENED_INTERVAL`] for the next
    /// [`HASTENED_FOR`].
    Hasten,
    /// The sender's parent does not serve it, or no longer: an agent tells the network, and asks for another one.
    Lost {
        /// Address of the parent, as it was introduced.
        peer: SocketAddrV4,
        /// The stream that it does not give.
        stream: StreamKey,
    },
    /// The sender no longer plays or publishes that stream: an agent tells the network.
    Left(StreamKey),
    /// The sender is going to publish that stream, and serves peers already: an agent tells the network.
    Announce(StreamKey),
}

/// Peers that share a stream, as told to one of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Introduction {
    /// What the peers are to the one who is told.
    pub role: PeerRole,
    /// Where each peer is. Of a parent: where its agent serves. Of a child: the address it will come from; the port
    /// says nothing, since a child connects from any. At least one, and no more than [`Introduction::fitting`] says.
    pub peers: Vec<SocketAddrV4>,
    /// The stream that they all have in common.
    pub stream: StreamKey,
}

/// What a peer is to the one who is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeerRole {
    /// It gives the stream, from now on instead of any other.
    Parent,
    /// It will ask for the stream: it may be served.
    Child,
    /// It gives the stream when the parent does not.
    Standby,
    /// It is the CDN, and gives the stream instead of any parent. To a broadcaster: and nobody else.
    Cdn,
    /// It is a group: the switches copy to its members what the broadcaster sends there, instead of any parent. To a broadcaster: it is to send
    /// there.
    Group,
}

impl PeerRole {
    /// All roles, in the order of declaration.
    pub const ALL: &[PeerRole] =
        &[PeerRole::Parent, PeerRole::Child, PeerRole::Standby, PeerRole::Cdn, PeerRole::Group];

    /// The word in a heartbeat.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            PeerRole::Parent => "parent",
            PeerRole::Child => "child",
            PeerRole::Standby => "standby",
            PeerRole::Cdn => "cdn",
            PeerRole::Group => "group",
        }
    }

    fn named(word: &str) -> Option<Self> {
        PeerRole::ALL.iter().copied().find(|role| role.as_str() == word)
    }
}

impl fmt::Display for PeerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Introduction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peer {} ", self.role)?;
        for (at, peer) in self.peers.iter().enumerate() {
            write!(f, "{}{peer}", if at > 0 { "," } else { "" })?;
        }
        write!(f, " {}", self.stream)
    }
}

/// Why bytes are no heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeartbeatError {
    /// It has this many bytes, not [`LEN`].
    #[error("a heartbeat has {LEN} bytes, this has {0}")]
    Length(usize),
    /// It begins otherwise: not ours, or a version that this program does not speak.
    #[error("a heartbeat begins with `{MAGIC} `")]
    Magic,
    /// The sequence number is not ten digits.
    #[error("the sequence number is not ten digits")]
    Sequence,
    /// A word that has no meaning at its place.
    #[error("`{0}` means nothing at its place in a heartbeat")]
    Word(String),
    /// This text is not `a.b.c.d:port`.
    #[error("`{0}` is not an IPv4 address with a port")]
    Address(String),
    /// The stream's name cannot be one.
    #[error(transparent)]
    Stream(#[from] StreamKeyError),
    /// Everything has a meaning, but is not written as a heartbeat is: spacing, padding, leading zeros, line end, more peers than
    /// an answer has room for.
    #[error(
        "the heartbeat is not in its one form: single spaces, padding to the newline, no leading zeros, no more peers than fit"
    )]
    Form,
}

impl Heartbeat {
    /// The bytes of this heartbeat. Of more peers than fit only the first are in it, and one that introduces nobody tells nothing.
    #[must_use]
    pub fn emit(&self) -> [u8; LEN] {
        let mut bytes = [b' '; LEN];
        let sequence = self.sequence % (MAX_SEQUENCE + 1);
        // The longest text is 127 bytes (see the test), so that writing into the slice cannot come up short.
        let mut room = &mut bytes[..LEN - 1];
        let _ = match &self.news {
            News::Peer(who) | News::Ack(who) if who.peers.is_empty() => write!(room, "{MAGIC} {sequence:010} -"),
            News::None => write!(room, "{MAGIC} {sequence:010} -"),
            News::Peer(who) => write!(room, "{MAGIC} {sequence:010} {}", who.cut()),
            News::Ack(who) => write!(room, "{MAGIC} {sequence:010} ack {}", who.cut()),
            News::Hasten => write!(room, "{MAGIC} {sequence:010} hasten"),
            News::Lost { peer, stream } => write!(room, "{MAGIC} {sequence:010} lost {peer} {stream}"),
            News::Left(stream) => write!(room, "{MAGIC} {sequence:010} left {stream}"),
            News::Announce(stream) => write!(room, "{MAGIC} {sequence:010} announce {stream}"),
        };
        bytes[LEN - 1] = b'\n';
        bytes
    }

    /// Reads exactly one heartbeat. There is one way to write each: `parse(bytes)?.emit() == bytes`.
    ///
    /// # Errors
    /// When the bytes are not a heartbeat, and why.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeartbeatError> {
        let whole: &[u8; LEN] = bytes.try_into().map_err(|_| HeartbeatError::Length(bytes.len()))?;
        let text = std::str::from_utf8(whole).map_err(|_| HeartbeatError::Form)?;
        let text = text.strip_prefix(MAGIC).and_then(|rest| rest.strip_prefix(' ')).ok_or(HeartbeatError::Magic)?;
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let (digits, news) = words.split_first().ok_or(HeartbeatError::Form)?;
        if digits.len() != 10 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(HeartbeatError::Sequence);
        }
        let sequence = digits.parse().map_err(|_| HeartbeatError::Sequence)?;
        let news = match news {
            ["-"] => News::None,
            ["hasten"] => News::Hasten,
            ["peer", role, peers, stream] => News::Peer(Introduction::parse(role, peers, stream)?),
            ["ack", "peer", role, peers, stream] => News::Ack(Introduction::parse(role, peers, stream)?),
            ["lost", peer, stream] => News::Lost { peer: address(peer)?, stream: stream.parse()? },
            ["left", stream] => News::Left(stream.parse()?),
            ["announce", stream] => News::Announce(stream.parse()?),
            [] => return Err(HeartbeatError::Form),
            [word, ..] => return Err(HeartbeatError::Word((*word).to_owned())),
        };
        let heartbeat = Self { sequence, news };
        if heartbeat.emit() == *whole { Ok(heartbeat) } else { Err(HeartbeatError::Form) }
    }
}

/// What an introduction has besides its role, peers and stream, where it is longest: in an agent's answer.
const AROUND: usize = MAGIC.len() + " 0000000042 ack peer ".len() + " ".len() + " ".len() + "\n".len();

impl Introduction {
    /// How many of these peers, from the first on, fit into one heartbeat, and into the answer to it. At least one does, if there is any.
    #[must_use]
    pub fn fitting(role: PeerRole, stream: &StreamKey, peers: &[SocketAddrV4]) -> usize {
        let mut room = LEN.saturating_sub(AROUND + role.as_str().len() + stream.as_str().len());
        let fits = |peer: &&SocketAddrV4| {
            let left = room.checked_sub(length(peer));
            // Behind it a comma, if another follows.
            room = left.unwrap_or(0).saturating_sub(1);
            left.is_some()
        };
        peers.iter().take_while(fits).count()
    }

    /// As much of it as fits into a heartbeat.
    fn cut(&self) -> Cow<'_, Self> {
        match Self::fitting(self.role, &self.stream, &self.peers) {
            all if all >= self.peers.len() => Cow::Borrowed(self),
            some => Cow::Owned(Self { peers: self.peers.iter().take(some).copied().collect(), ..self.clone() }),
        }
    }

    fn parse(role: &str, peers: &str, stream: &str) -> Result<Self, HeartbeatError> {
        let role = PeerRole::named(role).ok_or_else(|| HeartbeatError::Word(role.to_owned()))?;
        let peers = peers.split(',').map(address).collect::<Result<_, _>>()?;
        Ok(Self { role, peers, stream: stream.parse()? })
    }
}

fn address(text: &str) -> Result<SocketAddrV4, HeartbeatError> {
    text.parse().map_err(|_| HeartbeatError::Address(text.to_owned()))
}

/// Bytes of an address as text.
fn length(address: &SocketAddrV4) -> usize {
    let digits = |number: u16| number.checked_ilog10().unwrap_or(0) as usize + 1;
    let octets: usize = address.ip().octets().into_iter().map(|octet| digits(octet.into())).sum();
    octets + "...:".len() + digits(address.port())
}

/// The whole heartbeats in a TCP segment's payload, with their offsets. A segment may begin or end in the middle of one and may
/// hold several; parts of heartbeats are passed over.
pub fn find(payload: &[u8]) -> impl Iterator<Item = (usize, Heartbeat)> + '_ {
    let mut from = 0usize;
    std::iter::from_fn(move || {
        while let Some(candidate) = payload.get(from..from.checked_add(LEN)?) {
            match Heartbeat::parse(candidate) {
                Ok(heartbeat) => {
                    let offset = from;
                    from += LEN;
                    return Some((offset, heartbeat));
                }
                // A newline ends whatever this was; without one in reach nothing can begin inside it.
                Err(_) => from += candidate.iter().position(|b| *b == b'\n').map_or(LEN, |at| at + 1),
            }
        }
        None
    })
}

/// Bytes after which it is known that a heartbeat tells nothing: all up to the first space of its padding.
const PLAIN: usize = MAGIC.len() + " 0000000042 - ".len();

/// The heartbeat that tells nothing and ends beyond the end of a payload, if it is there as far as that can be known: its offset and its sequence
/// number. Nothing but padding can follow.
#[must_use]
pub fn begun(payload: &[u8]) -> Option<(usize, u64)> {
    let offset = payload.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let part = payload.get(offset..).filter(|part| (PLAIN..LEN).contains(&part.len()))?;
    let mut whole = [b' '; LEN];
    whole.get_mut(..part.len())?.copy_from_slice(part);
    whole[LEN - 1] = b'\n';
    let heartbeat = Heartbeat::parse(&whole).ok()?;
    (heartbeat.news == News::None).then_some((offset, heartbeat.sequence))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    fn introduction() -> Introduction {
        Introduction {
            role: PeerRole::Parent,
            peers: vec!["10.0.0.1:2000".parse().unwrap()],
            stream: "live/hb".parse().unwrap(),
        }
    }

    fn as_a(role: PeerRole) -> Introduction {
        Introduction { role, ..introduction() }
    }

    fn lost() -> News {
        News::Lost { peer: "10.0.0.1:2000".parse().unwrap(), stream: "live/hb".parse().unwrap() }
    }

    fn children(hosts: std::ops::RangeInclusive<u8>) -> Introduction {
        let peers = hosts.map(|host| SocketAddrV4::new([10, 0, 0, host].into(), 2000)).collect();
        Introduction { role: PeerRole::Child, peers, stream: "live/hb".parse().unwrap() }
    }

    fn padded(text: &str) -> Vec<u8> {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(LEN - 1, b' ');
        bytes.push(b'\n');
        bytes
    }

    fn longest() -> Heartbeat {
        Heartbeat {
            sequence: MAX_SEQUENCE,
            news: News::Ack(Introduction {
                role: PeerRole::Standby,
                peers: vec!["255.255.255.255:65535".parse().unwrap()],
                stream: StreamKey::new("live", &"a".repeat(StreamKey::MAX_LEN - 5)).unwrap(),
            }),
        }
    }

    #[test]
    fn the_lines_of_the_architecture() {
        for (text, news) in [
            ("livectl/1 0000000042 -", News::None),
            ("livectl/1 0000000042 peer parent 10.0.0.1:2000 live/hb", News::Peer(introduction())),
            ("livectl/1 0000000042 ack peer parent 10.0.0.1:2000 live/hb", News::Ack(introduction())),
            ("livectl/1 0000000042 peer child 10.0.0.2:2000,10.0.0.3:2000 live/hb", News::Peer(children(2..=3))),
            ("livectl/1 0000000042 ack peer child 10.0.0.2:2000,10.0.0.3:2000 live/hb", News::Ack(children(2..=3))),
            ("livectl/1 0000000042 peer standby 10.0.0.1:2000 live/hb", News::Peer(as_a(PeerRole::Standby))),
            ("livectl/1 0000000042 peer cdn 10.0.0.1:2000 live/hb", News::Peer(as_a(PeerRole::Cdn))),
            ("livectl/1 0000000042 peer group 10.0.0.1:2000 live/hb", News::Peer(as_a(PeerRole::Group))),
            ("livectl/1 0000000042 hasten", News::Hasten),
            ("livectl/1 0000000042 lost 10.0.0.1:2000 live/hb", lost()),
            ("livectl/1 0000000042 left live/hb", News::Left("live/hb".parse().unwrap())),
            ("livectl/1 0000000042 announce live/hb", News::Announce("live/hb".parse().unwrap())),
        ] {
            let heartbeat = Heartbeat { sequence: 42, news };
            assert_eq!(heartbeat.emit().to_vec(), padded(text));
            assert_eq!(Heartbeat::parse(&padded(text)), Ok(heartbeat));
        }
    }

    #[test]
    fn the_longest_fits() {
        let bytes = longest().emit();
        assert_eq!(Heartbeat::parse(&bytes), Ok(longest()));
    }

    #[test]
    fn as_many_peers_as_fit() {
        let many = children(1..=20);
        assert_eq!(Introduction::fitting(many.role, &many.stream, &many.peers), 6);
        assert_eq!(Introduction::fitting(many.role, &many.stream, &many.peers[..3]), 3);
        assert_eq!(Introduction::fitting(many.role, &many.stream, &[]), 0);
        let emitted = |news: News| Heartbeat::parse(&Heartbeat { sequence: 1, news }.emit()).unwrap().news;
        assert_eq!(emitted(News::Peer(many.clone())), News::Peer(children(1..=6)));
        assert_eq!(emitted(News::Ack(many)), News::Ack(children(1..=6)));
        let nobody = Introduction { peers: vec![], ..introduction() };
        assert_eq!(emitted(News::Peer(nobody)), News::None);
        // Seven would fit if nothing had to be answered and their addresses were as short as can be.
        let seven = format!("livectl/1 0000000001 {}", children(1..=7));
        assert!(Heartbeat::parse(&padded(&seven)).is_err());
    }

    #[test]
    fn the_sequence_wraps() {
        let heartbeat = Heartbeat { sequence: MAX_SEQUENCE + 7, news: News::None };
        assert_eq!(Heartbeat::parse(&heartbeat.emit()).unwrap().sequence, 6);
    }

    #[test]
    fn one_form_only() {
        use HeartbeatError as E;
        let parse = |text: &str| Heartbeat::parse(&padded(text)).unwrap_err();
        assert_eq!(parse("livectl/2 0000000042 -"), E::Magic);
        assert_eq!(parse("livectl/1 42 -"), E::Sequence);
        assert_eq!(parse("livectl/1 +000000042 -"), E::Sequence);
        assert_eq!(parse("livectl/1 0000000042"), E::Form);
        assert_eq!(parse("livectl/1  0000000042 -"), E::Form);
        assert_eq!(parse("livectl/1 0000000042\t-"), E::Form);
        assert_eq!(parse("livectl/1 0000000042 - -"), E::Word("-".into()));
        assert_eq!(parse("livectl/1 0000000042 peer"), E::Word("peer".into()));
        assert_eq!(parse("livectl/1 0000000042 peer viewer 10.0.0.1:2000 live/hb"), E::Word("viewer".into()));
        assert_eq!(parse("livectl/1 0000000042 peer child 10.0.0.1 live/hb"), E::Address("10.0.0.1".into()));
        assert_eq!(parse("livectl/1 0000000042 peer child 10.0.0.1:02000 live/hb"), E::Form);
        assert_eq!(parse("livectl/1 0000000042 peer child 10.0.0.1:2000, live/hb"), E::Address(String::new()));
        assert_eq!(parse("livectl/1 0000000042 peer child ,10.0.0.1:2000 live/hb"), E::Address(String::new()));
        assert_eq!(parse("livectl/1 0000000042 hasten 1"), E::Word("hasten".into()));
        assert_eq!(parse("livectl/1 0000000042 ack hasten"), E::Word("ack".into()));
        assert!(matches!(parse("livectl/1 0000000042 peer child 10.0.0.1:2000 hb"), E::Stream(_)));
        let mut no_newline = Heartbeat { sequence: 1, news: News::None }.emit();
        no_newline[LEN - 1] = b' ';
        assert_eq!(Heartbeat::parse(&no_newline), Err(E::Form));
    }

    #[test]
    fn truncated_at_every_byte() {
        let bytes = longest().emit();
        for len in 0..LEN {
            assert_eq!(Heartbeat::parse(&bytes[..len]), Err(HeartbeatError::Length(len)));
            assert_eq!(find(&bytes[..len]).count(), 0);
        }
    }

    #[test]
    fn found_in_segments_that_begin_and_end_anywhere() {
        let first = Heartbeat { sequence: 8, news: News::None };
        let second = Heartbeat { sequence: 9, news: News::Peer(introduction()) };
        let stream = [first.emit(), second.emit()].concat();
        for start in 0..=LEN {
            for end in start..=2 * LEN {
                let found: Vec<_> = find(&stream[start..end]).collect();
                let mut expected = Vec::new();
                if start == 0 && end >= LEN {
                    expected.push((0, first.clone()));
                }
                if end == 2 * LEN {
                    expected.push((LEN - start, second.clone()));
                }
                assert_eq!(found, expected, "{start}..{end}");
            }
        }
    }

    fn any_address() -> impl Strategy<Value = SocketAddrV4> {
        // Short ones too, of which many fit.
        let ip = prop_oneof![any::<u32>(), any::<u32>().prop_map(|ip| ip & 0x0707_0707)];
        let port = prop_oneof![any::<u16>(), 0u16..10];
        (ip, port).prop_map(|(ip, port)| SocketAddrV4::new(ip.into(), port))
    }

    /// With more peers than fit, too.
    fn any_introduction() -> impl Strategy<Value = Introduction> {
        let stream = ("[A-Za-z0-9._-]{1,31}", "[A-Za-z0-9._-]{1,31}");
        let peers = proptest::collection::vec(any_address(), 1..12);
        (proptest::sample::select(PeerRole::ALL), peers, stream).prop_map(|(role, peers, (app, name))| Introduction {
            role,
            peers,
            stream: StreamKey::new(&app, &name).unwrap(),
        })
    }

    fn any_heartbeat() -> impl Strategy<Value = Heartbeat> {
        let fitting = || any_introduction().prop_map(|who| who.cut().into_owned());
        let news = prop_oneof![
            Just(News::None),
            Just(News::Hasten),
            fitting().prop_map(News::Peer),
            fitting().prop_map(News::Ack),
            fitting().prop_map(|who| News::Lost { peer: who.peers[0], stream: who.stream }),
            fitting().prop_map(|who| News::Left(who.stream)),
            fitting().prop_map(|who| News::Announce(who.stream)),
        ];
        (0..=MAX_SEQUENCE, news).prop_map(|(sequence, news)| Heartbeat { sequence, news })
    }

    proptest! {
        #[test]
        fn round_trip(heartbeat in any_heartbeat()) {
            prop_assert_eq!(Heartbeat::parse(&heartbeat.emit()), Ok(heartbeat));
        }

        /// Those that fit are in it, in order; one more would not have fitted the answer.
        #[test]
        fn fitting_is_exact(who in any_introduction()) {
            let fits = Introduction::fitting(who.role, &who.stream, &who.peers);
            prop_assert!(fits >= 1);
            let heard = Heartbeat::parse(&Heartbeat { sequence: 1, news: News::Peer(who.clone()) }.emit()).unwrap();
            let expected = Introduction { peers: who.peers[..fits].to_vec(), ..who.clone() };
            prop_assert_eq!(heard.news, News::Peer(expected));
            if fits < who.peers.len() {
                let more = Introduction { peers: who.peers[..=fits].to_vec(), ..who };
                let answer = format!("livectl/1 0000000001 ack {more}\n");
                prop_assert!(answer.len() > LEN, "{}", answer);
            }
        }

        #[test]
        fn what_parses_is_what_would_be_emitted(heartbeat in any_heartbeat(), at in 0..LEN, byte: u8) {
            let mut bytes = heartbeat.emit();
            bytes[at] = byte;
            if let Ok(parsed) = Heartbeat::parse(&bytes) {
                prop_assert_eq!(parsed.emit(), bytes);
            }
        }

        #[test]
        fn found_after_any_line(before in proptest::collection::vec(any::<u8>(), 0..200), heartbeat in any_heartbeat()) {
            let mut bytes = before;
            bytes.push(b'\n');
            let at = bytes.len();
            bytes.extend(heartbeat.emit());
            prop_assert_eq!(find(&bytes).last(), Some((at, heartbeat)));
        }
    }

    #[test]
    fn one_that_has_begun_is_known_once_nothing_else_can_come() {
        let plain = Heartbeat { sequence: 42, news: News::None }.emit();
        let told = Heartbeat { sequence: 42, news: News::Peer(introduction()) }.emit();
        for end in 0..=LEN {
            assert_eq!(begun(&plain[..end]), (PLAIN..LEN).contains(&end).then_some((0, 42)), "{end}");
            assert_eq!(begun(&told[..end]), None);
            let behind_another = [&told[..], &plain[..end]].concat();
            assert_eq!(begun(&behind_another), (PLAIN..LEN).contains(&end).then_some((LEN, 42)), "{end}");
        }
        assert_eq!(begun(&plain[1..]), None);
    }
}

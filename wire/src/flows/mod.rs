//! Frames out of a capture: every RTMP and peer connection in it, both directions, and what was sent to groups, with the time at which each
//! frame had arrived.

mod direction;
mod group;
mod segments;

use std::collections::HashMap;
use std::io::Read;
use std::net::SocketAddr;

use self::direction::Direction;
use self::group::Groups;
use crate::assembler::Counts;
use crate::capture::{self, CaptureError, CaptureFacts, Packet, TcpPacket};
use crate::frame::FrameId;
use crate::{StreamKey, http, peer, rtmp};

/// A frame that passed the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Identity of its payload; in segments, where the container is another, of [its picture](crate::avc::Picture).
    pub id: FrameId,
    /// Its timestamp as it was sent.
    pub timestamp_ms: u32,
    /// Bytes of its payload; in segments, of its PES packet's.
    pub size: u32,
    /// It can be decoded without any before it.
    pub keyframe: bool,
    /// When its last missing byte was there (the headers of its chunks or of its tag count, the tag size after it too): nanoseconds since
    /// 1970. Bytes of others between its own do not matter, nor do gaps before it.
    pub time_ns: i64,
    /// When the first of its bytes was there.
    pub first_byte_ns: i64,
}

/// Which protocol a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// RTMP, to or from server port 1935.
    Rtmp,
    /// A request line one way, FLV the other way, server port 2000.
    Peer,
    /// Segments of a stream by HTTP, server port 80.
    Hls,
    /// Datagrams to a group, of the stream of [that number](crate::datagram::stream_number).
    Group(u32),
}

/// One direction of a connection, or what someone sent to a group.
#[derive(Debug, Clone)]
pub struct Flow {
    /// Address and port of its sender.
    pub from: SocketAddr,
    /// Address and port of its receiver, or of the group.
    pub to: SocketAddr,
    /// Which protocol it speaks.
    pub protocol: Protocol,
    /// The stream that the connection's client published or asked for; `None` if that was not seen. Datagrams do not name theirs, but
    /// [number](Protocol::Group) it.
    pub stream: Option<StreamKey>,
    /// The frames in it, in the order in which they were complete.
    pub frames: Vec<Arrival>,
    /// Which of the frames each begin a segment, by index; of segments alone.
    pub segments: Vec<usize>,
    /// Video messages that cannot be identified because the capture lacks bytes of them.
    pub damaged: u64,
    /// What became of its bytes; `delivered` is how many there were, each counted once.
    pub counts: Counts,
    /// Of the bytes that are missing, those that never arrived: its receiver never acknowledged them, nor what came behind, which is not read.
    pub lost: u64,
    /// What could not be read, for people.
    pub problems: Vec<String>,
    /// From somewhere on nothing could be read, perhaps from the beginning: what frames there were is not known.
    pub unread: bool,
}

impl Flow {
    /// Whether the capture misses what was there, so that it is not known which frames there were. Bytes that were lost on the way and not
    /// sent again in time are not such a hole: those frames did not arrive.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.unread || self.counts.missing > self.lost
    }

    /// Whether it goes from the server to the client, who asks for a stream or publishes it, or from a broadcaster to a group.
    #[must_use]
    pub fn is_from_server(&self) -> bool {
        matches!(self.protocol, Protocol::Group(_)) || Protocol::of(self.from.port()) == Some(self.protocol)
    }
}

impl Protocol {
    /// The protocol of a server at that port.
    fn of(port: u16) -> Option<Self> {
        match port {
            rtmp::PORT => Some(Protocol::Rtmp),
            peer::PORT => Some(Protocol::Peer),
            http::PORT => Some(Protocol::Hls),
            _ => None,
        }
    }
}

/// What reading may keep in memory, whatever the capture holds.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Connections that are read; the packets of further ones are counted.
    connections: usize,
    /// Bytes that wait for gaps to be filled, in all connections together. Beyond, gaps count as lost by the capture.
    waiting: usize,
}

impl Default for Limits {
    /// 16,384 connections, about 2 KB each, and 64 MiB.
    fn default() -> Self {
        Self { connections: 1 << 14, waiting: 1 << 26 }
    }
}

/// Reads the flows of a capture. Memory does not grow with the file but for [`Flow::frames`], whose entries have 48 bytes each.
///
/// ```
/// # use livectl_wire::flows;
/// let capture = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/captures/rtmp-128-flv1.pcap");
/// let (flows, facts) = flows::read(std::fs::File::open(capture)?)?;
/// assert_eq!(facts.problems, [""; 0]);
/// for flow in &flows {
///     assert!(!flow.is_damaged());
///     for frame in &flow.frames {
///         println!("{} was whole at {} ns", frame.id, frame.time_ns);
///     }
/// }
/// # assert!(flows.iter().any(|flow| !flow.frames.is_empty()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// When it is no capture.
pub fn read(source: impl Read) -> Result<(Vec<Flow>, CaptureFacts), CaptureError> {
    read_within(Limits::default(), source)
}

fn read_within(limits: Limits, source: impl Read) -> Result<(Vec<Flow>, CaptureFacts), CaptureError> {
    let (mut connections, mut groups) = (Connections::new(limits), Groups::default());
    let mut facts = capture::read_packets(source, |packet| match packet {
        Packet::Tcp(packet) => connections.take(&packet),
        Packet::Udp(packet) => groups.take(&packet),
    })?;
    if connections.beyond > 0 {
        let (beyond, most) = (connections.beyond, limits.connections);
        facts
            .problems
            .push(format!("{beyond} packets are of further connections than the first {most}; they were not read"));
    }
    facts.problems.extend(groups.problem());
    let flows = connections.finish().into_iter().chain(groups.finish());
    Ok((flows.collect(), facts))
}

/// The connections of a capture, put together packet by packet.
struct Connections {
    limits: Limits,
    all: Vec<Connection>,
    /// The latest connection between a client and a server.
    open: HashMap<(SocketAddr, SocketAddr), usize>,
    /// Bytes that wait behind gaps, in all of them.
    waiting: usize,
    /// Packets of connections beyond [`Limits`].
    beyond: u64,
}

struct Connection {
    client: SocketAddr,
    server: SocketAddr,
    protocol: Protocol,
    up: Direction,
    down: Direction,
}

impl Connections {
    fn new(limits: Limits) -> Self {
        Self { limits, all: Vec::new(), open: HashMap::new(), waiting: 0, beyond: 0 }
    }

    fn take(&mut self, packet: &TcpPacket<'_>) {
        let (client, server, down) = match (Protocol::of(packet.from.port()), Protocol::of(packet.to.port())) {
            (Some(protocol), _) => (packet.to, (packet.from, protocol), true),
            (None, Some(protocol)) => (packet.from, (packet.to, protocol), false),
            (None, None) => return,
        };
        let key = (client, server.0);
        let known = self.open.get(&key).copied().filter(|index| {
            let connection = self.all.get(*index);
            let direction = connection.map(|c| if down { &c.down } else { &c.up });
            direction.is_some_and(|direction| !direction.is_restarted_by(packet))
        });
        let index = match known {
            Some(index) => index,
            None if self.all.len() >= self.limits.connections => {
                self.beyond += 1;
                return;
            }
            None => {
                self.all.push(Connection::new(client, server.0, server.1));
                self.open.insert(key, self.all.len() - 1);
                self.all.len() - 1
            }
        };
        let Some(connection) = self.all.get_mut(index) else { return };
        let Connection { up, down: from_server, .. } = connection;
        let (direction, other) = if down { (from_server, up) } else { (up, from_server) };
        if let Some(number) = packet.acknowledged {
            other.acknowledge(number);
        }
        let others = self.waiting - direction.waiting();
        direction.take(packet);
        while others + direction.waiting() > self.limits.waiting && direction.give_up_gap() {}
        self.waiting = others + direction.waiting();
    }

    fn finish(self) -> Vec<Flow> {
        self.all.into_iter().flat_map(Connection::finish).collect()
    }
}

impl Connection {
    fn new(client: SocketAddr, server: SocketAddr, protocol: Protocol) -> Self {
        let (up, down) = match protocol {
            Protocol::Rtmp => (Direction::rtmp(), Direction::rtmp()),
            Protocol::Hls => (Direction::fetching(), Direction::segments()),
            // No connection carries datagrams.
            Protocol::Peer | Protocol::Group(_) => (Direction::request(), Direction::reply()),
        };
        Self { client, server, protocol, up, down }
    }

    fn finish(self) -> [Flow; 2] {
        let Self { client, server, protocol, up, down } = self;
        let (up, down) = (up.finish(), down.finish());
        let stream = up.stream.clone();
        [(client, server, up), (server, client, down)].map(|(from, to, direction)| Flow {
            from,
            to,
            protocol,
            stream: stream.clone(),
            frames: direction.frames,
            segments: direction.segments,
            damaged: direction.damaged,
            counts: direction.counts,
            lost: direction.lost,
            unread: direction.unread,
            problems: direction.problems.into_iter().map(|problem| format!("{from} to {to}: {problem}")).collect(),
        })
    }
}

#[cfg(test)]
mod tests;

//! Whether a member is still there, although it says nothing.
//!
//! The end of a connection that has flows is not seen: its FIN passes in them. All that shows is that the flows
//! end, 75 s after the last packet. But they also do so when a viewer pauses (it has the stream from a peer, and
//! keeps its connection to the CDN as a way out). To tell one from the other it is asked: by a TCP segment as the
//! server could have sent it, with nothing in it and with numbers that cannot be right. Whoever has that connection
//! open answers with an acknowledgement, and is not disturbed; whoever has not answers with a reset (RFC 9293,
//! sections 3.10.7.1 and 3.10.7.4). Only a member that does not answer has gone without a word.
//!
//! While it is quiet it has no flows, so that its FIN is seen at once. It gets them again when it has said more than
//! a few words.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::frame::{ARP, Frame, IPV4, TCP};
use crate::mac::MacAddr;

use super::connection::{Connection, Direction};
use super::passing::VIDEO_IDLE;

/// Who is silent for so long is asked.
const SILENCE: Duration = Duration::from_secs(VIDEO_IDLE as u64);
/// For so long,
const ASKED_FOR: Duration = Duration::from_secs(10);
/// and so often: Linux answers no sooner than half a second after the last time. The numbers of the segment differ
/// each time.
const ASKED_EVERY: Duration = Duration::from_secs(1);
/// The number of the first question.
pub const FIRST: u32 = 1;
/// Bytes that one who is quiet may say without flows: commands and pings, but no video.
const FEW_WORDS: usize = 4096;
/// They are counted again after so long without any.
const PAUSE: Duration = Duration::from_secs(10);
/// Why one is asked whose host has connected to the notification service again.
const ANEW: &str = "anew";

/// What is known of a member's being there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence {
    state: State,
    stations: Stations,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It has flows: packets of its stream pass.
    Streaming,
    /// Its flows are gone since then, for a reason that says nothing of it.
    Unsure { since: Duration },
    /// It is asked since then, because it was silent, because its flows were gone for long or because its host has
    /// come again.
    Asked { since: Duration, times: u32, why: &'static str },
    /// It answered, and has no flows.
    Quiet { last: Duration, said: usize },
}

/// What is to be done about a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing is to be done for now.
    Wait,
    /// Send it the segment of this number.
    Ask(u32),
    /// It is gone, for this reason.
    Gone(&'static str),
}

/// What to do with a packet of a member at its edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// Send it on, without a flow.
    Pass,
    /// Send it on with a flow for its direction.
    Flow,
    /// Send it on when both directions have their flows.
    BothFlows,
}

impl Presence {
    /// It plays or publishes: these are its stations.
    #[must_use]
    pub fn new(stations: Stations) -> Self {
        Self { state: State::Streaming, stations }
    }

    /// Its flows ended because they were not used.
    pub fn on_idle(&mut self, now: Duration) -> Step {
        match self.state {
            State::Streaming | State::Unsure { .. } => self.ask(now, "idle"),
            // It was the other direction's turn.
            State::Asked { .. } | State::Quiet { .. } => Step::Wait,
        }
    }

    fn ask(&mut self, now: Duration, why: &'static str) -> Step {
        self.state = State::Asked { since: now, times: FIRST, why };
        Step::Ask(FIRST)
    }

    /// Its host counted as gone, and has connected to the notification service again: either the agent has lost its
    /// connection, or the host has lost everything and there is another agent, which knows nothing of this member's
    /// connection.
    pub fn doubt(&mut self, now: Duration) -> Step {
        match &mut self.state {
            State::Asked { why, .. } => {
                *why = ANEW;
                Step::Wait
            }
            _ => self.ask(now, ANEW),
        }
    }

    /// Whether it has not answered to that yet.
    #[must_use]
    pub fn is_doubted(&self) -> bool {
        matches!(self.state, State::Asked { why: ANEW, .. })
    }

    /// Its flows were deleted, or its switch is gone.
    pub fn on_flows_gone(&mut self, now: Duration) {
        if !matches!(self.state, State::Unsure { .. }) {
            self.state = State::Unsure { since: now };
        }
    }

    /// The same, of one of its flows alone: if it was us, that is known.
    pub fn on_flow_deleted(&mut self, now: Duration) {
        if self.state == State::Streaming {
            self.state = State::Unsure { since: now };
        }
    }

    /// A packet of it came up at its edge, with so much in it.
    pub fn on_packet(&mut self, now: Duration, direction: Direction, payload: usize) -> Treatment {
        match &mut self.state {
            State::Streaming => Treatment::Flow,
            State::Unsure { .. } => {
                self.state = State::Streaming;
                Treatment::Flow
            }
            State::Asked { .. } if direction == Direction::ToServer => {
                self.state = State::Quiet { last: now, said: payload };
                Treatment::Pass
            }
            // It is not the member who speaks.
            State::Asked { .. } => Treatment::Pass,
            State::Quiet { last, said } => {
                if now >= *last + PAUSE {
                    *said = 0;
                }
                if direction == Direction::ToServer {
                    *last = now;
                }
                *said += payload;
                if *said <= FEW_WORDS {
                    return Treatment::Pass;
                }
                self.state = State::Streaming;
                Treatment::BothFlows
            }
        }
    }

    /// Time has passed.
    pub fn on_tick(&mut self, now: Duration) -> Step {
        match &mut self.state {
            State::Asked { since, why, .. } if now >= *since + ASKED_FOR => Step::Gone(why),
            State::Asked { since, times, .. } if now >= *since + ASKED_EVERY * *times => {
                *times += 1;
                Step::Ask(*times)
            }
            State::Unsure { since } if now >= *since + SILENCE => self.ask(now, "lost"),
            State::Quiet { last, .. } if now >= *last + SILENCE => self.ask(now, "idle"),
            State::Streaming | State::Unsure { .. } | State::Asked { .. } | State::Quiet { .. } => Step::Wait,
        }
    }

    /// It was taken for gone and is there: the next packet shall have its flow.
    pub fn goes_on(&mut self) {
        self.state = State::Streaming;
    }

    /// The station that it is.
    #[must_use]
    pub fn station(&self) -> MacAddr {
        self.stations.client
    }

    /// An announcement of where it is.
    #[must_use]
    pub fn announcement(&self, connection: &Connection) -> Vec<u8> {
        self.stations.announcement(*connection.client.ip())
    }

    /// The frame that asks.
    #[must_use]
    pub fn question(&self, connection: &Connection, number: u32) -> Vec<u8> {
        self.stations.keepalive(connection, number)
    }
}

/// The two ends of a connection as its client's link shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stations {
    client: MacAddr,
    server: MacAddr,
    /// Id and priority.
    vlan: Option<(u16, u8)>,
}

impl Stations {
    /// Those of the connection that a frame belongs to.
    #[must_use]
    pub fn of(frame: &Frame<'_>, direction: Direction) -> Self {
        let (client, server) = match direction {
            Direction::ToServer => (frame.src, frame.dst),
            Direction::ToClient => (frame.dst, frame.src),
        };
        Self { client, server, vlan: frame.vlan }
    }

    /// What a host says of itself when it comes: an ARP request for its own address (RFC 5227, section 2.3).
    fn announcement(&self, address: Ipv4Addr) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.extend(MacAddr::BROADCAST.0);
        out.extend(self.client.0);
        self.tag(&mut out);
        out.extend(ARP.to_be_bytes());
        // RFC 826: Ethernet and IPv4, their lengths, a request.
        out.extend([0, 1, 8, 0, 6, 4, 0, 1]);
        out.extend(self.client.0);
        out.extend(address.octets());
        out.extend([0; 6]);
        out.extend(address.octets());
        out
    }

    fn tag(&self, out: &mut Vec<u8>) {
        if let Some((id, priority)) = self.vlan {
            out.extend([0x81, 0x00]);
            out.extend((u16::from(priority) << 13 | id).to_be_bytes());
        }
    }

    /// A segment from server to client that acknowledges something and holds nothing. Its numbers are far from those
    /// of every other number's: at most one of them can happen to be inside the client's window, where it would go
    /// unanswered.
    fn keepalive(&self, connection: &Connection, number: u32) -> Vec<u8> {
        let Connection { client, server } = connection;
        let mut out = Vec::with_capacity(64);
        out.extend(self.client.0);
        out.extend(self.server.0);
        self.tag(&mut out);
        out.extend(IPV4.to_be_bytes());
        // RFC 791, section 3.1: 40 bytes, not to be fragmented.
        let [a, b, c, d] = server.ip().octets();
        let [e, f, g, h] = client.ip().octets();
        let mut ip = [0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, TCP, 0, 0, a, b, c, d, e, f, g, h];
        let [high, low] = checksum(ip.as_chunks().0).to_be_bytes();
        [ip[10], ip[11]] = [high, low];
        let [s1, s2] = server.port().to_be_bytes();
        let [c1, c2] = client.port().to_be_bytes();
        // The golden section of the circle: multiples of it keep the greatest distance.
        let [n1, n2, n3, n4] = number.wrapping_mul(0x9e37_79b9).to_be_bytes();
        let mut tcp = [s1, s2, c1, c2, n1, n2, n3, n4, n1, n2, n3, n4, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0];
        // RFC 9293, section 3.1, with the pseudo header: both addresses, the protocol and the length.
        let pseudo = [a, b, c, d, e, f, g, h, 0, TCP, 0, 20];
        let covered: Vec<u8> = pseudo.into_iter().chain(tcp).collect();
        let [high, low] = checksum(covered.as_chunks().0).to_be_bytes();
        [tcp[16], tcp[17]] = [high, low];
        out.extend(ip);
        out.extend(tcp);
        out
    }
}

/// RFC 1071.
fn checksum(words: &[[u8; 2]]) -> u16 {
    let sum: u32 = words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

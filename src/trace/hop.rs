//! A frame's way, hop by hop: over which edge, when it left the one end and when it was whole at the other. From what
//! was captured at the hosts that passed it on.
//!
//! A frame *leaves* a host when the first of its bytes enters the link there, and is *whole* at the next when the
//! last of its missing bytes has arrived. Between birth and leaving it waits in the sender: in the encoder's queue,
//! in TCP's, for the window and for the pace that is set. From leaving to arrival it is on the link, whose queue
//! counts as part of it.
//!
//! What an emulated link takes is captured as it enters. With netem the link's delay sits before the interface, where
//! the capture is: there a packet is seen a link's delay after it entered, and that delay is taken off again. The
//! queue of a netem link is then on the sender's side. If such a link has jitter, the moment of leaving is not known.

use std::net::SocketAddr;
use std::time::Duration;

use livectl_wire::frame::FrameId;

use super::flows::{Flow, Protocol};
use super::pairing::Pairing;
use super::trial::{FirstArrival, FrameDelay};
use crate::plan::delivery::{Carrier, Via};

/// A frame's way over one edge. Times are nanoseconds of CLOCK_REALTIME.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop {
    /// The host that sent it, as an index into the plan's; `None`: no host has that address.
    pub from: Option<usize>,
    /// What it went over.
    pub carrier: Carrier,
    /// When the first of its bytes left there; `None`: not captured.
    pub left_ns: Option<i64>,
    /// When the last of its missing bytes was at the other end.
    pub whole_ns: i64,
}

/// The hops of the first whole copy of a frame, in order; none if it did not arrive.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Way {
    /// As far back from the viewer as was captured.
    pub hops: Vec<Hop>,
    /// The first hop begins at the broadcaster: all of the way is known.
    pub is_whole: bool,
}

/// What a frame's delay is made of, in nanoseconds. The parts add up to it. One is negative if a packet was captured
/// before the moment that it is measured against: by microseconds, since a birth is stamped by a program and a packet
/// by the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    /// Through the CDN.
    Cdn {
        /// From birth to leaving the broadcaster.
        queue: i64,
        /// From there until all of it was at the CDN.
        uplink: i64,
        /// From there to leaving the CDN: in nginx-rtmp, and in TCP's queue.
        dwell: i64,
        /// From there until all of it was at the viewer.
        downlink: i64,
    },
    /// From peer to peer, or copied by switches.
    Peer {
        /// From birth to leaving the broadcaster.
        queue: i64,
        /// On the links from there to the viewer.
        transfer: i64,
        /// In those that passed it on: from when all of it was there to leaving there. Nothing where it left before
        /// it was whole.
        relay: i64,
    },
}

impl Way {
    /// When it left the broadcaster.
    #[must_use]
    pub fn sent_ns(&self) -> Option<i64> {
        self.hops.first().filter(|_| self.is_whole)?.left_ns
    }

    /// Who passed it on, in order, as indices into the plan's hosts; `None`: not all of the way is known.
    pub fn relays(&self) -> Option<impl Iterator<Item = usize>> {
        self.hops.get(1..).filter(|_| self.is_whole).map(|hops| hops.iter().filter_map(|hop| hop.from))
    }

    /// How long it was with them; `None`: not all of the way is known, or not when it left them. Where a frame began
    /// to leave before it was whole (cut-through) it was on both links at once, and waited for nobody.
    #[must_use]
    pub fn relayed_ns(&self) -> Option<i64> {
        let stays = self.hops.windows(2).map(|pair| Some(pair[1].left_ns?.checked_sub(pair[0].whole_ns)?.max(0)));
        stays.sum::<Option<i64>>().filter(|_| self.is_whole)
    }

    /// When it was whole at the CDN, if the CDN served it.
    #[must_use]
    pub fn cdn_arrival_ns(&self) -> Option<i64> {
        let [.., up, down] = self.hops.as_slice() else { return None };
        (down.carrier.via() == Via::Cdn).then_some(up.whole_ns)
    }

    /// When it left the CDN, if the CDN served it.
    #[must_use]
    pub fn cdn_departure_ns(&self) -> Option<i64> {
        self.hops.last().filter(|last| last.carrier.via() == Via::Cdn)?.left_ns
    }
}

impl FrameDelay {
    /// What its delay is made of; `None` if it did not arrive, or not all of its way was captured.
    #[must_use]
    pub fn parts(&self) -> Option<Parts> {
        let arrival = self.arrival?;
        let sent = self.way.sent_ns()?;
        let queue = sent.checked_sub(self.birth_ns)?;
        Some(match arrival.carrier.via() {
            Via::Peer | Via::Group => {
                let relay = self.way.relayed_ns()?;
                Parts::Peer { queue, transfer: arrival.time_ns.checked_sub(sent)?.checked_sub(relay)?, relay }
            }
            Via::Cdn => {
                let (at_cdn, left_cdn) = (self.way.cdn_arrival_ns()?, self.way.cdn_departure_ns()?);
                Parts::Cdn {
                    queue,
                    uplink: at_cdn.checked_sub(sent)?,
                    dwell: left_cdn.checked_sub(at_cdn)?,
                    downlink: arrival.time_ns.checked_sub(left_cdn)?,
                }
            }
        })
    }
}

impl From<Protocol> for Carrier {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Rtmp => Carrier::Rtmp,
            Protocol::Peer => Carrier::Peer,
            Protocol::Hls => Carrier::Hls,
            Protocol::Group(_) => Carrier::Group,
        }
    }
}

/// A flow, and what is to be known of where it was captured.
#[derive(Debug, Clone)]
pub(super) struct Captured {
    pub flow: Flow,
    /// How long before it was captured a packet that leaves entered the link; `None`: not known.
    pub entered_before: Option<Duration>,
}

/// A stream's frames in one flow.
pub(super) struct Sighting {
    from: SocketAddr,
    to: SocketAddr,
    carrier: Carrier,
    /// For each frame born: when it left here, and when all of it had been seen here.
    times: Vec<Option<Times>>,
}

#[derive(Debug, Clone, Copy)]
struct Times {
    left_ns: Option<i64>,
    whole_ns: i64,
}

impl Sighting {
    pub fn new(captured: &Captured, pairing: &Pairing<'_>, born: usize) -> Self {
        let Captured { flow, entered_before } = captured;
        let frames: Vec<(FrameId, u32)> = flow.frames.iter().map(|frame| (frame.id, frame.timestamp_ms)).collect();
        let mut times = vec![None; born];
        let before = entered_before.and_then(|before| i64::try_from(before.as_nanos()).ok());
        for (frame, of) in flow.frames.iter().zip(pairing.pair(&frames).of) {
            // Of several copies on one connection the first is what arrived first.
            if let Some(seen) = of.and_then(|index| times.get_mut(index)).filter(|seen| seen.is_none()) {
                let left_ns = before.and_then(|before| frame.first_byte_ns.checked_sub(before));
                *seen = Some(Times { left_ns, whole_ns: frame.time_ns });
            }
        }
        Self { from: flow.from, to: flow.to, carrier: flow.protocol.into(), times }
    }

    fn of(&self, index: usize) -> Option<Times> {
        self.times.get(index).copied().flatten()
    }
}

/// What was seen of a stream at a host.
pub(super) struct AtHost {
    /// Index into the plan's hosts.
    pub host: usize,
    /// Arriving there.
    pub into: Vec<Sighting>,
    /// Leaving there.
    pub out_of: Vec<Sighting>,
}

/// Where a stream's frames were seen: at the hosts that sent any.
pub(super) struct Sightings {
    /// The host that they come from.
    pub broadcaster: usize,
    /// One for each such host.
    pub at: Vec<AtHost>,
}

impl Sightings {
    /// The way of the frame with that index, which arrived so. `host_of` tells which host has an address.
    pub fn way(&self, index: usize, arrival: FirstArrival, host_of: impl Fn(SocketAddr) -> Option<usize>) -> Way {
        let mut way = Way::default();
        let mut hop = Some((arrival.from, arrival.to, arrival.carrier, arrival.time_ns));
        // No host passes a frame on twice: there are no more hops than hosts, whatever the captures say.
        while let Some((from, to, carrier, whole_ns)) = hop.filter(|_| way.hops.len() <= self.at.len()) {
            let host = host_of(from);
            let here = host.and_then(|host| self.at.iter().find(|at| at.host == host));
            // A pair of addresses may have served twice; what left later than the arrival is not it.
            // What is sent to a group goes to no host's address.
            let same = here.into_iter().flat_map(|at| &at.out_of).filter(|seen| {
                seen.from == from && seen.carrier == carrier && (seen.to == to || carrier == Carrier::Group)
            });
            let left = same.filter_map(|seen| seen.of(index)?.left_ns).filter(|left| *left <= arrival.time_ns);
            way.hops.push(Hop { from: host, carrier, left_ns: left.max(), whole_ns });
            way.is_whole = host == Some(self.broadcaster);
            hop = here.filter(|_| !way.is_whole).and_then(|at| {
                let into = at.into.iter().filter_map(|seen| Some((seen.of(index)?.whole_ns, seen)));
                let (whole_ns, seen) = into.min_by_key(|(whole, _)| *whole)?;
                Some((seen.from, seen.to, seen.carrier, whole_ns))
            });
        }
        way.hops.reverse();
        way
    }
}

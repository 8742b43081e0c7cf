//! Where a frame was on its way, and when: from what was captured at the broadcaster and the CDN.
//!
//! A frame *leaves* a host when the first of its bytes enters the link there, and *arrives* at one when the last of its missing bytes has. Between
//! birth and leaving it waits in the sender: in the encoder's queue, in TCP's, for the window and for the pace that is set. From leaving to
//! arrival it is on the link, whose queue counts as part of it.
//!
//! What an emulated link takes is captured as it enters. With netem the link's delay sits before the interface, where the
//! capture is: there a packet is seen a link's delay after it entered, and that delay is taken off again. The queue of a netem link is then on
//! the sender's side. If such a link has jitter, the moment of leaving is not known.

use std::net::SocketAddr;
use std::time::Duration;

use livectl_wire::frame::FrameId;

use super::flows::Flow;
use super::pairing::Pairing;
use super::trial::{FirstArrival, FrameDelay, Via};

/// What the first whole copy of a frame passed, in nanoseconds of CLOCK_REALTIME; `None`: not captured, or not on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Passage {
    /// It left the broadcaster.
    pub sent_ns: Option<i64>,
    /// It had arrived at the CDN.
    pub cdn_arrival_ns: Option<i64>,
    /// It left the CDN.
    pub cdn_departure_ns: Option<i64>,
}

/// What a frame's delay is made of, in nanoseconds. The parts add up to it. One is negative if a packet was captured before the moment that
/// it is measured against: by microseconds, since a birth is stamped by a program and a packet by the kernel.
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
    /// From the broadcaster itself.
    Peer {
        /// From birth to leaving the broadcaster.
        queue: i64,
        /// From there until all of it was at the viewer.
        transfer: i64,
    },
}

impl FrameDelay {
    /// What its delay is made of; `None` if it did not arrive, or not all of its way was captured.
    #[must_use]
    pub fn parts(&self) -> Option<Parts> {
        let arrival = self.arrival?;
        let Passage { sent_ns, cdn_arrival_ns, cdn_departure_ns } = self.passage;
        let sent = sent_ns?;
        let queue = sent.checked_sub(self.birth_ns)?;
        Some(match arrival.via {
            Via::Peer(_) => Parts::Peer { queue, transfer: arrival.time_ns.checked_sub(sent)? },
            Via::Cdn => {
                let (at_cdn, left_cdn) = (cdn_arrival_ns?, cdn_departure_ns?);
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
        Self { from: flow.from, to: flow.to, times }
    }

    fn of(&self, index: usize) -> Option<Times> {
        self.times.get(index).copied().flatten()
    }
}

/// Where a stream's frames were seen.
#[derive(Default)]
pub(super) struct Sightings {
    /// Leaving the broadcaster, for the CDN or for peers.
    pub at_broadcaster: Vec<Sighting>,
    /// Arriving at the CDN.
    pub into_cdn: Vec<Sighting>,
    /// Leaving the CDN.
    pub out_of_cdn: Vec<Sighting>,
}

impl Sightings {
    /// The way of the frame with that index, which arrived so.
    pub fn passage(&self, index: usize, arrival: FirstArrival) -> Passage {
        let (from, to) = (arrival.from, arrival.to);
        // A pair of addresses may have served twice; what left later than the arrival is not it.
        let left = |sightings: &[Sighting], from, to| {
            let same = sightings.iter().filter(|seen| seen.from == from && seen.to == to);
            let left = same.filter_map(|seen| seen.of(index)?.left_ns);
            left.filter(|left| *left <= arrival.time_ns).max()
        };
        match arrival.via {
            Via::Peer(_) => Passage { sent_ns: left(&self.at_broadcaster, from, to), ..Passage::default() },
            Via::Cdn => {
                let into =
                    self.into_cdn.iter().filter_map(|seen| Some((seen.of(index)?.whole_ns, seen.from, seen.to)));
                let into = into.min_by_key(|(whole, ..)| *whole);
                Passage {
                    sent_ns: into.and_then(|(_, from, to)| left(&self.at_broadcaster, from, to)),
                    cdn_arrival_ns: into.map(|(whole, ..)| whole),
                    cdn_departure_ns: left(&self.out_of_cdn, from, to),
                }
            }
        }
    }
}

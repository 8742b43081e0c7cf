//! What was sent to groups: datagrams put together, and timed.

use std::net::{IpAddr, SocketAddr};

use super::{Arrival, Flow, Protocol};
use crate::assembler;
use crate::capture::UdpPacket;
use crate::datagram::{self, Datagram, Given, Reassembler, Tag};
use crate::flv::Content;
use crate::frame::FrameId;

/// Groups that are read, each with what may wait in a [`Reassembler`]; the datagrams of further ones are counted.
const MAX_GROUPS: usize = 16;

/// The groups of a capture, put together datagram by datagram.
#[derive(Default)]
pub(super) struct Groups {
    all: Vec<Group>,
    /// Datagrams to groups beyond [`MAX_GROUPS`].
    beyond: u64,
}

/// What one sender sent to one group.
struct Group {
    from: SocketAddr,
    to: SocketAddr,
    stream: u32,
    reassembler: Reassembler,
    frames: Vec<Arrival>,
}

impl Groups {
    pub fn take(&mut self, packet: &UdpPacket<'_>) {
        let UdpPacket { from, to, payload, time } = *packet;
        let is_group = matches!(to.ip(), IpAddr::V4(ip) if ip.is_multicast()) && to.port() == datagram::PORT;
        if !is_group {
            return;
        }
        // Others may send what they like to groups.
        let Ok(Datagram { stream, .. }) = Datagram::parse(payload) else { return };
        let known = self.all.iter().position(|one| (one.from, one.to, one.stream) == (from, to, stream));
        let index = match known {
            Some(index) => index,
            None if self.all.len() >= MAX_GROUPS => {
                self.beyond += 1;
                return;
            }
            None => {
                let reassembler = Reassembler::new(Some(stream));
                self.all.push(Group { from, to, stream, reassembler, frames: Vec::new() });
                self.all.len() - 1
            }
        };
        if let Some(group) = self.all.get_mut(index) {
            // It is one, as was just seen.
            let _ = group.reassembler.push(payload, time);
            group.drain(time);
        }
    }

    /// What there is to say of datagrams that were not read.
    pub fn problem(&self) -> Option<String> {
        let beyond = self.beyond;
        (beyond > 0).then(|| {
            format!("{beyond} datagrams are of further groups than the first {MAX_GROUPS}; they were not read")
        })
    }

    pub fn finish(self) -> impl Iterator<Item = Flow> {
        self.all.into_iter().map(Group::finish)
    }
}

impl Group {
    fn drain(&mut self, now: i64) {
        while let Some(given) = self.reassembler.next(now) {
            if let Given::Tag(tag) = given {
                self.frames.extend(arrival(&tag));
            }
        }
    }

    fn finish(mut self) -> Flow {
        self.drain(i64::MAX);
        let Self { from, to, stream, reassembler, frames } = self;
        let datagram::Counts { bytes, repeated_bytes, lost, lost_tags, .. } = reassembler.counts();
        let problem =
            format!("{from} to {to}: {lost} datagrams were lost on the way, and with them {lost_tags} tags");
        let counts =
            assembler::Counts { delivered: bytes, retransmitted: repeated_bytes, ..assembler::Counts::default() };
        Flow {
            from,
            to,
            protocol: Protocol::Group(stream),
            stream: None,
            frames,
            segments: Vec::new(),
            // What is lost is not sent again, and says nothing of the capture.
            damaged: 0,
            counts,
            lost: 0,
            problems: (lost > 0).then_some(problem).into_iter().collect(),
            unread: false,
        }
    }
}

/// The arrival of a tag that is a picture; `None`: it is none.
fn arrival(tag: &Tag) -> Option<Arrival> {
    let Content::Picture { keyframe } = Content::of(tag.kind, &tag.payload) else { return None };
    Some(Arrival {
        id: FrameId::of(&tag.payload),
        timestamp_ms: tag.timestamp,
        // A tag has less than 2²⁴ bytes.
        size: u32::try_from(tag.payload.len()).unwrap_or(u32::MAX),
        keyframe,
        time_ns: tag.whole_ns,
        first_byte_ns: tag.first_ns,
    })
}

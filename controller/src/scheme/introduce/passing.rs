//! A TCP segment on its way through a switch, and the ways to send it on.

use std::time::Duration;

use livectl_wire::assembler::Segment;

use super::super::learning::{self, Life, Route};
use super::super::{Dpid, Outcome};
use crate::frame::{Frame, Tcp};
use crate::openflow::{FlowMatch, Message, PacketIn, PortNo};

/// Ends the flows of video after so many seconds without a packet: more than the 60 after which nginx-rtmp looks
/// whether a player that waits is still there.
pub const VIDEO_IDLE: u16 = 75;

/// A port of a switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Datapath id of the switch.
    pub dpid: Dpid,
    /// Port of the switch.
    pub port: PortNo,
}

/// A TCP segment on its way through a switch.
#[derive(Clone, Copy)]
pub struct Passing<'a, 'p> {
    /// When it passes, by the controller's clock.
    pub now: Duration,
    /// The switch that it passes.
    pub at: Dpid,
    /// The packet-in with which it came up.
    pub packet: &'p PacketIn<'a>,
    /// The frame that it lies in.
    pub frame: &'p Frame<'a>,
    /// The header of the segment.
    pub tcp: &'p Tcp,
    /// Where a learning switch sends it.
    pub route: Route,
}

impl<'a> Passing<'a, '_> {
    /// Payload of the segment.
    pub fn payload(&self) -> &'a [u8] {
        self.frame.payload(self.tcp)
    }

    /// Switch and port at which it came in.
    pub fn place(&self) -> Place {
        Place { dpid: self.at, port: self.packet.in_port }
    }

    /// For an assembler, which needs no time here.
    pub fn segment(&self) -> Segment<'a> {
        let Tcp { seq, syn, fin, .. } = *self.tcp;
        Segment { seq, syn, fin, payload: self.payload(), time: 0 }
    }

    /// The match of this direction of the connection. A packet's class of service may differ from that of the next.
    fn matching(&self) -> FlowMatch {
        FlowMatch { ip_dscp: None, ..self.frame.exact_match(self.packet.in_port) }
    }

    /// Sends it on without a flow.
    pub fn send(&self, out: &mut Outcome<'a>) {
        learning::send(self.at, self.packet, self.route, out);
    }

    /// Sends it on with a flow that lasts, if it is known where to.
    pub fn send_with_lasting_flow(&self, cookie: Option<u64>, out: &mut Outcome<'a>) {
        match self.route {
            Route::To(port) => {
                let flow = learning::add(self.matching(), port, lasting(cookie));
                learning::send_with_flow(self.at, self.packet, flow, out);
            }
            Route::Drop | Route::Flood => self.send(out),
        }
    }

    /// Sends it on when lasting flows for both directions are in place.
    pub fn send_after_both_flows(&self, cookie: Option<u64>, out: &mut Outcome<'a>) {
        if let Route::To(port) = self.route {
            let there = self.matching();
            let back = there.reversed(port);
            for (matching, to) in [(back, self.packet.in_port), (there, port)] {
                out.send(self.at, Message::FlowMod(learning::add(matching, to, lasting(cookie))));
            }
            // A switch may otherwise do the packet before the flows.
            out.send(self.at, Message::BarrierRequest);
        }
        self.send(out);
    }
}

fn lasting(cookie: Option<u64>) -> Life {
    Life { idle: VIDEO_IDLE, hard: 0, cookie }
}

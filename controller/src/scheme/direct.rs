//! `direct`: a learning switch and nothing else. Video goes where its addresses say, through the CDN.

use std::time::Duration;

use super::learning::{Learning, Settings};
use super::{Dpid, Entry, Event, Outcome, Scheme};
use crate::openflow::PacketIn;

/// What is known of it before it is made.
pub const ENTRY: Entry = Entry {
    name: "direct",
    about: "A learning switch: video goes through the CDN",
    make: |settings, _ports, _network| Box::new(Direct::new(settings)),
};

/// The learning switch.
#[derive(Debug)]
pub struct Direct {
    learning: Learning,
}

impl Direct {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { learning: Learning::new(settings) }
    }
}

impl Scheme for Direct {
    fn on_event<'a>(&mut self, now: Duration, at: Dpid, event: Event<'a>, out: &mut Outcome<'a>) {
        match event {
            Event::SwitchUp => self.learning.switch_up(at),
            Event::SwitchDown => self.learning.switch_down(at),
            Event::PacketIn(packet) => self.learning.packet(now, at, &packet, out),
            Event::PortStatus(status) => self.learning.port_status(at, &status, out),
            Event::FlowRemoved(_) => {}
        }
    }

    fn expect(&mut self, at: Dpid, bytes: usize) {
        self.learning.expect(at, bytes);
    }

    fn foresee(&self, at: Dpid, packet: &PacketIn<'_>) {
        self.learning.foresee(at, packet);
    }

    fn on_tick(&mut self, now: Duration, _out: &mut Outcome<'_>) {
        self.learning.tick(now);
    }
}

#[cfg(test)]
mod tests;

//! What the network does with packets.
//!
//! A [`Scheme`] takes events and returns messages for switches and news for the outside. It has no sockets and no
//! clock, so that tests can play whole networks through it; the [`channel`](crate::channel) is the one place that
//! sends.
//!
//! A scheme is a file here and a line in [`SCHEMES`].

mod bypass;
mod direct;
mod introduce;
mod learning;
mod multicast;
mod relay;

use std::fmt;
use std::time::Duration;

use crate::network::Network;
use crate::news::News;
use crate::openflow::{FlowRemoved, Message, PacketIn, PortStatus};

pub use bypass::Bypass;
pub use direct::Direct;
pub use introduce::{Audience, Bond, Branch, Change, Connection, Introduce, Member, Pair, Part, Policy, Ports};
pub use learning::{Learning, Settings};
pub use multicast::Multicast;
pub use relay::Relay;

/// All schemes, the plainest first.
pub const SCHEMES: &[Entry] = &[direct::ENTRY, bypass::ENTRY, relay::ENTRY, multicast::ENTRY];

/// A scheme before it is made.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Its name: for `--scheme`, and in event lines.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// Makes one, for a network of which this is known.
    pub make: fn(Settings, Ports, Network) -> Box<dyn Scheme>,
}

/// A switch's datapath id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dpid(pub u64);

impl fmt::Display for Dpid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

/// Something that happened at a switch.
#[derive(Debug, Clone)]
pub enum Event<'a> {
    /// It is ready, and has no flows but, in 1.3, the one that sends packets up.
    SwitchUp,
    /// Its connection has ended.
    SwitchDown,
    /// It has no flow for a packet.
    PacketIn(PacketIn<'a>),
    /// A flow ended that was to tell.
    FlowRemoved(FlowRemoved),
    /// A port came, went or changed.
    PortStatus(PortStatus),
}

/// What a scheme wants done, in this order.
#[derive(Debug, Default)]
pub struct Outcome<'a> {
    /// Messages and whom they are for.
    pub messages: Vec<(Dpid, Message<'a>)>,
    /// What to write as event lines.
    pub news: Vec<News>,
}

impl<'a> Outcome<'a> {
    /// Adds a message.
    pub fn send(&mut self, to: Dpid, message: Message<'a>) {
        self.messages.push((to, message));
    }

    /// Adds news, to be told once the packet is answered.
    pub fn tell(&mut self, news: News) {
        self.news.push(news);
    }
}

/// Decides what the network does with packets.
pub trait Scheme {
    /// Takes note of an event and adds to `out` what is to be done about it. `now` is the time since any fixed
    /// moment; it never goes back.
    fn on_event<'a>(&mut self, now: Duration, at: Dpid, event: Event<'a>, out: &mut Outcome<'a>);

    /// So many bytes of messages of this switch come next. For a scheme that wants to have at hand what it will look
    /// up.
    fn expect(&mut self, _at: Dpid, _bytes: usize) {}

    /// This packet comes after some others: time enough for memory to bring what will be looked up for it.
    fn foresee(&self, _at: Dpid, _packet: &PacketIn<'_>) {}

    /// Takes note of the time; to be called about once a second.
    fn on_tick(&mut self, now: Duration, out: &mut Outcome<'_>);
}

//! The learning switch that all schemes are built on: address tables for each switch, flows that forget.

use std::borrow::Cow;
use std::time::Duration;

use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};

use super::{Dpid, Outcome};
use crate::frame::Frame;
use crate::mac::MacAddr;
use crate::mac_table::{AGEING, Learnt, MacTable};
use crate::news::News;
use crate::openflow::{
    Command, FlowMatch, FlowMod, Message, PacketIn, PacketOut, PortNo, PortStatus, PortStatusReason, Vlan,
};
use crate::tagged::Tagged;

/// How a learning switch behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Ends a flow after so many seconds without a packet; 0: never.
    pub idle_timeout: u16,
    /// Ends a flow after so many seconds; 0: never.
    pub hard_timeout: u16,
    /// Stations that are remembered, at each switch.
    pub mac_table: usize,
    /// Which stations compete for a place in the table.
    pub seed: u64,
    /// Whether each new station is news.
    pub report_learned: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { idle_timeout: 10, hard_timeout: 30, mac_table: 65_536, seed: 0, report_learned: false }
    }
}

/// What to do with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Nothing: it is not to be forwarded, or is where it should be.
    Drop,
    /// Send it to all other ports.
    Flood,
    /// Send it to this port.
    To(PortNo),
}

/// How long a flow lives, and who hears of its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// Ends the flow after so many seconds without a packet; 0: never.
    pub idle: u16,
    /// Ends the flow after so many seconds; 0: never.
    pub hard: u16,
    /// Comes back when the flow ends; `None`: nobody wants to know.
    pub cookie: Option<u64>,
}

/// Flows of the learning switch itself.
const LEARNED_COOKIE: u64 = 1;
/// All flows have the same priority: a new one for the same packets replaces the old one. (In 1.0, flows that leave
/// no field open come before all others, whatever their priority.)
const PRIORITY: u16 = 0x8000;

/// Stations with lasting flows at once. When there are more, all are forgotten: some of them may then be found at
/// their new port later.
const MAX_LASTING: usize = 65_536;

/// The address tables of all switches.
#[derive(Debug)]
pub struct Learning {
    settings: Settings,
    tables: HashMap<Dpid, MacTable>,
    /// Those of stations on VLANs, of switches where any was heard.
    tagged: HashMap<Dpid, Tagged>,
    /// Stations to which a switch has, or had, flows without a hard time-out.
    lasting: HashSet<(Dpid, MacAddr)>,
    /// Bytes that the tables of all switches take.
    size: usize,
    /// The switch whose table is in the caches next to the processor's core.
    at_hand: Option<Dpid>,
}

/// From so many bytes on, all tables together no longer fit the caches next to a processor's core.
const MANY: usize = 512 << 10;
/// From so many bytes on, a single table no longer fits the smallest of those caches.
const LARGE: usize = 32 << 10;
/// A table of so many times the bytes of the packet-ins to come is read whole sooner than in the places that they ask
/// for, since it is read in sequence (as measured with 600 to 1,500 stations at each of 256 switches).
const LOOKED_UP: usize = 12;

impl Learning {
    /// Switches of which nothing is known yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            tables: HashMap::new(),
            tagged: HashMap::new(),
            lasting: HashSet::new(),
            size: 0,
            at_hand: None,
        }
    }

    /// The life of a flow that was made because its first packet came.
    #[must_use]
    pub fn life(&self) -> Life {
        Life { idle: self.settings.idle_timeout, hard: self.settings.hard_timeout, cookie: None }
    }

    /// Begins a switch's table again.
    pub fn switch_up(&mut self, at: Dpid) {
        let table = MacTable::new(self.settings.mac_table, self.settings.seed);
        self.size += table.size();
        self.switch_down(at);
        self.tables.insert(at, table);
    }

    /// Forgets a switch.
    pub fn switch_down(&mut self, at: Dpid) {
        self.size -= self.tables.remove(&at).map_or(0, |table| table.size());
        self.tagged.remove(&at);
        self.lasting.retain(|(dpid, _)| *dpid != at);
    }

    /// Has this switch's table at hand if so many bytes of its messages, which come next, are worth it.
    pub fn expect(&mut self, at: Dpid, bytes: usize) {
        if self.size < MANY || self.at_hand == Some(at) {
            return;
        }
        let looked_up = bytes.saturating_mul(LOOKED_UP);
        let table = self.tables.get(&at).filter(|table| table.size() < LARGE && table.size() <= looked_up);
        if let Some(table) = table {
            table.read_whole();
            self.at_hand = Some(at);
        }
    }

    /// Asks memory for where the sender and the addressee of this packet are.
    pub fn foresee(&self, at: Dpid, packet: &PacketIn<'_>) {
        if self.size < MANY {
            return;
        }
        let Some(table) = self.tables.get(&at).filter(|table| Some(at) != self.at_hand || table.size() >= LARGE)
        else {
            return;
        };
        if let Some([a, b, c, d, e, f, src @ ..]) = packet.data.first_chunk::<12>() {
            table.prefetch([MacAddr([*a, *b, *c, *d, *e, *f]), MacAddr(*src)]);
        }
    }

    /// Forgets who was silent too long.
    pub fn tick(&mut self, now: Duration) {
        self.tables.values_mut().for_each(|table| table.sweep(now.as_secs()));
        self.tagged.values_mut().for_each(|tagged| tagged.sweep(now.as_secs()));
    }

    /// Forgets the stations behind a port that went down, and ends the flows that lead there or come from there.
    pub fn port_status(&mut self, at: Dpid, status: &PortStatus, out: &mut Outcome<'_>) {
        if (status.port.up && status.reason != PortStatusReason::Deleted) || !status.port.number.is_attachment() {
            return;
        }
        if let Some(table) = self.tables.get_mut(&at) {
            table.forget_port(status.port.number);
            if let Some(tagged) = self.tagged.get_mut(&at) {
                tagged.forget_port(status.port.number);
            }
            let lead_there = FlowMod { out_port: Some(status.port.number), ..FlowMod::delete(FlowMatch::ANY) };
            let come_from_there = FlowMatch { in_port: Some(status.port.number), ..FlowMatch::ANY };
            out.send(at, Message::FlowMod(lead_there));
            out.send(at, Message::FlowMod(FlowMod::delete(come_from_there)));
        }
    }

    /// Notes that a switch has a flow to a station that may outlive what is known of the station.
    pub fn lasts(&mut self, at: Dpid, station: MacAddr) {
        if self.lasting.len() >= MAX_LASTING {
            self.lasting.clear();
        }
        self.lasting.insert((at, station));
    }

    /// The port of a switch behind which a station is, on whichever VLAN, as far as that is known.
    #[must_use]
    pub fn port(&self, now: Duration, at: Dpid, station: MacAddr) -> Option<PortNo> {
        let now = now.as_secs();
        let on_vlan = || self.tagged.get(&at)?.port_on_any(station, now);
        self.tables.get(&at)?.port(station, now).or_else(on_vlan)
    }

    /// Learns from a frame where its sender is, and says what a learning switch does with it. If the sender was
    /// elsewhere before, its flows there, to it and from it, are ended. A station is one of its VLAN: the same address may be another one on another.
    pub fn learn_and_route(
        &mut self,
        now: Duration,
        at: Dpid,
        frame: &Frame<'_>,
        in_port: PortNo,
        out: &mut Outcome<'_>,
    ) -> Route {
        let flows_outlive_stations = self.settings.hard_timeout == 0 || self.settings.hard_timeout >= AGEING;
        let Some(table) = self.tables.get_mut(&at) else { return route(frame, None, in_port) };
        let (vlan, seconds) = (frame.vlan_id(), now.as_secs());
        let (learnt, to) = if let Some(vlan) = vlan {
            let tagged = self.tagged.entry(at).or_insert_with(|| Tagged::new(self.settings.mac_table));
            (tagged.learn(vlan, frame.src, in_port, seconds), tagged.port(vlan, frame.dst, seconds))
        } else {
            self.at_hand = Some(at);
            let before = table.size();
            let learnt = table.learn(frame.src, in_port, seconds);
            self.size += table.size() - before;
            (learnt, table.port(frame.dst, seconds))
        };
        let has_moved = match learnt {
            Learnt::Moved(_) => true,
            // Maybe: a flow may have hidden it for so long that it was forgotten.
            Learnt::New => flows_outlive_stations || self.lasting.remove(&(at, frame.src)),
            Learnt::Same | Learnt::Nothing => false,
        };
        if has_moved {
            // Without a VLAN all of them: those of a tag for the priority alone are its own, too, and any others begin anew.
            let its_own = FlowMatch { vlan: vlan.map(Vlan::Id), ..FlowMatch::ANY };
            let lead_to_it = FlowMatch { eth_dst: Some(frame.src), ..its_own };
            let come_from_it = FlowMatch { eth_src: Some(frame.src), ..its_own };
            out.send(at, Message::FlowMod(FlowMod::delete(lead_to_it)));
            out.send(at, Message::FlowMod(FlowMod::delete(come_from_it)));
        }
        if matches!(learnt, Learnt::New | Learnt::Moved(_)) && self.settings.report_learned {
            out.tell(News::Learned { dpid: at.0, mac: frame.src, port: in_port, vlan });
        }
        route(frame, to, in_port)
    }

    /// Treats a packet as a learning switch does.
    pub fn packet<'a>(&mut self, now: Duration, at: Dpid, packet: &PacketIn<'a>, out: &mut Outcome<'a>) {
        let Some(frame) = Frame::parse(packet.data) else {
            // Nobody knows where it goes: only to free the switch's buffer.
            return send(at, packet, Route::Drop, out);
        };
        self.frame(now, at, packet, &frame, out);
    }

    /// The same, for a frame that was taken apart already.
    pub fn frame<'a>(
        &mut self,
        now: Duration,
        at: Dpid,
        packet: &PacketIn<'a>,
        frame: &Frame<'a>,
        out: &mut Outcome<'a>,
    ) {
        let route = self.learn_and_route(now, at, frame, packet.in_port, out);
        match route {
            Route::To(port) => {
                let matching = frame.exact_match(packet.in_port);
                send_with_flow(at, packet, add(matching, port, self.life()), out);
            }
            Route::Drop | Route::Flood => send(at, packet, route, out),
        }
    }
}

/// What to do with a frame whose addressee is behind port `to`, if that is known.
fn route(frame: &Frame<'_>, to: Option<PortNo>, in_port: PortNo) -> Route {
    match to {
        _ if frame.is_link_local() => Route::Drop,
        None => Route::Flood,
        // Its addressee hears it already: both are behind that port.
        Some(port) if port == in_port => Route::Drop,
        Some(port) => Route::To(port),
    }
}

/// A flow-mod that adds a flow.
pub fn add(matching: FlowMatch, to: PortNo, life: Life) -> FlowMod {
    FlowMod {
        command: Command::Add,
        matching,
        cookie: life.cookie.unwrap_or(LEARNED_COOKIE),
        idle_timeout: life.idle,
        hard_timeout: life.hard,
        priority: PRIORITY,
        buffer: None,
        out_port: None,
        notify_removal: life.cookie.is_some(),
        output: Some(to),
        copies: Vec::new(),
    }
}

/// Adds a flow and lets its first packet take it: out of the switch's buffer when it is there, back down otherwise.
pub fn send_with_flow<'a>(at: Dpid, packet: &PacketIn<'a>, flow: FlowMod, out: &mut Outcome<'a>) {
    let output = flow.output;
    out.send(at, Message::FlowMod(FlowMod { buffer: packet.buffer, ..flow }));
    if let (None, Some(port)) = (packet.buffer, output) {
        send(at, packet, Route::To(port), out);
    }
}

/// Sends a packet on without a flow.
pub fn send<'a>(at: Dpid, packet: &PacketIn<'a>, route: Route, out: &mut Outcome<'a>) {
    let output = match route {
        Route::Flood => Some(PortNo::FLOOD),
        Route::To(port) => Some(port),
        // Only to free the switch's buffer.
        Route::Drop if packet.buffer.is_some() => None,
        Route::Drop => return,
    };
    let data = match packet.buffer {
        Some(_) => Cow::Borrowed(&[][..]),
        None if packet.is_whole() => Cow::Borrowed(packet.data),
        // The rest of it is nowhere: the switch kept nothing and sent a part.
        None => return,
    };
    out.send(at, Message::PacketOut(PacketOut { buffer: packet.buffer, in_port: packet.in_port, output, data }));
}

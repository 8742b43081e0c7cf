//! Flows by which switches copy what a broadcaster sends to a group.
//!
//! A flow matches what the broadcaster sends to the group and comes in at the port towards it, and has an output for
//! each port behind which a viewer is. That needs no knowledge of the links between switches: they form a tree (a
//! learning switch needs that), so a switch lies on the way from the broadcaster to a viewer if, and only if, the two
//! are behind different ports of it. So there is one copy on each link of the tree, whatever the audience.
//!
//! Nothing that is sent to a group is ever flooded. Two flows of each switch drop it where no other flow copies it,
//! and IGMP, which nobody needs here: who plays a stream is known.
//!
//! The learning switch knows which port leads to whom. A switch that has never heard from a member learns of it: the
//! member's edge floods an ARP announcement in its name, which comes up at each switch on its way.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddrV4};

use livectl_wire::StreamKey;

use super::members::Member;
use super::passing::Place;
use super::presence::Presence;
use crate::frame::{Frame, IPV4, Network};
use crate::mac::MacAddr;
use crate::news::News;
use crate::openflow::{
    Command, FlowMatch, FlowMod, Ipv4Prefix, Message, PacketOut, PortNo, PortStatus, PortStatusReason,
};
use crate::scheme::{Dpid, Outcome};

/// Where groups are taken from: of the addresses that an organisation may use as it likes (RFC 2365, section 6.2) as
/// many as have Ethernet addresses of their own.
pub const GROUPS: Ipv4Prefix = Ipv4Prefix::constant(Ipv4Addr::new(239, 192, 0, 0), 16);

const IGMP: u8 = 2;
const UDP: u8 = 17;

/// Flows that copy come before those that drop, and those before all that the learning switch makes.
const COPY_PRIORITY: u16 = 0xa000;
const DROP_PRIORITY: u16 = 0x9000;
/// Cookie of the flows that copy groups.
const COOKIE: u64 = 4;
/// How often a member is announced, a second apart, as long as some switch does not know it.
const ANNOUNCEMENTS: u32 = 5;

/// A host as its switch sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// IPv4 address of the host.
    pub host: Ipv4Addr,
    /// Ethernet address of its station.
    pub station: MacAddr,
    /// Switch and port that it is attached to.
    pub edge: Place,
    /// The frame by which it would say so itself.
    pub announcement: Vec<u8>,
}

impl Attached {
    /// Where a member is attached.
    pub fn of(member: &Member, presence: &Presence) -> Self {
        Self {
            host: member.host(),
            station: presence.station(),
            edge: Place { dpid: member.dpid, port: member.port },
            announcement: presence.announcement(&member.connection),
        }
    }
}

/// A group, who sends to it and who gets that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Address and port of the group.
    pub group: SocketAddrV4,
    /// Stream whose datagrams these are.
    pub stream: StreamKey,
    /// Where the broadcaster is attached.
    pub from: Attached,
    /// The hosts that the switches copy it to.
    pub to: Vec<Attached>,
}

/// What a switch copies of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Branching {
    stream: StreamKey,
    from: Ipv4Addr,
    in_port: PortNo,
    ports: BTreeSet<PortNo>,
}

/// The copying of all switches.
#[derive(Debug, Default)]
pub struct Copying {
    /// Switches that are connected.
    switches: BTreeSet<Dpid>,
    /// Ethernet addresses of all senders and receivers.
    stations: HashSet<MacAddr>,
    /// Behind which port each is. The learning switch forgets stations whose packets have flows.
    places: HashMap<(Dpid, MacAddr), PortNo>,
    /// Ports that have no link.
    down: HashSet<(Dpid, PortNo)>,
    /// By station, how often it was announced.
    announced: HashMap<MacAddr, u32>,
    /// A second has passed since somebody was.
    may_announce: bool,
    /// Some switch does not know a member.
    lacks: bool,
    /// By switch and group, what it has been told to copy.
    flows: BTreeMap<(Dpid, SocketAddrV4), Branching>,
    /// Of the pairs, when that was arranged.
    revision: u64,
    is_due: bool,
}

/// Whether a frame goes to a group, or is about membership in one.
pub fn is_of_groups(frame: &Frame<'_>) -> bool {
    match frame.network {
        Network::Ipv4 { dst, protocol, .. } => protocol == IGMP || GROUPS.contains(Ipv4Prefix::host(dst)),
        Network::Arp { .. } | Network::Other => false,
    }
}

impl Copying {
    /// A switch without flows is there.
    pub fn switch_up(&mut self, at: Dpid, out: &mut Outcome<'_>) {
        self.switch_down(at);
        self.switches.insert(at);
        self.announced.clear();
        let igmp = FlowMatch { eth_type: Some(IPV4), ip_proto: Some(IGMP), ..FlowMatch::ANY };
        let groups = FlowMatch { eth_type: Some(IPV4), ip_dst: Some(GROUPS), ..FlowMatch::ANY };
        for matching in [igmp, groups] {
            let drop = FlowMod {
                command: Command::Add,
                priority: DROP_PRIORITY,
                cookie: COOKIE,
                ..FlowMod::delete(matching)
            };
            out.send(at, Message::FlowMod(drop));
        }
    }

    /// A switch is gone.
    pub fn switch_down(&mut self, at: Dpid) {
        self.switches.remove(&at);
        self.places.retain(|(dpid, _), _| *dpid != at);
        self.down.retain(|(dpid, _)| *dpid != at);
        self.flows.retain(|(dpid, _), _| *dpid != at);
        self.is_due = true;
    }

    /// The learning switch ends all flows of a port that went down, or went.
    pub fn port_status(&mut self, at: Dpid, status: &PortStatus) {
        let port = status.port.number;
        if status.port.up && status.reason != PortStatusReason::Deleted {
            self.is_due |= self.down.remove(&(at, port));
            return;
        }
        self.down.insert((at, port));
        self.places.retain(|(dpid, _), place| *dpid != at || *place != port);
        self.flows.retain(|(dpid, _), flow| *dpid != at || flow.in_port != port && !flow.ports.contains(&port));
        self.is_due = true;
    }

    /// A frame came up at a port.
    pub fn saw(&mut self, at: Dpid, frame: &Frame<'_>, port: PortNo) {
        let is_news = || self.places.get(&(at, frame.src)) != Some(&port);
        self.is_due |= self.stations.contains(&frame.src) && is_news();
    }

    /// Time has passed, about a second: who is not known everywhere is announced again.
    pub fn tick(&mut self) {
        self.is_due |= self.lacks;
        self.may_announce = true;
    }

    /// Whether something may have changed.
    pub fn is_due(&self, revision: u64) -> bool {
        self.is_due || self.revision != revision
    }

    /// Has the switches copy this from now on, and nothing else. `learnt` is what is known of where a station is.
    pub fn arrange(
        &mut self,
        revision: u64,
        copied: &[Copied],
        learnt: impl Fn(Dpid, MacAddr) -> Option<PortNo>,
        out: &mut Outcome<'_>,
    ) {
        (self.revision, self.is_due) = (revision, false);
        let members = || copied.iter().flat_map(|one| std::iter::once(&one.from).chain(&one.to));
        self.stations = members().map(|member| member.station).collect();
        let Self { stations, places, announced, .. } = self;
        places.retain(|(_, station), _| stations.contains(station));
        announced.retain(|station, _| stations.contains(station));
        self.lacks = false;
        for member in members() {
            self.locate(member, &learnt, out);
        }
        self.may_announce = false;
        let mut wanted = BTreeMap::new();
        for one in copied {
            for at in &self.switches {
                wanted.extend(self.branching(*at, one).map(|branching| ((*at, one.group), branching)));
            }
        }
        self.tell(wanted, out);
    }

    /// Finds out where a member is, at every switch.
    fn locate(
        &mut self,
        member: &Attached,
        learnt: &impl Fn(Dpid, MacAddr) -> Option<PortNo>,
        out: &mut Outcome<'_>,
    ) {
        let Attached { station, edge, announcement, .. } = member;
        let mut is_known = true;
        for at in &self.switches {
            let place = self.places.get(&(*at, *station)).copied();
            let at_edge = (*at == edge.dpid).then_some(edge.port);
            let known = learnt(*at, *station).or(place).or(at_edge);
            match known.filter(|port| !self.down.contains(&(*at, *port))) {
                Some(port) => drop(self.places.insert((*at, *station), port)),
                None => is_known = false,
            }
        }
        let times = self.announced.entry(*station).or_default();
        self.lacks |= !is_known && *times < ANNOUNCEMENTS;
        let is_due = *times == 0 || self.may_announce && *times < ANNOUNCEMENTS;
        if !is_known && is_due && self.switches.contains(&edge.dpid) {
            *times += 1;
            let data = Cow::Owned(announcement.clone());
            let packet = PacketOut { buffer: None, in_port: edge.port, output: Some(PortNo::FLOOD), data };
            out.send(edge.dpid, Message::PacketOut(packet));
        }
    }

    /// What a switch is to copy of a group, if anything.
    fn branching(&self, at: Dpid, copied: &Copied) -> Option<Branching> {
        let place = |member: &Attached| self.places.get(&(at, member.station)).copied();
        let in_port = place(&copied.from)?;
        let ports: BTreeSet<PortNo> = copied.to.iter().filter_map(place).filter(|port| *port != in_port).collect();
        let branching = Branching { stream: copied.stream.clone(), from: copied.from.host, in_port, ports };
        (!branching.ports.is_empty()).then_some(branching)
    }

    /// Tells switches what is not as it is wanted.
    fn tell(&mut self, wanted: BTreeMap<(Dpid, SocketAddrV4), Branching>, out: &mut Outcome<'_>) {
        let before = std::mem::replace(&mut self.flows, wanted);
        let mut told = BTreeSet::new();
        let mut flow = |(at, group): (Dpid, SocketAddrV4), command, branching: &Branching, out: &mut Outcome<'_>| {
            out.send(at, Message::FlowMod(flow_mod(command, group, branching)));
            told.insert(at);
            let deletes = command == Command::DeleteStrict;
            let ports = if deletes { Vec::new() } else { branching.ports.iter().copied().collect() };
            let Branching { stream, in_port, .. } = branching;
            out.tell(News::Copies { stream: stream.to_string(), group, dpid: at.0, in_port: *in_port, ports });
        };
        for (key, old) in &before {
            let new = self.flows.get(key);
            if new.is_none_or(|new| (new.from, new.in_port) != (old.from, old.in_port)) {
                flow(*key, Command::DeleteStrict, old, out);
            }
        }
        for (key, new) in &self.flows {
            match before.get(key) {
                Some(old) if old == new => (),
                // As long as the list of its outputs changes, a flow goes on: nothing is lost on the way.
                Some(old) if (new.from, new.in_port) == (old.from, old.in_port) => {
                    flow(*key, Command::ModifyStrict, new, out);
                }
                _ => flow(*key, Command::Add, new, out),
            }
        }
        // Whoever is told of the group is told after that.
        told.into_iter().for_each(|at| out.send(at, Message::BarrierRequest));
    }
}

fn flow_mod(command: Command, group: SocketAddrV4, branching: &Branching) -> FlowMod {
    let matching = FlowMatch {
        in_port: Some(branching.in_port),
        eth_type: Some(IPV4),
        ip_proto: Some(UDP),
        ip_src: Some(Ipv4Prefix::host(branching.from)),
        ip_dst: Some(Ipv4Prefix::host(*group.ip())),
        ..FlowMatch::ANY
    };
    let deletes = command == Command::DeleteStrict;
    let mut ports = branching.ports.iter().copied().filter(|_| !deletes);
    FlowMod {
        command,
        cookie: COOKIE,
        priority: COPY_PRIORITY,
        output: ports.next(),
        copies: ports.collect(),
        ..FlowMod::delete(matching)
    }
}

//! Switches, links and hosts, played without time passing by itself.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use super::{FakeSwitch, arp_request, mac_of};
use crate::frame::Frame;
use crate::mac::MacAddr;
use crate::news::News;
use crate::openflow::{
    BufferId, FlowRemoved, Message, PacketIn, PacketInReason, Port, PortNo, PortStatus, PortStatusReason, Version,
};
use crate::scheme::{Dpid, Event, Outcome, Scheme};

/// A frame that reached a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    pub host: Ipv4Addr,
    pub frame: Vec<u8>,
}

type End = (Dpid, PortNo);

/// A network under a scheme. Every message passes through the codec of `version`, as it would on the wire.
pub struct Network {
    pub now: Duration,
    pub scheme: Box<dyn Scheme>,
    pub version: Version,
    pub switches: BTreeMap<Dpid, FakeSwitch>,
    links: HashMap<End, End>,
    hosts: Vec<(Ipv4Addr, End)>,
    pub news: Vec<News>,
    /// Packets that went up, by switch.
    pub packet_ins: BTreeMap<Dpid, u64>,
    /// Messages that the scheme sent, in order.
    pub sent: Vec<(Dpid, Message<'static>)>,
    /// Packets that the scheme sent of its own accord, and hosts got.
    pub unasked: Vec<Arrival>,
    /// Packets are kept in the switch's buffer with this much of them sent up.
    pub miss_send_len: Option<usize>,
}

impl Network {
    pub fn new(scheme: impl Scheme + 'static, version: Version) -> Self {
        Self {
            now: Duration::from_secs(100),
            scheme: Box::new(scheme),
            version,
            switches: BTreeMap::new(),
            links: HashMap::new(),
            hosts: Vec::new(),
            news: Vec::new(),
            packet_ins: BTreeMap::new(),
            sent: Vec::new(),
            unasked: Vec::new(),
            miss_send_len: None,
        }
    }

    /// A switch with so many ports joins.
    pub fn switch(&mut self, dpid: u64, ports: u32) {
        let ports = (1..=ports).map(PortNo).collect();
        self.switches.insert(Dpid(dpid), FakeSwitch::with_ports(ports));
        self.connect(dpid);
    }

    /// A switch connects, again or for the first time: its flows are gone.
    pub fn connect(&mut self, dpid: u64) {
        self.switches.get_mut(&Dpid(dpid)).unwrap().clear();
        self.event(Dpid(dpid), Event::SwitchUp);
    }

    pub fn disconnect(&mut self, dpid: u64) {
        self.event(Dpid(dpid), Event::SwitchDown);
    }

    /// A controller that knows nothing takes the place of the one before; all switches connect to it.
    pub fn restart(&mut self, scheme: impl Scheme + 'static) {
        self.scheme = Box::new(scheme);
        for dpid in self.switches.keys().map(|dpid| dpid.0).collect::<Vec<_>>() {
            self.connect(dpid);
        }
    }

    pub fn link(&mut self, a: (u64, u32), b: (u64, u32)) {
        let (a, b) = ((Dpid(a.0), PortNo(a.1)), (Dpid(b.0), PortNo(b.1)));
        self.links.insert(a, b);
        self.links.insert(b, a);
    }

    pub fn host(&mut self, address: &str, dpid: u64, port: u32) {
        self.hosts.push((address.parse().unwrap(), (Dpid(dpid), PortNo(port))));
    }

    /// A host is plugged in elsewhere.
    pub fn move_host(&mut self, address: &str, dpid: u64, port: u32) {
        let address: Ipv4Addr = address.parse().unwrap();
        self.hosts.iter_mut().find(|(host, _)| *host == address).unwrap().1 = (Dpid(dpid), PortNo(port));
    }

    /// Every host has asked for every other by ARP, so that all switches know all.
    pub fn everyone_is_known(&mut self) {
        for (from, _) in self.hosts.clone() {
            self.send(arp_request(from, Ipv4Addr::new(10, 0, 0, 254)));
        }
        self.packet_ins.clear();
        self.sent.clear();
    }

    fn place_of(&self, mac: MacAddr) -> End {
        self.hosts.iter().find(|(host, _)| mac_of(*host) == mac).unwrap().1
    }

    /// A host sends a frame; says where it arrived. The sender is who the frame's source address says.
    pub fn send(&mut self, frame: Vec<u8>) -> Vec<Arrival> {
        let (dpid, port) = self.place_of(Frame::parse(&frame).unwrap().src);
        self.inject(dpid, port, frame)
    }

    /// A frame comes in at a port.
    pub fn inject(&mut self, dpid: Dpid, port: PortNo, frame: Vec<u8>) -> Vec<Arrival> {
        self.travel(VecDeque::from([(dpid, port, frame)]), Vec::new())
    }

    /// Frames that came in at ports are passed on until all have `arrived`.
    fn travel(&mut self, mut moving: VecDeque<(Dpid, PortNo, Vec<u8>)>, mut arrived: Vec<Arrival>) -> Vec<Arrival> {
        for _ in 0..1000 {
            let Some((dpid, in_port, frame)) = moving.pop_front() else { return arrived };
            let sent = match self.switches.get_mut(&dpid).unwrap().forward(self.now, in_port, &frame) {
                Some(ports) => ports.into_iter().map(|port| (dpid, port, frame.clone())).collect(),
                None => self.packet_in(dpid, in_port, &frame),
            };
            self.leave(sent, &mut moving, &mut arrived);
        }
        panic!("a packet runs in a circle");
    }

    /// Frames leave switches at ports.
    fn leave(
        &self,
        sent: Vec<(Dpid, PortNo, Vec<u8>)>,
        moving: &mut VecDeque<(Dpid, PortNo, Vec<u8>)>,
        arrived: &mut Vec<Arrival>,
    ) {
        for (dpid, port, frame) in sent {
            if let Some((next, in_port)) = self.links.get(&(dpid, port)) {
                moving.push_back((*next, *in_port, frame));
            } else {
                let there = self.hosts.iter().filter(|(_, end)| *end == (dpid, port));
                arrived.extend(there.map(|(host, _)| Arrival { host: *host, frame: frame.clone() }));
            }
        }
    }

    /// What a scheme sends although no packet came up.
    fn send_unasked(&mut self, sent: Vec<(Dpid, PortNo, Vec<u8>)>) {
        let (mut moving, mut arrived) = (VecDeque::new(), Vec::new());
        self.leave(sent, &mut moving, &mut arrived);
        let arrived = self.travel(moving, arrived);
        self.unasked.extend(arrived);
    }

    /// A packet goes up; returns what the switches send because of it.
    fn packet_in(&mut self, dpid: Dpid, in_port: PortNo, frame: &[u8]) -> Vec<(Dpid, PortNo, Vec<u8>)> {
        *self.packet_ins.entry(dpid).or_default() += 1;
        let shown = self.miss_send_len.map_or(frame.len(), |limit| limit.min(frame.len()));
        let packet = PacketIn {
            buffer: self.miss_send_len.and(BufferId::new(77)),
            total_len: frame.len() as u16,
            in_port,
            reason: PacketInReason::NoMatch,
            data: &frame[..shown],
        };
        let mut up = Vec::new();
        self.version.emit(&Message::PacketIn(packet), 1, &mut up).unwrap();
        let (_, Message::PacketIn(packet)) = self.version.parse(&up).unwrap() else { panic!() };
        self.event_with(dpid, Event::PacketIn(packet), Some(frame))
    }

    fn event(&mut self, dpid: Dpid, event: Event<'_>) {
        let sent = self.event_with(dpid, event, None);
        self.send_unasked(sent);
    }

    /// Plays an event, carries out what the scheme wants.
    fn event_with(&mut self, dpid: Dpid, event: Event<'_>, kept: Option<&[u8]>) -> Vec<(Dpid, PortNo, Vec<u8>)> {
        let mut out = Outcome::default();
        self.scheme.on_event(self.now, dpid, event, &mut out);
        self.carry_out(out, kept)
    }

    fn carry_out(&mut self, out: Outcome<'_>, kept: Option<&[u8]>) -> Vec<(Dpid, PortNo, Vec<u8>)> {
        self.news.extend(out.news);
        let mut packets = Vec::new();
        let mut removals: Vec<(Dpid, FlowRemoved)> = Vec::new();
        for (to, message) in out.messages {
            let mut down = Vec::new();
            self.version.emit(&message, 1, &mut down).unwrap();
            let (_, message) = self.version.parse(&down).unwrap();
            let switch = self.switches.get_mut(&to).unwrap();
            match &message {
                Message::FlowMod(flow) => {
                    removals.extend(switch.apply(self.now, flow).into_iter().map(|removed| (to, removed)));
                    if let (Some(_), Some(output), Some(frame)) = (flow.buffer, flow.output, kept) {
                        packets.push((to, output, frame.to_vec()));
                    }
                }
                Message::PacketOut(packet) if packet.buffer.is_some() => {
                    let frame = kept.unwrap();
                    let whole =
                        crate::openflow::PacketOut { buffer: None, data: Cow::Borrowed(frame), ..packet.clone() };
                    packets.extend(switch.send(&whole).into_iter().map(|port| (to, port, frame.to_vec())));
                }
                Message::PacketOut(packet) => {
                    let ports = switch.send(packet).into_iter();
                    packets.extend(ports.map(|port| (to, port, packet.data.to_vec())));
                }
                Message::BarrierRequest => {}
                other => panic!("the schemes send no {other:?}"),
            }
            self.sent.push((to, owned(&message)));
        }
        for (dpid, removed) in removals {
            self.event(dpid, Event::FlowRemoved(removed));
        }
        packets
    }

    /// Time passes, a second at a time.
    pub fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += Duration::from_secs(1);
            for dpid in self.switches.keys().copied().collect::<Vec<_>>() {
                for removed in self.switches.get_mut(&dpid).unwrap().expire(self.now) {
                    self.event(dpid, Event::FlowRemoved(removed));
                }
            }
            let mut out = Outcome::default();
            self.scheme.on_tick(self.now, &mut out);
            let sent = self.carry_out(out, None);
            self.send_unasked(sent);
        }
    }

    /// A port loses its link.
    pub fn port_down(&mut self, dpid: u64, port: u32) {
        let port = Port { number: PortNo(port), mac: MacAddr([2; 6]), name: "p".to_owned(), up: false };
        let status = PortStatus { reason: PortStatusReason::Modified, port };
        self.event(Dpid(dpid), Event::PortStatus(status));
    }

    pub fn ups(&self, dpid: u64) -> u64 {
        self.packet_ins.get(&Dpid(dpid)).copied().unwrap_or_default()
    }
}

fn owned(message: &Message<'_>) -> Message<'static> {
    match message {
        Message::FlowMod(flow) => Message::FlowMod(flow.clone()),
        Message::PacketOut(packet) => {
            Message::PacketOut(crate::openflow::PacketOut { data: Cow::Owned(packet.data.to_vec()), ..*packet })
        }
        Message::BarrierRequest => Message::BarrierRequest,
        other => panic!("the schemes send no {other:?}"),
    }
}

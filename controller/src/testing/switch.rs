//! A switch that keeps flows and says where a packet goes.

use std::time::Duration;

use crate::frame::Frame;
use crate::openflow::{Command, FlowMod, FlowRemoved, PacketOut, PortNo, Removal};

#[derive(Debug, Clone)]
struct Entry {
    flow: FlowMod,
    since: Duration,
    used: Duration,
    packets: u64,
}

/// One flow table.
#[derive(Debug, Clone, Default)]
pub struct FakeSwitch {
    pub ports: Vec<PortNo>,
    entries: Vec<Entry>,
}

impl FakeSwitch {
    pub fn with_ports(ports: Vec<PortNo>) -> Self {
        Self { ports, entries: Vec::new() }
    }

    /// Applies a flow-mod as section 4.6 of 1.0 says. Returns the removals that are to be told.
    pub fn apply(&mut self, now: Duration, flow: &FlowMod) -> Vec<FlowRemoved> {
        let same = |entry: &Entry| entry.flow.matching == flow.matching && entry.flow.priority == flow.priority;
        match flow.command {
            Command::Add => {
                self.entries.retain(|entry| !same(entry));
                self.entries.push(Entry { flow: flow.clone(), since: now, used: now, packets: 0 });
                Vec::new()
            }
            Command::ModifyStrict => {
                let changed = self.entries.iter_mut().filter(|entry| same(entry));
                changed.for_each(|entry| {
                    (entry.flow.output, entry.flow.copies) = (flow.output, flow.copies.clone());
                });
                Vec::new()
            }
            Command::DeleteStrict => self.remove(now, Removal::Deleted, same),
            Command::Delete => self.remove(now, Removal::Deleted, |entry| {
                flow.matching.covers(&entry.flow.matching)
                    && flow.out_port.is_none_or(|port| entry.flow.outputs().any(|output| output == port))
            }),
            other => panic!("the schemes send no {other:?}"),
        }
    }

    /// Ends flows whose time has come.
    pub fn expire(&mut self, now: Duration) -> Vec<FlowRemoved> {
        let over = |since: Duration, limit: u16| limit > 0 && now >= since + Duration::from_secs(limit.into());
        let mut told = self.remove(now, Removal::Hard, |entry| over(entry.since, entry.flow.hard_timeout));
        told.extend(self.remove(now, Removal::Idle, |entry| over(entry.used, entry.flow.idle_timeout)));
        told
    }

    fn remove(&mut self, now: Duration, reason: Removal, ends: impl Fn(&Entry) -> bool) -> Vec<FlowRemoved> {
        let mut told = Vec::new();
        self.entries.retain(|entry| {
            let keeps = !ends(entry);
            if !keeps && entry.flow.notify_removal {
                told.push(FlowRemoved {
                    matching: entry.flow.matching,
                    cookie: entry.flow.cookie,
                    priority: entry.flow.priority,
                    reason,
                    duration: (now - entry.since).as_secs() as u32,
                    idle_timeout: entry.flow.idle_timeout,
                    packets: entry.packets,
                    bytes: 0,
                });
            }
            keeps
        });
        told
    }

    /// Where a packet goes by itself; `None`: no flow, it goes up.
    pub fn forward(&mut self, now: Duration, in_port: PortNo, bytes: &[u8]) -> Option<Vec<PortNo>> {
        let exact = Frame::parse(bytes)?.exact_match(in_port);
        let matching = self.entries.iter_mut().filter(|entry| entry.flow.matching.covers(&exact));
        // In 1.0 flows that leave no field open come before all others.
        let entry = matching.rev().max_by_key(|entry| (entry.flow.matching == exact, entry.flow.priority))?;
        entry.used = now;
        entry.packets += 1;
        let outputs: Vec<PortNo> = entry.flow.outputs().collect();
        Some(outputs.into_iter().flat_map(|to| self.ports_of(to, in_port)).collect())
    }

    /// Where a packet-out sends its packet.
    pub fn send(&self, packet: &PacketOut<'_>) -> Vec<PortNo> {
        assert_eq!(packet.buffer, None, "this switch keeps no packets");
        packet.output.map(|to| self.ports_of(to, packet.in_port)).unwrap_or_default()
    }

    fn ports_of(&self, to: PortNo, in_port: PortNo) -> Vec<PortNo> {
        match to {
            PortNo::FLOOD | PortNo::ALL => self.ports.iter().copied().filter(|port| *port != in_port).collect(),
            PortNo::IN_PORT => vec![in_port],
            // A switch does not send a packet back where it came from, unless told by that name (section 3.3).
            port if port == in_port => Vec::new(),
            port => vec![port],
        }
    }

    pub fn flows(&self) -> impl Iterator<Item = &FlowMod> {
        self.entries.iter().map(|entry| &entry.flow)
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

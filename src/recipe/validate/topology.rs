//! Switches, links, interfaces and addresses.

use std::collections::HashMap;
use std::time::Duration;

use super::super::file::{LinkFile, NetworkFile, QueueLength, TrunkFile};
use super::super::problem::Finding;
use super::super::text::{At, Optional, Span, Text};
use super::super::unit::{Bandwidth, Delay, Loss, Whole};
use super::super::word::{NodeName, shown};
use super::hosts::HostDraft;
use super::{Notes, out_of_bounds, unknown_node, validate_name};
use crate::plan::{End, Host, Interface, Link, Network, Shape, Switch, address};

/// Switches of a recipe at most.
const MOST_SWITCHES: usize = 64;
/// Bytes of an interface name, without the terminating zero (IFNAMSIZ − 1).
const LONGEST_INTERFACE: usize = 15;
pub(super) const BANDWIDTHS: std::ops::RangeInclusive<Bandwidth> = Bandwidth(10_000)..=Bandwidth(100_000_000_000);
pub(super) const LONGEST_DELAY: Duration = Duration::from_secs(60);
const DEFAULT_QUEUE: u64 = 1000;
/// A full Ethernet frame in bits: 1500 bytes of IP and 14 of Ethernet.
const FULL_FRAME_BITS: f64 = 1514.0 * 8.0;

/// The network, and where its links are written.
pub(super) struct Topology {
    pub network: Network,
    /// For each link: where the link and its bandwidth are written.
    pub places: Vec<Span>,
    /// Where the recipe writes other values of each link.
    pub values: Vec<ValuePlaces>,
}

/// Where values of a link are written, of those that are.
#[derive(Debug, Clone)]
pub(super) struct ValuePlaces {
    pub delay: Option<Span>,
    pub loss: Option<Span>,
    queue: Option<Span>,
}

/// Islands of joined switches, as a disjoint-set forest over switch indices.
struct Islands(Vec<usize>);

impl Islands {
    fn of(&self, mut switch: usize) -> usize {
        while self.0[switch] != switch {
            switch = self.0[switch];
        }
        switch
    }

    /// Joins two islands; `false`: they were one already.
    fn join(&mut self, a: usize, b: usize) -> bool {
        let (a, b) = (self.of(a), self.of(b));
        self.0[a.max(b)] = a.min(b);
        a != b
    }
}

/// Switches and the trunks between them. What is wrong with them is noted; the rest is here all the same, so that
/// wrong links of hosts are told in the same breath.
pub(super) struct Fabric<'f> {
    names: Vec<&'f str>,
    islands: Islands,
    trunks: Vec<(usize, Plug)>,
}

/// A link from somewhere to a switch.
#[derive(Clone)]
pub(super) struct Plug {
    switch: usize,
    shape: Shape,
    /// Where its bandwidth is written, else the link.
    place: Span,
    values: ValuePlaces,
}

/// Reads switches and trunks.
pub(super) fn validate_fabric<'f>(file: &'f NetworkFile, notes: &mut Notes<'_>) -> Fabric<'f> {
    validate_switches(file, notes);
    let names: Vec<&str> = file.switches.value.iter().map(|text| text.text.as_str()).collect();
    let mut islands = Islands((0..names.len()).collect());
    let trunks = match file.trunks.get() {
        Some(trunks) => {
            trunks.iter().filter_map(|trunk| validate_trunk(trunk, &names, &mut islands, notes)).collect()
        }
        None => Vec::new(),
    };
    Fabric { names, islands, trunks }
}

fn validate_switches(file: &NetworkFile, notes: &mut Notes<'_>) {
    let list = &file.switches;
    if list.value.is_empty() || list.value.len() > MOST_SWITCHES {
        let message = format!("switches: there are {} switches", list.value.len());
        notes.error(
            Finding::new(&list.span, message, "here").help(format!("name 1 to {MOST_SWITCHES}: `switches: [s1]`")),
        );
        return;
    }
    for (index, text) in list.value.iter().enumerate() {
        if let Some(first) = list.value[..index].iter().find(|earlier| earlier.text == text.text) {
            let finding =
                Finding::new(&text.span, format!("switches: {} is listed twice", shown(&text.text)), "again");
            notes.error(finding.also(&first.span, "first").help("keep one of them"));
        } else {
            validate_name("switches", text, notes);
        }
    }
}

fn validate_trunk(
    trunk: &At<TrunkFile>,
    names: &[&str],
    islands: &mut Islands,
    notes: &mut Notes<'_>,
) -> Option<(usize, Plug)> {
    let between = &trunk.value.between;
    let written = ShapeText::from(&trunk.value);
    let (place, values) = (written.place(&trunk.span), written.values());
    let shape = validate_shape(&written, notes);
    let [a, b] = between.value.as_slice() else {
        let message = format!("between: a trunk joins two switches, here are {}", between.value.len());
        notes.error(Finding::new(&between.span, message, "here").help("write `between: [s1, s2]`"));
        return None;
    };
    let (from, to) = (find_switch("between", a, names, notes), find_switch("between", b, names, notes));
    let (from, to) = (from?, to?);
    if from == to {
        let finding =
            Finding::new(&b.span, format!("between: {} is joined to itself", shown(&b.text)), "the same switch");
        notes.error(finding.help("name two different switches"));
        return None;
    }
    if !islands.join(from, to) {
        let message = format!("between: {} and {} are joined already", shown(&a.text), shown(&b.text));
        let finding = Finding::new(&between.span, message, "closes a loop");
        notes
            .error(finding.help("leave this trunk out: packets would circle for ever, as there is no spanning tree"));
        return None;
    }
    Some((from, Plug { switch: to, shape: shape?, place, values }))
}

fn find_switch(key: &str, text: &Text<NodeName>, names: &[&str], notes: &mut Notes<'_>) -> Option<usize> {
    let found = names.iter().position(|name| *name == text.text);
    // Without any switch it is said there, once.
    if found.is_none() && !names.is_empty() {
        notes.error(unknown_node(key, "switch", &text.text, &text.span, names.to_vec()));
    }
    found
}

/// Reads the links of a host, or of hosts that are written as one. `None`: something is wrong.
pub(super) fn validate_plugs(
    host: &Text<NodeName>,
    links: &[&At<LinkFile>],
    fabric: &Fabric<'_>,
    notes: &mut Notes<'_>,
) -> Option<Vec<Plug>> {
    let mut plugs = Vec::new();
    let mut joined: Vec<(usize, &Text<NodeName>)> = Vec::new();
    for link in links {
        let to = &link.value.to;
        let written = ShapeText::from(&link.value);
        let shape = validate_shape(&written, notes);
        let Some(switch) = find_switch("to", to, &fabric.names, notes) else { continue };
        let islands = &fabric.islands;
        if let Some((_, first)) = joined.iter().find(|(earlier, _)| islands.of(*earlier) == islands.of(switch)) {
            let why = if first.text == to.text { "already" } else { "already, and the switches are joined" };
            let message = format!("to: {} has a link to {} {why}", shown(&host.text), shown(&first.text));
            let finding = Finding::new(&to.span, message, "second way into one subnet").also(&first.span, "first");
            notes.error(finding.help("keep one link for each group of joined switches"));
            continue;
        }
        joined.push((switch, to));
        let (place, values) = (written.place(&link.span), written.values());
        plugs.extend(shape.map(|shape| Plug { switch, shape, place, values }));
    }
    (plugs.len() == links.len()).then_some(plugs)
}

/// The keys that say what a link does to packets.
struct ShapeText<'f> {
    bandwidth: &'f Optional<Text<Bandwidth>>,
    delay: &'f Optional<Text<Delay>>,
    jitter: &'f Optional<Text<Delay>>,
    loss: &'f Optional<Text<Loss>>,
    queue: &'f Optional<Text<QueueLength>>,
}

impl<'f> From<&'f LinkFile> for ShapeText<'f> {
    fn from(file: &'f LinkFile) -> Self {
        let LinkFile { bandwidth, delay, jitter, loss, queue, to: _ } = file;
        ShapeText { bandwidth, delay, jitter, loss, queue }
    }
}

impl<'f> From<&'f TrunkFile> for ShapeText<'f> {
    fn from(file: &'f TrunkFile) -> Self {
        let TrunkFile { bandwidth, delay, jitter, loss, queue, between: _ } = file;
        ShapeText { bandwidth, delay, jitter, loss, queue }
    }
}

impl ShapeText<'_> {
    /// Where its bandwidth is written, else the link itself.
    fn place(&self, link: &Span) -> Span {
        self.bandwidth.get().map_or_else(|| link.clone(), |text| text.span.clone())
    }

    fn values(&self) -> ValuePlaces {
        ValuePlaces {
            delay: self.delay.get().map(|text| text.span.clone()),
            loss: self.loss.get().map(|text| text.span.clone()),
            queue: self.queue.get().map(|text| text.span.clone()),
        }
    }
}

fn validate_shape(written: &ShapeText<'_>, notes: &mut Notes<'_>) -> Option<Shape> {
    let bandwidth = match written.bandwidth.get() {
        None => Some(None),
        Some(text) => notes.read("bandwidth", text).and_then(|bandwidth| {
            if BANDWIDTHS.contains(&bandwidth) {
                return Some(Some(bandwidth.0));
            }
            let bounds = format!(
                "{} to {}; without one the link is as fast as the machine",
                BANDWIDTHS.start(),
                BANDWIDTHS.end()
            );
            notes.error(out_of_bounds("bandwidth", &text.text, &text.span, &bounds));
            None
        }),
    };
    let delay = notes.read_or("delay", written.delay, Delay(Duration::ZERO)).map(|delay| delay.0);
    if let (Some(delay), Some(text)) = (delay, written.delay.get())
        && delay > LONGEST_DELAY
    {
        notes.error(out_of_bounds("delay", &text.text, &text.span, &format!("{} at most", Delay(LONGEST_DELAY))));
        return None;
    }
    let jitter = notes.read_or("jitter", written.jitter, Delay(Duration::ZERO)).map(|jitter| jitter.0);
    if let (Some(delay), Some(jitter), Some(text)) = (delay, jitter, written.jitter.get())
        && jitter > delay
    {
        let message = format!("jitter: {} is more than the delay, {}", shown(&text.text), Delay(delay));
        let finding = Finding::new(&text.span, message, "too much");
        let finding = match written.delay.get() {
            Some(delay) => finding.also(&delay.span, "delay"),
            None => finding,
        };
        notes.error(finding.help("delays lie within delay ± jitter and cannot be negative"));
        return None;
    }
    let loss = notes.read_or("loss", written.loss, Loss(0.0)).map(|loss| loss.0);
    if let (Some(loss), Some(text)) = (loss, written.loss.get())
        && loss >= 1.0
    {
        let message = format!("loss: with {} no packet arrives", shown(&text.text));
        notes.error(Finding::new(&text.span, message, "too much").help("write less than 100 %"));
        return None;
    }
    let queue = notes.read_or("queue", written.queue, Whole(DEFAULT_QUEUE)).map(|queue| queue.0 as u32);
    Some(Shape { bandwidth: bandwidth?, delay: delay?, jitter: jitter?, loss: loss?, queue: queue? })
}

/// Numbers interfaces as Mininet does (`h-eth0` first on hosts, `s-eth1` first on switches, in the order of links)
/// and hands out addresses. `None`: something is wrong.
pub(super) fn build(
    file: &NetworkFile,
    fabric: &Fabric<'_>,
    drafts: &[HostDraft<'_>],
    notes: &mut Notes<'_>,
) -> Option<Topology> {
    let switches: Vec<Switch> =
        (1..).zip(&fabric.names).map(|(dpid, name)| Switch { name: (*name).to_owned(), dpid }).collect();
    // Islands in the order of their first switch, and how many interfaces of hosts each has.
    let islands = &fabric.islands;
    let roots: Vec<usize> = (0..switches.len()).filter(|switch| islands.of(*switch) == *switch).collect();
    let island = |switch: usize| roots.iter().position(|root| *root == islands.of(switch));
    let mut sizes = vec![0; roots.len()];
    for plug in drafts.iter().flat_map(|draft| &draft.plugs) {
        sizes[island(plug.switch)?] += 1;
    }
    let subnets = address::subnets(&sizes);
    let mut numbered = vec![0; roots.len()];

    let mut ports = vec![0; switches.len()];
    let mut next_port = |switch: usize| -> End {
        ports[switch] += 1;
        let node = switches[switch].name.clone();
        End { interface: format!("{node}-eth{}", ports[switch]), node }
    };
    let (mut links, mut places, mut values) = (Vec::new(), Vec::new(), Vec::new());
    let mut hosts = Vec::new();
    for draft in drafts {
        let mut interfaces = Vec::new();
        for plug in &draft.plugs {
            let island = island(plug.switch)?;
            let (address, prefix) = (subnets[island].address(numbered[island])?, subnets[island].prefix);
            numbered[island] += 1;
            let name = format!("{}-eth{}", draft.name, interfaces.len());
            let a = End { node: draft.name.clone(), interface: name.clone() };
            interfaces.push(Interface { name, mac: address::mac(address), address, prefix, link: links.len() });
            links.push(Link { a, b: next_port(plug.switch), shape: plug.shape });
            places.push(plug.place.clone());
            values.push(plug.values.clone());
        }
        hosts.push(Host { name: draft.name.clone(), role: draft.role, interfaces, player: draft.player.clone() });
    }
    for (from, plug) in &fabric.trunks {
        links.push(Link { a: next_port(*from), b: next_port(plug.switch), shape: plug.shape });
        places.push(plug.place.clone());
        values.push(plug.values.clone());
    }
    let network = Network { switches, hosts, links };
    check_interface_names(&network, file, notes)?;
    Some(Topology { network, places, values })
}

/// Long names and many ports together can be too much for Linux.
fn check_interface_names(network: &Network, file: &NetworkFile, notes: &mut Notes<'_>) -> Option<()> {
    let spans: HashMap<&str, &Span> =
        file.switches.value.iter().map(|text| (text.text.as_str(), &text.span)).collect();
    let mut ends = network.links.iter().flat_map(|link| [&link.a, &link.b]);
    let Some(end) = ends.find(|end| end.interface.len() > LONGEST_INTERFACE) else { return Some(()) };
    let span = spans.get(end.node.as_str()).copied().unwrap_or(&file.hosts.span);
    let message =
        format!("{}: its interface {} is longer than {LONGEST_INTERFACE} characters", end.node, end.interface);
    notes.error(Finding::new(span, message, "too long for so many links").help("choose a shorter name"));
    None
}

/// A queue that cannot hold what is on its way cannot keep the link busy.
pub(super) fn warn_of_queues(topology: &Topology, notes: &mut Notes<'_>) {
    let mut told: Vec<&Span> = Vec::new();
    for (n, link) in topology.network.links.iter().enumerate() {
        let (Some(bandwidth), place) = (link.shape.bandwidth, &topology.places[n]) else { continue };
        let needed = (bandwidth as f64 * link.shape.delay.as_secs_f64() / FULL_FRAME_BITS).ceil();
        if needed <= f64::from(link.shape.queue) || told.contains(&place) {
            continue;
        }
        told.push(place);
        let place = topology.values[n].queue.as_ref().unwrap_or(place);
        let message = format!(
            "a queue of {} packets is too short for {} x {}",
            link.shape.queue,
            Bandwidth(bandwidth),
            Delay(link.shape.delay)
        );
        let help = format!("packets are lost before the link is busy; write `queue: {needed}` or more");
        notes.warn(Finding::new(place, message, format!("{needed} packets are under way")).help(help));
    }
}

//! What a trial's captures hold, host by host.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use livectl_wire::StreamKey;
use livectl_wire::datagram::stream_number;

use super::flows::{self, Flow, Protocol};
use super::hop::{AtHost, Captured, Sighting, Sightings};
use super::pairing::Pairing;
use super::pictures::Pictures;
use super::trial::Sent;
use crate::capture::{self, Counts};
use crate::plan::{CapturePoint, LinkKind, RTMP_APP, SEGMENTS_PATH, Stream, Trial};
use crate::store::TrialDir;
use crate::{file, parallel};

/// What was captured at each host that matters: flows from it and to it.
pub(super) struct Captures {
    /// By host; `None`: nothing was, or none of it can be read.
    at: Vec<(String, Option<Vec<Captured>>)>,
}

impl Captures {
    /// Reads the captures of viewers, broadcasters and the CDN, as many at a time as there are processors.
    pub(super) fn read(
        dir: &Path,
        trial: &Trial,
        links: LinkKind,
        problems: &mut Vec<String>,
        damage: &mut Vec<String>,
    ) -> Self {
        let viewers: Vec<&str> =
            trial.streams.iter().flat_map(|stream| stream.viewers.iter().map(String::as_str)).collect();
        let senders = trial.streams.iter().map(|stream| stream.broadcaster.as_str());
        let senders = senders.chain(trial.network.cdn().map(|cdn| cdn.name.as_str()));
        let mut hosts: Vec<&str> = viewers.iter().copied().chain(senders).collect();
        hosts.sort_unstable();
        hosts.dedup();
        let points: Vec<&CapturePoint> =
            trial.captures.iter().filter(|point| hosts.contains(&point.host.as_str())).collect();
        let mut read = parallel::map(&points, |point| read_flows(dir, trial, links, point));

        let mut at: Vec<(String, Option<Vec<Captured>>)> = Vec::new();
        for host in hosts {
            let mut captured = None;
            let mine = points.iter().zip(&mut read).filter(|(point, _)| point.host == host);
            let mut any = false;
            for (point, read) in mine {
                any = true;
                let name = format!("pcap/{}.pcap", point.interface);
                match std::mem::replace(read, Err(String::new())) {
                    Ok(Capture { flows, damage: holes, other }) => {
                        let named = |problem: &String| format!("{name}: {problem}");
                        damage.extend(holes.iter().map(named));
                        problems.extend(holes.iter().chain(&other).map(named));
                        captured.get_or_insert_with(Vec::new).extend(flows);
                    }
                    Err(error) => {
                        damage.push(format!("{name}: {error}"));
                        problems.push(format!("{name}: {error}"));
                    }
                }
            }
            // Without a viewer's packets there is no delay; without a sender's it only cannot be split into parts.
            if !any && viewers.contains(&host) {
                problems.push(format!("{host}: nothing was captured there"));
            }
            at.push((host.to_owned(), captured));
        }
        Self { at }
    }

    /// What was fetched of the stream is known by its name, and its frames by their pictures.
    pub(super) fn recognise(&mut self, trial: &Trial, stream: &Stream, pictures: Option<&Pictures>) {
        let fetched = StreamKey::new(SEGMENTS_PATH, &stream.name).ok();
        let all = self.at.iter_mut().flat_map(|(_, captured)| captured.iter_mut().flatten());
        for Captured { flow, .. } in all.filter(|seen| seen.flow.protocol == Protocol::Hls) {
            let is_only = flow.stream.is_none() && trial.streams.len() == 1;
            if is_only || flow.stream.is_some() && flow.stream == fetched {
                flow.stream = StreamKey::new(RTMP_APP, &stream.name).ok();
                if let Some(pictures) = pictures {
                    pictures.recognise(flow);
                }
            }
        }
    }

    /// The flows captured at a host.
    pub(super) fn at(&self, host: &str) -> Option<&[Captured]> {
        self.at.iter().find(|(name, _)| name == host).and_then(|(_, flows)| flows.as_deref())
    }

    /// What the stream's broadcaster sent of it by a protocol.
    pub(super) fn sent_by(&self, trial: &Trial, stream: &Stream, protocol: Protocol) -> Option<Sent> {
        let key = StreamKey::new(RTMP_APP, &stream.name).ok()?;
        let mine = self.at(&stream.broadcaster)?.iter().map(|seen| &seen.flow).filter(|flow| {
            let from_here = is_address_of(trial, &stream.broadcaster, flow.from.ip());
            flow.protocol == protocol && from_here && flow.stream.as_ref() == Some(&key)
        });
        Some(mine.fold(Sent::default(), Sent::and))
    }

    /// Where the stream's frames were seen, at the hosts that sent any.
    pub(super) fn sightings(&self, trial: &Trial, stream: &Stream, pairing: &Pairing<'_>, born: usize) -> Sightings {
        let key = StreamKey::new(RTMP_APP, &stream.name).ok();
        let hosts = &trial.network.hosts;
        let mut at = Vec::new();
        for (host, name) in hosts.iter().map(|host| host.name.as_str()).enumerate() {
            let seen =
                self.at(name).unwrap_or_default().iter().filter(|seen| {
                    seen.flow.stream.is_some() && seen.flow.stream == key && !seen.flow.frames.is_empty()
                });
            let is_here = |address: SocketAddr| is_address_of(trial, name, address.ip());
            let (out_of, into): (Vec<&Captured>, Vec<&Captured>) = seen.partition(|seen| is_here(seen.flow.from));
            // Who sends none passes nothing on.
            if !out_of.is_empty() {
                let sightings =
                    |seen: Vec<&Captured>| seen.into_iter().map(|s| Sighting::new(s, pairing, born)).collect();
                at.push(AtHost { host, into: sightings(into), out_of: sightings(out_of) });
            }
        }
        let broadcaster = hosts.iter().position(|host| host.name == stream.broadcaster).unwrap_or(usize::MAX);
        Sightings { broadcaster, at }
    }
}

/// What a capture holds of its host.
struct Capture {
    flows: Vec<Captured>,
    /// For what is wrong there, it is not known which frames arrived or left.
    damage: Vec<String>,
    /// What else is wrong.
    other: Vec<String>,
}

fn read_flows(dir: &Path, trial: &Trial, links: LinkKind, point: &CapturePoint) -> Result<Capture, String> {
    let file = file::open(&TrialDir::at(dir).pcap(&point.interface)).map_err(|error| error.to_string())?;
    let (flows, facts) = flows::read(file).map_err(|error| error.to_string())?;
    let entered_before = entered_before(dir, trial, links, point);
    let is_mine = |address: SocketAddr| is_address_of(trial, &point.host, address.ip());
    let flows = flows.into_iter().map(|flow| of_group(trial, point, flow));
    let mine = flows.filter(|flow| is_mine(flow.from) || is_mine(flow.to));
    let mine: Vec<Captured> = mine.map(|flow| Captured { flow, entered_before }).collect();
    // What a client says to a server matters to nobody but for the stream's name, unless it publishes.
    let matters = |flow: &Flow| flow.is_from_server() && is_mine(flow.to) || !flow.frames.is_empty();
    let (mut damage, mut other) = (facts.problems, Vec::new());
    if facts.packets == 0 {
        damage.push("it holds no packets".to_owned());
    }
    damage.extend(miscounted(facts.packets, &TrialDir::at(dir).log(&point.host, &capture::name(point))));
    for seen in mine.iter().filter(|seen| matters(&seen.flow)) {
        if seen.flow.is_damaged() { &mut damage } else { &mut other }.extend(seen.flow.problems.iter().cloned());
    }
    Ok(Capture { flows: mine, damage, other })
}

/// What there is to say of a capture that does not hold as many packets as tcpdump's log says it wrote: one that was cut off between two packets
/// looks whole by itself. A tcpdump that was killed has not counted, and stored trials may be without logs.
fn miscounted(packets: u64, log: &Path) -> Option<String> {
    let log = file::read(log).ok()?;
    let counts = Counts::parse(&String::from_utf8_lossy(&log)).ok()?;
    let captured = counts.captured;
    (packets != captured).then(|| format!("it holds {packets} packets, and tcpdump wrote {captured}"))
}

/// A flow of datagrams has the stream that they number; and what others send to a group and is captured at a host has come to that host.
fn of_group(trial: &Trial, point: &CapturePoint, flow: Flow) -> Flow {
    let Protocol::Group(number) = flow.protocol else { return flow };
    let keys = trial.streams.iter().filter_map(|stream| StreamKey::new(RTMP_APP, &stream.name).ok());
    let stream = keys.into_iter().find(|key| stream_number(key) == number);
    let interfaces = trial.network.host(&point.host).map(|host| host.interfaces.as_slice()).unwrap_or_default();
    let own = interfaces.iter().find(|interface| interface.name == point.interface).map(|own| own.address);
    let to = match own.map(IpAddr::V4) {
        Some(own) if !is_address_of(trial, &point.host, flow.from.ip()) => SocketAddr::new(own, flow.to.port()),
        _ => flow.to,
    };
    Flow { stream, to, ..flow }
}

/// How long before it is captured there a packet entered the link. See [`hop`](super::hop).
fn entered_before(dir: &Path, trial: &Trial, links: LinkKind, point: &CapturePoint) -> Option<Duration> {
    let netem = match links {
        LinkKind::Netem => true,
        LinkKind::Emulated => false,
        LinkKind::Auto => !TrialDir::at(dir).emulator().exists(),
    };
    if !netem {
        return Some(Duration::ZERO);
    }
    let interfaces = &trial.network.host(&point.host)?.interfaces;
    let interface = interfaces.iter().find(|interface| interface.name == point.interface)?;
    let shape = trial.network.links.get(interface.link)?.shape;
    // With jitter, and where it changes, the link is another one: see `network::tc`.
    (shape.jitter.is_zero() && !trial.changes(interface.link, true)).then_some(shape.delay)
}

/// A switch that does not know where a host is shows its packets to all; those are not the viewer's.
pub(super) fn is_address_of(trial: &Trial, host: &str, address: IpAddr) -> bool {
    let interfaces = trial.network.host(host).map(|host| host.interfaces.as_slice()).unwrap_or_default();
    interfaces.iter().any(|interface| IpAddr::V4(interface.address) == address)
}

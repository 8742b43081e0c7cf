//! What came of a course, as what would have been captured and told.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::agenda::Nanos;
use super::connection::{Connection, Item};
use super::course::{Arrived, Course, Over, Viewer};
use super::network::Host;
use crate::plan::delivery::Carrier;
use crate::plan::{PEER_PORT, RTMP_PORT, Stream, Trial};
use crate::trace::{Births, FirstArrival, Hop, Sent, StreamBirths, Told, TrialTrace, ViewerTrace, Way, unarrived};

/// Where receivers' ports begin; nobody looks at them.
const PORTS: u16 = 40_000;

/// A stream's births, and which of the course's items are its frames.
pub(super) struct Frames<'a> {
    pub births: &'a Births,
    /// By frame, the number of its item in the course.
    pub items: Vec<Item>,
}

/// What would have been captured. `zero_ns` is moment 0 in nanoseconds of CLOCK_REALTIME.
pub(super) fn trace(course: &Course<'_>, trial: &Trial, streams: &[Frames<'_>], zero_ns: i64) -> TrialTrace {
    let stream_births = |(number, (stream, frames)): (usize, (&Stream, &Frames<'_>))| {
        let of = |carrier| {
            let mine = |connection: &&Connection| {
                let from = &trial.network.hosts[connection.from].name;
                connection.stream == number && connection.carrier == carrier && *from == stream.broadcaster
            };
            sent(course.connections.iter().filter(mine))
        };
        StreamBirths {
            stream: stream.name.clone(),
            births: Some(frames.births.clone()),
            to_cdn: Some(of(Carrier::Rtmp)),
            to_peers: Some(of(Carrier::Peer)),
            screens: None,
        }
    };
    let births = trial.streams.iter().zip(streams).enumerate().map(stream_births).collect();
    let viewers = course.viewers.iter().map(|viewer| {
        let stream = &trial.streams[viewer.stream];
        Sight { course, trial, viewer, stream, frames: &streams[viewer.stream], zero_ns }.trace()
    });
    let viewers = viewers.collect();
    TrialTrace { trial: trial.clone(), births, viewers, problems: Vec::new(), damage: Vec::new() }
}

/// What agents would have told, by host.
pub(super) fn told(course: &Course<'_>, trial: &Trial, zero_ns: i64) -> BTreeMap<String, Told> {
    let mut told: BTreeMap<String, Told> = BTreeMap::new();
    for viewer in &course.viewers {
        let facts = viewer.facts;
        let at = |moment: Option<Nanos>| moment.map(|moment| real(zero_ns, moment));
        let since = |moment: Option<Nanos>| Some(moment?.checked_sub(facts.began?)? as f64 / 1e6);
        let starts = viewer.stays.iter().zip(1..).map(|(stay, spell)| (spell, real(zero_ns, stay.from)));
        let ends = viewer.stays.iter().zip(1..).filter_map(|(stay, spell)| Some((spell, real(zero_ns, stay.end?.0))));
        let entry = Told {
            player_started_ns: viewer.stays.first().map(|stay| real(zero_ns, stay.from)),
            players_started_ns: starts.collect(),
            departed_ns: ends.collect(),
            connect_ms: since(facts.connected),
            play_accepted_ns: at(facts.playing),
            play_ms: since(facts.playing),
            first_picture_ms: since(facts.first_picture),
            introduced_ns: at(facts.introduced),
            peer_connected_ns: at(facts.reached),
            first_from_peer_ns: at(facts.first_from_peer),
            ..Told::default()
        };
        told.insert(trial.network.hosts[viewer.host].name.clone(), entry);
    }
    told
}

fn real(zero_ns: i64, moment: Nanos) -> i64 {
    zero_ns.saturating_add_unsigned(moment)
}

fn sent<'a>(connections: impl Iterator<Item = &'a Connection>) -> Sent {
    connections.fold(Sent::default(), |sum, connection| {
        let (bytes, again) = connection.sender.sent();
        Sent { bytes: sum.bytes + bytes, again: sum.again + again }
    })
}

/// A stream at a viewer.
struct Sight<'a> {
    course: &'a Course<'a>,
    trial: &'a Trial,
    viewer: &'a Viewer,
    stream: &'a Stream,
    frames: &'a Frames<'a>,
    zero_ns: i64,
}

impl Sight<'_> {
    fn trace(&self) -> ViewerTrace {
        let name = self.name(self.viewer.host);
        let mut frames = unarrived(self.trial, self.stream, name, self.frames.births, self.zero_ns);
        for (frame, item) in frames.iter_mut().zip(&self.frames.items) {
            let Some(arrived) = self.viewer.arrivals[*item] else { continue };
            frame.arrival = Some(self.first(arrived));
            frame.copies = self.viewer.copies[*item];
            frame.way = self.way(*item, arrived);
        }
        let to_me = |carrier: Carrier| {
            let mine = move |connection: &&Connection| {
                connection.to == self.viewer.host
                    && connection.stream == self.viewer.stream
                    && connection.carrier == carrier
            };
            self.course.connections.iter().filter(mine)
        };
        let came = |carrier| to_me(carrier).map(|connection| connection.receiver.came().0).sum::<u64>();
        let again = |carrier| to_me(carrier).map(|connection| connection.receiver.came().1).sum::<u64>();
        let broadcaster = &self.stream.broadcaster;
        let by_viewers = to_me(Carrier::Peer).filter(|connection| self.name(connection.from) != broadcaster);
        ViewerTrace {
            stream: self.stream.name.clone(),
            viewer: name.to_owned(),
            frames,
            cdn_bytes: Some(came(Carrier::Rtmp)),
            peer_bytes: Some(came(Carrier::Peer)),
            group_bytes: Some(self.viewer.group_bytes),
            viewer_bytes: Some(by_viewers.map(|connection| connection.receiver.came().0).sum()),
            repeated_bytes: Some(again(Carrier::Rtmp) + again(Carrier::Peer)),
            cdn_sent: Some(sent(to_me(Carrier::Rtmp))),
            peer_sent: Some(sent(to_me(Carrier::Peer))),
            foreign: 0,
            dumps: Vec::new(),
        }
    }

    fn name(&self, host: Host) -> &str {
        &self.trial.network.hosts[host].name
    }

    fn first(&self, arrived: Arrived) -> FirstArrival {
        let (from, carrier, port) = match arrived.over {
            Over::Connection(at) => {
                let connection = &self.course.connections[at];
                (connection.from, connection.carrier, PORTS.wrapping_add(at as u16))
            }
            Over::Group(_) => (self.broadcaster(), Carrier::Group, PORTS),
        };
        let [here, there] = [self.name(self.viewer.host), self.name(from)];
        let address = |address: Option<Ipv4Addr>| IpAddr::V4(address.unwrap_or(Ipv4Addr::UNSPECIFIED));
        let serves = if carrier == Carrier::Rtmp { RTMP_PORT } else { PEER_PORT };
        FirstArrival {
            time_ns: real(self.zero_ns, arrived.at),
            first_byte_ns: real(self.zero_ns, arrived.first),
            carrier,
            from: SocketAddr::new(address(self.trial.network.own_address(there, here)), serves),
            to: SocketAddr::new(address(self.trial.network.own_address(here, there)), port),
            segment: None,
        }
    }

    fn broadcaster(&self) -> Host {
        self.trial.network.hosts.iter().position(|host| host.name == self.stream.broadcaster).unwrap_or_default()
    }

    /// The hops of an item's first copy, from the broadcaster on.
    fn way(&self, item: Item, arrived: Arrived) -> Way {
        let mut hops = Vec::new();
        let mut over = arrived.over;
        // Nobody passes an item on before it has it, so there are no more hops than hosts.
        for _ in 0..self.trial.network.hosts.len() {
            let connection = match over {
                Over::Group(left) => {
                    hops.push(Hop {
                        from: Some(self.broadcaster()),
                        carrier: Carrier::Group,
                        left_ns: Some(real(self.zero_ns, left)),
                        whole_ns: real(self.zero_ns, arrived.at),
                    });
                    hops.reverse();
                    return Way { hops, is_whole: true };
                }
                Over::Connection(at) => {
                    let connection = &self.course.connections[at];
                    let Some((piece, whole)) = connection.piece(item).and_then(|piece| Some((piece, piece.whole?)))
                    else {
                        break;
                    };
                    hops.push(Hop {
                        from: Some(connection.from),
                        carrier: connection.carrier,
                        left_ns: piece.left.map(|left| real(self.zero_ns, left)),
                        whole_ns: real(self.zero_ns, whole),
                    });
                    connection
                }
            };
            if connection.from == self.broadcaster() {
                hops.reverse();
                return Way { hops, is_whole: true };
            }
            let before = match connection.carrier {
                Carrier::Rtmp => self.course.upload(self.viewer.stream).map(Over::Connection),
                _ => self.course.arrival(self.viewer.stream, connection.from, item).map(|arrived| arrived.over),
            };
            match before {
                Some(before) => over = before,
                None => break,
            }
        }
        hops.reverse();
        Way { hops, is_whole: false }
    }
}

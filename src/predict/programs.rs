//! What programs do with a stream: the broadcaster's agent, nginx-rtmp, and agents of viewers.

use super::agenda::Nanos;
use super::connection::Item;
use super::course::{Arrived, Course, Datagram, Event, Over, Word};
use crate::plan::delivery::Carrier;
use crate::trace::floor::TAG_OVERHEAD;
use livectl_policy::pacing;
use livectl_wire::datagram;

/// What RTMP adds to a message: a header of 12 bytes, and one byte for each further chunk of 4096.
const RTMP_HEADER: u64 = 12;
const RTMP_CHUNK: u64 = 4096;
/// Agents pass on pictures of more bytes while they come, but for the last so many.
pub(super) const CUT_THROUGH: u64 = 1434;
const HELD_BACK: u64 = 64;
/// Between two looks of the broadcaster's agent at what peers leave of the uplink.
pub(super) const LOOK: Nanos = 250_000_000;
/// Over how many looks it takes the stream's rate, and from how many on it knows it.
pub(super) const RATE_LOOKS: usize = 8;
pub(super) const LEAST_LOOKS: usize = 4;
/// Headers of Ethernet, IPv4 and UDP.
pub(super) const UDP_HEADERS: usize = 14 + 20 + 8;

impl Course<'_> {
    pub(super) fn born(&mut self, number: usize) {
        let stream = &mut self.streams[number];
        let item = stream.born;
        let born = stream.items[item];
        stream.born += 1;
        stream.born_bytes += born.bytes;
        if let Some(next) = stream.items.get(item + 1) {
            self.agenda.note(next.at, Event::Born { stream: number });
        }
        for at in 0..self.streams[number].peers.len() {
            self.give(self.streams[number].peers[at], item);
        }
        if self.streams[number].is_grouped {
            let to = self.streams[number].group.clone();
            self.give_group(number, item, &to);
        }
        self.give(self.streams[number].upload, item);
    }

    /// A program writes an item that it has whole.
    pub(super) fn give(&mut self, at: usize, item: Item) {
        let connection = &mut self.connections[at];
        if !connection.is_over {
            let bytes = on_the_wire(connection.carrier, self.streams[connection.stream].items[item].bytes);
            connection.give(item, bytes, bytes, self.agenda.now());
            self.send(at);
        }
    }

    /// The broadcaster's agent sends an item as datagrams that switches copy to these viewers.
    pub(super) fn give_group(&mut self, stream: usize, item: Item, to: &[usize]) {
        let broadcaster = self.streams[stream].broadcaster;
        let ways = to.iter().filter_map(|viewer| {
            Some((*viewer, self.network.way(self.trial, broadcaster, self.viewers[*viewer].host)?))
        });
        let to: Vec<_> = ways.collect();
        let mut left = self.streams[stream].items[item].bytes as usize;
        loop {
            let part = left.min(datagram::MAX_PART);
            left -= part;
            let bytes = part + datagram::HEADER_LEN + UDP_HEADERS;
            let now = self.agenda.now();
            self.multicast(Datagram { stream, item, part: part as u32, bytes, left: now, to: to.clone() });
            if left == 0 {
                return;
            }
        }
    }

    /// A datagram has come to a viewer.
    pub(super) fn has_part(&mut self, at: usize, datagram: &Datagram) {
        let now = self.agenda.now();
        let bytes = self.streams[datagram.stream].items[datagram.item].bytes;
        let viewer = &mut self.viewers[at];
        if !viewer.is_there {
            return;
        }
        viewer.parts.resize(viewer.has.len(), (0, 0));
        let (come, first) = viewer.parts[datagram.item];
        let first = if come == 0 { now } else { first };
        viewer.parts[datagram.item] = (come + datagram.part, first);
        viewer.group_bytes += datagram.part as u64 + datagram::HEADER_LEN as u64;
        if u64::from(come + datagram.part) < bytes || (come > 0 && u64::from(come) >= bytes) {
            return;
        }
        viewer.copies[datagram.item] += 1;
        let over = Over::Group(datagram.left);
        viewer.arrivals[datagram.item].get_or_insert(Arrived { at: now, first, over });
        self.has(at, datagram.item, None);
    }

    /// A program has read what has come over a connection.
    pub(super) fn read(&mut self, at: usize) {
        let connection = &mut self.connections[at];
        connection.reading = false;
        let (number, to, is_peer) = (connection.stream, connection.to, connection.carrier == Carrier::Peer);
        let mut whole = Vec::new();
        while let Some(item) = connection.read_whole() {
            whole.push(item);
        }
        if to == self.cdn {
            for item in whole {
                for at in 0..self.streams[number].subscribed.len() {
                    self.give(self.streams[number].subscribed[at], item);
                }
            }
            return;
        }
        let partly = connection.partly();
        let Some(viewer) = self.viewer_at(number, to).filter(|viewer| self.viewers[*viewer].is_there) else { return };
        for item in whole {
            self.has(viewer, item, Some(at));
        }
        if let Some((item, come)) = partly.filter(|_| is_peer) {
            self.pass_on_while_it_comes(viewer, item, come);
        }
    }

    /// A viewer's agent has an item; `over` which connection, unless as datagrams.
    fn has(&mut self, at: usize, item: Item, over: Option<usize>) {
        let now = self.agenda.now();
        let is_from_cdn = over.is_some_and(|over| self.connections[over].carrier == Carrier::Rtmp);
        let viewer = &mut self.viewers[at];
        if is_from_cdn && viewer.leaves_cdn || std::mem::replace(&mut viewer.has[item], true) {
            return;
        }
        viewer.had_peer |= !is_from_cdn;
        let born = self.streams[viewer.stream].items[item];
        if viewer.first.is_none_or(|first| item < first) {
            viewer.first = Some(item);
            viewer.upto = item;
        }
        while viewer.has.get(viewer.upto).is_some_and(|has| *has) {
            viewer.upto += 1;
        }
        let host = viewer.host;
        if born.is_frame && viewer.stays.len() == 1 {
            if born.keyframe {
                viewer.facts.first_picture.get_or_insert(now);
            }
            if !is_from_cdn {
                viewer.facts.first_from_peer.get_or_insert(now);
            }
        }
        let serves = over.is_none() || over == viewer.from_parent;
        if serves && !is_from_cdn && !std::mem::replace(&mut viewer.is_cdn_paused, true) {
            self.say(host, self.cdn, Word::Pause { viewer: at });
        }
        for child in self.viewers[at].children.clone() {
            self.give_in_order(child, item);
        }
    }

    /// A child gets an item that follows what it got last. Within a picture nothing else can be said: who has the beginning of
    /// one that does not go on is let go.
    fn give_in_order(&mut self, child: usize, item: Item) {
        match self.connections[child].given() {
            Some((last, _)) if last > item => {}
            Some((last, is_whole)) if last != item && !is_whole => {
                let (from, to) = (self.connections[child].from, self.connections[child].to);
                self.say(from, to, Word::Gone { connection: child });
                self.stop(child);
            }
            _ => self.give(child, item),
        }
    }

    /// What has come of a picture of more than a packet goes on to the children that have all before it.
    fn pass_on_while_it_comes(&mut self, at: usize, item: Item, come: u64) {
        let viewer = &self.viewers[at];
        let payload = self.streams[viewer.stream].items[item].bytes;
        let bytes = on_the_wire(Carrier::Peer, payload);
        if payload <= CUT_THROUGH || viewer.upto != item || viewer.has[item] || come <= HELD_BACK {
            return;
        }
        // The first picture of all is passed on when it is whole.
        let items = &self.streams[viewer.stream].items;
        if !viewer.first.is_some_and(|first| items[first..item].iter().any(|before| before.is_frame)) {
            return;
        }
        let given = come.min(bytes) - HELD_BACK;
        for place in 0..self.viewers[at].children.len() {
            let child = self.viewers[at].children[place];
            let connection = &mut self.connections[child];
            let is_next = match connection.given() {
                None => false,
                Some((last, is_whole)) => last == item || last + 1 == item && is_whole,
            };
            if is_next && !connection.is_over && connection.sender.waiting() == 0 {
                connection.give(item, bytes, given, self.agenda.now());
                self.send(child);
            }
        }
    }

    /// The broadcaster's agent looks at what its peers leave of the uplink, again and again.
    pub(super) fn look(&mut self, number: usize) {
        let stream = &mut self.streams[number];
        stream.looks.push(stream.born_bytes);
        let upload = &self.connections[stream.upload];
        let is_done = stream.born >= stream.items.len() && upload.sender.waiting() == 0;
        if !is_done {
            self.agenda.note(self.agenda.now() + LOOK, Event::Look { stream: number });
            self.pace(number);
        }
    }

    /// Paces the upload to the CDN by what peers leave.
    pub(super) fn pace(&mut self, number: usize) {
        let Some(uplink) = self.uplink(number) else { return };
        let stream = &self.streams[number];
        let looks = &stream.looks[stream.looks.len().saturating_sub(RATE_LOOKS + 1)..];
        let measured = (looks.len() > LEAST_LOOKS).then(|| {
            let seconds = (looks.len() - 1) as f64 * LOOK as f64 / 1e9;
            (looks[looks.len() - 1] - looks[0]) as f64 * 8.0 / seconds
        });
        let rate = measured.unwrap_or(self.trial.video.total_bitrate() as f64).max(1.0);
        let seconds = |connection: usize| self.connections[connection].sender.waiting() as f64 * 8.0 / rate;
        let now = self.agenda.now();
        let expected = stream.expected.iter().filter(|(_, until)| now < *until).count();
        let peers = stream.peers.len() + expected + usize::from(stream.is_grouped);
        let lag = stream.peers.iter().map(|peer| seconds(*peer)).fold(0.0, f64::max);
        let catching_up = expected > 0 || measured.is_none() || lag > pacing::TOLERATED_LAG;
        let behind = seconds(stream.upload) > pacing::CDN_LAG;
        let allowed = (peers > 0).then(|| pacing::allowance(uplink, Some(rate), peers, catching_up, behind));
        let upload = stream.upload;
        if pacing::differs(stream.allowed, allowed) {
            self.streams[number].allowed = allowed;
            let pace = allowed.map(|allowed| f64::from(pacing::payload_per_s(allowed)));
            self.connections[upload].sender.pace(pace);
            self.connections[upload].paced = None;
            self.send(upload);
        }
    }

    /// The rate of the link over which a broadcaster sends to the CDN; `None`: it has no limit.
    fn uplink(&self, number: usize) -> Option<u64> {
        let cdn = self.trial.network.cdn()?;
        let link = self.trial.network.uplink(&self.trial.streams[number].broadcaster, &cdn.name)?;
        self.trial.network.links[link].shape.bandwidth
    }
}

/// Bytes of an item on a connection.
pub(super) fn on_the_wire(carrier: Carrier, payload: u64) -> u64 {
    match carrier {
        Carrier::Peer | Carrier::Group => payload + u64::from(TAG_OVERHEAD),
        Carrier::Rtmp | Carrier::Hls => payload + RTMP_HEADER + payload.saturating_sub(1) / RTMP_CHUNK,
    }
}

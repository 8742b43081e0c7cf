//! When the last of a stream's viewers could have a frame at the earliest, if viewers pass it on to each other in
//! whole copies: the greedy order of earliest arrival ([`livectl_policy::bound::greedy`]) on the plan's links, where
//! no host sends more copies than its uplink carries of the stream.
//!
//! A copy takes its time on the sender's uplink, one after the other; from there to the receiver it takes what the
//! floor takes beside that.

use std::collections::HashMap;
use std::time::Duration;

use livectl_policy::bound::{self, Class, Uplink, greedy};
use livectl_policy::uplink::Rate;

use super::floor::floor;
use crate::plan::{Shape, Stream, Trial};

/// For two sizes of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// A frame of mean size.
    pub mean: Duration,
    /// One that is larger than 95 % of them.
    pub p95: Duration,
}

/// What a stream takes of the uplinks of those who have it, and what these carry at most, whatever the tree.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Carriage {
    /// What one copy takes of an uplink, in bit/s.
    pub copy: f64,
    /// The greatest rate at which all viewers can have it from the broadcaster, who also sends the CDN its copy, and
    /// from each other, in bit/s ([`livectl_policy::bound::rate`]); `None`: there is no limit.
    pub greatest_rate: Option<f64>,
    /// How many viewers it has to pass on its way to the farthest one, at least ([`livectl_policy::bound::depth`]
    /// less one); `None`: whole copies do not suffice for all.
    pub depth: Option<u32>,
    /// The part of the bytes that viewers carry if the broadcaster gives all the whole copies that its uplink has
    /// room for, 0 to 1.
    pub by_viewers: f64,
}

impl Carriage {
    /// By the plan. `None`: some viewers are out of each other's reach, or there are none.
    #[must_use]
    pub fn of(trial: &Trial, stream: &Stream) -> Option<Carriage> {
        let audience = Audience::of(trial, stream)?;
        let copy = rate(trial).copy();
        let (first, viewers) = audience.hosts.split_first()?;
        let up = |host: &(usize, u32)| audience.places[host.0].link.bandwidth.map_or(f64::INFINITY, |up| up as f64);
        let all = audience.viewers();
        let uplinks: Vec<f64> = all.clone().map(|viewer| up(&viewers[viewer])).collect();
        let greatest = bound::rate((up(first) - copy).max(0.0), &uplinks);
        let most = viewers.iter().map(|(_, copies)| *copies).max()?;
        let count = u32::try_from(all.len()).ok()?;
        Some(Carriage {
            copy,
            greatest_rate: Some(greatest).filter(|rate| rate.is_finite()),
            depth: bound::depth(count, first.1, most).map(|hops| hops.saturating_sub(1)),
            by_viewers: bound::carried_by_viewers(count, first.1),
        })
    }
}

/// That of the trial's streams, which are alike.
fn rate(trial: &Trial) -> Rate {
    Rate { bit_per_s: trial.video.total_bitrate() as f64, frames_per_s: f64::from(trial.video.fps.max(1)) }
}

/// A host's link, and where it leads to. Hosts with equal ones are alike.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Place<'a> {
    switch: &'a str,
    link: Shape,
}

impl Bound {
    /// Of a stream whose frames had these sizes in bytes. `None`: there are none, some viewers are out of each
    /// other's reach, or all uplinks together carry less than a copy for each viewer.
    #[must_use]
    pub fn of(trial: &Trial, stream: &Stream, sizes: &[u32]) -> Option<Bound> {
        let mut sizes = sizes.to_vec();
        sizes.sort_unstable();
        let mean = sizes.iter().map(|size| u64::from(*size)).sum::<u64>().checked_div(sizes.len() as u64)?;
        let p95 = *sizes.get((sizes.len() * 95 / 100).min(sizes.len() - 1))?;
        let audience = Audience::of(trial, stream)?;
        Some(Bound { mean: audience.last(u32::try_from(mean).ok()?)?, p95: audience.last(p95)? })
    }
}

struct Audience<'a> {
    /// How many viewers those of the plan stand for, if for more than themselves.
    crowd: Option<usize>,
    places: Vec<Place<'a>>,
    /// Of each host, the broadcaster first: its place, and how many copies it can send.
    hosts: Vec<(usize, u32)>,
    /// The links between two switches.
    ways: HashMap<(&'a str, &'a str), Vec<Shape>>,
}

impl<'a> Audience<'a> {
    fn of(trial: &'a Trial, stream: &'a Stream) -> Option<Self> {
        let network = &trial.network;
        let cdn = &network.cdn()?.name;
        let rate = rate(trial);
        let names = || std::iter::once(&stream.broadcaster).chain(&stream.viewers);
        let (mut places, mut hosts): (Vec<Place<'a>>, Vec<(usize, u32)>) = (Vec::new(), Vec::new());
        // Someone at each switch.
        let mut at: Vec<(&'a str, &'a str)> = Vec::new();
        for name in names() {
            let link = network.links.get(network.uplink(name, cdn)?)?;
            let place = Place { switch: &link.b.node, link: link.shape };
            if !at.iter().any(|(switch, _)| *switch == place.switch) {
                at.push((place.switch, name));
            }
            let index = places.iter().position(|other| *other == place).unwrap_or_else(|| {
                places.push(place);
                places.len() - 1
            });
            // The broadcaster sends the CDN its copy.
            let other = if hosts.is_empty() { rate.copy() } else { 0.0 };
            hosts.push((index, rate.copies(link.shape.bandwidth.map(|bandwidth| bandwidth as f64), other)));
        }
        let mut ways = HashMap::new();
        for (from, one) in &at {
            for (to, other) in at.iter().filter(|(to, _)| to != from) {
                let path = network.path(one, other)?;
                ways.insert((*from, *to), path.get(1..path.len() - 1).unwrap_or_default().to_vec());
            }
        }
        Some(Self { crowd: trial.crowd, places, hosts, ways })
    }

    /// All viewers, each as the place of the one in the plan that is like it.
    fn viewers(&self) -> impl ExactSizeIterator<Item = usize> + Clone + use<> {
        let plan = self.hosts.len() - 1;
        let all = self.crowd.unwrap_or(plan);
        (0..all).map(move |viewer| Trial::stands_for(viewer, all, plan))
    }

    /// The broadcaster, and viewers by what they have.
    fn classes(&self, copy_times: &[Duration]) -> (Vec<Class>, Vec<usize>) {
        let class = |(place, copies): (usize, u32), hosts| Class {
            uplink: Uplink { copies, copy_time: copy_times[place] },
            hosts,
        };
        let mut counts: Vec<((usize, u32), usize)> = Vec::new();
        for viewer in self.viewers() {
            let host = self.hosts[viewer + 1];
            match counts.iter_mut().find(|(known, _)| *known == host) {
                Some((_, count)) => *count += 1,
                None => counts.push((host, 1)),
            }
        }
        let all = std::iter::once((self.hosts[0], 1)).chain(counts);
        all.map(|(host, count)| (class(host, count), host.0)).unzip()
    }

    /// When the last viewer has a frame of that size, since it was born; `None`: one never has.
    fn last(&self, size: u32) -> Option<Duration> {
        let alone =
            |place: &Place<'_>| floor(&[Shape { delay: Duration::ZERO, jitter: Duration::ZERO, ..place.link }], size);
        let copy_times: Vec<Duration> = self.places.iter().map(alone).collect();
        let between = |from: usize, to: usize| {
            let (one, other) = (&self.places[from], &self.places[to]);
            let way = self.ways.get(&(one.switch, other.switch)).map(Vec::as_slice).unwrap_or_default();
            let path: Vec<Shape> = std::iter::once(one.link).chain(way.iter().copied()).chain([other.link]).collect();
            floor(&path, size).saturating_sub(copy_times[from])
        };
        let all = 0..self.places.len();
        let delays: Vec<Vec<Duration>> =
            all.clone().map(|from| all.clone().map(|to| between(from, to)).collect()).collect();
        if self.crowd.is_some() {
            let (classes, places) = self.classes(&copy_times);
            return bound::last_of(&classes, |from, to| delays[places[from]][places[to]]);
        }
        let uplinks: Vec<Uplink> = self
            .hosts
            .iter()
            .map(|(place, copies)| Uplink { copies: *copies, copy_time: copy_times[*place] })
            .collect();
        let arrivals = greedy(&uplinks, |from, to| delays[self.hosts[from].0][self.hosts[to].0]);
        arrivals
            .into_iter()
            .map(|arrival| arrival.map(|arrival| arrival.at))
            .collect::<Option<Vec<_>>>()?
            .into_iter()
            .max()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn bound(count: u32, link: &str, sizes: &[u32]) -> Option<Bound> {
        let trial = planned(count, link);
        Bound::of(&trial, &trial.streams[0], sizes)
    }

    fn planned(count: u32, link: &str) -> Trial {
        let text = format!(
            "
video: {{ bitrate: 500 kbit/s, fps: 30, frames: 30 }}
network:
  switches: [s1]
  hosts:
    hb: {{ role: broadcaster, link: {{ to: s1, {link}, delay: 2 ms }} }}
    hs: {{ role: cdn, link: {{ to: s1, delay: 2 ms }} }}
    hv: {{ role: viewer, count: {count}, link: {{ to: s1, {link}, delay: 2 ms }} }}
"
        );
        crate::recipe::from_str("bound.yaml", &text).unwrap().plan.trials.remove(0)
    }

    #[test]
    fn what_uplinks_carry() {
        let of = |count, link| {
            let trial = planned(count, link);
            Carriage::of(&trial, &trial.streams[0]).unwrap()
        };
        let four = of(32, "bandwidth: 2 Mbit/s");
        assert_eq!(four.copy, 530_000.0);
        // (2 − 0.53 + 32 · 2) / 32 Mbit/s, but no more than the broadcaster has left.
        assert_eq!(four.greatest_rate, Some(1_470_000.0));
        assert_eq!(of(500, "bandwidth: 700 kbit/s").greatest_rate, Some(170_000.0));
        // Two copies from the broadcaster, three from each viewer: 2 + 6 + 18 + 54.
        assert_eq!((four.depth, four.by_viewers), (Some(3), 30.0 / 32.0));
        assert_eq!((of(2, "bandwidth: 2 Mbit/s").depth, of(2, "bandwidth: 2 Mbit/s").by_viewers), (Some(0), 0.0));
        let none = of(8, "bandwidth: 600 kbit/s");
        assert_eq!((none.depth, none.by_viewers), (None, 1.0));
        assert_eq!(of(8, "queue: 10").greatest_rate, None);
    }

    #[test]
    fn one_packet_from_link_to_link() {
        // 985 + 15 + 66 bytes take 4.264 ms at 2 Mbit/s, on each of two links of 2 ms.
        let (tau, hop) = (Duration::from_nanos(4_264_000), Duration::from_nanos(2 * 4_264_000 + 4_000_000));
        let last = |viewers| bound(viewers, "bandwidth: 2 Mbit/s", &[985]).unwrap().mean;
        assert_eq!(last(1), hop);
        assert_eq!(last(2), hop + tau, "as the broadcaster's second copy");
        // The broadcaster has copies for two beside the CDN; the third is the first one's, which begins when it has
        // the frame.
        assert_eq!(last(3), hop * 2);
        assert_eq!(last(4), hop * 2 + tau);
    }

    #[test]
    fn sizes_and_what_cannot_be() {
        let sizes: Vec<u32> = (1..=100).map(|n| if n > 95 { 3000 } else { 500 }).collect();
        let both = bound(8, "bandwidth: 2 Mbit/s", &sizes).unwrap();
        assert!(both.p95 > both.mean * 2, "{both:?}");
        assert_eq!(bound(8, "bandwidth: 2 Mbit/s", &[]), None);
        assert_eq!(
            bound(8, "bandwidth: 600 kbit/s", &sizes),
            None,
            "an uplink carries one copy, and the broadcaster's goes to the CDN"
        );
        assert_eq!(bound(8, "queue: 10", &[985]).unwrap().mean, Duration::from_millis(4), "nothing takes any time");
    }
}

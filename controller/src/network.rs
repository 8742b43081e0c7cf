//! What is known of a network beforehand (`--network FILE`): uplinks, delays, rates of streams; and what is assumed
//! where nothing is known.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use livectl_policy::uplink::{self, Rate};
use livectl_policy::{Member, Switches};
use livectl_wire::network_map::NetworkMap;
use livectl_wire::{StreamKey, StreamKeyError};

/// Copies that an uplink carries of which nothing is known.
pub const UNKNOWN_COPIES: u32 = 3;
/// The time that a copy of a frame takes there: with 30 pictures a second four follow each other without a gap.
pub const UNKNOWN_COPY_TIME: Duration = Duration::from_micros(8333);

/// Switches that a map has, at most.
const MAX_SWITCHES: usize = 1024;

/// A network as it is known beforehand. By default nothing is.
#[derive(Debug, Clone, Default)]
pub struct Network {
    hosts: HashMap<Ipv4Addr, Host>,
    rates: BTreeMap<StreamKey, Rate>,
    switches: Switches,
    count: usize,
    /// Whether a map was given.
    is_known: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Host {
    switch: usize,
    delay: Duration,
    up: Option<f64>,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The file cannot be read.
    #[error("cannot read {file}: {error}")]
    Read {
        /// Path of the file.
        file: String,
        /// The underlying I/O error.
        error: io::Error,
    },
    /// It is not JSON, or not of the form of a map.
    #[error("{file} is not a network map: {error}")]
    Form {
        /// Path of the file.
        file: String,
        /// What is wrong, with line and column.
        error: serde_json::Error,
    },
    /// A value that means nothing.
    #[error("{file} is not a network map: {what}")]
    Value {
        /// Path of the file.
        file: String,
        /// What is wrong with which value.
        what: ValueError,
    },
}

/// What is wrong with a value of a map.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ValueError {
    /// The key of a stream cannot be one.
    #[error("streams.{key:?}: {error}")]
    Stream {
        /// The key as it stands there.
        key: String,
        /// What is wrong with it.
        error: StreamKeyError,
    },
    /// A rate of that stream is not more than 0.
    #[error("streams.{0:?}: bit_per_s and frames_per_s must be more than 0")]
    Rate(String),
    /// More switches than ways between them can be found in reasonable time.
    #[error("it names {0} switches; at most {MAX_SWITCHES} are supported")]
    Switches(usize),
    /// A link joins what it cannot join.
    #[error("links[{at}]: {why}")]
    Link {
        /// Place of the link in the list, from 0.
        at: usize,
        /// The reason, in words.
        why: &'static str,
    },
}

impl Network {
    /// Reads a map.
    ///
    /// # Errors
    /// When the file cannot be read, or is no map: which, where in it, and why.
    pub fn read(path: &Path) -> Result<Self, NetworkError> {
        let file = path.display().to_string();
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) => return Err(NetworkError::Read { file, error }),
        };
        match serde_json::from_slice::<NetworkMap>(&text) {
            Ok(map) => Self::of(&map).map_err(|what| NetworkError::Value { file, what }),
            Err(error) => Err(NetworkError::Form { file, error }),
        }
    }

    /// The network of a map.
    ///
    /// # Errors
    /// The first value in it that means nothing.
    pub fn of(map: &NetworkMap) -> Result<Self, ValueError> {
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        for name in map.hosts.values().map(|host| &host.switch).chain(map.links.iter().flat_map(|link| &link.between))
        {
            let next = names.len();
            names.entry(name).or_insert(next);
        }
        if names.len() > MAX_SWITCHES {
            return Err(ValueError::Switches(names.len()));
        }
        let number = |name: &String| names.get(name.as_str()).copied().unwrap_or_default();
        let mut links = Vec::new();
        for (at, link) in map.links.iter().enumerate() {
            let [a, b] = &link.between;
            if a == b {
                return Err(ValueError::Link { at, why: "it joins a switch to itself" });
            }
            links.push((number(a), number(b), Duration::from_micros(link.delay_us)));
        }
        let host = |host: &livectl_wire::network_map::Host| Host {
            switch: number(&host.switch),
            delay: Duration::from_micros(host.delay_us),
            up: host.up_bit_per_s.map(|up| up as f64),
        };
        let mut rates = BTreeMap::new();
        for (key, stream) in &map.streams {
            let named = key.parse::<StreamKey>();
            let named = named.map_err(|error| ValueError::Stream { key: key.clone(), error })?;
            let rate = Rate { bit_per_s: stream.bit_per_s as f64, frames_per_s: stream.frames_per_s };
            if !(rate.bit_per_s > 0.0 && rate.frames_per_s > 0.0) {
                return Err(ValueError::Rate(key.clone()));
            }
            rates.insert(named, rate);
        }
        Ok(Self {
            hosts: map.hosts.iter().map(|(address, known)| (*address, host(known))).collect(),
            rates,
            switches: Switches::joined(names.len(), &links),
            count: names.len(),
            is_known: true,
        })
    }

    /// Whether there is a map.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.is_known
    }

    /// The delays between its switches.
    #[must_use]
    pub fn switches(&self) -> &Switches {
        &self.switches
    }

    /// How many switches the map has: their numbers are less.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The number of the switch that a host is at.
    #[must_use]
    pub fn switch(&self, host: Ipv4Addr) -> Option<usize> {
        self.hosts.get(&host).map(|host| host.switch)
    }

    /// Whether nothing gets from one host to another by switches alone; not if nothing is known of one of them.
    #[must_use]
    pub fn are_apart(&self, one: Ipv4Addr, other: Ipv4Addr) -> bool {
        let (one, other) = (self.switch(one), self.switch(other));
        one.zip(other).is_some_and(|(one, other)| !self.switches.are_joined(one, other))
    }

    /// What one copy of a stream takes of a host's uplink, in the unit in which the uplink is counted.
    #[must_use]
    pub fn copy(&self, host: Ipv4Addr, stream: &StreamKey) -> f64 {
        match (self.hosts.get(&host), self.rates.get(stream)) {
            (None, _) => 1.0,
            (Some(Host { up: None, .. }), _) => 0.0,
            (Some(_), Some(rate)) => rate.copy(),
            (Some(Host { up: Some(up), .. }), None) => uplink::usable(*up) / f64::from(UNKNOWN_COPIES),
        }
    }

    /// What a broadcaster's copy for the CDN takes. Where nothing is known of the uplink, the copies that it carries
    /// are those that are left.
    #[must_use]
    pub fn copy_for_cdn(&self, host: Ipv4Addr, stream: &StreamKey) -> f64 {
        if self.hosts.contains_key(&host) { self.copy(host, stream) } else { 0.0 }
    }

    /// How many copies of a stream a host's uplink carries beside what is taken of it.
    #[must_use]
    pub fn copies(&self, host: Ipv4Addr, stream: &StreamKey, taken: f64) -> u32 {
        let usable = match self.hosts.get(&host) {
            None => f64::from(UNKNOWN_COPIES),
            Some(Host { up: None, .. }) => return u32::MAX,
            Some(Host { up: Some(up), .. }) => uplink::usable(*up),
        };
        uplink::copies(self.copy(host, stream), usable, taken)
    }

    /// A host as a member of a stream's tree: at this switch, if the map does not say another, with so much of its
    /// uplink taken.
    #[must_use]
    pub fn member<K>(&self, key: K, host: Ipv4Addr, stream: &StreamKey, switch: usize, taken: f64) -> Member<K> {
        let known = self.hosts.get(&host);
        let copy_time = match (known, self.rates.get(stream)) {
            (Some(known), Some(rate)) => rate.copy_time(known.up, 1.0),
            _ => UNKNOWN_COPY_TIME,
        };
        Member {
            key,
            switch: known.map_or(switch, |known| known.switch),
            delay: known.map(|known| known.delay).unwrap_or_default(),
            copies: self.copies(host, stream, taken),
            copy_time,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const MAP: &str = r#"{
        "hosts": {
            "10.0.0.1": { "switch": "s1", "delay_us": 2000, "up_bit_per_s": 2000000 },
            "10.0.0.2": { "switch": "s2", "delay_us": 1000 }
        },
        "links": [ { "between": ["s1", "s2"], "delay_us": 20000 } ],
        "streams": { "live/hb": { "bit_per_s": 500000, "frames_per_s": 30.0 } }
    }"#;

    fn network(text: &str) -> Result<Network, ValueError> {
        Network::of(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn what_a_map_says_and_what_it_does_not() {
        let known = network(MAP).unwrap();
        let [one, two, other] = ["10.0.0.1", "10.0.0.2", "10.0.0.9"].map(|host| host.parse().unwrap());
        let [hb, unknown] = ["live/hb", "live/x"].map(|stream| stream.parse().unwrap());
        assert_eq!([one, two, other].map(|host| known.copies(host, &hb, 0.0)), [3, u32::MAX, UNKNOWN_COPIES]);
        assert_eq!(known.copies(one, &hb, known.copy_for_cdn(one, &hb)), 2);
        assert_eq!(known.copies(other, &hb, known.copy_for_cdn(other, &hb)), UNKNOWN_COPIES);
        assert_eq!(known.copies(one, &unknown, known.copy(one, &hb)), 2);
        assert_eq!(known.copies(other, &hb, 1.0), 2);
        let member = known.member((), two, &hb, 7, 0.0);
        assert_eq!((member.switch, member.delay, member.copy_time), (1, Duration::from_millis(1), Duration::ZERO));
        assert_eq!(known.member((), other, &hb, 7, 0.0).switch, 7);
        assert_eq!(known.switches().between(0, 1), Duration::from_millis(20));
        let apart = network(&MAP.replace(r#""between": ["s1", "s2"]"#, r#""between": ["s1", "s3"]"#)).unwrap();
        assert!(apart.are_apart(one, two) && !known.are_apart(one, two) && !apart.are_apart(one, other));
        let nothing = Network::default();
        let member = nothing.member((), one, &hb, 7, 0.0);
        assert_eq!((member.copies, member.copy_time, member.switch), (UNKNOWN_COPIES, UNKNOWN_COPY_TIME, 7));
    }

    #[test]
    fn values_that_mean_nothing_are_named() {
        for (from, to, what) in [
            ("live/hb", "hb", "streams.\"hb\": a stream is named app/name"),
            ("500000", "0", "streams.\"live/hb\": bit_per_s and"),
            ("30.0", "-1", "frames_per_s must be more than 0"),
            (r#""s1", "s2""#, r#""s1", "s1""#, "links[0]: it joins"),
        ] {
            let error = network(&MAP.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}

//! What viewers have right now, for whoever watches a trial: where a viewer's stream comes from, how deep in the
//! tree, and how late.
//!
//! Viewers' agents say which picture they handed on last, and when; the log of births says when it was born. All
//! hosts share a clock, so the difference is that picture's delay up to the player's connection. These are programs'
//! moments, not the captures', for the screen alone: nothing of it is stored.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use livectl_wire::agent_event::{self, Event, Path};
use livectl_wire::birth::{Birth, BirthKind};
use livectl_wire::frame::FrameId;
use serde::Deserialize as _;

use super::event::{Happening, Stamped};
use crate::plan::{Trial, program_of};

/// Births that are remembered: of one stream at 30 frames a second, four and a half minutes.
const MOST_BIRTHS: usize = 1 << 13;
/// A viewer that has been handed no picture for so long, and for as long as agents are silent, has its stream from
/// nobody. Recipes have a picture a second or more.
const SILENT: Duration = Duration::from_secs(2);
/// Between two looks at all viewers, at least. Less than a second, for agents speak once in one.
const PACE: Duration = Duration::from_millis(900);

/// The source of a viewer's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The CDN, not a peer.
    Cdn,
    /// Another host that sends it video.
    Peer {
        /// The host's name.
        host: String,
        /// How many hosts the stream passes from its broadcaster, or from the CDN, to the viewer, itself included.
        depth: u32,
    },
    /// A group that the switches copy for.
    Group,
    /// Nobody, for so long; `None`: there has been no picture.
    Nobody(Option<Duration>),
}

/// How a viewer stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// The viewer's host.
    pub viewer: String,
    /// The source of its stream.
    pub source: Source,
    /// From the birth of the picture that it was handed last until then; `None`: not known, or the stream comes from
    /// nobody.
    pub delay: Option<Duration>,
}

/// A trial's viewers as they stand.
#[derive(Debug)]
pub(super) struct Watch {
    hosts: HashMap<Ipv4Addr, String>,
    broadcasters: Vec<String>,
    /// How often agents speak.
    every: Duration,
    births: Births,
    viewers: BTreeMap<String, Heard>,
    /// The spell in which each viewer went last.
    departed: BTreeMap<String, u32>,
    shown_ns: Option<i64>,
}

/// What a viewer's agent said last.
#[derive(Debug)]
struct Heard {
    latest: Option<(Path, Option<Ipv4Addr>, i64)>,
    delay: Option<Duration>,
}

/// When pictures were born, of the youngest ones.
#[derive(Debug, Default)]
struct Births {
    order: VecDeque<FrameId>,
    /// `None`: several have that identity, as pictures in which nothing moves may.
    born: HashMap<FrameId, Option<i64>>,
}

impl Births {
    fn add(&mut self, birth: &Birth) {
        if birth.kind != BirthKind::Video {
            return;
        }
        if let Some(same) = self.born.get_mut(&birth.id) {
            *same = None;
            return;
        }
        self.born.insert(birth.id, Some(birth.birth_ns));
        self.order.push_back(birth.id);
        if self.order.len() > MOST_BIRTHS {
            self.order.pop_front().map(|oldest| self.born.remove(&oldest));
        }
    }

    fn of(&self, id: &str) -> Option<i64> {
        self.born.get(&id.parse().ok()?).copied().flatten()
    }
}

impl Watch {
    /// Of a trial whose agents speak `every` so often.
    pub(super) fn new(trial: &Trial, every: Duration) -> Watch {
        let interfaces = |host: &crate::plan::Host| {
            host.interfaces.iter().map(|interface| (interface.address, host.name.clone())).collect::<Vec<_>>()
        };
        Watch {
            hosts: trial.network.hosts.iter().flat_map(interfaces).collect(),
            broadcasters: trial.streams.iter().map(|stream| stream.broadcaster.clone()).collect(),
            every,
            births: Births::default(),
            viewers: BTreeMap::new(),
            departed: BTreeMap::new(),
            shown_ns: None,
        }
    }

    /// A tag was born.
    pub(super) fn born(&mut self, birth: &Birth) {
        self.births.add(birth);
    }

    /// Takes what happened, if it tells how a viewer stands: true if it tells nothing else, and need not be kept.
    pub(super) fn take(&mut self, stamped: &Stamped) -> bool {
        match &stamped.happening {
            Happening::Report { host, actor, what } => {
                let Some((host, (_, spell), latest)) = host.host().zip(now(actor, what)).map(|(h, (p, l))| (h, p, l))
                else {
                    return false;
                };
                if self.departed.get(host).is_none_or(|gone| *gone < spell) {
                    let heard = self.heard(latest);
                    self.viewers.insert(host.to_owned(), heard);
                }
                true
            }
            Happening::Departed { host, spell, .. } => {
                self.departed.insert(host.clone(), *spell);
                self.viewers.remove(host);
                false
            }
            Happening::Ended { host, actor, .. } if program_of(actor).0 == "agent" => {
                host.host().map(|host| self.viewers.remove(host));
                false
            }
            _ => false,
        }
    }

    fn heard(&self, latest: Option<agent_event::Latest>) -> Heard {
        let delay = latest.as_ref().and_then(|latest| {
            let late = latest.handed_ns.checked_sub(self.births.of(&latest.id)?)?;
            u64::try_from(late).ok().map(Duration::from_nanos)
        });
        let latest = latest.map(|latest| (latest.path, latest.peer.map(|peer| *peer.ip()), latest.handed_ns));
        Heard { latest, delay }
    }

    /// All viewers that are there as they stand, if it is time to show them again.
    pub(super) fn look(&mut self, time_ns: i64) -> Option<Vec<Present>> {
        let since = self.shown_ns.map(|shown| u128::try_from(time_ns.saturating_sub(shown)).unwrap_or(u128::MAX));
        if since.is_some_and(|since| since < PACE.as_nanos()) {
            return None;
        }
        self.shown_ns = Some(time_ns);
        let all = self.viewers.keys().map(|viewer| self.present(viewer, time_ns));
        Some(all.collect())
    }

    fn present(&self, viewer: &str, time_ns: i64) -> Present {
        let source = self.source(viewer, time_ns);
        let gives = !matches!(source, Source::Nobody(_));
        let delay = self.viewers.get(viewer).and_then(|heard| heard.delay).filter(|_| gives);
        Present { viewer: viewer.to_owned(), source, delay }
    }

    fn source(&self, viewer: &str, time_ns: i64) -> Source {
        let Some((path, from, handed_ns)) = self.viewers.get(viewer).and_then(|heard| heard.latest) else {
            return Source::Nobody(None);
        };
        let since = Duration::from_nanos(u64::try_from(time_ns.saturating_sub(handed_ns)).unwrap_or(0));
        if since > SILENT + self.every {
            return Source::Nobody(Some(since));
        }
        match (path, from) {
            (Path::Cdn, _) => Source::Cdn,
            (Path::Peer, Some(group)) if group.is_multicast() => Source::Group,
            (Path::Peer, Some(address)) => match self.hosts.get(&address) {
                Some(host) => Source::Peer { host: host.clone(), depth: 1 + self.depth(host) },
                None => Source::Peer { host: address.to_string(), depth: 1 },
            },
            (Path::Peer, None) => Source::Peer { host: "a peer".into(), depth: 1 },
        }
    }

    /// How many hosts the stream has passed when a host has it: none at a broadcaster.
    fn depth(&self, host: &str) -> u32 {
        let mut at = host;
        // Each is passed once. Agents speak at different times, so that what they say may for a moment lead round in
        // a circle.
        for depth in 0..=u32::try_from(self.viewers.len()).unwrap_or(u32::MAX) {
            if self.broadcasters.iter().any(|broadcaster| broadcaster == at) {
                return depth;
            }
            let giver = match self.viewers.get(at).and_then(|heard| heard.latest) {
                Some((Path::Peer, Some(giver), _)) => self.hosts.get(&giver),
                _ => None,
            };
            match giver {
                Some(giver) => at = giver,
                None => return depth + 1,
            }
        }
        u32::try_from(self.viewers.len()).unwrap_or(u32::MAX)
    }
}

/// What a viewer's agent says of how its player stands: the agent's program and spell, and the latest picture.
fn now<'a>(actor: &'a str, what: &serde_json::Value) -> Option<((&'a str, u32), Option<agent_event::Latest>)> {
    let program = program_of(actor);
    // Looked at before all of it is read: every line of every program comes by here.
    if program.0 != "agent" || what.get("event").and_then(serde_json::Value::as_str) != Some("now") {
        return None;
    }
    match Event::deserialize(what) {
        Ok(Event::Now { latest, .. }) => Some((program, latest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::plan::Departure;
    use livectl_wire::flv::TagKind;
    use serde_json::json;

    const SECOND: i64 = 1_000_000_000;

    /// The smoke recipe's network with three viewers: hb 10.0.0.1, hs 10.0.0.2, hv1 to hv3 from 10.0.0.3 on.
    fn watch() -> Watch {
        let text = std::fs::read_to_string("recipes/smoke.yaml").unwrap().replace("count: 1", "count: 3");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("three.yaml");
        std::fs::write(&path, text).unwrap();
        let plan = crate::recipe::load(&path).unwrap().plan;
        Watch::new(&plan.trials[0], Duration::from_secs(1))
    }

    fn birth(payload: &[u8], birth_ns: i64) -> Birth {
        livectl_wire::birth::Register::default().birth(TagKind::Video, 0, payload, birth_ns)
    }

    fn id(payload: &[u8]) -> String {
        FrameId::of(payload).to_string()
    }

    fn says(host: &str, actor: &str, latest: serde_json::Value, time_ns: i64) -> Stamped {
        let what = json!({"time_ns": time_ns, "event": "now", "latest": latest, "frames": 1});
        Stamped { time_ns, happening: Happening::Report { host: host.into(), actor: actor.into(), what } }
    }

    fn from(peer: Option<&str>, payload: &[u8], handed_ns: i64) -> serde_json::Value {
        let path = if peer.is_some() { "peer" } else { "cdn" };
        json!({"path": path, "peer": peer, "id": id(payload), "handed_ns": handed_ns})
    }

    #[test]
    fn a_chain_of_peers_and_one_from_the_cdn() {
        let mut watch = watch();
        let frame = [0x12, 1];
        watch.born(&birth(&frame, 10 * SECOND));
        let at = |ms: i64| 10 * SECOND + ms * 1_000_000;
        assert!(watch.take(&says("hv1", "agent", from(Some("10.0.0.1:2000"), &frame, at(40)), at(50))));
        assert!(watch.take(&says("hv2", "agent", from(Some("10.0.0.3:2000"), &frame, at(90)), at(95))));
        assert!(watch.take(&says("hv3", "agent", from(None, &frame, at(400)), at(410))));
        let seen = watch.look(at(420)).unwrap();
        let peer = |host: &str, depth| Source::Peer { host: host.into(), depth };
        let present = |viewer: &str, source, ms| Present {
            viewer: viewer.into(),
            source,
            delay: Some(Duration::from_millis(ms)),
        };
        let expected =
            [present("hv1", peer("hb", 1), 40), present("hv2", peer("hv1", 2), 90), present("hv3", Source::Cdn, 400)];
        assert_eq!(seen, expected);
        assert_eq!(watch.look(at(500)), None, "not again so soon");
        // One whose parent has it from the CDN: the CDN's viewer is the first host.
        watch.take(&says("hv1", "agent", from(None, &frame, at(1000)), at(1050)));
        assert_eq!(watch.look(at(1400)).unwrap()[1].source, peer("hv1", 2));
        // In a circle, which two agents may seem to make that speak at different times.
        watch.take(&says("hv1", "agent", from(Some("10.0.0.4:2000"), &frame, at(2000)), at(2050)));
        assert!(matches!(&watch.look(at(2400)).unwrap()[1].source, Source::Peer { host, .. } if host == "hv1"));
    }

    #[test]
    fn nobody_and_what_is_not_known() {
        let mut watch = watch();
        let (frame, other) = ([0x12, 1], [0x22, 2]);
        watch.born(&birth(&frame, SECOND));
        watch.take(&says("hv1", "agent", serde_json::Value::Null, 2 * SECOND));
        watch.take(&says("hv2", "agent", from(None, &other, 2 * SECOND), 2 * SECOND));
        watch.take(&says("hv3", "agent", from(Some("239.192.7.1:2001"), &frame, 2 * SECOND), 2 * SECOND));
        let seen = watch.look(2 * SECOND).unwrap();
        assert_eq!((&seen[0].source, seen[0].delay), (&Source::Nobody(None), None));
        assert_eq!((&seen[1].source, seen[1].delay), (&Source::Cdn, None), "its birth is not known");
        assert_eq!((&seen[2].source, seen[2].delay), (&Source::Group, Some(Duration::from_secs(1))));
        let later = watch.look(6 * SECOND).unwrap();
        assert_eq!((&later[2].source, later[2].delay), (&Source::Nobody(Some(Duration::from_secs(4))), None));
        // Two pictures that are the same: which of them it was is not known.
        watch.born(&birth(&frame, 7 * SECOND));
        watch.take(&says("hv3", "agent", from(None, &frame, 7 * SECOND), 7 * SECOND));
        assert_eq!(watch.look(7 * SECOND).unwrap()[2].delay, None);
    }

    #[test]
    fn who_goes_is_not_there_and_comes_again() {
        let mut watch = watch();
        let happened = |time_ns, happening| Stamped { time_ns, happening };
        watch.take(&says("hv1", "agent", from(None, &[0x12], SECOND), SECOND));
        let departed = Happening::Departed { host: "hv1".into(), spell: 1, how: Departure::Crash };
        assert!(!watch.take(&happened(SECOND, departed)), "it is kept");
        // The agent of a host that crashed goes on for a while.
        assert!(watch.take(&says("hv1", "agent", from(None, &[0x12], SECOND), 2 * SECOND)));
        assert_eq!(watch.look(2 * SECOND).unwrap(), []);
        watch.take(&says("hv1", "agent-2", from(None, &[0x12], 3 * SECOND), 3 * SECOND));
        assert_eq!(watch.look(3 * SECOND).unwrap().len(), 1);
        let ended = Happening::Ended { host: "hv1".into(), actor: "agent-2".into(), code: Some(0), signal: None };
        assert!(!watch.take(&happened(4 * SECOND, ended)));
        assert_eq!(watch.look(4 * SECOND).unwrap(), []);
    }

    #[test]
    fn births_are_forgotten() {
        let mut births = Births::default();
        for n in 0..=MOST_BIRTHS as u64 {
            births.add(&birth(&[&[0x22], n.to_be_bytes().as_slice()].concat(), 5));
        }
        assert_eq!((births.order.len(), births.born.len()), (MOST_BIRTHS, MOST_BIRTHS));
        assert_eq!(births.of(&id(&[&[0x22], 0u64.to_be_bytes().as_slice()].concat())), None);
        assert_eq!(births.of(&id(&[&[0x22], 1u64.to_be_bytes().as_slice()].concat())), Some(5));
    }
}

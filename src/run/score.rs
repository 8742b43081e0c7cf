//! The score of a trial: who starts when, as values. The stage plays it and a dry run prints it, so that what is
//! printed is what is run.
//!
//! Before the timeline begins, all that is due at one step is started together and waited for; on the timeline each
//! entry is due at its moment and nobody waits. A late join, an early leave or a link change is an entry like any
//! other.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cast::{self, Attendance, Cast, CastError};
use super::crew::Duty;
use crate::actor::broadcaster::{Air, Broadcaster};
use crate::actor::process::Actor;
use crate::actor::viewer::Viewer;
use crate::network::{self, Links};
use crate::plan::{Departure, LinkChange, Parting, Trial, program_name};
use crate::store::TrialDir;

/// The programs that a trial is played with.
#[derive(Debug, Clone)]
pub struct Programs {
    /// Path of livectl's own program.
    pub livectl: PathBuf,
    /// Path of the controller's program.
    pub controller: PathBuf,
    /// Path of the agents' program.
    pub agent: PathBuf,
    /// Whether netem or livectl makes the links.
    pub links: Links,
}

/// Everything that happens in a trial, in the order in which it is due.
#[derive(Debug, Clone)]
pub struct Score(pub Vec<Entry>);

/// Something that happens, and when.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The moment at which it is due.
    pub due: Due,
    /// What happens then.
    pub act: Act,
}

/// A moment in the life of a trial. In order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// The network's own programs, before there is a network.
    Machinery,
    /// The network itself: Mininet boots it.
    Network,
    /// When the paths have been measured: captures first, so that they miss nothing.
    Captures,
    /// X servers, before the programs that show something there.
    Screens,
    /// Programs that read those screens.
    Eyes,
    /// Programs that serve others: the CDN.
    Servers,
    /// What must be there before the programs that talk to it, so that the network can introduce peers from the first
    /// frame on.
    Agents,
    /// At this moment of the trial's timeline.
    At(Duration),
    /// When nothing is measured any more: what is read of what was kept.
    After,
}

/// Something that is done in a trial.
#[derive(Debug, Clone)]
pub enum Act {
    /// A program starts.
    Start(Box<Part>),
    /// Mininet makes the network of this topology file.
    Boot {
        /// Path of the topology file.
        topology: PathBuf,
    },
    /// The program of a broadcaster that has just started is watched: it is to be on the air soon, and told to end
    /// when that has been long enough.
    KeepOnAir {
        /// Name of the broadcaster's host.
        host: String,
        /// How soon it has to be on the air, and for how long.
        air: Air,
    },
    /// A link changes. Emulated links know beforehand and do it by themselves, netem is told.
    ChangeLink {
        /// What a recipe calls the link.
        link: String,
        /// What becomes of it.
        change: LinkChange,
    },
    /// A viewer comes, again or later than the others: its agent starts, and its player as soon as that is ready.
    Join {
        /// Who, and which of its spells begins.
        whose: Whose,
        /// Its agent, if it has one.
        agent: Option<Box<Part>>,
        /// Its player, which starts when the agent is ready.
        player: Box<Part>,
    },
    /// A viewer goes before the stream has ended.
    Depart {
        /// Who, and which of its spells ends.
        whose: Whose,
        /// Whether it leaves or crashes.
        how: Departure,
    },
}

/// A viewer's spell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Whose {
    /// Name of the viewer's host.
    pub host: String,
    /// Which of its spells, from 1.
    pub spell: u32,
}

/// A program's part in a trial.
#[derive(Debug, Clone)]
pub struct Part {
    /// The program, with all that is needed to run it.
    pub actor: Actor,
    /// Whether it may end by itself.
    pub duty: Duty,
    /// Where the lines of its output go, besides into the trial's events.
    pub copy: Option<PathBuf>,
}

impl Score {
    /// The score of that trial, with files in `dir`.
    ///
    /// # Errors
    /// The plan has no CDN, or someone cannot reach it.
    pub fn of(trial: &Trial, dir: &TrialDir, programs: &Programs) -> Result<Score, CastError> {
        let Cast { captures, cdn, pings, viewers, broadcasts, camera, readers } =
            Cast::of(trial, dir, &programs.livectl, &programs.agent)?;
        let mut entries = Vec::new();
        let mut add = |due, actor, duty, copy| {
            entries.push(Entry { due, act: Act::Start(Box::new(Part { actor, duty, copy })) });
        };
        let controller = cast::controller(&programs.controller, trial, dir);
        add(Due::Machinery, controller, Duty::Lasting, Some(dir.controller_events()));
        if programs.links == Links::Emulated {
            add(Due::Machinery, cast::emulator(&programs.livectl, trial, dir), Duty::Lasting, None);
        }
        for actor in captures {
            add(Due::Captures, actor, Duty::Lasting, None);
        }
        for actor in cdn {
            add(Due::Servers, actor, Duty::Lasting, None);
        }
        for (at, actor) in pings {
            add(Due::At(at), actor, Duty::Train, None);
        }
        let (mut moves, mut airs) = (Vec::new(), Vec::new());
        for Attendance { host, number, spell, is_usual, viewer: Viewer { agent, player, screen } } in viewers {
            // Nothing waits for viewers that leave before the end.
            let duty = if spell.end.is_some() { Duty::Finite } else { Duty::Audience };
            let whose = Whose { host, spell: number };
            // It is there from the beginning, whenever the viewer comes, and again.
            if let Some(screen) = screen.filter(|_| number == 1) {
                add(Due::Screens, screen.server, Duty::Lasting, None);
                if let Some(eye) = screen.eye {
                    add(Due::Eyes, eye, Duty::Lasting, None);
                }
            }
            if let Some(Parting { at, how }) = spell.end {
                moves.push(Entry { due: Due::At(at), act: Act::Depart { whose: whose.clone(), how } });
            }
            if is_usual {
                if let Some(agent) = agent {
                    add(Due::Agents, agent, duty, None);
                }
                add(Due::At(spell.from), player, duty, None);
            } else {
                let part = |actor| Box::new(Part { actor, duty, copy: None });
                let act = Act::Join { whose, agent: agent.map(part), player: part(player) };
                moves.push(Entry { due: Due::At(spell.from), act });
            }
        }
        for Broadcaster { screen, picture, encoder, air, agent } in broadcasts {
            if let Some(screen) = screen {
                add(Due::Screens, screen, Duty::Lasting, None);
            }
            if let Some(picture) = picture {
                add(Due::Agents, picture, Duty::Lasting, None);
            }
            add(Due::Agents, agent, Duty::Finite, None);
            let host = encoder.station.to_string();
            add(Due::At(trial.timeline.broadcast_at), encoder, Duty::Finite, None);
            airs.extend(air.map(|air| (host, air)));
        }
        if let Some(camera) = camera {
            add(Due::At(trial.timeline.broadcast_at), camera, Duty::Beside, None);
        }
        for actor in readers {
            add(Due::After, actor, Duty::Beside, None);
        }
        moves.extend(airs.into_iter().map(|(host, air)| {
            // After its start: what is due together stays in the order in which it was added.
            Entry { due: Due::At(trial.timeline.broadcast_at), act: Act::KeepOnAir { host, air } }
        }));
        entries.extend(moves);
        entries.push(Entry { due: Due::Network, act: Act::Boot { topology: dir.topology() } });
        entries.extend(trial.link_changes.iter().map(|change| {
            let act = Act::ChangeLink { link: trial.network.link_name(change.link), change: change.clone() };
            Entry { due: Due::At(change.at), act }
        }));
        // Stable: what is due together stays in the order above.
        entries.sort_by_key(|entry| entry.due);
        Ok(Score(entries))
    }

    /// What is due at one step before the timeline.
    pub fn at(&self, due: Due) -> impl Iterator<Item = &Act> {
        self.0.iter().filter(move |entry| entry.due == due).map(|entry| &entry.act)
    }

    /// What is due on the timeline, and when.
    pub fn timeline(&self) -> impl Iterator<Item = (Duration, &Act)> {
        self.0.iter().filter_map(|entry| match entry.due {
            Due::At(at) => Some((at, &entry.act)),
            _ => None,
        })
    }

    /// The programs on the timeline whose work is looked at when all is over.
    pub fn beside(&self) -> impl Iterator<Item = &Actor> {
        self.timeline().filter_map(|(_, act)| match act {
            Act::Start(part) if part.duty == Duty::Beside => Some(&part.actor),
            _ => None,
        })
    }

    /// The programs that the trial waits for: it ends when each of them has done its work.
    pub fn audience(&self) -> impl Iterator<Item = &Actor> {
        let parts = self.0.iter().flat_map(|entry| match &entry.act {
            Act::Start(part) => vec![part],
            Act::Join { agent, player, .. } => agent.iter().chain([player]).collect(),
            Act::Boot { .. } | Act::KeepOnAir { .. } | Act::Depart { .. } | Act::ChangeLink { .. } => Vec::new(),
        });
        parts.filter(|part| part.duty == Duty::Audience).map(|part| &part.actor)
    }
}

impl Whose {
    /// What its agent is called.
    #[must_use]
    pub fn agent(&self) -> String {
        program_name("agent", self.spell)
    }

    /// What its player is called.
    #[must_use]
    pub fn player(&self) -> String {
        program_name("player", self.spell)
    }
}

impl Act {
    /// The command of `mn` that makes the network of a topology file.
    #[must_use]
    pub fn boot_words(topology: &Path) -> Vec<String> {
        let command = network::session::boot_command(topology, Some(cast::CONTROLLER));
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        words.map(|word| word.to_string_lossy().into_owned()).collect()
    }
}

impl fmt::Display for Due {
    /// The phase, or the second of the timeline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Due::Machinery | Due::Network => f.pad("boot"),
            Due::Captures | Due::Screens | Due::Eyes | Due::Servers | Due::Agents => f.pad("ready"),
            Due::At(at) => f.pad(&format!("{:.1} s", at.as_secs_f64())),
            Due::After => f.pad("after"),
        }
    }
}

impl fmt::Display for Act {
    /// Where, and the command as one would type it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Act::Start(part) => write!(f, "{:8} {}", part.actor.station, part.actor.command),
            Act::Boot { topology } => write!(f, "{:8} {}", "-", Act::boot_words(topology).join(" ")),
            Act::KeepOnAir { host, air } => {
                let (length, within) = (air.length.as_secs_f64(), air.within.as_secs_f64());
                write!(
                    f,
                    "{host:8} encoder is to be on the air within {within:.0} s, and is ended {length:.1} s after its first picture"
                )
            }
            Act::ChangeLink { link, change } => {
                write!(f, "{link:8} link ({}): {}", change.directions, change.change)
            }
            Act::Join { whose, agent, player } => {
                write!(f, "{:8} joins: ", whose.host)?;
                if let Some(agent) = agent {
                    write!(f, "{}; then ", agent.actor.command)?;
                }
                write!(f, "{}", player.actor.command)
            }
            Act::Depart { whose, how: Departure::Leave } => {
                write!(f, "{:8} leaves: {} is ended, and its agent", whose.host, whose.player())
            }
            Act::Depart { whose, how: Departure::Crash } => {
                write!(f, "{:8} crashes: it is cut off, and its programs are killed", whose.host)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(trial: &Trial, folder: &str, links: Links) -> Score {
        let programs = Programs {
            livectl: "livectl".into(),
            controller: "live-controller".into(),
            agent: "live-agent".into(),
            links,
        };
        Score::of(trial, &TrialDir::at(Path::new(folder)), &programs).unwrap()
    }

    fn score(scheme: usize, links: Links) -> (Trial, Score) {
        let plan = crate::recipe::from_str("multi.yaml", include_str!("../../recipes/multi.yaml")).unwrap().plan;
        let trial = plan.trials[scheme].clone();
        let score = of(&trial, "RUN/multi", links);
        (trial, score)
    }

    #[test]
    fn players_of_segments_wait_for_the_playlist_and_have_no_agent() {
        let text = include_str!("../../recipes/multi.yaml").replace("schemes: [direct, bypass]", "schemes: [hls]");
        let text = text
            .replace("video:", "video:\n  codec: h264")
            .replace("timeline:", "timeline:\n  audience: [{ at: 12 s, leave: hv2 }, { at: 15 s, join: hv2 }]");
        let trial = crate::recipe::from_str("multi.yaml", &text).unwrap().plan.trials.remove(0);
        let score = of(&trial, "RUN/hls", Links::Emulated);
        let all: Vec<String> = score.0.iter().map(|entry| entry.act.to_string()).collect();
        assert!(!all.iter().any(|act| act.contains("live-agent viewer")), "{all:#?}");
        assert!(all.iter().any(|act| act.contains("live-controller") && act.contains("--scheme=direct")), "{all:#?}");
        let recording = all.iter().find(|act| act.contains("live-agent broadcaster")).unwrap();
        assert!(recording.contains("--recording RUN/hls/births/hb.flv"), "{recording}");
        let cdn = trial.network.address_from("hv2", "hs").unwrap();
        let wait = format!("livectl internal await-playlist --server {cdn}:80 --path /hls/hb.m3u8 --patience ");
        let joins = all.iter().find(|act| act.starts_with("hv2      joins: ")).unwrap();
        assert!(joins.contains(&wait), "{joins}");
        assert!(joins.contains(" -- ffmpeg ") && joins.contains(&format!("http://{cdn}/hls/hb.m3u8")), "{joins}");
        assert!(joins.contains("RUN/hls/dump/hv2-2.flv") && !joins.contains("; then"), "{joins}");
    }

    fn labels(acts: impl Iterator<Item = Act>) -> Vec<String> {
        acts.map(|act| match act {
            Act::Start(part) => part.actor.label(),
            Act::Boot { .. } => "mn".to_owned(),
            Act::KeepOnAir { host, .. } => format!("{host} on the air"),
            Act::ChangeLink { link, .. } => format!("link of {link}"),
            Act::Join { whose, .. } => format!("{} joins", whose.host),
            Act::Depart { whose, how } => format!("{} {}", whose.host, how.name()),
        })
        .collect()
    }

    #[test]
    fn a_screen_is_there_before_what_is_shown_on_it_and_obs_is_told_to_end() {
        let recipe = include_str!("../../recipes/smoke.yaml")
            .replace("role: broadcaster,", "role: broadcaster, program: obs,")
            .replace("size: 320x180", "codec: h264\n  size: 320x180");
        let trial = crate::recipe::from_str("obs.yaml", &recipe).unwrap().plan.trials.remove(0);
        let score = of(&trial, "RUN/obs", Links::Netem);
        assert_eq!(labels(score.at(Due::Screens).cloned()), ["hb/screen"]);
        let beside = labels(score.at(Due::Agents).cloned());
        assert!(beside.contains(&"hb/picture".to_owned()) && beside.contains(&"hb/agent".to_owned()), "{beside:?}");
        let on_timeline = labels(score.timeline().map(|(_, act)| act.clone()));
        assert!(on_timeline.ends_with(&["hb/encoder".to_owned(), "hb on the air".to_owned()]), "{on_timeline:?}");
        let told = score.timeline().last().unwrap().1.to_string();
        assert!(told.ends_with("within 20 s, and is ended 5.0 s after its first picture"), "{told}");
    }

    #[test]
    fn everyone_is_on_it_in_the_order_in_which_they_start() {
        let (trial, score) = score(1, Links::Emulated);
        let before = |due| labels(score.at(due).cloned());
        assert_eq!(before(Due::Machinery), ["controller", "emulator"]);
        assert_eq!(before(Due::Network), ["mn"]);
        assert_eq!(before(Due::Captures).len(), trial.captures.len());
        assert_eq!(before(Due::Servers), ["hs/nginx", "hs/notify"]);
        assert_eq!(before(Due::Agents), ["hv1/agent", "hv2/agent", "hb/agent"]);
        let moments: Vec<Duration> = score.timeline().map(|(at, _)| at).collect();
        assert!(moments.is_sorted());
        let on_timeline = labels(score.timeline().map(|(_, act)| act.clone()));
        assert_eq!(on_timeline.last().unwrap(), "hb/encoder");
        assert_eq!(
            score.audience().map(Actor::label).collect::<Vec<_>>(),
            ["hv1/agent", "hv2/agent", "hv1/player", "hv2/player"]
        );
        assert_eq!(score.0.len(), 2 + 1 + trial.captures.len() + 2 + 3 + on_timeline.len(), "nobody is left out");
    }

    #[test]
    fn with_peers_the_controller_knows_the_network_and_in_relay_viewers_serve() {
        let text = include_str!("../../recipes/multi.yaml").replace("[direct, bypass]", "[direct, bypass, relay]");
        let plan = crate::recipe::from_str("multi.yaml", &text).unwrap().plan;
        for (trial, (map, serve)) in plan.trials.iter().zip([(false, false), (true, false), (true, true)]) {
            let programs = Programs {
                livectl: "livectl".into(),
                controller: "live-controller".into(),
                agent: "live-agent".into(),
                links: Links::Netem,
            };
            let score = Score::of(trial, &TrialDir::at(Path::new("RUN/multi")), &programs).unwrap();
            let parts = score.0.iter().filter_map(|entry| match &entry.act {
                Act::Start(part) => Some(&part.actor),
                _ => None,
            });
            let of = |name: &str| parts.clone().find(|actor| actor.label() == name).unwrap();
            let controller = of("controller");
            assert_eq!(controller.command.to_string().contains(" --network=RUN/multi/network.json"), map);
            let files: Vec<_> = controller.files.iter().map(|(path, text)| (path.to_str().unwrap(), text)).collect();
            if let [(path, text)] = files[..] {
                assert_eq!(path, "RUN/multi/network.json");
                let read: livectl_wire::network_map::NetworkMap = serde_json::from_str(text).unwrap();
                assert_eq!(read, trial.network_map());
            }
            assert_eq!(!files.is_empty(), map);
            // The address in the subnet that it shares with the CDN and its neighbours.
            let agent = of("hv2/agent").command.to_string();
            assert_eq!(agent.contains(" --serve 10.0.2.2:2000 --admit-all --cache 30 "), serve, "{agent}");
            assert_eq!(agent.contains(" --notify "), map);
        }
    }

    #[test]
    fn links_that_change_are_on_it_and_the_emulator_knows() {
        let text = include_str!("../../recipes/multi.yaml").replace(
            "timeline:\n",
            "timeline:\n  links:\n    - { at: 4.5 s, of: hs-eth1, delay: 20 ms, direction: down }\n    - { at: 2 s, of: hb, down: true }\n",
        );
        let trial = crate::recipe::from_str("multi.yaml", &text).unwrap().plan.trials.remove(0);
        let score = of(&trial, "RUN/multi", Links::Emulated);
        let changes: Vec<String> = score
            .0
            .iter()
            .filter(|entry| matches!(entry.act, Act::ChangeLink { .. }))
            .map(|Entry { due, act }| format!("{due}: {act}"))
            .collect();
        assert_eq!(changes, ["2.0 s: hb       link (both): down", "4.5 s: hs-eth1  link (down): delay 20 ms"]);
        let emulator = score.at(Due::Machinery).find_map(|act| match act {
            Act::Start(part) if part.actor.name == "emulator" => Some(&part.actor),
            _ => None,
        });
        let (_, spec) = &emulator.unwrap().files[0];
        let spec: crate::emulator::Spec = serde_json::from_str(spec).unwrap();
        let timeline = spec.timeline.unwrap();
        assert_eq!(timeline.changes, trial.link_changes);
        assert_eq!(timeline.until, trial.timeline.end + trial.timeline.drain);
    }

    #[test]
    fn whoever_comes_and_goes_has_entries_and_is_not_waited_for() {
        let text = include_str!("../../recipes/multi.yaml").replace(
            "timeline:",
            "timeline:\n  audience: [{ at: 9 s, leave: hv1 }, { at: 14 s, join: hv1 }, { at: 11 s, join: hv2 }, { at: 17 s, crash: hv2 }]",
        );
        let plan = crate::recipe::from_str("multi.yaml", &text).unwrap().plan;
        let programs = Programs {
            livectl: "livectl".into(),
            controller: "live-controller".into(),
            agent: "live-agent".into(),
            links: Links::Netem,
        };
        let score = Score::of(&plan.trials[1], &TrialDir::at(Path::new("RUN/multi")), &programs).unwrap();
        let agents = labels(score.at(Due::Agents).cloned());
        assert_eq!(agents, ["hv1/agent", "hb/agent"], "hv2 is not there yet");
        let moves: Vec<(Duration, String)> = score
            .timeline()
            .filter(|(_, act)| matches!(act, Act::Join { .. } | Act::Depart { .. }))
            .map(|(at, act)| (at, act.to_string()))
            .collect();
        let [leaves, joins, back, crashes] = &moves[..] else { panic!("{moves:?}") };
        assert_eq!((leaves.0.as_secs(), leaves.1.as_str()), (9, "hv1      leaves: player is ended, and its agent"));
        assert!(joins.0.as_secs() == 11 && joins.1.starts_with("hv2      joins: live-agent viewer"), "{joins:?}");
        assert!(joins.1.contains("-dumpfile RUN/multi/dump/hv2.flv "), "its first spell: {joins:?}");
        assert!(back.0.as_secs() == 14 && back.1.contains("; then HOME="), "{back:?}");
        assert!(back.1.contains("-dumpfile RUN/multi/dump/hv1-2.flv "), "{back:?}");
        assert_eq!((crashes.0.as_secs(), &crashes.1[..17]), (17, "hv2      crashes:"));
        let awaited: Vec<String> = score.audience().map(Actor::label).collect();
        assert_eq!(awaited, ["hv1/agent-2", "hv1/player-2"]);
    }

    #[test]
    fn the_kernel_makes_links_without_a_program() {
        let (_, score) = score(0, Links::Netem);
        assert_eq!(labels(score.at(Due::Machinery).cloned()), ["controller"]);
    }
}

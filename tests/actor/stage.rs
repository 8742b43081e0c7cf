//! A trial's actors on a test network, started one by one, and what they leave.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Duration;

use livectl::actor::process::{Actor, Exit, Place, Process};
use livectl::network::Links;
use livectl::run::score::{Act, Programs, Score};
use livectl::store::TrialDir;
use livectl::trace::{Births, DumpCheck};
use tokio::time::timeout;

use crate::network::Network;

/// No single step of these tests takes as long.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Stage<'a> {
    network: &'a Network,
    folder: tempfile::TempDir,
    actors: BTreeMap<String, Actor>,
    running: Vec<(String, Process)>,
}

impl<'a> Stage<'a> {
    /// Two seconds of video from `hb` by way of `hs` to `hv`.
    pub fn new(network: &'a Network, nodelay: bool) -> Self {
        let recipe = format!(
            "
schemes: [direct]
cdn: {{ nodelay: {nodelay} }}
video: {{ size: 160x90, fps: 30, frames: 60, bitrate: 400 kbit/s }}
network:
  switches: [s1]
  hosts:
    hb: {{ role: broadcaster, link: {{ to: s1 }} }}
    hs: {{ role: cdn, link: {{ to: s1 }} }}
    hv: {{ role: viewer, link: {{ to: s1 }} }}
"
        );
        let trial = livectl::recipe::from_str("actors.yaml", &recipe).unwrap().plan.trials.remove(0);
        let folder = tempfile::tempdir().unwrap();
        let livectl = PathBuf::from(env!("CARGO_BIN_EXE_livectl"));
        let agent = livectl.with_file_name("live-agent");
        assert!(agent.is_file(), "{} must be built: cargo build --release --workspace --bins", agent.display());
        let programs = Programs { livectl, controller: "live-controller".into(), agent, links: Links::Netem };
        let score = Score::of(&trial, &TrialDir::at(folder.path()), &programs).unwrap();
        let parts = score.0.into_iter().filter_map(|entry| match entry.act {
            Act::Start(part) => Some((part.actor.label(), within(part.actor, folder.path()))),
            _ => None,
        });
        Self { network, actors: parts.collect(), running: Vec::new(), folder }
    }

    fn dir(&self) -> TrialDir {
        TrialDir::at(self.folder.path())
    }

    fn spawn(&self, label: &str) -> Process {
        let actor = &self.actors[label];
        Process::spawn(actor, Place::Host(self.network.pid(actor.station.host().unwrap()))).unwrap()
    }

    /// Starts a program, named `host/name`, and waits until it is up.
    pub async fn start(&mut self, label: &str) {
        let process = self.spawn(label);
        process.ready().await.unwrap();
        self.running.push((label.to_owned(), process));
    }

    /// Starts a program that must fail, and gives the reason.
    pub async fn refused(&self, label: &str) -> String {
        let process = self.spawn(label);
        let why = process.ready().await.expect_err(label).to_string();
        process.stop().await;
        why
    }

    pub fn running(&self, label: &str) -> &Process {
        self.running.iter().find(|(name, _)| name == label).map(|(_, process)| process).expect(label)
    }

    pub async fn exit(&self, label: &str) -> Exit {
        timeout(PATIENCE, self.running(label).wait()).await.expect(label)
    }

    pub async fn alarmed(&self, label: &str) -> String {
        timeout(PATIENCE, self.running(label).alarmed()).await.expect("an alarm")
    }

    pub fn log(&self, host: &str, name: &str) -> String {
        std::fs::read_to_string(self.dir().log(host, name)).unwrap_or_default()
    }

    pub async fn cdn_has_logged(&self, words: &str) {
        let logged = async {
            while !self.log("hs", "nginx").contains(words) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, logged).await.expect(words);
    }

    pub fn births(&self) -> Births {
        Births::read(BufReader::new(std::fs::File::open(self.dir().births("hb")).unwrap())).unwrap()
    }

    pub fn dump(&self, births: &Births) -> DumpCheck {
        DumpCheck::read(std::fs::File::open(self.dir().dump("hv")).unwrap(), births).unwrap()
    }

    /// Stops all that runs, the last first.
    pub async fn stop(&mut self) {
        while let Some((_, process)) = self.running.pop() {
            process.stop().await;
        }
    }
}

/// The same actor with its scratch files in the test's own folder: there is no sandbox with a /tmp of its own.
fn within(mut actor: Actor, folder: &Path) -> Actor {
    let scratch = folder.join("scratch").to_string_lossy().into_owned();
    let moved = |text: &str| text.replace("/tmp/scratch", &scratch);
    actor.command.args.iter_mut().for_each(|arg| *arg = moved(arg));
    actor.command.env.iter_mut().for_each(|(_, value)| *value = moved(value));
    actor.folders.iter_mut().for_each(|path| *path = moved(&path.to_string_lossy()).into());
    actor
        .files
        .iter_mut()
        .for_each(|(path, text)| (*path, *text) = (moved(&path.to_string_lossy()).into(), moved(text)));
    actor
}

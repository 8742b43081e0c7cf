//! One trial, from within its sandbox: boot, measure, stream, stop.
//!
//! Whatever fails, everything that was started is stopped in the reverse order, politely; the outcome says what happened.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::crew::{Crew, Duty, Member};
use super::event::{Happening, Outcome, Phase, Stamped};
use super::fitness::{self, Fitness, Watch};
use super::Urgency;
use crate::actor::{self, Place};
use crate::emulator;
use crate::network::{self, BootSpec, Forwarding, Links, Mininet, reach};
use crate::plan::{Role, Trial};
use crate::sandbox::{Environment, Ovs};
use crate::store::TrialDir;

/// For Mininet to boot: hundreds of hosts take their time on a slow machine.
const BOOT: Duration = Duration::from_secs(60);
/// For one answer of Mininet's CLI.
const ANSWER: Duration = Duration::from_secs(20);
/// For one program to be ready.
const READY: Duration = Duration::from_secs(20);
/// For a program to end after it was asked to, when there is no hurry.
const GRACE: Duration = Duration::from_secs(5);
/// The same in a hurry.
const SHORT_GRACE: Duration = Duration::from_millis(500);
/// Pings of a path before streaming; the first waits for ARP and the controller.
const PROBES: u32 = 5;

/// What a trial needs to know.
#[derive(Debug, Clone)]
pub struct Spec {
    /// What is to be done.
    pub trial: Trial,
    /// Where its files go.
    pub dir: TrialDir,
    /// What makes the links.
    pub links: Links,
    /// What forwards packets.
    pub forwarding: Forwarding,
    /// The controller's program.
    pub controller: PathBuf,
    /// livectl's own program.
    pub livectl: PathBuf,
    /// For every program.
    pub environment: Environment,
}

/// Why a trial could not go on.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The network was not to be had.
    #[error(transparent)]
    Network(#[from] network::NetworkError),
    /// Open vSwitch was not to be had.
    #[error(transparent)]
    Ovs(#[from] crate::sandbox::OvsError),
    /// A program was not to be had or ended too early.
    #[error(transparent)]
    Actor(#[from] actor::ActorError),
    /// The network is not the one that was planned.
    #[error("the network is not the one planned: {0}")]
    Measured(String),
    /// A file could not be written.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The plan is not one that can be run.
    #[error("the plan cannot be run: {0}")]
    Plan(String),
    /// Told to stop.
    #[error("interrupted")]
    Interrupted,
}

/// Sends what happens to the starter.
#[derive(Debug, Clone)]
pub struct Teller(mpsc::UnboundedSender<Stamped>);

impl Teller {
    /// Tells one thing. A starter that does not listen is gone, and the sandbox with it.
    pub fn tell(&self, happening: Happening) {
        let _ = self.0.send(Stamped::now(happening));
    }
}

/// Runs a trial to its end. Events go to standard output, orders come from standard input.
pub async fn run(spec: Spec) -> Outcome {
    let (events, mut queue) = mpsc::unbounded_channel::<Stamped>();
    let teller = Teller(events);
    let printer = tokio::task::spawn_blocking(move || {
        use std::io::Write;
        let mut out = std::io::stdout().lock();
        while let Some(stamped) = queue.blocking_recv() {
            let written = serde_json::to_writer(&mut out, &stamped).map_err(std::io::Error::from);
            if written.and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()).is_err() {
                return;
            }
        }
    });
    let (urgency_in, urgency) = watch::channel(Urgency::None);
    let orders = tokio::spawn(listen(urgency_in));

    let watch = Watch::start();
    let mut stage = Stage::new(spec, teller.clone(), urgency.clone());
    let result = stage.perform().await;
    teller.tell(Happening::Phase { phase: Phase::Stop });
    let stopped = stage.stop().await;
    let failure = match (&result, stopped) {
        (Err(TrialError::Interrupted), _) => None,
        (Err(error), _) => Some(error.to_string()),
        (Ok(()), Err(error)) => Some(format!("while stopping: {error}")),
        (Ok(()), Ok(())) => None,
    };
    let fitness = match watch {
        Ok(watch) => Some(stage.judge(watch)),
        Err(error) => {
            teller.tell(Happening::Warning { text: format!("the machine could not be watched: {error}") });
            None
        }
    };
    let outcome = Outcome { failure, interrupted: *urgency.borrow() > Urgency::None, fitness };
    teller.tell(Happening::Outcome(outcome.clone()));
    drop((teller, stage));
    orders.abort();
    let _ = printer.await;
    outcome
}

/// Reads orders until standard input ends; process 1 of the sandbox heeds the end itself.
async fn listen(urgency: watch::Sender<Urgency>) {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let level = match line.trim() {
            "stop" => Urgency::Stop,
            "hurry" => Urgency::Hurry,
            _ => continue,
        };
        urgency.send_modify(|now| *now = level.max(*now));
    }
}

/// Everything that runs for a trial, in the order in which it was started.
struct Stage {
    spec: Spec,
    teller: Teller,
    urgency: watch::Receiver<Urgency>,
    ovs: Option<Ovs>,
    mininet: Option<Mininet>,
    /// The network's own programs: controller, emulated links.
    machinery: Crew,
    /// What runs on hosts.
    crew: Crew,
    pids: BTreeMap<String, i32>,
}

impl Stage {
    fn new(spec: Spec, teller: Teller, urgency: watch::Receiver<Urgency>) -> Stage {
        let (machinery, crew) = (Crew::new(teller.clone()), Crew::new(teller.clone()));
        Stage { spec, teller, urgency, ovs: None, mininet: None, machinery, crew, pids: BTreeMap::new() }
    }

    async fn perform(&mut self) -> Result<(), TrialError> {
        let mut urgency = self.urgency.clone();
        let ordered = async move {
            // An error means that nobody can give orders any more.
            if urgency.wait_for(|level| *level > Urgency::None).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            result = self.all_phases() => result,
            () = ordered => Err(TrialError::Interrupted),
        }
    }

    async fn all_phases(&mut self) -> Result<(), TrialError> {
        self.phase(Phase::Boot);
        self.boot().await?;
        self.phase(Phase::Measure);
        self.measure().await?;
        self.phase(Phase::Ready);
        self.make_ready().await?;
        self.phase(Phase::Stream);
        self.stream().await
    }

    fn phase(&self, phase: Phase) {
        self.teller.tell(Happening::Phase { phase });
    }

    /// Open vSwitch, controller, links, Mininet.
    async fn boot(&mut self) -> Result<(), TrialError> {
        let dir = self.spec.dir.clone();
        let ovs_dir = Path::new("/tmp/ovs");
        let logs = dir.path().join("log");
        let ovs = Ovs::start(ovs_dir, &logs, &self.spec.environment).await?;
        let environment = ovs.environment().clone();
        self.ovs = Some(ovs);

        let controller = actor::controller::command(&self.spec.controller, self.spec.trial.scheme);
        let place = self.place_outside("controller");
        let events = Some(dir.controller_events());
        let controller = self.machinery.start(Duty::Lasting, "controller", &controller, place, events).await?;
        let at = controller.json("listening", "address", READY).await?;
        let at: SocketAddrV4 = at.parse().map_err(|_| TrialError::Plan(format!("the controller listens at {at:?}")))?;

        if self.spec.links == Links::Emulated {
            self.start_emulator().await?;
        }
        let topology = network::topology(&self.spec.trial, self.spec.links, self.spec.forwarding)?;
        crate::store::write_atomic(&dir.topology(), topology.as_bytes())?;
        let boot = BootSpec {
            topology: dir.topology(),
            controller: Some(at),
            env: environment.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
            transcript: dir.transcript(),
            deadline: BOOT,
        };
        self.teller.tell(Happening::Started {
            host: "-".into(),
            actor: "mn".into(),
            argv: argv(&network::session::boot_command(&dir.topology(), Some(at))),
        });
        let mininet = self.mininet.insert(Mininet::boot(boot, |_line| {}).await?);
        self.pids = mininet.pids(ANSWER).await?;
        for host in &self.spec.trial.network.hosts {
            if !self.pids.contains_key(&host.name) {
                return Err(TrialError::Plan(format!("Mininet did not make the host {}", host.name)));
            }
        }
        let hosts = serde_json::to_vec_pretty(&self.pids).unwrap_or_default();
        crate::store::write_atomic(&dir.path().join(crate::sandbox::running::HOSTS_FILE), &hosts)?;
        network::verify::verify(&self.spec.trial, self.spec.links, &self.pids).await?;
        Ok(())
    }

    async fn start_emulator(&mut self) -> Result<(), TrialError> {
        let spec = emulator::Spec::of(&self.spec.trial, &self.spec.dir.emulator());
        let file = Path::new("/tmp/emulator-spec.json");
        crate::store::write_atomic(file, &serde_json::to_vec(&spec).unwrap_or_default())?;
        let command = actor::Command::new(&self.spec.livectl).args(["internal", "emulator", "--spec"]).arg(file);
        let place = self.place_outside("emulator");
        let emulator = self.machinery.start(Duty::Lasting, "emulator", &command, place, None).await?;
        emulator.json("ready", "event", READY).await?;
        Ok(())
    }

    fn place_outside(&self, actor: &str) -> Place {
        Place::outside(self.spec.dir.log("-", actor), &self.environment())
    }

    fn place_on(&self, host: &str, actor: &str) -> Result<Place, TrialError> {
        let pid = *self.pids.get(host).ok_or_else(|| TrialError::Plan(format!("there is no host {host}")))?;
        Ok(Place::on(host, pid, self.spec.dir.log(host, actor), &self.environment()))
    }

    fn environment(&self) -> Environment {
        self.ovs.as_ref().map_or_else(|| self.spec.environment.clone(), |ovs| ovs.environment().clone())
    }

    /// Pings every path that the recipe pings or streams over and compares with the plan.
    async fn measure(&mut self) -> Result<(), TrialError> {
        let trial = &self.spec.trial;
        let mut paths: Vec<(String, String, Ipv4Addr)> = Vec::new();
        let cdn = trial.network.cdn().ok_or_else(|| TrialError::Plan("there is no CDN".into()))?.name.clone();
        let mut add = |from: &str, to: &str| {
            if let Some(address) = trial.network.address_from(from, to) {
                paths.push((from.to_owned(), to.to_owned(), address));
            }
        };
        for stream in &trial.streams {
            add(&stream.broadcaster, &cdn);
            for viewer in &stream.viewers {
                add(&cdn, viewer);
                add(&stream.broadcaster, viewer);
            }
        }
        paths.sort();
        paths.dedup();
        let measurements = paths.iter().map(|(from, to, address)| {
            let (pid, shapes) = (self.pids.get(from).copied(), trial.network.path(from, to));
            async move {
                let (Some(pid), Some(shapes)) = (pid, shapes) else {
                    return Err(TrialError::Plan(format!("there is no path from {from} to {to}")));
                };
                let expected = reach::Expected::of(&shapes);
                let rtt = reach::least_rtt(pid, *address, PROBES, expected).await?;
                Ok((from, to, rtt, expected))
            }
        });
        let mut wrong = Vec::new();
        for measured in super::crew::join_all(measurements).await {
            let (from, to, rtt, expected) = measured?;
            self.teller.tell(Happening::Path {
                from: from.clone(),
                to: to.clone(),
                rtt_ms: rtt.as_secs_f64() * 1e3,
                planned_ms: expected.rtt.as_secs_f64() * 1e3,
            });
            if let Err(why) = expected.compare(rtt) {
                wrong.push(format!("{from} to {to}: {why}"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(TrialError::Measured(wrong.join("; "))) }
    }
}

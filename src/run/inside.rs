//! One trial, from within its sandbox: boot, measure, stream, stop.
//!
//! Whatever fails, everything that was started is stopped in the reverse order, politely; the outcome says what happened.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::Urgency;
use super::cast::{self, Cast};
use super::crew::{Crew, Duty, News};
use super::event::{Fitness, Happening, Outcome, Phase, Stamped};
use super::fitness::{self, Watch};
use crate::actor::process::{Actor, Ends, Place, ProcessError, pipe};
use crate::network::{self, BootSpec, Forwarding, Links, Mininet, reach};
use crate::plan::Trial;
use crate::sandbox::{Environment, Ovs};
use crate::store::TrialDir;

/// For Mininet to boot: hundreds of hosts take their time on a slow machine.
const BOOT: Duration = Duration::from_secs(60);
/// For one answer of Mininet's CLI.
const ANSWER: Duration = Duration::from_secs(20);
/// For Mininet to take its network down; what it leaves goes with the sandbox.
const EXIT: Duration = Duration::from_secs(10);
/// Pings of a path before streaming; the first waits for ARP and the controller.
const PROBES: u32 = 5;
/// Where Open vSwitch keeps its database and sockets, in the sandbox's own /tmp.
const OVS_DIR: &str = "/tmp/ovs";

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
    /// A program was not to be had.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A program ended too early.
    #[error("{0}")]
    Trouble(String),
    /// The network is not the one that was planned.
    #[error("the network is not the one planned: {0}")]
    Measured(String),
    /// A file could not be written.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// Someone is left out of the plan.
    #[error("the plan cannot be run: {0}")]
    Cast(#[from] cast::CastError),
    /// The plan is not one that can be run.
    #[error("the plan cannot be run: {0}")]
    Plan(String),
    /// The system refused something.
    #[error("cannot {0}: {1}")]
    System(&'static str, std::io::Error),
    /// Told to stop.
    #[error("interrupted")]
    Interrupted,
}

/// Sends what happens to the starter.
#[derive(Debug, Clone)]
pub struct Teller(mpsc::UnboundedSender<Stamped>);

impl Teller {
    #[cfg(test)]
    pub(super) fn of(events: mpsc::UnboundedSender<Stamped>) -> Teller {
        Teller(events)
    }

    /// Tells one thing. A starter that does not listen is gone, and the sandbox with it.
    pub fn tell(&self, happening: Happening) {
        let _ = self.0.send(Stamped::now(happening));
    }
}

/// Runs a trial to its end. Events go to standard output, orders come from standard input.
pub async fn run(spec: Spec) -> Outcome {
    let (events, queue) = mpsc::unbounded_channel::<Stamped>();
    let teller = Teller(events);
    let printer = tokio::task::spawn_blocking(move || print_events(queue));
    let (urgency_in, urgency) = watch::channel(Urgency::None);
    let orders = tokio::spawn(listen(urgency_in));

    let (crew, news) = Crew::new(teller.clone());
    let mut stage = Stage::new(spec, teller.clone(), crew.another(), crew);
    let mut ovs = None;
    let result = stage.perform(&mut ovs, news, urgency.clone()).await;
    // What the machine did while everything is taken down disturbs no measurement.
    let watched = stage.watch.take().map(Watch::stop);
    teller.tell(Happening::Phase { phase: Phase::Stop });
    let stopped = stage.stop(ovs, urgency.clone()).await;
    let failure = match (&result, stopped) {
        (Err(TrialError::Interrupted), _) => None,
        (Err(error), _) => Some(error.to_string()),
        (Ok(()), Err(error)) => Some(format!("while stopping: {error}")),
        (Ok(()), Ok(())) => None,
    };
    let fitness = watched.map(|mut seen| {
        cast::complete(&mut seen, &stage.spec.trial, &stage.spec.dir, stage.spec.links, &teller);
        let limits = fitness::Limits::default();
        Fitness { verdict: fitness::judge(&seen, &limits), observations: seen, limits }
    });
    let outcome = Outcome { failure, interrupted: *urgency.borrow() > Urgency::None, fitness };
    teller.tell(Happening::Outcome(outcome.clone()));
    orders.abort();
    drop((teller, stage));
    let _ = printer.await;
    outcome
}

/// Writes events as JSON lines until nobody is left to tell any.
fn print_events(mut queue: mpsc::UnboundedReceiver<Stamped>) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    while let Some(stamped) = queue.blocking_recv() {
        let last = matches!(stamped.happening, Happening::Outcome(_));
        let written = serde_json::to_writer(&mut out, &stamped).map_err(std::io::Error::from);
        if written.and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()).is_err() || last {
            return;
        }
    }
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

/// Waits for an order to stop. Without anybody who could give one, for ever.
async fn ordered(mut urgency: watch::Receiver<Urgency>) {
    if urgency.wait_for(|level| *level > Urgency::None).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Everything that runs for a trial.
struct Stage {
    spec: Spec,
    teller: Teller,
    watch: Option<Watch>,
    mininet: Option<Mininet>,
    /// The network's own programs: controller, emulated links.
    machinery: Crew,
    /// What runs on hosts.
    crew: Crew,
    pids: BTreeMap<String, i32>,
    /// The write ends of the pipes to broadcasters' agents, until their encoders get them.
    pipes: Vec<OwnedFd>,
}

impl Stage {
    fn new(spec: Spec, teller: Teller, machinery: Crew, crew: Crew) -> Stage {
        Stage { spec, teller, watch: None, mininet: None, machinery, crew, pids: BTreeMap::new(), pipes: Vec::new() }
    }

    /// All phases, until the end, an order to stop, or trouble with a program. Open vSwitch is left in `ovs`, to be stopped.
    async fn perform(
        &mut self,
        ovs: &mut Option<Ovs>,
        mut news: News,
        urgency: watch::Receiver<Urgency>,
    ) -> Result<(), TrialError> {
        tokio::select! {
            result = self.all_phases(ovs, news.finished.clone()) => result,
            Some(first) = news.trouble.recv() => Err(TrialError::Trouble(news.root_of(first).await)),
            () = ordered(urgency) => Err(TrialError::Interrupted),
        }
    }

    async fn all_phases(
        &mut self,
        ovs: &mut Option<Ovs>,
        finished: watch::Receiver<BTreeSet<String>>,
    ) -> Result<(), TrialError> {
        self.phase(Phase::Boot);
        let logs = self.spec.dir.path().join("log");
        let ovs = ovs.insert(Ovs::start(Path::new(OVS_DIR), &logs, &self.spec.environment).await?);
        let environment = ovs.environment().clone();
        tokio::select! {
            result = self.phases_on_a_switch(&environment, finished) => result,
            error = ovs.died() => Err(error.into()),
        }
    }

    async fn phases_on_a_switch(
        &mut self,
        environment: &Environment,
        finished: watch::Receiver<BTreeSet<String>>,
    ) -> Result<(), TrialError> {
        self.boot(environment).await?;
        self.phase(Phase::Measure);
        self.measure().await?;
        self.phase(Phase::Ready);
        let cast = Cast::of(&self.spec.trial, &self.spec.dir, &self.spec.livectl)?;
        self.make_ready(&cast).await?;
        self.phase(Phase::Stream);
        self.stream(&cast, finished).await
    }

    fn phase(&self, phase: Phase) {
        self.teller.tell(Happening::Phase { phase });
    }

    /// Controller, links, Mininet.
    async fn boot(&mut self, environment: &Environment) -> Result<(), TrialError> {
        let dir = self.spec.dir.clone();
        let env = environment.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        let controller = cast::controller(&self.spec.controller, self.spec.trial.scheme, &dir);
        let events = Some(dir.controller_events());
        self.machinery.start(&controller, Place::Here, Ends::default(), Duty::Lasting, events).await?;
        if self.spec.links == Links::Emulated {
            let emulator = cast::emulator(&self.spec.livectl, &self.spec.trial, &dir);
            self.machinery.start(&emulator, Place::Here, Ends::default(), Duty::Lasting, None).await?;
        }
        let topology = network::topology(&self.spec.trial, self.spec.links, self.spec.forwarding)?;
        crate::store::write_atomic(&dir.topology(), topology.as_bytes())?;
        let at = Some(cast::CONTROLLER);
        let boot =
            BootSpec { topology: dir.topology(), controller: at, env, transcript: dir.transcript(), deadline: BOOT };
        let argv = argv(&network::session::boot_command(&dir.topology(), at));
        self.teller.tell(Happening::Started { host: "-".into(), actor: "mn".into(), argv });
        let mininet = self.mininet.insert(Mininet::boot(boot, |_line| {}).await?);
        self.pids = mininet.pids(ANSWER).await?;
        if let Some(host) = self.spec.trial.network.hosts.iter().find(|host| !self.pids.contains_key(&host.name)) {
            return Err(TrialError::Plan(format!("Mininet did not make the host {}", host.name)));
        }
        // Mininet's controller and switches are no hosts that one could enter.
        let hosts = self.pids.iter().filter(|(name, _)| self.spec.trial.network.host(name).is_some());
        let hosts = serde_json::to_vec_pretty(&hosts.collect::<BTreeMap<_, _>>()).unwrap_or_default();
        crate::store::write_atomic(&dir.path().join(crate::sandbox::running::HOSTS_FILE), &hosts)?;
        network::verify::verify(&self.spec.trial, self.spec.links, &self.pids).await?;
        Ok(())
    }

    fn place(&self, host: &str) -> Result<Place, TrialError> {
        let pid = self.pids.get(host).ok_or_else(|| TrialError::Plan(format!("there is no host {host}")))?;
        Ok(Place::Host(pid.unsigned_abs()))
    }

    /// Pings every path that video can take and compares with the plan.
    async fn measure(&mut self) -> Result<(), TrialError> {
        let mut running = JoinSet::new();
        for (from, to, address) in measured_paths(&self.spec.trial)? {
            let shapes = self.spec.trial.network.path(&from, &to);
            let shapes = shapes.ok_or_else(|| TrialError::Plan(format!("there is no path from {from} to {to}")))?;
            let Some(pid) = self.pids.get(&from).copied() else { continue };
            running.spawn(async move {
                let expected = reach::Expected::of(&shapes);
                (from, to, reach::least_rtt(pid, address, PROBES, expected).await, expected)
            });
        }
        let mut wrong = Vec::new();
        for (from, to, rtt, expected) in running.join_all().await {
            let rtt = rtt?;
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

    /// Captures first, so that they miss nothing, then the CDN.
    async fn make_ready(&mut self, cast: &Cast) -> Result<(), TrialError> {
        let mut waiting = JoinSet::new();
        for actor in &cast.captures {
            let place = self.place(&actor.host)?;
            let process = self.crew.launch(actor, place, Ends::default(), Duty::Lasting, None)?;
            waiting.spawn(async move { process.ready().await });
        }
        for ready in waiting.join_all().await {
            ready?;
        }
        for actor in &cast.cdn {
            let place = self.place(&actor.host)?;
            self.crew.start(actor, place, Ends::default(), Duty::Lasting, None).await?;
        }
        // Broadcasters' agents are there before their encoders, so that the network can introduce peers from the first frame on.
        for pair in &cast.broadcasts {
            let (read, write) = pipe().map_err(|e| TrialError::System("make a pipe", e))?;
            let ends = Ends { stdin: Some(read), stdout: None };
            let place = self.place(&pair.agent.host)?;
            self.crew.start(&pair.agent, place, ends, Duty::Finite, None).await?;
            self.pipes.push(write);
        }
        match Watch::start() {
            Ok(watch) => self.watch = Some(watch),
            Err(error) => {
                let text = format!("the machine cannot be watched, so this trial's fitness is unknown: {error}");
                self.teller.tell(Happening::Warning { text });
            }
        }
        Ok(())
    }

    /// The recipe's own timeline.
    async fn stream(
        &mut self,
        cast: &Cast,
        mut finished: watch::Receiver<BTreeSet<String>>,
    ) -> Result<(), TrialError> {
        let timeline = self.spec.trial.timeline.clone();
        let zero = Instant::now();
        let length_ns = u64::try_from(timeline.end.as_nanos()).unwrap_or(u64::MAX);
        self.teller.tell(Happening::TimelineZero { length_ns });

        let mut cues: Vec<(Duration, Cue<'_>)> = Vec::new();
        cues.extend(cast.pings.iter().map(|(at, actor)| (*at, Cue::Alone(actor))));
        cues.extend(cast.viewers.iter().map(|actor| (timeline.view_at, Cue::Alone(actor))));
        let pipes = std::mem::take(&mut self.pipes);
        let encoders = cast.broadcasts.iter().map(|pair| &pair.encoder).zip(pipes);
        cues.extend(encoders.map(|(encoder, pipe)| (timeline.broadcast_at, Cue::Piped(encoder, pipe))));
        cues.sort_by_key(|(at, _)| *at);
        for (at, cue) in cues {
            self.on_the_network(sleep_until(zero + at)).await?;
            self.enter_stage(cue)?;
        }
        let audience: BTreeSet<String> = cast.viewers.iter().map(Actor::label).collect();
        self.on_the_network(sleep_until(zero + timeline.end)).await?;
        let all_seen = finished.wait_for(|done| audience.is_subset(done));
        let drained = tokio::time::timeout_at(zero + timeline.end + timeline.drain, all_seen);
        match self.on_the_network(drained).await? {
            Ok(_) => {}
            Err(_) => {
                let text = format!(
                    "viewers were still receiving {} s after the end; what did not arrive counts as missing",
                    timeline.drain.as_secs_f64()
                );
                self.teller.tell(Happening::Note { text });
            }
        }
        Ok(())
    }

    /// Waits for something that happens on the network; the end of Mininet, which no crew watches, ends the wait.
    async fn on_the_network<T>(&mut self, happening: impl Future<Output = T>) -> Result<T, TrialError> {
        let Some(mininet) = &mut self.mininet else { return Err(TrialError::Plan("there is no network".into())) };
        tokio::select! {
            happened = happening => Ok(happened),
            error = mininet.ended() => Err(error.into()),
        }
    }

    fn enter_stage(&mut self, cue: Cue<'_>) -> Result<(), TrialError> {
        let (actor, ends) = match cue {
            Cue::Alone(actor) => (actor, Ends::default()),
            Cue::Piped(encoder, pipe) => (encoder, Ends { stdin: None, stdout: Some(pipe) }),
        };
        let place = self.place(&actor.host)?;
        self.crew.launch(actor, place, ends, Duty::Finite, None)?;
        Ok(())
    }

    /// Stops all that runs, the last started first.
    async fn stop(&mut self, ovs: Option<Ovs>, urgency: watch::Receiver<Urgency>) -> Result<(), TrialError> {
        let unwell = self.crew.stop(urgency.clone()).await;
        let exit = match self.mininet.take() {
            Some(mininet) => mininet.exit(EXIT).await,
            None => Ok(()),
        };
        let machinery = self.machinery.stop(urgency).await;
        if let Some(ovs) = ovs {
            ovs.stop().await;
        }
        for (label, exit) in unwell.into_iter().chain(machinery) {
            let text = format!("{label} did not end well when it was stopped ({})", exit.status);
            self.teller.tell(Happening::Warning { text });
        }
        Ok(exit?)
    }
}

/// Who starts at a moment of the timeline.
enum Cue<'a> {
    Alone(&'a Actor),
    /// An encoder, and the pipe to its agent.
    Piped(&'a Actor, OwnedFd),
}

/// Every path that video can take and that can be pinged without routing.
fn measured_paths(trial: &Trial) -> Result<BTreeSet<(String, String, Ipv4Addr)>, TrialError> {
    let network = &trial.network;
    let cdn = network.cdn().ok_or_else(|| TrialError::Plan("there is no CDN".into()))?.name.clone();
    let mut paths = BTreeSet::new();
    let mut add = |from: &str, to: &str| {
        if let Some(address) = network.address_from(from, to) {
            paths.insert((from.to_owned(), to.to_owned(), address));
        }
    };
    for stream in &trial.streams {
        add(&stream.broadcaster, &cdn);
        for viewer in &stream.viewers {
            add(&cdn, viewer);
            add(&stream.broadcaster, viewer);
        }
    }
    Ok(paths)
}

fn argv(command: &std::process::Command) -> Vec<String> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect()
}

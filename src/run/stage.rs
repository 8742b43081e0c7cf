//! The stage: plays a trial's [`Score`] on its network, and stops all that runs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::audience::{Audience, Programs, Step};
use super::crew::{Crew, News, Unwell};
use super::event::{Happening, Phase};
use super::fitness::{Observations, Watch};
use super::inside::{Spec, TrialError};
use super::score::{Act, Due, Part, Score, Whose};
use super::teller::Teller;
use super::{Urgency, cast};
use crate::actor::broadcaster::{Air, ENCODER};
use crate::actor::process::{Actor, Place, Process, Station};
use crate::emulator;
use crate::network::changes::Changes;
use crate::network::ports::{self, Counters};
use crate::network::{self, BootSpec, Links, Mininet, reach};
use crate::plan::{End, Host, Network, Trial, delivery};
use crate::sandbox::{Environment, Ovs};
use crate::store::TrunkTraffic;

/// For Mininet to boot: hundreds of hosts take their time on a slow machine.
const BOOT: Duration = Duration::from_secs(60);
/// For one answer of Mininet's CLI.
const ANSWER: Duration = Duration::from_secs(20);
/// For Mininet to take its network down; what it leaves goes with the sandbox.
const EXIT: Duration = Duration::from_secs(10);
/// Pings of a path before streaming; the first waits for ARP and the controller.
const PROBES: u32 = 5;
/// How often a path is measured again that seems longer than planned.
const MORE_PROBES: u32 = 5;
/// Paths that are pinged at the same time: the pings of many would queue on the link that they share.
const PROBED_AT_ONCE: usize = 8;
/// For a film to be whole when all else is over.
const FILMING: Duration = Duration::from_secs(10);
/// For the clock in the pictures of a trial to be read when it is over.
const READING: Duration = Duration::from_secs(120);
/// Where Open vSwitch keeps its database and sockets, in the sandbox's own /tmp.
const OVS_DIR: &str = "/tmp/ovs";

/// Waits for an order to stop. Without anybody who could give one, for ever.
async fn ordered(mut urgency: watch::Receiver<Urgency>) {
    if urgency.wait_for(|level| *level > Urgency::None).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Everything that runs for a trial.
pub(super) struct Stage {
    spec: Spec,
    teller: Teller,
    /// From the timeline's beginning on. What kept it from watching is what it has seen.
    watch: Option<Result<Watch, String>>,
    mininet: Option<Mininet>,
    /// Netem links that change.
    changes: Option<Changes>,
    /// The network's own programs: controller, emulated links.
    machinery: Crew,
    /// What runs on hosts.
    crew: Crew,
    /// Who is about to come or to go.
    audience: Audience,
    pids: BTreeMap<String, i32>,
    /// What should have been counted on the network and was not.
    unseen: Vec<String>,
}

impl Stage {
    pub(super) fn new(spec: Spec, teller: Teller, machinery: Crew, crew: Crew) -> Stage {
        let audience = Audience::new(teller.clone());
        let (watch, mininet, changes, pids, unseen) = Default::default();
        Stage { spec, teller, watch, mininet, changes, machinery, crew, audience, pids, unseen }
    }

    pub(super) fn spec(&self) -> &Spec {
        &self.spec
    }

    /// What the fitness watch has seen, if it should have begun.
    pub(super) fn end_watch(&mut self) -> Option<Observations> {
        let watch = self.watch.take()?;
        let mut seen = watch.map_or_else(Observations::none, Watch::stop);
        seen.unknown.append(&mut self.unseen);
        Some(seen)
    }

    /// All phases, until the end, an order to stop, or trouble with a program. Open vSwitch is left in `ovs`, to be stopped.
    pub(super) async fn perform(
        &mut self,
        ovs: &mut Option<Ovs>,
        mut news: News,
        urgency: watch::Receiver<Urgency>,
    ) -> Result<(), TrialError> {
        let standstill = news.standstill();
        tokio::select! {
            result = self.all_phases(ovs, news.finished.clone()) => result,
            name = standstill => Err(TrialError::Standstill(name)),
            Some(first) = news.trouble.recv() => Err(news.root_of(first).await.into()),
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
        let score = Score::of(&self.spec.trial, &self.spec.dir, &self.spec.programs)?;
        for due in [Due::Machinery, Due::Network] {
            self.play(&score, due, environment).await?;
        }
        self.phase(Phase::Measure);
        self.measure().await?;
        self.phase(Phase::Ready);
        for due in [Due::Captures, Due::Screens, Due::Eyes, Due::Servers, Due::Agents] {
            self.play(&score, due, environment).await?;
        }
        self.begin_watch();
        self.phase(Phase::Stream);
        self.stream(&score, finished).await
    }

    fn phase(&self, phase: Phase) {
        self.teller.tell(Happening::Phase { phase });
    }

    /// All that is due at a step before the timeline; when it returns, all of it is up.
    async fn play(&mut self, score: &Score, due: Due, environment: &Environment) -> Result<(), TrialError> {
        let mut waiting = JoinSet::new();
        for act in score.at(due) {
            match act {
                Act::Start(part) => {
                    let process = self.start(part)?;
                    waiting.spawn(async move { process.ready().await });
                }
                Act::Boot { topology } => self.boot(topology, environment).await?,
                Act::ChangeLink { .. } => {
                    return Err(TrialError::Plan("a link changes before the timeline begins".into()));
                }
                Act::Join { .. } | Act::Depart { .. } | Act::KeepOnAir { .. } => {
                    return Err(TrialError::Plan("viewers and broadcasts come and go on the timeline".into()));
                }
            }
        }
        while let Some(ready) = waiting.join_next().await {
            ready.map_err(|error| TrialError::Trouble(error.to_string()))??;
        }
        Ok(())
    }

    /// Mininet, and whether it made what was planned.
    async fn boot(&mut self, file: &Path, environment: &Environment) -> Result<(), TrialError> {
        let dir = self.spec.dir.clone();
        let env = environment.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        let topology = network::topology(&self.spec.trial, self.spec.programs.links, self.spec.forwarding)?;
        crate::store::write_atomic(file, topology.as_bytes())?;
        let controller = Some(cast::CONTROLLER);
        let boot =
            BootSpec { topology: file.to_owned(), controller, env, transcript: dir.transcript(), deadline: BOOT };
        let argv = Act::boot_words(file);
        self.teller.tell(Happening::Started { host: Station::Machine, actor: "mn".into(), argv });
        let mininet = self.mininet.insert(Mininet::boot(boot, |_line| {}).await?);
        self.pids = mininet.pids(ANSWER).await?;
        if let Some(host) = self.spec.trial.network.hosts.iter().find(|host| !self.pids.contains_key(&host.name)) {
            return Err(TrialError::Plan(format!("Mininet did not make the host {}", host.name)));
        }
        // Mininet's controller and switches are no hosts that one could enter.
        let hosts = self.pids.iter().filter(|(name, _)| self.spec.trial.network.host(name).is_some());
        let hosts = serde_json::to_vec_pretty(&hosts.collect::<BTreeMap<_, _>>()).unwrap_or_default();
        crate::store::write_atomic(&dir.path().join(crate::sandbox::running::HOSTS_FILE), &hosts)?;
        network::verify::verify(&self.spec.trial, self.spec.programs.links, &self.pids).await?;
        Ok(())
    }

    /// Starts a program where it belongs.
    fn start(&mut self, part: &Part) -> Result<Arc<Process>, TrialError> {
        let Part { actor, duty, copy } = part;
        let (place, crew) = match &actor.station {
            Station::Machine => (Place::Here, &mut self.machinery),
            Station::Host(host) => (place(&self.pids, host)?, &mut self.crew),
        };
        Ok(crew.launch(actor, place, *duty, copy.clone())?)
    }

    /// Pings every path that video can take and compares with the plan.
    async fn measure(&mut self) -> Result<(), TrialError> {
        let mut running = JoinSet::new();
        let turns = Arc::new(Semaphore::new(PROBED_AT_ONCE));
        for (from, to, address) in measured_paths(&self.spec.trial)? {
            let shapes = self.spec.trial.network.path(&from, &to);
            let shapes = shapes.ok_or_else(|| TrialError::Plan(format!("there is no path from {from} to {to}")))?;
            let Some(pid) = self.pids.get(&from).copied() else { continue };
            let turns = Arc::clone(&turns);
            running.spawn(async move {
                // The semaphore is never closed.
                let _turn = turns.acquire_owned().await;
                let expected = reach::Expected::of(&shapes);
                let rtt = reach::least_rtt(pid, address, PROBES, expected).await;
                (from, to, (pid, address), rtt, expected)
            });
        }
        let mut wrong = Vec::new();
        for (from, to, (pid, address), rtt, expected) in running.join_all().await {
            let mut rtt = rtt.map_err(|error| error.between(&from, &to))?;
            for _ in 0..MORE_PROBES {
                if rtt <= expected.rtt || expected.compare(rtt).is_ok() {
                    break;
                }
                // It may have been the moment: a busy machine makes it longer, never shorter. What is true of the path is true without the others, too.
                let again = reach::least_rtt(pid, address, PROBES, expected).await;
                rtt = rtt.min(again.map_err(|error| error.between(&from, &to))?);
            }
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

    fn begin_watch(&mut self) {
        let watch = Watch::start().map_err(|error| format!("the machine cannot be watched: {error}"));
        if let Err(why) = &watch {
            self.teller.tell(Happening::Warning { text: format!("fitness unknown: {why}") });
        }
        self.watch = Some(watch);
    }

    /// The recipe's own timeline.
    async fn stream(
        &mut self,
        score: &Score,
        mut finished: watch::Receiver<BTreeSet<String>>,
    ) -> Result<(), TrialError> {
        let timeline = self.spec.trial.timeline.clone();
        let (zero, zero_ns) = (Instant::now(), emulator::timeline::monotonic_ns());
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.teller.tell(Happening::TimelineZero { length_ns: nanoseconds(timeline.end) });
        self.begin_changes(zero, zero_ns).await?;
        let before = self.count_trunks().await;
        for (at, act) in score.timeline() {
            self.on_the_network(sleep_until(zero + at)).await?;
            match act {
                Act::Start(part) => drop(self.start(part)?),
                Act::Join { whose, agent, player } => {
                    self.audience.join(whose.clone(), self.at_home(whose)?, agent.clone(), player.clone());
                }
                Act::Depart { whose, how } => {
                    let home = self.at_home(whose)?;
                    let running = |name: String| self.crew.member(&format!("{}/{name}", whose.host));
                    let programs = Programs { agent: running(whose.agent()), player: running(whose.player()) };
                    self.audience.depart(whose.clone(), *how, home, programs);
                }
                Act::KeepOnAir { host, air } => self.keep_on_air(host, *air)?,
                Act::Boot { .. } => return Err(TrialError::Plan("there is one network in a trial".into())),
                Act::ChangeLink { link, change } => self.teller.tell(Happening::LinkChanged {
                    link: link.clone(),
                    directions: change.directions,
                    change: change.change.to_string(),
                    at_ns: nanoseconds(change.at),
                }),
            }
        }
        let audience: BTreeSet<String> = score.audience().map(Actor::label).collect();
        self.on_the_network(sleep_until(zero + timeline.end)).await?;
        let all_seen = finished.wait_for(|done| audience.is_subset(done));
        let drained = tokio::time::timeout_at(zero + timeline.end + timeline.drain, all_seen);
        if self.on_the_network(drained).await?.is_err() {
            let text = unended(&audience, &finished.borrow(), timeline.drain);
            self.teller.tell(Happening::Note { text });
        }
        let after = self.count_trunks().await;
        self.keep_trunks(before.zip(after))?;
        self.read_what_was_kept(score, finished).await
    }

    /// What is due when nothing is measured any more. What of it does not come to an end is told; the trial stands without it.
    async fn read_what_was_kept(
        &mut self,
        score: &Score,
        mut finished: watch::Receiver<BTreeSet<String>>,
    ) -> Result<(), TrialError> {
        let filming: BTreeSet<String> = score.beside().map(Actor::label).collect();
        let filmed = finished.wait_for(|done| filming.is_subset(done));
        // What of it is not whole by then is not waited for.
        let _ = tokio::time::timeout(FILMING, filmed).await;
        let mut reading = BTreeSet::new();
        for act in score.at(Due::After) {
            let Act::Start(part) = act else {
                return Err(TrialError::Plan("after the timeline programs start and nothing else happens".into()));
            };
            reading.insert(self.start(part)?.label().to_owned());
        }
        let all_read = finished.wait_for(|done| reading.is_subset(done));
        if tokio::time::timeout(READING, all_read).await.is_err() {
            let seconds = READING.as_secs();
            let text = format!(
                "what was kept was not read within {seconds} s: shown delays are not known, or there is no picture of the film"
            );
            self.teller.tell(Happening::Warning { text });
        }
        Ok(())
    }

    /// Has the program of a broadcaster ended in time. One that has ended already is not there any more.
    fn keep_on_air(&self, host: &str, air: Air) -> Result<(), TrialError> {
        let running = |name: &str| self.crew.member(&format!("{host}/{name}"));
        let Some(agent) = running("agent") else { return Err(TrialError::Plan(format!("{host} has no agent"))) };
        match running(ENCODER) {
            Some(program) => self.crew.keep_on_air(program, agent, air),
            None => return Err(TrialError::Trouble(format!("{host}/{ENCODER} ended as soon as it was started"))),
        }
        Ok(())
    }

    /// What the ports of joined switches have counted so far; `None` where there are none, or the switches do not tell, which is told.
    async fn count_trunks(&mut self) -> Option<BTreeMap<String, Counters>> {
        let network = &self.spec.trial.network;
        network.trunks().next()?;
        match ports::read(network).await {
            Ok(counted) => Some(counted),
            Err(error) => {
                self.not_seen(format!("what passes between the switches: {error}"));
                None
            }
        }
    }

    /// Notes and tells what should have been counted and was not.
    fn not_seen(&mut self, what: String) {
        self.teller.tell(Happening::Warning { text: format!("fitness unknown: {what}") });
        self.unseen.push(what);
    }

    /// Keeps what has passed between switches from one count to another.
    fn keep_trunks(
        &mut self,
        counted: Option<(BTreeMap<String, Counters>, BTreeMap<String, Counters>)>,
    ) -> Result<(), TrialError> {
        let Some((before, after)) = counted else { return Ok(()) };
        let network = &self.spec.trial.network;
        let (traffic, planned) = (trunk_traffic(network, &before, &after), 2 * network.trunks().count());
        if traffic.len() < planned {
            self.not_seen(format!(
                "what passes between the switches: {} of {planned} directions were counted",
                traffic.len()
            ));
        }
        Ok(TrunkTraffic::write(&self.spec.dir.ports(), &traffic)?)
    }

    /// Has the links change on the timeline that began at `zero`: emulated ones, which are told what that is in nanoseconds of CLOCK_MONOTONIC, do it by
    /// themselves, as they know how.
    async fn begin_changes(&mut self, zero: Instant, zero_ns: std::io::Result<u64>) -> Result<(), TrialError> {
        let Spec { trial, programs, .. } = &self.spec;
        if trial.link_changes.is_empty() {
            return Ok(());
        }
        match programs.links {
            Links::Emulated => {
                let unknown = |error| TrialError::Plan(format!("the kernel does not tell the time: {error}"));
                emulator::timeline::tell(Path::new(cast::EMULATOR_SOCKET), zero_ns.map_err(unknown)?).await?;
            }
            Links::Netem => self.changes = Some(Changes::begin(trial, &self.pids, zero)?),
        }
        Ok(())
    }

    /// Waits for something that happens on the network, while viewers come and go; the end of Mininet, which no crew watches, and a link that cannot be
    /// changed end the wait.
    async fn on_the_network<T>(&mut self, happening: impl Future<Output = T>) -> Result<T, TrialError> {
        tokio::pin!(happening);
        loop {
            let Some(mininet) = &mut self.mininet else { return Err(TrialError::Plan("there is no network".into())) };
            let unchanged = async {
                match &mut self.changes {
                    Some(changes) => changes.failed().await,
                    None => std::future::pending().await,
                }
            };
            let step = tokio::select! {
                happened = &mut happening => return Ok(happened),
                error = mininet.ended() => return Err(error.into()),
                error = unchanged => return Err(error.into()),
                step = self.audience.next() => step?,
            };
            match step {
                Step::Start(whose, agent, player) if !self.audience.is_over(&whose) => {
                    let first = self.start(agent.as_deref().unwrap_or(&player))?;
                    self.audience.joined(&whose);
                    if agent.is_some() {
                        self.audience.await_agent(whose, first, player);
                    }
                }
                Step::StartPlayer(whose, player) if !self.audience.is_over(&whose) => drop(self.start(&player)?),
                Step::Start(..) | Step::StartPlayer(..) | Step::Done => (),
            }
        }
    }

    /// The host of a viewer, and the process id of its shell.
    fn at_home(&self, whose: &Whose) -> Result<(Host, i32), TrialError> {
        let host = self.spec.trial.network.host(&whose.host).cloned();
        let home = host.zip(self.pids.get(&whose.host).copied());
        home.ok_or_else(|| TrialError::Plan(format!("there is no host {}", whose.host)))
    }

    /// Stops all that runs, the last started first. Those that took no notice of being asked, or left what may not be whole, are
    /// named in `deaf`.
    pub(super) async fn stop(
        &mut self,
        ovs: Option<Ovs>,
        urgency: watch::Receiver<Urgency>,
        deaf: &mut Vec<String>,
    ) -> Result<(), TrialError> {
        self.changes = None;
        let unwell = self.crew.stop(urgency.clone()).await;
        let exit = match self.mininet.take() {
            Some(mininet) => mininet.exit(EXIT).await,
            None => Ok(()),
        };
        let machinery = self.machinery.stop(urgency).await;
        if let Some(ovs) = ovs {
            ovs.stop().await;
        }
        // The network's own leave reports when they end, and captures their last packets.
        let leaves_something =
            |label: &str| label.contains("tcpdump-") || machinery.iter().any(|own| own.label == label);
        let not_whole =
            unwell.iter().chain(&machinery).filter(|one| !one.exit.was_deaf() && leaves_something(&one.label));
        deaf.extend(not_whole.map(|Unwell { label, exit }| {
            format!("{label} did not end well when it was stopped ({}): what it left may not be whole", exit.status)
        }));
        for Unwell { label, exit } in unwell.into_iter().chain(machinery) {
            // What else it took no notice of before, nobody knows.
            let text = if exit.was_deaf() {
                deaf.push(format!("{label} did not end when it was asked to and was killed: it may have hung"));
                format!("{label} did not end when it was asked to and was killed")
            } else {
                format!("{label} did not end well when it was stopped ({})", exit.status)
            };
            self.teller.tell(Happening::Warning { text });
        }
        Ok(exit?)
    }
}

/// What has passed in each direction of each link between switches. One whose counters are not there, or have begun anew, is left out.
fn trunk_traffic(
    network: &Network,
    before: &BTreeMap<String, Counters>,
    after: &BTreeMap<String, Counters>,
) -> Vec<TrunkTraffic> {
    let ends = network.trunks().flat_map(|link| [(&link.a, &link.b), (&link.b, &link.a)]);
    let traffic = ends.filter_map(|(from, to)| {
        let since = |end: &End| after.get(&end.interface)?.since(before.get(&end.interface)?);
        let (sent, received) = (since(from)?, since(to)?);
        Some(TrunkTraffic {
            from: from.node.clone(),
            to: to.node.clone(),
            sent_bytes: sent.sent_bytes,
            received_bytes: received.received_bytes,
            received_packets: received.received_packets,
            dropped_packets: sent.dropped_packets,
        })
    });
    traffic.collect()
}

/// Who of those that the trial waited for has not ended, be it that they still receive, or that they never began to.
fn unended(audience: &BTreeSet<String>, finished: &BTreeSet<String>, drain: Duration) -> String {
    /// Named; of more it is said how many.
    const MOST: usize = 6;
    let late: Vec<&str> = audience.difference(finished).map(String::as_str).collect();
    let named = late.iter().take(MOST).copied().collect::<Vec<_>>().join(", ");
    let more = late.len().saturating_sub(MOST);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let drain = drain.as_secs_f64();
    format!("{named}{more} had not ended {drain} s after the trial's end; what did not arrive counts as missing")
}

fn place(pids: &BTreeMap<String, i32>, host: &str) -> Result<Place, TrialError> {
    let pid = pids.get(host).ok_or_else(|| TrialError::Plan(format!("there is no host {host}")))?;
    Ok(Place::Host(pid.unsigned_abs()))
}

/// Every path that video can take and that can be pinged without routing.
fn measured_paths(trial: &Trial) -> Result<BTreeSet<(String, String, Ipv4Addr)>, TrialError> {
    let network = &trial.network;
    let cdn = network.cdn().ok_or_else(|| TrialError::Plan("there is no CDN".into()))?;
    let pairs = trial.streams.iter().flat_map(|stream| delivery::pairs(&cdn.name, stream));
    let reached = pairs.filter_map(|(from, to)| Some((from, to, network.address_from(from, to)?)));
    Ok(reached.map(|(from, to, address)| (from.to_owned(), to.to_owned(), address)).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::run::fitness::{Limits, Verdict, judge};
    use crate::run::observed::tests::spec;

    /// A trial of `recipes/` in which nothing runs.
    fn stage(recipe: &str, folder: &Path) -> Stage {
        let (teller, _told) = Teller::new();
        let (crew, _news) = Crew::new(teller.clone());
        Stage::new(spec(recipe, folder), teller, crew.another(), crew)
    }

    #[test]
    fn a_watch_that_cannot_begin_leaves_no_trial_fit() {
        let folder = tempfile::tempdir().unwrap();
        let mut stage = stage(include_str!("../../recipes/smoke.yaml"), folder.path());
        assert!(stage.end_watch().is_none(), "it was not to begin yet");
        stage.watch = Some(Err("the machine cannot be watched: Too many open files (os error 24)".into()));
        let seen = stage.end_watch().unwrap();
        let verdict = judge(&seen, &Limits::default()).to_string();
        assert_eq!(
            verdict,
            "unfit: fitness unknown: the machine cannot be watched: Too many open files (os error 24)"
        );
    }

    #[test]
    fn ports_that_were_not_counted_leave_no_trial_fit() {
        let folder = tempfile::tempdir().unwrap();
        let mut stage = stage(include_str!("../../recipes/relay-regions.yaml"), folder.path());
        let network = stage.spec.trial.network.clone();
        let ends: Vec<End> = network.trunks().flat_map(|link| [link.a.clone(), link.b.clone()]).collect();
        let count = |bytes: u64| -> BTreeMap<String, Counters> {
            let counted = Counters { received_bytes: bytes, sent_bytes: bytes, ..Counters::default() };
            ends.iter().map(|end| (end.interface.clone(), counted)).collect()
        };
        let (before, after) = (count(100), count(250));
        let traffic = trunk_traffic(&network, &before, &after);
        assert_eq!(traffic.len(), ends.len());
        assert!(traffic.iter().all(|one| (one.sent_bytes, one.received_bytes) == (150, 150)), "{traffic:?}");
        stage.keep_trunks(Some((before.clone(), after.clone()))).unwrap();
        assert_eq!(stage.unseen, [""; 0]);

        // A port that is gone, and one that was made anew.
        for change in [None, Some(Counters::default())] {
            let mut after = after.clone();
            match change {
                None => drop(after.remove(&ends[0].interface)),
                Some(anew) => drop(after.insert(ends[0].interface.clone(), anew)),
            }
            assert_eq!(trunk_traffic(&network, &before, &after).len(), ends.len() - 2);
            stage.keep_trunks(Some((before.clone(), after))).unwrap();
        }
        stage.watch = Some(Err("not here".into()));
        let Verdict::Unfit { reasons } = judge(&stage.end_watch().unwrap(), &Limits::default()) else {
            panic!("what was not counted is fit")
        };
        let directions = format!("{} of {} directions were counted", ends.len() - 2, ends.len());
        assert_eq!(reasons.iter().filter(|reason| reason.text.ends_with(&directions)).count(), 2, "{reasons:?}");
    }

    #[test]
    fn who_has_not_ended_is_named_and_many_are_counted() {
        let labels = |from: usize, to: usize| (from..to).map(|n| format!("hv{n}/player")).collect::<BTreeSet<_>>();
        let text = unended(&labels(0, 3), &labels(0, 2), Duration::from_secs(30));
        assert_eq!(
            text,
            "hv2/player had not ended 30 s after the trial's end; what did not arrive counts as missing"
        );
        assert!(
            unended(&labels(0, 9), &labels(0, 1), Duration::ZERO).contains("hv6/player and 2 more had not ended")
        );
    }
}

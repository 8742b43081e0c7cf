//! The programs of a trial, in the order in which they were started: told of when they start, speak and end, and stopped in the
//! reverse order.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, watch};

use super::event::Happening;
use super::teller::Teller;
use super::{Urgency, air};
use crate::actor::broadcaster::Air;
use crate::actor::process::{Actor, Exit, Place, Process, ProcessError, Station};
use crate::sandbox;
use crate::sandbox::halted::{self, Halted};

/// Whether a program may end by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// It must live until it is stopped.
    Lasting,
    /// It ends when its work is done, with status 0.
    Finite,
    /// The same, but with status 1 if nobody has answered it: a ping train, to which that is an outcome (ping(8)).
    Train,
    /// It ends when its work is done, and the trial waits for it.
    Audience,
    /// It ends by itself. However it does, what is measured stands: a film, or what is read afterwards.
    Beside,
}

impl Duty {
    /// Whether a program that nobody told to end has done its work, by the status that it ended with.
    fn is_done(self, code: Option<i32>) -> bool {
        match self {
            Duty::Lasting => false,
            Duty::Train => matches!(code, Some(0 | 1)),
            Duty::Finite | Duty::Audience | Duty::Beside => code == Some(0),
        }
    }
}

/// What the programs of a network that has broken down may take to end, one because of the other.
const AFTERMATH: Duration = Duration::from_millis(200);

/// What went wrong with a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    /// It is one that the others need: of the network itself, on no host.
    of_network: bool,
    /// Somebody or something outside the trial killed it.
    pub(super) was_killed: bool,
    /// What it is, in words.
    pub(super) text: String,
}

/// The programs of a trial that were started.
pub(super) struct Crew {
    teller: Teller,
    members: Vec<Arc<Process>>,
    trouble: mpsc::UnboundedSender<Trouble>,
    finished: watch::Sender<BTreeSet<String>>,
    roll: Roll,
}

/// Who leads which process group. What a program starts is in its group.
#[derive(Debug, Clone, Default)]
struct Roll(Arc<Mutex<BTreeMap<i32, String>>>);

/// A program that did not end well.
#[derive(Debug)]
pub(super) struct Unwell {
    /// Host and name, as `host/name`.
    pub label: String,
    /// How the program ended.
    pub exit: Exit,
}

/// What one hears of a crew.
pub(super) struct News {
    /// A program ended or failed that should not have.
    pub trouble: mpsc::UnboundedReceiver<Trouble>,
    /// Labels (`host/name`) of the finite ones that have done their work.
    pub finished: watch::Receiver<BTreeSet<String>>,
    roll: Roll,
}

impl News {
    /// Waits for a program that stands still, ends it, so that what it holds up can end too, and says which.
    pub(super) fn standstill(&self) -> impl Future<Output = String> + use<> {
        let roll = self.roll.clone();
        async move {
            let halted = halted::first(halted::halted).await;
            // That it is gone meanwhile is fine.
            let _ = kill(Pid::from_raw(halted.pid), Signal::SIGKILL);
            roll.name_of(&halted)
        }
    }

    /// What is to be told of a trouble that may have led to others: the network's own, if there is one, for when links go down
    /// with the emulator, the captures on them may be heard of first.
    pub(super) async fn root_of(&mut self, first: Trouble) -> Trouble {
        if first.of_network {
            return first;
        }
        let of_network = async {
            while let Some(next) = self.trouble.recv().await {
                if next.of_network {
                    return next;
                }
            }
            std::future::pending().await
        };
        tokio::time::timeout(AFTERMATH, of_network).await.unwrap_or(first)
    }
}

impl Crew {
    pub(super) fn new(teller: Teller) -> (Crew, News) {
        let (trouble, trouble_out) = mpsc::unbounded_channel();
        let (finished, finished_out) = watch::channel(BTreeSet::new());
        let roll = Roll::default();
        let crew = Crew { teller, members: Vec::new(), trouble, finished, roll: roll.clone() };
        (crew, News { trouble: trouble_out, finished: finished_out, roll })
    }

    /// A crew whose news come with this one's.
    pub(super) fn another(&self) -> Crew {
        let (teller, trouble, finished) = (self.teller.clone(), self.trouble.clone(), self.finished.clone());
        Crew { teller, members: Vec::new(), trouble, finished, roll: self.roll.clone() }
    }

    /// Ends a program that has been on the air for long enough, and is told if it never was.
    pub(super) fn keep_on_air(&self, program: Arc<Process>, agent: Arc<Process>, air: Air) {
        let (teller, trouble) = (self.teller.clone(), self.trouble.clone());
        tokio::spawn(async move {
            if let Err(text) = air::keep(&program, &agent, air, &teller).await {
                let _ = trouble.send(Trouble { of_network: false, was_killed: false, text });
            }
        });
    }

    /// Starts a program. Lines of its output become reports, and also go to `copy`.
    pub(super) fn launch(
        &mut self,
        actor: &Actor,
        place: Place,
        duty: Duty,
        copy: Option<PathBuf>,
    ) -> Result<Arc<Process>, ProcessError> {
        let command = actor.command.at(place);
        let argv = std::iter::once(command.program.clone()).chain(command.args.iter().cloned()).collect();
        self.teller.tell(Happening::Started { host: actor.station.clone(), actor: actor.name.clone(), argv });
        let mut process = Process::spawn(actor, place)?;
        if let Some(lines) = process.lines() {
            let (teller, trouble) = (self.teller.clone(), self.trouble.clone());
            let (station, name) = (actor.station.clone(), actor.name.clone());
            tokio::spawn(async move {
                // Who looks for what was told would find less, and not know it.
                if let Err(text) = relay(lines, teller, station, name, copy).await {
                    let _ = trouble.send(Trouble { of_network: false, was_killed: false, text });
                }
            });
        }
        let process = Arc::new(process);
        self.roll.enter(&process);
        // Of those that have ended well there is nothing to stop, and in a long trial there can be many.
        self.members.retain(|member| !member.exit().is_some_and(|exit| exit.is_fine()));
        tokio::spawn(self.attend(Arc::clone(&process), actor, duty));
        self.members.push(Arc::clone(&process));
        Ok(process)
    }

    /// The program with that label (`host/name`), if it runs.
    pub(super) fn member(&self, label: &str) -> Option<Arc<Process>> {
        self.members.iter().find(|member| member.label() == label && member.exit().is_none()).map(Arc::clone)
    }

    /// Follows one program to its end.
    fn attend(&self, process: Arc<Process>, actor: &Actor, duty: Duty) -> impl Future<Output = ()> + use<> {
        let (teller, trouble, finished) = (self.teller.clone(), self.trouble.clone(), self.finished.clone());
        let (host, name) = (actor.station.clone(), actor.name.clone());
        let of_network = host == Station::Machine;
        let killed_before = sandbox::killed_for_memory();
        async move {
            let exit = tokio::select! {
                exit = process.wait() => exit,
                line = process.alarmed() => {
                    // Told to a stage that may be gone already.
                    let text = format!("{} reports: {line}", process.label());
                    // As nginx says of a process of its own.
                    let was_killed = line.ends_with("exited on signal 9");
                    let _ = trouble.send(Trouble { of_network, was_killed, text });
                    process.wait().await
                }
            };
            let told_of = teller.clone();
            teller.tell(Happening::Ended {
                host,
                actor: name,
                code: exit.status.code(),
                signal: exit.status.signal(),
            });
            if exit.asked {
                return;
            }
            let ended_well = duty.is_done(exit.status.code());
            if ended_well || duty == Duty::Beside {
                finished.send_modify(|done| {
                    done.insert(process.label().to_owned());
                });
            }
            if !ended_well && duty == Duty::Beside {
                let text = format!("{} ended early ({}){}", process.label(), exit.status, process.log_tail());
                told_of.tell(Happening::Warning { text });
            } else if !ended_well {
                let was_killed = exit.status.signal() == Some(Signal::SIGKILL as i32);
                let memory = if was_killed { for_memory(killed_before) } else { String::new() };
                let text = format!("{} ended early ({}){memory}{}", process.label(), exit.status, process.log_tail());
                let _ = trouble.send(Trouble { of_network, was_killed, text });
            }
        }
    }

    /// Stops all, the last first, each politely; kills those that are left when hurried. What did not end well is returned, also what had to be killed
    /// for it did not end when it was asked to.
    pub(super) async fn stop(&mut self, mut urgency: watch::Receiver<Urgency>) -> Vec<Unwell> {
        let mut unwell = Vec::new();
        while let Some(process) = self.members.pop() {
            let hurried = async {
                if urgency.wait_for(|level| *level >= Urgency::Hurry).await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                exit = process.stop() => if !exit.is_fine() || exit.was_deaf() {
                    unwell.push(Unwell { label: process.label().to_owned(), exit });
                },
                () = hurried => process.kill(),
            }
        }
        unwell
    }
}

/// Whether the kernel has killed processes for lack of memory meanwhile, in words.
fn for_memory(before: Option<u64>) -> String {
    match before.zip(sandbox::killed_for_memory()).map(|(before, now)| now.saturating_sub(before)) {
        Some(count) if count > 0 => "; the kernel killed processes for lack of memory, see `dmesg`".to_owned(),
        _ => String::new(),
    }
}

impl Roll {
    fn enter(&self, process: &Process) {
        let group = i32::try_from(process.pid()).unwrap_or_default();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(group, process.label().to_owned());
    }

    /// `hs/nginx`, or the program's own name for those that are no part of a crew, as Open vSwitch. Of those only Mininet is in Python.
    fn name_of(&self, halted: &Halted) -> String {
        let roll = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = if halted.name.starts_with("python") { "Mininet" } else { &halted.name };
        roll.get(&halted.group).map_or(own, String::as_str).to_owned()
    }
}

/// Lines of a program's output become reports, all of them. The error is why `copy` does not have them too, in words.
async fn relay(
    mut lines: mpsc::Receiver<String>,
    teller: Teller,
    host: Station,
    actor: String,
    copy: Option<PathBuf>,
) -> Result<(), String> {
    let mut kept = Ok(());
    let mut file = None;
    let unwritten = |path: &Option<PathBuf>, error| {
        let path = path.as_deref().unwrap_or(Path::new("")).display();
        Err(format!("cannot write {path}, which keeps a program's output: {error}"))
    };
    if let Some(path) = &copy {
        match tokio::fs::File::create(path).await {
            Ok(created) => file = Some(created),
            Err(error) => kept = unwritten(&copy, error),
        }
    }
    while let Some(line) = lines.recv().await {
        if let Some(open) = &mut file
            && let Err(error) = open.write_all(format!("{line}\n").as_bytes()).await
        {
            kept = unwritten(&copy, error);
            file = None;
        }
        let what = serde_json::from_str(&line).unwrap_or(serde_json::Value::String(line));
        teller.tell(Happening::Report { host: host.clone(), actor: actor.clone(), what });
    }
    if let Some(mut file) = file
        && let Err(error) = file.flush().await
    {
        kept = unwritten(&copy, error);
    }
    kept
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Of two troubles that come `apart` from each other, the one that is told.
    async fn told(first: (bool, &str), second: (bool, &str), apart: Duration) -> String {
        let (teller, _told) = Teller::new();
        let (crew, mut news) = Crew::new(teller);
        let trouble = crew.trouble.clone();
        let of = |(of_network, text): (bool, &str)| Trouble { of_network, was_killed: false, text: text.into() };
        let second = of(second);
        let sender = tokio::spawn(async move {
            tokio::time::sleep(apart).await;
            trouble.send(second)
        });
        let told = news.root_of(of(first)).await;
        sender.abort();
        told.text
    }

    #[tokio::test]
    async fn what_a_program_tells_and_cannot_be_kept_is_trouble_and_told_all_the_same() {
        let (teller, mut told) = Teller::new();
        let (sender, lines) = mpsc::channel(4);
        sender.send(r#"{"event":"listening"}"#.to_owned()).await.unwrap();
        drop(sender);
        // Whatever is written there, the disk is full.
        let kept = relay(lines, teller, Station::Machine, "controller".into(), Some("/dev/full".into())).await;
        assert!(kept.unwrap_err().starts_with("cannot write /dev/full"));
        assert!(matches!(told.recv().await.unwrap().happening, Happening::Report { .. }));
    }

    #[test]
    fn pings_that_nobody_answers_are_no_trouble() {
        let done = |duty: Duty| [Some(0), Some(1), Some(2), None].map(|code| duty.is_done(code));
        assert_eq!(done(Duty::Train), [true, true, false, false]);
        assert_eq!(done(Duty::Finite), [true, false, false, false]);
        assert_eq!(done(Duty::Lasting), [false; 4]);
    }

    #[tokio::test]
    async fn the_network_is_the_root_of_what_its_end_breaks() {
        let soon = Duration::from_millis(20);
        assert_eq!(told((false, "capture"), (true, "emulator"), soon).await, "emulator");
        assert_eq!(told((true, "emulator"), (false, "capture"), soon).await, "emulator");
        assert_eq!(told((false, "player"), (false, "capture"), soon).await, "player");
        assert_eq!(
            told((false, "player"), (true, "emulator"), AFTERMATH * 3).await,
            "player",
            "too late to be its cause"
        );
    }
}

//! The programs of a trial, in the order in which they were started: told of when they start, speak and end, and stopped in the
//! reverse order.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, watch};

use super::Urgency;
use super::event::Happening;
use super::inside::Teller;
use crate::actor::process::{Actor, Ends, Exit, Place, Process, ProcessError};

/// Whether a program may end by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Duty {
    /// It must live until it is stopped.
    Lasting,
    /// It ends when its work is done, with status 0.
    Finite,
}

/// What went wrong with a program, in words.
pub(super) type Trouble = String;

/// Started programs.
pub(super) struct Crew {
    teller: Teller,
    members: Vec<Arc<Process>>,
    trouble: mpsc::UnboundedSender<Trouble>,
    finished: watch::Sender<BTreeSet<String>>,
}

/// What one hears of a crew.
pub(super) struct News {
    /// A program ended or failed that should not have.
    pub trouble: mpsc::UnboundedReceiver<Trouble>,
    /// Labels (`host/name`) of the finite ones that have done their work.
    pub finished: watch::Receiver<BTreeSet<String>>,
}

impl Crew {
    pub(super) fn new(teller: Teller) -> (Crew, News) {
        let (trouble, trouble_out) = mpsc::unbounded_channel();
        let (finished, finished_out) = watch::channel(BTreeSet::new());
        let crew = Crew { teller, members: Vec::new(), trouble, finished };
        (crew, News { trouble: trouble_out, finished: finished_out })
    }

    /// A crew whose news come with this one's.
    pub(super) fn another(&self) -> Crew {
        let (teller, trouble, finished) = (self.teller.clone(), self.trouble.clone(), self.finished.clone());
        Crew { teller, members: Vec::new(), trouble, finished }
    }

    /// Starts a program and waits until it is up. Lines of its output become reports, and also go to `copy`.
    pub(super) async fn start(
        &mut self,
        actor: &Actor,
        place: Place,
        ends: Ends,
        duty: Duty,
        copy: Option<PathBuf>,
    ) -> Result<(), ProcessError> {
        let process = self.launch(actor, place, ends, duty, copy)?;
        process.ready().await
    }

    /// Starts a program without waiting for it.
    pub(super) fn launch(
        &mut self,
        actor: &Actor,
        place: Place,
        ends: Ends,
        duty: Duty,
        copy: Option<PathBuf>,
    ) -> Result<Arc<Process>, ProcessError> {
        let command = actor.command.at(place);
        let argv = std::iter::once(command.program.clone()).chain(command.args.iter().cloned()).collect();
        self.teller.tell(Happening::Started { host: actor.host.clone(), actor: actor.name.clone(), argv });
        let mut process = Process::spawn(actor, place, ends)?;
        if let Some(lines) = process.lines() {
            tokio::spawn(relay(lines, self.teller.clone(), actor.host.clone(), actor.name.clone(), copy));
        }
        let process = Arc::new(process);
        tokio::spawn(self.attend(Arc::clone(&process), actor, duty));
        self.members.push(Arc::clone(&process));
        Ok(process)
    }

    /// Follows one program to its end.
    fn attend(&self, process: Arc<Process>, actor: &Actor, duty: Duty) -> impl Future<Output = ()> + use<> {
        let (teller, trouble, finished) = (self.teller.clone(), self.trouble.clone(), self.finished.clone());
        let (host, name) = (actor.host.clone(), actor.name.clone());
        async move {
            let exit = tokio::select! {
                exit = process.wait() => exit,
                line = process.alarmed() => {
                    // Told to a stage that may be gone already.
                    let _ = trouble.send(format!("{} reports: {line}", process.label()));
                    process.wait().await
                }
            };
            teller.tell(Happening::Ended {
                host,
                actor: name,
                code: exit.status.code(),
                signal: exit.status.signal(),
            });
            if exit.asked {
                return;
            }
            if duty == Duty::Finite && exit.status.success() {
                finished.send_modify(|done| {
                    done.insert(process.label().to_owned());
                });
            } else {
                let _ =
                    trouble.send(format!("{} ended early ({}){}", process.label(), exit.status, process.log_tail()));
            }
        }
    }

    /// Stops all, the last first, each politely; kills those that are left when hurried. What did not end well is returned.
    pub(super) async fn stop(&mut self, mut urgency: watch::Receiver<Urgency>) -> Vec<(String, Exit)> {
        let mut unwell = Vec::new();
        while let Some(process) = self.members.pop() {
            let hurried = async {
                if urgency.wait_for(|level| *level >= Urgency::Hurry).await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                exit = process.stop() => if !exit.is_fine() {
                    unwell.push((process.label().to_owned(), exit));
                },
                () = hurried => process.kill(),
            }
        }
        unwell
    }
}

/// Lines of a program's output become reports.
async fn relay(
    mut lines: mpsc::Receiver<String>,
    teller: Teller,
    host: String,
    actor: String,
    copy: Option<PathBuf>,
) {
    let mut file = match &copy {
        Some(path) => tokio::fs::File::create(path).await.ok(),
        None => None,
    };
    while let Some(line) = lines.recv().await {
        if let Some(file) = &mut file {
            // The events are told all the same.
            let _ = file.write_all(format!("{line}\n").as_bytes()).await;
        }
        let what = serde_json::from_str(&line).unwrap_or(serde_json::Value::String(line));
        teller.tell(Happening::Report { host: host.clone(), actor: actor.clone(), what });
    }
    if let Some(mut file) = file {
        let _ = file.flush().await;
    }
}

//! Viewers that come and go while the stream is on. What takes its time, starting an agent or ending a player, is
//! done beside the timeline, so that nobody else waits for it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::event::Happening;
use super::inside::TrialError;
use super::score::{Part, Whose};
use super::teller::Teller;
use crate::actor::process::Process;
use crate::network::power;
use crate::plan::{Departure, Host};

/// How long an agent may take to notice that its player is gone, which it then tells the network.
const NOTICED: Duration = Duration::from_secs(1);

/// Those who are about to come or to go.
pub(super) struct Audience {
    teller: Teller,
    doing: JoinSet<Result<Step, TrialError>>,
    /// Spells that are over.
    over: BTreeSet<Whose>,
    /// Hosts that crashed and are not back.
    dark: BTreeSet<String>,
}

/// What is to be done next for a viewer, when something took its time.
pub(super) enum Step {
    /// Its host is on the network, and its agent can start, or without one its player.
    Start(Whose, Option<Box<Part>>, Box<Part>),
    /// Its agent is ready, and its player can start.
    StartPlayer(Whose, Box<Part>),
    /// Nothing is to be started.
    Done,
}

/// A host and the process id of its shell.
pub(super) type Place = (Host, i32);

impl Audience {
    pub(super) fn new(teller: Teller) -> Audience {
        Audience { teller, doing: JoinSet::new(), over: BTreeSet::new(), dark: BTreeSet::new() }
    }

    /// A viewer comes. A host that crashed gets its power back before.
    pub(super) fn join(&mut self, whose: Whose, (host, pid): Place, agent: Option<Box<Part>>, player: Box<Part>) {
        let was_dark = self.dark.remove(&whose.host);
        self.doing.spawn(async move {
            if was_dark {
                power::restore(pid, &host).await?;
            }
            Ok(Step::Start(whose, agent, player))
        });
    }

    /// It has come: the first of its programs was started.
    pub(super) fn joined(&self, whose: &Whose) {
        self.teller.tell(Happening::Joined { host: whose.host.clone(), spell: whose.spell });
    }

    /// Its agent was started, and its player waits for it.
    pub(super) fn await_agent(&mut self, whose: Whose, agent: Arc<Process>, player: Box<Part>) {
        self.doing.spawn(async move {
            match agent.ready().await {
                Ok(()) => Ok(Step::StartPlayer(whose, player)),
                // It was ended, because the viewer went before it was there.
                Err(_) if agent.exit().is_some_and(|exit| exit.asked) => Ok(Step::Done),
                Err(error) => Err(error.into()),
            }
        });
    }

    /// A viewer goes, with those of its programs that run.
    pub(super) fn depart(&mut self, whose: Whose, how: Departure, (host, pid): Place, programs: Programs) {
        let tell = {
            let (teller, Whose { host, spell }) = (self.teller.clone(), whose.clone());
            move || teller.tell(Happening::Departed { host, spell, how })
        };
        if how == Departure::Crash {
            self.dark.insert(whose.host.clone());
        }
        self.over.insert(whose);
        self.doing.spawn(async move {
            match how {
                Departure::Leave => {
                    tell();
                    programs.leave().await;
                }
                Departure::Crash => {
                    power::cut(pid, &host).await?;
                    tell();
                    programs.die().await;
                }
            }
            Ok(Step::Done)
        });
    }

    /// Whether that spell is over.
    pub(super) fn is_over(&self, whose: &Whose) -> bool {
        self.over.contains(whose)
    }

    /// Waits for the next that has taken its time; for ever if there is none.
    pub(super) async fn next(&mut self) -> Result<Step, TrialError> {
        match self.doing.join_next().await {
            Some(Ok(step)) => step,
            Some(Err(error)) => Err(TrialError::Trouble(error.to_string())),
            None => std::future::pending().await,
        }
    }
}

/// What runs for a viewer.
pub(super) struct Programs {
    pub(super) agent: Option<Arc<Process>>,
    pub(super) player: Option<Arc<Process>>,
}

impl Programs {
    /// Politely: the player ends, its agent notices and takes leave of the network, and ends.
    async fn leave(self) {
        if let Some(player) = &self.player {
            player.stop().await;
        }
        if let Some(agent) = &self.agent {
            // An agent whose player had not come yet has nothing to notice.
            let noticed = async {
                tokio::select! {
                    () = agent.told("player_left") => (),
                    _ = agent.wait() => (),
                }
            };
            let _ = timeout(if self.player.is_some() { NOTICED } else { Duration::ZERO }, noticed).await;
            agent.stop().await;
        }
    }

    /// At once.
    async fn die(self) {
        for process in [&self.player, &self.agent].into_iter().flatten() {
            process.kill();
        }
        for process in [&self.player, &self.agent].into_iter().flatten() {
            process.wait().await;
        }
    }
}

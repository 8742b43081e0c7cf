//! The path from the CDN: its player, tried until there is something to play.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{ViewerArgs, ViewerError, numbered, player};
use crate::actor::agent::dump::{Dump, Keyframes};
use crate::actor::agent::event::{Event, Path, tell};
use crate::actor::player;
use crate::actor::process::{Ends, Exit, Input, Place, Process};

/// Between a player that had nothing to play and the next.
const RETRY: Duration = Duration::from_millis(500);

/// The CDN's player and what it has received.
#[derive(Debug)]
pub(super) struct CdnPath {
    args: ViewerArgs,
    attempts: u32,
    /// When it becomes an error that there is nothing to play.
    deadline: Instant,
    state: State,
}

#[derive(Debug)]
enum State {
    Playing(Box<Playing>),
    /// The last player had nothing to play; the next one starts then.
    Waiting(Instant),
    /// The stream has ended, or the agent was told to stop.
    Ended,
    /// The player was stopped since the peer's has taken over.
    HandedOver,
}

#[derive(Debug)]
struct Playing {
    process: Process,
    dump: Dump,
    /// The first keyframe has been told.
    begun: bool,
}

impl CdnPath {
    /// Starts the first player.
    pub(super) fn new(args: &ViewerArgs) -> Result<Self, ViewerError> {
        let deadline = Instant::now() + Duration::from_secs(args.patience);
        let mut path = Self { args: args.clone(), attempts: 0, deadline, state: State::Ended };
        path.play()?;
        Ok(path)
    }

    /// Starts a player again after the peer's path broke.
    pub(super) fn resume(&mut self) -> Result<(), ViewerError> {
        self.deadline = Instant::now() + Duration::from_secs(self.args.patience);
        self.play()
    }

    /// Whether there is, or will be, a player.
    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, State::Playing(_) | State::Waiting(_))
    }

    pub(super) fn is_playing(&self) -> bool {
        matches!(self.state, State::Playing(_))
    }

    pub(super) fn was_handed_over(&self) -> bool {
        matches!(self.state, State::HandedOver)
    }

    fn play(&mut self) -> Result<(), ViewerError> {
        self.attempts += 1;
        let (args, attempt) = (&self.args, self.attempts);
        let path = numbered(&args.dump_cdn, attempt);
        let url = format!("rtmp://{}:{}/{}", args.cdn, args.rtmp_port, args.stream);
        let command = player::from_cdn(&url, &path, &args.home);
        let process =
            Process::spawn(&player(args, "cdn", attempt, command, Input::Null, &path), Place::Here, Ends::default())?;
        tell(Event::PlayerStarted { path: Path::Cdn, attempt, dump: path.clone() });
        self.state = State::Playing(Box::new(Playing { process, dump: Dump::new(path), begun: false }));
        Ok(())
    }

    /// Waits for what happens to the player by itself, and deals with it: starts the next one, or notes the end.
    pub(super) async fn changed(&mut self) -> Result<(), ViewerError> {
        match &mut self.state {
            State::Playing(playing) => {
                let exit = playing.process.wait().await;
                self.finished(exit)
            }
            State::Waiting(when) => {
                sleep_until(*when).await;
                self.play()
            }
            State::Ended | State::HandedOver => std::future::pending().await,
        }
    }

    fn finished(&mut self, exit: Exit) -> Result<(), ViewerError> {
        let State::Playing(playing) = &mut self.state else { return Ok(()) };
        playing.look()?;
        let (bytes, log) = (playing.dump.bytes(), playing.process.log_tail());
        let why = match (exit.status.success(), bytes) {
            (true, 0) => "nothing_published",
            (true, _) => "end_of_stream",
            (false, _) => "died",
        };
        playing.tell_end(self.attempts, exit, why);
        match why {
            "nothing_published" if Instant::now() + RETRY < self.deadline => {
                self.state = State::Waiting(Instant::now() + RETRY);
                Ok(())
            }
            "nothing_published" => {
                self.state = State::Ended;
                let patience = Duration::from_secs(self.args.patience);
                Err(ViewerError::NothingPublished { patience, attempts: self.attempts, log })
            }
            "end_of_stream" => {
                self.state = State::Ended;
                Ok(())
            }
            _ => {
                self.state = State::Ended;
                Err(ViewerError::PlayerDied { path: "CDN", exit: exit.to_string(), log })
            }
        }
    }

    /// Reads what the player has dumped since the last look; `None` without a player.
    pub(super) fn look(&mut self) -> Result<Option<&Keyframes>, ViewerError> {
        match &mut self.state {
            State::Playing(playing) => playing.look().map(Some),
            _ => Ok(None),
        }
    }

    /// Stops the player, since the peer's has taken over.
    pub(super) async fn hand_over(&mut self) {
        self.stop("handover").await;
        self.state = State::HandedOver;
    }

    /// Stops the player, if there is one.
    pub(super) async fn stop(&mut self, why: &str) {
        if let State::Playing(playing) = &mut self.state {
            let exit = playing.process.stop().await;
            // What it has written to the very end counts, too; that it cannot be read has no consequence any more.
            let _ = playing.look();
            playing.tell_end(self.attempts, exit, why);
        }
        self.state = State::Ended;
    }
}

impl Playing {
    fn look(&mut self) -> Result<&Keyframes, ViewerError> {
        let keyframes = self.dump.follow()?;
        if !self.begun
            && let Some((id, timestamp_ms)) = keyframes.first()
        {
            self.begun = true;
            tell(Event::FirstKeyframe { path: Path::Cdn, timestamp_ms, id: id.to_string() });
        }
        Ok(keyframes)
    }

    fn tell_end(&self, attempt: u32, exit: Exit, why: &str) {
        let (exit, why, bytes) = (exit.to_string(), why.to_owned(), self.dump.bytes());
        tell(Event::PlayerEnded { path: Path::Cdn, attempt, exit, why, bytes });
    }
}

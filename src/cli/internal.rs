//! What livectl runs inside a sandbox: the trial itself, the emulated links, the notification service, the agents.

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::Subcommand;

use super::exit::{Exit, Failure, WithExit};
use crate::actor::agent::broadcaster::{self, BroadcasterArgs};
use crate::actor::agent::viewer::{self, ViewerArgs};
use crate::actor::listen::{self, ListenArgs};
use crate::actor::notify::{self, NotifyArgs};
use crate::emulator;
use crate::network::{Forwarding, Links};
use crate::plan::{Datapath, LinkKind, Trial, VideoSource};
use crate::run::inside;
use crate::sandbox;
use crate::store::TrialDir;

#[derive(Debug, Subcommand)]
pub(super) enum Agent {
    /// Stamp, serve and pace a stream read from standard input
    Broadcaster(BroadcasterArgs),
    /// Play a stream, from the CDN and then from a peer
    Viewer(ViewerArgs),
}

#[derive(Debug, Subcommand)]
pub(super) enum Part {
    /// One trial, in a sandbox of its own
    Trial {
        /// The trial's folder, with its trial.json
        #[arg(long)]
        dir: PathBuf,
        /// netem or emulated
        #[arg(long, value_parser = super::link_kind)]
        link: LinkKind,
        /// kernel or user
        #[arg(long, value_parser = super::datapath)]
        datapath: Datapath,
        /// The controller's program
        #[arg(long)]
        controller: PathBuf,
    },
    /// Emulated links
    Emulator {
        /// JSON file with the links
        #[arg(long)]
        spec: PathBuf,
    },
    /// The notification service
    Notify(NotifyArgs),
    /// Listening sockets for nginx, and then nginx
    Listen(ListenArgs),
}

/// Runs an agent until its stream has ended.
pub(super) fn agent(agent: Agent) -> Result<Exit, Failure> {
    runtime()?.block_on(async {
        match agent {
            Agent::Broadcaster(args) => broadcaster::run_on_stdin(&args).await?,
            Agent::Viewer(args) => viewer::run(&args).await?,
        }
        Ok(Exit::Done)
    })
}

/// Runs a part of a trial.
pub(super) fn part(part: Part) -> Result<Exit, Failure> {
    match part {
        Part::Trial { dir, link, datapath, controller } => trial(dir, link, datapath, controller),
        Part::Emulator { spec } => emulate(&spec),
        Part::Notify(args) => runtime()?.block_on(notifications(&args)),
        Part::Listen(args) => Err(listen::execute(&args).into()),
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Serves until it is told to stop.
async fn notifications(args: &NotifyArgs) -> Result<Exit, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stop = async {
        tokio::select! { _ = int.recv() => {}, _ = term.recv() => {} }
    };
    let listeners = notify::listen(&args.listen).await?;
    notify::serve(listeners, notify::INTERVAL, stop).await;
    Ok(Exit::Done)
}

fn trial(dir: PathBuf, link: LinkKind, datapath: Datapath, controller: PathBuf) -> Result<Exit, Failure> {
    let path = dir.join("trial.json");
    let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let trial: Trial = serde_json::from_slice(&text).with_context(|| format!("{} is no trial", path.display()))?;
    let livectl = std::env::current_exe().context("cannot find livectl's own file")?;

    let mut keep = vec![dir.clone(), livectl.clone(), controller.clone()];
    if let VideoSource::File { path } = &trial.video.source {
        keep.push(path.clone());
    }
    // Must come before any thread, so before the runtime. Returns in process 2 of the sandbox.
    let inside = sandbox::enter(&keep).exit(Exit::Machine)?;
    let spec = inside::Spec {
        trial,
        dir: TrialDir::at(&dir),
        links: match link {
            LinkKind::Netem => Links::Netem,
            LinkKind::Emulated => Links::Emulated,
            LinkKind::Auto => return Err(anyhow!("the link kind must have been settled").into()),
        },
        forwarding: match datapath {
            Datapath::Kernel => Forwarding::Kernel,
            Datapath::User => Forwarding::User,
            Datapath::Auto => return Err(anyhow!("the datapath must have been settled").into()),
        },
        controller,
        livectl,
        environment: inside.environment.clone(),
    };
    take_over(&inside.environment);
    let runtime = runtime()?;
    let outcome = runtime.block_on(inside::run(spec));
    // Standard input is read by a thread that nothing can wake.
    runtime.shutdown_background();
    Ok(if outcome.interrupted {
        Exit::Interrupted
    } else if outcome.failure.is_some() {
        Exit::Failed
    } else {
        Exit::Done
    })
}

/// Makes the sandbox's environment this process's own, so that every program of the trial inherits it.
fn take_over(environment: &sandbox::Environment) {
    let inherited: Vec<_> = std::env::vars_os().map(|(name, _)| name).collect();
    // SAFETY: called before any thread is started (`sandbox::enter` has made sure), so nobody reads the environment meanwhile.
    unsafe {
        for name in inherited {
            std::env::remove_var(name);
        }
        for (name, value) in environment.iter() {
            std::env::set_var(name, value);
        }
    }
}

fn emulate(spec: &std::path::Path) -> Result<Exit, Failure> {
    let text = std::fs::read(spec).with_context(|| format!("cannot read {}", spec.display()))?;
    let spec: emulator::Spec = serde_json::from_slice(&text)?;
    let stop = emulator::stop_signals()?;
    // Whoever waits for the line and does not get it says so.
    let ready = || drop(crate::ui::print(r#"{"event":"ready"}"#));
    emulator::run(&spec, stop, ready)?;
    Ok(Exit::Done)
}

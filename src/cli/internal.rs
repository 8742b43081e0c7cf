//! What livectl runs inside a sandbox: the trial itself and the emulated links.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, anyhow};
use clap::Subcommand;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;

use super::exit::{Exit, Failure, WithExit};
use crate::actor::listen::{self, ListenArgs};
use crate::actor::playlist::{self, AwaitArgs, EndArgs};
use crate::clock::screen::{self, ScreenArgs};
use crate::clock::stream::{self, ClockArgs};
use crate::emulator;
use crate::network::{Forwarding, Links};
use crate::plan::{Datapath, LinkKind, Trial};
use crate::run::score::Programs;
use crate::run::{inside, needed};
use crate::sandbox;
use crate::store::TrialDir;

#[derive(Debug, Subcommand)]
pub(super) enum Part {
    /// One trial, in a sandbox of its own
    Trial {
        /// The trial's folder, with its trial.json
        #[arg(long)]
        dir: PathBuf,
        /// netem or emulated
        #[arg(long)]
        link: LinkKind,
        /// kernel or user
        #[arg(long)]
        datapath: Datapath,
        /// The controller's program
        #[arg(long)]
        controller: PathBuf,
        /// The agents' program
        #[arg(long)]
        agent: PathBuf,
    },
    /// Emulated links
    Emulator {
        /// JSON file with the links
        #[arg(long)]
        spec: PathBuf,
    },
    /// The eye in front of a viewer's screen
    Screen(ScreenArgs),
    /// The clock in the frames of a stream
    Clock(ClockArgs),
    /// Listening sockets for nginx, and then nginx
    Listen(ListenArgs),
    /// The playlist of a stream in segments, and then a player
    AwaitPlaylist(AwaitArgs),
    /// The end of such a playlist
    EndPlaylist(EndArgs),
    /// A Slurm task: one trial of a sweep
    SlurmTask(super::slurm::TaskArgs),
    /// The part of such a task that runs as root
    SlurmMeasure,
    /// The job after a round of a sweep with Slurm
    SlurmNext {
        /// What was asked for
        #[arg(long)]
        order: PathBuf,
        /// The round that is over
        #[arg(long)]
        round: u32,
    },
}

/// Runs a part of a trial.
pub(super) fn part(part: Part) -> Result<Exit, Failure> {
    match part {
        Part::Trial { dir, link, datapath, controller, agent } => trial(dir, link, datapath, controller, agent),
        Part::Emulator { spec } => emulate(&spec),
        Part::Screen(args) => watch(&args),
        Part::Clock(args) => read_clock(&args),
        Part::Listen(args) => Err(listen::execute(&args).into()),
        Part::AwaitPlaylist(args) => Err(playlist::execute(&args).into()),
        Part::EndPlaylist(args) => Ok(playlist::end(&args).map(|()| Exit::Done)?),
        Part::SlurmTask(args) => super::slurm::task(&args),
        Part::SlurmMeasure => super::slurm::measure(),
        Part::SlurmNext { order, round } => super::slurm::next(&order, round),
    }
}

pub(super) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn trial(
    dir: PathBuf,
    link: LinkKind,
    datapath: Datapath,
    controller: PathBuf,
    agent: PathBuf,
) -> Result<Exit, Failure> {
    let path = dir.join("trial.json");
    let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let trial: Trial = serde_json::from_slice(&text).with_context(|| format!("{} is no trial", path.display()))?;
    let livectl = std::env::current_exe().context("cannot find livectl's own file")?;

    let mut keep = vec![dir.clone(), livectl.clone(), controller.clone(), agent.clone()];
    keep.extend(needed::paths(&trial));
    // Must come before any thread, so before the runtime. Returns in process 2 of the sandbox.
    let inside = sandbox::enter(&keep).exit(Exit::Machine)?;
    let spec = inside::Spec {
        trial,
        dir: TrialDir::at(&dir),
        programs: Programs {
            livectl,
            controller,
            agent,
            links: match link {
                LinkKind::Netem => Links::Netem,
                LinkKind::Emulated => Links::Emulated,
                LinkKind::Auto => return Err(anyhow!("the link kind must have been settled").into()),
            },
        },
        forwarding: match datapath {
            Datapath::Kernel => Forwarding::Kernel,
            Datapath::User => Forwarding::User,
            Datapath::Auto => return Err(anyhow!("the datapath must have been settled").into()),
        },
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

fn watch(args: &ScreenArgs) -> Result<Exit, Failure> {
    let signals = emulator::stop_signals()?;
    let stop = AtomicBool::new(false);
    let ready = || drop(crate::ui::print(r#"{"event":"ready"}"#));
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| screen::watch(args, &stop, ready));
        // Whatever ends the wait, the screen is read no longer than that.
        let told = await_signal(&signals, || watcher.is_finished());
        stop.store(true, Ordering::Relaxed);
        watcher.join().map_err(|_| anyhow!("the screen's reader panicked"))??;
        Ok::<_, anyhow::Error>(told?)
    })?;
    Ok(Exit::Done)
}

/// Waits for a signal, or for `over`.
fn await_signal(signals: &SignalFd, over: impl Fn() -> bool) -> nix::Result<()> {
    while !over() {
        let mut readable = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        match poll(&mut readable, PollTimeout::from(50u8)) {
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn read_clock(args: &ClockArgs) -> Result<Exit, Failure> {
    stream::read(args)?;
    Ok(Exit::Done)
}

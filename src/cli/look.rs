//! `livectl tcpdump`, `wireshark` and `xterm`: tools on a running trial.

use std::ffi::OsStr;
use std::io::{ErrorKind, Read as _, Seek as _};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::unix::process::ExitStatusExt as _;
use tokio::process::Child;
use tokio::signal::unix::{SignalKind, signal};

use super::exit::{Exit, Failure, WithExit};
use super::{host, internal, interrupt};
use crate::actor::screen;
use crate::look::complaint::Complaint;
use crate::look::person::Person;
use crate::look::spot::Spot;
use crate::look::terminal::{Window, WindowError, XTERM};
use crate::look::{self, Ending};
use crate::plan::Trial;
use crate::sandbox::running::RunningTrial;
use crate::store::{Owner, TrialDir};
use crate::ui;

pub(super) const TCPDUMP_EXAMPLES: &str = "Examples:
  sudo livectl tcpdump hv1                                # the link of a host
  sudo livectl tcpdump hv1 -- -c 20 -v tcp port 1935      # what follows -- is tcpdump's
  sudo livectl tcpdump hs -- -w - | tshark -r - -Y rtmpt  # into a pipe
  sudo livectl tcpdump hb -- -i lo                        # between a program and its agent
  sudo livectl tcpdump s1-eth1                            # a switch's end of a link
  sudo livectl tcpdump controller                         # OpenFlow between switches and controller
Addresses are not resolved to names. The trial and its captures are not changed, but every tool takes processor time, which disturbs a trial on a small machine.";

pub(super) const WIRESHARK_EXAMPLES: &str = "Examples:
  sudo livectl wireshark hv1
  sudo livectl wireshark --filter 'tcp.port == 2000' hv1  # between peers
  sudo livectl wireshark controller                       # OpenFlow
Over ssh: `ssh -Y`, or `vagrant ssh -- -Y`. Wireshark decodes RTMP and OpenFlow. It shows peers (FLV on port 2000) and notifications (port 42857) as plain TCP. It runs as the user who called sudo and stays open when the trial ends.";

pub(super) const XTERM_EXAMPLES: &str = "Examples:
  sudo livectl xterm hb hv1
  sudo livectl xterm --trial p2p/20261122T231700Z/direct-1 hb
Over ssh: `ssh -Y`, or `vagrant ssh -- -Y`. Windows run as the user who called sudo, the shells in them as root. Without a display: livectl shell.";

pub(super) const SCREEN_EXAMPLES: &str = "Examples:
  sudo livectl screen                # all of them, side by side
  sudo livectl screen far near
  sudo livectl screen hb             # OBS's own window, of a broadcaster with `program: obs`
Over ssh: `ssh -Y`, or `vagrant ssh -- -Y`. Viewers have a screen if their player shows the stream, such as mplayer-window. What you see is some tenths of a second old, and showing it takes processor time from the trial: it is for looking, not for measuring.";

/// For what shows something to say why it does not.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// For a tool to end when it was told to.
const GRACE: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
struct SpotArgs {
    /// A host, an interface (hv1-eth0, s1-eth1), or `controller`
    #[arg(value_name = "HOST|INTERFACE")]
    spot: String,
    /// Which trial, if several are running: its path from `livectl ps`, or the end of it
    #[arg(long)]
    trial: Option<String>,
}

/// `livectl tcpdump`.
#[derive(Debug, Args)]
pub(super) struct TcpdumpArgs {
    #[command(flatten)]
    at: SpotArgs,
    /// Arguments for tcpdump
    #[arg(last = true)]
    args: Vec<String>,
}

/// `livectl wireshark`.
#[derive(Debug, Args)]
pub(super) struct WiresharkArgs {
    #[command(flatten)]
    at: SpotArgs,
    /// Wireshark's display filter; you can change it in Wireshark
    #[arg(long, value_name = "FILTER", default_value = look::FILTER)]
    filter: String,
    /// Further arguments for Wireshark
    #[arg(last = true)]
    args: Vec<String>,
}

/// `livectl xterm`.
#[derive(Debug, Args)]
pub(super) struct XtermArgs {
    /// Hosts; each gets a window
    #[arg(required = true, value_name = "HOST")]
    hosts: Vec<String>,
    /// Which trial, if several are running: its path from `livectl ps`, or the end of it
    #[arg(long)]
    trial: Option<String>,
}

/// `livectl screen`.
#[derive(Debug, Args)]
pub(super) struct ScreenArgs {
    /// Hosts with a screen [default: all that have one]
    #[arg(value_name = "HOST")]
    hosts: Vec<String>,
    /// Which trial, if several are running: its path from `livectl ps`, or the end of it
    #[arg(long)]
    trial: Option<String>,
}

/// Shows screens side by side.
pub(super) fn screen(ScreenArgs { hosts, trial }: &ScreenArgs) -> Result<Exit, Failure> {
    let trial = host::chosen(trial.as_deref())?;
    let plan = plan_of(&trial)?;
    let there = screen::displays(&plan);
    let known = || there.iter().map(|(host, _)| *host).collect::<Vec<_>>().join(", ");
    if there.is_empty() {
        let error =
            anyhow!("no host of this trial has a screen: its players show nothing (see `player` in docs/recipes.md)");
        return Err(Failure::new(Exit::Usage, error));
    }
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    for (host, display) in &there {
        if hosts.is_empty() || hosts.iter().any(|wanted| wanted == host) {
            wanted.push((host, display));
        }
    }
    if let Some(unknown) = hosts.iter().find(|host| !there.iter().any(|(known, _)| known == host)) {
        return Err(Failure::new(Exit::Usage, anyhow!("{unknown} has no screen; hosts with one: {}", known())));
    }
    // In the order in which they were asked for.
    wanted.sort_by_key(|(host, _)| hosts.iter().position(|asked| asked == host));
    let names = wanted.iter().map(|(host, _)| *host).collect::<Vec<_>>().join(", ");
    let display = Display::find("ffplay", "ffmpeg")?;
    let [program, args @ ..] = &look::grabber(&wanted.iter().map(|(_, display)| *display).collect::<Vec<_>>())[..]
    else {
        return Err(anyhow!("there is nothing to show").into());
    };
    let (first, _) = wanted[0];
    let mut grabber = trial.command_on(first, OsStr::new(program), args).exit(Exit::Failed)?;
    let runtime = internal::runtime()?;
    runtime.block_on(async {
        let mut said = tempfile_for("ffmpeg")?;
        grabber.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(said.try_clone()?);
        let mut grabber = start(grabber, |command| tokio::process::Command::from(command).spawn(), "ffmpeg")?;
        let pipe: Stdio = grabber.stdout.take().ok_or_else(|| anyhow!("ffmpeg has no pipe"))?.try_into()?;
        let mut complaints = tempfile_for("ffplay")?;
        let mut mirror = look::mirror(&title(&names, &trial));
        mirror.stdin(pipe).stdout(Stdio::null()).stderr(complaints.try_clone()?);
        display.dress(&mut mirror);
        // SDL, which it draws with, would else go on without a display that does not answer.
        mirror.env("SDL_VIDEODRIVER", "x11");
        let mut mirror = start(mirror, |command| tokio::process::Command::from(command).spawn(), "ffplay")?;
        tokio::select! {
            ended = until_end(&mut mirror) => {
                let (status, told) = ended?;
                end(&mut grabber).await;
                if status.success() || told {
                    return Ok(Exit::Done);
                }
                Err(display.failure("ffplay", &format!("{status}"), &text_of(&mut complaints)))
            }
            // With the trial, whose last pictures need not stay; or because nobody takes them, who then is about to
            // say why.
            ended = grabber.wait() => {
                let status = ended?;
                if let Ok(ended) = tokio::time::timeout(LAST_WORDS, mirror.wait()).await {
                    let shown = ended?;
                    // One that was told to end has nothing to complain of.
                    if !shown.success() && shown.signal().is_none() {
                        return Err(display.failure("ffplay", &format!("{shown}"), &text_of(&mut complaints)));
                    }
                    return Ok(Exit::Done);
                }
                end(&mut mirror).await;
                let said = text_of(&mut said);
                if !said.is_empty() && !status.success() && status.signal().is_none() {
                    return Err(anyhow!("the screens cannot be read ({status}){}", last_lines(&said)).into());
                }
                ui::warn("the trial has ended");
                Ok(Exit::Done)
            }
        }
    })
}

/// Watches packets on the terminal, or passes them on.
pub(super) fn tcpdump(TcpdumpArgs { at, args }: &TcpdumpArgs) -> Result<Exit, Failure> {
    let sight = Sight::find(at)?;
    let runtime = internal::runtime()?;
    runtime.block_on(async {
        let mut child = sight.capture(args, |command| {
            command.stdin(Stdio::null());
        })?;
        let (status, told) = until_end(&mut child).await?;
        match sight.ending(status, told) {
            Ending::Well => Ok(Exit::Done),
            Ending::WithTrial => {
                ui::warn("the trial has ended");
                Ok(Exit::Done)
            }
            Ending::Badly if status.signal().is_some() => Err(anyhow!("tcpdump was ended ({status})").into()),
            // It has said why.
            Ending::Badly => Err(Failure::said(Exit::Failed)),
        }
    })
}

/// Watches packets in Wireshark.
pub(super) fn wireshark(WiresharkArgs { at, filter, args }: &WiresharkArgs) -> Result<Exit, Failure> {
    let sight = Sight::find(at)?;
    let display = Display::find("wireshark", "wireshark")?;
    let dumpcap = on_path("dumpcap").and_then(|path| std::fs::metadata(path).ok());
    if let Some((person, false)) =
        display.person.as_ref().zip(dumpcap).map(|(person, file)| (person, person.may_execute(&file)))
    {
        let user = &person.name;
        let error = anyhow!(
            "Wireshark captures with dumpcap, which {user} may not run: sudo adduser {user} wireshark, and log in again"
        );
        return Err(Failure::new(Exit::Machine, error));
    }
    let runtime = internal::runtime()?;
    runtime.block_on(async {
        let to_pipe = ["-w".to_owned(), "-".into()];
        let mut packets = tempfile_for("tcpdump")?;
        let stderr = packets.try_clone()?;
        let mut capture = sight.capture(&to_pipe, |command| {
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        })?;
        let pipe: Stdio = capture.stdout.take().ok_or_else(|| anyhow!("tcpdump has no pipe"))?.try_into()?;
        let mut complaints = tempfile_for("wireshark")?;
        let mut command = look::wireshark(&sight.title(&at.spot), filter, args);
        command.stdin(pipe).stdout(Stdio::null()).stderr(complaints.try_clone()?);
        display.dress(&mut command);
        let mut shown = start(command, |command| tokio::process::Command::from(command).spawn(), "wireshark")?;
        let mut capture_ended = None;
        let status = loop {
            tokio::select! {
                ended = until_end(&mut shown) => break ended?,
                ended = capture.wait(), if capture_ended.is_none() => {
                    let status = ended?;
                    capture_ended = Some(status);
                    match sight.ending(status, false) {
                        Ending::WithTrial => ui::warn("the trial has ended; Wireshark keeps what it has"),
                        Ending::Well => (),
                        Ending::Badly => ui::warn(&format!("tcpdump ended ({status}): {}", text_of(&mut packets))),
                    }
                }
            }
        };
        if capture_ended.is_none() {
            end(&mut capture).await;
        }
        let (status, told) = status;
        if status.success() || told {
            return Ok(Exit::Done);
        }
        Err(display.failure("wireshark", &format!("{status}"), &text_of(&mut complaints)))
    })
}

/// Opens shells in windows.
pub(super) fn xterm(XtermArgs { hosts, trial }: &XtermArgs) -> Result<Exit, Failure> {
    let trial = host::chosen(trial.as_deref())?;
    let display = Display::find(XTERM, XTERM)?;
    let shells = hosts.iter().map(|host| {
        let [program, args @ ..] = look::shell(host);
        trial.command_on(host, &program, args)
    });
    // All are known before the first window is there.
    let shells = shells.collect::<Result<Vec<_>, _>>().exit(Exit::Failed)?;
    let mut windows = Vec::new();
    for (host, shell) in hosts.iter().zip(shells) {
        let window = Window::open(&title(host, &trial), |xterm| display.dress(xterm), shell);
        windows.push(window.map_err(|error| match error {
            WindowError::Ended { said } => display.failure(XTERM, "before its window was there", &said),
            WindowError::System { .. } => Failure::new(Exit::Failed, error),
        })?);
    }
    windows.into_iter().for_each(Window::wait);
    Ok(Exit::Done)
}

fn plan_of(trial: &RunningTrial) -> Result<Trial, Failure> {
    let path = TrialDir::at(trial.marker.dir()).plan();
    let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(serde_json::from_slice(&text).with_context(|| format!("{} is no trial", path.display()))?)
}

/// An interface of a running trial, and who looks.
struct Sight {
    trial: RunningTrial,
    spot: Spot,
    /// Whose files tcpdump writes.
    user: String,
}

impl Sight {
    fn find(SpotArgs { spot, trial }: &SpotArgs) -> Result<Sight, Failure> {
        let trial = host::chosen(trial.as_deref())?;
        let plan = plan_of(&trial)?;
        let spot = Spot::find(&plan.network, spot).exit(Exit::Usage)?;
        if !trial.interfaces(spot.host.as_deref()).contains(&spot.interface) {
            return Err(anyhow!(
                "there is no {} now; the trial's network is not up yet, or no longer",
                spot.interface
            )
            .into());
        }
        let user = person()?.map_or_else(|| "root".to_owned(), |person| person.name);
        Ok(Sight { trial, spot, user })
    }

    fn title(&self, spot: &str) -> String {
        title(spot, &self.trial)
    }

    /// Starts tcpdump there.
    fn capture(&self, args: &[String], pipes: impl FnOnce(&mut Command)) -> Result<Child, Failure> {
        let mut command = look::tcpdump(&self.spot, &self.user, args);
        let visit = self.trial.visit(self.spot.host.as_deref())?;
        visit.prepare(&mut command)?;
        pipes(&mut command);
        start(command, |command| visit.within(|| tokio::process::Command::from(command).spawn()), "tcpdump")
    }

    fn ending(&self, status: ExitStatus, told: bool) -> Ending {
        let there = self.trial.interfaces(self.spot.host.as_deref()).contains(&self.spot.interface);
        Ending::of(status.code(), status.signal(), told, there)
    }
}

/// The display of whoever called.
struct Display {
    name: String,
    /// `None`: this process's own user.
    person: Option<Person>,
}

impl Display {
    /// That `program`, which the Debian package has, can be tried there.
    fn find(program: &'static str, package: &str) -> Result<Display, Failure> {
        if on_path(program).is_none() {
            let install = format!("sudo apt-get install -y --no-install-recommends {package}");
            return Err(Failure::new(Exit::Machine, anyhow!("{program} is not installed: {install}")));
        }
        let name = std::env::var("DISPLAY").unwrap_or_default();
        if name.is_empty() {
            return Err(Failure::new(Exit::Machine, Complaint::NoDisplay { program }));
        }
        Ok(Display { name, person: person()? })
    }

    fn dress(&self, command: &mut Command) {
        if let Some(person) = &self.person {
            person.run(command, std::env::vars_os());
        }
    }

    /// Why `program` has ended.
    fn failure(&self, program: &'static str, how: &str, said: &str) -> Failure {
        let user = self.person.as_ref().map_or("root", |person| &person.name);
        match Complaint::read(program, user, &self.name, said) {
            Some(complaint) => Failure::new(Exit::Machine, complaint),
            None => Failure::new(Exit::Failed, anyhow!("{program} ended ({how}){}", last_lines(said))),
        }
    }
}

/// The user who called sudo, if one did.
fn person() -> Result<Option<Person>, Failure> {
    match Owner::of_this_process().exit(Exit::Usage)? {
        Owner::User { uid, .. } => Ok(Some(Person::of(uid).context("cannot find the user who called sudo")?)),
        Owner::Process => Ok(None),
    }
}

/// `hv1 (p2p/20261122T231700Z/direct-1)`.
fn title(spot: &str, trial: &RunningTrial) -> String {
    let parts: Vec<_> = trial.marker.dir().iter().map(|part| part.to_string_lossy()).collect();
    format!("{spot} ({})", parts[parts.len().saturating_sub(3)..].join("/"))
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(OsStr::new(program))).find(|file| file.is_file())
}

fn tempfile_for(program: &str) -> Result<std::fs::File, Failure> {
    Ok(tempfile::tempfile().with_context(|| format!("cannot make a file for what {program} says"))?)
}

fn text_of(file: &mut std::fs::File) -> String {
    let mut text = Vec::new();
    // What cannot be read is not said.
    let _ = file.rewind().and_then(|()| file.take(1 << 20).read_to_end(&mut text));
    String::from_utf8_lossy(&text).trim().to_owned()
}

fn last_lines(said: &str) -> String {
    const MOST: usize = 6;
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(MOST)..].iter().map(|line| format!("\n  {}", line.trim())).collect()
}

fn start(
    command: Command,
    spawn: impl FnOnce(Command) -> std::io::Result<Child>,
    program: &str,
) -> Result<Child, Failure> {
    spawn(command).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::new(
            Exit::Machine,
            anyhow!("{program} is not installed: sudo apt-get install -y --no-install-recommends {program}"),
        ),
        _ => Failure::new(Exit::Failed, anyhow!("cannot start {program}: {error}")),
    })
}

/// Waits for a program's end, passing on signals; the second one does not ask any more. True: it was told to end.
async fn until_end(child: &mut Child) -> std::io::Result<(ExitStatus, bool)> {
    let mut told = false;
    let (mut interrupt, mut terminate, mut hangup) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, hangups()?);
    loop {
        let heard = tokio::select! {
            status = child.wait() => return Ok((status?, told)),
            _ = interrupt.recv() => Signal::SIGINT,
            _ = terminate.recv() => Signal::SIGTERM,
            () = async { match &mut hangup {
                Some(hangup) => drop(hangup.recv().await),
                None => std::future::pending().await,
            } } => Signal::SIGTERM,
        };
        tell(child, if told { Signal::SIGKILL } else { heard });
        told = true;
    }
}

/// The terminal is gone; `None`: nohup says that this changes nothing.
fn hangups() -> std::io::Result<Option<tokio::signal::unix::Signal>> {
    if interrupt::is_ignored(Signal::SIGHUP) { Ok(None) } else { signal(SignalKind::hangup()).map(Some) }
}

async fn end(child: &mut Child) {
    tell(child, Signal::SIGINT);
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        tell(child, Signal::SIGKILL);
        let _ = child.wait().await;
    }
}

/// A program that is gone needs no signal.
fn tell(child: &Child, signal: Signal) {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

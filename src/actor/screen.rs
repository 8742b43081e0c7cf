//! A viewer's screen: Xvfb, which has no glass, and the eye that reads the clock on it.
//!
//! Found by trying (Xvfb of xorg-server 21.1):
//! - Its pixels are in `Xvfb_screen0` in the folder of `-fbdir`, a file that it maps: what a program draws is in the file at once.
//! - A window as large as the screen, without a window manager, lies at its upper left corner.
//! - Its socket is a file in `/tmp/.X11-unix`, which all hosts of a trial share; so each screen has a number of its own. Of two that start together and both make
//!   that folder one goes on **without a socket**: it must be there before.
//! - Without `-noreset` it begins again when its last window is gone, and the pixels with it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Folders;
use super::broadcaster::obs;
use super::process::{Actor, Command, Output, Readiness, Stop};
use crate::plan::{Trial, VideoSource};

/// Where X servers have their sockets.
pub(super) const SOCKETS: &str = "/tmp/.X11-unix";
/// Bits of a pixel that mean something; each has four bytes.
const DEPTH: u32 = 24;
/// For Xvfb, and for the eye after it.
const READY: Duration = Duration::from_secs(15);

/// The screen of a host and what is needed to look at it, in the order in which they start. The eye is there only
/// where there is a clock to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Screen {
    /// Xvfb, which is the screen.
    pub server: Actor,
    /// `livectl internal screen`.
    pub eye: Option<Actor>,
}

/// What programs on that host know the screen by (`DISPLAY`).
#[must_use]
pub fn display(trial: &Trial, host: &str) -> String {
    format!(":{}", number(trial, host))
}

/// The screens of a trial that somebody could want to see, with their hosts: those of players that show the stream,
/// and those with OBS's own window.
#[must_use]
pub fn displays(trial: &Trial) -> Vec<(&str, String)> {
    let viewers = trial.streams.iter().flat_map(|stream| &stream.viewers).filter(|viewer| {
        let host = trial.network.host(viewer);
        host.is_some_and(|host| host.player.shows())
    });
    let viewers = viewers.map(|viewer| (viewer.as_str(), display(trial, viewer)));
    let studios = (0u32..).zip(&trial.streams).filter(|(_, stream)| stream.program.is_obs());
    let studios = studios.map(|(number, stream)| (stream.broadcaster.as_str(), obs::window(number)));
    viewers.chain(studios).collect()
}

/// Unique in the trial, from 1.
fn number(trial: &Trial, host: &str) -> usize {
    trial.network.hosts.iter().position(|other| other.name == host).map_or(0, |position| position + 1)
}

/// The socket of the display with that number.
pub(super) fn socket(number: impl std::fmt::Display) -> PathBuf {
    Path::new(SOCKETS).join(format!("X{number}"))
}

/// Width and height of a picture in pixels; a file's are not known beforehand.
pub(super) fn size(trial: &Trial) -> (u32, u32) {
    match trial.video.source {
        VideoSource::Generated { width, height, .. } => (width, height),
        VideoSource::File { .. } => (1280, 720),
    }
}

/// The screen of a viewer, as large as the pictures.
#[must_use]
pub fn screen(trial: &Trial, host: &str, folders: &Folders) -> Screen {
    let (width, height) = size(trial);
    let folder = folders.scratch.join(format!("{host}-screen"));
    let fbdir = folder.to_string_lossy().into_owned();
    let mut args = vec![display(trial, host)];
    args.extend(["-screen".into(), "0".into(), format!("{width}x{height}x{DEPTH}"), "-fbdir".into(), fbdir]);
    args.extend(["-nolisten", "tcp", "-noreset"].map(String::from));
    let actor = |name: &str, command, folders: Vec<PathBuf>, log, output, ready| Actor {
        name: name.into(),
        station: host.into(),
        command,
        folders,
        files: Vec::new(),
        output,
        log,
        ready,
        ready_within: READY,
        alarms: Vec::new(),
        stop: Stop::default(),
    };
    let shown = folders.trial.screen(host);
    let eye_args = [
        "internal".to_owned(),
        "screen".into(),
        "--pixels".into(),
        folder.join("Xvfb_screen0").to_string_lossy().into(),
        "--log".into(),
        shown.to_string_lossy().into(),
    ];
    let eye = actor(
        "eye",
        Command::new(folders.livectl.to_string_lossy(), eye_args),
        shown.parent().map(Into::into).into_iter().collect(),
        folders.trial.log(host, "eye"),
        Output::Lines,
        Readiness::Event("ready".into()),
    );
    let server = actor(
        "screen",
        Command::new("Xvfb", args),
        vec![folder, SOCKETS.into()],
        folders.trial.log(host, "screen"),
        Output::Log,
        Readiness::File(socket(number(trial, host))),
    );
    Screen { server, eye: trial.video.clock.then_some(eye) }
}

//! A viewer: the agent that runs the players.

use std::path::Path;
use std::time::Duration;

use super::Folders;
use super::process::{Actor, Command, Input, Output, Readiness, Stop};
use crate::plan::{RTMP_APP, Stream, Trial};

/// How long the agent may take to stop: its players get up to two seconds each.
const STOP: Stop = Stop { interrupt: Duration::from_secs(6), terminate: Duration::from_secs(1) };

/// The agent of a viewer of that stream. `None` when the plan gives it no way to the CDN.
///
/// Its dumps are `dump/<viewer>-cdn.flv` and `dump/<viewer>-peer.flv` (see [`ViewerArgs`](super::agent::viewer::ViewerArgs)); its
/// events ([`agent::event`](super::agent::event)) are the lines of its standard output.
#[must_use]
pub fn agent(trial: &Trial, stream: &Stream, viewer: &str, folders: &Folders) -> Option<Actor> {
    let cdn = trial.network.address_from(viewer, &trial.network.cdn()?.name)?;
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let dump = |path: &str| text(&folders.trial.join("dump").join(format!("{viewer}-{path}.flv")));
    // Until the trial is over there may be something to play: it is the trial that decides when to give up.
    let patience = (trial.timeline.end + trial.timeline.drain).as_secs().max(1);
    let args = [
        ["agent".into(), "viewer".into()],
        ["--host".into(), viewer.to_owned()],
        ["--stream".into(), format!("{RTMP_APP}/{}", stream.name)],
        ["--cdn".into(), cdn.to_string()],
        ["--dump-cdn".into(), dump("cdn")],
        ["--dump-peer".into(), dump("peer")],
        ["--log-dir".into(), text(&folders.trial.join("log"))],
        ["--home".into(), text(&folders.scratch.join(format!("{viewer}-home")))],
        ["--patience".into(), patience.to_string()],
    ];
    Some(Actor {
        name: "agent".into(),
        station: viewer.into(),
        command: Command::new(text(&folders.livectl), args.concat()),
        folders: vec![folders.trial.join("dump")],
        files: Vec::new(),
        input: Input::Null,
        output: Output::Lines,
        log: folders.log(viewer, "agent"),
        ready: Readiness::Event("player_started".into()),
        ready_within: Duration::from_secs(10),
        alarms: Vec::new(),
        stop: STOP,
    })
}

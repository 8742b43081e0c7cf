//! A viewer: a player, and the agent that gives it the stream.

use std::net::SocketAddrV4;
use std::time::Duration;

use super::player::{self, Seat, mplayer};
use super::process::{Actor, Command, Output, Readiness, Stop};
use super::screen::{self, Screen};
use super::{AGENT, Folders};
use crate::plan::delivery::Givers;
use crate::plan::{HTTP_PORT, NOTIFY_PORT, PEER_PORT, Player, RTMP_APP, SEGMENTS_PATH, Stream, Trial, program_name};

/// How long a parent may say nothing at all before its children leave it, where viewers pass the stream on: one that
/// has no frame says so ten times a second.
const RELAY_SILENCE: Duration = Duration::from_millis(300);
/// How long a frame may wait for a child there before the child is dropped, so that it goes where there is more room.
pub(super) const RELAY_LAG: Duration = Duration::from_secs(1);

/// How many viewers' agents say in a second how their players stand, at most.
const TOLD_A_SECOND: u64 = 32;

/// A viewer's programs: the agent is there before the player.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewer {
    /// `live-agent viewer`; none where players fetch segments from the CDN.
    pub agent: Option<Actor>,
    /// What it watches with.
    pub player: Actor,
    /// What that shows the stream on, if it does; the same in each spell.
    pub screen: Option<Screen>,
}

/// How often a viewer's agent says how its player stands: once a second, and of many viewers so seldom that 32 say so
/// in a second, all together.
#[must_use]
pub fn tells_every(trial: &Trial) -> Duration {
    let viewers = trial.viewers().count() as u64;
    Duration::from_secs(viewers.div_ceil(TOLD_A_SECOND).max(1))
}

/// The actors of a viewer of that stream in one of its spells, from 1. `None` when the plan gives it no way to the
/// CDN.
///
/// The player's dump is `dump/<viewer>.flv`, in later spells `dump/<viewer>-2.flv` and so on; what the agent does is
/// told by the [events](livectl_wire::agent_event) on its standard output.
#[must_use]
pub fn viewer(trial: &Trial, stream: &Stream, host: &str, spell: u32, folders: &Folders) -> Option<Viewer> {
    let (agent_name, player_name) = (program_name("agent", spell), program_name("player", spell));
    let cdn_host = &trial.network.cdn()?.name;
    let cdn = trial.network.address_from(host, cdn_host)?;
    let key = format!("{RTMP_APP}/{}", stream.name);
    // Until the trial is over there may be something to play: it is the trial that decides when to give up.
    let patience = (trial.timeline.end + trial.timeline.drain).as_secs().max(1);
    let mut args = vec!["viewer".to_owned(), "--stream".into(), key.clone(), "--cdn".into(), cdn.to_string()];
    if trial.point.scheme.has_peers() {
        args.extend(["--notify".into(), SocketAddrV4::new(cdn, NOTIFY_PORT).to_string()]);
        args.extend(["--handover".into(), trial.agents.handover.name().into()]);
    }
    if trial.point.scheme.delivery().givers() == Givers::Everyone {
        // The controller knows it by the address under which it plays from the CDN, so that is the one that its peers
        // are told.
        let own = trial.network.own_address(host, cdn_host)?;
        // Who comes was sent by the controller; to wait until it has told this host as well takes up to a second.
        args.extend(["--serve".into(), SocketAddrV4::new(own, PEER_PORT).to_string(), "--admit-all".into()]);
        args.extend(["--cache".into(), trial.agents.cache_seconds().to_string()]);
        args.extend(["--peer-silence".into(), RELAY_SILENCE.as_secs_f64().to_string()]);
        args.extend(["--peer-lag".into(), RELAY_LAG.as_millis().to_string()]);
    }
    args.extend(["--patience".into(), patience.to_string()]);
    args.extend(["--now".into(), tells_every(trial).as_secs().to_string()]);
    args.extend(["--end-padding".into(), mplayer::END_PADDING.to_string(), "--once".into()]);
    let agent = Actor {
        name: agent_name.clone(),
        station: host.into(),
        command: Command::new(folders.agent.to_string_lossy(), args),
        folders: Vec::new(),
        files: Vec::new(),
        output: Output::Lines,
        log: folders.trial.log(host, &agent_name),
        ready: Readiness::Event("ready".into()),
        ready_within: Duration::from_secs(10),
        alarms: Vec::new(),
        stop: Stop::default(),
    };
    let is_segmented = trial.point.scheme.is_segmented();
    let (dump, home) = (folders.trial.dump_of(host, spell), folders.scratch.join(format!("{host}-home")));
    let chosen = &trial.network.host(host)?.player;
    let playlist = format!("/{SEGMENTS_PATH}/{}.m3u8", stream.name);
    let url = if is_segmented { format!("http://{cdn}{playlist}") } else { format!("rtmp://{AGENT}/{key}") };
    let display = screen::display(trial, host);
    let seat = Seat { url: &url, dump: &dump, home: &home, display: &display };
    let command = if is_segmented {
        let wait = ["internal", "await-playlist", "--server"].map(str::to_owned).into_iter();
        let server = SocketAddrV4::new(cdn, HTTP_PORT).to_string();
        let wait = wait.chain([server, "--path".into(), playlist, "--patience".into(), patience.to_string()]);
        player::command_for_segments(chosen, &seat).behind(folders.livectl.to_string_lossy(), wait)
    } else {
        player::command(chosen, &seat)
    };
    let player = Actor {
        name: player_name.clone(),
        station: host.into(),
        command,
        folders: [home].into_iter().chain(dump.parent().map(Into::into)).collect(),
        files: Vec::new(),
        // The wait for the playlist is told. What other programs write there is theirs.
        output: if is_segmented && !matches!(chosen, Player::Command { .. }) { Output::Lines } else { Output::Log },
        log: folders.trial.log(host, &player_name),
        ready: Readiness::Started,
        ready_within: Duration::from_secs(5),
        alarms: Vec::new(),
        // It reacts within 0.15 s or not at all.
        stop: Stop { interrupt: Duration::from_secs(1), terminate: Duration::from_secs(1) },
    };
    Some(Viewer {
        agent: (!is_segmented).then_some(agent),
        player,
        screen: chosen.shows().then(|| screen::screen(trial, host, folders)),
    })
}

//! A broadcaster: the program that makes and publishes its stream, and the agent that it publishes to.
//!
//! | module | program |
//! |---|---|
//! | [`ffmpeg`] | ffmpeg |
//! | [`obs`] | OBS, with a screen of its own |
//! | [`command`] | whatever a recipe names |
//! | [`rehearsal`] | ffprobe and ffmpeg, before anything boots: whether a video file gives what is asked of it |

mod command;
pub mod ffmpeg;
pub(super) mod obs;
pub mod rehearsal;

use std::net::SocketAddrV4;
use std::time::Duration;

use super::process::{Actor, Command, Output, Readiness, Stop};
use super::viewer::RELAY_LAG;
use super::{AGENT, Folders};
use crate::plan::delivery::Givers;
use crate::plan::{NOTIFY_PORT, Program, RTMP_APP, Stream, Trial, Video};

/// What the program that makes the stream is called, whichever it is.
pub const ENCODER: &str = "encoder";
/// What a program that livectl does not know well may take to connect, and then to its first picture.
const ON_AIR_WITHIN: Duration = Duration::from_secs(20);

/// All programs of a stream's broadcaster. The agent is there before the encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broadcaster {
    /// Where the encoder shows its windows, which must be there before anything else.
    pub screen: Option<Actor>,
    /// What is to be seen there.
    pub picture: Option<Actor>,
    /// What makes and publishes the stream.
    pub encoder: Actor,
    /// How long that is on the air; `None`: it knows by itself, and ends without it.
    pub air: Option<Air>,
    /// `live-agent broadcaster`.
    pub agent: Actor,
}

/// How long a program is on the air that does not end by itself, or need not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Air {
    /// It must have connected to its agent within this time, and given its first picture within this time after that.
    pub within: Duration,
    /// From its first picture on it may broadcast so long, and is then told to end.
    pub length: Duration,
}

/// The actors of that stream's broadcaster. `None` when the plan gives it no way to the CDN.
#[must_use]
pub fn broadcaster(trial: &Trial, stream: &Stream, folders: &Folders) -> Option<Broadcaster> {
    let cdn_host = &trial.network.cdn()?.name;
    let cdn = trial.network.address_from(&stream.broadcaster, cdn_host)?;
    let agent = agent(trial, stream, cdn, folders);
    let video = &trial.video;
    let alone = |encoder, air| Broadcaster { screen: None, picture: None, encoder, air, agent: agent.clone() };
    Some(match &stream.program {
        Program::Ffmpeg => alone(ffmpeg::actor(video, stream, cdn, folders), None),
        Program::Command(words) => {
            let length = length(video) + command::GRACE;
            alone(command::actor(words, video, stream, folders), Some(Air { within: ON_AIR_WITHIN, length }))
        }
        Program::Obs | Program::ObsDefaults => {
            // Each has a display of its own: hosts share the folder with the displays' sockets.
            let number = trial.streams.iter().position(|other| other.name == stream.name)?;
            let studio = obs::Studio::new(u32::try_from(number).ok()?, video, stream, folders);
            Broadcaster {
                screen: Some(studio.screen()),
                picture: Some(studio.picture()),
                encoder: studio.encoder(),
                air: Some(Air { within: ON_AIR_WITHIN, length: length(video) }),
                agent,
            }
        }
    })
}

/// Where the program of its host publishes that stream.
fn url(stream: &str) -> String {
    format!("rtmp://{AGENT}/{RTMP_APP}/{stream}")
}

/// How long so many frames are.
fn length(video: &Video) -> Duration {
    Duration::from_secs_f64(f64::from(video.frames) / f64::from(video.fps.max(1)))
}

fn agent(trial: &Trial, stream: &Stream, cdn: std::net::Ipv4Addr, folders: &Folders) -> Actor {
    let host = stream.broadcaster.as_str();
    let key = format!("{RTMP_APP}/{}", stream.name);
    let births = folders.trial.births(host);
    let mut args = vec!["broadcaster".to_owned(), "--stream".into(), key, "--cdn".into(), cdn.to_string()];
    args.extend(["--births".into(), births.to_string_lossy().into_owned()]);
    // Where segments carry the stream, the analysis knows frames by what is in them.
    if trial.video.clock || trial.point.scheme.is_segmented() {
        args.extend(["--recording".into(), folders.trial.recording(host).to_string_lossy().into_owned()]);
    }
    let buffer = trial.agents.upload_buffer.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string());
    args.extend(["--upload-buffer".into(), buffer]);
    if trial.point.scheme.has_peers() {
        args.extend(["--notify".into(), SocketAddrV4::new(cdn, NOTIFY_PORT).to_string()]);
        args.extend(["--cache".into(), trial.agents.cache_seconds().to_string()]);
        if trial.point.scheme.delivery().givers() == Givers::Everyone {
            args.extend(["--peer-lag".into(), RELAY_LAG.as_millis().to_string(), "--admit-all".into()]);
        }
        // The first link of its way to the CDN is the one that the CDN's copy and the peers' copies share.
        let path = trial.network.cdn().and_then(|cdn| trial.network.path(host, &cdn.name));
        if let Some(uplink) = path.and_then(|path| path.first().and_then(|shape| shape.bandwidth)) {
            args.extend(["--uplink".into(), uplink.to_string()]);
        }
    }
    args.extend(["--drain".into(), trial.timeline.drain.as_secs().max(1).to_string(), "--once".into()]);
    Actor {
        name: "agent".into(),
        station: host.into(),
        command: Command::new(folders.agent.to_string_lossy(), args),
        folders: births.parent().map(Into::into).into_iter().collect(),
        files: Vec::new(),
        output: Output::Lines,
        log: folders.trial.log(host, "agent"),
        ready: Readiness::Event("ready".into()),
        ready_within: Duration::from_secs(10),
        alarms: Vec::new(),
        stop: Stop::default(),
    }
}

//! The plan of a trial of which only the ping trains are known.

use std::path::PathBuf;
use std::time::Duration;

use super::{BROADCASTER, CDN, VIEWER};
use crate::plan::{
    Cdn, Codec, Datapath, Host, LinkKind, Network, PingTrain, Player, Point, Program, Role, Stream, Timeline, Trial,
    Video, VideoSource,
};

/// A trial with a broadcaster, a CDN and a viewer. Switches, links, addresses and captures are not known and there
/// are none; of the video all sizes are 0.
pub(super) fn trial(point: Point, pings: Vec<PingTrain>, streaming: Option<(Duration, Duration)>) -> Trial {
    let host =
        |name: &str, role| Host { name: name.to_owned(), role, interfaces: Vec::new(), player: Player::default() };
    let hosts = vec![host(BROADCASTER, Role::Broadcaster), host(CDN, Role::Cdn), host(VIEWER, Role::Viewer)];
    let (begin, end) = streaming.unwrap_or_default();
    let pinged = pings.iter().map(|train| train.start + train.interval.saturating_mul(train.count)).max();
    Trial {
        id: point.id(),
        point,
        seed: 0,
        network: Network { switches: Vec::new(), hosts, links: Vec::new() },
        video: Video {
            source: VideoSource::File { path: PathBuf::new() },
            fps: 0,
            frames: 0,
            codec: Codec::Flv1,
            bitrate: 0,
            keyframe_interval: 0,
            audio: false,
            clock: false,
        },
        streams: vec![Stream {
            name: BROADCASTER.to_owned(),
            broadcaster: BROADCASTER.to_owned(),
            viewers: vec![VIEWER.to_owned()],
            program: Program::default(),
        }],
        timeline: Timeline {
            broadcast_at: begin,
            view_at: begin,
            view_every: Duration::ZERO,
            end: pinged.unwrap_or_default().max(end),
            drain: Duration::ZERO,
        },
        link_changes: Vec::new(),
        audience: Default::default(),
        agents: Default::default(),
        pings,
        captures: Vec::new(),
        film: Vec::new(),
        links: LinkKind::Auto,
        datapath: Datapath::Auto,
        congestion_control: String::new(),
        crowd: None,
        initial_window: 0,
        cdn: Cdn::default(),
    }
}

//! The plan: what a recipe means, as pure values.
//!
//! A [`Plan`] is made from a recipe without touching the machine. It names every trial, every host's
//! addresses and every moment of the timeline, so that a dry run prints exactly what a run will do.

pub mod address;
mod agents;
mod audience;
pub mod change;
pub mod delivery;
mod engine;
mod estimate;
mod map;
mod measure;
mod player;
mod point;
mod program;
mod repetition;
mod until;
mod way;

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use agents::{Agents, Handover};
pub use audience::{Audience, Churn, Departure, LEAST_SPELL, Parting, Spell, program_name, program_of};
pub use change::{Change, Condition, Directions, LinkChange, LinkTrace, Piece, Setting, Step};
pub use delivery::{Scheme, UnknownScheme};
pub use engine::{CROWD, EMULATED, ENGINE, Engine, PREDICTED};
pub use estimate::{AUDIO_BITRATE, Estimate, FILM_BITRATE, TRIAL_OVERHEAD};
/// The TCP port of RTMP on the CDN.
pub use livectl_wire::http::PORT as HTTP_PORT;
/// The TCP port on which agents serve peers: a broadcaster's, and viewers' that pass the stream on.
pub use livectl_wire::peer::PORT as PEER_PORT;
pub use livectl_wire::rtmp::PORT as RTMP_PORT;
pub use measure::{Measure, natural};
pub use player::Player;
pub use point::{Parameters, Point};
pub use program::{ArgumentPart, Placeholder, Program, argument_parts, filled};
pub use repetition::{MOST_TRIAL_HOSTS, TooMany};
pub use until::{Figure, Until};
pub use way::{LEAST_ANSWERED, Passed, answered};

/// The TCP port on the CDN to which every agent keeps a connection for peer notifications.
pub const NOTIFY_PORT: u16 = 42857;
/// The RTMP application name that broadcasters publish to.
pub const RTMP_APP: &str = "live";
/// Where segments are on the CDN's HTTP server: `/hls/hb.m3u8`.
pub const SEGMENTS_PATH: &str = "hls";

/// Whether a plan says nothing of something that is off.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Segments of the initial congestion window that RFC 6928 (section 2) allows.
pub(crate) const fn usual_initial_window() -> u32 {
    10
}

impl fmt::Display for LinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            LinkKind::Auto => "auto",
            LinkKind::Netem => "netem",
            LinkKind::Emulated => "emulated",
        })
    }
}

impl fmt::Display for Datapath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Datapath::Auto => "auto",
            Datapath::Kernel => "kernel",
            Datapath::User => "user",
        })
    }
}

/// What makes the links.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum LinkKind {
    /// `netem` where the kernel has it, else `emulated`.
    #[default]
    Auto,
    /// Mininet's veth pairs, shaped by the kernel's netem, with htb above it where there is jitter.
    Netem,
    /// TAP pairs joined by livectl's user-space link.
    Emulated,
}

/// What forwards packets in Open vSwitch.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Datapath {
    /// `kernel` where the module exists, else `user`.
    #[default]
    Auto,
    /// The openvswitch kernel module.
    Kernel,
    /// OVS's user-space datapath (`datapath_type=netdev`).
    User,
}

/// A host's part in the experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs the encoder and an agent.
    Broadcaster,
    /// Runs nginx-rtmp and the notification service.
    Cdn,
    /// Runs a player and an agent.
    Viewer,
    /// Runs nothing; can be pinged.
    Idle,
}

/// What is run: a recipe's trials in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The recipe's name: the folder under `results/`.
    pub recipe: String,
    /// What the recipe says of itself; may be empty.
    pub description: String,
    /// The number that the trials' seeds are made from.
    #[serde(default)]
    pub seed: u64,
    /// The trials, in the order in which they run.
    pub trials: Vec<Trial>,
}

/// One scheme, one set of parameters, one repetition, on one freshly booted network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Its name and that of its folder: [`Point::id`].
    pub id: String,
    /// Its scheme, parameters and repetition.
    #[serde(flatten)]
    pub point: Point,
    /// Seeds jitter and loss of emulated links.
    pub seed: u64,
    /// Switches, hosts and links.
    pub network: Network,
    /// What every broadcaster encodes.
    pub video: Video,
    /// Who broadcasts what to whom.
    pub streams: Vec<Stream>,
    /// When things start and stop.
    pub timeline: Timeline,
    /// Links that change on the timeline, in the recipe's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub link_changes: Vec<LinkChange>,
    /// Which viewers come and go while the stream is on.
    #[serde(default, skip_serializing_if = "Audience::is_plain")]
    pub audience: Audience,
    /// How many viewers those of the plan stand for in a prediction, one after the other and each for as many; `None`: for themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crowd: Option<usize>,
    /// What the agents do beside passing the stream on.
    #[serde(default)]
    pub agents: Agents,
    /// Who pings whom, when and how often.
    pub pings: Vec<PingTrain>,
    /// Interfaces to capture on.
    pub captures: Vec<CapturePoint>,
    /// Viewers whose screens are filmed side by side.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub film: Vec<String>,
    /// What makes the links of its network.
    pub links: LinkKind,
    /// What forwards packets in its switches.
    pub datapath: Datapath,
    /// TCP congestion control set in every host (`cubic`, `reno`, `bbr`).
    pub congestion_control: String,
    /// Segments that TCP sends before the first acknowledgement (initial congestion window); RFC 6928 and Linux have 10.
    #[serde(default = "usual_initial_window")]
    pub initial_window: u32,
    /// How the CDN serves; trials that were stored before there was a choice ran without TCP_NODELAY.
    #[serde(default)]
    pub cdn: Cdn,
}

/// The emulated network of a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// Switches in the recipe's order.
    pub switches: Vec<Switch>,
    /// Hosts in the recipe's order, `viewer × count` expanded.
    pub hosts: Vec<Host>,
    /// Links in the recipe's order.
    pub links: Vec<Link>,
}

/// An OpenFlow switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// Mininet's name of it: `s1`.
    pub name: String,
    /// OpenFlow datapath id; unique, from 1.
    pub dpid: u64,
}

/// A host of the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Mininet's name of it: `hb`.
    pub name: String,
    /// Its part in the experiment.
    pub role: Role,
    /// One per link, in link order.
    pub interfaces: Vec<Interface>,
    /// What a viewer watches with; of other hosts it does not matter.
    #[serde(default, skip_serializing_if = "Player::is_usual")]
    pub player: Player,
}

/// A host's end of a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Name on the host: `hb-eth0`.
    pub name: String,
    /// Ethernet address, `02:…` (locally administered), unique in the trial.
    pub mac: String,
    /// IPv4 address. Switches that are joined share one subnet; each island of switches has its own.
    pub address: Ipv4Addr,
    /// Length of the subnet prefix in bits.
    pub prefix: u8,
    /// Index into [`Network::links`].
    pub link: usize,
}

/// One end of a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Host or switch name.
    pub node: String,
    /// Interface name on it: `hb-eth0`, `s1-eth1`.
    pub interface: String,
}

/// A link between two nodes, the same in both directions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// For a host's link this is the host.
    pub a: End,
    /// For a host's link this is the switch.
    pub b: End,
    /// What the link does to packets, in each direction.
    pub shape: Shape,
}

/// What a link does to packets, in each direction on its own.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// Rate in bit/s, counting whole Ethernet frames without FCS and preamble; `None`: as fast as the machine.
    pub bandwidth: Option<u64>,
    /// One-way delay, without that of the queue.
    pub delay: Duration,
    /// Each packet's delay is uniform in `delay ± jitter`.
    pub jitter: Duration,
    /// Probability of losing a packet, 0 to 1.
    pub loss: f64,
    /// Packets that wait for the link at most; further ones are dropped.
    pub queue: u32,
}

/// What every encoder makes, and from what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Video {
    /// Where pictures come from.
    pub source: VideoSource,
    /// Pictures per second.
    pub fps: u32,
    /// How many pictures are encoded: rate times length of the stream.
    pub frames: u32,
    /// Codec of the video; in H.264 ffmpeg encodes it with libx264.
    pub codec: Codec,
    /// Video bitrate in bit/s.
    pub bitrate: u64,
    /// A keyframe every so many frames.
    pub keyframe_interval: u32,
    /// AAC sound (a generated tone for generated pictures).
    pub audio: bool,
    /// Each picture carries the time at which it was taken: see [`clock`](crate::clock).
    #[serde(default, skip_serializing_if = "is_false")]
    pub clock: bool,
}

/// Video codecs that FLV carries and viewers play.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// Sorenson H.263, ffmpeg's `flv1`.
    Flv1,
    /// H.264 by libx264, zero-latency tuning.
    H264,
}

/// Where pictures come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum VideoSource {
    /// An ffmpeg lavfi source such as `testsrc2`.
    Generated {
        /// `testsrc2`, `mandelbrot`, …; one of a fixed list.
        pattern: String,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// A file, looped as often as the frames need.
    File {
        /// Absolute path of the file.
        path: std::path::PathBuf,
    },
}

/// How the CDN serves. The default is nginx-rtmp as it is, not what recipes get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cdn {
    /// Its connections have TCP_NODELAY: a frame's last, short segment does not wait for the acknowledgement of those before it.
    pub nodelay: bool,
    /// Where it makes segments, how long one is at least; it ends with the next keyframe.
    #[serde(default = "usual_segment", skip_serializing_if = "is_usual_segment")]
    pub segment: Duration,
}

fn usual_segment() -> Duration {
    Duration::from_secs(5)
}

fn is_usual_segment(segment: &Duration) -> bool {
    *segment == usual_segment()
}

impl Default for Cdn {
    fn default() -> Self {
        Cdn { nodelay: false, segment: usual_segment() }
    }
}

/// One live stream: who makes it and who watches it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// Stream name under [`RTMP_APP`]: the broadcaster's host name.
    pub name: String,
    /// Host that encodes it.
    pub broadcaster: String,
    /// Hosts that watch it.
    pub viewers: Vec<String>,
    /// The program that makes it.
    #[serde(default, skip_serializing_if = "Program::is_usual")]
    pub program: Program,
}

/// Moments in the life of a trial, counted from when the network has been measured and is ready.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// When the encoders start.
    pub broadcast_at: Duration,
    /// The first player starts; before or after `broadcast_at`.
    pub view_at: Duration,
    /// From the start of one player to the next one's, in the order of streams and of their viewers; zero in older trials.
    #[serde(default)]
    pub view_every: Duration,
    /// The trial ends, if everything that was to be delivered has been; also when players end earlier.
    pub end: Duration,
    /// How long past `end` the trial waits for players that still receive. After that it ends, and what
    /// did not arrive counts as missing.
    pub drain: Duration,
}

/// Pings from one host to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PingTrain {
    /// Name of the host that pings.
    pub from: String,
    /// Name of the host that answers.
    pub to: String,
    /// Address of `to` that `from` shares a subnet with.
    pub address: Ipv4Addr,
    /// When the first ping is sent, on the trial's timeline.
    pub start: Duration,
    /// Time from one ping to the next.
    pub interval: Duration,
    /// How many pings are sent.
    pub count: u32,
}

/// An interface whose packets are captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturePoint {
    /// Name of the host that it is on.
    pub host: String,
    /// Name of the interface: `hb-eth0`.
    pub interface: String,
}

impl Timeline {
    /// When the player starts that is preceded by so many.
    #[must_use]
    pub fn view_at(&self, before: usize) -> Duration {
        self.view_at + self.view_every.saturating_mul(u32::try_from(before).unwrap_or(u32::MAX))
    }
}

impl Trial {
    /// Which of the plan's viewers one of a crowd is like. All of them are in the plan's order.
    #[must_use]
    pub fn stands_for(viewer: usize, crowd: usize, planned: usize) -> usize {
        // Both are below 2³².
        ((viewer as u64 * planned as u64) / (crowd as u64).max(1)) as usize
    }

    /// Over which edges one of its streams goes at one time, at most.
    #[must_use]
    pub fn edges_at_once<'a>(&'a self, stream: &'a Stream) -> Vec<delivery::Edge<'a>> {
        self.point.scheme.delivery().at_once(&self.network, stream)
    }
}

impl Network {
    /// The host of that name; `None`: there is none.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|h| h.name == name)
    }

    /// The links that join two switches.
    pub fn trunks(&self) -> impl Iterator<Item = &Link> {
        let is_switch = |end: &End| self.switches.iter().any(|switch| switch.name == end.node);
        self.links.iter().filter(move |link| is_switch(&link.a) && is_switch(&link.b))
    }

    /// The one CDN; a valid plan has exactly one.
    #[must_use]
    pub fn cdn(&self) -> Option<&Host> {
        self.hosts.iter().find(|h| h.role == Role::Cdn)
    }
}

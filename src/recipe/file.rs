//! The recipe as it is written. Every doc comment here is also what an editor shows, by way of the JSON Schema.

use schemars::JsonSchema;
use serde::Deserialize;

use super::link_change::LinkChangeFile;
use super::parameter::{Combination, ParameterFile, ParameterName};
use super::program::{PlayerFile, ProgramFile};
use super::text::{At, Entries, Optional, Text};
use super::unit::{Bandwidth, Delay, FrameSize, Loss, Moment, Share, UploadBuffer, Whole};
use super::word::{CaptureName, CongestionControl, FilePath, Flag, NodeName, Pattern, Prose};
use crate::plan::{Codec, Datapath, Engine, Figure, Handover, LinkKind, Role, Scheme};

/// Repetitions of each scheme.
pub type Repetitions = Whole<1, 1000>;
/// Any seed.
pub type Seed = Whole<0, { u64::MAX }>;
/// Frame rate, in pictures per second.
pub type Fps = Whole<1, 120>;
/// Pictures of a stream; a million are nine hours at 30 a second.
pub type Frames = Whole<1, 1_000_000>;
/// Frames between keyframes; ffmpeg reduces longer intervals to this.
pub type KeyframeInterval = Whole<1, 600>;
/// Segments of TCP's first flight.
pub type InitialWindow = Whole<1, 1000>;
/// Hosts that are written as one.
pub type HostCount = Whole<1, 512>;
/// Length of a queue, in packets.
pub type QueueLength = Whole<1, 1_000_000>;

/// A livectl recipe: what is streamed over which network, when, and how often.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "livectl recipe")]
pub struct RecipeFile {
    /// What this experiment is for, in a sentence or two.
    #[serde(default)]
    pub description: Optional<Text<Prose>>,
    /// Ways of delivery to compare, in the order in which they are tried. Default: direct, bypass.
    #[serde(default)]
    #[schemars(extend("minItems" = 1, "uniqueItems" = true, "default" = ["direct", "bypass"]))]
    pub schemes: Optional<At<Vec<Text<Scheme>>>>,
    /// What figures come from: programs on an emulated network, or the model of `livectl predict`. A sweep may have
    /// both: `matrix: { engine: [emulate, predict], … }`. Default: emulate.
    #[serde(default)]
    #[schemars(extend("default" = "emulate"))]
    pub engine: Optional<Text<Engine>>,
    /// How often each scheme is tried. Default: 1.
    #[serde(default)]
    #[schemars(extend("default" = 1))]
    pub repetitions: Optional<Text<Repetitions>>,
    /// Seed that makes jitter and loss of emulated links repeatable. Default: 1.
    #[serde(default)]
    #[schemars(extend("default" = 1))]
    pub seed: Optional<Text<Seed>>,
    /// What every broadcaster encodes. Default: the values of its keys.
    #[serde(default)]
    pub video: Optional<VideoFile>,
    /// Switches, hosts and links.
    pub network: NetworkFile,
    /// How the CDN serves. Default: the values of its keys.
    #[serde(default)]
    pub cdn: Optional<CdnFile>,
    /// When things start and stop, counted from when the network is ready. Default: the values of its keys.
    #[serde(default)]
    pub timeline: Optional<TimelineFile>,
    /// What the agents do beside passing streams on. Default: the values of its keys.
    #[serde(default)]
    pub agents: Optional<AgentsFile>,
    /// Where packets are captured: hosts (all their interfaces) and interfaces such as `hs-eth1`. Default: every
    /// interface of broadcasters, CDN and viewers.
    #[serde(default)]
    pub captures: Optional<At<Vec<Text<CaptureName>>>>,
    /// Viewers whose screens are filmed side by side into `film.webm` and `film.png` of each trial: one to four of
    /// those whose player shows the stream. Default: none.
    #[serde(default)]
    #[schemars(extend("minItems" = 1, "maxItems" = 4, "uniqueItems" = true))]
    pub film: Optional<At<Vec<Text<NodeName>>>>,
    /// A sweep: parameters by name, and the values that each takes. Every combination is a point, and each scheme is
    /// tried at each point. Default: no parameters.
    #[serde(default)]
    pub matrix: Optional<At<Entries<ParameterName, At<ParameterFile>>>>,
    /// A sweep goes on with a point until a figure of it is known, instead of a fixed number of `repetitions`, which
    /// is then the least. Default: it does not.
    #[serde(default)]
    pub until: Optional<At<UntilFile>>,
    /// Further points of the sweep, each with a value for every parameter. Default: none.
    #[serde(default)]
    pub include: Optional<Vec<Combination>>,
    /// Combinations that are left out: points with these values of some parameters, and `scheme` if only that is left
    /// out there. Default: none.
    #[serde(default)]
    pub exclude: Optional<Vec<Combination>>,
}

/// Repetitions continue until a figure is known as precisely as wanted.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UntilFile {
    /// Which figure: a column of summary.csv.
    pub figure: Text<Figure>,
    /// Its permitted error, 0.1 % to 50 %. Default: 5 %.
    #[serde(default)]
    #[schemars(extend("default" = "5 %"))]
    pub precision: Optional<Text<Share>>,
    /// Repetitions after which a point ends, whatever is known. Default: 60.
    #[serde(default)]
    #[schemars(extend("default" = 60))]
    pub most: Optional<Text<Repetitions>>,
}

/// What every broadcaster encodes.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VideoFile {
    /// ffmpeg's source of test pictures. Default: testsrc2.
    #[serde(default)]
    #[schemars(extend("default" = "testsrc2"))]
    pub pattern: Optional<Text<Pattern>>,
    /// A video file instead of a test pattern, relative to the recipe's folder; looped as often as `frames` needs.
    #[serde(default)]
    pub file: Optional<Text<FilePath>>,
    /// Width x height in pixels, both even, 16 to 4096. Only for test patterns. Default: 640x360.
    #[serde(default)]
    #[schemars(extend("default" = "640x360"))]
    pub size: Optional<Text<FrameSize>>,
    /// Pictures per second. Default: 30.
    #[serde(default)]
    #[schemars(extend("default" = 30))]
    pub fps: Optional<Text<Fps>>,
    /// How many pictures are encoded. Default: 600, or what fits into `timeline.broadcast` if that has an `until`.
    #[serde(default)]
    #[schemars(extend("default" = 600))]
    pub frames: Optional<Text<Frames>>,
    /// Sorenson H.263 or H.264. Default: flv1.
    #[serde(default)]
    #[schemars(extend("default" = "flv1"))]
    pub codec: Optional<Text<Codec>>,
    /// Video bitrate, 10 kbit/s to 100 Mbit/s. Default: 2.5 Mbit/s.
    #[serde(default)]
    #[schemars(extend("default" = "2.5 Mbit/s"))]
    pub bitrate: Optional<Text<Bandwidth>>,
    /// A keyframe every so many frames, at most `frames`. Default: one a second.
    #[serde(default)]
    pub keyframe_every: Optional<Text<KeyframeInterval>>,
    /// Sound (AAC), a tone for test patterns. Default: false.
    #[serde(default)]
    #[schemars(extend("default" = false))]
    pub audio: Optional<Text<Flag>>,
    /// Burns the time into each picture, for machines and for people, and reads it again on the screens of viewers
    /// whose player shows the stream: from that come the delays from the source to the eye. Only for test patterns.
    /// Default: false.
    #[serde(default)]
    #[schemars(extend("default" = false))]
    pub clock: Optional<Text<Flag>>,
}

/// What the agents beside broadcasters and players do.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentsFile {
    /// How much may wait at a broadcaster for the CDN before its program has to wait, or `unlimited`. Default:
    /// unlimited.
    #[serde(default)]
    #[schemars(extend("default" = "unlimited"))]
    pub upload_buffer: Optional<Text<UploadBuffer>>,
    /// How much of the stream a broadcaster keeps for peers that have missed some, 1 s to 10 min. Default: 30 s.
    #[serde(default)]
    #[schemars(extend("default" = "30 s"))]
    pub cache: Optional<Text<Moment>>,
    /// What a viewer that is handed over gets of what it lacks: all of it, or what follows the latest keyframe.
    /// Default: complete.
    #[serde(default)]
    #[schemars(extend("default" = "complete"))]
    pub handover: Optional<Text<Handover>>,
}

/// Switches, hosts and links.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkFile {
    /// What makes the links. Default: auto.
    #[serde(default)]
    #[schemars(extend("default" = "auto"))]
    pub link: Optional<Text<LinkKind>>,
    /// What forwards packets in Open vSwitch. Default: auto.
    #[serde(default)]
    #[schemars(extend("default" = "auto"))]
    pub datapath: Optional<Text<Datapath>>,
    /// TCP congestion control of every host. Default: cubic.
    #[serde(default)]
    #[schemars(extend("default" = "cubic"))]
    pub congestion_control: Optional<Text<CongestionControl>>,
    /// Segments that TCP sends before the first acknowledgement, 1 to 1000. Default: 10, as RFC 6928 and Linux have
    /// it.
    #[serde(default)]
    #[schemars(extend("default" = 10))]
    pub initial_window: Optional<Text<InitialWindow>>,
    /// Names of the switches, 1 to 64.
    #[schemars(extend("minItems" = 1, "maxItems" = 64, "uniqueItems" = true))]
    pub switches: At<Vec<Text<NodeName>>>,
    /// Hosts by name: at least one broadcaster, one CDN and at least one viewer.
    pub hosts: At<Entries<NodeName, At<HostFile>>>,
    /// Links between switches. Default: none.
    #[serde(default)]
    pub trunks: Optional<Vec<At<TrunkFile>>>,
}

/// A host: what it does and where it is plugged in.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostFile {
    /// What the host does.
    pub role: Text<Role>,
    /// Number of hosts like this one, named with a number at the end: `hv` gives `hv1`, `hv2`, … Not for the CDN.
    #[serde(default)]
    pub count: Optional<Text<HostCount>>,
    /// The broadcaster that a viewer watches. Needed if there are several.
    #[serde(default)]
    pub watch: Optional<Text<NodeName>>,
    /// What a viewer watches with: `mplayer` and `rtmpdump` write the stream to a file, `mplayer-window`, `ffplay`
    /// and `mpv` decode it and show it on a screen of the host's own. Default: mplayer.
    #[serde(default)]
    #[schemars(extend("default" = "mplayer"))]
    pub player: Optional<PlayerFile>,
    /// What a broadcaster broadcasts with. Default: ffmpeg.
    #[serde(default)]
    #[schemars(extend("default" = "ffmpeg"))]
    pub program: Optional<ProgramFile>,
    /// The host's link to a switch.
    #[serde(default)]
    pub link: Optional<At<LinkFile>>,
    /// Links to several switches that are not joined to each other, instead of `link`.
    #[serde(default)]
    #[schemars(extend("minItems" = 1))]
    pub links: Optional<At<Vec<At<LinkFile>>>>,
}

/// A host's link to a switch. What it says holds for each direction.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkFile {
    /// Name of the switch that the host is connected to.
    pub to: Text<NodeName>,
    /// Rate of whole Ethernet frames, 10 kbit/s to 100 Gbit/s. Default: as fast as the machine.
    #[serde(default)]
    pub bandwidth: Optional<Text<Bandwidth>>,
    /// One-way delay, up to 60 s. Default: 0 ms.
    #[serde(default)]
    #[schemars(extend("default" = "0 ms"))]
    pub delay: Optional<Text<Delay>>,
    /// Each packet's delay is uniform in delay ± jitter; at most the delay. Default: 0 ms.
    #[serde(default)]
    #[schemars(extend("default" = "0 ms"))]
    pub jitter: Optional<Text<Delay>>,
    /// Share of packets lost by chance, under 100 %. Default: 0 %.
    #[serde(default)]
    #[schemars(extend("default" = "0 %"))]
    pub loss: Optional<Text<Loss>>,
    /// Packets that wait for the link at most; further ones are dropped. Default: 1000.
    #[serde(default)]
    #[schemars(extend("default" = 1000))]
    pub queue: Optional<Text<QueueLength>>,
}

/// A link between two switches. What it says holds for each direction.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrunkFile {
    /// The two switches.
    #[schemars(extend("minItems" = 2, "maxItems" = 2, "uniqueItems" = true))]
    pub between: At<Vec<Text<NodeName>>>,
    /// Rate of whole Ethernet frames, 10 kbit/s to 100 Gbit/s. Default: as fast as the machine.
    #[serde(default)]
    pub bandwidth: Optional<Text<Bandwidth>>,
    /// One-way delay, up to 60 s. Default: 0 ms.
    #[serde(default)]
    #[schemars(extend("default" = "0 ms"))]
    pub delay: Optional<Text<Delay>>,
    /// Each packet's delay is uniform in delay ± jitter; at most the delay. Default: 0 ms.
    #[serde(default)]
    #[schemars(extend("default" = "0 ms"))]
    pub jitter: Optional<Text<Delay>>,
    /// Share of packets lost by chance, under 100 %. Default: 0 %.
    #[serde(default)]
    #[schemars(extend("default" = "0 %"))]
    pub loss: Optional<Text<Loss>>,
    /// Packets that wait for the link at most; further ones are dropped. Default: 1000.
    #[serde(default)]
    #[schemars(extend("default" = 1000))]
    pub queue: Optional<Text<QueueLength>>,
}

/// How the CDN serves.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CdnFile {
    /// Its connections send a frame's last, short segment at once (TCP_NODELAY). nginx-rtmp by itself lets it wait
    /// for the acknowledgement of those before it or for the next frame. Default: true.
    #[serde(default)]
    #[schemars(extend("default" = true))]
    pub nodelay: Optional<Text<Flag>>,
    /// In scheme `hls`, how long a segment is at least, 1 s to 30 s; it ends with the next keyframe. A playlist has
    /// the latest six. Default: 5 s.
    #[serde(default)]
    #[schemars(extend("default" = "5 s"))]
    pub segment: Optional<Text<Moment>>,
}

/// When things start and stop, counted from when the network has been measured and is ready.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimelineFile {
    /// Ping trains: each broadcaster to the CDN, the CDN to each viewer, each broadcaster to its viewers.
    /// Default: from the beginning to the end, each second.
    #[serde(default)]
    pub pings: Optional<PingsFile>,
    /// When the broadcasters stream.
    #[serde(default)]
    pub broadcast: Optional<BroadcastFile>,
    /// When the viewers start to watch.
    #[serde(default)]
    pub view: Optional<ViewFile>,
    /// Links that change during the trial. Default: none.
    #[serde(default)]
    pub links: Optional<At<Vec<At<LinkChangeFile>>>>,
    /// Viewers that come and go, one by one. Default: none.
    #[serde(default)]
    pub audience: Optional<Vec<At<MoveFile>>>,
    /// Viewers that come and go by chance: all that `audience` does not name. Default: none.
    #[serde(default)]
    pub churn: Optional<At<ChurnFile>>,
    /// When the trial ends, at most 24 hours. Default: 5 s after the stream has ended, but not before the pings'
    /// `until`.
    #[serde(default)]
    pub end: Optional<Text<Moment>>,
    /// How long past the end the trial waits for viewers that still receive. Default: 30 s.
    #[serde(default)]
    #[schemars(extend("default" = "30 s"))]
    pub drain: Optional<Text<Moment>>,
}

/// When the hosts ping each other.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PingsFile {
    /// The first ping. Default: 0 s.
    #[serde(default)]
    #[schemars(extend("default" = "0 s"))]
    pub from: Optional<Text<Moment>>,
    /// No ping starts at this moment or later; the same as `from` means no pings. Default: the trial's end.
    #[serde(default)]
    pub until: Optional<Text<Moment>>,
    /// Time between pings, 10 ms to 1 min. Default: 1 s.
    #[serde(default)]
    #[schemars(extend("default" = "1 s"))]
    pub every: Optional<Text<Moment>>,
}

/// When the broadcasters stream.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BroadcastFile {
    /// The encoders start. Default: 5 s.
    #[serde(default)]
    #[schemars(extend("default" = "5 s"))]
    pub at: Optional<Text<Moment>>,
    /// The encoders stop; another way to say how many `frames` there are. Default: when all frames are encoded.
    #[serde(default)]
    pub until: Optional<Text<Moment>>,
}

/// When the viewers start to watch. They stop when the stream has ended.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ViewFile {
    /// The players start, before or after the broadcasters. Default: 3 s.
    #[serde(default)]
    #[schemars(extend("default" = "3 s"))]
    pub at: Optional<Text<Moment>>,
    /// Time from the start of one player to that of the next, in the order of the hosts. Default: 0 s, all at once.
    #[serde(default)]
    #[schemars(extend("default" = "0 s"))]
    pub every: Optional<Text<Moment>>,
}

/// A viewer that comes or goes: one of `leave`, `crash` and `join`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveFile {
    /// When it comes or goes.
    pub at: Text<Moment>,
    /// The viewer whose player is stopped, and whose agent says goodbye.
    #[serde(default)]
    pub leave: Optional<Text<NodeName>>,
    /// The viewer whose host goes silent as if its power was cut.
    #[serde(default)]
    pub crash: Optional<Text<NodeName>>,
    /// The viewer that comes: again, or, if nothing is said of it before, for the first time, instead of at `view`.
    #[serde(default)]
    pub join: Optional<Text<NodeName>>,
}

/// Viewers that come and go by chance. Stays and absences are exponentially distributed beyond two seconds.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChurnFile {
    /// How long a viewer stays on average, from 2 s on.
    pub stay: Text<Moment>,
    /// How long it is away on average, from 2 s on.
    pub away: Text<Moment>,
    /// The share of departures that are crashes. Default: 0 %.
    #[serde(default)]
    #[schemars(extend("default" = "0 %"))]
    pub crash: Optional<Text<Share>>,
    /// No viewer leaves before this. Default: when the broadcasters start.
    #[serde(default)]
    pub from: Optional<Text<Moment>>,
    /// No viewer comes or leaves after this; those away then stay away. Default: when the stream has ended.
    #[serde(default)]
    pub until: Optional<Text<Moment>>,
}

//! What the page's tables show, column by column: name, unit, meaning and cell, in this one place.

use serde::Serialize;

use super::answer::Answer;
use super::effects::EFFECTS;
use super::section::OVERVIEW;
use crate::table::{AudienceRow, EstimateRow, LATE_BUFFER_MS, ModelRow, PlayoutRow, SummaryRow, TrunkRow};

/// What stands where there is nothing.
pub(super) const NOTHING: &str = "–";

/// A column of a table of `T`.
pub(super) struct Column<T> {
    /// Its name in the stored table; empty for what only the page has.
    pub(super) key: &'static str,
    pub(super) name: &'static str,
    /// `ms`; empty for words and counts.
    pub(super) unit: &'static str,
    pub(super) about: &'static str,
    /// Numbers are flush right.
    number: bool,
    /// It is left out of tables in which it is empty.
    optional: bool,
    cell: fn(&T) -> Cell,
}

/// What stands in a table.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(super) struct Cell {
    pub(super) text: String,
    /// What it sorts by where that is more exact than the text.
    pub(super) value: Option<String>,
    /// There is nothing to show.
    pub(super) none: bool,
    /// A place on this page.
    pub(super) href: Option<String>,
    /// Its figures are doubtful.
    pub(super) doubtful: bool,
}

/// A column's head.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Head {
    key: &'static str,
    name: &'static str,
    unit: &'static str,
    about: &'static str,
    number: bool,
}

/// A table as the page shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Sheet {
    /// Unique on the page.
    pub(super) id: String,
    pub(super) caption: String,
    pub(super) heads: Vec<Head>,
    pub(super) rows: Vec<Vec<Cell>>,
    /// What was left out, and where it is.
    pub(super) cut: Option<String>,
}

/// What the columns of a table mean.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Definitions {
    title: &'static str,
    heads: Vec<Head>,
}

impl Sheet {
    /// The first `most` of the rows; `stored` names the file that has them all.
    pub(super) fn of<T>(
        id: String,
        caption: &str,
        columns: &[Column<T>],
        rows: &[T],
        most: usize,
        stored: &str,
    ) -> Sheet {
        let shown = &rows[..rows.len().min(most)];
        let is_there = |c: &&Column<T>| !c.optional || shown.iter().any(|row| !(c.cell)(row).none);
        let columns: Vec<&Column<T>> = columns.iter().filter(is_there).collect();
        let cut = (rows.len() > most)
            .then(|| format!("The first {most} of {} rows; all of them are in {stored}.", rows.len()));
        Sheet {
            id,
            caption: caption.to_owned(),
            heads: columns.iter().map(|c| c.head()).collect(),
            rows: shown.iter().map(|row| columns.iter().map(|c| (c.cell)(row)).collect()).collect(),
            cut,
        }
    }
}

/// The heads of these columns.
pub(super) fn heads<T>(columns: &[Column<T>]) -> Vec<Head> {
    columns.iter().map(Column::head).collect()
}

impl<T> Column<T> {
    fn head(&self) -> Head {
        let Column { key, name, unit, about, number, .. } = *self;
        Head { key, name, unit, about, number }
    }
}

/// The same column, left out of tables in which it is empty.
pub(super) const fn where_any<T>(column: Column<T>) -> Column<T> {
    let Column { key, name, unit, about, number, cell, .. } = column;
    Column { key, name, unit, about, number, optional: true, cell }
}

/// The meaning of every column of every table on the page.
pub(super) fn definitions() -> Vec<Definitions> {
    vec![
        Definitions { title: "Overview, if the page has several runs", heads: heads(OVERVIEW) },
        Definitions { title: "What parameters do (effects.csv of a sweep)", heads: heads(EFFECTS) },
        Definitions { title: "The model against measurement (model.csv of a sweep)", heads: heads(MODELS) },
        Definitions { title: "The answer", heads: heads(ANSWERS) },
        Definitions { title: "The audience (audience.csv)", heads: heads(AUDIENCE) },
        Definitions { title: "Between switches (trunks.csv)", heads: heads(TRUNKS) },
        Definitions { title: "Delays (summary.csv)", heads: heads(DELAYS) },
        Definitions { title: "Parts of the delay, and traffic (summary.csv)", heads: heads(TRAFFIC) },
        Definitions { title: "The beginning, step by step (summary.csv)", heads: heads(BEGINNING) },
        Definitions { title: "Playout (playout.csv)", heads: heads(PLAYOUT) },
        Definitions { title: "Estimates over repetitions", heads: heads(ESTIMATES) },
    ]
}

impl Cell {
    pub(super) fn words(text: impl Into<String>) -> Cell {
        let text = text.into();
        if text.is_empty() { Cell::nothing() } else { Cell { text, ..Cell::default() } }
    }

    fn nothing() -> Cell {
        Cell { text: NOTHING.to_owned(), none: true, ..Cell::default() }
    }

    pub(super) fn count(count: impl Into<Option<u64>>) -> Cell {
        count.into().map_or_else(Cell::nothing, |n| Cell { text: n.to_string(), ..Cell::default() })
    }

    /// With so many decimals; sorted by all of them.
    pub(super) fn number(value: Option<f64>, decimals: usize) -> Cell {
        let Some(value) = value.filter(|v| v.is_finite()) else { return Cell::nothing() };
        let (text, exact) = (format!("{value:.decimals$}"), value.to_string());
        let value = (text != exact).then_some(exact);
        Cell { text, value, ..Cell::default() }
    }

    /// A tenth of a millisecond is what captures and clocks are good for.
    pub(super) fn milliseconds(value: Option<f64>) -> Cell {
        Cell::number(value, 1)
    }

    #[allow(clippy::cast_precision_loss)]
    fn megabytes(bytes: Option<u64>) -> Cell {
        Cell::number(bytes.map(|b| b as f64 / 1e6), 3)
    }

    fn percent(share: Option<f64>) -> Cell {
        Cell::number(share.map(|s| s * 100.0), 2)
    }

    pub(super) fn doubtful_if(self, doubtful: bool) -> Cell {
        Cell { doubtful, ..self }
    }
}

pub(super) const fn words<T>(
    key: &'static str,
    name: &'static str,
    about: &'static str,
    cell: fn(&T) -> Cell,
) -> Column<T> {
    Column { key, name, unit: "", about, number: false, optional: false, cell }
}

pub(super) const fn figure<T>(
    key: &'static str,
    name: &'static str,
    unit: &'static str,
    about: &'static str,
    cell: fn(&T) -> Cell,
) -> Column<T> {
    Column { key, name, unit, about, number: true, optional: false, cell }
}

const TRIAL: &str = "One scheme, one repetition, on one freshly booted network. An exclamation mark: partial or unfit; why is under Warnings.";
const SCHEME: &str = "How video was delivered: direct, every byte through the CDN; bypass, the controller introduces a viewer \
                      to the broadcaster on the same switch; relay, viewers pass the stream on to each other, along a tree that the controller \
                      chooses; multicast, the switches copy what the broadcaster sends once.";
const STREAM: &str = "The stream: its broadcaster's name.";
const VIEWER: &str = "The viewer's name.";
const PARAMETERS: &str = "The values of the sweep's parameters; only in sweeps.";
const DELAY: &str = "Delay: from the moment the encoder emitted a frame to the moment its last missing byte reached the viewer's interface.";
const FLOOR: &str = "Median floor of the frames that arrived: the least delay that the network allows a frame on the shortest way from broadcaster to \
                     viewer, the same for every scheme.";
const EXCESS: &str = "Excess: delay minus floor, what the scheme costs.";
const PART: &str = "Mean over all frames that arrived; a part that is not on a frame's way counts as 0, so that the parts add up to the mean delay.";

fn trial(name: &str, fit: bool, partial: bool) -> Cell {
    let sound = fit && !partial;
    Cell::words(if sound { name.to_owned() } else { format!("{name} !") }).doubtful_if(!sound)
}

/// One line for each scheme and viewer.
pub(super) const ANSWERS: &[Column<Answer>] = &[
    words("", "scheme", SCHEME, |a| Cell::words(a.scheme.to_string()).doubtful_if(a.doubtful)),
    where_any(words("", "parameters", PARAMETERS, |a| Cell::words(a.parameters.to_string()))),
    words("", "stream", STREAM, |a| Cell::words(&a.stream)),
    words("", "viewer", VIEWER, |a| Cell::words(&a.viewer)),
    figure("", "delay p50", "ms", "Median delay of the frames of all trials that count.", |a| {
        Cell::milliseconds(a.delay_p50.value())
    }),
    figure("", "floor p50", "ms", FLOOR, |a| Cell::milliseconds(a.floor_p50)),
    figure(
        "",
        "excess p50",
        "ms",
        "Median excess, delay minus floor: what the scheme costs. The figure to compare schemes by.",
        |a| Cell::milliseconds(a.excess_p50.value()),
    ),
    words(
        "",
        "95 % interval",
        "95 % confidence interval of the median excess, from resampling whole trials (bootstrap); a single trial has none.",
        |a| a.excess_p50.interval(),
    ),
    figure("", "excess p95", "ms", "95th percentile of the excess.", |a| Cell::milliseconds(a.excess_p95.value())),
    words("", "95 % interval", "95 % confidence interval of the 95th percentile of the excess.", |a| {
        a.excess_p95.interval()
    }),
    figure(
        "",
        "missing",
        "frames",
        "Frames that never arrived, in all trials that count; a dash: the viewer has no capture.",
        |a| Cell::count(a.missing),
    ),
    figure("", "emitted", "frames", "Frames that the encoder emitted in all trials that count.", |a| {
        Cell::count(a.frames)
    }),
    figure("", "trials", "", "Trials that count: those that are whole and fit.", |a| Cell::count(a.trials)),
    figure(
        "",
        "left out",
        "trials",
        "Partial or unfit trials. If there are no others, the figures are those of the unfit ones and marked.",
        |a| Cell::count(a.left_out),
    ),
];

/// One line for each direction of each link between switches.
pub(super) const TRUNKS: &[Column<TrunkRow>] = &[
    words("trial", "trial", TRIAL, |r| trial(&r.trial, r.fit, r.partial)),
    words("from", "from", "The switch that sent it.", |r| Cell::words(&r.from)),
    words("to", "to", "The switch that got it.", |r| Cell::words(&r.to)),
    figure(
        "bytes",
        "bytes",
        "",
        "What passed, by the counter of the port it came in at, Ethernet headers included.",
        |r| Cell::count(r.bytes),
    ),
    figure("lost_bytes", "lost", "bytes", "What went into the link and did not come out.", |r| {
        Cell::count(r.lost_bytes)
    }),
    figure(
        "copies",
        "copies",
        "",
        "Bytes over the bytes of all streams' frames: with one stream, how often its video passed. A copy over TCP, its headers and \
         acknowledgements included, is about 1.1.",
        |r| Cell::number(r.copies, 2),
    ),
];

/// One line for each stream of each trial.
pub(super) const AUDIENCE: &[Column<AudienceRow>] = &[
    words("trial", "trial", TRIAL, |r| trial(&r.trial, r.fit, r.partial)),
    words("stream", "stream", STREAM, |r| Cell::words(&r.stream)),
    figure("viewers", "viewers", "", "How many viewers the stream has.", |r| Cell::count(u64::from(r.viewers))),
    figure("missing", "missing", "frames", "Frames that never arrived, over all viewers.", |r| {
        Cell::count(r.missing)
    }),
    figure("skipped", "skipped", "frames", "Frames left out on purpose, over all viewers.", |r| {
        Cell::count(r.skipped)
    }),
    figure("delay_p50_best_ms", "p50 best", "ms", "The least of the viewers' median delays.", |r| {
        Cell::milliseconds(r.delay_p50_best_ms)
    }),
    figure("delay_p50_median_ms", "p50 median", "ms", "The median of the viewers' median delays.", |r| {
        Cell::milliseconds(r.delay_p50_median_ms)
    }),
    figure("delay_p50_worst_ms", "p50 worst", "ms", "The largest of the viewers' median delays.", |r| {
        Cell::milliseconds(r.delay_p50_worst_ms)
    }),
    figure("relay_bound_ms", "bound", "ms", BOUND, |r| Cell::milliseconds(r.relay_bound_ms)),
    figure("delay_p95_best_ms", "p95 best", "ms", "The least of the viewers' 95th percentiles.", |r| {
        Cell::milliseconds(r.delay_p95_best_ms)
    }),
    figure("delay_p95_median_ms", "p95 median", "ms", "The median of the viewers' 95th percentiles.", |r| {
        Cell::milliseconds(r.delay_p95_median_ms)
    }),
    figure("delay_p95_worst_ms", "p95 worst", "ms", "The largest of the viewers' 95th percentiles.", |r| {
        Cell::milliseconds(r.delay_p95_worst_ms)
    }),
    figure("relay_bound_p95_ms", "bound p95", "ms", "The bound of a frame larger than 95 % of them.", |r| {
        Cell::milliseconds(r.relay_bound_p95_ms)
    }),
    figure("floor_p50_ms", "floor", "ms", "The median of the viewers' median floors.", |r| {
        Cell::milliseconds(r.floor_p50_ms)
    }),
    figure("viewer_offload", "by viewers", "%", BY_VIEWERS, |r| Cell::percent(r.viewer_offload)),
    figure("viewer_offload_bound", "bound", "%", MOST_BY_VIEWERS, |r| Cell::percent(r.viewer_offload_bound)),
    figure("peer_offload", "not by CDN", "%", "Bytes from anyone but the CDN out of all bytes that came.", |r| {
        Cell::percent(r.peer_offload)
    }),
    figure("cdn_copies", "CDN", "copies", "What the CDN sent viewers, in copies of the video.", |r| {
        Cell::number(r.cdn_copies, 2)
    }),
    figure("broadcaster_copies", "broadcaster", "copies", OWN_COPIES, |r| Cell::number(r.broadcaster_copies, 2)),
    figure("sent_per_video", "sent", "copies", SENT, |r| Cell::number(r.sent_per_video, 2)),
    figure("server_egress_bytes", "CDN egress", "MB", "TCP payload that the CDN sent viewers.", |r| {
        Cell::megabytes(r.server_egress_bytes)
    }),
    figure("depth_max", "depth", "", "The most hosts that passed a frame on.", |r| {
        Cell::count(r.depth_max.map(u64::from))
    }),
    figure("depth_bound", "at least", "", LEAST_DEPTH, |r| Cell::count(r.depth_bound.map(u64::from))),
    figure("copy_bit_per_s", "a copy", "kbit/s", "The rate that one copy of the stream takes on an uplink.", |r| {
        Cell::number(r.copy_bit_per_s.map(|bits| bits / 1e3), 0)
    }),
    figure("greatest_bit_per_s", "at most", "kbit/s", GREATEST_RATE, |r| {
        Cell::number(r.greatest_bit_per_s.map(|bits| bits / 1e3), 0)
    }),
    figure(
        "cpu_mean",
        "CPU",
        "%",
        "How busy the machine's processors were: the mean over the trial's seconds.",
        |r| Cell::percent(r.cpu_mean),
    ),
    figure("cpu_max", "CPU most", "%", "The busiest second of them.", |r| Cell::percent(r.cpu_max)),
];

const MOST_BY_VIEWERS: &str = "What viewers carry if the broadcaster sends all whole copies that its uplink has room for; if it sends fewer, they carry more.";
const OWN_COPIES: &str = "What the broadcaster sent, to the CDN and to viewers, in copies of the video.";
const SENT: &str = "What everyone sent for one viewer's copy of the video: bytes of TCP payload over bytes of the video and viewers.";
const LEAST_DEPTH: &str = "The least that the depth can be if uplinks carry whole copies.";
const GREATEST_RATE: &str = "The greatest rate at which all uplinks together can carry a stream to all viewers (Kumar, Liu and Ross, INFOCOM 2007).";

/// The first half of the summary.
pub(super) const DELAYS: &[Column<SummaryRow>] = &[
    words("trial", "trial", TRIAL, |r| trial(&r.trial, r.fit, r.partial)),
    where_any(words("", "parameters", PARAMETERS, |r| Cell::words(r.point.parameters.to_string()))),
    words("stream", "stream", STREAM, |r| Cell::words(&r.stream)),
    words("viewer", "viewer", VIEWER, |r| Cell::words(&r.viewer)),
    figure(
        "frames",
        "frames",
        "",
        "Distinct video frames that the encoder emitted while the viewer was there.",
        |r| Cell::count(u64::from(r.frames)),
    ),
    figure("missing", "missing", "", "Of these, frames that never arrived.", |r| {
        Cell::count(r.missing.map(u64::from))
    }),
    figure("uncovered", "uncovered", "", UNCOVERED, |r| Cell::count(r.uncovered.map(u64::from))),
    figure("duplicate", "duplicate", "", "Whole copies of frames beyond the first.", |r| {
        Cell::count(r.duplicate.map(u64::from))
    }),
    figure("late", "late", "", LATE, |r| Cell::count(r.late.map(u64::from))),
    figure("startup_delay_ms", "startup", "ms", STARTUP, |r| Cell::milliseconds(r.startup_delay_ms)),
    figure("delay_mean_ms", "delay mean", "ms", "Mean delay of the frames that arrived.", |r| {
        Cell::milliseconds(r.delay_mean_ms)
    }),
    figure("delay_p50_ms", "delay p50", "ms", DELAY, |r| Cell::milliseconds(r.delay_p50_ms)),
    figure("delay_p95_ms", "delay p95", "ms", "95th percentile of the delay.", |r| {
        Cell::milliseconds(r.delay_p95_ms)
    }),
    figure("delay_p99_ms", "delay p99", "ms", "99th percentile of the delay.", |r| {
        Cell::milliseconds(r.delay_p99_ms)
    }),
    figure("delay_max_ms", "delay max", "ms", "Largest delay.", |r| Cell::milliseconds(r.delay_max_ms)),
    figure("floor_p50_ms", "floor p50", "ms", FLOOR, |r| Cell::milliseconds(r.floor_p50_ms)),
    figure("excess_p50_ms", "excess p50", "ms", EXCESS, |r| Cell::milliseconds(r.excess_p50_ms)),
    figure("excess_p95_ms", "excess p95", "ms", "95th percentile of the excess.", |r| {
        Cell::milliseconds(r.excess_p95_ms)
    }),
    figure("excess_max_ms", "excess max", "ms", "Largest excess.", |r| Cell::milliseconds(r.excess_max_ms)),
    figure("stream_floor_p50_ms", "stream floor p50", "ms", STREAM_FLOOR, |r| {
        Cell::milliseconds(r.stream_floor_p50_ms)
    }),
    figure("stream_excess_p50_ms", "stream excess p50", "ms", "Median excess over the floor of the stream.", |r| {
        Cell::milliseconds(r.stream_excess_p50_ms)
    }),
    figure("stream_excess_p95_ms", "stream excess p95", "ms", "95th percentile of that.", |r| {
        Cell::milliseconds(r.stream_excess_p95_ms)
    }),
    figure(
        "jitter_ms",
        "jitter",
        "ms",
        "Interarrival jitter: the mean over the frames of RFC 3550's running estimate.",
        |r| Cell::milliseconds(r.jitter_ms),
    ),
    figure("handover_gap_ms", "handover", "ms", HANDOVER, |r| Cell::milliseconds(r.handover_gap_ms)),
];

const STREAM_FLOOR: &str =
    "Median least delay that the network allows if its links must also carry all that the stream has sent before.";
const LATE: &str =
    "Frames that arrived too late to be shown by a player that began 1 s after its first keyframe and never waits.";
const STARTUP: &str = "From the start of the viewer's player, or of the stream if that came later, to the arrival of the first keyframe.";
const UNCOVERED: &str = "Frames, from the first to arrive on, that came later than 2 s after their birth or never: a playout buffer of 2 s could not have covered them.";
const HANDOVER: &str =
    "Longest pause between two arrivals at a change of source from CDN to peer; a dash: there was none.";
/// [`LATE`] says it in words.
const _: () = assert!(LATE_BUFFER_MS == 1000.0);

/// How the stream begins at a viewer, step by step.
pub(super) const BEGINNING: &[Column<SummaryRow>] = &[
    words("trial", "trial", TRIAL, |r| trial(&r.trial, r.fit, r.partial)),
    where_any(words("", "parameters", PARAMETERS, |r| Cell::words(r.point.parameters.to_string()))),
    words("stream", "stream", STREAM, |r| Cell::words(&r.stream)),
    words("viewer", "viewer", VIEWER, |r| Cell::words(&r.viewer)),
    figure("publish_ms", "publish", "ms", PUBLISH, |r| Cell::milliseconds(r.publish_ms)),
    figure(
        "connect_ms",
        "connect",
        "ms",
        "From the player's start at its agent to the connection to the CDN.",
        |r| Cell::milliseconds(r.connect_ms),
    ),
    figure("play_ms", "play", "ms", "From the player's start to the CDN's acceptance of the play.", |r| {
        Cell::milliseconds(r.play_ms)
    }),
    figure("first_picture_ms", "first picture", "ms", "From the player's start to its first keyframe.", |r| {
        Cell::milliseconds(r.first_picture_ms)
    }),
    figure("introduction_ms", "introduced", "ms", INTRODUCED, |r| Cell::milliseconds(r.introduction_ms)),
    figure("peer_connect_ms", "peer reached", "ms", "The same, to the connection to the peer.", |r| {
        Cell::milliseconds(r.peer_connect_ms)
    }),
    figure("handover_ms", "handover", "ms", "The same, to the first frame from the peer.", |r| {
        Cell::milliseconds(r.handover_ms)
    }),
    figure(
        "skipped",
        "skipped",
        "",
        "Frames left out on purpose at the handover; not among the missing ones.",
        |r| Cell::count(r.skipped.map(u64::from)),
    ),
];
const PUBLISH: &str = "From the encoder's start at its agent to the CDN's acceptance of its publish.";
const INTRODUCED: &str = "From the CDN's acceptance of both publish and play to the introduction of the peer.";

/// The second half of the summary.
pub(super) const TRAFFIC: &[Column<SummaryRow>] = &[
    words("trial", "trial", TRIAL, |r| trial(&r.trial, r.fit, r.partial)),
    where_any(words("", "parameters", PARAMETERS, |r| Cell::words(r.point.parameters.to_string()))),
    words("stream", "stream", STREAM, |r| Cell::words(&r.stream)),
    words("viewer", "viewer", VIEWER, |r| Cell::words(&r.viewer)),
    figure("queue_mean_ms", "queue", "ms", "From birth to leaving the broadcaster.", |r| {
        Cell::milliseconds(r.queue_mean_ms)
    }),
    figure("uplink_mean_ms", "uplink", "ms", "From the broadcaster to the CDN.", |r| {
        Cell::milliseconds(r.uplink_mean_ms)
    }),
    figure("dwell_mean_ms", "dwell", "ms", "In the CDN.", |r| Cell::milliseconds(r.dwell_mean_ms)),
    figure("downlink_mean_ms", "downlink", "ms", "From the CDN to the viewer.", |r| {
        Cell::milliseconds(r.downlink_mean_ms)
    }),
    figure(
        "transfer_mean_ms",
        "transfer",
        "ms",
        "On the links from the broadcaster to the viewer, if it came from a peer.",
        |r| Cell::milliseconds(r.transfer_mean_ms),
    ),
    figure("relay_mean_ms", "relay", "ms", "In the hosts that passed it on, if it came from a peer.", |r| {
        Cell::milliseconds(r.relay_mean_ms)
    }),
    figure("delay_mean_ms", "delay mean", "ms", PART, |r| Cell::milliseconds(r.delay_mean_ms)),
    where_any(words("player", "player", "The viewer's player.", |r| {
        Cell::words(r.player.as_deref().filter(|player| *player != "mplayer").unwrap_or_default())
    })),
    where_any(figure("shown_delay_p50_ms", "shown p50", "ms", SHOWN, |r| Cell::milliseconds(r.shown_delay_p50_ms))),
    where_any(figure("shown_delay_p95_ms", "shown p95", "ms", SHOWN, |r| Cell::milliseconds(r.shown_delay_p95_ms))),
    where_any(figure("encode_mean_ms", "encoder", "ms", "From taking a picture to its frame's birth.", |r| {
        Cell::milliseconds(r.encode_mean_ms)
    })),
    where_any(figure("player_mean_ms", "player's part", "ms", "From a frame's arrival to seeing it.", |r| {
        Cell::milliseconds(r.player_mean_ms)
    })),
    where_any(figure("never_shown", "never shown", "", NEVER_SHOWN, |r| Cell::count(r.never_shown.map(u64::from)))),
    where_any(figure("shown_twice", "shown twice", "", TWICE, |r| Cell::count(r.shown_twice.map(u64::from)))),
    where_any(figure("shown_late", "shown late", "", SHOWN_LATE, |r| Cell::count(r.shown_late.map(u64::from)))),
    figure("cdn_bytes", "from CDN", "MB", "Bytes that came from the CDN.", |r| Cell::megabytes(r.cdn_bytes)),
    figure("peer_bytes", "from peers", "MB", "Bytes that came from peers.", |r| Cell::megabytes(r.peer_bytes)),
    figure("group_bytes", "by switches", "MB", "Bytes that the switches copied.", |r| Cell::megabytes(r.group_bytes)),
    figure("peer_offload", "offload", "%", OFFLOAD, |r| Cell::percent(r.peer_offload)),
    figure("viewer_offload", "by viewers", "%", BY_VIEWERS, |r| Cell::percent(r.viewer_offload)),
    figure("relay_bound_ms", "relay bound", "ms", BOUND, |r| Cell::milliseconds(r.relay_bound_ms)),
    figure("server_egress_bytes", "CDN egress", "MB", EGRESS, |r| Cell::megabytes(r.server_egress_bytes)),
    figure("retransmission_rate", "sent again", "%", AGAIN, |r| Cell::percent(r.retransmission_rate)),
];

const SHOWN: &str = "From taking a picture to seeing it on the viewer's screen: glass to glass.";
const NEVER_SHOWN: &str = "Frames that were never on the screen, after the first that was.";
const TWICE: &str = "Frames that stayed on the screen for one and a half frame intervals or more, or appeared again.";
const SHOWN_LATE: &str = "Frames whose shown delay exceeds the median by more than a frame interval.";
const OFFLOAD: &str = "Peer offload: bytes from peers out of all bytes that came.";
const BY_VIEWERS: &str = "Bytes from viewers out of all bytes that came.";
const BOUND: &str =
    "The earliest at which the last viewer can have a frame of mean size, if viewers pass it on in whole copies.";
const EGRESS: &str = "TCP payload that the CDN sent to the viewer, retransmissions included.";
const AGAIN: &str = "Retransmissions: retransmitted TCP payload out of all TCP payload sent to the viewer.";

/// One line for each trial, viewer and buffer.
pub(super) const PLAYOUT: &[Column<PlayoutRow>] = &[
    words("trial", "trial", "One scheme, one repetition, on one freshly booted network.", |r| Cell::words(&r.trial)),
    words("stream", "stream", STREAM, |r| Cell::words(&r.stream)),
    words("viewer", "viewer", VIEWER, |r| Cell::words(&r.viewer)),
    figure(
        "buffer_s",
        "buffer",
        "s",
        "How much of the stream the player has before it shows anything, also after each stall.",
        |r| Cell::number(Some(r.buffer_s), 1),
    ),
    figure(
        "startup_delay_ms",
        "startup",
        "ms",
        "From the start of the viewer's player, or of the stream if that came later, to the first picture.",
        |r| Cell::milliseconds(r.startup_delay_ms),
    ),
    figure(
        "stalls",
        "stalls",
        "",
        "How often the picture stood still because a frame was not there at its time.",
        |r| Cell::count(r.stalls.map(u64::from)),
    ),
    figure("stalled_ms", "stalled", "ms", "For how long the picture stood still in total.", |r| {
        Cell::milliseconds(r.stalled_ms)
    }),
    figure("longest_stall_ms", "longest stall", "ms", "The longest time that the picture stood still.", |r| {
        Cell::milliseconds(r.longest_stall_ms)
    }),
    figure(
        "continuity",
        "continuity",
        "%",
        "Share of the frames that a player which never waits would have had in time.",
        |r| Cell::percent(r.continuity),
    ),
];

/// One line for each scheme, viewer and figure.
pub(super) const ESTIMATES: &[Column<EstimateRow>] = &[
    words("scheme", "scheme", SCHEME, |r| Cell::words(r.scheme.to_string())),
    where_any(words("", "parameters", PARAMETERS, |r| Cell::words(r.parameters.to_string()))),
    words("stream", "stream", STREAM, |r| Cell::words(&r.stream)),
    words("viewer", "viewer", VIEWER, |r| Cell::words(&r.viewer)),
    words("metric", "figure", METRIC, |r| Cell::words(metric_name(&r.metric))),
    words("", "unit", "The unit of the figure and its interval; empty for counts.", |r| {
        Cell::words(metric_unit(&r.metric))
    }),
    figure("value", "value", "", "The figure over all trials that count.", |r| {
        metric_value(&r.metric, Some(r.value))
    }),
    figure(
        "low_95",
        "from",
        "",
        "Where its 95 % confidence interval begins; a single trial has none, and with fewer than five trials it is too narrow.",
        |r| metric_value(&r.metric, r.low_95),
    ),
    figure("high_95", "to", "", "Where its 95 % confidence interval ends.", |r| metric_value(&r.metric, r.high_95)),
    figure(
        "trials",
        "trials",
        "",
        "Trials that have the figure; those that are partial or unfit are not among them.",
        |r| Cell::count(u64::from(r.trials)),
    ),
    figure("left_out", "left out", "trials", "Partial or unfit trials.", |r| Cell::count(u64::from(r.left_out))),
];

/// The columns of the model against measurement.
pub(super) const MODELS: &[Column<ModelRow>] = &[
    words("scheme", "scheme", SCHEME, |r| Cell::words(r.scheme.to_string()).doubtful_if(r.unfit)),
    where_any(words("", "parameters", PARAMETERS, |r| Cell::words(r.parameters.to_string()))),
    words(
        "metric",
        "figure",
        "Quantiles: of all frames of all viewers. Anything else: the mean over trials and viewers.",
        |r| Cell::words(metric_name(&r.metric)),
    ),
    words("", "unit", "The unit of the figure and its interval; empty for counts.", |r| {
        Cell::words(metric_unit(&r.metric))
    }),
    figure("measured", "measured", "", "The figure of the trials that were measured.", |r| {
        metric_value(&r.metric, Some(r.measured))
    }),
    figure(
        "low_95",
        "from",
        "",
        "Where the 95 % confidence interval of the measured figure begins; a single trial has none, and with fewer than five trials it is too narrow.",
        |r| metric_value(&r.metric, r.low_95),
    ),
    figure("high_95", "to", "", "Where that interval ends.", |r| metric_value(&r.metric, r.high_95)),
    figure("predicted", "predicted", "", "The same figure of the trials that were predicted.", |r| {
        metric_value(&r.metric, Some(r.predicted))
    }),
    figure("difference", "difference", "", "predicted − measured.", |r| {
        metric_value(&r.metric, Some(r.difference))
    }),
    words(
        "near",
        "near enough",
        "Within 5 % + 2 ms (p50), 10 % + 10 ms (p95), 2 percentage points (share from peers); a dash: no such aim.",
        |r| Cell::words(r.near.map_or("", |near| if near { "yes" } else { "no" })),
    ),
    figure(
        "trials",
        "trials",
        "",
        "Measured trials that have the figure; partial and unfit ones are not among them.",
        |r| Cell::count(u64::from(r.trials)),
    ),
    figure("left_out", "left out", "trials", "Partial or unfit trials.", |r| Cell::count(u64::from(r.left_out))),
    words("unfit", "unfit", "Whether the trials counted are unfit, because there are no fit ones.", |r| {
        Cell::words(if r.unfit { "yes" } else { "" })
    }),
    figure("predictions", "predictions", "", "Predicted trials that have the figure.", |r| {
        Cell::count(u64::from(r.predictions))
    }),
];

const METRIC: &str = "A quantile of the delay or excess: of the frames of all trials together. Anything else: the mean over the trials of the column \
                      of that name in the other tables.";

/// `stalled, buffer 0.5 s` for `stalled_buffer_0.5s_ms`.
pub(super) fn metric_name(metric: &str) -> String {
    let bare = ["_ms", "_bytes"].iter().find_map(|unit| metric.strip_suffix(unit)).unwrap_or(metric);
    match bare.split_once("_buffer_") {
        Some((name, buffer)) => {
            format!("{}, buffer {} s", name.replace('_', " "), buffer.strip_suffix('s').unwrap_or(buffer))
        }
        None => bare.replace('_', " "),
    }
}

/// Shares are shown in per cent and bytes in millions, as in the other tables.
fn metric_unit(metric: &str) -> &'static str {
    match metric {
        _ if metric.ends_with("_ms") => "ms",
        _ if metric.ends_with("_bytes") => "MB",
        _ if is_share(metric) => "%",
        _ => "",
    }
}

fn metric_value(metric: &str, value: Option<f64>) -> Cell {
    match metric_unit(metric) {
        "ms" => Cell::milliseconds(value),
        "MB" => Cell::number(value.map(|v| v / 1e6), 3),
        "%" => Cell::percent(value),
        _ => Cell::number(value, 2),
    }
}

fn is_share(metric: &str) -> bool {
    ["peer_offload", "viewer_offload", "retransmission_rate", "continuity"]
        .iter()
        .any(|share| metric.starts_with(share))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_explained() {
        for table in definitions() {
            for head in table.heads {
                assert!(head.about.len() > 5 && head.about.ends_with('.'), "{}: {}", head.name, head.about);
            }
        }
    }

    #[test]
    fn figures_have_names_and_units() {
        let told = |metric| (metric_name(metric), metric_unit(metric));
        assert_eq!(told("excess_p95_ms"), ("excess p95".to_owned(), "ms"));
        assert_eq!(told("stalled_buffer_0.5s_ms"), ("stalled, buffer 0.5 s".to_owned(), "ms"));
        assert_eq!(told("continuity_buffer_2s"), ("continuity, buffer 2 s".to_owned(), "%"));
        assert_eq!(told("missing"), ("missing".to_owned(), ""));
        assert_eq!(metric_value("server_egress_bytes", Some(2_835_879.0)).text, "2.836");
    }

    #[test]
    fn numbers_sort_by_what_was_stored() {
        let cell = Cell::milliseconds(Some(156.517));
        assert_eq!((cell.text.as_str(), cell.value.as_deref()), ("156.5", Some("156.517")));
        assert_eq!(Cell::count(7).value, None);
        assert!(Cell::milliseconds(None).none && Cell::milliseconds(Some(f64::NAN)).none);
        assert_eq!(Cell::milliseconds(None).text, "–");
    }
}

//! What the tables hold, a row at a time. Each row type is also the one definition of its table's columns: their
//! names, their order, what older tables lack ([`Row`]).

use super::field::{Field, Row, Table};
use super::{Note, TableError};
use crate::plan::delivery::Via;
use crate::plan::{Departure, Parameters, Point, Scheme};

/// Makes a row type of which every field is a column of that name, in the order given. After `added` come those that
/// tables of older livectls do not have.
macro_rules! rows {
    ($(
        $(#[$meta:meta])*
        pub struct $row:ident {
            $($(#[$doc:meta])* pub $field:ident: $type:ty,)+
            $(added { $($(#[$added_doc:meta])* pub $added:ident: $added_type:ty,)+ })?
        }
    )+) => {$(
        $(#[$meta])*
        pub struct $row {
            $($(#[$doc])* pub $field: $type,)+
            $($($(#[$added_doc])* pub $added: $added_type,)+)?
        }

        impl Row for $row {
            fn columns(rows: &[Self]) -> Vec<polars::prelude::Column> {
                let mut columns = Vec::new();
                $(<$type as Field>::write(stringify!($field), &|| rows.iter().map(|row| &row.$field), &mut columns);)+
                $($(<$added_type as Field>::write(stringify!($added), &|| rows.iter().map(|row| &row.$added), &mut columns);)+)?
                columns
            }

            fn read(table: &Table<'_>) -> Result<Vec<Self>, TableError> {
                $(let mut $field = <$type as Field>::read(table, stringify!($field))?.into_iter();)+
                $($(let mut $added = table.added::<$added_type>(stringify!($added))?.into_iter();)+)?
                let mut rows = Vec::with_capacity(table.rows());
                for _ in 0..table.rows() {
                    // Each column has a value for each row.
                    $(let Some($field) = $field.next() else { break };)+
                    $($(let Some($added) = $added.next() else { break };)+)?
                    rows.push($row { $($field,)+ $($($added,)+)? });
                }
                Ok(rows)
            }

            fn texts() -> Vec<&'static str> {
                let mut texts = Vec::new();
                $(texts.extend(<$type as Field>::text(stringify!($field)));)+
                $($(texts.extend(<$added_type as Field>::text(stringify!($added)));)+)?
                texts
            }
        }
    )+};
}

rows! {
    /// One frame at one viewer: `frames.parquet`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct FrameRow {
        /// [`plan::Trial::id`](crate::plan::Trial::id).
        pub trial: String,
        /// Which trial that is.
        pub point: Point,
        /// The stream: its broadcaster's name.
        pub stream: String,
        /// The viewer's name.
        pub viewer: String,
        /// Counts the stream's frames from 0.
        pub index: u64,
        /// The frame's own time stamp, milliseconds since the stream began.
        pub timestamp_ms: u32,
        /// Bytes of the FLV tag's payload.
        pub size_bytes: u32,
        /// Whether it is a keyframe, with which a player can begin.
        pub keyframe: bool,
        /// XXH3-128 of the tag's payload, 32 hex digits.
        pub id: String,
        /// When the encoder had handed its last byte to the broadcaster's agent.
        pub birth_ns: i64,
        /// When its last missing byte reached the viewer; `None`: never.
        pub arrival_ns: Option<i64>,
        /// The source of its first whole copy; `None`: it never arrived.
        pub via: Option<Via>,
        /// How many whole copies arrived; 0: none.
        pub copies: u32,
        /// arrival − birth, in milliseconds.
        pub delay_ms: Option<f64>,
        /// The least delay that the network allows it; `None` if broadcaster and viewer are not connected.
        pub floor_ms: Option<f64>,
        /// delay − floor, in milliseconds.
        pub excess_ms: Option<f64>,
        /// When it was born, in seconds on the trial's timeline.
        pub time_s: f64,
        /// It arrived after the moment to show it ([`mark_late`](super::mark_late)).
        pub late: bool,
        added {
            /// The host that it came from: the CDN's name or the peer's; `None`: it did not arrive, or a table of an
            /// older livectl.
            pub server: Option<String>,
            /// When its first byte left the broadcaster, for the CDN or for the viewer; `None`, here and below: it
            /// did not arrive, or that was not captured ([`trace::Way`](crate::trace::Way)).
            pub sent_ns: Option<i64>,
            /// When its last missing byte reached the CDN; `None` too if it came from a peer.
            pub cdn_arrival_ns: Option<i64>,
            /// When its first byte left the CDN for the viewer; `None` too if it came from a peer.
            pub cdn_departure_ns: Option<i64>,
            /// From birth to leaving the broadcaster. These parts add up to the delay.
            pub queue_ms: Option<f64>,
            /// From leaving the broadcaster to arriving whole at the CDN; `None`, here and in the next two: it came
            /// from a peer or a group.
            pub uplink_ms: Option<f64>,
            /// From arriving whole at the CDN to leaving it for the viewer.
            pub dwell_ms: Option<f64>,
            /// From leaving the CDN to arriving whole at the viewer.
            pub downlink_ms: Option<f64>,
            /// On the links from the broadcaster to the viewer, if it came from a peer or a group.
            pub transfer_ms: Option<f64>,
            /// The least delay that the network allows it if the path must also carry all that its stream has sent
            /// before it; `None` also in tables of an older livectl.
            pub stream_floor_ms: Option<f64>,
            /// delay − stream floor, in milliseconds.
            pub stream_excess_ms: Option<f64>,
            /// In those that passed it on, if it came from a peer: from when all of it was there to leaving there.
            pub relay_ms: Option<f64>,
            /// How many hosts passed it on, the CDN too and the broadcaster not; `None`: not all of its way is known.
            pub hops: Option<u32>,
            /// Their names in order, with blanks between; `None`: there are none, or that is not known.
            pub relays: Option<String>,
            /// In which of the viewer's spells it was born, from 1; `None`: a table of an older livectl.
            pub spell: Option<u32>,
            /// The frame that its segment begins with, by index; `None`, here and below: it came in none, or a table
            /// of an older livectl.
            pub segment: Option<u64>,
            /// From when it was at the CDN until its segment was whole there; a part of `dwell_ms`.
            pub chunking_ms: Option<f64>,
            /// From then until the segment began to leave the CDN: until the viewer's player had asked for it; a part
            /// of `dwell_ms`.
            pub polling_ms: Option<f64>,
        }
    }

    /// One ping and, if any, its answer: `pings.parquet`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct PingRow {
        /// [`plan::Trial::id`](crate::plan::Trial::id).
        pub trial: String,
        /// Which trial that is.
        pub point: Point,
        /// The host that sent the ping.
        pub from: String,
        /// The host that it was sent to.
        pub to: String,
        /// Number of the ping, from 1.
        pub seq: u32,
        /// When it was sent; `None` for pings without an answer and files without time stamps.
        pub sent_ns: Option<i64>,
        /// When it was sent, on the trial's timeline; by the plan of the ping train where `sent_ns` is null.
        pub time_s: f64,
        /// Round-trip time in milliseconds; `None`: no answer.
        pub rtt_ms: Option<f64>,
        /// It is a further answer to a ping already answered.
        pub duplicate: bool,
    }

    /// One viewer of one stream in one trial: `summary.csv`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct SummaryRow {
        /// [`plan::Trial::id`](crate::plan::Trial::id).
        pub trial: String,
        /// Which trial that is.
        pub point: Point,
        /// The stream: its broadcaster's name.
        pub stream: String,
        /// The viewer's name.
        pub viewer: String,
        /// Frames that the encoder emitted while the viewer was there
        /// ([`trace::Stay::owes`](crate::trace::Stay::owes)).
        pub frames: u32,
        /// Of those, frames that never arrived; `None`, here and below: nothing was captured at the viewer.
        pub missing: Option<u32>,
        /// Whole copies beyond each frame's first, summed over the frames.
        pub duplicate: Option<u32>,
        /// Frames that arrived after the moment to show them ([`mark_late`](super::mark_late)).
        pub late: Option<u32>,
        /// From the start of the viewer's player, or of the stream if that came later, to the arrival of the first
        /// keyframe.
        pub startup_delay_ms: Option<f64>,
        /// Median of the delay ([`FrameRow::delay_ms`]) of the frames that arrived; `None`, here and below: none
        /// arrived.
        pub delay_p50_ms: Option<f64>,
        /// 95th percentile of the same.
        pub delay_p95_ms: Option<f64>,
        /// 99th percentile of the same.
        pub delay_p99_ms: Option<f64>,
        /// The largest of the same.
        pub delay_max_ms: Option<f64>,
        /// Median floor ([`FrameRow::floor_ms`]) of the frames that arrived.
        pub floor_p50_ms: Option<f64>,
        /// Median excess ([`FrameRow::excess_ms`]) of the frames that arrived.
        pub excess_p50_ms: Option<f64>,
        /// 95th percentile of the same.
        pub excess_p95_ms: Option<f64>,
        /// The largest of the same.
        pub excess_max_ms: Option<f64>,
        /// Bytes of the stream that came from the CDN; `None`, here and below: nothing was captured at the viewer.
        pub cdn_bytes: Option<u64>,
        /// Bytes of the stream that came from peers, the broadcaster among them.
        pub peer_bytes: Option<u64>,
        /// Peer bytes / all bytes (those that switches copied are among all), 0 to 1.
        pub peer_offload: Option<f64>,
        /// Longest pause between two arrivals at which the source changed from the CDN to a peer or a group; `None`:
        /// it never did.
        pub handover_gap_ms: Option<f64>,
        /// The trial was stopped or broke before its end.
        pub partial: bool,
        /// The delays can be taken for the network's.
        pub fit: bool,
        /// Why it is partial or unfit; empty if it is neither.
        pub note: Note,
        added {
            /// Interarrival jitter, the mean over the frames of RFC 3550's running estimate
            /// ([`jitter_ms`](super::jitter_ms)).
            pub jitter_ms: Option<f64>,
            /// Bytes of TCP payload that the CDN sent it, those sent again too; `None`: nothing was captured at the
            /// CDN.
            pub server_egress_bytes: Option<u64>,
            /// Bytes of TCP payload sent to it again / all bytes sent to it, 0 to 1; `None`: not captured at every
            /// sender.
            pub retransmission_rate: Option<f64>,
            /// Mean delay of the frames that arrived, in milliseconds; `None`: none arrived.
            pub delay_mean_ms: Option<f64>,
            /// What it is made of: the means of the parts of [`FrameRow`], over all frames that arrived, where a part
            /// that is not on a frame's way counts as 0, so that they add up to the mean delay. `None`: not all of
            /// the way of all these frames was captured.
            pub queue_mean_ms: Option<f64>,
            /// Mean of [`FrameRow::uplink_ms`], as `queue_mean_ms`.
            pub uplink_mean_ms: Option<f64>,
            /// Mean of [`FrameRow::dwell_ms`], as `queue_mean_ms`.
            pub dwell_mean_ms: Option<f64>,
            /// Mean of [`FrameRow::downlink_ms`], as `queue_mean_ms`.
            pub downlink_mean_ms: Option<f64>,
            /// Mean of [`FrameRow::transfer_ms`], as `queue_mean_ms`.
            pub transfer_mean_ms: Option<f64>,
            /// Frames that were left out on purpose when the viewer was handed over
            /// ([`Handover::Live`](crate::plan::Handover::Live)); they are not among the missing ones.
            pub skipped: Option<u32>,
            /// Median of the stream's floor, of the frames that arrived.
            pub stream_floor_p50_ms: Option<f64>,
            /// Median excess over the stream's floor ([`FrameRow::stream_excess_ms`]) of the frames that arrived.
            pub stream_excess_p50_ms: Option<f64>,
            /// 95th percentile of the same.
            pub stream_excess_p95_ms: Option<f64>,
            /// From the broadcaster's program connecting to the CDN's consent to its publish; `None`, here and below:
            /// it did not happen, or was not told.
            pub publish_ms: Option<f64>,
            /// From the player connecting to its agent to the agent's connection to the CDN.
            pub connect_ms: Option<f64>,
            /// From the player connecting to its agent to the CDN's consent to the play.
            pub play_ms: Option<f64>,
            /// From the player connecting to its agent to the first keyframe that the player was handed.
            pub first_picture_ms: Option<f64>,
            /// From when the CDN had consented to both publish and play to the introduction of the peer.
            pub introduction_ms: Option<f64>,
            /// From the same moment to the peer's answer that it serves.
            pub peer_connect_ms: Option<f64>,
            /// From the same moment to the first frame from the peer that the player was handed.
            pub handover_ms: Option<f64>,
            /// Mean of [`FrameRow::relay_ms`], as `queue_mean_ms`.
            pub relay_mean_ms: Option<f64>,
            /// Median of the hosts that passed a frame on, of the frames that arrived and whose way is known; `None`:
            /// there are none.
            pub depth_p50: Option<f64>,
            /// The most hosts that passed one of these frames on.
            pub depth_max: Option<u32>,
            /// Bytes from viewers / all bytes that came, 0 to 1; `None`: not captured, or nothing came.
            pub viewer_offload: Option<f64>,
            /// When the last viewer of the stream could have a frame of mean size, if viewers pass it on in whole
            /// copies ([`trace::Bound`](crate::trace::Bound)); `None`: the uplinks carry less than a copy for each.
            pub relay_bound_ms: Option<f64>,
            /// The same for a frame larger than 95 % of them.
            pub relay_bound_p95_ms: Option<f64>,
            /// How often the viewer came; `None`, here and below: a table of an older livectl, or nothing was
            /// captured at the viewer.
            pub spells: Option<u32>,
            /// Of the missing frames, those before the first of their spell that arrived.
            pub missing_start: Option<u32>,
            /// Frames that came later than 2 s after their birth, or never: what a playout buffer of 2 s could not
            /// have covered. Those before the first that arrived in a spell are not among them, nor is that what the
            /// viewer was not there for.
            pub uncovered: Option<u32>,
            /// Median over the viewer's later spells: from the start of its player to the arrival of the first
            /// keyframe.
            pub rejoin_p50_ms: Option<f64>,
            /// How often one went that it had the stream from.
            pub reattachments: Option<u32>,
            /// How often it never had a frame from anyone else.
            pub reattach_never: Option<u32>,
            /// Median time to the first frame from somebody else; `None`, here and below: there was none, or too many
            /// never had one.
            pub reattach_p50_ms: Option<f64>,
            /// 95th percentile of the time to the first frame from somebody else.
            pub reattach_p95_ms: Option<f64>,
            /// The same, only after sources that left.
            pub reattach_leave_p95_ms: Option<f64>,
            /// The same, only after sources that crashed.
            pub reattach_crash_p95_ms: Option<f64>,
            /// Bytes that switches copied to it, which neither the CDN nor a peer sent it.
            pub group_bytes: Option<u64>,
            /// The machine that the trial ran on; `None`: it is not recorded.
            pub node: Option<String>,
            /// What the viewer watched with, as recipes write it; `None`: a table of an older livectl.
            pub player: Option<String>,
            /// Frames that were on its screen; `None`, here and below: it has none, the pictures carry no clock, or
            /// it cannot be read ([`shown`](super::shown)).
            pub shown: Option<u32>,
            /// Frames that were never on its screen, after the first that was; without those whose own clock is not
            /// known.
            pub never_shown: Option<u32>,
            /// Frames before the first that was on its screen; also without those.
            pub never_shown_start: Option<u32>,
            /// Frames that stood there for one and a half frame intervals or more, or came again.
            pub shown_twice: Option<u32>,
            /// Frames whose shown delay is more than a frame interval over its median.
            pub shown_late: Option<u32>,
            /// Median shown delay: from taking a picture to seeing it on the screen.
            pub shown_delay_p50_ms: Option<f64>,
            /// 95th percentile of the shown delay.
            pub shown_delay_p95_ms: Option<f64>,
            /// Mean shown delay of the frames that were shown; it is the sum of the mean of their delays and of the
            /// next two.
            pub shown_delay_mean_ms: Option<f64>,
            /// Mean of its first part: from taking a picture to the birth of its frame.
            pub encode_mean_ms: Option<f64>,
            /// Mean of its last part: from the arrival of a frame to seeing it.
            pub player_mean_ms: Option<f64>,
            /// Median of the first part: from taking a picture to the birth of its frame.
            pub encode_p50_ms: Option<f64>,
            /// Median of the last part: from the arrival of a frame to seeing it on the screen.
            pub player_p50_ms: Option<f64>,
            /// 95th percentile of the last part.
            pub player_p95_ms: Option<f64>,
            /// By how much a frame may have been there before it was seen, 95th percentile.
            pub shown_unsure_p95_ms: Option<f64>,
            /// Mean of [`FrameRow::chunking_ms`]; `None`, here and below: no frame came in a segment, or a table of
            /// an older livectl.
            pub chunking_mean_ms: Option<f64>,
            /// Mean of [`FrameRow::polling_ms`] over the frames that have one.
            pub polling_mean_ms: Option<f64>,
        }
    }

    /// One frame and the screen of one viewer: `shown.parquet`, of viewers whose player shows a stream with a clock
    /// in its pictures.
    #[derive(Debug, Clone, PartialEq)]
    pub struct ShownRow {
        /// [`plan::Trial::id`](crate::plan::Trial::id).
        pub trial: String,
        /// Which trial that is.
        pub point: Point,
        /// The stream: its broadcaster's name.
        pub stream: String,
        /// The viewer's name.
        pub viewer: String,
        /// Counts the stream's frames from 0.
        pub index: u64,
        /// When its picture was taken; `None`: the clock in it cannot be read.
        pub clock_ns: Option<i64>,
        /// When the encoder had handed its frame's last byte to the broadcaster's agent.
        pub birth_ns: i64,
        /// When its last missing byte reached the viewer; `None`: never.
        pub arrival_ns: Option<i64>,
        /// When it was first seen on the screen; `None`: never.
        pub shown_ns: Option<i64>,
        /// By how much it may have been there before: the time since the last look at something else.
        pub unsure_ms: Option<f64>,
        /// For how long it was on the screen, all its appearances together; `None`: it was not seen.
        pub shown_for_ms: Option<f64>,
        /// How often it appeared on the screen; 0: it was not seen.
        pub times: u32,
        /// birth − clock. These three parts add up to the shown delay.
        pub encode_ms: Option<f64>,
        /// arrival − birth, in milliseconds: [`FrameRow::delay_ms`].
        pub network_ms: Option<f64>,
        /// shown − arrival, in milliseconds: agent, player's buffer, decoder and drawing.
        pub player_ms: Option<f64>,
        /// shown − clock, in milliseconds: the sum of the three.
        pub shown_delay_ms: Option<f64>,
    }

    /// A viewer who had the stream from one that went, and had to find it elsewhere: `reattachments.parquet`. See
    /// [`trace::reattachments`](crate::trace::reattachments).
    #[derive(Debug, Clone, PartialEq)]
    pub struct ReattachmentRow {
        /// [`plan::Trial::id`](crate::plan::Trial::id).
        pub trial: String,
        /// Which trial that is.
        pub point: Point,
        /// The stream: its broadcaster's name.
        pub stream: String,
        /// The viewer's name.
        pub viewer: String,
        /// The host that the viewer had the stream from, and that went away.
        pub from: String,
        /// The source of the next frame; `None` if none came.
        pub to: Option<String>,
        /// How the source went: `leave` or `crash`.
        pub how: Departure,
        /// When the source went, in seconds on the trial's timeline.
        pub at_s: f64,
        /// From then to the arrival of the next frame, in milliseconds; `None`: none came.
        pub ms: Option<f64>,
    }

    /// What passed from one switch to another in one trial: `trunks.csv`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct TrunkRow {
        /// [`plan::Trial::id`](crate::plan::Trial::id).
        pub trial: String,
        /// Which trial that is.
        pub point: Point,
        /// The switch at the sending end of the link.
        pub from: String,
        /// The switch at the receiving end of the link.
        pub to: String,
        /// Bytes that came out of the link from the timeline's beginning to its end, Ethernet headers included, as
        /// the port there counted them.
        pub bytes: u64,
        /// Packets that came out of the link, counted as the bytes are.
        pub packets: u64,
        /// Bytes that went into it and did not come out: lost on the link, or still on it.
        pub lost_bytes: u64,
        /// How many streams the trial has.
        pub streams: u32,
        /// Bytes of all frames of all streams that were emitted; `None`: not known of all.
        pub video_bytes: Option<u64>,
        /// bytes / video_bytes: with one stream, how often its video passed here, headers and all else that passed
        /// included.
        pub copies: Option<f64>,
        /// The trial was stopped or broke before its end.
        pub partial: bool,
        /// The delays can be taken for the network's.
        pub fit: bool,
    }

    /// What the program of a broadcaster made of its stream in one trial: `broadcasts.csv`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct BroadcastRow {
        /// [`plan::Trial::id`](crate::plan::Trial::id).
        pub trial: String,
        /// Which trial that is.
        pub point: Point,
        /// The stream: its broadcaster's name.
        pub stream: String,
        /// `ffmpeg`, `obs`, `obs-defaults`, or of a command its program.
        pub program: String,
        /// Frames that the recipe asks of the broadcaster.
        pub planned: u32,
        /// Frames that the program gave its agent; `None`, here and below: not known.
        pub born: Option<u32>,
        /// Median of the time from the birth of one frame to that of the next.
        pub interval_p50_ms: Option<f64>,
        /// 95th percentile of the same.
        pub interval_p95_ms: Option<f64>,
        /// The longest of the same.
        pub interval_max_ms: Option<f64>,
        /// Frames that OBS dropped because its connection took no more ([`ObsTotals`](crate::trace::ObsTotals)); they
        /// were not born. `None`, here and below: it is not OBS, or its log does not tell.
        pub dropped: Option<u32>,
        /// Frames that OBS composed too late, so that it encoded the one before once more.
        pub lagged: Option<u32>,
        /// Frames that OBS composed and did not encode because its encoder was busy.
        pub skipped: Option<u32>,
        /// Frames that OBS composed from when it began to connect.
        pub drawn: Option<u32>,
        /// Frames that OBS encoded and did not drop; what waited to be sent when it ended was not born.
        pub output: Option<u32>,
        /// The trial was stopped or broke before its end.
        pub partial: bool,
        /// The delays can be taken for the network's.
        pub fit: bool,
    }

    /// How a stream would have played at a viewer in one trial with a given buffer: `playout.csv`. See
    /// [`play`](super::play).
    #[derive(Debug, Clone, PartialEq)]
    pub struct PlayoutRow {
        /// [`plan::Trial::id`](crate::plan::Trial::id).
        pub trial: String,
        /// Which trial that is.
        pub point: Point,
        /// The stream: its broadcaster's name.
        pub stream: String,
        /// The viewer's name.
        pub viewer: String,
        /// Seconds of the stream that the player has before it shows anything: one of
        /// [`BUFFERS_S`](super::BUFFERS_S).
        pub buffer_s: f64,
        /// From the start of the viewer's player, or of the stream if that came later, to the first picture; `None`,
        /// here and below: no frame arrived.
        pub startup_delay_ms: Option<f64>,
        /// How often the picture stood still, over all of the viewer's spells.
        pub stalls: Option<u32>,
        /// For how long it stood still in all, in milliseconds.
        pub stalled_ms: Option<f64>,
        /// The longest of these stalls, in milliseconds.
        pub longest_stall_ms: Option<f64>,
        /// Share of the frames that a player which never waits would have had in time, 0 to 1.
        pub continuity: Option<f64>,
    }

    /// What a prediction for a crowd came to, over all its viewers and all their frames: `crowds.csv`. Quantiles are
    /// exact. A trial's other tables have the viewers that the plan names, each in the middle of those it stands for.
    #[derive(Debug, Clone, PartialEq)]
    pub struct CrowdRow {
        /// [`plan::Trial::id`](crate::plan::Trial::id).
        pub trial: String,
        /// Which trial that is.
        pub point: Point,
        /// Viewers of the crowd.
        pub viewers: u64,
        /// Frames of the stream that were born.
        pub frames: u64,
        /// Frames that were born while viewers were there and had time to arrive, summed over the viewers.
        pub owed: u64,
        /// Owed frames that never arrived.
        pub missing: u64,
        /// Of the missing frames, those before the first of the viewer's spell that arrived.
        pub missing_start: u64,
        /// Owed frames that arrived later than two seconds after their birth, or never, from that first one on.
        pub uncovered: u64,
        /// From birth to arrival, over all frames that are owed, of which those that never arrived are later than all that did;
        /// median. `None`, here and below: half of them never arrived.
        pub delay_p50_ms: Option<f64>,
        /// 95th percentile of the same.
        pub delay_p95_ms: Option<f64>,
        /// 99th percentile of the same.
        pub delay_p99_ms: Option<f64>,
        /// The largest delay of the frames that arrived.
        pub delay_max_ms: Option<f64>,
        /// By how much that is more than the floor of the frame's way; median.
        pub excess_p50_ms: Option<f64>,
        /// 95th percentile of the same.
        pub excess_p95_ms: Option<f64>,
        /// Of the viewers' medians, what never arrived being later than all that did, the median.
        pub viewer_p50_median_ms: Option<f64>,
        /// The worst; `None`, here and below: some viewer has none.
        pub viewer_p50_worst_ms: Option<f64>,
        /// The highest of the viewers' 95th percentiles, missing frames again later than all others.
        pub viewer_p95_worst_ms: Option<f64>,
        /// From the start of a viewer's first player, or of the stream if that came later, to its first keyframe; median.
        pub startup_p50_ms: Option<f64>,
        /// 95th percentile of the same.
        pub startup_p95_ms: Option<f64>,
        /// How often a viewer had to find the stream again because another viewer left.
        pub reattachments: u64,
        /// From when the source went until the viewer had the next frame; median.
        pub reattach_p50_ms: Option<f64>,
        /// 95th percentile of the same.
        pub reattach_p95_ms: Option<f64>,
        /// 95th percentile of the same, only after crashes.
        pub reattach_crash_p95_ms: Option<f64>,
        /// Bytes of frames that viewers had first from the broadcaster or from viewers / bytes of all that they had,
        /// 0 to 1.
        pub peer_offload: Option<f64>,
        /// Bytes of frames that viewers had first from viewers / bytes of all that they had, 0 to 1.
        pub viewer_offload: Option<f64>,
        /// What that is if the broadcaster gives all the whole copies that its uplink has room for.
        pub viewer_offload_bound: Option<f64>,
        /// Bytes of frames that viewers had first from the CDN.
        pub cdn_bytes: u64,
        /// Viewers that had nobody but the CDN at the end.
        pub at_cdn: u64,
        /// Links in the tree from who has the stream from encoder or CDN to a viewer, at the end; mean.
        pub depth_mean: Option<f64>,
        /// The most links in that tree to a viewer, at the end.
        pub depth_max: u64,
        /// The least that `depth_max` can be in a tree of whole copies; `None`: there is no such tree.
        pub depth_bound: Option<u64>,
        /// When the last viewer could have a frame of mean size at the earliest, by whole copies, since its birth; `None`: not all can.
        pub relay_bound_ms: Option<f64>,
        /// The same for a frame larger than 95 % of them.
        pub relay_bound_p95_ms: Option<f64>,
    }

    /// One stream in one trial, over all its viewers: `audience.csv`. Best, median and worst are over the viewers,
    /// for each figure by itself.
    #[derive(Debug, Clone, PartialEq)]
    pub struct AudienceRow {
        /// [`plan::Trial::id`](crate::plan::Trial::id).
        pub trial: String,
        /// Which trial that is.
        pub point: Point,
        /// The stream: its broadcaster's name.
        pub stream: String,
        /// Viewers that the plan gives the stream.
        pub viewers: u32,
        /// Frames that the encoder emitted while at least one viewer was there.
        pub frames: u32,
        /// Frames that never arrived, summed over the viewers; `None`: nothing was captured at any of them.
        pub missing: Option<u64>,
        /// Frames left out on purpose when viewers were handed over, summed over the viewers.
        pub skipped: Option<u64>,
        /// The least of the viewers' [`SummaryRow::delay_p50_ms`].
        pub delay_p50_best_ms: Option<f64>,
        /// The median of the viewers' [`SummaryRow::delay_p50_ms`].
        pub delay_p50_median_ms: Option<f64>,
        /// The largest of the viewers' [`SummaryRow::delay_p50_ms`].
        pub delay_p50_worst_ms: Option<f64>,
        /// The least of the viewers' [`SummaryRow::delay_p95_ms`].
        pub delay_p95_best_ms: Option<f64>,
        /// The median of the viewers' [`SummaryRow::delay_p95_ms`].
        pub delay_p95_median_ms: Option<f64>,
        /// The largest of the viewers' [`SummaryRow::delay_p95_ms`].
        pub delay_p95_worst_ms: Option<f64>,
        /// Median of the viewers' [`SummaryRow::floor_p50_ms`].
        pub floor_p50_ms: Option<f64>,
        /// The largest of the viewers' [`SummaryRow::relay_bound_ms`].
        pub relay_bound_ms: Option<f64>,
        /// The largest of the viewers' [`SummaryRow::relay_bound_p95_ms`].
        pub relay_bound_p95_ms: Option<f64>,
        /// What one copy of the stream takes of an uplink, in bit/s ([`trace::Carriage`](crate::trace::Carriage));
        /// `None`, here and in the other bounds: not all viewers can reach each other.
        pub copy_bit_per_s: Option<f64>,
        /// The greatest rate at which all viewers can have a stream from the broadcaster and from each other; `None`
        /// too: nothing limits it.
        pub greatest_bit_per_s: Option<f64>,
        /// The most hosts that passed a frame on to any viewer, the CDN among them ([`FrameRow::hops`]).
        pub depth_max: Option<u32>,
        /// The least that this can be for the farthest viewer of a tree of whole copies; `None` too: there is no such
        /// tree.
        pub depth_bound: Option<u32>,
        /// Bytes from viewers / all bytes that came, 0 to 1.
        pub viewer_offload: Option<f64>,
        /// What that is if the broadcaster gives all the whole copies that its uplink has room for; where it gives
        /// fewer, viewers carry more.
        pub viewer_offload_bound: Option<f64>,
        /// Bytes from peers, the broadcaster among them, and copies of switches / all bytes that came, 0 to 1.
        pub peer_offload: Option<f64>,
        /// Bytes of all frames emitted; `None`: nothing was captured at any viewer.
        pub video_bytes: Option<u64>,
        /// Bytes of TCP payload that the CDN sent viewers, here and below those sent again too; `None`: nothing was
        /// captured at the CDN.
        pub server_egress_bytes: Option<u64>,
        /// Bytes that the broadcaster sent, to CDN and viewers; `None`: nothing was captured there, or a table was
        /// made without captures.
        pub broadcaster_bytes: Option<u64>,
        /// Bytes that everyone sent: broadcaster, CDN and viewers; `None`: not all of that was captured.
        pub sent_bytes: Option<u64>,
        /// server_egress_bytes / video_bytes: copies of the video that the CDN sent, a little more for sound and
        /// headers.
        pub cdn_copies: Option<f64>,
        /// broadcaster_bytes / video_bytes: copies of the video that the broadcaster sent, in the same way.
        pub broadcaster_copies: Option<f64>,
        /// sent_bytes / (video_bytes · viewers): what a byte of video at a viewer costs.
        pub sent_per_video: Option<f64>,
        /// Share of the processors' time that was not idle, 0 to 1, over the trial's seconds: the mean; `None`:
        /// nobody watched.
        pub cpu_mean: Option<f64>,
        /// The same in the busiest second.
        pub cpu_max: Option<f64>,
        /// The trial was stopped or broke before its end.
        pub partial: bool,
        /// The delays can be taken for the network's.
        pub fit: bool,
        /// Why it is partial or unfit; empty if it is neither.
        pub note: Note,
        added {
            /// The machine that the trial ran on; `None`: it is not recorded.
            pub node: Option<String>,
        }
    }

    /// A figure over the repetitions of a run: `estimates.csv`. See [`Sample`](super::Sample).
    #[derive(Debug, Clone, PartialEq)]
    pub struct EstimateRow {
        /// How video was delivered.
        pub scheme: Scheme,
        /// The values of the recipe's parameters; empty if it varies only the scheme.
        pub parameters: Parameters,
        /// The stream: its broadcaster's name.
        pub stream: String,
        /// The viewer's name.
        pub viewer: String,
        /// `delay_p50_ms`: a quantile of all frames; a column of the summary or of the playout table: its mean over
        /// the trials.
        pub metric: String,
        /// Trials that have it; those that are partial or unfit are not among them.
        pub trials: u32,
        /// Trials that are partial or unfit, and not counted.
        pub left_out: u32,
        /// The figure, in the unit that its name ends in.
        pub value: f64,
        /// Lower end of the 95 % confidence interval; `None`, here and below: a single trial.
        pub low_95: Option<f64>,
        /// Upper end of the 95 % confidence interval.
        pub high_95: Option<f64>,
    }

    /// What a model foretold of a figure against what was measured, at a point of a sweep that has both: `model.csv`. See
    /// [`models`](super::models).
    #[derive(Debug, Clone, PartialEq)]
    pub struct ModelRow {
        /// How video was delivered.
        pub scheme: Scheme,
        /// With which parameters, without that of the engine.
        pub parameters: Parameters,
        /// `delay_p50_ms`: a quantile of all frames of all viewers; others: the mean over trials of the mean over viewers.
        pub metric: String,
        /// Measured trials that have it.
        pub trials: u32,
        /// Measured trials that are partial or unfit, and not counted.
        pub left_out: u32,
        /// The trials counted are unfit, because there are no fit ones.
        pub unfit: bool,
        /// The measured figure, in the unit of its name.
        pub measured: f64,
        /// Where its 95 % confidence interval begins; `None`: a single trial.
        pub low_95: Option<f64>,
        /// Upper end of the 95 % confidence interval.
        pub high_95: Option<f64>,
        /// Predicted trials that have it.
        pub predictions: u32,
        /// The predicted figure.
        pub predicted: f64,
        /// predicted − measured.
        pub difference: f64,
        /// The difference is within what docs/prediction.md aims at; `None`: it has no aim for this figure.
        pub near: Option<bool>,
    }

    /// What another value of one parameter does to a figure, everything else being the same: `effects.csv`. See
    /// [`Effects`](super::Effects).
    #[derive(Debug, Clone, PartialEq)]
    pub struct EffectRow {
        /// In which scheme; `None`: it is the scheme that differs.
        pub scheme: Option<Scheme>,
        /// The parameter that differs: one of the recipe's, or `scheme`.
        pub parameter: String,
        /// Its value that others are compared with: the lowest, or the first.
        pub from: String,
        /// Its other value, which is compared with that.
        pub to: String,
        /// Of an interaction, here and below: the parameter on whose value the effect may depend; `None`: the row is
        /// an effect.
        pub given: Option<String>,
        /// The value of `given` that others are compared with.
        pub given_from: Option<String>,
        /// The other value of `given`.
        pub given_to: Option<String>,
        /// The figure, as in the summary; a trial's is the mean over its viewers.
        pub metric: String,
        /// Sets of the other parameters' values for which there are pairs; all weigh the same.
        pub points: u32,
        /// Repetitions for which there are pairs.
        pub repetitions: u32,
        /// Pairs of trials with the same repetition and seed; of an interaction, pairs of pairs.
        pub pairs: u32,
        /// The figure at `from`, the mean over points; of an interaction the effect at `given_from`.
        pub from_ms: f64,
        /// The figure at `to`, the mean over points; of an interaction the effect at `given_to`.
        pub to_ms: f64,
        /// The effect, or the interaction: to_ms − from_ms.
        pub difference_ms: f64,
        /// Lower end of the 95 % confidence interval; `None`, here and below: too few repetitions.
        pub low_95: Option<f64>,
        /// Upper end of the 95 % confidence interval.
        pub high_95: Option<f64>,
        /// The geometric mean of the figure at `to` / the figure at `from`; `None`, here and below: an interaction,
        /// or one of the figures is not positive.
        pub ratio: Option<f64>,
        /// Lower end of the ratio's 95 % confidence interval.
        pub ratio_low_95: Option<f64>,
        /// Upper end of the ratio's 95 % confidence interval.
        pub ratio_high_95: Option<f64>,
        /// The difference can be told from chance: effects if their interval leaves 0 out, interactions if one would
        /// that holds for all of them together.
        pub real: Option<bool>,
        /// It rests on unfit trials, since there are no pairs of fit ones.
        pub unfit: bool,
    }
}

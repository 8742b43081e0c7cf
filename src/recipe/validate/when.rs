//! When things happen.

use std::time::Duration;

use super::super::file::{BroadcastFile, PingsFile, TimelineFile, VideoFile, ViewFile};
use super::super::problem::Finding;
use super::super::text::{Optional, Text};
use super::super::unit::Moment;
use super::{Notes, out_of_bounds};
use crate::plan::delivery::pairs;
use crate::plan::{Network, PingTrain, Stream, Timeline, Video};

/// Encoders start then, if the recipe does not say.
pub(super) const DEFAULT_BROADCAST_AT: Moment = Moment(Duration::from_secs(5));
/// Players start then: long enough before the broadcasters to be waiting for them.
const DEFAULT_VIEW_AT: Moment = Moment(Duration::from_secs(3));
/// From the stream's end to the trial's, if the recipe does not say.
const TAIL: Duration = Duration::from_secs(5);
const DEFAULT_DRAIN: Moment = Moment(Duration::from_secs(30));
const DEFAULT_PING_INTERVAL: Moment = Moment(Duration::from_secs(1));
/// iputils' ping wants root for shorter ones, and below this the pings are traffic themselves.
const PING_INTERVALS: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);
/// The latest moment of a timeline.
const LATEST: Duration = Duration::from_secs(24 * 3600);

/// The timeline, and when there are pings.
pub(super) struct When {
    pub timeline: Timeline,
    ping_from: Duration,
    ping_every: Duration,
    ping_count: u32,
}

/// Reads the timeline. `video`: `None` if something is wrong with it; `video_file`: as it is written.
pub(super) fn validate_timeline(
    written: Option<&TimelineFile>,
    video: Option<&Video>,
    video_file: Option<&VideoFile>,
    notes: &mut Notes<'_>,
) -> Option<When> {
    let defaults = (TimelineFile::default(), PingsFile::default(), BroadcastFile::default(), ViewFile::default());
    let written = written.unwrap_or(&defaults.0);
    let pings = written.pings.get().unwrap_or(&defaults.1);
    let broadcast = written.broadcast.get().unwrap_or(&defaults.2);
    let view = written.view.get().unwrap_or(&defaults.3);

    let broadcast_at = moment("at", &broadcast.at, notes).map(|m| m.unwrap_or(DEFAULT_BROADCAST_AT).0);
    let broadcast_until = moment("until", &broadcast.until, notes);
    let view_at = moment("at", &view.at, notes).map(|m| m.unwrap_or(DEFAULT_VIEW_AT).0);
    let view_every = moment("every", &view.every, notes).map(|m| m.map_or(Duration::ZERO, |m| m.0));
    let end = moment("end", &written.end, notes);
    let drain = moment("drain", &written.drain, notes).map(|m| m.unwrap_or(DEFAULT_DRAIN).0);
    let ping_from = moment("from", &pings.from, notes).map(|m| m.map_or(Duration::ZERO, |m| m.0));
    let ping_until = moment("until", &pings.until, notes);
    let ping_every = validate_interval(&pings.every, notes);

    let (broadcast_at, _, video) = (broadcast_at?, broadcast_until?, video?);
    let stream_end = broadcast_at + video.duration();
    let ping_until = ping_until?;
    let (end, view_at, view_every) = (end?, view_at?, view_every?);
    let end = end.map_or_else(|| (stream_end + TAIL).max(ping_until.map_or(Duration::ZERO, |m| m.0)), |m| m.0);
    let (drain, ping_from, ping_every) = (drain?, ping_from?, ping_every?);
    let ping_until = ping_until.map_or(end, |m| m.0);

    let before = notes.errors.len();
    if stream_end > LATEST {
        let frames = video_file.and_then(|video| video.frames.get()).map(|text| &text.span);
        let span = frames.or(broadcast.at.get().map(|text| &text.span)).cloned().unwrap_or(0..0);
        let message = format!("timeline: the stream goes on until {}", Moment(stream_end));
        notes.error(Finding::new(&span, message, "too long").help("the timeline is 24 hours long at most"));
    }
    check_order(written, (broadcast_at, view_at), (stream_end, end), notes);
    check_pings(pings, ping_from, ping_until, end, notes);
    if notes.errors.len() > before {
        return None;
    }
    let ping_count = (ping_until - ping_from).as_nanos().div_ceil(ping_every.as_nanos());
    Some(When {
        timeline: Timeline { broadcast_at, view_at, view_every, end, drain },
        ping_from,
        ping_every,
        // A day of 10 ms is 8.6 million.
        ping_count: ping_count as u32,
    })
}

/// A moment within bounds, if one is written. Outer `None`: it is wrong.
pub(super) fn moment(key: &str, text: &Optional<Text<Moment>>, notes: &mut Notes<'_>) -> Option<Option<Moment>> {
    match text.get() {
        Some(text) => written_moment(key, text, notes).map(Some),
        None => Some(None),
    }
}

/// A moment within bounds. `None`: it is wrong.
pub(super) fn written_moment(key: &str, text: &Text<Moment>, notes: &mut Notes<'_>) -> Option<Moment> {
    let moment = notes.read(key, text)?;
    if moment.0 > LATEST {
        notes.error(out_of_bounds(key, &text.text, &text.span, "24 hours (1440 min) at most"));
        return None;
    }
    Some(moment)
}

fn validate_interval(text: &Optional<Text<Moment>>, notes: &mut Notes<'_>) -> Option<Duration> {
    let Moment(every) = notes.read_or("every", text, DEFAULT_PING_INTERVAL)?;
    match text.get() {
        Some(text) if !PING_INTERVALS.contains(&every) => {
            let bounds = format!("{} to {}", Moment(*PING_INTERVALS.start()), Moment(*PING_INTERVALS.end()));
            notes.error(out_of_bounds("every", &text.text, &text.span, &bounds));
            None
        }
        _ => Some(every),
    }
}

/// The stream must begin and be seen before the trial ends.
fn check_order(
    written: &TimelineFile,
    (broadcast_at, view_at): (Duration, Duration),
    (stream_end, end): (Duration, Duration),
    notes: &mut Notes<'_>,
) {
    let (said_end, said_stream_end) = (Moment(end), Moment(stream_end));
    if let Some(text) = written.view.get().and_then(|v| v.at.get())
        && view_at >= stream_end
    {
        let message =
            format!("at: viewers start at {}, when the stream is over ({said_stream_end})", Moment(view_at));
        notes.error(Finding::new(&text.span, message, "too late").help("let viewers start earlier, or add frames"));
        return;
    }
    let Some(text) = written.end.get() else { return };
    for (what, start) in [("broadcasters", broadcast_at), ("viewers", view_at)] {
        if end <= start {
            let message = format!("end: the trial ends at {said_end}, before {what} start ({})", Moment(start));
            let help = format!("the stream is over at {said_stream_end}; write a later end, or leave it out");
            notes.error(Finding::new(&text.span, message, "too early").help(help));
            return;
        }
    }
    if end < stream_end {
        let message = format!("end: the trial ends at {said_end}, before the stream does ({said_stream_end})");
        let finding = Finding::new(&text.span, message, "frames after this moment may be cut off");
        notes.warn(finding.help("write a later end, or fewer frames"));
    }
}

fn check_pings(pings: &PingsFile, from: Duration, until: Duration, end: Duration, notes: &mut Notes<'_>) {
    if let Some(text) = pings.until.get()
        && until > end
    {
        let message = format!("until: pings until {} go on after the trial's end ({})", Moment(until), Moment(end));
        notes.error(Finding::new(&text.span, message, "too late").help("write a later `end` or an earlier `until`"));
    }
    if from > until {
        let Some(text) = pings.from.get().or(pings.until.get()) else { return };
        let message = format!("from: pings start at {}, after they stop ({})", Moment(from), Moment(until));
        notes.error(Finding::new(&text.span, message, "too late").help("`from` is the earlier moment"));
    }
}

impl When {
    /// The last of so many viewers must come before the stream is over, and before the trial is.
    pub(super) fn check_last_view(
        &self,
        written: Option<&TimelineFile>,
        viewers: usize,
        video: &Video,
        notes: &mut Notes<'_>,
    ) {
        let Some(text) = written.and_then(|w| w.view.get()).and_then(|v| v.every.get()) else { return };
        let last = self.timeline.view_at(viewers.saturating_sub(1));
        let stream_end = self.timeline.broadcast_at + video.duration();
        if last >= stream_end.min(self.timeline.end) {
            let message = format!(
                "every: the last of {viewers} viewers starts at {}, when the stream is over ({})",
                Moment(last),
                Moment(stream_end.min(self.timeline.end))
            );
            let help = "let viewers follow each other faster, or add frames";
            notes.error(Finding::new(&text.span, message, "too late").help(help));
        }
    }

    /// The ping trains of the original experiment: broadcaster to CDN and CDN to viewer, which together are the way
    /// through the CDN, and broadcaster to viewer, the way between peers. Only between hosts of one subnet.
    pub(super) fn ping_trains(&self, network: &Network, streams: &[Stream]) -> Vec<PingTrain> {
        let Some(cdn) = network.cdn().filter(|_| self.ping_count > 0) else { return Vec::new() };
        // All of one kind follow each other, in the order of the streams.
        let pairs = || streams.iter().flat_map(|stream| pairs(&cdn.name, stream));
        let to_cdn = pairs().filter(|(_, to)| *to == cdn.name);
        let to_viewers = pairs().filter(|(from, _)| *from == cdn.name);
        let to_peers = pairs().filter(|(from, to)| *from != cdn.name && *to != cdn.name);
        to_cdn
            .chain(to_viewers)
            .chain(to_peers)
            .filter_map(|(from, to)| {
                Some(PingTrain {
                    from: from.to_owned(),
                    to: to.to_owned(),
                    address: network.address_from(from, to)?,
                    start: self.ping_from,
                    interval: self.ping_every,
                    count: self.ping_count,
                })
            })
            .collect()
    }
}

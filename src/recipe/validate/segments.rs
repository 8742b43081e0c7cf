//! The CDN's settings, and what its segments ask of a recipe.

use std::time::Duration;

use super::super::file::{CdnFile, RecipeFile};
use super::super::problem::Finding;
use super::super::text::Span;
use super::super::unit::Moment;
use super::super::word::{Flag, shown};
use super::hosts::HostDraft;
use super::{Notes, out_of_bounds};
use crate::plan::{Cdn, Codec, Player, Role, Scheme, Video};

/// nginx-rtmp counts in milliseconds; from half a minute on nobody would call it live.
const SEGMENTS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30);

/// Reads the section.
pub(super) fn validate_cdn(written: Option<&CdnFile>, notes: &mut Notes<'_>) -> Option<Cdn> {
    let (default, usual) = (CdnFile::default(), Cdn::default());
    let written = written.unwrap_or(&default);
    // Not what nginx does by itself.
    let nodelay = notes.read_or("nodelay", &written.nodelay, Flag(true));
    let segment = notes.read_or("segment", &written.segment, Moment(usual.segment));
    if let (Some(text), Some(Moment(length))) = (written.segment.get(), segment)
        && !SEGMENTS.contains(&length)
    {
        let bounds = format!("{} to {}", Moment(*SEGMENTS.start()), Moment(*SEGMENTS.end()));
        notes.error(out_of_bounds("segment", &text.text, &text.span, &bounds));
        return None;
    }
    Some(Cdn { nodelay: nodelay?.0, segment: segment?.0 })
}

/// What a video and players must be for the scheme that makes segments.
pub(super) fn check_segments(
    file: &RecipeFile,
    (schemes, video, cdn): (&[Scheme], &Video, Cdn),
    hosts: &[HostDraft<'_>],
    notes: &mut Notes<'_>,
) {
    let Some(scheme) = schemes.iter().find(|scheme| scheme.is_segmented()) else { return };
    let name = scheme.name();
    let listed = file.schemes.get().into_iter().flat_map(|list| &list.value);
    // A matrix may have it, too.
    let at: Span = listed.into_iter().find(|text| text.text == name).map_or(0..0, |text| text.span.clone());
    let written = file.video.get();
    if video.codec != Codec::H264 {
        let codec = written.and_then(|video| video.codec.get());
        let finding =
            Finding::new(&at, format!("schemes: {name} needs H.264; its segments carry no flv1"), "this scheme");
        let finding = match codec {
            Some(codec) => finding.also(&codec.span, "the codec"),
            None => finding,
        };
        notes.error(finding.help("write `video: { codec: h264 }`"));
    }
    let keyframes = Duration::from_secs_f64(f64::from(video.keyframe_interval) / f64::from(video.fps.max(1)));
    // A segment ends with the first keyframe after its length. nginx-rtmp compares in milliseconds.
    if keyframes > cdn.segment {
        let text = written.and_then(|video| video.keyframe_every.get());
        let message = format!(
            "keyframe_every: a keyframe each {:.1} s makes segments that long, and not of {}: they begin with a keyframe",
            keyframes.as_secs_f64(),
            Moment(cdn.segment)
        );
        let span = text.map_or(&at, |text| &text.span);
        notes.warn(Finding::new(span, message, "longer than a segment").help("write a smaller `keyframe_every`"));
    }
    for host in hosts.iter().filter(|host| host.first && host.role == Role::Viewer) {
        let why = match host.player {
            Player::Rtmpdump => "plays RTMP alone, not the files",
            Player::MplayerWindow => "cannot open the segments",
            _ => continue,
        };
        let (player, host) = (host.player.name(), (shown(&host.group), &host.span));
        let message = format!("player: {player} of {} {why} of scheme {name}", host.0);
        let finding = Finding::new(host.1, message, "this viewer");
        notes.error(finding.help("write `player: ffplay` or `player: mpv`, or leave it out"));
    }
}

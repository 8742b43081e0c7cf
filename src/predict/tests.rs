#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::store::{TrialDir, TrialRecord};
use crate::table::{self, Analysis, FrameRow, Observed};
use livectl_wire::birth::Register;
use livectl_wire::flv::TagKind;

/// One broadcaster, a CDN and three viewers on a switch, with 200 kbit/s of video.
fn trials(change: impl Fn(String) -> String) -> Vec<Trial> {
    let text = "
schemes: [direct, bypass, relay, multicast]
video: { size: 160x90, frames: 90, fps: 30, bitrate: 200 kbit/s, keyframe_every: 30 }
network:
  switches: [s1]
  hosts:
    hb: { role: broadcaster, link: { to: s1, bandwidth: 1 Mbit/s, delay: 5 ms } }
    hs: { role: cdn, link: { to: s1, bandwidth: 4 Mbit/s, delay: 20 ms } }
    hv: { role: viewer, count: 3, link: { to: s1, bandwidth: 500 kbit/s, delay: 5 ms } }
timeline: { view: { at: 1 s }, broadcast: { at: 3 s }, end: 12 s, drain: 20 s }
";
    crate::recipe::from_str("few.yaml", &change(text.to_owned())).unwrap().plan.trials
}

pub(super) fn trial(scheme: Scheme, change: impl Fn(String) -> String) -> Trial {
    trials(change).into_iter().find(|trial| trial.point.scheme == scheme).unwrap()
}

/// Frames of 800 bytes, keyframes of 4000, on the grid of 30 a second.
pub(super) fn births(trial: &Trial) -> Vec<Births> {
    let of_stream = |stream: &crate::plan::Stream| {
        let first = i64::try_from(first_birth(trial, &stream.broadcaster)).unwrap();
        let mut register = Register::default();
        let mut births = Births::default();
        births.others.push(register.birth(TagKind::Script, 0, b"\x02\x00\x0aonMetaData", first));
        for frame in 0..trial.video.frames {
            let is_key = frame % trial.video.keyframe_interval == 0;
            let mut payload = vec![if is_key { 0x12 } else { 0x22 }; if is_key { 4000 } else { 800 }];
            payload[1..5].copy_from_slice(&frame.to_be_bytes());
            let at = first + i64::from(frame) * 1_000_000_000 / i64::from(trial.video.fps);
            births.frames.push(register.birth(TagKind::Video, frame * 1000 / trial.video.fps, &payload, at));
        }
        births
    };
    trial.streams.iter().map(of_stream).collect()
}

pub(super) fn tables(trial: &Trial) -> Analysis {
    let prediction = predict(trial, &births(trial), 0).unwrap();
    let observed = Observed {
        trace: prediction.trace,
        told: prediction.told,
        pings: Vec::new(),
        problems: Vec::new(),
        damage: Vec::new(),
    };
    let record = TrialRecord { zero_ns: Some(0), ..TrialRecord::planned(trial) };
    let scratch = tempfile::tempdir().unwrap();
    table::tabulate(&TrialDir::at(scratch.path()), observed, &record, Some(LINKS))
}

fn same(text: String) -> String {
    text
}

#[test]
fn no_frame_is_ahead_of_what_the_network_allows_and_its_parts_add_up() {
    for scheme in [Scheme::Direct, Scheme::Bypass, Scheme::Relay, Scheme::Multicast] {
        let trial = trial(scheme, same);
        let Analysis { frames, summary, doubts, .. } = tables(&trial);
        assert_eq!((frames.len(), summary.len(), doubts.len()), (270, 3, 0), "{scheme}");
        for FrameRow {
            viewer,
            index,
            delay_ms,
            excess_ms,
            queue_ms,
            uplink_ms,
            dwell_ms,
            downlink_ms,
            transfer_ms,
            relay_ms,
            ..
        } in &frames
        {
            assert!(excess_ms.unwrap() >= 0.0, "{scheme} {viewer} {index}");
            let parts = [queue_ms, uplink_ms, dwell_ms, downlink_ms, transfer_ms, relay_ms];
            let sum: f64 = parts.into_iter().flatten().sum();
            assert!((sum - delay_ms.unwrap()).abs() < 1e-6, "{scheme} {viewer} {index}: {sum} of {delay_ms:?}");
        }
        assert!(summary.iter().all(|row| row.missing == Some(0)), "{scheme}: {summary:#?}");
    }
}

/// By hand: 800 bytes of payload are one packet of 881 bytes, 7.05 ms at 1 Mbit/s and 14.1 ms at 500 kbit/s, and 10 ms of delay.
#[test]
fn a_frame_of_one_packet_to_the_only_viewer_takes_what_its_links_take() {
    let trial = trial(Scheme::Relay, |text| text.replace("count: 3", "count: 1"));
    let frames = tables(&trial).frames;
    let of_one_packet =
        frames.iter().filter(|frame| frame.size_bytes == 800 && frame.index > 40 && frame.index % 30 > 10);
    let mut delays: Vec<f64> = of_one_packet.filter_map(|frame| frame.delay_ms).collect();
    delays.sort_by(f64::total_cmp);
    let by_hand = 10.0 + 881.0 * 8.0 / 1e3 + 881.0 * 8.0 / 500.0;
    assert!((delays[0] - by_hand - 0.35).abs() < 0.01, "{} beside {by_hand} and what the switch takes", delays[0]);
}

#[test]
fn relay_follows_the_tree_of_the_policy() {
    // The broadcaster's uplink carries four copies of 212 kbit/s beside headroom, one of them the CDN's; a viewer's carries two.
    let trial = trial(Scheme::Relay, |text| text.replace("count: 3", "count: 12"));
    let Analysis { summary, audience, .. } = tables(&trial);
    assert!(summary.iter().all(|row| row.missing == Some(0) && row.peer_offload == Some(1.0)), "{summary:#?}");
    assert_eq!(
        audience[0].depth_max,
        Some(2),
        "3 + 6 of 12 have it from the broadcaster or over one viewer, the rest over two"
    );
    let carried = audience[0].viewer_offload.unwrap();
    assert!((carried - 9.0 / 12.0).abs() < 0.01, "all but the broadcaster's three: {carried}");
}

#[test]
fn the_same_seed_gives_the_same_course_and_another_one_other_losses() {
    let lossy = |text: String| text.replace("500 kbit/s, delay: 5 ms }", "500 kbit/s, delay: 5 ms, loss: 2 % }");
    let trial = trial(Scheme::Direct, lossy);
    let [first, again] = [0, 1].map(|_| tables(&trial));
    assert_eq!(first.frames, again.frames);
    // A word that was lost on the way to the CDN may make a viewer come late.
    assert!(
        first.summary.iter().all(|row| row.missing == row.missing_start),
        "TCP sends again: {:#?}",
        first.summary
    );
    assert!(first.summary.iter().any(|row| row.retransmission_rate.unwrap() > 0.0));
    let other = tables(&Trial { seed: trial.seed + 1, ..trial });
    assert_ne!(first.frames, other.frames);
}

#[test]
fn what_datagrams_lose_is_missing() {
    let lossy = |text: String| text.replace("500 kbit/s, delay: 5 ms }", "500 kbit/s, delay: 5 ms, loss: 5 % }");
    let summary = tables(&trial(Scheme::Multicast, lossy)).summary;
    let missing: u32 = summary.iter().map(|row| row.missing.unwrap() - row.missing_start.unwrap()).sum();
    // One packet a frame: 5 % of 270 each way at most, and four times that for a keyframe.
    assert!((4..40).contains(&missing), "{missing}");
}

#[test]
fn who_loses_its_parent_goes_on_with_another() {
    for (how, within_ms) in [("leave", 400.0), ("crash", 900.0)] {
        let parting = format!("timeline: {{ audience: [{{ at: 4500 ms, {how}: hv1 }}], ");
        let trial = trial(Scheme::Relay, |text| {
            text.replace("timeline: {", &parting).replace("count: 3", "count: 8").replace("frames: 90", "frames: 150")
        });
        let Analysis { reattachments, summary, .. } = tables(&trial);
        let after: Vec<f64> = reattachments.iter().filter_map(|row| row.ms).collect();
        assert!(!after.is_empty() && after.iter().all(|ms| *ms < within_ms), "{how}: {reattachments:#?}");
        let stayed = summary.iter().filter(|row| row.viewer != "hv1");
        assert!(
            stayed.clone().count() == 7 && stayed.into_iter().all(|row| row.missing == Some(0)),
            "{how}: {summary:#?}"
        );
    }
}

#[test]
fn who_comes_late_begins_with_the_keyframe_before() {
    let trial = trial(Scheme::Relay, |text| {
        text.replace("timeline: {", "timeline: { audience: [{ at: 4600 ms, join: hv3 }], ")
            .replace("frames: 90", "frames: 150")
    });
    let frames = tables(&trial).frames;
    let first = frames.iter().find(|frame| frame.viewer == "hv3" && frame.arrival_ns.is_some()).unwrap();
    assert!(first.birth_ns > 4_600_000_000, "what was born before it came is not owed: {first:?}");
    assert!(
        frames.iter().filter(|frame| frame.viewer == "hv3").all(|frame| frame.via.is_some()),
        "all of the rest came"
    );
}

#[test]
fn what_the_model_does_not_hold_is_said() {
    let refused =
        |scheme, change: &dyn Fn(String) -> String| holds(&trial(scheme, change), false).unwrap_err().to_string();
    let screens = |text: String| text.replace("role: viewer,", "role: viewer, player: ffplay,");
    assert!(refused(Scheme::Direct, &screens).contains("hv1: what its player holds back"));
    let hls = |text: String| {
        text.replace("multicast]", "hls]").replace("keyframe_every: 30", "keyframe_every: 30, codec: h264")
    };
    assert!(refused(Scheme::Hls, &hls).contains("scheme hls is not in the model"));
    let bbr = |text: String| text.replace("network:", "network:\n  congestion_control: bbr");
    assert!(refused(Scheme::Direct, &bbr).contains("bbr"));
    let recipe = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/cellular.yaml");
    let cellular = crate::recipe::load(&recipe).unwrap().plan.trials;
    for trial in &cellular {
        let expected = if trial.point.scheme == Scheme::Relay { Err(Unpredictable::Changes) } else { Ok(()) };
        assert_eq!(holds(trial, false), expected, "{}", trial.id);
    }
    let restless = |text: String| {
        text.replace(
            "timeline: {",
            "timeline: { churn: { stay: 5 s, away: 5 s, crash: 0 %, from: 4 s, until: 6 s }, ",
        )
    };
    assert!(refused(Scheme::Relay, &restless).contains("stays of 5s"));
    assert_eq!(holds(&trial(Scheme::Direct, restless), false), Ok(()));
    let program = |text: String| {
        text.replace("role: broadcaster,", "role: broadcaster, program: obs,").replace("30 }", "30, codec: h264 }")
    };
    let obs = trial(Scheme::Direct, program);
    assert!(holds(&obs, false).unwrap_err().to_string().contains("--births RUN"));
    assert_eq!(holds(&obs, true), Ok(()), "its frames are known from a run");
}

#[test]
fn births_of_another_run_are_refused() {
    let trial = trial(Scheme::Direct, same);
    let mut births = births(&trial);
    births[0].frames.remove(3);
    assert_eq!(predict(&trial, &births, 0).unwrap_err(), Unpredictable::Births("hb".into()));
    let before = predict(&trial, &self::births(&trial), 1_000_000_000_000).unwrap_err();
    assert_eq!(before, Unpredictable::Births("hb".into()), "born before the trial");
}

#[test]
fn the_encoder_gives_as_many_frames_as_planned() {
    let trial = trial(Scheme::Direct, same);
    let made = births::encode(&trial.video, 500).unwrap();
    assert_eq!(made.frames.len(), 90);
    assert_eq!(made.frames.iter().filter(|frame| frame.keyframe).count(), 3);
    assert_eq!(made.frames[0].birth_ns, 500);
    // Those that were due while ffmpeg made ready are born with the first.
    assert_eq!((made.frames[2].birth_ns, made.frames[30].birth_ns), (500, 909_000_500));
    let bits: u64 = made.frames.iter().map(|frame| u64::from(frame.size) * 8).sum();
    assert!((150_000..250_000).contains(&(bits / 3)), "{bits} bits in 3 s");
}

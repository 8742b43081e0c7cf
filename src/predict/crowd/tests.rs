#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::super::tests::{births, tables, trial};
use super::*;
use crate::store::{TrialDir, TrialRecord};
use crate::table::{self, Observed};

/// A recipe's trial for so many viewers.
fn crowd(scheme: Scheme, viewers: usize, change: impl Fn(String) -> String) -> (Trial, Crowd) {
    let trial = scaled(&trial(scheme, change), viewers);
    holds(&trial, false, viewers).unwrap();
    let crowd = predict(&trial, &births(&trial)[0], 0, viewers).unwrap();
    (trial, crowd)
}

fn churning(text: String) -> String {
    // Uplinks that are not full, so that who has lost something catches up.
    text.replace("bandwidth: 500 kbit/s", "bandwidth: 1 Mbit/s")
        .replace("frames: 90", "frames: 900")
        .replace("end: 12 s", "churn: { stay: 20 s, away: 3 s, crash: 50 %, from: 4 s, until: 30 s }, end: 42 s")
}

fn same(text: String) -> String {
    text
}

/// By hand: 800 bytes of payload are one packet of 881 bytes, 7.05 ms at 1 Mbit/s and 14.1 ms at 500 kbit/s, and 10 ms of delay.
#[test]
fn a_frame_of_one_packet_to_the_only_viewer_takes_what_its_links_take() {
    let (trial, crowd) = crowd(Scheme::Relay, 1, same);
    let by_hand = 10.0 + 881.0 * 8.0 / 1e3 + 881.0 * 8.0 / 500.0 + 0.35;
    let p50 = crowd.figures.delay.p50.unwrap();
    // Packets of the upload go between its own.
    assert!((by_hand - 0.001..by_hand + 1.0).contains(&p50), "{p50} beside {by_hand}");
    assert_eq!((trial.streams[0].viewers.len(), crowd.figures.owed, crowd.figures.missing), (1, 90, 0));
}

#[test]
fn as_many_as_in_the_recipe_have_what_the_packets_have() {
    let long = |text: String| text.replace("frames: 90", "frames: 600").replace("end: 12 s", "end: 30 s");
    for scheme in [Scheme::Direct, Scheme::Bypass, Scheme::Relay, Scheme::Multicast] {
        let by_packet = {
            let trial = trial(scheme, long);
            let prediction = super::super::predict(&trial, &births(&trial), 0).unwrap();
            let frames = prediction.trace.viewers.iter().flat_map(|viewer| &viewer.frames);
            let mut delays: Vec<f64> =
                frames.map(|frame| (frame.arrival.unwrap().time_ns - frame.birth_ns) as f64 / 1e6).collect();
            delays.sort_by(f64::total_cmp);
            [0.5, 0.95].map(|p| table::quantile(&delays, p).unwrap())
        };
        let (_, Crowd { figures, .. }) = crowd(scheme, 3, long);
        let by_frame = [figures.delay.p50.unwrap(), figures.delay.p95.unwrap()];
        assert_eq!((figures.missing, figures.owed), (0, 1800), "{scheme}");
        // In a crowd's model the group is there from the first frame on; trials begin through the CDN.
        let alike = if scheme == Scheme::Multicast { 1 } else { 2 };
        for (frame, packet) in by_frame.into_iter().zip(by_packet).take(alike) {
            assert!((frame - packet).abs() <= 0.05 * packet + 2.0, "{scheme}: {by_frame:?} beside {by_packet:?}");
        }
    }
}

#[test]
fn those_whom_the_plan_names_stand_for_all() {
    let (_, few) = crowd(Scheme::Relay, 2, same);
    assert_eq!(few.trace.viewers.iter().map(|viewer| viewer.viewer.as_str()).collect::<Vec<_>>(), ["hv1", "hv2"]);
    let (trial, many) = crowd(Scheme::Relay, 1000, same);
    let Figures { viewers, frames, owed, missing, .. } = many.figures;
    assert_eq!((viewers, frames, owed, missing), (1000, 90, 90_000, 0));
    assert!(many.figures.depth_max >= 9, "two copies each: {}", many.figures.depth_max);
    assert!(many.figures.delay.max >= many.figures.delay.p95 && many.figures.delay.p95 >= many.figures.delay.p50);
    assert!(many.figures.excess.p50.unwrap() > 0.0 && many.figures.from_viewers.unwrap() > 0.99);
    // The tables of the three that are named are made by what makes those of a measured trial.
    let record = TrialRecord { zero_ns: Some(0), ..TrialRecord::planned(&trial) };
    let scratch = tempfile::tempdir().unwrap();
    let observed =
        Observed { trace: many.trace, told: many.told, pings: Vec::new(), problems: Vec::new(), damage: Vec::new() };
    let mut analysis = table::tabulate(&TrialDir::at(scratch.path()), observed, &record, Some(super::super::LINKS));
    enter(&trial, &many.figures, &births(&trial)[0], &mut analysis);
    assert_eq!((analysis.frames.len(), analysis.summary.len(), analysis.doubts.len()), (270, 3, 0));
    assert!(analysis.frames.iter().all(|frame| frame.excess_ms.unwrap() >= 0.0));
    let row = &analysis.crowds[0];
    let (bound, depth) = (row.relay_bound_ms.unwrap(), row.depth_bound.unwrap());
    assert!(row.viewer_p50_worst_ms.unwrap() > 0.8 * bound && row.depth_max >= depth, "{row:#?}");
    assert!(row.viewer_offload.unwrap() <= row.viewer_offload_bound.unwrap() + 0.005, "{row:#?}");
    assert_eq!(analysis.audience[0].viewers, 1000);
}

#[test]
fn who_loses_a_parent_finds_the_stream_again() {
    let (trial, crowd) = crowd(Scheme::Relay, 500, churning);
    let figures = &crowd.figures;
    assert!(figures.reattach.count > 100, "{}", figures.reattach.count);
    assert!(figures.reattach_crash.count > 20 && figures.reattach_crash.p50 > figures.reattach.p50);
    // The silence is noticed after 0.3 s, and a standby has the stream; its uplink is full, so that what is lacking takes its time.
    assert!(figures.reattach_crash.p50.unwrap() < 1000.0, "{:?}", figures.reattach_crash);
    assert!(figures.missing * 100 < figures.owed && figures.uncovered * 10 < figures.owed, "{figures:#?}");
    assert_eq!(trial.crowd, Some(500));
}

#[test]
fn the_cdn_is_a_host_that_passes_frames_on() {
    for (scheme, most) in [(Scheme::Direct, 1), (Scheme::Multicast, 0), (Scheme::Bypass, 0)] {
        let trial = trial(scheme, same);
        let by_packet = tables(&trial).audience;
        let (_, crowd) = crowd(scheme, 3, same);
        // The first frames of a measured or packet-by-packet trial come through the CDN in every scheme.
        assert_eq!(by_packet[0].depth_max, Some(1), "{scheme}");
        assert_eq!(crowd.figures.passed_on_most, most, "{scheme}");
        let others = by_packet[0].peer_offload.unwrap();
        assert!(
            (others - crowd.figures.from_peers.unwrap()).abs() < 0.15,
            "{scheme}: {others} {:?}",
            crowd.figures.from_peers
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_and_another_one_another() {
    let with = |seed: u64| {
        let mut trial = scaled(
            &trial(Scheme::Relay, |text| {
                churning(text).replace("delay: 5 ms }", "delay: 5 ms, jitter: 2 ms, loss: 1% }")
            }),
            200,
        );
        trial.seed = seed;
        predict(&trial, &births(&trial)[0], 0, 200).unwrap().figures
    };
    assert_eq!(with(1), with(1));
    assert_ne!(with(1).delay, with(2).delay);
}

#[test]
fn what_a_crowd_cannot_be_is_said() {
    let told = |trial: &Trial, viewers| holds(trial, false, viewers).unwrap_err().to_string();
    let plain = trial(Scheme::Relay, same);
    assert_eq!(told(&plain, 0), "0 viewers: a crowd has 1 to 1000000");
    assert_eq!(told(&plain, 1_000_001), "1000001 viewers: a crowd has 1 to 1000000");
    let long =
        trial(Scheme::Relay, |text| text.replace("frames: 90", "frames: 1800").replace("end: 12 s", "end: 80 s"));
    assert!(told(&long, 1_000_000).contains("all are kept in memory"));
}

#[test]
fn no_frame_is_ahead_of_what_the_network_allows() {
    let faster = |text: String| {
        text.replace("bandwidth: 1 Mbit/s", "bandwidth: 1200 kbit/s").replace("500 kbit/s", "1600 kbit/s")
    };
    for scheme in [Scheme::Direct, Scheme::Bypass, Scheme::Relay, Scheme::Multicast] {
        for viewers in [1, 3, 50] {
            let (_, Crowd { trace, .. }) = crowd(scheme, viewers, faster);
            for frame in trace.viewers.iter().flat_map(|viewer| &viewer.frames) {
                let delay = Duration::from_nanos((frame.arrival.unwrap().time_ns - frame.birth_ns) as u64);
                assert!(delay >= frame.floor.unwrap(), "{scheme} {viewers}: {delay:?} of {:?}", frame.floor);
            }
        }
    }
}

#[test]
fn what_the_broadcasters_link_loses_of_a_multicast_all_miss() {
    let losing = |text: String| text.replace("delay: 5 ms } }\n    hs", "delay: 5 ms, loss: 10 % } }\n    hs");
    let (_, Crowd { trace, figures, .. }) = crowd(Scheme::Multicast, 100, losing);
    let missing = |viewer: &ViewerTrace| -> Vec<u64> {
        viewer.frames.iter().filter(|frame| frame.arrival.is_none()).map(|frame| frame.index).collect()
    };
    let first = missing(&trace.viewers[0]);
    assert!(!first.is_empty() && trace.viewers.iter().all(|viewer| missing(viewer) == first), "{first:?}");
    assert_eq!(figures.missing, 100 * first.len() as u64);
}

//! What a prediction costs, before it is made: so that a sweep can say how long it takes.

use std::time::Duration;

use crate::plan::Trial;

/// Seconds for whatever is predicted.
const TRIAL_S: f64 = 0.02;
/// Seconds for a packet on its way to a viewer, on one processor: 32 viewers and a minute of stream take some seconds.
const PACKET_S: f64 = 20e-6;
/// Seconds for a frame's row in the tables of a viewer.
const ROW_S: f64 = 10e-6;
/// Bytes of payload in a full packet.
const PAYLOAD: f64 = 1448.0;
/// Bytes that a frame's row of a viewer takes in the tables, and a frame's line among the births.
const ROW_BYTES: u64 = 20;
const BIRTH_BYTES: u64 = 60;
/// Plan and small tables.
const FILES: u64 = 30_000;

/// How long it takes to predict a trial, about, once its video is encoded.
#[must_use]
pub fn takes(trial: &Trial) -> Duration {
    let frames = f64::from(trial.video.frames);
    let packets = trial.video.total_bytes() as f64 / PAYLOAD + frames;
    let (viewers, streams) = audience(trial);
    // A stream goes to the CDN too.
    let ways = viewers + streams;
    let seconds = TRIAL_S + ways * packets * PACKET_S + viewers * frames * ROW_S;
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// Bytes that a predicted trial leaves, about.
#[must_use]
pub fn leaves(trial: &Trial) -> u64 {
    let frames = u64::from(trial.video.frames);
    let (viewers, streams) = audience(trial);
    FILES + frames * (viewers as u64 * ROW_BYTES + streams as u64 * BIRTH_BYTES)
}

fn audience(trial: &Trial) -> (f64, f64) {
    let viewers: usize = trial.streams.iter().map(|stream| stream.viewers.len()).sum();
    (viewers as f64, trial.streams.len() as f64)
}

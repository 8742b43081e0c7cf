//! What a predicted crowd costs: `cargo bench --bench crowd`. Time of the model alone, without encoding, tables and pictures, for each size of the audience of
//! `recipes/relay.yaml`, and what that is for each viewer and frame. The largest take a gigabyte.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::time::Instant;

use livectl::predict::{births, crowd, first_birth};

/// Viewers and frames: the cost of a frame where there are many, that of a viewer where there are few.
const SIZES: [(usize, u32); 7] =
    [(100, 600), (1_000, 600), (10_000, 600), (100_000, 600), (10_000, 60), (100_000, 60), (1_000_000, 60)];

fn main() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/recipes/relay.yaml")).unwrap();
    println!("viewers,frames,seconds,ns_per_viewer_and_frame,delay_p50_ms");
    for (viewers, frames) in SIZES {
        let text = text.replace("frames: 1800", &format!("frames: {frames}"));
        let plan = livectl::recipe::from_str("relay.yaml", &text).unwrap().plan;
        let trial = plan.trials.iter().find(|trial| trial.point.scheme.name() == "relay").unwrap();
        let trial = crowd::scaled(trial, viewers);
        let first = i64::try_from(first_birth(&trial, &trial.streams[0].broadcaster)).unwrap();
        let births = births::encode(&trial.video, first).unwrap();
        let began = Instant::now();
        let figures = crowd::predict(&trial, &births, 0, viewers).unwrap().figures;
        let seconds = began.elapsed().as_secs_f64();
        #[allow(clippy::cast_precision_loss)]
        let each = seconds * 1e9 / (viewers as f64 * f64::from(frames));
        println!("{viewers},{frames},{seconds:.3},{each:.0},{:.1}", figures.delay.p50.unwrap());
    }
}

//! What a predicted crowd costs: time of the model alone, without encoding, tables and pictures, for audiences of `recipes/relay.yaml` over three decades, and
//! what that is for each viewer and frame. The largest takes three gigabytes.
//!
//! `cargo bench --workspace --bench crowd -- --picture cost.svg` draws it, too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::time::Instant;

use livectl::predict::{births, crowd, first_birth};
use plotters::prelude::*;

/// Frames of the stream: with many, passing them on is what takes the time; with few, the joins.
const FRAMES: [u32; 2] = [600, 60];
const VIEWERS: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];

/// What an audience cost.
struct Cost {
    frames: u32,
    viewers: usize,
    /// For each viewer and frame.
    ns: f64,
}

fn main() {
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    let picture = match (words.next().as_deref(), words.next()) {
        (None, _) => None,
        (Some("--picture"), Some(path)) => Some(PathBuf::from(path)),
        _ => {
            eprintln!("usage: cargo bench --workspace --bench crowd [-- --picture FILE.svg]");
            std::process::exit(2);
        }
    };
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/recipes/relay.yaml")).unwrap();
    println!("viewers,frames,seconds,ns_per_viewer_and_frame,delay_p50_ms");
    let mut costs = Vec::new();
    for frames in FRAMES {
        let text = text.replace("frames: 1800", &format!("frames: {frames}"));
        let plan = livectl::recipe::from_str("relay.yaml", &text).unwrap().plan;
        let trial = plan.trials.iter().find(|trial| trial.point.scheme.name() == "relay").unwrap();
        for viewers in VIEWERS {
            let trial = crowd::scaled(trial, viewers);
            let first = i64::try_from(first_birth(&trial, &trial.streams[0].broadcaster)).unwrap();
            let births = births::encode(&trial.video, first).unwrap();
            let began = Instant::now();
            let figures = crowd::predict(&trial, &births, 0, viewers).unwrap().figures;
            let seconds = began.elapsed().as_secs_f64();
            #[allow(clippy::cast_precision_loss)]
            let ns = seconds * 1e9 / (viewers as f64 * f64::from(frames));
            println!("{viewers},{frames},{seconds:.3},{ns:.0},{:.1}", figures.delay.p50.unwrap());
            costs.push(Cost { frames, viewers, ns });
        }
    }
    if let Some(path) = picture {
        draw(&path, &costs).expect("the picture");
        println!("{}", path.display());
    }
}

/// Cost against the size of the audience, a line for each number of frames.
fn draw(path: &Path, costs: &[Cost]) -> Result<(), Box<dyn std::error::Error>> {
    let highest = costs.iter().map(|cost| cost.ns).fold(0.0, f64::max);
    let area = SVGBackend::new(path, (940, 500)).into_drawing_area();
    area.fill(&WHITE)?;
    let font = ("sans-serif", 16);
    let mut chart = ChartBuilder::on(&area)
        .caption("What a predicted viewer's frame costs, recipes/relay.yaml, scheme relay", ("sans-serif", 18))
        .margin(16)
        .margin_right(56)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d((VIEWERS[0]..VIEWERS[3]).log_scale(), 0.0..highest * 1.15)?;
    chart
        .configure_mesh()
        .x_desc("viewers")
        .y_desc("ns for each viewer and frame, one core")
        .x_labels(4)
        .label_style(font)
        .axis_desc_style(font)
        .draw()?;
    for (frames, colour) in FRAMES.into_iter().zip([RGBColor(0, 114, 178), RGBColor(213, 94, 0)]) {
        let points = || costs.iter().filter(|cost| cost.frames == frames).map(|cost| (cost.viewers, cost.ns));
        chart
            .draw_series([PathElement::new(points().collect::<Vec<_>>(), colour.stroke_width(2))])?
            .label(format!("{frames} frames"))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
        chart.draw_series(points().map(|point| Circle::new(point, 4, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font(font)
        .border_style(BLACK)
        .draw()?;
    area.present()?;
    Ok(())
}

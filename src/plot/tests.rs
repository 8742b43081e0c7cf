#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use super::*;
use crate::plan::Plan;
use crate::plan::delivery::Via;
use crate::store::{Owner, RecipeRecord, Software, TrialState};
use crate::table::tests::{frame, ping_row, trial};
use crate::table::{FrameRow, PingDelay, PingRow, ping_delays};

const VERMILLION: [u8; 3] = [213, 94, 0];
const SKY_BLUE: [u8; 3] = [86, 180, 233];
const BLUE: [u8; 3] = [0, 114, 178];
const RED: [u8; 3] = [190, 0, 30];

struct Pixels {
    width: usize,
    height: usize,
    rgb: Vec<u8>,
}

impl Pixels {
    fn decoded(bytes: &[u8]) -> Pixels {
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut rgb).unwrap();
        assert_eq!(info.color_type, png::ColorType::Rgb);
        Pixels { width: info.width as usize, height: info.height as usize, rgb }
    }

    /// Where the colour is, x and y, within `rows` of the picture (0 to 1) and the part where data is drawn.
    fn of(&self, colour: [u8; 3], rows: std::ops::Range<f64>) -> Vec<(usize, usize)> {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let row = |part: f64| (part * self.height as f64) as usize;
        let near = |pixel: &[u8]| pixel.iter().zip(colour).all(|(a, b)| a.abs_diff(b) <= 12);
        (row(rows.start)..row(rows.end))
            .flat_map(|y| (0..self.width).map(move |x| (x, y)))
            .filter(|(x, y)| near(&self.rgb[3 * (y * self.width + x)..][..3]))
            .collect()
    }
}

fn mean_y(points: &[(usize, usize)]) -> usize {
    points.iter().map(|(_, y)| y).sum::<usize>() / points.len()
}

/// Where the data is: below the legend, above the numbers of the time axis.
const DATA: std::ops::Range<f64> = 0.165..0.89;

fn subject() -> Subject {
    Subject { recipe: "p2p".into(), origin: "run 1 · emulated links".into(), ..Subject::default() }
}

fn pings(id: &str) -> Vec<PingRow> {
    let rtts = [("hb", "hs", 800.0), ("hs", "hv1", 800.0), ("hb", "hv1", 400.0)];
    (1..60).flat_map(|seq| rtts.map(|(from, to, rtt)| ping_row(id, from, to, seq, Some(rtt)))).collect()
}

fn delays() -> Vec<PingDelay> {
    ["direct-1", "bypass-1"].iter().flat_map(|id| ping_delays(&trial(id, &["hv1"]), &pings(id))).collect()
}

fn frames() -> Vec<FrameRow> {
    let direct = (0..300).map(|i| frame("direct-1", "hv1", i, Some(900.0), Via::Cdn));
    let bypass = (0..300).map(|i| match i {
        0..60 => frame("bypass-1", "hv1", i, Some(600.0), Via::Cdn),
        _ => frame("bypass-1", "hv1", i, Some(250.0), Via::Peer),
    });
    direct.chain(bypass).collect()
}

#[test]
fn a_png_has_its_size_and_each_scheme_its_ink() {
    for (size, scale) in [((1600, 900), Scale::Linear), ((800, 600), Scale::Logarithmic), ((481, 271), Scale::Linear)]
    {
        let picture = Picture { size, scale, ..Picture::default() };
        let pixels = Pixels::decoded(&delay_picture(&subject(), &delays(), Some((15.0, 35.0)), &picture).unwrap());
        assert_eq!((pixels.width, pixels.height), (size.0 as usize, size.1 as usize));
        if size == (481, 271) {
            continue; // Lines are too thin there to have their full colour.
        }
        let (direct, bypass) = (pixels.of(VERMILLION, DATA), pixels.of(BLUE, DATA));
        assert!(direct.len() > 300 && bypass.len() > 300, "{} {}", direct.len(), bypass.len());
        assert!(mean_y(&direct) < mean_y(&bypass), "the longer delay is higher up");
        assert_eq!(pixels.of(RED, 0.0..1.0), [], "nothing is doubtful");
    }
}

#[test]
fn on_a_linear_axis_heights_are_in_proportion() {
    let pixels = Pixels::decoded(&delay_picture(&subject(), &delays(), None, &Picture::default()).unwrap());
    // The time axis lies 96 pixels above the lower edge.
    let height = |colour| 900 - 96 - mean_y(&pixels.of(colour, DATA));
    let (direct, bypass) = (height(VERMILLION), height(BLUE));
    assert!((direct).abs_diff(4 * bypass) <= 4, "800 ms is {direct} high, 200 ms {bypass}");
}

#[test]
fn frames_floor_and_source_are_told_apart() {
    let pixels = Pixels::decoded(&frame_delay_picture(&subject(), &frames(), None, &Picture::default()).unwrap());
    let [direct, waiting, bypass] = [VERMILLION, SKY_BLUE, BLUE].map(|c| pixels.of(c, DATA));
    assert!(mean_y(&direct) < mean_y(&waiting) && mean_y(&waiting) < mean_y(&bypass));
    let rightmost = |points: &[(usize, usize)]| points.iter().map(|(x, _)| *x).max().unwrap();
    assert!(rightmost(&waiting) < 500 && rightmost(&bypass) > 1400);
    // The floor, 230 ms, is a dark line a little below the peers' 250 ms and above the axis.
    let dark = pixels.of([20, 20, 20], 0.6..0.88);
    let floor: Vec<_> = dark.into_iter().filter(|(x, y)| (300..1400).contains(x) && *y > mean_y(&bypass)).collect();
    assert!(floor.len() > 900, "{}", floor.len());
}

#[test]
fn missing_frames_are_strokes_at_the_edge_and_never_zero_delays() {
    let mut frames: Vec<_> = (0..300).map(|i| frame("direct-1", "hv1", i, Some(900.0), Via::Cdn)).collect();
    for lost in 100..110 {
        frames[lost as usize] = frame("direct-1", "hv1", lost, None, Via::Cdn);
    }
    let svg = Picture { format: Format::Svg, ..Picture::default() };
    let text = String::from_utf8(frame_delay_picture(&subject(), &frames, None, &svg).unwrap()).unwrap();
    assert!(text.contains("10 of 300 frames missing"));
    // 290 points and the one in the legend.
    assert_eq!(text.matches("<circle").count(), 291);
}

#[test]
fn an_svg_says_it_in_words() {
    let mut subject = subject();
    subject.warnings = vec!["direct-1 UNFIT: CPU pressure 31 %".into()];
    let title = "a <b> & \"c\"\u{0}\n'd'".to_owned();
    let picture = Picture { format: Format::Svg, title: Some(title), ..Picture::default() };
    let text = String::from_utf8(delay_picture(&subject, &delays(), Some((15.0, 35.0)), &picture).unwrap()).unwrap();
    assert!(text.starts_with("<svg width=\"1600\" height=\"900\" viewBox=\"0 0 "), "{}", &text[..80]);
    for said in [
        "a &lt;b&gt; &amp; &quot;c&quot;  &apos;d&apos;",
        "run 1 · emulated links",
        "direct-1 UNFIT: CPU pressure 31 %",
        "through the CDN (direct)",
        "peer to peer (bypass)",
        "streaming interval",
        "time (s)",
        "delay (ms)",
        "\n800\n",
        "\n60\n",
    ] {
        assert!(text.contains(said), "{said}");
    }
    assert!(!text.contains('\u{0}'));
    assert_eq!(text.matches("<text").count(), text.matches("</text>").count());
    assert!(text.trim_end().ends_with("</svg>"));
}

#[test]
fn viewers_are_told_apart_by_markers_and_repetitions_are_lighter() {
    let of =
        |trial: &str, viewer| (0..50).map(|i| frame(trial, viewer, i, Some(900.0), Via::Cdn)).collect::<Vec<_>>();
    let svg = Picture { format: Format::Svg, ..Picture::default() };
    let draw = |frames: Vec<FrameRow>| {
        String::from_utf8(frame_delay_picture(&subject(), &frames, None, &svg).unwrap()).unwrap()
    };
    let one = draw(of("direct-1", "hv1"));
    assert!(!one.contains("hv1") && !one.contains("<polygon"));
    let two = draw([of("direct-1", "hv1"), of("direct-1", "hv2"), of("direct-2", "hv1")].concat());
    assert!(two.contains("\nhv1\n") && two.contains("\nhv2\n"));
    // hv2's triangles and the one in the legend.
    assert_eq!(two.matches("<polygon").count(), 51);
    assert!(two.contains("opacity=\"0.70"));
}

#[test]
fn lost_pings_are_holes_in_the_line() {
    let line = |rows: &[PingRow]| {
        let delays = ping_delays(&trial("bypass-1", &["hv1"]), rows);
        let svg = Picture { format: Format::Svg, ..Picture::default() };
        let text = String::from_utf8(delay_picture(&subject(), &delays, None, &svg).unwrap()).unwrap();
        let strokes = |width| text.matches(&format!("stroke=\"#0072B2\" stroke-width=\"{width}\"")).count();
        (strokes(20), strokes(12))
    };
    let mut rows: Vec<_> = (1..20).map(|seq| ping_row("bypass-1", "hb", "hv1", seq, Some(400.0))).collect();
    // The line in the legend and that of the data.
    assert_eq!(line(&rows), (2, 0));
    rows[9].rtt_ms = None;
    assert_eq!(line(&rows), (3, 1), "the line in two parts, and a stroke at the edge");
}

#[test]
fn nothing_to_show_is_an_error() {
    let nothing = delay_picture(&subject(), &[], Some((15.0, 35.0)), &Picture::default());
    assert!(matches!(nothing, Err(PlotError::Empty { picture: "delay-plot", .. })), "{nothing:?}");
    let lost: Vec<_> = (0..9).map(|i| frame("direct-1", "hv1", i, None, Via::Cdn)).collect();
    let nothing = frame_delay_picture(&subject(), &lost, None, &Picture::default());
    assert!(matches!(nothing, Err(PlotError::Empty { picture: "frame-delay-plot", .. })), "{nothing:?}");
}

#[test]
fn impossible_sizes_are_refused_and_possible_ones_named() {
    for size in [(0, 0), (100, 900), (1600, 100_000), (u32::MAX, u32::MAX)] {
        let told = delay_picture(&subject(), &delays(), None, &Picture { size, ..Picture::default() }).unwrap_err();
        assert!(told.to_string().contains("480x270"), "{told}");
    }
}

#[test]
fn long_words_stay_on_the_sheet() {
    let long = "x".repeat(3000);
    let mut subject = subject();
    subject.origin = long.clone();
    subject.warnings = (0..40).map(|i| format!("direct-{i} UNFIT: {long} {long}")).collect();
    let picture = Picture { size: (640, 400), title: Some(long), ..Picture::default() };
    let pixels = Pixels::decoded(&delay_picture(&subject, &delays(), None, &picture).unwrap());
    assert!(!pixels.of(BLUE, 0.5..0.95).is_empty(), "the data still has room");
    let margin = 640 - 8;
    assert!(pixels.of(RED, 0.0..1.0).iter().all(|(x, _)| *x < margin));
}

fn stored(folder: &Path, change: impl FnOnce(&mut Manifest)) -> RunDir {
    let now = "2026-11-22T23:17:00Z".parse().unwrap();
    let run = RunDir::create(folder, "p2p", now, Owner::Process).unwrap();
    let trials = vec![trial("direct-1", &["hv1"]), trial("bypass-1", &["hv1"])];
    let plan = Plan { recipe: "p2p".into(), description: String::new(), seed: 1, trials };
    let recipe = RecipeRecord { name: "p2p".into(), path: None, text: String::new() };
    let mut manifest = Manifest::new(&run, recipe, plan, 1, Software::default(), now);
    manifest.trials.iter_mut().for_each(|t| t.state = TrialState::Done);
    change(&mut manifest);
    manifest.save(&run).unwrap();
    run
}

fn with_tables(run: &RunDir) {
    table::write_frames(&run.frames(), &frames()).unwrap();
    table::write_pings(&run.pings(), &[pings("direct-1"), pings("bypass-1")].concat()).unwrap();
}

#[test]
fn a_stored_run_is_drawn_again_alike() {
    let folder = tempfile::tempdir().unwrap();
    let run = stored(folder.path(), |_| {});
    with_tables(&run);
    let drawn = draw_run(run.path(), &Options::default()).unwrap();
    let names: Vec<_> =
        drawn.pictures.iter().map(|p| p.strip_prefix(run.path()).unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["delay-plot.png", "frame-delay-plot.png"]);
    assert!(drawn.left_out.is_empty());
    let first: Vec<_> = drawn.pictures.iter().map(|p| fs::read(p).unwrap()).collect();
    for bytes in &first {
        let pixels = Pixels::decoded(bytes);
        assert!(!pixels.of(VERMILLION, DATA).is_empty() && !pixels.of(BLUE, DATA).is_empty());
    }
    let again = draw_run(run.path(), &Options::default()).unwrap();
    assert_eq!(again.pictures.iter().map(|p| fs::read(p).unwrap()).collect::<Vec<_>>(), first);
    let out = folder.path().join("pictures/here");
    let svg = Options { out: Some(out.clone()), picture: Picture { format: Format::Svg, ..Picture::default() } };
    draw_run(run.path(), &svg).unwrap();
    assert!(out.join("delay-plot.svg").is_file() && out.join("frame-delay-plot.svg").is_file());
}

#[test]
fn doubts_are_written_on_the_picture_in_red() {
    let folder = tempfile::tempdir().unwrap();
    let run = stored(folder.path(), |manifest| {
        manifest.trials[0].unfit = vec!["CPU pressure 31 % (limit 10 %)".into()];
        manifest.trials[1].state = TrialState::Partial { why: "interrupted".into() };
    });
    with_tables(&run);
    for path in draw_run(run.path(), &Options::default()).unwrap().pictures {
        assert!(Pixels::decoded(&fs::read(path).unwrap()).of(RED, 0.08..0.25).len() > 200);
    }
    let svg = Options { out: None, picture: Picture { format: Format::Svg, ..Picture::default() } };
    let text = fs::read_to_string(&draw_run(run.path(), &svg).unwrap().pictures[0]).unwrap();
    assert!(text.contains("direct-1 UNFIT: CPU pressure 31 % (limit 10 %)"));
    assert!(text.contains("bypass-1 PARTIAL: interrupted"));
}

#[test]
fn what_a_run_has_is_drawn_and_what_it_lacks_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let run = stored(folder.path(), |_| {});
    assert!(matches!(draw_run(run.path(), &Options::default()), Err(PlotError::Empty { .. })));
    table::write_frames(&run.frames(), &frames()).unwrap();
    let drawn = draw_run(run.path(), &Options::default()).unwrap();
    assert_eq!(drawn.pictures.len(), 1);
    assert!(drawn.left_out[0].to_string().contains("delay-plot"), "{:?}", drawn.left_out);
    fs::write(run.pings(), "rubbish").unwrap();
    assert!(draw_run(run.path(), &Options::default()).unwrap_err().to_string().contains("pings.parquet"));
    let told = draw_run(folder.path(), &Options::default()).unwrap_err();
    assert!(matches!(told, PlotError::Store(StoreError::NotARun { .. })), "{told:?}");
}

#[test]
fn streaming_is_when_frames_were_born_or_when_the_plan_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let run = stored(folder.path(), |_| {});
    let manifest = Manifest::load(&run).unwrap();
    let (begin, end) = pictures::streaming_interval(&manifest, &frames()).unwrap();
    assert!((begin - 1.0).abs() < 1e-9 && (end - 12.96).abs() < 1e-9, "{begin} {end}");
    assert_eq!(pictures::streaming_interval(&manifest, &[]), Some((15.0, 35.0)));
}

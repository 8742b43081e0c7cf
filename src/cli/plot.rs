//! `livectl plot`: pictures of stored runs, and the figures behind them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;

use super::exit::{Exit, Failure, WithExit};
use super::size;
use crate::plot::{self, Condition, Family, Format, Gallery, Key, Loaded, Picture, PlotError, Scale, Shown, View};
use crate::store::{Owner, RunDir, StoreError, write_atomic};
use crate::ui;

/// Without `--plot`: the two that a run draws at its end.
const CLASSIC: [Family; 2] = [Family::Delay, Family::FrameDelay];

/// Trials that are called by their names when they are left out.
const NAMED: usize = 12;

/// The example lines of `livectl plot --help`.
pub(super) const EXAMPLES: &str = "Pictures:
  delay        what pings see over time, CDN against peer to peer; one for each run
  frame-delay  each frame's delay over its birth, and the floor; one for each run
  cdf          share of the frames within a delay (--metric delay, excess, queue, …)
  box          median, quartiles, 5th to 95th percentile for each viewer (--metric as cdf)
  parts        what the mean delay is made of, and the floor
  stalls       stalled time under playout buffers (--metric stalled, stalls, continuity)
  sources      bytes from the CDN and from peers
  audience     delay against the number of viewers: best, median, worst, and the bounds
  offload      who carries the stream, against the number of viewers
  tree         who has the stream from whom; one for each trial with peers
  servers      who served whom over time; one for each trial with peers
  sweep        a figure over a parameter (--x KEY, --metric delay_p50_ms, jitter_ms, …)
  heat         a figure over two parameters (--x KEY --y KEY, --metric excess_p95_ms, …), a panel for each scheme

Keys of --where, --by, --x and --y:
  run, recipe, trial, scheme, repetition, stream, viewer, viewers (how many), link, datapath,
  engine, node, and any path into trial.json, such as video.bitrate or
  network.links.hb.shape.delay. Durations are in seconds.

Examples:
  livectl plot results/p2p/20261122T231700Z
  livectl plot results/p2p/20261122T231700Z --format svg --size 1200x700 --title 'Evening run' --out figures
  livectl plot results/p2p --plot cdf,box,parts --where viewer=hv1 --text
  livectl plot results/p2p --plot sweep --x network.links.hs.shape.bandwidth --data csv
  livectl plot results/overnight --plot heat --x loss --y delay --metric excess_p95_ms --by scheme";

#[derive(Debug, Args)]
pub(super) struct PlotArgs {
    /// Folders of runs (results/RECIPE/RUN), or folders that contain runs (results/RECIPE, results)
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// Pictures to draw, by name, or all [default: delay,frame-delay]
    #[arg(long = "plot", value_name = "NAME,…", value_delimiter = ',', value_parser = choice)]
    choices: Vec<Choice>,
    /// Only trials and viewers with this value (KEY=VALUE), one of several (KEY=A,B), or without it (KEY!=VALUE)
    #[arg(long = "where", value_name = "KEY=VALUE")]
    only: Vec<Condition>,
    /// Keys whose values get their own colour or bar [default: scheme, and recipe if there are several]
    #[arg(long, value_name = "KEY,…", value_delimiter = ',', value_parser = key)]
    by: Vec<Key>,
    /// Horizontal axis of a sweep or heat map [default: the first parameter that differs, if possible
    /// one with a unit]
    #[arg(long, value_name = "KEY", value_parser = key)]
    x: Option<Key>,
    /// Vertical axis of a heat map [default: the next parameter that differs]
    #[arg(long, value_name = "KEY", value_parser = key)]
    y: Option<Key>,
    /// Figure to show, in pictures that offer a choice
    #[arg(long, value_name = "NAME")]
    metric: Option<String>,
    /// Include unfit and partial trials, marked as such; comparisons leave them out otherwise
    #[arg(long)]
    include_unfit: bool,
    /// Print what each picture shows as a table
    #[arg(long)]
    text: bool,
    /// Write the data of each picture beside it, as csv or parquet
    #[arg(long, value_name = "FORMAT", value_parser = ["csv", "parquet"])]
    data: Option<String>,
    /// Folder for the pictures [default: the run's own; for a picture of several runs, the folder they share]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// png or svg
    #[arg(long, default_value = "png", value_parser = ["png", "svg"])]
    format: String,
    /// Width and height in pixels, 480x270 to 7680x4320 [default: 1600x900]
    #[arg(long, value_name = "WxH", value_parser = size)]
    size: Option<(u32, u32)>,
    /// Title above the picture
    #[arg(long)]
    title: Option<String>,
    /// Logarithmic axis; parts, sources and offload stay linear, because their lengths add up
    #[arg(long)]
    log: bool,
}

/// A word after `--plot`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    One(Family),
    All,
}

fn choice(text: &str) -> Result<Choice, String> {
    if text == "all" { Ok(Choice::All) } else { text.parse().map(Choice::One) }
}

#[allow(clippy::unnecessary_wraps)]
fn key(text: &str) -> Result<Key, String> {
    if text.trim().is_empty() { Err("a key is missing, such as scheme".to_owned()) } else { Ok(Key::from(text)) }
}

impl PlotArgs {
    /// In the order in which pictures are shown, each once.
    fn families(&self) -> Vec<Family> {
        let asked = |family: &Family| {
            self.choices.iter().any(|choice| matches!(choice, Choice::All) || *choice == Choice::One(*family))
        };
        if self.choices.is_empty() { CLASSIC.to_vec() } else { Family::ALL.into_iter().filter(asked).collect() }
    }

    fn view(&self) -> View {
        View {
            only: self.only.clone(),
            by: self.by.clone(),
            metric: self.metric.clone(),
            x: self.x.clone(),
            y: self.y.clone(),
            include_unfit: self.include_unfit,
        }
    }

    fn picture(&self) -> Picture {
        let usual = Picture::default();
        Picture {
            size: self.size.unwrap_or(usual.size),
            format: if self.format == "svg" { Format::Svg } else { Format::Png },
            title: self.title.clone(),
            scale: if self.log { Scale::Logarithmic } else { Scale::Linear },
        }
    }
}

/// Draws runs again.
pub(super) fn plot(args: &PlotArgs) -> Result<Exit, Failure> {
    let families = args.families();
    let unasked = if args.x.is_some() && !families.contains(&Family::Sweep) && !families.contains(&Family::Heat) {
        Some("--x is the axis of a sweep: add --plot sweep, or --plot heat")
    } else if args.y.is_some() && !families.contains(&Family::Heat) {
        Some("--y is an axis of a heat map: add --plot heat")
    } else {
        None
    };
    if let Some(why) = unasked {
        return Err(Failure::new(Exit::Usage, anyhow::anyhow!("{why}")));
    }
    let compares = families.iter().any(|family| family.compares());
    if !compares && (!args.by.is_empty() || args.metric.is_some()) {
        let names = "cdf, box, parts, stalls, sources, audience, offload, sweep, heat";
        let why = anyhow::anyhow!("--by and --metric are for comparisons: add --plot with one of {names}");
        return Err(Failure::new(Exit::Usage, why));
    }
    let mut exit = Exit::Done;
    let mut complain = |path: &Path, error: PlotError| {
        let failure = Failure::new(Exit::Results, error);
        ui::warn(&format!("{}: {failure}", path.display()));
        exit = Exit::Results;
    };
    let mut paths = Vec::new();
    let mut seen = BTreeSet::new();
    for path in &args.runs {
        match RunDir::find(path) {
            Ok(found) => {
                for other in found.skipped {
                    ui::warn(&format!("{}: not a run, left out", other.display()));
                }
                paths.extend(found.runs.into_iter().filter(|run| seen.insert(real(run))));
            }
            Err(error) if args.runs.len() == 1 => return Err(Failure::new(Exit::Results, error)),
            // What can be drawn is drawn.
            Err(error) => complain(path, error.into()),
        }
    }
    let (mut runs, mut failed) = plot::load(&paths, &families, &args.view());
    if compares {
        plot::count_once(&mut runs).iter().for_each(|again| ui::warn(again));
    }
    if let (true, Some((_, error))) = (runs.is_empty(), failed.pop()) {
        return Err(Failure::new(Exit::Results, error));
    }
    for (path, error) in failed {
        complain(&path, error);
    }
    let drawn = plot::gallery(&runs, &families, &args.view(), &args.picture()).map_err(|error| {
        let wrong_usage = matches!(error, PlotError::Key { .. } | PlotError::Metric { .. } | PlotError::Size { .. });
        Failure::new(if wrong_usage { Exit::Usage } else { Exit::Results }, error)
    })?;
    write(args, &runs, &drawn)?;
    tell(&runs, drawn)?;
    Ok(exit)
}

/// Says what is not in the pictures; an error if there is no picture.
fn tell(runs: &[Loaded], drawn: Gallery) -> Result<(), Failure> {
    if !drawn.unsound.is_empty() && !drawn.shown.is_empty() {
        let (count, all) = (drawn.unsound.len(), drawn.trials);
        let mut names = drawn.unsound[..count.min(NAMED)].join(", ");
        if count > NAMED {
            names += &format!(" and {} more", count - NAMED);
        }
        ui::warn(&format!(
            "{count} of {all} trials are unfit or partial and left out of comparisons ({names}); --include-unfit includes them"
        ));
    }
    let mut left_out = drawn.left_out;
    if drawn.shown.is_empty()
        && let Some(last) = left_out.pop()
    {
        for other in left_out {
            ui::warn(&other.why.to_string());
        }
        return Err(Failure::new(Exit::Results, last.why));
    }
    for missing in left_out {
        match missing.run.and_then(|run| runs.get(run)) {
            Some(run) => ui::warn(&format!("{}: {}", run.path.display(), missing.why)),
            None => ui::warn(&missing.why.to_string()),
        }
    }
    Ok(())
}

/// Writes pictures and what goes with them, and prints where they are.
fn write(args: &PlotArgs, runs: &[Loaded], drawn: &Gallery) -> Result<(), Failure> {
    let owner = Owner::of_this_process().exit(Exit::Results)?;
    for shown in &drawn.shown {
        let folder = folder(args.out.as_deref(), runs, shown);
        let new_folders: Vec<&Path> =
            folder.ancestors().take_while(|f| !f.as_os_str().is_empty() && !f.exists()).collect();
        std::fs::create_dir_all(&folder)
            .map_err(|e| StoreError::writing(&folder, e))
            .map_err(|e| unwritable(args, e))
            .exit(Exit::Results)?;
        let extension = if args.format == "svg" { Format::Svg } else { Format::Png }.extension();
        // A trial's name may have a dot in it.
        let picture = folder.join(format!("{}.{extension}", shown.name));
        write_atomic(&picture, &shown.bytes).map_err(|e| unwritable(args, e)).exit(Exit::Results)?;
        let mut made = vec![picture];
        if let Some(format) = &args.data {
            let path = folder.join(format!("{}.{format}", shown.name));
            let figures = shown.figures();
            if format == "csv" { figures.write_csv(&path) } else { figures.write_parquet(&path) }
                .exit(Exit::Results)?;
            made.push(path);
        }
        for path in new_folders.iter().copied().chain(made.iter().map(PathBuf::as_path)) {
            owner.take(path).exit(Exit::Results)?;
        }
        for path in made {
            ui::print(&path.display().to_string())?;
        }
        if args.text {
            ui::print(&format!("\n{}\n{}", shown.title, shown.table.text()))?;
        }
    }
    Ok(())
}

fn unwritable(args: &PlotArgs, error: StoreError) -> anyhow::Error {
    match args.out {
        None => anyhow::anyhow!("{error}. `--out DIR` puts the pictures elsewhere"),
        Some(_) => error.into(),
    }
}

/// Where a picture goes.
fn folder(out: Option<&Path>, runs: &[Loaded], shown: &Shown) -> PathBuf {
    match (shown.run.and_then(|run| runs.get(run)), out) {
        (Some(run), None) => run.path.clone(),
        // Pictures of several runs in one folder would overwrite each other.
        (Some(run), Some(out)) if runs.len() > 1 => {
            let path = real(&run.path);
            let name = |path: Option<&Path>| path.and_then(Path::file_name).unwrap_or_default().to_owned();
            out.join(name(path.parent())).join(name(Some(&path)))
        }
        (_, Some(out)) => out.to_owned(),
        (None, None) => shared(runs.iter().map(|run| run.path.clone()).collect()),
    }
}

/// The folder that holds all runs: a single run's own, `results/RECIPE` for runs of a recipe. As it was written, as
/// far as that goes.
fn shared(paths: Vec<PathBuf>) -> PathBuf {
    if let [only] = &paths[..] {
        return only.clone();
    }
    let real_paths: Vec<PathBuf> = paths.iter().map(|path| real(path)).collect();
    let Some(first) = real_paths.first() else { return PathBuf::from(".") };
    let holds_all = |folder: &&Path| real_paths.iter().all(|path| path.starts_with(folder));
    let Some(common) = first.ancestors().skip(1).find(holds_all).filter(|folder| folder.parent().is_some()) else {
        return PathBuf::from(".");
    };
    let written = paths[0].ancestors().find(|folder| !folder.as_os_str().is_empty() && real(folder) == common);
    written.unwrap_or(common).to_owned()
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: PlotArgs,
    }

    fn parsed(words: &[&str]) -> Result<PlotArgs, clap::Error> {
        Command::try_parse_from(["plot", "results/p2p/x"].iter().chain(words)).map(|command| command.args)
    }

    #[test]
    fn pictures_are_chosen_by_name_and_come_once_in_their_own_order() {
        assert_eq!(parsed(&[]).unwrap().families(), CLASSIC);
        let chosen = parsed(&["--plot", "box,cdf", "--plot", "cdf"]).unwrap();
        assert_eq!(chosen.families(), [Family::Cdf, Family::Box]);
        assert_eq!(parsed(&["--plot", "all"]).unwrap().families(), Family::ALL);
        let told = parsed(&["--plot", "pie"]).unwrap_err().to_string();
        assert!(told.contains("frame-delay") && told.contains("sweep"), "{told}");
    }

    #[test]
    fn a_view_is_what_was_asked_for() {
        let args = parsed(&["--where", "scheme=bypass", "--where", "repetition!=1", "--by", "viewer,link"]).unwrap();
        let view = args.view();
        assert_eq!(view.only.iter().map(|c| c.key().name()).collect::<Vec<_>>(), ["scheme", "repetition"]);
        assert_eq!(view.by, [Key::from("viewer"), Key::from("link")]);
        assert!(!view.include_unfit);
        assert!(parsed(&["--where", "scheme"]).unwrap_err().to_string().contains("KEY=VALUE"));
        assert!(parsed(&["--data", "xlsx"]).is_err());
        assert!(parsed(&["--by", ""]).is_err());
    }

    #[test]
    fn several_runs_share_the_folder_that_holds_them() {
        let folder = tempfile::tempdir().unwrap();
        let run = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(&path).unwrap();
            path
        };
        let (a, b, c) = (run("p2p/1"), run("p2p/2"), run("multi/1"));
        assert_eq!(shared(vec![a.clone()]), a);
        assert_eq!(shared(vec![a.clone(), b.clone()]), folder.path().join("p2p"));
        assert_eq!(shared(vec![a.clone(), b, c]), folder.path());
        assert_eq!(shared(vec![a, "/proc/self".into()]), PathBuf::from("."));
    }
}

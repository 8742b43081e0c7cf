//! `livectl compare`: is a change real?

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;

use super::exit::{Exit, Failure, WithExit};
use crate::store::{self, Manifest, Owner, RunDir};
use crate::table::{
    self, DifferenceRow, Differences, Digests, FrameFigure, PlayoutRow, StoredTables, SummaryRow, TableError,
};
use crate::ui;

/// What is shown unless more is asked for.
const SHOWN: [&str; 12] = [
    "delay_p50_ms",
    "delay_p95_ms",
    "excess_p50_ms",
    "excess_p95_ms",
    "missing",
    "startup_delay_ms",
    "handover_gap_ms",
    "jitter_ms",
    "peer_offload",
    "stalls_buffer_1s",
    "stalled_buffer_1s_ms",
    "continuity_buffer_1s",
];

/// A circumstance of a run.
type Fact = fn(&Manifest) -> String;

/// What may make figures differ besides what is compared.
const FACTS: [(&str, Fact); 6] = [
    ("recipe", |m| m.recipe.name.clone()),
    ("made", |m| {
        m.predicted.as_ref().map_or_else(|| "measured".into(), |p| format!("predicted by model {}", p.model))
    }),
    ("links", |m| m.link.as_ref().map_or_else(|| "unknown".into(), |choice| choice.used.to_string())),
    ("datapath", |m| m.datapath.as_ref().map_or_else(|| "unknown".into(), |choice| choice.used.to_string())),
    ("kernel", |m| m.machine.kernel.clone()),
    ("livectl", |m| m.livectl.commit.clone().unwrap_or_else(|| m.livectl.version.clone())),
];

/// Flags of `livectl compare`.
#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// Folders of runs; each is compared with the first. The folder of a recipe stands for all its runs together. A
    /// single folder: its schemes are compared with each other
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// All figures of estimates.csv, not only the main ones
    #[arg(long, conflicts_with = "metrics")]
    all: bool,
    /// Only these figures, by their names in estimates.csv
    #[arg(long = "metric", value_name = "NAME")]
    metrics: Vec<String>,
    /// Write the table as CSV too
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

/// What is on one side.
struct Side {
    name: String,
    manifests: Vec<Manifest>,
    summary: Vec<SummaryRow>,
    frames: Digests,
    playouts: Vec<PlayoutRow>,
}

/// Compares runs.
pub(super) fn compare(args: &CompareArgs) -> Result<Exit, Failure> {
    let sides = args.runs.iter().map(|path| Side::read(path)).collect::<Result<Vec<_>, _>>()?;
    let (Some(base), others) = (sides.first(), sides.get(1..).unwrap_or_default()) else {
        return Err(Failure::new(Exit::Usage, anyhow!("name a run")));
    };
    let mut all: Vec<DifferenceRow> = Vec::new();
    let mut text = String::new();
    if others.is_empty() {
        let differences = table::compare_schemes(&base.units());
        if differences.rows.is_empty() {
            let why = "it has fit trials of only one scheme. Name a second run to compare it with";
            return Err(Failure::new(Exit::Results, anyhow!("nothing to compare in {}: {why}", base.name)));
        }
        text += &format!("{}: schemes\n", base.name);
        text += &base.mixed_text();
        text += &args.text(&differences, "first", "then")?;
        all.extend(differences.rows);
    }
    for other in others {
        let differences = table::compare(&base.units(), &other.units());
        text += &format!("first:  {}\nsecond: {}\n", base.name, other.name);
        text += &base.mixed_text();
        text += &other.mixed_text();
        for difference in base.unlike(other) {
            text += &format!("NOT ALIKE: {difference}\n");
        }
        if differences.rows.is_empty() {
            ui::print(&text)?;
            let told = differences.unmatched.join("; ");
            return Err(Failure::new(
                Exit::Results,
                anyhow!("the runs have no fit trials of the same viewer: {told}"),
            ));
        }
        text += &args.text(&differences, "first", "second")?;
        all.extend(differences.rows);
    }
    ui::print(text.trim_end())?;
    if let Some(path) = &args.csv {
        let rows: Vec<DifferenceRow> = all.into_iter().filter(|row| args.wants(&row.metric)).collect();
        table::write_differences(path, &rows).exit(Exit::Results)?;
        Owner::of_this_process().and_then(|owner| owner.take(path)).exit(Exit::Results)?;
        ui::print(&path.display().to_string())?;
    }
    Ok(Exit::Done)
}

impl CompareArgs {
    fn wants(&self, metric: &str) -> bool {
        self.all
            || if self.metrics.is_empty() {
                SHOWN.contains(&metric)
            } else {
                self.metrics.iter().any(|m| m == metric)
            }
    }

    fn text(&self, differences: &Differences, first: &str, second: &str) -> Result<String, Failure> {
        let known = |name: &String| differences.rows.iter().any(|row| row.metric == *name);
        if let Some(unknown) = self.metrics.iter().find(|name| !known(name)) {
            let mut names: Vec<&str> = differences.rows.iter().map(|row| row.metric.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            let names = names.join(", ");
            return Err(Failure::new(Exit::Usage, anyhow!("no figure {unknown:?} on both sides; there are {names}")));
        }
        let rows: Vec<DifferenceRow> =
            differences.rows.iter().filter(|row| self.wants(&row.metric)).cloned().collect();
        let mut text = format!("\n{}", table::differences_text(&rows, first, second));
        for unmatched in &differences.unmatched {
            text += &format!("left out: {unmatched}\n");
        }
        if differences.left_out > 0 {
            text += &format!("left out: {} viewers of trials that are partial or unfit\n", differences.left_out);
        }
        if rows.iter().any(|row| row.verdict == table::Verdict::Unknown) {
            text += "unknown: a single trial does not show how much trials vary by chance; use `repetitions`\n";
        }
        let tested = rows.iter().filter(|row| row.low_95.is_some()).count();
        if tested > 0 {
            text += &format!(
                "real: the 95 % interval (bootstrap over trials) excludes 0. Of {tested} figures without any difference \
                 about {:.1} would look real\n",
                tested as f64 * 0.05
            );
        }
        Ok(text)
    }
}

impl Side {
    fn read(path: &Path) -> Result<Side, Failure> {
        let runs = RunDir::find(path).exit(Exit::Results)?.runs;
        let mut side = Side {
            name: path.display().to_string(),
            manifests: Vec::new(),
            summary: Vec::new(),
            frames: Digests::default(),
            playouts: Vec::new(),
        };
        for (number, folder) in runs.iter().enumerate() {
            let run = &RunDir::open(folder).exit(Exit::Results)?;
            let manifest = Manifest::load_brief(run).exit(Exit::Results)?;
            if !run.is_sweep() && !run.summary().exists() {
                let why =
                    "has no summary.csv: it was imported, or interrupted (`livectl analyze` computes its tables)";
                let why = anyhow!("{} {why}", run.path().display());
                // Of many runs, the others can still be compared.
                if runs.len() == 1 {
                    return Err(Failure::new(Exit::Results, why));
                }
                ui::warn(&format!("{why}; it is left out"));
                continue;
            }
            side.add(run, &manifest, number).exit(Exit::Results)?;
            side.manifests.push(manifest);
        }
        if side.manifests.is_empty() {
            let why = "none of its runs has a summary.csv";
            return Err(Failure::new(Exit::Results, anyhow!("nothing to compare in {}: {why}", side.name)));
        }
        // Whoever compares a prediction with a measurement means the same points.
        if side.manifests.iter().all(|manifest| manifest.predicted.is_some()) {
            for row in &mut side.summary {
                row.point.parameters = row.point.parameters.without(store::ENGINE);
            }
        }
        if side.manifests.len() > 1 {
            side.name += &format!(" ({} runs)", side.manifests.len());
        }
        Ok(side)
    }

    /// Trials of different runs may have the same name.
    fn add(&mut self, run: &RunDir, manifest: &Manifest, number: usize) -> Result<(), TableError> {
        let named = |trial: &mut String| *trial = format!("{number}/{trial}");
        let tables = StoredTables::of(run, manifest);
        let mut summary = tables.summary()?.unwrap_or_default();
        summary.iter_mut().for_each(|row| named(&mut row.trial));
        let frames = tables.digests(&FrameFigure::ESTIMATED)?.unwrap_or_default();
        let mut playouts = tables.playouts()?.unwrap_or_default();
        playouts.iter_mut().for_each(|row| named(&mut row.trial));
        self.summary.extend(summary);
        self.frames.extend(frames, |trial| format!("{number}/{trial}"));
        self.playouts.extend(playouts);
        Ok(())
    }

    fn units(&self) -> Vec<table::Unit<'_>> {
        table::units_of_digests(&self.summary, &self.frames, &self.playouts)
    }

    /// What a fact is in its runs, each value once.
    fn all(&self, fact: Fact) -> Vec<String> {
        let mut values: Vec<String> = self.manifests.iter().map(fact).collect();
        values.sort_unstable();
        values.dedup();
        values
    }

    /// The same in words.
    fn mixed_text(&self) -> String {
        self.mixed().into_iter().map(|what| format!("MIXED in {}: {what}\n", self.name)).collect()
    }

    /// What its runs do not have in common, though their trials count as repetitions of one thing.
    fn mixed(&self) -> Vec<String> {
        let differing = FACTS.into_iter().filter_map(|(name, fact)| {
            let values = self.all(fact);
            (values.len() > 1).then(|| format!("{name}: {}", values.join(", ")))
        });
        let one_recipe = self.all(|m| m.recipe.name.clone()).len() == 1;
        let one_text = self.all(|m| m.recipe.text.clone()).len() == 1;
        let text = (one_recipe && !one_text).then(|| "the text of the recipe (see recipe.yaml of each)".to_owned());
        differing.chain(text).collect()
    }

    /// In what the circumstances differ, so that a difference of figures may come from that.
    fn unlike(&self, other: &Side) -> Vec<String> {
        let mut unlike: Vec<String> = Vec::new();
        for (name, fact) in FACTS {
            let (ours, theirs) = (self.all(fact).join(", "), other.all(fact).join(", "));
            if ours != theirs {
                unlike.push(format!("{name}: {ours} and {theirs}"));
            }
        }
        let text = |side: &Side| side.manifests.first().map(|m| m.recipe.text.clone());
        if self.manifests.first().map(|m| &m.recipe.name) == other.manifests.first().map(|m| &m.recipe.name)
            && text(self) != text(other)
        {
            unlike.push("the text of the recipe (see recipe.yaml of both)".into());
        }
        unlike
    }
}

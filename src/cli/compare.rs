//! `livectl compare`: is a change real?

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;

use super::exit::{Exit, Failure, WithExit};
use crate::plan::{CROWD, ENGINE, Scheme, Trial};
use crate::plot::{self, Condition, Loaded};
use crate::store::{self, Made, Manifest, Owner, RunDir};
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

/// What `real` means where figures come from a model.
const OF_A_MODEL: &str = "Predictions have no chance but their seeds': of them `real` says that the model gives another figure, not that the network does.\n";

/// Of what one side has and the other has not, so many are named.
const SHOWN_UNMATCHED: usize = 6;

/// Why trials that are not sound do not count, and what shows the figures of those in these folders.
fn not_compared(folders: &[&str]) -> String {
    let folders: Vec<String> = folders.iter().map(|folder| crate::shell_word::quoted(folder)).collect();
    let folders = folders.join(" ");
    format!(
        "and only fit trials are compared: others may differ by the machine's doing. \
         `livectl plot --include-unfit --plot box --text {folders}` shows their figures"
    )
}

/// A circumstance of a run.
type Fact = fn(&Manifest) -> String;

/// What may make figures differ besides what is compared.
const FACTS: [(&str, Fact); 6] = [
    ("recipe", |m| m.recipe.name.clone()),
    ("made", |m| {
        let model = || m.predicted.as_ref().map_or_else(String::new, |p| format!(" by model {}", p.model));
        match m.made() {
            Made::Measured => "measured".into(),
            Made::Predicted => format!("predicted{}", model()),
            Made::Both { .. } => format!("measured, and predicted{}", model()),
        }
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
    /// single folder: its schemes are compared with each other. Only fit trials count
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// All figures of estimates.csv, not only the main ones
    #[arg(long, conflicts_with = "metrics")]
    all: bool,
    /// Only these figures, by their names in estimates.csv. A single one makes one table, with a line for each viewer
    #[arg(long = "metric", value_name = "NAME")]
    metrics: Vec<String>,
    /// Only trials and viewers with this value (KEY=VALUE), one of several (KEY=A,B), or without it (KEY!=VALUE); keys
    /// as for `livectl plot`
    #[arg(long = "where", value_name = "KEY=VALUE")]
    only: Vec<Condition>,
    /// The scheme that a single folder's others are compared with [default: its first]
    #[arg(long, value_name = "SCHEME", hide_possible_values = true)]
    base: Option<Scheme>,
    /// Write the table as CSV too
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

/// What is on one side.
struct Side {
    /// As it was named on the command line.
    folder: String,
    /// The same for people: with the number of runs.
    name: String,
    runs: Vec<Loaded>,
    summary: Vec<SummaryRow>,
    frames: Digests,
    playouts: Vec<PlayoutRow>,
}

/// The place of a trial's run among those of its side, and its name there.
fn origin(trial: &str) -> Option<(usize, &str)> {
    let (place, name) = trial.split_once('/')?;
    Some((place.parse().ok()?, name))
}

/// Compares runs.
pub(super) fn compare(args: &CompareArgs) -> Result<Exit, Failure> {
    let mut sides = args.runs.iter().map(|path| Side::read(path)).collect::<Result<Vec<_>, _>>()?;
    args.narrow(&mut sides)?;
    let (Some(base), others) = (sides.first(), sides.get(1..).unwrap_or_default()) else {
        return Err(Failure::new(Exit::Usage, anyhow!("name a run")));
    };
    if args.base.is_some() && !others.is_empty() {
        let why = "--base is for the schemes of a single folder; of several, each is compared with the first";
        return Err(Failure::new(Exit::Usage, anyhow!(why)));
    }
    let mut all: Vec<DifferenceRow> = Vec::new();
    let mut text = String::new();
    if others.is_empty() {
        let units = base.units();
        if let Some(scheme) = args.base.filter(|scheme| units.iter().all(|u| u.summary.point.scheme != *scheme)) {
            let named = Vec::from_iter(base.schemes(false).iter().map(ToString::to_string)).join(", ");
            return Err(Failure::new(
                Exit::Usage,
                anyhow!("--base {scheme}: {} has no such trials, but {named}", base.name),
            ));
        }
        let differences = table::compare_schemes(&units, args.base);
        if differences.rows.is_empty() {
            let why = base.why_no_schemes();
            return Err(Failure::new(Exit::Results, anyhow!("nothing to compare in {}: {why}", base.name)));
        }
        text += &format!("{}: schemes\n", base.name);
        text += &base.mixed_text();
        if base.has_predictions() {
            text += OF_A_MODEL;
        }
        text += &args.text(&differences, "first", "then")?;
        all.extend(differences.rows);
    }
    for other in others {
        let differences = table::compare(&base.units(), &other.units());
        text += &format!("first:  {}\nsecond: {}\n", base.name, other.name);
        text += &base.mixed_text();
        text += &other.mixed_text();
        if base.has_predictions() || other.has_predictions() {
            text += OF_A_MODEL;
        }
        for difference in base.unlike(other) {
            text += &format!("NOT ALIKE: {difference}\n");
        }
        if differences.rows.is_empty() {
            ui::print(&text)?;
            return Err(Failure::new(Exit::Results, anyhow!(base.why_nothing_alike(other, &differences))));
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

    /// Leaves only the trials and viewers that are asked for.
    fn narrow(&self, sides: &mut [Side]) -> Result<(), Failure> {
        for condition in &self.only {
            let runs = sides.iter().map(|side| side.runs.as_slice());
            plot::known(condition.key(), runs).exit(Exit::Usage)?;
        }
        for side in sides.iter_mut().filter(|_| !self.only.is_empty()) {
            side.narrow(&self.only);
            if side.summary.is_empty() {
                let only: Vec<String> = self.only.iter().map(|condition| format!("--where {condition}")).collect();
                let why = anyhow!("no trial of {} matches {}", side.name, only.join(" "));
                return Err(Failure::new(Exit::Results, why));
            }
        }
        Ok(())
    }

    fn text(&self, differences: &Differences, first: &str, second: &str) -> Result<String, Failure> {
        let known = |name: &String| differences.rows.iter().any(|row| row.metric == *name);
        if let Some(unknown) = self.metrics.iter().find(|name| !known(name)) {
            let mut names: Vec<&str> = differences.rows.iter().map(|row| row.metric.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            let meant = crate::recipe::nearest(unknown, &names);
            let meant = meant.map(|name| format!(" (did you mean {name}?)")).unwrap_or_default();
            let names = names.join(", ");
            return Err(Failure::new(
                Exit::Usage,
                anyhow!("no figure {unknown:?} on both sides{meant}; there are {names}"),
            ));
        }
        let rows: Vec<DifferenceRow> =
            differences.rows.iter().filter(|row| self.wants(&row.metric)).cloned().collect();
        let table = match &self.metrics[..] {
            [_] => table::differences_of_one(&rows, first, second),
            _ => table::differences_text(&rows, first, second),
        };
        let mut text = format!("\n{table}");
        for unmatched in differences.unmatched.iter().take(SHOWN_UNMATCHED) {
            text += &format!("left out: {unmatched}\n");
        }
        match differences.unmatched.len().saturating_sub(SHOWN_UNMATCHED) {
            0 => {}
            more => text += &format!("left out: {more} more\n"),
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
            folder: path.display().to_string(),
            name: path.display().to_string(),
            runs: Vec::new(),
            summary: Vec::new(),
            frames: Digests::default(),
            playouts: Vec::new(),
        };
        for folder in &runs {
            let run = &RunDir::open(folder).exit(Exit::Results)?;
            let manifest = Manifest::load_brief(run).exit(Exit::Results)?;
            if !run.is_sweep() && !run.summary().exists() {
                let typed = crate::shell_word::path(run.path());
                let why = match manifest.imported {
                    Some(_) => format!(
                        "holds imported pings and no frames to compare: `livectl plot --plot delay {typed}` and `livectl report {typed}` show it"
                    ),
                    None => format!(
                        "has no summary.csv: it was interrupted; `livectl analyze {typed}` computes its tables"
                    ),
                };
                let why = anyhow!("{} {why}", run.path().display());
                // Of many runs, the others can still be compared.
                if runs.len() == 1 {
                    return Err(Failure::new(Exit::Results, why));
                }
                ui::warn(&format!("{why}; it is left out"));
                continue;
            }
            side.add(run, &manifest).exit(Exit::Results)?;
            side.runs.push(Loaded::of_manifest(run.path(), manifest));
        }
        if side.runs.is_empty() {
            let why = "none of its runs has a summary.csv";
            return Err(Failure::new(Exit::Results, anyhow!("nothing to compare in {}: {why}", side.name)));
        }
        let repeated = store::repeated(side.runs.iter().map(|run| &run.manifest));
        side.summary.retain(|row| {
            let again = |(place, trial): (usize, &str)| repeated.get(place).is_some_and(|run| run.contains(trial));
            !origin(&row.trial).is_some_and(again)
        });
        for (run, trials) in side.runs.iter().zip(&repeated).filter(|(_, trials)| !trials.is_empty()) {
            ui::warn(&plot::counted_once(&run.path, trials.len()));
        }
        // Whoever compares a prediction with a measurement means the same points.
        if side.is_predicted() {
            let stands_for_itself =
                |trial: &Trial| trial.streams.iter().all(|stream| trial.crowd == Some(stream.viewers.len()));
            let mut trials = side.runs.iter().flat_map(|run| &run.manifest.plan.trials);
            let is_as_large = trials.all(stands_for_itself);
            for row in &mut side.summary {
                row.point.parameters = row.point.parameters.without(ENGINE);
                // A crowd of as many as the recipe has is the recipe's audience.
                if is_as_large {
                    row.point.parameters = row.point.parameters.without(CROWD);
                }
            }
        }
        if side.runs.len() > 1 {
            side.name += &format!(" ({} runs)", side.runs.len());
        }
        Ok(side)
    }

    /// Trials of different runs may have the same name. The number before it is the run's place among `runs`.
    fn add(&mut self, run: &RunDir, manifest: &Manifest) -> Result<(), TableError> {
        let number = self.runs.len();
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

    /// Leaves the trials and viewers that all conditions hold for.
    fn narrow(&mut self, only: &[Condition]) {
        let runs = &self.runs;
        self.summary.retain(|row| {
            let run = origin(&row.trial).and_then(|(place, trial)| Some((runs.get(place)?, trial)));
            run.is_some_and(|(run, trial)| run.meets(only, trial, &row.stream, &row.viewer))
        });
    }

    /// The schemes of its trials, or of its sound ones.
    fn schemes(&self, sound: bool) -> BTreeSet<Scheme> {
        let units = self.units();
        units.iter().filter(|unit| unit.is_sound() || !sound).map(|unit| unit.summary.point.scheme).collect()
    }

    /// Why its schemes cannot be compared with each other.
    fn why_no_schemes(&self) -> String {
        let named = |schemes: BTreeSet<Scheme>| Vec::from_iter(schemes.iter().map(ToString::to_string)).join(", ");
        let (all, sound) = (self.schemes(false), self.schemes(true));
        match (all.len(), sound.len()) {
            (0, _) => "it has no trials".to_owned(),
            (1, _) => {
                format!("all its trials are of one scheme, {}. Name a second run to compare it with", named(all))
            }
            (_, 0) => format!("all its trials are unfit or partial, {}", not_compared(&[&self.folder])),
            (_, 1) => {
                let others = named(all.difference(&sound).copied().collect());
                format!("all its trials of {others} are unfit or partial, {}", not_compared(&[&self.folder]))
            }
            _ => "its schemes have no fit trials of the same viewer".to_owned(),
        }
    }

    /// Why nothing of it can be compared with the other.
    fn why_nothing_alike(&self, other: &Side, differences: &Differences) -> String {
        let mut doubtful: Vec<&Side> =
            [self, other].into_iter().filter(|side| !side.units().iter().any(table::Unit::is_sound)).collect();
        // A run may be compared with itself.
        doubtful.dedup_by_key(|side| &side.folder);
        if doubtful.is_empty() {
            let (named, all) = (SHOWN_UNMATCHED.min(differences.unmatched.len()), differences.unmatched.len());
            let more = if named < all { format!("; and {} more", all - named) } else { String::new() };
            let named = differences.unmatched[..named].join("; ");
            return format!("the runs have no fit trials of the same viewer at the same point: {named}{more}");
        }
        format!(
            "nothing to compare: all trials of {} are unfit or partial, {}",
            Vec::from_iter(doubtful.iter().map(|side| side.name.as_str())).join(" and of "),
            not_compared(&Vec::from_iter(doubtful.iter().map(|side| side.folder.as_str())))
        )
    }

    /// Whether nothing of it was measured.
    fn is_predicted(&self) -> bool {
        self.runs.iter().all(|run| run.manifest.made() == Made::Predicted)
    }

    /// Whether something that is compared was predicted.
    fn has_predictions(&self) -> bool {
        self.is_predicted() || self.summary.iter().any(|row| row.point.is_predicted())
    }

    fn units(&self) -> Vec<table::Unit<'_>> {
        table::units_of_digests(&self.summary, &self.frames, &self.playouts)
    }

    /// What a fact is in its runs, each value once.
    fn all(&self, fact: Fact) -> Vec<String> {
        let mut values: Vec<String> = self.runs.iter().map(|run| fact(&run.manifest)).collect();
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
        let text = |side: &Side| side.runs.first().map(|run| run.manifest.recipe.text.clone());
        if self.runs.first().map(|run| &run.manifest.recipe.name)
            == other.runs.first().map(|run| &run.manifest.recipe.name)
            && text(self) != text(other)
        {
            unlike.push("the text of the recipe (see recipe.yaml of both)".into());
        }
        unlike
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::plan::delivery::Via;
    use crate::table::tests::{frame, record};
    use crate::table::{ViewerFacts, summarise};

    /// Trials by name, and whether each is fit.
    fn side(name: &str, trials: &[(&str, bool)]) -> Side {
        let mut side = Side {
            folder: name.into(),
            name: name.into(),
            runs: Vec::new(),
            summary: Vec::new(),
            frames: Digests::default(),
            playouts: Vec::new(),
        };
        for (trial, fit) in trials {
            let facts = ViewerFacts {
                stream: "hb".into(),
                viewer: "hv".into(),
                born: 1,
                captured: true,
                ..ViewerFacts::default()
            };
            let mut record = record(trial);
            if !fit {
                record.unfit.push("busy".into());
            }
            side.summary.extend(summarise(&record, &[facts], &[frame(trial, "hv", 0, Some(300.0), Via::Cdn)]));
        }
        side
    }

    #[test]
    fn why_there_is_nothing_to_compare_is_what_is_the_case() {
        let why = |trials: &[(&str, bool)]| side("run", trials).why_no_schemes();
        assert!(
            why(&[("direct-1", true)]).starts_with("all its trials are of one scheme, direct. Name a second run")
        );
        let unfit = why(&[("direct-1", false), ("bypass-1", false)]);
        assert!(
            unfit.starts_with("all its trials are unfit or partial") && unfit.contains("--include-unfit"),
            "{unfit}"
        );
        let half = why(&[("direct-1", true), ("bypass-1", false)]);
        assert!(half.starts_with("all its trials of bypass are unfit or partial"), "{half}");
        assert_eq!(why(&[]), "it has no trials");

        let (fit, unfit) = (side("one", &[("direct-1", true)]), side("other", &[("direct-1", false)]));
        let told = fit.why_nothing_alike(&unfit, &Differences::default());
        assert!(told.starts_with("nothing to compare: all trials of other are unfit"), "{told}");
        let elsewhere = Differences { unmatched: vec!["the second has none".into()], ..Differences::default() };
        let told = fit.why_nothing_alike(&fit, &elsewhere);
        assert!(told.ends_with("at the same point: the second has none"), "{told}");
        let unmatched: Vec<String> = (0..20).map(|n| format!("viewer {n}: the second has none")).collect();
        let told = fit.why_nothing_alike(&fit, &Differences { unmatched, ..Differences::default() });
        assert!(
            told.contains("viewer 5:") && !told.contains("viewer 6:") && told.ends_with("; and 14 more"),
            "{told}"
        );
    }
}

//! Pictures of many runs at once, each with what is behind it.

use std::collections::BTreeSet;

use super::canvas;
use super::chart::Chart;
use super::family::{self, Family, Plate, cdf, parts, sources, spread, stalls, sweep, timeline};
use super::key::Condition;
use super::loaded::Loaded;
use super::pictures::Subject;
use super::selection::{Selection, select};
use super::{Around, Picture, PlotError, View};
use crate::plan::LinkKind;
use crate::table::{Figures, metrics};

/// A picture that was drawn.
#[derive(Debug)]
pub struct Shown {
    /// What kind it is.
    pub family: Family,
    /// Which of the runs it is of; `None`: all of them together.
    pub run: Option<usize>,
    /// The file's name without its end: `cdf-plot`.
    pub name: &'static str,
    /// As it stands above the picture.
    pub title: String,
    /// One sentence.
    pub caption: String,
    /// PNG or SVG, as asked for.
    pub bytes: Vec<u8>,
    /// What it shows in a few lines.
    pub table: Figures,
    /// Every point of it, where the table has less.
    pub points: Option<Figures>,
}

impl Shown {
    /// All that it shows.
    #[must_use]
    pub fn figures(&self) -> &Figures {
        self.points.as_ref().unwrap_or(&self.table)
    }
}

/// What [`gallery`] drew.
#[derive(Debug, Default)]
pub struct Gallery {
    /// In the order of the families asked for.
    pub shown: Vec<Shown>,
    /// Pictures that were left out.
    pub left_out: Vec<LeftOut>,
    /// How many trials the view means.
    pub trials: usize,
    /// Of these, those that are in no comparison because they are unfit or partial: their names.
    pub unsound: Vec<String>,
}

/// A picture that was left out.
#[derive(Debug)]
pub struct LeftOut {
    /// Which of the runs it would have been of; `None`: all of them together.
    pub run: Option<usize>,
    /// [`PlotError::Empty`], or [`PlotError::Groups`] for one that needs a colour for each group.
    pub why: PlotError,
}

/// Draws pictures of runs: families over time once for each run, the others once for all runs together. Those for which the runs have no data are
/// left out, each with its reason. [`Loaded::read`] must have read what the families need.
///
/// # Errors
/// [`PlotError::Key`] and [`PlotError::Metric`] for a view that asks for what there is not, [`PlotError::Size`], [`PlotError::Drawing`].
pub fn gallery(runs: &[Loaded], families: &[Family], view: &View, picture: &Picture) -> Result<Gallery, PlotError> {
    for key in view.only.iter().map(Condition::key).chain(&view.by).chain(&view.x) {
        key.known(runs)?;
    }
    let compares = families.iter().any(|family| family.compares());
    let selection = if compares { Some(select(runs, view)?) } else { None };
    known_metric(families, selection.as_ref(), view)?;
    let around = around(runs);
    let mut tasks: Vec<(Family, Option<usize>)> = Vec::new();
    for family in families {
        match family.compares() {
            true => tasks.push((*family, None)),
            false => tasks.extend((0..runs.len()).map(|run| (*family, Some(run)))),
        }
    }
    let draw = |(family, run): (Family, Option<usize>)| -> Result<Shown, PlotError> {
        let plate = match (family, run, &selection) {
            (Family::Delay, Some(run), _) => timeline::delay(&runs[run], view, picture),
            (Family::FrameDelay, Some(run), _) => timeline::frame_delay(&runs[run], view, picture),
            (_, _, Some(selection)) => plate(family, selection, runs, view, &around, picture),
            (Family::Delay | Family::FrameDelay, None, _) | (_, _, None) => {
                Err(PlotError::Empty { picture: family.stem(), why: "there are no runs".to_owned() })
            }
        };
        let Plate { mut chart, caption, table, points } = plate?;
        if let Some(title) = &picture.title {
            chart.title.clone_from(title);
        }
        let bytes = canvas::picture(&chart, picture.size, picture.format)?;
        let Chart { title, .. } = chart;
        Ok(Shown { family, run, name: family.stem(), title, caption, bytes, table, points })
    };
    let mut drawn = Gallery::default();
    if let Some(selection) = &selection {
        drawn.trials = selection.trials;
        drawn.unsound.clone_from(&selection.left_out);
    }
    for ((_, run), outcome) in tasks.iter().zip(side_by_side(&tasks, draw)) {
        match outcome {
            Ok(shown) => drawn.shown.push(shown),
            Err(why @ (PlotError::Empty { .. } | PlotError::Groups { .. })) => {
                drawn.left_out.push(LeftOut { run: *run, why });
            }
            Err(other) => return Err(other),
        }
    }
    Ok(drawn)
}

/// Does tasks, as many at a time as there are processors; outcomes are in the tasks' order.
fn side_by_side<T: Sync + Copy, R: Send>(tasks: &[T], work: impl Fn(T) -> R + Sync) -> Vec<R> {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut mine = Vec::new();
        while let (n, Some(task)) = {
            let n = next.fetch_add(1, Ordering::Relaxed);
            (n, tasks.get(n))
        } {
            mine.push((n, work(*task)));
        }
        mine
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(tasks.len());
    let mut all: Vec<(usize, R)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        // A panic is passed on.
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|e| std::panic::resume_unwind(e)))
            .collect()
    });
    all.sort_by_key(|(n, _)| *n);
    all.into_iter().map(|(_, outcome)| outcome).collect()
}

fn plate(
    family: Family,
    selection: &Selection<'_>,
    runs: &[Loaded],
    view: &View,
    around: &Around,
    picture: &Picture,
) -> Result<Plate, PlotError> {
    let plate = match family {
        Family::Cdf => cdf::plate(selection, view, around, picture.scale)?,
        Family::Box => spread::plate(selection, view, around, picture.scale)?,
        Family::Parts => parts::plate(selection, around)?,
        Family::Stalls => stalls::plate(selection, view, around, picture.scale)?,
        Family::Sources => sources::plate(selection, around)?,
        Family::Sweep | Family::Delay | Family::FrameDelay => {
            sweep::plate(selection, runs, view, around, picture.scale)?
        }
    };
    if plate.chart.is_empty() {
        let why = match picture.scale {
            crate::plot::Scale::Logarithmic => "no value is above 0, as a logarithmic axis needs it; leave --log out",
            crate::plot::Scale::Linear => "none of its figures is known",
        };
        let why = why.to_owned();
        return Err(PlotError::Empty { picture: family.stem(), why });
    }
    Ok(plate)
}

/// An error if none of the families knows the metric asked for.
fn known_metric(families: &[Family], selection: Option<&Selection<'_>>, view: &View) -> Result<(), PlotError> {
    let Some(asked) = view.metric.as_deref() else { return Ok(()) };
    let plain = asked.strip_suffix("_ms").unwrap_or(asked);
    let mut known: Vec<String> =
        families.iter().flat_map(|family| family::metric_names(*family)).map(str::to_owned).collect();
    if known.iter().any(|name| name == plain) {
        return Ok(());
    }
    if families.contains(&Family::Sweep) {
        let Some(selection) = selection else { return Ok(()) };
        if selection.groups.is_empty() || sweep::metric(selection, Some(asked)).is_some() {
            return Ok(());
        }
        let members = selection.groups.iter().flat_map(|group| &group.members);
        known.extend(metrics(&members.map(|member| member.unit).collect::<Vec<_>>()));
    }
    if known.is_empty() {
        known.push("nothing: these pictures show what they show".to_owned());
    }
    Err(PlotError::Metric { metric: asked.to_owned(), known: known.join(", ") })
}

/// The words for runs taken together.
fn around(runs: &[Loaded]) -> Around {
    let recipes: BTreeSet<&str> = runs.iter().map(|run| run.manifest.recipe.name.as_str()).collect();
    let subject = match recipes.len() {
        0..=3 => recipes.into_iter().collect::<Vec<_>>().join(", "),
        many => format!("{many} recipes"),
    };
    let links: BTreeSet<String> =
        runs.iter().filter_map(|run| run.manifest.link.as_ref()).map(|choice| choice.used.to_string()).collect();
    let versions: BTreeSet<&str> = runs.iter().map(|run| run.manifest.livectl.version.as_str()).collect();
    let origin = match runs {
        [run] => Subject::of(&run.manifest).origin,
        _ => {
            let mut origin = vec![format!("{} runs", runs.len())];
            origin.extend(links.iter().map(|link| format!("{link} links")));
            origin.push(format!("livectl {}", versions.into_iter().collect::<Vec<_>>().join(", ")));
            origin.join(" · ")
        }
    };
    let mut warnings = Vec::new();
    if links.len() > 1 {
        let (netem, emulated) = (LinkKind::Netem, LinkKind::Emulated);
        warnings.push(format!(
            "Runs with {netem} links and with {emulated} ones are together here; --by link tells them apart."
        ));
    }
    Around { subject, origin, warnings }
}

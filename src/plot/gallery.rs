//! Pictures of many runs at once, each with what is behind it.

use std::collections::{BTreeSet, HashSet};

use super::canvas;
use super::chart::Chart;
use super::family::{
    self, Family, Plate, audience, cdf, heat, offload, parts, servers, sources, spread, stalls, sweep, timeline, tree,
};
use super::key::{Condition, Key, known};
use super::loaded::{Loaded, MOST_OVER_TIME};
use super::pictures::Subject;
use super::selection::{Selection, asked, schemes, select};
use super::{Around, Picture, PlotError, View};
use crate::plan::{LinkKind, Trial};
use crate::store::{Made, TrialState};
use crate::table::{Figures, metrics, trial_metrics};

/// Trials of a run that have pictures of their own: with repetitions there are many of a kind.
pub(super) const MOST_TRIALS: usize = 16;

/// A picture that was drawn.
#[derive(Debug)]
pub struct Shown {
    /// The kind of picture that it is.
    pub family: Family,
    /// Which of the runs it is of; `None`: all of them together.
    pub run: Option<usize>,
    /// The file's name without its end: `cdf-plot`, `tree-plot-relay-1`.
    pub name: String,
    /// Its title, as it stands above the picture.
    pub title: String,
    /// What it shows, in one sentence.
    pub caption: String,
    /// Bytes of a PNG or SVG file, as asked for.
    pub bytes: Vec<u8>,
    /// What it shows in a few lines.
    pub table: Figures,
    /// Every point of it, where the table has less.
    pub points: Option<Figures>,
}

impl Shown {
    /// All figures that it shows: the points if there are any, else the table.
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
    /// Pictures that were asked for and are not there, and why.
    pub left_out: Vec<LeftOut>,
    /// How many trials meet the view's conditions.
    pub trials: usize,
    /// Of these, those that are in no comparison because they are unfit or partial: their names.
    pub unsound: Vec<String>,
}

/// A picture that was asked for and cannot be drawn.
#[derive(Debug)]
pub struct LeftOut {
    /// Which of the runs it would have been of; `None`: all of them together.
    pub run: Option<usize>,
    /// [`PlotError::Empty`], or [`PlotError::Groups`] for one that needs a colour for each group.
    pub why: PlotError,
}

/// Draws pictures of runs: families over time once for each run, those of single trials once for each trial with
/// peers, the others once for all runs together. Those for which the runs have no data are left out, each with its
/// reason. [`Loaded::read`] must have read what the families need.
///
/// # Errors
/// [`PlotError::Key`] and [`PlotError::Metric`] for a view that asks for what there is not, [`PlotError::Size`],
/// [`PlotError::Drawing`].
pub fn gallery(runs: &[Loaded], families: &[Family], view: &View, picture: &Picture) -> Result<Gallery, PlotError> {
    for key in view.only.iter().map(Condition::key).chain(&view.by).chain(&view.x).chain(&view.y) {
        known(key, [runs])?;
    }
    let compares = families.iter().any(|family| family.compares());
    let selection = if compares { Some(select(runs, view)?) } else { None };
    // Its groups have panels of their own, and parameters that it is not drawn over are averaged over.
    let by = if view.by.is_empty() { schemes(runs) } else { asked(runs, &view.by) };
    let panels = families.contains(&Family::Heat).then(|| select(runs, &View { by, ..view.clone() })).transpose()?;
    // These are drawn over the size of the audience, which a prediction for crowds has as a parameter.
    let is_sized = |family| matches!(family, Family::Audience | Family::Offload);
    let over = View { x: Some(view.x.clone().unwrap_or_else(|| Key::from("viewers"))), ..view.clone() };
    let sizes = families.iter().copied().any(is_sized).then(|| select(runs, &over)).transpose()?;
    let of_family = |family| match family {
        Family::Heat => panels.as_ref(),
        family if is_sized(family) => sizes.as_ref(),
        _ => selection.as_ref(),
    };
    known_metric(families, selection.as_ref(), view)?;
    let around = around(runs, view);
    let tasks: Vec<Task<'_>> = families.iter().flat_map(|family| tasks(*family, runs, view)).collect();
    let draw = |Task { family, run, trial }: Task<'_>| -> Result<Shown, PlotError> {
        let nothing = |why: &str| PlotError::Empty { picture: family.stem(), why: why.to_owned() };
        let plate = match (family, run.and_then(|run| runs.get(run)), trial, of_family(family)) {
            (Family::Delay, Some(run), ..) => timeline::delay(run, &run.apart(view), picture),
            (Family::FrameDelay, Some(run), ..) => timeline::frame_delay(run, &run.apart(view), picture),
            (Family::Tree, Some(run), Some(trial), _) => tree::plate(run, trial, view),
            (Family::Servers, Some(run), Some(trial), _) => servers::plate(run, trial, view),
            (Family::Tree | Family::Servers, Some(_), None, _) => Err(nothing("no selected trial has peers")),
            (family, None, _, Some(selection)) if family.compares() => {
                plate(family, selection, runs, view, &around, picture)
            }
            _ => Err(nothing("there are no runs")),
        };
        let Plate { mut chart, caption, table, points } = plate?;
        if let Some(title) = &picture.title {
            chart.title.clone_from(title);
        }
        let bytes = canvas::picture(&chart, picture.size, picture.format)?;
        let Chart { title, .. } = chart;
        let name = match trial {
            Some(trial) => format!("{}-{}", family.stem(), trial.id),
            None => family.stem().to_owned(),
        };
        Ok(Shown { family, run, name, title, caption, bytes, table, points })
    };
    let mut drawn = Gallery::default();
    if let Some(selection) = &selection {
        drawn.trials = selection.trials;
        drawn.unsound.clone_from(&selection.left_out);
    }
    for (Task { run, .. }, outcome) in tasks.iter().zip(side_by_side(&tasks, draw)) {
        match outcome {
            Ok(shown) => drawn.shown.push(shown),
            Err(why @ (PlotError::Empty { .. } | PlotError::Groups { .. })) => {
                drawn.left_out.push(LeftOut { run: *run, why });
            }
            Err(other) => return Err(other),
        }
    }
    drawn.left_out.extend(families.iter().flat_map(|family| crowded_out(*family, runs, view)));
    Ok(drawn)
}

/// A picture that is to be drawn.
#[derive(Clone, Copy)]
struct Task<'r> {
    family: Family,
    /// Of which run; `None`: of all of them together.
    run: Option<usize>,
    /// Of which of its trials; `None`: of all of them.
    trial: Option<&'r Trial>,
}

fn tasks<'r>(family: Family, runs: &'r [Loaded], view: &View) -> Vec<Task<'r>> {
    if family.compares() {
        return vec![Task { family, run: None, trial: None }];
    }
    let of_run = |(place, run): (usize, &'r Loaded)| -> Vec<Task<'r>> {
        let trials = run.manifest.plan.trials.iter().filter(|trial| family.of_trials() && is_meant(run, trial, view));
        let task = |trial| Task { family, run: Some(place), trial };
        let mut tasks: Vec<Task<'r>> = trials.take(MOST_TRIALS).map(|trial| task(Some(trial))).collect();
        if tasks.is_empty() {
            tasks.push(task(None));
        }
        tasks
    };
    runs.iter().enumerate().flat_map(of_run).collect()
}

/// What is said of trials that have no picture because there are too many.
fn crowded_out(family: Family, runs: &[Loaded], view: &View) -> Vec<LeftOut> {
    let of_run = |(place, run): (usize, &Loaded)| {
        if matches!(family, Family::Delay | Family::FrameDelay) {
            let more = run.not_over_time(view);
            let why = format!(
                "it shows the first {MOST_OVER_TIME} selected trials of the sweep, not the other {more}; --where KEY=VALUE selects others"
            );
            return (more > 0)
                .then(|| LeftOut { run: Some(place), why: PlotError::Empty { picture: family.stem(), why } });
        }
        let meant = run.manifest.plan.trials.iter().filter(|trial| family.of_trials() && is_meant(run, trial, view));
        let more = meant.count().saturating_sub(MOST_TRIALS);
        let why = format!("{more} more trials with peers are not drawn; --where trial=NAME,NAME draws them");
        (more > 0).then(|| LeftOut { run: Some(place), why: PlotError::Empty { picture: family.stem(), why } })
    };
    runs.iter().enumerate().filter_map(of_run).collect()
}

/// Whether the trial has peers, was run, and has a viewer that the view means.
fn is_meant(run: &Loaded, trial: &Trial, view: &View) -> bool {
    let was_run = run.record(&trial.id).is_some_and(|record| record.state != TrialState::Planned);
    was_run && trial.point.scheme.has_peers() && run.means(trial, view)
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
        Family::Audience => audience::plate(selection, runs, around, picture.scale)?,
        Family::Offload => offload::plate(selection, runs, around)?,
        Family::Heat => heat::plate(selection, runs, view, around, picture.scale)?,
        Family::Sweep | Family::Delay | Family::FrameDelay | Family::Tree | Family::Servers => {
            sweep::plate(selection, runs, view, around, picture.scale)?
        }
    };
    if plate.chart.is_empty() {
        let why = match picture.scale {
            crate::plot::Scale::Logarithmic => "no value is above 0, which a logarithmic axis needs; leave out --log",
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
    let (sweep, heat) = (families.contains(&Family::Sweep), families.contains(&Family::Heat));
    if sweep || heat {
        let Some(selection) = selection else { return Ok(()) };
        let members = selection.groups.iter().flat_map(|group| &group.members);
        let units: Vec<_> = members.map(|member| member.unit).collect();
        let is_known = (sweep && sweep::metric(selection, Some(asked)).is_some())
            || (heat && heat::metric(&units, Some(asked)).is_some());
        if selection.groups.is_empty() || is_known {
            return Ok(());
        }
        known.extend(if sweep { metrics(&units) } else { trial_metrics(&units) });
    }
    if known.is_empty() {
        known.push("nothing: these pictures offer no choice".to_owned());
    }
    Err(PlotError::Metric { metric: asked.to_owned(), known })
}

/// Title, origin and warnings of pictures that show runs together.
fn around(runs: &[Loaded], view: &View) -> Around {
    let recipes: BTreeSet<&str> = runs.iter().map(|run| run.manifest.recipe.name.as_str()).collect();
    let subject = match recipes.len() {
        0..=3 => recipes.into_iter().collect::<Vec<_>>().join(", "),
        many => format!("{many} recipes"),
    };
    let links: BTreeSet<String> =
        runs.iter().filter_map(|run| run.manifest.link.as_ref()).map(|choice| choice.used.to_string()).collect();
    let predicted = runs.iter().filter(|run| run.manifest.made() == Made::Predicted).count();
    let partly = runs.iter().filter(|run| matches!(run.manifest.made(), Made::Both { .. })).count();
    let versions: BTreeSet<&str> = runs.iter().map(|run| run.manifest.livectl.version.as_str()).collect();
    let origin = match runs {
        [run] => {
            let trials = run.manifest.plan.trials.iter().filter(|trial| run.means(trial, view));
            let meant: HashSet<&str> = trials.map(|trial| trial.id.as_str()).collect();
            Subject::of_trials(&run.manifest, |id| meant.contains(id)).origin
        }
        _ => {
            let mut origin = vec![format!("{} runs", runs.len())];
            origin.extend(links.iter().map(|link| format!("{link} links")));
            if predicted > 0 {
                origin.push(format!("{predicted} PREDICTED, not measured"));
            }
            if partly > 0 {
                origin.push(format!("{partly} partly PREDICTED"));
            }
            origin.push(format!("livectl {}", versions.into_iter().collect::<Vec<_>>().join(", ")));
            origin.join(" · ")
        }
    };
    let mut warnings = Vec::new();
    if links.len() > 1 {
        let (netem, emulated) = (LinkKind::Netem, LinkKind::Emulated);
        warnings.push(format!(
            "This picture combines runs with {netem} links and {emulated} links; --by link separates them."
        ));
    }
    Around { subject, origin, warnings }
}

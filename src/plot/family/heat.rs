//! A figure over two parameters, a panel for each group.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Family, Plate, blank, count, empty, key_columns};
use crate::plan::Parameters;
use crate::plot::cells::{Cells, Known, Panel};
use crate::plot::key::{Key, Value};
use crate::plot::loaded::Loaded;
use crate::plot::selection::{Group, Selection, trials, varied};
use crate::plot::{Around, MOST_PANELS, PlotError, Scale, View};
use crate::table::{Figures, Unit, figure_of_trial, trial_metrics};

/// What is shown unless something else is asked for.
const METRIC: &str = "excess_p95_ms";

/// A cell: the group, the values of both parameters, and what is known.
struct Place<'s, 'a> {
    group: &'s Group<'a>,
    x: Value,
    y: Value,
    known: Known,
    points: usize,
    trials: usize,
    left_out: usize,
}

/// The figure that `--metric` means here: its name, or the median of a column that has quantiles.
pub(in crate::plot) fn metric(units: &[Unit<'_>], asked: Option<&str>) -> Option<String> {
    let known = trial_metrics(units);
    let asked = asked.unwrap_or(METRIC);
    let plain = asked.strip_suffix("_ms").unwrap_or(asked);
    [asked.to_owned(), format!("{plain}_p50_ms"), format!("{plain}_mean_ms")]
        .into_iter()
        .find(|name| known.contains(name))
}

/// The parameters that are meant: those asked for, else the first ones that differ, numbers before words.
fn axes(runs: &[Loaded], view: &View) -> Result<(Key, Key), PlotError> {
    let mut keys: Vec<Key> = varied(runs).into_iter().map(Key::from).collect();
    keys.sort_by_key(|key| key.unit(runs).0.is_empty());
    let other = |than: Option<&Key>| keys.iter().find(|key| Some(*key) != than).cloned();
    let (x, y) = match (view.x.clone(), view.y.clone()) {
        (Some(x), y) => (Some(x.clone()), y.or_else(|| other(Some(&x)))),
        (None, Some(y)) => (other(Some(&y)), Some(y)),
        (None, None) => {
            let x = other(None);
            (x.clone(), other(x.as_ref()))
        }
    };
    x.zip(y).filter(|(x, y)| x != y).ok_or_else(|| {
        let why =
            "it needs two parameters that differ between the trials; --x KEY --y KEY select others, such as repetition";
        empty(Family::Heat, why.to_owned())
    })
}

/// A cell and what else tells its members apart: place on x, place on y, the other parameters.
type Spot<'k> = (usize, usize, &'k Parameters);

pub(in crate::plot) fn plate(
    selection: &Selection<'_>,
    runs: &[Loaded],
    view: &View,
    around: &Around,
    scale: Scale,
) -> Result<Plate, PlotError> {
    if selection.groups.len() > MOST_PANELS {
        return Err(PlotError::Groups { count: selection.groups.len(), most: MOST_PANELS });
    }
    let (x_key, y_key) = axes(runs, view)?;
    let members = || selection.groups.iter().flat_map(|group| &group.members);
    let units: Vec<Unit<'_>> = members().map(|member| member.unit).collect();
    // Another family's metric, and none, mean the usual one.
    let metric = metric(&units, view.metric.as_deref()).unwrap_or_else(|| METRIC.to_owned());
    let everyone = || members().chain(selection.groups.iter().flat_map(|group| &group.unsound));
    let xs = sorted(everyone().filter_map(|member| x_key.of(member.asked)).collect());
    let ys = sorted(everyone().filter_map(|member| y_key.of(member.asked)).collect());
    let place_in = |values: &[Value], value: &Value| values.binary_search_by(|known| known.compare(value)).ok();
    let mut places: Vec<Place<'_, '_>> = Vec::new();
    for group in &selection.groups {
        let spot = |asked| Some((place_in(&xs, &x_key.of(asked)?)?, place_in(&ys, &y_key.of(asked)?)?));
        let mut here: BTreeMap<Spot<'_>, Vec<_>> = BTreeMap::new();
        for member in &group.members {
            if let Some((x, y)) = spot(member.asked) {
                here.entry((x, y, &member.asked.trial.point.parameters)).or_default().push(member);
            }
        }
        // A point weighs as much as any other, however often it was tried.
        let mut cells: HashMap<(usize, usize), (f64, usize, usize, bool)> = HashMap::new();
        for ((x, y, _), members) in here {
            let doubtful = members.iter().any(|member| !member.is_sound());
            let trials = trials(members.into_iter());
            let figures: Vec<f64> = trials.iter().filter_map(|units| figure_of_trial(units, &metric)).collect();
            if figures.is_empty() {
                continue;
            }
            #[allow(clippy::cast_precision_loss)]
            let mean = figures.iter().sum::<f64>() / figures.len() as f64;
            let cell = cells.entry((x, y)).or_default();
            *cell = (cell.0 + mean, cell.1 + 1, cell.2 + figures.len(), cell.3 || doubtful);
        }
        let mut left_out: HashMap<(usize, usize), BTreeSet<(usize, &str)>> = HashMap::new();
        for member in &group.unsound {
            if let Some(spot) = spot(member.asked) {
                left_out.entry(spot).or_default().insert((member.run, &member.asked.trial.id));
            }
        }
        let tried: BTreeSet<(usize, usize)> = group.members.iter().filter_map(|member| spot(member.asked)).collect();
        // Rows from the top: the greatest first.
        for (row, y) in ys.iter().enumerate().rev() {
            for (column, x) in xs.iter().enumerate() {
                let at = (column, row);
                let left_out = left_out.get(&at).map_or(0, BTreeSet::len);
                let (known, points, trials) = match cells.get(&at) {
                    #[allow(clippy::cast_precision_loss)]
                    Some((sum, points, trials, doubtful)) => {
                        (Known::Figure { value: sum / *points as f64, doubtful: *doubtful }, *points, *trials)
                    }
                    None if left_out > 0 || tried.contains(&at) => (Known::Unsound, 0, 0),
                    None => (Known::Nothing, 0, 0),
                };
                places.push(Place { group, x: x.clone(), y: y.clone(), known, points, trials, left_out });
            }
        }
    }
    let name = |key: &Key, value: &Value| key.value_label(Some(value), key.unit(runs));
    let axis = |key: &Key| {
        let (unit, _) = key.unit(runs);
        if unit.is_empty() { key.name().to_owned() } else { format!("{} ({unit})", key.name()) }
    };
    let size = xs.len() * ys.len();
    let panels = selection.groups.iter().zip(places.chunks(size.max(1)));
    let cells = Cells {
        columns: xs.iter().map(|x| name(&x_key, x)).collect(),
        rows: ys.iter().rev().map(|y| name(&y_key, y)).collect(),
        x_label: axis(&x_key),
        y_label: axis(&y_key),
        scale_label: super::sweep::axis_label(&metric),
        scale,
        panels: panels
            .map(|(group, places)| Panel {
                name: super::remarked(group),
                cells: places.iter().map(|place| place.known).collect(),
            })
            .collect(),
    };
    let over = format!("{} and {}", x_key.name(), y_key.name());
    if cells.is_empty() {
        return Err(empty(Family::Heat, selection.why_empty(&format!("{metric} over {over}"))));
    }
    let mut chart = blank(selection, around, scale);
    chart.title = format!("{}: {metric} over {over}", around.subject);
    chart.cells = Some(cells);
    let keys: Vec<_> = places.iter().map(|place| &place.group.values[..]).collect();
    let mut table = key_columns(Figures::default(), &selection.by, &keys);
    let xs: Vec<[Option<Value>; 1]> = places.iter().map(|place| [Some(place.x.clone())]).collect();
    let ys: Vec<[Option<Value>; 1]> = places.iter().map(|place| [Some(place.y.clone())]).collect();
    for (key, values) in [(&x_key, &xs), (&y_key, &ys)] {
        let values: Vec<&[Option<Value>]> = values.iter().map(|value| &value[..]).collect();
        table = key_columns(table, std::slice::from_ref(key), &values);
    }
    let value =
        |place: &Place<'_, '_>| if let Known::Figure { value, .. } = place.known { Some(value) } else { None };
    let table = table
        .texts("metric", places.iter().map(|_| Some(metric.clone())))
        .counts("points", places.iter().map(|place| count(place.points)))
        .counts("trials", places.iter().map(|place| count(place.trials)))
        .counts("left_out", places.iter().map(|place| count(place.left_out)))
        .numbers("value", places.iter().map(value));
    let caption = format!(
        "{metric} over {over}: of each trial, the mean over its viewers; then the mean over repetitions, and where other parameters differ over their values."
    );
    Ok(Plate { chart, caption, table, points: None })
}

fn sorted(mut values: Vec<Value>) -> Vec<Value> {
    values.sort_by(Value::compare);
    values.dedup();
    values
}

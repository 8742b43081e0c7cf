//! Which trials a picture is of, and in which groups.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use plotters::style::RGBColor;

use super::canvas::Marker;
use super::chart::{BLACK, Dash};
use super::key::{Asked, Condition, Key, Value, known};
use super::loaded::Loaded;
use super::{PlotError, View};
use crate::plan::{CROWD, ENGINE, Scheme, Trial, natural};
use crate::store::{Made, TrialRecord};
use crate::table::Unit;

/// More colours and markers than these cannot be told apart.
pub const MOST_GROUPS: usize = 24;

/// Okabe and Ito's palette, those that stand out most on white first. Warm and cold take turns, as the schemes' own
/// colours do.
pub(super) const BLUE: RGBColor = RGBColor(0, 114, 178);
pub(super) const VERMILLION: RGBColor = RGBColor(213, 94, 0);
pub(super) const GREEN: RGBColor = RGBColor(0, 158, 115);
pub(super) const PURPLE: RGBColor = RGBColor(204, 121, 167);
pub(super) const ORANGE: RGBColor = RGBColor(230, 159, 0);
pub(super) const SKY_BLUE: RGBColor = RGBColor(86, 180, 233);
pub(super) const YELLOW: RGBColor = RGBColor(240, 228, 66);
const PALETTE: [RGBColor; 8] = [VERMILLION, BLUE, ORANGE, SKY_BLUE, PURPLE, GREEN, BLACK, YELLOW];
const MARKERS: [Marker; 5] = [Marker::Circle, Marker::Triangle, Marker::Square, Marker::Diamond, Marker::Cross];
const DASHES: [Dash; 4] = [Dash::Whole, Dash::Strokes, Dash::Dots, Dash::Alternating];

/// What a group's points and lines look like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Style {
    pub(super) colour: RGBColor,
    pub(super) marker: Marker,
    pub(super) dash: Dash,
}

/// Colours come round after eight groups, but not together with the same marker or dash.
fn style(place: usize) -> Style {
    let round = place / PALETTE.len();
    let within = place % PALETTE.len();
    Style {
        colour: PALETTE[within],
        marker: MARKERS[(within + 4 * round) % MARKERS.len()],
        dash: DASHES[(within + round) % DASHES.len()],
    }
}

/// A scheme looks alike in all pictures.
fn style_of(scheme: Scheme) -> Style {
    let [red, green, blue] = scheme.delivery().colour();
    Style { colour: RGBColor(red, green, blue), ..style(scheme as usize) }
}

/// A viewer of a stream in a trial of a run.
#[derive(Clone, Copy)]
pub(super) struct Member<'a> {
    pub(super) asked: Asked<'a>,
    /// Which of the runs, by its place among them.
    pub(super) run: usize,
    pub(super) unit: Unit<'a>,
}

impl Member<'_> {
    pub(super) fn is_sound(&self) -> bool {
        self.unit.summary.fit && !self.unit.summary.partial
    }
}

/// Members with the same values of the keys that were asked to group by.
pub(super) struct Group<'a> {
    pub(super) values: Vec<Option<Value>>,
    /// What the group is called: a line for each key.
    pub(super) label: String,
    pub(super) style: Style,
    pub(super) members: Vec<Member<'a>>,
    /// Its members that are left out because they are unfit or partial.
    pub(super) unsound: Vec<Member<'a>>,
    /// How many trials those are of.
    pub(super) left_out: usize,
}

/// The groups that a picture is of.
pub(super) struct Selection<'a> {
    pub(super) by: Vec<Key>,
    pub(super) groups: Vec<Group<'a>>,
    /// How many trials meet the conditions.
    pub(super) trials: usize,
    /// Of these, those that are unfit or partial and therefore left out: their names.
    pub(super) left_out: Vec<String>,
    /// Those that are in although they are unfit or partial: their names, and why.
    pub(super) doubtful: Vec<String>,
    /// Whether there are frames at all, whatever the conditions.
    pub(super) any_frames: bool,
}

/// Sorts the members of runs into groups.
pub(super) fn select<'a>(runs: &'a [Loaded], view: &View) -> Result<Selection<'a>, PlotError> {
    let by = grouping(runs, view);
    for key in by.iter().chain(view.only.iter().map(Condition::key)).chain(&view.x).chain(&view.y) {
        known(key, [runs])?;
    }
    let units: Vec<(&str, f64)> = by.iter().map(|key| key.unit(runs)).collect();
    let mut trials = BTreeSet::new();
    let (mut left_out, mut doubtful) = (BTreeSet::new(), BTreeSet::new());
    let mut groups: Vec<Group<'a>> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut group_trials: HashMap<usize, BTreeSet<(usize, &str)>> = HashMap::new();
    let name = |run: &Loaded, trial: &str| match runs.len() {
        1 => trial.to_owned(),
        _ => format!("{}/{trial}", run.manifest.run),
    };
    for (place, run) in runs.iter().enumerate() {
        let plans: HashMap<&str, &Trial> = run.manifest.plan.trials.iter().map(|t| (t.id.as_str(), t)).collect();
        for trial in without_data(run, view) {
            trials.insert((place, trial));
            left_out.insert(name(run, trial));
        }
        for unit in run.units() {
            let Some(trial) = plans.get(unit.summary.trial.as_str()).copied() else { continue };
            let asked = Asked { run, trial, stream: &unit.summary.stream, viewer: &unit.summary.viewer };
            if !view.only.iter().all(|condition| condition.holds(asked)) {
                continue;
            }
            let member = Member { asked, run: place, unit };
            let name = name(run, &trial.id);
            trials.insert((place, trial.id.as_str()));
            let values: Vec<Option<Value>> = by.iter().map(|key| key.of(asked)).collect();
            // Numbers have no hash, but a form that tells them apart.
            let of = *places.entry(format!("{values:?}")).or_insert_with(|| {
                let labels = by.iter().zip(&units).zip(&values);
                let label: Vec<String> = labels.map(|((key, unit), v)| key.label(v.as_ref(), *unit)).collect();
                let label = if label.is_empty() { "all".to_owned() } else { label.join("\n") };
                let (members, unsound) = (Vec::new(), Vec::new());
                groups.push(Group { values, label, style: style(0), members, unsound, left_out: 0 });
                groups.len() - 1
            });
            if member.is_sound() || view.include_unfit {
                if !member.is_sound() {
                    doubtful.insert(format!("{name} {}", unit.summary.note));
                }
                groups[of].members.push(member);
            } else {
                left_out.insert(name);
                groups[of].unsound.push(member);
                group_trials.entry(of).or_default().insert((place, trial.id.as_str()));
            }
        }
    }
    for (of, trials) in group_trials {
        groups[of].left_out = trials.len();
    }
    groups.retain(|group| !group.members.is_empty());
    groups.sort_by(|a, b| {
        let pairs = a.values.iter().zip(&b.values);
        pairs.fold(std::cmp::Ordering::Equal, |order, (a, b)| {
            order.then_with(|| match (a, b) {
                (Some(a), Some(b)) => a.compare(b),
                (a, b) => a.is_some().cmp(&b.is_some()).reverse(),
            })
        })
    });
    let engine = by.iter().position(|key| key.name() == ENGINE);
    // A key that tells no groups apart needs no look of its own.
    let is_idle = engine.is_some_and(|at| groups.windows(2).all(|pair| pair[0].values[at] == pair[1].values[at]));
    for (place, group) in groups.iter_mut().enumerate() {
        group.style = match group.but(engine.filter(|_| is_idle))[..] {
            [Some(Value::Scheme(scheme))] => style_of(*scheme),
            _ => style(place),
        };
    }
    Ok(Selection {
        by,
        groups,
        trials: trials.len(),
        left_out: left_out.into_iter().collect(),
        doubtful: doubtful.into_iter().collect(),
        any_frames: runs.iter().any(|run| !run.frames.is_empty() || !run.summary.is_empty()),
    })
}

/// Trials that broke before they left any table, and whose absence must be told.
fn without_data<'a>(run: &'a Loaded, view: &View) -> Vec<&'a str> {
    let told: BTreeSet<&str> = run.summary.iter().map(|row| row.trial.as_str()).collect();
    let broke = |trial: &&Trial| {
        !told.contains(trial.id.as_str()) && run.record(&trial.id).is_some_and(TrialRecord::is_partial)
    };
    let meant = |trial: &&Trial| {
        trial.streams.iter().flat_map(|stream| stream.viewers.iter().map(move |viewer| (stream, viewer))).any(
            |(stream, viewer)| {
                let asked = Asked { run, trial, stream: &stream.name, viewer };
                view.only.iter().all(|condition| condition.holds(asked))
            },
        )
    };
    run.manifest.plan.trials.iter().filter(broke).filter(meant).map(|trial| trial.id.as_str()).collect()
}

/// By scheme, where several recipes come together by recipe too, and in sweeps by the parameters, as far as the
/// groups can be told apart; unless something else was asked for.
fn grouping(runs: &[Loaded], view: &View) -> Vec<Key> {
    if !view.by.is_empty() {
        return asked(runs, &view.by);
    }
    let by = schemes(runs);
    let varied: Vec<Key> =
        varied(runs).into_iter().map(Key::from).filter(|key| !is_over(key, view.x.as_ref())).collect();
    let trials = runs.iter().flat_map(|run| &run.manifest.plan.trials);
    let point = |trial: &'_ Trial| -> (Scheme, Vec<String>) {
        let values = varied.iter().map(|key| trial.point.parameters.get(key.name()).unwrap_or_default().to_owned());
        (trial.point.scheme, values.collect())
    };
    let groups = trials.map(point).collect::<BTreeSet<_>>().len();
    let recipes: BTreeSet<&str> = runs.iter().map(|run| run.manifest.recipe.name.as_str()).collect();
    if groups * recipes.len() > MOST_GROUPS { by } else { [by, varied].concat() }
}

/// What was asked to group by, and whatever else must not be pooled.
pub(super) fn asked(runs: &[Loaded], by: &[Key]) -> Vec<Key> {
    let engine = engine(runs).filter(|engine| !by.contains(engine));
    by.iter().cloned().chain(engine).collect()
}

/// Whether a picture over `x` is one over that parameter.
fn is_over(parameter: &Key, x: Option<&Key>) -> bool {
    x.is_some_and(|x| x == parameter || x.name() == "viewers" && parameter.name() == CROWD)
}

/// By scheme, where several recipes come together by recipe, and where predicted runs come together with measured ones
/// by that: they are never pooled.
pub(super) fn schemes(runs: &[Loaded]) -> Vec<Key> {
    let recipes: BTreeSet<&str> = runs.iter().map(|run| run.manifest.recipe.name.as_str()).collect();
    let recipe = (recipes.len() > 1).then(|| Key::from("recipe"));
    recipe.into_iter().chain([Key::from("scheme")]).chain(engine(runs)).collect()
}

/// The key that keeps predicted and measured trials apart, where there are both.
pub(super) fn engine(runs: &[Loaded]) -> Option<Key> {
    let trials = runs.iter().flat_map(|run| &run.manifest.plan.trials);
    let both = matches!(Made::of(trials.map(|trial| &trial.point)), Made::Both { .. });
    both.then(|| Key::from(ENGINE))
}

/// The names of parameters that have several values.
pub(super) fn varied(runs: &[Loaded]) -> Vec<&str> {
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for trial in runs.iter().flat_map(|run| &run.manifest.plan.trials) {
        for (name, value) in trial.point.parameters.iter().filter(|(name, _)| *name != ENGINE) {
            values.entry(name).or_default().insert(value);
        }
    }
    values.into_iter().filter(|(_, values)| values.len() > 1).map(|(name, _)| name).collect()
}

impl<'a> Selection<'a> {
    /// Why there is nothing to draw, in words; `data` is what the picture needs.
    pub(super) fn why_empty(&self, data: &str) -> String {
        if !self.any_frames {
            "the runs have no frames".to_owned()
        } else if self.trials == 0 {
            "no trial meets the conditions of --where".to_owned()
        } else if self.groups.is_empty() {
            format!("all {} trials are unfit or partial; --include-unfit includes them", self.trials)
        } else {
            format!("{data} is in none of the trials' tables")
        }
    }

    /// An error if there are more groups than can be told apart by colour, marker and dash.
    pub(super) fn tellable(&self) -> Result<(), PlotError> {
        match self.groups.len() {
            count if count > MOST_GROUPS => Err(PlotError::Groups { count, most: MOST_GROUPS }),
            _ => Ok(()),
        }
    }

    /// The names of all viewers, in order.
    pub(super) fn viewers(&self) -> Vec<&'a str> {
        let names: BTreeSet<&str> =
            self.groups.iter().flat_map(|group| group.members.iter().map(|m| m.asked.viewer)).collect();
        let mut names: Vec<&str> = names.into_iter().collect();
        names.sort_by(|a, b| natural(a, b));
        names
    }
}

/// A group beside others of which it may be the prediction, or the measurement.
pub(super) struct Paired<'s, 'a> {
    pub(super) group: &'s Group<'a>,
    /// Which pair it belongs to, in the groups' order.
    pub(super) pair: usize,
    /// It has the other one's, as far as there is one.
    pub(super) style: Style,
    pub(super) predicted: bool,
    /// A group that differs in nothing but the engine is there too.
    pub(super) is_paired: bool,
}

impl<'a> Selection<'a> {
    /// The groups, those together that differ in nothing but the engine; and how many pairs that makes.
    pub(super) fn paired(&self) -> (Vec<Paired<'_, 'a>>, usize) {
        let engine = self.by.iter().position(|key| key.name() == ENGINE);
        let is_predicted = |group: &Group<'_>| group.members.iter().all(|m| m.asked.trial.point.is_predicted());
        let mut pairs: Vec<Vec<Option<&Value>>> = Vec::new();
        let mut of_groups = Vec::new();
        for group in &self.groups {
            let rest = group.but(engine);
            let pair = pairs.iter().position(|known| *known == rest).unwrap_or_else(|| {
                pairs.push(rest);
                pairs.len() - 1
            });
            of_groups.push(pair);
        }
        let both = pairs.len() < self.groups.len();
        let paired = self.groups.iter().zip(&of_groups).map(|(group, pair)| Paired {
            group,
            pair: *pair,
            style: match pairs[*pair][..] {
                _ if !both => group.style,
                [Some(Value::Scheme(scheme))] => style_of(*scheme),
                _ => style(*pair),
            },
            predicted: is_predicted(group),
            is_paired: of_groups.iter().filter(|other| *other == pair).count() > 1,
        });
        (paired.collect(), pairs.len())
    }
}

impl<'a> Group<'a> {
    /// The values of its keys but for one.
    fn but(&self, key: Option<usize>) -> Vec<Option<&Value>> {
        let others = self.values.iter().enumerate().filter(|(place, _)| Some(*place) != key);
        others.map(|(_, value)| value.as_ref()).collect()
    }

    /// Its label on one line.
    pub(super) fn name(&self) -> String {
        self.label.replace('\n', ", ")
    }

    /// The units of each trial, which is what repeats.
    pub(super) fn trials(&self) -> Vec<Vec<Unit<'a>>> {
        trials(self.members.iter())
    }
}

/// The members' units, those of each trial together.
pub(super) fn trials<'a, 'm>(members: impl Iterator<Item = &'m Member<'a>>) -> Vec<Vec<Unit<'a>>>
where
    'a: 'm,
{
    let mut places: HashMap<(usize, &str), usize> = HashMap::new();
    let mut trials: Vec<Vec<Unit<'a>>> = Vec::new();
    for member in members {
        let place = *places.entry((member.run, &member.asked.trial.id)).or_insert(trials.len());
        if place == trials.len() {
            trials.push(Vec::new());
        }
        trials[place].push(member.unit);
    }
    trials
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_groups_look_alike() {
        let all: Vec<Style> = (0..MOST_GROUPS).map(style).collect();
        for (n, a) in all.iter().enumerate() {
            for b in &all[..n] {
                assert!(a.colour != b.colour || (a.marker != b.marker && a.dash != b.dash), "{a:?} {b:?}");
            }
        }
        assert!((0..8).all(|n| all[..8].iter().filter(|style| style.colour == PALETTE[n]).count() == 1));
    }
}

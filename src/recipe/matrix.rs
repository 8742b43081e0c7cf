//! From the matrix of a recipe to its points: each is the recipe with other values at some keys.

use std::collections::BTreeMap;

use super::file::RecipeFile;
use super::parameter::{Anything, Combination, ParameterFile, ParameterName};
use super::place::{Astray, Place, Why, Written};
use super::problem::Finding;
use super::text::{At, Entries, Span, Text};
use super::validate::Notes;
use super::word::{listed, nearest, shown};
use crate::plan::{ENGINE, Parameters, Scheme};

/// Points of a matrix at most, before any are left out. Each is validated as a recipe of its own.
pub(super) const MOST_POINTS: usize = 10_000;

/// The points of a recipe.
pub(super) struct Matrix<'f> {
    parameters: Vec<Parameter<'f>>,
    /// In the order in which the matrix writes them, the last parameter changing first; then those of `include`.
    pub(super) points: Vec<Draft<'f>>,
}

/// What is varied, and where it stands.
struct Parameter<'f> {
    name: &'f str,
    keys: Vec<Vec<&'f str>>,
    values: &'f [Text<Anything>],
}

/// A point before it is validated.
pub(super) struct Draft<'f> {
    /// A value for each parameter.
    chosen: Vec<&'f Text<Anything>>,
    /// The schemes that are tried there.
    pub(super) schemes: Vec<Scheme>,
}

impl<'f> Matrix<'f> {
    /// The points of a recipe; one without parameters where it has no matrix. `None`: see the notes.
    pub(super) fn read(file: &'f RecipeFile, schemes: &[Scheme], notes: &mut Notes<'_>) -> Option<Matrix<'f>> {
        let before = notes.errors.len();
        let Some(written) = file.matrix.get() else {
            let orphans = [("include", file.include.get()), ("exclude", file.exclude.get())];
            for (key, entry) in orphans.iter().filter_map(|(key, list)| Some((key, list.as_ref()?.first()?))) {
                let finding = Finding::new(&entry.span, format!("{key}: there is no matrix"), "of what?");
                notes.errors.push(finding.help("write `matrix:` with parameters and their values"));
            }
            let points = vec![Draft { chosen: Vec::new(), schemes: schemes.to_vec() }];
            return (notes.errors.len() == before).then_some(Matrix { parameters: Vec::new(), points });
        };
        let parameters = read_parameters(written, file, notes);
        if notes.errors.len() > before {
            return None;
        }
        let count = parameters.iter().try_fold(1_usize, |count, p| count.checked_mul(p.values.len()));
        if count.is_none_or(|count| count > MOST_POINTS) {
            let shown = count.map_or_else(|| "more points than can be counted".to_owned(), |n| format!("{n} points"));
            let finding = Finding::new(&written.span, format!("matrix: these are {shown}"), "too many");
            notes.errors.push(
                finding.help(format!("a matrix has at most {MOST_POINTS} points; vary fewer parameters at once")),
            );
            return None;
        }
        let mut matrix = Matrix { points: combinations(&parameters, schemes), parameters };
        matrix.exclude(file.exclude.get().map_or(&[][..], Vec::as_slice), schemes, notes);
        matrix.include(file.include.get().map_or(&[][..], Vec::as_slice), schemes, notes);
        if matrix.points.is_empty() && notes.errors.len() == before {
            let finding = Finding::new(&written.span, "matrix: all its points are excluded", "no point is left");
            notes.errors.push(finding.help("exclude less, or include a point"));
        }
        (notes.errors.len() == before).then_some(matrix)
    }

    /// The recipe at a point.
    pub(super) fn recipe(&self, base: &RecipeFile, point: &Draft<'_>) -> RecipeFile {
        let mut file = base.clone();
        for (parameter, value) in self.parameters.iter().zip(&point.chosen) {
            let value = Written { text: &value.text, span: &value.span };
            for keys in &parameter.keys {
                // That the keys lead somewhere was seen when they were read.
                let put = file.put(keys, value);
                debug_assert!(put.is_ok(), "{keys:?}: {put:?}");
            }
        }
        file
    }

    /// What tells a point from the others.
    pub(super) fn parameters(&self, point: &Draft<'_>) -> Parameters {
        let values = self.parameters.iter().zip(&point.chosen);
        let values: BTreeMap<String, String> =
            values.map(|(p, value)| (p.name.to_owned(), value.text.trim().to_owned())).collect();
        values.into()
    }

    /// The same in words: `bandwidth 2 Mbit/s, delay 5 ms`.
    pub(super) fn label(&self, point: &Draft<'_>) -> String {
        let values = self.parameters.iter().zip(&point.chosen);
        values.map(|(p, value)| format!("{} {}", p.name, value.text)).collect::<Vec<_>>().join(", ")
    }

    /// Where that is written in which one point differs from another.
    pub(super) fn difference(&self, point: &Draft<'_>, other: &Draft<'_>) -> Option<(Span, Span)> {
        let mut pairs = point.chosen.iter().zip(&other.chosen);
        pairs.find(|(a, b)| !alike(&a.text, &b.text)).map(|(a, b)| (a.span.clone(), b.span.clone()))
    }

    fn names(&self) -> Vec<&'f str> {
        self.parameters.iter().map(|p| p.name).collect()
    }

    fn exclude(&mut self, entries: &'f [Combination], schemes: &[Scheme], notes: &mut Notes<'_>) {
        for entry in entries {
            let before = notes.errors.len();
            let mut wanted: Vec<(usize, &str)> = Vec::new();
            let mut only: Option<Scheme> = None;
            for (name, value) in &entry.value.0 {
                if name.text == "scheme" {
                    let scheme = notes.read("scheme", &Text::<Scheme>::written(&value.text, &value.span));
                    if let Some(scheme) = scheme.filter(|scheme| !schemes.contains(scheme)) {
                        let message = format!("exclude: {scheme} is not among the recipe's schemes");
                        notes.errors.push(Finding::new(&value.span, message, "not under `schemes`"));
                    }
                    only = scheme;
                    continue;
                }
                let Some(place) = self.place(name, "exclude", true, notes) else { continue };
                let parameter = &self.parameters[place];
                if !parameter.values.iter().any(|known| alike(&known.text, &value.text)) {
                    let message = format!("exclude: {} is never {}", parameter.name, shown(&value.text));
                    let values: Vec<&str> = parameter.values.iter().map(|value| value.text.as_str()).collect();
                    let help = format!("its values are {}", values.join(", "));
                    notes.errors.push(Finding::new(&value.span, message, "not among its values").help(help));
                }
                wanted.push((place, &value.text));
            }
            if entry.value.0.is_empty() {
                let finding = Finding::new(&entry.span, "exclude: this entry is empty", "nothing");
                notes.errors.push(finding.help("name some parameters with their values"));
            }
            if notes.errors.len() > before {
                continue;
            }
            let meant =
                |point: &Draft<'_>| wanted.iter().all(|(place, text)| alike(&point.chosen[*place].text, text));
            for point in self.points.iter_mut().filter(|point| meant(point)) {
                point.schemes.retain(|scheme| only.is_some_and(|only| only != *scheme));
            }
            self.points.retain(|point| !point.schemes.is_empty());
        }
    }

    fn include(&mut self, entries: &'f [Combination], schemes: &[Scheme], notes: &mut Notes<'_>) {
        for entry in entries {
            let before = notes.errors.len();
            let mut chosen: Vec<Option<&'f Text<Anything>>> = vec![None; self.parameters.len()];
            for (name, value) in &entry.value.0 {
                if let Some(place) = self.place(name, "include", false, notes) {
                    chosen[place] = Some(value);
                }
            }
            if notes.errors.len() > before {
                continue;
            }
            let missing: Vec<&str> =
                self.names().into_iter().zip(&chosen).filter(|(_, value)| value.is_none()).map(|(n, _)| n).collect();
            if !missing.is_empty() {
                let message = format!("include: this point has no value for {}", missing.join(", "));
                let finding = Finding::new(&entry.span, message, "incomplete");
                notes.errors.push(finding.help("give every parameter a value"));
                continue;
            }
            let point = Draft { chosen: chosen.into_iter().flatten().collect(), schemes: schemes.to_vec() };
            let same = |known: &&Draft<'_>| self.difference(&point, known).is_none();
            if self.points.iter().any(|known| same(&known)) {
                let message = format!("include: this point exists already: {}", self.label(&point));
                let finding = Finding::new(&entry.span, message, "a second time");
                notes.errors.push(finding.help("leave it out"));
                continue;
            }
            self.points.push(point);
        }
        if self.points.len() > MOST_POINTS
            && let Some(last) = entries.last()
        {
            let message = format!("include: there are more than {MOST_POINTS} points with these");
            notes.errors.push(Finding::new(&last.span, message, "too many").help("include fewer"));
        }
    }

    /// Which parameter is meant.
    fn place(
        &self,
        name: &Text<ParameterName>,
        list: &str,
        with_scheme: bool,
        notes: &mut Notes<'_>,
    ) -> Option<usize> {
        let found = self.parameters.iter().position(|parameter| parameter.name == name.text);
        if found.is_none() {
            let message = format!("{list}: there is no parameter {}", shown(&name.text));
            let finding = Finding::new(&name.span, message, "unknown");
            let mut names = self.names();
            if with_scheme {
                names.push("scheme");
            }
            let help = match nearest(&name.text, &names) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None if name.text == "scheme" => {
                    "an included point runs with every scheme; `exclude` can name a scheme".to_owned()
                }
                None => format!("write {}", listed(&names)),
            };
            notes.errors.push(finding.help(help));
        }
        found
    }
}

/// Spaces make no difference: `2Mbit/s` is `2 Mbit/s`.
fn alike(a: &str, b: &str) -> bool {
    let letters = |text: &'_ str| text.chars().filter(|c| !c.is_whitespace()).collect::<Vec<_>>();
    letters(a) == letters(b)
}

fn combinations<'f>(parameters: &[Parameter<'f>], schemes: &[Scheme]) -> Vec<Draft<'f>> {
    let mut all: Vec<Vec<&'f Text<Anything>>> = vec![Vec::new()];
    for parameter in parameters {
        all = all
            .into_iter()
            .flat_map(|chosen| parameter.values.iter().map(move |value| [chosen.as_slice(), &[value]].concat()))
            .collect();
    }
    all.into_iter().map(|chosen| Draft { chosen, schemes: schemes.to_vec() }).collect()
}

fn read_parameters<'f>(
    written: &'f At<Entries<ParameterName, At<ParameterFile>>>,
    file: &RecipeFile,
    notes: &mut Notes<'_>,
) -> Vec<Parameter<'f>> {
    if written.value.0.is_empty() {
        let finding = Finding::new(&written.span, "matrix: it has no parameter", "empty");
        notes
            .errors
            .push(finding.help("write parameters with their values, such as `video.bitrate: [1 Mbit/s, 2 Mbit/s]`"));
    }
    let mut parameters: Vec<Parameter<'f>> = Vec::new();
    let mut taken: Vec<(String, Span)> = Vec::new();
    for (name, parameter) in &written.value.0 {
        let is_name = notes.read("matrix", name).is_some();
        let (values, list) = match &parameter.value.of {
            Some(_) => (&parameter.value.values.value, &parameter.value.values.span),
            None => (&parameter.value.values.value, &parameter.span),
        };
        if values.is_empty() {
            let finding = Finding::new(list, format!("{}: the list is empty", name.text), "no value");
            notes.errors.push(finding.help("write its values, at least one"));
        }
        for (number, value) in values.iter().enumerate() {
            if let Some(first) = values[..number].iter().find(|first| alike(&first.text, &value.text)) {
                let message = format!("{}: {} is listed twice", name.text, shown(&value.text));
                let finding = Finding::new(&value.span, message, "again");
                notes.errors.push(finding.also(&first.span, "first").help("keep one of them"));
            }
        }
        let own = match &parameter.value.of {
            Some(of) => of.value.texts(&of.span),
            None if !is_name => continue,
            None => vec![(name.text.as_str(), name.span.clone())],
        };
        if own.is_empty()
            && let Some(of) = &parameter.value.of
        {
            let finding = Finding::new(&of.span, format!("{}: `of` names no key", name.text), "empty");
            notes.errors.push(finding.help("write the key that gets these values"));
        }
        let mut keys = Vec::new();
        for (path, span) in own {
            let is_short = parameter.value.of.is_none();
            if let Some(way) = lead(path, &span, is_short, values.first(), file, notes) {
                if let Some((_, first)) = taken.iter().find(|(other, _)| other == path) {
                    let finding = Finding::new(&span, format!("{} is varied twice", shown(path)), "again");
                    notes.errors.push(finding.also(first, "first").help("keep one of them"));
                }
                taken.push((path.to_owned(), span));
                keys.push(way);
            }
        }
        let is_whole = !keys.is_empty();
        if is_whole && (name.text == ENGINE) != keys.contains(&vec![ENGINE]) || name.text == ENGINE && keys.len() > 1
        {
            let message = format!("matrix: the name {ENGINE} is that of the key {ENGINE}, and no other");
            let finding = Finding::new(&name.span, message, "not its name");
            notes.errors.push(finding.help("write `engine: [emulate, predict]`, and another name for other keys"));
        }
        parameters.push(Parameter { name: &name.text, keys, values });
    }
    parameters
}

/// The keys, if they lead to a value of the recipe.
fn lead<'f>(
    path: &'f str,
    span: &Span,
    is_short: bool,
    value: Option<&Text<Anything>>,
    file: &RecipeFile,
    notes: &mut Notes<'_>,
) -> Option<Vec<&'f str>> {
    let keys: Vec<&str> = path.split('.').collect();
    let text = value.map_or("", |value| &value.text);
    let Err(Astray { left, why }) = file.clone().put(&keys, Written { text, span }) else { return Some(keys) };
    let (before, here) = keys.split_at(keys.len() - left);
    let whose = if before.is_empty() { "the recipe".to_owned() } else { shown(&before.join(".")) };
    let key = here.first().copied().unwrap_or_default();
    let finding = |message: String, label: &str| Finding::new(span, format!("matrix: {message}"), label);
    let short = "; `NAME: { of: KEY, values: [ … ] }` gives a key its own name";
    let finding = match why {
        Why::Unknown(known) => {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let numbered = known.iter().find(|name| {
                key.strip_prefix(**name).is_some_and(|end| !end.is_empty() && end.bytes().all(|b| b.is_ascii_digit()))
            });
            let help = match numbered.copied().or_else(|| nearest(key, &known)) {
                Some(meant) => {
                    let rest = here.get(1..).unwrap_or_default().iter().map(|key| format!(".{key}"));
                    let before: String = before.iter().map(|key| format!("{key}.")).collect();
                    format!("did you mean `{before}{meant}{}`?", rest.collect::<String>())
                }
                None if known.is_empty() => "there is nothing in it".to_owned(),
                None => format!("its keys are {}", known.join(", ")),
            };
            let help = if is_short && before.is_empty() { help + short } else { help };
            finding(format!("{whose} has no {}", shown(key)), "leads nowhere").help(help)
        }
        Why::Absent => finding(format!("the recipe does not contain {whose}"), "leads nowhere")
            .help(format!("write {whose} in the recipe, with a value that the matrix replaces")),
        Why::OfTheRecipe if key == "schemes" => finding("every point runs all schemes".into(), "not a parameter")
            .help("list them under `schemes`; `exclude` can leave one out at some points"),
        Why::OfTheRecipe => finding(format!("{} is the same for all points", shown(key)), "not a parameter")
            .help("vary what trials differ in"),
        Why::Deeper => {
            finding(format!("{whose} is one value"), "goes too deep").help(format!("end the key there: {whose}"))
        }
        Why::Shallow(known) => finding(format!("{whose} has keys of its own"), "not one value")
            .help(format!("go on with one of {}", known.join(", "))),
    };
    notes.errors.push(finding);
    None
}

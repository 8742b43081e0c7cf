//! What trials are chosen and grouped by: `scheme`, `viewer`, `video.bitrate`, and any other path into a trial's
//! plan.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde_json::Value as Json;

use super::PlotError;
use super::loaded::Loaded;
use crate::plan::{Datapath, EMULATED, ENGINE, LinkKind, Measure, PREDICTED, Scheme, Trial, natural};
use crate::recipe::nearest;

/// Keys that are not paths into the plan.
const NAMED: [&str; 12] = [
    "run",
    "recipe",
    "trial",
    "scheme",
    "repetition",
    "stream",
    "viewer",
    "viewers",
    "link",
    "datapath",
    "node",
    ENGINE,
];
/// Parts of the plan of which every trial has so many that to list them helps nobody.
const UNLISTED: [&str; 9] = ["hosts", "pings", "captures", "switches", "streams", "a", "b", "planned", "drawn"];
/// How many keys are listed in an error at most.
const MOST_LISTED: usize = 40;

/// What a trial's viewer can be asked for: `scheme`, `video.bitrate`, `network.links.0.shape.bandwidth` or, by the
/// name of a host, `network.links.hb.shape.bandwidth`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(String);

/// What the answer is. Durations are in seconds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Scheme(Scheme),
    Number(f64),
    Text(String),
}

/// What a trial's viewer must be to be shown: `KEY=VALUE`, `KEY=VALUE,VALUE` (one of them), `KEY!=VALUE` (none of
/// them).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    key: Key,
    equal: bool,
    values: Vec<String>,
}

/// Who is asked: a viewer of a stream in a trial.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) run: &'a Loaded,
    pub(super) trial: &'a Trial,
    pub(super) stream: &'a str,
    pub(super) viewer: &'a str,
}

impl Key {
    /// `None`: this trial has no such thing.
    pub(super) fn of(&self, asked: Asked<'_>) -> Option<Value> {
        let manifest = &asked.run.manifest;
        let trial = asked.trial;
        let link = || manifest.link.as_ref().map_or(trial.links, |choice| choice.used);
        let datapath = || manifest.datapath.as_ref().map_or(trial.datapath, |choice| choice.used);
        Some(match self.0.as_str() {
            "run" => Value::Text(manifest.run.clone()),
            "recipe" => Value::Text(manifest.recipe.name.clone()),
            "trial" => Value::Text(trial.id.clone()),
            "scheme" => Value::Scheme(trial.point.scheme),
            "repetition" => Value::Number(f64::from(trial.point.repetition)),
            "stream" => Value::Text(asked.stream.to_owned()),
            "viewer" => Value::Text(asked.viewer.to_owned()),
            #[allow(clippy::cast_precision_loss)]
            "viewers" => {
                let stream = trial.streams.iter().find(|stream| stream.name == asked.stream);
                // In a prediction for a crowd each of the plan's viewers stands for many.
                Value::Number(trial.crowd.unwrap_or(stream?.viewers.len()) as f64)
            }
            "link" => Value::Text(LinkKind::to_string(&link())),
            "datapath" => Value::Text(Datapath::to_string(&datapath())),
            "node" => Value::Text(asked.run.node(&trial.id)?.to_owned()),
            ENGINE => Value::Text(if trial.point.is_predicted() { PREDICTED } else { EMULATED }.to_owned()),
            path => match trial.point.parameters.get(path) {
                Some(text) => measured(text).0,
                None => value(lookup(asked.run.plan_json(&trial.id)?, path)?)?,
            },
        })
    }

    /// The key as it was written: `video.bitrate`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Whether its values need the plan's JSON, and may be missing from some trials.
    pub(super) fn is_path(&self) -> bool {
        !NAMED.contains(&self.0.as_str())
    }

    /// What a value is called on a picture: `hv1`, `bitrate 1.5 Mbit/s`. Numbers are shown in the unit given.
    pub(super) fn label(&self, value: Option<&Value>, (unit, factor): (&str, f64)) -> String {
        let number = self.value_label(value, (unit, factor));
        let value = match value {
            Some(Value::Number(_)) if !unit.is_empty() => format!("{number} {unit}"),
            _ => number,
        };
        match self.0.as_str() {
            "run" | "recipe" | "trial" | "scheme" | "stream" | "viewer" => value,
            "viewers" if value == "1" => "1 viewer".to_owned(),
            "viewers" => format!("{value} viewers"),
            "link" => format!("{value} links"),
            "datapath" => format!("{value} datapath"),
            "node" => format!("on {value}"),
            ENGINE => if value == PREDICTED { "predicted" } else { "measured" }.to_owned(),
            path => format!("{} {value}", path.rsplit('.').next().unwrap_or(path)),
        }
    }

    /// The same without name and unit, for an axis that has both.
    pub(super) fn value_label(&self, value: Option<&Value>, (unit, factor): (&str, f64)) -> String {
        match value {
            None => "none".to_owned(),
            // Without the noise that the factor may add in the last digits.
            Some(Value::Number(number)) if !unit.is_empty() => ((number * factor * 1e6).round() / 1e6).to_string(),
            Some(value) => value.to_string(),
        }
    }

    /// Its unit on a picture, and what its values are multiplied by to be in it. A parameter's is the one that its
    /// values are written in.
    pub(super) fn unit(&self, runs: &[Loaded]) -> (&'static str, f64) {
        let trials = runs.iter().flat_map(|run| &run.manifest.plan.trials);
        let written = trials.filter(|_| self.is_path()).find_map(|trial| trial.point.parameters.get(&self.0));
        written.map_or_else(|| self.usual_unit(), |text| measured(text).1)
    }

    fn usual_unit(&self) -> (&'static str, f64) {
        match self.0.rsplit('.').next().unwrap_or_default() {
            "bandwidth" | "bitrate" => ("Mbit/s", 1e-6),
            "delay" | "jitter" => ("ms", 1e3),
            "broadcast_at" | "view_at" | "view_every" | "end" | "drain" | "start" | "interval" | "stay" | "away" => {
                ("s", 1.0)
            }
            "queue" => ("packets", 1.0),
            "initial_window" => ("segments", 1.0),
            _ => ("", 1.0),
        }
    }
}

/// An error if no trial has the key.
pub(crate) fn known<'r>(key: &Key, runs: impl IntoIterator<Item = &'r [Loaded]>) -> Result<(), PlotError> {
    let runs: Vec<&Loaded> = runs.into_iter().flatten().collect();
    let trials = || runs.iter().flat_map(|run| run.manifest.plan.trials.iter().map(move |trial| (run, trial)));
    let has = |(run, trial): (&&Loaded, &Trial)| {
        if trial.point.parameters.get(&key.0).is_some() {
            return true;
        }
        run.plan_json(&trial.id).and_then(|json| lookup(json, &key.0)).is_some_and(|found| value(found).is_some())
    };
    if !key.is_path() || trials().any(has) {
        return Ok(());
    }
    let json = trials().find_map(|(run, trial)| run.plan_json(&trial.id));
    let parameters: BTreeSet<&str> =
        trials().flat_map(|(_, trial)| trial.point.parameters.iter().map(|(name, _)| name)).collect();
    Err(PlotError::Key { key: key.0.clone(), hint: hint(&key.0, json, &parameters) })
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Key(text.trim().to_owned())
    }
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, values) = text.split_once('=').ok_or("write KEY=VALUE or KEY!=VALUE, such as scheme=bypass")?;
        let (key, equal) = key.strip_suffix('!').map_or((key, true), |key| (key, false));
        if key.trim().is_empty() {
            return Err("write KEY=VALUE; the key is missing".to_owned());
        }
        let values: Vec<String> = values.split(',').map(|v| v.trim().to_owned()).collect();
        if let Some(other) = values.iter().find(|value| value.contains('=')) {
            return Err(format!("`{other}` is a second condition: write --where again for it"));
        }
        Ok(Condition { key: Key::from(key), equal, values })
    }
}

impl Condition {
    /// The condition that a trial was measured, not predicted.
    pub(super) fn measured() -> Condition {
        Condition { key: Key::from(ENGINE), equal: true, values: vec![EMULATED.to_owned()] }
    }

    /// The key whose value is compared.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    pub(super) fn holds(&self, asked: Asked<'_>) -> bool {
        let value = self.key.of(asked);
        self.values.iter().any(|wanted| value.as_ref().is_some_and(|value| value.is(wanted))) == self.equal
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.key.0, if self.equal { "=" } else { "!=" }, self.values.join(","))
    }
}

impl Value {
    pub(super) fn number(&self) -> Option<f64> {
        if let Value::Number(number) = self { Some(*number) } else { None }
    }

    /// Numbers are equal as numbers: 1500000 is 1.5e6.
    fn is(&self, wanted: &str) -> bool {
        match self {
            Value::Number(number) => wanted
                .parse()
                .is_ok_and(|wanted: f64| (number - wanted).abs() <= 1e-9 * number.abs().max(wanted.abs())),
            other => other.to_string() == wanted,
        }
    }

    /// Schemes as they are declared, numbers by size, names with their numbers by size: hv2 before hv10.
    pub(super) fn compare(&self, other: &Value) -> Ordering {
        match (self, other) {
            (Value::Scheme(a), Value::Scheme(b)) => a.cmp(b),
            (Value::Number(a), Value::Number(b)) => a.total_cmp(b),
            (a, b) => natural(&a.to_string(), &b.to_string()),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Scheme(scheme) => write!(f, "{scheme}"),
            Value::Number(number) => write!(f, "{number}"),
            Value::Text(text) => f.write_str(text),
        }
    }
}

/// The value at a path. An element of a list is named by its place, or by its name: a link's is that of its first
/// end, the host's.
fn lookup<'j>(json: &'j Json, path: &str) -> Option<&'j Json> {
    if path.is_empty() {
        return Some(json);
    }
    // A key may have dots in it.
    let mut ends = path.match_indices('.').map(|(at, _)| at).chain([path.len()]);
    ends.find_map(|end| {
        let (head, rest) = (&path[..end], path.get(end + 1..).unwrap_or_default());
        let found = match json {
            Json::Object(fields) => fields.get(head),
            Json::Array(elements) => match head.parse::<usize>() {
                Ok(place) => elements.get(place),
                Err(_) => elements.iter().find(|element| element_name(element) == Some(head)),
            },
            _ => None,
        };
        lookup(found?, rest)
    })
}

fn element_name(element: &Json) -> Option<&str> {
    element.get("name").or_else(|| element.get("a")?.get("node")).and_then(Json::as_str)
}

/// Durations, which the plan has as seconds and nanoseconds, become seconds.
fn value(json: &Json) -> Option<Value> {
    match json {
        Json::Number(number) => number.as_f64().map(Value::Number),
        Json::String(text) => Some(Value::Text(text.clone())),
        Json::Bool(truth) => Some(Value::Text(truth.to_string())),
        Json::Object(fields) if fields.len() == 2 => {
            let (secs, nanos) = (fields.get("secs")?.as_f64()?, fields.get("nanos")?.as_f64()?);
            // In one division, so that 20 ms are 0.02 s.
            Some(Value::Number((secs * 1e9 + nanos) / 1e9))
        }
        Json::Object(_) | Json::Array(_) | Json::Null => None,
    }
}

/// A parameter's value, and the unit that it is written in with the factor to it.
fn measured(text: &str) -> (Value, (&'static str, f64)) {
    match Measure::read(text) {
        Some(Measure { value, unit, factor }) => (Value::Number(value), (unit, factor)),
        None => (Value::Text(text.trim().to_owned()), ("", 1.0)),
    }
}

/// The paths of all values in a plan.
pub(super) fn paths(json: &Json) -> Vec<String> {
    fn walk(json: &Json, path: &str, found: &mut Vec<String>) {
        if value(json).is_some() {
            found.push(path.to_owned());
            return;
        }
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match json {
            Json::Object(fields) => {
                for (name, field) in fields.iter().filter(|(name, _)| !UNLISTED.contains(&name.as_str())) {
                    walk(field, &below(name), found);
                }
            }
            Json::Array(elements) => {
                for (place, element) in elements.iter().enumerate() {
                    // A host with several links has only its first by name.
                    let name = element_name(element).filter(|name| {
                        elements.iter().filter(|other| element_name(other) == Some(name)).count() == 1
                    });
                    walk(element, &below(name.unwrap_or(&place.to_string())), found);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(json, "", &mut found);
    found
}

/// What keys there are; first those that look like the one that was asked for.
fn hint(key: &str, json: Option<&Json>, parameters: &BTreeSet<&str>) -> String {
    let paths: Vec<String> = json.map(paths).unwrap_or_default();
    let paths: Vec<String> =
        paths.into_iter().filter(|path| path.contains('.') || !NAMED.contains(&path.as_str())).collect();
    let last = key.rsplit('.').next().unwrap_or(key).to_lowercase();
    let alike = |known: &&str| {
        let end = known.rsplit('.').next().unwrap_or(known);
        !last.is_empty() && (end.contains(&last) || last.contains(end) || known.starts_with(&last))
    };
    let mut seen = BTreeSet::new();
    let all = NAMED.into_iter().chain(parameters.iter().copied()).chain(paths.iter().map(String::as_str));
    let all: Vec<&str> = all.filter(|name| seen.insert(*name)).collect();
    let mut near: Vec<&str> = nearest(key, &all).into_iter().collect();
    near.extend(all.iter().copied().filter(alike).filter(|name| nearest(key, &all) != Some(*name)).take(3));
    let meant =
        if near.is_empty() { "known".to_owned() } else { format!("did you mean {}? Known", near.join(" or ")) };
    let more = if all.len() > MOST_LISTED { ", and what else trial.json has" } else { "" };
    format!("{meant} are {}{more}", all[..all.len().min(MOST_LISTED)].join(", "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn plan() -> Json {
        serde_json::json!({
            "scheme": "direct",
            "network": {"links": [
                {"a": {"node": "hb"}, "shape": {"bandwidth": 4_000_000, "delay": {"secs": 1, "nanos": 20_000_000}}},
                {"a": {"node": "hs"}, "shape": {"bandwidth": null, "delay": {"secs": 0, "nanos": 300_000_000}}},
            ]},
            "video": {"bitrate": 1_500_000, "audio": false},
            "parameters": {"video.fps": 25},
        })
    }

    fn at(path: &str) -> Option<Value> {
        lookup(&plan(), path).and_then(value)
    }

    #[test]
    fn a_path_leads_through_lists_by_place_or_by_name_and_durations_are_seconds() {
        assert_eq!(at("video.bitrate"), Some(Value::Number(1.5e6)));
        assert_eq!(at("network.links.0.shape.delay"), Some(Value::Number(1.02)));
        assert_eq!(at("network.links.hs.shape.delay"), Some(Value::Number(0.3)));
        assert_eq!(at("video.audio"), Some(Value::Text("false".into())));
        assert_eq!(at("parameters.video.fps"), Some(Value::Number(25.0)));
        for nothing in ["network.links.1.shape.bandwidth", "network.links.9", "video", "video.bitrat", ""] {
            assert_eq!(at(nothing), None, "{nothing}");
        }
        let all = paths(&plan());
        assert!(all.contains(&"network.links.hb.shape.delay".to_owned()), "{all:?}");
        assert!(all.iter().all(|path| at(path).is_some()), "{all:?}");
    }

    #[test]
    fn numbers_compare_as_numbers_and_words_as_words() {
        assert!(Value::Number(1.5e6).is("1500000") && Value::Number(1.5e6).is("1.5e6"));
        assert!(
            !Value::Number(1.0).is("one") && Value::Text("1".into()).is("1") && !Value::Text("1".into()).is("1.0")
        );
        assert!(Value::Scheme(Scheme::Bypass).is("bypass"));
        let mut names = ["hv10", "hv2", "hb"].map(|n| Value::Text(n.into()));
        names.sort_by(Value::compare);
        assert_eq!(names.map(|n| n.to_string()), ["hb", "hv2", "hv10"]);
    }

    #[test]
    fn conditions_are_read_and_bad_ones_explained() {
        let condition: Condition = "viewer!=hv1, hv2".parse().unwrap();
        assert_eq!((condition.key.name(), condition.equal), ("viewer", false));
        assert_eq!(condition.values, ["hv1", "hv2"]);
        assert!("viewer".parse::<Condition>().unwrap_err().contains("KEY=VALUE"));
        assert!("=7".parse::<Condition>().unwrap_err().contains("key is missing"));
    }

    #[test]
    fn labels_have_units() {
        let label = |key: &str, number| {
            let key = Key::from(key);
            key.label(Some(&Value::Number(number)), key.unit(&[]))
        };
        assert_eq!(label("network.links.0.shape.delay", 0.07), "delay 70 ms");
        assert_eq!(label("video.bitrate", 1.5e6), "bitrate 1.5 Mbit/s");
        assert_eq!(
            (label("video.fps", 30.0), Key::from("viewer").label(None, ("", 1.0))),
            ("fps 30".into(), "none".into())
        );
    }

    #[test]
    fn an_unknown_key_is_answered_with_those_alike() {
        let hint = |key: &str, json: Option<&Json>| super::hint(key, json, &BTreeSet::from(["uplink"]));
        let told = hint("bitrate", Some(&plan()));
        assert!(told.starts_with("did you mean video.bitrate?"), "{told}");
        assert!(hint("schemes", Some(&plan())).starts_with("did you mean scheme?"));
        assert!(hint("xyz", None).starts_with("known are run, recipe, trial"));
        assert!(hint("uplin", Some(&plan())).starts_with("did you mean uplink?"));
    }

    #[test]
    fn parameters_are_numbers_in_the_unit_that_they_are_written_in() {
        let (value, (unit, factor)) = measured("2.5 Mbit/s");
        assert_eq!((value, unit), (Value::Number(2.5e6), "Mbit/s"));
        assert!((2.5e6 * factor - 2.5).abs() < 1e-12);
        assert_eq!(measured("20ms").0, Value::Number(0.02));
        assert_eq!(measured("0.5 %"), (Value::Number(0.005), ("%", 100.0)));
        assert_eq!(measured("25"), (Value::Number(25.0), ("", 1.0)));
        assert_eq!(measured("640x360").0, Value::Text("640x360".into()));
        assert_eq!(measured("true").0, Value::Text("true".into()));
    }
}

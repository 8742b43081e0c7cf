//! What a changed recipe means for what has been done.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use serde_json::Value as Json;

use crate::plan::{Point, Trial};
use crate::store::Planned;

/// Keys shown of those that made the difference.
const MOST_KEYS: usize = 6;

/// What holds, what must run again, and which keys make the difference.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// Trials that are done and hold as they are.
    pub holds: usize,
    /// Trials whose point was done and that must run again, for they mean something else now.
    pub again: usize,
    /// Trials that were not done before.
    pub fresh: usize,
    /// Trials that are done but no longer asked for. They stay where they are.
    pub dropped: usize,
    /// Keys of the trials' plans that differ: the value before, the value now, and of how many of the trials looked
    /// at.
    pub keys: BTreeMap<String, (String, String, usize)>,
}

/// Compares what was asked for before with what is now. `earlier` reads the plan of a trial that is done; a few are
/// looked at.
#[must_use]
pub fn change(
    before: &[Planned],
    now: &[Trial],
    done: &BTreeSet<String>,
    earlier: impl Fn(&str) -> Option<Trial>,
) -> Change {
    const LOOKED_AT: usize = 24;
    let by_point: HashMap<&Point, &Planned> =
        before.iter().filter(|planned| done.contains(&planned.id)).map(|planned| (&planned.point, planned)).collect();
    let mut change = Change::default();
    let mut looked = 0;
    for trial in now {
        if done.contains(&trial.id) {
            change.holds += 1;
        } else if let Some(planned) = by_point.get(&trial.point) {
            change.again += 1;
            if looked < LOOKED_AT
                && let Some(old) = earlier(&planned.id)
            {
                looked += 1;
                for (key, before, now) in differences(&old, trial) {
                    change.keys.entry(key).or_insert((before, now, 0)).2 += 1;
                }
            }
        } else {
            change.fresh += 1;
        }
    }
    let wanted: BTreeSet<&str> = now.iter().map(|trial| trial.id.as_str()).collect();
    change.dropped = before.iter().filter(|p| done.contains(&p.id) && !wanted.contains(p.id.as_str())).count();
    change
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trials = |count: usize| if count == 1 { "1 trial".to_owned() } else { format!("{count} trials") };
        write!(f, "the recipe has changed: {} hold as they are", trials(self.holds))?;
        if self.again > 0 {
            let keys: Vec<String> = self
                .keys
                .iter()
                .take(MOST_KEYS)
                .map(|(key, (before, now, _))| format!("{key} was {before} and is {now}"))
                .collect();
            let more = self.keys.len().saturating_sub(MOST_KEYS);
            let more = if more > 0 { format!("; and {more} keys more") } else { String::new() };
            let why = if keys.is_empty() {
                "livectl itself, or a file that it reads, has changed".to_owned()
            } else {
                keys.join("; ")
            };
            write!(f, "; {} must run again ({why}{more})", trials(self.again))?;
        }
        if self.fresh > 0 {
            write!(f, "; {} were not done before", trials(self.fresh))?;
        }
        if self.dropped > 0 {
            write!(f, "; {} are done but no longer asked for, and stay in trials/", trials(self.dropped))?;
        }
        Ok(())
    }
}

/// The keys in which two plans differ, with both values.
fn differences(before: &Trial, now: &Trial) -> Vec<(String, String, String)> {
    let json = |trial: &Trial| {
        let mut json = serde_json::to_value(trial).unwrap_or_default();
        if let Some(fields) = json.as_object_mut() {
            fields.remove("id");
        }
        json
    };
    let mut found = Vec::new();
    walk(&json(before), &json(now), "", &mut found);
    found
}

fn walk(before: &Json, now: &Json, path: &str, found: &mut Vec<(String, String, String)>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    if before == now {
        return;
    }
    match (before, now) {
        (Json::Object(a), Json::Object(b)) if !is_duration(before) => {
            let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for name in names {
                walk(a.get(name).unwrap_or(&Json::Null), b.get(name).unwrap_or(&Json::Null), &below(name), found);
            }
        }
        (Json::Array(a), Json::Array(b)) if a.len() == b.len() => {
            for (place, (a, b)) in a.iter().zip(b).enumerate() {
                let name = a.get("name").or_else(|| a.get("a")?.get("node")).and_then(Json::as_str);
                walk(a, b, &below(name.unwrap_or(&place.to_string())), found);
            }
        }
        _ => found.push((path.to_owned(), shown(before), shown(now))),
    }
}

fn is_duration(json: &Json) -> bool {
    json.as_object()
        .is_some_and(|fields| fields.len() == 2 && fields.contains_key("secs") && fields.contains_key("nanos"))
}

fn shown(json: &Json) -> String {
    match json {
        Json::Null => "nothing".to_owned(),
        Json::String(text) => text.clone(),
        Json::Array(elements) => format!("a list of {}", elements.len()),
        Json::Object(fields) if is_duration(json) => {
            let part = |name: &str| fields.get(name).and_then(Json::as_f64).unwrap_or(0.0);
            format!("{} s", (part("secs") * 1e9 + part("nanos")) / 1e9)
        }
        Json::Object(_) => "something else".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::plan::Plan;
    use crate::sweep::identity::planned;
    use crate::sweep::identity::tests::plan;

    fn changed(before: &Plan, now: &Plan, done: usize) -> Change {
        let ids: BTreeSet<String> = before.trials.iter().take(done).map(|trial| trial.id.clone()).collect();
        let earlier = |id: &str| before.trials.iter().find(|trial| trial.id == id).cloned();
        change(&planned(before), &now.trials, &ids, earlier)
    }

    #[test]
    fn the_key_that_made_the_difference_is_named() {
        let before = plan(str::to_owned);
        let now = plan(|text| text.replace("delay: 15 ms", "delay: 16 ms"));
        let told = changed(&before, &now, 3);
        assert_eq!((told.holds, told.again, told.fresh, told.dropped), (0, 3, 5, 3));
        assert_eq!(told.keys["network.links.hs.shape.delay"], ("0.015 s".to_owned(), "0.016 s".to_owned(), 3));
        assert_eq!(told.keys.len(), 1, "{:?}", told.keys);
        let text = told.to_string();
        assert!(
            text.contains("3 trials must run again (network.links.hs.shape.delay was 0.015 s and is 0.016 s)"),
            "{text}"
        );
    }

    #[test]
    fn more_of_the_same_leaves_everything_as_it_is() {
        let before = plan(str::to_owned);
        let now = plan(|text| format!("repetitions: 2\n{text}"));
        let told = changed(&before, &now, 8);
        assert_eq!((told.holds, told.again, told.fresh, told.dropped), (8, 0, 8, 0));
        let fewer = changed(&now, &before, 16);
        assert_eq!((fewer.holds, fewer.dropped), (8, 8));
    }
}

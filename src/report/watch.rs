//! What the fitness watch saw, as lines of words and values.
//!
//! Its form is that of the livectl that wrote it; so it is shown as it is, whatever it holds.

use serde_json::{Map, Value};

/// Lists longer than this are summed up.
const LONGEST: usize = 12;

/// `("observations › captures › hv1-eth0 › dropped", "0")` and so on.
pub(super) fn lines(fitness: &Value) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    add(fitness, "", &mut lines);
    lines
}

fn add(value: &Value, path: &str, lines: &mut Vec<(String, String)>) {
    let below = |key: &str| {
        let key = key.replace('_', " ");
        if path.is_empty() { key } else { format!("{path} › {key}") }
    };
    match value {
        Value::Null if path.is_empty() => {}
        Value::Object(object) if duration(object).is_none() => {
            let name = object.values().find_map(Value::as_str).filter(|_| path.ends_with(']'));
            let path = name.map(|name| format!("{} › {name}", path.rsplit_once(" [").map_or(path, |(list, _)| list)));
            for (key, value) in object.iter().filter(|(_, value)| name.is_none() || value.as_str() != name) {
                let at =
                    path.as_ref().map_or_else(|| below(key), |path| format!("{path} › {}", key.replace('_', " ")));
                add(value, &at, lines);
            }
        }
        Value::Array(list) if list.len() > LONGEST => summed_up(list, path, lines),
        Value::Array(list) => {
            for (n, value) in list.iter().enumerate() {
                add(value, &format!("{path} [{}]", n + 1), lines);
            }
        }
        _ => lines.push((path.to_owned(), words(value))),
    }
}

/// From the least to the greatest of each figure.
fn summed_up(list: &[Value], path: &str, lines: &mut Vec<(String, String)>) {
    let path = format!("{path} ({}; each is in manifest.json)", list.len());
    let Some(Value::Object(first)) = list.first() else {
        lines.push((path, "not shown".to_owned()));
        return;
    };
    for key in first.keys() {
        let mut values: Vec<&Value> = list.iter().filter_map(|v| v.get(key)).filter(|v| size(v).is_some()).collect();
        values.sort_by(|a, b| size(a).unwrap_or(0.0).total_cmp(&size(b).unwrap_or(0.0)));
        if let (Some(least), Some(greatest)) = (values.first(), values.last()) {
            let range = format!("{} to {}", words(least), words(greatest));
            lines.push((format!("{path} › {}", key.replace('_', " ")), range));
        }
    }
}

fn size(value: &Value) -> Option<f64> {
    match value {
        Value::Object(object) => duration(object),
        other => other.as_f64(),
    }
}

/// Seconds, if that is what it is.
#[allow(clippy::cast_precision_loss)]
fn duration(object: &Map<String, Value>) -> Option<f64> {
    let part = |key| object.get(key).and_then(Value::as_u64);
    let (seconds, nanos) = part("secs").zip(part("nanos")).filter(|_| object.len() == 2)?;
    Some(seconds as f64 + nanos as f64 / 1e9)
}

fn words(value: &Value) -> String {
    match value {
        Value::Null => super::column::NOTHING.to_owned(),
        Value::String(text) => text.clone(),
        Value::Object(object) => match duration(object) {
            Some(seconds) if seconds < 1.0 => format!("{:.3} ms", seconds * 1e3),
            Some(seconds) => format!("{seconds:.3} s"),
            None => value.to_string(),
        },
        Value::Number(number) if number.is_f64() => {
            number.as_f64().map_or_else(|| number.to_string(), |n| format!("{}", (n * 1e4).round() / 1e4))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_it_holds_is_told() {
        let sample = |busy: f64| serde_json::json!({"busy": busy, "worst": {"secs": 1, "nanos": 5_000_000}});
        let samples: Vec<_> = (0..20).map(|n| sample(f64::from(n) / 20.0)).collect();
        let fitness = serde_json::json!({
            "limits": {"birth_p99": {"secs": 0, "nanos": 100_000_000}, "busy": 0.95},
            "observations": {"captures": [{"interface": "hb-eth0", "dropped": 3}], "samples": samples, "emulator": null},
        });
        let told: Vec<String> = lines(&fitness).into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!(
            told,
            [
                "limits › birth p99: 100.000 ms",
                "limits › busy: 0.95",
                "observations › captures › hb-eth0 › dropped: 3",
                "observations › emulator: –",
                "observations › samples (20; each is in manifest.json) › busy: 0 to 0.95",
                "observations › samples (20; each is in manifest.json) › worst: 1.005 s to 1.005 s",
            ]
        );
        assert!(lines(&Value::Null).is_empty());
        assert_eq!(
            lines(&serde_json::json!([1, "x"])),
            [(" [1]".to_owned(), "1".to_owned()), (" [2]".to_owned(), "x".to_owned())]
        );
    }
}

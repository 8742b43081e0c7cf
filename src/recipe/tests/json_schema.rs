//! As much of JSON Schema 2020-12 as recipes use.

use serde_json::Value as Json;

/// Where and how `value` violates `schema`, a part of `root`. A keyword that is unknown here panics, so that none is
/// passed over.
pub(super) fn violations(root: &Json, schema: &Json, value: &Json, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    let here = |what: String| format!("{at}: {what}");
    for (keyword, rule) in schema.as_object().expect("no schema here is a mere boolean") {
        let inside = |key: &str, rule: &Json, value: &Json| violations(root, rule, value, &format!("{at}/{key}"));
        let empty = serde_json::Map::new();
        let entries = value.as_object().unwrap_or(&empty);
        match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" | "default" | "examples" | "uniqueItems" => {}
            "$ref" => {
                let definition = rule.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                found.extend(violations(root, &root["$defs"][definition], value, at));
            }
            "oneOf" => {
                let options = rule.as_array().unwrap();
                if options.iter().filter(|option| violations(root, option, value, at).is_empty()).count() != 1 {
                    found.push(here("oneOf".to_owned()));
                }
            }
            "items" => {
                for (n, item) in value.as_array().into_iter().flatten().enumerate() {
                    found.extend(inside(&n.to_string(), rule, item));
                }
            }
            "properties" => {
                for (key, value) in entries {
                    found.extend(rule.get(key).map(|rule| inside(key, rule, value)).unwrap_or_default());
                }
            }
            "propertyNames" => {
                found.extend(entries.keys().flat_map(|key| inside(key, rule, &Json::from(key.as_str()))))
            }
            "additionalProperties" => {
                for (key, value) in entries.iter().filter(|(key, _)| schema["properties"].get(*key).is_none()) {
                    match rule {
                        Json::Bool(false) => found.push(here(format!("unknown {key}"))),
                        rule => found.extend(inside(key, rule, value)),
                    }
                }
            }
            "required" => {
                let lacking =
                    rule.as_array().unwrap().iter().filter(|key| value.get(key.as_str().unwrap()).is_none());
                found.extend(lacking.map(|key| here(format!("lacks {key}"))));
            }
            keyword if !holds(keyword, rule, value) => found.push(here(keyword.to_owned())),
            _ => {}
        }
    }
    found
}

/// Keywords that look at one value alone.
fn holds(keyword: &str, rule: &Json, value: &Json) -> bool {
    let limit = rule.as_u64().unwrap_or_default();
    let number = value.as_u64();
    let letters = value.as_str().map(|text| text.chars().count() as u64);
    let items = value.as_array().map(|list| list.len() as u64);
    match keyword {
        "type" => match rule.as_str().unwrap() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "integer" => value.is_u64() || value.is_i64(),
            "boolean" => value.is_boolean(),
            other => panic!("the schema has the type {other}, which this test does not know"),
        },
        "const" => value == rule,
        "enum" => rule.as_array().unwrap().contains(value),
        "pattern" => {
            let pattern = regex_lite::Regex::new(rule.as_str().unwrap()).unwrap();
            value.as_str().is_none_or(|text| pattern.is_match(text))
        }
        "minimum" => number.is_some_and(|n| n >= limit),
        "maximum" => number.is_some_and(|n| n <= limit),
        "minLength" => letters.is_none_or(|n| n >= limit),
        "maxLength" => letters.is_none_or(|n| n <= limit),
        "minItems" => items.is_none_or(|n| n >= limit),
        "maxItems" => items.is_none_or(|n| n <= limit),
        "minProperties" => value.as_object().is_none_or(|map| map.len() as u64 >= limit),
        other => panic!("the schema has the keyword {other}, which this test does not know"),
    }
}

//! The parameters of a sweep, as a recipe writes them. Doc comments are what an editor shows.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use super::text::{At, Entries, Span, Text};
use super::unit::{Misread, Value};
use super::word::shown;

/// Letters of a parameter's name at most.
const LONGEST_NAME: usize = 80;
/// What tables and pictures have under these names is something else.
const TAKEN: [&str; 9] = ["run", "recipe", "trial", "scheme", "repetition", "stream", "viewer", "link", "datapath"];

/// What a parameter is called in tables and pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterName(pub String);

impl Value for ParameterName {
    fn expected() -> String {
        "a name such as `bandwidth`, or a key such as `video.bitrate`".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Misread> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.' | '-');
        let begins = text.starts_with(|c: char| c.is_ascii_lowercase());
        if !begins || text.len() > LONGEST_NAME || !text.chars().all(plain) {
            let message = format!("{} cannot be a parameter's name", shown(text));
            let help = "write a small letter, then small letters, digits, `_`, `-` and `.`, at most 80";
            return Err(Misread::new(message, "not a name", help));
        }
        if TAKEN.contains(&text) {
            let message = format!("{} is the name of another column", shown(text));
            let help = match text {
                "scheme" => "list schemes under `schemes`: every point runs all of them".to_owned(),
                "repetition" => "say how often under `repetitions`".to_owned(),
                _ => format!("choose another name, such as `{text}_kind`"),
            };
            return Err(Misread::new(message, "taken", help));
        }
        Ok(ParameterName(text.to_owned()))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-z][a-z0-9_.-]{0,79}$" })
    }
}

/// Where a value stands: `network.hosts.hv.link.bandwidth`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPath(pub String);

impl Value for KeyPath {
    fn expected() -> String {
        "keys with dots between them, such as `network.hosts.hv.link.bandwidth`".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Misread> {
        if text.split('.').any(|key| key.is_empty() || key.contains(char::is_whitespace)) {
            let message = format!("{} is no path of keys", shown(text));
            return Err(Misread::new(message, "not a path", format!("write {}", Self::expected())));
        }
        Ok(KeyPath(text.to_owned()))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[^.\\s]+(\\.[^.\\s]+)*$" })
    }
}

/// Whatever can be written as one value; what it must be is up to the key that it is put at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anything(pub String);

impl Value for Anything {
    fn expected() -> String {
        "a value".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Misread> {
        Ok(Anything(text.to_owned()))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "oneOf": [{ "type": "string" }, { "type": "integer" }, { "type": "boolean" }] })
    }
}

/// Values of parameters, by their names.
pub type Combination = At<Entries<ParameterName, Text<Anything>>>;

/// A parameter: either a list of values, if its name is a key of the recipe, or where they are put and the list.
#[derive(Debug, Clone)]
pub struct ParameterFile {
    /// Where the values are put; `None`: the name says so.
    pub of: Option<At<Keys>>,
    /// One after the other.
    pub values: At<Vec<Text<Anything>>>,
}

/// One key or several, which then get the same value.
#[derive(Debug, Clone)]
pub enum Keys {
    /// One path: its values are what varies.
    One(String),
    /// Several paths that vary together.
    Several(Vec<Text<KeyPath>>),
}

/// The longer way to write a parameter.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Placed {
    /// The key whose value it is, such as `network.hosts.hv.link.bandwidth`, or a list of keys that get the same
    /// value.
    of: At<Keys>,
    /// The values that it takes.
    #[schemars(extend("minItems" = 1, "uniqueItems" = true))]
    values: At<Vec<Text<Anything>>>,
}

impl<'de> Deserialize<'de> for ParameterFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = ParameterFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of values, or `{ of: KEY, values: [ … ] }`,")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = seq.next_element()? {
                    values.push(value);
                }
                Ok(ParameterFile { of: None, values: At { value: values, span: 0..0 } })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let Placed { of, values } = Placed::deserialize(MapAccessDeserializer::new(map))?;
                Ok(ParameterFile { of: Some(of), values })
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for ParameterFile {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ParameterFile".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "oneOf": [
            { "type": "array", "minItems": 1, "uniqueItems": true, "items": Anything::schema(generator) },
            generator.subschema_for::<Placed>(),
        ] })
    }
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;

        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Keys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key or a list of keys")
            }

            fn visit_str<E>(self, text: &str) -> Result<Keys, E> {
                Ok(Keys::One(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut keys = Vec::new();
                while let Some(key) = seq.next_element()? {
                    keys.push(key);
                }
                Ok(Keys::Several(keys))
            }
        }

        deserializer.deserialize_any(OneOrMore)
    }
}

impl JsonSchema for Keys {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Keys".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let key = KeyPath::schema(generator);
        json_schema!({ "oneOf": [key, { "type": "array", "minItems": 1, "uniqueItems": true, "items": key }] })
    }
}

impl Keys {
    /// The keys with their places; `whole` is that of them all.
    pub(super) fn texts(&self, whole: &Span) -> Vec<(&str, Span)> {
        match self {
            Keys::One(key) => vec![(key.as_str(), whole.clone())],
            Keys::Several(keys) => keys.iter().map(|key| (key.text.as_str(), key.span.clone())).collect(),
        }
    }
}

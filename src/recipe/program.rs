//! The program of a broadcaster, as a recipe writes it. Doc comments are what an editor shows.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::place::{Astray, Place, Why, Written};
use super::text::{At, Span, Text};
use super::unit::{Misread, Value};
use super::word::{choose, listed, shown};
use crate::plan::Program;

/// Bytes of an argument at most.
const LONGEST_ARGUMENT: usize = 4095;

/// What broadcasts: a word, or a command.
#[derive(Debug, Clone)]
pub enum ProgramFile {
    /// One that livectl knows.
    Word(Text<Program>),
    /// Any other, and where it is written.
    Command(CommandFile, Span),
}

/// A program that publishes RTMP, and its arguments.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandFile {
    /// The program, looked up in PATH or, with a slash in it, in the recipe's folder; and its arguments. No shell sees them. In arguments `{url}`, `{frames}`,
    /// `{fps}`, `{size}`, `{bitrate}` (bit/s) and `{seconds}` stand for what is to be published.
    #[schemars(extend("minItems" = 1))]
    pub command: At<Vec<Text<Argument>>>,
}

/// A word of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument(pub String);

impl Value for Argument {
    fn expected() -> String {
        "a word of a command".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Misread> {
        if text.contains('\0') || text.len() > LONGEST_ARGUMENT {
            let message = format!("{} cannot be a word of a command", shown(text));
            let help = format!("write {LONGEST_ARGUMENT} bytes at most, and no character U+0000");
            return Err(Misread::new(message, "not a word", help));
        }
        Ok(Argument(text.to_owned()))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "oneOf": [
            { "type": "string", "maxLength": LONGEST_ARGUMENT }, { "type": "integer" }, { "type": "boolean" },
        ] })
    }
}

/// The programs that have a name.
const NAMES: [&str; 3] = ["ffmpeg", "obs", "obs-defaults"];

impl Value for Program {
    fn expected() -> String {
        format!("a program: {}, or `{{ command: [PROGRAM, …] }}`", listed(&NAMES))
    }

    fn parse(text: &str) -> Result<Self, Misread> {
        let words: Vec<(&str, usize)> = NAMES.into_iter().zip(0..).collect();
        let found = choose(text, "a program that livectl knows", &words).map_err(|mut misread| {
            misread.help =
                misread.help.map(|help| format!("{help}; any other is `{{ command: [PROGRAM, ARGUMENT, …] }}`"));
            misread
        })?;
        Ok([Program::Ffmpeg, Program::Obs, Program::ObsDefaults][found].clone())
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": NAMES })
    }
}

/// Before its place is known.
enum Raw {
    Word(String),
    Command(CommandFile),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a program, or `{ command: [PROGRAM, ARGUMENT, …] }`,")
            }

            fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
                Ok(Raw::Word(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Raw, A::Error> {
                CommandFile::deserialize(MapAccessDeserializer::new(map)).map(Raw::Command)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for ProgramFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let At { value, span } = At::<Raw>::deserialize(deserializer)?;
        Ok(match value {
            Raw::Word(text) => ProgramFile::Word(Text::written(&text, &span)),
            Raw::Command(command) => ProgramFile::Command(command, span),
        })
    }
}

impl JsonSchema for ProgramFile {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ProgramFile".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "oneOf": [Program::schema(generator), generator.subschema_for::<CommandFile>()] })
    }
}

impl Place for ProgramFile {
    fn put(&mut self, keys: &[&str], value: Written<'_>) -> Result<(), Astray> {
        if !keys.is_empty() {
            return Err(Astray { left: keys.len(), why: Why::Deeper });
        }
        *self = ProgramFile::Word(Text::written(value.text, value.span));
        Ok(())
    }

    fn fresh() -> Option<Self> {
        Some(ProgramFile::Word(Text::written("", &(0..0))))
    }
}

impl ProgramFile {
    /// Where it is written.
    #[must_use]
    pub fn span(&self) -> &Span {
        match self {
            ProgramFile::Word(text) => &text.span,
            ProgramFile::Command(_, span) => span,
        }
    }
}

//! The program of a broadcaster and the player of a viewer, as a recipe writes them. Doc comments are what an editor shows.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::place::{Astray, Place, Why, Written};
use super::text::{At, Optional, Span, Text};
use super::unit::{Misread, Value};
use super::word::{Flag, choose, listed, shown};
use crate::plan::{Player, Program};

/// Bytes of an argument at most.
const LONGEST_ARGUMENT: usize = 4095;

/// A program: a word, or a mapping with a command.
#[derive(Debug, Clone)]
pub enum WordOr<W, M> {
    /// One that livectl knows.
    Word(Text<W>),
    /// Any other, and where it is written.
    Mapping(M, Span),
}

/// What broadcasts.
pub type ProgramFile = WordOr<Program, CommandFile>;
/// What a viewer watches with.
pub type PlayerFile = WordOr<Player, PlayerCommandFile>;

/// What may be written in place of a word.
pub trait InPlaceOfAWord {
    /// What is expected there, for people.
    const EXPECTED: &'static str;
}

impl InPlaceOfAWord for CommandFile {
    const EXPECTED: &'static str = "the name of a program, or `{ command: [PROGRAM, ARGUMENT, …] }`,";
}

impl InPlaceOfAWord for PlayerCommandFile {
    const EXPECTED: &'static str = "the name of a player, or `{ command: [PLAYER, ARGUMENT, …] }`,";
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

/// A program that plays RTMP, and its arguments.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlayerCommandFile {
    /// The player, looked up in PATH or, with a slash in it, in the recipe's folder; and its arguments. No shell sees them. In arguments `{url}` stands for the
    /// stream, and `{dump}` for the file to which a player writes it that shows nothing.
    #[schemars(extend("minItems" = 1))]
    pub command: At<Vec<Text<Argument>>>,
    /// Whether it shows the stream in a window, and so gets a screen. Default: false.
    #[serde(default)]
    #[schemars(extend("default" = false))]
    pub window: Optional<Text<Flag>>,
}

/// A word of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument(pub String);

impl Value for Argument {
    const FREE: bool = true;

    fn expected() -> String {
        "a word of a command".to_owned()
    }

    fn parse(text: &str) -> Result<Self, Misread> {
        if text.contains('\0') || text.len() > LONGEST_ARGUMENT {
            let message = format!("{} cannot be a word of a command", shown(text));
            let help = format!("write at most {LONGEST_ARGUMENT} bytes, and no character U+0000");
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

impl Value for Player {
    fn expected() -> String {
        format!("a player: {}, or `{{ command: [PLAYER, …] }}`", listed(&Player::NAMED.each_ref().map(Player::name)))
    }

    fn parse(text: &str) -> Result<Self, Misread> {
        let words: Vec<(&str, usize)> = Player::NAMED.iter().map(Player::name).zip(0..).collect();
        let found = choose(text, "a player that livectl knows", &words).map_err(|mut misread| {
            misread.help =
                misread.help.map(|help| format!("{help}; any other is `{{ command: [PLAYER, ARGUMENT, …] }}`"));
            misread
        })?;
        Ok(Player::NAMED[found].clone())
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": Player::NAMED.each_ref().map(Player::name) })
    }
}

/// Before its place is known.
enum Raw<M> {
    Word(String),
    Mapping(M),
}

impl<'de, M: Deserialize<'de> + InPlaceOfAWord> Deserialize<'de> for Raw<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<M>(PhantomData<M>);

        impl<'de, M: Deserialize<'de> + InPlaceOfAWord> Visitor<'de> for Either<M> {
            type Value = Raw<M>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(M::EXPECTED)
            }

            fn visit_str<E>(self, text: &str) -> Result<Raw<M>, E> {
                Ok(Raw::Word(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Raw<M>, A::Error> {
                M::deserialize(MapAccessDeserializer::new(map)).map(Raw::Mapping)
            }
        }

        deserializer.deserialize_any(Either(PhantomData))
    }
}

impl<'de, W, M: Deserialize<'de> + InPlaceOfAWord> Deserialize<'de> for WordOr<W, M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let At { value, span } = At::<Raw<M>>::deserialize(deserializer)?;
        Ok(match value {
            Raw::Word(text) => WordOr::Word(Text::written(&text, &span)),
            Raw::Mapping(mapping) => WordOr::Mapping(mapping, span),
        })
    }
}

impl<W: Value, M: JsonSchema> JsonSchema for WordOr<W, M> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Word_or_{}", M::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "oneOf": [W::schema(generator), generator.subschema_for::<M>()] })
    }
}

impl<W, M> Place for WordOr<W, M> {
    fn put(&mut self, keys: &[&str], value: Written<'_>) -> Result<(), Astray> {
        if !keys.is_empty() {
            return Err(Astray { left: keys.len(), why: Why::Deeper });
        }
        *self = WordOr::Word(Text::written(value.text, value.span));
        Ok(())
    }

    fn fresh() -> Option<Self> {
        Some(WordOr::Word(Text::written("", &(0..0))))
    }
}

impl<W, M> WordOr<W, M> {
    /// Where it is written.
    #[must_use]
    pub fn span(&self) -> &Span {
        match self {
            WordOr::Word(text) => &text.span,
            WordOr::Mapping(_, span) => span,
        }
    }
}

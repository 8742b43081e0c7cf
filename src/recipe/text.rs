//! The building bricks of a recipe as written: values that remember where they stand, keys that may be absent,
//! mappings that keep their order.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_yaml::{Location, Spanned};

use super::unit::Value;

/// Bytes of the recipe's text.
pub type Span = Range<usize>;

/// Where the YAML parser saw something, as bytes of the text it was given.
pub(super) fn span_of(location: &Location) -> Span {
    let span = location.span();
    let start = usize::try_from(span.byte_offset().unwrap_or(0)).unwrap_or(0);
    let length = usize::try_from(span.byte_len().unwrap_or(0)).unwrap_or(0);
    start..start.saturating_add(length)
}

/// A value and the place where it is written. For a mapping or a list the place is where it begins.
#[derive(Debug, Clone)]
pub struct At<T> {
    /// What is written.
    pub value: T,
    /// Its place in the file.
    pub span: Span,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::<T>::deserialize(deserializer)?;
        Ok(At { value, span: span_of(&referenced) })
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A value of `T` that is still the text it was written as. Validation reads it, so that every wrong value of
/// a recipe is reported at once and not only the first.
#[derive(Debug)]
pub struct Text<T> {
    /// As written, without quotes.
    pub text: String,
    /// Its place in the file.
    pub span: Span,
    means: PhantomData<T>,
}

/// Whatever it means.
impl<T> Clone for Text<T> {
    fn clone(&self) -> Self {
        Text::written(&self.text, &self.span)
    }
}

impl<T> Text<T> {
    /// What is written there.
    pub(super) fn written(text: &str, span: &Span) -> Text<T> {
        Text { text: text.to_owned(), span: span.clone(), means: PhantomData }
    }
}

impl<'de, T> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let At { value: text, span } = At::<String>::deserialize(deserializer)?;
        Ok(Text { text, span, means: PhantomData })
    }
}

impl<T: Value> JsonSchema for Text<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::schema(generator)
    }
}

/// A key that may be absent. Unlike an [`Option`] it does not take an empty value (`seed:`) for absence: that is
/// more often a slip than a wish for the default.
#[derive(Debug, Clone)]
pub struct Optional<T>(pub Option<T>);

impl<T> Default for Optional<T> {
    fn default() -> Self {
        Optional(None)
    }
}

impl<T> Optional<T> {
    /// What is written, if anything is.
    pub fn get(&self) -> Option<&T> {
        self.0.as_ref()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Optional<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(|value| Optional(Some(value)))
    }
}

impl<T: JsonSchema> JsonSchema for Optional<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A mapping whose keys are names of the recipe writer's choice, in the order in which they are written.
#[derive(Debug)]
pub struct Entries<K, T>(pub Vec<(Text<K>, T)>);

impl<K, T: Clone> Clone for Entries<K, T> {
    fn clone(&self) -> Self {
        Entries(self.0.clone())
    }
}

impl<'de, K, T: Deserialize<'de>> Deserialize<'de> for Entries<K, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor<K, T>(PhantomData<(K, T)>);

        impl<'de, K, T: Deserialize<'de>> Visitor<'de> for EntriesVisitor<K, T> {
            type Value = Entries<K, T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("names and what each of them is")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

impl<K: Value, T: JsonSchema> JsonSchema for Entries<K, T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("Entries_of_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "minProperties": 1,
            "propertyNames": K::schema(generator),
            "additionalProperties": generator.subschema_for::<T>(),
        })
    }
}

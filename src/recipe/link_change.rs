//! A link that changes, as a recipe writes it. Doc comments are what an editor shows.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::text::{Optional, Text};
use super::unit::{Bandwidth, Delay, Loss, Misread, Moment, Value};
use super::word::{FilePath, Flag, NodeName, shown};
use crate::plan::Directions;

/// A link that changes at a moment. What is not named stays as it is at that moment.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkChangeFile {
    /// When it changes.
    pub at: Text<Moment>,
    /// Which link: a host that has no other, an interface such as `hs-eth1`, or a trunk such as `s1-s2`.
    pub of: Text<LinkName>,
    /// In which direction: from the host (or from the switch that is named first), to it, or both. Default: both.
    #[serde(default)]
    #[schemars(extend("default" = "both"))]
    pub direction: Optional<Text<Directions>>,
    /// The new rate of whole Ethernet frames, 10 kbit/s to 100 Gbit/s.
    #[serde(default)]
    pub bandwidth: Optional<Text<Bandwidth>>,
    /// The new one-way delay, up to 60 s.
    #[serde(default)]
    pub delay: Optional<Text<Delay>>,
    /// The new jitter, at most the delay.
    #[serde(default)]
    pub jitter: Optional<Text<Delay>>,
    /// The new share of packets lost by chance, under 100 %.
    #[serde(default)]
    pub loss: Optional<Text<Loss>>,
    /// Whether the link is down: packets that enter it are then lost.
    #[serde(default)]
    pub down: Optional<Text<Flag>>,
    /// A file that the link's bandwidth follows from now on, relative to the recipe's folder: Mahimahi's format or
    /// CSV.
    #[serde(default)]
    pub trace: Optional<Text<FilePath>>,
    /// Whether the trace begins again at its end. Default: true.
    #[serde(default)]
    #[schemars(extend("default" = true))]
    pub repeat: Optional<Text<Flag>>,
}

/// What a link is called: `hb`, `hs-eth1`, `s1-s2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkName(pub String);

impl Value for LinkName {
    fn expected() -> String {
        "a host, an interface such as `hs-eth1` or a trunk such as `s1-s2`".to_owned()
    }
    fn parse(text: &str) -> Result<Self, Misread> {
        let (node, other) = text.split_once('-').unwrap_or((text, "s1"));
        if NodeName::parse(node).is_ok() && NodeName::parse(other).is_ok() {
            return Ok(LinkName(text.to_owned()));
        }
        let message = format!("{} is the name of no link", shown(text));
        Err(Misread::new(message, "not a link", format!("write {}", Self::expected())))
    }
    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[a-z][a-z0-9]{0,8}(-[a-z][a-z0-9]{0,8})?$",
            "examples": ["hb", "hs-eth1", "s1-s2"],
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_of_links() {
        for name in ["hb", "hs-eth1", "s1-s2", "hv12-eth0"] {
            assert_eq!(LinkName::parse(name), Ok(LinkName(name.to_owned())));
        }
        for name in ["", "-", "hb-", "-eth0", "s1-s2-s3", "S1", "hb eth0", "$(x)", "hb-eth0;"] {
            let misread = LinkName::parse(name).unwrap_err();
            assert!(misread.message.ends_with("is the name of no link"), "{}", misread.message);
        }
    }
}

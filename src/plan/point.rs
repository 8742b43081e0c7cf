//! A trial's coordinates among the trials of a run.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use livectl_wire::frame::FrameId;
use serde::{Deserialize, Serialize};

use super::Scheme;
use super::measure::by_size;

/// Which trial it is: how video is delivered, with which parameters, for which time. Tables have its parts as
/// columns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Point {
    /// How video is delivered.
    pub scheme: Scheme,
    /// Number of the repetition, from 1.
    pub repetition: u32,
    /// What else tells it from the run's other trials; none where a recipe varies nothing but the scheme.
    #[serde(default, skip_serializing_if = "Parameters::is_empty")]
    pub parameters: Parameters,
}

/// A sweep's coordinates: the values of its parameters by their names, as the recipe's matrix writes them. Shared by
/// all who hold them: every row of a trial's tables does. In order, numbers go by size: 8 viewers before 16.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Parameters(Arc<BTreeMap<String, String>>);

impl Point {
    /// A repetition of a scheme with nothing else to tell it by.
    #[must_use]
    pub fn new(scheme: Scheme, repetition: u32) -> Point {
        Point { scheme, repetition, parameters: Parameters::default() }
    }

    /// The trial's name: unique within the run and safe as a file name. `direct-1`; with parameters their hash stands
    /// in between.
    #[must_use]
    pub fn id(&self) -> String {
        let Point { scheme, repetition, parameters } = self;
        match parameters.hash() {
            None => format!("{scheme}-{repetition}"),
            Some(hash) => format!("{scheme}-{hash}-{repetition}"),
        }
    }

    /// The trial's seed, from that of the run. It is the same for all points of a repetition, so that they meet the
    /// same luck (common random numbers), and unrelated to the next repetition's. SplitMix64: Steele, Lea, Flood,
    /// OOPSLA 2014, figure 17.
    #[must_use]
    pub fn seed(&self, run: u64) -> u64 {
        let z = run.wrapping_add(u64::from(self.repetition).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// What the repetitions of this point have in common: figures are estimated over them.
    #[must_use]
    pub fn group(&self) -> (Scheme, &Parameters) {
        (self.scheme, &self.parameters)
    }
}

impl Parameters {
    /// Whether there are no parameters.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of the parameter of that name; `None`: there is none.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// The others, without the parameter of that name.
    #[must_use]
    pub fn without(&self, key: &str) -> Parameters {
        let others = self.0.iter().filter(|(name, _)| *name != key);
        Parameters(Arc::new(others.map(|(name, value)| (name.clone(), value.clone())).collect()))
    }

    /// The same with that value at that key.
    #[must_use]
    pub fn with(&self, key: &str, value: &str) -> Parameters {
        let mut values = BTreeMap::clone(&self.0);
        values.insert(key.to_owned(), value.to_owned());
        Parameters(Arc::new(values))
    }

    /// Keys and values, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Eight hex digits that stand for them; `None` if there are none.
    fn hash(&self) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        let text: String =
            self.iter().map(|(key, value)| format!("{}:{key}{}:{value}", key.len(), value.len())).collect();
        FrameId::of(text.as_bytes()).to_string().get(..8).map(str::to_owned)
    }
}

impl Ord for Parameters {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) {
            return Ordering::Equal;
        }
        let pairs = self.iter().zip(other.iter());
        let unlike = pairs.map(|((a, x), (b, y))| a.cmp(b).then_with(|| by_size(x, y)));
        unlike.into_iter().find(|order| order.is_ne()).unwrap_or_else(|| self.0.len().cmp(&other.0.len()))
    }
}

impl PartialOrd for Parameters {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// `direct, bandwidth 2 Mbit/s, repetition 1`.
impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Point { scheme, repetition, parameters } = self;
        let comma = if parameters.is_empty() { "" } else { ", " };
        write!(f, "{scheme}{comma}{parameters}, repetition {repetition}")
    }
}

/// `bandwidth 2 Mbit/s, delay 5 ms`.
impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, value)) in self.iter().enumerate() {
            write!(f, "{}{name} {value}", if place > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

impl From<BTreeMap<String, String>> for Parameters {
    fn from(values: BTreeMap<String, String>) -> Self {
        Parameters(Arc::new(values))
    }
}

impl From<Parameters> for BTreeMap<String, String> {
    fn from(parameters: Parameters) -> Self {
        Arc::unwrap_or_clone(parameters.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn with(pairs: &[(&str, &str)]) -> Point {
        let values: BTreeMap<String, String> = pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        Point { parameters: values.into(), ..Point::new(Scheme::Direct, 2) }
    }

    #[test]
    fn ids_are_unique_and_safe_as_file_names() {
        assert_eq!(Point::new(Scheme::Bypass, 3).id(), "bypass-3");
        let points = [
            with(&[]),
            with(&[("video.bitrate", "2 Mbit/s")]),
            with(&[("video.bitrate", "4 Mbit/s")]),
            with(&[("network.hosts.hs.link.delay", "2 Mbit/s")]),
            with(&[("a", "b"), ("c", "d")]),
            with(&[("a", "b\nc"), ("d", "")]),
        ];
        let ids: std::collections::BTreeSet<String> = points.iter().map(Point::id).collect();
        assert_eq!(ids.len(), points.len());
        assert!(ids.iter().all(|id| id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')), "{ids:?}");
    }

    #[test]
    fn repetitions_have_seeds_of_their_own_which_all_points_share() {
        let (a, b) = (with(&[]), with(&[("video.fps", "25")]));
        assert_eq!(a.seed(7), b.seed(7));
        assert_ne!(a.seed(7), Point::new(Scheme::Direct, 1).seed(7));
        assert_ne!(a.group(), b.group());
        assert_eq!(a.group(), Point::new(Scheme::Direct, 9).group());
    }

    #[test]
    fn as_stored() {
        let stored = |point: &Point| serde_json::to_string(point).unwrap();
        assert_eq!(stored(&with(&[])), r#"{"scheme":"direct","repetition":2}"#, "as before there were parameters");
        let point = with(&[("video.fps", "25")]);
        assert_eq!(stored(&point), r#"{"scheme":"direct","repetition":2,"parameters":{"video.fps":"25"}}"#);
        assert_eq!(serde_json::from_str::<Point>(&stored(&point)).unwrap(), point);
        assert_eq!(point.parameters.get("video.fps"), Some("25"));
        assert_eq!(with(&[("b", "2 ms"), ("a", "1")]).to_string(), "direct, a 1, b 2 ms, repetition 2");
        assert_eq!(with(&[]).to_string(), "direct, repetition 2");
    }
}

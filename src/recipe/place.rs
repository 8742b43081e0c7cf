//! Where a value stands in a recipe, by its keys: `network.hosts.hv.link.bandwidth`.
//!
//! The points of a matrix are the recipe with some of its values replaced before anything is validated. So a
//! wrong value is reported like any other, at the place in the matrix where it is written.

use super::file::{
    AgentsFile, BroadcastFile, CdnFile, ChurnFile, HostFile, LinkFile, MoveFile, NetworkFile, PingsFile, RecipeFile,
    TimelineFile, TrunkFile, VideoFile, ViewFile,
};
use super::link_change::LinkChangeFile;
use super::text::{At, Entries, Optional, Span, Text};

/// A value as a matrix writes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written<'a> {
    pub(super) text: &'a str,
    pub(super) span: &'a Span,
}

/// Why no value stands at some keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Astray {
    /// How many keys were left when it was found out; the first of them is the one that leads nowhere.
    pub(super) left: usize,
    pub(super) why: Why,
}

/// The same in kinds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Why {
    /// There is no such key; these are.
    Unknown(Vec<String>),
    /// The recipe does not write the part that the key belongs to, and livectl cannot make it up.
    Absent,
    /// It is the same for all points.
    OfTheRecipe,
    /// A value has no keys in it.
    Deeper,
    /// What is here has keys of its own.
    Shallow(Vec<String>),
}

/// What has values in it, or is one.
pub(super) trait Place: Sized {
    /// Writes the value at these keys.
    fn put(&mut self, keys: &[&str], value: Written<'_>) -> Result<(), Astray>;

    /// One that nothing is written in; `None`: some keys of it are needed.
    fn fresh() -> Option<Self> {
        None
    }
}

impl<T> Place for Text<T> {
    fn put(&mut self, keys: &[&str], value: Written<'_>) -> Result<(), Astray> {
        if !keys.is_empty() {
            return Err(Astray { left: keys.len(), why: Why::Deeper });
        }
        *self = Text::written(value.text, value.span);
        Ok(())
    }

    fn fresh() -> Option<Self> {
        Some(Text::written("", &(0..0)))
    }
}

impl<T: Place> Place for At<T> {
    fn put(&mut self, keys: &[&str], value: Written<'_>) -> Result<(), Astray> {
        self.value.put(keys, value)
    }
}

impl<T: Place> Place for Optional<T> {
    fn put(&mut self, keys: &[&str], value: Written<'_>) -> Result<(), Astray> {
        if let Some(there) = &mut self.0 {
            return there.put(keys, value);
        }
        let mut fresh = T::fresh().ok_or(Astray { left: keys.len(), why: Why::Absent })?;
        fresh.put(keys, value)?;
        self.0 = Some(fresh);
        Ok(())
    }
}

/// By their numbers, from 0.
impl<T: Place> Place for Vec<T> {
    fn put(&mut self, keys: &[&str], value: Written<'_>) -> Result<(), Astray> {
        let numbers = || (0..self.len()).map(|number| number.to_string()).collect();
        let Some((first, rest)) = keys.split_first() else {
            return Err(Astray { left: 0, why: Why::Shallow(numbers()) });
        };
        let unknown = Astray { left: keys.len(), why: Why::Unknown(numbers()) };
        let number: usize = first.parse().map_err(|_| unknown.clone())?;
        self.get_mut(number).ok_or(unknown)?.put(rest, value)
    }
}

impl<K, T: Place> Place for Entries<K, T> {
    fn put(&mut self, keys: &[&str], value: Written<'_>) -> Result<(), Astray> {
        let names = |entries: &Self| entries.0.iter().map(|(name, _)| name.text.clone()).collect();
        let Some((first, rest)) = keys.split_first() else {
            return Err(Astray { left: 0, why: Why::Shallow(names(self)) });
        };
        match self.0.iter().position(|(name, _)| name.text == *first) {
            Some(place) => self.0[place].1.put(rest, value),
            None => Err(Astray { left: keys.len(), why: Why::Unknown(names(self)) }),
        }
    }
}

/// A part of the recipe with these keys; `made up`: without any of them it is one too.
macro_rules! part {
    ($part:ty, made up: $made_up:expr, $($key:ident)+) => {
        impl Place for $part {
            fn put(&mut self, keys: &[&str], value: Written<'_>) -> Result<(), Astray> {
                let known = || [$(stringify!($key)),+].map(str::to_owned).to_vec();
                let Some((first, rest)) = keys.split_first() else {
                    return Err(Astray { left: 0, why: Why::Shallow(known()) });
                };
                match *first {
                    $(stringify!($key) => self.$key.put(rest, value),)+
                    _ => Err(Astray { left: keys.len(), why: Why::Unknown(known()) }),
                }
            }

            fn fresh() -> Option<Self> {
                $made_up
            }
        }
    };
}

part!(VideoFile, made up: Some(Self::default()), pattern file size fps frames codec bitrate keyframe_every audio clock);
part!(AgentsFile, made up: Some(Self::default()), upload_buffer cache handover);
part!(NetworkFile, made up: None, link datapath congestion_control initial_window switches hosts trunks);
part!(HostFile, made up: None, role count watch player program link links);
part!(LinkFile, made up: None, to bandwidth delay jitter loss queue);
part!(TrunkFile, made up: None, between bandwidth delay jitter loss queue);
part!(CdnFile, made up: Some(Self::default()), nodelay segment);
part!(TimelineFile, made up: Some(Self::default()), pings broadcast view links audience churn end drain);
part!(PingsFile, made up: Some(Self::default()), from until every);
part!(BroadcastFile, made up: Some(Self::default()), at until);
part!(ViewFile, made up: Some(Self::default()), at every);
part!(MoveFile, made up: None, at leave crash join);
part!(ChurnFile, made up: None, stay away crash from until);
part!(LinkChangeFile, made up: None, at of direction bandwidth delay jitter loss down trace repeat);

impl Place for RecipeFile {
    fn put(&mut self, keys: &[&str], value: Written<'_>) -> Result<(), Astray> {
        let known =
            || ["engine", "video", "network", "cdn", "timeline", "agents", "captures"].map(str::to_owned).to_vec();
        let Some((first, rest)) = keys.split_first() else {
            return Err(Astray { left: 0, why: Why::Shallow(known()) });
        };
        match *first {
            "engine" => self.engine.put(rest, value),
            "video" => self.video.put(rest, value),
            "network" => self.network.put(rest, value),
            "cdn" => self.cdn.put(rest, value),
            "timeline" => self.timeline.put(rest, value),
            "agents" => self.agents.put(rest, value),
            "captures" => self.captures.put(rest, value),
            "description" | "schemes" | "film" | "repetitions" | "seed" | "matrix" | "until" | "include"
            | "exclude" => Err(Astray { left: keys.len(), why: Why::OfTheRecipe }),
            _ => Err(Astray { left: keys.len(), why: Why::Unknown(known()) }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn put(key: &str) -> Result<RecipeFile, Astray> {
        let mut file: RecipeFile = serde_yaml::from_str(include_str!("../../recipes/smoke.yaml")).unwrap();
        let keys: Vec<&str> = key.split('.').collect();
        file.put(&keys, Written { text: "7", span: &(3..4) })?;
        Ok(file)
    }

    #[test]
    fn values_are_replaced_and_made_where_the_recipe_has_none() {
        let file = put("network.hosts.hv.link.bandwidth").unwrap();
        let link = file.network.hosts.value.0[2].1.value.link.get().unwrap();
        let bandwidth = link.value.bandwidth.get().unwrap();
        assert_eq!((bandwidth.text.as_str(), bandwidth.span.clone()), ("7", 3..4));
        assert_eq!(put("cdn.nodelay").unwrap().cdn.get().unwrap().nodelay.get().unwrap().text, "7");
        assert_eq!(put("network.switches.0").unwrap().network.switches.value[0].text, "7");
        assert_eq!(put("video.keyframe_every").unwrap().video.get().unwrap().frames.get().unwrap().text, "150");
    }

    #[test]
    fn keys_that_lead_nowhere_are_told_with_the_step_that_does() {
        let astray = |key: &str| put(key).unwrap_err();
        let unknown = astray("network.hosts.hv1.link.bandwidth");
        assert_eq!(unknown, Astray { left: 3, why: Why::Unknown(["hb", "hs", "hv"].map(str::to_owned).to_vec()) });
        assert_eq!(astray("timeline.churn.stay"), Astray { left: 1, why: Why::Absent });
        assert_eq!(astray("video.fps.much"), Astray { left: 1, why: Why::Deeper });
        assert_eq!(astray("schemes"), Astray { left: 1, why: Why::OfTheRecipe });
        assert!(
            matches!(astray("cdn"), Astray { left: 0, why: Why::Shallow(known) } if known == ["nodelay", "segment"])
        );
        assert!(matches!(astray("network.switches.9").why, Why::Unknown(known) if known == ["0"]));
        assert!(matches!(astray("vide").why, Why::Unknown(_)));
    }
}

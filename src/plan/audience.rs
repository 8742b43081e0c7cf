//! When each viewer is there: viewers that come and go during the stream.
//!
//! A viewer's time in a trial is a list of *spells*, each with a program of its own. Most viewers have a single one,
//! from their `view_at` to the end of the stream, of which nothing is stored.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Trial;

/// How long a viewer is there, or away, at least: its programs take their time to start and to end.
pub const LEAST_SPELL: Duration = Duration::from_secs(2);

/// How a viewer goes before the stream has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Departure {
    /// Its player is ended, and its agent takes leave.
    Leave,
    /// As if its host's power was cut: nothing leaves the host any more, not even the end of a connection.
    Crash,
}

/// The moment at which a viewer goes, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parting {
    /// When it goes, on the trial's timeline.
    pub at: Duration,
    /// Whether it leaves or crashes.
    pub how: Departure,
}

/// A time for which a viewer is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spell {
    /// When its player starts, on the trial's timeline.
    pub from: Duration,
    /// When and how it goes before the stream ends; `None`: it stays to the end of the stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Parting>,
}

/// Viewers that come and go by chance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Churn {
    /// How long a viewer stays on average.
    pub stay: Duration,
    /// How long it is away on average.
    pub away: Duration,
    /// The share of departures that are crashes, 0 to 1.
    pub crash: f64,
    /// Nobody goes before this moment of the timeline.
    pub from: Duration,
    /// Nobody comes or goes after this moment of the timeline.
    pub until: Duration,
}

/// The spells of viewers that are not simply there until the stream has ended.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Audience {
    /// As they were planned one by one, by viewer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub planned: BTreeMap<String, Vec<Spell>>,
    /// By what chance all others come and go; `None`: they stay to the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub churn: Option<Churn>,
    /// What it came to in this trial, by viewer. Stored, so that tables of stored trials never depend on how chance
    /// is made.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub drawn: BTreeMap<String, Vec<Spell>>,
}

impl Departure {
    /// The word for it in recipes, events and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Departure::Leave => "leave",
            Departure::Crash => "crash",
        }
    }
}

impl Audience {
    /// Whether nobody comes or goes while the stream is on.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Audience::default()
    }

    /// Later spells of all viewers: what a trial has beside one for each.
    #[must_use]
    pub fn returns(&self) -> usize {
        self.planned.values().chain(self.drawn.values()).map(|spells| spells.len().saturating_sub(1)).sum()
    }
}

impl Churn {
    /// So often so many viewers come back, on average.
    #[must_use]
    pub fn returns(&self, viewers: usize) -> f64 {
        viewers as f64 * self.until.saturating_sub(self.from).as_secs_f64() / (self.stay + self.away).as_secs_f64()
    }

    /// The spells of a viewer who begins to watch at `view_at`: it stays for [`LEAST_SPELL`] and an exponentially
    /// distributed time beyond it, so that the mean is `stay`; goes; is away for a time of the same kind; comes
    /// again; and so on. A viewer that is away at the end stays away.
    #[must_use]
    pub fn spells(&self, view_at: Duration, seed: u64) -> Vec<Spell> {
        let mut chance = Chance(seed);
        let (mut spells, mut from) = (Vec::new(), view_at);
        let mut now = view_at.max(self.from);
        loop {
            now += chance.time(self.stay);
            if now >= self.until {
                spells.push(Spell { from, end: None });
                return spells;
            }
            let how = if chance.share() < self.crash { Departure::Crash } else { Departure::Leave };
            spells.push(Spell { from, end: Some(Parting { at: now, how }) });
            now += chance.time(self.away);
            if now >= self.until {
                return spells;
            }
            from = now;
        }
    }
}

/// SplitMix64: Steele, Lea, Flood, OOPSLA 2014, figure 17.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform, 0 to 1 and never 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// At least [`LEAST_SPELL`], and of that mean; in whole milliseconds, so that the last digits of a logarithm
    /// matter nowhere.
    fn time(&mut self, mean: Duration) -> Duration {
        let beyond = mean.saturating_sub(LEAST_SPELL).mul_f64(-(1.0 - self.share()).ln());
        LEAST_SPELL + Duration::from_millis(u64::try_from(beyond.as_millis()).unwrap_or(u64::MAX))
    }
}

impl Trial {
    /// All viewers, in the order of streams and of their viewers, and when each starts to watch if nothing else is
    /// said of it.
    pub fn viewers(&self) -> impl Iterator<Item = (&str, Duration)> {
        let viewers = self.streams.iter().flat_map(|stream| &stream.viewers).enumerate();
        viewers.map(|(before, viewer)| (viewer.as_str(), self.timeline.view_at(before)))
    }

    /// When a viewer is there, in the order of time. None if there is no such viewer.
    #[must_use]
    pub fn spells(&self, viewer: &str) -> Vec<Spell> {
        let moved = self.audience.planned.get(viewer).or_else(|| self.audience.drawn.get(viewer));
        moved.cloned().unwrap_or_else(|| {
            let plain = self.viewers().filter(|(name, _)| *name == viewer);
            plain.map(|(_, from)| Spell { from, end: None }).collect()
        })
    }

    /// What the chance of the viewer of that number begins with: far from the others', for each generator is a walk through
    /// the same numbers.
    #[must_use]
    pub fn seed_of_viewer(&self, number: usize) -> u64 {
        Chance(self.seed ^ Chance(number as u64).next()).next()
    }

    /// The same, with whoever moves by chance moved again: as the trial's seed has it, which is the same for all
    /// schemes of a repetition.
    #[must_use]
    pub fn with_audience_drawn(mut self) -> Trial {
        let Some(churn) = self.audience.churn else { return self };
        let moved = self.viewers().enumerate().filter(|(_, (name, _))| !self.audience.planned.contains_key(*name));
        let drawn = moved
            .map(|(number, (name, view_at))| (name.to_owned(), churn.spells(view_at, self.seed_of_viewer(number))));
        let drawn = drawn.collect();
        self.audience.drawn = drawn;
        self
    }
}

/// What a program of a viewer's spell is called: `player` in the first, then `player-2`, `player-3`, ….
#[must_use]
pub fn program_name(program: &str, spell: u32) -> String {
    if spell <= 1 { program.to_owned() } else { format!("{program}-{spell}") }
}

/// The program and the spell of a [`program_name`].
#[must_use]
pub fn program_of(name: &str) -> (&str, u32) {
    let numbered = name.rsplit_once('-').and_then(|(program, spell)| Some((program, spell.parse().ok()?)));
    numbered.filter(|(_, spell)| *spell > 1).unwrap_or((name, 1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const CHURN: Churn = Churn {
        stay: Duration::from_secs(40),
        away: Duration::from_secs(20),
        crash: 0.25,
        from: Duration::from_secs(10),
        until: Duration::from_secs(130),
    };

    fn drawn(recipe: &str, seed: Option<u64>) -> Vec<Trial> {
        let plan = crate::recipe::from_str("churn.yaml", recipe).unwrap().plan;
        plan.repeated(Some(2), seed).unwrap().trials
    }

    #[test]
    fn stays_have_the_mean_that_was_asked_for_and_are_never_too_short() {
        let (mut stays, mut aways, mut crashes, mut partings) = (Vec::new(), Vec::new(), 0u32, 0u32);
        let long = Churn { until: Duration::from_secs(1_000_000), ..CHURN };
        let spells = long.spells(Duration::from_secs(3), 7);
        for pair in spells.windows(2) {
            let parting = pair[0].end.unwrap();
            stays.push((parting.at - pair[0].from.max(long.from)).as_secs_f64());
            aways.push((pair[1].from - parting.at).as_secs_f64());
            partings += 1;
            crashes += u32::from(parting.how == Departure::Crash);
        }
        let mean = |times: &[f64]| times.iter().sum::<f64>() / times.len() as f64;
        let least = |times: &[f64]| times.iter().copied().fold(f64::INFINITY, f64::min);
        assert!(partings > 10_000, "{partings}");
        assert!((mean(&stays) - 40.0).abs() < 1.5, "{}", mean(&stays));
        assert!((mean(&aways) - 20.0).abs() < 1.0, "{}", mean(&aways));
        assert!(least(&stays) >= 2.0 && least(&aways) >= 2.0);
        let share = f64::from(crashes) / f64::from(partings);
        assert!((share - 0.25).abs() < 0.02, "{share}");
        // Memoryless beyond the least: the median of an exponential distribution is ln 2 of its mean.
        stays.sort_by(f64::total_cmp);
        assert!((stays[stays.len() / 2] - (2.0 + 38.0 * 2f64.ln())).abs() < 1.5);
    }

    #[test]
    fn nobody_moves_outside_the_churn() {
        for seed in 0..500 {
            let spells = CHURN.spells(Duration::from_secs(3), seed);
            assert_eq!(spells[0].from, Duration::from_secs(3));
            let moments: Vec<Duration> = spells
                .iter()
                .skip(1)
                .map(|spell| spell.from)
                .chain(spells.iter().filter_map(|s| Some(s.end?.at)))
                .collect();
            assert!(moments.iter().all(|at| (CHURN.from..CHURN.until).contains(at)), "{moments:?}");
            assert!(spells.windows(2).all(|pair| pair[0].end.is_some_and(|end| end.at < pair[1].from)));
        }
        let late = CHURN.spells(Duration::from_secs(200), 1);
        assert_eq!(late, [Spell { from: Duration::from_secs(200), end: None }]);
    }

    #[test]
    fn schemes_see_the_same_audience_and_repetitions_another() {
        let recipe = include_str!("../../recipes/churn.yaml");
        let trials = drawn(recipe, None);
        let of = |scheme: &str, repetition| {
            let mine = |t: &&Trial| t.point.scheme.name() == scheme && t.point.repetition == repetition;
            trials.iter().find(mine).unwrap().audience.drawn.clone()
        };
        assert_eq!(of("relay", 1).len(), 16);
        assert_eq!(of("relay", 1), of("direct", 1));
        assert_ne!(of("relay", 1), of("relay", 2));
        assert_ne!(drawn(recipe, Some(9))[0].audience, trials[0].audience);
        let one: Vec<_> = of("relay", 1).into_values().collect();
        assert!(one.windows(2).all(|pair| pair[0] != pair[1]), "viewers move each for itself");
    }

    #[test]
    fn who_only_watches_leaves_no_trace_in_what_is_stored() {
        let plan = crate::recipe::from_str("relay.yaml", include_str!("../../recipes/relay.yaml")).unwrap().plan;
        let trial = &plan.trials[0];
        assert!(!serde_json::to_string(trial).unwrap().contains("audience"));
        assert_eq!(trial.spells("hv3"), [Spell { from: trial.timeline.view_at(2), end: None }]);
        assert_eq!(trial.spells("hb"), []);
    }

    #[test]
    fn as_stored() {
        let trial = drawn(include_str!("../../recipes/churn.yaml"), None).remove(0);
        let stored = serde_json::to_string(&trial).unwrap();
        assert_eq!(serde_json::from_str::<Trial>(&stored).unwrap(), trial);
        let spell = Spell {
            from: Duration::from_secs(3),
            end: Some(Parting { at: Duration::from_millis(12_500), how: Departure::Crash }),
        };
        let text = r#"{"from":{"secs":3,"nanos":0},"end":{"at":{"secs":12,"nanos":500000000},"how":"crash"}}"#;
        assert_eq!(serde_json::to_string(&spell).unwrap(), text);
    }

    #[test]
    fn programs_of_later_spells_have_their_numbers() {
        assert_eq!([1, 2, 12].map(|n| program_name("player", n)), ["player", "player-2", "player-12"]);
        for (name, of) in [
            ("player", ("player", 1)),
            ("agent-2", ("agent", 2)),
            ("tcpdump-hv1-eth0", ("tcpdump-hv1-eth0", 1)),
            ("ping-1", ("ping-1", 1)),
            ("x-99999999999", ("x-99999999999", 1)),
        ] {
            assert_eq!(program_of(name), of);
        }
    }
}

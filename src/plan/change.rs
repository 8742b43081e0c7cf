//! Links that change during a trial: what the plan says of it ([`LinkChange`]), and what follows for one
//! direction of a link ([`course`]).

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Network, Shape, Trial};

/// Steps of all links of a trial at most. Each takes about a hundred bytes.
pub const MOST_STEPS: u64 = 1_000_000;

/// The directions of a link that something concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Directions {
    /// From the host, or from the first switch of a trunk.
    Up,
    /// To the host, or to the first switch of a trunk.
    Down,
    /// Both, each on its own.
    #[default]
    Both,
}

/// A link is another one from a moment on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkChange {
    /// When it changes, on the trial's timeline.
    pub at: Duration,
    /// Index into [`Network::links`].
    pub link: usize,
    /// `Up` is from the link's end `a` to its end `b`.
    pub directions: Directions,
    /// What becomes of those directions.
    pub change: Change,
}

/// What becomes of a link.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It has these settings from then on.
    Set(Setting),
    /// It follows a trace, until the next change of its bandwidth.
    Follow(LinkTrace),
}

/// What is said again of a link; `None` stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Setting {
    /// bit/s; 0: nothing passes, and the queue holds what waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<u64>,
    /// One-way delay, without that of the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,
    /// Each packet's delay is uniform in `delay ± jitter`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Duration>,
    /// Probability of losing a packet, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// What comes to the link is lost; what it has already still arrives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down: Option<bool>,
}

/// A trace file, read and cut into pieces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkTrace {
    /// The file as the recipe names it.
    pub file: String,
    /// Whether it begins again at its end; otherwise the link stays as the last piece has it.
    pub repeat: bool,
    /// Time from its first piece to its end.
    pub length: Duration,
    /// What holds from when; the first piece begins at 0.
    #[serde(with = "pieces_as_text")]
    pub pieces: Vec<Piece>,
}

/// What a trace says of a link from one moment on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Piece {
    /// Milliseconds from the beginning of the trace.
    pub at_ms: u64,
    /// Bandwidth in bit/s.
    pub bandwidth: u64,
    /// One-way delay, if the trace tells it.
    pub delay: Option<Duration>,
    /// Probability of losing a packet, if the trace tells it.
    pub loss: Option<f64>,
}

/// What a direction of a link does to packets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Condition {
    /// As ever, but a bandwidth of 0 lets nothing pass.
    pub shape: Shape,
    /// What comes to the link is lost.
    pub down: bool,
}

/// A direction of a link is another one from a moment on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// From when on, on the trial's timeline.
    pub at: Duration,
    /// What it does to packets from then on.
    pub condition: Condition,
}

impl Directions {
    /// Whether a direction is one of them: from the link's end `a` to its end `b`, or back.
    #[must_use]
    pub fn include(self, forward: bool) -> bool {
        match self {
            Directions::Up => forward,
            Directions::Down => !forward,
            Directions::Both => true,
        }
    }
}

impl Change {
    /// Whether it ends a trace that the link follows.
    fn sets_bandwidth(&self) -> bool {
        match self {
            Change::Set(setting) => setting.bandwidth.is_some(),
            Change::Follow(_) => true,
        }
    }
}

impl LinkTrace {
    /// How many pieces there are within that time.
    #[must_use]
    pub fn pieces_within(&self, time: Duration) -> u64 {
        let turns = match self.length.as_millis() {
            length if self.repeat && length > 0 => time.as_millis().div_ceil(length),
            _ => 1,
        };
        u64::try_from(turns * self.pieces.len() as u128).unwrap_or(u64::MAX)
    }

    /// Least, mean and greatest bandwidth in bit/s; the mean is over its length.
    #[must_use]
    pub fn bandwidths(&self) -> (u64, u64, u64) {
        let all = || self.pieces.iter().map(|piece| piece.bandwidth);
        let length = self.length.as_millis().max(1);
        let ends = self.pieces.iter().skip(1).map(|piece| u128::from(piece.at_ms)).chain([length]);
        let bits: u128 = self
            .pieces
            .iter()
            .zip(ends)
            .map(|(piece, end)| u128::from(piece.bandwidth) * end.saturating_sub(u128::from(piece.at_ms)))
            .sum();
        let mean = u64::try_from(bits / length).unwrap_or(u64::MAX);
        (all().min().unwrap_or(0), mean, all().max().unwrap_or(0))
    }

    /// What holds from when on the timeline, for a trace that begins at `from` and is followed until `until`.
    fn settings(&self, from: Duration, until: Duration) -> impl Iterator<Item = (Duration, Setting)> {
        let turns = if self.repeat && !self.length.is_zero() { u32::MAX } else { 1 };
        let begins = (0..turns).map(move |turn| from + self.length * turn).take_while(move |begin| *begin < until);
        let pieces = begins.flat_map(|begin| {
            self.pieces.iter().map(move |piece| {
                let setting = Setting {
                    bandwidth: Some(piece.bandwidth),
                    delay: piece.delay,
                    loss: piece.loss,
                    ..Setting::default()
                };
                (begin + Duration::from_millis(piece.at_ms), setting)
            })
        });
        pieces.take_while(move |(at, _)| *at < until)
    }
}

impl Condition {
    /// What a link does that nothing has changed yet.
    #[must_use]
    pub fn of(shape: Shape) -> Condition {
        Condition { shape, down: false }
    }

    /// The condition after these settings; what they do not say stays.
    fn after(mut self, setting: &Setting) -> Condition {
        self.shape.bandwidth = setting.bandwidth.or(self.shape.bandwidth);
        self.shape.delay = setting.delay.unwrap_or(self.shape.delay);
        self.shape.jitter = setting.jitter.unwrap_or(self.shape.jitter);
        self.shape.loss = setting.loss.unwrap_or(self.shape.loss);
        self.down = setting.down.unwrap_or(self.down);
        self
    }
}

/// How a direction of a link of that shape changes, in the order of time, with all traces written out until `until`.
/// `changes` are those of the link.
#[must_use]
pub fn course<'c>(
    shape: Shape,
    changes: impl IntoIterator<Item = &'c LinkChange>,
    forward: bool,
    until: Duration,
) -> Vec<Step> {
    let mut changes: Vec<&LinkChange> =
        changes.into_iter().filter(|change| change.directions.include(forward)).collect();
    // Stable: of what is due together the recipe's order counts.
    changes.sort_by_key(|change| change.at);
    let mut settings: Vec<(Duration, Setting)> = Vec::new();
    for (n, change) in changes.iter().enumerate() {
        match &change.change {
            Change::Set(setting) => settings.push((change.at, *setting)),
            Change::Follow(trace) => {
                let next = changes[n + 1..].iter().find(|later| later.change.sets_bandwidth());
                settings.extend(trace.settings(change.at, next.map_or(until, |next| next.at.min(until))));
            }
        }
    }
    settings.sort_by_key(|(at, _)| *at);
    let mut steps: Vec<Step> = Vec::with_capacity(settings.len());
    let mut condition = Condition::of(shape);
    for (at, setting) in settings {
        condition = condition.after(&setting);
        match steps.last_mut() {
            Some(last) if last.at == at => last.condition = condition,
            _ => steps.push(Step { at, condition }),
        }
    }
    steps
}

impl Trial {
    /// How a direction of a link changes: from its end `a` to its end `b` (`forward`), or back. Empty: never.
    #[must_use]
    pub fn course(&self, link: usize, forward: bool) -> Vec<Step> {
        let Some(shape) = self.network.links.get(link).map(|link| link.shape) else { return Vec::new() };
        let changes = self.link_changes.iter().filter(|change| change.link == link);
        course(shape, changes, forward, self.timeline.end + self.timeline.drain)
    }

    /// Whether a direction of a link ever changes.
    #[must_use]
    pub fn changes(&self, link: usize, forward: bool) -> bool {
        self.link_changes.iter().any(|change| change.link == link && change.directions.include(forward))
    }
}

impl Network {
    /// What a recipe calls a link: by its host, where that has no other one, by its interface, or by the switches
    /// that it joins.
    #[must_use]
    pub fn link_name(&self, link: usize) -> String {
        let Some(ends) = self.links.get(link) else { return String::from("?") };
        match self.host(&ends.a.node) {
            Some(host) if host.interfaces.len() == 1 => host.name.clone(),
            Some(_) => ends.a.interface.clone(),
            None => format!("{}-{}", ends.a.node, ends.b.node),
        }
    }
}

impl fmt::Display for Directions {
    /// As recipes write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Directions::Up => "up",
            Directions::Down => "down",
            Directions::Both => "both",
        })
    }
}

impl fmt::Display for Change {
    /// `bandwidth 700 kbit/s, delay 20 ms`, or the trace in figures.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Set(setting) => setting.fmt(f),
            Change::Follow(trace) => {
                let (least, mean, most) = trace.bandwidths();
                write!(
                    f,
                    "follows {}: {} pieces in {} s, {} to {} kbit/s, mean {}{}",
                    trace.file,
                    trace.pieces.len(),
                    trace.length.as_secs_f64(),
                    thousands(least),
                    thousands(most),
                    thousands(mean),
                    if trace.repeat { ", again and again" } else { "" }
                )
            }
        }
    }
}

fn thousands(bits: u64) -> f64 {
    (bits as f64 / 100.0).round() / 10.0
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| format!("{} ms", time.as_nanos() as f64 / 1e6);
        let said = [
            self.down.map(|down| if down { "down" } else { "up again" }.to_owned()),
            self.bandwidth.map(|rate| format!("bandwidth {} kbit/s", rate as f64 / 1e3)),
            self.delay.map(|delay| format!("delay {}", ms(delay))),
            self.jitter.map(|jitter| format!("jitter {}", ms(jitter))),
            self.loss.map(|loss| format!("loss {} %", (loss * 1e9).round() / 1e7)),
        ];
        f.write_str(&said.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

/// Pieces as one text, `0=1203200 100=0`: thousands of them in a plan would otherwise be tens of thousands of lines.
/// Where the trace tells delay (microseconds) and loss: `100=1203200,20000,0.01`, each empty where it does not.
mod pieces_as_text {
    use std::fmt::Write as _;
    use std::str::FromStr;
    use std::time::Duration;

    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::Piece;

    pub(super) fn serialize<S: Serializer>(pieces: &[Piece], serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(pieces.len() * 16);
        for (n, piece) in pieces.iter().enumerate() {
            // Writing to a String cannot fail.
            let _ = write!(text, "{}{}={}", if n > 0 { " " } else { "" }, piece.at_ms, piece.bandwidth);
            if piece.delay.is_some() || piece.loss.is_some() {
                let delay = piece.delay.map(|delay| delay.as_micros().to_string()).unwrap_or_default();
                let loss = piece.loss.map(|loss| loss.to_string()).unwrap_or_default();
                let _ = write!(text, ",{delay},{loss}");
            }
        }
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Piece>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let pieces = text.split_ascii_whitespace().map(|word| {
            piece(word)
                .ok_or_else(|| D::Error::custom(format!("{word:?} is no piece of a trace such as 100=1203200")))
        });
        pieces.collect()
    }

    fn piece(word: &str) -> Option<Piece> {
        let (at, values) = word.split_once('=')?;
        let mut values = values.split(',');
        let bandwidth = values.next()?.parse().ok()?;
        let delay = optional(values.next())?.map(Duration::from_micros);
        let loss = optional(values.next())?;
        Some(Piece { at_ms: at.parse().ok()?, bandwidth, delay, loss })
    }

    /// Outer `None`: it is no number.
    fn optional<T: FromStr>(text: Option<&str>) -> Option<Option<T>> {
        match text {
            None | Some("") => Some(None),
            Some(text) => Some(Some(text.parse().ok()?)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const SHAPE: Shape = Shape {
        bandwidth: Some(4_000_000),
        delay: Duration::from_millis(10),
        jitter: Duration::ZERO,
        loss: 0.0,
        queue: 100,
    };

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn change(at: u64, directions: Directions, change: Change) -> LinkChange {
        LinkChange { at: seconds(at), link: 0, directions, change }
    }

    fn bandwidth(rate: u64) -> Change {
        Change::Set(Setting { bandwidth: Some(rate), ..Setting::default() })
    }

    fn trace(repeat: bool) -> LinkTrace {
        let piece = |at_ms, bandwidth| Piece { at_ms, bandwidth, delay: None, loss: None };
        let pieces = vec![piece(0, 1_000_000), piece(500, 0), piece(1500, 3_000_000)];
        LinkTrace { file: "walk.mahi".into(), repeat, length: seconds(2), pieces }
    }

    fn rates(steps: &[Step]) -> Vec<(u128, u64)> {
        steps.iter().map(|step| (step.at.as_millis(), step.condition.shape.bandwidth.unwrap())).collect()
    }

    #[test]
    fn what_is_not_named_stays_as_it_is_at_that_moment() {
        let slow = Setting { delay: Some(seconds(1)), ..Setting::default() };
        let down = Setting { down: Some(true), ..Setting::default() };
        let up = Setting { down: Some(false), ..Setting::default() };
        let changes = [
            change(9, Directions::Both, Change::Set(up)),
            change(2, Directions::Up, bandwidth(1_000_000)),
            change(3, Directions::Both, Change::Set(slow)),
            change(8, Directions::Both, Change::Set(down)),
        ];
        let forward = course(SHAPE, &changes, true, seconds(60));
        assert_eq!(rates(&forward), [(2000, 1_000_000), (3000, 1_000_000), (8000, 1_000_000), (9000, 1_000_000)]);
        let last = forward.last().unwrap().condition;
        assert_eq!((last.shape.delay, last.down, last.shape.queue), (seconds(1), false, 100));
        assert!(forward[2].condition.down);
        let back = course(SHAPE, &changes, false, seconds(60));
        assert_eq!(rates(&back), [(3000, 4_000_000), (8000, 4_000_000), (9000, 4_000_000)]);
    }

    #[test]
    fn a_trace_is_followed_until_the_bandwidth_is_said_anew() {
        let lossy = Setting { loss: Some(0.5), ..Setting::default() };
        let changes = [
            change(1, Directions::Both, Change::Follow(trace(true))),
            change(2, Directions::Both, Change::Set(lossy)),
            change(4, Directions::Both, bandwidth(2_000_000)),
        ];
        let steps = course(SHAPE, &changes, true, seconds(60));
        let expected = [
            (1000, 1_000_000),
            (1500, 0),
            (2000, 0),
            (2500, 3_000_000),
            (3000, 1_000_000),
            (3500, 0),
            (4000, 2_000_000),
        ];
        assert_eq!(rates(&steps), expected);
        let losses: Vec<f64> = steps.iter().map(|step| step.condition.shape.loss).collect();
        assert_eq!(losses, [0.0, 0.0, 0.5, 0.5, 0.5, 0.5, 0.5]);
        assert_eq!(course(SHAPE, &changes[..1], true, seconds(60)).len(), 59 * 3 / 2 + 1);
        let once = [change(1, Directions::Both, Change::Follow(trace(false)))];
        assert_eq!(
            rates(&course(SHAPE, &once, true, seconds(60))),
            [(1000, 1_000_000), (1500, 0), (2500, 3_000_000)]
        );
        assert_eq!(rates(&course(SHAPE, &once, true, seconds(2))), [(1000, 1_000_000), (1500, 0)]);
    }

    #[test]
    fn a_trace_in_figures() {
        assert_eq!(trace(true).bandwidths(), (0, 1_000_000, 3_000_000));
        assert_eq!((trace(true).pieces_within(seconds(60)), trace(false).pieces_within(seconds(60))), (90, 3));
        assert_eq!(
            Change::Follow(trace(true)).to_string(),
            "follows walk.mahi: 3 pieces in 2 s, 0 to 3000 kbit/s, mean 1000, again and again"
        );
        let setting =
            Setting { bandwidth: Some(700_000), loss: Some(0.001), down: Some(false), ..Setting::default() };
        assert_eq!(setting.to_string(), "up again, bandwidth 700 kbit/s, loss 0.1 %");
    }

    #[test]
    fn pieces_are_stored_as_one_text() {
        let mut trace = trace(false);
        trace.pieces[1].loss = Some(0.25);
        trace.pieces[2].delay = Some(Duration::from_millis(20));
        let json = serde_json::to_string(&Change::Follow(trace.clone())).unwrap();
        assert!(json.contains(r#""pieces":"0=1000000 500=0,,0.25 1500=3000000,20000,""#), "{json}");
        assert_eq!(serde_json::from_str::<Change>(&json).unwrap(), Change::Follow(trace));
        for broken in ["0", "x=1", "0=1,y", "0=-1"] {
            let json = json.replace("500=0,,0.25", broken);
            assert!(serde_json::from_str::<Change>(&json).is_err(), "{broken}");
        }
    }
}

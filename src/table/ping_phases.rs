//! What ping trains saw before, during and after the stream, in a few numbers.

use super::ping_delay::ping_delays;
use super::rows::PingRow;
use super::summary::quantile;
use crate::plan::{Scheme, Trial};

/// A part of the trials' timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Before the stream begins.
    Before,
    /// From the stream's begin, which belongs to it, to its end, which does not.
    During,
    /// From the stream's end on.
    After,
    /// The whole timeline.
    Overall,
}

impl Phase {
    fn words(self) -> &'static str {
        match self {
            Phase::Before => "before",
            Phase::During => "streaming",
            Phase::After => "after",
            Phase::Overall => "overall",
        }
    }

    fn holds(self, time_s: f64, streaming: Option<(f64, f64)>) -> bool {
        match (self, streaming) {
            (Phase::Overall, _) => true,
            (_, None) => false,
            (Phase::Before, Some((begin, _))) => time_s < begin,
            (Phase::During, Some((begin, end))) => begin <= time_s && time_s < end,
            (Phase::After, Some((_, end))) => time_s >= end,
        }
    }
}

/// The delays that the pings of a scheme's trials saw in one phase. Delays are [`ping_delays`], those of all trials
/// together.
#[derive(Debug, Clone, PartialEq)]
pub struct PingPhase {
    /// How video was delivered.
    pub scheme: Scheme,
    /// The part of the timeline that the pings were sent in.
    pub phase: Phase,
    /// Number of pings, or pairs of pings, with a known delay.
    pub delays: usize,
    /// Their mean; `None`, here and below: there are none.
    pub mean_ms: Option<f64>,
    /// Their median, as [`quantile`] defines it.
    pub p50_ms: Option<f64>,
    /// 95th percentile of the delays in milliseconds.
    pub p95_ms: Option<f64>,
    /// Largest delay in milliseconds.
    pub max_ms: Option<f64>,
    /// Pings sent, by all trains of the trials.
    pub pings: usize,
    /// Of those, pings without an answer.
    pub lost: usize,
}

/// Each scheme of the trials in each phase; without a streaming interval (begin and end in s on the trials'
/// timeline), overall alone.
#[must_use]
pub fn ping_phases(trials: &[Trial], pings: &[PingRow], streaming: Option<(f64, f64)>) -> Vec<PingPhase> {
    let mut schemes: Vec<Scheme> = Vec::new();
    for trial in trials {
        if !schemes.contains(&trial.point.scheme) {
            schemes.push(trial.point.scheme);
        }
    }
    let parts: &[Phase] = match streaming {
        Some(_) => &[Phase::Before, Phase::During, Phase::After, Phase::Overall],
        None => &[Phase::Overall],
    };
    let mut all = Vec::new();
    for scheme in schemes {
        let of_scheme = || trials.iter().filter(|t| t.point.scheme == scheme);
        let delays: Vec<_> = of_scheme().flat_map(|trial| ping_delays(trial, pings)).collect();
        let sent = || pings.iter().filter(|p| !p.duplicate && of_scheme().any(|t| t.id == p.trial));
        for phase in parts {
            let within = |time_s| phase.holds(time_s, streaming);
            let known = delays.iter().filter(|d| within(d.time_s)).filter_map(|d| d.delay_ms);
            let sent = || sent().filter(|p| within(p.time_s));
            let lost = sent().filter(|p| p.rtt_ms.is_none()).count();
            all.push(PingPhase::of(scheme, *phase, known.collect(), (sent().count(), lost)));
        }
    }
    all
}

impl PingPhase {
    fn of(scheme: Scheme, phase: Phase, mut delays: Vec<f64>, (pings, lost): (usize, usize)) -> PingPhase {
        delays.sort_by(f64::total_cmp);
        #[allow(clippy::cast_precision_loss)]
        let mean = (!delays.is_empty()).then(|| delays.iter().sum::<f64>() / delays.len() as f64);
        PingPhase {
            scheme,
            phase,
            delays: delays.len(),
            mean_ms: mean,
            p50_ms: quantile(&delays, 0.5),
            p95_ms: quantile(&delays, 0.95),
            max_ms: delays.last().copied(),
            pings,
            lost,
        }
    }
}

/// The phases as an aligned table, a line each, for a terminal of 80 characters. Delays below 10 ms are told to the
/// microsecond.
#[must_use]
pub fn ping_phases_text(phases: &[PingPhase]) -> String {
    let ms = |value: Option<f64>| match value {
        None => "-".to_owned(),
        Some(v) if v < 9.9995 => format!("{v:.3}"),
        Some(v) => format!("{v:.1}"),
    };
    let line = |scheme: &str, phase: &str, numbers: [String; 7]| {
        let [delays, mean, p50, p95, max, pings, lost] = numbers;
        format!(
            "{scheme:<6}  {phase:<9}  {delays:>6}  {mean:>9}  {p50:>8}  {p95:>8}  {max:>8}  {pings:>5}  {lost:>4}\n"
        )
    };
    let head = ["delays", "mean", "median", "p95", "max", "sent", "lost"].map(str::to_owned);
    let mut text = format!("{:27}{:<37}{}\n", "", "delay ms", "pings") + &line("scheme", "when", head);
    let mut last = None;
    for p in phases {
        let scheme = if last == Some(p.scheme) { String::new() } else { p.scheme.to_string() };
        last = Some(p.scheme);
        let times = [p.mean_ms, p.p50_ms, p.p95_ms, p.max_ms].map(ms);
        let [mean, p50, p95, max] = times;
        let numbers = [p.delays.to_string(), mean, p50, p95, max, p.pings.to_string(), p.lost.to_string()];
        text += &line(&scheme, p.phase.words(), numbers);
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::table::tests::{ping_row, trial};

    /// Pings at seconds 1 to 6: both ways 100 ms, then one of 300 ms; the last but one without an answer.
    fn pings() -> Vec<PingRow> {
        let mut rows = Vec::new();
        for (seq, rtt) in
            [(1, Some(100.0)), (2, Some(100.0)), (3, Some(300.0)), (4, Some(100.0)), (5, None), (6, Some(80.0))]
        {
            rows.push(ping_row("direct-1", "hb", "hs", seq, Some(100.0)));
            rows.push(ping_row("direct-1", "hs", "hv1", seq, rtt));
        }
        let mut again = ping_row("direct-1", "hs", "hv1", 6, Some(9000.0));
        again.duplicate = true;
        rows.push(again);
        rows
    }

    #[test]
    fn phases_are_half_open_and_duplicates_do_not_count() {
        let phases = ping_phases(&[trial("direct-1", &["hv1"])], &pings(), Some((3.0, 5.0)));
        let facts: Vec<_> =
            phases.iter().map(|p| (p.phase, p.delays, p.mean_ms, p.max_ms, p.pings, p.lost)).collect();
        assert_eq!(
            facts,
            [
                (Phase::Before, 2, Some(100.0), Some(100.0), 4, 0),
                (Phase::During, 2, Some(150.0), Some(200.0), 4, 0),
                (Phase::After, 1, Some(90.0), Some(90.0), 4, 1),
                (Phase::Overall, 5, Some(118.0), Some(200.0), 12, 1),
            ]
        );
    }

    #[test]
    fn without_an_interval_there_is_one_phase_and_repetitions_are_taken_together() {
        let mut all = pings();
        let second = all.iter().cloned().map(|mut row| {
            row.trial = "direct-2".into();
            row.rtt_ms = row.rtt_ms.map(|rtt| rtt + 2.0);
            row
        });
        let second: Vec<_> = second.collect();
        all.extend(second);
        let trials = [trial("direct-1", &["hv1"]), trial("direct-2", &["hv1"])];
        let phases = ping_phases(&trials, &all, None);
        assert_eq!((phases.len(), phases[0].phase, phases[0].delays), (1, Phase::Overall, 10));
        assert_eq!((phases[0].mean_ms, phases[0].max_ms, phases[0].lost), (Some(119.0), Some(202.0), 2));
    }

    #[test]
    fn what_is_not_known_is_a_dash() {
        let phases = ping_phases(&[trial("direct-1", &["hv1"])], &pings(), Some((10.0, 20.0)));
        let text = ping_phases_text(&phases);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[3], ["streaming", "0", "-", "-", "-", "-", "0", "0"], "{text}");
        assert_eq!(lines[2], ["direct", "before", "5", "118.0", "100.0", "180.0", "200.0", "12", "1"], "{text}");
        let mut near = phases[0].clone();
        near.mean_ms = Some(0.0234);
        assert_eq!(ping_phases_text(&[near]).lines().nth(2).unwrap().split_whitespace().nth(3), Some("0.023"));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}

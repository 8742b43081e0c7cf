//! What a train's time stamps tell, and what two trains' tell of each other.

use std::time::Duration;

use super::source::Source;
use super::{PingLog, Stamps};
use crate::trace::ping::Since;

/// What a train's time stamps tell.
pub(super) struct Clock {
    /// When ping number 1 was sent, in nanoseconds since what [`Clock::since`] says.
    pub(super) first_ns: i64,
    /// When the last answered ping was sent.
    pub(super) last_ns: i64,
    /// Time between pings; `None`: only one was answered.
    pub(super) interval: Option<Duration>,
    /// What its moments count from.
    since: Since,
}

impl Clock {
    pub(super) fn of(log: &PingLog) -> Option<Clock> {
        let Stamps::Read(since) = log.stamps else { return None };
        let once = log.replies.iter().filter(|r| !r.duplicate);
        let mut stamped: Vec<(u32, i64)> = once.filter_map(|r| Some((r.seq, r.sent_ns?))).collect();
        stamped.sort_unstable();
        let (first, last) = (*stamped.first()?, *stamped.last()?);
        // Where ping paused, or was stopped, its pings are further apart than its interval.
        let mut gaps: Vec<i64> = stamped
            .windows(2)
            .filter_map(|pair| pair[1].1.checked_sub(pair[0].1)?.checked_div(i64::from(pair[1].0 - pair[0].0)))
            .collect();
        let mean = last.1.checked_sub(first.1).and_then(|span| span.checked_div(i64::from(last.0 - first.0)));
        let middle = gaps.len() / 2;
        let usual = (!gaps.is_empty()).then(|| *gaps.select_nth_unstable(middle).1);
        // Stamps of whole seconds may leave nothing between the usual two.
        let interval = usual.filter(|usual| mean.is_some_and(|mean| *usual > mean / 2)).or(mean).filter(|ns| *ns > 0);
        let before = i128::from(first.0.saturating_sub(1)) * i128::from(interval.unwrap_or(0));
        Some(Clock {
            first_ns: i64::try_from(i128::from(first.1) - before).ok()?,
            last_ns: last.1,
            interval: interval.and_then(|ns| u64::try_from(ns).ok()).map(Duration::from_nanos),
            since,
        })
    }

    /// Whether its moments are known, and not only from each other.
    pub(super) fn is_dated(&self) -> bool {
        self.since == Since::Epoch
    }
}

/// The moment 0 of each file of a trial, by its own clock; `None` where it has none. Clocks that count from the same
/// have the same, but for whole days or years where they do not tell those. Others' trains are taken to begin
/// together.
pub(super) fn zeros(sources: &[Source]) -> Vec<Option<i64>> {
    let clocks: Vec<Option<&Clock>> = sources.iter().map(|source| source.clock.as_ref()).collect();
    let mut known = clocks.iter().flatten();
    let Some(one) = known.next() else { return vec![None; sources.len()] };
    let is_same = one.since != Since::Start && known.all(|other| other.since == one.since);
    // What to take from a clock so that it begins within half a day, or half a year, of the first.
    let ahead = |clock: &Clock| {
        let period = one.since.period()?;
        let apart = clock.first_ns.checked_sub(one.first_ns)?;
        Some((apart + period / 2).div_euclid(period) * period)
    };
    let ahead = |clock: &Clock| ahead(clock).unwrap_or(0);
    let least = clocks.iter().flatten().map(|clock| clock.first_ns - ahead(clock)).min();
    let zero = |clock: &Clock| if is_same { least.map(|zero| zero + ahead(clock)) } else { Some(clock.first_ns) };
    clocks.iter().map(|clock| clock.and_then(zero)).collect()
}

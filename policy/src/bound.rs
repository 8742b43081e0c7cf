//! The least that peers can reach on given uplinks, to be printed beside what is measured.
//!
//! Symbols: *u* uplink (bit/s), *r* the stream's rate on the wire, λ one-way delay between peers, τ the time that one
//! copy of a frame takes on an uplink, *N* viewers, *k* whole copies that an uplink carries, the index *s* for the
//! broadcaster's, after its copy for the CDN.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// The greatest rate at which all viewers can have a stream from the broadcaster and from each other: r_max =
/// min(u_s, (u_s + Σuᵢ)/N) (Kumar, Liu and Ross: Stochastic fluid theory for P2P streaming systems, INFOCOM 2007). In
/// the unit of the uplinks. Without viewers it is the broadcaster's uplink.
#[must_use]
pub fn rate(broadcaster: f64, viewers: &[f64]) -> f64 {
    let all = broadcaster + viewers.iter().sum::<f64>();
    match viewers.len() {
        0 => broadcaster,
        n => broadcaster.min(all / n as f64),
    }
}

/// Whether whole copies suffice for all viewers: k_s + Σkᵢ ≥ N, and the broadcaster carries the first.
#[must_use]
pub fn is_feasible(broadcaster: u32, viewers: &[u32]) -> bool {
    let all: u64 = viewers.iter().copied().chain([broadcaster]).map(u64::from).sum();
    viewers.is_empty() || (broadcaster > 0 && all >= viewers.len() as u64)
}

/// The least number of hops to the farthest of N viewers: D = ⌈log_k(1 + N(k−1)/k_s)⌉, for k = 1 the chain's ⌈N/k_s⌉.
/// `None` if the copies do not suffice.
#[must_use]
pub fn depth(viewers: u32, broadcaster: u32, k: u32) -> Option<u32> {
    // Counted instead of by logarithms, which are not exact: a level holds k times what the one above it does.
    let (mut level, mut reached, mut depth) = (u64::from(broadcaster), 0u64, 0);
    while reached < u64::from(viewers) {
        if level == 0 {
            return None;
        }
        reached = reached.saturating_add(level);
        level = level.saturating_mul(k.into());
        depth += 1;
    }
    Some(depth)
}

/// The least time, in units of τ, in which N viewers can have a frame by whole copies, if all uplinks carry k and
/// there is no other delay (Bianchi and others: Streaming from the network edge, the k-step Fibonacci numbers): R(0)
/// = 1 is the broadcaster, R(t) = Σ R(t−j) over 1 ≤ j ≤ min(k, t) are those who have it after t, and the smallest t
/// counts for which R(1) + … + R(t) ≥ N. `None` if k is 0 and there are viewers.
#[must_use]
pub fn steps(viewers: u32, k: u32) -> Option<u32> {
    let mut new: Vec<u64> = vec![1];
    let mut reached = 0u64;
    while reached < u64::from(viewers) {
        let next: u64 = new.iter().rev().take(k as usize).fold(0, |sum, one| sum.saturating_add(*one));
        if next == 0 {
            return None;
        }
        reached = reached.saturating_add(next);
        new.push(next);
    }
    Some(new.len() as u32 - 1)
}

/// The greatest part of the bytes that viewers can carry: all but the copies of the broadcaster, (N − k_s)/N.
#[must_use]
pub fn carried_by_viewers(viewers: u32, broadcaster: u32) -> f64 {
    match viewers {
        0 => 0.0,
        n => f64::from(n.saturating_sub(broadcaster)) / f64::from(n),
    }
}

/// What one has for passing a stream on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uplink {
    /// Whole copies of the stream that it carries at once: k.
    pub copies: u32,
    /// The time that one copy of the frame takes: τ.
    pub copy_time: Duration,
}

/// From whom and when a viewer has a frame, whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// From whom: 0 is the broadcaster, the first viewer 1.
    pub from: usize,
    /// As which of that one's children, from 0.
    pub place: u32,
    /// When it has it whole, since the broadcaster had.
    pub at: Duration,
}

/// Earliest arrival, greedily: whoever can deliver soonest sends next (the postal model of Bar-Noy and Kipnis, with
/// each host's own τ and limited copies). `hosts` begins with the broadcaster; `delay` is λ from one of them to
/// another. Returns a line for each viewer, in their order; `None` for those whom no copy is left for. Of equally
/// near ones the one that carries most gets it first.
///
/// With equal uplinks and delays nothing is quicker; with others it is what a good tree reaches, and an optimal one
/// may be a little quicker.
#[must_use]
pub fn greedy(hosts: &[Uplink], delay: impl Fn(usize, usize) -> Duration) -> Vec<Option<Arrival>> {
    let mut arrivals: Vec<Option<Arrival>> = vec![None; hosts.len()];
    let mut senders: Vec<Sender> = Vec::new();
    let mut offers = BinaryHeap::new();
    let has_it = |host: usize, at: Duration, arrivals: &[Option<Arrival>], senders: &mut Vec<Sender>| {
        let mut nearest: Vec<usize> =
            (1..hosts.len()).filter(|other| *other != host && arrivals[*other].is_none()).collect();
        nearest.sort_by_key(|other| {
            (delay(host, *other), Reverse(hosts[*other].copies), hosts[*other].copy_time, *other)
        });
        nearest.reverse();
        senders.push(Sender { host, free_at: at, sent: 0, nearest });
        senders.len() - 1
    };
    let offer = |sender: &mut Sender, arrivals: &[Option<Arrival>]| {
        while sender.nearest.last().is_some_and(|to| arrivals[*to].is_some()) {
            sender.nearest.pop();
        }
        let to = *sender.nearest.last()?;
        let uplink = hosts[sender.host];
        let at = sender.free_at.saturating_add(uplink.copy_time).saturating_add(delay(sender.host, to));
        (sender.sent < uplink.copies).then_some((at, to))
    };
    if hosts.is_empty() {
        return arrivals;
    }
    let first = has_it(0, Duration::ZERO, &arrivals, &mut senders);
    offers.extend(offer(&mut senders[first], &arrivals).map(|(at, to)| Reverse((at, first, to))));
    while let Some(Reverse((at, by, to))) = offers.pop() {
        let sender = &mut senders[by];
        if arrivals[to].is_none() {
            arrivals[to] = Some(Arrival { from: sender.host, place: sender.sent, at });
            sender.sent += 1;
            sender.free_at += hosts[sender.host].copy_time;
            let new = has_it(to, at, &arrivals, &mut senders);
            offers.extend(offer(&mut senders[new], &arrivals).map(|(at, to)| Reverse((at, new, to))));
        }
        // Whom it would have sent to may have it from another by now; then the next nearest is its next.
        offers.extend(offer(&mut senders[by], &arrivals).map(|(at, to)| Reverse((at, by, to))));
    }
    arrivals.remove(0);
    arrivals
}

struct Sender {
    host: usize,
    /// When its uplink is free for the next copy, since the broadcaster had the frame.
    free_at: Duration,
    sent: u32,
    /// Those who had no copy when it got its own; the nearest last.
    nearest: Vec<usize>,
}

/// Hosts that are alike: how many, and what uplink each has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class {
    /// The uplink that each of them has.
    pub uplink: Uplink,
    /// How many hosts there are.
    pub hosts: usize,
}

/// When the last of many viewers has a frame whole, since the broadcaster had: [`greedy`], for hosts of which many are
/// alike, in N log N instead of N². The first class is the broadcaster alone; `delay` is λ from a host of one class to
/// one of another, or of its own. `None` if somebody gets no copy.
#[must_use]
pub fn last_of(classes: &[Class], delay: impl Fn(usize, usize) -> Duration) -> Option<Duration> {
    // Times in nanoseconds: half of what is done here is to compare them.
    #[derive(Clone, Copy)]
    struct Sender {
        class: u32,
        sent: u32,
        free_at: u64,
    }
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let copy_times: Vec<u64> = classes.iter().map(|class| nanos(class.uplink.copy_time)).collect();
    let delays: Vec<Vec<u64>> =
        (0..classes.len()).map(|from| (0..classes.len()).map(|to| nanos(delay(from, to))).collect()).collect();
    // From each class, all that viewers are in; the nearest first, as for single hosts.
    let nearest: Vec<Vec<usize>> = (0..classes.len())
        .map(|from| {
            let mut others: Vec<usize> = (1..classes.len()).collect();
            others.sort_by_key(|to| {
                let Uplink { copies, copy_time } = classes[*to].uplink;
                (delay(from, *to), Reverse(copies), copy_time, *to)
            });
            others
        })
        .collect();
    let mut lacking: Vec<usize> = classes.iter().map(|class| class.hosts).collect();
    let mut left: usize = lacking.iter().skip(1).sum();
    let mut last = 0;
    let mut senders: Vec<Sender> = Vec::new();
    let mut offers = BinaryHeap::new();
    let offer = |sender: &Sender, lacking: &[usize]| {
        let class = sender.class as usize;
        let to = *nearest[class].iter().find(|to| lacking[**to] > 0)?;
        let at = sender.free_at.saturating_add(copy_times[class]).saturating_add(delays[class][to]);
        (sender.sent < classes[class].uplink.copies).then_some((at, to as u32))
    };
    let first = Sender { class: 0, sent: 0, free_at: 0 };
    if !classes.is_empty() {
        offers.extend(offer(&first, &lacking).map(|(at, to)| Reverse((at, 0u32, to))));
    }
    senders.push(first);
    while left > 0 {
        let Reverse((at, by, to)) = offers.pop()?;
        let lacks = &mut lacking[to as usize];
        if *lacks > 0 {
            (*lacks, left, last) = (*lacks - 1, left - 1, at);
            let sender = &mut senders[by as usize];
            sender.sent += 1;
            sender.free_at = sender.free_at.saturating_add(copy_times[sender.class as usize]);
            let new = Sender { class: to, sent: 0, free_at: at };
            if let Some((at, to)) = offer(&new, &lacking) {
                offers.push(Reverse((at, senders.len() as u32, to)));
                senders.push(new);
            }
        }
        offers.extend(offer(&senders[by as usize], &lacking).map(|(at, to)| Reverse((at, by, to))));
    }
    Some(Duration::from_nanos(last))
}

/// The last arrival: the bound to print. `None` if somebody gets no copy.
#[must_use]
pub fn last(arrivals: &[Option<Arrival>]) -> Option<Duration> {
    arrivals
        .iter()
        .map(|arrival| arrival.map(|arrival| arrival.at))
        .try_fold(Duration::ZERO, |last, at| Some(last.max(at?)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LAMBDA: Duration = Duration::from_millis(4);

    fn alike(viewers: usize, copies: u32, tau: Duration, lambda: Duration) -> Vec<Option<Arrival>> {
        greedy(&vec![Uplink { copies, copy_time: tau }; viewers + 1], |_, _| lambda)
    }

    /// The figures for u = 4r, k = 3, λ = 4 ms, 32 viewers, 30 pictures a second.
    #[test]
    fn the_figures_of_thirty_two_viewers() {
        let tau = Duration::from_secs_f64(1.0 / 30.0 / 4.0);
        let rounded = |tau| last(&alike(32, 3, tau, LAMBDA)).unwrap().as_secs_f64() * 1e3;
        assert_eq!(rounded(tau).round(), 62.0);
        assert_eq!((rounded(tau * 10) / 10.0).round(), 51.0, "a keyframe of ten times that");
        assert_eq!(depth(32, 3, 3), Some(3));
        assert!((carried_by_viewers(32, 3) - 0.906).abs() < 0.001);
    }

    #[test]
    fn rate_is_bounded_by_the_first_copy_and_by_all_uplinks() {
        assert_eq!(rate(10.0, &[1.0, 1.0]), 6.0);
        assert_eq!(rate(1.0, &[9.0, 9.0]), 1.0);
        assert_eq!(rate(3.0, &[]), 3.0);
        assert!(
            is_feasible(1, &[2, 0, 0]) && !is_feasible(1, &[1, 0, 0]) && !is_feasible(0, &[9]) && is_feasible(0, &[])
        );
    }

    #[test]
    fn depth_counts_levels() {
        // ⌈log_k(1 + N(k−1)/k_s)⌉, where the logarithm is exact.
        assert_eq!([depth(3, 3, 3), depth(4, 3, 3), depth(12, 3, 3), depth(13, 3, 3)], [1, 2, 2, 3].map(Some));
        assert_eq!([depth(7, 1, 1), depth(0, 0, 0)], [7, 0].map(Some));
        assert_eq!([depth(2, 1, 0), depth(1, 0, 3)], [None; 2]);
        for (n, k, first) in [(32, 3, 3), (1000, 2, 4), (17, 5, 1)] {
            let (n_, k_, s) = (f64::from(n), f64::from(k), f64::from(first));
            let formula = (1.0 + n_ * (k_ - 1.0) / s).log(k_).ceil();
            assert_eq!(f64::from(depth(n, first, k).unwrap()), formula);
        }
    }

    #[test]
    fn without_delay_greedy_is_the_fibonacci_bound() {
        let tau = Duration::from_millis(10);
        for k in 1..6 {
            for n in 1..70 {
                let greedy = last(&alike(n, k, tau, Duration::ZERO)).unwrap();
                assert_eq!(greedy, tau * steps(n as u32, k).unwrap(), "{n} viewers, {k} copies");
            }
        }
        // Without a limit it doubles: ⌈log₂(N+1)⌉.
        assert_eq!([1, 3, 4, 7, 8, 1023].map(|n| steps(n, 99)), [1, 2, 3, 3, 4, 10].map(Some));
        assert_eq!([steps(0, 0), steps(1, 0)], [Some(0), None]);
    }

    #[test]
    fn each_uplink_has_its_own_time_and_number_of_copies() {
        let uplink = |copies, ms| Uplink { copies, copy_time: Duration::from_millis(ms) };
        // The strong one gets it first though it comes last in the list.
        let hosts = [uplink(1, 10), uplink(0, 1), uplink(1, 50), uplink(2, 1)];
        let arrivals = greedy(&hosts, |_, _| LAMBDA);
        let at = |n: usize| arrivals[n].map(|arrival| (arrival.from, arrival.place, arrival.at.as_millis()));
        assert_eq!([at(0), at(1), at(2)], [Some((3, 1, 20)), Some((3, 0, 19)), Some((0, 0, 14))]);
        assert_eq!(last(&arrivals), Some(Duration::from_millis(20)));
        assert_eq!(last(&greedy(&[uplink(1, 1), uplink(0, 1), uplink(0, 1)], |_, _| LAMBDA)), None);
        assert_eq!(last(&greedy(&[], |_, _| LAMBDA)), Some(Duration::ZERO));
    }

    #[test]
    fn the_near_before_the_far() {
        let hosts = [Uplink { copies: 1, copy_time: Duration::from_millis(1) }; 4];
        // All on a line, 10 ms apart.
        let arrivals = greedy(&hosts, |a, b| Duration::from_millis(10 * a.abs_diff(b) as u64));
        let from: Vec<usize> = arrivals.iter().map(|arrival| arrival.unwrap().from).collect();
        assert_eq!(from, [0, 1, 2]);
    }

    #[test]
    fn many_who_are_alike_are_as_one_by_one() {
        let mut state = 7u64;
        let mut draw = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut all = 0;
        for _ in 0..300 {
            let count = 2 + draw(4) as usize;
            let mut classes: Vec<Class> = (0..count)
                .map(|_| Class {
                    uplink: Uplink { copies: draw(4) as u32, copy_time: Duration::from_millis(1 + draw(9)) },
                    hosts: 1 + draw(8) as usize,
                })
                .collect();
            classes[0].hosts = 1;
            let places: Vec<u64> = (0..count).map(|_| draw(30)).collect();
            let between = |a: usize, b: usize| Duration::from_millis(2 + places[a].abs_diff(places[b]));
            let of: Vec<usize> = (0..count).flat_map(|class| vec![class; classes[class].hosts]).collect();
            let hosts: Vec<Uplink> = of.iter().map(|class| classes[*class].uplink).collect();
            let single = last(&greedy(&hosts, |a, b| between(of[a], of[b])));
            assert_eq!(last_of(&classes, between), single, "{classes:?} {places:?}");
            all += usize::from(single.is_some());
        }
        assert!(all > 50, "{all} of 300 with a copy for all");
        assert_eq!(last_of(&[], |_, _| LAMBDA), Some(Duration::ZERO));
    }
}

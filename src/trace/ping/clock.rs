//! Which of a file's time stamps tell when its pings were sent, and why the others do not.
//!
//! Stamps stand in the lines of answers, in the order in which these came: a clock never goes back there. Less the
//! round trips they are the moments of sending. Those span what the summary says ping lasted.

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::PingReply;
use super::stamp::{Day, Moment, Stamp};
use super::summary::Summary;

/// The year of stamps that have none: one that has a 29th of February.
const ANY_YEAR: i16 = 2000;
const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;
const YEAR: i64 = 366 * DAY;
/// A clock that is set right little by little goes back no further.
const MOST_BACK: i64 = SECOND / 20;
/// A pause of ping's this long is not believed without a summary that has it.
const LONGEST_PAUSE: i64 = 3600 * SECOND;
/// Stamps of whole seconds that fit one interval no better than this are taken as they are.
const MOST_SCATTER: i64 = 2 * SECOND;

/// What the time stamps of a file are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Stamps {
    /// There are none, or none that change.
    #[default]
    None,
    /// They tell when pings were sent.
    Read(Since),
    /// They do not.
    Declined {
        /// Why not.
        why: String,
        /// They are as regular as a clock, and the summary says otherwise: which of both is right is not known.
        contradicts: bool,
    },
}

/// What the moments of stamps count from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// 1970.
    Epoch,
    /// The begin of a year that they do not tell.
    Year,
    /// A midnight that they do not tell.
    Midnight,
    /// The begin of the system, or of the program that put them there.
    Start,
}

impl Since {
    /// After how many nanoseconds it begins again.
    #[must_use]
    pub fn period(self) -> Option<i64> {
        match self {
            Since::Epoch | Since::Start => None,
            Since::Year => Some(YEAR),
            Since::Midnight => Some(DAY),
        }
    }
}

/// Gives each answer the moment in which its ping was sent, where its stamp tells that.
pub fn settle(replies: &mut [PingReply], stamps: &[Option<Stamp>], summary: &Summary) -> Stamps {
    let Some((since, times)) = resolve(stamps) else { return Stamps::None };
    let is_coarse = stamps.iter().flatten().all(|stamp| stamp.is_coarse);
    match read(replies, &times, since, is_coarse, summary) {
        Ok(()) => Stamps::Read(since),
        Err((why, contradicts)) => {
            replies.iter_mut().for_each(|reply| reply.sent_ns = None);
            Stamps::Declined { why, contradicts }
        }
    }
}

fn read(
    replies: &mut [PingReply],
    times: &[Option<i64>],
    since: Since,
    is_coarse: bool,
    summary: &Summary,
) -> Result<(), (String, bool)> {
    let times = onward(times, since).ok_or_else(|| ("its time stamps go back".to_owned(), false))?;
    let known = || times.iter().flatten();
    let span = known().max().zip(known().min()).map_or(0, |(most, least)| most.saturating_sub(*least));
    let count = i64::try_from(known().count()).unwrap_or(i64::MAX);
    // No ping sends ten thousand in a second and shows the answers.
    if count > 1 && span <= (count - 1).saturating_mul(SECOND / 10_000) {
        return Err(("its time stamps are all alike".to_owned(), false));
    }
    for (reply, time) in replies.iter_mut().zip(&times) {
        reply.sent_ns = time.and_then(|ns| ns.checked_sub(i64::try_from(reply.rtt_ns).ok()?));
    }
    let mut sent: Vec<(i64, i64)> = replies
        .iter()
        .filter(|reply| !reply.duplicate)
        .filter_map(|reply| Some((i64::from(reply.seq), reply.sent_ns?)))
        .collect();
    sent.sort_unstable();
    plausible(&sent, is_coarse, summary)?;
    if is_coarse {
        even_out(replies, &sent, summary);
    }
    Ok(())
}

/// Moments in nanoseconds of the stamps that are of the kind of most of them.
fn resolve(stamps: &[Option<Stamp>]) -> Option<(Since, Vec<Option<i64>>)> {
    let kind = |stamp: &Stamp| match stamp.moment {
        Moment::Epoch(_) => 0,
        Moment::Elapsed(_) => 1,
        Moment::Clock { day: Day::Known(_), .. } => 2,
        Moment::Clock { day: Day::NoYear(..), .. } => 3,
        Moment::Clock { day: Day::Numbers(_), .. } => 4,
        Moment::Clock { day: Day::Unknown, .. } => 5,
    };
    let mut counts = [0_usize; 6];
    stamps.iter().flatten().for_each(|stamp| counts[kind(stamp)] += 1);
    let most = (0..6).max_by_key(|kind| counts[*kind]).filter(|kind| counts[*kind] > 0)?;
    let of_kind = |stamp: &Option<Stamp>| stamp.filter(|stamp| kind(stamp) == most);
    let each = |order: &[usize; 3]| -> Vec<Option<i64>> {
        stamps.iter().map(|stamp| of_kind(stamp).and_then(|stamp| nanoseconds(stamp.moment, order))).collect()
    };
    let since = match most {
        0 | 2 => Since::Epoch,
        1 => Since::Start,
        3 => Since::Year,
        4 => return numbers(counts[4], each),
        _ => Since::Midnight,
    };
    Some((since, each(&[0, 1, 2])))
}

/// Of dates of three numbers: which is year, month and day is what makes dates of all of them, nearest to each other.
fn numbers(count: usize, each: impl Fn(&[usize; 3]) -> Vec<Option<i64>>) -> Option<(Since, Vec<Option<i64>>)> {
    let span = |times: &Vec<Option<i64>>| {
        let (least, most) = (times.iter().flatten().min()?, times.iter().flatten().max()?);
        most.checked_sub(*least).filter(|_| times.iter().flatten().count() == count)
    };
    // Month, day, year; day, month, year; year, month, day.
    let orders = [[2, 0, 1], [2, 1, 0], [0, 1, 2]].map(|order| each(&order));
    let mut possible: Vec<(i64, Vec<Option<i64>>)> =
        orders.into_iter().filter_map(|times| Some((span(&times)?, times))).collect();
    possible.sort_by_key(|(span, _)| *span);
    let is_sure = possible.len() == 1;
    let (_, times) = possible.into_iter().next()?;
    Some((if is_sure { Since::Epoch } else { Since::Year }, times))
}

/// Of a moment. `order` has where year, month and day stand in a date of three numbers.
fn nanoseconds(moment: Moment, order: &[usize; 3]) -> Option<i64> {
    let (day, ns) = match moment {
        Moment::Epoch(ns) | Moment::Elapsed(ns) => return Some(ns),
        Moment::Clock { day, ns, .. } => (day, ns),
    };
    let date = match day {
        Day::Unknown => return Some(ns),
        Day::Known(date) => date,
        Day::NoYear(month, day) => Date::new(ANY_YEAR, month, day).ok()?,
        Day::Numbers(numbers) => {
            let [year, month, day] = order.map(|at| numbers[at]);
            let year = if year < 100 { 2000 + year } else { year };
            Date::new(year, month.try_into().ok()?, day.try_into().ok()?).ok()?
        }
    };
    let midnight = date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_nanosecond();
    i64::try_from(midnight + i128::from(ns)).ok()
}

/// Times in the order of the lines, where each day or year that begins is one more; `None` if they go back otherwise.
fn onward(times: &[Option<i64>], since: Since) -> Option<Vec<Option<i64>>> {
    let mut previous: Option<i64> = None;
    let mut added = 0_i64;
    let mut next = |time: i64| {
        let mut at = time.checked_add(added)?;
        if let Some(before) = previous.filter(|before| at < before - MOST_BACK) {
            // A clock of twelve hours begins again at 1.
            let periods: &[i64] = match since {
                Since::Midnight => &[DAY / 2, DAY],
                Since::Year => &[YEAR],
                Since::Epoch | Since::Start => &[],
            };
            let period = periods.iter().find(|period| (0..*period / 4).contains(&(at + **period - before)))?;
            added += period;
            at += period;
        }
        previous = Some(previous.map_or(at, |before| before.max(at)));
        Some(at)
    };
    let mut onward = Vec::with_capacity(times.len());
    for time in times {
        onward.push(match time {
            Some(time) => Some(next(*time)?),
            None => None,
        });
    }
    Some(onward)
}

/// Whether pings can have been sent in those moments; if not why, and whether that is a contradiction of the file's.
fn plausible(sent: &[(i64, i64)], is_coarse: bool, summary: &Summary) -> Result<(), (String, bool)> {
    let (Some(first), Some(last)) = (sent.first(), sent.last()) else { return Ok(()) };
    let pings = last.0 - first.0;
    if pings == 0 {
        return Ok(());
    }
    let Some(span) = last.1.checked_sub(first.1) else {
        return Err(("its time stamps are centuries apart".to_owned(), false));
    };
    let slack = if is_coarse { SECOND } else { 0 };
    // How long a ping took to follow the one before.
    let mut gaps: Vec<i64> =
        sent.windows(2).map(|pair| (pair[1].1 - pair[0].1) / (pair[1].0 - pair[0].0).max(1)).collect();
    let greatest = sent.windows(2).map(|pair| pair[1].1 - pair[0].1).max().unwrap_or(0);
    let middle = gaps.len() / 2;
    let usual = *gaps.select_nth_unstable(middle).1;
    let told = summary.lasted.and_then(|lasted| i64::try_from(lasted.as_nanos()).ok());
    let shown = |ns: i64| (ns as f64 / 1e8).round() / 10.0;
    if let Some((told, all)) =
        told.zip(summary.transmitted.map(|sent| i64::from(sent) - 1)).filter(|(_, all)| *all >= pings)
    {
        let most = told + told / 100 + SECOND / 4 + 2 * slack;
        // What is before the first stamp and behind the last is not seen.
        let unseen = (all - pings).saturating_mul(usual.max(0));
        let least = if pings == all { told - (most - told) } else { told / 2 - slack - SECOND / 4 - unseen };
        if span > most || span < least {
            let mean = span / pings;
            let is_regular =
                (greatest - mean).abs() <= mean / 10 + slack && (usual - mean).abs() <= mean / 10 + slack;
            let why = format!(
                "its time stamps say {} s from the first answered ping to the last, and its summary {} s for all",
                shown(span),
                shown(told)
            );
            return Err((why, is_regular && span > slack));
        }
    } else if greatest > LONGEST_PAUSE && greatest / 10 > usual {
        return Err((format!("{} s of its time stamps are between two pings", shown(greatest)), false));
    }
    // A pipe that keeps lines back and gives them all at once.
    let mut steps: Vec<i64> =
        sent.windows(2).map(|pair| pair[1].1 - pair[0].1).filter(|step| *step > span / (10 * pings)).collect();
    let mean = span / pings;
    if usual < mean / 10 && steps.len() > 1 {
        let middle = steps.len() / 2;
        if *steps.select_nth_unstable(middle).1 > slack + 4 * mean {
            return Err(("its time stamps come in bursts, as through a pipe".to_owned(), false));
        }
    }
    Ok(())
}

/// Stamps of whole seconds tell when a ping was sent only to a second, but all of them together tell when the first
/// one was, for pings are an interval apart. Where they are not, stamps stay as they are.
fn even_out(replies: &mut [PingReply], sent: &[(i64, i64)], summary: &Summary) {
    let (Some(first), Some(last)) = (sent.first(), sent.last()) else { return };
    let slope = last.1.checked_sub(first.1).and_then(|span| span.checked_div(last.0 - first.0));
    let told = summary.interval().and_then(|interval| i64::try_from(interval.as_nanos()).ok());
    let Some(each) = told.or(slope).filter(|each| *each > 0) else { return };
    let begin = |(seq, sent): &(i64, i64)| i128::from(*sent) - i128::from(each) * i128::from(*seq);
    // The stamp is the moment without its fraction: none of them is later than it was.
    let (Some(earliest), Some(latest)) = (sent.iter().map(begin).min(), sent.iter().map(begin).max()) else {
        return;
    };
    if latest - earliest > i128::from(MOST_SCATTER) {
        return;
    }
    for reply in replies.iter_mut().filter(|reply| !reply.duplicate && reply.sent_ns.is_some()) {
        let sent = latest + i128::from(each) * i128::from(reply.seq);
        reply.sent_ns = i64::try_from(sent).ok().or(reply.sent_ns);
    }
}

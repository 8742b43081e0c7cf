//! Whether the machine kept up: a delay that the machine itself caused must never be shown as the network's.
//!
//! [`Watch`] observes the machine all the while a trial runs; [`judge`] is pure and compares what was observed, there and
//! by the programs of the trial, with [`Limits`]. Outside any limit the trial is [`Verdict::Unfit`].
//!
//! The most direct measure is the heartbeat: a thread that wants to wake every 10 ms and notes how late it does. What
//! makes it late makes every other program of the trial late too. It cannot see everything, because the scheduler favours
//! threads that sleep much; so the pressure on the processors and the time a hypervisor stole are watched beside it.

use std::fmt;
use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::errno::Errno;
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};
use serde::{Deserialize, Serialize};

/// Between two beats of the heartbeat.
const BEAT: Duration = Duration::from_millis(10);
/// Beats between two looks at the processors: one second.
const BEATS_A_SAMPLE: u64 = 100;

/// What is tolerated. The defaults are for links of tens of milliseconds and more, measured to a millisecond or two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// The heartbeat's 99th percentile of lateness. 3 ms: frames are stamped, paced and forwarded by threads that wake
    /// the same way, so this is the error to expect in one frame of a hundred. On two cores a trial alone
    /// (640x360 at 30 fps in flv1 or x264, Open vSwitch in user space) reaches 1.0 ms, beside two busy loops 6 ms, beside
    /// four 13 ms.
    pub heartbeat_p99: Duration,
    /// The heartbeat's greatest lateness. 50 ms: a pause that long shows in the delay plot as a spike that is nobody's but
    /// the machine's. A trial alone reaches 2 to 6 ms, beside busy loops 57 to 70 ms.
    pub heartbeat_max: Duration,
    /// Share of a second in which some thread was ready and had no processor (`some` of /proc/pressure/cpu,
    /// Documentation/accounting/psi.rst). 0.75: encoder, switch and player of a trial on two cores wait for one another
    /// now and then, 0.05 of the time on average and 0.2 at most; with four busy loops beside them it is 0.98.
    pub pressure: f64,
    /// Where there is no /proc/pressure: share of the processors' time that was not idle. 0.95: no headroom at all.
    pub busy: f64,
    /// Share of the processors' time that a hypervisor gave to others (`steal` of /proc/stat, proc(5)). 0.05: what is
    /// stolen comes in slices of milliseconds, each of which stops everything.
    pub steal: f64,
    /// Share of the trial's seconds that may be over `pressure`, `busy` or `steal`. 0.1: starting a dozen programs at once
    /// takes a second or two and disturbs no measurement.
    pub seconds_over: f64,
    /// How far the wall clock may move against the steady clock in one step. 1 ms: births and arrivals are stamped with
    /// the wall clock, so that a step between them is an error of that size in the delay.
    pub clock_step: Duration,
    /// Packets a capture may miss. None: each could be the last piece of a frame, which would then seem lost or late.
    pub capture_drops: u64,
    /// Packets that emulated links may drop because the machine had no room for them. None: the plan's queue did not drop them.
    #[serde(default)]
    pub emulator_drops: u64,
    /// The emulated links' 99th percentile of lateness. 1 ms: what the links promise.
    pub emulator_p99: Duration,
    /// The emulated links' greatest lateness. 50 ms, as `heartbeat_max`.
    pub emulator_max: Duration,
    /// The births' 99th percentile of lateness against a steady frame rate. 100 ms, three frames: encoders smooth over
    /// single late pictures, but a broadcaster that is later than that does not keep up with its own frame rate.
    pub birth_p99: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            heartbeat_p99: Duration::from_millis(3),
            heartbeat_max: Duration::from_millis(50),
            pressure: 0.75,
            busy: 0.95,
            steal: 0.05,
            seconds_over: 0.1,
            clock_step: Duration::from_millis(1),
            capture_drops: 0,
            emulator_drops: 0,
            emulator_p99: Duration::from_millis(1),
            emulator_max: Duration::from_millis(50),
            birth_p99: Duration::from_millis(100),
        }
    }
}

/// How late something was, over all its occasions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Lateness {
    /// How many occasions there were.
    pub count: u64,
    /// Half of them were no later than this.
    pub p50: Duration,
    /// 99 % of them were no later than this.
    pub p99: Duration,
    /// None of them was later than this.
    pub max: Duration,
}

impl Lateness {
    /// Of single latenesses, in any order; percentiles by nearest rank.
    #[must_use]
    pub fn of(mut all: Vec<Duration>) -> Lateness {
        all.sort_unstable();
        let rank = |percent: usize| {
            all.get((all.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
        };
        Lateness { count: all.len() as u64, p50: rank(50), p99: rank(99), max: rank(100) }
    }

    /// Of births against a steady `fps`. Birth *i* is due *i*/fps after the start, and the start is such that the earliest birth
    /// is on time, so that a slow first frame makes no other late. `births` are `(frame index, nanoseconds)`.
    #[must_use]
    pub fn of_births(births: &[(u64, u64)], fps: u32) -> Lateness {
        let due = |index: u64| i128::from(index) * 1_000_000_000 / i128::from(fps.max(1));
        let offset = |(index, born): &(u64, u64)| i128::from(*born) - due(*index);
        let start = births.iter().map(offset).min().unwrap_or(0);
        let late = |birth| Duration::from_nanos(u64::try_from(offset(birth) - start).unwrap_or(u64::MAX));
        Lateness::of(births.iter().map(late).collect())
    }
}

/// One second of the machine, as the watch saw it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Sample {
    /// The end of that second, since the watch began.
    pub at: Duration,
    /// Share of the processors' time that was not idle, 0 to 1.
    pub busy: f64,
    /// Share of the processors' time that a hypervisor gave to others, 0 to 1.
    pub steal: f64,
    /// Share of the time in which a ready thread had no processor, 0 to 1; `None`: this kernel does not say.
    pub pressure: Option<f64>,
    /// The heartbeat's greatest lateness.
    pub heartbeat_max: Duration,
    /// How far the wall clock moved against the steady clock, in nanoseconds; positive: forward.
    pub clock_step_ns: i64,
}

/// Packets that one capture missed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureDrops {
    /// Name of the interface.
    pub interface: String,
    /// Packets that arrived faster than they were written.
    pub dropped: u64,
}

/// What a broadcaster's births were like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BirthLateness {
    /// Host of the broadcaster.
    pub broadcaster: String,
    /// How late births were against a steady frame rate.
    pub lateness: Lateness,
}

/// Everything that was observed in a trial. The [`Watch`] fills the first two; the rest comes from the trial's programs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Observations {
    /// One for each second.
    pub samples: Vec<Sample>,
    /// How late the heartbeat woke.
    pub heartbeat: Lateness,
    /// What captures missed, one for each.
    pub captures: Vec<CaptureDrops>,
    /// Of emulated links, all together; `None`: there were none.
    pub emulator: Option<Lateness>,
    /// Packets that emulated links dropped because the receiving interface had no room for them.
    #[serde(default)]
    pub emulator_dropped: u64,
    /// How late births were, one for each broadcaster.
    pub births: Vec<BirthLateness>,
    /// Connections to the CDN that the controller could not follow, each in words.
    #[serde(default)]
    pub not_followed: Vec<String>,
    /// What should have been observed and was not, and why. A trial of which that is not known is not called fit.
    #[serde(default)]
    pub unknown: Vec<String>,
}

impl Observations {
    /// An empty observation; `why` nothing was seen.
    #[must_use]
    pub fn none(why: String) -> Self {
        Observations { unknown: vec![why], ..Observations::default() }
    }
}

/// Whether a trial's delays can be trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The machine kept up.
    Fit,
    /// It did not keep up.
    Unfit {
        /// Each limit that was exceeded.
        reasons: Vec<Reason>,
    },
}

/// A limit that was exceeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Which: a field of [`Limits`], or of [`Observations`] where nothing is tolerated.
    pub limit: String,
    /// What was observed, what is allowed and what it does to the measurement.
    pub text: String,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Fit => f.write_str("fit"),
            Verdict::Unfit { reasons } => {
                let texts: Vec<&str> = reasons.iter().map(|reason| reason.text.as_str()).collect();
                write!(f, "unfit: {}", texts.join("; "))
            }
        }
    }
}

/// Holds what was observed against what is tolerated.
#[must_use]
pub fn judge(seen: &Observations, limits: &Limits) -> Verdict {
    let mut reasons = Vec::new();
    let mut over = |limit: &str, exceeded: bool, text: String| {
        if exceeded {
            reasons.push(Reason { limit: limit.to_owned(), text });
        }
    };
    let Lateness { p99, max, count, .. } = seen.heartbeat;
    for unknown in &seen.unknown {
        over("unknown", true, format!("fitness unknown: {unknown}"));
    }
    let unwatched = count == 0 && seen.unknown.is_empty();
    over("unknown", unwatched, "fitness unknown: the machine was not watched".into());
    over(
        "heartbeat_p99",
        p99 > limits.heartbeat_p99,
        format!("threads woke up to {} late in 1 of 100 cases (limit {})", ms(p99), ms(limits.heartbeat_p99)),
    );
    over(
        "heartbeat_max",
        max > limits.heartbeat_max,
        format!("the machine stood still for {} (limit {})", ms(max), ms(limits.heartbeat_max)),
    );

    let seconds = seen.samples.len();
    // A second that was not looked at is none without pressure.
    let watched = seen.heartbeat.count / BEATS_A_SAMPLE;
    let unseen = watched.saturating_sub(seconds as u64);
    let text = format!("fitness unknown: the processors were looked at in {seconds} of {watched} s");
    over("unknown", (unseen > 0 || seconds == 0 && !unwatched) && seen.unknown.is_empty(), text);
    let allowed = limits.seconds_over * seconds as f64;
    let count = |over: &dyn Fn(&Sample) -> bool| seen.samples.iter().filter(|sample| over(sample)).count();
    let often =
        |count: usize, what: String| format!("{what} in {count} of {seconds} s (allowed {})", allowed.floor());
    let pressed = count(&|sample| sample.pressure.is_some_and(|pressure| pressure > limits.pressure));
    let pressure = format!("programs waited for a processor over {:.0} % of the time", limits.pressure * 100.0);
    over("pressure", pressed as f64 > allowed, often(pressed, pressure));
    let busy = count(&|sample| sample.pressure.is_none() && sample.busy > limits.busy);
    over(
        "busy",
        busy as f64 > allowed,
        often(busy, format!("all processors were over {:.0} % busy", limits.busy * 100.0)),
    );
    let stolen = count(&|sample| sample.steal > limits.steal);
    let steal = format!("the hypervisor took over {:.0} % of the processors", limits.steal * 100.0);
    over("steal", stolen as f64 > allowed, often(stolen, steal));

    let step = seen.samples.iter().map(|sample| sample.clock_step_ns).max_by_key(|step| step.unsigned_abs());
    let step = Duration::from_nanos(step.unwrap_or(0).unsigned_abs());
    over(
        "clock_step",
        step > limits.clock_step,
        format!("the clock was set by {} within a second (limit {})", ms(step), ms(limits.clock_step)),
    );
    for CaptureDrops { interface, dropped } in &seen.captures {
        let text = format!("the capture on {interface} missed {dropped} packets (limit {})", limits.capture_drops);
        over("capture_drops", *dropped > limits.capture_drops, text);
    }
    if let Some(Lateness { p99, max, .. }) = seen.emulator {
        let text =
            format!("emulated links were {} late in 1 of 100 packets (limit {})", ms(p99), ms(limits.emulator_p99));
        over("emulator_p99", p99 > limits.emulator_p99, text);
        let text = format!("an emulated link was {} late (limit {})", ms(max), ms(limits.emulator_max));
        over("emulator_max", max > limits.emulator_max, text);
    }
    let text = format!(
        "emulated links dropped {} packets because this machine had no room for them (limit {})",
        seen.emulator_dropped, limits.emulator_drops
    );
    over("emulator_drops", seen.emulator_dropped > limits.emulator_drops, text);
    for BirthLateness { broadcaster, lateness } in &seen.births {
        let (p99, limit) = (lateness.p99, limits.birth_p99);
        let text =
            format!("{broadcaster} was {} behind its frame rate in 1 of 100 frames (limit {})", ms(p99), ms(limit));
        over("birth_p99", p99 > limit, text);
    }
    for one in &seen.not_followed {
        over("not_followed", true, format!("{one}: it had its stream from the CDN, whatever the scheme"));
    }
    if reasons.is_empty() { Verdict::Fit } else { Verdict::Unfit { reasons } }
}

fn ms(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

/// Watches the machine from a thread of its own.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Observations>,
}

impl Watch {
    /// Begins to watch; best when the network is up and the timeline starts, since booting may strain the machine. It costs about 0.1 % of one processor.
    ///
    /// # Errors
    /// The thread cannot be started, or `/proc/stat` cannot be read.
    pub fn start() -> io::Result<Watch> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut look = Look::at_machine()?;
        let asked = Arc::clone(&stop);
        let thread = thread::Builder::new().name("watch".into()).spawn(move || watch(&asked, &mut look, sleep))?;
        Ok(Watch { stop, thread })
    }

    /// Ends within some 10 ms and gives what was seen.
    #[must_use]
    pub fn stop(self) -> Observations {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|_| Observations::none("the watch of the machine broke".into()))
    }
}

/// Sleeps until a time of the monotonic clock: absolute, so that lateness does not add up.
fn sleep(until: Duration) -> nix::Result<()> {
    clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &until.into()).map(drop)
}

fn watch(stop: &AtomicBool, look: &mut Look, sleep: impl Fn(Duration) -> nix::Result<()>) -> Observations {
    let (mut samples, mut unknown) = (Vec::new(), Vec::new());
    let mut lateness = Histogram::default();
    let mut worst = Duration::ZERO;
    let begin = now(ClockId::CLOCK_MONOTONIC);
    let mut due = begin;
    let mut beats = 0;
    while !stop.load(Ordering::Relaxed) {
        due += BEAT;
        // An interrupted sleep counts as a beat on time.
        if let Err(error) = sleep(due)
            && error != Errno::EINTR
        {
            unknown.push(format!("the watch of the machine cannot sleep: {error}"));
            break;
        }
        let woke = now(ClockId::CLOCK_MONOTONIC);
        let late = woke.saturating_sub(due);
        lateness.add(late);
        worst = worst.max(late);
        beats += 1;
        // After a long pause the beats missed are not made up for.
        if late > BEAT {
            due = woke;
        }
        if beats % BEATS_A_SAMPLE == 0
            && let Ok(next) = Look::at_machine()
        {
            samples.extend(look.sample(&next, woke.saturating_sub(begin), worst));
            *look = next;
            worst = Duration::ZERO;
        }
    }
    Observations { samples, heartbeat: lateness.summary(), unknown, ..Observations::default() }
}

fn now(clock: ClockId) -> Duration {
    // Both clocks used here exist on every Linux, so reading them cannot fail.
    clock_gettime(clock).map(Duration::from).unwrap_or_default()
}

/// Latenesses in steps of 10 µs up to 100 ms, so that a trial of any length takes the same memory.
struct Histogram {
    steps: Vec<u64>,
    count: u64,
    max: Duration,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { steps: vec![0; 10_000], count: 0, max: Duration::ZERO }
    }
}

impl Histogram {
    const STEP_US: u128 = 10;

    fn add(&mut self, late: Duration) {
        let step = usize::try_from(late.as_micros() / Self::STEP_US).unwrap_or(usize::MAX).min(self.steps.len() - 1);
        self.steps[step] += 1;
        self.count += 1;
        self.max = self.max.max(late);
    }

    /// Percentiles are the upper ends of their steps, and never beyond the maximum.
    fn summary(&self) -> Lateness {
        let quantile = |percent: u64| {
            let rank = (self.count * percent).div_ceil(100).max(1);
            let mut below = 0;
            let step = self.steps.iter().position(|n| {
                below += n;
                below >= rank
            });
            match step {
                Some(step) if step + 1 < self.steps.len() => {
                    Duration::from_micros((step as u64 + 1) * Self::STEP_US as u64).min(self.max)
                }
                _ => self.max,
            }
        };
        Lateness { count: self.count, p50: quantile(50), p99: quantile(99), max: self.max }
    }
}

/// The kernel's counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    processors: Processors,
    /// Microseconds in which some ready thread had no processor.
    pressure_us: Option<u64>,
    steady: Duration,
    wall: Duration,
}

impl Look {
    fn at_machine() -> io::Result<Look> {
        let stat = fs::read_to_string("/proc/stat")?;
        let processors =
            processors(&stat).ok_or_else(|| io::Error::other("/proc/stat has no line for all processors"))?;
        let pressure_us = fs::read_to_string("/proc/pressure/cpu").ok().and_then(|text| pressure_total(&text));
        let (steady, wall) = (now(ClockId::CLOCK_MONOTONIC), now(ClockId::CLOCK_REALTIME));
        Ok(Look { processors, pressure_us, steady, wall })
    }

    /// What happened from this look to the next; `None`: the counters stand still, as where a container hides them, and tell nothing.
    fn sample(&self, next: &Look, at: Duration, heartbeat_max: Duration) -> Option<Sample> {
        let share = |part: u64, of: u64| if of == 0 { 0.0 } else { part as f64 / of as f64 };
        let ticks = next.processors.all.saturating_sub(self.processors.all);
        if ticks == 0 {
            return None;
        }
        let idle = next.processors.idle.saturating_sub(self.processors.idle);
        let steal = next.processors.steal.saturating_sub(self.processors.steal);
        let elapsed = next.steady.saturating_sub(self.steady);
        let pressure = self.pressure_us.zip(next.pressure_us).map(|(before, after)| {
            share(after.saturating_sub(before), u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)).min(1.0)
        });
        let offset = |look: &Look| look.wall.as_nanos() as i128 - look.steady.as_nanos() as i128;
        let clock_step = offset(next) - offset(self);
        Some(Sample {
            at,
            busy: share(ticks.saturating_sub(idle), ticks),
            steal: share(steal, ticks),
            pressure,
            heartbeat_max,
            clock_step_ns: i64::try_from(clock_step).unwrap_or(if clock_step < 0 { i64::MIN } else { i64::MAX }),
        })
    }
}

/// Time of all processors since boot, in clock ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Processors {
    all: u64,
    idle: u64,
    steal: u64,
}

/// The first line of `/proc/stat` (proc(5)): user, nice, system, idle, iowait, irq, softirq, steal; the two guest times after it
/// are part of the first two.
fn processors(stat: &str) -> Option<Processors> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().take(8).map_while(|word| word.parse().ok()).collect();
    let [_, _, _, idle, waiting, ..] = ticks.as_slice() else { return None };
    Some(Processors { all: ticks.iter().sum(), idle: idle + waiting, steal: ticks.get(7).copied().unwrap_or(0) })
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=12345` of `/proc/pressure/cpu`, in microseconds.
fn pressure_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    line.split_whitespace().find_map(|word| word.strip_prefix("total="))?.parse().ok()
}

#[cfg(test)]
mod tests;

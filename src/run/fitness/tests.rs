#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn calm() -> Observations {
    let second = |n| Sample { at: Duration::from_secs(n), busy: 0.4, pressure: Some(0.2), ..Sample::default() };
    Observations {
        samples: (1..=60).map(second).collect(),
        heartbeat: Lateness { count: 6000, p50: millis(0), p99: millis(1), max: millis(20) },
        captures: vec![CaptureDrops { interface: "hb-eth0".into(), dropped: 0 }],
        emulator: Some(Lateness { count: 9000, p50: millis(0), p99: millis(0), max: millis(8) }),
        emulator_dropped: 0,
        not_followed: Vec::new(),
        unknown: Vec::new(),
        births: vec![BirthLateness {
            broadcaster: "hb".into(),
            lateness: Lateness { p99: millis(40), ..Lateness::default() },
        }],
    }
}

/// Names of the limits that were exceeded.
fn exceeded(seen: &Observations) -> Vec<String> {
    match judge(seen, &Limits::default()) {
        Verdict::Fit => vec![],
        Verdict::Unfit { reasons } => reasons.into_iter().map(|reason| reason.limit).collect(),
    }
}

#[test]
fn a_calm_trial_is_fit() {
    assert_eq!(judge(&calm(), &Limits::default()), Verdict::Fit);
}

#[test]
fn every_limit_is_held() {
    let with = |change: &dyn Fn(&mut Observations)| {
        let mut seen = calm();
        change(&mut seen);
        exceeded(&seen)
    };
    assert_eq!(with(&|seen| seen.heartbeat.p99 = millis(4)), ["heartbeat_p99"]);
    assert_eq!(with(&|seen| seen.heartbeat.max = millis(51)), ["heartbeat_max"]);
    assert_eq!(with(&|seen| seen.samples.iter_mut().for_each(|s| s.pressure = Some(0.9))), ["pressure"]);
    assert_eq!(with(&|seen| seen.samples.iter_mut().for_each(|s| (s.pressure, s.busy) = (None, 0.97))), ["busy"]);
    assert_eq!(with(&|seen| seen.samples.iter_mut().for_each(|s| s.steal = 0.06)), ["steal"]);
    assert_eq!(with(&|seen| seen.samples[30].clock_step_ns = -2_000_000), ["clock_step"]);
    assert_eq!(with(&|seen| seen.captures[0].dropped = 1), ["capture_drops"]);
    assert_eq!(with(&|seen| seen.emulator.as_mut().unwrap().p99 = millis(2)), ["emulator_p99"]);
    assert_eq!(with(&|seen| seen.emulator.as_mut().unwrap().max = millis(51)), ["emulator_max"]);
    assert_eq!(with(&|seen| seen.emulator_dropped = 1), ["emulator_drops"]);
    assert_eq!(with(&|seen| seen.births[0].lateness.p99 = millis(101)), ["birth_p99"]);
    assert_eq!(with(&|seen| seen.unknown.push("no report".into())), ["unknown"]);
    assert_eq!(with(&|seen| seen.samples.truncate(59)), ["unknown"], "a second was not looked at");
    let short = |seen: &mut Observations| (seen.samples, seen.heartbeat.count) = (Vec::new(), 99);
    assert_eq!(with(&short), ["unknown"], "no second was looked at");
    assert_eq!(with(&|seen| seen.not_followed.push("hv1".into())), ["not_followed"]);
    assert_eq!(exceeded(&Observations::default()), ["unknown"], "nothing was seen");
}

#[test]
fn a_short_burst_is_tolerated_and_a_long_one_is_not() {
    let pressed = |seconds: usize| {
        let mut seen = calm();
        seen.samples[..seconds].iter_mut().for_each(|sample| sample.pressure = Some(1.0));
        exceeded(&seen)
    };
    assert_eq!(pressed(6), [""; 0]);
    assert_eq!(pressed(7), ["pressure"]);
}

#[test]
fn full_processors_without_waiting_are_fit() {
    let mut seen = calm();
    seen.samples.iter_mut().for_each(|sample| sample.busy = 1.0);
    assert_eq!(exceeded(&seen), [""; 0], "pressure says nobody had to wait");
}

#[test]
fn an_unwatched_trial_is_unfit() {
    let text = judge(&Observations::default(), &Limits::default()).to_string();
    assert_eq!(text, "unfit: fitness unknown: the machine was not watched");
}

#[test]
fn reasons_say_what_was_seen_and_what_is_allowed() {
    let mut seen = calm();
    seen.heartbeat.max = Duration::from_micros(123_400);
    let text = judge(&seen, &Limits::default()).to_string();
    assert_eq!(text, "unfit: the machine stood still for 123.4 ms (limit 50.0 ms)");
}

#[test]
fn percentiles_are_nearest_ranks() {
    let all = (1..=100).rev().map(millis).collect();
    assert_eq!(Lateness::of(all), Lateness { count: 100, p50: millis(50), p99: millis(99), max: millis(100) });
    assert_eq!(Lateness::of(vec![]), Lateness::default());
    assert_eq!(Lateness::of(vec![millis(7)]).p50, millis(7));
}

#[test]
fn births_are_late_against_the_earliest() {
    // 25 fps: 40 ms a frame. The first is 30 ms slow, frame 3 is 25 ms late.
    let births = [(0, 30), (1, 40), (2, 80), (3, 145), (4, 160)].map(|(i, ms)| (i, 5_000_000_000 + ms * 1_000_000));
    let late = Lateness::of_births(&births, 25);
    assert_eq!((late.count, late.max, late.p50), (5, millis(30), millis(0)));
    let all = |births: &[(u64, u64)]| Lateness::of_births(births, 25).max;
    assert_eq!(all(&births[1..]), millis(25));
    assert_eq!(all(&[]), millis(0));
}

#[test]
fn histogram_agrees_with_the_exact_percentiles() {
    let all: Vec<Duration> = (0..5000).map(|n| Duration::from_micros((n * 7919) % 50_000)).collect();
    let mut histogram = Histogram::default();
    all.iter().for_each(|late| histogram.add(*late));
    let (rough, exact) = (histogram.summary(), Lateness::of(all));
    assert_eq!((rough.count, rough.max), (exact.count, exact.max));
    for (rough, exact) in [(rough.p50, exact.p50), (rough.p99, exact.p99)] {
        assert!(rough >= exact && rough - exact <= Duration::from_micros(10), "{rough:?} for {exact:?}");
    }
}

#[test]
fn histogram_takes_the_greatest_lateness_as_it_is() {
    let mut histogram = Histogram::default();
    histogram.add(Duration::from_secs(3));
    assert_eq!(
        histogram.summary(),
        Lateness { count: 1, p50: Duration::from_secs(3), p99: Duration::from_secs(3), max: Duration::from_secs(3) }
    );
}

#[test]
fn reads_the_kernels_counters() {
    let stat = "cpu  100 5 50 800 20 3 2 20 9 0\ncpu0 1 2 3 4\nintr 1\n";
    assert_eq!(processors(stat), Some(Processors { all: 1000, idle: 820, steal: 20 }));
    assert_eq!(processors("intr 1\n"), None);
    let psi =
        "some avg10=1.80 avg60=3.00 avg300=19.60 total=185689014\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
    assert_eq!(pressure_total(psi), Some(185_689_014));
    assert_eq!(pressure_total(""), None);
}

#[test]
fn samples_are_shares_of_what_passed_between_two_looks() {
    let look = |all, idle, steal, pressure_us, steady, wall| Look {
        processors: Processors { all, idle, steal },
        pressure_us,
        steady,
        wall,
    };
    let before = look(1000, 800, 10, Some(5_000), millis(1000), millis(9_000));
    let after = look(1200, 850, 20, Some(505_000), millis(2000), millis(10_003));
    let sample = before.sample(&after, millis(1000), millis(2)).unwrap();
    assert!((sample.busy - 0.75).abs() < 1e-9 && (sample.steal - 0.05).abs() < 1e-9);
    assert!((sample.pressure.unwrap() - 0.5).abs() < 1e-9);
    assert_eq!(sample.clock_step_ns, 3_000_000);
    let backwards = look(1200, 850, 20, None, millis(2000), millis(8_000));
    let backwards = before.sample(&backwards, millis(1000), millis(2)).unwrap();
    assert_eq!((backwards.clock_step_ns, backwards.pressure), (-2_000_000_000, None));
    let standing = look(1000, 800, 10, Some(505_000), millis(2000), millis(10_000));
    assert_eq!(
        before.sample(&standing, millis(1000), millis(2)),
        None,
        "counters that stand still are not an idle machine"
    );
}

#[test]
fn the_watch_beats_and_samples() {
    let watch = Watch::start().unwrap();
    // More than twice as long as a sample takes: on a busy machine beats that were missed are not made up for.
    thread::sleep(millis(2500));
    let seen = watch.stop();
    assert!((10..=251).contains(&seen.heartbeat.count), "{:?}", seen.heartbeat);
    assert!((1..=2).contains(&seen.samples.len()), "{:?}", seen.samples);
    assert!((0.0..=1.0).contains(&seen.samples[0].busy), "{:?}", seen.samples);
}

#[test]
fn a_watch_that_cannot_sleep_leaves_the_trial_unfit() {
    let (stop, mut look) = (AtomicBool::new(false), Look::at_machine().unwrap());
    let seen = watch(&stop, &mut look, |_| Err(Errno::ENOSYS));
    assert_eq!(seen.unknown, ["the watch of the machine cannot sleep: ENOSYS: Function not implemented"]);
    let Verdict::Unfit { reasons } = judge(&Observations { unknown: seen.unknown, ..calm() }, &Limits::default())
    else {
        panic!("what is not known is not fit");
    };
    assert_eq!(reasons.len(), 1, "{reasons:?}");
}

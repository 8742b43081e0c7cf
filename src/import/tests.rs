#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use std::fmt::Write as _;

/// A folder of files made for a test.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Files {
        Files(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// 23:17:00 UTC on 22 November 2026.
const BEGAN_US: i64 = 1_795_389_420_000_000;

/// As `ping -D` prints it: the first ping `offset_ms` after [`BEGAN_US`], then one every `every_ms`.
fn stamped(host: u8, offset_ms: i64, every_ms: i64, rtts: &[Option<i64>]) -> String {
    let mut text = format!("PING 10.0.0.{host} (10.0.0.{host}) 56(84) bytes of data.\n");
    for (n, rtt) in (0_i64..).zip(rtts) {
        let Some(rtt) = rtt else { continue };
        let at = BEGAN_US + 1000 * (offset_ms + n * every_ms + rtt);
        let (s, us, seq) = (at / 1_000_000, at % 1_000_000, n + 1);
        writeln!(text, "[{s}.{us:06}] 64 bytes from 10.0.0.{host}: icmp_seq={seq} ttl=64 time={rtt} ms").unwrap();
    }
    let (sent, answered) = (rtts.len(), rtts.iter().flatten().count());
    let loss = (sent - answered) as f64 * 100.0 / sent as f64;
    text + &format!(
        "\n--- 10.0.0.{host} ping statistics ---\n\
         {sent} packets transmitted, {answered} received, {loss:.1}% packet loss, time {}ms\n",
        (sent as i64 - 1) * every_ms
    )
}

/// Without time stamps, and without what the ping lasted.
fn plain(host: u8, rtts: &[Option<i64>]) -> String {
    let text = stamped(host, 0, 1000, rtts);
    let bare = |line: &str| {
        let line = line.split_once("] ").map_or(line, |(_, rest)| rest);
        line.split_once(", time ").map_or(line, |(line, _)| line).to_owned() + "\n"
    };
    text.lines().map(bare).collect()
}

fn direct(uplink: PathBuf, downlink: PathBuf) -> Request {
    Request { name: "classic".into(), direct: vec![[uplink, downlink]], ..Request::default() }
}

fn bypass(peer: PathBuf) -> Request {
    Request { name: "classic".into(), bypass: vec![peer], ..Request::default() }
}

/// Time in s, to the millisecond, and delay in ms.
fn delays(import: &Import) -> Vec<(f64, Option<f64>)> {
    let (trial, imported) = (&import.plan.trials[0], &import.trials[0]);
    let delays = table::ping_delays(trial, &imported.pings);
    delays.into_iter().map(|d| ((d.time_s * 1000.0).round() / 1000.0, d.delay_ms)).collect()
}

#[test]
fn time_stamps_place_the_trains_and_tell_the_interval() {
    let files = Files::new();
    // The second train begins 200 ms later; its first ping and the first train's second are lost.
    let uplink = files.file("a", stamped(2, 0, 2000, &[Some(800), None, Some(820), Some(900)]));
    let downlink = files.file("b", stamped(3, 200, 2000, &[None, Some(400), Some(420), Some(440)]));
    let import = read(&direct(uplink, downlink)).unwrap();
    let trains = &import.plan.trials[0].pings;
    assert_eq!(trains.iter().map(|t| t.interval).collect::<Vec<_>>(), [Duration::from_secs(2); 2]);
    assert_eq!(trains.iter().map(|t| t.start.as_millis()).collect::<Vec<_>>(), [0, 200]);
    assert_eq!(delays(&import), [(0.0, None), (2.0, None), (4.0, Some(620.0)), (6.0, Some(670.0))]);
    assert_eq!(import.trials[0].zero_ns, Some(BEGAN_US * 1000));
    let (from, to) = import.trials[0].span.unwrap();
    assert_eq!(
        (from.to_string().as_str(), to.to_string().as_str()),
        ("2026-11-22T23:17:00Z", "2026-11-22T23:17:06.2Z")
    );
    assert_eq!(import.trials[0].state, TrialState::Done);
    assert_eq!(import.warnings, Vec::<String>::new());
}

#[test]
fn without_time_stamps_pings_are_an_interval_apart() {
    let files = Files::new();
    let peer = files.file("a", plain(3, &[Some(400), Some(402), None, Some(404)]));
    let import = read(&bypass(peer.clone())).unwrap();
    assert_eq!(delays(&import), [(0.0, Some(200.0)), (1.0, Some(201.0)), (2.0, None), (3.0, Some(202.0))]);
    assert_eq!((import.trials[0].zero_ns, import.trials[0].span), (None, None));
    let request = Request { interval: Some(Duration::from_millis(200)), ..bypass(peer) };
    let times: Vec<f64> = delays(&read(&request).unwrap()).into_iter().map(|(time, _)| time).collect();
    assert_eq!(times, [0.0, 0.2, 0.4, 0.6]);
}

#[test]
fn time_stamps_of_one_file_tell_the_interval_of_the_other() {
    let files = Files::new();
    let rtts = [Some(40), Some(40), Some(60), Some(60)];
    let (uplink, downlink) = (files.file("a", stamped(2, 0, 3000, &rtts)), files.file("b", plain(3, &rtts)));
    let import = read(&direct(uplink, downlink)).unwrap();
    assert_eq!(delays(&import), [(0.0, Some(40.0)), (3.0, Some(40.0)), (6.0, Some(60.0)), (9.0, Some(60.0))]);
}

#[test]
fn an_interval_that_time_stamps_contradict_is_refused() {
    let files = Files::new();
    let peer = files.file("a", stamped(3, 0, 200, &[Some(40), Some(41), Some(42)]));
    let wrong = Request { interval: Some(Duration::from_secs(1)), ..bypass(peer.clone()) };
    let told = read(&wrong).unwrap_err();
    assert!(matches!(told, ImportError::Interval { .. }) && told.is_usage(), "{told}");
    assert!(told.to_string().contains("0.2 s apart, not 1 s"), "{told}");
    read(&Request { interval: Some(Duration::from_millis(200)), ..bypass(peer) }).unwrap();
}

#[test]
fn repetitions_are_numbered_within_their_scheme() {
    let files = Files::new();
    let file = |name: &str, host| files.file(name, plain(host, &[Some(400)]));
    let request = Request {
        direct: vec![[file("a", 2), file("b", 3)], [file("c", 2), file("d", 3)]],
        bypass: vec![file("e", 3), file("f", 3)],
        ..Request::default()
    };
    let import = read(&request).unwrap();
    let ids: Vec<&str> = import.plan.trials.iter().map(|t| t.id.as_str()).collect();
    assert_eq!(ids, ["direct-1", "direct-2", "bypass-1", "bypass-2"]);
    let files: Vec<String> =
        import.record.files.iter().map(|f| format!("{}:{}-{}:{}", f.trial, f.from, f.to, f.bytes)).collect();
    let size = plain(2, &[Some(400)]).len();
    assert_eq!(
        files[..3],
        ["b-s", "s-v", "b-s"]
            .map(String::from)
            .iter()
            .zip([1, 1, 2])
            .map(|(ends, n)| format!("direct-{n}:{ends}:{size}"))
            .collect::<Vec<_>>()
    );
    assert_eq!(files[5], format!("bypass-2:b-v:{size}"));
    assert_eq!(import.plan.trials[2].pings[0].address.to_string(), "10.0.0.3");
}

#[test]
fn files_that_do_not_belong_together_are_wrong_usage() {
    let files = Files::new();
    let rtts = [Some(400), Some(401), Some(402)];
    let (uplink, downlink, peer) =
        (files.file("b2s", plain(2, &rtts)), files.file("s2v", plain(3, &rtts)), files.file("b2v", plain(3, &rtts)));
    let request = |one: &PathBuf, other: &PathBuf, peer: Vec<PathBuf>| Request {
        bypass: peer,
        ..direct(one.clone(), other.clone())
    };
    read(&request(&uplink, &downlink, vec![peer.clone()])).unwrap();
    let told = |request: &Request| {
        let told = read(request).unwrap_err();
        assert!(told.is_usage(), "{told}");
        told
    };
    assert!(matches!(told(&request(&downlink, &uplink, vec![peer.clone()])), ImportError::Swapped { .. }));
    assert!(matches!(told(&request(&uplink, &uplink, vec![])), ImportError::Twice { .. }));
    assert!(matches!(told(&request(&downlink, &peer, vec![])), ImportError::SameTarget { .. }));

    let early = files.file("early", stamped(2, 0, 1000, &rtts));
    let late = files.file("late", stamped(3, 3_600_000, 1000, &rtts));
    let apart = told(&request(&early, &late, vec![]));
    assert!(matches!(apart, ImportError::Apart { spans: Some(_), .. }));
    let text = apart.to_string();
    assert!(
        text.contains("2026-11-22T23:17:00Z to 2026-11-22T23:17:02Z") && text.contains("2026-11-23T00:17:00Z"),
        "{text}"
    );
}

#[test]
fn damaged_files_are_partial_and_hopeless_ones_refused() {
    let files = Files::new();
    let whole = plain(3, &[Some(400), Some(401)]);
    let cut = files.file("cut", &whole[..whole.rfind(" time=").unwrap() + 9]);
    let import = read(&bypass(cut)).unwrap();
    assert_eq!(delays(&import), [(0.0, Some(200.0))]);
    let TrialState::Partial { why } = &import.trials[0].state else { panic!("{:?}", import.trials[0].state) };
    assert!(why.starts_with("ping/b-v.txt ends in the middle of a line"), "{why}");
    let odd = files.file("odd", whole.replacen("time=400", "time=4x0", 1));
    assert!(read(&bypass(odd)).unwrap().warnings[0].contains("a line cannot be read"));

    let refused = |name: &str, text: &[u8]| {
        let told = read(&bypass(files.file(name, text))).unwrap_err();
        assert!(
            !told.is_usage() && (told.to_string().contains(name) || matches!(told, ImportError::NoAnswer)),
            "{told}"
        );
        told
    };
    assert!(matches!(refused("empty", b""), ImportError::Empty { .. }));
    assert!(matches!(refused("header", &whole.as_bytes()[..40]), ImportError::Ping(_) | ImportError::NoPing { .. }));
    assert!(matches!(refused("twice", whole.repeat(2).as_bytes()), ImportError::Several { .. }));
    assert!(matches!(refused("binary", &[0x7f, b'E', b'L', b'F', 0, 0, 1, 10]), ImportError::Ping(_)));
    let absurd = whole.replace("2 packets", "4000000000 packets");
    assert!(matches!(refused("absurd", absurd.as_bytes()), ImportError::Implausible { .. }));
    let silent = "PING 10.0.0.3 (10.0.0.3) 56(84) bytes of data.\n\n--- 10.0.0.3 ping statistics ---\n9 packets transmitted, 0 received, 100% packet loss\n";
    assert!(matches!(refused("silent", silent.as_bytes()), ImportError::NoAnswer));
    let year = stamped(3, 0, 1000, &[Some(1)])
        .replace("\n\n---", "\n[1895389421.5] 64 bytes from 10.0.0.3: icmp_seq=2 ttl=64 time=1 ms\n\n---");
    assert!(matches!(refused("year", year.as_bytes()), ImportError::Implausible { .. }));
    assert!(matches!(read(&bypass("/dev/zero".into())), Err(ImportError::Ping(_))));
    assert!(matches!(read(&bypass(files.0.path().to_owned())), Err(ImportError::Ping(_))));
}

#[test]
fn a_stream_outside_the_pings_is_warned_of() {
    let files = Files::new();
    let peer = files.file("a", plain(3, &[Some(400), Some(402)]));
    let seconds = Duration::from_secs;
    let import = read(&Request { streaming: Some((seconds(150), seconds(450))), ..bypass(peer) }).unwrap();
    assert!(import.warnings.iter().any(|told| told.contains("second 150 to 450")), "{:?}", import.warnings);
}

/// A file's rows: number, moment in seconds to the millisecond, and whether it was answered.
fn rows(import: &Import) -> Vec<(u32, f64, bool)> {
    let rows = import.trials[0].pings.iter();
    rows.map(|r| (r.seq, (r.time_s * 1000.0).round() / 1000.0, r.rtt_ms.is_some())).collect()
}

#[test]
fn each_file_of_a_pair_has_its_own_interval() {
    let files = Files::new();
    let told = |host, ms: u32| {
        let text = plain(host, &[Some(40); 11]);
        files.file(&format!("{host}-{ms}"), text.replace("packet loss", &format!("packet loss, time {ms}ms")))
    };
    for (uplink, downlink, expected) in [
        (told(2, 2012), told(3, 10_014), [201, 1001]),
        (told(2, 10_014), told(3, 2012), [1001, 201]),
        (told(2, 10_500), told(3, 9200), [1050, 920]),
        (files.file("stamped", stamped(2, 0, 200, &[Some(40); 11])), told(3, 10_014), [200, 1001]),
    ] {
        let import = read(&direct(uplink, downlink)).unwrap();
        let intervals = import.plan.trials[0].pings.iter().map(|train| train.interval.as_millis());
        assert_eq!(intervals.collect::<Vec<_>>(), expected);
        assert_eq!((&import.trials[0].state, import.warnings.len()), (&TrialState::Done, 0), "{:?}", import.warnings);
    }
}

#[test]
fn what_a_file_does_not_tell_is_said() {
    let files = Files::new();
    let six: Vec<Option<i64>> = vec![Some(402); 6];
    let bsd = |put: &dyn Fn(usize) -> String| {
        let lines = plain(3, &six);
        lines.lines().enumerate().map(|(n, line)| format!("{}{line}\n", put(n))).collect::<String>()
    };
    let cut = plain(3, &six).lines().take(7).map(|line| format!("{line}\n")).collect::<String>();
    let tail = cut.lines().skip(3).map(|line| format!("{line}\n")).collect::<String>();
    let clocks = stamped(3, 0, 1000, &six).replace("[1795389425", "[1795399425");
    for (text, is_partial, words) in [
        (plain(3, &six), false, "taken to be 1 s"),
        (cut.clone(), false, "lost after number 6 are not known"),
        (format!("{cut}no answer yet for icmp_seq=7\n"), true, "after number 7 is not known"),
        (tail, true, "begins with ping 3"),
        (bsd(&|n| format!("#{}# ", n * n)), true, "no time that is known"),
        (bsd(&|n| format!("14:13:{:02} ", 59 - n)), true, "go back"),
        (clocks, false, "placed by their numbers, 1 s apart"),
        (plain(3, &six).replace("6 received", "5 received"), true, "6 of 6 answered"),
    ] {
        let import = read(&bypass(files.file("a", &text))).unwrap();
        let told = import.warnings.join("\n");
        let words = if words == "6 of 6 answered" { "5 were answered, and it has 6 answers" } else { words };
        assert!(told.contains(words) && told.contains("bypass-1: ping/b-v.txt"), "{told}: {text}");
        assert_eq!(matches!(import.trials[0].state, TrialState::Partial { .. }), is_partial, "{told}: {text}");
    }
    // What is given need not be known.
    let odd = files.file("odd", bsd(&|n| format!("#{}# ", n * n)));
    let import = read(&Request { interval: Some(Duration::from_secs(5)), ..bypass(odd) }).unwrap();
    assert_eq!((&import.trials[0].state, rows(&import)[5].1), (&TrialState::Done, 25.0));
}

#[test]
fn moments_without_a_day_are_kept_apart_from_those_with_one() {
    let files = Files::new();
    let clock = |host, from: u32| {
        let text = plain(host, &[Some(4); 6]);
        let at = |n: u32| (from + n) % 86_400;
        (0..)
            .zip(text.lines())
            .map(|(n, line)| format!("{:02}:{:02}:{:02}.5 {line}\n", at(n) / 3600, at(n) / 60 % 60, at(n) % 60))
            .collect::<String>()
    };
    let (uplink, downlink) = (files.file("a", clock(2, 86_397)), files.file("b", clock(3, 86_399)));
    let import = read(&direct(uplink, downlink)).unwrap();
    assert_eq!((import.trials[0].zero_ns, import.trials[0].span), (None, None), "the day is not known");
    assert!(import.trials[0].pings.iter().all(|row| row.sent_ns.is_none()));
    let times: Vec<f64> = rows(&import).iter().map(|(_, at, _)| *at).collect();
    assert_eq!(times, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    let far = files.file("far", clock(3, 40_000));
    let told = read(&direct(files.file("c", clock(2, 86_397)), far)).unwrap_err();
    assert!(matches!(told, ImportError::Apart { spans: None, .. }), "{told}");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn any_numbers_are_survived(
        lines in proptest::collection::vec((0_u64..20_000_000_000, 0_u32..65_536, 0_u64..100_000_000, 0_u8..8), 1..20),
        transmitted in proptest::prelude::prop_oneof![0_u32..99, 2_000_000_u32..],
    ) {
        let files = Files::new();
        let mut text = String::new();
        for (stamp, seq, rtt, kind) in lines {
            let stamp = if kind & 1 == 1 { format!("[{stamp}.5] ") } else { String::new() };
            let what = if kind & 2 == 2 { format!("ttl=1 time={rtt} ms") } else { "Destination Host Unreachable".into() };
            let seq = if kind & 4 == 4 { seq } else { seq % 9 };
            writeln!(text, "{stamp}64 bytes from 10.0.0.3: icmp_seq={seq} {what}").unwrap();
        }
        text += &format!("--- x ---\n{transmitted} sent\n");
        if let Ok(import) = read(&bypass(files.file("a", text))) {
            let rows = &import.trials[0].pings;
            proptest::prop_assert!(rows.iter().all(|r| r.time_s.is_finite()));
            proptest::prop_assert!(rows.len() <= 1_000_050);
        }
    }
}

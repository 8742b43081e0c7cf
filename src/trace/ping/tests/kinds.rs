//! Kinds of files that strangers have: each line of a table is one, with what is right.
use super::*;

const FIRST: &str = "PING 10.0.0.3 (10.0.0.3) 56(84) bytes of data.";
const BSD: &str = "PING 10.0.0.3 (10.0.0.3): 56 data bytes";
const RULE: &str = "--- 10.0.0.3 ping statistics ---";
const TIMES: [u32; 6] = [402, 404, 400, 401, 399, 403];

fn answer(seq: u32, ms: impl std::fmt::Display) -> String {
    format!("64 bytes from 10.0.0.3: icmp_seq={seq} ttl=64 time={ms} ms")
}

/// Lines of a ping that was answered six times and sent `lost` more, one each `every` seconds, with their seconds.
fn lines(first: &str, lost: u32, every: u32) -> Vec<(f64, String)> {
    let from = u32::from(first == FIRST);
    let mut lines = vec![(0.0, first.to_owned())];
    let sent = |n: u32| f64::from(n * every);
    lines.extend((0..).zip(TIMES).map(|(n, ms)| (sent(n) + f64::from(ms) / 1e3, answer(n + from, ms))));
    let share = f64::from(lost) * 100.0 / f64::from(6 + lost);
    let counts = match first {
        FIRST => format!(
            "{} packets transmitted, 6 received, {share:.4}% packet loss, time {}ms",
            6 + lost,
            (5 + lost) * every * 1000 + 12
        ),
        _ => format!("{} packets transmitted, 6 packets received, {share:.1}% packet loss", 6 + lost),
    };
    let times = "rtt min/avg/max/mdev = 399.000/401.500/404.000/1.708 ms".to_owned();
    let end = sent(5 + lost) + 0.9;
    lines.extend(["", RULE, counts.as_str(), times.as_str()].map(|line| (end, line.to_owned())));
    lines
}

fn joined(lines: &[(f64, String)], put: impl Fn(f64, &str) -> String) -> String {
    lines.iter().map(|(at, line)| put(*at, line) + "\n").collect()
}

fn plain() -> String {
    joined(&lines(FIRST, 0, 1), |_, line| line.to_owned())
}

/// `%H:%M:%S` of a day that began at `from`, and the fraction to the microsecond.
fn clock(from: f64, at: f64) -> (String, String) {
    let us = ((from + at) * 1e6).round() as u64;
    let s = us / 1_000_000 % 86_400;
    (format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60), format!(".{:06}", us % 1_000_000))
}

/// 14:13:20, which is 1574000000 on 17 November 2019.
const AFTERNOON: f64 = 51_200.0;

/// Seconds between the first answered ping and each.
fn sent(log: &PingLog) -> Vec<f64> {
    let at: Vec<i64> = log.replies.iter().map(|r| r.sent_ns.unwrap_or_else(|| panic!("{:?}", log.stamps))).collect();
    at.iter().map(|ns| (ns - at[0]) as f64 / 1e9).collect()
}

fn says(log: &PingLog, words: &str) {
    let told = [log.contradictions.as_slice(), log.unreadable.as_slice()].concat();
    assert!(told.iter().any(|told| told.contains(words)), "{words:?} in {told:?}");
}

#[test]
fn what_others_put_around_lines_hides_no_summary() {
    let time = |at: f64| clock(AFTERNOON, at);
    type Put<'a> = &'a dyn Fn(f64, &str) -> String;
    let put: [Put<'_>; 16] = [
        &|at, line| format!("{}{}|{line}", time(at).0, time(at).1),
        &|at, line| format!("[{}]{line}", time(at).0),
        &|at, line| format!("{}{},{line}", time(at).0, time(at).1),
        &|at, line| format!("2019-11-17T{}{} {line}", time(at).0, if at == 0.0 { String::new() } else { time(at).1 }),
        &|at, line| {
            format!("{}{line}", if at < 60.0 { format!("{at:.0}s ") } else { format!("1m{:.0}s ", at - 60.0) })
        },
        &|at, line| format!("{line} Sun Nov 17 {} 2019", time(at).0),
        &|_, line| format!("{line} #"),
        &|_, line| format!("[pts/0] {line}"),
        &|_, line| format!("10.0.0.1: {line}"),
        &|_, line| format!("ping_1  | {line}"),
        &|_, line| format!("[1] {line}"),
        &|at, line| format!("[{:12.6}] host ping[123]: {line}", 9_990.0 + at),
        &|at, line| format!("{:.3} - {line}", 1_574_000_000.0 + at),
        &|at, line| format!("h1 {:.3} {line}", 1_574_000_000.0 + at),
        &|_, line| format!("\u{1b}[1m\u{1b}[31m{}\u{1b}[0m", line.replace(' ', "\u{1b}[m \u{1b}[K")),
        &|_, line| format!("\u{7}{line}\r"),
    ];
    for put in put {
        for (first, skip) in [(FIRST, 0), (BSD, 0), (FIRST, 1)] {
            let text = joined(&lines(first, 4, 5)[skip..], put);
            let log = parse(&text);
            assert_eq!((log.transmitted(), log.received()), (Some(10), Some(6)), "{text}");
            assert_eq!((log.lost(99), log.another_follows), (vec![7, 8, 9, 10], false), "{text}");
            is_whole(&log);
        }
    }
    let numbered: String = (1..).zip(plain().lines()).map(|(n, line)| format!("{n}:{line}\n")).collect();
    let tabbed: String = (1..).zip(plain().lines()).map(|(n, line)| format!("{n:6}\t{line}\n")).collect();
    for text in [numbered, tabbed] {
        let log = parse(&text);
        assert_eq!((log.transmitted(), &log.stamps), (Some(6), &Stamps::None), "lines are numbered: {text}");
        is_whole(&log);
    }
}

#[test]
fn summaries_of_other_systems() {
    for (first, heading, answer, times) in [
        (
            BSD,
            "----10.0.0.3 PING Statistics----",
            "icmp_seq=%s ttl=64 time=%t ms",
            "round-trip min/avg/max/stddev = 399.123/401.623/404.123/1.87 ms",
        ),
        (
            "PING host3: (10.0.0.3): 56 data bytes",
            "----host3 PING Statistics----",
            "icmp_seq=%s ttl=64 time=%t ms",
            "round-trip min/avg/max = 399/402/404 ms",
        ),
        (
            "PING 10.0.0.3: 64 byte packets",
            "----10.0.0.3 PING Statistics----",
            "icmp_seq=%s. time=%t. ms",
            "round-trip (ms)  min/avg/max = 399/402/404",
        ),
        (
            "PING 10.0.0.3: 56 data bytes",
            "----10.0.0.3 PING Statistics----",
            "icmp_seq=%s. time=%t ms",
            "round-trip (ms)  min/avg/max/stddev = 399.1/401.6/404.1/1.8",
        ),
        (
            "PING 10.0.0.3 (10.0.0.3):",
            RULE,
            "icmp_seq=%s time=%tms ttl=64",
            "round-trip min/avg/max/stddev = 399.123ms/401.623ms/404.123ms/1.0ms",
        ),
    ] {
        let line = |n: u32, ms: u32| {
            let ms = if answer.contains("%t.") { ms.to_string() } else { format!("{ms}.123456") };
            format!("64 bytes from 10.0.0.3: {}\n", answer.replace("%s", &n.to_string()).replace("%t", &ms))
        };
        let answers: String = (0..).zip(TIMES).map(|(n, ms)| line(n, ms)).collect();
        let counts = "8 packets transmitted, 6 packets received, 25% packet loss";
        let text = format!("{first}\n{answers}\n{heading}\n{counts}\n{times}\n");
        let log = parse(&text);
        assert_eq!((log.lost(99), log.replies.len(), log.replies[0].seq), (vec![7, 8], 6, 1), "{text}");
        assert!(
            log.summary.rtt.is_some() && !log.another_follows && log.target.is_some() | first.contains("host3"),
            "{text}"
        );
        is_whole(&log);
    }
}

#[test]
fn what_has_no_whole_summary_says_so_and_counts_what_was_sent() {
    let answers: String = plain().lines().take(7).map(|line| format!("{line}\n")).collect();
    let waiting = |words: &str| (7..=10).map(|n| format!("{words}{n}\n")).collect::<String>();
    let bsd = joined(&lines(BSD, 0, 1)[..7], |_, line| line.to_owned());
    for (text, lost, words) in [
        (answers.clone() + &waiting("no answer yet for icmp_seq="), vec![7, 8, 9, 10], "without a summary"),
        (bsd + "Request timeout for icmp_seq 6\nRequest timeout for icmp_seq 7\n", vec![7, 8], "without a summary"),
        (format!("{answers}\n{RULE}\n10 packets transmitted, 6 received, 40% pac"), vec![7, 8, 9, 10], "40% pac"),
        (format!("{answers}\n{RULE}\n10 packets trans"), vec![], "10 packets trans"),
        (format!("{answers}\n{RULE}\n"), vec![], "10.0.0.3 ping statistics"),
        (format!("{answers}\n--- 10.0.0.3 pi"), vec![], "--- 10.0.0.3 pi"),
        (plain()[..plain().len() - 25].to_owned(), vec![], "rtt min/avg/max"),
    ] {
        let log = parse(&text);
        assert_eq!((log.lost(99), log.replies.len()), (lost, 6), "{text}");
        says(&log, words);
    }
    let log = parse(&answers);
    is_whole(&log);
    assert!(log.notes[0].contains("lost after number 6 are not known"), "{:?}", log.notes);
    assert_eq!(parse(&plain()).notes, Vec::<String>::new());
}

#[test]
fn a_file_that_begins_in_the_middle_has_no_losses_before() {
    let tail: String = (37..43).map(|seq| answer(seq, 400) + "\n").collect();
    let rest = format!("{RULE}\n42 packets transmitted, 42 received, 0% packet loss, time 41012ms\n");
    for (text, first) in [
        (tail.clone(), 37),
        (format!("{tail}{rest}"), 37),
        (format!("{FIRST}\n{}", tail.replace("seq=", "seq=64")), 6437),
    ] {
        let log = parse(&text);
        assert_eq!((log.first, log.lost(99_999)), (first, vec![]), "{text}");
        says(&log, "what was before that is not known");
    }
    // There the summary, or the first line, says that they were lost.
    let counted = rest.replace("42 received, 0%", "6 received, 85.7143%");
    assert_eq!(parse(&format!("{tail}{counted}")).lost(99), (1..37).collect::<Vec<_>>());
    assert_eq!(parse(&format!("{FIRST}\n{tail}")).lost(99), (1..37).collect::<Vec<_>>());
    let bsd = format!(
        "{}\n6 packets transmitted, 5 packets received, 16.7% packet loss\n",
        (1..6).map(|n| answer(n, 4) + "\n").collect::<String>()
    );
    says(&parse(&bsd), "from 0 or from 1");
}

#[test]
fn an_answer_without_a_time_is_not_lost() {
    let rest = format!("{RULE}\n3 packets transmitted, 3 received, 0% packet loss, time 2012ms\n");
    for middle in [
        "16 bytes from 10.0.0.3: icmp_seq=2 ttl=64 (truncated)",
        "16 bytes from 10.0.0.3: icmp_seq=2 ttl=64",
        "64 bytes from 10.0.0.3: icmp_seq=2 ttl=64 time<1 ms",
    ] {
        let log = parse(&format!("{FIRST}\n{}\n{middle}\n{}\n{rest}", answer(1, 402), answer(3, 400)));
        assert_eq!(
            (answers(&log), log.untimed.clone(), log.lost(9)),
            (vec![(1, 402.0), (3, 400.0)], vec![2], vec![])
        );
        assert_eq!(log.contradictions, ["1 of its answers have no times"]);
    }
}

#[test]
fn which_number_is_the_first_is_known_though_the_first_ping_was_lost() {
    for (first, expected) in [
        (BSD, 1),
        ("PING 10.0.0.3 (10.0.0.3) from 10.0.0.1: 56 data bytes", 1),
        ("PING 10.0.0.3 (10.0.0.3): 56 data bytes, id 0x04d2 = 1234", 1),
        ("PING 10.0.0.3: 56 data bytes", 1),
        ("PING ::1 (::1): 56 data bytes", 1),
        ("PING6(56=40+8+8 bytes) fd00::1 --> fd00::3", 1),
        (FIRST, 0),
        ("PING fe80::1%eth0(fe80::1%eth0) 56 data bytes", 0),
        ("PING 10.0.0.3 (10.0.0.3) from 10.0.0.1 eth0: 56(84) bytes of data.", 0),
        ("PING cdn.example(cdn-1.example (fd00::3)) 56 data bytes", 0),
        ("PING a=1.lab (10.0.0.3) 56(84) bytes of data.", 0),
        ("Ping 10.0.0.3 (10.0.0.3): 56(84) bytes.", 0),
    ] {
        let log = parse(&format!("{first}\n{}\n", answer(2, 404)));
        assert_eq!(log.replies[0].seq, 2 + expected, "{first}");
        assert!(log.target.is_some(), "{first}");
    }
}

#[test]
fn two_records_in_one_line_stay_two() {
    let [two, three] = [answer(2, 404), answer(3, 300)];
    for (line, expected, failed) in [
        (format!("{two}{three}"), vec![(1, 402.0), (2, 404.0), (3, 300.0), (4, 401.0)], 0),
        (format!("{}{three}", &two[..38]), vec![(1, 402.0), (3, 300.0), (4, 401.0)], 0),
        (format!("{}{three}", &two[..two.len() - 5]), vec![(1, 402.0), (3, 300.0), (4, 401.0)], 0),
        (
            format!("From 10.0.0.254 icmp_seq=2 Destination Host Unreachable{three}"),
            vec![(1, 402.0), (3, 300.0), (4, 401.0)],
            1,
        ),
        (format!("{two} time=300 ms"), vec![(1, 402.0), (4, 401.0)], 0),
    ] {
        let log = parse(&format!("{FIRST}\n{}\n{line}\n{}\n", answer(1, 402), answer(4, 401)));
        assert_eq!((answers(&log), log.failures.len()), (expected, failed), "{line}");
        assert!(log.contradictions.len() + log.unreadable.len() > 0, "{line}");
    }
    let log = parse(&plain().replace('\n', "\r"));
    assert_eq!(log, parse(&plain()));
    is_whole(&log);
}

#[test]
fn times_have_units() {
    for (time, ns, is_known) in [
        ("345 us", 345_000, true),
        ("345 µs", 345_000, true),
        ("1.5 s", 1_500_000_000, true),
        ("1,234 ms", 1_234_000, true),
        ("402\u{a0}ms", 402_000_000, true),
        ("402.1234567 ms", 402_123_456, true),
        ("7 毫秒", 7_000_000, true),
        ("4 xyz", 4_000_000, false),
    ] {
        let line = format!("64 bytes from 10.0.0.3: icmp_seq=1 ttl=64 time={time}\n");
        let log = parse(&line);
        assert_eq!((log.replies[0].rtt_ns, log.contradictions.is_empty()), (ns, is_known), "{line}");
        let short = line.replace(" ttl=64", "");
        assert_eq!(parse(&short).replies[0].rtt_ns, ns, "{short}");
    }
    // A unit that is not known is milliseconds where the summary has the same.
    let rest = format!(
        "{RULE}\n1 packets transmitted, 1 received, 0% packet loss, time 0ms\nrtt min/avg/max/mdev = 4.000/4.000/4.000/0.000 ms\n"
    );
    let text = format!("{FIRST}\n64 bytes from 10.0.0.3: icmp_seq=1 ttl=64 time=4 xyz\n{rest}");
    is_whole(&parse(&text));
    says(&parse(&text.replace("4.000/4.000/4.000", "4000/4000/4000")), "min/avg/max");
    let arabic: String =
        answer(1, 402).chars().map(|c| c.to_digit(10).and_then(|d| char::from_u32(0x660 + d)).unwrap_or(c)).collect();
    assert_eq!(parse(&(arabic + "\n")).replies, [reply(1, None, 402_000_000, false)]);
}

#[test]
fn what_is_of_several_pings_is_seen() {
    let six: String = (0..).zip(TIMES).map(|(n, ms)| answer(n + 1, ms) + "\n").collect();
    let other = six.replace(".3:", ".4:");
    let mixed: String = six.lines().zip(other.lines()).map(|(a, b)| format!("{a}\n{b}\n")).collect();
    let verbose = format!("{BSD}, id 0x04d2 = 1234\n{six}");
    for text in [
        six.repeat(2),
        format!("{FIRST}\n{six}{}", &six[..120]),
        mixed,
        plain() + &answer(7, 400) + "\n",
        plain() + &six,
        format!("{}\n{RULE}\n60 packets transmitted, 6 received, 90% packet loss, time 59012ms\n", plain()),
        verbose.repeat(2),
    ] {
        assert!(parse(&text).another_follows, "{text}");
    }
    let once = format!("{six}{}\n", answer(6, 403));
    assert!(!parse(&once).another_follows);
    says(&parse(&once), "does not say so");
    let broadcast = "PING 10.0.0.255 (10.0.0.255) 56(84) bytes of data.\n".to_owned()
        + &(1..4)
            .map(|n| format!("{}\n{} (DUP!)\n", answer(n, 40), answer(n, 45).replace(".3:", ".4:")))
            .collect::<String>();
    let log = parse(&broadcast);
    assert!(!log.another_follows && log.contradictions.is_empty(), "{log:?}");
    says(&parse(&format!("{}\n{}\n", answer(1, 4), answer(2, 4).replace(".3:", ".4:"))), "10.0.0.3 and of 10.0.0.4");
}

#[test]
fn the_forms_that_times_have() {
    let time = |at: f64| clock(AFTERNOON, at);
    let half = |at: f64| {
        let (hms, _) = clock(46_790.0, at);
        let hour: u32 = hms[..2].parse().unwrap();
        format!("{:02}{}", (hour + 11) % 12 + 1, &hms[2..])
    };
    let forms: [(&dyn Fn(f64) -> String, Since); 30] = [
        (&|at| format!("2019-11-17_{}{} ", time(at).0, time(at).1), Since::Epoch),
        (&|at| format!("20191117T{}Z ", time(at).0.replace(':', "")), Since::Epoch),
        (&|at| format!("20191117-{} ", time(at).0), Since::Epoch),
        (&|at| format!("[17/Nov/2019:{} +0000] ", time(at).0), Since::Epoch),
        (&|at| format!("19-11-17 {}{} ", time(at).0, time(at).1), Since::Year),
        (&|at| format!("{} ", ((1_574_000_000.0 + at) * 1e3).round()), Since::Epoch),
        (&|at| format!("{}000000 ", ((1_574_000_000.0 + at) * 1e3).round()), Since::Epoch),
        (&|at| format!("{:.3} - ", 1_574_000_000.0 + at), Since::Epoch),
        (&|at| format!("{:.6} host ping[123]: ", 1_574_000_000.0 + at), Since::Epoch),
        (&|at| format!("{:.6} ", 1_574_000_000.0 + at).replace('.', ","), Since::Epoch),
        (&|at| format!("[{:12.6}] host ping[1]: ", 990.0 + at), Since::Start),
        (&|at| format!("   {at:.4}s   "), Since::Start),
        (&|at| format!("{:.6} ", at), Since::Start),
        (&|at| format!("00:00:{:02} ", at as u32), Since::Midnight),
        (&|at| format!("{}{} ", clock(86_390.0, at).0, clock(86_390.0, at).1), Since::Midnight),
        (&|at| format!("{} ", half(at)), Since::Midnight),
        (&|at| format!("Sun Nov 17 {} PM UTC 2019: ", half(at)), Since::Epoch),
        (&|at| format!("11/17/2019 {} PM: ", half(at)), Since::Epoch),
        (&|at| format!("{}/11/2019 {} ", if at < 10.0 { 17 } else { 18 }, clock(86_390.0, at).0), Since::Epoch),
        (&|at| format!("{}/11/2019 {} ", if at < 10.0 { 11 } else { 12 }, clock(86_390.0, at).0), Since::Year),
        (&|at| format!("{}.11.2019 {} ", if at < 10.0 { 17 } else { 18 }, clock(86_390.0, at).0), Since::Epoch),
        (&|at| format!("{} {} ", if at < 10.0 { "Dec 31" } else { "Jan 01" }, clock(86_390.0, at).0), Since::Year),
        (
            &|at| {
                format!("{} nov 2019, {}, CET: ", if at < 10.0 { "mar 19" } else { "mer 20" }, clock(86_390.0, at).0)
            },
            Since::Epoch,
        ),
        (&|at| format!("dimanche 17 novembre 2019, {} (UTC+0100) ", time(at).0), Since::Epoch),
        (&|at| format!("mar 19 mag 2019 {} ", time(at).0), Since::Midnight),
        (&|at| format!("2019-11-17 {},{:03} INFO ", time(at).0, (at * 1e3).round() as u64 % 1000), Since::Epoch),
        (&|at| format!("Nov 17 {}{} h1 ping[77]: ", time(at).0, time(at).1), Since::Year),
        (&|at| format!("[pod/p-5d/ping] 2019-11-17T{}{}789+01:00 ", time(at).0, time(at).1), Since::Epoch),
        (
            &|at| {
                format!(
                    "Sun Oct 27 {} 2019: ",
                    if at < 10.0 {
                        format!("02:59:{:02} CEST", 50 + at as u32)
                    } else {
                        format!("02:00:{:02} CET", at as u32 - 10)
                    }
                )
            },
            Since::Epoch,
        ),
        (&|at| format!("02:00:00:00:00:03 {}{} ", time(at).0, time(at).1), Since::Midnight),
    ];
    for (form, since) in forms {
        for (first, skip) in [(BSD, 0), (BSD, 1), (FIRST, 0)] {
            let text = joined(&lines(first, 2, 5)[skip..], |at, line| form(at) + line);
            let log = parse(&text);
            assert_eq!((&log.stamps, log.lost(99)), (&Stamps::Read(since), vec![7, 8]), "{text}");
            for (n, at) in sent(&log).iter().enumerate() {
                assert!((at - 5.0 * n as f64).abs() < 0.06, "{at} of {n}: {text}");
            }
            is_whole(&log);
        }
    }
    // Only before answers, as macOS' --apple-time; and behind them.
    for (before, behind) in [(true, false), (false, true)] {
        let text = joined(&lines(BSD, 0, 5), |at, line| {
            let time = time(at).0;
            if line.contains("ttl") && before {
                format!("{time} {line}")
            } else if behind {
                format!("{line} {time}")
            } else {
                line.to_owned()
            }
        });
        assert_eq!(parse(&text).stamps, Stamps::Read(Since::Midnight), "{text}");
    }
}

#[test]
fn what_is_no_clock_is_not_taken_for_one() {
    let declined = |log: &PingLog, words: &str, contradicts: bool| match &log.stamps {
        Stamps::Declined { why, contradicts: c } if why.contains(words) && *c == contradicts => {
            assert!(log.replies.iter().all(|r| r.sent_ns.is_none()));
        }
        other => panic!("{words}: {other:?}"),
    };
    let stamped =
        |put: &dyn Fn(f64) -> String, every: u32| joined(&lines(FIRST, 0, every), |at, line| put(at) + line);
    // Increments (`ts -i`), a pipe's blocks, clocks that were set.
    let steps =
        |at: f64| if at == 0.0 { "00:00:00 ".to_owned() } else { format!("00:00:0{} ", 5 - (at as u32 / 5) % 2) };
    declined(&parse(&stamped(&steps, 5)), "go back", false);
    declined(&parse(&stamped(&|_| "14:13:26 ".to_owned(), 1)), "alike", false);
    let block = |at: f64| format!("1574000006.1{:05.0} ", at);
    declined(&parse(&stamped(&block, 1)), "alike", false);
    let set = |by: f64| move |at: f64| format!("[{:.6}] ", 1_574_000_000.0 + at + if at > 3.0 { by } else { 0.0 });
    declined(&parse(&stamped(&set(-3600.0), 1)), "go back", false);
    declined(&parse(&stamped(&set(3600.0), 1)), "and its summary 5 s", false);
    let first = |at: f64| format!("[{:.6}] ", 1_574_000_000.0 + at - if at < 0.5 { 5000.0 } else { 0.0 });
    declined(&parse(&stamped(&first, 1)), "and its summary 5 s", false);
    // As regular as a clock, and another's.
    let slow = parse(&stamped(&|at| format!("[{:.6}] ", 1_574_000_000.0 + at * 5.0), 1));
    declined(&slow, "and its summary 5 s", true);
    says(&slow, "time stamps say");
    // Blocks of a pipe in a long ping.
    let long: String = (0..600_u32)
        .map(|n| format!("[{}.{:06}] {}\n", 1_574_000_000 + n / 60 * 60 + 60, n, answer(n + 1, 4)))
        .collect();
    declined(&parse(&long), "bursts", false);
    // Of minutes, or of minutes and seconds: which is not known.
    declined(&parse(&stamped(&|_| "14:13 ".to_owned(), 5)), "whole minutes", false);
    declined(&parse(&stamped(&|at| format!("00:{:02} ", at as u32), 5)), "no time that is known", false);
    declined(&parse(&stamped(&|at| format!("#{}# ", (at * 7.0) as u32), 5)), "no time that is known", false);
    let constant = parse(&stamped(&|_| "[1] ".to_owned(), 1));
    assert_eq!((constant.stamps, constant.contradictions), (Stamps::None, vec![]));
}

#[test]
fn a_pause_of_ping_is_no_fault_of_its_clock() {
    let at = |n: u32| if n < 50 { n } else { n + 30 };
    let answers: String = (0..60)
        .filter(|n| !(19..21).contains(n))
        .map(|n| format!("[{}.004000] {}\n", 1_574_000_000 + at(n), answer(n + 1, "4.0")))
        .collect();
    let text = format!(
        "{FIRST}\n{answers}\n{RULE}\n60 packets transmitted, 58 received, 3.33333% packet loss, time 89012ms\n"
    );
    let log = parse(&text);
    assert_eq!((&log.stamps, sent(&log).last()), (&Stamps::Read(Since::Epoch), Some(&89.0)));
    is_whole(&log);
    let damaged = text.replace("[1574000003.004000]", "[15740000003.004000]");
    says(&parse(&damaged), "1 of its 58 answers have no time stamp");
}

#[test]
fn all_that_a_file_says_of_itself_is_held_against_it() {
    let counts = "6 packets transmitted, 6 received, 0.0000% packet loss";
    for (from, to, words) in [
        (counts, "4 packets transmitted, 6 received, 0% packet loss", "4 pings were sent and 6 answered"),
        (counts, "4 packets transmitted, 6 received, -- somebody's printing up packets!", "4 pings were sent and 6"),
        (counts, "6 packets transmitted, 6 received, 50% packet loss", "50% lost"),
        (counts, "7 packets transmitted, 6 received, 14% packet loss", ""),
        (counts, "7 packets transmitted, 6 received, 14.3% packet loss", ""),
        (counts, "7 packets transmitted, 6 received, 14.2857% packet loss", ""),
        (counts, "7 packets transmitted, 6 received, 15.0% packet loss", "15% lost"),
        (counts, "6 packets transmitted, 6 received, +1 duplicates, 0% packet loss", "1 answers came again"),
        ("icmp_seq=6", "icmp_seq=5000", "it has number 5000"),
        ("404.000", "404.4", ""),
        ("404.000", "406.000", "min/avg/max"),
        ("399.000/401.500", "399.000/403.500", "min/avg/max"),
    ] {
        let log = parse(&plain().replace(from, to));
        match words {
            "" => is_whole(&log),
            words => says(&log, words),
        }
        assert!(log.lost(9999).len() <= 1, "{:?}", log.lost(9999));
    }
    let small = plain().replace("399.000/401.500/404.000", "0.100/0.100/0.100");
    let small = TIMES.iter().fold(small, |text, ms| text.replace(&format!("time={ms}"), "time=0.9"));
    says(&parse(&small), "min/avg/max");
}

#[test]
fn notes_and_rules_are_neither_first_lines_nor_summaries() {
    let [before, after] = [
        &plain()[..plain().find("64 bytes from 10.0.0.3: icmp_seq=4").unwrap()],
        &plain()[plain().find("64 bytes from 10.0.0.3: icmp_seq=4").unwrap()..],
    ];
    for note in [
        "Ping test CDN -> viewer, run 1",
        "# PING 1: b to v, direct",
        "PING_CMD: ping -c 6 10.0.0.3",
        "----- b to v -----",
        "--------------------\nrun 1\n--------------------",
        "-- link down --",
        "--- interrupted ---",
        "--",
        "3/3 packets, 0% loss, min/avg/ewma/max = 400.000/402.000/402.111/404.000 ms",
        "load: 1.23  cmd: ping 1234 waiting 0.00u 0.00s\n3/3 packets received (100.0%) 400.000 min / 402.000 avg / 404.000 max",
        "user@h1:~$ ping -D 10.0.0.3 | tee b2v.ping",
        "[1]+  Stopped                 ping 10.0.0.3",
    ] {
        for text in
            [format!("{note}\n{}", plain()), format!("{before}{note}\n{after}"), format!("{}{note}\n", plain())]
        {
            let log = parse(&text);
            assert_eq!((log.replies.len(), log.transmitted(), log.another_follows), (6, Some(6), false), "{text}");
            is_whole(&log);
        }
        let endless =
            format!("{before}{note}\n{}", after.lines().take(3).map(|line| format!("{line}\n")).collect::<String>());
        assert_eq!((parse(&endless).transmitted(), parse(&endless).sent()), (None, 6), "{endless}");
    }
}

#[test]
fn differences_that_the_summary_explains_are_no_damage() {
    let damaged = format!(
        "{FIRST}\n{}\n{} (BAD CHECKSUM!)\n{}\n{RULE}\n3 packets transmitted, 2 received, +1 corrupted, 33.3333% packet loss, time 2012ms\n\
         rtt min/avg/max/mdev = 400.000/401.000/402.000/0.500 ms\n",
        answer(1, 402),
        answer(2, 404),
        answer(3, 400)
    );
    let log = parse(&damaged);
    assert_eq!((answers(&log), log.lost(9)), (vec![(1, 402.0), (3, 400.0)], vec![2]));
    is_whole(&log);
    let counted = damaged
        .replace("2 received, +1 corrupted, 33.3333%", "3 received, 0%")
        .replace("401.000/402.000", "402.000/404.000");
    assert_eq!(parse(&counted).replies.len(), 3);
    is_whole(&parse(&counted));
    let late = format!(
        "{BSD}\n{}\n{}\n{RULE}\n3 packets transmitted, 3 packets received, 0.0% packet loss, 1 packets out of wait time\n\
         round-trip min/avg/max/stddev = 400.000/601.000/1004.000/261.000 ms\n",
        answer(0, 402),
        answer(2, 400)
    );
    is_whole(&parse(&late));
    assert!(parse(&late).notes[0].contains("too late"), "{:?}", parse(&late).notes);
}

#[test]
fn other_encodings_and_what_a_crash_leaves() {
    let read = |bytes: &[u8]| from_bytes(Path::new("x"), bytes);
    let little: Vec<u8> = plain().encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = plain().encode_utf16().flat_map(u16::to_be_bytes).collect();
    let zeros = [0_u8; 500];
    for bytes in [
        [&[0xff, 0xfe][..], &little].concat(),
        [&[0xfe, 0xff][..], &big].concat(),
        little,
        [&zeros, plain().as_bytes()].concat(),
    ] {
        assert_eq!(read(&bytes).unwrap(), parse(&plain()));
    }
    let whole = read(&[plain().as_bytes(), &zeros].concat()).unwrap();
    is_whole(&whole);
    assert_eq!(whole.notes, [format!("it is zeros only from byte {} on", plain().len())]);
    let cut = read(&[&plain().as_bytes()[..200], &zeros].concat()).unwrap();
    says(&cut, "zeros only from byte 200 on");
    assert!(matches!(read(&zeros), Err(PingError::Foreign { .. })));
}

#[test]
fn other_programs_are_named() {
    for (text, name) in [
        (
            "\r\nPinging 10.0.0.3 with 32 bytes of data:\r\nReply from 10.0.0.3: bytes=32 time=4ms TTL=64\r\n",
            "Windows' ping",
        ),
        (
            "\r\nPing wird ausgeführt für 10.0.0.3 mit 32 Bytes Daten:\r\nAntwort von 10.0.0.3: Bytes=32 Zeit<1ms TTL=64\r\n",
            "Windows' ping",
        ),
        (
            "Envoi d'une requête 'Ping'  10.0.0.3 avec 32 octets :\r\nRéponse de 10.0.0.3 : octets=32 temps=4 ms TTL=64\r\n",
            "Windows' ping",
        ),
        ("PING 10.0.0.3:80 (/):\nconnected to 10.0.0.3:80 (214 bytes), seq=0 time=  4.11 ms \n", "httping"),
        (
            "$ sudo hping3 -1 10.0.0.3\nHPING 10.0.0.3 (eth0 10.0.0.3): icmp mode set\nlen=46 ip=10.0.0.3 ttl=64 id=12 icmp_seq=0 rtt=3.9 ms\n",
            "hping3",
        ),
        ("14:13:20 ARPING 10.0.0.3 from 10.0.0.1 eth0\n14:13:20 Unicast reply from 10.0.0.3 0.7ms\n", "arping"),
        ("10.0.0.3 : [0], 64 bytes, 402 ms (402 avg, 0% loss)\n", "fping"),
        ("\u{1f}\u{8b}\u{8}", "gzip"),
        ("\n\nhello\n", "\"hello\""),
    ] {
        let bytes: Vec<u8> = if name == "gzip" { vec![0x1f, 0x8b, 8, 0] } else { text.as_bytes().to_vec() };
        let told = from_bytes(Path::new("x"), &bytes).unwrap_err().to_string();
        assert!(told.contains(name), "{told}");
    }
}

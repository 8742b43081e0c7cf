#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;

/// As iputils 20221126 prints with `-D -n`, a duplicate and a loss in it.
const STAMPED: &str = "\
PING 10.0.0.2 (10.0.0.2) 56(84) bytes of data.
[1795389420.812345] 64 bytes from 10.0.0.2: icmp_seq=1 ttl=64 time=802 ms
[1795389421.814345] 64 bytes from 10.0.0.2: icmp_seq=2 ttl=64 time=0.045 ms
[1795389421.815345] 64 bytes from 10.0.0.2: icmp_seq=2 ttl=64 time=1.05 ms (DUP!)
[1795389423.900000] From 10.0.0.1 icmp_seq=3 Destination Host Unreachable
[1795389424.812345] 64 bytes from 10.0.0.2: icmp_seq=4 ttl=64 time=99.9 ms

--- 10.0.0.2 ping statistics ---
4 packets transmitted, 3 received, +1 duplicates, +1 errors, 25% packet loss, time 4702ms
rtt min/avg/max/mdev = 0.045/300.648/802.000/356.771 ms, pipe 2
";

fn reply(seq: u32, sent_ns: Option<i64>, rtt_ns: u64, duplicate: bool) -> PingReply {
    PingReply { seq, sent_ns, rtt_ns, duplicate }
}

#[test]
fn stamps_losses_duplicates_and_errors() {
    let log = parse(STAMPED);
    assert_eq!(
        log.replies,
        [
            reply(1, Some(1_795_389_420_010_345_000), 802_000_000, false),
            reply(2, Some(1_795_389_421_814_300_000), 45_000, false),
            reply(2, Some(1_795_389_421_814_295_000), 1_050_000, true),
            reply(4, Some(1_795_389_424_712_445_000), 99_900_000, false),
        ]
    );
    assert_eq!(log.failures.len(), 1);
    assert_eq!(log.failures[0].seq, 3);
    assert_eq!(log.failures[0].line, "From 10.0.0.1 icmp_seq=3 Destination Host Unreachable");
    assert_eq!((log.transmitted(), log.received()), (Some(4), Some(3)));
    assert_eq!(log.unreadable, Vec::<String>::new());
}

#[test]
fn other_languages_and_decimal_commas() {
    for line in [
        "64 bytes from 10.0.0.3: icmp_seq=7 ttl=64 time=0,345 ms",
        "64 Bytes von 10.0.0.3: icmp_seq=7 ttl=64 Zeit=0,345 ms",
        "64 octets de 10.0.0.3 : icmp_seq=7 ttl=64 temps=0.345 ms",
        "来自 10.0.0.3 的 64 字节: icmp_seq=7 ttl=64 时间=0.345 毫秒",
        "64 バイト応答 送信元 10.0.0.3: icmp_seq=7 ttl=64 時間=0.345ミリ秒",
        "64 bytes from 10.0.0.3: icmp_req=7 ttl=64 time=0.345 ms",
    ] {
        assert_eq!(parse(&format!("{line}\n")).replies, [reply(7, None, 345_000, false)], "{line}");
    }
    let german = "--- 10.0.0.3 Ping-Statistiken ---\n\
                  60 Pakete übertragen, 59 empfangen, 1,66667% Paketverlust, Zeit 59091ms\n";
    let log = parse(german);
    assert_eq!((log.transmitted(), log.received()), (Some(60), Some(59)));
}

#[test]
fn a_file_cut_anywhere_invents_no_time() {
    let whole = parse(STAMPED);
    for end in 0..STAMPED.len() {
        let log = parse(&STAMPED[..end]);
        assert!(whole.replies.starts_with(&log.replies), "cut at {end}: {:?}", log.replies);
        if log.transmitted().is_some() {
            assert_eq!(log.transmitted(), Some(4), "cut at {end}");
        }
    }
}

#[test]
fn without_a_summary_the_counts_are_unknown() {
    let log = parse(
        "PING 10.0.0.3 (10.0.0.3) 56(84) bytes of data.\n64 bytes from 10.0.0.3: icmp_seq=1 ttl=64 time=405 ms\n",
    );
    assert_eq!(log.replies, [reply(1, None, 405_000_000, false)]);
    assert_eq!((log.transmitted(), log.received()), (None, None));
}

#[test]
fn an_answer_seen_twice_is_a_duplicate_even_unmarked() {
    let line = "64 bytes from 10.0.0.3: icmp_seq=1 ttl=64 time=405 ms\n";
    let log = parse(&line.repeat(2));
    assert_eq!(log.replies.iter().map(|r| r.duplicate).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn sequence_numbers_go_on_past_sixteen_bits() {
    let text: String = [65_534, 65_535, 0, 65_533, 1]
        .map(|seq| format!("64 bytes from 10.0.0.3: icmp_seq={seq} ttl=64 time=1 ms\n"))
        .concat();
    let seqs: Vec<u32> = parse(&text).replies.iter().map(|r| r.seq).collect();
    assert_eq!(seqs, [65_534, 65_535, 65_536, 65_533, 65_537]);
}

#[test]
fn warnings_and_rubbish_are_told_apart() {
    let log = parse(
        "PING 10.0.0.3 (10.0.0.3) 56(84) bytes of data.\n\
         ping: sendmsg: Network is unreachable\n\
         no answer yet for icmp_seq=3\n\
         Warning: time of day goes back (-12us), taking countermeasures\n\
         64 bytes from 10.0.0.3: icmp_seq=4 ttl=64\n\
         64 bytes from 10.0.0.3: icmp_seq=99999 ttl=64 time=1 ms\n\
         64 bytes from 10.0.0.3: icmp_seq=5 ttl=64 time=-3 ms\n\
         hello\n",
    );
    assert_eq!(log.replies, []);
    assert_eq!(log.failures, []);
    assert_eq!(log.unreadable.len(), 3, "what is none of an answer's says nothing: {:?}", log.unreadable);
}

#[test]
fn pings_that_count_from_zero_are_counted_from_one() {
    let busybox = "PING 10.0.0.2 (10.0.0.2): 56 data bytes\n\
                   64 bytes from 10.0.0.2: seq=0 ttl=64 time=804.123 ms\n\
                   64 bytes from 10.0.0.2: seq=2 ttl=64 time=0.5 ms\n\
                   64 bytes from 10.0.0.2: seq=2 ttl=64 time=0.6 ms (DUP!)\n\n\
                   --- 10.0.0.2 ping statistics ---\n\
                   3 packets transmitted, 2 packets received, 1 duplicates, 33% packet loss\n";
    let expected =
        [reply(1, None, 804_123_000, false), reply(3, None, 500_000, false), reply(3, None, 600_000, true)];
    let bsd = busybox.replace("seq=", "icmp_seq=");
    for text in [busybox, &bsd, &busybox[busybox.find("64").unwrap()..], &bsd[bsd.find("64").unwrap()..]] {
        let log = parse(text);
        assert_eq!(log.replies, expected, "{text}");
        assert_eq!((log.transmitted(), log.received(), log.unreadable.len()), (Some(3), Some(2), 0), "{text}");
    }
    assert_eq!(parse(busybox).target, Some(IpAddr::from([10, 0, 0, 2])));
    // With `-I`, BusyBox has no colon there.
    let bound = busybox.replace("2): 56", "2) from 10.0.0.1: 56").replace("seq=0", "seq=1");
    assert_eq!(parse(&bound).replies[0], reply(2, None, 804_123_000, false));
}

#[test]
fn the_target_is_known_from_the_first_line() {
    let target = |line: &str| parse(&format!("{line}\n")).target.map(|a| a.to_string());
    assert_eq!(target("PING hs (10.0.0.2) 56(84) bytes of data.").as_deref(), Some("10.0.0.2"));
    assert_eq!(target("PING ::1(::1) 56 data bytes").as_deref(), Some("::1"));
    assert_eq!(target("PING hs"), None);
}

#[test]
fn a_file_copied_from_a_terminal_or_written_elsewhere() {
    let text = format!("\u{feff}{}", STAMPED.replace("\n\n---", "\n^C\n---").replace('\n', "\r\n"));
    assert_eq!(parse(&text), parse(STAMPED));
    // Without the end of its last line; the time is whole as its unit follows.
    let reply_line = "64 bytes from 10.0.0.2: icmp_seq=1 ttl=64 time=802 ms";
    assert_eq!(parse(reply_line).replies, [reply(1, None, 802_000_000, false)]);
    assert_eq!(parse(&format!("{reply_line} (DUP!)")).replies.len(), 1);
    assert_eq!(parse(reply_line.trim_end_matches(" ms")).unreadable.len(), 1);
    let waiting = "Noch keine Antwort für icmp_seq=3\nRequest timeout for icmp_seq 4\n";
    let log = parse(waiting);
    assert_eq!((log.replies.len(), log.failures.len(), log.unreadable.len()), (0, 0, 0));
}

#[test]
fn another_pings_output_is_not_mixed_with_the_first() {
    let twice = parse(&STAMPED.repeat(2));
    assert!(twice.another_follows && !parse(STAMPED).another_follows);
    assert_eq!(twice.replies, parse(STAMPED).replies);
    let cut = "PING 10.0.0.2 (10.0.0.2) 56(84) bytes of data.\n";
    assert!(parse(&cut.repeat(2)).another_follows);
}

#[test]
fn foreign_and_missing_files_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.txt");
    assert!(matches!(read(&path), Err(PingError::Read { .. })));
    std::fs::write(&path, "\u{7f}ELF\n").unwrap();
    let told = read(&path).unwrap_err().to_string();
    assert!(told.contains("x.txt") && told.contains("ELF"), "{told}");
    std::fs::write(&path, "").unwrap();
    assert_eq!(read(&path).unwrap(), PingLog::default());
}

/// Number and round-trip time in milliseconds.
fn answers(log: &PingLog) -> Vec<(u32, f64)> {
    log.replies.iter().map(|r| (r.seq, r.rtt_ns as f64 / 1e6)).collect()
}

fn is_whole(log: &PingLog) {
    assert_eq!((log.unreadable.as_slice(), log.contradictions.as_slice()), (&[][..], &[][..]), "{log:?}");
}

/// Four pings of which the third had no answer, in the words of a language: first line, answer, `no answer yet`,
/// heading, summary. Of the answer %s is the number and %t the time.
fn in_words([first, answer, waiting, heading, summary]: [&str; 5]) -> String {
    let answer = |seq: &str, time: &str| answer.replace("%s", seq).replace("%t", time) + "\n";
    let answers = [answer("1", "402"), answer("2", "99.4"), format!("{waiting}\n"), answer("4", "404")].concat();
    format!("{first}\n{answers}\n{heading}\n{summary}\nrtt min/avg/max/mdev = 99.400/301.800/404.000/143.130 ms\n")
}

#[test]
fn iputils_in_other_languages() {
    let first = "PING 10.0.0.3 (10.0.0.3) 56(84) bytes of data.";
    let usual = "--- 10.0.0.3 ping statistics ---";
    for words in [
        [
            first,
            "64 Bytes von 10.0.0.3: icmp_seq=%s ttl=64 Zeit=%t ms",
            "noch keine Antwort für icmp_seq=3",
            usual,
            "4 Pakete übertragen, 3 empfangen, 25% Paketverlust, Zeit 3003ms",
        ],
        [
            first,
            "64 bajtů z 10.0.0.3: pořadí=%s TTL=64 čas=%t ms",
            "žádná odpověď pro pořadí=3",
            "--- Statistika pingů na 10.0.0.3 ---",
            "4 paketů odesláno, 3 přijato, 25% ztráta paketů, time 3003ms",
        ],
        [
            first,
            "64 tavua 10.0.0.3:lta: icmp_seq=%s ttl=64 aika=%t ms",
            "ei vielä vastausta icmp_seq=3:lle",
            "-- 10.0.0.3 ping-tilastot --",
            "4 paketteja lähetetty, 3 otettu vastaan, 25 % pakettihäviö, time 3003ms",
        ],
        [
            first,
            "64 bytes from 10.0.0.3: icmp_seq=%s ttl=64 時間=%t ミリ秒",
            "icmp_seq=3 が未応答です",
            "--- 10.0.0.3 ping 統計 ---",
            "送信パケット数 4, 受信パケット数 3, パケット損失 25%, time 3003ms",
        ],
        [
            first,
            "64 bayt veri 10.0.0.3'den: icmp_seq=%s ttl=64 zaman=%t ms",
            "icmp_seq=3 için henüz cevap yok",
            "--- 10.0.0.3 ping istatistikleri ---",
            "4 paket iletildi, 3 alındı, %25 paket kaybı, time 3003ms",
        ],
        [
            "ПІНГ 10.0.0.3 (10.0.0.3) 56(84) байтів даних.",
            "64 байтів від 10.0.0.3: icmp_seq=%s ttl=64 час=%t мс",
            "відповідь для icmp_seq=3 ще не отримано",
            "--- Статистика пінгування 10.0.0.3 ---",
            "Надіслано 4 пакетів, отримано 3, втрачено 25% пакетів, time 3003ms",
        ],
        [
            "PING 10.0.0.3 (10.0.0.3) 56(84) octets de données.",
            "64 octets de 10.0.0.3 : icmp_seq=%s ttl=64 temps=%t ms",
            "pas encore de réponse pour icmp_seq=3",
            "--- statistiques ping 10.0.0.3 ---",
            "4 paquets transmis, 3 reçus, 25% packet loss, time 3003ms",
        ],
        [
            "PING 10.0.0.3 (10.0.0.3) 56(84) 字节的数据。",
            "来自 10.0.0.3 的 64 字节: icmp_seq=%s ttl=64 时间=%t 毫秒",
            "对 icmp_seq=3 没有回应",
            "--- 10.0.0.3 ping 统计 ---",
            "已发送 4 个包， 已接收 3 个包, 25% 包丢失, 耗时 3003 毫秒",
        ],
    ] {
        let text = in_words(words);
        let log = parse(&text);
        assert_eq!(answers(&log), [(1, 402.0), (2, 99.4), (4, 404.0)], "{text}");
        assert_eq!((log.transmitted(), log.received(), log.failures.len()), (Some(4), Some(3), 0), "{text}");
        assert_eq!(log.interval(), Some(Duration::from_millis(1001)), "{text}");
        assert!(!log.another_follows && parse(&text.repeat(2)).another_follows, "{text}");
        is_whole(&log);
    }
}

#[test]
fn between_number_and_time_there_may_be_other_values() {
    let verbose = "PING 10.0.0.3 (10.0.0.3) 56(84) bytes of data.\n\
                   64 bytes from 10.0.0.3: icmp_seq=1 ident=23862 ttl=64 time=402 ms\n\
                   64 bytes from 10.0.0.3: icmp_seq=2 ident=23862 ttl=64 time=404 ms\n\n\
                   --- 10.0.0.3 ping statistics ---\n\
                   2 packets transmitted, 2 received, 0% packet loss, time 1001ms\n\
                   rtt min/avg/max/mdev = 402.000/403.000/404.000/1.000 ms\n";
    let log = parse(verbose);
    assert_eq!(answers(&log), [(1, 402.0), (2, 404.0)]);
    is_whole(&log);
    let six = "PING6(56=40+8+8 bytes) fd00::1 --> fd00::3\n\
               16 bytes from fd00::3, icmp_seq=0 hlim=64 time=402.866 ms\n\
               16 bytes from fd00::3, icmp_seq=1 hlim=64 time=402.086 ms\n\n\
               --- fd00::3 ping6 statistics ---\n\
               2 packets transmitted, 2 packets received, 0.0% packet loss\n\
               round-trip min/avg/max/std-dev = 402.086/402.476/402.866/0.390 ms\n";
    let log = parse(six);
    assert_eq!(answers(&log), [(1, 402.866), (2, 402.086)]);
    assert_eq!((log.target, log.interval()), (Some("fd00::3".parse().unwrap()), None));
    is_whole(&log);
}

#[test]
fn a_blank_of_two_bytes_before_a_name_is_survived() {
    assert_eq!(parse("x\u{a0}y name (10.0.0.1) 56(84)\n").replies, []);
}

#[test]
fn a_file_that_contradicts_its_own_summary_says_so() {
    let is_told = |text: &str, words: &str| {
        let told = parse(text).contradictions;
        assert!(told.iter().any(|told| told.contains(words)), "{told:?}");
    };
    is_whole(&parse(STAMPED));
    is_told(
        &STAMPED.replace("= 0.045/300.648/802.000", "= 0.045/150.3/402.000"),
        "min/avg/max 0.045/150.300/402.000 ms",
    );
    is_told(
        &STAMPED.replace("4 packets transmitted, 3 received", "4 packets transmitted, 4 received"),
        "4 were answered",
    );
    // A line that is gone.
    is_told(
        &STAMPED.replace("[1795389424.812345] 64 bytes from 10.0.0.2: icmp_seq=4 ttl=64 time=99.9 ms\n", ""),
        "2 answers",
    );
}

#[test]
fn what_else_ping_prints_is_no_damage() {
    let macos = "PING 10.0.0.3 (10.0.0.3): 56 data bytes\n\
                 64 bytes from 10.0.0.3: icmp_seq=0 ttl=64 time=402.010 ms\n\
                 92 bytes from 10.0.0.254: Destination Host Unreachable\n\
                 Vr HL TOS  Len   ID Flg  off TTL Pro  cks      Src      Dst\n \
                 4  5  00 5400 48d6   0 0000  3f  01 560b 10.0.0.1  10.0.0.3 \n\n\
                 Request timeout for icmp_seq 1\n\
                 64 bytes from 10.0.0.3: icmp_seq=2 ttl=64 time=400.330 ms\n\n\
                 --- 10.0.0.3 ping statistics ---\n\
                 3 packets transmitted, 2 packets received, 33.3% packet loss\n";
    let log = parse(macos);
    assert_eq!((answers(&log), log.transmitted()), (vec![(1, 402.01), (3, 400.33)], Some(3)));
    is_whole(&log);
    let options = "PING 10.0.0.3 (10.0.0.3) 56(124) bytes of data.\n\
                   64 bytes from 10.0.0.3: icmp_seq=1 ttl=64 time=0.022 ms\n\
                   RR: \t10.0.0.1\n\t10.0.0.3\n\n\
                   64 bytes from 10.0.0.3: icmp_seq=2 ttl=64 time=0.051 ms\t(same route)\n\
                   wrong data byte #16 should be 0x10 but was 0x63\n\
                   #16\t63 61 63 74 69 2d 6d 6f\n\
                   64 bytes from 10.0.0.3: icmp_seq=3 ttl=64 time=0.053 ms\nTS: \t47811254 absolute\n\t0\n\
                   From 10.0.0.254: icmp_seq=4 Redirect Host(New nexthop: 10.0.0.253)\n\
                   64 bytes from 10.0.0.3: icmp_seq=4 ttl=63 time=0.050 ms (BAD CHECKSUM!)\n\
                   ping: local error: message too long, mtu=1400\n";
    let log = parse(options);
    // A damaged packet is no answer.
    assert_eq!((log.replies.len(), log.failures.len(), log.unreadable.len()), (3, 1, 0), "{log:?}");
    let toybox = "Ping 10.0.0.3 (10.0.0.3): 56(84) bytes.\n64 bytes from 10.0.0.3: icmp_seq=1 ttl=64 time=0 ms\n";
    assert_eq!(answers(&parse(toybox)), [(1, 0.0)], "counts from 1");
}

#[test]
fn answers_without_times_are_counted() {
    let first = "PING 10.0.0.3 (10.0.0.3) 56(84) bytes of data.\n";
    let rest = "\n--- 10.0.0.3 ping statistics ---\n2 packets transmitted, 2 received, 0% packet loss, time 1001ms\n\
                rtt min/avg/max/mdev = 402.000/403.000/404.000/1.000 ms\n";
    for lines in [
        "",
        ". . ",
        "76 bytes from 10.0.0.3: icmp_seq=1 ttl=116 (truncated)\n76 bytes from 10.0.0.3: icmp_seq=2 ttl=116 (truncated)\n",
    ] {
        let log = parse(&format!("{first}{lines}{rest}"));
        assert_eq!((log.replies.len(), log.received(), log.unreadable.len()), (0, Some(2), 0), "{lines}");
    }
    let error = from_bytes(Path::new("x"), b"HPING 10.0.0.3 (b-eth0 10.0.0.3): icmp mode set\n").unwrap_err();
    assert_eq!(error.to_string(), "x is the output of hping3, not of ping");
}

/// Every line of a ping behind what `stamp` says of its second.
fn behind(stamp: impl Fn(u32) -> String) -> String {
    let answer = |seq: u32| format!("64 bytes from 10.0.0.3: icmp_seq={seq} ttl=64 time=400 ms");
    let lines = [
        (0, "PING 10.0.0.3 (10.0.0.3) 56(84) bytes of data.".to_owned()),
        (0, answer(1)),
        (5, answer(2)),
        (10, answer(3)),
        (15, answer(4)),
        (55, String::new()),
        (55, "--- 10.0.0.3 ping statistics ---".to_owned()),
        (55, "10 packets transmitted, 4 received, 60% packet loss, time 45021ms".to_owned()),
        (55, "rtt min/avg/max/mdev = 400.000/400.000/400.000/0.000 ms".to_owned()),
    ];
    lines.iter().map(|(second, line)| format!("{}{line}\n", stamp(*second))).collect()
}

#[test]
fn times_that_others_put_before_the_lines() {
    let stamps: [&dyn Fn(u32) -> String; 8] = [
        &|s| format!("Sun Nov 17 14:13:{s:02} UTC 2019: "),
        &|s| format!("Nov 17 14:13:{s:02} "),
        &|s| format!("2019-11-17T14:13:{s:02}+0100 "),
        &|s| format!("2019-11-17 14:13:{s:02} "),
        &|s| format!("14:13:{s:02} "),
        &|s| format!("[{}.000000] ", 1_574_000_000 + s),
        &|s| format!("{}.250000 ", 1_574_000_000 + s),
        &|s| format!("So 17. Nov 14:13:{s:02} CET 2019 "),
    ];
    for stamp in stamps {
        let text = behind(stamp);
        let log = parse(&text);
        assert_eq!(log.replies.len(), 4, "{text}");
        assert_eq!((log.transmitted(), log.received(), log.target.is_some()), (Some(10), Some(4), true), "{text}");
        is_whole(&log);
        let sent: Vec<i64> = log.replies.iter().map(|r| r.sent_ns.expect(&text)).collect();
        for pair in sent.windows(2) {
            assert!((pair[1] - pair[0] - 5_000_000_000).abs() < 5_000_000, "{sent:?} {text}");
        }
    }
    let utc = parse(&behind(|s| format!("Sun Nov 17 14:13:{s:02} UTC 2019: ")));
    // 14:13:20 UTC is 1574000000.
    let off = utc.replies[0].sent_ns.unwrap() - (1_574_000_000 - 20) * 1_000_000_000 + 400_000_000;
    assert!(off.abs() < 1_000_000_000, "{off}");
}

#[test]
fn stamps_of_whole_seconds_do_not_move_pings_by_a_second() {
    // Pings a second apart that come just before and just after the full second.
    let lines: String = (1..=20_i64)
        .map(|seq| {
            let at = 1_574_000_000_000 + seq * 1000 + if seq % 2 == 0 { 10 } else { -10 };
            format!("[{}] 64 bytes from 10.0.0.3: icmp_seq={seq} ttl=64 time=4.0 ms\n", at / 1000)
        })
        .collect();
    let sent: Vec<i64> = parse(&lines).replies.iter().map(|r| r.sent_ns.unwrap()).collect();
    for pair in sent.windows(2) {
        assert!((pair[1] - pair[0] - 1_000_000_000).abs() < 60_000_000, "{sent:?}");
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_survived(text in ".*", seq in 0_u32..70_000, time in "[0-9.,]{0,30}") {
        let _ = parse(&format!("{text}\n[{time}] icmp_seq={seq} ttl=1 x={time}\n--- ---\n{text}\n"));
    }
}

mod kinds;

//! Old and foreign data: files of `ping` output become a run like any other, with the real program.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use livectl::store::{Manifest, RunDir, TrialState};
use livectl::table::{PingRow, read_pings};

const LIVECTL: &str = env!("CARGO_BIN_EXE_livectl");

/// iputils in a German locale, with `-D`: a duplicate, a loss that a router reports, a loss, a decimal comma.
const GERMAN: &str = "\
PING 10.0.0.2 (10.0.0.2) 56(84) Bytes Daten.
[1574000000.802100] 64 Bytes von 10.0.0.2: icmp_seq=1 ttl=64 Zeit=802 ms
[1574000001.099500] 64 Bytes von 10.0.0.2: icmp_seq=2 ttl=64 Zeit=99,4 ms
[1574000001.100500] 64 Bytes von 10.0.0.2: icmp_seq=2 ttl=64 Zeit=100 ms (DUP!)
[1574000002.900000] Von 10.0.0.1 icmp_seq=3 Zielhost nicht erreichbar
[1574000004.810100] 64 Bytes von 10.0.0.2: icmp_seq=5 ttl=64 Zeit=810 ms

--- 10.0.0.2 Ping-Statistiken ---
6 Pakete übertragen, 3 empfangen, +1 Duplikate, +1 Fehler, 50% Paketverlust, Zeit 5010ms
rtt min/avg/max/mdev = 99,400/570,467/810,000/333,100 ms
";

/// The same moments as seen by the CDN's ping, in English: one answer each second.
const ENGLISH: &str = "\
PING 10.0.0.3 (10.0.0.3) 56(84) bytes of data.
[1574000000.850000] 64 bytes from 10.0.0.3: icmp_seq=1 ttl=64 time=800 ms
[1574000001.850600] 64 bytes from 10.0.0.3: icmp_seq=2 ttl=64 time=800.6 ms
[1574000002.850000] 64 bytes from 10.0.0.3: icmp_seq=3 ttl=64 time=800 ms
[1574000003.950000] From 10.0.0.1 icmp_seq=4 Destination Host Unreachable
[1574000004.850000] 64 bytes from 10.0.0.3: icmp_seq=5 ttl=64 time=800 ms
[1574000005.850000] 64 bytes from 10.0.0.3: icmp_seq=6 ttl=64 time=800 ms

--- 10.0.0.3 ping statistics ---
6 packets transmitted, 5 received, +1 errors, 16.6667% packet loss, time 5006ms
rtt min/avg/max/mdev = 800.000/800.120/800.600/0.240 ms
";

/// BusyBox: counts from 0, writes `seq`, has no time stamps.
const BUSYBOX: &str = "\
PING 10.0.0.3 (10.0.0.3): 56 data bytes
64 bytes from 10.0.0.3: seq=0 ttl=64 time=402.010 ms
64 bytes from 10.0.0.3: seq=1 ttl=64 time=404.020 ms
64 bytes from 10.0.0.3: seq=1 ttl=64 time=404.990 ms (DUP!)
64 bytes from 10.0.0.3: seq=3 ttl=64 time=500.000 ms
64 bytes from 10.0.0.3: seq=4 ttl=64 time=400.000 ms

--- 10.0.0.3 ping statistics ---
5 packets transmitted, 4 packets received, 1 duplicates, 20% packet loss
round-trip min/avg/max = 400.000/426.507/500.000 ms
";

/// A folder with the three files and a folder `results`, both of which anybody may write to.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let place = Place { folder: tempfile::tempdir().unwrap() };
        std::fs::set_permissions(place.folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
        for (name, text) in [("b2s", GERMAN), ("s2v", ENGLISH), ("b2v", BUSYBOX)] {
            place.file(name, text);
        }
        place
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(LIVECTL);
        command.args(words.split_whitespace()).current_dir(self.folder.path());
        command.env_remove("SUDO_UID").env_remove("SUDO_GID");
        command
    }

    fn import(&self, words: &str) -> Output {
        self.command(&format!("import ping {words}")).output().unwrap()
    }

    /// Imports and gives the run's folder, which is what is printed last.
    fn imported(&self, words: &str) -> (PathBuf, String) {
        let output = self.import(words);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        let printed = String::from_utf8(output.stdout).unwrap();
        (self.folder.path().join(printed.lines().last().unwrap()), printed)
    }

    fn refused(&self, words: &str, code: i32, says: &[&str]) {
        let output = self.import(words);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(code), "{words}: {text}");
        for word in says {
            assert!(text.contains(word), "{words}: {word:?} is not in:\n{text}");
        }
        assert_eq!(output.stdout, b"", "{words}");
        assert!(!self.folder.path().join("results").exists(), "{words}: something was left behind");
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn cells(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

fn manifest(run: &Path) -> Manifest {
    Manifest::load(&RunDir::open(run).unwrap()).unwrap()
}

fn is_png(path: &Path) -> bool {
    std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"\x89PNG"))
}

#[test]
fn both_schemes_become_a_run_with_a_table_and_a_picture() {
    let place = Place::new();
    let (run, printed) = place.imported("--direct b2s s2v --bypass b2v --streaming 1-4 --name classic");
    let lines: Vec<&str> = printed.lines().collect();
    // b→s and s→v were answered together at 0, 1 and 4 s; lost are b→s 3, 4 and 6, and s→v 4.
    assert_eq!(cells(lines[2]), ["direct", "before", "1", "801.0", "801.0", "801.0", "801.0", "2", "0"], "{printed}");
    assert_eq!(cells(lines[3]), ["streaming", "1", "450.0", "450.0", "450.0", "450.0", "6", "3"]);
    assert_eq!(cells(lines[4])[..4], ["after", "1", "805.0", "805.0"]);
    assert_eq!(cells(lines[5])[..3], ["overall", "3", "685.3"]);
    assert_eq!(cells(lines[6])[..4], ["bypass", "before", "1", "201.0"]);
    assert_eq!(cells(lines[7]), ["streaming", "2", "226.0", "226.0", "247.6", "250.0", "3", "1"]);
    assert_eq!(lines[10..].iter().map(|line| line.ends_with("delay-plot.png")).collect::<Vec<_>>(), [true, false]);
    assert!(run.starts_with(place.folder.path().join("results/classic")) && is_png(&run.join("delay-plot.png")));

    let manifest = manifest(&run);
    let imported = manifest.imported.as_ref().unwrap();
    let files: Vec<_> =
        imported.files.iter().map(|f| (f.trial.as_str(), f.from.as_str(), f.to.as_str(), f.bytes)).collect();
    let size = |text: &str| text.len() as u64;
    assert_eq!(
        files,
        [
            ("direct-1", "b", "s", size(GERMAN)),
            ("direct-1", "s", "v", size(ENGLISH)),
            ("bypass-1", "b", "v", size(BUSYBOX))
        ]
    );
    assert_eq!(imported.files[0].path, place.folder.path().join("b2s"));
    assert_eq!(imported.files[0].xxh3, livectl_wire::frame::FrameId::of(GERMAN.as_bytes()).to_string());
    assert!(manifest.trials.iter().all(|t| t.state == TrialState::Done && t.warnings().is_empty()));
    assert_eq!(manifest.trials[0].started.unwrap().to_string(), "2019-11-17T14:13:20.0001Z");
    assert_eq!(std::fs::read_to_string(run.join("direct-1/ping/b-s.txt")).unwrap(), GERMAN);
    assert_eq!(std::fs::read_to_string(run.join("bypass-1/ping/b-v.txt")).unwrap(), BUSYBOX);

    let pings = read_pings(&run.join("pings.parquet")).unwrap();
    let of = |trial: &str, to: &str| -> Vec<PingRow> {
        pings.iter().filter(|p| p.trial == trial && p.to == to).cloned().collect()
    };
    let uplink: Vec<_> = of("direct-1", "s").iter().map(|p| (p.seq, p.rtt_ms, p.duplicate)).collect();
    let expected =
        [(1, Some(802.0)), (2, Some(99.4)), (2, Some(100.0)), (3, None), (4, None), (5, Some(810.0)), (6, None)];
    assert_eq!(uplink, expected.iter().enumerate().map(|(n, e)| (e.0, e.1, n == 2)).collect::<Vec<_>>());
    assert_eq!(of("bypass-1", "v").iter().map(|p| p.time_s).collect::<Vec<_>>(), [0.0, 1.0, 1.0, 2.0, 3.0, 4.0]);
    assert!(of("bypass-1", "v").iter().all(|p| p.sent_ns.is_none()));
}

#[test]
fn a_run_moved_elsewhere_is_drawn_and_imported_again() {
    let place = Place::new();
    let (run, first) = place.imported("--direct b2s s2v --bypass b2v --streaming 1-4 --name classic");
    let moved = place.folder.path().join("archive");
    std::fs::rename(&run, &moved).unwrap();
    for name in ["b2s", "s2v", "b2v"] {
        std::fs::remove_file(place.folder.path().join(name)).unwrap();
    }
    let output = place.command("plot archive --format svg --out figures").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let svg = std::fs::read_to_string(place.folder.path().join("figures/delay-plot.svg")).unwrap();
    for said in [
        "classic: network delay",
        "imported",
        "through the CDN (direct)",
        "peer to peer (bypass)",
        "streaming interval",
    ] {
        assert!(svg.contains(said), "{said}");
    }
    let output = place.command("verify archive").output().unwrap();
    assert!(output.status.success() && text(&output).contains("as stored"), "{}", text(&output));
    for (command, told) in [
        ("analyze archive", "was imported and has no captures"),
        ("compare archive", "holds imported pings and no frames"),
    ] {
        let output = place.command(command).output().unwrap();
        assert_eq!(output.status.code(), Some(5), "{command}");
        assert!(text(&output).contains(told), "{command}: {}", text(&output));
    }
    let (again, second) = place.imported("--again archive");
    let table = |printed: &str| printed.lines().take(10).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(table(&second), table(&first));
    assert_eq!(read_pings(&again.join("pings.parquet")).unwrap(), read_pings(&moved.join("pings.parquet")).unwrap());
    let (before, now) = (manifest(&moved).imported.unwrap(), manifest(&again).imported.unwrap());
    assert_eq!(before, now);
    let (_, without) = place.imported("--again archive --streaming 2-3 --name other");
    assert_eq!(cells(without.lines().nth(3).unwrap())[..2], ["streaming", "0"], "{without}");

    place.file("archive/bypass-1/ping/b-v.txt", BUSYBOX.replace("402", "202"));
    let output = place.import("--again archive");
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
    assert!(text(&output).contains("archive/bypass-1/ping/b-v.txt has changed since"), "{}", text(&output));
}

#[test]
fn one_scheme_alone_and_several_repetitions() {
    let place = Place::new();
    let (run, printed) = place.imported("--direct b2s s2v");
    assert!(run.starts_with(place.folder.path().join("results/imported")));
    assert_eq!(printed.lines().count(), 5, "no phases without --streaming: {printed}");
    assert!(is_png(&run.join("delay-plot.png")));
    assert_eq!(manifest(&run).plan.trials.len(), 1);
    place.file("second", BUSYBOX);
    let (run, printed) = place.imported("--bypass b2v --bypass second --interval 500ms --streaming 0-1.4");
    let ids: Vec<String> = manifest(&run).trials.iter().map(|t| t.id.clone()).collect();
    assert_eq!(ids, ["bypass-1", "bypass-2"]);
    // At 0, 0.5, (1.0) and from 1.5 s on, twice.
    assert_eq!(cells(printed.lines().nth(3).unwrap())[..2], ["streaming", "4"], "{printed}");
}

#[test]
fn lines_of_another_system_and_a_file_cut_short() {
    let place = Place::new();
    place.file("b2v", BUSYBOX.replace('\n', "\r\n"));
    let (run, _) = place.imported("--bypass b2v");
    assert_eq!(manifest(&run).trials[0].state, TrialState::Done);
    let cut = &ENGLISH[..ENGLISH.find("icmp_seq=5").unwrap()];
    place.file("s2v", cut);
    let output = place.import("--direct b2s s2v");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("direct-1: ping/s-v.txt ends in the middle of a line"), "{}", text(&output));
    let printed = String::from_utf8(output.stdout).unwrap();
    let run = place.folder.path().join(printed.lines().last().unwrap());
    assert!(matches!(&manifest(&run).trials[0].state, TrialState::Partial { why } if why.contains("s-v.txt")));
    assert_eq!(cells(printed.lines().nth(2).unwrap())[..3], ["direct", "overall", "2"], "{printed}");
}

/// The table's line of all pings: answered, and sent and lost.
fn counts(printed: &str) -> [String; 3] {
    let line = printed.lines().find(|line| line.contains("overall")).unwrap();
    let cells = cells(line);
    [cells[2], cells[cells.len() - 2], cells[cells.len() - 1]].map(str::to_owned)
}

#[test]
fn what_a_file_says_is_counted_and_what_it_does_not_say_is_said() {
    let place = Place::new();
    let answers: String = ENGLISH
        .lines()
        .take(4)
        .map(|line| line.split_once("] ").map_or(line, |(_, rest)| rest).to_owned() + "\n")
        .collect();
    let summary = "\n--- 10.0.0.3 ping statistics ---\n\
                   5 packets transmitted, 3 received, 40% packet loss, time 4005ms\n\
                   rtt min/avg/max/mdev = 800.000/800.200/800.600/0.240 ms\n";
    let whole = format!("{answers}{summary}");
    let attached: String = whole.lines().map(|line| format!("[14:13:20]{line}\n")).collect();
    let waiting = format!("{answers}no answer yet for icmp_seq=4\nno answer yet for icmp_seq=5\n");
    for (text, expected, state, told) in [
        (whole.clone(), ["3", "5", "2"], "done", ""),
        (
            attached,
            ["3", "5", "2"],
            "done",
            "time stamps are all alike; pings are placed by their numbers, 1.0013 s apart",
        ),
        (whole.replace("40%", "20%"), ["3", "5", "2"], "partial", "3 of 5 answered, and 20% lost"),
        (
            whole[..whole.find("packet loss").unwrap()].to_owned(),
            ["3", "5", "2"],
            "partial",
            "ends in the middle of a line",
        ),
        (waiting, ["3", "5", "2"], "partial", "what was sent after number 5 is not known"),
        (answers, ["3", "3", "0"], "done", "lost after number 3 are not known"),
    ] {
        place.file("kind", &text);
        let output = place.import("--bypass kind");
        assert_eq!(output.status.code(), Some(0), "{}", self::text(&output));
        let printed = String::from_utf8(output.stdout.clone()).unwrap();
        assert_eq!(counts(&printed), expected, "{printed}{text}");
        let run = place.folder.path().join(printed.lines().last().unwrap());
        let is_partial = matches!(manifest(&run).trials[0].state, TrialState::Partial { .. });
        assert_eq!(is_partial, state == "partial", "{}{text}", self::text(&output));
        let warned = String::from_utf8(output.stderr).unwrap();
        assert!(warned.contains(told) && warned.is_empty() == told.is_empty(), "{warned}{text}");
    }
}

#[test]
fn what_cannot_be_imported_is_one_message_and_leaves_nothing() {
    let place = Place::new();
    place.file("empty", "");
    place.file("poem", "Shall I compare thee to a summer's day?\n");
    place.file("binary", std::fs::read(LIVECTL).unwrap());
    place.file("later", ENGLISH.replace("[1574", "[1575"));
    place.file("both", ENGLISH.repeat(2));
    place.file("mixed", ENGLISH.lines().skip(1).take(3).collect::<Vec<_>>().join("\n").repeat(2));
    place.file("windows", "\r\nReply from 10.0.0.3: bytes=32 time=4ms TTL=64\r\n");
    place.file("lost", "PING 10.0.0.3 (10.0.0.3) 56(84) bytes of data.\n\n--- 10.0.0.3 ping statistics ---\n4 packets transmitted, 0 received, 100% packet loss, time 3004ms\n");
    for (words, says) in [
        ("--bypass nowhere", ["nowhere", "No such file"]),
        ("--bypass empty", ["empty", "is empty"]),
        ("--bypass poem", ["poem is not the output of ping", "summer's day"]),
        ("--bypass binary", ["binary is not the output of ping", "ELF"]),
        ("--bypass .", ["cannot read the ping output .", "directory"]),
        ("--bypass both", ["both contains the output of several pings", "Split it"]),
        ("--bypass lost", ["no", "answered all the way"]),
        ("--bypass mixed", ["mixed contains the output of several pings", "or mixed"]),
        ("--bypass windows", ["windows is the output of Windows' ping", "not of ping"]),
        ("--direct b2s poem --bypass b2v", ["poem is not the output of ping", "summer's day"]),
        ("--again .", ["manifest.json", "neither the folder of a run"]),
    ] {
        place.refused(words, 5, &says);
    }
    for (words, says) in [
        ("", ["--direct", "--bypass"]),
        ("--direct b2s", ["2 values required", "--direct"]),
        ("--direct s2v b2s --bypass b2v", ["swapped", "10.0.0.3"]),
        ("--direct s2v b2v", ["both ping 10.0.0.3", "broadcaster to CDN, then CDN to viewer"]),
        ("--direct b2s b2s", ["b2s is given twice", ""]),
        ("--direct b2s later", ["never pinged at the same time", "2019-11-29"]),
        ("--bypass b2v --name ../out", ["../out", "cannot be a folder's name"]),
        ("--bypass b2v --streaming 45-15", ["--streaming", "the end comes after the begin"]),
        ("--bypass b2v --interval 1", ["--interval", "write `1 s`"]),
        ("--direct b2s s2v --interval 5s", ["pings of b2s are 1 s apart", "leave out --interval"]),
        ("--again . --bypass b2v", ["cannot be used with", "--bypass"]),
    ] {
        place.refused(words, 2, &says);
    }
}

#[test]
fn a_disk_that_cannot_be_written_leaves_nothing() {
    let place = Place::new();
    place.file("results", "a file is in the way");
    let output = place.import("--bypass b2v");
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
    assert!(text(&output).contains("results"), "{}", text(&output));
    // No file may grow: the folder can be made, and nothing be put into it.
    let script = "ulimit -f 0; trap '' XFSZ; exec \"$0\" import ping --bypass b2v --results made";
    let output = Command::new("sh").args(["-c", script, LIVECTL]).current_dir(place.folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
    assert!(text(&output).contains("cannot write made/imported/"), "{}", text(&output));
    assert!(!place.folder.path().join("made").exists());
}

#[test]
fn no_root_is_needed_and_under_sudo_the_run_is_the_users() {
    assert!(nix::unistd::geteuid().is_root(), "this test becomes other users: run it as root");
    let place = Place::new();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", LIVECTL, "import", "ping", "--bypass", "b2v"]);
    let output = command.args(["--results", "mine"]).current_dir(place.folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let output =
        place.command("import ping --bypass b2v").env("SUDO_UID", "12345").env("SUDO_GID", "12346").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let below = below(&place.folder.path().join("results"));
    for path in &below {
        let meta = std::fs::symlink_metadata(path).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (12345, 12346), "{}", path.display());
    }
    assert!(below.iter().any(|path| path.ends_with("bypass-1/ping/b-v.txt")), "{below:?}");
}

/// A folder and everything in it.
fn below(path: &Path) -> Vec<PathBuf> {
    let mut all = vec![path.to_owned()];
    if path.is_dir() {
        all.extend(std::fs::read_dir(path).unwrap().flat_map(|entry| below(&entry.unwrap().path())));
    }
    all
}

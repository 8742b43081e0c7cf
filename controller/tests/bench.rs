//! The load generator against controllers that answer in known ways, and against the controller of this crate.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use live_controller::openflow::{
    BufferId, Command as FlowCommand, FlowMatch, FlowMod, Message, PacketIn, PacketOut, PortNo, Version, Versions,
    header,
};
use serde_json::Value;

/// Packet-ins under way at each switch in these tests, and switches.
const WINDOW: u64 = 16;
const SWITCHES: u64 = 2;

/// How a fake controller answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    FlowMod,
    PacketOut,
    Both,
    /// The flow-mod has no buffer id and moves nothing.
    LoneFlowModAndPacketOut,
    /// Seven bytes at a time.
    InPieces,
    /// Of each three packet-ins the second.
    EverySecondOfThree,
    /// The first is answered, then nothing.
    OnlyTheFirst,
    /// The first is answered, then packets that nobody has.
    WrongBuffers,
    /// Closes the connection when it is greeted.
    Closes,
    /// Asks for echoes without end, and reads none.
    NeverReads,
}

/// Serves switches until the process ends; counts packet-ins.
fn fake(version: Version, manner: Manner) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, counter) = (stream.unwrap(), Arc::clone(&counter));
            std::thread::spawn(move || serve(version, manner, stream, &counter));
        }
    });
    (address, count)
}

fn serve(version: Version, manner: Manner, mut stream: TcpStream, count: &AtomicU64) {
    stream.set_nodelay(true).unwrap();
    let mut out = Vec::new();
    Versions::of(&[version]).emit(1, &mut out);
    version.emit(&Message::FeaturesRequest, 2, &mut out).unwrap();
    version.emit(&Message::EchoRequest(b"?"), 3, &mut out).unwrap();
    if manner == Manner::NeverReads {
        let request = out.split_off(out.len() - 9);
        stream.write_all(&out).unwrap();
        let requests = request.repeat(1000);
        while stream.write_all(&requests).is_ok() {}
        return;
    }
    let (mut received, mut room) = (Vec::new(), [0; 4096]);
    let mut packets = 0u64;
    loop {
        let piece = if manner == Manner::InPieces { 7 } else { usize::MAX };
        for part in out.chunks(piece) {
            if stream.write_all(part).is_err() {
                return;
            }
        }
        out.clear();
        let Ok(came @ 1..) = stream.read(&mut room) else { return };
        received.extend_from_slice(&room[..came]);
        let mut used = 0;
        while let Some(message) = header::next(&received[used..]).unwrap() {
            used += message.len();
            match version.parse(message).unwrap().1 {
                Message::Hello(_) if manner == Manner::Closes => return,
                Message::PacketIn(packet) => {
                    count.fetch_add(1, Ordering::Relaxed);
                    answer(manner, packets, &packet, |message| version.emit(&message, 9, &mut out).unwrap());
                    packets += 1;
                }
                Message::EchoReply(data) => assert_eq!(data, b"?"),
                Message::Hello(_) | Message::FeaturesReply(_) => {}
                other => panic!("{other:?}"),
            }
        }
        received.drain(..used);
    }
}

fn answer(manner: Manner, index: u64, packet: &PacketIn<'_>, mut send: impl FnMut(Message<'static>)) {
    let flow_mod = |buffer| {
        Message::FlowMod(FlowMod {
            command: FlowCommand::Add,
            matching: FlowMatch::ANY,
            cookie: 0,
            idle_timeout: 0,
            hard_timeout: 0,
            priority: 1,
            buffer,
            out_port: None,
            notify_removal: false,
            output: Some(PortNo(1)),
            copies: Vec::new(),
        })
    };
    let packet_out = |buffer: Option<BufferId>| {
        let data = if buffer.is_some() { Vec::new() } else { packet.data.to_vec() };
        Message::PacketOut(PacketOut {
            buffer,
            in_port: packet.in_port,
            output: Some(PortNo::FLOOD),
            data: data.into(),
        })
    };
    match manner {
        Manner::FlowMod => send(flow_mod(packet.buffer)),
        Manner::PacketOut | Manner::InPieces => send(packet_out(packet.buffer)),
        Manner::Both => {
            send(flow_mod(packet.buffer));
            send(packet_out(packet.buffer));
        }
        Manner::LoneFlowModAndPacketOut => {
            send(flow_mod(None));
            send(packet_out(packet.buffer));
        }
        Manner::EverySecondOfThree if index % 3 == 1 => send(packet_out(packet.buffer)),
        Manner::OnlyTheFirst | Manner::WrongBuffers if index == 0 => send(packet_out(packet.buffer)),
        Manner::WrongBuffers => send(packet_out(BufferId::new(0x1234_5678))),
        Manner::EverySecondOfThree | Manner::OnlyTheFirst | Manner::Closes | Manner::NeverReads => {}
    }
}

/// Runs the generator; what it printed and the rows of its JSON.
fn bench(name: &str, arguments: &[&str]) -> (Output, Vec<Value>) {
    let json: PathBuf = [env!("CARGO_TARGET_TMPDIR"), &format!("bench-{name}.json")].iter().collect();
    let csv = json.with_extension("csv");
    let output = Command::new(env!("CARGO_BIN_EXE_live-controller"))
        .args(["bench", "--repetitions", "1", "--warm-up", "0.05", "--duration", "0.2", "--pause", "0"])
        .args(["--window", &WINDOW.to_string(), "--switches", &SWITCHES.to_string()])
        .args(["--json", json.to_str().unwrap(), "--csv", csv.to_str().unwrap()])
        .args(arguments)
        .output()
        .unwrap();
    let results: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let rows = results["rows"].as_array().unwrap().clone();
    let lines = std::fs::read_to_string(csv).unwrap().lines().count();
    assert_eq!(lines, 1 + rows.len());
    (output, rows)
}

/// What was counted against a fake controller, in one loop: a function from names to numbers.
fn counted(version: Version, manner: Manner, drive: &str, packets: &str) -> impl Fn(&str) -> u64 {
    let (address, seen) = fake(version, manner);
    let name = format!("{version}-{manner:?}-{drive}-{packets}");
    let address = address.to_string();
    let arguments = [&address, "--loop", drive, "--openflow", version.as_str(), "--packets", packets, "--macs", "50"];
    let (output, rows) = bench(&name, &arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{name}: {text}");
    let row = rows[0]["measurements"][0].clone();
    let count = move |field: &str| row[field].as_u64().unwrap_or_else(|| panic!("{field} in {row}"));
    assert!(count("sent") <= seen.load(Ordering::Relaxed) + WINDOW * SWITCHES, "{name}: {text}");
    assert!(count("answered") <= seen.load(Ordering::Relaxed), "{name}: {text}");
    count
}

#[test]
fn each_packet_in_is_counted_once_however_it_is_answered() {
    for (version, drive) in
        [(Version::V10, "open"), (Version::V10, "closed"), (Version::V13, "open"), (Version::V13, "closed")]
    {
        let count = counted(version, Manner::FlowMod, drive, "buffered");
        assert!(count("answered") > 0);
        assert_eq!((count("by_flow_mod"), count("repeated")), (count("answered"), 0));
        let count = counted(version, Manner::PacketOut, drive, "buffered");
        assert!(count("answered") > 0);
        assert_eq!((count("by_flow_mod"), count("repeated")), (0, 0));
        let count = counted(version, Manner::Both, drive, "buffered");
        assert_eq!(count("by_flow_mod"), count("answered"));
        // What was under way at the beginning or the end may be counted with one of its two messages.
        assert!(count("repeated").abs_diff(count("answered")) <= 2 * WINDOW * SWITCHES);
        let count = counted(version, Manner::LoneFlowModAndPacketOut, drive, "unbuffered");
        assert!(count("answered") > 0);
        assert_eq!((count("by_flow_mod"), count("repeated")), (0, 0));
        assert!(count("lone_flow_mods").abs_diff(count("answered")) <= 2 * WINDOW * SWITCHES);
        let count = counted(version, Manner::InPieces, drive, "unbuffered");
        assert!(count("answered") > 0);
        for fault in ["unanswered", "strange", "late", "errors"] {
            assert_eq!(count(fault), 0, "{fault}");
        }
    }
}

#[test]
fn what_is_not_answered_is_not_counted() {
    // What is never answered fills the window until it is given up.
    let count = counted(Version::V10, Manner::EverySecondOfThree, "open", "buffered");
    assert!(count("unanswered") > 0 && count("strange") == 0);
    let count = counted(Version::V10, Manner::OnlyTheFirst, "closed", "buffered");
    assert_eq!(count("answered"), 0);
    let count = counted(Version::V13, Manner::OnlyTheFirst, "open", "unbuffered");
    assert_eq!((count("answered"), count("unanswered")), (0, WINDOW * SWITCHES));
    let count = counted(Version::V10, Manner::WrongBuffers, "open", "buffered");
    assert_eq!((count("answered"), count("by_flow_mod")), (0, 0));
}

#[test]
fn one_that_does_not_take_the_switches_is_told_and_the_rest_measured() {
    let (closes, _) = fake(Version::V10, Manner::Closes);
    let (good, _) = fake(Version::V10, Manner::FlowMod);
    let targets = [format!("closes={closes}"), format!("good={good}")];
    let (output, rows) = bench("closes", &[&targets[0], &targets[1], "--loop", "closed"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(rows[0]["trouble"].as_str().unwrap().contains("closed the connection of switch"));
    assert!(rows[1]["measurements"][0]["answered"].as_u64().unwrap() > 0);
    assert!(String::from_utf8(output.stdout).unwrap().contains("closed the connection of switch"));
}

#[test]
fn one_that_sends_and_never_reads_is_told_and_left() {
    let (never_reads, _) = fake(Version::V10, Manner::NeverReads);
    let (output, rows) = bench("never-reads", &[&format!("never-reads={never_reads}"), "--loop", "open"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(rows[0]["trouble"].as_str().unwrap().contains("the controller does not read"), "{}", rows[0]);
}

#[test]
fn wrong_usage_is_told_with_examples_at_hand() {
    let run = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_live-controller")).arg("bench").args(arguments).output().unwrap()
    };
    assert_eq!(run(&[]).status.code(), Some(2));
    assert_eq!(run(&["nowhere"]).status.code(), Some(2));
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    assert!(help.contains("Examples:") && help.contains("--against-itself"), "{help}");
}

#[test]
fn the_controller_of_this_crate_answers_everything() {
    for scheme in live_controller::scheme::SCHEMES.iter().map(|scheme| scheme.name) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_live-controller"))
            .args(["--listen", "127.0.0.1:0", "--scheme", scheme])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let listening: Value = serde_json::from_str(&line).unwrap();
        let target = format!("live={}@{}", listening["address"].as_str().unwrap(), child.id());
        for packets in ["buffered", "unbuffered"] {
            let arguments =
                [&target, "--against-itself", "--openflow", "1.0,1.3", "--macs", "100", "--packets", packets];
            let (output, rows) = bench(&format!("{scheme}-{packets}"), &arguments);
            assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
            assert_eq!(rows.len(), 2 * 4);
            for row in rows {
                let one = &row["measurements"][0];
                assert!(one["answered"].as_u64().unwrap() > 0, "{row}");
                for fault in ["unanswered", "strange", "late", "errors"] {
                    assert_eq!(one[fault], 0, "{fault} in {row}");
                }
                let is_ours = row["controller"] == "live";
                assert_eq!(row["peak_memory_kib"].is_u64(), is_ours);
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

//! The program itself, with switches that speak to it over TCP: good ones and bad ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::Range;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use live_controller::mac::MacAddr;
use live_controller::openflow::{
    Command as FlowCommand, ErrorReport, Features, FlowMod, Message, PacketIn, PacketInReason, PacketOut, PortNo,
    Version, Versions, header,
};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);

/// A running controller; killed when dropped.
struct Controller {
    child: Child,
    address: SocketAddr,
    lines: BufReader<ChildStdout>,
}

impl Controller {
    fn start(arguments: &[&str]) -> Self {
        Self::start_logging("error", Stdio::inherit(), arguments)
    }

    fn start_logging(level: &str, to: Stdio, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_live-controller"))
            .args(["--listen", "127.0.0.1:0", "--log", level])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(to)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut controller = Self { child, address: ([0; 4], 0).into(), lines };
        let listening = controller.event("listening");
        controller.address = listening["address"].as_str().unwrap().parse().unwrap();
        controller
    }

    /// The next line.
    fn line(&mut self) -> Value {
        let mut line = String::new();
        assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "it ended");
        let value: Value = serde_json::from_str(&line).unwrap();
        assert!(value["time_ns"].as_u64().unwrap() > 1_600_000_000_000_000_000);
        value
    }

    /// The next line that tells such a thing; others are passed over.
    fn event(&mut self, name: &str) -> Value {
        loop {
            let value = self.line();
            if value["event"] == name {
                return value;
            }
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Ends it as an operator does; its exit code.
    fn terminate(mut self, signal: &str) -> Option<i32> {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("it does not end");
    }

    /// Resident memory in KiB.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A switch with no more to it than its connection.
struct Switch {
    stream: TcpStream,
    version: Version,
    received: Vec<u8>,
}

impl Switch {
    fn join(controller: &Controller, version: Version, dpid: u64) -> Self {
        let mut switch = Self { stream: controller.connect(), version, received: Vec::new() };
        let mut hello = Vec::new();
        Versions::of(&[version]).emit(1, &mut hello);
        switch.stream.write_all(&hello).unwrap();
        switch.until(|message| matches!(message, Message::FeaturesRequest));
        let features =
            Features { dpid, buffers: 0, tables: 1, auxiliary: 0, capabilities: 0, actions: 1, ports: Vec::new() };
        switch.send(&Message::FeaturesReply(features));
        switch.until(|message| matches!(message, Message::BarrierRequest));
        switch
    }

    fn send(&mut self, message: &Message<'_>) {
        let mut bytes = Vec::new();
        self.version.emit(message, 7, &mut bytes).unwrap();
        self.stream.write_all(&bytes).unwrap();
    }

    /// Reads messages, shows each to `wanted`, until one is.
    fn until(&mut self, mut wanted: impl FnMut(&Message<'_>) -> bool) {
        loop {
            let mut used = 0;
            let mut found = false;
            while let Some(message) = header::next(&self.received[used..]).unwrap()
                && !found
            {
                // The first, a HELLO, may be of another version.
                found = message[1] != 0 && wanted(&self.version.parse(message).unwrap().1);
                used += message.len();
            }
            self.received.drain(..used);
            if found {
                return;
            }
            let mut room = [0; 65_536];
            let came = self.stream.read(&mut room).unwrap();
            assert_ne!(came, 0, "the controller closed the connection");
            self.received.extend_from_slice(&room[..came]);
        }
    }

    fn packet_in(&mut self, in_port: u32, frame: &[u8]) {
        self.send(&Message::PacketIn(packet_in(in_port, frame)));
    }

    /// Where the controller sends a packet.
    fn packet_out(&mut self) -> Option<PortNo> {
        let mut output = None;
        self.until(|message| match message {
            Message::PacketOut(PacketOut { output: to, .. }) => {
                output = *to;
                true
            }
            _ => false,
        });
        output
    }

    fn flow(&mut self) -> FlowMod {
        let mut found = None;
        self.until(|message| match message {
            Message::FlowMod(flow) if flow.command == FlowCommand::Add => {
                found = Some(flow.clone());
                true
            }
            _ => false,
        });
        found.unwrap()
    }

    /// It is still forwarded as it should be.
    fn works(&mut self) {
        self.packet_in(1, &frame(1, 2));
        let _ = self.packet_out();
        self.packet_in(2, &frame(2, 1));
        assert_eq!(self.flow().output, Some(PortNo(1)));
        assert_eq!(self.packet_out(), Some(PortNo(1)));
    }
}

fn packet_in(in_port: u32, data: &[u8]) -> PacketIn<'_> {
    PacketIn {
        buffer: None,
        total_len: data.len() as u16,
        in_port: PortNo(in_port),
        reason: PacketInReason::NoMatch,
        data,
    }
}

fn frame(from: u8, to: u8) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(MacAddr([2, 0, 0, 0, 0, to]).0);
    frame.extend(MacAddr([2, 0, 0, 0, 0, from]).0);
    frame.extend([0x88, 0xb5]);
    frame.resize(60, 0);
    frame
}

/// Reads until the controller closes the connection; what it sent before.
fn closed(mut stream: TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => all,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => all,
        Err(error) => panic!("{error}: the connection stays open"),
    }
}

#[test]
fn switches_of_both_versions_learn_and_forward() {
    let mut controller = Controller::start(&["--report-learned"]);
    for (version, name, dpid) in [(Version::V10, "1.0", 1), (Version::V13, "1.3", 2)] {
        let mut switch = Switch::join(&controller, version, dpid);
        let connected = controller.event("switch_connected");
        assert_eq!((connected["dpid"].as_u64(), connected["version"].as_str()), (Some(dpid), Some(name)));
        switch.packet_in(1, &frame(1, 2));
        assert_eq!(switch.packet_out(), Some(PortNo::FLOOD));
        assert_eq!(controller.event("learned")["mac"], "02:00:00:00:00:01");
        switch.packet_in(2, &frame(2, 1));
        let flow = switch.flow();
        assert_eq!((flow.idle_timeout, flow.hard_timeout, flow.output), (10, 30, Some(PortNo(1))));
        assert_eq!(switch.packet_out(), Some(PortNo(1)));
        drop(switch);
        let lost = controller.event("switch_lost");
        assert_eq!((lost["dpid"].as_u64(), lost["why"].as_str()), (Some(dpid), Some("it closed the connection")));
    }
    assert_eq!(controller.terminate("-TERM"), Some(0));
}

/// Packet-ins of 1.0, each from another station to one that nobody knows.
fn many_stations(numbers: Range<u32>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in numbers {
        let mut data = frame(1, 2);
        data[..6].copy_from_slice(&[6, 6, 6, 6, 6, 6]);
        data[8..12].copy_from_slice(&number.to_be_bytes());
        Version::V10.emit(&Message::PacketIn(packet_in(1, &data)), number, &mut bytes).unwrap();
    }
    bytes
}

#[test]
fn many_packets_in_one_go_are_all_answered() {
    const COUNT: u32 = 20_000;
    let controller = Controller::start(&[]);
    let mut switch = Switch::join(&controller, Version::V10, 1);
    let bytes = many_stations(0..COUNT);
    let mut writer = switch.stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        // In pieces that cut messages anywhere.
        for part in bytes.chunks(7919) {
            writer.write_all(part).unwrap();
        }
    });
    let mut answers = 0;
    switch.until(|message| {
        if let Message::PacketOut(packet) = message {
            assert_eq!(packet.output, Some(PortNo::FLOOD));
            answers += 1;
        }
        answers == COUNT
    });
    sender.join().unwrap();
}

/// A frame to nobody who is known, with a number in it.
fn numbered(number: u32, length: usize) -> Vec<u8> {
    let mut data = frame(1, 2);
    data[14..18].copy_from_slice(&number.to_be_bytes());
    data.resize(length, 0);
    data
}

#[test]
fn what_comes_with_a_goodbye_is_answered_before_the_connection_ends() {
    let mut controller = Controller::start(&[]);
    for count in [1, 2, 3, 100, 5_000] {
        let mut switch = Switch::join(&controller, Version::V13, 1);
        let mut bytes = Vec::new();
        for number in 0..count {
            let data = numbered(number, 60);
            Version::V13.emit(&Message::PacketIn(packet_in(1, &data)), 1, &mut bytes).unwrap();
        }
        switch.stream.write_all(&bytes).unwrap();
        switch.stream.shutdown(Shutdown::Write).unwrap();
        let told = closed(switch.stream);
        let (mut rest, mut answers) = (&told[..], 0);
        while let Some(message) = header::next(rest).unwrap() {
            answers += u32::from(matches!(Version::V13.parse(message).unwrap().1, Message::PacketOut(_)));
            rest = &rest[message.len()..];
        }
        assert_eq!((answers, rest.len()), (count, 0));
        assert_eq!(controller.event("switch_lost")["why"], "it closed the connection");
    }
}

#[test]
fn a_switch_that_stops_reading_for_a_while_misses_nothing() {
    const COUNT: u32 = 20_000;
    let controller = Controller::start(&[]);
    let mut switch = Switch::join(&controller, Version::V10, 1);
    let mut writer = switch.stream.try_clone().unwrap();
    let written = Arc::new(AtomicU32::new(0));
    let progress = Arc::clone(&written);
    let sender = std::thread::spawn(move || {
        for number in 0..COUNT {
            let (mut bytes, data) = (Vec::new(), numbered(number, 1400));
            Version::V10.emit(&Message::PacketIn(packet_in(1, &data)), number, &mut bytes).unwrap();
            writer.write_all(&bytes).unwrap();
            progress.store(number, Relaxed);
        }
    });
    // Until it is no longer read from, since it does not read itself.
    let begun = Instant::now();
    let mut before = 0;
    loop {
        std::thread::sleep(Duration::from_millis(200));
        let now = written.load(Relaxed);
        if now == before && now > 0 {
            break;
        }
        before = now;
        assert!(begun.elapsed() < PATIENCE);
    }
    assert!(before < COUNT - 1, "the controller keeps all that it is sent");
    let mut expected = 0;
    switch.until(|message| {
        if let Message::PacketOut(packet) = message {
            assert_eq!(packet.data[14..18], u32::to_be_bytes(expected));
            expected += 1;
        }
        expected == COUNT
    });
    sender.join().unwrap();
}

#[test]
fn a_switch_that_connects_again_takes_its_own_place() {
    let mut controller = Controller::start(&[]);
    let first = Switch::join(&controller, Version::V10, 5);
    let mut second = Switch::join(&controller, Version::V10, 5);
    assert_eq!(controller.event("switch_lost")["why"], "it connected again");
    closed(first.stream);
    second.works();
}

#[test]
fn echo_is_answered_and_asked_for() {
    let controller = Controller::start(&[]);
    let mut switch = Switch::join(&controller, Version::V10, 1);
    switch.send(&Message::EchoRequest(b"who"));
    switch.until(|message| *message == Message::EchoReply(b"who"));
    // After five seconds of silence it asks.
    switch.until(|message| matches!(message, Message::EchoRequest(_)));
}

#[test]
fn bad_switches_are_told_and_closed_and_do_not_disturb_the_others() {
    let mut controller = Controller::start(&[]);
    let mut good = Switch::join(&controller, Version::V10, 1);
    let bad: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\n\r\n",
        &[1, 0, 0, 3, 0, 0, 0, 0],
        &[1, 0, 0xff, 0xff, 0, 0, 0, 0],
        &[3, 0, 0, 8, 0, 0, 0, 0],
        &[1, 10, 0, 8, 0, 0, 0, 0],
        &[1, 0, 0, 8, 0, 0, 0, 1, 4, 10, 0, 8, 0, 0, 0, 0],
    ];
    for bytes in bad {
        let mut stream = controller.connect();
        stream.write_all(bytes).unwrap();
        let told = closed(stream);
        let mut rest = &told[..];
        let mut kinds = Vec::new();
        while let Ok(Some(message)) = header::next(rest) {
            kinds.push(message[1]);
            rest = &rest[message.len()..];
        }
        // HELLO first, at last an error.
        assert_eq!((kinds.first(), kinds.last()), (Some(&0), Some(&1)), "{bytes:?}");
        assert!(controller.event("connection_refused")["why"].as_str().unwrap().len() > 10);
        good.works();
    }
}

/// A switch that asks for more than a buffer of answers and reads none of them.
fn flood(controller: &Controller, dpid: u64) -> TcpStream {
    let mut stream = Switch::join(controller, Version::V10, dpid).stream;
    let mut bytes = Vec::new();
    let mut data = frame(1, 2);
    data.resize(1400, 0);
    for _ in 0..16_000 {
        Version::V10.emit(&Message::PacketIn(packet_in(1, &data)), 1, &mut bytes).unwrap();
    }
    // Until the controller takes no more.
    stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut rest = &bytes[..];
    while let Ok(went @ 1..) = stream.write(rest) {
        rest = &rest[went..];
    }
    assert!(!rest.is_empty(), "the controller keeps all that it is sent");
    stream
}

#[test]
fn two_hundred_bad_connections_at_once() {
    let mut controller = Controller::start(&[]);
    let mut good = Switch::join(&controller, Version::V10, 1);
    good.works();
    let before = controller.memory();
    let mut streams = Vec::new();
    for number in 0..200u64 {
        let parts: [&[u8]; 3] = [&[], &[1, 0, 0], &[1, 0, 0, 8, 0, 0, 0, 1, 1, 10, 0xff, 0xff, 0, 0, 0, 0, 9]];
        if number % 10 == 9 {
            streams.push(flood(&controller, 100 + number));
        } else {
            let mut stream = controller.connect();
            stream.write_all(parts[number as usize % 3]).unwrap();
            streams.push(stream);
        }
        if number % 20 == 0 {
            good.works();
        }
    }
    good.works();
    let grown = controller.memory().saturating_sub(before);
    assert!(grown < 64 << 10, "{grown} KiB for 200 bad connections");
    println!("{grown} KiB for 200 bad connections");
    // The silent ones end with the handshake's deadline, the others because they do not read.
    let (mut refused, mut lost) = (0, 0);
    while refused < 180 || lost < 20 {
        let line = controller.line();
        match line["event"].as_str().unwrap() {
            "connection_refused" => refused += 1,
            "switch_lost" => {
                assert!(line["why"].as_str().unwrap().contains("read"), "{line}");
                lost += 1;
            }
            "switch_connected" => {}
            other => panic!("{other}"),
        }
        good.works();
    }
}

#[test]
fn what_switches_took_up_is_given_back_when_they_left() {
    let mut controller = Controller::start(&[]);
    let parts: Vec<Vec<u8>> = (0..20).map(|part| many_stations(part * 1_000..(part + 1) * 1_000)).collect();
    let mut stays = vec![Switch::join(&controller, Version::V10, 1)];
    stays[0].works();
    let before = controller.memory();
    for round in 0..3 {
        let mut switches: Vec<Switch> =
            (0..24).map(|number| Switch::join(&controller, Version::V10, 100 + number)).collect();
        for switch in &mut switches {
            for part in &parts {
                switch.stream.write_all(part).unwrap();
                switch.send(&Message::EchoRequest(b"done"));
                switch.until(|message| matches!(message, Message::EchoReply(_)));
            }
        }
        let grown = controller.memory() - before;
        assert!(grown > 6 << 10, "{grown} KiB for 24 switches of 20,000 stations: nothing to be seen here");
        // One that came after all these has its memory behind theirs.
        stays.push(Switch::join(&controller, Version::V10, 2 + round));
        let gone = switches.len();
        drop(switches);
        for _ in 0..gone {
            controller.event("switch_lost");
        }
        let begun = Instant::now();
        let mut left = u64::MAX;
        while left > grown / 2 && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(50));
            left = controller.memory().saturating_sub(before);
            for switch in &mut stays {
                switch.works();
            }
        }
        assert!(left <= grown / 2, "round {round}: {left} KiB are left of {grown} KiB");
        println!("{grown} KiB for 24 switches, {left} KiB when they had left");
    }
}

#[test]
fn ends_cleanly_and_says_what_is_wrong() {
    assert_eq!(Controller::start(&["--scheme", "bypass"]).terminate("-INT"), Some(0));
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_live-controller")).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let controller = Controller::start(&[]);
    let (code, error, _) = run(&["--listen", &controller.address.to_string()]);
    assert_eq!(code, Some(1));
    assert!(error.contains("cannot listen on") && error.contains("--listen"), "{error}");
    let (code, error, _) = run(&["--listen", "0.0.0.0:0"]);
    assert_eq!(code, Some(2));
    assert!(error.contains("--allow-remote"), "{error}");
    let file = std::env::temp_dir().join(format!("live-controller-{}.json", std::process::id()));
    for (text, what) in [
        (&b"{\"hosts\": {},\n \"streams\": 1}"[..], "line 2 column"),
        (b"\xff", "line 1 column 1"),
        (b"", "EOF"),
        (br#"{"hosts": {}, "streams": {"hb": {"bit_per_s": 1, "frames_per_s": 1}}}"#, "streams.\"hb\""),
    ] {
        std::fs::write(&file, text).unwrap();
        let (code, error, lines) = run(&["--scheme", "relay", "--network", file.to_str().unwrap()]);
        assert_eq!((code, &lines[..]), (Some(2), ""));
        assert!(error.contains(file.to_str().unwrap()) && error.contains(what), "{error}");
    }
    std::fs::write(&file, r#"{"hosts": {"10.0.0.1": {"switch": "s1", "delay_us": 1}}}"#).unwrap();
    let known = Controller::start(&["--scheme", "relay", "--network", file.to_str().unwrap()]);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(known.terminate("-TERM"), Some(0));
    let (code, error, _) = run(&["--network", file.to_str().unwrap()]);
    assert_eq!(code, Some(2));
    assert!(error.contains("cannot read") && error.contains("No such file"), "{error}");
    let (code, _, help) = run(&["--help"]);
    assert_eq!(code, Some(0));
    assert!(help.contains("Examples:") && help.contains("Exit codes:"));
}

#[test]
fn a_log_that_cannot_be_written_or_that_nobody_reads_holds_nothing_up() {
    let full = || Stdio::from(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    for log in [full(), Stdio::piped()] {
        let mut controller = Controller::start_logging("debug", log, &[]);
        let mut good = Switch::join(&controller, Version::V10, 1);
        let mut bad = Switch::join(&controller, Version::V10, 2);
        let error = Message::Error(ErrorReport { kind: 3, code: 0, data: &[7; 64] });
        for _ in 0..2000 {
            bad.send(&error);
        }
        bad.works();
        good.works();
        assert_eq!(controller.event("error")["what"], "switch 0000000000000002 reports OpenFlow error type 3 code 0");
        let begun = Instant::now();
        assert_eq!(controller.terminate("-TERM"), Some(0));
        assert!(begun.elapsed() < Duration::from_secs(3));
    }
}

#[test]
fn another_address_is_warned_about() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_live-controller"))
        .args(["--listen", "0.0.0.0:0", "--allow-remote"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.starts_with("warning: other machines can connect"), "{line}");
}

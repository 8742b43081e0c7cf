//! How fast captures are read. `captures.py` beside this file puts it together with the same measurement of tshark.
//!
//!     captures write FILE BYTES [pcap|pcapng|acks]   makes a capture of about so many bytes
//!     captures read FILE [LIST]                      reads it, says how it went, and writes the list of its video messages

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::time::Instant;

use livectl_wire::command::Command;
use livectl_wire::flows;
use livectl_wire::rtmp::{Header, Writer, kind};
use livectl_wire::testbed::{Packet, Sender, handshake, rtmp_command};

fn main() {
    // `cargo bench` adds an option of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["write", file, bytes] => write(file, bytes.parse().expect("a number of bytes"), "pcap"),
        ["write", file, bytes, shape] => write(file, bytes.parse().expect("a number of bytes"), shape),
        ["read", file] => read(file, None),
        ["read", file, list] => read(file, Some(list)),
        // As `cargo bench` without more calls it.
        [] => println!("captures.py beside this file measures; see there"),
        _ => panic!("captures write FILE BYTES [pcap|pcapng|acks] | captures read FILE [LIST]"),
    }
}

/// Payload of full segments with an MTU of 1500 bytes.
const SEGMENT: usize = 1460;
const CDN: &str = "10.0.0.2:1935";
const VIEWERS: usize = 4;
/// Nanoseconds between two packets: a full one at 100 Mbit/s.
const GAP: i64 = 121_120;
const BEGIN: i64 = 1_764_000_000_000_000_000;

/// What four viewers on one interface get from the CDN: video of 30 frames/s with a keyframe every two seconds, about
/// 3 Mbit/s, and 43 audio messages a second, in chunks of 4096 bytes. One segment of 997 was lost on the way and
/// comes again 40 packets later, one of 1009 comes twice, one of 499 changes places with the next.
fn write(path: &str, bytes: u64, shape: &str) {
    let mut out = Container::create(path, shape == "pcapng");
    if shape == "acks" {
        let viewer = Sender::new("10.0.0.3:40000", CDN, 1);
        while out.written < bytes {
            let time = out.time();
            out.put(&viewer.acknowledge(time));
        }
        return out.finish();
    }
    let mut viewers: Vec<Viewer> = (0..VIEWERS).map(|n| Viewer::connect(n, &mut out)).collect();
    let (mut number, mut late): (u64, Vec<(u64, Vec<u8>)>) = (0, Vec::new());
    let mut early: Option<Vec<u8>> = None;
    let mut frame = 0;
    while out.written < bytes {
        for viewer in &mut viewers {
            for (_, packet) in viewer.frame(frame) {
                number += 1;
                let mut now = Vec::new();
                match number {
                    n if n % 997 == 0 => late.push((n + 40, packet)),
                    n if n % 499 == 0 => early = Some(packet),
                    n => {
                        if n % 1009 == 0 {
                            late.push((n + 40, packet.clone()));
                        }
                        now.push(packet);
                        now.extend(early.take());
                    }
                }
                late.retain_mut(|(due, packet)| {
                    let wait = *due > number;
                    if !wait {
                        now.push(std::mem::take(packet));
                    }
                    wait
                });
                for packet in now {
                    let time = out.time();
                    out.put(&(time, packet));
                }
            }
        }
        frame += 1;
    }
    for packet in early.into_iter().chain(late.into_iter().map(|(_, packet)| packet)) {
        let time = out.time();
        out.put(&(time, packet));
    }
    out.finish();
}

/// A connection of a viewer, as the CDN sends it.
struct Viewer {
    server: Sender,
    writer: Writer,
    /// What does not fill a segment yet.
    rest: Vec<u8>,
    /// State of a xorshift generator: what is coded looks like noise.
    noise: u64,
    /// Length of the video and of the audio message before.
    last: [usize; 2],
}

impl Viewer {
    fn connect(n: usize, out: &mut Container) -> Self {
        let address = format!("10.0.0.{}:40000", 3 + n);
        let mut client = Sender::new(&address, CDN, 100);
        let mut server = Sender::new(CDN, &address, u32::MAX - 100_000);
        let (mut up, mut down) = (handshake(), handshake());
        let mut writer = Writer::new();
        up.extend(rtmp_command(
            &mut writer,
            &Command::Connect { transaction: 1.0, app: "live".into(), tc_url: None },
        ));
        up.extend(rtmp_command(&mut writer, &Command::Play { transaction: 0.0, name: "hb".into() }));
        let mut writer = Writer::new();
        writer.set_chunk_size(4096, &mut down).unwrap();
        let time = out.time();
        let mut packets = vec![client.syn(time), server.syn(time)];
        packets.extend(client.send(&up, SEGMENT, time, 0));
        packets.extend(server.send(&down, SEGMENT, time, 0));
        packets.iter().for_each(|packet| out.put(packet));
        Self { server, writer, rest: Vec::new(), noise: 88_172_645_463_325_252 + n as u64, last: [0; 2] }
    }

    /// The packets that are full once this frame and its sound have been written.
    fn frame(&mut self, frame: u32) -> Vec<Packet> {
        let keyframe = frame.is_multiple_of(60);
        let size = self.size(0, if keyframe { 60_000 } else { 8_000 }, 8_000);
        let mut payload = vec![if keyframe { 0x12 } else { 0x22 }];
        payload.resize_with(size, || self.random() as u8);
        self.message(kind::VIDEO, 6, frame * 1000 / 30, &payload);
        for n in 0..if frame % 7 < 3 { 2 } else { 1 } {
            let size = self.size(1, 300, 140);
            self.message(kind::AUDIO, 4, frame * 1000 / 30 + 10 * n, payload.get(..size).unwrap());
        }
        let full = self.rest.len() - self.rest.len() % SEGMENT;
        let bytes: Vec<u8> = self.rest.drain(..full).collect();
        self.server.send(&bytes, SEGMENT, 0, 0)
    }

    fn message(&mut self, kind: u8, chunk_stream: u32, timestamp: u32, payload: &[u8]) {
        let header = Header { chunk_stream, kind, stream_id: 1, timestamp };
        self.writer.write(header, payload, &mut self.rest).unwrap();
    }

    /// At least `base`, and not that of the message before: then its header would leave out type and length, and
    /// tshark's filter would miss it.
    fn size(&mut self, of: usize, base: usize, spread: u64) -> usize {
        let size = base + (self.random() % spread) as usize;
        let size = if size == self.last[of] { size + 1 } else { size };
        self.last[of] = size;
        size
    }

    fn random(&mut self) -> u64 {
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 7;
        self.noise ^= self.noise << 17;
        self.noise
    }
}

/// A capture that is being written: nanoseconds, Ethernet.
struct Container {
    out: BufWriter<File>,
    ng: bool,
    written: u64,
    packets: i64,
}

impl Container {
    fn create(path: &str, ng: bool) -> Self {
        let mut file = Self { out: BufWriter::new(File::create(path).unwrap()), ng, written: 0, packets: 0 };
        if ng {
            file.words(&[0x0a0d_0d0a, 28, 0x1a2b_3c4d, 1, u32::MAX, u32::MAX, 28]);
            // One interface, whose option 9 says that its unit are 10⁻⁹ seconds.
            file.words(&[1, 32, 1, 0, 9 | 1 << 16, 9, 0, 32]);
        } else {
            file.words(&[0xa1b2_3c4d, 0x0004_0002, 0, 0, 262_144, 1]);
        }
        file
    }

    /// When the next packet is there.
    fn time(&self) -> i64 {
        BEGIN + GAP * self.packets
    }

    fn put(&mut self, (time, bytes): &Packet) {
        let len = bytes.len() as u32;
        self.packets += 1;
        if self.ng {
            let padding = bytes.len().next_multiple_of(4) - bytes.len();
            let block = 32 + len + padding as u32;
            self.words(&[6, block, 0, (time >> 32) as u32, *time as u32, len, len]);
            self.bytes(bytes);
            self.bytes([0; 3].get(..padding).unwrap());
            self.words(&[block]);
        } else {
            self.words(&[(time / 1_000_000_000) as u32, (time % 1_000_000_000) as u32, len, len]);
            self.bytes(bytes);
        }
    }

    fn words(&mut self, words: &[u32]) {
        words.iter().for_each(|word| self.bytes(&word.to_le_bytes()));
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.out.write_all(bytes).unwrap();
        self.written += bytes.len() as u64;
    }

    fn finish(mut self) {
        self.out.flush().unwrap();
    }
}

/// Prints, tab-separated: seconds, bytes, packets, video messages, peak resident memory in KiB.
fn read(path: &str, list: Option<&str>) {
    let file = File::open(path).unwrap();
    let bytes = file.metadata().unwrap().len();
    let begin = Instant::now();
    let (flows, facts) = flows::read(file).unwrap();
    let seconds = begin.elapsed().as_secs_f64();
    assert_eq!(facts.problems, Vec::<String>::new());
    let messages: usize = flows.iter().map(|flow| flow.frames.len()).sum();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak = peak.trim().trim_end_matches(" kB");
    println!("{seconds:.3}\t{bytes}\t{}\t{messages}\t{peak}", facts.packets);
    let Some(list) = list else { return };
    let mut out = BufWriter::new(File::create(list).unwrap());
    for flow in &flows {
        assert_eq!(flow.problems, Vec::<String>::new());
        for frame in &flow.frames {
            let (seconds, fraction) = (frame.time_ns / 1_000_000_000, frame.time_ns % 1_000_000_000);
            let ends = format!("{}\t{}", flow.from, flow.to);
            writeln!(out, "{seconds}.{fraction:09}\t{ends}\t{}\t{}", frame.timestamp_ms, frame.size).unwrap();
        }
    }
}

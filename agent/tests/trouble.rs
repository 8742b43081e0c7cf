//! What programs, players, peers and the CDN do that they should not, with real programs on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod stage;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use livectl_wire::agent_event::{Event, Path};
use livectl_wire::birth::BirthKind;
use livectl_wire::command;
use livectl_wire::flv;
use livectl_wire::peer::Gap;
use livectl_wire::rtmp::{HANDSHAKE_LEN, Header, Writer, kind};
use stage::relay::Relay;
use stage::{Clip, FLV1, Stage};

const SHORT: Clip = Clip { frames: 60, ..FLV1 };

/// Answers each connection in a thread of its own.
fn serve(answer: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddrV4 {
    let listener = TcpListener::bind("127.0.0.7:0").unwrap();
    let SocketAddr::V4(address) = listener.local_addr().unwrap() else { unreachable!() };
    let answer = std::sync::Arc::new(answer);
    std::thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            let answer = std::sync::Arc::clone(&answer);
            std::thread::spawn(move || answer(connection));
        }
    });
    address
}

#[test]
fn peers_that_send_garbage_half_a_frame_or_nothing_cost_the_player_nothing() {
    let half = {
        let mut tag = Vec::new();
        flv::tag(flv::TagKind::Video, 0, &[0x12; 5000], &mut tag).unwrap();
        let mut bytes = Gap { skipped: Some(0), lost: Some(0), at: None }.emit().into_bytes();
        bytes.extend(flv::header(false, true));
        bytes.extend(&tag[..3000]);
        bytes
    };
    type Answer = Box<dyn Fn(TcpStream) + Send + Sync>;
    let hold = |connection: TcpStream| {
        let _ = connection.set_read_timeout(Some(Duration::from_secs(20)));
        let _ = (&connection).read(&mut [0; 1 << 16]);
    };
    let cases: Vec<(&str, Answer)> = vec![
        ("its answer is invalid", Box::new(move |mut c| drop(c.write_all(&[0xa5; 100_000])))),
        (
            "its stream cannot be read",
            Box::new(|mut c| {
                let line = Gap::default().emit();
                let _ = c.write_all(&[line.as_bytes(), &flv::header(false, true), &[0xa5; 100_000]].concat());
            }),
        ),
        (
            "it sent nothing for",
            Box::new(move |mut c| {
                let _ = c.write_all(&half);
                hold(c);
            }),
        ),
        (
            "it sent nothing for",
            Box::new(move |mut c| {
                let _ = c.write_all(Gap::default().emit().as_bytes());
                hold(c);
            }),
        ),
        ("it closed the connection", Box::new(drop)),
    ];
    std::thread::scope(|scope| {
        for (expected, answer) in cases {
            scope.spawn(move || {
                let stage = Stage::new();
                // What it was asked is read first: bytes that nobody has read turn a close into a reset.
                let read_and_answer = move |c: TcpStream| {
                    let _ = (&c).read(&mut [0; 1 << 16]);
                    answer(c);
                };
                let peer = serve(read_and_answer).to_string();
                let broadcaster = stage.broadcaster(&[]);
                // A peer that has answered before the stream silences the CDN, and then it is the agent that ends the
                // stream.
                let end = ["--end-padding", "2048"];
                let mut viewer =
                    stage.viewer(&[&["--once", "--peer", &peer, "--peer-silence", "0.3"][..], &end].concat());
                let mut player = stage.mplayer("player", viewer.listen);
                viewer.until("play accepted", |e| matches!(e, Event::PlayAccepted { .. }));
                stage.program("program", broadcaster.listen, "hb", FLV1).succeeds();
                player.succeeds();
                viewer.ends();
                stage.dump("player").is_everything_of(&stage.births());
                let told = |e: &Event| matches!(e, Event::PeerLost { why, .. } if why.starts_with(expected));
                assert!(viewer.has(told), "{expected}: {:#?}", viewer.seen);
                assert!(!viewer.has(|e| matches!(e, Event::Handover { .. })));
            });
        }
    });
}

/// A peer that never reads what it is asked, nor says anything, holds nothing up.
#[test]
fn a_peer_that_never_answers_is_ignored() {
    let stage = Stage::new();
    let peer = serve(|c| {
        std::thread::sleep(Duration::from_secs(60));
        drop(c);
    });
    let broadcaster = stage.broadcaster(&[]);
    let mut viewer = stage.viewer(&["--once", "--peer", &peer.to_string()]);
    let mut player = stage.mplayer("player", viewer.listen);
    viewer.until("play accepted", |e| matches!(e, Event::PlayAccepted { .. }));
    stage.program("program", broadcaster.listen, "hb", SHORT).succeeds();
    player.succeeds();
    viewer.ends();
    stage.dump("player").is_everything_of(&stage.births());
}

#[test]
fn peers_of_the_broadcaster_that_misbehave_are_refused_or_dropped() {
    let stage = Stage::new();
    let mut broadcaster = stage.broadcaster(&["--admit-all"]);
    let peers = broadcaster.peers.unwrap();
    let mut garbage = TcpStream::connect(peers).unwrap();
    garbage.write_all(&[0xff; 10_000]).unwrap();
    let mut half = TcpStream::connect(peers).unwrap();
    half.write_all(b"livectl/1 play live/h").unwrap();
    drop(half);
    let mut never_reads = TcpStream::connect(peers).unwrap();
    never_reads.write_all(b"livectl/1 play live/hb\n").unwrap();
    stage.program("program", broadcaster.listen, "hb", SHORT).succeeds();
    let refused = |e: &Event| matches!(e, Event::PeerRefused { why, .. } if why.starts_with("not a request"));
    broadcaster.until("the garbage", refused);
    let left =
        |e: &Event| matches!(e, Event::PeerRefused { why, .. } if why.contains("in the middle of its request"));
    broadcaster.until("the half", left);
    broadcaster.until("the stream's end", |e| matches!(e, Event::StreamEnded { frames: 60 }));
}

#[test]
fn a_publish_that_the_cdn_refuses_is_told_and_disturbs_nobody() {
    let stage = Stage::new();
    let mut broadcaster = stage.broadcaster(&["--admit-all", "--once"]);
    let peer = broadcaster.peers.unwrap().to_string();
    let mut viewer = stage.viewer(&["--once", "--peer", &peer]);
    let mut player = stage.mplayer("player", viewer.listen);
    viewer.until("play accepted", |e| matches!(e, Event::PlayAccepted { .. }));
    let mut first = stage.program("first", broadcaster.listen, "hb", FLV1);
    broadcaster.until("the first", |e| matches!(e, Event::PublishAccepted { .. }));
    let mut second = stage.program("second", broadcaster.listen, "hb", SHORT);
    let code = broadcaster.find("the refusal", |e| match e {
        Event::PublishRefused { code, .. } => Some(code.clone()),
        _ => None,
    });
    assert_eq!(code, "NetStream.Publish.BadName");
    assert!(!second.exit().success(), "it is told as it would be without an agent");
    first.succeeds();
    broadcaster.ends();
    player.succeeds();
    viewer.ends();
    let births = stage.births();
    assert_eq!(births.iter().filter(|b| b.kind == BirthKind::Video).count(), 150);
    stage.dump("player").is_everything_of(&births);
}

#[test]
fn another_stream_passes_untouched() {
    let stage = Stage::new();
    let mut broadcaster = stage.broadcaster(&[]);
    // Two streams on two connections, at once; only one is noted.
    let mut other = stage.program("other", broadcaster.listen, "other", FLV1);
    let mut program = stage.program("program", broadcaster.listen, "hb", SHORT);
    let stream = broadcaster.find("the other", |e| match e {
        Event::OtherStream { stream } => Some(stream.clone()),
        _ => None,
    });
    assert_eq!(stream, "live/other");
    program.succeeds();
    other.succeeds();
    broadcaster.process.signal(libc::SIGTERM);
    broadcaster.ends();
    assert_eq!(stage.births().iter().filter(|b| b.kind == BirthKind::Video).count(), 60);
    assert_eq!(broadcaster.count(|e| matches!(e, Event::PublishAccepted { .. })), 1);
}

/// One connection with two streams, written by hand: no program does it.
#[test]
fn two_streams_on_one_connection() {
    let stage = Stage::new();
    let mut broadcaster = stage.broadcaster(&["--once"]);
    let mut program = TcpStream::connect(broadcaster.listen).unwrap();
    let mut bytes = vec![3];
    bytes.resize(HANDSHAKE_LEN as usize, 0);
    let mut writer = Writer::new();
    let mut say = |command: &command::Command, stream_id| {
        let header = Header { chunk_stream: 3, kind: kind::COMMAND_AMF0, stream_id, timestamp: 0 };
        writer.write(header, &command.emit(), &mut bytes).unwrap();
    };
    say(&command::Command::Connect { transaction: 1.0, app: "live".into(), tc_url: None }, 0);
    say(&command::Command::CreateStream { transaction: 2.0 }, 0);
    say(&command::Command::CreateStream { transaction: 3.0 }, 0);
    say(&command::Command::Publish { transaction: 4.0, name: "hb".into(), mode: None }, 1);
    for n in 0..10u8 {
        for stream_id in [1, 2] {
            let header =
                Header { chunk_stream: 6 + stream_id, kind: kind::VIDEO, stream_id, timestamp: u32::from(n) * 33 };
            let payload = [&[if n == 0 { 0x12 } else { 0x22 }, n, stream_id as u8][..], &[7; 500]].concat();
            writer.write(header, &payload, &mut bytes).unwrap();
        }
    }
    program.write_all(&bytes).unwrap();
    broadcaster.until("the publish", |e| matches!(e, Event::PublishAccepted { .. }));
    drop(program);
    broadcaster.ends();
    let births = stage.births();
    assert_eq!(
        births.iter().map(|b| (b.index, b.size)).collect::<Vec<_>>(),
        (0..10).map(|n| (n, 503)).collect::<Vec<_>>()
    );
}

#[test]
fn a_program_that_comes_again_goes_on_in_the_log() {
    let stage = Stage::new();
    let mut broadcaster = stage.broadcaster(&["--admit-all"]);
    let mut viewer = stage.viewer(&["--peer", &broadcaster.peers.unwrap().to_string()]);
    for round in 1..=2 {
        let name = format!("player{round}");
        let mut player = stage.mplayer(&name, viewer.listen);
        viewer.next("play accepted", |e| matches!(e, Event::PlayAccepted { .. }).then_some(()));
        stage.program("program", broadcaster.listen, "hb", SHORT).succeeds();
        broadcaster.next("its end", |e| matches!(e, Event::UploadEnded { .. }).then_some(()));
        player.succeeds();
        viewer.next("its end", |e| matches!(e, Event::PlayerLeft { .. }).then_some(()));
        let births = stage.births();
        assert_eq!(births.iter().filter(|b| b.kind == BirthKind::Video).count(), 60 * round);
        let this: Vec<_> = births.iter().rev().take(60).rev().copied().collect();
        stage.dump(&name).is_everything_of(&this);
    }
    broadcaster.process.signal(libc::SIGTERM);
    broadcaster.ends();
    assert!(broadcaster.has(|e| matches!(e, Event::Ended { frames: 120 })));
}

#[test]
fn a_program_waits_for_a_cdn_that_comes_later() {
    let mut stage = Stage::without_cdn();
    let mut broadcaster = stage.broadcaster(&["--once"]);
    let mut program = stage.program("program", broadcaster.listen, "hb", SHORT);
    broadcaster.until("the program", |e| matches!(e, Event::ProgramConnected { .. }));
    std::thread::sleep(Duration::from_millis(500));
    stage.start_cdn();
    program.succeeds();
    broadcaster.ends();
    let births = stage.births();
    assert_eq!(births.iter().filter(|b| b.kind == BirthKind::Video).count(), 60);
    let first = broadcaster.find("the first birth", |e| match e {
        Event::BirthFirst { birth_ns } => Some(*birth_ns),
        _ => None,
    });
    let accepted =
        broadcaster.seen.iter().find(|l| matches!(l.event, Event::PublishAccepted { .. })).unwrap().time_ns;
    assert!(first > accepted, "nothing is born before the CDN has said yes");
}

#[test]
fn without_a_cdn_program_and_player_are_let_go_when_patience_is_over() {
    let stage = Stage::without_cdn();
    let mut broadcaster = stage.broadcaster(&["--patience", "1"]);
    let mut viewer = stage.viewer(&["--patience", "1", "--once"]);
    let mut program = stage.program("program", broadcaster.listen, "hb", SHORT);
    let mut player = stage.mplayer("player", viewer.listen);
    assert!(!program.exit().success());
    player.exit();
    broadcaster.until("why", |e| matches!(e, Event::UploadLost { why } if why.contains("cannot be reached")));
    viewer.until("why", |e| matches!(e, Event::CdnLost { why } if why.contains("cannot be reached")));
    viewer.ends();
}

#[test]
fn a_cdn_that_dies_ends_the_program_unless_peers_are_served() {
    let stage = Stage::new();
    for served in [false, true] {
        let way = Relay::new(stage.cdn, Duration::ZERO);
        let mut broadcaster = stage.broadcaster_to(way.address, &["--admit-all", "--once"]);
        let mut program = stage.program("program", broadcaster.listen, "hb", FLV1);
        let peer = broadcaster.peers.unwrap().to_string();
        let mut viewer = stage.viewer(&["--once", "--peer", &peer]);
        let mut player = served.then(|| stage.mplayer("player", viewer.listen));
        if served {
            viewer.until("the handover", |e| matches!(e, Event::Handover { to: Path::Peer, .. }));
        }
        stage::wait_for("births", || stage.births().len() > 40);
        way.cut();
        broadcaster.until("the loss", |e| matches!(e, Event::UploadLost { .. }));
        if let Some(player) = &mut player {
            program.succeeds();
            player.succeeds();
            viewer.ends();
            stage.dump("player").is_all_of(&stage.births());
            assert_eq!(stage.births().iter().filter(|b| b.kind == BirthKind::Video).count(), 150);
        } else {
            assert!(!program.exit().success(), "as without an agent");
        }
        broadcaster.ends();
    }
}

#[test]
fn a_bounded_upload_buffer_holds_the_program_back_and_an_unlimited_one_does_not() {
    let stage = Stage::new();
    for (limit, held) in [("64k", true), ("unlimited", false)] {
        let way = Relay::new(stage.cdn, Duration::ZERO);
        let mut broadcaster = stage.broadcaster_to(way.address, &["--upload-buffer", limit, "--once"]);
        // As fast as it can: 20 MB in a moment, more than the kernel's buffers on the way hold.
        let address = format!("rtmp://{}/live/hb", broadcaster.listen);
        let mut command = Command::new("ffmpeg");
        command.args(["-hide_banner", "-nostdin", "-loglevel", "error", "-f", "lavfi", "-i"]);
        command.args([
            "testsrc2=size=320x180:rate=30",
            "-frames:v",
            "1500",
            "-c:v",
            "flv1",
            "-qmin",
            "1",
            "-qmax",
            "1",
        ]);
        command.args(["-f", "flv", &address]);
        way.stall(false);
        let mut program = stage::Running::start("program", &mut command, stage.path("program.log"));
        broadcaster.until("the publish", |e| matches!(e, Event::PublishAccepted { .. }));
        way.stall(true);
        if held {
            broadcaster.until("the buffer full", |e| matches!(e, Event::UploadFull { .. }));
            std::thread::sleep(Duration::from_millis(500));
            assert!(program.is_running(), "it waits");
        } else {
            program.succeeds();
        }
        way.stall(false);
        if held {
            program.succeeds();
        }
        broadcaster.ends();
        assert_eq!(broadcaster.has(|e| matches!(e, Event::UploadDrained { .. })), held);
        assert_eq!(stage.births().iter().filter(|b| b.kind == BirthKind::Video).count(), 1500);
    }
}

#[test]
fn what_is_not_rtmp_passes_both_ways() {
    let stage = Stage::without_cdn();
    let echo = serve(|mut c| {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = c.read(&mut buffer) {
            let _ = c.write_all(&buffer[..count]);
        }
    });
    let mut broadcaster = stage.broadcaster_to(echo, &[]);
    let mut viewer = stage.viewer_of(echo, &[]);
    for address in [broadcaster.listen, viewer.listen] {
        let mut program = TcpStream::connect(address).unwrap();
        let sent: Vec<u8> = (0..100_000u32).map(|n| n as u8 ^ 0x55).collect();
        let mut heard = vec![0; sent.len()];
        program.write_all(&sent).unwrap();
        program.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        program.read_exact(&mut heard).unwrap();
        assert_eq!(heard, sent);
    }
    broadcaster.until("why", |e| matches!(e, Event::Unreadable { .. }));
    viewer.until("why", |e| matches!(e, Event::Unreadable { .. }));
}

/// A player that is handed tens of megabytes and reads nothing: bounded, and it ends when it leaves.
#[test]
fn a_player_that_never_reads_costs_bounded_memory() {
    let stage = Stage::new();
    let mut viewer = stage.viewer(&[]);
    let broadcaster = stage.broadcaster(&[]);
    let mut player = stage.rtmpdump("player", viewer.listen);
    viewer.until("play accepted", |e| matches!(e, Event::PlayAccepted { .. }));
    player.signal(libc::SIGSTOP);
    let address = format!("rtmp://{}/live/hb", broadcaster.listen);
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostdin", "-loglevel", "error", "-f", "lavfi", "-i"]);
    command.args([
        "nullsrc=size=640x360:rate=30,geq=random(1)*255:128:128",
        "-frames:v",
        "150",
        "-c:v",
        "flv1",
        "-qmin",
    ]);
    command.args(["1", "-qmax", "1", "-f", "flv", &address]);
    let mut program = stage::Running::start("program", &mut command, stage.path("program.log"));
    let mut most = 0;
    while program.is_running() {
        most = most.max(viewer.process.cost().1);
        std::thread::sleep(Duration::from_millis(50));
    }
    program.succeeds();
    println!("the viewer's agent had at most {most} KiB");
    assert!(most < 200 << 10, "{most}");
    player.signal(libc::SIGCONT);
    player.kill();
    let left = Instant::now();
    viewer.until("its end", |e| matches!(e, Event::PlayerLeft { .. }));
    assert!(left.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_port_that_is_taken_and_usage() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let run = |args: &[&str]| Command::new(env!("CARGO_BIN_EXE_live-agent")).args(args).output().unwrap();
    for task in ["broadcaster", "viewer"] {
        let output = run(&[task, "--stream", "live/hb", "--cdn", "127.0.0.9", "--listen", &address]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("cannot listen on {address}: ")), "{said}");
    }
    let output = run(&["notify", "--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(run(&["viewer", "--stream", "live"]).status.code(), Some(2));
    let full = ["broadcaster", "--stream", "live/hb", "--cdn", "127.0.0.9", "--births", "/nowhere/hb.csv"];
    assert_eq!(run(&full).status.code(), Some(1));
    for task in ["broadcaster", "viewer", "notify"] {
        let help = String::from_utf8(run(&[task, "--help"]).stdout).unwrap();
        assert!(help.contains("Example"), "{help}");
    }
}

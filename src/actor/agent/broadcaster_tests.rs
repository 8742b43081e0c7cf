#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::future::pending;
use std::io;

use livectl_wire::flv::TagKind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::super::event::now_ns;
use super::*;

fn args(folder: &Path) -> BroadcasterArgs {
    BroadcasterArgs {
        stream: "live/hb".parse().unwrap(),
        cdn: Ipv4Addr::LOCALHOST,
        births: folder.join("hb.csv"),
        uplink: None,
        frames: None,
        listen: "127.0.0.1:0".parse().unwrap(),
        rtmp_port: 1,
        notify_port: 1,
        drain: 5,
    }
}

fn tags(count: u32) -> Vec<u8> {
    let mut bytes = flv::header(false, true).to_vec();
    for n in 0..count {
        let kind = if n % 5 == 0 { 0x12 } else { 0x22 };
        flv::tag(TagKind::Video, n * 33, &[kind, n as u8, 7], &mut bytes).unwrap();
    }
    bytes
}

#[tokio::test]
async fn births_are_logged_while_the_stream_runs_and_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let args = args(folder.path());
    let (read, mut write) = std::io::pipe().unwrap();
    let agent = tokio::spawn({
        let args = args.clone();
        async move { run(&args, encoder::read(read).unwrap(), pending()).await }
    });
    let before = now_ns();
    write.write_all(&tags(3)).unwrap();
    let logged = async {
        loop {
            let text = std::fs::read_to_string(&args.births).unwrap_or_default();
            if text.lines().count() == 4 {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let text = tokio::time::timeout(Duration::from_secs(5), logged).await.unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some(birth::HEADER));
    let births: Vec<Birth> = lines.map(|line| line.parse().unwrap()).collect();
    assert_eq!(
        births.iter().map(|b| (b.index, b.timestamp_ms, b.keyframe)).collect::<Vec<_>>(),
        [(0, 0, true), (1, 33, false), (2, 66, false)]
    );
    assert!(births.iter().all(|b| (before..=now_ns()).contains(&b.birth_ns)));
    drop(write);
    agent.await.unwrap().unwrap();
}

#[tokio::test]
async fn after_the_last_frame_the_stream_has_ended_although_the_pipe_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let mut args = args(folder.path());
    args.frames = Some(3);
    // A port of its own, known before.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let SocketAddr::V4(address) = free else { unreachable!() };
    args.listen = address;
    let (read, mut write) = std::io::pipe().unwrap();
    let agent = tokio::spawn(async move { run(&args, encoder::read(read).unwrap(), pending()).await });
    write.write_all(&tags(3)).unwrap();
    let mut answer = String::new();
    let refused = async {
        while !answer.contains("the stream has ended") {
            answer.clear();
            let Ok(mut peer) = TcpStream::connect(address).await else { continue };
            peer.write_all(b"livectl/1 play live/hb\n").await.unwrap();
            let _ = peer.read_to_string(&mut answer).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), refused).await.unwrap();
    assert!(!agent.is_finished(), "births may still come");
    drop(write);
    agent.await.unwrap().unwrap();
}

#[tokio::test]
async fn told_to_stop_it_keeps_the_births() {
    let folder = tempfile::tempdir().unwrap();
    let args = args(folder.path());
    let (read, mut write) = std::io::pipe().unwrap();
    write.write_all(&tags(3)).unwrap();
    // Not before all of it was taken.
    let births = args.births.clone();
    let told = async move {
        while std::fs::read_to_string(&births).unwrap_or_default().lines().count() < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), run(&args, encoder::read(read).unwrap(), told))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(std::fs::read_to_string(&args.births).unwrap().lines().count(), 4);
}

#[tokio::test]
async fn a_stream_that_breaks_off_and_one_that_is_none() {
    for (bytes, expected) in [
        (tags(2)[..30].to_vec(), "ended within a tag, at byte 13"),
        (b"this is not FLV at all".to_vec(), "not FLV at byte 0"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let error = run(&args(folder.path()), encoder::read(io::Cursor::new(bytes)).unwrap(), pending())
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn an_unwritable_log_and_a_port_that_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let mut bad = args(folder.path());
    bad.births = folder.path().join("none/hb.csv");
    let error = run(&bad, encoder::read(io::empty()).unwrap(), pending()).await.unwrap_err().to_string();
    assert!(error.starts_with("cannot write the births to"), "{error}");
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let SocketAddr::V4(address) = taken.local_addr().unwrap() else { unreachable!() };
    let mut bad = args(folder.path());
    bad.listen = address;
    let error = run(&bad, encoder::read(io::empty()).unwrap(), pending()).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot serve peers on {address}")), "{error}");
    assert!(TcpStream::connect(address).await.is_ok());
}

#[tokio::test]
async fn a_full_disk_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut full = args(folder.path());
    full.births = "/dev/full".into();
    let error =
        run(&full, encoder::read(io::Cursor::new(tags(3))).unwrap(), pending()).await.unwrap_err().to_string();
    assert!(error.contains("/dev/full: No space left on device"), "{error}");
}

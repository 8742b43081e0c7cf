#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use crate::plan::Codec;

/// Ample for a few pictures, on a busy machine too.
const AMPLE: Depth = Depth::Pictures(Duration::from_secs(120));

/// A file that ffmpeg makes of two seconds of test pictures and a tone.
fn made(dir: &Path, name: &str, args: &[&str]) -> Video {
    let path = dir.join(name);
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25:duration=2"]);
    ffmpeg.args(["-f", "lavfi", "-i", "sine=duration=2"]).args(args).arg(&path);
    assert!(ffmpeg.status().unwrap().success(), "{name}");
    of(&path)
}

fn of(path: &Path) -> Video {
    Video {
        source: VideoSource::File { path: path.to_owned() },
        fps: 25,
        frames: 120,
        codec: Codec::H264,
        bitrate: 300_000,
        keyframe_interval: 25,
        audio: false,
        clock: false,
    }
}

fn seen(video: &Video) -> Result<Doubt, Unsuited> {
    rehearse(video, AMPLE)
}

#[test]
fn what_can_be_looped_and_encoded_is_suited_odd_sizes_too() {
    let dir = tempfile::tempdir().unwrap();
    for (name, args) in [
        ("a.mp4", &["-map", "0:v", "-map", "1:a"][..]),
        ("a.mkv", &["-map", "0:v"]),
        ("a.gif", &["-map", "0:v"]),
        ("still.png", &["-map", "0:v", "-frames:v", "1"]),
        ("odd.mp4", &["-map", "0:v", "-vf", "scale=33:21", "-pix_fmt", "yuv444p"]),
    ] {
        let video = made(dir.path(), name, args);
        assert_eq!(seen(&video), Ok(None), "{name}");
        assert_eq!(seen(&Video { codec: Codec::Flv1, ..video }), Ok(None), "{name}");
    }
}

#[test]
fn what_ends_before_the_pictures_planned_is_too_short() {
    let dir = tempfile::tempdir().unwrap();
    let raw = made(dir.path(), "raw.h264", &["-map", "0:v"]);
    assert_eq!(seen(&raw), Err(Unsuited::TooShort { pictures: 50, wanted: 120 }));
    assert_eq!(seen(&Video { frames: 50, ..raw.clone() }), Ok(None), "all it has");
    assert_eq!(rehearse(&raw, Depth::Contents), Ok(None), "whoever does not loop it does not mind");
    let jpeg = made(dir.path(), "still.jpg", &["-map", "0:v", "-frames:v", "1"]);
    assert_eq!(seen(&jpeg), Err(Unsuited::TooShort { pictures: 1, wanted: 120 }));
}

#[test]
fn sound_alone_and_pictures_without_sound() {
    let dir = tempfile::tempdir().unwrap();
    let sound = made(dir.path(), "sound.mp4", &["-map", "1:a"]);
    assert_eq!(seen(&sound), Err(Unsuited::NoPictures("sound".into())));
    let silent = made(dir.path(), "silent.mp4", &["-map", "0:v"]);
    assert_eq!(seen(&Video { audio: true, ..silent }), Err(Unsuited::NoSound));
}

#[test]
fn files_that_are_no_videos_or_not_whole() {
    let dir = tempfile::tempdir().unwrap();
    let written = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        of(&path)
    };
    let VideoSource::File { path } = made(dir.path(), "whole.mp4", &["-map", "0:v"]).source else { unreachable!() };
    let whole = std::fs::read(path).unwrap();
    assert_eq!(seen(&written("cut.mp4", &whole[..whole.len() / 2])), Err(Unsuited::CutShort));
    assert_eq!(seen(&written("empty.mp4", b"")), Err(Unsuited::Empty));
    assert_eq!(seen(&written("text.mp4", b"This is a text.\n")), Err(Unsuited::NoVideo));
    let list = b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n";
    assert_eq!(seen(&written("list.m3u8", list)), Err(Unsuited::NoVideo), "no other machine is asked");
    assert!(matches!(seen(&of(&dir.path().join("none.mp4"))), Err(Unsuited::Unreadable(_))));
}

#[test]
fn a_file_that_holds_less_than_it_says_is_doubtful() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["-map", "0:v", "-movflags", "+faststart", "-b:v", "400k"];
    let VideoSource::File { path } = made(dir.path(), "fast.mp4", &args).source else { unreachable!() };
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() * 2 / 3]).unwrap();
    let doubt = seen(&of(&path)).unwrap().unwrap();
    assert!(doubt.starts_with("may be damaged"), "{doubt}");
}

#[test]
fn the_outcome_is_held_against_the_plan() {
    let seen = |pictures, ended| judge(&Seen { pictures, ended, said: Some("[x @ 0x5f] no room\n".into()) }, 100);
    assert_eq!(seen(40, Ended::StoodStill), Err(Unsuited::TooShort { pictures: 40, wanted: 100 }));
    assert!(seen(40, Ended::OutOfTime).unwrap().unwrap().contains("only its first 40 pictures"));
    assert_eq!(seen(0, Ended::OutOfTime), Err(Unsuited::NotEncoded(", which says `no room`".into())));
    assert_eq!(seen(40, Ended::Badly), Err(Unsuited::NotEncoded(", which says `no room`".into())));
}

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
    // ffmpeg 5 makes one picture of it and ffmpeg 7 none.
    let still = seen(&jpeg);
    assert!(matches!(still, Err(Unsuited::TooShort { pictures: 0 | 1, wanted: 120 })), "{still:?}");
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
    assert_eq!(seen(&written("list.m3u8", list)), Err(Unsuited::List("hls".into())), "no other machine is asked");
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
fn lists_of_other_files_are_no_videos() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path(), "a.mp4", &["-map", "0:v"]);
    let of_list = |name: &str| rehearse(&of(&dir.path().join(name)), Depth::Contents);
    for (name, kind) in [("list.m3u8", "hls"), ("list.mpd", "dash")] {
        made(dir.path(), name, &["-map", "0:v", "-f", kind]);
        assert_eq!(of_list(name), Err(Unsuited::List(kind.into())));
    }
    for (name, text) in
        [("good", "ffconcat version 1.0\nfile a.mp4\n"), ("bad", "ffconcat version 1.0\nfile b.mp4\n")]
    {
        std::fs::write(dir.path().join(name), text).unwrap();
        assert_eq!(of_list(name), Err(Unsuited::List("concat".into())), "{name}");
    }
}

#[test]
fn an_encoder_with_too_little_room_says_nothing_about_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let noisy =
        made(dir.path(), "noisy.mp4", &["-map", "0:v", "-vf", "scale=640x360,noise=alls=90:allf=t", "-b:v", "20M"]);
    let doubt = seen(&Video { codec: Codec::Flv1, bitrate: 20_000, frames: 25, ..noisy }).unwrap().unwrap();
    assert!(doubt.contains("the recipe's `bitrate` is too low for"), "{doubt}");
    assert!(!doubt.contains("damaged"), "{doubt}");
}

#[test]
fn lines_of_encoders_are_told_from_those_about_the_file() {
    let taken = |lines: &[&str]| {
        let mut said = Complaints::default();
        lines.iter().for_each(|line| said.take(line));
        (said.file.unwrap_or_default(), said.encoder.unwrap_or_default(), said.cannot_loop)
    };
    // As ffmpeg 5.1 said of a whole video, of a damaged FLV, and of raw H.264.
    let encoder = "[flv @ 0x55719a3f8180] rc buffer underflow";
    let decoder = "[flv @ 0x55a7294b04c0] Error at MB: 14\n";
    assert_eq!(taken(&[encoder, encoder]), (String::new(), "rc buffer underflow".into(), false));
    assert_eq!(taken(&[encoder, decoder]), ("Error at MB: 14".into(), "rc buffer underflow".into(), false));
    assert_eq!(taken(&["[libx264 @ 0x1] VBV is too small"]), (String::new(), "VBV is too small".into(), false));
    assert_eq!(taken(&["raw.h264: Operation not permitted\n", "\n"]), (String::new(), String::new(), true));
}

#[test]
fn an_encoder_slower_than_the_video_is_told() {
    let seen = |pace, pictures, ended| judge(&Seen { pictures, ended, pace, said: Complaints::default() }, 120, 60);
    assert_eq!(seen(None, 120, Ended::Well), Ok(None), "too quick to tell");
    assert_eq!(seen(Some(60.0), 120, Ended::Well), Ok(None));
    let slow = seen(Some(12.3), 120, Ended::Well).unwrap().unwrap();
    assert!(slow.starts_with("was encoded at 12 pictures a second here, and 60 are wanted"), "{slow}");
    let both = seen(Some(12.3), 100, Ended::OutOfTime).unwrap().unwrap();
    assert!(both.starts_with("is long: only its first 100 pictures were checked; it was encoded at 12 "), "{both}");
}

#[test]
fn test_pictures_are_looked_at_if_there_are_very_many() {
    let source = |width, height| VideoSource::Generated { pattern: "testsrc2".into(), width, height };
    let video = |width, height, fps| Video { source: source(width, height), fps, ..of(Path::new("x")) };
    assert!(!is_worthwhile(&video(1280, 720, 60)) && is_worthwhile(&video(1920, 1080, 30)));
    let large = Video { frames: 100_000, bitrate: 50_000_000, ..video(4096, 4096, 120) };
    let doubt = seen(&large).unwrap().unwrap();
    assert!(doubt.starts_with("was encoded at ") && doubt.contains(" and 120 are wanted"), "{doubt}");
    assert_eq!(rehearse(&large, Depth::Contents), Ok(None));
}

#[test]
fn an_encoder_is_timed_while_it_works() {
    let dir = tempfile::tempdir().unwrap();
    let video = made(dir.path(), "a.mp4", &["-map", "0:v", "-vf", "scale=1280x720"]);
    // More than a second of work for any machine of these days.
    let seen = encode(&Video { frames: 1_000_000, ..video }, Duration::from_secs(5)).unwrap();
    let (pace, whole) = (seen.pace.unwrap(), seen.pictures as f64 / 5.0);
    assert_eq!(seen.ended, Ended::OutOfTime);
    assert!(pace > whole / 2.0 && pace < whole * 2.0, "{pace} a second, {whole} with the start");
}

#[test]
fn the_outcome_is_held_against_the_plan() {
    let seen = |pictures, ended| {
        let mut said = Complaints::default();
        said.take("[x @ 0x5f] no room\n");
        judge(&Seen { pictures, ended, pace: None, said }, 100, 25)
    };
    assert_eq!(seen(40, Ended::StoodStill), Err(Unsuited::TooShort { pictures: 40, wanted: 100 }));
    assert!(seen(40, Ended::OutOfTime).unwrap().unwrap().contains("only its first 40 pictures"));
    assert_eq!(seen(0, Ended::OutOfTime), Err(Unsuited::NotEncoded(", which says `no room`".into())));
    assert_eq!(seen(40, Ended::Badly), Err(Unsuited::NotEncoded(", which says `no room`".into())));
}

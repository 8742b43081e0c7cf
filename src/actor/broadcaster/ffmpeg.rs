//! ffmpeg, which makes as many pictures as planned, each at its time.
//!
//! Found by trying (ffmpeg 5.1):
//! - `-re` lets frames out in steps of 10 ms (late by 5 ms in the median), and from ffmpeg 6.1 on begins with a burst of half a second.
//!   The `realtime` filter is late by 0.6 ms in the median and 1.2 ms at the 95th percentile.
//! - Below 5 and above 100 frames per second ffmpeg looks at up to 20 pictures before it begins, to find out how many there are in a
//!   second, and lets them out all at once: at 1 fps, five seconds of video in one moment. `-fpsprobesize 0` keeps it from that.
//! - RTMP takes about six round trips from connection to the first frame. The agent passes them on end to end, so that ffmpeg begins to encode
//!   when the CDN has accepted the publish: its first frame comes 6 ms after that. `-rtmp_tcurl` names the CDN to the CDN. The first picture is taken
//!   from the source before, so that `realtime` is late by then; beyond its `limit` it begins anew, and the second picture comes right
//!   after the first, the others at their pace.
//! - Without `tcp_nodelay` the end of a frame waits for the next frame as long as anything is unacknowledged.
//! - flv1 of `testsrc2` with `-maxrate` and a buffer of a quarter of a second stays within 1 % of the asked bitrate
//!   on average and 10 % over any second; keyframes are 1.5 times as large as other frames on average (three times, with a
//!   buffer of half a second). `-minrate` adds nothing to that, but ends the encoder with `stuffing too large` when pictures are
//!   to have more bytes than its packet, which begins with 10,000 and 64 for each macroblock: 2.5 Mbit/s at 640x360 and 4 fps.
//! - A buffer smaller than a picture's share of the bitrate ends it too: `VBV buffer too small for bitrate`.

use std::net::SocketAddrV4;
use std::time::Duration;

use super::super::process::{Actor, Command, Output, Readiness, Stop};
use super::super::{AGENT, Folders};
use crate::clock::picture;
use crate::plan::{AUDIO_BITRATE, Codec, RTMP_APP, RTMP_PORT, Stream, Video, VideoSource};

/// Samples of sound per second.
const AUDIO_RATE: u32 = 44_100;
/// By how much pictures may be late without their pace beginning anew: what a busy machine does to an encoder is caught up with.
const LATENESS: Duration = Duration::from_millis(100);
/// The rate control buffer is what the bitrate fills in this part of a second, or in that of one picture if it is longer: frames
/// of even size, as for any low-latency stream.
const BUFFERS_PER_SECOND: u64 = 4;

/// ffmpeg as an actor on the broadcaster's host, publishing to the agent there.
pub(super) fn actor(video: &Video, stream: &Stream, cdn: std::net::Ipv4Addr, folders: &Folders) -> Actor {
    let host = stream.broadcaster.as_str();
    Actor {
        name: super::ENCODER.into(),
        station: host.into(),
        command: encoder(video, &stream.name, SocketAddrV4::new(cdn, RTMP_PORT)),
        folders: Vec::new(),
        files: Vec::new(),
        output: Output::Log,
        log: folders.trial.log(host, super::ENCODER),
        ready: Readiness::LogLine("Output #0".into()),
        ready_within: Duration::from_secs(20),
        alarms: Vec::new(),
        stop: Stop::default(),
    }
}

/// ffmpeg, publishing to the agent on its host a stream that is meant for `cdn`.
#[must_use]
pub fn encoder(video: &Video, stream: &str, cdn: SocketAddrV4) -> Command {
    let mut args: Vec<String> =
        ["-hide_banner", "-nostdin", "-nostats", "-loglevel", "info"].map(str::to_owned).into();
    args.extend(input(video, Some(&pace(video))));
    args.extend(["-frames:v".into(), video.frames.to_string()]);
    args.extend(encoding(video));
    args.extend(["-f", "flv", "-flvflags", "no_duration_filesize", "-flush_packets", "1"].map(String::from));
    args.extend(["-tcp_nodelay".into(), "1".into(), "-rtmp_tcurl".into(), format!("rtmp://{cdn}/{RTMP_APP}")]);
    args.push(format!("rtmp://{AGENT}/{RTMP_APP}/{stream}"));
    Command::new("ffmpeg", args)
}

/// The arguments that make the same pictures, but as fast as can be and into nothing, with their number on standard output.
pub(super) fn rehearsal(video: &Video) -> Vec<String> {
    let mut args: Vec<String> = ["-hide_banner", "-nostdin", "-nostats", "-loglevel", "error", "-progress", "pipe:1"]
        .map(str::to_owned)
        .into();
    args.extend(unpaced(video));
    args.extend(["-frames:v".into(), video.frames.to_string()]);
    args.extend(encoding(video));
    args.extend(["-f", "null", "-"].map(String::from));
    args
}

/// The arguments that make the stream as fast as can be, as FLV on standard output.
#[must_use]
pub fn at_once(video: &Video) -> Vec<String> {
    let mut args: Vec<String> =
        ["-hide_banner", "-nostdin", "-nostats", "-loglevel", "error"].map(str::to_owned).into();
    args.extend(unpaced(video));
    args.extend(["-frames:v".into(), video.frames.to_string()]);
    args.extend(encoding(video));
    args.extend(["-f", "flv", "-flvflags", "no_duration_filesize", "pipe:1"].map(String::from));
    args
}

/// Where pictures and sound come from, as fast as they can.
fn unpaced(video: &Video) -> Vec<String> {
    // The pace of test pictures is a filter among others, and has no other use.
    input(video, None).into_iter().map(|arg| arg.replace(&format!(",{}", pace(video)), "")).collect()
}

/// Where pictures and sound come from. Those of a file at the pace of that filter, test pictures at that of real time.
fn input(video: &Video, pace: Option<&str>) -> Vec<String> {
    let fps = video.fps;
    let mut args: Vec<String> = Vec::new();
    match &video.source {
        VideoSource::Generated { pattern, width, height } => {
            let pictures = pictures(pattern, (*width, *height), video);
            args.extend(["-f", "lavfi", "-fpsprobesize", "0", "-i"].map(String::from));
            args.extend([pictures, "-map".into(), "0:v".into()]);
            if video.audio {
                let tone = format!("sine=frequency=440:sample_rate={AUDIO_RATE}:duration={}", seconds(video));
                args.splice(6..6, ["-f".into(), "lavfi".into(), "-i".into(), tone]);
                args.extend(["-map".into(), "1:a".into()]);
            }
        }
        VideoSource::File { path } => {
            args.extend(["-stream_loop".into(), "-1".into(), "-i".into(), path.to_string_lossy().into_owned()]);
            args.extend(["-map".into(), "0:v:0".into()]);
            if video.audio {
                args.extend(["-map".into(), "0:a:0".into()]);
            }
            // x264 refuses odd sizes of pictures with half as many colours each way.
            let even = (video.codec == Codec::H264).then_some("pad=ceil(iw/2)*2:ceil(ih/2)*2");
            let rate = format!("fps={fps}");
            let filters = [Some(rate.as_str()), Some("format=yuv420p"), even, pace];
            let filters: Vec<&str> = filters.into_iter().flatten().collect();
            args.extend(["-vf".into(), filters.join(","), "-t".into(), seconds(video)]);
        }
    }
    args
}

/// The test pictures as a graph of filters, whoever shows or encodes them, at the pace of real time.
pub(super) fn pictures(pattern: &str, (width, height): (u32, u32), video: &Video) -> String {
    let pictures = format!("{pattern}=size={width}x{height}:rate={},format=yuv420p,{}", video.fps, pace(video));
    // Behind the pace: the time is that at which a picture is let out.
    match video.clock.then(|| picture::filters(width, height, video.fps)).flatten() {
        Some(clock) => format!("{pictures},{clock}"),
        None => pictures,
    }
}

/// The filter that lets pictures out at the pace of real time. ffmpeg takes the first one before it publishes and holds it until it may: all that would have
/// been due meanwhile would come at once, unless so much lateness made the filter begin anew.
fn pace(video: &Video) -> String {
    let two_pictures = 2.0 / f64::from(video.fps.max(1));
    format!("realtime=limit={:.3}", two_pictures.max(LATENESS.as_secs_f64()))
}

fn encoding(video: &Video) -> Vec<String> {
    let Video { bitrate, keyframe_interval, fps, .. } = video;
    let codec: &[&str] = match video.codec {
        Codec::Flv1 => &["-c:v", "flv1"],
        Codec::H264 => &["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-sc_threshold", "0"],
    };
    let mut args: Vec<String> = codec.iter().map(|arg| (*arg).to_owned()).collect();
    let rate = bitrate.to_string();
    let buffer = rate_control_buffer(*bitrate, *fps).to_string();
    for (flag, value) in [("-b:v", &rate), ("-maxrate", &rate), ("-bufsize", &buffer)] {
        args.extend([flag.to_owned(), value.clone()]);
    }
    args.extend(["-g".into(), keyframe_interval.to_string(), "-bf".into(), "0".into()]);
    args.extend(["-flags:v".into(), "+global_header".into()]);
    if video.audio {
        args.extend(["-c:a".into(), "aac".into(), "-b:a".into(), AUDIO_BITRATE.to_string()]);
        args.extend(["-ar".into(), AUDIO_RATE.to_string(), "-flags:a".into(), "+global_header".into()]);
    }
    args
}

/// Size of the encoder's rate-control buffer, in bits.
pub(super) fn rate_control_buffer(bitrate: u64, fps: u32) -> u64 {
    (bitrate / BUFFERS_PER_SECOND).max(bitrate.div_ceil(u64::from(fps.max(1))))
}

/// Length of the clip.
fn seconds(video: &Video) -> String {
    format!("{:.3}", super::length(video).as_secs_f64())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const CDN: SocketAddrV4 = SocketAddrV4::new(std::net::Ipv4Addr::new(10, 0, 0, 2), 1935);

    fn video(codec: Codec, audio: bool) -> Video {
        Video {
            source: VideoSource::Generated { pattern: "testsrc2".into(), width: 640, height: 360 },
            fps: 30,
            frames: 600,
            codec,
            bitrate: 2_500_000,
            keyframe_interval: 30,
            audio,
            clock: false,
        }
    }

    #[test]
    fn the_encoder_of_the_original_experiment() {
        let command = encoder(&video(Codec::Flv1, false), "hb", CDN);
        let expected = "ffmpeg -hide_banner -nostdin -nostats -loglevel info \
             -f lavfi -fpsprobesize 0 -i testsrc2=size=640x360:rate=30,format=yuv420p,realtime=limit=0.100 -map 0:v -frames:v 600 \
             -c:v flv1 -b:v 2500000 -maxrate 2500000 -bufsize 625000 -g 30 -bf 0 -flags:v +global_header \
             -f flv -flvflags no_duration_filesize -flush_packets 1 -tcp_nodelay 1 -rtmp_tcurl rtmp://10.0.0.2:1935/live \
             rtmp://127.0.0.1:1935/live/hb";
        assert_eq!(command.to_string(), expected);
    }

    /// The outlying values that recipes may have, with the real encoder: whatever `livectl check` accepts can be encoded.
    #[test]
    fn every_rate_a_recipe_may_ask_for_can_be_encoded() {
        for codec in [Codec::Flv1, Codec::H264] {
            for (width, fps, bitrate) in
                [(64, 1, 100_000), (640, 3, 2_500_000), (16, 30, 100_000_000), (16, 120, 10_000)]
            {
                let source = VideoSource::Generated { pattern: "testsrc2".into(), width, height: width };
                let video = Video { source, fps, frames: 3, bitrate, keyframe_interval: 3, ..video(codec, false) };
                let picture = format!("testsrc2=size={width}x{width}:rate={fps},format=yuv420p");
                let mut ffmpeg = std::process::Command::new("ffmpeg");
                ffmpeg.args(["-v", "error", "-nostdin", "-f", "lavfi", "-i", &picture, "-frames:v", "3"]);
                let output = ffmpeg.args(encoding(&video)).args(["-f", "flv", "-y", "/dev/null"]).output().unwrap();
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{codec:?} {width} {fps} {bitrate}: {said}");
            }
        }
    }

    #[test]
    fn few_pictures_a_second_come_one_after_the_other() {
        use std::io::Read;
        let source = VideoSource::Generated { pattern: "testsrc2".into(), width: 64, height: 64 };
        let video = Video { source, fps: 2, frames: 4, keyframe_interval: 2, ..video(Codec::Flv1, false) };
        let mut ffmpeg = std::process::Command::new("ffmpeg");
        ffmpeg
            .args(["-v", "error", "-nostdin"])
            .args(input(&video, Some(&pace(&video))))
            .args(["-frames:v", "4"])
            .args(encoding(&video));
        let mut ffmpeg = ffmpeg
            .args(["-flush_packets", "1", "-f", "flv", "pipe:1"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut pictures = ffmpeg.stdout.take().unwrap();
        pictures.read_exact(&mut [0]).unwrap();
        let begun = std::time::Instant::now();
        pictures.read_to_end(&mut Vec::new()).unwrap();
        assert!(ffmpeg.wait().unwrap().success());
        // Three intervals of half a second, less what the first picture may have been late.
        assert!(begun.elapsed() > Duration::from_secs(1), "{:?}", begun.elapsed());
    }

    #[test]
    fn sound_is_a_second_input_that_ends_with_the_pictures() {
        let text = encoder(&video(Codec::H264, true), "hb", CDN).to_string();
        let sources = "-f lavfi -fpsprobesize 0 -i testsrc2=size=640x360:rate=30,format=yuv420p,realtime=limit=0.100 \
             -f lavfi -i sine=frequency=440:sample_rate=44100:duration=20.000 -map 0:v -map 1:a -frames:v 600";
        assert!(text.contains(sources), "{text}");
        assert!(text.contains("-c:a aac -b:a 96000 -ar 44100"), "{text}");
    }

    #[test]
    fn a_file_is_looped_and_brought_to_the_frame_rate() {
        let mut video = video(Codec::H264, false);
        video.source = VideoSource::File { path: "/a clip.mp4".into() };
        let text = encoder(&video, "hb", CDN).to_string();
        let input = "-stream_loop -1 -i '/a clip.mp4' -map 0:v:0 -vf 'fps=30,format=yuv420p,pad=ceil(iw/2)*2:ceil(ih/2)*2,realtime=limit=0.100' \
             -t 20.000 -frames:v 600";
        assert!(text.contains(input), "{text}");
        video.codec = Codec::Flv1;
        assert!(encoder(&video, "hb", CDN).to_string().contains("format=yuv420p,realtime"), "any size will do");
    }
}

//! A broadcaster: ffmpeg, and the agent that reads its stream.
//!
//! Found by trying (ffmpeg 5.1):
//! - `-re` lets frames out in steps of 10 ms (late by 5 ms in the median), and from ffmpeg 6.1 on begins with a burst of half a second.
//!   The `realtime` filter is late by 0.6 ms in the median and 1.2 ms at the 95th percentile, whether the CDN is reachable,
//!   congested or absent.
//! - Below 5 and above 100 frames per second ffmpeg looks at up to 20 pictures before it begins, to find out how many there are in a
//!   second, and lets them out all at once: at 1 fps, five seconds of video in one moment. `-fpsprobesize 0` keeps it from that.
//! - `tee` with `use_fifo=1` gives each destination a thread and a queue. The queue's default of 60 packets blocks the encoder when
//!   the CDN's link is congested; with room for the whole clip nothing does.
//! - Two such threads take turns: on two busy cores a frame's first packet was on the wire up to 6 ms before the same frame was in the pipe, where
//!   it is born. Without a thread, and named first, the pipe has each frame before the CDN's queue has it.
//! - But not with sound: there a destination without a thread gets each picture one picture late (33 ms at 30 fps), because `tee` lets
//!   pictures wait for the sound that follows. So with sound the pipe has a thread, too.
//! - When a leg fails, at its start or later, ffmpeg goes on for the other and **ends with status 0**; only its log
//!   tells: `Slave muxer #1 failed` is the one to the CDN. Hence the alarm.
//! - Tags on the pipe and RTMP messages carry the same payloads, byte for byte. `tee` does not ask encoders for global headers, without
//!   which the AVC sequence header would be empty: `-flags:v +global_header` does.
//! - RTMP takes about six round trips from connection to the first frame. Without `tcp_nodelay` the end of a frame waits for the
//!   next frame as long as anything is unacknowledged.
//! - flv1 of `testsrc2` with `-maxrate` and a buffer of a quarter of a second stays within 1 % of the asked bitrate
//!   on average and 10 % over any second; keyframes are 1.5 times as large as other frames on average (three times, with a
//!   buffer of half a second). `-minrate` adds nothing to that, but ends the encoder with `stuffing too large` when pictures are
//!   to have more bytes than its packet, which begins with 10,000 and 64 for each macroblock: 2.5 Mbit/s at 640x360 and 4 fps.
//! - A buffer smaller than a picture's share of the bitrate ends it too: `VBV buffer too small for bitrate`.
//! - ffmpeg ends when the CDN has been sent everything, with status 0, and closes the pipe only then, in whichever order its
//!   destinations stand. So the agent is told how many frames there will be.

use std::path::Path;
use std::time::Duration;

use super::Folders;
use super::process::{Actor, Command, Input, Output, Readiness, Stop};
use crate::plan::{AUDIO_BITRATE, Codec, RTMP_APP, RTMP_PORT, Stream, Trial, Video, VideoSource};

/// Samples of sound per second.
const AUDIO_RATE: u32 = 44_100;
/// The rate control buffer is what the bitrate fills in this part of a second, or in that of one picture if it is longer: frames
/// of even size, as for any low-latency stream.
const BUFFERS_PER_SECOND: u64 = 4;

/// The encoder and the agent of a stream's broadcaster, to be started in the order agent, encoder, with a
/// [`pipe`](super::process::pipe) from the encoder to the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broadcaster {
    /// ffmpeg.
    pub encoder: Actor,
    /// `livectl agent broadcaster`.
    pub agent: Actor,
}

/// The actors of that stream's broadcaster. `None` when the plan gives it no way to the CDN.
#[must_use]
pub fn broadcaster(trial: &Trial, stream: &Stream, folders: &Folders) -> Option<Broadcaster> {
    let host = &stream.broadcaster;
    let cdn_host = &trial.network.cdn()?.name;
    let cdn = trial.network.address_from(host, cdn_host)?;
    let key = format!("{RTMP_APP}/{}", stream.name);
    let births = folders.trial.join("births");
    let mut args = vec!["agent".into(), "broadcaster".into(), "--stream".into(), key.clone()];
    args.extend(["--cdn".into(), cdn.to_string()]);
    args.extend(["--births".into(), births.join(format!("{host}.csv")).to_string_lossy().into_owned()]);
    // The first link of its way to the CDN is the one that the CDN's copy and the peers' copies share.
    let uplink = trial.network.path(host, cdn_host).and_then(|path| path.first().and_then(|shape| shape.bandwidth));
    if let Some(uplink) = uplink {
        args.extend(["--uplink".into(), uplink.to_string()]);
    }
    args.extend(["--frames".into(), trial.video.frames.to_string()]);
    args.extend(["--drain".into(), trial.timeline.drain.as_secs().max(1).to_string()]);
    let agent = Actor {
        name: "agent".into(),
        station: host.as_str().into(),
        command: Command::new(folders.livectl.to_string_lossy(), args),
        folders: vec![births],
        files: Vec::new(),
        input: Input::Pipe,
        output: Output::Lines,
        log: folders.log(host, "agent"),
        ready: Readiness::Event("ready".into()),
        ready_within: Duration::from_secs(10),
        alarms: Vec::new(),
        stop: Stop::default(),
    };
    let url = format!("rtmp://{cdn}:{RTMP_PORT}/{key}");
    let encoder = Actor {
        name: "encoder".into(),
        station: host.as_str().into(),
        command: encoder(&trial.video, &url),
        folders: Vec::new(),
        files: Vec::new(),
        input: Input::Null,
        output: Output::Pipe,
        log: folders.log(host, "encoder"),
        ready: Readiness::LogLine("Output #0".into()),
        ready_within: Duration::from_secs(20),
        alarms: vec!["Slave muxer #".into()],
        stop: Stop::default(),
    };
    Some(Broadcaster { encoder, agent })
}

/// ffmpeg, encoding once and sending the same packets to the CDN at `url` and, as FLV, to standard output.
#[must_use]
pub fn encoder(video: &Video, url: &str) -> Command {
    let mut args: Vec<String> =
        ["-hide_banner", "-nostdin", "-nostats", "-loglevel", "info"].map(str::to_owned).into();
    args.extend(input(video));
    args.extend(["-frames:v".into(), video.frames.to_string()]);
    args.extend(encoding(video));
    // A thread of its own with a queue. Every packet of the clip, and what sound has beside it, fits the queue.
    let queue = u64::from(video.frames) * 4 + 1000;
    let thread = format!("use_fifo=1:fifo_options=queue_size={queue}");
    let leg = "f=flv:flvflags=no_duration_filesize:flush_packets=1";
    let pipe = if video.audio { format!("[{leg}:{thread}]pipe:1") } else { format!("[{leg}]pipe:1") };
    args.extend(["-f".into(), "tee".into(), format!("{pipe}|[{leg}:{thread}:tcp_nodelay=1]{url}")]);
    Command::new("ffmpeg", args)
}

/// Where pictures and sound come from, at the pace of real time.
fn input(video: &Video) -> Vec<String> {
    let fps = video.fps;
    let mut args: Vec<String> = Vec::new();
    match &video.source {
        VideoSource::Generated { pattern, width, height } => {
            let pictures = format!("{pattern}=size={width}x{height}:rate={fps},format=yuv420p,realtime");
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
            args.extend(["-vf".into(), format!("fps={fps},format=yuv420p,realtime"), "-t".into(), seconds(video)]);
        }
    }
    args
}

fn encoding(video: &Video) -> Vec<String> {
    let Video { bitrate, keyframe_interval, fps, .. } = video;
    let codec: &[&str] = match video.codec {
        Codec::Flv1 => &["-c:v", "flv1"],
        Codec::H264 => &["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-sc_threshold", "0"],
    };
    let mut args: Vec<String> = codec.iter().map(|arg| (*arg).to_owned()).collect();
    let rate = bitrate.to_string();
    let buffer = (bitrate / BUFFERS_PER_SECOND).max(bitrate.div_ceil(u64::from((*fps).max(1)))).to_string();
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

/// Length of the clip.
fn seconds(video: &Video) -> String {
    format!("{:.3}", f64::from(video.frames) / f64::from(video.fps))
}

/// Whether an ffmpeg source of that file exists. A plan does not look at the machine; a run does before it starts.
#[must_use]
pub fn missing_source(video: &Video) -> Option<&Path> {
    match &video.source {
        VideoSource::File { path } if !path.is_file() => Some(path),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn video(codec: Codec, audio: bool) -> Video {
        Video {
            source: VideoSource::Generated { pattern: "testsrc2".into(), width: 640, height: 360 },
            fps: 30,
            frames: 600,
            codec,
            bitrate: 2_500_000,
            keyframe_interval: 30,
            audio,
        }
    }

    #[test]
    fn the_encoder_of_the_original_experiment() {
        let command = encoder(&video(Codec::Flv1, false), "rtmp://10.0.0.2:1935/live/hb");
        let leg = "f=flv:flvflags=no_duration_filesize:flush_packets=1";
        let expected = format!(
            "ffmpeg -hide_banner -nostdin -nostats -loglevel info \
             -f lavfi -fpsprobesize 0 -i testsrc2=size=640x360:rate=30,format=yuv420p,realtime -map 0:v -frames:v 600 \
             -c:v flv1 -b:v 2500000 -maxrate 2500000 -bufsize 625000 -g 30 -bf 0 -flags:v +global_header \
             -f tee '[{leg}]pipe:1|[{leg}:use_fifo=1:fifo_options=queue_size=3400:tcp_nodelay=1]rtmp://10.0.0.2:1935/live/hb'"
        );
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
        ffmpeg.args(["-v", "error", "-nostdin"]).args(input(&video)).args(["-frames:v", "4"]).args(encoding(&video));
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
        let text = encoder(&video(Codec::H264, true), "rtmp://10.0.0.2:1935/live/hb").to_string();
        let sources = "-f lavfi -fpsprobesize 0 -i testsrc2=size=640x360:rate=30,format=yuv420p,realtime \
             -f lavfi -i sine=frequency=440:sample_rate=44100:duration=20.000 -map 0:v -map 1:a -frames:v 600";
        assert!(text.contains(sources), "{text}");
        assert!(text.contains("-c:a aac -b:a 96000 -ar 44100"), "{text}");
        assert!(text.contains("flush_packets=1:use_fifo=1:fifo_options=queue_size=3400]pipe:1|"), "{text}");
    }

    #[test]
    fn a_file_is_looped_and_brought_to_the_frame_rate() {
        let mut video = video(Codec::H264, false);
        video.source = VideoSource::File { path: "/a clip.mp4".into() };
        let text = encoder(&video, "rtmp://10.0.0.2:1935/live/hb").to_string();
        let input =
            "-stream_loop -1 -i '/a clip.mp4' -map 0:v:0 -vf fps=30,format=yuv420p,realtime -t 20.000 -frames:v 600";
        assert!(text.contains(input), "{text}");
        assert_eq!(missing_source(&video), Some(Path::new("/a clip.mp4")));
    }
}

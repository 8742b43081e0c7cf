//! OBS, really started: on an X server without a monitor, by software rendering.
//!
//! Found by trying (OBS 29.0.2, Xvfb 21.1):
//! - Without a tray `--minimize-to-tray` minimizes nothing: OBS's own window is on the screen, above what is to be captured. So the X server has two screens:
//!   the pictures are shown on the first, where OBS captures them (`xshm_input`, unscaled), and OBS's own window is on the second.
//! - SIGINT closes it as its button does: it ends its stream (`deleteStream`) and exits with status 0 within half a second. With `ConfirmOnExit=false` it does not
//!   ask. `--multi` keeps it from asking about others that run. What its encoder holds at that moment is lost.
//! - Its preview takes as much of a processor as all the rest; it is off.
//! - It takes one to three seconds to start, and its log (on standard output) ends with what it has dropped: see [`crate::trace::ObsTotals`].
//! - It always has a track of sound; without a source of sound that is silence.
//! - ffplay shows a picture when it comes, if it comes at the pace of real time; from a source without a pace it takes three pictures ahead.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::super::process::{Actor, Command, Output, Readiness, Stop};
use super::super::{AGENT, Folders, screen};
use super::{ENCODER, ffmpeg};
use crate::plan::{AUDIO_BITRATE, Program, RTMP_APP, Stream, Video, VideoSource};

/// The number of the first display. Far from those of users' own, whose sockets are elsewhere anyway.
const FIRST_DISPLAY: u32 = 100;
/// Of pictures from a file, whose own size the plan does not know: they are fitted into this.
const SIZE_OF_FILES: (u32, u32) = (640, 360);
/// Of the screen with OBS's own window.
const OWN_SCREEN: &str = "1280x800x24";
/// What profile, scene collection, scene and source are called.
const NAME: &str = "livectl";
/// For OBS to be on the air after its start.
const READY: Duration = Duration::from_secs(20);

/// The screen with the window of OBS in the studio with that number, from 0.
pub(in crate::actor) fn window(number: u32) -> String {
    format!(":{}.1", FIRST_DISPLAY + number)
}

/// OBS of one host, with its X server and its folders.
pub(super) struct Studio<'a> {
    video: &'a Video,
    stream: &'a Stream,
    folders: &'a Folders,
    display: u32,
    /// All that it writes, and what livectl writes for it.
    home: PathBuf,
}

impl<'a> Studio<'a> {
    /// The studio with that number, from 0, in its trial.
    pub(super) fn new(number: u32, video: &'a Video, stream: &'a Stream, folders: &'a Folders) -> Studio<'a> {
        let home = folders.scratch.join(format!("{}-obs", stream.broadcaster));
        Studio { video, stream, folders, display: FIRST_DISPLAY + number, home }
    }

    fn size(&self) -> (u32, u32) {
        match self.video.source {
            VideoSource::Generated { width, height, .. } => (width, height),
            VideoSource::File { .. } => SIZE_OF_FILES,
        }
    }

    fn actor(&self, name: &str, command: Command, ready: Readiness) -> Actor {
        let host = self.stream.broadcaster.as_str();
        Actor {
            name: name.into(),
            station: host.into(),
            command,
            folders: Vec::new(),
            files: Vec::new(),
            output: Output::Log,
            log: self.folders.trial.log(host, name),
            ready,
            ready_within: READY,
            alarms: Vec::new(),
            stop: Stop::default(),
        }
    }

    /// The X server. Its pictures are files, `Xvfb_screen0` and `Xvfb_screen1` (X window dumps).
    pub(super) fn screen(&self) -> Actor {
        let (width, height) = self.size();
        let pictures = self.home.join("screens");
        let first = format!("{width}x{height}x24");
        let mut args = vec![format!(":{}", self.display)];
        args.extend(
            ["-screen", "0", &first, "-screen", "1", OWN_SCREEN, "-nocursor", "-nolisten", "tcp", "-fbdir"]
                .map(String::from),
        );
        args.push(pictures.to_string_lossy().into_owned());
        let ready = Readiness::File(screen::socket(self.display));
        let actor = self.actor("screen", Command::new("Xvfb", args), ready);
        Actor { folders: vec![pictures, screen::SOCKETS.into()], ..actor }
    }

    /// What is shown on the first screen, all over it.
    pub(super) fn picture(&self) -> Actor {
        let mut args: Vec<String> =
            ["-hide_banner", "-nostats", "-loglevel", "warning", "-an", "-noborder", "-left", "0", "-top", "0"]
                .map(String::from)
                .into();
        let (width, height) = self.size();
        match &self.video.source {
            VideoSource::Generated { pattern, width, height } => {
                let pictures = ffmpeg::pictures(pattern, (*width, *height), self.video);
                args.extend(["-f".into(), "lavfi".into(), "-i".into(), pictures]);
            }
            VideoSource::File { path } => {
                let fitted = format!(
                    "fps={},scale={width}:{height}:force_original_aspect_ratio=decrease,pad={width}:{height}:-1:-1",
                    self.video.fps
                );
                args.extend(["-loop".into(), "0".into(), "-vf".into(), fitted, "-i".into()]);
                args.push(path.to_string_lossy().into_owned());
            }
        }
        let command = Command::new("ffplay", args)
            .env("DISPLAY", format!(":{}.0", self.display))
            .env("HOME", self.home.to_string_lossy())
            .env("SDL_VIDEODRIVER", "x11")
            .env("SDL_RENDER_DRIVER", "software");
        // It says nothing of itself but how the time passes.
        self.actor("picture", command, Readiness::Started)
    }

    /// OBS itself.
    pub(super) fn encoder(&self) -> Actor {
        let args = [
            "--startstreaming",
            "--multi",
            "--minimize-to-tray",
            "--disable-missing-files-check",
            "--disable-updater",
        ];
        let named = ["--profile", NAME, "--collection", NAME, "--scene", NAME];
        let folder = |name: &str| self.home.join(name);
        let command = Command::new("obs", args.into_iter().chain(named))
            .env("DISPLAY", format!(":{}.1", self.display))
            .env("HOME", self.home.to_string_lossy())
            .env("XDG_CONFIG_HOME", folder("config").to_string_lossy())
            .env("XDG_CACHE_HOME", folder("cache").to_string_lossy())
            .env("XDG_RUNTIME_DIR", folder("run").to_string_lossy())
            .env("QT_QPA_PLATFORM", "xcb")
            .env("LIBGL_ALWAYS_SOFTWARE", "1");
        let studio = folder("config").join("obs-studio");
        let profile = studio.join("basic/profiles").join(NAME);
        let scenes = studio.join("basic/scenes");
        let global = global_ini();
        let actor = self.actor(ENCODER, command, Readiness::LogLine("Streaming Start".into()));
        Actor {
            folders: vec![folder("cache"), folder("run"), profile.clone(), scenes.clone()],
            files: vec![
                // From OBS 31 on the user's part of it is in a file of its own.
                (studio.join("user.ini"), global.clone()),
                (studio.join("global.ini"), global),
                (profile.join("basic.ini"), self.basic_ini()),
                (profile.join("streamEncoder.json"), self.stream_encoder().to_string()),
                (profile.join("service.json"), self.service().to_string()),
                (scenes.join(format!("{NAME}.json")), self.scene().to_string()),
            ],
            alarms: vec![format!("Connection to rtmp://{AGENT}/{RTMP_APP} failed")],
            stop: Stop { interrupt: Duration::from_secs(8), terminate: Duration::from_secs(2) },
            ..actor
        }
    }

    /// The profile: what is composed, and that x264 encodes it.
    fn basic_ini(&self) -> String {
        let (width, height) = self.size();
        let fps = self.video.fps;
        let audio = AUDIO_BITRATE / 1000;
        format!(
            "[General]\nName={NAME}\n\n\
             [Video]\nBaseCX={width}\nBaseCY={height}\nOutputCX={width}\nOutputCY={height}\nFPSType=1\nFPSInt={fps}\nFPSCommon={fps}\n\n\
             [Output]\nMode=Advanced\nReconnect=false\n\n\
             [AdvOut]\nEncoder=obs_x264\nTrack1Bitrate={audio}\nTrackIndex=1\n"
        )
    }

    /// x264's settings. OBS fills in its own where there are none.
    fn stream_encoder(&self) -> serde_json::Value {
        let Video { bitrate, keyframe_interval, fps, .. } = self.video;
        let kbit = (bitrate / 1000).max(1);
        if self.stream.program == Program::ObsDefaults {
            return json!({ "rate_control": "CBR", "bitrate": kbit });
        }
        let buffer = (ffmpeg::rate_control_buffer(*bitrate, *fps) / 1000).max(1);
        // Whole seconds are all that OBS itself has for keyframes; x264's own option comes after that.
        let options = format!("bframes=0 rc-lookahead=0 sync-lookahead=0 scenecut=0 keyint={keyframe_interval}");
        json!({
            "rate_control": "CBR",
            "bitrate": kbit,
            "use_bufsize": true,
            "buffer_size": buffer,
            "keyint_sec": keyframe_interval.div_ceil((*fps).max(1)),
            "preset": "veryfast",
            "tune": "zerolatency",
            "x264opts": options,
        })
    }

    fn service(&self) -> serde_json::Value {
        let server = format!("rtmp://{AGENT}/{RTMP_APP}");
        json!({ "type": "rtmp_custom", "settings": { "server": server, "key": self.stream.name, "use_auth": false } })
    }

    /// A scene of one source, the first screen.
    fn scene(&self) -> serde_json::Value {
        let server = format!(":{}.0", self.display);
        let source = json!({
            "id": "xshm_input", "versioned_id": "xshm_input", "name": "screen", "mixers": 0,
            "settings": { "advanced": true, "server": server, "screen": 0, "show_cursor": false },
        });
        let item = json!({
            "name": "screen", "id": 1, "visible": true, "align": 5, "rot": 0.0, "bounds_type": 0,
            "pos": { "x": 0.0, "y": 0.0 }, "scale": { "x": 1.0, "y": 1.0 },
            "crop_left": 0, "crop_top": 0, "crop_right": 0, "crop_bottom": 0,
        });
        let scene = json!({
            "id": "scene", "versioned_id": "scene", "name": NAME,
            "settings": { "custom_size": false, "id_counter": 1, "items": [item] },
        });
        json!({
            "name": NAME, "current_scene": NAME, "current_program_scene": NAME,
            "scene_order": [{ "name": NAME }], "sources": [source, scene],
        })
    }
}

/// What OBS would ask, look for or show.
fn global_ini() -> String {
    format!(
        "[General]\nFirstRun=true\nEnableAutoUpdates=false\nConfirmOnExit=false\n\n\
         [Basic]\nProfile={NAME}\nProfileDir={NAME}\nSceneCollection={NAME}\nSceneCollectionFile={NAME}\nConfigOnNewProfile=false\n\n\
         [BasicWindow]\nPreviewEnabled=false\nSysTrayEnabled=false\nWarnBeforeStoppingStream=false\n\n\
         [OBSWebSocket]\nFirstLoad=false\nServerEnabled=false\n"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::plan::Codec;
    use crate::store::TrialDir;

    fn video() -> Video {
        Video {
            source: VideoSource::Generated { pattern: "testsrc2".into(), width: 640, height: 360 },
            fps: 30,
            frames: 300,
            codec: Codec::H264,
            bitrate: 2_500_000,
            keyframe_interval: 45,
            audio: false,
            clock: false,
        }
    }

    fn actors(video: &Video, program: Program) -> [Actor; 3] {
        let stream = Stream { name: "hb".into(), broadcaster: "hb".into(), viewers: Vec::new(), program };
        let folders = Folders {
            trial: TrialDir::at(std::path::Path::new("/run/trial")),
            scratch: "/tmp/scratch".into(),
            livectl: "livectl".into(),
            agent: "live-agent".into(),
        };
        let studio = Studio::new(1, video, &stream, &folders);
        [studio.screen(), studio.picture(), studio.encoder()]
    }

    fn file<'a>(actor: &'a Actor, name: &str) -> &'a str {
        &actor.files.iter().find(|(path, _)| path.ends_with(name)).unwrap().1
    }

    #[test]
    fn nothing_of_a_users_own_configuration_is_read_or_written() {
        for actor in actors(&video(), Program::Obs) {
            let ours = |path: &std::path::Path| path.starts_with("/tmp/scratch/hb-obs");
            assert!(actor.files.iter().all(|(path, _)| ours(path)), "{:?}", actor.files);
            // In the sandbox's own /tmp.
            let sockets = |path: &std::path::Path| path == std::path::Path::new(screen::SOCKETS);
            assert!(actor.folders.iter().all(|path| ours(path) || sockets(path)), "{:?}", actor.folders);
            for name in ["HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"] {
                let value = actor.command.env.iter().find(|(given, _)| given == name);
                let needed = name == "HOME" || actor.name == ENCODER;
                assert!(value.map_or(!needed || actor.name == "screen", |(_, path)| ours(path.as_ref())), "{name}");
            }
        }
    }

    #[test]
    fn what_is_shown_on_the_first_screen_is_captured_there_and_the_window_is_on_the_second() {
        let [screen, picture, encoder] = actors(&video(), Program::Obs);
        assert_eq!(
            screen.command.to_string(),
            "Xvfb :101 -screen 0 640x360x24 -screen 1 1280x800x24 -nocursor -nolisten tcp -fbdir /tmp/scratch/hb-obs/screens"
        );
        let display = |actor: &Actor| actor.command.env.iter().find(|(name, _)| name == "DISPLAY").unwrap().1.clone();
        assert_eq!((display(&picture), display(&encoder)), (":101.0".into(), ":101.1".into()));
        let scene: serde_json::Value = serde_json::from_str(file(&encoder, "livectl.json")).unwrap();
        assert_eq!(scene["sources"][0]["settings"]["server"], ":101.0");
        assert!(picture.command.args.ends_with(&[
            "-f".into(),
            "lavfi".into(),
            "-i".into(),
            "testsrc2=size=640x360:rate=30,format=yuv420p,realtime=limit=0.100".into()
        ]));
        let looped = Video { source: VideoSource::File { path: "/a clip.mp4".into() }, ..video() };
        let [screen, picture, encoder] = actors(&looped, Program::Obs);
        assert!(
            screen.command.args.contains(&"640x360x24".to_owned())
                && file(&encoder, "basic.ini").contains("BaseCX=640")
        );
        let fitted = "fps=30,scale=640:360:force_original_aspect_ratio=decrease,pad=640:360:-1:-1";
        assert!(picture.command.args.ends_with(&["-vf".into(), fitted.into(), "-i".into(), "/a clip.mp4".into()]));
    }

    #[test]
    fn the_profile_is_the_recipes_video_without_look_ahead_or_obs_own() {
        let [_, _, encoder] = actors(&video(), Program::Obs);
        let basic = file(&encoder, "basic.ini");
        for line in
            ["OutputCX=640", "OutputCY=360", "FPSInt=30", "Mode=Advanced", "Encoder=obs_x264", "Reconnect=false"]
        {
            assert!(basic.lines().any(|has| has == line), "{line} is not in\n{basic}");
        }
        let settings: serde_json::Value = serde_json::from_str(file(&encoder, "streamEncoder.json")).unwrap();
        assert_eq!(
            (&settings["bitrate"], &settings["buffer_size"], &settings["keyint_sec"]),
            (&2500.into(), &625.into(), &2.into())
        );
        assert_eq!(settings["tune"], "zerolatency");
        assert_eq!(settings["x264opts"], "bframes=0 rc-lookahead=0 sync-lookahead=0 scenecut=0 keyint=45");
        let service: serde_json::Value = serde_json::from_str(file(&encoder, "service.json")).unwrap();
        assert_eq!(service["settings"]["server"], "rtmp://127.0.0.1:1935/live");
        assert_eq!(service["settings"]["key"], "hb");
        let [_, _, encoder] = actors(&video(), Program::ObsDefaults);
        let own: serde_json::Value = serde_json::from_str(file(&encoder, "streamEncoder.json")).unwrap();
        assert_eq!(own, json!({ "rate_control": "CBR", "bitrate": 2500 }));
    }
}

//! A film of viewers' screens, side by side, and a picture of it.
//!
//! Found by trying (ffmpeg 5.1): taking two screens of 640x360 15 times a second and encoding them side by side as
//! VP8 in its real-time mode takes a quarter of a processor. The film is for people; nothing is measured in it.

use std::path::Path;
use std::time::Duration;

use super::Folders;
use super::process::{Actor, Command, Output, Readiness, Station, Stop};
use super::screen;
use crate::plan::{FILM_BITRATE, Trial};

/// Frame rate, in pictures per second.
const RATE: &str = "15";
/// Where in the stream's time the picture is taken.
const SETTLED: f64 = 0.8;
/// What is left for the film to be written to its end.
const LAST_PICTURE: Duration = Duration::from_millis(500);
/// For the first picture of the film.
const READY: Duration = Duration::from_secs(10);

/// ffmpeg with what all its uses here share.
const QUIET: [&str; 6] = ["-hide_banner", "-nostdin", "-nostats", "-loglevel", "warning", "-y"];

/// What films, from the start of the stream to the trial's end; `None`: nobody is filmed.
#[must_use]
pub fn camera(trial: &Trial, folders: &Folders) -> Option<Actor> {
    let (_, height) = screen::size(trial);
    let mut args: Vec<String> = QUIET.map(String::from).into();
    for viewer in &trial.film {
        let display = screen::display(trial, viewer);
        args.extend(["-f", "x11grab", "-draw_mouse", "0", "-framerate", RATE, "-i"].map(String::from));
        args.push(display);
    }
    // It is whole before the trial ends.
    let length = trial.timeline.end.saturating_sub(trial.timeline.broadcast_at).saturating_sub(LAST_PICTURE);
    args.extend(["-filter_complex".into(), beside_each_other(&trial.film, height), "-map".into(), "[film]".into()]);
    args.extend(["-t".into(), format!("{:.3}", length.as_secs_f64())]);
    args.extend(["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-threads", "1"].map(String::from));
    args.extend(["-b:v".into(), (FILM_BITRATE * trial.film.len() as u64).to_string()]);
    args.push(file(&folders.trial.film()));
    (!trial.film.is_empty()).then(|| actor("camera", args, folders))
}

/// What takes a picture out of the film, when the stream has been on for most of its time and all have settled;
/// `None` if there is none.
#[must_use]
pub fn photographer(trial: &Trial, folders: &Folders) -> Option<Actor> {
    let length = f64::from(trial.video.frames) / f64::from(trial.video.fps.max(1));
    let mut args: Vec<String> = QUIET.map(String::from).into();
    args.extend(["-ss".into(), format!("{:.3}", length * SETTLED), "-i".into(), file(&folders.trial.film())]);
    args.extend(["-frames:v".into(), "1".into(), file(&folders.trial.still())]);
    (!trial.film.is_empty()).then(|| actor("photographer", args, folders))
}

fn file(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The screens in a row, each with its viewer's name below.
fn beside_each_other(viewers: &[String], height: u32) -> String {
    let size = (height / 14).max(12);
    let band = size * 2;
    let named = viewers.iter().enumerate().map(|(n, viewer)| {
        format!(
            "[{n}:v]pad=iw:ih+{band}:0:0:black,drawtext=font=monospace:text={viewer}:fontsize={size}:fontcolor=white:\
             x=(w-tw)/2:y=h-{band}+({band}-th)/2[s{n}]"
        )
    });
    let named: Vec<String> = named.collect();
    let joined: String = (0..viewers.len()).map(|n| format!("[s{n}]")).collect();
    match viewers.len() {
        1 => format!("{};[s0]null[film]", named.join(";")),
        screens => format!("{};{joined}hstack=inputs={screens}[film]", named.join(";")),
    }
}

fn actor(name: &str, args: Vec<String>, folders: &Folders) -> Actor {
    Actor {
        name: name.into(),
        // All screens can be reached from there.
        station: Station::Machine,
        command: Command::new("ffmpeg", args),
        folders: Vec::new(),
        files: Vec::new(),
        output: Output::Log,
        log: folders.trial.log("-", name),
        ready: Readiness::Started,
        ready_within: READY,
        alarms: Vec::new(),
        stop: Stop::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn screens_stand_in_a_row() {
        let graph = beside_each_other(&["hc".into(), "hp".into()], 360);
        assert!(
            graph.starts_with("[0:v]pad=iw:ih+50:0:0:black,drawtext=font=monospace:text=hc:fontsize=25:"),
            "{graph}"
        );
        assert!(graph.ends_with("[s1];[s0][s1]hstack=inputs=2[film]"), "{graph}");
        assert!(beside_each_other(&["hv".into()], 180).ends_with("[s0];[s0]null[film]"));
    }
}

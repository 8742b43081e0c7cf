//! What was seen on viewers' screens, frame by frame: the files of [`clock::log`](crate::clock::log), joined.

use std::collections::{BTreeMap, HashMap};
use std::io::BufReader;
use std::path::Path;

use super::births::Births;
use crate::clock::log::{Looks, ScreenLog, Showing, StreamLog};
use crate::file;
use crate::plan::{Stream, Trial};
use crate::store::TrialDir;

/// A frame on a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// When it was seen first, and the look before: nanoseconds of CLOCK_REALTIME.
    pub first: Showing,
    /// For how long it was there, in nanoseconds, from when it was seen first to when something else was; the last
    /// one to when it was seen last.
    pub for_ns: i64,
    /// How often it appeared.
    pub times: u32,
}

/// What was seen on a viewer's screen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Screen {
    /// The frames that were on it, by index.
    pub frames: BTreeMap<u64, Shown>,
    /// How it was looked at.
    pub looks: Looks,
    /// Pictures whose clock is no frame's of the stream.
    pub strange: u64,
}

/// The clock of a stream, and the screens on which it was shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamScreens {
    /// When each frame's picture was taken, by index: nanoseconds of CLOCK_REALTIME. `None`: it cannot be read, or a
    /// frame before has the same picture.
    pub clock_ns: Vec<Option<i64>>,
    /// By viewer: those that can be read.
    pub screens: BTreeMap<String, Screen>,
}

/// Reads a stream's; `None`: its pictures carry no clock, or which frame carries which is not known. What is missing
/// or cannot be read is named in `problems`.
pub(super) fn read_screens(
    dir: &Path,
    trial: &Trial,
    stream: &Stream,
    births: Option<&Births>,
    problems: &mut Vec<String>,
) -> Option<StreamScreens> {
    if !trial.video.clock {
        return None;
    }
    let files = TrialDir::at(dir);
    let path = files.clock(&stream.broadcaster);
    let name = named(dir, &path);
    let mut tell = |problem: String| problems.push(format!("{problem}; shown delays are not known"));
    let log = match file::open(&path).and_then(|file| StreamLog::read(BufReader::new(file))) {
        Ok(StreamLog { clock_ns, problem: None }) => clock_ns,
        Ok(StreamLog { problem: Some(problem), .. }) => {
            tell(format!("{name}: {problem}"));
            return None;
        }
        Err(error) => {
            tell(format!("{name}: {error}"));
            return None;
        }
    };
    let born = births.map_or(0, |births| births.frames.len());
    if log.len() != born {
        tell(format!("{name}: it has {} frames, of {born} that were born", log.len()));
        return None;
    }
    let unread = log.iter().filter(|clock_ns| clock_ns.is_none()).count();
    if unread > 0 {
        problems.push(format!("{name}: the clock of {unread} of {born} frames cannot be read"));
    }
    let (log, index) = each_once(log);
    let mut screens = BTreeMap::new();
    for viewer in &stream.viewers {
        if !trial.network.host(viewer).is_some_and(|host| host.player.shows()) {
            continue;
        }
        let path = files.screen(viewer);
        let name = named(dir, &path);
        let read = file::open(&path).and_then(|file| ScreenLog::read(BufReader::new(file)));
        match read {
            Ok(ScreenLog { shown, looks: Some(looks), problem: None }) => {
                let screen = Screen::of(&shown, looks, &index);
                if screen.strange > 0 {
                    problems.push(format!("{name}: {} pictures are not frames of {}", screen.strange, stream.name));
                }
                screens.insert(viewer.clone(), screen);
            }
            Ok(ScreenLog { problem, .. }) => problems.push(format!("{name}: {}", problem.unwrap_or_default())),
            Err(error) => problems.push(format!("{name}: {error}")),
        }
    }
    Some(StreamScreens { clock_ns: log, screens })
}

/// The frame of each clock, and the clocks without those that stand in a frame before: a program that takes its
/// pictures off a screen, as OBS does, takes some twice. Which of the two is seen cannot be told; the one that was
/// born first had come by then.
fn each_once(log: Vec<Option<i64>>) -> (Vec<Option<i64>>, HashMap<i64, u64>) {
    let mut index = HashMap::new();
    let mut first = |(frame, clock_ns): (u64, Option<i64>)| {
        clock_ns.filter(|clock_ns| *index.entry(*clock_ns).or_insert(frame) == frame)
    };
    let log = (0..).zip(log).map(&mut first).collect();
    (log, index)
}

fn named(dir: &Path, path: &Path) -> String {
    path.strip_prefix(dir).unwrap_or(path).display().to_string()
}

impl Screen {
    fn of(shown: &[Showing], looks: Looks, index: &HashMap<i64, u64>) -> Screen {
        let mut screen = Screen { looks, ..Screen::default() };
        for (showing, next) in shown.iter().zip(shown.iter().skip(1).map(Some).chain([None])) {
            let Some(frame) = index.get(&showing.clock_ns) else {
                screen.strange += 1;
                continue;
            };
            let until_ns = next.map_or(showing.last_ns, |next| next.first_ns);
            let entry = screen.frames.entry(*frame).or_insert(Shown { first: *showing, for_ns: 0, times: 0 });
            entry.for_ns += until_ns - showing.first_ns;
            entry.times += 1;
        }
        screen
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn of_frames_with_the_same_picture_the_first_is_seen() {
        let (log, index) = each_once(vec![Some(10), Some(20), Some(20), None, Some(30)]);
        assert_eq!(log, [Some(10), Some(20), None, None, Some(30)]);
        assert_eq!(index, HashMap::from([(10, 0), (20, 1), (30, 4)]));
    }

    #[test]
    fn a_frame_that_comes_again_is_one() {
        let showing = |clock_ns, first_ns, last_ns| Showing { clock_ns, before_ns: first_ns - 1, first_ns, last_ns };
        let shown = [
            showing(10, 100, 129),
            showing(20, 130, 139),
            showing(10, 140, 149),
            showing(99, 150, 159),
            showing(30, 160, 190),
        ];
        let index = HashMap::from([(10, 0), (20, 1), (30, 2)]);
        let screen = Screen::of(&shown, Looks::default(), &index);
        let expected = [(0, 40, 2), (1, 10, 1), (2, 30, 1)];
        let frames: Vec<_> = screen.frames.iter().map(|(index, shown)| (*index, shown.for_ns, shown.times)).collect();
        assert_eq!(frames, expected);
        assert_eq!(screen.frames[&0].first, shown[0]);
        assert_eq!(screen.strange, 1);
    }
}

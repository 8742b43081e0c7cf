//! Reads the clock where it is shown. A virtual screen (Xvfb) keeps its pixels in a file (`-fbdir`), as an X window
//! dump (X11/XWDFile.h): a header of 32-bit numbers, most significant byte first, a name, a table of colours, then
//! the pixels, row after row. Reading a row of it asks nobody, least of all the player.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::log::{Looks, ScreenLog, Showing};
use super::{Layout, Tick};
use crate::realtime;

/// Between two looks.
pub const INTERVAL: Duration = Duration::from_micros(500);
/// For the screen's file to be there.
const PATIENCE: Duration = Duration::from_secs(10);
/// Numbers of an X window dump's header.
const NUMBERS: usize = 25;
/// Its version.
const VERSION: u32 = 7;
/// Bytes of a colour in the table.
const COLOUR: u64 = 12;

/// What `livectl internal screen` is told.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct ScreenArgs {
    /// The file with the screen's pixels
    #[arg(long)]
    pub pixels: PathBuf,
    /// Where what is seen goes
    #[arg(long)]
    pub log: PathBuf,
}

/// Why a screen cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ScreenError {
    /// The file with the screen's pixels cannot be read, or the log cannot be written.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// The failed operation: `read`, `write`, ….
        doing: &'static str,
        /// Path of the file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot be read as a screen.
    #[error("{} cannot be read as a screen: {why}", path.display())]
    Strange {
        /// Path of the file.
        path: PathBuf,
        /// The reason, in words.
        why: String,
    },
}

/// Where the pixels of a screen are in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pixels {
    /// Bytes before the first.
    offset: u64,
    /// Bytes of a row.
    stride: u32,
    width: u32,
    height: u32,
}

impl Pixels {
    /// Reads the header. An error says what is wrong with it.
    fn of(file: &File) -> Result<Pixels, String> {
        let mut bytes = [0; NUMBERS * 4];
        file.read_exact_at(&mut bytes, 0).map_err(|error| error.to_string())?;
        let number =
            |n: usize| bytes.get(n * 4..n * 4 + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes);
        let (version, bits, stride, colours) = (number(1), number(11), number(12), number(19));
        let pixels = Pixels {
            offset: u64::from(number(0)) + u64::from(colours) * COLOUR,
            stride,
            width: number(4),
            height: number(5),
        };
        if version != VERSION {
            return Err(format!("version {version} of the X window dump, not {VERSION}"));
        }
        if bits != 32 || stride < pixels.width.saturating_mul(4) {
            return Err(format!("{bits} bits a pixel, not 32"));
        }
        Ok(pixels)
    }
}

/// What is on the screen, as it is seen.
#[derive(Debug, Default)]
struct Eye {
    looks: Looks,
    /// When it looked last.
    looked_ns: Option<i64>,
    /// The last look at which it was certain what was there.
    certain_ns: Option<i64>,
    showing: Option<(Tick, Showing)>,
}

impl Eye {
    /// Takes what was seen by a look that began and ended then; a picture that has just gone is returned. What was
    /// not seen was not there at the look's beginning, and what was seen was there at its end.
    fn see(&mut self, tick: Option<Tick>, began_ns: i64, now_ns: i64) -> Option<Showing> {
        self.looks.looks += 1;
        let looked_ns = self.looked_ns.replace(began_ns);
        if let Some(looked_ns) = looked_ns {
            self.looks.longest_ns = self.looks.longest_ns.max(now_ns - looked_ns);
        }
        let Some(tick) = tick else {
            // A part of one picture and a part of another, or none: what was there may come back.
            self.looks.without += 1;
            return None;
        };
        let before_ns = self.certain_ns.replace(began_ns).or(looked_ns).unwrap_or(began_ns);
        match &mut self.showing {
            Some((shown, showing)) if *shown == tick => {
                showing.last_ns = now_ns;
                None
            }
            showing => {
                let clock_ns = tick.near(now_ns);
                let next = Showing { clock_ns, before_ns, first_ns: now_ns, last_ns: now_ns };
                showing.replace((tick, next)).map(|(_, gone)| gone)
            }
        }
    }
}

/// Looks at a screen until `stop`, and writes down what it sees. `ready` is called when it can.
///
/// # Errors
/// [`ScreenError`]. A screen that is too narrow for the clock is one.
pub fn watch(args: &ScreenArgs, stop: &AtomicBool, ready: impl FnOnce()) -> Result<(), ScreenError> {
    let ScreenArgs { pixels: path, log } = args;
    let reading = |source| ScreenError::Io { doing: "read", path: path.clone(), source };
    let writing = |source| ScreenError::Io { doing: "write", path: log.clone(), source };
    let (file, pixels) = open(path, stop)?;
    let strange = |why| ScreenError::Strange { path: path.clone(), why };
    let layout =
        Layout::of(pixels.width).ok_or_else(|| strange(format!("{} pixels are too narrow", pixels.width)))?;
    let mut to = BufWriter::new(File::create(log).map_err(writing)?);
    ScreenLog::begin(&mut to).and_then(|()| to.flush()).map_err(writing)?;
    let _ = realtime::prefer_this_thread();
    ready();

    let mut row = vec![0; pixels.stride as usize];
    let at = pixels.offset + u64::from(layout.cell / 2) * u64::from(pixels.stride);
    let (mut eye, mut pictures) = (Eye::default(), 0);
    while !stop.load(Ordering::Relaxed) {
        let began_ns = now_ns();
        file.read_exact_at(&mut row, at).map_err(reading)?;
        // Of blue, green, red and nothing the green: a grey's brightness is in each.
        let tick = layout.read(|x| row.get(x as usize * 4 + 1).copied().unwrap_or(0));
        if let Some(gone) = eye.see(tick, began_ns, now_ns()) {
            pictures += 1;
            ScreenLog::write(&mut to, &gone).map_err(writing)?;
        }
        std::thread::sleep(INTERVAL);
    }
    if let Some((_, last)) = eye.showing {
        pictures += 1;
        ScreenLog::write(&mut to, &last).map_err(writing)?;
    }
    ScreenLog::end(&mut to, pictures, &eye.looks).and_then(|()| to.flush()).map_err(writing)
}

/// Opens the screen's file as soon as it is there and has its header.
fn open(path: &Path, stop: &AtomicBool) -> Result<(File, Pixels), ScreenError> {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let found = File::open(path);
        let why = match &found {
            Ok(file) => match Pixels::of(file) {
                Ok(pixels) => {
                    return Ok((
                        File::open(path).map_err(|source| ScreenError::Io {
                            doing: "read",
                            path: path.into(),
                            source,
                        })?,
                        pixels,
                    ));
                }
                Err(why) => Some(why),
            },
            Err(_) => None,
        };
        if std::time::Instant::now() >= deadline || stop.load(Ordering::Relaxed) {
            return Err(match (found, why) {
                (Err(source), _) => ScreenError::Io { doing: "read", path: path.into(), source },
                (Ok(_), why) => ScreenError::Strange { path: path.into(), why: why.unwrap_or_default() },
            });
        }
        std::thread::sleep(INTERVAL);
    }
}

fn now_ns() -> i64 {
    // The clock is always there.
    clock_gettime(ClockId::CLOCK_REALTIME).map_or(0, |now| now.tv_sec() * 1_000_000_000 + now.tv_nsec())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::clock::TICK_NS;

    #[test]
    fn an_eye_sees_when_a_picture_comes_and_goes() {
        let tick = |n: i64| Some(Tick::at(n * 10 * TICK_NS));
        let mut eye = Eye::default();
        let ms = |n: i64| 1_000_000 * n;
        let see = |eye: &mut Eye, tick, at_ns| eye.see(tick, at_ns, at_ns);
        assert_eq!(see(&mut eye, None, ms(40)), None, "black");
        assert_eq!(see(&mut eye, tick(1), ms(41)), None);
        assert_eq!(see(&mut eye, tick(1), ms(42)), None);
        assert_eq!(see(&mut eye, None, ms(43)), None, "torn");
        assert_eq!(see(&mut eye, tick(1), ms(44)), None, "and there again");
        assert_eq!(see(&mut eye, None, ms(45)), None, "torn");
        let gone = see(&mut eye, tick(2), ms(47)).unwrap();
        assert_eq!(gone, Showing { clock_ns: ms(1), before_ns: ms(40), first_ns: ms(41), last_ns: ms(44) });
        let (_, showing) = eye.showing.unwrap();
        assert_eq!((showing.before_ns, showing.first_ns), (ms(44), ms(47)), "it may have come at any time between");
        assert_eq!(eye.looks, Looks { looks: 7, without: 3, longest_ns: ms(2) });
    }

    /// The header of Xvfb 21.1 for a screen of 640x360 with 24 bits.
    fn dump() -> Vec<u8> {
        let numbers: [u32; NUMBERS] = [
            160, 7, 2, 24, 640, 360, 0, 0, 32, 0, 32, 32, 2560, 4, 0xff_0000, 0xff00, 0xff, 8, 256, 256, 640, 360, 0,
            0, 0,
        ];
        numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
    }

    #[test]
    fn the_header_says_where_the_pixels_are() {
        let file = tempfile::tempfile().unwrap();
        assert!(Pixels::of(&file).is_err(), "empty, as just after its making");
        file.write_all_at(&dump(), 0).unwrap();
        assert_eq!(Pixels::of(&file), Ok(Pixels { offset: 3232, stride: 2560, width: 640, height: 360 }));
        file.write_all_at(&6u32.to_be_bytes(), 4).unwrap();
        assert_eq!(Pixels::of(&file), Err("version 6 of the X window dump, not 7".into()));
    }

    /// A known delay between taking a picture and showing it comes out again.
    #[test]
    fn a_screen_is_watched() {
        let folder = tempfile::tempdir().unwrap();
        let args = ScreenArgs { pixels: folder.path().join("Xvfb_screen0"), log: folder.path().join("hv.csv") };
        let screen = File::create(&args.pixels).unwrap();
        screen.write_all_at(&dump(), 0).unwrap();
        screen.set_len(3232 + 2560 * 360).unwrap();
        let (stop, seen) = (AtomicBool::new(false), AtomicBool::new(false));
        let delay = Duration::from_millis(20);
        let taken = std::thread::scope(|scope| {
            let watcher = scope.spawn(|| watch(&args, &stop, || seen.store(true, Ordering::Relaxed)));
            while !seen.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            let layout = Layout::of(640).unwrap();
            let mut taken = Vec::new();
            for _ in 0..10 {
                let now = now_ns();
                std::thread::sleep(delay);
                let bits = Tick::at(now).encode();
                let row: Vec<u8> =
                    (0..640).flat_map(|x| [if bits >> (x / layout.cell) & 1 == 1 { 250 } else { 5 }; 4]).collect();
                screen.write_all_at(&row, 3232 + 2560 * u64::from(layout.cell / 2)).unwrap();
                taken.push((now / TICK_NS * TICK_NS, now_ns()));
                std::thread::sleep(delay);
            }
            stop.store(true, Ordering::Relaxed);
            watcher.join().unwrap().unwrap();
            taken
        });
        let log = ScreenLog::read(std::fs::read(&args.log).unwrap().as_slice()).unwrap();
        assert_eq!(log.problem, None);
        assert_eq!(log.shown.len(), 10);
        for (shown, (clock_ns, put_ns)) in log.shown.iter().zip(taken) {
            assert_eq!(shown.clock_ns, clock_ns);
            assert!(shown.first_ns - clock_ns >= 20_000_000, "{shown:?}");
            assert!(shown.before_ns < put_ns, "not seen before it was there: {shown:?} {put_ns}");
        }
    }
}

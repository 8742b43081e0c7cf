//! One file of ping's, read, and what is to be said of it.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::clock::Clock;
use super::{ImportError, PingError, PingLog, PingTrain, Stamps, ping};

/// Files are read into memory; a day of pings every 10 ms is below this.
const MOST_BYTES: u64 = 1 << 30;
/// How much of a file is looked at before the rest is read.
const HEAD_BYTES: u64 = 1 << 16;
/// More pings without an answer than these are a damaged number, and would each be a row.
const MOST_LOST: u32 = 1_000_000;

/// A file, read.
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) ends: (&'static str, &'static str),
    pub(super) bytes: Vec<u8>,
    pub(super) log: PingLog,
    /// From the time stamps; `None` if there are none.
    pub(super) clock: Option<Clock>,
}

impl Source {
    pub(super) fn read(
        path: &Path,
        ends: (&'static str, &'static str),
        asked: Option<Duration>,
    ) -> Result<Source, ImportError> {
        let path = path.to_owned();
        let bytes = contents(&path)?;
        if bytes.is_empty() {
            return Err(ImportError::Empty { path });
        }
        let log = ping::from_bytes(&path, &bytes)?;
        if log.another_follows {
            return Err(ImportError::Several { path });
        }
        if log.replies.is_empty() {
            let untimed = u32::try_from(log.untimed.len()).unwrap_or(u32::MAX);
            if let Some(line) =
                log.unreadable.iter().find(|line| line.contains('=') && untimed == 0 && log.received() != Some(0))
            {
                return Err(ImportError::Unreadable { path, line: ping::shown(line).into_owned() });
            }
            let answered = log.received().unwrap_or(0).max(untimed);
            if answered > 0 {
                return Err(ImportError::NoTimes { path, answered });
            }
        }
        let sent = log.sent();
        if sent == 0 {
            return Err(ImportError::NoPing { path });
        }
        let answered = log.replies.iter().filter(|r| !r.duplicate).count();
        if (sent - log.first.min(sent)) as usize > answered + MOST_LOST as usize {
            let what = format!("{sent} pings sent, {answered} answered");
            return Err(ImportError::Implausible { path, what });
        }
        let clock = Clock::of(&log);
        let measured = clock.as_ref().and_then(|clock| clock.interval).or_else(|| log.interval());
        if let Some((asked, measured)) = asked.zip(measured)
            && !is_about(measured, asked)
        {
            return Err(ImportError::Interval { path, asked, measured });
        }
        Ok(Source { path, ends, bytes, log, clock })
    }

    /// Its name within a trial.
    fn name(&self) -> String {
        format!("ping/{}-{}.txt", self.ends.0, self.ends.1)
    }

    /// What keeps the file from being whole, for people. `asked` is the interval given, `taken` the one taken where
    /// the file has none.
    pub(super) fn damage(&self, asked: Option<Duration>, taken: Duration) -> Vec<String> {
        let name = self.name();
        let mut damage = Vec::new();
        if let Some((first, last)) = self.log.unreadable.first().zip(self.log.unreadable.last()) {
            let is_cut = !self.bytes.ends_with(b"\n");
            damage.push(match self.log.unreadable.len() {
                1 if is_cut => format!("{name} ends in the middle of a line: {:?}", ping::shown(last)),
                1 => format!("{name}: a line cannot be read: {:?}", ping::shown(first)),
                lines => format!("{name}: {lines} lines cannot be read; the first is {:?}", ping::shown(first)),
            });
        }
        damage.extend(self.log.contradictions.iter().map(|why| format!("{name}: {why}")));
        let unknown = asked.or(self.interval()).is_none();
        if let Stamps::Declined { why, contradicts: false } = &self.log.stamps
            && unknown
        {
            let seconds = taken.as_secs_f64();
            damage.push(format!("{name}: {why}; pings are taken to be {seconds} s apart, which --interval changes"));
        }
        damage
    }

    /// What else is to be said of it.
    pub(super) fn notes(&self, asked: Option<Duration>, taken: Duration) -> Vec<String> {
        let name = self.name();
        let mut notes: Vec<String> = self.log.notes.iter().map(|note| format!("{name}: {note}")).collect();
        let known = asked.or(self.interval());
        let seconds = |interval: Duration| (interval.as_secs_f64() * 1e4).round() / 1e4;
        match (&self.log.stamps, known) {
            (Stamps::Declined { why, contradicts }, Some(known)) => {
                let why = if *contradicts { "its time stamps are not used" } else { why };
                notes.push(format!("{name}: {why}; pings are placed by their numbers, {} s apart", seconds(known)));
            }
            (Stamps::None, None) if self.log.sent() > 1 => notes.push(format!(
                "{name}: it does not tell the time between pings, which is taken to be {} s; --interval changes that",
                seconds(taken)
            )),
            _ => {}
        }
        notes
    }

    /// Time between pings: as time stamps have it, or else as ping's summary does.
    pub(super) fn interval(&self) -> Option<Duration> {
        self.clock.as_ref().and_then(|clock| clock.interval).or_else(|| self.log.interval())
    }

    pub(super) fn train(&self, zero_ns: Option<i64>, without_stamps: Duration) -> PingTrain {
        let start = self.clock.as_ref().zip(zero_ns).and_then(|(c, zero)| u64::try_from(c.first_ns - zero).ok());
        PingTrain {
            from: self.ends.0.to_owned(),
            to: self.ends.1.to_owned(),
            address: match self.log.target {
                Some(std::net::IpAddr::V4(address)) => address,
                _ => std::net::Ipv4Addr::UNSPECIFIED,
            },
            start: start.map_or(Duration::ZERO, Duration::from_nanos),
            interval: self.interval().unwrap_or(without_stamps),
            count: self.log.sent(),
        }
    }
}

/// The file's bytes. What begins with a binary is not read to its end, which may be that of a disk.
fn contents(path: &Path) -> Result<Vec<u8>, ImportError> {
    let unreadable = |source| PingError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.by_ref().take(HEAD_BYTES).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.contains(&0) {
        ping::from_bytes(path, &bytes)?;
    }
    file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(ImportError::Implausible { path: path.to_owned(), what: "more than 1 GiB".to_owned() });
    }
    Ok(bytes)
}

/// Whether a time between pings is that one: ping itself takes some of it, and the last may have waited.
fn is_about(measured: Duration, asked: Duration) -> bool {
    (measured.as_secs_f64() / asked.as_secs_f64() - 1.0).abs() <= 0.1
}

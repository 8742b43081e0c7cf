//! The user-space link, for kernels without netem: TAP pairs joined by a process that keeps each frame back as long
//! as the plan's link would.
//!
//! [`run`] creates every TAP device in the current network namespace under the name that Mininet will use, keeps the
//! descriptors, and says when it is ready. Mininet then moves the devices into its hosts; the descriptors stay valid.
//!
//! - [`shaper`] is the model of one direction of a link, pure.
//! - [`delivery`] is the thread that reads, waits and writes.
//! - [`lateness`] counts how late it was.
//! - [`timeline`] is how it is told when the timeline begins, during which links change.
//! - [`report`] is `emulator.json`.

pub mod delivery;
pub mod lateness;
pub mod report;
pub mod shaper;
pub mod tap;
pub mod timeline;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Release};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeValLike;
use serde::{Deserialize, Serialize};

use self::delivery::{Counters, Delivery};
use self::lateness::Snapshot;
use self::shaper::Shaper;
use self::timeline::Listener;
use crate::plan;

pub use self::report::{Direction, Lateness, Report, TimelineHeard};
pub use crate::realtime::Scheduling;

/// Between two rewritings of the report.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Which links to make, and where to say what they did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// The links in the plan's order.
    pub links: Vec<LinkSpec>,
    /// Where the report goes: `emulator.json` in the trial's folder.
    pub report: PathBuf,
    /// How links change; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeline: Option<TimelineSpec>,
}

/// Links that change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimelineSpec {
    /// The Unix socket at which the emulator is told when the timeline begins: see [`timeline`].
    pub socket: PathBuf,
    /// All changes, with the links by their places in [`Spec::links`].
    pub changes: Vec<plan::LinkChange>,
    /// Traces are followed until then.
    pub until: Duration,
}

/// One link.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkSpec {
    /// Name of the TAP device at the link's first end.
    pub a: String,
    /// Name of the TAP device at the link's second end.
    pub b: String,
    /// What the link does to packets, in each direction.
    pub shape: plan::Shape,
    /// Seeds jitter and loss; each direction has its own sequence.
    pub seed: u64,
}

impl Spec {
    /// The links of a trial. Each gets a seed of its own from the trial's. If links change, the emulator hears at
    /// `socket` from when on.
    #[must_use]
    pub fn of(trial: &plan::Trial, report: &Path, socket: &Path) -> Spec {
        let mut seeds = fastrand::Rng::with_seed(trial.seed);
        let links = trial
            .network
            .links
            .iter()
            .map(|link| LinkSpec {
                a: link.a.interface.clone(),
                b: link.b.interface.clone(),
                shape: link.shape,
                seed: seeds.u64(..),
            })
            .collect();
        let timeline = (!trial.link_changes.is_empty()).then(|| TimelineSpec {
            socket: socket.to_owned(),
            changes: trial.link_changes.clone(),
            until: trial.timeline.end + trial.timeline.drain,
        });
        Spec { links, report: report.to_owned(), timeline }
    }

    /// How each direction changes, two of each link as in [`Report::directions`].
    fn courses(&self) -> Vec<Vec<plan::Step>> {
        let of_link = |(n, link): (usize, &LinkSpec)| {
            [true, false].map(|forward| match &self.timeline {
                Some(timeline) => {
                    let changes = timeline.changes.iter().filter(|change| change.link == n);
                    plan::change::course(link.shape, changes, forward, timeline.until)
                }
                None => Vec::new(),
            })
        };
        self.links.iter().enumerate().flat_map(of_link).collect()
    }
}

/// Why the links could not be made or kept up.
#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    /// A TAP device was refused.
    #[error("cannot create the TAP device {name}: {source}; {}", tap_hint(source))]
    Tap {
        /// Name of the device.
        name: String,
        /// The underlying I/O error.
        source: io::Error,
    },
    /// The report cannot be written.
    #[error("cannot write {}: {source}; is the disk full or the folder gone?", path.display())]
    Report {
        /// Path of the report.
        path: PathBuf,
        /// The underlying I/O error.
        source: io::Error,
    },
    /// Nobody can tell it when the timeline begins.
    #[error("cannot listen at {}: {source}", path.display())]
    Listen {
        /// Path of the socket.
        path: PathBuf,
        /// The underlying I/O error.
        source: io::Error,
    },
    /// A system call that should not fail did.
    #[error("{what} failed: {errno}")]
    System {
        /// The attempted operation.
        what: &'static str,
        /// The error of the kernel.
        errno: Errno,
    },
    /// The delivery thread panicked.
    #[error("the delivery thread of the emulated links died; this is a bug in livectl")]
    Died,
}

fn tap_hint(source: &io::Error) -> &'static str {
    match source.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT | Errno::ENODEV | Errno::ENXIO) => {
            "load the module with `modprobe tun`, or allow /dev/net/tun in this container"
        }
        Some(Errno::EPERM | Errno::EACCES) => "this needs root and CAP_NET_ADMIN",
        Some(Errno::EBUSY | Errno::EEXIST | Errno::EINVAL) => {
            "an interface of that name exists already, or the name is too long (15 characters at most)"
        }
        _ => "`livectl doctor` says what this machine lacks",
    }
}

/// Blocks SIGTERM and SIGINT for this thread and those it starts from now on, and returns a descriptor that becomes
/// readable when one of them comes: the `stop` of [`run`].
///
/// # Errors
/// When the kernel has no descriptor left.
pub fn stop_signals() -> Result<SignalFd, EmulatorError> {
    let system = |what| move |errno| EmulatorError::System { what, errno };
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.thread_block().map_err(system("blocking SIGTERM and SIGINT"))?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC).map_err(system("signalfd"))
}

/// Makes the links, calls `ready`, and carries packets until `stop` becomes readable. The report is written before
/// `ready`, each second and at the end. The devices vanish with the return.
///
/// # Errors
/// When a device cannot be created, the report cannot be written at the start or at the end, or the delivery thread
/// fails.
pub fn run(spec: &Spec, stop: impl AsFd, ready: impl FnOnce()) -> Result<Report, EmulatorError> {
    let names: Vec<&str> = spec.links.iter().flat_map(|link| [link.a.as_str(), link.b.as_str()]).collect();
    let ends = names
        .iter()
        .map(|name| tap::create(name).map_err(|source| EmulatorError::Tap { name: (*name).to_owned(), source }))
        .collect::<Result<Vec<OwnedFd>, _>>()?;
    let courses = spec.courses();
    // When each change comes, for the report.
    let moments: Vec<Vec<Duration>> =
        courses.iter().map(|steps| steps.iter().map(|step| step.at).collect()).collect();
    let directions = spec.links.iter().flat_map(|link| {
        let mut seeds = fastrand::Rng::with_seed(link.seed);
        [seeds.u64(..), seeds.u64(..)].map(|seed| (&link.shape, seed))
    });
    let shapers =
        directions.zip(courses).map(|((shape, seed), steps)| Shaper::changing(shape, steps, seed)).collect();
    let listener = match &spec.timeline {
        Some(TimelineSpec { socket, .. }) => {
            let listen = |source| EmulatorError::Listen { path: socket.clone(), source };
            Some(Listener::bind(socket).map_err(listen)?)
        }
        None => None,
    };
    let zero = AtomicU64::new(0);
    let counters: Vec<Counters> = names.iter().map(|_| Counters::default()).collect();
    let memory_locked = crate::realtime::lock_memory().is_ok();

    // Closing its writing end ends the delivery thread, whatever ends this function.
    let (halt, running) = io::pipe().map_err(|source| EmulatorError::System {
        what: "pipe",
        errno: Errno::from_raw(source.raw_os_error().unwrap_or_default()),
    })?;
    let delivery = Delivery::new(&ends, shapers, &counters, &zero);
    std::thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        let thread = scope.spawn(move || {
            let _ = tell.send(crate::realtime::prefer_this_thread());
            delivery.run(halt.as_fd())
        });
        let scheduling = told.recv().map_err(|_| EmulatorError::Died)?;
        let started = Instant::now();
        let mut before = vec![Snapshot::default(); names.len()];
        let mut report = |heard: Option<TimelineHeard>| Report {
            running_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            scheduling,
            memory_locked,
            cpu_ms: cpu_milliseconds(),
            timeline: heard,
            directions: (0..names.len())
                .map(|i| {
                    let changes = heard.map_or(0, |heard| changes_until_now(&moments[i], heard));
                    Direction::of(names[i], names[i ^ 1], &counters[i], changes, &mut before[i])
                })
                .collect(),
        };
        let write = |report: &Report| {
            report.write(&spec.report).map_err(|source| EmulatorError::Report { path: spec.report.clone(), source })
        };
        write(&report(None))?;
        ready();
        let mut heard = None;
        while !thread.is_finished() {
            match wait(&stop, listener.as_ref(), REPORT_INTERVAL)? {
                Woken::Stop => break,
                // The delivery thread finds it with the next packet, which is the first that could feel a change. The
                // answer goes when it is there.
                Woken::Told => {
                    if let Some(told) =
                        listener.as_ref().and_then(|listener| listener.hear(|at| zero.store(at, Release)))
                    {
                        heard.get_or_insert(told);
                    }
                }
                Woken::Time => {}
            }
            // A full disk must not cut the links in the middle of a trial; the last writing reports it.
            let _ = write(&report(heard));
        }
        drop(running);
        thread
            .join()
            .map_err(|_| EmulatorError::Died)?
            .map_err(|errno| EmulatorError::System { what: "waiting for packets", errno })?;
        let last = report(heard);
        write(&last)?;
        Ok(last)
    })
}

/// Why the emulator's first thread goes on.
enum Woken {
    Stop,
    /// Someone is at the socket.
    Told,
    Time,
}

fn wait(stop: &impl AsFd, listener: Option<&Listener>, time: Duration) -> Result<Woken, EmulatorError> {
    let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
    let watched = std::iter::once(stop.as_fd()).chain(listener.map(AsFd::as_fd));
    let mut watched: Vec<PollFd<'_>> = watched.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    match poll(&mut watched, timeout) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(EmulatorError::System { what: "waiting for the signal to stop", errno }),
    }
    let came = |n: usize| watched.get(n).and_then(PollFd::any) == Some(true);
    Ok(match (came(0), came(1)) {
        (true, _) => Woken::Stop,
        (false, true) => Woken::Told,
        (false, false) => Woken::Time,
    })
}

/// How many of the moments on the timeline have passed.
fn changes_until_now(moments: &[Duration], heard: TimelineHeard) -> u64 {
    let now = delivery::now().map_or(0, |now| now.saturating_sub(heard.zero_ns));
    moments.partition_point(|at| *at <= Duration::from_nanos(now)) as u64
}

fn cpu_milliseconds() -> u64 {
    let used =
        getrusage(UsageWho::RUSAGE_SELF).map(|usage| (usage.user_time() + usage.system_time()).num_milliseconds());
    used.ok().and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::network::topology::tests::trial;

    #[test]
    fn links_are_those_of_the_plan_and_seeds_are_the_trials() {
        let spec = Spec::of(&trial(), Path::new("/x/emulator.json"), Path::new("/x/socket"));
        assert_eq!((spec.links[1].a.as_str(), spec.links[1].b.as_str()), ("hs-eth0", "s1-eth2"));
        assert_eq!(spec.links[1].shape, trial().network.links[1].shape);
        assert_ne!(spec.links[0].seed, spec.links[1].seed);
        assert_eq!(spec, Spec::of(&trial(), Path::new("/x/emulator.json"), Path::new("/x/socket")));
        let other =
            Spec::of(&plan::Trial { seed: 2, ..trial() }, Path::new("/x/emulator.json"), Path::new("/x/socket"));
        assert_ne!(spec.links[0].seed, other.links[0].seed);
        let json = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<Spec>(&json).unwrap(), spec);
    }

    #[test]
    fn a_signal_ends_it_and_leaves_a_report() {
        let folder = tempfile::tempdir().unwrap();
        let spec = Spec { links: Vec::new(), report: folder.path().join("emulator.json"), timeline: None };
        let stop = stop_signals().unwrap();
        // SAFETY: the signal goes to this thread, which has just blocked it.
        assert_eq!(unsafe { nix::libc::raise(nix::libc::SIGTERM) }, 0);
        let mut ready = false;
        let report = run(&spec, &stop, || ready = true).unwrap();
        assert!(ready);
        assert_eq!(Report::read(&spec.report).unwrap(), report);
        // Otherwise the signal would end the test when the thread's mask goes.
        stop.read_signal().unwrap();
    }

    #[test]
    fn a_report_that_cannot_be_written_is_told_at_once() {
        let (stop, _running) = io::pipe().unwrap();
        let spec = Spec { links: Vec::new(), report: "/nowhere/emulator.json".into(), timeline: None };
        let error = run(&spec, stop, || panic!("must not be ready")).unwrap_err();
        assert!(error.to_string().starts_with("cannot write /nowhere/emulator.json: "), "{error}");
    }
}

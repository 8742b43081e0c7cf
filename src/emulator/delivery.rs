//! The delivery thread: reads frames from TAP devices, asks the model, writes each frame when it is due.
//!
//! One thread serves all links. On two cores, TCP over two unshaped links and Open vSwitch's user datapath reached
//! 2.0 to 2.3 Gbit/s with one thread and 1.5 to 1.7 Gbit/s with a thread per link, at the same lateness: more threads
//! only compete with the switch and the hosts for the cores.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{read, write};

use super::lateness::Histogram;
use super::shaper::{Nanos, Shaper, Verdict};

/// The longest frame read: an MTU of 1500 with Ethernet header and VLAN tags, with room to spare.
const FRAME: usize = 2048;
/// Frames read from one device before what is due elsewhere gets its turn.
const BATCH: usize = 64;
/// Frame buffers made in advance; more are made when needed and kept.
const BUFFERS: usize = 1024;
/// Frames under way in one direction at most, so that a flood over an unshaped long link cannot eat the memory.
const UNDER_WAY: u64 = 50_000;

/// Counters of one direction: written by the delivery thread alone, readable from others at any time.
#[derive(Debug, Default)]
pub struct Counters {
    /// Frames offered to the link, and their bytes.
    pub packets: AtomicU64,
    /// Bytes of the frames offered.
    pub bytes: AtomicU64,
    /// Frames written at the other end.
    pub delivered: AtomicU64,
    /// Bytes of the frames written.
    pub delivered_bytes: AtomicU64,
    /// Frames dropped because the queue was full.
    pub dropped_queue: AtomicU64,
    /// Frames the model lost.
    pub dropped_loss: AtomicU64,
    /// Frames that came while the link was down, as the plan wants it.
    pub dropped_link: AtomicU64,
    /// Frames whose receiving interface was down or gone when they were due.
    pub dropped_down: AtomicU64,
    /// Frames that the kernel had no room for.
    pub dropped_write: AtomicU64,
    /// The most packets that ever waited for the link.
    pub longest_queue: AtomicU64,
    /// Time of writing − due time, in ns.
    pub lateness: Histogram,
}

fn add(counter: &AtomicU64, n: u64) {
    // One writer: no read-modify-write instruction is needed.
    counter.store(counter.load(Relaxed) + n, Relaxed);
}

/// CLOCK_MONOTONIC.
pub(super) fn now() -> Result<Nanos, Errno> {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    Ok(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}

/// A frame under way. Ordered by due time, then by order of arrival.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    due: Nanos,
    sequence: u64,
    from: usize,
    length: usize,
    frame: Box<[u8; FRAME]>,
}

/// Both ends of every link: end `2·i` is link `i`'s first, `2·i + 1` its second. What is read from an end belongs to
/// the direction of the same index and is written to the end beside it.
pub struct Delivery<'a> {
    ends: &'a [OwnedFd],
    shapers: Vec<Shaper>,
    counters: &'a [Counters],
    /// When the timeline began; 0: it has not yet. The delivery thread looks at it, and from then on no more.
    zero: Option<&'a AtomicU64>,
    flights: BinaryHeap<Reverse<Flight>>,
    under_way: Vec<u64>,
    // Boxed as in flights, so that a frame's room moves from here to there and back without being copied.
    #[allow(clippy::vec_box)]
    spare: Vec<Box<[u8; FRAME]>>,
    sequence: u64,
}

impl<'a> Delivery<'a> {
    /// Ends, shapers and counters have one entry per end. `zero` becomes the moment, in nanoseconds of
    /// CLOCK_MONOTONIC, from which the links' changes count.
    pub fn new(ends: &'a [OwnedFd], shapers: Vec<Shaper>, counters: &'a [Counters], zero: &'a AtomicU64) -> Self {
        debug_assert!(ends.len() == shapers.len() && ends.len() == counters.len());
        Delivery {
            ends,
            counters,
            zero: Some(zero),
            flights: BinaryHeap::with_capacity(BUFFERS),
            under_way: vec![0; ends.len()],
            // Written to, so that the pages exist before the first packet comes.
            spare: (0..BUFFERS).map(|_| Box::new([0xff; FRAME])).collect(),
            shapers,
            sequence: 0,
        }
    }

    /// Serves the links until `stop` becomes readable. What is under way then is dropped.
    ///
    /// # Errors
    /// When the kernel refuses to wait or to tell the time; a failing link never ends the others.
    pub fn run(mut self, stop: BorrowedFd<'_>) -> Result<(), Errno> {
        let mut alive: Vec<usize> = (0..self.ends.len()).collect();
        let ends = self.ends;
        loop {
            let mut watched: Vec<PollFd<'_>> = alive
                .iter()
                .map(|end| ends[*end].as_fd())
                .chain([stop])
                .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
                .collect();
            let gone = self.serve(&alive, &mut watched)?;
            match gone {
                Some(end) => alive.retain(|e| *e != end),
                None => return Ok(()),
            }
        }
    }

    /// Serves the watched ends until one of them is gone (which one) or until the last, `stop`, is readable (`None`).
    fn serve(&mut self, alive: &[usize], watched: &mut [PollFd<'_>]) -> Result<Option<usize>, Errno> {
        loop {
            self.deliver_due()?;
            let wait = match self.flights.peek() {
                None => None,
                Some(Reverse(next)) => {
                    Some(TimeSpec::from_duration(Duration::from_nanos(next.due.saturating_sub(now()?))))
                }
            };
            match ppoll(watched, wait, None) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
            let Some((stop, watched)) = watched.split_last() else { return Ok(None) };
            if stop.any() == Some(true) {
                return Ok(None);
            }
            for (end, fd) in alive.iter().zip(watched) {
                if fd.any() == Some(true) && !self.take_in(*end)? {
                    return Ok(Some(*end));
                }
            }
        }
    }

    /// Tells the links when the timeline began, once that is known.
    fn begin(&mut self) {
        let Some(zero) = self.zero.map(|zero| zero.load(Acquire)).filter(|zero| *zero > 0) else { return };
        self.zero = None;
        self.shapers.iter_mut().for_each(|shaper| shaper.begin(zero));
    }

    /// Reads what has come at an end. `false`: the device is gone.
    fn take_in(&mut self, end: usize) -> Result<bool, Errno> {
        self.begin();
        let counters = &self.counters[end];
        for _ in 0..BATCH {
            let mut frame = self.spare.pop().unwrap_or_else(|| Box::new([0; FRAME]));
            let length = match read(&self.ends[end], &mut frame[..]) {
                Ok(length) => length,
                Err(errno) => {
                    self.spare.push(frame);
                    match errno {
                        Errno::EAGAIN => break,
                        Errno::EINTR => continue,
                        // EBADFD: the interface was deleted, as Mininet does with its links when it exits.
                        _ => return Ok(false),
                    }
                }
            };
            let arrival = now()?;
            add(&counters.packets, 1);
            add(&counters.bytes, length as u64);
            // This is our limit, not the plan's queue.
            if self.under_way[end] >= UNDER_WAY {
                add(&counters.dropped_write, 1);
                self.spare.push(frame);
                continue;
            }
            match self.shapers[end].offer(arrival, length) {
                Verdict::Deliver { at } => {
                    self.under_way[end] += 1;
                    self.sequence += 1;
                    self.flights.push(Reverse(Flight { due: at, sequence: self.sequence, from: end, length, frame }));
                    continue;
                }
                Verdict::QueueFull => add(&counters.dropped_queue, 1),
                Verdict::Lost => add(&counters.dropped_loss, 1),
                Verdict::Down => add(&counters.dropped_link, 1),
            }
            self.spare.push(frame);
        }
        counters.longest_queue.store(self.shapers[end].longest_queue() as u64, Relaxed);
        self.deliver_due()?;
        Ok(true)
    }

    /// Writes what is due, but no more than a batch, so that reading gets its turn.
    fn deliver_due(&mut self) -> Result<(), Errno> {
        for _ in 0..BATCH {
            let Some(next) = self.flights.peek_mut() else { return Ok(()) };
            // Before the write: the receiver's capture stamps the packet inside it, and then handles it inside it
            // too.
            let time = now()?;
            if next.0.due > time {
                return Ok(());
            }
            let Reverse(flight) = std::collections::binary_heap::PeekMut::pop(next);
            let counters = &self.counters[flight.from];
            match write(&self.ends[flight.from ^ 1], &flight.frame[..flight.length]) {
                Ok(_) => {
                    add(&counters.delivered, 1);
                    add(&counters.delivered_bytes, flight.length as u64);
                    counters.lateness.record(time - flight.due);
                }
                // EIO: the interface is down; EBADFD: it is gone.
                Err(Errno::EIO | Errno::EBADFD) => add(&counters.dropped_down, 1),
                // ENOBUFS, ENOMEM, EAGAIN: a link has no place to keep a packet past its time, so this one is lost
                // and counted. Waiting would make every other packet late.
                Err(_) => add(&counters.dropped_write, 1),
            }
            self.under_way[flight.from] -= 1;
            self.spare.push(flight.frame);
        }
        Ok(())
    }
}

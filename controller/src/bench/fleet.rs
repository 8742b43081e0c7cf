//! The switches at one controller: sockets and clock.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::ledger::{Counts, Ledger};
use super::plan::{Cell, Conduct, Drive};
use super::switch::{Switch, Trouble};
use super::traffic::Traffic;
use crate::openflow::TooLong;

/// Bytes that are read at once.
const READ: usize = 256 << 10;
/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the controller may take to ask all switches who they are, and how long to answer a first packet-in of
/// each.
const HANDSHAKE: Duration = Duration::from_secs(15);
/// A packet-in is given up when its switch has got no answer for so long.
const LOST: Duration = Duration::from_secs(1);
/// The first packet-ins are sent again after so long: some controllers pass over what comes early.
const PROBE: Duration = Duration::from_millis(250);
/// How often the clock is looked at when nothing comes.
const TICK: Duration = Duration::from_millis(50);
/// Bytes of answers to a controller, beside packet-ins, that may wait for it at each switch.
const PILE: usize = 16 << 20;
/// Bytes of a packet-in before its frame, at most.
const HEADERS: usize = 64;
/// In an open loop one packet-in of so many is timed.
const SAMPLING: u32 = 64;

/// Why a controller cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// A switch cannot connect to the controller.
    #[error("cannot connect switch {switch} to {address}: {source}; is a controller running there?")]
    Connect {
        /// Number of the switch, from 1.
        switch: usize,
        /// Address and port of the controller.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// The controller ended a connection.
    #[error("the controller closed the connection of switch {switch} of {of}")]
    Closed {
        /// Number of the switch, from 1.
        switch: usize,
        /// How many switches there are.
        of: usize,
    },
    /// A connection broke.
    #[error("the connection of switch {switch} broke: {source}")]
    Broken {
        /// Number of the switch, from 1.
        switch: usize,
        /// The system's error.
        source: io::Error,
    },
    /// The controller did not ask all switches who they are, or did not answer all their first packet-ins.
    #[error("the controller did not {what} {missing} of {of} switches within {} s", HANDSHAKE.as_secs())]
    Handshake {
        /// What it did not do, as a verb: `answer`, ….
        what: &'static str,
        /// For how many it did not.
        missing: usize,
        /// How many switches there are.
        of: usize,
    },
    /// It speaks no OpenFlow, or not this version.
    #[error(transparent)]
    Trouble(#[from] Trouble),
    /// The frames are too long.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// It sends and sends, and reads nothing.
    #[error("the controller does not read: {waiting} bytes wait for it at switch {switch}")]
    DoesNotRead {
        /// Number of the switch, from 1.
        switch: usize,
        /// Number of bytes that wait.
        waiting: usize,
    },
    /// Waiting for sockets failed.
    #[error("cannot wait for sockets: {0}")]
    Poll(#[source] io::Error),
}

/// What one measurement found.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// How long the measurement took.
    pub elapsed: Duration,
    /// What was counted in that time. Packet-ins that were still under way at its end are counted as sent and, if no
    /// answer came after it, as unanswered.
    pub counts: Counts,
    /// OpenFlow errors from the controller.
    pub errors: u64,
    /// The latest of them: type and code.
    pub latest_error: Option<(u16, u16)>,
    /// Bytes sent to the controller.
    pub bytes_out: u64,
    /// Bytes that came from the controller.
    pub bytes_in: u64,
    /// Time from each timed packet-in to its answer, in nanoseconds.
    pub latencies: Vec<u64>,
}

/// Emulated switches, connected to one controller.
pub struct Fleet {
    poll: Poll,
    events: Events,
    lines: Vec<Line>,
    room: Vec<u8>,
    /// Bytes that may wait for the controller at one switch.
    pile: usize,
    started: Instant,
    bytes_in: u64,
    bytes_out: u64,
}

/// Whichever of reading and writing notices first that the controller closed a connection.
fn ended(error: io::Error, switch: usize, of: usize) -> FleetError {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => FleetError::Closed { switch, of },
        _ => FleetError::Broken { switch, source: error },
    }
}

/// A switch and its connection.
struct Line {
    stream: TcpStream,
    switch: Switch,
}

/// What switches do while time passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Send {
    /// Nothing of their own: they answer the controller.
    Nothing,
    /// One packet-in, unless one is under way, until one was answered.
    Probe,
    /// As many as the window has room for.
    Window,
}

impl Fleet {
    /// Connects the switches of `cell`, and waits until the controller has answered a packet-in of each.
    ///
    /// # Errors
    /// When the controller does not take them all.
    pub fn connect(address: SocketAddr, cell: &Cell, conduct: &Conduct) -> Result<Self, FleetError> {
        let poll = Poll::new().map_err(FleetError::Poll)?;
        let mut fleet = Self {
            poll,
            events: Events::with_capacity(1024),
            lines: Vec::new(),
            room: vec![0; READ],
            pile: PILE + conduct.window as usize * (conduct.frame_size + HEADERS),
            started: Instant::now(),
            bytes_in: 0,
            bytes_out: 0,
        };
        for number in 0..cell.switches {
            if number > 0 {
                fleet.run(Send::Nothing, conduct.pause, |_| false)?;
            }
            let line = fleet.line(address, number, cell, conduct)?;
            fleet.lines.push(line);
            fleet.write(usize::from(number))?;
        }
        fleet.run(Send::Nothing, HANDSHAKE, |fleet| fleet.waiting_for(Switch::is_introduced) == 0)?;
        fleet.all("ask who they are", Switch::is_introduced)?;
        fleet.run(Send::Probe, HANDSHAKE, |fleet| fleet.waiting_for(Switch::is_answered) == 0)?;
        fleet.all("answer the first packet-ins of", Switch::is_answered)?;
        Ok(fleet)
    }

    fn line(&self, address: SocketAddr, number: u16, cell: &Cell, conduct: &Conduct) -> Result<Line, FleetError> {
        let connect = || {
            let stream = std::net::TcpStream::connect_timeout(&address, CONNECT)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(number.into()), interest)?;
            Ok(stream)
        };
        let stream =
            connect().map_err(|source| FleetError::Connect { switch: usize::from(number) + 1, address, source })?;
        let (window, sampling) = match cell.drive {
            Drive::Closed => (1, 1),
            Drive::Open => (conduct.window, SAMPLING),
        };
        let traffic = Traffic::new(cell.openflow, number, cell.macs, conduct.buffering, conduct.frame_size)?;
        Ok(Line { stream, switch: Switch::new(cell.openflow, number, traffic, Ledger::new(window, sampling)) })
    }

    fn waiting_for(&self, condition: impl Fn(&Switch) -> bool) -> usize {
        self.lines.iter().filter(|line| !condition(&line.switch)).count()
    }

    fn all(&self, what: &'static str, condition: impl Fn(&Switch) -> bool) -> Result<(), FleetError> {
        match self.waiting_for(condition) {
            0 => Ok(()),
            missing => Err(FleetError::Handshake { what, missing, of: self.lines.len() }),
        }
    }

    /// Answers what the controller has asked meanwhile.
    ///
    /// # Errors
    /// When a connection ended.
    pub fn attend(&mut self) -> Result<(), FleetError> {
        self.run(Send::Nothing, Duration::ZERO, |_| false)
    }

    /// Sends packet-ins for a time and counts nothing.
    ///
    /// # Errors
    /// When a connection ended.
    pub fn warm_up(&mut self, time: Duration) -> Result<(), FleetError> {
        self.run(Send::Window, time, |_| false)?;
        self.take(&mut Sample::default());
        Ok(())
    }

    /// Sends packet-ins for a time and counts.
    ///
    /// # Errors
    /// When a connection ended.
    pub fn measure(&mut self, time: Duration) -> Result<Sample, FleetError> {
        let begun = Instant::now();
        self.run(Send::Window, time, |_| false)?;
        let mut sample = Sample { elapsed: begun.elapsed(), ..Sample::default() };
        self.take(&mut sample);
        Ok(sample)
    }

    /// Waits for what is under way, and adds to `sample` what of that was not answered. What was answered came too
    /// late to count.
    ///
    /// # Errors
    /// When a connection ended.
    pub fn drain(&mut self, sample: &mut Sample) -> Result<(), FleetError> {
        self.run(Send::Nothing, 2 * LOST, |fleet| fleet.waiting_for(|switch| !switch.is_waiting()) == 0)?;
        let mut after = Sample::default();
        self.take(&mut after);
        let Counts { unanswered, late, strange, .. } = after.counts;
        sample.counts += Counts { unanswered, late, strange, ..Counts::default() };
        sample.errors += after.errors;
        sample.latest_error = after.latest_error.or(sample.latest_error);
        Ok(())
    }

    /// Adds what was counted since the last call.
    fn take(&mut self, sample: &mut Sample) {
        for line in &mut self.lines {
            sample.counts += line.switch.ledger().take(&mut sample.latencies);
            let (errors, latest) = line.switch.take_errors();
            sample.errors += errors;
            sample.latest_error = latest.or(sample.latest_error);
        }
        sample.bytes_in += std::mem::take(&mut self.bytes_in);
        sample.bytes_out += std::mem::take(&mut self.bytes_out);
    }

    /// Lets time pass: at least one look at all sockets, then until `time` is over or `enough`.
    fn run(&mut self, send: Send, time: Duration, enough: impl Fn(&Self) -> bool) -> Result<(), FleetError> {
        let end = Instant::now() + time;
        let patience = if send == Send::Probe { PROBE } else { LOST };
        let mut next_tick = Instant::now();
        loop {
            let now = Instant::now();
            if now >= next_tick {
                next_tick = now + TICK;
                self.tick(send, patience, end)?;
            }
            let left = end.saturating_duration_since(now).min(TICK);
            let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
            match self.poll.poll(&mut events, Some(left)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(FleetError::Poll(error)),
                _ => {}
            }
            for event in &events {
                let Token(at) = event.token();
                if event.is_readable() {
                    self.read(at, send, end)?;
                } else {
                    self.write(at)?;
                }
            }
            self.events = events;
            if enough(self) || Instant::now() >= end {
                return Ok(());
            }
        }
    }

    /// Gives up what is lost, and sends what there is room for. Reads what was left unread when the time was over the
    /// last time.
    fn tick(&mut self, send: Send, patience: Duration, end: Instant) -> Result<(), FleetError> {
        let now = self.now();
        let since = now.checked_sub(patience.as_nanos() as u64);
        for at in 0..self.lines.len() {
            self.read(at, send, end)?;
            if let (Some(line), Some(since)) = (self.lines.get_mut(at), since) {
                line.switch.ledger().give_up(since);
            }
            self.refill(at, send, now);
            self.write(at)?;
        }
        Ok(())
    }

    /// Nanoseconds since it began.
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn refill(&mut self, at: usize, send: Send, now: u64) {
        let Some(line) = self.lines.get_mut(at) else { return };
        match send {
            Send::Probe if !line.switch.is_waiting() && !line.switch.is_answered() => line.switch.send(1, now),
            // In larger pieces: sending costs the generator, too.
            Send::Window if line.switch.ledger().has_much_room() => line.switch.send(u32::MAX, now),
            _ => {}
        }
    }

    /// Reads all there is, but not for longer than until `end` or a tick, and sends on.
    fn read(&mut self, at: usize, send: Send, end: Instant) -> Result<(), FleetError> {
        let end = end.min(Instant::now() + TICK);
        let (switch, of) = (at + 1, self.lines.len());
        loop {
            let Some(line) = self.lines.get_mut(at) else { return Ok(()) };
            let came = match line.stream.read(&mut self.room) {
                Ok(0) => return Err(FleetError::Closed { switch, of }),
                Ok(came) => came,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(ended(error, switch, of)),
            };
            self.bytes_in += came as u64;
            let now = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
            line.switch.receive(self.room.get(..came).unwrap_or_default(), now)?;
            self.refill(at, send, now);
            self.write(at)?;
            // A read that does not fill the room has emptied the socket (epoll(7), questions and answers, 9).
            if came < READ || Instant::now() >= end {
                break;
            }
        }
        Ok(())
    }

    /// Sends what goes without waiting.
    fn write(&mut self, at: usize) -> Result<(), FleetError> {
        let of = self.lines.len();
        let Some(Line { stream, switch }) = self.lines.get_mut(at) else { return Ok(()) };
        let mut sent = 0;
        let result = loop {
            let rest = switch.out().get(sent..).unwrap_or_default();
            if rest.is_empty() {
                break Ok(());
            }
            match stream.write(rest) {
                Ok(went) => sent += went,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(ended(error, at + 1, of)),
            }
        };
        switch.out().drain(..sent);
        self.bytes_out += sent as u64;
        match switch.out().len() {
            waiting if waiting > self.pile => result.and(Err(FleetError::DoesNotRead { switch: at + 1, waiting })),
            _ => result,
        }
    }
}

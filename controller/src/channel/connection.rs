//! One switch's end of the wire: its socket, its session and what waits for it.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpStream;

use super::outbox::{HIGH_WATER, Outbox};
use super::session::{Patience, Session, Step};
use crate::news::News;
use crate::openflow::{ErrorReport, Version};
use crate::scheme::Dpid;

/// Errors of one switch that are told.
const MAX_TOLD_ERRORS: u32 = 8;
/// Bytes of them that are logged: as many of the message that was wrong as OpenFlow promises.
const SHOWN: usize = 64;

/// A connection, from when it is accepted until it is closed.
#[derive(Debug)]
pub struct Connection {
    /// The socket, which never blocks.
    pub stream: TcpStream,
    /// Who is at its other end.
    pub peer: SocketAddr,
    /// What waits for the switch.
    pub outbox: Outbox,
    /// Who the switch is, once it has said so.
    pub dpid: Option<Dpid>,
    /// Whether it is in the list of those that are to be read.
    pub is_listed: bool,
    /// Whether it is in the list of those to which something is to be written.
    pub is_dirty: bool,
    /// Whether it is not read from because too much waits for it.
    pub is_held: bool,
    /// Why it is to be closed, if it is.
    pub doomed: Option<&'static str>,
    session: Session,
    /// The beginning of a message whose end has not come.
    rest: Vec<u8>,
    /// Whether anything came at all.
    spoke: bool,
    stall: Duration,
    /// Since when what waits has been waiting without any of it going.
    waiting_since: Option<Duration>,
    told_errors: u32,
}

/// What reading found.
pub enum Came {
    /// So many bytes, with those that were kept of earlier.
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// It ends: there is nothing more to read.
    End,
}

impl Connection {
    /// One that was just accepted.
    #[must_use]
    pub fn begin(
        now: Duration,
        stream: TcpStream,
        peer: SocketAddr,
        versions: &[Version],
        patience: Patience,
    ) -> Self {
        Self {
            stream,
            peer,
            outbox: Outbox::default(),
            dpid: None,
            is_listed: false,
            is_dirty: false,
            is_held: false,
            doomed: None,
            session: Session::begin(now, versions, patience),
            rest: Vec::new(),
            spoke: false,
            stall: patience.stall,
            waiting_since: None,
            told_errors: 0,
        }
    }

    /// The version that was agreed on.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.session.version()
    }

    /// Reads `most` bytes at once, into `room`, behind what was kept of an unfinished message. That is less than 64
    /// KiB; `room` must hold both.
    ///
    /// # Errors
    /// When the connection broke.
    pub fn read(&mut self, most: usize, room: &mut [u8]) -> std::io::Result<Came> {
        let kept = self.rest.len();
        let (begun, free) = room.split_at_mut(kept.min(room.len()));
        let (free, _) = free.split_at_mut(most.min(free.len()));
        loop {
            match self.stream.read(free) {
                Ok(0) => return Ok(Came::End),
                Ok(came) => {
                    begun.copy_from_slice(&self.rest);
                    self.rest.clear();
                    self.spoke = true;
                    return Ok(Came::Bytes(kept + came));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Came::Nothing),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What the first whole message of `stream` means, which is cut off; `None` when there is none. Answers it if
    /// that is all there is to do.
    ///
    /// # Errors
    /// When the connection is to be closed, and why.
    pub fn step<'a>(&mut self, now: Duration, stream: &mut &'a [u8]) -> Result<Option<Step<'a>>, String> {
        let out = self.outbox.end();
        match self.session.next(stream, out) {
            Ok(Some(message)) => {
                self.session.heard(now);
                self.session.message(message, out).map(Some)
            }
            Ok(None) => Ok(None),
            Err(refusal) => Err(refusal),
        }
        .map_err(|refusal| refusal.to_string())
    }

    /// Keeps the beginning of an unfinished message.
    pub fn keep(&mut self, rest: &[u8]) {
        self.rest.extend_from_slice(rest);
    }

    /// Sends what can be sent without waiting.
    ///
    /// # Errors
    /// When the connection is to be closed, and why.
    pub fn write(&mut self, now: Duration) -> Result<(), String> {
        if self.outbox.has_overflowed() {
            return Err("it does not read what is sent to it".to_owned());
        }
        while !self.outbox.is_empty() {
            match self.outbox.flush(|bytes| self.stream.write(bytes)) {
                Ok(0) => return Err("it closed the connection".to_owned()),
                Ok(_) => self.waiting_since = None,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.waiting_since.get_or_insert(now);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        self.waiting_since = None;
        Ok(())
    }

    /// Whether something waits to be written, or waited for too long.
    #[must_use]
    pub fn has_to_write(&self) -> bool {
        !self.outbox.is_empty() || self.outbox.has_overflowed()
    }

    /// Whether so much waits that nothing more is to be read.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.outbox.len() >= HIGH_WATER
    }

    /// Looks at the clock. A switch that is not read from can't be heard, but then it must read.
    ///
    /// # Errors
    /// When the connection is to be closed, and why.
    pub fn time(&mut self, now: Duration) -> Result<(), String> {
        if self.waiting_since.is_some_and(|since| now >= since + self.stall) {
            return Err(format!("it has read nothing of {} bytes for {} s", self.outbox.len(), self.stall.as_secs()));
        }
        if self.is_full() {
            self.session.heard(now);
        }
        self.session.time(now, self.outbox.end()).map_err(|refusal| refusal.to_string())
    }

    /// The controller itself stood still for so long: time in which the switch could not be heard.
    pub fn excuse(&mut self, away: Duration) {
        self.session.excuse(away);
        self.waiting_since = self.waiting_since.map(|since| since + away);
    }

    /// What to tell of an error that the switch reports.
    pub fn reported(&mut self, report: &ErrorReport<'_>) -> Option<News> {
        let ErrorReport { kind, code, data } = report;
        let (peer, beginning) = (self.peer, data.get(..SHOWN).unwrap_or(data));
        self.told_errors = self.told_errors.saturating_add(1);
        if self.told_errors > MAX_TOLD_ERRORS {
            tracing::debug!("the switch at {peer} reports error type {kind} code {code}: {beginning:02x?}");
            return None;
        }
        tracing::warn!("the switch at {peer} reports error type {kind} code {code}: {beginning:02x?}");
        if self.told_errors == MAX_TOLD_ERRORS {
            tracing::warn!("further errors of the switch at {peer} are logged at level debug");
        }
        let dpid = self.dpid?;
        Some(News::Error { what: format!("switch {dpid} reports OpenFlow error type {kind} code {code}") })
    }

    /// Whether it closed without a word: someone wanted to see whether a controller listens.
    #[must_use]
    pub fn only_looked(&self) -> bool {
        !self.spoke
    }
}

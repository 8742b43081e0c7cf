//! One connection to a switch, without its socket.

use std::time::Duration;

use crate::openflow::header::{self, Header};
use crate::openflow::hello::{HELLO, MAX_HELLO_LEN};
use crate::openflow::{
    Command, Config, ErrorReport, Features, FlowMatch, FlowMod, FlowRemoved, Message, PacketIn, ParseError, PortNo,
    PortStatus, Version, Versions,
};

/// How long a switch may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Until it is greeted, if it does not greet first.
    pub greeting: Duration,
    /// Until it greets, and from then on until it has said who it is.
    pub handshake: Duration,
    /// Of silence, until it is asked whether it is there.
    pub silence: Duration,
    /// Of silence, until it is taken for dead.
    pub death: Duration,
    /// Until it reads something of what waits for it.
    pub stall: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            greeting: Duration::from_millis(250),
            handshake: Duration::from_secs(10),
            silence: Duration::from_secs(5),
            death: Duration::from_secs(15),
            stall: Duration::from_secs(10),
        }
    }
}

/// What a message means for the one who drives the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<'a> {
    /// Nothing is to be done, or it was answered already.
    Nothing,
    /// The switch has said what it can do; its flows are being deleted.
    Ready(Features),
    /// A packet that the switch sends to the controller.
    PacketIn(PacketIn<'a>),
    /// A flow of the switch ended.
    FlowRemoved(FlowRemoved),
    /// A port of the switch was added, was deleted or changed.
    PortStatus(PortStatus),
    /// It says that something sent to it was wrong.
    Error(ErrorReport<'a>),
}

/// Why a connection must be closed. What can be told the switch was appended to the session's output.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its first message is no HELLO, or none that can be read.
    #[error("it does not begin with an OpenFlow HELLO: {0}")]
    Hello(ParseError),
    /// The switch and the controller have no version in common.
    #[error("it speaks no version of OpenFlow that was offered: {offered} here, wire version {theirs:#04x} there")]
    Versions {
        /// The versions that the controller offers, in words.
        offered: &'static str,
        /// Highest wire version that the switch offers.
        theirs: u8,
    },
    /// A message that is not right.
    #[error("it sent {0}")]
    Message(ParseError),
    /// A connection beside the main one.
    #[error("it is auxiliary connection {0} of a switch; only main connections are served")]
    Auxiliary(u8),
    /// It took too long to say who it is.
    #[error("it sent no HELLO, or did not identify itself, within {} s", .0.as_secs())]
    Handshake(Duration),
    /// It was silent for too long.
    #[error("it has been silent for {} s, and does not answer an echo request", .0.as_secs())]
    Silent(Duration),
    /// It answered HELLO with an error, HELLO_FAILED.
    #[error("it refused all versions that were offered")]
    Refused,
}

/// Since 1.3 a packet without a flow is dropped, unless a flow of the lowest priority sends it up (section 5.4).
/// Should someone delete that one, we want to know.
fn table_miss() -> FlowMod {
    FlowMod {
        command: Command::Add,
        cookie: TABLE_MISS_COOKIE,
        notify_removal: true,
        output: Some(PortNo::CONTROLLER),
        ..FlowMod::delete(FlowMatch::ANY)
    }
}
/// No other flow has it.
const TABLE_MISS_COOKIE: u64 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No message has come yet.
    Begun,
    /// Versions are agreed on; its features are awaited.
    Greeted(Version),
    /// It is a switch that speaks this version.
    Ready(Version),
}

/// What is known of one connection, and what it waits for.
#[derive(Debug)]
pub struct Session {
    offered: Vec<Version>,
    patience: Patience,
    state: State,
    greeted: bool,
    /// Since when it has been in this state.
    since: Duration,
    /// When its last whole message came.
    heard: Duration,
    asked: bool,
    xid: u32,
}

/// Whether the offer includes 1.3, for the message.
fn offer(versions: &[Version]) -> &'static str {
    match (versions.contains(&Version::V10), versions.contains(&Version::V13)) {
        (true, true) => "1.0 and 1.3",
        (false, true) => "1.3",
        _ => "1.0",
    }
}

impl Session {
    /// A connection that was just accepted.
    ///
    /// Its HELLO goes out when the other side's first message comes, or after [`Patience::greeting`]. Not at once: to
    /// see whether a controller listens, Mininet 2.3 has telnet connect and prints what that says through a terminal
    /// in which byte 1, which every HELLO contains, announces a process id; when the HELLO is quicker than telnet's
    /// end, Mininet waits for that id for ever.
    #[must_use]
    pub fn begin(now: Duration, offered: &[Version], patience: Patience) -> Self {
        Self {
            offered: offered.to_vec(),
            patience,
            state: State::Begun,
            greeted: false,
            since: now,
            heard: now,
            asked: false,
            xid: 1,
        }
    }

    /// Appends the HELLO, if it was not sent yet.
    fn greet(&mut self, out: &mut Vec<u8>) {
        if !self.greeted {
            self.greeted = true;
            Versions::of(&self.offered).emit(1, out);
        }
    }

    /// The version that was agreed on; `None`: not yet.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        match self.state {
            State::Begun => None,
            State::Greeted(version) | State::Ready(version) => Some(version),
        }
    }

    /// Notes that a whole message came.
    pub fn heard(&mut self, now: Duration) {
        self.heard = now;
        self.asked = false;
    }

    /// Notes that for so long nothing of what the switch sent could be taken in.
    pub fn excuse(&mut self, away: Duration) {
        self.since += away;
        self.heard += away;
    }

    /// Cuts the first whole message off `stream`, if it is there. What is obviously no message is refused before it
    /// is whole.
    ///
    /// # Errors
    /// When no message can begin like this.
    pub fn next<'a>(&mut self, stream: &mut &'a [u8], out: &mut Vec<u8>) -> Result<Option<&'a [u8]>, Refusal> {
        if let Some(header) = Header::parse(stream) {
            self.greet(out);
            self.check(&header).inspect_err(|_| self.report_stream(stream, out))?;
        }
        let message = header::next(stream).map_err(Refusal::Message)?;
        if let Some(message) = message {
            *stream = stream.get(message.len()..).unwrap_or_default();
        }
        Ok(message)
    }

    fn check(&self, header: &Header) -> Result<(), Refusal> {
        let error = match self.version() {
            _ if header.length < 8 => Some(ParseError::HeaderLength(header.length)),
            None if header.kind != HELLO => Some(ParseError::Type(header.kind)),
            None if header.version == 0 => Some(ParseError::Version(0)),
            None if header.length > MAX_HELLO_LEN => {
                let length = header.length.into();
                Some(ParseError::Length { what: "a HELLO", length, expected: "at most 1024 are read" })
            }
            // A second HELLO may be of another version; it is read and passed over.
            Some(version) if header.version != version.wire() && header.kind != HELLO => {
                Some(ParseError::Version(header.version))
            }
            _ => None,
        };
        match error {
            None => Ok(()),
            Some(error) if self.state == State::Begun => Err(Refusal::Hello(error)),
            Some(error) => Err(Refusal::Message(error)),
        }
    }

    /// Tells the switch what is wrong with the message that begins `stream`.
    fn report_stream(&mut self, stream: &[u8], out: &mut Vec<u8>) {
        let Some(header) = Header::parse(stream) else { return };
        if let Err(Refusal::Message(error) | Refusal::Hello(error)) = self.check(&header) {
            let version = self.version().unwrap_or(Version::V10);
            let report = Message::Error(error.report(stream));
            self.emit(version, &report, header.xid, out);
        }
    }

    /// Takes one whole message and appends what is to be answered at once.
    ///
    /// # Errors
    /// When the connection is to be closed.
    pub fn message<'a>(&mut self, message: &'a [u8], out: &mut Vec<u8>) -> Result<Step<'a>, Refusal> {
        let (kind, xid) = Header::parse(message).map_or((HELLO, 0), |header| (header.kind, header.xid));
        let version = match self.state {
            State::Begun => return self.hello(message, out),
            _ if kind == HELLO => return Ok(Step::Nothing),
            State::Greeted(version) | State::Ready(version) => version,
        };
        let parsed = if version.is_for_switches(kind) { Err(ParseError::Type(kind)) } else { version.parse(message) };
        let (xid, parsed) = parsed.map_err(|error| {
            self.emit(version, &Message::Error(error.report(message)), xid, out);
            Refusal::Message(error)
        })?;
        match parsed {
            Message::EchoRequest(data) => self.emit(version, &Message::EchoReply(data), xid, out),
            Message::Error(report) if report.kind == 0 => return Err(Refusal::Refused),
            Message::Error(report) => return Ok(Step::Error(report)),
            Message::FeaturesReply(features) if self.state == State::Greeted(version) => {
                return self.features(version, features, out);
            }
            // What a switch has no business to send.
            _ if self.state != State::Ready(version) => {}
            Message::PacketIn(packet) => return Ok(Step::PacketIn(packet)),
            // Without it nothing would come up any more.
            Message::FlowRemoved(FlowRemoved { cookie: TABLE_MISS_COOKIE, matching: FlowMatch::ANY, .. }) => {
                self.emit(version, &Message::FlowMod(table_miss()), xid, out);
            }
            Message::FlowRemoved(removed) => return Ok(Step::FlowRemoved(removed)),
            Message::PortStatus(status) => return Ok(Step::PortStatus(status)),
            _ => {}
        }
        Ok(Step::Nothing)
    }

    fn hello<'a>(&mut self, message: &[u8], out: &mut Vec<u8>) -> Result<Step<'a>, Refusal> {
        let (xid, theirs) = Versions::parse(message).map_err(|error| {
            self.emit(Version::V10, &Message::Error(error.report(message)), 0, out);
            Refusal::Hello(error)
        })?;
        let Some(version) = Versions::agree(&self.offered, theirs) else {
            let offered = offer(&self.offered);
            // OFPET_HELLO_FAILED, OFPHFC_INCOMPATIBLE, with a text for people.
            let report = ErrorReport { kind: 0, code: 0, data: offered.as_bytes() };
            let version = if theirs.highest < Version::V13.wire() { Version::V10 } else { Version::V13 };
            self.emit(version, &Message::Error(report), xid, out);
            return Err(Refusal::Versions { offered, theirs: theirs.highest });
        };
        self.state = State::Greeted(version);
        self.since = self.heard;
        let xid = self.next_xid();
        self.emit(version, &Message::FeaturesRequest, xid, out);
        Ok(Step::Nothing)
    }

    /// Makes the switch start clean.
    fn features<'a>(&mut self, version: Version, features: Features, out: &mut Vec<u8>) -> Result<Step<'a>, Refusal> {
        if features.auxiliary != 0 {
            return Err(Refusal::Auxiliary(features.auxiliary));
        }
        let mut messages = vec![
            // Fragments like all packets, and packets whole.
            Message::SetConfig(Config { flags: 0, miss_send_len: 0xffff }),
            Message::FlowMod(FlowMod::delete(FlowMatch::ANY)),
        ];
        if version == Version::V13 {
            // Without a barrier between them it may be deleted with the others (1.3 section 6.2).
            messages.push(Message::BarrierRequest);
            messages.push(Message::FlowMod(table_miss()));
        }
        // Whatever follows comes after the old flows are gone.
        messages.push(Message::BarrierRequest);
        for message in &messages {
            let xid = self.next_xid();
            self.emit(version, message, xid, out);
        }
        self.state = State::Ready(version);
        Ok(Step::Ready(features))
    }

    /// Takes note of the time. Appends the HELLO when it is due, and an echo request when there has been silence.
    ///
    /// # Errors
    /// When the switch took too long.
    pub fn time(&mut self, now: Duration, out: &mut Vec<u8>) -> Result<(), Refusal> {
        if now >= self.since + self.patience.greeting {
            self.greet(out);
        }
        if !matches!(self.state, State::Ready(_)) && now >= self.since + self.patience.handshake {
            return Err(Refusal::Handshake(self.patience.handshake));
        }
        if now >= self.heard + self.patience.death {
            return Err(Refusal::Silent(self.patience.death));
        }
        if let (State::Ready(version), false) = (self.state, self.asked)
            && now >= self.heard + self.patience.silence
        {
            self.asked = true;
            let xid = self.next_xid();
            self.emit(version, &Message::EchoRequest(b"live-controller"), xid, out);
        }
        Ok(())
    }

    fn next_xid(&mut self) -> u32 {
        self.xid = self.xid.wrapping_add(1);
        self.xid
    }

    fn emit(&self, version: Version, message: &Message<'_>, xid: u32, out: &mut Vec<u8>) {
        // Of these only an echo reply can be long, and no longer than its request was.
        let _ = version.emit(message, xid, out);
    }
}

#[cfg(test)]
mod tests;

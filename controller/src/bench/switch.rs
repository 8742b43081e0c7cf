//! One emulated switch, without its socket: bytes in, bytes out.

use super::answers::{Heard, hear};
use super::ledger::Ledger;
use super::traffic::{PORTS, Traffic};
use crate::mac::MacAddr;
use crate::openflow::hello::HELLO;
use crate::openflow::{
    Config, ErrorReport, Features, Message, Port, PortNo, Version, Versions, header, header::HEADER_LEN,
};

/// OFPBRC_BAD_STAT or OFPBRC_BAD_MULTIPART, OFPBRC_BAD_VENDOR or OFPBRC_BAD_EXPERIMENTER; the same numbers in both
/// versions.
const BAD_STAT: u16 = 2;
const BAD_VENDOR: u16 = 3;
/// OFPET_BAD_REQUEST.
const BAD_REQUEST: u16 = 1;
/// OFPT_VENDOR or OFPT_EXPERIMENTER.
const VENDOR: u8 = 4;
/// OFPT_STATS_REQUEST of 1.0; OFPT_MULTIPART_REQUEST, OFPT_ROLE_REQUEST of 1.3. The reply is one more.
const STATS_REQUEST: u8 = 16;
const MULTIPART_REQUEST: u8 = 18;
const ROLE_REQUEST: u8 = 24;
/// Length of `ofp_desc`, the answer to OFPST_DESC and OFPMP_DESC (both 0).
const DESC_LEN: usize = 1056;

/// Why a switch cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The stream is no OpenFlow.
    #[error("the controller sent something other than OpenFlow: {0}")]
    Unreadable(#[from] crate::openflow::ParseError),
    /// No version in common.
    #[error("the controller does not speak OpenFlow {0}")]
    Version(Version),
}

/// A simulated switch: a connection to the controller.
#[derive(Debug)]
pub struct Switch {
    version: Version,
    number: u16,
    traffic: Traffic,
    ledger: Ledger,
    /// The beginning of a message whose end has not come.
    rest: Vec<u8>,
    /// To be sent.
    out: Vec<u8>,
    introduced: bool,
    errors: u64,
    /// The latest error's type and code.
    latest_error: Option<(u16, u16)>,
}

impl Switch {
    /// Number `number`, which begins with its HELLO.
    pub fn new(version: Version, number: u16, traffic: Traffic, ledger: Ledger) -> Self {
        let mut out = Vec::new();
        Versions::of(&[version]).emit(1, &mut out);
        Self {
            version,
            number,
            traffic,
            ledger,
            rest: Vec::new(),
            out,
            introduced: false,
            errors: 0,
            latest_error: None,
        }
    }

    /// Whether it has said who it is.
    pub fn is_introduced(&self) -> bool {
        self.introduced
    }

    /// Whether any of its packet-ins was answered.
    pub fn is_answered(&self) -> bool {
        self.ledger.is_answered()
    }

    /// Whether packet-ins are under way.
    pub fn is_waiting(&self) -> bool {
        self.ledger.under_way() > 0
    }

    /// Its packet-ins.
    pub fn ledger(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// What is to be sent.
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// OpenFlow errors that the controller sent since this was last asked, and the latest one's type and code.
    pub fn take_errors(&mut self) -> (u64, Option<(u16, u16)>) {
        (std::mem::take(&mut self.errors), self.latest_error.take())
    }

    /// Sends packet-ins, up to `most` and the window. `now` in nanoseconds.
    pub fn send(&mut self, most: u32, now: u64) {
        for _ in 0..self.ledger.room().min(most) {
            let number = self.ledger.send(now);
            self.traffic.emit(number, &mut self.out);
        }
    }

    /// Takes bytes that came from the controller, cut anywhere.
    ///
    /// # Errors
    /// When there is no going on with this controller.
    pub fn receive(&mut self, bytes: &[u8], now: u64) -> Result<(), Trouble> {
        if self.rest.is_empty() {
            let used = self.play(bytes, now)?;
            self.rest.extend_from_slice(bytes.get(used..).unwrap_or_default());
            return Ok(());
        }
        let mut stream = std::mem::take(&mut self.rest);
        stream.extend_from_slice(bytes);
        let used = self.play(&stream, now)?;
        stream.drain(..used);
        self.rest = stream;
        Ok(())
    }

    /// Plays the whole messages at the beginning of `stream`; how many bytes they have.
    fn play(&mut self, stream: &[u8], now: u64) -> Result<usize, Trouble> {
        let mut used = 0;
        while let Some(message) = header::next(stream.get(used..).unwrap_or_default())? {
            used += message.len();
            match hear(self.version, message, self.number) {
                Heard::FlowMod(number) => self.ledger.answer(number, true, now),
                Heard::PacketOut(number) => self.ledger.answer(number, false, now),
                Heard::LoneFlowMod => self.ledger.lone_flow_mod(),
                Heard::Stranger => self.ledger.stranger(),
                Heard::Other => self.converse(message)?,
            }
        }
        Ok(used)
    }

    /// Answers as a switch must.
    fn converse(&mut self, message: &[u8]) -> Result<(), Trouble> {
        if message.get(1) == Some(&HELLO) {
            let (_, theirs) = Versions::parse(message)?;
            let agreed = Versions::agree(&[self.version], theirs);
            return agreed.map(|_| ()).ok_or(Trouble::Version(self.version));
        }
        let (xid, parsed) = self.version.parse(message)?;
        match parsed {
            Message::EchoRequest(data) => self.answer(&Message::EchoReply(data), xid),
            Message::BarrierRequest => self.answer(&Message::BarrierReply, xid),
            Message::GetConfigRequest => {
                self.answer(&Message::GetConfigReply(Config { flags: 0, miss_send_len: 128 }), xid);
            }
            Message::FeaturesRequest => {
                self.answer(&Message::FeaturesReply(self.features()), xid);
                self.introduced = true;
            }
            Message::PortsRequest => self.answer(&Message::PortsReply { ports: self.ports(), more: false }, xid),
            Message::Error(ErrorReport { kind, code, .. }) => {
                self.errors += 1;
                self.latest_error = Some((kind, code));
            }
            Message::Other(kind) => self.answer_other(kind, xid, message),
            // All else wants no answer.
            _ => {}
        }
        Ok(())
    }

    fn answer(&mut self, answer: &Message<'_>, xid: u32) {
        // None of them is longer than what was asked, or than four ports.
        let _ = self.version.emit(answer, xid, &mut self.out);
    }

    /// Messages that the controller of this crate has no use for.
    fn answer_other(&mut self, kind: u8, xid: u32, message: &[u8]) {
        let refuse = |code| {
            let data = message.get(..64).unwrap_or(message);
            Message::Error(ErrorReport { kind: BAD_REQUEST, code, data })
        };
        let body = message.get(HEADER_LEN..).unwrap_or_default();
        let is_description = body.starts_with(&[0, 0]);
        match (self.version, kind) {
            (_, VENDOR) => self.answer(&refuse(BAD_VENDOR), xid),
            (Version::V13, ROLE_REQUEST) => self.answer_raw(ROLE_REQUEST + 1, xid, body),
            // 1.0 section 5.3.5: type and flags; 1.3 section 7.3.5: the same and four bytes of padding.
            (Version::V10, STATS_REQUEST) if is_description => {
                self.answer_raw(STATS_REQUEST + 1, xid, &[0; 4 + DESC_LEN]);
            }
            (Version::V13, MULTIPART_REQUEST) if is_description => {
                self.answer_raw(MULTIPART_REQUEST + 1, xid, &[0; 8 + DESC_LEN]);
            }
            (Version::V10, STATS_REQUEST) | (Version::V13, MULTIPART_REQUEST) => self.answer(&refuse(BAD_STAT), xid),
            _ => {}
        }
    }

    fn answer_raw(&mut self, kind: u8, xid: u32, body: &[u8]) {
        let length = u16::try_from(HEADER_LEN + body.len()).unwrap_or(u16::MAX);
        self.out.extend([self.version.wire(), kind]);
        self.out.extend(length.to_be_bytes());
        self.out.extend(xid.to_be_bytes());
        self.out.extend(body);
    }

    fn features(&self) -> Features {
        let is_10 = self.version == Version::V10;
        Features {
            dpid: 0x0000_be00_0000_0000 | (u64::from(self.number) + 1),
            buffers: 256,
            tables: 1,
            auxiliary: 0,
            capabilities: 0,
            // Of 1.0: output only.
            actions: 1,
            ports: if is_10 { self.ports() } else { Vec::new() },
        }
    }

    fn ports(&self) -> Vec<Port> {
        let [high, low] = self.number.to_be_bytes();
        let port = |number: u32| Port {
            number: PortNo(number),
            mac: MacAddr([0x02, 0xbe, high, low, 0, number as u8]),
            name: format!("s{}-eth{number}", self.number),
            up: true,
        };
        (1..=PORTS).map(port).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::super::traffic::Buffering;
    use super::*;
    use crate::openflow::{BufferId, PacketOut};

    fn switch(version: Version) -> Switch {
        let traffic = Traffic::new(version, 3, 10, Buffering::Buffered, 60).unwrap();
        let mut switch = Switch::new(version, 3, traffic, Ledger::new(8, 1));
        switch.out().clear();
        switch
    }

    fn bytes(version: Version, message: &Message<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        version.emit(message, 9, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn answers_what_a_switch_must_answer() {
        for version in [Version::V10, Version::V13] {
            let mut switch = switch(version);
            let mut ask = |message: &[u8]| {
                switch.receive(message, 0).unwrap();
                std::mem::take(switch.out())
            };
            let echo = ask(&bytes(version, &Message::EchoRequest(b"abc")));
            assert_eq!(version.parse(&echo).unwrap(), (9, Message::EchoReply(b"abc")));
            let barrier = ask(&bytes(version, &Message::BarrierRequest));
            assert_eq!(version.parse(&barrier).unwrap(), (9, Message::BarrierReply));
            let config = ask(&bytes(version, &Message::GetConfigRequest));
            assert!(matches!(version.parse(&config).unwrap(), (9, Message::GetConfigReply(_))));
            let features = ask(&bytes(version, &Message::FeaturesRequest));
            let (9, Message::FeaturesReply(features)) = version.parse(&features).unwrap() else { panic!() };
            assert_eq!(features.ports.len(), if version == Version::V10 { 4 } else { 0 });
            let (statistics, padding) = if version == Version::V10 { (16, 0) } else { (18, 4) };
            let request = |kind: u8| {
                let mut message = vec![version.wire(), statistics, 0, 12 + padding, 0, 0, 0, 9, 0, kind, 0, 0];
                message.resize(12 + usize::from(padding), 0);
                message
            };
            let description = ask(&request(0));
            assert_eq!(description.get(1), Some(&(statistics + 1)));
            assert_eq!(description.len(), 12 + usize::from(padding) + DESC_LEN);
            let refusal = ask(&request(3));
            let (9, Message::Error(refusal)) = version.parse(&refusal).unwrap() else { panic!() };
            assert_eq!((refusal.kind, refusal.code), (1, 2));
            let vendor = ask(&[version.wire(), 4, 0, 12, 0, 0, 0, 9, 0, 0, 0x23, 0x20]);
            let (9, Message::Error(refusal)) = version.parse(&vendor).unwrap() else { panic!() };
            assert_eq!((refusal.kind, refusal.code), (1, 3));
            assert!(ask(&bytes(version, &Message::SetConfig(Config { flags: 0, miss_send_len: 9 }))).is_empty());
            assert!(switch.is_introduced());
        }
        let mut ports = switch(Version::V13);
        ports.receive(&bytes(Version::V13, &Message::PortsRequest), 0).unwrap();
        let (9, Message::PortsReply { ports, more: false }) = Version::V13.parse(&ports.out).unwrap() else {
            panic!()
        };
        assert_eq!(ports.len(), 4);
    }

    #[test]
    fn agrees_on_its_one_version() {
        let hello = |versions: &[Version]| {
            let mut bytes = Vec::new();
            Versions::of(versions).emit(1, &mut bytes);
            bytes
        };
        let both = hello(&[Version::V10, Version::V13]);
        assert_eq!(switch(Version::V10).receive(&both, 0), Ok(()));
        assert_eq!(switch(Version::V13).receive(&both, 0), Ok(()));
        let old = hello(&[Version::V10]);
        assert_eq!(switch(Version::V13).receive(&old, 0), Err(Trouble::Version(Version::V13)));
    }

    #[test]
    fn counts_answers_however_the_stream_is_cut() {
        let version = Version::V10;
        let mut stream = Vec::new();
        for number in 0..8 {
            let buffer = BufferId::new(number);
            let packet = PacketOut { buffer, in_port: PortNo(1), output: None, data: Vec::new().into() };
            stream.extend(bytes(version, &Message::PacketOut(packet)));
        }
        for piece in 1..stream.len() {
            let mut switch = switch(version);
            switch.send(100, 5);
            assert_eq!(switch.out().len(), 8 * (18 + 60));
            for part in stream.chunks(piece) {
                switch.receive(part, 7).unwrap();
            }
            let counts = switch.ledger().take(&mut Vec::new());
            assert_eq!((counts.sent, counts.answered, counts.strange, switch.ledger.under_way()), (8, 8, 0, 0));
        }
    }

    #[test]
    fn errors_are_counted_and_garbage_is_refused() {
        let mut switch = switch(Version::V10);
        let report = Message::Error(ErrorReport { kind: 3, code: 1, data: &[] });
        switch.receive(&bytes(Version::V10, &report), 0).unwrap();
        assert_eq!(switch.take_errors(), (1, Some((3, 1))));
        assert_eq!(switch.take_errors(), (0, None));
        assert!(switch.receive(b"HTTP/1.1", 0).is_ok());
        assert!(switch.receive(&[1, 0, 0, 3, 0, 0, 0, 0], 0).is_ok(), "still a part of what began with HTTP");
        let mut other = super::tests::switch(Version::V10);
        assert!(matches!(other.receive(&[1, 0, 0, 3, 0, 0, 0, 0], 0), Err(Trouble::Unreadable(_))));
    }
}

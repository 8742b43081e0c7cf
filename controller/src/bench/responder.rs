//! A controller that does no work: it sends the same flow-mod for every packet-in. How fast the
//! generator finds it is the generator's own limit.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::channel::Attention;
use crate::openflow::hello::HELLO;
use crate::openflow::{
    BufferId, Command, FlowMatch, FlowMod, Header, Message, PacketOut, PortNo, TooLong, Version, Versions, header,
};

/// OFPT_PACKET_IN and OFPT_ECHO_REQUEST in both versions.
const PACKET_IN: u8 = 10;
const ECHO_REQUEST: u8 = 2;
const READ: usize = 256 << 10;

/// One connection, without its socket.
#[derive(Debug, Default)]
struct Answers {
    /// What is sent for a packet-in with a buffer; what it says once versions are agreed on.
    flow_mod: Option<(Version, Vec<u8>)>,
    rest: Vec<u8>,
}

/// A flow-mod with buffer id 0, for all packets.
fn flow_mod(version: Version) -> Result<Vec<u8>, TooLong> {
    let flow = FlowMod {
        command: Command::Add,
        matching: FlowMatch::ANY,
        cookie: 0,
        idle_timeout: 10,
        hard_timeout: 30,
        priority: 0x8000,
        buffer: BufferId::new(0),
        out_port: None,
        notify_removal: false,
        output: Some(PortNo::FLOOD),
        copies: Vec::new(),
    };
    let mut bytes = Vec::new();
    version.emit(&Message::FlowMod(flow), 0, &mut bytes)?;
    Ok(bytes)
}

impl Answers {
    /// Appends the answers to what came; `None` when it is no OpenFlow that is spoken here.
    fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let mut kept = std::mem::take(&mut self.rest);
        let mut stream = bytes;
        if !kept.is_empty() {
            kept.extend_from_slice(bytes);
            stream = &kept;
        }
        while let Some(message) = header::next(stream).ok()? {
            stream = stream.get(message.len()..)?;
            self.message(message, out)?;
        }
        self.rest = stream.to_vec();
        Some(())
    }

    fn message(&mut self, message: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let Header { kind, xid, .. } = Header::parse(message)?;
        let Some((version, flow_mod)) = &self.flow_mod else {
            return self.greet(message, out);
        };
        match kind {
            PACKET_IN => {
                let buffer: &[u8; 4] = message.get(8..)?.first_chunk()?;
                if BufferId::new(u32::from_be_bytes(*buffer)).is_none() {
                    let (_, Message::PacketIn(packet)) = version.parse(message).ok()? else { return None };
                    let (in_port, data) = (packet.in_port, packet.data.into());
                    let packet = PacketOut { buffer: None, in_port, output: Some(PortNo::FLOOD), data };
                    return version.emit(&Message::PacketOut(packet), xid, out).ok();
                }
                let at = out.len() + if *version == Version::V10 { 64 } else { 32 };
                out.extend_from_slice(flow_mod);
                *out.get_mut(at..)?.first_chunk_mut()? = *buffer;
            }
            ECHO_REQUEST => {
                let (_, Message::EchoRequest(data)) = version.parse(message).ok()? else { return None };
                version.emit(&Message::EchoReply(data), xid, out).ok()?;
            }
            _ => {}
        }
        Some(())
    }

    fn greet(&mut self, message: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let ours = [Version::V10, Version::V13];
        if message.get(1) != Some(&HELLO) {
            return None;
        }
        let version = Versions::agree(&ours, Versions::parse(message).ok()?.1)?;
        Versions::of(&ours).emit(1, out);
        version.emit(&Message::FeaturesRequest, 2, out).ok()?;
        self.flow_mod = Some((version, flow_mod(version).ok()?));
        Some(())
    }
}

/// One connection.
struct Connection {
    stream: TcpStream,
    answers: Answers,
    out: Vec<u8>,
}

/// The controller that does no work.
pub struct Responder {
    poll: Poll,
    listener: TcpListener,
}

const LISTENER: Token = Token(usize::MAX);

impl Responder {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn listen(address: SocketAddr) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(address)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self { poll, listener })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers for ever.
    ///
    /// # Errors
    /// When waiting for sockets fails.
    pub fn serve(mut self) -> io::Result<()> {
        let mut connections: Vec<Option<Connection>> = Vec::new();
        let mut events = Events::with_capacity(1024);
        let mut room = vec![0; READ];
        // It waits as the controller does, or it would be no limit to that.
        let (started, mut attention) = (Instant::now(), Attention::default());
        loop {
            let awake = attention.is_awake(started.elapsed());
            match self.poll.poll(&mut events, awake.then_some(Duration::ZERO)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            match events.is_empty() {
                true => std::thread::yield_now(),
                false => attention.came(started.elapsed()),
            }
            for event in &events {
                if event.token() == LISTENER {
                    while let Ok((mut stream, _)) = self.listener.accept() {
                        let _ = stream.set_nodelay(true);
                        let token = Token(connections.len());
                        let interest = Interest::READABLE | Interest::WRITABLE;
                        self.poll.registry().register(&mut stream, token, interest)?;
                        connections.push(Some(Connection { stream, answers: Answers::default(), out: Vec::new() }));
                    }
                } else if let Some(place) = connections.get_mut(event.token().0)
                    && place.as_mut().is_some_and(|connection| !connection.go_on(&mut room))
                {
                    *place = None;
                }
            }
        }
    }
}

impl Connection {
    /// Reads and writes what there is; whether the connection goes on.
    fn go_on(&mut self, room: &mut [u8]) -> bool {
        loop {
            // What cannot be sent keeps more from being read, so that nothing piles up.
            while !self.out.is_empty() {
                match self.stream.write(&self.out) {
                    Ok(went) => drop(self.out.drain(..went)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => return false,
                }
            }
            match self.stream.read(room) {
                Ok(0) => return false,
                Ok(came) => {
                    if self.answers.receive(room.get(..came).unwrap_or_default(), &mut self.out).is_none() {
                        return false;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::answers::{Heard, hear};
    use super::super::traffic::{Buffering, Traffic};
    use super::*;

    #[test]
    fn every_packet_in_gets_its_answer() {
        for version in [Version::V10, Version::V13] {
            for (buffering, answer) in
                [(Buffering::Buffered, Heard::FlowMod(9)), (Buffering::Unbuffered, Heard::PacketOut(9))]
            {
                let mut answers = Answers::default();
                let (mut hello, mut out) = (Vec::new(), Vec::new());
                Versions::of(&[version]).emit(1, &mut hello);
                answers.receive(&hello, &mut out).unwrap();
                out.clear();
                let mut bytes = Vec::new();
                Traffic::new(version, 1, 10, buffering, 60).unwrap().emit(9, &mut bytes);
                let (first, second) = bytes.split_at(11);
                answers.receive(first, &mut out).unwrap();
                assert!(out.is_empty());
                answers.receive(second, &mut out).unwrap();
                assert_eq!(hear(version, header::next(&out).unwrap().unwrap(), 1), answer);
            }
        }
    }
}

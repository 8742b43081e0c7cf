//! What RTMP clients and servers say, and the TCP that carries it.

use std::net::SocketAddrV4;

use livectl_wire::amf0::Value;
use livectl_wire::command::{Command, Status};
use livectl_wire::rtmp::{Header, Writer, kind};

use super::TcpFrame;
use crate::frame::Frame;

/// Who of two speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    Client,
    Server,
}
use Host::{Client, Server};

const MSS: usize = 1448;

/// One TCP connection, spoken by both sides in turn.
#[derive(Debug, Clone)]
pub struct TcpTalk {
    pub client: SocketAddrV4,
    pub server: SocketAddrV4,
    next: [u32; 2],
}

impl TcpTalk {
    /// The server's initial sequence number lies in the upper half of the circle, the client's near its end.
    pub fn between(client: &str, server: &str) -> Self {
        let client: SocketAddrV4 = client.parse().unwrap();
        let isn = 0xffff_ff00u32.wrapping_add(client.port().into());
        Self { client, server: server.parse().unwrap(), next: [isn, 0x9000_0000] }
    }

    fn frame(&self, from: Host) -> TcpFrame {
        let (src, dst) = match from {
            Client => (self.client, self.server),
            Server => (self.server, self.client),
        };
        let (mine, other) = (from as usize, 1 - from as usize);
        TcpFrame::from_to(src, dst).seq(self.next[mine]).ack(self.next[other])
    }

    /// SYN, SYN-ACK, ACK.
    pub fn open(&mut self) -> Vec<Vec<u8>> {
        let syn = self.frame(Client).syn().ack(0).bytes();
        self.next[0] = self.next[0].wrapping_add(1);
        let syn_ack = self.frame(Server).syn_ack().bytes();
        self.next[1] = self.next[1].wrapping_add(1);
        vec![syn, syn_ack, self.frame(Client).bytes()]
    }

    /// Segments with these bytes, and the other side's acknowledgement.
    pub fn say(&mut self, from: Host, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        for part in bytes.chunks(MSS) {
            frames.push(self.frame(from).payload(part).bytes());
            self.next[from as usize] = self.next[from as usize].wrapping_add(part.len() as u32);
        }
        let other = if from == Client { Server } else { Client };
        frames.push(self.frame(other).bytes());
        frames
    }

    /// An acknowledgement and nothing else.
    pub fn ack(&self, from: Host) -> Vec<u8> {
        self.frame(from).bytes()
    }

    pub fn reset(&self, from: Host) -> Vec<u8> {
        self.frame(from).rst().bytes()
    }

    /// FIN and its acknowledgement.
    pub fn close(&mut self, from: Host) -> Vec<Vec<u8>> {
        let fin = self.frame(from).fin().bytes();
        self.next[from as usize] = self.next[from as usize].wrapping_add(1);
        let other = if from == Client { Server } else { Client };
        vec![fin, self.frame(other).bytes()]
    }
}

fn command(writer: &mut Writer, stream_id: u32, command: &Command) -> Vec<u8> {
    let mut out = Vec::new();
    let header = Header { chunk_stream: 3, kind: kind::COMMAND_AMF0, stream_id, timestamp: 0 };
    writer.write(header, &command.emit(), &mut out).unwrap();
    out
}

/// What both sides say from the handshake to the server's yes (`code`), in turn. The last is that yes, with the first
/// video message in the same breath when the client plays.
fn talk(asks: &Command, code: &str) -> Vec<(Host, Vec<u8>)> {
    let (mut up, mut down) = (Writer::new(), Writer::new());
    let mut handshake = vec![3];
    handshake.resize(1 + 1536, 7);
    let mut both = handshake.clone();
    both.extend([8; 1536]);
    let connect =
        Command::Connect { transaction: 1.0, app: "live".into(), tc_url: Some("rtmp://10.0.0.3:1935/live".into()) };
    let result = |transaction, value| Command::Result { transaction, value };
    let status = Status { level: "status".to_owned(), code: code.to_owned(), description: "Start".to_owned() };
    let mut yes = command(&mut down, 1, &Command::OnStatus(status));
    if code == "NetStream.Play.Start" {
        let header = Header { chunk_stream: 6, kind: kind::VIDEO, stream_id: 1, timestamp: 0 };
        down.write(header, &[0x22; 500], &mut yes).unwrap();
    }
    vec![
        (Client, handshake),
        (Server, both),
        (Client, vec![9; 1536]),
        (Client, command(&mut up, 0, &connect)),
        (Server, command(&mut down, 0, &result(1.0, Some("NetConnection.Connect.Success".into())))),
        (Client, command(&mut up, 0, &Command::CreateStream { transaction: 2.0 })),
        (Server, command(&mut down, 0, &result(2.0, Some(Value::Number(1.0))))),
        (Client, command(&mut up, 1, asks)),
        (Server, yes),
    ]
}

/// A client that plays, and is let.
pub fn play(name: &str) -> Vec<(Host, Vec<u8>)> {
    talk(&Command::Play { transaction: 0.0, name: name.into() }, "NetStream.Play.Start")
}

/// A client that publishes, and is let.
pub fn publish(name: &str) -> Vec<(Host, Vec<u8>)> {
    let mode = Some("live".into());
    talk(&Command::Publish { transaction: 0.0, name: name.into(), mode }, "NetStream.Publish.Start")
}

/// The connections of a classic pcap file of Ethernet frames, each as its frames in order. Beside ffmpeg's they are
/// nginx-rtmp's.
pub fn captured_connections(pcap: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut connections: Vec<(SocketAddrV4, Vec<Vec<u8>>)> = Vec::new();
    let mut rest = &pcap[24..];
    while rest.len() > 16 {
        let length = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        let frame = rest[16..16 + length].to_vec();
        rest = &rest[16 + length..];
        let tcp = Frame::parse(&frame).unwrap().tcp().unwrap();
        let client = if tcp.dst.port() == 1935 { tcp.src } else { tcp.dst };
        match connections.iter_mut().find(|(of, _)| *of == client) {
            Some((_, frames)) => frames.push(frame),
            None => connections.push((client, vec![frame])),
        }
    }
    connections.into_iter().map(|(_, frames)| frames).collect()
}

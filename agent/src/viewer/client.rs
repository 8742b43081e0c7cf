//! A player of the agent's own: what asks the CDN for the stream when the session that the real player began there is
//! gone.

use livectl_wire::amf0::Value;
use livectl_wire::command::{Command, Status};
use livectl_wire::rtmp::{
    HANDSHAKE_LEN, Header, Limits, Media as Keep, Message, Reader, RtmpError, VERSION, Writer, kind,
};

use super::merge::Tag;
use super::player::padding;
use crate::conversation::Wish;
use crate::media::Media;

/// Length of C1, S1, C2 and S2 (section 5.2.3).
const GREETING: usize = (HANDSHAKE_LEN as usize - 1) / 2;
/// Which answer belongs to `connect` (section 7.2.1.1: always 1), and to `createStream`.
const CONNECT: f64 = 1.0;
const CREATE: f64 = 2.0;
/// What a player says that it buffers, in milliseconds; live servers do not look at it.
const BUFFER: u32 = 0;
/// User Control events (section 7.1.7).
const SET_BUFFER: u16 = 3;
const PING_REQUEST: u16 = 6;
const PING_RESPONSE: u16 = 7;
/// Chunk stream of commands that are put between those of a player; nginx-rtmp allows ids below 32, and programs use
/// 2 to 8.
const OWN_CHUNK_STREAM: u32 = 29;

/// What the server has said to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// It consents to the play.
    Accepted,
    /// It refuses the play, for this reason.
    Refused(String),
    /// The stream is being published.
    Published,
    /// The stream is not published any more.
    Unpublished,
    /// It is silent, as it was asked to be.
    Paused,
    /// It goes on, as it was asked to.
    Resumed,
}

/// A client from its first byte on.
#[derive(Debug)]
pub struct Client {
    wish: Wish,
    reader: Reader,
    writer: Writer,
    /// The server's part of the handshake up to the end of S1.
    greeting: Vec<u8>,
    stream_id: Option<u32>,
    received: u64,
    acknowledged: u64,
    window: Option<u32>,
}

impl Client {
    /// A client that will ask for `wish`, and what it sends first.
    #[must_use]
    pub fn new(wish: Wish) -> (Self, Vec<u8>) {
        let client = Self {
            wish,
            reader: Reader::new(Limits::default(), Keep::Whole),
            writer: Writer::new(),
            greeting: Vec::new(),
            stream_id: None,
            received: 0,
            acknowledged: 0,
            window: None,
        };
        // C0, and C1 with time and version 0, which asks for no digests. What is to be random may be anything.
        let mut first = vec![VERSION];
        first.resize(1 + GREETING, 0);
        (client, first)
    }

    /// Takes what the server has sent, hands on media, and appends to `out` what is to be answered.
    ///
    /// # Errors
    /// When it is not RTMP.
    pub fn take(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        mut media: impl FnMut(Tag),
    ) -> Result<Vec<News>, RtmpError> {
        let missing = (1 + GREETING).saturating_sub(self.greeting.len());
        if missing > 0 {
            self.greeting.extend(bytes.iter().take(missing));
            if self.greeting.len() == 1 + GREETING {
                // C2 repeats S1.
                out.extend_from_slice(self.greeting.get(1..).unwrap_or_default());
                let Wish { app, tc_url, .. } = self.wish.clone();
                say(&mut self.writer, &Command::Connect { transaction: CONNECT, app, tc_url }, 0, out);
                say(&mut self.writer, &Command::CreateStream { transaction: CREATE }, 0, out);
            }
        }
        self.received += bytes.len() as u64;
        let Self { reader, writer, wish, stream_id, window, .. } = self;
        let mut news = Vec::new();
        reader.push(bytes, |message| match Media::of(&message) {
            Some(Media { kind, timestamp, payload, .. }) => media(Tag::of(kind, timestamp, payload.to_vec())),
            None => match message.kind {
                kind::COMMAND_AMF0 | kind::COMMAND_AMF3 => {
                    news.extend(command(&message, writer, wish, stream_id, out));
                }
                kind::WINDOW_SIZE => *window = message.payload.first_chunk().map(|size| u32::from_be_bytes(*size)),
                _ => {
                    if let Some(answer) = ping_response(&message) {
                        control(writer, kind::USER_CONTROL, &answer, out);
                    }
                }
            },
        })?;
        if let Some(window) = self.window
            && self.received - self.acknowledged >= u64::from(window / 2).max(1)
        {
            self.acknowledged = self.received;
            // The sequence number begins again after 2³² bytes (section 5.4.3).
            control(&mut self.writer, kind::ACKNOWLEDGEMENT, &(self.received as u32).to_be_bytes(), out);
        }
        Ok(news)
    }

    /// Appends to `out` what asks the server to be silent, or to go on.
    pub fn pause(&mut self, pause: bool, out: &mut Vec<u8>) {
        if let Some(stream_id) = self.stream_id {
            say(&mut self.writer, &Command::Pause { pause, milliseconds: 0.0 }, stream_id, out);
        }
    }
}

fn command(
    message: &Message<'_>,
    writer: &mut Writer,
    wish: &Wish,
    stream_id: &mut Option<u32>,
    out: &mut Vec<u8>,
) -> Option<News> {
    let refused = |status: Status| News::Refused(format!("{}: {}", status.code, status.description));
    match Command::parse(message.kind, message.payload, livectl_wire::amf0::Limits::default()).ok()? {
        Command::Result { transaction, value: Some(Value::Number(id)) } if transaction == CREATE => {
            // Ids are small whole numbers; what is none would be refused by the server.
            let id = id as u32;
            *stream_id = Some(id);
            let play = Command::Play { transaction: 0.0, name: wish.name.clone() };
            say(writer, &play, id, out);
            let buffer = [&SET_BUFFER.to_be_bytes()[..], &id.to_be_bytes(), &BUFFER.to_be_bytes()].concat();
            control(writer, kind::USER_CONTROL, &buffer, out);
            None
        }
        Command::Error { status, .. } => Some(refused(status)),
        Command::OnStatus(status) => match status.code.as_str() {
            "NetStream.Play.Start" => Some(News::Accepted),
            "NetStream.Play.PublishNotify" => Some(News::Published),
            "NetStream.Play.UnpublishNotify" => Some(News::Unpublished),
            "NetStream.Pause.Notify" => Some(News::Paused),
            "NetStream.Unpause.Notify" => Some(News::Resumed),
            _ if status.level == "error" => Some(refused(status)),
            _ => None,
        },
        _ => None,
    }
}

fn say(writer: &mut Writer, command: &Command, stream_id: u32, out: &mut Vec<u8>) {
    let header = Header { chunk_stream: 3, kind: kind::COMMAND_AMF0, stream_id, timestamp: 0 };
    // Commands are far shorter than a message may be.
    let _ = writer.write(header, &command.emit(), out);
}

fn control(writer: &mut Writer, kind: u8, payload: &[u8], out: &mut Vec<u8>) {
    let header = Header { chunk_stream: 2, kind, stream_id: 0, timestamp: 0 };
    let _ = writer.write(header, payload, out);
}

/// What is to be answered to a message, if it is a ping.
#[must_use]
pub fn ping_response(message: &Message<'_>) -> Option<[u8; 6]> {
    let [a, b, time @ ..] = message.payload.first_chunk::<6>()?;
    if message.kind != kind::USER_CONTROL || u16::from_be_bytes([*a, *b]) != PING_REQUEST {
        return None;
    }
    let [c, d] = PING_RESPONSE.to_be_bytes();
    let [t0, t1, t2, t3] = *time;
    Some([c, d, t0, t1, t2, t3])
}

/// Messages that are put between those of a player whose chunks have `chunk_size` bytes: on a chunk stream of their
/// own, so that they do not touch what its headers leave out.
#[must_use]
pub fn between(chunk_size: u32, stream_id: u32, message: &Between) -> Vec<u8> {
    let (kind, payload, stream_id) = match message {
        Between::Pause(pause) => {
            (kind::COMMAND_AMF0, Command::Pause { pause: *pause, milliseconds: 0.0 }.emit(), stream_id)
        }
        Between::PingResponse(payload) => (kind::USER_CONTROL, payload.to_vec(), 0),
        Between::Padding(bytes) => (kind::DATA_AMF0, padding(*bytes), stream_id),
    };
    let header = Header { chunk_stream: OWN_CHUNK_STREAM, kind, stream_id, timestamp: 0 };
    let mut out = Vec::new();
    // It is not too long for a message.
    let _ = Writer::new().with_chunk_size(chunk_size).write(header, &payload, &mut out);
    out
}

/// What may be put between another's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Between {
    /// Asks to be silent (true), or to go on.
    Pause(bool),
    /// Answers a ping.
    PingResponse([u8; 6]),
    /// Says nothing, in so many bytes.
    Padding(u16),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use livectl_wire::flv::TagKind;
    use proptest::prelude::*;

    use super::*;

    fn wish() -> Wish {
        Wish { app: "live?token=1".into(), tc_url: Some("rtmp://cdn/live".into()), name: "hb?x=2".into() }
    }

    /// S0, S1, S2 that differ in every byte.
    fn greeting() -> Vec<u8> {
        std::iter::once(VERSION).chain((0..2 * GREETING).map(|n| n as u8)).collect()
    }

    fn commands(sent: &[u8], reader: &mut Reader) -> Vec<(u32, Command)> {
        let mut said = Vec::new();
        let hear = |m: Message<'_>| {
            said.extend(Command::parse(m.kind, m.payload, Default::default()).ok().map(|c| (m.stream_id, c)))
        };
        reader.push(sent, hear).unwrap();
        said
    }

    fn serve(writer: &mut Writer, command: &Command, stream_id: u32) -> Vec<u8> {
        let mut out = Vec::new();
        say(writer, command, stream_id, &mut out);
        out
    }

    fn status(code: &str) -> Command {
        Command::OnStatus(Status { level: "status".into(), code: code.into(), description: String::new() })
    }

    #[test]
    fn from_the_handshake_to_a_picture() {
        let (mut client, first) = Client::new(wish());
        assert_eq!(first.len(), 1 + GREETING);
        let mut server = Reader::new(Limits::default(), Keep::Whole);
        server.push(&first, |_| ()).unwrap();
        let mut out = Vec::new();
        for byte in greeting() {
            client.take(&[byte], &mut out, |_| ()).unwrap();
        }
        assert_eq!(out[..GREETING], greeting()[1..=GREETING], "C2 repeats S1");
        let said = commands(&out, &mut server);
        let connect = Command::Connect { transaction: 1.0, app: wish().app, tc_url: wish().tc_url };
        assert_eq!(said, [(0, connect), (0, Command::CreateStream { transaction: 2.0 })]);
        let mut writer = Writer::new();
        out.clear();
        let result = Command::Result { transaction: 2.0, value: Some(5.0.into()) };
        client.take(&serve(&mut writer, &result, 0), &mut out, |_| ()).unwrap();
        assert_eq!(commands(&out, &mut server), [(5, Command::Play { transaction: 0.0, name: wish().name })]);
        let news = client.take(&serve(&mut writer, &status("NetStream.Play.Start"), 5), &mut out, |_| ()).unwrap();
        assert_eq!(news, [News::Accepted]);
        let (mut bytes, mut tags) = (Vec::new(), Vec::new());
        let header = Header { chunk_stream: 6, kind: kind::VIDEO, stream_id: 5, timestamp: 7 };
        writer.write(header, &[0x12; 500], &mut bytes).unwrap();
        client.take(&bytes, &mut out, |tag| tags.push(tag)).unwrap();
        assert_eq!(tags, [Tag::of(TagKind::Video, 7, vec![0x12; 500])]);
        out.clear();
        client.pause(true, &mut out);
        assert_eq!(commands(&out, &mut server), [(5, Command::Pause { pause: true, milliseconds: 0.0 })]);
    }

    #[test]
    fn pings_are_answered_and_bytes_acknowledged() {
        let (mut client, _) = Client::new(wish());
        let (mut out, mut writer, mut bytes) = (Vec::new(), Writer::new(), greeting());
        control(&mut writer, kind::USER_CONTROL, &[0, 6, 1, 2, 3, 4], &mut bytes);
        control(&mut writer, kind::WINDOW_SIZE, &2000u32.to_be_bytes(), &mut bytes);
        client.take(&bytes, &mut out, |_| ()).unwrap();
        let mut found = Vec::new();
        let mut reader = Reader::after_handshake(Limits::default(), Keep::Whole);
        reader.push(&out[GREETING..], |m| found.push((m.kind, m.payload.to_vec()))).unwrap();
        assert_eq!(found[2], (kind::USER_CONTROL, vec![0, 7, 1, 2, 3, 4]));
        assert_eq!(found[3], (kind::ACKNOWLEDGEMENT, (bytes.len() as u32).to_be_bytes().to_vec()));
    }

    #[test]
    fn refusals() {
        let (mut client, _) = Client::new(wish());
        let mut out = Vec::new();
        client.take(&greeting(), &mut out, |_| ()).unwrap();
        let error =
            Status { level: "error".into(), code: "NetConnection.Connect.Rejected".into(), description: "no".into() };
        let answer = serve(&mut Writer::new(), &Command::Error { transaction: 1.0, status: error }, 0);
        let news = client.take(&answer, &mut out, |_| ()).unwrap();
        assert_eq!(news, [News::Refused("NetConnection.Connect.Rejected: no".into())]);
        let no_chunks = [2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(client.take(&no_chunks, &mut out, |_| ()).is_err());
    }

    #[test]
    fn a_message_between_those_of_a_player_disturbs_none() {
        let mut writer = Writer::new();
        let mut bytes = Vec::new();
        writer.set_chunk_size(10, &mut bytes).unwrap();
        let header = |timestamp| Header { chunk_stream: 3, kind: kind::COMMAND_AMF0, stream_id: 1, timestamp };
        let play = Command::Play { transaction: 4.0, name: "hb".into() };
        writer.write(header(0), &play.emit(), &mut bytes).unwrap();
        bytes.extend(between(10, 1, &Between::Pause(true)));
        writer.write(header(5), &play.emit(), &mut bytes).unwrap();
        let mut reader = Reader::after_handshake(Limits::default(), Keep::Whole);
        let said = commands(&bytes, &mut reader);
        let pause = Command::Pause { pause: true, milliseconds: 0.0 };
        assert_eq!(said, [(1, play.clone()), (1, pause), (1, play)]);
    }

    proptest! {
        #[test]
        fn any_server(bytes in proptest::collection::vec(any::<u8>(), 0..600), cut in 0usize..600) {
            let (mut client, _) = Client::new(wish());
            let mut out = Vec::new();
            let all = [greeting(), bytes].concat();
            let (a, b) = all.split_at(cut.min(all.len()));
            let _ = client.take(a, &mut out, |_| ());
            let _ = client.take(b, &mut out, |_| ());
        }
    }
}

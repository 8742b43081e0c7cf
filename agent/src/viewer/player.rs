//! The player's session, when the agent writes into it.

use livectl_wire::amf0::Value;
use livectl_wire::command::{Command, Status};
use livectl_wire::flv::TagKind;
use livectl_wire::rtmp::{Header, Message, Writer, kind};

use super::merge::Tag;

/// Chunk size that the agent writes with: most frames are one chunk.
const CHUNK_SIZE: u32 = 1 << 16;
/// Chunk streams, one for each kind of message, as nginx-rtmp has them: a message's header leaves out what the one
/// before it has said.
const CONTROL: u32 = 2;
const COMMANDS: u32 = 5;
const AUDIO: u32 = 6;
const VIDEO: u32 = 7;
/// User Control event (section 7.1.7).
const STREAM_EOF: u16 = 1;

/// Writes messages into a session that another sender has begun, from the end of a message on.
#[derive(Debug)]
pub struct Player {
    writer: Writer,
    stream_id: u32,
}

impl Player {
    /// Of the play on that message stream, and what is written first. All headers that follow are whole, for a new
    /// writer leaves out nothing that it has not said itself.
    #[must_use]
    pub fn new(stream_id: u32) -> (Self, Vec<u8>) {
        let (mut writer, mut out) = (Writer::new(), Vec::new());
        // An allowed size.
        let _ = writer.set_chunk_size(CHUNK_SIZE, &mut out);
        (Self { writer, stream_id }, out)
    }

    /// A tag of the stream.
    pub fn tag(&mut self, tag: &Tag) -> Vec<u8> {
        let chunk_stream = match tag.kind {
            TagKind::Audio => AUDIO,
            TagKind::Video => VIDEO,
            TagKind::Script => COMMANDS,
        };
        self.message(chunk_stream, tag.kind.id(), self.stream_id, tag.timestamp, &tag.payload)
    }

    /// A message of the CDN's that is not of the stream: an answer to something that the player has asked. `None`: it
    /// is about the connection to the CDN, or about how the CDN gives the stream, and not for the player.
    pub fn answer(&mut self, message: &Message<'_>) -> Option<Vec<u8>> {
        let limits = livectl_wire::amf0::Limits::default();
        match Command::parse(message.kind, message.payload, limits).ok()? {
            Command::Result { .. } | Command::Error { .. } => (),
            _ => return None,
        }
        let Message { kind, stream_id, timestamp, payload, .. } = *message;
        Some(self.message(COMMANDS, kind, stream_id, timestamp, payload))
    }

    /// The end of the stream, in nginx-rtmp's words, after so many bytes of [`padding`].
    pub fn end(&mut self, filler: u16) -> Vec<u8> {
        let eof = [&STREAM_EOF.to_be_bytes()[..], &self.stream_id.to_be_bytes()].concat();
        let mut out = Vec::new();
        if filler > 0 {
            out.extend(self.message(COMMANDS, kind::DATA_AMF0, self.stream_id, 0, &padding(filler)));
        }
        out.extend(self.message(CONTROL, kind::USER_CONTROL, 0, 0, &eof));
        for (code, description) in
            [("NetStream.Play.UnpublishNotify", "Stop publishing"), ("NetStream.Play.Stop", "Stop live")]
        {
            let status = Status { level: "status".into(), code: code.into(), description: description.into() };
            let payload = Command::OnStatus(status).emit();
            out.extend(self.message(COMMANDS, kind::COMMAND_AMF0, self.stream_id, 0, &payload));
        }
        out
    }

    fn message(&mut self, chunk_stream: u32, kind: u8, stream_id: u32, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(payload.len() + 64);
        // What came as a message, or as a tag, is not too long for one.
        let _ = self.writer.write(Header { chunk_stream, kind, stream_id, timestamp }, payload, &mut out);
        out
    }
}

/// The payload of a data message that says nothing: the AMF0 string `onPadding` and another one of so many bytes.
/// Players that lose the end of a stream, as mplayer does when it dumps one, lose this.
#[must_use]
pub fn padding(bytes: u16) -> Vec<u8> {
    let mut payload = Vec::new();
    Value::String("onPadding".into()).encode(&mut payload);
    Value::String(vec![b' '; bytes.into()]).encode(&mut payload);
    payload
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use livectl_wire::rtmp::{Limits, Media, Reader};

    use super::*;

    #[test]
    fn a_session_that_another_began_goes_on() {
        let mut bytes = Vec::new();
        let mut other = Writer::new();
        other.set_chunk_size(4096, &mut bytes).unwrap();
        let header = |timestamp| Header { chunk_stream: 7, kind: kind::VIDEO, stream_id: 1, timestamp };
        other.write(header(0x0100_0000), &[0x12; 5000], &mut bytes).unwrap();
        other.write(header(0x0100_0021), &[0x22; 5000], &mut bytes).unwrap();
        let (mut player, first) = Player::new(1);
        bytes.extend(first);
        for timestamp in [0x0100_0042, 0x0100_0063] {
            bytes.extend(player.tag(&Tag::of(TagKind::Video, timestamp, vec![0x22; 100_000])));
            bytes.extend(player.tag(&Tag::of(TagKind::Audio, timestamp, vec![0xaf, 1])));
        }
        bytes.extend(player.end(0));
        let mut found = Vec::new();
        let mut reader = Reader::after_handshake(Limits::default(), Media::Whole);
        reader.push(&bytes, |m| found.push((m.kind, m.stream_id, m.timestamp, m.length))).unwrap();
        let video = |timestamp, length| (kind::VIDEO, 1, timestamp, length);
        let audio = |timestamp| (kind::AUDIO, 1, timestamp, 2);
        let media: Vec<_> = found.iter().copied().filter(|m| matches!(m.0, kind::VIDEO | kind::AUDIO)).collect();
        let expected = [
            video(0x0100_0000, 5000),
            video(0x0100_0021, 5000),
            video(0x0100_0042, 100_000),
            audio(0x0100_0042),
            video(0x0100_0063, 100_000),
            audio(0x0100_0063),
        ];
        assert_eq!(media, expected);
        let tail: Vec<u8> = found.iter().rev().take(3).map(|m| m.0).collect();
        assert_eq!(tail, [kind::COMMAND_AMF0, kind::COMMAND_AMF0, kind::USER_CONTROL]);
    }

    #[test]
    fn answers_pass_and_what_the_cdn_says_of_itself_does_not() {
        let (mut player, _) = Player::new(1);
        let mut pass = |kind, payload: &[u8]| {
            let length = payload.len() as u32;
            let message = Message { kind, stream_id: 0, chunk_stream: 3, timestamp: 0, length, payload, spans: &[] };
            player.answer(&message).is_some()
        };
        assert!(pass(kind::COMMAND_AMF0, &Command::Result { transaction: 7.0, value: None }.emit()));
        let paused = Status { code: "NetStream.Pause.Notify".into(), ..Status::default() };
        assert!(!pass(kind::COMMAND_AMF0, &Command::OnStatus(paused).emit()));
        assert!(!pass(kind::USER_CONTROL, &[0, 1, 0, 0, 0, 1]));
        assert!(!pass(kind::SET_CHUNK_SIZE, &[0, 0, 16, 0]));
    }
}

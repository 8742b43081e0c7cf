//! What client and server say to each other while an agent passes it on.

use livectl_wire::StreamKey;
use livectl_wire::amf0::Limits;
use livectl_wire::command::{Command, Status};
use livectl_wire::rtmp::{Message, kind};

/// Message streams that are remembered of one connection; programs use one.
const MAX_STREAMS: usize = 64;

/// What a client does with a message stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The client publishes on it.
    Publish,
    /// The client plays on it.
    Play,
}

/// Something that matters to an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// The client asks to publish or to play.
    Asked {
        /// Whether it wants to publish or to play.
        part: Part,
        /// The message stream that it asks for.
        stream_id: u32,
        /// The stream; `Err`: its name, without arguments, when heartbeats cannot carry it.
        stream: Result<StreamKey, String>,
    },
    /// The server has consented to a publish or play.
    Accepted {
        /// What was asked for: to publish or to play.
        part: Part,
        /// The message stream that was asked for.
        stream_id: u32,
    },
    /// The server has refused a publish or play.
    Refused {
        /// What was asked for: to publish or to play.
        part: Part,
        /// The message stream that was asked for.
        stream_id: u32,
        /// The reason as a code: `NetStream.Publish.BadName` and the like.
        code: String,
        /// The reason as the server says it.
        why: String,
    },
    /// The client ends what it does on this message stream.
    Left(u32),
    /// The server says to a player that the stream has ended (`NetStream.Play.UnpublishNotify`).
    Unpublished,
    /// The server says to a player that the stream is being published (`NetStream.Play.PublishNotify`).
    Published,
    /// The server has paused what it sends on a message stream, as it was asked to (`NetStream.Pause.Notify`).
    Paused,
    /// It goes on, as it was asked to (`NetStream.Unpause.Notify`).
    Resumed,
}

/// What a client asks for, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wish {
    /// Application name, with what may follow it.
    pub app: Vec<u8>,
    /// Where it thinks that it is connected to.
    pub tc_url: Option<Vec<u8>>,
    /// Stream name, with what may follow it.
    pub name: Vec<u8>,
}

/// Follows the commands of a connection in both directions.
#[derive(Debug, Default)]
pub struct Conversation {
    app: Vec<u8>,
    tc_url: Option<Vec<u8>>,
    streams: Vec<Stream>,
}

#[derive(Debug, Clone)]
struct Stream {
    id: u32,
    part: Part,
    /// Stream name, as the client gives it.
    name: Vec<u8>,
}

impl Conversation {
    /// Takes a message of the client's.
    pub fn client(&mut self, message: &Message<'_>) -> Option<Meaning> {
        match command(message)? {
            Command::Connect { app, tc_url, .. } => {
                (self.app, self.tc_url) = (app, tc_url);
                None
            }
            Command::Publish { name, .. } => Some(self.asked(Part::Publish, message.stream_id, name)),
            Command::Play { name, .. } => Some(self.asked(Part::Play, message.stream_id, name)),
            // A stream id is a small whole number; what is none was never given out by a server.
            Command::CloseStream { stream: Some(stream) } => self.left(|s| f64::from(s.id) == stream),
            Command::CloseStream { stream: None } => self.left(|s| s.id == message.stream_id),
            Command::Unpublish { name, .. } => self.left(|s| s.part == Part::Publish && s.name == name),
            _ => None,
        }
    }

    /// Takes a message of the server's.
    pub fn server(&mut self, message: &Message<'_>) -> Option<Meaning> {
        let Status { code, description, level } = match command(message)? {
            Command::OnStatus(status) => status,
            Command::Error { status, .. } => Status { level: "error".into(), ..status },
            _ => return None,
        };
        match code.as_str() {
            "NetStream.Play.UnpublishNotify" => return Some(Meaning::Unpublished),
            "NetStream.Play.PublishNotify" => return Some(Meaning::Published),
            "NetStream.Pause.Notify" => return Some(Meaning::Paused),
            "NetStream.Unpause.Notify" => return Some(Meaning::Resumed),
            _ => (),
        }
        let part = match code.as_str() {
            code if code.starts_with("NetStream.Publish.") => Some(Part::Publish),
            code if code.starts_with("NetStream.Play.") => Some(Part::Play),
            _ => None,
        };
        let of_part = |stream: &&Stream| part.is_none_or(|part| part == stream.part);
        let mut fitting = self.streams.iter().filter(of_part);
        // Servers answer on the message stream that it is about, or on 0.
        let named = self.streams.iter().filter(of_part).find(|stream| stream.id == message.stream_id);
        let stream = named.or_else(|| fitting.next_back())?;
        let (part, stream_id) = (stream.part, stream.id);
        match (code.as_str(), level.as_str()) {
            ("NetStream.Publish.Start" | "NetStream.Play.Start", _) => Some(Meaning::Accepted { part, stream_id }),
            (_, "error") => Some(Meaning::Refused { part, stream_id, code, why: description }),
            _ => None,
        }
    }

    /// What the client wants on a message stream, in its own words.
    #[must_use]
    pub fn wish(&self, stream_id: u32) -> Option<Wish> {
        let stream = self.streams.iter().find(|stream| stream.id == stream_id)?;
        Some(Wish { app: self.app.clone(), tc_url: self.tc_url.clone(), name: stream.name.clone() })
    }

    fn asked(&mut self, part: Part, stream_id: u32, name: Vec<u8>) -> Meaning {
        self.streams.retain(|stream| stream.id != stream_id);
        if self.streams.len() >= MAX_STREAMS {
            self.streams.remove(0);
        }
        let stream = StreamKey::from_rtmp(&self.app, &name).map_err(|_| StreamKey::as_asked(&self.app, &name));
        self.streams.push(Stream { id: stream_id, part, name });
        Meaning::Asked { part, stream_id, stream }
    }

    fn left(&mut self, is: impl Fn(&Stream) -> bool) -> Option<Meaning> {
        let at = self.streams.iter().position(is)?;
        Some(Meaning::Left(self.streams.remove(at).id))
    }
}

fn command(message: &Message<'_>) -> Option<Command> {
    matches!(message.kind, kind::COMMAND_AMF0 | kind::COMMAND_AMF3).then_some(())?;
    // What is no command to this reader may be one to the server.
    Command::parse(message.kind, message.payload, Limits::default()).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn say(command: &Command, stream_id: u32, to: impl FnOnce(&Message<'_>) -> Option<Meaning>) -> Option<Meaning> {
        let payload = command.emit();
        let length = payload.len() as u32;
        let kind = kind::COMMAND_AMF0;
        to(&Message { kind, stream_id, chunk_stream: 3, timestamp: 0, length, payload: &payload, spans: &[] })
    }

    fn status(level: &str, code: &str) -> Command {
        Command::OnStatus(Status { level: level.into(), code: code.into(), description: "so".into() })
    }

    fn connected() -> Conversation {
        let mut conversation = Conversation::default();
        let connect = Command::Connect { transaction: 1.0, app: "live".into(), tc_url: None };
        assert_eq!(say(&connect, 0, |m| conversation.client(m)), None);
        conversation
    }

    fn publish(name: &str) -> Command {
        Command::Publish { transaction: 5.0, name: name.into(), mode: Some("live".into()) }
    }

    #[test]
    fn a_publish_from_asking_to_leaving() {
        let mut conversation = connected();
        let asked = say(&publish("hb?key=1"), 1, |m| conversation.client(m));
        let stream = Ok("live/hb".parse().unwrap());
        assert_eq!(asked, Some(Meaning::Asked { part: Part::Publish, stream_id: 1, stream }));
        let accepted = say(&status("status", "NetStream.Publish.Start"), 1, |m| conversation.server(m));
        assert_eq!(accepted, Some(Meaning::Accepted { part: Part::Publish, stream_id: 1 }));
        let unpublish = Command::Unpublish { transaction: 6.0, name: "hb?key=1".into() };
        assert_eq!(say(&unpublish, 0, |m| conversation.client(m)), Some(Meaning::Left(1)));
        let delete = Command::CloseStream { stream: Some(1.0) };
        assert_eq!(say(&delete, 0, |m| conversation.client(m)), None, "it has been told");
    }

    #[test]
    fn refusals_by_status_and_by_error() {
        let mut conversation = connected();
        say(&publish("hb"), 1, |m| conversation.client(m));
        let code = "NetStream.Publish.BadName".to_owned();
        let refused = |code: String| Meaning::Refused { part: Part::Publish, stream_id: 1, code, why: "so".into() };
        let answer = say(&status("error", &code), 1, |m| conversation.server(m));
        assert_eq!(answer, Some(refused(code)));
        let code = "NetConnection.Call.Failed".to_owned();
        let error = Status { level: String::new(), code: code.clone(), description: "so".into() };
        let error = Command::Error { transaction: 5.0, status: error };
        assert_eq!(say(&error, 0, |m| conversation.server(m)), Some(refused(code)));
    }

    #[test]
    fn two_streams_on_one_connection() {
        let mut conversation = connected();
        say(&publish("hb"), 1, |m| conversation.client(m));
        say(&publish("other"), 2, |m| conversation.client(m));
        for stream_id in [2, 1] {
            let accepted = say(&status("status", "NetStream.Publish.Start"), stream_id, |m| conversation.server(m));
            assert_eq!(accepted, Some(Meaning::Accepted { part: Part::Publish, stream_id }));
        }
        let close = Command::CloseStream { stream: None };
        assert_eq!(say(&close, 2, |m| conversation.client(m)), Some(Meaning::Left(2)));
    }

    #[test]
    fn a_name_that_cannot_be_told_and_names_without_end() {
        let mut conversation = connected();
        for (name, shown) in [("a b?key=SECRET", "live/a b"), ("/hb", "live//hb"), ("hb/", "live/hb/")] {
            let asked = say(&publish(name), 1, |m| conversation.client(m));
            let stream = Err(shown.to_owned());
            assert_eq!(asked, Some(Meaning::Asked { part: Part::Publish, stream_id: 1, stream }));
        }
        for stream_id in 0..1000 {
            say(&publish("hb"), stream_id, |m| conversation.client(m));
        }
        assert_eq!(conversation.streams.len(), MAX_STREAMS);
    }

    #[test]
    fn a_play_its_pause_and_its_end() {
        let mut conversation = connected();
        let play = Command::Play { transaction: 4.0, name: "hb".into() };
        say(&play, 1, |m| conversation.client(m));
        let wish = Wish { app: "live".into(), tc_url: None, name: "hb".into() };
        assert_eq!((conversation.wish(1), conversation.wish(2)), (Some(wish), None));
        let answer =
            |conversation: &mut Conversation, code| say(&status("status", code), 1, |m| conversation.server(m));
        let started = answer(&mut conversation, "NetStream.Play.Start");
        assert_eq!(started, Some(Meaning::Accepted { part: Part::Play, stream_id: 1 }));
        assert_eq!(answer(&mut conversation, "NetStream.Pause.Notify"), Some(Meaning::Paused));
        assert_eq!(answer(&mut conversation, "NetStream.Unpause.Notify"), Some(Meaning::Resumed));
        assert_eq!(answer(&mut conversation, "NetStream.Play.PublishNotify"), Some(Meaning::Published));
        assert_eq!(answer(&mut conversation, "NetStream.Play.Reset"), None);
        assert_eq!(answer(&mut conversation, "NetStream.Play.UnpublishNotify"), Some(Meaning::Unpublished));
    }
}

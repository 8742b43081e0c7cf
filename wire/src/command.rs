//! RTMP's commands (section 7.2): who connects, publishes and plays, and what the server says to it.

use crate::amf0::{Amf0Error, Decoder, Limits, Value};
use crate::rtmp::kind;

/// A command message, by what it asks for or tells. Names that a server compares or keeps are bytes, for that is what
/// they are to it.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// `connect` (7.2.1.1): the first of a client.
    Connect {
        /// Number that its answer carries; always 1.
        transaction: f64,
        /// Application name as the client gives it: `live`. Empty when it gives none.
        app: Vec<u8>,
        /// URL of the application, `rtmp://10.0.0.3:1935/live`, if given.
        tc_url: Option<Vec<u8>>,
    },
    /// `createStream` (7.2.1.3): asks for a message stream.
    CreateStream {
        /// Number that its answer carries.
        transaction: f64,
    },
    /// `publish` (7.2.2.6), sent on the message stream it is about.
    Publish {
        /// Number that an answer would carry; often 0, since the answer is an `onStatus`.
        transaction: f64,
        /// Stream name as the client gives it.
        name: Vec<u8>,
        /// `live`, `record` or `append`, if given.
        mode: Option<Vec<u8>>,
    },
    /// `play` (7.2.2.1) or Flash's `play2`, sent on the message stream it is about.
    Play {
        /// Number that an answer would carry; often 0, since the answer is an `onStatus`.
        transaction: f64,
        /// Stream name as the client gives it.
        name: Vec<u8>,
    },
    /// `deleteStream` (7.2.2.3), or `closeStream` for the message stream it is sent on.
    CloseStream {
        /// Id of the message stream to delete; `None` for `closeStream`.
        stream: Option<f64>,
    },
    /// `FCUnpublish`: what Flash's encoders and those after them send before `deleteStream`.
    Unpublish {
        /// Number that its answer carries.
        transaction: f64,
        /// Stream name as the client gives it.
        name: Vec<u8>,
    },
    /// `pause` (7.2.2.8), sent on the message stream it is about.
    Pause {
        /// True: pause; false: go on.
        pause: bool,
        /// Where in the stream the player is, in milliseconds.
        milliseconds: f64,
    },
    /// `onStatus` (7.2.2): what became of a publish or play.
    OnStatus(Status),
    /// `_result` (7.1.1): the command was carried out.
    Result {
        /// Number of the command that it answers.
        transaction: f64,
        /// After the command object: the message stream created, or what the server says of itself.
        value: Option<Value>,
    },
    /// `_error` (7.1.1): the command failed.
    Error {
        /// Number of the command that it answers.
        transaction: f64,
        /// What the server says of the failure.
        status: Status,
    },
    /// Any other command.
    Other {
        /// Name of the command.
        name: String,
        /// Number that its answer carries; 0: there will be none.
        transaction: f64,
    },
}

/// The information object of `onStatus` and `_error`. What is not given is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// `status`, `warning` or `error`.
    pub level: String,
    /// What happened, `NetStream.Play.Start` and so on.
    pub code: String,
    /// What happened, in words for people.
    pub description: String,
}

/// Why a message is not a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The message is of this other type.
    #[error("message type {0} is not a command (20, or 17 for AMF3)")]
    Kind(u8),
    /// A type 17 message that goes on in AMF3.
    #[error("a command in AMF3")]
    Amf3,
    /// The payload is not AMF0.
    #[error(transparent)]
    Amf0(#[from] Amf0Error),
    /// A value is missing or of another type.
    #[error("`{command}` without its {field}")]
    Field {
        /// The command's name; empty when that is what is missing.
        command: String,
        /// Which value it should have there.
        field: &'static str,
    },
}

impl Command {
    /// Reads the payload of a message of type `message_kind`, in the way of servers (nginx-rtmp's is
    /// `ngx_rtmp_amf_message_handler`): only what the command is known for is looked at, all else may be anything or
    /// missing; names of commands are compared without regard to case; and nothing behind a NUL in a string counts.
    /// So the payload may have been cut, if what counts was kept.
    ///
    /// # Errors
    /// When it is not a command, or lacks what makes it that command.
    pub fn parse(message_kind: u8, payload: &[u8], limits: Limits) -> Result<Self, CommandError> {
        let mut arguments = Arguments::of(message_kind, payload, limits)?;
        let name = arguments.text("name")?;
        arguments.command = String::from_utf8_lossy(name).into_owned();
        let transaction = arguments.number()?.unwrap_or(0.0);
        Ok(match arguments.command.to_ascii_lowercase().as_str() {
            "connect" => {
                let [app, tc_url] = arguments.strings(["app", "tcUrl"]);
                Command::Connect { transaction, app: app.unwrap_or_default(), tc_url }
            }
            "createstream" => Command::CreateStream { transaction },
            "publish" => {
                arguments.skip()?;
                let name = arguments.text("stream name")?.to_vec();
                let mode = arguments.text("mode").ok().map(<[u8]>::to_vec);
                Command::Publish { transaction, name, mode }
            }
            "play" => {
                arguments.skip()?;
                Command::Play { transaction, name: arguments.text("stream name")?.to_vec() }
            }
            "play2" => {
                arguments.skip()?;
                let [name] = arguments.strings(["streamName"]);
                Command::Play { transaction, name: name.ok_or_else(|| arguments.lacks("stream name"))? }
            }
            "deletestream" => {
                arguments.skip()?;
                let stream = arguments.number()?.ok_or_else(|| arguments.lacks("stream id"))?;
                Command::CloseStream { stream: Some(stream) }
            }
            "closestream" => Command::CloseStream { stream: None },
            "fcunpublish" => {
                arguments.skip()?;
                Command::Unpublish { transaction, name: arguments.text("stream name")?.to_vec() }
            }
            "pause" => {
                arguments.skip()?;
                let pause = arguments.value()? == Some(Value::Boolean(true));
                let milliseconds = arguments.number()?.unwrap_or(0.0);
                Command::Pause { pause, milliseconds }
            }
            "onstatus" => {
                arguments.skip()?;
                Command::OnStatus(arguments.status())
            }
            "_result" => {
                arguments.skip()?;
                Command::Result { transaction, value: arguments.value()? }
            }
            "_error" => {
                arguments.skip()?;
                Command::Error { transaction, status: arguments.status() }
            }
            _ => Command::Other { name: arguments.command, transaction },
        })
    }

    /// The name of the command in a payload, in lower case, also when the rest of it cannot be read. `None`: there is
    /// none.
    #[must_use]
    pub fn name(message_kind: u8, payload: &[u8]) -> Option<String> {
        let mut arguments = Arguments::of(message_kind, payload, Limits::default()).ok()?;
        let name = arguments.text("name").ok()?;
        Some(String::from_utf8_lossy(name).to_ascii_lowercase())
    }

    /// The AMF0 payload of a message that says this, with as little beside it as possible.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let values: Vec<Value> = match self {
            Command::Connect { transaction, app, tc_url } => {
                let mut object = vec![("app".to_owned(), string(app))];
                object.extend(tc_url.as_ref().map(|url| ("tcUrl".to_owned(), string(url))));
                vec!["connect".into(), (*transaction).into(), Value::Object(object)]
            }
            Command::CreateStream { transaction } => vec!["createStream".into(), (*transaction).into(), Value::Null],
            Command::Publish { transaction, name, mode } => {
                let mut values = vec!["publish".into(), (*transaction).into(), Value::Null, string(name)];
                values.extend(mode.as_deref().map(string));
                values
            }
            Command::Play { transaction, name } => {
                vec!["play".into(), (*transaction).into(), Value::Null, string(name)]
            }
            Command::CloseStream { stream: Some(stream) } => {
                vec!["deleteStream".into(), 0.0.into(), Value::Null, (*stream).into()]
            }
            Command::CloseStream { stream: None } => vec!["closeStream".into(), 0.0.into(), Value::Null],
            Command::Unpublish { transaction, name } => {
                vec!["FCUnpublish".into(), (*transaction).into(), Value::Null, string(name)]
            }
            Command::Pause { pause, milliseconds } => {
                vec!["pause".into(), 0.0.into(), Value::Null, Value::Boolean(*pause), (*milliseconds).into()]
            }
            Command::OnStatus(status) => vec!["onStatus".into(), 0.0.into(), Value::Null, status.object()],
            Command::Result { transaction, value } => {
                let mut values = vec!["_result".into(), (*transaction).into(), Value::Null];
                values.extend(value.clone());
                values
            }
            Command::Error { transaction, status } => {
                vec!["_error".into(), (*transaction).into(), Value::Null, status.object()]
            }
            Command::Other { name, transaction } => vec![name.as_str().into(), (*transaction).into()],
        };
        let mut out = Vec::new();
        values.iter().for_each(|value| value.encode(&mut out));
        out
    }
}

impl Status {
    fn object(&self) -> Value {
        let property = |name: &str, text: &str| (name.to_owned(), text.into());
        Value::Object(vec![
            property("level", &self.level),
            property("code", &self.code),
            property("description", &self.description),
        ])
    }
}

fn string(bytes: &[u8]) -> Value {
    Value::String(bytes.to_vec())
}

/// Up to the first NUL, which ends a string for a server in C.
fn before_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

struct Arguments<'a> {
    decoder: Decoder<'a>,
    command: String,
}

impl<'a> Arguments<'a> {
    fn of(message_kind: u8, payload: &'a [u8], limits: Limits) -> Result<Self, CommandError> {
        let payload = match (message_kind, payload) {
            (kind::COMMAND_AMF0, payload) => payload,
            // The byte says which format the first value has, and servers pass over it: all that was seen in the wild
            // go on with a string in AMF0. Some leave it out.
            (kind::COMMAND_AMF3, [_, payload @ ..]) if payload.first() == Some(&STRING) => payload,
            (kind::COMMAND_AMF3, payload @ [STRING, ..]) => payload,
            (kind::COMMAND_AMF3, _) => return Err(CommandError::Amf3),
            (other, _) => return Err(CommandError::Kind(other)),
        };
        Ok(Self { decoder: Decoder::new(payload, limits), command: String::new() })
    }

    /// Whether a value comes. None does behind the end of an object that never began.
    fn any(&self) -> bool {
        self.decoder.marker().is_some_and(|marker| marker != OBJECT_END)
    }

    fn value(&mut self) -> Result<Option<Value>, Amf0Error> {
        if self.any() { self.decoder.value() } else { Ok(None) }
    }

    fn skip(&mut self) -> Result<(), Amf0Error> {
        if self.any() { self.decoder.skip().map(|_| ()) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<Option<f64>, Amf0Error> {
        if self.any() { self.decoder.number() } else { Ok(None) }
    }

    fn text(&mut self, field: &'static str) -> Result<&'a [u8], CommandError> {
        let text = if self.any() { self.decoder.string()? } else { None };
        text.map(before_nul).ok_or_else(|| self.lacks(field))
    }

    fn strings<const N: usize>(&mut self, names: [&str; N]) -> [Option<Vec<u8>>; N] {
        let found = if self.any() { self.decoder.strings(names) } else { [None; N] };
        found.map(|text| text.map(|text| before_nul(text).to_vec()))
    }

    fn status(&mut self) -> Status {
        let found = self.strings(["level", "code", "description"]);
        let [level, code, description] =
            found.map(|text| String::from_utf8_lossy(&text.unwrap_or_default()).into_owned());
        Status { level, code, description }
    }

    fn lacks(&self, field: &'static str) -> CommandError {
        CommandError::Field { command: self.command.clone(), field }
    }
}

/// AMF0's markers of a string and of an object's end.
const STRING: u8 = 2;
const OBJECT_END: u8 = 9;

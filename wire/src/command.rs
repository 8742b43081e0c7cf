//! RTMP's commands (section 7.2): who connects, publishes and plays, and what the server says to it.

use crate::amf0::{Amf0Error, Decoder, Limits, Value};
use crate::rtmp::kind;

/// A command message, by what it asks for or tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// `connect` (7.2.1.1): the first of a client.
    Connect {
        /// Number that its answer carries; always 1.
        transaction: f64,
        /// Application name as the client gives it: `live`. Empty when it gives none.
        app: String,
        /// URL of the application, `rtmp://10.0.0.3:1935/live`, if given.
        tc_url: Option<String>,
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
        name: String,
        /// `live`, `record` or `append`, if given.
        mode: Option<String>,
    },
    /// `play` (7.2.2.1), sent on the message stream it is about.
    Play {
        /// Number that an answer would carry; often 0, since the answer is an `onStatus`.
        transaction: f64,
        /// Stream name as the client gives it.
        name: String,
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
        name: String,
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
    /// Reads the payload of a message of type `message_kind`. Only what the command is known for is looked at; more
    /// may follow.
    ///
    /// # Errors
    /// When it is not a command, or lacks what makes it that command.
    pub fn parse(message_kind: u8, payload: &[u8], limits: Limits) -> Result<Self, CommandError> {
        let payload = match (message_kind, payload) {
            (kind::COMMAND_AMF0, payload) => payload,
            // The byte says which format the first value has; all that was seen in the wild say AMF0. Some leave it
            // out, and begin with a string.
            (kind::COMMAND_AMF3, [0, payload @ ..] | payload @ [2, ..]) => payload,
            (kind::COMMAND_AMF3, _) => return Err(CommandError::Amf3),
            (other, _) => return Err(CommandError::Kind(other)),
        };
        let mut arguments = Arguments { decoder: Decoder::new(payload, limits), command: String::new() };
        let name = arguments.text("name")?;
        arguments.command.clone_from(&name);
        let transaction = arguments.number("transaction id")?;
        Ok(match name.as_str() {
            "connect" => {
                // What a client says of itself may be anything; servers look at few of the properties.
                let object = arguments.decoder.head()?;
                let text = |name| object.get(name).and_then(Value::as_str).map(str::to_owned);
                Command::Connect { transaction, app: text("app").unwrap_or_default(), tc_url: text("tcUrl") }
            }
            "createStream" => Command::CreateStream { transaction },
            "publish" => {
                arguments.next()?;
                let name = arguments.text("stream name")?;
                let mode = arguments.next()?.and_then(|value| value.as_str().map(str::to_owned));
                Command::Publish { transaction, name, mode }
            }
            "play" => {
                arguments.next()?;
                Command::Play { transaction, name: arguments.text("stream name")? }
            }
            "deleteStream" => {
                arguments.next()?;
                Command::CloseStream { stream: Some(arguments.number("stream id")?) }
            }
            "closeStream" => Command::CloseStream { stream: None },
            "FCUnpublish" => {
                arguments.next()?;
                Command::Unpublish { transaction, name: arguments.text("stream name")? }
            }
            "pause" => {
                arguments.next()?;
                let pause = arguments.next()? == Some(Value::Boolean(true));
                let milliseconds = arguments.next()?.as_ref().and_then(Value::as_number).unwrap_or(0.0);
                Command::Pause { pause, milliseconds }
            }
            "onStatus" => {
                arguments.next()?;
                Command::OnStatus(Status::of(arguments.next()?))
            }
            "_result" => {
                arguments.next()?;
                Command::Result { transaction, value: arguments.next()? }
            }
            "_error" => {
                arguments.next()?;
                Command::Error { transaction, status: Status::of(arguments.next()?) }
            }
            _ => Command::Other { name, transaction },
        })
    }

    /// The AMF0 payload of a message that says this, with as little beside it as possible.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let values: Vec<Value> = match self {
            Command::Connect { transaction, app, tc_url } => {
                let mut object = vec![("app".to_owned(), app.as_str().into())];
                object.extend(tc_url.as_ref().map(|url| ("tcUrl".to_owned(), url.as_str().into())));
                vec!["connect".into(), (*transaction).into(), Value::Object(object)]
            }
            Command::CreateStream { transaction } => vec!["createStream".into(), (*transaction).into(), Value::Null],
            Command::Publish { transaction, name, mode } => {
                let mut values = vec!["publish".into(), (*transaction).into(), Value::Null, name.as_str().into()];
                values.extend(mode.as_deref().map(Value::from));
                values
            }
            Command::Play { transaction, name } => {
                vec!["play".into(), (*transaction).into(), Value::Null, name.as_str().into()]
            }
            Command::CloseStream { stream: Some(stream) } => {
                vec!["deleteStream".into(), 0.0.into(), Value::Null, (*stream).into()]
            }
            Command::CloseStream { stream: None } => vec!["closeStream".into(), 0.0.into(), Value::Null],
            Command::Unpublish { transaction, name } => {
                vec!["FCUnpublish".into(), (*transaction).into(), Value::Null, name.as_str().into()]
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
    fn of(value: Option<Value>) -> Self {
        let text =
            |name| value.as_ref().and_then(|v| v.get(name)).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self { level: text("level"), code: text("code"), description: text("description") }
    }

    fn object(&self) -> Value {
        let property = |name: &str, text: &str| (name.to_owned(), text.into());
        Value::Object(vec![
            property("level", &self.level),
            property("code", &self.code),
            property("description", &self.description),
        ])
    }
}

struct Arguments<'a> {
    decoder: Decoder<'a>,
    command: String,
}

impl Arguments<'_> {
    fn next(&mut self) -> Result<Option<Value>, Amf0Error> {
        self.decoder.value()
    }

    fn text(&mut self, field: &'static str) -> Result<String, CommandError> {
        match self.next()? {
            Some(Value::String(text)) => Ok(text),
            _ => Err(CommandError::Field { command: self.command.clone(), field }),
        }
    }

    fn number(&mut self, field: &'static str) -> Result<f64, CommandError> {
        let number = self.next()?.as_ref().and_then(Value::as_number);
        number.ok_or_else(|| CommandError::Field { command: self.command.clone(), field })
    }
}

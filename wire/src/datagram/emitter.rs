//! Cuts tags into datagrams.

use super::{Body, Datagram, MAX_PART, stream_number};
use crate::StreamKey;
use crate::flv::{Content, MAX_PAYLOAD, TagKind, TooLong};

/// What a decoder must have before its first frame, and what tells of the stream.
#[derive(Debug, Clone, Default)]
struct Configuration {
    metadata: Option<Vec<u8>>,
    video: Option<Vec<u8>>,
    audio: Option<Vec<u8>>,
}

/// Makes the datagrams of one publication of a stream.
#[derive(Debug, Clone)]
pub struct Emitter {
    stream: u32,
    session: u32,
    /// Serial number of the next datagram.
    serial: u32,
    /// Number of the next tag.
    number: u32,
    timestamp: u32,
    configuration: Configuration,
    bytes: Vec<u8>,
}

impl Emitter {
    /// Nothing was sent yet. `session` is greater than that of any earlier publication: seconds since 1970, say.
    #[must_use]
    pub fn new(stream: &StreamKey, session: u32) -> Self {
        let stream = stream_number(stream);
        Self {
            stream,
            session,
            serial: 0,
            number: 0,
            timestamp: 0,
            configuration: Configuration::default(),
            bytes: Vec::new(),
        }
    }

    /// Makes a tag's datagrams, and before a keyframe those of metadata and codec headers once more.
    ///
    /// # Errors
    /// When the payload is longer than a tag may be; nothing was made of it.
    pub fn tag(
        &mut self,
        kind: TagKind,
        timestamp: u32,
        payload: &[u8],
        mut send: impl FnMut(&[u8]),
    ) -> Result<(), TooLong> {
        if payload.len() > MAX_PAYLOAD {
            return Err(TooLong(payload.len()));
        }
        let Configuration { metadata, video, audio } = &mut self.configuration;
        match Content::of(kind, payload) {
            Content::Metadata => *metadata = Some(payload.to_vec()),
            Content::VideoConfig => *video = Some(payload.to_vec()),
            Content::AudioConfig => *audio = Some(payload.to_vec()),
            Content::Picture { keyframe: true } => self.repeat(timestamp, &mut send),
            Content::Picture { keyframe: false } | Content::Sound | Content::Other => (),
        }
        self.one(kind, timestamp, payload, &mut send);
        Ok(())
    }

    fn repeat(&mut self, timestamp: u32, send: &mut impl FnMut(&[u8])) {
        let configuration = std::mem::take(&mut self.configuration);
        let Configuration { metadata, video, audio } = &configuration;
        for (kind, payload) in [(TagKind::Script, metadata), (TagKind::Video, video), (TagKind::Audio, audio)] {
            if let Some(payload) = payload {
                self.one(kind, timestamp, payload, send);
            }
        }
        self.configuration = configuration;
    }

    fn one(&mut self, kind: TagKind, timestamp: u32, payload: &[u8], send: &mut impl FnMut(&[u8])) {
        self.timestamp = timestamp;
        // It was looked at: it has less than 2²⁴ bytes.
        let size = payload.len() as u32;
        let mut offset = 0;
        loop {
            let rest = payload.get(offset..).unwrap_or_default();
            let part = rest.get(..MAX_PART).unwrap_or(rest);
            self.send(Body::Part { kind, size, offset: offset as u32, part }, send);
            offset += MAX_PART;
            if offset >= payload.len() {
                break;
            }
        }
        self.number = self.number.wrapping_add(1);
    }

    /// How many tags were made datagrams of, those that were repeated included.
    #[must_use]
    pub fn tags(&self) -> u32 {
        self.number
    }

    /// Makes the datagram that tells of the end. It is to be sent several times: it may be lost like any other.
    pub fn end(&mut self, mut send: impl FnMut(&[u8])) {
        let next = self.serial;
        self.send(Body::End, &mut send);
        // All of them count as one.
        self.serial = next;
    }

    fn send(&mut self, body: Body<'_>, send: &mut impl FnMut(&[u8])) {
        let Self { stream, session, serial, number, timestamp, .. } = *self;
        self.bytes.clear();
        Datagram { stream, session, serial, number, timestamp, body }.emit(&mut self.bytes);
        self.serial = self.serial.wrapping_add(1);
        send(&self.bytes);
    }
}

//! Audio, video and data messages of RTMP as what they are to an agent.

use livectl_wire::flv::{Content, TagKind};
use livectl_wire::rtmp::{Message, kind};

/// What a client puts in front of `onMetaData` when it publishes: the AMF0 string `@setDataFrame`. A server takes it away.
const SET_DATA_FRAME: &[u8] = b"\x02\x00\x0d@setDataFrame";

/// A message that carries media, as an FLV tag would carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Media<'a> {
    pub(crate) kind: TagKind,
    pub(crate) content: Content,
    pub(crate) timestamp: u32,
    pub(crate) payload: &'a [u8],
}

impl<'a> Media<'a> {
    /// `None`: it carries something else.
    pub(crate) fn of(message: &Message<'a>) -> Option<Self> {
        let (kind, payload) = match (message.kind, message.payload) {
            (kind::AUDIO, payload) => (TagKind::Audio, payload),
            (kind::VIDEO, payload) => (TagKind::Video, payload),
            (kind::DATA_AMF0, payload) => (TagKind::Script, payload),
            // The byte says which format the first value has; all that was seen in the wild say AMF0.
            (kind::DATA_AMF3, [0, payload @ ..]) => (TagKind::Script, payload),
            _ => return None,
        };
        let payload = match kind {
            TagKind::Script => payload.strip_prefix(SET_DATA_FRAME).unwrap_or(payload),
            _ => payload,
        };
        Some(Self { kind, content: Content::of(kind, payload), timestamp: message.timestamp, payload })
    }
}

//! Audio, video and data messages of RTMP as what they are to an agent.

use livectl_wire::amf0::{Decoder, Limits, Value};
use livectl_wire::flv::{Content, TagKind};
use livectl_wire::rtmp::{Message, kind};

/// What a client puts in front of `onMetaData` when it publishes: the AMF0 string `@setDataFrame`. A server takes it
/// away.
const SET_DATA_FRAME: &[u8] = b"\x02\x00\x0d@setDataFrame";

/// The rate of a stream in bit/s, as its `onMetaData` states it: the sum of `videodatarate` and `audiodatarate`, in
/// kbit/s (ffmpeg divides by 1024). `None`: it states none.
pub(crate) fn stated_rate(metadata: &[u8]) -> Option<f64> {
    let mut values = Decoder::new(metadata, Limits::default());
    let _name = values.value().ok()?;
    let fields = values.value().ok()??;
    let rate =
        |field: &str| fields.get(field).and_then(Value::as_number).filter(|rate| rate.is_finite() && *rate > 0.0);
    let (video, audio) = (rate("videodatarate"), rate("audiodatarate"));
    let kbit: f64 = video.into_iter().chain(audio).sum();
    (kbit > 0.0).then_some(kbit * 1024.0)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(fields: &[(&str, Value)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        Value::String("onMetaData".into()).encode(&mut bytes);
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        Value::EcmaArray(fields.collect()).encode(&mut bytes);
        bytes
    }

    #[test]
    fn a_rate_that_is_stated_and_others() {
        let (video, audio) = (("videodatarate", Value::Number(1500.0)), ("audiodatarate", Value::Number(100.0)));
        assert_eq!(stated_rate(&metadata(&[video.clone(), audio.clone()])), Some(1600.0 * 1024.0));
        assert_eq!(stated_rate(&metadata(&[audio])), Some(100.0 * 1024.0));
        let unknown =
            [Value::Number(0.0), Value::Number(f64::NAN), Value::Number(-1.0), Value::String("1500".into())];
        for value in unknown {
            assert_eq!(stated_rate(&metadata(&[("videodatarate", value)])), None);
        }
        assert_eq!(stated_rate(&metadata(&[])), None);
        let whole = metadata(&[video]);
        for cut in 0..whole.len() - 3 {
            assert_eq!(stated_rate(whole.get(..cut).unwrap_or_default()), None, "{cut} bytes");
        }
    }
}

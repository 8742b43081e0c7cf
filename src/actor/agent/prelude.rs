//! What a peer that joins a live stream midway is given first.

use std::sync::Arc;

use livectl_wire::flv::{self, Content, TagKind};

/// A whole tag with its header and trailer, shared between peers.
pub(super) type TagBytes = Arc<[u8]>;

/// Bytes of a group of pictures that are kept for joiners at most. Beyond that a joiner waits for the next keyframe.
const MAX_GROUP: usize = 64 << 20;

/// The file header, the latest metadata and codec headers, and everything since the last keyframe.
#[derive(Debug, Default)]
pub(super) struct Prelude {
    metadata: Option<TagBytes>,
    video_config: Option<TagBytes>,
    audio_config: Option<TagBytes>,
    group: Vec<TagBytes>,
    group_bytes: usize,
    /// The group begins with a keyframe and lacks nothing.
    complete: bool,
    audio: bool,
}

impl Prelude {
    /// Takes note of a tag of the stream, given whole as `bytes`.
    pub(super) fn note(&mut self, kind: TagKind, content: Content, bytes: &TagBytes) {
        self.audio |= kind == TagKind::Audio;
        match content {
            Content::Metadata => self.metadata = Some(Arc::clone(bytes)),
            Content::VideoConfig => self.video_config = Some(Arc::clone(bytes)),
            Content::AudioConfig => self.audio_config = Some(Arc::clone(bytes)),
            Content::Picture { keyframe: true } => {
                self.group.clear();
                self.group_bytes = 0;
                self.complete = true;
            }
            Content::Picture { keyframe: false } | Content::Sound | Content::Other => (),
        }
        // A configuration that changes within a group has its place there, too.
        if self.complete {
            self.group_bytes += bytes.len();
            if self.group_bytes > MAX_GROUP {
                self.group = Vec::new();
                self.complete = false;
            } else {
                self.group.push(Arc::clone(bytes));
            }
        }
    }

    /// What someone who joins now gets before the next tag.
    pub(super) fn backlog(&self) -> Vec<TagBytes> {
        let header: TagBytes = flv::header(self.audio, true).as_slice().into();
        let configuration = [&self.metadata, &self.video_config, &self.audio_config];
        let configuration = configuration.into_iter().flatten().cloned();
        std::iter::once(header).chain(configuration).chain(self.group.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use livectl_wire::flv::Reader;

    use super::*;

    const KEY: &[u8] = &[0x17, 1, 0, 0, 0, 0xaa];
    const INTER: &[u8] = &[0x27, 1, 0, 0, 0, 0xbb];
    const VIDEO_CONFIG: &[u8] = &[0x17, 0, 0, 0, 0, 0xcc];
    const AUDIO_CONFIG: &[u8] = &[0xaf, 0, 0x12];
    const SOUND: &[u8] = &[0xaf, 1, 0x34];

    fn note(prelude: &mut Prelude, kind: TagKind, timestamp: u32, payload: &[u8]) {
        let mut bytes = Vec::new();
        flv::tag(kind, timestamp, payload, &mut bytes).unwrap();
        prelude.note(kind, Content::of(kind, payload), &bytes.into());
    }

    fn tags(prelude: &Prelude) -> Vec<(u32, Vec<u8>)> {
        let mut found = Vec::new();
        let all = prelude.backlog().concat();
        Reader::new(1000).push(&all, |tag| found.push((tag.timestamp, tag.payload.to_vec()))).unwrap();
        found
    }

    #[test]
    fn headers_then_everything_since_the_last_keyframe() {
        let mut prelude = Prelude::default();
        assert_eq!(prelude.backlog().concat(), flv::header(false, true));
        note(&mut prelude, TagKind::Script, 0, b"\x02\x00\x0aonMetaData...");
        note(&mut prelude, TagKind::Video, 0, VIDEO_CONFIG);
        note(&mut prelude, TagKind::Audio, 0, AUDIO_CONFIG);
        note(&mut prelude, TagKind::Video, 1, INTER);
        assert_eq!(tags(&prelude).len(), 3, "no picture before the first keyframe");
        for (timestamp, key) in [(2, true), (3, false), (5, true), (6, false)] {
            note(&mut prelude, TagKind::Video, timestamp, if key { KEY } else { INTER });
            note(&mut prelude, TagKind::Audio, timestamp, SOUND);
        }
        let expected = [
            (0, b"\x02\x00\x0aonMetaData...".to_vec()),
            (0, VIDEO_CONFIG.to_vec()),
            (0, AUDIO_CONFIG.to_vec()),
            (5, KEY.to_vec()),
            (5, SOUND.to_vec()),
            (6, INTER.to_vec()),
            (6, SOUND.to_vec()),
        ];
        assert_eq!(tags(&prelude), expected);
        assert_eq!(prelude.backlog()[0][4], 5, "the file header announces sound");
    }

    #[test]
    fn a_group_that_grows_too_long_is_let_go() {
        let mut prelude = Prelude::default();
        note(&mut prelude, TagKind::Video, 1, KEY);
        let long = vec![0x27; 8 << 20];
        for timestamp in 2..12 {
            note(&mut prelude, TagKind::Video, timestamp, &long);
        }
        assert_eq!(tags(&prelude), []);
        note(&mut prelude, TagKind::Video, 12, KEY);
        assert_eq!(tags(&prelude), [(12, KEY.to_vec())]);
    }
}

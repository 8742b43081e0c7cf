//! What a player has received, read from the FLV file that it is writing.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use livectl_wire::flv::{Content, FlvError, Reader, TagKind};
use livectl_wire::frame::FrameId;

use super::MAX_TAG;

/// The keyframes of a stream so far, with their timestamps in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Keyframes {
    seen: HashMap<FrameId, u32>,
    first: Option<(FrameId, u32)>,
}

impl Keyframes {
    /// Takes note of a tag.
    pub(super) fn note(&mut self, kind: TagKind, timestamp: u32, payload: &[u8]) {
        if Content::of(kind, payload) == (Content::Picture { keyframe: true }) {
            let id = FrameId::of(payload);
            self.seen.insert(id, timestamp);
            self.first.get_or_insert((id, timestamp));
        }
    }

    /// The first one.
    pub(super) fn first(&self) -> Option<(FrameId, u32)> {
        self.first
    }

    /// One that both have: the earliest. As each path delivers without gaps and in order, nothing before it is missing on the one and
    /// nothing after it on the other. A picture that repeats, byte by byte, counts only at the same timestamp.
    pub(super) fn common(&self, other: &Keyframes) -> Option<(FrameId, u32)> {
        let same = self.seen.iter().filter(|(id, timestamp)| other.seen.get(*id) == Some(timestamp));
        same.min_by_key(|(_, timestamp)| **timestamp).map(|(id, timestamp)| (*id, *timestamp))
    }
}

/// Why a dump cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum DumpError {
    #[error("cannot read {}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{}: {source}", path.display())]
    Flv { path: PathBuf, source: FlvError },
}

/// A dump that grows.
#[derive(Debug)]
pub(super) struct Dump {
    path: PathBuf,
    file: Option<File>,
    reader: Reader,
    keyframes: Keyframes,
    bytes: u64,
    buffer: Vec<u8>,
}

impl Dump {
    /// The dump at that path, which need not be there yet.
    pub(super) fn new(path: PathBuf) -> Self {
        let (reader, keyframes) = (Reader::new(MAX_TAG), Keyframes::default());
        Self { path, file: None, reader, keyframes, bytes: 0, buffer: vec![0; 256 << 10] }
    }

    /// Reads what was written since the last time.
    pub(super) fn follow(&mut self) -> Result<&Keyframes, DumpError> {
        let failed = |source| DumpError::Io { path: self.path.clone(), source };
        let file = match &mut self.file {
            Some(file) => file,
            none => match File::open(&self.path) {
                Ok(file) => none.insert(file),
                Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(&self.keyframes),
                Err(why) => return Err(failed(why)),
            },
        };
        loop {
            let count = file.read(&mut self.buffer).map_err(failed)?;
            if count == 0 {
                return Ok(&self.keyframes);
            }
            self.bytes += count as u64;
            let keyframes = &mut self.keyframes;
            let read = self.reader.push(self.buffer.get(..count).unwrap_or_default(), |tag| {
                keyframes.note(tag.kind, tag.timestamp, tag.payload);
            });
            read.map_err(|source| DumpError::Flv { path: self.path.clone(), source })?;
        }
    }

    /// Bytes read so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::io::Write as _;

    use livectl_wire::flv;

    use super::*;

    #[test]
    fn follows_a_file_that_comes_late_and_grows_in_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.flv");
        let mut dump = Dump::new(path.clone());
        assert!(dump.follow().unwrap().first().is_none());
        let mut bytes = flv::header(false, true).to_vec();
        flv::tag(TagKind::Video, 0, &[0x22, 1, 2], &mut bytes).unwrap();
        flv::tag(TagKind::Video, 33, &[0x12, 3, 4], &mut bytes).unwrap();
        let cut = bytes.len() - 1;
        let mut file = File::create(&path).unwrap();
        file.write_all(&bytes[..cut]).unwrap();
        assert!(dump.follow().unwrap().first().is_none(), "not whole yet");
        file.write_all(&bytes[cut..]).unwrap();
        assert_eq!(dump.follow().unwrap().first(), Some((FrameId::of(&[0x12, 3, 4]), 33)));
        assert_eq!(dump.bytes(), bytes.len() as u64);
        file.write_all(b"garbage that is no tag").unwrap();
        assert!(dump.follow().unwrap_err().to_string().contains("not FLV at byte"));
    }

    #[test]
    fn the_earliest_keyframe_in_common() {
        let keyframes = |tags: &[(u32, u8)]| {
            let mut keyframes = Keyframes::default();
            tags.iter().for_each(|(timestamp, byte)| keyframes.note(TagKind::Video, *timestamp, &[0x12, *byte]));
            keyframes
        };
        let cdn = keyframes(&[(0, 1), (1000, 2), (2000, 3)]);
        assert_eq!(cdn.common(&keyframes(&[(3000, 4)])), None);
        let common = cdn.common(&keyframes(&[(1000, 2), (2000, 3)]));
        assert_eq!(common, Some((FrameId::of(&[0x12, 2]), 1000)));
        assert_eq!(cdn.common(&keyframes(&[(500, 1)])), None, "the same picture at another time is another frame");
    }
}

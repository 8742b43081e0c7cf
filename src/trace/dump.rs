//! What a player wrote to disk, against what the encoder emitted.

use std::collections::HashSet;
use std::io::{self, Read};

use livectl_wire::avc;
use livectl_wire::birth::Birth;
use livectl_wire::flv::{Content, MAX_PAYLOAD, Reader, TagKind, Tail};
use livectl_wire::frame::FrameId;

use super::births::Births;
use super::pairing::Pairing;
use super::pictures::LENGTH_SIZE;

/// A dump, compared with the births payload by payload.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DumpCheck {
    /// Frames whose payload was born.
    pub matched: u64,
    /// Video tags without a picture (codec headers) whose payload was born.
    pub matched_codec: u64,
    /// Video tags whose payload was never born. Any at all means that bytes were altered on the way.
    pub foreign: u64,
    /// Frames that appear again.
    pub repeated: u64,
    /// Frames that appear after one that was born later.
    pub disordered: u64,
    /// What the file ends in the middle of, as it does when the player was stopped.
    pub tail: Option<Tail>,
    /// Why it could not be read to the end.
    pub problem: Option<String>,
    /// The frames in it, as indices into the births; each once.
    pub frames: HashSet<usize>,
}

impl DumpCheck {
    /// Reads an FLV file.
    ///
    /// # Errors
    /// When reading fails. A file that is not FLV, or only at its beginning, is compared as far as it goes.
    pub fn read(source: impl Read, births: &Births) -> io::Result<Self> {
        let codec: HashSet<FrameId> = births.others.iter().map(|birth| birth.id).collect();
        Self::read_frames(source, &births.frames, Some(&codec), FrameId::of)
    }

    /// The same for a file that was made of another container: its frames are known by their pictures, whose
    /// identities these births have, and its codec headers are its own.
    ///
    /// # Errors
    /// As [`DumpCheck::read`].
    pub(super) fn read_pictures(source: impl Read, births: &[Birth]) -> io::Result<Self> {
        let picture = |payload: &[u8]| {
            avc::picture_in_tag(payload, LENGTH_SIZE).map_or_else(|| FrameId::of(payload), |picture| picture.id)
        };
        Self::read_frames(source, births, None, picture)
    }

    fn read_frames(
        source: impl Read,
        births: &[Birth],
        codec: Option<&HashSet<FrameId>>,
        identity: impl Fn(&[u8]) -> FrameId,
    ) -> io::Result<Self> {
        let mut check = Self::default();
        let mut frames = Vec::new();
        let mut reader = Reader::new(MAX_PAYLOAD);
        let read = reader.read_all(source, |tag| match (tag.kind, tag.content(), codec) {
            (TagKind::Video, Content::Picture { .. }, _) => {
                frames.push((identity(tag.payload), tag.timestamp));
            }
            (TagKind::Video, _, Some(codec)) if codec.contains(&FrameId::of(tag.payload)) => {
                check.matched_codec += 1;
            }
            (TagKind::Video, _, Some(_)) => check.foreign += 1,
            _ => {}
        })?;
        check.problem = read.err().map(|error| error.to_string());
        check.tail = reader.tail();
        if check.problem.is_none() && !reader.has_header() {
            check.problem = Some("it contains no FLV".into());
        }
        let paired = Pairing::new(births).pair(&frames);
        check.foreign += paired.of.iter().filter(|of| of.is_none()).count() as u64;
        check.matched = paired.of.iter().flatten().count() as u64;
        let mut latest = None;
        for index in paired.of.into_iter().flatten() {
            if !check.frames.insert(index) {
                check.repeated += 1;
            } else if latest.is_some_and(|latest| index < latest) {
                check.disordered += 1;
            }
            latest = latest.max(Some(index));
        }
        Ok(check)
    }
}

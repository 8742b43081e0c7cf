//! A tag that peers are given before it is whole (cut-through).
//!
//! Until then only its header and its first bytes are known. Its sender may be lost meanwhile, and another may begin
//! it again; and nobody knows before its end that it is the next tag of the stream. So the first copy counts: of a
//! further copy only the bytes beyond it are new, and the rest is sent only if the tag that is sent in the end begins
//! with everything sent so far.

use livectl_wire::flv::{self, TAG_HEADER_LEN, TagKind};

use super::cache::TagBytes;

/// A piece of a tag's payload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) kind: TagKind,
    /// Time stamp in milliseconds.
    pub(crate) timestamp: u32,
    /// Bytes of the whole payload.
    pub(crate) size: usize,
    /// Where in it these bytes lie.
    pub(crate) at: usize,
    pub(crate) bytes: &'a [u8],
}

/// The beginning of a tag: its header, and its payload as far as it has come.
#[derive(Debug)]
pub(super) struct Begun {
    bytes: Vec<u8>,
}

impl Part<'_> {
    fn header(&self) -> Option<[u8; TAG_HEADER_LEN]> {
        // It was read from a tag's header, and is not too long for one.
        flv::tag_header(self.kind, self.timestamp, self.size).ok()
    }
}

impl Begun {
    /// With that part, if it is a first one; and the bytes that the tag begins with.
    pub(super) fn with(part: &Part<'_>) -> Option<(Self, TagBytes)> {
        let header = part.header().filter(|_| part.at == 0)?;
        let bytes = [&header, part.bytes].concat();
        let given = bytes.as_slice().into();
        Some((Self { bytes }, given))
    }

    /// What is new in that part, if it goes on from here.
    pub(super) fn take(&mut self, part: &Part<'_>) -> Option<TagBytes> {
        let header = part.header()?;
        // Parts come in order: one that begins later than this ends is another tag's, or that of somebody who gives
        // it differently.
        let known = self.bytes.strip_prefix(&header)?.get(part.at..)?;
        let (again, new) = part.bytes.split_at_checked(known.len()).unwrap_or((part.bytes, &[]));
        if !known.starts_with(again) || new.is_empty() {
            return None;
        }
        self.bytes.extend_from_slice(new);
        Some(new.into())
    }

    /// From where on that whole tag is the rest of this one; `None`: it is another one.
    pub(super) fn rest_of(&self, whole: &[u8]) -> Option<usize> {
        whole.starts_with(&self.bytes).then_some(self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use proptest::prelude::*;

    use super::*;

    const KIND: TagKind = TagKind::Video;

    fn part<'a>(payload: &'a [u8], from: usize, until: usize) -> Part<'a> {
        Part { kind: KIND, timestamp: 40, size: payload.len(), at: from, bytes: &payload[from..until] }
    }

    fn whole(payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        flv::tag(KIND, 40, payload, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_tag_that_another_one_gives_from_its_beginning_goes_on_where_it_was() {
        let payload: Vec<u8> = (0..100).collect();
        let (mut begun, first) = Begun::with(&part(&payload, 0, 60)).unwrap();
        assert_eq!(&*first, &whole(&payload)[..71]);
        assert_eq!(begun.take(&part(&payload, 0, 30)), None, "all of it was given");
        assert_eq!(begun.take(&part(&payload, 30, 70)).as_deref(), payload.get(60..70));
        assert_eq!(begun.take(&part(&payload, 80, 90)), None, "what lies between is not there");
        assert_eq!(begun.rest_of(&whole(&payload)), Some(81));
    }

    #[test]
    fn another_tag_does_not_go_on_from_here() {
        let payload: Vec<u8> = (0..100).collect();
        assert!(Begun::with(&part(&payload, 1, 60)).is_none());
        let (mut begun, _) = Begun::with(&part(&payload, 0, 60)).unwrap();
        let mut other = payload.clone();
        other[59] = 0;
        assert_eq!(begun.take(&part(&other, 0, 70)), None);
        assert_eq!(begun.take(&Part { timestamp: 41, ..part(&payload, 60, 70) }), None);
        assert_eq!(begun.take(&Part { size: 101, ..part(&payload, 60, 70) }), None);
        assert_eq!(begun.take(&Part { kind: TagKind::Audio, ..part(&payload, 60, 70) }), None);
        assert_eq!(begun.rest_of(&whole(&other)), None);
        assert_eq!(begun.rest_of(&whole(&payload[..99])), None);
        // What differs behind that is the difference of the one who gave it first.
        assert!(begun.take(&part(&other, 60, 70)).is_some());
    }

    proptest! {
        /// However the parts of however many givers come, what was given is the beginning of the tag.
        #[test]
        fn what_was_given_is_the_beginning(
            size in 1usize..300,
            first in 0usize..300,
            givers in proptest::collection::vec(proptest::collection::vec(1usize..80, 0..8), 0..5),
        ) {
            let payload: Vec<u8> = (0..size).map(|n| n as u8).collect();
            let (mut begun, first) = Begun::with(&part(&payload, 0, first.min(size))).unwrap();
            let mut given = first.to_vec();
            for lens in givers {
                let mut at = 0;
                for len in lens {
                    let until = (at + len).min(size);
                    given.extend(begun.take(&part(&payload, at, until)).iter().flat_map(|new| new.iter()));
                    at = until;
                }
            }
            let whole = whole(&payload);
            prop_assert!(whole.starts_with(&given));
            prop_assert_eq!(begun.rest_of(&whole), Some(given.len()));
        }
    }
}

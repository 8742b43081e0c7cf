//! HELLO: which versions a side speaks (1.0 section 4.3 and 5.5.1; 1.3 sections 6.3.1 and 7.5.1).

use super::bytes::{from, u16_at, u32_at};
use super::header::{self, HEADER_LEN, Header};
use super::{ParseError, Version};

/// Message type of HELLO in all versions.
pub const HELLO: u8 = 0;
/// A HELLO may be this long; ones with a few elements have 16 to 40 bytes.
pub const MAX_HELLO_LEN: u16 = 1024;

const ELEMENT_VERSION_BITMAP: u16 = 1;

/// The versions that a HELLO says its sender speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// The header's version: the highest that the sender speaks.
    pub highest: u8,
    /// Bit *n* is wire version *n*; of versions up to 31. `None`: the sender gave no bitmap.
    pub bitmap: Option<u32>,
}

impl Versions {
    /// The HELLO of one who speaks these.
    #[must_use]
    pub fn of(versions: &[Version]) -> Self {
        let highest = versions.iter().map(|version| version.wire()).max().unwrap_or_default();
        let bitmap = versions.iter().fold(0, |bits, version| bits | 1 << version.wire());
        // 1.0 knows no elements, so that a HELLO that only offers 1.0 has none.
        Self { highest, bitmap: (highest > Version::V10.wire()).then_some(bitmap) }
    }

    /// The version that two HELLOs agree on: with two bitmaps the highest that both have, otherwise the lower of the
    /// two highest, if `ours` has it.
    #[must_use]
    pub fn agree(ours: &[Version], theirs: Versions) -> Option<Version> {
        let highest = ours.iter().map(|version| version.wire()).max().unwrap_or_default();
        let common = |version: &&Version| match (theirs.bitmap, Versions::of(ours).bitmap) {
            (Some(bitmap), Some(_)) => bitmap & (1 << version.wire()) != 0,
            _ => version.wire() == highest.min(theirs.highest),
        };
        ours.iter().filter(common).max().copied()
    }

    /// Reads a HELLO of any version. Elements that are not known are passed over.
    ///
    /// # Errors
    /// When it is another message, too long, or its elements do not fit into it.
    pub fn parse(message: &[u8]) -> Result<(u32, Self), ParseError> {
        let length_error = |expected| ParseError::Length { what: "a HELLO", length: message.len(), expected };
        let header = Header::parse(message).ok_or(length_error("at least 8 are needed"))?;
        if header.kind != HELLO {
            return Err(ParseError::Type(header.kind));
        }
        if header.version == 0 {
            return Err(ParseError::Version(0));
        }
        if header.length > MAX_HELLO_LEN {
            return Err(length_error("at most 1024 are read"));
        }
        let mut bitmap = None;
        let mut elements = from(message, HEADER_LEN);
        // Before 1.3 the body has no meaning; "implementations must be prepared to receive it and ignore it".
        while header.version >= Version::V13.wire() && !elements.is_empty() {
            let length = usize::from(u16_at(elements, 2));
            let padded = length.next_multiple_of(8);
            if length < 4 || elements.len() < padded {
                return Err(length_error("its elements do not fit into it"));
            }
            if u16_at(elements, 0) == ELEMENT_VERSION_BITMAP {
                if length < 8 || length % 4 != 0 {
                    return Err(length_error("its version bitmap is not made of 32-bit words"));
                }
                bitmap = Some(u32_at(elements, 4));
            }
            elements = from(elements, padded);
        }
        Ok((header.xid, Self { highest: header.version, bitmap }))
    }

    /// Appends a HELLO with these versions.
    pub fn emit(&self, xid: u32, out: &mut Vec<u8>) {
        let start = out.len();
        header::emit(self.highest, HELLO, xid, out);
        if let Some(bitmap) = self.bitmap {
            out.extend_from_slice(&ELEMENT_VERSION_BITMAP.to_be_bytes());
            out.extend_from_slice(&8u16.to_be_bytes());
            out.extend_from_slice(&bitmap.to_be_bytes());
        }
        // At most 16 bytes, which fit.
        let _ = header::set_length(out, start);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use Version::{V10, V13};
    use proptest::prelude::*;

    const OVS_13: [u8; 16] = [4, 0, 0, 16, 0, 0, 0, 1, 0, 1, 0, 8, 0, 0, 0, 0x10];

    #[test]
    fn agreement() {
        let plain = |highest| Versions { highest, bitmap: None };
        let bitmap = |highest, bits| Versions { highest, bitmap: Some(bits) };
        let both = [V10, V13];
        assert_eq!(Versions::agree(&both, plain(1)), Some(V10));
        assert_eq!(Versions::agree(&both, plain(4)), Some(V13));
        assert_eq!(Versions::agree(&both, plain(6)), Some(V13));
        // 1.1 and 1.2 are spoken by nobody here, and without a bitmap the rule leaves no choice.
        assert_eq!(Versions::agree(&both, plain(2)), None);
        assert_eq!(Versions::agree(&both, bitmap(6, 0b111_1110)), Some(V13));
        assert_eq!(Versions::agree(&both, bitmap(6, 0b110_0010)), Some(V10));
        assert_eq!(Versions::agree(&both, bitmap(6, 0b110_0000)), None);
        assert_eq!(Versions::agree(&[V10], plain(4)), Some(V10));
        assert_eq!(Versions::agree(&[V10], plain(1)), Some(V10));
        assert_eq!(Versions::agree(&[V13], plain(1)), None);
    }

    #[test]
    fn the_hello_of_open_vswitch() {
        let (xid, versions) = Versions::parse(&OVS_13).unwrap();
        assert_eq!((xid, versions), (1, Versions { highest: 4, bitmap: Some(0x10) }));
        let mut out = Vec::new();
        versions.emit(xid, &mut out);
        assert_eq!(out, OVS_13);
    }

    #[test]
    fn truncated_elements_are_refused() {
        for end in 9..16u8 {
            let mut short = OVS_13[..usize::from(end)].to_vec();
            short[3] = end;
            assert!(Versions::parse(&short).is_err(), "{end}");
        }
        assert!(Versions::parse(&OVS_13[..7]).is_err());
    }

    #[test]
    fn what_1_0_carries_after_its_header_is_ignored() {
        assert_eq!(
            Versions::parse(&[1, 0, 0, 9, 0, 0, 0, 1, 0xff]).unwrap().1,
            Versions { highest: 1, bitmap: None }
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Versions::parse(&bytes);
        }
    }
}

//! An item of a stream on a link: its packets.

use livectl_wire::datagram;

use super::super::course::Born;
use super::super::programs::{UDP_HEADERS, on_the_wire};
use crate::plan::delivery::Carrier;
use crate::trace::floor::{HEADERS, SEGMENT};

/// What an item comes to on links, in bytes with all headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parcel {
    /// How many packets it is cut into.
    pub packets: u64,
    /// Bytes of the first packet.
    pub first: u64,
    /// Bytes of the last packet.
    pub last: u64,
    /// Bytes of all packets.
    pub total: u64,
    /// Bytes of payload that TCP or UDP carries, without these headers.
    pub payload: u64,
}

impl Parcel {
    pub fn of(carrier: Carrier, born: &Born) -> Self {
        let (payload, most, headers) = match carrier {
            Carrier::Group => (born.bytes, datagram::MAX_PART as u64, (datagram::HEADER_LEN + UDP_HEADERS) as u64),
            _ => (on_the_wire(carrier, born.bytes), u64::from(SEGMENT), u64::from(HEADERS)),
        };
        let packets = payload.div_ceil(most).max(1);
        Self {
            packets,
            first: payload.min(most) + headers,
            last: payload - (packets - 1) * most + headers,
            total: payload + packets * headers,
            payload,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn born(bytes: u64) -> Born {
        Born { bytes, at: 0, keyframe: false, is_frame: true }
    }

    #[test]
    fn packets_are_full_but_for_the_last() {
        // 2083 bytes and a tag of 15: 1448 and 650 bytes, each with 66 bytes of headers.
        let parcel = Parcel::of(Carrier::Peer, &born(2083));
        assert_eq!(parcel, Parcel { packets: 2, first: 1514, last: 716, total: 2230, payload: 2098 });
        let small = Parcel::of(Carrier::Peer, &born(85));
        assert_eq!(small, Parcel { packets: 1, first: 166, last: 166, total: 166, payload: 100 });
        let full = Parcel::of(Carrier::Peer, &born(2 * 1448 - 15));
        assert_eq!((full.packets, full.last, full.total), (2, 1514, 3028));
    }

    #[test]
    fn a_group_has_datagrams() {
        let parcel = Parcel::of(Carrier::Group, &born(datagram::MAX_PART as u64 + 1));
        assert_eq!((parcel.packets, parcel.last), (2, 1 + (datagram::HEADER_LEN + UDP_HEADERS) as u64));
    }
}

//! Datagrams of streams, and what comes out when they are put together.

use livectl_wire::datagram::{Body, Datagram, Given, HEADER_LEN, MAX_PART, Reassembler};
use livectl_wire::flv::{MAX_PAYLOAD, TagKind};

/// What may wait in a reassembler, as it says itself.
const LIMIT: usize = (32 << 20) + MAX_PAYLOAD;
/// Bytes of a step.
const STEP: usize = 8;

/// What is read as a datagram would be written as the same bytes. And each eight bytes are a step: a datagram of a
/// tag whose kind, time, size and bytes follow from its number, of this or another publication or stream, sometimes
/// cut short or contradicting; and how much later it comes.
///
/// What comes out is what was sent, in order and once; what is missing is said, and memory is bounded; what was
/// counted adds up.
pub fn datagram(data: &[u8]) {
    if let Ok(parsed) = Datagram::parse(data) {
        assert_eq!(emit(&parsed), data);
    }
    let mut reassembler = Reassembler::new(None);
    let (mut now, mut pushed, mut bytes) = (0i64, 0u64, 0u64);
    let mut given = Vec::new();
    for step in data.chunks_exact(STEP) {
        let &[how, number, session, size, part, serial, later, jump] = step else { return };
        now += i64::from(later) * 1_000_000;
        // Now and then far ahead.
        let number = u32::from(number) + if jump > 250 { u32::from(jump) << 16 } else { 0 };
        let whole = sizes(number, size);
        let kind = [TagKind::Audio, TagKind::Video, TagKind::Script][number as usize % 3];
        let offset = usize::from(part) % (whole / MAX_PART + 1) * MAX_PART;
        let payload = vec![number as u8; MAX_PART.min(whole.saturating_sub(offset))];
        let size = whole as u32 + u32::from(how & 0x40 != 0);
        let body = match how & 0x0f {
            0x0f => Body::End,
            _ => Body::Part { kind, size, offset: offset as u32, part: &payload },
        };
        let (stream, session) = (u32::from(how >> 4 & 3 == 3), u32::from(session >> 6));
        let mut sent = emit(&Datagram { stream, session, serial: serial.into(), number, timestamp: number, body });
        if how & 0x80 != 0 {
            sent.truncate(HEADER_LEN + usize::from(part));
        }
        bytes += sent.len() as u64;
        if reassembler.push(&sent, now).is_ok() {
            pushed += u64::from(body != Body::End);
        }
        drain(&mut reassembler, now, &mut given);
        assert!(reassembler.held() <= LIMIT, "{} bytes wait", reassembler.held());
    }
    drain(&mut reassembler, i64::MAX, &mut given);
    assert_eq!(reassembler.deadline(), None, "nothing more can come");
    let counts = reassembler.counts();
    assert!(counts.datagrams + counts.repeated <= pushed && counts.bytes + counts.repeated_bytes <= bytes);
    let tags = given.iter().filter(|given| matches!(given, Given::Tag(_))).count();
    let lost: u64 =
        given.iter().map(|given| if let Given::Lost(count) = given { u64::from(*count) } else { 0 }).sum();
    assert_eq!((counts.tags, counts.lost_tags), (tags as u64, lost));
}

/// Bytes of a tag: with the same number mostly the same, of those that are large few.
fn sizes(number: u32, variant: u8) -> usize {
    let size = (number.wrapping_mul(2_654_435_761) >> 20) as usize;
    match (number % 16, variant) {
        (0, 255) => MAX_PAYLOAD - 1,
        (1..8, _) => size / 16,
        _ => size,
    }
}

fn drain(reassembler: &mut Reassembler, now: i64, all: &mut Vec<Given>) {
    while let Some(given) = reassembler.next(now) {
        if let Given::Tag(tag) = &given {
            assert!(tag.first_ns <= tag.whole_ns && tag.whole_ns <= now);
            assert!(tag.payload.iter().all(|byte| *byte == tag.number as u8), "its bytes are another's");
            assert_eq!(tag.timestamp, tag.number);
        }
        all.push(given);
    }
}

fn emit(datagram: &Datagram<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    datagram.emit(&mut bytes);
    bytes
}

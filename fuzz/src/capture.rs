//! Capture files, and the flows in them.

use std::collections::BTreeSet;
use std::io::{Error, Read};

use livectl_wire::capture::Packet;
use livectl_wire::{capture, flows, http, peer, rtmp};

/// The bytes after the first two are a capture file. What was counted adds up, whatever was in it; no frame has a
/// time that no packet has; and the same comes out when the bytes come in small pieces, or when all that follows
/// cannot be read.
///
/// Memory is bounded: `run.sh` ends the target at 256 MiB, whatever lengths the file speaks of.
pub fn capture(data: &[u8]) {
    let Some((&[size, fails], file)) = data.split_first_chunk() else { return };
    let read = |source: Pieces<'_>| flows::read(source).map_err(|error| error.to_string());
    let whole = read(Pieces { bytes: file, size: file.len(), fails: false });
    let pieces = Pieces { bytes: file, size: usize::from(size).max(1), fails: false };
    assert_eq!(format!("{:?}", read(pieces)), format!("{whole:?}"));
    if let Ok((found, facts)) = &whole {
        consistent(file, found, facts);
    }
    // What was read before is kept.
    let before = file.get(..file.len() * usize::from(fails) / 256).unwrap_or_default();
    match (read(Pieces { bytes: before, size: before.len(), fails: true }), whole) {
        (Ok((_, before)), Ok((_, facts))) => {
            assert!(before.packets <= facts.packets && before.segments <= facts.segments)
        }
        (Err(_), _) => {}
        (Ok(_), Err(error)) => panic!("a part can be read, and the whole not: {error}"),
    }
}

fn consistent(file: &[u8], found: &[flows::Flow], facts: &capture::CaptureFacts) {
    let (mut times, mut payload, mut segments) = (BTreeSet::new(), 0, 0);
    let mut sent_to_groups = 0;
    let again = capture::read_packets(file, |packet| match packet {
        Packet::Tcp(packet) => {
            segments += 1;
            times.insert(packet.segment.time);
            if [packet.from, packet.to].iter().any(|end| [rtmp::PORT, peer::PORT, http::PORT].contains(&end.port())) {
                payload += packet.segment.payload.len() as u64;
            }
        }
        Packet::Udp(packet) => {
            times.insert(packet.time);
            sent_to_groups += packet.payload.len() as u64;
        }
    });
    assert_eq!(again.as_ref().ok(), Some(facts));
    assert_eq!(facts.segments, segments);
    assert_eq!(facts.packets, facts.segments + facts.other + facts.fragments + facts.unreadable);
    assert!(facts.cut <= facts.packets && facts.cut <= facts.cut_bytes);
    assert_eq!(facts.first_ns.is_some() && facts.last_ns.is_some(), facts.packets > 0);
    assert!(facts.problems.len() <= 5);
    assert!(payload <= file.len() as u64);

    let (mut counted, mut of_groups) = (0, 0);
    for flow in found {
        let counts = flow.counts;
        let counted = if matches!(flow.protocol, flows::Protocol::Group(_)) { &mut of_groups } else { &mut counted };
        *counted += counts.delivered + counts.retransmitted + counts.overlapping + counts.refused;
        assert!(counts.before_start <= counts.retransmitted + counts.overlapping);
        let frames: u64 = flow.frames.iter().map(|frame| u64::from(frame.size)).sum();
        assert!(frames <= counts.delivered, "{frames} bytes of frames out of {}", counts.delivered);
        assert!(flow.problems.len() <= 15);
        for frame in &flow.frames {
            assert!(frame.first_byte_ns <= frame.time_ns);
            assert!(times.contains(&frame.first_byte_ns) && times.contains(&frame.time_ns));
            assert!(frame.size > 0);
        }
    }
    // A byte is counted each time it is seen.
    assert_eq!(counted, payload);
    // Others send datagrams, too.
    assert!(of_groups <= sent_to_groups);
}

/// Bytes that come in pieces of `size`, the last of them followed by the end or by a failure.
struct Pieces<'a> {
    bytes: &'a [u8],
    size: usize,
    fails: bool,
}

impl Read for Pieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        if self.bytes.is_empty() && self.fails {
            return Err(Error::other("the disk is gone"));
        }
        let len = self.size.min(out.len()).min(self.bytes.len());
        let (now, later) = self.bytes.split_at(len);
        self.bytes = later;
        out.get_mut(..len).unwrap_or_default().copy_from_slice(now);
        Ok(len)
    }
}

//! Packets out of a capture file.

use std::io::{Error, Read};

use pcap_parser::pcapng::{Block, InterfaceDescriptionBlock, OptionCode};
use pcap_parser::{Linktype, PcapBlockOwned, PcapError, create_reader};

use super::CaptureError;

/// A packet as it stands in the file.
pub(super) struct Record<'a> {
    /// Nanoseconds since 1970.
    pub time: i64,
    /// What kind of link it was captured on.
    pub link: Linktype,
    /// Its bytes, as far as they were captured.
    pub bytes: &'a [u8],
    /// How many bytes were not captured.
    pub cut: u64,
}

/// Larger than any packet: the snapshot length is 256 KiB at most.
const BUFFER: usize = 1 << 20;
/// Blocks of pcapng that are not packets (name tables, key logs) may be larger.
const MAX_BUFFER: usize = 1 << 25;

/// How packets are to be understood.
enum Format {
    /// Before the header.
    Unknown,
    /// Of classic pcap: the kind of link, and how many nanoseconds the unit of the fraction is.
    Classic { link: Linktype, unit: u32 },
    /// Of pcapng: the section's byte order and interfaces.
    Section { big_endian: bool, interfaces: Vec<Interface> },
}

struct Interface {
    link: Linktype,
    /// Units of time a second; `None` for a resolution that makes no sense.
    resolution: Option<u128>,
    /// Seconds to add.
    offset: i64,
}

/// Hands on each packet. Says where and why it had to stop before the end, if it had to.
pub(super) fn read(
    source: impl Read + Send,
    mut on_record: impl FnMut(Record<'_>),
) -> Result<Option<String>, CaptureError> {
    let mut reader = create_reader(BUFFER, source).map_err(|error| match error {
        PcapError::Eof => CaptureError::Empty,
        PcapError::ReadError => CaptureError::Read(Error::other("reading the first bytes failed")),
        _ => CaptureError::Unknown,
    })?;
    let (mut format, mut buffer, mut timeless) = (Format::Unknown, BUFFER, 0u64);
    let problem = loop {
        let at = reader.consumed();
        let had = reader.data().len();
        let step = match reader.next() {
            Ok((len, block)) => match understand(&mut format, &block, &mut on_record) {
                Ok(Understood::Timeless) => {
                    timeless += 1;
                    Step::Consume(len)
                }
                Ok(Understood::Done) => Step::Consume(len),
                Err(why) => {
                    Step::Stop(format!("the capture is damaged at byte {at}: {why}; what follows was not read"))
                }
            },
            Err(PcapError::Eof) => break None,
            Err(PcapError::Incomplete(_)) => Step::Refill,
            Err(PcapError::BufferTooSmall) if buffer < MAX_BUFFER => Step::Grow,
            Err(PcapError::UnexpectedEof) => {
                Step::Stop(format!("the capture ends in the middle of a packet, at byte {at}"))
            }
            Err(PcapError::ReadError) => Step::Stop(format!("reading the capture failed after byte {at}")),
            Err(_) => Step::Stop(format!("the capture is damaged at byte {at}; what follows was not read")),
        };
        match step {
            Step::Consume(len) => reader.consume(len),
            Step::Refill => {
                if reader.refill().is_err() {
                    break Some(format!("reading the capture failed after byte {at}"));
                }
                // Nothing more came although the reader asks for more: the end, seen from the middle of a block.
                if reader.data().len() == had && reader.reader_exhausted() && had > 0 {
                    break Some(format!("the capture ends in the middle of a packet, at byte {at}"));
                }
            }
            Step::Grow => {
                buffer *= 2;
                reader.grow(buffer);
            }
            Step::Stop(problem) => break Some(problem),
        }
    };
    let timeless =
        (timeless > 0).then(|| format!("{timeless} packets stand without their time and were passed over"));
    Ok(match (problem, timeless) {
        (Some(a), Some(b)) => Some(format!("{a}; {b}")),
        (a, b) => a.or(b),
    })
}

enum Step {
    Consume(usize),
    Refill,
    Grow,
    Stop(String),
}

enum Understood {
    Done,
    /// A packet without a time.
    Timeless,
}

fn understand(
    format: &mut Format,
    block: &PcapBlockOwned<'_>,
    on_record: &mut impl FnMut(Record<'_>),
) -> Result<Understood, String> {
    match block {
        PcapBlockOwned::LegacyHeader(header) => {
            let unit = if header.is_nanosecond_precision() { 1 } else { 1000 };
            *format = Format::Classic { link: header.network, unit };
        }
        PcapBlockOwned::Legacy(record) => {
            let Format::Classic { link, unit } = *format else { return Err("a packet before the header".into()) };
            let fraction = u64::from(record.ts_usec) * u64::from(unit);
            if record.caplen > record.origlen || fraction >= 1_000_000_000 {
                return Err("what stands there is not the header of a packet".into());
            }
            on_record(Record {
                time: i64::from(record.ts_sec) * 1_000_000_000 + fraction as i64,
                link,
                bytes: record.data,
                cut: u64::from(record.origlen - record.caplen),
            });
        }
        PcapBlockOwned::NG(Block::SectionHeader(section)) => {
            *format = Format::Section { big_endian: section.big_endian(), interfaces: Vec::new() };
        }
        PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
            let Format::Section { big_endian, interfaces } = format else {
                return Err("an interface before its section".into());
            };
            interfaces.push(Interface::describe(interface, *big_endian));
        }
        PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
            let Format::Section { interfaces, .. } = format else { return Err("a packet before its section".into()) };
            let id = packet.if_id;
            let interface = usize::try_from(id).ok().and_then(|id| interfaces.get(id));
            let interface = interface.ok_or_else(|| format!("a packet of interface {id}, which is not described"))?;
            let bytes = usize::try_from(packet.caplen).ok().and_then(|len| packet.data.get(..len));
            let bytes = bytes.filter(|_| packet.caplen <= packet.origlen).ok_or("a packet longer than its block")?;
            let ticks = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
            let time = interface.nanoseconds(ticks).ok_or("a time that is out of range")?;
            let cut = u64::from(packet.origlen - packet.caplen);
            on_record(Record { time, link: interface.link, bytes, cut });
        }
        PcapBlockOwned::NG(Block::SimplePacket(_)) => return Ok(Understood::Timeless),
        PcapBlockOwned::NG(_) => {}
    }
    Ok(Understood::Done)
}

impl Interface {
    /// The options if_tsresol and if_tsoffset (pcapng, section 4.2) are read here: pcap-parser 0.17 refuses every resolution that is
    /// a power of two, and reads offsets in one byte order only.
    fn describe(block: &InterfaceDescriptionBlock<'_>, big_endian: bool) -> Self {
        let exponent = u32::from(block.if_tsresol & 0x7f);
        let resolution =
            if block.if_tsresol & 0x80 == 0 { 10u128.checked_pow(exponent) } else { Some(1 << exponent) };
        let option = block.options.iter().find(|option| option.code == OptionCode::IfTsoffset);
        let offset = option.and_then(|option| option.value.first_chunk::<8>());
        let read = if big_endian { i64::from_be_bytes } else { i64::from_le_bytes };
        Self { link: block.linktype, resolution, offset: offset.map_or(0, |bytes| read(*bytes)) }
    }

    fn nanoseconds(&self, ticks: u64) -> Option<i64> {
        let since = u128::from(ticks) * 1_000_000_000 / self.resolution?;
        i64::try_from(since).ok()?.checked_add(self.offset.checked_mul(1_000_000_000)?)
    }
}

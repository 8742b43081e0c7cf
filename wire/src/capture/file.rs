//! Packets out of a capture file.
//!
//! Classic pcap as draft-ietf-opsawg-pcap describes it, with the longer packet headers of "modified" pcap; pcapng as
//! draft-ietf-opsawg-pcapng does, sections 4.1 to 4.4, and the obsolete Packet Block of its appendix A.

use std::io::Read;

use super::CaptureError;
use super::window::Window;

/// A packet as it stands in the file.
pub(super) struct Record<'a> {
    /// Time in nanoseconds since 1970.
    pub time: i64,
    /// What kind of link it was captured on.
    pub link: u32,
    /// Its bytes, as far as they were captured.
    pub bytes: &'a [u8],
    /// How many bytes were not captured.
    pub cut: u64,
}

/// Longest packet or block in bytes: packets have 256 KiB at most, other blocks (name tables, key logs) may be
/// larger.
const MAX_BLOCK: usize = 1 << 25;
/// How many interfaces a section may have.
const MAX_INTERFACES: usize = 1 << 16;

/// Why reading ended before the end of the file.
enum Stop {
    /// The file ends here, though not where a packet does.
    Short,
    /// What stands here cannot be, and why.
    Damaged(String),
    /// Zeros stand where a packet or the end should: a machine or a disk that broke down has kept the file's length, and not what was in it.
    Zeros,
}

impl From<&str> for Stop {
    fn from(why: &str) -> Self {
        Stop::Damaged(why.into())
    }
}

/// Order of the bytes in a number.
#[derive(Clone, Copy)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(match self {
            Order::Little => u32::from_le_bytes(bytes),
            Order::Big => u32::from_be_bytes(bytes),
        })
    }

    fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(match self {
            Order::Little => u16::from_le_bytes(bytes),
            Order::Big => u16::from_be_bytes(bytes),
        })
    }

    fn i64(self, bytes: &[u8]) -> Option<i64> {
        let bytes = *bytes.first_chunk()?;
        Some(match self {
            Order::Little => i64::from_le_bytes(bytes),
            Order::Big => i64::from_be_bytes(bytes),
        })
    }
}

/// Hands on each packet. Says where and why it had to stop before the end, if it had to.
pub(super) fn read(source: impl Read, mut on_record: impl FnMut(Record<'_>)) -> Result<Option<String>, CaptureError> {
    let mut window = Window::new(source);
    let magic = window.peek(4).to_vec();
    let mut timeless = 0;
    let result = if magic == SECTION {
        Sections::default().read(&mut window, &mut timeless, &mut on_record)
    } else if let Some(classic) = Classic::of(&magic) {
        classic.read(&mut window, &mut on_record)
    } else {
        return Err(match window.failure() {
            Some(error) if magic.is_empty() => CaptureError::Read(error),
            _ if magic.is_empty() => CaptureError::Empty,
            _ => CaptureError::Unknown,
        });
    };
    let at = window.offset();
    let zeros_alone = matches!(result, Err(Stop::Zeros)) && only_zeros(&mut window);
    let mut problems = Vec::new();
    match (result, window.failure()) {
        (Err(Stop::Short), Some(error)) if at == 0 => return Err(CaptureError::Read(error)),
        (Err(Stop::Short) | Ok(()), Some(error)) => {
            problems.push(format!("reading the capture failed after byte {at}: {error}"));
        }
        (Err(Stop::Short), None) if at == 0 => return Err(CaptureError::Header),
        (Err(Stop::Short), None) => {
            problems.push(format!("the capture ends in the middle of a packet, at byte {at}"));
        }
        (Err(Stop::Zeros), _) => problems.push(if zeros_alone {
            format!("only zeros from byte {at} on, as a machine or disk leaves them when it fails")
        } else {
            format!("the capture is damaged at byte {at}: there are zeros; what follows them was not read")
        }),
        (Err(Stop::Damaged(why)), _) => {
            problems.push(format!("the capture is damaged at byte {at}: {why}; what follows was not read"));
        }
        (Ok(()), None) => {}
    }
    if timeless > 0 {
        problems.push(format!("{timeless} packets have no time and were skipped"));
    }
    Ok((!problems.is_empty()).then(|| problems.join("; ")))
}

/// Whether nothing but zeros follows.
fn only_zeros(window: &mut Window<impl Read>) -> bool {
    loop {
        let next = window.peek(4096);
        if !next.iter().all(|byte| *byte == 0) {
            return false;
        }
        match next.len() {
            0 => return true,
            len => window.pass(len),
        }
    }
}

/// A classic pcap file, by its magic number.
struct Classic {
    order: Order,
    /// How many nanoseconds the unit of a time's fraction is.
    unit: u64,
    /// Bytes of the header before each packet.
    header: usize,
}

impl Classic {
    /// Bytes of the file's header.
    const HEADER: usize = 24;

    fn of(magic: &[u8]) -> Option<Self> {
        [Order::Little, Order::Big].into_iter().find_map(|order| match order.u32(magic, 0)? {
            0xa1b2_c3d4 => Some(Self { order, unit: 1000, header: 16 }),
            0xa1b2_3c4d => Some(Self { order, unit: 1, header: 16 }),
            0xa1b2_cd34 => Some(Self { order, unit: 1000, header: 24 }),
            _ => None,
        })
    }

    fn read(&self, window: &mut Window<impl Read>, on_record: &mut impl FnMut(Record<'_>)) -> Result<(), Stop> {
        let Self { order, unit, header } = *self;
        let link = order.u32(window.exactly(Self::HEADER).ok_or(Stop::Short)?, 20).unwrap_or(0);
        window.pass(Self::HEADER);
        loop {
            let head = window.peek(header);
            if head.is_empty() {
                return Ok(());
            }
            // No packet of no bytes is captured in 1970.
            if head.len() == header && head.iter().all(|byte| *byte == 0) {
                return Err(Stop::Zeros);
            }
            let word = |at| if head.len() < header { None } else { order.u32(head, at) };
            let [seconds, fraction, captured, original] = match [word(0), word(4), word(8), word(12)] {
                [Some(a), Some(b), Some(c), Some(d)] => [a, b, c, d],
                _ => return Err(Stop::Short),
            };
            let fraction = u64::from(fraction) * unit;
            let len = captured as usize;
            if captured > original || fraction >= 1_000_000_000 || len > MAX_BLOCK {
                return Err("what stands there is not the header of a packet".into());
            }
            let packet = window.exactly(header + len).ok_or(Stop::Short)?;
            on_record(Record {
                time: i64::from(seconds) * 1_000_000_000 + fraction as i64,
                link,
                bytes: packet.get(header..).unwrap_or_default(),
                cut: u64::from(original - captured),
            });
            window.pass(header + len);
        }
    }
}

/// What a Section Header Block begins with, in either byte order.
const SECTION: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const INTERFACE_DESCRIPTION: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;
const IF_TSRESOL: u16 = 9;
const IF_TSOFFSET: u16 = 14;

/// pcapng; byte order and interfaces are those of the section under way.
#[derive(Default)]
struct Sections {
    order: Option<Order>,
    interfaces: Vec<Interface>,
}

impl Sections {
    fn read(
        mut self,
        window: &mut Window<impl Read>,
        timeless: &mut u64,
        on_record: &mut impl FnMut(Record<'_>),
    ) -> Result<(), Stop> {
        loop {
            let head = window.peek(12);
            if head.len() == 12 && head.iter().all(|byte| *byte == 0) {
                return Err(Stop::Zeros);
            }
            let Some(kind) = head.first_chunk::<4>().copied().filter(|_| head.len() == 12) else {
                return if head.is_empty() { Ok(()) } else { Err(Stop::Short) };
            };
            if kind == SECTION {
                self.begin_section(head)?;
            }
            let order = self.order.ok_or("a block before its section")?;
            let len = order.u32(head, 4).unwrap_or(0) as usize;
            if len < 12 || !len.is_multiple_of(4) || len > MAX_BLOCK {
                return Err(Stop::Damaged(format!("a block of {len} bytes")));
            }
            let block = window.exactly(len).ok_or(Stop::Short)?;
            if order.u32(block, len - 4) != Some(len as u32) {
                return Err("a block with two different lengths".into());
            }
            let body = block.get(8..len - 4).unwrap_or_default();
            match order.u32(&kind, 0) {
                _ if kind == SECTION => {}
                Some(INTERFACE_DESCRIPTION) if self.interfaces.len() >= MAX_INTERFACES => {
                    return Err(Stop::Damaged(format!("more than {MAX_INTERFACES} interfaces")));
                }
                Some(INTERFACE_DESCRIPTION) => {
                    let interface = Interface::describe(body, order).ok_or("half an interface")?;
                    self.interfaces.push(interface);
                }
                Some(ENHANCED_PACKET) => on_record(self.packet(body, order, order.u32(body, 0))?),
                Some(OBSOLETE_PACKET) => on_record(self.packet(body, order, order.u16(body, 0).map(u32::from))?),
                Some(SIMPLE_PACKET) => *timeless += 1,
                _ => {}
            }
            window.pass(len);
        }
    }

    fn begin_section(&mut self, head: &[u8]) -> Result<(), Stop> {
        let mut orders = [Order::Little, Order::Big].into_iter();
        self.order = orders.find(|order| order.u32(head, 8) == Some(BYTE_ORDER_MAGIC));
        self.interfaces.clear();
        if self.order.is_none() { Err("a section of unknown byte order".into()) } else { Ok(()) }
    }

    fn packet<'a>(&self, body: &'a [u8], order: Order, interface: Option<u32>) -> Result<Record<'a>, Stop> {
        let word = |at| order.u32(body, at).ok_or("half a packet");
        let [high, low, captured, original] = [word(4)?, word(8)?, word(12)?, word(16)?];
        let id = interface.unwrap_or_default();
        let described = usize::try_from(id).ok().and_then(|id| self.interfaces.get(id));
        let undescribed = || Stop::Damaged(format!("a packet of interface {id}, which is not described"));
        let interface = described.ok_or_else(undescribed)?;
        let bytes = body.get(20..).and_then(|rest| rest.get(..captured as usize));
        let bytes = bytes.filter(|_| captured <= original).ok_or("a packet longer than its block")?;
        let time =
            interface.nanoseconds(u64::from(high) << 32 | u64::from(low)).ok_or("a time that is out of range")?;
        Ok(Record { time, link: interface.link, bytes, cut: u64::from(original - captured) })
    }
}

struct Interface {
    link: u32,
    unit: Unit,
    /// Nanoseconds to add to each time (`if_tsoffset`); `None`: more than fit.
    offset: Option<i64>,
}

/// The unit of an interface's times (`if_tsresol`).
enum Unit {
    /// A unit is so many nanoseconds.
    Nanoseconds(u64),
    /// So many units make a second.
    PerSecond(u128),
    /// A resolution that makes no sense.
    Unknown,
}

impl Interface {
    /// From the body of its Interface Description Block (section 4.2).
    fn describe(body: &[u8], order: Order) -> Option<Self> {
        let link = u32::from(order.u16(body, 0)?);
        let (mut resolution, mut offset) = (6, 0i64);
        let mut options = body.get(8..)?;
        while let (Some(code @ 1..), Some(len)) = (order.u16(options, 0), order.u16(options, 2)) {
            let value = options.get(4..4 + usize::from(len))?;
            match (code, value) {
                (IF_TSRESOL, [exponent]) => resolution = *exponent,
                (IF_TSOFFSET, [_, _, _, _, _, _, _, _]) => offset = order.i64(value)?,
                _ => {}
            }
            options = options.get(4 + usize::from(len).next_multiple_of(4)..).unwrap_or_default();
        }
        let exponent = u32::from(resolution & 0x7f);
        let per_second = if resolution & 0x80 == 0 { 10u128.checked_pow(exponent) } else { Some(1 << exponent) };
        let unit = match per_second {
            None => Unit::Unknown,
            Some(per_second) if 1_000_000_000 % per_second == 0 => {
                Unit::Nanoseconds((1_000_000_000 / per_second) as u64)
            }
            Some(per_second) => Unit::PerSecond(per_second),
        };
        Some(Self { link, unit, offset: offset.checked_mul(1_000_000_000) })
    }

    fn nanoseconds(&self, ticks: u64) -> Option<i64> {
        let since = match self.unit {
            Unit::Nanoseconds(unit) => ticks.checked_mul(unit)?,
            Unit::PerSecond(per_second) => u64::try_from(u128::from(ticks) * 1_000_000_000 / per_second).ok()?,
            Unit::Unknown => return None,
        };
        i64::try_from(since).ok()?.checked_add(self.offset?)
    }
}

//! The clock in the picture: what is burnt into each picture at its source, and how it is read again where a picture
//! is decoded or shown.
//!
//! A picture carries the time at which it was taken as a row of [`CELLS`] square cells along its upper edge, black
//! for 0 and white for 1, the least bit first: [`TIME_BITS`] bits of tenths of a millisecond since midnight UTC, and
//! [`CHECK_BITS`] bits that tell a wrong reading from a right one. Cells of 8 pixels and more survive any bitrate at
//! which anything can be seen; below the picture's middle people read the same time in digits.
//!
//! | module | what it does |
//! |---|---|
//! | [`picture`] | draws the clock, as a chain of ffmpeg's filters |
//! | [`screen`] | reads it where it is shown: a virtual screen whose pixels are in a file |
//! | [`stream`] | reads it in what was encoded, so that each frame's clock is known |
//! | [`log`] | the files that hold what was read |

pub mod log;
pub mod picture;
pub mod screen;
pub mod stream;

/// Bits of time.
pub const TIME_BITS: u32 = 30;
/// Bits that check it.
pub const CHECK_BITS: u32 = 10;
/// Cells of the clock.
pub const CELLS: u32 = TIME_BITS + CHECK_BITS;
/// A cell's least side in pixels: a macroblock's quarter.
const LEAST_CELL: u32 = 8;
/// A cell's greatest side in pixels: a macroblock's.
const GREATEST_CELL: u32 = 16;
/// Nanoseconds of a tick, the unit of the clock.
pub const TICK_NS: i64 = 100_000;
/// Ticks of a day.
const DAY: u32 = 864_000_000;
/// What the check is the remainder by: the greatest prime that leaves room for one more in [`CHECK_BITS`].
const DIVISOR: u32 = 1021;
/// The least width of a picture with a clock, in pixels.
pub const LEAST_WIDTH: u32 = CELLS * LEAST_CELL;
/// The least height, in pixels: there must be something to see beside it.
pub const LEAST_HEIGHT: u32 = 64;

/// Where the clock is in pictures of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Side of a cell in pixels; even, so that it is whole in the colour planes of a 4:2:0 picture too.
    pub cell: u32,
}

/// A moment as the clock shows it: tenths of a millisecond since midnight UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tick(u32);

impl Layout {
    /// The layout for pictures of that width in pixels; `None` if they are too narrow.
    #[must_use]
    pub fn of(width: u32) -> Option<Layout> {
        let cell = (width / CELLS) & !1;
        (cell >= LEAST_CELL).then_some(Layout { cell: cell.min(GREATEST_CELL) })
    }

    /// Width of the clock in pixels.
    #[must_use]
    pub fn width(self) -> u32 {
        self.cell * CELLS
    }

    /// Reads the clock from a row of pixels across its middle: `luma` is the brightness at a column, 0 to 255.
    /// `None`: there is none, or a part of it belongs to another picture.
    #[must_use]
    pub fn read(self, luma: impl Fn(u32) -> u8) -> Option<Tick> {
        let mut bits = 0u64;
        for cell in 0..CELLS {
            // The middle half of the cell, away from what its neighbours do to its edges.
            let (from, count) = (cell * self.cell + self.cell / 4, self.cell / 2);
            let sum: u32 = (from..from + count).map(|column| u32::from(luma(column))).sum();
            bits |= u64::from(sum >= 128 * count) << cell;
        }
        Tick::decode(bits)
    }
}

impl Tick {
    /// The tick in which that moment lies, nanoseconds of CLOCK_REALTIME.
    #[must_use]
    pub fn at(ns: i64) -> Tick {
        let ticks = (ns.div_euclid(TICK_NS)).rem_euclid(i64::from(DAY));
        Tick(u32::try_from(ticks).unwrap_or(0))
    }

    /// What its cells show, cell 0 in the least bit.
    #[must_use]
    pub fn encode(self) -> u64 {
        let check = self.0 % DIVISOR + 1;
        u64::from(self.0) | u64::from(check) << TIME_BITS
    }

    /// The tick whose cells show that; `None` if no tick's do: a black picture, a white one, a mixture of two.
    #[must_use]
    pub fn decode(bits: u64) -> Option<Tick> {
        let ticks = (bits & ((1 << TIME_BITS) - 1)) as u32;
        let tick = Tick(ticks);
        (ticks < DAY && tick.encode() == bits).then_some(tick)
    }

    /// The moment that it means, of all days' the one nearest to another moment; both nanoseconds of CLOCK_REALTIME.
    #[must_use]
    pub fn near(self, ns: i64) -> i64 {
        let day = i64::from(DAY) * TICK_NS;
        let since_midnight = i64::from(self.0) * TICK_NS;
        let away = (ns - since_midnight).rem_euclid(day);
        let before = ns - away;
        if away <= day / 2 { before } else { before + day }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    /// A row of pixels with that clock, of which `noise` is added to each.
    fn row(layout: Layout, bits: u64, noise: impl Fn(u32) -> i32) -> Vec<u8> {
        let pixel = |x: u32| {
            let value = if bits >> (x / layout.cell) & 1 == 1 { 235 } else { 16 };
            (value + noise(x)).clamp(0, 255) as u8
        };
        (0..layout.width()).map(pixel).collect()
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_whatever_compression_does_to_it(
            ns in 0i64..4_000_000_000_000_000_000,
            width in LEAST_WIDTH..4096u32,
            seed in any::<u64>(),
        ) {
            let layout = Layout::of(width).unwrap();
            prop_assert!(layout.width() <= width);
            let tick = Tick::at(ns);
            let noise = |x: u32| ((seed.rotate_left(x) & 0x7f) as i32) - 64;
            let row = row(layout, tick.encode(), noise);
            prop_assert_eq!(layout.read(|x| row[x as usize]), Some(tick));
        }

        #[test]
        fn one_wrong_cell_is_noticed(ns in 0i64..4_000_000_000_000_000_000, cell in 0..CELLS) {
            prop_assert_eq!(Tick::decode(Tick::at(ns).encode() ^ (1 << cell)), None);
        }

        #[test]
        fn the_day_is_the_nearest(ns in 0i64..4_000_000_000_000_000_000, off_s in -40_000i64..40_000) {
            let tick = Tick::at(ns);
            prop_assert_eq!(tick.near(ns + off_s * 1_000_000_000), ns / TICK_NS * TICK_NS);
        }
    }

    #[test]
    fn a_picture_without_a_clock_is_none() {
        assert_eq!(Tick::decode(0), None, "black");
        assert_eq!(Tick::decode((1 << CELLS) - 1), None, "white");
        assert_eq!(Layout::of(LEAST_WIDTH - 1), None);
        assert_eq!(Layout::of(640).unwrap().cell, 16);
        assert_eq!(Layout::of(1920).unwrap().cell, 16);
        assert_eq!(Layout::of(400).unwrap().cell, 10);
    }

    /// Mixtures of the cells of two pictures that follow each other at 30 a second pass for a third one less often
    /// than once in 500 times.
    #[test]
    fn two_pictures_at_once_are_no_third() {
        let (mut mixed, mut taken) = (0u32, 0u32);
        for n in 0..2000i64 {
            let one = Tick::at(1_795_942_874_257_065_619 + n * 33_333_333).encode();
            let two = Tick::at(1_795_942_874_257_065_619 + (n + 1) * 33_333_333).encode();
            for cut in 1..CELLS {
                let mask = (1u64 << cut) - 1;
                let both = one & mask | two & !mask;
                if both != one && both != two {
                    mixed += 1;
                    taken += u32::from(Tick::decode(both).is_some());
                }
            }
        }
        assert!(mixed > 10_000 && taken * 500 < mixed, "{taken} of {mixed}");
    }
}

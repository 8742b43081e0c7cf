//! Chance that depends on nothing but what it is about: the same whoever asks first.

/// A stream of numbers for one thing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chance(u64);

impl Chance {
    /// That of one of many things, in one of many respects.
    pub fn of(seed: u64, thing: u64, respect: u64) -> Self {
        Self(mixed(seed ^ mixed(thing ^ mixed(respect))))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mixed(self.0)
    }

    /// Uniform, from 0 to below `end`.
    pub fn below(mut self, end: u64) -> u64 {
        self.draw(end)
    }

    /// The same, once more.
    pub fn draw(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// Uniform, 0 to 1 and never 1.
    pub fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The finalizer of SplitMix64: Steele, Lea, Flood, OOPSLA 2014, figure 17.
fn mixed(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

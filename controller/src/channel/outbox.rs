//! What waits to be sent to one switch.

/// Above this many waiting bytes nothing more is read from the switch, so that it feels that it does not read itself.
pub const HIGH_WATER: usize = 64 << 10;
/// Above this many the switch is given up.
pub const LIMIT: usize = 8 << 20;
/// A buffer that has grown beyond this is given back once it is empty, so that all switches fill the same few in
/// turn: that is less memory, and it stays in the processor's cache.
const SPARE: usize = 4 << 10;

/// Bytes on their way to one switch.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Bytes to be sent; the first `sent` of them are.
    bytes: Vec<u8>,
    sent: usize,
    overflowed: bool,
}

impl Outbox {
    /// Where to append bytes. When too many wait already, it overflows: what is appended then is thrown away with
    /// what waits.
    pub fn end(&mut self) -> &mut Vec<u8> {
        if self.len() > LIMIT {
            self.overflowed = true;
            self.sent = 0;
            self.bytes.clear();
        }
        &mut self.bytes
    }

    /// How many bytes wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Whether none wait.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether so many waited that some were thrown away: nothing that is sent from now on would make sense.
    #[must_use]
    pub fn has_overflowed(&self) -> bool {
        self.overflowed
    }

    /// Lets `write` send what waits; it says how many bytes went.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn flush(&mut self, write: impl FnOnce(&[u8]) -> std::io::Result<usize>) -> std::io::Result<usize> {
        if self.overflowed {
            return Ok(0);
        }
        let went = write(self.bytes.get(self.sent..).unwrap_or_default())?;
        self.sent += went;
        if self.sent >= self.bytes.len() {
            self.sent = 0;
            self.bytes.clear();
            if self.bytes.capacity() > SPARE {
                self.bytes = Vec::new();
            }
        } else if self.sent >= HIGH_WATER {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        Ok(went)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sends_in_order_however_little_goes_at_a_time() {
        let mut outbox = Outbox::default();
        let mut received: Vec<u8> = Vec::new();
        let mut sent = Vec::new();
        for number in 0..1000u32 {
            outbox.end().extend(number.to_be_bytes());
            sent.extend(number.to_be_bytes());
            outbox
                .flush(|bytes| {
                    let part = bytes.get(..3).unwrap_or(bytes);
                    received.extend(part);
                    Ok(part.len())
                })
                .unwrap();
        }
        assert_eq!(outbox.len(), 1000);
        while !outbox.is_empty() {
            outbox
                .flush(|bytes| {
                    received.extend(bytes);
                    Ok(bytes.len())
                })
                .unwrap();
        }
        assert_eq!(received, sent);
    }

    #[test]
    fn who_does_not_read_is_given_up() {
        let mut outbox = Outbox::default();
        for _ in 0..LIMIT / 65_536 + 1 {
            outbox.end().extend([0; 65_536]);
        }
        assert!(!outbox.has_overflowed());
        outbox.end().extend([1; 8]);
        assert!(outbox.has_overflowed());
        assert!(outbox.len() <= 8);
        assert_eq!(outbox.flush(|_| unreachable!()).unwrap(), 0);
    }
}

//! A file read from front to back, of which a part is in memory.

use std::io::{Error, ErrorKind, Read};

/// What was read and not passed yet. However small the pieces are in which the source gives its bytes, it shows the
/// same.
pub(super) struct Window<R> {
    source: R,
    buffer: Vec<u8>,
    /// The bytes that were read and not passed are `buffer[start..end]`.
    start: usize,
    end: usize,
    /// Offset in the file of `buffer[start]`.
    offset: u64,
    /// There is no more, or no more can be read.
    exhausted: bool,
    /// Why no more can be read.
    failure: Option<Error>,
}

/// Bytes that are asked for at once: many packets, and no more than a processor's cache holds.
const READ: usize = 256 << 10;

impl<R: Read> Window<R> {
    pub fn new(source: R) -> Self {
        Self { source, buffer: vec![0; READ], start: 0, end: 0, offset: 0, exhausted: false, failure: None }
    }

    /// The next `len` bytes, or as many as there are.
    pub fn peek(&mut self, len: usize) -> &[u8] {
        if self.end - self.start < len {
            self.fill(len);
        }
        let end = self.end.min(self.start.saturating_add(len));
        self.buffer.get(self.start..end).unwrap_or_default()
    }

    /// The next `len` bytes; `None` if there are not so many.
    pub fn exactly(&mut self, len: usize) -> Option<&[u8]> {
        Some(self.peek(len)).filter(|bytes| bytes.len() == len)
    }

    /// Moves on over `len` bytes that were shown.
    pub fn pass(&mut self, len: usize) {
        let len = len.min(self.end - self.start);
        self.start += len;
        self.offset += len as u64;
    }

    /// How many bytes were passed.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What went wrong in reading, if something did.
    pub fn failure(self) -> Option<Error> {
        self.failure
    }

    fn fill(&mut self, len: usize) {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while self.end < len && !self.exhausted {
            if self.end == self.buffer.len() {
                // Twice as large at most: what a length says need not be there.
                self.buffer.resize(len.min(2 * self.buffer.len()), 0);
            }
            match self.source.read(self.buffer.get_mut(self.end..).unwrap_or_default()) {
                Ok(0) => self.exhausted = true,
                Ok(read) => self.end += read.min(self.buffer.len() - self.end),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => (self.exhausted, self.failure) = (true, Some(error)),
            }
        }
    }
}

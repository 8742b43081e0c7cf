//! Bytes on their way into a connection that may not take them at once.

use std::collections::VecDeque;
use std::io;

use tokio::io::AsyncWriteExt as _;
use tokio::net::tcp::OwnedWriteHalf;

/// What waits to be written, in order.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pieces: VecDeque<Vec<u8>>,
    /// Bytes of the first piece that were written.
    written: usize,
    len: usize,
}

impl Outbox {
    /// Adds bytes at the end.
    pub(crate) fn push(&mut self, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.len += bytes.len();
            self.pieces.push_back(bytes);
        }
    }

    /// Number of bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Drops what waits; says how many bytes that were.
    pub(crate) fn clear(&mut self) -> usize {
        self.pieces.clear();
        self.written = 0;
        std::mem::take(&mut self.len)
    }

    fn first(&self) -> &[u8] {
        self.pieces.front().and_then(|piece| piece.get(self.written..)).unwrap_or_default()
    }

    fn wrote(&mut self, count: usize) {
        self.written += count;
        self.len -= count;
        if self.first().is_empty() {
            self.pieces.pop_front();
            self.written = 0;
        }
    }

    /// Writes as much as the connection takes now, and waits until it takes something. Nothing is lost when the
    /// future is dropped.
    pub(crate) async fn write(&mut self, to: &mut OwnedWriteHalf) -> io::Result<usize> {
        let count = to.write(self.first()).await?;
        if count == 0 && !self.is_empty() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.wrote(count);
        Ok(count)
    }

    /// The same without waiting: what is taken at once.
    pub(crate) fn try_write(&mut self, to: &OwnedWriteHalf) -> io::Result<usize> {
        let mut total = 0;
        while !self.is_empty() {
            match to.try_write(self.first()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.wrote(count);
                    total += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(total)
    }
}

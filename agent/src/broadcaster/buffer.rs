//! How much of a program's bytes may wait for the CDN.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Counts what was read from the program and has not gone to the CDN. While it is full the program is not read.
#[derive(Debug)]
pub(super) struct UploadBuffer {
    /// `None`: there is no limit.
    limit: Option<usize>,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: usize,
    /// Of those, bytes of messages that are not whole: they cannot go yet, so they must not keep the rest of their
    /// message out.
    held: usize,
    waited: Duration,
    was_full: bool,
    closed: bool,
}

impl State {
    fn room(&self, limit: usize) -> usize {
        limit.saturating_sub(self.waiting.saturating_sub(self.held))
    }
}

impl UploadBuffer {
    pub(super) fn new(limit: Option<usize>) -> Self {
        Self { limit, state: Mutex::default(), freed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is room and says how much; `None` when the buffer is closed.
    pub(super) fn room(&self) -> Option<usize> {
        let mut state = self.state();
        let mut since: Option<Instant> = None;
        loop {
            let Some(limit) = self.limit else { return (!state.closed).then_some(usize::MAX) };
            let room = state.room(limit);
            if state.closed || room > 0 {
                state.waited += since.map_or(Duration::ZERO, |since| since.elapsed());
                return (!state.closed).then_some(room);
            }
            state.was_full = true;
            since.get_or_insert_with(Instant::now);
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// So many bytes were read.
    pub(super) fn read(&self, bytes: usize) {
        self.state().waiting += bytes;
    }

    /// So many bytes are held back for their messages.
    pub(super) fn hold(&self, held: usize) {
        self.state().held = held;
        self.freed.notify_one();
    }

    /// So many bytes have gone, or will not go.
    pub(super) fn release(&self, bytes: usize) {
        let mut state = self.state();
        state.waiting = state.waiting.saturating_sub(bytes);
        drop(state);
        self.freed.notify_one();
    }

    /// Nothing more is to be read.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.freed.notify_one();
    }

    /// Number of bytes that wait.
    pub(super) fn waiting(&self) -> usize {
        self.state().waiting
    }

    /// Whether the program will have to wait, if nothing goes first.
    pub(super) fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.state().room(limit) == 0)
    }

    /// Whether the program has had to wait.
    pub(super) fn was_full(&self) -> bool {
        self.state().was_full
    }

    /// For how long the program had to wait so far.
    pub(super) fn waited(&self) -> Duration {
        self.state().waited
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn full_until_bytes_have_gone() {
        let buffer = Arc::new(UploadBuffer::new(Some(100)));
        assert_eq!(buffer.room(), Some(100));
        assert!(!buffer.is_full());
        buffer.read(100);
        assert!(buffer.is_full());
        let waiter = std::thread::spawn({
            let buffer = Arc::clone(&buffer);
            move || buffer.room()
        });
        while !buffer.was_full() {
            std::thread::yield_now();
        }
        buffer.release(30);
        assert_eq!(waiter.join().ok(), Some(Some(30)));
        assert!(buffer.waited() > Duration::ZERO);
        assert_eq!(buffer.waiting(), 70);
    }

    #[test]
    fn a_message_longer_than_the_buffer_is_let_in_whole() {
        let buffer = UploadBuffer::new(Some(100));
        buffer.read(100);
        buffer.hold(100);
        assert_eq!(buffer.room(), Some(100));
        buffer.read(100);
        buffer.hold(200);
        assert_eq!(buffer.room(), Some(100));
    }

    #[test]
    fn closed_nobody_waits() {
        let buffer = UploadBuffer::new(Some(1));
        buffer.read(1);
        buffer.close();
        assert_eq!(buffer.room(), None);
        let unlimited = UploadBuffer::new(None);
        unlimited.read(usize::MAX / 2);
        assert_eq!(unlimited.room(), Some(usize::MAX));
    }
}

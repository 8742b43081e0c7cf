//! What waits to be sent to one switch.

use std::cell::{Cell, RefCell};
use std::task::{Context, Waker};

/// Above this many waiting bytes nothing more is read from the switch, so that it feels that it does not read itself.
pub const HIGH_WATER: usize = 1 << 20;
/// Above this many the switch is given up.
pub const LIMIT: usize = 8 << 20;
/// A buffer that has grown beyond this is given back once it is empty, so that all switches fill the same few in turn: that is less
/// memory, and it stays in the processor's cache.
const SPARE: usize = 4 << 10;

/// The way to one switch, shared by its task and by those whose packets have consequences there.
#[derive(Debug, Default)]
pub struct Link {
    /// Bytes to be sent; the first `sent` of them are.
    waiting: RefCell<Waiting>,
    /// Whether its task is to look after it.
    woken: Cell<bool>,
    task: RefCell<Option<Waker>>,
    doomed: Cell<Option<&'static str>>,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    sent: usize,
}

impl Link {
    /// Lets `append` add bytes, unless too many wait.
    pub fn append(&self, append: impl FnOnce(&mut Vec<u8>)) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.bytes.len() - waiting.sent > LIMIT {
            drop(waiting);
            self.doom("it does not read what is sent to it");
            return;
        }
        append(&mut waiting.bytes);
    }

    /// How many bytes wait.
    pub fn len(&self) -> usize {
        let waiting = self.waiting.borrow();
        waiting.bytes.len() - waiting.sent
    }

    /// Lets `write` send what waits; it says how many bytes went.
    pub fn flush(&self, write: impl FnOnce(&[u8]) -> std::io::Result<usize>) -> std::io::Result<usize> {
        let mut waiting = self.waiting.borrow_mut();
        let went = write(waiting.bytes.get(waiting.sent..).unwrap_or_default())?;
        waiting.sent += went;
        if waiting.sent == waiting.bytes.len() {
            waiting.sent = 0;
            waiting.bytes.clear();
            waiting.bytes.shrink_to(SPARE);
        } else if waiting.sent >= HIGH_WATER {
            let sent = std::mem::take(&mut waiting.sent);
            waiting.bytes.drain(..sent);
        }
        Ok(went)
    }

    /// The connection is to be closed.
    pub fn doom(&self, why: &'static str) {
        self.doomed.set(Some(why));
        self.wake();
    }

    /// Why the connection is to be closed, if it is.
    pub fn is_doomed(&self) -> Option<&'static str> {
        self.doomed.get()
    }

    /// Has its task look after it.
    pub fn wake(&self) {
        self.woken.set(true);
        if let Some(task) = self.task.borrow_mut().take() {
            task.wake();
        }
    }

    /// Whether there is something to look after since the last time; if not, its task is woken when there is.
    pub fn poll_woken(&self, context: &Context<'_>) -> bool {
        let woken = self.woken.replace(false);
        if !woken {
            let mut task = self.task.borrow_mut();
            if !task.as_ref().is_some_and(|task| task.will_wake(context.waker())) {
                *task = Some(context.waker().clone());
            }
        }
        woken
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sends_in_order_however_little_goes_at_a_time() {
        let link = Link::default();
        let mut received: Vec<u8> = Vec::new();
        let mut sent = Vec::new();
        for number in 0..1000u32 {
            link.append(|bytes| bytes.extend(number.to_be_bytes()));
            sent.extend(number.to_be_bytes());
            link.flush(|bytes| {
                let part = bytes.get(..3).unwrap_or(bytes);
                received.extend(part);
                Ok(part.len())
            })
            .unwrap();
        }
        assert_eq!(link.len(), 1000);
        while link.len() > 0 {
            link.flush(|bytes| {
                received.extend(bytes);
                Ok(bytes.len())
            })
            .unwrap();
        }
        assert_eq!(received, sent);
    }

    #[test]
    fn who_does_not_read_is_given_up() {
        let link = Link::default();
        for _ in 0..LIMIT / 65_536 + 1 {
            link.append(|bytes| bytes.extend([0; 65_536]));
        }
        assert_eq!(link.is_doomed(), None);
        let before = link.len();
        link.append(|bytes| bytes.extend([0; 65_536]));
        assert_eq!(link.len(), before);
        assert!(link.is_doomed().is_some());
    }
}

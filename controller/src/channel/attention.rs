//! Waiting awake, for a moment, for a message that is about to come.
//!
//! To fall asleep and to be woken costs a core some 20 to 50 µs, more than it takes to answer a packet-in. A switch that waits for an answer
//! before it goes on, or several that each do, would pay that for every packet. So after a message the next is awaited awake: other
//! threads still have the processor whenever they want it, and it is only done as long as it turns out to be worth it.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// For how long.
const AWAKE: Duration = Duration::from_micros(50);
/// After so many times in vain in a row, it is only tried now and then:
const DISCOURAGED: u32 = 4;
/// one time out of so many. A switch with a packet-in every millisecond then costs 0.3 % of a core.
const RETRY: u32 = 16;

/// Whether, and since when, the next message is awaited awake.
#[derive(Debug, Default)]
pub struct Attention {
    /// When the last message came.
    since: Cell<Option<Instant>>,
    /// How often it was in vain, since it was not.
    in_vain: Cell<u32>,
    task: RefCell<Option<Waker>>,
}

impl Attention {
    /// Something came.
    pub fn came(&self) {
        let now = Instant::now();
        match self.since.replace(Some(now)) {
            // It came while it was awaited.
            Some(_) => self.in_vain.set(0),
            None if self.pays() => {}
            None => {
                self.since.set(None);
                return;
            }
        }
        if let Some(task) = self.task.borrow_mut().take() {
            task.wake();
        }
    }

    /// Whether it is worth it this time.
    fn pays(&self) -> bool {
        let in_vain = self.in_vain.get();
        let pays = in_vain < DISCOURAGED || in_vain.is_multiple_of(RETRY);
        if !pays {
            self.in_vain.set(in_vain.wrapping_add(1).max(DISCOURAGED));
        }
        pays
    }

    /// Whether to stay awake; if not, `context` is woken when something came.
    fn poll_awake(&self, now: Instant, context: &Context<'_>) -> Poll<()> {
        match self.since.get() {
            Some(since) if now.saturating_duration_since(since) < AWAKE => return Poll::Ready(()),
            Some(_) => {
                self.since.set(None);
                self.in_vain.set(self.in_vain.get().wrapping_add(1).max(1));
            }
            None => {}
        }
        *self.task.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }

    /// Keeps the thread awake while it is worth it. Never ends.
    pub async fn pay(&self) {
        let mut last = None;
        loop {
            std::future::poll_fn(|context| self.poll_awake(Instant::now(), context)).await;
            if last == self.since.get() {
                // Nothing to do: other threads may want the processor.
                std::thread::yield_now();
            }
            last = self.since.get();
            // For the runtime to look whether something came.
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn awake(attention: &Attention, after: Duration) -> bool {
        attention.poll_awake(Instant::now() + after, &Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn stays_awake_for_a_moment_after_each_message() {
        let attention = Attention::default();
        assert!(!awake(&attention, Duration::ZERO));
        attention.came();
        assert!(awake(&attention, Duration::ZERO));
        assert!(!awake(&attention, AWAKE));
    }

    #[test]
    fn gives_up_when_it_is_in_vain_and_tries_again_now_and_then() {
        let attention = Attention::default();
        let tries = |messages: u32| {
            (0..messages)
                .filter(|_| {
                    attention.came();
                    let tried = awake(&attention, Duration::ZERO);
                    awake(&attention, AWAKE);
                    tried
                })
                .count()
        };
        assert_eq!(tries(DISCOURAGED), 4);
        assert_eq!(tries(10 * RETRY), 10);
        // One success, and it pays again.
        while attention.since.get().is_none() {
            attention.came();
        }
        attention.came();
        awake(&attention, AWAKE);
        attention.came();
        assert!(awake(&attention, Duration::ZERO));
    }
}

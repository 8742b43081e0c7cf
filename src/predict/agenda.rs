//! What is going to happen, in the order of time.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Nanoseconds on the trial's timeline.
pub type Nanos = u64;

/// Events that are to come. Of two at one moment the one that was noted first comes first, so that the same plan always gives the same course.
#[derive(Debug)]
pub struct Agenda<E> {
    now: Nanos,
    noted: u64,
    events: BinaryHeap<Reverse<Entry<E>>>,
}

#[derive(Debug)]
struct Entry<E> {
    at: Nanos,
    number: u64,
    event: E,
}

impl<E> Default for Agenda<E> {
    fn default() -> Self {
        Self { now: 0, noted: 0, events: BinaryHeap::new() }
    }
}

impl<E> Agenda<E> {
    /// Nothing is to come, at moment 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The moment of the latest event.
    #[must_use]
    pub fn now(&self) -> Nanos {
        self.now
    }

    /// Something happens at `at`, or now if that is past.
    pub fn note(&mut self, at: Nanos, event: E) {
        self.noted += 1;
        self.events.push(Reverse(Entry { at: at.max(self.now), number: self.noted, event }));
    }

    /// The next event, and the moment moves on to it.
    pub fn advance(&mut self) -> Option<E> {
        let Reverse(Entry { at, event, .. }) = self.events.pop()?;
        self.now = at;
        Some(event)
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Entry<E> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_the_order_of_time_and_then_of_notes() {
        let mut agenda = Agenda::new();
        for (at, event) in [(30, 'c'), (10, 'a'), (30, 'd'), (20, 'b')] {
            agenda.note(at, event);
        }
        let mut course = Vec::new();
        while let Some(event) = agenda.advance() {
            course.push((agenda.now(), event));
            if event == 'b' {
                agenda.note(5, 'x');
            }
        }
        assert_eq!(course, [(10, 'a'), (20, 'b'), (20, 'x'), (30, 'c'), (30, 'd')]);
    }
}

//! Packet-ins in flight, answered and lost.

use super::traffic::NUMBERS;

/// The state of one packet-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Answered,
    GivenUp,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    number: u32,
    state: State,
    /// When it was sent, in nanoseconds.
    sent: u64,
}

/// What was counted of packet-ins and of what came for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Counts {
    /// Packet-ins that were sent.
    pub sent: u64,
    /// Packet-ins whose packet was handled.
    pub answered: u64,
    /// Those of them that a flow-mod handled first.
    pub by_flow_mod: u64,
    /// Further messages about packets that had been handled: the packet-out that follows a flow-mod, or the other
    /// way round.
    pub repeated: u64,
    /// Flow-mods that move no packet.
    pub lone_flow_mods: u64,
    /// Packet-ins without an answer that were given up: when their switch got none for a second, or when several
    /// windows had been sent after them.
    pub unanswered: u64,
    /// Messages about packets that had been given up.
    pub late: u64,
    /// Messages about packets that nobody sent.
    pub strange: u64,
}

/// The packet-ins of one switch.
#[derive(Debug)]
pub struct Ledger {
    /// The latest packet-ins, each at its number modulo their count.
    slots: Vec<Slot>,
    next: u32,
    under_way: u32,
    window: u32,
    /// When anything was last answered, or sent into an empty window.
    moved: u64,
    answered_ever: bool,
    /// What was counted since the last call of [`Ledger::take`].
    counts: Counts,
    /// Of every so many packet-ins one is timed; a power of two.
    sampling: u32,
    latencies: Vec<u64>,
}

/// Slots for each place in the window. A packet-in that waits while three windows are sent after it is given up.
const PATIENCE: u32 = 4;

impl Ledger {
    /// For up to `window` packet-ins in flight; every `sampling`th, a power of two, is timed.
    pub fn new(window: u32, sampling: u32) -> Self {
        let window = window.clamp(1, 1 << 20);
        let room = (window * PATIENCE).next_power_of_two();
        // No number is at the place of another, so none of these is taken for one that was sent.
        let nothing = Slot { number: u32::MAX, state: State::GivenUp, sent: 0 };
        Self {
            slots: vec![nothing; room as usize],
            next: 0,
            under_way: 0,
            window,
            moved: 0,
            answered_ever: false,
            counts: Counts::default(),
            sampling: sampling.next_power_of_two(),
            latencies: Vec::new(),
        }
    }

    /// How many more may be sent.
    pub fn room(&self) -> u32 {
        self.window.saturating_sub(self.under_way)
    }

    /// Whether there is room for a quarter of the window.
    pub fn has_much_room(&self) -> bool {
        self.room() * 4 >= self.window
    }

    /// Whether any was ever answered.
    pub fn is_answered(&self) -> bool {
        self.answered_ever
    }

    /// How many are under way.
    pub fn under_way(&self) -> u32 {
        self.under_way
    }

    /// Notes that one is sent, and gives it its number. `now` in nanoseconds.
    pub fn send(&mut self, now: u64) -> u32 {
        let number = self.next;
        self.next = (self.next + 1) % NUMBERS;
        if self.under_way == 0 {
            self.moved = now;
        }
        let fresh = Slot { number, state: State::Waiting, sent: now };
        let before = std::mem::replace(self.slot(number), fresh);
        if before.state == State::Waiting {
            self.counts.unanswered += 1;
        } else {
            self.under_way += 1;
        }
        self.counts.sent += 1;
        number
    }

    /// Notes a message that disposes of a packet.
    pub fn answer(&mut self, number: u32, is_flow_mod: bool, now: u64) {
        let (sampling, next) = (self.sampling, self.next);
        let slot = self.slot(number);
        if slot.number != number {
            // Its place was taken by a later one, or nobody ever sent it.
            match number < next {
                true => self.counts.late += 1,
                false => self.counts.strange += 1,
            }
            return;
        }
        let sent = slot.sent;
        match std::mem::replace(&mut slot.state, State::Answered) {
            State::Waiting => {
                self.under_way -= 1;
                self.moved = now;
                self.answered_ever = true;
                self.counts.answered += 1;
                self.counts.by_flow_mod += u64::from(is_flow_mod);
                if number & (sampling - 1) == 0 {
                    self.latencies.push(now.saturating_sub(sent));
                }
            }
            State::Answered => self.counts.repeated += 1,
            State::GivenUp => self.counts.late += 1,
        }
    }

    /// Notes a flow-mod that moves no packet.
    pub fn lone_flow_mod(&mut self) {
        self.counts.lone_flow_mods += 1;
    }

    /// Notes a packet-out with a packet that nobody sent.
    pub fn stranger(&mut self) {
        self.counts.strange += 1;
    }

    /// Gives all up that are under way if nothing was answered since `since`.
    pub fn give_up(&mut self, since: u64) {
        if self.under_way == 0 || self.moved > since {
            return;
        }
        for slot in self.slots.iter_mut().filter(|slot| slot.state == State::Waiting) {
            slot.state = State::GivenUp;
        }
        self.counts.unanswered += u64::from(self.under_way);
        self.under_way = 0;
    }

    /// What was counted since the last call; the latencies in nanoseconds are moved to `latencies`.
    pub fn take(&mut self, latencies: &mut Vec<u64>) -> Counts {
        latencies.append(&mut self.latencies);
        std::mem::take(&mut self.counts)
    }

    fn slot(&mut self, number: u32) -> &mut Slot {
        let at = number as usize & (self.slots.len() - 1);
        &mut self.slots[at]
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.answered += other.answered;
        self.by_flow_mod += other.by_flow_mod;
        self.repeated += other.repeated;
        self.lone_flow_mods += other.lone_flow_mods;
        self.unanswered += other.unanswered;
        self.late += other.late;
        self.strange += other.strange;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_answer_after_others_took_its_place_is_late_and_one_to_nothing_strange() {
        let mut ledger = Ledger::new(1, 1);
        // Four slots: the fifth takes the place of the first.
        for number in 0..5 {
            assert_eq!(ledger.send(number), number as u32);
        }
        ledger.answer(0, false, 9);
        ledger.answer(5, false, 9);
        let counts = ledger.take(&mut Vec::new());
        assert_eq!((counts.late, counts.strange, counts.answered, counts.unanswered), (1, 1, 0, 1));
    }

    #[test]
    fn two_messages_for_one_packet_are_one_answer() {
        let mut ledger = Ledger::new(4, 1);
        let first = ledger.send(10);
        let second = ledger.send(11);
        ledger.answer(first, true, 30);
        ledger.answer(first, false, 40);
        ledger.answer(second, false, 50);
        ledger.answer(77, false, 60);
        let mut latencies = Vec::new();
        let counts = ledger.take(&mut latencies);
        let expected = Counts { sent: 2, answered: 2, by_flow_mod: 1, repeated: 1, strange: 1, ..Counts::default() };
        assert_eq!((counts, latencies), (expected, vec![20, 39]));
        assert_eq!((ledger.room(), ledger.under_way()), (4, 0));
    }

    #[test]
    fn what_is_not_answered_is_given_up() {
        let mut ledger = Ledger::new(3, 1);
        let numbers = [(); 3].map(|()| ledger.send(100));
        assert_eq!(ledger.room(), 0);
        ledger.give_up(99);
        assert_eq!(ledger.room(), 0);
        ledger.answer(numbers[1], true, 150);
        ledger.give_up(149);
        assert_eq!(ledger.room(), 1);
        ledger.give_up(150);
        assert_eq!(ledger.room(), 3);
        ledger.answer(numbers[0], true, 160);
        let counts = ledger.take(&mut Vec::new());
        assert_eq!((counts.answered, counts.unanswered, counts.late), (1, 2, 1));
    }

    #[test]
    fn one_that_is_never_answered_does_not_hold_up_the_others_for_ever() {
        let mut ledger = Ledger::new(4, 1);
        let _lost = ledger.send(0);
        for _ in 0..16 {
            assert!(ledger.room() > 0);
            let number = ledger.send(0);
            ledger.answer(number, true, 0);
        }
        assert_eq!(ledger.under_way(), 0);
        assert_eq!(ledger.take(&mut Vec::new()).unanswered, 1);
    }

    proptest! {
        /// However answers come, each packet-in is answered, given up or under way.
        #[test]
        fn nothing_is_counted_twice(steps in proptest::collection::vec((0u32..40, 0u8..4), 0..300)) {
            let mut ledger = Ledger::new(8, 1);
            for (now, (number, step)) in steps.into_iter().enumerate() {
                match step {
                    0 | 1 if ledger.room() > 0 => { ledger.send(now as u64); }
                    2 => ledger.answer(number, false, now as u64),
                    3 => ledger.give_up((now as u64).saturating_sub(20)),
                    _ => {}
                }
            }
            let under_way = u64::from(ledger.under_way());
            let counts = ledger.take(&mut Vec::new());
            prop_assert_eq!(counts.sent, counts.answered + counts.unanswered + under_way);
        }
    }
}

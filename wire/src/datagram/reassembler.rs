//! Puts tags together from datagrams.

use std::collections::BTreeMap;

use super::{Body, Datagram, DatagramError, MAX_PART};
use crate::flv::TagKind;

/// How long a tag that is not complete is waited for when a later one is, in nanoseconds: on one way through switches
/// datagrams hardly ever overtake each other.
const REORDERING: i64 = 30_000_000;
/// How many incomplete tags may wait.
const MAX_TAGS: usize = 256;
/// Bytes that may wait, but for one tag.
const MAX_HELD: usize = 32 << 20;

/// A tag that is complete, and when it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Which tag of the publication, from 0.
    pub number: u32,
    /// Kind of its content.
    pub kind: TagKind,
    /// Time stamp in milliseconds.
    pub timestamp: u32,
    /// The whole payload.
    pub payload: Vec<u8>,
    /// When the first of its datagrams came, in nanoseconds.
    pub first_ns: i64,
    /// When the last one that was missing came, in nanoseconds.
    pub whole_ns: i64,
}

/// What is handed on, in the order of the tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// The next tag, complete.
    Tag(Tag),
    /// So many tags are lost, between the one before and the one after.
    Lost(u32),
    /// The stream has ended.
    End,
}

/// How many tags and datagrams came, and how many did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Tags that were complete and handed on.
    pub tags: u64,
    /// Tags that were lost: given up, in part or as a whole.
    pub lost_tags: u64,
    /// Datagrams that came, each counted once.
    pub datagrams: u64,
    /// Bytes of those datagrams, their headers included.
    pub bytes: u64,
    /// Those that never came, or too late, between the first and the last that did.
    pub lost: u64,
    /// Datagrams that came again, or too late.
    pub repeated: u64,
    /// Bytes of the repeated ones.
    pub repeated_bytes: u64,
    /// Those of another stream, of an earlier publication, or that contradict others.
    pub foreign: u64,
}

#[derive(Debug)]
struct Partial {
    kind: TagKind,
    timestamp: u32,
    payload: Vec<u8>,
    /// By part, whether it has come.
    there: Vec<bool>,
    missing: usize,
    first_ns: i64,
    whole_ns: i64,
}

/// Puts the tags of a stream together. Times are nanoseconds since any fixed moment.
#[derive(Debug)]
pub struct Reassembler {
    stream: Option<u32>,
    session: Option<u32>,
    waiting: BTreeMap<u32, Partial>,
    /// Bytes of payload that wait in all of them.
    held: usize,
    /// Number of the tag that comes next.
    next: u32,
    /// How many tags there are in all, and since when that is known.
    end: Option<(u32, i64)>,
    has_ended: bool,
    /// What is lacking is not waited for, since too much waits behind it.
    is_full: bool,
    /// Serial numbers of the first datagram and after the last.
    span: Option<(u32, u32)>,
    /// Datagrams of this publication that came, each counted once.
    came: u64,
    /// Tags that were lost since that was told.
    untold: u32,
    /// All but `lost` of what this publication lacks: see [`Reassembler::counts`].
    counts: Counts,
}

impl Reassembler {
    /// For the stream of this number; without one, for the stream that is met first.
    #[must_use]
    pub fn new(stream: Option<u32>) -> Self {
        Self {
            stream,
            session: None,
            waiting: BTreeMap::new(),
            held: 0,
            next: 0,
            end: None,
            has_ended: false,
            is_full: false,
            span: None,
            came: 0,
            untold: 0,
            counts: Counts::default(),
        }
    }

    /// Takes a datagram that came at `now`. What it makes complete is then to be had from [`Reassembler::next`],
    /// which is to be asked until it gives nothing.
    ///
    /// # Errors
    /// When it is none.
    pub fn push(&mut self, bytes: &[u8], now: i64) -> Result<(), DatagramError> {
        let datagram = Datagram::parse(bytes)?;
        let Datagram { session, serial, number, timestamp, body, .. } = datagram;
        if *self.stream.get_or_insert(datagram.stream) != datagram.stream {
            self.counts.foreign += 1;
            return Ok(());
        }
        match self.session {
            Some(known) if session < known => {
                self.counts.foreign += 1;
                return Ok(());
            }
            Some(known) if session == known => (),
            _ => self.begin(&datagram),
        }
        match body {
            Body::End => {
                self.end.get_or_insert((number, now));
            }
            Body::Part { kind, size, offset, part } => {
                if number < self.next {
                    self.counts.repeated += 1;
                    self.counts.repeated_bytes += bytes.len() as u64;
                    return Ok(());
                }
                if !self.waiting.contains_key(&number) {
                    self.make_room(size as usize);
                    self.held += size as usize;
                }
                let partial = self.waiting.entry(number).or_insert_with(|| Partial::new(kind, timestamp, size, now));
                if (partial.kind, partial.timestamp, partial.payload.len()) != (kind, timestamp, size as usize) {
                    self.counts.foreign += 1;
                    return Ok(());
                }
                if !partial.take(offset as usize, part, now) {
                    self.counts.repeated += 1;
                    self.counts.repeated_bytes += bytes.len() as u64;
                    return Ok(());
                }
                self.counts.bytes += bytes.len() as u64;
                self.counts.datagrams += 1;
                self.came += 1;
            }
        }
        // That of the end has the number of one that would follow.
        let behind = serial.saturating_add(u32::from(body != Body::End));
        let (first, after) = self.span.get_or_insert((serial, behind));
        (*first, *after) = ((*first).min(serial), (*after).max(behind));
        Ok(())
    }

    /// What comes next, as far as that is known at `now`.
    pub fn next(&mut self, now: i64) -> Option<Given> {
        if self.untold > 0 {
            return Some(Given::Lost(std::mem::take(&mut self.untold)));
        }
        if let Some(partial) = self.waiting.get(&self.next).filter(|partial| partial.missing == 0) {
            let (kind, timestamp) = (partial.kind, partial.timestamp);
            let Partial { payload, first_ns, whole_ns, .. } = self.take(self.next)?;
            let number = self.next;
            self.next = number.saturating_add(1);
            self.counts.tags += 1;
            return Some(Given::Tag(Tag { number, kind, timestamp, payload, first_ns, whole_ns }));
        }
        if self.end.is_some_and(|(end, _)| self.next >= end) {
            return (!std::mem::replace(&mut self.has_ended, true)).then_some(Given::End);
        }
        let (next, since) = self.later()?;
        if !self.is_full && now < since.saturating_add(REORDERING) {
            return None;
        }
        self.is_full = false;
        self.give_up(next);
        Some(Given::Lost(std::mem::take(&mut self.untold)))
    }

    /// When there may be something more although nothing comes.
    #[must_use]
    pub fn deadline(&self) -> Option<i64> {
        let ends = self.end.is_some_and(|(end, _)| self.next >= end);
        self.later().filter(|_| !ends).map(|(_, since)| since.saturating_add(REORDERING))
    }

    /// What came and what did not, so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts { lost: self.counts.lost + self.lost(), ..self.counts }
    }

    /// Datagrams of this publication that are missing.
    fn lost(&self) -> u64 {
        let all = self.span.map_or(0, |(first, after)| u64::from(after.saturating_sub(first)));
        all.saturating_sub(self.came)
    }

    /// Bytes of payload that wait in incomplete tags.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }

    /// The first tag after the next that is complete, or the end, and since when one of them is there.
    fn later(&self) -> Option<(u32, i64)> {
        let complete = || self.waiting.iter().filter(|(number, tag)| tag.missing == 0 && **number > self.next);
        let (number, _) = complete().next().unzip();
        let since = complete().map(|(_, tag)| tag.whole_ns).min();
        let end = self.end.filter(|(end, _)| *end > self.next);
        let number = number.copied().or(end.map(|(end, _)| end))?;
        Some((number, since.into_iter().chain(end.map(|(_, since)| since)).min()?))
    }

    /// Another publication, which is met with this datagram.
    fn begin(&mut self, datagram: &Datagram<'_>) {
        *self = Self {
            session: Some(datagram.session),
            // Who joins in the middle of a tag begins with the next.
            next: match datagram.body {
                Body::Part { offset: 0, .. } | Body::End => datagram.number,
                Body::Part { .. } => datagram.number.saturating_add(1),
            },
            untold: self.untold,
            counts: self.counts(),
            ..Self::new(self.stream)
        };
    }

    /// Waits no longer for what comes before that tag.
    fn give_up(&mut self, next: u32) {
        let lost = next.saturating_sub(self.next);
        self.untold = self.untold.saturating_add(lost);
        self.counts.lost_tags += u64::from(lost);
        self.next = next;
        while let Some(number) = self.waiting.keys().next().copied().filter(|number| *number < next) {
            self.take(number);
        }
    }

    fn take(&mut self, number: u32) -> Option<Partial> {
        let partial = self.waiting.remove(&number)?;
        self.held -= partial.payload.len();
        Some(partial)
    }

    /// When another tag of `size` bytes is to wait.
    fn make_room(&mut self, size: usize) {
        while self.waiting.len() >= MAX_TAGS || (self.held > 0 && self.held + size > MAX_HELD) {
            let Some((number, oldest)) = self.waiting.first_key_value() else { return };
            if oldest.missing == 0 {
                // It is handed on next, without what comes before it.
                self.is_full = true;
                return;
            }
            self.give_up(number.saturating_add(1));
        }
    }
}

impl Partial {
    fn new(kind: TagKind, timestamp: u32, size: u32, now: i64) -> Self {
        let parts = (size as usize).div_ceil(MAX_PART).max(1);
        Self {
            kind,
            timestamp,
            payload: vec![0; size as usize],
            there: vec![false; parts],
            missing: parts,
            first_ns: now,
            whole_ns: now,
        }
    }

    /// Whether that part is new. It is one of those in which such a tag is sent.
    fn take(&mut self, offset: usize, part: &[u8], now: i64) -> bool {
        let there = self.there.get_mut(offset / MAX_PART).filter(|there| !**there);
        let room = self.payload.get_mut(offset..).and_then(|rest| rest.get_mut(..part.len()));
        let (Some(there), Some(room)) = (there, room) else { return false };
        room.copy_from_slice(part);
        *there = true;
        self.missing -= 1;
        // A capture's times may go back.
        self.first_ns = self.first_ns.min(now);
        self.whole_ns = self.whole_ns.max(now);
        true
    }
}

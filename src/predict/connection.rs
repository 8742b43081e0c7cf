//! A connection that carries a stream from one host to the next, and when each of the stream's items passed it.

use super::agenda::Nanos;
use super::network::{Host, Way};
use super::tcp::{Control, Range, Receiver, Sender};
use crate::plan::delivery::Carrier;

/// An item of a stream: a frame, or what is sent among the frames, by its place in the order of births.
pub type Item = usize;

/// An item's place in a connection's bytes, and when it passed.
#[derive(Debug, Clone, Copy)]
pub struct Piece {
    /// The item, by its place in the order of births.
    pub item: Item,
    /// Where it lies in the connection's bytes.
    pub range: Range,
    /// When the first of its bytes left.
    pub left: Option<Nanos>,
    /// When the first of its bytes arrived.
    pub first: Option<Nanos>,
    /// When the last missing one did.
    pub whole: Option<Nanos>,
}

/// A connection, in the direction in which the stream goes.
#[derive(Debug)]
pub struct Connection {
    /// Host that sends the stream.
    pub from: Host,
    /// Host that receives the stream.
    pub to: Host,
    /// Which stream, by its place in the plan.
    pub stream: usize,
    /// How the stream crosses it: RTMP, from a peer, ….
    pub carrier: Carrier,
    /// The way of its packets, from sender to receiver.
    pub out: Way,
    /// The way of the acknowledgements, from receiver to sender.
    pub back: Way,
    /// TCP at the sender.
    pub sender: Sender,
    /// TCP at the receiver.
    pub receiver: Receiver,
    /// The items that were given to it, in that order.
    pub pieces: Vec<Piece>,
    /// The first piece of which nothing has left, of which not all has arrived in order, and that the program has not read.
    leaving: usize,
    arriving: usize,
    pub read: usize,
    /// Bytes of the piece at `read` that the program has seen.
    pub seen: u64,
    /// The sender's program gives it nothing any more.
    pub is_over: bool,
    /// The sender's host sends nothing any more, not even again.
    pub is_dead: bool,
    /// What comes to the receiver comes to nobody.
    pub is_deaf: bool,
    /// When the receiver heard anything last, and when the sender's program wrote anything last.
    pub heard: Nanos,
    pub written: Nanos,
    /// Whether these are noted already: the timer, the next packet by its pace, a late acknowledgement, the program's reading.
    pub has_timer: bool,
    /// When the next packet leaves by its pace, if that is noted.
    pub paced: Option<Nanos>,
    pub owing: bool,
    pub reading: bool,
}

impl Connection {
    /// A connection on which nothing has been sent.
    pub fn new(
        from: Host,
        to: Host,
        stream: usize,
        carrier: Carrier,
        (out, back): (Way, Way),
        (control, initial_window): (Control, u32),
    ) -> Self {
        Self {
            from,
            to,
            stream,
            carrier,
            out,
            back,
            sender: Sender::new(control, initial_window),
            receiver: Receiver::new(),
            pieces: Vec::new(),
            leaving: 0,
            arriving: 0,
            read: 0,
            seen: 0,
            is_over: false,
            is_dead: false,
            is_deaf: false,
            heard: 0,
            written: 0,
            has_timer: false,
            paced: None,
            owing: false,
            reading: false,
        }
    }

    /// The sender's program writes an item up to its byte `given` (with its headers), of `bytes` in all. What it has written of it is not written again.
    pub fn give(&mut self, item: Item, bytes: u64, given: u64, now: Nanos) {
        self.written = now;
        let is_begun = self.pieces.last().is_some_and(|last| last.item == item);
        if !is_begun {
            let from = self.sender.written();
            let range = Range { from, to: from + bytes };
            self.pieces.push(Piece { item, range, left: None, first: None, whole: None });
        }
        if let Some(last) = self.pieces.last() {
            let upto = last.range.from + given.min(bytes);
            self.sender.write(upto.saturating_sub(self.sender.written()));
        }
    }

    /// The sender's program writes something that is no item, between two of them.
    pub fn mark(&mut self, bytes: u64, now: Nanos) {
        if self.given().is_none_or(|(_, is_whole)| is_whole) {
            self.written = now;
            self.sender.write(bytes);
        }
    }

    /// The item given last, and whether all of it was.
    pub fn given(&self) -> Option<(Item, bool)> {
        self.pieces.last().map(|last| (last.item, self.sender.written() >= last.range.to))
    }

    /// A packet with these bytes leaves.
    pub fn leaves(&mut self, range: Range, now: Nanos) {
        while let Some(piece) = self.pieces.get_mut(self.leaving).filter(|piece| piece.range.from < range.to) {
            piece.left = Some(now);
            self.leaving += 1;
        }
    }

    /// A packet with these bytes has arrived and was taken by the receiver. Hands on each item that is whole by that.
    pub fn arrives(&mut self, range: Range, now: Nanos, mut whole: impl FnMut(&Piece)) {
        let begins = self.pieces.partition_point(|piece| piece.range.to <= range.from);
        for piece in self.pieces[begins..].iter_mut().take_while(|piece| piece.range.from < range.to) {
            piece.first.get_or_insert(now);
            if piece.whole.is_none() && self.receiver.has(piece.range) {
                piece.whole = Some(now);
                whole(piece);
            }
        }
        while self.pieces.get(self.arriving).is_some_and(|piece| piece.range.to <= self.receiver.next()) {
            self.arriving += 1;
        }
    }

    /// The next item that the receiver's program can read whole; it counts as read.
    pub fn read_whole(&mut self) -> Option<Item> {
        let piece = self.pieces.get(self.read).filter(|_| self.read < self.arriving)?;
        self.read += 1;
        self.seen = 0;
        Some(piece.item)
    }

    /// The item that comes next and how many of its bytes have come in order, if there are any.
    pub fn partly(&self) -> Option<(Item, u64)> {
        let piece = self.pieces.get(self.read)?;
        let come = self.receiver.next().checked_sub(piece.range.from)?;
        (come > 0).then_some((piece.item, come))
    }

    /// The piece of that item; `None`: it was not given to this connection.
    pub fn piece(&self, item: Item) -> Option<&Piece> {
        // Items are given in their order.
        let at = self.pieces.binary_search_by_key(&item, |piece| piece.item).ok()?;
        self.pieces.get(at)
    }
}

//! The stream from a group: datagrams that the switches copied.
//!
//! Nothing can be asked for: the stream is there from now on, and a decoder's headers come again with each keyframe.
//! What is lost is not sent again. The frames after it are handed on all the same, as a player of datagrams gets
//! them: it shows what it can of them until the next keyframe, and no frame that came waits for one that did not.

use std::io::ErrorKind;
use std::net::SocketAddrV4;

use livectl_wire::StreamKey;
use livectl_wire::agent_event::Event;
use livectl_wire::datagram::{Counts, Given, MAX_PART, Reassembler, stream_number};
use livectl_wire::flv::TagKind;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant, sleep_until};

use super::merge::Tag;
use super::peer::{Lost, Reading};
use crate::serve::IDLE;
use crate::socket;
use crate::tell::tell;

/// Bytes that the kernel may keep of what came and was not read: the largest frame several times.
const RECEIVE_BUFFER: u32 = 4 << 20;
/// Datagrams that are taken at once.
const BATCH: usize = 256;
/// Longer than any datagram of a stream.
const ROOM: usize = 2 * MAX_PART;

/// Membership in a group. When it ends, whichever way, it says what came of it.
struct Membership {
    group: SocketAddrV4,
    socket: UdpSocket,
    reassembler: Reassembler,
    begun: Instant,
}

impl Drop for Membership {
    fn drop(&mut self) {
        let Counts { tags, lost_tags, datagrams, lost, .. } = self.reassembler.counts();
        tell(Event::GroupLeft { group: self.group, tags, lost_tags: Some(lost_tags), datagrams, lost });
    }
}

/// Joins a group over the link that leads towards that address, and hands on what comes, to the end of the stream.
pub(super) async fn take(
    group: SocketAddrV4,
    towards: SocketAddrV4,
    stream: &StreamKey,
    to: &mpsc::Sender<Reading>,
) -> Result<(), Lost> {
    let socket = socket::member_of(group, towards, RECEIVE_BUFFER).map_err(Lost::Unreachable)?;
    let reassembler = Reassembler::new(Some(stream_number(stream)));
    let mut membership = Membership { group, socket, reassembler, begun: Instant::now() };
    tell(Event::GroupJoined { group });
    let _ = to.send(Reading::Serves(None)).await;
    let mut buffer = vec![0; ROOM];
    loop {
        membership.receive(&mut buffer).await?;
        // What is in front of a gap, what is missing, and what comes behind it are told in their order.
        let (mut tags, mut ended) = (Vec::new(), false);
        let now = membership.now();
        while let Some(given) = membership.reassembler.next(now) {
            match given {
                Given::Tag(tag) if tag.kind == TagKind::Script && tag.payload == IDLE => (),
                Given::Tag(tag) => tags.push(Tag::of(tag.kind, tag.timestamp, tag.payload)),
                Given::Lost(count) => {
                    let _ = to.send(Reading::Tags(std::mem::take(&mut tags))).await;
                    let _ = to.send(Reading::Missing(count)).await;
                }
                Given::End => ended = true,
            }
        }
        // Nothing as well: it is there.
        let _ = to.send(Reading::Tags(tags)).await;
        if ended {
            return Ok(());
        }
    }
}

impl Membership {
    /// Nanoseconds since it began.
    fn now(&self) -> i64 {
        i64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(i64::MAX)
    }

    /// Takes what has come, or waits until something does or is not to be waited for any more.
    async fn receive(&mut self, buffer: &mut [u8]) -> Result<(), Lost> {
        let deadline = self
            .reassembler
            .deadline()
            .map(|deadline| self.begun + Duration::from_nanos(u64::try_from(deadline).unwrap_or_default()));
        tokio::select! {
            readable = self.socket.readable() => readable?,
            () = sleep_until(deadline.unwrap_or(self.begun)), if deadline.is_some() => return Ok(()),
        }
        for _ in 0..BATCH {
            let len = match self.socket.try_recv(buffer) {
                Ok(len) => len,
                Err(why) if why.kind() == ErrorKind::WouldBlock => break,
                Err(why) => return Err(why.into()),
            };
            let now = self.now();
            // Others may send what they like; what is none of the stream's is counted.
            let _ = self.reassembler.push(buffer.get(..len).unwrap_or_default(), now);
        }
        Ok(())
    }
}

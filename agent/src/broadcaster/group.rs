//! The stream as datagrams to a group, which the switches copy to whoever plays it: sent once, whatever the audience.
//!
//! A tag's datagrams leave at once, in a burst: the host's link sends them one after the other, and pacing would make
//! nothing arrive earlier. Datagrams that the kernel does not accept at once wait here, and a separate task sends
//! them, so that nothing else waits. Datagrams that it refuses are lost and counted: nothing is retransmitted.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddrV4;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use livectl_wire::StreamKey;
use livectl_wire::agent_event::Event;
use livectl_wire::datagram::Emitter;
use livectl_wire::flv::{self, TagKind};
use tokio::net::UdpSocket;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::serve::{IDLE, IDLE_AFTER, TagBytes};
use crate::socket;
use crate::tell::tell;

/// Bytes that wait here at most; further ones are lost.
const MAX_QUEUE: usize = 16 << 20;
/// How often the end is told,
const ENDS: u32 = 6;
/// and how far apart: it may be lost like anything else, together with what is sent close to it.
const BETWEEN_ENDS: Duration = Duration::from_millis(60);

/// What is sent to the group, if anything is.
#[derive(Debug, Default)]
pub(super) struct Group {
    sending: Mutex<Option<Arc<Sending>>>,
    /// How many are sending, those included that only send what is left, and the end.
    busy: watch::Sender<usize>,
}

#[derive(Debug)]
struct Sending {
    group: SocketAddrV4,
    socket: UdpSocket,
    line: Mutex<Line>,
    /// Something waits, or nothing more comes.
    wake: Notify,
}

#[derive(Debug)]
struct Line {
    emitter: Emitter,
    /// Datagrams that wait for the kernel.
    waiting: VecDeque<Vec<u8>>,
    bytes: usize,
    last: Instant,
    timestamp: u32,
    end: Option<End>,
    datagrams: u64,
    lost: u64,
}

/// Why no more is sent to the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The stream has ended, and receivers are told so.
    OfStream,
    /// Nobody is there who gets it.
    Unneeded,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Group {
    /// Sends to that group from now on, first what it is given: whole tags. `towards` is where the link to the
    /// group's members leads.
    ///
    /// # Errors
    /// When the system has no such socket.
    pub(super) fn begin(
        &self,
        group: SocketAddrV4,
        towards: SocketAddrV4,
        stream: &StreamKey,
        session: u32,
        backlog: &[TagBytes],
    ) -> io::Result<()> {
        let mut present = locked(&self.sending);
        if present.as_ref().is_some_and(|sending| sending.group == group) {
            return Ok(());
        }
        let socket = socket::to_group(group, towards)?;
        if let Some(sending) = present.take() {
            sending.finish(End::Unneeded);
        }
        let line = Line {
            emitter: Emitter::new(stream, session),
            waiting: VecDeque::new(),
            bytes: 0,
            last: Instant::now(),
            timestamp: 0,
            end: None,
            datagrams: 0,
            lost: 0,
        };
        let sending = Arc::new(Sending { group, socket, line: Mutex::new(line), wake: Notify::new() });
        tell(Event::GroupJoined { group });
        for tag in backlog {
            if let Some((kind, timestamp, payload)) = parts(tag) {
                sending.send(kind, timestamp, payload);
            }
        }
        self.busy.send_modify(|busy| *busy += 1);
        let busy = Busy(self.busy.clone());
        tokio::spawn({
            let sending = Arc::clone(&sending);
            async move {
                sending.attend().await;
                drop(busy);
            }
        });
        *present = Some(sending);
        Ok(())
    }

    /// Sends a tag. Never waits.
    pub(super) fn send(&self, kind: TagKind, timestamp: u32, payload: &[u8]) {
        if let Some(sending) = &*locked(&self.sending) {
            sending.send(kind, timestamp, payload);
        }
    }

    /// The stream has ended.
    pub(super) fn end(&self) {
        self.finish(End::OfStream);
    }

    /// Nobody is in the group any more.
    pub(super) fn leave(&self) {
        self.finish(End::Unneeded);
    }

    fn finish(&self, how: End) {
        if let Some(sending) = locked(&self.sending).take() {
            sending.finish(how);
        }
    }

    /// Whether something is sent to a group.
    pub(super) fn is_served(&self) -> bool {
        locked(&self.sending).is_some()
    }

    /// Waits until everything has been sent.
    pub(super) async fn all_sent(&self) {
        // The sender is ours: it cannot be gone.
        let _ = self.busy.subscribe().wait_for(|busy| *busy == 0).await;
    }
}

/// As long as it is there, something is still to be sent.
struct Busy(watch::Sender<usize>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.send_modify(|busy| *busy -= 1);
    }
}

/// Kind, timestamp and payload of a whole tag.
fn parts(tag: &TagBytes) -> Option<(TagKind, u32, &[u8])> {
    let &[kind, _, _, _, t2, t1, t0, t3, ..] = tag.first_chunk::<{ flv::TAG_HEADER_LEN }>()?;
    let end = tag.len().checked_sub(flv::TAG_TRAILER_LEN)?;
    Some((TagKind::from_id(kind)?, u32::from_be_bytes([t3, t2, t1, t0]), tag.get(flv::TAG_HEADER_LEN..end)?))
}

impl Sending {
    fn send(&self, kind: TagKind, timestamp: u32, payload: &[u8]) {
        let mut line = locked(&self.line);
        let Line { emitter, waiting, bytes: held, datagrams, lost, .. } = &mut *line;
        // A message has no more bytes than a tag may have.
        let _ = emitter.tag(kind, timestamp, payload, |bytes| {
            if waiting.is_empty() {
                match self.socket.try_send(bytes) {
                    Ok(_) => return *datagrams += 1,
                    Err(why) if why.kind() == ErrorKind::WouldBlock => (),
                    Err(_) => return *lost += 1,
                }
            }
            if *held + bytes.len() > MAX_QUEUE {
                return *lost += 1;
            }
            *held += bytes.len();
            waiting.push_back(bytes.to_vec());
        });
        (line.last, line.timestamp) = (Instant::now(), timestamp);
        if !line.waiting.is_empty() {
            self.wake.notify_one();
        }
    }

    fn finish(&self, how: End) {
        locked(&self.line).end = Some(how);
        self.wake.notify_one();
    }

    /// Sends what waits, says now and then that it is there while there is nothing, and at last the end.
    async fn attend(&self) {
        loop {
            self.drain().await;
            let (end, idle_from) = {
                let line = locked(&self.line);
                (line.end, line.last + IDLE_AFTER)
            };
            if end.is_some() {
                break;
            }
            tokio::select! {
                () = self.wake.notified() => (),
                () = sleep_until(idle_from) => {
                    let (is_idle, timestamp) = {
                        let line = locked(&self.line);
                        (line.last + IDLE_AFTER <= Instant::now(), line.timestamp)
                    };
                    if is_idle {
                        self.send(TagKind::Script, timestamp, IDLE);
                    }
                }
            }
        }
        if locked(&self.line).end == Some(End::OfStream) {
            for _ in 0..ENDS {
                locked(&self.line).emitter.end(|bytes| drop(self.socket.try_send(bytes)));
                sleep(BETWEEN_ENDS).await;
            }
        }
        let line = locked(&self.line);
        let (tags, datagrams, lost) = (line.emitter.tags().into(), line.datagrams, line.lost);
        drop(line);
        tell(Event::GroupLeft { group: self.group, tags, lost_tags: None, datagrams, lost });
    }

    async fn drain(&self) {
        loop {
            {
                let mut line = locked(&self.line);
                while let Some(bytes) = line.waiting.front() {
                    let (len, sent) = (bytes.len(), self.socket.try_send(bytes));
                    match sent {
                        Ok(_) => line.datagrams += 1,
                        Err(why) if why.kind() == ErrorKind::WouldBlock => break,
                        Err(_) => line.lost += 1,
                    }
                    line.bytes -= len;
                    line.waiting.pop_front();
                }
                if line.waiting.is_empty() {
                    return;
                }
            }
            if self.socket.writable().await.is_err() {
                return;
            }
        }
    }
}

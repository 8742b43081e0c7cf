//! All connections: one loop that reads, plays, writes and waits.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::event::{Event as Readiness, Source};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Protocol, Socket, Type};

use super::attention::Attention;
use super::connection::{Came, Connection};
use super::core::{Core, mark};
use super::session::Patience;
use crate::event_log::EventLog;
use crate::openflow::Version;
use crate::scheme::{Outcome, Scheme};

/// Connections that are read before what came of them is written. Were it all that have something to say, the
/// switches would have nothing to do while they are read, and would have to be woken when they are answered, which
/// costs more than an answer.
const ROUND: usize = 4;
/// Bytes that are read of a connection at once, so that none keeps the others waiting for long.
const READ: usize = 64 << 10;
/// What a connection needs to be read: room for that, and for a message of which all but the end was read before.
const NEED: usize = READ + (64 << 10);
/// Room to read into. What came of it is written before it is used again, and stays in the processor's cache until
/// then.
const ROOM: usize = NEED + READ;
/// The system is asked which connections have something to say after those that are known to have had so many turns:
/// what it tells of one that came to its turn meanwhile is told for nothing.
const PASSES: usize = 2;
/// And after so long in any case, for the sake of the others.
const LOOK_AROUND: Duration = Duration::from_millis(2);
/// Connections at once; further ones are closed.
const MAX_CONNECTIONS: usize = 4096;
/// What the kernel may keep of a connection, in each direction; it may allow less.
const SOCKET_BUFFER: usize = 512 << 10;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;
/// At the end, how long the reader of the event lines is waited for.
const LAST_LINES: Duration = Duration::from_secs(1);
/// How often the scheme looks at the clock.
const SCHEME_TICK: Duration = Duration::from_secs(1);
/// How often sessions do.
const TICK: Duration = Duration::from_millis(250);
/// Whoever does not come round for so long was stopped (SIGSTOP, a virtual machine that was paused): what switches
/// said meanwhile is still to be read.
const AWAY: Duration = Duration::from_secs(1);

/// What becomes ready: connections have the tokens from 0.
const LISTENER: Token = Token(usize::MAX - 1);
const END: Token = Token(usize::MAX - 2);

/// The controller's end of all connections.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    versions: Vec<Version>,
    patience: Patience,
}

/// Why the server cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address}{}", if source.kind() == ErrorKind::AddrInUse { TAKEN } else { "" })]
    Listen {
        /// Address and port.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// It cannot be told when a socket is ready.
    #[error("cannot wait for sockets")]
    Poll(#[source] std::io::Error),
}

/// What to do about an address that is taken.
const TAKEN: &str = ", where another controller may be running; choose another port with --listen";

impl Server {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn listen(address: SocketAddr, versions: &[Version], patience: Patience) -> Result<Self, ServerError> {
        let listener = listen(address).map_err(|source| ServerError::Listen { address, source })?;
        Ok(Self { listener, versions: versions.to_vec(), patience })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves switches until `end` has something to be read, then closes all connections and finishes the log.
    ///
    /// # Errors
    /// When the system does not tell which sockets are ready.
    pub fn serve(mut self, scheme: Box<dyn Scheme>, log: EventLog, end: &mut impl Source) -> Result<(), ServerError> {
        let poll = Poll::new().map_err(ServerError::Poll)?;
        let register = |source: &mut dyn Source, token| poll.registry().register(source, token, Interest::READABLE);
        register(&mut self.listener, LISTENER).map_err(ServerError::Poll)?;
        register(end, END).map_err(ServerError::Poll)?;
        let channel = Channel {
            server: self,
            poll,
            core: Core::new(scheme, log),
            listed: VecDeque::new(),
            attention: Attention::default(),
            started: Instant::now(),
            may_accept: true,
        };
        channel.run().map_err(ServerError::Poll)
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    // Connections inherit these. Left to itself, the kernel would let a switch that does not read keep megabytes.
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// The loop's own.
struct Channel {
    server: Server,
    poll: Poll,
    core: Core,
    /// Connections that may have something to be read, in turn: each until a read finds nothing.
    listed: VecDeque<usize>,
    attention: Attention,
    started: Instant,
    /// Whether someone may be waiting to be accepted.
    may_accept: bool,
}

impl Channel {
    fn run(mut self) -> std::io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut room = vec![0; ROOM];
        let mut next_tick = Duration::ZERO;
        let mut before = Duration::ZERO;
        let mut next_scheme_tick = Duration::ZERO;
        let mut next_look = Duration::ZERO;
        let mut turns = 0;
        loop {
            let mut now = self.started.elapsed();
            let away = now.saturating_sub(before);
            if away >= AWAY {
                tracing::warn!(
                    "stood still for {:.1} s; silence of switches in that time is ignored",
                    away.as_secs_f64()
                );
                self.core.connections.iter_mut().for_each(|(_, connection)| connection.excuse(away));
            }
            before = now;
            if now >= next_tick {
                next_tick = now + TICK;
                self.tick(now);
            }
            if now >= next_scheme_tick {
                next_scheme_tick = now + SCHEME_TICK;
                self.core.tick(now);
            }
            if now >= next_look || turns >= PASSES * self.listed.len() {
                next_look = now + LOOK_AROUND;
                turns = 0;
                let busy = !self.listed.is_empty() || !self.core.dirty.is_empty();
                let awake = !busy && self.attention.is_awake(now);
                let wait = if busy || awake { Duration::ZERO } else { next_tick - now };
                match self.poll.poll(&mut events, Some(wait)) {
                    Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                    _ => {}
                }
                if awake && events.is_empty() {
                    // Nothing to do: other threads may want the processor.
                    std::thread::yield_now();
                }
                if events.iter().any(|event| event.token() == END) {
                    break;
                }
                for event in &events {
                    self.is_ready(event);
                }
                now = self.started.elapsed();
            }
            self.accept(now);
            turns += self.round(now, &mut room);
            self.write(now);
        }
        self.core.finish(Instant::now() + LAST_LINES);
        Ok(())
    }

    fn is_ready(&mut self, event: &Readiness) {
        let Token(at) = event.token();
        if event.token() == LISTENER {
            self.may_accept = true;
        } else if let Some(connection) = self.core.connections.get_mut(at) {
            if event.is_writable() && connection.has_to_write() {
                mark(&mut self.core.dirty, at, connection);
            }
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                list(&mut self.listed, at, connection);
            }
        }
    }

    /// Accepts all who wait. What fails is tried again with the next tick.
    fn accept(&mut self, now: Duration) {
        while self.may_accept {
            match self.server.listener.accept() {
                Ok(_) if self.core.connections.len() >= MAX_CONNECTIONS => {}
                Ok((stream, peer)) => {
                    if let Err(error) = self.begin(now, stream, peer) {
                        tracing::warn!("cannot serve the connection from {peer}: {error}");
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.may_accept = false;
                    if error.kind() != ErrorKind::WouldBlock {
                        // Of the one that gave up before it was accepted, or of this process's limits.
                        tracing::warn!("cannot accept a connection: {error}");
                    }
                }
            }
        }
    }

    fn begin(&mut self, now: Duration, mut stream: TcpStream, peer: SocketAddr) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let place = self.core.connections.vacant_entry();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(place.key()), interest)?;
        place.insert(Connection::begin(now, stream, peer, &self.server.versions, self.server.patience));
        Ok(())
    }

    /// Reads once of some connections that may have something to be read, and plays all whole messages. Says how many
    /// had their turn.
    fn round(&mut self, now: Duration, mut room: &mut [u8]) -> usize {
        let mut steps = Vec::new();
        let mut out = Outcome::default();
        let mut turns = 0;
        for _ in 0..self.listed.len().min(ROUND) {
            if room.len() < NEED {
                break;
            }
            let Some(at) = self.listed.pop_front() else { break };
            turns += 1;
            let Some(connection) = self.core.connections.get_mut(at) else { continue };
            connection.is_listed = false;
            connection.is_held = connection.is_full();
            if connection.is_held {
                continue;
            }
            let came = match connection.read(READ, room) {
                Ok(Came::Bytes(came)) => came,
                Ok(Came::Nothing) => continue,
                ended => {
                    self.core.close(now, at, ended.map(drop).map_err(|error| error.to_string()));
                    continue;
                }
            };
            list(&mut self.listed, at, connection);
            let (piece, left) = room.split_at_mut(came);
            room = left;
            self.core.take(now, at, piece, &mut steps, &mut out);
            self.attention.came(now);
        }
        self.core.settle(now, &mut steps, &mut out);
        turns
    }

    /// Writes what can be written without waiting, and closes what is to be closed.
    fn write(&mut self, now: Duration) {
        while let Some(at) = self.core.dirty.pop() {
            let Some(connection) = self.core.connections.get_mut(at) else { continue };
            connection.is_dirty = false;
            let written = connection.write(now);
            if connection.is_held && !connection.is_full() {
                connection.is_held = false;
                list(&mut self.listed, at, connection);
            }
            let doomed = connection.doomed.map_or(Ok(()), |why| Err(why.to_owned()));
            if let Err(why) = doomed.and(written) {
                self.core.close(now, at, Err(why));
            }
        }
    }

    /// Lets all connections look at the clock.
    fn tick(&mut self, now: Duration) {
        self.may_accept = true;
        let mut over = Vec::new();
        for (at, connection) in &mut self.core.connections {
            match connection.time(now) {
                Ok(()) if connection.has_to_write() => mark(&mut self.core.dirty, at, connection),
                Ok(()) => {}
                Err(why) => over.push((at, why)),
            }
        }
        for (at, why) in over {
            self.core.close(now, at, Err(why));
        }
    }
}

/// Has a connection read from.
fn list(listed: &mut VecDeque<usize>, at: usize, connection: &mut Connection) {
    if !std::mem::replace(&mut connection.is_listed, true) {
        listed.push_back(at);
    }
}

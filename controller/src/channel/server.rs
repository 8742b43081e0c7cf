//! Sockets and tasks.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::LocalSet;
use tokio::time::Interval;

use super::attention::Attention;
use super::link::{HIGH_WATER, Link};
use super::session::{Patience, Session, Step};
use crate::event_log::EventLog;
use crate::news::News;
use crate::openflow::{ErrorReport, Features, PacketIn, Version};
use crate::scheme::{Dpid, Event, Outcome, Scheme};

/// Bytes that are read at once.
const READ: usize = 256 << 10;
/// Packets that the scheme is shown before they are played.
const FORESEEN: usize = 16;
/// Connections at once; further ones are closed.
const MAX_CONNECTIONS: usize = 4096;
/// What the kernel may keep of a connection, in each direction; it may allow less.
const SOCKET_BUFFER: u32 = 512 << 10;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// Errors of one switch that are told; further ones only go to the log.
const MAX_TOLD_ERRORS: u32 = 8;
/// At the end, how long the reader of the event lines is waited for.
const LAST_LINES: Duration = Duration::from_secs(1);
/// After so many messages what the scheme wants is performed, while it is still in the processor's cache.
const BATCH: usize = 128;
/// Bytes of a flow-mod in 1.0; those of 1.3 and packets take more.
const USUAL_MESSAGE: usize = 80;
/// How often the scheme looks at the clock.
const SCHEME_TICK: Duration = Duration::from_secs(1);
/// How often a session does.
const TICK: Duration = Duration::from_millis(250);

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
    #[error(
        "cannot listen on {address}: {source}; is another controller running there? Choose another with --listen"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
}

/// What all connections share.
struct Core {
    scheme: Box<dyn Scheme>,
    switches: HashMap<Dpid, Switch>,
    log: EventLog,
    attention: Rc<Attention>,
    started: Instant,
    xid: u32,
}

struct Switch {
    link: Rc<Link>,
    version: Version,
}

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

    /// Serves switches until `end`, then closes all connections and finishes the log.
    pub async fn serve(self, scheme: Box<dyn Scheme>, log: EventLog, end: impl Future<Output = ()>) {
        let attention = Rc::new(Attention::default());
        let core = Rc::new(RefCell::new(Core {
            scheme,
            switches: HashMap::new(),
            log,
            attention: Rc::clone(&attention),
            started: Instant::now(),
            xid: 0,
        }));
        let scratch = Rc::new(RefCell::new(vec![0; READ]));
        let tasks = LocalSet::new();
        let accept = async {
            let mut ticks = tokio::time::interval(SCHEME_TICK);
            let connections = Rc::new(());
            let mut end = std::pin::pin!(end);
            loop {
                tokio::select! {
                    () = &mut end => return,
                    _ = ticks.tick() => core.borrow_mut().tick(),
                    accepted = self.listener.accept() => match accepted {
                        Ok(_) if Rc::strong_count(&connections) > MAX_CONNECTIONS => {}
                        Ok((stream, peer)) => {
                            let connection = Connection::begin(&core, &scratch, &self, stream, peer);
                            let one_more = Rc::clone(&connections);
                            tokio::task::spawn_local(async move {
                                connection.run().await;
                                drop(one_more);
                            });
                        }
                        // Of the one that gave up before it was accepted, or of this process's limits: try the next.
                        Err(error) => {
                            tracing::warn!("cannot accept a connection: {error}");
                            tokio::time::sleep(TICK).await;
                        }
                    },
                }
            }
        };
        tasks.spawn_local(async move { attention.pay().await });
        tasks.run_until(accept).await;
        drop(tasks);
        core.borrow_mut().log.finish(Instant::now() + LAST_LINES);
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    // Connections inherit these. Left to itself, the kernel would let a switch that does not read keep megabytes.
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl Core {
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn tick(&mut self) {
        let mut out = Outcome::default();
        self.scheme.on_tick(self.now(), &mut out);
        self.perform(&mut out, None);
    }

    /// The one place that sends what a scheme wants sent; `out` is empty afterwards. `awake` is the link whose task is at work now,
    /// and looks after what waits anyway.
    fn perform(&mut self, out: &mut Outcome<'_>, awake: Option<&Rc<Link>>) {
        for news in out.news.drain(..) {
            self.log.tell(news);
        }
        // Nearly always all are for one switch: it is looked up once.
        for messages in out.messages.chunk_by(|(one, _), (other, _)| one == other) {
            let Some((dpid, _)) = messages.first() else { continue };
            let Some(switch) = self.switches.get(dpid) else { continue };
            switch.link.append(|bytes| {
                bytes.reserve(messages.len() * USUAL_MESSAGE);
                for (_, message) in messages {
                    self.xid = self.xid.wrapping_add(1);
                    if let Err(error) = switch.version.emit(message, self.xid, bytes) {
                        tracing::warn!("a packet for switch {dpid} is dropped: {error}");
                    }
                }
            });
            if !awake.is_some_and(|link| Rc::ptr_eq(link, &switch.link)) {
                switch.link.wake();
            }
        }
        out.messages.clear();
    }

    fn event(&mut self, at: Dpid, event: Event<'_>) {
        let mut out = Outcome::default();
        self.scheme.on_event(self.now(), at, event, &mut out);
        self.perform(&mut out, None);
    }

    /// A switch is ready. If it was connected already, the new connection takes the place of the old.
    fn switch_up(&mut self, dpid: Dpid, switch: Switch, peer: SocketAddr) {
        let version = switch.version.as_str();
        if let Some(before) = self.switches.insert(dpid, switch) {
            before.link.doom("it connected again");
            self.lost(dpid, "it connected again".to_owned());
        }
        self.log.tell(News::SwitchConnected { dpid: dpid.0, version, peer });
        self.event(dpid, Event::SwitchUp);
    }

    /// A connection ended; if it was the switch's present one, the switch is gone.
    fn switch_down(&mut self, dpid: Dpid, link: &Rc<Link>, why: String) {
        if self.switches.get(&dpid).is_some_and(|switch| Rc::ptr_eq(&switch.link, link)) {
            self.switches.remove(&dpid);
            self.lost(dpid, why);
        }
    }

    fn lost(&mut self, dpid: Dpid, why: String) {
        self.log.tell(News::SwitchLost { dpid: dpid.0, why });
        self.event(dpid, Event::SwitchDown);
    }
}

/// Reads once. A read that does not fill the room has emptied the socket (epoll(7), questions and answers, 9), which tokio is told as it
/// would be by a further read that finds nothing: that saves every second read.
fn read_once(stream: &TcpStream, room: &mut [u8]) -> std::io::Result<usize> {
    let mut came = None;
    let emptied = stream.try_io(Interest::READABLE, || match stream.try_read(room)? {
        part @ 1.. if part < room.len() => {
            came = Some(part);
            Err(ErrorKind::WouldBlock.into())
        }
        whole => Ok(whole),
    });
    came.map_or(emptied, Ok)
}

/// Why a connection's task goes on.
enum Cause {
    /// There is something to read.
    Readable,
    /// There is room for what waits.
    Writable,
    /// Something else wants to be sent, or the connection is to be closed.
    Woken,
    /// It is time to look at the clock.
    Tick,
}

/// One connection's task.
struct Connection {
    core: Rc<RefCell<Core>>,
    scratch: Rc<RefCell<Vec<u8>>>,
    stream: TcpStream,
    peer: SocketAddr,
    session: Session,
    link: Rc<Link>,
    dpid: Option<Dpid>,
    /// The beginning of a message whose end has not come.
    rest: Vec<u8>,
    /// Whether anything came at all.
    spoke: bool,
    stall: Duration,
    /// Since when what waits has been waiting without any of it going.
    waiting_since: Option<Duration>,
    told_errors: u32,
}

impl Connection {
    fn begin(
        core: &Rc<RefCell<Core>>,
        scratch: &Rc<RefCell<Vec<u8>>>,
        server: &Server,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> Self {
        let _ = stream.set_nodelay(true);
        let link = Rc::new(Link::default());
        let now = core.borrow().now();
        let session = Session::begin(now, &server.versions, server.patience);
        Self {
            core: Rc::clone(core),
            scratch: Rc::clone(scratch),
            stream,
            peer,
            session,
            link,
            dpid: None,
            rest: Vec::new(),
            spoke: false,
            stall: server.patience.stall,
            waiting_since: None,
            told_errors: 0,
        }
    }

    async fn run(mut self) {
        let ended = self.converse().await;
        let looked_only = ended.is_ok() && !self.spoke;
        let why = ended.err().unwrap_or_else(|| "it closed the connection".to_owned());
        // The reason, if the switch still reads; not waited for.
        let _ = self.link.flush(|bytes| self.stream.try_write(bytes));
        tracing::info!("connection from {} ended: {why}", self.peer);
        let mut core = self.core.borrow_mut();
        match self.dpid {
            Some(dpid) => core.switch_down(dpid, &self.link, why),
            // Someone wanted to see whether a controller listens.
            None if looked_only => {}
            None => core.log.tell(News::ConnectionRefused { peer: self.peer, why }),
        }
    }

    /// Until the switch closes the connection, or why it was to be closed.
    async fn converse(&mut self) -> Result<(), String> {
        let mut ticks = tokio::time::interval(TICK);
        loop {
            if let Some(why) = self.link.is_doomed() {
                return Err(why.to_owned());
            }
            self.write()?;
            let reads = self.link.len() < HIGH_WATER;
            let writes = self.link.len() > 0;
            let cause = poll_fn(|context| self.poll_cause(context, &mut ticks, reads, writes)).await;
            match cause.map_err(|error| error.to_string())? {
                Cause::Readable => {
                    if self.read()? {
                        return Ok(());
                    }
                }
                Cause::Tick => self.time(reads)?,
                // The loop begins with writing.
                Cause::Writable | Cause::Woken => {}
            }
        }
    }

    /// What a connection waits for. Time comes first, so that a switch that always has something to say does not stop the clock.
    fn poll_cause(
        &self,
        context: &mut Context<'_>,
        ticks: &mut Interval,
        reads: bool,
        writes: bool,
    ) -> Poll<std::io::Result<Cause>> {
        if ticks.poll_tick(context).is_ready() {
            return Poll::Ready(Ok(Cause::Tick));
        }
        if self.link.poll_woken(context) {
            return Poll::Ready(Ok(Cause::Woken));
        }
        if writes && let Poll::Ready(ready) = self.stream.poll_write_ready(context) {
            return Poll::Ready(ready.map(|()| Cause::Writable));
        }
        if reads && let Poll::Ready(ready) = self.stream.poll_read_ready(context) {
            return Poll::Ready(ready.map(|()| Cause::Readable));
        }
        Poll::Pending
    }

    /// Looks at the clock. A switch that is not read from can't be heard, but then it must read.
    fn time(&mut self, reads: bool) -> Result<(), String> {
        let now = self.core.borrow().now();
        if self.waiting_since.is_some_and(|since| now >= since + self.stall) {
            return Err(format!("it has read nothing of {} bytes for {} s", self.link.len(), self.stall.as_secs()));
        }
        if !reads {
            self.session.heard(now);
        }
        let mut out = Vec::new();
        let result = self.session.time(now, &mut out);
        self.link.append(|bytes| bytes.extend(out));
        result.map_err(|refusal| refusal.to_string())
    }

    /// Sends what can be sent without waiting.
    fn write(&mut self) -> Result<(), String> {
        while self.link.len() > 0 {
            match self.link.flush(|bytes| self.stream.try_write(bytes)) {
                Ok(0) => return Err("it closed the connection".to_owned()),
                Ok(_) => self.waiting_since = None,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let now = self.core.borrow().now();
                    self.waiting_since.get_or_insert(now);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        self.waiting_since = None;
        Ok(())
    }

    /// Reads once and plays all whole messages. Says whether the switch closed the connection.
    fn read(&mut self) -> Result<bool, String> {
        let scratch = Rc::clone(&self.scratch);
        let mut scratch = scratch.borrow_mut();
        let kept = self.rest.len();
        // What is kept is less than a message, which is less than the room.
        let (begun, room) = scratch.split_at_mut(kept.min(READ));
        begun.copy_from_slice(&self.rest);
        let came = match read_once(&self.stream, room) {
            Ok(0) => return Ok(true),
            Ok(came) => {
                self.spoke = true;
                came
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(false),
            Err(error) => return Err(error.to_string()),
        };
        let mut stream = scratch.get(..kept + came).unwrap_or_default();
        let result = self.play(&mut stream);
        self.rest.clear();
        self.rest.extend_from_slice(stream);
        result.map(|()| false)
    }

    /// Plays the whole messages at the beginning of `stream`, and cuts them off.
    fn play(&mut self, stream: &mut &[u8]) -> Result<(), String> {
        let core = Rc::clone(&self.core);
        let mut core = core.borrow_mut();
        let now = core.now();
        core.attention.came();
        self.session.heard(now);
        let mut answers = Vec::new();
        let mut packets = Vec::new();
        let mut out = Outcome::default();
        let result = loop {
            let message = match self.session.next(stream, &mut answers) {
                Ok(Some(message)) => message,
                Ok(None) => break Ok(()),
                Err(refusal) => break Err(refusal.to_string()),
            };
            let step = match self.session.message(message, &mut answers) {
                Ok(step) => step,
                Err(refusal) => break Err(refusal.to_string()),
            };
            if let Step::PacketIn(packet) = step {
                packets.push(packet);
                if packets.len() >= FORESEEN {
                    self.packets(&mut core, &mut packets, now, &mut out);
                }
                continue;
            }
            self.packets(&mut core, &mut packets, now, &mut out);
            let event = match step {
                Step::Nothing | Step::PacketIn(_) => continue,
                Step::Ready(features) => {
                    // Its greeting goes before anything that the scheme has for it.
                    self.link.append(|bytes| bytes.append(&mut answers));
                    self.ready(&mut core, &features);
                    continue;
                }
                Step::Error(report) => {
                    self.report_error(&report, &mut out);
                    continue;
                }
                Step::FlowRemoved(removed) => Event::FlowRemoved(removed),
                Step::PortStatus(status) => Event::PortStatus(status),
            };
            if let Some(dpid) = self.dpid {
                core.scheme.on_event(now, dpid, event, &mut out);
            }
        };
        self.packets(&mut core, &mut packets, now, &mut out);
        if !answers.is_empty() {
            self.link.append(|bytes| bytes.append(&mut answers));
        }
        core.perform(&mut out, Some(&self.link));
        result
    }

    /// Plays packets that came one after the other.
    fn packets<'a>(&self, core: &mut Core, packets: &mut Vec<PacketIn<'a>>, now: Duration, out: &mut Outcome<'a>) {
        let Some(dpid) = self.dpid else { return packets.clear() };
        if packets.len() > 1 {
            core.scheme.foresee(dpid, packets);
        }
        for packet in packets.drain(..) {
            core.scheme.on_event(now, dpid, Event::PacketIn(packet), out);
        }
        if out.messages.len() >= BATCH {
            core.perform(out, Some(&self.link));
        }
    }

    fn ready(&mut self, core: &mut Core, features: &Features) {
        let Some(version) = self.session.version() else { return };
        let dpid = Dpid(features.dpid);
        tracing::debug!("switch {dpid} has ports {:?}", features.ports);
        self.dpid = Some(dpid);
        core.switch_up(dpid, Switch { link: Rc::clone(&self.link), version }, self.peer);
    }

    fn report_error(&mut self, report: &ErrorReport<'_>, out: &mut Outcome<'_>) {
        let ErrorReport { kind, code, data } = report;
        tracing::warn!("the switch at {} reports error type {kind} code {code}: {data:02x?}", self.peer);
        self.told_errors = self.told_errors.saturating_add(1);
        if let Some(dpid) = self.dpid.filter(|_| self.told_errors <= MAX_TOLD_ERRORS) {
            out.tell(News::Error { what: format!("switch {dpid} reports OpenFlow error type {kind} code {code}") });
        }
    }
}

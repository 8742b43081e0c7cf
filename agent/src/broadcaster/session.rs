//! One program's connection, and the one to the CDN that belongs to it.

use std::io;
use std::net::{Shutdown, SocketAddrV4};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use livectl_policy::pacing::payload_per_s;
use livectl_wire::agent_event::Event;
use livectl_wire::rtmp::Message;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::births::{self, Piece, Pieces};
use super::buffer::UploadBuffer;
use super::studio::{Leaving, Studio};
use crate::conversation::{Conversation, Meaning, Part};
use crate::media::Media;
use crate::notification::Hasten;
use crate::outbox::Outbox;
use crate::passing::{Passing, Unreadable};
use crate::socket;
use crate::tell::{ms_since, tell};

/// Bytes taken from the CDN at once.
const READ_SIZE: usize = 16 << 10;
/// Bytes of the CDN's answers that may wait for the program.
const MAX_ANSWERS: usize = 1 << 20;
/// Bytes that the kernel keeps unsent for the CDN at most: what waits, waits where a change of pace reaches it.
const UNSENT: u32 = 16 << 10;
/// How long a program may take to close after it was told that there is nothing more.
const FAREWELL: Duration = Duration::from_secs(5);

/// What a session needs to know.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) cdn: SocketAddrV4,
    pub(super) upload_buffer: Option<usize>,
    pub(super) patience: Duration,
    pub(super) drain: Duration,
    /// What the upload may take, in bit/s.
    pub(super) pace: watch::Receiver<Option<u64>>,
    pub(super) hasten: Hasten,
}

/// A program's session.
struct Session {
    number: u64,
    studio: Arc<Studio>,
    settings: Settings,
    begun: Instant,
    buffer: Arc<UploadBuffer>,
    from_program: Passing,
    from_cdn: Passing,
    conversation: Conversation,
    /// Message streams of the program's on which it publishes the stream.
    publishes: Option<u32>,
    has_published: bool,
    upload: Outbox,
    answers: Outbox,
    uploaded: u64,
    unreadable_told: bool,
    full_told: bool,
    /// The program is gone, and what it has published is on its way.
    leaving: Option<Leaving>,
}

/// The two halves of the CDN's connection.
struct Cdn {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
}

/// Passes on everything between `program` and the CDN until both have what is theirs.
pub(super) async fn run(number: u64, program: TcpStream, studio: Arc<Studio>, settings: Settings) {
    let Ok((program, thread, closer)) = divide(program) else { return };
    let buffer = Arc::new(UploadBuffer::new(settings.upload_buffer));
    let Ok(mut pieces) = births::read(thread, Arc::clone(&buffer)) else { return };
    settings.hasten.begin();
    let mut session = Session {
        number,
        studio: Arc::clone(&studio),
        settings,
        begun: Instant::now(),
        buffer: Arc::clone(&buffer),
        from_program: Passing::new(),
        from_cdn: Passing::new(),
        conversation: Conversation::default(),
        publishes: None,
        has_published: false,
        upload: Outbox::default(),
        answers: Outbox::default(),
        uploaded: 0,
        unreadable_told: false,
        full_told: false,
        leaving: None,
    };
    if let Some(cdn) = session.connect(&mut pieces).await {
        session.pass_on(cdn, program, pieces).await;
    }
    // Wakes the thread, wherever it waits.
    buffer.close();
    let _ = closer.shutdown(Shutdown::Both);
    session.settings.hasten.end();
    if session.has_published {
        studio.end(number);
        studio.finish();
    }
}

/// The program's connection for the one who writes, for the thread that reads, and for the one who ends both.
fn divide(program: TcpStream) -> io::Result<(TcpStream, std::net::TcpStream, std::net::TcpStream)> {
    program.set_nodelay(true)?;
    let program = program.into_std()?;
    let (thread, closer) = (program.try_clone()?, program.try_clone()?);
    Ok((TcpStream::from_std(program)?, thread, closer))
}

impl Session {
    /// Connects to the CDN while the program waits; `None` when it does not wait, or too long.
    async fn connect(&mut self, pieces: &mut Pieces) -> Option<Cdn> {
        let (cdn, patience, studio) = (self.settings.cdn, self.settings.patience, Arc::clone(&self.studio));
        let connecting = async move {
            // The CDN would refuse a second publisher as long as the first one's frames are on their way.
            studio.nobody_leaves().await;
            socket::connect(cdn, Instant::now() + patience).await
        };
        tokio::pin!(connecting);
        let connected = loop {
            tokio::select! {
                connected = &mut connecting => break connected,
                // It says something before it hears anything: the handshake.
                piece = pieces.recv() => match piece {
                    Some(Ok(piece)) => self.take(&piece),
                    Some(Err(_)) | None => return None,
                }
            }
        };
        match connected {
            Ok(connection) => {
                tell(Event::CdnConnected { cdn, ms: ms_since(self.begun) });
                let _ = socket::keep_unsent_below(&connection.as_fd(), UNSENT);
                let (from, to) = connection.into_split();
                Some(Cdn { from, to })
            }
            Err(why) => {
                tell(Event::UploadLost { why: format!("the CDN at {cdn} cannot be reached: {why}") });
                None
            }
        }
    }

    async fn pass_on(&mut self, cdn: Cdn, program: TcpStream, mut pieces: Pieces) {
        // Its bytes are read by the thread alone.
        let (_unread, mut program) = program.into_split();
        let Cdn { mut from, mut to } = cdn;
        let mut pace = self.settings.pace.clone();
        pace.mark_changed();
        let mut received = vec![0; READ_SIZE];
        let (mut program_ended, mut sent_all, mut cdn_lost, mut answered) = (false, false, false, false);
        let mut deadline: Option<Instant> = None;
        loop {
            if program_ended && self.upload.is_empty() && !sent_all && !cdn_lost {
                // Whoever is paced waits for nothing any more.
                let _ = to.shutdown().await;
                sent_all = true;
                deadline = Some(Instant::now() + self.settings.drain);
            }
            if cdn_lost && !answered && self.answers.is_empty() && !self.is_needed() {
                let _ = program.shutdown().await;
                answered = true;
                deadline = Some(Instant::now() + FAREWELL);
            }
            if program_ended && cdn_lost {
                return;
            }
            tokio::select! {
                biased;
                piece = pieces.recv(), if !program_ended => match piece {
                    Some(Ok(piece)) => {
                        self.take(&piece);
                        if cdn_lost {
                            self.buffer.release(self.upload.clear());
                        }
                        // The peers' tasks share this thread: they come first, then the CDN.
                        tokio::task::yield_now().await;
                    }
                    // A reset is an end as well.
                    Some(Err(_)) | None => {
                        program_ended = true;
                        self.studio.end(self.number);
                        self.leaving = self.has_published.then(|| self.studio.leave());
                        deadline = Some(Instant::now() + self.settings.drain);
                    }
                },
                count = from.read(&mut received), if !cdn_lost && self.answers.len() < MAX_ANSWERS => match count {
                    Ok(count @ 1..) => {
                        self.answer(received.get(..count).unwrap_or_default(), &program);
                    }
                    end => {
                        cdn_lost = true;
                        self.lose(end.err(), program_ended && self.upload.is_empty());
                    }
                },
                wrote = self.upload.write(&mut to), if !cdn_lost && !self.upload.is_empty() => match wrote {
                    Ok(count) => self.sent(count, program_ended.then_some(&mut deadline)),
                    Err(why) => {
                        // What it has said before it closed is still to be read.
                        if let Ok(count @ 1..) = from.try_read(&mut received) {
                            self.answer(received.get(..count).unwrap_or_default(), &program);
                        }
                        cdn_lost = true;
                        self.lose(Some(why), false);
                    }
                },
                wrote = self.answers.write(&mut program), if !self.answers.is_empty() => {
                    if wrote.is_err() {
                        // It does not listen any more; what it has sent still goes on its way.
                        self.answers.clear();
                    }
                }
                Ok(()) = pace.changed(), if !cdn_lost => {
                    let limit = *pace.borrow_and_update();
                    if let Err(why) = socket::pace(&to.as_ref().as_fd(), limit.map(payload_per_s)) {
                        tell(Event::PacingFailed { why: format!("SO_MAX_PACING_RATE: {why}") });
                    }
                }
                () = self.studio.peers.all_left(), if cdn_lost && !answered && self.is_needed() => (),
                () = sleep_until(deadline.unwrap_or(self.begun)), if deadline.is_some() => {
                    if !cdn_lost && !self.upload.is_empty() {
                        let why = format!("it accepted no data for {} s", self.settings.drain.as_secs());
                        tell(Event::UploadLost { why });
                    } else if !cdn_lost {
                        self.tell_end();
                    }
                    return;
                }
            }
        }
    }

    /// Whether the program has to go on for the peers' sake, although the CDN is lost.
    fn is_needed(&self) -> bool {
        self.studio.is_held_by(self.number) && self.studio.peers.served() > 0
    }

    /// Takes what the program has said.
    fn take(&mut self, piece: &Piece) {
        let Self { from_program, conversation, studio, publishes, number, .. } = self;
        let mut meanings = Vec::new();
        let ready = from_program.push(&piece.bytes, |message: Message<'_>| {
            if let Some(media) = Media::of(&message)
                && *publishes == Some(message.stream_id)
            {
                studio.take(*number, &media, piece.read_ns);
            } else if let Some(meaning) = conversation.client(&message) {
                // At once, since what follows in the same piece depends on it.
                if let Meaning::Asked { part: Part::Publish, stream_id, stream: Ok(stream) } = &meaning
                    && *stream == studio.stream
                {
                    *publishes = Some(*stream_id);
                    studio.claim(*number, false);
                }
                if matches!(meaning, Meaning::Left(stream_id) if *publishes == Some(stream_id)) {
                    studio.end(*number);
                }
                meanings.push(meaning);
            }
        });
        self.upload.push(ready);
        self.studio.waits_for_cdn(self.number, self.upload.len());
        self.buffer.hold(self.from_program.held());
        for meaning in meanings {
            match meaning {
                Meaning::Asked { stream: Ok(stream), .. } if stream == self.studio.stream => (),
                Meaning::Asked { stream, .. } => {
                    let stream = stream.map_or_else(|name| name, |stream| stream.to_string());
                    tell(Event::OtherStream { stream });
                }
                Meaning::Left(stream_id) if self.publishes == Some(stream_id) => self.publishes = None,
                _ => (),
            }
        }
        self.tell_unreadable(self.from_program.failed().cloned());
        // When nothing goes to the CDN at all, this piece may be the last for long.
        if (self.buffer.was_full() || self.buffer.is_full()) && !self.full_told {
            self.full_told = true;
            tell(Event::UploadFull { bytes: self.buffer.waiting() as u64 });
        }
    }

    /// Takes what the CDN has said, and passes it on.
    fn answer(&mut self, bytes: &[u8], program: &OwnedWriteHalf) {
        let mut meanings = Vec::new();
        let Self { from_cdn, conversation, .. } = self;
        from_cdn.push(bytes, |message| meanings.extend(conversation.server(&message)));
        let idle = self.answers.is_empty();
        self.answers.push(bytes.to_vec());
        if idle {
            // What goes wrong here goes wrong again where it is waited for.
            let _ = self.answers.try_write(program);
        }
        for meaning in meanings {
            match meaning {
                Meaning::Accepted { part: Part::Publish, stream_id } if self.publishes == Some(stream_id) => {
                    self.has_published = true;
                    self.studio.claim(self.number, true);
                    self.settings.hasten.accepted();
                    tell(Event::PublishAccepted { publish_ms: ms_since(self.begun) });
                }
                Meaning::Refused { part: Part::Publish, stream_id, code, why } => {
                    if self.publishes == Some(stream_id) {
                        self.publishes = None;
                        self.studio.renounce(self.number);
                    }
                    tell(Event::PublishRefused { code, why });
                }
                _ => (),
            }
        }
        self.tell_unreadable(self.from_cdn.failed().cloned());
    }

    fn tell_unreadable(&mut self, failed: Option<Unreadable>) {
        if let Some(why) = failed
            && !self.unreadable_told
        {
            self.unreadable_told = true;
            // Of a stream that cannot be read any more nothing is known, not even its end.
            self.studio.end(self.number);
            tell(Event::Unreadable { why: why.to_string() });
        }
    }

    fn sent(&mut self, count: usize, deadline: Option<&mut Option<Instant>>) {
        self.uploaded += count as u64;
        self.buffer.release(count);
        self.studio.waits_for_cdn(self.number, self.upload.len());
        if self.upload.is_empty() && self.full_told && self.buffer.waiting() == 0 {
            let waited_ms = self.buffer.waited().as_secs_f64() * 1000.0;
            tell(Event::UploadDrained { waited_ms });
            self.full_told = false;
        }
        if let Some(deadline) = deadline {
            *deadline = Some(Instant::now() + self.settings.drain);
        }
    }

    /// The CDN's connection is gone. That is as it should be when everything was `sent`.
    fn lose(&mut self, why: Option<io::Error>, sent: bool) {
        self.buffer.release(self.upload.clear());
        if sent && why.is_none() {
            self.tell_end();
        } else {
            let why = why.map_or_else(|| "the CDN closed the connection".to_owned(), |why| why.to_string());
            tell(Event::UploadLost { why });
        }
    }

    fn tell_end(&self) {
        let waited_ms = self.buffer.waited().as_secs_f64() * 1000.0;
        tell(Event::UploadEnded { bytes: self.uploaded, waited_ms });
    }
}

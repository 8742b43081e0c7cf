//! A session's connection to the CDN.

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::AsFd as _;
use std::pin::Pin;

use livectl_wire::rtmp::{Reader, RtmpError};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::Instant;

use super::client::{Between, Client, News, between, ping_response};
use super::merge::Tag;
use super::player::Player;
use crate::conversation::{Conversation, Meaning, Part, Wish};
use crate::media::Media;
use crate::outbox::Outbox;
use crate::passing::Passing;
use crate::socket;

/// A connection that is being made.
pub(super) type Connecting = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

/// Where a session is with the CDN.
pub(super) enum Cdn {
    /// On the way; `original`: for the player's own session.
    Connecting { connecting: Connecting, original: bool },
    /// There is a connection.
    Open(Box<Link>),
    /// It will be tried again then.
    Waiting(Instant),
    /// There is no connection, and none is needed.
    Gone,
}

/// What happens with the CDN's connection.
pub(super) enum Happened {
    /// It is there, or cannot be had.
    Connected(io::Result<TcpStream>),
    /// Some of what waited was written.
    Took(io::Result<usize>),
    /// So many bytes have come from it.
    Said(io::Result<usize>),
}

/// A connection to the CDN that is there.
pub(super) struct Link {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    speech: Speech,
    /// It was asked to be silent.
    pub(super) paused: bool,
    /// It has said that it is. What it says of the stream's end then is about the pause.
    silent: bool,
    /// When it was asked to be silent or to go on.
    pub(super) asked: Option<Instant>,
    /// When anything came from it last.
    pub(super) heard: Instant,
    /// It has said that the stream is being published.
    pub(super) published: bool,
}

/// How what comes from the CDN is understood.
enum Speech {
    /// The player's session, which goes through as it is.
    Through(Passing),
    /// The player's session, of which the agent writes the player's side itself.
    Merged(Reader),
    /// A session of the agent's own.
    Own(Client),
}

/// What has come from the CDN.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Media for the player, in order.
    pub(super) tags: Vec<Tag>,
    /// For the player, as it is.
    pub(super) through: Vec<u8>,
    /// Where in it the player is told that the stream has ended.
    pub(super) ended_at: Option<usize>,
    /// For the player, written by the agent.
    pub(super) answers: Vec<Vec<u8>>,
    /// The server has consented to the play.
    pub(super) accepted: bool,
    /// The server has refused the play, for this reason.
    pub(super) refused: Option<String>,
    /// The server says that the stream has ended.
    pub(super) ended: bool,
    /// It cannot be read any more.
    pub(super) unreadable: Option<String>,
}

impl Cdn {
    /// Tries to connect until `deadline`.
    pub(super) fn connect(server: SocketAddrV4, deadline: Instant, original: bool) -> Self {
        Cdn::Connecting { connecting: Box::pin(socket::connect(server, deadline)), original }
    }

    /// Waits for what happens next. Of what waits in `up` some is written as soon as it can be; nothing is read
    /// without `room`.
    pub(super) async fn next(&mut self, up: &mut Outbox, buffer: &mut [u8], room: bool) -> Happened {
        match self {
            Cdn::Connecting { connecting, .. } => Happened::Connected(connecting.await),
            Cdn::Open(link) => {
                let Link { from, to, .. } = &mut **link;
                tokio::select! {
                    took = up.write(to), if !up.is_empty() => Happened::Took(took),
                    count = from.read(buffer), if room => Happened::Said(count),
                    else => std::future::pending().await,
                }
            }
            Cdn::Waiting(_) | Cdn::Gone => std::future::pending().await,
        }
    }

    pub(super) fn link(&mut self) -> Option<&mut Link> {
        match self {
            Cdn::Open(link) => Some(link),
            _ => None,
        }
    }

    /// Whether it was asked to be silent.
    pub(super) fn is_silenced(&self) -> bool {
        matches!(self, Cdn::Open(link) if link.paused)
    }

    /// Whether what the player says is for it.
    pub(super) fn is_original(&self) -> bool {
        match self {
            Cdn::Connecting { original, .. } => *original,
            Cdn::Open(link) => !matches!(link.speech, Speech::Own(_)),
            Cdn::Waiting(_) | Cdn::Gone => false,
        }
    }
}

impl Link {
    /// Through this connection goes the player's own session.
    pub(super) fn original(connection: TcpStream) -> Self {
        Self::new(connection, Speech::Through(Passing::new()))
    }

    /// A session of the agent's own, and what it says first.
    pub(super) fn own(connection: TcpStream, wish: Wish) -> (Self, Vec<u8>) {
        let (client, first) = Client::new(wish);
        (Self::new(connection, Speech::Own(client)), first)
    }

    fn new(connection: TcpStream, speech: Speech) -> Self {
        let (from, to) = connection.into_split();
        let heard = Instant::now();
        Self { from, to, speech, paused: false, silent: false, asked: None, heard, published: false }
    }

    /// The CDN's chunk size, as long as the player's session goes through.
    pub(super) fn chunk_size(&self) -> Option<u32> {
        match &self.speech {
            Speech::Through(passing) => Some(passing.chunk_size()),
            Speech::Merged(_) | Speech::Own(_) => None,
        }
    }

    /// Whether the player's session goes through as it is.
    pub(super) fn is_through(&self) -> bool {
        matches!(self.speech, Speech::Through(_))
    }

    /// Whether it is a session of the agent's own.
    pub(super) fn is_own(&self) -> bool {
        matches!(self.speech, Speech::Own(_))
    }

    /// From now on the agent writes the player's side. What of a message has come so far is not lost: its reader
    /// knows it.
    pub(super) fn merge(self) -> Self {
        match self.speech {
            Speech::Through(passing) => Self { speech: Speech::Merged(passing.into_reader()), ..self },
            speech => Self { speech, ..self },
        }
    }

    /// What asks it to be silent, or to go on. `chunk_size` and `stream_id` are the player's.
    pub(super) fn pause(&mut self, pause: bool, chunk_size: u32, stream_id: u32) -> Vec<u8> {
        self.paused = pause;
        self.asked = Some(Instant::now());
        match &mut self.speech {
            Speech::Own(client) => {
                let mut out = Vec::new();
                client.pause(pause, &mut out);
                out
            }
            Speech::Through(_) | Speech::Merged(_) => between(chunk_size, stream_id, &Between::Pause(pause)),
        }
    }

    /// Whether it was asked to be silent and has not said that it is.
    pub(super) fn is_pausing(&self) -> bool {
        self.paused && !self.silent
    }

    /// The connection is reset when it is dropped, and with it what the CDN has queued.
    pub(super) fn reset(self) {
        let _ = socket::reset_at_close(&self.to.as_ref().as_fd());
        self.to.forget();
    }

    /// What is written at once goes at once.
    pub(super) fn try_write(&self, up: &mut Outbox) {
        // What goes wrong here goes wrong again where it is waited for.
        let _ = up.try_write(&self.to);
    }

    /// Takes what has come; appends to `up` what is to be answered. What the player has asked for `conversation`
    /// knows.
    pub(super) fn hear(
        &mut self,
        bytes: &[u8],
        conversation: &mut Conversation,
        player: Option<&mut Player>,
        chunk_size: u32,
        up: &mut Outbox,
    ) -> Heard {
        self.heard = Instant::now();
        let mut heard = Heard::default();
        let (mut meanings, mut pings) = (Vec::new(), Vec::new());
        match &mut self.speech {
            Speech::Through(passing) => {
                let (tags, ended_at, passed) = (&mut heard.tags, &mut heard.ended_at, passing.passed());
                heard.through = passing.push(bytes, |message| match Media::of(&message) {
                    Some(media) => tags.push(Tag::of(media.kind, media.timestamp, media.payload.to_vec())),
                    None => {
                        let meaning = conversation.server(&message);
                        if let Some(Meaning::Unpublished) = meaning {
                            let begins = message.range().start.saturating_sub(passed);
                            *ended_at = usize::try_from(begins).ok();
                        }
                        meanings.extend(meaning);
                    }
                });
                heard.unreadable = passing.failed().map(ToString::to_string);
            }
            Speech::Merged(reader) => {
                let mut player = player;
                let read = reader.push(bytes, |message| match Media::of(&message) {
                    Some(media) => heard.tags.push(Tag::of(media.kind, media.timestamp, media.payload.to_vec())),
                    None => {
                        meanings.extend(conversation.server(&message));
                        pings.extend(ping_response(&message));
                        heard.answers.extend(player.as_mut().and_then(|player| player.answer(&message)));
                    }
                });
                heard.unreadable = read.err().map(|why: RtmpError| why.to_string());
            }
            Speech::Own(client) => {
                let mut out = Vec::new();
                match client.take(bytes, &mut out, |tag| heard.tags.push(tag)) {
                    Ok(news) => meanings.extend(news.into_iter().map(meaning)),
                    Err(why) => heard.unreadable = Some(why.to_string()),
                }
                up.push(out);
            }
        }
        for ping in pings {
            up.push(between(chunk_size, 0, &Between::PingResponse(ping)));
        }
        for meaning in meanings {
            match meaning {
                Meaning::Accepted { part: Part::Play, .. } => heard.accepted = true,
                Meaning::Refused { code, why, .. } => heard.refused = Some(format!("{code}: {why}")),
                Meaning::Paused => self.silent = true,
                Meaning::Resumed => self.silent = false,
                Meaning::Published => self.published = true,
                // A pause is told as if the stream had ended.
                Meaning::Unpublished if !self.silent => heard.ended = true,
                _ => (),
            }
        }
        heard
    }
}

fn meaning(news: News) -> Meaning {
    match news {
        News::Accepted => Meaning::Accepted { part: Part::Play, stream_id: 0 },
        News::Refused(why) => Meaning::Refused { part: Part::Play, stream_id: 0, code: "play".into(), why },
        News::Published => Meaning::Published,
        News::Unpublished => Meaning::Unpublished,
        News::Paused => Meaning::Paused,
        News::Resumed => Meaning::Resumed,
    }
}

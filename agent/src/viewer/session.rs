//! A player's session: through mode.

use std::time::Duration;

use livectl_wire::agent_event::{Event, Path};
use livectl_wire::flv::Content;
use livectl_wire::frame::FrameId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::ViewerArgs;
use crate::conversation::{Conversation, Meaning, Part};
use crate::media::Media;
use crate::outbox::Outbox;
use crate::passing::Passing;
use crate::socket;
use crate::tell::{ms_since, tell};

const READ_SIZE: usize = 64 << 10;
const MAX_WAITING: usize = 64 << 20;
const FAREWELL: Duration = Duration::from_secs(5);

/// What came of a session.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) frames: u64,
    pub(super) stream_ended: bool,
}

/// Passes on everything between `player` and the CDN.
pub(super) async fn run(args: &ViewerArgs, player: TcpStream) -> Outcome {
    let begun = Instant::now();
    let mut outcome = Outcome::default();
    let _ = player.set_nodelay(true);
    let cdn = match socket::connect(args.cdn.0, begun + Duration::from_secs(args.patience)).await {
        Ok(cdn) => cdn,
        Err(why) => {
            tell(Event::CdnLost { why: format!("cannot be reached: {why}") });
            return outcome;
        }
    };
    tell(Event::CdnConnected { cdn: args.cdn.0, ms: ms_since(begun) });
    let (mut from_player, mut to_player) = player.into_split();
    let (mut from_cdn, mut to_cdn) = cdn.into_split();
    let (mut asked, mut given) = (Passing::new(), Passing::new());
    let (mut up, mut down) = (Outbox::default(), Outbox::default());
    let mut conversation = Conversation::default();
    let (mut a, mut b) = (vec![0; READ_SIZE], vec![0; READ_SIZE]);
    let (mut bytes, mut unreadable, mut seen) = (0u64, false, false);
    let why = loop {
        tokio::select! {
            biased;
            wrote = down.write(&mut to_player), if !down.is_empty() => match wrote {
                Ok(count) => bytes += count as u64,
                Err(why) => break why.to_string(),
            },
            count = from_cdn.read(&mut a), if down.len() < MAX_WAITING => match count {
                Ok(count @ 1..) => {
                    let mut meanings = Vec::new();
                    let ready = given.push(a.get(..count).unwrap_or_default(), |message| {
                        let Some(media) = Media::of(&message) else {
                            return meanings.extend(conversation.server(&message));
                        };
                        if let Content::Picture { keyframe } = media.content {
                            outcome.frames += 1;
                            if keyframe && !seen {
                                seen = true;
                                let id = FrameId::of(media.payload).to_string();
                                let (timestamp_ms, ms) = (media.timestamp, ms_since(begun));
                                tell(Event::FirstKeyframe { path: Path::Cdn, timestamp_ms, id, ms });
                            }
                        }
                    });
                    down.push(ready);
                    if let Ok(count) = down.try_write(&to_player) {
                        bytes += count as u64;
                    }
                    for meaning in meanings {
                        match meaning {
                            Meaning::Accepted { part: Part::Play, .. } => tell(Event::PlayAccepted { ms: ms_since(begun) }),
                            Meaning::Unpublished => outcome.stream_ended = true,
                            _ => (),
                        }
                    }
                    if let Some(why) = given.failed().filter(|_| !unreadable) {
                        tell(Event::Unreadable { why: why.to_string() });
                        unreadable = true;
                    }
                }
                end => {
                    let why = end.err().map_or("the CDN closed the connection".to_owned(), |why| why.to_string());
                    let rest = async {
                        while !down.is_empty() && down.write(&mut to_player).await.is_ok() {}
                        let _ = to_player.shutdown().await;
                        while matches!(from_player.read(&mut b).await, Ok(1..)) {}
                    };
                    let _ = timeout(FAREWELL, rest).await;
                    break why;
                }
            },
            count = from_player.read(&mut b), if up.len() < MAX_WAITING => match count {
                Ok(count @ 1..) => {
                    let ready = asked.push(b.get(..count).unwrap_or_default(), |message| {
                        if let Some(Meaning::Asked { stream, .. }) = conversation.client(&message)
                            && stream.as_ref() != Ok(&args.stream) {
                            let stream = stream.map_or_else(|name| name, |stream| stream.to_string());
                            tell(Event::OtherStream { stream });
                        }
                    });
                    up.push(ready);
                    let _ = up.try_write(&to_cdn);
                }
                _ => break "the player left".to_owned(),
            },
            wrote = up.write(&mut to_cdn), if !up.is_empty() => if wrote.is_err() { up.clear(); },
        }
    };
    if outcome.stream_ended {
        tell(Event::StreamEnded { frames: outcome.frames });
    }
    let why = if outcome.stream_ended { "end_of_stream".to_owned() } else { why };
    tell(Event::PlayerLeft { why, frames: outcome.frames, bytes });
    outcome
}

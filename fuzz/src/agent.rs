//! What agents read: each other's lines, and RTMP that they pass on or ask for themselves.

use live_agent::conversation::{Conversation, Wish};
use live_agent::passing::Passing;
use live_agent::viewer::client::Client;
use livectl_wire::heartbeat::{Heartbeat, LEN};
use livectl_wire::peer::{Answer, MAX_REASON, MAX_REQUEST, Request};

use crate::cut;

/// A request, an answer and a heartbeat are known by their bytes alone: no part of one is taken for the whole, what
/// follows changes nothing, and what was read is written as the same bytes.
pub fn peer(data: &[u8]) {
    settled(data, |bytes| Request::parse(bytes).map(|found| found.map(|(request, used)| (request.emit(), used))));
    if let Ok(Some((request, used))) = Request::parse(data) {
        assert_eq!(Some(request.emit().as_bytes()), data.get(..used));
    }
    settled(data, Answer::parse);
    if let Ok(Some(Answer::Stream { gap: Some(gap), consumed })) = Answer::parse(data) {
        assert_eq!(Some(gap.emit().as_bytes()), data.get(..consumed));
    }
    for part in data.chunks(LEN) {
        if let Ok(heartbeat) = Heartbeat::parse(part) {
            assert_eq!(heartbeat.emit().as_slice(), part);
        }
    }
}

/// What is known of a beginning is known of all that begins so, and is known after the longest line.
fn settled<T: PartialEq + std::fmt::Debug, E: PartialEq + std::fmt::Debug>(
    data: &[u8],
    parse: impl Fn(&[u8]) -> Result<Option<T>, E>,
) {
    let longest = MAX_REQUEST.max(MAX_REASON + 64);
    let mut known = None;
    for len in 0..=data.len() {
        let found = parse(data.get(..len).unwrap_or_default());
        match &known {
            None if found == Ok(None) => assert!(len <= longest, "{len} bytes and nothing is known"),
            None => known = Some(found),
            Some(known) => assert_eq!(&found, known),
        }
    }
}

/// RTMP that is passed on leaves as it came, each message after it is whole, however the bytes are cut; and a client
/// of the agent's own takes the same from a server's bytes however they are cut, and does not answer with ever more.
pub fn agent(data: &[u8]) {
    let Some((&[how, size], stream)) = data.split_first_chunk() else { return };
    let pass = |pieces: &[&[u8]]| {
        let (mut passing, mut conversation) = (Passing::new(), Conversation::default());
        let (mut out, mut said, mut messages) = (Vec::new(), Vec::new(), 0u32);
        for piece in pieces {
            let ready = passing.push(piece, |message| {
                messages += 1;
                said.push(format!("{:?}", conversation.server(&message)));
                said.push(format!("{:?}", conversation.client(&message)));
            });
            out.extend(ready);
        }
        assert!(passing.failed().is_some() || out.len() + passing.held() == stream.len());
        assert!(stream.starts_with(&out), "what leaves is what came");
        (messages, said, passing.failed().is_some())
    };
    let whole = pass(&[stream]);
    let pieces = pass(&cut(stream, size));
    assert_eq!(pieces, whole);

    let wish = || Wish { app: "live".into(), tc_url: None, name: "hb".into() };
    let take = |pieces: &[&[u8]]| {
        let (mut client, _) = Client::new(wish());
        let (mut out, mut tags, mut news) = (Vec::new(), Vec::new(), Vec::new());
        let mut failed = None;
        for piece in pieces {
            match client.take(piece, &mut out, |tag| tags.push((tag.kind, tag.timestamp, tag.payload.to_vec()))) {
                Ok(more) => news.extend(more),
                Err(why) => {
                    failed = Some(why);
                    break;
                }
            }
        }
        if how & 1 == 1 {
            client.pause(true, &mut out);
        }
        // Each answer is shorter than what asks for it, but for the ones of the handshake and the commands of a
        // session.
        assert!(out.len() <= 8192 + 64 * stream.len());
        (tags, failed.is_some())
    };
    assert_eq!(take(&cut(stream, size)), take(&[stream]));
}

//! OpenFlow: messages, and the session that they make.

use std::time::Duration;

use live_controller::channel::{Patience, Session};
use live_controller::openflow::{Message, Version, Versions, header};

/// What was read can be written and read again, and an error can be told; a session says and sees the same however
/// its bytes are cut.
pub fn openflow(data: &[u8]) {
    for version in [Version::V10, Version::V13] {
        let mut stream = data;
        while let Ok(Some(message)) = header::next(stream) {
            round_trip(version, message);
            if let Ok((xid, versions)) = Versions::parse(message) {
                let mut bytes = Vec::new();
                versions.emit(xid, &mut bytes);
                let _ = Versions::agree(&[version], versions);
            }
            stream = stream.get(message.len()..).unwrap_or_default();
        }
    }
    let Some((&size, stream)) = data.split_first() else { return };
    let whole = converse(&[stream]);
    assert_eq!(converse(&crate::cut(stream, size)), whole);
}

fn round_trip(version: Version, message: &[u8]) {
    match version.parse(message) {
        // Of those only the type is kept.
        Ok((_, Message::Other(_))) => {}
        Ok((xid, parsed)) => {
            let mut bytes = Vec::new();
            version.emit(&parsed, xid, &mut bytes).expect("it was short enough to be read");
            assert_eq!(version.parse(&bytes), Ok((xid, parsed)));
        }
        Err(error) => {
            let _ = error.report(message);
        }
    }
}

/// What a session answers, what it takes its messages for, and how it ends. Of the answers the beginnings: how much
/// of a refused message an error repeats depends on how much of it had come.
fn converse(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Vec<String>) {
    let mut session = Session::begin(Duration::ZERO, &[Version::V10, Version::V13], Patience::default());
    let (mut said, mut steps, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    for piece in pieces {
        session.heard(Duration::ZERO);
        rest.extend_from_slice(piece);
        let mut stream = &*rest;
        loop {
            let step = match session.next(&mut stream, &mut said) {
                Ok(Some(message)) => session.message(message, &mut said).map(|step| format!("{step:?}")),
                Ok(None) => break,
                Err(refusal) => Err(refusal),
            };
            match step {
                Ok(step) => steps.push(step),
                Err(refusal) => {
                    steps.push(refusal.to_string());
                    return (beginnings(&said), steps);
                }
            }
        }
        rest = stream.to_vec();
    }
    (beginnings(&said), steps)
}

fn beginnings(mut said: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(message) = header::next(said).expect("what it says is OpenFlow") {
        // Version and type, transaction id, and of an error what kind it is.
        let of = |range| message.get(range).unwrap_or_default();
        all.push(
            [of(0..2), of(4..8), if message.get(1) == Some(&1) { of(8..12) } else { of(8..message.len()) }].concat(),
        );
        said = said.get(message.len()..).unwrap_or_default();
    }
    assert!(said.is_empty(), "it ends with half a message");
    all
}

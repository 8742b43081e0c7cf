//! Segments of a stream in the answers of an HTTP server: which bodies are some, and the video in them.

use crate::http::{Piece, Responses};
use crate::ts::{self, Reader, SYNC, Video};

/// The answers of a server, on their way to video.
#[derive(Default)]
pub(super) struct Segments {
    answers: Responses,
    body: Body,
}

/// What the body is that is being read.
#[derive(Default)]
enum Body {
    /// Nothing of it has come.
    #[default]
    Awaited,
    /// A playlist, or an error's page.
    Other,
    Segment(Reader),
}

/// What was found in the responses.
pub(super) enum Event<'a> {
    /// A segment begins.
    Begun,
    /// A stretch of the stream's video.
    Video(Video<'a>),
}

impl Segments {
    pub fn push(&mut self, bytes: &[u8], mut deliver: impl FnMut(Event<'_>)) -> Result<(), String> {
        let Self { answers, body } = self;
        let mut failed = Ok(());
        let read = answers.push(bytes, |piece| {
            let taken = body.take(piece, &mut deliver);
            failed = std::mem::replace(&mut failed, Ok(())).and(taken);
        });
        read.map_err(|error| error.to_string()).and(failed.map_err(|error| error.to_string()))
    }

    pub fn hole(&mut self, bytes: u64, mut deliver: impl FnMut(Event<'_>)) -> Result<(), String> {
        let Self { answers, body } = self;
        // A hole brings nothing that could be wrong.
        let read = answers.hole(bytes, |piece| {
            let _ = body.take(piece, &mut deliver);
        });
        read.map_err(|error| error.to_string())
    }

    /// Offset of the oldest byte that something is still to be made of.
    pub fn oldest(&self) -> u64 {
        let answers = self.answers.oldest();
        match &self.body {
            Body::Segment(reader) => reader.oldest().map_or(answers, |oldest| oldest.min(answers)),
            Body::Awaited | Body::Other => answers,
        }
    }
}

impl Body {
    fn take(&mut self, piece: Piece<'_>, deliver: &mut impl FnMut(Event<'_>)) -> Result<(), ts::TsError> {
        match piece {
            Piece::Head(_) => *self = Body::Awaited,
            Piece::Body(bytes, offset) => {
                if let (Body::Awaited, Some(first)) = (&*self, bytes.first()) {
                    // No playlist begins so, and no page.
                    *self = if *first == SYNC { Body::Segment(Reader::new()) } else { Body::Other };
                    if matches!(self, Body::Segment(_)) {
                        deliver(Event::Begun);
                    }
                }
                if let Body::Segment(reader) = self {
                    reader.push(bytes, offset, |video| deliver(Event::Video(video)))?;
                }
            }
            // Of a body whose beginning is missing it is not known what it was.
            Piece::Missing(_) if matches!(self, Body::Awaited) => *self = Body::Other,
            Piece::Missing(bytes) => {
                if let Body::Segment(reader) = self {
                    reader.hole(bytes);
                }
            }
            Piece::End => {
                if let Body::Segment(reader) = self {
                    reader.end(|video| deliver(Event::Video(video)));
                }
                *self = Body::Awaited;
            }
        }
        Ok(())
    }
}

//! HTTP/1.1 as far as it takes to find files in it (RFC 9112): the targets of requests, and the bodies of responses.
//!
//! A response is read without its request. What only the request would tell does not occur in livectl's
//! conversations: nobody sends HEAD or CONNECT.

/// The TCP port of HTTP servers.
pub const PORT: u16 = 80;

/// A header section is not longer, in bytes.
const MAX_HEAD: usize = 64 << 10;
/// The line with the size of a chunk is not longer.
const MAX_CHUNK_LINE: usize = 1 << 10;
/// The empty line after a header section, with the end of the line before.
const EMPTY_LINE: &[u8] = b"\r\n\r\n";

/// Where and why reading of a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not HTTP/1.1 at byte {offset}: {problem}")]
pub struct HttpError {
    /// Offset in the stream of what was being read.
    pub offset: u64,
    /// What is wrong there.
    pub problem: Problem,
}

/// What can be wrong with requests or responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Neither `GET /… HTTP/1.1` nor `HTTP/1.1 200 …`.
    #[error("the first line is not HTTP/1.1")]
    FirstLine,
    /// A header section does not end within the bytes that it may have.
    #[error("a header section of more than {MAX_HEAD} bytes")]
    LongHead,
    /// `Content-Length` is no number, or is there twice with two of them.
    #[error("an invalid length")]
    Length,
    /// A chunk begins with no size, or does not end where it should.
    #[error("an invalid chunk")]
    Chunk,
    /// Bytes are missing, and not only from a body of known length: where the next message begins cannot be known.
    #[error("{0} bytes are missing, and what follows them cannot be told apart")]
    Hole(u64),
}

/// A part of a response, as it is handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Its header section; the number is its status code.
    Head(u16),
    /// Bytes of its body; they lie at that offset of the stream.
    Body(&'a [u8], u64),
    /// So many bytes of its body are missing.
    Missing(u64),
    /// Its end: the next piece is of the next response.
    End,
}

/// Reads the responses of a connection, pushed to it in pieces of any size. It holds at most one incomplete header
/// section.
#[derive(Debug, Clone, Default)]
pub struct Responses {
    expected: Expected,
    partial: Vec<u8>,
    /// Stream offset of the next byte.
    offset: u64,
    failed: Option<HttpError>,
}

/// What comes next in a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Expected {
    #[default]
    Head,
    /// So many bytes more of a body.
    Body(u64),
    UntilClosed,
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailer,
}

/// Reads the requests of a connection likewise.
#[derive(Debug, Clone, Default)]
pub struct Requests {
    partial: Vec<u8>,
    /// Bytes of a body that are passed over.
    passing: u64,
    offset: u64,
    failed: Option<HttpError>,
}

impl Responses {
    /// A reader at the beginning of a connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and hands on what they hold.
    ///
    /// # Errors
    /// At the first violation, after what was before it was handed on; from then on always the same error.
    pub fn push(&mut self, bytes: &[u8], mut deliver: impl FnMut(Piece<'_>)) -> Result<(), HttpError> {
        self.failed.map_or(Ok(()), Err)?;
        self.read(bytes, &mut deliver).inspect_err(|error| {
            self.failed = Some(*error);
            self.partial = Vec::new();
        })
    }

    /// Says that the next `bytes` bytes of the stream will not come.
    ///
    /// # Errors
    /// As [`Responses::push`], and when more than a body is concerned.
    pub fn hole(&mut self, bytes: u64, mut deliver: impl FnMut(Piece<'_>)) -> Result<(), HttpError> {
        self.failed.map_or(Ok(()), Err)?;
        let after = match self.expected {
            Expected::Body(left) if left >= bytes => Expected::Body(left - bytes),
            Expected::Chunk(left) if left >= bytes => Expected::Chunk(left - bytes),
            Expected::UntilClosed => Expected::UntilClosed,
            _ => {
                let error = self.error(Problem::Hole(bytes));
                self.failed = Some(error);
                return Err(error);
            }
        };
        deliver(Piece::Missing(bytes));
        self.offset += bytes;
        self.expected = after;
        self.end(&mut deliver);
        Ok(())
    }

    /// Offset of the oldest byte that something is still to be made of.
    #[must_use]
    pub fn oldest(&self) -> u64 {
        self.offset - self.partial.len() as u64
    }

    fn read(&mut self, mut bytes: &[u8], deliver: &mut impl FnMut(Piece<'_>)) -> Result<(), HttpError> {
        while !bytes.is_empty() {
            let taken = match self.expected {
                Expected::Body(left) | Expected::Chunk(left) => {
                    let here = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
                    deliver(Piece::Body(bytes.get(..here).unwrap_or_default(), self.offset));
                    let left = left - here as u64;
                    self.expected = match self.expected {
                        Expected::Body(_) => Expected::Body(left),
                        _ => Expected::Chunk(left),
                    };
                    here
                }
                Expected::UntilClosed => {
                    deliver(Piece::Body(bytes, self.offset));
                    bytes.len()
                }
                Expected::Head | Expected::ChunkSize | Expected::ChunkEnd | Expected::Trailer => {
                    self.line(bytes, deliver)?
                }
            };
            self.offset += taken as u64;
            bytes = bytes.get(taken..).unwrap_or_default();
            self.end(deliver);
        }
        Ok(())
    }

    /// Takes bytes of what ends with a line, and says how many.
    fn line(&mut self, bytes: &[u8], deliver: &mut impl FnMut(Piece<'_>)) -> Result<usize, HttpError> {
        let (until, most, problem): (&[u8], usize, Problem) = match self.expected {
            Expected::Head => (EMPTY_LINE, MAX_HEAD, Problem::LongHead),
            _ => (b"\r\n", MAX_CHUNK_LINE, Problem::Chunk),
        };
        let (taken, is_whole) = take_until(&mut self.partial, bytes, until);
        if self.partial.len() > most {
            return Err(self.error(problem));
        }
        // What is no answer is told before the header section ends, which it never would.
        if self.expected == Expected::Head && !begins_like(&self.partial, b"HTTP/1.") {
            return Err(self.error(Problem::FirstLine));
        }
        if self.expected == Expected::ChunkEnd && !begins_like(&self.partial, until) {
            return Err(self.error(problem));
        }
        if !is_whole {
            return Ok(taken);
        }
        let text = std::mem::take(&mut self.partial);
        let line = text.strip_suffix(until).unwrap_or_default();
        self.expected = match self.expected {
            Expected::ChunkSize => match chunk_size(line).ok_or(self.error(Problem::Chunk))? {
                0 => Expected::Trailer,
                size => Expected::Chunk(size),
            },
            Expected::ChunkEnd if line.is_empty() => Expected::ChunkSize,
            Expected::ChunkEnd => return Err(self.error(Problem::Chunk)),
            Expected::Trailer if line.is_empty() => Expected::Body(0),
            Expected::Trailer => Expected::Trailer,
            _ => {
                let status = status(line).ok_or(self.error(Problem::FirstLine))?;
                let length = body_length(line).map_err(|problem| self.error(problem))?;
                // Those of 1xx come before the answer itself and have none of their own.
                if status < 200 {
                    Expected::Head
                } else {
                    deliver(Piece::Head(status));
                    match length {
                        _ if matches!(status, 204 | 304) => Expected::Body(0),
                        Length::Chunked => Expected::ChunkSize,
                        Length::Known(bytes) => Expected::Body(bytes),
                        Length::Unknown => Expected::UntilClosed,
                    }
                }
            }
        };
        Ok(taken)
    }

    /// What there is to do when a body or a chunk is over.
    fn end(&mut self, deliver: &mut impl FnMut(Piece<'_>)) {
        match self.expected {
            Expected::Body(0) => {
                deliver(Piece::End);
                self.expected = Expected::Head;
            }
            Expected::Chunk(0) => self.expected = Expected::ChunkEnd,
            _ => {}
        }
    }

    fn error(&self, problem: Problem) -> HttpError {
        HttpError { offset: self.offset, problem }
    }
}

impl Requests {
    /// A reader at the beginning of a connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and hands on the target of each request in them: `/hls/hb.m3u8`.
    ///
    /// # Errors
    /// As [`Responses::push`].
    pub fn push(&mut self, mut bytes: &[u8], mut deliver: impl FnMut(&str)) -> Result<(), HttpError> {
        self.failed.map_or(Ok(()), Err)?;
        while !bytes.is_empty() {
            let taken = if self.passing > 0 {
                let here = usize::try_from(self.passing).map_or(bytes.len(), |left| left.min(bytes.len()));
                self.passing -= here as u64;
                here
            } else {
                let (taken, is_whole) = take_until(&mut self.partial, bytes, EMPTY_LINE);
                let read = if is_whole {
                    let head = std::mem::take(&mut self.partial);
                    self.request(head.strip_suffix(EMPTY_LINE).unwrap_or_default(), &mut deliver)
                } else if self.partial.len() > MAX_HEAD {
                    Err(Problem::LongHead)
                } else {
                    Ok(())
                };
                if let Err(problem) = read {
                    let error = HttpError { offset: self.offset, problem };
                    (self.failed, self.partial) = (Some(error), Vec::new());
                    return Err(error);
                }
                taken
            };
            self.offset += taken as u64;
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    fn request(&mut self, head: &[u8], deliver: &mut impl FnMut(&str)) -> Result<(), Problem> {
        let line = lines(head).next().and_then(|line| std::str::from_utf8(line).ok()).unwrap_or_default();
        let mut words = line.split(' ');
        let (Some(_method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(Problem::FirstLine);
        };
        if !version.starts_with("HTTP/1.") {
            return Err(Problem::FirstLine);
        }
        if let Length::Known(bytes) = body_length(head)? {
            self.passing = bytes;
        }
        deliver(target);
        Ok(())
    }
}

/// Which file of a stream a target names: the folder, the stream and, of a segment, its number. `/hls/hb.m3u8` and
/// `/hls/hb-17.ts`, as nginx-rtmp calls them.
#[must_use]
pub fn file_of_stream(target: &str) -> Option<(&str, &str, Option<u64>)> {
    let path = target.split('?').next()?.strip_prefix('/')?;
    let (folder, file) = path.rsplit_once('/')?;
    if let Some(stream) = file.strip_suffix(".m3u8") {
        return Some((folder, stream, None));
    }
    let (stream, number) = file.strip_suffix(".ts")?.rsplit_once('-')?;
    Some((folder, stream, Some(number.parse().ok()?)))
}

enum Length {
    Known(u64),
    Chunked,
    /// Until the connection is closed, of a response; of a request nothing.
    Unknown,
}

/// Adds bytes to `partial` until it ends with `until`; how many were taken, and whether it does.
fn take_until(partial: &mut Vec<u8>, bytes: &[u8], until: &[u8]) -> (usize, bool) {
    // From where on the end may lie.
    let from = partial.len().saturating_sub(until.len().saturating_sub(1));
    let before = partial.len();
    // More than a whole header section need not be looked at twice.
    partial.extend(bytes.iter().take(MAX_HEAD + EMPTY_LINE.len()));
    let found =
        partial.get(from..).unwrap_or_default().windows(until.len().max(1)).position(|window| window == until);
    match found {
        Some(at) => {
            partial.truncate(from + at + until.len());
            (partial.len().saturating_sub(before), true)
        }
        None => (partial.len() - before, false),
    }
}

fn begins_like(bytes: &[u8], with: &[u8]) -> bool {
    bytes.iter().zip(with).all(|(a, b)| a == b)
}

fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

fn status(head: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(lines(head).next()?.get(..12)?).ok()?;
    let (version, status) = line.split_once(' ')?;
    version.starts_with("HTTP/1.").then(|| status.parse().ok())?
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(line.split(|byte| *byte == b';').next()?).ok()?.trim();
    // A sign is none of HTTP's.
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u64::from_str_radix(digits, 16).ok())?
}

/// How long a body is, by its header section (RFC 9112, 6.3).
fn body_length(head: &[u8]) -> Result<Length, Problem> {
    let mut length = None;
    for line in lines(head).skip(1) {
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (halves.next(), halves.next()) else { continue };
        let value = value.trim_ascii();
        if name.eq_ignore_ascii_case(b"transfer-encoding") && value.to_ascii_lowercase().ends_with(b"chunked") {
            return Ok(Length::Chunked);
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
            let bytes: u64 = digits.and_then(|digits| digits.parse().ok()).ok_or(Problem::Length)?;
            if length.is_some_and(|other| other != bytes) {
                return Err(Problem::Length);
            }
            length = Some(bytes);
        }
    }
    Ok(length.map_or(Length::Unknown, Length::Known))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    /// What nginx 1.22 answered, shortened; then the same in chunks.
    const ANSWERS: &[u8] =
        b"HTTP/1.1 404 Not Found\r\nServer: nginx/1.22.1\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nno\n\
HTTP/1.1 100 Continue\r\n\r\n\
HTTP/1.1 200 OK\r\ncontent-length:  5 \r\n\r\nGabcd\
HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n\
HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nGef\r\n0a\r\n0123456789\r\n0\r\nX: y\r\n\r\n\
HTTP/1.1 200 OK\r\n\r\nto the end";

    /// Status and body of each response; the last may have no end.
    fn bodies(pieces: &[&[u8]]) -> Result<Vec<(u16, String, bool)>, HttpError> {
        let (mut reader, mut read, mut at) = (Responses::new(), Vec::new(), 0u64);
        let whole: Vec<u8> = pieces.concat();
        for piece in pieces {
            reader.push(piece, |piece| match piece {
                Piece::Head(status) => read.push((status, String::new(), false)),
                Piece::Body(bytes, offset) => {
                    assert_eq!(&whole[offset as usize..][..bytes.len()], bytes, "they lie where it says");
                    read.last_mut().unwrap().1.push_str(std::str::from_utf8(bytes).unwrap());
                }
                Piece::Missing(_) => panic!("nothing is missing"),
                Piece::End => read.last_mut().unwrap().2 = true,
            })?;
            at += piece.len() as u64;
            assert!(reader.oldest() <= at);
        }
        Ok(read)
    }

    fn expected() -> Vec<(u16, String, bool)> {
        let all = [
            (404, "no\n", true),
            (200, "Gabcd", true),
            (304, "", true),
            (200, "Gef0123456789", true),
            (200, "to the end", false),
        ];
        all.map(|(status, body, ended)| (status, body.to_owned(), ended)).to_vec()
    }

    #[test]
    fn bodies_by_length_in_chunks_and_to_the_end() {
        assert_eq!(bodies(&[ANSWERS]).unwrap(), expected());
        let bytes: Vec<&[u8]> = ANSWERS.chunks(1).collect();
        assert_eq!(bodies(&bytes).unwrap(), expected());
    }

    #[test]
    fn cut_at_every_byte_it_says_no_more_than_there_was() {
        for end in 0..ANSWERS.len() {
            let (cut, rest) = ANSWERS.split_at(end);
            let read = bodies(&[cut]).unwrap();
            let (last, before) =
                read.split_last().map_or((None, [].as_slice()), |(last, before)| (Some(last), before));
            assert_eq!(before, &expected()[..before.len()]);
            assert!(last.is_none_or(|last| expected()[before.len()].1.starts_with(&last.1)), "{end}");
            assert_eq!(bodies(&[cut, rest]).unwrap(), expected(), "{end}");
        }
    }

    #[test]
    fn what_is_missing_from_a_body_is_told_and_the_rest_read() {
        let mut reader = Responses::new();
        let mut told = Vec::new();
        let mut tell = |piece: Piece<'_>| told.push(format!("{piece:?}"));
        reader.push(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n012", &mut tell).unwrap();
        reader.hole(4, &mut tell).unwrap();
        reader.push(b"789HTTP/1.1 204 No Content\r\n\r\n", &mut tell).unwrap();
        assert_eq!(
            told,
            [
                "Head(200)",
                "Body([48, 49, 50], 39)",
                "Missing(4)",
                "Body([55, 56, 57], 46)",
                "End",
                "Head(204)",
                "End"
            ]
        );
        let error = reader.hole(1, |_| panic!("nothing can be said of that")).unwrap_err();
        assert_eq!(error.problem, Problem::Hole(1));
        assert_eq!(reader.push(b"HTTP/1.1 200 OK\r\n\r\n", |_| panic!("it has ended")).unwrap_err(), error);
    }

    #[test]
    fn refusals() {
        for (bytes, problem) in [
            (b"SSH-2.0-OpenSSH\r\n".as_slice(), Problem::FirstLine),
            (b"HTTP/1.1 OK\r\nX: y\r\n\r\n", Problem::FirstLine),
            (b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n", Problem::Length),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", Problem::Length),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", Problem::Chunk),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc", Problem::Chunk),
        ] {
            let error = bodies(&[bytes]).unwrap_err();
            assert_eq!(error.problem, problem, "{}", String::from_utf8_lossy(bytes));
        }
        let endless = [b"HTTP/1.1 200 OK\r\nX: ".as_slice(), &vec![b'y'; MAX_HEAD]].concat();
        assert_eq!(bodies(&[&endless]).unwrap_err().problem, Problem::LongHead);
        let error = Requests::new().push(b"GET /\r\n\r\n", |_| panic!("no request")).unwrap_err();
        assert_eq!(error.problem, Problem::FirstLine);
    }

    #[test]
    fn targets_of_requests() {
        let requests = b"GET /hls/hb.m3u8 HTTP/1.1\r\nHost: 10.0.0.2\r\n\r\nPOST /x HTTP/1.1\r\nContent-Length: 4\r\n\r\nGET GET /hls/h-b-12.ts?a=b HTTP/1.1\r\n\r\n";
        for size in [1, 7, requests.len()] {
            let (mut reader, mut targets) = (Requests::new(), Vec::new());
            for piece in requests.chunks(size) {
                reader.push(piece, |target| targets.push(target.to_owned())).unwrap();
            }
            assert_eq!(targets, ["/hls/hb.m3u8", "/x", "/hls/h-b-12.ts?a=b"]);
        }
        assert_eq!(file_of_stream("/hls/hb.m3u8"), Some(("hls", "hb", None)));
        assert_eq!(file_of_stream("/hls/h-b-12.ts?a=b"), Some(("hls", "h-b", Some(12))));
        for target in ["/hls/hb", "/hb.m3u8", "hls/hb.m3u8", "/hls/hb-x.ts", "/hls/7.ts"] {
            assert_eq!(file_of_stream(target), None, "{target}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces(bytes: Vec<u8>, at in 0usize..400, size in 1usize..50) {
            let mut stream = ANSWERS.to_vec();
            stream.splice(at.min(stream.len()).., bytes);
            let (mut reader, mut pieces) = (Responses::new(), 0);
            for piece in stream.chunks(size) {
                let _ = reader.push(piece, |_| pieces += 1);
                let _ = Requests::new().push(piece, |_| ());
            }
            let _ = reader.hole(at as u64, |_| ());
        }
    }
}

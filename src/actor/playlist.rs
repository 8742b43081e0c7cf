//! The playlist of a stream in segments (HLS): its beginning, for players that would not wait for it, and its end,
//! which nginx-rtmp never writes.
//!
//! Found by trying (nginx-rtmp 1.2.2, ffmpeg 5.1, mpv 0.35):
//! - A playlist is there as soon as the first segment is whole. A player that asks before gets a 404 and gives up. So livectl asks first, as the script of a
//!   web page would, four times a second and over the network, and becomes the player when it is there. That wait belongs to what the viewer waits for.
//! - nginx-rtmp ends its last segment when the broadcaster goes, and leaves the playlist as if there were more to come: a player asks for ever.
//!   It runs a program when a publish is over (`exec_publish_done`); livectl's writes the line that says so (RFC 8216, 4.3.3.4).

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddrV4, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What says that nothing comes after the last segment of a playlist.
pub const END: &str = "#EXT-X-ENDLIST";

/// From one question to the next.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// For an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// For nginx to have written the last segment into the playlist: it does so before anything else.
const WRITTEN: Duration = Duration::from_secs(10);
/// How often that is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The status line of an answer.
const STATUS_LINE: usize = 12;

/// Flags of `livectl internal await-playlist`.
#[derive(Debug, Clone, clap::Args)]
pub struct AwaitArgs {
    /// Address and port of the server.
    #[arg(long, value_name = "IP:PORT")]
    pub server: SocketAddrV4,
    /// Path of the playlist there
    #[arg(long)]
    pub path: String,
    /// Seconds after which it is given up
    #[arg(long)]
    pub patience: u64,
    /// The player and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Flags of `livectl internal end-playlist`.
#[derive(Debug, Clone, clap::Args)]
pub struct EndArgs {
    /// The playlist
    pub playlist: PathBuf,
}

/// A playlist that does not come, or cannot be ended.
#[derive(Debug, thiserror::Error)]
pub enum PlaylistError {
    /// It was not there in time.
    #[error("no playlist {path} at {server} within {patience} s: {last}")]
    NotThere {
        /// Address and port of the server.
        server: SocketAddrV4,
        /// The playlist.
        path: String,
        /// Seconds to wait.
        patience: u64,
        /// What came of the last question.
        last: String,
    },
    /// The player cannot be executed.
    #[error("cannot run `{program}`: {source}; is it installed? See `livectl doctor`")]
    Execute {
        /// What was to be run.
        program: String,
        /// The underlying I/O error.
        source: io::Error,
    },
    /// A file cannot be read or written.
    #[error("cannot {doing} {}: {source}", path.display())]
    File {
        /// The failed operation: `read`, `write`, ….
        doing: &'static str,
        /// Path of the file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Waits for the playlist and becomes the player, in the same process. Returns only if that fails.
#[must_use]
pub fn execute(args: &AwaitArgs) -> PlaylistError {
    let began = Instant::now();
    let patience = Duration::from_secs(args.patience);
    let mut asked = 0u32;
    loop {
        let next = Instant::now() + ASK_EVERY;
        asked += 1;
        let last = match ask(args.server, &args.path) {
            Ok(200) => break,
            Ok(status) => format!("the server answers {status}"),
            Err(error) => error.to_string(),
        };
        if began.elapsed() >= patience {
            let (server, path) = (args.server, args.path.clone());
            return PlaylistError::NotThere { server, path, patience: args.patience, last };
        }
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    // An event; what stands on the output of a player that has none is in its log.
    let after_ms = began.elapsed().as_millis();
    let told = serde_json::json!({ "event": "playlist", "after_ms": after_ms, "asked": asked });
    let mut out = io::stdout();
    // Whoever does not listen has nothing to do with the stream.
    let _ = writeln!(out, "{told}").and_then(|()| out.flush());
    // The command line has at least one word.
    let (program, rest) = args.command.split_first().map_or(("", [].as_slice()), |(first, rest)| (first, rest));
    let source = std::process::Command::new(program).args(rest).exec();
    PlaylistError::Execute { program: program.to_owned(), source }
}

/// Asks for a file and says with which status the server answers.
fn ask(server: SocketAddrV4, path: &str) -> io::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&server.into(), ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    let host = server.ip();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: livectl\r\nConnection: close\r\n\r\n");
    // In one piece: a server may answer and close as soon as it has read some of it.
    stream.write_all(request.as_bytes())?;
    let mut line = [0; STATUS_LINE];
    stream.read_exact(&mut line)?;
    // To its end: a connection closed with bytes unread is reset.
    io::copy(&mut stream, &mut io::sink())?;
    let status = std::str::from_utf8(&line).ok().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.parse().ok());
    status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP/1.1"))
}

/// Writes the end of a playlist, once its last segment is in it.
///
/// # Errors
/// When it cannot be read or written.
pub fn end(args: &EndArgs) -> Result<(), PlaylistError> {
    let failed = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| PlaylistError::File { doing, path, source }
    };
    let by = Instant::now() + WRITTEN;
    let text = loop {
        let text = std::fs::read_to_string(&args.playlist).map_err(failed("read", &args.playlist))?;
        let last = last_segment(&args.playlist).map_err(failed("read", &args.playlist))?;
        if last.is_none_or(|last| text.lines().any(|line| line == last)) || Instant::now() >= by {
            break text;
        }
        std::thread::sleep(LOOK_EVERY);
    };
    // At once: a player reads it while it is written.
    let new = args.playlist.with_extension("m3u8.end");
    std::fs::write(&new, format!("{}\n{END}\n", text.trim_end())).map_err(failed("write", &new))?;
    std::fs::rename(&new, &args.playlist).map_err(failed("write", &args.playlist))
}

/// The file of the segment that was made last: `hb-17.ts` beside `hb.m3u8`.
fn last_segment(playlist: &Path) -> io::Result<Option<String>> {
    let (Some(folder), Some(stem)) = (playlist.parent(), playlist.file_stem().and_then(|stem| stem.to_str())) else {
        return Ok(None);
    };
    let mut last: Option<u64> = None;
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(stem)?.strip_prefix('-')?.strip_suffix(".ts"));
        last = last.max(number.and_then(|number| number.parse().ok()));
    }
    Ok(last.map(|number| format!("{stem}-{number}.ts")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_end_comes_after_the_last_segment() {
        let folder = tempfile::tempdir().unwrap();
        let playlist = folder.path().join("hb.m3u8");
        for name in ["hb-8.ts", "hb-9.ts", "hb-10.ts", "hb1-99.ts"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let before = "#EXTM3U\n#EXTINF:2.000,\nhb-9.ts\n";
        std::fs::write(&playlist, before).unwrap();
        let ending = {
            let args = EndArgs { playlist: playlist.clone() };
            std::thread::spawn(move || end(&args))
        };
        // It is not ended before nginx has written it.
        let whole = format!("{before}#EXTINF:1.000,\nhb-10.ts\n");
        let new = folder.path().join("new");
        std::fs::write(&new, &whole).unwrap();
        std::fs::rename(&new, &playlist).unwrap();
        ending.join().unwrap().unwrap();
        assert_eq!(std::fs::read_to_string(&playlist).unwrap(), format!("{whole}#EXT-X-ENDLIST\n"));
        let error = end(&EndArgs { playlist: folder.path().join("none.m3u8") }).unwrap_err().to_string();
        assert!(error.starts_with("cannot read ") && error.contains("none.m3u8"), "{error}");
    }

    #[test]
    fn a_server_is_asked_until_patience_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let std::net::SocketAddr::V4(server) = listener.local_addr().unwrap() else { panic!("an IPv4 address") };
        let answering = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let read = client.read(&mut request).unwrap();
            client.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n").unwrap();
            String::from_utf8(request[..read].to_vec()).unwrap()
        });
        let args = AwaitArgs { server, path: "/hls/hb.m3u8".into(), patience: 0, command: vec!["false".into()] };
        let error = execute(&args).to_string();
        assert!(error.ends_with(" within 0 s: the server answers 404"), "{error}");
        assert!(answering.join().unwrap().starts_with("GET /hls/hb.m3u8 HTTP/1.1\r\nHost: 127.0.0.1\r\n"));
    }
}

//! Prints the frames of an FLV file, or of every stream in a packet capture (pcap, pcapng). It uses `livectl-wire` and nothing else.
//!
//! ```text
//! cargo run --release -p livectl-wire --features capture --example frames -- clip.flv
//! cargo run --release -p livectl-wire --features capture --example frames -- capture.pcap
//! ```

use std::error::Error;
use std::fs::File;
use std::io::Read as _;

use livectl_wire::flows;
use livectl_wire::flv::{Content, Reader};
use livectl_wire::frame::FrameId;

/// No frame is longer; a file that says otherwise is damaged.
const LONGEST_FRAME: usize = 16 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("which FLV file, or which capture?")?;
    let mut file = File::open(path)?;
    let mut begins = Vec::new();
    (&mut file).take(3).read_to_end(&mut begins)?;
    let is_flv = begins == b"FLV";
    let whole = begins.as_slice().chain(file);
    let mut out = std::io::stdout().lock();
    if is_flv { frames_of_file(whole, &mut out) } else { frames_of_capture(whole, &mut out) }
}

/// Time stamp in milliseconds, bytes, whether it is a keyframe, identity: a line for each frame.
fn frames_of_file(source: impl std::io::Read, out: &mut impl std::io::Write) -> Result<(), Box<dyn Error>> {
    let mut reader = Reader::new(LONGEST_FRAME);
    let mut written = Ok(());
    reader.read_all(source, |tag| {
        if let (Content::Picture { keyframe }, Ok(())) = (tag.content(), &written) {
            let key = if keyframe { "key" } else { "-" };
            written = writeln!(out, "{} {} {key} {}", tag.timestamp, tag.payload.len(), FrameId::of(tag.payload));
        }
    })??;
    Ok(written?)
}

/// The same for each connection that carries a stream, with the time at which the frame was whole, in nanoseconds since 1970.
fn frames_of_capture(source: impl std::io::Read, out: &mut impl std::io::Write) -> Result<(), Box<dyn Error>> {
    let (flows, facts) = flows::read(source)?;
    for flow in flows.iter().filter(|flow| !flow.frames.is_empty()) {
        let stream = flow.stream.as_ref().map_or("a stream".to_owned(), ToString::to_string);
        writeln!(out, "{stream} from {} to {}, {} frames damaged", flow.from, flow.to, flow.damaged)?;
        for frame in &flow.frames {
            let key = if frame.keyframe { "key" } else { "-" };
            writeln!(out, "  {} {} {} {key} {}", frame.time_ns, frame.timestamp_ms, frame.size, frame.id)?;
        }
    }
    for problem in facts.problems.iter().chain(flows.iter().flat_map(|flow| &flow.problems)) {
        eprintln!("{problem}");
    }
    Ok(())
}

//! The encoder's stream, read and stamped by a thread that does nothing else.
//!
//! A birth is the moment at which the encoder has handed over a frame's last byte. A thread that must wait for its turn stamps it too late,
//! and every delay of that frame comes out too small. This one therefore runs before all ordinary threads, if the kernel
//! grants it, and only reads, looks at the clock and passes on.

use std::io::{self, ErrorKind, Read};
use std::thread;

use tokio::sync::mpsc;

use super::event::now_ns;
use crate::realtime;

/// Bytes taken from the encoder at once.
const READ_SIZE: usize = 256 << 10;

/// Some bytes of the encoder's stream.
#[derive(Debug)]
pub struct Piece {
    /// In the stream's order.
    pub bytes: Vec<u8>,
    /// Right after they were read, in nanoseconds of CLOCK_REALTIME.
    pub read_ns: i64,
}

/// What comes from the encoder: pieces, perhaps an error, then the end. The queue has no limit, as the encoder must never wait for whoever
/// takes from it; it makes video at the pace of real time.
pub type Encoder = mpsc::UnboundedReceiver<io::Result<Piece>>;

/// Begins to read. The thread ends with the input, or when nobody takes from it any more.
///
/// # Errors
/// The thread cannot be started. What goes wrong while reading comes out of the queue.
pub fn read(input: impl Read + Send + 'static) -> io::Result<Encoder> {
    let (sender, encoder) = mpsc::unbounded_channel();
    thread::Builder::new().name("births".into()).spawn(move || {
        // Without real-time scheduling births are as exact as the machine is idle.
        let _ = realtime::prefer_this_thread();
        pass_on(input, &sender);
    })?;
    Ok(encoder)
}

fn pass_on(mut input: impl Read, to: &mpsc::UnboundedSender<io::Result<Piece>>) {
    let mut buffer = vec![0; READ_SIZE];
    loop {
        let result = match input.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                let read_ns = now_ns();
                Ok(Piece { bytes: buffer.get(..count).unwrap_or_default().to_vec(), read_ns })
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let last = result.is_err();
        if to.send(result).is_err() || last {
            return;
        }
    }
}

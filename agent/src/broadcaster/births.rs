//! A program's bytes, read and stamped by a thread that does nothing else.
//!
//! A birth is the moment at which the program has handed over a frame's last byte. A thread that must wait for its
//! turn stamps it too late, and every delay of that frame comes out too small. This one therefore runs before all
//! ordinary threads, if the kernel grants it, and only reads, looks at the clock and passes on.

use std::io::{self, ErrorKind, Read as _};
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::thread;

use tokio::sync::mpsc;

use super::buffer::UploadBuffer;
use crate::realtime::{self, Priority};
use crate::tell::now_ns;

/// Bytes taken from the program at once.
const READ_SIZE: usize = 256 << 10;

/// Some bytes of the program's.
#[derive(Debug)]
pub(super) struct Piece {
    /// In their order.
    pub(super) bytes: Vec<u8>,
    /// Right after they were read, in nanoseconds of CLOCK_REALTIME.
    pub(super) read_ns: i64,
}

/// What comes from the program: pieces, perhaps an error, then the end. The queue is bounded by the upload buffer.
pub(super) type Pieces = mpsc::UnboundedReceiver<io::Result<Piece>>;

/// Begins to read `program`, which may be set not to block. The thread ends with the program's bytes, when the buffer
/// is closed, or when nobody takes from the queue any more.
///
/// # Errors
/// The thread cannot be started. What goes wrong while reading comes out of the queue.
pub(super) fn read(program: TcpStream, buffer: Arc<UploadBuffer>) -> io::Result<Pieces> {
    let (sender, pieces) = mpsc::unbounded_channel();
    thread::Builder::new().name("births".into()).spawn(move || {
        // Without real-time scheduling births are as exact as the machine is idle.
        realtime::prefer_this_thread(Priority::Births);
        pass_on(program, &buffer, &sender);
    })?;
    Ok(pieces)
}

fn pass_on(mut program: TcpStream, upload: &UploadBuffer, to: &mpsc::UnboundedSender<io::Result<Piece>>) {
    let mut buffer = vec![0; READ_SIZE];
    while let Some(room) = upload.room() {
        let part = buffer.get_mut(..room.clamp(1, READ_SIZE)).unwrap_or_default();
        let result = match program.read(part) {
            Ok(0) => return,
            Ok(count) => {
                let read_ns = now_ns();
                upload.read(count);
                Ok(Piece { bytes: part.get(..count).unwrap_or_default().to_vec(), read_ns })
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                wait_readable(&program);
                continue;
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

/// Whatever makes it return: the next read tells.
fn wait_readable(program: &TcpStream) {
    let mut polled = libc::pollfd { fd: program.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one descriptor, which is open and outlives the call.
    unsafe { libc::poll(&raw mut polled, 1, -1) };
}

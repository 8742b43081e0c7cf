//! A way through the network that can be slow, silent or broken.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Passes connections on to `to`.
pub struct Relay {
    pub address: SocketAddrV4,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    open: Mutex<Vec<TcpStream>>,
    refuses: AtomicBool,
    stalls: AtomicBool,
    /// Bytes a second that pass; 0: as many as come.
    pace: AtomicU32,
}

impl Relay {
    /// What comes back from `to` takes `delay`.
    pub fn new(to: SocketAddrV4, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.8:0").unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else { unreachable!() };
        let state = Arc::new(State::default());
        std::thread::spawn({
            let state = Arc::clone(&state);
            move || {
                for near in listener.incoming().map_while(Result::ok) {
                    if state.refuses.load(Ordering::SeqCst) {
                        continue;
                    }
                    let Ok(far) = TcpStream::connect(to) else { continue };
                    state.open.lock().unwrap().extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
                    let (near_reads, far_writes) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                    let (a, b) = (Arc::clone(&state), Arc::clone(&state));
                    std::thread::spawn(move || pass(near_reads, far_writes, Duration::ZERO, &a));
                    std::thread::spawn(move || pass(far, near, delay, &b));
                }
            }
        });
        Self { address, state }
    }

    /// Cuts every connection; new ones are accepted.
    pub fn cut(&self) {
        for connection in self.state.open.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// New connections are closed at once from now on, or not.
    pub fn refuse(&self, refuse: bool) {
        self.state.refuses.store(refuse, Ordering::SeqCst);
    }

    /// So many bytes a second pass from now on, however many wait.
    pub fn slow_down(&self, bytes_per_s: u32) {
        self.state.pace.store(bytes_per_s, Ordering::SeqCst);
    }

    /// Nothing passes from now on, or it does again.
    pub fn stall(&self, stall: bool) {
        self.state.stalls.store(stall, Ordering::SeqCst);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, delay: Duration, state: &Arc<State>) {
    let (sender, waiting) = std::sync::mpsc::sync_channel::<(Instant, Vec<u8>)>(1 << 16);
    let held = Arc::clone(state);
    std::thread::spawn(move || {
        for (due, bytes) in waiting {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            held.wait_while_stalled();
            // In pieces, so that a slow way is not a silent one.
            for piece in bytes.chunks(500) {
                let pace = held.pace.load(Ordering::SeqCst);
                if pace > 0 {
                    std::thread::sleep(Duration::from_secs_f64(piece.len() as f64 / f64::from(pace)));
                }
                if to.write_all(piece).is_err() {
                    return;
                }
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if sender.send((Instant::now() + delay, buffer[..count].to_vec())).is_err() {
            return;
        }
        state.wait_while_stalled();
    }
}

impl State {
    fn wait_while_stalled(&self) {
        while self.stalls.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

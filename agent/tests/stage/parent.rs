//! Who gives the stream, played by the test: to the byte what it says, and when.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use livectl_wire::flv::{self, TagKind};
use livectl_wire::frame::FrameId;
use livectl_wire::peer::{Gap, Request, Since};

use super::wait_for;

/// What a tag carries that tells that the stream has ended.
pub const END_OF_STREAM: &[u8] = b"\x02\x00\x0bonStreamEnd\x05";

/// A tag of the stream.
#[derive(Clone)]
pub struct Tag {
    pub timestamp: u32,
    pub id: FrameId,
    /// All of it, as it is sent.
    pub bytes: Vec<u8>,
}

#[derive(Clone)]
pub struct Parent {
    pub address: SocketAddrV4,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// All that was given whole.
    given: Vec<Tag>,
    children: Vec<Child>,
}

/// Its connection, and what waits for it.
struct Child {
    connection: TcpStream,
    to: Sender<Vec<u8>>,
}

impl Tag {
    /// A picture whose payload has so many bytes, unlike those of all others.
    pub fn picture(timestamp: u32, keyframe: bool, size: usize) -> Self {
        let mut state = timestamp | 1;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        // Sorenson H.263.
        let payload: Vec<u8> = std::iter::once(if keyframe { 0x12 } else { 0x22 }).chain(noise).take(size).collect();
        let mut bytes = Vec::new();
        flv::tag(TagKind::Video, timestamp, &payload, &mut bytes).unwrap();
        Self { timestamp, id: FrameId::of(&payload), bytes }
    }

    /// What tells that the stream has ended.
    pub fn end(timestamp: u32) -> Self {
        let payload = END_OF_STREAM;
        let mut bytes = Vec::new();
        flv::tag(TagKind::Script, timestamp, payload, &mut bytes).unwrap();
        Self { timestamp, id: FrameId::of(payload), bytes }
    }

    /// As a player's dump has it.
    pub fn element(&self) -> (TagKind, u32, FrameId) {
        (TagKind::Video, self.timestamp, self.id)
    }
}

impl Parent {
    /// Listens there, in the network of the thread that calls it.
    pub fn at(ip: &str, port: u16) -> Self {
        let listener = TcpListener::bind((ip, port)).unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else { unreachable!() };
        let state = Arc::<Mutex<State>>::default();
        std::thread::spawn({
            let state = Arc::clone(&state);
            move || {
                for child in listener.incoming().map_while(Result::ok) {
                    let state = Arc::clone(&state);
                    // One that stands by asks later.
                    std::thread::spawn(move || serve(child, &state));
                }
            }
        });
        Self { address, state }
    }

    /// Waits until so many were answered.
    pub fn has(&self, children: usize) {
        wait_for("children", || self.state.lock().unwrap().children.len() >= children);
    }

    /// Gives everyone a tag, and those who ask later.
    pub fn give(&self, tag: &Tag) {
        self.give_rest(tag, 0);
    }

    /// Gives everyone the first bytes of a tag, which nobody gets who asks later.
    pub fn begin(&self, tag: &Tag, bytes: usize) {
        self.tell(&tag.bytes[..bytes]);
    }

    /// Gives everyone what is left of a tag, and all of it to those who ask later.
    pub fn give_rest(&self, tag: &Tag, from: usize) {
        self.tell(&tag.bytes[from..]);
        self.state.lock().unwrap().given.push(tag.clone());
    }

    fn tell(&self, bytes: &[u8]) {
        for child in &self.state.lock().unwrap().children {
            // It may be gone.
            let _ = child.to.send(bytes.to_vec());
        }
    }

    /// Is gone for everyone.
    pub fn leave(&self) {
        for child in self.state.lock().unwrap().children.drain(..) {
            let _ = child.connection.shutdown(Shutdown::Both);
        }
    }
}

fn serve(connection: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    connection.set_nodelay(true)?;
    let mut reads = connection.try_clone()?;
    let mut writes = connection.try_clone()?;
    let (mut received, mut buffer) = (Vec::new(), [0; 512]);
    let request = loop {
        if let Some((request, _)) = Request::parse(&received).expect("a request") {
            break request;
        }
        match reads.read(&mut buffer)? {
            0 => return Ok(()),
            count => received.extend_from_slice(&buffer[..count]),
        }
    };
    let (to, pieces) = channel::<Vec<u8>>();
    std::thread::spawn(move || {
        for piece in pieces {
            if writes.write_all(&piece).is_err() {
                return;
            }
        }
    });
    let mut state = state.lock().unwrap();
    let (start, at) = match request.since {
        Since::After { timestamp, id } => {
            let place = state.given.iter().position(|tag| tag.timestamp == timestamp && tag.id == id).unwrap();
            (place + 1, Some(timestamp))
        }
        Since::Keyframe | Since::Waiting(_) => (0, None),
    };
    let mut first = Gap { skipped: Some(0), lost: Some(0), at }.emit().into_bytes();
    first.extend(flv::header(false, true));
    state.given[start..].iter().for_each(|tag| first.extend(&tag.bytes));
    let _ = to.send(first);
    state.children.push(Child { connection, to });
    Ok(())
}

//! A notification service with a network that introduces whom it is told to.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use livectl_wire::heartbeat::{Heartbeat, Introduction, LEN, News, PeerRole};

use super::wait_for;

#[derive(Clone)]
pub struct Introducer {
    pub address: SocketAddrV4,
    agents: Arc<Mutex<Vec<TcpStream>>>,
    heard: Arc<Mutex<Vec<News>>>,
}

impl Introducer {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.9:0").unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else { unreachable!() };
        let (agents, heard) = (Arc::<Mutex<Vec<TcpStream>>>::default(), Arc::<Mutex<Vec<News>>>::default());
        std::thread::spawn({
            let (agents, heard) = (Arc::clone(&agents), Arc::clone(&heard));
            move || {
                for agent in listener.incoming().map_while(Result::ok) {
                    let mut reads = agent.try_clone().unwrap();
                    agents.lock().unwrap().push(agent);
                    let heard = Arc::clone(&heard);
                    std::thread::spawn(move || {
                        let mut bytes = [0; LEN];
                        while reads.read_exact(&mut bytes).is_ok() {
                            heard.lock().unwrap().push(Heartbeat::parse(&bytes).unwrap().news);
                        }
                    });
                }
            }
        });
        Self { address, agents, heard }
    }

    pub fn has(&self, agents: usize) {
        wait_for("agents", || self.agents.lock().unwrap().len() == agents);
    }

    /// All that agents have said.
    pub fn heard(&self) -> Vec<News> {
        self.heard.lock().unwrap().clone()
    }

    pub fn hastened(&self) -> bool {
        self.heard.lock().unwrap().contains(&News::Hasten)
    }

    /// Tells all agents, and waits until one has acknowledged it.
    pub fn introduce(&self, role: PeerRole, peer: SocketAddrV4) {
        let introduction = Introduction { role, peers: vec![peer], stream: "live/hb".parse().unwrap() };
        let bytes = Heartbeat { sequence: 7, news: News::Peer(introduction.clone()) }.emit();
        for agent in self.agents.lock().unwrap().iter_mut() {
            agent.write_all(&bytes).unwrap();
        }
        wait_for("an acknowledgement", || self.heard.lock().unwrap().contains(&News::Ack(introduction.clone())));
    }
}

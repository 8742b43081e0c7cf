//! The test program as livectl: actors run it with a variable that holds the command line, and the test `as_livectl` obeys.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use clap::Parser;
use livectl::actor::agent::broadcaster::{self, BroadcasterArgs};
use livectl::actor::agent::viewer::{self, ViewerArgs};
use livectl::actor::listen::{self, ListenArgs};
use livectl::actor::notify::{self, NotifyArgs};
use livectl::actor::process::Command;
use livectl_wire::heartbeat::{Heartbeat, Introduction, LEN, News, PeerRole};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const VARIABLE: &str = "LIVECTL_TEST_ARGS";

/// The command that runs the test program in place of livectl.
pub fn in_place_of(command: &Command) -> Command {
    let program = std::env::current_exe().unwrap().to_string_lossy().into_owned();
    Command::new(program, ["as_livectl", "--exact", "--nocapture"]).env(VARIABLE, command.args.join("\n"))
}

#[derive(Parser)]
enum Cli {
    #[command(subcommand)]
    Agent(Agent),
    #[command(subcommand)]
    Internal(Internal),
    /// Stands in for the service and the controller: introduces the two to each other.
    Introduce { listen: SocketAddrV4, broadcaster: Ipv4Addr, viewer: Ipv4Addr },
}

#[derive(clap::Subcommand)]
enum Agent {
    Broadcaster(BroadcasterArgs),
    Viewer(ViewerArgs),
}

#[derive(clap::Subcommand)]
enum Internal {
    Notify(NotifyArgs),
    Listen(ListenArgs),
}

pub fn run_if_asked() {
    let Ok(args) = std::env::var(VARIABLE) else { return };
    let cli = Cli::parse_from(std::iter::once("livectl").chain(args.split('\n')));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result = runtime.block_on(async {
        match cli {
            Cli::Agent(Agent::Broadcaster(args)) => broadcaster::run_on_stdin(&args).await.map_err(|e| e.to_string()),
            Cli::Agent(Agent::Viewer(args)) => viewer::run(&args).await.map_err(|e| e.to_string()),
            Cli::Internal(Internal::Listen(args)) => Err(listen::execute(&args).to_string()),
            Cli::Internal(Internal::Notify(args)) => {
                let listeners = notify::listen(&args.listen).await.unwrap();
                let interrupted = async { tokio::signal::ctrl_c().await.unwrap() };
                notify::serve(listeners, notify::INTERVAL, interrupted).await;
                Ok(())
            }
            Cli::Introduce { listen, broadcaster, viewer } => {
                introduce(listen, broadcaster, viewer).await;
                Ok(())
            }
        }
    });
    if let Err(error) = result {
        eprintln!("{error}");
        std::process::exit(1);
    }
    std::process::exit(0);
}

/// A heartbeat a second to each client; from the third on with its peer, until it has answered.
async fn introduce(listen: SocketAddrV4, broadcaster: Ipv4Addr, viewer: Ipv4Addr) {
    let listener = TcpListener::bind(listen).await.unwrap();
    loop {
        let (mut client, from) = listener.accept().await.unwrap();
        let (role, address) = if from.ip() == broadcaster {
            (PeerRole::Viewer, SocketAddrV4::new(viewer, 1))
        } else {
            (PeerRole::Broadcaster, SocketAddrV4::new(broadcaster, 2000))
        };
        let peer = Introduction { role, address, stream: "live/hb".parse().unwrap() };
        tokio::spawn(async move {
            let mut acknowledged = false;
            let mut bytes = [0; LEN];
            for sequence in 0.. {
                let news = if acknowledged || sequence < 2 { News::None } else { News::Peer(peer.clone()) };
                if client.write_all(&Heartbeat { sequence, news }.emit()).await.is_err() {
                    return;
                }
                if let Ok(Ok(_)) = tokio::time::timeout(Duration::from_secs(1), client.read_exact(&mut bytes)).await {
                    let answer = Heartbeat::parse(&bytes).unwrap();
                    assert_eq!(answer, Heartbeat { sequence, news: News::Ack(peer.clone()) });
                    acknowledged = true;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        });
    }
}

//! livectl's actors as real programs on a small real network: three hosts (network namespaces) around a bridge, links
//! shaped by tbf. Needs root and the packages that livectl needs.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "actor/accepted.rs"]
mod accepted;
#[path = "actor/network.rs"]
mod network;
#[path = "actor/stage.rs"]
mod stage;

use network::Network;
use stage::Stage;

const MBIT: u64 = 1_000_000;

fn network() -> Network {
    Network::new(&[("hb", 50 * MBIT), ("hs", 50 * MBIT), ("hv", 50 * MBIT)])
}

/// Encoder, agents, CDN and player as livectl runs them: nginx has taken over sockets that were made for it, what it
/// accepts from them is as the recipe says, and the player's dump holds every frame that was born, once and in order.
#[tokio::test]
async fn a_stream_through_the_cdn_whose_connections_have_nodelay_unless_it_is_switched_off() {
    let network = network();
    for nodelay in [true, false] {
        let mut stage = Stage::new(&network, nodelay);
        stage.start("hs/nginx").await;
        for agent in ["hb/agent", "hv/agent"] {
            stage.start(agent).await;
        }
        stage.start("hv/player").await;
        stage.cdn_has_logged("play: name='hb'").await;
        stage.start("hb/encoder").await;
        stage.cdn_has_logged("publish: name='hb'").await;
        let nginx = network.processes("hs", "nginx");
        assert_eq!(nginx.len(), 2, "a master and a worker");
        let connections: Vec<_> = nginx.iter().flat_map(|pid| accepted::connections(*pid, 1935)).collect();
        assert_eq!(connections.len(), 2, "{connections:?}");
        assert!(connections.iter().all(|connection| connection.nodelay == nodelay), "{connections:?}");
        assert!(stage.log("hs", "nginx").contains("using inherited sockets from"));

        for program in ["hb/encoder", "hb/agent", "hv/agent", "hv/player"] {
            let exit = stage.exit(program).await;
            assert!(exit.status.success(), "{program}: {exit}");
        }
        let births = stage.births();
        assert_eq!((births.frames.len(), births.problems.len()), (60, 0));
        let dump = stage.dump(&births);
        assert_eq!((dump.frames.len(), dump.foreign, dump.repeated, dump.disordered), (60, 0, 0, 0));
        assert_eq!(dump.problem, None);
        stage.stop().await;
        assert_eq!(network.processes("hs", ""), Vec::<u32>::new(), "neither master nor worker is left");
    }
}

/// A master replaces a worker that dies. The streams are gone all the same, so the trial must hear of it.
#[tokio::test]
async fn the_death_of_nginxs_worker_is_told() {
    let network = network();
    let mut stage = Stage::new(&network, true);
    stage.start("hs/nginx").await;
    assert_eq!(stage.running("hs/nginx").alarm(), None);
    let nginx = network.processes("hs", "nginx");
    // The master started first, and the worker is its child.
    let master = stage.running("hs/nginx").pid();
    let worker = nginx.into_iter().find(|pid| accepted::is_child_of(*pid, master)).unwrap();
    accepted::kill(worker);
    let alarm = stage.alarmed("hs/nginx").await;
    assert!(alarm.contains(&format!("worker process {worker} exited on signal 9")), "{alarm}");
    stage.stop().await;
    assert_eq!(network.processes("hs", ""), Vec::<u32>::new());
}

/// A port that is taken is told, with the address.
#[tokio::test]
async fn a_port_of_the_cdn_that_is_taken_is_told() {
    let network = network();
    let mut first = Stage::new(&network, true);
    first.start("hs/nginx").await;
    let error = Stage::new(&network, true).refused("hs/nginx").await;
    assert!(error.contains("ended before it was ready"), "{error}");
    assert!(error.contains("cannot listen on 10.0.0.2:1935: Address already in use"), "{error}");
    first.stop().await;
}

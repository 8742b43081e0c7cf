//! Broadcasters whose agents are there before their programs publish.

use super::relay::{carrying, plays, says, told, tree};
use super::*;
use crate::scheme::Relay;

/// Six hosts on one switch, the CDN the third; uplinks carry two copies. Nobody publishes.
fn quiet() -> Network {
    with(Introduce::new(Settings::default(), Ports::default(), Box::new(Relay::new(carrying([3, 2, 2, 2, 2, 2])))))
}

fn with(scheme: Introduce) -> Network {
    let mut net = Network::new(scheme, Version::V13);
    net.switch(1, 6);
    for (host, port) in (1..=6).map(|n| (format!("10.0.0.{n}"), n)) {
        net.host(&host, 1, port);
    }
    net.everyone_is_known();
    net
}

fn announces(net: &mut Network, talk: &mut TcpTalk) {
    says(net, talk, heartbeat::News::Announce("live/hb".parse().unwrap()));
}

fn count(net: &Network, wanted: impl Fn(&News) -> bool) -> usize {
    net.news.iter().filter(|news| wanted(news)).count()
}

#[test]
fn the_tree_stands_before_the_stream_begins_and_nobody_moves_when_it_does() {
    let mut net = quiet();
    let mut at_broadcaster = agent(&mut net, "10.0.0.1");
    let mut agents = ["10.0.0.2", "10.0.0.4", "10.0.0.5"].map(|host| agent(&mut net, host));
    // Each second, as long as nothing is published.
    for _ in 0..3 {
        announces(&mut net, &mut at_broadcaster);
    }
    assert_eq!(count(&net, |news| matches!(news, News::Announced { .. })), 1);
    for host in [2, 4, 5] {
        plays(&mut net, host);
    }
    assert_eq!(
        tree(&mut net),
        ["10.0.0.2 10.0.0.1 - joined", "10.0.0.4 10.0.0.1 10.0.0.2 joined", "10.0.0.5 10.0.0.2 10.0.0.4 joined"]
    );
    assert_eq!(told(&mut net, &mut agents[0])[0], "peer parent 10.0.0.1:2000 live/hb");
    assert_eq!(told(&mut net, &mut agents[1])[0], "peer parent 10.0.0.1:2000 live/hb");
    let children = told(&mut net, &mut at_broadcaster);
    assert_eq!(children, ["peer child 10.0.0.2:2000,10.0.0.4:2000 live/hb"]);
    // One of them has not been told of its parent yet. It is, and nobody is told anything twice.
    rtmp(&mut net, "10.0.0.1:5000", publish("hb"));
    assert_eq!(count(&net, |news| matches!(news, News::Broadcaster(_))), 1);
    assert_eq!(count(&net, |news| matches!(news, News::Left { .. })), 0);
    assert_eq!(tree(&mut net), [""; 0]);
    assert_eq!(told(&mut net, &mut at_broadcaster), [""; 0]);
    assert_eq!(told(&mut net, &mut agents[0]), [""; 0]);
    assert_eq!(told(&mut net, &mut agents[1]), [""; 0]);
    assert_eq!(told(&mut net, &mut agents[2])[0], "peer parent 10.0.0.2:2000 live/hb");
    // What is said late, or the end of the connection, means nothing for one who publishes.
    announces(&mut net, &mut at_broadcaster);
    let frames = at_broadcaster.close(Client);
    unchanged(&mut net, frames);
    net.wait(10);
    assert_eq!(tree(&mut net), [""; 0]);
    assert_eq!(alone(&net), []);
}

#[test]
fn who_is_told_of_it_before_it_publishes_acts_on_it_afterwards() {
    let mut net = quiet();
    let mut at_broadcaster = agent(&mut net, "10.0.0.1");
    let mut at_viewer = agent(&mut net, "10.0.0.2");
    announces(&mut net, &mut at_broadcaster);
    plays(&mut net, 2);
    let parent = beat(&mut net, &mut at_viewer, 1);
    let child = beat(&mut net, &mut at_broadcaster, 1);
    rtmp(&mut net, "10.0.0.1:5000", publish("hb"));
    acknowledge(&mut net, &mut at_viewer, &parent);
    acknowledge(&mut net, &mut at_broadcaster, &child);
    assert_eq!(told(&mut net, &mut at_viewer), [""; 0]);
    assert_eq!(told(&mut net, &mut at_broadcaster), [""; 0]);
}

#[test]
fn an_announcement_ends_with_its_connection_and_is_made_again_on_the_next() {
    let mut net = quiet();
    let mut at_broadcaster = agent(&mut net, "10.0.0.1");
    announces(&mut net, &mut at_broadcaster);
    plays(&mut net, 2);
    tree(&mut net);
    // Another connection before the end of the first is known.
    let mut again = TcpTalk::between("10.0.0.1:6001", &format!("{CDN}:42857"));
    let frames = again.open();
    unchanged(&mut net, frames);
    announces(&mut net, &mut again);
    assert_eq!(tree(&mut net), [""; 0]);
    let frames = at_broadcaster.close(Client);
    unchanged(&mut net, frames);
    assert_eq!(count(&net, |news| matches!(news, News::Left { .. })), 0);
    let frames = again.close(Client);
    unchanged(&mut net, frames);
    assert_eq!(count(&net, |news| matches!(news, News::Left { role: "broadcaster", why: "closed", .. })), 1);
    net.news.clear();
    // Somebody else may publish it then, and takes the viewer in.
    rtmp(&mut net, "10.0.0.4:5000", publish("hb"));
    assert_eq!(tree(&mut net), ["10.0.0.2 10.0.0.4 - moved"]);
}

#[test]
fn who_publishes_is_more_than_who_says_that_it_will() {
    let mut net = quiet();
    let mut at_liar = agent(&mut net, "10.0.0.4");
    announces(&mut net, &mut at_liar);
    plays(&mut net, 2);
    assert_eq!(tree(&mut net), ["10.0.0.2 10.0.0.4 - joined"]);
    rtmp(&mut net, "10.0.0.1:5000", publish("hb"));
    assert_eq!(tree(&mut net).last().unwrap(), "10.0.0.2 10.0.0.1 - moved");
    announces(&mut net, &mut at_liar);
    assert_eq!(tree(&mut net), [""; 0]);
    assert_eq!(count(&net, |news| matches!(news, News::Announced { .. })), 0, "after the first");
}

#[test]
fn an_agent_that_is_silent_is_forgotten_and_one_that_answers_is_not() {
    let mut net = quiet();
    let mut at_broadcaster = agent(&mut net, "10.0.0.1");
    announces(&mut net, &mut at_broadcaster);
    // The switch comes again: nobody knows who is still there, but this one goes on.
    net.disconnect(1);
    net.connect(1);
    net.everyone_is_known();
    for _ in 0..20 {
        net.wait(10);
        announces(&mut net, &mut at_broadcaster);
    }
    assert_eq!(count(&net, |news| matches!(news, News::Left { .. })), 0);
    net.wait(400);
    assert_eq!(count(&net, |news| matches!(news, News::Left { role: "broadcaster", .. })), 1);
}

#[test]
fn bypass_introduces_those_who_publish() {
    let mut net = with(bypass());
    let mut at_broadcaster = agent(&mut net, "10.0.0.1");
    announces(&mut net, &mut at_broadcaster);
    plays(&mut net, 2);
    assert_eq!(beat(&mut net, &mut at_broadcaster, 1), "-");
    assert_eq!(count(&net, |news| matches!(news, News::Announced { .. })), 0);
    rtmp(&mut net, "10.0.0.1:5000", publish("hb"));
    assert_eq!(beat(&mut net, &mut at_broadcaster, 2), "peer child 10.0.0.2:2000 live/hb");
}

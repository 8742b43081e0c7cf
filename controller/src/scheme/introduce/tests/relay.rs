//! Viewers that pass a stream on to each other.

use super::*;
use crate::network::Network as Known;
use crate::scheme::Relay;

/// Everybody's uplink carries so many copies of the stream, the broadcaster's beside the one for the CDN; those of
/// the last two carry nothing.
fn known(copies: u32) -> Known {
    carrying([copies + 1, copies, copies, copies, 0, 0])
}

/// The uplinks of all hosts carry so many copies of the stream.
pub(super) fn carrying(copies: [u32; 6]) -> Known {
    let host = |(n, copies): (u8, u32)| {
        let up = f64::from(copies) * 530_000.0 / 0.9;
        format!(r#""10.0.0.{n}": {{ "switch": "s1", "delay_us": 2000, "up_bit_per_s": {} }}"#, up.ceil())
    };
    let hosts: Vec<String> = (1..).zip(copies).map(host).collect();
    let map = format!(
        r#"{{ "hosts": {{ {} }}, "streams": {{ "live/hb": {{ "bit_per_s": 500000, "frames_per_s": 30 }} }} }}"#,
        hosts.join(",")
    );
    Known::of(&serde_json::from_str(&map).unwrap()).unwrap()
}

/// Six hosts on one switch, the CDN the third; the broadcaster publishes.
fn crowd(policy: Box<dyn Policy>) -> Network {
    let mut net = Network::new(Introduce::new(Settings::default(), Ports::default(), policy), Version::V13);
    net.switch(1, 6);
    for (host, port) in (1..=6).map(|n| (format!("10.0.0.{n}"), n)) {
        net.host(&host, 1, port);
    }
    net.everyone_is_known();
    rtmp(&mut net, "10.0.0.1:5000", publish("hb"));
    net
}

fn relay(copies: u32) -> Network {
    crowd(Box::new(Relay::new(known(copies))))
}

pub(super) fn plays(net: &mut Network, host: u8) -> TcpTalk {
    rtmp(net, &format!("10.0.0.{host}:5000"), play("hb"))
}

/// Everything that an agent is told until it has answered all of it.
pub(super) fn told(net: &mut Network, talk: &mut TcpTalk) -> Vec<String> {
    let mut all = Vec::new();
    for sequence in 0..20 {
        let told = beat(net, talk, sequence);
        if told == "-" {
            return all;
        }
        acknowledge(net, talk, &told);
        all.push(told);
    }
    panic!("it does not end: {all:?}");
}

pub(super) fn says(net: &mut Network, talk: &mut TcpTalk, news: heartbeat::News) {
    let frames = talk.say(Client, &Heartbeat { sequence: 1, news }.emit());
    unchanged(net, frames);
}

fn lost(peer: &str) -> heartbeat::News {
    heartbeat::News::Lost { peer: peer.parse().unwrap(), stream: "live/hb".parse().unwrap() }
}

/// Changes of the tree since the last time: host, parent, standby, why.
pub(super) fn tree(net: &mut Network) -> Vec<String> {
    let text = |address: Option<Ipv4Addr>| address.map_or("-".to_owned(), |address| address.to_string());
    let all = std::mem::take(&mut net.news).into_iter().filter_map(|news| match news {
        News::Tree { host, parent, standby, why, stream } => {
            assert_eq!(stream, "live/hb");
            Some(format!("{host} {} {} {why}", text(parent), text(standby)))
        }
        _ => None,
    });
    all.collect()
}

#[test]
fn the_second_viewer_has_the_stream_from_the_first() {
    let mut net = relay(1);
    let mut agents: Vec<TcpTalk> = ["10.0.0.1", "10.0.0.2", "10.0.0.4"].map(|host| agent(&mut net, host)).into();
    plays(&mut net, 2);
    assert_eq!(tree(&mut net), ["10.0.0.2 10.0.0.1 - joined"]);
    plays(&mut net, 4);
    assert_eq!(tree(&mut net), ["10.0.0.4 10.0.0.2 - joined"]);
    assert_eq!(told(&mut net, &mut agents[0]), ["peer child 10.0.0.2:2000 live/hb"]);
    assert_eq!(
        told(&mut net, &mut agents[1]),
        ["peer parent 10.0.0.1:2000 live/hb", "peer child 10.0.0.4:2000 live/hb"]
    );
    assert_eq!(told(&mut net, &mut agents[2]), ["peer parent 10.0.0.2:2000 live/hb"]);
    net.wait(10);
    assert_eq!(alone(&net), []);
    // Between the two no packet comes up.
    let mut peers = TcpTalk::between("10.0.0.4:7000", "10.0.0.2:2000");
    let frames = peers.open();
    unchanged(&mut net, frames);
    streams_alone(&mut net, &mut peers);
}

#[test]
fn who_leaves_is_replaced_and_who_is_told_twice_ends_with_the_last() {
    let mut net = relay(1);
    let mut at_last = agent(&mut net, "10.0.0.5");
    let mut at_middle = agent(&mut net, "10.0.0.4");
    for host in [2, 4, 5] {
        plays(&mut net, host);
    }
    assert_eq!(beat(&mut net, &mut at_last, 1), "peer parent 10.0.0.4:2000 live/hb");
    tree(&mut net);
    // Before it answers, its parent says that it leaves.
    says(&mut net, &mut at_middle, heartbeat::News::Left("live/hb".parse().unwrap()));
    assert!(net.news.contains(&News::Left {
        host: ip("10.0.0.4"),
        role: "viewer",
        stream: "live/hb".to_owned(),
        why: "told"
    }));
    assert_eq!(tree(&mut net), ["10.0.0.5 10.0.0.2 - left"]);
    // Its answer to what it heard before changes nothing.
    acknowledge(&mut net, &mut at_last, "peer parent 10.0.0.4:2000 live/hb");
    assert_eq!(told(&mut net, &mut at_last), ["peer parent 10.0.0.2:2000 live/hb"]);
    assert_eq!(beat(&mut net, &mut at_middle, 9), "-");
    // Those who are there no longer can say what they like.
    says(&mut net, &mut at_middle, heartbeat::News::Left("live/hb".parse().unwrap()));
    says(&mut net, &mut at_middle, lost("10.0.0.2:2000"));
    assert_eq!(tree(&mut net), [""; 0]);
}

#[test]
fn a_viewer_that_closes_is_replaced_too() {
    let mut net = relay(1);
    let mut at_last = agent(&mut net, "10.0.0.4");
    let mut first = plays(&mut net, 2);
    plays(&mut net, 4);
    tree(&mut net);
    net.switches.get_mut(&Dpid(1)).unwrap().clear();
    let frames = first.close(Client);
    unchanged(&mut net, frames);
    assert_eq!(tree(&mut net), ["10.0.0.4 10.0.0.1 - left"]);
    assert_eq!(told(&mut net, &mut at_last), ["peer parent 10.0.0.1:2000 live/hb"]);
}

#[test]
fn who_loses_its_parent_gets_another_or_the_cdn() {
    let mut net = relay(2);
    let mut at_last = agent(&mut net, "10.0.0.5");
    for host in [2, 4, 5] {
        plays(&mut net, host);
    }
    let parent = "peer parent 10.0.0.2:2000 live/hb";
    let standby = "peer standby 10.0.0.4:2000 live/hb";
    assert_eq!(told(&mut net, &mut at_last), [parent, standby]);
    tree(&mut net);
    // Not a parent of it, not played there, not its own: nothing happens, but it is told again what it has.
    says(&mut net, &mut at_last, lost("10.0.0.1:2000"));
    assert_eq!(told(&mut net, &mut at_last), [parent]);
    let mut at_other = agent(&mut net, "10.0.0.6");
    says(&mut net, &mut at_other, lost("10.0.0.2:2000"));
    assert_eq!(tree(&mut net), [""; 0]);
    // It says so until it is told, which counts once. The lost one stands by for nobody.
    for _ in 0..3 {
        says(&mut net, &mut at_last, lost("10.0.0.2:2000"));
    }
    assert_eq!(tree(&mut net), ["10.0.0.5 10.0.0.4 - lost"]);
    assert_eq!(told(&mut net, &mut at_last), ["peer parent 10.0.0.4:2000 live/hb"]);
    says(&mut net, &mut at_last, lost("10.0.0.4:2000"));
    assert_eq!(tree(&mut net), ["10.0.0.5 - - lost"]);
    let cdn = "peer cdn 10.0.0.3:1935 live/hb";
    assert_eq!(told(&mut net, &mut at_last), [cdn]);
    says(&mut net, &mut at_last, lost("10.0.0.4:2000"));
    assert_eq!(told(&mut net, &mut at_last), [cdn], "an answer that may have come too early");
    // Half a minute later they may serve again.
    net.wait(31);
    assert_eq!(tree(&mut net).len(), 1);
    let again = told(&mut net, &mut at_last);
    assert!(again[0].starts_with("peer parent"), "{again:?}");
}

/// A viewer that serves two others has crashed, and both have told.
fn parent_of_two_crashed() -> (Network, TcpTalk) {
    let mut net = crowd(Box::new(Relay::new(carrying([2, 2, 0, 0, 0, 0]))));
    let mut agents = ["10.0.0.2", "10.0.0.4", "10.0.0.5"].map(|host| agent(&mut net, host));
    let down = plays(&mut net, 2);
    plays(&mut net, 4);
    plays(&mut net, 5);
    for at_child in &mut agents[1..] {
        assert_eq!(told(&mut net, at_child), ["peer parent 10.0.0.2:2000 live/hb"]);
        says(&mut net, at_child, lost("10.0.0.2:2000"));
    }
    assert!(tree(&mut net).contains(&"10.0.0.2 - - gone".to_owned()));
    (net, down)
}

/// An agent that starts at a host which crashed, before its player plays; and who is asked something because of it.
fn starts_again(net: &mut Network, host: &str) -> (TcpTalk, Vec<Ipv4Addr>) {
    let mut talk = TcpTalk::between(&format!("{host}:6001"), &format!("{CDN}:42857"));
    let mut asked = Vec::new();
    for frame in talk.open() {
        let to = *Frame::parse(&frame).unwrap().tcp().unwrap().dst.ip();
        asked.extend(net.send(frame).into_iter().map(|arrival| arrival.host).filter(|host| *host != to));
    }
    beat(net, &mut talk, 1);
    (talk, asked)
}

#[test]
fn an_agent_that_comes_after_a_crash_does_not_stand_for_who_was_there_before() {
    let (mut net, down) = parent_of_two_crashed();
    let (_, asked) = starts_again(&mut net, "10.0.0.2");
    // It speaks, and nobody has the stream from it: it has none.
    assert_eq!(tree(&mut net), [""; 0]);
    assert_eq!(asked, [ip("10.0.0.2")]);
    // The host knows nothing of that connection.
    unchanged(&mut net, vec![down.reset(Client)]);
    let has_left = |news: &News| matches!(news, News::Left { host, why: "closed", .. } if *host == ip("10.0.0.2"));
    assert!(net.news.iter().any(has_left), "{:?}", net.news);
    tree(&mut net);
    rtmp(&mut net, "10.0.0.2:5001", play("hb"));
    let found = tree(&mut net);
    assert!(found.iter().any(|one| one.starts_with("10.0.0.2 ") && one.ends_with(" joined")), "{found:?}");
}

#[test]
fn an_agent_that_had_lost_its_connection_is_heard_when_its_player_answers() {
    let (mut net, down) = parent_of_two_crashed();
    let (mut again, _) = starts_again(&mut net, "10.0.0.2");
    assert_eq!(tree(&mut net), [""; 0]);
    unchanged(&mut net, vec![down.ack(Client)]);
    assert_eq!(tree(&mut net), [""; 0]);
    says(&mut net, &mut again, heartbeat::News::Hasten);
    // It is there again, and may serve once it is held no longer: then it takes the place of one that carries
    // nothing.
    net.wait(31);
    let found = tree(&mut net);
    assert!(found.iter().any(|one| one.starts_with("10.0.0.2 10.0.0.1 ")), "{found:?}");
}

#[test]
fn who_finds_no_uplink_stays_with_the_cdn_and_is_told_of() {
    let mut net = relay(0);
    plays(&mut net, 2);
    assert_eq!(tree(&mut net), ["10.0.0.2 - - joined"]);
    let mut at_viewer = agent(&mut net, "10.0.0.2");
    net.wait(4);
    assert_eq!(beat(&mut net, &mut at_viewer, 1), "-");
    let mut alone = alone(&net);
    alone.sort_unstable();
    assert_eq!(alone, [("10.0.0.1".to_owned(), "no_uplink_left"), ("10.0.0.2".to_owned(), "no_uplink_left")]);
}

#[test]
fn bypass_introduces_no_more_than_the_uplink_carries() {
    let mut net = crowd(Box::new(Bypass::new(known(1))));
    let mut agents: Vec<TcpTalk> = ["10.0.0.2", "10.0.0.4"].map(|host| agent(&mut net, host)).into();
    let mut first = plays(&mut net, 2);
    plays(&mut net, 4);
    assert_eq!(told(&mut net, &mut agents[0]), ["peer parent 10.0.0.1:2000 live/hb"]);
    assert_eq!(told(&mut net, &mut agents[1]), [""; 0]);
    for _ in 0..4 {
        net.wait(1);
        streams_on(&mut net, &mut first);
    }
    assert!(alone(&net).contains(&owned(("10.0.0.4", "no_uplink_left"))));
    net.switches.get_mut(&Dpid(1)).unwrap().clear();
    let frames = first.close(Client);
    unchanged(&mut net, frames);
    assert_eq!(told(&mut net, &mut agents[1]), ["peer parent 10.0.0.1:2000 live/hb"]);
}

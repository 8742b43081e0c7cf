//! Members who say nothing: paused, gone, or cut off.

use super::*;

/// The viewer of a star, whose stream was introduced and is acted on; and its agent.
fn paused() -> (Network, TcpTalk, [TcpTalk; 2]) {
    let mut net = star(Version::V13);
    let mut agents = [agent(&mut net, BROADCASTER), agent(&mut net, VIEWER)];
    let mut up = rtmp(&mut net, "10.0.0.1:5000", publish("hb"));
    let mut down = rtmp(&mut net, "10.0.0.2:5000", play("hb"));
    for agent in &mut agents {
        let told = beat(&mut net, agent, 1);
        acknowledge(&mut net, agent, &told);
    }
    streams_alone(&mut net, &mut down);
    net.news.clear();
    for _ in 0..74 {
        net.wait(1);
        streams_alone(&mut net, &mut up);
    }
    assert_eq!(net.unasked, []);
    net.wait(1);
    (net, down, agents)
}

/// Neither agent is told anything.
fn nothing_is_told(net: &mut Network, agents: &mut [TcpTalk; 2]) {
    for agent in agents {
        assert_eq!(beat(net, agent, 9), "-");
    }
}

fn lasting_flows(net: &Network) -> usize {
    let is_of_viewer = |flow: &&crate::openflow::FlowMod| {
        [flow.matching.l4_src, flow.matching.l4_dst].contains(&Some(5000))
            && [flow.matching.eth_src, flow.matching.eth_dst].contains(&Some(crate::testing::mac_of(ip(VIEWER))))
    };
    net.switches[&Dpid(1)].flows().filter(is_of_viewer).count()
}

#[test]
fn who_pauses_is_asked_and_stays() {
    let (mut net, mut down, mut agents) = paused();
    // Only the viewer is asked, by what its server could have said.
    let [Arrival { host, frame }] = &net.unasked[..] else { panic!("{:?}", net.unasked) };
    let question = Frame::parse(frame).unwrap();
    let tcp = question.tcp().unwrap();
    assert_eq!((*host, tcp.src, tcp.dst), (ip(VIEWER), down.server, down.client));
    assert_eq!((question.src, question.dst), [CDN, VIEWER].map(ip).map(crate::testing::mac_of).into());
    assert!(
        tcp_checksum_is_right(frame)
            && tcp.is_ack
            && !tcp.syn
            && !tcp.rst
            && !tcp.fin
            && tcp.payload.range().is_empty()
    );
    assert_eq!(lasting_flows(&net), 0, "none that would hide the answer");
    let answer = down.ack(Client);
    unchanged(&mut net, vec![answer]);
    net.unasked.clear();
    // Asked again and again, as long as it is paused.
    for _ in 0..10 {
        // Hosts ask for each other's addresses once in a while.
        net.everyone_is_known();
        net.wait(74);
        assert_eq!(net.unasked.iter().filter(|asked| asked.host == ip(VIEWER)).count(), 0);
        net.wait(1);
        assert_eq!(net.unasked.iter().filter(|asked| asked.host == ip(VIEWER)).count(), 1);
        let answer = down.ack(Client);
        unchanged(&mut net, vec![answer]);
        net.unasked.clear();
    }
    assert!(!events(&net).contains(&"viewer"));
    assert_eq!(net.news.iter().filter(|news| matches!(news, News::Left { role: "viewer", .. })).count(), 0);
    nothing_is_told(&mut net, &mut agents);
    // It goes on: a few words, then video, which does not pass the controller.
    let frames = down.say(Client, &[1; 60]);
    unchanged(&mut net, frames);
    assert_eq!(lasting_flows(&net), 0);
    let ups = net.ups(1);
    let frames = down.say(Server, &[2; 50_000]);
    unchanged(&mut net, frames);
    assert!(net.ups(1) - ups <= 4, "{}", net.ups(1) - ups);
    streams_alone(&mut net, &mut down);
    nothing_is_told(&mut net, &mut agents);
}

#[test]
fn who_pauses_and_leaves_is_seen_to_leave() {
    let (mut net, mut down, _) = paused();
    let answer = down.ack(Client);
    unchanged(&mut net, vec![answer]);
    // The ping of some servers, and its answer.
    for host in [Server, Client] {
        let frames = down.say(host, &[4; 18]);
        unchanged(&mut net, frames);
    }
    net.wait(30);
    assert_eq!(events(&net), Vec::<&str>::new());
    let frames = down.close(Client);
    unchanged(&mut net, frames);
    assert_eq!(events(&net), ["closed"]);
}

#[test]
fn who_left_unseen_says_so_when_it_is_asked() {
    let (mut net, down, _) = paused();
    unchanged(&mut net, vec![down.reset(Client)]);
    assert_eq!(events(&net), ["closed"]);
    net.unasked.clear();
    net.wait(100);
    assert!(net.unasked.iter().all(|asked| asked.host != ip(VIEWER)));
}

#[test]
fn who_does_not_answer_has_left_and_is_known_when_it_goes_on() {
    let (mut net, mut down, mut agents) = paused();
    net.wait(9);
    assert_eq!(events(&net), Vec::<&str>::new());
    net.wait(1);
    assert_eq!(events(&net), ["idle"]);
    let asked: Vec<u32> =
        net.unasked.iter().map(|asked| Frame::parse(&asked.frame).unwrap().tcp().unwrap().seq).collect();
    assert_eq!(asked.len(), 10);
    // At most one of them can be inside a window, which has at most 1 GiB (RFC 7323, section 2.3), and mostly far
    // less.
    for (at, one) in asked.iter().enumerate() {
        assert!(asked[..at].iter().all(|other| one.wrapping_sub(*other).min(other.wrapping_sub(*one)) > 200_000_000));
    }
    streams_on(&mut net, &mut down);
    assert_eq!(events(&net), ["idle", "viewer"]);
    streams_alone(&mut net, &mut down);
    // Both act on it already.
    nothing_is_told(&mut net, &mut agents);
    net.wait(5);
    assert_eq!(alone(&net), []);
    // Its flows are gone for another reason; now it says goodbye.
    net.switches.get_mut(&Dpid(1)).unwrap().clear();
    let frames = down.close(Client);
    pass(&mut net, frames);
    assert_eq!(events(&net).last(), Some(&"closed"));
}

#[test]
fn what_the_server_says_is_no_answer() {
    let (mut net, down, _) = paused();
    let frames = vec![down.ack(Server)];
    unchanged(&mut net, frames);
    net.wait(10);
    assert_eq!(events(&net), ["idle"]);
}

#[test]
fn one_who_was_silent_when_its_switch_came_back_is_asked_too() {
    let (mut net, down, _) = paused();
    unchanged(&mut net, vec![down.ack(Client)]);
    net.disconnect(1);
    net.connect(1);
    net.everyone_is_known();
    net.unasked.clear();
    net.wait(75);
    assert!(net.unasked.iter().any(|asked| asked.host == ip(VIEWER)));
    unchanged(&mut net, vec![down.ack(Client)]);
    net.wait(20);
    let viewers = net.news.iter().filter(|news| matches!(news, News::Left { role: "viewer", .. }));
    assert_eq!(viewers.count(), 0);
}

#[test]
fn a_tagged_viewer_is_asked_with_its_tag() {
    let stations = Frame::parse(&TcpFrame::between("10.0.0.2:5000", "10.0.0.3:1935").bytes()).map(|frame| {
        super::super::presence::Stations::of(
            &Frame { vlan: Some((77, 5)), ..frame },
            super::super::connection::Direction::ToServer,
        )
    });
    let connection =
        Connection { client: "10.0.0.2:5000".parse().unwrap(), server: "10.0.0.3:1935".parse().unwrap() };
    let question = super::super::presence::Presence::new(stations.unwrap()).question(&connection, 3);
    let frame = Frame::parse(&question).unwrap();
    assert_eq!((frame.vlan, frame.tcp().unwrap().dst), (Some((77, 5)), connection.client));
    assert_eq!(frame.dst, crate::testing::mac_of(ip(VIEWER)));
}

//! Hosts that move, ports that are used again, packets that are not what they seem.

use super::*;

/// Both sides say something; everything must arrive.
fn goes_on(net: &mut Network, talk: &mut TcpTalk) {
    for host in [Client, Server] {
        let frames = talk.say(host, &[0x55; 3000]);
        unchanged(net, frames);
    }
}

fn goes_on_for(net: &mut Network, talk: &mut TcpTalk, seconds: u64) {
    for _ in 0..seconds {
        net.wait(1);
        goes_on(net, talk);
    }
}

/// A host of the star is plugged into port 9, and speaks from there.
fn replug(net: &mut Network, host: &str) {
    net.switches.get_mut(&Dpid(1)).unwrap().ports.push(PortNo(9));
    net.move_host(host, 1, 9);
    net.send(crate::testing::arp_request(ip(host), ip("10.0.0.254")));
}

#[test]
fn who_moves_to_another_port_goes_on_and_is_still_known() {
    for version in [Version::V10, Version::V13] {
        // The viewer, or the CDN and with it the way to all members.
        for (moving, port) in [(VIEWER, 2), (CDN, 3)] {
            for link_is_lost in [false, true] {
                let mut net = star(version);
                let mut down = rtmp(&mut net, "10.0.0.2:5000", play("hb"));
                streams_alone(&mut net, &mut down);
                if link_is_lost {
                    net.port_down(1, port);
                }
                replug(&mut net, moving);
                goes_on_for(&mut net, &mut down, 200);
                assert_eq!(events(&net), ["cdn", "viewer"], "{version} {moving} {link_is_lost}");
                streams_alone(&mut net, &mut down);
                rtmp(&mut net, "10.0.0.1:5000", publish("hb"));
                let mut at_viewer = agent(&mut net, VIEWER);
                assert!(beat(&mut net, &mut at_viewer, 1).starts_with("peer parent"));
            }
        }
    }
}

#[test]
fn who_moves_after_a_long_stream_is_found_at_once() {
    let mut net = star(Version::V13);
    let mut down = rtmp(&mut net, "10.0.0.2:5000", play("hb"));
    // Longer than a station that is not heard is remembered.
    goes_on_for(&mut net, &mut down, 400);
    replug(&mut net, VIEWER);
    // The CDN was not heard for as long; it is flooded for until it is.
    net.everyone_is_known();
    goes_on(&mut net, &mut down);
}

#[test]
fn a_reset_that_nobody_heeds_changes_nothing() {
    let mut net = star(Version::V13);
    let mut talk = TcpTalk::between("10.0.0.2:5000", "10.0.0.3:1935");
    let frames = talk.open();
    unchanged(&mut net, frames);
    let stray = TcpFrame::between("10.0.0.2:5000", "10.0.0.3:1935").seq(77).rst().bytes();
    net.send(stray.clone());
    for (host, bytes) in play("hb") {
        let frames = talk.say(host, &bytes);
        unchanged(&mut net, frames);
    }
    streams_alone(&mut net, &mut talk);
    assert_eq!(events(&net), ["cdn", "viewer"]);
    // Nor one with the member's address that comes from another port.
    net.inject(Dpid(1), PortNo(4), stray);
    assert_eq!(events(&net), ["cdn", "viewer"]);
}

#[test]
fn one_that_was_reset_and_goes_on_does_not_stay_at_the_controller() {
    let mut net = star(Version::V13);
    let mut talk = TcpTalk::between("10.0.0.2:5000", "10.0.0.3:1935");
    let frames = talk.open();
    unchanged(&mut net, frames);
    unchanged(&mut net, vec![talk.reset(Client)]);
    goes_on_for(&mut net, &mut talk, 12);
    streams_alone(&mut net, &mut talk);
}

#[test]
fn ports_that_are_used_again_while_old_flows_are_there() {
    let mut net = star(Version::V13);
    let mut before = rtmp(&mut net, "10.0.0.2:5000", play("hb"));
    streams_alone(&mut net, &mut before);
    // The server's last packet comes later than the client's, so that its flow ends later.
    net.wait(10);
    net.send(before.ack(Server));
    net.wait(76);
    assert_eq!(events(&net), ["cdn", "viewer", "idle"]);
    let mut again = rtmp(&mut net, "10.0.0.2:5000", play("hb"));
    streams_alone(&mut net, &mut again);
    assert_eq!(events(&net), ["cdn", "viewer", "idle", "viewer"]);
}

#[test]
fn what_says_that_it_is_ipv4_and_is_not_hides_nothing() {
    for version in [Version::V10, Version::V13] {
        let mut net = star(version);
        let mut bytes = TcpFrame::between("10.0.0.2:1", "10.0.0.3:2").bytes();
        bytes[14] = 0x65;
        net.send(bytes);
        rtmp(&mut net, "10.0.0.2:5000", play("hb"));
        assert_eq!(events(&net), ["cdn", "viewer"]);
    }
}

#[test]
fn the_answer_may_be_lost_with_much_behind_it() {
    let mut net = star(Version::V10);
    let mut talk = TcpTalk::between("10.0.0.2:5000", "10.0.0.3:1935");
    let frames = talk.open();
    unchanged(&mut net, frames);
    let mut said = play("hb");
    let (host, answer) = said.pop().unwrap();
    for (host, bytes) in said {
        let frames = talk.say(host, &bytes);
        unchanged(&mut net, frames);
    }
    let lost = talk.say(host, &answer);
    // An initial window's worth, which the client does not acknowledge.
    let mut behind = talk.say(host, &[0x77; 40_000]);
    behind.pop();
    unchanged(&mut net, behind);
    assert!(events(&net).is_empty());
    unchanged(&mut net, lost);
    assert_eq!(events(&net), ["cdn", "viewer"]);
    streams_alone(&mut net, &mut talk);
}

#[test]
fn a_rewritten_heartbeat_frees_the_buffer_that_it_came_from() {
    let mut net = star(Version::V10);
    let mut at_viewer = agent(&mut net, VIEWER);
    rtmp(&mut net, "10.0.0.1:5000", publish("hb"));
    rtmp(&mut net, "10.0.0.2:5000", play("hb"));
    net.miss_send_len = Some(65_535);
    net.sent.clear();
    assert!(beat(&mut net, &mut at_viewer, 1).starts_with("peer"));
    let frees = |(_, message): &&(Dpid, Message<'_>)| {
        matches!(message, Message::PacketOut(PacketOut { buffer: Some(_), output: None, .. }))
    };
    assert_eq!(net.sent.iter().filter(frees).count(), 1);
}

#[test]
fn heartbeats_and_answers_may_be_cut_anywhere() {
    // Less than 23 bytes do not tell yet that a heartbeat tells nothing; it then passes as it is.
    for (cut, is_told) in [(23, true), (50, true), (100, true), (127, true), (22, false), (1, false)] {
        let mut net = star(Version::V10);
        let mut at_viewer = agent(&mut net, VIEWER);
        rtmp(&mut net, "10.0.0.1:5000", publish("hb"));
        rtmp(&mut net, "10.0.0.2:5000", play("hb"));
        let bytes = Heartbeat { sequence: 1, news: heartbeat::News::None }.emit();
        let (mut heard, told) = (Vec::new(), "peer parent 10.0.0.1:2000 live/hb");
        for part in [&bytes[..cut], &bytes[cut..]] {
            let frames = at_viewer.say(Server, part);
            let arrived = pass(&mut net, frames);
            assert!(tcp_checksum_is_right(&arrived[0]));
            let frame = Frame::parse(&arrived[0]).unwrap();
            heard.extend_from_slice(frame.payload(&frame.tcp().unwrap()));
        }
        let heard = Heartbeat::parse(&heard).unwrap().news;
        assert_eq!(heard, if is_told { heartbeat::News::Peer(introduction(told)) } else { heartbeat::News::None });
        let answer = Heartbeat { sequence: 1, news: heartbeat::News::Ack(introduction(told)) }.emit();
        for part in [&answer[..cut], &answer[cut..]] {
            assert!(!events(&net).contains(&"acknowledged"));
            let frames = at_viewer.say(Client, part);
            unchanged(&mut net, frames);
        }
        // An answer to what was not told is none.
        assert_eq!(events(&net).contains(&"acknowledged"), is_told, "{cut}");
        assert_eq!(beat(&mut net, &mut at_viewer, 2), if is_told { "-" } else { told });
    }
}

#[test]
fn a_syn_that_is_shown_late_does_not_move_the_edge() {
    let mut net = line(Version::V10);
    let mut at_viewer = TcpTalk::between("10.0.0.2:6000", "10.0.0.3:42857");
    let open = at_viewer.open();
    unchanged(&mut net, open.clone());
    let frames = at_viewer.say(Client, b"\n");
    unchanged(&mut net, frames);
    net.switches.get_mut(&Dpid(2)).unwrap().clear();
    net.inject(Dpid(2), PortNo(3), open[0].clone());
    rtmp(&mut net, "10.0.0.1:5000", publish("hb"));
    rtmp(&mut net, "10.0.0.2:5000", play("hb"));
    assert!(beat(&mut net, &mut at_viewer, 1).starts_with("peer parent"));
    let ups = net.ups(2);
    assert!(beat(&mut net, &mut at_viewer, 2).starts_with("peer parent"));
    assert_eq!(net.ups(2), ups, "the second switch is transit");
}

//! Clients of servers who are not followed, and the line that says so.

use super::*;

/// Who is not followed, and why, in order.
fn not_followed(net: &Network) -> Vec<(Ipv4Addr, String)> {
    let told = net.news.iter().filter_map(|news| match news {
        News::NotFollowed { host, server, why } => {
            assert_eq!(*server, ip(CDN));
            Some((*host, why.clone()))
        }
        _ => None,
    });
    told.collect()
}

fn errors(net: &Network) -> usize {
    net.news.iter().filter(|news| matches!(news, News::Error { .. })).count()
}

/// The frames of a whole conversation, in order.
fn frames(talk: &mut TcpTalk, said: Vec<(Host, Vec<u8>)>) -> Vec<Vec<u8>> {
    let mut frames = talk.open();
    frames.extend(said.iter().flat_map(|(host, bytes)| talk.say(*host, bytes)));
    frames
}

/// Two fragments of an IP packet with a TCP segment; the first has its ports.
fn fragments(frame: &[u8]) -> [Vec<u8>; 2] {
    let (headers, rest) = frame.split_at(14 + 20 + 40);
    let mut first = headers.to_vec();
    first[16..18].copy_from_slice(&60u16.to_be_bytes());
    first[20..22].copy_from_slice(&[0x20, 0]);
    let mut second = [&headers[..34], rest].concat();
    let len = second.len() as u16 - 14;
    second[16..18].copy_from_slice(&len.to_be_bytes());
    second[20..22].copy_from_slice(&[0, 5]);
    [first, second]
}

#[test]
fn a_connection_met_midway_is_told_once() {
    for make in [star, line] {
        for skipped in [2, 3, 8] {
            let mut net = make(Version::V13);
            let mut talk = TcpTalk::between("10.0.0.2:5000", "10.0.0.3:1935");
            let mut said = frames(&mut talk, play("hb"));
            unchanged(&mut net, said.split_off(skipped));
            assert_eq!(not_followed(&net).len(), 1, "{skipped}");
            assert_eq!(not_followed(&net)[0].0, ip(VIEWER));
            streams_alone(&mut net, &mut talk);
            net.wait(100);
            let again = talk.say(Server, &[5; 3000]);
            unchanged(&mut net, again);
            assert_eq!(not_followed(&net).len(), 1);
            // With a new connection all is well, when the flows of this one are gone.
            net.wait(100);
            rtmp(&mut net, "10.0.0.2:5000", play("hb"));
            assert_eq!((not_followed(&net).len(), events(&net).contains(&"viewer")), (1, true));
        }
    }
}

#[test]
fn a_connection_that_was_followed_is_never_met_midway() {
    let mut net = line(Version::V10);
    let mut talk = rtmp(&mut net, "10.0.0.2:5000", play("hb"));
    let mut other = TcpTalk::between("10.0.0.4:5000", "10.0.0.3:1935");
    let opened = other.open();
    unchanged(&mut net, opened);
    let last =
        [talk.close(Client), talk.say(Server, &[5; 2000]), talk.close(Server), vec![talk.ack(Client)]].concat();
    unchanged(&mut net, last.clone());
    net.wait(100);
    unchanged(&mut net, last);
    unchanged(&mut net, vec![other.reset(Client), other.ack(Server)]);
    net.wait(100);
    unchanged(&mut net, vec![other.ack(Server)]);
    assert_eq!(not_followed(&net), []);
}

/// RFC 9293, section 3.5: both sides may send a SYN of their own.
#[test]
fn a_simultaneous_open_is_a_beginning() {
    let mut net = star(Version::V10);
    let mut talk = TcpTalk::between("10.0.0.2:5000", "10.0.0.3:1935");
    let mut said = frames(&mut talk, play("hb"));
    let tcp = Frame::parse(&said[1]).unwrap().tcp().unwrap();
    let syn = TcpFrame::from_to(tcp.src, tcp.dst).syn().seq(tcp.seq).bytes();
    said.insert(0, syn);
    unchanged(&mut net, said);
    assert_eq!((not_followed(&net), events(&net)), (vec![], vec!["cdn", "viewer"]));
}

#[test]
fn a_hole_is_told_as_soon_as_the_other_side_has_what_was_not_seen() {
    let payload = |frame: &Vec<u8>| {
        let frame = Frame::parse(frame).unwrap();
        frame.payload(&frame.tcp().unwrap()).len()
    };
    let count = frames(&mut TcpTalk::between("10.0.0.2:5000", "10.0.0.3:1935"), play("hb")).len();
    for lost in 0..count {
        let mut net = star(Version::V10);
        let mut talk = TcpTalk::between("10.0.0.2:5000", "10.0.0.3:1935");
        let mut said = frames(&mut talk, play("hb"));
        if payload(&said.remove(lost)) > 0 {
            unchanged(&mut net, said);
            assert_eq!(not_followed(&net), [(ip(VIEWER), watch::UNSEEN.to_owned())], "{lost} of {count}");
            streams_alone(&mut net, &mut talk);
        }
    }
}

#[test]
fn a_client_that_fails_before_its_first_message_is_told() {
    let mut net = star(Version::V10);
    let handshake = vec![(Client, [&[3][..], &[7; 3072]].concat()), (Server, [&[3][..], &[7; 3072]].concat())];
    let mut said = handshake.clone();
    said.push((Client, vec![2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0]));
    rtmp(&mut net, "10.0.0.2:5000", said);
    assert!(matches!(&not_followed(&net)[..], [(host, why)] if *host == ip(VIEWER) && why.contains("chunk size")));
    // A stray SYN with another number makes the rest unreadable.
    let mut net = star(Version::V10);
    let mut talk = rtmp(&mut net, "10.0.0.2:5000", handshake);
    unchanged(&mut net, vec![TcpFrame::between("10.0.0.2:5000", "10.0.0.3:1935").syn().seq(777).bytes()]);
    for (host, bytes) in play("hb").split_off(3) {
        let frames = talk.say(host, &bytes);
        unchanged(&mut net, frames);
    }
    let video = talk.say(Server, &vec![5; 300 << 10]);
    unchanged(&mut net, video);
    assert_eq!(not_followed(&net), [(ip(VIEWER), watch::UNSEEN.to_owned())]);
}

#[test]
fn a_connection_that_ends_with_a_hole_is_told_when_it_is_forgotten() {
    let mut net = star(Version::V10);
    let mut talk = rtmp(&mut net, "10.0.0.2:5000", vec![(Client, vec![3; 100])]);
    let mut missing = talk.say(Server, &[3; 100]);
    missing.clear();
    let ends = [talk.close(Server), vec![talk.close(Client).remove(0)]].concat();
    // The client does not acknowledge what it did not get either.
    unchanged(
        &mut net,
        ends.into_iter()
            .filter(|frame| Frame::parse(frame).unwrap().tcp().unwrap().fin)
            .map(|frame| {
                let tcp = Frame::parse(&frame).unwrap().tcp().unwrap();
                TcpFrame::from_to(tcp.src, tcp.dst).seq(tcp.seq).flags(0x01).bytes()
            })
            .collect(),
    );
    assert_eq!(not_followed(&net), []);
    net.wait(12);
    assert_eq!(not_followed(&net), [(ip(VIEWER), watch::UNSEEN.to_owned())]);
}

#[test]
fn a_client_whose_port_is_the_servers_is_followed_whichever_address_is_lower() {
    for client in ["10.0.0.2:1935", "10.0.0.4:1935"] {
        let mut net = star(Version::V13);
        let mut talk = rtmp(&mut net, client, play("hb"));
        let viewers: Vec<_> = net
            .news
            .iter()
            .filter_map(|news| match news {
                News::Viewer(member) => Some(member.host.to_string()),
                _ => None,
            })
            .collect();
        assert_eq!(viewers, [client.split_once(':').unwrap().0]);
        assert_eq!(not_followed(&net), []);
        streams_alone(&mut net, &mut talk);
        // It falls silent, is asked, and answers: so its flows' end was noticed.
        net.wait(80);
        assert!(!net.unasked.is_empty());
        let end = talk.close(Client);
        unchanged(&mut net, end);
        assert!(events(&net).contains(&"closed"), "{:?}", net.news);
    }
}

#[test]
fn connections_beyond_those_that_can_be_watched_are_told() {
    let mut net = star(Version::V10);
    let begin = |net: &mut Network, port: usize| {
        let mut talk = TcpTalk::between(&format!("10.0.0.2:{port}"), "10.0.0.3:1935");
        let frames = talk.open();
        unchanged(net, frames);
        talk
    };
    let mut silent = begin(&mut net, 5000);
    let mut spoke = begin(&mut net, 5001);
    let first = spoke.say(Client, &[3; 100]);
    unchanged(&mut net, first);
    for port in 0..MAX_WATCHED {
        begin(&mut net, 6000 + port);
    }
    let told = not_followed(&net);
    assert!(matches!(&told[..], [(_, why)] if why.contains("1024 connections")), "{told:?}");
    let handshake = silent.say(Client, &[3; 100]);
    unchanged(&mut net, handshake);
    assert!(matches!(&not_followed(&net)[1..], [(_, why)] if why.contains("midway")));
    let more = spoke.say(Client, &[3; 100]);
    unchanged(&mut net, more);
    assert_eq!(not_followed(&net).len(), 2);
}

#[test]
fn what_a_switch_shows_only_a_part_of_is_told() {
    let mut net = star(Version::V10);
    net.miss_send_len = Some(128);
    let mut talk = TcpTalk::between("10.0.0.2:5000", "10.0.0.3:1935");
    let all = frames(&mut talk, play("hb"));
    unchanged(&mut net, all);
    assert!(matches!(&not_followed(&net)[..], [(host, why)] if *host == ip(VIEWER) && why.contains("only a part")));
    assert_eq!(errors(&net), 1);
    net.wait(50);
    let mut talk = TcpTalk::between("10.0.0.1:5000", "10.0.0.3:1935");
    let all = frames(&mut talk, publish("hb"));
    unchanged(&mut net, all);
    assert_eq!((not_followed(&net).len(), errors(&net)), (2, 1), "each connection, and the switch once");
}

#[test]
fn fragments_are_told() {
    let mut net = star(Version::V13);
    let mut talk = TcpTalk::between("10.0.0.2:5000", "10.0.0.3:1935");
    let all = frames(&mut talk, play("hb"));
    let connect = all.iter().position(|frame| String::from_utf8_lossy(frame).contains("connect")).unwrap();
    for (at, frame) in all.iter().enumerate() {
        if at == connect {
            fragments(frame).into_iter().for_each(|fragment| assert_eq!(net.send(fragment).len(), 1));
        } else {
            unchanged(&mut net, vec![frame.clone()]);
        }
    }
    assert!(matches!(&not_followed(&net)[..], [(host, why)] if *host == ip(VIEWER) && why.contains("fragments")));
    assert_eq!(errors(&net), 1);
    streams_alone(&mut net, &mut talk);
    // Of other connections fragments are nobody's concern.
    let other = TcpFrame::between("10.0.0.2:5000", "10.0.0.3:80").payload(&[1; 200]).bytes();
    for fragment in fragments(&other) {
        net.send(fragment);
    }
    assert_eq!((not_followed(&net).len(), errors(&net)), (1, 1));
}

#[test]
fn two_vlan_tags_are_told() {
    let mut net = star(Version::V13);
    let mut talk = TcpTalk::between("10.0.0.2:5000", "10.0.0.3:1935");
    let mut seen = Vec::new();
    for mut frame in frames(&mut talk, play("hb")) {
        frame.splice(12..12, [0x88, 0xa8, 0, 7, 0x81, 0, 0, 10]);
        seen.push(net.send(frame).len());
    }
    assert!(seen.iter().skip(2).all(|arrived| *arrived == 1), "they pass all the same: {seen:?}");
    assert!(matches!(&not_followed(&net)[..], [(host, why)] if *host == ip(VIEWER) && why.contains("VLAN tag")));
    assert_eq!(errors(&net), 1);
}

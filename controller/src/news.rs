//! What the controller tells the outside: one JSON object a line. The lines are a contract; `controller/README.md`
//! lists them.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use serde::Serialize;

use crate::mac::MacAddr;
use crate::openflow::PortNo;

/// One thing that the controller learnt or did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum News {
    /// The controller accepts switches.
    Listening {
        /// Address and port at which it accepts them.
        address: SocketAddr,
        /// One of [`SCHEMES`](crate::scheme::SCHEMES).
        scheme: &'static str,
    },
    /// A switch is ready.
    SwitchConnected {
        /// Datapath id of the switch.
        dpid: u64,
        /// Version of OpenFlow that it speaks: `1.0` or `1.3`.
        version: &'static str,
        /// Address and port that it connected from.
        peer: SocketAddr,
    },
    /// A switch that was ready is gone.
    SwitchLost {
        /// Datapath id of the switch.
        dpid: u64,
        /// The reason, in words.
        why: String,
    },
    /// A connection was closed before it was a switch, or because of what it sent.
    ConnectionRefused {
        /// Address and port that it came from.
        peer: SocketAddr,
        /// The reason, in words.
        why: String,
    },
    /// A station was heard for the first time, or at another port than before; with `--report-learned` only.
    Learned {
        /// Datapath id of the switch.
        dpid: u64,
        /// Ethernet address of the station.
        #[serde(serialize_with = "as_text")]
        mac: MacAddr,
        /// Port of the switch that leads to it.
        #[serde(serialize_with = "as_number")]
        port: PortNo,
        /// The VLAN that it spoke on; left out if none.
        #[serde(skip_serializing_if = "Option::is_none")]
        vlan: Option<u16>,
    },
    /// A server answered on the RTMP port.
    Cdn {
        /// IPv4 address of the host.
        host: Ipv4Addr,
        /// The switch that it was first heard at.
        dpid: u64,
        /// The port of that switch.
        #[serde(serialize_with = "as_number")]
        port: PortNo,
    },
    /// A host plays a stream.
    Viewer(Member),
    /// A host publishes a stream.
    Broadcaster(Member),
    /// A broadcaster's agent is there, and its program publishes nothing yet; in schemes that have use for it.
    Announced {
        /// IPv4 address of the host.
        host: Ipv4Addr,
        /// The stream, as `app/name`.
        stream: String,
        /// Datapath id of the switch.
        dpid: u64,
        /// The port of that switch.
        #[serde(serialize_with = "as_number")]
        port: PortNo,
    },
    /// A heartbeat was rewritten.
    Introduced {
        /// IPv4 address of the host that is told.
        to: Ipv4Addr,
        /// What the other is to it: `parent`, `child`, `standby`, `cdn` or `group`.
        role: &'static str,
        /// Address and port of the peer.
        peer: SocketAddrV4,
        /// The stream, as `app/name`.
        stream: String,
        /// The heartbeat's sequence number.
        sequence: u64,
    },
    /// An agent acts on an introduction.
    Acknowledged {
        /// IPv4 address of the acknowledging host.
        by: Ipv4Addr,
        /// What the other is to it: `parent`, `child`, `standby`, `cdn` or `group`.
        role: &'static str,
        /// Address and port of the peer.
        peer: SocketAddrV4,
        /// The stream, as `app/name`.
        stream: String,
    },
    /// A host plays or publishes, and nobody was introduced to it.
    NotIntroduced {
        /// IPv4 address of the host.
        host: Ipv4Addr,
        /// Its role: `viewer` or `broadcaster`.
        role: &'static str,
        /// The stream, as `app/name`.
        stream: String,
        /// `no_heartbeat`, or what its scheme says.
        why: &'static str,
    },
    /// A connection to an RTMP server is not followed: its client stays with the CDN, whatever the scheme.
    NotFollowed {
        /// IPv4 address of the client.
        host: Ipv4Addr,
        /// IPv4 address of the server.
        server: Ipv4Addr,
        /// The reason, in words.
        why: String,
    },
    /// A viewer has its stream from somebody else now.
    Tree {
        /// The stream, as `app/name`.
        stream: String,
        /// IPv4 address of the viewer.
        host: Ipv4Addr,
        /// From whom it has the stream; `None` is the CDN.
        parent: Option<Ipv4Addr>,
        /// Who would serve it if that one did not; `None`: nobody.
        standby: Option<Ipv4Addr>,
        /// `joined`, `left`, `lost`, `capacity`, `moved` or `gone`.
        why: &'static str,
    },
    /// A switch copies what is sent to a group to these ports from now on.
    Copies {
        /// The stream that is sent there.
        stream: String,
        /// Address and port of the group.
        group: SocketAddrV4,
        /// Datapath id of the switch.
        dpid: u64,
        /// The port at which it comes in.
        #[serde(serialize_with = "as_number")]
        in_port: PortNo,
        /// Where it goes; none: nowhere any more.
        #[serde(serialize_with = "as_numbers")]
        ports: Vec<PortNo>,
    },
    /// A host plays or publishes no longer.
    Left {
        /// IPv4 address of the host.
        host: Ipv4Addr,
        /// Its role: `viewer` or `broadcaster`.
        role: &'static str,
        /// The stream, as `app/name`.
        stream: String,
        /// `closed`, `told`, `idle`, `replaced` or `lost`.
        why: &'static str,
    },
    /// Something went wrong that does not stop the controller.
    Error {
        /// What went wrong, in words.
        what: String,
    },
    /// So many lines could not be written since the last that could.
    Dropped {
        /// How many lines were dropped.
        count: u64,
    },
}

/// A viewer or broadcaster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Member {
    /// IPv4 address of the host.
    pub host: Ipv4Addr,
    /// The stream that it plays or publishes, as `app/name`.
    pub stream: String,
    /// The switch that it is at.
    pub dpid: u64,
    /// The port of that switch.
    #[serde(serialize_with = "as_number")]
    pub port: PortNo,
    /// Packets of its RTMP connection that came to the controller at that switch until this was known.
    pub packets: u64,
}

fn as_text<S: serde::Serializer>(mac: &MacAddr, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(mac)
}

fn as_number<S: serde::Serializer>(port: &PortNo, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u32(port.0)
}

fn as_numbers<S: serde::Serializer>(ports: &[PortNo], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(ports.iter().map(|port| port.0))
}

/// A line as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// When it was written, in nanoseconds of CLOCK_REALTIME.
    pub time_ns: u64,
    /// The event and its fields.
    #[serde(flatten)]
    pub news: News,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lines() {
        let line = |news| serde_json::to_string(&Line { time_ns: 7, news }).unwrap();
        let member = Member {
            host: Ipv4Addr::new(10, 0, 0, 2),
            stream: "live/hb".to_owned(),
            dpid: 1,
            port: PortNo(3),
            packets: 20,
        };
        assert_eq!(
            line(News::Viewer(member)),
            r#"{"time_ns":7,"event":"viewer","host":"10.0.0.2","stream":"live/hb","dpid":1,"port":3,"packets":20}"#
        );
        assert_eq!(
            line(News::Introduced {
                to: Ipv4Addr::new(10, 0, 0, 2),
                role: "parent",
                peer: "10.0.0.1:2000".parse().unwrap(),
                stream: "live/hb".to_owned(),
                sequence: 42,
            }),
            r#"{"time_ns":7,"event":"introduced","to":"10.0.0.2","role":"parent","peer":"10.0.0.1:2000","stream":"live/hb","sequence":42}"#
        );
        assert_eq!(
            line(News::Tree {
                stream: "live/hb".to_owned(),
                host: Ipv4Addr::new(10, 0, 0, 2),
                parent: Some(Ipv4Addr::new(10, 0, 0, 1)),
                standby: None,
                why: "joined",
            }),
            r#"{"time_ns":7,"event":"tree","stream":"live/hb","host":"10.0.0.2","parent":"10.0.0.1","standby":null,"why":"joined"}"#
        );
        assert_eq!(
            line(News::Copies {
                stream: "live/hb".to_owned(),
                group: "239.192.7.1:2001".parse().unwrap(),
                dpid: 1,
                in_port: PortNo(1),
                ports: vec![PortNo(2), PortNo(3)],
            }),
            r#"{"time_ns":7,"event":"copies","stream":"live/hb","group":"239.192.7.1:2001","dpid":1,"in_port":1,"ports":[2,3]}"#
        );
        let learned = |vlan| line(News::Learned { dpid: 1, mac: MacAddr([2, 0, 0, 0, 0, 1]), port: PortNo(1), vlan });
        let text = r#"{"time_ns":7,"event":"learned","dpid":1,"mac":"02:00:00:00:00:01","port":1"#;
        assert_eq!((learned(None), learned(Some(5))), (format!("{text}}}"), format!("{text},\"vlan\":5}}")));
    }
}

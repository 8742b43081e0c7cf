//! OpenFlow 1.3, wire version 0x04. Section numbers are those of version 1.3.5 of the specification.

mod flow;
mod oxm;
mod packet;
mod switch;

use super::alike::{emit_config, emit_error_report, empty, parse_config, parse_error_report, too_short};
use super::bytes::{from, u16_at};
use super::header::{self, HEADER_LEN, Header};
use super::{Message, ParseError, Versions};

pub use flow::{FlowModView, FlowRemovedView};
pub use packet::{PacketInView, PacketOutView};
pub use switch::{FeaturesView, PORT_LEN, PortStatusView};

/// Version byte of 1.3's messages.
pub const WIRE: u8 = 0x04;

/// Message types (section 7.1).
mod kind {
    pub const ERROR: u8 = 1;
    pub const ECHO_REQUEST: u8 = 2;
    pub const ECHO_REPLY: u8 = 3;
    pub const FEATURES_REQUEST: u8 = 5;
    pub const FEATURES_REPLY: u8 = 6;
    pub const GET_CONFIG_REQUEST: u8 = 7;
    pub const GET_CONFIG_REPLY: u8 = 8;
    pub const SET_CONFIG: u8 = 9;
    pub const PACKET_IN: u8 = 10;
    pub const FLOW_REMOVED: u8 = 11;
    pub const PORT_STATUS: u8 = 12;
    pub const PACKET_OUT: u8 = 13;
    pub const FLOW_MOD: u8 = 14;
    pub const MULTIPART_REQUEST: u8 = 18;
    pub const MULTIPART_REPLY: u8 = 19;
    pub const BARRIER_REQUEST: u8 = 20;
    pub const BARRIER_REPLY: u8 = 21;
    pub const QUEUE_GET_CONFIG_REQUEST: u8 = 22;
    pub const ROLE_REQUEST: u8 = 24;
    pub const GET_ASYNC_REQUEST: u8 = 26;
    pub const SET_ASYNC: u8 = 28;
    /// The last message type of 1.3: OFPT_METER_MOD.
    pub const LAST: u8 = 29;
}

/// Where the body of a multipart message begins.
const MULTIPART_BODY: usize = 16;
/// Type of the request for the ports (OFPMP_PORT_DESC).
const PORT_DESC: u16 = 13;
/// Flag: further parts of the answer follow (OFPMPF_REPLY_MORE).
const MORE: u16 = 1;

/// See [`Version::is_for_switches`](super::Version::is_for_switches).
#[must_use]
pub fn is_for_switches(kind: u8) -> bool {
    matches!(
        kind,
        kind::FEATURES_REQUEST
            | kind::GET_CONFIG_REQUEST
            | kind::SET_CONFIG
            // With OFPT_GROUP_MOD, OFPT_PORT_MOD and OFPT_TABLE_MOD.
            | kind::PACKET_OUT..=kind::MULTIPART_REQUEST
            | kind::BARRIER_REQUEST
            | kind::QUEUE_GET_CONFIG_REQUEST
            | kind::ROLE_REQUEST
            | kind::GET_ASYNC_REQUEST
            // With OFPT_METER_MOD.
            | kind::SET_ASYNC..=kind::LAST
    )
}

/// Reads one whole message; see [`Version::parse`](super::Version::parse).
///
/// # Errors
/// When it is of another version or not what the specification says.
pub fn parse(message: &[u8]) -> Result<(u32, Message<'_>), ParseError> {
    let header = Header::parse(message).ok_or(too_short("a message", message, "at least 8 are needed"))?;
    if header.version != WIRE {
        return Err(ParseError::Version(header.version));
    }
    if usize::from(header.length) != message.len() {
        return Err(too_short("a message", message, "its header says otherwise"));
    }
    let body = from(message, HEADER_LEN);
    let parsed = match header.kind {
        super::hello::HELLO => Message::Hello(Versions::parse(message)?.1),
        kind::ERROR => Message::Error(parse_error_report(message)?),
        kind::ECHO_REQUEST => Message::EchoRequest(body),
        kind::ECHO_REPLY => Message::EchoReply(body),
        kind::FEATURES_REQUEST => empty(message, Message::FeaturesRequest)?,
        kind::FEATURES_REPLY => Message::FeaturesReply(FeaturesView::new_checked(message)?.parse()),
        kind::GET_CONFIG_REQUEST => empty(message, Message::GetConfigRequest)?,
        kind::GET_CONFIG_REPLY => Message::GetConfigReply(parse_config(message)?),
        kind::SET_CONFIG => Message::SetConfig(parse_config(message)?),
        kind::PACKET_IN => Message::PacketIn(PacketInView::new_checked(message)?.parse()?),
        kind::FLOW_REMOVED => match FlowRemovedView::new_checked(message)?.parse() {
            // A flow of someone else's, with a match that none of ours has.
            Err(ParseError::Unsupported { .. }) => Message::Other(kind::FLOW_REMOVED),
            removed => Message::FlowRemoved(removed?),
        },
        kind::PORT_STATUS => Message::PortStatus(PortStatusView::new_checked(message)?.parse()?),
        kind::PACKET_OUT => Message::PacketOut(PacketOutView::new_checked(message)?.parse()?),
        kind::FLOW_MOD => Message::FlowMod(FlowModView::new_checked(message)?.parse()?),
        kind::MULTIPART_REQUEST | kind::MULTIPART_REPLY => parse_multipart(header.kind, message)?,
        kind::BARRIER_REQUEST => empty(message, Message::BarrierRequest)?,
        kind::BARRIER_REPLY => empty(message, Message::BarrierReply)?,
        other @ ..=kind::LAST => Message::Other(other),
        other => return Err(ParseError::Type(other)),
    };
    Ok((header.xid, parsed))
}

/// Section 7.3.5: only the ports are read.
fn parse_multipart<'a>(kind: u8, message: &[u8]) -> Result<Message<'a>, ParseError> {
    if message.len() < MULTIPART_BODY {
        return Err(too_short("a multipart message", message, "at least 16 are needed"));
    }
    let (what, flags) = (u16_at(message, 8), u16_at(message, 10));
    match (kind, what) {
        (kind::MULTIPART_REQUEST, PORT_DESC) if message.len() == MULTIPART_BODY => Ok(Message::PortsRequest),
        (kind::MULTIPART_REPLY, PORT_DESC) => Ok(Message::PortsReply {
            ports: switch::parse_ports(from(message, MULTIPART_BODY))?,
            more: flags & MORE != 0,
        }),
        _ => Ok(Message::Other(kind)),
    }
}

fn emit_multipart(flags: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(&PORT_DESC.to_be_bytes());
    out.extend_from_slice(&flags.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
}

/// Appends a message, its length field still empty; see [`Version::emit`](super::Version::emit).
pub(super) fn emit(message: &Message<'_>, xid: u32, out: &mut Vec<u8>) {
    let mut begin = |kind| header::emit(WIRE, kind, xid, out);
    match message {
        Message::Hello(versions) => versions.emit(xid, out),
        Message::Error(report) => {
            begin(kind::ERROR);
            emit_error_report(report, out);
        }
        Message::EchoRequest(data) => {
            begin(kind::ECHO_REQUEST);
            out.extend_from_slice(data);
        }
        Message::EchoReply(data) => {
            begin(kind::ECHO_REPLY);
            out.extend_from_slice(data);
        }
        Message::FeaturesRequest => begin(kind::FEATURES_REQUEST),
        Message::FeaturesReply(features) => {
            begin(kind::FEATURES_REPLY);
            switch::emit_features(features, out);
        }
        Message::GetConfigRequest => begin(kind::GET_CONFIG_REQUEST),
        Message::GetConfigReply(config) => {
            begin(kind::GET_CONFIG_REPLY);
            emit_config(*config, out);
        }
        Message::SetConfig(config) => {
            begin(kind::SET_CONFIG);
            emit_config(*config, out);
        }
        Message::PacketIn(packet) => {
            begin(kind::PACKET_IN);
            packet::emit_packet_in(packet, out);
        }
        Message::PacketOut(packet) => {
            begin(kind::PACKET_OUT);
            packet::emit_packet_out(packet, out);
        }
        Message::FlowMod(flow) => {
            begin(kind::FLOW_MOD);
            flow::emit_flow_mod(flow, out);
        }
        Message::FlowRemoved(flow) => {
            begin(kind::FLOW_REMOVED);
            flow::emit_flow_removed(flow, out);
        }
        Message::PortStatus(status) => {
            begin(kind::PORT_STATUS);
            switch::emit_port_status(status, out);
        }
        Message::PortsRequest => {
            begin(kind::MULTIPART_REQUEST);
            emit_multipart(0, out);
        }
        Message::PortsReply { ports, more } => {
            begin(kind::MULTIPART_REPLY);
            emit_multipart(if *more { MORE } else { 0 }, out);
            ports.iter().for_each(|port| switch::emit_port(port, out));
        }
        Message::BarrierRequest => begin(kind::BARRIER_REQUEST),
        Message::BarrierReply => begin(kind::BARRIER_REPLY),
        Message::Other(kind) => begin(*kind),
    }
}

//! OpenFlow 1.0.0, wire version 0x01. Section numbers are those of the specification of December 31, 2009.

mod flow;
mod packet;
mod switch;

use super::alike::{emit_config, emit_error_report, empty, parse_config, parse_error_report, too_short};
use super::bytes::from;
use super::header::{self, HEADER_LEN, Header};
use super::{Message, ParseError, Versions};

pub use flow::{FlowModView, FlowRemovedView, MATCH_LEN};
pub use packet::{PacketInView, PacketOutView};
pub use switch::{FeaturesView, PORT_LEN, PortStatusView};

/// Version byte of 1.0's messages.
pub const WIRE: u8 = 0x01;

/// Message types (section 5.1).
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
    pub const PORT_MOD: u8 = 15;
    pub const STATS_REQUEST: u8 = 16;
    pub const BARRIER_REQUEST: u8 = 18;
    pub const BARRIER_REPLY: u8 = 19;
    pub const QUEUE_GET_CONFIG_REQUEST: u8 = 20;
    /// The last message type of 1.0: OFPT_QUEUE_GET_CONFIG_REPLY.
    pub const LAST: u8 = 21;
}

/// See [`Version::is_for_switches`](super::Version::is_for_switches).
#[must_use]
pub fn is_for_switches(kind: u8) -> bool {
    matches!(
        kind,
        kind::FEATURES_REQUEST
            | kind::GET_CONFIG_REQUEST
            | kind::SET_CONFIG
            | kind::PACKET_OUT
            | kind::FLOW_MOD
            | kind::PORT_MOD
            | kind::STATS_REQUEST
            | kind::BARRIER_REQUEST
            | kind::QUEUE_GET_CONFIG_REQUEST
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
        kind::FLOW_REMOVED => Message::FlowRemoved(FlowRemovedView::new_checked(message)?.parse()?),
        kind::PORT_STATUS => Message::PortStatus(PortStatusView::new_checked(message)?.parse()?),
        kind::PACKET_OUT => Message::PacketOut(PacketOutView::new_checked(message)?.parse()?),
        kind::FLOW_MOD => Message::FlowMod(FlowModView::new_checked(message)?.parse()?),
        kind::BARRIER_REQUEST => empty(message, Message::BarrierRequest)?,
        kind::BARRIER_REPLY => empty(message, Message::BarrierReply)?,
        other @ ..=kind::LAST => Message::Other(other),
        other => return Err(ParseError::Type(other)),
    };
    Ok((header.xid, parsed))
}

/// Appends a message, its length field still empty; see [`Version::emit`](super::Version::emit). What this version
/// has no message for becomes one without a body.
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
        Message::BarrierRequest => begin(kind::BARRIER_REQUEST),
        Message::BarrierReply => begin(kind::BARRIER_REPLY),
        // The ports are in the features reply.
        Message::PortsRequest | Message::PortsReply { .. } => begin(kind::FEATURES_REQUEST),
        Message::Other(kind) => begin(*kind),
    }
}

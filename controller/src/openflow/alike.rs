//! What versions 1.0 and 1.3 lay out alike.

use super::bytes::{from, put, u16_at};
use super::header::HEADER_LEN;
use super::{Config, ErrorReport, Message, ParseError, PortNo, PortStatusReason};

/// Type of the action that sends a packet out (OFPAT_OUTPUT).
pub const OUTPUT: u16 = 0;
/// Bytes of a port's name (OFP_MAX_PORT_NAME_LEN).
const NAME_LEN: usize = 16;

pub fn too_short(what: &'static str, bytes: &[u8], expected: &'static str) -> ParseError {
    ParseError::Length { what, length: bytes.len(), expected }
}

pub fn empty<'a>(message: &[u8], meaning: Message<'a>) -> Result<Message<'a>, ParseError> {
    match message.len() {
        HEADER_LEN => Ok(meaning),
        _ => Err(too_short("a message without a body", message, "it has 8")),
    }
}

/// Error messages (1.0 section 5.4.4, 1.3 section 7.5.4).
pub fn parse_error_report(message: &[u8]) -> Result<ErrorReport<'_>, ParseError> {
    if message.len() < 12 {
        return Err(too_short("an error message", message, "at least 12 are needed"));
    }
    Ok(ErrorReport { kind: u16_at(message, 8), code: u16_at(message, 10), data: from(message, 12) })
}

pub fn emit_error_report(report: &ErrorReport<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&report.kind.to_be_bytes());
    out.extend_from_slice(&report.code.to_be_bytes());
    out.extend_from_slice(report.data);
}

/// A port's name, which ends with a zero byte.
pub fn parse_name(name: &[u8; NAME_LEN]) -> String {
    // A name that fills its field lacks the zero byte that must end it (specification 1.0, section 5.2.1): its last
    // byte is cut.
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(NAME_LEN - 1);
    // One `?` for each byte that is not UTF-8: U+FFFD has three bytes, and a name must not outgrow its field.
    let name = name.get(..end).unwrap_or_default();
    name.utf8_chunks().flat_map(|chunk| chunk.valid().chars().chain(chunk.invalid().iter().map(|_| '?'))).collect()
}

/// A port's name with room for the zero byte.
pub fn emit_name(name: &str) -> [u8; NAME_LEN] {
    let mut bytes = [0; NAME_LEN];
    put(&mut bytes, 0, name.as_bytes().get(..NAME_LEN - 1).unwrap_or(name.as_bytes()));
    bytes
}

/// The configuration (1.0 section 5.3.2, 1.3 section 7.3.2).
pub fn parse_config(message: &[u8]) -> Result<Config, ParseError> {
    if message.len() != 12 {
        return Err(too_short("a switch configuration", message, "it has 12"));
    }
    Ok(Config { flags: u16_at(message, 8), miss_send_len: u16_at(message, 10) })
}

pub fn emit_config(config: Config, out: &mut Vec<u8>) {
    out.extend_from_slice(&config.flags.to_be_bytes());
    out.extend_from_slice(&config.miss_send_len.to_be_bytes());
}

pub fn parse_port_reason(reason: u8) -> Result<PortStatusReason, ParseError> {
    match reason {
        0 => Ok(PortStatusReason::Added),
        1 => Ok(PortStatusReason::Deleted),
        2 => Ok(PortStatusReason::Modified),
        other => Err(ParseError::Value { what: "a port-status", field: "reason", value: other.into() }),
    }
}

pub fn port_reason(reason: PortStatusReason) -> u8 {
    match reason {
        PortStatusReason::Added => 0,
        PortStatusReason::Deleted => 1,
        PortStatusReason::Modified => 2,
    }
}

/// Reads a list of actions that are all outputs: the first, and the others.
pub fn parse_outputs(
    mut actions: &[u8],
    output_len: u16,
    port: impl Fn(&[u8]) -> PortNo,
) -> Result<(Option<PortNo>, Vec<PortNo>), ParseError> {
    let mut outputs = Vec::new();
    loop {
        // Of the last the length is looked at, too.
        let (one, rest) = actions.split_at_checked(output_len.into()).unwrap_or((actions, &[]));
        match parse_actions(one, output_len, &port)? {
            Some(output) => outputs.push(output),
            None => break,
        }
        actions = rest;
    }
    let mut outputs = outputs.into_iter();
    Ok((outputs.next(), outputs.collect()))
}

/// Reads a list of actions: nothing, or one output, which has `output_len` bytes and its port after the first four.
pub fn parse_actions(
    actions: &[u8],
    output_len: u16,
    port: impl Fn(&[u8]) -> PortNo,
) -> Result<Option<PortNo>, ParseError> {
    if actions.is_empty() {
        return Ok(None);
    }
    if actions.len() < 8 || usize::from(u16_at(actions, 2)) > actions.len() || !u16_at(actions, 2).is_multiple_of(8) {
        return Err(too_short(
            "an action",
            actions,
            "actions are at least 8 bytes long, and whole multiples of that",
        ));
    }
    let (kind, length) = (u16_at(actions, 0), u16_at(actions, 2));
    if kind != OUTPUT {
        return Err(ParseError::Unsupported { what: "an action", field: "type", value: kind.into() });
    }
    if length != output_len {
        return Err(ParseError::Value { what: "an output action", field: "length", value: length.into() });
    }
    if actions.len() != usize::from(output_len) {
        let value = actions.len() as u64;
        return Err(ParseError::Unsupported { what: "a list of several actions", field: "length", value });
    }
    Ok(Some(port(from(actions, 4))))
}

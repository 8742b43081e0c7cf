//! Matches as type-length-value lists (section 7.2.2).

use std::net::Ipv4Addr;

use super::super::alike::too_short;
use super::super::bytes::{array_at, from, u8_at, u16_at, u32_at};
use super::super::{FlowMatch, Ipv4Prefix, ParseError, PortNo, Vlan};
use crate::mac::MacAddr;

/// Type of a match made of OXM fields (OFPMT_OXM).
const MATCH_TYPE: u16 = 1;
/// Length of a match's type and length.
const MATCH_HEADER: usize = 4;
/// Class of the fields that every switch knows (OFPXMC_OPENFLOW_BASIC).
const BASIC: u16 = 0x8000;
/// OFPVID_PRESENT: set in the id of every VLAN tag.
const VLAN_PRESENT: u16 = 0x1000;

/// Numbers of the fields, OFPXMT_OFB_… (section 7.2.2.7, table 12).
mod field {
    pub const IN_PORT: u8 = 0;
    pub const ETH_DST: u8 = 3;
    pub const ETH_SRC: u8 = 4;
    pub const ETH_TYPE: u8 = 5;
    pub const VLAN_VID: u8 = 6;
    pub const VLAN_PCP: u8 = 7;
    pub const IP_DSCP: u8 = 8;
    pub const IP_PROTO: u8 = 10;
    pub const IPV4_SRC: u8 = 11;
    pub const IPV4_DST: u8 = 12;
    pub const TCP_SRC: u8 = 13;
    pub const TCP_DST: u8 = 14;
    pub const UDP_SRC: u8 = 15;
    pub const UDP_DST: u8 = 16;
    pub const ICMPV4_TYPE: u8 = 19;
    pub const ICMPV4_CODE: u8 = 20;
    pub const ARP_OP: u8 = 21;
    pub const ARP_SPA: u8 = 22;
    pub const ARP_TPA: u8 = 23;
}

const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// One field of a match.
struct Oxm<'a> {
    class: u16,
    field: u8,
    has_mask: bool,
    value: &'a [u8],
}

/// The fields of the match at the beginning of `bytes`, and the length of the match with its padding.
fn fields(bytes: &[u8]) -> Result<(&[u8], usize), ParseError> {
    let (kind, length) = (u16_at(bytes, 0), usize::from(u16_at(bytes, 2)));
    let padded = length.next_multiple_of(8);
    if length < MATCH_HEADER || bytes.len() < padded {
        return Err(too_short("a match", bytes, "it says that it is longer, or shorter than its header"));
    }
    if kind != MATCH_TYPE {
        return Err(ParseError::Value { what: "a match", field: "type", value: kind.into() });
    }
    Ok((bytes.get(MATCH_HEADER..length).unwrap_or_default(), padded))
}

/// Takes the first field off a list; `None`: it is empty.
fn next<'a>(list: &mut &'a [u8]) -> Result<Option<Oxm<'a>>, ParseError> {
    if list.is_empty() {
        return Ok(None);
    }
    let length = usize::from(u8_at(list, 3));
    let Some(value) = list.get(4..4 + length) else {
        return Err(too_short("a match field", list, "it does not fit into its match"));
    };
    let field = u8_at(list, 2);
    let found = Oxm { class: u16_at(list, 0), field: field >> 1, has_mask: field & 1 == 1, value };
    *list = from(list, 4 + length);
    Ok(Some(found))
}

/// The port that a packet came in, from the match of a packet-in, and the length of that match. All other fields are
/// passed over.
pub fn parse_in_port(bytes: &[u8]) -> Result<(PortNo, usize), ParseError> {
    let (mut list, padded) = fields(bytes)?;
    while let Some(oxm) = next(&mut list)? {
        if (oxm.class, oxm.field, oxm.has_mask, oxm.value.len()) == (BASIC, field::IN_PORT, false, 4) {
            return Ok((PortNo(u32_at(oxm.value, 0)), padded));
        }
    }
    Err(ParseError::Value { what: "a packet-in", field: "no port in its match of length", value: padded as u64 })
}

/// Reads a match, and its length with padding.
pub fn parse_match(bytes: &[u8]) -> Result<(FlowMatch, usize), ParseError> {
    let (mut list, padded) = fields(bytes)?;
    let mut matching = FlowMatch::ANY;
    let mut seen = 0u128;
    while let Some(oxm) = next(&mut list)? {
        if oxm.class != BASIC {
            return Err(ParseError::Unsupported { what: "a match", field: "class", value: oxm.class.into() });
        }
        let bit = 1 << oxm.field;
        if seen & bit != 0 {
            return Err(ParseError::Value { what: "a match", field: "twice the field", value: oxm.field.into() });
        }
        seen |= bit;
        if matching.eth_type == Some(IPV6) && is_of_ip(oxm.field) {
            return Err(ParseError::Unsupported { what: "a match of IPv6", field: "field", value: oxm.field.into() });
        }
        if !is_allowed(oxm.field, &matching) {
            let field = "without what it presupposes the field";
            return Err(ParseError::Value { what: "a match", field, value: oxm.field.into() });
        }
        add(&mut matching, &oxm)?;
    }
    if matching.vlan == Some(Vlan::Untagged) {
        // As in 1.0, where the two go together.
        matching.vlan_pcp = Some(0);
    }
    Ok((matching, padded))
}

/// Whether IPv6 has a field too, where it has no place in a [`FlowMatch`].
fn is_of_ip(field: u8) -> bool {
    matches!(
        field,
        field::IP_DSCP | field::IP_PROTO | field::TCP_SRC | field::TCP_DST | field::UDP_SRC | field::UDP_DST
    )
}

/// Whether the fields before it are those that a field presupposes (section 7.2.2.6, table 12).
fn is_allowed(field: u8, before: &FlowMatch) -> bool {
    let is_ipv4 = before.eth_type == Some(IPV4);
    let carries = |proto| is_ipv4 && before.ip_proto == Some(proto);
    match field {
        field::VLAN_PCP => matches!(before.vlan, Some(Vlan::Id(_))),
        field::IP_DSCP | field::IP_PROTO | field::IPV4_SRC | field::IPV4_DST => is_ipv4,
        field::TCP_SRC | field::TCP_DST => carries(TCP),
        field::UDP_SRC | field::UDP_DST => carries(UDP),
        field::ICMPV4_TYPE | field::ICMPV4_CODE => carries(ICMP),
        field::ARP_OP | field::ARP_SPA | field::ARP_TPA => before.eth_type == Some(ARP),
        _ => true,
    }
}

fn add(matching: &mut FlowMatch, oxm: &Oxm<'_>) -> Result<(), ParseError> {
    let unsupported = || ParseError::Unsupported { what: "a match", field: "field", value: oxm.field.into() };
    let width = match oxm.field {
        field::ETH_DST | field::ETH_SRC => 6,
        field::IN_PORT | field::IPV4_SRC | field::IPV4_DST | field::ARP_SPA | field::ARP_TPA => 4,
        field::ETH_TYPE
        | field::VLAN_VID
        | field::TCP_SRC
        | field::TCP_DST
        | field::UDP_SRC
        | field::UDP_DST
        | field::ARP_OP => 2,
        field::VLAN_PCP | field::IP_DSCP | field::IP_PROTO | field::ICMPV4_TYPE | field::ICMPV4_CODE => 1,
        _ => return Err(unsupported()),
    };
    let expected = if oxm.has_mask { 2 * width } else { width };
    if oxm.value.len() != expected {
        return Err(too_short("a match field", oxm.value, "another length is right for it"));
    }
    let is_address = matches!(oxm.field, field::IPV4_SRC | field::IPV4_DST | field::ARP_SPA | field::ARP_TPA);
    if oxm.has_mask && !is_address {
        return Err(unsupported());
    }
    let (byte, word) = (u8_at(oxm.value, 0), u16_at(oxm.value, 0));
    let range = |fits: bool, value: u64| match fits {
        true => Ok(()),
        false => Err(ParseError::Value { what: "a match", field: "field", value }),
    };
    match oxm.field {
        field::IN_PORT => matching.in_port = Some(PortNo(u32_at(oxm.value, 0))),
        field::ETH_DST => matching.eth_dst = Some(MacAddr(array_at(oxm.value, 0))),
        field::ETH_SRC => matching.eth_src = Some(MacAddr(array_at(oxm.value, 0))),
        field::ETH_TYPE => matching.eth_type = Some(word),
        field::VLAN_VID => {
            range(word == 0 || word & !0xfff == VLAN_PRESENT, word.into())?;
            matching.vlan = Some(if word == 0 { Vlan::Untagged } else { Vlan::Id(word & 0xfff) });
        }
        field::VLAN_PCP => {
            range(byte < 8, byte.into())?;
            matching.vlan_pcp = Some(byte);
        }
        field::IP_DSCP => {
            range(byte < 64, byte.into())?;
            matching.ip_dscp = Some(byte);
        }
        field::IP_PROTO => matching.ip_proto = Some(byte),
        field::IPV4_SRC | field::ARP_SPA => matching.ip_src = Some(prefix(oxm)?),
        field::IPV4_DST | field::ARP_TPA => matching.ip_dst = Some(prefix(oxm)?),
        field::TCP_SRC | field::UDP_SRC => matching.l4_src = Some(word),
        field::TCP_DST | field::UDP_DST => matching.l4_dst = Some(word),
        field::ICMPV4_TYPE => matching.l4_src = Some(byte.into()),
        field::ICMPV4_CODE => matching.l4_dst = Some(byte.into()),
        _ => {
            // ARP's operation; 1.0 has room for eight bits.
            let operation = u8::try_from(word).map_err(|_| unsupported())?;
            matching.ip_proto = Some(operation);
        }
    }
    Ok(())
}

fn prefix(oxm: &Oxm<'_>) -> Result<Ipv4Prefix, ParseError> {
    let mask = if oxm.has_mask { u32_at(oxm.value, 4) } else { u32::MAX };
    let bits = mask.leading_ones();
    let invalid = ParseError::Unsupported { what: "a match", field: "mask", value: mask.into() };
    if mask.count_ones() != bits {
        return Err(invalid);
    }
    u8::try_from(bits)
        .ok()
        .and_then(|bits| Ipv4Prefix::new(Ipv4Addr::from(u32_at(oxm.value, 0)), bits))
        .ok_or(invalid)
}

/// Appends a match with its padding. Fields whose prerequisites (section 7.2.2.6) are not given cannot be said and
/// are left out, as 1.0 ignores them.
pub fn emit_match(matching: &FlowMatch, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&MATCH_TYPE.to_be_bytes());
    out.extend_from_slice(&[0; 2]);
    let mut list = List(out);
    list.add(field::IN_PORT, matching.in_port.map(|port| port.0.to_be_bytes()));
    list.add(field::ETH_DST, matching.eth_dst.map(|mac| mac.0));
    list.add(field::ETH_SRC, matching.eth_src.map(|mac| mac.0));
    list.add(field::ETH_TYPE, matching.eth_type.map(u16::to_be_bytes));
    match matching.vlan {
        None => {}
        Some(Vlan::Untagged) => list.add(field::VLAN_VID, Some([0; 2])),
        Some(Vlan::Id(id)) => {
            list.add(field::VLAN_VID, Some((id | VLAN_PRESENT).to_be_bytes()));
            list.add(field::VLAN_PCP, matching.vlan_pcp.map(|pcp| [pcp]));
        }
    }
    match matching.eth_type {
        Some(IPV4) => {
            list.add(field::IP_DSCP, matching.ip_dscp.map(|dscp| [dscp]));
            list.add(field::IP_PROTO, matching.ip_proto.map(|proto| [proto]));
            list.add_prefix(field::IPV4_SRC, matching.ip_src);
            list.add_prefix(field::IPV4_DST, matching.ip_dst);
            let ports = match matching.ip_proto {
                Some(TCP) => Some((field::TCP_SRC, field::TCP_DST)),
                Some(UDP) => Some((field::UDP_SRC, field::UDP_DST)),
                _ => None,
            };
            if let Some((src, dst)) = ports {
                list.add(src, matching.l4_src.map(u16::to_be_bytes));
                list.add(dst, matching.l4_dst.map(u16::to_be_bytes));
            }
            if matching.ip_proto == Some(ICMP) {
                let byte = |number: u16| u8::try_from(number).ok().map(|byte| [byte]);
                list.add(field::ICMPV4_TYPE, matching.l4_src.and_then(byte));
                list.add(field::ICMPV4_CODE, matching.l4_dst.and_then(byte));
            }
        }
        Some(ARP) => {
            list.add(field::ARP_OP, matching.ip_proto.map(|operation| u16::from(operation).to_be_bytes()));
            list.add_prefix(field::ARP_SPA, matching.ip_src);
            list.add_prefix(field::ARP_TPA, matching.ip_dst);
        }
        _ => {}
    }
    // At most 96 bytes: a match always fits its length field.
    let length = u16::try_from(out.len() - start).unwrap_or(u16::MAX);
    if let Some(room) = out.get_mut(start + 2..start + 4) {
        room.copy_from_slice(&length.to_be_bytes());
    }
    out.resize(start + usize::from(length).next_multiple_of(8), 0);
}

/// Appends fields to a match.
struct List<'a>(&'a mut Vec<u8>);

impl List<'_> {
    fn add<const N: usize>(&mut self, field: u8, value: Option<[u8; N]>) {
        if let Some(value) = value {
            self.header(field, false, N);
            self.0.extend_from_slice(&value);
        }
    }

    fn add_prefix(&mut self, field: u8, prefix: Option<Ipv4Prefix>) {
        match prefix {
            Some(prefix) if prefix.bits() < 32 => {
                self.header(field, true, 8);
                self.0.extend_from_slice(&prefix.address().octets());
                self.0.extend_from_slice(&prefix.mask().octets());
            }
            prefix => self.add(field, prefix.map(|prefix| prefix.address().octets())),
        }
    }

    fn header(&mut self, field: u8, has_mask: bool, length: usize) {
        let [a, b] = BASIC.to_be_bytes();
        self.0.extend_from_slice(&[a, b, field << 1 | u8::from(has_mask), length as u8]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields as a match, with padding.
    fn matching(fields: &[&[u8]]) -> Vec<u8> {
        let list = fields.concat();
        let length = (MATCH_HEADER + list.len()) as u16;
        let mut bytes = [&MATCH_TYPE.to_be_bytes()[..], &length.to_be_bytes(), &list].concat();
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    const ETH_TYPE_IPV4: &[u8] = &[0x80, 0, 5 << 1, 2, 8, 0];
    const IP_PROTO_TCP: &[u8] = &[0x80, 0, 10 << 1, 1, 6];
    const TCP_DST: &[u8] = &[0x80, 0, 14 << 1, 2, 0x07, 0x8f];
    const UDP_DST: &[u8] = &[0x80, 0, 16 << 1, 2, 0x07, 0x8f];
    const VLAN_PCP: &[u8] = &[0x80, 0, 7 << 1, 1, 3];

    #[test]
    fn a_field_needs_what_it_presupposes_before_it() {
        let parse = |fields: &[&[u8]]| parse_match(&matching(fields)).map(|(matching, _)| matching.l4_dst);
        assert_eq!(parse(&[ETH_TYPE_IPV4, IP_PROTO_TCP, TCP_DST]), Ok(Some(1935)));
        assert!(parse(&[IP_PROTO_TCP, ETH_TYPE_IPV4, TCP_DST]).is_err());
        assert!(parse(&[ETH_TYPE_IPV4, TCP_DST]).is_err());
        assert!(parse(&[ETH_TYPE_IPV4, IP_PROTO_TCP, UDP_DST]).is_err());
        assert!(parse(&[VLAN_PCP]).is_err());
    }

    /// Flows of others may have such matches, and switches tell when they end.
    #[test]
    fn what_is_right_but_has_no_place_here_is_not_called_wrong() {
        let ipv6: &[u8] = &[0x80, 0, 5 << 1, 2, 0x86, 0xdd];
        let sctp_dst: &[u8] = &[0x80, 0, 18 << 1, 2, 0x07, 0x8f];
        let some_multicast = [&[0x80, 0, 3 << 1 | 1, 12, 1, 0, 0, 0, 0, 0][..], &[1, 0, 0, 0, 0, 0]].concat();
        let nicira: &[u8] = &[0x00, 0x01, 0, 4, 0, 0, 0, 1];
        for fields in [&[ipv6, IP_PROTO_TCP, TCP_DST][..], &[ETH_TYPE_IPV4, sctp_dst], &[&some_multicast], &[nicira]]
        {
            let read = parse_match(&matching(fields));
            assert!(matches!(read, Err(ParseError::Unsupported { .. })), "{read:?}");
        }
    }

    #[test]
    fn a_field_comes_once() {
        let parse = |fields: &[&[u8]]| parse_match(&matching(fields)).map(|_| ());
        assert_eq!(parse(&[ETH_TYPE_IPV4]), Ok(()));
        assert!(parse(&[ETH_TYPE_IPV4, ETH_TYPE_IPV4]).is_err());
    }
}

//! The topology file: Python for `mn --custom`, made from the plan by a template.
//!
//! Every value goes into the file as a JSON string, number, list or object, which Python reads as the same value; so
//! no name or address can become code.

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, Value, context};
use serde::Serialize;

use super::{Forwarding, Links, NetworkError, tc};
use crate::plan;

/// The name under which `mn --topo` finds the topology in the file.
pub const TOPOLOGY_NAME: &str = "livectl";

const TEMPLATE: &str = include_str!("topology.py.j2");

/// What the topology file's `Port` is told about itself.
#[derive(Serialize)]
struct Settings<'a> {
    /// Ethernet address.
    #[serde(skip_serializing_if = "Option::is_none")]
    hw: Option<&'a str>,
    /// IPv4 address and prefix length.
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<String>,
    /// Arguments of `tc`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    shape: Vec<String>,
}

/// The topology file of a trial.
///
/// # Errors
/// When a name could be taken for shell syntax, or the template cannot be filled, which is a bug.
pub fn topology(trial: &plan::Trial, links: Links, forwarding: Forwarding) -> Result<String, NetworkError> {
    let network = &trial.network;
    refuse_unsafe_names(trial)?;
    let end = |end: &plan::End, shape: &plan::Shape, changes: bool| -> Value {
        let interface = network.host(&end.node).and_then(|h| h.interfaces.iter().find(|i| i.name == end.interface));
        let settings = Settings {
            hw: interface.map(|i| i.mac.as_str()),
            ip: interface.map(|i| format!("{}/{}", i.address, i.prefix)),
            shape: match links {
                Links::Netem => tc::commands(&end.interface, shape, tc::Constancy::of(changes)),
                Links::Emulated => Vec::new(),
            },
        };
        context! {
            node => python(&end.node),
            interface => python(&end.interface),
            port => port(&end.interface),
            settings => python(&settings),
        }
    };
    let cables: Vec<Value> = network
        .links
        .iter()
        .enumerate()
        .map(|(n, link)| {
            // Each end shapes what leaves through it.
            let [a, b] = [(&link.a, true), (&link.b, false)]
                .map(|(at, forward)| end(at, &link.shape, trial.changes(n, forward)));
            context! { a, b }
        })
        .collect();
    let switches: Vec<Value> = network
        .switches
        .iter()
        .map(|s| context! { name => python(&s.name), dpid => python(&format!("{:016x}", s.dpid)) })
        .collect();
    let hosts: Vec<String> = network.hosts.iter().map(|h| python(&h.name)).collect();

    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build();
    let mut environment = Environment::new();
    environment.set_syntax(syntax.map_err(NetworkError::Template)?);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment
        .render_str(
            TEMPLATE,
            context! {
                trial => trial.id.escape_default().to_string(),
                emulated => links == Links::Emulated,
                datapath => python(&forwarding.to_string()),
                congestion_control => python(&trial.congestion_control),
                initial_window => trial.initial_window,
                switches, hosts, links => cables,
            },
        )
        .map_err(NetworkError::Template)
}

/// Mininet hands these names to shells. Recipes are validated before; a stored plan may have been edited since.
fn refuse_unsafe_names(trial: &plan::Trial) -> Result<(), NetworkError> {
    let network = &trial.network;
    let ends = network.links.iter().flat_map(|l| [&l.a, &l.b]).flat_map(|e| [&e.node, &e.interface]);
    let nodes = network.switches.iter().map(|s| &s.name).chain(network.hosts.iter().map(|h| &h.name));
    for name in ends.chain(nodes).chain([&trial.congestion_control]) {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if !(1..=15).contains(&name.len()) || !name.chars().all(plain) || name.starts_with(['-', '.']) {
            return Err(NetworkError::Name(name.clone()));
        }
    }
    Ok(())
}

/// A string, or [`Settings`], as a Python literal: JSON's strings, lists and objects read the same in Python.
fn python(value: &impl Serialize) -> String {
    // Serialisation of these types cannot fail; an empty literal would be a syntax error that Mininet reports.
    serde_json::to_string(value).unwrap_or_default()
}

/// The OpenFlow port of a switch's interface, and Mininet's port of a host's: the number at the end of its name
/// (`s1-eth3`: 3).
#[must_use]
pub fn port(interface: &str) -> u32 {
    let digits = interface.bytes().rev().take_while(u8::is_ascii_digit).count();
    interface[interface.len() - digits..].parse().unwrap_or(0)
}

#[cfg(test)]
pub(crate) mod tests;

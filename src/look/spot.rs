//! Where packets are looked at.

use super::LOOPBACK;
use crate::plan::{Host, Network};

/// The word for the connections between switches and controller.
pub const CONTROLLER: &str = "controller";

/// An interface of a running trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// Whose network namespace it is in; `None`: where switches and controller are.
    pub host: Option<String>,
    /// Name of the interface.
    pub interface: String,
}

/// A word that names no interface.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpotError {
    /// Neither host nor interface.
    #[error(
        "the running trial has no host or interface {name:?}; it has the hosts {hosts}, the interfaces {interfaces}, and `{CONTROLLER}`"
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// Names of the hosts that there are.
        hosts: String,
        /// Names of the interfaces that there are.
        interfaces: String,
    },
    /// A host on several links.
    #[error("{host} has several interfaces; say which: {interfaces}")]
    Several {
        /// The host's name.
        host: String,
        /// Its interfaces.
        interfaces: String,
    },
}

impl Spot {
    /// What `name` means: a host with one link, an interface of a host or of a switch, or [`CONTROLLER`].
    ///
    /// # Errors
    /// See [`SpotError`].
    pub fn find(network: &Network, name: &str) -> Result<Spot, SpotError> {
        if let Some(host) = network.host(name) {
            return match host.interfaces.as_slice() {
                [only] => Ok(Spot { host: Some(host.name.clone()), interface: only.name.clone() }),
                several => {
                    let interfaces = listed(several.iter().map(|interface| interface.name.as_str()));
                    Err(SpotError::Several { host: host.name.clone(), interfaces })
                }
            };
        }
        let has_it = |host: &&Host| host.interfaces.iter().any(|interface| interface.name == name);
        if let Some(host) = network.hosts.iter().find(has_it) {
            return Ok(Spot { host: Some(host.name.clone()), interface: name.to_owned() });
        }
        if name == CONTROLLER {
            return Ok(Spot { host: None, interface: LOOPBACK.into() });
        }
        let ends = || network.links.iter().flat_map(|link| [&link.a, &link.b]);
        if ends().any(|end| end.interface == name) {
            return Ok(Spot { host: None, interface: name.to_owned() });
        }
        Err(SpotError::Unknown {
            name: name.to_owned(),
            hosts: listed(network.hosts.iter().map(|host| host.name.as_str())),
            interfaces: listed(ends().map(|end| end.interface.as_str())),
        })
    }
}

/// Names with commas; of very many the first.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const MOST: usize = 24;
    let names: Vec<&str> = names.collect();
    let more = if names.len() > MOST { ", …" } else { "" };
    names.iter().take(MOST).copied().collect::<Vec<_>>().join(", ") + more
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn network() -> Network {
        let plan = crate::recipe::load(std::path::Path::new("recipes/p2p.yaml")).unwrap().plan;
        plan.trials[0].network.clone()
    }

    fn spot(host: Option<&str>, interface: &str) -> Spot {
        Spot { host: host.map(Into::into), interface: interface.into() }
    }

    #[test]
    fn hosts_interfaces_and_the_controller() {
        let network = network();
        assert_eq!(Spot::find(&network, "hv1"), Ok(spot(Some("hv1"), "hv1-eth0")));
        assert_eq!(Spot::find(&network, "hv1-eth0"), Ok(spot(Some("hv1"), "hv1-eth0")));
        assert_eq!(Spot::find(&network, "s1-eth1"), Ok(spot(None, "s1-eth1")));
        assert_eq!(Spot::find(&network, "controller"), Ok(spot(None, "lo")));
        let error = Spot::find(&network, "hv9").unwrap_err().to_string();
        assert!(error.contains("\"hv9\"") && error.contains("hb") && error.contains("s1-eth1"), "{error}");
    }

    #[test]
    fn a_host_on_two_links_must_be_asked_for_by_interface() {
        let mut network = network();
        let host = network.hosts.iter_mut().find(|host| host.name == "hv1").unwrap();
        let mut second = host.interfaces[0].clone();
        second.name = "hv1-eth1".into();
        host.interfaces.push(second);
        let error = Spot::find(&network, "hv1").unwrap_err().to_string();
        assert_eq!(error, "hv1 has several interfaces; say which: hv1-eth0, hv1-eth1");
        assert_eq!(Spot::find(&network, "hv1-eth1"), Ok(spot(Some("hv1"), "hv1-eth1")));
    }
}

//! The hosts, and which broadcaster each viewer watches.

use std::collections::HashMap;
use std::path::Path;

use super::super::file::{HostFile, LinkFile, NetworkFile};
use super::super::problem::Finding;
use super::super::program::ProgramFile;
use super::super::text::{At, Span, Text};
use super::super::unit::Whole;
use super::super::word::{NodeName, listed, shown};
use super::program::{validate_player, validate_program};
use super::topology::{Fabric, Plug, validate_plugs};
use super::{Notes, unknown_node, validate_name};
use crate::plan::{Network, Player, Program, Role, Stream};

/// Hosts of a recipe at most.
const MOST_HOSTS: usize = 512;

/// One host, `count` filled in.
pub(super) struct HostDraft<'f> {
    pub name: String,
    /// What the recipe calls it: `hv` for `hv1`.
    pub group: String,
    /// Whether it is the first of its group: what concerns the group is said of it alone.
    pub first: bool,
    pub role: Role,
    /// Where its name is written.
    pub span: Span,
    watch: Option<&'f Text<NodeName>>,
    /// What it watches with.
    pub player: Player,
    program: Program,
    /// Where its program is written, if it is.
    pub program_span: Option<&'f Span>,
    pub plugs: Vec<Plug>,
}

/// Reads hosts and fills in `count`. `None`: something is wrong.
pub(super) fn validate_hosts<'f>(
    file: &'f NetworkFile,
    fabric: &Fabric<'_>,
    base: &Path,
    notes: &mut Notes<'_>,
) -> Option<Vec<HostDraft<'f>>> {
    let before = notes.errors.len();
    let mut hosts: Vec<HostDraft<'f>> = Vec::new();
    // Where each name was first taken, and by what.
    let mut taken: HashMap<String, (Span, &str)> =
        file.switches.value.iter().map(|s| (s.text.clone(), (s.span.clone(), "a switch"))).collect();
    let mut complete = true;
    for (key, host) in &file.hosts.value.0 {
        let name = validate_name("hosts", key, notes);
        let role = notes.read("role", &host.value.role);
        let count = validate_count(&host.value, role, notes);
        let links = written_links(key, &host.value, notes);
        let plugs = links.and_then(|links| validate_plugs(key, &links, fabric, notes));
        let program = validate_program(key, &host.value, role, base, notes);
        let player = validate_player(key, &host.value, role, base, notes);
        complete &= role.is_some() && plugs.is_some() && program.is_some() && player.is_some();
        if let (Some(watch), Some(role)) = (host.value.watch.get(), role)
            && role != Role::Viewer
        {
            let finding =
                Finding::new(&watch.span, format!("watch: {} is no viewer", shown(&key.text)), "not for this role");
            notes.error(finding.help("only viewers watch; leave it out"));
        }
        let (Some(NodeName(group)), Some(role), Some(count)) = (name, role, count) else { continue };
        let (Some(plugs), Some(program), Some(player)) = (plugs, program, player) else { continue };
        let names = match count {
            None => vec![group.clone()],
            Some(count) => (1..=count).map(|n| format!("{group}{n}")).collect(),
        };
        if hosts.len() + names.len() > MOST_HOSTS {
            let message = format!("hosts: with {} there are more than {MOST_HOSTS} hosts", shown(&group));
            notes.error(Finding::new(&key.span, message, "too many").help("write a smaller `count`"));
            break;
        }
        for (n, name) in names.into_iter().enumerate() {
            if !validate_expanded(&name, key, &taken, notes) {
                break;
            }
            taken.insert(name.clone(), (key.span.clone(), if count.is_some() { "one of these" } else { "a host" }));
            let (watch, program_span) = (host.value.watch.get(), host.value.program.get().map(ProgramFile::span));
            let (group, span, plugs, program) = (group.clone(), key.span.clone(), plugs.clone(), program.clone());
            hosts.push(HostDraft {
                name,
                group,
                first: n == 0,
                role,
                span,
                watch,
                player: player.clone(),
                program,
                program_span,
                plugs,
            });
        }
    }
    if complete && notes.errors.len() == before {
        validate_roles(file, &hosts, notes);
    }
    (complete && notes.errors.len() == before).then_some(hosts)
}

/// The `count` of a host, if it has one. Outer `None`: it is wrong.
fn validate_count(host: &HostFile, role: Option<Role>, notes: &mut Notes<'_>) -> Option<Option<u64>> {
    let Some(text) = host.count.get() else { return Some(None) };
    let Whole(count) = notes.read("count", text)?;
    if role == Some(Role::Cdn) {
        let finding = Finding::new(&text.span, "count: there is one CDN", "not for the CDN");
        notes.error(finding.help("leave `count` out"));
        return None;
    }
    Some(Some(count))
}

/// The host's links, from whichever of `link` and `links` is written.
fn written_links<'f>(
    key: &Text<NodeName>,
    host: &'f HostFile,
    notes: &mut Notes<'_>,
) -> Option<Vec<&'f At<LinkFile>>> {
    match (host.link.get(), host.links.get()) {
        (Some(link), None) => Some(vec![link]),
        (None, Some(links)) if !links.value.is_empty() => Some(links.value.iter().collect()),
        (None, Some(links)) => {
            let finding =
                Finding::new(&links.span, format!("links: {} is plugged in nowhere", shown(&key.text)), "empty");
            notes.error(finding.help("write `links: [{ to: s1 }, { to: s2 }]`"));
            None
        }
        (None, None) => {
            let finding =
                Finding::new(&key.span, format!("hosts: {} is plugged in nowhere", shown(&key.text)), "no link");
            notes.error(finding.help("add `link: { to: s1, bandwidth: 4 Mbit/s, delay: 100 ms }`"));
            None
        }
        (Some(link), Some(links)) => {
            let message = format!("links: {} has both `link` and `links`", shown(&key.text));
            let finding = Finding::new(&links.span, message, "`links`").also(&link.span, "`link`");
            notes.error(finding.help("keep `link` for one link, `links` for several"));
            None
        }
    }
}

/// Whether a name is still good with its number at the end, and nobody else's.
fn validate_expanded(
    name: &str,
    key: &Text<NodeName>,
    taken: &HashMap<String, (Span, &str)>,
    notes: &mut Notes<'_>,
) -> bool {
    let counted = if name == key.text { String::new() } else { format!(" (of {} with `count`)", shown(&key.text)) };
    if name.len() > NodeName::MAX_LENGTH {
        let message = format!("hosts: {}{counted} is {} letters long", shown(name), name.len());
        let help = format!("names have at most {} letters, number included", NodeName::MAX_LENGTH);
        notes.error(Finding::new(&key.span, message, "too long").help(help));
        return false;
    }
    if let Some(why) = NodeName::reserved(name) {
        let message = format!("hosts: {}{counted} is reserved: {why}", shown(name));
        notes.error(Finding::new(&key.span, message, "reserved").help("choose another name"));
        return false;
    }
    if let Some((span, what)) = taken.get(name) {
        let message = format!("hosts: {}{counted} is taken already", shown(name));
        notes
            .error(Finding::new(&key.span, message, "again").also(span, what.to_owned()).help("choose another name"));
        return false;
    }
    true
}

/// One CDN, at least one broadcaster and one viewer.
fn validate_roles(file: &NetworkFile, hosts: &[HostDraft<'_>], notes: &mut Notes<'_>) {
    for (role, word) in [(Role::Broadcaster, "broadcaster"), (Role::Cdn, "cdn"), (Role::Viewer, "viewer")] {
        let mut having = hosts.iter().filter(|host| host.role == role);
        let Some(first) = having.next() else {
            let finding = Finding::new(&file.hosts.span, format!("hosts: there is no {word}"), "among these hosts");
            notes.error(finding.help(format!("give one of them `role: {word}`")));
            continue;
        };
        if role == Role::Cdn
            && let Some(second) = having.next()
        {
            let finding =
                Finding::new(&second.span, "hosts: there is more than one CDN", "second").also(&first.span, "first");
            notes.error(finding.help("keep one of them; others can be `role: idle`"));
        }
    }
}

/// Who watches whom. `None`: something is wrong.
pub(super) fn validate_streams(
    hosts: &[HostDraft<'_>],
    network: &Network,
    notes: &mut Notes<'_>,
) -> Option<Vec<Stream>> {
    let before = notes.errors.len();
    let broadcasters: Vec<&HostDraft<'_>> = hosts.iter().filter(|host| host.role == Role::Broadcaster).collect();
    let names: Vec<&str> = broadcasters.iter().map(|host| host.name.as_str()).collect();
    let mut streams: Vec<Stream> = broadcasters
        .iter()
        .map(|host| Stream {
            name: host.name.clone(),
            broadcaster: host.name.clone(),
            viewers: Vec::new(),
            program: host.program.clone(),
        })
        .collect();
    for host in hosts {
        check_reaches_cdn(host, network, notes);
        if host.role != Role::Viewer {
            continue;
        }
        match (host.watch, streams.as_mut_slice()) {
            (Some(watch), streams) => match streams.iter_mut().find(|stream| stream.name == watch.text) {
                Some(stream) => stream.viewers.push(host.name.clone()),
                None if host.first => {
                    notes.error(unknown_node("watch", "broadcaster", &watch.text, &watch.span, names.clone()));
                }
                None => {}
            },
            (None, [only]) => only.viewers.push(host.name.clone()),
            (None, _) if host.first => {
                let message = format!("hosts: {} may watch {}", shown(&host.group), listed(&names));
                let finding = Finding::new(&host.span, message, "whom does it watch?");
                notes.error(finding.help(format!("add `watch: {}`", names.first().copied().unwrap_or("hb"))));
            }
            (None, _) => {}
        }
    }
    if notes.errors.len() > before {
        return None;
    }
    for (stream, host) in streams.iter().zip(&broadcasters) {
        if stream.viewers.is_empty() {
            let finding = Finding::new(&host.span, format!("no viewer watches {}", stream.name), "no viewer");
            notes.warn(finding.help(format!("give a viewer `watch: {}`, or make it `role: idle`", stream.name)));
        }
    }
    Some(streams)
}

/// Broadcasters and viewers must have a subnet in common with the CDN: nothing routes between subnets.
fn check_reaches_cdn(host: &HostDraft<'_>, network: &Network, notes: &mut Notes<'_>) {
    let role = match host.role {
        Role::Broadcaster => "broadcaster",
        Role::Viewer => "viewer",
        Role::Cdn | Role::Idle => return,
    };
    let Some(cdn) = network.cdn() else { return };
    if host.first && network.address_from(&host.name, &cdn.name).is_none() {
        let message = format!("hosts: {role} {} cannot reach the CDN {}", shown(&host.group), cdn.name);
        let finding = Finding::new(&host.span, message, "on other switches than the CDN");
        notes.error(finding.help(format!("join the switches with a trunk, or give {} another link", cdn.name)));
    }
}

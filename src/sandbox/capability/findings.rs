//! Judges what was found: what it means for trials, and which command fixes it.

use std::path::PathBuf;

use serde::Serialize;

use super::{Capabilities, Program, Tried};

/// Free space below which one is warned: a trial of a minute leaves about 100 MB of captures and dumps.
const ENOUGH_DISK: u64 = 1 << 30;
/// Free space below which a trial would break.
const LEAST_DISK: u64 = 64 << 20;
/// The kernel's default for threads without real-time priority.
const USUAL_TIMER_SLACK_NS: u64 = 50_000;
/// Clock sources that must leave user space, or even the virtual machine, for every look at the clock.
const SLOW_CLOCKS: [&str; 5] = ["hpet", "acpi_pm", "jiffies", "refined-jiffies", "pit"];
/// The congestion control that recipes use unless they say otherwise.
const USUAL_CONGESTION_CONTROL: &str = "cubic";

pub(super) const NETEM_REMEDY: &str = "Load it with `sudo modprobe sch_netem`; on Ubuntu first: sudo apt-get install -y linux-modules-extra-$(uname -r)";
pub(super) const OVS_REMEDY: &str = "Load it with `sudo modprobe openvswitch`; on Ubuntu first: sudo apt-get install -y linux-modules-extra-$(uname -r)";
pub(super) const TUN_REMEDY: &str =
    "Run `sudo modprobe tun`; in a container, pass the device in: docker run --device /dev/net/tun";

/// How good a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Fine,
    /// Trials run, with a restriction.
    Warning,
    /// Trials do not run.
    Missing,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub name: String,
    /// How good it is.
    pub state: State,
    /// What is there.
    pub found: String,
    /// What this means for trials; `None` when all is well.
    pub consequence: Option<String>,
    /// A command that mends it, or what else to do.
    pub remedy: Option<String>,
    /// The Debian package whose installation mends it.
    pub package: Option<String>,
}

impl Finding {
    fn fine(name: &str, found: impl Into<String>) -> Finding {
        let (name, found) = (name.to_owned(), found.into());
        Finding { name, state: State::Fine, found, consequence: None, remedy: None, package: None }
    }

    fn bad(
        state: State,
        name: &str,
        found: impl Into<String>,
        consequence: &str,
        remedy: impl Into<String>,
    ) -> Finding {
        let fine = Finding::fine(name, found);
        Finding { state, consequence: Some(consequence.to_owned()), remedy: Some(remedy.into()), ..fine }
    }

    fn install(name: &str, found: &str, consequence: &str, package: &str) -> Finding {
        let remedy = format!("sudo apt-get install -y --no-install-recommends {package}");
        let bad = Finding::bad(State::Missing, name, found, consequence, remedy);
        Finding { package: Some(package.to_owned()), ..bad }
    }

    fn of_tried(name: &str, tried: &Tried, otherwise: (State, &str, &str)) -> Finding {
        match tried {
            Tried::Works(said) | Tried::Likely(said) => Finding::fine(name, said),
            Tried::Fails(said) | Tried::Unlikely(said) => {
                let (state, consequence, remedy) = otherwise;
                Finding::bad(state, name, said, consequence, remedy)
            }
        }
    }
}

/// Judges a machine. The order is that in which one would mend things.
#[must_use]
pub fn findings(here: &Capabilities) -> Vec<Finding> {
    let mut all = vec![machine(here), clock(here), timer(here), disk(here), user(here)];
    all.push(Finding::of_tried(
        "namespaces",
        &here.namespaces,
        (
            State::Missing,
            "trials cannot be isolated from the host, so none can start",
            "In a container, give it the privileges: docker run --privileged",
        ),
    ));
    all.extend(kernel_parts(here));
    all.push(pressure(here));
    all.push(congestion_control(here));
    all.extend(here.programs.iter().map(program));
    all.extend(here.on_demand.iter().map(program_on_demand));
    all.push(mininet(here));
    all.push(rtmp_module(here));
    all.extend(ffmpeg(here));
    all.push(own_program("live-controller", here.controller.as_ref(), "switches have no controller"));
    all.push(own_program("live-agent", here.agent.as_ref(), "hosts can neither broadcast nor view"));
    all.push(tools(here));
    all
}

/// No trial needs them, so that it is no fault if they are not there.
fn tools(here: &Capabilities) -> Finding {
    let found = match here.tools_lack.as_slice() {
        [] => "wireshark and xterm can be used on running trials".to_owned(),
        lacks => format!(
            "optional, not installed: {}; to watch running trials on a display: sudo apt-get install -y --no-install-recommends {}",
            lacks.join(", "),
            lacks.join(" ")
        ),
    };
    Finding::fine("tools", found)
}

fn machine(here: &Capabilities) -> Finding {
    let found = format!("kernel {}, {} cores", here.kernel, here.cores);
    if here.cores >= 2 {
        return Finding::fine("machine", found);
    }
    let consequence = "encoder, switch and player take turns on one core, so trials will often be unfit";
    Finding::bad(State::Warning, "machine", found, consequence, "Give the machine two cores or more")
}

fn clock(here: &Capabilities) -> Finding {
    if !SLOW_CLOCKS.contains(&here.clock_source.as_str()) {
        return Finding::fine("clock source", &here.clock_source);
    }
    let consequence = "every time stamp costs microseconds, which slows emulated links and captures";
    let remedy = "See `dmesg | grep -i clocksource` for why the kernel gave up tsc or kvm-clock";
    Finding::bad(State::Warning, "clock source", &here.clock_source, consequence, remedy)
}

fn timer(here: &Capabilities) -> Finding {
    let Some(slack) = here.timer_slack_ns else { return Finding::fine("timer slack", "not shown by this kernel") };
    let found = format!("{} µs", slack / 1000);
    if slack <= USUAL_TIMER_SLACK_NS {
        return Finding::fine("timer slack", found);
    }
    let consequence = "programs started from here wake up late, which adds to every delay";
    Finding::bad(State::Warning, "timer slack", found, consequence, "Start livectl from a plain shell")
}

fn disk(here: &Capabilities) -> Finding {
    let Some((path, free)) = &here.disk else {
        return Finding::bad(State::Warning, "disk", "unknown", "results may not fit", "Check with `df -h`");
    };
    let found = format!("{} MB free at {}", free / 1_000_000, path.display());
    let consequence = "captures and dumps may not fit";
    let remedy = "Free some space, or choose another folder for results";
    match *free {
        free if free < LEAST_DISK => Finding::bad(State::Missing, "disk", found, consequence, remedy),
        free if free < ENOUGH_DISK => Finding::bad(State::Warning, "disk", found, consequence, remedy),
        _ => Finding::fine("disk", found),
    }
}

fn user(here: &Capabilities) -> Finding {
    if here.uid == 0 {
        return Finding::fine("user", "root");
    }
    let consequence = "trials need root; checks that need root were guessed, not tried";
    Finding::bad(State::Warning, "user", format!("user {}", here.uid), consequence, "sudo livectl doctor")
}

/// Links and switches: each has two kinds, and one of them is enough.
fn kernel_parts(here: &Capabilities) -> [Finding; 3] {
    let worse_without = |other: &Tried| if other.usable() { State::Warning } else { State::Missing };
    let emulated = "netem links cannot be used; `auto` makes emulated links";
    let user = "switches forward in user space, which takes more processor time";
    // Either kind of link with either kind of switch needs TAP devices, but for netem with the kernel's datapath.
    let without_tun = worse_without(if here.netem.usable() { &here.openvswitch } else { &here.netem });
    [
        Finding::of_tried("netem", &here.netem, (worse_without(&here.tun), emulated, NETEM_REMEDY)),
        Finding::of_tried("openvswitch module", &here.openvswitch, (worse_without(&here.tun), user, OVS_REMEDY)),
        Finding::of_tried(
            "TAP devices",
            &here.tun,
            (without_tun, "emulated links and switches in user space cannot be used", TUN_REMEDY),
        ),
    ]
}

fn pressure(here: &Capabilities) -> Finding {
    if here.pressure {
        return Finding::fine("CPU pressure", "/proc/pressure/cpu");
    }
    let consequence = "whether the machine kept up is judged by /proc/stat and timers alone";
    Finding::bad(
        State::Warning,
        "CPU pressure",
        "not in this kernel",
        consequence,
        "Boot with psi=1 on the kernel's command line",
    )
}

fn congestion_control(here: &Capabilities) -> Finding {
    let found = here.congestion_controls.join(", ");
    if here.congestion_controls.iter().any(|name| name == USUAL_CONGESTION_CONTROL) {
        return Finding::fine("congestion controls", found);
    }
    let consequence = "recipes use cubic unless they say otherwise";
    Finding::bad(State::Warning, "congestion controls", found, consequence, "sudo modprobe tcp_cubic")
}

fn program(program: &Program) -> Finding {
    match &program.path {
        Some(path) => {
            let version = program.version.as_deref().unwrap_or("version unknown");
            Finding::fine(program.name, format!("{version} at {}", path.display()))
        }
        None => Finding::install(program.name, "not installed", &format!("it {}", program.purpose), program.package),
    }
}

/// Without it other recipes run.
fn program_on_demand(on_demand: &Program) -> Finding {
    match on_demand.path {
        Some(_) => program(on_demand),
        None => {
            let Program { name, package, .. } = on_demand;
            Finding::fine(name, format!("not installed (package {package}); only recipes that ask for it need it"))
        }
    }
}

fn mininet(here: &Capabilities) -> Finding {
    match &here.mininet {
        Tried::Works(said) | Tried::Likely(said) => Finding::fine("Mininet's Python", said),
        Tried::Fails(said) | Tried::Unlikely(said) => {
            Finding::install("Mininet's Python", said, "the network cannot be booted", "mininet")
        }
    }
}

fn rtmp_module(here: &Capabilities) -> Finding {
    match &here.rtmp_module {
        Some(path) => Finding::fine("nginx RTMP module", path.display().to_string()),
        None => Finding::install("nginx RTMP module", "not installed", "it makes nginx a CDN", "libnginx-mod-rtmp"),
    }
}

fn ffmpeg(here: &Capabilities) -> Option<Finding> {
    if here.ffmpeg_lacks.is_empty() {
        return None;
    }
    // Only H.264 recipes need these two; the rest is needed always.
    let optional = |part: &String| part == "encoder libx264" || part == "encoder aac";
    let state = if here.ffmpeg_lacks.iter().all(optional) { State::Warning } else { State::Missing };
    let found = format!("without {}", here.ffmpeg_lacks.join(", "));
    let remedy = "sudo apt-get install -y --no-install-recommends --reinstall ffmpeg, and see `type -a ffmpeg`";
    Some(Finding::bad(state, "ffmpeg's parts", found, "recipes that use them fail", remedy))
}

fn own_program(name: &'static str, found: Option<&PathBuf>, consequence: &'static str) -> Finding {
    match found {
        Some(path) => Finding::fine(name, path.display().to_string()),
        None => Finding::bad(
            State::Missing,
            name,
            "neither beside livectl nor on PATH",
            consequence,
            "cargo build --release --workspace",
        ),
    }
}

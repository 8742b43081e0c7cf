//! Tries what this machine can do. Everything is tried in throw-away namespaces and with a time limit.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use duct::cmd;
use nix::sys::statvfs::statvfs;
use nix::unistd::geteuid;

use super::{Capabilities, Program, Tried};
use crate::sandbox::Environment;

/// No probe may hold up the report for longer. On a slow disk, right after the machine has started, over 5 s are
/// usual.
const PATIENCE: Duration = Duration::from_secs(30);
/// The name of the OpenFlow controller's program.
const CONTROLLER: &str = "live-controller";
/// The name of the program of agents and of the notification service.
const AGENT: &str = "live-agent";
/// Where Debian's libnginx-mod-rtmp puts its module.
const RTMP_MODULE: &str = "/usr/lib/nginx/modules/ngx_rtmp_module.so";
/// The version Debian's Mininet is installed for.
const PYTHON: &str = "/usr/bin/python3";
/// ffmpeg's names of what trials use, as `-encoders` and `-muxers` list them.
const FFMPEG_PARTS: [(&str, &[&str]); 2] = [("-encoders", &["flv", "libx264", "aac"]), ("-muxers", &["flv"])];

/// Program, Debian package, how to ask its version, purpose.
const PROGRAMS: [(&str, &str, &[&str], &str); 16] = [
    ("mn", "mininet", &["--version"], "boots the network"),
    ("mnexec", "mininet", &["-v"], "runs programs on hosts"),
    ("ovs-vsctl", "openvswitch-switch", &["--version"], "configures switches"),
    ("ovsdb-server", "openvswitch-switch", &["--version"], "keeps the switches' configuration"),
    ("ovs-vswitchd", "openvswitch-switch", &["--version"], "runs the switches"),
    ("nginx", "nginx-light", &["-v"], "is the CDN"),
    ("ffmpeg", "ffmpeg", &["-hide_banner", "-version"], "is the broadcaster"),
    ("mplayer", "mplayer", &["-v"], "is the viewer"),
    ("tcpdump", "tcpdump", &["--version"], "captures packets"),
    ("ping", "iputils-ping", &["-V"], "measures paths"),
    ("ip", "iproute2", &["-V"], "sets up interfaces"),
    ("tc", "iproute2", &["-V"], "shapes netem links"),
    ("ethtool", "ethtool", &["--version"], "switches offloads off"),
    ("ifconfig", "net-tools", &["--version"], "is used by Mininet"),
    ("iperf", "iperf", &["-v"], "is asked for by mn when it starts"),
    ("telnet", "telnet", &["--version"], "is asked for by mn when it starts"),
];

/// The same of those that only some recipes need.
const PROGRAMS_ON_DEMAND: [(&str, &str, &[&str], &str); 5] = [
    ("obs", "obs-studio", &["--version"], "encodes and publishes"),
    // It has no way to ask that does not start it; the package knows.
    ("Xvfb", "xvfb", &["-help"], "is the screen"),
    ("ffplay", "ffmpeg", &["-hide_banner", "-version"], "shows pictures"),
    ("mpv", "mpv", &["--version"], "shows the stream"),
    ("rtmpdump", "rtmpdump", &["--help"], "dumps the stream"),
];
/// Programs that show a running trial on a display.
const TOOLS: [&str; 2] = ["wireshark", "xterm"];

/// Where to look for what belongs to livectl.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// Where results will be; the first folder upwards that exists is measured.
    pub results: PathBuf,
}

/// What a command said and whether it succeeded.
struct Said {
    /// It ran to its end; else `text` is ours.
    ended: bool,
    success: bool,
    text: String,
}

impl Said {
    fn first_line(&self) -> String {
        self.text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it said nothing").to_owned()
    }
}

impl Capabilities {
    /// Tries everything; takes about a second. As root it also loads kernel modules that a trial could use
    /// (`sch_netem`, `openvswitch`, `tun`); they stay loaded and change nothing by themselves.
    #[must_use]
    pub fn probe(places: &Places) -> Capabilities {
        let environment = Environment::new(std::env::vars_os());
        let run = |words: &[&str]| run(words, &environment);
        let root = geteuid().is_root();
        thread::scope(|scope| {
            let namespaces = scope.spawn(|| namespaces(root, run));
            let netem = scope.spawn(|| netem(root, run));
            let openvswitch = scope.spawn(|| openvswitch(root, run));
            let tun = scope.spawn(|| tun(root, run));
            let mininet = scope.spawn(|| mininet(run));
            let ffmpeg_lacks = scope.spawn(|| ffmpeg_lacks(run));
            let on_demand = scope.spawn(|| programs(PROGRAMS_ON_DEMAND, &environment, run));
            let programs = programs(PROGRAMS, &environment, run);
            let unknown = || Tried::Fails("the probe itself failed".into());
            Capabilities {
                uid: geteuid().as_raw(),
                kernel: read("/proc/sys/kernel/osrelease"),
                cores: thread::available_parallelism().map_or(1, usize::from),
                clock_source: read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
                timer_slack_ns: read("/proc/self/timerslack_ns").parse().ok(),
                disk: free_disk(&places.results),
                namespaces: namespaces.join().unwrap_or_else(|_| unknown()),
                netem: netem.join().unwrap_or_else(|_| unknown()),
                openvswitch: openvswitch.join().unwrap_or_else(|_| unknown()),
                tun: tun.join().unwrap_or_else(|_| unknown()),
                congestion_controls: read("/proc/sys/net/ipv4/tcp_available_congestion_control")
                    .split_whitespace()
                    .map(str::to_owned)
                    .collect(),
                // Readable is not enough: with psi=0 on the kernel's command line, opening works and reading fails.
                pressure: !read("/proc/pressure/cpu").is_empty(),
                programs,
                on_demand: on_demand.join().unwrap_or_default(),
                path: environment.get("PATH").unwrap_or_default().to_owned(),
                mininet: mininet.join().unwrap_or_else(|_| unknown()),
                rtmp_module: Some(PathBuf::from(RTMP_MODULE)).filter(|path| path.exists()),
                ffmpeg_lacks: ffmpeg_lacks.join().unwrap_or_default(),
                controller: find(CONTROLLER),
                agent: find(AGENT),
                tools_lack: TOOLS.into_iter().filter(|tool| !is_installed(tool)).collect(),
            }
        })
    }
}

/// A program of livectl's own: beside this program's file, else on PATH.
fn find(name: &str) -> Option<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(name)));
    beside.filter(|path| path.is_file()).or_else(|| on_path(name, &std::env::var_os("PATH")?))
}

pub(super) fn on_path(name: &str, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path).map(|folder| folder.join(name)).find(|file| is_program(file))
}

fn is_installed(name: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| on_path(name, &path).is_some())
}

/// A file that may be executed.
pub(super) fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Runs a command to its end or kills it when it takes too long.
fn run(words: &[&str], environment: &Environment) -> Said {
    let failed = |text: String| Said { ended: false, success: false, text };
    let variables: Vec<(OsString, OsString)> = environment.iter().map(|(n, v)| (n.into(), v.into())).collect();
    let Some((program, args)) = words.split_first() else { return failed("no command".into()) };
    // The search along PATH must be the trials', not this process's.
    let Some(program) = on_path(program, environment.get("PATH").unwrap_or_default()) else {
        return failed(format!("{program} is not installed"));
    };
    let command = cmd(program, args).full_env(variables).dir("/");
    let handle = match command.stdin_null().stderr_to_stdout().stdout_capture().unchecked().start() {
        Ok(handle) => handle,
        Err(error) => return failed(format!("cannot start it: {error}")),
    };
    match handle.wait_timeout(PATIENCE) {
        Ok(Some(output)) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            Said { ended: true, success: output.status.success(), text }
        }
        Ok(None) => {
            let _ = handle.kill();
            failed(format!("no answer within {} s", PATIENCE.as_secs()))
        }
        Err(error) => failed(error.to_string()),
    }
}

/// One line from a file in /proc or /sys; empty when there is none.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn tried(said: &Said, works: &str) -> Tried {
    if said.success { Tried::Works(works.to_owned()) } else { Tried::Fails(said.first_line()) }
}

fn namespaces(root: bool, run: impl Fn(&[&str]) -> Said) -> Tried {
    if !root {
        let there = ["net", "mnt", "pid", "ipc"].iter().all(|kind| Path::new("/proc/self/ns").join(kind).exists());
        return if there {
            Tried::Likely("the kernel has them; not tried without root".into())
        } else {
            Tried::Unlikely("the kernel was built without them".into())
        };
    }
    let new = ["unshare", "--net", "--mount", "--pid", "--ipc", "--fork", "--kill-child", "--mount-proc", "--"];
    let said = run(&[&new[..], &["mount", "-n", "-t", "tmpfs", "livectl", "/tmp"]].concat());
    tried(&said, "network, mount, PID and IPC namespaces made")
}

/// Whether the kernel could load a module, without loading it.
fn loadable(module: &str, run: impl Fn(&[&str]) -> Said) -> Tried {
    let said = run(&["modprobe", "--dry-run", module]);
    if said.success {
        Tried::Likely(format!("module {module} is there; not tried without root"))
    } else {
        Tried::Unlikely(format!("no module {module}; not tried without root"))
    }
}

fn netem(root: bool, run: impl Fn(&[&str]) -> Said) -> Tried {
    if !root {
        return loadable("sch_netem", run);
    }
    // The kernel loads the module itself when tc asks, except where this is forbidden; then a failure here is no
    // news.
    run(&["modprobe", "--quiet", "sch_netem"]);
    let said = run(&["unshare", "--net", "--", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"]);
    tried(&said, "a netem queue was set up")
}

fn openvswitch(root: bool, run: impl Fn(&[&str]) -> Said) -> Tried {
    if !root {
        return loadable("openvswitch", run);
    }
    run(&["modprobe", "--quiet", "openvswitch"]);
    // The netlink family by which Open vSwitch talks to its module; asking for it loads the module.
    let said = run(&["unshare", "--net", "--", "genl", "ctrl", "get", "name", "ovs_datapath"]);
    if said.success || Path::new("/sys/module/openvswitch").exists() {
        Tried::Works("the kernel's datapath answers".into())
    } else {
        Tried::Fails("the module openvswitch is not there or cannot be loaded".into())
    }
}

fn tun(root: bool, run: impl Fn(&[&str]) -> Said) -> Tried {
    let device = Path::new("/dev/net/tun");
    if !root {
        return if device.exists() {
            Tried::Likely("/dev/net/tun is there; not tried without root".into())
        } else {
            Tried::Unlikely("no /dev/net/tun".into())
        };
    }
    run(&["modprobe", "--quiet", "tun"]);
    if !device.exists() {
        return Tried::Fails("no /dev/net/tun".into());
    }
    let said = run(&["unshare", "--net", "--", "ip", "tuntap", "add", "dev", "livectl0", "mode", "tap"]);
    tried(&said, "a TAP device was made")
}

fn mininet(run: impl Fn(&[&str]) -> Said) -> Tried {
    if !Path::new(PYTHON).exists() {
        return Tried::Fails(format!("no {PYTHON}"));
    }
    let said = run(&["python3", "-c", "import mininet.net; print(mininet.net.VERSION)"]);
    match said.success {
        true => Tried::Works(format!("Mininet {} under {PYTHON}", said.first_line())),
        // The last line of a traceback says what is wrong.
        false => Tried::Fails(said.text.lines().last().unwrap_or("python3 said nothing").trim().to_owned()),
    }
}

fn ffmpeg_lacks(run: impl Fn(&[&str]) -> Said) -> Vec<String> {
    let mut lacks = Vec::new();
    for (list, wanted) in FFMPEG_PARTS {
        let said = run(&["ffmpeg", "-hide_banner", list]);
        // Without ffmpeg there is one thing to report, not seven.
        if said.success {
            let what = list.trim_start_matches('-').trim_end_matches('s');
            lacks.extend(missing_from(&said.text, wanted).map(|name| format!("{what} {name}")));
        }
    }
    lacks
}

/// Names that do not stand second on a line of ffmpeg's lists: ` V....D libx264   libx264 H.264 …`.
pub(super) fn missing_from<'a>(list: &str, wanted: &'a [&str]) -> impl Iterator<Item = &'a str> {
    let there: Vec<&str> = list.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    wanted.iter().copied().filter(move |name| !there.contains(name))
}

fn programs<const N: usize>(
    asked: [(&'static str, &'static str, &'static [&'static str], &'static str); N],
    environment: &Environment,
    run: impl Fn(&[&str]) -> Said + Sync,
) -> Vec<Program> {
    let path = environment.get("PATH").unwrap_or_default();
    let run = &run;
    thread::scope(|scope| {
        let asked = asked.map(|(name, package, version, purpose)| {
            let found = on_path(name, path);
            let asking = found.is_some().then(|| scope.spawn(move || run(&[&[name], version].concat())));
            (Program { name, package, purpose, path: found, version: None }, asking)
        });
        asked
            .into_iter()
            .map(|(mut program, asking)| {
                let said = asking.and_then(|thread| thread.join().ok());
                program.version =
                    said.filter(|said| said.ended).and_then(|said| version_in(&said.text)).or_else(|| {
                        // mplayer may not know its own version; the package does, where there is one.
                        program.path.as_ref()?;
                        let said = run(&["dpkg-query", "--show", "--showformat=${Version}", program.package]);
                        Some(said.text.trim().to_owned()).filter(|text| said.success && !text.is_empty())
                    });
                program
            })
            .collect()
    })
}

/// The first word of the first line that looks like a version: starts with a digit, and is not the year of a
/// copyright.
pub(super) fn version_in(text: &str) -> Option<String> {
    let line = text.lines().find(|line| !line.trim().is_empty())?;
    let line = line.split("(C)").next().unwrap_or(line);
    line.split([' ', ',', '/', '(', ')'])
        .map(|word| word.trim_start_matches("iproute2-"))
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))
        .map(str::to_owned)
}

/// Free bytes for us in the first folder upwards that exists.
fn free_disk(folder: &Path) -> Option<(PathBuf, u64)> {
    let folder = std::path::absolute(folder).ok()?;
    let there = folder.ancestors().find(|path| path.is_dir())?;
    let stat = statvfs(there).ok()?;
    Some((there.to_owned(), stat.blocks_available() * stat.fragment_size()))
}

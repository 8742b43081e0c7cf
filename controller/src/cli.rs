//! The command line.

use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::builder::styling::Styles;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand, ValueEnum};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::bench;
use crate::channel::{Patience, Server};
use crate::event_log::EventLog;
use crate::line_writer::{LineWriter, Lines};
use crate::network::{Network, NetworkError};
use crate::news::News;
use crate::openflow::Version;
use crate::scheme::{Entry, Ports, SCHEMES, Scheme, Settings};
use crate::whole::whole;

const EXAMPLES: &str = "\
Examples:
  live-controller
      A learning switch on 127.0.0.1:6653 for
      mn --topo tree,2,3 --controller remote,ip=127.0.0.1,port=6653
  live-controller --scheme bypass --listen 127.0.0.1:0
      Introduces viewers to broadcasters; takes any free port and names it in its first line
  live-controller --scheme relay --network network.json
      Lets viewers pass streams on to each other, as far as the uplinks in that file permit
  live-controller --listen 0.0.0.0:6653 --allow-remote
      For switches on other machines
  live-controller bench 127.0.0.1:6653
      Measures how fast a controller answers; see live-controller bench --help

Each line on stdout is a JSON object, one event; controller/README.md lists them.

Exit codes:
  0  ended by SIGTERM or SIGINT
  1  cannot listen, or cannot start
  2  wrong usage, or an invalid network map";

/// OpenFlow controller: a learning switch that can introduce livestream peers to each other
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, styles = Styles::plain(), max_term_width = 100)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Options {
    #[command(subcommand)]
    task: Option<Task>,
    /// Address to listen on for switches; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:6653", value_parser = address)]
    listen: SocketAddr,
    /// Allow an address that other machines can reach; OpenFlow has no passwords
    #[arg(long)]
    allow_remote: bool,
    /// How to forward packets and introduce peers
    #[arg(long, value_name = "SCHEME", default_value = "direct", value_parser = schemes())]
    scheme: Entry,
    /// Versions of OpenFlow to offer
    #[arg(long, value_enum, value_delimiter = ',', value_name = "VERSIONS", default_value = "1.0,1.3")]
    openflow: Vec<VersionName>,
    /// TCP port of RTMP servers, in schemes with introductions
    #[arg(long, value_name = "PORT", default_value_t = 1935, value_parser = whole::<u16>(1..=65_535))]
    rtmp_port: u16,
    /// TCP port of notification services, in schemes with introductions
    #[arg(long, value_name = "PORT", default_value_t = 42857, value_parser = whole::<u16>(1..=65_535))]
    notify_port: u16,
    /// TCP port on which peers serve peers, in schemes with introductions
    #[arg(long, value_name = "PORT", default_value_t = 2000, value_parser = whole::<u16>(1..=65_535))]
    peer_port: u16,
    /// JSON file with uplinks, delays and stream rates, for schemes with introductions; controller/README.md
    /// describes it. The uplink of a host that is not in it is taken to carry three copies of a stream beside the one
    /// for the CDN, and all such hosts to be equally far from each other. Without a file that holds for every host,
    /// but bypass then introduces all
    #[arg(long, value_name = "FILE")]
    network: Option<PathBuf>,
    /// Seconds without a packet after which a flow ends; 0: never
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = whole::<u16>(0..=65_535))]
    idle_timeout: u16,
    /// Seconds after which a flow ends; 0: never
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = whole::<u16>(0..=65_535))]
    hard_timeout: u16,
    /// Size of each switch's address table, in stations
    #[arg(long, value_name = "STATIONS", default_value_t = 65_536,
          value_parser = whole::<usize>(16..=1 << 24))]
    mac_table: usize,
    /// Write a line for each station that is learned
    #[arg(long)]
    report_learned: bool,
    /// Log level on stderr
    #[arg(long, value_name = "LEVEL", default_value = "warn",
          value_parser = PossibleValuesParser::new(LEVELS).try_map(|level| level.parse::<LevelFilter>()))]
    log: LevelFilter,
}

/// What `--log` can be.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// At the end, how long the reader of the log is waited for.
const LAST_LINES: Duration = Duration::from_millis(200);

/// What to do other than to be a controller.
#[derive(Debug, Subcommand)]
enum Task {
    Bench(bench::Options),
}

/// Reads an address with its port.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "an address and a port are expected, such as 127.0.0.1:6653".to_owned())
}

/// Takes the name of a scheme.
fn schemes() -> impl TypedValueParser<Value = Entry> {
    let names = SCHEMES.iter().map(|scheme| PossibleValue::new(scheme.name).help(scheme.about));
    let named = |name: String| SCHEMES.iter().find(|scheme| scheme.name == name).copied().ok_or("unknown scheme");
    PossibleValuesParser::new(names).try_map(named)
}

/// A version of OpenFlow on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VersionName {
    /// 1.0
    #[value(name = "1.0", help = "")]
    V10,
    /// 1.3
    #[value(name = "1.3", help = "")]
    V13,
}

impl VersionName {
    /// The version.
    #[must_use]
    pub fn version(&self) -> Version {
        match self {
            VersionName::V10 => Version::V10,
            VersionName::V13 => Version::V13,
        }
    }
}

impl Options {
    /// What is known of the network.
    fn network(&self) -> Result<Network, NetworkError> {
        self.network.as_deref().map_or_else(|| Ok(Network::default()), Network::read)
    }

    fn scheme(&self, network: Network) -> (Box<dyn Scheme>, &'static str) {
        // From the time: nobody else can know which addresses compete for a place in the tables.
        let seed =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let settings = Settings {
            idle_timeout: self.idle_timeout,
            hard_timeout: self.hard_timeout,
            mac_table: self.mac_table,
            seed: seed as u64,
            report_learned: self.report_learned,
        };
        let ports = Ports { rtmp: self.rtmp_port, notify: self.notify_port, peer: self.peer_port };
        ((self.scheme.make)(settings, ports, network), self.scheme.name)
    }

    fn versions(&self) -> Vec<Version> {
        self.openflow.iter().map(VersionName::version).collect()
    }

    /// What is wrong with the options together.
    fn contradiction(&self) -> Option<String> {
        if !is_loopback(self.listen) && !self.allow_remote {
            return Some(format!(
                "--listen {} can be reached from other machines, and anyone who connects is a switch; \
                 add --allow-remote if that is intended",
                self.listen
            ));
        }
        let ports = [self.rtmp_port, self.notify_port, self.peer_port];
        let twice = ports.iter().enumerate().any(|(at, port)| ports.iter().skip(at + 1).any(|other| other == port));
        twice.then(|| "--rtmp-port, --notify-port and --peer-port must differ".to_owned())
    }
}

/// The program: reads the command line, serves until a signal, says how it ended.
#[must_use]
pub fn main() -> ExitCode {
    let mut options = Options::parse();
    if let Some(Task::Bench(options)) = options.task.take() {
        return bench::run(options).unwrap_or_else(|error| {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        });
    }
    if let Some(what) = options.contradiction() {
        say(&format!("error: {what}\n\nFor more information, try '--help'."));
        return ExitCode::from(2);
    }
    if !is_loopback(options.listen) {
        say(&format!(
            "warning: other machines can connect to {} and take part in the network as switches",
            options.listen
        ));
    }
    let network = match options.network() {
        Ok(network) => network,
        Err(error) => {
            say(&format!("error: {error}"));
            return ExitCode::from(2);
        }
    };
    match run(options, network) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// For people, if they can be reached.
fn say(what: &str) {
    let _ = writeln!(io::stderr(), "{what}");
}

/// Also of 127.0.0.1 as IPv6 writes it.
fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

fn run(options: Options, network: Network) -> anyhow::Result<()> {
    let (scheme, name) = options.scheme(network);
    let versions = options.versions();
    let unbuffered = |stream: &dyn AsFd| stream.as_fd().try_clone_to_owned().map(File::from);
    // Of a log that cannot be written nobody can be told.
    let written =
        unbuffered(&io::stderr()).and_then(|out| LineWriter::start("log", out, |line: Vec<u8>| line, |_| {}));
    let mut written = written.context("cannot start a thread for the log")?;
    if let Some(lines) = written.lines() {
        let log = tracing_subscriber::fmt().with_max_level(options.log).with_writer(Log(lines.clone()));
        log.init();
    }
    // Before the first line is written: whoever reads it may send a signal.
    let mut end = Signals::new([SIGTERM, SIGINT]).context("cannot wait for SIGTERM and SIGINT")?;
    let server = Server::listen(options.listen, &versions, Patience::default())?;
    let log = unbuffered(&io::stdout()).and_then(EventLog::start);
    let mut log = log.context("cannot start a thread for the event lines")?;
    let address = server.address().context("cannot get the listening address")?;
    log.tell(News::Listening { address, scheme: name });
    server.serve(scheme, log, &mut end)?;
    written.finish(None, Instant::now() + LAST_LINES);
    Ok(())
}

/// Hands the log's lines to the thread that writes them. Those that are too many are lost.
struct Log(Lines<Vec<u8>>);

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Write for Log {
    /// Comes once for each line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.offer(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, missing_docs)]
#[path = "../../tests/documents/mod.rs"]
mod documents;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Options::command().debug_assert();
    }

    #[test]
    fn the_documented_commands_exist() {
        let (checked, wrong) = documents::check("live-controller", |words| Options::try_parse_from(words).map(drop));
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(checked >= 5, "{checked} commands were found");
    }

    #[test]
    fn a_value_that_is_none_is_answered_with_what_is_expected() {
        let refused = documents::refused_words(&Options::command());
        assert!(refused >= 10, "{refused} options refuse a word");
    }

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let options = Options::parse_from(["live-controller"]);
        assert_eq!(options.listen, "127.0.0.1:6653".parse().unwrap());
        assert_eq!(options.versions(), [Version::V10, Version::V13]);
        assert_eq!((options.rtmp_port, options.notify_port, options.peer_port), (1935, 42857, 2000));
        assert_eq!((options.idle_timeout, options.hard_timeout, options.mac_table), (10, 30, 65_536));
        assert_eq!(options.contradiction(), None);
    }

    #[test]
    fn each_scheme_can_be_chosen_and_is_documented() {
        let help = Options::command().render_long_help().to_string();
        // Lines are broken where they are full.
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for scheme in SCHEMES {
            let options = Options::parse_from(["live-controller", "--scheme", scheme.name]);
            assert_eq!(options.scheme(Network::default()).1, scheme.name);
            assert!(help.contains(&format!("- {}: {}", scheme.name, scheme.about)), "{help}");
            let readme = include_str!("../README.md");
            assert!(readme.contains(&format!("\n**{}** ", scheme.name)), "{} is not in README.md", scheme.name);
        }
        assert_eq!(Options::parse_from(["live-controller"]).scheme(Network::default()).1, "direct");
    }

    #[test]
    fn other_machines_must_be_allowed() {
        let options = |arguments: &[&str]| Options::parse_from([&["live-controller"], arguments].concat());
        assert!(options(&["--listen", "0.0.0.0:0"]).contradiction().is_some());
        assert_eq!(options(&["--listen", "0.0.0.0:0", "--allow-remote"]).contradiction(), None);
        assert_eq!(options(&["--listen", "[::1]:0"]).contradiction(), None);
        assert_eq!(options(&["--listen", "[::ffff:127.0.0.1]:0"]).contradiction(), None);
        assert!(options(&["--rtmp-port", "2000"]).contradiction().is_some());
    }

    #[test]
    fn nonsense_is_refused() {
        for arguments in [
            &["--openflow", "1.1"][..],
            &["--rtmp-port", "0"],
            &["--mac-table", "1"],
            &["--scheme", "x"],
            &["--log", "9"],
        ] {
            assert!(Options::try_parse_from([&["live-controller"], arguments].concat()).is_err(), "{arguments:?}");
        }
    }
}

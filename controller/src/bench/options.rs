//! The command line of `live-controller bench`.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::plan::{Conduct, Drive, Plan, Target, cells};
use super::process::processor_time;
use super::traffic::{Buffering, LEAST_FRAME, MAX_STATIONS};
use crate::cli::VersionName;
use crate::openflow::Version;
use crate::whole::whole;

const EXAMPLES: &str = "\
Examples:
  live-controller bench 127.0.0.1:6653
      One controller: open and closed loop, 1 and 16 switches, 1,000 addresses each, OpenFlow 1.0
  taskset -c 1 live-controller bench live=127.0.0.1:6653@4711 ovs=127.0.0.1:6654 --baseline ovs
      Two controllers in turn and the ratio between them; 4711 is a process id, whose processor time and memory
      are reported. Give the generator a core of its own
  live-controller bench --against-itself --loop open --switches 16
      What the generator itself can do: against a responder that does no work
  live-controller bench 127.0.0.1:6653 --openflow 1.0,1.3 --switches 1,16,64,256 --macs 1000,100000 --csv out.csv
      Every combination; the file is rewritten after each one

A packet-in is answered once its packet was handled: by a packet-out, or by a flow-mod with its buffer id; both are one
answer. ovs-testcontroller takes at most 16 switches, and drops them when they connect without a pause.

Exit codes:
  0  all was measured
  1  a controller could not be measured under some of the conditions; the rest was
  2  wrong usage";

/// Measure how fast OpenFlow controllers answer, by playing switches to them
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Controllers to measure: [NAME=]HOST:PORT[@PID]
    #[arg(value_name = "CONTROLLER", value_parser = target)]
    targets: Vec<Target>,
    /// Also measure the generator itself, against a responder without work in a thread of this process
    #[arg(long)]
    against_itself: bool,
    /// Run only that responder, at this address, until killed; to give it its own core
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = crate::cli::address, conflicts_with_all = ["targets", "against_itself"])]
    respond: Option<SocketAddr>,
    /// How packet-ins are sent
    #[arg(long = "loop", value_enum, value_delimiter = ',', value_name = "LOOPS", default_value = "open,closed")]
    drives: Vec<Drive>,
    /// Versions of OpenFlow that the switches speak
    #[arg(long, value_enum, value_delimiter = ',', value_name = "VERSIONS", default_value = "1.0")]
    openflow: Vec<VersionName>,
    /// Number of switches
    #[arg(long, value_delimiter = ',', value_name = "COUNTS", default_value = "1,16",
          value_parser = whole::<u16>(1..=4096))]
    switches: Vec<u16>,
    /// Addresses of each switch
    #[arg(long, value_delimiter = ',', value_name = "COUNTS", default_value = "1000",
          value_parser = whole::<u32>(1..=MAX_STATIONS.into()))]
    macs: Vec<u32>,
    /// Open loop: packet-ins in flight at each switch. The default is enough for full reads and writes at both ends,
    /// and little enough that no socket fills up, because ovs-testcontroller then drops answers
    #[arg(long, value_name = "COUNT", default_value_t = 512, value_parser = whole::<u32>(1..=65_536))]
    window: u32,
    /// Where the switches keep the packets
    #[arg(long, value_enum, default_value_t = Buffering::Buffered)]
    packets: Buffering,
    /// Bytes of each frame; of a buffered frame at most 128 are sent to the controller
    #[arg(long, value_name = "BYTES", default_value_t = LEAST_FRAME as u16,
          value_parser = whole::<u16>(LEAST_FRAME as u64..=9000))]
    frame_size: u16,
    /// Warm-up before each measurement, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = seconds)]
    warm_up: Duration,
    /// Length of each measurement, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    duration: Duration,
    /// Number of measurements of each controller; controllers take turns
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = whole::<u32>(1..=u32::MAX.into()))]
    repetitions: u32,
    /// Seconds between two connections
    #[arg(long, value_name = "SECONDS", default_value = "0.02", value_parser = seconds)]
    pause: Duration,
    /// Name of the controller that the others are compared with [default: the first]
    #[arg(long, value_name = "NAME")]
    baseline: Option<String>,
    /// Write all measurements to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write one line for each measurement to this file, as CSV
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

/// What the options ask for.
#[derive(Debug)]
pub enum Task {
    /// To be the responder that does no work.
    Respond(SocketAddr),
    /// To measure controllers.
    Measure(Measuring),
}

/// What is to be measured, and where the results go.
#[derive(Debug)]
pub struct Measuring {
    /// Which controllers are measured, and under which conditions.
    pub plan: Plan,
    /// Whether the generator is measured, too.
    pub against_itself: bool,
    /// Which controller the others are compared with; `None`: the first.
    pub baseline: Option<String>,
    /// File for the results as JSON; `None`: none.
    pub json: Option<PathBuf>,
    /// File for the results as CSV; `None`: none.
    pub csv: Option<PathBuf>,
}

/// What the responder in this process is called.
pub const ITSELF: &str = "no-work";

impl Options {
    /// What they ask for.
    ///
    /// # Errors
    /// When they contradict each other.
    pub fn task(self) -> Result<Task, String> {
        if let Some(address) = self.respond {
            return match address.ip().is_loopback() {
                true => Ok(Task::Respond(address)),
                false => {
                    Err(format!("--respond {address} can be reached from other machines; use a loopback address"))
                }
            };
        }
        if self.targets.is_empty() && !self.against_itself {
            return Err("name a controller to measure, such as 127.0.0.1:6653, or add --against-itself".to_owned());
        }
        let mut names: Vec<&str> = self.targets.iter().map(|target| target.name.as_str()).collect();
        names.extend(self.against_itself.then_some(ITSELF));
        if let Some(baseline) = &self.baseline
            && !names.contains(&baseline.as_str())
        {
            return Err(format!("--baseline {baseline} is not one of {}", names.join(", ")));
        }
        names.sort_unstable();
        if let Some([name, _]) = names.windows(2).find(|two| two.first() == two.last()) {
            return Err(format!("two controllers are called {name}; give them names: NAME=HOST:PORT"));
        }
        if self.duration.is_zero() {
            return Err("--duration must be more than 0".to_owned());
        }
        let versions: Vec<Version> = self.openflow.iter().map(VersionName::version).collect();
        let conduct = Conduct {
            window: self.window,
            buffering: self.packets,
            frame_size: self.frame_size.into(),
            warm_up: self.warm_up,
            duration: self.duration,
            repetitions: self.repetitions,
            pause: self.pause,
        };
        let cells = cells(&self.drives, &versions, &self.switches, &self.macs);
        Ok(Task::Measure(Measuring {
            plan: Plan { targets: self.targets, cells, conduct },
            against_itself: self.against_itself,
            baseline: self.baseline,
            json: self.json,
            csv: self.csv,
        }))
    }
}

/// `[NAME=]HOST:PORT[@PID]`
fn target(text: &str) -> Result<Target, String> {
    let (name, rest) = text.split_once('=').map_or((None, text), |(name, rest)| (Some(name), rest));
    let (place, pid) = rest.split_once('@').map_or((rest, None), |(place, pid)| (place, Some(pid)));
    let address = place
        .to_socket_addrs()
        .map_err(|error| format!("{place} is no HOST:PORT: {error}"))?
        .next()
        .ok_or_else(|| format!("{place} has no address"))?;
    let pid = pid.map(|pid| pid.parse().map_err(|_| format!("{pid} is no process id"))).transpose()?;
    if let Some(pid) = pid.filter(|pid| processor_time(*pid).is_none()) {
        return Err(format!("there is no process {pid}"));
    }
    if name.is_some_and(str::is_empty) {
        return Err("NAME= needs a name".to_owned());
    }
    Ok(Target { name: name.unwrap_or(place).to_owned(), address, pid })
}

fn seconds(text: &str) -> Result<Duration, String> {
    let time = text.parse().ok().and_then(|number| Duration::try_from_secs_f64(number).ok());
    time.filter(|time| *time <= Duration::from_secs(3600))
        .ok_or_else(|| "a number of seconds from 0 to 3600 is expected".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn task(arguments: &[&str]) -> Result<Task, String> {
        let line = Line::try_parse_from([&["bench"], arguments].concat()).map_err(|error| error.to_string())?;
        line.options.task()
    }

    #[test]
    fn targets() {
        let full = target("live=127.0.0.1:6653@1").unwrap();
        assert_eq!((full.name.as_str(), full.pid), ("live", Some(1)));
        assert_eq!(full.address, "127.0.0.1:6653".parse().unwrap());
        let short = target("127.0.0.1:1").unwrap();
        assert_eq!((short.name.as_str(), short.pid), ("127.0.0.1:1", None));
        for wrong in ["nowhere", "a=127.0.0.1:1@x", "a=127.0.0.1:1@0", "a=127.0.0.1:1@2000000000", "=127.0.0.1:1"] {
            assert!(target(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_combination_is_planned() {
        let arguments = ["127.0.0.1:1", "--openflow", "1.0,1.3", "--switches", "1,2,3", "--macs", "5,6"];
        let Task::Measure(measuring) = task(&arguments).unwrap() else { panic!() };
        assert_eq!(measuring.plan.cells.len(), 2 * 2 * 3 * 2);
        assert_eq!(measuring.plan.conduct.pause, Duration::from_millis(20));
    }

    #[test]
    fn contradictions_are_refused() {
        for arguments in [
            &[][..],
            &["127.0.0.1:1", "127.0.0.1:1"],
            &["127.0.0.1:1", "--baseline", "x"],
            &["127.0.0.1:1", "--duration", "0"],
            &["127.0.0.1:1", "--duration", "-1"],
            &["127.0.0.1:1", "--switches", "0"],
            &["127.0.0.1:1", "--openflow", "1.1"],
            &["--respond", "0.0.0.0:1"],
            &["--respond", "127.0.0.1:1", "--against-itself"],
        ] {
            assert!(task(arguments).is_err(), "{arguments:?}");
        }
        assert!(task(&["--against-itself", "--baseline", "no-work"]).is_ok());
    }
}

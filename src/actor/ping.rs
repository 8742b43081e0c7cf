//! Ping trains.

use std::time::Duration;

use super::Folders;
use super::process::{Actor, Command, Output, Readiness, Stop};
use crate::plan::PingTrain;

/// The train as an actor; its output goes to `ping/<from>-<to>.txt`.
///
/// `-D` puts CLOCK_REALTIME before each line, which so has the time at which the answer arrived. A train ends one
/// round trip after its last ping; when answers are missing, ping waits for twice the longest round trip (and 10 s if
/// there was none).
#[must_use]
pub fn ping(train: &PingTrain, folders: &Folders) -> Actor {
    let seconds = train.interval.as_secs_f64();
    let args = ["-D".into(), "-n".into(), "-i".into(), format!("{seconds}"), "-c".into(), train.count.to_string()];
    let name = format!("ping-{}", train.to);
    Actor {
        station: train.from.as_str().into(),
        // Its numbers have a decimal point whatever the user's language.
        command: Command::new("ping", args.into_iter().chain([train.address.to_string()])).env("LC_ALL", "C"),
        folders: Vec::new(),
        files: Vec::new(),
        output: Output::File(folders.trial.ping(&train.from, &train.to)),
        log: folders.trial.log(&train.from, &name),
        name,
        ready: Readiness::Started,
        ready_within: Duration::from_secs(5),
        alarms: Vec::new(),
        stop: Stop::default(),
    }
}

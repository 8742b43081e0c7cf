//! A program that does not end by itself, or need not: watched until it is on the air, and told to end when it has
//! been long enough.

use std::sync::Arc;
use std::time::Duration;

use super::event::Happening;
use super::teller::Teller;
use crate::actor::AGENT;
use crate::actor::broadcaster::Air;
use crate::actor::process::{Exit, Process};

/// What an agent tells when its program has connected.
const CONNECTED: &str = "program_connected";
/// And when the first picture has come.
const FIRST_PICTURE: &str = "birth_first";

/// For an agent's line to be heard.
const NEWS: Duration = Duration::from_secs(1);

/// Follows a program to its end. Returns early if that comes by itself; whether it ended well then is for others to
/// say.
///
/// # Errors
/// It never was on the air, in words.
pub(super) async fn keep(program: &Process, agent: &Arc<Process>, air: Air, teller: &Teller) -> Result<(), String> {
    let within = air.within.as_secs_f64();
    let missing = [
        (CONNECTED, format!("connected to its agent, rtmp://{AGENT}")),
        (FIRST_PICTURE, "given its agent a picture to publish".to_owned()),
    ];
    for (event, what) in missing {
        let label = program.label();
        tokio::select! {
            biased;
            () = agent.told(event) => {}
            exit = program.wait() => {
                // What its agent has told may still be on its way.
                if tokio::time::timeout(NEWS, agent.told(event)).await.is_err() {
                    return ended(&exit, format!("{label} ended ({exit}) and had not {what}{}", program.log_tail()));
                }
            }
            () = tokio::time::sleep(air.within) => {
                return Err(format!("{label} has not {what} within {within:.0} s{}", program.log_tail()));
            }
        }
    }
    let begun = tokio::time::Instant::now();
    let on_air = tokio::time::timeout(air.length, program.wait()).await;
    if on_air.is_ok() {
        let text =
            format!("{} ended by itself after {:.1} s on the air", program.label(), begun.elapsed().as_secs_f64());
        teller.tell(Happening::Note { text });
        return Ok(());
    }
    let exit = program.stop().await;
    if exit.was_deaf() {
        let text = format!(
            "{} did not end when it was asked to and was killed; its stream has no proper end",
            program.label()
        );
        teller.tell(Happening::Warning { text });
    }
    Ok(())
}

/// An end that nobody else complains of.
fn ended(exit: &Exit, why: String) -> Result<(), String> {
    if exit.asked || !exit.status.success() { Ok(()) } else { Err(why) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::*;
    use crate::actor::process::{Actor, Command, Output, Place, Readiness, Stop};

    fn start(name: &str, script: &str, folder: &Path) -> Process {
        let actor = Actor {
            name: name.into(),
            station: "hb".into(),
            command: Command::new("sh", ["-c", script]),
            folders: Vec::new(),
            files: Vec::new(),
            output: if name == "agent" { Output::Lines } else { Output::Log },
            log: folder.join(name),
            ready: Readiness::Started,
            ready_within: Duration::from_secs(5),
            alarms: Vec::new(),
            stop: Stop::default(),
        };
        let mut process = Process::spawn(&actor, Place::Here).unwrap();
        if let Some(mut lines) = process.lines() {
            tokio::spawn(async move { while lines.recv().await.is_some() {} });
        }
        process
    }

    /// What comes of a program beside an agent that says these events.
    async fn kept(program: &str, events: &str, length: Duration) -> (Result<(), String>, Process) {
        let folder = tempfile::tempdir().unwrap();
        let script = format!("for e in {events}; do echo \"{{\\\"event\\\": \\\"$e\\\"}}\"; done; exec sleep 60");
        let agent = Arc::new(start("agent", &script, folder.path()));
        let program = start("encoder", program, folder.path());
        let (teller, _told) = Teller::new();
        // One that comes at all comes within that, on a busy machine too.
        let within = if events.is_empty() || events == CONNECTED { 1 } else { 20 };
        let air = Air { within: Duration::from_secs(within), length };
        (keep(&program, &agent, air, &teller).await, program)
    }

    #[tokio::test]
    async fn one_that_never_connects_is_told_and_says_its_last_words() {
        let (kept, program) = kept("echo no route >&2; exec sleep 60", "", Duration::ZERO).await;
        let why = kept.unwrap_err();
        assert!(
            why.starts_with("hb/encoder has not connected to its agent, rtmp://127.0.0.1:1935 within 1 s"),
            "{why}"
        );
        assert!(why.contains("no route"), "{why}");
        program.stop().await;
    }

    #[tokio::test]
    async fn one_that_connects_and_sends_nothing_is_told() {
        let (kept, program) = kept("exec sleep 60", CONNECTED, Duration::ZERO).await;
        assert!(kept.unwrap_err().contains("has not given its agent a picture to publish within"));
        program.stop().await;
    }

    #[tokio::test]
    async fn one_that_ends_at_once_as_if_all_was_well_is_told() {
        let (kept, _program) = kept("exit 0", "", Duration::ZERO).await;
        assert!(kept.unwrap_err().starts_with("hb/encoder ended (exit status: 0) and had not connected"));
    }

    #[tokio::test]
    async fn one_on_the_air_is_told_to_end_when_its_time_is_over() {
        let events = format!("{CONNECTED} {FIRST_PICTURE}");
        let (kept, program) = kept("exec sleep 60", &events, Duration::from_millis(10)).await;
        assert_eq!(kept, Ok(()));
        assert!(program.exit().unwrap().asked);
        let (kept, program) = self::kept("exit 0", &events, Duration::from_secs(3600)).await;
        assert_eq!((kept, program.exit().unwrap().asked), (Ok(()), false), "it need not wait for that");
    }
}

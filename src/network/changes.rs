//! Changes of netem links: `tc -batch -` stays open in the namespace of each end that changes, and is given its lines
//! ([`tc::course`]) at their moments.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::{NetworkError, tc};
use crate::plan::Trial;

/// Bytes of complaints that are read.
const LONGEST_COMPLAINT: u64 = 4096;

/// The ends of links that are being changed. They are left as they are when this is dropped.
#[derive(Debug)]
pub struct Changes(JoinSet<Result<(), NetworkError>>);

impl Changes {
    /// Begins to change the trial's netem links, whose timeline began at `zero`. `pids` are those of
    /// [`super::Mininet::pids`].
    ///
    /// # Errors
    /// A node is not known, or `tc` cannot be started there.
    pub fn begin(trial: &Trial, pids: &BTreeMap<String, i32>, zero: Instant) -> Result<Changes, NetworkError> {
        let mut ends = JoinSet::new();
        for (n, link) in trial.network.links.iter().enumerate() {
            for (end, forward) in [(&link.a, true), (&link.b, false)] {
                let lines = tc::course(&end.interface, &link.shape, &trial.course(n, forward));
                if lines.is_empty() {
                    continue;
                }
                let pid = *pids.get(&end.node).ok_or_else(|| NetworkError::Change {
                    interface: end.interface.clone(),
                    problem: format!("cannot run on {}, which Mininet does not know", end.node),
                })?;
                let tc = start(pid).map_err(|error| NetworkError::Change {
                    interface: end.interface.clone(),
                    problem: format!("cannot be started: {error}"),
                })?;
                let interface = end.interface.clone();
                ends.spawn(async move {
                    play(tc, lines, zero).await.map_err(|problem| NetworkError::Change { interface, problem })
                });
            }
        }
        Ok(Changes(ends))
    }

    /// Waits until one of them fails; for ever if none does.
    pub async fn failed(&mut self) -> NetworkError {
        while let Some(ended) = self.0.join_next().await {
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error,
                Err(error) => {
                    return NetworkError::Change { interface: "a link".into(), problem: error.to_string() };
                }
            }
        }
        std::future::pending().await
    }
}

fn start(pid: i32) -> std::io::Result<Child> {
    Command::new("mnexec")
        .args(["-a", &pid.to_string(), "tc", "-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}

/// Gives `tc` its lines, each at its moment, and waits for its end.
async fn play(mut tc: Child, lines: Vec<(Duration, String)>, zero: Instant) -> Result<(), String> {
    let (Some(mut stdin), Some(stderr)) = (tc.stdin.take(), tc.stderr.take()) else {
        return Err("has no standard input".to_owned());
    };
    let told = async {
        for (at, line) in lines {
            sleep_until(zero + at).await;
            // tc ends at a line that it cannot carry out; what it says then tells more than the broken pipe.
            if stdin.write_all(format!("{line}\n").as_bytes()).await.is_err() {
                break;
            }
        }
        drop(stdin);
    };
    let heard = async {
        let mut said = String::new();
        let _ = stderr.take(LONGEST_COMPLAINT).read_to_string(&mut said).await;
        said
    };
    // At a failure tc ends, and with it what it says: then there is nobody left to tell anything.
    tokio::pin!(told, heard);
    let said = tokio::select! {
        said = &mut heard => said,
        () = &mut told => heard.await,
    };
    let status = tc.wait().await.map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err(format!("ended with {status}: {}", said.trim())) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn shell(script: &str) -> Child {
        Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    fn lines(moments: &[u64]) -> Vec<(Duration, String)> {
        moments.iter().map(|ms| (Duration::from_millis(*ms), format!("line of {ms}"))).collect()
    }

    #[tokio::test]
    async fn lines_are_given_in_their_order_and_not_before_their_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("heard");
        let begun = Instant::now();
        play(shell(&format!("cat > {}", file.display())), lines(&[0, 20, 60]), begun).await.unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(60));
        assert_eq!(std::fs::read_to_string(file).unwrap(), "line of 0\nline of 20\nline of 60\n");
    }

    #[tokio::test]
    async fn who_fails_is_heard_at_once() {
        let far = lines(&[0, 3_600_000]);
        let problem =
            play(shell("read line; echo no such \"$line\" >&2; exit 3"), far, Instant::now()).await.unwrap_err();
        assert!(problem.contains("exit status: 3: no such line of 0"), "{problem}");
    }
}

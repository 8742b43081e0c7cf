//! Slurm's programs: the one place that starts them.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::time::Duration;

use duct::cmd;

use super::jobs::{self, Down, Job};
use super::script::{self, Submission};

/// Slurm's programs ask a controller that does not answer for long; nobody wants to wait for longer than this.
const PATIENCE: Duration = Duration::from_secs(40);

/// Why one of Slurm's programs did not do what it was told to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The program is not installed.
    #[error(
        "{program} not found: are Slurm jobs submitted from this machine? On Debian: `sudo apt-get install slurm-client`; \
         `--engine local` needs no Slurm"
    )]
    NotInstalled {
        /// Slurm's program: `sbatch`, `squeue`, ….
        program: String,
    },
    /// The partition does not exist.
    #[error("Slurm does not know the partition ({said}); `sinfo -s` lists them, `--partition NAME` selects one")]
    Partition {
        /// What the program printed.
        said: String,
    },
    /// The account does not exist, or is not the user's.
    #[error(
        "Slurm refuses the account ({said}); `--account NAME` selects another, `sacctmgr show associations user=$USER` may list yours"
    )]
    Account {
        /// What the program printed.
        said: String,
    },
    /// The controller does not answer.
    #[error(
        "Slurm's controller does not answer ({said}); `scontrol ping` tries again. Nothing of the sweep is lost: running trials continue"
    )]
    Controller {
        /// What the program said.
        said: String,
    },
    /// It has too many jobs.
    #[error(
        "Slurm accepts no more jobs for now ({said}): its `MaxJobCount` is reached; try again when there are fewer jobs"
    )]
    Full {
        /// What the program said.
        said: String,
    },
    /// Slurm does not take the job.
    #[error("`{command}` failed: {said}")]
    Refused {
        /// The command line that was refused.
        command: String,
        /// What the program printed.
        said: String,
    },
}

/// Hands a job over. Its number.
///
/// # Errors
/// [`ControlError`].
pub fn submit(submission: &Submission) -> Result<String, ControlError> {
    let said = run("sbatch", &submission.options, Some(&submission.script))?;
    // `17;cluster` where there are several clusters.
    let job = said.lines().rev().find_map(|line| line.trim().split(';').next()).unwrap_or_default();
    if job.parse::<u64>().is_ok() {
        return Ok(job.to_owned());
    }
    Err(ControlError::Refused {
        command: "sbatch".into(),
        said: format!("it printed {said:?} instead of a job number"),
    })
}

/// How many jobs Slurm takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The least index of an array that it refuses: `MaxArraySize`.
    pub array_size: usize,
    /// Jobs of all users together, each task of an array being one: `MaxJobCount`.
    pub jobs: usize,
}

impl Default for Limits {
    /// What Slurm has where nothing is configured.
    fn default() -> Limits {
        Limits { array_size: 1001, jobs: 10_000 }
    }
}

impl Limits {
    /// Trials of a round; what is beyond comes in the next ones. Others need room as well.
    #[must_use]
    pub fn round(&self) -> usize {
        (self.jobs / 4).max(1)
    }

    fn in_config(config: &str) -> Limits {
        let number = |name: &str| -> Option<usize> {
            let line = config.lines().find_map(|line| line.trim().strip_prefix(name))?;
            line.trim_start_matches([' ', '=']).trim().parse().ok()
        };
        let Limits { array_size, jobs } = Limits::default();
        Limits {
            array_size: number("MaxArraySize").unwrap_or(array_size),
            jobs: number("MaxJobCount").unwrap_or(jobs),
        }
    }
}

/// How much Slurm takes.
///
/// # Errors
/// [`ControlError`].
pub fn limits() -> Result<Limits, ControlError> {
    Ok(Limits::in_config(&run("scontrol", &["show".into(), "config".into()], None)?))
}

/// The jobs of that name, those that are over not long ago too.
///
/// # Errors
/// [`ControlError`].
pub fn jobs_named(name: &str) -> Result<Vec<Job>, ControlError> {
    let options = ["-h", "-r", "-t", "all", "-o", jobs::FORMAT].map(str::to_owned).into_iter();
    let options: Vec<String> = options.chain([format!("--name={name}")]).collect();
    Ok(jobs::parse(&run("squeue", &options, None)?))
}

/// Nodes that get no jobs.
///
/// # Errors
/// [`ControlError`].
pub fn nodes_down() -> Result<Vec<Down>, ControlError> {
    let options = ["-h", "-N", "-o", jobs::NODE_FORMAT].map(str::to_owned);
    Ok(jobs::parse_nodes(&run("sinfo", &options, None)?))
}

/// The nodes of a partition, or all, that get jobs or have some.
///
/// # Errors
/// [`ControlError`].
pub fn nodes_up(partition: Option<&str>) -> Result<BTreeSet<String>, ControlError> {
    let options = ["-h", "-N", "-o", jobs::NODE_FORMAT].map(str::to_owned).into_iter();
    let options: Vec<String> = options.chain(partition.map(|name| format!("--partition={name}"))).collect();
    Ok(jobs::parse_up(&run("sinfo", &options, None)?))
}

/// Cancels tasks that wait, or all that there are.
///
/// # Errors
/// [`ControlError`].
pub fn cancel(jobs: &[String], pending_alone: bool) -> Result<(), ControlError> {
    let mut options: Vec<String> = Vec::from_iter(pending_alone.then(|| "--state=PENDING".to_owned()));
    options.extend(jobs.iter().cloned());
    run("scancel", &options, None).map(drop)
}

/// Changes jobs: `scontrol update jobid=… KEY=VALUE`. That a part of an array does not wait any more is no error
/// worth telling.
///
/// # Errors
/// [`ControlError`].
pub fn update(job: &str, what: &str) -> Result<(), ControlError> {
    run("scontrol", &["update".into(), format!("jobid={job}"), what.into()], None).map(drop)
}

/// Has a task started again, which ends it where it runs.
///
/// # Errors
/// [`ControlError`].
pub fn requeue(task: &str) -> Result<(), ControlError> {
    run("scontrol", &["requeue".into(), task.into()], None).map(drop)
}

fn run(program: &str, options: &[String], stdin: Option<&str>) -> Result<String, ControlError> {
    let mut command = cmd(program, options).stdout_capture().stderr_capture().unchecked();
    for name in script::OWN_VARIABLES {
        // They are one job's own and not for those that it submits.
        command = command.env_remove(name);
    }
    let command = match stdin {
        Some(text) => command.stdin_bytes(text),
        None => command.stdin_null(),
    };
    let refused = |said: String| ControlError::Refused { command: format!("{program} {}", options.join(" ")), said };
    let handle = command.start().map_err(|error| match error.kind() {
        ErrorKind::NotFound => ControlError::NotInstalled { program: program.to_owned() },
        _ => refused(error.to_string()),
    })?;
    match handle.wait_timeout(PATIENCE) {
        Ok(Some(output)) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(Some(output)) => {
            let said =
                String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
            Err(understood(&said).unwrap_or_else(|| refused(in_short(&said))))
        }
        Ok(None) => {
            let _ = handle.kill();
            // What it said while it waited tells what for.
            let said = handle.wait().map(|output| String::from_utf8_lossy(&output.stderr).into_owned());
            let silent = || ControlError::Controller { said: format!("no answer within {} s", PATIENCE.as_secs()) };
            Err(said.ok().and_then(|said| understood(&said)).unwrap_or_else(silent))
        }
        Err(error) => Err(refused(error.to_string())),
    }
}

/// The last line that says something: the first ones tell of attempts.
fn in_short(said: &str) -> String {
    said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it said nothing").to_owned()
}

/// What Slurm's programs say, as far as there is something to add to it.
fn understood(said: &str) -> Option<ControlError> {
    let lower = said.to_lowercase();
    let short = in_short(said);
    if lower.contains("invalid partition") {
        Some(ControlError::Partition { said: short })
    } else if lower.contains("invalid account") || lower.contains("account/partition combination") {
        Some(ControlError::Account { said: short })
    } else if lower.contains("temporarily unable to accept job") {
        Some(ControlError::Full { said: short })
    } else if [
        "unable to contact slurm controller",
        "unable to establish control",
        "configuration file",
        "socket timed out",
    ]
    .iter()
    .any(|words| lower.contains(words))
    {
        Some(ControlError::Controller { said: short })
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_slurm_says_is_understood() {
        // As Slurm 22.05 said it.
        let partition = "sbatch: error: invalid partition specified: nope\nsbatch: error: Batch job submission failed: Invalid partition name specified\n";
        assert!(
            matches!(understood(partition), Some(ControlError::Partition { said }) if said.ends_with("Invalid partition name specified"))
        );
        let controller = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n";
        assert!(understood(controller).unwrap().to_string().contains("scontrol ping"));
        let account =
            "sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified";
        assert!(matches!(understood(account), Some(ControlError::Account { .. })));
        assert_eq!(
            understood("sbatch: error: Batch job submission failed: Requested node configuration is not available"),
            None
        );
        let config = "MaxArraySize            = 101\nMaxBatchRequeue = 5\nMaxJobCount             = 20000";
        assert_eq!(Limits::in_config(config), Limits { array_size: 101, jobs: 20_000 });
        assert_eq!((Limits::in_config("nothing"), Limits::default().round()), (Limits::default(), 2500));
        let full = "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying";
        assert!(matches!(understood(full), Some(ControlError::Full { .. })));
    }

    #[test]
    fn a_program_that_is_not_there_is_told_with_its_package() {
        let told = run("sbatch-that-nobody-has", &[], None).unwrap_err().to_string();
        assert!(told.contains("sbatch-that-nobody-has not found") && told.contains("slurm-client"), "{told}");
        assert_eq!(run("cat", &[], Some("7\n")), Ok("7\n".into()));
    }
}

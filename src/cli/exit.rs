//! Exit codes, documented in `livectl --help` and in the README.

use std::fmt;

/// Why livectl ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything asked for was done.
    Done = 0,
    /// Something failed while running.
    Failed = 1,
    /// Wrong usage. clap uses this code too.
    Usage = 2,
    /// A recipe is invalid.
    Recipe = 3,
    /// This machine lacks something; `livectl doctor` says what.
    Machine = 4,
    /// Results cannot be read or written.
    Results = 5,
    /// Done, but a trial is unfit: the machine disturbed the measurement.
    Unfit = 6,
    /// A sweep ended before everything was tried, as it was told to; the same command goes on.
    Unfinished = 7,
    /// Interrupted.
    Interrupted = 130,
}

impl Exit {
    /// The code of several recipes or runs: interrupted before anything else, then what kept the most from being
    /// done.
    #[must_use]
    pub fn worst(exits: impl Iterator<Item = Exit>) -> Exit {
        let rank = |exit: &Exit| match exit {
            Exit::Done => 0,
            Exit::Unfit => 1,
            Exit::Unfinished => 2,
            Exit::Failed => 3,
            Exit::Recipe => 4,
            Exit::Results => 5,
            Exit::Machine => 6,
            Exit::Usage => 7,
            Exit::Interrupted => 8,
        };
        exits.max_by_key(rank).unwrap_or(Exit::Done)
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        std::process::ExitCode::from(exit as u8)
    }
}

/// The table for `--help`.
pub const HELP: &str = "Exit codes:
  0    all done
  1    something failed while running; `verify`: something differs
  2    wrong usage
  3    a recipe is invalid
  4    this machine lacks something; see `livectl doctor`
  5    results cannot be read or written, or only in part
  6    done, but a trial is unfit: the machine disturbed it, or whether it did is not known
  7    a sweep ended before all trials were done (deadline or `livectl stop`); the same command resumes it
  130  interrupted
With several recipes, runs or trials, the code is the first of 130, 2, 4, 5, 3, 1, 7, 6 that
any of them gives.";

/// An error and the code to end with.
#[derive(Debug)]
pub struct Failure {
    /// What livectl exits with.
    pub exit: Exit,
    /// What to print; `None` if it was printed already.
    pub error: Option<anyhow::Error>,
}

impl Failure {
    /// Ends with this code, saying this.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Failure { exit, error: Some(error.into()) }
    }

    /// Ends with this code; what there is to say was said.
    #[must_use]
    pub fn said(exit: Exit) -> Self {
        Failure { exit, error: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            Some(error) => f.write_str(&sentence(error)),
            None => Ok(()),
        }
    }
}

/// The error and its causes, without those that the one before has told already.
fn sentence(error: &anyhow::Error) -> String {
    let mut sentence = error.to_string();
    let mut last = sentence.clone();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !last.contains(&cause) {
            sentence += &format!(": {cause}");
        }
        last = cause;
    }
    sentence
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::new(Exit::Failed, error)
    }
}

/// Gives an error its exit code.
pub trait WithExit<T> {
    /// Ends with this code if it is an error.
    ///
    /// # Errors
    /// The same error, with its code.
    fn exit(self, exit: Exit) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> WithExit<T> for Result<T, E> {
    fn exit(self, exit: Exit) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(exit, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreError;

    #[test]
    fn each_cause_is_told_once() {
        let source = std::io::Error::from_raw_os_error(17);
        let error = StoreError::Io { doing: "write", path: "a".into(), source };
        let told = Failure::new(Exit::Results, error).to_string();
        assert_eq!(told, "cannot write a: File exists (os error 17)");
        let nested = anyhow::anyhow!("no such day").context("cannot read the clock").context("cannot begin");
        assert_eq!(Failure::from(nested).to_string(), "cannot begin: cannot read the clock: no such day");
    }

    #[test]
    fn the_worst_end_decides_the_exit_code() {
        assert_eq!(Exit::worst([].into_iter()), Exit::Done);
        assert_eq!(Exit::worst([Exit::Done, Exit::Unfit].into_iter()), Exit::Unfit);
        assert_eq!(Exit::worst([Exit::Failed, Exit::Unfit, Exit::Done].into_iter()), Exit::Failed);
        assert_eq!(Exit::worst([Exit::Results, Exit::Unfit].into_iter()), Exit::Results);
        assert_eq!(Exit::worst([Exit::Interrupted, Exit::Machine].into_iter()), Exit::Interrupted);
    }
}

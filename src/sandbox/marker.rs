//! How a trial's processes are known from outside: two environment variables that children inherit.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// Environment variable with the trial's unique mark.
const ID: &str = "LIVECTL_TRIAL";
/// Environment variable with the trial's folder.
const DIR: &str = "LIVECTL_TRIAL_DIR";

/// Environment variable of programs that somebody runs in a trial from outside, as `livectl shell` does: the trial
/// neither needs them nor minds when one is stopped or dies.
pub(super) const VISITOR: &str = "LIVECTL_VISITOR";

/// Whether an environment block, as `/proc/PID/environ` shows it, is that of such a program.
pub(super) fn is_visitor(block: &[u8]) -> bool {
    block
        .split(|b| *b == 0)
        .any(|entry| entry.strip_prefix(VISITOR.as_bytes()).is_some_and(|rest| rest.starts_with(b"=")))
}

/// What a trial's processes carry in their environment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Marker {
    id: String,
    dir: PathBuf,
}

impl Marker {
    /// The mark of the `serial`-th trial that process `starter` starts, with its files in `dir`. `started_ns` tells
    /// apart two starters that had the same process id at different times.
    #[must_use]
    pub fn new(starter: u32, started_ns: u64, serial: u32, dir: &Path) -> Marker {
        Marker { id: format!("{starter}-{started_ns:x}-{serial}"), dir: dir.to_owned() }
    }

    /// The mark in the environment of this process, if it belongs to a trial.
    #[must_use]
    pub fn of_this_process() -> Option<Marker> {
        let id = std::env::var(ID).ok()?;
        Some(Marker { id, dir: std::env::var_os(DIR).map(PathBuf::from).unwrap_or_default() })
    }

    /// The mark in an environment block as `/proc/PID/environ` shows it: `NAME=value` entries, each ended by NUL.
    #[must_use]
    pub fn in_environment(block: &[u8]) -> Option<Marker> {
        use std::os::unix::ffi::OsStringExt;
        let value = |name: &str| {
            block.split(|b| *b == 0).find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
        };
        let id = String::from_utf8(value(ID)?.to_vec()).ok()?;
        Some(Marker { id, dir: OsString::from_vec(value(DIR).unwrap_or_default().to_vec()).into() })
    }

    /// The folder with the trial's files.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The variables that carry the mark.
    #[must_use]
    pub fn variables(&self) -> [(OsString, OsString); 2] {
        [(ID.into(), self.id.clone().into()), (DIR.into(), self.dir.clone().into())]
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.id)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn survives_an_environment_block() {
        let marker = Marker::new(17, 0xabc, 2, Path::new("/results/p2p/direct-1"));
        let mut block = b"LIVECTL_TRIALS=other\0".to_vec();
        for (name, value) in marker.variables() {
            block.extend([name.as_encoded_bytes(), b"=", value.as_encoded_bytes(), b"\0"].concat());
        }
        assert_eq!(Marker::in_environment(&block).unwrap(), marker);
        assert_eq!(marker.to_string(), "17-abc-2");
    }

    #[test]
    fn a_visitor_is_known() {
        assert!(is_visitor(b"PATH=/bin\0LIVECTL_VISITOR=1\0"));
        assert!(!is_visitor(b"PATH=/bin\0LIVECTL_VISITORS=1\0LIVECTL_TRIAL=7\0"));
    }

    #[test]
    fn a_stranger_has_none() {
        assert_eq!(Marker::in_environment(b"PATH=/bin\0HOME=/root\0"), None);
        assert_eq!(Marker::in_environment(b"XLIVECTL_TRIAL=1\0"), None);
    }
}

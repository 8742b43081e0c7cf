//! How many files the programs of a trial may have open.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What Mininet gives itself. Open vSwitch, the controller and emulated links need a few descriptors for each link of
/// the recipe, and a login's usual 1024 (or less, from a careful administrator) ends as packets that go nowhere.
const OPEN_FILES: u64 = 16_384;

/// Raises the limit of open files to what a trial needs, for this process and those it starts, or as far as is
/// allowed.
pub(super) fn raise() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if soft >= OPEN_FILES {
        return;
    }
    if setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES, hard.max(OPEN_FILES)).is_err() {
        // Without CAP_SYS_RESOURCE the hard limit is the most.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(OPEN_FILES), hard);
    }
}

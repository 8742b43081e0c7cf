//! Puts the git commit into the program, for the manifests of runs, and whether the program is optimised; for tests
//! it is not. A source tree without git leaves it empty.

use std::process::Command;

fn main() {
    let git = |args: &[&str]| {
        let said = Command::new("git").args(args).output().ok().filter(|said| said.status.success())?;
        Some(String::from_utf8_lossy(&said.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "HEAD"]).unwrap_or_default();
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|lines| !lines.is_empty());
    let unoptimised = std::env::var("OPT_LEVEL").is_ok_and(|level| level == "0");
    let (changed, unoptimised) =
        (if changed { "+changed" } else { "" }, if unoptimised { "+unoptimised" } else { "" });
    println!("cargo::rustc-env=LIVECTL_COMMIT={commit}{changed}{unoptimised}");
    // The log of HEAD grows with every commit, whatever branch it is on.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| std::path::Path::new(log).exists())
    {
        println!("cargo::rerun-if-changed={log}");
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src");
}

//! `live-agent`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    live_agent::cli::main()
}

//! `live-controller`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    live_controller::cli::main()
}

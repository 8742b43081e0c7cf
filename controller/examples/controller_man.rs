//! Prints the manual page of `live-controller`, as the Debian package has it: `cargo run -p live-controller --example controller_man > live-controller.1`.

use std::io;

use clap::CommandFactory as _;
use live_controller::cli::Options;

fn main() -> io::Result<()> {
    clap_mangen::Man::new(Options::command()).render(&mut io::stdout())
}

//! Prints the manual page of `live-agent`, as the Debian package has it: `cargo run -p live-agent --example agent_man > live-agent.1`.

use std::io;

use clap::CommandFactory as _;
use live_agent::cli::Options;

fn main() -> io::Result<()> {
    clap_mangen::Man::new(Options::command()).render(&mut io::stdout())
}

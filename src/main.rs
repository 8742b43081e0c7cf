//! The `livectl` command.

fn main() -> std::process::ExitCode {
    livectl::cli::main()
}

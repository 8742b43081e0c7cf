//! The command line: the one place that knows every room.

mod analyze;
mod compare;
#[cfg(test)]
mod documented;
mod dry_run;
mod exit;
mod host;
mod import;
mod inspect;
mod internal;
mod interrupt;
mod look;
mod plot;
mod predict;
mod recipes;
mod report;
mod run;
mod slurm;
mod status;
mod sweep;
mod whole;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

pub use exit::{Exit, Failure};
use whole::whole;

use crate::plan::{Datapath, LinkKind, Scheme};
use crate::store::Software;
use crate::ui;

/// Runs peer-to-peer livestreaming experiments on an emulated network and measures every frame's delay.
#[derive(Debug, Parser)]
#[command(name = "livectl", version, after_help = exit::HELP, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run recipes, one after the other, and draw their plots
    #[command(after_help = "Examples:
  sudo livectl run recipes/p2p.yaml
  sudo livectl run --link emulated --repetitions 5 recipes/p2p.yaml recipes/multi.yaml
  livectl run --dry-run recipes/p2p.yaml")]
    Run(RunArgs),
    /// Run every point of a recipe's matrix; the same command resumes it
    #[command(after_help = sweep::EXAMPLES)]
    Sweep(sweep::SweepArgs),
    /// Show the progress of sweeps, while they run or after
    #[command(after_help = "Examples:
  livectl status                                 # every sweep in results/
  livectl status overnight
  watch livectl status overnight")]
    Status(status::StatusArgs),
    /// Print what a sweep did, or follow it
    #[command(after_help = "Examples:\n  livectl logs overnight\n  livectl logs -f overnight")]
    Logs(status::LogsArgs),
    /// Stop a running sweep, after the current trial or now
    #[command(after_help = "Examples:
  livectl stop overnight                         # after the current trial
  livectl stop --now overnight                   # the current trial too; it is run again later
The same `livectl sweep` command resumes it.")]
    Stop(status::StopArgs),
    /// Validate recipes without running anything
    #[command(after_help = "Example:\n  livectl check recipes/*.yaml")]
    Check {
        /// Recipe files, or names of recipes that were installed with livectl
        #[arg(required = true, value_parser = recipes::argument())]
        recipes: Vec<PathBuf>,
    },
    /// Print the JSON Schema of recipes, for editors
    #[command(after_help = "Example:\n  livectl schema > recipe.schema.json
  # then, first line of a recipe: # yaml-language-server: $schema=recipe.schema.json")]
    Schema,
    /// Check this machine, and print the command that installs what is missing
    Doctor {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List running trials
    Ps,
    /// Open a shell on a host of a running trial
    #[command(
        after_help = "Examples:\n  sudo livectl shell hv1\n  sudo livectl shell --trial p2p/20261122T231700Z/direct-1 hb"
    )]
    Shell {
        #[command(flatten)]
        target: Target,
    },
    /// Run a command on a host of a running trial
    #[command(after_help = "Example:\n  sudo livectl exec hv1 ping -c 3 10.0.0.1")]
    Exec {
        #[command(flatten)]
        target: Target,
        /// Program and arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Print packets of a running trial with tcpdump, until it ends or Ctrl-C
    #[command(after_help = look::TCPDUMP_EXAMPLES)]
    Tcpdump(look::TcpdumpArgs),
    /// Show packets of a running trial in Wireshark, on your own display
    #[command(after_help = look::WIRESHARK_EXAMPLES)]
    Wireshark(look::WiresharkArgs),
    /// Show the screens of viewers of a running trial, on your own display
    #[command(after_help = look::SCREEN_EXAMPLES)]
    Screen(look::ScreenArgs),
    /// Open terminal windows on hosts of a running trial, on your own display
    #[command(after_help = look::XTERM_EXAMPLES)]
    Xterm(look::XtermArgs),
    /// Draw pictures of stored runs, alone or compared; needs no root
    #[command(after_help = plot::EXAMPLES)]
    Plot(plot::PlotArgs),
    /// Re-analyse runs: compute their tables again from the captures; needs no root
    #[command(after_help = "Examples:
  livectl analyze results/p2p/20261122T231700Z
  livectl analyze results                        # every run
You may delete captures to save space; the tables of such trials stay as they are.")]
    Analyze(analyze::AnalyzeArgs),
    /// Verify that stored files are unchanged and that the tables follow from the captures
    #[command(after_help = "Example:
  livectl verify results/p2p/20261122T231700Z
Exit code 1 if anything differs. Nothing is changed.")]
    Verify(analyze::VerifyArgs),
    /// Tell whether runs, or the schemes of one run, differ by more than chance
    #[command(after_help = "Examples:
  livectl compare results/p2p/20261122T231700Z results/p2p/20261123T081500Z
  livectl compare results/p2p                    # the schemes, over all runs of the recipe
  livectl compare --metric delay_p95_ms --csv p95.csv results/p2p results/multi
  livectl compare --metric excess_p95_ms --where loss=0 --base bypass results/overnight")]
    Compare(compare::CompareArgs),
    /// Import measurements from elsewhere as a run
    Import {
        #[command(subcommand)]
        what: import::What,
    },
    /// Predict the outcome of a recipe's trials; needs no root
    #[command(after_help = predict::EXAMPLES)]
    Predict(predict::PredictArgs),
    /// Write stored runs as one HTML page; needs no root
    #[command(after_help = "Examples:
  livectl report results/p2p/20261122T231700Z
  livectl report results/p2p    # all runs of a recipe on one page
  livectl report results/p2p results/multi --out ~/evening.html")]
    Report(ReportArgs),
    /// Print a shell completion script
    #[command(after_help = "Example:\n  livectl completions bash > /etc/bash_completion.d/livectl")]
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(after_help = "Example:\n  livectl man > /usr/local/share/man/man1/livectl.1")]
    Man,
    /// What livectl runs inside a sandbox
    #[command(hide = true)]
    Internal {
        #[command(subcommand)]
        part: internal::Part,
    },
}

impl Command {
    /// Others do for themselves what an interrupt asks for.
    fn works_on_stored_results(&self) -> bool {
        use Command::{Analyze, Compare, Import, Plot, Predict, Report, Verify};
        matches!(self, Plot(_) | Predict(_) | Analyze(_) | Verify(_) | Compare(_) | Import { .. } | Report(_))
    }
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Recipe files, or names of recipes that were installed with livectl
    #[arg(required = true, value_parser = recipes::argument())]
    recipes: Vec<PathBuf>,
    /// Print trials, topology, commands, expected time and disk; run nothing
    #[arg(long)]
    dry_run: bool,
    /// Folder for results
    #[arg(long, value_name = "DIR", default_value = "results")]
    results: PathBuf,
    /// Trials to run at the same time; more than one disturbs the measurement on a small machine
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<u32>(1..=64))]
    jobs: u32,
    /// Kind of links, overriding the recipe (auto, netem, emulated)
    #[arg(long, value_name = "KIND", hide_possible_values = true)]
    link: Option<LinkKind>,
    /// Datapath of Open vSwitch, overriding the recipe (auto, kernel, user)
    #[arg(long, value_name = "DATAPATH", hide_possible_values = true)]
    datapath: Option<Datapath>,
    /// Run only these schemes of the recipe (direct, bypass, relay, multicast, hls)
    #[arg(long = "scheme", value_name = "SCHEME", hide_possible_values = true)]
    schemes: Vec<Scheme>,
    /// How often to run each scheme, overriding the recipe
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1..=1000))]
    repetitions: Option<u32>,
    /// Seed of jitter and loss, overriding the recipe
    #[arg(long, value_name = "SEED", value_parser = whole::<u64>(0..=u64::MAX))]
    seed: Option<u64>,
    /// Points of a matrix are wanted.
    #[arg(skip)]
    is_sweep: bool,
}

#[derive(Debug, Args)]
struct Target {
    /// Host name, as in the recipe (viewers are numbered: hv1)
    host: String,
    /// Which trial, if several are running: its path from `livectl ps`, or the end of it
    #[arg(long)]
    trial: Option<String>,
}

#[derive(Debug, Args)]
struct ReportArgs {
    /// Folders of runs (results/RECIPE/RUN), or folders that contain them
    #[arg(required = true, value_name = "RUN|FOLDER")]
    runs: Vec<PathBuf>,
    /// File or folder of the page [default: report.html in the folder given; for several, in the folder that contains them all]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // Warnings are for people: on standard error, which inside a sandbox is the trial's log. RUST_LOG asks for more.
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    if cli.command.works_on_stored_results() {
        interrupt::after_writing();
    }
    let result = match cli.command {
        Command::Run(args) => {
            warn_if_unoptimised();
            run::run(&args)
        }
        Command::Sweep(args) => {
            warn_if_unoptimised();
            sweep::sweep(&args)
        }
        Command::Status(args) => status::status(&args),
        Command::Logs(args) => status::logs(&args),
        Command::Stop(args) => status::stop(&args),
        Command::Check { recipes } => inspect::check(&recipes),
        Command::Schema => inspect::schema(),
        Command::Doctor { json } => inspect::doctor(json),
        Command::Ps => host::ps(),
        Command::Shell { target } => host::shell(&target),
        Command::Exec { target, command } => host::exec(&target, &command),
        Command::Tcpdump(args) => look::tcpdump(&args),
        Command::Wireshark(args) => look::wireshark(&args),
        Command::Screen(args) => look::screen(&args),
        Command::Xterm(args) => look::xterm(&args),
        Command::Plot(args) => plot::plot(&args),
        Command::Analyze(args) => analyze::analyze(&args),
        Command::Verify(args) => analyze::verify(&args),
        Command::Compare(args) => compare::compare(&args),
        Command::Predict(args) => predict::predict(&args),
        Command::Import { what } => import::import(what),
        Command::Report(args) => report::report(&args),
        Command::Completions { shell } => completions(shell),
        Command::Man => man(),
        Command::Internal { part } => internal::part(part),
    };
    if let Some(lacking) = crate::plot::lacking_characters() {
        crate::ui::warn(&lacking);
    }
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if failure.error.is_some() {
                // There may be nobody left to tell.
                let _ = writeln!(std::io::stderr(), "livectl: {failure}");
            }
            failure.exit.into()
        }
    }
}

/// Through memory, for clap_complete panics when it cannot write.
fn completions(shell: clap_complete::Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "livectl", &mut script);
    crate::ui::print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

/// One page with every command, as `man` shows it.
fn man() -> Result<Exit, Failure> {
    let mut page = Vec::new();
    let mut command = Cli::command();
    command.build();
    let man = clap_mangen::Man::new(command.clone());
    man.render(&mut page)?;
    fn shown(command: &clap::Command) -> impl Iterator<Item = &clap::Command> {
        command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
    }
    // `import` has commands of its own, which follow it.
    for sub in shown(&command).flat_map(|sub| std::iter::once(sub).chain(shown(sub))) {
        let man = clap_mangen::Man::new(sub.clone());
        let name = sub.get_bin_name().unwrap_or(sub.get_name()).to_uppercase();
        let heading = format!(".SH \"{name}\"\n");
        page.extend_from_slice(heading.as_bytes());
        man.render_description_section(&mut page)?;
        man.render_options_section(&mut page)?;
        man.render_extra_section(&mut page)?;
    }
    crate::ui::print(&String::from_utf8_lossy(&page))?;
    Ok(Exit::Done)
}

fn size(text: &str) -> Result<(u32, u32), String> {
    let (least, most) = (crate::plot::SMALLEST, crate::plot::LARGEST);
    let side = |s: &str, least: u32, most: u32| s.parse::<u32>().ok().filter(|n| (least..=most).contains(n));
    let sides = text.split_once('x').and_then(|(w, h)| side(w, least.0, most.0).zip(side(h, least.1, most.1)));
    sides.ok_or_else(|| {
        let bounds = format!("{}x{} to {}x{}", least.0, least.1, most.0, most.1);
        format!("write WIDTHxHEIGHT in pixels, such as 1600x900, from {bounds}")
    })
}

/// Tests are run with such a program, and it stays in the target folder after them.
fn warn_if_unoptimised() {
    if Software::of_this_livectl().is_unoptimised() {
        ui::warn(
            "this livectl was built without optimisation, for tests: its emulated links deliver packets late. `./run.sh build` builds the optimised one",
        );
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_have_bounds() {
        assert_eq!(size("1600x900"), Ok((1600, 900)));
        assert!(size("1600").is_err());
        assert_eq!(size("480x270"), Ok((480, 270)));
        assert!(size("480x269").is_err());
        assert!(size("10000x900").is_err());
        let long = Cli::command().find_subcommand_mut("plot").unwrap().render_help().to_string();
        let (least, most) = (crate::plot::SMALLEST, crate::plot::LARGEST);
        assert!(long.contains(&format!("{}x{} to {}x{}", least.0, least.1, most.0, most.1)), "{long}");
        assert!(size("99999999999x3").is_err());
    }
}

//! `livectl run --dry-run`: what would be run, down to every command, without touching anything.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::RunArgs;
use super::exit::{Exit, Failure};
use crate::actor::process::Actor;
use crate::network::{self, Forwarding, Links};
use crate::plan::{Datapath, LinkKind, Trial};
use crate::run::cast::{self, Cast};
use crate::sandbox::capability::{self, Capabilities, Places};
use crate::store::TrialDir;
use crate::ui;

/// Prints the plan of each recipe.
pub(super) fn dry_run(args: &RunArgs) -> Result<Exit, Failure> {
    let here = Capabilities::probe(&Places { results: args.results.clone() });
    let mut exit = Exit::Done;
    for path in &args.recipes {
        let loaded = match super::run::load(args, path) {
            Ok(loaded) => loaded,
            Err(failure) => {
                exit = failure.exit;
                if failure.error.is_some() {
                    ui::warn(&format!("{}: {failure}", path.display()));
                }
                continue;
            }
        };
        for warning in &loaded.warnings {
            ui::warn(&format!("{}: warning: {warning}", path.display()));
        }
        let plan = loaded.plan;
        let estimate = plan.estimate();
        let folder = args.results.join(&plan.recipe).join("RUN");
        let mut text = format!(
            "{}: {} trials, about {}, up to {} in {}\n",
            plan.recipe,
            plan.trials.len(),
            ui::span(estimate.duration / args.jobs.max(1)),
            ui::bytes(estimate.disk_bytes),
            folder.display()
        );
        for trial in &plan.trials {
            describe(&mut text, trial, &folder, &here)?;
        }
        ui::print(&text)?;
    }
    Ok(exit)
}

fn describe(text: &mut String, trial: &Trial, folder: &Path, here: &Capabilities) -> Result<(), Failure> {
    // Writing to a String cannot fail.
    let dir = TrialDir::at(&folder.join(&trial.id));
    let timeline = &trial.timeline;
    let _ = writeln!(
        text,
        "\n== {}: scheme {}, repetition {}, seed {}, {} ==",
        trial.id,
        trial.scheme,
        trial.repetition,
        trial.seed,
        ui::span(timeline.end)
    );
    let (links, why) = settled(capability::resolve_links(trial.links, here), LinkKind::Emulated);
    let _ = writeln!(text, "links: {links}: {why}");
    let (datapath, why) = settled(capability::resolve_datapath(trial.datapath, here), Datapath::User);
    let _ = writeln!(text, "datapath: {datapath}: {why}");
    for stream in &trial.streams {
        let _ = writeln!(text, "stream {}: {} -> {}", stream.name, stream.broadcaster, stream.viewers.join(", "));
    }
    let links = if links == LinkKind::Netem { Links::Netem } else { Links::Emulated };
    let forwarding = if datapath == Datapath::Kernel { Forwarding::Kernel } else { Forwarding::User };

    let livectl = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("livectl"));
    let controller = here.controller.clone().unwrap_or_else(|| PathBuf::from("live-controller"));
    let cast = Cast::of(trial, &dir, &livectl)?;
    let _ = writeln!(text, "\ncommands, by the moment at which they start:");
    line(text, "boot", &cast::controller(&controller, trial.scheme, &dir));
    if links == Links::Emulated {
        line(text, "boot", &cast::emulator(&livectl, trial, &dir));
    }
    let mn = network::session::boot_command(&dir.topology(), Some(cast::CONTROLLER));
    let words: Vec<String> =
        std::iter::once(mn.get_program()).chain(mn.get_args()).map(|w| w.to_string_lossy().into_owned()).collect();
    let _ = writeln!(text, "  {:>8}  {:8} {}", "boot", "-", words.join(" "));
    let agents = cast.broadcasts.iter().map(|pair| &pair.agent);
    for actor in cast.captures.iter().chain(&cast.cdn).chain(agents) {
        line(text, "ready", actor);
    }
    let mut cues: Vec<(std::time::Duration, &Actor)> = Vec::new();
    cues.extend(cast.pings.iter().map(|(at, actor)| (*at, actor)));
    cues.extend(cast.viewers.iter().map(|actor| (timeline.view_at, actor)));
    for pair in &cast.broadcasts {
        cues.push((timeline.broadcast_at, &pair.encoder));
    }
    cues.sort_by_key(|(at, _)| *at);
    for (at, actor) in cues {
        line(text, &format!("{:.1} s", at.as_secs_f64()), actor);
    }
    let _ = writeln!(text, "\n{}:\n", dir.topology().display());
    for row in network::topology(trial, links, forwarding)?.lines() {
        let _ = writeln!(text, "    {row}");
    }
    Ok(())
}

/// What would be used; where nothing can be, what a machine without kernel support would use, and why it cannot here.
fn settled<T: Copy>(choice: Result<capability::Choice<T>, capability::Unavailable>, fallback: T) -> (T, String) {
    match choice {
        Ok(choice) => (choice.kind, choice.why),
        Err(error) => (fallback, format!("NOT ON THIS MACHINE: {error}")),
    }
}

fn line(text: &mut String, when: &str, actor: &Actor) {
    let _ = writeln!(text, "  {when:>8}  {:8} {}", actor.host, actor.command);
}

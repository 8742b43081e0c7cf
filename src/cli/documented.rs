//! Whether the commands that the documentation names are commands: that their parts and options exist, and the recipes in them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use clap::Parser as _;
use clap::error::ErrorKind;

use super::Cli;

/// Everything that says how livectl is called.
fn documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<_> =
        ["README.md", "controller/README.md", "agent/README.md"].map(|name| root.join(name)).into();
    paths.extend(std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    paths.sort();
    paths.into_iter().map(|path| (path.display().to_string(), std::fs::read_to_string(&path).unwrap())).collect()
}

/// The commands that begin with `program`: lines of blocks of code, and code within sentences.
fn commands(text: &str, program: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced || line.starts_with("    ") {
            found.extend(command(line, program));
        } else {
            found.extend(line.split('`').skip(1).step_by(2).filter_map(|code| command(code, program)));
        }
    }
    found
}

/// The words of a command, up to what a shell would take for something else.
fn command(code: &str, program: &str) -> Option<Vec<String>> {
    let code = code.trim().trim_start_matches("$ ").trim_start_matches("sudo ").trim_start_matches("./");
    let code = code.split(" #").next()?.split("  ").next()?;
    let words = code.split_whitespace();
    let words = words.take_while(|word| !["|", "||", ">", ">>", "&", "&&", "\\", "--", "…"].contains(word));
    let words: Vec<String> = words.map(|word| word.trim_matches(['"', '\'', ';', ',']).to_owned()).collect();
    (words.first().is_some_and(|word| word == program)).then_some(words)
}

/// A word that stands for another: `RUN`, `N`, `DURATION`, `…`, `[--out`.
fn is_placeholder(word: &str) -> bool {
    !word.starts_with('-')
        && word.contains(char::is_alphabetic)
        && word.chars().filter(char::is_ascii_alphabetic).all(|c| c.is_ascii_uppercase())
        || word.contains(['…', '[', '<', '*', '$', '|'])
}

#[test]
fn the_documented_commands_of_livectl_exist() {
    let (mut checked, mut wrong) = (0, Vec::new());
    for (name, text) in documents() {
        // `livectl needs Rust …` is what `run.sh` says.
        for words in
            commands(&text, "livectl").into_iter().filter(|words| words.get(1).is_none_or(|word| word != "needs"))
        {
            checked += 1;
            let line = words.join(" ");
            for recipe in words.iter().filter(|word| word.starts_with("recipes/") && !is_placeholder(word)) {
                if !Path::new(env!("CARGO_MANIFEST_DIR")).join(recipe).exists() {
                    wrong.push(format!("{name}: `{line}`: there is no {recipe}"));
                }
            }
            let error = match Cli::try_parse_from(&words) {
                Ok(_) => continue,
                Err(error) => error,
            };
            // A sentence may leave out what does not matter to it.
            let is_short = matches!(
                error.kind(),
                ErrorKind::MissingRequiredArgument
                    | ErrorKind::MissingSubcommand
                    | ErrorKind::DisplayHelp
                    | ErrorKind::DisplayVersion
                    | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            );
            if !is_short && !words.iter().skip(1).any(|word| is_placeholder(word)) {
                wrong.push(format!("{name}: `{line}`: {}", error.to_string().lines().next().unwrap_or_default()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 40, "{checked} commands were found");
}

/// What is run for real is in `controller/tests/mininet.sh`: loops only with the spanning tree of Open vSwitch, which works in its mode `standalone` alone.
#[test]
fn the_documented_mininet_of_networks_with_loops_is_the_one_that_is_tested() {
    let script = include_str!("../../controller/tests/mininet.sh");
    for (name, text) in documents() {
        for code in text.split('`').skip(1).step_by(2).filter(|code| code.contains("stp=1")) {
            assert!(code.contains("failMode=standalone"), "{name}: `{code}`");
            assert!(script.contains("stp=1,failMode=standalone"), "{name}: nobody runs `{code}`");
        }
    }
}

#[test]
fn commands_are_found_where_they_stand() {
    let text = "Try `livectl check a.yaml` or `x livectl`.\n\n    sudo livectl run b.yaml --jobs 2   # some\n```sh\n$ livectl ps | head\n```\n";
    let found: Vec<String> = commands(text, "livectl").iter().map(|words| words.join(" ")).collect();
    assert_eq!(found, ["livectl check a.yaml", "livectl run b.yaml --jobs 2", "livectl ps"]);
    assert!(is_placeholder("RUN") && is_placeholder("[--out") && !is_placeholder("--out"));
}

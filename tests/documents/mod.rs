//! The commands that the documentation names, for the tests of each program: whether their parts and options exist.

use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ErrorKind};

/// The folder of the workspace.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_root = |folder: &&Path| folder.join("CHANGELOG.md").exists();
    here.ancestors().find(is_root).expect("the workspace has a changelog").to_owned()
}

/// Everything that says how the programs are called: all Markdown of the workspace but what `target` and `tests` hold, and the changelog, which also speaks of
/// what there was before.
pub fn documents() -> Vec<(String, String)> {
    fn collect(folder: &Path, depth: u32, paths: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder of the workspace") {
            let path = entry.expect("a folder of the workspace").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_other = ["target", "tests", "results", "licences"].contains(&&*name) || name.starts_with('.');
            if path.is_dir() && !path.is_symlink() && depth > 0 && !is_other {
                collect(&path, depth - 1, paths);
            } else if path.extension().is_some_and(|ending| ending == "md") && name != "CHANGELOG.md" {
                paths.push(path);
            }
        }
    }
    let mut paths = Vec::new();
    collect(&root(), 2, &mut paths);
    paths.sort();
    paths
        .into_iter()
        .map(|path| (path.display().to_string(), std::fs::read_to_string(&path).expect("text")))
        .collect()
}

/// The commands that call `program`: lines of blocks of code, and code within sentences.
pub fn commands(text: &str, program: &str) -> Vec<Vec<String>> {
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

/// The words of a command, up to what a shell would take for something else. Before the program there may be a prompt, a host of Mininet and variables.
fn command(code: &str, program: &str) -> Option<Vec<String>> {
    let is_before = |word: &&str| {
        let is_host =
            word.strip_prefix('h').is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit()));
        ["$", "sudo", "mininet>"].contains(word) || is_host || word.contains('=') && !word.starts_with('-')
    };
    let words: Vec<&str> = code.split_whitespace().skip_while(is_before).collect();
    let place = code.find(words.first()?)?;
    let code = code.get(place..)?.split(" #").next()?.split("  ").next()?;
    let words = code.split_whitespace();
    let words = words.take_while(|word| !["|", "||", ">", ">>", "&", "&&", "\\", "--", "…"].contains(word));
    let mut words: Vec<String> = words.map(|word| word.trim_matches(['"', '\'', ';', ',']).to_owned()).collect();
    let first = words.first_mut()?;
    *first = first.rsplit('/').next().unwrap_or_default().to_owned();
    (first == program).then_some(words)
}

/// A word that stands for another: `RUN`, `N`, `DURATION`, `…`, `[--out`.
pub fn is_placeholder(word: &str) -> bool {
    !word.starts_with('-')
        && word.contains(char::is_alphabetic)
        && word.chars().filter(char::is_ascii_alphabetic).all(|c| c.is_ascii_uppercase())
        || word.contains(['…', '[', '<', '*', '$', '|'])
}

/// What is wrong with a command according to its own parser; `None`: nothing, or it only leaves out what the sentence around it does not need.
pub fn wrong(words: &[String], parsed: Result<(), clap::Error>) -> Option<String> {
    let error = parsed.err()?;
    let is_short = matches!(
        error.kind(),
        ErrorKind::MissingRequiredArgument
            | ErrorKind::MissingSubcommand
            | ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    // An option's name alone says that there is such an option.
    let is_short =
        is_short || error.kind() == ErrorKind::InvalidValue && words.last().is_some_and(|last| last.starts_with('-'));
    let is_pattern = words.iter().skip(1).any(|word| is_placeholder(word));
    // A placeholder is no value; but an option that does not exist is wrong, whatever stands behind it.
    let is_unknown = error.kind() == ErrorKind::UnknownArgument
        && error.get(ContextKind::InvalidArg).is_some_and(|unknown| !is_placeholder(&unknown.to_string()));
    let is_wrong = !is_short && (!is_pattern || is_unknown);
    is_wrong.then(|| format!("`{}`: {}", words.join(" "), error.to_string().lines().next().unwrap_or_default()))
}

/// How many commands call `program`, and what is wrong with them.
#[allow(dead_code)] // livectl's own test looks closer.
pub fn check(program: &str, parse: impl Fn(&[String]) -> Result<(), clap::Error>) -> (usize, Vec<String>) {
    let (mut checked, mut all) = (0, Vec::new());
    for (name, text) in documents() {
        for words in commands(&text, program) {
            checked += 1;
            all.extend(wrong(&words, parse(&words)).map(|wrong| format!("{name}: {wrong}")));
        }
    }
    (checked, all)
}

/// Gives every option of a program that takes a value, and those of its commands, a word that is none of their values. Panics if one answers with what a parser says
/// of it and not with what is expected. Returns how many refused the word.
pub fn refused_words(program: &clap::Command) -> usize {
    fn options(command: &clap::Command, path: &[String], found: &mut Vec<Vec<String>>) {
        for option in command.get_arguments().filter(|arg| arg.get_action().takes_values()) {
            if let Some(long) = option.get_long() {
                found.push([path, &[format!("--{long}=two")]].concat());
            }
        }
        for part in command.get_subcommands().filter(|part| part.get_name() != "internal") {
            options(part, &[path, &[part.get_name().to_owned()]].concat(), found);
        }
    }
    let mut found = Vec::new();
    options(program, &[program.get_name().to_owned()], &mut found);
    let refusal = |words: &Vec<String>| {
        let error = program.clone().try_get_matches_from(words).err()?;
        (error.kind() == ErrorKind::ValueValidation).then(|| error.to_string())
    };
    let refused: Vec<String> = found.iter().filter_map(refusal).collect();
    for text in &refused {
        for word in ["invalid digit", "invalid float", "syntax", "not a number", "out of range"] {
            assert!(!text.contains(word), "{text}");
        }
    }
    refused.len()
}

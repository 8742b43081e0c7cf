//! Checks the commands that the documentation names: that their subcommands, options and recipes exist.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use clap::{CommandFactory as _, Parser as _};

use super::Cli;

#[path = "../../tests/documents/mod.rs"]
mod documents;

use documents::{commands, documents, is_placeholder, root, wrong};

/// The recipes among the words of a command that do not exist.
fn lost_recipes(words: &[String]) -> impl Iterator<Item = String> {
    let named = words.iter().filter(|word| word.starts_with("recipes/") && !is_placeholder(word));
    named
        .filter(|recipe| !root().join(recipe).exists())
        .map(|recipe| format!("`{}`: there is no {recipe}", words.join(" ")))
}

fn parsed(words: &[String]) -> Result<(), clap::Error> {
    Cli::try_parse_from(words).map(drop)
}

#[test]
fn the_documented_commands_of_livectl_exist() {
    let (mut checked, mut all) = (0, Vec::new());
    for (name, text) in documents() {
        // `livectl needs Rust …` is what `run.sh` says.
        let is_command = |words: &Vec<String>| words.get(1).is_none_or(|word| word != "needs");
        for words in commands(&text, "livectl").into_iter().filter(is_command) {
            checked += 1;
            all.extend(
                lost_recipes(&words).chain(wrong(&words, parsed(&words))).map(|wrong| format!("{name}: {wrong}")),
            );
        }
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
    assert!(checked > 40, "{checked} commands were found");
}

/// Its own commands are tested in `tests/ops.sh`. With recipes or options it is `livectl run`; `test` takes the options of `cargo test`.
#[test]
fn the_documented_recipes_and_tests_of_run_sh_exist() {
    let (mut checked, mut all) = (0, Vec::new());
    for (name, text) in documents() {
        for mut words in commands(&text, "run.sh") {
            let first = words.get(1).map_or("", String::as_str);
            if first == "test" {
                let mut tests = words.iter().skip_while(|word| *word != "--test").skip(1);
                if let Some(test) = tests.next().filter(|test| !is_placeholder(test)) {
                    checked += 1;
                    let exists = root().join(format!("tests/{test}.rs")).exists();
                    all.extend((!exists).then(|| format!("{name}: there is no tests/{test}.rs")));
                }
            } else if first.starts_with('-') && first != "--help" || first.ends_with(".yaml") {
                checked += 1;
                words.splice(..1, ["livectl".to_owned(), "run".to_owned()]);
                all.extend(
                    lost_recipes(&words).chain(wrong(&words, parsed(&words))).map(|wrong| format!("{name}: {wrong}")),
                );
            }
        }
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
    assert!(checked > 0, "none was found");
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
    let found = |text: &str, program: &str| -> Vec<String> {
        commands(text, program).iter().map(|words| words.join(" ")).collect()
    };
    assert_eq!(found(text, "livectl"), ["livectl check a.yaml", "livectl run b.yaml --jobs 2", "livectl ps"]);
    let text = "    mininet> h2 live-agent viewer --stream live/hb > h2.jsonl &\n    RUST_LOG=info target/release/live-agent notify\n";
    assert_eq!(found(text, "live-agent"), ["live-agent viewer --stream live/hb", "live-agent notify"]);
    assert!(is_placeholder("RUN") && is_placeholder("[--out") && !is_placeholder("--out"));
}

#[test]
fn an_option_that_does_not_exist_is_wrong_even_beside_a_placeholder() {
    let told = |line: &str| {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        wrong(&words, parsed(&words))
    };
    assert_eq!(told("livectl check"), None, "the sentence leaves out which");
    assert_eq!(told("livectl plot RUN --size WxH"), None);
    assert!(told("livectl plot RUN --colour X").is_some_and(|told| told.contains("--colour")));
    assert!(told("livectl chek recipes/p2p.yaml").is_some());
    assert_eq!(lost_recipes(&["livectl".into(), "recipes/none.yaml".into()]).count(), 1);
}

#[test]
fn a_value_that_is_none_is_answered_with_what_is_expected() {
    let refused = documents::refused_words(&Cli::command());
    assert!(refused >= 10, "{refused} options refuse a word");
}

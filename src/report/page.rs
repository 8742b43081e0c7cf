//! The page itself.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, ValueKind};
use minijinja::{AutoEscape, Environment, Output, State, UndefinedBehavior, Value, context};
use sha2::{Digest as _, Sha256};

use super::column::{self, Sheet};
use super::picture;
use super::section::{self, OVERVIEW, RunLine};
use super::stored::Stored;
use super::{ReportError, Room};

const TEMPLATE: &str = include_str!("page.html.j2");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Lines of the overview; a run has some bytes of each.
const MOST_LINES: usize = 5000;

/// Runs whose audiences are compared on the page: the first of them.
const MOST_AUDIENCES: usize = 500;

/// A page and what it could not show.
#[derive(Debug)]
pub struct Page {
    /// The page, as HTML.
    pub html: String,
    /// What is missing or cannot be read, for people; the page says the same.
    pub problems: Vec<String>,
    /// Which parameter moves the excess how much, for a terminal: of each sweep on the page.
    pub answers: Vec<String>,
    /// Something of that should be there, or is there and cannot be read.
    pub damaged: bool,
}

/// The page of these runs, from their manifests and tables alone. What is missing of a run is named on the page and
/// in [`Page::problems`].
///
/// # Errors
/// [`ReportError::Store`] if the only run cannot be read, [`ReportError::NothingReadable`] if none of several can.
pub fn page(runs: &[PathBuf]) -> Result<Page, ReportError> {
    let room = Room::for_runs(runs.len());
    let mut pictures = room.pictures;
    let (mut problems, mut damaged) = (Vec::new(), false);
    let (mut unreadable, mut sections, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    let (mut audiences, mut said) = (Vec::new(), Vec::new());
    let (mut answers, mut all_answers): (Option<Sheet>, usize) = (None, 0);
    for path in runs {
        let run = match Stored::open(path) {
            Ok(run) => run,
            Err(error) if runs.len() == 1 => return Err(error.into()),
            Err(error) => {
                unreadable.push(error.to_string());
                continue;
            }
        };
        problems.extend(run.lacks.iter().map(|lack| format!("{}: {}", path.display(), lack.text)));
        damaged |= run.lacks.iter().any(|lack| lack.damage);
        let id = format!("run-{}", sections.len() + 1);
        let shown = sections.len() < room.sections;
        let brief = section::brief(&run, shown.then_some(id.as_str()));
        if runs.len() > 1 {
            all_answers += brief.answers.len();
            let sheet = Sheet::of(
                "all-answers".into(),
                "The answers of all runs",
                column::ANSWERS,
                &brief.answers,
                MOST_LINES,
                "",
            );
            gather(&mut answers, sheet, &brief.line);
        }
        if shown {
            sections.push(section::section(&run, &id, &brief, &room, &mut pictures));
        }
        said.extend(brief.said());
        lines.push(brief.line);
        if runs.len() > 1 && audiences.len() < MOST_AUDIENCES {
            audiences.push(run.loaded.of_audience());
        }
    }
    if lines.is_empty() {
        return Err(ReportError::NothingReadable { why: unreadable });
    }
    damaged |= !unreadable.is_empty();
    problems.extend(unreadable.iter().cloned());
    let mut overview = Vec::new();
    if runs.len() > 1 {
        let stored = "the folders of the runs";
        overview.push(Sheet::of("all-runs".into(), "All runs", OVERVIEW, &lines, MOST_LINES, stored));
        overview.extend(answers.map(|sheet| Sheet {
            cut: (all_answers > sheet.rows.len()).then(|| {
                format!(
                    "The first {} of {all_answers} rows; the others are in the summary.csv of each run.",
                    sheet.rows.len()
                )
            }),
            ..sheet
        }));
    }
    let (overview_figures, overview_left_out) = picture::of_audiences(audiences, &mut pictures);
    let title = match &lines[..] {
        [one] => format!("{} · {}", one.recipe(), one.run()),
        several => format!("{} runs of {}", several.len(), recipes(several)),
    };
    let html = rendered(&context! {
        title, unreadable,
        overview => Value::from(Serde(&overview)),
        overview_figures => Value::from(Serde(&overview_figures)),
        overview_left_out,
        sections => Value::from(Serde(&sections)),
        not_shown => lines.len() - sections.len(),
        definitions => Value::from(Serde(column::definitions())),
        version => env!("CARGO_PKG_VERSION"),
        commit => option_env!("LIVECTL_COMMIT").filter(|commit| !commit.is_empty()),
        policy => policy(),
        style => Value::from_safe_string(STYLE.to_owned()),
        script => Value::from_safe_string(SCRIPT.to_owned()),
    })?;
    Ok(Page { html, problems, answers: said, damaged })
}

/// Adds a run's answers to those of the runs before, each with the run's name in front.
fn gather(answers: &mut Option<Sheet>, mut of_run: Sheet, line: &RunLine) {
    of_run.rows.iter_mut().for_each(|row| {
        row.splice(0..0, line.name_cells());
    });
    match answers {
        None => {
            let names = column::heads(OVERVIEW).into_iter().take(line.name_cells().len());
            of_run.heads.splice(0..0, names);
            *answers = Some(of_run);
        }
        Some(all) => {
            let room = MOST_LINES.saturating_sub(all.rows.len());
            all.rows.extend(of_run.rows.into_iter().take(room));
        }
    }
}

fn recipes(lines: &[RunLine]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for line in lines {
        if !names.contains(&line.recipe()) {
            names.push(line.recipe());
        }
    }
    if names.len() <= 4 { names.join(", ") } else { format!("{} recipes", names.len()) }
}

/// Nothing is loaded or sent, and no other script or style than the page's own is heeded.
fn policy() -> String {
    let hash = |text: &str| format!("'sha256-{}'", BASE64.encode(Sha256::digest(text.as_bytes())));
    let (script, style) = (hash(SCRIPT), hash(STYLE));
    format!(
        "default-src 'none'; script-src {script}; style-src {style}; img-src data:; base-uri 'none'; form-action 'none'"
    )
}

fn rendered(context: &Value) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_formatter(printable);
    environment.render_str(TEMPLATE, context)
}

/// As the engine writes values, but control characters, which no HTML page may hold, are shown as U+FFFD.
fn printable(out: &mut Output, state: &mut State, value: &Value) -> Result<(), minijinja::Error> {
    let unprintable = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\t'))
            || matches!(c, '\u{fdd0}'..='\u{fdef}' | '\u{fffe}' | '\u{ffff}')
    };
    match value.as_str().filter(|text| value.kind() == ValueKind::String && text.contains(unprintable)) {
        Some(text) => {
            let text = text.replace("\r\n", "\n").replace(unprintable, "\u{fffd}");
            let value = if value.is_safe() { Value::from_safe_string(text) } else { Value::from(text) };
            minijinja::escape_formatter(out, state, &value)
        }
        None => minijinja::escape_formatter(out, state, value),
    }
}

//! Recipes: YAML as written, validated, and turned into a [`Plan`].
//!
//! [`load`] reads a file, [`from_str`] a text; both are strict. What is wrong is a [`RecipeError`] that points at
//! every mistake with line, column, the text around it and a hint; what is merely doubtful is a [`Warning`]. [`schema`] describes the
//! same format to editors. `docs/recipes.md` describes it to people.
//!
//! The way of a recipe: [`mod@file`] is the recipe as written, with all values still text ([`text`]); the validation reads the values
//! ([`mod@unit`], [`word`]), checks them against each other and numbers hosts, interfaces and trials.

pub mod file;
pub mod link_change;
mod link_trace;
mod matrix;
pub mod parameter;
mod place;
mod problem;
pub mod program;
mod spelling;
mod syntax;
pub mod text;
pub mod unit;
mod validate;
pub mod word;

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use livectl_wire::frame::FrameId;
pub use problem::{RecipeError, Warning};
pub(crate) use word::nearest;

use crate::file_trouble;
use crate::plan::{Plan, Stream, Until, Video, VideoSource};
use file::RecipeFile;
use problem::Finding;

/// Bytes of a recipe at most.
pub const MAX_SIZE: u64 = 1 << 20;

/// A valid recipe.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What the recipe means: every trial.
    pub plan: Plan,
    /// Until what is known a sweep repeats its trials, of which the plan then lists as many as there can be.
    pub until: Option<Until>,
    /// What may not be meant.
    pub warnings: Vec<Warning>,
    /// The recipe as it was, to be kept with the results.
    pub text: String,
    /// Where it was read from, as it was given.
    pub path: PathBuf,
}

/// Reads the recipe in a file. The plan is named after the file, and files in it are relative to the file's folder.
///
/// # Errors
/// The file cannot be read, is not text, or is not a valid recipe.
pub fn load(path: impl AsRef<Path>) -> Result<Loaded, RecipeError> {
    load_looking(path, &|_, _| Ok(None))
}

/// The same, and has someone look into the video file that the recipe names.
///
/// # Errors
/// As [`load`], or what is wrong with the video file.
pub fn load_looking(path: impl AsRef<Path>, look: &LookAtVideo<'_>) -> Result<Loaded, RecipeError> {
    let path = path.as_ref();
    let text = read(path)?;
    let look = |video: &Video, streams: &[Stream]| {
        if let VideoSource::File { path } = &video.source {
            is_file(path).map_err(|NoFile { why, help }| {
                let help = help.map(str::to_owned);
                VideoFault { key: VideoKey::File, why, label: "this file", help }
            })?;
        }
        look(video, streams)
    };
    compile(path, text, &look, &read_trace)
}

/// Looks into the file of a video that these streams are made of, and says what is doubtful about it.
pub type LookAtVideo<'a> = dyn Fn(&Video, &[Stream]) -> Result<Option<String>, VideoFault> + 'a;

/// What is wrong with a video file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoFault {
    /// What the recipe says and the file does not hold.
    pub key: VideoKey,
    /// What is wrong, behind the file's name: `has no sound`.
    pub why: String,
    /// The same in a word or two.
    pub label: &'static str,
    /// What to do; `None`: see whether it is the right file.
    pub help: Option<String>,
}

/// A key of `video` in recipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VideoKey {
    /// The file itself.
    File,
    /// That there is sound.
    Audio,
    /// How many pictures there are.
    Frames,
}

/// Why there is no file to read from.
struct NoFile {
    /// What is wrong, behind the file's name: `does not exist`.
    why: String,
    /// What to do; `None`: see whether it is the right file.
    help: Option<&'static str>,
}

impl NoFile {
    fn for_what(why: impl Into<String>) -> NoFile {
        NoFile { why: why.into(), help: None }
    }

    fn unreadable(path: &Path, error: &io::Error) -> NoFile {
        let why = format!("cannot be read: {}", file_trouble::plainly(path, error));
        NoFile { why, help: Some(file_trouble::advice(path, error)) }
    }
}

fn is_file(path: &Path) -> Result<(), NoFile> {
    match std::fs::metadata(path) {
        Ok(file) if file.is_file() => Ok(()),
        Ok(file) if file.is_dir() => Err(NoFile::for_what("is a folder, not a file")),
        Ok(_) => Err(NoFile::for_what("is not a file but a pipe, a socket or a device")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(NoFile::for_what("does not exist")),
        Err(error) => Err(NoFile::unreadable(path, &error)),
    }
}

/// The text of a trace of a link, of what is a file and not endless.
fn read_trace(path: &Path) -> Result<String, String> {
    is_file(path).map_err(|no| no.why)?;
    let mut bytes = Vec::new();
    let file = File::open(path).and_then(|file| file.take(link_trace::MAX_SIZE + 1).read_to_end(&mut bytes));
    file.map_err(|error| NoFile::unreadable(path, &error).why)?;
    if bytes.len() as u64 > link_trace::MAX_SIZE {
        return Err(format!("is longer than {} MiB", link_trace::MAX_SIZE >> 20));
    }
    String::from_utf8(bytes).map_err(|_| "is not a text".to_owned())
}

/// Reads a recipe from text. `name` is what messages call it, and otherwise like the path of [`load`]; no file is
/// opened, not even a video that the recipe names; so it cannot name a trace that a link follows.
///
/// # Errors
/// The text is not a valid recipe.
pub fn from_str(name: impl AsRef<Path>, text: &str) -> Result<Loaded, RecipeError> {
    compile(name.as_ref(), text.to_owned(), &|_, _| Ok(None), &|_| Err("is not looked at".to_owned()))
}

/// The JSON Schema (2020-12) of recipes, for editors.
#[must_use]
pub fn schema() -> serde_json::Value {
    let schema = schemars::SchemaGenerator::default().into_root_schema_for::<RecipeFile>();
    schema.to_value()
}

/// The file's text, or an explanation for people why it cannot be read.
fn read(path: &Path) -> Result<String, RecipeError> {
    let unreadable = |error: io::Error| {
        let (why, help) = match error.kind() {
            io::ErrorKind::NotFound => {
                let help = similar_file(path).map_or_else(
                    || "recipes end in .yaml; see the folder recipes/".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                );
                ("file not found".to_owned(), help)
            }
            _ => {
                let NoFile { why, help } = NoFile::unreadable(path, &error);
                (format!("the file {why}"), help.unwrap_or_default().to_owned())
            }
        };
        RecipeError::whole(path, why, help)
    };
    let kind = std::fs::metadata(path).map_err(unreadable)?.file_type();
    if kind.is_dir() {
        return Err(RecipeError::whole(path, "this is a folder, not a recipe", "name a file in it"));
    }
    // Nobody may ever write to it. What a shell's `<(…)` makes is filled already, and has a name in /dev/fd.
    if kind.is_fifo() && !path.starts_with("/dev") && !path.starts_with("/proc") {
        return Err(RecipeError::whole(path, "this is a pipe, not a recipe", "name a file"));
    }
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    // One byte more than allowed tells too long from just fitting; devices without end are cut off too.
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_SIZE {
        let help = "recipes are a few kilobytes of YAML; is this another file?";
        return Err(RecipeError::whole(path, format!("the file is longer than {} KiB", MAX_SIZE / 1024), help));
    }
    if bytes.starts_with(&[0xFF, 0xFE, 0, 0]) || bytes.starts_with(&[0, 0, 0xFE, 0xFF]) {
        return Err(RecipeError::whole(path, "this is UTF-32 text", "save the file as UTF-8"));
    }
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        return Err(RecipeError::whole(path, "this is UTF-16 text", "save the file as UTF-8"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        let message = format!("this is not UTF-8 text: byte {column} of line {line} belongs to no character");
        RecipeError::whole(path, message, "save the file as UTF-8; is it a recipe?")
    })
}

/// A file in the same folder whose name is like this one's.
fn similar_file(path: &Path) -> Option<String> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let names: Vec<String> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".yaml") || name.ends_with(".yml"))
        .take(1000)
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let near = word::nearest(path.file_name()?.to_str()?, &names)?;
    Some(path.with_file_name(near).display().to_string())
}

/// Text to plan. `look` looks at video files, `reader` reads traces.
fn compile(
    path: &Path,
    text: String,
    look: &LookAtVideo<'_>,
    reader: validate::Reader<'_>,
) -> Result<Loaded, RecipeError> {
    let name = path.display().to_string();
    let source = text.strip_prefix('\u{FEFF}').unwrap_or(&text);
    let failed = |findings| RecipeError::new(&name, source, findings);
    if let Some((at, c)) = source.char_indices().find(|(_, c)| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        let message = format!("there is a control character, U+{:04X}", c as u32);
        let finding = Finding::new(&(at..at + c.len_utf8()), message, "here");
        return Err(failed(vec![finding.help("remove it; is this a recipe?")]));
    }
    let misspelt = spelling::look_through(source);
    if !misspelt.is_empty() {
        return Err(failed(misspelt));
    }
    let options = serde_yaml::options! {
        with_snippet: false,
        reject_unsupported_tags: true,
        budget: serde_yaml::budget! { max_events: 200_000, max_depth: 32 },
        alias_limits: serde_yaml::alias_limits! {
            max_total_replayed_events: 100_000,
            max_replay_stack_depth: 16,
        },
    };
    let file: RecipeFile = serde_yaml::from_str_with_options(source, options)
        .map_err(|error| failed(vec![syntax::explain(&error, source)]))?;

    let base = path.parent().unwrap_or(Path::new(""));
    let files = validate::Files { base, look, reader };
    let mut notes = validate::Notes::new(source);
    let plan = validate::plan(&file, &results_name(path), &files, &mut notes);
    match plan {
        Some((plan, until)) if notes.errors.is_empty() => {
            let warnings = Warning::all(&name, source, notes.warnings);
            Ok(Loaded { plan, until, warnings, path: path.to_owned(), text })
        }
        _ => Err(failed(notes.errors)),
    }
}

/// The name of a recipe's folder under `results/`: the file's name without its ending, and nothing in it that a path or a shell
/// would understand otherwise. What other alphabets' letters it had is told by a number, so that no two recipes share a folder for them.
fn results_name(path: &Path) -> String {
    /// Hex digits: that two of a thousand names share a number has a chance of one in eight thousand.
    const DIGITS: usize = 8;
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let safe: String = stem
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' })
        .take(64)
        .collect();
    let safe = safe.trim_matches(|c| matches!(c, '-' | '.')).trim_start_matches(['-', '.', '_']);
    let safe = if safe.is_empty() { "recipe" } else { safe };
    if stem.is_ascii() {
        return safe.to_owned();
    }
    let number: String = FrameId::of(stem.as_bytes()).to_string().chars().take(DIGITS).collect();
    format!("{safe}-{number}")
}

#[cfg(test)]
mod tests;

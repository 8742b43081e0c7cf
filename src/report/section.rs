//! What the page says of a run.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde::Serialize;

use super::Room;
use super::answer::{self, Answer};
use super::audience;
use super::column::{self, Cell, Column, NOTHING, Sheet, figure, words};
use super::effects;
use super::files::{self, File};
use super::picture::{self, Figure};
use super::stored::Stored;
use super::watch;
use crate::store::{Choice, CommandRecord, Made, Manifest, TrialRecord, TrialState};
use crate::table::{self, AudienceRow, EffectRow, Effects, EstimateRow, ModelRow};

/// Answers in words, of the schemes and points of a sweep; the others are in the table.
const MOST_ANSWERS: usize = 40;

/// A term and what is to be said of it.
pub(super) type Fact = (String, String);

/// A run's section.
#[derive(Debug, Serialize)]
pub(super) struct Section {
    pub(super) id: String,
    pub(super) recipe: String,
    pub(super) run: String,
    description: String,
    folder: String,
    /// What was run, in a line.
    brief: String,
    facts: Vec<Fact>,
    /// Of a sweep: what its parameters do.
    effects: Option<effects::Part>,
    answers: Vec<AnswerLine>,
    more_answers: usize,
    /// Of trials with several viewers; empty if there are none.
    audience: Vec<audience::Line>,
    more_audience: usize,
    /// What the bound is, and what the figures do not say.
    audience_notes: [&'static str; 2],
    /// What makes figures doubtful.
    warnings: Vec<String>,
    more_warnings: usize,
    /// What the run has not, or not readable.
    lacks: Vec<String>,
    pub(super) figures: Vec<Figure>,
    left_out: Vec<String>,
    sheets: Vec<Sheet>,
    command: String,
    tools: Vec<Fact>,
    trials: Vec<TrialPart>,
    more_trials: usize,
    recipe_text: String,
    files: Vec<File>,
    folders: Vec<Fact>,
    all_files: String,
}

/// An answer as a line.
#[derive(Debug, Serialize)]
struct AnswerLine {
    scheme: String,
    who: String,
    sentence: String,
    basis: String,
    doubtful: bool,
    /// Floor and excess as per cent of the longest median delay of the run.
    bar: Option<(String, String)>,
}

/// A trial's part of the section.
#[derive(Debug, Serialize)]
struct TrialPart {
    id: String,
    state: String,
    doubtful: bool,
    phases: Vec<Fact>,
    commands: Vec<CommandLine>,
    fitness: Vec<Fact>,
    files: Vec<File>,
}

#[derive(Debug, Serialize)]
struct CommandLine {
    host: String,
    actor: String,
    line: String,
    ended: String,
}

/// A run in the overview.
#[derive(Debug, Clone)]
pub(super) struct RunLine {
    recipe: String,
    run: String,
    /// Its section, if it has one.
    href: Option<String>,
    started: String,
    schemes: String,
    trials: u64,
    sound: u64,
    doubts: String,
    link: String,
    datapath: String,
    kernel: String,
    livectl: String,
}

/// The overview's columns.
pub(super) const OVERVIEW: &[Column<RunLine>] = &[
    words("", "recipe", "The recipe's name.", |r| Cell::words(&r.recipe)),
    words("", "run", "The run's folder, named after the moment it began.", |r| Cell {
        href: r.href.clone(),
        ..Cell::words(&r.run)
    }),
    words("", "began", "When the run began, in UTC.", |r| Cell::words(&r.started)),
    words("", "schemes", "The schemes that were compared.", |r| Cell::words(&r.schemes)),
    figure("", "trials", "", "Trials of the plan.", |r| Cell::count(r.trials)),
    figure(
        "",
        "sound",
        "trials",
        "Trials that ran to their end on a machine that did not disturb them; only their figures count.",
        |r| Cell::count(r.sound),
    ),
    words("", "doubts", "How many trials are unfit, partial, failed or were never run.", |r| Cell {
        doubtful: !r.doubts.is_empty(),
        ..Cell::words(&r.doubts)
    }),
    words(
        "",
        "links",
        "What made the links: the kernel's netem, or livectl's emulated links. Compare runs of one kind only.",
        |r| Cell::words(&r.link),
    ),
    words("", "datapath", "What forwarded packets in Open vSwitch: the kernel's module, or user space.", |r| {
        Cell::words(&r.datapath)
    }),
    words("", "kernel", "The machine's kernel.", |r| Cell::words(&r.kernel)),
    words("", "livectl", "The livectl that ran it: version and commit.", |r| Cell::words(&r.livectl)),
];

impl RunLine {
    pub(super) fn recipe(&self) -> &str {
        &self.recipe
    }

    pub(super) fn run(&self) -> &str {
        &self.run
    }

    /// Recipe and run, as the first columns of the overview.
    pub(super) fn name_cells(&self) -> [Cell; 2] {
        [Cell::words(&self.recipe), Cell { href: self.href.clone(), ..Cell::words(&self.run) }]
    }
}

/// What a run is for the overview, with its answers.
pub(super) struct Brief {
    pub(super) line: RunLine,
    pub(super) answers: Vec<Answer>,
    effects: Effects,
    /// Of a sweep that has both measured and predicted trials.
    models: Vec<ModelRow>,
    /// None if the run gets no section.
    estimates: Vec<EstimateRow>,
}

impl Brief {
    /// What its parameters do, for a terminal; `None` if there are none.
    pub(super) fn said(&self) -> Option<String> {
        Some(format!("{}, {}", self.line.recipe, table::effects_text(&self.effects)?))
    }
}

/// The overview's line of a run. `id` is that of its section, if it gets one.
pub(super) fn brief(run: &Stored, id: Option<&str>) -> Brief {
    let manifest = &run.loaded.manifest;
    let count = |is: fn(&TrialRecord) -> bool| manifest.trials.iter().filter(|t| is(t)).count();
    let doubts: [(usize, &str); 4] = [
        (count(|t| !t.unfit.is_empty()), "unfit"),
        (count(|t| t.is_partial() && !is_failed(t)), "partial"),
        (count(is_failed), "failed"),
        (count(|t| t.state == TrialState::Planned), "not run"),
    ];
    let doubts: Vec<String> = doubts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    let line = RunLine {
        recipe: manifest.recipe.name.clone(),
        run: manifest.run.clone(),
        href: id.map(|id| format!("#{id}")),
        started: moment(manifest.started),
        schemes: schemes(run),
        trials: manifest.trials.len() as u64,
        sound: count(|t| t.state == TrialState::Done && t.unfit.is_empty()) as u64,
        doubts: doubts.join(", "),
        link: links(manifest),
        datapath: manifest.datapath.as_ref().map_or_else(String::new, |c| c.used.to_string()),
        kernel: manifest.machine.kernel.clone(),
        livectl: software(run, 12),
    };
    let units = run.loaded.units();
    let estimates = if id.is_some() { table::estimates(&units) } else { Vec::new() };
    let effects = Effects::of(&run.loaded.summary);
    let models = if id.is_some() { table::models(&units) } else { Vec::new() };
    Brief { line, answers: answer::answers(&units, &estimates), effects, estimates, models }
}

/// What made its links, and what had none.
fn links(manifest: &Manifest) -> String {
    let model =
        || manifest.predicted.as_ref().map_or_else(String::new, |predicted| format!(", model {}", predicted.model));
    let used = || manifest.link.as_ref().map_or_else(String::new, |c| c.used.to_string());
    match manifest.made() {
        Made::Measured => used(),
        Made::Predicted => format!("PREDICTED{}", model()),
        Made::Both { predicted } => {
            format!("{}; {predicted} of {} trials PREDICTED{}", used(), manifest.trials.len(), model())
        }
    }
}

/// All that the page says of a run.
pub(super) fn section(run: &Stored, id: &str, brief: &Brief, room: &Room, pictures: &mut usize) -> Section {
    let manifest = &run.loaded.manifest;
    let mut warnings: Vec<String> =
        manifest.trials.iter().flat_map(|t| t.warnings().into_iter().map(|w| format!("{} {w}", t.id))).collect();
    let never = manifest.trials.iter().filter(|t| t.state == TrialState::Planned).count();
    if never > 0 {
        warnings.push(format!("{never} of {} trials were never run", manifest.trials.len()));
    }
    let more_warnings = warnings.len().saturating_sub(room.warnings);
    warnings.truncate(room.warnings);
    let (figures, left_out) = picture::figures(run, id, &brief.effects, pictures);
    let (audience, more_audience) = audience::lines(&run.loaded.audience);
    // Trials with something to explain come first if not all have room.
    let mut told: Vec<&TrialRecord> = manifest.trials.iter().collect();
    if told.len() > room.trials {
        told.sort_by_key(|t| t.warnings().is_empty());
    }
    let ids: HashSet<&str> = manifest.trials.iter().map(|t| t.id.as_str()).collect();
    // A sweep may have thousands of folders; what is in them was recorded.
    let all = files::files(run.dir.path(), if run.dir.is_sweep() { &["trials", "attempts", "log"] } else { &[] });
    let (inside, own): (Vec<File>, Vec<File>) =
        all.iter().cloned().partition(|f| f.name.split_once('/').is_some_and(|(folder, _)| ids.contains(folder)));
    let mut of_trial: HashMap<&str, Vec<u64>> = HashMap::new();
    for file in &inside {
        if let Some((folder, _)) = file.name.split_once('/') {
            of_trial.entry(folder).or_default().push(file.bytes);
        }
    }
    let folders = manifest.trials.iter().take(room.rows).map(|trial| {
        let recorded = trial.files.values().filter(|_| run.dir.is_sweep()).map(|file| file.bytes);
        let there = of_trial.get(trial.id.as_str()).into_iter().flatten().copied();
        let mine: Vec<u64> = there.chain(recorded).collect();
        (trial.id.clone(), format!("{} files, {}", mine.len(), files::size(mine.iter().sum())))
    });
    Section {
        id: id.to_owned(),
        recipe: manifest.recipe.name.clone(),
        run: manifest.run.clone(),
        description: manifest.plan.description.clone(),
        folder: run.dir.path().display().to_string(),
        brief: in_a_line(run),
        facts: facts(run),
        effects: effects::part(&brief.effects),
        answers: answer_lines(&brief.answers),
        more_answers: brief.answers.len().saturating_sub(MOST_ANSWERS),
        audience,
        more_audience,
        audience_notes: [audience::BOUND, audience::LIMITS],
        warnings,
        more_warnings,
        lacks: run.lacks.iter().map(|lack| lack.text.clone()).collect(),
        figures,
        left_out,
        sheets: sheets(run, id, brief, room),
        command: typed(&manifest.command),
        tools: manifest.tools.iter().map(|(name, version)| (name.clone(), version.clone())).collect(),
        trials: told.iter().take(room.trials).map(|trial| trial_part(run, trial)).collect(),
        more_trials: told.len().saturating_sub(room.trials),
        recipe_text: manifest.recipe.text.clone(),
        folders: folders.collect(),
        all_files: format!("{} files, {}", all.len(), files::size(all.iter().map(|f| f.bytes).sum())),
        files: own,
    }
}

fn sheets(run: &Stored, id: &str, brief: &Brief, room: &Room) -> Vec<Sheet> {
    let folder = run.dir.path().display();
    let stored = |name: &str| format!("{folder}/{name}");
    let (summary, playout) = (stored("summary.csv"), stored("playout.csv"));
    // One viewer alone is in the other tables.
    let audience: Vec<AudienceRow> = run.loaded.audience.iter().filter(|row| row.viewers > 1).cloned().collect();
    let effects: &[EffectRow] = if brief.effects.has_parameters() { &brief.effects.rows } else { &[] };
    let sheets = [
        Sheet::of(
            format!("{id}-effects"),
            "What the parameters do to the excess: effects, and how they depend on each other",
            effects::EFFECTS,
            effects,
            room.rows,
            &stored("effects.csv"),
        ),
        Sheet::of(
            format!("{id}-model"),
            "The model against measurement: figures of all viewers together, measured with their 95 % intervals, and predicted",
            column::MODELS,
            &brief.models,
            room.rows,
            &stored("model.csv"),
        ),
        Sheet::of(
            format!("{id}-answer"),
            "The answer in figures",
            column::ANSWERS,
            &brief.answers,
            room.rows,
            &summary,
        ),
        Sheet::of(
            format!("{id}-audience"),
            "The audience, a line for each trial and stream",
            column::AUDIENCE,
            &audience,
            room.rows,
            &stored("audience.csv"),
        ),
        Sheet::of(
            format!("{id}-trunks"),
            "Between switches, a line for each trial and direction",
            column::TRUNKS,
            &run.trunks,
            room.rows,
            &stored("trunks.csv"),
        ),
        Sheet::of(
            format!("{id}-delays"),
            "Delays, a line for each trial and viewer",
            column::DELAYS,
            &run.loaded.summary,
            room.rows,
            &summary,
        ),
        Sheet::of(
            format!("{id}-traffic"),
            "Parts of the mean delay, and traffic",
            column::TRAFFIC,
            &run.loaded.summary,
            room.rows,
            &summary,
        ),
        Sheet::of(
            format!("{id}-beginning"),
            "The beginning, step by step",
            column::BEGINNING,
            &run.loaded.summary,
            room.rows,
            &summary,
        ),
        Sheet::of(
            format!("{id}-playout"),
            "Playout: how the stream would have played with a buffer",
            column::PLAYOUT,
            &run.loaded.playouts,
            room.rows,
            &playout,
        ),
        Sheet::of(
            format!("{id}-estimates"),
            "Estimates over repetitions, whole and fit trials only, with 95 % intervals",
            column::ESTIMATES,
            &brief.estimates,
            room.rows,
            &stored("estimates.csv"),
        ),
    ];
    sheets.into_iter().filter(|sheet| !sheet.rows.is_empty()).collect()
}

fn answer_lines(answers: &[Answer]) -> Vec<AnswerLine> {
    let longest = answers.iter().filter_map(|a| a.delay_p50.value()).fold(0.0, f64::max);
    let several = answers.iter().map(|a| &a.stream).collect::<BTreeSet<_>>().len() > 1;
    let line = |a: &Answer| AnswerLine {
        scheme: a.scheme.to_string(),
        who: who(a, several),
        sentence: a.sentence(),
        basis: a.basis(),
        doubtful: a.doubtful,
        bar: a.delay_p50.value().zip(a.floor_p50).filter(|_| longest > 0.0).map(|(delay, floor)| {
            let share = |ms: f64| format!("{:.2}", (ms / longest * 100.0).clamp(0.0, 100.0));
            (share(floor.min(delay)), share(delay - floor.min(delay)))
        }),
    };
    answers.iter().take(MOST_ANSWERS).map(line).collect()
}

/// The viewer, and in a sweep the point.
fn who(answer: &Answer, several: bool) -> String {
    let viewer = if several { format!("{} ({})", answer.viewer, answer.stream) } else { answer.viewer.clone() };
    if answer.parameters.is_empty() { viewer } else { format!("{viewer}, {}", answer.parameters) }
}

/// What was run: recipe, moment, schemes, trials, and what on.
fn in_a_line(run: &Stored) -> String {
    let manifest = &run.loaded.manifest;
    let trials = manifest.trials.len();
    let words = [
        format!("recipe {}", manifest.recipe.name),
        format!("run {}", manifest.run),
        moment(manifest.started),
        format!("schemes {}", schemes(run)),
        format!("{trials} trial{}", if trials == 1 { "" } else { "s" }),
        match manifest.made() {
            Made::Measured => {
                manifest.link.as_ref().map_or_else(String::new, |choice| format!("{} links", choice.used))
            }
            _ => links(manifest),
        },
        manifest.datapath.as_ref().map_or_else(String::new, |choice| format!("{} datapath", choice.used)),
        manifest.machine.kernel.clone(),
        format!("livectl {}", software(run, 12)),
    ];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" · ")
}

fn facts(run: &Stored) -> Vec<Fact> {
    let manifest = &run.loaded.manifest;
    let machine = &manifest.machine;
    let ended = manifest.ended.map_or_else(
        || "never: it was killed, or runs still".to_owned(),
        |ended| {
            let took = ended.duration_since(manifest.started).unsigned_abs();
            format!("{}, after {} s", moment(ended), took.as_secs())
        },
    );
    let repetitions = manifest.trials.iter().map(|t| t.point.repetition).max().unwrap_or(0);
    let done = manifest.trials.iter().filter(|t| t.state == TrialState::Done).count();
    let recipe_file = manifest.recipe.path.as_ref().map_or_else(String::new, |path| path.display().to_string());
    let memory = if machine.memory_bytes == 0 { String::new() } else { files::size(machine.memory_bytes) };
    let facts = [
        ("recipe", manifest.recipe.name.clone()),
        ("recipe's file", recipe_file),
        ("run", manifest.run.clone()),
        ("began", moment(manifest.started)),
        ("ended", ended),
        ("schemes", schemes(run)),
        ("trials", format!("{} ({done} done), up to {repetitions} of each scheme", manifest.trials.len())),
        ("seed", manifest.seed.to_string()),
        ("links", manifest.link.as_ref().map_or_else(String::new, chosen)),
        ("datapath", manifest.datapath.as_ref().map_or_else(String::new, chosen)),
        ("kernel", machine.kernel.clone()),
        ("system", machine.os.clone()),
        ("processors", if machine.cores == 0 { String::new() } else { machine.cores.to_string() }),
        ("memory", memory),
        ("livectl", software(run, 64)),
    ];
    facts
        .into_iter()
        .map(|(term, fact)| (term.to_owned(), if fact.is_empty() { NOTHING.to_owned() } else { fact }))
        .collect()
}

fn trial_part(run: &Stored, trial: &TrialRecord) -> TrialPart {
    // Of a sweep no more was read than everyone needs.
    let whole = run.dir.is_sweep().then(|| TrialRecord::load(&run.dir.trial(&trial.id)).ok().flatten()).flatten();
    let trial = whole.as_ref().unwrap_or(trial);
    let warnings = trial.warnings();
    let state = match (&trial.state, warnings.is_empty()) {
        (TrialState::Planned, _) => "not run".to_owned(),
        (_, true) => "done".to_owned(),
        (_, false) => warnings.join("; "),
    };
    let mut phases: Vec<Fact> = Vec::new();
    phases.extend(trial.started.map(|t| ("began".to_owned(), moment(t))));
    phases.extend(trial.phases.iter().map(|p| (p.name.clone(), format!("{:.2} s", p.seconds))));
    phases.extend(trial.ended.map(|t| ("ended".to_owned(), moment(t))));
    phases.extend(trial.zero_ns.map(|ns| ("0 of the timeline".to_owned(), format!("{ns} ns of CLOCK_REALTIME"))));
    TrialPart {
        id: trial.id.clone(),
        state,
        doubtful: !warnings.is_empty(),
        phases,
        commands: trial.commands.iter().map(command_line).collect(),
        fitness: watch::lines(&trial.fitness),
        files: files::files(run.dir.trial(&trial.id).path(), &[]),
    }
}

fn command_line(record: &CommandRecord) -> CommandLine {
    CommandLine {
        host: record.host.clone().unwrap_or_else(|| "sandbox".to_owned()),
        actor: record.actor.clone(),
        line: typed(&record.argv),
        ended: match (record.exit_code, record.signal) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "end not recorded".to_owned(),
        },
    }
}

/// A command as one would type it into a POSIX shell.
fn typed(argv: &[String]) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./:=,@%+".contains(&b);
    let quoted = |word: &String| match word {
        word if !word.is_empty() && word.bytes().all(plain) => word.clone(),
        word => format!("'{}'", word.replace('\'', r"'\''")),
    };
    argv.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

fn schemes(run: &Stored) -> String {
    let mut schemes: Vec<String> = Vec::new();
    for trial in &run.loaded.manifest.trials {
        let scheme = trial.point.scheme.to_string();
        if !schemes.contains(&scheme) {
            schemes.push(scheme);
        }
    }
    schemes.join(", ")
}

fn is_failed(trial: &TrialRecord) -> bool {
    matches!(trial.state, TrialState::Failed { .. })
}

fn chosen<T: std::fmt::Display + PartialEq>(choice: &Choice<T>) -> String {
    format!("{} (asked for: {}; {})", choice.used, choice.asked, choice.why)
}

/// Version and the beginning of the commit.
fn software(run: &Stored, digits: usize) -> String {
    let livectl = &run.loaded.manifest.livectl;
    match &livectl.commit {
        Some(commit) => format!("{} ({})", livectl.version, commit.chars().take(digits).collect::<String>()),
        None => livectl.version.clone(),
    }
}

/// `2026-11-22 23:17:00 UTC`.
fn moment(moment: jiff::Timestamp) -> String {
    moment.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

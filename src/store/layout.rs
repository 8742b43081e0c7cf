//! Names of folders and files.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{Owner, StoreError, SweepDir};
use crate::plan::program_name;

/// The file with a trial's record in its folder.
pub const RECORD: &str = "record.json";
/// Names tried for a run before giving up.
const MAX_RUNS_A_SECOND: u32 = 1000;

/// The folder of a run, `results/<recipe>/<run>/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
    /// Where its trials' folders are; a sweep's have one of their own.
    trials: PathBuf,
}

/// What [`RunDir::find`] found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Folders of runs, each once.
    pub runs: Vec<PathBuf>,
    /// Folders beside them that are no runs.
    pub skipped: Vec<PathBuf>,
}

/// The folder of a trial, `results/<recipe>/<run>/<trial>/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialDir {
    path: PathBuf,
}

impl RunDir {
    /// Makes the folder of a new run, named after the moment in UTC: `20261122T231700Z`, and `-2`, `-3`, … after it
    /// while that name is taken. Two runs that start at once get different folders. Folders that are made, `results`
    /// too, become `owner`'s.
    ///
    /// # Errors
    /// [`StoreError::Name`] for a recipe that cannot be a folder, [`StoreError::NotWritable`], [`StoreError::Full`],
    /// [`StoreError::Io`].
    pub fn create(results: &Path, recipe: &str, now: jiff::Timestamp, owner: Owner) -> Result<RunDir, StoreError> {
        let folder = results.join(file_name(recipe)?);
        make_folders(&folder, owner)?;
        let base = now.strftime("%Y%m%dT%H%M%SZ").to_string();
        for attempt in 1..=MAX_RUNS_A_SECOND {
            let name = if attempt == 1 { base.clone() } else { format!("{base}-{attempt}") };
            let path = folder.join(name);
            // mkdir is atomic: of two that try the same name, one is told that it exists.
            match fs::create_dir(&path) {
                Ok(()) => {
                    owner.take(&path)?;
                    return Ok(RunDir { trials: path.clone(), path });
                }
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(source) => return Err(StoreError::writing(path, source)),
            }
        }
        Err(StoreError::NoNameFree { path: folder.join(base) })
    }

    /// The folder of a run that was made before.
    ///
    /// # Errors
    /// [`StoreError::NotARun`] without a manifest in it, nor what a sweep has in its place.
    pub fn open(path: &Path) -> Result<RunDir, StoreError> {
        let run = RunDir { path: path.to_owned(), trials: path.to_owned() };
        if run.manifest().is_file() {
            return Ok(run);
        }
        let sweep = SweepDir::at(path);
        if sweep.file().is_file() {
            return Ok(RunDir { trials: sweep.trials(), ..run });
        }
        Err(StoreError::NotARun { path: path.to_owned() })
    }

    /// Whether it is a sweep, whose trials have records of their own and no manifest.
    #[must_use]
    pub fn is_sweep(&self) -> bool {
        self.trials != self.path
    }

    /// The runs that a path means: a run's folder itself, any other folder (`results/RECIPE`, `results`) all runs in
    /// it, up to two levels down, in the order of their names. A run that a symbolic link leads to as well is one
    /// run.
    ///
    /// # Errors
    /// [`StoreError::NotARun`] if there is none, [`StoreError::Io`].
    pub fn find(path: &Path) -> Result<Found, StoreError> {
        let mut found = Found::default();
        if RunDir::open(path).is_ok() {
            found.runs.push(path.to_owned());
            return Ok(found);
        }
        for folder in folders(path)? {
            if RunDir::open(&folder).is_ok() {
                found.runs.push(folder);
                continue;
            }
            let (runs, others): (Vec<_>, Vec<_>) =
                folders(&folder)?.into_iter().partition(|below| RunDir::open(below).is_ok());
            if runs.is_empty() {
                found.skipped.push(folder);
            } else {
                found.runs.extend(runs);
                found.skipped.extend(others);
            }
        }
        if found.runs.is_empty() {
            return Err(StoreError::NotARun { path: path.to_owned() });
        }
        found.runs = each_once(found.runs);
        Ok(found)
    }

    /// Path of the run's folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Name of its folder: when the run began, `20261122T231700Z`; of a sweep `sweep`.
    #[must_use]
    pub fn name(&self) -> String {
        // `plot .` must know the name too.
        let named =
            if self.path.file_name().is_some() { Some(self.path.clone()) } else { self.path.canonicalize().ok() };
        named.and_then(|p| p.file_name().map(|n| n.to_string_lossy().into_owned())).unwrap_or_default()
    }

    /// What was run, how, on what, and how it went: [`Manifest`](super::Manifest).
    #[must_use]
    pub fn manifest(&self) -> PathBuf {
        self.path.join("manifest.json")
    }

    /// The recipe as it was, comments and all.
    #[must_use]
    pub fn recipe(&self) -> PathBuf {
        self.path.join("recipe.yaml")
    }

    /// `frames.parquet`: frames of all trials.
    #[must_use]
    pub fn frames(&self) -> PathBuf {
        self.path.join("frames.parquet")
    }

    /// `pings.parquet`: pings of all trials.
    #[must_use]
    pub fn pings(&self) -> PathBuf {
        self.path.join("pings.parquet")
    }

    /// A line for each trial and viewer.
    #[must_use]
    pub fn summary(&self) -> PathBuf {
        self.path.join("summary.csv")
    }

    /// A line for each trial, viewer and playout buffer.
    #[must_use]
    pub fn playouts(&self) -> PathBuf {
        self.path.join("playout.csv")
    }

    /// A line for each trial and stream, over all its viewers.
    #[must_use]
    pub fn audience(&self) -> PathBuf {
        self.path.join("audience.csv")
    }

    /// A line for each viewer of each trial who had the stream from one who went.
    #[must_use]
    pub fn reattachments(&self) -> PathBuf {
        self.path.join("reattachments.parquet")
    }

    /// A line for each trial and direction of each link between switches.
    #[must_use]
    pub fn trunks(&self) -> PathBuf {
        self.path.join("trunks.csv")
    }

    /// A line for each frame of each viewer with a screen.
    #[must_use]
    pub fn shown(&self) -> PathBuf {
        self.path.join("shown.parquet")
    }

    /// A line for each trial that was predicted for a crowd.
    #[must_use]
    pub fn crowds(&self) -> PathBuf {
        self.path.join("crowds.csv")
    }

    /// A line for each stream, where a program other than ffmpeg broadcasts.
    #[must_use]
    pub fn broadcasts(&self) -> PathBuf {
        self.path.join("broadcasts.csv")
    }

    /// A line for each figure of each scheme and viewer over all repetitions.
    #[must_use]
    pub fn estimates(&self) -> PathBuf {
        self.path.join("estimates.csv")
    }

    /// A line for each figure of each point of a sweep that was measured and predicted.
    #[must_use]
    pub fn models(&self) -> PathBuf {
        self.path.join("model.csv")
    }

    /// A line for each effect of a parameter of a sweep.
    #[must_use]
    pub fn effects(&self) -> PathBuf {
        self.path.join("effects.csv")
    }

    /// The folder of a trial; `id` is [`plan::Trial::id`](crate::plan::Trial::id).
    #[must_use]
    pub fn trial(&self, id: &str) -> TrialDir {
        TrialDir { path: self.trials.join(id) }
    }
}

impl TrialDir {
    /// A trial's folder, given as a path: what the process inside the sandbox is told.
    #[must_use]
    pub fn at(path: &Path) -> TrialDir {
        TrialDir { path: path.to_owned() }
    }

    /// Makes the folder and those in it. Making it again is no error.
    ///
    /// # Errors
    /// [`StoreError::NotWritable`], [`StoreError::Full`], [`StoreError::Io`].
    pub fn create(&self, owner: Owner) -> Result<(), StoreError> {
        for folder in ["log", "births", "ping", "pcap", "dump"] {
            make_folders(&self.path.join(folder), owner)?;
        }
        Ok(())
    }

    /// Path of the trial's folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The trial's plan, [`plan::Trial`](crate::plan::Trial) as JSON.
    #[must_use]
    pub fn plan(&self) -> PathBuf {
        self.path.join("trial.json")
    }

    /// How it stands: [`TrialRecord`](super::TrialRecord) as JSON.
    #[must_use]
    pub fn record(&self) -> PathBuf {
        self.path.join(RECORD)
    }

    /// `topology.py`: the topology that Mininet booted, as its own script.
    #[must_use]
    pub fn topology(&self) -> PathBuf {
        self.path.join("topology.py")
    }

    /// What the controller knows of the network beforehand, a [map](livectl_wire::network_map::NetworkMap) as JSON;
    /// in schemes with peers.
    #[must_use]
    pub fn network_map(&self) -> PathBuf {
        self.path.join("network.json")
    }

    /// What was said to Mininet and what it answered.
    #[must_use]
    pub fn transcript(&self) -> PathBuf {
        self.path.join("mininet.log")
    }

    /// What happened when, a JSON object a line.
    #[must_use]
    pub fn events(&self) -> PathBuf {
        self.path.join("events.jsonl")
    }

    /// What the controller told, a JSON object a line.
    #[must_use]
    pub fn controller_events(&self) -> PathBuf {
        self.path.join("controller.jsonl")
    }

    /// Packets, drops and lateness of emulated links.
    #[must_use]
    pub fn emulator(&self) -> PathBuf {
        self.path.join("emulator.json")
    }

    /// What passed between the switches, by the counters of their ports; where there are several that are joined.
    #[must_use]
    pub fn ports(&self) -> PathBuf {
        self.path.join("ports.json")
    }

    /// Whether a file of that name in the folder is a table: computed from what else is there.
    #[must_use]
    pub fn is_table(&self, name: &str) -> bool {
        self.tables().iter().any(|table| table.file_name().is_some_and(|table| table == name))
    }

    /// All tables that a trial may have.
    #[must_use]
    pub fn tables(&self) -> [PathBuf; 10] {
        [
            self.frames(),
            self.pings(),
            self.summary(),
            self.playouts(),
            self.audience(),
            self.reattachments(),
            self.trunks(),
            self.shown(),
            self.broadcasts(),
            self.crowds(),
        ]
    }

    /// What an actor printed on a host: `log/hb-encoder.log`.
    #[must_use]
    pub fn log(&self, host: &str, actor: &str) -> PathBuf {
        self.path.join("log").join(format!("{host}-{actor}.log"))
    }

    /// When each tag of a broadcaster's stream was born.
    #[must_use]
    pub fn births(&self, broadcaster: &str) -> PathBuf {
        self.path.join("births").join(format!("{broadcaster}.csv"))
    }

    /// A broadcaster's stream as it was born, FLV; where its pictures carry a clock.
    #[must_use]
    pub fn recording(&self, broadcaster: &str) -> PathBuf {
        self.path.join("births").join(format!("{broadcaster}.flv"))
    }

    /// The clock in each frame of a broadcaster's stream.
    #[must_use]
    pub fn clock(&self, broadcaster: &str) -> PathBuf {
        self.path.join("clock").join(format!("{broadcaster}.csv"))
    }

    /// What was seen of that clock on a viewer's screen.
    #[must_use]
    pub fn screen(&self, viewer: &str) -> PathBuf {
        self.path.join("screen").join(format!("{viewer}.csv"))
    }

    /// What `ping` printed on host `from`, as it printed it.
    #[must_use]
    pub fn ping(&self, from: &str, to: &str) -> PathBuf {
        self.path.join("ping").join(format!("{from}-{to}.txt"))
    }

    /// The packets seen at an interface, `hb-eth0`.
    #[must_use]
    pub fn pcap(&self, interface: &str) -> PathBuf {
        self.path.join("pcap").join(format!("{interface}.pcap"))
    }

    /// The stream as a viewer's player got it.
    #[must_use]
    pub fn dump(&self, viewer: &str) -> PathBuf {
        self.path.join("dump").join(format!("{viewer}.flv"))
    }

    /// The same in a spell of the viewer's: `hv3.flv`, then `hv3-2.flv`.
    #[must_use]
    pub fn dump_of(&self, viewer: &str, spell: u32) -> PathBuf {
        self.dump(&program_name(viewer, spell))
    }

    /// The same of runs in which a viewer had two players: what came from the CDN, and from its peer.
    #[must_use]
    pub fn older_dumps(&self, viewer: &str) -> [PathBuf; 2] {
        ["cdn", "peer"].map(|from| self.path.join("dump").join(format!("{viewer}-{from}.flv")))
    }

    /// What was on the screens that were filmed.
    #[must_use]
    pub fn film(&self) -> PathBuf {
        self.path.join("film.webm")
    }

    /// A picture out of that film.
    #[must_use]
    pub fn still(&self) -> PathBuf {
        self.path.join("film.png")
    }

    /// `frames.parquet`: a row for each frame and viewer of this trial.
    #[must_use]
    pub fn frames(&self) -> PathBuf {
        self.path.join("frames.parquet")
    }

    /// `pings.parquet`: a row for each ping of this trial.
    #[must_use]
    pub fn pings(&self) -> PathBuf {
        self.path.join("pings.parquet")
    }

    /// A line for each of this trial's viewers.
    #[must_use]
    pub fn summary(&self) -> PathBuf {
        self.path.join("summary.csv")
    }

    /// A line for each of this trial's viewers and playout buffer.
    #[must_use]
    pub fn playouts(&self) -> PathBuf {
        self.path.join("playout.csv")
    }

    /// A line for each of this trial's streams, over all its viewers.
    #[must_use]
    pub fn audience(&self) -> PathBuf {
        self.path.join("audience.csv")
    }

    /// A line for each viewer who had the stream from one who went.
    #[must_use]
    pub fn reattachments(&self) -> PathBuf {
        self.path.join("reattachments.parquet")
    }

    /// A line for each direction of each link between switches.
    #[must_use]
    pub fn trunks(&self) -> PathBuf {
        self.path.join("trunks.csv")
    }

    /// A line for each frame of each viewer with a screen.
    #[must_use]
    pub fn shown(&self) -> PathBuf {
        self.path.join("shown.parquet")
    }

    /// A line for each trial that was predicted for a crowd.
    #[must_use]
    pub fn crowds(&self) -> PathBuf {
        self.path.join("crowds.csv")
    }

    /// A line for each stream, where a program other than ffmpeg broadcasts.
    #[must_use]
    pub fn broadcasts(&self) -> PathBuf {
        self.path.join("broadcasts.csv")
    }
}

/// Without those that another path leads to more directly: trials that count twice would make intervals too narrow.
fn each_once(runs: Vec<PathBuf>) -> Vec<PathBuf> {
    let real = |run: &PathBuf| run.canonicalize().unwrap_or_else(|_| run.clone());
    let detour = |run: &PathBuf| (run.components().count(), run.is_symlink());
    let mut best: HashMap<PathBuf, &PathBuf> = HashMap::new();
    for run in &runs {
        let shortest = best.entry(real(run)).or_insert(run);
        if detour(run) < detour(shortest) {
            *shortest = run;
        }
    }
    let kept: HashSet<PathBuf> = best.into_values().cloned().collect();
    runs.into_iter().filter(|run| kept.contains(run)).collect()
}

/// The folders in a folder, in the order of their names.
pub(super) fn folders(path: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let unreadable = |source| StoreError::Io { doing: "read", path: path.to_owned(), source };
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Err(StoreError::NotARun { path: path.to_owned() });
        }
        Err(error) => return Err(unreadable(error)),
    };
    let mut folders = Vec::new();
    for entry in entries {
        let folder = entry.map_err(unreadable)?.path();
        if folder.is_dir() {
            folders.push(folder);
        }
    }
    folders.sort();
    Ok(folders)
}

/// The name, if it names one folder and nothing else.
pub(super) fn file_name(name: &str) -> Result<&str, StoreError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if begins_well && name.len() <= 200 && name.chars().all(plain) {
        return Ok(name);
    }
    Err(StoreError::Name { name: name.to_owned() })
}

/// `mkdir -p`, and what was made becomes `owner`'s.
pub(crate) fn make_folders(path: &Path, owner: Owner) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        make_folders(parent, owner)?;
    }
    match fs::create_dir(path) {
        Ok(()) => owner.take(path),
        // Another run made it in between; a file in the way is still an error.
        Err(_) if path.is_dir() => Ok(()),
        Err(source) => Err(StoreError::writing(path, source)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn moment() -> jiff::Timestamp {
        "2026-11-22T23:17:00.987Z".parse().unwrap()
    }

    #[test]
    fn runs_of_one_second_get_different_folders() {
        let results = tempfile::tempdir().unwrap();
        let names: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| RunDir::create(results.path(), "p2p", moment(), Owner::Process).unwrap().name())
                })
                .collect();
            let mut names: Vec<String> = threads.into_iter().map(|t| t.join().unwrap()).collect();
            names.sort();
            names
        });
        assert_eq!(names, ["20261122T231700Z", "20261122T231700Z-2", "20261122T231700Z-3", "20261122T231700Z-4"]);
        assert!(results.path().join("p2p/20261122T231700Z-4").is_dir());
    }

    #[test]
    fn names_cannot_leave_the_results() {
        let results = tempfile::tempdir().unwrap();
        for name in ["", ".", "..", "../x", "a/b", "/etc", ".hidden", "-rf", "a b", "a\0b", "ü", &"x".repeat(201)] {
            let told = RunDir::create(results.path(), name, moment(), Owner::Process).unwrap_err();
            assert!(matches!(told, StoreError::Name { .. }), "{name:?}: {told:?}");
        }
        assert_eq!(fs::read_dir(results.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_in_the_way_is_an_error_and_stays() {
        let results = tempfile::tempdir().unwrap();
        fs::write(results.path().join("p2p"), "mine").unwrap();
        let told = RunDir::create(results.path(), "p2p", moment(), Owner::Process).unwrap_err();
        assert!(matches!(told, StoreError::Io { .. }), "{told:?}");
        assert_eq!(fs::read(results.path().join("p2p")).unwrap(), b"mine");
    }

    #[test]
    fn a_folder_without_a_manifest_is_no_run() {
        let folder = tempfile::tempdir().unwrap();
        let told = RunDir::open(folder.path()).unwrap_err().to_string();
        assert!(told.contains("manifest.json"), "{told}");
        fs::write(folder.path().join("manifest.json"), "{}").unwrap();
        RunDir::open(folder.path()).unwrap();
    }

    #[test]
    fn a_folder_of_runs_is_all_of_them() {
        let results = tempfile::tempdir().unwrap();
        for run in ["p2p/20261122T231700Z", "p2p/20261122T231700Z-2", "multi/20261121T000000Z", "p2p/notes"] {
            fs::create_dir_all(results.path().join(run)).unwrap();
            if !run.ends_with("notes") {
                fs::write(results.path().join(run).join("manifest.json"), "{}").unwrap();
            }
        }
        let found = |path: &str| RunDir::find(&results.path().join(path)).unwrap();
        let at = |name: &str| results.path().join(name);
        assert_eq!(found("p2p/20261122T231700Z-2").runs, [at("p2p/20261122T231700Z-2")]);
        assert_eq!(found("p2p").runs, [at("p2p/20261122T231700Z"), at("p2p/20261122T231700Z-2")]);
        let all = found("");
        assert_eq!(all.runs.len(), 3);
        assert_eq!((&all.runs[0], all.skipped), (&at("multi/20261121T000000Z"), vec![at("p2p/notes")]));
        for none in ["p2p/notes", "nowhere", "p2p/20261122T231700Z/manifest.json"] {
            let told = RunDir::find(&at(none)).unwrap_err();
            assert!(matches!(told, StoreError::NotARun { .. }), "{told:?}");
        }
    }

    #[test]
    fn a_run_with_links_to_it_is_one_run() {
        let results = tempfile::tempdir().unwrap();
        let at = |name: &str| results.path().join(name);
        fs::create_dir_all(at("p2p/b")).unwrap();
        fs::write(at("p2p/b/manifest.json"), "{}").unwrap();
        std::os::unix::fs::symlink("b", at("p2p/a-latest")).unwrap();
        std::os::unix::fs::symlink(".", at("p2p/loop")).unwrap();
        assert_eq!(RunDir::find(&at("p2p")).unwrap().runs, [at("p2p/b")]);
        assert_eq!(RunDir::find(&at("p2p/a-latest")).unwrap().runs, [at("p2p/a-latest")]);
        fs::create_dir(at("links")).unwrap();
        std::os::unix::fs::symlink("../p2p/b", at("links/only")).unwrap();
        assert_eq!(RunDir::find(&at("links")).unwrap().runs, [at("links/only")]);
    }

    #[test]
    fn the_layout_is_the_one_drawn_in_the_docs() {
        let run = RunDir { path: "r".into(), trials: "r".into() };
        let trial = run.trial("direct-1");
        let listed = [
            run.manifest(),
            run.recipe(),
            run.frames(),
            run.pings(),
            run.summary(),
            trial.plan(),
            trial.topology(),
            trial.network_map(),
            trial.transcript(),
            trial.events(),
            trial.controller_events(),
            trial.log("hb", "ffmpeg"),
            trial.births("hb"),
            trial.ping("hb", "hs"),
            trial.pcap("hb-eth0"),
            trial.dump("hv1"),
            trial.emulator(),
        ];
        let docs = include_str!("../../docs/architecture.md");
        for path in listed {
            let name = path.strip_prefix("r").unwrap().to_str().unwrap().replace("direct-1/", "");
            let drawn = name
                .replace("hb-ffmpeg", "<host>-<actor>")
                .replace("hb-hs", "<from>-<to>")
                .replace("hb-eth0", "<interface>")
                .replace("hb.csv", "<broadcaster>.csv")
                .replace("hv1", "<viewer>");
            assert!(docs.contains(&drawn), "{drawn} is not in docs/architecture.md");
        }
        trial_folders_hold_what_is_named(&trial);
    }

    fn trial_folders_hold_what_is_named(named: &TrialDir) {
        let folder = tempfile::tempdir().unwrap();
        let trial = TrialDir::at(&folder.path().join("direct-1"));
        trial.create(Owner::Process).unwrap();
        trial.create(Owner::Process).unwrap();
        for path in [named.log("h", "a"), named.births("h"), named.ping("h", "i"), named.pcap("h"), named.dump("h")] {
            let inside = trial.path().join(path.strip_prefix(named.path()).unwrap());
            fs::write(inside, "").unwrap();
        }
    }
}

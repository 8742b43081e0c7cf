//! What a trial's programs read of the machine's own files, so that its sandbox has them too.

use std::path::{Path, PathBuf};

use crate::absolute_path;
use crate::plan::{Player, Program, Trial, VideoSource};
use crate::sandbox::{COVERED, covers};

/// Files and folders that the sandbox of a trial would hide, and that its programs need: its video, and of the commands that the recipe
/// names the program, with the folder it is in, and whatever else of their words is a file or a folder here.
#[must_use]
pub fn paths(trial: &Trial) -> Vec<PathBuf> {
    let broadcasting = trial.streams.iter().filter_map(|stream| match &stream.program {
        Program::Command(words) => Some(words),
        Program::Ffmpeg | Program::Obs | Program::ObsDefaults => None,
    });
    let watching = trial.network.hosts.iter().filter_map(|host| match &host.player {
        Player::Command { command, .. } => Some(command),
        _ => None,
    });
    let mut all: Vec<PathBuf> = broadcasting.chain(watching).flat_map(|words| of_command(words)).collect();
    if let VideoSource::File { path } = &trial.video.source {
        all.push(absolute_path::of(path));
    }
    all.sort();
    all.dedup();
    all
}

fn of_command(words: &[String]) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = words.iter().filter_map(|word| of_word(word)).collect();
    let program = words.first().filter(|program| program.contains('/')).and_then(|program| of_word(program));
    // A script has others beside it that it calls.
    found.extend(program.and_then(|program| program.parent().map(Path::to_owned)).filter(|folder| is_hidden(folder)));
    found
}

/// The file or folder that a word names, or, as in `input=clip.mp4`, what stands behind its last `=`.
fn of_word(word: &str) -> Option<PathBuf> {
    let behind = word.rsplit_once('=').map(|(_, path)| path);
    [Some(word), behind].into_iter().flatten().filter(|path| !path.is_empty()).find_map(|path| {
        let path = absolute_path::of(Path::new(path));
        is_hidden(&path).then_some(path)
    })
}

/// Whether a file or folder is there that a sandbox does not show, by its name or by where that leads. The hidden folders themselves
/// stay hidden.
fn is_hidden(path: &Path) -> bool {
    let Ok(real) = path.canonicalize() else { return false };
    let is_folder_of_sandboxes = |path: &Path| COVERED.iter().any(|folder| Path::new(folder) == path);
    (covers(path) || covers(&real))
        && !is_folder_of_sandboxes(path)
        && !is_folder_of_sandboxes(&real)
        && (real.is_file() || real.is_dir())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    /// The smoke test's first trial with such a broadcaster and such a player.
    fn trial(program: &str, player: &str) -> Trial {
        let recipe = include_str!("../../recipes/smoke.yaml");
        let with = recipe.replace("role: broadcaster,", &format!("role: broadcaster, program: {program},"));
        let with = with.replace("role: viewer,", &format!("role: viewer, player: {player},"));
        crate::recipe::from_str("/recipes/with.yaml", &with).unwrap().plan.trials.remove(0)
    }

    #[test]
    fn programs_of_the_machine_and_generated_pictures_need_nothing() {
        assert_eq!(paths(&trial("ffmpeg", "mplayer")), [] as [PathBuf; 0]);
        assert_eq!(paths(&trial("{ command: [/bin/true, /etc/passwd, '{url}'] }", "mplayer")), [] as [PathBuf; 0]);
    }

    #[test]
    fn commands_need_their_program_its_folder_and_the_files_they_name() {
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("bin/deep")).unwrap();
        for file in ["bin/publish", "clip.mp4", "list.txt"] {
            fs::write(root.join(file), "x").unwrap();
        }
        let at = |file: &str| root.join(file).display().to_string();
        let words = [at("bin/deep/../publish"), "-i".into(), at("clip.mp4"), format!("--list={}", at("list.txt"))];
        let more = [at("none.mp4"), "/tmp".into(), "/tmp/..".into(), "{url}".into()];
        let program = format!("{{ command: {:?} }}", [&words[..], &more[..]].concat());
        let expected = ["bin", "bin/publish", "clip.mp4", "list.txt"].map(|file| root.join(file));
        assert_eq!(paths(&trial(&program, "mplayer")), expected);
        let player = format!("{{ command: [{}, '{{url}}'] }}", at("bin/publish"));
        assert_eq!(paths(&trial("ffmpeg", &player)), expected[..2]);
    }

    #[test]
    fn the_folder_of_all_temporary_files_stays_hidden() {
        let script = tempfile::NamedTempFile::new_in("/tmp").unwrap();
        let program = format!("{{ command: [{}, '{{url}}'] }}", script.path().display());
        assert_eq!(paths(&trial(&program, "mplayer")), [script.path()]);
    }

    #[test]
    fn a_link_that_leads_to_what_is_hidden_is_followed() {
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        let elsewhere = tempfile::tempdir_in("/var/tmp").unwrap();
        fs::write(folder.path().join("publish"), "x").unwrap();
        let link = elsewhere.path().join("publish");
        std::os::unix::fs::symlink(folder.path().join("publish"), &link).unwrap();
        let program = format!("{{ command: [{}, '{{url}}'] }}", link.display());
        assert_eq!(paths(&trial(&program, "mplayer")), [link]);
    }
}

//! What a recipe needs besides what every trial needs, and this machine lacks.

use std::path::Path;

use super::{Capabilities, Program};
use crate::plan::{self, Player, Stream, Trial};

/// A program that a recipe asks for, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted<'a> {
    /// One that livectl knows: what is said of the host, and its name.
    Known(&'a str, &'static str, &'static str),
    /// A command of the recipe's own.
    Command(&'a str, &'static str, &'a str),
}

/// What these trials need and do not find here, in words; the same thing once.
#[must_use]
pub fn lacking<'a>(trials: impl IntoIterator<Item = &'a Trial>, here: &Capabilities) -> Vec<String> {
    let mut wanted = Vec::new();
    for trial in trials {
        for stream in &trial.streams {
            wanted.extend(to_broadcast(stream));
            wanted.extend(stream.viewers.iter().flat_map(|viewer| to_watch(trial, viewer)));
        }
    }
    let mut lacks: Vec<(&str, String)> = Vec::new();
    for wanted in wanted {
        let (program, lack) = match wanted {
            Wanted::Known(host, does, name) => {
                let absent = here.on_demand.iter().find(|program| program.name == name && program.path.is_none());
                let Some(Program { package, purpose, .. }) = absent else { continue };
                let install = format!("sudo apt-get install -y --no-install-recommends {package}");
                (name, format!("{host} {does}, and {name}, which {purpose}, is not installed: {install}"))
            }
            Wanted::Command(host, does, program) => {
                let Some(why) = missing(program, here) else { continue };
                (program, format!("{host} {does} the command {program}, which {why}"))
            }
        };
        // Many hosts may want it.
        if !lacks.iter().any(|(known, _)| *known == program) {
            lacks.push((program, lack));
        }
    }
    lacks.into_iter().map(|(_, lack)| lack).collect()
}

fn to_broadcast(stream: &Stream) -> Vec<Wanted<'_>> {
    let host = stream.broadcaster.as_str();
    match &stream.program {
        plan::Program::Ffmpeg => Vec::new(),
        plan::Program::Obs | plan::Program::ObsDefaults => {
            ["obs", "Xvfb", "ffplay"].map(|name| Wanted::Known(host, "broadcasts with OBS", name)).into()
        }
        plan::Program::Command(words) => {
            words.first().map(|program| Wanted::Command(host, "broadcasts with", program)).into_iter().collect()
        }
    }
}

fn to_watch<'a>(trial: &'a Trial, viewer: &'a str) -> Vec<Wanted<'a>> {
    let Some(host) = trial.network.host(viewer) else { return Vec::new() };
    let known = |name| Wanted::Known(viewer, "watches with a player on a screen", name);
    let mut wanted = match &host.player {
        Player::Mplayer | Player::MplayerWindow => Vec::new(),
        Player::Rtmpdump => vec![Wanted::Known(viewer, "watches with rtmpdump", "rtmpdump")],
        Player::Ffplay => vec![known("ffplay")],
        Player::Mpv => vec![known("mpv")],
        Player::Command { command, .. } => {
            command.first().map(|program| Wanted::Command(viewer, "watches with", program)).into_iter().collect()
        }
    };
    wanted.extend(host.player.shows().then(|| known("Xvfb")));
    wanted
}

/// Why a program cannot be started; `None`: it can.
fn missing(program: &str, here: &Capabilities) -> Option<&'static str> {
    if !program.contains('/') {
        return super::probe::on_path(program, &here.path).is_none().then_some("is not on the trials' PATH");
    }
    let path = Path::new(program);
    match (path.is_file(), super::probe::is_program(path)) {
        (true, true) => None,
        (true, false) => Some("is not executable: chmod +x"),
        (false, _) => Some("does not exist"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::lab;
    use super::*;

    fn plan(program: &str) -> plan::Plan {
        let recipe = include_str!("../../../recipes/smoke.yaml");
        let with = recipe.replace("role: broadcaster,", &format!("role: broadcaster, program: {program},"));
        assert_ne!(with, recipe);
        let with = with.replace("size: 320x180", "codec: h264\n  size: 320x180");
        crate::recipe::from_str("/recipes/with.yaml", &with).unwrap().plan
    }

    #[test]
    fn nothing_but_what_a_recipe_needs_is_required() {
        let bare = lab();
        assert!(bare.on_demand.iter().all(|program| program.path.is_none()));
        assert_eq!(lacking(&plan("ffmpeg").trials, &bare), [""; 0]);
        let lacks = lacking(&plan("obs").trials, &bare);
        assert_eq!(lacks.len(), 3, "{lacks:?}");
        assert_eq!(
            lacks[0],
            "hb broadcasts with OBS, and obs, which encodes and publishes, is not installed: \
             sudo apt-get install -y --no-install-recommends obs-studio"
        );
        assert!(lacks[1].ends_with(" xvfb") && lacks[2].ends_with(" ffmpeg"), "{lacks:?}");
    }

    #[test]
    fn players_on_a_screen_need_one() {
        let recipe = include_str!("../../../recipes/smoke.yaml");
        let lacks = |player: &str| {
            let with = recipe.replace("role: viewer,", &format!("role: viewer, player: {player},"));
            assert_ne!(with, recipe);
            lacking(&crate::recipe::from_str("/recipes/with.yaml", &with).unwrap().plan.trials, &lab())
        };
        assert_eq!(lacks("mplayer"), [""; 0]);
        assert_eq!(
            lacks("mplayer-window"),
            ["hv1 watches with a player on a screen, and Xvfb, which is the screen, is not installed: \
              sudo apt-get install -y --no-install-recommends xvfb"]
        );
        assert_eq!(lacks("mpv").len(), 2);
        assert_eq!(
            lacks("{ command: [/nowhere/vlc, \"{url}\"] }"),
            ["hv1 watches with the command /nowhere/vlc, which does not exist"]
        );
    }

    #[test]
    fn a_command_is_looked_for_where_trials_look() {
        let folder = tempfile::tempdir().unwrap();
        let here = Capabilities { path: folder.path().into(), ..lab() };
        let lacks = |program: &str| lacking(&plan(&format!("{{ command: [{program}, \"{{url}}\"] }}")).trials, &here);
        assert_eq!(lacks("no-such"), ["hb broadcasts with the command no-such, which is not on the trials' PATH"]);
        let there = folder.path().join("no-such");
        std::fs::write(&there, "").unwrap();
        let file = there.to_str().unwrap();
        assert_eq!(
            lacks(file),
            [format!("hb broadcasts with the command {file}, which is not executable: chmod +x")]
        );
        std::fs::set_permissions(&there, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!((lacks(file), lacks("no-such")), (vec![], vec![]));
        assert_eq!(
            lacks("./publish"),
            ["hb broadcasts with the command /recipes/publish, which does not exist"],
            "relative to the recipe"
        );
    }
}

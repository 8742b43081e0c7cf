//! What a recipe needs beside what every trial does, and this machine lacks.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Capabilities, Program};
use crate::plan::{self, Trial};

/// The program of a recipe's command, and who is to run it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Wanted<'a> {
    program: &'a str,
    broadcaster: &'a str,
}

/// What these trials need and do not find here, in words; the same thing once.
#[must_use]
pub fn lacking<'a>(trials: impl IntoIterator<Item = &'a Trial>, here: &Capabilities) -> Vec<String> {
    let (mut obs, mut wanted) = (None, BTreeSet::new());
    for stream in trials.into_iter().flat_map(|trial| &trial.streams) {
        let broadcaster = stream.broadcaster.as_str();
        match &stream.program {
            plan::Program::Ffmpeg => {}
            plan::Program::Obs | plan::Program::ObsDefaults => obs = obs.or(Some(broadcaster)),
            plan::Program::Command(words) => {
                wanted.extend(words.first().map(|program| Wanted { program, broadcaster }));
            }
        }
    }
    let absent = here.on_demand.iter().filter(|program| program.path.is_none());
    let of_obs = obs.into_iter().flat_map(|broadcaster| absent.clone().map(move |program| (broadcaster, program)));
    let of_obs = of_obs.map(|(broadcaster, Program { name, package, purpose, .. })| {
        format!(
            "{broadcaster} broadcasts with OBS, and {name}, which {purpose}, is not installed: \
             sudo apt-get install -y --no-install-recommends {package}"
        )
    });
    let of_commands = wanted.into_iter().filter_map(|Wanted { program, broadcaster }| {
        let why = missing(program, here)?;
        Some(format!("{broadcaster} broadcasts with the command {program}, which {why}"))
    });
    of_obs.chain(of_commands).collect()
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

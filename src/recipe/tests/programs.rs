//! What broadcasts.

use super::*;
use crate::plan::Program;

fn with(program: &str, video: &str) -> String {
    let hosts = BASE.replace("role: broadcaster,", &format!("role: broadcaster, program: {program},"));
    format!("video: {video}\n{hosts}")
}

fn programs(text: &str) -> Vec<Program> {
    loaded(text).plan.trials.iter().map(|trial| trial.streams[0].program.clone()).collect()
}

#[test]
fn ffmpeg_unless_a_broadcaster_says_otherwise() {
    let stored = |text: &str| serde_json::to_value(&trial(text).streams[0]).unwrap();
    assert_eq!(programs(BASE)[0], Program::Ffmpeg);
    assert_eq!(stored(BASE).get("program"), None, "as trials were stored before there was a choice");
    assert_eq!(stored(&with("obs-defaults", "{ codec: h264 }"))["program"], "obs-defaults");
}

#[test]
fn a_command_is_kept_as_it_is_but_for_a_program_in_the_recipes_folder() {
    let command = |words: &str| match programs(&with(&format!("{{ command: {words} }}"), "{}")).remove(0) {
        Program::Command(words) => words,
        other => panic!("{other:?}"),
    };
    assert_eq!(command("[publish, -n, 5, true, '', \"{url}\"]"), ["publish", "-n", "5", "true", "", "{url}"]);
    let own = command("[./own/publish, \"{url}\", ./file]");
    assert!(own[0].starts_with('/') && own[0].ends_with("recipes/own/publish"), "{own:?}");
    assert_eq!(own[1..], ["{url}", "./file"]);
}

#[test]
fn a_command_that_does_not_say_where_to_publish_is_doubtful() {
    let doubts = |command: &str| {
        let all = warnings(&with(command, "{}"));
        all.iter().filter(|doubt| doubt.contains("it does not contain the address of its agent")).count()
    };
    assert_eq!(doubts("{ command: [publish, \"--to={url}\"] }"), 0);
    assert_eq!(doubts("{ command: [publish] }"), 1);
}

#[test]
fn programs_can_be_varied() {
    let text = |values: &str, video: &str| {
        format!("schemes: [direct]\nmatrix: {{ network.hosts.hb.program: {values} }}\n{}", with("ffmpeg", video))
    };
    assert_eq!(
        programs(&text("[ffmpeg, obs, obs-defaults]", "{ codec: h264 }")),
        [Program::Ffmpeg, Program::Obs, Program::ObsDefaults]
    );
    let error = from_str("recipes/test.yaml", &text("[ffmpeg, obs]", "{}")).unwrap_err().to_string();
    assert!(error.contains("obs encodes H.264"), "{error}");
    // Where the recipe has none it is made up.
    let fresh =
        format!("schemes: [direct]\nvideo: {{ codec: h264 }}\nmatrix: {{ network.hosts.hb.program: [obs] }}\n{BASE}");
    assert_eq!(programs(&fresh), [Program::Obs]);
}

#[test]
fn the_schema_knows_programs() {
    let schema = schema();
    let wrong = |program: &str| {
        let recipe: Json = serde_yaml::from_str(&with(program, "{ codec: h264 }")).unwrap();
        !json_schema::violations(&schema, &schema, &recipe, "").is_empty()
    };
    for right in ["ffmpeg", "obs", "obs-defaults", "{ command: [a, 5, \"{url}\"] }"] {
        assert!(!wrong(right), "{right}");
    }
    for not in ["obss", "{ command: [] }", "{ command: a }", "{ comand: [a] }", "[a]"] {
        assert!(wrong(not), "{not}");
    }
}

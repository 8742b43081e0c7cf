//! Values that a recipe writes as words: one of a fixed list, names of hosts and switches, free text, a file.

use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::unit::{Misread, Value};
use crate::plan::{Codec, Datapath, Directions, Engine, Figure, Handover, LinkKind, Role, Scheme};

/// The text in backticks, fit for a message: short, and without anything a terminal would obey.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 40;
    let mut out = String::from("`");
    for (n, c) in text.chars().enumerate() {
        if n == LONGEST {
            out.push('…');
            break;
        }
        if is_unprintable(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out.push('`');
    out
}

/// Control characters, and those that turn the direction of text around: they can make a terminal show
/// something else than what is written.
pub(super) fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

/// The candidate that `word` was probably meant to be: at most a third of its letters differ. A letter is
/// inserted, deleted or replaced, or two neighbours are swapped.
pub(crate) fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase();
    if word.chars().count() > 40 {
        return None;
    }
    let tolerance = (word.chars().count() / 3).max(1);
    candidates
        .iter()
        .map(|candidate| (strsim::osa_distance(&word, &candidate.to_lowercase()), *candidate))
        .filter(|(distance, candidate)| *distance <= tolerance && *distance < candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `a, b or c`.
pub(super) fn listed(words: &[&str]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [word] => (*word).to_owned(),
        [rest @ .., last] => format!("{} or {last}", rest.join(", ")),
    }
}

/// Finds `text` among `words`, or says which of them was probably meant.
pub(super) fn choose<T: Copy>(text: &str, noun: &str, words: &[(&str, T)]) -> Result<T, Misread> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let help = match nearest(text, &names) {
        Some(meant) => format!("did you mean `{meant}`? The words are {}", names.join(", ")),
        None => format!("write {}", listed(&names)),
    };
    Err(Misread::new(format!("{} is not {noun}", shown(text)), "unknown", help))
}

/// Words that stand for the values of one of the plan's types.
macro_rules! words {
    ($type:ty, $noun:literal, [$($word:literal => $value:expr),+ $(,)?]) => {
        impl Value for $type {
            fn expected() -> String {
                format!("{}: {}", $noun, listed(&[$($word),+]))
            }
            fn parse(text: &str) -> Result<Self, Misread> {
                choose(text, $noun, &[$(($word, $value)),+])
            }
            fn schema(generator: &mut SchemaGenerator) -> Schema {
                <$type as JsonSchema>::json_schema(generator)
            }
        }
    };
}

impl Value for Figure {
    fn expected() -> String {
        format!("a figure: {}", listed(&Figure::ALL.map(Figure::name)))
    }
    fn parse(text: &str) -> Result<Self, Misread> {
        choose(text, "a figure that repetitions can go on until", &Figure::ALL.map(|figure| (figure.name(), figure)))
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        <Figure as JsonSchema>::json_schema(generator)
    }
}

impl Value for Scheme {
    fn expected() -> String {
        format!("a scheme: {}", listed(&Scheme::names()))
    }
    fn parse(text: &str) -> Result<Self, Misread> {
        let words: Vec<(&str, Scheme)> = Scheme::ALL.iter().map(|scheme| (scheme.name(), *scheme)).collect();
        choose(text, "a scheme", &words)
    }
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        <Scheme as JsonSchema>::json_schema(generator)
    }
}

words!(LinkKind, "a kind of link", ["auto" => LinkKind::Auto, "netem" => LinkKind::Netem, "emulated" => LinkKind::Emulated]);
words!(Engine, "an engine", ["emulate" => Engine::Emulate, "predict" => Engine::Predict]);
words!(Datapath, "a datapath", ["auto" => Datapath::Auto, "kernel" => Datapath::Kernel, "user" => Datapath::User]);
words!(Role, "a role", [
    "broadcaster" => Role::Broadcaster,
    "cdn" => Role::Cdn,
    "viewer" => Role::Viewer,
    "idle" => Role::Idle,
]);
words!(Directions, "a direction", ["up" => Directions::Up, "down" => Directions::Down, "both" => Directions::Both]);
words!(Handover, "a handover", ["complete" => Handover::Complete, "live" => Handover::Live]);
words!(Codec, "a codec", ["flv1" => Codec::Flv1, "h264" => Codec::H264]);

/// A lavfi source of ffmpeg 4.4 or later that makes pictures of any size without further arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pattern(pub &'static str);

impl Pattern {
    /// All there are. Sources of one fixed size (allrgb, haldclutsrc), without a size (mptestsrc) or without a
    /// picture (color, nullsrc) are left out.
    pub const ALL: &[&str] = &[
        "testsrc2",
        "testsrc",
        "mandelbrot",
        "life",
        "cellauto",
        "gradients",
        "sierpinski",
        "smptebars",
        "smptehdbars",
        "pal75bars",
        "pal100bars",
        "rgbtestsrc",
        "yuvtestsrc",
    ];
}

impl Value for Pattern {
    fn expected() -> String {
        "a test pattern such as `testsrc2`".to_owned()
    }
    fn parse(text: &str) -> Result<Self, Misread> {
        let words: Vec<(&str, &'static str)> = Pattern::ALL.iter().map(|name| (*name, *name)).collect();
        choose(text, "a test pattern", &words).map(Pattern)
    }
    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": Pattern::ALL })
    }
}

/// A TCP congestion control of Linux.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CongestionControl(pub &'static str);

impl CongestionControl {
    /// Those of the mainline kernel; which of them a machine has is checked before a run.
    pub const ALL: &[&str] = &[
        "cubic",
        "reno",
        "bbr",
        "bic",
        "cdg",
        "dctcp",
        "highspeed",
        "htcp",
        "hybla",
        "illinois",
        "lp",
        "nv",
        "scalable",
        "vegas",
        "veno",
        "westwood",
        "yeah",
    ];
}

impl Value for CongestionControl {
    fn expected() -> String {
        "a TCP congestion control such as `cubic`".to_owned()
    }
    fn parse(text: &str) -> Result<Self, Misread> {
        let words: Vec<(&str, &'static str)> = CongestionControl::ALL.iter().map(|name| (*name, *name)).collect();
        choose(text, "a TCP congestion control of Linux", &words).map(CongestionControl)
    }
    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": CongestionControl::ALL })
    }
}

/// `true` or `false`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flag(pub bool);

impl Value for Flag {
    const PLAIN: bool = true;

    fn expected() -> String {
        "`true` or `false`".to_owned()
    }
    fn parse(text: &str) -> Result<Self, Misread> {
        let wrong = |help: &str| {
            Err(Misread::new(format!("{} is neither true nor false", shown(text)), "true or false?", help))
        };
        match (text, text.to_lowercase().as_str()) {
            ("true", _) => Ok(Flag(true)),
            ("false", _) => Ok(Flag(false)),
            (_, "true" | "yes" | "on" | "y" | "1") => wrong("write `true`"),
            (_, "false" | "no" | "off" | "n" | "0" | "none") => wrong("write `false`"),
            _ => wrong("write `true` or `false`"),
        }
    }
    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "boolean" })
    }
}

/// The name of a host or a switch: a small letter, then small letters and digits.
///
/// Names become interface names, lines of Mininet's command line and words in a Python file. Nothing in them can
/// mean something there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeName(pub String);

impl NodeName {
    /// Letters and digits at most: `-eth12` must find room in the 15 bytes that Linux gives an interface name.
    pub const MAX_LENGTH: usize = 9;

    /// Why a node cannot have this name although it is well formed: it means something else to Mininet or Linux.
    #[must_use]
    pub fn reserved(name: &str) -> Option<&'static str> {
        /// Commands of Mininet's command line (`mininet.cli.CLI`, 2.3.0) and words of theirs.
        const MININET: &[&str] = &[
            "help",
            "dump",
            "net",
            "exit",
            "quit",
            "py",
            "px",
            "sh",
            "link",
            "links",
            "nodes",
            "x",
            "xterm",
            "gterm",
            "source",
            "dpctl",
            "intfs",
            "iperf",
            "iperfudp",
            "noecho",
            "pingall",
            "pingallfull",
            "pingpair",
            "pingpairfull",
            "ports",
            "switch",
            "time",
            "wait",
            "up",
            "down",
            "mininet",
            "mn",
            "controller",
        ];
        /// Interfaces that Linux makes in every new network namespace, and words that mean all of them.
        const LINUX: &[&str] = &[
            "lo",
            "all",
            "default",
            "localhost",
            "tunl0",
            "gre0",
            "gretap0",
            "erspan0",
            "sit0",
            "ip6tnl0",
            "ip6gre0",
            "teql0",
            "ifb0",
            "ifb1",
            "dummy0",
            "bond0",
        ];
        let is_controller =
            name.strip_prefix('c').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
        if is_controller {
            Some("Mininet calls its controllers c0, c1, …")
        } else if MININET.contains(&name) {
            Some("it is a command of Mininet's")
        } else if LINUX.contains(&name) {
            Some("Linux uses it for interfaces of its own")
        } else {
            None
        }
    }
}

impl Value for NodeName {
    const NAME: bool = true;

    fn expected() -> String {
        "a name such as `hv1`".to_owned()
    }
    fn parse(text: &str) -> Result<Self, Misread> {
        if text.is_empty() {
            return Err(Misread::new("the name is empty", "no name", format!("write {}", Self::expected())));
        }
        let well_formed = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            && text.starts_with(|c: char| c.is_ascii_lowercase());
        if !well_formed {
            let kept: String = text.to_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
            let proposal = kept.trim_start_matches(|c: char| c.is_ascii_digit());
            let rule = "names are a small letter, then small letters and digits";
            let help = if (1..=NodeName::MAX_LENGTH).contains(&proposal.len()) && text.len() < 20 {
                format!("{rule}; write `{proposal}`?")
            } else {
                rule.to_owned()
            };
            return Err(Misread::new(format!("{} cannot be a name", shown(text)), "not a name", help));
        }
        if text.len() > NodeName::MAX_LENGTH {
            return Err(Misread::new(
                format!("{} is {} letters long", shown(text), text.len()),
                "too long",
                format!("names have at most {} letters, so that interface names fit", NodeName::MAX_LENGTH),
            ));
        }
        Ok(NodeName(text.to_owned()))
    }
    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-z][a-z0-9]*$", "maxLength": NodeName::MAX_LENGTH })
    }
}

/// A host (`hb`), hosts that were written as one (`hv` of `hv1`, `hv2`, …) or an interface of a host (`hs-eth1`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureName(pub String);

impl Value for CaptureName {
    const NAME: bool = true;

    fn expected() -> String {
        "a host such as `hb` or an interface such as `hs-eth1`".to_owned()
    }
    fn parse(text: &str) -> Result<Self, Misread> {
        let host = match text.split_once("-eth") {
            Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => text,
        };
        NodeName::parse(host).map(|_| CaptureName(text.to_owned())).map_err(|_| {
            Misread::new(
                format!("{} cannot be captured on", shown(text)),
                "not an interface",
                format!("name {}", Self::expected()),
            )
        })
    }
    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-z][a-z0-9]*(-eth[0-9]+)?$" })
    }
}

/// A sentence or a few.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prose(pub String);

impl Prose {
    /// Characters at most.
    pub const MAX_LENGTH: usize = 2000;
}

impl Value for Prose {
    const FREE: bool = true;

    fn expected() -> String {
        "some text".to_owned()
    }
    fn parse(text: &str) -> Result<Self, Misread> {
        if text.chars().count() > Prose::MAX_LENGTH {
            return Err(Misread::new(
                format!("{} is longer than {} characters", shown(text), Prose::MAX_LENGTH),
                "too long",
                "put long explanations into comments (`# …`)",
            ));
        }
        if let Some(c) = text.chars().find(|c| is_unprintable(*c) && *c != '\n' && *c != '\t') {
            return Err(Misread::new(
                format!("the text holds the control character U+{:04X}", c as u32),
                "control character",
                "leave it out",
            ));
        }
        Ok(Prose(text.trim().to_owned()))
    }
    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": Prose::MAX_LENGTH })
    }
}

/// A file, relative to the recipe's folder or absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePath(pub PathBuf);

/// Bytes of a path at most, as Linux has it (`PATH_MAX` without the zero at its end).
const LONGEST_PATH: usize = 4095;

impl Value for FilePath {
    const FREE: bool = true;

    fn expected() -> String {
        "a file such as `clip.mp4`".to_owned()
    }
    fn parse(text: &str) -> Result<Self, Misread> {
        if text.trim().is_empty() {
            return Err(Misread::new("the file has no name", "no name", format!("write {}", Self::expected())));
        }
        if text.len() > LONGEST_PATH {
            return Err(Misread::new(
                format!("{} is too long for the name of a file", shown(text)),
                "too long",
                format!("write {LONGEST_PATH} bytes at most"),
            ));
        }
        if text.chars().any(is_unprintable) {
            return Err(Misread::new(
                format!("{} cannot be the name of a file", shown(text)),
                "not a file name",
                "write one line without control characters",
            ));
        }
        if text.split_once("://").is_some_and(|(protocol, _)| protocol.bytes().all(|b| b.is_ascii_alphanumeric())) {
            return Err(Misread::new(
                format!("{} is an address, not a file", shown(text)),
                "an address",
                "download it and write the file's name",
            ));
        }
        Ok(FilePath(PathBuf::from(text)))
    }
    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": LONGEST_PATH, "examples": ["clip.mp4"] })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn the_nearest_word_is_near() {
        let keys = ["to", "bandwidth", "delay", "jitter", "loss", "queue"];
        assert_eq!(nearest("bandwith", &keys), Some("bandwidth"));
        assert_eq!(nearest("Delay", &keys), Some("delay"));
        assert_eq!(nearest("dealy", &keys), Some("delay"));
        assert_eq!(nearest("ot", &keys), Some("to"));
        assert_eq!(nearest("colour", &keys), None);
        assert_eq!(nearest("", &keys), None);
        assert_eq!(nearest("z", &["x"]), None);
    }

    #[test]
    fn names_can_mean_nothing_elsewhere() {
        for name in ["h1", "hb", "s1", "abcdefghi"] {
            assert!(NodeName::parse(name).is_ok(), "{name}");
            assert_eq!(NodeName::reserved(name), None, "{name}");
        }
        for name in ["", "1h", "h-1", "H1", "h 1", "h;reboot", "$(x)", "h\n", "hé", "abcdefghij", "h'", "h#", "h{0}"]
        {
            assert!(NodeName::parse(name).is_err(), "{name}");
        }
        for name in ["help", "x", "c0", "c17", "sh", "py", "lo", "gre0"] {
            assert!(NodeName::reserved(name).is_some(), "{name}");
        }
        assert_eq!(NodeName::reserved("cdn"), None);
        assert!(NodeName::parse("HB-1").unwrap_err().help.unwrap().contains("`hb1`"));
    }

    #[test]
    fn quoted_text_cannot_command_a_terminal() {
        assert_eq!(shown("a\u{1b}[31mb"), "`a\\u{1b}[31mb`");
        assert_eq!(shown(&"y".repeat(300)).chars().count(), 43);
        assert!(!shown("abc\u{202e}def").contains('\u{202e}'));
    }

    #[test]
    fn flags_are_true_or_false() {
        assert_eq!(Flag::parse("true"), Ok(Flag(true)));
        assert_eq!(Flag::parse("yes").unwrap_err().help.as_deref(), Some("write `true`"));
        assert_eq!(Flag::parse("off").unwrap_err().help.as_deref(), Some("write `false`"));
        assert!(Flag::parse("maybe").is_err());
    }

    /// The words are spelled twice, here and for serde; they must agree.
    #[test]
    fn words_agree_with_the_plans_own_spelling() {
        fn check<T: Value + serde::Serialize>(words: &[&str]) {
            for word in words {
                let value = T::parse(word).unwrap();
                assert_eq!(serde_json::to_value(value).unwrap(), serde_json::Value::from(*word));
            }
        }
        check::<Scheme>(&["direct", "bypass", "relay", "multicast"]);
        check::<LinkKind>(&["auto", "netem", "emulated"]);
        check::<Datapath>(&["auto", "kernel", "user"]);
        check::<Engine>(&["emulate", "predict"]);
        check::<Role>(&["broadcaster", "cdn", "viewer", "idle"]);
        check::<Codec>(&["flv1", "h264"]);
        check::<Directions>(&["up", "down", "both"]);
    }
}

//! The YAML parser's errors in the words of this room.

use serde_yaml::{Error, Location};

use super::problem::Finding;
use super::spelling;
use super::text::{Span, span_of};
use super::unit::without_comma;
use super::word::{nearest, shown};

/// Keys that people write for others.
const SYNONYMS: &[(&str, &str)] = &[
    ("bw", "bandwidth"),
    ("rate", "bandwidth"),
    ("rate", "bitrate"),
    ("latency", "delay"),
    ("rtt", "delay"),
    ("lag", "delay"),
    ("limit", "queue"),
    ("buffer", "queue"),
    ("max_queue_size", "queue"),
    ("switch", "to"),
    ("switch", "switches"),
    ("host", "hosts"),
    ("start", "at"),
    ("start", "from"),
    ("from", "at"),
    ("stop", "until"),
    ("to", "until"),
    ("end", "until"),
    ("interval", "every"),
    ("gop", "keyframe_every"),
    ("keyint", "keyframe_every"),
    ("keyframe_interval", "keyframe_every"),
    ("keyframe every", "keyframe_every"),
    ("framerate", "fps"),
    ("frame_rate", "fps"),
    ("resolution", "size"),
    ("source", "pattern"),
    ("sound", "audio"),
    ("type", "role"),
    ("scheme", "schemes"),
    ("viewers", "view"),
    ("broadcaster", "broadcast"),
    ("ping", "pings"),
    ("cc", "congestion_control"),
    ("capture", "captures"),
    ("repeat", "repetitions"),
];

/// Keys before names and texts of the writer's own, any of which may be `null`.
const TEXTS: &[&str] = &[
    "description",
    "file",
    "trace",
    "to",
    "watch",
    "of",
    "leave",
    "join",
    "between",
    "switches",
    "captures",
    "film",
    "command",
];

/// What the parser's error says to the recipe's writer.
pub(super) fn explain(error: &Error, source: &str) -> Finding {
    let error = match error.without_snippet() {
        // What is wrong is inside of what the alias stands for; the place is the alias.
        Error::AliasError { error, locations, .. } => {
            let finding = explain(error.without_snippet(), source);
            return Finding { span: Some(widen(source, place(source, &locations.reference_location))), ..finding };
        }
        error => error,
    };
    let span = error.location().map_or(0..0, |location| place(source, &location));
    let span = widen(source, span);
    // A character that is not what it seems makes other things of keys and lists, here or in the line before.
    if let Some(finding) = spelling::accuse(source, &lines_around(source, &span)) {
        return finding;
    }
    match error {
        Error::SerdeUnknownField { field, expected, .. } => unknown_key(field, expected, source, &span),
        Error::SerdeMissingField { field, .. } => {
            let whose = enclosing(source, &span).map_or_else(|| "the recipe".to_owned(), |key| format!("`{key}`"));
            Finding::new(&span, format!("{whose} lacks the key `{field}`"), format!("`{field}` is missing here"))
                .help(missing_key_help(field))
        }
        Error::DuplicateMappingKey { key, .. } => {
            let key = shown(key.as_deref().unwrap_or("this key"));
            Finding::new(&span, format!("{key} is written twice"), "a second time")
                .help("keep one of them; names must differ")
        }
        Error::Unexpected { expected, .. } => wrong_shape(expected, source, &span),
        Error::SerdeInvalidType { unexpected, expected, .. } => {
            Finding::new(&span, format!("{expected} belongs here, not {unexpected}"), "here")
        }
        Error::NullIntoString { .. } => {
            let word = source.get(span.start..).unwrap_or("");
            let word = word.split(|c: char| c.is_whitespace() || ",]}:#".contains(c)).next().unwrap_or("");
            let key = key_before(source, &span).or_else(|| enclosing(source, &span));
            if spelling::is_null(word) {
                let is_text = key.as_deref().is_some_and(|key| TEXTS.contains(&key));
                let place = span.start..span.start + word.len();
                return if is_text { spelling::null(&place, word) } else { spelling::null_value(&place, word) };
            }
            let key = key.map_or_else(|| "the key".to_owned(), |key| format!("`{key}`"));
            Finding::new(&span, format!("{key} has no value"), "nothing is written here")
                .help("write a value, or remove the key to use its default")
        }
        Error::Eof { .. } => Finding::new(&span, "the recipe is empty", "nothing is written here")
            .help("begin with `network:`; docs/recipes.md has a complete example"),
        Error::MultipleDocuments { .. } => Finding::new(&span, "there is a second YAML document", "it begins here")
            .help("write one recipe in each file"),
        Error::UnknownAnchor { .. } => {
            Finding::new(&span, "this alias (`*…`) has no anchor", "no `&…` of that name before it")
                .help("put `&name` before the value that is meant, or quote text that begins with `*`")
        }
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            Finding::new(&span, "this alias (`*…`) is inside its own anchor", "here").help("write out what is meant")
        }
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::Budget { .. } => {
            Finding::new(&span, "the recipe becomes too large when its aliases are expanded", "here")
                .help("write out what the aliases (`*…`) stand for")
        }
        Error::UnsupportedTag { tag, .. } => {
            Finding::new(&span, format!("{} is a YAML tag", shown(tag)), "its value")
                .help("recipes have no tags; quote text that begins with `!`")
        }
        Error::TaggedScalarCannotDeserializeIntoString { .. } => {
            Finding::new(&span, "this value has a YAML tag that does not fit it", "here")
                .help("remove the tag (`!!…`)")
        }
        Error::ExternalMessage { msg, .. } => not_yaml(msg, source, &span),
        other => {
            let message = other.to_string();
            let plain = message.split(" at line ").next().unwrap_or(&message);
            Finding::new(&span, plain, "here")
        }
    }
}

fn unknown_key(field: &str, expected: &[&'static str], source: &str, span: &Span) -> Finding {
    let finding = Finding::new(span, format!("{} is not a key here", shown(field)), "unknown key");
    let keys = format!("the keys here are {}", expected.join(", "));
    // `{ to: s1, delay 10 ms }`: the colon is missing, or the space after it.
    let before = source.get(..span.start).unwrap_or("").trim_end();
    if field.starts_with(|c: char| c.is_ascii_digit()) && before.ends_with(',') {
        let number = before.trim_end_matches(',').rsplit([' ', ':']).next().unwrap_or("");
        if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) {
            return finding.help(without_comma(&format!("{number},{field}")));
        }
    }
    if field == "until" && expected == ["at", "every"] {
        return finding.help("viewers stop when the stream ends; `end` of the timeline ends the trial earlier");
    }
    if let Some((key, rest)) = field.split_once([' ', ':', '='])
        && expected.contains(&key)
        && !rest.trim().is_empty()
    {
        return finding.help(format!(
            "write a colon and a space after the key: `{key}: {}`",
            rest.trim_start_matches([':', '=', ' '])
        ));
    }
    let synonym = SYNONYMS.iter().find(|(word, key)| *word == field.to_lowercase() && expected.contains(key));
    if let Some(meant) = nearest(field, expected).or(synonym.map(|(_, key)| *key)) {
        return finding.help(format!("did you mean `{meant}`? {}{}", keys[..1].to_uppercase(), &keys[1..]));
    }
    match places_of(field, expected) {
        Some(place) => finding.help(format!("`{field}` belongs in {place}; {keys}")),
        None => finding.help(keys),
    }
}

/// Where else in a recipe a key of that name is known. Its absence from `expected` says that it is not here.
fn places_of(field: &str, expected: &[&'static str]) -> Option<String> {
    const PLACES: &[(&str, &str)] = &[
        ("RecipeFile", "the recipe's outermost level"),
        ("VideoFile", "`video`"),
        ("NetworkFile", "`network`"),
        ("HostFile", "a host under `network: hosts`"),
        ("LinkFile", "a host's `link: { … }`"),
        ("TimelineFile", "`timeline`"),
        ("PingsFile", "`timeline: pings`"),
        ("BroadcastFile", "`timeline: broadcast`"),
        ("MoveFile", "an entry of `timeline: audience`"),
        ("ChurnFile", "`timeline: churn`"),
        ("UntilFile", "`until`"),
    ];
    if expected.contains(&field) {
        return None;
    }
    let schema = super::schema();
    let knows = |properties: Option<&serde_json::Value>| properties.is_some_and(|p| p.get(field).is_some());
    PLACES.iter().find_map(|(definition, place)| {
        let object = if *definition == "RecipeFile" { Some(&schema) } else { schema["$defs"].get(definition) };
        knows(object?.get("properties")).then(|| (*place).to_owned())
    })
}

fn missing_key_help(field: &str) -> &'static str {
    match field {
        "network" => "add `network:` with its switches and hosts; docs/recipes.md has a complete example",
        "switches" => "name the switches: `switches: [s1]`",
        "hosts" => "add `hosts:` with a broadcaster, a cdn and a viewer",
        "role" => "add `role: broadcaster`, `cdn`, `viewer` or `idle`",
        "to" => "say which switch the link goes to: `to: s1`",
        "at" => "say when it happens: `at: 12 s`",
        "figure" => "name the figure: `figure: delay_p95_ms`",
        "stay" => "say how long viewers stay on average: `stay: 40 s`",
        "away" => "say how long viewers are away on average: `away: 20 s`",
        "between" => "name the two switches: `between: [s1, s2]`",
        _ => "add it",
    }
}

/// A list, a mapping or a single value where another of them belongs.
fn wrong_shape(expected: &str, source: &str, span: &Span) -> Finding {
    let wanted = match expected {
        "mapping start" => "keys with values",
        "sequence start" => "a list",
        "string scalar" => "a single value",
        other => other,
    };
    let at = source.get(span.start..).unwrap_or("");
    let is_block_map =
        at.split(['\n', '#']).next().is_some_and(|line| line.contains(": ") || line.trim_end().ends_with(':'));
    let found = match at.chars().next() {
        Some('[') => "a list",
        Some('-') if at.starts_with("- ") || at.starts_with("-\n") => "a list",
        Some('{') => "keys with values",
        None | Some('\n' | '\r' | '#' | '~') => "nothing",
        Some(':') if at[1..].starts_with(['\n', '\r', ' ']) || at.len() == 1 => "nothing",
        _ if ["null", "Null", "NULL"].iter().any(|null| at.starts_with(null)) => "nothing",
        _ if expected != "mapping start" && is_block_map => "keys with values",
        _ => "a single value",
    };
    let key = key_before(source, span);
    let message = match &key {
        Some(key) => format!("`{key}` takes {wanted}, not {found}"),
        None => format!("{wanted} belongs here, not {found}").replacen(
            "keys with values belongs",
            "keys with values belong",
            1,
        ),
    };
    let help = match (expected, key.as_deref()) {
        ("mapping start", Some("link")) => "write `link: { to: s1, bandwidth: 4 Mbit/s, delay: 100 ms }`".to_owned(),
        ("mapping start", Some("hosts")) => "write one `name: { role: …, link: … }` for each host".to_owned(),
        ("mapping start", Some(key @ ("pings" | "broadcast" | "view"))) => {
            format!("write `{key}: {{ … }}` with times inside")
        }
        ("mapping start", None) => "a recipe is made of `key: value` lines, beginning with `network:`".to_owned(),
        ("mapping start", Some(key)) => format!("write `{key}:` and its own keys indented below it"),
        ("sequence start", Some(key)) => format!("write `{key}: [ … ]`, even for only one"),
        ("string scalar", Some(key)) => {
            format!("write one value after `{key}:`; quote text that begins with {{ or [")
        }
        ("string scalar", None) => "write a single word or number".to_owned(),
        _ => return Finding::new(span, message, found),
    };
    Finding::new(span, message, format!("{found} here")).help(help)
}

/// The text is not YAML at all; `why` are the scanner's words.
fn not_yaml(why: &str, source: &str, span: &Span) -> Finding {
    if let Some(at) = needless_comma(source).filter(|at| *at <= span.start) {
        let finding =
            Finding::new(&(at..at + 1), "this is not YAML: nothing stands before this comma", "a comma too many");
        return finding.help("remove it, or write what is missing before it");
    }
    let line = source[..span.start.min(source.len())].rsplit('\n').next().unwrap_or("");
    let rest = source.get(span.start..).and_then(|rest| rest.lines().next()).unwrap_or("");
    let (what, help) = if why.contains("tabs") || line.contains('\t') {
        ("a tab indents this line", "indent with spaces; YAML forbids tabs there")
    } else if why.contains("mapping values are not allowed") {
        (
            "a colon stands where no key can be",
            "indent the keys of one level equally, and quote text that contains a colon and a space",
        )
    } else if why.contains("did not find expected key") || why.contains("simple key") {
        ("a key is expected here", "indent the keys of one level equally, each followed by a colon")
    } else if why.contains("unclosed quote") || why.contains("quoted scalar") {
        ("a quote is not closed", "close the quote")
    } else if why.contains("unclosed bracket") || why.contains("flow") {
        ("a bracket is not closed", "close the bracket, and put a comma between what is in it")
    } else if why.contains("bracket") {
        ("the brackets do not match", "open and close brackets in pairs")
    } else if rest.starts_with('%') && line.is_empty() {
        ("a line begins with %", "remove lines that begin with %")
    } else if rest.starts_with(['@', '`', '%', '&', '*', '!', '|', '>']) {
        ("a value begins with a special character", "quote text that begins with a special character")
    } else if why.contains("':'") {
        ("a colon stands where none can be", "write a key before it, or quote the text that it belongs to")
    } else {
        ("this line cannot be understood", "docs/recipes.md has a complete example")
    };
    Finding::new(span, format!("this is not YAML: {what}"), "here").help(help)
}

/// A comma in brackets with nothing before it: `[direct, , bypass]`. Text in quotes and comments are left out.
fn needless_comma(source: &str) -> Option<usize> {
    let (mut depth, mut quote, mut before) = (0_u32, None, ' ');
    let mut last_meant = ' ';
    let mut in_comment = false;
    for (at, c) in source.char_indices() {
        match c {
            '\n' => in_comment = false,
            _ if in_comment => {}
            _ if quote.is_some() => quote = quote.filter(|quote| *quote != c),
            '#' if before.is_whitespace() => in_comment = true,
            '"' | '\'' if before.is_whitespace() || "[{,:".contains(before) => quote = Some(c),
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            ',' if depth > 0 && "[{,".contains(last_meant) => return Some(at),
            _ => {}
        }
        before = c;
        if !in_comment && !c.is_whitespace() {
            last_meant = c;
        }
    }
    None
}

/// Where the error is; of some the parser knows only line and column.
fn place(source: &str, location: &Location) -> Span {
    if location.span().byte_offset().is_some() {
        return span_of(location);
    }
    let line = usize::try_from(location.line()).unwrap_or(0).saturating_sub(1);
    let column = usize::try_from(location.column()).unwrap_or(0).saturating_sub(1);
    let start: usize = source.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = source.get(start..).unwrap_or("");
    let inside = rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at);
    start + inside..start + inside
}

/// The line of a place and the one before it.
fn lines_around(source: &str, span: &Span) -> Span {
    let at = span.start.min(source.len());
    let line = source[..at].rfind('\n');
    let start = line.and_then(|line| source[..line].rfind('\n')).map_or(0, |before| before + 1);
    start..source[at..].find('\n').map_or(source.len(), |end| at + end)
}

/// The parser points at the first character of some things; a key or a word is better shown whole.
fn widen(source: &str, span: Span) -> Span {
    let start = (0..=span.start.min(source.len())).rev().find(|n| source.is_char_boundary(*n)).unwrap_or(0);
    let rest = source.get(start..).unwrap_or("");
    let word = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).unwrap_or(rest.len());
    let end = span.end.max(start + word).min(source.len());
    start..if source.is_char_boundary(end) { end } else { start + word }
}

/// The key on whose line, or above whose lines, a value stands.
fn key_before(source: &str, span: &Span) -> Option<String> {
    let before = source.get(..span.start)?;
    let line_start = before.rfind('\n').map_or(0, |n| n + 1);
    let on_line = &before[line_start..];
    if let Some(key) = on_line.trim_end().strip_suffix(':').and_then(last_word) {
        return Some(key);
    }
    if !on_line.trim().is_empty() {
        // `key:` at the end of which nothing follows: the parser points behind the colon or at it.
        let line = source.get(line_start..)?.lines().next()?;
        let after = line.get(on_line.len()..)?;
        return after.starts_with(':').then(|| last_word(on_line)).flatten();
    }
    enclosing(source, span)
}

/// The key under which the block at `span` is indented, or before the `{` that it is in.
fn enclosing(source: &str, span: &Span) -> Option<String> {
    let before = source.get(..span.start)?;
    let on_line = before.rsplit('\n').next()?;
    if let Some(key) = on_line.rfind(['{', '[']).and_then(|open| on_line[..open].trim_end().strip_suffix(':')) {
        return last_word(key);
    }
    if let Some(key) = on_line.trim_end().strip_suffix(':') {
        return last_word(key);
    }
    let indent = on_line.chars().take_while(|c| matches!(c, ' ' | '-')).count();
    before.lines().rev().skip(1).find_map(|line| {
        let content = line.split(" #").next()?.trim_end();
        let depth = line.len() - line.trim_start().len();
        let is_parent = depth < indent && !content.trim_start().starts_with('#');
        is_parent.then(|| content.strip_suffix(':').and_then(last_word)).flatten()
    })
}

fn last_word(text: &str) -> Option<String> {
    let word = text.trim().rsplit([' ', '{', ',', '[', '\t']).next()?.trim_matches(['"', '\'']);
    (!word.is_empty() && word.len() <= 40 && !word.chars().any(super::word::is_unprintable)).then(|| word.to_owned())
}

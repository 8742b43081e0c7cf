//! What looks like one thing and is another: invisible characters, words that YAML reads as null, mappings merged over one another.
//!
//! A YAML parser takes all of it, silently. [`look_through`] reads the text before it is parsed, only for that.

use std::collections::{BTreeSet, HashMap};

use serde_yaml::granit_parser::{Event, Parser, ScalarStyle};

use super::problem::Finding;
use super::text::Span;
use super::word::shown;

/// A character that is not what it seems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Strange {
    /// The character.
    pub character: char,
    /// Where it begins, in bytes.
    pub at: usize,
    /// What it is called: `a no-break space`.
    name: &'static str,
    /// What was probably meant; `None`: nothing at all.
    meant: Option<char>,
    /// A reader sees nothing, or a plain space.
    is_invisible: bool,
}

impl Strange {
    /// `a no-break space (U+00A0)`.
    pub(super) fn name(&self) -> String {
        format!("{} (U+{:04X})", self.name, self.character as u32)
    }

    /// What to do about it.
    pub(super) fn help(&self) -> String {
        match self.meant {
            Some(' ') => "write an ordinary space instead".to_owned(),
            Some(meant) => format!("write `{meant}` instead"),
            None => "leave it out".to_owned(),
        }
    }
}

/// The first character of a text that nobody sees.
fn invisible(text: &str) -> Option<Strange> {
    all_strange(text).find(|strange| strange.is_invisible)
}

/// The first character of a text that is not what it seems: invisible, or like one that YAML or a recipe knows.
pub(super) fn strange(text: &str) -> Option<Strange> {
    all_strange(text).next()
}

fn all_strange(text: &str) -> impl Iterator<Item = Strange> + '_ {
    text.char_indices().filter_map(|(at, character)| {
        let (name, meant, is_invisible) = named(character)?;
        Some(Strange { character, at, name, meant, is_invisible })
    })
}

/// Name, what was meant, and whether it is invisible (Unicode 15, general categories Zs, Cf, Pi, Pf, Pd and the full-width forms).
fn named(c: char) -> Option<(&'static str, Option<char>, bool)> {
    Some(match c {
        '\t' => ("a tab", Some(' '), true),
        '\u{A0}' => ("a no-break space", Some(' '), true),
        '\u{202F}' => ("a narrow no-break space", Some(' '), true),
        '\u{1680}' | '\u{2000}'..='\u{200A}' | '\u{205F}' => ("a space of unusual width", Some(' '), true),
        '\u{3000}' => ("an ideographic space", Some(' '), true),
        '\u{85}' | '\u{2028}' | '\u{2029}' => ("an unusual end of line", Some(' '), true),
        '\u{FEFF}' => ("a byte order mark", None, true),
        '\u{200B}' => ("a zero width space", None, true),
        '\u{AD}' => ("a soft hyphen", None, true),
        '\u{200C}' | '\u{200D}' | '\u{2060}' | '\u{180E}' | '\u{34F}' | '\u{115F}' | '\u{1160}' | '\u{3164}'
        | '\u{FFA0}' => ("a character without width", None, true),
        '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => {
            ("a mark of the writing direction", None, true)
        }
        '\u{2061}'..='\u{2064}' | '\u{206A}'..='\u{206F}' | '\u{FE00}'..='\u{FE0F}' | '\u{E0000}'..='\u{E01EF}' => {
            ("a character without width", None, true)
        }
        '\u{2018}'..='\u{201B}' | '\u{2039}' | '\u{203A}' | '\u{2032}' => ("a curly quote", Some('\''), false),
        '\u{201C}'..='\u{201F}' | '\u{AB}' | '\u{BB}' | '\u{2033}' | '\u{300C}'..='\u{300F}' => {
            ("a curly quote", Some('"'), false)
        }
        '\u{2010}'..='\u{2015}' | '\u{FE58}' | '\u{FE63}' => ("a dash", Some('-'), false),
        '\u{2236}' | '\u{A789}' | '\u{FE55}' | '\u{FE13}' => ("a character like a colon", Some(':'), false),
        '\u{60C}' | '\u{3001}' | '\u{FE50}' | '\u{FE10}' => ("a character like a comma", Some(','), false),
        '\u{2215}' | '\u{2044}' => ("a character like a slash", Some('/'), false),
        '\u{FF01}'..='\u{FF5E}' => {
            ("a full-width character", char::from_u32(c as u32 - 0xFF01 + u32::from(b'!')), false)
        }
        _ => return None,
    })
}

/// The first strange character of a piece of the recipe, outside of comments, as what is wrong with it.
pub(super) fn accuse(source: &str, span: &Span) -> Option<Finding> {
    let mut start = span.start;
    for line in source.get(span.clone())?.split_inclusive('\n') {
        let content = match line.find(" #") {
            _ if line.trim_start().starts_with('#') => "",
            Some(comment) => &line[..comment],
            None => line,
        };
        // Tabs are for the parser to refuse, where it does.
        if let Some(strange) = all_strange(content).find(|strange| strange.character != '\t') {
            let at = start + strange.at;
            let message = format!("there is {} here", strange.name());
            let finding = Finding::new(&(at..at + strange.character.len_utf8()), message, "this character");
            return Some(finding.help(strange.help()));
        }
        start += line.len();
    }
    None
}

/// Whether YAML takes a plain word for nothing (YAML 1.2.2, section 10.2.1.1, and 1.1).
pub(super) fn is_null(word: &str) -> bool {
    matches!(word, "null" | "Null" | "NULL" | "~")
}

/// Whether a YAML reader takes a plain word for yes or no (YAML 1.1, `bool`; its single letters are left out as readers do).
pub(super) fn is_truth(word: &str) -> bool {
    matches!(word.to_ascii_lowercase().as_str(), "true" | "false" | "yes" | "no" | "on" | "off")
}

/// A word that means nothing in YAML, where something was meant.
pub(super) fn null(span: &Span, word: &str) -> Finding {
    let message = format!("{} means nothing in YAML", shown(word));
    Finding::new(span, message, "nothing").help(format!("put it in quotes if it is a name or a text: `\"{word}\"`"))
}

/// The same where no text belongs.
pub(super) fn null_value(span: &Span, word: &str) -> Finding {
    let message = format!("{} means nothing in YAML", shown(word));
    Finding::new(span, message, "nothing").help("write a value, or remove the key to use its default")
}

/// What the parser would not tell of. Where the text is no YAML it stops; the parser will say so.
pub(super) fn look_through(source: &str) -> Vec<Finding> {
    let mut reading = Reading::default();
    for next in Parser::new_from_str(source) {
        let Ok((event, span)) = next else { break };
        let Some(span) = span.byte_range().filter(|range| source.get(range.clone()).is_some()) else { break };
        reading.take(event, &span);
        if reading.findings.len() >= MOST {
            break;
        }
    }
    reading.findings
}

/// Findings at most; one mistake may be repeated very often.
const MOST: usize = 100;
/// Keys below which any character may be meant: prose, names of files, words of commands.
const FREE: &[&str] = &["description", "file", "trace", "program", "player"];
/// Keys remembered of a mapping with an anchor, and anchors; the recipe's own budget ends soon after.
const MOST_REMEMBERED: usize = 10_000;

/// What a mapping or a list is for the mapping around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nothing that is merged.
    Plain,
    /// What `<<:` stands before, or an item of the list that it stands before.
    Merged,
}

#[derive(Debug)]
enum Open {
    Mapping {
        anchor: usize,
        place: Place,
        own: BTreeSet<String>,
        merged: Vec<(Span, BTreeSet<String>)>,
        next: Next,
        /// The last one written.
        key: String,
    },
    List {
        place: Place,
    },
}

/// What comes next in a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Key,
    Value,
    /// What is merged.
    Merge,
}

#[derive(Debug, Default)]
struct Reading {
    open: Vec<Open>,
    /// The keys of mappings with an anchor.
    anchors: HashMap<usize, BTreeSet<String>>,
    findings: Vec<Finding>,
}

impl Reading {
    fn take(&mut self, event: Event<'_>, span: &Span) {
        match event {
            Event::Scalar(text, style, _, tag) => {
                self.scalar(&text, style == ScalarStyle::Plain && tag.is_none(), span)
            }
            Event::Alias(anchor) => {
                let place = self.enter();
                if place == Place::Merged
                    && let Some(keys) = self.anchors.get(&anchor).cloned()
                {
                    self.merge(span, keys);
                }
            }
            Event::MappingStart(_, anchor, _) => {
                let place = self.enter();
                let (own, merged) = (BTreeSet::new(), Vec::new());
                self.open.push(Open::Mapping { anchor, place, own, merged, next: Next::Key, key: String::new() });
            }
            Event::SequenceStart(..) => {
                let place = self.enter();
                self.open.push(Open::List { place });
            }
            Event::MappingEnd => {
                let Some(Open::Mapping { anchor, place, mut own, merged, .. }) = self.open.pop() else { return };
                self.compare(&own, &merged);
                own.extend(merged.into_iter().flat_map(|(_, keys)| keys));
                if anchor != 0 && self.anchors.len() < MOST_REMEMBERED && own.len() < MOST_REMEMBERED {
                    self.anchors.insert(anchor, own.clone());
                }
                if place == Place::Merged {
                    self.merge(span, own);
                }
            }
            Event::SequenceEnd => {
                self.open.pop();
            }
            _ => {}
        }
    }

    /// A node begins that is no key of this recipe's own words: what is it for?
    fn enter(&mut self) -> Place {
        match self.open.last_mut() {
            Some(Open::Mapping { next, .. }) => {
                let before = *next;
                *next = if before == Next::Key { Next::Value } else { Next::Key };
                if before == Next::Merge { Place::Merged } else { Place::Plain }
            }
            Some(Open::List { place }) => *place,
            None => Place::Plain,
        }
    }

    fn scalar(&mut self, text: &str, is_plain: bool, span: &Span) {
        let Some(Open::Mapping { own, next: next @ Next::Key, key, .. }) = self.open.last_mut() else {
            self.enter();
            self.value(text, span);
            return;
        };
        *next = Next::Value;
        if is_plain && text == "<<" {
            *next = Next::Merge;
            if !own.insert("<<".to_owned()) {
                let finding = Finding::new(span, "`<<` is written twice", "a second time");
                self.findings.push(finding.help("keep one of them: `<<: [*first, *second]` merges several"));
            }
            return;
        }
        *key = text.to_owned();
        own.insert(key.clone());
        if is_plain && is_null(text) {
            self.findings.push(null(span, text));
        } else if let Some(strange) = strange(text) {
            let message = format!("the key {} holds {}", shown(text), strange.name());
            self.findings.push(Finding::new(span, message, "this key").help(strange.help()));
        }
    }

    /// A value in which nobody sees a character, unless its writer may have meant it.
    fn value(&mut self, text: &str, span: &Span) {
        let Some(strange) = invisible(text) else { return };
        let keys = self.open.iter().filter_map(|open| match open {
            Open::Mapping { key, .. } => Some(key.as_str()),
            Open::List { .. } => None,
        });
        let keys: Vec<&str> = keys.collect();
        if keys.iter().any(|key| FREE.contains(key)) {
            return;
        }
        let key = keys.last().map(|key| format!("{key}: ")).unwrap_or_default();
        let message = format!("{key}{} holds {}", shown(text), strange.name());
        // What is written in another way than it is read, as in quotes, is shown whole.
        let is_as_written = span.len() == text.len();
        let character = span.start + strange.at..span.start + strange.at + strange.character.len_utf8();
        let finding = Finding::new(if is_as_written { &character } else { span }, message, "this character");
        self.findings.push(finding.help(strange.help()));
    }

    /// The mapping that `<<` belongs to gets these keys as well.
    fn merge(&mut self, span: &Span, keys: BTreeSet<String>) {
        let around = self.open.iter_mut().rev().find_map(|open| match open {
            Open::Mapping { merged, .. } => Some(merged),
            Open::List { .. } => None,
        });
        if let Some(merged) = around.filter(|merged| merged.len() < MOST_REMEMBERED) {
            merged.push((span.clone(), keys));
        }
    }

    /// Of keys that are merged from several places nobody sees which one counts, unless the mapping writes them itself.
    fn compare(&mut self, own: &BTreeSet<String>, merged: &[(Span, BTreeSet<String>)]) {
        // A second `<<` has been told already.
        let mut seen: HashMap<&str, &Span> = HashMap::new();
        for (span, keys) in merged {
            let again =
                keys.iter().filter(|key| !own.contains(*key)).find_map(|key| Some((key, *seen.get(key.as_str())?)));
            if let Some((key, first)) = again {
                let message = format!("{} is merged twice", shown(key));
                let finding = Finding::new(span, message, "a second time").also(first, "first");
                self.findings.push(finding.help(format!("write `{key}` out beside `<<`, or merge one of them only")));
                return;
            }
            seen.extend(keys.iter().map(|key| (key.as_str(), span)));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn messages(source: &str) -> Vec<String> {
        look_through(source).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn merges_that_do_not_repeat_keys_are_nothing_to_tell() {
        let source = "a: &a { x: 1, y: 2 }\nb: &b { z: 3 }\nc: { <<: [*a, *b], x: 4 }\nd: { <<: *a, y: 5 }\n\
             e: { <<: [*a, { x: 6, w: 7 }], x: 1 }\nf: { '<<': 1, \"null\": 2 }\n";
        assert_eq!(messages(source), [] as [String; 0]);
    }

    #[test]
    fn repeated_merges_and_keys_merged_twice() {
        let anchors = "a: &a { x: 1, y: 2 }\nb: &b { y: 3 }\n";
        let of = |line: &str| messages(&format!("{anchors}{line}"));
        assert_eq!(of("c: { <<: *a, <<: *b, y: 1 }"), ["`<<` is written twice"]);
        assert_eq!(of("c: { <<: [*a, *b] }"), ["`y` is merged twice"]);
        assert_eq!(of("c:\n  <<:\n  - *a\n  - { y: 4 }\n"), ["`y` is merged twice"]);
        assert_eq!(of("c: &c { <<: *a }\nd: { <<: [*c, *b] }"), ["`y` is merged twice"], "through another one");
    }

    #[test]
    fn keys_that_are_nothing_or_hold_what_nobody_sees() {
        assert_eq!(messages("null: 1"), ["`null` means nothing in YAML"]);
        assert_eq!(messages("{ a: { ~: 1 } }"), ["`~` means nothing in YAML"]);
        assert_eq!(messages("a\u{200B}b: 1"), ["the key `a\u{200B}b` holds a zero width space (U+200B)"]);
        assert_eq!(messages("{ a： b }"), ["the key `a： b` holds a full-width character (U+FF1A)"]);
        assert_eq!(messages("\"a\\tb\": 1"), ["the key `a\\tb` holds a tab (U+0009)"]);
        assert_eq!(messages("überall: 1"), [] as [String; 0]);
    }

    #[test]
    fn values_hold_nothing_that_nobody_sees_but_where_it_may_be_meant() {
        let of = |value: &str| messages(&format!("a: {{ to: {value} }}"));
        assert_eq!(of("s1\u{A0}"), ["to: `s1\u{A0}` holds a no-break space (U+00A0)"]);
        assert_eq!(of("[s1, \"s\u{200B}2\"]"), ["to: `s\u{200B}2` holds a zero width space (U+200B)"]);
        assert_eq!(look_through("a: s\u{200B}1")[0].span, Some(4..7));
        assert_eq!(messages("description: “10\u{A0}ms”"), [] as [String; 0]);
        assert_eq!(
            messages("program: { command: [\"a\u{A0}b\", x] }\nvideo: { file: 5\u{202F}PM.mp4 }"),
            [] as [String; 0]
        );
    }

    #[test]
    fn comments_are_nobodys_business() {
        assert!(accuse("# “quoted”\nx: 1 # 10\u{A0}ms\n", &(0..30)).is_none());
        assert_eq!(accuse("a: “b” # “c”\n", &(0..20)).unwrap().span, Some(3..6));
        assert!(accuse("a: “b”\n", &(0..99)).is_none(), "a piece that is not of the text");
        assert!(accuse("a:\tb\n", &(0..5)).is_none());
        let source = "a: 1\nb: “b”\n";
        assert_eq!(accuse(source, &(0..source.len())).unwrap().span, Some(8..11));
    }
}

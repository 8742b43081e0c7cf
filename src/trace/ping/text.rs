//! The text of a file as lines, without what terminals, other systems and crashed disks put between.

use std::borrow::Cow;

/// A file's text.
#[derive(Debug)]
pub struct Text<'a> {
    text: Cow<'a, str>,
    /// From this byte on there are only zeros, as a crash leaves them; `None`: there are none at the end.
    pub zeros_from: Option<usize>,
}

/// One line.
#[derive(Debug)]
pub struct TextLine<'a> {
    /// What it says, without its end and without control characters.
    pub text: Cow<'a, str>,
    /// The file ends in it.
    pub is_cut: bool,
}

/// Text of a file's bytes: UTF-8, or UTF-16 as PowerShell's `>` writes it. Zeros at either end are left out.
pub fn decode(bytes: &[u8]) -> Text<'_> {
    if let Some(text) = utf16(bytes) {
        return Text { text: Cow::Owned(text), zeros_from: None };
    }
    let zeros = |mut bytes: std::slice::Iter<'_, u8>| bytes.position(|b| *b != 0).unwrap_or(0);
    let begin = zeros(bytes.iter());
    let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
    let text = String::from_utf8_lossy(&bytes[begin.min(end)..end]);
    Text { text, zeros_from: (end < bytes.len()).then_some(end) }
}

/// UTF-16 with its mark, or without it where every other byte of the beginning is zero.
fn utf16(bytes: &[u8]) -> Option<String> {
    let head = &bytes[..bytes.len().min(64) & !1];
    let zeros = |odd: usize| head.len() >= 8 && head.chunks_exact(2).all(|pair| pair[odd] == 0 && pair[1 - odd] != 0);
    let is_little = bytes.starts_with(&[0xff, 0xfe]) || zeros(1);
    if !is_little && !bytes.starts_with(&[0xfe, 0xff]) && !zeros(0) {
        return None;
    }
    let unit = |pair: &[u8]| {
        let pair = [pair[0], pair[1]];
        if is_little { u16::from_le_bytes(pair) } else { u16::from_be_bytes(pair) }
    };
    let units = bytes.chunks_exact(2).map(unit);
    Some(char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
}

impl<'a> Text<'a> {
    /// As it is in memory already.
    pub fn of(text: &'a str) -> Self {
        Self { text: Cow::Borrowed(text), zeros_from: None }
    }

    /// Its lines. A carriage return ends one, too: where it stands before a line feed, both end the same.
    pub fn lines(&self) -> impl Iterator<Item = TextLine<'_>> {
        let text = self.text.trim_start_matches('\u{feff}');
        text.split_inclusive('\n').flat_map(|line| {
            let (body, is_cut) = match line.strip_suffix('\n') {
                Some(body) => (body.trim_end_matches('\r'), false),
                None => (line, true),
            };
            let parts = body.split_inclusive('\r');
            // A line without any text is a line.
            let empty = body.is_empty().then_some("");
            empty.into_iter().chain(parts).map(move |part| TextLine {
                text: plain(part.trim_end_matches('\r')),
                is_cut: is_cut && !part.ends_with('\r'),
            })
        })
    }
}

/// Without escape sequences (colours, `CSI … m`, window titles), control characters and `^C`; other scripts' decimal
/// digits as ours.
fn plain(line: &str) -> Cow<'_, str> {
    let is_odd = |c: char| (c.is_control() && c != '\t') || digit(c).is_some() || c == '^';
    let is_plain = |b: &u8| *b >= b' ' && *b != b'^' && *b != 0x7f || *b == b'\t';
    let is_clean = if line.is_ascii() { line.as_bytes().iter().all(is_plain) } else { !line.contains(is_odd) };
    if is_clean {
        return Cow::Borrowed(line);
    }
    let mut plain = String::with_capacity(line.len());
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape(&mut chars),
            '\u{9b}' => skip_until(&mut chars, |c| ('\u{40}'..='\u{7e}').contains(&c)),
            // What a terminal shows where keys interrupt a program.
            '^' if chars.peek().is_some_and(|next| matches!(next, 'C' | '\\' | 'Z' | 'T')) => {
                chars.next();
            }
            '\t' => plain.push(c),
            c if c.is_control() => {}
            c => plain.push(digit(c).unwrap_or(c)),
        }
    }
    Cow::Owned(plain)
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn skip_escape(chars: &mut Chars<'_>) {
    match chars.next() {
        Some('[') => skip_until(chars, |c| ('\u{40}'..='\u{7e}').contains(&c)),
        // A window's title, up to a bell or `ESC \`.
        Some(']') => {
            skip_until(chars, |c| c == '\u{7}' || c == '\u{1b}');
            if chars.peek() == Some(&'\\') {
                chars.next();
            }
        }
        // A character set: `ESC ( B`.
        Some('(' | ')' | '#') => {
            chars.next();
        }
        _ => {}
    }
}

fn skip_until(chars: &mut Chars<'_>, is_last: impl Fn(char) -> bool) {
    for c in chars {
        if is_last(c) {
            break;
        }
    }
}

/// Arabic, Persian and full-width digits.
fn digit(c: char) -> Option<char> {
    let zero = ['\u{660}', '\u{6f0}', '\u{ff10}'].into_iter().find(|zero| (*zero..).take(10).any(|d| d == c))?;
    char::from_digit(u32::from(c) - u32::from(zero), 10)
}

//! ping's first line, which tells whom it pings and whether it counts from 0 or from 1.

use std::net::IpAddr;

/// What ping's first line tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heading {
    /// Whom it pings.
    pub target: Option<IpAddr>,
    /// What to add to the numbers so that they count from 1, if that is known.
    pub base: Option<u32>,
}

/// ping's first line in any language, and where in the line it begins: `PING name (10.0.0.3) 56(84) bytes of data.`,
/// `PING ::1(::1) 56 data bytes`, `ПІНГ …`, `Ping …`, `PING6(56=40+8+8 bytes) fd00::1 --> fd00::3`,
/// `PING 10.0.0.3: 64 byte packets`. A word, a name, and its address in parentheses or a number of bytes.
pub fn heading(line: &str) -> Option<(usize, Heading)> {
    if let Some(at) = line.find("PING6(")
        && let Some((_, target)) = line.split_once("--> ")
    {
        let target = target.split([' ', '%']).next().and_then(|word| word.parse().ok());
        return Some((at, Heading { target, base: Some(1) }));
    }
    let in_parentheses = address(line);
    let after = in_parentheses.map_or("", |(_, end)| &line[end..]);
    // iputils and toybox tell the size with and without headers, and count from 1; the others count from 0.
    let counts_from_1 = after.split_once('(').is_some_and(|(size, whole)| {
        size.ends_with(|c: char| c.is_ascii_digit()) && whole.starts_with(|c: char| c.is_ascii_digit())
    });
    let english = ["PING ", "Ping "].iter().find_map(|word| {
        let at = line.find(word)?;
        let is_word = !line[..at].ends_with(char::is_alphanumeric);
        // `PING 10.0.0.3: 56 data bytes` has the address alone; notes have neither address nor size.
        let says = in_parentheses.is_some() || tells_bytes(&line[at + word.len()..]);
        (is_word && says && !line[..at].contains(" bytes")).then_some(at)
    });
    let at = english.or_else(|| foreign(line, in_parentheses).filter(|_| counts_from_1))?;
    let target = in_parentheses.map(|(target, _)| target).or_else(|| {
        let name = line[at..].split_whitespace().nth(1)?;
        name.trim_end_matches([':', ',']).parse().ok()
    });
    let counts_from_0 = after.starts_with(':')
        || target.is_none_or(|target| target.is_ipv4())
            && (line.contains("data bytes") || line.contains("byte packets"));
    let base = match (counts_from_1, counts_from_0) {
        (true, _) => Some(0),
        (false, true) => Some(1),
        (false, false) => None,
    };
    Some((at, Heading { target, base }))
}

/// The first address in parentheses, and where that ends.
fn address(line: &str) -> Option<(IpAddr, usize)> {
    line.match_indices('(').find_map(|(at, _)| {
        let length = line[at + 1..].find([')', '('])?;
        let address = line[at + 1..at + 1 + length].split('%').next()?.parse().ok()?;
        Some((address, at + 1 + length + 1))
    })
}

/// `10.0.0.3: 56 data bytes`, `host: 64 byte packets`: one name, and a size behind a colon.
fn tells_bytes(rest: &str) -> bool {
    let Some((name, size)) = rest.split_once(": ") else { return false };
    let mut words = size.split_whitespace();
    let is_size = words.next().is_some_and(|word| word.bytes().all(|b| b.is_ascii_digit()));
    is_size && !name.trim().contains(char::is_whitespace) && words.any(|word| word.starts_with("byte"))
}

/// Where a first line in other words begins: a word of letters, a name, an address in parentheses, a size. In some
/// languages the address has the name's place.
fn foreign(line: &str, address: Option<(IpAddr, usize)>) -> Option<usize> {
    let (_, end) = address?;
    let name = line[..line[..end].rfind('(')?].trim_end();
    let word_end = name.rfind(char::is_whitespace)?;
    let word = name[..word_end].trim_end();
    let blank = word.char_indices().rev().find(|(_, c)| c.is_whitespace());
    let begins = blank.map_or(0, |(at, c)| at + c.len_utf8());
    let is_word = word[begins..].chars().count() >= 2 && word[begins..].chars().all(char::is_alphabetic);
    let is_first = begins == 0 || word[..begins].contains(|c: char| c.is_ascii_digit());
    let tells_size = line[end..].contains(|c: char| c.is_ascii_digit());
    (is_word && is_first && tells_size && !line[end..].contains('=')).then_some(begins)
}

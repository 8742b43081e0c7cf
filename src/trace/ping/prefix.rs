//! What others put before ping's lines, learnt from the lines that have it.

/// The shapes of what stands before lines that are known to be ping's.
#[derive(Debug, Default)]
pub struct Prefixes {
    shapes: Vec<Vec<Kind>>,
}

/// Shapes beyond these are not kept: then it is not the shape that matters.
const MOST_SHAPES: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Digits,
    Letters,
    Blanks,
    Mark(char),
}

impl Kind {
    fn of(c: char) -> Kind {
        match c {
            _ if c.is_numeric() => Kind::Digits,
            _ if c.is_alphabetic() => Kind::Letters,
            _ if c.is_whitespace() => Kind::Blanks,
            mark => Kind::Mark(mark),
        }
    }
}

impl Prefixes {
    /// Learns what stands before a line.
    pub fn learn(&mut self, prefix: &str) {
        if prefix.is_empty() || self.shapes.len() >= MOST_SHAPES || self.strip(prefix).is_some_and(str::is_empty) {
            return;
        }
        let mut shape: Vec<Kind> = Vec::new();
        for kind in prefix.chars().map(Kind::of) {
            if shape.last() != Some(&kind) || matches!(kind, Kind::Mark(_)) {
                shape.push(kind);
            }
        }
        // The longest first: a part of one may be another.
        let at = self.shapes.partition_point(|other| other.len() > shape.len());
        self.shapes.insert(at, shape);
    }

    /// The rest of a line that begins with one of them, or as `ping -D` prints it.
    pub fn strip<'a>(&self, line: &'a str) -> Option<&'a str> {
        self.shapes.iter().find_map(|shape| strip(shape, line)).or_else(|| {
            let (stamp, rest) = line.strip_prefix('[')?.split_once("] ")?;
            let is_stamp = !stamp.is_empty() && stamp.bytes().all(|b| b.is_ascii_digit() || b == b'.');
            is_stamp.then_some(rest)
        })
    }
}

/// Digits and letters by kind, runs of either as one: `Nov` and `14:13:20` of another moment have the same.
fn strip<'a>(shape: &[Kind], line: &'a str) -> Option<&'a str> {
    let mut rest = line;
    for (at, kind) in shape.iter().enumerate() {
        let end = match kind {
            Kind::Mark(mark) => rest.strip_prefix(*mark).map_or(0, |after| rest.len() - after.len()),
            run => rest.find(|c: char| Kind::of(c) != *run).unwrap_or(rest.len()),
        };
        // Blanks before a number that is padded may be gone, and those at the end of a line.
        let may_lack = *kind == Kind::Blanks && (at == 0 || shape[at - 1] == Kind::Mark('[') || rest.is_empty());
        if end == 0 && !may_lack {
            return None;
        }
        rest = &rest[end..];
    }
    Some(rest)
}
